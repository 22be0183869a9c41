"""Learn a ranker from prepared conversations, measure it, and keep it as plain arrays.

    python train/prepare.py redial ../shared/data/redial --out data/redial
    python train/ranker.py --data data/redial --out runs/ranker

    python train/ranker.py --data data/redial --model runs/redial --out runs/redial

With --model the ranker also learns how much the opinion of that model counts. In the folder of an
adapter or a model it is found by Recommender.from_pretrained. Nothing is written before the end.
`docs/ranking.md` is the guide.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from llmrec.errors import InputError
from llmrec.hub import push_folder, ready_to_push
from llmrec.options import script
from llmrec.training.ranking import RankerOptions, learn, save


def make_parser() -> argparse.ArgumentParser:
    """The options; those of RankerOptions are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    RankerOptions.add_flags(parser)
    return parser


def run(options: RankerOptions) -> None:
    """Do what the options say. Raises LLMRecError."""
    if options.push_to_hub and options.encoder and Path(options.encoder).is_dir():
        raise InputError(
            f"the encoder is the folder {options.encoder}, which others do not have: name it as "
            "the Hub does, or leave --push-to-hub out"
        )
    if options.push_to_hub:
        ready_to_push(options.push_to_hub)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    learned = learn(options, progress=True)
    folder, ranker = save(options, learned), learned.ranker
    said = "{items:,} items, {examples:,} recommendations in {dialogues:,} dialogues"
    print(f"{folder}: {said.format(**ranker.facts)}, {learned.seconds / 60:.1f} minutes")
    if learned.shares:
        first, second = learned.shares
        print(
            f"the model counts {ranker.model_share:.2f}; by either half of the validation "
            f"dialogues {first:.2f} and {second:.2f}, each measured on the other"
        )
    if learned.rows:
        print(learned.table)
    if options.push_to_hub:
        left = ("checkpoints/*", "tensorboard/*", "trackio/*")
        private = options.private or None
        print(push_folder(options.out, options.push_to_hub, private=private, ignore=left))


@script("ranker", "nothing was written")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    run(RankerOptions.from_flags(vars(args)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
