"""Dialogues hides how records of ReDial, in any of their shapes, become Examples and Items."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmrec.datasets.base import Report, part_of
from llmrec.datasets.files import CANNOT_READ, beside, json_lines, opened, small_json
from llmrec.datasets.film_names import Film, film
from llmrec.errors import InputError
from llmrec.records import NOT_UTF8, RawRow, csv_rows
from llmrec.types import Conversation, Example, Item, Message

__all__ = [
    "Dialogues",
    "Said",
    "mentioned",
    "popularity",
    "read_films",
    "said",
    "split_named",
    "spoken",
]

Role = Literal["user", "assistant"]
Turn = tuple[Role, str, tuple[str, ...]]

EMPTY = "message without text"
STRANGER = "message of a third speaker"
TWICE = "dialogue whose id came before"
NO_FILM = "recommender turn without a film"
OUTSIDE = "mention of a film outside the benchmark"
NOT_RANKED = "film outside the benchmark"

_MENTION = re.compile(r"@+ ?([0-9]+)|(?<!\w)@+(?=\w)")
_LONGEST_NAME = 4  # digits: ids have five or six, "300" and "2012" are names of films
_SPLITS = {
    split: re.compile(rf"(?<![a-z]){word}", re.IGNORECASE)
    for split, word in {"train": "train", "validation": "(valid|dev)", "test": "test"}.items()
}


# Files.


def split_named(path: Path) -> str | None:
    """The split that a relative path names, its last part first; None if it names none."""
    for part in reversed(path.parts):
        for split, word in _SPLITS.items():
            if word.search(part):
                return split
    return None


def read_films(path: Path, report: Report) -> dict[str, Film]:
    """Id to title and year, from a CSV file with ``movieId`` and ``movieName``.

    Raises
    ------
    InputError: the columns are not there.
    """

    def check(header: Sequence[str]) -> None:
        if not {"movieId", "movieName"} <= set(header):
            raise InputError(
                f"{path} has no columns movieId and movieName: give the file of ReDial"
            )

    films: dict[str, Film] = {}
    line = 1
    with opened(path) as raw:
        try:
            for line, row in csv_rows(raw, ".csv", check):
                try:
                    key, known = _listed(row)
                except ValueError as e:
                    report.broken(path.name, line, str(e))
                else:
                    films.setdefault(key, known)
        except CANNOT_READ as e:
            report.broken(path.name, line + 1, f"nothing can be read from here on: {e}")
    return films


def _listed(row: Mapping[str, Any] | str) -> tuple[str, Film]:
    """Id, title and year. Raises ValueError."""
    if isinstance(row, str):
        raise ValueError(row)
    key, name = row["movieId"].strip(), row["movieName"]
    try:
        (key + name).encode()
    except UnicodeEncodeError:
        raise ValueError(NOT_UTF8) from None
    if not key or (known := film(name)) is None:
        raise ValueError("it has no id or no name")
    return key, known


# Texts.


def popularity(counts: Mapping[str, int]) -> dict[str, float]:
    """Counts scaled to 0..1: ``log(1 + n) / log(1 + the largest n)``."""
    top = math.log1p(max(counts.values(), default=0))
    return {key: round(math.log1p(n) / top, 6) for key, n in counts.items() if n}


def mentioned(text: str) -> tuple[str, ...]:
    """The numbers behind ``@`` in a message, in order, each once."""
    return tuple(dict.fromkeys(m[1] for m in _MENTION.finditer(text) if m[1]))


def spoken(text: str, label: Callable[[str], str | None]) -> tuple[str, tuple[str, ...]]:
    """A message as it reads with names for ``@ids``, and the ids that have names.

    A number that is no film's keeps its digits if it may be a name itself ("@300") and goes if it
    is an id ("@205161"); ``@Alien`` loses its sign. "@ 12" stays, and so do addresses.
    """
    ids: list[str] = []

    def read(m: re.Match[str]) -> str:
        if m[1] is None:
            return ""
        if (name := label(m[1])) is None:
            if " " in m[0]:
                return m[0]
            return m[1] if len(m[1]) <= _LONGEST_NAME else ""
        ids.append(m[1])
        before, after = m.string[: m.start()][-1:], m.string[m.end() :][:1]
        return " " * before.isalnum() + name + " " * after.isalnum()

    return " ".join(_MENTION.sub(read, text).split()), tuple(dict.fromkeys(ids))


# Records.


@dataclass(frozen=True)
class Said:
    """One message. ``ids``: films it mentions, None where its text tells. ``note``: to count."""

    id: str
    sender: str
    text: str
    ids: tuple[str, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class Dialogue:
    """One record in its one shape. ``names``: of the films mentioned, by id."""

    id: str
    seeker: str
    recommender: str
    messages: tuple[Said, ...]
    names: Mapping[str, Film]
    liked: tuple[str, ...]


def _key(value: object) -> str:
    """An id that may be a number or a text; empty for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def said(record: Mapping[str, Any], column: str) -> tuple[Said, ...]:
    """The messages of one column: objects or plain texts. Raises ValueError."""
    messages = record.get(column)
    if not isinstance(messages, list):
        raise ValueError(f"{column} is no list")
    found = []
    for m in messages:
        m = {"text": m} if isinstance(m, str) else m
        if not isinstance(m, Mapping) or not isinstance(m.get("text"), (str, type(None))):
            raise ValueError(f"{column} holds something that is no message")
        sender = _key(m.get("senderWorkerId"))
        found.append(Said(_key(m.get("messageId")), sender, m.get("text") or ""))
    return tuple(found)


def _by_film(record: Mapping[str, Any], column: str) -> Iterator[tuple[str, Any]]:
    """The entries of an object by id, or of a list of objects with ``movieId``."""
    value = record.get(column)
    if value is None or value == []:
        return
    if isinstance(value, Mapping):
        yield from ((_key(i), entry) for i, entry in value.items())
        return
    if not isinstance(value, list) or not all(isinstance(e, Mapping) for e in value):
        raise ValueError(f"{column} is neither an object nor a list of objects")
    for entry in value:
        yield _key(entry.get("movieId")), entry


def _names(record: Mapping[str, Any]) -> dict[str, Film]:
    names: dict[str, Film] = {}
    for i, entry in _by_film(record, "movieMentions"):
        name = entry.get("movieName") if isinstance(entry, Mapping) else entry
        if not isinstance(name, (str, type(None))):
            raise ValueError("movieMentions has a name that is no text")
        if i and (known := film(name)):
            names.setdefault(i, known)
    return names


def _liked(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What the seeker says to have liked; of films the seeker says nothing of, the recommender."""
    answers: dict[str, Any] = {}
    for column in ("initiatorQuestions", "respondentQuestions"):
        for i, entry in _by_film(record, column):
            if not isinstance(entry, Mapping):
                raise ValueError(f"{column} has an answer that is no object")
            answers.setdefault(i, entry.get("liked"))
    return tuple(i for i, liked in answers.items() if liked == 1)


class Dialogues:
    """What the readers of ReDial and of its translation share; ``Redial`` tells the options."""

    name = title = homepage = license = citation = ""
    language = "en"
    item_splits: tuple[str, ...] = ("train",)

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        turns: str = "films",
        split_seed: int = 0,
        validation: float = 0.1,
        benchmark: bool = False,
    ) -> None:
        if turns not in ("films", "all"):
            raise InputError(f"turns is {turns!r}: use 'films' or 'all'")
        if not 0 <= validation < 1:
            raise InputError(f"validation is {validation!r}: give a share from 0 to below 1")
        root = Path(path)
        self.report = Report()
        self._turns = turns
        self._seed = split_seed
        self._files = self._found(root)
        folder = root if root.is_dir() else root.parent
        self._csv = beside(folder, "movies_with_mentions.csv", "movies.csv")
        own = "train" in self._files and "validation" not in self._files
        self._parts = {"train": 1 - validation, "validation": validation} if own else {}
        self.example_splits: tuple[str, ...] = tuple(
            s
            for s in ("train", "validation", "test")
            if s in self._files or (s == "validation" and own and validation)
        )
        self._linked = beside(folder, "movieid_to_dbpedia.json")
        self._ranked: frozenset[str] | None = None
        if benchmark:
            if self._linked is None:
                raise InputError(
                    f"benchmark=True needs movieid_to_dbpedia.json, which is not in {folder}"
                )
            self._ranked = frozenset(small_json(self._linked))

    def _found(self, root: Path) -> dict[str, list[Path]]:
        """The files of each split. Raises InputError where there are none."""
        raise NotImplementedError

    def _rows(self, file: Path) -> Iterator[RawRow]:
        return json_lines(file)

    def _messages(self, record: Mapping[str, Any]) -> tuple[Said, ...]:
        return said(record, "messages")

    def examples(self, split: str = "train") -> Iterator[Example]:
        """The examples of one part, in the order of the files. Raises InputError."""
        if split not in self.example_splits:
            raise InputError(
                f"{self.name} has no split {split!r} here: use {', '.join(self.example_splits)}"
            )
        return self._examples(split)

    def _examples(self, split: str) -> Iterator[Example]:
        report = self.report = Report()
        films = self._films(report)
        for _, dialogue in self._dialogues((split,), report):
            for example in self._cut(dialogue, films, report):
                report.kept += 1
                yield example

    def items(self, split: str = "train") -> Iterator[Item]:
        """Every film of the list and of the dialogues of all parts. Raises InputError.

        ``popularity`` tells in how many training dialogues a film is mentioned, on the scale of
        ``popularity``; of the other parts nothing is counted.
        """
        if split not in self.item_splits:
            raise InputError(f"{self.name} has one list of items: ask for 'train', not {split!r}")
        return self._items()

    def pages(self) -> dict[str, str]:
        """Id to address in DBpedia, of ``movieid_to_dbpedia.json`` if it is there.

        Raises
        ------
        InputError: the file is damaged.
        """
        said = small_json(self._linked) if self._linked else {}
        return {key: page for key, page in said.items() if isinstance(page, str)}

    def _items(self) -> Iterator[Item]:
        report = self.report = Report()
        films = self._films(report)
        counts: Counter[str] = Counter()
        further: dict[str, Film] = {}
        for part, dialogue in self._dialogues(self.example_splits, report):
            turns = self._spoken(dialogue, films, Report())
            named = dict.fromkeys(i for _, _, ids in turns for i in ids)
            if part == "train":
                counts.update(named.keys())
            for i in (*named, *dialogue.liked):
                if i not in films and i in dialogue.names:
                    further.setdefault(i, dialogue.names[i])
        shares = popularity(counts)
        for i, (title, year) in (films | further).items():
            if self._ranked is not None and i not in self._ranked:
                report.drop(NOT_RANKED)
                continue
            report.kept += 1
            yield Item(i, title, year, popularity=shares.get(i, 0.0))

    def _films(self, report: Report) -> dict[str, Film]:
        return read_films(self._csv, report) if self._csv else {}

    def _dialogues(self, wanted: Collection[str], report: Report) -> Iterator[tuple[str, Dialogue]]:
        """Part and dialogue, of the parts wanted; the files of no other part are opened."""
        known: set[str] = set()
        for name, files in self._files.items():
            parts = self._parts if name == "train" and self._parts else {name: 1.0}
            if not set(parts) & set(wanted):
                continue
            for file in files:
                for line, record in self._rows(file):
                    try:
                        dialogue = self._dialogue(record)
                    except ValueError as e:
                        report.broken(file.name, line, str(e))
                        continue
                    part = part_of(dialogue.id, seed=self._seed, parts=parts)
                    if part not in wanted:
                        continue
                    if dialogue.id in known:
                        report.drop(TWICE)
                        continue
                    known.add(dialogue.id)
                    yield part, dialogue

    def _dialogue(self, record: Mapping[str, Any] | str) -> Dialogue:
        if isinstance(record, str):
            raise ValueError(record)
        columns = ("conversationId", "initiatorWorkerId", "respondentWorkerId")
        key, seeker, recommender = (_key(record.get(c)) for c in columns)
        if not (key and seeker and recommender):
            raise ValueError(f"it lacks one of {', '.join(columns)}")
        if seeker == recommender:
            raise ValueError("its two speakers have one id")
        names, liked = _names(record), _liked(record)
        return Dialogue(key, seeker, recommender, self._messages(record), names, liked)

    def _spoken(self, d: Dialogue, films: Mapping[str, Film], report: Report) -> list[Turn]:
        """The turns, those of one speaker in a row as one, its messages on lines of their own."""

        def label(i: str) -> str | None:
            known = films.get(i) or d.names.get(i)
            return Item(i, *known).label if known else None

        turns: list[Turn] = []
        roles: dict[str, Role] = {d.seeker: "user", d.recommender: "assistant"}
        for m in d.messages:
            text, ids = spoken(m.text, label)
            role = roles.get(m.sender)
            if role is None or not text:
                report.drop(EMPTY if role else STRANGER)
                continue
            if m.note:
                report.drop(m.note)
            known = ids if m.ids is None else tuple(i for i in m.ids if label(i))
            kept = self._kept(known)
            if len(kept) < len(known):
                report.drop(OUTSIDE, len(known) - len(kept))
            if turns and turns[-1][0] == role:
                _, before, had = turns[-1]
                turns[-1] = (role, f"{before}\n{text}", tuple(dict.fromkeys(had + kept)))
            else:
                turns.append((role, text, kept))
        return turns

    def _kept(self, ids: Iterable[str]) -> tuple[str, ...]:
        return tuple(i for i in ids if self._ranked is None or i in self._ranked)

    def _cut(self, d: Dialogue, films: Mapping[str, Film], report: Report) -> Iterator[Example]:
        turns = self._spoken(d, films, report)
        messages = tuple(Message(role, text, ids) for role, text, ids in turns)
        order = dict.fromkeys(i for m in messages for i in m.items)
        known = self._kept(i for i in d.liked if i in films or i in d.names)
        likes = tuple(i for i in order if i in known) + tuple(i for i in known if i not in order)
        for at, turn in enumerate(messages):
            if turn.role != "assistant":
                continue
            if not turn.items and self._turns == "films":
                report.drop(NO_FILM)
                continue
            yield Example(
                Conversation(messages[:at], language=self.language),
                relevant=turn.items,
                reply=turn.content,
                id=f"{d.id}:{at}",
                dialogue=d.id,
                user=d.seeker,
                likes=likes,
            )
