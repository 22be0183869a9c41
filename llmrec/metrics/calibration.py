"""Calibration hides what a confidence is worth: does it sort right from wrong, is it honest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError

__all__ = ["Calibrator", "auroc", "brier", "ece", "prr", "rejection_curve"]

_Floats = npt.NDArray[np.float64]
_Values = npt.NDArray[Any] | Sequence[float]
_MAX_STEPS = 100
_RIDGE = 1e-6


def auroc(scores: _Values, right: _Values) -> float:
    """How often a right answer has a higher score than a wrong one; equal scores count half.

    0.5 is chance. NaN where all answers are right, or none is.

    Parameters
    ----------
    scores: higher means more sure. right: 0 or 1 (or bools) for each.

    Raises
    ------
    InputError: lengths differ, a number is not finite, or ``right`` is not 0 or 1.
    """
    score, true = _columns(scores=scores, right=right)
    _binary(true)
    _, of, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[of]  # equal scores share their mean rank
    n_right, n_wrong = true.sum(), len(true) - true.sum()
    if not n_right or not n_wrong:
        return float("nan")
    return float((rank @ true - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def rejection_curve(uncertainty: _Values, quality: _Values) -> tuple[_Floats, _Floats]:
    """The mean quality of what is left when the most uncertain examples are rejected first.

    Examples of equal uncertainty are rejected in no order: their mean stands for each of them.

    Returns
    -------
    The share rejected (0, 1/n, ... (n-1)/n), and the mean quality of the rest, each [n].

    Raises
    ------
    InputError: lengths differ, there is no example, or a number is not finite.
    """
    doubt, good = _columns(uncertainty=uncertainty, quality=quality)
    if not len(doubt):
        raise InputError("there are 0 examples: a rejection curve needs one at least")
    _, of, counts = np.unique(doubt, return_inverse=True, return_counts=True)
    shared = (np.bincount(of, good) / counts)[of][np.argsort(doubt, kind="stable")]
    kept = np.arange(1, len(doubt) + 1)
    means = np.cumsum(shared) / kept
    return (kept - 1) / len(doubt), means[::-1]


def prr(uncertainty: _Values, quality: _Values) -> float:
    """Prediction rejection ratio: 1 rejects the worst first, 0 is chance, below that misleads.

    The area of the rejection curve above that of random rejection, over the same of an oracle
    that rejects by quality itself (Malinin and Gales 2021; the curve is the mean quality of what
    is kept). NaN where all qualities are equal.

    Raises
    ------
    InputError: as ``rejection_curve``.
    """
    own = rejection_curve(uncertainty, quality)[1].mean()
    good = np.asarray(quality, dtype=np.float64)
    best = rejection_curve(-good, good)[1].mean()
    if good.min() == good.max():
        return float("nan")
    return float((own - good.mean()) / (best - good.mean()))


def ece(confidence: _Values, right: _Values, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and share right, over bins.

    The bins are of equal width, closed at their upper end, and count by how many they hold
    (Guo et al. 2017). 0 without examples.

    Raises
    ------
    InputError: ``bins`` is below 1, a confidence is not from 0 to 1, or as ``auroc``.
    """
    if bins < 1:
        raise InputError(f"bins is {bins}: give 1 or more")
    sure, true = _confidences(confidence, right)
    at = np.clip(np.ceil(sure * bins) - 1, 0, bins - 1).astype(np.int64)
    gaps = np.bincount(at, sure - true, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(sure)))


def brier(confidence: _Values, right: _Values) -> float:
    """The mean square distance of confidence and truth; 0 without examples.

    Raises
    ------
    InputError: as ``ece``.
    """
    sure, true = _confidences(confidence, right)
    return float(((sure - true) ** 2).sum() / max(1, len(sure)))


@dataclass(frozen=True)
class Calibrator:
    """Scores to probabilities of being right: ``1 / (1 + exp(-(slope * score + offset)))``.

    Platt's scaling, rather than isotonic regression: two numbers can be learnt from a few hundred
    examples, never say 0 or 1, and keep the order of the scores, so that AUROC and the rejection
    curve stay what they were. It fits best where scores are log-odds or log-probabilities.
    """

    slope: float
    offset: float

    @classmethod
    def fit(cls, scores: _Values, right: _Values) -> Calibrator:
        """Learn from held-out examples; where higher scores are wrong more often the slope is < 0.

        The targets are pulled towards the middle as Platt (1999) does, so that examples which one
        score parts without error have an answer too.

        Raises
        ------
        InputError: as ``auroc``; or there is no example.
        """
        score, true = _columns(scores=scores, right=right)
        _binary(true)
        if not len(score):
            raise InputError("there are 0 examples: a calibrator needs some right and some wrong")
        n_right = true.sum()
        high, low = (n_right + 1) / (n_right + 2), 1 / (len(true) - n_right + 2)
        middle, spread = score.mean(), score.std() or 1.0
        slope, offset = _logistic((score - middle) / spread, np.where(true > 0, high, low))
        return cls(float(slope / spread), float(offset - slope * middle / spread))

    def __call__(self, scores: _Values) -> _Floats:
        """The probability that each is right, [n]."""
        return _sigmoid(self.slope * np.asarray(scores, dtype=np.float64) + self.offset)

    def to_dict(self) -> dict[str, Any]:
        """The two numbers as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibrator:
        """What ``to_dict`` gave. Raises InputError for anything else."""
        try:
            made = cls(float(data["slope"]), float(data["offset"]))
        except (KeyError, TypeError, ValueError):
            made = cls(float("nan"), 0.0)
        if not np.isfinite([made.slope, made.offset]).all():
            raise InputError(f"a calibrator cannot be made of {data!r}: give slope and offset")
        return made


def _logistic(x: _Floats, target: _Floats) -> tuple[float, float]:
    """Slope and offset of the likeliest logistic curve, by Newton's method."""
    columns = np.stack([x, np.ones_like(x)], axis=1)
    at = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])

    def loss(w: _Floats) -> float:
        z = columns @ w
        return float((np.logaddexp(0, z) - target * z).sum() + _RIDGE * w[0] ** 2 / 2)

    before = loss(at)
    for _ in range(_MAX_STEPS):
        p = _sigmoid(columns @ at)
        slope = columns.T @ (p - target) + [_RIDGE * at[0], 0.0]
        curve = (columns * (p * (1 - p))[:, None]).T @ columns + np.diag([_RIDGE, 0.0])
        step = np.linalg.solve(curve + np.eye(2) * 1e-12, slope)
        while (now := loss(at - step)) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        at, gain, before = at - step, before - now, now
        if gain < 1e-12 * max(1.0, abs(before)):
            break
    return float(at[0]), float(at[1])


def _sigmoid(z: _Floats) -> _Floats:
    return np.exp(-np.logaddexp(0, -z))


def _columns(**named: _Values) -> tuple[_Floats, ...]:
    columns = {name: np.asarray(v, dtype=np.float64) for name, v in named.items()}
    shapes = {name: c.shape for name, c in columns.items()}
    if len(set(shapes.values())) > 1 or any(c.ndim != 1 for c in columns.values()):
        said = " and ".join(f"{name} has the shape {shape}" for name, shape in shapes.items())
        raise InputError(f"{said}: give one of each for every example")
    for name, column in columns.items():
        if (odd := ~np.isfinite(column)).any():
            at = int(odd.argmax())
            raise InputError(f"{name} holds {column[at]} at {at}: give finite numbers")
    return tuple(columns.values())


def _binary(right: _Floats) -> None:
    if (odd := (right != 0) & (right != 1)).any():
        raise InputError(f"right holds {right[odd][0]}: give 1 for right and 0 for wrong")


def _confidences(confidence: _Values, right: _Values) -> tuple[_Floats, _Floats]:
    sure, true = _columns(confidence=confidence, right=right)
    _binary(true)
    if (odd := (sure < 0) | (sure > 1)).any():
        raise InputError(f"confidence holds {sure[odd][0]}: give probabilities from 0 to 1")
    return sure, true
