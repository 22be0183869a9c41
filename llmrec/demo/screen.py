"""Screen is a part of the page: its components, and what they say in the visitor's language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmrec.demo.visit import Visit

__all__ = ["Screen", "Updates", "told"]

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Screen:
    """A part of the page.

    Attributes
    ----------
    components: all that ``texts`` may update.
    texts: their updates for a visitor, in the language of the visit.
    """

    components: Sequence[Any]
    texts: Callable[[Visit], Updates]


def told(event: Any) -> dict[str, Any]:
    """What a part of the page says with an event; nothing where somebody else made it up."""
    return event._data if isinstance(event._data, dict) else {}
