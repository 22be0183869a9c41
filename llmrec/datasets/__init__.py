"""Readers of published data sets: each gives Items, Examples or both, as streams.

``load`` opens one by its name; the classes are loaded when they are first used.
"""

from __future__ import annotations

import importlib
import inspect
import os
from typing import Any

from llmrec.datasets.base import Report, Source, part_of
from llmrec.errors import InputError

__all__ = ["FORMATS", "Report", "Source", "load", "part_of"]

# Name to the module of llmrec.datasets and the class that reads it.
FORMATS = {
    "amazon_titles": "AmazonTitles",
    "imdb": "Imdb",
    "jsonl": "Table",
    "llm_redial": "LlmRedial",
    "movielens": "MovieLens",
    "redial": "Redial",
    "redial_ptbr": "RedialPtbr",
}


def load(name: str, path: str | os.PathLike[str], **options: Any) -> Source:
    """Open a data set.

    Parameters
    ----------
    name: one of ``FORMATS``.
    path: the file or folder that holds it, as published.
    options: what the reader of that format takes.

    Raises
    ------
    InputError: an unknown name, an option that the reader does not have, or files that are not
        there.
    """
    if name not in FORMATS:
        raise InputError(f"there is no data set format {name!r}: use {', '.join(FORMATS)}")
    reader = getattr(importlib.import_module(f"llmrec.datasets.{name}"), FORMATS[name])
    known = list(inspect.signature(reader).parameters)[1:]
    for option in options:
        if option not in known:
            raise InputError(
                f"{name} has no option {option!r}: it has {', '.join(known) or 'none'}"
            )
    source: Source = reader(path, **options)
    return source
