"""Measure ways to get ten titles out of a model: exact search, brute force, beams, samples.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --model google/gemma-2-2b-it --titles titles.txt --skip beam-40

Every way answers the same requests with the same model. Tokens are all that the model is fed, the
prompt included. Agreement is the share of the exact ten that a way finds; strangers are titles it
names that are not in the catalogue.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.catalog import Catalog
from llmrec.decoding import rank_titles, score_titles, title_trie
from llmrec.models.local import LocalModel
from llmrec.prompting import LIST_PREFIX, ZeroShot, parse_titles, recommend_prompt
from llmrec.titles import fold
from llmrec.trie import TitleTrie
from llmrec.types import Conversation, Message, Preferences

K = 10
REQUESTS = (
    ("A romantic comedy from the nineties", {"genres": ("Comedy", "Romance"), "year_min": 1990}),
    ("Filmes de terror, por favor", {"genres": ("Horror",), "language": "pt"}),
    ("Una de ciencia ficción reciente", {"genres": ("Sci-Fi",), "year_min": 2016}),
    ("Something short for the kids", {"genres": ("Family",), "runtime_max": 100}),
    ("Brazilian dramas", {"genres": ("Drama",), "countries": ("Brazil",)}),
    ("A war film of the seventies or before", {"genres": ("War",), "year_max": 1979}),
    ("Suspense dos anos 80", {"genres": ("Thriller",), "year_min": 1980, "year_max": 1989}),
    ("Cine argentino que no sea drama", {"countries": ("Argentina",), "genres_out": ("Drama",)}),
    ("An animated adventure", {"genres": ("Animation", "Adventure")}),
    ("Long westerns", {"genres": ("Western",), "runtime_min": 150}),
)


@dataclass
class Tally:
    """What one way took and found, one value for each request."""

    seconds: list[float] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)
    strangers: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        """The way as a row of the table."""
        cells = (
            f"{statistics.median(self.seconds):.3f}",
            f"{statistics.mean(self.forwards):.0f}",
            f"{statistics.mean(self.tokens):,.0f}",
            f"{100 * statistics.mean(self.agreement):.0f} %",
            f"{100 * statistics.mean(self.strangers):.0f} %",
        )
        return f"| {name} | {' | '.join(cells)} |"


@dataclass
class Bench:
    """One model, its titles, and a way to ask for them."""

    model: LocalModel
    titles: list[str]
    trie: TitleTrie
    seed: int

    def exact(self, messages: Sequence[Message]) -> tuple[list[int], float]:
        """The search with its certificate."""
        prompt = self.model.prompt_ids(messages, LIST_PREFIX)
        ranking = rank_titles(self.model, [prompt], self.trie, K, score_all_below=0)[0]
        if not ranking.exact:
            raise AssertionError("an unlimited search is exact")
        return ranking.rows.tolist(), 0.0

    def brute(self, messages: Sequence[Message]) -> tuple[list[int], float]:
        """Every title scored."""
        prompt = self.model.prompt_ids(messages, LIST_PREFIX)
        scores = score_titles(self.model, [prompt], self.trie)[0]
        return np.argsort(-scores, kind="stable")[:K].tolist(), 0.0

    def beam(self, width: int) -> Callable[[Sequence[Message]], tuple[list[int], float]]:
        """The beam search of transformers, held to the titles by ``prefix_allowed_tokens_fn``."""
        import torch

        nexts: dict[tuple[int, ...], set[int]] = {}
        rows: dict[tuple[int, ...], int] = {}
        for leaf in range(self.trie.n_leaves):
            sequence = tuple(self.trie.sequence(leaf))
            rows[sequence] = int(self.trie.rows_of(leaf)[0])
            for i in range(len(sequence)):
                nexts.setdefault(sequence[:i], set()).add(sequence[i])
        ends = sorted({s[-1] for s in rows})

        def search(messages: Sequence[Message]) -> tuple[list[int], float]:
            prompt = self.model.prompt_ids(messages, LIST_PREFIX)
            ids = torch.tensor([prompt], device=self.model.model.device)

            def allowed(_: int, so_far: Any) -> list[int]:
                return list(nexts.get(tuple(so_far.tolist()[len(prompt) :]), ends))

            found = self.model.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                num_beams=width,
                num_return_sequences=min(width, K),
                max_new_tokens=64,
                do_sample=False,
                length_penalty=0.0,
                eos_token_id=ends,
                pad_token_id=0,
                prefix_allowed_tokens_fn=allowed,
            )
            listed = []
            for sequence in found[:, len(prompt) :].tolist():
                at = next((i for i, t in enumerate(sequence) if t in ends), len(sequence))
                row = rows.get(tuple(sequence[: at + 1]))
                if row is not None:
                    listed.append(row)
            return listed, 1 - len(listed) / len(found)

        return search

    def samples(self, lists: int) -> Callable[[Sequence[Message]], tuple[list[int], float]]:
        """Lists sampled freely, their titles matched back and counted."""
        known = {fold(t): row for row, t in reversed(list(enumerate(self.titles)))}

        def sample(messages: Sequence[Message]) -> tuple[list[int], float]:
            texts = self.model.generate(
                [messages] * lists, max_new_tokens=120, temperature=0.7, seed=self.seed
            )
            named = [fold(t) for text in texts for t in parse_titles(text)[:K]]
            counts = Counter(known[t] for t in named if t in known)
            strangers = sum(t not in known for t in named) / max(len(named), 1)
            return [row for row, _ in counts.most_common(K)], strangers

        return sample


@contextmanager
def counting(model: LocalModel) -> Iterator[list[int]]:
    """The tokens that each forward of the model is fed, as it happens."""
    fed: list[int] = []
    handle = model.model.register_forward_pre_hook(
        lambda _, __, given: fed.append(int(given["input_ids"].numel())), with_kwargs=True
    )
    try:
        yield fed
    finally:
        handle.remove()


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder or Hub id; the embedded model unless given")
    parser.add_argument("--titles", type=Path, help="a title a line; the embedded films else")
    parser.add_argument("--requests", type=int, default=len(REQUESTS), help="how many to make")
    parser.add_argument("--lists", type=int, default=20, help="how many lists to sample")
    parser.add_argument("--skip", nargs="*", default=[], help="ways to leave out, as the table")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    # Without the cache of prompts, so that each way pays for its own.
    model = LocalModel.from_pretrained(args.model, prefix_cache_mb=0)
    titles = (
        [t for t in args.titles.read_text(encoding="utf-8").splitlines() if t.strip()]
        if args.titles
        else list(Catalog.embedded().titles)
    )
    start = time.perf_counter()
    bench = Bench(model, titles, title_trie(model, titles), args.seed)
    built = time.perf_counter() - start
    strategy = ZeroShot(model.profile.detail)
    ways: dict[str, Callable[[Sequence[Message]], tuple[list[int], float]]] = {
        "exact": bench.exact,
        "brute force": bench.brute,
        "beam-10": bench.beam(10),
        "beam-40": bench.beam(40),
        f"{args.lists} lists": bench.samples(args.lists),
    }
    requests = [
        recommend_prompt(
            Conversation.of(text),
            Preferences(**wishes),
            {},
            strategy=strategy,
        )
        for text, wishes in REQUESTS[: args.requests]
    ]
    model.prefill(model.prompt_ids(requests[0]))  # the first use prepares
    tallies = {name: Tally() for name in ways if name not in args.skip}
    for request in requests:
        right = set(bench.exact(request)[0])
        for name, tally in tallies.items():
            with counting(model) as fed:
                start = time.perf_counter()
                found, strangers = ways[name](request)
                tally.seconds.append(time.perf_counter() - start)
            tally.forwards.append(len(fed))
            tally.tokens.append(sum(fed))
            tally.agreement.append(len(right & set(found)) / len(right))
            tally.strangers.append(strangers)
    parameters = sum(p.numel() for p in model.model.parameters()) / 1e6
    print(
        f"{model.name}: {parameters:.1f}M parameters, {model.runner.mode}, "
        f"{model.model.device}, {torch.get_num_threads()} threads; {len(titles):,} titles, "
        f"trie {built:.2f} s; {len(requests)} requests, top {K}, seed {args.seed}"
    )
    print("| way | seconds (median) | forwards | tokens | agreement | strangers |")
    print("|---|---|---|---|---|---|")
    for name, tally in tallies.items():
        print(tally.line(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
