"""Facts hides how the items of a data set are found again in other tables, to take what these know.

Two records are of one film where both name the same page of Wikipedia, else where title and year
agree. A title without a year is believed only if nothing else has that title.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from llmrec.catalog import Catalog
from llmrec.datasets.base import MAX_PROBLEMS, Report, Source
from llmrec.datasets.files import raw_rows, suffix_of
from llmrec.datasets.film_names import film, parse_title
from llmrec.datasets.folder import META, Folder
from llmrec.datasets.journal import fingerprints
from llmrec.errors import InputError
from llmrec.lexicon import terms
from llmrec.records import NUMBERS, RawRow, columns_of, flaw, parsed
from llmrec.titles import fold
from llmrec.types import Example, Item

__all__ = ["EMBEDDED", "FACTS", "OUTCOMES", "Facts", "Match", "WithFacts", "page_name"]

EMBEDDED = "embedded"
# Popularity stays out: each data set counts it on a scale of its own.
FACTS = ("year", "original_title", "titles", "genres", "directors", "cast", "countries",
         "languages", "runtime", "keywords", "description", "descriptions", "rating")  # fmt: skip
PAGE, DATED, NEAR = "same page", "title and year", "title, a year off"
OTHER, ALONE = "other title and year", "title alone"
SEVERAL, NONE = "several fit", "not found"
OUTCOMES = (PAGE, DATED, NEAR, OTHER, ALONE, SEVERAL, NONE)
BROKEN_FACT = "broken record of the facts"

_READ = ("title", *FACTS)
_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
_PEEK = 200
_PAGE = "page"
_ALIASES = {
    "title": ("name",),
    "description": ("extract", "abstract", "overview", "plot"),
    _PAGE: ("href", "wikipedia", "dbpedia"),
}
_ASIDE = re.compile(r"^(.*\S) \((?:((?:18|19|20)\d\d)\b)?([^()]*)\)$")
_ARTICLE = re.compile(r"^(?:the|an?) (?=.)")
_REMARK = re.compile(r"\s*\([^()]*\)")
_NOBODY = re.compile(
    r"\W*(?:and|with|of|the|narrators?|narrated by|voices?|voices? of)?\W*|.*[()\[\]].*",
    re.IGNORECASE,
)
_LICENSES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


# Names.


def page_name(said: object) -> str:
    """The name of a page of Wikipedia as readers see it, from its address or DBpedia's; else "".

    A section of a page is no page of its own: it has no name here.
    """
    text = unquote(str(said or "")).strip().strip("<>")
    text = re.sub(r"^\w+://[^/]+/(?:resource|wiki|page)/", "", text)
    text = " ".join(text.replace("_", " ").split())
    return "" if "#" in text else text[:1].upper() + text[1:]


class _Page(NamedTuple):
    """What the name of a page tells, as in ``Emma (1996 TV film)``."""

    title: str
    year: int | None = None
    television: bool = False


@lru_cache(maxsize=8_192)
def _of_page(page: str) -> _Page:
    found = _ASIDE.match(page)
    if not found:
        return _Page(page)
    return _Page(found[1], int(found[2]) if found[2] else None, "TV" in found[3])


def _apart(page: str, other: str) -> bool:
    """Whether the names of two pages tell two films of one title apart."""
    one, two = _of_page(page), _of_page(other)
    return one.year is not None and two.year is not None and one[1:] != two[1:]


def _main_key(title: str) -> str:
    plain = unquote(title) if "%" in title else title  # "Why Him%3F"
    if ", " in plain and (known := film(plain)):  # "Goonies, The"
        plain = known[0]
    return fold(plain) or fold(title)


def _keys(item: Item, page: str = "") -> list[str]:
    """Every name of an item, folded, each once, the main one first."""
    names = [item.original_title, *(t for ts in item.titles.values() for t in ts)]
    if " (" in item.title:
        parts = parse_title(item.title)
        names += [parts.original, *parts.others]
    if page:
        names.append(_of_page(page).title)
    keys = dict.fromkeys([_main_key(item.title), *map(_main_key, names)])
    return [key for key in keys if key]


@cache
def _genres() -> Mapping[str, str]:
    """Words for genres, folded, to what the word table of the lexicon calls the genre."""
    known: dict[str, set[str]] = {}
    for term in terms():
        if term.kind == "genre" and term.language == "en":
            for word in (term.name, *term.words):
                known.setdefault(fold(word), set()).add(term.name)
    return {word: next(iter(names)) for word, names in known.items() if len(names) == 1}


@lru_cache(maxsize=8_192)
def _genre(name: str) -> str:
    return _genres().get(fold(name), name)


def _people(names: Sequence[str]) -> tuple[str, ...]:
    """Names without remarks, and without what is a remark only: "(voice)", "narrated by"."""
    plain = (_REMARK.sub("", name).strip() for name in names)
    return tuple(dict.fromkeys(name for name in plain if not _NOBODY.fullmatch(name)))


def _dated(item: Item) -> Item:
    """The item with its year out of its title if it has none."""
    known = film(item.title) if item.year is None else None
    return replace(item, title=known[0], year=known[1]) if known else item


def _plain(item: Item) -> Item:
    """The item with genres as the lexicon calls them, and people only among its people."""
    genres = tuple(dict.fromkeys(map(_genre, item.genres)))
    directors, cast = _people(item.directors), _people(item.cast)
    return replace(item, genres=genres, directors=directors, cast=cast)


# One table of facts.


class Match(NamedTuple):
    """What an item was found to be in one table. ``outcome``: one of ``OUTCOMES``."""

    item: Item | None
    outcome: str


class _Row(NamedTuple):
    """An item of a table, and the page it names."""

    item: Item
    page: str


class _Table:
    """Items that something is known of, and how they are found.

    ``origin`` tells what it is, for ``prepare.json`` and the card.
    """

    def __init__(self, origin: Mapping[str, Any]) -> None:
        self.origin = dict(origin)
        self.report = Report()

    def _rows(self) -> Iterator[_Row]:
        raise NotImplementedError

    @cached_property
    def _indexed(self) -> tuple[dict[str, list[_Row]], ...]:
        """Rows by page, by main title, and by every name."""
        pages: dict[str, list[_Row]] = {}
        main: dict[str, list[_Row]] = {}
        named: dict[str, list[_Row]] = {}
        for item, page in self._rows():
            row = _Row(_dated(item), page)
            if page:
                pages.setdefault(page, []).append(row)
            keys = _keys(row.item)
            main.setdefault(keys[0], []).append(row)
            for key in keys:
                named.setdefault(key, []).append(row)
        return pages, main, named

    def by_page(self, item: Item, page: str) -> Item | None:
        """The item of the same page; of several the one of the nearest title and year."""
        rows = self._indexed[0].get(page, ()) if page else ()
        key, year = _main_key(item.title), item.year or 0
        far = ((_main_key(r.item.title) != key, abs((r.item.year or 0) - year)) for r in rows)
        ranked = sorted(zip(far, range(len(rows)), rows, strict=True))
        return ranked[0][2].item if ranked else None

    def by_title(self, item: Item, page: str, latest: int | None) -> Match:
        """The item of the same title and year.

        Parameters
        ----------
        latest: where no other item has this title, the last year it may be of; it is then found
            by its title alone if it has no year. None otherwise.
        """
        _, main, named = self._indexed
        key = _main_key(item.title)
        if item.year is None:
            rows = named.get(key, []) if latest is not None else []
            fits = _one(rows) if rows and key in main else None
            in_time = fits and latest is not None and (fits.year or latest) <= latest
            return Match(fits, ALONE) if in_time else Match(None, NONE)
        own = _keys(item, page)
        others = [row for k in own for row in named.get(k, ())]
        dated = _of_page(page).year is not None  # then films of one title are told apart by it
        bare = [form for k in own for form in (_ARTICLE.sub("", k), f"the {k}")]
        tiers = [
            (DATED, main.get(key, []), 0),
            (NEAR, [] if dated else main.get(key, []), 1),
            (OTHER, others, 0),
            (OTHER, [] if dated else others, 1),
            (OTHER, [] if dated else [row for k in bare for row in main.get(k, ())], 0),
        ]
        for outcome, rows, off in tiers:
            near = [r for r in rows if _years_off(r.item, item) == off and not _apart(page, r.page)]
            if near:
                fits = _one(near)
                return Match(fits, outcome if fits else SEVERAL)
        return Match(None, NONE)


def _years_off(one: Item, other: Item) -> int | None:
    return None if one.year is None or other.year is None else abs(one.year - other.year)


def _one(rows: Sequence[_Row]) -> Item | None:
    """The first, if all are of one film: a table may list it twice."""
    first = rows[0]
    same = all(
        row.item is first.item
        or (row.page and row.page == first.page)
        or set(row.item.people) & set(first.item.people)
        for row in rows
    )
    return first.item if same else None


# What tables are made of.


class _File(_Table):
    """A file of JSON lines, CSV, TSV or Parquet."""

    def __init__(self, path: Path, mapping: Mapping[str, str]) -> None:
        rows = [row for _, row in islice(raw_rows(path), _PEEK) if not isinstance(row, str)]
        have = list(dict.fromkeys(column for row in rows for column in row))
        self._path = path
        self.taken = {name: column for name, column in mapping.items() if column in have}
        known = {
            name: next((other for other in others if other in have), name)
            for name, others in _ALIASES.items()
            if name not in have
        }
        columns = known | self.taken
        self._page = columns.pop(_PAGE, _PAGE)
        wanted = columns_of(columns)
        self._columns = {n: c for n, c in wanted.items() if n.partition(".")[0] in _READ}
        if self._columns["title"] not in have:
            raise InputError(
                f"{path} has no column 'title', it has {', '.join(map(repr, have)) or 'none'}: "
                'say with --facts-mapping \'{"title": "its column"}\' what is where'
            )
        origin = {"name": path.name, "license": _license_beside(path), "mapping": self.taken}
        super().__init__(origin | {"fingerprint": fingerprints(path)[0]["blake2b"]})

    def _rows(self) -> Iterator[_Row]:
        page = ""  # of the row at hand: rows are parsed one by one

        def noted() -> Iterator[RawRow]:
            nonlocal page
            for line, row in raw_rows(self._path):
                said = None if isinstance(row, str) else row.get(self._page)
                page = page_name(said) if isinstance(said, str) else ""
                yield line, row

        for line, item in parsed(noted(), self._columns):
            reason = item if isinstance(item, str) else flaw(item)
            if isinstance(item, Item) and reason is None:
                self.report.kept += 1
                yield _Row(item, page)
            else:
                self.report.broken(self._path.name, line, str(reason))


class _Items(_Table):
    """Items that llmrec itself has stored: a catalogue or a prepared folder."""

    def __init__(self, origin: Mapping[str, Any], items: Iterable[Item]) -> None:
        super().__init__(origin)
        self._items = items

    def _rows(self) -> Iterator[_Row]:
        for item in self._items:
            self.report.kept += 1
            yield _Row(item, "")


def _license_beside(path: Path) -> str:
    for name in _LICENSES:
        try:
            lines = (path.parent / name).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        if first := next((line.strip() for line in lines if line.strip()), ""):
            return f"see the file {name} beside it: {first[:80]}"
    return "not stated"


def _catalog(catalog: Catalog, name: str, license: str, source: str = "") -> _Table:
    origin = {"name": name, "license": license, "source": source}
    return _Items(origin | {"fingerprint": catalog.fingerprint}, catalog)


def _folder(path: Path) -> _Table:
    folder = Folder.open(path)
    said = folder.meta["source"]
    licenses = dict.fromkeys(
        [said["license"], *(o["license"] for o in folder.meta["config"].get("facts", ()))]
    )
    origin = {"name": path.resolve().name, "license": "; ".join(licenses)}
    origin |= {"source": said["title"], "fingerprint": folder.fingerprint}
    splits = folder.splits["items"]
    if not splits:
        raise InputError(f"{path} has no items: facts are about items")
    return _Items(origin, (item for split in splits for item in folder.items(split)))


def _table(path: Path, mapping: Mapping[str, str]) -> _Table:
    if path == Path(EMBEDDED) and not path.exists():
        return _catalog(
            Catalog.embedded(),
            EMBEDDED,
            "apache-2.0",
            "the catalogue of well-known films of llmrec",
        )
    if (path / "catalog.json").is_file():
        return _catalog(Catalog.open(path), path.resolve().name, "not stated")
    if (path / META).is_file():
        return _folder(path)
    if path.is_file() and suffix_of(path) in _SUFFIXES:
        return _File(path, mapping)
    raise InputError(
        f"there are no facts in {path}: give a .jsonl, .csv, .tsv (also .gz) or .parquet file, "
        f"a catalogue, a prepared folder, or the word {EMBEDDED!r}"
    )


# All of them.


class Facts:
    """Tables of facts in the order in which they are believed.

    Parameters
    ----------
    paths: files of JSON lines, CSV, TSV or Parquet, catalogues, prepared folders, or "embedded".
    mapping: the columns of files that are named otherwise than the fields of Item, and "page",
        which names the page of Wikipedia. A file takes of it the columns it has.

    Raises
    ------
    InputError: something that is no such table, or a mapped column that none of them has.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        mapping: Mapping[str, str] | None = None,
    ) -> None:
        given = dict(mapping or {})
        columns_of({name: column for name, column in given.items() if name != _PAGE})
        self._tables = [_table(Path(path), given) for path in paths]
        read = [t.taken for t in self._tables if isinstance(t, _File)]
        for name, column in given.items():
            if not any(name in taken for taken in read):
                raise InputError(
                    f"the mapping of the facts says {name!r} is {column!r}: no file has that column"
                )

    @property
    def origins(self) -> list[dict[str, Any]]:
        """What each table is, for ``prepare.json``: name, licence as stated, fingerprint."""
        return [table.origin for table in self._tables]

    @property
    def report(self) -> Report:
        """The records of all tables so far: those read, and those that cannot be."""
        whole = Report()
        for table in self._tables:
            whole.kept += table.report.kept
            whole.problems += table.report.problems
            if broken := sum(table.report.dropped.values()):
                whole.drop(BROKEN_FACT, broken)
        return whole

    def find(self, item: Item, page: str = "", *, latest: int | None = None) -> list[Match]:
        """What ``item`` is in each of the tables.

        Parameters
        ----------
        page: the page of Wikipedia it is known by, as ``page_name`` writes it.
        latest: where no other item of its data set has its title, the last year it may be of; it
            is then looked up by the title alone if it has no year. None otherwise.
        """
        same = [table.by_page(item, page) for table in self._tables]
        if item.year is None:
            years = [_of_page(page).year, *(fact.year for fact in same if fact)]
            item = replace(item, year=next((y for y in years if y), None))
        return [
            Match(fact, PAGE) if fact else table.by_title(item, page, latest)
            for table, fact in zip(self._tables, same, strict=True)
        ]

    @staticmethod
    def fill(item: Item, page: str, facts: Iterable[Item]) -> Item:
        """``item`` with what it lacks, of the first of ``facts`` that has it, field by field."""
        values: dict[str, Any] = {name: getattr(item, name) for name in FACTS}
        values["year"] = item.year or _of_page(page).year
        facts = [_plain(fact) for fact in facts]
        for fact in facts:
            for name in FACTS:
                known = getattr(fact, name)
                if isinstance(known, Mapping):
                    values[name] = {**known, **values[name]}
                elif values[name] in (None, "", ()):
                    values[name] = known
        if not item.description:  # what stands in a language's place need not stand here too
            texts = (fact.description for fact in facts if fact.description)
            held = values["descriptions"].values()
            values["description"] = next((t for t in texts if t not in held), values["description"])
        return replace(item, **values)


class WithFacts:
    """A source whose items have what tables of facts know of them, beside what they had.

    Its items are read twice, the first time to see which titles are alone. A source that has a
    method ``pages``, id to the address of a page, is asked which pages its items have.
    """

    def __init__(self, source: Source, facts: Facts) -> None:
        self._source = source
        self._facts = facts
        self._of_items = False
        self._found: list[Counter[str]] = []
        self._fields: dict[str, list[int]] = {}
        self.name, self.title, self.homepage = source.name, source.title, source.homepage
        self.license, self.citation = source.license, source.citation
        self.example_splits, self.item_splits = source.example_splits, source.item_splits

    @property
    def origins(self) -> list[dict[str, Any]]:
        """What the tables of facts are."""
        return self._facts.origins

    @property
    def report(self) -> Report:
        """Of the source; beside its items also what of the facts could not be read."""
        own = self._source.report
        if not self._of_items:
            return own
        facts = self._facts.report
        problems = [*own.problems, *facts.problems][:MAX_PROBLEMS]
        return Report(own.kept, own.dropped + facts.dropped, problems)

    @property
    def joined(self) -> dict[str, Any]:
        """Of the items so far, as plain JSON types: ``found``, for each table how often which of
        ``OUTCOMES``; ``fields``, for each field how many had it of their own, and have it now."""
        found = [{name: counts[name] for name in OUTCOMES} for counts in self._found]
        return {"found": found, "fields": {name: [*n] for name, n in self._fields.items()}}

    def examples(self, split: str = "train") -> Iterator[Example]:
        """The examples of the source, as they are. Raises InputError."""
        self._of_items = False
        return self._source.examples(split)

    def items(self, split: str = "train") -> Iterator[Item]:
        """The items of the source, with facts. Raises InputError."""
        self._of_items = True
        self._found = [Counter() for _ in self._facts.origins]
        self._fields = {name: [0, 0] for name in FACTS}
        return self._items(split)

    def _items(self, split: str) -> Iterator[Item]:
        named = getattr(self._source, "pages", None)
        pages = {key: page_name(page) for key, page in named().items()} if named else {}
        titles: Counter[str] = Counter()
        latest = 0
        for item in self._source.items(split):
            titles[_main_key(item.title)] += 1
            latest = max(latest, item.year or 0)
        latest = latest or int(NUMBERS["year"][1])
        for item in self._source.items(split):
            alone = titles[_main_key(item.title)] == 1
            page = pages.get(item.id, "")
            matches = self._facts.find(item, page, latest=latest if alone else None)
            filled = self._facts.fill(item, page, [m.item for m in matches if m.item])
            for counts, match in zip(self._found, matches, strict=True):
                counts[match.outcome] += 1
            for name, count in self._fields.items():
                count[0] += bool(getattr(item, name))
                count[1] += bool(getattr(filled, name))
            yield filled
