"""Base hides what all readers share: counting what was kept and what not, and splitting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

from llmrec.errors import InputError
from llmrec.records import Problem, Row, flaw
from llmrec.types import Example, Item

__all__ = ["BROKEN", "MAX_PROBLEMS", "PARTS", "Report", "Source", "kept_items", "part_of"]

MAX_PROBLEMS = 100
BROKEN = "broken record"
PARTS: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


@dataclass
class Report:
    """What became of the records of a data set; filled while it is read.

    Attributes
    ----------
    kept: what was given out. dropped: reasons, and how often each.
    problems: of the records that cannot be read, the first ``MAX_PROBLEMS``.
    """

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def drop(self, reason: str, n: int = 1) -> None:
        """Count records that are left out on purpose."""
        self.dropped[reason] += n

    def broken(self, file: str, line: int, reason: str) -> None:
        """Count a record that cannot be read; ``line`` counts from 1."""
        self.dropped[BROKEN] += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(file, line, reason))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        problems = [[p.file, p.line, p.reason] for p in self.problems]
        return {"kept": self.kept, "dropped": dict(self.dropped), "problems": problems}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """What ``to_dict`` wrote."""
        problems = [Problem(*p) for p in data["problems"]]
        return cls(data["kept"], Counter(data["dropped"]), problems)


class Source(Protocol):
    """One data set as it lies on disk.

    Reading twice gives the same records in the same order. ``report`` is of the last stream that
    was begun, and whole once that stream has ended.

    A columnar source has a method ``tables(split, after=None)`` beside ``items``: pairs of a
    ``pyarrow.Table`` with some columns of Item and a cursor of plain JSON types. Begun with a
    cursor as ``after``, it goes on behind that table, ``report`` included. ``folder.write``
    prefers it to ``items``.

    Attributes
    ----------
    name: its key in ``FORMATS``. title, homepage, license, citation: for the card; the licence as
        the Hub writes it (``cc-by-4.0``), "unknown" where none is stated.
    example_splits, item_splits: what ``examples`` and ``items`` can be asked for; may be empty.
    """

    name: str
    title: str
    homepage: str
    license: str
    citation: str
    example_splits: tuple[str, ...]
    item_splits: tuple[str, ...]

    @property
    def report(self) -> Report:
        """What became of the records of the last stream."""
        ...

    def examples(self, split: str = "train") -> Iterator[Example]:
        """The examples of one part, in the order of the files."""
        ...

    def items(self, split: str = "train") -> Iterator[Item]:
        """The items of one part, each once."""
        ...


def kept_items(
    rows: Iterable[Row], file: str, report: Report, seen: set[str] | None = None
) -> Iterator[Item]:
    """The items of ``file`` that a catalogue can hold, counted; the others are reported.

    Parameters
    ----------
    seen: the ids so far, to be added to; without it the ids are taken to be unique.
    """
    for line, item in rows:
        reason = item if isinstance(item, str) else flaw(item)
        if isinstance(item, Item) and reason is None:
            if seen is None or item.id not in seen:
                if seen is not None:
                    seen.add(item.id)
                report.kept += 1
                yield item
                continue
            reason = f"the id {item.id!r} was used before"
        report.broken(file, line, str(reason))


def part_of(group: str, *, seed: int = 0, parts: Mapping[str, float] = PARTS) -> str:
    """The part of a split that a user or a dialogue falls into, always the same.

    It depends on ``group`` and ``seed`` alone, so nothing has to be held in memory, and what is
    added to a data set later moves nobody.

    Parameters
    ----------
    parts: names and their shares, which must add up to 1.

    Raises
    ------
    InputError: the shares do not add up to 1, or one is negative.
    """
    if any(share < 0 for share in parts.values()) or abs(sum(parts.values()) - 1) > 1e-9:
        raise InputError(f"the parts {dict(parts)!r} do not add up to 1: give shares that do")
    digest = blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()
    at = int.from_bytes(digest, "big") / 2**64
    for name, share in parts.items():
        at -= share
        if at < 0:
            return name
    return next(reversed(list(parts)))
