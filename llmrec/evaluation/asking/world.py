"""World hides what questions are drawn from: the items of a part, their names, words for answers.

Nothing here or beside it uses the catalogue's queries: they are what the questions test.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llmrec.catalog import Catalog
from llmrec.datasets.base import part_of
from llmrec.evaluation.asking.clusters import clusters
from llmrec.evaluation.asking.texts import silent
from llmrec.evaluation.asking.titles import Named, Titles
from llmrec.evaluation.asking.words import (
    NO,
    YES,
    Noun,
    Topic,
    Wanted,
    Wordings,
    answer_wordings,
    filled,
    nouns,
    topics,
)
from llmrec.titles import fold
from llmrec.types import Item, Message
from llmrec.wording import record_texts

__all__ = ["PARTS", "Draft", "Turn", "Values", "World"]

PARTS = {"train": 0.5, "validation": 0.15, "test": 0.35}
_ORDERED = ("runtime", "year", "rating")  # what films are compared by; products by _PRODUCT_FACTS
_FILM_FACTS = (
    "directors", "cast", "year", "runtime", "genres", "countries", "languages", "original_title",
    "rating",
)  # fmt: skip
_PRODUCT_FACTS = ("price", "rating")
_SOME = 60
# What can be wished, and the field that lists it.
_LISTED = {
    "genre": "genres", "country": "countries", "director": "directors", "actor": "cast",
    "language": "languages",
}  # fmt: skip
Values = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Draft:
    """A question before it has its number; the fields are those of ``Question``."""

    kind: str
    question: str
    phrasing: str
    answers: tuple[str, ...] = ()
    values: Values = ()
    items: tuple[str, ...] = ()
    why: str = ""
    field: str = ""
    topic: str = ""
    context: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cluster: str = ""
    answer: str = ""
    noise: str = ""
    judged: str = "values"
    source: str = "field"
    rivals: tuple[str, ...] = ()
    conversation: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Turn:
    """What one draw is about. ``follow``: the question goes on from an exchange before it."""

    language: str
    part: str
    dice: random.Random
    words: Wordings
    answerable: bool = True
    follow: bool = False


class World:
    """The items of a catalogue as the maker of questions sees them.

    Attributes
    ----------
    product: whether it is taken for a shop: fewer than half have a year or people.
    facts: the fields that are asked about. ways: those that can be compared, each in two
        directions ("runtime.max"). coverage: by field the share of items that have it.
    cluster: by item id; a cluster is in one part.
    """

    def __init__(self, catalog: Catalog, seed: int, *, noise: float = 0.25) -> None:
        self.items = list(catalog)
        self.seed = seed
        self.titles = Titles(self.items, catalog, noise)
        film_like = sum(bool(i.people or i.year) for i in self.items)
        self.product = 2 * film_like < len(self.items)
        self.facts = _PRODUCT_FACTS if self.product else _FILM_FACTS
        ordered = _PRODUCT_FACTS if self.product else _ORDERED
        self.ways = [f"{f}.{direction}" for f in ordered for direction in ("max", "min")]
        self.coverage = {
            f: sum(getattr(i, f) not in (None, "", ()) for i in self.items) / len(self.items)
            for f in {*_FILM_FACTS, *_PRODUCT_FACTS}
        }
        self.cluster = dict(zip((i.id for i in self.items), clusters(self.items), strict=True))
        self.of_part: defaultdict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            self.of_part[self.part_of(self.cluster[item.id])].append(item)

    def part_of(self, cluster: str) -> str:
        """The part that a cluster falls into."""
        return part_of(cluster, seed=self.seed, parts=PARTS)

    @cached_property
    def directors(self) -> frozenset[str]:
        """Everyone who has directed an item."""
        return frozenset(d for i in self.items for d in i.directors)

    @cached_property
    def _having(self) -> dict[tuple[str, object], list[Item]]:
        """By kind and value the items that have it: those that have more need not be looked at."""
        out: defaultdict[tuple[str, object], list[Item]] = defaultdict(list)
        for item in self.items:
            values: list[tuple[str, object]] = [("year", item.year)]
            for name, field in _LISTED.items():
                values += [(name, v) for v in dict.fromkeys(getattr(item, field))]
            for value in values:
                out[value].append(item)
        return dict(out)

    def meeting(self, wanted: Wanted) -> list[Item]:
        """All items that meet something, in the order of the catalogue."""
        asked = [(name, getattr(wanted, name)) for name in (*_LISTED, "year")]
        pools = [self._having.get(pair, []) for pair in asked if pair[1] not in ("", None)]
        return [i for i in min(pools, key=len, default=self.items) if wanted.meets(i)]

    def item(self, turn: Turn) -> Item:
        """An item of the part."""
        return turn.dice.choice(self.of_part[turn.part])

    def some(self, turn: Turn) -> list[Item]:
        """Several items of the part, in an order of chance."""
        pool = self.of_part[turn.part]
        return turn.dice.sample(pool, min(_SOME, len(pool)))

    def topic(self, turn: Turn) -> Topic:
        """A thing that no field holds, and that is asked about such a catalogue."""
        return turn.dice.choice([t for t in topics() if t.product == self.product])

    def noun(self, language: str, genre: str = "") -> Noun:
        """What the items are called, or those of a genre."""
        return nouns()[genre or ("*product" if self.product else "*film")][language]

    def lacking(self, item: Item) -> list[str]:
        """The fields asked about that an item lacks and that its description does not tell."""
        return [f for f in self.facts if f != "original_title" and silent(item, f)]

    def name(self, turn: Turn, item: Item | None, *, dated: bool = True) -> Named | None:
        """How the question writes the title of an item, or (of None) one that does not exist."""
        if item is None:
            return Named(self.titles.invented(turn.language, turn.dice, product=self.product))
        return self.titles.write(item, turn.language, turn.dice, dated=dated)

    def ask(
        self,
        turn: Turn,
        kind: str,
        keys: Sequence[str],
        item: Item | None,
        *,
        dated: bool = True,
        **slots: str,
    ) -> Draft | None:
        """A question about one item or, of None, about one that does not exist; None if none."""
        if turn.follow and item is not None:
            return self._follow(turn, kind, keys, item, slots)
        found = turn.words.pick(keys, turn.language, turn.dice)
        named = self.name(turn, item, dated=dated)
        if found is None or named is None:
            return None
        question = filled(found[1], {**slots, "t": named.text})
        if named.noise == "lower":
            question = question.lower()
        draft = Draft(kind, question, found[0], noise=named.noise)
        if item is not None:
            return dataclasses.replace(draft, **self._about(item, turn.language))
        return self.refused(
            draft, turn, "no such title", named.text, cluster=f"unknown:{fold(named.text)}",
            context=record_texts(self.item(turn), turn.language),
        )  # fmt: skip

    def _follow(
        self, turn: Turn, kind: str, keys: Sequence[str], item: Item, slots: Mapping[str, str]
    ) -> Draft | None:
        follow = [f"follow.{k.removeprefix('fact.')}" for k in keys]
        found = turn.words.pick(follow, turn.language, turn.dice)
        if not found:
            return None
        name = item.title_in(turn.language)
        label = f"{name} ({item.year})" if item.year else name
        kind_of = "opener.product" if self.product else "opener"
        opener = turn.words.text(kind_of, turn.language, turn.dice)
        reply = turn.words.text("turn", turn.language, turn.dice)
        conversation = (
            Message("user", filled(opener, {"t": name})),
            Message("assistant", filled(reply, {"t": label}), (item.id,)),
        )
        draft = Draft(kind, filled(found[1], slots), found[0], conversation=conversation)
        return dataclasses.replace(draft, **self._about(item, turn.language))

    def _about(self, item: Item, language: str) -> dict[str, Any]:
        return {
            "items": (item.id,),
            "context": record_texts(item, language),
            "cluster": self.cluster[item.id],
        }

    def refused(
        self, draft: Draft | None, turn: Turn, why: str, title: str = "", **more: Any
    ) -> Draft | None:
        """The draft as one that cannot be answered, with a sentence that says so."""
        if draft is None:
            return None
        sentence = more.pop("sentence", why)
        text = turn.dice.choice(answer_wordings()[f"refusal.{sentence}", turn.language])
        return dataclasses.replace(
            draft, why=why, answer=filled(text, {"t": title}), judged="refusal", source="nothing",
            **more,
        )  # fmt: skip

    def answered(
        self,
        draft: Draft | None,
        turn: Turn,
        key: str,
        slots: Mapping[str, str],
        *,
        bare: Iterable[str] = (),
        **more: Any,
    ) -> Draft | None:
        """The draft with its answers: sentences in several wordings, then what is bare."""
        if draft is None:
            return None
        texts = [filled(w, slots) for w in answer_wordings()[key, turn.language]]
        turn.dice.shuffle(texts)
        answers = tuple(dict.fromkeys([*texts, *bare]))
        return dataclasses.replace(draft, answers=answers, answer=answers[0], **more)

    def yes_or_no(
        self, draft: Draft | None, turn: Turn, right: bool, slots: Mapping[str, str], field: str
    ) -> Draft | None:
        """The draft as one that is answered by yes or by no."""
        word, other = YES[turn.language], NO[turn.language]
        if not right:
            word, other = other, word
        key = f"{draft.kind if draft else ''}.{'yes' if right else 'no'}"
        return self.answered(
            draft, turn, key, slots, bare=(word[0].capitalize(),), field=field, values=(word,),
            rivals=other,
        )  # fmt: skip
