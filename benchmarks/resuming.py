"""Kill an evaluation at random points, let it go on each time, and compare it with a whole one.

    python benchmarks/resuming.py --kills 10 --data data/redial --limit 40 --batch-size 4
    python benchmarks/resuming.py --kills 3 --data data/redial --limit 20 --strategy few-shot

Flags that are not its own are those of eval/run.py. A kill is a SIGKILL, at the moment when a
certain number of predictions, drawn by the seed, is on the disk. What may differ are seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[1] / "eval" / "run.py"


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10, help="how often")
    parser.add_argument("--kill-seed", type=int, default=0, help="of the points")
    parser.add_argument("--out", type=Path, help="folder for both runs (default: a temporary one)")
    return parser


def start(flags: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
    """The evaluation as a process of its own."""
    command = [sys.executable, str(SCRIPT), *flags, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603


def finish(flags: Sequence[str], out: Path) -> None:
    """Run to the end. Raises RuntimeError with the last words if there is none."""
    process = start(flags, out)
    said = process.communicate()[1].decode(errors="replace").strip()
    if process.returncode:
        raise RuntimeError(said.splitlines()[-1] if said else "it failed without a word")


def kill(flags: Sequence[str], out: Path, lines: int) -> int | None:
    """Kill a run that has so many lines; how many it left, None where it had ended before."""
    file = out / "predictions.jsonl"
    process = start(flags, out)
    while process.poll() is None and written(file) < lines:
        time.sleep(0.001)
    ended = process.poll() is not None
    process.kill()
    process.communicate()
    return None if ended else written(file)


def written(file: Path) -> int:
    """How many whole lines a file has."""
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def outcome(out: Path) -> tuple[list[Any], Any]:
    """The predictions and the metrics of a run, without seconds."""
    lines = (out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return [timeless(json.loads(x)) for x in lines], timeless(metrics)


def timeless(value: Any) -> Any:
    """The value without what is named after seconds."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if "second" not in k}
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Kill and compare; 0 if both runs say the same, 1 if not or if a run fails."""
    args, flags = make_parser().parse_known_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        whole, cut = folder / "whole", folder / "killed"
        try:
            finish(flags, whole)
            n = written(whole / "predictions.jsonl")
            points = sorted(random.Random(args.kill_seed).choices(range(n), k=args.kills))
            left = [kill(flags, cut, point) for point in points]
            finish(flags, cut)
        except RuntimeError as e:
            print(f"resuming: {e}", file=sys.stderr)
            return 1
        said, right = outcome(cut), outcome(whole)
    print(f"n {n}; killed with {', '.join(map(str, left))} predictions on the disk")
    for name, a, b in zip(("predictions", "metrics"), said, right, strict=True):
        print(f"{name}: {'identical' if a == b else 'DIFFERENT'}")
    return int(said != right)


if __name__ == "__main__":
    sys.exit(main())
