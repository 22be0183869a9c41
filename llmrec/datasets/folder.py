"""Folder hides how a data set is prepared on disk: in shards, resumably, whole or not at all.

A finished folder holds ``examples/`` and ``items/`` (one file or more for each split), a card
(``README.md``) that tells ``datasets.load_dataset`` where they are, ``prepare.json`` (what it was
made of and what became of the records) and, if there were any, ``problems.jsonl``.

While it is made it lies in the hidden folder ``.NAME.part`` beside it. A shard gets its name when
it is whole, then the journal says so; whatever the journal does not say is written again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from llmrec.datasets.base import MAX_PROBLEMS, Report, Source
from llmrec.datasets.card import dataset_card
from llmrec.datasets.journal import Journal, claimed, difference, digest, fingerprints, plain
from llmrec.datasets.rows import FILE_FORMATS, TABLES, fill_in, from_values, read, save
from llmrec.errors import InputError
from llmrec.folders import restore
from llmrec.records import progress_bar
from llmrec.types import Example, Item

__all__ = ["META", "Folder", "Summary", "write"]

META = "prepare.json"
VERSION = 1
_BATCH = 1_024
_SPLIT = re.compile(r"\w+(\.\w+)*")
_FACTS = ("name", "title", "homepage", "license", "citation")


@dataclass(frozen=True)
class Folder:
    """Prepared data, opened.

    Attributes
    ----------
    meta: what ``prepare.json`` says.
    """

    path: Path
    meta: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Folder:
        """Open a folder that ``write`` made, here or pulled from the Hub.

        Raises
        ------
        InputError: there is no such folder, or it is damaged.
        """
        folder = Path(path)
        try:
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
        except OSError:
            raise InputError(
                f"{folder} holds no prepared data (no {META}): make it with train/prepare.py"
            ) from None
        except ValueError:
            meta = None
        try:
            if meta["version"] > VERSION:
                raise InputError(f"{folder} was prepared by a newer llmrec: install that one")
            opened = cls(folder, meta)
            wanted = [
                (file, entry["bytes"])
                for table in TABLES
                for split in opened.splits[table]
                for file, entry in opened._files(table, split)
            ]
        except (KeyError, TypeError, AttributeError):
            raise InputError(f"{folder / META} is damaged, prepare the data anew") from None
        for file, size in wanted:
            if not file.is_file() or file.stat().st_size != size:
                raise InputError(f"{file} is missing or cut short, prepare the data anew")
        return opened

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The splits of ``examples`` and of ``items``."""
        return {table: tuple(self.meta["tables"].get(table, ())) for table in TABLES}

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Rows of each split, of ``examples`` and of ``items``."""
        return {
            table: {split: said["kept"] for split, said in self.meta["tables"][table].items()}
            for table in self.meta["tables"]
        }

    @property
    def fingerprint(self) -> str:
        """Of the contents: equal for equal files of rows."""
        shards = [
            [table, split, [entry["blake2b"] for entry in said["files"]]]
            for table, splits in sorted(self.meta["tables"].items())
            for split, said in sorted(splits.items())
        ]
        return blake2b(json.dumps(shards).encode(), digest_size=16).hexdigest()

    def examples(self, split: str = "train") -> Iterator[Example]:
        """The examples of one split, in order, streamed. Raises InputError."""
        return self._read("examples", split)

    def items(self, split: str = "train") -> Iterator[Item]:
        """The items of one split, in order, streamed. Raises InputError."""
        return self._read("items", split)

    def _read(self, table: str, split: str) -> Iterator[Any]:
        if split not in self.splits[table]:
            there = ", ".join(self.splits[table]) or "none"
            raise InputError(f"{self.path} has no {table} of the split {split!r}: it has {there}")
        return (
            value
            for file, _ in self._files(table, split)
            for value in read(table, file, self.meta["config"]["format"])
        )

    def _files(self, table: str, split: str) -> list[tuple[Path, Mapping[str, Any]]]:
        # Names are made, not taken from the file: a folder from elsewhere leads nowhere else.
        entries = self.meta["tables"][table][split]["files"]
        suffix = self.meta["config"]["format"]
        if suffix not in FILE_FORMATS or not _SPLIT.fullmatch(split):
            raise KeyError(split)
        names = [_shard(table, split, i, suffix, len(entries)) for i in range(len(entries))]
        return [(self.path / name, entry) for name, entry in zip(names, entries, strict=True)]


@dataclass(frozen=True)
class Summary:
    """What ``write`` did.

    Attributes
    ----------
    folder: the finished folder. seconds: of this run.
    made: False if the folder was complete and made of the same, so that nothing was done.
    rows_before: how many rows earlier, interrupted runs had written.
    """

    folder: Folder
    seconds: float
    made: bool = True
    rows_before: int = 0

    def __str__(self) -> str:
        meta = self.folder.meta
        rows = sum(n for splits in self.folder.counts.values() for n in splits.values())
        before = f", {self.rows_before:,} were there" if self.rows_before else ""
        head = f"{self.folder.path}: {rows:,} rows in {self.seconds:.1f} s{before}"
        if not self.made:
            head = f"{self.folder.path} is complete, of the same files and options: nothing to do"
        lines = [head]
        for table, splits in meta["tables"].items():
            for split, said in splits.items():
                dropped = "; ".join(f"{n:,} {why}" for why, n in said["dropped"].items())
                lines.append(f"  {table} {split}: {said['kept']:,} kept, dropped: {dropped or 0}")
                lines += _facts_said(meta, said.get("facts"))
        if meta["problems"]:
            first = meta["problems"][0]
            lines.append(
                f"  first problem: line {first['line']} of {first['file']}: {first['reason']} "
                f"(more in problems.jsonl)"
            )
        return "\n".join(lines)


def _facts_said(meta: Mapping[str, Any], joined: Mapping[str, Any] | None) -> list[str]:
    """How the items were found in the tables of facts, and how many have which field now."""
    if not joined:
        return []
    lines = [
        f"    in {origin['name']}: {'; '.join(f'{n:,} {how}' for how, n in found.items() if n)}"
        for origin, found in zip(meta["config"]["facts"], joined["found"], strict=True)
    ]
    known = ", ".join(f"{name} {now:,}" for name, (_, now) in joined["fields"].items() if now)
    return [*lines, f"    have now: {known}"]


def write(
    source: Source,
    folder: str | os.PathLike[str],
    *,
    path: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    format: str = "parquet",
    tables: Sequence[str] = TABLES,
    shard_rows: int = 50_000,
    limit: int | None = None,
    restart: bool = False,
    progress: bool = True,
) -> Summary:
    """Write the examples and items of a source into a folder; interrupted, it goes on later.

    Called again after whatever interruption, with the same source and options, it continues after
    the last whole shard, and the folder has the same bytes as one made in one go.

    Where a source has ``tables`` (see ``Source``), the items are taken from there. Where it has
    ``origins`` and ``joined`` (see ``facts.WithFacts``), the folder tells of them too.

    Parameters
    ----------
    path: the file or folder the source reads, to tell by its fingerprint if it has changed.
    options: what the source was opened with; for the card, and to tell if it has changed.
    format: ``parquet``, ``jsonl`` or ``csv`` (items only: messages do not fit into cells).
    tables: ``examples``, ``items`` or both.
    shard_rows: rows of a file; of a columnar source less than one of its tables more.
    limit: at most so many examples of each split; where no examples are written, so many items.
    restart: drop what an interrupted run has left, and replace a folder prepared otherwise.

    Raises
    ------
    InputError: options that do not fit, files that have changed since an interrupted run, a folder
        that is something else or prepared otherwise, another run at work on it, not one row, or a
        disk that cannot be written.
    """
    began = time.perf_counter()
    target = Path(os.path.abspath(folder))
    _check(source, format, tables, shard_rows, limit)
    try:
        files = [path, *(options or {}).values()]
        config = {
            "reader": source.name,
            "options": {name: plain(value) for name, value in (options or {}).items()},
            "sources": [entry for file in files for entry in fingerprints(file)],
            "format": format,
            "tables": list(tables),
            "shard_rows": shard_rows,
            "limit": limit,
        }
        if origins := getattr(source, "origins", None):
            config["facts"] = origins
        facts = {name: str(getattr(source, name)) for name in _FACTS}
        facts["path"] = Path(os.path.abspath(path)).name if path else "PATH"
        target.parent.mkdir(parents=True, exist_ok=True)
        with claimed(target.with_name(f".{target.name}.part")) as part:
            journal = Journal(part, restart)
            if _is_standing(target, config, journal, restart):
                made, before = False, 0
            else:
                made, before = True, journal.begin(config)
                for table, split in _splits(source, tables):
                    capped = limit if table == "examples" or not _of(source, tables) else None
                    _write_split(source, journal, table, split, capped, progress)
                _finish(journal, target, facts)
            journal.drop()
    except OSError as e:
        raise InputError(f"{target} cannot be prepared, run it again once it can: {e}") from e
    return Summary(Folder.open(folder), time.perf_counter() - began, made, before)


def _of(source: Source, tables: Sequence[str]) -> bool:
    return "examples" in tables and bool(source.example_splits)


def _splits(source: Source, tables: Sequence[str]) -> list[tuple[str, str]]:
    there = {"examples": source.example_splits, "items": source.item_splits}
    return [(table, split) for table in TABLES if table in tables for split in there[table]]


def _check(
    source: Source, format: str, tables: Sequence[str], shard_rows: int, limit: int | None
) -> None:
    if format not in FILE_FORMATS:
        raise InputError(f"there is no file format {format!r}: use {', '.join(FILE_FORMATS)}")
    if not tables or set(tables) - set(TABLES):
        raise InputError(f"the tables are {list(tables)!r}: use {' or '.join(TABLES)}, or both")
    for name, n in (("shard_rows", shard_rows), ("limit", limit)):
        if n is not None and n < 1:
            raise InputError(f"{name} is {n}: give at least 1")
    if format == "csv" and _of(source, tables):
        raise InputError(
            "examples cannot be written as csv, their messages do not fit into cells: "
            "use parquet or jsonl, or write the items only"
        )
    for table, split in _splits(source, tables):
        if not _SPLIT.fullmatch(split):
            raise InputError(
                f"{table} have a split {split!r}: letters, digits and underscores are allowed"
            )


def _is_standing(target: Path, config: Mapping[str, Any], journal: Journal, restart: bool) -> bool:
    """Whether the finished folder is there. Raises InputError if something else is."""
    restore(target)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    shutil.rmtree(_aside(target), ignore_errors=True)
    if not (target / META).is_file():
        raise InputError(
            f"{target} is there and is no folder of prepared data: give another place to write to"
        )
    begun = journal.head is not None and journal.head["config"] == config
    try:
        there = Folder.open(target).meta["config"]
    except InputError as e:
        if restart or begun:
            return False
        raise InputError(f"{e} (with --restart, restart=True)") from None
    if restart or (begun and there != config):
        return False
    if there != config:
        raise InputError(
            f"{target} was prepared otherwise, {difference(there, config)}: give another place "
            "to write to, or replace it with --restart (restart=True)"
        )
    return True


class _Records:
    """The records of an ordinary source as tables; it is read again from the start."""

    def __init__(self, source: Any, table: str, split: str, format: str, cursor: Any) -> None:
        self._source, self._table, self._split, self._format = source, table, split, format
        self._own = Report.from_dict(cursor["own"]) if cursor else Report()
        self._taken = cursor["taken"] if cursor else 0
        self._values = islice(getattr(source, table)(split), self._taken, None)

    def take(self, n: int) -> Any:
        """A table of at most ``n`` rows, perhaps of none; None at the end."""
        values = list(islice(self._values, min(n, _BATCH)))

        def bad(i: int, reason: str) -> None:
            self._own.broken(f"{self._table}/{self._split}", self._taken + i + 1, reason)

        made = from_values(self._table, values, self._format, bad) if values else None
        self._taken += len(values)
        return made

    @property
    def cursor(self) -> dict[str, Any]:
        return {"taken": self._taken, "own": self._own.to_dict()}

    @property
    def report(self) -> dict[str, Any]:
        read = self._source.report
        problems = [*read.problems, *self._own.problems][:MAX_PROBLEMS]
        said = Report(0, read.dropped + self._own.dropped, problems).to_dict()
        joined = getattr(self._source, "joined", None) if self._table == "items" else None
        return said | {"facts": joined} if joined else said


class _Columns:
    """The tables of a columnar source; it goes on from a cursor."""

    def __init__(self, source: Any, split: str, cursor: Any) -> None:
        self.cursor = cursor
        self._source = source
        self._tables = iter(source.tables(split, after=cursor))

    def take(self, n: int) -> Any:
        """The next table, of whatever length; None at the end."""
        for part, cursor in self._tables:
            self.cursor = cursor
            return fill_in("items", part)
        return None

    @property
    def report(self) -> dict[str, Any]:
        said: dict[str, Any] = self._source.report.to_dict()
        return said


def _write_split(
    source: Source, journal: Journal, table: str, split: str, limit: int | None, progress: bool
) -> None:
    shards, end = journal.of(table, split)
    if end:
        return
    assert journal.head is not None
    config = journal.head["config"]
    rows = sum(shard["rows"] for shard in shards)
    cursor = shards[-1]["cursor"] if shards else None
    report = shards[-1]["report"] if shards else Report().to_dict()
    stream = (
        _Columns(source, split, cursor)
        if table == "items" and hasattr(source, "tables") and config["format"] != "csv"
        else _Records(source, table, split, config["format"], cursor)
    )
    with progress_bar(progress, limit, "row") as bar:
        bar.set_description(f"{table} {split}")
        bar.update(rows)
        while limit is None or rows < limit:
            most = None if limit is None else limit - rows
            room = min(config["shard_rows"], most or config["shard_rows"])
            parts = []
            while room > 0 and (part := stream.take(room)) is not None:
                parts.append(part)
                room -= len(part)
                bar.update(len(part))
            report = stream.report
            n = _write_shard(journal, table, split, parts, most, stream)
            if not n:
                break
            rows += n
    journal.add(table, split, report=report | {"kept": rows})


def _write_shard(
    journal: Journal,
    table: str,
    split: str,
    parts: list[Any],
    most: int | None,
    stream: _Records | _Columns,
) -> int:
    import pyarrow as pa

    if not any(len(part) for part in parts):
        return 0
    data = pa.concat_tables(parts).slice(0, most)
    assert journal.head is not None
    format = journal.head["config"]["format"]
    file = journal.folder / _shard(table, split, len(journal.of(table, split)[0]), format)
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_name(file.name + ".tmp")
    save(temporary, data, format)
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.rename(file)
    spoken = data["language"].unique().to_pylist() if table == "examples" else []
    journal.add(
        table,
        split,
        rows=len(data),
        bytes=file.stat().st_size,
        blake2b=digest(file),
        languages=sorted(filter(None, spoken)),
        cursor=stream.cursor,
        report=stream.report,
    )
    return len(data)


def _shard(table: str, split: str, i: int, format: str, n: int | None = None) -> str:
    of = "" if n is None else f"-of-{n:05d}"
    return f"{table}/{split}-{i:05d}{of}.{format}"


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")  # where folders.restore looks


def _finish(journal: Journal, target: Path, facts: Mapping[str, str]) -> None:
    """Give the shards their names, tell of them, and put the folder in its place."""
    meta, problems = _meta(journal, facts)
    if not any("rows" in entry for entry in journal.entries):
        why = f", the first: {problems[0]['reason']}" if problems else ""
        dropped = sum(sum(entry["report"]["dropped"].values()) for entry in journal.entries)
        journal.drop()
        raise InputError(f"there is not one row to write, {dropped:,} were left out{why}")
    for table, splits in meta["tables"].items():
        for split, said in splits.items():
            for i in range(n := len(said["files"])):
                file = journal.folder / _shard(table, split, i, meta["config"]["format"])
                if file.exists():
                    file.rename(
                        journal.folder / _shard(table, split, i, meta["config"]["format"], n)
                    )
    texts = {META: json.dumps(meta, ensure_ascii=False, indent=1) + "\n"}
    texts["README.md"] = dataset_card(meta)
    if problems:
        lines = [json.dumps(problem, ensure_ascii=False) + "\n" for problem in problems]
        texts["problems.jsonl"] = "".join(lines)
    for name, text in texts.items():
        with (journal.folder / name).open("w", encoding="utf-8", newline="\n") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    if target.exists():
        target.rename(_aside(target))
    journal.folder.rename(target)
    shutil.rmtree(_aside(target), ignore_errors=True)


def _meta(
    journal: Journal, facts: Mapping[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What ``prepare.json`` says, and every problem once."""
    tables: dict[str, Any] = {}
    problems: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in journal.entries:
        table, split = entry["table"], entry["split"]
        said = tables.setdefault(table, {}).setdefault(split, {"files": []})
        if "rows" in entry:
            said["files"].append({k: entry[k] for k in ("rows", "bytes", "blake2b")})
            continue
        report = entry["report"]
        said |= {name: report[name] for name in ("kept", "dropped", "facts") if name in report}
        for file, line, reason in entry["report"]["problems"]:
            name = Path(file).name if Path(file).is_absolute() else file
            problem = {"table": table, "split": split, "file": name, "line": line}
            problems.setdefault((name, line, reason), problem | {"reason": reason})
    assert journal.head is not None
    meta = {
        "version": VERSION,
        **journal.head,
        "source": dict(facts),
        "languages": sorted({lang for e in journal.entries for lang in e.get("languages", ())}),
        "tables": tables,
        "problems": list(problems.values())[:MAX_PROBLEMS],
    }
    return meta, list(problems.values())
