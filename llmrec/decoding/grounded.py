"""GroundedList hides how the entries of lists inside free text are kept to the titles of a trie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.models.base import IntArray, ScoringModel
from llmrec.trie import Edges, TitleTrie

if TYPE_CHECKING:
    import torch

__all__ = ["GroundedList"]

_NEWLINES = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_BLANKS = " \t\xa0\u1680\u202f\u205f\u3000\u200b\u2060\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_BULLETS = "-*+•◦‣⁃∙·–—−●○▪■►➤"
_START, _NUMBER, _PROSE, _MARK = range(4)
_CROSSED = -1


class _Lines:
    """Where in its line a text stands, by its bytes: an automaton that finds the marks of lists.

    A mark is a bullet, or digits and one of ".):", with nothing but blanks before it in its line.
    A token that writes on after a mark is ``_CROSSED``: what follows a mark is for the trie alone.
    """

    def __init__(self, token_bytes: tuple[bytes, ...]) -> None:
        sizes = np.array([len(b) for b in token_bytes], dtype=np.int64)
        self._order = np.argsort(sizes, kind="stable")
        self._sizes = sizes[self._order]
        width = max(1, int(sizes.max(initial=0)))
        padded = np.array(token_bytes, dtype=f"S{width}").view(np.uint8).reshape(-1, width)
        self._padded = padded[self._order]
        self._after: dict[int, npt.NDArray[np.int16]] = {}
        special = {c.encode(): c for c in _NEWLINES + _BLANKS + _BULLETS if len(c.encode()) > 1}
        begun = {code[:n] for code in special for n in range(1, len(code))}
        numbers: dict[tuple[int, bytes], int] = {(k, b""): k for k in range(4)}
        todo = [(k, b"") for k in (_START, _NUMBER, _PROSE)]
        table: dict[int, list[int]] = {_MARK: [_CROSSED] * 256}
        while todo:
            kind, pending = todo.pop()
            row = []
            for byte in range(256):
                code = pending + bytes([byte])
                if code in begun:
                    to = (kind, code)
                elif code in special:
                    to = (self._kind(kind, special[code]), b"")
                elif pending and bytes([byte]) in begun:
                    to = (_PROSE, bytes([byte]))
                else:
                    char = chr(byte) if byte < 128 else "x"
                    to = (self._kind(_PROSE if pending else kind, char), b"")
                if to not in numbers:
                    numbers[to] = len(numbers)
                    todo.append(to)
                row.append(numbers[to])
            table[numbers[kind, pending]] = row
        self.next = np.array([table[i] for i in range(len(table))], dtype=np.int16)

    @staticmethod
    def _kind(kind: int, char: str) -> int:
        if char in _NEWLINES:
            return _START
        if kind == _START:
            if char in _BLANKS:
                return _START
            if char in _BULLETS:
                return _MARK
            return _NUMBER if char in "0123456789" else _PROSE
        if kind == _NUMBER and char in "0123456789.):":
            return _NUMBER if char.isdigit() else _MARK
        return _PROSE

    def after(self, state: int) -> npt.NDArray[np.int16]:
        """The state after each token of the vocabulary, int16 [vocabulary]."""
        if state not in self._after:
            out = np.full(len(self._sizes), state, dtype=np.int16)
            for i in range(self._padded.shape[1]):
                live = slice(int(np.searchsorted(self._sizes, i, side="right")), None)
                before = out[live]
                out[live] = np.where(before < 0, _CROSSED, self.next[before, self._padded[live, i]])
            out[self._sizes == 0] = _CROSSED  # special tokens
            known = np.empty_like(out)
            known[self._order] = out
            self._after[state] = known
        return self._after[state]


@lru_cache(maxsize=4)
def _lines(token_bytes: tuple[bytes, ...]) -> _Lines:
    return _Lines(token_bytes)


def _ends_early(trie: TitleTrie, ends: Sequence[int]) -> bool:
    """Whether a token that ends a turn stands anywhere but at the end of a title."""
    return bool(np.isin(trie.inner(), ends).any())


class _At(NamedTuple):
    """Where the writing of one text stands: in prose (``line``), in an entry, or over."""

    line: int
    node: int | None = None  # within an entry: a node, or ~leaf
    tail: int = 0  # how many tokens of the leaf's tail stand
    used: tuple[int, ...] = ()
    over: bool = False


class GroundedList:
    """Keeps the entries of lists in free text to the titles of a trie, each at most once.

    After a mark at the start of a line ("1.", "2)", "-", "•"), only the tokens of a title that is
    still open can follow, to its end; elsewhere the text is free. It is a ``LogitsProcessor`` for
    one call of ``generate``, of this package or of transformers, with any number of texts or beams.

    Parameters
    ----------
    trie: of entries that end in a newline or in the end of turn.
    allowed: the rows that may be listed; None: all.
    max_entries: how many entries a text may have.
    max_new_tokens: as given to ``generate``: no entry is begun that might be cut off.
    """

    def __init__(
        self,
        model: ScoringModel,
        trie: TitleTrie,
        *,
        allowed: npt.NDArray[np.integer[Any]] | None = None,
        max_entries: int | None = None,
        max_new_tokens: int | None = None,
    ) -> None:
        self.trie, self.ends = trie, model.end_ids
        self.open = trie.open(None if allowed is None else trie.leaves_of(allowed))
        if _ends_early(trie, self.ends):  # such a title would be cut off
            whole = [t for t in self.open.leaves if not {*trie.sequence(t)[:-1]} & {*self.ends}]
            self.open = trie.open(np.array(whole, dtype=np.int32))
        self.max_entries, self.max_new_tokens = max_entries, max_new_tokens
        self._dropped: Any = 0
        self._allowed = None if allowed is None else np.asarray(allowed)
        self._longest = int(trie.lengths[self.open.leaves].max(initial=0))
        self._bytes = tuple(model.token_bytes)
        self._lines = _lines(self._bytes)
        self._start: int | None = None
        self._seen: dict[tuple[int, ...], _At] = {}

    @property
    def dropped(self) -> int:
        """How many entries the model gave no probability, so that the text was ended instead."""
        return int(self._dropped)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """``scores`` [texts, vocabulary] with all but the permitted tokens at -inf.

        input_ids: [texts, tokens], the prompts and what was generated. The first call is taken as
            the one where nothing was generated yet.
        """
        import torch

        if self._start is None:
            self._start = input_ids.shape[1]
        out = torch.full_like(scores, -math.inf)
        states: dict[tuple[int, ...], _At] = {}
        kept: dict[_At, torch.Tensor] = {}
        rows: list[_At] = []
        possible = []
        # Nothing but the ids is read back from the device, which goes on working meanwhile.
        for i, ids in enumerate(input_ids[:, self._start :].tolist()):
            states[tuple(ids)] = at = self._state(tuple(ids))
            rows.append(at)
            if at not in kept:
                allowed = self.permitted(at, len(ids))
                kept[at] = torch.from_numpy(allowed[allowed < out.shape[1]]).to(out.device)
            own = scores[i, kept[at]].float().nan_to_num(-math.inf, posinf=1e30)
            out[i, kept[at]] = own.to(out.dtype)
            possible.append(torch.isfinite(own).any())
        self._seen = states
        self._rescue(out, rows, torch.stack(possible))
        return out

    def _rescue(self, out: torch.Tensor, rows: Sequence[_At], possible: torch.Tensor) -> None:
        """Give texts that cannot go on what ``fallback`` says, and count what that drops."""
        import torch

        tokens = torch.tensor([self.fallback(at) for at in rows], device=out.device)[:, None]
        written = out.gather(1, tokens)
        out.scatter_(1, tokens, written.where(possible[:, None], torch.zeros_like(written)))
        not_begun = torch.tensor([at.node == at.tail == 0 for at in rows], device=out.device)
        self._dropped = self._dropped + (not_begun & ~possible).sum()

    def permitted(self, at: _At, written: int = 0) -> npt.NDArray[np.int64]:
        """The tokens that may follow, ascending."""
        if at.over:
            return np.array(sorted(self.ends))
        if at.node is None:
            after = self._lines.after(at.line)
            flags = after >= 0
            if not self._room(at, written):
                flags &= after != _MARK
            flags[list(self.ends)] = True
            return np.flatnonzero(flags)
        if at.node < 0:
            return self.trie.tail(~at.node)[at.tail : at.tail + 1].astype(np.int64)
        return self._ways(at).tokens.astype(np.int64)

    def _ways(self, at: _At) -> Edges:
        """The open ways on from a node."""
        edges = self.trie.edges(at.node or 0)
        if self.open.running is None and not at.used:
            return edges
        left = self.open.count(edges.lo, edges.hi)
        for leaf in at.used:
            left = left - ((edges.lo <= leaf) & (leaf < edges.hi))
        return Edges(*(part[left > 0] for part in edges))

    def fallback(self, at: _At) -> int:
        """What follows where the model finds nothing permitted possible: still inside the mask.

        An entry that was not begun is dropped, and the text ends; one that was is written out.
        """
        if at.node is None or at.over or at.node == at.tail == 0:
            return self.ends[0]
        return int(self.permitted(at)[0])

    def advance(self, at: _At, token: int) -> _At:
        """Where the text stands after one more token; over, for one that was not permitted."""
        if at.over or (token in self.ends and at.node is None):
            return at._replace(over=True)
        if at.node is None:
            line = int(self._lines.after(at.line)[token])
            if line == _MARK and self._room(at, 0):
                return at._replace(node=0, tail=0)
            return at._replace(line=line, over=line < 0 or line == _MARK)
        if at.node < 0:
            if token not in self.permitted(at):
                return at._replace(over=True)
            return self._entered(at, ~at.node, at.tail + 1, token)
        ways = self._ways(at)
        i = int(np.searchsorted(ways.tokens, token))
        if i == len(ways.tokens) or ways.tokens[i] != token:
            return at._replace(over=True)
        child = int(ways.child[i])
        if child >= 0:
            return at._replace(node=child)
        return self._entered(at, ~child, 0, token)

    def begin(self) -> _At:
        """Where an empty text stands."""
        return _At(_START)

    def rows(self, generated: Sequence[int]) -> list[IntArray]:
        """The catalogue rows of each entry of a generated text, in its order."""
        out = []
        for leaf in self._state(tuple(generated)).used:
            rows = self.trie.rows_of(leaf)
            out.append(rows if self._allowed is None else rows[np.isin(rows, self._allowed)])
        return out

    def _entered(self, at: _At, leaf: int, tail: int, token: int) -> _At:
        if tail < len(self.trie.tail(leaf)):
            return at._replace(node=~leaf, tail=tail)
        line = _PROSE
        for byte in self._bytes[token]:
            line = int(self._lines.next[line, byte])
        return _At(line, None, 0, (*at.used, leaf), token in self.ends)

    def _room(self, at: _At, written: int) -> bool:
        """Whether one more entry may be begun."""
        return (
            len(at.used) < len(self.open.leaves)
            and (self.max_entries is None or len(at.used) < self.max_entries)
            and (self.max_new_tokens is None or written + 1 + self._longest <= self.max_new_tokens)
        )

    def _state(self, ids: tuple[int, ...]) -> _At:
        known = self._seen.get(ids[:-1]) if ids else None
        at = self.begin() if known is None else known
        for token in ids if known is None else ids[-1:]:
            at = self.advance(at, token)
        return at
