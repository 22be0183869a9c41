"""Amazon_titles hides how the product texts of AmazonTitles-1.3MM are read, cleaned and thinned.

The files ``trn``, ``tst`` and ``lbl`` (``.json`` or ``.json.gz``) hold one product a line. They are
read in blocks of lines, block after block or by several processes; what comes out is the same.
"""

from __future__ import annotations

import html
import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmrec.datasets.base import Report
from llmrec.errors import InputError, LLMRecError
from llmrec.records import NOT_UTF8
from llmrec.titles import fold
from llmrec.types import Example, Item

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AmazonTitles", "clean"]

COLUMNS = ["id", "title", "description"]
FILES = {"train": "trn", "test": "tst", "labels": "lbl"}
OUTSIDE = "target_ind that is no line of lbl"
ROUNDS = 8
MAX_WORKERS = 3

_BLOCK = 8 << 20  # bytes of lines that are read at a time
_ROWS = 32_768  # products that make a table, at least
_LONG = 1 << 16
_FEW = 64
_KEYS = ["text_key", "uid_key"]

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]+")
_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)+")
_HUGE = re.compile(r"&#[0-9]{600,};?")
_TAG = re.compile(
    r"<(?:!--.*?(?:-->|\Z)"
    r"|(?P<name>(?i:script|style))\b[^<>]*>.*?(?:</(?i:(?P=name))\s*>|\Z)"
    r"""|/?[a-zA-Z](?:[^<>"']|"[^"<]*"|'[^'<]*')*>"""
    r"|[a-zA-Z/!?][^<>]*>)",
    re.DOTALL,
)
# What ``clean`` may change, in the syntax of RE2: a text without any of it is clean already.
_UNCLEAN = (
    r"[&<\x00-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
    r"|  |^ | $"
)
# ``fold`` for ASCII, many times as fast.
_FOLD = bytes(ord(chr(c).lower()) if chr(c).isalnum() else ord(" ") for c in range(128)).ljust(256)


def clean(text: str) -> str:
    """``text`` as plain words: no markup, no entities, no control characters, single blanks.

    Entities are read before tags are looked for, so that escaped markup goes as well. Texts that
    were escaped twice or more (``&amp;lt;b&amp;gt;``) are read to the end. A tag is what a browser
    takes for one, ``<`` followed by a letter, ``/``, ``!`` or ``?`` and closed by ``>``; it becomes
    a blank, as do comments and the content of scripts and style sheets, to the end of the text
    where they are not closed. ``a < b`` and ``<3`` stay; ``a<b and c>d`` is read as ``a d``. What
    is nested over ``ROUNDS`` deep loses its ``&`` or ``<``. Cleaning twice changes nothing.
    """
    text = _without_entities(_without_controls(text))
    for _ in range(ROUNDS):
        if "<" not in text or (shorter := _TAG.sub(" ", text)) == text:
            return " ".join(text.split())
        text = shorter
    return " ".join(text.replace("<", " ").split())


def _without_entities(text: str) -> str:
    for _ in range(ROUNDS):
        if "&" not in text:
            return text
        try:
            shorter = html.unescape(_AMPERSAND.sub("&", text))
        except ValueError:  # a number with more digits than Python takes
            shorter = _HUGE.sub("\ufffd", text)
        if shorter == text:
            return text
        text = _without_controls(shorter)
    return text.replace("&", " ")


def _without_controls(text: str) -> str:
    return text if text.isprintable() else _CONTROL.sub("", text)


@dataclass(frozen=True)
class _Rules:
    """What decides about a single product; ``need_text`` is off for the labels."""

    min_chars: int
    lowercase: bool
    need_text: bool


class AmazonTitles:
    """Products with title and description, and which of them belong together.

    Texts are cleaned by ``clean``. Left out and counted in ``report`` are products without a title
    (a letter or digit at least), without a description, with a description under ``min_chars``
    characters, and those that came before: the same uid, or the same folded title and the same
    description. Lines that are no product are reported with their number. Of the split "labels"
    products without a long description, or any, are kept, since its titles alone are targets.

    Parameters
    ----------
    path: the folder with ``trn.json``, ``tst.json``, ``lbl.json`` (or ``.json.gz``), or one of
        these files; those beside it are found as well.
    min_chars: of the cleaned description.
    sample: keep only so many products, drawn by ``seed`` from those that pass; their order stays.
        The sample is held in memory.
    lowercase: write titles and descriptions in lower case.
    workers: processes to read with; by default one for each core, at most ``MAX_WORKERS``, and
        none for a small file. The result does not depend on it.

    Raises
    ------
    InputError: the files are not there, or an option is out of range.
    """

    name = "amazon_titles"
    title = "AmazonTitles-1.3MM"
    homepage = "http://manikvarma.org/downloads/XC/XMLRepository.html"
    license = "unknown"
    citation = (
        "@misc{Bhatia16, author = {Bhatia, K. and Dahiya, K. and Jain, H. and Kar, P. and Mittal, "
        "A. and Prabhu, Y. and Varma, M.}, title = {The extreme classification repository: "
        "Multi-label datasets and code}, "
        "url = {http://manikvarma.org/downloads/XC/XMLRepository.html}, year = {2016}}"
    )
    example_splits: tuple[str, ...] = ()

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        min_chars: int = 100,
        sample: int | None = None,
        seed: int = 0,
        lowercase: bool = False,
        workers: int | None = None,
    ) -> None:
        for name, value in (("sample", sample), ("workers", workers)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: give 1 or more, or None")
        if min_chars < 0:
            raise InputError(f"min_chars is {min_chars}: give 0 or more")
        self.path = Path(path)
        self.min_chars = min_chars
        self.sample = sample
        self.seed = seed
        self.lowercase = lowercase
        self.workers = workers
        self.report = Report()
        self._files = _files(self.path)
        self.item_splits = tuple(self._files)

    def examples(self, split: str = "train") -> Iterator[Example]:
        """There are none. Raises InputError."""
        raise InputError(f"{self.title} has no examples: use items({split!r})")

    def items(self, split: str = "train") -> Iterator[Item]:
        """The products of one file, each once. Raises InputError, see ``tables``."""
        return (
            Item(id=uid, title=title, description=description)
            for table, _ in self.tables(split)
            for uid, title, description in zip(
                *(column.to_pylist() for column in table.columns), strict=True
            )
        )

    def tables(
        self, split: str = "train", after: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[pa.Table, dict[str, Any]]]:
        """The products as Arrow tables (id, title, description), each with a cursor behind it.

        Parameters
        ----------
        after: the cursor of the last table that is safe; it is plain JSON. What follows is the
            same, byte for byte, as without the interruption, ``report`` included. The lines before
            it are read again for what they say about duplicates, and nothing of them is given out.

        Raises
        ------
        InputError: an unknown split; a cursor of another file or of other options; or, once
            everything before was given out, an archive that is damaged.
        """
        path = self._file(split)
        rules = _Rules(self.min_chars, self.lowercase, split != "labels")
        of = [path.name, path.stat().st_size, *asdict(rules).values(), self.sample, self.seed]
        if after is not None and after.get("of") != of:
            raise InputError(_not_its_cursor(path))
        self.report = Report()
        return self._tables(path, rules, of, self.report, after)

    def related(self, split: str = "train") -> Iterator[tuple[str, tuple[str, ...]]]:
        """Of each product of "train" or "test" its uid, and those of the labels it leads to.

        Every line with a uid is given, whether or not ``items`` keeps it. Numbers that are no line
        of ``lbl`` are counted in ``report``.

        Raises
        ------
        InputError: an unknown split, or no ``lbl`` beside it.
        """
        if split == "labels":
            raise InputError("labels lead nowhere: use related('train') or related('test')")
        path, labels = self._file(split), self._file("labels")
        self.report = Report()
        return _related(path, labels, self.report)

    def _file(self, split: str) -> Path:
        if split not in self._files:
            missing = f" (there is no {FILES[split]}.json)" if split in FILES else ""
            raise InputError(
                f"{self.path} has no split {split!r}{missing}: it has {', '.join(self._files)}"
            )
        return self._files[split]

    def _tables(
        self,
        path: Path,
        rules: _Rules,
        of: list[Any],
        report: Report,
        after: Mapping[str, Any] | None,
    ) -> Iterator[tuple[pa.Table, dict[str, Any]]]:
        stream = _kept(path, rules, self.workers or _workers_for(path), report)
        if self.sample:
            stream = _sampled(stream, self.sample, self.seed, report)
        for number, table in enumerate(stream, 1):
            cursor = {"of": of, "table": number, "report": report.to_dict()}
            if after is None:
                yield table.select(COLUMNS), cursor
            elif number == after["table"]:
                if cursor != after:
                    raise InputError(_not_its_cursor(path))
                after = None
        if after is not None:
            raise InputError(_not_its_cursor(path))


def _not_its_cursor(path: Path) -> str:
    return (
        f"the cursor was not given out for {path} as it is now and with these options: "
        "use those of the first run, or begin anew without a cursor"
    )


def _files(path: Path) -> dict[str, Path]:
    """Split to its file; a plain one goes before a packed one."""
    if path.is_file():
        stem = path.name.partition(".")[0]
        folder, found = path.parent, {s: path for s, name in FILES.items() if name == stem}
        if not found:
            found = {"train": path}
    else:
        folder, found = path, {}
    for split, name in FILES.items():
        for suffix in (".json", ".json.gz"):
            if split not in found and (folder / (name + suffix)).is_file():
                found[split] = folder / (name + suffix)
    if not found:
        raise InputError(
            f"{path} has none of trn.json, tst.json, lbl.json (or .json.gz): "
            "give the folder they were unpacked to"
        )
    return {split: found[split] for split in FILES if split in found}


def _workers_for(path: Path) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MAX_WORKERS) if path.stat().st_size > 2 * _BLOCK else 1


# Lines, and what they say.


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole lines, some ``_BLOCK`` bytes at a time, unpacked; each ends with a line end."""
    import pyarrow as pa

    rest = b""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with pa.input_stream(str(path), compression="gzip" if packed else None) as stream:
            first = True
            while data := stream.read(_BLOCK):
                if first:
                    data, first = data.removeprefix(b"\xef\xbb\xbf"), False
                end = data.rfind(b"\n") + 1
                if end:
                    yield rest + data[:end] if rest else data[:end]
                    rest = data[end:]
                else:
                    rest += data
    except OSError as e:
        raise InputError(
            f"{path} cannot be read to its end ({e}): fetch it anew; "
            "what came before is as it should be"
        ) from e
    if rest:
        yield rest + b"\n"


def _read(block: bytes, columns: Mapping[str, str]) -> tuple[pa.Table, list[tuple[int, str]]]:
    """The rows of whole lines with their line numbers, and the lines that are none, with reasons.

    Parameters
    ----------
    columns: names and kinds, "text" or "numbers"; ``uid`` is asked for in any case.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = {"text": pa.string(), "numbers": pa.list_(pa.int64())}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    raw = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    starts = np.concatenate([[0], ends + 1])
    problems: list[tuple[int, str]] = []
    pieces, todo = [schema.append(pa.field("line", pa.int64())).empty_table()], [(0, len(ends))]
    while todo:
        low, high = todo.pop()
        piece = block[starts[low] : starts[high]] if high - low < len(ends) else block
        rows = None
        if _plain(raw, starts[low:high], ends[low:high], piece):
            rows = _at_once(piece, high - low, schema)
        if rows is not None:
            lines: Any = np.arange(low + 1, high + 1)
        elif high - low > _FEW:
            todo += [((low + high) // 2, high), (low, (low + high) // 2)]
            continue
        else:
            rows, lines = _one_by_one(piece, low + 1, schema, problems)
        pieces.append(rows.append_column("line", pa.array(lines, pa.int64())))
    table = pa.concat_tables(pieces)
    empty = pc.equal(pc.fill_null(table["uid"], ""), "")
    if pc.any(empty).as_py():
        lines = table["line"].filter(empty).to_pylist()
        problems = sorted(problems + [(line, "it has no uid") for line in lines])
        table = table.filter(pc.invert(empty))
    return table, problems


def _plain(raw: Any, starts: Any, ends: Any, piece: bytes) -> bool:
    """Whether each line looks like one object, in UTF-8, of an everyday length."""
    import pyarrow as pa

    if not len(ends) or (ends - starts).max() > _LONG or (ends == starts).any() or b"\0" in piece:
        return False
    if (raw[starts] != ord("{")).any() or not np.isin(raw[ends - 1], (ord("}"), ord("\r"))).all():
        return False
    whole = pa.Array.from_buffers(
        pa.binary(),
        1,
        [None, pa.array([0, len(piece)], pa.int32()).buffers()[1], pa.py_buffer(piece)],
    )
    try:
        whole.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _at_once(piece: bytes, n: int, schema: pa.Schema) -> pa.Table | None:
    """The rows of ``n`` lines, or None if something is the matter with one of them."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    try:
        table = arrow_json.read_json(
            pa.BufferReader(piece),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(piece)),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table if len(table) == n else None


def _one_by_one(
    piece: bytes, first: int, schema: pa.Schema, problems: list[tuple[int, str]]
) -> tuple[pa.Table, list[int]]:
    import pyarrow as pa

    rows, lines = [], []
    for line, data in enumerate(piece.split(b"\n")[:-1], first):
        if not data.strip():
            continue
        row = _row(data, schema)
        if isinstance(row, str):
            problems.append((line, row))
        else:
            rows.append(row)
            lines.append(line)
    return pa.Table.from_pylist(rows, schema), lines


def _row(data: bytes, schema: pa.Schema) -> dict[str, Any] | str:
    """One line as a row, or why it is none."""
    try:
        record = json.loads(data.decode())
    except UnicodeDecodeError:
        return NOT_UTF8
    except (ValueError, RecursionError) as e:
        return f"it is not JSON: {e}"
    if not isinstance(record, dict):
        return "it is no JSON object"
    row = {}
    for field in schema:
        value = record.get(field.name)
        if isinstance(value, str) and str(field.type) == "string":
            # Half of a surrogate pair is no text: it becomes a question mark.
            value = value.encode("utf-8", "replace").decode()
        elif isinstance(value, list) and str(field.type) != "string":
            if any(v is not None and type(v) is not int for v in value):
                return f"{field.name} holds something else than whole numbers"
            value = [v if v is not None and abs(v) < 2**63 else -1 for v in value]
        elif value is not None:
            return f"{field.name} is of type {type(value).__name__}"
        row[field.name] = value
    return row


# Products, cleaned and checked.


def _prepare(block: bytes, rules: _Rules) -> pa.Table:
    """The products of a block that pass alone, with the two keys that duplicates are known by.

    How many lines there were, what was dropped and what is broken stands in the metadata.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, problems = _read(block, {"uid": "text", "title": "text", "content": "text"})
    titles, texts = _cleaned(rows["title"]), _cleaned(rows["content"])
    if rules.lowercase:
        titles, texts = pc.utf8_lower(titles), pc.utf8_lower(texts)
    folded = np.array([_folded(t) for t in titles.to_pylist()], object)
    size = pc.utf8_length(texts).to_numpy()
    dropped: Counter[str] = Counter()
    keep = np.ones(len(rows), bool)
    checks = {"no title": folded == b""}
    if rules.need_text:
        checks["no content"] = size == 0
        checks[f"description under {rules.min_chars} characters"] = size < rules.min_chars
    for reason, bad in checks.items():
        if n := int((keep & bad).sum()):
            dropped[reason] = n
        keep &= ~bad
    mask = pa.array(keep)
    ids, texts = rows["uid"].combine_chunks().filter(mask), texts.filter(mask)
    keys = _keys(ids.to_pylist(), folded[keep].tolist(), texts)
    facts = {"lines": block.count(b"\n"), "dropped": dropped, "problems": problems}
    return pa.table(
        [ids, titles.filter(mask), texts, pa.array(keys[:, 0]), pa.array(keys[:, 1])],
        names=COLUMNS + _KEYS,
        metadata={"facts": json.dumps(facts)},
    )


def _cleaned(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.fill_null(column, "").combine_chunks()
    unclean = pc.match_substring_regex(texts, _UNCLEAN)
    cleaned = [clean(t) for t in texts.filter(unclean).to_pylist()]
    return pc.replace_with_mask(texts, unclean, pa.array(cleaned, pa.string()))


def _folded(title: str) -> bytes:
    if not title.isascii():
        return fold(title).encode()
    return b" ".join(title.encode().replace(b"&", b" and ").translate(_FOLD, b"'`").split())


def _keys(ids: list[str], folded: list[bytes], texts: pa.StringArray) -> npt.NDArray[np.uint64]:
    """Of each product the key of its text and the key of its uid, the same two where it has none.

    With 64 bits, two of two million different products share a key once in ten million times.
    """
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[: len(texts) + 1].tolist() if len(texts) else [0]
    view = memoryview(data or b"")
    out = []
    for uid, title, start, end in zip(ids, folded, ends, ends[1:], strict=False):
        uid_key = blake2b(b"\0" + uid.encode(), digest_size=8).digest()
        text_key = uid_key
        if end > start:
            made = blake2b(title + b"\0", digest_size=8)
            made.update(view[start:end])
            text_key = made.digest()
        out += [text_key, uid_key]
    return np.frombuffer(b"".join(out), np.uint64).reshape(-1, 2)


class _Seen:
    """The keys of all products so far, 8 bytes each."""

    def __init__(self) -> None:
        self.keys = np.empty(0, np.uint64)

    def add(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which rows are new, by both of their keys; only these are remembered."""
        fresh = np.array(~self._has(keys).any(axis=1))
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        twice = (counts > 1)[inverse].reshape(keys.shape).any(axis=1)
        taken: set[int] = set()
        for row in np.flatnonzero(twice & fresh).tolist():
            pair = keys[row].tolist()
            fresh[row] = taken.isdisjoint(pair)
            if fresh[row]:
                taken.update(pair)
        added = np.unique(keys[fresh])
        self.keys = np.insert(self.keys, np.searchsorted(self.keys, added), added)
        return fresh

    def _has(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        at = np.searchsorted(self.keys, keys)
        known = np.zeros(keys.shape, bool)
        inside = at < len(self.keys)
        known[inside] = self.keys[at[inside]] == keys[inside]
        return known


def _kept(path: Path, rules: _Rules, workers: int, report: Report) -> Iterator[pa.Table]:
    """The products of a file without duplicates, still with their keys; counted in ``report``."""
    import pyarrow as pa

    seen, lines = _Seen(), 0
    batches = (
        _spread(_blocks(path), rules, workers)
        if workers > 1
        else (_prepare(block, rules) for block in _blocks(path))
    )
    for group in _grouped(batches):
        for batch in group:
            facts = json.loads(batch.schema.metadata[b"facts"])
            for line, reason in facts["problems"]:
                report.broken(path.name, lines + line, reason)
            lines += facts["lines"]
            for reason, n in facts["dropped"].items():
                report.drop(reason, n)
        table = pa.concat_tables(b.replace_schema_metadata(None) for b in group)
        fresh = seen.add(_key_columns(table))
        if n := len(fresh) - int(fresh.sum()):
            report.drop("duplicate", n)
            table = table.filter(pa.array(fresh))
        report.kept += len(table)
        if len(table):
            yield table.combine_chunks()


def _grouped(batches: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """``batches`` in their order, so many together that they make a table."""
    group, rows = [], 0
    for batch in batches:
        group.append(batch)
        rows += len(batch)
        if rows >= _ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _key_columns(table: pa.Table) -> npt.NDArray[np.uint64]:
    return np.column_stack([table[name].to_numpy() for name in _KEYS])


def _sampled(tables: Iterable[pa.Table], n: int, seed: int, report: Report) -> Iterator[pa.Table]:
    """``n`` rows drawn by their uids and ``seed``, in their order, once all have been seen."""
    import pyarrow as pa

    pool: list[pa.Table] = []
    ranks = np.empty(0, np.uint64)

    def thin() -> None:
        nonlocal pool, ranks
        best = np.sort(np.argpartition(ranks, n - 1)[:n])
        pool, ranks = [pa.concat_tables(pool).take(best).combine_chunks()], ranks[best]

    for table in tables:
        pool.append(table)
        ranks = np.concatenate([ranks, _mixed(_key_columns(table)[:, 1], seed)])
        if len(ranks) > n + n // 4:
            thin()
    if len(ranks) > n:
        thin()
    if rest := report.kept - len(ranks):
        report.drop("not in the sample", rest)
    report.kept = len(ranks)
    if pool:
        whole = pa.concat_tables(pool)
        for start in range(0, len(whole), _ROWS):
            yield whole.slice(start, _ROWS)


def _mixed(keys: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """Other keys, in an order of their own for each seed (the finaliser of splitmix64)."""
    salt = blake2b(str(seed).encode(), digest_size=8).digest()
    x = keys ^ np.frombuffer(salt, np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


# What belongs together.


def _related(path: Path, labels: Path, report: Report) -> Iterator[tuple[str, tuple[str, ...]]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    uids = _uids(labels, report)
    before = 0
    for block in _blocks(path):
        rows, problems = _read(block, {"uid": "text", "target_ind": "numbers"})
        for line, reason in problems:
            report.broken(path.name, before + line, reason)
        before += block.count(b"\n")
        targets = rows["target_ind"].combine_chunks()
        counts = pc.fill_null(pc.list_value_length(targets), 0).to_numpy()
        flat = pc.fill_null(targets.flatten(), -1).to_numpy()
        known = (flat >= 0) & (flat < len(uids))
        named = uids.take(pa.array(np.where(known, flat, 0), mask=~known)).to_pylist()
        start = 0
        for uid, n in zip(rows["uid"].to_pylist(), counts.tolist(), strict=True):
            found = tuple(name for name in named[start : start + n] if name is not None)
            start += n
            if len(found) < n:
                report.drop(OUTSIDE, n - len(found))
            report.kept += 1
            yield uid, found


def _uids(path: Path, report: Report) -> pa.StringArray:
    """The uid on each line that is not blank, null where the line is broken."""
    import pyarrow as pa

    pieces, before = [pa.array([], pa.string())], 0
    for block in _blocks(path):
        rows, problems = _read(block, {"uid": "text"})
        lines = np.concatenate([rows["line"].to_numpy(), [line for line, _ in problems]])
        for line, reason in problems:
            report.broken(path.name, before + line, reason)
        before += block.count(b"\n")
        uids = pa.concat_arrays([*rows["uid"].chunks, pa.nulls(len(problems), pa.string())])
        pieces.append(uids.take(pa.array(np.argsort(lines, kind="stable"))))
    return pa.concat_arrays(pieces)


# Several processes: each reads blocks from its standard input and answers with Arrow tables.


class _Worker:
    """A process that prepares blocks.

    It is a plain child, since multiprocessing would run an unguarded script of the user again.
    """

    def __init__(self, rules: _Rules) -> None:
        code = (
            "import sys; sys.path[:] = sys.argv[1:]; "
            "from llmrec.datasets.amazon_titles import _serve; _serve()"
        )
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._send(json.dumps(asdict(rules)).encode())

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, block: bytes) -> None:
        """Give it a block; it must have answered the one before."""
        self._send(block)

    def receive(self) -> pa.Table:
        """Its answer to the block sent last."""
        import pyarrow as pa

        assert self._process.stdout
        if (data := _get(self._process.stdout)) is None:
            raise self._ended()
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin
        try:
            _put(self._process.stdin, data)
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> LLMRecError:
        return LLMRecError(
            f"a reading process ended with code {self._process.wait()} (its last words are on "
            "stderr): read with workers=1 to do without"
        )


def _spread(blocks: Iterator[bytes], rules: _Rules, workers: int) -> Iterator[pa.Table]:
    """What ``_prepare`` makes of each block, in their order; the next block is unpacked ahead."""
    with ExitStack() as stack:
        idle = deque(stack.enter_context(_Worker(rules)) for _ in range(workers))
        ahead = stack.enter_context(ThreadPoolExecutor(1))
        coming = ahead.submit(next, blocks, None)
        busy: deque[_Worker] = deque()

        def employ() -> None:
            nonlocal coming
            while idle and coming.exception() is None and (block := coming.result()) is not None:
                idle[0].send(block)
                busy.append(idle.popleft())
                coming = ahead.submit(next, blocks, None)

        employ()
        while busy:
            worker = busy.popleft()
            batch = worker.receive()
            idle.append(worker)
            employ()
            yield batch
        coming.result()  # an archive that ends early is said once all before it was given out


def _serve() -> None:
    """The other end of ``_Worker``; ends with its standard input."""
    import pyarrow as pa

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    rules = _Rules(**json.loads(_get(sys.stdin.buffer) or b""))
    while (block := _get(sys.stdin.buffer)) is not None:
        table = _prepare(block, rules)
        del block
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        _put(sys.stdout.buffer, sink.getvalue())


def _put(stream: IO[bytes], data: bytes | pa.Buffer) -> None:
    stream.write(struct.pack("<q", len(data)))
    stream.write(data)
    stream.flush()


def _get(stream: IO[bytes]) -> bytes | None:
    head = stream.read(8)
    if len(head) < 8:
        return None
    n = struct.unpack("<q", head)[0]
    data = stream.read(n)
    return data if len(data) == n else None
