"""ContentIndex hides how alike two items are by what is known of them: arrays, no training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.arrays import Arrays, Keeper, Numbering
from llmrec.types import Item

__all__ = ["ContentIndex", "features"]

# How much a shared feature of each kind says; found by looking at neighbours, not by fitting.
_WEIGHT = {
    "genre": 1.0,
    "keyword": 1.0,
    "director": 0.9,
    "cast": 0.6,
    "country": 0.4,
    "decade": 0.5,
}
_FIELDS = ("genres", "keywords", "directors", "cast", "countries", "year")  # that they come from
_BITS = 28  # of a feature, below its kind

_Ints = npt.NDArray[np.int64]


def features(item: Item) -> Iterator[tuple[str, str]]:
    """What an item is compared by: kind and value."""
    for kind, field in zip(_WEIGHT, _FIELDS, strict=True):
        for value in _values(field, [getattr(item, field)])[0]:
            yield kind, str(value)


def _values(field: str, held: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """What a field of some items is compared by."""
    return [(v // 10,) if v else () for v in held] if field == "year" else held


class ContentIndex:
    """Cosine similarity over genres, themes, people, country and decade, weighted by rarity.

    Parameters
    ----------
    items: the catalogue, in row order.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        own = list(items)
        self._take(_compared([{name: [getattr(i, name) for i in own] for name in _FIELDS}]))

    @classmethod
    def of(cls, catalog: Keeper) -> ContentIndex:
        """The index of a catalogue, which keeps it."""
        made = cls.__new__(cls)
        made._take(catalog.kept("likeness-1", lambda: _compared(catalog.columns(_FIELDS))))
        return made

    def _take(self, arrays: Arrays) -> None:
        self._features, self._ends = arrays["features"], arrays["ends"]
        self._items, self._item_ends = arrays["items"], arrays["item_ends"]
        self._weight, self._norm = arrays["weight"], arrays["norm"]

    def __len__(self) -> int:
        return len(self._norm)

    def to(self, rows: Sequence[int] | npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Mean similarity of every item to the items of ``rows``: float32 [n], 0 to 1."""
        total = np.zeros(len(self), dtype=np.float32)
        for row in rows:
            shared = np.zeros(len(self), dtype=np.float32)
            for feature in self._features[self._ends[row] : self._ends[row + 1]].tolist():
                alike = self._items[self._item_ends[feature] : self._item_ends[feature + 1]]
                shared[alike] += self._weight[feature]
            total += shared / (self._norm * self._norm[row])
        total /= max(len(rows), 1)
        return total


def _compared(columns: Iterable[Mapping[str, Sequence[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """The features of each item, the items of each feature, and what a feature weighs."""
    number = [Numbering() for _ in _WEIGHT]
    found: list[npt.NDArray[np.int32]] = [np.zeros(0, dtype=np.int32)]
    sizes: list[_Ints] = [np.zeros(1, dtype=np.int64)]
    for some in columns:
        features, own = _features(some, number)
        found.append(features)
        sizes.append(own)
    ends = np.cumsum(np.concatenate(sizes))
    first = np.cumsum([0, *map(len, number)])
    flat = np.concatenate(found)
    flat = (flat & ((1 << _BITS) - 1)) + first[flat >> _BITS].astype(np.int32)
    n, counts = len(ends) - 1, np.bincount(flat, minlength=int(first[-1]))
    kind = np.repeat(np.array(list(_WEIGHT.values()), dtype=np.float32), np.diff(first))
    # Squared once here, so that a product of two items' weights is one look-up.
    weight = (kind * np.log1p(n / np.maximum(counts, 1).astype(np.float32))) ** 2
    running = np.concatenate(([0.0], np.cumsum(weight[flat], dtype=np.float64)))
    norm = np.sqrt(np.maximum(np.diff(running[ends]), 1e-9)).astype(np.float32)
    owner = np.repeat(np.arange(n, dtype=np.int32), np.diff(ends))
    return {
        "features": flat,
        "ends": ends,
        "items": owner[np.argsort(flat, kind="stable")],
        "item_ends": np.concatenate(([0], np.cumsum(counts))),
        "weight": weight.astype(np.float32),
        "norm": norm,
    }


def _features(
    some: Mapping[str, Sequence[Any]], number: Sequence[Numbering]
) -> tuple[npt.NDArray[np.int32], _Ints]:
    """What some items are compared by, each feature once for an item, and how many each has."""
    n = len(some["year"])
    found: list[_Ints] = []
    for kind, (field, known) in enumerate(zip(_FIELDS, number, strict=True)):
        values = _values(field, some[field])
        owner = np.repeat(np.arange(n), np.fromiter(map(len, values), np.int64, n))
        feature = known.of(chain.from_iterable(values), len(owner)).astype(np.int64)
        found.append(owner << 32 | kind << _BITS | feature)
    every = np.sort(np.concatenate(found))
    once = every[np.diff(every, prepend=-1) > 0]
    return (once & 0xFFFFFFFF).astype(np.int32), np.bincount(once >> 32, minlength=n)
