"""SmallWords hides which words texts write in small letters, so that they name nothing alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmrec.arrays import number
from llmrec.titles import fold

__all__ = ["SmallWords"]

_Ints = npt.NDArray[np.int64]
_REMEMBERED = 1_000_000  # words whose folded form is remembered
_HELD = 4_000_000  # words, with repetitions, that are held before they are made fewer


class SmallWords:
    """The folded forms of words in small letters, by ``number``, and in which texts they stand."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}  # -1 for a word with a capital
        self._texts = 0
        self._found = np.zeros((3, 0), dtype=np.int64)
        self._more: list[_Ints] = []

    def add(self, texts: Sequence[str]) -> None:
        """Some more texts."""
        from pyarrow import array, compute, string

        split = compute.utf8_split_whitespace(array(texts, string()))
        words = split.flatten().dictionary_encode()
        text = self._texts + np.repeat(np.arange(len(texts)), np.diff(split.offsets.to_numpy()))
        self._texts += len(texts)
        of = words.indices.to_numpy()
        first, last = np.zeros((2, len(words.dictionary)), dtype=np.int64)
        first[of[::-1]] = text[::-1]  # what is assigned last stays
        last[of] = text
        values = self._numbers(words.dictionary.to_pylist())
        self._more.append(np.stack((values, first, last))[:, values >= 0])
        if sum(m.shape[1] for m in self._more) > _HELD:
            self._merge()

    def repeated(self) -> _Ints:
        """The numbers of those that stand in two texts or more, ascending."""
        self._merge()
        values, first, last = self._found
        return values[first < last]

    def _numbers(self, words: Sequence[str]) -> _Ints:
        known = self._number
        if len(known) > _REMEMBERED:
            known.clear()
        for word in words:
            if word not in known:
                known[word] = number(fold(word)) if word.islower() else -1
        return np.fromiter(map(known.__getitem__, words), dtype=np.int64, count=len(words))

    def _merge(self) -> None:
        values, first, last = np.concatenate((self._found, *self._more), axis=1)
        self._more.clear()
        order = np.argsort(values, kind="stable")
        starts = np.flatnonzero(np.diff(values[order], prepend=-1))
        if len(starts):
            first = np.minimum.reduceat(first[order], starts)
            last = np.maximum.reduceat(last[order], starts)
            self._found = np.stack((values[order][starts], first, last))
