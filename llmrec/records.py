"""Records hides how rows of CSV, JSON lines and tables become Items, and why some cannot."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from llmrec.errors import CatalogError, InputError
from llmrec.titles import fold
from llmrec.types import LANGUAGES, Item

__all__ = [
    "FIELDS",
    "LISTS",
    "NOT_UTF8",
    "NUMBERS",
    "WHOLE_NUMBERS",
    "Problem",
    "RawRow",
    "Row",
    "columns_of",
    "csv_rows",
    "flaw",
    "json_rows",
    "open_source",
    "parsed",
    "picture",
    "picture_host",
    "progress_bar",
    "read_csv",
    "read_jsonl",
    "require",
    "short",
    "suffix_of",
    "told",
]

# A line number, and what the row says, or (a text) why it cannot be read.
RawRow = tuple[int, "Mapping[str, Any] | str"]
Row = tuple[int, "Item | str"]

FIELDS = tuple(f.name for f in fields(Item))
LISTS = ("genres", "directors", "cast", "countries", "languages", "keywords")
WHOLE_NUMBERS = ("year", "runtime")
NUMBERS: Mapping[str, tuple[float, float]] = {
    "year": (1000, 2100),
    "runtime": (1, 100_000),
    "popularity": (0, 1),
    "rating": (0, 10),
    "price": (0, math.inf),
}
NOT_UTF8 = "it has bytes that are not UTF-8 text"
_BY_LANGUAGE = ("titles", "descriptions")
_LONGEST_ADDRESS = 2_000
# One way to read it: without a user, a backslash or anything that is not ASCII, what a browser
# takes for the host is what stands here for it.
_PICTURE = re.compile(
    r"https://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?)"
    r"(?:/[!#-;=?-\[\]-_a-~]*)?\Z",
    re.IGNORECASE | re.ASCII,
)
_DEEPEST = 4  # a cell with a list of objects with lists
_SIZES = ("large", "hi_res", "hiRes", "thumb", "thumbnail")  # of pictures, as shops name them


@dataclass(frozen=True)
class Problem:
    """A row that was left out. ``line`` counts from 1; of Parquet and item lists it is the row."""

    file: str
    line: int
    reason: str


def columns_of(mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Field of Item to the column that holds it. Raises InputError for what is no field.

    Beside the fields there are ``titles.pt``, ``descriptions.es`` and so on for one language.
    """
    dotted = tuple(f"{name}.{language}" for name in _BY_LANGUAGE for language in LANGUAGES)
    for name in mapping or ():
        if name not in FIELDS and name.partition(".")[0] not in _BY_LANGUAGE:
            raise InputError(
                f"mapping has {name!r}, which is no field of Item: use {', '.join(FIELDS + dotted)}"
            )
    return {name: name for name in FIELDS + dotted} | dict(mapping or {})


def require(path: Path, mapping: Mapping[str, str] | None, have: Sequence[str]) -> None:
    """Raise CatalogError if ``have`` lacks the title's or another mapped column."""
    for column in {"title": "title", **(mapping or {})}.values():
        if column not in have:
            raise CatalogError(
                f"{path} has no column {column!r}, it has {', '.join(map(repr, have)) or 'none'}: "
                "say with mapping={'title': 'its column', ...} what is where"
            )


@contextmanager
def progress_bar(show: bool, total: int | None, unit: str) -> Iterator[Any]:
    """A tqdm bar on stderr, or a silent one."""
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, unit_scale=True, desc="reading", disable=not show) as bar:
        yield bar


@contextmanager
def open_source(path: Path) -> Iterator[io.BufferedReader]:
    """``path`` for reading bytes, unpacked if its name ends in ``.gz``. Raises CatalogError."""
    try:
        with path.open("rb") as raw:
            packed = path.suffix == ".gz"
            yield gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as e:
        raise CatalogError(f"{path} cannot be read: {getattr(e, 'strerror', None) or e}") from e


def suffix_of(path: Path) -> str:
    """The ending of a file's name, ``.gz`` left aside."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def read_csv(path: Path, mapping: Mapping[str, str] | None, progress: bool) -> Iterator[Row]:
    """The rows of a CSV file with a header, tab-separated if its name ends in ``.tsv``."""

    def rows(raw: IO[bytes]) -> Iterator[RawRow]:
        return csv_rows(raw, suffix_of(path), lambda header: require(path, mapping, header))

    return parsed(told(path, rows, progress), columns_of(mapping))


def read_jsonl(path: Path, mapping: Mapping[str, str] | None, progress: bool) -> Iterator[Row]:
    """The rows of a file with one JSON object on each line."""
    return parsed(told(path, json_rows, progress), columns_of(mapping))


def told(
    path: Path, read: Callable[[IO[bytes]], Iterator[RawRow]], progress: bool
) -> Iterator[RawRow]:
    """What ``read`` makes of a file, with a bar of how far it is."""
    size = path.stat().st_size if path.is_file() else None
    with open_source(path) as raw, progress_bar(progress, size, "B") as bar:
        on_disk = getattr(raw, "fileobj", raw)  # of a packed file, what it is packed in
        for row in read(raw):
            bar.update(on_disk.tell() - bar.n)
            yield row


def csv_rows(
    raw: IO[bytes], suffix: str, check: Callable[[list[str]], object] | None = None
) -> Iterator[RawRow]:
    """The rows of a CSV file with a header, tab-separated for the suffix ``.tsv``.

    Bytes that are not UTF-8 become lone surrogates, so that the one row they are in can be named.

    Parameters
    ----------
    check: is given the header before the first row, to raise what it likes.
    """
    text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter="\t" if suffix == ".tsv" else ",")
    try:
        header = _header(reader)
        if check:
            check(header)
        yield from _csv_rows(reader, header)
    finally:
        if not raw.closed:
            text.detach()  # the file is the caller's to close


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        return [name.strip() for name in next(filter(None, reader), [])]
    except csv.Error:
        return []


def _csv_rows(reader: Any, header: Sequence[str]) -> Iterator[RawRow]:
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            yield line, f"{e} (read up to line {reader.line_num})"
            continue
        if len(row) == len(header):
            yield line, dict(zip(header, row, strict=True))
        elif row:
            yield line, f"it has {len(row)} columns, the header has {len(header)}"


def json_rows(raw: Iterable[bytes]) -> Iterator[RawRow]:
    """The rows of a file with one JSON object on each line, blank lines left out."""
    for line, data in enumerate(raw, 1):
        if not data.strip():
            continue
        try:
            record = json.loads(data)
        except UnicodeDecodeError:
            yield line, NOT_UTF8
        except (ValueError, RecursionError) as e:
            yield line, f"it is not JSON: {e}"
        else:
            is_object = isinstance(record, dict)
            yield line, record if is_object else f"it is no JSON object: {short(record)}"


def parsed(rows: Iterable[RawRow], columns: Mapping[str, str]) -> Iterator[Row]:
    """Each row as an Item, or the reason why it is none; ids default to the row's number."""
    for number, (line, record) in enumerate(rows, 1):
        if isinstance(record, str):
            yield line, record
            continue
        try:
            yield line, _parse(record, columns, number)
        except ValueError as e:
            yield line, str(e)


def _parse(record: Mapping[str, Any], columns: Mapping[str, str], number: int) -> Item:
    values: dict[str, Any] = {"id": str(number), "title": "", "titles": {}, "descriptions": {}}
    for name, column in columns.items():
        value = record.get(column)
        if value is None or value in ("", "\\N") or value != value:  # NaN is not itself
            continue
        field, _, language = name.partition(".")
        if field in _BY_LANGUAGE:
            for key, text in ({language: value} if language else _object(field, value)).items():
                values[field][key] = (_names if field == "titles" else _text)(name, text)
        elif name in LISTS:
            values[name] = _names(name, value)
        elif name in NUMBERS:
            values[name] = _number(name, value)
        elif name == "image":
            values[name] = _best_picture(value)
        else:
            values[name] = _text(name, value)
    return Item(**values)


def short(value: object) -> str:
    """``value`` as it is written in code, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _text(name: str, value: object) -> str:
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    raise ValueError(f"{name} is {short(value)}: a text is wanted")


def _number(name: str, value: Any) -> int | float:
    try:
        number = float(value)
        if name not in WHOLE_NUMBERS:
            return number
        if number == int(number):
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name} is {short(value)}: a number is wanted")


def _names(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = re.split(r"[;|]", value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{name} is {short(value)}: a list of names is wanted")
    return tuple(dict.fromkeys(v.strip() for v in value if v.strip()))


def picture(address: str) -> str:
    """An address from which a picture may be shown, or nothing if it is none.

    It begins with https, has no user in it, no blanks and nothing that is not ASCII, and at most
    2,000 characters.
    """
    address = address.strip()
    good = len(address) <= _LONGEST_ADDRESS and _PICTURE.match(address)
    return address if good else ""


def picture_host(address: str) -> str:
    """The host that a picture's address asks, in lower case, with its port where one is named."""
    found = _PICTURE.match(picture(address))
    return found["host"].lower() if found else ""


def _best_picture(value: object) -> str:
    """The first usable address of a value, else the first text in it: that it is none is told."""
    found = list(_addresses(value, _DEEPEST))
    return next(filter(None, map(picture, found)), found[0] if found else "")


def _addresses(value: object, deep: int) -> Iterator[str]:
    """The texts in what shops write where pictures are: lists of them, or objects by size."""
    if isinstance(value, str):
        made = _json_in(value) if deep else None
        if made is not None:
            yield from _addresses(made, deep - 1)
        else:
            yield from (part.strip() for part in re.split(r"[;|]\s*(?=https?:)", value))
    elif isinstance(value, (dict, list, tuple)) and deep:
        parts = value
        if isinstance(value, dict):
            sizes = (*_SIZES, *(key for key in value if key not in _SIZES))
            parts = [value.get(size) for size in sizes]
        for part in parts:
            yield from _addresses(part, deep - 1)


def _json_in(text: str) -> Any:
    """What a cell holds that is written as JSON; None where it is not."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object(name: str, value: Any) -> Mapping[str, Any]:
    made = value
    if isinstance(value, str):
        try:
            made = json.loads(value)
        except (ValueError, RecursionError):
            made = None
    if not isinstance(made, dict):
        raise ValueError(f"{name} is {short(value)}: an object by language is wanted")
    return {key: v for key, v in made.items() if v}


def flaw(item: Item) -> str | None:
    """Why a catalogue cannot hold ``item``, or None if it can."""
    texts = [item.id, item.title, item.original_title, item.description, item.image]
    texts += [*item.descriptions.values(), *(t for ts in item.titles.values() for t in ts)]
    texts += [v for name in LISTS for v in getattr(item, name)]
    if odd := [t for t in texts if not isinstance(t, str)]:
        return f"it holds {short(odd[0])} where a text is wanted"
    if not fold(item.title):
        return f"it has no title, only {short(item.title)}" if item.title else "it has no title"
    if not item.id:
        return "its id is empty"
    for name, (low, high) in NUMBERS.items():
        value = getattr(item, name)
        if value is None and name != "popularity":
            continue
        kinds = (int,) if name in WHOLE_NUMBERS else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            kind = "a whole number" if name in WHOLE_NUMBERS else "a number"
            return f"{name} is {short(value)}: {kind} from {low} to {high} is wanted"
    return None
