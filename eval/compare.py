"""Compare runs of eval/run.py over the same examples: one table, paired tests, slices and a plot.

    python eval/compare.py runs/zero-shot runs/tuned --out runs/compared
    python eval/compare.py runs/a runs/b runs/c --metric recall@10 ndcg@10 --all-pairs --baselines

Each run is tested against the first one, by a paired bootstrap over dialogues; the p-values are
corrected by Holm's rule over all tests shown. Runs over different examples are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from llmrec.evaluation.comparing import compare, save
from llmrec.options import script


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of eval/run.py")
    parser.add_argument("--out", type=Path, help="write compare.md, .html, .json and .png there")
    parser.add_argument("--metric", nargs="+", default=["recall@10"], help="to test")
    parser.add_argument("--targets", choices=("new", "all"), default="new")
    parser.add_argument("--baselines", action="store_true", help="those of the first run too")
    parser.add_argument("--common", action="store_true", help="the examples that all runs have")
    parser.add_argument("--all-pairs", action="store_true", help="test each against each")
    return parser


@script("compare")
def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print; 0 when done, 1 if the runs cannot be compared."""
    args = make_parser().parse_args(argv)
    found = compare(
        args.runs,
        metrics=args.metric,
        targets=args.targets,
        baselines=args.baselines,
        common=args.common,
        all_pairs=args.all_pairs,
    )
    print(found.markdown())
    if args.out:
        print(f"\nwritten: {', '.join(str(f) for f in save(found, args.out))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
