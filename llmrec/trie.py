"""TitleTrie hides how the token sequences of many titles are stored, walked and closed: in arrays.

A node that branches is a row of a CSR table (``ptr``, ``tok``); from where a title is alone on its
path, its further tokens are a flat tail. Leaves are numbered in depth-first order, so that
whatever lies under a node is one range of leaves: how much of a subtree is still open is the
difference of two entries of a running count. Nodes are numbered level by level, so that the nodes
below a node follow each other: where an edge leads is counted, not stored.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.arrays import ALIGN, write_aligned
from llmrec.errors import InputError

__all__ = ["Edges", "Open", "Subtree", "TitleTrie"]

IntArray = npt.NDArray[np.int32]
_Ints = npt.NDArray[np.integer[Any]]

_MAGIC = b"llmrec-trie 2\n"
_BLOCK = 32  # leaves that share one entry of tail_at
_ARRAYS = ("ptr", "tok", "first", "lo", "hi", "tail_at", "tail_size", "tails", "rows", "repeats")
_DTYPES = ("|u1", "<u2", "<i4")


class Edges(NamedTuple):
    """The ways on from a node, in depth-first order, int32 [n] each.

    child: a node, or ``~leaf`` where only one title goes on.
    lo, hi: the range of leaves under the child.
    """

    tokens: IntArray
    child: IntArray
    lo: IntArray
    hi: IntArray


class Subtree(NamedTuple):
    """Some titles as one tree of tokens, parents before children.

    tokens, parents: int32 [n]; the parent of a first token is -1.
    ends: int32 [titles], the node of each title's last token.
    """

    tokens: IntArray
    parents: IntArray
    ends: IntArray


@dataclass(frozen=True, eq=False)
class Open:
    """Which leaves may still be used.

    Attributes
    ----------
    leaves: int32, ascending, without repeats.
    running: int32 [n_leaves + 1], how many of the leaves before each one are open; None if all.
    """

    leaves: IntArray
    running: IntArray | None

    def count(self, lo: Any, hi: Any) -> Any:
        """How many leaves of ``lo`` to ``hi`` (exclusive) are open; numbers or arrays."""
        return hi - lo if self.running is None else self.running[hi] - self.running[lo]


@dataclass(frozen=True, eq=False)
class TitleTrie:
    """The titles of a catalogue as sequences of tokens.

    Attributes
    ----------
    ptr: int32 [n_nodes + 1], where the edges of each node begin. Node 0 is the root.
    tok: int32 [n_edges], the token of each edge; ``~token`` where only one title goes on.
    first: int32 [n_nodes], the first of the nodes right below each node.
    lo, hi: int32 [n_nodes], the range of leaves under each node.
    tail_at: int32, where the tails of every ``_BLOCK`` leaves begin, and the end.
    tail_size: how many tokens each leaf has after its edge, filled up with 0 to whole blocks.
    tails: int32, those tokens, leaf after leaf.
    rows: int32, the catalogue rows in the order of their leaves, ascending where titles are equal.
    repeats: int32, the leaf of each row that is not its leaf's first, ascending.
    key: what the trie was built from (tokenizer, terminator, catalogue), for caches.
    """

    ptr: IntArray
    tok: IntArray
    first: IntArray
    lo: IntArray
    hi: IntArray
    tail_at: IntArray
    tail_size: _Ints
    tails: IntArray
    rows: IntArray
    repeats: IntArray
    key: str = ""

    @classmethod
    def build(
        cls, sequences: Sequence[Sequence[int]], rows: Sequence[int] | None = None, key: str = ""
    ) -> TitleTrie:
        """The trie of ``sequences``, which belong to ``rows`` (0, 1, 2 ... unless given).

        Raises
        ------
        InputError: an empty sequence, one that is the beginning of another, a repeated row.
        """
        ends = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
        flat = np.fromiter(
            itertools.chain.from_iterable(sequences), dtype=np.int32, count=int(ends[-1])
        )
        return cls.from_arrays(flat, ends, rows, key)

    @classmethod
    def from_arrays(
        cls,
        tokens: _Ints,
        offsets: _Ints,
        rows: Sequence[int] | _Ints | None = None,
        key: str = "",
    ) -> TitleTrie:
        """As ``build``, of sequence i = ``tokens[offsets[i]:offsets[i + 1]]``."""
        flat = np.ascontiguousarray(tokens, dtype=np.int32)
        starts = np.asarray(offsets, dtype=np.int64)
        row = np.asarray(range(len(starts) - 1) if rows is None else rows, dtype=np.int32)
        _check(flat, starts, row)
        return _build(flat, starts, row, key)

    @property
    def n_leaves(self) -> int:
        """How many different titles there are."""
        return len(self.rows) - len(self.repeats)

    @cached_property
    def n_rows(self) -> int:
        """One more than the highest row."""
        return int(self.rows.max()) + 1 if len(self.rows) else 0

    @property
    def nbytes(self) -> int:
        """Bytes of all the arrays."""
        return sum(int(getattr(self, a).nbytes) for a in _ARRAYS)

    @cached_property
    def _leaf_of(self) -> IntArray:
        out = np.full(self.n_rows + 1, -1, dtype=np.int32)  # one more, for rows out of range
        leaves = np.arange(self.n_leaves, dtype=np.int32)
        if len(self.repeats):
            leaves = np.repeat(leaves, 1 + np.bincount(self.repeats, minlength=len(leaves)))
        out[self.rows] = leaves
        return out

    @cached_property
    def lengths(self) -> _Ints:
        """How many tokens each title has [n_leaves], in as few bytes as they take."""
        below = np.zeros(len(self.lo), dtype=np.int32)
        out = self.tail_size[: self.n_leaves].astype(np.int32)
        nodes = np.zeros(1, dtype=np.int64)
        while len(nodes):
            edges, owner = self._ways(nodes)
            depth, leaf = below[nodes][owner] + 1, edges.child < 0
            out[~edges.child[leaf]] += depth[leaf]
            nodes = edges.child[~leaf].astype(np.int64)
            below[nodes] = depth[~leaf]
        return out.astype(np.min_scalar_type(int(out.max(initial=1))))

    def leaves_of(self, rows: _Ints) -> IntArray:
        """The leaf of each row, int32; -1 for a row without a title."""
        rows = np.asarray(rows, dtype=np.int64)
        known = (rows >= 0) & (rows < self.n_rows)
        return self._leaf_of[np.where(known, rows, self.n_rows)]

    def rows_of(self, leaf: int) -> IntArray:
        """The rows that bear the title, ascending."""
        before, after = np.searchsorted(self.repeats, (leaf, leaf + 1))
        return self.rows[leaf + before : leaf + 1 + after]

    @property
    def first_rows(self) -> IntArray:
        """int32 [n_leaves]: the first row of each title."""
        leaves = np.arange(self.n_leaves)
        out: IntArray = self.rows[leaves + np.searchsorted(self.repeats, leaves)]
        return out

    def tail(self, leaf: int) -> IntArray:
        """The tokens of a title after the edge that leads to its leaf."""
        block = leaf // _BLOCK
        start = int(self.tail_at[block]) + int(self.tail_size[block * _BLOCK : leaf].sum())
        return self.tails[start : start + int(self.tail_size[leaf])]

    def _tails_of(self, leaves: _Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where the tail of each of the leaves begins, and its size."""
        block, place = np.divmod(leaves, _BLOCK)
        sizes = self.tail_size.reshape(-1, _BLOCK)[block]
        before = (sizes * (np.arange(_BLOCK) < place[:, None])).sum(axis=1, dtype=np.int64)
        return self.tail_at[block] + before, self.tail_size[leaves].astype(np.int64)

    def ends_at(self, leaves: _Ints) -> npt.NDArray[np.bool_]:
        """Which of the leaves have no tail; what is negative is no leaf."""
        out: npt.NDArray[np.bool_] = self.tail_size[np.maximum(leaves, 0)] == 0
        return out & (leaves >= 0)

    def inner(self) -> IntArray:
        """Every token that is kept and is not the last one of a title."""
        edges, _ = self._ways(np.arange(len(self.lo)))
        on = (edges.child >= 0) | (self.tail_size[~np.minimum(edges.child, -1)] > 0)
        sizes = self.tail_size[: self.n_leaves].astype(np.int64)
        kept = np.ones(len(self.tails), dtype=bool)
        kept[np.cumsum(sizes)[sizes > 0] - 1] = False
        return np.concatenate((edges.tokens[on], self.tails[kept]))

    def open(self, leaves: _Ints | None = None) -> Open:
        """Open some leaves only (None: all of them); negative ones are passed over."""
        if leaves is None:
            return Open(np.arange(self.n_leaves, dtype=np.int32), None)
        flags = np.zeros(self.n_leaves, dtype=bool)
        flags[leaves[leaves >= 0]] = True
        running = np.zeros(self.n_leaves + 1, dtype=np.int32)
        np.cumsum(flags, out=running[1:])
        return Open(np.flatnonzero(flags).astype(np.int32), running)

    @cached_property
    def _top(self) -> Edges:
        return self._edges(0)

    def edges(self, node: int) -> Edges:
        """The ways on from ``node``."""
        return self._edges(node) if node else self._top

    def _edges(self, node: int) -> Edges:
        tok = self.tok[self.ptr[node] : self.ptr[node + 1]]
        leaf = tok < 0
        child = np.cumsum(~leaf, dtype=np.int32)
        child += self.first[node] - 1
        size = np.where(leaf, np.int32(1), self._under(child, leaf))
        hi = np.cumsum(size, dtype=np.int32)
        hi += self.lo[node]
        lo = hi - size
        return Edges(np.where(leaf, ~tok, tok), np.where(leaf, ~lo, child), lo, hi)

    def _under(self, child: _Ints, leaf: npt.NDArray[np.bool_]) -> IntArray:
        """How many leaves are under nodes; whatever where ``leaf``."""
        node = np.where(leaf, 0, child)
        return self.hi[node] - self.lo[node]

    def _ways(self, nodes: npt.NDArray[np.int64]) -> tuple[Edges, npt.NDArray[np.int64]]:
        """The ways on from many nodes, and the number of the node that each belongs to."""
        starts = self.ptr[nodes].astype(np.int64)
        counts = self.ptr[nodes + 1] - starts
        owner = np.repeat(np.arange(len(nodes)), counts)
        begins = np.cumsum(counts) - counts
        tok = self.tok[_ragged(starts, counts)]
        leaf = tok < 0

        def within(values: npt.NDArray[Any], base: IntArray) -> IntArray:
            """Running sums that begin anew at each node, on top of its ``base``."""
            total = np.concatenate(([0], np.cumsum(values, dtype=np.int64)))
            out: IntArray = (total[1:] + (base[nodes] - total[begins])[owner]).astype(np.int32)
            return out

        child = within(~leaf, self.first) - 1
        size = np.where(leaf, np.int32(1), self._under(child, leaf))
        hi = within(size, self.lo)
        lo = hi - size
        return Edges(np.where(leaf, ~tok, tok), np.where(leaf, ~lo, child), lo, hi), owner

    def sequence(self, leaf: int) -> list[int]:
        """The tokens of a title."""
        out: list[int] = []
        node = 0
        while node >= 0:
            edges = self.edges(node)
            i = int(np.searchsorted(edges.hi, leaf, side="right"))
            out.append(int(edges.tokens[i]))
            node = int(edges.child[i])
        out.extend(self.tail(leaf).tolist())
        return out

    def subtree(self, leaves: IntArray) -> Subtree:
        """The titles of some leaves (ascending, without repeats) as one tree of tokens."""
        tokens: list[IntArray] = []
        parents: list[IntArray] = []
        ends = np.zeros(len(leaves), dtype=np.int32)
        made = 0

        def add(new: IntArray, parent: _Ints) -> IntArray:
            nonlocal made
            tokens.append(new)
            parents.append(parent.astype(np.int32))
            made += len(new)
            return np.arange(made - len(new), made, dtype=np.int32)

        nodes = np.zeros(min(1, len(leaves)), dtype=np.int64)
        at = np.full(len(nodes), -1, dtype=np.int32)
        while len(nodes):
            ways, owner = self._ways(nodes)
            first = np.searchsorted(leaves, ways.lo)
            kept = np.searchsorted(leaves, ways.hi) > first
            child, owner, first = ways.child[kept], owner[kept], first[kept]
            ids = add(ways.tokens[kept], at[owner])
            leaf = child < 0
            starts, sizes = self._tails_of(~child[leaf])
            begins = np.cumsum(sizes) - sizes + made
            chain = np.arange(made - 1, made - 1 + int(sizes.sum()))
            chain[begins[sizes > 0] - made] = ids[leaf][sizes > 0]
            add(self.tails[_ragged(starts, sizes)], chain)
            ends[first[leaf]] = np.where(sizes > 0, begins + sizes - 1, ids[leaf])
            nodes, at = child[~leaf].astype(np.int64), ids[~leaf]
        if not tokens:
            return Subtree(*(np.zeros(0, dtype=np.int32) for _ in range(3)))
        return Subtree(np.concatenate(tokens), np.concatenate(parents), ends)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trie to one file, which appears whole or not at all."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        head = {"key": self.key, "arrays": {n: [a.dtype.str, len(a)] for n, a in arrays.items()}}
        header = _MAGIC + json.dumps(head).encode() + b"\n"
        write_aligned(Path(path), header, arrays.values())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TitleTrie:
        """The trie of a file, memory-mapped: its pages are read as they are needed.

        Raises
        ------
        InputError: the file does not exist or is not a whole trie.
        """
        try:
            data = np.memmap(path, dtype=np.uint8, mode="r")
            # No header is longer than this: a key is a digest.
            magic, _, rest = bytes(data[:65536]).partition(b"\n")
            head, newline, _ = rest.partition(b"\n")
            if magic + b"\n" != _MAGIC or not newline:
                raise ValueError("it does not begin as one")
            meta = json.loads(head)
            at = len(magic) + len(head) + 2
            arrays: dict[str, Any] = {}
            for name in _ARRAYS:
                at += -at % ALIGN
                kind, count = meta["arrays"][name]
                if kind not in _DTYPES or (kind != "<i4" and name != "tail_size"):
                    raise ValueError(f"its {name} are {kind}")
                size = np.dtype(kind).itemsize * int(count)
                if size < 0 or at + size > len(data):
                    raise ValueError("it is cut short")
                arrays[name] = np.asarray(data[at : at + size]).view(kind)
                at += size
            trie = cls(**arrays, key=str(meta["key"]))
            if not trie._whole():
                raise ValueError("its parts do not fit together")
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise InputError(
                f"{path} is not a trie of titles ({e}): delete it, and it is built anew"
            ) from None
        return trie

    def _whole(self) -> bool:
        return (
            len(self.ptr) == len(self.lo) + 1 == len(self.hi) + 1 == len(self.first) + 1 >= 2
            and (self.ptr[-1], self.hi[0]) == (len(self.tok), self.n_leaves)
            and len(self.tail_size) == _BLOCK * (len(self.tail_at) - 1)
            and _BLOCK > len(self.tail_size) - self.n_leaves >= 0
            and self.tail_at[-1] == len(self.tails)
        )


def _ragged(starts: _Ints, sizes: _Ints) -> npt.NDArray[np.int64]:
    """The indices of many slices, one after the other."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _check(tokens: IntArray, offsets: npt.NDArray[np.int64], row: IntArray) -> None:
    sizes = np.diff(offsets)
    if len(row) != len(sizes):
        raise InputError(f"{len(sizes)} sequences came with {len(row)} rows: give one row for each")
    if len(sizes) and sizes.min() <= 0:
        raise InputError(
            f"the title of row {row[sizes.argmin()]} has no tokens: leave such rows out"
        )
    if len(tokens) and tokens.min() < 0:
        raise InputError(f"a token is {tokens.min()}: tokens are numbers from 0 on")
    if len(row) and (row.min() < 0 or np.bincount(row).max() > 1):
        raise InputError("a row is negative or given twice: give one title for each row")


def _build(tokens: IntArray, offsets: npt.NDArray[np.int64], row: IntArray, key: str) -> TitleTrie:
    """Sort, then branch a level at a time, only where titles still share their path."""
    sizes = np.diff(offsets).astype(np.int32)
    order, shared = _sorted(tokens, offsets, sizes)
    size = sizes[order]
    again = np.zeros(len(order), dtype=bool)
    again[1:] = shared[1:] == size[:-1]
    cut = np.flatnonzero(again & (size > shared))
    if len(cut):
        raise InputError(
            f"the title of row {row[order[cut[0] - 1]]} is the beginning of another one: "
            "end every sequence with a terminator"
        )
    leaf = np.cumsum(~again, dtype=np.int32) - 1
    rows = row[order]
    if again.any():
        rows = rows[np.lexsort((rows, leaf))]
    seq = order[~again]
    begins = offsets[seq]
    n = len(seq)
    ptr, tok, lo, hi, depth = _levels(tokens, begins, shared[~again])
    tail = sizes[seq] - depth
    width = next(np.dtype(t) for t in _DTYPES if tail.max(initial=0) <= np.iinfo(t).max)
    tail_size = np.zeros(-(-n // _BLOCK) * _BLOCK, dtype=width)
    tail_size[:n] = tail
    in_block = tail_size.reshape(-1, _BLOCK).sum(axis=1, dtype=np.int64)
    below = np.concatenate(([0], np.cumsum(tok >= 0)))[ptr[:-1]]
    return TitleTrie(
        ptr=ptr,
        tok=tok,
        first=(below + 1).astype(np.int32),
        lo=lo,
        hi=hi,
        tail_at=np.concatenate(([0], np.cumsum(in_block))).astype(np.int32),
        tail_size=tail_size,
        tails=tokens[_ragged(begins + depth, tail)],
        rows=rows,
        repeats=leaf[again],
        key=key,
    )


def _sorted(
    tokens: IntArray, offsets: npt.NDArray[np.int64], sizes: IntArray
) -> tuple[npt.NDArray[np.int64], IntArray]:
    """The order of the sequences, and how many tokens each shares with the one before.

    As many tokens at a time as fit into a number, and only where sequences are still equal.
    """
    n = len(sizes)
    order = np.arange(n)
    shared = np.zeros(n, dtype=np.int32)
    bits = (int(tokens.max(initial=0)) + 1).bit_length()
    pos, group = np.arange(n), np.zeros(n, dtype=np.int64)
    depth = 0
    while len(pos):
        at_once = (63 - int(group[-1]).bit_length()) // bits
        seq = order[pos]
        rank = group
        start, left = offsets[seq] + depth, sizes[seq] - depth
        for i in range(at_once):
            more = left > i
            rank = (rank << bits) + np.where(more, tokens[np.where(more, start + i, 0)] + 1, 0)
        by = np.argsort(rank)
        rank, seq = rank[by], seq[by]
        order[pos] = seq
        differ = rank[1:] ^ rank[:-1]
        same = np.zeros(len(differ), dtype=np.int32)
        for i in range(at_once):
            same += differ < 1 << bits * i
        inside = differ < 1 << bits * at_once
        shared[pos[1:][inside]] = depth + same[inside]
        depth += at_once
        tied = np.concatenate(([False], differ == 0, [False]))
        on = (tied[1:] | tied[:-1]) & (sizes[seq] >= depth)  # one that ends here comes first
        pos = pos[on]
        group = np.cumsum(~tied[:-1][on]) - 1
    ends = np.minimum(sizes[order[1:]], sizes[order[:-1]])
    np.minimum(shared[1:], ends, out=shared[1:])
    return order, shared


def _levels(
    tokens: IntArray, begins: npt.NDArray[np.int64], shared: IntArray
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    """``ptr``, ``tok``, ``lo``, ``hi``, and at which depth each leaf is alone.

    begins: where each sequence begins, in their order. shared: as ``_sorted`` gives it.
    """
    alone = np.zeros(len(begins), dtype=np.int32)
    counts, toks = [], []
    los, his = [np.zeros(1, dtype=np.int64)], [np.full(1, len(begins))]
    on = np.arange(len(begins))
    depth = 0
    while len(on):
        common = shared[on]
        starts = np.flatnonzero(common <= depth)
        at = on[starts]
        size = np.diff(np.append(starts, len(on)))
        begun = common[starts] < depth
        begun[0] = True
        counts.append(np.diff(np.append(np.flatnonzero(begun), len(at))))
        tok = tokens[begins[at] + depth]
        single = size == 1
        toks.append(np.where(single, ~tok, tok))
        depth += 1
        alone[at[single]] = depth
        los.append(at[~single])
        his.append((at + size)[~single])
        on = on[np.repeat(~single, size)]
    degrees = np.concatenate([[0], *counts] if counts else [[0], [0]])
    return (
        np.cumsum(degrees).astype(np.int32),
        np.concatenate([np.zeros(0, dtype=np.int32), *toks]),
        np.concatenate(los).astype(np.int32),
        np.concatenate(his).astype(np.int32),
        alone,
    )
