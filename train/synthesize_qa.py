"""Write question-answer pairs about the items of a catalogue with a language model as the teacher.

    python train/synthesize_qa.py --limit 50 --languages en pt es --out qa.jsonl
    python train/synthesize_qa.py --items films.jsonl --teacher http://127.0.0.1:8000/v1 --dry-run

Every pair is held against its item's record, and is left out where the record does not bear it.
Kill it and run it again: it goes on where it was. A key for a server is read from LLMREC_API_KEY.
The embedded teacher only chooses what is asked about; its sentences are templates.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmrec.building import read_parquet
from llmrec.catalog import Catalog
from llmrec.errors import InputError, LLMRecError
from llmrec.folders import write_whole
from llmrec.models import Endpoint, LanguageModel, LocalModel
from llmrec.records import flaw, read_csv, read_jsonl
from llmrec.training.synthesis import (
    Estimate,
    SynthesisConfig,
    SynthesisReport,
    estimate,
    synthesize,
)
from llmrec.types import LANGUAGES, Item

READERS = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}
MAX_SHOWN = 20


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, default = parser.add_argument, SynthesisConfig()
    add("--items", type=Path, help=f"catalogue folder or {', '.join(READERS)}; none: embedded")
    add("--teacher", default="embedded", help="'embedded', a Hub id or folder, or an address")
    add("--teacher-model", help="which model of a server with several")
    add("--concurrency", type=int, default=4, help="requests under way together, to a server")
    add("--per-item", type=int, default=default.per_item, help="pairs of an item and language")
    add("--languages", nargs="+", default=["en"], choices=LANGUAGES)
    add("--detail", choices=("full", "brief"), help="free pairs or chosen fields; none: by teacher")
    add("--temperature", type=float, default=default.temperature)
    add("--batch-size", type=int, default=default.batch_size)
    add("--limit", type=int, help="only the first items")
    add("--seed", type=int, default=default.seed)
    add("--price-in", type=float, help="of a million tokens of prompts")
    add("--price-out", type=float, help="of a million tokens of answers")
    add("--dry-run", action="store_true", help="only say what it would take")
    add("--out", type=Path, default=Path("qa.jsonl"))
    return parser


def load_teacher(name: str, model: str | None = None, concurrency: int = 4) -> LanguageModel:
    """The teacher that a name means."""
    if name.startswith(("http://", "https://")):
        return Endpoint(name, model=model, concurrency=concurrency)
    return LocalModel.from_pretrained(None if name == "embedded" else name)


def read_items(source: Path | None) -> Iterator[Item]:
    """The items of a catalogue or a file; a row that cannot be used is told of and left out."""
    if source is None or source.is_dir():
        yield from Catalog.embedded() if source is None else Catalog.open(source)
        return
    if source.suffix not in READERS:
        raise InputError(f"{source} cannot be read: give a catalogue or {', '.join(READERS)}")
    bad = 0
    for line, row in READERS[source.suffix](source, None, False):
        problem = row if isinstance(row, str) else flaw(row)
        if problem is None and isinstance(row, Item):
            yield row
            continue
        bad += 1
        if bad <= MAX_SHOWN:
            print(f"{source}:{line} is left out: {problem}", file=sys.stderr)
    if bad:
        print(f"{bad:,} rows of {source} were left out", file=sys.stderr)


def told(e: Estimate) -> str:
    """An estimate as one line."""
    cost = "" if e.cost is None else f"; cost about {e.cost:,.2f}"
    return (
        f"{e.items:,} items, {e.tasks:,} prompts: about {e.prompt_tokens:,} prompt tokens and "
        f"{e.completion_tokens:,} of answers (at most {e.most_completion_tokens:,}), counted "
        f"{e.counted}{cost}"
    )


def write_report(args: argparse.Namespace, report: SynthesisReport) -> None:
    """Put the options and what came of them beside the pairs."""
    path = args.out.with_name(args.out.name + ".report.json")
    options = {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()}
    write_whole(path, json.dumps({"options": options, "report": report.to_dict()}, indent=1))


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 with a sentence on stderr when it cannot be."""
    args = make_parser().parse_args(argv)
    try:
        config = SynthesisConfig(
            per_item=args.per_item,
            languages=tuple(dict.fromkeys(args.languages)),
            seed=args.seed,
            temperature=args.temperature,
            detail=args.detail,
            batch_size=args.batch_size,
        )
        items = list(itertools.islice(read_items(args.items), args.limit))
        if not items:
            raise InputError("there is no item to ask about: give --items with some")
        teacher = load_teacher(args.teacher, args.teacher_model, args.concurrency)
        prices = {"price_in": args.price_in, "price_out": args.price_out}
        print(told(estimate(items, teacher, config, **prices)), file=sys.stderr)
        if args.dry_run:
            return 0
        report = synthesize(items, teacher, args.out, config, progress=True)
        write_report(args, report)
    except (LLMRecError, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    print(json.dumps(report.to_dict(), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
