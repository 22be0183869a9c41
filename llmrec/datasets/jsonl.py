"""Jsonl hides how rows of JSON lines, CSV, TSV and Parquet become Items, or Examples of chats."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from llmrec.datasets.base import PARTS, Report, kept_items, part_of
from llmrec.datasets.files import raw_rows, suffix_of
from llmrec.errors import InputError
from llmrec.records import columns_of, parsed, short
from llmrec.types import Conversation, Example, Item, Message

__all__ = ["EXAMPLE_FIELDS", "Kind", "Table", "to_example"]

Kind = Literal["auto", "items", "conversations"]
_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
_FILES = "a .jsonl, .csv or .tsv file (also .gz) or a .parquet file"
EXAMPLE_FIELDS = (
    *(f.name for f in fields(Example)),
    *("messages", "conversations", "prompt", "completion"),
)
_TURNS = ("conversation", "messages", "conversations", "prompt")
_ROLES = {"human": "user", "gpt": "assistant"}
_PART = re.compile(r"(?:(train)|(validation|valid|val|dev)|(test))[-_.]")
_PEEK = 20

_Row = tuple[int, Mapping[str, Any]]


class Table:
    """Any table of items or of conversations, as Items or Examples.

    Items are rows with a title and whatever else an Item has. Conversations are rows with
    ``messages`` (``[{"role", "content"}]``), ``conversations`` (``[{"from", "value"}]`` by
    "human", "gpt" and "system"), ``prompt`` and ``completion`` (texts or messages), or a
    ``conversation`` as ``Example.to_dict`` writes it; beside them may stand ``reply``,
    ``relevant``, ``likes``, ``history``, ``id``, ``dialogue`` and ``user``. A last message of the
    assistant is the reply where none is given. In CSV, lists are JSON, or names parted by ``;``.

    A folder holds ``train``, ``validation`` and ``test`` files, those that are there. The
    examples of a single file are split by user, else dialogue, else id; its items are all "train".

    Parameters
    ----------
    path: the file, or the folder.
    mapping: the columns that are named otherwise: ``{"title": "name", "reply": "answer"}``.
    kind: "items", "conversations", or "auto" to tell from the first rows.

    Raises
    ------
    InputError: files, columns or a mapping that cannot be used.
    """

    name = "jsonl"
    homepage = ""
    license = "unknown"
    citation = ""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mapping: Mapping[str, str] | None = None,
        kind: Kind = "auto",
    ) -> None:
        self.path = Path(path)
        self.title = self.path.name
        self.report = Report()
        if kind not in get_args(Kind):
            raise InputError(f"kind is {kind!r}: use {', '.join(get_args(Kind))}")
        self._files = _files_of(self.path)
        self._mapping = dict(mapping or {})
        kind = self._checked(kind)
        parts = tuple(self._files) if self.path.is_dir() else None
        self.example_splits: tuple[str, ...] = ()
        self.item_splits: tuple[str, ...] = ()
        if kind == "items":
            self.item_splits = parts or ("train",)
        else:
            self.example_splits = parts or tuple(PARTS)

    def examples(self, split: str = "train") -> Iterator[Example]:
        """The examples of one part. Raises InputError for a part or a kind that is not there."""
        self._require(split, self.example_splits, "examples")
        self.report = Report()
        return self._examples(split, self.report)

    def items(self, split: str = "train") -> Iterator[Item]:
        """The items of one part. Raises InputError for a part or a kind that is not there."""
        self._require(split, self.item_splits, "items")
        self.report = Report()
        return self._items(split, self.report)

    def _require(self, split: str, splits: Sequence[str], what: str) -> None:
        if split not in splits:
            have = ", ".join(splits) or "none"
            raise InputError(f"{self.path} has no {what} {split!r}: it has {have}")

    def _checked(self, kind: Kind) -> Kind:
        """The kind of the rows; raises InputError if the first of them do not hold it."""
        first = next(iter(self._files.values()))[0]
        readable = (row for _, row in raw_rows(first) if not isinstance(row, str))
        rows = list(islice(readable, _PEEK))
        have = list(dict.fromkeys(column for row in rows for column in row))
        named = {name: self._mapping.get(name, name) for name in (*_TURNS, "title")}
        if kind == "auto":
            talks = any(named[name] in have for name in _TURNS)
            kind = "conversations" if talks else "items"
        if kind == "items":
            columns_of(self._mapping)
        elif unknown := [name for name in self._mapping if name not in EXAMPLE_FIELDS]:
            raise InputError(
                f"mapping has {unknown[0]!r}, which no conversation has: "
                f"use {', '.join(EXAMPLE_FIELDS)}"
            )
        wanted = ["title"] if kind == "items" else list(_TURNS)
        if not any(named[name] in have for name in wanted):
            raise InputError(
                f"{first} has no column {' or '.join(repr(named[n]) for n in wanted)}, it has "
                f"{', '.join(map(repr, have)) or 'none'}: say with mapping={{'title': 'its "
                "column', ...} what is where"
            )
        missing = [c for c in self._mapping.values() if c not in have]
        if missing and suffix_of(first) != ".jsonl":  # JSON lines may leave out what is empty
            raise InputError(f"{first} has no column {missing[0]!r}, it has {', '.join(have)}")
        return kind

    def _rows(self, split: str, id_: str, report: Report) -> Iterator[tuple[str, Iterator[_Row]]]:
        """The name of each file and its rows; a row without an id gets its number for one."""
        prefix, number = (f"{split}-", 0) if self.path.is_dir() else ("", 0)

        def of(file: Path) -> Iterator[_Row]:
            nonlocal number
            for line, row in raw_rows(file):
                number += 1
                if isinstance(row, str):
                    report.broken(file.name, line, row)
                else:
                    given = row.get(id_)
                    yield line, {**row, id_: f"{prefix}{number}" if given in (None, "") else given}

        for file in self._files[split] if self.path.is_dir() else self._files[""]:
            yield file.name, of(file)

    def _items(self, split: str, report: Report) -> Iterator[Item]:
        columns = columns_of(self._mapping)
        seen: set[str] = set()
        for file, rows in self._rows(split, columns["id"], report):
            yield from kept_items(parsed(rows, columns), file, report, seen)

    def _examples(self, split: str, report: Report) -> Iterator[Example]:
        columns = {name: self._mapping.get(name, name) for name in EXAMPLE_FIELDS}
        for file, rows in self._rows(split, columns["id"], report):
            for line, row in rows:
                try:
                    example = to_example({n: row[c] for n, c in columns.items() if c in row})
                except ValueError as e:
                    report.broken(file, line, str(e))
                    continue
                group = example.user or example.dialogue or example.id
                if self.path.is_dir() or part_of(group) == split:
                    report.kept += 1
                    yield example


def _files_of(path: Path) -> dict[str, list[Path]]:
    """The files of each part; a single file is part ""."""
    if path.is_file() and suffix_of(path) in _SUFFIXES:
        return {"": [path]}
    parts: dict[str, list[Path]] = {part: [] for part in PARTS}
    for file in sorted(path.iterdir()) if path.is_dir() else ():
        found = _PART.match(file.name)
        if found and file.is_file() and suffix_of(file) in _SUFFIXES:
            parts[tuple(PARTS)[int(found.lastindex or 1) - 1]].append(file)
    if not any(parts.values()):
        what = "holds no train, validation or test file" if path.is_dir() else "is no such file"
        raise InputError(f"{path} {what}: give {_FILES}, or a folder with train.jsonl and so on")
    return {part: files for part, files in parts.items() if files}


def to_example(row: Mapping[str, Any]) -> Example:
    """One row as an Example; its keys are of ``EXAMPLE_FIELDS``.

    Raises
    ------
    ValueError: a row without messages, or with values that do not fit.
    """
    values = {name: value for name, value in row.items() if value not in (None, "")}
    reply = _text("reply", values.get("reply", ""))
    if isinstance(whole := _listed(values.get("conversation")), dict):
        conversation = _conversation(whole)
    else:
        messages = _messages(next((values[n] for n in _TURNS if n in values), []), "user")
        if not reply and "completion" in values:
            answer = _messages(values["completion"], "assistant")
            if not answer or answer[-1].role != "assistant":
                raise ValueError("its completion does not end with the assistant")
            messages += answer
        if not messages:
            raise ValueError("it has no messages")
        if not reply and messages[-1].role == "assistant":
            reply = messages.pop().content
        conversation = Conversation(tuple(messages))
    ids = {name: _ids(name, values.get(name)) for name in ("relevant", "likes", "history")}
    names = {name: _text(name, values.get(name, "")) for name in ("id", "dialogue", "user")}
    return Example.from_dict({"conversation": conversation, "reply": reply, **ids, **names})


def _conversation(whole: Mapping[str, Any]) -> Conversation:
    values = {name: value for name, value in whole.items() if value is not None}
    values["messages"] = _messages(values.get("messages", []), "user")
    for name in ("liked", "disliked", "seen"):
        values[name] = _ids(name, values.get(name))
    values["language"] = _text("language", values.get("language", ""))
    return Conversation.from_dict(values)


def _messages(turns: Any, role: Literal["user", "assistant"]) -> list[Message]:
    """Messages as data sets write them; a text is one of ``role``."""
    listed = _listed(turns)
    if isinstance(listed, list) and all(isinstance(turn, dict) for turn in listed):
        return [_message(turn) for turn in listed]
    if isinstance(turns, str):  # which may well be JSON itself
        return [Message(role, turns)]
    raise ValueError(f"its messages are {short(turns)}: a list of messages is wanted")


def _message(turn: Mapping[str, Any]) -> Message:
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if isinstance(content, (list, tuple)):  # parts, as vision models take them
        content = "".join(str(p["text"]) for p in content if isinstance(p, dict) and p.get("text"))
    role = _ROLES.get(role, role) if isinstance(role, str) else short(role)
    return Message(role, content, _ids("items", turn.get("items")))  # type: ignore[arg-type]


def _listed(value: Any) -> Any:
    """A list or an object that was written as JSON text, else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass
    return value


def _ids(name: str, value: Any) -> tuple[str, ...]:
    value = _listed(value)
    if isinstance(value, (str, int)):
        value = re.split("[;|]", str(value))
    if not isinstance(value, (list, tuple, type(None))):
        raise ValueError(f"{name} is {short(value)}: a list of ids is wanted")
    return tuple(_text(name, v) for v in value or () if v not in (None, ""))


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{name} is {short(value)}: a text is wanted")
    return str(value)
