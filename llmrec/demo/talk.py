"""Talk hides the screen on which a visitor converses: the log, the composer, the panel."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from html import escape
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from llmrec.answering import MIN_SIMILARITY
from llmrec.demo.cards import log as log_html
from llmrec.demo.cards import panel_head
from llmrec.demo.consent import consent_box
from llmrec.demo.extras import Extras
from llmrec.demo.feedback import Consent, Feedback, asked_for
from llmrec.demo.panel import CONTROLS, Choices, Control, PanelError, choices_of, read, shown
from llmrec.demo.screen import Screen, Updates, told
from llmrec.demo.texts import say
from llmrec.demo.visit import Turn, Visit, answer, drawn
from llmrec.types import Preferences

if TYPE_CHECKING:
    from llmrec.recommender import Recommender

__all__ = ["talk"]

STRIP = 7
_NUMBERS = ("number", "amount")
_LOG = '<div class="lr-log" role="log" aria-label="llmrec" tabindex="0">${value.join("")}</div>'
AT_ONCE = 4


def talk(
    recommender: Recommender,
    visit: gr.State,
    script: str,
    feedback: Feedback,
    consent: gr.State,
    extras: Extras | None = None,
) -> Screen:
    """Lay out the screen in the current Blocks and wire it.

    Parameters
    ----------
    script: for the HTML components: reports clicks as the events "say", "mark" and "language".
    feedback, consent: where what is marked is kept, of visitors who agree.
    extras: where pictures may come from, and whether lists have links.
    """
    return _Talk(recommender, visit, script, feedback, consent, extras or Extras()).screen()


class _Talk:
    """The components of the screen and what they do."""

    def __init__(
        self,
        recommender: Recommender,
        visit: gr.State,
        script: str,
        feedback: Feedback,
        consent: gr.State,
        extras: Extras,
    ) -> None:
        self.recommender, self.visit = recommender, visit
        self.feedback, self.consent, self.extras = feedback, consent, extras
        self._fresh = Visit(things=recommender.things)
        with gr.Row(elem_id="lr-body", equal_height=True):
            with gr.Column(elem_id="lr-chat", min_width=0):
                self._lay_out_chat(script)
            with gr.Column(elem_id="lr-panel", min_width=0):
                self._lay_out_panel(script)
        self._wire()

    def _lay_out_chat(self, script: str) -> None:
        self.log = gr.HTML(
            self._shown_log(self._fresh),
            html_template=_LOG,
            js_on_load=script,
            apply_default_css=False,
            elem_id="lr-log",
        )
        small: dict[str, Any] = {"min_width": 0, "scale": 0}
        with gr.Row(elem_id="lr-composer"):
            self.over = gr.Button(say("en", "over"), elem_id="lr-over", **small)
            self.undo = gr.Button(say("en", "undo"), elem_id="lr-undo", **small)
            self.box = gr.Textbox(
                placeholder=say("en", "placeholder", self._fresh.things),
                label=say("en", "box"),
                show_label=False,
                container=False,
                lines=1,
                max_lines=6,
                autofocus=True,
                elem_id="lr-box",
                scale=1,
                min_width=0,
            )
            self.send = gr.Button(say("en", "send"), variant="primary", elem_id="lr-send", **small)
            self.stop = gr.Button(say("en", "stop"), elem_id="lr-stop", **small)

    def _lay_out_panel(self, script: str) -> None:
        plain: dict[str, Any] = {"apply_default_css": False}
        self.head = gr.HTML(panel_head("en"), js_on_load=script, **plain)
        self.controls = _lay_out(self._offers(self._fresh))
        self.wrong = gr.HTML("", elem_id="lr-wrong", js_on_load=None, **plain)
        self.apply = gr.Button(say("en", "apply"), elem_id="lr-apply")
        self.least = gr.Slider(
            0, 1, MIN_SIMILARITY, step=0.05, label=say("en", "similarity"), elem_id="lr-least"
        )
        self.agreement = consent_box(self.feedback, self.visit, self.consent)

    # -- what is shown ------------------------------------------------------------------------

    def _mine(self, visit: Visit) -> Recommender:
        return visit.recommender(self.recommender)

    def _offers(self, visit: Visit) -> Choices:
        return choices_of(self._mine(visit))

    def _shown_log(self, visit: Visit) -> list[str]:
        popular = self._offers(visit).popular
        return log_html(
            visit,
            popular[:: max(1, len(popular) // STRIP)][:STRIP],
            pictures=self.extras.pictures,
            links=self.extras.links,
        )

    def _filled(self, visit: Visit) -> Updates:
        """The panel, as what was understood last has it."""
        values, choices = shown(visit.preferences), self._offers(visit)
        return {
            self.controls[c.name]: _control_update(c, values[c.name], choices, visit.language)
            for c in CONTROLS
        }

    def texts(self, visit: Visit) -> Updates:
        """All that is said, in the language of the visit and about the catalogue of it."""
        ui, things = visit.language, visit.things
        return {
            self.log: self._shown_log(visit),
            **self._labels(visit),
            self.box: gr.update(placeholder=say(ui, "placeholder", things), label=say(ui, "box")),
            self.send: say(ui, "send"),
            self.stop: say(ui, "stop"),
            self.over: say(ui, "over"),
            self.head: panel_head(ui),
            self.wrong: "",
            self.apply: say(ui, "apply"),
            self.undo: say(ui, "undo"),
            self.least: gr.update(label=say(ui, "similarity")),
            **self.agreement.texts(visit),
        }

    def _labels(self, visit: Visit) -> Updates:
        """Labels and choices of the panel only: what the visitor may be editing there stays."""
        ui, values, choices = visit.language, shown(visit.preferences), self._offers(visit)
        silent = all(turn.shared for turn in visit.turns)
        return {
            self.controls[c.name]: gr.update(
                label=c.label(ui, visit.things),
                **_choices(c, values[c.name], choices, ui),
                visible=choices.offered(c) or bool(values[c.name]),
                # In a tab, Gradio begins an empty number as 0.
                **({"value": None} if silent and c.kind in _NUMBERS else {}),
            )
            for c in CONTROLS
        }

    # -- what happens -------------------------------------------------------------------------

    def _stream(
        self, visit: Visit, turns: Iterator[Turn], box: str | None = None
    ) -> Iterator[Updates]:
        """The steps of an answer as updates; ``box`` goes into the box with the first of them."""
        known: Preferences | None = None
        with contextlib.closing(cast("Generator[Turn, None, None]", turns)) as steps:
            for turn in steps:
                out: Updates = {self.log: self._shown_log(visit)}
                if box is not None and turn.stage != "failed":
                    out[self.box] = box
                    box = None
                if turn.preferences is not None and turn.preferences is not known:
                    known = turn.preferences
                    out |= self._filled(visit)
                    out[self.wrong] = ""
                yield out
        # Gradio sends the last step once more at the end: it must be how things stand then, also
        # after the answer was stopped or another one took over.
        yield {self.log: self._shown_log(visit)}

    def send_box(self, message: str | None, visit: Visit, least: float) -> Iterator[Updates]:
        """Answer what stands in the box."""
        turns = answer(self._mine(visit), visit, message or "", min_similarity=least)
        yield from self._stream(visit, turns, "")

    def send_chip(self, visit: Visit, least: float, event: gr.EventData) -> Iterator[Updates]:
        """Answer a message that stands on a button."""
        said = str(told(event).get("text") or "")
        turns = answer(self._mine(visit), visit, said, min_similarity=least)
        yield from self._stream(visit, turns)

    def send_surprise(self, visit: Visit) -> Iterator[Updates]:
        """Answer a wish by chance."""
        own = self._mine(visit)
        yield from self._stream(visit, answer(own, visit, drawn(own, visit)))

    def look_again(self, visit: Visit, *values: Any) -> Iterator[Updates]:
        """Answer what the panel says now."""
        ui = visit.language
        base = visit.preferences or Preferences(language=ui)
        named = dict(zip((c.name for c in CONTROLS), values, strict=True))
        try:
            preferences = read(named, base, self._mine(visit), ui)
        except PanelError as error:
            yield {self.wrong: f'<p role="alert">{escape(error.sentence(ui, visit.things))}</p>'}
            return
        visit.forget(base, preferences)
        yield from self._stream(visit, answer(self._mine(visit), visit, preferences=preferences))

    def press(self, visit: Visit, agreed: Consent, event: gr.EventData) -> Updates:
        """Mark an item, or take that back."""
        item_id, mark = (str(told(event).get(key)) for key in ("id", "mark"))
        if visit.mark(item_id, mark) and mark != "seen":
            # Of a list that somebody shared, nothing was asked: there asked_for gives nothing.
            asked = asked_for(self._mine(visit), visit, item_id)
            opinion = next((m for m in ("like", "dislike") if m in visit.marks(item_id)), "none")
            if asked is not None:
                model = self.recommender.model.name
                self.feedback.mark(agreed, asked, item_id, opinion, model)
        return {self.log: self._shown_log(visit)}

    def halt(self, visit: Visit) -> Updates:
        """End the answer where it stands."""
        visit.stop()
        return {self.log: self._shown_log(visit)}

    def take_back(self, visit: Visit) -> Updates:
        """Take back the last message, into the box."""
        return self._begun(visit, visit.undo())

    def start_over(self, visit: Visit) -> Updates:
        """Begin anew."""
        visit.clear()
        return self._begun(visit, "")

    def _begun(self, visit: Visit, box: str) -> Updates:
        shown_log = {self.log: self._shown_log(visit)}
        return {**shown_log, **self._filled(visit), self.box: box, self.wrong: ""}

    def _wire(self) -> None:
        visit, log, box = self.visit, self.log, self.box
        panel = [*self.controls.values()]
        around = [log, box, self.wrong, *panel]
        shared: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "trigger_mode": "multiple",
        }
        answering: dict[str, Any] = {
            **shared,
            "outputs": around,
            "concurrency_limit": AT_ONCE,
            "concurrency_id": "answers",
        }
        quick: dict[str, Any] = {**shared, "queue": False}
        gr.on([box.submit, self.send.click], self.send_box, [box, visit, self.least], **answering)
        log.say(self.send_chip, [visit, self.least], **answering)
        log.surprise(self.send_surprise, [visit], **answering)
        self.apply.click(self.look_again, [visit, *panel], **answering)
        log.mark(self.press, [visit, self.consent], [log], **quick)
        self.stop.click(self.halt, [visit], [log], **quick)
        self.undo.click(self.take_back, [visit], around, **quick)
        self.over.click(self.start_over, [visit], around, **quick)

    def screen(self) -> Screen:
        """What the page needs of it."""
        own = [
            self.log, self.box, self.send, self.stop, self.over, self.undo, self.head, self.wrong,
            self.apply, self.least,
        ]  # fmt: skip
        return Screen([*own, *self.controls.values(), *self.agreement.components], self.texts)


def _lay_out(choices: Choices) -> dict[str, Any]:
    """The controls of the panel, two to a row where they are numbers."""
    made: dict[str, Any] = {}
    row: Any = None
    for control in CONTROLS:
        offered = choices.offered(control)
        label = control.label("en", choices.things)
        if control.kind in _NUMBERS:
            if control.name.endswith("_min"):
                row = gr.Row(elem_classes="lr-pair", visible=offered)
            with row:
                made[control.name] = gr.Number(
                    value=None, min_width=0, label=label, visible=offered,
                    elem_id=f"lr-{control.name}",
                )  # fmt: skip
        elif control.kind == "text":
            made[control.name] = gr.Textbox(
                visible=offered, label=label, elem_id=f"lr-{control.name}"
            )
        else:
            made[control.name] = gr.Dropdown(
                choices.of(control, (), "en"), value=[], multiselect=True, filterable=True,
                allow_custom_value=control.kind != "choice", visible=offered,
                label=label, elem_id=f"lr-{control.name}",
            )  # fmt: skip
    return made


def _control_update(control: Control, value: Any, choices: Choices, language: str) -> Any:
    known = control.kind in (*_NUMBERS, "text") or choices.holds(control, value)
    more = {} if known else _choices(control, value, choices, language)
    if not choices.offered(control) and control.kind not in _NUMBERS:
        more["visible"] = bool(value)
    return gr.update(value=value, **more)


def _choices(control: Control, value: Any, choices: Choices, language: str) -> dict[str, Any]:
    if control.kind in (*_NUMBERS, "text"):
        return {}
    return {"choices": choices.of(control, value, language)}
