"""Json_blocks hides how JSON lines are read by pyarrow in blocks, and one by one where it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.datasets.base import Report
from llmrec.datasets.files import whole_lines
from llmrec.records import NOT_UTF8

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["blocks", "rows", "tables"]

_BLOCK = 8 << 20  # bytes of lines that are read at a time
_LONG = 1 << 16  # bytes of a line that pyarrow is not given
_FEW = 64  # lines that are not worth another try in two halves


def blocks(path: Path) -> Iterator[bytes]:
    """Whole lines, some megabytes at a time. Raises InputError for a file that is damaged."""
    return whole_lines(path, _BLOCK)


def tables(
    path: Path, columns: Mapping[str, str], key: str, report: Report
) -> Iterator[tuple[pa.Table, list[int]]]:
    """Of each block its rows, and the lines in it that are none, which are reported."""
    before = 0
    for block in blocks(path):
        table, problems = rows(block, columns, key)
        for line, reason in problems:
            report.broken(path.name, before + line, reason)
        before += block.count(b"\n")
        yield table, [line for line, _ in problems]


def rows(
    block: bytes, columns: Mapping[str, str], key: str
) -> tuple[pa.Table, list[tuple[int, str]]]:
    """The rows of whole lines with their line numbers, and the lines that are none, with reasons.

    Parameters
    ----------
    columns: names and kinds, "text" or "numbers".
    key: the text column that no row may lack.
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
        found = None
        if _looks_plain(raw, starts[low:high], ends[low:high], piece):
            found = _at_once(piece, high - low, schema)
        if found is not None:
            lines: Any = np.arange(low + 1, high + 1)
        elif high - low > _FEW:
            todo += [((low + high) // 2, high), (low, (low + high) // 2)]
            continue
        else:
            found, lines = _one_by_one(piece, low + 1, schema, problems)
        pieces.append(found.append_column("line", pa.array(lines, pa.int64())))
    table = pa.concat_tables(pieces)
    empty = pc.equal(pc.fill_null(table[key], ""), "")
    if pc.any(empty).as_py():
        lines = table["line"].filter(empty).to_pylist()
        problems = sorted(problems + [(line, f"it has no {key}") for line in lines])
        table = table.filter(pc.invert(empty))
    return table, problems


def _looks_plain(raw: Any, starts: Any, ends: Any, piece: bytes) -> bool:
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

    found, lines = [], []
    for line, data in enumerate(piece.split(b"\n")[:-1], first):
        if not data.strip():
            continue
        row = _row(data, schema)
        if isinstance(row, str):
            problems.append((line, row))
        else:
            found.append(row)
            lines.append(line)
    return pa.Table.from_pylist(found, schema), lines


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
