"""Beyond hides how lists are judged apart from being right: how varied, how obvious, how repeated.

Rankings are int arrays [n, depth], best first, padded with -1 at the end. An item twice in a
ranking is allowed here, and counts twice. To judge the first k, cut: ``ranked[:, :k]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.metrics.ranking import IntArray, checked, encoded

__all__ = [
    "Features",
    "coverage",
    "duplicate_rate",
    "features_of",
    "gini",
    "intra_list_diversity",
    "mean_of_defined",
    "mean_popularity",
    "novelty",
]

_Floats = npt.NDArray[np.float64]
_Numbers = npt.NDArray[np.integer[Any]] | npt.NDArray[np.floating[Any]]
Features = npt.NDArray[np.floating[Any]] | tuple[IntArray, IntArray, npt.NDArray[Any]]
"""Vectors of the items: [items, d], or sparse as (ptr [items + 1], index, value)."""

_CHUNK = 1 << 20  # numbers at once


def coverage(ranked: IntArray, n_items: int) -> float:
    """The share of the catalogue that stands in at least one ranking.

    Raises
    ------
    InputError: ``n_items`` is below 1, or a ranking holds an item that does not exist.
    """
    return float(np.count_nonzero(_exposure(ranked, n_items)) / n_items)


def gini(ranked: IntArray, n_items: int) -> float:
    """How unevenly the rankings show the catalogue: 0 all alike, towards 1 a single item.

    The Gini index of how often each item is shown, items never shown included; with one item
    shown alone it is 1 - 1 / n_items. 0 where nothing is shown.

    Raises
    ------
    InputError: as ``coverage``.
    """
    shown = np.sort(_exposure(ranked, n_items)).astype(np.float64)
    if not shown.any():
        return 0.0
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(weights @ shown / (n_items * shown.sum()))


def mean_popularity(ranked: IntArray, popularity: _Numbers) -> _Floats:
    """The mean popularity of the items of each ranking; NaN for an empty one.

    Parameters
    ----------
    popularity: [items], on any scale.

    Raises
    ------
    InputError: a ranking holds an item that has no popularity.
    """
    of = np.asarray(popularity, dtype=np.float64)
    ranked = checked(ranked, repeats=True, n_items=len(of))
    row, column = np.nonzero(ranked >= 0)
    n = np.bincount(row, minlength=len(ranked))
    sums = np.bincount(row, of[ranked[row, column]], minlength=len(ranked))
    return np.where(n > 0, sums / np.maximum(n, 1), np.nan)


def novelty(ranked: IntArray, counts: _Numbers) -> _Floats:
    """The mean self-information of the items of each ranking, in bits; NaN for an empty one.

    An item of probability p has -log2(p) bits: the rarer it was in training, the more. p is
    (count + 1) / (all counts + number of items), so that an item never seen has a finite value.

    Parameters
    ----------
    counts: [items] how often each item was seen in training.

    Raises
    ------
    InputError: a count is negative, or a ranking holds an item that has none.
    """
    seen = np.asarray(counts, dtype=np.float64)
    if seen.size and not seen.min() >= 0:
        raise InputError(f"counts hold {seen.min()}: give 0 or more for each item")
    return mean_popularity(ranked, -np.log2((seen + 1) / (seen.sum() + len(seen) or 1)))


def mean_of_defined(values: _Floats) -> float:
    """The mean of the values that are not NaN; NaN without any."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def duplicate_rate(ranked: IntArray) -> float:
    """The share of all entries that repeat an earlier one of the same ranking; 0 without any."""
    ranked = checked(ranked, repeats=True)
    ordered = np.sort(ranked, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    return float(twice.sum() / max(1, int((ranked >= 0).sum())))


def intra_list_diversity(ranked: IntArray, features: Features) -> _Floats:
    """1 - the mean cosine of all pairs of items of each ranking: 0 all alike.

    An item without features (a row of zeros) is not known to differ, and is left out; NaN where
    fewer than two items are left.

    Parameters
    ----------
    features: [items, d], or sparse as (ptr [items + 1], index, value).

    Raises
    ------
    InputError: the features are neither, or a ranking holds an item that has none.
    """
    ptr, index, value = _sparse(features)
    ranked = checked(ranked, repeats=True, n_items=len(ptr) - 1)
    width = int(index.max(initial=-1)) + 1
    per_list = max(1, int(np.diff(ptr).mean() * ranked.shape[1]) if len(ptr) > 1 else 1)
    step = max(1, _CHUNK // per_list)
    parts = [
        _diversity(ranked[at : at + step], ptr, index, value, width)
        for at in range(0, len(ranked), step)
    ]
    return np.concatenate([np.empty(0), *parts])


def features_of(
    ids: Sequence[str], features: Mapping[str, Sequence[str] | Sequence[float]]
) -> Features:
    """The features of items by id, as ``intra_list_diversity`` takes them.

    Parameters
    ----------
    features: for each id its names (genres, people ...) or its vector.

    Raises
    ------
    InputError: an item has none, or they are no lists of one kind.
    """
    for name in ids:
        if name not in features:
            raise InputError(f"there are no features of {name!r}: give a list for every item")
        if isinstance(features[name], str):
            raise InputError(f"the features of {name!r} are {features[name]!r}: give a list")
    lists: list[Any] = [list(features[name]) for name in ids]
    flat = [value for one in lists for value in one]
    if flat and all(isinstance(value, str) for value in flat):
        (rows,), _ = encoded(lists, repeats=True)
        ptr = np.cumsum([0, *map(len, rows)])
        return ptr, np.array([i for row in rows for i in row]), np.ones(len(flat))
    try:
        return np.array(lists, dtype=np.float64).reshape(len(lists), -1 if flat else 0)
    except ValueError:
        raise InputError(
            "the features are vectors of different lengths, or names beside numbers: give a list "
            "of names for every item, or a vector for every item"
        ) from None


def _diversity(
    ranked: IntArray, ptr: IntArray, index: IntArray, value: _Floats, width: int
) -> _Floats:
    # The cosines of all pairs of unit vectors add up to the square of their sum, less the n
    # squares of each with itself.
    has = ptr[1:] > ptr[:-1]
    row, column = np.nonzero(ranked >= 0)
    item = ranked[row, column]
    row, item = row[has[item]], item[has[item]]
    m = np.bincount(row, minlength=len(ranked))
    lengths = ptr[item + 1] - ptr[item]
    first = np.repeat(ptr[item] - (np.cumsum(lengths) - lengths), lengths)
    at = first + np.arange(len(first))
    key = np.repeat(row, lengths) * width + index[at]
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])[: len(key)])
    total = np.add.reduceat(value[at][order], starts) if len(starts) else np.empty(0)
    square = np.bincount(key[starts] // max(width, 1), total**2, minlength=len(ranked))
    pairs = m * (m - 1)
    return np.where(pairs > 0, 1 - (square - m) / np.maximum(pairs, 1), np.nan)


def _sparse(features: Features) -> tuple[IntArray, IntArray, _Floats]:
    """The features as CSR of unit vectors, without zeros."""
    if isinstance(features, tuple):
        ptr, index, value = (np.asarray(x) for x in features)
        fits = len(ptr) and ptr[0] == 0 and ptr[-1] == len(index) == len(value)
        if not fits or (np.diff(ptr) < 0).any() or index.min(initial=0) < 0:
            raise InputError(
                f"the sparse features end at {ptr[-1] if len(ptr) else None} and have {len(index)} "
                f"indices and {len(value)} values: give (ptr from 0, index, value) of one matrix"
            )
        row = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    else:
        dense = np.asarray(features)
        if dense.ndim != 2:
            raise InputError(f"features have the shape {dense.shape}: give [items, d]")
        row, index = np.nonzero(dense)
        ptr, value = np.zeros(len(dense) + 1, dtype=np.int64), dense[row, index]
    value = value.astype(np.float64)
    kept = value != 0
    row, index, value = row[kept], index[kept], value[kept]
    norm = np.sqrt(np.bincount(row, value**2, minlength=len(ptr) - 1))
    ends = np.cumsum(np.bincount(row, minlength=len(ptr) - 1))
    return np.concatenate([[0], ends]), index.astype(np.int64), value / norm[row]


def _exposure(ranked: IntArray, n_items: int) -> npt.NDArray[np.int64]:
    """How often each item is shown."""
    if n_items < 1:
        raise InputError(f"n_items is {n_items}: give the size of the catalogue, 1 or more")
    ranked = checked(ranked, repeats=True, n_items=n_items)
    return np.bincount(ranked[ranked >= 0], minlength=n_items)
