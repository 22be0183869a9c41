"""Measure the Router on messages with their routes: accuracy, confusion and calibration.

    python eval/routing.py
    python eval/routing.py --part dev --errors 20

Intervals are Wilson's, of 95 %. The messages of the part "test" were written by somebody who did
not see those that the router was learned from, and are never shown; those of "dev" may be. The
part "dev2" has the writer of half of what the router was learned from, so it is kinder. Each user
message of a conversation is routed in turn, and the last one counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.lexicon import Lexicon
from llmrec.metrics.calibration import ece
from llmrec.metrics.significance import wilson
from llmrec.options import script
from llmrec.routing import ROUTES, Classifier, Route, Router, Turn
from llmrec.types import LANGUAGES

FOLDER = Path(__file__).parent / "messages"
THIS_YEAR = 2026


@dataclass(frozen=True)
class Case:
    """A conversation, and what its last message is."""

    id: str
    language: str
    route: str
    messages: tuple[dict[str, Any], ...]

    @property
    def text(self) -> str:
        """What was said."""
        return " || ".join(m["content"] for m in self.messages)


def read_cases(folder: Path, part: str) -> list[Case]:
    """The cases of a part, of all languages. Raises InputError: a file is absent or misshapen."""
    cases = []
    for language in LANGUAGES:
        file = folder / f"routes-{part}-{language}.jsonl"
        if not file.exists():
            raise InputError(f"{file} is absent: give the folder of the messages")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                messages = tuple(row["messages"])
                if row["route"] not in ROUTES or messages[-1]["role"] != "user":
                    raise ValueError(f"route {row['route']!r}, last {messages[-1]['role']!r}")
                cases.append(Case(row["id"], language, row["route"], messages))
            except (ValueError, KeyError, TypeError, IndexError) as e:
                raise InputError(f"{file}, line {number} is no case ({e!r})") from None
    return cases


def route_cases(
    router: Router, lexicon: Lexicon, ids: Sequence[str], cases: Sequence[Case]
) -> list[Route]:
    """The route of each last message; those before are routed by the classifier alone.

    Parameters
    ----------
    ids: of any items; they stand for those on display, of which only the number counts.
    """
    before = Router()
    turns = []
    for case in cases:
        shown, previous, display = 0, "", 0
        for m in case.messages:
            if m["role"] == "assistant":
                shown = len(m.get("items", ()))
                display = shown or display
                continue
            marked = lexicon.mark(m["content"], tuple(ids[:display]))
            turn = Turn(marked, case.language, shown, previous)
            if m is not case.messages[-1]:
                previous = before.route_many([turn])[0].kind
        turns.append(turn)
    return router.route_many(turns)


def measure(cases: Sequence[Case], routes: Sequence[Route]) -> dict[str, Any]:
    """Accuracy by language and class, confusion by language, and calibration."""
    right = [c.route == r.kind for c, r in zip(cases, routes, strict=True)]
    rows = []
    for language in (*LANGUAGES, "all"):
        for route in (*ROUTES, "all"):
            own = [
                hit
                for c, hit in zip(cases, right, strict=True)
                if language in (c.language, "all") and route in (c.route, "all")
            ]
            low, high = wilson(sum(own), len(own))
            rows.append(
                {"language": language, "route": route, "n": len(own), "right": sum(own),
                 "accuracy": round(sum(own) / max(len(own), 1), 4),
                 "interval": [round(low, 4), round(high, 4)]}
            )  # fmt: skip
    confusion = {
        language: [
            [
                sum(
                    c.language == language and c.route == gold and r.kind == said
                    for c, r in zip(cases, routes, strict=True)
                )
                for said in ROUTES
            ]
            for gold in ROUTES
        ]
        for language in LANGUAGES
    }
    sure = [r.confidence for r in routes]
    return {
        "accuracy": rows,
        "confusion": confusion,
        "ece": round(ece(sure, [float(hit) for hit in right]), 4),
        "mean_confidence": round(float(np.mean(sure)), 4),
    }


def show(figures: dict[str, Any]) -> None:
    """Print what was measured."""
    print(f"{'lang':4} {'route':12} {'n':>5} {'right':>5}  accuracy  95 %")
    for r in figures["accuracy"]:
        low, high = r["interval"]
        print(f"{r['language']:4} {r['route']:12} {r['n']:>5} {r['right']:>5}  "
              f"{r['accuracy']:.3f}     {low:.3f}-{high:.3f}")  # fmt: skip
    for language, table in figures["confusion"].items():
        print(f"\n{language}: rows are true, columns said")
        print(" " * 13 + " ".join(f"{r[:9]:>9}" for r in ROUTES))
        for route, line in zip(ROUTES, table, strict=True):
            print(f"{route:13}" + " ".join(f"{n:>9}" for n in line))
    print(f"\nECE {figures['ece']:.3f}, mean confidence {figures['mean_confidence']:.3f}")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("test", "dev", "dev2"), default="test")
    parser.add_argument("--messages", type=Path, default=FOLDER, help="folder of the messages")
    parser.add_argument("--router", type=Path, help="folder of other weights than the shipped ones")
    parser.add_argument("--model", help="Hub id or folder of a model that shall decide")
    parser.add_argument("--errors", type=int, default=0, help="show so many errors, but of test")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser


@script("routing")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done."""
    args = make_parser().parse_args(argv)
    cases = read_cases(args.messages, args.part)
    classifier = Classifier.load(args.router) if args.router else None
    router = Router(classifier=classifier)
    if args.model:
        from llmrec.models.local import LocalModel

        model = LocalModel.from_pretrained(args.model)
        router = Router(model, lead="model", classifier=classifier)
    catalog = Catalog.embedded()
    lexicon = Lexicon(iter(catalog), this_year=THIS_YEAR)
    routes = route_cases(router, lexicon, catalog.ids, cases)
    figures = measure(cases, routes)
    show(figures)
    wrong = [(c, r) for c, r in zip(cases, routes, strict=True) if c.route != r.kind]
    for case, route in wrong[: args.errors] if args.part != "test" else ():
        print(f"{case.id} {case.route} read as {route.kind} ({route.confidence:.2f}): {case.text}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
