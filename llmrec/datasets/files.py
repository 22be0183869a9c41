"""Files hides how the files of data sets are opened, packed or not, and read row by row.

Whether a file is packed with gzip is told by its first bytes, whatever it is called.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from llmrec.errors import InputError
from llmrec.records import NOT_UTF8, RawRow, csv_rows, json_rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CANNOT_READ",
    "MAX_LINE",
    "arrow_rows",
    "beside",
    "json_lines",
    "opened",
    "raw_rows",
    "small_json",
    "suffix_of",
    "texts_of_parquet",
    "whole_lines",
]

MAX_LINE = 16_000_000
CANNOT_READ = (OSError, EOFError, zlib.error)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked. Raises InputError if it cannot be opened or ends too early."""
    try:
        with gzip.open(path) if _is_packed(path) else path.open("rb") as raw:
            yield raw  # type: ignore[misc]
    except CANNOT_READ as e:
        raise InputError(f"{path} cannot be read to its end ({e}): get it again") from e


def _is_packed(path: Path) -> bool:
    try:
        with gzip.open(path) as raw:
            raw.read(1)
    except gzip.BadGzipFile:
        return False
    except (EOFError, zlib.error):
        pass  # an archive that is damaged
    return True


def beside(folder: Path, *names: str) -> Path | None:
    """The first of ``names`` that is a file in ``folder``, with or without ``.gz`` at its end."""
    files = (folder / (name + end) for name in names for end in ("", ".gz"))
    return next((f for f in files if f.is_file()), None)


def suffix_of(path: Path) -> str:
    """The ending of a name, ``.gz`` left aside: ``.csv`` of ``films.csv.gz``.

    Empty for ``films.parquet.gz``: Parquet is read where it lies, not unpacked.
    """
    if path.suffix != ".gz":
        return path.suffix
    inner = Path(path.stem).suffix
    return "" if inner == ".parquet" else inner


def whole_lines(path: Path, size: int) -> Iterator[bytes]:
    """The bytes of a file, some ``size`` at a time, cut where a line ends; the last line ends too.

    Raises
    ------
    InputError: a file that cannot be read to its end.
    """
    rest, mark = b"", b"\xef\xbb\xbf"
    with opened(path) as raw:
        while data := raw.read(size):
            data, mark = data.removeprefix(mark), b""
            cut = data.rfind(b"\n") + 1
            if cut:
                yield rest + data[:cut] if rest else data[:cut]
                rest = data[cut:]
            else:
                rest += data
    if rest:
        yield rest + b"\n"


def raw_rows(path: Path) -> Iterator[RawRow]:
    """The rows of a table with their lines, or why one cannot be read; by the file's suffix.

    Raises
    ------
    InputError: a file that cannot be read to its end.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    with opened(path) as raw:
        for line, row in json_rows(raw) if suffix == ".jsonl" else csv_rows(raw, suffix):
            yield line, row if isinstance(row, str) or _is_text([*row.values()]) else NOT_UTF8


def _is_text(values: list[Any]) -> bool:
    try:
        if "\\ud" in repr(values):  # half of a surrogate pair, perhaps: repr is quick to tell
            json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            yield from arrow_rows(file.iter_batches(1_024, use_threads=False))
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"{path} cannot be read to its end ({e}): get it again") from e


def texts_of_parquet(
    file: IO[bytes], columns: Callable[[Sequence[str]], object]
) -> Iterator[RawRow]:
    """The rows of an open Parquet file without pictures and sounds, which are not even read.

    ``columns`` is told the names of those that are.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    def is_bytes(kind: Any) -> bool:
        own = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        return own or (pa.types.is_struct(kind) and any(is_bytes(f.type) for f in kind))

    with ParquetFile(file) as table:
        wanted = [f.name for f in table.schema_arrow if not is_bytes(f.type)]
        columns(wanted)
        yield from arrow_rows(table.iter_batches(256, columns=wanted, use_threads=False))


def arrow_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[RawRow]:
    """The rows of Arrow batches, counted from 1, or why one is none that Python can hold."""
    line = 0
    for batch in batches:
        for at in range(batch.num_rows):
            line += 1
            try:
                yield line, batch.slice(at, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield line, NOT_UTF8
            except (ValueError, OverflowError) as e:
                yield line, f"it cannot be read: {e}"


def json_lines(path: Path) -> Iterator[RawRow]:
    """Line numbers, and the JSON object of each line or the reason why there is none.

    Unlike with ``raw_rows`` a file that ends too early ends with a row that says so, a line over
    ``MAX_LINE`` bytes is not held, and half of a surrogate pair becomes a question mark.
    """
    with opened(path) as raw:
        line = 0
        while True:
            line += 1
            try:
                data = raw.readline(MAX_LINE)
                too_long = len(data) == MAX_LINE and not data.endswith(b"\n")
                while too_long and not (raw.readline(MAX_LINE) or b"\n").endswith(b"\n"):
                    pass
            except CANNOT_READ as e:
                yield line, f"nothing can be read from here on: {e}"
                return
            if not data:
                return
            if too_long:
                yield line, f"it has over {MAX_LINE:,} bytes"
            elif data.strip():
                yield line, _object(data)


def small_json(path: Path) -> dict[str, Any]:
    """A file with one JSON object, read whole: a map of ids. Raises InputError."""
    with opened(path) as raw:
        found = _object(raw.read())
    if isinstance(found, str):
        raise InputError(f"{path} cannot be used, {found}: get the file again")
    return found


def _object(data: bytes) -> dict[str, Any] | str:
    try:
        text = data.decode("utf-8-sig")
        record = json.loads(text)
        if "\\ud" in text.lower():
            whole = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace")
            record = json.loads(whole)
    except UnicodeDecodeError:
        return NOT_UTF8
    except (ValueError, RecursionError) as e:
        return f"it is not JSON: {e}"
    return record if isinstance(record, dict) else "it is no JSON object"
