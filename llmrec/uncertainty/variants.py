"""Variants hides how one request is put in several ways: made clearer, reworded, or reordered.

Every function gives variants of one conversation, the same ones for the same seed. Clarifications
say what the user left open; paraphrases say the same in other words; orders change nothing but
the order of what the model is told.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from llmrec.errors import InputError
from llmrec.preferences import Understood
from llmrec.prompting import FewShot, Strategy
from llmrec.types import Conversation, Item, Message, Preferences
from llmrec.uncertainty.paraphrasing import reworded
from llmrec.wording import display_name

__all__ = ["Variant", "clarifications", "orders", "paraphrases", "told", "what_has_an_order"]

SETTLED = 0.9  # a value that so much of the probability has leaves nothing open
NAMED = 8  # so many of the films named are told to the model

_CLEARER = {
    "en": {"genres": "Genre: {}.", "years": "From the {}s.", "people": "With {}."},
    "pt": {"genres": "Gênero: {}.", "years": "Dos anos {}.", "people": "Com {}."},
    "es": {"genres": "Género: {}.", "years": "De los años {}.", "people": "Con {}."},
}


@dataclass(frozen=True)
class Variant:
    """One way of asking.

    Attributes
    ----------
    understood: what is understood of it; None: it has to be understood anew.
    strategy: how the model is asked; None: as usual.
    candidates: items that the prompt lists, in this order.
    weight: how likely it is that this is meant.
    """

    conversation: Conversation
    understood: Understood | None = None
    strategy: Strategy | None = None
    candidates: tuple[Item, ...] = ()
    weight: float = 1.0


def _generator(conversation: Conversation, seed: int) -> np.random.Generator:
    """Random numbers that depend on the seed and on what was said, and on nothing else."""
    said = "\0".join(m.content for m in conversation.messages)
    digest = blake2b(said.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def clarifications(
    conversation: Conversation,
    understood: Understood,
    candidates: Sequence[Item],
    probabilities: Sequence[float],
    n: int,
) -> list[Variant]:
    """The request with what it left open said: a genre and a decade, or else a person.

    They are the pairs that most of the candidates' probability has, and each counts by how much
    that is: how likely the user means it, as far as the recommender knows. A wish that was uttered
    is not open, nor is what nearly every candidate has.

    Parameters
    ----------
    candidates, probabilities: the plain answer. n: how many variants at most.
    """
    p = understood.preferences
    mass: defaultdict[_Filling, float] = defaultdict(float)
    for item, probability in zip(candidates, probabilities, strict=True):
        for filling in _fillings(item, p):
            mass[filling] += probability
    open_ = [(m, f) for f, m in mass.items() if m < SETTLED]
    open_.sort(key=lambda e: (-e[0], e[1]))
    return [
        Variant(
            _saying(conversation, " ".join(_sentence(*part, p.language) for part in filling)),
            dataclasses.replace(understood, preferences=_with(p, filling)),
            weight=m,
        )
        for m, filling in open_[:n]
    ]


_Filling = tuple[tuple[str, str], ...]  # fields of Preferences ("years" for both), and values


def _fillings(item: Item, p: Preferences) -> list[_Filling]:
    """What the user would have said to mean this item, of what is open."""
    kinds: list[list[tuple[str, str]]] = []
    if not (p.genres or p.genres_any):
        kinds.append([("genres", g) for g in item.genres if g not in p.genres_out])
    if item.year and p.year_min is None and p.year_max is None:
        kinds.append([("years", str(item.year // 10 * 10))])
    kinds = [k for k in kinds if k]
    if not kinds and not (p.people or p.people_any or p.directors):
        kinds.append([("people", name) for name in item.people if name not in p.people_out])
    return [f for f in itertools.product(*kinds) if f]


def _sentence(field: str, value: str, language: str) -> str:
    shown = display_name("genre", value, language) if field == "genres" else value
    return _CLEARER[language][field].format(shown.lower() if field == "genres" else shown)


def _with(p: Preferences, filling: _Filling) -> Preferences:
    changes: dict[str, Any] = {}
    for field, value in filling:
        if field == "years":
            changes |= {"year_min": int(value), "year_max": int(value) + 9}
        else:
            changes[field] = (value,)
    return dataclasses.replace(p, **changes)


def _saying(conversation: Conversation, sentence: str) -> Conversation:
    return _last_word(conversation, f"{conversation.messages[-1].content}\n{sentence}")


def _last_word(conversation: Conversation, content: str) -> Conversation:
    last = dataclasses.replace(conversation.messages[-1], content=content)
    return dataclasses.replace(conversation, messages=(*conversation.messages[:-1], last))


def told(conversation: Conversation, sentences: Sequence[str]) -> list[Variant]:
    """The request with each of the sentences, that a model wrote, at its end."""
    return [Variant(_saying(conversation, s)) for s in sentences]


def paraphrases(
    conversation: Conversation,
    understood: Understood,
    n: int,
    seed: int,
    written: Sequence[str] = (),
) -> list[Variant]:
    """The request in other words, that mean the same: at most ``n`` different ones.

    Parameters
    ----------
    understood: knows the language, and the names in the messages, which stay as they are.
    written: last messages that a model wrote, which come first.
    """
    out = [_last_word(conversation, text) for text in written[:n]]
    rng = _generator(conversation, seed)
    language = understood.preferences.language
    mine = [i for i, m in enumerate(conversation.messages) if m.role == "user"]
    names = [
        [(s.start, s.end) for s in m.spans if s.kind in ("title", "person", "unknown")]
        for m in understood.marked
    ]
    for _ in range(8 * n):
        if len(out) >= n:
            break
        messages = list(conversation.messages)
        for at, protected in zip(mine, names, strict=True):
            old = messages[at]
            text = reworded(old.content, language, protected, rng, last=at == mine[-1])
            messages[at] = Message(old.role, text, old.items)
        made = dataclasses.replace(conversation, messages=tuple(messages))
        if made != conversation and made not in out:
            out.append(made)
    return [Variant(c) for c in out]


def what_has_an_order(strategy: Strategy, constrained: bool) -> str:
    """What the prompts of a recommender list, whose order should not matter.

    Raises
    ------
    InputError: they list nothing.
    """
    if isinstance(strategy, FewShot) and len(strategy.shots) > 1:
        return "few-shot examples"
    if not constrained and strategy.detail == "full":
        return "candidates listed"
    if strategy.detail != "turns":
        return "films named"
    raise InputError(
        "the prompts of this recommender list nothing whose order could be changed: leave 'order' "
        "out of methods, or use the FewShot strategy with two examples or more"
    )


def orders(
    conversation: Conversation,
    understood: Understood,
    strategy: Strategy,
    constrained: bool,
    candidates: Sequence[Item],
    n: int,
    seed: int,
) -> list[Variant]:
    """The request with what the model is told in other orders; none where there is but one order.

    Parameters
    ----------
    candidates: the items of the plain answer. Where prompts can list them, the first variant
        lists them as they are, as the plain request lists none.
    n: how many other orders at most.

    Raises
    ------
    InputError: the prompts list nothing.
    """
    kind = what_has_an_order(strategy, constrained)
    rng = _generator(conversation, seed)

    def shuffle() -> Variant:
        if kind == "few-shot examples":
            assert isinstance(strategy, FewShot)
            shots = tuple(strategy.shots[i] for i in rng.permutation(len(strategy.shots)))
            new = dataclasses.replace(strategy, shots=shots)
            return Variant(conversation, understood, new)
        if kind == "candidates listed":
            mixed = tuple(candidates[i] for i in rng.permutation(len(candidates)))
            return Variant(conversation, understood, candidates=mixed)
        changed = _reordered(understood.preferences, rng)
        return Variant(conversation, dataclasses.replace(understood, preferences=changed))

    listed = kind == "candidates listed"
    plain = Variant(
        conversation,
        understood,
        strategy if kind == "few-shot examples" else None,
        tuple(candidates) if listed else (),
    )
    out = [plain]
    for _ in range(8 * n):
        if len(out) > n:
            break
        made = shuffle()
        if made not in out:
            out.append(made)
    return out if listed and len(out) > 1 else out[1:]


def _reordered(p: Preferences, rng: np.random.Generator) -> Preferences:
    """The last films named of each kind, which are the ones that the model is told, reordered."""

    def other(values: tuple[str, ...]) -> tuple[str, ...]:
        head, tail = values[:-NAMED], values[-NAMED:]
        return (*head, *(tail[i] for i in rng.permutation(len(tail))))

    return dataclasses.replace(
        p, similar_to=other(p.similar_to), likes=other(p.likes), dislikes=other(p.dislikes)
    )
