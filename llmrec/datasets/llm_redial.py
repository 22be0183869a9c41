"""Llm_redial hides the files of LLM-REDIAL: dialogues that a language model wrote about purchases.

Liang et al., "LLM-REDIAL: A Large-Scale Dataset for Conversational Recommender Systems Created
from User Behaviors with LLMs", Findings of ACL 2024. Its authors send it on request, for research.
"""

from __future__ import annotations

import html
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from llmrec.datasets.base import PARTS, Report, part_of
from llmrec.datasets.dialogues import popularity
from llmrec.datasets.files import CANNOT_READ, beside, json_lines, opened, small_json
from llmrec.datasets.film_names import Film, film
from llmrec.errors import InputError
from llmrec.records import NOT_UTF8
from llmrec.titles import fold
from llmrec.types import Conversation, Example, Item, Message

__all__ = ["DOMAINS", "LlmRedial"]

DOMAINS = ("Movie", "Books", "Sports", "Electronics")
FILES = ("final_data.jsonl", "Conversation.txt", "item_map.json")
MAX_BYTES = 1_000_000

NO_TEXT = "conversation that Conversation.txt does not hold"
NO_AGENT = "conversation in which the agent says nothing"
NO_TARGET = "conversation whose recommended item has no title"
TWICE = "conversation whose id came before"
UNTITLED = "item without a title"
SAME_TITLE = "item whose title another has, which stands for it"

_TAGS = re.compile(
    r"[\[(][^\])]*\b(?:vhs|dvd|blu-?ray|uhd|laser ?disc|ntsc|pal|wide ?screen|full ?screen)\b"
    r"[^\])]*[\])]|[-,:]?\s+(?:vhs|dvd|blu-?ray)\s*$",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"\s*(User|Agent)\s*:\s*(.*)", re.DOTALL)
_MAIN_PART = re.compile(r"\s*(?::| - |\()")
_SHORT = 4  # letters: "it" and "her" are films only if written as their titles are

Place = tuple[int, int, int]  # of a conversation: first byte, byte after the last, line
Turn = tuple[str, str]


class LlmRedial:
    """LLM-REDIAL as its authors send it.

    An example is a conversation up to the first turn in which the agent names what it is to
    recommend. If no turn has the title, its part before a colon, a dash or a bracket is looked
    for; if none has that either, the agent's last turn is the reply. ``relevant`` is ``rec_item``,
    ``history`` what the user had bought before, ``likes`` (for training targets)
    ``user_likes`` and ``user_might_like``. The items of a message are those of the dialogue and
    of the user's history whose titles it holds. Sometimes the user names the recommended item
    first; it is then an item of that message, so that a table of new items leaves it out.

    There is no official split: users fall into 80 % "train", 10 % "validation", 10 % "test".

    Of items with one title the first of ``item_map.json`` stands for the others: they are
    editions. Of films, tags such as ``[VHS]`` are not title, and a year at the end is the year.

    Parameters
    ----------
    path: the folder of one domain (``final_data.jsonl``, ``Conversation.txt``, ``item_map.json``,
        each also with ``.gz``), or the one above with a folder for each.
    domain: one of ``DOMAINS``.
    split_seed: another number gives another split.

    Raises
    ------
    InputError: an unknown domain, or files that are not there.
    """

    name = "llm_redial"
    title = "LLM-REDIAL"
    homepage = "https://github.com/LitGreenhand/LLM-Redial"
    license = "unknown"
    citation = (
        "Liang, T., et al. (2024). LLM-REDIAL: A Large-Scale Dataset for Conversational "
        "Recommender Systems Created from User Behaviors with LLMs. Findings of ACL 2024."
    )
    example_splits: tuple[str, ...] = tuple(PARTS)
    item_splits: tuple[str, ...] = ("train",)

    def __init__(
        self, path: str | os.PathLike[str], *, domain: str = "Movie", split_seed: int = 0
    ) -> None:
        if domain not in DOMAINS:
            raise InputError(f"there is no domain {domain!r}: use {', '.join(DOMAINS)}")
        root = Path(path)
        folder = root / domain if (root / domain).is_dir() else root
        users, texts, titles = (beside(folder, name) for name in FILES)
        if users is None or texts is None or titles is None:
            raise InputError(
                f"there is no LLM-REDIAL in {folder}: it should hold {', '.join(FILES)}"
            )
        self.report = Report()
        self._users, self._texts, self._titles = users, texts, titles
        self._domain = domain
        self._seed = split_seed

    def items(self, split: str = "train") -> Iterator[Item]:
        """Every item that stands for a title. Raises InputError.

        ``popularity`` tells in how many training users' histories it is, log-scaled to 0..1.
        """
        if split not in self.item_splits:
            raise InputError(f"{self.name} has one list of items: ask for 'train', not {split!r}")
        return self._items()

    def _items(self) -> Iterator[Item]:
        report = self.report = Report()
        catalog = _Titles.read(self._titles, self._domain, report)
        counts: Counter[str] = Counter()
        for user in self._records("train", report):
            counts.update(set(catalog.known(user.history)))
        shares = popularity(counts)
        for key, (title, year) in catalog.items.items():
            report.kept += 1
            yield Item(key, title, year, popularity=shares.get(key, 0.0))

    def examples(self, split: str = "train") -> Iterator[Example]:
        """The examples of one part, in the order of the users. Raises InputError."""
        if split not in self.example_splits:
            raise InputError(
                f"{self.name} has no split {split!r}: use {', '.join(self.example_splits)}"
            )
        return self._examples(split)

    def _examples(self, split: str) -> Iterator[Example]:
        report = self.report = Report()
        catalog = _Titles.read(self._titles, self._domain, Report())
        index = _Index(self._texts, report)
        seen: set[int] = set()
        with opened(self._texts) as texts:
            for user in self._records(split, report):
                for case in user.cases:
                    if case.id in seen:
                        report.drop(TWICE)
                        continue
                    seen.add(case.id)
                    place = index.place(case.id)
                    if place is None:
                        report.drop(NO_TEXT)
                        continue
                    try:
                        turns = _turns(texts, place)
                    except ValueError as e:
                        report.broken(self._texts.name, place[2], str(e))
                        continue
                    example = _example(user, case, turns, catalog, report)
                    if example:
                        report.kept += 1
                        yield example

    def _records(self, split: str, report: Report) -> Iterator[_User]:
        for line, record in json_lines(self._users):
            if isinstance(record, str):
                report.broken(self._users.name, line, record)
                continue
            for key, value in record.items():
                if part_of(key, seed=self._seed) != split:
                    continue
                try:
                    yield _User.of(key, value)
                except ValueError as e:
                    report.broken(self._users.name, line, str(e))


# Users.


@dataclass(frozen=True)
class _Case:
    """One conversation, without its words."""

    id: int
    likes: tuple[str, ...]
    dislikes: tuple[str, ...]
    recommended: tuple[str, ...]


@dataclass(frozen=True)
class _User:
    key: str
    history: tuple[str, ...]
    might_like: tuple[str, ...]
    cases: tuple[_Case, ...]

    @classmethod
    def of(cls, key: str, record: Any) -> _User:
        """Raises ValueError."""
        if not key or not isinstance(record, Mapping):
            raise ValueError(f"user {key!r} has no object")
        listed = record.get("Conversation")
        if not isinstance(listed, list):
            raise ValueError(f"user {key!r} has no list Conversation")
        cases = []
        for entry in listed:
            if not isinstance(entry, Mapping):
                raise ValueError(f"user {key!r} has a conversation that is no object")
            cases += [_case(key, c) for c in entry.values()]
        might_like = _ids(record, "user_might_like")
        return cls(key, _ids(record, "history_interaction"), might_like, tuple(cases))


def _case(key: str, record: Any) -> _Case:
    number = record.get("conversation_id") if isinstance(record, Mapping) else None
    if isinstance(number, str) and re.fullmatch(r"[0-9]{1,18}", number):
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"user {key!r} has a conversation without a conversation_id")
    likes, dislikes = _ids(record, "user_likes"), _ids(record, "user_dislikes")
    return _Case(number, likes, dislikes, _ids(record, "rec_item"))


def _ids(record: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = record.get(name)
    value = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{name} is no list of ids")
    return tuple(value)


# Titles.


@dataclass(frozen=True)
class _Titles:
    """``items``: title and year by id. ``words``: their titles, folded.

    ``same``: every id that has a title, to the one in ``items``.
    """

    items: Mapping[str, Film]
    words: Mapping[str, str]
    same: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, domain: str, report: Report) -> _Titles:
        items: dict[str, Film] = {}
        words: dict[str, str] = {}
        same: dict[str, str] = {}
        first: dict[tuple[str, int | None], str] = {}
        for key, name in small_json(path).items():
            found = _title(name, domain) if isinstance(name, str) and key else None
            if found is None:
                report.drop(UNTITLED)
                continue
            folded = fold(found[0])
            same[key] = first.setdefault((folded, found[1]), key)
            if same[key] == key:
                items[key], words[key] = found, folded
            else:
                report.drop(SAME_TITLE)
        return cls(items, words, same)

    def known(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The ids that stand for these, each once; those without a title are left out."""
        return tuple(dict.fromkeys(self.same[k] for k in keys if k in self.same))


def _title(name: str, domain: str) -> Film | None:
    name = " ".join(html.unescape(html.unescape(name)).split())
    if domain != "Movie":
        return (name, None) if fold(name) else None
    bare = name
    while (shorter := _TAGS.sub(" ", bare).strip()) != bare:
        bare = shorter
    return film(bare) or film(name)


def _named(text: str, titles: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
    """Which of ``titles`` (id, title, folded title) stand in ``text``: ids, in order, each once.

    Where one title lies inside another, as in "The Mummy Returns", only the longer one counts.
    """
    folded = f" {fold(text)} "
    found: list[tuple[int, int, str]] = []
    for key, title, words in sorted(titles, key=lambda t: -len(t[2])):
        at = folded.find(f" {words} ")
        if at < 0 or not words or (len(words) <= _SHORT and not _as_written(title, text)):
            continue
        while at >= 0:
            end = at + len(words) + 1
            if all(end <= start or at >= stop for start, stop, _ in found):
                found.append((at, end, key))
            at = folded.find(f" {words} ", at + 1)
    return tuple(dict.fromkeys(key for _, _, key in sorted(found)))


def _as_written(title: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(title)}(?!\w)", text) is not None


# Conversations.


class _Index:
    """Where each conversation stands in ``Conversation.txt``: 24 bytes for each."""

    def __init__(self, path: Path, report: Report) -> None:
        digits = array("q")
        at = line = 0
        with opened(path) as raw:
            try:
                while data := raw.readline(MAX_BYTES):
                    line += 1
                    number = data.strip().removeprefix(b"\xef\xbb\xbf")
                    if number.isdigit() and len(number) <= 18:
                        digits.extend((int(number), at, at + len(data), line))
                    at += len(data)
            except CANNOT_READ as e:
                report.broken(path.name, line + 1, f"nothing can be read from here on: {e}")
        marks = np.array(digits, dtype=np.int64).reshape(-1, 4)
        kept = marks[_starts(marks[:, 0])]
        order = np.argsort(kept[:, 0], kind="stable")
        self._ids = kept[order, 0]
        ends = np.append(kept[1:, 1], at)
        self._places = np.column_stack([kept[:, 2], ends, kept[:, 3]])[order]

    def place(self, number: int) -> Place | None:
        """First byte, the byte after the last one, and the line of the id; None if not there."""
        if not -(2**63) <= number < 2**63:
            return None
        i = int(np.searchsorted(self._ids, number))
        if i == len(self._ids) or self._ids[i] != number:
            return None
        first, end, line = self._places[i].tolist()
        return first, end, line


def _starts(numbers: npt.NDArray[np.int64]) -> list[int]:
    """Which lines of digits are ids of conversations: ids go up one by one, others are text.

    Where the next id never comes, the smallest later number that has its own next is taken, so
    that a gap does not swallow the rest of the file.
    """
    found: list[int] = []
    last_at = {n: i for i, n in enumerate(numbers.tolist())}
    for i, n in enumerate(numbers.tolist()):
        expected = int(numbers[found[-1]]) + 1 if found else n
        if n == expected:
            found.append(i)
        elif n > expected and last_at.get(expected, -1) < i < last_at.get(n + 1, -1):
            rest = numbers[i:]
            if n == rest[rest > expected].min():
                found.append(i)
    return found


def _turns(texts: IO[bytes], place: Place) -> list[Turn]:
    """Speakers and their words, one after the other. Raises ValueError."""
    first, end, _ = place
    if end - first > MAX_BYTES:
        raise ValueError(f"the conversation has over {MAX_BYTES:,} bytes")
    try:
        texts.seek(first)
        text = texts.read(end - first).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(NOT_UTF8) from None
    except CANNOT_READ as e:
        raise ValueError(f"it cannot be read: {e}") from None
    turns: list[Turn] = []
    speaker = ""
    for line in text.splitlines():
        if started := _SPEAKER.match(line):
            speaker, line = started[1], started[2]
        line = line.strip()
        if not speaker or not line:
            continue
        if turns and turns[-1][0] == speaker:
            turns[-1] = (speaker, f"{turns[-1][1]}\n{line}")
        else:
            turns.append((speaker, line))
    return turns


def _cut(turns: Sequence[Turn], titles: Sequence[str]) -> int | None:
    """The turn in which the agent first names one of ``titles``, or its last one."""
    by_agent = [at for at, (speaker, _) in enumerate(turns) if speaker == "Agent"]
    for names in (titles, [_MAIN_PART.split(t)[0] for t in titles]):
        wanted = [("", n, fold(n)) for n in names]
        for at in by_agent:
            if _named(turns[at][1], wanted):
                return at
    return by_agent[-1] if by_agent else None


def _example(
    user: _User, case: _Case, turns: Sequence[Turn], catalog: _Titles, report: Report
) -> Example | None:
    relevant = catalog.known(case.recommended)
    if not relevant:
        report.drop(NO_TARGET)
        return None
    cut = _cut(turns, [catalog.items[k][0] for k in relevant])
    if cut is None:
        report.drop(NO_AGENT)
        return None
    near = (*relevant, *case.likes, *case.dislikes, *user.history)
    titles = [(k, catalog.items[k][0], catalog.words[k]) for k in catalog.known(near)]
    said = tuple(
        Message("user" if speaker == "User" else "assistant", text, _named(text, titles))
        for speaker, text in turns[:cut]
    )
    return Example(
        Conversation(said, language="en"),
        relevant=relevant,
        reply=turns[cut][1],
        id=str(case.id),
        dialogue=str(case.id),
        user=user.key,
        likes=catalog.known((*case.likes, *user.might_like)),
        history=catalog.known(user.history[::-1])[::-1],
    )
