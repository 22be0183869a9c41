"""Meaning hides what a sentence encoder adds: conversations and items that mean something alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.embedding import Embedding
from llmrec.ranker.signals import Scores
from llmrec.ranker.sparse import Arrays, Matrix, from_arrays, matrix, to_arrays
from llmrec.ranker.talk import Case, Talk
from llmrec.ranker.words import Vocabulary
from llmrec.types import Item

__all__ = ["Meaning", "Texts"]

Floats = npt.NDArray[np.float32]
WORDS = 120  # the last ones of a conversation
NEIGHBOURS = 100
SHARPNESS = 20.0  # of the softmax over their likeness


class Texts:
    """Vectors of texts, each encoded once."""

    def __init__(self, embedding: Embedding) -> None:
        self.embedding = embedding
        self._known: dict[str, Floats] = {}

    def __call__(self, texts: Sequence[str], *, keep: bool = False) -> Floats:
        """Float32 [texts, dimensions], rows of length 1. Raises ModelError, MissingExtraError."""
        new = [t for t in dict.fromkeys(texts) if t not in self._known]
        made = dict(zip(new, self.embedding.encode(new), strict=True)) if new else {}
        if keep:
            self._known |= made
        return np.stack([self._known[t] if t in self._known else made[t] for t in texts])


class Meaning:
    """What was recommended in conversations that mean something alike ("means like"), and items
    whose description means what was said ("means").

    Parameters
    ----------
    texts: the encoder that the arrays were made with.
    """

    vocabulary: Vocabulary | None = None

    def __init__(self, texts: Texts, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._texts = texts
        self._talks = np.asarray(arrays["talks"], dtype=np.float32)
        self._items = np.asarray(arrays["items"], dtype=np.float32)
        self._wanted: Matrix = from_arrays("wanted", arrays)

    @classmethod
    def fit(cls, cases: Sequence[Case], items: Sequence[Item], texts: Texts) -> Meaning:
        """Encode training conversations and items."""
        cases = [c for c in cases if c.new]
        arrays = {
            "talks": texts([_said(c.talk) for c in cases], keep=True).astype(np.float16),
            "items": texts([_about(i) for i in items], keep=True).astype(np.float16),
            **to_arrays("wanted", matrix([c.new for c in cases], len(items))),
        }
        return cls(texts, arrays)

    def scores(self, talks: Sequence[Talk]) -> Scores:
        """Both likenesses, dense [talks, items]."""
        asked = self._texts([_said(t) for t in talks])
        likeness = asked @ self._talks.T
        n = min(NEIGHBOURS, likeness.shape[1])
        at = np.argpartition(-likeness, n - 1, axis=1)[:, :n]
        near = np.take_along_axis(likeness, at, axis=1)
        weight = np.exp(SHARPNESS * (near - near.max(axis=1, keepdims=True)))
        width = likeness.shape[1]
        neighbours = matrix(at.tolist(), width, weight.tolist())
        return {
            "means like": neighbours @ self._wanted,
            "means": np.maximum(asked @ self._items.T, 0),
        }

    def arrays(self) -> Arrays:
        """Vectors in float16, and what came next."""
        return {
            "talks": self._talks.astype(np.float16),
            "items": self._items.astype(np.float16),
            **to_arrays("wanted", self._wanted, np.uint8),
        }


def _said(talk: Talk) -> str:
    """What the user said, and the last turns, as far as an encoder reads."""
    words = [w for turn in talk.user for w in turn]
    return " ".join([*words, *talk.last][-WORDS:]) or "?"


def _about(item: Item) -> str:
    facts = (item.title, ", ".join(item.genres), ", ".join(item.cast[:4]), item.description)
    return ". ".join(f for f in facts if f)
