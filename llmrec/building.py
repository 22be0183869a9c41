"""Building hides how items become the folder that a Catalog opens, in bounded memory.

The folder holds ``catalog.json`` (what it is) and the Lance table ``items``: a row for each item
with its fields as they were given, and beside them folded columns (``_key``) that wishes and
words are compared with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmrec.embedding import Embedding
from llmrec.errors import CatalogError
from llmrec.folders import replacing
from llmrec.records import (
    FIELDS,
    LISTS,
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
    progress_bar,
    require,
)
from llmrec.titles import fold
from llmrec.types import Item

__all__ = ["FORMAT", "SEARCHED", "BuildReport", "Problem", "build", "read_parquet", "whole_folder"]

FORMAT = 1
SEARCHED = ("names_key", "people_key", "genres_key", "keywords_key", "text_key")
_KEYED = ("genres", "people", "directors", "countries", "languages", "keywords")
_BATCH = 8_192  # rows held as Python objects
_CHUNK_BYTES = 64 << 20  # rows held as Arrow before they are written
_INDEXED_FROM = 50_000  # rows from which scalar indices beat a scan
_CELLS_FROM = 100_000  # rows from which dense search looks at the nearest cells only
_MAX_PROBLEMS = 100
_fold = lru_cache(maxsize=1 << 17)(fold)


@dataclass(frozen=True)
class BuildReport:
    """What became of the rows. ``dropped`` counts all, ``problems`` tells of the first 100."""

    kept: int
    dropped: int
    problems: tuple[Problem, ...] = ()


def _schema(dimensions: int | None) -> Any:
    import pyarrow as pa

    names = pa.list_(pa.string())
    types: dict[str, Any] = {"row": pa.int32()}
    for name in FIELDS:
        number = pa.int32() if name in WHOLE_NUMBERS else pa.float64()
        types[name] = names if name in LISTS else number if name in NUMBERS else pa.string()
    types |= {"names_key": names, **{f"{name}_key": names for name in _KEYED}}
    types |= {"text_key": pa.string()}
    if dimensions is not None:
        types["vector"] = pa.list_(pa.float32(), dimensions)
    return pa.schema(list(types.items()))


def _to_record(item: Item) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(item, name) for name in FIELDS}
    record["titles"] = json.dumps(item.titles, ensure_ascii=False)
    record["descriptions"] = json.dumps(dict(item.descriptions), ensure_ascii=False)
    record["names_key"] = list(dict.fromkeys(_fold(t) for t in item.all_titles))
    for name in _KEYED:
        record[f"{name}_key"] = list(dict.fromkeys(_fold(v) for v in getattr(item, name)))
    texts = dict.fromkeys((item.description, *item.descriptions.values()))
    # Word by word: words repeat, so nearly all come from the cache.
    record["text_key"] = " ".join(_fold(word) for text in texts for word in text.split())
    return record


def _embedded_text(record: Mapping[str, Any]) -> str:
    topics = ", ".join((*record["genres"], *record["keywords"], *record["directors"]))
    return f"{record['title']}. {topics}. {record['description']}"[:2_000]


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder that becomes the catalogue at ``target`` if the block ends well."""
    if target.exists() and not (target / "catalog.json").is_file():
        raise CatalogError(
            f"{target} is there and is no catalogue: give a new path, or remove it first"
        )
    try:
        with replacing(target) as folder:
            yield folder
    except OSError as e:
        raise CatalogError(f"the catalogue at {target} cannot be built: {e}") from e


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as e:  # how Lance reports a full disk
        raise OSError(" ".join(str(e).split())[:160]) from e


def build(
    folder: Path, source: str, rows: Iterable[Row], embedding: Embedding | None
) -> BuildReport:
    """Fill ``folder``. Memory is bounded by a batch of rows, a chunk of Arrow, and all the ids."""
    seen: set[str] = set()
    problems: list[Problem] = []
    dropped = 0
    digest = hashlib.blake2b(digest_size=16)
    writer = _Writer(folder, embedding)
    for line, item in rows:
        reason = item if isinstance(item, str) else flaw(item)
        if reason is None and not isinstance(item, str):
            record = _to_record(item)
            content = json.dumps([record[name] for name in FIELDS], ensure_ascii=False)
            try:
                utf8 = content.encode() + b"\n"
            except UnicodeEncodeError:
                reason = NOT_UTF8
            else:
                if item.id in seen:
                    reason = f"the id {item.id!r} was used before"
                else:
                    digest.update(utf8)
                    writer.add(record | {"row": len(seen)})
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
    writer.finish(len(seen))
    meta = {
        "format": FORMAT,
        "rows": len(seen),
        "dropped": dropped,
        "fingerprint": digest.hexdigest(),
        "embedding_model": embedding.name if embedding else None,
    }
    (folder / "catalog.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
    return BuildReport(len(seen), dropped, tuple(problems))


class _Writer:
    """Records into the Lance table of a folder: batches of Python objects, chunks of Arrow."""

    def __init__(self, folder: Path, embedding: Embedding | None) -> None:
        import lancedb

        self._connection: Any = lancedb.connect(folder)
        self._embedding = embedding
        self._batch: list[dict[str, Any]] = []
        self._chunk: list[Any] = []
        self._table: Any = None

    def add(self, record: dict[str, Any]) -> None:
        self._batch.append(record)
        if len(self._batch) == _BATCH:
            self._to_arrow()
            if sum(table.nbytes for table in self._chunk) > _CHUNK_BYTES:
                self._to_disk()

    def finish(self, n: int) -> None:
        from lancedb.index import FTS, BTree, IvfFlat, LabelList

        if self._batch:
            self._to_arrow()
        if self._chunk:
            self._to_disk()
        # The columns are folded as queries are: the tokenizer has only to split at blanks.
        words = FTS(
            base_tokenizer="whitespace",
            stem=False,
            remove_stop_words=False,
            lower_case=False,
            ascii_folding=False,
        )
        indices: list[tuple[str, Any]] = [(column, words) for column in SEARCHED]
        if n >= _INDEXED_FROM:
            indices += [(f"{name}_key", LabelList()) for name in _KEYED]
            indices += [(name, BTree()) for name in WHOLE_NUMBERS]
        if self._embedding and n >= _CELLS_FROM:
            indices.append(("vector", IvfFlat(distance_type="cosine")))
        with _writing():
            for column, config in indices:
                kind = type(config).__name__.lower()
                self._table.create_index(column, config=config, name=f"{column}_{kind}")

    def _to_arrow(self) -> None:
        import pyarrow as pa

        columns: dict[str, Any] = {name: [r[name] for r in self._batch] for name in self._batch[0]}
        dimensions = None
        if self._embedding:
            vectors = self._embedding.encode([_embedded_text(r) for r in self._batch])
            dimensions = vectors.shape[1]
            flat = pa.array(vectors.reshape(-1))
            columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, dimensions)
        self._chunk.append(pa.table(columns, schema=_schema(dimensions)))
        self._batch.clear()

    def _to_disk(self) -> None:
        import pyarrow as pa

        data = pa.concat_tables(self._chunk)
        self._chunk.clear()
        with _writing():
            if self._table is None:
                self._table = self._connection.create_table("items", data)
            else:
                self._table.add(data)


def read_parquet(path: Path, mapping: Mapping[str, str] | None, progress: bool) -> Iterator[Row]:
    """The rows of a Parquet file."""
    columns = columns_of(mapping)
    return parsed(_parquet_rows(path, mapping, columns, progress), columns)


def _parquet_rows(
    path: Path, mapping: Mapping[str, str] | None, columns: Mapping[str, str], progress: bool
) -> Iterator[RawRow]:
    import pyarrow as pa
    from pyarrow import parquet

    line = 0
    try:
        with open_source(path) as raw:
            file = parquet.ParquetFile(raw)
            have = file.schema_arrow.names
            require(path, mapping, have)
            wanted = [name for name in have if name in columns.values()]
            with progress_bar(progress, file.metadata.num_rows, "row") as bar:
                for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
                    for record in batch.to_pylist():
                        line += 1
                        yield line, record
                    bar.update(len(batch))
    except pa.ArrowException as e:
        raise CatalogError(f"{path} cannot be read as Parquet: {e}") from e
