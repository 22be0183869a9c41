# ruff: noqa: E501  (markup stays in one piece)
"""Scoreboard hides how measured systems look: their table, its drawings, and single examples."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from llmrec.demo import charts
from llmrec.demo.cases import AT, Case, Given
from llmrec.demo.measured import Figure, Group, Row
from llmrec.demo.texts import Words, number

__all__ = ["LEAST", "case", "columns_of", "names_of", "ordered", "plots", "table"]

_say = Words("measure")
DRAWN = 5  # systems in a drawing
LEAST = frozenset({"seconds"})  # of these the smallest is the best
_WIDEST = 14  # columns at most


def _named(group: Group, ui: str) -> str:
    data = group.data.removesuffix(".jsonl")
    said = _say(ui, f"group_{group.kind}", data=data, part=group.part, n=number(group.n, ui))
    return said.replace(" ,", ",")


def names_of(groups: Sequence[Group], ui: str) -> list[str]:
    """What each group is called; where that is not enough, with its first run."""
    said = [_named(g, ui) for g in groups]
    return [
        f"{name} ({g.runs[0][0]})" if said.count(name) > 1 and g.runs else name
        for name, g in zip(said, groups, strict=True)
    ]


def columns_of(group: Group, target: str) -> list[str]:
    """The figures that stand in the table, those first that matter most."""
    have = dict.fromkeys(name for r in group.rows for name in r.figures)
    if group.kind == "answers":
        wanted = ["right", "token_f1", "checked", "refusals", "hit@1", "seconds"]
        return [n for n in wanted if n in have]
    target = target if target in ("new", "all") else "new"
    main = [n for n in have if n.startswith(f"{target}/")]
    main.sort(key=lambda n: (n != f"{target}/recall@{AT}", "recall" not in n))
    return [*main, *(n for n in ("coverage", "diversity", "seconds") if n in have)][:_WIDEST]


def _column(name: str, ui: str) -> str:
    if "/" not in name or name.startswith("kind/"):
        return _say(ui, name)
    metric, _, k = name.partition("/")[2].partition("@")
    return f"{'Recall' if metric == 'recall' else metric.upper()}@{k}"


def ordered(rows: Sequence[Row], sort: str, up: bool) -> list[Row]:
    """By a column, what has no figure there last."""

    def place(row: Row) -> tuple[bool, float]:
        figure = row.figures.get(sort)
        return figure is None, 0.0 if figure is None else figure.value * (1 if up else -1)

    return sorted(rows, key=place)


def table(
    group: Group, rows: Sequence[Row], columns: Sequence[str], sort: str, up: bool, ui: str
) -> str:
    """The table of a group, with what its columns mean."""
    caption = _say(ui, f"caption_{group.kind}", rows=len(rows), n=number(group.n, ui))
    best = {c: _best([r.figures[c].value for r in rows if c in r.figures], c) for c in columns}
    heads = "".join(_table_head(c, c == sort, up, ui) for c in columns)
    body = "".join(
        f'<tr><th scope="row"><bdi>{escape(r.label)}</bdi><small>{escape(_origin(r, ui))}</small></th>'
        + "".join(_table_cell(r.figures.get(c), best[c], c, ui) for c in columns)
        + "</tr>"
        for r in rows
    )
    return (
        f'<p class="lr-note" id="lr-m-caption">{escape(caption)}</p>'
        f'<div class="lr-scroll" tabindex="0" role="region" aria-label="{escape(_named(group, ui))}">'
        '<table class="lr-table" aria-describedby="lr-m-caption"><thead><tr>'
        f'<th scope="col">{escape(_say(ui, "system"))}</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="lr-note">{escape(_say(ui, f"glossary_{group.kind}"))}</p>'
    )


def _origin(row: Row, ui: str) -> str:
    return _say(ui, "measured", run=row.run) if row.main else _say(ui, "baseline")


def _table_head(name: str, sorted_by: bool, up: bool, ui: str) -> str:
    order = ("ascending" if up else "descending") if sorted_by else "none"
    arrow = f'<i aria-hidden="true">{"▲" if up else "▼"}</i>' if sorted_by else ""
    return (
        f'<th scope="col" aria-sort="{order}"><button type="button" data-say="{escape(name)}">'
        f"{escape(_column(name, ui))}{arrow}</button></th>"
    )


def _best(values: Sequence[float], column: str) -> float | None:
    """The best of several values; of one alone none."""
    if len(values) < 2:
        return None
    return min(values) if column in LEAST else max(values)


def _table_cell(figure: Figure | None, best: float | None, column: str, ui: str) -> str:
    if figure is None:
        return "<td>–</td>"
    star = (
        f'<b class="lr-star" title="{escape(_say(ui, "best"))}"><span aria-hidden="true">★</span>'
        f'<span class="lr-hidden"> {escape(_say(ui, "best"))}</span></b>'
        if figure.value == best
        else ""
    )
    note = ""
    if figure.low is not None and figure.high is not None:
        note = f"<small>{number(figure.low, ui, 3)}–{number(figure.high, ui, 3)}</small>"
    digits = 4 if column == "seconds" and figure.value < 0.1 else 3
    said = number(figure.value, ui, digits)
    if column == "seconds" and 0 < figure.value < 0.0001:
        said = f"&lt; {number(0.0001, ui, 4)}"
    return f"<td>{star}<span>{said}</span>{note}</td>"


def plots(group: Group, rows: Sequence[Row], sort: str, target: str, ui: str) -> str:
    """The column that the table is ordered by, and the first systems of it side by side."""
    if not sort:
        return ""

    def write(value: float) -> str:
        return number(value, ui, 3)

    title = _say(ui, "plot_column", column=_column(sort, ui))
    points = charts.Series("", [_point(r, sort) for r in rows])
    first = charts.dots(title, [r.label for r in rows], [points], write)
    drawn = [_figure(first, title, "", ui)]
    names = [f"{target}/recall@{k}" for k in group.ks]
    if group.kind == "answers":
        names = [n for n in _say if n.startswith("kind/") and any(n in r.figures for r in rows)]
    series = [charts.Series(r.label, [_point(r, n) for n in names]) for r in rows[:DRAWN]]
    if group.kind == "answers":
        title = _say(ui, "plot_kinds")
        second = charts.dots(title, [_say(ui, n) for n in names], series, write)
    else:
        title = _say(ui, "plot_recall")
        second = charts.curves(title, [str(k) for k in group.ks], series, "k", write)
    if names:
        drawn.append(_figure(second, title, charts.legend([s.name for s in series]), ui))
    return f'<div class="lr-plots">{"".join(drawn)}</div>'


def _point(row: Row, name: str) -> charts.Point | None:
    f = row.figures.get(name)
    return None if f is None else charts.Point(f.value, f.low, f.high)


def _figure(svg: str, title: str, legend: str, ui: str) -> str:
    names = f'<ul class="lr-legend">{legend}</ul>' if legend else ""
    note = escape(_say(ui, "plot_note"))
    return f'<figure class="lr-figure"><figcaption>{escape(title)}<small>{note}</small></figcaption>{svg}{names}</figure>'


def case(case: Case, system: str, kind: str, ui: str) -> str:
    """An example, to be opened for what was asked, wanted and given."""
    gave = case.given.get(system)
    last = next((text for role, text in reversed(case.turns) if role == "user"), "")
    about = " · ".join(p for p in (_say(ui, case.kind), case.language, case.id) if p)
    talk = "".join(
        f'<p class="lr-m-{role}"><span class="lr-hidden">{escape(_say(ui, role))}: </span><bdi>{escape(text)}</bdi></p>'
        for role, text in case.turns
    )
    wanted = [case.refusal and _say(ui, "refusal", why=case.refusal), *case.wanted]
    list_of_wanted = "".join(f"<li><bdi>{escape(w)}</bdi></li>" for w in wanted if w)
    lists = "".join(_given(label, g, label == system, ui) for label, g in case.given.items())
    return (
        f'<details class="lr-case"><summary><span><bdi>{escape(last or _say(ui, "nothing_said"))}</bdi></span>'
        f"{_badge(gave, ui)}<small>{escape(about)}</small></summary>"
        f'<div class="lr-m-inside"><div><h4>{escape(_say(ui, "asked"))}</h4>{talk or escape(_say(ui, "nothing_said"))}'
        f"<h4>{escape(_say(ui, 'wanted'))}</h4><ul>{list_of_wanted or '<li>–</li>'}</ul></div>"
        f'<div><h4>{escape(_say(ui, "gave"))}</h4>{lists}<p class="lr-note">{escape(_say(ui, f"rule_{kind}"))}</p></div></div></details>'
    )


def _badge(given: Given | None, ui: str) -> str:
    if given is None or given.right is None:
        return ""
    if given.right:
        said = _say(ui, "right_at", place=given.place) if given.place else _say(ui, "right_one")
        return f'<b class="lr-badge lr-met"><i aria-hidden="true">✓</i> {escape(said)}</b>'
    return f'<b class="lr-badge lr-missed"><i aria-hidden="true">✗</i> {escape(_say(ui, "wrong_one"))}</b>'


def _given(label: str, given: Given, opened: bool, ui: str) -> str:
    marks = {"hit": f"✓ {_say(ui, 'hit')}", "known": _say(ui, "known"), "": ""}
    rows = "".join(
        f'<li class="lr-m-{mark or "other"}"><bdi>{escape(text)}</bdi>'
        + (f" <small>{escape(marks[mark])}</small>" if mark else "")
        + "</li>"
        for text, mark in given.lines
    )
    if given.error:
        rows = f"<li>{escape(_say(ui, 'failed_one', why=given.error))}</li>"
    tag = "ol" if len(given.lines) > 1 else "ul"
    nothing = f"<li>{escape(_say(ui, 'nothing'))}</li>"
    refused = f" <small>{escape(_say(ui, 'refused'))}</small>" if given.refused else ""
    return (
        f"<details{' open' if opened else ''}><summary><bdi>{escape(label)}</bdi>{refused}{_badge(given, ui)}</summary>"
        f"<{tag}>{rows or nothing}</{tag}></details>"
    )
