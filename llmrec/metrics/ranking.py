"""Ranking metrics hide nothing: pure functions over ranked rows and relevant ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["recall_counts"]

_Rows = npt.NDArray[np.integer[Any]]
_Counts = npt.NDArray[np.int64]


def recall_counts(
    ranked: Sequence[_Rows], relevant: Sequence[_Rows], k: int
) -> tuple[_Counts, _Counts]:
    """How many relevant items the first ``k`` of each ranking hold, and how many there are.

    Recall@k as the ReDial benchmark counts it is the sum of the one over the sum of the other:
    every target of every turn counts once.

    Parameters
    ----------
    ranked: rows of each example, best first. relevant: rows of each example, each once.
    """
    hits = [len(np.intersect1d(r[:k], w)) for r, w in zip(ranked, relevant, strict=True)]
    return np.array(hits, dtype=np.int64), np.array([len(w) for w in relevant], dtype=np.int64)
