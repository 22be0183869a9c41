"""Say what so many users and titles take, in machines, GPUs and money, and what is outgrown first.

    python benchmarks/capacity.py --users 1e6 10e6 100e6 --titles 1e6 10e6 100e6
    python benchmarks/capacity.py --measure --sizes 10000 30000 --costs costs.json

Costs are measured in processes of their own for each size (--measure), over made-up films that
benchmarks/catalog.py draws, with the embedded model on one thread, and kept in a file. One process
builds the catalogue, the second starts as the first over it and leaves what it worked out in files,
the third starts from these. Memory is what that one grew by while a part was made, or while twenty
lists and answers were given, without the pages of files, which the processes of a machine share:
those count by the size of the files. Seconds are those of processors, without waiting. From
two sizes on each cost is fitted by a straight line, a + b x titles, and what is asked for is read
off it: a figure beyond the largest size measured is an extrapolation, and says by how many times.
What nobody can measure here (visits, prices, speeds of a GPU) is assumed, and an option each.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import peak_mb, resident_mb
from llmrec.errors import InputError, LLMRecError
from llmrec.folders import write_whole

if TYPE_CHECKING:
    from llmrec import Recommender

COSTS = Path(__file__).with_suffix(".json")
PARTS = ("columns", "title index", "lexicon", "likeness", "trie", "answering")  # of a process
STEPS = ("understand", "plan", "recommend", "answer", "search")
ASKED = 20
HOURS = 730  # of a month
MARK = "<!-- benchmarks/capacity.py -->"


@dataclass(frozen=True)
class Assumed:
    """What is not measured here, by the name of its option."""

    requests: float = 2.0
    peak: float = 4.0
    stay: float = 120.0
    busy: float = 0.5
    prompt_tokens: float = 1_200.0
    search_tokens: float = 500.0
    written_tokens: float = 200.0
    prefill_speed: float = 20_000.0
    search_speed: float = 5_000.0
    write_speed: float = 2_500.0
    visitor_mb: float = 1.0
    cores: float = 16.0
    memory_gb: float = 64.0
    machine_price: float = 0.80
    gpu_price: float = 2.00
    storage_price: float = 0.023


HELP = {
    "requests": "answers to each user, a day",
    "peak": "requests of the busiest hour, as a multiple of the day's mean",
    "stay": "seconds that a visitor stays for each answer, at the page",
    "busy": "share of the time that cores and GPUs may be busy at the peak",
    "prompt_tokens": "tokens of the prompts of an answer: to understand, to rank, to write",
    "search_tokens": "tokens fed to rank titles",
    "written_tokens": "tokens written for an answer: what was understood, and words",
    "prefill_speed": "prompt tokens a second, of a model of some 3 B on one GPU",
    "search_speed": "tokens of the ranking a second, on one GPU, requests side by side",
    "write_speed": "tokens written a second, on one GPU, requests side by side",
    "visitor_mb": "memory for each visitor who is there, in MB (docs/deploy.md)",
    "cores": "cores of a machine",
    "memory_gb": "memory of a machine, in GB",
    "machine_price": "of such a machine, an hour, in dollars",
    "gpu_price": "of a GPU, an hour, in dollars",
    "storage_price": "of a GB on object storage, a month, in dollars",
}


@dataclass(frozen=True)
class Line:
    """A cost by the number of titles: ``fixed`` + ``each`` x titles.

    Attributes
    ----------
    off: the largest share by which a measured value differs from it.
    """

    fixed: float
    each: float
    off: float

    def __call__(self, titles: float) -> float:
        return self.fixed + self.each * titles

    def reaches(self, limit: float) -> float:
        """The number of titles at which it costs so much."""
        return max(0.0, (limit - self.fixed) / self.each) if self.each > 0 else math.inf


def fitted(sizes: Sequence[float], values: Sequence[float]) -> Line:
    """The line with the least squared relative error that falls nowhere below 0."""
    x, y = np.array(sizes, float), np.array(values, float)
    weights = 1.0 / np.maximum(y, max(1e-9, 0.01 * float(y.max())))
    design = np.stack([weights, weights * x], axis=1)
    fixed, each = np.linalg.lstsq(design, weights * y, rcond=None)[0].tolist()
    if each < 0:
        fixed, each = float(y.mean()), 0.0
    elif fixed < 0:
        fixed, each = 0.0, float((weights**2 * x * y).sum() / (weights**2 * x * x).sum())
    off = np.abs(weights * (fixed + each * x - y))
    return Line(fixed, each, float(off.max()))


# Measuring.


class Steps:
    """Seconds and growth in MB of one step after another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.mb: dict[str, float] = {}

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        gc.collect()
        before, start = resident_mb(shared=False), time.process_time()
        made = run()
        self.seconds[name] = time.process_time() - start
        gc.collect()
        self.mb[name] = max(0.0, resident_mb(shared=False) - before)
        return made


def requests(items: Sequence[Any], seed: int) -> list[tuple[str, str]]:
    """Messages that ask for films, and questions, of what made-up items hold."""
    rng = random.Random(seed)
    asked = []
    for n in range(ASKED):
        item = rng.choice(items)
        wish = (
            f"a {item.genres[0].lower()} film from the {10 * rng.randint(195, 201)}s",
            f"something with {item.cast[0]}",
            f"a {item.genres[0].lower()} of at most {rng.randint(90, 180)} minutes, not from USA",
            f"films like {item.title} ({item.year})",
        )[n % 4]
        asked.append((wish, f"who directed {item.title}?"))
    return asked


def built(rows: int, seed: int, path: Path) -> dict[str, float]:
    """Build a catalogue of so many titles, and say the seconds that took."""
    from benchmarks.catalog import made_up_items
    from llmrec.catalog import Catalog

    start = time.process_time()
    Catalog.from_items(made_up_items(rows, seed), path)
    return {"build_seconds": time.process_time() - start}


def started(path: Path, step: Steps) -> Recommender:
    """A recommender over a catalogue with everything that it holds."""
    from llmrec import Recommender
    from llmrec.catalog import Catalog

    catalog: Catalog = step("open", lambda: Catalog.open(path))
    step("columns", lambda: (catalog.labels, catalog.popularity, "none" in catalog))
    recommender = Recommender.from_pretrained(catalog=catalog)
    step("title index", lambda: catalog.title_index)
    step("lexicon", lambda: recommender.understander)
    step("likeness", lambda: recommender._signals._content)
    step("trie", lambda: recommender._trie)
    return recommender


def first(path: Path) -> dict[str, Any]:
    """What the first start over a catalogue takes; for a process that has done nothing else."""
    import torch

    from llmrec import Recommender

    torch.set_num_threads(1)
    Recommender.from_pretrained().recommend("a comedy", k=5)
    shutil.rmtree(path / "kept", ignore_errors=True)
    step = Steps()
    started(path, step)
    return {"first_seconds": step.seconds, "first_peak_mb": peak_mb()}


def measured(path: Path, seed: int) -> dict[str, Any]:
    """The costs of a catalogue; for a process that has done nothing else."""
    import torch

    from llmrec import Recommender

    torch.set_num_threads(1)
    begun = resident_mb()
    Recommender.from_pretrained().recommend("a comedy", k=5)  # what any number of titles takes
    base, step = resident_mb(), Steps()
    recommender = started(path, step)
    catalog, trie = recommender.catalog, recommender._trie
    n, shelf = len(catalog), catalog.shelf
    asked = requests(catalog.items_at(range(0, n, max(1, n // 200))), seed)
    kept = sum(f.stat().st_size for f in shelf.iterdir()) if shelf and shelf.is_dir() else 0
    times: dict[str, list[float]] = {name: [] for name in STEPS}

    def all_asked() -> None:
        recommender.recommend("films like none", k=10)
        for wish, question in asked:
            for name, run in (
                ("understand", lambda w=wish: recommender.understand(w)),
                ("plan", lambda w=wish: recommender.plan(w)),
                ("recommend", lambda w=wish: recommender.recommend(w, k=10)),
                ("answer", lambda q=question: recommender.answer(q)),
                ("search", lambda w=wish: catalog.search(w, k=10)),
            ):
                start = time.process_time()
                run()
                times[name].append(time.process_time() - start)

    step("answering", all_asked)
    return {
        "titles": n,
        "base_mb": base - begun,
        "disk_bytes": sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) - kept,
        "kept_bytes": kept,
        "trie_bytes": sum(v.nbytes for v in vars(trie).values() if isinstance(v, np.ndarray)),
        "mb": step.mb,
        "seconds": step.seconds,
        "answer_seconds": {n: statistics.median(v) for n, v in times.items()},
        "answer_p90": {n: float(np.percentile(v, 90)) for n, v in times.items()},
    }


def measure(
    sizes: Sequence[int], seed: int, file: Path, keep: Path | None = None
) -> dict[str, Any]:
    """Costs of every size, each of new processes; written after each.

    keep: a folder for the catalogues, from which those are taken that are there.
    """
    machine = f"{platform.machine()}, {os.cpu_count()} cores, no GPU used, Python "
    costs: dict[str, Any] = {"machine": machine + platform.python_version(), "sizes": []}
    context = multiprocessing.get_context("spawn")
    for rows in sorted(sizes):
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory(prefix="llmrec-capacity-") as folder:
            path = Path(keep or folder, f"{rows}-{seed}.lance")
            steps: list[Callable[[], Any]] = [partial(first, path), partial(measured, path, seed)]
            if not path.exists():
                steps.insert(0, partial(built, rows, seed, path))
            for run in steps:  # what the last process has not given back is in nobody's way
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    found |= pool.submit(run).result()
        costs["sizes"].append(found)
        write_whole(file, json.dumps(costs, indent=1))
        print(f"measured {rows:,} titles", file=sys.stderr, flush=True)
    return costs


# The model.


@dataclass(frozen=True)
class Model:
    """Measured costs as lines by the number of titles."""

    machine: str
    sizes: tuple[int, ...]
    grown: Line
    firsts: Mapping[str, Line]
    first: Line
    start: Line
    seconds: Mapping[str, Line]
    disk: Line
    kept: Line
    trie: Line
    base_mb: float

    @classmethod
    def of(cls, costs: Mapping[str, Any]) -> Model:
        """From what `measure` gives. Raises InputError."""
        found = costs["sizes"]
        sizes = [size["titles"] for size in found]
        if len(set(sizes)) < 2:
            raise InputError(f"costs of {len(set(sizes))} sizes are no line: measure two or more")

        def line(value: Callable[[Mapping[str, Any]], float]) -> Line:
            return fitted(sizes, [value(size) for size in found])

        starting = ("open", *PARTS[:-1])
        return cls(
            costs["machine"],
            tuple(sizes),
            # All parts together: what one needs, the allocator may have left from another.
            line(lambda s: sum(s["mb"][p] for p in PARTS)),
            {p: line(lambda s, p=p: s["first_seconds"][p]) for p in starting},  # type: ignore[misc]
            line(lambda s: sum(s["first_seconds"][p] for p in starting)),
            line(lambda s: sum(s["seconds"][p] for p in starting)),
            {p: line(lambda s, p=p: s["answer_seconds"][p]) for p in STEPS},  # type: ignore[misc]
            line(lambda s: s["disk_bytes"] / 1e6),
            line(lambda s: s["kept_bytes"] / 1e6),
            line(lambda s: s["trie_bytes"] / 1e6),
            statistics.mean(size["base_mb"] for size in found),
        )

    def process_mb(self, titles: float) -> float:
        """What a process that answers over so many titles holds beside what all share."""
        return self.base_mb + self.grown(titles)


@dataclass(frozen=True)
class Need:
    """What so many users of so many titles take. ``machines`` is None where none is large enough.

    Attributes
    ----------
    rate: answers a second at the peak.
    instead: cores that the embedded model takes in place of the GPUs.
    dollars: a month.
    limit: what the number of machines comes from.
    """

    users: float
    titles: float
    rate: float
    processes: int
    process_gb: float
    machines: int | None
    gpus: int
    instead: int
    stored_gb: float
    dollars: float | None
    limit: str

    @classmethod
    def of(cls, model: Model, a: Assumed, users: float, titles: float) -> Need:
        """The need by the measured costs and what is assumed.

        With a model on GPUs, processors still plan, search and look things up.
        """
        rate = users * a.requests / 86_400 * a.peak
        cpu = model.seconds["plan"](titles) + model.seconds["search"](titles)
        gpu = (
            a.prompt_tokens / a.prefill_speed
            + a.search_tokens / a.search_speed
            + a.written_tokens / a.write_speed
        )
        processes = max(1, math.ceil(rate * cpu / a.busy))
        visitors_gb = rate * a.stay * a.visitor_mb / 1e3
        process_gb = model.process_mb(titles) / 1e3 + visitors_gb / processes
        shared_gb = model.kept(titles) / 1e3  # by the processes of a machine
        fit = max(0, math.floor((a.memory_gb - shared_gb) / process_gb))
        gpus = max(1, math.ceil(rate * gpu / a.busy))
        stored_gb = model.disk(titles) / 1e3
        machines = dollars = None
        if fit:
            machines = math.ceil(processes / min(a.cores, fit))
            hourly = machines * a.machine_price + gpus * a.gpu_price
            dollars = hourly * HOURS + stored_gb * a.storage_price
        return cls(
            users=users,
            titles=titles,
            rate=rate,
            processes=processes,
            process_gb=process_gb,
            machines=machines,
            gpus=gpus,
            instead=math.ceil(rate * model.seconds["recommend"](titles) / a.busy),
            stored_gb=stored_gb,
            dollars=dollars,
            limit="no machine holds one" if not fit else "cores" if fit >= a.cores else "memory",
        )


def short(value: float) -> str:
    """A number in three digits: 1.3 M, 640, 0.02."""
    if not math.isfinite(value):
        return "never"
    for size, sign in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def unit_costs(model: Model, titles: Sequence[float]) -> list[str]:
    """The measured lines, and what they come to."""
    most = max(model.sizes)
    heads = " | ".join(f"{short(t)} titles ({t / most:.3g} x measured)" for t in titles)
    lines = [
        f"| cost | fixed | a title | off by up to | {heads} |",
        "|---" * (4 + len(titles)) + "|",
    ]

    def row(name: str, line: Line, unit: str, small: float, small_unit: str) -> None:
        values = " | ".join(f"{short(line(t))} {unit}" for t in titles)
        each = f"{line.each * small:.3g} {small_unit}"
        lines.append(f"| {name} | {line.fixed:.3g} {unit} | {each} | {line.off:.0%} | {values} |")

    row(f"memory of a process, beyond {model.base_mb:,.0f} MB", model.grown, "MB", 1e6, "B")
    row("files that processes of a machine share", model.kept, "MB", 1e6, "B")
    row("of which the trie", model.trie, "MB", 1e6, "B")
    row("on disk or object storage", model.disk, "MB", 1e6, "B")
    row("first start over a catalogue", model.first, "s", 1e6, "µs")
    for name in ("lexicon", "likeness", "trie"):
        row(f"of which the {name}", model.firsts[name], "s", 1e6, "µs")
    row("later starts", model.start, "s", 1e6, "µs")
    for name, line in model.seconds.items():
        row(f"seconds: {name}", line, "s", 1e9, "ns")
    return lines


def outgrown(model: Model, a: Assumed) -> list[str]:
    """At how many titles each part alone reaches a limit, the first first."""
    whole = a.memory_gb * 1e3
    each, fixed = model.grown.each, model.base_mb + model.grown.fixed

    def filled(processes: float) -> float:
        shared = model.kept
        return Line(processes * fixed + shared.fixed, processes * each + shared.each, 0).reaches(
            whole
        )

    found = [
        (filled(1), f"one process fills {a.memory_gb:g} GB"),
        (filled(a.cores), f"a process for each of {a.cores:g} cores fills it"),
        (model.first.reaches(60.0), "the first start over a catalogue takes a minute"),
        (model.start.reaches(60.0), "later starts take a minute"),
        (model.seconds["plan"].reaches(1.0), "understanding and planning take a second"),
        (model.seconds["recommend"].reaches(1.0), "a list by the embedded model takes a second"),
        (model.seconds["answer"].reaches(1.0), "an answer to a question takes a second"),
        (model.seconds["search"].reaches(1.0), "a search takes a second"),
    ]
    lines = ["| titles | what is outgrown |", "|---|---|"]
    return lines + [f"| {short(n)} | {what} |" for n, what in sorted(found)]


def needs(model: Model, a: Assumed, users: Sequence[float], titles: Sequence[float]) -> list[str]:
    """A row for each number of users and titles."""
    heads = (
        "users | titles | answers/s at the peak | processes | GB each | machines | by | GPUs | "
        "or cores, embedded model | GB stored | dollars a month"
    )
    lines = [f"| {heads} |", "|---" * 11 + "|"]
    for u in users:
        for t in titles:
            n = Need.of(model, a, u, t)
            values = map(short, (n.users, n.titles, n.rate, n.processes, n.process_gb))
            machines = "none" if n.machines is None else f"{n.machines:,}"
            dollars = "none" if n.dollars is None else short(n.dollars)
            cells = [*values, machines, n.limit, f"{n.gpus:,}", short(n.instead)]
            lines.append(f"| {' | '.join([*cells, short(n.stored_gb), dollars])} |")
    return lines


def report(model: Model, a: Assumed, users: Sequence[float], titles: Sequence[float]) -> str:
    """What is measured, what it comes to, and what is assumed."""
    sizes = ", ".join(f"{size:,}" for size in model.sizes)
    measured_at = f"Measured at {sizes} titles ({model.machine}; {model.base_mb:,.0f} MB at any):"
    assumed = [f"- `--{f.name.replace('_', '-')} {getattr(a, f.name):g}`: {HELP[f.name]}"
               for f in fields(a)]  # fmt: skip
    machine = f"a machine of {a.cores:g} cores and {a.memory_gb:g} GB"
    parts = (
        (measured_at, unit_costs(model, [max(model.sizes), *titles])),
        (f"What is outgrown, on {machine}:", outgrown(model, a)),
        ("What users and titles take, with a model on GPUs:", needs(model, a, users, titles)),
        ("Assumed:", assumed),
    )
    return "\n\n".join("\n".join([head, "", *lines]) for head, lines in parts)


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=float, nargs="+", default=[1e6, 10e6, 100e6])
    parser.add_argument("--titles", type=float, nargs="+", default=[1e6, 10e6, 100e6])
    parser.add_argument("--costs", type=Path, default=COSTS, help="file of measured costs")
    parser.add_argument("--measure", action="store_true", help="measure them now, into that file")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--keep", type=Path, help="folder for the catalogues; used if there")
    parser.add_argument("--seed", type=int, default=0, help="of the made-up films")
    parser.add_argument("--guide", type=Path, help="also put it between the two marks of this file")
    for option in fields(Assumed):
        name = f"--{option.name.replace('_', '-')}"
        told = f"assumed: {HELP[option.name]} (%(default)s)"
        parser.add_argument(name, type=float, default=option.default, help=told)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is measured, what it comes to, and what is assumed; 0 when done."""
    args = make_parser().parse_args(argv)
    a = Assumed(**{f.name: getattr(args, f.name) for f in fields(Assumed)})
    try:
        if min(args.users + args.titles + args.sizes) < 1:
            raise InputError("users, titles and sizes must be 1 or more")
        if not all(getattr(a, f.name) > 0 for f in fields(a)) or a.busy > 1:
            raise InputError("what is assumed must be above 0, and --busy at most 1")
        if args.measure:
            costs = measure(args.sizes, args.seed, args.costs, args.keep)
        elif args.costs.is_file():
            costs = json.loads(args.costs.read_text(encoding="utf-8"))
        else:
            raise InputError(f"there are no costs in {args.costs}: measure them with --measure")
        model = Model.of(costs)
    except LLMRecError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    told = report(model, a, args.users, args.titles)
    print(told)
    if args.guide:
        before, _, rest = args.guide.read_text(encoding="utf-8").partition(MARK)
        after = rest.partition(MARK)[2]
        write_whole(args.guide, f"{before}{MARK}\n\n{told}\n\n{MARK}{after.rstrip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
