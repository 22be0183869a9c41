"""Inspection hides how a turn of a visit is run again, and what is measured of it on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from llmrec.decoding import rank_titles, title_trie
from llmrec.demo.visit import Turn, Visit
from llmrec.errors import InputError, LLMRecError
from llmrec.prompting import TITLE_END
from llmrec.recommender import MODEL_CHOICES, SEARCH_TOKENS
from llmrec.types import Conversation, Item, Message, Preferences, Reply
from llmrec.wishes import Wish, wishes

if TYPE_CHECKING:
    from llmrec.answering.reading import Case
    from llmrec.lexicon import Marked
    from llmrec.recommender import Event, Recommender
    from llmrec.routing import Route
    from llmrec.trie import TitleTrie

__all__ = [
    "Filtered",
    "Inspection",
    "Inspector",
    "Searched",
    "Stopped",
    "Word",
    "asked_at",
    "words_of",
]

MAX_SEARCHED = 50_000  # items of a catalogue whose titles are put into a tree for this alone
_SHOWN = 5
_KINDS = {  # of spans of the lexicon, by what a wish is about
    "genres": "genre", "keywords": "keyword", "people": "person", "directors": "person",
    "countries": "country", "languages": "language",
}  # fmt: skip


@dataclass(frozen=True)
class Filtered:
    """A wish, and how many candidates are left once it is met."""

    wish: Wish
    left: int


@dataclass(frozen=True)
class Searched:
    """The model's own search among the candidates; see ``llmrec.decoding.Ranking``."""

    wanted: int
    forwards: int
    tokens: int
    exact: bool
    gap: float
    seconds: float
    best: tuple[tuple[Item, float], ...]


@dataclass(frozen=True)
class Word:
    """A wish or another preference, and the words that it came from, where they are known."""

    field: str
    values: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """What happened in a turn, measured by running it again.

    Attributes
    ----------
    seconds: of the steps: "route", "understand" (both alone), then of the whole run "first"
        (until the preferences), "rank" and "words".
    catalog: items in all. fresh: those left without what was seen, shown or named.
    filters: the wishes one after the other. dropped: given up, as nothing met all.
    unchecked: about facts that the catalogue does not have. candidates: what was ranked.
    searched: None where the model was not searched. case: of a question, how it was read.
    """

    conversation: Conversation
    marked: tuple[Marked, ...]
    route: Route
    reply: Reply
    seconds: dict[str, float]
    catalog: int
    fresh: int = 0
    filters: tuple[Filtered, ...] = ()
    dropped: tuple[Wish, ...] = ()
    unchecked: tuple[Wish, ...] = ()
    candidates: int = 0
    searched: Searched | None = None
    case: Case | None = None


class Stopped(Exception):  # noqa: N818  (it is no error)
    """A look inside was stopped."""


class Inspector:
    """Runs turns again. One for a recommender, as it keeps a tree of the titles."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender

    @functools.cached_property
    def _trie(self) -> TitleTrie:
        model, labels = self.recommender.model, self.recommender.catalog.labels
        return title_trie(model, labels, terminator=TITLE_END)  # type: ignore[arg-type]

    def __call__(
        self,
        visit: Visit,
        number: int,
        k: int = _SHOWN,
        *,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Inspection:
        """Turn ``number`` of a visit, from 0.

        Parameters
        ----------
        stopped: asked between the steps, of the model's words between any two pieces.

        Raises
        ------
        LLMRecError: there is no such turn, or it cannot be answered.
        Stopped: it was stopped.
        """
        conversation, turn = asked_at(visit, number), visit.turns[number]
        rec = self.recommender
        seconds: dict[str, float] = {}
        start = time.perf_counter()
        route = rec.route(conversation)
        seconds["route"] = time.perf_counter() - start
        _go_on(stopped)
        start = time.perf_counter()
        understood = rec.understand(conversation)
        seconds["understand"] = time.perf_counter() - start
        given = _given(turn, understood)
        reply, times = self._again(conversation, given, turn.by_hand, k, stopped)
        made = Inspection(
            conversation, rec.understander.marked(conversation), route, reply,
            {**seconds, **times}, len(rec.catalog),
        )  # fmt: skip
        if reply.route == "question":
            return dataclasses.replace(made, case=rec.answerer.reader.read(conversation))
        if reply.route != "recommend":
            return made
        return self._narrowed(made, given, turn.by_hand, stopped)

    def _again(
        self,
        conversation: Conversation,
        given: Preferences | None,
        repeat: bool,
        k: int,
        stopped: Callable[[], bool],
    ) -> tuple[Reply, dict[str, float]]:
        """The reply, and when its parts came."""
        last = start = time.perf_counter()
        times: dict[str, float] = {}
        reply = None
        stream = self.recommender.stream(conversation, k, preferences=given, repeat=repeat)
        with contextlib.closing(cast("Generator[Event, None, None]", stream)) as events:
            for event in events:
                now = time.perf_counter()
                name = {"preferences": "first", "recommendations": "rank"}.get(event.kind)
                if name:
                    times[name], last = now - last, now
                reply = event.reply
                _go_on(stopped)
        times["words" if times else "answer"] = time.perf_counter() - last
        times["whole"] = time.perf_counter() - start
        assert reply is not None
        return reply, times

    def _narrowed(
        self, made: Inspection, given: Preferences | None, repeat: bool, stopped: Callable[[], bool]
    ) -> Inspection:
        """With the candidates after each wish, and the search among the last."""
        plan = self.recommender.plan(made.conversation, preferences=given, repeat=repeat)
        fresh, *left = self.recommender.narrowing(plan)
        _go_on(stopped)
        return dataclasses.replace(
            made,
            fresh=fresh,
            filters=tuple(map(Filtered, plan.asked, left)),
            dropped=plan.relaxed,
            unchecked=plan.unchecked,
            candidates=plan.rows.size,
            searched=self._searched(made.conversation, plan.rows),
        )

    def _searched(self, conversation: Conversation, rows: npt.NDArray[np.int32]) -> Searched | None:
        rec = self.recommender
        if rec.grounding != "constrained" or not rows.size or len(rec.catalog) > MAX_SEARCHED:
            return None
        trie, prompt = self._trie, rec.prompt_ids(conversation)
        wanted = min(MODEL_CHOICES, rows.size)
        start = time.perf_counter()
        try:
            found = rank_titles(
                rec.model,  # type: ignore[arg-type]  # it gives probabilities: it is constrained
                [prompt], trie, wanted, allowed=[rows], budget=SEARCH_TOKENS,
            )[0]  # fmt: skip
        except LLMRecError:
            return None
        took = time.perf_counter() - start
        items = rec.catalog.items_at(found.rows[:_SHOWN])
        best = tuple(zip(items, found.logprobs[:_SHOWN].tolist(), strict=True))
        return Searched(
            wanted, found.forwards, found.tokens, found.exact, float(found.gap), took, best
        )


def asked_at(visit: Visit, number: int) -> Conversation:
    """The conversation as it was when turn ``number`` was asked, with the marks of now.

    Raises
    ------
    InputError: there is no such turn, or nothing was asked in it.
    """
    if not 0 <= number < len(visit.turns):
        raise InputError(f"turn {number} is asked for: there are {len(visit.turns)}")
    messages = (*visit.before(number).messages, Message("user", visit.turns[number].said))
    return Conversation.of(dataclasses.replace(visit.conversation, messages=messages))


def words_of(preferences: Preferences, marked: Sequence[Marked]) -> list[Word]:
    """Every preference with the words of the visitor's that it came from."""
    spans = [(m.message[s.start : s.end], s) for m in marked for s in m.spans]
    out = []
    for wish in wishes(preferences):
        kind = _KINDS.get(wish.attribute, wish.attribute)
        number = wish.attribute in ("year", "runtime", "price")
        found = [
            said
            for said, s in spans
            if s.kind == kind
            and (wish.bound in (s.low, s.high) if number else {*s.values} & {*wish.values})
        ]
        if number and not found:  # "shorter"
            found = [said for said, s in spans if s.kind == "critique"]
        out.append(Word(wish.field, wish.values, tuple(dict.fromkeys(found))))
    for field in ("keywords", "similar_to", "likes", "dislikes", "seen"):
        for value in getattr(preferences, field):
            found = [said for said, s in spans if value in s.values]
            out.append(Word(field, (value,), tuple(dict.fromkeys(found))))
    if preferences.text:
        out.append(Word("text", (preferences.text,), ()))
    return out


def _given(turn: Turn, understood: Preferences) -> Preferences | None:
    """The preferences of a turn that came by hand, or built on such; None where they were read."""
    if turn.by_hand:
        return turn.preferences
    read = turn.route != "recommend" or turn.preferences in (None, understood)
    return None if read else turn.preferences


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Stopped
