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
    extras = extras or Extras()
    fresh = Visit(things=recommender.things)
    things = fresh.things

    def mine(visit: Visit) -> Recommender:
        return visit.recommender(recommender)

    def offers(visit: Visit) -> Choices:
        return choices_of(mine(visit))

    def shown_log(visit: Visit) -> list[str]:
        popular = offers(visit).popular
        return log_html(
            visit,
            popular[:: max(1, len(popular) // STRIP)][:STRIP],
            pictures=extras.pictures,
            links=extras.links,
        )

    choices = offers(fresh)
    with gr.Row(elem_id="lr-body", equal_height=True):
        with gr.Column(elem_id="lr-chat", min_width=0):
            log = gr.HTML(
                shown_log(fresh),
                html_template=_LOG,
                js_on_load=script,
                apply_default_css=False,
                elem_id="lr-log",
            )
            with gr.Row(elem_id="lr-composer"):
                small: dict[str, Any] = {"min_width": 0, "scale": 0}
                over = gr.Button(say("en", "over"), elem_id="lr-over", **small)
                undo = gr.Button(say("en", "undo"), elem_id="lr-undo", **small)
                box = gr.Textbox(
                    placeholder=say("en", "placeholder", things),
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
                send = gr.Button(say("en", "send"), variant="primary", elem_id="lr-send", **small)
                stop = gr.Button(say("en", "stop"), elem_id="lr-stop", **small)
        with gr.Column(elem_id="lr-panel", min_width=0):
            head = gr.HTML(panel_head("en"), js_on_load=script, apply_default_css=False)
            controls = _lay_out(choices)
            wrong = gr.HTML("", elem_id="lr-wrong", apply_default_css=False, js_on_load=None)
            apply = gr.Button(say("en", "apply"), elem_id="lr-apply")
            least = gr.Slider(
                0, 1, MIN_SIMILARITY, step=0.05, label=say("en", "similarity"), elem_id="lr-least"
            )

            agreement = consent_box(feedback, visit, consent)

    def filled(visit: Visit) -> Updates:
        """The panel, as what was understood last has it."""
        values, choices = shown(visit.preferences), offers(visit)
        return {
            controls[c.name]: _control_update(c, values[c.name], choices, visit.language)
            for c in CONTROLS
        }

    def texts(visit: Visit) -> Updates:
        ui, things = visit.language, visit.things
        values, choices = shown(visit.preferences), offers(visit)
        silent = all(turn.shared for turn in visit.turns)
        return {
            log: shown_log(visit),
            # Labels and choices only: what the visitor may be editing there stays.
            **{
                controls[c.name]: gr.update(
                    label=c.label(ui, things),
                    **_choices(c, values[c.name], choices, ui),
                    visible=choices.offered(c) or bool(values[c.name]),
                    # In a tab, Gradio begins an empty number as 0.
                    **({"value": None} if silent and c.kind in _NUMBERS else {}),
                )
                for c in CONTROLS
            },
            box: gr.update(placeholder=say(ui, "placeholder", things), label=say(ui, "box")),
            send: say(ui, "send"),
            stop: say(ui, "stop"),
            over: say(ui, "over"),
            head: panel_head(ui),
            wrong: "",
            apply: say(ui, "apply"),
            undo: say(ui, "undo"),
            least: gr.update(label=say(ui, "similarity")),
            **agreement.texts(visit),
        }

    def stream(visit: Visit, turns: Iterator[Turn], box_value: str | None) -> Iterator[Updates]:
        """The steps of an answer as updates; ``box_value`` goes into the box with the first one."""
        known: Preferences | None = None
        with contextlib.closing(cast("Generator[Turn, None, None]", turns)) as steps:
            for turn in steps:
                out: Updates = {log: shown_log(visit)}
                if box_value is not None and turn.stage != "failed":
                    out[box] = box_value
                    box_value = None
                if turn.preferences is not None and turn.preferences is not known:
                    known = turn.preferences
                    out |= filled(visit)
                    out[wrong] = ""
                yield out
        # Gradio sends the last step once more at the end: it must be how things stand then, also
        # after the answer was stopped or another one took over.
        yield {log: shown_log(visit)}

    def send_box(message: str | None, visit: Visit, least: float) -> Iterator[Updates]:
        turns = answer(mine(visit), visit, message or "", min_similarity=least)
        yield from stream(visit, turns, "")

    def send_chip(visit: Visit, least: float, event: gr.EventData) -> Iterator[Updates]:
        said = str(told(event).get("text") or "")
        yield from stream(visit, answer(mine(visit), visit, said, min_similarity=least), None)

    def send_surprise(visit: Visit) -> Iterator[Updates]:
        yield from stream(
            visit,
            answer(mine(visit), visit, drawn(mine(visit), visit)),
            None,
        )

    def look_again(visit: Visit, *values: Any) -> Iterator[Updates]:
        ui = visit.language
        base = visit.preferences or Preferences(language=ui)
        named = dict(zip((c.name for c in CONTROLS), values, strict=True))
        try:
            preferences = read(named, base, mine(visit), ui)
        except PanelError as error:
            yield {wrong: f'<p role="alert">{escape(error.sentence(ui, visit.things))}</p>'}
            return
        visit.forget(base, preferences)
        yield from stream(visit, answer(mine(visit), visit, preferences=preferences), None)

    def press(visit: Visit, agreed: Consent, event: gr.EventData) -> Updates:
        item_id, mark = (str(told(event).get(key)) for key in ("id", "mark"))
        if visit.mark(item_id, mark) and mark != "seen":
            # Of a list that somebody shared, nothing was asked: there asked_for gives nothing.
            asked = asked_for(mine(visit), visit, item_id)
            opinion = next((m for m in ("like", "dislike") if m in visit.marks(item_id)), "none")
            if asked is not None:
                feedback.mark(agreed, asked, item_id, opinion, recommender.model.name)
        return {log: shown_log(visit)}

    def halt(visit: Visit) -> Updates:
        visit.stop()
        return {log: shown_log(visit)}

    def take_back(visit: Visit) -> Updates:
        said = visit.undo()
        return {log: shown_log(visit), **filled(visit), box: said, wrong: ""}

    def start_over(visit: Visit) -> Updates:
        visit.clear()
        return {log: shown_log(visit), **filled(visit), box: "", wrong: ""}

    panel = list(controls.values())
    shared: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    answering: dict[str, Any] = {
        **shared,
        "outputs": [log, box, wrong, *panel],
        "concurrency_limit": AT_ONCE,
        "concurrency_id": "answers",
        "trigger_mode": "multiple",
    }
    at_once: dict[str, Any] = {
        **shared,
        "inputs": [visit],
        "queue": False,
        "trigger_mode": "multiple",
    }
    gr.on([box.submit, send.click], send_box, [box, visit, least], **answering)
    log.say(send_chip, [visit, least], **answering)
    log.surprise(send_surprise, [visit], **answering)
    apply.click(look_again, [visit, *panel], **answering)
    log.mark(press, outputs=[log], **{**at_once, "inputs": [visit, consent]})
    stop.click(halt, outputs=[log], **at_once)
    undo.click(take_back, outputs=[log, box, wrong, *panel], **at_once)
    over.click(start_over, outputs=[log, box, wrong, *panel], **at_once)
    own = [log, box, send, stop, over, undo, head, wrong, apply, least]
    return Screen([*own, *panel, *agreement.components], texts)


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
