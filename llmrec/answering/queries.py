"""Queries hides how counts, superlatives and lists are executed over the whole catalogue."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmrec.answering.reading import THING
from llmrec.answering.sentences import NAMES, joined, say, thing, value
from llmrec.lexicon import Marked, Span
from llmrec.questions import Asked
from llmrec.titles import fold
from llmrec.types import Item, Passage, Preferences
from llmrec.wishes import wishes

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["Result", "executed", "said_of", "wanted_of"]

SHOWN = 3  # titles that a sentence names
SAME = 1e-9


@dataclass(frozen=True)
class Result:
    """What a query found, in words. ``why``: of a refusal."""

    text: str
    items: tuple[Item, ...] = ()
    passages: tuple[Passage, ...] = ()
    why: str = ""


def wanted_of(understood: Preferences, marked: Marked, asked: Asked) -> Preferences:
    """The filters of a question: what it names, and nothing that a comparative suggests."""
    kinds = {s.kind for s in marked.spans}
    changes: dict[str, object] = dict.fromkeys(("similar_to", "likes", "dislikes", "seen"), ())
    for field in ("year", "runtime", "price"):
        if field not in kinds:
            changes |= {f"{field}_min": None, f"{field}_max": None}
    # "The most recent" has no year of its own to be before or after.
    vague = {s.kind for s in marked.spans if not any(c.isdigit() for c in said_of(s, marked))}
    if asked.kind == "superlative" and asked.field in vague:
        changes |= {f"{asked.field}_min": None, f"{asked.field}_max": None}
    changes["keywords"] = tuple(
        v for s in marked.spans if s.kind == "keyword" and _narrows(s, marked) for v in s.values
    )
    people = tuple(v for s in marked.spans if s.kind == "person" for v in s.values[:1])
    if asked.field == "directors" and people:
        changes |= {"directors": people, "people": (), "people_any": ()}
    elif asked.field in ("cast", "people") and understood.directors:
        changes |= {"people": understood.people + understood.directors, "directors": ()}
    return dataclasses.replace(understood, **changes)  # type: ignore[arg-type]


_THEN = re.compile(rf"(?:[^\w:;,.!?]+\w+)?[^\w:;,.!?]*\b{THING}\b")


def _narrows(theme: Span, marked: Marked) -> bool:
    """Whether a theme is said of the things asked for: not the school of "for a school project"."""
    before = fold(marked.message[: theme.start])
    after = fold(marked.message[theme.end :])
    earlier = any(s.kind == "genre" and s.start < theme.start for s in marked.spans)
    return earlier or bool(re.search(rf"\b{THING}\b", before) or _THEN.match(" " + after))


def said_of(span: Span, marked: Marked) -> str:
    """The words of a span."""
    return marked.message[span.start : span.end]


_FIELDS = {
    "genre": "genres", "person": "people", "country": "countries", "language": "languages",
    "keyword": "keywords", "year": "year", "runtime": "runtime", "price": "price",
}  # fmt: skip


def executed(
    catalog: Catalog, wanted: Preferences, marked: Marked, asked: Asked, k: int, language: str
) -> Result:
    """Count, find the extreme, or list, among the items that meet the filters."""
    named = [s.kind for s in marked.spans if s.kind != "keyword"]  # not all themes narrow
    asked_of = [_FIELDS[kind] for kind in named if kind in _FIELDS]
    asked_of += [w.attribute for w in wishes(wanted)]
    unknown = [name for name in asked_of if not catalog.known.get(name)]
    if wanted.keywords and not catalog.known["keywords"]:
        unknown.append("keywords")
    if asked.kind == "superlative" and not catalog.known.get(asked.field):
        unknown.append(asked.field)
    if unknown:
        name = NAMES[language].get(unknown[0], unknown[0])
        return Result(say("no such fact", language, what=name), why="not said")
    rows = _rows(catalog, wanted)
    if asked.kind == "superlative":
        rows = _extreme(catalog, rows, asked)
    if not rows.size:
        return Result(say("no match", language), why="no match")
    rows = rows[np.argsort(-catalog.popularity[rows], kind="stable")]
    items = tuple(catalog.items_at(rows[: max(k, SHOWN)]))
    if asked.kind == "superlative":
        return _best(items[:k], len(rows), asked, language)
    return _counted(items[:k], len(rows), asked, language)


def _rows(catalog: Catalog, wanted: Preferences) -> npt.NDArray[np.int32]:
    rows = catalog.filter(wanted)
    for keyword in wanted.keywords:
        lacking = catalog.filter(Preferences(keywords_out=(keyword,)))
        rows = np.setdiff1d(rows, lacking)
    return rows


def _extreme(catalog: Catalog, rows: npt.NDArray[np.int32], asked: Asked) -> npt.NDArray[np.int32]:
    values = catalog.numbers(asked.field)[rows]
    known = ~np.isnan(values)
    rows, values = rows[known], values[known]
    if not rows.size:
        return rows
    best = values.max() if asked.direction == "max" else values.min()
    best_rows: npt.NDArray[np.int32] = rows[np.abs(values - best) <= SAME]
    return best_rows


def _best(items: Sequence[Item], n: int, asked: Asked, language: str) -> Result:
    shown = items[:SHOWN]
    names = joined([f"{thing(i, language)}{_year(i, asked)}" for i in shown], language)
    said = value(items[0], asked.field, language)
    text = say("best" if n == 1 else "best of", language, t=names, v=said)
    passages = tuple(Passage(value(i, asked.field, language), asked.field, 0, 1.0) for i in items)
    return Result(text, tuple(items), passages)


def _counted(items: Sequence[Item], n: int, asked: Asked, language: str) -> Result:
    names = joined([thing(i, language) for i in items[:SHOWN]], language)
    if asked.kind == "list":
        listed = joined([f"{thing(i, language)}{_year(i, asked)}" for i in items], language)
        key = "list" if n == 1 else "list all" if n == len(items) else "list more"
        return Result(say(key, language, n=n, t=listed), tuple(items))
    key = "count one" if n == 1 else "count some" if n > SHOWN else "list all"
    return Result(say(key, language, n=n, t=names), tuple(items))


def _year(item: Item, asked: Asked) -> str:
    return f" ({item.year})" if item.year and asked.field != "year" else ""
