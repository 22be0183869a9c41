"""Movielens hides how GroupLens writes titles, genres and ratings, in all its releases since 1M."""

from __future__ import annotations

import math
import os
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.datasets.base import PARTS, Report, kept_items, part_of
from llmrec.datasets.delimited import Ints, blocks
from llmrec.datasets.files import opened, raw_rows
from llmrec.datasets.film_names import parse_title
from llmrec.errors import InputError
from llmrec.records import RawRow, columns_of, parsed
from llmrec.types import Conversation, Example, Item

__all__ = ["MovieLens"]

Floats = npt.NDArray[np.float64]

# Genres under other names than the embedded catalogue's; IMAX says how a film is shown.
_GENRES = {"Children": "Family", "Children's": "Family"}
_NO_GENRES = ("(no genres listed)", "IMAX")
_MIN_TAGGERS = 2
_MAX_KEYWORDS = 10
_LARGEST_ID = 2.0**53
_RATING_COLUMNS = ("userId", "movieId", "rating", "timestamp")
_DAT_COLUMNS = ("userId", "", "movieId", "", "rating", "", "timestamp")

_ID = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class _Ratings:
    """Rows of a ratings file, as columns."""

    user: Ints
    film: Ints
    rating: Floats
    time: Ints
    line: Ints

    def where(self, rows: Any) -> _Ratings:
        return _Ratings(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def joined(parts: Sequence[_Ratings]) -> _Ratings:
        names = _Ratings.__dataclass_fields__
        return _Ratings(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


class MovieLens:
    """MovieLens: films as Items, and the ratings of each user as one Example.

    Read are the folders of ml-latest, ml-latest-small, ml-25m and ml-32m (``movies.csv``,
    ``ratings.csv``, and where they are ``tags.csv`` and ``links.csv``), and of ml-1m
    (``movies.dat``, ``ratings.dat``).

    A film's rating is twice its mean, its popularity is log(1 + ratings) / log(1 + most ratings
    of a film), its keywords are the tags that at least 2 users gave it, the most used first.

    An Example leaves out the last film that a user liked: it is ``relevant``, the films rated
    before it are ``history``, all liked films are ``likes``, and the conversation is empty.
    Ratings must stand together by user, as published; a user who comes back later is reported
    and counted, and only the first run is used.

    Parameters
    ----------
    path: the folder with the files.
    min_rating: from what rating on a film is liked.

    Raises
    ------
    InputError: files that are not there.
    """

    name = "movielens"
    title = "MovieLens"
    homepage = "https://grouplens.org/datasets/movielens/"
    license = "other"
    citation = (
        "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and "
        "Context. ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19. "
        "https://doi.org/10.1145/2827872"
    )
    example_splits: tuple[str, ...] = tuple(PARTS)
    item_splits: tuple[str, ...] = ("train",)

    def __init__(self, path: str | os.PathLike[str], *, min_rating: float = 4.0) -> None:
        self.path = Path(path)
        self.report = Report()
        self._min_rating = min_rating
        for suffix in (".csv", ".dat"):
            self._movies = self.path / f"movies{suffix}"
            self._ratings = self.path / f"ratings{suffix}"
            if self._movies.is_file() and self._ratings.is_file():
                return
        raise InputError(
            f"{self.path} has not both movies.csv and ratings.csv (nor movies.dat and "
            "ratings.dat): unpack a file of https://grouplens.org/datasets/movielens/ there"
        )

    def items(self, split: str = "train") -> Iterator[Item]:
        """The films, in the order of the file. Raises InputError for an unreadable file."""
        if split not in self.item_splits:
            raise InputError(f"movielens has no part {split!r} of items: use 'train'")
        self.report = Report()
        return self._items(self.report)

    def examples(self, split: str = "train") -> Iterator[Example]:
        """One for each user of a part. Raises InputError for an unreadable file."""
        if split not in self.example_splits:
            raise InputError(
                f"movielens has no part {split!r} of examples: use {', '.join(self.example_splits)}"
            )
        self.report = Report()
        return self._examples(split, self.report)

    def imdb_ids(self) -> dict[str, str]:
        """From ids of films to IMDb's (``tt0114709``), as far as ``links.csv`` tells."""
        links = self.path / "links.csv"
        found: dict[str, str] = {}
        for _, row in raw_rows(links) if links.is_file() else ():
            if isinstance(row, str) or not all(_is_id(row.get(c)) for c in ("movieId", "imdbId")):
                continue
            found.setdefault(str(int(row["movieId"])), f"tt{int(row['imdbId']):07d}")
        return found

    def _films(self, report: Report) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Lines and rows of the films, each id once; ids are whole numbers."""
        seen: set[str] = set()
        is_csv = self._movies.suffix == ".csv"
        for line, row in raw_rows(self._movies) if is_csv else _dat_films(self._movies):
            reason = row if isinstance(row, str) else ""
            if not isinstance(row, str):
                id_, title, genres = (row.get(c) for c in ("movieId", "title", "genres"))
                if None in (id_, title, genres):
                    raise InputError(f"{self._movies} lacks the column movieId, title or genres")
                id_ = str(int(str(id_))) if _is_id(id_) else ""
                if id_ and id_ not in seen:
                    seen.add(id_)
                    yield line, {"id": id_, "title": title, "genres": genres}
                    continue
                reason = f"the id {id_} was used before" if id_ else "its movieId is no number"
            report.broken(self._movies.name, line, reason)

    def _items(self, report: Report) -> Iterator[Item]:
        films = list(self._films(report))
        ids = np.array(sorted(int(row["id"]) for _, row in films), dtype=np.int64)
        count, total = np.zeros(len(ids), np.int64), np.zeros(len(ids))
        for part in self._known_ratings(ids, report):
            at = np.searchsorted(ids, part.film)
            count += np.bincount(at, minlength=len(ids))
            total += np.bincount(at, part.rating, minlength=len(ids))
        keywords = self._keywords(ids, report)
        most = math.log1p(int(count.max(initial=0))) or 1.0

        def rows() -> Iterator[RawRow]:
            places = np.searchsorted(ids, [int(film["id"]) for _, film in films]).tolist()
            for (line, film), at in zip(films, places, strict=True):
                n = int(count[at])
                rated = {"rating": round(2 * total[at] / n, 3)} if n else {}
                known = {"popularity": math.log1p(n) / most, "keywords": keywords.get(film["id"])}
                yield line, _fields(film) | rated | known

        yield from kept_items(parsed(rows(), columns_of(None)), self._movies.name, report)

    def _keywords(self, ids: Ints, report: Report) -> dict[str, list[str]]:
        """The most used tags of each film, as far as several users agree on them."""
        path = self.path / "tags.csv"
        known, names = set(ids.tolist()), dict[str, int]()
        given = array("q")  # film, tag, user; film, tag, user; ...
        for line, row in raw_rows(path) if path.is_file() else ():
            if isinstance(row, str) or not all(_is_id(row.get(c)) for c in ("movieId", "userId")):
                reason = row if isinstance(row, str) else "its movieId or userId is no number"
                report.broken(path.name, line, reason)
            elif int(row["movieId"]) not in known:
                report.drop(f"tag of a film that is not in {self._movies.name}")
            elif tag := " ".join(str(row.get("tag") or "").lower().split()):
                number = names.setdefault(tag, len(names))
                given.extend((int(row["movieId"]), number, int(row["userId"])))
        return _agreed(np.array(given, dtype=np.int64).reshape(-1, 3), list(names))

    def _known_ratings(self, ids: Ints, report: Report) -> Iterator[_Ratings]:
        """Ratings of the films with these (sorted) ids, in the order of the file."""
        for part in _ratings_of(self._ratings, report):
            at = np.searchsorted(ids, part.film)
            known = ids[np.minimum(at, len(ids) - 1)] == part.film if len(ids) else at < 0
            if not known.all():
                reason = f"rating of a film that is not in {self._movies.name}"
                report.drop(reason, int((~known).sum()))
            yield part.where(known)

    def _by_user(self, ids: Ints, report: Report) -> Iterator[_Ratings]:
        """The ratings of each user; those of a user who comes back are left out."""
        seen: set[int] = set()
        for run in _runs(self._known_ratings(ids, report)):
            user = int(run.user[0])
            if user in seen:
                reason = f"user {user} comes back: sort the file by user to use these ratings"
                report.broken(self._ratings.name, int(run.line[0]), reason)
                report.drop("rating of a user who comes back", len(run.user))
            else:
                seen.add(user)
                yield run

    def _examples(self, split: str, report: Report) -> Iterator[Example]:
        ids = np.array(sorted(int(row["id"]) for _, row in self._films(report)), dtype=np.int64)
        for run in self._by_user(ids, report):
            user = str(run.user[0])
            if part_of(user) != split:
                continue
            run = run.where(np.argsort(run.time, kind="stable"))
            liked = np.flatnonzero(run.rating >= self._min_rating)
            films = [str(f) for f in run.film.tolist()]
            if not len(liked):
                report.drop("user without a liked film")
                continue
            target = films[liked[-1]]
            history = dict.fromkeys(f for f in films[: liked[-1]] if f != target)
            if not history:
                report.drop("user with nothing before the last liked film")
                continue
            report.kept += 1
            yield Example(
                Conversation(),
                relevant=(target,),
                id=user,
                dialogue=user,
                user=user,
                likes=tuple(dict.fromkeys(films[at] for at in liked)),
                history=tuple(history),
            )


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value))


def _agreed(given: Ints, names: Sequence[str]) -> dict[str, list[str]]:
    """By film the tags that several users gave; ``given`` has rows of film, tag and user."""
    once = np.unique(given, axis=0)
    pairs, n_users = np.unique(once[:, :2], axis=0, return_counts=True)
    several = n_users >= _MIN_TAGGERS
    tags: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (film, tag), n in zip(pairs[several].tolist(), n_users[several].tolist(), strict=True):
        tags[str(film)].append((-n, names[tag]))
    return {film: [tag for _, tag in sorted(all_)[:_MAX_KEYWORDS]] for film, all_ in tags.items()}


def _fields(film: Mapping[str, Any]) -> dict[str, Any]:
    name = parse_title(film["title"])
    genres = [_GENRES.get(g, g) for g in film["genres"].split("|") if g not in _NO_GENRES]
    return {
        "id": film["id"],
        "title": name.title,
        "year": name.year,
        "original_title": name.original if name.original != name.title else None,
        # The main title comes first, or another one would be shown for it.
        "titles.en": [name.title, *name.others] if name.others else None,
        "genres": genres,
    }


def _dat_films(path: Path) -> Iterator[RawRow]:
    with opened(path) as raw:
        for line, data in enumerate(raw, 1):
            try:
                text = data.decode()
            except UnicodeDecodeError:
                text = data.decode("latin-1")
            values = text.rstrip("\r\n").split("::")
            if len(values) == 3:
                yield line, dict(zip(("movieId", "title", "genres"), values, strict=True))
            elif text.strip():
                yield line, f"it has {len(values)} columns, 3 are wanted"


def _ratings_of(path: Path, report: Report) -> Iterator[_Ratings]:
    """The ratings that can be read, in the order of the file."""
    is_csv = path.suffix == ".csv"
    options: dict[str, Any] = {"delimiter": ","} if is_csv else {"delimiter": ":"}
    header = None if is_csv else _DAT_COLUMNS
    for block, lines in blocks(path, _RATING_COLUMNS, report, header=header, **options):
        user, film, rating, time = (_numbers(block[c].combine_chunks()) for c in _RATING_COLUMNS)
        whole = [(v == np.floor(v)) & (v >= 0) & (v < _LARGEST_ID) for v in (user, film, time)]
        good = np.logical_and.reduce([*whole, (rating >= 0) & (rating <= 5)])
        for at in np.flatnonzero(~good).tolist():
            row = ", ".join(repr(block[c][at].as_py()) for c in _RATING_COLUMNS)
            reason = f"it is {row}: three whole numbers and a rating of 0 to 5 are wanted"
            report.broken(path.name, int(lines[at]), reason)
        ints = (v[good].astype(np.int64) for v in (user, film, time))
        columns = dict(zip(("user", "film", "time"), ints, strict=True))
        yield _Ratings(rating=rating[good], line=lines[good], **columns)


def _numbers(column: Any) -> Floats:
    """The numbers of a binary column, NaN for what is none."""
    import pyarrow as pa

    try:
        return np.array(column.cast(pa.string()).cast(pa.float64()).to_numpy())
    except pa.ArrowInvalid:
        return np.array([_number(value) for value in column.to_pylist()])


def _number(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _runs(parts: Iterator[_Ratings]) -> Iterator[_Ratings]:
    """Rows cut where the user changes; only one user's rows are carried over from part to part."""
    held: list[_Ratings] = []
    for part in parts:
        if not len(part.user):
            continue
        whole = _Ratings.joined([*held, part])
        cuts = [0, *(np.flatnonzero(np.diff(whole.user)) + 1).tolist()]
        for low, high in pairwise(cuts):
            yield whole.where(slice(low, high))
        held = [whole.where(slice(cuts[-1], None))]
    yield from held
