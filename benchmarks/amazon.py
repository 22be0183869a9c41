"""Measure the reader of AmazonTitles-1.3MM against the usual pandas script, side by side.

    python benchmarks/amazon.py
    python benchmarks/amazon.py --rows 300000 --plain --json figures.json

A made-up file of that size is written first: titles of some 60 characters, descriptions of some
600 with a long tail, a tenth without title or content, three in ten with HTML or entities, and
duplicates. Each side reads it in a process of its own and writes Parquet. The peak memory is that
of the process and its children together, read every 20 ms.
"""

from __future__ import annotations

import argparse
import gzip
import html
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.cleaning import clean
from llmrec.datasets.amazon_titles import AmazonTitles
from llmrec.errors import LLMRecError, MissingExtraError
from llmrec.options import script

MIN_CHARS = 100
CHUNK = 100_000
SIDES = ("ours", "pandas")
WORDS = (
    "the of and a steel with for in your is soft cover kit edition blue set book new easy to use "
    "cotton guide case classic series this from history durable wireless light kitchen volume home "
    "black premium travel story garden size music café battery design children's world"
).split()
MARKUP = (
    "<b>{}</b>",
    "<br />{}",
    "<p>{}</p>",
    "<a href='http://x.example/?a=1&amp;b=2'>{}</a>",
    "&lt;i&gt;{}&lt;/i&gt;",
    "&amp;lt;b&amp;gt;{}",
    "{} &amp; more",
    "&quot;{}&quot;",
    "{} &#8212;",
    "{}&nbsp;",
)


def made_up_lines(rows: int, seed: int = 0) -> Iterator[str]:
    """``rows`` lines that look like ``trn.json``, the same for the same seed."""
    rng = np.random.default_rng(seed)
    sentences = [
        " ".join(rng.choice(WORDS, rng.integers(8, 24))).capitalize() + "." for _ in range(20_000)
    ]
    size = sum(map(len, sentences)) / len(sentences)
    before: list[tuple[str | None, str | None]] = []
    for i in range(rows):
        # A long tail: half of the descriptions are under 370 characters, the mean is 600.
        n = max(1, round(min(rng.lognormal(5.9, 1.0), 20_000.0) / size))
        parts = [sentences[at] for at in rng.integers(0, len(sentences), n)]
        kind = rng.random()
        if kind < 0.3:
            for at in rng.integers(0, n, 1 + n // 3):
                parts[at] = MARKUP[rng.integers(len(MARKUP))].format(parts[at])
        words = rng.choice(WORDS[:-8] if i % 8 else WORDS, rng.integers(5, 16))
        title: str | None = " ".join(words).title() + f" {i:x}"
        content: str | None = " ".join(parts)
        if kind > 0.97 and before:
            title, content = before[rng.integers(len(before))]
        elif kind > 0.87:
            title, content = (None, content) if kind > 0.95 else (title, None)
        if i % 97 == 0:
            before = [*before[-999:], (title, content)]
        targets = rng.integers(0, 1_300_000, rng.geometric(1 / 22)).tolist()
        record = {"uid": f"{i:010X}", "title": title, "content": content}
        yield json.dumps(record | {"target_ind": targets, "target_rel": [1.0] * len(targets)})


def write(path: Path, rows: int, seed: int) -> None:
    """Write the made-up file whole, packed if its name ends in ``.gz``."""
    part = path.with_name(path.name + ".part")
    with gzip.open(part, "wb", 4) if path.suffix == ".gz" else part.open("wb") as out:
        for line in made_up_lines(rows, seed):
            out.write(line.encode() + b"\n")
    part.replace(path)


def read_ours(source: Path, target: Path) -> None:
    """The reader of llmrec, table by table."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in ("id", "title", "description")])
    with parquet.ParquetWriter(target, schema) as out:
        for table, _ in AmazonTitles(source, min_chars=MIN_CHARS).tables():
            out.write_table(table)


def read_pandas(source: Path, target: Path) -> None:
    """What such scripts do, in chunks, since the whole file at once needs many GB."""
    pd = _pandas()
    kept = []
    for chunk in pd.read_json(source, lines=True, chunksize=CHUNK, dtype={"uid": str}):
        rows = chunk[["uid", "title", "content"]].dropna()
        for column in ("title", "content"):
            rows[column] = (
                rows[column].str.replace(r"<[^>]+>", " ", regex=True).apply(html.unescape)
            )
            rows[column] = rows[column].str.replace(r"\s+", " ", regex=True).str.strip()
        kept.append(rows[rows["content"].str.len() >= MIN_CHARS])
    whole = pd.concat(kept).drop_duplicates(["title", "content"])
    whole.columns = ["id", "title", "description"]
    whole.to_parquet(target, index=False)


def _pandas() -> Any:
    try:
        import pandas  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise MissingExtraError("pandas", "train") from None
    return pandas


def measure(side: str, source: Path, target: Path) -> dict[str, float]:
    """Seconds, and peak memory in MB, of one side in a process of its own."""
    try:
        import psutil  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise MissingExtraError("psutil", "train") from None
    command = [sys.executable, __file__, "--side", side, str(source), str(target)]
    path = os.pathsep.join([str(Path(__file__).resolve().parent.parent), *sys.path])
    start, peak = time.perf_counter(), 0
    child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})  # noqa: S603
    family = psutil.Process(child.pid)
    cpu_s = 0.0
    while child.poll() is None:
        total, spent = 0, 0.0
        for process in _alive(family):
            try:
                total += process.memory_info().rss
                spent += sum(process.cpu_times()[:2])
            except psutil.Error:  # it has just ended
                continue
        peak, cpu_s = max(peak, total), max(cpu_s, spent)
        time.sleep(0.02)
    if child.returncode:
        raise LLMRecError(f"{side} ended with code {child.returncode}: see above")
    return {"seconds": time.perf_counter() - start, "peak_mb": peak / 1e6, "cpu_seconds": cpu_s}


def _alive(family: Any) -> list[Any]:
    import psutil

    try:
        return [family, *family.children(recursive=True)]
    except psutil.Error:
        return []


def compare(ours: Path, theirs: Path) -> dict[str, int]:
    """How many products both kept, only one did and why, and how many texts differ."""
    from pyarrow import parquet

    mine = {uid: hash(text) for uid, text in _pairs(parquet.read_table(ours, memory_map=True))}
    found: Counter[str] = Counter({"both": 0, "both, with other texts": 0})
    for uid, text in _pairs(parquet.read_table(theirs, memory_map=True)):
        cleaned = text if uid in mine and mine[uid] == hash(text) else clean(text)
        if uid in mine:
            found["both"] += 1
            if cleaned is not text:
                same = mine[uid] == hash(cleaned)
                found["both, with other texts"] += 1
                found["of these, pandas left escaped markup"] += same
        elif len(cleaned) < MIN_CHARS:
            found["only pandas: too short without escaped markup"] += 1
        else:
            found["only pandas: a duplicate by uid or folded title"] += 1
    return {**found, "only ours": len(mine) - found["both"]}


def _pairs(table: Any) -> Iterator[tuple[str, str]]:
    for batch in table.to_batches():
        yield from zip(batch["id"].to_pylist(), batch["description"].to_pylist(), strict=True)


def run(rows: int, folder: Path, plain: bool, seed: int) -> dict[str, Any]:
    """Make the file if it is not there, measure both sides, and compare what they kept."""
    source = folder / f"trn-{rows}-{seed}.json{'' if plain else '.gz'}"
    if not source.is_file():
        write(source, rows, seed)
    outputs = {side: folder / f"{side}.parquet" for side in SIDES}
    figures: dict[str, Any] = {"rows": rows, "file_mb": source.stat().st_size / 1e6}
    for side in SIDES:
        figures[side] = measure(side, source, outputs[side])
    figures["times_faster"] = figures["pandas"]["seconds"] / figures["ours"]["seconds"]
    figures["kept"] = compare(outputs["ours"], outputs["pandas"])
    return figures


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_200_000, help="products to make")
    parser.add_argument("--plain", action="store_true", help="do not pack the file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder to work in, and to reuse the file of")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    return parser


@script("amazon")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = make_parser().parse_args(argv)
    if options.side:
        side, source, target = options.side
        {"ours": read_ours, "pandas": read_pandas}[side](Path(source), Path(target))
        return 0
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        figures = run(options.rows, options.keep, options.plain, options.seed)
    else:
        with tempfile.TemporaryDirectory(prefix="llmrec-bench-") as folder:
            figures = run(options.rows, Path(folder), options.plain, options.seed)
    print(f"{figures['rows']:,} products, {figures['file_mb']:,.0f} MB\n")
    print("| | seconds | of processor time | MB at most |\n|---|---|---|---|")
    for side in SIDES:
        own = figures[side]
        cells = f"{own['seconds']:.1f} | {own['cpu_seconds']:.1f} | {own['peak_mb']:,.0f}"
        print(f"| {side} | {cells} |")
    print(f"\nours is {figures['times_faster']:.1f} times as fast\n")
    print("| products kept by | |\n|---|---|")
    for name, n in figures["kept"].items():
        print(f"| {name} | {n:,} |")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
