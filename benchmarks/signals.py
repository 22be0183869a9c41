"""Measure what each signal of the learned ranker is worth: with all of them, and without each.

    python benchmarks/signals.py --data data/redial
    python benchmarks/signals.py --data data/redial --without network --limit 500

Each row is a ranker of its own, learned from the training part and measured on the validation
part: Recall over new targets, as `eval/run.py` counts it, with 95 % intervals over dialogues. The
difference is that to all signals, with a paired interval.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.datasets.folder import Folder
from llmrec.folders import write_whole
from llmrec.metrics.ranking import padded, scores
from llmrec.metrics.significance import mean_intervals, paired
from llmrec.options import script
from llmrec.ranker import LearnedRanker
from llmrec.ranker.learned import GROUPS
from llmrec.types import Example

KS = (1, 10, 50)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="from train/prepare.py")
    parser.add_argument("--without", nargs="+", choices=tuple(GROUPS), help="rows (default: all)")
    parser.add_argument("--encoder", help="a sentence encoder, for the signals of meaning")
    parser.add_argument("--limit", type=int, help="training examples at most")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


def measured(ranker: LearnedRanker, examples: Sequence[Example]) -> dict[str, Any]:
    """Targets found by each example at each depth, and how many it has."""
    row_of = ranker.row_of
    known = [set(e.conversation.mentioned) for e in examples]
    wanted = [
        np.array([row_of[i] for i in dict.fromkeys(e.relevant) if i in row_of and i not in k])
        for e, k in zip(examples, known, strict=True)
    ]
    kept = [n for n, w in enumerate(wanted) if w.size]
    ranked = ranker.rank([examples[n].conversation for n in kept], max(KS))
    targets = [wanted[n] for n in kept]
    found = scores(padded([r.rows for r in ranked], max(KS)), targets, KS)
    return {
        **{f"recall@{k}": found[f"found@{k}"] for k in KS},
        "targets": np.array([len(t) for t in targets], dtype=float),
        "groups": [examples[n].dialogue or examples[n].id for n in kept],
    }


def figures(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for all signals, then one without each. Raises LLMRecError."""
    folder = Folder.open(args.data)
    training = list(folder.examples("train"))[: args.limit]
    held_out, items = list(folder.examples("validation")), list(folder.items())
    chosen = args.without or [g for g in GROUPS if g != "meaning" or args.encoder]
    rows: list[dict[str, Any]] = []
    whole: dict[str, Any] = {}
    for group in (None, *chosen):
        start = time.perf_counter()
        ranker = LearnedRanker.fit(
            training,
            items,
            seed=args.seed,
            folds=args.folds,
            without=[group] if group else [],
            encoder=None if group == "meaning" else args.encoder,
            progress=True,
        )
        seconds = time.perf_counter() - start
        made = measured(ranker, held_out)
        whole = whole or made
        weights, groups = made["targets"], made["groups"]
        found = mean_intervals(
            {n: v for n, v in made.items() if n.startswith("recall")}, groups, weights=weights
        )
        row: dict[str, Any] = {"signals": f"without {group}" if group else "all"}
        row |= {name: interval.to_dict() for name, interval in found.items()}
        if group:
            row["difference@10"] = paired(
                made["recall@10"], whole["recall@10"], groups, weights=weights
            ).to_dict()
        row |= {"targets": int(weights.sum()), "examples": len(groups), "fit_seconds": seconds}
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [row["signals"]]
    for k in KS:
        r = row[f"recall@{k}"]
        cells.append(f"{r['value']:.3f} ({r['low']:.3f}-{r['high']:.3f})")
    d = row.get("difference@10")
    cells.append(f"{d['difference']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f})" if d else "")
    return f"| {' | '.join([*cells, format(row['fit_seconds'], '.0f')])} |"


@script("signals")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done, 1 if something cannot be read."""
    args = make_parser().parse_args(argv)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    print("| signals | Recall@1 | Recall@10 | Recall@50 | Recall@10, difference | s |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = figures(args)
    n = rows[0]
    print(f"\n{n['targets']:,} new targets of {n['examples']:,} turns; 95 % over dialogues")
    if args.json:
        write_whole(args.json, json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
