"""Softmax hides how the small classifiers of the package are learned from features of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmrec.softmax import Softmax, buckets

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["fit", "fit_temperature", "matrix", "scores_of"]

_Floats = npt.NDArray[np.float64]


def matrix(texts: Sequence[Sequence[str]], n: int) -> csr_matrix:
    """Texts given as the names of their features as a matrix [texts, n], rows of length one."""
    from scipy.sparse import csr_matrix

    at = [buckets(names, n) for names in texts]
    values = [np.full(len(a), max(len(a), 1) ** -0.5) for a in at]
    ends = np.cumsum([0, *(len(a) for a in at)])
    rows = csr_matrix((np.concatenate(values), np.concatenate(at), ends), (len(at), n))
    rows.sum_duplicates()
    return rows


def fit(
    rows: Any,
    targets: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    weights: _Floats | None = None,
    penalty: float = 0.1,
    most: int = 200,
) -> Softmax:
    """The likeliest softmax, its weights rounded to a byte each.

    Parameters
    ----------
    rows: as from ``matrix``. targets: int [rows], the class of each. weights: how much each counts.
    penalty: on the squares of the weights. most: steps of the optimiser.
    """
    from scipy.optimize import minimize

    n, size = len(classes), rows.shape[1] + 1
    target = np.eye(n)[targets]
    counts = np.ones(len(targets)) if weights is None else weights

    def loss(flat: _Floats) -> tuple[float, _Floats]:
        both = flat.reshape(size, n)
        scores = rows @ both[:-1] + both[-1]
        scores -= scores.max(1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        value = -(counts[:, None] * target * logs).sum() + penalty * (both[:-1] ** 2).sum() / 2
        off = counts[:, None] * (np.exp(logs) - target)
        slope = np.vstack([rows.T @ off + penalty * both[:-1], off.sum(0)])
        return float(value), slope.ravel()

    start = np.zeros(size * n)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": most})
    both = found.x.reshape(size, n)
    scale = np.maximum(np.abs(both[:-1]).max(0), 1e-9) / 127
    steps = np.rint(both[:-1] / scale).astype(np.int8)
    return Softmax(classes, steps, scale.round(9).tolist(), both[-1].round(6).tolist())


def scores_of(classifier: Softmax, rows: Any) -> _Floats:
    """Scores before the temperature, [rows, classes]."""
    return np.asarray(rows @ (classifier.weights * classifier.scale) + classifier.bias)


def fit_temperature(scores: _Floats, targets: npt.NDArray[np.int64]) -> float:
    """What scores are divided by so that the targets are likeliest."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        logits = scores / np.exp(log_temperature)
        told = logits[np.arange(len(targets)), targets]
        return float((np.logaddexp.reduce(logits, 1) - told).mean())

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    return round(float(np.exp(found.x)), 4)
