"""Search hides how the best titles are found without looking at all of them, exactly.

Log-probabilities only fall along a path, so a k-th finished title closes every path that is
already below it.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from llmrec.decoding.measure import Candidates, Measure, Ranking, Rows, Scores
from llmrec.models.base import FloatArray, Growth, IntArray, nothing
from llmrec.trie import Edges

__all__ = ["Search"]


class _Siblings:
    """The children of one node that still have to go on, best bound first."""

    __slots__ = ("at", "bounds", "child", "i", "logprobs", "tokens")

    def __init__(
        self, at: int, bounds: Scores, logprobs: Scores, tokens: IntArray, child: IntArray
    ) -> None:
        order = np.argsort(-bounds, kind="stable")
        self.at = at
        self.bounds = bounds[order]
        self.logprobs = logprobs[order]
        self.tokens = tokens[order]
        self.child = child[order]
        self.i = 0


class _Way(NamedTuple):
    """Tokens that follow each other without a choice, and what comes then.

    logprob: of what stands, the first token included.
    child: a node, where ``edges`` go on and all tokens are fed; or ``~leaf``, where the last token
        is only asked for.
    last: the forest's index of the last node that was fed.
    """

    logprob: float
    tokens: list[int]
    child: int
    edges: Edges | None
    last: int


class Search:
    """Best-first search for one prompt: ``propose`` what to feed, ``accept`` what came of it."""

    def __init__(
        self,
        prompt: Sequence[int],
        candidates: Candidates,
        k: int,
        measure: Measure,
        budget: int | None,
        width: int,
    ) -> None:
        self.prompt = prompt
        self.candidates, self.trie, self.open = candidates, candidates.trie, candidates.open
        self.k, self.measure, self.budget, self.width = k, measure, budget, width
        self.best = measure.best(self.open)
        self.found: list[tuple[float, int, float]] = []  # a heap: score, -leaf, log-probability
        self.frontier: list[tuple[float, int, _Siblings]] = []
        self.turn = itertools.count()
        self.ways: list[_Way] = []
        self.fed = self.forwards = 0
        self.dropped = candidates.missing
        self.stopped_at = -math.inf

    def start(self, logprobs: FloatArray) -> None:
        """Begin with what follows the prompt, float32 [vocabulary]."""
        if len(self.open.leaves):
            edges = self._open_edges(0)
            self._spread(edges, logprobs[edges.tokens], 0.0, -1)

    def propose(self, room: int) -> Growth:
        """The next paths to feed; no tokens when the search is over."""
        tokens: list[int] = []
        parents: list[int] = []
        nodes: list[IntArray] = []
        nexts: list[IntArray] = []
        self.ways = []
        while self.frontier and len(self.ways) < self.width and len(tokens) < room:
            bound, _, siblings = self.frontier[0]
            if -bound < self._threshold():
                self.frontier.clear()
                break
            i, first = siblings.i, len(tokens)
            run, child, edges = self._forced(int(siblings.tokens[i]), int(siblings.child[i]))
            fed = run if edges is not None else run[:-1]
            if self.budget is not None and self.fed + first + len(fed) > self.budget:
                self.stopped_at = -bound
                break
            tokens += fed
            last = self.fed + len(tokens) - 1
            parents += [siblings.at, *range(self.fed + first, last)]
            nodes.append(np.arange(first, first + len(run) - 1, dtype=np.int32))
            nexts.append(np.array(run[1:], dtype=np.int32))
            if edges is not None:
                nodes.append(np.full(len(edges.tokens), len(tokens) - 1, dtype=np.int32))
                nexts.append(edges.tokens)
            self.ways.append(_Way(float(siblings.logprobs[i]), run, child, edges, last))
            siblings.i += 1
            if siblings.i < len(siblings.bounds):
                self._push(siblings, heapq.heapreplace)
            else:
                heapq.heappop(self.frontier)
        if not tokens:
            return nothing
        self.forwards += 1
        self.fed += len(tokens)
        return Growth(
            np.array(tokens, dtype=np.int32),
            np.array(parents, dtype=np.int32),
            np.concatenate(nodes),
            np.concatenate(nexts),
        )

    def accept(self, values: FloatArray) -> None:
        """Take the log-probabilities that the last proposal asked for."""
        at = 0
        for logprob, tokens, child, edges, last in self.ways:
            forced, at = values[at : at + len(tokens) - 1], at + len(tokens) - 1
            logprob += float(forced.astype(np.float64).sum())
            if edges is None:
                self._finish(np.array([~child]), np.array([logprob]))
            else:
                after, at = values[at : at + len(edges.tokens)], at + len(edges.tokens)
                self._spread(edges, after, logprob, last)

    def ranking(self) -> Ranking:
        """What was found, when ``propose`` has nothing more."""
        found = sorted(((s, -leaf, lp) for s, leaf, lp in self.found), key=lambda f: (-f[0], f[1]))
        exact = self.stopped_at == -math.inf
        full = len(found) >= self.k
        return self.candidates.ranking(
            self.k,
            found,
            exact=exact,
            gap=0.0 if exact else self.stopped_at - found[-1][0] if full else math.inf,
            forwards=self.forwards + 1,
            tokens=self.fed,
            dropped=self.dropped,
        )

    def _threshold(self) -> float:
        return self.found[0][0] if len(self.found) >= self.k else -math.inf

    def _open_edges(self, node: int) -> Edges:
        edges = self.trie.edges(node)
        if self.open.running is None:
            return edges
        kept = self.open.count(edges.lo, edges.hi) > 0
        return Edges(*(part[kept] for part in edges))

    def _forced(self, token: int, child: int) -> tuple[list[int], int, Edges | None]:
        """The tokens from an edge to where there is a choice, or to the title's end."""
        run = [token]
        while child >= 0:
            edges = self._open_edges(child)
            if len(edges.tokens) > 1:
                return run, child, edges
            run.append(int(edges.tokens[0]))
            child = int(edges.child[0])
        return run + self.trie.tail(~child).tolist(), child, None

    def _spread(self, edges: Edges, values: FloatArray, logprob: float, at: int) -> None:
        logprobs = logprob + values.astype(np.float64)
        leaf = ~edges.child
        done = self.trie.ends_at(leaf)
        self._finish(leaf[done], logprobs[done])
        good = np.isfinite(logprobs)
        lost = ~good & ~done
        if lost.any():
            self.dropped += int(self.open.count(edges.lo[lost], edges.hi[lost]).sum())
        bounds = self.measure.bound(logprobs, self.measure.over(self.best, edges))
        on = good & ~done & (bounds >= self._threshold())
        if on.any():
            siblings = _Siblings(at, bounds[on], logprobs[on], edges.tokens[on], edges.child[on])
            self._push(siblings, heapq.heappush)

    def _push(self, siblings: _Siblings, how: Any) -> None:
        how(self.frontier, (-float(siblings.bounds[siblings.i]), next(self.turn), siblings))

    def _finish(self, leaves: Rows, logprobs: Scores) -> None:
        good = np.isfinite(logprobs)
        self.dropped += int((~good).sum())
        leaves, logprobs = leaves[good], logprobs[good]
        scores = self.measure.final(logprobs, leaves.astype(np.int32))
        for score, leaf, logprob in zip(
            scores.tolist(), leaves.tolist(), logprobs.tolist(), strict=True
        ):
            heapq.heappush(self.found, (score, -leaf, logprob))
            if len(self.found) > self.k:
                heapq.heappop(self.found)
