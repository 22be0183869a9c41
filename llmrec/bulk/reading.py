"""Reading hides where conversations lie: in files of Parquet or JSON lines, cut into shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from llmrec.bulk.places import Place, Remote, files_below
from llmrec.errors import InputError
from llmrec.records import RawRow, json_rows, short
from llmrec.types import Conversation, Message

__all__ = ["Asked", "Reader", "Shard", "files_of", "shards_of"]

# The id of a conversation, and what is asked, or (a text) why it cannot be.
Asked = tuple["str | None", "Conversation | str"]

COLUMNS = ("id", "messages", "liked", "disliked", "seen", "language")
_SUFFIXES = (".parquet", ".jsonl")
_BATCH = 1_024  # rows of Parquet that are decoded together


@dataclass(frozen=True)
class Shard:
    """Rows of one file.

    Attributes
    ----------
    name: of the file, below the input's folder.
    start: the first row, or of JSON lines the byte at which its line begins.
    line: of the first row, from 1.
    """

    file: Place
    name: str
    start: int
    line: int
    rows: int


def files_of(source: Place) -> dict[str, Place]:
    """The files of the input by their names, in that order. Raises InputError if there is none."""
    if source.is_file():
        found = {source.name: source}
    else:
        found = {
            name: file
            for name, file in files_below(source).items()
            if file.suffix in _SUFFIXES and not any(p[0] in "._" for p in name.split("/"))
        }
    if not found or any(file.suffix not in _SUFFIXES for file in found.values()):
        raise InputError(
            f"{source} holds no conversations: name a file or folder of .parquet, .jsonl"
        )
    return found


def shards_of(source: Place, rows: int) -> list[Shard]:
    """The input cut into shards of ``rows`` rows, none of which is of two files.

    Raises
    ------
    InputError: a file cannot be read, or it is a table without an id or messages.
    """
    found: list[Shard] = []
    for name, file in files_of(source).items():
        try:
            cut = _cut_table if file.suffix == ".parquet" else _cut_lines
            found += [Shard(file, name, *at) for at in cut(file, rows)]
        except (OSError, ValueError) as e:
            raise _unreadable(file, e) from None
    return found


def _unreadable(file: Place, error: Exception) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(f"{file} cannot be read ({error}): mend it, or take it out of the input")


def _cut_table(file: Place, rows: int) -> Iterator[tuple[int, int, int]]:
    import pyarrow.parquet as pq

    with file.open("rb") as data, pq.ParquetFile(data) as table:
        have, n = table.schema_arrow.names, table.metadata.num_rows
    for name in ("id", "messages"):
        if name not in have:
            raise InputError(
                f"{file} has no column {name!r}, it has {', '.join(map(repr, have)) or 'none'}: "
                "give it an id and messages"
            )
    for start in range(0, n, rows):
        yield start, start + 1, min(rows, n - start)


def _cut_lines(file: Place, rows: int) -> Iterator[tuple[int, int, int]]:
    start = line = n = at = 0
    with file.open("rb") as data:
        for number, text in enumerate(data, 1):
            if text.strip():
                if not n:
                    start, line = at, number
                n += 1
            at += len(text)
            if n == rows:
                yield start, line, n
                n = 0
    if n:
        yield start, line, n


class Reader:
    """Reads shards, quickest in the order of their rows."""

    def __init__(self) -> None:
        self._table: _Table | None = None

    def __call__(self, shard: Shard) -> list[Asked]:
        """What is asked in a shard. Raises InputError if its file cannot be read any more."""
        try:
            rows = self._table_rows(shard) if shard.file.suffix == ".parquet" else _lines(shard)
        except (OSError, ValueError) as e:
            raise _unreadable(shard.file, e) from None
        if len(rows) != shard.rows:
            raise InputError(f"{shard.file} has changed while it was read: begin anew")
        return [_asked(row, f"line {line} of {shard.name}") for line, row in rows]

    def _table_rows(self, shard: Shard) -> list[RawRow]:
        known = self._table
        if known is None or known.file != shard.file or known.at > shard.start:
            self._table = known = _Table(shard.file)
        return list(enumerate(known.take(shard.start, shard.rows), shard.line))


class _Table:
    """A file of Parquet that is read forwards, so that nothing is decoded twice."""

    def __init__(self, file: Place) -> None:
        import pyarrow.parquet as pq

        self.file, self.at = file, 0
        table = pq.ParquetFile(file.open("rb") if isinstance(file, Remote) else file)
        columns = [c for c in COLUMNS if c in table.schema_arrow.names]
        self._coming = table.iter_batches(_BATCH, columns=columns)
        self._left: Any = ()

    def take(self, start: int, rows: int) -> list[dict[str, Any]]:
        """Rows that do not stand before those taken last."""
        taken: list[dict[str, Any]] = []
        while self.at < start + rows:
            if not len(self._left):
                self._left = next(self._coming, ())
                if not len(self._left):
                    break
            skipped = min(max(start - self.at, 0), len(self._left))
            end = min(skipped + start + rows - max(start, self.at), len(self._left))
            taken += self._left.slice(skipped, end - skipped).to_pylist()
            self._left = self._left.slice(end)
            self.at += end
        return taken


def _lines(shard: Shard) -> list[RawRow]:
    with shard.file.open("rb") as data:
        data.seek(shard.start)
        rows = islice(json_rows(data), shard.rows)
        return [(shard.line + line - 1, row) for line, row in rows]


def _asked(row: Mapping[str, Any] | str, where: str) -> Asked:
    if isinstance(row, str):
        return None, f"{where}: {row}"
    name = row.get("id")
    if isinstance(name, bool) or not isinstance(name, (str, int)) or name == "":
        return None, f"{where}: its id is {short(name)}, and a text or a number is wanted"
    try:
        return str(name), _conversation(row)
    except (InputError, TypeError) as e:
        return str(name), str(e)


def _conversation(row: Mapping[str, Any]) -> Conversation:
    said = row.get("messages")
    if isinstance(said, str):
        said = [{"role": "user", "content": said}]
    if not isinstance(said, list) or not all(isinstance(m, Mapping) for m in said):
        raise InputError(f"messages is {short(said)}: give a list of role and content")
    messages = tuple(
        Message(m.get("role"), m.get("content"), _ids("items", m.get("items"))) for m in said
    )
    known = {name: _ids(name, row.get(name)) for name in ("liked", "disliked", "seen")}
    return Conversation.of(Conversation(messages, language=row.get("language") or "", **known))


def _ids(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise InputError(f"{name} is {short(value)}: give a list of item ids")
    return tuple(value)
