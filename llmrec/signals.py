"""Signals hides what speaks for each item of a catalogue, beside what a model says of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmrec.preferences import with_plurals
from llmrec.ranker import LearnedRanker
from llmrec.similarity import ContentIndex
from llmrec.types import Conversation, Item, Preferences
from llmrec.wishes import Things

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["Signals"]

Rows = npt.NDArray[np.integer[Any]]
Scores = npt.NDArray[np.float32]


class Signals:
    """Popularity, likeness, themes, words and what was learned from dialogues, by row.

    Parameters
    ----------
    things: what the catalogue holds: films are alike by their facts, products by their words.
    learned: a ranking learned from dialogues, about some items of the catalogue at least.
    """

    def __init__(self, catalog: Catalog, things: Things, learned: LearnedRanker | None) -> None:
        self._catalog = catalog
        self._things = things
        self._learned = learned
        self._word_scores = lru_cache(maxsize=8)(catalog.scores)

    def __call__(self, conversation: Conversation, preferences: Preferences) -> dict[str, Scores]:
        """Every signal that the preferences call for, over the whole catalogue: float32 [n]."""
        p = preferences
        out: dict[str, Scores] = {"popularity": self._catalog.popularity}
        if self._learned is not None:
            out["learned"] = self._by_dialogues(self._learned, conversation, p)
        if p.similar_to or p.likes:
            out["similar"] = self.alike(p.similar_to + p.likes)
        if p.dislikes:
            out["disliked"] = self.alike(p.dislikes)
        if p.keywords:
            share = np.ones(len(self._catalog), dtype=np.float32)
            for keyword in p.keywords:
                lacking = self._catalog.filter(Preferences(keywords_out=(keyword,)))
                share[lacking] -= 1.0 / len(p.keywords)
            out["keywords"] = share
        if p.text:
            out["text"] = _of_largest(self.words(p.text))
        return out

    def words(self, text: str) -> Scores:
        """BM25 of free words: float32 [n]."""
        return self._word_scores(with_plurals(text) if self._things == "products" else text)

    def alike(self, ids: Sequence[str]) -> Scores:
        """How alike each item is to these, 0 to 1: float32 [n]."""
        rows = self._catalog.rows(ids)
        if self._things == "films":
            return self._content.to(rows)
        named = self._catalog.items_at(rows)
        said = (f"{i.title} {' '.join((*i.genres, *i.people))} {i.description}" for i in named)
        found = self._word_scores(" ".join(said)).copy()
        found[rows] = 0.0
        return _of_largest(found)

    def nearest(self, item: Item, named: Sequence[Item]) -> Item | None:
        """Which of the items named is most like ``item``; None where none is at all."""
        if not named:
            return None
        to_item = self._content.to(self._catalog.rows([item.id]))
        likeness = to_item[self._catalog.rows([n.id for n in named])]
        best = int(likeness.argmax())
        return named[best] if likeness[best] > 0 else None

    def learned_reasons(
        self, conversation: Conversation, preferences: Preferences, rows: Rows
    ) -> list[dict[str, float]]:
        """What each of these rows owes to each group of what was learned; nothing without it."""
        if self._learned is None or not len(rows):
            return [{} for _ in rows]
        own = self._rows_of_learned[rows].tolist()
        return self._learned.reasons(conversation, own, _named(preferences))

    @property
    def learned_items(self) -> int:
        """How many items of the catalogue the learned ranking knows."""
        return int((self._learned_rows >= 0).sum())

    @cached_property
    def _content(self) -> ContentIndex:
        return ContentIndex.of(self._catalog)

    @cached_property
    def _learned_rows(self) -> npt.NDArray[np.int32]:
        """The row of the catalogue for each item of the learned ranker; -1 where there is none."""
        ids = self._learned.ids if self._learned else ()
        known = [i in self._catalog for i in ids]
        out = np.full(len(ids), -1, dtype=np.int32)
        out[known] = self._catalog.rows([i for i, k in zip(ids, known, strict=True) if k])
        return out

    @cached_property
    def _rows_of_learned(self) -> npt.NDArray[np.int64]:
        """The row of the learned ranker for each item of the catalogue; -1 where there is none."""
        out = np.full(len(self._catalog), -1, dtype=np.int64)
        known = np.flatnonzero(self._learned_rows >= 0)
        out[self._learned_rows[known]] = known
        return out

    def _by_dialogues(
        self, learned: LearnedRanker, conversation: Conversation, preferences: Preferences
    ) -> Scores:
        """The learned ranking over the catalogue; what was no candidate stands below the last."""
        found = learned.rank([conversation], repeat=True, named=[_named(preferences)])[0]
        lowest = float(found.logprobs.min(initial=0.0)) - 1
        out = np.full(len(self._catalog), lowest, dtype=np.float32)
        rows = self._learned_rows[found.rows]
        out[rows[rows >= 0]] = found.logprobs[rows >= 0]
        return out


def _of_largest(scores: Scores) -> Scores:
    return np.asarray(scores / max(float(scores.max()), 1e-9), dtype=np.float32)


def _named(preferences: Preferences) -> tuple[str, ...]:
    """What the user named, by what was understood."""
    return tuple(dict.fromkeys((*preferences.similar_to, *preferences.likes)))
