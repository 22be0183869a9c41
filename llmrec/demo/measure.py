# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Measure hides the screen of evaluation runs: tables of systems, drawings, and single examples."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import get_render_context

from llmrec.demo.cases import Case
from llmrec.demo.example_run import ExampleRun
from llmrec.demo.hostile import Problem
from llmrec.demo.measured import Group, Shelf
from llmrec.demo.scoreboard import LEAST, case, columns_of, names_of, ordered, plots, table
from llmrec.demo.screen import Screen, Updates, told
from llmrec.demo.texts import Words, number
from llmrec.demo.visit import Visit
from llmrec.errors import InputError

__all__ = ["View", "measure"]

PER_PAGE = 10
FILTERS = ("system", "result", "language", "kind")
CONTROLS = ("group", "target", *FILTERS, "search")
BUTTONS = ("again", "try", "previous", "next")
COMMANDS = {
    "answers": (
        "python eval/questions.py --catalog embedded --out data/questions",
        "python eval/answers.py --questions data/questions/validation.jsonl --out runs/answers",
    ),
    "lists": (
        "python train/prepare.py redial path/to/redial --out data/redial",
        "python eval/run.py --data data/redial --limit 200 --out runs/lists",
    ),
}

_say = Words("measure")


@dataclass(frozen=True)
class View:
    """What a visitor looks at, beside what the controls say.

    Attributes
    ----------
    sort: the column that the table is ordered by; "" for the first one. up: the smallest first.
    page: of the examples, from 0.
    """

    sort: str = ""
    up: bool = False
    page: int = 0


@dataclass(frozen=True)
class _Asked:
    """What the controls say."""

    group: str = ""
    target: str = "new"
    system: str = ""
    result: str = ""
    language: str = ""
    kind: str = ""
    search: str = ""


def measure(
    runs: Path | None, visit: gr.State, script: str, example: ExampleRun | None = None
) -> Screen:
    """Lay out the screen in the current Blocks and wire it.

    Parameters
    ----------
    runs: a folder in which evaluation runs are looked for, three levels deep.
    script: for the HTML components: reports a press on a head of the table as the event "say".
    example: the small run that may be made where there is none; None: one of the embedded films.
    """
    return _Measure(runs, visit, script, example or ExampleRun()).screen()


class _Measure:
    """The components of the screen and what they do."""

    def __init__(
        self, runs: Path | None, visit: gr.State, script: str, example: ExampleRun
    ) -> None:
        self.visit, self.example = visit, example
        self.shelf = Shelf([*([runs] if runs else []), example.folder])
        self.made: dict[str, Any] = {}
        with gr.Column(elem_id="lr-measure", elem_classes="lr-screen", min_width=0):
            self._html("head", _head("en"))
            with gr.Column(visible=True, elem_classes="lr-m-empty", min_width=0) as empty:
                self._html("empty", _empty("en"))
                self._button("try")
                self._html("doing", _line(""))
            with gr.Column(visible=False, min_width=0) as body:
                self._lay_out_table(script)
                self._lay_out_cases()
            self.made |= {"empty_part": empty, "body": body}
            self._html("problems", "")
        self.view = gr.State(View())
        self._wire()

    # -- the layout: all is empty, and filled when it is shown ----------------------------------

    def _html(self, name: str, value: str, script: str | None = None) -> None:
        self.made[name] = gr.HTML(
            value, elem_id=f"lr-m-{name}", apply_default_css=False, js_on_load=script
        )

    def _button(self, name: str, **more: Any) -> None:
        self.made[name] = gr.Button(_say("en", name), elem_id=f"lr-m-{name}", **more)

    def _control(self, kind: Any, name: str, **more: Any) -> None:
        self.made[name] = kind(label=_label("en", name), elem_id=f"lr-m-{name}", **more)

    def _lay_out_table(self, script: str) -> None:
        with gr.Row(elem_classes="lr-m-tools"):
            self._control(gr.Dropdown, "group", choices=[], min_width=220, scale=3)
            self._control(gr.Radio, "target", choices=[], min_width=220, scale=2)
            self._button("again", min_width=120, scale=0)
        self._html("table", "", script)
        self._html("plots", "")

    def _lay_out_cases(self) -> None:
        self._html("title", _title("en"))
        with gr.Row(elem_classes="lr-m-tools"):
            for name in FILTERS:
                self._control(gr.Dropdown, name, choices=[], min_width=130)
            self._control(gr.Textbox, "search", min_width=200, max_length=100)
        self._html("cases", "")
        with gr.Row(elem_classes="lr-m-pages"):
            for name in ("previous", "next"):
                self._button(name, min_width=0, scale=0)

    # -- what is shown ------------------------------------------------------------------------

    def texts(self, visit: Visit) -> Updates:
        """Labels; what depends on the visitor's choices follows by the change of the head."""
        ui, made = visit.language, self.made
        return {
            made["head"]: _head(ui),
            made["empty"]: _empty(ui),
            made["title"]: _title(ui),
            **{made[n]: gr.update(label=_label(ui, n)) for n in CONTROLS},
            **{made[n]: gr.update(value=_say(ui, n)) for n in BUTTONS},
        }

    def _picture(self, ui: str, view: View, asked: _Asked) -> Updates:
        """The whole screen as the runs now are."""
        made = self.made
        groups, problems = self.shelf.look()
        out: Updates = {
            made["empty_part"]: gr.update(visible=not groups),
            made["body"]: gr.update(visible=bool(groups)),
            made["try"]: gr.update(interactive=self.example.state != "running"),
            made["doing"]: _doing(self.example, ui),
            made["problems"]: _problems(problems, ui),
        }
        group = _chosen(groups, asked.group)
        if group is None:
            return out
        asked = dataclasses.replace(asked, group=group.key, target=asked.target or "new")
        out[made["group"]] = gr.update(
            choices=[(name, g.key) for name, g in zip(names_of(groups, ui), groups, strict=True)],
            value=group.key,
        )
        targets = [(_say(ui, f"target_{t}"), t) for t in ("new", "all")]
        out[made["target"]] = gr.update(
            choices=targets, value=asked.target, visible=group.kind == "lists"
        )
        cases, lost = self._read(group)
        out[made["problems"]] = _problems([*problems, *lost], ui)
        asked, controls = self._filters(ui, group, cases, asked)
        out |= controls | self._table(ui, view, asked)
        return out | self._cases(ui, view, asked)[0]

    def _read(self, group: Group) -> tuple[list[Case], list[Problem]]:
        try:
            return self.shelf.cases(group)
        except InputError:  # a folder that went away meanwhile
            return [], [Problem("damaged", group.data)]

    def _filters(
        self, ui: str, group: Group, cases: Sequence[Case], asked: _Asked
    ) -> tuple[_Asked, Updates]:
        """The controls of the examples, and what they say where it is no longer there."""
        given = dict.fromkeys(label for c in cases for label in c.given)
        systems = [r.label for r in group.rows if r.label in given]
        known = {
            "system": [(s, s) for s in systems],
            "result": [(_say(ui, f"result_{r or 'all'}"), r) for r in ("", "right", "wrong")],
            "language": [(_say(ui, "any"), "")]
            + [(x, x) for x in sorted({c.language for c in cases if c.language})],
            "kind": [(_say(ui, "any"), "")]
            + [(_say(ui, k), k) for k in dict.fromkeys(c.kind for c in cases) if k in _say],
        }
        kept = {}
        for name, choices in known.items():
            values = [v for _, v in choices]
            value = getattr(asked, name)
            kept[name] = value if value in values else (values[0] if values else "")
        updates = {self.made[n]: gr.update(choices=c, value=kept[n]) for n, c in known.items()}
        return dataclasses.replace(asked, **kept), updates

    def _table(self, ui: str, view: View, asked: _Asked) -> Updates:
        group = _chosen(self.shelf.look()[0], asked.group)
        if group is None:
            return {}
        columns = columns_of(group, asked.target)
        sort = view.sort if view.sort in columns else columns[0] if columns else ""
        rows = ordered(group.rows, sort, view.up)
        return {
            self.made["table"]: table(group, rows, columns, sort, view.up, ui),
            self.made["plots"]: plots(group, rows, sort, asked.target, ui),
        }

    def _cases(self, ui: str, view: View, asked: _Asked) -> tuple[Updates, int]:
        """The examples that are asked for, and their page."""
        group = _chosen(self.shelf.look()[0], asked.group)
        if group is None:
            return {}, 0
        chosen = [c for c in self._read(group)[0] if _fits(c, asked)]
        last = max(0, (len(chosen) - 1) // PER_PAGE)
        page = min(view.page, last)
        first = page * PER_PAGE
        part = chosen[first : first + PER_PAGE]
        n = number(len(chosen), ui)
        position = _say(ui, "shown", first=first + 1, last=first + len(part), n=n)
        said = position if part else _say(ui, "none")
        shown = "".join(case(c, asked.system, group.kind, ui) for c in part)
        return {
            self.made["cases"]: f'<p class="lr-note" aria-live="polite">{escape(said)}</p>{shown}',
            self.made["previous"]: gr.update(interactive=page > 0),
            self.made["next"]: gr.update(interactive=page < last),
        }, page

    # -- what happens -------------------------------------------------------------------------

    def picture(self, visit: Visit, view: View, *values: Any) -> Updates:
        """Look for new runs."""
        return self._picture(visit.language, view, _Asked(*values))

    def sort(self, event: gr.EventData, visit: Visit, view: View, *values: Any) -> Updates:
        """Order the table by the column that was pressed, or turn it around."""
        name = str(told(event).get("text"))
        up = not view.up if name == view.sort else name in LEAST
        view = dataclasses.replace(view, sort=name, up=up)
        return {**self._table(visit.language, view, _Asked(*values)), self.view: view}

    def other_target(self, visit: Visit, view: View, *values: Any) -> Updates:
        """Count something else as wanted."""
        out = self._table(visit.language, view, _Asked(*values))
        return {**out, self.view: view}  # of nothing, Gradio makes an error

    def other_group(self, visit: Visit, view: View, *values: Any) -> Updates:
        """Show what was asked otherwise."""
        chosen = _Asked(group=str(values[0]))
        return {**self._picture(visit.language, View(), chosen), self.view: View()}

    def turned(self, step: int, visit: Visit, view: View, *values: Any) -> Updates:
        """Show another page of the examples; with no step the first."""
        page = max(0, view.page + step) if step else 0
        view = dataclasses.replace(view, page=page)
        out, page = self._cases(visit.language, view, _Asked(*values))
        return {**out, self.view: dataclasses.replace(view, page=page)}

    def try_it(self, visit: Visit) -> Iterator[Updates]:
        """Make the small run, telling how far it is."""
        self.example.start()
        while self.example.state == "running":
            yield {
                self.made["doing"]: _doing(self.example, visit.language),
                self.made["try"]: gr.update(interactive=False),
            }
            time.sleep(0.5)
        yield self._picture(visit.language, View(), _Asked())

    def _wire(self) -> None:
        made = self.made
        shown = [*made.values(), self.view]
        inputs = [self.visit, self.view, *(made[n] for n in CONTROLS)]
        shared: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        quick: dict[str, Any] = {
            **shared, "inputs": inputs, "outputs": shown, "queue": False,
            "trigger_mode": "multiple",
        }  # fmt: skip
        tab = get_render_context()
        if isinstance(tab, gr.Tab):
            tab.select(self.picture, **quick)
        gr.on([made["again"].click, made["head"].change], self.picture, **quick)
        made["table"].say(self.sort, **quick)
        made["target"].input(self.other_target, **quick)
        made["group"].input(self.other_group, **quick)
        search = made["search"]
        filters = [*(made[n].input for n in FILTERS), search.submit, search.blur]
        gr.on(filters, functools.partial(self.turned, 0), **quick)
        made["previous"].click(functools.partial(self.turned, -1), **quick)
        made["next"].click(functools.partial(self.turned, 1), **quick)
        made["try"].click(
            self.try_it, [self.visit], shown, concurrency_id="example run", concurrency_limit=8,
            trigger_mode="once", **shared,
        )  # fmt: skip

    def screen(self) -> Screen:
        """What the page needs of it."""
        return Screen(list(self.made.values()), self.texts)


def _label(ui: str, name: str) -> str:
    return _say(ui, "of_system" if name == "system" else name)


def _chosen(groups: Sequence[Group], key: str) -> Group | None:
    return next((g for g in groups if g.key == key), groups[0] if groups else None)


def _fits(case: Case, asked: _Asked) -> bool:
    gave = case.given.get(asked.system)
    wanted = {"right": True, "wrong": False}.get(asked.result)
    return (
        (not asked.language or case.language == asked.language)
        and (not asked.kind or case.kind == asked.kind)
        and (wanted is None or (gave is not None and gave.right is wanted))
        and (not (asked.search or "").strip() or case.holds(asked.search.strip().casefold()[:100]))
    )


# -- tables and drawings ------------------------------------------------------------------------


# -- examples and sentences ---------------------------------------------------------------------


def _head(ui: str) -> str:
    return f'<h2 class="lr-h">{escape(_say(ui, "head"))}</h2><p class="lr-lead">{escape(_say(ui, "lead"))}</p>'


def _title(ui: str) -> str:
    return f'<h3 class="lr-h3">{escape(_say(ui, "examples"))}</h3>'


def _empty(ui: str) -> str:
    answers, lists = (
        "".join(f"<pre><code>{escape(c)}</code></pre>" for c in COMMANDS[n])
        for n in ("answers", "lists")
    )
    return (
        f'<div class="lr-m-none"><h3 class="lr-h3">{escape(_say(ui, "empty"))}</h3><p>{escape(_say(ui, "empty_more"))}</p>{answers}'
        f"<p>{escape(_say(ui, 'empty_lists'))}</p>{lists}<p>{escape(_say(ui, 'empty_then'))} <code>python app.py --runs runs</code></p>"
        f"<p>{escape(_say(ui, 'try_more'))}</p></div>"
    )


def _doing(example: ExampleRun, ui: str) -> str:
    if example.state == "failed":
        return f'<p class="lr-problem" role="alert">{escape(_say(ui, "try_failed"))}</p>'
    if example.state != "running":
        return _line("")
    done, total = example.progress()
    key = "try_running" if done else "try_begun"
    said = _line(_say(ui, key, done=done, total=total))
    bar = f'<progress max="{max(1, total)}" value="{done}" aria-hidden="true"></progress>'
    return said + bar


def _line(said: str) -> str:
    return f'<p class="lr-note" role="status" aria-live="polite">{escape(said)}</p>'


def _problems(problems: Sequence[Problem], ui: str) -> str:
    shown = dict.fromkeys(_say(ui, p.kind, file=p.file, n=number(p.n, ui)) for p in problems)
    lines = "".join(f"<li>{escape(s)}</li>" for s in list(shown)[:20])
    return f'<ul class="lr-m-problems" role="alert">{lines}</ul>' if lines else ""
