"""Extras is what the owner of a page adds to the talk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmrec.demo.feedback import Feedback
    from llmrec.recommender import Recommender

__all__ = ["Extras"]


@dataclass(frozen=True)
class Extras:
    """What the owner of a page adds to the talk.

    Attributes
    ----------
    contestants: recommenders over one catalogue that visitors compare blind, by name; None: none.
    runs: a folder with evaluation runs to show.
    feedback: where likes and votes of visitors who agree are kept; None: nowhere.
    uploads: whether visitors may bring catalogues of their own.
    """

    contestants: Mapping[str, Recommender] | None = None
    runs: Path | None = None
    feedback: Feedback | None = None
    uploads: bool = True
