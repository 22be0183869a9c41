"""Measured hides how folders of evaluation runs, which anyone may have written, become tables.

Every file is taken for hostile: sizes are looked at before anything is read, links are not
followed, figures are numbers or they are not there, and what cannot be read becomes a Problem.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.demo.cases import AT, Case, cases_of
from llmrec.demo.hostile import BAD, MAX_NAME, Problem, TooLargeError, cut, public, read_json

__all__ = ["Figure", "Group", "Row", "Shelf"]

MAX_DEPTH = 3
MAX_FOLDERS = 2_000
MAX_RUNS = 200
MAX_SYSTEMS = 40
KEPT = 2  # groups whose cases stay in memory


@dataclass(frozen=True)
class Figure:
    """A value with its interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """What one system reached.

    Attributes
    ----------
    label: its name, unique in its group. system: as its run calls it.
    run: the folder, as seen from the folder of runs. main: whether it is what the run measured.
    figures: by name: "new/recall@10", "right", "seconds", "kind/fact" and so on.
    """

    label: str
    system: str
    run: str
    main: bool
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Group:
    """Systems that were asked the same, and so may stand in one table.

    Attributes
    ----------
    kind: "lists" (of eval/run.py) or "answers" (of eval/answers.py).
    data: what the examples are called. part: of the data. n: how many examples.
    ks: depths of the metrics of lists. runs: their names and folders.
    """

    key: str
    kind: str
    data: str
    part: str
    n: int
    ks: tuple[int, ...]
    rows: tuple[Row, ...]
    runs: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class _Found:
    """A run folder, as far as its record and figures say."""

    folder: Path
    name: str
    kind: str
    key: str
    data: str
    part: str
    n: int
    ks: tuple[int, ...]
    systems: tuple[tuple[str, Mapping[str, Figure]], ...]
    main: str = ""


class Shelf:
    """The runs of some folders, read anew where they have changed.

    Parameters
    ----------
    roots: folders of runs; one that is not there holds none.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(roots)
        self._lock = threading.RLock()
        self._known: dict[Path, tuple[object, _Found | Problem | None]] = {}
        self._cases: dict[str, tuple[object, tuple[list[Case], list[Problem]]]] = {}

    def look(self) -> tuple[list[Group], list[Problem]]:
        """All groups, the one with most systems first, and what could not be read."""
        with self._lock:
            found: list[_Found] = []
            problems: list[Problem] = []
            for root in self.roots:
                for n, folder in enumerate(_folders(root)):
                    if n >= MAX_RUNS:
                        problems.append(Problem("many", root.name, MAX_RUNS))
                        break
                    run = self._read(folder, _name(folder, root))
                    if isinstance(run, Problem):
                        problems.append(run)
                    elif run is not None:
                        found.append(run)
        return _grouped(found), problems

    def cases(self, group: Group) -> tuple[list[Case], list[Problem]]:
        """The examples of a group, and what of them could not be read."""
        stamp = tuple(_stamp(f / n) for _, f in group.runs for n in ("run.json", "metrics.json"))
        with self._lock:
            known = self._cases.pop(group.key, None)
            if known is None or known[0] != (stamp, group.rows):
                known = ((stamp, group.rows), cases_of(group))
            self._cases[group.key] = known  # the newest stands last
            while len(self._cases) > KEPT:
                del self._cases[next(iter(self._cases))]
            return known[1]

    def _read(self, folder: Path, name: str) -> _Found | Problem | None:
        stamp = (_stamp(folder / "run.json"), _stamp(folder / "metrics.json"))
        known = self._known.get(folder)
        if known is None or known[0] != stamp:
            known = self._known[folder] = (stamp, _read(folder, name))
        return known[1]


def _folders(root: Path) -> Iterator[Path]:
    """Folders with a run.json, those further up first; links and hidden ones are left out."""
    level, seen = [root], 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            if (seen := seen + 1) > MAX_FOLDERS:
                return
            try:
                entries = sorted(os.scandir(folder), key=lambda e: e.name)
            except OSError:
                continue
            if any(e.name == "run.json" and e.is_file(follow_symlinks=False) for e in entries):
                yield folder
                continue
            below += [
                Path(e.path)
                for e in entries
                if e.is_dir(follow_symlinks=False) and e.name[0] != "."
            ]
        level = below


def _name(folder: Path, root: Path) -> str:
    inside = folder.relative_to(root).as_posix()
    return cut(root.name if inside == "." else inside, MAX_NAME)


def _stamp(file: Path) -> object:
    try:
        at = file.stat(follow_symlinks=False)
    except OSError:
        return None
    return at.st_mtime_ns, at.st_size


def _read(folder: Path, name: str) -> _Found | Problem | None:
    """A run, or why it cannot be shown; None where it is a run of something else."""
    file = "run.json"
    try:
        record = read_json(folder / file)
        answers = isinstance(record.get("shared"), dict) and isinstance(record.get("systems"), dict)
        if not answers and not (isinstance(record.get("system"), str) and "n" in record):
            return None
        file = "metrics.json"
        if not (folder / file).is_file():
            return Problem("unfinished", name)
        figures = read_json(folder / file)
        made = _of_answers if answers else _of_lists
        return made(folder, name, record, figures)
    except TooLargeError:
        return Problem("large", f"{name}/{file}")
    except BAD:
        return Problem("damaged", f"{name}/{file}")


def _of_lists(
    folder: Path, name: str, record: Mapping[str, Any], said: Mapping[str, Any]
) -> _Found:
    data = record.get("data")
    data = data if isinstance(data, Mapping) else {"name": record.get("config", {}).get("data")}
    same = (data.get("fingerprint"), record.get("examples"), record.get("catalog_fingerprint"))
    ks = tuple(sorted({int(k) for k in said["ks"] if 1 <= int(k) <= 1_000}))[:12]
    systems = []
    for system, of in list(said["systems"].items())[:MAX_SYSTEMS]:
        figures = {
            f"{target}/{metric}": figure
            for target in ("new", "all")
            for metric in (*(f"recall@{k}" for k in ks), f"ndcg@{_at(ks)}", f"mrr@{_at(ks)}")
            if (figure := _figure(of[target].get(metric)))
        }
        for metric in ("coverage", "diversity"):
            if figure := _figure(of["beyond"].get(metric)):
                figures[metric] = figure
        figures |= _seconds(of["cost"]["seconds"])
        systems.append((str(system), figures))
    part = record.get("split") or data.get("split") or record.get("config", {}).get("split") or ""
    return _Found(
        folder, name, "lists", _key("lists", same, name), public(data.get("name")), cut(part, 40),
        _count(said["done"]), ks, tuple(systems), str(said["main"]),
    )  # fmt: skip


def _of_answers(
    folder: Path, name: str, record: Mapping[str, Any], said: Mapping[str, Any]
) -> _Found:
    shared = record["shared"]
    asked = [shared.get(n) for n in ("questions_digest", "n", "seed", "catalog_fingerprint")]
    same = tuple(None if a is None else str(a) for a in asked)
    systems = []
    for system, of in list(said["systems"].items())[:MAX_SYSTEMS]:
        every = {
            **{m: of["all"].get(m) for m in ("right", "token_f1", "checked", "hit@1")},
            "refusals": of["refusals"].get("f1"),
            **{f"kind/{k}": v.get("right") for k, v in of["slices"].get("kind", {}).items()},
            **{f"in/{k}": v.get("right") for k, v in of["slices"].get("language", {}).items()},
        }
        figures = {str(n): f for n, v in list(every.items())[:60] if (f := _figure(v))}
        systems.append((str(system), figures | _seconds(of["seconds"])))
    return _Found(
        folder, name, "answers", _key("answers", same, name), public(shared.get("questions")), "",
        _count(said["n"]), (), tuple(systems),
    )  # fmt: skip


def _at(ks: Sequence[int]) -> int:
    return AT if AT in ks else max(ks)


def _key(kind: str, same: Sequence[object], name: str) -> str:
    """Equal for runs that asked the same; a run that does not say what it asked stands alone."""
    told = all(isinstance(s, str) and s for s in same)
    return json.dumps([kind, *same] if told else [kind, "alone", name])


def _count(said: object) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or said < 0:
        raise ValueError("a count is no whole number")
    return said


def _figure(said: object) -> Figure | None:
    """A figure of metrics.json; None where there is none, or it is no number."""
    if not isinstance(said, Mapping) or not said.get("n"):
        return None
    value, low, high = (said.get(part) for part in ("value", "low", "high"))
    if not _is_number(value):
        return None
    ends = (low, high) if _is_number(low) and _is_number(high) else (None, None)
    return Figure(float(value), *ends)  # type: ignore[arg-type]


def _is_number(said: object) -> bool:
    number = isinstance(said, (int, float)) and not isinstance(said, bool)
    return number and math.isfinite(said) and abs(said) < 1e12  # type: ignore[arg-type]


def _seconds(said: object) -> dict[str, Figure]:
    mean = said.get("mean") if isinstance(said, Mapping) else None
    return {"seconds": Figure(float(mean))} if _is_number(mean) else {}  # type: ignore[arg-type]


def _grouped(found: Sequence[_Found]) -> list[Group]:
    """Runs that asked the same, together; a baseline that several have stands there once."""
    by_key: dict[str, list[_Found]] = {}
    for run in found:
        by_key.setdefault(run.key, []).append(run)
    groups = []
    for key, runs in by_key.items():
        first = runs[0]
        named: dict[str, list[tuple[_Found, str, Mapping[str, Figure]]]] = {}
        for run in runs:
            for system, figures in run.systems:
                named.setdefault(system, []).append((run, system, figures))
        rows = []
        for system, of in named.items():
            own = [r for r in of if r[0].kind == "answers" or r[0].main == system] or of[:1]
            for run, _, figures in own:
                label = system if len(own) == 1 else f"{system} ({run.name})"
                main = run.main == system or run.kind == "answers"
                rows.append(Row(cut(label, MAX_NAME), system, run.name, main, figures))
        rows.sort(key=lambda r: not r.main)
        ks = tuple(sorted({k for r in runs for k in r.ks}))
        places = tuple((r.name, r.folder) for r in runs)
        about = (first.kind, first.data, first.part, first.n)
        groups.append(Group(key, *about, ks, tuple(rows), places))
    return sorted(groups, key=lambda g: (-len(g.runs), -len(g.rows), g.key))
