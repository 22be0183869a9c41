"""Comparing hides how runs over the same examples are set beside each other, and tested.

Differences are tested by a paired bootstrap over dialogues. All p-values that are shown together
are corrected together, by Holm's rule.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.errors import InputError, MissingExtraError
from llmrec.evaluation import plots
from llmrec.evaluation.aggregate import METRICS, counts, headline, intervals, slices
from llmrec.evaluation.page import Cell, Grid, escape, figure, number, page, words
from llmrec.evaluation.reading import Run, Scored, read_run
from llmrec.evaluation.tables import flat, place, title
from llmrec.folders import write_whole
from llmrec.metrics.significance import holm, paired

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "compare", "save"]

# What does not tell runs apart, beside the data, whose examples are compared one by one.
_ASIDE = {"config.out", "config.threads", "config.restart", "config.data"}


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other.

    Attributes
    ----------
    targets: "new" or "all". metrics: those that are tested.
    counts: examples, targets and dialogues that the figures are of.
    left_out: by run, how many of its examples the others do not have.
    rows: for each run its ``name``, what ``differs`` in its options, and its ``figures``.
    tests: ``name`` against ``other`` on a ``metric``: ``difference`` (positive: ``name`` is
        better), ``low``, ``high``, ``p``, and ``holm``, corrected over all tests.
    slices: by kind and name, ``examples`` and the first metric of each run.
    """

    targets: str
    metrics: tuple[str, ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    rows: tuple[Mapping[str, Any], ...]
    tests: tuple[Mapping[str, Any], ...]
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types."""
        return {
            "targets": self.targets,
            "metrics": list(self.metrics),
            "counts": dict(self.counts),
            "left_out": dict(self.left_out),
            "runs": [dict(r) for r in self.rows],
            "tests": [dict(t) for t in self.tests],
            "slices": {kind: dict(of) for kind, of in self.slices.items()},
        }

    def markdown(self) -> str:
        """The tables for a terminal."""
        parts = [f"# {words(' and '.join(r['name'] for r in self.rows[:2]))} compared"]
        parts.append("\n".join(f"- {words(said)}" for said in self._said()))
        for name, grid in self._grids():
            parts += [f"## {name}", *[words(grid.caption)] * bool(grid.caption), grid.markdown()]
        return "\n\n".join(parts)

    def html(self) -> str:
        """The page, with plots where matplotlib is installed."""
        said = "".join(f"<li><bdi>{escape(words)}</bdi></li>" for words in self._said())
        parts = ['<p class="kicker">Comparison</p>', f"<h1>{escape(self._title())}</h1>"]
        parts.append(f'<ul class="note">{said}</ul>')
        try:
            drawn = [
                figure(plots.svg(self.plot(), "values"), self._title(), "95 % intervals"),
                figure(plots.svg(self._apart(), "apart"), "Differences", "95 % intervals"),
            ]
            parts.append(f'<div class="plots">{"".join(drawn)}</div>')
        except MissingExtraError as e:
            parts.append(f'<p class="note">There is no plot: {escape(e)}.</p>')
        for name, grid in self._grids():
            parts += [f"<h2>{name}</h2>", grid.html()]
        return page("Comparison of runs", parts)

    def plot(self) -> Figure:
        """The first metric of each run, with its interval. Raises MissingExtraError."""
        values, low, high = _columns([r["figures"][self.metrics[0]] for r in self.rows], "value")
        series = plots.Series(self.metrics[0], values, low, high)
        return plots.dots([r["name"] for r in self.rows], [series], self._title())

    def _apart(self) -> Figure:
        """The tested differences of the first metric."""
        tests = [t for t in self.tests if t["metric"] == self.metrics[0]]
        series = plots.Series(self.metrics[0], *_columns(tests, "difference"))
        one = len({t["other"] for t in tests}) == 1
        places = [t["name"] if one else f"{t['name']} - {t['other']}" for t in tests]
        label = f"{title(self.metrics[0])} less that of {tests[0]['other']}" if one else ""
        return plots.dots(places, [series], label or f"{title(self.metrics[0])}, difference")

    def _title(self) -> str:
        return f"{title(self.metrics[0])}, {self.targets} targets"

    def _said(self) -> Iterable[str]:
        c = self.counts
        yield (
            f"{c['examples']:,} examples with {c['targets']:,} {'new ' * (self.targets == 'new')}"
            f"targets in {c['dialogues']:,} dialogues"
        )
        for name, n in self.left_out.items():
            if n:
                yield f"{name}: left out, as not all runs have them: {n:,} examples"
        yield "intervals: 95 %, bootstrap over dialogues"
        yield (
            f"p: two-sided, paired bootstrap over dialogues; corrected by Holm's rule over all "
            f"{len(self.tests):,} tests shown"
        )

    def _grids(self) -> Iterable[tuple[str, Grid]]:
        names = list(self.rows[0]["figures"])
        told = any(r["differs"] for r in self.rows)
        rows = [
            [Cell(r["name"]), *(Cell.of(r["figures"][m]) for m in names)]
            + [Cell(r["differs"])] * told
            for r in self.rows
        ]
        head = ["run", *map(title, names), *["what differs"] * told]
        yield "Figures", Grid(head, rows, ours=frozenset({0}))
        yield "Differences", self._differences()
        rows = [
            [Cell(place(kind, name)), Cell(f"{of['examples']:,}", sort=of["examples"])]
            + [Cell.of(of["figures"][r["name"]]) for r in self.rows]
            for kind, part in self.slices.items()
            for name, of in part.items()
        ]
        head = [title(self.metrics[0]), "examples", *(r["name"] for r in self.rows)]
        yield "Slices", Grid(head, rows)

    def _differences(self) -> Grid:
        """The tests; what all of them have in common stands above them."""
        same = {part: {t[part] for t in self.tests} for part in ("other", "metric")}
        shown = {"other": "against", "metric": "metric"}
        shown = {part: head for part, head in shown.items() if len(same[part]) > 1}
        rows = []
        for t in self.tests:
            named = {"other": t["other"], "metric": title(t["metric"])}
            apart = f"{t['low']:+.3f} to {t['high']:+.3f}"
            row = [Cell(t["name"]), *(Cell(named[part]) for part in shown)]
            row.append(Cell(f"{t['difference']:+.3f}", apart, t["difference"]))
            rows.append([*row, *(Cell(number(t[p], 4), sort=t[p]) for p in ("p", "holm"))])
        head = "difference" if "metric" in shown else f"{title(self.metrics[0])}, difference"
        against = "" if "other" in shown else f"against {self.tests[0]['other']}"
        return Grid(["run", *shown.values(), head, "p", "p, Holm"], rows, against)


def _columns(
    figures: Sequence[Mapping[str, Any]], value: str
) -> tuple[list[float], list[float], list[float]]:
    """Values, lower and upper ends."""
    return [f[value] for f in figures], [f["low"] for f in figures], [f["high"] for f in figures]


def compare(
    folders: Sequence[str | os.PathLike[str]],
    *,
    metrics: Sequence[str] = ("recall@10",),
    targets: str = "new",
    baselines: bool = False,
    common: bool = False,
    all_pairs: bool = False,
) -> Comparison:
    """Set runs over the same examples beside each other.

    Parameters
    ----------
    metrics: to test; the first one is also shown by slice and drawn.
    baselines: those of the first run too.
    common: take the examples that all have, and say how many are left out.
    all_pairs: test each against each, not only against the first.

    Raises
    ------
    InputError: fewer than two runs, a metric that they do not have, or runs over different
        examples, targets or catalogues.
    """
    if len(folders) + baselines < 2:
        raise InputError(f"{len(folders)} run is given: name two or more, or add --baselines")
    runs = [read_run(f, baselines=baselines and i == 0) for i, f in enumerate(folders)]
    names = _names([r.folder for r in runs])
    ks = sorted(set.intersection(*(set(r.ks) for r in runs)))
    _check_metrics(metrics, ks)
    _check_catalogs(names, runs)
    every = _systems(names, runs)
    chosen = _shared(every) if common else _same(every)
    scored = {name: s.only(chosen) for name, s in every.items()}
    _check_targets(scored)
    differs = dict(zip(names, _differences(runs), strict=True))
    shown = tuple(dict.fromkeys((*headline(ks), *metrics)))
    figures = {name: intervals(s, s.tables[targets], shown) for name, s in scored.items()}
    rows = [{"name": n, "differs": differs.get(n, ""), "figures": f} for n, f in figures.items()]
    first = next(iter(scored.values()))
    return Comparison(
        targets=targets,
        metrics=tuple(metrics),
        counts=counts(first, first.tables[targets]),
        left_out={name: len(every[name].predictions) - len(chosen) for name in names},
        rows=tuple(rows),
        tests=_tests(scored, metrics, targets, all_pairs),
        slices=_slices(scored, metrics[0], targets),
    )


def save(comparison: Comparison, folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``compare.md``, ``compare.html``, ``compare.json``, and ``compare.png`` where plots can
    be made; the files."""
    out = Path(folder)
    texts = {
        "compare.md": comparison.markdown(),
        "compare.html": comparison.html(),
        "compare.json": json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False),
    }
    for name, said in texts.items():
        write_whole(out / name, said)
    try:
        plots.save(comparison.plot(), out / "compare.png")
    except MissingExtraError:
        return [out / name for name in texts]
    return [*(out / name for name in texts), out / "compare.png"]


def _names(folders: Sequence[Path]) -> list[str]:
    """The names of the folders, with as many of their parents as tell them apart."""
    whole = [f.resolve().parts for f in folders]
    names: list[str] = []
    for parts in whole:
        depth = 1
        others = [o for o in whole if o != parts]
        while depth < len(parts) and any(o[-depth:] == parts[-depth:] for o in others):
            depth += 1
        names.append(_free("/".join(parts[-depth:]), names))
    return names


def _free(name: str, taken: Iterable[str]) -> str:
    n, free = 1, name
    while free in taken:
        n += 1
        free = f"{name} ({n})"
    return free


def _systems(names: Sequence[str], runs: Sequence[Run]) -> dict[str, Scored]:
    """What was measured in each run, and the baselines that were read with the first."""
    scored = {name: run.systems[run.main] for name, run in zip(names, runs, strict=True)}
    for name, system in runs[0].systems.items():
        if name != runs[0].main:
            scored[_free(f"{name} (baseline)", scored)] = system
    if len(scored) < 2:
        raise InputError(f"{names[0]} has no baselines beside it: name another run")
    return scored


def _check_metrics(metrics: Sequence[str], ks: Sequence[int]) -> None:
    known = [f"{m}@{k}" for m in METRICS for k in ks]
    for name in metrics:
        if name not in known:
            raise InputError(f"the runs have no metric {name!r}: use one of {', '.join(known)}")


def _check_catalogs(names: Sequence[str], runs: Sequence[Run]) -> None:
    first = runs[0]
    for name, run in zip(names[1:], runs[1:], strict=True):
        here, there = set(first.facts.ids), set(run.facts.ids)
        if here == there and first.catalog == run.catalog:
            continue
        raise InputError(
            f"{names[0]} and {name} rank different catalogues, of {first.catalog:,} and "
            f"{run.catalog:,} items: {len(here - there):,} are only in the first and "
            f"{len(there - here):,} only in the second; compare runs over the same catalogue"
        )


def _same(scored: Mapping[str, Scored]) -> set[str]:
    """The ids of the examples. Raises InputError where they are not the same."""
    (first, of), *others = ((name, {p.id for p in s.predictions}) for name, s in scored.items())
    for name, ids in others:
        if ids != of:
            raise InputError(
                f"{first} and {name} are over different examples: {len(of - ids):,} of the "
                f"{len(of):,} of the first and {len(ids - of):,} of the {len(ids):,} of the second "
                f"are not in the other (--common compares the {len(of & ids):,} that both have)"
            )
    return of


def _shared(scored: Mapping[str, Scored]) -> set[str]:
    every = [{p.id for p in s.predictions} for s in scored.values()]
    shared = set.intersection(*every)
    if not shared:
        raise InputError(
            f"{', '.join(scored)} have no example in common: run them on the same data"
        )
    return shared


def _check_targets(scored: Mapping[str, Scored]) -> None:
    (first, of), *others = scored.items()
    for name, s in others:
        n = sum(
            set(p.relevant) != set(q.relevant) or set(p.mentioned) != set(q.mentioned)
            for p, q in zip(of.predictions, s.predictions, strict=True)
        )
        if n:
            raise InputError(
                f"{first} and {name} have different targets or mentioned items in {n:,} of "
                f"{len(of.predictions):,} examples: run both on the same data"
            )


def _differences(runs: Sequence[Run]) -> list[str]:
    """In a few words what each run has otherwise than another."""
    told = [
        flat({"config": r.said("config") or {}, "weights": r.said("weights") or {}}) for r in runs
    ]
    keys = [k for k in dict.fromkeys(k for t in told for k in t) if k not in _ASIDE]
    odd = [k for k in keys if len({t.get(k) for t in told}) > 1]
    return [
        ", ".join(f"{k.partition('.')[2]} {t[k]}" for k in odd if k in t and "weights" not in k)
        or ("other weights" if any(k in t for k in odd) else "")
        for t in told
    ]


def _tests(
    scored: Mapping[str, Scored], metrics: Sequence[str], targets: str, all_pairs: bool
) -> tuple[dict[str, Any], ...]:
    names = list(scored)
    pairs = list(combinations(names, 2)) if all_pairs else [(names[0], n) for n in names[1:]]
    tests = []
    for metric in metrics:
        for other, name in pairs:
            a, b = scored[name].tables[targets], scored[other].tables[targets]
            part, whole = a.parts(metric)
            groups = scored[other].dialogues[b.rows]
            found = paired(part, b.parts(metric)[0], groups, weights=whole)
            tests.append({"name": name, "other": other, "metric": metric, **found.to_dict()})
    corrected = holm([t["p"] for t in tests])
    return tuple({**t, "holm": p} for t, p in zip(tests, corrected, strict=True))


def _slices(scored: Mapping[str, Scored], metric: str, targets: str) -> dict[str, Any]:
    first = next(iter(scored.values()))
    out: dict[str, Any] = {}
    for kind, of in slices(first).items():
        for name, use in of.items():
            if n := int(use[first.tables[targets].rows].sum()):
                figures = {
                    system: intervals(s, s.tables[targets], (metric,), use)[metric]
                    for system, s in scored.items()
                }
                out.setdefault(kind, {})[name] = {"examples": n, "figures": figures}
    return out
