"""Measure what an evaluated example costs: the exact top ten, or twenty sampled lists of ten.

    python benchmarks/evaluating.py --data data/redial --n 50
    python benchmarks/evaluating.py --data data/redial --model runs/redial --n 50 --lists 20

Both ways ask the same model with the same prompts, one example after the other, without what
former examples left in caches; of a sampled example the prompt is run once for all its lists.
Tokens are all that the model is fed, the prompt included. Overlap is the share of the right ten
that a way names among its first ten; right are the ten likeliest titles of the catalogue, found by
scoring every one of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.catalog import Catalog
from llmrec.decoding import score_titles, title_trie
from llmrec.evaluation.data import Data, drawn
from llmrec.evaluation.systems import ModelSystem, SamplingSystem, System
from llmrec.metrics.significance import mean_interval
from llmrec.models.local import LocalModel
from llmrec.options import script
from llmrec.prompting import ZeroShot
from llmrec.recommender import Recommender
from llmrec.types import Example, Message

K = 10
# Of an example the first ten ids, the titles written and how many of them are in no catalogue.
Ask = Callable[[Example], tuple[list[str], int, int]]


@dataclass
class Way:
    """What one way took and found, one value for each example."""

    name: str
    ask: Ask
    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    found: list[list[str]] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="from train/prepare.py")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--model", default="embedded", help="folder, Hub id or 'embedded'")
    parser.add_argument("--adapter", help="for the model")
    parser.add_argument("--n", type=int, default=50, help="examples, drawn by the seed")
    parser.add_argument("--lists", type=int, default=20, help="lists sampled of each")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def unmentioned(example: Example) -> Example:
    """The example with its words alone, so that ten items are ten for every way."""
    talk = example.conversation
    messages = tuple(Message(m.role, m.content) for m in talk.messages)
    return dataclasses.replace(example, conversation=dataclasses.replace(talk, messages=messages))


def ways(model: LocalModel, catalog: Catalog, args: argparse.Namespace) -> list[Way]:
    """Scoring every title, the exact search, and the lists."""
    rec = Recommender(model, catalog, strategy=ZeroShot(model.profile.detail))
    trie = title_trie(model, catalog.labels)

    def brute(example: Example) -> tuple[list[str], int, int]:
        model.forget()
        (scores,) = score_titles(model, [rec.prompt_ids(example.conversation)], trie)
        best = np.argsort(-scores, kind="stable")[:K]
        return [catalog.ids[r] for r in best.tolist()], 0, 0

    def of(system: System) -> Ask:
        def ask(example: Example) -> tuple[list[str], int, int]:
            (p,) = system.predictions([example])
            written = sum(p.tiers.values()) + p.outside + p.duplicates
            return list(p.items[:K]), written, p.outside

        return ask

    sampled = SamplingSystem(
        "samples",
        model,
        catalog,
        lists=args.lists,
        length=K,
        temperature=args.temperature,
        seed=args.seed,
    )
    return [
        Way("every title scored", brute),
        Way("exact search, top 10", of(ModelSystem("exact", model, catalog, depth=K))),
        Way(f"{args.lists} sampled lists of 10", of(sampled)),
    ]


def measure(model: LocalModel, way: Way, examples: Sequence[Example]) -> None:
    """Ask every example in this way."""
    from tqdm import tqdm

    way.ask(examples[0])  # the first use prepares
    for example in tqdm(examples, desc=way.name, unit="example"):
        before, start = model.fed, time.perf_counter()
        found, written, outside = way.ask(example)
        way.seconds.append(time.perf_counter() - start)
        way.tokens.append(model.fed - before)
        way.found.append(found)
        way.written.append(written)
        way.outside.append(outside)


def table(measured: Sequence[Way], examples: Sequence[Example]) -> str:
    """A row for each way; the first of them is right."""
    groups = [e.dialogue or e.id for e in examples]
    lines = [
        "| way | tokens | seconds | overlap@10 | 95 % | not in the catalogue |",
        "|---|---|---|---|---|---|",
    ]
    for way in measured:
        overlap = [
            len(set(a) & set(b)) / K for a, b in zip(measured[0].found, way.found, strict=True)
        ]
        said = mean_interval(np.array(overlap), groups)
        cells: list[Any] = [
            way.name,
            f"{np.mean(way.tokens):,.0f}",
            f"{np.mean(way.seconds):.3f}",
            f"{said.value:.3f}",
            f"{said.low:.3f}-{said.high:.3f}",
            f"{100 * sum(way.outside) / max(sum(way.written), 1):.1f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@script("evaluating")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done, 1 if something cannot be read."""
    args = make_parser().parse_args(argv)
    import torch

    torch.set_num_threads(args.threads)
    data = Data(args.data)
    catalog = Catalog.from_items(data.items())
    examples = [unmentioned(e) for e in drawn(list(data.examples(args.split)), args.n, args.seed)]
    name = None if args.model == "embedded" else args.model
    model = LocalModel.from_pretrained(name, adapter=args.adapter, batch_size=args.lists)
    measured = ways(model, catalog, args)
    for way in measured:
        measure(model, way, examples)
    print(
        f"\n{model.name} on {model.model.device}, {args.threads} threads; {len(catalog):,} titles; "
        f"n {len(examples):,} examples of {len({e.dialogue or e.id for e in examples}):,} "
        f"dialogues; temperature {args.temperature}, seed {args.seed}; means"
    )
    print(table(measured, examples))
    exact, lists = measured[1], measured[2]
    fewer = np.mean(lists.tokens) / np.mean(exact.tokens)
    faster = np.mean(lists.seconds) / np.mean(exact.seconds)
    titles = np.mean(lists.written) / args.lists
    print(
        f"the lists take {fewer:.1f} times the tokens and {faster:.1f} times the seconds; "
        f"this model writes {titles:.1f} titles a list"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
