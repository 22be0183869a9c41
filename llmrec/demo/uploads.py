"""Uploads hides how rows of unknown origin become a visitor's own catalogue.

`llmrec.demo.untrusted` has read them; here their columns are given to fields of Item, values are
mended as far as they can be, and what cannot be used is told of with its line. What a visitor
brings lies in one temporary folder, which goes with the visitor.
"""

from __future__ import annotations

import itertools
import math
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.datasets.film_names import film
from llmrec.demo.cells import brief, image_in, is_bare, is_nothing, names_in, number_in, words_in
from llmrec.demo.columns import FIELDS, PEEK, words_of
from llmrec.demo.texts import Words
from llmrec.demo.untrusted import Limits, Read, Refusal, plain_name
from llmrec.errors import LLMRecError
from llmrec.records import LISTS, NUMBERS, WHOLE_NUMBERS, flaw
from llmrec.titles import fold
from llmrec.types import LANGUAGES, Item

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = [
    "Built",
    "Limits",
    "Problem",
    "Read",
    "Refusal",
    "Uploads",
    "build",
    "sentence",
]

TOLD = 100
_PREFIX = "llmrec-visitor-"
_STALE_S = 86_400.0
_DATED_TITLE = re.compile(r".*\S\s*\((?:18|19|20)\d\d\)")
_MINUTES_OF = {
    **dict.fromkeys(("ms", "msec", "milliseconds"), 1 / 60_000),
    **dict.fromkeys(("s", "sec", "secs", "seconds", "segundos"), 1 / 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "horas"), 60.0),
}

_say = Words("uploads")


def sentence(language: str, key: str, values: Mapping[str, Any] | None = None) -> str:
    """Why a file, a row or a value is not used, in a language of the page."""
    return _say(language, key, **(values or {}))


@dataclass(frozen=True)
class Problem:
    """A row that was left out, or a value that was: its line, and the key of why."""

    line: int
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """A catalogue, and what became of the rows.

    Attributes
    ----------
    dropped: rows left out. emptied: values left out of rows that were kept.
    problems: of both, the first 100.
    """

    catalog: Catalog
    dropped: int
    emptied: int
    problems: tuple[Problem, ...]


class Uploads:
    """The folders of all visitors who have brought something, so many at the same time.

    Once there are too many, the one that was not used for longest goes, if that is ``idle``
    seconds ago: a visitor whose connection broke, or who never had a browser.
    """

    def __init__(
        self, limits: Limits | None = None, visitors: int = 20, idle: float = 600.0
    ) -> None:
        self.limits = limits or Limits()
        self._visitors, self._idle = visitors, idle
        self._lock = threading.Lock()
        self._used: dict[Path, float] = {}
        self._forget: dict[Path, Callable[[], None]] = {}
        for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):  # of killed processes
            if _age(left) > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)

    def folder(self, forget: Callable[[], None]) -> Path:
        """A new folder.

        Parameters
        ----------
        forget: called when the folder is wanted for somebody else; must not hold its owner.

        Raises
        ------
        Refusal: too many are in use.
        """
        with self._lock:
            oldest = min(self._used, key=lambda f: self._used[f], default=None)
            full = len(self._used) >= self._visitors
            if full and oldest and time.monotonic() - self._used[oldest] < self._idle:
                raise Refusal("full")
            evicted = self._forget[oldest] if full and oldest else None
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._used[folder] = time.monotonic()
            self._forget[folder] = forget
        if evicted is not None:
            evicted()
        return folder

    def touch(self, folder: Path) -> None:
        """Note that a folder is in use."""
        with self._lock:
            if folder in self._used:
                self._used[folder] = time.monotonic()

    def remove(self, folder: Path) -> None:
        """Remove a folder with all that is in it."""
        shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._used.pop(folder, None)
            self._forget.pop(folder, None)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def build(
    read: Read,
    mapping: Mapping[str, str],
    folder: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> Built:
    """Build a catalogue from rows that were read.

    Parameters
    ----------
    mapping: from fields (`FIELDS`) to columns; fields that are not named stay empty.
    folder: the catalogue goes into a new folder there.
    progress: called with the number of rows so far; what it raises ends the build.

    Raises
    ------
    Refusal: no column for the title, one that is not there, or no row that could be kept.
    """
    from llmrec.catalog import Catalog

    mapping = {name: column for name, column in mapping.items() if column and name in FIELDS}
    if "title" not in mapping:
        raise Refusal("title_needed")
    for column in mapping.values():
        if column not in read.columns:
            raise Refusal("column_gone", column=plain_name(column))
    rows = _Rows(read, mapping)

    def items() -> Iterator[Item]:
        for done, item in enumerate(rows.items()):
            if done % 256 == 0:
                progress(rows.done)
            yield item

    to = Path(tempfile.mkdtemp(prefix="catalogue-", dir=folder))
    try:
        catalog = Catalog.from_items(items(), to / "items")
    except LLMRecError:
        shutil.rmtree(to, ignore_errors=True)
        if rows.kept:
            raise
        raise Refusal("nothing", n=read.rows) from None
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise
    first = tuple(Problem(*p) for p in read.problems)
    problems = sorted((*first, *rows.problems), key=lambda p: p.line)[:TOLD]
    return Built(catalog, read.dropped + rows.dropped, rows.emptied, tuple(problems))


class _Rows:
    """Rows as Items, with what was wrong counted."""

    def __init__(self, read: Read, mapping: Mapping[str, str]) -> None:
        self._read, self._mapping = read, mapping
        self._seen: set[str] = set()
        self._most = self._largest("popularity")
        best = self._largest("rating")  # out of five, of ten or of a hundred
        self._stars = 2.0 if 0 < best <= 5 else 0.1 if best > 10 else 1.0
        unit = words_of(mapping.get("runtime", ""))[-1:]
        self._minutes = _MINUTES_OF.get(unit[0], 1.0) if unit else 1.0
        self._dated = "year" not in mapping and self._are_dated(mapping["title"])
        self.done = self.kept = self.dropped = self.emptied = 0
        self.problems: list[Problem] = []
        self._told: Counter[str] = Counter()

    def items(self) -> Iterator[Item]:
        for line, row in self._read:
            self.done += 1
            item = self._item(line, row)
            if item is None:
                continue
            if item.id in self._seen:
                self._drop(line, "id_twice", id=item.id[:60])
            elif flaw(item) is not None:
                self._drop(line, "unfit")
            else:
                self._seen.add(item.id)
                self.kept += 1
                yield item

    def _drop(self, line: int, key: str, **values: Any) -> None:
        self.dropped += 1
        self._tell(Problem(line, key, values))

    def _tell(self, problem: Problem) -> None:
        self._told[problem.key] += 1
        if self._told[problem.key] <= TOLD // 4:  # each kind of problem gets its share
            self.problems.append(problem)

    def _item(self, line: int, row: Mapping[str, Any]) -> Item | None:
        values: dict[str, Any] = {"id": str(self.done), "titles": {}, "descriptions": {}}
        for name, column in self._mapping.items():
            value = row.get(column)
            if value is None or value == "":
                continue
            where, _, language = name.partition(".")
            if language:
                if text := words_in(value, where):
                    values[where][language] = (text,) if where == "titles" else text
            elif name in LISTS:
                values[name] = names_in(value)
            elif name in NUMBERS:
                values[name] = self._number(line, name, value)
            elif name == "image":
                values[name] = self._address(line, value)
            elif where == "description" and isinstance(value, dict):
                values["descriptions"] |= {
                    k: words_in(v, name) for k, v in value.items() if k in LANGUAGES and v
                }
            elif text := words_in(value, name):
                values[name] = text
        if self._dated and (dated := film(values.get("title"))) and dated[1]:
            values["title"], values["year"] = dated
        if not fold(values.get("title", "")):
            self._drop(line, "no_title")
            return None
        if values.get("popularity") is None:
            values.pop("popularity", None)
        return Item(**values)

    def _number(self, line: int, name: str, value: Any) -> float | int | None:
        number = number_in(name, value)
        if number is not None and name == "popularity" and self._most > 1:
            number = math.log1p(max(0.0, number)) / math.log1p(self._most)
        elif number is not None and name == "rating":
            number = round(number * self._stars, 2)
        elif number is not None and name == "runtime" and is_bare(value):
            number = round(number * self._minutes)
        low, high = NUMBERS[name]
        if number is not None and low <= number <= high:
            return int(number) if name in WHOLE_NUMBERS else float(number)
        if not is_nothing(value):
            self.emptied += 1
            said = {"field": name, "value": brief(value), "low": low, "high": high}
            self._tell(Problem(line, "number" if high < math.inf else "at_least", said))
        return None

    def _address(self, line: int, value: Any) -> str:
        address = image_in(value)
        if not address:
            self.emptied += 1
            self._tell(Problem(line, "image", {"value": brief(value)}))
        return address

    def _are_dated(self, column: str) -> bool:
        """Whether most titles end in their year: "Heat (1995)"."""
        titles = [str(row.get(column) or "") for _, row in itertools.islice(self._read, PEEK)]
        return 2 * sum(bool(_DATED_TITLE.fullmatch(t.strip())) for t in titles) > len(titles)

    def _largest(self, name: str) -> float:
        column = self._mapping.get(name)
        if column is None:
            return 0.0
        numbers = (number_in(name, row.get(column)) for _, row in self._read)
        return max((n for n in numbers if n is not None), default=0.0)
