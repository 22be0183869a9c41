"""Match hides how two contestants answer one conversation blind, are voted on, and then named.

Both get the same: one conversation, in which every list of either was shown, and one reading of
its wishes. Which of them stands left is drawn anew for each message.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, cast

from llmrec.demo.feedback import Asked, Tally
from llmrec.demo.feedback_rows import CHOICES, REASONS, Choice
from llmrec.demo.marks import MARKS, pressed
from llmrec.demo.steps import PAUSE, Step, Steps, refused
from llmrec.recommender import LEAST_SURE, Recommender
from llmrec.types import Conversation, Item, Message, Recommendation

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
    "play",
]

K = 5


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
class Round(Step):
    """A message, and what both said to it.

    Attributes
    ----------
    sides: A and B. Their names must not be shown before the vote.
    asked: the conversation that both were given, and the preferences with it.
    vote: empty until it is cast. reasons: given with it. kept: whether it was kept as feedback;
        None: the visitor has not agreed.
    """

    sides: tuple[Side, Side] = (Side(""), Side(""))
    asked: Conversation = field(default_factory=Conversation)
    vote: Choice | Literal[""] = ""
    reasons: tuple[str, ...] = ()
    kept: bool | None = None


@dataclass(frozen=True)
class Difference:
    """Two lists beside each other: what is in one only, and the ranks of what is in both."""

    only_a: tuple[Recommendation, ...]
    only_b: tuple[Recommendation, ...]
    shared: tuple[tuple[Recommendation, Recommendation], ...]


class Match(Steps[Round]):
    """What one visitor compares, kept in that visitor's session alone.

    Attributes
    ----------
    pair: the two names; None before the first message. tally: own votes.
    conversation: what was said and marked, which both are given with the next message.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pair: tuple[str, str] | None = None
        self.conversation = Conversation()
        self.tally = Tally()
        self._catalog = ""
        self._chance = random.SystemRandom()

    def __deepcopy__(self, memo: dict[int, Any]) -> Match:
        """A fresh one: how the page gives each visitor an own one."""
        return Match()

    @property
    def rounds(self) -> tuple[Round, ...]:
        """Everything shown, failures included."""
        return self._steps

    @property
    def open(self) -> bool:
        """Whether the last round waits for a vote."""
        if not self.rounds:
            return False
        last = self.rounds[-1]
        return last.stage == "done" and not last.vote and any(s.ids for s in last.sides)

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

    def side(self, run: int, n: int, more: str = "", **changes: Any) -> Round | None:
        """The round of a run with changes of one side; None if another run is the current one.

        Parameters
        ----------
        more: what its text grows by.
        """
        with self._lock:
            if run != self._run:
                return None
            sides = list(self.rounds[-1].sides)
            changes = {"text": sides[n].text + more, **changes}
            sides[n] = dataclasses.replace(sides[n], **changes)
            return self.change(run, sides=tuple(sides))

    def clear(self) -> None:
        """Forget conversation and pair; the tally stays."""
        with self._lock:
            self._run += 1
            self._steps, self.pair, self.conversation = (), None, Conversation()

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
            self._steps = (*self.rounds[:-1], voted)
            a, b = last.sides
            self.tally.add(a.name, b.name, choice)
            return voted

    def told(self, kept: bool | None) -> None:
        """Note whether the last vote was kept."""
        with self._lock:
            self._steps = (*self.rounds[:-1], dataclasses.replace(self.rounds[-1], kept=kept))

    def _keep(self, round_: Round) -> None:
        """What was listed becomes part of the conversation; what was marked meanwhile stays."""
        if any(s.recommendations for s in round_.sides):
            said = round_.asked.add(_shown(round_.sides)).messages
            self.conversation = dataclasses.replace(self.conversation, messages=said)


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
    problem = refused(message) or ("error_same" if len({*chosen}) < len(chosen) else "")
    if problem:
        failed = Round(message, stage="failed", problem=problem)
        match.begin(failed)
        yield failed
        return
    begun = Round(message)
    run = match.begin(begun)
    yield begun
    yield from match.guarded(run, _answers(contestants, match, run, message, chosen, streamed))


def _answers(
    makers: Callable[[], Mapping[str, Recommender]],
    match: Match,
    run: int,
    message: str,
    chosen: Sequence[str],
    streamed: bool,
) -> Iterator[Round]:
    contestants = makers()
    asked = match.conversation.add(Message("user", message))
    reader = next(iter(contestants.values()))
    route = reader.route(asked)
    if route.kind != "recommend" and route.confidence >= LEAST_SURE:
        if failed := match.change(run, stage="failed", problem="error_no_wish"):
            yield failed
        return
    preferences = reader.understand(asked)
    names = match.draw(tuple(contestants), chosen)
    sides = tuple(Side(n) for n in names)
    if not match.change(run, sides=sides, asked=asked, preferences=preferences):
        return
    with contextlib.ExitStack() as stack:
        streams = []
        for name in names:
            stream = contestants[name].stream(asked, K, preferences=preferences)
            stack.callback(cast("Generator[Event, None, None]", stream).close)
            streams.append(stream)
        shown_at = 0.0
        for n, event in _in_turns(streams):
            round_ = _take(match, run, n, event)
            news = event.kind == "recommendations"
            both = round_ is not None and all(s.listed for s in round_.sides)
            if news and both:
                round_ = match.change(run, stage="cards")
            if round_ is None:
                return
            grown = event.kind == "text" and time.monotonic() - shown_at >= PAUSE
            if (news and both) or (streamed and (news or grown)):
                shown_at = time.monotonic()
                yield round_
    if done := match.change(run, stage="done"):
        yield done


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


def _take(match: Match, run: int, n: int, event: Event) -> Round | None:
    """The round with an event of a side; None if the run is not the current one."""
    if event.kind == "recommendations":
        return match.side(run, n, recommendations=event.recommendations, listed=True)
    if event.kind == "text":
        return match.side(run, n, more=event.text)
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
