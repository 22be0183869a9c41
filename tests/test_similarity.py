from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import BY_ID, FILMS

from llmrec.similarity import _WEIGHT, ContentIndex, features
from llmrec.types import Item

IDS = list(BY_ID)


def brute_force(items: list[Item], a: Item, b: Item) -> float:
    """The cosine of two weighted bags, from its definition."""
    counts = Counter(f for i in items for f in set(features(i)))
    weight = {f: _WEIGHT[f[0]] * math.log(1 + len(items) / n) for f, n in counts.items()}

    def dot(x: Item, y: Item) -> float:
        return sum(weight[f] ** 2 for f in set(features(x)) & set(features(y)))

    length = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / length if length else 0.0


items = st.lists(
    st.builds(
        Item,
        id=st.uuids().map(str),
        title=st.just("X"),
        year=st.none() | st.integers(1960, 1999),
        genres=st.lists(st.sampled_from("ABC"), max_size=3).map(tuple),
        directors=st.lists(st.sampled_from("PQ"), max_size=2).map(tuple),
        cast=st.lists(st.sampled_from("PQR"), max_size=3).map(tuple),
        countries=st.lists(st.sampled_from("UV"), max_size=2).map(tuple),
        keywords=st.lists(st.sampled_from("xyz"), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


def test_the_world_against_brute_force() -> None:
    index = ContentIndex(FILMS)
    assert len(index) == len(FILMS)
    for row, film in enumerate(FILMS):
        expected = [brute_force(list(FILMS), film, other) for other in FILMS]
        assert index.to([row]) == pytest.approx(expected, abs=1e-5)


@given(items, st.data())
def test_any_items_against_brute_force(made: list[Item], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(made) - 1), max_size=3))
    got = ContentIndex(made).to(rows)
    assert got.dtype == np.float32
    assert got.shape == (len(made),)
    for n, item in enumerate(made):
        each = [brute_force(made, made[r], item) for r in rows]
        assert got[n] == pytest.approx(sum(each) / max(len(each), 1), abs=1e-4)


def test_neighbours_are_those_one_would_name() -> None:
    index = ContentIndex(FILMS)

    def nearest(id: str) -> str:
        alike = index.to([IDS.index(id)])
        alike[IDS.index(id)] = -1
        return IDS[int(alike.argmax())]

    assert nearest("nine-queens") == "secret"
    assert nearest("coco") == "toy-story"
    assert nearest("matrix") in ("speed", "alien")
    assert nearest("central-station") == "city-of-god"


def test_an_item_is_like_itself_and_unlike_one_without_facts() -> None:
    index = ContentIndex(FILMS)
    matrix, lost = IDS.index("matrix"), IDS.index("lost")
    assert index.to([matrix])[matrix] == pytest.approx(1, abs=1e-5)
    assert index.to([matrix])[lost] == 0
    assert not index.to([lost]).any()


def test_to_nothing_is_nought_everywhere() -> None:
    assert not ContentIndex(FILMS).to([]).any()


def test_an_empty_catalogue_is_empty() -> None:
    assert len(ContentIndex([])) == 0


def test_a_person_counts_in_each_part_played() -> None:
    item = Item(id="x", title="X", directors=("P",), cast=("P",), year=1994)
    assert list(features(item)) == [("director", "P"), ("cast", "P"), ("decade", "199")]
