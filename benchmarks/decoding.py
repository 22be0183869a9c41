"""Measure ways to get ten titles out of a model: exact search, brute force, beams, samples.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --titles work/titles.txt --tune 8 --keep work/tuned --budget 4000

Every way answers the same requests with the same model. Tokens are all that the model is fed, the
prompt included; "shared" beams are fed the prompt once, the others once for each beam, as
``generate`` does. Agreement is the share of the exact ten that a way finds, over the requests
whose ten are proven; strangers are titles it names that are not in the catalogue. With --budget
the search stops there, and a second table says how many requests were proven within it and within
parts of it, and by how much another title might surpass the last one where it was not.

With --tune the model is tuned on the titles first, so that it knows them: tastes (a genre, a
decade) are asked for in many words, every title belongs to one of them, by chance, and is listed
as often as Zipf's law has it within its taste. The requests are then for tastes, in words that the
model was not tuned on.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.catalog import Catalog
from llmrec.decoding import Ranking, rank_titles, score_titles, title_trie
from llmrec.folders import write_whole
from llmrec.models.local import LocalModel
from llmrec.prompting import LIST_PREFIX, ZeroShot, parse_titles, recommend_prompt, title_list
from llmrec.titles import fold
from llmrec.trie import TitleTrie
from llmrec.types import Conversation, Message, Preferences

RESULTS = Path(__file__).with_name("results")
K = 10
Way = Callable[[Sequence[Message]], tuple[list[int], float]]  # the rows found, share of strangers
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Sci-Fi")
DECADES = (1980, 1990, 2000, 2010)
ASKED = (
    "A {genre} from the {decade}s",
    "Any {genre} of the {decade}s for tonight?",
    "I feel like {genre}, something made in the {decade}s",
    "Recommend me {genre} films of the {decade}s please",
)
RATE = 2e-3  # as the embedded model was trained
ASKED_ANEW = ("What {genre} of the {decade}s should I watch?", "{decade}s {genre}, surprise me")
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

    def line(self, name: str, exact: Tally | None) -> str:
        """The way as a row of the table, its tokens as a multiple of the exact search's."""
        tokens = statistics.mean(self.tokens)
        cells = (
            f"{statistics.median(self.seconds):.3f}",
            f"{statistics.mean(self.forwards):.0f}",
            f"{tokens:,.0f}",
            f"{tokens / statistics.mean(exact.tokens):.1f}" if exact else "",
            f"{100 * statistics.mean(self.agreement):.0f} %" if self.agreement else "",
            f"{100 * statistics.mean(self.strangers):.0f} %",
        )
        return f"| {name} | {' | '.join(cells)} |"


class Walk:
    """What may follow the tokens of a title so far, for ``prefix_allowed_tokens_fn``."""

    def __init__(self, trie: TitleTrie) -> None:
        self._trie = trie
        every = trie.subtree(np.arange(trie.n_leaves, dtype=np.int32))
        self.ends: list[int] = np.unique(every.tokens[every.ends]).tolist()
        self._places: dict[tuple[int, ...], tuple[int, int] | None] = {(): (0, 0)}

    def place(self, so_far: tuple[int, ...]) -> tuple[int, int] | None:
        """A node, or ``~leaf`` and how many tokens of its tail stand; None outside the trie."""
        if so_far not in self._places:
            before = self.place(so_far[:-1])
            self._places[so_far] = None if before is None else self._after(*before, so_far[-1])
        return self._places[so_far]

    def _after(self, node: int, stands: int, token: int) -> tuple[int, int] | None:
        if node < 0:
            tail = self._trie.tail(~node)[stands : stands + 1].tolist()
            return (node, stands + 1) if tail == [token] else None
        edges = self._trie.edges(node)
        i = int(np.searchsorted(edges.tokens, token))
        if i == len(edges.tokens) or edges.tokens[i] != token:
            return None
        return int(edges.child[i]), 0

    def following(self, so_far: tuple[int, ...]) -> list[int]:
        """The tokens that may follow; an end, where nothing may."""
        at = self.place(so_far)
        if at is None:
            return self.ends
        node, stands = at
        tail = self._trie.tail(~node)[stands : stands + 1] if node < 0 else None
        tokens: list[int] = (self._trie.edges(node).tokens if tail is None else tail).tolist()
        return tokens or self.ends

    def row(self, generated: Sequence[int]) -> int | None:
        """The row of the title that a text begins with, if it is whole."""
        for n in range(1, len(generated) + 1):
            at = self.place(tuple(generated[:n]))
            if at is not None and at[0] < 0 and at[1] == len(self._trie.tail(~at[0])):
                return int(self._trie.rows_of(~at[0])[0])
        return None


@dataclass
class Bench:
    """One model, its titles, and a way to ask for them."""

    model: LocalModel
    titles: list[str]
    trie: TitleTrie
    seed: int
    budget: int | None

    def search(self, messages: Sequence[Message], budget: int | None) -> Ranking:
        """The search with its certificate."""
        prompt = self.model.prompt_ids(messages, LIST_PREFIX)
        return rank_titles(self.model, [prompt], self.trie, K, score_all_below=0, budget=budget)[0]

    def exact(self, messages: Sequence[Message]) -> tuple[list[int], float]:
        """What the search finds."""
        return self.search(messages, self.budget).rows.tolist(), 0.0

    def brute(self, messages: Sequence[Message]) -> tuple[list[int], float]:
        """Every title scored."""
        prompt = self.model.prompt_ids(messages, LIST_PREFIX)
        scores = score_titles(self.model, [prompt], self.trie)[0]
        return np.argsort(-scores, kind="stable")[:K].tolist(), 0.0

    @cached_property
    def walk(self) -> Walk:
        """For the beams."""
        return Walk(self.trie)

    def beam(self, width: int, shared: bool = False) -> Way:
        """The beam search of transformers, held to the titles by ``prefix_allowed_tokens_fn``.

        shared: the prompt is run once, and its cache is copied for the beams.
        """
        import torch
        from transformers import DynamicCache

        def search(messages: Sequence[Message]) -> tuple[list[int], float]:
            prompt = self.model.prompt_ids(messages, LIST_PREFIX)
            ids = torch.tensor([prompt], device=self.model.model.device)
            begun: dict[str, Any] = {}
            if shared:
                cache = DynamicCache(config=self.model.model.config)
                with torch.inference_mode():
                    self.model.model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True)
                    cache.batch_repeat_interleave(width)
                begun = {"past_key_values": cache}
            found = self.model.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                num_beams=width,
                num_return_sequences=min(width, K),
                max_new_tokens=64,
                do_sample=False,
                length_penalty=0.0,
                eos_token_id=self.walk.ends,
                pad_token_id=0,
                prefix_allowed_tokens_fn=lambda _, so_far: self.walk.following(
                    tuple(so_far.tolist()[len(prompt) :])
                ),
                **begun,
            )
            rows = [self.walk.row(sequence) for sequence in found[:, len(prompt) :].tolist()]
            listed = [row for row in rows if row is not None]
            return listed, 1 - len(listed) / len(rows)

        return search

    def samples(self, lists: int) -> Way:
        """Lists sampled freely, their titles matched back and counted."""
        known = {fold(t): row for row, t in reversed(list(enumerate(self.titles)))}
        tokens = K * (4 + round(float(self.trie.lengths.mean())))

        def sample(messages: Sequence[Message]) -> tuple[list[int], float]:
            texts = self.model.generate(
                [messages] * lists, max_new_tokens=tokens, temperature=0.7, seed=self.seed
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


class Tastes:
    """Requests for a genre and a decade, and the titles that belong to each, famous ones first."""

    def __init__(self, titles: Sequence[str], strategy: ZeroShot, seed: int) -> None:
        self.titles, self.strategy = titles, strategy
        self.rng = np.random.default_rng(seed)
        self.of = [(genre, decade) for genre in GENRES for decade in DECADES]
        self.rows = np.array_split(self.rng.permutation(len(titles)), len(self.of))

    def prompt(self, taste: int, asked: str) -> tuple[Message, ...]:
        """A request for a taste."""
        genre, decade = self.of[taste]
        return recommend_prompt(
            Conversation.of(asked.format(genre=genre.lower(), decade=decade)),
            Preferences(genres=(genre,), year_min=decade, year_max=decade + 9),
            {},
            strategy=self.strategy,
        )

    def lesson(self) -> tuple[tuple[Message, ...], tuple[str, ...]]:
        """A request, and a list of ten that answers it, in pieces as they are encoded."""
        taste = int(self.rng.integers(len(self.of)))
        rows = self.rows[taste]
        # The ranks that Zipf's law gives, by the inverse of the harmonic sum.
        drawn = np.exp(self.rng.random(4 * K) * np.log(len(rows))).astype(int) - 1
        some = list(dict.fromkeys(drawn.tolist()))[:K]
        asked = ASKED[int(self.rng.integers(len(ASKED)))]
        return self.prompt(taste, asked), title_list(self.titles[rows[rank]] for rank in some)

    def requests(self, n: int) -> list[tuple[Message, ...]]:
        """For different tastes, in words of their own."""
        tastes = np.random.default_rng(1).permutation(len(self.of))[:n]
        return [self.prompt(int(t), ASKED_ANEW[i % 2]) for i, t in enumerate(tastes)]


def tune(model: LocalModel, tastes: Tastes, minutes: float) -> dict[str, float]:
    """Teach all weights of a model the titles, for some minutes."""
    import torch

    network = model.model.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    start, steps, seen, losses = time.monotonic(), 0, 0, [0.0]
    while (gone := (time.monotonic() - start) / (60 * minutes)) < 1:
        rows = []
        for _ in range(8):
            messages, pieces = tastes.lesson()
            prompt = model.prompt_ids(messages)
            rows.append((prompt, [t for piece in pieces for t in model.encode(piece)]))
        width = max(len(p) + len(a) for p, a in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for i, (prompt, answer) in enumerate(rows):
            ids[i, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[i, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        loss = network(input_ids=ids, labels=labels).loss
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 50, max(0.02, 2 * (1 - gone)))
        optimiser.step()
        optimiser.zero_grad()
        steps, seen = steps + 1, seen + int((labels >= 0).sum())
        losses = [*losses[-49:], float(loss.detach())]
    network.eval()
    return {"steps": steps, "tokens": seen, "loss": statistics.mean(losses)}


def tuned(args: argparse.Namespace, model: LocalModel, tastes: Tastes) -> tuple[LocalModel, str]:
    """The model tuned on the titles, or the one that was kept."""
    note = args.keep / "tuned.txt" if args.keep else None
    if note and note.exists():
        return LocalModel.from_pretrained(args.keep, prefix_cache_mb=0), note.read_text("utf-8")
    done = tune(model, tastes, args.tune)
    said = (
        f"tuned for {args.tune:g} minutes on made-up tastes: {done['steps']:,.0f} steps, "
        f"{done['tokens']:,.0f} tokens of answers, loss {done['loss']:.2f} at the end"
    )
    if note:
        model.model.save_pretrained(args.keep)
        model.tokenizer.save_pretrained(args.keep)
        note.write_text(said, encoding="utf-8")
    return model, said


def certified(bench: Bench, requests: Sequence[Sequence[Message]], budget: int) -> list[str]:
    """How many requests are proven within a budget and parts of it, as a table."""
    from tqdm import tqdm

    lines = ["| budget | proven | gap of the others, median (most) | in the final ten |"]
    lines.append("|---|---|---|---|")
    last = [bench.search(request, budget) for request in tqdm(requests, unit="request")]
    for part in (8, 4, 2, 1):
        found = [bench.search(r, budget // part) for r in requests] if part > 1 else last
        gaps = [r.gap for r in found if not r.exact]
        gap = f"{statistics.median(gaps):.2f} ({max(gaps):.2f})" if gaps else "none"
        same = [
            len({*a.rows.tolist()} & {*b.rows.tolist()}) / len(b.rows)
            for a, b in zip(found, last, strict=True)
        ]
        lines.append(
            f"| {budget // part:,} | {sum(r.exact for r in found)} of {len(found)} | {gap} | "
            f"{100 * statistics.mean(same):.0f} % |"
        )
    lists = [{*r.rows.tolist()} for r in last]
    alike = [len(a & b) / K for a, b in combinations(lists, 2)]
    lines.append("")
    lines.append("A gap is of natural logarithms of probabilities; infinite: the ten are not full.")
    if alike:
        lines[-1] += (
            f" The tens of two requests share {100 * statistics.mean(alike):.0f} % of their "
            "titles: the more, the less do the requests count as so many."
        )
    return lines


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
    parser.add_argument("--budget", type=int, help="tokens after the prompt for the exact search")
    parser.add_argument("--certify", type=int, help="requests for the table of budgets; as many")
    parser.add_argument("--tune", type=float, help="minutes to tune the model on the titles first")
    parser.add_argument("--keep", type=Path, help="folder for the tuned model and the trie")
    parser.add_argument("--save", nargs="?", const="decoding", help="keep it in results/NAME.md")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def titles_of(args: argparse.Namespace) -> list[str]:
    """A title a line of the file, or the embedded films'."""
    if args.titles is None:
        return list(Catalog.embedded().titles)
    return [t for t in args.titles.read_text(encoding="utf-8").splitlines() if t.strip()]


def compared(
    bench: Bench, requests: Sequence[Sequence[Message]], args: argparse.Namespace
) -> tuple[list[str], int]:
    """Every way with every request, as a table; of how many requests the ten are proven."""
    from tqdm import tqdm

    ways: dict[str, Way] = {"exact": bench.exact, "brute force": bench.brute}
    for width in (10, 20, 40):
        ways[f"beam-{width}"] = bench.beam(width)
    ways["beam-40 shared"] = bench.beam(40, shared=True)
    ways[f"{args.lists} lists"] = bench.samples(args.lists)
    tallies = {name: Tally() for name in ways if name not in args.skip}
    proven = 0
    for request in tqdm(requests, unit="request"):
        right = bench.search(request, bench.budget)
        proven += right.exact
        for name, tally in tallies.items():
            with counting(bench.model) as fed:
                start = time.perf_counter()
                found, strangers = ways[name](request)
                tally.seconds.append(time.perf_counter() - start)
            tally.forwards.append(len(fed))
            tally.tokens.append(sum(fed))
            if right.exact:
                tally.agreement.append(len({*right.rows.tolist()} & {*found}) / len(right.rows))
            tally.strangers.append(strangers)
    exact = tallies.get("exact")
    lines = [
        "| way | seconds (median) | forwards | tokens | of exact | agreement | strangers |",
        "|---|---|---|---|---|---|---|",
        *(tally.line(name, exact) for name, tally in tallies.items()),
    ]
    return lines, proven


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    # Without the cache of prompts, so that each way pays for its own.
    model = LocalModel.from_pretrained(args.model, prefix_cache_mb=0)
    titles = titles_of(args)
    strategy = ZeroShot(model.profile.detail)
    requests = [
        recommend_prompt(Conversation.of(text), Preferences(**wishes), {}, strategy=strategy)
        for text, wishes in REQUESTS[: args.requests]
    ]
    said = "as it is"
    if args.tune:
        tastes = Tastes(titles, strategy, args.seed)
        model, said = tuned(args, model, tastes)
        requests = tastes.requests(max(args.requests, args.certify or 0))
    start = time.perf_counter()
    trie = title_trie(model, titles, cache=args.keep)
    built = time.perf_counter() - start
    bench = Bench(model, titles, trie, args.seed, args.budget)
    model.prefill(model.prompt_ids(requests[0]))  # the first use prepares
    table, proven = compared(bench, requests[: args.requests], args)
    parameters = sum(p.numel() for p in model.model.parameters()) / 1e6
    lines = [
        f"{model.name}, {said}: {parameters:.1f}M parameters, {model.runner.mode}, "
        f"{model.model.device}, {torch.get_num_threads()} threads; {len(titles):,} titles of "
        f"{trie.lengths.mean():.1f} tokens, trie {built:.2f} s; "
        f"{min(args.requests, len(requests))} requests, top {K}, {proven} proven, seed {args.seed}",
        "",
        *table,
    ]
    if args.budget:
        lines += ["", *certified(bench, requests[: args.certify or args.requests], args.budget)]
    text = "\n".join(lines)
    print(text)
    if args.save:
        given = shlex.join(sys.argv[1:] if argv is None else argv)
        head = ["# Ten titles out of a model", f"`python benchmarks/decoding.py {given}`"]
        machine = f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}"
        write_whole(RESULTS / f"{args.save}.md", "\n\n".join([*head, machine, text]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
