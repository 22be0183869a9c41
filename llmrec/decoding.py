"""Ranking and GroundedList hide how a model is held to the titles of a trie, and fail closed.

``rank_titles`` finds a prompt's k likeliest titles by best-first search: log-probabilities only
fall along a path, so a k-th finished title closes every path that is already below it, and the
result is exact. ``score_titles`` scores each title asked for. ``GroundedList`` keeps the entries
of lists inside free text to the titles. Where the model gives no usable probability, a title is
dropped and counted; nothing ever opens the trie.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.models.base import FloatArray, Forest, Growth, IntArray, ScoringModel, nothing
from llmrec.prompting import TITLE_END, title_entry
from llmrec.trie import Edges, Open, TitleTrie

if TYPE_CHECKING:
    import torch

__all__ = [
    "GroundedList",
    "Normalise",
    "Ranking",
    "rank_titles",
    "score_titles",
    "title_trie",
]

Normalise = Literal["none", "length", "pmi"]
_Rows = npt.NDArray[np.integer[Any]]
_Scores = npt.NDArray[np.float64]
_PerPrompt = _Rows | Sequence[_Rows | None] | None

# Scoring everything is quicker than searching up to about so many tokens: fewer, larger forwards.
_ALL = 512
# The bound of a pmi search is loose, so that it sees most of a catalogue anyway.
_ALL_PMI = 32_768
# How many tokens without a choice are fed before the path waits for its turn again: most paths turn
# out to be unlikely within a few. Fewer take fewer tokens in all, and more forwards.
_AHEAD = 3
_TEXTS = 16_384  # that are encoded together


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
    logprobs: _Scores
    scores: _Scores
    exact: bool
    gap: float
    forwards: int
    tokens: int
    dropped: int


def title_trie(
    model: ScoringModel,
    titles: Sequence[str],
    rows: Sequence[int] | None = None,
    *,
    terminator: str = TITLE_END,
    cache: Path | None = None,
) -> TitleTrie:
    """The trie of ``titles``, written as list entries, in the tokens of ``model``.

    Titles of blanks only are left out.

    Parameters
    ----------
    rows: the catalogue row of each title; 0, 1, 2 ... unless given.
    terminator: what ends an entry: a newline, or the text of a token that ends a turn.
    cache: a folder where tries are kept, by tokenizer, terminator and titles.
    """
    digest = blake2b(f"{model.fingerprint}\0{terminator}".encode(), digest_size=16)
    digest.update("\0".join(titles).encode())
    digest.update(np.asarray(range(len(titles)) if rows is None else rows, np.int64).tobytes())
    key = digest.hexdigest()
    path = None if cache is None else Path(cache) / f"{key}.trie"
    if path is not None and path.exists():
        try:
            trie = TitleTrie.load(path)
        except InputError:
            pass  # a damaged cache is written anew
        else:
            if trie.key == key:
                return trie
    numbers = range(len(titles)) if rows is None else rows
    kept = [(r, t) for r, t in zip(numbers, titles, strict=True) if t.strip()]
    tokens, offsets = _encoded(model, [title_entry(t, terminator) for _, t in kept])
    trie = TitleTrie.from_arrays(tokens, offsets, [r for r, _ in kept], key)
    if path is not None:
        trie.save(path)
    return trie


def _encoded(model: ScoringModel, texts: Sequence[str]) -> tuple[IntArray, _Rows]:
    """All tokens one after the other, and where those of each text begin.

    Some texts at a time: a million lists of numbers would take gigabytes.
    """
    sizes: list[int] = [0]
    tokens: list[IntArray] = [_NO_LEAVES]
    for at in range(0, len(texts), _TEXTS):
        some = model.encode_many(texts[at : at + _TEXTS])
        sizes += map(len, some)
        tokens.append(np.fromiter(itertools.chain.from_iterable(some), dtype=np.int32))
    return np.concatenate(tokens), np.cumsum(sizes, dtype=np.int64)


def score_titles(
    model: ScoringModel,
    prompts: Sequence[Sequence[int]],
    trie: TitleTrie,
    rows: _PerPrompt = None,
    *,
    normalise: Normalise = "none",
    baseline: _Scores | None = None,
    batch_size: int = 16,
) -> list[_Scores]:
    """The score of every title asked for, in few forwards: the judge of ``rank_titles``.

    Parameters
    ----------
    rows: an array of rows for all prompts, or one (or None) for each; None: every row from 0 to
        ``trie.n_rows - 1``.
    normalise, baseline: as in ``rank_titles``.

    Returns
    -------
    float64 [rows] for each prompt; -inf where a row has no title, NaN where the model gave one.
    """
    measure = _Measure(trie, normalise, baseline)
    wanted = [
        np.arange(trie.n_rows) if r is None else np.asarray(r) for r in _each(rows, len(prompts))
    ]
    return model.run(_scored, prompts, trie, wanted, measure, batch_size) if len(prompts) else []


def _scored(
    model: ScoringModel,
    prompts: Sequence[Sequence[int]],
    trie: TitleTrie,
    wanted: Sequence[_Rows],
    measure: _Measure,
    batch_size: int,
) -> list[_Scores]:
    out: list[_Scores] = []
    for at in range(0, len(prompts), batch_size):
        forest = model.prefill_many(prompts[at : at + batch_size])
        leaves = [trie.leaves_of(w) for w in wanted[at : at + batch_size]]
        unique = [np.unique(v[v >= 0]).astype(np.int32) for v in leaves]
        scored, _ = _score_leaves(forest, trie, unique)
        for leaf, known, values in zip(leaves, unique, scored, strict=True):
            scores = np.full(len(leaf), -np.inf)
            has = leaf >= 0
            scores[has] = measure.final(values, known)[np.searchsorted(known, leaf[has])]
            out.append(scores)
    return out


def rank_titles(
    model: ScoringModel,
    prompts: Sequence[Sequence[int]],
    trie: TitleTrie,
    k: int,
    *,
    allowed: _PerPrompt = None,
    normalise: Normalise = "none",
    baseline: _Scores | None = None,
    budget: int | None = None,
    width: int = 16,
    batch_size: int = 16,
    score_all_below: int | None = None,
) -> list[Ranking]:
    """The k best titles after each prompt, exactly.

    Parameters
    ----------
    prompts: tokens, as ``model.prompt_ids`` gives them.
    allowed: the rows that may be named: one array for all prompts, or one (or None) for each.
    normalise: "none" ranks by log-probability, which favours short titles; "length" by its mean
        over the title's tokens; "pmi" by the difference to ``baseline``.
    baseline: float64 [trie.n_rows], what ``score_titles`` gives for each row after a prompt
        without the conversation; for "pmi".
    budget: tokens that may be fed after each prompt; where it ends the search, the ranking says
        so by ``exact`` and ``gap``.
    width: how many paths go on in one forward. Wider takes fewer forwards and more tokens.
    batch_size: prompts that are run together.
    score_all_below: candidates of fewer tokens in all are scored outright instead of searched,
        in fewer and larger forwards with the same result; None: what was found quickest.

    Raises
    ------
    InputError: k or the budget is below 1, or the arguments do not fit each other.
    """
    for name, value in (("k", k), ("budget", budget), ("width", width)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")
    few = score_all_below
    if few is None:
        few = _ALL_PMI if normalise == "pmi" else _ALL
    few = few if budget is None else min(few, budget)
    measure = _Measure(trie, normalise, baseline)
    opened = [_Candidates.of(trie, rows, measure) for rows in _each(allowed, len(prompts))]
    if not len(prompts):
        return []
    limits = _Limits(k, budget, width, few)
    return model.run(_ranked, prompts, trie, opened, measure, limits, batch_size)


class _Limits(NamedTuple):
    """Of a search; ``few``: candidates of no more tokens are scored outright."""

    k: int
    budget: int | None
    width: int
    few: int


def _ranked(
    model: ScoringModel,
    prompts: Sequence[Sequence[int]],
    trie: TitleTrie,
    opened: Sequence[_Candidates],
    measure: _Measure,
    limits: _Limits,
    batch_size: int,
) -> list[Ranking]:
    k, budget, width, few = limits
    out: list[Ranking] = []
    for at in range(0, len(prompts), batch_size):
        part = opened[at : at + batch_size]
        forest = model.prefill_many(prompts[at : at + batch_size])
        whole = [int(trie.lengths[c.open.leaves].sum()) <= few for c in part]
        leaves = [c.open.leaves if w else _NO_LEAVES for c, w in zip(part, whole, strict=True)]
        scored, costs = _score_leaves(forest, trie, leaves)
        searches = [
            None if w else _Search(c, k, measure, budget) for c, w in zip(part, whole, strict=True)
        ]
        for search, logprobs in zip(searches, forest.logprobs, strict=True):
            if search is not None:
                search.start(logprobs)
        _run(forest, searches, max(1, min(width, forest.room // 4)))
        for c, values, cost, search in zip(part, scored, costs, searches, strict=True):
            out.append(
                search.ranking()
                if search is not None
                else _whole_ranking(c, k, measure, values, cost)
            )
    return out


def _each(rows: _PerPrompt, n: int) -> Sequence[_Rows | None]:
    if rows is None or isinstance(rows, np.ndarray):
        return [rows] * n
    if len(rows) != n or any(np.ndim(r) != 1 for r in rows if r is not None):
        raise InputError(
            f"the rows are {len(rows)} values for {n} prompts: "
            "give one array for all prompts, or a list with one array (or None) for each"
        )
    return rows


class _Measure:
    """What titles are ordered by, and how good a title below a path can become at most."""

    def __init__(self, trie: TitleTrie, normalise: Normalise, baseline: _Scores | None) -> None:
        if normalise not in ("none", "length", "pmi"):
            raise InputError(f"normalise is {normalise!r}: use 'none', 'length' or 'pmi'")
        if (normalise == "pmi") != (baseline is not None):
            raise InputError(
                f"normalise is {normalise!r} and a baseline was "
                f"{'not ' * (baseline is None)}given: 'pmi' needs one, the others take none"
            )
        self.kind = normalise
        self.per_leaf: _Scores | None = None
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

    def final(self, logprobs: _Scores, leaves: IntArray) -> _Scores:
        """The scores of finished titles."""
        if self.per_leaf is None:
            return logprobs
        values = self.per_leaf[leaves]
        return logprobs / values if self.kind == "length" else logprobs - values

    def bound(self, logprobs: _Scores, best: _Scores | None) -> _Scores:
        """The highest score that is left below paths of these log-probabilities."""
        if best is None:
            return logprobs
        return logprobs / best if self.kind == "length" else logprobs - best

    def best(self, open_: Open) -> _Scores | None:
        """Per leaf, what makes its bound: closed leaves promise nothing."""
        if self.per_leaf is None:
            return None
        out = np.full(len(self.per_leaf), 1.0 if self.kind == "length" else np.inf)
        out[open_.leaves] = self.per_leaf[open_.leaves]
        return out

    def over(self, best: _Scores | None, edges: Edges) -> _Scores | None:
        """``best`` over the leaves of each of the edges."""
        if best is None:
            return None
        part = best[edges.lo[0] : edges.hi[-1]]
        by = np.maximum if self.kind == "length" else np.minimum
        return np.asarray(by.reduceat(part, edges.lo - edges.lo[0]))


class _Candidates(NamedTuple):
    """The titles that one prompt may be answered with."""

    trie: TitleTrie
    open: Open
    rows: npt.NDArray[np.bool_] | None  # per row of the trie; None: every row
    missing: int

    @classmethod
    def of(cls, trie: TitleTrie, rows: _Rows | None, measure: _Measure) -> _Candidates:
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


class _Cost(NamedTuple):
    forwards: int
    tokens: int


def _score_leaves(
    forest: Forest, trie: TitleTrie, leaves: Sequence[IntArray]
) -> tuple[list[_Scores], list[_Cost]]:
    """The log-probability of each leaf's title, and what that took, for each prompt."""
    parts = [_chunks(trie, wanted, forest.room) for wanted in leaves]
    out = [np.zeros(len(wanted)) for wanted in leaves]
    forwards, tokens = [0] * len(leaves), [0] * len(leaves)
    for step in range(max(map(len, parts), default=0)):
        trees = [trie.subtree(p[step] if step < len(p) else _NO_LEAVES) for p in parts]
        values = forest.score([t.tokens for t in trees], [t.parents for t in trees])
        for i, (tree, own) in enumerate(zip(trees, values, strict=True)):
            if not len(tree.tokens):
                continue
            total = _along_paths(tree.parents, own)
            done = sum(map(len, parts[i][:step]))
            out[i][done : done + len(tree.ends)] = total[tree.ends]
            forwards[i] += 1
            tokens[i] += len(tree.tokens) - len(tree.ends)
    return out, [_Cost(f, t) for f, t in zip(forwards, tokens, strict=True)]


_NO_LEAVES = np.zeros(0, dtype=np.int32)


def _chunks(trie: TitleTrie, leaves: IntArray, room: int) -> list[IntArray]:
    """Neighbouring leaves in groups of about ``room`` tokens."""
    if not len(leaves):
        return []
    group = np.cumsum(trie.lengths[leaves] - 1) // max(room, 1)
    return np.split(leaves, np.flatnonzero(np.diff(group)) + 1)


def _along_paths(parents: IntArray, own: FloatArray) -> _Scores:
    """The sum of ``own`` from the root to each node; parents stand before their children."""
    total = own.astype(np.float64)
    up = parents.astype(np.int64)
    # Doubling: after step s, each node holds the sum of its last 2^s tokens.
    while (up >= 0).any():
        on = up >= 0
        at = up[on]
        total[on] += total[at]
        up[on] = up[at]
    return total


def _whole_ranking(
    candidates: _Candidates, k: int, measure: _Measure, logprobs: _Scores, cost: _Cost
) -> Ranking:
    leaves = candidates.open.leaves
    scores = measure.final(logprobs, leaves)
    good = np.isfinite(logprobs)
    order = np.lexsort((leaves[good], -scores[good]))[:k]
    best = zip(scores[good][order], leaves[good][order], logprobs[good][order], strict=True)
    return candidates.ranking(
        k,
        [(float(s), int(leaf), float(lp)) for s, leaf, lp in best],
        exact=True,
        gap=0.0,
        forwards=cost.forwards + 1,
        tokens=cost.tokens,
        dropped=candidates.missing + int((~good).sum()),
    )


class _Siblings:
    """The children of one node that still have to go on, best bound first.

    skip: how many tokens of the tail stand before the token; of an only child that is a leaf.
    """

    __slots__ = ("at", "bounds", "child", "i", "logprobs", "skip", "tokens")

    def __init__(
        self,
        at: int,
        bounds: _Scores,
        logprobs: _Scores,
        tokens: IntArray,
        child: IntArray,
        skip: int = 0,
    ) -> None:
        order = np.argsort(-bounds, kind="stable")
        self.at = at
        self.bounds = bounds[order]
        self.logprobs = logprobs[order]
        self.tokens = tokens[order]
        self.child = child[order]
        self.skip = skip
        self.i = 0


class _Way(NamedTuple):
    """Tokens that follow each other without a choice, and what comes then.

    tokens: where the way goes on (``edges``), all are fed; else the last one is only asked for.
    child, skip: where the last token leads: a node, or ``~leaf`` and how much of its tail stands.
    lo, hi: the range of leaves.
    """

    tokens: list[int]
    child: int
    skip: int
    lo: int
    hi: int
    edges: Edges | None


class _Path(NamedTuple):
    """A way that was fed: what it asked for, and how to read the answer."""

    logprob: float
    last: int  # the forest's index of its last node
    way: _Way


class _Search:
    """Best-first search for one prompt: ``propose`` what to feed, ``accept`` what came of it."""

    def __init__(
        self,
        candidates: _Candidates,
        k: int,
        measure: _Measure,
        budget: int | None,
    ) -> None:
        self.candidates, self.trie, self.open = candidates, candidates.trie, candidates.open
        self.k, self.measure, self.budget = k, measure, budget
        self.best = measure.best(self.open)
        self.found: list[tuple[float, int, float]] = []  # a heap: score, -leaf, log-probability
        self.frontier: list[tuple[float, int, _Siblings]] = []
        self.turn = itertools.count()
        self.paths: list[_Path] = []
        self.fed = self.forwards = 0
        self.dropped = candidates.missing
        self.stopped_at = -math.inf

    def start(self, logprobs: FloatArray) -> None:
        """Begin with what follows the prompt, float32 [vocabulary]."""
        if len(self.open.leaves):
            edges = self._open_edges(0)
            self._spread(edges, logprobs[edges.tokens], 0.0, -1)

    def propose(self, width: int) -> Growth:
        """The next paths to feed; no tokens when the search is over."""
        tokens: list[int] = []
        parents: list[int] = []
        nodes: list[IntArray] = []
        nexts: list[IntArray] = []
        self.paths = []
        while self.frontier and len(self.paths) < width:
            bound, _, siblings = self.frontier[0]
            if -bound < self._threshold():
                self.frontier.clear()
                break
            i = siblings.i
            way = self._forced(int(siblings.tokens[i]), int(siblings.child[i]), siblings.skip)
            fed = way.tokens if way.edges is not None else way.tokens[:-1]
            if self.budget is not None and self.fed + len(tokens) + len(fed) > self.budget:
                self.stopped_at = -bound
                break
            first = len(tokens)
            tokens += fed
            parents += [siblings.at, *range(self.fed + first, self.fed + first + len(fed) - 1)]
            wanted = np.array(way.tokens[1:], dtype=np.int32)
            nodes.append(np.arange(first, first + len(wanted), dtype=np.int32))
            nexts.append(wanted)
            if way.edges is not None:
                nodes.append(np.full(len(way.edges.tokens), len(tokens) - 1, dtype=np.int32))
                nexts.append(way.edges.tokens)
            last = self.fed + len(tokens) - 1
            self.paths.append(_Path(float(siblings.logprobs[i]), last, way))
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
        for logprob, last, way in self.paths:
            forced = len(way.tokens) - 1
            logprob += float(values[at : at + forced].astype(np.float64).sum())
            at += forced
            after: FloatArray | None = None
            if way.edges is not None:
                after = values[at : at + len(way.edges.tokens)]
                at += len(after)
            if not math.isfinite(logprob):
                self.dropped += int(self.open.count(way.lo, way.hi))
            elif way.edges is not None and after is not None:
                self._spread(way.edges, after, logprob, last)
            elif way.child < 0 and way.skip == len(self.trie.tail(~way.child)):
                self._finish(np.array([~way.child]), np.array([logprob]))
            else:
                self._go_on(way, logprob, last)

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

    def _forced(self, token: int, child: int, skip: int) -> _Way:
        """From an edge to where there is a choice, to the title's end, or so far for now."""
        run = [token]
        while child >= 0 and len(run) <= _AHEAD:
            edges = self._open_edges(child)
            if len(edges.tokens) > 1:
                return _Way(run, child, 0, int(edges.lo[0]), int(edges.hi[-1]), edges)
            run.append(int(edges.tokens[0]))
            child = int(edges.child[0])
        if child >= 0:
            return _Way(run, child, 0, int(self.trie.lo[child]), int(self.trie.hi[child]), None)
        more = self.trie.tail(~child)[skip : skip + _AHEAD + 1 - len(run)].tolist()
        return _Way(run + more, child, skip + len(more), ~child, ~child + 1, None)

    def _go_on(self, way: _Way, logprob: float, at: int) -> None:
        """Put a way that was not fed to its end back into the queue."""
        ends = way.tokens[-1], way.child, way.lo, way.hi
        last = Edges(*(np.array([value], dtype=np.int32) for value in ends))
        logprobs = np.array([logprob])
        bounds = self.measure.bound(logprobs, self.measure.over(self.best, last))
        if bounds[0] >= self._threshold():
            siblings = _Siblings(at, bounds, logprobs, last.tokens, last.child, way.skip)
            self._push(siblings, heapq.heappush)

    def _spread(self, edges: Edges, values: FloatArray, logprob: float, at: int) -> None:
        logprobs = logprob + values.astype(np.float64)
        bad = ~np.isfinite(logprobs)
        if bad.any():
            self.dropped += int(self.open.count(edges.lo[bad], edges.hi[bad]).sum())
        best = self.measure.over(self.best, edges)
        leaf = ~edges.child
        done = self.trie.ends_at(leaf)
        ended = done & ~bad
        self._finish(leaf[ended], logprobs[ended])
        bounds = self.measure.bound(logprobs, best)
        on = ~done & ~bad & (bounds >= self._threshold())
        if on.any():
            siblings = _Siblings(at, bounds[on], logprobs[on], edges.tokens[on], edges.child[on])
            self._push(siblings, heapq.heappush)

    def _push(self, siblings: _Siblings, how: Any) -> None:
        how(self.frontier, (-float(siblings.bounds[siblings.i]), next(self.turn), siblings))

    def _finish(self, leaves: npt.NDArray[np.integer[Any]], logprobs: _Scores) -> None:
        scores = self.measure.final(logprobs, leaves.astype(np.int32))
        for score, leaf, logprob in zip(
            scores.tolist(), leaves.tolist(), logprobs.tolist(), strict=True
        ):
            heapq.heappush(self.found, (score, -leaf, logprob))
            if len(self.found) > self.k:
                heapq.heappop(self.found)


def _run(forest: Forest, searches: Sequence[_Search | None], width: int) -> None:
    """Let all searches go on together until each is over."""
    active = list(searches)
    while True:
        growths = [nothing if s is None else s.propose(width) for s in active]
        going = [i for i, g in enumerate(growths) if len(g.tokens)]
        if not going:
            return
        if len(going) <= len(active) // 2:  # those that are over would be carried along
            forest.keep(going)
            active, growths = [active[i] for i in going], [growths[i] for i in going]
        for search, growth, values in zip(active, growths, forest.extend(growths), strict=True):
            if search is not None and len(growth.tokens):
                search.accept(values)


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
        allowed: _Rows | None = None,
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
