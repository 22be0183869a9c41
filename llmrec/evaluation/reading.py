"""Reading hides how a run folder becomes arrays: rankings as rows of the catalogue, and figures.

What it reads are ``run.json``, ``predictions.jsonl``, ``baselines/*.jsonl``, ``items.json`` and
``items.npz``. The order of the lines does not matter: examples are held in the order of their ids.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.evaluation.predictions import Prediction
from llmrec.metrics import ranking
from llmrec.records import Problem, json_rows, short

__all__ = ["TARGETS", "Facts", "Run", "Scored", "Table", "read_run"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Features = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
TARGETS = ("all", "new")
_UNSAID = "model"
_KS = (1, 5, 10, 50)
_NUMBERS = ("turn", "seconds", "tokens", "outside", "duplicates")


@dataclass(frozen=True)
class Facts:
    """What is known of the items of a run.

    Attributes
    ----------
    ids, titles: in the order of the catalogue.
    counts: of each item, how many training dialogues mention it.
    features: CSR triple of content features (``ptr``, ``index``, ``value``).
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    counts: Ints | None = None
    features: Features | None = None


@dataclass(frozen=True)
class Table:
    """The figures of each example under one repeat policy.

    Attributes
    ----------
    rows: [n] which examples of the system these are.
    targets: [n] how many items were relevant.
    scores: by name, [n].
    """

    rows: Ints
    targets: Floats
    scores: Mapping[str, Floats]

    def parts(self, name: str) -> tuple[Floats, Floats]:
        """Of a metric its parts and wholes, [n] each: the metric is the ratio of their sums.

        ``recall@k`` counts targets, as ReDial does (the first k hold so many of so many);
        ``recall_macro@k``, and all others, are means over examples.
        """
        kind, _, k = name.partition("@")
        if kind == "recall":
            return self.scores[f"found@{k}"], self.targets
        return self.scores[name.replace("recall_macro", "recall")], np.ones(len(self.rows))

    def only(self, kept: npt.NDArray[np.bool_]) -> Table:
        """The same of some of the examples; ``kept``: [examples of the system]."""
        use = kept[self.rows]
        rows = (np.cumsum(kept) - 1)[self.rows[use]]
        scores = {name: values[use] for name, values in self.scores.items()}
        return Table(rows, self.targets[use], scores)


@dataclass(frozen=True)
class Scored:
    """Everything that one system gave, and how good it was.

    Attributes
    ----------
    predictions: in the order of their ids.
    ranked: [n, depth] rows of the catalogue as they were given, repeats of mentioned items and all.
    tables: "all" targets, and "new" ones with what was mentioned taken out of the ranking too.
    fresh: [n, depth] the rankings without what was mentioned, of every example.
    """

    name: str
    predictions: tuple[Prediction, ...]
    ranked: Ints
    fresh: Ints
    mentioned: tuple[Ints, ...]
    relevant: tuple[Ints, ...]
    tables: Mapping[str, Table]

    @property
    def dialogues(self) -> npt.NDArray[np.str_]:
        """[n] the dialogue of each example; one without a dialogue is one of its own."""
        return np.array([p.dialogue or p.id for p in self.predictions], dtype=str)

    def only(self, ids: Collection[str]) -> Scored:
        """The same of some of the examples."""
        kept = np.array([p.id in ids for p in self.predictions], dtype=bool)
        at = np.flatnonzero(kept).tolist()
        return Scored(
            self.name,
            tuple(self.predictions[i] for i in at),
            self.ranked[kept],
            self.fresh[kept],
            tuple(self.mentioned[i] for i in at),
            tuple(self.relevant[i] for i in at),
            {name: table.only(kept) for name, table in self.tables.items()},
        )


@dataclass(frozen=True)
class Run:
    """A run folder, read.

    Attributes
    ----------
    config: what ``run.json`` says.
    main: the system that was measured; the first of ``systems``, before the baselines.
    n: how many examples were asked for; None where ``run.json`` does not say.
    catalog: how many items were ranked.
    problems: lines that could not be used.
    """

    folder: Path
    config: Mapping[str, Any]
    facts: Facts
    main: str
    systems: Mapping[str, Scored]
    n: int | None
    catalog: int
    ks: tuple[int, ...]
    problems: tuple[Problem, ...]

    def said(self, *names: str) -> Any:
        """What ``run.json`` says under the first of these names; None where it is silent."""
        return _said(self.config, *names)


def read_run(folder: str | os.PathLike[str], *, baselines: bool = True) -> Run:
    """Read a run folder, finished or under way, and score every ranking in it.

    Baselines are scored on the examples that the run has come to.

    Raises
    ------
    InputError: there is no run, or it has no prediction yet.
    """
    path = Path(folder)
    config = _config(path)
    problems: list[Problem] = []
    files = [path / "predictions.jsonl", *sorted(path.glob("predictions.*.jsonl"))]
    main = _read(path, files, problems)
    if not main:
        raise InputError(f"{path} has no predictions yet: run eval/run.py on it first")
    given = {str(_said(config, "system") or _UNSAID): main}
    done = {p.id for p in main}
    for file in sorted((path / "baselines").glob("*.jsonl")) if baselines else ():
        rows = [p for p in _read(path, [file], problems) if p.id in done]
        if rows:
            given.setdefault(file.stem, rows)
    facts = _facts(path)
    ks = tuple(sorted({int(k) for k in _said(config, "ks") or _KS}))
    row_of = {i: n for n, i in enumerate(facts.ids)}
    systems = {name: _system(name, rows, row_of, ks) for name, rows in given.items()}
    return Run(
        folder=path,
        config=config,
        facts=facts,
        main=next(iter(systems)),
        systems=systems,
        n=_said(config, "n"),
        catalog=len(facts.ids) or int(_said(config, "catalog") or 0),
        ks=ks,
        problems=tuple(problems),
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{folder} is no run (no run.json): make one with eval/run.py") from None
    except ValueError as e:
        raise InputError(f"{folder / 'run.json'} is damaged ({e}): run eval/run.py anew") from None
    if not isinstance(said, dict):
        raise InputError(f"{folder / 'run.json'} holds no JSON object: run eval/run.py anew")
    return said


def _read(folder: Path, files: Iterable[Path], problems: list[Problem]) -> list[Prediction]:
    """The predictions of files by id; what is broken, cut off or there twice is a problem."""
    found: dict[str, Prediction] = {}
    for file in files:
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            with file.open("rb") as raw:
                for line, row in json_rows(raw):
                    made = _made(row)
                    if isinstance(made, str):
                        problems.append(Problem(name, line, made))
                    elif found.setdefault(made.id, made) != made:
                        said = f"the id {short(made.id)} was used before"
                        problems.append(Problem(name, line, said))
    return [found[i] for i in sorted(found)]


def _made(row: Mapping[str, Any] | str) -> Prediction | str:
    """A prediction that can be scored, or why this is none."""
    if isinstance(row, str):
        return row
    try:
        made = Prediction.from_dict(row)
    except InputError as e:
        return str(e)
    for name in ("relevant", "mentioned", "items"):
        ids = getattr(made, name)
        if not isinstance(ids, tuple) or not all(isinstance(i, str) for i in ids):
            return f"{name} is {short(ids)}: a list of ids is wanted"
    for name in _NUMBERS:
        value = getattr(made, name)
        if not isinstance(value, (int, float)) or not isfinite(value):
            return f"{name} is {short(value)}: a number is wanted"
    if not isinstance(made.tiers, Mapping) or not all(
        isinstance(n, int) for n in made.tiers.values()
    ):
        return f"tiers are {short(made.tiers)}: how often each was met is wanted"
    if made.wishes is not None and [type(n) for n in made.wishes] != [int, int]:
        return f"wishes are {short(made.wishes)}: how many were met and asked is wanted"
    return made if isinstance(made.id, str) else f"id is {short(made.id)}: a text is wanted"


def _facts(folder: Path) -> Facts:
    """What ``items.json`` and ``items.npz`` say; nothing where they are absent."""
    try:
        said = json.loads((folder / "items.json").read_text(encoding="utf-8"))
        ids = tuple(str(i) for i in said["ids"])
        titles = tuple(str(t) for t in said.get("titles") or ids)
    except OSError:
        return Facts((), ())
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        file = folder / "items.json"
        raise InputError(f"{file} is damaged ({e!r}): run eval/run.py anew") from None
    file = folder / "items.npz"
    try:
        with np.load(file) as arrays:
            have = {name: arrays[name] for name in arrays.files}
        sizes = {"counts": len(ids), "ptr": len(ids) + 1}
        if any(len(have[name]) != n for name, n in sizes.items() if name in have):
            raise ValueError("its items are others than those of items.json")
    except FileNotFoundError:
        have = {}
    except (OSError, ValueError, BadZipFile) as e:
        raise InputError(f"{file} is damaged ({e}): run eval/run.py anew") from None
    counts = have["counts"].astype(np.int64) if "counts" in have else None
    csr = tuple(have[name] for name in ("ptr", "index", "value") if name in have)
    return Facts(ids, titles, counts, csr if len(csr) == 3 and len(csr[1]) else None)


def _said(config: Mapping[str, Any], *names: str) -> Any:
    """What ``run.json`` says under the first of these names, of the run or of its options."""
    for name in names:
        for part in (config, config.get("config")):
            if isinstance(part, Mapping) and part.get(name) is not None:
                return part[name]
    return None


def _system(
    name: str, predictions: Sequence[Prediction], row_of: dict[str, int], ks: Sequence[int]
) -> Scored:
    """Score what a system gave. Ids that the catalogue does not have get rows after its end."""

    def rows(ids: Iterable[str]) -> Ints:
        return np.array([row_of.setdefault(i, len(row_of)) for i in dict.fromkeys(ids)], np.int64)

    relevant = tuple(rows(p.relevant) for p in predictions)
    mentioned = tuple(rows(p.mentioned) for p in predictions)
    ranked = ranking.padded([rows(p.items) for p in predictions]).astype(np.int64)
    fresh = _without(ranked, mentioned)
    unmet = tuple(r[~np.isin(r, m)] for r, m in zip(relevant, mentioned, strict=True))
    tables = {"all": _table(ranked, relevant, ks), "new": _table(fresh, unmet, ks)}
    return Scored(name, tuple(predictions), ranked, fresh, mentioned, relevant, tables)


def _table(ranked: Ints, relevant: Sequence[Ints], ks: Sequence[int]) -> Table:
    """Examples without a target are left out."""
    targets = np.array([len(r) for r in relevant], dtype=np.float64)
    rows = np.flatnonzero(targets)
    wanted = [relevant[i] for i in rows.tolist()]
    scores = ranking.scores(ranked[rows], wanted, tuple(ks))
    return Table(rows, targets[rows], scores)


def _without(ranked: Ints, mentioned: Sequence[Ints]) -> Ints:
    """The rankings without what was mentioned, moved together."""
    n = len(ranked)
    sizes = np.array([len(m) for m in mentioned], dtype=np.int64)
    known = np.concatenate([np.zeros(0, np.int64), *mentioned])
    span = max(int(ranked.max(initial=0)), int(known.max(initial=0))) + 1
    known += np.repeat(np.arange(n), sizes) * span
    of = np.arange(n)[:, None] * span + ranked
    kept = np.where((ranked < 0) | np.isin(of, known), -1, ranked)
    return np.take_along_axis(kept, np.argsort(kept < 0, axis=1, kind="stable"), axis=1)
