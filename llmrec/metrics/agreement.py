"""Agreement hides how alike two rankings of the same request are, for many pairs at once.

Rankings are int arrays [n, depth], best first, padded with -1 at the end, each item once. Two
empty rankings agree in full.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.metrics.ranking import IntArray, checked

__all__ = ["jaccard", "overlap", "rbo"]

_Floats = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]
_CHUNK = 1 << 20  # entries that are sorted at once


def jaccard(a: IntArray, b: IntArray) -> _Floats:
    """The items in both over the items in either, whatever their order: [n], 0 to 1.

    Raises
    ------
    InputError: the two are no rankings of the same number of requests.
    """
    a, b = _pair(a, b)
    both = np.bincount(_meetings(a, b)[0], minlength=len(a))
    either = _lengths(a) + _lengths(b) - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def overlap(a: IntArray, b: IntArray, k: int) -> _Floats:
    """The share of the first ``k`` that both have: [n], 0 to 1.

    Of k, or of the longer ranking where neither has k items.

    Raises
    ------
    InputError: ``k`` is below 1, or as ``jaccard``.
    """
    if k < 1:
        raise InputError(f"k is {k}: give 1 or more")
    a, b = _pair(a, b)
    both = np.bincount(_meetings(a[:, :k], b[:, :k])[0], minlength=len(a))
    of = np.minimum(np.maximum(_lengths(a), _lengths(b)), k)
    return np.where(of > 0, both / np.maximum(of, 1), 1.0)


def rbo(a: IntArray, b: IntArray, p: float = 0.9) -> _Floats:
    """Rank-biased overlap, extrapolated: [n], 0 to 1, the top counting most.

    Equation 32 of Webber, Moffat and Zobel (2010), for rankings of equal or different lengths.

    Parameters
    ----------
    p: how far down a reader goes on; at 0.9 the first ten places have 86 % of the weight.

    Raises
    ------
    InputError: ``p`` is not between 0 and 1, or as ``jaccard``.
    """
    if not 0 < p < 1:
        raise InputError(f"p is {p}: give a number between 0 and 1, as in 0.9")
    a, b = _pair(a, b)
    depth = max(a.shape[1], b.shape[1])
    row, met = _meetings(a, b)
    counts = np.bincount(row * depth + met, minlength=len(a) * depth)
    shared = np.cumsum(counts.reshape(len(a), depth), axis=1).astype(np.float64)
    la, lb = _lengths(a), _lengths(b)
    short, long = np.minimum(la, lb)[:, None], np.maximum(la, lb)[:, None]
    shared = np.concatenate([np.zeros((len(a), 1)), shared], axis=1)  # of the first 0, 1, 2 ...
    at_short = np.take_along_axis(shared, short, axis=1)
    at_long = np.take_along_axis(shared, long, axis=1)
    d = np.arange(1, depth + 1)
    agreed = shared[:, 1:] / d
    # Behind its end the shorter ranking is taken to agree as it did before.
    rate = at_short / np.maximum(short, 1)
    agreed = agreed + np.where(d > short, rate * (d - short) / d, 0.0)
    seen = np.where(d <= long, agreed, 0.0) @ p ** d.astype(np.float64)
    tail = ((at_long - at_short) / np.maximum(long, 1) + rate) * p ** long.astype(np.float64)
    return np.where(long[:, 0] > 0, (1 - p) / p * seen + tail[:, 0], 1.0)


def _pair(a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    a, b = checked(a), checked(b)
    if len(a) != len(b):
        raise InputError(f"there are {len(a)} and {len(b)} rankings: give as many of each")
    return a, b


def _lengths(ranked: IntArray) -> _Counts:
    lengths: _Counts = (ranked >= 0).sum(1, dtype=np.int64)
    return lengths


def _meetings(a: IntArray, b: IntArray) -> tuple[_Counts, _Counts]:
    """For each item that both rankings have: which pair, and the lower of its two places."""
    width = a.shape[1]
    rows, places = [], []
    for at in range(0, len(a), step := max(1, _CHUNK // max(1, width + b.shape[1]))):
        both = np.concatenate([a[at : at + step], b[at : at + step]], axis=1)
        order = np.argsort(both, axis=1, kind="stable")
        both = np.take_along_axis(both, order, axis=1)
        row, column = np.nonzero((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0))
        rows.append(row + at)
        places.append(np.maximum(order[row, column], order[row, column + 1] - width))
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *rows]), np.concatenate([empty, *places])
