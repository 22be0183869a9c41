"""Delimited hides how large tables of unquoted columns are read by pyarrow, a block at a time.

A block with a row that does not fit is read again without that row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.datasets.base import Report
from llmrec.datasets.files import whole_lines
from llmrec.errors import InputError

__all__ = ["Ints", "blocks"]

Ints = npt.NDArray[np.int64]

_BLOCK = 16 << 20  # bytes read at once: a look-up of ids costs the same for each block


def blocks(
    path: Path,
    columns: Sequence[str],
    report: Report,
    *,
    delimiter: str = "\t",
    header: Sequence[str] | None = None,
) -> Iterator[tuple[Any, Ints]]:
    """A large table without quoting, ``.gz`` or plain, some megabytes at a time.

    Gives pyarrow tables of binary ``columns`` and the line of each row. Rows with another number
    of columns than the header are reported and left out.

    Parameters
    ----------
    header: names of the columns of a file that does not begin with them.

    Raises
    ------
    InputError: a file that cannot be read to its end, or has not the columns.
    """
    line = 1
    for text in whole_lines(path, _BLOCK):
        if header is None:
            first, _, text = text.partition(b"\n")
            header = first.decode("utf-8", "replace").rstrip("\r").split(delimiter)
            line = 2
        missing = [c for c in columns if c not in header]
        if missing:
            raise InputError(f"{path} has no column {missing[0]!r}: it has {', '.join(header)}")
        n = text.count(b"\n")
        table, lines = _parsed(text, header, columns, delimiter, n), np.arange(line, line + n)
        if table is None:
            fitting, lines = _fitting(text, header, delimiter, line, path.name, report)
            table = _parsed(fitting, header, columns, delimiter, len(lines))
        line += n
        if len(lines):
            yield table, lines


def _fitting(
    text: bytes, header: Sequence[str], delimiter: str, line: int, file: str, report: Report
) -> tuple[bytes, Ints]:
    """The rows that fit the header, and their lines; the others are reported."""
    rows, lines = [], []
    for at, row in enumerate(text.split(b"\n")[:-1], line):
        row = row.removesuffix(b"\r")
        n_columns = row.count(delimiter.encode()) + 1
        if n_columns == len(header) and b"\r" not in row:
            rows.append(row + b"\n")
            lines.append(at)
        elif row:
            reason = f"it has {n_columns} columns, the header has {len(header)}"
            report.broken(file, at, "it has a stray \\r" if b"\r" in row else reason)
    return b"".join(rows), np.array(lines, dtype=np.int64)


def _parsed(
    text: bytes, header: Sequence[str], columns: Sequence[str], delimiter: str, n_rows: int
) -> Any:
    """The columns of ``text``, or None if its rows do not all fit the header."""
    import pyarrow as pa
    from pyarrow import csv

    if not n_rows:
        return None
    names = [str(header.index(c)) for c in columns]
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            csv.ReadOptions(
                use_threads=False,
                block_size=len(text) + 1,
                column_names=[str(i) for i in range(len(header))],
            ),
            csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                include_columns=names,
                column_types=dict.fromkeys(names, pa.binary()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table.rename_columns(list(columns)) if table.num_rows == n_rows else None
