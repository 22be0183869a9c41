"""Measure ways to get ten titles out of a model: exact search, brute force, beams, samples.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --titles work/titles.txt --tune 8 --keep work/tuned --budget 4000

Every way answers the same requests with the same model. Tokens are all that the model is fed, the
prompt's apart from those after it: beams through ``generate`` are fed the prompt once each, those
that are "shared" once for all. "The least" is what any exact method must feed after the prompt: a
beginning of a title that is likelier than the tenth title might lead to a likelier one until it is
fed, whatever the method. Such beginnings are counted by walking through all of them, and nothing
else, down to the tenth title's probability; the walk must meet the same ten, which proves them
once more. Agreement is the share of the exact ten that a way finds, over the requests whose ten
are proven; strangers are titles it names that are not in the catalogue. With --budget the search
stops there, and another table says how many requests were proven within it and within parts of
it, and by how much another title might surpass the last one where it was not.

With --tune the model is tuned on the titles first, so that it knows them (benchmarks/tastes.py),
and asked for what it was taught, in other words. Prompts are as it was taught ("short"), or as long
as those of a capable model: behind answered examples ("shots"), with the whole instruction too
("long").
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
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.beams import Walk, beam_search, titles_of
from benchmarks.measuring import command_of, judged, keep
from benchmarks.tastes import PROMPTS, Tastes, of_films, tuned
from llmrec.decoding import Ranking, rank_titles, score_titles, title_trie
from llmrec.models.base import Growth
from llmrec.models.local import LocalModel
from llmrec.options import script
from llmrec.prompting import LIST_PREFIX, parse_titles
from llmrec.titles import fold
from llmrec.trie import TitleTrie
from llmrec.types import Message

K = 10
WIDTHS = (10, 20, 40)
FEW = 10_000  # titles that are soon scored one and all
FEWER_THAN_BEAMS, FEWER_THAN_LISTS, CERTIFIED = 5, 25, 0.8  # the goals
Request = Sequence[Message]
Way = Callable[[Request], tuple[list[int], float]]  # the rows found, share of strangers


@dataclass
class Tally:
    """What one way took and found, one value for each request."""

    seconds: list[float] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    prompt: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)
    strangers: list[float] = field(default_factory=list)

    @property
    def tokens(self) -> float:
        """All that was fed, in the mean."""
        return statistics.mean(self.prompt) + statistics.mean(self.after)

    def line(self, name: str, exact: Tally | None) -> str:
        """The way as a row of the table, its tokens as multiples of the exact search's."""
        after = statistics.mean(self.after)
        cells = (
            f"{statistics.median(self.seconds):.3f}" if self.seconds else "",
            f"{statistics.mean(self.forwards):.0f}" if self.forwards else "",
            f"{statistics.mean(self.prompt):,.0f}",
            f"{after:,.0f} ({min(self.after):,} to {max(self.after):,})",
            f"{self.tokens:,.0f}",
            f"{after / statistics.mean(exact.after):.2f}" if exact else "",
            f"{self.tokens / exact.tokens:.2f}" if exact else "",
            f"{100 * statistics.mean(self.agreement):.0f} %" if self.agreement else "",
            f"{100 * statistics.mean(self.strangers):.0f} %" if self.strangers else "",
        )
        return f"| {name} | {' | '.join(cells)} |"


@dataclass
class Bench:
    """One model, its titles, and ways to ask for them."""

    model: LocalModel
    titles: list[str]
    trie: TitleTrie
    seed: int
    budget: int | None

    def prompt(self, messages: Request) -> list[int]:
        """The tokens that a title follows."""
        return self.model.prompt_ids(messages, LIST_PREFIX)

    def search(self, messages: Request, budget: int | None) -> Ranking:
        """The search with its certificate."""
        prompt = self.prompt(messages)
        return rank_titles(self.model, [prompt], self.trie, K, score_all_below=0, budget=budget)[0]

    def exact(self, messages: Request) -> tuple[list[int], float]:
        """What the search finds."""
        return self.search(messages, self.budget).rows.tolist(), 0.0

    def brute(self, messages: Request) -> tuple[list[int], float]:
        """Every title scored."""
        scores = score_titles(self.model, [self.prompt(messages)], self.trie)[0]
        return np.argsort(-scores, kind="stable")[:K].tolist(), 0.0

    @cached_property
    def walk(self) -> Walk:
        """For the beams."""
        return Walk(self.trie)

    def beams(self, width: int, shared: bool = False) -> Way:
        """The beam search of transformers, held to the titles by ``prefix_allowed_tokens_fn``."""

        def search(messages: Request) -> tuple[list[int], float]:
            prompt = self.prompt(messages)
            found = beam_search(self.model, prompt, self.walk, width, K, shared=shared)
            rows = [self.walk.row(sequence) for sequence in found]
            listed = [row for row in rows if row is not None]
            return listed, 1 - len(listed) / len(rows)

        return search

    def samples(self, lists: int) -> Way:
        """Lists sampled freely, their titles matched back and counted."""
        known = {fold(t): row for row, t in reversed(list(enumerate(self.titles)))}
        tokens = K * (4 + round(float(self.trie.lengths.mean())))

        def sample(messages: Request) -> tuple[list[int], float]:
            texts = self.model.generate(
                [messages] * lists, max_new_tokens=tokens, temperature=0.7, seed=self.seed
            )
            named = [fold(t) for text in texts for t in parse_titles(text)[:K]]
            counts = Counter(known[t] for t in named if t in known)
            strangers = sum(t not in known for t in named) / max(len(named), 1)
            return [row for row, _ in counts.most_common(K)], strangers

        return sample

    def least(self, messages: Request, right: Ranking) -> int:
        """The tokens after the prompt that any exact method must feed.

        right: the proven ten.

        Raises
        ------
        AssertionError: other titles are as likely as the tenth.
        """
        lowest = float(right.logprobs[-1]) - 1e-4  # for what batches of other sizes round
        found, fed = self.model.run(_likelier, self.prompt(messages), self.trie, lowest)
        rows = {int(row) for leaf in found for row in self.trie.rows_of(leaf)}
        if not {*right.rows.tolist()} <= rows or len(found) > K + 1:
            raise AssertionError(f"{len(found)} titles are as likely as the tenth of the search")
        return fed


@dataclass
class _Begun:
    """A beginning of a title that was not fed to its end: its last token is to be fed."""

    token: int
    parent: int  # the forest's index of the token before
    logprob: float
    node: int  # where it leads, or ~leaf
    stands: int  # how much of the leaf's tail stands


def _likelier(
    model: LocalModel, prompt: Sequence[int], trie: TitleTrie, lowest: float
) -> tuple[list[int], int]:
    """The titles that are at least so likely, as leaves, and how many beginnings of titles are."""
    forest = model.prefill_many([prompt])
    found: list[int] = []

    def following(node: int, stands: int) -> list[tuple[int, int, int]]:
        """The tokens that may follow, each with where it leads."""
        if node < 0:
            return [(t, node, stands + 1) for t in trie.tail(~node)[stands : stands + 1].tolist()]
        edges = trie.edges(node)
        return [(t, c, 0) for t, c in zip(edges.tokens.tolist(), edges.child.tolist(), strict=True)]

    def spread(begun: _Begun, ways: list[tuple[int, int, int]], values: Any) -> Iterator[_Begun]:
        for (token, node, stands), value in zip(ways, values.tolist(), strict=True):
            logprob = begun.logprob + value
            if logprob < lowest:
                continue
            if node < 0 and stands == len(trie.tail(~node)):
                found.append(~node)
            else:
                yield _Begun(token, begun.parent, logprob, node, stands)

    root = following(0, 0)
    first = forest.logprobs[0][[token for token, *_ in root]]
    queue = list(spread(_Begun(-1, -1, 0.0, 0, 0), root, first))
    fed, at_once = 0, max(1, forest.room // 4)
    while queue:
        some, queue = queue[:at_once], queue[at_once:]
        ways = [following(b.node, b.stands) for b in some]
        growth = Growth(
            np.array([b.token for b in some], dtype=np.int32),
            np.array([b.parent for b in some], dtype=np.int32),
            np.repeat(np.arange(len(some), dtype=np.int32), [len(w) for w in ways]),
            np.array([token for w in ways for token, *_ in w], dtype=np.int32),
        )
        values = forest.extend([growth])[0]
        at = 0
        for i, (begun, way) in enumerate(zip(some, ways, strict=True)):
            begun.parent = fed + i
            queue += spread(begun, way, values[at : at + len(way)])
            at += len(way)
        fed += len(some)
    return found, fed


@dataclass
class Fed:
    """What forwards were fed: how many there were, tokens of the prompt, tokens after it."""

    forwards: int = 0
    prompt: int = 0
    after: int = 0


@contextmanager
def counting(model: LocalModel, prompt: int) -> Iterator[Fed]:
    """What the model is fed, as it happens; the prompt's are the first so many positions."""
    fed = Fed()

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        rows, columns = given["input_ids"].shape
        cache = given.get("past_key_values")
        before = 0 if cache is None else int(cache.get_seq_length())
        of_prompt = min(max(prompt - before, 0), columns)
        fed.forwards += 1
        fed.prompt += rows * of_prompt
        fed.after += rows * (columns - of_prompt)

    handle = model.model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield fed
    finally:
        handle.remove()


def certified(bench: Bench, requests: Sequence[Request], budget: int) -> list[str]:
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
    share = sum(r.exact for r in last) / len(last)
    lists = [{*r.rows.tolist()} for r in last]
    alike = [len(a & b) / K for a, b in combinations(lists, 2)]
    lines.append("")
    lines.append(
        f"Proven within {budget:,} tokens: {share:.0%}; goal {CERTIFIED:.0%} within 4,000: "
        f"{judged(budget <= 4_000 and share >= CERTIFIED)}. A gap is of natural logarithms of "
        "probabilities; infinite: the ten are not full."
    )
    if alike:
        lines[-1] += (
            f" The tens of two requests share {100 * statistics.mean(alike):.0f} % of their "
            "titles: the more, the less do the requests count as so many."
        )
    return lines


def compared(bench: Bench, requests: Sequence[Request], args: argparse.Namespace) -> list[str]:
    """Every way with every request, as tables."""
    from tqdm import tqdm

    lists = f"{args.lists} lists"
    ways: dict[str, Way] = {"exact": bench.exact}
    ways |= {f"beam-{width}": bench.beams(width) for width in WIDTHS}
    ways |= {f"beam-{WIDTHS[-1]} shared": bench.beams(WIDTHS[-1], shared=True)}
    ways |= {lists: bench.samples(args.lists)}
    brute = args.brute if args.brute is not None else len(requests) * (len(bench.titles) <= FEW)
    if brute:
        ways["brute force"] = bench.brute
    tallies = {name: Tally() for name in ways if name not in args.skip}
    least = Tally()
    for i, request in enumerate(tqdm(requests, unit="request")):
        prompt = len(bench.prompt(request))
        right = bench.search(request, bench.budget)
        if right.exact:
            least.after.append(bench.least(request, right))
            least.prompt.append(prompt)
        for name, tally in tallies.items():
            if name == "brute force" and i >= brute:
                continue
            with counting(bench.model, prompt) as fed:
                start = time.perf_counter()
                found, strangers = ways[name](request)
                tally.seconds.append(time.perf_counter() - start)
            tally.forwards.append(fed.forwards)
            tally.prompt.append(fed.prompt)
            tally.after.append(fed.after)
            if right.exact:
                tally.agreement.append(len({*right.rows.tolist()} & {*found}) / len(right.rows))
            tally.strangers.append(strangers)
    exact = tallies.get("exact")
    proven = len(least.after)
    lines = [
        f"{len(requests)} requests, {proven} proven; prompts of "
        f"{statistics.mean(len(bench.prompt(r)) for r in requests):.0f} tokens in the mean",
        "",
        "| way | seconds (median) | forwards | tokens of the prompt | after it (least to most) | "
        "all | after it, of exact | all, of exact | agreement | strangers |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    if proven:
        lines.append(least.line("the least", exact))
    lines += [tally.line(name, exact) for name, tally in tallies.items()]
    if exact:
        lines += ["", *goals(tallies, exact, least, lists)]
    return lines


def goals(tallies: dict[str, Tally], exact: Tally, least: Tally, lists: str) -> list[str]:
    """How many times fewer tokens the exact search took, by each way to count them."""
    widest = f"beam-{WIDTHS[-1]}"
    rows = (
        (widest, "all, the prompt for each beam", widest, FEWER_THAN_BEAMS),
        (widest, "all, the prompt once", f"{widest} shared", FEWER_THAN_BEAMS),
        (widest, "after the prompt", widest, FEWER_THAN_BEAMS),
        (lists, "all", lists, FEWER_THAN_LISTS),
        (lists, "after the prompt", lists, FEWER_THAN_LISTS),
    )
    proven = len(least.after) == len(exact.after)
    lines = ["| times fewer tokens than | counted | exact | least possible | goal | |"]
    lines.append("|---|---|---|---|---|---|")
    for name, counted, way, goal in rows:
        if way not in tallies:
            continue
        after = counted == "after the prompt"
        own, took = (
            (statistics.mean(t.after) if after else t.tokens) for t in (exact, tallies[way])
        )
        best = (statistics.mean(least.after) if after else least.tokens) if proven else 0
        lines.append(
            f"| {name} | {counted} | {took / own:.2f} | {f'{took / best:.2f}' if best else ''} | "
            f"{goal} | {judged(proven and took / own >= goal)}{', not proven' * (not proven)} |"
        )
    if proven:
        share = statistics.mean(least.after) / statistics.mean(exact.after)
        said = f"Of the tokens that the search fed after the prompt, {share:.0%} were necessary."
        lines += ["", said]
    return lines


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder or Hub id; the embedded model unless given")
    parser.add_argument("--titles", type=Path, help="a title a line; the embedded films else")
    parser.add_argument("--requests", type=int, default=10, help="how many to make")
    parser.add_argument("--prompts", nargs="*", choices=PROMPTS, default=["short"])
    parser.add_argument("--lists", type=int, default=20, help="how many lists to sample")
    parser.add_argument("--skip", nargs="*", default=[], help="ways to leave out, as the table")
    parser.add_argument("--brute", type=int, help="requests for brute force; all of few titles")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--budget", type=int, help="tokens after the prompt for the exact search")
    parser.add_argument("--certify", type=int, help="requests for the table of budgets; as many")
    parser.add_argument("--tune", type=float, help="minutes to tune the model on the titles first")
    parser.add_argument("--keep", type=Path, help="folder for the tuned model and the trie")
    parser.add_argument("--save", nargs="?", const="decoding", help="keep it in results/NAME.md")
    parser.add_argument("--seed", type=int, default=0)
    return parser


@script("decoding")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    # Without the cache of prompts, so that each way pays for its own.
    model = LocalModel.from_pretrained(args.model, prefix_cache_mb=0)
    titles = titles_of(args.titles)
    known, said = Tastes(titles, model.profile.detail, args.seed), "as it is"
    if args.tune:
        model, said = tuned(model, known, args.tune, args.keep)
    start = time.perf_counter()
    trie = title_trie(model, titles, cache=args.keep)
    built = time.perf_counter() - start
    bench = Bench(model, titles, trie, args.seed, args.budget)
    parameters = sum(p.numel() for p in model.model.parameters()) / 1e6
    lines = [
        f"{model.name}, {said}: {parameters:.1f}M parameters, {model.runner.mode}, "
        f"{model.model.device}, {torch.get_num_threads()} threads; {len(titles):,} titles of "
        f"{trie.lengths.mean():.1f} tokens, trie {built:.2f} s; top {K}, seed {args.seed}"
    ]
    for prompt in args.prompts:
        n = max(args.requests, args.certify or 0)
        requests = known.requests(n, prompt) if args.tune else of_films(n, known.strategy(prompt))
        model.prefill(bench.prompt(requests[0]))  # the first use prepares
        first, *rest = compared(bench, requests[: args.requests], args)
        lines += ["", f'Prompts "{prompt}": {first}', *rest]
        if args.budget:
            some = requests[: args.certify or args.requests]
            lines += ["", *certified(bench, some, args.budget)]
    text = "\n".join(lines)
    print(text)
    if args.save:
        of = f", tuned for {args.tune:g} minutes" if args.tune else ""
        keep(args.save, f"Ten titles out of a model{of}", command_of(__file__, argv), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
