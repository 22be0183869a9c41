"""ChoiceReport hides what is told of models that choose: beside the list, and the best of it.

The list as the signals order it is the floor of a chooser: what is left when it says nothing. One
that knew the targets and put them first is the ceiling: nobody finds what is not in the list.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.choosing import Tally
from llmrec.evaluation.aggregate import headline, intervals
from llmrec.evaluation.choices import Notes, read_notes
from llmrec.evaluation.page import Cell, Grid, number, spread
from llmrec.evaluation.predictions import Prediction, read_predictions, write_predictions
from llmrec.evaluation.reading import Scored, Table, read_run
from llmrec.evaluation.record import PREDICTIONS
from llmrec.evaluation.systems import Choice
from llmrec.evaluation.tables import title
from llmrec.folders import write_whole
from llmrec.metrics.ranking import encoded, padded, scores
from llmrec.metrics.significance import holm, mean_interval, paired
from llmrec.models.endpoint import Usage

__all__ = ["AS_LISTED", "tell", "write_as_listed"]

AS_LISTED = "as listed"
BEST = "best of the list"
TARGETS = "new"  # what was mentioned is not listed
Figures = dict[str, Any]


def write_as_listed(folder: str | os.PathLike[str]) -> None:
    """Put the candidates as the signals order them beside the run's baselines.

    Raises
    ------
    InputError: the folder cannot be read.
    """
    choices = read_notes(folder).choices
    if choices:
        made = [
            dataclasses.replace(
                _bare(p), items=choices[p.id].order if p.id in choices and not p.error else ()
            )
            for p in read_predictions(Path(folder) / PREDICTIONS)
        ]
        write_predictions(Path(folder) / "baselines" / f"{AS_LISTED}.jsonl", made)


def _bare(p: Prediction) -> Prediction:
    """The facts of the example alone."""
    facts = (p.id, p.dialogue, p.turn, p.language, p.relevant, p.mentioned)
    return Prediction(*facts, items=())


def tell(folder: str | os.PathLike[str]) -> str:
    """What is known of the choices of a run, and of its cost; written as ``choices.md`` and
    ``choices.json`` where there is something.

    Raises
    ------
    InputError: there is no run, or it has no prediction yet.
    """
    notes = read_notes(folder)
    said: Figures = {}
    parts: list[str] = []
    if notes.choices:
        said, told = _judged(folder, notes)
        parts += told
    if notes.usage is not None:
        said["usage"] = dataclasses.asdict(notes.usage)
        parts.append(_spent(notes.usage))
    if not parts:
        return ""
    write_whole(Path(folder) / "choices.json", json.dumps(said, indent=1, allow_nan=False))
    write_whole(Path(folder) / "choices.md", "\n\n".join(parts))
    return "\n\n".join(parts)


def _judged(folder: str | os.PathLike[str], notes: Notes) -> tuple[Figures, list[str]]:
    run = read_run(folder)
    main, floor = run.systems[run.main], run.systems[AS_LISTED]
    names = headline(run.ks)
    best = _best(main, notes.choices, run.ks)
    table = main.tables[TARGETS]
    found = {
        run.main: intervals(main, table, names),
        AS_LISTED: intervals(floor, floor.tables[TARGETS], names),
        BEST: intervals(main, best, names),
    }
    tests = _tests(main, floor, names)
    answers = _answers(main.predictions, notes.choices)
    rows = [[Cell(n), *(Cell.of(of[m]) for m in names)] for n, of in found.items()]
    apart = [
        Cell(f"{t['difference']:+.3f}", f"{t['low']:+.3f} to {t['high']:+.3f}", t["difference"])
        for t in tests.values()
    ]
    p = [Cell(number(t["holm"], 4), sort=t["holm"]) for t in tests.values()]
    rows += [[Cell(f"less {AS_LISTED}"), *apart], [Cell("p, Holm"), *p]]
    grid = Grid(["new targets", *map(title, names)], rows)
    caption = (
        f"{len(table.rows):,} examples with {int(table.targets.sum()):,} new targets; intervals "
        "of 95 % and p by paired bootstrap over dialogues."
    )
    said = {"systems": found, "tests": tests, "answers": answers}
    return said, [grid.markdown(), caption, _words(answers)]


def _best(main: Scored, choices: Mapping[str, Choice], ks: Sequence[int]) -> Table:
    """The table of one that puts the targets first that were listed to it."""
    table = main.tables[TARGETS]
    ranked, targets = [], []
    for p in (main.predictions[i] for i in table.rows.tolist()):
        wanted = [i for i in dict.fromkeys(p.relevant) if i not in p.mentioned]
        choice = choices.get(p.id, Choice((), Tally()))
        shown = choice.order[: choice.counts.listed]
        ranked.append(list(dict.fromkeys((*(i for i in shown if i in wanted), *choice.order))))
        targets.append(wanted)
    (rows, relevant), _ = encoded(ranked, targets)
    return Table(table.rows, table.targets, scores(padded(rows), relevant, tuple(ks)))


def _tests(main: Scored, floor: Scored, names: Sequence[str]) -> Figures:
    """How far the choice is from the list as it came, and whether that is chance."""
    table, other = main.tables[TARGETS], floor.tables[TARGETS]
    groups = main.dialogues[table.rows]
    found = {}
    for name in names:
        (mine, weights), (theirs, _) = table.parts(name), other.parts(name)
        found[name] = paired(mine, theirs, groups, weights=weights).to_dict()
    adjusted = holm([t["p"] for t in found.values()])
    return {n: {**t, "holm": h} for (n, t), h in zip(found.items(), adjusted, strict=True)}


def _answers(predictions: Sequence[Prediction], choices: Mapping[str, Choice]) -> Figures:
    """What was answered, over all examples that had something to choose from."""
    asked = [p for p in predictions if p.id in choices and choices[p.id].counts.answers]
    counts = [choices[p.id].counts for p in asked]
    groups = [p.dialogue or p.id for p in asked]

    def mean(values: Sequence[float], weights: Sequence[float] | None = None) -> Figures:
        weight: Any = None if weights is None else np.asarray(weights, dtype=np.float64)
        made: npt.NDArray[np.float64] = np.asarray(values, dtype=np.float64)
        return mean_interval(made, groups, weights=weight).to_dict()

    named = [c.picked + c.unknown + c.repeated for c in counts]
    return {
        "asked": len(counts),
        "not_asked": len(predictions) - len(counts),
        "listed": mean([c.listed for c in counts]),
        "unread": mean([c.unread for c in counts]),
        "fell_back": mean([not c.picked for c in counts]),
        "picked": mean([c.picked for c in counts]),
        "unknown": mean([c.unknown for c in counts], named),
        "repeated": mean([c.repeated for c in counts], named),
        "down": mean([c.down for c in counts], [c.picked for c in counts]),
    }


def _words(a: Figures) -> str:
    def of(name: str, digits: int = 3) -> str:
        said = a[name]
        ends = spread(said["low"], said["high"], digits)
        return f"{number(said['value'], digits)} ({ends})"

    lines = [
        f"Asked {a['asked']:,} times, with {of('listed', 1)} candidates listed"
        + (f"; {a['not_asked']:,} had nothing to choose from." * bool(a["not_asked"]) or "."),
        f"The share of answers that left the list as it was is {of('fell_back')}: {of('unread')} "
        "held no list of numbers, the others no number of the list.",
    ]
    if a["picked"]["value"]:
        lines += [
            f"An answer chose {of('picked', 1)}; of the numbers named {of('unknown')} were not in "
            f"the list and {of('repeated')} came again.",
            f"The numbers chosen stood {of('down')} down the list on average: .5 where a place "
            "counts for nothing.",
        ]
    return "\n".join(f"- {line}" for line in lines)


def _spent(u: Usage) -> str:
    cached = f" ({u.cached_tokens:,} cached)" if u.cached_tokens else ""
    cost = "" if u.cost is None else f"; cost {u.cost:,.4f}"
    return (
        f"{u.requests:,} requests ({u.retries:,} sent again), {u.prompt_tokens:,} tokens read"
        f"{cached}, {u.completion_tokens:,} written, waited for {u.seconds:,.1f} s in all{cost}."
    )
