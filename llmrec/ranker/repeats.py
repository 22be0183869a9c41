"""Repeats hides how likely it is that something named already is named again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.ranker.combiner import Listed
from llmrec.ranker.sparse import Arrays
from llmrec.ranker.talk import Case, Talk

__all__ = ["Repeats"]

Floats = npt.NDArray[np.float32]
_WIDTH = 7


class Repeats:
    """A linear utility of each item named so far, on the scale of the combiner's utilities."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._weights = np.asarray(arrays["weights"], dtype=np.float64)

    @classmethod
    def fit(
        cls, cases: Sequence[Case], listed: Sequence[Listed], utilities: Sequence[Floats]
    ) -> Repeats:
        """Learn from cases, by likelihood, beside the utilities of their new candidates."""
        from scipy.optimize import minimize

        features, right, rivals, weight, ends = [], [], [], [], [0]
        for case, candidates, utility in zip(cases, listed, utilities, strict=True):
            rows, x = _features(case.talk)
            if not len(rows) or not len(utility):
                continue
            again = np.isin(rows, case.wanted)
            features.append(x)
            right.append(again)
            top = float(utility.max())
            rivals.append(top + float(np.log(np.exp(utility - top).sum())))
            weight.append(int(again.sum()) + int(candidates.right.sum()))
            ends.append(ends[-1] + len(rows))
        if not features:
            return cls({"weights": np.array([-10.0] + [0.0] * (_WIDTH - 1))})
        x, hit = np.concatenate(features), np.concatenate(right)
        rival, n, start = np.array(rivals), np.array(weight), np.array(ends[:-1])
        of = np.repeat(np.arange(len(start)), np.diff(ends))

        def loss(w: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            u = x @ w
            top = np.maximum(np.maximum.reduceat(u, start), rival)
            total = np.add.reduceat(np.exp(u - top[of]), start) + np.exp(rival - top)
            share = np.exp(u - top[of]) / total[of]
            value = (n * (top + np.log(total))).sum() - u[hit].sum() + 1e-3 * (w @ w)
            slope = (x * (n[of] * share)[:, None]).sum(0) - x[hit].sum(0) + 2e-3 * w
            return float(value), slope

        found = minimize(loss, np.zeros(_WIDTH), jac=True, method="L-BFGS-B")
        return cls({"weights": found.x})

    def __call__(self, talk: Talk) -> tuple[npt.NDArray[np.int32], Floats]:
        """The rows named, and the utility of each: int32 [n], float32 [n]."""
        rows, x = _features(talk)
        return rows, np.asarray(x @ self._weights, dtype=np.float32)

    def arrays(self) -> Arrays:
        """Weights."""
        return {"weights": self._weights}


def _features(talk: Talk) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Each item named, and when, by whom and how often it was named last."""
    latest: dict[int, tuple[bool, int, int]] = {}
    for row, user, ago in talk.named:
        latest[row] = (user, ago, latest[row][2] + 1 if row in latest else 1)
    rows = np.array(list(latest), dtype=np.int32)
    x = np.zeros((len(rows), _WIDTH))
    for i, (user, ago, times) in enumerate(latest.values()):
        x[i] = (1, user, ago == 0, ago == 1, np.log1p(ago), np.log(times), np.log(len(rows)))
    return rows, x
