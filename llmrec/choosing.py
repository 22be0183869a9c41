"""Choosing hides how a model without probabilities picks titles, and what is done with its picks.

The candidates are listed and the model answers with numbers of the list. What it answers is
verified: nothing but a candidate comes out, whatever it says.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError, SchemaError
from llmrec.models.base import LanguageModel
from llmrec.prompting import choose_schema, parse_choice
from llmrec.types import Item, Message

__all__ = [
    "LISTED",
    "Chosen",
    "Question",
    "Tally",
    "ask",
    "listed",
    "question",
    "rank_scores",
    "shuffled",
    "verified",
]

LISTED = 40  # candidates; more where more are to be shown
MOST_LISTED = 60
_SIZES = (1.0, 0.5, 0.5, 0.25)  # of the list, and so many of the last turns, until a model reads it
_TURNS = (None, None, 4, 1)
_ID_TOKENS = 10  # of a number in the answer, with quotes, a comma and blanks
_OTHER_TOKENS = 32

_log = logging.getLogger(__name__)

Prompt = tuple[Message, ...]


@dataclass(frozen=True)
class Chosen:
    """A verified choice.

    Attributes
    ----------
    places: in the order of the candidates, best first: what the model chose, then the others.
    picked: how many of these the model chose.
    unknown: what it named that was not in the list. counts: all this in numbers.
    """

    places: tuple[int, ...]
    picked: int
    unknown: tuple[str, ...]
    counts: Tally


@dataclass(frozen=True)
class Tally:
    """How truthful the answers were: counts over all of them.

    Attributes
    ----------
    answers: that were asked for. unread: of these, such as held no list of numbers.
    picked, unknown, repeated: numbers that were taken, were not in the list, or came again.
    listed: candidates that were shown.
    down: how far down their lists the numbers taken stood, from 0 to 1, added up: half of
        ``picked`` where the place plays no part.
    """

    answers: int = 0
    unread: int = 0
    picked: int = 0
    unknown: int = 0
    repeated: int = 0
    listed: int = 0
    down: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        """Both counts together."""
        mine, theirs = astuple(self), astuple(other)
        return Tally(*(a + b for a, b in zip(mine, theirs, strict=True)))


def listed(k: int) -> int:
    """How many candidates a model is shown that is asked for ``k``."""
    return min(MOST_LISTED, max(LISTED, k))


def shuffled(items: Sequence[Item]) -> list[int]:
    """The places of items in an order that has nothing to do with theirs, always the same one.

    Models prefer what stands first or last, and the signals' order is their own to say.
    """
    seed = zlib.crc32("\n".join(i.id for i in items).encode())
    return [int(p) for p in np.random.default_rng(seed).permutation(len(items))]


@dataclass(frozen=True)
class Question:
    """A prompt that lists candidates, fitted to what a model reads.

    Attributes
    ----------
    order: which candidate stands at each place of the list.
    """

    prompt: Prompt
    order: tuple[int, ...]


def question(
    model: LanguageModel,
    items: Sequence[Item],
    k: int,
    make: Callable[[Sequence[Item], int | None], Prompt],
    *,
    mixed: bool = True,
) -> Question:
    """What a model is asked, so that it reads it: else fewer candidates, and fewer turns.

    Parameters
    ----------
    items: candidates, the best by the signals first.
    make: the prompt with these candidates and so many of the last turns; None: with all.
    mixed: whether they are listed in an order of their own.
    """
    for size, turns in zip(_SIZES, _TURNS, strict=True):
        some = items[: max(k, round(len(items) * size))]
        order = shuffled(some) if mixed else range(len(some))
        asked = Question(make([some[i] for i in order], turns), tuple(order))
        if _fits(model, asked, k):
            break
    return asked


def ask(model: LanguageModel, questions: Sequence[Question], k: int) -> list[str]:
    """What a model answers to each; as it is where it is misshapen, empty where there is none.

    A server is sent each question apart, as many of them together as it is to be sent: lists of
    several lengths have several schemas, and an answer that breaks its own makes no other wait.
    """

    def alone(q: Question) -> str:
        return _generate(model, [q.prompt], choose_schema(len(q.order), k), _tokens(k))[0]

    if (together := getattr(model, "concurrency", 0)) and len(questions) > 1:
        pool = ThreadPoolExecutor(min(together, len(questions)))
        try:
            return list(pool.map(alone, questions))
        finally:
            pool.shutdown(cancel_futures=True)  # after an error nothing more is sent
    out = [""] * len(questions)
    sizes: dict[int, list[int]] = {}
    for at, q in enumerate(questions):
        sizes.setdefault(len(q.order), []).append(at)
    for n, group in sizes.items():
        prompts = [questions[at].prompt for at in group]
        texts = _generate(model, prompts, choose_schema(n, k), _tokens(k))
        for at, text in zip(group, texts, strict=True):
            out[at] = text
    return out


def _generate(
    model: LanguageModel, prompts: Sequence[Prompt], schema: Mapping[str, Any], tokens: int
) -> list[str]:
    try:
        return model.generate(prompts, max_new_tokens=tokens, schema=schema)
    except (InputError, SchemaError) as e:  # it reads too little, or does not follow the schema
        if len(prompts) == 1:
            return [str(getattr(e, "text", ""))]
        return [text for p in prompts for text in _generate(model, [p], schema, tokens)]


def _tokens(k: int) -> int:
    return _OTHER_TOKENS + _ID_TOKENS * k


def _fits(model: Any, asked: Question, k: int) -> bool:
    """Whether a model reads a question and its answer, as far as it tells."""
    if hasattr(model, "fits"):
        return bool(model.fits(asked.prompt, _tokens(k), choose_schema(len(asked.order), k)))
    limit = getattr(model, "max_tokens", None)
    return limit is None or len(model.prompt_ids(asked.prompt)) + _tokens(k) <= limit


def verified(text: str, order: Sequence[int], n: int) -> Chosen:
    """What is left of an answer, with the candidates it did not choose behind it.

    Parameters
    ----------
    order: which candidate stands at each place of the list that the model saw.
    n: how many candidates there are, the first the best by the signals. Those that the model did
        not choose follow in that order: a list that is short because a model answered badly would
        tell the user that there is no more.
    """
    choice = parse_choice(text, len(order))
    if choice is None:
        _log.info("an answer that chooses nothing: %.80r", text)
        return Chosen(tuple(range(n)), 0, (), Tally(answers=1, unread=1, listed=len(order)))
    picked = [order[p] for p in choice.places]
    rest = (i for i in range(n) if i not in {*picked})
    down = sum((p + 0.5) / len(order) for p in choice.places)
    counts = Tally(
        1, 0, len(picked), len(choice.unknown), choice.repeated, len(order), round(down, 4)
    )
    return Chosen((*picked, *rest), len(picked), choice.unknown, counts)


def rank_scores(n: int, among: int) -> npt.NDArray[np.float64]:
    """Logarithms of shares that fall with the rank, 1 / rank, over ``among`` candidates.

    They say the order and nothing else: such a model gives no probabilities.
    """
    shares = 1.0 / np.arange(1, max(n, among) + 1)
    return np.asarray(np.log(shares / shares.sum())[:n])
