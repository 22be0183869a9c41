"""Measure what holds a beam search to the titles: our trie, dicts, marisa-trie or llguidance.

    python benchmarks/beams.py
    python benchmarks/beams.py --titles work/titles.txt --model tuned --sizes 50000 1300000 --save

Each constraint holds the beams of transformers' ``generate`` in a process of its own, for the same
requests with the same model. Tries are given through ``prefix_allowed_tokens_fn``, from titles that
are tokenised already; llguidance gets a Lark grammar with one terminal, which is any of the titles,
and masks through a logits processor. "Built" is after the first mask; "limits raised" lifts those
of llguidance, which ends early otherwise. What takes longer than --patience is ended and said so.
Seconds are of the processor. The model's tokens are the same in all; only llguidance lets a title
be written in other tokens than the model was taught, since it knows texts.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks import tastes
from benchmarks.measuring import command_of, keep, resident_mb, spread
from benchmarks.trie import RIVALS, Next, sequences
from llmrec.catalog import Catalog
from llmrec.decoding import title_trie
from llmrec.errors import InputError
from llmrec.models.local import LocalModel
from llmrec.options import script
from llmrec.prompting import LIST_PREFIX, title_entry
from llmrec.trie import TitleTrie
from llmrec.types import Message

LONGEST = 64  # tokens of a title


class Constraint(Protocol):
    """What may follow, as a logits processor; ``ends`` are the tokens that end a title."""

    ends: list[int]

    def processor(self, prompt: int, width: int) -> Any:
        """For one search behind a prompt of so many tokens."""
        ...


@dataclass
class Allowed:
    """What ``prefix_allowed_tokens_fn`` of transformers makes of a list of tokens."""

    following: Next
    ends: list[int]

    def processor(self, prompt: int, width: int) -> Any:
        """As ``generate`` makes it."""
        from transformers.generation.logits_process import PrefixConstrainedLogitsProcessor

        return PrefixConstrainedLogitsProcessor(
            lambda _, ids: self._allowed(ids.tolist()[prompt:]), width
        )

    def _allowed(self, so_far: list[int]) -> list[int]:
        try:
            return self.following(so_far) or self.ends
        except KeyError:  # a beam that is over, or of no probability
            return self.ends


class Walk:
    """What may follow in our trie; remembers where the texts of a search stand."""

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

    def following(self, so_far: Sequence[int]) -> list[int]:
        """The tokens that may follow; an end, where nothing may."""
        at = self.place(tuple(so_far))
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

    def processor(self, prompt: int, width: int) -> Any:
        """For a search that knows nothing of another."""
        self._places = {(): (0, 0)}
        return Allowed(self.following, self.ends).processor(prompt, width)


class Guided:
    """llguidance with a grammar of all the titles.

    Raises
    ------
    ValueError: it does not take the grammar.
    """

    def __init__(self, model: LocalModel, titles: Sequence[str], raised: bool) -> None:
        from llguidance import LLMatcher, LLParserLimits
        from llguidance.hf import from_tokenizer

        most = 10**9
        limits = LLParserLimits(
            max_grammar_size=most, initial_lexer_fuel=most, step_lexer_fuel=most,
            max_lexer_states=most, max_items_in_row=most, step_max_items=most,
        )  # fmt: skip
        quoted = (json.dumps(title_entry(t), ensure_ascii=False) for t in titles)
        grammar = LLMatcher.grammar_from_lark("start: TITLE\nTITLE: " + " | ".join(quoted))
        tokenizer = from_tokenizer(model.tokenizer, n_vocab=model.runner.vocabulary)
        self.matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=limits if raised else None)
        if self.matcher.is_error():
            raise ValueError(self.matcher.get_error().splitlines()[0])
        self.matcher.compute_bitmask()
        self.ends = [i for i, b in enumerate(model.token_bytes) if b.endswith(b"\n")]

    def processor(self, prompt: int, width: int) -> Any:
        """Every text is read from its beginning: a copy for each takes a hundred times as long."""
        import torch

        def process(ids: Any, scores: Any) -> Any:
            open_ = torch.zeros(scores.shape, dtype=torch.bool)
            for i, text in enumerate(ids[:, prompt:].tolist()):
                self.matcher.reset()
                read = self.matcher.try_consume_tokens(text)
                if read < len(text) or self.matcher.is_stopped():
                    open_[i, self.ends] = True
                    continue
                bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
                flags = np.unpackbits(bits, bitorder="little")[: scores.shape[1]]
                open_[i, : len(flags)] = torch.from_numpy(flags).bool()
            return scores.masked_fill(~open_, -torch.inf)

        return process


def beam_search(
    model: LocalModel,
    prompt: Sequence[int],
    constraint: Constraint,
    width: int,
    n: int,
    *,
    shared: bool = False,
    spent: list[float] | None = None,
) -> list[list[int]]:
    """What transformers' beam search finds, the ``n`` likeliest first.

    shared: the prompt is run once, and its cache is copied for the beams.
    spent: gets the seconds of processor time of each step of the constraint.
    """
    import torch
    from transformers import DynamicCache

    ids = torch.tensor([list(prompt)], device=model.model.device)
    begun: dict[str, Any] = {}
    if shared:
        cache = DynamicCache(config=model.model.config)
        with torch.inference_mode():
            model.model(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(width)
        begun = {"past_key_values": cache}
    process = constraint.processor(len(prompt), width)

    def clocked(so_far: Any, scores: Any) -> Any:
        start = time.process_time()
        out = process(so_far, scores)
        if spent is not None:
            spent.append(time.process_time() - start)
        return out

    found = model.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        num_beams=width,
        num_return_sequences=min(width, n),
        max_new_tokens=LONGEST,
        do_sample=False,
        length_penalty=0.0,
        eos_token_id=constraint.ends,
        pad_token_id=0,
        logits_processor=[clocked],
        **begun,
    )
    sequences: list[list[int]] = found[:, len(prompt) :].tolist()
    return sequences


def tried(task: Callable[..., dict[str, Any]], patience: float) -> dict[str, Any]:
    """What ``task`` gives in a new process, or how that ended ("ended")."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, task))
    process.start()
    sender.close()
    try:
        if not receiver.poll(patience):
            return {"ended": f"not done after {patience:g} s"}
        answer: dict[str, Any] = receiver.recv()
        process.join(patience)  # it ends by itself, and leaves nothing behind
        return answer
    except EOFError:
        process.join()
        return {"ended": f"the process ended with status {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _answer(sender: Connection, task: Callable[..., dict[str, Any]]) -> None:
    try:
        sender.send(task())
    except ValueError as e:
        sender.send({"ended": str(e)})


WAYS = ("our trie", "dict", "marisa-trie", "llguidance", "llguidance, limits raised")


def measured(way: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """One constraint over the first titles: its building, its memory, its steps, what is found."""
    import torch

    torch.set_num_threads(1)
    model = LocalModel.from_pretrained(args.model, prefix_cache_mb=0)
    titles = titles_of(args.titles)[:size]
    requests = asked(args)
    model.prefill(model.prompt_ids(requests[0], LIST_PREFIX))  # the first use prepares
    trie = title_trie(model, titles, cache=args.keep)
    walk = Walk(trie)
    constraint: Constraint
    tokens = sequences(trie)
    own_mb = 0.0
    gc.collect()
    before, start = resident_mb(), time.process_time()
    if way == WAYS[0]:
        own_mb = TitleTrie.from_arrays(*tokens).nbytes / 1e6
        constraint = walk
    elif way in RIVALS:
        following, own_mb = RIVALS[way](*tokens[:2])
        constraint = Allowed(following, walk.ends)
    else:
        constraint = Guided(model, titles, way != WAYS[3])
    built = time.process_time() - start
    gc.collect()
    held = own_mb or resident_mb() - before
    spent: list[float] = []
    found, start = [], time.process_time()
    for messages in requests:
        prompt = model.prompt_ids(messages, LIST_PREFIX)
        got = beam_search(model, prompt, constraint, args.width, 10, shared=True, spent=spent)
        found.append([_title(model, tokens, constraint.ends) for tokens in got])
    whole = time.process_time() - start
    return {"built": built, "mb": held, "spent": spent, "whole": whole, "found": found}


def _title(model: LocalModel, tokens: Sequence[int], ends: Sequence[int]) -> str:
    n = next((i for i, t in enumerate(tokens, 1) if t in ends), len(tokens))
    text: str = model.tokenizer.decode(tokens[:n])
    return text.strip()


def titles_of(path: Path | None) -> list[str]:
    """A title a line of a file, or the embedded films'. Raises InputError."""
    if path is None:
        return list(Catalog.embedded().titles)
    if not path.is_file():
        raise InputError(
            f"there are no titles in {path}: "
            f"python benchmarks/titles.py --rows 1300000 --out {path.parent} makes some"
        )
    return [t for t in path.read_text(encoding="utf-8").splitlines() if t.strip()]


def asked(args: argparse.Namespace) -> list[tuple[Message, ...]]:
    """The requests: for tastes, if a model was tuned on them, or else for films."""
    detail = LocalModel.from_pretrained().profile.detail
    known = tastes.Tastes([], detail, 0)
    if args.model:
        return known.requests(args.requests, "short")
    return tastes.of_films(args.requests, known.strategy("short"))


def row(way: str, size: int, got: dict[str, Any], ours: dict[str, Any]) -> str:
    """A constraint as a row of the table."""
    if "ended" in got:
        return f"| {way} | {size:,} | {got['ended']} | | | | |"
    share = sum(got["spent"]) / got["whole"]
    pairs = list(zip(got["found"], ours.get("found", ()), strict=False))
    named = sum(len({*right}) for _, right in pairs)
    same = sum(len({*own} & {*right}) for own, right in pairs)
    return (
        f"| {way} | {size:,} | {got['built']:.2f} | {got['mb']:,.0f} | "
        f"{spread(got['spent'], 1, 1e3)} | {share:.0%} | {f'{same / named:.0%}' if named else ''} |"
    )


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder that decoding.py keeps; the embedded model else")
    parser.add_argument("--titles", type=Path, help="a title a line; the embedded films else")
    parser.add_argument(
        "--sizes", type=int, nargs="*", help="first so many titles; all unless given"
    )
    parser.add_argument("--width", type=int, default=40, help="beams")
    parser.add_argument("--requests", type=int, default=3, help="how many to make")
    parser.add_argument("--patience", type=float, default=300, help="seconds for one constraint")
    parser.add_argument("--keep", type=Path, help="folder of tries that were built before")
    parser.add_argument("--save", action="store_true", help="keep it in results/beams.md")
    return parser


@script("beams")
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done."""
    args = make_parser().parse_args(argv)
    n = len(titles_of(args.titles))
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)  # what takes long is not lost with what comes after it

    say(
        f"{args.width} beams, the prompt run once, {args.requests} requests, "
        f"{args.model or 'the embedded model'}, one thread\n"
    )
    say(
        "| constraint | titles | built, s | MB | ms a step (least to most) "
        "| share of the search | of our trie's titles |\n|---|---|---|---|---|---|---|"
    )
    for size in (min(some, n) for some in args.sizes or [n]):
        ours: dict[str, Any] = {}
        for way in WAYS:
            if way == "marisa-trie" and find_spec("marisa_trie") is None:
                say(f"| {way} | {size:,} | not installed | | | | |")
                continue
            got = tried(partial(measured, way, size, args), args.patience)
            ours = ours or got
            say(row(way, size, got, ours))
    if args.save:
        text = "\n".join(lines)
        keep("beams", "What holds beams to titles", command_of(__file__, argv), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
