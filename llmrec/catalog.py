"""Catalog hides LanceDB: how items are filtered, searched by words or meaning, and looked up.

`llmrec.building` fills the tables that are opened here, and `llmrec.storage` knows where they lie.
Every hard wish becomes one SQL condition with exactly the meaning that `llmrec.wishes` gives it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from llmrec._version import __version__
from llmrec.arrays import Arrays, Places, Texts, kept, ragged
from llmrec.building import (
    FORMAT,
    BuildReport,
    Problem,
    build,
    copy,
    parquet_rows,
    read_parquet,
)
from llmrec.embedding import Embedding, Encoder
from llmrec.errors import CatalogError, InputError, LLMRecError, UnknownItemError
from llmrec.lexicon import guess_language
from llmrec.passages import Words, cut, similarity, texts_of
from llmrec.products import Products
from llmrec.records import (
    FIELDS,
    LISTS,
    NUMBERS,
    WHOLE_NUMBERS,
    Row,
    csv_rows,
    json_rows,
    progress_bar,
    read_csv,
    read_jsonl,
    suffix_of,
    told,
)
from llmrec.storage import Folder, Options, Shared, StrPath, storage_at
from llmrec.titles import (
    LOST,
    UNDATED,
    Found,
    TitleIndex,
    TitleMatch,
    arranged,
    article_first,
    fold,
    told_apart,
    with_look_alikes,
)
from llmrec.types import Item, Passage, Preferences
from llmrec.wishes import Wish, wishes

__all__ = [
    "BuildReport",
    "Catalog",
    "Encoder",
    "Hit",
    "ItemMatch",
    "Mode",
    "PassageHit",
    "Problem",
    "TitleFound",
]

Mode = Literal["text", "dense", "hybrid"]
Rows = npt.NDArray[np.int32]
_Ranking = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # rows and their scores, best first

# Catalogues of format 1 have a column for each of these, and no ``words_key``.
_COLUMNS = {"names": 1.0, "people": 1.5, "genres": 1.0, "keywords": 1.0, "text": 1.0}
_MAX_WORDS = 64
_SAMPLE = 20_000  # rows that tell how common a word is
_CANDIDATES = 50  # items whose passages are read
_MEANING = 2.0  # how much the cosine of a passage counts beside the 0 to 3 of its words
_FEW = 10_000  # rows that a filter may name one by one
_RRF = 60
_READ = 8_192  # records that are read at a time
_KEPT_FROM = 20_000  # items from which it pays to keep what was worked out of all of them
_TRIES = 5  # to open a catalogue that is being replaced
_BROKEN = (OSError, RuntimeError, ValueError, TypeError, LookupError)  # what damaged tables raise
_STOPWORDS = frozenset(
    """a an the and or of in on at to for from with by as is it its that this
    o os um uma uns umas e ou de do da dos das em no na nos nas por pelo pela para pra com que se ao
    el la los las un unos unas y u del al en con lo le su sus es""".split()
)


def _held(name: str) -> str:
    """The SQL condition that an item has a fact, as `building.held` counts it."""
    if name in (*LISTS, "people"):
        return f"array_length({'people_key' if name == 'people' else name}) > 0"
    if name in NUMBERS:
        return "popularity > 0" if name == "popularity" else f"{name} IS NOT NULL"
    return f"{name} NOT IN ('', '{{}}')"


_OF_OLD = tuple(name for name in FIELDS if name != "image")  # the columns of format 1
_HELD = {name: _held(name) for name in (*_OF_OLD, "people")}


@dataclass(frozen=True)
class Hit:
    """An item found. ``score``: BM25, cosine similarity or fused reciprocal ranks, by the mode."""

    item: Item
    score: float


@dataclass(frozen=True)
class ItemMatch(TitleMatch):
    """What a name was matched to, with the item itself (None for the tier "none")."""

    item: Item | None = None


@dataclass(frozen=True)
class PassageHit:
    """A passage found, and the item it tells of. ``passage.score``: how well it fits, 0 to 1."""

    item: Item
    passage: Passage


@dataclass(frozen=True)
class TitleFound(Found):
    """A known name inside a text, with the ids of the items that go by it, likeliest first."""

    ids: tuple[str, ...] = ()


class Catalog:
    """Items that can be filtered exactly, searched by words or meaning, and looked up by name.

    Made by `from_items`, `from_csv`, `from_jsonl`, `from_parquet`, `from_products`, `embedded` or
    `open`. It lies in a folder, or on object storage: wherever a path is wanted, a URI such as
    ``s3://bucket/films.lance`` may be given (``gs://`` and ``az://`` too, and ``file://`` for a
    folder that several machines share). A row is an item's place, from 0. Safe to use from several
    threads at once; who has it open while another is put in its place at a URI reads the old one.

    Attributes
    ----------
    uri: where it lies: the path of its folder, or the URI.
    report: what became of the rows at the build (once opened again, without the single problems).
    """

    def __init__(
        self,
        path: StrPath,
        *,
        embedding_model: str | Encoder | None = None,
        storage_options: Options | None = None,
    ) -> None:
        """See `open`."""
        self._place = storage_at(path, storage_options)
        self.uri = self._place.uri
        with self._reading():
            self._meta, self._table, self._passage_table = _opened(self._place)
        counts = self._meta.get("counts", {})
        self.report = BuildReport(self._meta["rows"], self._meta["dropped"], counts=counts)
        stored = self._meta["embedding_model"]
        wanted = stored if embedding_model is None else embedding_model
        self._embedding = None if wanted is None else Embedding(wanted)
        if self._embedding and self._embedding.name != stored:
            raise CatalogError(
                f"the catalogue at {self.uri} was built with the embedding model {stored!r}, not "
                f"{self._embedding.name!r}: open it with that one, or build it anew"
            )
        self._lock = threading.Lock()
        with self._reading():
            self._take([0, len(self) - 1])

    @classmethod
    def open(
        cls,
        path: StrPath,
        *,
        embedding_model: str | Encoder | None = None,
        storage_options: Options | None = None,
    ) -> Catalog:
        """Open a catalogue that was built before.

        Parameters
        ----------
        path: a folder, or a URI of object storage.
        embedding_model: needed for dense search in a catalogue that was built with an encoder
            object, which its name cannot load: the same encoder.
        storage_options: credentials and settings of the object storage, as LanceDB names them
            (``aws_endpoint``, ``region``, ...); what is not given comes from the environment. They
            are kept in memory only, and out of every message.

        Raises
        ------
        CatalogError: there is no catalogue at ``path``, it is damaged, or it was built with
            another embedding model; the storage cannot be reached or refuses.
        InputError: ``path`` or ``storage_options`` cannot be used.
        """
        return cls(path, embedding_model=embedding_model, storage_options=storage_options)

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
        storage_options: Options | None = None,
    ) -> Catalog:
        """Build from items, at ``path`` or in a temporary folder that goes with the object.

        A catalogue already at ``path`` is replaced once the new one is whole; it stays if the
        build fails or is interrupted. At a URI, what an interrupted build left and the tables of
        replaced catalogues are removed by the first build a day later. Items that cannot be held
        (no title, an impossible year, an id used before) are left out and told of in ``report``.

        Parameters
        ----------
        embedding_model: name of a sentence-transformers model (extra ``dense``), or an object
            with its ``encode``, to make dense and hybrid search possible.
        progress: show a bar on stderr.
        storage_options: as for `open`.

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

        return cls._build("items", rows(), path, embedding_model, storage_options)

    @classmethod
    def from_csv(
        cls,
        path: StrPath,
        to: StrPath | None = None,
        *,
        mapping: Mapping[str, str] | None = None,
        embedding_model: str | Encoder | None = None,
        progress: bool = True,
        storage_options: Options | None = None,
    ) -> Catalog:
        """Build from a UTF-8 CSV file with a header (tab-separated if its name ends in ``.tsv``).

        Rows that cannot be read are left out and told of in ``report`` with line and reason. Of
        ``image`` the first https address counts; what is none is left out and counted there.

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
        return cls._build(os.fspath(path), rows, to, embedding_model, storage_options)

    @classmethod
    def from_jsonl(
        cls,
        path: StrPath,
        to: StrPath | None = None,
        *,
        mapping: Mapping[str, str] | None = None,
        embedding_model: str | Encoder | None = None,
        progress: bool = True,
        storage_options: Options | None = None,
    ) -> Catalog:
        """Build from a file with one JSON object on each line; otherwise like `from_csv`."""
        rows = read_jsonl(Path(path), mapping, progress)
        return cls._build(os.fspath(path), rows, to, embedding_model, storage_options)

    @classmethod
    def from_parquet(
        cls,
        path: StrPath,
        to: StrPath | None = None,
        *,
        mapping: Mapping[str, str] | None = None,
        embedding_model: str | Encoder | None = None,
        progress: bool = True,
        storage_options: Options | None = None,
    ) -> Catalog:
        """Build from a Parquet file; otherwise like `from_csv`."""
        rows = read_parquet(Path(path), mapping, progress)
        return cls._build(os.fspath(path), rows, to, embedding_model, storage_options)

    @classmethod
    def from_products(
        cls,
        path: StrPath,
        to: StrPath | None = None,
        *,
        mapping: Mapping[str, str] | None = None,
        embedding_model: str | Encoder | None = None,
        progress: bool = True,
        storage_options: Options | None = None,
    ) -> Catalog:
        """Build from a file of shop products, such as AmazonTitles: title and content.

        Texts lose markup, entities and control characters; those of over 4,000 characters end
        with a sentence before that. A text that is clearly English, Portuguese or Spanish becomes
        the description in that language, any other the general one. Prices are read as people
        write them ("R$ 1.299,90"). A product that was there before, of the same title and text,
        is left out. ``report.counts`` tells how often each of these happened.

        Parameters
        ----------
        path: ``.json`` or ``.jsonl`` (one object on each line), ``.csv``, ``.tsv``, each packed
            (``.gz``) or not, or ``.parquet``.
        to: where the catalogue goes; this and the rest as for `from_items`.
        mapping: from fields of Item, and "language", to the columns that hold them, where their
            names are not guessed: title, name, nome, product ...; content, description, text,
            descrição ...; id, uid, asin, sku; price, cost, preço ...; category; language; image,
            imageURLHighRes, images, poster ...

        Raises
        ------
        CatalogError: the file cannot be read, lacks a column or has no row with a title.
        InputError: ``mapping`` names something that is no field of Item.
        """
        file = Path(path)
        products, suffix = Products(file, mapping), suffix_of(file)
        if suffix in (".json", ".jsonl"):
            rows = told(file, json_rows, progress)
        elif suffix in (".csv", ".tsv"):
            rows = told(file, lambda raw: csv_rows(raw, suffix, products.choose), progress)
        elif file.suffix == ".parquet":
            rows = parquet_rows(file, products.choose, progress)
        else:
            raise CatalogError(
                f"{file} has the ending {file.suffix!r}: use .json or .jsonl (an object on each "
                "line), .csv or .tsv, each also with .gz, or .parquet"
            )
        items, counts = products.items(rows), products.counts
        return cls._build(os.fspath(path), items, to, embedding_model, storage_options, counts)

    @classmethod
    def _build(
        cls,
        source: str,
        rows: Iterable[Row],
        path: StrPath | None,
        embedding_model: str | Encoder | None,
        storage_options: Options | None,
        counts: Mapping[str, int] | None = None,
    ) -> Catalog:
        embedding = None if embedding_model is None else Embedding(embedding_model)
        if embedding:
            embedding.load()  # before any work is done in vain
        temporary = tempfile.mkdtemp(prefix="llmrec-") if path is None else None
        to = path or Path(str(temporary), "items")
        try:
            with storage_at(to, storage_options).replacing() as draft:
                report = build(draft, source, rows, embedding, counts)
            made = cls(to, embedding_model=embedding_model, storage_options=storage_options)
        except BaseException:
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        made.report = report
        if temporary:
            weakref.finalize(made, shutil.rmtree, temporary, ignore_errors=True)
        return made

    def save(self, path: StrPath, *, storage_options: Options | None = None) -> None:
        """Copy the catalogue to ``path``, whole or not at all.

        Parameters
        ----------
        path: a folder, or a URI of object storage with its ``storage_options`` as for `open`.

        Raises
        ------
        CatalogError: it cannot be written, or something else is there.
        """
        to = storage_at(path, storage_options)
        if to.uri == self.uri:
            return
        if isinstance(self._place, Folder) and isinstance(to, Folder):
            self._place.copy(to)
            return

        def read(table: Any, offsets: list[int]) -> Any:
            with self._reading():
                return table.take_offsets(offsets).to_arrow()

        with to.replacing() as draft:
            copy((self._table, self._passage_table), read, self._meta, draft)

    @property
    def path(self) -> Path:
        """The folder that holds it. Raises CatalogError for one on object storage."""
        if self._place.path is None:
            raise CatalogError(f"the catalogue at {self.uri} is in no folder: it has a uri alone")
        return self._place.path

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of all items in their order: other content, other fingerprint."""
        return str(self._meta["fingerprint"])

    @property
    def embedding_model(self) -> str | None:
        """Name of the model behind dense search, None if the catalogue has none."""
        return self._embedding.name if self._embedding else None

    def __repr__(self) -> str:
        return f"Catalog({self.uri!r}, {len(self):,} items)"

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

    def columns(self, fields: Sequence[str]) -> Iterator[dict[str, Sequence[Any]]]:
        """These fields of all items, in catalogue order, some thousand items at a time.

        Much faster than items where few of their fields are wanted: no Item is made.
        """
        with self._reading():
            query = self._table.search().select(["row", *self._whole]).limit(len(self))
            rows = 0
            for found in query.to_batches(_READ):
                own = found["row"].to_numpy()
                if not np.array_equal(own, np.arange(rows, rows + len(own))):
                    raise ValueError(f"row {rows} is not in its place")
                rows += len(own)
                yield self._fields(found, fields)

    def _fields(self, found: Any, fields: Sequence[str]) -> dict[str, Sequence[Any]]:
        if self._meta["format"] == 1:
            columns = {name: found[name].to_pylist() for name in fields}
        else:  # all records as one text: a call for each would take five times as long
            records = json.loads(f"[{','.join(found['record'].to_pylist())}]")
            at = {name: self._meta["fields"].index(name) for name in fields}
            columns = {name: [record[i] for record in records] for name, i in at.items()}
        for name in {"titles", "descriptions"}.intersection(fields):
            columns[name] = [json.loads(v) if v != "{}" else {} for v in columns[name]]
        return columns

    def kept(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays that ``make`` works out of all items, the same for a name.

        Those of large catalogues are kept on this machine, beside the catalogue or in the cache of
        one on object storage, for as long as it is not replaced, and mapped from there the next
        time. Where nothing can be written they are made anew by each process.
        """
        key = f"{self.fingerprint} {__version__}"  # another version may fold names otherwise
        return kept(self.shelf and self.shelf / f"{name}.arrays", key, make)

    @property
    def shelf(self) -> Path | None:
        """The folder for what is kept of this catalogue; None for one that is small."""
        if len(self) < _KEPT_FROM or not self.fingerprint:
            return None
        return self._place.beside(self._meta)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._row_of

    @cached_property
    def ids(self) -> Sequence[str]:
        """The ids by row."""
        return Texts.of_arrow(self._column("id"))

    @cached_property
    def titles(self) -> Sequence[str]:
        """The main titles by row."""
        return Texts.of_arrow(self._column("title"))

    @cached_property
    def labels(self) -> Sequence[str]:
        """What a model calls each item, by row: its title, and its year where others share it."""

        def made() -> Arrays:
            told = Texts.of(told_apart(self.titles, self._column("year").to_pylist()))
            return {"data": told.data, "ends": told.ends}

        return Texts(**self.kept("labels-1", made))

    @cached_property
    def popularity(self) -> npt.NDArray[np.float32]:
        """Float32 [n]: each item's popularity, 0 to 1."""
        return _plain(self._column("popularity")).astype(np.float32)

    def numbers(self, field: str) -> npt.NDArray[np.float64]:
        """Float64 [n]: year, runtime, rating, price or popularity by row; NaN where unknown."""
        if field not in NUMBERS:
            raise InputError(f"{field!r} is no number: use one of {', '.join(NUMBERS)}")
        if field not in self._numbers:
            values = _plain(self._column(field))
            self._numbers[field] = (
                np.where(values > 0, values, np.nan) if field == "popularity" else values
            )
        return self._numbers[field]

    @cached_property
    def _numbers(self) -> dict[str, npt.NDArray[np.float64]]:
        return {}

    @cached_property
    def _row_of(self) -> Places:
        return Places(self.ids)

    def rows(self, ids: Iterable[str]) -> Rows:
        """Int32 [len(ids)]: the row of each id. Raises UnknownItemError."""
        wanted = list(ids)
        rows = [self._row_of.get(i, -1) for i in wanted]
        if -1 in rows:
            raise UnknownItemError(
                f"the catalogue has no item with the id {wanted[rows.index(-1)]!r}: use one of "
                "its ids"
            )
        return np.array(rows, dtype=np.int32)

    def items_at(self, rows: Iterable[int] | Rows) -> list[Item]:
        """The items at ``rows``, in the order given. Raises InputError."""
        wanted = [int(r) for r in rows]
        if not wanted:
            return []
        if odd := [r for r in wanted if not 0 <= r < len(self)]:
            raise InputError(f"row {odd[0]} was asked for: rows are 0 to {len(self) - 1}")
        with self._reading():
            found = {record["row"]: self._item(record) for record in self._take(sorted({*wanted}))}
            return [found[r] for r in wanted]

    def get(self, item_id: str) -> Item:
        """The item with this id. Raises UnknownItemError."""
        return self.get_many([item_id])[0]

    def get_many(self, ids: Iterable[str]) -> list[Item]:
        """The items with these ids, in the order given. Raises UnknownItemError."""
        return self.items_at(self.rows(ids))

    def filter(self, preferences: Preferences | None = None, exclude: Iterable[str] = ()) -> Rows:
        """Int32: the rows, ascending, that meet every hard wish, less the excluded ids."""
        return self._filtered(self._where(preferences, exclude))

    def _filtered(self, where: str | None) -> Rows:
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
        self._check(k, mode)
        exclude = tuple(exclude)
        where = self._where(preferences, exclude)
        if not fold(text):
            rows = self.filter(preferences, exclude)
            order = np.lexsort((rows, -self.popularity[rows]))[:k]
            found, scores = rows[order], np.zeros(len(order))
        elif mode == "text":
            best, values = self._items_by_words(text, where, k)
            hits = (Hit(i, s) for i, s in zip(best, values, strict=True))
            return [hit for hit in hits if hit.score >= min_score]
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

    def passages(
        self,
        text: str,
        k: int = 5,
        *,
        ids: Iterable[str] | None = None,
        preferences: Preferences | None = None,
        mode: Mode = "text",
        min_similarity: float = 0.0,
        per_item: int | None = None,
    ) -> list[PassageHit]:
        """The passages of descriptions that fit a question best, in all their languages.

        With "text" a passage has at least one word of the question.

        Parameters
        ----------
        text: the question, or words to look for.
        ids: look into these items only; without, into those that have most of the words.
        preferences: of them only the hard wishes count here.
        mode: "text" compares words: the similarity is the share of the question's words, each
            weighed by how rare it is, that stand in the passage; what else is known of an item
            (its names, people, genres) helps to find it. "dense" compares meaning (cosine of the
            vectors), "hybrid" fuses the two rankings and takes the larger of the similarities.
        min_similarity: passages below it are left out.
        per_item: the most passages of one item, None for no limit.

        Raises
        ------
        InputError: ``k``, ``per_item`` or ``mode`` is not allowed.
        UnknownItemError: the catalogue lacks one of ``ids``.
        CatalogError: "dense" or "hybrid" was asked of a catalogue without an embedding model.
        """
        self._check(k, mode)
        if per_item is not None and per_item < 1:
            raise InputError(f"per_item is {per_item}: give 1 or more, or nothing")
        where, named = self._where(preferences, (), ids), ids is not None
        if not fold(text):
            return []
        told = [] if mode == "dense" else self._passages_by_words(text, where, k, named)
        meant = [] if mode == "text" else self._passages_by_meaning(text, where, k)
        found = _fused_passages(told, meant)
        found = [hit for hit in found if hit.passage.score >= min_similarity]
        return _at_most(found, per_item)[:k]

    def _passages_by_words(
        self, text: str, where: str | None, k: int, named: bool
    ) -> list[tuple[float, PassageHit]]:
        """Passages with words of a question, best first, and how much speaks for each: 0 to 3."""
        weights, language = self._words.weights(text), guess_language(text)
        deep = max(_CANDIDATES, 4 * k)
        items, scores = self._items_by_words(self._words.known_forms(text), where, deep)
        if named and len(items) < deep:  # the others may hold a word in another form
            have = {item.id for item in items}
            items += [i for i in self.items_at(self._filtered(where)[:deep]) if i.id not in have]
        best = max(scores, default=1.0)
        strengths = [s / best for s in scores] + [0.0] * (len(items) - len(scores))
        found: list[tuple[float, PassageHit]] = []
        for item, score in zip(items, strengths, strict=True):
            pieces = _pieces(item, language)
            whole = similarity(weights, " ".join([*_names(item), *(p[2] for p in pieces)]))
            for field, start, words in pieces:
                if share := similarity(weights, words):
                    hit = PassageHit(item, Passage(words, field, start, share))
                    found.append((score + whole + share, hit))
        return sorted(found, key=lambda f: -f[0])  # equal ones stay in the order of their items

    def _passages_by_meaning(self, text: str, where: str | None, k: int) -> list[PassageHit]:
        deep = max(_CANDIDATES, 4 * k)
        weights, language = self._words.weights(text), guess_language(text)
        vector = self._vector(text)
        rows, scores = self._nearest(vector, where, deep)
        places = self._places(vector, where, deep)
        every = list(dict.fromkeys([*rows.tolist(), *(p["row"] for p in places)]))
        items = dict(zip(every, self.items_at(every), strict=True))
        found: list[PassageHit] = []
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            pieces = _pieces(items[row], language)
            if self._passage_table is not None:  # the vectors of the others are there
                several = Counter(field for field, *_ in pieces)
                pieces = [piece for piece in pieces if several[piece[0]] == 1]
            if pieces:
                field, start, words = max(pieces, key=lambda p: similarity(weights, p[2]))
                found.append(PassageHit(items[row], Passage(words, field, start, min(1.0, score))))
        for place in places:
            item, field, start = items[place["row"]], place["field"], place["start"]
            words = texts_of(item)[field][start : place["end"]]
            score = min(1.0, 1.0 - place["_distance"])
            found.append(PassageHit(item, Passage(words, field, start, score)))
        found = [hit for hit in found if hit.passage.score > 0]
        return sorted(found, key=lambda hit: -hit.passage.score)

    def _places(self, vector: Any, where: str | None, limit: int) -> list[dict[str, Any]]:
        """The nearest rows of the table of passages: of a wide filter's, those among the first."""
        if self._passage_table is None:
            return []
        allowed = None if where is None else self._filtered(where).tolist()
        condition = None if allowed is None or len(allowed) > _FEW else _among(allowed)
        wide = limit if allowed is None or condition else 10 * limit
        columns = ["row", "field", "start", "end", "_distance"]
        with self._reading():
            query = self._passage_table.search(vector, vector_column_name="vector")
            query = query.distance_type("cosine").select(columns).limit(wide)
            query = query.where(condition, prefilter=True) if condition else query
            found: list[dict[str, Any]] = query.to_arrow().to_pylist()
        kept = None if allowed is None else set(allowed)
        return [place for place in found if kept is None or place["row"] in kept][:limit]

    @cached_property
    def _words(self) -> Words:
        step = -(-len(self) // _SAMPLE)
        rows = list(range(0, len(self), step))
        with self._reading():
            column = "text_key" if self._meta["format"] == 1 else "words_key"
            sample = self._table.take_offsets(rows).select([column]).to_arrow()
            return Words(sample[column].to_pylist())

    @cached_property
    def known(self) -> Mapping[str, float]:
        """Share of the items that have it, for each field of Item, and for "people".

        A popularity of 0 is none; id and title are always there.
        """
        shares = self._meta.get("known") or self._counted()
        return {name: shares.get(name, 0) / len(self) for name in (*FIELDS, "people")}

    def _counted(self) -> dict[str, int]:
        with self._reading():
            return {name: self._table.count_rows(_HELD[name]) for name in _HELD}

    def match_title(self, text: str) -> ItemMatch:
        """Which item a name means, by the tiers of `TitleMatch`."""
        return self.match_titles([text])[0]

    def match_titles(self, names: Iterable[str]) -> list[ItemMatch]:
        """`match_title` for each of the names, in one go."""
        matches = self.title_index.match_many(names)
        rows = list(dict.fromkeys(m.row for m in matches if m.row is not None))
        items: dict[int | None, Item] = dict(zip(rows, self.items_at(rows), strict=True))
        return [ItemMatch(m.row, m.tier, m.score, items.get(m.row)) for m in matches]

    def find_titles(self, text: str) -> list[TitleFound]:
        """Known names inside ``text``: the longest first, none overlapping, in text order.

        Every run of words that is a title counts, "It" too: what is meant is for the caller.
        """
        found = self.title_index.find(text)
        return [
            TitleFound(f.start, f.end, f.rows, f.n_words, tuple(self.ids[r] for r in f.rows))
            for f in found
        ]

    @cached_property
    def title_index(self) -> TitleIndex:
        """The names of the items, to be matched and found in texts."""
        return TitleIndex.of(self.kept("titles-1", self._titles_arranged))

    def _titles_arranged(self) -> Arrays:
        column = self._column("names_key").combine_chunks()
        names = Texts.of_arrow(column.flatten())
        sizes = np.diff(column.offsets.to_numpy())
        rows, place = np.repeat(np.arange(len(self)), sizes), ragged(np.zeros_like(sizes), sizes)
        moved = self._moved(column.flatten(), rows)
        own = [(k, row, i) for row, keys in moved.items() for i, k in enumerate(keys)]
        names += Texts.of(k for k, _, _ in own)
        stays = np.append(~np.isin(rows, list(moved)), np.ones(len(own), dtype=bool))
        rows = np.append(rows, np.array([row for _, row, _ in own], dtype=rows.dtype))
        place = np.append(place, np.array([i for _, _, i in own], dtype=place.dtype))
        order = np.lexsort((place, rows))
        order = order[(stays & (names.sizes() > 0))[order]]
        years = self.numbers("year")
        return with_look_alikes(
            arranged(
                names.take(order),
                rows[order].astype(np.int32),
                place[order] == 0,
                np.where(np.isnan(years), UNDATED, years).astype(np.int32),
                _plain(self._column("popularity")),
            )
        )

    def _moved(self, names: Any, rows: npt.NDArray[Any]) -> dict[int, list[str]]:
        """The folded names of rows where one has its article behind: "Goonies, The".

        The folded names of the catalogue have lost the comma by which it is known.
        """
        from pyarrow import compute

        told = f" (?:{'|'.join(LOST)})(?: (?:18|19|20)[0-9][0-9])?$"
        some = set(rows[np.asarray(compute.match_substring_regex(names, told))].tolist())
        with self._reading():
            query = self._table.search().where("title LIKE '%, %' OR original_title LIKE '%, %'")
            some.update(query.select(["row"]).limit(len(self)).to_arrow()["row"].to_pylist())
        found: dict[int, list[str]] = {}
        for row, item in zip(sorted(some), self.items_at(sorted(some)), strict=True):
            names = item.all_titles
            if any(article_first(n) != n for n in names):
                found[row] = list(dict.fromkeys(fold(article_first(n)) for n in names))
        return found

    def _check(self, k: int, mode: str) -> None:
        if k < 1:
            raise InputError(f"k is {k}: give 1 or more")
        if mode not in ("text", "dense", "hybrid"):
            raise InputError(f"mode is {mode!r}: use 'text', 'dense' or 'hybrid'")
        if mode != "text" and self._embedding is None:
            raise CatalogError(
                f"mode is {mode!r} and the catalogue was built without an embedding model: "
                "build it with embedding_model='...', or use mode='text'"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except LLMRecError:
            raise
        except _BROKEN as e:
            raise self._place.damaged(e) from (e if isinstance(self._place, Folder) else None)

    def _take(self, rows: list[int]) -> list[dict[str, Any]]:
        columns = ["row", *self._whole]
        return list(self._table.take_offsets(rows).select(columns).to_arrow().to_pylist())

    @property
    def _whole(self) -> tuple[str, ...]:
        """The columns that make an item: one, or in format 1 one for each field."""
        return _OF_OLD if self._meta["format"] == 1 else ("record",)

    def _item(self, found: Mapping[str, Any]) -> Item:
        values = {name: found[name] for name in FIELDS if name in found}
        if "record" in found:
            # Records of items without a picture, and of old catalogues, end before it.
            values = dict(zip(self._meta["fields"], json.loads(found["record"]), strict=False))
        values |= {name: tuple(values[name]) for name in LISTS}
        values |= {name: json.loads(values[name]) for name in ("titles", "descriptions")}
        return Item(**values)

    def _column(self, name: str) -> Any:
        """A column by row, as Arrow has it."""

        def read() -> Any:
            return self._table.search().select(["row", name]).limit(len(self)).to_arrow()

        with self._reading():
            return self._place.kept(self._meta, name, read).sort_by("row")[name]

    def _where(
        self,
        preferences: Preferences | None,
        exclude: Iterable[str],
        only: Iterable[str] | None = None,
    ) -> str | None:
        clauses = [] if preferences is None else [_sql(w) for w in wishes(preferences)]
        if gone := {self._row_of[i] for i in exclude if i in self._row_of}:
            clauses.append(f"row NOT IN ({', '.join(map(str, sorted(gone)))})")
        if only is not None:
            clauses.append(_among(self.rows(only).tolist()))
        return " AND ".join(clauses) or None

    def _by_words(self, text: str, where: str | None, limit: int) -> _Ranking:
        found = self._matching(text, where, limit)
        if found is None:
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
        return found["row"].to_numpy(), found["_score"].to_numpy()

    def _items_by_words(
        self, text: str, where: str | None, limit: int
    ) -> tuple[list[Item], list[float]]:
        """The items with the words, best first, and their scores, all in one query."""
        found = self._matching(text, where, limit, self._whole)
        if found is None:
            return [], []
        with self._reading():
            return [self._item(record) for record in found.to_pylist()], found["_score"].to_pylist()

    def _matching(
        self, text: str, where: str | None, limit: int, columns: Sequence[str] = ()
    ) -> Any:
        """An Arrow table of the rows with words of a text, best first; None for no words."""
        from lancedb import query as lance

        words = list(dict.fromkeys(fold(text).split()))
        words = [w for w in words if w not in _STOPWORDS] or words
        if not words:
            return None
        match: Any = lance.MatchQuery  # its arguments with defaults are hidden from type checkers
        wanted = " ".join(words[:_MAX_WORDS])
        asked = match(wanted, "words_key")
        if self._meta["format"] == 1:
            each = (match(wanted, f"{name}_key", boost=b) for name, b in _COLUMNS.items())
            asked = lance.BooleanQuery([(lance.Occur.SHOULD, part) for part in each])
        with self._reading():
            query = self._table.search(asked, query_type="fts")
            found = _limited(query, where, limit, "_score", columns)
        return found.sort_by([("_score", "descending"), ("row", "ascending")])

    def _by_meaning(self, text: str, where: str | None, limit: int) -> _Ranking:
        return self._nearest(self._vector(text), where, limit)

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        assert self._embedding is not None
        vector: npt.NDArray[np.float32] = self._embedding.encode([text])[0]
        return vector

    def _nearest(self, vector: npt.NDArray[np.float32], where: str | None, limit: int) -> _Ranking:
        with self._reading():
            query = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
            table = _limited(query, where, limit, "_distance")
        return _ranked(table["row"].to_numpy(), 1.0 - table["_distance"].to_numpy())


def _plain(column: Any) -> npt.NDArray[np.float64]:
    """A column of numbers, NaN where there is none."""
    numbers: npt.NDArray[np.float64] = column.to_numpy().astype(np.float64)
    return numbers


def _among(rows: Iterable[int]) -> str:
    listed = ", ".join(map(str, sorted({*rows})))
    return f"row IN ({listed})" if listed else "false"


def _limited(
    query: Any, where: str | None, limit: int, score: str, columns: Sequence[str] = ()
) -> Any:
    query = query.select(["row", score, *columns]).limit(limit)
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


def _pieces(item: Item, language: str) -> list[tuple[str, int, str]]:
    """Field, start and words of every passage of an item, those in ``language`` first."""
    texts = sorted(texts_of(item).items(), key=lambda t: not t[0].endswith(f".{language}"))
    return [(field, start, words) for field, text in texts for start, words in cut(text)]


def _names(item: Item) -> tuple[str, ...]:
    """What an item is called, who made it and what it is: what a passage of it need not repeat."""
    return *item.all_titles, *item.people, *item.genres, *item.keywords


def _fused_passages(
    told: Sequence[tuple[float, PassageHit]], meant: Sequence[PassageHit]
) -> list[PassageHit]:
    """Both rankings as one, best first, each passage with the larger of its two similarities.

    Scores are added, not ranks: where all words stand in a passage, meaning must not outvote them.
    What the other ranking lacks counts there as the least of it, or nothing.
    """
    least = min((hit.passage.score for hit in meant), default=0.0)
    words = {_place(hit): score for score, hit in told}
    meaning = {_place(hit): hit.passage.score for hit in meant}
    best: dict[tuple[str, str, int], PassageHit] = {}
    for hit in [*(hit for _, hit in told), *meant]:
        best[_place(hit)] = max(best.get(_place(hit), hit), hit, key=lambda h: h.passage.score)
    total = {p: words.get(p, 0.0) + _MEANING * meaning.get(p, least) for p in best}
    return [best[p] for p in sorted(total, key=lambda p: -total[p])]


def _place(hit: PassageHit) -> tuple[str, str, int]:
    return hit.item.id, hit.passage.field, hit.passage.start


def _at_most(hits: Iterable[PassageHit], per_item: int | None) -> list[PassageHit]:
    """The hits without those of an item that has ``per_item`` already."""
    have: Counter[str] = Counter()
    kept = []
    for hit in hits:
        have[hit.item.id] += 1
        if per_item is None or have[hit.item.id] <= per_item:
            kept.append(hit)
    return kept


def _sql(wish: Wish) -> str:
    if wish.attribute in NUMBERS:
        bound: float = float(wish.values[0])
        if wish.attribute in WHOLE_NUMBERS:
            bound = max(-(2**31), min(2**31 - 1, int(wish.values[0])))
        return f"{wish.attribute} {'>=' if wish.field.endswith('_min') else '<='} {bound}"
    keys = ", ".join("'" + fold(v).replace("'", "''") + "'" for v in wish.values)
    clause = f"array_has_any({wish.attribute}_key, [{keys}])"
    return f"NOT {clause}" if wish.negative else clause


def _opened(place: Folder | Shared) -> tuple[dict[str, Any], Any, Any]:
    """What is said of a catalogue, and its tables: all of one state, whoever replaces it now."""
    for _ in range(_TRIES):
        said, broken = place.said(), None
        meta = _checked(json.loads(said))
        try:
            items, passages = place.tables(meta)
            if items.count_rows() != meta["rows"]:
                raise ValueError(f"it has {items.count_rows()} rows, not {meta['rows']}")
            if passages is not None and passages.count_rows() != meta["passages"]:
                raise ValueError("it lacks passages")
        except _BROKEN as e:
            broken = e
        if (place.lasting and broken is None) or place.said() == said:
            if broken is not None:
                raise broken
            return meta, items, passages
    raise ValueError("it is replaced again and again")


def _checked(said: Any) -> dict[str, Any]:
    meta = dict(said)
    if meta["format"] not in (1, FORMAT):
        raise ValueError(f"its format is {meta['format']!r}, this version reads 1 to {FORMAT}")
    meta.setdefault("fields", FIELDS)
    meta["rows"], meta["dropped"] = int(meta["rows"]), int(meta["dropped"])
    return {"embedding_model": None, "fingerprint": "", **meta}
