"""Folders hides how a folder or file takes the place of an old one whole or not at all."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["public_name", "replacing", "restore", "write_whole"]

_STALE_S = 3_600.0


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new empty folder beside ``target`` that takes its place if the block ends well.

    Whatever ends the block early, a kill included, leaves ``target`` as it was. Parts that killed
    processes have left are removed once nothing was written to them for an hour.

    Raises
    ------
    OSError: the folder cannot be made or moved.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.part-*"):
        if _idle_s(left) > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)
    part = target.with_name(f".{target.name}.part-{uuid.uuid4().hex[:8]}")
    part.mkdir()
    try:
        yield part
        aside = _aside(target)
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
        part.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        restore(target)


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; a text ends with a line break."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())
    part.replace(file)


def public_name(path: str) -> str:
    """A path as it may be published: of one that leads out of the working folder, its name."""
    out = Path(path).is_absolute() or ".." in Path(path).parts or path.startswith("~")
    return Path(path).name if out else path


def restore(target: Path) -> None:
    """Put the old folder back if a replacement was cut off between its two renames."""
    aside = _aside(target)
    if aside.is_dir() and not target.exists():
        aside.rename(target)


def _idle_s(folder: Path) -> float:
    try:
        return time.time() - max(f.stat().st_mtime for f in [folder, *folder.rglob("*")])
    except OSError:
        return 0.0  # another build is at work in it


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")
