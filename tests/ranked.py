"""Dialogues about films of two kinds that go together, so that what comes next can be told."""

from __future__ import annotations

import random
from collections.abc import Iterator

from llmrec.datasets.base import Report
from llmrec.types import Conversation, Example, Item, Message

WORDS = {"sea": ("ocean", "sailors", "waves"), "space": ("rockets", "planets", "stars")}
NAMES = {
    "sea": ("Deep Water", "Deep Water 2", "The Lighthouse", "Storm Harbour", "Coral", "Tides"),
    "space": ("Red Orbit", "Red Orbit 2", "Starfall", "The Probe", "Nebula", "Airlock"),
}
PEOPLE = {"sea": ("Marina Costa", "Kai Lund"), "space": ("Vera Sol", "Ivan Luna")}


def _items() -> Iterator[Item]:
    for kind, titles in NAMES.items():
        for n, title in enumerate(titles):
            yield Item(
                id=f"{kind}-{n}",
                title=title,
                year=(1975 if kind == "sea" else 2005) + n,
                genres=("Adventure", "Nautical" if kind == "sea" else "Sci-Fi"),
                directors=(PEOPLE[kind][n % 2],),
                description=f"A story of {WORDS[kind][n % 3]} and {WORDS[kind][(n + 1) % 3]}.",
            )


ITEMS = tuple(_items())
KINDS = {kind: tuple(i.id for i in ITEMS if i.id.startswith(kind)) for kind in NAMES}
TITLE = {i.id: i.title for i in ITEMS}


def talk(number: int) -> list[Example]:
    """The two recommendations of one dialogue: the second one after a film was named."""
    dice = random.Random(number)
    kind = ("sea", "space")[number % 2]
    first, liked, then, last = dice.sample(KINDS[kind], 4)
    messages = [
        Message("user", f"hello, something with {dice.choice(WORDS[kind])} please"),
        Message("assistant", f"Have you seen {TITLE[first]}", (first,)),
        Message("user", f"yes, and I loved {TITLE[liked]}", (liked,)),
        Message("assistant", f"Then try {TITLE[then]} or {TITLE[last]}", (then, last)),
    ]
    out = []
    for n in (1, 3):
        before = Conversation(tuple(messages[:n]), language="en")
        m = messages[n]
        out.append(Example(before, m.items, m.content, f"d{number}:{n}", f"d{number}"))
    return out


def talks(*numbers: int) -> list[Example]:
    """The examples of several dialogues."""
    return [e for n in numbers for e in talk(n)]


TRAINING = talks(*range(60))
HELD = talks(*range(1000, 1010))


class Source:
    """The dialogues as a source of prepared data.

    Parameters
    ----------
    splits: of the examples.
    """

    name = "kinds"
    title = "Two kinds"
    homepage = citation = ""
    license = "cc0-1.0"
    item_splits = ("train",)

    def __init__(self, *splits: str) -> None:
        self.example_splits = splits or ("train", "validation")
        self.report = Report()

    def examples(self, split: str = "train") -> Iterator[Example]:
        """See ``llmrec.datasets.base.Source``."""
        return iter(TRAINING if split == "train" else HELD)

    def items(self, split: str = "train") -> Iterator[Item]:
        """See ``llmrec.datasets.base.Source``."""
        return iter(ITEMS)
