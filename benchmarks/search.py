"""Measure search in made-up products: our Catalog beside bm25s and SQLite FTS5, on the same rows.

    python benchmarks/search.py --rows 20000
    python benchmarks/search.py --rows 1300000 --keep work --cores 1 --json figures.json

Every step of a system (the build, the search, the search with a filter) runs in a process of its
own and its figures are written to the folder when it is done, so a run that was stopped goes on;
remove a file of figures to measure that step again.
"Cold" is the first time that each query is asked, in a new process, after the system was told to
forget the files; "warm" is the second time. The known item of a query is the product that its
words are from. The filter is a category and a range of prices that this product meets. bm25s has
no filter: it gets a mask of the rows, which numpy makes from arrays of the two columns; where
numba is installed, it is used, and its compiling counts to the first query.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import peak_mb
from llmrec.catalog import Catalog
from llmrec.cleaning import clean
from llmrec.errors import LLMRecError, MissingExtraError
from llmrec.types import Preferences

K = 10
STEPS = ("build", "search", "filter")
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LANCE_CPU_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Query:
    """Words of a product, its id, and a category and prices that it meets."""

    text: str
    target: str
    category: str
    price_min: float
    price_max: float


Search = Callable[[Query, bool], list[str]]  # the ids found; whether to filter


class Ours:
    """llmrec, which gives whole items back."""

    @staticmethod
    def build(items: Path, folder: Path) -> None:
        """From the JSON lines, as a user would."""
        Catalog.from_jsonl(items, folder / "items", progress=False)

    @staticmethod
    def open(folder: Path) -> Search:
        """The catalogue."""
        catalog = Catalog.open(folder / "items")

        def search(query: Query, filtered: bool) -> list[str]:
            wishes = Preferences(
                genres=(query.category,), price_min=query.price_min, price_max=query.price_max
            )
            hits = catalog.search(query.text, wishes if filtered else None, k=K)
            return [hit.item.id for hit in hits]

        return search


class BM25S:
    """bm25s with its usual tokenizer, which gives ids back and holds the index in memory."""

    @staticmethod
    def build(items: Path, folder: Path) -> None:
        """Title and description as one text."""
        texts, ids, prices, categories = [], [], [], []
        for item in read(items):
            texts.append(f"{item['title']} {item['description']}")
            ids.append(item["id"])
            prices.append(item.get("price", np.nan))
            categories.append(item["genres"][0])
        tokens = bm25s().tokenize(texts, stopwords=stop_words(), show_progress=False)
        del texts
        index = bm25s().BM25(backend="auto")
        index.index(tokens, show_progress=False)
        index.save(str(folder), show_progress=False)
        np.savez(folder / "columns.npz", ids=ids, prices=prices, categories=categories)

    @staticmethod
    def open(folder: Path) -> Search:
        """The index, and the columns to filter by."""
        index = bm25s().BM25.load(str(folder))
        columns = np.load(folder / "columns.npz")
        ids, prices, categories = columns["ids"], columns["prices"], columns["categories"]
        words = stop_words()

        def search(query: Query, filtered: bool) -> list[str]:
            tokens = bm25s().tokenize([query.text], stopwords=words, show_progress=False)
            mask = None
            if filtered:
                mask = (categories == query.category) & (prices >= query.price_min)
                mask = (mask & (prices <= query.price_max)).astype(np.float32)
            found, scores = index.retrieve(tokens, k=K, show_progress=False, weight_mask=mask)
            return [str(ids[row]) for row in found[0][scores[0] > 0]]

        return search


class FTS5:
    """SQLite FTS5, any of the words, which gives rows of a table back."""

    @staticmethod
    def build(items: Path, folder: Path) -> None:
        """A table with an index for the filter, and the words of title and description."""
        with sqlite3.connect(folder / "products.db") as db:
            db.execute(
                "CREATE TABLE products (row INTEGER PRIMARY KEY, id, title, description, "
                "category, price REAL)"
            )
            db.executemany(
                "INSERT INTO products (id, title, description, category, price) "
                "VALUES (?, ?, ?, ?, ?)",
                (
                    (i["id"], i["title"], i["description"], i["genres"][0], i.get("price"))
                    for i in read(items)
                ),
            )
            db.execute("CREATE INDEX filter ON products (category, price)")
            db.execute(
                "CREATE VIRTUAL TABLE words USING fts5 (title, description, content=products, "
                "content_rowid=row, tokenize='unicode61 remove_diacritics 2')"
            )
            db.execute("INSERT INTO words (words) VALUES ('rebuild')")
        db.close()

    @staticmethod
    def open(folder: Path) -> Search:
        """The database."""
        db = sqlite3.connect(folder / "products.db")
        plain = (
            "SELECT id, p.title, p.description, price FROM words "
            "CROSS JOIN products p ON p.row = words.rowid WHERE words MATCH ?"
        )
        narrow = f"{plain} AND category = ? AND price BETWEEN ? AND ?"

        def search(query: Query, filtered: bool) -> list[str]:
            wanted = " OR ".join(f'"{word}"' for word in query.text.split())
            bounds = (query.category, query.price_min, query.price_max) if filtered else ()
            sql = f"{narrow if filtered else plain} ORDER BY rank LIMIT {K}"
            return [row[0] for row in db.execute(sql, (wanted, *bounds))]

        return search


SYSTEMS: dict[str, Any] = {"llmrec": Ours, "bm25s": BM25S, "fts5": FTS5}


def bm25s() -> Any:
    """The package."""
    import bm25s  # type: ignore[import-untyped,unused-ignore]

    return bm25s


def stop_words() -> list[str]:
    """Those of bm25s for the three languages of the products."""
    from bm25s import stopwords  # type: ignore[import-untyped,unused-ignore]

    lists = (stopwords.STOPWORDS_EN, stopwords.STOPWORDS_PORTUGUESE, stopwords.STOPWORDS_SPANISH)
    return sorted({word for words in lists for word in words})


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def prepare(folder: Path, rows: int, queries: int, seed: int) -> None:
    """Write the rows, cleaned, that every system reads, and the queries."""
    items, asked = folder / "items.jsonl", folder / "queries.json"
    if not items.is_file():
        raw = folder / "raw.jsonl"
        script = str(Path(__file__).with_name("products.py"))
        flags = ["--rows", str(rows), "--seed", str(seed), "--out", str(raw)]
        subprocess.run([sys.executable, script, *flags], check=True)  # noqa: S603
        with (part := folder / "items.part").open("w", encoding="utf-8") as out:
            for product in read(raw):
                item = {
                    "id": product["id"],
                    "title": clean(product["title"]),
                    "description": clean(product["content"]),
                    "genres": [product["category"]],
                    **({} if product["price"] is None else {"price": product["price"]}),
                }
                out.write(json.dumps(item, ensure_ascii=False) + "\n")
        raw.unlink()
        part.replace(items)
    if not asked.is_file():
        made = made_up_queries(items, rows, queries, seed)
        write(asked, [asdict(query) for query in made])


def made_up_queries(items: Path, rows: int, n: int, seed: int) -> list[Query]:
    """``n`` different queries, each of two to five words of a priced product that is no double."""
    rng = random.Random(seed)
    wanted = set(rng.sample(range(rows), min(rows, 2 * n + 20)))
    often: Counter[int] = Counter()
    some = []
    for row, item in enumerate(read(items)):
        often[hash(item["title"])] += 1
        if row in wanted and "price" in item:
            some.append(item)
    rng.shuffle(some)
    made: dict[str, Query] = {}
    for item in some:
        if often[hash(item["title"])] == 1 and len(made) < n:
            text = " ".join(_some_words(item, rng))
            low, high = round(item["price"] * 0.5, 2), round(item["price"] * 2, 2)
            made[text] = Query(text, item["id"], item["genres"][0], low, high)
    if len(made) < n:
        raise LLMRecError(f"{rows:,} rows make {len(made)} queries: ask for fewer or more rows")
    return list(made.values())


def _some_words(item: dict[str, Any], rng: random.Random) -> list[str]:
    """Two to five words of four letters or more, at least one of the title, in their order."""
    title, body = (
        list(dict.fromkeys(re.findall(r"\w{4,}", item[name].lower())))
        for name in ("title", "description")
    )
    n = rng.randint(2, 5)
    chosen = set(rng.sample(title, min(len(title), rng.randint(1, n))))
    others = [word for word in body if word not in chosen] or title
    chosen |= set(rng.sample(others, min(len(others), n - len(chosen))))
    return [word for word in dict.fromkeys(title + body) if word in chosen]


def write(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def files_of(folder: Path) -> list[Path]:
    """All files of a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def forget(folder: Path) -> None:
    """Tell the system to drop what it holds in memory of the files, where it can be told."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in files_of(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def step(system: str, name: str, folder: Path, cores: int) -> dict[str, Any]:
    """One step of one system, measured in this process."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    engine, place = SYSTEMS[system], folder / system
    before = peak_mb()
    start, spent = time.perf_counter(), time.process_time()
    figures: dict[str, Any]
    if name == "build":
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        engine.build(folder / "items.jsonl", place)
        figures = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - spent,
            "disk_mb": sum(path.stat().st_size for path in files_of(place)) / 1e6,
        }
    else:
        forget(place)
        start = time.perf_counter()
        search = engine.open(place)
        figures = {"open_seconds": time.perf_counter() - start}
        figures |= asked(search, folder, name == "filter")
    return figures | {"peak_mb": peak_mb(), "peak_before_mb": before}


def asked(search: Search, folder: Path, filtered: bool) -> dict[str, Any]:
    """Every query twice: how long each took, and what was found."""
    queries = [Query(**query) for query in json.loads((folder / "queries.json").read_text())]
    figures: dict[str, Any] = {}
    for temperature in ("cold", "warm"):
        times, spent, found = [], [], []
        for query in queries:
            start, before = time.perf_counter(), time.process_time()
            found.append(search(query, filtered))
            times.append(1e3 * (time.perf_counter() - start))
            spent.append(1e3 * (time.process_time() - before))
        figures[temperature] = {
            "median_ms": statistics.median(times),
            "p99_ms": float(np.quantile(times, 0.99)),
            "cpu_median_ms": statistics.median(spent),
            "cpu_p99_ms": float(np.quantile(spent, 0.99)),
            "first_ms": times[0],
        }
    targets = [query.target for query in queries]
    for k in (1, K):
        right = [target in ids[:k] for target, ids in zip(targets, found, strict=True)]
        figures[f"recall_{k}"] = sum(right) / len(right)
    return figures | {"found": found}


def measure(system: str, name: str, folder: Path, cores: int) -> dict[str, Any]:
    """One step in a process of its own, or what it wrote when it ran before."""
    result = folder / f"{system}.{name}.json"
    if not result.is_file():
        command = [sys.executable, __file__, "--keep", str(folder), "--cores", str(cores)]
        threads = dict.fromkeys(THREADS, str(cores)) if cores else {}
        done = subprocess.run([*command, "--step", system, name], env=os.environ | threads)  # noqa: S603
        if done.returncode:
            raise LLMRecError(f"{system}, {name}: it ended with code {done.returncode}, see above")
    return dict(json.loads(result.read_text(encoding="utf-8")))


def outside(found: list[list[str]], folder: Path) -> int:
    """How many of the products that were found with the filter do not meet it."""
    queries = [Query(**query) for query in json.loads((folder / "queries.json").read_text())]
    wanted = {item_id for ids in found for item_id in ids}
    items = {i["id"]: i for i in read(folder / "items.jsonl") if i["id"] in wanted}
    return sum(
        items[item_id]["genres"] != [query.category]
        or not query.price_min <= items[item_id].get("price", -1) <= query.price_max
        for query, ids in zip(queries, found, strict=True)
        for item_id in ids
    )


def agreement(a: list[list[str]], b: list[list[str]]) -> float:
    """Mean share of the products of the one list that stand in the other."""
    shares = [len({*x} & {*y}) / max(len(x), len(y), 1) for x, y in zip(a, b, strict=True)]
    return statistics.mean(shares)


def run(
    systems: Sequence[str], folder: Path, rows: int, queries: int, seed: int, cores: int
) -> dict[str, Any]:
    """All steps that are not done yet, and the figures of all. Raises MissingExtraError."""
    if "bm25s" in systems and find_spec("bm25s") is None:
        raise MissingExtraError("bm25s", "test")
    prepare(folder, rows, queries, seed)
    figures: dict[str, Any] = {
        "rows": rows,
        "queries": queries,
        "rows_mb": (folder / "items.jsonl").stat().st_size / 1e6,
        "systems": {},
        "agreement": {},
    }
    for system in systems:
        steps = {name: measure(system, name, folder, cores) for name in STEPS}
        steps["filter"]["outside"] = outside(steps["filter"]["found"], folder)
        figures["systems"][system] = steps
    for name in STEPS[1:]:
        found = {system: figures["systems"][system][name].pop("found") for system in systems}
        figures["agreement"][name] = {
            f"{a}, {b}": agreement(found[a], found[b]) for a, b in combinations(systems, 2)
        }
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures in Markdown."""
    systems = figures["systems"]
    lines = [f"| {figures['rows']:,} products | {' | '.join(systems)} |"]
    lines.append("|---|" + "---:|" * len(systems))

    def row(name: str, step: str, form: str, *keys: str) -> None:
        cells = []
        for steps in systems.values():
            value = steps[step]
            for key in keys:
                value = value[key]
            cells.append(format(value, form))
        lines.append(f"| {name} | {' | '.join(cells)} |")

    row("build, s", "build", ",.1f", "seconds")
    row("build, s of processor time", "build", ",.1f", "cpu_seconds")
    row("build, peak memory, MB", "build", ",.0f", "peak_mb")
    row("on disk, MB", "build", ",.0f", "disk_mb")
    for step, name in (("search", "search"), ("filter", "search with a filter")):
        row(f"{name}: opening, s", step, ",.2f", "open_seconds")
        row(f"{name}: first query, ms", step, ",.1f", "cold", "first_ms")
        for temperature in ("cold", "warm"):
            row(f"{name}: {temperature}, median, ms", step, ",.1f", temperature, "median_ms")
            row(f"{name}: {temperature}, p99, ms", step, ",.1f", temperature, "p99_ms")
        row(f"{name}: warm, median, ms of processor time", step, ",.1f", "warm", "cpu_median_ms")
        row(f"{name}: warm, p99, ms of processor time", step, ",.1f", "warm", "cpu_p99_ms")
        row(f"{name}: peak memory, MB", step, ",.0f", "peak_mb")
        row(f"{name}: known item first", step, ".3f", "recall_1")
        row(f"{name}: known item in {K}", step, ".3f", f"recall_{K}")
    row("hits outside the filter", "filter", ",", "outside")
    plain, narrow = figures["agreement"].values()
    if plain:
        lines += [
            "",
            f"| same products in the first {K} | search | with a filter |",
            "|---|---:|---:|",
        ]
        lines += [f"| {pair} | {plain[pair]:.3f} | {narrow[pair]:.3f} |" for pair in plain]
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_300_000, help="products to make")
    parser.add_argument("--queries", type=int, default=200, help="different queries")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=0, help="processor cores to use (0: all)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--keep", type=Path, help="folder to work in, and to go on in")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = make_parser().parse_args(argv)
    if options.step:
        system, name = options.step
        figures = step(system, name, options.keep, options.cores)
        write(options.keep / f"{system}.{name}.json", figures)
        return 0
    with tempfile.TemporaryDirectory(prefix="llmrec-bench-") as temporary:
        work = (
            options.keep or Path(temporary)
        ) / f"{options.rows}-{options.queries}-{options.seed}"
        work.mkdir(parents=True, exist_ok=True)
        figures = run(
            options.systems, work, options.rows, options.queries, options.seed, options.cores
        )
    print(table(figures))
    if options.json:
        write(options.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
