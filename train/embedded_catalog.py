"""Compile the reviewable text file of films into the catalogue that ships with the package.

    python train/embedded_catalog.py
    python train/embedded_catalog.py --source catalog/films.tsv --out /tmp/films.lance

The source is a UTF-8 table with tabs between the columns and a header row; lists are separated by
``;``, fame goes from 1 (for the curious) to 5 (nearly everyone knows it). Every row is checked, and
each fault is printed with file and line; with a single fault nothing is written.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmrec.catalog import Catalog
from llmrec.errors import LLMRecError
from llmrec.records import flaw
from llmrec.titles import fold
from llmrec.types import Item

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = (
    "id", "title", "year", "original", "pt", "es", "genres", "runtime", "directors", "cast",
    "countries", "languages", "fame", "tags", "en_line", "pt_line", "es_line",
)  # fmt: skip
LISTS = ("pt", "es", "genres", "directors", "cast", "countries", "languages", "tags")
MAY_BE_EMPTY = ("cast", "tags")
RANGES = {"year": (1888, 2100), "runtime": (1, 900), "fame": (1, 5)}
GENRES = frozenset(
    {
        "Action", "Adventure", "Animation", "Biography", "Comedy", "Crime", "Documentary", "Drama",
        "Family", "Fantasy", "Film-Noir", "History", "Horror", "Music", "Musical", "Mystery",
        "Romance", "Sci-Fi", "Sport", "Thriller", "War", "Western",
    }
)  # fmt: skip


def read_films(source: Path) -> tuple[list[Item], list[str]]:
    """The films of the file and its faults, each as ``file:line: reason``."""
    films: list[Item] = []
    faults: list[str] = []
    ids: dict[str, int] = {}
    names: dict[tuple[str, int | None], int] = {}
    header, *lines = source.read_bytes().split(b"\n")
    if header.rstrip(b"\r") != "\t".join(COLUMNS).encode():
        return [], [f"{source}:1: the header must be {' '.join(COLUMNS)}, with tabs between"]
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        try:
            cells = line.decode("utf-8").rstrip("\r").split("\t")
        except UnicodeDecodeError:
            faults.append(f"{source}:{number}: it is not UTF-8 text")
            continue
        if len(cells) != len(COLUMNS):
            faults.append(f"{source}:{number}: it has {len(cells)} columns, not {len(COLUMNS)}")
            continue
        row = dict(zip(COLUMNS, cells, strict=True))
        found = list(_faults(row))
        if not found:
            film = _film(row)
            name = (fold(film.title), film.year)
            if film.id in ids:
                found.append(f"the id {film.id!r} stands in line {ids[film.id]} already")
            if name in names:
                found.append(f"{film.label} stands in line {names[name]} already")
            if reason := flaw(film):
                found.append(reason)
            ids.setdefault(film.id, number)
            names.setdefault(name, number)
            films.append(film)
        faults += (f"{source}:{number}: {reason}" for reason in found)
    if not films and not faults:
        faults.append(f"{source}:1: it has no film")
    return films, faults


def _faults(row: dict[str, str]) -> Iterator[str]:
    for name, cell in row.items():
        if cell != cell.strip():
            yield f"{name} is {cell!r}: no blanks at its ends"
        elif not cell:
            if name not in MAY_BE_EMPTY:
                yield f"{name} is empty"
        elif name in RANGES:
            low, high = RANGES[name]
            if not re.fullmatch(r"[0-9]{1,4}", cell) or not low <= int(cell) <= high:
                yield f"{name} is {cell!r}: a whole number from {low} to {high} is wanted"
        elif name in LISTS:
            entries = cell.split(";")
            if any(not e or e != e.strip() for e in entries):
                yield f"{name} is {cell!r}: an entry is empty or has blanks at its ends"
            elif len({e.lower() for e in entries}) < len(entries):
                yield f"{name} is {cell!r}: an entry is there twice"
            elif name == "genres" and (odd := set(entries) - GENRES):
                yield f"the genre {min(odd)!r} is not one of {', '.join(sorted(GENRES))}"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row["id"]):
        yield f"id is {row['id']!r}: lower-case letters, digits and single hyphens are wanted"


def _film(row: dict[str, str]) -> Item:
    lists = {name: tuple(e for e in row[name].split(";") if e) for name in LISTS}
    return Item(
        id=row["id"],
        title=row["title"],
        year=int(row["year"]),
        original_title=row["original"],
        titles={"pt": lists["pt"], "es": lists["es"]},
        genres=lists["genres"],
        directors=lists["directors"],
        cast=lists["cast"],
        countries=lists["countries"],
        languages=lists["languages"],
        runtime=int(row["runtime"]),
        keywords=lists["tags"],
        description=row["en_line"],
        descriptions={language: row[f"{language}_line"] for language in ("en", "pt", "es")},
        popularity=(int(row["fame"]) - 1) / 4,
    )


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=ROOT / "catalog" / "films.tsv")
    parser.add_argument("--out", type=Path, default=ROOT / "llmrec" / "data" / "films.lance")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Compile; 0 if the catalogue was written, 1 if there are faults."""
    options = make_parser().parse_args(argv)
    try:
        films, faults = read_films(options.source)
        for fault in faults:
            print(fault, file=sys.stderr)
        if faults:
            print(f"{len(faults)} faults: nothing was written", file=sys.stderr)
            return 1
        made = Catalog.from_items(films, options.out)
    except (OSError, LLMRecError) as e:
        print(e, file=sys.stderr)
        return 1
    print(f"{len(made):,} films, fingerprint {made.fingerprint}, in {made.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
