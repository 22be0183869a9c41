"""Marks hides how pressing like, dislike or seen, and pressing it again, changes a conversation."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from llmrec.types import Conversation

__all__ = ["MARKS", "Mark", "marks_of", "pressed"]

Mark = Literal["like", "dislike", "seen"]
MARKS: tuple[Mark, ...] = ("like", "dislike", "seen")
_FIELD: dict[str, str] = {"like": "liked", "dislike": "disliked", "seen": "seen"}
_OPPOSITE = {"like": "dislike", "dislike": "like"}


def marks_of(conversation: Conversation, item_id: str) -> frozenset[str]:
    """Which buttons of an item are pressed."""
    return frozenset(m for m in MARKS if item_id in getattr(conversation, _FIELD[m]))


def pressed(conversation: Conversation, item_id: str, mark: Mark) -> Conversation:
    """The conversation after a button of an item was pressed; what was liked is not disliked."""
    had = marks_of(conversation, item_id)
    off = {mark} if mark in had else {_OPPOSITE.get(mark)}
    changed: dict[str, Any] = {
        _FIELD[m]: tuple(i for i in getattr(conversation, _FIELD[m]) if i != item_id)
        for m in had & off
    }
    if mark not in had:
        changed[_FIELD[mark]] = (*getattr(conversation, _FIELD[mark]), item_id)
    return dataclasses.replace(conversation, **changed)
