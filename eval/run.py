"""Measure a recommender on held-out conversations, and write a folder with figures and reports.

    python eval/run.py --data data/redial --out runs/eval/embedded --limit 200
    python eval/run.py --data data/redial --baseline co-occurrence --out runs/eval/co-occurrence

    torchrun --nproc_per_node 2 eval/run.py --data data/redial --model runs/redial \\
        --strategy fine-tuned --out runs/eval/tuned

    python eval/run.py --data data/redial --model http://127.0.0.1:8000/v1 --out runs/eval/chosen

Kill it and run it again: it goes on where it was, and gives the same numbers. Beside every run
stand four baselines on the same examples. `docs/evaluation.md` is the guide.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llmrec.evaluation.choice_report import tell
from llmrec.evaluation.options import RunOptions
from llmrec.evaluation.running import Share, run
from llmrec.options import script


def make_parser() -> argparse.ArgumentParser:
    """The options; those of RunOptions are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    RunOptions.add_flags(parser)
    return parser


@script("run", "the same command goes on where it was")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    options = RunOptions.from_flags(vars(args))
    folder = run(options)
    if options.noted and Share.of_environment().rank == 0:
        print(tell(folder))
    print(f"{folder}: report.md and report.html, figures in metrics.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
