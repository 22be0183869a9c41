"""Compare hides the screen on which two contestants answer side by side and are voted on blind."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import gradio as gr

from llmrec.demo.board import board, named, tallies
from llmrec.demo.consent import consent_box
from llmrec.demo.feedback import Consent, Feedback
from llmrec.demo.feedback_rows import CHOICES, REASONS
from llmrec.demo.marks import marks_of
from llmrec.demo.match import Match, Round, as_asked, play
from llmrec.demo.rivals import embedded_contestants, over
from llmrec.demo.screen import Screen, Updates, told
from llmrec.demo.talk import AT_ONCE
from llmrec.demo.texts import Words, say
from llmrec.demo.visit import Visit
from llmrec.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmrec.recommender import Recommender

__all__ = ["compare", "embedded_contestants"]

_BOARD = '<div class="lr-log lr-board" role="log">${value.join("")}</div>'
_SHOW = """() => document.querySelector('.lr-round:last-child')?.scrollIntoView({
  behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'})"""

_say = Words("compare")


def compare(
    contestants: Mapping[str, Recommender],
    visit: gr.State,
    script: str,
    feedback: Feedback,
    consent: gr.State | None = None,
    pictures: Sequence[str] = (),
) -> Screen:
    """Lay out the screen in the current Blocks and wire it.

    A visitor with an own catalogue compares the same contestants over that one; nothing of it is
    kept as feedback.

    Parameters
    ----------
    contestants: two or more, by the names that visitors get to see; all with one catalogue.
    script: for the HTML of the lists, as ``talk`` takes it.
    feedback: where marks and votes are kept, of visitors who agree.
    consent: holds a ``Consent`` that other screens ask too, and that has its box elsewhere. None:
        the screen has its own, with its box.
    pictures: hosts from which pictures of items may be shown.

    Raises
    ------
    InputError: fewer than two contestants, or different catalogues.
    """
    _check(contestants)
    return _Compare(contestants, visit, script, feedback, consent, pictures).screen()


class _Compare:
    """The components of the screen and what they do."""

    def __init__(
        self,
        contestants: Mapping[str, Recommender],
        visit: gr.State,
        script: str,
        feedback: Feedback,
        consent: gr.State | None,
        pictures: Sequence[str],
    ) -> None:
        self.contestants, self.feedback, self.visit = contestants, feedback, visit
        self._pictures = pictures
        self.match = gr.State(Match())
        self.consent = gr.State(Consent()) if consent is None else consent
        self._reader = next(iter(contestants.values()))
        self._fresh = Visit(things=self._reader.things)
        self._match_of: WeakKeyDictionary[Visit, Match] = WeakKeyDictionary()
        # By what answers over an own catalogue, so that they go when that goes.
        self._over: WeakKeyDictionary[Recommender, Mapping[str, Recommender]]
        self._over = WeakKeyDictionary()
        self._boxed: list[Screen] = []
        with gr.Column(elem_id="lr-compare", min_width=0):
            self._lay_out_match(script)
            self._lay_out_ask()
            self.tally = self._html("")
            if consent is None:
                self._boxed.append(consent_box(feedback, visit, self.consent))
        self._wire()

    def _html(self, value: str) -> gr.HTML:
        return gr.HTML(value, apply_default_css=False, js_on_load=None)

    def _lay_out_match(self, script: str) -> None:
        self.head = self._html(_head(self._fresh))
        self.who = gr.Accordion(_say("en", "who"), open=False, elem_id="lr-who")
        with self.who, gr.Row(elem_id="lr-contestants"):
            self.seats = [
                gr.Dropdown(
                    _seats(self.contestants, "en"), value="", label=_say("en", seat),
                    elem_id=f"lr-{seat}", min_width=0, filterable=False,
                )
                for seat in ("first", "second")
            ]  # fmt: skip
        with self.who:
            self.streamed = gr.Checkbox(False, label=_say("en", "streamed"), elem_id="lr-streamed")
        self.board = gr.HTML(
            self._board(self._fresh, Match()), html_template=_BOARD, js_on_load=script,
            apply_default_css=False, elem_id="lr-board",
        )  # fmt: skip
        with gr.Column(visible=False, elem_id="lr-ballot", min_width=0) as self.ballot:
            self.reasons = gr.CheckboxGroup(
                _reasons("en"), label=_say("en", "reasons"), elem_id="lr-reasons"
            )
            with gr.Row(elem_id="lr-votes"):
                self.votes = {
                    v: gr.Button(_say("en", f"vote_{v}"), elem_id=f"lr-vote-{v}", min_width=0)
                    for v in CHOICES
                }

    def _lay_out_ask(self) -> None:
        small: dict[str, Any] = {"min_width": 0, "scale": 0}
        with gr.Row(elem_id="lr-ask"):
            self.again = gr.Button(_say("en", "again"), elem_id="lr-again", **small)
            self.box = gr.Textbox(
                placeholder=say("en", "placeholder", self._fresh.things), label=say("en", "box"),
                show_label=False, container=False, lines=1, max_lines=6, scale=1, min_width=0,
                elem_id="lr-ask-box",
            )  # fmt: skip
            self.send = gr.Button(
                say("en", "send"), variant="primary", elem_id="lr-ask-send", **small
            )
            self.halt = gr.Button(say("en", "stop"), elem_id="lr-ask-stop", **small)

    # -- what is shown ------------------------------------------------------------------------

    def texts(self, visit: Visit) -> Updates:
        """All that is said, in the language of the visit and about the catalogue of it."""
        match = self._match_of.get(visit, Match())
        self._about(visit, match)
        out = self._labels(visit) | self._around(visit, match)
        for screen in self._boxed:
            out.update(screen.texts(visit))
        return out

    def _labels(self, visit: Visit) -> Updates:
        """What does not depend on the comparison."""
        ui = visit.language
        return {
            self.head: _head(visit),
            self.who: gr.update(label=_say(ui, "who")),
            **{
                seat: gr.update(label=_say(ui, name), choices=_seats(self.contestants, ui))
                for seat, name in zip(self.seats, ("first", "second"), strict=True)
            },
            self.streamed: gr.update(label=_say(ui, "streamed")),
            self.reasons: gr.update(label=_say(ui, "reasons"), choices=_reasons(ui)),
            **{button: _say(ui, f"vote_{v}") for v, button in self.votes.items()},
            self.box: gr.update(
                placeholder=say(ui, "placeholder", visit.things), label=say(ui, "box")
            ),
            self.send: say(ui, "send"),
            self.halt: say(ui, "stop"),
            self.again: _say(ui, "again"),
        }

    def _board(self, visit: Visit, match: Match) -> list[str]:
        return board(visit, match, self._pictures)

    def _around(self, visit: Visit, match: Match) -> Updates:
        """The lists, and what stands around them."""
        return {
            self.board: self._board(visit, match),
            self.ballot: gr.update(visible=match.open),
            self.tally: tallies(visit, match, self.feedback.tally()) + self._agree(visit, match),
        }

    def _agree(self, visit: Visit, match: Match) -> str:
        """Where a visitor who votes can let that be kept."""
        if not match.tally.counts or self._boxed or not self.feedback.keeps or visit.other():
            return ""
        ui = visit.language
        where = _say(ui, "agree", talk=say(ui, "tab_talk"))
        return f'<p class="lr-note">{escape(where)}</p>'

    # -- who answers --------------------------------------------------------------------------

    def _about(self, visit: Visit, match: Match) -> None:
        """Begin anew where the visitor's catalogue is another by now, brought or gone."""
        match.about(visit.recommender(self._reader).catalog.fingerprint)

    def _rivals(self, visit: Visit) -> Mapping[str, Recommender]:
        """The contestants, over the visitor's own catalogue where answers come from that."""
        own = visit.other()
        if own is None:
            return self.contestants
        if own not in self._over:
            self._over[own] = over(self.contestants, own)
        return self._over[own]

    # -- what happens -------------------------------------------------------------------------

    def answer(
        self,
        message: str | None,
        visit: Visit,
        match: Match,
        first: str,
        second: str,
        early: bool,
    ) -> Iterator[Updates]:
        """Let both answer what stands in the box."""
        yield from self._answers(message or "", visit, match, (first, second), early, "")

    def answer_chip(
        self,
        visit: Visit,
        match: Match,
        first: str,
        second: str,
        early: bool,
        event: gr.EventData,
    ) -> Iterator[Updates]:
        """Let both answer an example."""
        said = str(told(event).get("text") or "")
        yield from self._answers(said, visit, match, (first, second), early, None)

    def _answers(
        self,
        said: str,
        visit: Visit,
        match: Match,
        seats: Sequence[str],
        early: bool,
        box: str | None,
    ) -> Iterator[Updates]:
        """The steps of a round; ``box`` goes into the box with the first that is an answer."""
        self._match_of[visit] = match
        self._about(visit, match)
        chosen = [n for n in seats if n in self.contestants]
        steps = play(lambda: self._rivals(visit), match, said, chosen, streamed=bool(early))
        with contextlib.closing(cast("Generator[Round, None, None]", steps)) as rounds:
            for round_ in rounds:
                out: Updates = {self.board: self._board(visit, match)}
                if box is not None and round_.stage not in ("thinking", "failed"):
                    out[self.box] = box
                    box = None
                yield out
        # Gradio sends the last step once more at the end: it must be how things stand then.
        yield {self.board: self._board(visit, match)}

    def settled(self, visit: Visit, match: Match) -> Updates:
        """Once the lists are there, voted on, or cleared."""
        return self._around(visit, match) | {self.reasons: []}

    def vote(
        self,
        choice: str,
        visit: Visit,
        match: Match,
        consent: Consent,
        why: Sequence[str] | None,
    ) -> Updates:
        """Count a vote, and keep it."""
        self._about(visit, match)
        voted = match.vote(choice, why or ())
        if voted is not None and voted.vote and consent.given and visit.other() is None:
            a, b = ((s.name, s.ids) for s in voted.sides)
            asked = as_asked(self.contestants, voted)
            match.told(self.feedback.vote(consent, asked, a, b, voted.vote, voted.reasons))
        return self.settled(visit, match)

    def press(self, visit: Visit, match: Match, consent: Consent, event: gr.EventData) -> Updates:
        """Mark an item, or take that back."""
        self._about(visit, match)
        item_id, mark = (str(told(event).get(key)) for key in ("id", "mark"))
        shown = match.mark(item_id, mark)
        if shown is not None and mark != "seen" and visit.other() is None:
            marks = marks_of(match.conversation, item_id)
            opinion = next((m for m in ("like", "dislike") if m in marks), "none")
            by = ", ".join(s.name for s in shown.sides if item_id in s.ids)
            asked = as_asked(self.contestants, shown)
            self.feedback.mark(consent, asked, item_id, opinion, by)
        return {self.board: self._board(visit, match)}

    def stop(self, visit: Visit, match: Match) -> Updates:
        """End the answers where they stand."""
        match.stop()
        return self.settled(visit, match)

    def start_over(self, visit: Visit, match: Match) -> Updates:
        """Begin with another pair."""
        match.clear()
        return self.settled(visit, match)

    def _wire(self) -> None:
        shared: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "trigger_mode": "multiple",
        }
        around = [self.board, self.ballot, self.reasons, self.tally]
        quick: dict[str, Any] = {**shared, "outputs": around, "queue": False}
        answering: dict[str, Any] = {
            **shared,
            "outputs": [self.board, self.box],
            "concurrency_limit": AT_ONCE,
            "concurrency_id": "answers",
        }
        state: list[Any] = [self.visit, self.match]
        how = [*self.seats, self.streamed]
        sent = [self.box.submit, self.send.click]
        asked = gr.on(sent, self.answer, [self.box, *state, *how], **answering)
        begun = self.board.say(self.answer_chip, [*state, *how], **answering)
        for answered in (asked, begun):
            answered.then(self.settled, state, **quick).then(None, js=_SHOW, **shared)
        hidden: dict[str, Any] = {**quick, "outputs": [self.ballot]}
        gr.on(sent, lambda: gr.update(visible=False), None, **hidden)
        for v, button in self.votes.items():
            said = [*state, self.consent, self.reasons]
            button.click(functools.partial(self.vote, v), said, **quick)
        self.board.mark(self.press, [*state, self.consent], **{**quick, "outputs": [self.board]})
        self.halt.click(self.stop, state, **quick)
        self.again.click(self.start_over, state, **quick)

    def screen(self) -> Screen:
        """What the page needs of it."""
        own = [*self._labels(self._fresh), self.board, self.ballot, self.tally]
        return Screen([*own, *(c for s in self._boxed for c in s.components)], self.texts)


def _check(contestants: Mapping[str, Recommender]) -> None:
    if len(contestants) < 2:
        raise InputError(
            f"{len(contestants)} contestant was given: name at least two to be compared"
        )
    first, *others = contestants.items()
    for name, recommender in others:
        if recommender.catalog.fingerprint != first[1].catalog.fingerprint:
            raise InputError(
                f"the contestants {first[0]!r} and {name!r} have different catalogues: give both "
                "the same, as they must answer the same wishes"
            )


def _seats(contestants: Mapping[str, Recommender], language: str) -> list[tuple[str, str]]:
    return [
        (_say(language, "drawn"), ""),
        *((named(name, language), name) for name in contestants),
    ]


def _reasons(language: str) -> list[tuple[str, str]]:
    return [(_say(language, r), r) for r in REASONS]


def _head(visit: Visit) -> str:
    ui = visit.language
    return (
        f'<div class="lr-compare-head"><h2>{escape(_say(ui, "title"))}</h2>'
        f"<p>{escape(_say(ui, 'lead'))}</p></div>"
    )
