"""Clusters hides which items are so alike that they must not stand in two parts of a set."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from zlib import crc32

import numpy as np

from llmrec.titles import fold
from llmrec.types import Item

__all__ = ["clusters", "title_key"]

_VARIANT = frozenset(
    """part parte chapter capitulo episode episodio volume vol edition edicao edicion season
    temporada the movie o filme la pelicula remastered extended directors cut
    black white red blue green yellow pink purple orange brown grey gray silver gold beige navy
    preto branco vermelho azul verde amarelo rosa roxo laranja marrom cinza prata dourado
    negro blanco rojo amarillo morado naranja gris plata dorado
    small medium large xl xxl xs mini pequeno medio grande pequena media
    pack set of a an as os um uma el los las un una de da do""".split()
)
_NUMBER = re.compile(r"\d+(?:x\d+)*(?:cm|mm|ml|kg|g|l|oz|inch|in|gb|tb)?|[ivx]+")
_PERMUTATIONS, _BANDS = 48, 16
_SHINGLE = 3  # words
_ALIKE = 0.6  # Jaccard similarity of the shingles


def title_key(title: str) -> str:
    """What two editions, parts or colours of one thing have in common of their titles.

    Empty where that is no more than a letter or two.
    """
    words = fold(title).split()
    kept = [w for w in words if w not in _VARIANT and not _NUMBER.fullmatch(w)]
    key = " ".join(kept) if kept else " ".join(words)
    return key if len(key) > 2 else ""


def clusters(items: Sequence[Item]) -> list[str]:
    """The cluster of each item, called by the smallest id in it.

    Items are in one cluster if one of their titles is the same without year, part, colour and
    size, if their descriptions share most of their runs of three words, or if a chain of such
    items links them.
    """
    links = _Links(len(items))
    seen: dict[str, int] = {}
    for row, item in enumerate(items):
        for name in item.all_titles:
            if key := title_key(name):
                links.join(row, seen.setdefault(key, row))
    for language in ("", *sorted({k for i in items for k in i.descriptions})):
        texts = [i.descriptions.get(language, "") if language else i.description for i in items]
        for a, b in _alike(texts):
            links.join(a, b)
    smallest: dict[int, str] = {}
    for row, item in enumerate(items):
        root = links.root(row)
        smallest[root] = min(smallest.get(root, item.id), item.id)
    return [smallest[links.root(row)] for row in range(len(items))]


class _Links:
    """Groups that grow together (union-find)."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def root(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row

    def join(self, a: int, b: int) -> None:
        self._parent[self.root(a)] = self.root(b)


def _alike(texts: Sequence[str]) -> Iterable[tuple[int, int]]:
    """Pairs of texts that share most of their shingles: found by MinHash, then compared."""
    shingles = {row: s for row, text in enumerate(texts) if len(s := _shingles(text)) >= 4}
    dice = np.random.default_rng(0)
    factors = dice.integers(1, 2**31, (_PERMUTATIONS, 1), dtype=np.uint64) | np.uint64(1)
    offsets = dice.integers(0, 2**31, (_PERMUTATIONS, 1), dtype=np.uint64)
    size = _PERMUTATIONS // _BANDS
    buckets: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, some in shingles.items():
        hashed = np.fromiter(some, dtype=np.uint64, count=len(some))
        least = ((hashed * factors + offsets) >> np.uint64(16)).min(axis=1)
        for band in range(_BANDS):
            own = least[band * size : (band + 1) * size].tobytes()
            buckets[bytes([band]) + own].append(row)
    found: set[tuple[int, int]] = set()
    for rows in buckets.values():
        # A chain links the rows of a bucket: not every pair has to be looked at.
        found.update(pairwise(rows))
        found.update((rows[0], row) for row in rows[1:])
    for a, b in sorted(found):
        if len(shingles[a] & shingles[b]) >= _ALIKE * len(shingles[a] | shingles[b]):
            yield a, b


def _shingles(text: str) -> set[int]:
    words = fold(text).split()
    runs = zip(*(words[i:] for i in range(_SHINGLE)), strict=False)
    return {crc32(" ".join(run).encode()) for run in runs}
