"""Measure how free text is matched to titles: TitleIndex beside the usual loops over fuzz.ratio.

    python benchmarks/matching.py
    python benchmarks/matching.py --titles movies.jsonl.gz --names 100000 --sample 2000

The names are made from the titles, the same for the same seed: 50 % as they are; 15 % with the
year, or with other case, accents or article; 15 % with one or two typing errors; 15 % recombined
words and 5 % sequels that the catalogue does not have. What they mean is known, so every way is
scored. The usual ways compare the lower-cased texts and take the best title of a ratio of 80 or
more. They run on the first names alone, and their time is scaled to all of them; the memory of a
way is the peak beyond the titles, in a second run. One thread.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import sys
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz, process

from llmrec.records import columns_of, flaw, json_rows, parsed
from llmrec.titles import TitleIndex, fold
from llmrec.types import Item

CUTOFF = 80
SYLLABLES = ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "té", "vi", "ção")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
KINDS = {"as it is": 50, "varied": 15, "typing errors": 15, "recombined": 15, "no such sequel": 5}
OUTCOMES = ("right", "wrong", "wrongly none", "rightly none")

# The rows that names were matched to, in order.
Rows = list["int | None"]


@dataclass(frozen=True)
class Named:
    """A name as a model may write it, how it was made, and the rows that it may mean."""

    name: str
    kind: str
    rows: frozenset[int]


@dataclass(frozen=True)
class Measured:
    """What a way took, and the rows that it found for the first names."""

    rows: Rows
    build_s: float
    match_s: float
    peak_mb: float

    def line(self, way: str, named: Sequence[Named]) -> str:
        """The way as a row of the table; ``named`` are all the names."""
        n = len(self.rows)
        counts = Counter(map(outcome, named, self.rows))
        given = counts["right"] + counts["wrong"]
        cells = (
            f"{n:,}",
            f"{self.build_s:.2f}",
            f"{self.match_s:.2f}",
            f"{n / self.match_s:,.0f}",
            f"{self.build_s + self.match_s * len(named) / n:,.1f}",
            f"{self.peak_mb:.0f}",
            *(f"{100 * counts[o] / n:.2f} %" for o in OUTCOMES),
            f"{100 * counts['right'] / max(given, 1):.2f} %",
        )
        return f"| {way} | {' | '.join(cells)} |"


def outcome(named: Named, row: int | None) -> str:
    """Which of OUTCOMES it is to match ``named`` to ``row``."""
    if row is None:
        return "wrongly none" if named.rows else "rightly none"
    return "right" if row in named.rows else "wrong"


def made_up_titles(n: int, seed: int) -> Iterator[Item]:
    """``n`` titles of made-up words, some with an article, some a sequel, some remade."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(8_000)]
    title = ""
    for i in range(n):
        kind = rng.random()
        if kind < 0.9 or not title:
            drawn = [words[int(8_000 * rng.random() ** 2)] for _ in range(rng.randint(1, 4))]
            title = f"{'The ' if rng.random() < 0.25 else ''}{' '.join(drawn).title()}"
        elif kind < 0.95:
            title = f"{title.rstrip(' 2345')} {rng.randint(2, 5)}"
        yield Item(str(i), title, rng.randint(1920, 2025))


def read_titles(path: Path) -> Iterator[Item]:
    """The titles of JSON lines (``.jsonl``), or of a text with a title a line; ``.gz`` too.

    Lines that cannot be used are told on stderr and left out.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
        if ".jsonl" in path.suffixes:
            rows = parsed(json_rows(raw), columns_of(None))
        else:
            lines = enumerate(raw.read().decode("utf-8", "replace").splitlines(), 1)
            rows = ((i, Item(str(i), line.strip())) for i, line in lines if line.strip())
        for line, item in rows:
            reason = item if isinstance(item, str) else flaw(item)
            if reason:
                print(f"{path}:{line}: {reason}", file=sys.stderr)
            elif isinstance(item, Item):
                yield item


class Names:
    """Names that a model may write for some of ``items``, or for none, the same for a seed."""

    def __init__(self, items: Sequence[Item], seed: int) -> None:
        self._items = items
        self._rng = random.Random(seed)
        self._rows: defaultdict[str, set[int]] = defaultdict(set)
        for row, item in enumerate(items):
            self._rows[fold(item.title)].add(row)
        self._known = {self._bare(key) for key in self._rows}

    def draw(self) -> Named:
        """One name."""
        kind = self._rng.choices(list(KINDS), list(KINDS.values()))[0]
        while True:
            item = self._rng.choice(self._items)
            if kind in ("recombined", "no such sequel"):
                name = self._recombined(item) if kind == "recombined" else self._sequel(item)
                if self._bare(fold(name)) not in self._known:
                    return Named(name, kind, frozenset())
                continue
            own = fold(item.title)
            rows = self._rows[own]
            name = item.title
            if kind == "typing errors":
                name = self._mistyped(self._mistyped(name) if self._rng.random() < 0.5 else name)
            elif kind == "varied" and item.year and self._rng.random() < 0.4:
                rows = {row for row in rows if self._items[row].year == item.year}
                name = f"{name}{self._rng.choice((' (%d)', ', %d', ' %d')) % item.year}"
            elif kind == "varied":
                name = self._varied(name)
            # What is now another title says nothing of how well it is matched.
            if fold(name) == own or (fold(name) and fold(name) not in self._rows):
                return Named(name, kind, frozenset(rows))

    @staticmethod
    def _bare(key: str) -> str:
        return key.removeprefix("the ")

    def _varied(self, title: str) -> str:
        way = self._rng.randrange(4)
        if way == 3:
            bare = title.removeprefix("The ")
            moved = f"{bare}, The" if self._rng.random() < 0.5 else bare
            return moved if bare != title else f"The {title}"
        accented = title.replace("e", "é", 1).replace("o", "ô", 1)
        return (title.upper(), title.lower(), accented)[way]

    def _mistyped(self, title: str) -> str:
        at, letter = self._rng.randrange(len(title)), self._rng.choice(LETTERS)
        before, here, after = title[:at], title[at], title[at + 1 :]
        swapped = f"{after[:1]}{here}{after[1:]}"
        made = (f"{letter}{after}", after, f"{here}{letter}{after}", swapped)
        return before + self._rng.choice(made)

    def _recombined(self, item: Item) -> str:
        n = max(2, item.title.count(" ") + 1)
        return " ".join(
            self._rng.choice(self._rng.choice(self._items).title.split()) for _ in range(n)
        )

    def _sequel(self, item: Item) -> str:
        title = re.sub(r"\s+(\d+|[IVX]+)$", "", item.title)
        return f"{title} {self._rng.choice(('2', '3', '4', '7', 'II', 'III', 'IV', 'V'))}"


def ours(items: Sequence[Item], names: Sequence[str]) -> tuple[Rows, float, float]:
    """The rows of the names by TitleIndex, and the seconds of its two steps."""
    start = time.perf_counter()
    index = TitleIndex([(i.title,) for i in items], [i.year for i in items])
    built = time.perf_counter()
    rows = [m.row for m in index.match_many(names)]
    return rows, built - start, time.perf_counter() - built


def double_loop(titles: Sequence[str], names: Sequence[str]) -> Rows:
    """Every name against every title, in Python."""
    found: Rows = []
    for name in names:
        best, best_row = 0.0, None
        for row, title in enumerate(titles):
            ratio = fuzz.ratio(name, title)
            if ratio >= CUTOFF and ratio > best:
                best, best_row = ratio, row
        found.append(best_row)
    return found


def extract_one(titles: Sequence[str], names: Sequence[str]) -> Rows:
    """The same by ``rapidfuzz.process.extractOne``."""
    best = (process.extractOne(n, titles, scorer=fuzz.ratio, score_cutoff=CUTOFF) for n in names)
    return [None if b is None else int(b[2]) for b in best]


def cdist(titles: Sequence[str], names: Sequence[str]) -> Rows:
    """The same by ``rapidfuzz.process.cdist``, 256 names at a time."""
    found: Rows = []
    for i in range(0, len(names), 256):
        ratios = process.cdist(
            names[i : i + 256], titles, scorer=fuzz.ratio, score_cutoff=CUTOFF, workers=1
        )
        best = ratios.argmax(axis=1)
        some = ratios[np.arange(len(best)), best] >= CUTOFF
        found += [b if s else None for b, s in zip(best.tolist(), some.tolist(), strict=True)]
    return found


def usual(
    way: Callable[[Sequence[str], Sequence[str]], Rows],
) -> Callable[..., tuple[Rows, float, float]]:
    """``way`` over lower-cased texts, with the seconds of its two steps."""

    def run(items: Sequence[Item], names: Sequence[str]) -> tuple[Rows, float, float]:
        start = time.perf_counter()
        titles = [i.title.lower() for i in items]
        built = time.perf_counter()
        rows = way(titles, [n.lower() for n in names])
        return rows, built - start, time.perf_counter() - built

    return run


def measure(
    run: Callable[[Sequence[Item], Sequence[str]], tuple[Rows, float, float]],
    items: Sequence[Item],
    names: Sequence[str],
    again: int,
) -> Measured:
    """Run for the names; then once more for the first ``again`` of them, for the memory."""
    rows, build_s, match_s = run(items, names)
    tracemalloc.start()
    try:
        run(items, names[:again])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return Measured(rows, build_s, match_s, peak / 1e6)


def by_kind(measured: dict[str, Measured], named: Sequence[Named]) -> Iterator[str]:
    """How often each way is right and wrong, for each kind of name: the lines of a table."""
    yield (
        "| kind | " + " | ".join(f"{way}: names, as it should be, wrong" for way in measured) + " |"
    )
    yield "|---" * (1 + len(measured)) + "|"
    for kind in KINDS:
        cells = []
        for m in measured.values():
            counts = Counter(
                outcome(n, row) for n, row in zip(named, m.rows, strict=False) if n.kind == kind
            )
            n = max(counts.total(), 1)
            good = counts["right"] + counts["rightly none"]
            cells.append(
                f"{counts.total():,}, {100 * good / n:.2f} %, {100 * counts['wrong'] / n:.2f} %"
            )
        yield f"| {kind} | {' | '.join(cells)} |"


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--titles", type=Path, help="JSON lines, or a title a line; made up else")
    parser.add_argument("--rows", type=int, default=36_000, help="titles to make up")
    parser.add_argument("--names", type=int, default=100_000, help="names to match")
    parser.add_argument("--sample", type=int, default=2_000, help="names of the usual ways")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done."""
    args = make_parser().parse_args(argv)
    items = list(read_titles(args.titles) if args.titles else made_up_titles(args.rows, args.seed))
    source = Names(items, args.seed)
    named = [source.draw() for _ in range(args.names)]
    names = [n.name for n in named]
    some = names[: args.sample]
    few = some[: max(1, args.sample // 20)]
    measured = {
        "TitleIndex": measure(ours, items, names, len(names)),
        "TitleIndex, as few": measure(ours, items, some, len(some)),
        "double loop": measure(usual(double_loop), items, few, 1),
        "extractOne": measure(usual(extract_one), items, some, 1),
        "cdist": measure(usual(cdist), items, some, 256),
    }
    print(
        f"{len(items):,} titles, {len(names):,} names ({len(set(names)):,} distinct), "
        f"seed {args.seed}; the usual ways on the first names, their time for all scaled"
    )
    head = "| way | names | build s | match s | names/s | s for all | peak MB | "
    print(head + " | ".join((*OUTCOMES, "precision")) + " |")
    print("|---" * (7 + len(OUTCOMES) + 1) + "|")
    for way, m in measured.items():
        print(m.line(way, named))
    print()
    for line in by_kind({way: measured[way] for way in ("TitleIndex", "cdist")}, named):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
