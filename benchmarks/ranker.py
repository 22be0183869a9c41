"""Measure the learned ranker: one conversation at a time over the whole catalogue, one thread.

    python benchmarks/ranker.py
    python benchmarks/ranker.py --data data/redial --requests 200

Items (title, year, genres, people, description) and dialogues about them are generated, the same
for the same seed, unless --data names a prepared folder. Ranking is timed whole, then each group
of signals alone. Beside it stands what one would take instead: EASE and item-kNN as dense
matrices, and scikit-learn's TfidfVectorizer over the items' texts with the words of the user.
Recall is of the first 10, new targets only; of generated dialogues it tells nothing but that
every way does its work. A ratio is the ranker's median over that of the way.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import peak_mb
from llmrec.datasets.folder import Folder
from llmrec.ranker import LearnedRanker
from llmrec.ranker.combiner import features_of
from llmrec.ranker.learned import GROUPS
from llmrec.ranker.talk import Talk
from llmrec.types import Conversation, Example, Item, Message

K = 10
DENSE = 20_000  # items at most for a dense matrix of items by items
SYLLABLES = "ba ce di fo gu la me ni po ru sa te vi zo kra lin mor tan".split()
GENRES = "Action Comedy Crime Drama Family Fantasy Horror Music Mystery Romance War Western".split()

Scorer = Callable[[Example], npt.NDArray[Any]]


@dataclass(frozen=True)
class Tally:
    """What one way took for each request, and the share of targets among its first ``K``."""

    way: str
    median_ms: float
    p99_ms: float
    recall: float | None

    def line(self, ranker: Tally) -> str:
        """The way as a row of the table."""
        ratio = recall = ""
        if self.recall is not None:
            ratio, recall = f"{ranker.median_ms / self.median_ms:.1f}", f"{self.recall:.3f}"
        return f"| {self.way} | {self.median_ms:.2f} | {self.p99_ms:.2f} | {ratio} | {recall} |"


class World:
    """Items of some hundred kinds, and talks that stay within one kind."""

    def __init__(self, n: int, seed: int) -> None:
        self._dice = random.Random(seed)
        self._kinds = max(10, min(400, n // 50))
        names = [self._word(2) for _ in range(4_000)]
        people = [f"{self._word(2)} {self._word(3)}".title() for _ in range(max(60, n // 10))]
        self._words = [self._dice.choices(names, k=30) for _ in range(self._kinds)]
        self._people = [self._dice.choices(people, k=40) for _ in range(self._kinds)]
        self._genres = [tuple(self._dice.sample(GENRES, 2)) for _ in range(self._kinds)]
        self._common = names[:500]
        self.items = [self._item(i) for i in range(n)]
        self._of = [range(kind, n, self._kinds) for kind in range(self._kinds)]

    def _word(self, syllables: int) -> str:
        return "".join(self._dice.choices(SYLLABLES, k=syllables))

    def _item(self, i: int) -> Item:
        dice, kind = self._dice, i % self._kinds
        told = dice.choices(self._words[kind], k=10) + dice.choices(self._common, k=10)
        return Item(
            id=str(i),
            title=f"{self._word(2)} {self._word(3)}".title(),
            year=dice.randint(1950, 2024),
            genres=self._genres[kind],
            directors=(dice.choice(self._people[kind]),),
            cast=tuple(dice.sample(self._people[kind], 4)),
            description=" ".join(told),
        )

    def talk(self, number: int) -> Iterator[Example]:
        """The two recommendations of one dialogue; the first items of a kind are named most."""
        kind = self._dice.randrange(self._kinds)
        rows = self._of[kind]
        ends = list(accumulate(1 / (1 + r) for r in range(len(rows))))
        named = [rows[r] for r in self._dice.choices(range(len(rows)), cum_weights=ends, k=4)]
        messages = []
        for turn, row in enumerate(named):
            words = self._dice.choices(self._words[kind], k=3) + self._dice.choices(
                self._common, k=5
            )
            said = f"{' '.join(words)} {self.items[row].title}"
            messages.append(Message("assistant" if turn % 2 else "user", said, (str(row),)))
            if turn % 2:
                before = Conversation(tuple(messages[:-1]))
                yield Example(before, (str(row),), id=f"{number}:{turn}", dialogue=str(number))


def generated(n: int, dialogues: int, requests: int, seed: int) -> tuple[list[Item], Any, Any]:
    """Items, training examples, and examples to ask."""
    world = World(n, seed)
    train = [e for d in range(dialogues) for e in world.talk(d)]
    return world.items, train, [e for d in range(requests) for e in world.talk(-1 - d)][:requests]


def prepared(path: str, requests: int, seed: int) -> tuple[list[Item], Any, Any]:
    """The same of a prepared folder."""
    folder = Folder.open(path)
    held = list(folder.examples("validation"))
    asked = random.Random(seed).sample(held, min(requests, len(held)))
    return list(folder.items()), list(folder.examples("train")), asked


def timed(way: str, score: Scorer, asked: Sequence[Example], row_of: dict[str, int]) -> Tally:
    """Time a way that gives the rows of its best items."""
    took, found, wanted = [], 0, 0
    score(asked[0])  # the first use prepares
    for e in asked:
        start = time.perf_counter()
        rows = score(e)
        took.append(1e3 * (time.perf_counter() - start))
        known = {row_of.get(i, -1) for i in e.conversation.mentioned}
        targets = {row_of[i] for i in e.relevant if i in row_of} - known
        best = [r for r in rows.tolist() if r not in known][:K]
        found, wanted = found + len(targets & set(best)), wanted + len(targets)
    recall = found / max(wanted, 1) if rows.size else None  # a part ranks nothing
    return Tally(way, float(np.median(took)), float(np.percentile(took, 99)), recall)


def parts_of(ranker: LearnedRanker) -> dict[str, Scorer]:
    """Each group of signals alone, and the combination of candidates that are there."""
    nothing = np.zeros(0, dtype=np.int32)

    def signal(name: str) -> Scorer:
        def score(e: Example) -> npt.NDArray[Any]:
            ranker._signals[name].scores([Talk.of(e.conversation, ranker.row_of)])
            return nothing

        return score

    def read(e: Example) -> npt.NDArray[Any]:
        Talk.of(e.conversation, ranker.row_of)
        return nothing

    values = np.random.default_rng(0).random((1_000, len(ranker._names)), dtype=np.float32)

    def combine(e: Example) -> npt.NDArray[Any]:
        features = features_of(values, ranker._logs)
        ranker._combiner(features, Talk.of(e.conversation, ranker.row_of).context())
        return nothing

    signals = {f"  {name}": signal(name) for name in GROUPS if name in ranker._signals}
    return {"  reading": read, **signals, "  combining 1,000": combine}


def dense(train: Sequence[Example], row_of: dict[str, int]) -> dict[str, npt.NDArray[np.float32]]:
    """Item-item weights of EASE (Steck, 2019) and of cosine item-kNN, as dense matrices."""
    named: dict[str, set[int]] = {}
    for e in train:
        ids = (*e.conversation.mentioned, *e.relevant)
        named.setdefault(e.dialogue, set()).update(row_of[i] for i in ids if i in row_of)
    x = np.zeros((len(named), len(row_of)), dtype=np.float32)
    for d, rows in enumerate(named.values()):
        x[d, list(rows)] = 1
    gram = x.T @ x
    seen = np.sqrt(np.maximum(gram.diagonal(), 1))
    cosine = gram / seen / seen[:, None]
    inverse = np.linalg.inv(gram + 60 * np.eye(len(gram), dtype=np.float32))
    ease = -inverse / inverse.diagonal()
    np.fill_diagonal(ease, 0)
    np.fill_diagonal(cosine, 0)
    return {"EASE, dense": ease, "item-kNN, dense": cosine}


def best_of(scores: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """The rows of the largest scores, best first."""
    n = min(n, len(scores))
    top = np.argpartition(-scores, n - 1)[:n]
    return top[np.argsort(-scores[top])]


def peers(
    items: Sequence[Item], train: Sequence[Example], row_of: dict[str, int]
) -> Iterator[tuple[str, Scorer, float]]:
    """What one would take instead, and the seconds that it takes to prepare."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    if len(items) <= DENSE:
        start = time.perf_counter()
        for name, weights in dense(train, row_of).items():

            def by_items(
                e: Example, weights: npt.NDArray[np.float32] = weights
            ) -> npt.NDArray[Any]:
                rows = [row_of[i] for i in e.conversation.mentioned if i in row_of]
                return best_of(weights[rows].sum(0), K + len(rows))

            yield name, by_items, time.perf_counter() - start
            start = time.perf_counter()
    start = time.perf_counter()
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    texts = vectorizer.fit_transform(
        " ".join((i.title, *i.genres, *i.people, i.description)) for i in items
    )

    def by_text(e: Example) -> npt.NDArray[Any]:
        talk = e.conversation
        asked = vectorizer.transform([" ".join(m.content for m in talk.messages)])
        return best_of(cosine_similarity(asked, texts)[0], K + len(talk.mentioned))

    yield "TfidfVectorizer", by_text, time.perf_counter() - start


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=7_000, help="how many to generate")
    parser.add_argument("--dialogues", type=int, default=1_000, help="how many to learn from")
    parser.add_argument("--requests", type=int, default=100, help="conversations to rank for")
    parser.add_argument("--data", help="prepared folder, in place of what is generated")
    parser.add_argument(
        "--ranker", help="folder of a learned ranker for --data; else one is learned"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of all that is timed")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)
    if args.data:
        items, train, asked = prepared(args.data, args.requests, args.seed)
    else:
        items, train, asked = generated(args.items, args.dialogues, args.requests, args.seed)
    before = peak_mb()
    start = time.perf_counter()
    ranker = (
        LearnedRanker.find(args.ranker)
        if args.ranker
        else LearnedRanker.fit(train, items, seed=args.seed, progress=True)
    )
    fit_s = time.perf_counter() - start
    print(
        f"{len(items):,} items, {len(train):,} training examples, {len(asked)} requests, seed "
        f"{args.seed}; {'loaded' if args.ranker else 'learned'} in {fit_s:.1f} s, peak "
        f"{peak_mb():,.0f} MB ({before:,.0f} MB before)"
    )
    row_of = ranker.row_of

    def whole(e: Example) -> npt.NDArray[Any]:
        return ranker.rank([e.conversation], K)[0].rows

    tallies = [timed("ranker", whole, asked, row_of)]
    tallies += [timed(name, score, asked, row_of) for name, score in parts_of(ranker).items()]
    for name, score, seconds in peers(items, train, row_of):
        print(f"{name}: prepared in {seconds:.1f} s")
        tallies.append(timed(name, score, asked, row_of))
    print(f"\n| way | median ms | p99 ms | ratio | recall@{K} |")
    print("|---|---|---|---|---|")
    for tally in tallies:
        print(tally.line(tallies[0]))
    if args.json:
        figures = {
            "items": len(items),
            "training_examples": len(train),
            "requests": len(asked),
            "fit_s": fit_s,
            "peak_mb": peak_mb(),
            "ways": [asdict(t) for t in tallies],
        }
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
