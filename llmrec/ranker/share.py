"""Share hides how much a language model's opinion should count beside a learned ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["share_of", "standardised"]

Floats = npt.NDArray[np.float64]
_LARGEST = 3.0


def standardised(values: npt.NDArray[Any]) -> Floats:
    """Scores with mean 0 and spread 1; what is not finite is 0, and all are where none differ."""
    x = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(x)
    if finite.sum() < 2 or float(x[finite].std()) == 0.0:
        return np.zeros_like(x)
    return np.where(finite, (x - x[finite].mean()) / x[finite].std(), 0.0)


def share_of(
    logprobs: Sequence[Floats], opinions: Sequence[Floats], right: Sequence[npt.NDArray[np.bool_]]
) -> float:
    """The weight of the opinions that makes what was wanted likeliest, 0 to 3.

    One number, so that some hundred conversations are enough; they must be new to the model and
    to the ranking.

    Parameters
    ----------
    logprobs, opinions: of the candidates of each conversation, [candidates] each.
    right: which of them were wanted.
    """
    from scipy.optimize import minimize_scalar

    cases = [(p, o, r) for p, o, r in zip(logprobs, opinions, right, strict=True) if r.any()]
    if not cases:
        return 0.0

    def loss(share: float) -> float:
        total = 0.0
        for p, o, r in cases:
            u = p + share * o
            top = float(u.max())
            total += float(r.sum()) * (top + np.log(np.exp(u - top).sum())) - float(u[r].sum())
        return total

    found = minimize_scalar(loss, bounds=(0.0, _LARGEST), method="bounded")
    return float(found.x) if found.fun < loss(0.0) else 0.0
