"""Signals hides what speaks for an item in a conversation, one class for each kind of evidence.

Each class is fitted to training cases or items, scores conversations, and is kept as plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from llmrec.ranker.sparse import (
    Arrays,
    Matrix,
    best,
    from_arrays,
    matrix,
    scaled,
    to_arrays,
    unit,
)
from llmrec.ranker.talk import Case, Talk
from llmrec.ranker.words import Vocabulary, bm25, grams, idf, tfidf, tokens
from llmrec.types import Item

__all__ = ["Conversations", "Facts", "Named", "Popular", "Scores", "Signal", "field_counts"]

# Of each conversation: sparse [talks, items], dense [talks, items], or [items] for all alike.
Scores: TypeAlias = "dict[str, Matrix | npt.NDArray[np.float32]]"
FIELDS: Mapping[str, Callable[[Talk], Iterator[str]]] = {
    "user": lambda t: (g for turn in t.user for g in grams(turn)),
    "assistant": lambda t: (g for turn in t.assistant for g in grams(turn)),
    "last": lambda t: grams(t.last),
}
FADE = 0.85  # how much less a mention counts than the next one
NEIGHBOURS = 100  # training conversations that speak
NEARER = 4  # power of their likeness
EASE_ITEMS = 100  # kept of each item's row
EASE_SEEN = 2  # dialogues that must name an item
EASE_DENSITY = 60.0
EASE_LIMIT = 8_000  # items: the inverse of so many is dense, half a gigabyte


class Signal(Protocol):
    """One kind of evidence."""

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The terms its arrays are about, if any."""
        ...

    def scores(self, talks: Sequence[Talk]) -> Scores:
        """By name, a score of each item in each conversation; 0 says nothing."""
        ...

    def arrays(self) -> Arrays:
        """All it has learned, to be kept."""
        ...


def field_counts(talks: Sequence[Talk], vocabulary: Vocabulary) -> dict[str, Matrix]:
    """How often each term stands in each field of each conversation."""
    return {f: vocabulary.counts([list(read(t)) for t in talks]) for f, read in FIELDS.items()}


def mentions(
    talks: Sequence[Talk], width: int, fade: float = FADE, by_user: bool | None = None
) -> Matrix:
    """The items named, the later ones heavier: sparse [talks, items]."""
    rows, values = [], []
    for t in talks:
        named = [row for row, user, _ in t.named if by_user is None or user == by_user]
        rows.append(named)
        values.append([fade ** (len(named) - 1 - i) for i in range(len(named))])
    return matrix(rows, width, values)


class Popular:
    """How often an item is recommended at all ("popular"), and as the first ("opening")."""

    vocabulary: Vocabulary | None = None

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._recommended = np.asarray(arrays["recommended"], dtype=np.float32)
        self._first = np.asarray(arrays["first"], dtype=np.float32)

    @classmethod
    def fit(cls, cases: Sequence[Case], width: int) -> Popular:
        """Count new items of what was recommended."""
        told = [c for c in cases if not c.said]
        all_of = [row for c in told for row in c.new]
        first = [row for c in told if not c.talk.named for row in c.new]
        return cls(
            {
                "recommended": np.log1p(np.bincount(all_of, minlength=width)),
                "first": np.log1p(np.bincount(first, minlength=width)),
            }
        )

    def scores(self, talks: Sequence[Talk]) -> Scores:
        """The logarithms of both counts, the same for every conversation."""
        return {"popular": self._recommended, "opening": self._first}

    def arrays(self) -> Arrays:
        """Two numbers an item."""
        return {"recommended": self._recommended, "first": self._first}


class Named:
    """What goes together with the items named: from dialogues that name both.

    "cosine" is item-kNN; "given" the share of dialogues with the one that have the other, over
    all mentions, those of the user, of the assistant, and mostly the last; "next" what was
    recommended after it; "ease" the linear model of Steck (2019), cut to its largest weights.
    """

    vocabulary: Vocabulary | None = None

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._together = from_arrays("together", arrays)
        self._next = from_arrays("next", arrays)
        self._ease = from_arrays("ease", arrays)
        self._seen = np.asarray(arrays["seen"], dtype=np.float32)
        self._before = np.asarray(arrays["before"], dtype=np.float32)
        self._after = np.asarray(arrays["after"], dtype=np.float32)
        root = 1 / np.sqrt(self._seen + 2)
        self._cosine = _both_ways(self._together, root, root)
        self._given = scaled(self._together, 1 / (self._seen + 3))
        self._follows = _both_ways(
            self._next, 1 / np.sqrt(self._before + 3), 1 / np.sqrt(self._after + 3)
        )

    @classmethod
    def fit(cls, cases: Sequence[Case], width: int) -> Named:
        """Count what dialogues name together and one after the other."""
        dialogues: dict[str, set[int]] = {}
        for c in cases:
            dialogues.setdefault(c.dialogue, set()).update(c.talk.rows.tolist(), c.wanted)
        named = matrix([sorted(rows) for rows in dialogues.values()], width)
        together = (named.T @ named).tocsr()
        seen = together.diagonal()
        told = [c for c in cases if not c.said and c.new]
        context = matrix([c.talk.rows.tolist() for c in told], width)
        then = matrix([c.new for c in told], width)
        arrays = {
            "seen": seen,
            "before": np.asarray(context.sum(0)).ravel(),
            "after": np.asarray(scaled(then, np.diff(context.indptr)).sum(0)).ravel(),
            **to_arrays("ease", _ease(together, seen)),
            **to_arrays("next", (context.T @ then).tocsr()),
        }
        together.setdiag(0)
        together.eliminate_zeros()
        return cls({**arrays, **to_arrays("together", together)})

    def scores(self, talks: Sequence[Talk]) -> Scores:
        """Sums over the items named."""
        width = len(self._seen)
        every = mentions(talks, width)
        return {
            "cosine": every @ self._cosine,
            "given": every @ self._given,
            "given user's": mentions(talks, width, by_user=True) @ self._given,
            "given assistant's": mentions(talks, width, by_user=False) @ self._given,
            "given last": mentions(talks, width, fade=0.3) @ self._given,
            "next": every @ self._follows,
            "ease": every @ self._ease,
        }

    def arrays(self) -> Arrays:
        """Counts, and the weights of EASE."""
        return {
            "seen": self._seen,
            "before": self._before,
            "after": self._after,
            **to_arrays("together", self._together, np.uint16),
            **to_arrays("next", self._next, np.uint16),
            **to_arrays("ease", self._ease),
        }


def _both_ways(m: Matrix, rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> Matrix:
    out = scaled(m, rows)
    out.data = (out.data * columns[out.indices]).astype(np.float32)
    return out


def _ease(together: Matrix, seen: npt.NDArray[Any]) -> Matrix:
    """Item-item weights of EASE among the items that dialogues share, sparse [items, items]."""
    from scipy.sparse import coo_matrix

    active = np.flatnonzero(seen >= EASE_SEEN)
    if len(active) > EASE_LIMIT:  # its inverse is dense: the best known are enough
        active = np.sort(np.argsort(-seen, kind="stable")[:EASE_LIMIT])
    gram = np.asarray(together[active][:, active].todense(), dtype=np.float64)
    gram[np.diag_indices(len(active))] += EASE_DENSITY
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    n = min(EASE_ITEMS, len(active))
    top = np.argpartition(-weights, n - 1, axis=1)[:, :n] if n else np.zeros((0, 0), int)
    rows = np.repeat(np.arange(len(active)), n)
    values = weights[rows, top.ravel()]
    kept = values > 0
    at = (active[rows[kept]], active[top.ravel()[kept]])
    return coo_matrix((values[kept].astype(np.float32), at), shape=together.shape).tocsr()


class Conversations:
    """What was recommended in training conversations of like words.

    By field (what the user said, what the assistant said, the last two turns): "like ..." from
    the nearest conversations by BM25, "words ..." from the profile of all words that came before
    an item.
    """

    def __init__(self, vocabulary: Vocabulary, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.vocabulary = vocabulary
        self._counts = {f: from_arrays(f, arrays) for f in FIELDS}
        self._wanted = from_arrays("wanted", arrays)
        self._idf = {f: idf(m) for f, m in self._counts.items()}
        self._postings = {f: bm25(m, self._idf[f]).T.tocsr() for f, m in self._counts.items()}
        self._profiles = {
            f: unit((self._wanted.T @ tfidf(m, self._idf[f])).tocsr()).T.tocsr()
            for f, m in self._counts.items()
        }

    @classmethod
    def fit(cls, cases: Sequence[Case], width: int, vocabulary: Vocabulary) -> Conversations:
        """Remember the words of each case and what came next."""
        cases = [c for c in cases if c.new]
        counts = field_counts([c.talk for c in cases], vocabulary)
        arrays = to_arrays("wanted", matrix([c.new for c in cases], width))
        for field, m in counts.items():
            arrays |= to_arrays(field, m)
        return cls(vocabulary, arrays)

    def scores(self, talks: Sequence[Talk]) -> Scores:
        """Sums over the nearest conversations, and likeness to the items' own words."""
        out: Scores = {}
        for field, m in field_counts(talks, self.vocabulary).items():
            asked = m.copy()
            asked.data = np.minimum(asked.data, 3)
            near = best((asked @ self._postings[field]).tocsr(), NEIGHBOURS)
            top = np.maximum(near.max(axis=1).toarray().ravel(), 1e-9)
            near.data = (near.data / np.repeat(top, np.diff(near.indptr))) ** NEARER
            out[f"like {field}"] = near @ self._wanted
            out[f"words {field}"] = tfidf(m, self._idf[field]) @ self._profiles[field]
        return out

    def arrays(self) -> Arrays:
        """The counts of terms by field, and what came next."""
        out = to_arrays("wanted", self._wanted, np.uint8)
        for field, m in self._counts.items():
            out |= to_arrays(field, _capped(m), np.uint8)
        return out


def _capped(m: Matrix) -> Matrix:
    out = m.copy()
    out.data = np.minimum(out.data, 255)
    return out


# Kinds of features, and how often a feature of each counts.
_KINDS = {"genre": 2, "person": 1, "director": 2, "keyword": 1, "word": 1, "title": 2, "time": 1}
_STOP = frozenset(
    """the a an of and in on to is with for by from at his her their as it its that this who he she
    they be are was film movie american directed starring written stars based upon drama comedy
    produced released""".split()
)


class Facts:
    """What is known of the items: their own words against what was said, and likeness to those
    named.

    "search" finds words of the user in titles, genres, people and descriptions, "search last"
    those of the last turns; "alike" is likeness to the items named by all features, "alike in"
    title, genre and people by those alone, and "years" how near in time they are.
    """

    def __init__(self, vocabulary: Vocabulary, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.vocabulary = vocabulary
        self._counts = from_arrays("words", arrays)
        self.features = from_arrays("features", arrays)
        self._kind = np.asarray(arrays["kind"])
        self._year = np.asarray(arrays["year"], dtype=np.float32)
        self._postings = bm25(self._counts, idf(self._counts), b=0.5).T.tocsr()
        kinds = list(_KINDS)
        groups = {
            "alike": list(range(len(kinds))),
            "alike in title": [kinds.index("title")],
            "alike in genre": [kinds.index("genre")],
            "alike in people": [kinds.index("person"), kinds.index("director")],
        }
        self._alike = {}
        for name, group in groups.items():
            columns = np.flatnonzero(np.isin(self._kind, group))
            part = unit(self.features[:, columns].tocsr())
            self._alike[name] = (part, part.T.tocsr())

    @classmethod
    def fit(cls, items: Iterable[Item]) -> Facts:
        """Read what the catalogue says of each item."""
        known = list(items)
        vocabulary, words = Vocabulary.counted(map(_said_of, known), 1)
        kinds, features = Vocabulary.counted(map(_features_of, known), 2)
        arrays = {
            **to_arrays("words", words),
            **to_arrays("features", _weighted(features)),
            "kind": np.array([list(_KINDS).index(t.partition(":")[0]) for t in kinds.terms]),
            "year": np.array([item.year or 0 for item in known]),
        }
        return cls(vocabulary, arrays)

    def reduced(self, n: int = 128, seed: int = 0) -> npt.NDArray[np.float32]:
        """The features in few numbers, by a randomised SVD (Halko et al., 2011): [items, n]."""
        w, rng = self.features, np.random.default_rng(seed)
        n = min(n, *w.shape)
        start = rng.standard_normal((w.shape[1], min(n + 20, *w.shape))).astype(np.float32)
        q, _ = np.linalg.qr(w @ (w.T @ (w @ start)))
        u, s, _ = np.linalg.svd((w.T @ q).T, full_matrices=False)
        return np.asarray((q @ u * s)[:, :n], dtype=np.float32)

    def scores(self, talks: Sequence[Talk]) -> Scores:
        """Search, and likeness."""
        asked = [[g for turn in t.user for g in _asked(turn)] for t in talks]
        out: Scores = {
            "search": self.vocabulary.counts(asked) @ self._postings,
            "search last": self.vocabulary.counts([list(_asked(t.last)) for t in talks])
            @ self._postings,
        }
        named = mentions(talks, len(self._year))
        for name, (part, columns) in self._alike.items():
            out[name] = (named @ part) @ columns
        out["years"] = np.stack([self._near_in_time(t) for t in talks])
        return out

    def _near_in_time(self, talk: Talk) -> npt.NDArray[np.float32]:
        years = self._year[talk.rows]
        if not years.any():
            return np.zeros_like(self._year)
        away = np.abs(self._year - years[years > 0].mean())
        return np.where(self._year > 0, np.exp(-away / 10), 0).astype(np.float32)

    def arrays(self) -> Arrays:
        """Counts of words, weights of features, years."""
        return {
            **to_arrays("words", _capped(self._counts), np.uint8),
            **to_arrays("features", self.features),
            "kind": self._kind.astype(np.uint8),
            "year": self._year.astype(np.int32),
        }


def _weighted(counts: Matrix) -> Matrix:
    return tfidf(counts, idf(counts))


def _asked(words: Sequence[str]) -> Iterator[str]:
    yield from (w for w in words if w not in _STOP)
    yield from map(" ".join, pairwise(words))


def _words(text: str) -> list[str]:
    return [w for w in tokens(text) if w not in _STOP]


def _said_of(item: Item) -> Iterator[str]:
    """The words of an item, its names and people more than once."""
    for title in item.all_titles:
        yield from _words(title) * 2
    for genre in item.genres:
        yield from _words(genre) * 3
    for person in (*item.cast[:12], *item.directors):
        yield from (*_words(person), *[" ".join(tokens(person))] * 2)
    for keyword in item.keywords:
        yield from _words(keyword) * 2
    for text in (item.description, *item.descriptions.values()):
        yield from _words(text)


def _features_of(item: Item) -> Iterator[str]:
    """What an item is compared by: "kind:value"."""
    kinds: dict[str, Iterable[str]] = {
        "genre": item.genres,
        "person": item.cast[:12],
        "director": item.directors,
        "keyword": item.keywords,
        "word": _words(" ".join((item.description, *item.descriptions.values()))),
        "title": _words(item.title),
        "time": (f"{item.year // 10}", f"half {(item.year + 5) // 10}") if item.year else (),
    }
    for kind, values in kinds.items():
        for value in values:
            yield from [f"{kind}:{value.casefold()}"] * _KINDS[kind]
