"""Rows hides how Examples and Items become Arrow tables, and files of three formats, and back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.errors import InputError
from llmrec.records import FIELDS, LISTS, NUMBERS, WHOLE_NUMBERS, flaw, read_csv
from llmrec.types import Conversation, Example, Item, Message

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FILE_FORMATS",
    "TABLES",
    "columns",
    "fill_in",
    "from_values",
    "read",
    "save",
]

TABLES = ("examples", "items")
FILE_FORMATS = ("parquet", "jsonl", "csv")
_TEXTS = ("id", "dialogue", "user", "language", "reply")
_IDS = ("liked", "disliked", "seen", "relevant", "likes", "history")
_BATCH = 1_024
_ROW_GROUP = 10_000
_MAX_CELL = 131_072  # what the standard library's CSV reader takes in one cell
_DEFAULTS = {f.name: f.default for f in fields(Item) if f.default is not MISSING}


def columns(table: str) -> dict[str, Any]:
    """Name of each column to its type: a word, ``[type]`` for a list, a dict for a structure."""
    if table == "items":
        numbers = {name: "int32" if name in WHOLE_NUMBERS else "float64" for name in NUMBERS}
        lists: dict[str, Any] = {name: ["string"] for name in LISTS}
        # Pictures are for pages: data to train and measure with have no use for them.
        kept = (name for name in FIELDS if name != "image")
        return {name: (numbers | lists).get(name, "string") for name in kept}
    said = {"role": "string", "content": "string", "items": ["string"]}
    return {
        **dict.fromkeys(_TEXTS[:-1], "string"),
        "messages": [said],
        **{name: ["string"] for name in _IDS},
        "reply": "string",
    }


def _arrow_type(kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(kind, list):
        return pa.list_(_arrow_type(kind[0]))
    if isinstance(kind, dict):
        return pa.struct([(name, _arrow_type(k)) for name, k in kind.items()])
    return {"string": pa.string(), "int32": pa.int32(), "float64": pa.float64()}[kind]


def _schema(table: str) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(name, _arrow_type(kind)) for name, kind in columns(table).items()])


def _example_row(example: Example) -> dict[str, Any]:
    said = example.conversation
    return {
        **{name: getattr(example, name) for name in ("id", "dialogue", "user", "reply")},
        **{name: getattr(example, name) for name in ("relevant", "likes", "history")},
        **{name: getattr(said, name) for name in ("language", "liked", "disliked", "seen")},
        "messages": [
            {"role": m.role, "content": m.content, "items": m.items} for m in said.messages
        ],
    }


def _example(row: Mapping[str, Any]) -> Example:
    values: dict[str, Any] = {name: row.get(name) or "" for name in _TEXTS}
    values |= {name: tuple(row.get(name) or ()) for name in _IDS}
    messages = tuple(
        Message(m["role"], m["content"], tuple(m["items"] or ())) for m in row["messages"] or ()
    )
    said = {name: values.pop(name) for name in ("liked", "disliked", "seen", "language")}
    return Example(Conversation(messages, **said), **values)


def _item_row(item: Item) -> dict[str, Any]:
    if reason := flaw(item):
        raise ValueError(reason)
    row = {name: getattr(item, name) for name in columns("items")}
    for name in ("titles", "descriptions"):
        row[name] = json.dumps(dict(row[name]), ensure_ascii=False)
    return row


def _item(row: Mapping[str, Any]) -> Item:
    values: dict[str, Any] = {"id": row["id"], "title": row["title"]}
    for name, default in _DEFAULTS.items():
        value = row.get(name)
        values[name] = default if value is None else value
    values |= {name: tuple(row.get(name) or ()) for name in LISTS}
    for name in ("titles", "descriptions"):
        values[name] = json.loads(row.get(name) or "{}")
    return Item(**values)


def from_values(
    table: str, values: Sequence[Any], format: str, bad: Callable[[int, str], None]
) -> pa.Table:
    """An Arrow table of Examples or Items.

    Those that cannot be written are left out: ``bad`` is told which (from 0) and why.
    """
    import pyarrow as pa

    schema = _schema(table)
    wrong = (ValueError, TypeError, AttributeError, pa.ArrowException)

    def rows_of(indices: Iterable[int]) -> pa.Table:
        rows = [(_item_row if table == "items" else _example_row)(values[i]) for i in indices]
        if (
            format == "csv"
            and max(len(c) for row in rows for c in _cells(row).values()) > _MAX_CELL
        ):
            raise ValueError(f"it has a text of over {_MAX_CELL:,} characters")
        return pa.Table.from_pylist(rows, schema=schema)

    try:
        return rows_of(range(len(values)))
    except wrong:
        good = []  # one of them at least is: each on its own tells which
    for i in range(len(values)):
        try:
            good.append(rows_of([i]))
        except wrong as e:
            bad(i, f"it cannot be written: {' '.join(str(e).split())[:160]}")
    return pa.concat_tables(good) if good else schema.empty_table()


def fill_in(table: str, part: pa.Table) -> pa.Table:
    """``part`` with every column of the table in order; those it lacks hold nothing.

    Raises
    ------
    InputError: a column that the table does not have, or one of another type.
    """
    import pyarrow as pa

    schema = _schema(table)
    if odd := [name for name in part.column_names if name not in schema.names]:
        raise InputError(f"{table} have no column {odd[0]!r}: use {', '.join(schema.names)}")
    try:
        return pa.table(
            [
                part[field.name].cast(field.type)
                if field.name in part.column_names
                else pa.nulls(len(part), field.type)
                for field in schema
            ],
            schema=schema,
        )
    except pa.ArrowException as e:
        raise InputError(f"{table} were given with a column of another type: {e}") from e


def save(file: Path, part: pa.Table, format: str) -> None:
    """Write a whole file; the same rows always give the same bytes."""
    from pyarrow import parquet

    if format == "parquet":
        parquet.write_table(part, file, row_group_size=_ROW_GROUP, compression="zstd")
        return
    with file.open("w", encoding="utf-8", newline="") as out:
        if format == "csv":
            writer = csv.DictWriter(out, part.column_names, lineterminator="\n")
            writer.writeheader()
        for batch in part.to_batches(_BATCH):
            for row in batch.to_pylist():
                if format == "csv":
                    writer.writerow(_cells(row))
                else:
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    # Lists are split at ; and | when they are read: neither may stand in a name.
    apart = str.maketrans(";|", ",,")
    return {
        name: ";".join(v.translate(apart) for v in value)
        if isinstance(value, (list, tuple))
        else ("" if value is None else str(value))
        for name, value in row.items()
    }


def read(table: str, file: Path, format: str) -> Iterator[Any]:
    """The Examples or Items of a file that ``save`` wrote, a batch in memory at a time.

    Raises
    ------
    InputError: the file is damaged, or holds something else.
    """
    import pyarrow as pa

    if format == "csv":
        for line, item in read_csv(file, None, False):
            if isinstance(item, str):
                raise InputError(f"{file} is damaged at line {line}: {item}")
            yield item
        return
    make = _item if table == "items" else _example
    try:
        for row in (_parquet if format == "parquet" else _jsonl)(file):
            yield make(row)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as e:
        why = " ".join(str(e).split())[:160]
        raise InputError(f"{file} is damaged, prepare the data anew: {why}") from e


def _parquet(file: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        for batch in opened.iter_batches(_BATCH):
            yield from batch.to_pylist()


def _jsonl(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
