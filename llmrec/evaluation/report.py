"""Report hides how the figures of a run become pages: for a terminal, and for a browser.

``report.md`` and ``report.html`` hold the same tables; the page has plots and examples too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmrec.errors import MissingExtraError
from llmrec.evaluation import plots, tables
from llmrec.evaluation.aggregate import cutoff, figures_of, headline
from llmrec.evaluation.cases import browser, examples_line
from llmrec.evaluation.page import Grid, escape, figure, more, number, page, spread, words
from llmrec.evaluation.reading import Run, read_run
from llmrec.folders import public_name, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["examples_line", "report"]

FEW = 30
_OF = {"new": "New targets", "all": "All targets"}
_TOLD = {
    "new": "Targets not mentioned before; what was mentioned is taken out of the rankings too, and "
    "an example without another target is left out.",
    "all": "Every item that the next turn of the recommender names; repeats of items mentioned "
    "before are allowed.",
}
_BEYOND = (
    "Of the first ten without what was mentioned. Coverage: the share of the catalogue in any "
    "list. Gini: how unevenly items are shown, 0 alike. Popularity: in how many training dialogues "
    "an item is mentioned. Novelty: how rare it was there. Diversity: 1 - the mean cosine of the "
    "items' features. Repeats: the share of the first ten, as given, that was mentioned before."
)


def report(folder: str | os.PathLike[str]) -> None:
    """Write ``report.md``, ``report.html`` and ``plots/*.png`` into a run folder.

    The figures are made anew from the predictions. Without matplotlib there are no plots, and the
    reports say so.

    Raises
    ------
    InputError: there is no run, or it has no prediction yet.
    """
    run = read_run(folder)
    figures = figures_of(run)
    try:
        drawn, said = _plots(figures), ""
    except MissingExtraError as e:
        drawn, said = {}, f"There are no plots: {e}."
    for name, (made, _, _) in drawn.items():
        plots.save(made, run.folder / "plots" / f"{name}.png")
    write_whole(run.folder / "report.md", _markdown(run, figures, drawn, said))
    write_whole(run.folder / "report.html", _page(run, figures, drawn, said))


def _about(run: Run, figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, on what, and how: names and plain words."""
    counts = figures["counts"]["all"]
    data = run.said("data")
    name = data.get("name") if isinstance(data, Mapping) else data
    part = f", {run.said('split')}" if run.said("split") else ""
    level, draws = (figures["bootstrap"][part] for part in ("level", "samples"))
    done = f"{figures['done']:,} examples"
    if not figures["complete"]:
        done = f"{figures['done']:,} of {figures['n']:,} examples: the run is under way"
    return [
        ("Measured", run.main),
        ("On", f"{public_name(str(name or 'given examples'))}{part}"),
        ("Examples", f"{done}, {counts['targets']:,} targets in {counts['dialogues']:,} dialogues"),
        ("Catalogue", f"{figures['catalog']:,} items"),
        (
            "Repeats",
            "two tables: new targets (mentioned items in neither targets nor rankings) and all",
        ),
        ("Intervals", f"{100 * level:.0f} %, bootstrap over dialogues, {draws:,} draws"),
        *_doubts(run, figures),
    ]


def _doubts(run: Run, figures: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What a reader must know before believing the figures."""
    if (n := figures["counts"]["all"]["dialogues"]) < FEW:
        yield (
            "Few dialogues",
            f"with {n:,} the intervals are too narrow, from about {FEW} they hold",
        )
    if n := figures["outside_targets"]:
        yield "Out of reach", f"{n:,} of the targets are not in the catalogue: nobody finds them"
    if n := figures["broken"]:
        file, line, reason = figures["problems"][0]
        yield "Left out", f"{n:,} of the lines, the first is line {line} of {file}: {reason}"
    for name, system in figures["systems"].items():
        if n := system["errors"]["n"]:
            why, _ = next(iter(system["errors"]["kinds"].items()))
            yield "Errors", f"{name} gave no list for {n:,} of the examples, as for: {why}"
        if system["n"] < figures["done"]:
            yield "Fewer", f"{name} was asked {system['n']:,} of these {figures['done']:,} examples"


def _plots(figures: Mapping[str, Any]) -> dict[str, tuple[Figure, str, str]]:
    """By name: the figure, its title and a note. Raises MissingExtraError."""
    out: dict[str, tuple[Figure, str, str]] = {}
    for target in ("new", "all"):
        series = [
            _series(name, [of[target][f"recall@{k}"] for k in figures["ks"]])
            for name, of in list(figures["systems"].items())[:6]
        ]
        made = plots.curves(figures["ks"], series, "Recall")
        out[f"recall-{target}"] = made, f"Recall@k, {_OF[target].lower()}", "with 95 % intervals"
    chosen = [n for n in (figures["main"], tables.best_baseline(figures)) if n]
    recall = f"recall@{cutoff(figures['ks'])}"
    main = figures["systems"][figures["main"]]["slices"]
    at = [(a, b) for a, of in main.items() for b in of if main[a][b]["counts"]["new"]["examples"]]
    series = []
    for name in chosen:
        of = figures["systems"][name]["slices"]
        none = {"new": {recall: {"value": 0.0, "low": 0.0, "high": 0.0}}}
        series.append(_series(name, [of.get(a, {}).get(b, none)["new"][recall] for a, b in at]))
    title = f"{tables.title(recall)} by slice"
    made = plots.dots(
        [tables.place(*x) for x in at], series, f"{tables.title(recall)}, new targets"
    )
    out["slices"] = made, title, "new targets, with 95 % intervals"
    if said := figures["popularity"]:
        groups = [("wanted", said["wanted"]["shares"])]
        groups += [(name, said["recommended"][name]) for name in chosen]
        made = plots.bars(_spans(said["edges"]), groups, "training dialogues that mention the item")
        out["popularity"] = made, "How well known", "share of new targets, and of first tens"
    return out


def _series(name: str, figures: Sequence[Mapping[str, float]]) -> plots.Series:
    values, low, high = ([f[part] for f in figures] for part in ("value", "low", "high"))
    return plots.Series(name, values, low, high)


def _spans(edges: Sequence[int]) -> list[str]:
    ends = [*(e - 1 for e in edges[1:]), None]
    return [
        f"{a}+" if b is None else str(a) if a == b else f"{a}–{b}"
        for a, b in zip(edges, ends, strict=True)
    ]


def _sections(run: Run, figures: Mapping[str, Any]) -> Iterable[tuple[str, str, Grid]]:
    """The tables behind the first two: title, what is said before, table."""
    yield "Slices", "", tables.slices(figures)
    yield "Beyond accuracy", _BEYOND, tables.beyond(figures)
    if written := tables.written(figures):
        yield "What was written", "", written
    yield "Cost for each example", "", tables.cost(figures)


def _markdown(run: Run, figures: Mapping[str, Any], drawn: Mapping[str, Any], said: str) -> str:
    parts = [f"# {words(run.main)}"]
    parts.append("\n".join(f"- {name}: {words(told)}" for name, told in _about(run, figures)))
    for target, name in _OF.items():
        grid = tables.accuracy(figures, target)
        parts += [f"## {name}", f"{_TOLD[target]} {grid.caption}.", grid.markdown()]
    for name, told, grid in _sections(run, figures):
        parts += [f"## {name}", *[told] * bool(told), grid.markdown()]
    parts.append("## Every metric")
    parts += [tables.every(figures, run.main, target).markdown() for target in _OF]
    parts.append("## Plots")
    parts += [f"![{title}](plots/{name}.png)" for name, (_, title, _) in drawn.items()] or [said]
    parts += ["## How it was run", tables.config(run).markdown()]
    return "\n\n".join(parts)


def _page(run: Run, figures: Mapping[str, Any], drawn: Mapping[str, Any], said: str) -> str:
    about = dict(_about(run, figures))
    parts = [
        '<p class="kicker">Evaluation report</p>',
        f"<h1><bdi>{escape(run.main)}</bdi></h1>",
        f'<p class="lead"><bdi>{escape(about["On"])}</bdi>: {escape(about["Examples"])}, '
        f"catalogue of {escape(about['Catalogue'])}.</p>",
        *(
            f'<p class="warn"><b>{escape(a)}.</b> {escape(b)}.</p>'
            for a, b in _doubts(run, figures)
        ),
        _tiles(figures),
        f'<p class="note">Intervals: {escape(about["Intervals"])}.</p>',
    ]
    for target, name in _OF.items():
        every = "".join(tables.every(figures, n, target).html() for n in figures["systems"])
        parts += [f"<h2>{name}</h2>", f'<p class="note">{escape(_TOLD[target])}</p>']
        parts += [tables.accuracy(figures, target).html(), more("Every metric at every k", every)]
    pictures = [figure(plots.svg(made, n), title, note) for n, (made, title, note) in drawn.items()]
    parts.append(f'<div class="plots">{"".join(pictures)}</div>' if pictures else f"<p>{said}</p>")
    for name, told, grid in _sections(run, figures):
        parts += [f"<h2>{name}</h2>", f'<p class="note">{told}</p>' if told else "", grid.html()]
    parts += browser(run)
    parts += ["<h2>How it was run</h2>", more("Options and versions", tables.config(run).html())]
    parts.append("<footer>Written by llmrec from the predictions in this folder.</footer>")
    return page(f"{run.main}: evaluation", parts)


def _tiles(figures: Mapping[str, Any]) -> str:
    """The headline, new targets, each beside the best baseline of that metric."""
    out = []
    for name in headline(figures["ks"]):
        own = figures["systems"][figures["main"]]["new"][name]
        others = {n: of["new"][name]["value"] for n, of in figures["systems"].items()}
        del others[figures["main"]]
        best = max(others, key=lambda n: others[n], default="")
        beside = f"{best} {number(others[best])}" if best else "no baseline"
        out.append(
            f"<li><span>{escape(tables.title(name))}, new</span><b>{number(own['value'])}</b>"
            f"<span>{spread(own['low'], own['high'])}</span><span>{escape(beside)}</span></li>"
        )
    return f'<ul class="tiles">{"".join(out)}</ul>'
