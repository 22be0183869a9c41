"""Measure and Candidates hide what titles are ordered by, and which of them may be named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.models.base import IntArray
from llmrec.trie import Edges, Open, TitleTrie

__all__ = ["Candidates", "Measure", "Normalise", "Ranking", "Rows", "Scores"]

Normalise = Literal["none", "length", "pmi"]
Rows = npt.NDArray[np.integer[Any]]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best titles of one prompt, best first; equal scores in the order of the trie.

    Attributes
    ----------
    rows: int32 [at most k], the catalogue rows; items that share a title follow each other.
    logprobs: float64, the natural logarithm of each title's probability after the prompt.
    scores: float64, what the order is by: the same, or normalised.
    exact: whether it is proven that no other title belongs here.
    gap: by how much another title may at most surpass the last score here; 0 where exact,
        infinite where the list was left short.
    forwards, tokens: what it took: forwards of the model, the prompt's included, and tokens fed
        to it after the prompt.
    dropped: titles met that cannot be ranked: their probability is nought or not a number, or
        they are not in the trie.
    """

    rows: IntArray
    logprobs: Scores
    scores: Scores
    exact: bool
    gap: float
    forwards: int
    tokens: int
    dropped: int


class Measure:
    """What titles are ordered by, and how good a title below a path can become at most."""

    def __init__(self, trie: TitleTrie, normalise: Normalise, baseline: Scores | None) -> None:
        if normalise not in ("none", "length", "pmi"):
            raise InputError(f"normalise is {normalise!r}: use 'none', 'length' or 'pmi'")
        if (normalise == "pmi") != (baseline is not None):
            raise InputError(
                f"normalise is {normalise!r} and a baseline was "
                f"{'not ' * (baseline is None)}given: 'pmi' needs one, the others take none"
            )
        self.kind = normalise
        self.per_leaf: Scores | None = None
        if normalise == "length":
            self.per_leaf = trie.lengths.astype(np.float64)
        elif baseline is not None:
            if len(baseline) != trie.n_rows:
                raise InputError(
                    f"the baseline has {len(baseline)} values for {trie.n_rows} rows: "
                    "take it from score_titles for all rows"
                )
            self.per_leaf = np.asarray(baseline, np.float64)[trie.first_rows]

    def usable(self, leaves: IntArray) -> npt.NDArray[np.bool_]:
        """Of which of the leaves a score can be had at all."""
        if self.per_leaf is None:
            return np.ones(len(leaves), dtype=bool)
        return np.isfinite(self.per_leaf[leaves])

    def final(self, logprobs: Scores, leaves: IntArray) -> Scores:
        """The scores of finished titles."""
        if self.per_leaf is None:
            return logprobs
        values = self.per_leaf[leaves]
        return logprobs / values if self.kind == "length" else logprobs - values

    def bound(self, logprobs: Scores, best: Scores | None) -> Scores:
        """The highest score that is left below paths of these log-probabilities."""
        if best is None:
            return logprobs
        return logprobs / best if self.kind == "length" else logprobs - best

    def best(self, open_: Open) -> Scores | None:
        """Per leaf, what makes its bound: closed leaves promise nothing."""
        if self.per_leaf is None:
            return None
        out = np.full(len(self.per_leaf), 1.0 if self.kind == "length" else np.inf)
        out[open_.leaves] = self.per_leaf[open_.leaves]
        return out

    def over(self, best: Scores | None, edges: Edges) -> Scores | None:
        """``best`` over the leaves of each of the edges."""
        if best is None:
            return None
        part = best[edges.lo[0] : edges.hi[-1]]
        by = np.maximum if self.kind == "length" else np.minimum
        return np.asarray(by.reduceat(part, edges.lo - edges.lo[0]))


class Candidates(NamedTuple):
    """The titles that one prompt may be answered with."""

    trie: TitleTrie
    open: Open
    rows: npt.NDArray[np.bool_] | None  # per row of the trie; None: every row
    missing: int

    @classmethod
    def of(cls, trie: TitleTrie, rows: Rows | None, measure: Measure) -> Candidates:
        flags, missing = None, 0
        leaves = np.arange(trie.n_leaves, dtype=np.int32)
        if rows is not None:
            asked = np.unique(np.asarray(rows, dtype=np.int64))
            known = asked[trie.leaves_of(asked) >= 0]
            missing = len(asked) - len(known)
            flags = np.zeros(trie.n_rows, dtype=bool)
            flags[known] = True
            leaves = np.unique(trie.leaves_of(known))
        usable = measure.usable(leaves)
        missing += int((~usable).sum())
        return cls(
            trie,
            trie.open(None if usable.sum() == trie.n_leaves else leaves[usable]),
            flags,
            missing,
        )

    def ranking(self, k: int, found: Sequence[tuple[float, int, float]], **facts: Any) -> Ranking:
        """``found``: score, leaf and log-probability, best first."""
        rows: list[int] = []
        logprobs: list[float] = []
        scores: list[float] = []
        for score, leaf, logprob in found:
            shared = self.trie.rows_of(leaf)
            shared = shared if self.rows is None else shared[self.rows[shared]]
            rows += shared.tolist()
            logprobs += [logprob] * len(shared)
            scores += [score] * len(shared)
        return Ranking(
            np.array(rows[:k], dtype=np.int32),
            np.array(logprobs[:k], dtype=np.float64),
            np.array(scores[:k], dtype=np.float64),
            **facts,
        )
