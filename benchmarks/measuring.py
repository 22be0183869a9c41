"""Measuring hides what benchmarks share: the machine in words, memory, spreads, kept results.

No benchmark itself. The others print Markdown; ``keep`` puts it under benchmarks/results with the
command and the machine, where all.py finds it.
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmrec.folders import write_whole

__all__ = [
    "RESULTS",
    "command_of",
    "judged",
    "keep",
    "machine",
    "peak_mb",
    "resident_mb",
    "spread",
]

RESULTS = Path(__file__).with_name("results")
VERSIONS = ("torch", "transformers", "numpy")


def machine() -> str:
    """What is measured on, and how busy it is with other things."""
    versions = []
    for package in VERSIONS:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {_gpu()}, Python "
        f"{platform.python_version()}, {', '.join(versions)}; {os.getloadavg()[0]:.1f} processes "
        "wanted a core on average, this one counted"
    )


def _gpu() -> str:
    try:
        import torch
    except ImportError:
        return "no GPU"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def keep(name: str, title: str, command: str, text: str) -> None:
    """Write a result to results/NAME.md.

    Parameters
    ----------
    command: the script in benchmarks/ with its options.
    text: what it printed.
    """
    RESULTS.mkdir(exist_ok=True)
    lines = (f"# {title}", f"`python benchmarks/{command}`", machine(), text.strip())
    write_whole(RESULTS / f"{name}.md", "\n\n".join(lines))


def command_of(script: str, argv: Sequence[str] | None) -> str:
    """A script with the options that its ``main`` was given."""
    return " ".join([Path(script).name, shlex.join(sys.argv[1:] if argv is None else argv)]).strip()


def spread(values: Sequence[float], digits: int = 0, scale: float = 1.0) -> str:
    """Median, least and most."""
    some = [scale * v for v in (statistics.median(values), min(values), max(values))]
    return "{:,.{d}f} ({:,.{d}f} to {:,.{d}f})".format(*some, d=digits)


def judged(met: bool) -> str:
    """How a goal is told."""
    return "met" if met else "MISSED"


def resident_mb(shared: bool = True) -> float:
    """What this process holds in memory now; where nothing tells that, the most so far.

    shared: with the pages of files, which other processes may hold as well.
    """
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return peak_mb()
    held = int(pages[1]) - (0 if shared else int(pages[2]))
    return held * resource.getpagesize() / 1e6


def peak_mb() -> float:
    """The most that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
