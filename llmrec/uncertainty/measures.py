"""Measures hides the arithmetic of doubt: entropies, their split by source, agreement, reading.

Probabilities are float64 [variants, items], a row for each answer. All entropies are in nats.

The split is always the same: the entropy of the mean answer is the mean of the entropies plus the
mutual information between the answer and what was varied. What the parts are called depends on
what was varied. Where the request was made clearer (Hou et al., 2024), the mutual information is
what a clearer request would take away, so it is the aleatoric part. Where only the wording or an
order was varied, which should change nothing, the mutual information is the model's own doing, so
it is the epistemic part, as between the members of an ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.metrics.agreement import jaccard, rbo
from llmrec.types import Spread, Uncertainty

__all__ = [
    "DEPTH",
    "SINGLE",
    "Answer",
    "Decomposition",
    "aligned",
    "certainties",
    "consistency",
    "decompose",
    "entropy",
    "normalised_entropy",
    "reading",
    "reading_text",
    "single_pass",
    "spread",
]

Array = npt.NDArray[np.float64]
Answer = tuple[npt.NDArray[np.int32], Array]  # rows of the catalogue, their log-probabilities

DEPTH = 10  # "mass" is that of so many items
SURE = 0.5  # of probability that the list holds what is wanted
SINGLE = ("entropy", "normalised_entropy", "max_probability", "margin", "mass")
_OF_SPREAD = ("total", "expected", "mutual_information", "jaccard", "rbo")


@dataclass(frozen=True)
class Decomposition:
    """The entropy of a mean answer and its two parts, in nats: total = expected + mutual.

    Attributes
    ----------
    total: entropy of the mean. expected: mean of the entropies.
    mutual_information: what the answer depends on that was varied; never negative.
    """

    total: float
    expected: float
    mutual_information: float


def entropy(probabilities: npt.ArrayLike) -> Array:
    """The entropy of each row, in nats: float64 of one dimension less.

    Raises
    ------
    InputError: a row is not a distribution.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    bad = not p.size or not np.isfinite(p).all() or p.min() < 0
    if bad or np.abs(p.sum(-1) - 1).max() > 1e-6:
        raise InputError("probabilities must be 0 or more and sum to 1: normalise each row first")
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray(-(p * logs).sum(-1))


def normalised_entropy(probabilities: npt.ArrayLike) -> Array:
    """``entropy`` over the logarithm of how many items there are: 0 (one item) to 1 (flat)."""
    p = np.asarray(probabilities, dtype=np.float64)
    values = entropy(p)
    return values / math.log(p.shape[-1]) if p.shape[-1] > 1 else np.zeros_like(values)


def decompose(probabilities: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Decomposition:
    """Split the entropy of the mean answer.

    Parameters
    ----------
    probabilities: [variants, items].
    weights: [variants], how much each variant counts; all the same unless given.

    Raises
    ------
    InputError: a row is not a distribution, or the weights do not fit.
    """
    p = np.atleast_2d(np.asarray(probabilities, dtype=np.float64))
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(p),) or not np.isfinite(w).all() or w.min() < 0 or w.sum() <= 0:
        raise InputError(
            f"the weights are {np.asarray(weights).tolist()!r} for {len(p)} variants: "
            "give one for each, 0 or more, not all 0"
        )
    w = w / w.sum()
    expected = float(w @ entropy(p))
    # Rounding may put the entropy of the mean a hair below the mean of the entropies.
    mutual = max(0.0, float(entropy(w @ p)) - expected)
    return Decomposition(expected + mutual, expected, mutual)


def aligned(answers: Sequence[Answer]) -> Array:
    """Several answers as probabilities over all the items that any of them weighed.

    Returns
    -------
    float64 [answers, items]; an answer gives 0 to an item that it did not weigh. An empty answer
    is left out.
    """
    full = [(rows, logs) for rows, logs in answers if len(rows)]
    if not full:
        return np.zeros((0, 0))
    every = np.unique(np.concatenate([rows for rows, _ in full]))
    out = np.zeros((len(full), len(every)))
    for at, (rows, logs) in enumerate(full):
        out[at, np.searchsorted(every, rows)] = np.exp(logs - np.logaddexp.reduce(logs))
    return out


def consistency(rankings: npt.NDArray[np.integer[Any]]) -> tuple[float, float]:
    """Mean pairwise Jaccard index and rank-biased overlap of lists; 1 where there is one only.

    Parameters
    ----------
    rankings: [variants, k], best first, padded with -1 at the end.
    """
    left, right = np.triu_indices(len(rankings), 1)
    if not len(left):
        return 1.0, 1.0
    a, b = rankings[left], rankings[right]
    return float(np.mean(jaccard(a, b))), float(np.mean(rbo(a, b)))


def single_pass(answer: Answer) -> dict[str, float]:
    """What one answer says of itself: ``SINGLE``, the entropies as they are.

    "margin" is the distance of the first two probabilities, "mass" the sum of the first ten. An
    answer without items says nothing: the result is empty.
    """
    p = aligned([answer])
    if not p.size:
        return {}
    best = -np.sort(-p[0])
    values = (
        entropy(p[0]),
        normalised_entropy(p[0]),
        best[0],
        best[0] - best[1] if len(best) > 1 else best[0],
        min(1.0, best[:DEPTH].sum()),
    )
    return {name: float(v) for name, v in zip(SINGLE, values, strict=True)}


def spread(
    source: str,
    varied: str,
    answers: Sequence[Answer],
    k: int,
    weights: Sequence[float] | None = None,
) -> Spread:
    """How answers differ, of which one thing was varied.

    Parameters
    ----------
    source: "clarifications", "paraphrases" or "order". varied: what exactly, in words.
    answers: at least one; k: how long the lists are that are compared.
    weights: how much each of the answers counts.
    """
    counts = [1.0] * len(answers) if weights is None else list(weights)
    kept = [(a, w) for a, w in zip(answers, counts, strict=True) if len(a[0])]
    if not kept:
        return Spread(source, varied, 0, 0)
    p = aligned([a for a, _ in kept])
    split = decompose(p, [w for _, w in kept])
    lists = np.full((len(kept), k), -1, dtype=np.int64)
    for row, ((rows, logs), _) in zip(lists, kept, strict=True):
        best = rows[np.lexsort((rows, -logs))[:k]]
        row[: len(best)] = best
    return Spread(
        source,
        varied,
        len(kept),
        p.shape[1],
        split.total,
        split.expected,
        split.mutual_information,
        *consistency(lists),
    )


def reading(confidence: float, main: Spread | None) -> str:
    """What the doubt mostly is: "sure", "ambiguous", "unknowing", or "unsure" if never split.

    "sure" where ``confidence`` is .5 or more: an even chance at least that the list holds what is
    wanted, or, uncalibrated, half of the model's probability. Else the larger of the two parts
    decides, each as a share of what it can be at most: mutual information of the logarithm of the
    number of variants, expected entropy of the logarithm of the number of items.
    """
    if confidence >= SURE:
        return "sure"
    if main is None or main.variants < 2:
        return "unsure"
    mutual = main.mutual_information / math.log(main.variants)
    expected = main.expected / math.log(main.support) if main.support > 1 else 0.0
    clearer = main.source == "clarifications"
    aleatoric, epistemic = (mutual, expected) if clearer else (expected, mutual)
    return "ambiguous" if aleatoric >= epistemic else "unknowing"


_READINGS = {
    "en": {
        "sure": "Sure: it is more likely than not that one of these is right.",
        "claims": "The model is sure of these; how often it is right then was not measured.",
        "ambiguous": "Mostly ambiguous request: what it leaves open decides which films fit.",
        "unknowing": "Mostly the model does not know: a clearer request still leaves many films.",
        "unsure": "Unsure: many films are about as likely.",
    },
    "pt": {
        "sure": "Com segurança: é mais provável que um destes filmes sirva do que nenhum.",
        "claims": "O modelo está seguro destes; com que frequência acerta então não foi medido.",
        "ambiguous": "Sobretudo um pedido ambíguo: o que ele deixa em aberto decide quais servem.",
        "unknowing": "Sobretudo falta saber ao modelo: um pedido mais claro ainda deixaria "
        "muitos filmes.",
        "unsure": "Sem segurança: muitos filmes são quase igualmente prováveis.",
    },
    "es": {
        "sure": "Con seguridad: es más probable que alguna de estas sirva que ninguna.",
        "claims": "El modelo está seguro de estas; con qué frecuencia acierta no se ha medido.",
        "ambiguous": "Sobre todo una petición ambigua: lo que deja abierto decide cuáles sirven.",
        "unknowing": "Sobre todo le falta saber al modelo: una petición más clara aún dejaría "
        "muchas películas.",
        "unsure": "Sin seguridad: muchas películas son casi igual de probables.",
    },
}


def reading_text(kind: str, language: str, calibrated: bool) -> str:
    """The sentence for a ``reading`` in ``en``, ``pt`` or ``es``."""
    return _READINGS[language]["claims" if kind == "sure" and not calibrated else kind]


def certainties(single: Mapping[str, float], sources: Sequence[Spread] = ()) -> dict[str, float]:
    """Every measure on one scale: 0 (no certainty) to 1 (full), so that all can be judged alike.

    An entropy or mutual information h becomes exp(-h), which keeps its order: one over how many
    equally likely items (or answers) it amounts to. Shares, probabilities and agreements are
    certainties as they are. All are 0 where nothing was recommended.
    """
    if not single:
        names = [f"{s.source}.{name}" for s in sources for name in _OF_SPREAD]
        return dict.fromkeys((*SINGLE, *names), 0.0)
    out = {
        "entropy": math.exp(-single["entropy"]),
        "normalised_entropy": 1.0 - single["normalised_entropy"],
        "max_probability": single["max_probability"],
        "margin": single["margin"],
        "mass": single["mass"],
    }
    for s in sources:
        for name in ("total", "expected", "mutual_information"):
            out[f"{s.source}.{name}"] = math.exp(-getattr(s, name))
        out[f"{s.source}.jaccard"] = s.jaccard
        out[f"{s.source}.rbo"] = s.rbo
    return out


def measures_of(uncertainty: Uncertainty) -> dict[str, float]:
    """``certainties`` of a finished Uncertainty."""
    return certainties(uncertainty.single, uncertainty.sources)
