"""Words hides how what was said becomes weighted sparse rows: words, and pairs of neighbours."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from llmrec.ranker.sparse import Matrix, unit

__all__ = ["Vocabulary", "bm25", "grams", "idf", "tfidf", "tokens"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
Floats = npt.NDArray[np.float32]


def tokens(text: str) -> list[str]:
    """The words of a text, lower-case."""
    return _WORD.findall(text.casefold())


def grams(words: Sequence[str]) -> Iterator[str]:
    """The words, and each two that follow one another."""
    yield from words
    yield from map(" ".join, pairwise(words))


class Vocabulary:
    """Terms and their numbers.

    Attributes
    ----------
    terms: in alphabetical order.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        self.terms = tuple(terms)
        self._number = {t: i for i, t in enumerate(self.terms)}

    @classmethod
    def of(cls, documents: Iterable[Iterable[str]], at_least: int) -> Vocabulary:
        """The terms that so many documents have."""
        found = Counter(t for d in documents for t in set(d))
        return cls(sorted(t for t, n in found.items() if n >= at_least))

    @classmethod
    def counted(
        cls, documents: Iterable[Iterable[str]], at_least: int
    ) -> tuple[Vocabulary, Matrix]:
        """``of`` documents and their ``counts``, in one pass and without keeping their words."""
        from scipy.sparse import csr_matrix

        number: dict[str, int] = {}
        columns, values, ptr = array("i"), array("i"), array("q", [0])
        for document in documents:
            found = Counter(document)
            columns.extend(number.setdefault(t, len(number)) for t in found)
            values.extend(found.values())
            ptr.append(len(columns))
        parts = (np.array(values, np.float32), np.array(columns, np.int32), np.array(ptr))
        every = csr_matrix(parts, (len(ptr) - 1, len(number)))
        having = np.bincount(every.indices, minlength=len(number))
        terms = sorted(t for t, i in number.items() if having[i] >= at_least)
        out = every[:, [number[t] for t in terms]].tocsr()
        out.sort_indices()
        return cls(terms), out

    def __len__(self) -> int:
        return len(self.terms)

    def counts(self, documents: Sequence[Iterable[str]]) -> Matrix:
        """How often each document has each term: sparse [documents, terms]."""
        from scipy.sparse import csr_matrix

        number = self._number
        ptr = [0]
        columns: list[int] = []
        values: list[int] = []
        for document in documents:
            found = Counter(i for t in document if (i := number.get(t)) is not None)
            columns += found.keys()
            values += found.values()
            ptr.append(len(columns))
        shape = (len(documents), len(self))
        out = csr_matrix(
            (np.array(values, np.float32), np.array(columns, np.int32), np.array(ptr)), shape
        )
        out.sort_indices()
        return out


def idf(counts: Matrix) -> Floats:
    """How much each term tells, from how few documents have it: float32 [terms]."""
    n = counts.shape[0]
    having = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.asarray(np.log1p((n - having + 0.5) / (having + 0.5)), dtype=np.float32)


def bm25(counts: Matrix, weight: Floats, k1: float = 1.2, b: float = 0.75) -> Matrix:
    """Counts as BM25 weights of documents (Robertson and Zaragoza, 2009)."""
    length = np.asarray(counts.sum(1)).ravel()
    relative = length / max(float(length.mean()), 1e-9) if len(length) else length
    damp = np.repeat(k1 * (1 - b + b * relative), np.diff(counts.indptr))
    out = counts.copy()
    out.data = (weight[out.indices] * out.data * (k1 + 1) / (out.data + damp)).astype(np.float32)
    return out


def tfidf(counts: Matrix, weight: Floats) -> Matrix:
    """Counts as rows of length 1, damped and weighted."""
    out = counts.copy()
    out.data = ((1 + np.log(out.data)) * weight[out.indices]).astype(np.float32)
    return unit(out)
