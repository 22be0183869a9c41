"""Measure a large catalogue: time and peak memory of the build, then the latency of its queries.

    python benchmarks/catalog.py
    python benchmarks/catalog.py --rows 100000 --keep /tmp/made.lance

Made-up items (titles, people and descriptions of words drawn by a power law) are written to a
JSON-lines file first, so that reading and checking are measured as well.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import peak_mb
from llmrec.catalog import Catalog
from llmrec.types import Item, Preferences

GENRES = ("Action", "Adventure", "Comedy", "Crime", "Drama", "Horror", "Romance", "Sci-Fi", "War")
COUNTRIES = ("USA", "UK", "France", "Brazil", "Spain", "Argentina", "Mexico", "Japan", "India")
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "té", "vi", "ção")


class Vocabulary:
    """Words or names of which a few are common and most are rare."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))

    def draw(self, rng: random.Random, n: int) -> list[str]:
        """``n`` words, common ones more often."""
        top = self.weights[-1]
        return [self.words[bisect(self.weights, rng.random() * top)] for _ in range(n)]


def made_up_items(n: int, seed: int = 0) -> Iterator[Item]:
    """``n`` items that look like a film catalogue, the same for the same seed."""
    rng = random.Random(seed)
    drawn = dict.fromkeys(
        "".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(80_000)
    )
    words = Vocabulary(list(drawn))
    people = Vocabulary(
        [f"{a.title()} {b.title()}" for a in words.words[:600] for b in words.words[:600]]
    )
    for i in range(n):
        yield Item(
            id=f"m{i}",
            title=" ".join(words.draw(rng, rng.randint(1, 4))).title(),
            year=rng.randint(1920, 2025),
            titles={"pt": (" ".join(words.draw(rng, 3)),)} if i % 3 == 0 else {},
            genres=tuple(rng.sample(GENRES, rng.randint(1, 3))),
            directors=tuple(people.draw(rng, 1)),
            cast=tuple(people.draw(rng, 4)),
            countries=(rng.choice(COUNTRIES),),
            runtime=rng.randint(60, 200),
            keywords=tuple(words.draw(rng, 3)),
            description=" ".join(words.draw(rng, 40)),
            popularity=round(rng.random() ** 4, 4),
        )


def latency(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median and 95th percentile of ``run`` in milliseconds, after one call to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    times.sort()
    return {"median_ms": times[len(times) // 2], "p95_ms": times[math.ceil(0.95 * len(times)) - 1]}


def measure(rows: int, repeats: int, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Build a catalogue of ``rows`` items in ``folder`` and measure it."""
    source, target = folder / "items.jsonl", folder / "items.lance"
    with source.open("w", encoding="utf-8") as out:
        for item in made_up_items(rows, seed):
            out.write(json.dumps(item.to_dict(), ensure_ascii=False) + "\n")
    before = peak_mb()
    start = time.perf_counter()
    catalog = Catalog.from_jsonl(source, target)
    build_s = time.perf_counter() - start
    built_mb = peak_mb()
    size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())

    start = time.perf_counter()
    catalog = Catalog.open(target)
    open_s = time.perf_counter() - start
    start = time.perf_counter()
    ids = catalog.ids
    start_ids_s = time.perf_counter() - start
    some = catalog.items_at(range(0, rows, max(1, rows // 50)))
    a, b = some[1], some[2]
    narrow = Preferences(people=(a.cast[0],), genres_out=("Horror",), year_min=1950)
    broad = Preferences(genres=("Comedy",), year_min=1990, runtime_max=120)
    negative = Preferences(people_out=(a.cast[0],), genres_out=("Horror", "War"))
    text = f"{a.title} {b.directors[0]} {b.keywords[0]}"
    queries: dict[str, Callable[[], Any]] = {
        "filter, one person": lambda: catalog.filter(narrow),
        "filter, a genre and years": lambda: catalog.filter(broad),
        "filter, only unwanted": lambda: catalog.filter(negative),
        "search, words": lambda: catalog.search(text),
        "search, words and wishes": lambda: catalog.search(text, broad),
        "search, one common word": lambda: catalog.search(a.description.split()[0]),
        "scores of all": lambda: catalog.scores(text),
        "get": lambda: catalog.get(ids[rows // 2]),
    }
    return {
        "rows": len(catalog),
        "dropped": catalog.report.dropped,
        "source_mb": source.stat().st_size / 1e6,
        "catalogue_mb": size / 1e6,
        "build_s": build_s,
        "rows_per_s": rows / build_s,
        "peak_before_build_mb": before,
        "peak_build_mb": built_mb,
        "open_s": open_s,
        "ids_s": start_ids_s,
        "queries": {name: latency(run, repeats) for name, run in queries.items()},
        "peak_end_mb": peak_mb(),
    }


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_300_000, help="items to make")
    parser.add_argument("--repeats", type=int, default=20, help="runs of each query")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder to work in and to leave everything in")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = make_parser().parse_args(argv)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        figures = measure(options.rows, options.repeats, options.keep, options.seed)
    else:
        with tempfile.TemporaryDirectory(prefix="llmrec-bench-") as folder:
            figures = measure(options.rows, options.repeats, Path(folder), options.seed)
    for name, value in figures.items():
        if name != "queries":
            print(
                f"{name:<28}{value:>12,.3f}"
                if isinstance(value, float)
                else f"{name:<28}{value:>12,}"
            )
    for name, times in figures["queries"].items():
        print(f"{name:<28}{times['median_ms']:>9.1f} ms median {times['p95_ms']:>9.1f} ms p95")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
