from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.trie import TitleTrie

END = 0
# Large tokens, so that a few of them fill the number that sequences are sorted by.
_tokens = st.lists(st.sampled_from([1, 2, 3, 2**20, 2**31 - 2]), max_size=6)
_sequences = st.lists(_tokens.map(lambda s: [*s, END]), max_size=40)


def _held(trie: TitleTrie) -> dict[int, list[int]]:
    return {
        int(row): trie.sequence(leaf) for leaf in range(trie.n_leaves) for row in trie.rows_of(leaf)
    }


@given(_sequences)
def test_every_title_is_held_and_no_other(sequences: list[list[int]]) -> None:
    trie = TitleTrie.build(sequences)
    assert _held(trie) == dict(enumerate(sequences))
    assert trie.n_leaves == len({tuple(s) for s in sequences})
    assert trie.lengths.tolist() == [len(trie.sequence(leaf)) for leaf in range(trie.n_leaves)]
    leaves = trie.leaves_of(np.arange(len(sequences)))
    assert all(row in trie.rows_of(leaf) for row, leaf in enumerate(leaves))


@given(_sequences)
def test_leaves_stand_in_depth_first_order(sequences: list[list[int]]) -> None:
    trie = TitleTrie.build(sequences)
    order = [trie.sequence(leaf) for leaf in range(trie.n_leaves)]
    assert order == sorted(order)
    for node in range(len(trie.lo)):
        edges = trie.edges(node)
        assert edges.tokens.tolist() == sorted(set(edges.tokens.tolist()))
        if len(edges.lo):
            bounds = [int(edges.lo[0]), *edges.hi.tolist()]
            assert bounds == sorted(bounds)
            assert (bounds[0], bounds[-1]) == (trie.lo[node], trie.hi[node])
        assert node == 0 or len(edges.tokens) >= 1


@given(_sequences, st.data())
def test_a_subtree_holds_the_titles_asked_for(
    sequences: list[list[int]], data: st.DataObject
) -> None:
    trie = TitleTrie.build(sequences)
    some = data.draw(st.sets(st.integers(0, max(0, trie.n_leaves - 1))))
    leaves = np.array(sorted(some if trie.n_leaves else ()), dtype=np.int32)
    tree = trie.subtree(leaves)
    assert len(tree.ends) == len(leaves)
    assert (tree.parents < np.arange(len(tree.parents))).all()
    paths = []
    for end in tree.ends.tolist():
        path: list[int] = []
        while end >= 0:
            path.insert(0, int(tree.tokens[end]))
            end = int(tree.parents[end])
        paths.append(path)
    assert paths == [trie.sequence(leaf) for leaf in leaves.tolist()]
    assert len(tree.tokens) == len({tuple(p[: i + 1]) for p in paths for i in range(len(p))})


@given(_sequences, st.data())
def test_open_leaves_are_counted_without_walking(
    sequences: list[list[int]], data: st.DataObject
) -> None:
    trie = TitleTrie.build(sequences)
    rows = np.array(data.draw(st.lists(st.integers(0, 50))), dtype=np.int64)
    opened = trie.open(trie.leaves_of(rows))
    expected = {int(leaf) for leaf in trie.leaves_of(rows) if leaf >= 0}
    assert set(opened.leaves.tolist()) == expected
    for node in range(len(trie.lo)):
        count = opened.count(trie.lo[node], trie.hi[node])
        assert count == sum(trie.lo[node] <= leaf < trie.hi[node] for leaf in expected)
    everything = trie.open()
    assert everything.count(0, trie.n_leaves) == trie.n_leaves == len(everything.leaves)


def test_equal_titles_share_a_leaf_that_lists_their_rows() -> None:
    trie = TitleTrie.build([[1, 2, END], [3, END], [1, 2, END], [1, 2, END]], rows=[9, 4, 2, 7])
    assert trie.n_leaves == 2
    assert trie.rows_of(0).tolist() == [2, 7, 9]
    assert trie.n_rows == 10
    assert trie.leaves_of(np.array([9, 4, 3, -1, 10, 99])).tolist() == [0, 1, -1, -1, -1, -1]


def test_what_is_forced_is_a_tail_and_not_nodes() -> None:
    trie = TitleTrie.build([[1, 2, 3, 4, END], [1, 5, END], [1, 5, END]])
    assert len(trie.lo) == 2
    assert trie.tail(0).tolist() == [3, 4, END]
    assert trie.tail(1).tolist() == [END]


@given(st.lists(_tokens.filter(bool), max_size=8))
def test_a_title_that_is_the_beginning_of_another_is_refused(sequences: list[list[int]]) -> None:
    begins = any(a != b and b[: len(a)] == a for a in sequences for b in sequences)
    if begins:
        with pytest.raises(InputError, match="is the beginning of another one"):
            TitleTrie.build(sequences)
    else:
        assert _held(TitleTrie.build(sequences)) == dict(enumerate(sequences))


@pytest.mark.parametrize("length", [255, 256, 70_000])
def test_a_title_may_be_as_long_as_it_likes(tmp_path: Path, length: int) -> None:
    sequences = [[row, *[5] * (length - (row % 2)), END] for row in range(70)]
    TitleTrie.build(sequences).save(tmp_path / "t")
    trie = TitleTrie.load(tmp_path / "t")
    assert [trie.sequence(leaf) for leaf in range(70)] == sequences
    assert trie.lengths.tolist() == [len(s) for s in sequences]
    tree = trie.subtree(np.array([1, 40, 69], dtype=np.int32))
    assert len(tree.tokens) == sum(len(sequences[leaf]) for leaf in (1, 40, 69))


def test_what_is_not_the_last_token_of_a_title() -> None:
    trie = TitleTrie.build([[1, 2, 3, END], [1, 4, END], [5, END], [6], [7, 8, 9, END]])
    assert sorted(trie.inner().tolist()) == [1, 2, 3, 4, 5, 7, 8, 9]


def test_a_trie_of_nothing_and_of_one_title() -> None:
    empty = TitleTrie.build([])
    assert (empty.n_leaves, empty.n_rows, len(empty.edges(0).tokens)) == (0, 0, 0)
    assert empty.leaves_of(np.array([0])).tolist() == [-1]
    one = TitleTrie.build([[7, END]])
    assert one.sequence(0) == [7, END]


@pytest.mark.parametrize(
    ("sequences", "rows", "message"),
    [
        ([[1, END], []], None, "the title of row 1 has no tokens"),
        ([[1, 2], [1, 2, 3]], [5, 6], "the title of row 5 is the beginning of another one"),
        ([[1, END], [2, END]], [3, 3], "given twice"),
        ([[1, END], [2, END]], [3, -3], "negative or given twice"),
        ([[1, END]], [1, 2], "1 sequences came with 2 rows"),
        ([[-1, END]], None, "a token is -1"),
    ],
)
def test_unusable_titles(sequences: list[list[int]], rows: list[int] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TitleTrie.build(sequences, rows)


@settings(max_examples=20)
@given(_sequences)
def test_a_saved_trie_is_the_same_one(
    tmp_path_factory: pytest.TempPathFactory, sequences: list[list[int]]
) -> None:
    path = tmp_path_factory.mktemp("trie") / "below" / "t.trie"
    trie = TitleTrie.build(sequences, key="abc")
    trie.save(path)
    again = TitleTrie.load(path)
    assert again.key == "abc"
    assert _held(again) == _held(trie)
    assert again.nbytes == trie.nbytes
    assert [p.name for p in path.parent.iterdir()] == ["t.trie"]


def test_a_loaded_trie_is_mapped_and_not_copied(tmp_path: Path) -> None:
    TitleTrie.build([[1, END], [2, 3, END]]).save(tmp_path / "t")
    loaded = TitleTrie.load(tmp_path / "t")
    base = loaded.tok
    while getattr(base, "base", None) is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        loaded.tok[0] = 1


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "header", "missing", "sizes", "kind"])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.trie"
    TitleTrie.build([[1, 2, END], [2, 3, END]]).save(path)
    data = path.read_bytes()
    changed = {
        "cut": data[:-4],
        "empty": b"",
        "other": b"PK" + data,
        "header": data.replace(b'"arrays"', b'"arrasy"'),
        "sizes": data.replace(b'"rows": ["<i4", 2]', b'"rows": ["<i4", 1]'),
        "kind": data.replace(b'"rows": ["<i4", 2]', b'"rows": ["<f4", 2]'),
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    with pytest.raises(InputError, match=r"is not a trie of titles \(.+\): delete it"):
        TitleTrie.load(path)


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "t.trie").mkdir()
    with pytest.raises(OSError, match=r"t\.trie"):
        TitleTrie.build([[1, END]]).save(tmp_path / "t.trie")
    assert [p.name for p in tmp_path.iterdir()] == ["t.trie"]


@pytest.mark.slow
def test_a_million_titles_build_in_about_a_second() -> None:
    dice = np.random.default_rng(0)
    offsets = np.concatenate(([0], np.cumsum(dice.integers(3, 12, 1_000_000))))
    tokens = np.minimum(dice.zipf(1.3, offsets[-1]), 32_000).astype(np.int32)
    tokens[offsets[1:] - 1] = END
    start = time.perf_counter()
    trie = TitleTrie.from_arrays(tokens, offsets)
    assert time.perf_counter() - start < 5  # 0.6 s on two idle cores
    beyond = trie.nbytes - trie.tok.nbytes - trie.tails.nbytes
    assert beyond < 15 * 1_000_000
