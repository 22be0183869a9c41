"""Push metrics as Spaces, from where `evaluate.load("me/recall_at_k")` has them.

    python eval/metrics/push.py me/
    python eval/metrics/push.py me/recall_at_k --private

A Space is the module, its card, and a page to try it. What a Space has already is not sent again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from llmrec.errors import InputError
from llmrec.hub import push_folder
from llmrec.options import script

HERE = Path(__file__).resolve().parent
PAGE = ("app.py", "requirements.txt")


def names() -> list[str]:
    """The metrics there are."""
    return sorted(p.name for p in HERE.iterdir() if (p / f"{p.name}.py").is_file())


def assemble(name: str, repo_id: str, folder: Path, install: str = "") -> None:
    """Write what a Space of this name needs into a folder; the card names the Space.

    Parameters
    ----------
    install: what pip installs llmrec from there; "": as requirements.txt says.
    """
    shutil.copyfile(HERE / name / f"{name}.py", folder / f"{name}.py")
    for page in PAGE:
        shutil.copyfile(HERE / page, folder / page)
    if install:
        (folder / "requirements.txt").write_text(f"{install}\n", encoding="utf-8")
    for text in (f"{name}.py", "README.md"):
        said = (HERE / name / text).read_text(encoding="utf-8")
        (folder / text).write_text(said.replace(f"eval/metrics/{name}", repo_id), encoding="utf-8")


def chosen(target: str) -> list[tuple[str, str]]:
    """Metrics and their repositories: of ``owner/`` all, of ``owner/name`` the one.

    Raises
    ------
    InputError: there is no such metric, or no owner.
    """
    owner, slash, name = target.partition("/")
    if not owner or not slash:
        raise InputError(f"{target!r} names no Space: use owner/ for all metrics, or owner/metric")
    if name and name not in names():
        raise InputError(f"there is no metric {name!r}: use one of {', '.join(names())}")
    return [(n, f"{owner}/{n}") for n in ([name] if name else names())]


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("to", help="owner/ for all metrics, or owner/metric")
    parser.add_argument("--private", action="store_true", help="make new Spaces private")
    parser.add_argument("--install", default="", help="what pip installs llmrec from in the Space")
    return parser


@script("push")
def main(argv: Sequence[str] | None = None) -> int:
    """Push; 0 when done, 1 at the first Space that cannot be pushed."""
    args = make_parser().parse_args(argv)
    for name, repo_id in chosen(args.to):
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / name
            folder.mkdir()
            assemble(name, repo_id, folder, args.install)
            private = True if args.private else None
            print(push_folder(folder, repo_id, kind="space", private=private, progress=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
