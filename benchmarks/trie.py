"""Measure the trie of a large catalogue beside a dict trie and marisa-trie: time, memory, masks.

    python benchmarks/trie.py --rows 20000 --vocabulary 20000
    python benchmarks/trie.py --rows 1300000 --keep work --rivals 50000 1300000 --save

The titles and the tokenizer are those of benchmarks/titles.py. Every step runs in a process of its
own. "Beyond its tokens" is everything that the trie holds but token ids. "Cold" is the first time
after the system was told to forget the file, in a new process. The rivals are what
``prefix_allowed_tokens_fn`` of transformers is usually given: nested dicts, and marisa-trie (where
it is installed) with a character for each token, which must list all titles below a prefix to know
what may follow. A mask is of one step with 40 hypotheses at the same depth of 40 different titles;
its share is of a step of a 1.2 billion parameter model with random weights (Llama 3.2's shape,
this vocabulary), of which two layers are run and the time of one is counted for the other 14.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import command_of, judged, keep, peak_mb, resident_mb, spread
from llmrec.decoding import GroundedList, rank_titles, title_trie
from llmrec.models.chat import ChatTokenizer
from llmrec.models.local import LocalModel
from llmrec.trie import TitleTrie

HYPOTHESES, DEPTHS, PROMPT = 40, 6, 200
LAYERS = 16
_GOALS = {"build_s": 1.0, "bytes": 15.0, "whole_s": 25.0, "load_s": 0.1, "share": 0.01}


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a folder, as transformers takes it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")


class Timed:
    """What ``title_trie`` asks of a model, with a clock around the tokenizer."""

    def __init__(self, folder: Path) -> None:
        self._chat = ChatTokenizer(tokenizer_of(folder))
        self.fingerprint = self._chat.fingerprint
        self._chat.encode_many([" warm"])
        self.seconds = 0.0

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """As the model's."""
        start = time.perf_counter()
        out = self._chat.encode_many(texts)
        self.seconds += time.perf_counter() - start
        return out


def build(folder: Path, rows: int, repeats: int) -> dict[str, Any]:
    """From titles to a file, as a user would; then the part beyond the tokenizer again."""
    titles = (folder / "titles.txt").read_text(encoding="utf-8").splitlines()[:rows]
    model = Timed(folder)
    before = resident_mb()
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        start, busy = time.perf_counter(), time.process_time()
        trie = title_trie(model, titles, cache=Path(cache))  # type: ignore[arg-type]
        whole, whole_cpu = time.perf_counter() - start, time.process_time() - busy
        next(Path(cache).iterdir()).replace(folder / "titles.trie")
    tokens, offsets, numbers = sequences(trie)
    np.savez(folder / "tokens.npz", tokens=tokens, offsets=offsets)
    held = trie.nbytes
    stored = trie.tok.nbytes + trie.tails.nbytes
    times, cpu = [], []
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        TitleTrie.from_arrays(tokens, offsets, numbers)
        times.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    return {
        "titles": len(titles),
        "leaves": trie.n_leaves,
        "tokens": len(tokens),
        "stored_tokens": stored // 4,
        "nodes": len(trie.lo),
        "whole_s": whole,
        "whole_cpu_s": whole_cpu,
        "build_cpu_s": min(cpu),
        "load": os.getloadavg()[0],
        "tokenising_s": model.seconds,
        "build_s": sorted(times),
        "bytes": (held - stored) / len(titles),
        "held_mb": held / 1e6,
        "peak_mb": peak_mb() - before,
    }


def sequences(trie: TitleTrie) -> tuple[Any, Any, Any]:
    """The tokens of every title one after the other, in the order of the rows."""
    leaves = trie.leaves_of(np.arange(trie.n_rows))
    kept = np.flatnonzero(leaves >= 0)
    tree = trie.subtree(np.arange(trie.n_leaves, dtype=np.int32))
    sizes = trie.lengths[leaves[kept]].astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    tokens = np.zeros(offsets[-1], dtype=np.int32)
    at, where = tree.ends[leaves[kept]].astype(np.int64), offsets[1:] - 1
    while len(at):
        tokens[where] = tree.tokens[at]
        at = tree.parents[at].astype(np.int64)
        where = where - 1
        at, where = at[at >= 0], where[at >= 0]
    return tokens, offsets, kept


def load(folder: Path, cold: bool) -> dict[str, Any]:
    """The file mapped, and what the first search needs of it."""
    path = folder / "titles.trie"
    if cold:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = resident_mb()
    start = time.perf_counter()
    trie = TitleTrie.load(path)
    loaded = time.perf_counter()
    opened = trie.open()
    trie.edges(0)
    trie.lengths[opened.leaves].sum()
    trie.leaves_of(np.arange(10))
    return {
        "load_s": loaded - start,
        "first_s": time.perf_counter() - loaded,
        "resident_mb": resident_mb() - before,
    }


def prefixes(folder: Path, rows: int, seed: int) -> list[list[int]]:
    """The tokens of 40 titles that are long enough to be asked at every depth."""
    with np.load(folder / "tokens.npz") as held:
        tokens, offsets = held["tokens"], held["offsets"][: rows + 1]
    long = np.flatnonzero(np.diff(offsets) > DEPTHS)
    some = np.random.default_rng(seed).choice(long, HYPOTHESES, replace=False)
    return [tokens[offsets[i] : offsets[i + 1]].tolist() for i in some]


Next = Callable[[list[int]], list[int]]  # the tokens that may follow those of a title so far


def nested(tokens: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> tuple[Next, float]:
    """A trie of dicts."""
    root: dict[int, Any] = {}
    flat = tokens.tolist()
    for start, end in pairwise(offsets.tolist()):
        node = root
        for token in flat[start:end]:
            node = node.setdefault(token, {})
    del flat

    def following(so_far: list[int]) -> list[int]:
        node = root
        for token in so_far:
            node = node[token]
        return list(node)

    return following, 0.0


def marisa(tokens: npt.NDArray[Any], offsets: npt.NDArray[Any]) -> tuple[Next, float]:
    """A marisa-trie of texts with a character for each token, the first level looked up once."""
    trie_of = import_module("marisa_trie").Trie
    points = tokens + np.where(tokens >= 0xD800, 0x800, 0)  # surrogates are no characters
    text = points.astype("<u4").tobytes().decode("utf-32-le")
    ends = offsets.tolist()
    trie = trie_of(text[a:b] for a, b in pairwise(ends))
    first = np.unique(tokens[offsets[:-1]]).tolist()
    del text, points

    def following(so_far: list[int]) -> list[int]:
        if not so_far:
            return list(first)
        prefix = "".join(chr(t + 0x800 if t >= 0xD800 else t) for t in so_far)
        n = len(prefix)
        nexts = {ord(key[n]) for key in trie.iterkeys(prefix) if len(key) > n}
        return [point - 0x800 if point >= 0xE000 else point for point in nexts]

    return following, len(trie.tobytes()) / 1e6


RIVALS = {"dict": nested, "marisa-trie": marisa}


def rival(folder: Path, name: str, rows: int, seed: int) -> dict[str, Any]:
    """One of the rivals: its building, its memory and its masks."""
    import torch
    from transformers.generation.logits_process import PrefixConstrainedLogitsProcessor

    torch.set_num_threads(1)
    with np.load(folder / "tokens.npz") as held:
        offsets = held["offsets"][: rows + 1]
        tokens = held["tokens"][: offsets[-1]]
    scores = torch.zeros((HYPOTHESES, len(tokenizer_of(folder))))
    gc.collect()
    before = resident_mb()
    start = time.perf_counter()
    following, own_mb = RIVALS[name](tokens, offsets)
    built = time.perf_counter() - start
    gc.collect()
    held_mb = own_mb or resident_mb() - before
    titles = prefixes(folder, rows, seed)
    processor = PrefixConstrainedLogitsProcessor(
        lambda _, ids: following(ids.tolist()[PROMPT:]), HYPOTHESES
    )
    times = []
    for depth in range(DEPTHS):
        ids = torch.tensor([[0] * PROMPT + t[:depth] for t in titles])
        start = time.perf_counter()
        masked = processor(ids, scores)
        times.append(time.perf_counter() - start)
        if not all(masked[i, t[depth]] == 0 for i, t in enumerate(titles)):
            raise AssertionError(f"{name} closes what is open at depth {depth}")
    return {"rows": rows, "build_s": built, "held_mb": held_mb, "mask_s": times}


def shaped(folder: Path, layers: int = 2) -> Clocked:
    """A random model of the shape of Llama 3.2 1B with this vocabulary, but for its depth."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_of(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model = model.to_empty(device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.uniform_(-0.03, 0.03)
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return Clocked(model, tokenizer, prefix_cache_mb=0, mode="tree")


@contextmanager
def clocked(model: Any) -> Iterator[dict[str, list[float]]]:
    """Seconds of each layer and of each forward of a model."""
    spent: dict[str, list[float]] = {"layer": [], "forward": []}
    started: list[float] = []

    def before(*_: Any) -> None:
        started.append(time.perf_counter())

    def after(kind: str) -> Callable[..., None]:
        return lambda *_: spent[kind].append(time.perf_counter() - started.pop())

    handles = []
    for kind, modules in (("layer", model.model.layers), ("forward", [model])):
        for module in modules:
            handles += [
                module.register_forward_pre_hook(before),
                module.register_forward_hook(after(kind)),
            ]
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def whole_step(spent: dict[str, list[float]]) -> float:
    """Seconds of a step of all the layers, from those of the layers that are there."""
    layer = statistics.median(spent["layer"])
    there = len(spent["layer"]) // len(spent["forward"])
    return statistics.median(spent["forward"]) + (LAYERS - there) * layer


def masks(folder: Path, repeats: int, seed: int) -> dict[str, Any]:
    """What the constraint takes of a decode step, as a mask over beams and within the search."""
    import torch
    from transformers import DynamicCache

    torch.set_num_threads(1)
    model = shaped(folder)
    trie = TitleTrie.load(folder / "titles.trie")
    titles = prefixes(folder, trie.n_rows, seed)
    with torch.inference_mode(), clocked(model.model) as spent:
        cache = DynamicCache()
        model.model(torch.zeros((1, PROMPT), dtype=torch.long), past_key_values=cache)
        cache.batch_repeat_interleave(HYPOTHESES)
        spent["layer"].clear()
        spent["forward"].clear()
        for _ in range(repeats):
            model.model(torch.ones((HYPOTHESES, 1), dtype=torch.long), past_key_values=cache)
    step = whole_step(spent)
    scores = torch.randn((HYPOTHESES, model.runner.vocabulary))
    mark = model.encode("1.")
    start = time.perf_counter()
    GroundedList(model, trie)
    ready = time.perf_counter() - start
    times: list[list[float]] = [[] for _ in range(DEPTHS)]
    for _ in range(repeats):
        grounded = GroundedList(model, trie)
        for length in range(len(mark) + DEPTHS):
            rows = [[0] * PROMPT + (mark + t)[:length] for t in titles]
            ids = torch.tensor(rows)
            start = time.perf_counter()
            masked = grounded(ids, scores)
            took = time.perf_counter() - start
            if length >= len(mark):
                depth = length - len(mark)
                times[depth].append(took)
                if not all(
                    masked[i, t[depth]] == scores[i, t[depth]] for i, t in enumerate(titles)
                ):
                    raise AssertionError(f"a title is closed at depth {depth}")
    return {
        "step_s": step,
        "layer_s": statistics.median(spent["layer"]),
        "ready_s": ready,
        "mask_s": [statistics.median(t) for t in times],
        "search": within_search(model, trie, seed),
    }


class Clocked(LocalModel):
    """A model whose forests say how long they took."""

    extended = 0.0

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Any:
        """As ever, with a clock around each growth."""
        forest: Any = super().prefill_many(prompts)
        grow = forest.extend

        def extend(growths: Any) -> Any:
            start = time.perf_counter()
            out = grow(growths)
            self.extended += time.perf_counter() - start
            return out

        forest.extend = extend
        return forest


def within_search(model: Clocked, trie: TitleTrie, seed: int) -> dict[str, float]:
    """Of a search 40 paths wide: what is not the model's forward."""
    import torch

    vocabulary = model.runner.vocabulary
    prompt = np.random.default_rng(seed).integers(300, vocabulary // 2, PROMPT).tolist()
    rank_titles(model, [prompt], trie, 10, budget=HYPOTHESES, width=HYPOTHESES)
    model.extended = 0.0
    with torch.inference_mode(), clocked(model.model) as spent:
        start = time.perf_counter()
        found = rank_titles(model, [prompt], trie, 10, budget=600, width=HYPOTHESES)[0]
        whole = time.perf_counter() - start
    steps = found.forwards - 1
    prefill, *forwards = spent["forward"]
    spent["forward"], spent["layer"] = forwards, spent["layer"][2:]
    tokens = found.tokens / steps
    logits = torch.randn((round(tokens), vocabulary))
    start = time.perf_counter()
    torch.logsumexp(logits, dim=-1)
    softmax = time.perf_counter() - start
    return {
        "steps": steps,
        "tokens": tokens,
        "step_s": whole_step(spent),
        "search_s": (whole - prefill - model.extended) / steps,
        "beside_s": (model.extended - sum(forwards)) / steps,
        "softmax_s": softmax,
    }


def alone(task: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """``task`` in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(task, *args).result()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every step."""
    script = str(Path(__file__).with_name("titles.py"))
    command = [sys.executable, script, "--rows", str(args.rows), "--out", str(folder)]
    command += ["--vocabulary", str(args.vocabulary), "--seed", str(args.seed)]
    subprocess.run(command, check=True)  # noqa: S603 - its own script
    os.environ.update(OMP_NUM_THREADS="1", RAYON_NUM_THREADS=str(args.cores))
    figures: dict[str, Any] = {"ours": alone(build, folder, args.rows, args.repeats)}
    for name, cold in (("cold", True), ("warm", False)):
        figures[name] = [alone(load, folder, cold) for _ in range(args.repeats)]
    figures["masks"] = {} if args.no_model else alone(masks, folder, args.repeats, args.seed)
    figures["rivals"] = {name: [] for name in RIVALS}
    for name in RIVALS:
        if name != "dict" and find_spec(name.replace("-", "_")) is None:
            continue
        for rows in args.rivals or [args.rows]:
            figures["rivals"][name].append(alone(rival, folder, name, rows, args.seed))
    return figures


def report(figures: dict[str, Any], folder: Path, args: argparse.Namespace) -> list[str]:
    """The figures as Markdown."""
    ours, search = figures["ours"], figures["masks"].get("search", {})
    build_s = statistics.median(ours["build_s"])
    loads = {how: [f["load_s"] for f in figures[how]] for how in ("cold", "warm")}
    load_s = statistics.median(loads["cold"])
    n = len(ours["build_s"])
    first = {how: [f["first_s"] for f in figures[how]] for how in ("cold", "warm")}
    rest = ours["whole_s"] - ours["tokenising_s"]
    lines = [
        f"{ours['titles']:,} titles, {ours['tokens'] / ours['titles']:.1f} tokens each; "
        + (folder / "tokenizer" / "made.txt").read_text(encoding="utf-8").strip(),
        f"{ours['nodes']:,} nodes branch, {ours['stored_tokens']:,} tokens are stored; "
        f"the whole takes {ours['held_mb']:.0f} MB",
        f"The machine was shared: {ours['load']:.1f} processes wanted its cores on average. The "
        f"whole took {ours['whole_cpu_s']:.1f} s of processor time, the trie from arrays "
        f"{ours['build_cpu_s']:.2f} s at least.",
        "",
        "| what | measured | goal | |",
        "|---|---|---|---|",
        f"| from titles to a saved trie, {args.cores} cores | {ours['whole_s']:.1f} s | 25 s | "
        f"{judged(ours['whole_s'] <= _GOALS['whole_s'])} |",
        f"| of that, the tokenizer | {ours['tokenising_s']:.1f} s | | |",
        f"| of that, all else (texts, key, arrays, trie, saving) | {rest:.1f} s | | |",
        f"| the trie from arrays of tokens, n {n} | {spread(ours['build_s'], 2)} s | 1 s | "
        f"{judged(build_s <= _GOALS['build_s'])} |",
        f"| bytes a title beyond its tokens | {ours['bytes']:.1f} | 15 | "
        f"{judged(ours['bytes'] <= _GOALS['bytes'])} |",
        f"| load, cold, n {n} | {spread(loads['cold'], 2, 1e3)} ms | 100 ms "
        f"| {judged(load_s <= _GOALS['load_s'])} |",
        f"| load, warm | {spread(loads['warm'], 2, 1e3)} ms | | |",
        f"| first use after a cold load | {spread(first['cold'], 0, 1e3)} ms | | |",
        f"| first use after a warm load | {spread(first['warm'], 0, 1e3)} ms | | |",
        f"| most memory while building, titles not counted | {ours['peak_mb']:,.0f} MB | | |",
        "",
        "| trie | titles | build s | held MB | ratio of MB | mask of a step, ms by depth "
        f"0 to {DEPTHS - 1} |",
        "|---|---|---|---|---|---|",
    ]
    own_masks = figures["masks"].get("mask_s", [])
    lines.append(row("llmrec", ours["titles"], build_s, ours["held_mb"], 1.0, own_masks))
    for name, entries in figures["rivals"].items():
        for entry in entries:
            share = entry["rows"] / ours["titles"]
            ratio = entry["held_mb"] / (ours["held_mb"] * share)
            lines.append(
                row(name, entry["rows"], entry["build_s"], entry["held_mb"], ratio, entry["mask_s"])
            )
        if not entries:
            lines.append(f"| {name} | not installed | | | | |")
    if own_masks:
        lines += cost(figures, search)
    return lines


def row(
    name: str, titles: int, build_s: float, held: float, ratio: float, times: Sequence[float]
) -> str:
    """A trie as a row of the table; a ratio is to ours at as many titles."""
    ms = ", ".join(f"{1e3 * t:.1f}" for t in times)
    return f"| {name} | {titles:,} | {build_s:.2f} | {held:,.0f} | {ratio:.1f} | {ms} |"


def cost(figures: dict[str, Any], search: dict[str, float]) -> list[str]:
    """What the constraint takes of a step."""
    found = figures["masks"]
    step = found["step_s"]
    lines = [
        "",
        f"A step of {HYPOTHESES} hypotheses after a prompt of {PROMPT} tokens takes the model "
        f"{step:.2f} s on one thread (a layer {1e3 * found['layer_s']:.0f} ms, float32).",
        "",
        "| constraint, mean of a step | titles | ms | share of the step | goal 1 % |",
        "|---|---|---|---|---|",
    ]
    ours = figures["ours"]["titles"]
    cells = [
        ("GroundedList, a mask for beams", ours, statistics.mean(found["mask_s"]), step),
        ("exact search, the trie and the queue", ours, search["search_s"], search["step_s"]),
        ("exact search, masks and probabilities", ours, search["beside_s"], search["step_s"]),
    ]
    for name, entries in figures["rivals"].items():
        for entry in entries:
            cells.append(
                (f"prefix_allowed_tokens_fn over {name}", entry["rows"], *_mean(entry), step)
            )
    for name, titles, seconds, of in cells:
        share = seconds / of
        lines.append(
            f"| {name} | {titles:,} | {1e3 * seconds:.1f} | {share:.2%} | "
            f"{judged(share <= _GOALS['share'])} |"
        )
    lines.append("")
    lines.append(
        f"The search fed {search['tokens']:.0f} tokens a step over {search['steps']:.0f} steps "
        f"({search['step_s']:.2f} s each). Its probabilities need a sum over the vocabulary for "
        f"each token, {1e3 * search['softmax_s']:.0f} ms of each step, as any ranking does. "
        f"GroundedList took {found['ready_s']:.1f} s once, for the bytes of the vocabulary."
    )
    return lines


def _mean(entry: dict[str, Any]) -> tuple[float]:
    return (statistics.mean(entry["mask_s"]),)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000, help="titles")
    parser.add_argument("--vocabulary", type=int, default=50_000, help="tokens of the tokenizer")
    parser.add_argument("--rivals", type=int, nargs="*", help="titles of the rivals; all else")
    parser.add_argument("--repeats", type=int, default=5, help="of what is repeated")
    parser.add_argument("--cores", type=int, default=2, help="for the tokenizer; all else has one")
    parser.add_argument("--no-model", action="store_true", help="leave out the share of a step")
    parser.add_argument("--keep", type=Path, help="folder to work in and to leave everything in")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--save", action="store_true", help="keep the tables in results/trie.md")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when done."""
    args = make_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="llmrec-bench-") as made:
        folder = args.keep or Path(made)
        figures = measure(args, folder)
        lines = report(figures, folder, args)
    text = "\n".join(lines)
    print(text)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if args.save:
        keep("trie", "The trie of a large catalogue", command_of(__file__, argv), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
