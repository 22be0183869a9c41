"""Lessons hides how kept feedback becomes the rows of a training, with the prompts of inference."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from llmrec.demo.feedback_rows import Asked, Marked, Voted, files_in, rows_of
from llmrec.errors import InputError
from llmrec.prompting import Detail, ZeroShot, recommend_prompt, title_list
from llmrec.records import Problem
from llmrec.types import Message

__all__ = ["Form", "read_feedback"]

_log = logging.getLogger(__name__)
Form = Literal["sft", "dpo", "kto"]


def read_feedback(
    path: str | os.PathLike[str],
    form: Form = "sft",
    *,
    detail: Detail = "turns",
    problems: list[Problem] | None = None,
) -> list[dict[str, Any]]:
    """The rows of a training, from a folder or file of feedback; prompts are those of inference.

    Parameters
    ----------
    form: "sft" gives ``messages`` that end with the list of what was liked, as trl reads them, and
        ``conversation``, ``reply`` and ``relevant`` (the ids), as ``train/`` does. "dpo" gives
        ``prompt``, ``chosen`` and ``rejected``, from votes for one of two lists. "kto" gives
        ``prompt``, ``completion`` and ``label``, from likes, dislikes and votes; of two bad lists
        both are bad, and of two that are equal nothing is said.
    detail: how much the prompt explains, as the model's profile has it.
    problems: gets what could not be read; it is logged as well.

    Raises
    ------
    InputError: no such folder, file, or form.
    """
    if form not in get_args(Form):
        raise InputError(f"form is {form!r}: use {', '.join(map(repr, get_args(Form)))}")
    place = Path(path)
    if not place.exists():
        raise InputError(f"there is no {place}: give a folder or a file of feedback")
    found: list[Problem] = [] if problems is None else problems
    before = len(found)
    rows: dict[str, Marked | Voted] = {}
    for file in files_in(place) if place.is_dir() else [place]:
        for row in rows_of(file, found):
            rows.setdefault(row.id, row)
    for p in found[before:]:
        _log.warning("left out: %s, line %d: %s", p.file, p.line, p.reason)
    votes = [r for r in rows.values() if isinstance(r, Voted)]
    marks = [r for r in rows.values() if isinstance(r, Marked)]
    strategy = ZeroShot(detail)
    if form == "sft":
        return list(_sft(marks, strategy))
    if form == "dpo":
        return list(_dpo(votes, strategy))
    return list(_kto(marks, votes, strategy))


def _sft(marks: Sequence[Marked], strategy: ZeroShot) -> Iterator[dict[str, Any]]:
    for own in _turns(marks):
        liked = tuple(i for i, m in own.items() if m.mark == "like")
        if liked:
            first = next(iter(own.values()))
            answer = _listed(first.asked, liked)
            yield {
                "messages": [*_prompt(first.asked, strategy), *answer],
                "conversation": {
                    "messages": [m.to_dict() for m in first.asked.conversation.messages]
                },
                "reply": answer[0]["content"],
                "relevant": list(liked),
                "id": first.id,
                "dialogue": first.visit,
            }


def _dpo(votes: Sequence[Voted], strategy: ZeroShot) -> Iterator[dict[str, Any]]:
    for v in votes:
        if v.choice not in ("a", "b") or v.a[1] == v.b[1] or not (v.a[1] and v.b[1]):
            continue
        better, worse = (v.a, v.b) if v.choice == "a" else (v.b, v.a)
        yield {
            "prompt": _prompt(v.asked, strategy),
            "chosen": _listed(v.asked, better[1]),
            "rejected": _listed(v.asked, worse[1]),
        }


def _kto(
    marks: Sequence[Marked], votes: Sequence[Voted], strategy: ZeroShot
) -> Iterator[dict[str, Any]]:
    def row(asked: Asked, ids: Sequence[str], label: bool) -> dict[str, Any]:
        return {
            "prompt": _prompt(asked, strategy),
            "completion": _listed(asked, ids),
            "label": label,
        }

    for own in _turns(marks):
        for item, m in own.items():
            if m.mark != "none":
                yield row(m.asked, (item,), m.mark == "like")
    for v in votes:
        same = v.a[1] == v.b[1]
        for side, ids in (("a", v.a[1]), ("b", v.b[1])):
            if v.choice == "equal" or not ids or (same and (v.choice != "bad" or side == "b")):
                continue
            yield row(v.asked, ids, v.choice == side)


def _turns(marks: Iterable[Marked]) -> Iterator[dict[str, Marked]]:
    """The last mark of each item, by the turn of a visit that showed it."""
    turns: dict[tuple[str, tuple[Message, ...]], dict[str, Marked]] = {}
    for m in marks:
        turns.setdefault((m.visit, m.asked.conversation.messages), {})[m.item] = m
    yield from turns.values()


def _prompt(asked: Asked, strategy: ZeroShot) -> list[dict[str, str]]:
    made = recommend_prompt(
        asked.conversation,
        asked.preferences,
        dict(asked.titles),
        strategy=strategy,
        things=asked.things,
    )
    return [{"role": m.role, "content": m.content} for m in made]


def _listed(asked: Asked, ids: Sequence[str]) -> list[dict[str, str]]:
    written = "".join(title_list(asked.titles[i] for i in ids))
    return [{"role": "assistant", "content": written}]
