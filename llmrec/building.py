"""Building hides how items become the tables that a Catalog opens, in bounded memory.

There is what is said of them (``Draft.meta``) and the Lance table ``items``: a row for each item
with all its fields as they were given (``record``, JSON), and beside it the columns that are asked
for: plain ones, and folded ones (``_key``) that wishes and words are compared with. With an
embedding model there is a vector beside each item, and the table ``passages``: where each passage
of a description of several passages stands, and its vector.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from llmrec.embedding import Embedding
from llmrec.errors import CatalogError
from llmrec.passages import cut, texts_of
from llmrec.records import (
    FIELDS,
    NOT_UTF8,
    NUMBERS,
    WHOLE_NUMBERS,
    Problem,
    RawRow,
    Row,
    columns_of,
    flaw,
    open_source,
    parsed,
    picture,
    progress_bar,
    require,
)
from llmrec.storage import Draft
from llmrec.titles import fold
from llmrec.types import Item

__all__ = [
    "FORMAT",
    "BuildReport",
    "Problem",
    "build",
    "copy",
    "parquet_rows",
    "read_parquet",
]

FORMAT = 2
_PLAIN = ("id", "title", "original_title", *NUMBERS)
# How often the words of each count in a search: one column with repetitions finds more than
# columns whose scores are added, where a word that is common in titles outweighs two rare ones.
_TIMES = {"names": 5, "people": 3, "genres": 2, "keywords": 2}
_KEYED = ("genres", "people", "directors", "countries", "languages", "keywords")
_BATCH = 8_192  # rows held as Python objects
_CHUNK_BYTES = 64 << 20  # rows held as Arrow before they are written
_INDEXED_FROM = 50_000  # rows from which scalar indices beat a scan
_CELLS_FROM = 100_000  # rows from which dense search looks at the nearest cells only
_MAX_PROBLEMS = 100
_fold = lru_cache(maxsize=1 << 17)(fold)


@dataclass(frozen=True)
class BuildReport:
    """What became of the rows. ``dropped`` counts all, ``problems`` tells of the first 100.

    ``counts``: "pictures left out", of items that were kept without an address that is none (see
    ``llmrec.records.picture``); of `Catalog.from_products` also how many texts were shortened,
    products were there twice, prices could not be read, and texts were of each language.
    """

    kept: int
    dropped: int
    problems: tuple[Problem, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def _schema(dimensions: int | None) -> Any:
    import pyarrow as pa

    names = pa.list_(pa.string())
    types: dict[str, Any] = {"row": pa.int32()}
    for name in _PLAIN:
        number = pa.int32() if name in WHOLE_NUMBERS else pa.float64()
        types[name] = number if name in NUMBERS else pa.string()
    types |= {"names_key": names, **{f"{name}_key": names for name in _KEYED}}
    types |= {"words_key": pa.string(), "record": pa.string()}
    if dimensions is not None:
        types["vector"] = pa.list_(pa.float32(), dimensions)
    return pa.schema(list(types.items()))


def _to_record(item: Item) -> dict[str, Any]:
    """The columns of an item."""
    values: dict[str, Any] = {name: getattr(item, name) for name in FIELDS}
    values["titles"] = json.dumps(item.titles, ensure_ascii=False)
    values["descriptions"] = json.dumps(dict(item.descriptions), ensure_ascii=False)
    record = {name: values[name] for name in _PLAIN}
    # The last field only where there is one: the digest of items without pictures stays.
    kept = [v for name, v in values.items() if name != "image" or v]
    record["record"] = json.dumps(kept, ensure_ascii=False)
    record["names_key"] = list(dict.fromkeys(_fold(t) for t in item.all_titles))
    for name in _KEYED:
        record[f"{name}_key"] = list(dict.fromkeys(_fold(v) for v in getattr(item, name)))
    texts = dict.fromkeys((item.description, *item.descriptions.values()))
    names = [n for name, times in _TIMES.items() for n in times * record[f"{name}_key"]]
    record["words_key"] = " ".join([*names, *map(fold, texts)])
    return record


def _embedded_text(item: Item) -> str:
    topics = ", ".join((*item.genres, *item.keywords, *item.directors))
    return f"{item.title}. {topics}. {next(iter(texts_of(item).values()), '')}"[:2_000]


def _passages(item: Item, row: int) -> Iterator[tuple[int, str, int, int, str]]:
    """What stands in the table of passages, and the text to embed."""
    for where, text in texts_of(item).items():
        pieces = cut(text)
        if len(pieces) > 1:
            for start, words in pieces:
                yield row, where, start, start + len(words), f"{item.title}. {words}"


def _held(item: Item) -> Iterator[str]:
    """The fields that an item has a value for, and "people"."""
    for name in (*FIELDS, "people"):
        value = getattr(item, name)
        if value or (value == 0 and name != "popularity"):
            yield name


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as e:  # how Lance reports a full disk, or no right to write
        raise OSError(" ".join(str(e).split())) from e


def build(
    draft: Draft,
    source: str,
    rows: Iterable[Row],
    embedding: Embedding | None,
    counts: Mapping[str, int] | None = None,
) -> BuildReport:
    """Fill ``draft``. Memory is bounded by a batch of rows, a chunk of Arrow, and all the ids.

    ``counts`` is filled by who reads ``rows``, and kept beside them.
    """
    seen: set[str] = set()
    problems: list[Problem] = []
    dropped = unseen = 0
    known: Counter[str] = Counter()
    digest = hashlib.blake2b(digest_size=16)
    writer = _Writer(draft, embedding)
    for line, item in rows:
        reason = item if isinstance(item, str) else flaw(item)
        if reason is None and not isinstance(item, str):
            if item.image != (image := picture(item.image)):
                unseen += not image
                item = dataclasses.replace(item, image=image)
            record = _to_record(item)
            try:
                utf8 = record["record"].encode() + b"\n"
            except UnicodeEncodeError:
                reason = NOT_UTF8
            else:
                if item.id in seen:
                    reason = f"the id {item.id!r} was used before"
                else:
                    digest.update(utf8)
                    writer.add(item, record | {"row": len(seen)})
                    known.update(_held(item))
                    seen.add(item.id)
        if reason is not None:
            dropped += 1
            if len(problems) < _MAX_PROBLEMS:
                problems.append(Problem(source, line, reason))
    if not seen:
        first = f", the first at line {problems[0].line} ({problems[0].reason})" if problems else ""
        raise CatalogError(
            f"{source} has no row with a title that could be kept: "
            f"{dropped:,} rows were left out{first}"
        )
    passages = writer.finish(len(seen))
    told = {**(counts or {}), **({"pictures left out": unseen} if unseen else {})}
    draft.meta = {
        "format": FORMAT,
        "fields": [name for name in FIELDS if name != "image" or known[name]],
        "rows": len(seen),
        "dropped": dropped,
        "fingerprint": digest.hexdigest(),
        "embedding_model": embedding.name if embedding else None,
        "known": {name: known[name] for name in (*FIELDS, "people")},
        "passages": passages,
        "counts": told,
    }
    return BuildReport(len(seen), dropped, tuple(problems), told)


def copy(
    tables: Sequence[Any],
    read: Callable[[Any, list[int]], Any],
    meta: Mapping[str, Any],
    draft: Draft,
) -> None:
    """Fill ``draft`` with what ``read`` gives of the rows of other tables, indexed as those are."""
    for source, name in zip(tables, (draft.items, draft.passages), strict=True):
        if source is not None:
            table, n = _Table(draft.connection, name), source.count_rows()
            for start in range(0, n, _BATCH):
                table.add(read(source, list(range(start, min(start + _BATCH, n)))).sort_by("row"))
            table.finish([index.name.rpartition("_")[::2] for index in source.list_indices()])
    draft.meta = {name: value for name, value in meta.items() if name != "build"}


def _index(kind: str) -> Any:
    from lancedb.index import FTS, BTree, IvfFlat, LabelList

    if kind == "fts":
        # The columns are folded as queries are: the tokenizer has only to split at blanks.
        return FTS(
            base_tokenizer="whitespace",
            stem=False,
            remove_stop_words=False,
            lower_case=False,
            ascii_folding=False,
        )
    if kind == "ivfflat":
        return IvfFlat(distance_type="cosine")
    return BTree() if kind == "btree" else LabelList()


class _Table:
    """Chunks of Arrow into a Lance table of a catalogue; there is none without a row."""

    def __init__(self, connection: Any, name: str) -> None:
        self._connection, self._name = connection, name
        self._chunk: list[Any] = []
        self._table: Any = None
        self.rows = 0

    def add(self, data: Any) -> None:
        self._chunk.append(data)
        self.rows += len(data)
        if sum(table.nbytes for table in self._chunk) > _CHUNK_BYTES:
            self._to_disk()

    def finish(self, indices: Iterable[tuple[str, str]]) -> None:
        """Write what is left, and an index of each kind beside its column."""
        if self._chunk:
            self._to_disk()
        with _writing():
            for column, kind in indices:
                self._table.create_index(column, config=_index(kind), name=f"{column}_{kind}")

    def _to_disk(self) -> None:
        import pyarrow as pa

        data = pa.concat_tables(self._chunk)
        self._chunk.clear()
        with _writing():
            if self._table is None:
                self._table = self._connection.create_table(self._name, data)
            else:
                self._table.add(data)


class _Writer:
    """Items into the Lance tables of a draft: batches of Python objects, chunks of Arrow."""

    def __init__(self, draft: Draft, embedding: Embedding | None) -> None:
        self._embedding = embedding
        self._batch: list[tuple[Item, dict[str, Any]]] = []
        self._items = _Table(draft.connection, draft.items)
        self._passages = _Table(draft.connection, draft.passages)

    def add(self, item: Item, record: dict[str, Any]) -> None:
        self._batch.append((item, record))
        if len(self._batch) == _BATCH:
            self._to_arrow()

    def finish(self, n: int) -> int:
        """Write what is left, and the indices; gives the number of passages."""
        if self._batch:
            self._to_arrow()
        indices = [("words_key", "fts")]
        if n >= _INDEXED_FROM:
            indices += [(f"{name}_key", "labellist") for name in _KEYED]
            indices += [(name, "btree") for name in ("row", *WHOLE_NUMBERS, "price")]
        cells = [("vector", "ivfflat")]
        self._items.finish(indices + (cells if self._embedding and n >= _CELLS_FROM else []))
        if self._passages.rows:
            self._passages.finish(cells if self._passages.rows >= _CELLS_FROM else [])
        return self._passages.rows

    def _to_arrow(self) -> None:
        import pyarrow as pa

        records = [record for _, record in self._batch]
        columns: dict[str, Any] = {name: [r[name] for r in records] for name in records[0]}
        dimensions = None
        if self._embedding:
            columns["vector"] = self._vectors([_embedded_text(item) for item, _ in self._batch])
            dimensions = columns["vector"].type.list_size
            self._embed_passages()
        self._items.add(pa.table(columns, schema=_schema(dimensions)))
        self._batch.clear()

    def _embed_passages(self) -> None:
        import pyarrow as pa

        rows = (p for item, record in self._batch for p in _passages(item, record["row"]))
        while some := list(islice(rows, _BATCH)):
            row, where, start, end, texts = zip(*some, strict=True)
            numbers = {"row": row, "start": start, "end": end}
            columns = {name: pa.array(values, pa.int32()) for name, values in numbers.items()}
            columns |= {"field": pa.array(where), "vector": self._vectors(list(texts))}
            self._passages.add(pa.table(columns))

    def _vectors(self, texts: list[str]) -> Any:
        import pyarrow as pa

        assert self._embedding is not None
        vectors = self._embedding.encode(texts)
        flat = pa.array(vectors.reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def read_parquet(path: Path, mapping: Mapping[str, str] | None, progress: bool) -> Iterator[Row]:
    """The rows of a Parquet file."""
    columns = columns_of(mapping)

    def choose(have: Sequence[str]) -> list[str]:
        require(path, mapping, have)
        return [name for name in have if name in columns.values()]

    return parsed(parquet_rows(path, choose, progress), columns)


def parquet_rows(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]], progress: bool
) -> Iterator[RawRow]:
    """The rows of a Parquet file. ``choose`` is given its columns and says which to read."""
    import pyarrow as pa
    from pyarrow import parquet

    line = 0
    try:
        with open_source(path) as raw:
            file = parquet.ParquetFile(raw)
            wanted = list(choose(file.schema_arrow.names))
            with progress_bar(progress, file.metadata.num_rows, "row") as bar:
                for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
                    for record in batch.to_pylist():
                        line += 1
                        yield line, record
                    bar.update(len(batch))
    except pa.ArrowException as e:
        raise CatalogError(f"{path} cannot be read as Parquet: {e}") from e
