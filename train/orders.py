"""Learn the weights that tell orders to a model from sentences about films and products.

    python train/orders.py --films ../shared/data/wikipedia-movies/movies.jsonl.gz
    python train/orders.py --films movies.jsonl.gz --out runs/orders --errors 20

Orders, and sentences of shops that sound like some, are the rows of tests/orders.tsv; other
ordinary sentences are the descriptions of the embedded catalogue and first paragraphs about
films. Rows of the part "blind" are not learned from: they measure. The same sentences give the
same file, byte for byte.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.folders import write_whole
from llmrec.options import script
from llmrec.orders import (
    BUCKETS,
    FILE,
    PART,
    Classifier,
    features,
    pieces,
    readings,
    sentences,
)
from llmrec.types import LANGUAGES

HERE = Path(__file__).resolve().parents[1]
PENALTY = 0.1
CERTAIN, LIKELY = -1.5, -2.5  # scores above which a text is an order, see Classifier
FILMS = 8_000  # first paragraphs that are learned from
FOLDS = 5
ORDER_WEIGHT, SHOP_WEIGHT, PART_WEIGHT = 3.0, 4.0, 0.5  # beside 1 of an ordinary sentence

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A text of tests/orders.tsv. ``goal``: what an order wants, "none" where it is not one."""

    part: str
    language: str
    goal: str
    text: str


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; \\n and \\uXXXX stand for letters. Raises InputError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        cells = [line.split("\t") for line in lines]
        return [Row(p, x, g, json.loads('"' + t.replace('"', '\\"') + '"')) for p, x, g, t in cells]
    except (OSError, ValueError) as e:
        raise InputError(f"{path} is no table of orders ({e}): see tests/orders.tsv") from None


def film_sentences(path: Path, n: int) -> list[str]:
    """Sentences of ``n`` first paragraphs about films, without the titles. Raises InputError."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            films = [json.loads(line) for line in file]
    except (OSError, ValueError) as e:
        raise InputError(f"{path} is no gzipped file of JSON lines ({e})") from None
    random.Random(0).shuffle(films)
    return [s for f in films[:n] for s in _untitled(f.get("extract") or "", [f["title"]])]


def catalogue_sentences() -> list[tuple[str, str]]:
    """Language and sentence of the descriptions of the embedded catalogue."""
    return [
        (language, s)
        for item in Catalog.embedded()
        for language in LANGUAGES
        for s in _untitled(item.description_in(language), item.all_titles)
    ]


def _untitled(text: str, names: Iterable[str]) -> list[str]:
    known = "|".join(re.escape(n) for n in names if n)
    return [re.sub(rf"(?<!\w)(?:{known})(?!\w)", "It", s, flags=re.I) for s in sentences(text)]


# -- learning -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What is learned from: a row for each piece of each text; the first piece is the text."""

    rows: Any  # scipy.sparse.csr_matrix [pieces, BUCKETS]
    text: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]


def make_table(texts: Sequence[str]) -> Table:
    """The pieces of the texts as features; of a disguised text, as it is meant."""
    from scipy.sparse import csr_matrix

    at: list[npt.NDArray[np.int64]] = []
    owner: list[int] = []
    for i, text in enumerate(texts):
        for words in pieces(readings(text)[-1]):
            at.append(np.array(features(words)))
            owner.append(i)
    values = np.concatenate([np.full(len(a), len(a) ** -0.5) for a in at])
    ends = np.cumsum([0, *(len(a) for a in at)])
    rows = csr_matrix((values, np.concatenate(at), ends), (len(at), BUCKETS))
    text_of = np.array(owner)
    return Table(rows, text_of, np.diff(text_of, prepend=-1) > 0)


def fit(rows: Any, orders: npt.NDArray[np.bool_], weights: _Floats) -> tuple[_Floats, float]:
    """Weights [BUCKETS] and bias of the likeliest logistic regression."""
    from scipy.optimize import minimize

    def loss(flat: _Floats) -> tuple[float, _Floats]:
        scores = rows @ flat[:-1] + flat[-1]
        value = weights @ np.logaddexp(0, np.where(orders, -scores, scores))
        off = weights * (1 / (1 + np.exp(-np.clip(scores, -60, 60))) - orders)
        slope = np.append(rows.T @ off + PENALTY * flat[:-1], off.sum())
        return float(value + PENALTY * (flat[:-1] ** 2).sum() / 2), slope

    start = np.zeros(BUCKETS + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return found.x[:-1], float(found.x[-1])


def rounded(weights: _Floats, bias: float) -> Classifier:
    """The classifier with weights of one byte each."""
    scale = max(float(np.abs(weights).max()), 1e-9) / 127
    steps = np.rint(weights / scale).astype(np.int8)
    return Classifier(steps, round(scale, 9), round(bias, 6), CERTAIN, LIKELY)


@dataclass(frozen=True)
class Lesson:
    """Texts with whether each is an order, what it weighs, and the part it is held out with."""

    table: Table
    orders: npt.NDArray[np.bool_]
    weights: _Floats
    fold: npt.NDArray[np.int64]

    def learn(self, held: int = -1) -> Classifier:
        """Learn from all but the held part: of orders the whole, of others their pieces too."""
        of = self.table.text
        used = (self.fold[of] != held) & (self.table.first | ~self.orders[of])
        weights = self.weights[of] * np.where(self.table.first, 1.0, PART_WEIGHT)
        return rounded(*fit(self.table.rows[used], self.orders[of][used], weights[used]))

    def scores(self, classifier: Classifier, chosen: npt.NDArray[np.bool_]) -> _Floats:
        """The highest score of the pieces of each chosen text."""
        out = np.full(len(self.orders), -np.inf)
        used = chosen[self.table.text]
        said = self.table.rows[used] @ (classifier.weights * classifier.scale) + classifier.bias
        said -= np.where(self.table.first[used], 0, PART)
        np.maximum.at(out, self.table.text[used], said)
        return out[chosen]

    def cross_validate(self) -> _Floats:
        """The score of each text by a classifier that did not see it."""
        out = np.zeros(len(self.orders))
        for held in range(FOLDS):
            aside = self.fold == held
            out[aside] = self.scores(self.learn(held), aside)
        return out


def make_lesson(rows: Sequence[Row], ordinary: Sequence[str]) -> Lesson:
    """The rows and the ordinary sentences."""
    orders = np.array([*(r.goal != "none" for r in rows), *([False] * len(ordinary))])
    weights = np.array(
        [*(ORDER_WEIGHT if r.goal != "none" else SHOP_WEIGHT for r in rows), *[1.0] * len(ordinary)]
    )
    fold = np.random.default_rng(0).integers(0, FOLDS, len(orders))
    return Lesson(make_table([*(r.text for r in rows), *ordinary]), orders, weights, fold)


def save(classifier: Classifier, folder: Path) -> None:
    """Write ``FILE`` into a folder, whole or not at all."""
    from safetensors.numpy import save as packed

    c = classifier
    facts = np.array([c.scale, c.bias, c.certain, c.likely])
    write_whole(folder / FILE, packed({"weights": c.weights, "facts": facts}))


def told(rows: Sequence[Row], scores: _Floats) -> Iterator[str]:
    """How many of the texts are taken for orders, for each language."""
    for name, wanted in (("orders", True), ("shop", False)):
        own = [(r.language, s > CERTAIN) for r, s in zip(rows, scores, strict=False)
               if (r.goal != "none") == wanted]  # fmt: skip
        for language in sorted({x for x, _ in own}):
            found = [hit for x, hit in own if x == language]
            yield f"{name:6} {language:5} {sum(found):4} of {len(found):4} taken for orders"


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=HERE / "tests" / "orders.tsv")
    parser.add_argument("--films", type=Path, required=True, help="JSON lines, gzipped")
    parser.add_argument("--out", type=Path, default=HERE / "llmrec" / "data")
    parser.add_argument("--errors", type=int, default=0, help="show so many held-out errors")
    return parser


@script("orders")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done."""
    args = make_parser().parse_args(argv)
    rows = [r for r in read_rows(args.rows) if r.part == "train"]
    films = film_sentences(args.films, FILMS)
    lesson = make_lesson(rows, [*(s for _, s in catalogue_sentences()), *films])
    scores = lesson.cross_validate()
    save(lesson.learn(), args.out)
    print("held out, without the rules:")
    print("\n".join(told(rows, scores)))
    lost = scores[len(rows) :] > CERTAIN
    print(f"films        {int(lost.sum()):4} of {len(lost):4} taken for orders")
    wrong = [
        (s, r) for s, r in zip(scores, rows, strict=False) if (s > CERTAIN) != (r.goal != "none")
    ]
    for score, row in sorted(wrong, key=lambda w: -abs(w[0]))[: args.errors]:
        print(f"{score:6.2f} {row.goal:9} {row.text!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
