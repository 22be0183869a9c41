"""Measured hides how folders of evaluation runs, which anyone may have written, become tables.

Every file is taken for hostile: sizes are looked at before anything is read, links are not
followed, figures are numbers or they are not there, and what cannot be read becomes a Problem.
"""

from __future__ import annotations

import json
import math
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmrec.datasets.journal import digest
from llmrec.errors import LLMRecError, MissingExtraError
from llmrec.evaluation.answer_judging import Said, is_right
from llmrec.evaluation.questions import Question, read_questions
from llmrec.evaluation.reading import Run, Scored, read_run
from llmrec.records import Problem as Line
from llmrec.records import json_rows

__all__ = ["AT", "Case", "Figure", "Given", "Group", "Problem", "Row", "Shelf"]

AT = 10  # a list is right where something wanted is among so many
MAX_DEPTH = 3
MAX_FOLDERS = 2_000
MAX_RUNS = 200
MAX_SYSTEMS = 40
MAX_JSON = 16 << 20  # bytes of run.json and of metrics.json
MAX_BYTES = 128 << 20  # of all that the cases of a run are read from
MAX_ARRAYS = 256 << 20  # of items.npz, unpacked
MAX_NAME = 120
MAX_TEXT = 600  # characters of a message or an answer that are shown
MAX_SAID = 20_000  # characters of an answer that are judged
KEPT = 2  # groups whose cases stay in memory
_BAD = (  # what reading a hostile file may raise
    LLMRecError, OSError, ValueError, TypeError, KeyError, AttributeError, IndexError,
    RecursionError, OverflowError, MemoryError, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What could not be shown.

    Attributes
    ----------
    kind: "damaged", "large", "unfinished" (no figures yet), "unasked" (the questions are not
        there), "unjudged" (something that judges is not installed), "lines" (some lines are
        damaged) or "many" (more runs than are read).
    file: as seen from the folder of runs. n: how many lines, or runs.
    """

    kind: str
    file: str
    n: int = 0


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
class Given:
    """What a system gave for an example.

    Attributes
    ----------
    lines: texts, each with what it is: "hit", "known" (mentioned before) or "".
    right: None where it cannot be judged here.
    place: of the first hit of a list. error: why nothing was given.
    """

    lines: tuple[tuple[str, str], ...]
    right: bool | None
    place: int | None = None
    refused: bool = False
    error: str = ""


@dataclass(frozen=True)
class Case:
    """An example: what was asked, what was wanted, what each system gave (by its label)."""

    id: str
    kind: str
    language: str
    turns: tuple[tuple[str, str], ...]
    wanted: tuple[str, ...]
    refusal: str
    given: Mapping[str, Given] = field(hash=False)

    def holds(self, text: str) -> bool:
        """Whether the words stand anywhere in it; ``text`` in lower case."""
        said = (t for _, t in self.turns)
        gave = (t for g in self.given.values() for t, _ in g.lines)
        return any(text in s.casefold() for s in (self.id, *said, *self.wanted, *gave))


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
                known = ((stamp, group.rows), _cases(group))
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
    return _cut(root.name if inside == "." else inside, MAX_NAME)


def _stamp(file: Path) -> object:
    try:
        at = file.stat(follow_symlinks=False)
    except OSError:
        return None
    return at.st_mtime_ns, at.st_size


def _json(file: Path) -> dict[str, Any]:
    """What a file of one JSON object says. Raises one of ``_BAD``."""
    if file.is_symlink() or file.stat().st_size > MAX_JSON:
        raise _TooLargeError(file)
    said = json.loads(file.read_bytes())
    if not isinstance(said, dict):
        raise ValueError("it holds no JSON object")
    return said


class _TooLargeError(ValueError):
    """A file over its limit, or a link."""


def _read(folder: Path, name: str) -> _Found | Problem | None:
    """A run, or why it cannot be shown; None where it is a run of something else."""
    file = "run.json"
    try:
        record = _json(folder / file)
        answers = isinstance(record.get("shared"), dict) and isinstance(record.get("systems"), dict)
        if not answers and not (isinstance(record.get("system"), str) and "n" in record):
            return None
        file = "metrics.json"
        if not (folder / file).is_file():
            return Problem("unfinished", name)
        figures = _json(folder / file)
        made = _of_answers if answers else _of_lists
        return made(folder, name, record, figures)
    except _TooLargeError:
        return Problem("large", f"{name}/{file}")
    except _BAD:
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
        folder, name, "lists", _key("lists", same, name), _public(data.get("name")), _cut(part, 40),
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
        folder, name, "answers", _key("answers", same, name), _public(shared.get("questions")), "",
        _count(said["n"]), (), tuple(systems),
    )  # fmt: skip


def _at(ks: Sequence[int]) -> int:
    return AT if AT in ks else max(ks)


def _key(kind: str, same: Sequence[object], name: str) -> str:
    """Equal for runs that asked the same; a run that does not say what it asked stands alone."""
    told = all(isinstance(s, str) and s for s in same)
    return json.dumps([kind, *same] if told else [kind, "alone", name])


def _public(said: object) -> str:
    return _cut(Path(str(said or "?")).name, MAX_NAME) or "?"


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
                rows.append(Row(_cut(label, MAX_NAME), system, run.name, main, figures))
        rows.sort(key=lambda r: not r.main)
        ks = tuple(sorted({k for r in runs for k in r.ks}))
        places = tuple((r.name, r.folder) for r in runs)
        about = (first.kind, first.data, first.part, first.n)
        groups.append(Group(key, *about, ks, tuple(rows), places))
    return sorted(groups, key=lambda g: (-len(g.runs), -len(g.rows), g.key))


# -- examples -----------------------------------------------------------------------------------


def _cases(group: Group) -> tuple[list[Case], list[Problem]]:
    made: dict[str, Case] = {}
    problems: list[Problem] = []
    read = _cases_of_answers if group.kind == "answers" else _cases_of_lists
    for n, (name, folder) in enumerate(group.runs):
        try:
            if _size(folder) > MAX_BYTES or _unpacked(folder / "items.npz") > MAX_ARRAYS:
                problems.append(Problem("large", name))
                continue
            labels = {r.system: r.label for r in group.rows if r.run == name or not (n or r.main)}
            for case in read(folder, labels, name, problems):
                before = made.get(case.id)
                given = {**before.given, **case.given} if before else case.given
                made[case.id] = Case(**{**vars(before or case), "given": given})
        except _BAD:
            problems.append(Problem("damaged", name))
    return list(made.values()), problems


def _size(folder: Path) -> int:
    """Bytes of all that is read; a link counts as too large."""
    files = [f for g in ("*.json", "*.jsonl", "*.npz", "*/*.jsonl") for f in folder.glob(g)]
    if any(f.is_symlink() or f.parent.is_symlink() for f in files):
        return MAX_BYTES + 1
    return sum(f.stat().st_size for f in files)


def _unpacked(file: Path) -> int:
    if not file.is_file():
        return 0
    with zipfile.ZipFile(file) as packed:
        return sum(part.file_size for part in packed.infolist())


def _cases_of_lists(
    folder: Path, labels: Mapping[str, str], name: str, problems: list[Problem]
) -> Iterator[Case]:
    ks = _json(folder / "run.json").get("config", {}).get("ks") or (1,)
    if not all(isinstance(k, int) and 1 <= k <= 1_000 for k in ks):
        raise ValueError("ks are no depths")
    run = read_run(folder, baselines=len(labels) > 1)
    if run.problems:
        problems.append(Problem("lines", f"{name}/{run.problems[0].file}", len(run.problems)))
    titles = dict(zip(run.facts.ids, run.facts.titles, strict=False))
    said = _said(folder / "examples.jsonl")
    given = {
        labels[system]: _given(scored, titles)
        for system, scored in run.systems.items()
        if system in labels
    }
    for p in _main(run).predictions:
        yield Case(
            _cut(p.id, MAX_NAME),
            "warm" if p.mentioned else "cold",
            _cut(p.language or "", 12),
            said.get(p.id, ()),
            tuple(_cut(titles.get(i, i)) for i in p.relevant[:50]),
            "",
            {label: of[p.id] for label, of in given.items() if p.id in of},
        )


def _main(run: Run) -> Scored:
    return run.systems[run.main]


def _given(scored: Scored, titles: Mapping[str, str]) -> dict[str, Given]:
    out = {}
    for p in scored.predictions:
        listed = list(dict.fromkeys(p.items))
        wanted, known = set(p.relevant), set(p.mentioned)
        place = next((n for n, i in enumerate(listed, 1) if i in wanted), None)
        lines = tuple(
            (_cut(titles.get(i, i)), "hit" if i in wanted else "known" if i in known else "")
            for i in listed[:AT]
        )
        right = place is not None and place <= AT
        out[p.id] = Given(lines, right, place, error=_cut(str(p.error or "")))
    return out


def _said(file: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """By id the last turns of the examples; what cannot be read is not shown."""
    out: dict[str, tuple[tuple[str, str], ...]] = {}
    if file.is_file():
        with file.open("rb") as raw:
            for _, row in json_rows(raw):
                if isinstance(row, dict) and isinstance(row.get("said"), list):
                    turns = [m for m in row["said"] if isinstance(m, dict)][-8:]
                    out[str(row.get("id"))] = tuple(
                        ("user" if m.get("role") == "user" else "assistant", _cut(m.get("content")))
                        for m in turns
                    )
    return out


def _cases_of_answers(
    folder: Path, labels: Mapping[str, str], name: str, problems: list[Problem]
) -> Iterator[Case]:
    shared = _json(folder / "run.json")["shared"]
    questions = _questions(folder, str(shared.get("questions")), str(shared["questions_digest"]))
    if questions is None:
        problems.append(Problem("unasked", f"{name}: {_public(shared.get('questions'))}"))
        return
    said: dict[str, dict[str, Said]] = {}
    for system, label in labels.items():
        file = folder / "answers" / f"{Path(system).name}.jsonl"
        if file.is_file():
            said[label], broken = _answers(file)
            if broken:
                problems.append(Problem("lines", f"{name}/answers/{file.name}", broken))
    lacking: list[Problem] = []

    def right(question: Question, gave: Said) -> bool | None:
        try:
            return is_right(question, gave)
        except MissingExtraError:
            lacking[:] = [Problem("unjudged", name)]
            return None

    for q in questions:
        answers = {label: of[q.id] for label, of in said.items() if q.id in of}
        if not answers:
            continue
        turns = [(m.role, m.content) for m in q.conversation] + [("user", q.question)]
        yield Case(
            _cut(q.id, MAX_NAME),
            q.kind,
            q.language,
            tuple((role, _cut(text)) for role, text in turns[-8:]),
            tuple(_cut(a) for a in q.answers[:5]),
            "" if q.answerable else _cut(q.why, 60),
            {
                label: Given(
                    ((_cut(s.text), ""),) if s.text else (),
                    right(q, s),
                    refused=s.refused,
                    error=_cut(s.error or ""),
                )
                for label, s in answers.items()
            },
        )
    problems += lacking


def _questions(folder: Path, said: str, wanted: str) -> list[Question] | None:
    """The question set of a run: beside it, or where its record says; only with its very bytes."""
    name = Path(said).name
    places = [p / n for p in (folder, *folder.parents[:2]) for n in (name, "questions.jsonl")]
    if not Path(said).is_absolute() and ".." not in Path(said).parts:
        places.append(Path(said))
    for file in places:
        fits = file.is_file() and not file.is_symlink() and file.stat().st_size <= MAX_BYTES
        if fits and digest(file) == wanted:
            lost: list[Line] = []
            return [q for q in read_questions(file, lost) if _is_sound(q)]
    return None


def _is_sound(q: Question) -> bool:
    texts = (q.id, q.question, *q.answers, *q.rivals, *(n for v in q.values for n in v))
    return all(isinstance(t, str) and len(t) <= MAX_SAID for t in texts)


def _answers(file: Path) -> tuple[dict[str, Said], int]:
    """By the question's id what a system said, and how many lines cannot be used."""
    out: dict[str, Said] = {}
    broken = 0
    with file.open("rb") as raw:
        for _, row in json_rows(raw):
            try:
                said = Said.from_dict(row)  # type: ignore[arg-type]
                texts = (said.id, said.text, said.error or "")
                if not all(isinstance(t, str) and len(t) <= MAX_SAID for t in texts):
                    raise ValueError("it holds no texts of a fair length")
                out[said.id] = said
            except _BAD:
                broken += 1
    return out, broken


def _cut(said: object, most: int = MAX_TEXT) -> str:
    """Words of others, at most so many; half a surrogate pair and what hides become marks."""
    text = str(said)
    text = text if len(text) <= most else text[: most - 1] + "…"
    whole = text.encode("utf-8", "replace").decode()
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in whole
    )
