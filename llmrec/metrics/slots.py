"""Slots hides how understanding is scored: precision, recall and F1 over (slot, value) pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llmrec.types import Preferences

__all__ = ["SlotScore", "f1_interval", "pairs", "score_slots"]

NOT_SCORED = ("text", "language")


@dataclass(frozen=True)
class SlotScore:
    """Counts of pairs, and what follows from them.

    Attributes
    ----------
    right: pairs in both. predicted, wanted: pairs on each side. exact: cases with no difference.
    """

    right: int
    predicted: int
    wanted: int
    exact: int
    n: int

    @property
    def precision(self) -> float:
        """Share of the predicted pairs that are right; 1 where none was predicted."""
        return self.right / self.predicted if self.predicted else 1.0

    @property
    def recall(self) -> float:
        """Share of the wanted pairs that were found; 1 where none was wanted."""
        return self.right / self.wanted if self.wanted else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two (micro-averaged over all pairs)."""
        both = self.predicted + self.wanted
        return 2 * self.right / both if both else 1.0


def pairs(preferences: Preferences) -> frozenset[tuple[str, str]]:
    """The (slot, value) pairs of a set of preferences; free text and language are left out."""
    out = set()
    for name, value in preferences.to_dict().items():
        if name not in NOT_SCORED:
            values = value if isinstance(value, list) else [value]
            out |= {(name, str(v)) for v in values}
    return frozenset(out)


def f1_interval(
    cases: Sequence[tuple[Preferences, Preferences]], *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the micro-averaged F1, by a percentile bootstrap over the cases."""
    counts = np.array(
        [(len(pairs(g) & pairs(p)), len(pairs(g)) + len(pairs(p))) for g, p in cases], dtype=float
    )
    drawn = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    right, both = np.moveaxis(counts[drawn].sum(1), -1, 0)
    low, high = np.quantile(2 * right / np.maximum(both, 1), (0.025, 0.975))
    return float(low), float(high)


def score_slots(
    cases: Iterable[tuple[Preferences, Preferences]],
) -> tuple[SlotScore, Mapping[str, SlotScore]]:
    """Score (gold, predicted) pairs of Preferences.

    Returns
    -------
    The score over all slots, and by slot (``exact`` of a slot: cases that have it right).
    """
    right: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    n = 0
    whole = 0
    for gold, guess in cases:
        g, p = pairs(gold), pairs(guess)
        n += 1
        whole += g == p
        right.update(s for s, _ in g & p)
        predicted.update(s for s, _ in p)
        wanted.update(s for s, _ in g)
        slots = {s for s, _ in g | p}
        exact.update(s for s in slots if {x for x in g if x[0] == s} == {x for x in p if x[0] == s})
    by_slot = {
        s: SlotScore(right[s], predicted[s], wanted[s], exact[s], n)
        for s in sorted(predicted.keys() | wanted.keys())
    }
    total = SlotScore(right.total(), predicted.total(), wanted.total(), whole, n)
    return total, by_slot
