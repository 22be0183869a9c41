# ruff: noqa: E501  (markup stays in one piece)
"""Brought hides how what a visitor has brought looks: the rows, what is wrong, what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from llmrec.demo.own import Own
from llmrec.demo.texts import Words, number
from llmrec.demo.untrusted import Read
from llmrec.demo.uploads import Problem, sentence

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["head_html", "message_html", "refusal_html", "report_html"]

SHOWN_COLUMNS = 30
SHOWN_PROBLEMS = 50

_say = Words("catalogue").counted


def head_html(own: Own, shared: Catalog, ui: str) -> str:
    """The heading, and whose catalogue is shown."""
    if own.recommender is not None:
        said = _say(ui, "yours", name=own.name, n=len(own.recommender.catalog))
    else:
        said = _say(ui, "shared", n=len(shared))
    return f'<div class="lr-cat-head"><h2>{escape(_say(ui, "heading"))}</h2><p>{escape(said)}</p></div>'


def _preview(read: Read, ui: str) -> str:
    """The first rows as a table, as they stand in the file."""
    columns = read.columns[:SHOWN_COLUMNS]
    heads = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(row.get(c, '')))}</td>" for c in columns) + "</tr>"
        for row in read.sample
    )
    return _table(_say(ui, "preview"), f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>")


def _table(caption: str, inner: str) -> str:
    label = escape(caption)
    return (
        f'<div class="lr-cat-scroll" role="region" aria-label="{label}" tabindex="0">'
        f'<table class="lr-cat-table"><caption>{label}</caption>{inner}</table></div>'
    )


def _problems(problems: Sequence[Problem], ui: str) -> str:
    """What was left out, line by line."""
    if not problems:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{number(p.line, ui)}</th><td>{escape(_reason(p, ui))}</td></tr>'
        for p in problems[:SHOWN_PROBLEMS]
    )
    line, why = escape(_say(ui, "line")), escape(_say(ui, "why"))
    head = f'<thead><tr><th scope="col">{line}</th><th scope="col">{why}</th></tr></thead>'
    return _table(_say(ui, "problems"), f"{head}<tbody>{rows}</tbody>")


def _reason(problem: Problem, ui: str) -> str:
    values = dict(problem.values)
    if "field" in values:
        values["field"] = _say(ui, f"field_{values['field']}").partition(" (")[0]
    for name in ("low", "high"):
        if name in values:
            values[name] = (
                f"{values[name]:g}" if values[name] < 10_000 else number(values[name], ui)
            )
    return sentence(ui, problem.key, values)


def message_html(own: Own, ui: str) -> str:
    """What was said last: a refusal as an alert, all else quietly; then the details of it."""
    if own.said is None:
        return ""
    kind, key, values = own.said
    if kind == "refusal":
        return refusal_html(ui, key, values)
    if kind == "progress":
        share = (
            f'value="{values["done"]}" max="{max(1, values["rows"])}"' if "done" in values else ""
        )
        text = escape(_say(ui, key, **values))
        return (
            f'<p class="lr-note" role="status">{text}</p>'
            f'<progress class="lr-cat-bar" aria-label="{text}" {share}></progress>'
        )
    return f'<p class="lr-note" role="status">{escape(_say(ui, key, **values))}</p>'


def report_html(own: Own, ui: str) -> str:
    """What became of the file: of its rows, or of its catalogue once there is one."""
    read, built = own.read, own.built
    if built is not None:
        said = _say(ui, "built", n=len(built.catalog), dropped=built.dropped, emptied=built.emptied)
        return f'<p class="lr-cat-built">{escape(said)}</p>{_problems(built.problems, ui)}'
    if read is None:
        return ""
    said = _say(
        ui, "read", name=read.name, rows=read.rows, columns=len(read.columns), dropped=read.dropped
    )
    if read.more:
        said += " " + _say(ui, "read_more", rows=read.rows + read.dropped)
    problems = [Problem(*p) for p in read.problems]
    return (
        f'<p class="lr-cat-built">{escape(said)}</p>{_preview(read, ui)}{_problems(problems, ui)}'
    )


def refusal_html(ui: str, key: str, values: Mapping[str, Any] | None = None) -> str:
    """Why something is not done, as an alert."""
    return f'<p class="lr-problem" role="alert">{escape(sentence(ui, key, values))}</p>'
