"""Measure ranking metrics at several depths, beside ir-measures on the same rankings.

    python benchmarks/metrics.py
    python benchmarks/metrics.py --n 20000 --beside 1000 --json figures.json

The rankings are random, of a catalogue of 7,000, with one to five relevant items each. Each side
is given its own form of them (arrays; dictionaries), which is not in its time. ir-measures has
MRR@k from another, slower provider than the rest, so it is measured with and without it. The
rest of the table is measured on all rankings, ours alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.metrics.agreement import rbo
from llmrec.metrics.beyond import coverage, gini, intra_list_diversity, novelty
from llmrec.metrics.ranking import IntArray, scores
from llmrec.metrics.significance import mean_intervals, paired

KS = (1, 5, 10, 50)
CATALOG = 7_000
TURNS = 5  # examples of one dialogue
NAMES = {"recall": "R", "ndcg": "nDCG", "hit": "Success", "precision": "P", "map": "AP"}


@dataclass(frozen=True)
class Data:
    """Random rankings [n, depth], and the relevant items of each."""

    ranked: IntArray
    relevant: list[IntArray]

    @classmethod
    def random(cls, n: int, depth: int, seed: int = 0) -> Data:
        """Half of the relevant items stand in the ranking."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(CATALOG).astype(np.int32)
        # A run of a shuffled catalogue, from another place for each: distinct, and quick to make.
        start = rng.integers(0, CATALOG, (n, 1))
        ranked = order[(start + np.arange(depth)) % CATALOG]
        relevant = [
            order[(s + rng.choice(2 * depth, rng.integers(1, 6), replace=False)) % CATALOG]
            for s in start[:, 0]
        ]
        return cls(ranked, relevant)

    def first(self, n: int) -> Data:
        """The first ``n`` of them."""
        return Data(self.ranked[:n], self.relevant[:n])


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The shortest of some runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def beside(data: Data, repeats: int) -> dict[str, Any]:
    """The time of ir-measures and ours, and how far the values are apart."""
    import ir_measures as ir

    depth = data.ranked.shape[1]
    run = {
        str(q): {f"d{item}": float(depth - place) for place, item in enumerate(row)}
        for q, row in enumerate(data.ranked.tolist())
    }
    qrels = {
        str(q): {f"d{item}": 1 for item in row.tolist()} for q, row in enumerate(data.relevant)
    }
    named = {f"{name}@{k}": getattr(ir, m) @ k for name, m in NAMES.items() for k in KS}
    with_mrr = named | {f"mrr@{k}": ir.RR @ k for k in KS}
    ours = scores(data.ranked, data.relevant, KS)
    theirs = ir.calc_aggregate(list(with_mrr.values()), qrels, run)
    apart = max(abs(float(theirs[m]) - ours[name].mean()) for name, m in with_mrr.items())
    own = seconds(lambda: scores(data.ranked, data.relevant, KS), 5 * repeats)
    out: dict[str, Any] = {"n": len(data.relevant), "ours": own, "apart": float(apart)}
    for name, measures in (("ir_measures", with_mrr), ("ir_measures_without_mrr", named)):
        listed = list(measures.values())
        out[name] = seconds(lambda m=listed: ir.calc_aggregate(m, qrels, run), repeats)  # type: ignore[misc]
    return out


def alone(data: Data, repeats: int) -> dict[str, float]:
    """Seconds for all the rankings."""
    rng = np.random.default_rng(1)
    n = len(data.relevant)
    dialogues = np.arange(n) // TURNS
    features = rng.random((CATALOG, 30)) * (rng.random((CATALOG, 30)) < 0.1)
    counts = rng.integers(0, 500, CATALOG)
    top, other = data.ranked[:, :10], np.roll(data.ranked[:, :10], 3, axis=1)
    values = scores(data.ranked, data.relevant, KS)
    work: dict[str, Callable[[], Any]] = {
        f"6 metrics at k = {', '.join(map(str, KS))}": lambda: scores(
            data.ranked, data.relevant, KS
        ),
        "95 % intervals of them, over dialogues": lambda: mean_intervals(values, dialogues),
        "one paired test": lambda: paired(values["ndcg@10"], values["mrr@10"], dialogues),
        "coverage and Gini": lambda: (coverage(data.ranked, CATALOG), gini(data.ranked, CATALOG)),
        "novelty": lambda: novelty(data.ranked, counts),
        "intra-list diversity of the first 10": lambda: intra_list_diversity(top, features),
        "rank-biased overlap of the first 10": lambda: rbo(top, other),
    }
    return {name: seconds(one, repeats) for name, one in work.items()}


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000, help="rankings")
    parser.add_argument("--depth", type=int, default=100, help="items of each")
    parser.add_argument("--beside", type=int, default=2_000, help="rankings for ir-measures too")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    data = Data.random(args.n, args.depth)
    figures: dict[str, Any] = {"n": args.n, "depth": args.depth}
    if find_spec("ir_measures") is None:
        print("ir-measures is not installed: run pip install ir-measures to compare with it\n")
    else:
        found = figures["beside"] = beside(data.first(args.beside), args.repeats)
        print(f"{found['n']:,} rankings of {args.depth}, k = {', '.join(map(str, KS))}\n")
        print("| | seconds | ratio |\n|---|---|---|")
        for name in ("ours", "ir_measures", "ir_measures_without_mrr"):
            ratio = found[name] / found["ours"]
            print(f"| {name.replace('_', ' ')} | {found[name]:.4f} | {ratio:.1f} |")
        print(f"\nthe means are {found['apart']:.1e} apart at most\n")
    figures["seconds"] = alone(data, args.repeats)
    print(f"{args.n:,} rankings of {args.depth}, ours\n\n| | seconds |\n|---|---|")
    for name, value in figures["seconds"].items():
        print(f"| {name} | {value:.2f} |")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
