"""Imdb hides how IMDb's six large tables become one stream of films.

The tables are read in blocks by pyarrow, and of each only what belongs to a kept film is held.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.datasets.base import Report, kept_items
from llmrec.datasets.delimited import Ints, blocks
from llmrec.errors import InputError
from llmrec.records import NOT_UTF8, RawRow, columns_of, parsed
from llmrec.titles import fold
from llmrec.types import Example, Item

__all__ = ["Imdb"]

_CHUNK = 4_096  # films held as Python objects
_NOTHING = b"\\N"
_ACTING = (b"actor", b"actress", b"self")
# Where a Portuguese or Spanish title is looked for, the best known first; the name of the
# language counts as a region for titles that say only that.
_REGIONS = {
    "pt": b"BR PT pt AO MZ".split(),
    "es": b"ES MX es AR CO CL PE VE UY EC BO CR CU DO GT HN NI PA PR PY SV".split(),
}
_PLACE = {
    region: (at, rank)
    for at, regions in enumerate(_REGIONS.values())
    for rank, region in enumerate(regions)
}


@dataclass(frozen=True)
class _Films:
    """What is kept of title.basics (bytes, as they stand there), and of title.ratings."""

    table: Any
    lines: Ints
    rating: npt.NDArray[np.float64]
    votes: Ints

    @property
    def ids(self) -> Any:
        return self.table["tconst"].combine_chunks()

    def where(self, mask: npt.NDArray[np.bool_]) -> _Films:
        table = self.table.filter(mask)
        return _Films(table, self.lines[mask], self.rating[mask], self.votes[mask])


class _Lists:
    """Texts by key: those of key ``i`` are ``values[starts[i]:starts[i + 1]]``, in rank order."""

    def __init__(self, keys: Ints, ranks: Ints, values: Any, n_keys: int) -> None:
        order = np.lexsort((ranks, keys))
        self._values = values.take(order)
        self._starts = np.searchsorted(keys[order], np.arange(n_keys + 1))

    def between(self, low: int, high: int) -> list[list[str]]:
        """The texts of the keys from ``low`` up to ``high``."""
        starts = self._starts[low : high + 1].tolist()
        values = self._values[starts[0] : starts[-1]].to_pylist()
        shifted = pairwise(start - starts[0] for start in starts)
        return [[v for v in values[a:b] if v is not None] for a, b in shifted]


class _Enriched(NamedTuple):
    directors: _Lists
    cast: _Lists
    titles: _Lists  # its keys are film * 2 + language


class Imdb:
    """Films of IMDb's non-commercial data sets (https://datasets.imdbws.com), as Items.

    ``title.basics.tsv`` must be there; ``title.ratings``, ``title.crew``, ``title.principals``,
    ``name.basics`` and ``title.akas`` add what they know where they are (people need
    ``name.basics``). Each may be a ``.tsv`` or a ``.tsv.gz``. Genres keep IMDb's names, which are
    those of the embedded catalogue. ``popularity`` is log(1 + votes) / log(1 + most votes of a
    kept film), 0 without votes. Memory grows with the kept films, not with the files.

    Parameters
    ----------
    path: the folder with the files.
    year_min, year_max: inclusive; a film without a year is outside of any limit.
    min_votes: films with fewer votes are left out.
    kinds: of IMDb's titleType: "movie", "tvMovie", "short", "tvSeries" ...
    adult: whether adult titles are kept.
    people: how many of the cast are kept, in the order of the credits. Directors are all kept.

    Raises
    ------
    InputError: files or limits that cannot be used.
    """

    name = "imdb"
    title = "IMDb non-commercial data sets"
    homepage = "https://developer.imdb.com/non-commercial-datasets/"
    license = "other"
    citation = "Information courtesy of IMDb (https://www.imdb.com). Used with permission."
    example_splits: tuple[str, ...] = ()
    item_splits: tuple[str, ...] = ("train",)

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        year_min: int | None = None,
        year_max: int | None = None,
        min_votes: int = 0,
        kinds: Sequence[str] = ("movie",),
        adult: bool = False,
        people: int = 5,
    ) -> None:
        self.path = Path(path)
        self._years = (year_min or 0, year_max or 9_999)
        self._any_year = year_min is None and year_max is None
        self._min_votes = min_votes
        self._kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        self._adult = adult
        self._n_people = people
        self.report = Report()
        if self._years[0] > self._years[1]:
            raise InputError(f"no year is from {year_min} to {year_max}: swap the two")
        if not self._kinds or people < 0:
            raise InputError(f"kinds is {kinds!r}, people {people}: give a kind, and 0 or more")
        self._need("title.basics")
        if min_votes > 0:
            self._need("title.ratings")

    def examples(self, split: str = "train") -> Iterator[Example]:
        """Raises InputError: IMDb's files hold films only."""
        raise InputError("imdb has no examples: it holds items, use items()")

    def items(self, split: str = "train") -> Iterator[Item]:
        """The films, in the order of title.basics. Raises InputError for a file cut short."""
        if split not in self.item_splits:
            raise InputError(f"imdb has no part {split!r} of items: use 'train'")
        self.report = Report()
        return self._items(self.report)

    def _need(self, name: str) -> Path:
        path = self._file(name)
        if path is None:
            raise InputError(
                f"{self.path} has no {name}.tsv.gz and no {name}.tsv: "
                "put the files of https://datasets.imdbws.com there"
            )
        return path

    def _file(self, name: str) -> Path | None:
        paths = (self.path / f"{name}{suffix}" for suffix in (".tsv", ".tsv.gz"))
        return next((p for p in paths if p.is_file()), None)

    def _items(self, report: Report) -> Iterator[Item]:
        films = self._rated(self._films(report), report)
        directors, cast = self._people(films.ids, report)
        rows = _records(films, _Enriched(directors, cast, self._titles(films.ids, report)))
        file = self._need("title.basics").name
        yield from kept_items(parsed(rows, columns_of(None)), file, report)

    def _films(self, report: Report) -> _Films:
        import pyarrow as pa
        import pyarrow.compute as pc

        path = self._need("title.basics")
        columns = "tconst titleType primaryTitle originalTitle isAdult startYear runtimeMinutes"
        kinds = pa.array([k.encode() for k in self._kinds], pa.binary())
        tables, lines = [], []
        for block, numbers in blocks(path, [*columns.split(), "genres"], report):
            is_film = pc.is_in(block["titleType"], value_set=kinds).to_numpy()
            blank = pc.equal(pc.binary_join_element_wise(*block.columns[:2], b""), b"")
            report.drop("not a film", len(numbers) - int(is_film.sum()) - pc.sum(blank).as_py())
            block, numbers = block.filter(is_film), numbers[is_film]
            kept = self._wanted(block, numbers, path.name, report)
            tables.append(block.take(kept).drop_columns(["titleType", "isAdult"]))
            lines.append(numbers[kept])
        if not tables:
            raise InputError(f"{path} holds no rows: download it again")
        return _unique(pa.concat_tables(tables), np.concatenate(lines), path.name, report)

    def _wanted(self, block: Any, lines: Ints, file: str, report: Report) -> Ints:
        kept = []
        columns = ("tconst", "isAdult", "startYear", "primaryTitle")
        rows = zip(*(block[c].to_pylist() for c in columns), strict=True)
        for at, row in enumerate(rows):
            try:
                reason = self._left_out(*row)
            except UnicodeDecodeError:
                report.broken(file, int(lines[at]), NOT_UTF8)
            except ValueError as e:
                report.broken(file, int(lines[at]), str(e))
            else:
                if reason is None:
                    kept.append(at)
                else:
                    report.drop(reason)
        return np.array(kept, dtype=np.int64)

    def _left_out(self, id_: bytes, adult: bytes, year: bytes, title: bytes) -> str | None:
        """Why a film is not wanted; raises ValueError for what cannot be read."""
        if id_ in (b"", _NOTHING):
            raise ValueError("its id is empty")
        if adult not in (b"0", b"1"):
            raise ValueError(f"isAdult is {adult!r}: 0 or 1 is wanted")
        if year != _NOTHING and not year.isdigit():
            raise ValueError(f"startYear is {year!r}: a number is wanted")
        if adult == b"1" and not self._adult:
            return "adult"
        low, high = self._years
        if not self._any_year and (year == _NOTHING or not low <= int(year) <= high):
            return "outside the years"
        return "no title" if title == _NOTHING or not fold(title.decode()) else None

    def _rated(self, films: _Films, report: Report) -> _Films:
        path = self._file("title.ratings")
        if path is None:
            return films
        columns = ["tconst", "averageRating", "numVotes"]
        for block, film, lines in _belonging(path, columns, films.ids, report):
            values = zip(film, lines, *(block[c].to_pylist() for c in columns[1:]), strict=True)
            for at, line, rating, votes in values:
                try:
                    films.rating[at], films.votes[at] = _rating(rating, votes)
                except ValueError as e:
                    report.broken(path.name, int(line), str(e))
        enough = films.votes >= self._min_votes
        if not enough.all():
            report.drop("fewer votes than asked", int((~enough).sum()))
        return films.where(enough)

    def _people(self, films: Any, report: Report) -> tuple[_Lists, _Lists]:
        """The names of each film's directors, and of its cast."""
        import pyarrow as pa

        names = self._file("name.basics")
        crew, cast = (
            _joined(list(read(films, report)) if names else (), pa.binary())
            for read in (self._directors, self._cast)
        )
        first = _first(cast[0], cast[1], self._n_people)  # a film may lie across two blocks
        cast = (cast[0][first], cast[1][first], cast[2].take(first))
        known = _names_of(names, pa.concat_arrays([crew[2], cast[2]]).unique(), report)
        lists = [_Lists(film, rank, known(ids), len(films)) for film, rank, ids in (crew, cast)]
        return lists[0], lists[1]

    def _directors(self, films: Any, report: Report) -> Iterator[tuple[Ints, Ints, Any]]:
        """Films, ranks and the people's ids."""
        import pyarrow.compute as pc

        columns = ["tconst", "directors"]
        for block, film, _ in _belonging(self._file("title.crew"), columns, films, report):
            lists = pc.split_pattern(block["directors"].combine_chunks(), ",")
            of = film[pc.list_parent_indices(lists).to_numpy()]
            yield of, np.arange(len(of)), lists.flatten()

    def _cast(self, films: Any, report: Report) -> Iterator[tuple[Ints, Ints, Any]]:
        """Films, ranks and the people's ids."""
        import pyarrow as pa
        import pyarrow.compute as pc

        path = self._file("title.principals")
        columns = ["tconst", "ordering", "nconst", "category"]
        acting = pa.array(_ACTING, pa.binary())

        def is_cast(block: Any) -> Any:
            return pc.is_in(block["category"], value_set=acting)

        for block, film, lines in _belonging(path, columns, films, report, is_cast):
            rank = np.full(len(film), -1, np.int64)
            for at, text in enumerate(block["ordering"].to_pylist()):
                if text.isdigit() and len(text) < 10:
                    rank[at] = int(text)
                else:
                    reason = f"its ordering is {text!r}: a number is wanted"
                    report.broken(_name(path), int(lines[at]), reason)
            good = np.flatnonzero(rank >= 0)
            first = good[_first(film[good], rank[good], self._n_people)]
            yield film[first], rank[first], block["nconst"].combine_chunks().take(first)

    def _titles(self, films: Any, report: Report) -> _Lists:
        """Portuguese and Spanish titles, by film * 2 + language, the best first."""
        import pyarrow as pa
        import pyarrow.compute as pc

        path = self._file("title.akas")
        columns = "titleId title region language types isOriginalTitle".split()
        regions = pa.array([p for p in _PLACE if p.isupper()], pa.binary())
        languages = pa.array([p for p in _PLACE if p.islower()], pa.binary())

        def is_ours(block: Any) -> Any:
            silent = pc.equal(block["language"], _NOTHING)
            by_region = pc.and_(silent, pc.is_in(block["region"], value_set=regions))
            return pc.or_(by_region, pc.is_in(block["language"], value_set=languages))

        parts = []
        for block, film, lines in _belonging(path, columns, films, report, is_ours):
            texts, good = _decoded(block["title"].to_pylist(), lines, path, report)
            rest = (block[c].take(good).to_pylist() for c in columns[2:])
            places = [_place(*row) for row in zip(*rest, strict=True)]
            speaks = np.array([at for at, _ in places], np.int64)
            rank = np.array([rank for _, rank in places], np.int64)
            parts.append((film[good] * len(_REGIONS) + speaks, rank, texts))
        return _Lists(*_joined(parts, pa.string()), len(films) * len(_REGIONS))


def _place(region: bytes, language: bytes, types: bytes, original: bytes) -> tuple[int, int]:
    """Which of the languages a title is for, and its rank among those; 0 is the best."""
    at, rank = _PLACE[region if language == _NOTHING else language]
    if language != _NOTHING and _PLACE.get(region, (None, 0))[0] == at:
        rank = _PLACE[region][1]
    shown = 0 if b"imdbDisplay" in types else 1 if types == _NOTHING else 2
    return at, (rank * 2 + (original == b"1")) * 3 + shown


def _rating(rating: bytes, votes: bytes) -> tuple[float, int]:
    try:
        value = float(rating)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 10 or not votes.isdigit() or len(votes) > 12:
        raise ValueError(f"its rating and votes are {rating!r} and {votes!r}: numbers are wanted")
    return value, int(votes)


def _unique(table: Any, lines: Ints, file: str, report: Report) -> _Films:
    import pyarrow.compute as pc

    ids = table["tconst"].combine_chunks()
    first = pc.index_in(ids, value_set=ids.unique()).to_numpy()
    kept = np.zeros(len(ids), dtype=bool)
    kept[np.unique(first, return_index=True)[1]] = True
    for at in np.flatnonzero(~kept):
        report.broken(file, int(lines[at]), f"the id {ids[int(at)].as_py()!r} was used before")
    n = len(ids)
    return _Films(table, lines, np.full(n, np.nan), np.zeros(n, np.int64)).where(kept)


def _belonging(
    path: Path | None, columns: Sequence[str], ids: Any, report: Report, wanted: Any = None
) -> Iterator[tuple[Any, Ints, Ints]]:
    """Rows whose first column is one of ``ids``: the columns, places in ``ids``, line numbers."""
    import pyarrow.compute as pc

    if path is None or not len(ids):
        return
    for block, lines in blocks(path, columns, report):
        if wanted is not None:
            mask = wanted(block).to_numpy()
            block, lines = block.filter(mask), lines[mask]
        at = pc.fill_null(pc.index_in(block[columns[0]], value_set=ids), -1).to_numpy()
        known = at >= 0
        if known.any():
            yield block.filter(known), at[known].astype(np.int64), lines[known]


def _joined(parts: Sequence[tuple[Ints, Ints, Any]], kind: Any) -> tuple[Ints, Ints, Any]:
    import pyarrow as pa

    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), pa.array([], kind)
    keys, ranks, values = zip(*parts, strict=True)
    return np.concatenate(keys), np.concatenate(ranks), pa.concat_arrays(values)


def _first(keys: Ints, ranks: Ints, n: int) -> Ints:
    """Where the ``n`` lowest ranks of each key stand."""
    order = np.lexsort((ranks, keys))
    ordered = keys[order]
    starts = np.searchsorted(ordered, ordered)
    return order[np.arange(len(order)) - starts < n]


def _name(path: Path | None) -> str:
    return path.name if path else ""


def _decoded(
    values: Sequence[bytes], lines: Ints, path: Path | None, report: Report
) -> tuple[Any, Ints]:
    """The values that are text, and their places; the others are reported."""
    import pyarrow as pa

    texts, good = [], []
    for at, value in enumerate(values):
        if value in (b"", _NOTHING):
            continue
        try:
            texts.append(value.decode())
        except UnicodeDecodeError:
            report.broken(_name(path), int(lines[at]), NOT_UTF8)
        else:
            good.append(at)
    return pa.array(texts, pa.string()), np.array(good, np.int64)


def _names_of(path: Path | None, ids: Any, report: Report) -> Any:
    """From ids of people to their names, or null; ``ids`` are those that will be asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names, places = [], np.full(len(ids), -1, np.int64)
    n_names = 0
    for block, at, lines in _belonging(path, ["nconst", "primaryName"], ids, report):
        texts, good = _decoded(block["primaryName"].to_pylist(), lines, path, report)
        places[at[good]] = np.arange(n_names, n_names + len(good))
        n_names += len(good)
        names.append(texts)
    texts = pa.concat_arrays([*names, pa.nulls(1, pa.string())])  # -1 is the null

    def known(asked: Any) -> Any:
        return texts.take(places[pc.index_in(asked, value_set=ids).to_numpy()] % len(texts))

    return known


def _records(films: _Films, found: _Enriched) -> Iterator[RawRow]:
    """Each film as the fields of an Item, with its line in title.basics."""
    most = math.log1p(max(films.votes.tolist(), default=0)) or 1.0
    columns = ["tconst", "primaryTitle", "originalTitle", "startYear", "runtimeMinutes", "genres"]
    for low in range(0, len(films.lines), _CHUNK):
        high = min(low + _CHUNK, len(films.lines))
        block = films.table.slice(low, _CHUNK)
        rows = zip(*(block[c].to_pylist() for c in columns), strict=True)
        people = [x.between(low, high) for x in (found.directors, found.cast)]
        titles = found.titles.between(low * len(_REGIONS), high * len(_REGIONS))
        for at, row in enumerate(rows):
            line = int(films.lines[low + at])
            try:
                id_, title, original, year, runtime, genres = (value.decode() for value in row)
            except UnicodeDecodeError:
                yield line, NOT_UTF8
                continue
            further = titles[at * len(_REGIONS) : (at + 1) * len(_REGIONS)]
            record: dict[str, Any] = {
                "id": id_,
                "title": title,
                "original_title": original if original != title else None,
                "year": year,
                "runtime": runtime,
                "genres": [g for g in genres.split(",") if g and g != "\\N"],
                "directors": people[0][at],
                "cast": people[1][at],
                "rating": float(films.rating[low + at]),
                "popularity": math.log1p(int(films.votes[low + at])) / most,
            }
            for language, names in zip(_REGIONS, further, strict=True):
                record[f"titles.{language}"] = _further(names, title)
            yield line, record


def _further(names: Sequence[str], title: str) -> list[str] | None:
    """Names without repeats, and without the main title unless it is the best of several."""
    by_key = {title.casefold(): title}
    kept = list(dict.fromkeys(by_key.setdefault(n.casefold(), n) for n in names))
    if kept[:1] != [title] or len(kept) == 1:
        kept = [n for n in kept if n != title]
    return kept or None
