"""Run benchmarks, keep what they print under benchmarks/results, and write docs/performance.md.

    python benchmarks/all.py
    python benchmarks/all.py matching metrics

Without names nothing is measured: the guide is written anew from what is kept. A benchmark that
fails leaves its old result as it was, and the exit status is 1. Those that take long (trie.py,
decoding.py, scoring.py) keep their results themselves, with --save.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmrec.folders import write_whole

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
GUIDE = HERE.parent / "docs" / "performance.md"
VERSIONS = ("torch", "transformers", "numpy")
INTRODUCTION = """# How fast it is

Each table comes from one command, which ran both sides in the same run on the machine that it \
names; this page is written by `python benchmarks/all.py` from benchmarks/results, and \
`python benchmarks/all.py NAME` measures one again. What llmrec loses is in the tables as well: \
look for ratios under 1.
"""


@dataclass(frozen=True)
class Run:
    """One comparison: what it is called, and the benchmark with its options."""

    title: str
    command: str


BY_THEMSELVES = ("trie", "scoring", "decoding", "decoding-8-minutes")
RUNS = {
    "recommend": Run("From a message to the first card", "recommend.py --n 30"),
    "bulk": Run("Recommending in bulk", "bulk.py"),
    "ranker": Run("The learned ranker", "ranker.py"),
    "search": Run("Search in products", "search.py --rows 20000 --cores 1"),
    "matching": Run("Titles in free text", "matching.py --names 20000 --sample 500"),
    "metrics": Run("Ranking metrics", "metrics.py"),
    "amazon": Run("Reading product data", "amazon.py --rows 300000"),
    "tuning": Run("Fine-tuning", "tuning.py --made-up --rows 96"),
    "import_time": Run("Importing llmrec", "import_time.py"),
}


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}")
    return parser


def machine() -> str:
    """What is measured on."""
    versions = []
    for package in VERSIONS:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"{', '.join(versions)}"
    )


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
    lines = (f"# {run.title}", f"`python benchmarks/{run.command}`", machine(), done.stdout.strip())
    RESULTS.mkdir(exist_ok=True)
    write_whole(RESULTS / f"{name}.md", "\n\n".join(lines))
    return True


def guide() -> str:
    """The guide: every result that is kept, the larger ones first."""
    kept = {p.stem: p.read_text(encoding="utf-8").strip() for p in sorted(RESULTS.glob("*.md"))}
    parts = [f"#{kept[n]}" for n in (*BY_THEMSELVES, *RUNS) if n in kept]
    return "\n\n".join([INTRODUCTION.strip(), *parts])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is named and write the guide; 1 if a benchmark failed."""
    parser = make_parser()
    names = parser.parse_args(argv).names
    if unknown := [n for n in names if n not in RUNS]:
        parser.error(f"there is no benchmark {unknown[0]!r}: use {', '.join(RUNS)}")
    failed = [n for n in names if not measure(n)]
    write_whole(GUIDE, guide())
    print(f"{GUIDE.relative_to(HERE.parent)}: {len([*RESULTS.glob('*.md')])} comparisons")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
