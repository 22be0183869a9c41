"""Shots hides which answered examples stand before every few-shot prompt, and how they read."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from llmrec.errors import InputError
from llmrec.prompting import Detail, FewShot
from llmrec.recommender import Recommender
from llmrec.types import Example

__all__ = ["choose_shots", "few_shot"]

TITLES = 10  # of an answer at most
SAID = 600  # characters of what was said, the last of them


def choose_shots(
    training: Iterable[Example], evaluated: Iterable[Example], n: int, *, seed: int = 0
) -> list[Example]:
    """Examples of the training part to be shown, each of another dialogue, drawn by the seed.

    None is of a dialogue or a user of the evaluated part.

    Parameters
    ----------
    training: those with new targets are drawn from. evaluated: the whole evaluated part.

    Raises
    ------
    InputError: fewer than ``n`` are left.
    """
    dialogues, users = set(), set()
    for e in evaluated:
        dialogues.add(e.dialogue or e.id)
        users.add(e.user)
    users.discard("")
    by_dialogue: dict[str, list[Example]] = {}
    for e in training:
        if e.conversation.messages and _answer(e) and e.user not in users:
            by_dialogue.setdefault(e.dialogue or e.id, []).append(e)
    names = sorted(set(by_dialogue) - dialogues)
    if len(names) < n:
        raise InputError(
            f"shots is {n} and {len(names)} training dialogues are left, of users that are not "
            "evaluated and with something new to recommend: ask for fewer, or use zero-shot"
        )
    dice = random.Random(f"shots {seed}")
    return [dice.choice(by_dialogue[name]) for name in dice.sample(names, n)]


def few_shot(recommender: Recommender, chosen: Sequence[Example], detail: Detail) -> FewShot:
    """The examples as turns: what was said or understood, and the titles that were right.

    Parameters
    ----------
    recommender: a zero-shot one of the same detail.
    """
    catalog = recommender.catalog
    shots = []
    for e in chosen:
        if detail == "brief":
            asked = recommender.prompt(e.conversation)[-1].content
        else:
            said = (m.content for m in e.conversation.messages if m.role == "user")
            asked = "\n".join(said)[-SAID:]
        known = [i for i in _answer(e) if i in catalog][:TITLES]
        shots.append((asked, tuple(catalog.labels[r] for r in catalog.rows(known))))
    return FewShot(tuple(shots), detail)


def _answer(example: Example) -> list[str]:
    """What a good answer holds: the new targets, then what else the user likes."""
    known = set(example.conversation.mentioned)
    new = [i for i in example.relevant if i not in known]
    more = [i for i in example.likes if i not in known] if new else []
    return list(dict.fromkeys(new + more))
