"""Significance hides how far a number can be trusted: bootstrap intervals over dialogues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ratio_interval"]

_Numbers = npt.NDArray[np.integer[Any]] | npt.NDArray[np.floating[Any]]


def ratio_interval(
    parts: _Numbers,
    wholes: _Numbers,
    groups: Sequence[str],
    *,
    samples: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The ratio of two sums, and a percentile bootstrap interval over groups of examples.

    Parameters
    ----------
    parts, wholes: [n], one of each for an example.
    groups: what each example belongs to; groups are drawn whole, as the turns of one dialogue
        are not independent.

    Returns
    -------
    The ratio, and the lower and upper end of the interval; all 0 where there are no wholes.
    """
    _, of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n = int(of.max()) + 1 if len(of) else 0
    part = np.bincount(of, weights=parts, minlength=n)
    whole = np.bincount(of, weights=wholes, minlength=n)
    if not whole.sum():
        return 0.0, 0.0, 0.0
    rng = np.random.default_rng(seed)
    ratios = np.empty(samples)
    for i in range(samples):
        drawn = rng.integers(0, n, n)
        ratios[i] = part[drawn].sum() / max(whole[drawn].sum(), 1e-12)
    low, high = np.quantile(ratios, ((1 - level) / 2, (1 + level) / 2))
    return float(part.sum() / whole.sum()), float(low), float(high)
