"""Untrusted hides how a file of unknown origin becomes plain rows without harm to the page.

The file is opened in a process of its own, which may use so much memory, time and disk and no
more, has no token of the owner's, and writes rows of plain JSON. Whatever a file does to its reader
(bombs, endless lines, crashes of a parser in C) ends that process and becomes a `Refusal`.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import datetime
import io
import json
import math
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["SUFFIXES", "Limits", "Read", "Refusal", "plain_name", "read_file", "read_hub"]

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet")
PROBLEMS = 100  # told one by one
LIST = 200  # values of a list that are kept
_DELIMITERS = ",;\t|"
_HEAD = 1 << 16
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}\Z", re.ASCII)
_SPLIT = re.compile(r"\w[\w.-]{0,60}\Z", re.ASCII)
_NO_DATA = re.compile(r"(?:^|/)(?:\.|dataset_infos?\.json|[^/]*\.txt$)")
_OTHER_SPLITS = re.compile(r"(?<![a-z])(?:test|valid|validation|dev|eval)(?![a-z])")
# First bytes of what is no table, and the refusal that it gets.
_MAGIC = (
    (b"PK\x03\x04", "packed"), (b"PK\x05\x06", "packed"), (b"\x1f\x8b", "packed"),
    (b"BZh", "packed"), (b"\xfd7zXZ", "packed"), (b"\x28\xb5\x2f\xfd", "packed"),
    (b"7z\xbc\xaf", "packed"), (b"Rar!", "packed"), (b"\xd0\xcf\x11\xe0", "excel"),
)  # fmt: skip
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What one file may be and cost.

    Attributes
    ----------
    size: bytes of the file. rows: those read; the rest of the file is left. columns: in all.
    field: characters of one value; longer ones are cut. written: bytes that the rows may fill.
    memory: bytes of the process that reads. seconds: how long it may take.
    """

    size: int = 32 << 20
    rows: int = 50_000
    columns: int = 200
    field: int = 20_000
    written: int = 128 << 20
    memory: int = 1 << 30
    seconds: int = 60


class Refusal(Exception):  # noqa: N818
    """A file that is not read: the key of the text that says why, and what fills it."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key, values)
        self.key = key
        self.values = values


@dataclass(frozen=True)
class Read:
    """What was read of a file.

    Attributes
    ----------
    path: rows of JSON, each ``[line, {column: value}]``. columns: in the order of the file.
    sample: the first rows. problems: line and key of the text that says why, of rows left out.
    dropped: how many in all. more: whether the file has more rows than were read.
    """

    name: str
    path: Path
    rows: int
    columns: tuple[str, ...]
    sample: tuple[Mapping[str, Any], ...]
    problems: tuple[tuple[int, str, Mapping[str, Any]], ...]
    dropped: int
    more: bool

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line and values of every row."""
        with self.path.open(encoding="utf-8") as rows:
            for row in rows:
                line, values = json.loads(row)
                yield line, values


def plain_name(name: str) -> str:
    """A file's name as it may be shown: no folders, no control characters, not long."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in last if c.isprintable())[-80:] or "?"


def read_file(path: Path, folder: Path, limits: Limits | None = None) -> Read:
    """Read a table from a file: CSV, JSON or Parquet, by its suffix and its first bytes.

    Parameters
    ----------
    folder: where the rows go, into one file.

    Raises
    ------
    Refusal: the file is too large, no table, or cannot be read within the limits.
    """
    limits = limits or Limits()
    name = plain_name(path.name)
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise Refusal("suffix", name=name)
    try:
        file = os.open(path, os.O_RDONLY | _NO_LINKS)
    except OSError:
        raise Refusal("gone", name=name) from None
    try:
        told = os.fstat(file)
        if not stat.S_ISREG(told.st_mode):
            raise Refusal("gone", name=name)
        if told.st_size > limits.size:
            raise Refusal("size", size=_megabytes(told.st_size), limit=_megabytes(limits.size))
        if not told.st_size:
            raise Refusal("empty", name=name)
        # The reader is given the file as its standard input: it needs no path of it.
        return _run(name, folder, limits, {"suffix": suffix}, file)
    finally:
        os.close(file)


def read_hub(name: str, split: str, folder: Path, limits: Limits | None = None) -> Read:
    """Read the first rows of a public data set of the Hugging Face Hub.

    Raises
    ------
    Refusal: no such name, nothing that can be had, or too much of it.
    """
    name, split = name.strip(), split.strip() or "train"
    if not _HUB_NAME.match(name) or ".." in name:
        raise Refusal("hub_name", name=name[:80])
    if not _SPLIT.match(split):
        raise Refusal("hub_split", split=split[:80])
    return _run(name, folder, limits or Limits(), {"hub": name, "split": split}, subprocess.DEVNULL)


def _run(name: str, folder: Path, limits: Limits, what: dict[str, Any], file: int) -> Read:
    out = folder / "rows.jsonl"
    order = {**what, "out": str(out), "limits": dataclasses.asdict(limits)}
    root = str(Path(__file__).resolve().parents[2])
    code = "import sys; sys.path.append(sys.argv[1]); from llmrec.demo import untrusted; "
    code += "untrusted.serve(sys.argv[2])"
    with tempfile.TemporaryDirectory(dir=folder) as home:
        try:
            done = subprocess.run(  # noqa: S603  (this very interpreter, no shell)
                [sys.executable, "-I", "-c", code, root, json.dumps(order)],
                stdin=file,
                capture_output=True,
                cwd=home,  # an empty folder, so that no name means a file of the server
                env=_environment(home),
                timeout=limits.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refusal("slow", seconds=limits.seconds) from None
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        # Killed, by a limit or by a fault of a parser.
        raise Refusal("heavy", name=name) from None
    if "refusal" in said:
        raise Refusal(said["refusal"], **{"name": name, **said["values"]})
    sample = tuple(said["sample"])
    problems = tuple((line, key, values) for line, key, values in said["problems"])
    return Read(
        name, out, said["rows"], tuple(said["columns"]), sample, problems, said["dropped"],
        said["more"],
    )  # fmt: skip


def _environment(home: str) -> dict[str, str]:
    """No secrets: what the reader needs to run, and to find the Hub."""
    kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "HF_ENDPOINT", "SSL_CERT_FILE")
    proxies = [n for n in os.environ if n.lower().endswith("_proxy")]
    return {name: os.environ[name] for name in (*kept, *proxies) if name in os.environ} | {
        "HOME": home,
        "HF_HOME": home,
        "TMPDIR": home,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "PYTHONUTF8": "1",
    }


# -- in the process of its own --------------------------------------------------------------------


def serve(order: str) -> None:
    """Read what ``order`` says and print what came of it, as the process that is started above."""
    said = json.loads(order)
    limits = Limits(**said["limits"])
    try:
        _confine(limits)
        writer = _Writer(Path(said["out"]), limits)
        with writer.file:
            for line, row in _rows_of(said, limits, writer):
                if not writer.add(line, row):
                    break
        answer = writer.answer()
    except Refusal as refusal:
        answer = {"refusal": refusal.key, "values": refusal.values}
    except MemoryError:
        answer = {"refusal": "heavy", "values": {}}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # threads of a client that is still reading ahead end here


def _confine(limits: Limits) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits: time is limited there alone
        return
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.written + (64 << 20)),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


class _Writer:
    """Rows into the file, with their columns and what was wrong counted."""

    def __init__(self, out: Path, limits: Limits) -> None:
        self.file = out.open("w", encoding="utf-8")
        self._limits = limits
        self._rows = self._dropped = self._written = 0
        self._columns: dict[str, None] = {}
        self._sample: list[dict[str, Any]] = []
        self._problems: list[tuple[int, str, Mapping[str, Any]]] = []
        self._more = False

    def add(self, line: int, row: Mapping[str, Any] | Refusal) -> bool:
        """Write a row, or count why it is none. False once there is room for no more."""
        if self._rows + self._dropped >= self._limits.rows:
            self._more = True
            return False
        if isinstance(row, Refusal):
            self._dropped += 1
            if len(self._problems) < PROBLEMS:
                self._problems.append((line, row.key, row.values))
            return True
        values = {}
        for column, value in row.items():
            kept = _plain(value, self._limits.field)
            if kept is not None:
                values[_text(str(column), 100)] = kept
        self._columns.update(dict.fromkeys(values))
        self.columns(self._columns)
        text = json.dumps([line, values], ensure_ascii=False)
        self._written += len(text.encode()) + 1
        if self._written > self._limits.written:
            raise Refusal("unpacked", limit=_megabytes(self._limits.written))
        self.file.write(text + "\n")
        self._rows += 1
        if len(self._sample) < 5:
            self._sample.append({k: _shown(v) for k, v in values.items()})
        return True

    def more(self) -> None:
        """Note that not all rows will come."""
        self._more = True

    def columns(self, names: Iterable[str]) -> None:
        """Note columns before any row has a value in them."""
        known = dict.fromkeys(_text(str(n), 100) for n in names)
        if len(known) > self._limits.columns:
            raise Refusal("columns", n=len(known), limit=self._limits.columns)
        self._columns = {**known, **self._columns}

    def answer(self) -> dict[str, Any]:
        if not self._rows:
            line, key, _ = self._problems[0] if self._problems else (1, "", {})
            raise Refusal("nested") if key == "nested" else Refusal("no_rows", line=line)
        return {
            "rows": self._rows,
            "columns": list(self._columns),
            "sample": self._sample,
            "problems": self._problems,
            "dropped": self._dropped,
            "more": self._more,
        }


_Rows = Iterator[tuple[int, "Mapping[str, Any] | Refusal"]]


def _rows_of(said: Mapping[str, Any], limits: Limits, writer: _Writer) -> _Rows:
    if "hub" in said:
        return _hub_rows(said["hub"], said["split"], limits, writer)
    raw = sys.stdin.buffer
    head = raw.read(_HEAD)
    raw.seek(0)
    suffix = said["suffix"]
    if head.startswith(b"PAR1") != (suffix == ".parquet"):
        raise Refusal("wrong_type", suffix=suffix)
    if suffix == ".parquet":
        return _parquet_rows(writer)
    for magic, key in _MAGIC:
        if head.startswith(magic):
            raise Refusal(key, suffix=suffix)
    return _text_rows(_decoded(raw.read(), limits), suffix, writer)


def _text_rows(text: str, suffix: str, writer: _Writer) -> _Rows:
    if suffix in (".csv", ".tsv", ".txt"):
        return _csv_rows(text, writer)
    start = text[:_HEAD].lstrip()
    if start.startswith("[") or not _is_json_line(text):
        return _json_array(text)
    return _json_lines(text)


def _parquet_rows(writer: _Writer) -> _Rows:
    from llmrec.datasets.files import raw_rows
    from llmrec.errors import InputError

    # Standard input is the file itself, wherever it lies.
    link = Path("table.parquet")
    link.symlink_to("/dev/stdin")
    try:
        for line, row in raw_rows(link):
            if isinstance(row, str):
                yield line, Refusal("not_text")
            else:
                if line == 1:
                    writer.columns(row)
                yield line, row
    except InputError as error:
        heavy = isinstance(error.__cause__, MemoryError)
        raise Refusal("heavy" if heavy else "damaged") from None


def _decoded(data: bytes, limits: Limits) -> str:
    """The text of a file in the encoding that it seems to have."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding and (nulls := data[:_HEAD].count(0)):
        odd, even = data[1:_HEAD:2].count(0), data[:_HEAD:2].count(0)
        if min(odd, even) * 20 > nulls or nulls * 4 < len(data[:_HEAD]):
            raise Refusal("binary")
        encoding = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        if encoding:
            raise Refusal("binary") from None
        text = data.decode("cp1252", "replace")
    head = text[:_HEAD]
    controls = sum((c < " " and c not in "\t\n\r\f\v") or "\x7f" <= c < "\xa0" for c in head)
    if controls + head.count("\ufffd") > len(head) // 50:
        raise Refusal("binary")
    return text


# -- CSV --------------------------------------------------------------------------------------


def _csv_rows(text: str, writer: _Writer) -> _Rows:
    before = csv.field_size_limit(1 << 20)
    try:
        yield from _csv_lines(text, writer)
    finally:
        csv.field_size_limit(before)  # it holds for the whole process


def _csv_lines(text: str, writer: _Writer) -> _Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text[:_HEAD]))
    try:
        header = next(filter(any, reader), [])
    except csv.Error:
        raise Refusal("header") from None
    names: dict[str, None] = {}
    for at, name in enumerate(header, 1):
        name = _text(name, 100) or f"column {at}"
        names[name if name not in names else f"{name} ({at})"] = None
    writer.columns(names)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield line, Refusal("csv_line")
            continue
        if len(row) == len(names):
            yield line, dict(zip(names, row, strict=True))
        elif any(row):
            yield line, Refusal("csv_width", n=len(row), header=len(names))


def _delimiter(head: str) -> str:
    """The mark that cuts most of the first lines into the same number of columns."""
    best, delimiter = (0, 0), ","
    for mark in _DELIMITERS:
        try:
            rows = [r for r in csv.reader(io.StringIO(head, newline=""), delimiter=mark) if r][:50]
        except csv.Error:
            continue
        rows = rows[:-1] if len(rows) > 2 else rows  # the last one may be cut off
        width = len(rows[0]) if rows else 0
        same = sum(len(r) == width for r in rows)
        if width > 1 and (same, width) > best:
            best, delimiter = (same, width), mark
    return delimiter


# -- JSON -------------------------------------------------------------------------------------


def _is_json_line(text: str) -> bool:
    """Whether the first line that is not blank holds a value of JSON."""
    first = next(filter(str.strip, io.StringIO(text)), "")
    try:
        json.loads(first)
    except RecursionError:
        return True
    except ValueError:
        return text.count("\n", 0, _HEAD) > 0 and not first.strip().startswith(("{", "["))
    return True


def _json_lines(text: str) -> _Rows:
    for line, said in enumerate(io.StringIO(text), 1):
        if not said.strip():
            continue
        try:
            row = json.loads(said)
        except RecursionError:
            yield line, Refusal("nested")
        except ValueError:
            yield line, Refusal("json_line")
        else:
            yield line, row if isinstance(row, dict) else Refusal("json_object")


def _json_array(text: str) -> _Rows:
    """The objects of a list, or of the first list of objects inside an object."""
    try:
        whole = json.loads(text)
    except RecursionError:
        raise Refusal("nested") from None
    except ValueError:
        raise Refusal("json") from None
    if isinstance(whole, dict):
        lists = [v for v in whole.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        whole = lists[0] if lists else [whole]
    for number, row in enumerate(whole, 1):
        yield number, row if isinstance(row, dict) else Refusal("json_object")


# -- Hub --------------------------------------------------------------------------------------


def _hub_rows(name: str, split: str, limits: Limits, writer: _Writer) -> _Rows:
    line = 0
    try:
        from huggingface_hub import HfFileSystem

        revision, paths = _hub_files(name, split)
        files = HfFileSystem(token=False)
        for path in paths:
            with files.open(f"datasets/{name}/{path}", "rb", revision=revision) as file:
                for _, row in _table_rows(file, Path(path).suffix.lower(), limits, writer):
                    line += 1
                    yield line, row
    except (MemoryError, Refusal):
        raise
    except Exception:
        raise Refusal("hub", split=split) from None


def _hub_files(name: str, split: str) -> tuple[str, list[str]]:
    """Where the rows of a split are: as Parquet made by the Hub, else as they were put there."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    for revision in ("refs/convert/parquet", "main"):
        try:
            files = HfApi(token=False).list_repo_files(name, repo_type="dataset", revision=revision)
        except RevisionNotFoundError:
            continue
        if paths := _of_split(files, split):
            return revision, paths
    raise Refusal("hub", split=split)


def _of_split(files: Iterable[str], split: str) -> list[str]:
    """The parts of one table, by the names of the files: those that name the split, if any do."""
    tables = sorted(
        f for f in files if Path(f).suffix.lower() in SUFFIXES and not _NO_DATA.search(f)
    )
    name = re.compile(rf"(?<![a-z0-9]){re.escape(split.lower())}(?![a-z0-9])")
    own = [f for f in tables if name.search(f.lower())]
    if not own and split == "train":
        own = [f for f in tables if not _OTHER_SPLITS.search(f.lower())]
    groups: dict[str, list[str]] = {}
    for path in own:
        groups.setdefault(re.sub(r"\d+", "", path), []).append(path)
    if not groups:
        return []
    return groups[min(groups, key=lambda g: (not g.startswith("default/"), g))]


def _table_rows(file: Any, suffix: str, limits: Limits, writer: _Writer) -> _Rows:
    if suffix == ".parquet":
        return _parquet_texts(file, writer)
    data = file.read(limits.size + 1)
    if len(data) > limits.size:
        if suffix == ".json":
            raise Refusal("size", size=_megabytes(file.size), limit=_megabytes(limits.size))
        data = data[: data.rindex(b"\n") + 1]
        writer.more()
    return _text_rows(_decoded(data, limits), suffix, writer)


def _parquet_texts(file: Any, writer: _Writer) -> _Rows:
    from llmrec.datasets.files import texts_of_parquet

    for line, row in texts_of_parquet(file, writer.columns):
        yield line, Refusal("not_text") if isinstance(row, str) else row


# -- values -----------------------------------------------------------------------------------


def _plain(value: Any, most: int, depth: int = 0) -> Any:
    """A value as JSON with texts no longer than ``most``; None for what a catalogue has no use."""
    if isinstance(value, str):
        return _text(value, most) or None
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return value if abs(value) < 1e300 and math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, Mapping):
        if depth > 1:
            return None
        some = list(value.items())[:LIST]
        kept = {_text(str(k), 100): _plain(v, most, depth + 1) for k, v in some}
        return {k: v for k, v in kept.items() if v is not None}
    if isinstance(value, (list, tuple)):
        if depth > 1:
            return None
        kept_list = [_plain(v, most, depth + 1) for v in value[:LIST]]
        return [v for v in kept_list if v is not None]
    return _plain(float(value), most, depth) if hasattr(value, "as_tuple") else None


def _text(text: str, most: int) -> str:
    """No NULs and no halves of letters, which neither JSON nor a page can hold."""
    return text[:most].replace("\0", "").encode("utf-8", "replace").decode().strip()


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MB" if size >= 1 << 20 else f"{max(1, size >> 10)} kB"
