"""Match hides how two contestants answer one conversation blind, are voted on, and then named.

Both get the same: one conversation, in which every list of either was shown, and one reading of
its wishes. Which of them stands left is drawn anew for each message.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, cast

from llmrec.demo.feedback import CHOICES, REASONS, Asked, Choice, Tally
from llmrec.demo.marks import MARKS, pressed
from llmrec.errors import LLMRecError
from llmrec.ranker.linear import LinearRanker
from llmrec.recommender import LEAST_SURE, Recommender
from llmrec.types import (
    MAX_MESSAGE_CHARS,
    Conversation,
    Item,
    Message,
    Preferences,
    Recommendation,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmrec.recommender import Event

__all__ = [
    "Difference",
    "Match",
    "Round",
    "Side",
    "as_asked",
    "difference",
    "embedded_contestants",
    "over",
    "play",
]

Stage = Literal["thinking", "cards", "done", "stopped", "failed"]
K = 5
_PAUSE = 0.05  # seconds between two pictures of a text that grows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Side:
    """What stands left or right: who it is, and what came of it so far."""

    name: str
    recommendations: tuple[Recommendation, ...] = ()
    text: str = ""
    listed: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the items listed, in order."""
        return tuple(r.item.id for r in self.recommendations)


@dataclass(frozen=True)
class Round:
    """A message, and what both said to it.

    Attributes
    ----------
    sides: A and B. Their names must not be shown before the vote.
    asked: the conversation that both were given. preferences: as both were given them.
    problem: the key of the text that says what went wrong; empty where nothing did.
    vote: empty until it is cast. reasons: given with it. kept: whether it was kept as feedback;
        None: the visitor has not agreed.
    """

    said: str
    sides: tuple[Side, Side] = (Side(""), Side(""))
    stage: Stage = "thinking"
    asked: Conversation = field(default_factory=Conversation)
    preferences: Preferences | None = None
    problem: str = ""
    vote: Choice | Literal[""] = ""
    reasons: tuple[str, ...] = ()
    kept: bool | None = None

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self.stage in ("thinking", "cards")


@dataclass(frozen=True)
class Difference:
    """Two lists beside each other: what is in one only, and the ranks of what is in both."""

    only_a: tuple[Recommendation, ...]
    only_b: tuple[Recommendation, ...]
    shared: tuple[tuple[Recommendation, Recommendation], ...]


class Match:
    """What one visitor compares, kept in that visitor's session alone.

    Attributes
    ----------
    rounds: everything shown, failures included. pair: the two names; None before the first
        message. conversation: what was said and marked, which both are given with the next
        message. tally: own votes.
    """

    def __init__(self) -> None:
        self.rounds: tuple[Round, ...] = ()
        self.pair: tuple[str, str] | None = None
        self.conversation = Conversation()
        self.tally = Tally()
        self._catalog = ""
        self._run = self._stamp = 0
        self._lock = threading.RLock()
        self._chance = random.SystemRandom()

    def __deepcopy__(self, memo: dict[int, Any]) -> Match:
        """A fresh one: how the page gives each visitor an own one."""
        return Match()

    @property
    def running(self) -> bool:
        """Whether answers are under way."""
        return bool(self.rounds) and self.rounds[-1].running

    @property
    def open(self) -> bool:
        """Whether the last round waits for a vote."""
        if not self.rounds:
            return False
        last = self.rounds[-1]
        return last.stage == "done" and not last.vote and any(s.ids for s in last.sides)

    def stamp(self) -> int:
        """A number that grows from call to call: microseconds since 1970, or one more."""
        with self._lock:
            self._stamp = max(self._stamp + 1, time.time_ns() // 1000)
            return self._stamp

    def begin(self, said: str) -> int:
        """Show a new round, stopping the one before; the number of its run."""
        with self._lock:
            self.stop()
            self.rounds += (Round(said),)
            return self._run

    def draw(self, names: Sequence[str], chosen: Sequence[str]) -> tuple[str, str]:
        """The two that compete, in the order of chance in which they stand this time.

        A pair drawn before competes on while it holds those that are chosen.
        """
        with self._lock:
            if self.pair is None or not {*chosen} <= {*self.pair} <= {*names}:
                others = [n for n in names if n not in chosen]
                drawn = [*chosen, *self._chance.sample(others, 2 - len(chosen))]
                self.pair = (drawn[0], drawn[1])
            a, b = self._chance.sample(self.pair, 2)
            return a, b

    def change(self, run: int, **changes: Any) -> bool:
        """Change the round of a run; False if that run is not the current one."""
        with self._lock:
            if run != self._run:
                return False
            last = dataclasses.replace(self.rounds[-1], **changes)
            self.rounds = (*self.rounds[:-1], last)
            if not last.running and any(s.recommendations for s in last.sides):
                said = last.asked.add(_shown(last.sides)).messages
                # What was marked since it was asked stays.
                self.conversation = dataclasses.replace(self.conversation, messages=said)
            return True

    def side(self, run: int, n: int, **changes: Any) -> bool:
        """Change one side of the round of a run; False if that run is not the current one."""
        with self._lock:
            if run != self._run:
                return False
            sides = list(self.rounds[-1].sides)
            sides[n] = dataclasses.replace(sides[n], **changes)
            return self.change(run, sides=tuple(sides))

    def stop(self) -> None:
        """End the running answers where they stand."""
        with self._lock:
            if self.running:
                self.change(self._run, stage="stopped")
            self._run += 1

    def clear(self) -> None:
        """Forget conversation and pair; the tally stays."""
        with self._lock:
            self._run += 1
            self.rounds, self.pair, self.conversation = (), None, Conversation()

    def about(self, catalog: str) -> None:
        """Compare over the catalogue of a fingerprint; over another than before, begin anew."""
        with self._lock:
            if catalog != self._catalog:
                self.clear()
            self._catalog = catalog

    def mark(self, item_id: str, mark: str) -> Round | None:
        """Press a button of an item, in whichever list it stands; the round that showed it last.

        None for an item that was not shown or a button that is not there.
        """
        with self._lock:
            shown = [r for r in self.rounds if any(item_id in s.ids for s in r.sides)]
            if not shown or mark not in MARKS:
                return None
            self.conversation = pressed(self.conversation, item_id, mark)
            return shown[-1]

    def vote(self, choice: str, reasons: Sequence[str] = ()) -> Round | None:
        """Cast the vote of the last round, once; None where there is nothing to vote on."""
        with self._lock:
            if not self.open or choice not in CHOICES:
                return None
            last = self.rounds[-1]
            known = tuple(r for r in REASONS if r in reasons)
            voted = dataclasses.replace(last, vote=choice, reasons=known)
            self.rounds = (*self.rounds[:-1], voted)
            a, b = last.sides
            self.tally.add(a.name, b.name, choice)
            return voted

    def told(self, kept: bool | None) -> None:
        """Note whether the last vote was kept."""
        with self._lock:
            self.rounds = (*self.rounds[:-1], dataclasses.replace(self.rounds[-1], kept=kept))


def play(
    contestants: Callable[[], Mapping[str, Recommender]],
    match: Match,
    message: str,
    chosen: Sequence[str] = (),
    *,
    streamed: bool = False,
) -> Iterator[Round]:
    """Let two contestants answer a message, step by step.

    Each step is the last round as it now stands, also in ``match``. Nothing is raised for what
    goes wrong: the round's ``problem`` says it. Closing the iterator stops both models.

    Parameters
    ----------
    contestants: gives them by name, once the round is shown, as making them may take a while.
    chosen: up to two names; who is not chosen is drawn.
    streamed: show each list as soon as it is there. Without it both come together, so that their
        speed does not tell who they are.
    """
    run = match.begin(message)
    problem = _refused(message, chosen)
    if problem:
        match.change(run, stage="failed", problem=problem)
        yield match.rounds[-1]
        return
    yield match.rounds[-1]
    try:
        yield from _answers(contestants(), match, run, message, chosen, streamed)
    except GeneratorExit:
        match.change(run, stage="stopped")
        raise
    except Exception as error:
        if not isinstance(error, LLMRecError):
            _log.exception("a comparison failed")
        else:
            _log.warning("a comparison failed: %s", error)
        if match.change(run, stage="failed", problem="error_model"):
            yield match.rounds[-1]


def _refused(message: str, chosen: Sequence[str]) -> str:
    if not message.strip():
        return "error_empty"
    if len(message) > MAX_MESSAGE_CHARS:
        return "error_long"
    return "error_same" if len({*chosen}) < len(chosen) else ""


def _answers(
    contestants: Mapping[str, Recommender],
    match: Match,
    run: int,
    message: str,
    chosen: Sequence[str],
    streamed: bool,
) -> Iterator[Round]:
    asked = match.conversation.add(Message("user", message))
    reader = next(iter(contestants.values()))
    route = reader.route(asked)
    if route.kind != "recommend" and route.confidence >= LEAST_SURE:
        if match.change(run, stage="failed", problem="error_no_wish"):
            yield match.rounds[-1]
        return
    preferences = reader.understand(asked)
    names = match.draw(tuple(contestants), chosen)
    sides = tuple(Side(n) for n in names)
    if not match.change(run, sides=sides, asked=asked, preferences=preferences):
        return
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(
                contextlib.closing(
                    cast(
                        "Generator[Event, None, None]",
                        contestants[n].stream(asked, K, preferences=preferences),
                    )
                )
            )
            for n in names
        ]
        shown_at = 0.0
        for n, event in _in_turns(streams):
            if not _take(match, run, n, event):
                return
            news = event.kind == "recommendations"
            both = all(s.listed for s in match.rounds[-1].sides)
            if news and both:
                match.change(run, stage="cards")
            if (news and (both or streamed)) or (
                streamed and event.kind == "text" and time.monotonic() - shown_at >= _PAUSE
            ):
                shown_at = time.monotonic()
                yield match.rounds[-1]
    if match.change(run, stage="done"):
        yield match.rounds[-1]


def _in_turns(streams: Sequence[Iterator[Event]]) -> Iterator[tuple[int, Event]]:
    """The events of both, one of each in turn."""
    running = dict(enumerate(streams))
    while running:
        for n, stream in [*running.items()]:
            event = next(stream, None)
            if event is None:
                del running[n]
            else:
                yield n, event


def _take(match: Match, run: int, n: int, event: Event) -> bool:
    """Put an event into its side; False if the run is not the current one."""
    if event.kind == "recommendations":
        return match.side(run, n, recommendations=event.recommendations, listed=True)
    if event.kind == "text":
        return match.side(run, n, text=match.rounds[-1].sides[n].text + event.text)
    if event.kind == "reply":
        assert event.reply is not None
        return match.side(run, n, text=event.reply.text)
    return match.side(run, n)


def _shown(sides: Sequence[Side]) -> Message:
    """Both lists as one turn: what the visitor saw, and what neither may show again."""
    pairs = zip_longest(*(s.recommendations for s in sides))
    items = {r.item.id: r.item for pair in pairs for r in pair if r is not None}
    return Message("assistant", ", ".join(i.label for i in items.values()), tuple(items))


def difference(a: Sequence[Recommendation], b: Sequence[Recommendation]) -> Difference:
    """What two lists have alone and in common."""
    in_a, in_b = ({r.item.id: r for r in own} for own in (a, b))
    return Difference(
        tuple(r for i, r in in_a.items() if i not in in_b),
        tuple(r for i, r in in_b.items() if i not in in_a),
        tuple((r, in_b[i]) for i, r in in_a.items() if i in in_b),
    )


def as_asked(contestants: Mapping[str, Recommender], round_: Round) -> Asked:
    """What feedback keeps of a round beside its lists and its vote."""
    assert round_.preferences is not None
    shown: list[Item] = [r.item for s in round_.sides for r in s.recommendations]
    reader = contestants[round_.sides[0].name]
    return Asked.of(reader, round_.asked, round_.preferences, shown)


def over(contestants: Mapping[str, Recommender], other: Recommender) -> dict[str, Recommender]:
    """The contestants over the catalogue of another recommender, whose reading they share."""
    return {name: _beside(other, c.with_catalog(other.catalog)) for name, c in contestants.items()}


def embedded_contestants(recommender: Recommender) -> dict[str, Recommender]:
    """Four that differ in what they listen to, with the model and the catalogue of the one given.

    "all signals" is the recommender itself; "model alone" asks only the model which titles fit;
    "popularity alone" asks no model; "lesser known" turns popularity around.

    Raises
    ------
    ModelError: the model gives no token probabilities.
    """
    nothing = dict.fromkeys(("model", "similar", "keywords", "text", "popularity", "disliked"), 0.0)
    weights = {
        "model alone": LinearRanker(**{**nothing, "model": 1.0}),
        "popularity alone": LinearRanker(**{**nothing, "popularity": 1.0}),
        "lesser known": LinearRanker(popularity=-LinearRanker.popularity),
    }
    made = {
        name: _beside(recommender, Recommender(recommender.model, recommender.catalog, ranker=r))
        for name, r in weights.items()
    }
    return {"all signals": recommender, **made}


def _beside(reader: Recommender, made: Recommender) -> Recommender:
    """With the understander of another, whose lexicon takes time and memory to make."""
    made.understander = reader.understander
    return made
