"""Figures hides how the answers of several systems become metrics with intervals, and tests.

Intervals are bootstraps over title clusters, as questions about one title are not independent. A
question about no title in particular is a cluster of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.catalog import Catalog
from llmrec.evaluation.answer_judging import METRICS, Said, judge
from llmrec.evaluation.questions import Question
from llmrec.metrics.significance import holm, mean_interval, mean_intervals, paired
from llmrec.metrics.text import bleu_counts, bleu_of_counts
from llmrec.types import Item

__all__ = ["IN_SLICES", "TESTED", "Asked", "figures_of", "items_of"]

VERSION = 1
LEVEL = 0.95
TESTED = ("right", "token_f1")
IN_SLICES = ("right", "token_f1", "checked", "hit@1")

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Figure = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A question, and what each system said to it."""

    question: Question
    said: Mapping[str, Said]

    @property
    def group(self) -> str:
        """The title cluster, or a name of its own."""
        return self.question.cluster or f"question {self.question.id}"


def items_of(asked: Sequence[Asked], catalog: Catalog) -> dict[str, Item]:
    """By id the items that questions and answers are about, as far as the catalogue has them."""
    ids = {i for a in asked for i in a.question.items}
    ids |= {i for a in asked for s in a.said.values() for i in s.sources}
    known = sorted(i for i in ids if i in catalog)
    return dict(zip(known, catalog.get_many(known), strict=True))


def figures_of(
    asked: Sequence[Asked], catalog: Catalog, *, samples: int = 2_000, seed: int = 0
) -> dict[str, Any]:
    """Everything that is counted, as plain JSON types.

    ``systems`` holds for each system ``all`` (every metric of ``METRICS``, and BLEU), ``refusals``,
    ``seconds``, ``errors``, and ``slices`` by kind, language, both, and whether it can be answered
    or why not. A figure is a value with its interval and ``n``, the answers it is the mean of.
    ``tests`` sets every system against the first.
    """
    items = items_of(asked, catalog)
    names = list(asked[0].said) if asked else []
    scores = {
        name: _columns([judge(a.question, a.said[name], items) for a in asked]) for name in names
    }
    groups = np.array([a.group for a in asked])
    draw = _Draw(groups, samples, seed)
    slices = _slices(asked)
    return {
        "version": VERSION,
        "n": len(asked),
        "answerable": sum(a.question.answerable for a in asked),
        "clusters": len(set(groups.tolist())),
        "bootstrap": {"over": "title clusters", "level": LEVEL, "samples": samples},
        "slices": {
            kind: {name: int(use.sum()) for name, use in of.items()} for kind, of in slices.items()
        },
        "systems": {name: _system(asked, name, scores[name], draw, slices) for name in names},
        "tests": _tests(scores, groups, seed),
    }


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    return {name: np.array([r[name] for r in rows], dtype=np.float64) for name in METRICS}


@dataclass(frozen=True)
class _Draw:
    """How intervals are drawn."""

    groups: npt.NDArray[Any]
    samples: int
    seed: int

    def means(self, columns: Mapping[str, Floats], use: Mask) -> dict[str, Figure]:
        found = mean_intervals(
            {n: c[use] for n, c in columns.items()},
            self.groups[use],
            samples=self.samples,
            seed=self.seed,
        )
        return {name: f.to_dict() for name, f in found.items()}

    def share(self, part: Mask, whole: Mask) -> Figure:
        """How much of the one the other is; ``n`` counts the whole."""
        found = mean_interval(
            (part & whole).astype(float),
            self.groups,
            weights=whole.astype(float),
            samples=self.samples,
            seed=self.seed,
        )
        return {**found.to_dict(), "n": int(whole.sum())}

    def bleu(self, counts: Floats, use: Mask) -> Figure:
        """BLEU of the answers together; the counts of drawn clusters are added up."""
        _, of = np.unique(self.groups[use], return_inverse=True)
        n = int(of.max(initial=-1)) + 1
        if not n:
            return {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}
        sums = np.zeros((n, counts.shape[1]))
        np.add.at(sums, of.reshape(-1), counts[use])
        dice = np.random.default_rng(self.seed)
        times = dice.multinomial(n, np.full(n, 1 / n), size=self.samples)
        low, high = np.quantile(bleu_of_counts(times @ sums), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        value = float(bleu_of_counts(sums.sum(0)))
        return {"value": value, "low": float(low), "high": float(high), "n": int(use.sum())}


def _system(
    asked: Sequence[Asked],
    name: str,
    columns: Mapping[str, Floats],
    draw: _Draw,
    slices: Mapping[str, Mapping[str, Mask]],
) -> dict[str, Any]:
    said = [a.said[name] for a in asked]
    every = np.ones(len(asked), dtype=bool)
    seconds = np.array([s.seconds for s in said], dtype=np.float64)
    shown = {n: columns[n] for n in IN_SLICES}
    return {
        "all": {**draw.means(columns, every), "bleu": _bleu(asked, said, draw)},
        "refusals": _refusals(asked, said, draw),
        "seconds": {
            "mean": float(seconds.mean()),
            "median": float(np.median(seconds)),
            "p95": float(np.quantile(seconds, 0.95)),
        }
        if said
        else {},
        "errors": sum(s.error is not None for s in said),
        "first_error": next((s.error for s in said if s.error), ""),
        "slices": {
            kind: {part: draw.means(shown, use) for part, use in of.items()}
            for kind, of in slices.items()
        },
    }


def _bleu(asked: Sequence[Asked], said: Sequence[Said], draw: _Draw) -> Figure:
    """Of the answerable questions; a refusal is an answer without words."""
    use = np.array([bool(a.question.answerable and a.question.answers) for a in asked], dtype=bool)
    counts = np.zeros((len(asked), 10))
    for i in np.flatnonzero(use).tolist():
        text = "" if said[i].refused or said[i].error is not None else said[i].text
        counts[i] = bleu_counts(text, asked[i].question.answers)
    return draw.bleu(counts, use)


def _refusals(asked: Sequence[Asked], said: Sequence[Said], draw: _Draw) -> dict[str, Figure]:
    refused = np.array([s.refused for s in said], dtype=bool)
    wanted = np.array([not a.question.answerable for a in asked], dtype=bool)
    both = 2.0 * (refused & wanted)
    f1 = mean_interval(
        both,
        draw.groups,
        weights=refused.astype(float) + wanted,
        samples=draw.samples,
        seed=draw.seed,
    )
    return {
        "precision": draw.share(wanted, refused),
        "recall": draw.share(refused, wanted),
        "f1": {**f1.to_dict(), "n": int((refused | wanted).sum())},
    }


def _slices(asked: Sequence[Asked]) -> dict[str, dict[str, Mask]]:
    """Which questions fall into which slice; slices without any are left out."""
    of = {
        "kind": [a.question.kind for a in asked],
        "language": [a.question.language for a in asked],
        "answerable": [a.question.why if not a.question.answerable else "yes" for a in asked],
        "field": [a.question.field for a in asked],
    }
    out: dict[str, dict[str, Mask]] = {}
    for kind, values in of.items():
        column = np.array(values, dtype=str)
        out[kind] = {v: column == v for v in dict.fromkeys(values) if v}
    pairs = product(out["kind"].items(), out["language"].items())
    out["kind, language"] = {
        f"{kind}, {language}": both for (kind, a), (language, b) in pairs if (both := a & b).any()
    }
    return out


def _tests(
    scores: Mapping[str, Mapping[str, Floats]], groups: npt.NDArray[Any], seed: int
) -> list[dict[str, Any]]:
    """Every other system against the first, all p-values corrected together."""
    first, *others = scores or [""]
    tests = []
    for metric, name in product(TESTED, others):
        a, b = scores[name][metric], scores[first][metric]
        if not np.isnan(a - b).all():
            found = paired(a, b, groups, seed=seed)
            tests.append({"name": name, "other": first, "metric": metric, **found.to_dict()})
    corrected = holm([t["p"] for t in tests])
    return [{**t, "holm": p} for t, p in zip(tests, corrected, strict=True)]
