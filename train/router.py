"""Learn the weights by which the Router tells what a message is, from messages with their routes.

    python train/router.py
    python train/router.py --out runs/router --errors 20

The messages are eval/messages/routes-train-*.jsonl and, as wishes, the development messages of
understanding. Each is learned in several versions: as it was written, with the names in it marked
or replaced by others, without accents, and in other places of a conversation. Cross-validation
holds out whole groups of messages that share an idea, in all languages at once. The same
messages give the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.folders import write_whole
from llmrec.lexicon import Lexicon, Marked, Span
from llmrec.options import script
from llmrec.routing import FILE, ROUTES, Turn, features
from llmrec.softmax import Softmax, written_heads
from llmrec.titles import fold
from llmrec.training.softmax import fit, fit_temperature, matrix, scores_of
from llmrec.types import LANGUAGES, Item

MESSAGES = Path(__file__).resolve().parents[1] / "eval" / "messages"
DATA = Path(__file__).resolve().parents[1] / "llmrec" / "data"
THIS_YEAR = 2026  # fixed, so that the files do not change with the calendar
BUCKETS = 1 << 16
PENALTY = 0.08
FOLDS = 5
WISHES_WEIGHT = 0.2  # of a development message of understanding, of which there are many

SHOPS = Item("p", "Quillon Varmast Trelk", price=1.0)  # of a catalogue of products

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """A message with its route.

    Attributes
    ----------
    group: what it shares an idea with; held out together.
    names: items named in the last message, word for word.
    shown: how many items the last turn of the assistant showed.
    """

    id: str
    language: str
    group: str
    route: str
    content: str
    names: tuple[str, ...] = ()
    shown: int = 0
    previous: str = ""
    weight: float = 1.0


def read_examples(folder: Path) -> list[Example]:
    """The messages to learn from. Raises InputError: a file is absent or a line misshapen."""
    found: list[Example] = []
    for language in LANGUAGES:
        for file in [
            folder / f"routes-train-{language}.jsonl",
            *sorted(folder.glob(f"dev*-{language}.jsonl")),
        ]:
            if not file.exists():
                raise InputError(f"{file} is absent: give the folder of the messages")
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    found.append(_example(json.loads(line), language))
                except (ValueError, KeyError, TypeError, IndexError) as e:
                    raise InputError(f"{file}, line {number} is no message ({e!r})") from None
    return found


def _example(row: dict[str, Any], language: str) -> Example:
    messages = row["messages"]
    own = "route" in row
    shown = next((len(m.get("items", ())) for m in messages[::-1] if m["role"] == "assistant"), 0)
    if not own and len(messages) > 1:
        row = {"previous": "recommend", **row}
    return Example(
        row["id"],
        language,
        row["group"] if own else f"wishes-{row['id'].rpartition('-')[2]}",
        row["route"] if own else "recommend",
        messages[-1]["content"],
        tuple(row.get("names", ())),
        shown,
        row.get("previous", ""),
        1.0 if own else WISHES_WEIGHT,
    )


# -- versions of a message ------------------------------------------------------------------------


class Writer:
    """Marks messages, and writes other versions of them."""

    def __init__(self, lexicon: Lexicon, ids: Sequence[str], examples: Iterable[Example]) -> None:
        self._mark = lru_cache(maxsize=None)(lexicon.mark)
        self._shop = Lexicon([SHOPS], this_year=THIS_YEAR)
        self._ids = tuple(ids)
        self._names: dict[str, list[str]] = {language: [] for language in LANGUAGES}
        for e in examples:
            self._names[e.language] += e.names

    def turn(self, e: Example) -> Turn:
        """The message as it is met."""
        marked = self._mark(e.content, self._ids[: e.shown])
        return Turn(marked, e.language, e.shown, e.previous)

    def versions(self, e: Example) -> Iterator[tuple[Turn, float]]:
        """The message and others like it, with how much each counts."""
        rng = random.Random(e.id)
        yield self.turn(e), e.weight
        if e.weight < 1:
            return
        if e.names:
            yield self._named(e), 1.0
            other = self._renamed(e, rng)
            yield self.turn(other), 0.4
            yield self._named(other), 0.4
        if any(c.isdigit() for c in e.content):  # amounts of money are found in shops alone
            priced = dataclasses.replace(self.turn(e), marked=self._shop.mark(e.content))
            yield dataclasses.replace(priced, marked=with_names(priced.marked, e.names)), 0.5
        yield self.turn(dataclasses.replace(e, content=_careless(e.content))), 0.5
        for _ in range(2):
            yield self.turn(_moved(e, rng)), 0.3

    def _named(self, e: Example) -> Turn:
        turn = self.turn(e)
        return dataclasses.replace(turn, marked=with_names(turn.marked, e.names))

    def _renamed(self, e: Example, rng: random.Random) -> Example:
        content, names = e.content, []
        for name in e.names:
            other = rng.choice(self._names[e.language])
            content = content.replace(name, other, 1)
            names.append(other)
        return dataclasses.replace(e, content=content, names=tuple(names))


def with_names(marked: Marked, names: Sequence[str]) -> Marked:
    """The message with ``names`` marked as titles, as a catalogue that has them would do."""
    spans: list[Span] = []
    at = 0
    for name in names:
        start = marked.message.find(name, at)
        if start >= 0:
            at = start + len(name)
            spans.append(Span(start, at, "title", (name,)))
    kept = [s for s in marked.spans if all(s.end <= n.start or s.start >= n.end for n in spans)]
    return Marked(marked.message, tuple(sorted([*kept, *spans], key=lambda s: s.start)), "")


def _careless(text: str) -> str:
    """As it is typed in a hurry: no capitals, no accents, no marks at the end."""
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s,']", "", fold_accents(text.lower()))).strip()


def fold_accents(text: str) -> str:
    """The text without accents; all else stays."""
    return "".join(fold(c) or c if c.isalpha() else c for c in text)


def _moved(e: Example, rng: random.Random) -> Example:
    """The same words in another place of a conversation."""
    if not e.previous and e.shown == 0:
        return dataclasses.replace(e, shown=rng.choice((0, 1, 3)), previous=rng.choice(ROUTES))
    shown = e.shown if e.shown > 1 else rng.choice((0, 1))
    return dataclasses.replace(e, shown=shown, previous=rng.choice(ROUTES))


# -- learning -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What is learned from: a row for each version of each example."""

    rows: Any  # scipy.sparse.csr_matrix [versions, BUCKETS]
    routes: npt.NDArray[np.int64]
    weights: _Floats
    example: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]  # whether the version is the message as it was written

    def part(self, chosen: npt.NDArray[np.bool_]) -> Table:
        """The chosen rows."""
        return Table(*(getattr(self, f.name)[chosen] for f in dataclasses.fields(self)))


def make_table(writer: Writer, examples: Sequence[Example]) -> Table:
    """The versions of the examples as features."""
    texts: list[list[str]] = []
    facts: list[tuple[int, float, int, bool]] = []
    for i, e in enumerate(examples):
        for n, (turn, weight) in enumerate(writer.versions(e)):
            texts.append(features(turn))
            facts.append((ROUTES.index(e.route), weight, i, n == 0))
    rows = matrix(texts, BUCKETS)
    routes, weights, example, first = (np.array(c) for c in zip(*facts, strict=True))
    return Table(rows, routes, weights, example, first)


def fit_routes(table: Table) -> Softmax:
    """The likeliest softmax, each route as heavy as the others."""
    n = len(ROUTES)
    mass = np.bincount(table.routes, table.weights, minlength=n)
    weights = table.weights / mass[table.routes] * mass.sum() / n
    return fit(table.rows, table.routes, ROUTES, weights=weights, penalty=PENALTY)


def cross_validate(table: Table, examples: Sequence[Example], folds: int = FOLDS) -> _Floats:
    """The scores of each example as it was written, by a classifier that saw none of its group."""
    groups = sorted({e.group for e in examples})
    random.Random(0).shuffle(groups)
    fold_of = {group: i % folds for i, group in enumerate(groups)}
    folded = np.array([fold_of[e.group] for e in examples])
    out = np.zeros((len(examples), len(ROUTES)))
    for held in range(folds):
        aside = folded[table.example] == held
        classifier = fit_routes(table.part(~aside))
        met = table.part(aside & table.first)
        out[met.example] = scores_of(classifier, met.rows)
    return out


def save(classifier: Softmax, facts: dict[str, Any], folder: Path) -> None:
    """Write ``FILE`` into a folder, whole or not at all."""
    write_whole(folder / FILE, written_heads({"route": classifier}, facts))


def learn(examples: Sequence[Example], errors: int = 0) -> tuple[Softmax, dict[str, Any]]:
    """Cross-validate, learn from everything, and say how it went."""
    catalog = Catalog.embedded()
    writer = Writer(Lexicon(iter(catalog), this_year=THIS_YEAR), catalog.ids, examples)
    table = make_table(writer, examples)
    scores = cross_validate(table, examples)
    own = np.array([e.weight == 1 for e in examples])
    routes = np.array([ROUTES.index(e.route) for e in examples])
    temperature = fit_temperature(scores[own], routes[own])
    right = scores.argmax(1) == routes
    held_out = {
        language: {
            route: round(float(right[_which(examples, language, route)].mean()), 4)
            for route in ROUTES
        }
        for language in LANGUAGES
    }
    for i in np.flatnonzero(own & ~right)[:errors]:
        e, said = examples[i], ROUTES[int(scores[i].argmax())]
        print(f"{e.id} {e.route} read as {said}: {e.content}")
    facts = {
        "messages": int(own.sum()),
        "wishes": int((~own).sum()),
        "held_out_accuracy": held_out,
    }
    learned = fit_routes(table)
    learned.temperature = temperature
    return learned, facts


def _which(examples: Sequence[Example], language: str, route: str) -> npt.NDArray[np.bool_]:
    return np.array(
        [e.weight == 1 and e.language == language and e.route == route for e in examples]
    )


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=Path, default=MESSAGES, help="folder of the messages")
    parser.add_argument("--out", type=Path, default=DATA, help="folder for the file")
    parser.add_argument("--errors", type=int, default=0, help="show so many held-out errors")
    return parser


@script("router", "nothing was written")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    classifier, facts = learn(read_examples(args.messages), args.errors)
    save(classifier, facts, args.out)
    print(f"{args.out}: learned from {facts['messages']:,} messages and {facts['wishes']:,} wishes")
    print(f"temperature {classifier.temperature}; accuracy on held-out groups:")
    for language, table in facts["held_out_accuracy"].items():
        print(f"  {language}  " + "  ".join(f"{r} {a:.3f}" for r, a in table.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
