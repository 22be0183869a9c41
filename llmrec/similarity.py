"""ContentIndex hides how alike two items are by what is known of them: arrays, no training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

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


def features(item: Item) -> Iterator[tuple[str, str]]:
    """What an item is compared by: kind and value."""
    for g in item.genres:
        yield "genre", g
    for k in item.keywords:
        yield "keyword", k
    for p in item.directors:
        yield "director", p
    for p in item.cast:
        yield "cast", p
    for c in item.countries:
        yield "country", c
    if item.year:
        yield "decade", str(item.year // 10)


class ContentIndex:
    """Cosine similarity over genres, themes, people, country and decade, weighted by rarity.

    Parameters
    ----------
    items: the catalogue, in row order.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        number: dict[tuple[str, str], int] = {}
        flat: list[int] = []
        ends: list[int] = [0]
        for item in items:
            own = {number.setdefault(f, len(number)) for f in features(item)}
            flat += sorted(own)
            ends.append(len(flat))
        self._flat = np.array(flat, dtype=np.int32)
        self._ends = np.array(ends, dtype=np.int64)
        n = len(ends) - 1
        counts = np.bincount(self._flat, minlength=len(number)).astype(np.float32)
        kind = np.array([_WEIGHT[k] for k, _ in number], dtype=np.float32)
        # Squared once here, so that a product of two items' weights is one look-up.
        self._weight = (kind * np.log1p(n / np.maximum(counts, 1.0))) ** 2
        self._norm = np.sqrt(np.maximum(self._sums(self._weight), 1e-9))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _sums(self, per_feature: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        running = np.concatenate(([0.0], np.cumsum(per_feature[self._flat], dtype=np.float64)))
        return (running[self._ends[1:]] - running[self._ends[:-1]]).astype(np.float32)

    def to(self, rows: Sequence[int] | npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Mean similarity of every item to the items of ``rows``: float32 [n], 0 to 1."""
        total = np.zeros(len(self), dtype=np.float32)
        for row in rows:
            shared = np.zeros_like(self._weight)
            own = self._flat[self._ends[row] : self._ends[row + 1]]
            shared[own] = self._weight[own]
            total += self._sums(shared) / (self._norm * self._norm[row])
        total /= max(len(rows), 1)
        return total
