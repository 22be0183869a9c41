"""Hostile hides how a file of an evaluation run, which anyone may have written, is read safely."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.errors import LLMRecError

__all__ = ["BAD", "MAX_NAME", "Problem", "TooLargeError", "cut", "public", "read_json"]

MAX_JSON = 16 << 20  # bytes of run.json and of metrics.json
MAX_NAME = 120
MAX_TEXT = 600  # characters of a message or an answer that are shown
BAD = (  # what reading a hostile file may raise
    LLMRecError, OSError, ValueError, TypeError, KeyError, AttributeError, IndexError,
    RecursionError, OverflowError, MemoryError, zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What could not be shown.

    Attributes
    ----------
    kind: "damaged", "large", "unfinished" (no figures yet), "unasked" (the questions are not
        there), "unjudged" (something that judges is not installed), "lines" (some lines are
        damaged) or "many" (more runs than are read).
    file: as seen from the folder of runs. n: how many lines, or runs.
    """

    kind: str
    file: str
    n: int = 0


def read_json(file: Path) -> dict[str, Any]:
    """What a file of one JSON object says. Raises one of ``BAD``."""
    if file.is_symlink() or file.stat().st_size > MAX_JSON:
        raise TooLargeError(file)
    said = json.loads(file.read_bytes())
    if not isinstance(said, dict):
        raise ValueError("it holds no JSON object")
    return said


class TooLargeError(ValueError):
    """A file over its limit, or a link."""


def public(said: object) -> str:
    """What a file is called, without its folders."""
    return cut(Path(str(said or "?")).name, MAX_NAME) or "?"


def cut(said: object, most: int = MAX_TEXT) -> str:
    """Words of others, at most so many; half a surrogate pair and what hides become marks."""
    text = str(said)
    text = text if len(text) <= most else text[: most - 1] + "…"
    whole = text.encode("utf-8", "replace").decode()
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in whole
    )
