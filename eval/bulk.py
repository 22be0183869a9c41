"""Recommend for many conversations: a table of them in, a folder of tables of recommendations out.

    python eval/bulk.py --input talks.parquet --out runs/bulk
    python eval/bulk.py --input talks.jsonl --out runs/bulk --processes 2 --k 10

    torchrun --nproc_per_node 2 eval/bulk.py --input talks.parquet --out runs/bulk
    python eval/bulk.py --input talks.parquet --out runs/bulk --ray --processes 2

Kill it and run it again: it goes on where it was, and gives the same bytes. `docs/bulk.md` is the
guide.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from llmrec.bulk import BulkOptions, BulkReport, run, run_processes, run_ray
from llmrec.options import script

OWN = ("processes", "ray")


def make_parser() -> argparse.ArgumentParser:
    """The options; those of BulkOptions are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=1, help="of this machine, or Ray's actors")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="use Ray Data: on the cluster at this address, or on one that is started here",
    )
    BulkOptions.add_flags(parser)
    return parser


@script("bulk", "the same command goes on where it was")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    flags = {name: value for name, value in vars(args).items() if name not in OWN}
    print(spread(BulkOptions.from_flags(flags), args.processes, args.ray))
    return 0


def spread(options: BulkOptions, processes: int, ray: str | None) -> BulkReport:
    """Run in the way that is asked for."""
    if ray is not None:
        return run_ray(options, ray or None, workers=processes)
    return run(options) if processes == 1 else run_processes(options, processes)


if __name__ == "__main__":
    sys.exit(main())
