"""LinearRanker hides how signals are weighed where no dialogues teach it: by hand-set weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["LinearRanker", "Ranker"]

Array = npt.NDArray[np.float64]


class Ranker(Protocol):
    """The seam for how signals become one score."""

    def __call__(self, signals: Mapping[str, Array]) -> Array:
        """Combine signals, each float64 [candidates], into one utility per candidate."""
        ...


@dataclass(frozen=True)
class LinearRanker:
    """A weighted sum of signals.

    Signals: "model" (log-probability of the title given the conversation, standardised over the
    candidates), "similar" (content similarity to films liked or named, 0 to 1), "keywords" (share
    of the themes asked for), "text" (BM25 of the free words, largest 1), "popularity" (0 to 1),
    "disliked" (content similarity to films disliked), "learned" (log-probability by a
    LearnedRanker).
    """

    model: float = 0.25
    similar: float = 6.0
    keywords: float = 4.0
    text: float = 1.0
    popularity: float = 1.5
    disliked: float = -2.0
    learned: float = 1.0

    @classmethod
    def beside(cls, share: float) -> LinearRanker:
        """What is added to a learned ranking: the model's share, and wishes it does not read."""
        return cls(model=share, similar=0.0, text=0.0, popularity=0.0)

    @classmethod
    def of_products(cls, share: float) -> LinearRanker:
        """For items that nobody has rated or counted: the words asked for decide."""
        return cls(model=share, text=8.0)

    def __call__(self, signals: Mapping[str, Array]) -> Array:
        """The weighted sum: float64 [candidates]."""
        total = np.zeros(len(next(iter(signals.values()))))
        return np.asarray(sum(self.parts(signals).values(), total), dtype=np.float64)

    def parts(self, signals: Mapping[str, Array]) -> dict[str, Array]:
        """What each signal that counts adds to the sum."""
        weights = dataclasses.asdict(self)
        return {n: weights[n] * v for n, v in signals.items() if weights[n]}
