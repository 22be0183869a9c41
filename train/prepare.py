"""Prepare a published data set: one folder that llmrec and ``datasets.load_dataset`` read.

    python train/prepare.py redial ../shared/data/redial --out data/redial

    python train/prepare.py redial ../shared/data/redial --out data/films --only items \
        --facts embedded ../shared/data/wikipedia-movies/movies.jsonl.gz --catalog data/films.lance

Kill it and run it again: it goes on after the last whole file, and what comes out is the same.
`docs/data.md` tells for each format which files are expected and what is left out.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmrec.catalog import Catalog
from llmrec.datasets import FORMATS, Source, load
from llmrec.datasets.facts import Facts, WithFacts
from llmrec.datasets.folder import Folder, write
from llmrec.datasets.rows import FILE_FORMATS, TABLES
from llmrec.errors import InputError
from llmrec.hub import push_folder, ready_to_push
from llmrec.options import script


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reader", choices=sorted(FORMATS), help="the format of the data")
    parser.add_argument("path", type=Path, help="the file or folder that holds it, as published")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the reader, as often as wanted; the value is JSON or a text",
    )
    parser.add_argument("--seed", type=int, help="the reader's option seed or split_seed")
    parser.add_argument("--format", choices=FILE_FORMATS, default="parquet")
    parser.add_argument("--only", choices=TABLES, help="write only the examples or the items")
    parser.add_argument(
        "--limit", type=int, help="at most so many examples of a split (items if there are none)"
    )
    parser.add_argument("--shard-rows", type=int, default=50_000, help="rows of a file")
    parser.add_argument(
        "--restart", action="store_true", help="begin anew, also where the folder is there"
    )
    parser.add_argument(
        "--facts",
        nargs="+",
        metavar="FILE",
        help="tables that know more of the items, the first believed most: JSON lines, CSV, "
        "Parquet, a catalogue, a prepared folder, or the word embedded",
    )
    parser.add_argument(
        "--facts-mapping",
        default="{}",
        metavar="JSON",
        help='which columns of these files are named otherwise: {"title": "name"}',
    )
    parser.add_argument("--catalog", type=Path, help="build a catalogue of the items here")
    parser.add_argument("--push-to-hub", metavar="USER/NAME", help="push the folder to the Hub")
    parser.add_argument("--private", action="store_true", help="as a private data set")
    return parser


def options_of(reader: str, pairs: Sequence[str], seed: int | None) -> dict[str, Any]:
    """The reader's options. Raises InputError."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name and sign):
            raise InputError(f"--option was given {pair!r}: write --option NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    if seed is not None:
        made = getattr(importlib.import_module(f"llmrec.datasets.{reader}"), FORMATS[reader])
        known = inspect.signature(made).parameters
        options["split_seed" if "split_seed" in known else "seed"] = seed
    return options


def source_of(args: argparse.Namespace, options: dict[str, Any]) -> Source:
    """The data set, with facts if there are to be any. Raises InputError."""
    source = load(args.reader, args.path, **options)
    try:
        mapping = json.loads(args.facts_mapping)
    except ValueError:
        mapping = None
    if not isinstance(mapping, dict) or not all(isinstance(c, str) for c in mapping.values()):
        raise InputError(
            f"--facts-mapping was given {args.facts_mapping!r}: write it as JSON, "
            '\'{"title": "its column"}\''
        )
    if not args.facts:
        if mapping:
            raise InputError("--facts-mapping is of no use without --facts: give the tables")
        return source
    if args.only == "examples" or not source.item_splits:
        raise InputError("facts are about items, and none are to be written: leave --facts out")
    return WithFacts(source, Facts(args.facts, mapping=mapping))


def build_catalog(folder: Folder, path: Path) -> None:
    """Build a catalogue of all items of the folder, and say what became of them."""
    splits = folder.splits["items"]
    if not splits:
        raise InputError(f"{folder.path} has no items: a catalogue needs some")
    items = (item for split in splits for item in folder.items(split))
    report = Catalog.from_items(items, path, progress=True).report
    print(f"{path}: {report.kept:,} items, {report.dropped:,} left out")
    for problem in report.problems[:3]:
        print(f"  item {problem.line}: {problem.reason}")


def run(args: argparse.Namespace) -> None:
    """Do what the options say. Raises LLMRecError."""
    options = options_of(args.reader, args.option, args.seed)
    if args.push_to_hub:
        ready_to_push(args.push_to_hub, kind="dataset")
    summary = write(
        source_of(args, options),
        args.out,
        path=args.path,
        options=options,
        format=args.format,
        tables=(args.only,) if args.only else TABLES,
        shard_rows=args.shard_rows,
        limit=args.limit,
        restart=args.restart,
    )
    print(summary)
    if args.catalog:
        build_catalog(summary.folder, args.catalog)
    if args.push_to_hub:
        private = args.private or None
        print(push_folder(args.out, args.push_to_hub, kind="dataset", private=private))
    if any(summary.folder.counts.get("examples", {}).values()):
        print(f"next: python train/lora.py --config embedded --data {args.out} --out runs/NAME")


@script("prepare", "the same command goes on from here")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
