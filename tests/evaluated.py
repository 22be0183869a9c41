"""Small talks about the films of the world, as data to evaluate on, and a tiny model to ask."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import tiny
import world

from llmrec.datasets import folder as folders
from llmrec.datasets.base import Report
from llmrec.types import Conversation, Example, Item, Message

IDS = tuple(f.id for f in world.FILMS)


def talk(number: int, turns: int = 3, user: str = "") -> list[Example]:
    """The turns of one dialogue; what was recommended is mentioned from then on."""
    dice = random.Random(number)
    messages: tuple[Message, ...] = ()
    out = []
    for n in range(turns):
        (liked,), new = dice.sample(IDS, 1), tuple(dice.sample(IDS, dice.randint(1, 2)))
        said = f"I liked {world.BY_ID[liked].title}, what next" + " please" * dice.randrange(6)
        messages = (*messages, Message("user", said, (liked,)))
        conversation = Conversation(messages, language="en")
        named = ", ".join(world.BY_ID[i].title for i in new)
        reply = f"Try {named}."
        dialogue = f"d{number}"
        out.append(
            Example(conversation, new, reply, f"{dialogue}:{n}", dialogue, user or f"u{number}")
        )
        messages = (*messages, Message("assistant", reply, new))
    return out


class Talks:
    """A source of a training and a validation part."""

    name = title = "talks"
    homepage = citation = ""
    license = "cc0-1.0"
    example_splits = ("train", "validation")
    item_splits = ("train",)

    def __init__(self, train: int = 12, validation: int = 5) -> None:
        self.report = Report()
        self._numbers = {"train": range(100, 100 + train), "validation": range(validation)}

    def examples(self, split: str = "train") -> Iterator[Example]:
        """See ``Source``."""
        return (e for n in self._numbers[split] for e in talk(n))

    def items(self, split: str = "train") -> Iterator[Item]:
        """See ``Source``."""
        return iter(world.FILMS)


def data(to: Path) -> Path:
    """The talks as a prepared folder."""
    folders.write(Talks(), to, progress=False)
    return to


def model(to: Path) -> Path:
    """A tiny random model that is told what was said."""
    tiny.folder(to)
    profile = {"lead": "rules-only", "detail": "turns", "writes": False}
    (to / "llmrec.json").write_text(json.dumps(profile))
    return to
