"""Print Recall@k of models on prepared conversations, beside the popularity baseline.

    python eval/recall.py --data data/redial
    python eval/recall.py --data data/redial --model embedded runs/redial --json figures.json

The figure is of the model alone: its exact ranking of the data set's whole catalogue, without
filters and other signals. A model is a Hub id or folder, of an adapter too, or 'embedded'.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from llmrec.catalog import Catalog
from llmrec.datasets.folder import Folder
from llmrec.errors import LLMRecError
from llmrec.evaluation import Recall, popular_rankings, recall
from llmrec.models.local import LocalModel
from llmrec.recommender import Recommender
from llmrec.types import Example


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="from train/prepare.py")
    parser.add_argument("--split", default="validation", help="part of it (default: validation)")
    parser.add_argument("--model", nargs="+", default=["embedded"], metavar="NAME")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--limit", type=int, help="examples at most")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


def figures(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each system, with all targets and with the new ones only. Raises LLMRecError."""
    folder = Folder.open(args.data)
    catalog = Catalog.from_items(folder.items())
    examples = list(islice(folder.examples(args.split), args.limit))
    rows: list[dict[str, Any]] = []
    for name in args.model:
        model = LocalModel.from_pretrained(None if name == "embedded" else name)
        recommender = Recommender(model, catalog)
        for new_only in (False, True):
            if name == args.model[0]:
                rows.append(baseline(recommender, examples, args.k, new_only))
            found = recall(recommender, examples, k=args.k, new_only=new_only, progress=True)
            rows.append({"system": name, **found.to_dict()})
    return rows


def baseline(
    recommender: Recommender, examples: Sequence[Example], k: int, new_only: bool
) -> dict[str, Any]:
    """What recommending the most popular items gives."""
    ranked = popular_rankings(recommender, examples, k, new_only=new_only)
    found: Recall = recall(recommender, examples, ranked, k=k, new_only=new_only)
    return {"system": "popularity", **found.to_dict()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done, 1 if something cannot be read."""
    args = make_parser().parse_args(argv)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    try:
        rows = figures(args)
    except LLMRecError as e:
        print(f"recall: {e}", file=sys.stderr)
        return 1
    print(f"\n{'targets':8} {'system':32} Recall@{args.k}  95 %           examples  targets")
    for r in sorted(rows, key=lambda r: r["new_only"]):
        kind = "new" if r["new_only"] else "all"
        print(
            f"{kind:8} {r['system']:32} {r['value']:.4f}     {r['low']:.4f}-{r['high']:.4f}  "
            f"{r['n']:8,} {r['targets']:8,}"
        )
    print(f"catalogue {rows[0]['catalog']:,} items; intervals by bootstrap over dialogues")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
