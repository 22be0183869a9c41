"""Relaxing hides which wishes are given up: what nothing meets, and what cannot be checked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmrec.types import Preferences
from llmrec.wishes import Wish

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["checkable", "given_up"]

DOUBTFUL = 0.1
# What is given up first.
_WEIGHTS = {
    "price_min": 0.9, "runtime_min": 1.0, "runtime_max": 1.0, "year_min": 1.2, "year_max": 1.2,
    "languages": 1.5, "keywords_out": 1.6, "countries": 1.8, "genres": 2.0, "genres_any": 2.2,
    "price_max": 2.4, "people": 2.6, "people_any": 2.6, "directors": 2.6, "genres_out": 3.0,
    "countries_out": 3.0, "languages_out": 3.0, "people_out": 3.2,
}  # fmt: skip


def checkable(
    asked: Sequence[Wish], known: Mapping[str, float]
) -> tuple[tuple[Wish, ...], tuple[Wish, ...]]:
    """The wishes that a catalogue can be asked for, and those about facts that it does not have.

    Parameters
    ----------
    known: the share of its items that have each field of Item.
    """

    def has(wish: Wish) -> bool:
        names = ("directors", "cast") if wish.attribute == "people" else (wish.attribute,)
        return any(known.get(name) for name in names)

    return tuple(w for w in asked if has(w)), tuple(w for w in asked if not has(w))


def given_up(
    catalog: Catalog,
    asked: tuple[Wish, ...],
    excluded: frozenset[str],
    doubtful: frozenset[str],
    fitting: npt.NDArray[np.bool_] | None = None,
) -> tuple[Wish, ...]:
    """The least weighty wishes to give up so that something is left.

    Parameters
    ----------
    asked: the hard wishes of the preferences.
    excluded: ids of items that are no candidates.
    doubtful: values that may have been misread; wishes for nothing else go first.
    fitting: by row, what else is no candidate is False.
    """

    def weight(wish: Wish) -> float:
        return DOUBTFUL if doubtful.issuperset(wish.values) else _WEIGHTS[wish.field]

    open_to = np.zeros(len(catalog), dtype=bool)
    open_to[catalog.filter(None, exclude=tuple(sorted(excluded)))] = True
    if fitting is not None:
        open_to &= fitting
    masks = []
    for w in asked:
        mask = np.zeros(len(catalog), dtype=bool)
        mask[catalog.filter(_only(w))] = True
        masks.append(mask)
    order = sorted(range(len(asked)), key=lambda i: weight(asked[i]))
    best: tuple[float, tuple[int, ...]] | None = None
    for n in range(1, min(3, len(asked)) + 1):
        for dropped in itertools.combinations(order, n):
            kept = [masks[i] for i in range(len(asked)) if i not in dropped]
            left = open_to & np.logical_and.reduce(kept) if kept else open_to
            cost = sum(weight(asked[i]) for i in dropped)
            if left.any() and (best is None or cost < best[0]):
                best = (cost, dropped)
    if best:
        return tuple(asked[i] for i in sorted(best[1]))
    lost: list[int] = []
    left = open_to.copy()
    for i in reversed(order):  # keep the weightiest that still go together
        if (left & masks[i]).any():
            left &= masks[i]
        else:
            lost.append(i)
    return tuple(asked[i] for i in sorted(lost))


def _only(wish: Wish) -> Preferences:
    value: Any = wish.bound if wish.attribute in ("year", "runtime", "price") else wish.values
    return Preferences(**{wish.field: value})
