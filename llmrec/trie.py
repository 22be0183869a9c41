"""TitleTrie hides how the token sequences of many titles are stored, walked and closed: in arrays.

A node that branches is a row of a CSR table (``ptr``, ``tok``, ``child``); from where a title is
alone on its path, its further tokens are a flat tail. Leaves are numbered in depth-first order, so
that whatever lies under a node is one range of leaves: how much of a subtree is still open is the
difference of two entries of a running count.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError

__all__ = ["Edges", "Open", "Subtree", "TitleTrie"]

IntArray = npt.NDArray[np.int32]
_Ints = npt.NDArray[np.integer[Any]]

_MAGIC = b"llmrec-trie 1\n"
_ALIGN = 64
_ARRAYS = ("ptr", "tok", "child", "lo", "hi", "tail_ptr", "tails", "row_ptr", "rows")


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
    tok, child: int32 [n_edges], see ``Edges``.
    lo, hi: int32 [n_nodes], the range of leaves under each node.
    tail_ptr, tails: the further tokens of each leaf after its edge.
    row_ptr, rows: the catalogue rows of each leaf, ascending: equal titles share a leaf.
    key: what the trie was built from (tokenizer, terminator, catalogue), for caches.
    """

    ptr: IntArray
    tok: IntArray
    child: IntArray
    lo: IntArray
    hi: IntArray
    tail_ptr: IntArray
    tails: IntArray
    row_ptr: IntArray
    rows: IntArray
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
        return len(self.row_ptr) - 1

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
        out[self.rows] = np.repeat(
            np.arange(self.n_leaves, dtype=np.int32), np.diff(self.row_ptr).astype(np.int64)
        )
        return out

    @cached_property
    def lengths(self) -> IntArray:
        """int32 [n_leaves]: how many tokens each title has."""
        depth = np.zeros(len(self.lo), dtype=np.int32)
        out = np.diff(self.tail_ptr).astype(np.int32)
        nodes = np.zeros(min(1, len(self.lo)), dtype=np.int64)
        while len(nodes):
            edges, owner = self._edges_of(nodes)
            child, below = self.child[edges], depth[nodes][owner] + 1
            leaf = child < 0
            out[~child[leaf]] += below[leaf]
            nodes = child[~leaf].astype(np.int64)
            depth[nodes] = below[~leaf]
        return out

    def leaves_of(self, rows: _Ints) -> IntArray:
        """The leaf of each row, int32; -1 for a row without a title."""
        rows = np.asarray(rows, dtype=np.int64)
        known = (rows >= 0) & (rows < self.n_rows)
        return self._leaf_of[np.where(known, rows, self.n_rows)]

    def rows_of(self, leaf: int) -> IntArray:
        """The rows that bear the title, ascending."""
        return self.rows[self.row_ptr[leaf] : self.row_ptr[leaf + 1]]

    def tail(self, leaf: int) -> IntArray:
        """The tokens of a title after the edge that leads to its leaf."""
        return self.tails[self.tail_ptr[leaf] : self.tail_ptr[leaf + 1]]

    def open(self, leaves: _Ints | None = None) -> Open:
        """Open some leaves only (None: all of them); negative ones are passed over."""
        if leaves is None:
            return Open(np.arange(self.n_leaves, dtype=np.int32), None)
        flags = np.zeros(self.n_leaves, dtype=bool)
        flags[leaves[leaves >= 0]] = True
        running = np.zeros(self.n_leaves + 1, dtype=np.int32)
        np.cumsum(flags, out=running[1:])
        return Open(np.flatnonzero(flags).astype(np.int32), running)

    def edges(self, node: int) -> Edges:
        """The ways on from ``node``."""
        part = slice(self.ptr[node], self.ptr[node + 1])
        child = self.child[part]
        lo, hi = self._range(child)
        return Edges(self.tok[part], child, lo, hi)

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
            edges, owner = self._edges_of(nodes)
            lo, hi = self._range(self.child[edges])
            first = np.searchsorted(leaves, lo)
            kept = np.searchsorted(leaves, hi) > first
            edges, owner, first = edges[kept], owner[kept], first[kept]
            child = self.child[edges]
            ids = add(self.tok[edges], at[owner])
            leaf = child < 0
            which = ~child[leaf]
            starts = self.tail_ptr[which].astype(np.int64)
            sizes = self.tail_ptr[which + 1] - starts
            begins = np.cumsum(sizes) - sizes + made
            chain = np.arange(made - 1, made - 1 + int(sizes.sum()))
            chain[begins[sizes > 0] - made] = ids[leaf][sizes > 0]
            add(self.tails[_ragged(starts, sizes)], chain)
            ends[first[leaf]] = np.where(sizes > 0, begins + sizes - 1, ids[leaf])
            nodes, at = child[~leaf].astype(np.int64), ids[~leaf]
        if not tokens:
            return Subtree(*(np.zeros(0, dtype=np.int32) for _ in range(3)))
        return Subtree(np.concatenate(tokens), np.concatenate(parents), ends)

    def _range(self, child: IntArray) -> tuple[IntArray, IntArray]:
        leaf = child < 0
        node = np.where(leaf, 0, child)
        return np.where(leaf, ~child, self.lo[node]), np.where(leaf, -child, self.hi[node])

    def _edges_of(self, nodes: npt.NDArray[np.int64]) -> tuple[_Ints, _Ints]:
        starts = self.ptr[nodes].astype(np.int64)
        sizes = self.ptr[nodes + 1] - starts
        return _ragged(starts, sizes), np.repeat(np.arange(len(nodes)), sizes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trie to one file, which appears whole or not at all."""
        path = Path(path)
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        head = {"key": self.key, "sizes": {name: len(a) for name, a in arrays.items()}}
        header = _MAGIC + json.dumps(head).encode() + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(header)
                for array in arrays.values():
                    f.write(b"\0" * (-f.tell() % _ALIGN))
                    f.write(array.tobytes())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

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
            arrays: dict[str, IntArray] = {}
            for name in _ARRAYS:
                at += -at % _ALIGN
                size = 4 * int(meta["sizes"][name])
                if size < 0 or at + size > len(data):
                    raise ValueError("it is cut short")
                arrays[name] = np.asarray(data[at : at + size]).view(np.int32)
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
        ends = (
            (self.ptr, self.tok),
            (self.tail_ptr, self.tails),
            (self.row_ptr, self.rows),
        )
        return (
            len(self.tok) == len(self.child)
            and len(self.ptr) == len(self.lo) + 1 == len(self.hi) + 1 >= 2
            and len(self.tail_ptr) == len(self.row_ptr)
            and all(len(p) > 0 and p[-1] == len(values) for p, values in ends)
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
    """Sort and branch in one go, a level at a time, only where titles still share their path."""
    n = len(row)
    sizes = np.diff(offsets).astype(np.int32)
    order = np.arange(n)
    pos, group = np.arange(n), np.zeros(n, dtype=np.int64)
    first = np.ones(n, dtype=bool)
    node_at, node_size = np.zeros(1, dtype=np.int64), np.full(1, n, dtype=np.int64)
    levels = []
    depth = 0
    while len(pos):
        seq = order[pos]
        more = sizes[seq] > depth
        token = np.where(more, tokens[np.where(more, offsets[seq] + depth, 0)], -1)
        rank = (group << 32) | (token + 1).astype(np.int64)
        by = np.argsort(rank)
        rank, token = rank[by], token[by]
        order[pos] = seq[by]
        start = np.flatnonzero(np.concatenate(([True], rank[1:] != rank[:-1])))
        size = np.diff(np.append(start, len(rank)))
        at, tok = pos[start], token[start]
        parent = np.searchsorted(node_at, group[start])
        ended = tok < 0
        if ended.any():
            cut = ended & (size != node_size[parent])
            if cut.any():
                raise InputError(
                    f"the title of row {row[order[at[cut][0]]]} is the beginning of another one: "
                    "end every sequence with a terminator"
                )
            repeats = np.repeat(ended, size)
            repeats[start] = False
            first[pos[repeats]] = False
        edge = ~ended
        levels.append((node_at, node_size, parent[edge], tok[edge], at[edge], size[edge]))
        on = edge & (size > 1)
        node_at, node_size = at[on], size[on]
        still = np.repeat(on, size)
        group, pos = np.repeat(at, size)[still], pos[still]
        depth += 1

    leaf = np.cumsum(first) - 1
    heads = np.flatnonzero(first)
    tail_from = np.zeros(len(heads), dtype=np.int64)
    counts, toks, children = [], [], []
    los, his = [], []
    nodes = 1
    for d, (node_at, node_size, parent, tok, at, size) in enumerate(levels):
        lo, hi = leaf[at], leaf[at + size - 1] + 1
        node_lo, node_hi = leaf[node_at], leaf[node_at + node_size - 1] + 1
        # Equal titles go on together: what lies below their leaf is its tail, not nodes.
        kept = (node_hi - node_lo > 1) | (d == 0)
        edge = kept[parent]
        parent, tok, lo, hi = parent[edge], tok[edge], lo[edge], hi[edge]
        counts.append(np.bincount(parent, minlength=len(node_at))[kept])
        los.append(node_lo[kept])
        his.append(node_hi[kept])
        alone = hi - lo == 1
        tail_from[lo[alone]] = d + 1
        child = ~lo
        below = int((~alone).sum())
        child[~alone] = np.arange(nodes, nodes + below)
        nodes += below
        toks.append(tok)
        children.append(child)

    def joined(parts: list[Any]) -> IntArray:
        return np.concatenate([np.zeros(0, dtype=np.int32), *parts]).astype(np.int32)

    def pointers(counts: _Ints) -> IntArray:
        return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)

    if not levels:
        counts, los, his = [np.zeros(1)], [np.zeros(1)], [np.zeros(1)]
    seq = order[heads]
    tail_size = sizes[seq] - tail_from
    rows = row[order]
    row_ptr = np.append(heads, n).astype(np.int32)
    if len(heads) < n:
        rows = rows[np.lexsort((rows, leaf))]
    return TitleTrie(
        ptr=pointers(joined(counts)),
        tok=joined(toks),
        child=joined(children),
        lo=joined(los),
        hi=joined(his),
        tail_ptr=pointers(tail_size),
        tails=tokens[_ragged(offsets[seq] + tail_from, tail_size)],
        row_ptr=row_ptr,
        rows=rows,
        key=key,
    )
