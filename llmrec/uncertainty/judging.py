"""Judging hides how it is found out whether a measure of certainty is worth something.

The judge is what was right: did the list hold what the person wanted (hit), and how high (NDCG).
All intervals are bootstraps over dialogues. What is chosen or fitted is judged on dialogues that
had no part in it: each half of them judges what was made of the other, over ten seeded splits, as
with few hits one split is a matter of luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.metrics.calibration import Calibrator, auroc, brier, ece, prr
from llmrec.uncertainty.confidence import Confidence, Fit, log_odds
from llmrec.uncertainty.measures import SINGLE

__all__ = ["Case", "Judged", "judge", "spearman"]

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
MIN_DIALOGUES = 8
SPLITS = 10


@dataclass(frozen=True)
class Case:
    """One example: every measure as a certainty from 0 to 1, and what came of it.

    Attributes
    ----------
    hits: for each length of list, whether it held what was wanted. ndcg: at the greatest of them.
    """

    dialogue: str
    certainties: Mapping[str, float]
    hits: Mapping[int, bool]
    ndcg: float


@dataclass(frozen=True)
class Judged:
    """What was found.

    Attributes
    ----------
    figures: plain JSON types: counts, and for each measure AUROC, PRR and Spearman's correlation
        with NDCG (value, low, high), and ECE and Brier score on held-out halves.
    confidence: the best measure of one answer and the best of all, calibrated on everything.
    """

    figures: dict[str, Any]
    confidence: Confidence


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; NaN if one is constant."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else math.nan


def _ranks(values: npt.ArrayLike) -> Array:
    _, of, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[of], dtype=np.float64)


def judge(
    cases: Sequence[Case], of: Mapping[str, Any], *, samples: int = 1_000, seed: int = 0
) -> Judged:
    """Judge every measure, choose the best, and calibrate it.

    The best is the one of the lowest Brier score once it is calibrated, which asks for both:
    to tell right from wrong, and to say how sure that is. A measure that needs many answers is
    preferred to one that needs one only if the bootstrap of their AUROCs leaves no doubt. Where the
    best is no better on held-out halves than always saying the base rate, the confidence says that.

    Parameters
    ----------
    of: what was measured, to be kept with the confidence.
    samples: bootstrap samples. seed: of these and of the halves.

    Raises
    ------
    InputError: there are too few dialogues, or the list was right always or never.
    """
    groups = _Groups([c.dialogue for c in cases], samples, seed)
    halves = groups.halves(seed)
    k = max(cases[0].hits, default=0) if cases else 0
    hit = np.array([float(c.hits[k]) for c in cases])
    halves = [h for h in halves if all(0 < hit[p].sum() < p.sum() for p in (h, ~h))]
    if groups.n < MIN_DIALOGUES or not halves:
        raise InputError(
            f"of {len(cases)} examples of {groups.n} dialogues the first {k} were right in "
            f"{int(hit.sum())}: each half of the dialogues needs some that are right and some "
            f"that are not, and there must be {MIN_DIALOGUES}; raise --limit"
        )
    ndcg = np.array([c.ndcg for c in cases])
    columns = {
        name: np.array([c.certainties[name] for c in cases])
        for name in sorted(cases[0].certainties, key=_order)
    }
    base = _held_out(None, hit, halves)
    measures = {name: _figures(c, hit, ndcg, halves, groups) for name, c in columns.items()}
    worth = {n for n, m in measures.items() if m["held_out"]["brier"] < base["brier"]}
    reply, best = _best(columns, hit, np.ones(len(hit), dtype=bool), groups)
    figures = {
        "n": len(cases),
        "dialogues": groups.n,
        "k": k,
        "hit_rate": float(hit.mean()),
        "ndcg": float(ndcg.mean()),
        "base_rate": base,
        "best_reply": reply,
        "best": best,
        "calibrated": best in worth,
        "held_out_auroc": _chosen_elsewhere(columns, hit, halves, groups),
        "measures": measures,
    }
    fits = {n: _fit(n, columns[n] if n in worth else None, cases) for n in {reply, best}}
    facts = {**of, "n": len(cases), "k": k, "auroc": measures[best]["auroc"]["value"]}
    return Judged(figures, Confidence(fits[reply], fits[best], facts))


def _figures(
    column: Array, hit: Array, ndcg: Array, halves: Sequence[Flags], groups: _Groups
) -> dict[str, Any]:
    return {
        "auroc": groups.of(auroc, column, hit),
        "prr": groups.of(_prr, column, hit),
        "spearman": groups.of(spearman, column, ndcg),
        "ece": ece(column, hit),
        "brier": brier(column, hit),
        "held_out": _held_out(column, hit, halves),
    }


def _order(name: str) -> tuple[int, str]:
    return (SINGLE.index(name), "") if name in SINGLE else (len(SINGLE), name)


def _prr(certainty: Array, hit: Array) -> float:
    return prr(-certainty, hit)


class _Groups:
    """Dialogues, and the same draws of them for every figure."""

    def __init__(self, dialogues: Sequence[str], samples: int, seed: int) -> None:
        _, self._of = np.unique(np.asarray(dialogues, dtype=str), return_inverse=True)
        self.n = int(self._of.max()) + 1 if len(self._of) else 0
        rng = np.random.default_rng(seed)
        self._times = [
            np.bincount(rng.integers(0, self.n, self.n), minlength=self.n)
            for _ in range(samples if self.n else 0)
        ]

    def halves(self, seed: int) -> list[Flags]:
        """Which examples are of the first half of the dialogues, for several splits."""
        rng = np.random.default_rng([seed, 1])
        return [np.isin(self._of, rng.permutation(self.n)[: self.n // 2]) for _ in range(SPLITS)]

    def of(
        self,
        figure: Callable[..., float],
        *columns: Array | Flags,
        within: Flags | None = None,
    ) -> dict[str, float]:
        """A figure of columns (their last axis), and where 95 % of its resamples lie."""
        every = np.arange(len(self._of))
        every = every if within is None else every[within]
        drawn = (np.repeat(every, t[self._of[every]]) for t in self._times)
        found = [figure(*(c[..., i] for c in columns)) for i in drawn]
        known = [f for f in found if math.isfinite(f)]
        low, high = np.quantile(known, (0.025, 0.975)) if known else (math.nan, math.nan)
        value = figure(*(c[..., every] for c in columns))
        return {"value": value, "low": float(low), "high": float(high)}


def _held_out(column: Array | None, hit: Array, halves: Sequence[Flags]) -> dict[str, float]:
    """How honest what was calibrated on the other half is; of no column, the base rate."""
    found = []
    for first in halves:
        made = np.empty(len(hit))
        for part in (first, ~first):
            if column is None:
                made[~part] = hit[part].mean()
            else:
                fitted = Calibrator.fit(log_odds(column[part]), hit[part])
                made[~part] = fitted(log_odds(column[~part]))
        found.append((ece(made, hit), brier(made, hit)))
    return dict(zip(("ece", "brier"), np.mean(found, axis=0).tolist(), strict=True))


def _chosen_elsewhere(
    columns: Mapping[str, Array], hit: Array, halves: Sequence[Flags], groups: _Groups
) -> dict[str, float]:
    """The AUROC on each half of what the other chose and fitted; the mean over all halves."""
    parts = np.stack([part for first in halves for part in (first, ~first)])
    chosen = np.empty(parts.shape)
    for made, part in zip(chosen, parts, strict=True):
        scores = log_odds(columns[_best(columns, hit, ~part, groups)[1]])
        # Calibration turns a measure around that points the wrong way.
        made[:] = Calibrator.fit(scores[~part], hit[~part])(scores)

    def mean(certainty: Array, right: Array, here: Flags) -> float:
        found = [auroc(c[h], right[h]) for c, h in zip(certainty, here, strict=True)]
        return float(np.nanmean(found)) if np.isfinite(found).any() else math.nan

    return groups.of(mean, chosen, hit, parts)


def _best(
    columns: Mapping[str, Array], hit: Array, part: Flags, groups: _Groups
) -> tuple[str, str]:
    """The best measure of one answer, and the best of all, by some of the examples."""
    known = {}
    for name, c in columns.items():
        scores = log_odds(c[part])
        known[name] = brier(Calibrator.fit(scores, hit[part])(scores), hit[part])
    order = sorted(columns, key=lambda name: known[name])
    reply = next(name for name in order if name in SINGLE)
    best = order[0]

    def ahead(a: Array, b: Array, right: Array) -> float:
        return auroc(a, right) - auroc(b, right)

    sure = groups.of(ahead, columns[best], columns[reply], hit, within=part)["low"] > 0
    return reply, best if sure else reply


def _fit(name: str, column: Array | None, cases: Sequence[Case]) -> Fit:
    """A calibrator for each length of list; of no column it says the base rate."""
    calibrators = {}
    for k in sorted(cases[0].hits):
        right = np.array([float(c.hits[k]) for c in cases])
        if column is not None:
            calibrators[k] = Calibrator.fit(log_odds(column), right)
        else:
            calibrators[k] = Calibrator(0.0, float(log_odds(right.mean())))
    return Fit(name, calibrators)
