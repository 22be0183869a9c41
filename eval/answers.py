"""Measure answers to questions about a catalogue, several systems side by side.

    python eval/answers.py --questions data/questions/validation.jsonl --out runs/answers
    python eval/answers.py --questions data/questions/test.jsonl --adapter runs/qa \\
        --trained-on data/questions/train.jsonl --systems retrieval tuned alone nearest-title

Kill it and run it again: it goes on where it was, and gives the same files but for the seconds.
`docs/answers.md` is the guide.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llmrec.evaluation.answers import AnswerOptions, run
from llmrec.options import script


def make_parser() -> argparse.ArgumentParser:
    """The options; those of AnswerOptions are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    AnswerOptions.add_flags(parser)
    return parser


@script("answers", "the same command goes on")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    folder = run(AnswerOptions.from_flags(vars(args)))
    print((folder / "report.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
