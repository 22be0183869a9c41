"""Measure recommending in bulk: conversations a second, in batches and one at a time.

    python benchmarks/bulk.py --rounds 5 --n 48
    python benchmarks/bulk.py --batch-sizes 4 16 64 --threads 2

Real requests of eval/understanding, the three languages in turn, other ones in every round. Each
round asks the same ones in all ways, which take turns in going first, of one model that forgets
what it was asked before. What is timed is the whole: reading, answering, writing the tables.
"sorted" asks the conversations in the order of how many candidates they leave, which shows what it
costs that a batch has few candidates beside many.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import spread
from llmrec.bulk import BulkOptions, load, run
from llmrec.catalog import Catalog
from llmrec.recommender import Recommender
from llmrec.types import LANGUAGES

Way = tuple[int, bool]  # how many together, and whether sorted
ALONE: Way = (1, False)
REQUESTS = Path(__file__).resolve().parents[1] / "eval" / "messages"


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often all is measured")
    parser.add_argument("--n", type=int, default=48, help="conversations of a round")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 16], metavar="N")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--model", default="embedded", help="folder or Hub id")
    parser.add_argument("--catalog", help="folder of a catalogue; the embedded films unless given")
    return parser


def requests() -> Iterator[dict[str, Any]]:
    """What eval/understanding asks, as rows of a bulk run, the languages in turn."""
    texts = [(REQUESTS / f"{name}.jsonl").read_text(encoding="utf-8") for name in LANGUAGES]
    for lines in zip(*(text.splitlines() for text in texts), strict=False):
        for language, line in zip(LANGUAGES, lines, strict=True):
            row = json.loads(line)
            yield {"id": f"{language} {row['id']}", "messages": row["messages"]}


def timed(options: BulkOptions, recommender: Recommender) -> tuple[float, float]:
    """Seconds of a whole run, on the clock and of the processor."""
    start, busy = time.perf_counter(), time.process_time()
    run(options, lambda *_: recommender, progress=False)
    return time.perf_counter() - start, time.process_time() - busy


def items(out: str) -> list[tuple[Any, ...]]:
    """Who was given what."""
    import pyarrow.parquet as pq

    rows = pq.read_table(Path(out) / "shard-000000.parquet").to_pylist()
    return [(r["id"], r["rank"], r["item_id"]) for r in rows]


@dataclass
class Measured:
    """What came of the rounds, for each way."""

    seconds: dict[Way, list[tuple[float, float]]]
    given: dict[Way, list[tuple[Any, ...]]]

    def table(self, n: int) -> Iterator[str]:
        """The lines to print, for rounds of ``n`` conversations."""
        yield "| batch | conversations a second | beside one | by CPU seconds | same places |"
        yield "|---|---|---|---|---|"
        for (size, order), own in self.seconds.items():
            pairs = list(zip(self.seconds[ALONE], own, strict=True))
            measured = (
                [n / clock for clock, _ in own],
                [one / clock for (one, _), (clock, _) in pairs],
                [one / busy for (_, one), (_, busy) in pairs],
            )
            said = [spread(v, 2) for v in measured]
            alone = {*self.given[ALONE]}
            same = len(alone & {*self.given[size, order]}) / len(alone)
            yield f"| {size}{', sorted' * order} | {' | '.join(said)} | {same:.1%} |"
        yield "medians over rounds, and in brackets the least and the most"


def measure(
    rounds: Sequence[Sequence[dict[str, Any]]],
    recommender: Recommender,
    plain: BulkOptions,
    ways: Sequence[Way],
) -> Measured:
    """Ask every round in every way."""
    made = Measured({way: [] for way in ways}, {way: [] for way in ways})
    file, folder = Path(plain.input), Path(plain.out)
    for number, rows in enumerate(rounds):
        by_size = sorted(rows, key=lambda r: recommender.plan(r["messages"]).rows.size)
        turn = number % len(ways)
        for way in (*ways[turn:], *ways[:turn]):
            size, order = way
            out = str(folder / f"{number}-{size}-{order}")
            lines = map(json.dumps, by_size if order else rows)
            file.write_text("\n".join(lines), encoding="utf-8")
            options = dataclasses.replace(plain, batch_size=size, out=out)
            made.seconds[way].append(timed(options, recommender))
            made.given[way] += items(out)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if there are too few requests."""
    args = make_parser().parse_args(argv)
    asked = list(itertools.islice(requests(), args.rounds * args.n + 1))
    if len(asked) <= args.rounds * args.n:
        print(f"bulk: there are {len(asked) - 1} requests: ask for fewer", file=sys.stderr)
        return 1
    ways = [ALONE, *((size, order) for size in args.batch_sizes for order in (False, True))]
    with tempfile.TemporaryDirectory() as temporary:
        plain = BulkOptions(
            input=str(Path(temporary) / "asked.jsonl"),
            out=temporary,
            model=args.model,
            catalog=args.catalog,
            threads=args.threads,
            shard_rows=args.n,
        )
        catalog = Catalog.open(args.catalog) if args.catalog else Catalog.embedded()
        recommender = load(plain, catalog)
        recommender.recommend(asked.pop()["messages"])
        rounds = [asked[at : at + args.n] for at in range(0, len(asked), args.n)]
        made = measure(rounds, recommender, plain, ways)
    print(
        f"{recommender.model.name}, {len(catalog):,} items, top {plain.k}, {args.threads} threads; "
        f"{args.rounds} rounds of {args.n} conversations"
    )
    print(*made.table(args.n), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
