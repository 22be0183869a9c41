# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Inside hides the screen that shows how a turn was answered: what was read, kept, searched."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context, get_render_context

from llmrec.demo.anatomy import anatomy
from llmrec.demo.inspection import Inspection, Inspector, Stopped
from llmrec.demo.screen import Screen, Updates
from llmrec.demo.texts import Words, say
from llmrec.demo.visit import Visit
from llmrec.errors import LLMRecError

if TYPE_CHECKING:
    from llmrec.recommender import Recommender

__all__ = ["inside"]

MAX_SAID = 90  # characters of a message in the list of turns
_log = logging.getLogger(__name__)

_say = Words("inside")


@dataclass(frozen=True)
class _Looked:
    """A turn that was looked at, what had been said then, and what answered it."""

    number: int
    said: tuple[str, ...]
    made: Inspection
    by: Recommender


class _Look:
    """A visitor's look into a turn: what runs, and what was seen last.

    Attributes
    ----------
    run: the number of the one that runs, or ran last; an older one ends.
    running: whether it runs. problem: the key of what became of it where it gave nothing.
    seen: what it gave, to tell it in another language.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.run = 0
        self.running = False
        self.problem = ""
        self.seen: _Looked | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Look:
        """A fresh one: how the page gives each visitor an own one."""
        return _Look()

    def begin(self) -> int:
        """Start a run, which ends the one before, and return its number."""
        with self._lock:
            self.run += 1
            self.running, self.problem = True, ""
            return self.run

    def end(self, run: int, seen: _Looked | None, problem: str = "") -> None:
        """Note what a run gave, unless another one has begun."""
        with self._lock:
            if run == self.run:
                self.running, self.problem, self.seen = False, problem, seen

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            if self.running:
                self.run += 1
                self.running, self.problem, self.seen = False, "stopped", None


def inside(recommender: Recommender, visit: gr.State) -> Screen:
    """Lay out the screen in the current Blocks and wire it."""
    return _Inside(recommender, visit).screen()


class _Inside:
    """The components of the screen and what they do."""

    def __init__(self, recommender: Recommender, visit: gr.State) -> None:
        self.recommender, self.visit = recommender, visit
        self._inspector = Inspector(recommender)
        self._sessions: weakref.WeakValueDictionary[str, _Look] = weakref.WeakValueDictionary()
        plain: dict[str, Any] = {"apply_default_css": False, "js_on_load": None}
        button: dict[str, Any] = {"scale": 0, "interactive": False}
        with gr.Column(elem_id="lr-inside", elem_classes="lr-screen", min_width=0):
            self.head = gr.HTML(_head("en"), elem_id="lr-i-head", **plain)
            with gr.Row(elem_classes="lr-m-tools"):
                self.turn = gr.Dropdown(
                    [], label=_say("en", "turn"), elem_id="lr-i-turn", min_width=240, scale=3
                )
                self.look = gr.Button(_say("en", "look"), elem_id="lr-i-look", **button)
                self.stop = gr.Button(say("en", "stop"), elem_id="lr-i-stop", **button)
            self.status = gr.HTML(_status(_say("en", "none")), elem_id="lr-i-status", **plain)
            self.shown = gr.HTML("", elem_id="lr-i-shown", **plain)
        self.own = gr.State(_Look(), delete_callback=_Look.stop)
        self._here = [self.stop, self.status, self.shown]
        self._wire()

    # -- what is shown ------------------------------------------------------------------------

    def _seen(self, visit: Visit, own: _Look) -> _Looked | None:
        """What was seen last, while nothing else was said and the catalogue is the same."""
        last = own.seen
        if last and last.said == _said(visit) and last.by is visit.recommender(self.recommender):
            return last
        own.seen = None
        return None

    def _stands(self, visit: Visit, own: _Look) -> Updates:
        """How things stand: what runs, what was seen, what went wrong."""
        ui, problem, kept = visit.language, own.problem, self._seen(visit, own)
        told = ""
        if own.running:
            told = _say(ui, "waiting")
        elif problem == "stopped":
            told = say(ui, "stopped")
        note = _status(told if any(_said(visit)) else _say(ui, "none"))
        return {
            self.stop: gr.update(interactive=own.running),
            self.status: _alert(_say(ui, "failed")) if problem == "failed" else note,
            self.shown: anatomy(kept.made, kept.by, ui) if kept and not own.running else "",
        }

    def texts(self, visit: Visit) -> Updates:
        """Labels; the rest follows by the change of the head."""
        ui = visit.language
        return {
            self.head: _head(ui),
            self.turn: gr.update(label=_say(ui, "turn")),
            self.look: gr.update(value=_say(ui, "look")),
            self.stop: gr.update(value=say(ui, "stop")),
        }

    # -- what happens -------------------------------------------------------------------------

    def arrive(self, visit: Visit, own: _Look) -> Updates:
        """The turns as they now are; what was looked at stays until more is said."""
        said, kept = _said(visit), self._seen(visit, own)
        asked = [(f"{n + 1}. {_short(t)}", n) for n, t in enumerate(said) if t]  # a list shared: ""
        chosen = kept.number if kept else asked[-1][1] if asked else None
        return {
            self.turn: gr.update(choices=asked, value=chosen),
            self.look: gr.update(interactive=bool(asked)),
            **self._stands(visit, own),
        }

    def press(
        self, visit: Visit, chosen: int | None, own: _Look, request: gr.Request
    ) -> Iterator[Updates]:
        """Look into a turn."""
        said, run = _said(visit), own.begin()
        self._sessions[str(request.session_hash)] = own
        yield self._stands(visit, own)
        looked, problem = None, ""
        try:
            number = -1 if chosen is None else int(chosen)
            looked = self._looked(
                visit, number, said, lambda: own.run != run or _said(visit) != said
            )
        except Stopped:
            pass  # the button has said so; what else ends a look needs no words
        except Exception as error:
            problem = "failed"
            if not isinstance(error, LLMRecError):
                _log.exception("a turn cannot be looked into")
        finally:  # also where the visitor has left
            own.end(run, looked, problem)
        yield self._stands(visit, own)

    def _looked(
        self, visit: Visit, number: int, said: tuple[str, ...], stopped: Callable[[], bool]
    ) -> _Looked:
        by = visit.recommender(self.recommender)
        look_into = self._inspector if by is self.recommender else Inspector(by)
        made = look_into(visit, number, stopped=stopped)
        anatomy(made, by, visit.language)  # what cannot be shown fails here, where that is told
        return _Looked(number, said, made, by)

    def halt(self, visit: Visit, own: _Look) -> Updates:
        """End what runs."""
        own.stop()
        return self._stands(visit, own)

    def leave(self, request: gr.Request) -> None:
        """End what runs for a visitor who has closed the page."""
        if (own := self._sessions.pop(str(request.session_hash), None)) is not None:
            own.stop()

    def _wire(self) -> None:
        shared: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "trigger_mode": "multiple",
        }
        quick = {**shared, "queue": False}
        state, all_of_it = [self.visit, self.own], [self.turn, self.look, *self._here]
        tab = get_render_context()
        if isinstance(tab, gr.Tab):
            tab.select(self.arrive, state, all_of_it, **quick)
        self.head.change(self.arrive, state, all_of_it, **quick)
        asked = [self.visit, self.turn, self.own]
        self.look.click(self.press, asked, self._here, concurrency_id="answers", **shared)
        self.stop.click(self.halt, state, self._here, **quick)
        if Context.root_block is not None:
            Context.root_block.unload(self.leave)

    def screen(self) -> Screen:
        """What the page needs of it."""
        return Screen([self.head, self.turn, self.look, *self._here], self.texts)


def _said(visit: Visit) -> tuple[str, ...]:
    return tuple(t.said for t in visit.turns)


def _short(said: str) -> str:
    return said if len(said) <= MAX_SAID else said[: MAX_SAID - 1] + "…"


def _head(ui: str) -> str:
    return f'<h2 class="lr-h">{escape(_say(ui, "head"))}</h2><p class="lr-lead">{escape(_say(ui, "lead"))}</p>'


def _alert(said: str) -> str:
    return f'<p class="lr-problem" role="alert">{escape(said)}</p>'


def _status(said: str) -> str:
    return f'<p class="lr-note" role="status" aria-live="polite">{escape(said)}</p>'


# -- what is shown ------------------------------------------------------------------------------
