"""Running hides how a system is run over examples: resumably, by one process or several.

A run folder holds ``run.json`` (what was asked of whom), ``predictions.jsonl``, ``baselines/`` on
the same examples, ``items.json`` and ``items.npz`` (what the reports need to know of the items),
then ``metrics.json`` and the reports.

Examples are asked in batches that are always the same, whoever asks them and whatever was there
before. Process r of n takes every n-th batch and writes ``predictions.r.jsonl``; the first one
puts them together when all are there. So neither a kill nor the number of processes changes a
prediction.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from llmrec.catalog import Catalog
from llmrec.errors import InputError, LLMRecError
from llmrec.evaluation.baselines import Mentions, prediction
from llmrec.evaluation.build import build_system
from llmrec.evaluation.data import Data, drawn
from llmrec.evaluation.options import RunOptions
from llmrec.evaluation.predictions import (
    Prediction,
    Predictions,
    at_work,
    read_predictions,
    write_predictions,
)
from llmrec.evaluation.record import (
    PREDICTIONS,
    add_about,
    begin,
    describe,
    parts_of,
    write_beside,
)
from llmrec.evaluation.shots import choose_shots
from llmrec.evaluation.systems import System
from llmrec.types import Example

__all__ = ["Share", "ask", "run"]


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's.

    Attributes
    ----------
    rank, world: process ``rank`` of ``world``.
    patience: seconds that the first one waits for others of which nothing is to be seen.
    """

    rank: int = 0
    world: int = 1
    patience: float = 60.0

    @classmethod
    def of_environment(cls) -> Share:
        """As torchrun says it by ``RANK`` and ``WORLD_SIZE``."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def run(
    options: RunOptions,
    share: Share | None = None,
    *,
    progress: bool = True,
    reports: bool = True,
) -> Path:
    """Do what the options say, or what is left of it; the folder of the run.

    Parameters
    ----------
    share: None: as the environment says. The first process ends last, with the reports.
    reports: whether ``metrics.json`` and the reports are written at the end.

    Raises
    ------
    LLMRecError: something cannot be read or loaded, or the folder holds another run.
    """
    share = share or Share.of_environment()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    folder, data = Path(options.out), Data(Path(options.data))
    every = list(data.examples(options.split))
    if not every:
        raise InputError(f"{data.path} has no example in the part {options.split!r}: name another")
    examples = drawn(every, options.limit, options.seed)
    catalog = Catalog.open(options.catalog) if options.catalog else Catalog.from_items(data.items())
    shots = []
    if options.strategy == "few-shot" and not options.baseline:
        shots = choose_shots(data.training(), every, options.shots, seed=options.seed)
    record = describe(options, data, len(every), examples, catalog, shots)
    begin(folder, record, options.restart, share.rank, share.world)
    mentions = Mentions(data.training(), catalog.ids)

    def build() -> System:
        system = build_system(options, catalog, mentions, shots)
        if share.rank == 0:
            add_about(folder, dict(system.about))
        return system

    if share.rank == 0:
        write_beside(folder, examples, catalog, mentions, options)
    ask(folder, build, examples, options.batch_size, share, progress=progress)
    if share.rank == 0 and reports:
        from llmrec.evaluation.aggregate import aggregate
        from llmrec.evaluation.choice_report import write_as_listed
        from llmrec.evaluation.report import report

        if options.noted:
            write_as_listed(folder)
        aggregate(folder)
        report(folder)
    return folder


def ask(
    folder: Path,
    build: Callable[[], System],
    examples: Sequence[Example],
    batch_size: int,
    share: Share = Share(),
    *,
    progress: bool = False,
) -> None:
    """Predict what is not predicted yet, and leave all of it in one file, in order.

    Parameters
    ----------
    build: makes the system; called only if something is left to ask.

    Raises
    ------
    InputError: the first batch failed altogether, or another process has gone.
    """
    rank, world = share.rank, share.world
    whole = folder / PREDICTIONS
    alone = world == 1 and not parts_of(folder)
    with Predictions(whole if alone else folder / f"predictions.{rank}.jsonl") as file:
        done = file.ids if alone else _known(folder).keys() | file.ids
        batches = [
            (n, examples[at : at + batch_size])
            for n, at in enumerate(range(0, len(examples), batch_size))
        ]
        mine = [b for n, b in batches if n % world == rank]
        left = [b for b in mine if any(e.id not in done for e in b)]
        if left:
            system = build()
            total = sum(map(len, mine))
            begun = sum(e.id in done for b in mine for e in b)
            with _bar(total, begun, progress and rank == 0) as bar:
                _predict(system, left, done, file, bar)
    if not alone and rank == 0:
        known = _gathered(folder, examples, share.patience)
        write_predictions(whole, (known[e.id] for e in examples))
        for part in parts_of(folder):
            part.unlink()


def _bar(total: int, begun: int, show: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=begun, unit="example", desc="asking", disable=not show)


def _predict(
    system: System,
    batches: Iterable[Sequence[Example]],
    done: Iterable[str],
    file: Predictions,
    bar: Any,
) -> None:
    known = set(done)
    for number, batch in enumerate(batches):
        start = time.perf_counter()
        made = _answered(system, batch)
        seconds = (time.perf_counter() - start) / len(batch)
        if number == 0 and all(p.error for p in made):
            raise InputError(f"the first examples all failed, {made[0].error}")
        for p in made:
            if p.id not in known:
                file.add(dataclasses.replace(p, seconds=round(seconds, 6)))
                bar.update()


def _answered(system: System, batch: Sequence[Example]) -> list[Prediction]:
    """The predictions of a batch; where one cannot be had, the others are still."""
    try:
        return system.predictions(batch)
    except LLMRecError as e:
        if len(batch) == 1:
            return [prediction(batch[0], (), error=str(e))]
        return list(chain.from_iterable(_answered(system, [one]) for one in batch))


def _known(folder: Path) -> dict[str, Prediction]:
    """What all processes, and earlier runs, have predicted so far."""
    files = [f for f in (folder / PREDICTIONS, *parts_of(folder)) if f.is_file()]
    return {p.id: p for f in files for p in read_predictions(f)}


def _gathered(folder: Path, examples: Sequence[Example], patience: float) -> dict[str, Prediction]:
    """Everything, as soon as the other processes have it; raises InputError if one is gone."""
    known, news = _known(folder), time.monotonic()
    while missing := sum(e.id not in known for e in examples):
        if any(at_work(part) for part in parts_of(folder)):
            news = time.monotonic()
        elif (now := _known(folder)).keys() != known.keys():
            known, news = now, time.monotonic()
        elif time.monotonic() - news > patience:
            raise InputError(
                f"{missing:,} of {len(examples):,} examples are missing and no other process is "
                "at work: run the same command again, it goes on"
            )
        time.sleep(0.2)
    return known
