"""Measure the scoring of candidates in one packed tree, and searches of several users together.

    python benchmarks/scoring.py
    python benchmarks/scoring.py --candidates 100 --repeats 7 --users 1 4 16 --save

Candidates: the same titles after the same prompt, as one tree behind the prompt (llmrec), as a
batch of prompt and title each (the expanded batch), and as a batch of titles behind copies of the
prompt's cache. All ways must give the same probabilities. "Cache MB" is the most that keys and
values took. Users, who all come at once: one ``rank_titles`` for all their prompts, a call in a
thread of its own for each, and one call after the other; what must be the same are the titles.
"Waits" is the time until a user has the answer, of all users and repeats. Candidates are scored
with the embedded model and with a random one of more layers, whose probabilities mean nothing but
cost what those of a trained one would; searches need a trained one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import command_of, keep, spread
from llmrec.catalog import Catalog
from llmrec.decoding import Ranking, rank_titles, score_titles, title_trie
from llmrec.models.local import LocalModel
from llmrec.prompting import LIST_PREFIX, ZeroShot, recommend_prompt
from llmrec.trie import TitleTrie
from llmrec.types import Conversation, Message, Preferences

WISHES = (
    "a {} from the nineties",
    "something like a {}, but lighter",
    "a short {} for tonight",
    "a {} nobody talks about",
)
GENRES = ("Comedy", "Horror", "Drama", "Western", "Romance", "Thriller", "War", "Family")
Scores = npt.NDArray[np.float64]


@contextmanager
def caches(model: LocalModel) -> Iterator[list[float]]:
    """The MB of keys and values after each forward."""
    held: list[float] = []

    def look(_: Any, __: Any, given: dict[str, Any], out: Any) -> None:
        cache = given.get("past_key_values")
        layers = (out.past_key_values if cache is None else cache).layers
        held.append(sum(layer.keys.nbytes + layer.values.nbytes for layer in layers) / 1e6)

    model.prefill([1, 2])  # the first use prepares
    handle = model.model.register_forward_hook(look, with_kwargs=True)
    try:
        yield held
    finally:
        handle.remove()


class Candidates:
    """Some titles after one prompt, scored in three ways."""

    def __init__(
        self, model: LocalModel, prompt: Sequence[int], trie: TitleTrie, rows: npt.NDArray[Any]
    ) -> None:
        self.model, self.prompt, self.trie, self.rows = model, list(prompt), trie, rows
        self.titles = [trie.sequence(int(leaf)) for leaf in trie.leaves_of(rows)]

    def packed(self) -> Scores:
        """One tree."""
        return score_titles(self.model, [self.prompt], self.trie, self.rows)[0]

    def expanded(self) -> Scores:
        """Prompt and title in each row."""
        import torch

        rows, mask = _padded([self.prompt + t[:-1] for t in self.titles])
        with torch.inference_mode():
            logits = self.model.model(rows, attention_mask=mask, use_cache=True).logits
        return self._sums(logits[:, len(self.prompt) - 1 :])

    def copied(self) -> Scores:
        """The prompt once, then a title in each row behind a copy of its cache."""
        import torch
        from transformers import DynamicCache

        n = len(self.prompt)
        cache = DynamicCache(config=self.model.model.config)
        rows, mask = _padded([t[:-1] for t in self.titles])
        with torch.inference_mode():
            ids = torch.tensor([self.prompt])
            first = self.model.model(ids, past_key_values=cache, use_cache=True).logits[:, -1:]
            cache.batch_repeat_interleave(len(rows))
            both = torch.cat([torch.ones((len(rows), n), dtype=torch.long), mask], dim=1)
            logits = self.model.model(
                rows, attention_mask=both, past_key_values=cache, use_cache=True
            ).logits
            logits = torch.cat([first.expand(len(rows), 1, -1), logits], dim=1)
        return self._sums(logits)

    def _sums(self, logits: Any) -> Scores:
        import torch

        with torch.inference_mode():
            logprobs = torch.log_softmax(logits.float(), dim=-1)
        return np.array(
            [
                float(logprobs[i, torch.arange(len(t)), torch.tensor(t)].double().sum())
                for i, t in enumerate(self.titles)
            ]
        )


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[*r, *[0] * (width - len(r))] for r in rows])
    return ids, torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])


def in_turns(
    ways: Sequence[Callable[[], Any]], repeats: int
) -> tuple[list[list[float]], list[Any]]:
    """Seconds of each way, one after the other so that all see the same machine; what they gave."""
    given = [way() for way in ways]
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, took in zip(ways, times, strict=True):
            start = time.perf_counter()
            way()
            took.append(time.perf_counter() - start)
    return times, given


def talk(model: LocalModel, length: int) -> list[int]:
    """A prompt of about so many tokens, as of a conversation that has gone on for a while."""
    messages: list[Message] = []
    prompt: list[int] = []
    while len(prompt) < length:
        wish = WISHES[len(messages) // 2 % len(WISHES)].format(GENRES[len(messages) // 2 % 8])
        messages += [Message("user", wish), Message("assistant", "How about another one?")]
        prompt = model.prompt_ids([*messages, Message("user", "And now?")], LIST_PREFIX)
    return prompt


def scored(model: LocalModel, trie: TitleTrie, prompt: Sequence[int], n: int, reps: int) -> str:
    """The ways to score candidates, as rows of a table."""
    rows = np.sort(np.random.default_rng(0).choice(trie.n_rows, n, replace=False))
    task = Candidates(model, prompt, trie, rows)
    ways = {
        "packed tree": task.packed,
        "expanded batch": task.expanded,
        "batch behind copies": task.copied,
    }
    held, forwards = [], []
    for way in ways.values():
        with caches(model) as seen:
            way()
        held.append(max(seen))
        forwards.append(len(seen))
    times, given = in_turns(list(ways.values()), reps)
    for name, values in zip(ways, given, strict=True):
        if not np.allclose(values, given[0], atol=1e-2):
            raise AssertionError(f"{name} gives other probabilities")
    lines = []
    for i, name in enumerate(ways):
        ratio = [a / b for a, b in zip(times[i], times[0], strict=True)]
        ms = spread([1e3 * t for t in times[i]])
        lines.append(
            f"| {model.name} | {len(prompt)} | {name} | {forwards[i]} | {ms} | "
            f"{spread(ratio, 2)} | {held[i]:.2f} | {held[i] / held[0]:.1f} |"
        )
    return "\n".join(lines)


Answers = list[tuple[Ranking, float]]  # what each user got, and after how many seconds


class Users:
    """Searches of several users who come at once, in three ways."""

    def __init__(
        self, model: LocalModel, trie: TitleTrie, prompts: Sequence[Sequence[int]]
    ) -> None:
        self.model, self.trie, self.prompts = model, trie, list(prompts)
        self.pool = ThreadPoolExecutor(len(self.prompts))  # a server's threads are there already

    def _rank(self, prompts: Sequence[Sequence[int]]) -> list[Ranking]:
        return rank_titles(self.model, prompts, self.trie, 10, score_all_below=0)

    def together(self) -> Answers:
        """One call for all."""
        start = time.perf_counter()
        found = self._rank(self.prompts)
        took = time.perf_counter() - start
        return [(ranking, took) for ranking in found]

    def threads(self) -> Answers:
        """A call of each in its own thread."""
        start = time.perf_counter()

        def ask(prompt: Sequence[int]) -> tuple[Ranking, float]:
            (ranking,) = self._rank([prompt])
            return ranking, time.perf_counter() - start

        return list(self.pool.map(ask, self.prompts))

    def in_turns(self) -> Answers:
        """One call after the other."""
        start = time.perf_counter()
        return [(self._rank([p])[0], time.perf_counter() - start) for p in self.prompts]


def searched(
    model: LocalModel, trie: TitleTrie, prompts: Sequence[Sequence[int]], repeats: int
) -> str:
    """The ways to search for several users, as rows of a table."""
    users, n = Users(model, trie, prompts), len(prompts)
    ways = {
        "one at a time": users.in_turns,
        "threads": users.threads,
        "one call": users.together,
    }
    rates: list[list[float]] = [[] for _ in ways]
    waits: list[list[float]] = [[] for _ in ways]
    right = users.in_turns()
    users.threads()  # which prepares each thread
    all_ways = list(zip(ways, ways.values(), rates, waits, strict=True))
    for turn in range(repeats):
        for at in range(len(all_ways)):  # each goes first now and then
            name, way, rate, wait = all_ways[(turn + at) % len(all_ways)]
            answers = way()
            for (a, _), (b, _) in zip(answers, right, strict=True):
                if not np.allclose(a.scores, b.scores, atol=1e-2):
                    raise AssertionError(f"{name} finds other titles")
            took = [seconds for _, seconds in answers]
            rate.append(n / max(took))
            wait += [1e3 * seconds for seconds in took]
    users.pool.shutdown()
    lines = []
    for name, rate, wait in zip(ways, rates, waits, strict=True):
        ratio = [a / b for a, b in zip(rate, rates[0], strict=True)]
        lines.append(
            f"| {model.name} | {n} | {name} | {spread(rate, 1)} | {spread(ratio, 2)} | "
            f"{spread(wait)} |"
        )
    return "\n".join(lines)


def random_model(like: LocalModel, hidden: int, layers: int) -> LocalModel:
    """A random Llama with the tokenizer of another model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=like.runner.vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=2048,
        initializer_range=0.05,
        tie_word_embeddings=True,
    )
    network = LlamaForCausalLM(config)
    size = sum(p.numel() for p in network.parameters()) / 1e6
    return LocalModel(
        network, like.tokenizer, name=f"random, {size:.0f}M", prefix_cache_mb=0, mode="tree"
    )


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=100, help="titles to score")
    parser.add_argument("--prompt", type=int, default=150, help="tokens of the longer prompt")
    parser.add_argument("--users", type=int, nargs="*", default=[1, 4, 16], help="at once")
    parser.add_argument("--titles", type=Path, help="a title a line; the embedded films else")
    parser.add_argument("--hidden", type=int, default=256, help="of the random model")
    parser.add_argument("--layers", type=int, default=4, help="of the random model; 0: without it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--save", action="store_true", help="keep it in results/scoring.md")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done."""
    args = make_parser().parse_args(argv)
    import torch

    torch.set_num_threads(args.threads)
    model = LocalModel.from_pretrained(prefix_cache_mb=0)
    titles = (
        args.titles.read_text(encoding="utf-8").splitlines()
        if args.titles
        else list(Catalog.embedded().titles)
    )
    trie = title_trie(model, titles)
    prompts = [
        model.prompt_ids(
            recommend_prompt(
                Conversation.of(WISHES[i % len(WISHES)].format(genre.lower())),
                Preferences(genres=(genre,)),
                {},
                strategy=ZeroShot(model.profile.detail),
            ),
            LIST_PREFIX,
        )
        for i, genre in enumerate(GENRES * (-(-max(args.users, default=1) // len(GENRES))))
    ]
    behind = prompts[0], talk(model, args.prompt)
    models = [model]
    if args.layers:
        models.append(random_model(model, args.hidden, args.layers))
    lines = [
        f"{args.candidates} candidates of {len(titles):,} titles ({trie.lengths.mean():.1f} tokens "
        f"each) behind prompts of {len(behind[0])} and {len(behind[1])} tokens, {args.threads} "
        f"threads, n {args.repeats}, medians (least to most); goal: half the time and a "
        "twentieth of the cache of the expanded batch, so ratios of 2 and 20",
        "",
        "| model | prompt | way | forwards | ms | ratio of ms | cache MB | ratio of MB |",
        "|---|---|---|---|---|---|---|---|",
        *(scored(m, trie, p, args.candidates, args.repeats) for m in models for p in behind),
        "",
        f"Exact searches for the first 10 of {len(titles):,} titles, of users who come at once",
        "",
        "| model | users | way | searches a second | ratio | a user waits, ms |",
        "|---|---|---|---|---|---|",
        *(searched(model, trie, prompts[:n], args.repeats) for n in args.users),
    ]
    text = "\n".join(lines)
    print(text)
    if args.save:
        keep("scoring", "Candidates and users", command_of(__file__, argv), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
