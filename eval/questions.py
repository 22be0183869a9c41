"""Write a set of questions with known answers over a catalogue: training, validation and test.

    python eval/questions.py --catalog embedded --n 2000 --out data/questions/embedded --seed 0
    python eval/questions.py --catalog films.jsonl --map description=extract --out data/films-asked

The catalogue is a folder that was built before, or a file to build one from. The same catalogue,
number and seed give the same files. Nobody who develops a system reads test.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.evaluation.questions import questions_of, write_questions
from llmrec.folders import public_name
from llmrec.options import script
from llmrec.types import LANGUAGES

READERS = {
    ".jsonl": Catalog.from_jsonl,
    ".gz": Catalog.from_jsonl,
    ".csv": Catalog.from_csv,
    ".tsv": Catalog.from_csv,
    ".parquet": Catalog.from_parquet,
}


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--catalog", default="embedded", help=f"'embedded', a folder, or {', '.join(READERS)}")
    add("--map", nargs="+", default=[], metavar="FIELD=COLUMN", help="for a file, as from_jsonl")
    add("--n", type=int, default=2000, help="how many questions")
    add("--languages", nargs="+", default=list(LANGUAGES), choices=LANGUAGES)
    add("--seed", type=int, default=0)
    add("--out", type=Path, required=True)
    return parser


def open_catalog(name: str, pairs: Sequence[str] = ()) -> Catalog:
    """The embedded catalogue, one built before, or one built from a file."""
    if name == "embedded":
        return Catalog.embedded()
    path = Path(name)
    if path.suffix not in READERS or not path.is_file():
        return Catalog.open(path)
    if odd := [p for p in pairs if "=" not in p]:
        raise InputError(f"--map has {odd[0]!r}: write FIELD=COLUMN, as description=extract")
    mapping = dict(p.split("=", 1) for p in pairs)
    return READERS[path.suffix](path, mapping=mapping or None)


@script("questions")
def main(argv: Sequence[str] | None = None) -> int:
    """Generate and write; 0 when done, 1 if it cannot be done."""
    args = make_parser().parse_args(argv)
    catalog = open_catalog(args.catalog, args.map)
    made = questions_of(catalog, args.n, args.seed, args.languages, say=_say)
    about = {
        "catalogue": f"`{public_name(args.catalog)}`, {len(catalog):,} items, fingerprint "
        f"`{catalog.fingerprint[:16]}`",
        "seed": str(args.seed),
        "license": "that of the catalogue",
    }
    write_questions(made, args.out, about)
    print(f"{args.out}: {len(made):,} questions; README.md says how many of which kind")
    return 0


def _say(text: str) -> None:
    print(f"questions: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
