"""Measure the time of a recommendation: to the first card, and to the full reply.

    python benchmarks/recommend.py --threads 2 --n 60
    python benchmarks/recommend.py --model google/gemma-2-2b-it --n 20

Real requests of eval/understanding, the three languages in turn. Beside Recommender.stream stands
what one would write without it: the same model generates a numbered list freely, and its titles
are matched back (grounding="match"). Both answer every request, each with a model of its own so
that neither finds the other's prompts in the cache, and take turns in going first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llmrec import Recommender
from llmrec.recommender import Grounding
from llmrec.types import LANGUAGES, Conversation, Message

REQUESTS = Path(__file__).resolve().parents[1] / "eval" / "messages"
WAYS: tuple[Grounding, ...] = ("constrained", "match")


@dataclass
class Tally:
    """What one way took and gave, one value for each request; times in seconds."""

    first_card: list[float] = field(default_factory=list)
    full_reply: list[float] = field(default_factory=list)
    cards: list[int] = field(default_factory=list)
    strangers: int = 0

    def times(self, name: str) -> list[float]:
        """The times of one kind; to the first card, of an empty list: until it is known so."""
        return self.first_card if name == "first card" else self.full_reply


def requests() -> Iterator[Conversation]:
    """Conversations of eval/understanding that end in the user's turn, the languages in turn."""
    files = []
    for language in LANGUAGES:
        lines = (REQUESTS / f"{language}.jsonl").read_text(encoding="utf-8").splitlines()
        said = [json.loads(line)["messages"] for line in lines if line.strip()]
        step = max(1, len(said) // 100)  # from all over the file, not its beginning
        spread = [said[i] for start in range(step) for i in range(start, len(said), step)]
        files.append(spread)
    for three in itertools.zip_longest(*files):
        for messages in three:
            if messages:
                yield Conversation(tuple(Message(m["role"], m["content"]) for m in messages))


def ask(recommender: Recommender, request: Conversation, k: int, tally: Tally) -> None:
    """Put one request, and note the times."""
    start = time.perf_counter()
    for event in recommender.stream(request, k):
        if event.kind == "recommendations":
            tally.first_card.append(time.perf_counter() - start)
        if event.reply is not None:
            tally.full_reply.append(time.perf_counter() - start)
            tally.cards.append(len(event.reply.recommendations))
            tally.strangers += len(event.reply.ungrounded)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=60, help="how many requests")
    parser.add_argument("--k", type=int, default=5, help="how many films to ask for")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--model", help="folder or Hub id; the embedded model unless given")
    parser.add_argument("--catalog", help="folder of a catalogue; the embedded films unless given")
    parser.add_argument("--json", type=Path, help="write every time here too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    import torch

    torch.set_num_threads(args.threads)
    asked = list(itertools.islice(requests(), args.n + 1))
    warm_up, asked = asked[0], asked[1:]
    start = time.perf_counter()
    recommenders = {WAYS[0]: Recommender.from_pretrained(args.model, catalog=args.catalog)}
    loaded = time.perf_counter() - start
    ask(recommenders[WAYS[0]], warm_up, args.k, cold := Tally())
    recommenders[WAYS[1]] = Recommender.from_pretrained(
        args.model, catalog=recommenders[WAYS[0]].catalog, grounding=WAYS[1]
    )
    ask(recommenders[WAYS[1]], warm_up, args.k, Tally())
    tallies = {way: Tally() for way in WAYS}
    for n, request in enumerate(asked):
        for way in WAYS if n % 2 else reversed(WAYS):
            ask(recommenders[way], request, args.k, tallies[way])
    one = recommenders[WAYS[0]]
    print(
        f"{one.model.name}, {len(one.catalog):,} films, top {args.k}, {len(asked)} requests, "
        f"{args.threads} threads; loaded in {loaded:.2f} s, the very first request "
        f"{cold.first_card[0]:.2f} s to the first card"
    )
    print("| seconds to | way | median | p90 | p99 | worst | ratio of medians |")
    print("|---|---|---|---|---|---|---|")
    for name in ("first card", "full reply"):
        own = statistics.median(tallies[WAYS[0]].times(name))
        for way, tally in tallies.items():
            values = tally.times(name)
            middle, p90, p99 = np.percentile(values, (50, 90, 99)).tolist()
            print(
                f"| {name} | {way} | {middle:.3f} | {p90:.3f} | {p99:.3f} | {max(values):.3f} "
                f"| {middle / own:.2f} |"
            )
    print("| way | films per list | requests without a film | titles not in the catalogue |")
    print("|---|---|---|---|")
    for way, tally in tallies.items():
        none = tally.cards.count(0)
        print(f"| {way} | {statistics.mean(tally.cards):.2f} | {none} | {tally.strangers} |")
    if args.json:
        times = {
            w: {n: t.times(n) for n in ("first card", "full reply")} for w, t in tallies.items()
        }
        args.json.write_text(json.dumps(times, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
