"""Measure passage search: how often the film that a question tells of is found.

    python benchmarks/passages.py
    python benchmarks/passages.py --encoder FOLDER --json figures.json

The catalogue is ``wikipedia-movies`` (36,273 films and the first paragraph of their pages), or
another file of that form. Three sets of questions, none with the title in it: half of the words of
a sentence of the paragraph ("sentences"), somebody of the cast and four words of a sentence
("people"), and descriptions written by hand from memory, in three languages (passages.tsv). With
an encoder of sentence-transformers, words are measured against meaning and both together.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.catalog import Catalog, Mode
from llmrec.metrics.significance import wilson
from llmrec.titles import fold, words
from llmrec.types import Item

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "wikipedia-movies" / "movies.jsonl.gz"
WRITTEN = Path(__file__).with_suffix(".tsv")
_STOP = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@dataclass(frozen=True)
class Query:
    """A question, and the one item that it tells of."""

    set: str
    text: str
    gold: str


def films(path: Path, limit: int) -> Iterator[Item]:
    """The films of a file, each with its row as its id."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row, line in enumerate(lines):
            if limit and row >= limit:
                return
            film = json.loads(line)
            yield Item(
                id=str(row),
                title=film["title"],
                year=film["year"],
                genres=tuple(film["genres"]),
                cast=tuple(film["cast"]),
                description=(film.get("extract") or "").strip(),
            )


def made_queries(items: Sequence[Item], n: int, seed: int) -> list[Query]:
    """``n`` questions of each of the two kinds that are made from the texts, or as many as can."""
    rng = random.Random(seed)
    sentences: list[Query] = []
    people: list[Query] = []
    for item in rng.sample(items, len(items)):
        told = [_content(s, item) for s in _STOP.split(item.description)[1:]]
        told = [content for content in told if len(content) >= 8]
        if len(people) == n:
            break
        if told:
            content = rng.choice(told)
            half = sorted(rng.sample(range(len(content)), len(content) // 2))
            sentences.append(Query("sentences", " ".join(content[i] for i in half), item.id))
            if item.cast:
                some = " ".join(rng.sample(content, 4))
                people.append(Query("people", f"{rng.choice(item.cast)} {some}", item.id))
    return sentences[:n] + people


def _content(sentence: str, item: Item) -> list[str]:
    """The words of a sentence that are no small words and not in the title."""
    title = set(fold(item.title).split())
    return [w.key for w in words(sentence) if len(w.key) > 3 and w.key not in title]


def written_queries(items: Sequence[Item]) -> list[Query]:
    """The questions written by hand, of those films that are there."""
    ids = {(item.title, item.year): item.id for item in items}
    with WRITTEN.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    found = ((row, ids.get((row["title"], int(row["year"])))) for row in rows)
    return [Query(f"written, {row['language']}", row["query"], i) for row, i in found if i]


def measured(catalog: Catalog, queries: Sequence[Query], mode: Mode) -> dict[str, Any]:
    """Recall at 1 and 5 with their intervals for each set, and the median time of a question."""
    places: dict[str, list[int]] = {}
    times = []
    for query in queries:
        start = time.perf_counter()
        hits = catalog.passages(query.text, 5, mode=mode, per_item=1)
        times.append(time.perf_counter() - start)
        found = [hit.item.id for hit in hits]
        place = found.index(query.gold) + 1 if query.gold in found else 0
        places.setdefault(query.set, []).append(place)
    sets = {}
    for name, of_set in places.items():
        n = len(of_set)
        row: dict[str, Any] = {"n": n}
        for k in (1, 5):
            hits_at = sum(0 < place <= k for place in of_set)
            row[f"recall@{k}"] = hits_at / n
            row[f"interval@{k}"] = wilson(hits_at, n)
        sets[name] = row
    return {"sets": sets, "median_ms": 1e3 * sorted(times)[len(times) // 2]}


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="movies.jsonl.gz")
    parser.add_argument("--encoder", help="folder or name of a sentence-transformers model")
    parser.add_argument("--queries", type=int, default=500, help="made questions of each kind")
    parser.add_argument("--limit", type=int, default=0, help="read the first films only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where the catalogue is left, or is from before")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


def _built(items: Sequence[Item], options: argparse.Namespace) -> Catalog:
    if options.keep and options.keep.exists():
        catalog = Catalog.open(options.keep, embedding_model=options.encoder)
        if len(catalog) != len(items):
            raise SystemExit(f"{options.keep} has {len(catalog):,} items, not {len(items):,}")
        return catalog
    start = time.perf_counter()
    made = Catalog.from_items(
        items, options.keep, embedding_model=options.encoder, progress=sys.stderr.isatty()
    )
    print(f"built in {time.perf_counter() - start:.0f} s\n")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = make_parser().parse_args(argv)
    items = list(films(options.data, options.limit))
    queries = made_queries(items, options.queries, options.seed) + written_queries(items)
    catalog = _built(items, options)
    modes: tuple[Mode, ...] = ("text", "dense", "hybrid") if options.encoder else ("text",)
    figures: dict[str, Any] = {"items": len(items), "seed": options.seed, "modes": {}}
    for mode in modes:
        figures["modes"][mode] = measured(catalog, queries, mode)
    print(f"{len(items):,} films, seed {options.seed}; 95 % intervals after Wilson\n")
    print("| questions | n | mode | recall at 1 | recall at 5 |\n|---|---|---|---|---|")
    for name in dict.fromkeys(q.set for q in queries):
        for mode in modes:
            row = figures["modes"][mode]["sets"][name]
            shares = (
                f"{row[f'recall@{k}']:.3f} [{low:.3f}, {high:.3f}]"
                for k in (1, 5)
                for low, high in [row[f"interval@{k}"]]
            )
            print(f"| {name} | {row['n']} | {mode} | {' | '.join(shares)} |")
    print()
    for mode in modes:
        print(f"{mode}: {figures['modes'][mode]['median_ms']:.1f} ms a question (median)")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
