"""rank_titles and score_titles hide which titles are searched for and which are scored outright."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from llmrec.decoding.batching import shared_run
from llmrec.decoding.measure import Candidates, Measure, Normalise, Ranking, Rows, Scores
from llmrec.decoding.scoring import Scoring
from llmrec.decoding.search import Search
from llmrec.errors import InputError
from llmrec.models.base import IntArray, ScoringModel
from llmrec.prompting import TITLE_END, title_entry
from llmrec.trie import TitleTrie

__all__ = ["rank_titles", "score_titles", "title_trie"]

_PerPrompt = Rows | Sequence[Rows | None] | None

# Scoring everything is quicker than searching up to about so many tokens: fewer, larger forwards.
_ALL = 512
# The bound of a pmi search is loose, so that it sees most of a catalogue anyway.
_ALL_PMI = 32_768
_TEXTS = 16_384  # that are encoded together


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


def _encoded(model: ScoringModel, texts: Sequence[str]) -> tuple[IntArray, Rows]:
    """All tokens one after the other, and where those of each text begin.

    Some texts at a time: a million lists of numbers would take gigabytes.
    """
    sizes: list[int] = [0]
    tokens: list[IntArray] = [np.zeros(0, dtype=np.int32)]
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
    baseline: Scores | None = None,
    batch_size: int = 16,
) -> list[Scores]:
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
    _positive(batch_size=batch_size)
    measure = Measure(trie, normalise, baseline)
    wanted = [
        np.arange(trie.n_rows) if r is None else np.asarray(r) for r in _each(rows, len(prompts))
    ]
    return model.run(_scored, prompts, trie, wanted, measure, batch_size) if len(prompts) else []


def _scored(
    model: ScoringModel,
    prompts: Sequence[Sequence[int]],
    trie: TitleTrie,
    wanted: Sequence[Rows],
    measure: Measure,
    batch_size: int,
) -> list[Scores]:
    leaves = [trie.leaves_of(rows) for rows in wanted]
    tasks = [
        Scoring(prompt, trie, np.unique(own[own >= 0]).astype(np.int32))
        for prompt, own in zip(prompts, leaves, strict=True)
    ]
    shared_run(model, tasks, batch_size)
    out = []
    for own, task in zip(leaves, tasks, strict=True):
        scores = np.full(len(own), -np.inf)
        has = own >= 0
        final = measure.final(task.logprobs, task.leaves)
        scores[has] = final[np.searchsorted(task.leaves, own[has])]
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
    baseline: Scores | None = None,
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
    batch_size: prompts that are run together; where one is done another begins. Who asks the same
        model at the same time, in another thread, shares its forwards.
    score_all_below: candidates of fewer tokens in all are scored outright instead of searched,
        in fewer and larger forwards with the same result; None: what was found quickest.

    Raises
    ------
    InputError: k or the budget is below 1, or the arguments do not fit each other.
    """
    _positive(k=k, budget=budget, width=width, batch_size=batch_size)
    few = score_all_below
    if few is None:
        few = _ALL_PMI if normalise == "pmi" else _ALL
    few = few if budget is None else min(few, budget)
    measure = Measure(trie, normalise, baseline)
    opened = [Candidates.of(trie, rows, measure) for rows in _each(allowed, len(prompts))]
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
    opened: Sequence[Candidates],
    measure: Measure,
    limits: _Limits,
    batch_size: int,
) -> list[Ranking]:
    k, budget, width, few = limits
    tasks = [
        Scoring(prompt, trie, own.open.leaves)
        if int(trie.lengths[own.open.leaves].sum()) <= few
        else Search(prompt, own, k, measure, budget, width)
        for prompt, own in zip(prompts, opened, strict=True)
    ]
    shared_run(model, tasks, batch_size)
    return [
        task.ranking() if isinstance(task, Search) else _whole_ranking(own, k, measure, task)
        for own, task in zip(opened, tasks, strict=True)
    ]


def _positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: give 1 or more")


def _each(rows: _PerPrompt, n: int) -> Sequence[Rows | None]:
    if rows is None or isinstance(rows, np.ndarray):
        return [rows] * n
    if len(rows) != n or any(np.ndim(r) != 1 for r in rows if r is not None):
        raise InputError(
            f"the rows are {len(rows)} values for {n} prompts: "
            "give one array for all prompts, or a list with one array (or None) for each"
        )
    return rows


def _whole_ranking(candidates: Candidates, k: int, measure: Measure, task: Scoring) -> Ranking:
    leaves, logprobs = task.leaves, task.logprobs
    scores = measure.final(logprobs, leaves)
    good = np.isfinite(logprobs)
    order = np.lexsort((leaves[good], -scores[good]))[:k]
    best = zip(scores[good][order], leaves[good][order], logprobs[good][order], strict=True)
    return candidates.ranking(
        k,
        [(float(s), int(leaf), float(lp)) for s, leaf, lp in best],
        exact=True,
        gap=0.0,
        forwards=task.forwards + 1,
        tokens=task.fed,
        dropped=candidates.missing + int((~good).sum()),
    )
