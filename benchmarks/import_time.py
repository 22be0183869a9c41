"""Measure what ``import llmrec`` costs: time over a bare interpreter, and the modules it loads.

    python benchmarks/import_time.py
    python benchmarks/import_time.py --repeats 50 --statement "from llmrec import Recommender"

Each repeat starts two fresh interpreters, one that imports and one that does not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20, help="pairs of interpreters started")
    parser.add_argument("--statement", default="import llmrec", help="what is measured")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser


def seconds(code: str) -> float:
    """How long a fresh interpreter takes for ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
    return time.perf_counter() - start


def loaded(statement: str) -> list[str]:
    """Top-level modules outside the standard library that ``statement`` loads."""
    code = f"import sys; had = {{*sys.modules}}\n{statement}\nprint(*({{*sys.modules}} - had))"
    run = [sys.executable, "-c", code]
    out = subprocess.run(run, check=True, capture_output=True, text=True)  # noqa: S603
    roots = {name.partition(".")[0] for name in out.stdout.split()}
    return sorted(roots - sys.stdlib_module_names)


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    seconds(args.statement)  # the first one writes the byte code
    pairs = [(seconds(args.statement), seconds("pass")) for _ in range(args.repeats)]
    costs = sorted(1000 * (whole - bare) for whole, bare in pairs)
    figures = {
        "statement": args.statement,
        "repeats": args.repeats,
        "median_ms": round(statistics.median(costs), 1),
        "best_ms": round(costs[0], 1),
        "worst_ms": round(costs[-1], 1),
        "bare_interpreter_median_ms": round(1000 * statistics.median(b for _, b in pairs), 1),
        "loads": loaded(args.statement),
    }
    print(f"{args.repeats} pairs of fresh interpreters\n\n| | ms |\n|---|---:|")
    for name in ("median", "best", "worst"):
        print(f"| `{args.statement}` over a bare interpreter, {name} | {figures[f'{name}_ms']} |")
    print(f"| a bare interpreter, median | {figures['bare_interpreter_median_ms']} |")
    print(f"\nIt loads: {', '.join(figures['loads'])}.")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
