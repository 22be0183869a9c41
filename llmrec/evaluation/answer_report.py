"""Answer report hides how the figures of answers become pages: for a terminal, for a browser.

``report.md`` and ``report.html`` hold the same tables; the page has plots and single answers too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.catalog import Catalog
from llmrec.errors import MissingExtraError
from llmrec.evaluation import plots
from llmrec.evaluation.answer_figures import Asked, items_of
from llmrec.evaluation.answer_judging import FOUND_AT, METRICS, RULE, judge
from llmrec.evaluation.page import Cell, Grid, escape, figure, more, number, page, spread, words
from llmrec.evaluation.tables import flat
from llmrec.folders import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_report"]

FEW = 30
SHOWN = 200  # single answers on the page
MISTAKES = 20  # in the Markdown
DRAWN = 4  # systems in a plot: the first, and the best of the others
_TEXT = ("right", "exact_match", "token_f1", "bleu", "chrf", "rouge_l", "values", "numeric")
_FOUND = ("hit@1", f"hit@{FOUND_AT}", "mrr")
_TRUST = ("supported", "checked", "language")
_NAMES = {**METRICS, "bleu": "BLEU"}
_TOLD = {
    "Answers": "Right is over all questions. The others compare with the right answers, so they "
    "are over the questions that can be answered, where a refusal counts as an answer without a "
    "word; of several right answers the best counts. Token F1, chrF and ROUGE-L are means over "
    "answers, BLEU is over all together. Values: the share of the values needed that stand in the "
    "answer; numbers: of those that are numbers.",
    "Refusals": "What cannot be answered is what should be refused.",
    "Support": "Of the answers that claim something. Supported is what the system says of itself. "
    "Checked is a second, simpler check made here: every number and every capitalised word that "
    "does not begin a sentence stands in a source or in the question; of a system without sources "
    "in the right items. Language: the answer is in that of the question.",
    "Retrieval": "Whether an item that the question is about is found first, among the first "
    f"{FOUND_AT}, and how high; counts and superlatives name none and are left out.",
    "Tests": "Paired bootstrap over title clusters, two-sided, corrected by Holm's rule.",
    "Seconds": "Of one answer: of its batch, divided by the questions in it.",
}


def write_report(
    folder: Path,
    record: Mapping[str, Any],
    figures: Mapping[str, Any],
    asked: Sequence[Asked],
    catalog: Catalog,
) -> None:
    """Write ``report.md``, ``report.html`` and ``plots/*.png`` into the folder of a run.

    Without matplotlib there are no plots, and the reports say so.
    """
    try:
        drawn, said = _plots(figures), ""
    except MissingExtraError as e:
        drawn, said = {}, f"There are no plots: {e}."
    for name, (made, _) in drawn.items():
        plots.save(made, folder / "plots" / f"{name}.png")
    cases = list(_cases(asked, catalog))
    write_whole(folder / "report.md", _markdown(record, figures, drawn, said, cases))
    write_whole(folder / "report.html", _page(record, figures, drawn, said, cases))


def _about(record: Mapping[str, Any], figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, on what, and how: names and plain words."""
    shared = record["shared"]
    n, can = figures["n"], figures["answerable"]
    drawn = "" if n == shared["in_file"] else f" of {shared['in_file']:,}"
    level, samples = (figures["bootstrap"][part] for part in ("level", "samples"))
    return [
        ("Questions", f"{n:,}{drawn} in {shared['questions']}, {n - can:,} cannot be answered"),
        ("Catalogue", f"{shared['catalog']}, {shared['catalog_size']:,} items"),
        ("Systems", ", ".join(figures["systems"])),
        (
            "Intervals",
            f"{100 * level:.0f} %, bootstrap over {figures['clusters']:,} title clusters, "
            f"{samples:,} draws",
        ),
        *_doubts(record, figures),
    ]


def _doubts(record: Mapping[str, Any], figures: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What a reader must know before believing the figures."""
    overlap, trained_on = record["overlap"], record["trained_on"]
    if overlap["clusters"]:
        yield (
            "Overlap",
            f"{overlap['clusters']:,} title clusters stand in {trained_on} too: figures of what "
            "was trained on it are too high",
        )
    elif trained_on:
        yield (
            "Split",
            f"no title cluster stands in {trained_on} too, and {overlap['questions']:,} questions "
            f"and {overlap['wordings']:,} wordings do",
        )
    if problems := record["problems"]:
        file, line, reason = problems[0]
        yield (
            "Left out",
            f"{len(problems):,} of the lines, the first is line {line} of {file}: {reason}",
        )
    if figures["clusters"] < FEW:
        yield "Few clusters", f"with {figures['clusters']:,} the intervals are too narrow"
    for name, of in figures["systems"].items():
        if of["errors"]:
            yield "Errors", f"{name} failed {of['errors']:,} times, first with: {of['first_error']}"


def _sections(figures: Mapping[str, Any]) -> Iterable[tuple[str, Grid]]:
    """Every table, with the name of its section."""
    yield "Answers", _by_system(figures, lambda of: of["all"], _TEXT)
    names = ("precision", "recall", "f1")
    yield "Refusals", _by_system(figures, lambda of: of["refusals"], names)
    yield "Support", _by_system(figures, lambda of: of["all"], _TRUST)
    yield "Retrieval", _by_system(figures, lambda of: of["all"], _FOUND)
    for kind in figures["slices"]:
        yield f"Right by {kind}", _sliced(figures, kind, "right")
    yield "Token F1 by kind", _sliced(figures, "kind", "token_f1")
    yield "Checked support by kind", _sliced(figures, "kind", "checked")
    if figures["tests"]:
        yield "Tests", _tests(figures)
    parts = ("mean", "median", "p95")
    rows = [
        [Cell(n), *(Cell(number(of["seconds"][p]), sort=of["seconds"][p]) for p in parts)]
        for n, of in figures["systems"].items()
    ]
    yield "Seconds", Grid(["system", *parts], rows, ours=frozenset({0}))


def _by_system(figures: Mapping[str, Any], part: Any, names: Sequence[str]) -> Grid:
    rows = [
        [Cell(system), *(Cell.of(part(of)[n]) for n in names)]
        for system, of in figures["systems"].items()
        if any(part(of)[n]["n"] for n in names)
    ]
    head = ["system", *(_NAMES.get(n, n.capitalize()) for n in names)]
    return Grid(head, rows, ours=frozenset({0}))


def _sliced(figures: Mapping[str, Any], kind: str, metric: str) -> Grid:
    rows = [
        [Cell(part), Cell(f"{n:,}", sort=n)]
        + [Cell.of(of["slices"][kind][part][metric]) for of in figures["systems"].values()]
        for part, n in figures["slices"][kind].items()
    ]
    return Grid([kind, "n", *figures["systems"]], rows)


def _tests(figures: Mapping[str, Any]) -> Grid:
    tests = figures["tests"]
    rows = []
    for t in tests:
        apart = f"{t['low']:+.3f} to {t['high']:+.3f}"
        row = [Cell(t["name"]), Cell(_NAMES[t["metric"]])]
        row.append(Cell(f"{t['difference']:+.3f}", apart, t["difference"]))
        rows.append([*row, *(Cell(number(t[p], 4), sort=t[p]) for p in ("p", "holm"))])
    against = f"against {tests[0]['other']}"
    return Grid(["system", "metric", "difference", "p", "p, Holm"], rows, against)


def _plots(figures: Mapping[str, Any]) -> dict[str, tuple[Figure, str]]:
    """By name: the figure and its title. Raises MissingExtraError."""
    first, *others = figures["systems"]
    others.sort(key=lambda name: -figures["systems"][name]["all"]["right"]["value"])
    systems = [(name, figures["systems"][name]) for name in (first, *others[: DRAWN - 1])]
    out = {}
    for kind in ("kind", "language"):
        places = list(figures["slices"][kind])
        series = []
        for name, of in systems:
            found = [of["slices"][kind][p]["right"] for p in places]
            values, low, high = ([f[part] for f in found] for part in ("value", "low", "high"))
            series.append(plots.Series(name, values, low, high))
        title = f"Right answers by {kind}"
        out[f"right-by-{kind}"] = plots.dots(places, series, "share that is right"), title
    return out


def _cases(asked: Sequence[Asked], catalog: Catalog) -> Iterable[dict[str, Any]]:
    """Single questions, evenly over the set, with what everybody said and whether it is right."""
    items = items_of(asked, catalog)
    for i in _evenly(len(asked), SHOWN):
        q = asked[i].question
        said = {name: (s, judge(q, s, items)["right"] == 1.0) for name, s in asked[i].said.items()}
        yield {"question": q, "said": said}


def _evenly(n: int, most: int) -> list[int]:
    """As many places as are wanted, evenly over ``n``."""
    few = min(n, most)
    return [i * n // few for i in range(few)]


def _markdown(
    record: Mapping[str, Any],
    figures: Mapping[str, Any],
    drawn: Mapping[str, Any],
    said: str,
    cases: Sequence[Mapping[str, Any]],
) -> str:
    parts = ["# Answers"]
    parts.append("\n".join(f"- {a}: {words(b)}" for a, b in _about(record, figures)))
    parts += ["## When an answer is right", words(RULE)]
    for name, grid in _sections(figures):
        parts.append(f"## {name}")
        parts += [told for told in (_TOLD.get(name, ""), words(grid.caption)) if told]
        parts.append(grid.markdown())
    parts.append("## Plots")
    parts += [f"![{title}](plots/{name}.png)" for name, (_, title) in drawn.items()] or [said]
    first = next(iter(figures["systems"]))
    wrong = [c for c in cases if not c["said"][first][1]]
    wrong = [wrong[i] for i in _evenly(len(wrong), MISTAKES)]
    parts.append(f"## Some mistakes of {words(first)}")
    parts.append("\n".join(_line(c, first) for c in wrong) or "None of those looked at.")
    parts += ["## How it was run", _config(record).markdown()]
    return "\n\n".join(parts)


def _line(case: Mapping[str, Any], name: str) -> str:
    q, (s, _) = case["question"], case["said"][name]
    given = s.error or s.text or "nothing"
    return (
        f"- {q.kind}, {q.language}: {words(q.question)} Wanted: {words(_wanted(q))}. "
        f"Said: {words(given)}"
    )


def _wanted(question: Any) -> str:
    if not question.answerable:
        return f"a refusal ({question.why})"
    return str(question.answers[0]) if question.answers else "an answer"


def _config(record: Mapping[str, Any]) -> Grid:
    rows = [[Cell(k), Cell(v)] for k, v in flat(record).items()]
    return Grid(["option", "value"], rows, words=True)


def _page(
    record: Mapping[str, Any],
    figures: Mapping[str, Any],
    drawn: Mapping[str, Any],
    said: str,
    cases: Sequence[Mapping[str, Any]],
) -> str:
    about = dict(_about(record, figures))
    parts = [
        '<p class="kicker">Answers, measured</p>',
        f"<h1><bdi>{escape(next(iter(figures['systems'])))}</bdi></h1>",
        f'<p class="lead"><bdi>{escape(about["Questions"])}</bdi>; catalogue '
        f"{escape(about['Catalogue'])}.</p>",
        *(
            f'<p class="warn"><b>{escape(a)}.</b> {escape(b)}.</p>'
            for a, b in _doubts(record, figures)
            if a != "Split"
        ),
        _tiles(figures),
        f'<p class="note">Intervals: {escape(about["Intervals"])}.</p>',
        "<h2>When an answer is right</h2>",
        f"<p>{escape(RULE)}</p>",
    ]
    pictures = [figure(plots.svg(made, n), title) for n, (made, title) in drawn.items()]
    parts.append(f'<div class="plots">{"".join(pictures)}</div>' if pictures else f"<p>{said}</p>")
    for name, grid in _sections(figures):
        note = f'<p class="note">{escape(_TOLD[name])}</p>' if name in _TOLD else ""
        parts += [f"<h2>{escape(name)}</h2>", note, grid.html()]
    parts += _browser(cases, figures)
    parts += ["<h2>How it was run</h2>", more("Options", _config(record).html())]
    parts.append("<footer>Written by llmrec from the answers in this folder.</footer>")
    return page("Answers, measured", parts)


def _tiles(figures: Mapping[str, Any]) -> str:
    """The headline of the first system."""
    of = next(iter(figures["systems"].values()))
    shown = {
        "Right": of["all"]["right"],
        "Supported, checked": of["all"]["checked"],
        "Refusals, precision": of["refusals"]["precision"],
        "Refusals, recall": of["refusals"]["recall"],
        "Hit@1": of["all"]["hit@1"],
    }
    out = [
        f"<li><span>{escape(name)}</span><b>{number(f['value'])}</b>"
        f"<span>{spread(f['low'], f['high'])}</span></li>"
        for name, f in shown.items()
        if f["n"]
    ]
    return f'<ul class="tiles">{"".join(out)}</ul>'


def _browser(cases: Sequence[Mapping[str, Any]], figures: Mapping[str, Any]) -> list[str]:
    """The part of the page with single answers, to be opened, filtered and searched."""
    first = next(iter(figures["systems"]))
    kinds = ["", "right", "wrong", *figures["slices"]["kind"], *figures["slices"]["language"]]
    options = "".join(
        f'<option value="{escape(k)}">{escape(k or "all")}</option>' for k in dict.fromkeys(kinds)
    )
    return [
        "<h2>Single answers</h2>",
        f'<p class="note">{len(cases):,} of {figures["n"]:,}, evenly over the set; right and wrong '
        f"are those of {escape(first)}.</p>",
        '<div class="tools" hidden><input type="search" aria-label="Search the answers" '
        f'placeholder="Search questions and answers"><select aria-label="Which answers">{options}'
        "</select><output></output></div>",
        *(_shown(c, first) for c in cases),
    ]


def _shown(case: Mapping[str, Any], first: str) -> str:
    q, right = case["question"], case["said"][first][1]
    kinds = ("right" if right else "wrong", q.kind, q.language)
    about = " · ".join(part for part in (q.id, q.kind, q.field, q.language) if part)
    given = "".join(
        f"<li{' class=hit' if ok else ''}><b>{escape(name)}</b>: "
        f"<bdi>{escape(s.error or s.text or 'nothing')}</bdi></li>"
        for name, (s, ok) in case["said"].items()
    )
    wanted = "".join(f"<li><bdi>{escape(a)}</bdi></li>" for a in q.answers[:5])
    wanted = wanted or f"<li>{escape(_wanted(q))}</li>"
    return (
        f'<details class="case" data-kind="{escape(" ".join(kinds))}"><summary>'
        f"<span><bdi>{escape(q.question)}</bdi></span>"
        f'<span class="rank{" hit" if right else ""}">{kinds[0]}</span>'
        f"<small>{escape(about)}</small></summary>"
        f'<div class="inside"><div><h4>Wanted</h4><ol class="plain">{wanted}</ol></div>'
        f'<div><h4>Said</h4><ol class="plain">{given}</ol></div></div></details>'
    )
