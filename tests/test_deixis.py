"""Pointing at items on display."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.deixis import find_shown_items
from llmrec.quantities import flat

SHOWN = ("a", "b", "c")


def ids(text: str, shown: tuple[str, ...] = SHOWN) -> list[tuple[str, ...]]:
    return [found for _, _, found in find_shown_items(flat(text), shown)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I loved the first one", [("a",)]),
        ("not the 2nd film", [("b",)]),
        ("the last one is too long", [("c",)]),
        ("the middle one", [("b",)]),
        ("the first two I know", [("a", "b")]),
        ("I have seen all of them", [SHOWN]),
        ("seen 1 and 3", [("a", "c")]),
        ("vi o segundo ontem", [("b",)]),
        ("a última não", [("c",)]),
        ("os dois primeiros já vi", [("a", "b")]),
        ("esses todos eu conheço", [SHOWN]),
        ("la primera me encantó", [("a",)]),
        ("la del medio", [("b",)]),
        ("las dos primeras", [("a", "b")]),
        ("ya las vi", [SHOWN]),
        ("the first time I watched", []),
        ("a primeira vez que vi", []),
        ("la primera guerra mundial", []),
        ("a comedy of the last decade", []),
    ],
)
def test_what_is_meant(text: str, expected: list[tuple[str, ...]]) -> None:
    assert ids(text) == expected


def test_a_single_film_is_it() -> None:
    assert ids("seen it", ("a",)) == [("a",)]
    assert ids("esse já vi", ("a",)) == [("a",)]
    assert ids("seen it") == []  # which of the three?


def test_nothing_on_display_nothing_meant() -> None:
    assert ids("the second one, please", ()) == []


@given(st.text(max_size=80), st.integers(0, 5))
def test_only_what_is_on_display(text: str, n: int) -> None:
    shown = SHOWN[:n]
    plain = flat(text)
    for start, end, found in find_shown_items(plain, shown):
        assert 0 <= start < end <= len(plain)
        assert set(found) <= set(shown)
