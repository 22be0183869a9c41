"""Significance hides how far a number can be trusted: bootstraps over dialogues, and Holm's rule.

Groups (dialogues) are drawn whole, as the turns of one dialogue are not independent. All intervals
are percentile intervals. With few groups they are too narrow (simulated, 95 % intervals hold the
truth in 94 % of the cases with 100 dialogues, 91 % with 15 and 88 % with 8), and where all values
are equal they are a point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError

__all__ = [
    "Interval",
    "Paired",
    "holm",
    "mean_interval",
    "mean_intervals",
    "paired",
    "ratio_interval",
    "wilson",
]

_Numbers = npt.NDArray[np.integer[Any]] | npt.NDArray[np.floating[Any]]
_Floats = npt.NDArray[np.float64]
_Groups = Sequence[str] | Sequence[int] | npt.NDArray[Any]

_CHUNK = 1 << 20  # draws at once
_Z = 1.959964  # of a normal, two-sided at 95 %


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval. ``n``: examples it is the mean of."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Paired:
    """How much the first of two systems is ahead, with its interval.

    Attributes
    ----------
    p: two-sided; how often, doubled, resampled dialogues turn the difference around.
    """

    difference: float
    low: float
    high: float
    p: float

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        return asdict(self)


def mean_interval(
    values: _Numbers | Sequence[float],
    groups: _Groups,
    *,
    weights: _Numbers | Sequence[float] | None = None,
    samples: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The sum of values over the sum of weights, and a bootstrap interval over groups.

    Parameters
    ----------
    values: one for each example; where it is NaN (a metric that is not defined for this example)
        the example is left out.
    groups: what each example belongs to.
    weights: what each example counts; None: 1, so that the value is the mean. With found@k as
        values and the numbers of targets as weights it is the recall over all targets.

    Returns
    -------
    All 0 where no weight is left.

    Raises
    ------
    InputError: lengths differ, a value is infinite, a weight is negative or not finite, or
        ``level`` or ``samples`` make no interval.
    """
    named = {"": values}
    return mean_intervals(named, groups, weights=weights, samples=samples, level=level, seed=seed)[
        ""
    ]


def mean_intervals(
    values: Mapping[str, _Numbers | Sequence[float]],
    groups: _Groups,
    *,
    weights: _Numbers | Sequence[float] | None = None,
    samples: int = 2_000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """``mean_interval`` of several metrics of the same examples, drawn once for all of them."""
    if samples < 1 or not 0 < level < 1:
        raise InputError(
            f"samples is {samples} and level {level}: use 1 or more samples, and a level between "
            "0 and 1, as in 0.95"
        )
    of, n_groups = _numbered(groups)
    weight = np.ones(len(of)) if weights is None else _column("weights", weights, len(of))
    if weight.size and not weight.min() >= 0:  # NaN too
        raise InputError(f"weights hold {weight.min()}: give 0 or more for each example")
    columns = {name: _column(name or "values", v, len(of)) for name, v in values.items()}
    defined = {name: ~np.isnan(v) for name, v in columns.items()}
    sums = np.empty((n_groups, 2 * len(columns)))
    for i, (name, column) in enumerate(columns.items()):
        use = defined[name]
        sums[:, 2 * i] = np.bincount(of[use], column[use], minlength=n_groups)
        sums[:, 2 * i + 1] = np.bincount(of[use], weight[use], minlength=n_groups)
    drawn = _resampled(sums, samples, seed)
    out = {}
    for i, name in enumerate(columns):
        low, high = _percentiles(drawn[:, 2 * i], drawn[:, 2 * i + 1], level)
        part, whole = sums[:, 2 * i].sum(), sums[:, 2 * i + 1].sum()
        out[name] = Interval(
            float(part / whole) if whole else 0.0, low, high, int(defined[name].sum())
        )
    return out


def ratio_interval(
    parts: _Numbers,
    wholes: _Numbers,
    groups: _Groups,
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
    found = mean_interval(parts, groups, weights=wholes, samples=samples, level=level, seed=seed)
    return found.value, found.low, found.high


def paired(
    a: _Numbers | Sequence[float],
    b: _Numbers | Sequence[float],
    groups: _Groups,
    *,
    weights: _Numbers | Sequence[float] | None = None,
    samples: int = 10_000,
    seed: int = 0,
) -> Paired:
    """Whether the first of two systems is better on the same examples: bootstrap over groups.

    Examples of which either value is NaN are left out. ``weights`` as in ``mean_interval``.

    Returns
    -------
    The difference of the two means with its 95 % interval; p is below 0.05 where that leaves out
    0, and never below 2 / (samples + 1).

    Raises
    ------
    InputError: as ``mean_interval``.
    """
    of, n_groups = _numbered(groups)
    apart = _column("a", a, len(of)) - _column("b", b, len(of))
    weight = np.ones(len(of)) if weights is None else _column("weights", weights, len(of))
    use = ~np.isnan(apart)
    sums = np.stack(
        [np.bincount(of[use], x[use], minlength=n_groups) for x in (apart, weight)],
        axis=1,
        dtype=np.float64,
    )
    part, whole = sums.sum(0)
    if not whole:
        return Paired(0.0, 0.0, 0.0, 1.0)
    drawn = _resampled(sums, samples, seed)
    low, high = _percentiles(drawn[:, 0], drawn[:, 1], 0.95)
    # A tie counts for both sides, so that equal systems have p = 1.
    turned = min(int((drawn[:, 0] <= 0).sum()), int((drawn[:, 0] >= 0).sum()))
    p = min(1.0, 2 * (turned + 1) / (samples + 1))
    return Paired(float(part / whole), low, high, p)


def holm(p_values: Sequence[float] | _Floats) -> list[float]:
    """The p-values of several comparisons, adjusted by Holm's rule, in the same order.

    Raises
    ------
    InputError: one is not between 0 and 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise InputError(f"the p-values are {list(p_values)}: give numbers from 0 to 1")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(steps, 1.0)
    return [float(v) for v in out]


def _numbered(groups: _Groups) -> tuple[npt.NDArray[np.int64], int]:
    """The groups as numbers from 0 on, and how many there are."""
    names, of = np.unique(np.asarray(groups), return_inverse=True)
    return of.reshape(-1).astype(np.int64), len(names)


def _column(name: str, values: Any, n: int) -> _Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (n,):
        raise InputError(
            f"{name} has the shape {column.shape} and there are {n} groups: give one of each for "
            "every example"
        )
    if np.isinf(column).any():
        raise InputError(f"{name} holds infinity at {int(np.isinf(column).argmax())}: give numbers")
    return column


def _resampled(sums: _Floats, samples: int, seed: int) -> _Floats:
    """The column sums [samples, columns] of as many groups as there are, drawn with repeats."""
    n = len(sums)
    if not n:
        return np.zeros((samples, sums.shape[1]))
    rng = np.random.default_rng(seed)
    out = np.empty((samples, sums.shape[1]))
    for at in range(0, samples, step := max(1, _CHUNK // n)):
        size = min(step, samples - at)
        drawn = rng.integers(0, n, (size, n))
        drawn += np.arange(size)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        out[at : at + size] = counts.astype(np.float64) @ sums
    return out


def _percentiles(parts: _Floats, wholes: _Floats, level: float) -> tuple[float, float]:
    """Lower and upper end of the ratios; a resample without any weight has none."""
    some = wholes > 0
    if not some.any():
        return 0.0, 0.0
    low, high = np.quantile(parts[some] / wholes[some], ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, ``hits`` of ``n``, after Wilson (1927); (0, 1) of none."""
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)
