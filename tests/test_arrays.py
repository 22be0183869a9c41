from __future__ import annotations

import json
import os
import pickle
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.arrays import Arrays, Joined, Known, Places, Texts, kept, number, numbers, ragged

SECRET = (
    1058590533502924049  # of files that were kept before: another number, another version of them
)
some_texts = st.lists(st.text(max_size=8), max_size=12)


@given(some_texts, some_texts)
def test_texts_are_a_list_of_texts(texts: list[str], more: list[str]) -> None:
    held = Texts.of(texts)
    assert list(held) == texts
    assert held == texts
    assert [held[i] for i in range(-len(texts), len(texts))] == 2 * texts
    assert held[1:] == texts[1:]
    assert list(held + Texts.of(more)) == texts + more
    assert held.lengths().tolist() == [len(t) for t in texts]
    assert held.sizes().tolist() == [len(t.encode()) for t in texts]
    order = np.arange(len(texts))[::-1]
    assert list(held.take(order)) == texts[::-1]
    assert pickle.loads(pickle.dumps(held)) == texts
    with pytest.raises(IndexError):
        held[len(texts)]


@given(st.lists(some_texts, max_size=3))
def test_texts_of_arrow(chunks: list[list[str]]) -> None:
    column = pa.chunked_array([pa.array(c, pa.string()) for c in chunks], pa.string())
    assert list(Texts.of_arrow(column)) == [t for c in chunks for t in c]
    assert list(Texts.of_arrow(column.slice(1))) == [t for c in chunks for t in c][1:]


@given(st.lists(st.text(min_size=1, max_size=5), max_size=6), st.integers(1, 4))
def test_runs_of_words_have_the_number_of_their_text(words: list[str], longest: int) -> None:
    runs, values = Joined(words).runs(longest)
    told = [" ".join(words[i : i + n]) for i, n in runs]
    assert set(runs) == {
        (i, j - i)
        for i in range(len(words))
        for j in range(i + 1, len(words) + 1)
        if j - i <= longest
    }
    assert values.tolist() == [number(t) for t in told]
    assert numbers(told, len(told)).tolist() == values.tolist()


def test_numbers_are_the_same_everywhere_and_differ() -> None:
    assert number("amelie") == int.from_bytes(b"amelie", "big")
    assert number("the secret in their eyes") == SECRET
    every = [f"{a} {b}" for a in range(400) for b in range(400)]
    assert len({number(t) for t in every}) == len(every)


@given(st.sets(st.text(max_size=4)), st.lists(st.text(max_size=4)))
def test_places_of_texts(texts: set[str], others: list[str]) -> None:
    own = sorted(texts)
    places = Places(Texts.of(own))
    assert dict(places) == {t: i for i, t in enumerate(own)}
    for other in others:
        assert places.get(other, -1) == (own.index(other) if other in texts else -1)
    assert 7 not in places


folded = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=4)


@given(st.sets(folded), st.lists(folded))
def test_what_is_known(texts: set[str], others: list[str]) -> None:
    known = Known(np.sort(numbers(texts, len(texts))))
    for other in (*texts, *others):
        assert (other in known) == (other in texts)
        assert (other in known) == (other in texts)  # and once it is remembered


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=5))
def test_slices_one_after_the_other(slices: list[tuple[int, int]]) -> None:
    starts, sizes = (np.array([s[i] for s in slices], dtype=int) for i in (0, 1))
    assert ragged(starts, sizes).tolist() == [a + i for a, n in slices for i in range(n)]


# -- what is kept in files -----------------------------------------------------------------------

MADE = {"a": np.arange(1000, dtype=np.int64), "none": np.zeros(0), "b": np.array([True, False])}


class Maker:
    """Makes the arrays, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Arrays:
        self.times += 1
        return MADE


def same(found: Arrays) -> bool:
    return {n: a.tolist() for n, a in found.items()} == {n: a.tolist() for n, a in MADE.items()}


def test_arrays_are_made_once_and_mapped_then(tmp_path: Path) -> None:
    file, make = tmp_path / "kept" / "x.arrays", Maker()
    for _ in range(3):
        found = kept(file, "key", make)
        assert same(found)
        assert not found["a"].flags.writeable
    assert make.times == 1
    assert [f.name for f in file.parent.iterdir()] == ["x.arrays"]
    assert same(kept(file, "another", make))
    assert make.times == 2


@pytest.mark.parametrize("at", [3, 25, -700, -1])
def test_a_damaged_file_is_made_anew(tmp_path: Path, at: int) -> None:
    file, make = tmp_path / "x.arrays", Maker()
    kept(file, "key", make)
    whole = file.read_bytes()
    for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at:][1:], b""):
        file.write_bytes(damaged)
        assert same(kept(file, "key", make))
        assert file.read_bytes() == whole
    assert make.times == 4


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    file, make = tmp_path / "x.arrays", Maker()
    kept(file, "key", make)
    magic, head, rest = file.read_bytes().split(b"\n", 2)
    said = json.loads(head)
    said["arrays"][0][1] = "|O"
    file.write_bytes(b"\n".join([magic, json.dumps(said).encode(), rest]))
    assert same(kept(file, "key", make))
    assert make.times == 2


def test_where_nothing_can_be_written_it_is_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker()
    (tmp_path / "file").write_text("in the way")
    assert same(kept(tmp_path / "file" / "x.arrays", "key", make))
    assert same(kept(None, "key", make))

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert same(kept(tmp_path / "x.arrays", "key", make))
    assert make.times == 3
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_what_killed_processes_left_goes_after_an_hour(tmp_path: Path) -> None:
    old, new = tmp_path / ".x.arrays-1.part", tmp_path / ".x.arrays-2.part"
    for left in (old, new):
        left.write_text("half")
    os.utime(old, (time.time() - 7_200,) * 2)
    kept(tmp_path / "x.arrays", "key", Maker())
    assert sorted(f.name for f in tmp_path.iterdir()) == [new.name, "x.arrays"]


def test_the_collector_is_as_it_was(tmp_path: Path) -> None:
    import gc

    def make() -> Arrays:
        assert not gc.isenabled()
        return MADE

    assert gc.isenabled()
    kept(tmp_path / "x.arrays", "key", make)
    assert gc.isenabled()


def test_ends_are_small_where_they_fit() -> None:
    assert Texts.of(["a"]).ends.dtype == np.uint32
    assert all(b >= a for a, b in pairwise(Texts.of(["a", "", "bc"]).ends.tolist()))
