"""Visit holds one visitor's conversation, and hides how an answer runs, stops and is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from llmrec.answering import MIN_SIMILARITY
from llmrec.demo.marks import MARKS, marks_of, pressed
from llmrec.demo.steps import PAUSE, Step, Steps, refused
from llmrec.demo.texts import say
from llmrec.errors import LLMRecError
from llmrec.types import (
    Answer,
    Conversation,
    Message,
    Preferences,
    Recommendation,
)
from llmrec.wishes import Things, wishes
from llmrec.wording import display_name, wish_labels

if TYPE_CHECKING:
    from llmrec.recommender import Event, Recommender

__all__ = [
    "CHIPS",
    "Turn",
    "Visit",
    "answer",
    "carried",
    "drawn",
    "show_shared",
    "summary",
]

CHIPS = 4
_OLDEST_DECADE, _NEW = 1930, 2000  # "the 20s" are two; "the 2000s" are said in full

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turn(Step):
    """What the visitor said or corrected, and what came back, as far as it has come.

    Attributes
    ----------
    by_hand: whether the words sum up preferences that were corrected in the panel.
    chips: messages to go on with.
    route: what the words were taken for; see ``Reply``. answer: to a question, or of a title.
    confidence, calibrated: as in ``Reply``; None until the reply is whole.
    shared: whether somebody else's list is shown, and nothing was said.
    """

    by_hand: bool = False
    recommendations: tuple[Recommendation, ...] = ()
    text: str = ""
    chips: tuple[str, ...] = ()
    route: str = "recommend"
    answer: Answer | None = None
    confidence: float | None = None
    calibrated: bool = False
    shared: bool = False


class Visit(Steps[Turn]):
    """The state of one visitor, kept in that visitor's session alone.

    Attributes
    ----------
    language: of the page. things: what the catalogue holds.
    conversation: what was said and marked; a message that failed is not in it.
    edited: the preferences that the visitor corrected and later messages built on.
    other: gives what answers this visitor instead of the page's recommender, if anything does.
    """

    def __init__(self, language: str = "en", things: Things = "films") -> None:
        super().__init__()
        self.language = language
        self.things: Things = things
        self.conversation = Conversation()
        self.edited: Preferences | None = None
        self.other: Callable[[], Recommender | None] = lambda: None
        self._before: list[tuple[Conversation, Preferences | None]] = []  # of each turn

    def __deepcopy__(self, memo: dict[int, Any]) -> Visit:
        """A fresh visit in the same language: how the page gives each visitor an own one."""
        return Visit(self.language, self.things)

    def recommender(self, page: Recommender) -> Recommender:
        """What answers this visitor: the page's recommender, or that of an own catalogue."""
        return self.other() or page

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Everything shown, failures included."""
        return self._steps

    @property
    def preferences(self) -> Preferences | None:
        """What was understood last."""
        return next((t.preferences for t in reversed(self.turns) if t.preferences), None)

    def begin(self, turn: Turn) -> int:
        """Show a new turn, stopping the one before, and return the number of its run."""
        with self._lock:
            run = super().begin(turn)
            self._before.append((self.conversation, self.edited))
            return run

    def undo(self) -> str:
        """Take the last turn back, with all that was marked since; its words, or none."""
        with self._lock:
            self._run += 1
            if not self.turns:
                return ""
            self.conversation, self.edited = self._before.pop()
            *before, last = self._steps
            self._steps = tuple(before)
            return "" if last.by_hand else last.said

    def before(self, number: int) -> Conversation:
        """The conversation as it was when turn ``number`` began."""
        return self._before[number][0]

    def clear(self) -> None:
        """Forget everything but the language."""
        with self._lock:
            self._run += 1
            self.conversation = Conversation()
            self._steps = ()
            self.edited = None
            self._before = []

    def mark(self, item_id: str, mark: str) -> bool:
        """Press the like, dislike or seen button of a film; pressing again takes it back.

        False for a film that was not shown or a button that is not there.
        """
        with self._lock:
            shown = {r.item.id for t in self.turns for r in t.recommendations}
            if item_id not in shown or mark not in MARKS:
                return False
            self.conversation = pressed(self.conversation, item_id, mark)
            return True

    def forget(self, old: Preferences, new: Preferences) -> None:
        """Release the buttons of films that were taken out of the preferences by hand."""
        with self._lock:
            gone = [set(getattr(old, f)) - set(getattr(new, f)) for f in _OPINIONS]
            liked, disliked, seen = (
                tuple(i for i in ids if i not in out)
                for ids, out in zip(self._marked(), gone, strict=True)
            )
            self.conversation = dataclasses.replace(
                self.conversation, liked=liked, disliked=disliked, seen=seen
            )

    def marks(self, item_id: str) -> frozenset[str]:
        """Which buttons of a film are pressed."""
        return marks_of(self.conversation, item_id)

    def _keep(self, turn: Turn) -> None:
        """What was answered becomes part of the conversation; what was not, does not."""
        if turn.preferences is None:
            return
        shown = [s.item for s in turn.answer.sources] if turn.answer else []
        items = tuple(i.id for i in shown or [r.item for r in turn.recommendations])
        self.conversation = self.conversation.add(
            Message("user", turn.said), Message("assistant", turn.text, items)
        )
        if turn.route != "recommend":
            return
        if turn.by_hand or self.edited is not None:
            # Without the buttons, which are added again each time, as they then are.
            self.edited = dataclasses.replace(
                turn.preferences,
                **{  # type: ignore[arg-type]
                    theirs: tuple(i for i in getattr(turn.preferences, theirs) if i not in marked)
                    for theirs, marked in zip(_OPINIONS, self._marked(), strict=True)
                },
            )

    def _marked(self) -> tuple[tuple[str, ...], ...]:
        return self.conversation.liked, self.conversation.disliked, self.conversation.seen


_OPINIONS = ("likes", "dislikes", "seen")


def answer(
    recommender: Recommender,
    visit: Visit,
    message: str = "",
    *,
    preferences: Preferences | None = None,
    k: int = 5,
    min_similarity: float = MIN_SIMILARITY,
) -> Iterator[Turn]:
    """Answer a message, or preferences that were corrected, step by step.

    Each step is the visitor's last turn as it now stands, also in ``visit``. Nothing is raised for
    what goes wrong: the turn's ``problem`` says it. Closing the iterator stops the model.
    """
    by_hand = preferences is not None
    said = summary(preferences, visit.things) if preferences is not None else message
    if problem := refused(said):
        failed = Turn(said, stage="failed", problem=problem)
        visit.begin(failed)
        yield failed
        return
    turn = Turn(said, by_hand=by_hand)
    run = visit.begin(turn)
    yield turn
    made = _answered(recommender, visit, run, said, preferences, k, min_similarity)
    yield from visit.guarded(run, made, lambda: _failed(visit))


def _answered(
    recommender: Recommender,
    visit: Visit,
    run: int,
    said: str,
    preferences: Preferences | None,
    k: int,
    min_similarity: float,
) -> Iterator[Turn]:
    before, by_hand = visit.conversation, preferences is not None
    asked = before.add(Message("user", said))
    if preferences is not None:
        preferences = _with_marks(preferences, asked)
    elif visit.edited is not None and recommender.route(asked).kind == "recommend":
        preferences = _with_marks(_carried(recommender, visit.edited, before, asked), asked)
    text, shown_at = "", 0.0
    stream = recommender.stream(
        asked, k, preferences=preferences, repeat=by_hand, min_similarity=min_similarity
    )
    with contextlib.closing(cast("Generator[Event, None, None]", stream)) as events:
        for event in events:
            text += event.text
            turn = _take(visit, run, event, text)
            if turn is None:
                return
            if event.kind == "text":
                if time.monotonic() - shown_at < PAUSE:
                    continue
                shown_at = time.monotonic()
            yield turn
    chips = _chips(recommender, visit.conversation)
    if chips and (turn := visit.change(run, chips=chips)):
        yield turn


def _take(visit: Visit, run: int, event: Event, text: str) -> Turn | None:
    """The turn with an event, and with all of its text; None if the run is not the current one."""
    if event.kind == "preferences":
        return visit.change(run, preferences=event.preferences)
    if event.kind == "recommendations":
        return visit.change(run, stage="cards", recommendations=event.recommendations)
    if event.kind == "answer":
        return visit.change(run, answer=event.answer)
    if event.kind == "text":
        return visit.change(run, text=text)
    reply = event.reply
    assert reply is not None
    if reply.route != "recommend":
        visit.change(run, preferences=reply.preferences)
    return visit.change(
        run,
        stage="done",
        text=reply.text,
        route=reply.route,
        confidence=reply.confidence,
        calibrated=reply.calibrated,
    )


def _failed(visit: Visit) -> str:
    shown = visit.turns and visit.turns[-1].recommendations
    return "error_model_cards" if shown else "error_model"


def show_shared(recommender: Recommender, visit: Visit, items: Sequence[str]) -> None:
    """Show a list that somebody shared: as a turn, and as shown in the conversation.

    Parameters
    ----------
    items: ids. Those that the catalogue does not have are left out; without any left, the turn
        says so.
    """
    known = [i for i in dict.fromkeys(items) if i in recommender.catalog]
    if not known:
        visit.begin(Turn("", stage="failed", problem="error_shared", shared=True))
        return
    found = recommender.catalog.get_many(known)
    listed = tuple(Recommendation(item, n, math.nan) for n, item in enumerate(found, 1))
    ui = visit.language
    titles = "; ".join(item.title_in(ui) for item in found)
    visit.begin(Turn("", stage="done", route="shared", recommendations=listed, shared=True))
    # A pair, as chat templates want it; the visitor's part asks for nothing.
    visit.conversation = visit.conversation.add(
        Message("user", say(ui, "hello")), Message("assistant", titles, tuple(known))
    )


def drawn(recommender: Recommender, visit: Visit, dice: random.Random | None = None) -> str:
    """A wish by chance, of which the catalogue holds something that the visitor has not seen."""
    dice = dice or random.Random()
    catalog, ui = recommender.catalog, visit.language
    item = next(iter(catalog.items_at([dice.randrange(len(catalog))])))
    if not item.genres:
        return say(ui, "more_message", visit.things, title=item.title_in(ui))
    what = display_name("genre", dice.choice(item.genres), ui)
    if item.year and item.year >= _OLDEST_DECADE:
        decade = item.year // 10 * 10
        shown = decade if decade >= _NEW else decade % 100
        what = say(ui, "surprise_decade", visit.things, genre=what, decade=shown)
    return say(ui, "surprise_message", visit.things, what=what)


def summary(preferences: Preferences, things: Things = "films") -> str:
    """Corrected preferences in words, in their language, as a turn of the visitor's."""
    language = preferences.language
    themes = [display_name("keyword", k, language).lower() for k in preferences.keywords]
    words = [*wish_labels(wishes(preferences), language, things), *themes]
    if preferences.text:
        words.append(preferences.text)
    return ", ".join(words) or say(language, "edited_none")


def carried(edited: Preferences, before: Preferences, now: Preferences) -> Preferences:
    """Preferences corrected by hand, with what a new message changed.

    Parameters
    ----------
    edited: as the visitor left them.
    before, now: what is understood of the conversation without and with the message.
    """
    out: dict[str, Any] = {"language": now.language}
    for field in dataclasses.fields(Preferences):
        name = field.name
        old, new, kept = getattr(before, name), getattr(now, name), getattr(edited, name)
        if name == "language" or old == new:
            continue
        if isinstance(new, tuple):
            gone = set(old) - set(new)
            out[name] = tuple(v for v in kept if v not in gone) + tuple(
                v for v in new if v not in old and v not in kept
            )
        else:
            out[name] = new
    return dataclasses.replace(edited, **out)


def _carried(
    recommender: Recommender, edited: Preferences, before: Conversation, asked: Conversation
) -> Preferences:
    last = max(i for i, m in enumerate(before.messages) if m.role == "user")
    then = dataclasses.replace(before, messages=before.messages[: last + 1])
    return carried(edited, recommender.understand(then), recommender.understand(asked))


def _with_marks(preferences: Preferences, conversation: Conversation) -> Preferences:
    return dataclasses.replace(
        preferences,
        likes=(*preferences.likes, *conversation.liked),
        dislikes=(*preferences.dislikes, *conversation.disliked),
        seen=(*preferences.seen, *conversation.seen),
    )


def _chips(recommender: Recommender, conversation: Conversation) -> tuple[str, ...]:
    try:
        return tuple(recommender.chips(conversation, CHIPS))
    except LLMRecError as error:
        _log.warning("no chips: %s", error)
        return ()
