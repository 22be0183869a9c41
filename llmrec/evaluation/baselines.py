"""Mentions and the baselines hide what can be recommended without any model, from counts alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.evaluation.options import BASELINES
from llmrec.evaluation.predictions import Prediction
from llmrec.preferences import language_of
from llmrec.types import Conversation, Example

__all__ = ["Baseline", "Mentions", "last_mentioned", "prediction", "seed_of"]

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


class Mentions:
    """Which training dialogue mentions which item.

    Parameters
    ----------
    examples: of the training part. Examples of one dialogue (else one id) count once together.
    ids: of the catalogue, by row; other items are left out.

    Attributes
    ----------
    ids: the same. row_of: the row of each.
    counts: int64 [items], how many dialogues mention the item.
    dialogues: how many there are.
    """

    def __init__(self, examples: Iterable[Example], ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        self.row_of = {i: row for row, i in enumerate(self.ids)}
        named: dict[str, set[int]] = {}
        for n, e in enumerate(examples):
            own = named.setdefault(e.dialogue or e.id or str(n), set())
            for i in (*e.conversation.mentioned, *e.relevant):
                if (row := self.row_of.get(i)) is not None:
                    own.add(row)
        self.dialogues = len(named)
        flat = np.array([r for rows in named.values() for r in sorted(rows)], dtype=np.int64)
        sizes = np.array([len(rows) for rows in named.values()], dtype=np.int64)
        self.counts = np.bincount(flat, minlength=len(self.ids))
        self._items, self._item_ptr = flat, np.concatenate(([0], np.cumsum(sizes)))
        order = np.argsort(flat, kind="stable")
        self._dialogues = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._dialogue_ptr = np.concatenate(([0], np.cumsum(self.counts)))
        self.by_popularity: Rows = np.argsort(-self.counts, kind="stable")

    def rows(self, ids: Iterable[str]) -> list[int]:
        """The rows of those ids that the catalogue has."""
        return [self.row_of[i] for i in ids if i in self.row_of]

    def together(self, row: int) -> Scores:
        """Float64 [items]: the cosine of each item's dialogues with those of ``row``; its own 0."""
        dialogues = self._dialogues[self._dialogue_ptr[row] : self._dialogue_ptr[row + 1]]
        parts = [self._items[self._item_ptr[d] : self._item_ptr[d + 1]] for d in dialogues]
        both = np.bincount(np.concatenate([*parts, self._items[:0]]), minlength=len(self.ids))
        both[row] = 0
        root = np.sqrt(np.maximum(self.counts, 1) * max(int(self.counts[row]), 1))
        return np.asarray(both / root, dtype=np.float64)


class Baseline:
    """A system without a model.

    Parameters
    ----------
    name: "random" (drawn for each example by its id), "popularity" (by how many training dialogues
        mention an item), "repeat-last" (the last mentioned first, then popularity) or
        "co-occurrence" (the cosine of two items' training dialogues, summed over the items
        mentioned so far; popularity where that is nought).
    depth: how many items are wanted beside the mentioned ones.

    Raises
    ------
    InputError: there is no such baseline.
    """

    def __init__(self, name: str, mentions: Mentions, *, depth: int, seed: int = 0) -> None:
        if name not in BASELINES:
            raise InputError(f"baseline is {name!r}: use {', '.join(BASELINES)}")
        self.name = name
        self.about: dict[str, object] = {"training_dialogues": mentions.dialogues}
        self._mentions, self._depth, self._seed = mentions, depth, seed

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        """See ``System``."""
        ids = self._mentions.ids
        out = []
        for e in examples:
            deep = self._depth + len(self._mentions.rows(e.conversation.mentioned))
            rows, scores = self._ranking(e)
            items = tuple(ids[r] for r in rows[:deep].tolist())
            listed = () if scores is None else tuple(np.round(scores[rows[:deep]], 6).tolist())
            out.append(prediction(e, items, scores=listed))
        return out

    def _ranking(self, example: Example) -> tuple[Rows, Scores | None]:
        known = self._mentions
        if self.name == "random":
            dice = np.random.default_rng(seed_of(self._seed, example.id))
            return dice.permutation(len(known.ids)), None
        if self.name == "popularity":
            return known.by_popularity, known.counts.astype(np.float64)
        last = known.rows(last_mentioned(example.conversation))
        if self.name == "repeat-last":
            return np.array(list(dict.fromkeys([*last, *known.by_popularity.tolist()]))), None
        scores = np.zeros(len(known.ids))
        for row in sorted(last):  # in an order of its own, so that the sums come out the same
            scores += known.together(row)
        order = known.by_popularity
        return order[np.argsort(-scores[order], kind="stable")], scores


def prediction(example: Example, items: Sequence[str], **more: object) -> Prediction:
    """What is predicted for an example, its own facts filled in."""
    talk = example.conversation
    return Prediction(
        id=example.id,
        dialogue=example.dialogue or example.id,
        turn=len(talk.messages),
        language=language_of(talk),
        relevant=tuple(dict.fromkeys(example.relevant)),
        mentioned=talk.mentioned,
        items=tuple(items),
        **more,  # type: ignore[arg-type]
    )


def last_mentioned(conversation: Conversation) -> tuple[str, ...]:
    """Ids mentioned so far, the latest first, each once."""
    ids = [i for m in conversation.messages for i in m.items]
    return tuple(dict.fromkeys(reversed(ids)))


def seed_of(seed: int, name: str) -> int:
    """A seed of an example's own, below 2 ** 31."""
    digest = blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 33
