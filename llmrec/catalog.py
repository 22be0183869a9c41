"""Catalog hides LanceDB: how items are filtered, searched by words or meaning, and looked up.

`llmrec.building` writes the folder that is opened here. Every hard wish becomes one SQL condition
with exactly the meaning that `llmrec.wishes` gives it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from llmrec.building import (
    FORMAT,
    SEARCHED,
    BuildReport,
    Problem,
    build,
    read_parquet,
    whole_folder,
)
from llmrec.embedding import Embedding, Encoder
from llmrec.errors import CatalogError, InputError, UnknownItemError
from llmrec.folders import restore
from llmrec.records import FIELDS, LISTS, WHOLE_NUMBERS, Row, progress_bar, read_csv, read_jsonl
from llmrec.titles import TitleIndex, TitleMatch, fold, told_apart
from llmrec.types import Item, Preferences
from llmrec.wishes import Wish, wishes

__all__ = ["BuildReport", "Catalog", "Encoder", "Hit", "ItemMatch", "Mode", "Problem"]

Mode = Literal["text", "dense", "hybrid"]
StrPath = str | os.PathLike[str]
Rows = npt.NDArray[np.int32]
_Ranking = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # rows and their scores, best first

_WEIGHTS = dict(zip(SEARCHED, (6.0, 8.0, 3.0, 3.0, 1.0), strict=True))
_MAX_WORDS = 64
_RRF = 60
_STOPWORDS = frozenset(
    """a an the and or of in on at to for from with by as is it its that this
    o os um uma uns umas e ou de do da dos das em no na nos nas por pelo pela para pra com que se ao
    el la los las un unos unas y u del al en con lo le su sus es""".split()
)


@dataclass(frozen=True)
class Hit:
    """An item found. ``score``: BM25, cosine similarity or fused reciprocal ranks, by the mode."""

    item: Item
    score: float


@dataclass(frozen=True)
class ItemMatch(TitleMatch):
    """What a name was matched to, with the item itself (None for the tier "none")."""

    item: Item | None = None


class Catalog:
    """Items that can be filtered exactly, searched by words or meaning, and looked up by name.

    Made by `from_items`, `from_csv`, `from_jsonl`, `from_parquet`, `embedded` or `open`. A row is
    an item's place, from 0. Safe to use from several threads at once.

    Attributes
    ----------
    path: the folder that holds it.
    report: what became of the rows at the build (once opened again, without the single problems).
    """

    def __init__(self, path: StrPath, *, embedding_model: str | Encoder | None = None) -> None:
        """See `open`."""
        self.path = Path(os.path.abspath(path))
        self._meta = _read_meta(self.path)
        self.report = BuildReport(self._meta["rows"], self._meta["dropped"])
        stored = self._meta["embedding_model"]
        wanted = stored if embedding_model is None else embedding_model
        self._embedding = None if wanted is None else Embedding(wanted)
        if self._embedding and self._embedding.name != stored:
            raise CatalogError(
                f"the catalogue at {self.path} was built with the embedding model {stored!r}, not "
                f"{self._embedding.name!r}: open it with that one, or build it anew"
            )
        self._lock = threading.Lock()
        self._title_index: TitleIndex | None = None
        with self._reading():
            import lancedb

            self._table: Any = lancedb.connect(self.path).open_table("items")
            if self._table.count_rows() != len(self):
                raise ValueError(f"it has {self._table.count_rows()} rows, not {len(self)}")
            self._take([0, len(self) - 1])

    @classmethod
    def open(cls, path: StrPath, *, embedding_model: str | Encoder | None = None) -> Catalog:
        """Open a catalogue that was built before.

        Parameters
        ----------
        embedding_model: needed for dense search in a catalogue that was built with an encoder
            object, which its name cannot load: the same encoder.

        Raises
        ------
        CatalogError: there is no catalogue at ``path``, it is damaged, or it was built with
            another embedding model.
        """
        return cls(path, embedding_model=embedding_model)

    @classmethod
    def embedded(cls) -> Catalog:
        """The catalogue of well-known films that ships with the package."""
        return cls(Path(str(resources.files("llmrec"))) / "data" / "films.lance")

    @classmethod
    def from_items(
        cls,
        items: Iterable[Item],
        path: StrPath | None = None,
        *,
        embedding_model: str | Encoder | None = None,
        progress: bool = False,
    ) -> Catalog:
        """Build from items, at ``path`` or in a temporary folder that goes with the object.

        A catalogue already at ``path`` is replaced once the new one is whole; it stays if the
        build fails or is interrupted. Items that cannot be held (no title, an impossible year, an
        id used before) are left out and told of in ``report``.

        Parameters
        ----------
        embedding_model: name of a sentence-transformers model (extra ``dense``), or an object
            with its ``encode``, to make dense and hybrid search possible.
        progress: show a bar on stderr.

        Raises
        ------
        CatalogError: no item is left, or ``path`` cannot be written or holds something else.
        MissingExtraError, ModelError: the embedding model cannot be loaded.
        """

        def rows() -> Iterator[Row]:
            with progress_bar(progress, None, "item") as bar:
                for line, item in enumerate(items, 1):
                    odd = f"it is a {type(item).__name__}: an Item is wanted"
                    yield line, item if isinstance(item, Item) else odd
                    bar.update()

        return cls._build("items", rows(), path, embedding_model)

    @classmethod
    def from_csv(
        cls,
        path: StrPath,
        to: StrPath | None = None,
        *,
        mapping: Mapping[str, str] | None = None,
        embedding_model: str | Encoder | None = None,
        progress: bool = True,
    ) -> Catalog:
        """Build from a UTF-8 CSV file with a header (tab-separated if its name ends in ``.tsv``).

        Rows that cannot be read are left out and told of in ``report`` with line and reason.

        Parameters
        ----------
        to: where the catalogue goes; this and the rest as for `from_items`.
        mapping: from fields of Item to the columns that hold them, where the names differ
            (``{"title": "movie_name", "titles.pt": "nome"}``). Lists are split at ``;`` and ``|``;
            without an ``id`` column, ids are the numbers of the rows.

        Raises
        ------
        CatalogError: the file cannot be read, lacks a column or has no row with a title.
        InputError: ``mapping`` names something that is no field of Item.
        """
        rows = read_csv(Path(path), mapping, progress)
        return cls._build(os.fspath(path), rows, to, embedding_model)

    @classmethod
    def from_jsonl(
        cls,
        path: StrPath,
        to: StrPath | None = None,
        *,
        mapping: Mapping[str, str] | None = None,
        embedding_model: str | Encoder | None = None,
        progress: bool = True,
    ) -> Catalog:
        """Build from a file with one JSON object on each line; otherwise like `from_csv`."""
        rows = read_jsonl(Path(path), mapping, progress)
        return cls._build(os.fspath(path), rows, to, embedding_model)

    @classmethod
    def from_parquet(
        cls,
        path: StrPath,
        to: StrPath | None = None,
        *,
        mapping: Mapping[str, str] | None = None,
        embedding_model: str | Encoder | None = None,
        progress: bool = True,
    ) -> Catalog:
        """Build from a Parquet file; otherwise like `from_csv`."""
        rows = read_parquet(Path(path), mapping, progress)
        return cls._build(os.fspath(path), rows, to, embedding_model)

    @classmethod
    def _build(
        cls,
        source: str,
        rows: Iterable[Row],
        path: StrPath | None,
        embedding_model: str | Encoder | None,
    ) -> Catalog:
        embedding = None if embedding_model is None else Embedding(embedding_model)
        if embedding:
            embedding.load()  # before any work is done in vain
        temporary = tempfile.mkdtemp(prefix="llmrec-") if path is None else None
        target = Path(os.path.abspath(path or Path(str(temporary), "items")))
        try:
            with whole_folder(target) as folder:
                report = build(folder, source, rows, embedding)
            made = cls(target, embedding_model=embedding_model)
        except BaseException:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        made.report = report
        if temporary:
            weakref.finalize(made, shutil.rmtree, temporary, ignore_errors=True)
        return made

    def save(self, path: StrPath) -> None:
        """Copy the catalogue to ``path``, whole or not at all. Raises CatalogError."""
        target = Path(os.path.abspath(path))
        if target != self.path:
            with whole_folder(target) as folder:
                shutil.copytree(self.path, folder, dirs_exist_ok=True)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of all items in their order: other content, other fingerprint."""
        return str(self._meta["fingerprint"])

    @property
    def embedding_model(self) -> str | None:
        """Name of the model behind dense search, None if the catalogue has none."""
        return self._embedding.name if self._embedding else None

    def __repr__(self) -> str:
        return f"Catalog({str(self.path)!r}, {len(self):,} items)"

    def __len__(self) -> int:
        return int(self._meta["rows"])

    def __iter__(self) -> Iterator[Item]:
        for batch in self.batches(1_024):
            yield from batch

    def batches(self, size: int) -> Iterator[list[Item]]:
        """All items in catalogue order, ``size`` at a time."""
        if size < 1:
            raise InputError(f"the batch size is {size}: give 1 or more")
        for start in range(0, len(self), size):
            yield self.items_at(range(start, min(start + size, len(self))))

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._row_of

    @cached_property
    def ids(self) -> Sequence[str]:
        """The ids by row."""
        return self._column("id")

    @cached_property
    def titles(self) -> list[str]:
        """The main titles by row."""
        return self._column("title")

    @cached_property
    def labels(self) -> list[str]:
        """What a model calls each item, by row: its title, and its year where others share it."""
        return told_apart(self.titles, self._column("year"))

    @cached_property
    def popularity(self) -> npt.NDArray[np.float32]:
        """Float32 [n]: each item's popularity, 0 to 1."""
        return np.array(self._column("popularity"), dtype=np.float32)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.ids)}

    def rows(self, ids: Iterable[str]) -> Rows:
        """Int32 [len(ids)]: the row of each id. Raises UnknownItemError."""
        try:
            return np.array([self._row_of[i] for i in ids], dtype=np.int32)
        except KeyError as e:
            raise UnknownItemError(
                f"the catalogue has no item with the id {e.args[0]!r}: use one of its ids"
            ) from None

    def items_at(self, rows: Iterable[int] | Rows) -> list[Item]:
        """The items at ``rows``, in the order given. Raises InputError."""
        wanted = [int(r) for r in rows]
        if not wanted:
            return []
        if odd := [r for r in wanted if not 0 <= r < len(self)]:
            raise InputError(f"row {odd[0]} was asked for: rows are 0 to {len(self) - 1}")
        with self._reading():
            found = {record["row"]: _to_item(record) for record in self._take(sorted({*wanted}))}
            return [found[r] for r in wanted]

    def get(self, item_id: str) -> Item:
        """The item with this id. Raises UnknownItemError."""
        return self.get_many([item_id])[0]

    def get_many(self, ids: Iterable[str]) -> list[Item]:
        """The items with these ids, in the order given. Raises UnknownItemError."""
        return self.items_at(self.rows(ids))

    def filter(self, preferences: Preferences | None = None, exclude: Iterable[str] = ()) -> Rows:
        """Int32: the rows, ascending, that meet every hard wish, less the excluded ids."""
        where = self._where(preferences, exclude)
        if where is None:
            return np.arange(len(self), dtype=np.int32)
        with self._reading():
            query = self._table.search().where(where).select(["row"]).limit(len(self))
            return np.asarray(np.sort(query.to_arrow()["row"].to_numpy()), dtype=np.int32)

    def search(
        self,
        text: str = "",
        preferences: Preferences | None = None,
        k: int = 10,
        min_score: float = 0.0,
        exclude: Iterable[str] = (),
        mode: Mode = "text",
    ) -> list[Hit]:
        """The best items for a text, among those that meet the hard wishes.

        Parameters
        ----------
        text: words to look for (the first 64 different ones). Without a word in it, the most
            popular items are given, each with the score 0.
        preferences: of them only the hard wishes count here.
        min_score: hits below it are left out (with 0, those of opposite meaning too).
        exclude: ids to leave out; ids that the catalogue does not have are ignored.
        mode: "text" compares words (BM25; titles weigh most, descriptions least), "dense" meaning
            (cosine similarity), "hybrid" fuses the two rankings.

        Raises
        ------
        InputError: ``k`` or ``mode`` is not allowed.
        CatalogError: "dense" or "hybrid" was asked of a catalogue without an embedding model.
        """
        if k < 1:
            raise InputError(f"k is {k}: give 1 or more")
        if mode not in ("text", "dense", "hybrid"):
            raise InputError(f"mode is {mode!r}: use 'text', 'dense' or 'hybrid'")
        if mode != "text" and self._embedding is None:
            raise CatalogError(
                f"mode is {mode!r} and the catalogue was built without an embedding model: "
                "build it with embedding_model='...', or use mode='text'"
            )
        exclude = tuple(exclude)
        where = self._where(preferences, exclude)
        if not fold(text):
            rows = self.filter(preferences, exclude)
            order = np.lexsort((rows, -self.popularity[rows]))[:k]
            found, scores = rows[order], np.zeros(len(order))
        elif mode == "text":
            found, scores = self._by_words(text, where, k)
        elif mode == "dense":
            found, scores = self._by_meaning(text, where, k)
        else:
            deep = max(100, 10 * k)
            words, meaning = (by(text, where, deep) for by in (self._by_words, self._by_meaning))
            found, scores = _fused(words[0], meaning[0])
        items = self.items_at(found[:k])
        return [Hit(i, s) for i, s in zip(items, scores.tolist(), strict=False) if s >= min_score]

    def scores(
        self, text: str, rows: Sequence[int] | Rows | None = None
    ) -> npt.NDArray[np.float32]:
        """BM25 for ``text``, 0 where no word matches: float32 [n] by row, or for ``rows`` only."""
        out = np.zeros(len(self), dtype=np.float32)
        found, scores = self._by_words(text, None, len(self))
        out[found] = scores
        return out if rows is None else out[np.asarray(rows, dtype=np.int64)]

    def match_title(self, text: str) -> ItemMatch:
        """Which item a name means, by the tiers of `TitleMatch`."""
        with self._lock:
            if self._title_index is None:
                names, years = self._column("names_key"), self._column("year")
                self._title_index = TitleIndex(names, years, self.popularity.tolist())
        match = self._title_index.match(text)
        item = None if match.row is None else self.items_at([match.row])[0]
        return ItemMatch(match.row, match.tier, match.score, item)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError, KeyError) as e:
            raise _damaged(self.path, e) from e

    def _take(self, rows: list[int]) -> list[dict[str, Any]]:
        columns = ["row", *FIELDS]
        return list(self._table.take_offsets(rows).select(columns).to_arrow().to_pylist())

    def _column(self, name: str) -> list[Any]:
        with self._reading():
            table = self._table.search().select(["row", name]).limit(len(self)).to_arrow()
            return list(table.sort_by("row")[name].to_pylist())

    def _where(self, preferences: Preferences | None, exclude: Iterable[str]) -> str | None:
        clauses = [] if preferences is None else [_sql(w) for w in wishes(preferences)]
        if gone := {self._row_of[i] for i in exclude if i in self._row_of}:
            clauses.append(f"row NOT IN ({', '.join(map(str, sorted(gone)))})")
        return " AND ".join(clauses) or None

    def _by_words(self, text: str, where: str | None, limit: int) -> _Ranking:
        from lancedb import query as lance

        words = list(dict.fromkeys(fold(text).split()))
        words = [w for w in words if w not in _STOPWORDS] or words
        if not words:
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
        match: Any = lance.MatchQuery  # its arguments with defaults are hidden from type checkers
        wanted = " ".join(words[:_MAX_WORDS])
        parts = [(lance.Occur.SHOULD, match(wanted, c, boost=b)) for c, b in _WEIGHTS.items()]
        with self._reading():
            query = self._table.search(lance.BooleanQuery(parts), query_type="fts")
            table = _limited(query, where, limit, "_score")
        return _ranked(table["row"].to_numpy(), table["_score"].to_numpy())

    def _by_meaning(self, text: str, where: str | None, limit: int) -> _Ranking:
        assert self._embedding is not None
        vector = self._embedding.encode([text])[0]
        with self._reading():
            query = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
            table = _limited(query, where, limit, "_distance")
        return _ranked(table["row"].to_numpy(), 1.0 - table["_distance"].to_numpy())


def _limited(query: Any, where: str | None, limit: int, column: str) -> Any:
    query = query.select(["row", column]).limit(limit)
    return (query.where(where, prefilter=True) if where else query).to_arrow()


def _ranked(rows: npt.NDArray[Any], scores: npt.NDArray[Any]) -> _Ranking:
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]


def _fused(*rankings: npt.NDArray[Any]) -> _Ranking:
    """Reciprocal rank fusion of rows, best first."""
    total: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking.tolist(), 1):
            total[row] = total.get(row, 0.0) + 1.0 / (_RRF + rank)
    return _ranked(np.array(list(total), dtype=np.int32), np.array(list(total.values())))


def _sql(wish: Wish) -> str:
    if wish.attribute in WHOLE_NUMBERS:
        bound = max(-(2**31), min(2**31 - 1, int(wish.values[0])))
        return f"{wish.attribute} {'>=' if wish.field.endswith('_min') else '<='} {bound}"
    keys = ", ".join("'" + fold(v).replace("'", "''") + "'" for v in wish.values)
    clause = f"array_has_any({wish.attribute}_key, [{keys}])"
    return f"NOT {clause}" if wish.negative else clause


def _to_item(record: Mapping[str, Any]) -> Item:
    values = {name: record[name] for name in FIELDS}
    values |= {name: tuple(values[name]) for name in LISTS}
    values |= {name: json.loads(values[name]) for name in ("titles", "descriptions")}
    return Item(**values)


def _damaged(path: Path, why: object) -> CatalogError:
    short = " ".join(str(why).split())[:160]
    return CatalogError(
        f"the catalogue at {path} is damaged or was replaced ({short}): open it again or rebuild it"
    )


def _read_meta(path: Path) -> dict[str, Any]:
    restore(path)
    file = path / "catalog.json"
    if not file.is_file():
        raise CatalogError(
            f"there is no catalogue at {path}: give a folder that Catalog.from_csv, from_jsonl, "
            "from_parquet or from_items has built"
        )
    try:
        meta = dict(json.loads(file.read_text(encoding="utf-8")))
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {meta['format']!r}, this version reads {FORMAT}")
        meta["rows"], meta["dropped"] = int(meta["rows"]), int(meta["dropped"])
        return {"embedding_model": None, "fingerprint": "", **meta}
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise _damaged(path, e) from e
