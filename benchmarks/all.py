"""Run benchmarks, keep what they print under benchmarks/results, and write docs/performance.md.

    python benchmarks/all.py
    python benchmarks/all.py matching metrics

Without names nothing is measured: the guide and its picture are written anew from what is kept. A
benchmark that fails leaves its old result as it was, and the exit status is 1. Each takes some
minutes on two cores, but for the first three: "trie" makes the titles that "beams" and "decoding"
read (10 minutes), and "decoding" tunes a model on them for 75 minutes at the first time.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where a script's siblings are

from benchmarks.measuring import RESULTS, keep
from benchmarks.ratios import Ratio, picture, table
from llmrec.folders import write_whole

HERE = Path(__file__).resolve().parent
GUIDE = HERE.parent / "docs" / "performance.md"
PICTURE = GUIDE.with_suffix(".svg")
INTRODUCTION = """# How fast it is

What llmrec is compared with, and how many times better it is: under 1, it lost. Every line is \
read off a table below, and each table comes from one command that ran both sides in the same run \
on the machine that it names. This page is written by `python benchmarks/all.py` from \
benchmarks/results; `python benchmarks/all.py NAME` measures one again. Goals that were missed say \
so where they stand.
"""


@dataclass(frozen=True)
class Run:
    """One benchmark: its title, its command, and the ratios that its result tells."""

    title: str
    command: str
    ratios: tuple[Ratio, ...] = ()


_LLGUIDANCE = r"\| llguidance, limits raised \| 1,300,000"
_FEWER = "needs no search of its own: any server that takes a mask can do it"
RUNS = {
    "trie": Run(
        "The trie of a large catalogue",
        "trie.py --rows 1300000 --vocabulary 150000 --keep work --rivals 50000 1300000",
        (
            Ratio(
                "memory of 1.3 million titles",
                "nested dicts",
                (r"\| dict \| 1,300,000", "held MB"),
                (r"\| llmrec \| 1,300,000", "held MB"),
            ),
            Ratio(
                "memory of 1.3 million titles",
                "marisa-trie",
                (r"\| marisa-trie \| 1,300,000", "held MB"),
                (r"\| llmrec \| 1,300,000", "held MB"),
                but="holds the titles and nothing that a mask needs",
            ),
            Ratio(
                "mask of a step, 1.3 million titles",
                "dicts",
                (r"\| prefix_allowed_tokens_fn over dict \| 1,300,000", "ms"),
                (r"\| GroundedList", "ms"),
            ),
            Ratio(
                "mask of a step, 1.3 million titles",
                "marisa-trie",
                (r"\| prefix_allowed_tokens_fn over marisa-trie \| 1,300,000", "ms"),
                (r"\| GroundedList", "ms"),
            ),
        ),
    ),
    "beams": Run(
        "What holds beams to titles",
        "beams.py --titles work/titles.txt --sizes 50000 100000 1300000 --keep work",
        (
            Ratio(
                "memory of 1.3 million titles",
                "llguidance",
                (_LLGUIDANCE, "MB"),
                (r"\| our trie \| 1,300,000", "MB"),
                but="takes any grammar, and needs no tokenizing beforehand",
            ),
            Ratio(
                "a step of 40 beams",
                "dicts",
                (r"\| dict \| 1,300,000", "ms a step (least to most)"),
                (r"\| our trie \| 1,300,000", "ms a step (least to most)"),
                but="nothing but look-ups, for forty times the memory",
            ),
            Ratio(
                "a step of 40 beams",
                "llguidance",
                (_LLGUIDANCE, "ms a step (least to most)"),
                (r"\| our trie \| 1,300,000", "ms a step (least to most)"),
            ),
        ),
    ),
    "decoding": Run(
        "Ten titles out of a model, tuned for 75 minutes",
        "decoding.py --titles work/titles.txt --tune 75 --keep work/tuned --requests 6 "
        "--certify 20 --budget 4000 --threads 1 --prompts short shots",
        (
            Ratio(
                "proven ten of 1.3 million titles, all tokens",
                "beam 40, short prompt",
                (r"\| beam-40 \| all, the prompt for each", "exact"),
                but=_FEWER,
            ),
            Ratio(
                "the same, the prompt not counted",
                "beam 40",
                (r"\| beam-40 \| after the prompt", "exact"),
            ),
            Ratio(
                "the same, all tokens",
                "20 sampled lists",
                (r"\| 20 lists \| all ", "exact"),
                but="shows how sure the model is of what it would say by itself",
            ),
            Ratio(
                "the exact ten found",
                "beam 40",
                (r"\| beam-40 \|", "agreement"),
                (r"\| exact \|", "agreement"),
                more=True,
            ),
            Ratio(
                "the exact ten found",
                "20 sampled lists",
                (r"\| 20 lists \|", "agreement"),
                (r"\| exact \|", "agreement"),
                more=True,
            ),
            Ratio(
                "the same, all tokens",
                "beam 40, a prompt with examples",
                (r"\| beam-40 \| all, the prompt for each", "exact"),
                after='Prompts "shots"',
            ),
        ),
    ),
    "decoding-little-tuned": Run(
        "Ten titles out of a model, tuned for 9.5 minutes",
        "decoding.py --titles work/titles.txt --tune 9.5 --keep work/little --requests 6 "
        "--certify 20 --budget 4000 --threads 1",
        (
            Ratio(
                "the same, of a model that hardly knows them",
                "beam 40, short prompt",
                (r"\| beam-40 \| all, the prompt for each", "exact"),
                but="stops where an exact search has to go on",
            ),
        ),
    ),
    "decoding-films": Run(
        "Ten titles out of a model, a small catalogue",
        "decoding.py --threads 1 --prompts short long",
        (
            Ratio(
                "proven ten of 1,815 films, all tokens",
                "scoring every title",
                (r"\| brute force \|", "all, of exact"),
            ),
            Ratio(
                "the same, all tokens",
                "beam 40, the prompt run once",
                (r"\| beam-40 \| all, the prompt once", "exact"),
                but=_FEWER,
            ),
        ),
    ),
    "scoring": Run(
        "Candidates and users",
        "scoring.py --repeats 3",
        (
            Ratio(
                "100 candidates in one pass, seconds",
                "the expanded batch",
                (r"\| llmrec-embedded \| 1\d\d \| expanded batch", "ratio of ms"),
                but="is one call of any library",
            ),
            Ratio(
                "100 candidates in one pass, cache",
                "the expanded batch",
                (r"\| llmrec-embedded \| 1\d\d \| expanded batch", "ratio of MB"),
            ),
            Ratio(
                "searches of 16 users together",
                "one at a time",
                (r"\| llmrec-embedded \| 16 \| one call", "ratio"),
            ),
        ),
    ),
    "recommend": Run(
        "From a message to the first card",
        "recommend.py --n 30",
        (
            Ratio(
                "first card, seconds",
                "generating and matching back",
                (r"\| first card \| match", "ratio of medians"),
                but="works with any model that writes",
            ),
        ),
    ),
    "bulk": Run(
        "Recommending in bulk",
        "bulk.py --rounds 5 --n 36",
        (
            Ratio(
                "batches of 16 conversations",
                "one at a time",
                (r"\| 16 \|", "beside one"),
                but="answers each as soon as it is asked",
            ),
        ),
    ),
    "ranker": Run(
        "The learned ranker",
        "ranker.py --items 3000 --dialogues 300 --requests 50",
        (
            Ratio(
                "one conversation ranked",
                "EASE as a dense matrix",
                (r"\| EASE, dense", "median ms"),
                (r"\| ranker", "median ms"),
                but="is one product of matrices, of one signal",
            ),
            Ratio(
                "one conversation ranked",
                "TfidfVectorizer",
                (r"\| TfidfVectorizer", "median ms"),
                (r"\| ranker", "median ms"),
                but="learns nothing, so it is ready at once",
            ),
        ),
    ),
    "search": Run(
        "Search in products",
        "search.py --rows 20000 --queries 100 --cores 1",
        (
            Ratio(
                "product search, median",
                "bm25s",
                (r"\| search: warm, median, ms \|", "bm25s"),
                (r"\| search: warm, median, ms \|", "llmrec"),
                but="keeps its index in memory and gives numbers of rows, not items",
            ),
            Ratio(
                "product search, median",
                "SQLite FTS5",
                (r"\| search: warm, median, ms \|", "fts5"),
                (r"\| search: warm, median, ms \|", "llmrec"),
            ),
            Ratio(
                "building the index",
                "bm25s",
                (r"\| build, s \|", "bm25s"),
                (r"\| build, s \|", "llmrec"),
            ),
            Ratio(
                "building the index",
                "SQLite FTS5",
                (r"\| build, s \|", "fts5"),
                (r"\| build, s \|", "llmrec"),
                but="needs a tenth of the memory, and no package",
            ),
        ),
    ),
    "passages": Run("What a film is about", "passages.py"),
    "matching": Run(
        "Titles in free text",
        "matching.py --names 20000 --sample 500",
        (
            Ratio(
                "titles in free text, names a second",
                "rapidfuzz cdist",
                (r"\| cdist \|", "names/s"),
                (r"\| TitleIndex \|", "names/s"),
                but="finds more of the names with typing errors",
                more=True,
            ),
            Ratio(
                "titles in free text, names a second",
                "rapidfuzz extractOne",
                (r"\| extractOne \|", "names/s"),
                (r"\| TitleIndex \|", "names/s"),
                more=True,
            ),
        ),
    ),
    "metrics": Run(
        "Ranking metrics",
        "metrics.py",
        (
            Ratio(
                "ranking metrics",
                "ir-measures",
                (r"\| ir measures \|", "ratio"),
                but="reads run files, and knows dozens of measures more",
            ),
        ),
    ),
    "amazon": Run(
        "Reading product data",
        "amazon.py --rows 300000",
        (
            Ratio(
                "reading products, seconds",
                "a pandas script",
                (r"\| pandas \|", "seconds"),
                (r"\| ours \|", "seconds"),
                but="is ten lines of one's own",
            ),
            Ratio(
                "reading products, memory",
                "a pandas script",
                (r"\| pandas \|", "MB at most"),
                (r"\| ours \|", "MB at most"),
            ),
        ),
    ),
    "tuning": Run(
        "Fine-tuning",
        "tuning.py --made-up --rows 96",
        (
            Ratio(
                "tuning, answer tokens a second",
                "texts padded to max_length",
                (r"\| padded to max_length", "answer tokens/s"),
                (r"\| llmrec \|", "answer tokens/s"),
                but="learns to write the requests too",
                more=True,
            ),
        ),
    ),
    "remote": Run(
        "A catalogue on object storage",
        "remote.py --rows 5000 --runs 3",
        (
            Ratio(
                "opening a catalogue on S3",
                "one in a folder",
                (r"\| open \|", "folder"),
                (r"\| open \|", "s3"),
                but="no network",
            ),
        ),
    ),
    "catalog": Run("A large catalogue", "catalog.py --rows 50000"),
    "grounding": Run("What must never happen", "grounding.py --n 500"),
    "load": Run("Many visitors", "load.py --visitors 8 --minutes 1 --pause 8"),
    "import_time": Run("Importing llmrec", "import_time.py"),
}


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}")
    return parser


def measure(name: str) -> bool:
    """Run a benchmark and keep what it prints; whether it came to its end."""
    run = RUNS[name]
    print(f"python benchmarks/{run.command}", file=sys.stderr, flush=True)
    script, *options = shlex.split(run.command)
    command = [sys.executable, str(HERE / script), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  (our own)
    if done.returncode:
        print(f"{name} ended with status {done.returncode}", file=sys.stderr)
        return False
    keep(name, run.title, run.command, done.stdout)
    return True


def kept() -> dict[str, str]:
    """The results, in the order of the runs; those that no run has come last."""
    found = {p.stem: p.read_text(encoding="utf-8").strip() for p in sorted(RESULTS.glob("*.md"))}
    order = [*(n for n in RUNS if n in found), *(n for n in found if n not in RUNS)]
    return {name: found[name] for name in order}


def told(results: dict[str, str]) -> dict[str, list[tuple[Ratio, float]]]:
    """The ratios that the results tell."""
    out = {}
    for name, text in results.items():
        ratios = RUNS[name].ratios if name in RUNS else ()
        out[name] = [(r, value) for r in ratios if (value := r.of(text)) is not None]
    return out


def guide(results: dict[str, str]) -> str:
    """The guide: the ratios, then every result that is kept."""
    anchors = {name: _anchor(text.splitlines()[0]) for name, text in results.items()}
    drawn = f"![The same as a picture: bars to the right of 1 are won]({PICTURE.name})"
    parts = [INTRODUCTION.strip(), table(told(results), anchors), drawn]
    return "\n\n".join([*parts, *(f"#{text}" for text in results.values())])


def _anchor(heading: str) -> str:
    """As GitHub names it."""
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is named and write the guide; 1 if a benchmark failed."""
    parser = make_parser()
    names = parser.parse_args(argv).names
    if unknown := [n for n in names if n not in RUNS]:
        parser.error(f"there is no benchmark {unknown[0]!r}: use {', '.join(RUNS)}")
    failed = [n for n in names if not measure(n)]
    results = kept()
    write_whole(GUIDE, guide(results))
    write_whole(PICTURE, picture(told(results)))
    print(f"{GUIDE.relative_to(HERE.parent)}: {len(results)} results")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
