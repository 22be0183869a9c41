"""Walk the whole way once: prepare, tune, evaluate, push, reload, recommend; print the times.

    python tests/walkthrough.py --data ../shared/data/redial
    python tests/walkthrough.py --data ../shared/data/redial --rows 500 --max-steps 20 --limit 40

Every step is the command that a user would type. The Hub is one on this machine
(`tests/loopback_hub.py`), spoken to by the real client; all else is as it is everywhere.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from loopback_hub import LoopbackHub, client_env

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "me/redial-embedded"
RECOMMEND = """\
import sys
from llmrec import Recommender

rec = Recommender.from_pretrained(sys.argv[1], catalog=sys.argv[2])
print(rec.model.name)
for request in ("I loved Get Out and It, what else is scary?", "Animated films like Moana, please"):
    print(">", request)
    for r in rec.recommend(request, k=5):
        print(f"  {r.rank}. {r.item.label}")
"""


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of ReDial")
    parser.add_argument("--work", type=Path, help="keep everything in this folder")
    parser.add_argument("--max-steps", type=int, help="of the tuning")
    parser.add_argument("--rows", type=int, help="training texts at most")
    parser.add_argument("--limit", type=int, help="validation examples at most")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads")
    return parser


def commands(args: argparse.Namespace, work: Path) -> list[tuple[str, list[str]]]:
    """Each step: its name, and what is typed."""
    data, run, measured, catalog = (work / n for n in ("data", "run", "measured", "redial.lance"))
    prepare = ["train/prepare.py", "redial", str(args.data), "--out", str(data)]
    tune = ["train/lora.py", "--config", "embedded", "--data", str(data), "--out", str(run)]
    evaluate = ["eval/run.py", "--data", str(data), "--model", str(run), "--out", str(measured)]
    tune += ["--push-to-hub", REPOSITORY, "--private"]
    if args.max_steps:
        each = str(max(1, args.max_steps // 2))
        tune += ["--max-steps", str(args.max_steps), "--evaluate-every", each]
        tune += ["--save-every", each]
    if args.rows:
        tune += ["--limit", str(args.rows)]
    if args.limit:
        tune += ["--validation-limit", str(args.limit)]
        evaluate += ["--limit", str(args.limit)]
    if args.threads:
        tune += ["--threads", str(args.threads)]
        evaluate += ["--threads", str(args.threads)]
    return [
        ("prepare", [*prepare, "--catalog", str(catalog)]),
        ("tune and push", tune),
        ("evaluate", evaluate),
        ("compare with baselines", ["eval/compare.py", str(measured), "--baselines"]),
        ("reload and recommend", ["-c", RECOMMEND, REPOSITORY, str(catalog)]),
    ]


def walk(args: argparse.Namespace, work: Path, env: Mapping[str, str]) -> int:
    """Do every step; the first exit status that is not 0, or 0."""
    times = []
    for name, command in commands(args, work):
        shown = shlex.join(command) if command[0] != "-c" else f"-c '...' {shlex.join(command[2:])}"
        print(f"\n$ python {shown}", flush=True)
        began = time.perf_counter()
        status = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, check=False)
        times.append((name, time.perf_counter() - began))
        if status.returncode:
            return status.returncode
    print()
    for name, seconds in [*times, ("all", sum(s for _, s in times))]:
        print(f"{name:22} {seconds:8.1f} s")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Walk; 0 if every step went well."""
    args = make_parser().parse_args(argv)
    args.data = args.data.resolve()
    with tempfile.TemporaryDirectory() as folder, LoopbackHub() as hub:
        work = Path(folder) if args.work is None else args.work.resolve()
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**client_env(hub, work / "home"), "PYTHONPATH": os.pathsep.join(paths)}
        status = walk(args, work, env)
        if status == 0:
            print(f"\n{REPOSITORY} holds {', '.join(sorted(hub.tree(REPOSITORY)))}")
    return status


if __name__ == "__main__":
    sys.exit(main())
