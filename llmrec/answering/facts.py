"""Facts hides how fields of items answer a question: what it is, whether it is so, which is more.

The values come from the fields alone; nothing is written by a model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmrec.answering.sentences import NAMES, fact, joined, say, thing, value
from llmrec.lexicon import Span
from llmrec.orders import without_orders
from llmrec.questions import Asked
from llmrec.titles import fold
from llmrec.types import Item, Passage

__all__ = ["SETS", "Found", "checked", "compared", "told"]

_NUMBERS = ("year", "runtime", "rating", "price", "popularity")
_BOUNDED = ("runtime", "price")
_ALONE = (*_BOUNDED, "directors", "cast", "year")
SETS = ("genres", "directors", "cast", "people", "countries", "languages", "keywords")
_SPAN_FIELDS = {
    "genre": "genres",
    "person": "people",
    "country": "countries",
    "language": "languages",
    "keyword": "keywords",
    "year": "year",
    "runtime": "runtime",
    "price": "price",
}


@dataclass(frozen=True)
class Found:
    """An answer from fields: its text, and for each item the words used. No text: a refusal."""

    text: str
    used: tuple[tuple[Item, Passage], ...] = ()


def told(items: Sequence[Item], field: str, language: str) -> Found | None:
    """A field of one or more items; None where an item lacks it."""
    said = [fact(item, field, language) for item in items]
    if not all(said):
        return None
    used = tuple((i, _used(i, field, language)) for i in items)
    return Found(" ".join(said), used)


def _used(item: Item, field: str, language: str) -> Passage:
    return Passage(value(item, field, language), field, 0, 1.0)


def checked(item: Item, asked: Asked, spans: Sequence[Span], language: str) -> Found | None:
    """Whether what a message says of an item is so; None where the catalogue cannot tell.

    spans: what the message names beside the item: people, genres, years and so on.
    """
    claims = [(field, s) for s in spans if (field := _field_of(s, asked))]
    if any(field == asked.field for field, _ in claims):  # "for school: is it from Spain?"
        claims = [c for c in claims if c[0] != "keywords" or asked.field == "keywords"]
    if asked.field in _ALONE:  # the rest says why it is asked
        claims = [c for c in claims if c[0] == asked.field]
    if not claims:  # "she reads no subtitles: is it in her language?"
        return told([item], asked.field, language) if asked.field else None
    held = []
    for field, span in claims:
        holds = _holds(item, field, _bound(span, field, asked))
        if holds is None:
            return None
        held.append(holds)
    fields = list(dict.fromkeys(field for field, _ in claims))
    facts = " ".join(fact(item, f, language) for f in fields)
    used = tuple((item, _used(item, f, language)) for f in fields)
    return Found(say("yes" if all(held) else "no", language, fact=facts), used)


def _bound(span: Span, field: str, asked: Asked) -> Span:
    """The number as the bound that the question makes of it: "I have 90 minutes, is it longer?"."""
    bounds = [b for b in (span.low, span.high) if b is not None]
    told = "max" if span.high is None else "min" if span.low is None else ""
    if field not in _BOUNDED or not bounds or asked.direction in ("", told):
        return span
    if told and field == "price":
        return span
    amount = sum(bounds) / len(bounds)  # "100 minutes" stands for some minutes around it
    if asked.direction == "max":
        return dataclasses.replace(span, low=math.nextafter(amount, math.inf), high=None)
    return dataclasses.replace(span, low=None, high=math.nextafter(amount, -math.inf))


def _field_of(span: Span, asked: Asked) -> str:
    field = _SPAN_FIELDS.get(span.kind, "")
    if field == "people" and asked.field in ("directors", "cast"):
        return asked.field
    if field in ("countries", "languages") and asked.field in ("countries", "languages"):
        return asked.field
    return field


def _holds(item: Item, field: str, span: Span) -> bool | None:
    if field in _NUMBERS:
        actual = getattr(item, field)
        if actual is None:
            return None
        low, high = span.low, span.high
        return (low is None or actual >= low) and (high is None or actual <= high)
    have = {fold(v) for v in getattr(item, field)}
    if any(fold(v) in have for v in span.values):
        return True
    names = item.all_titles
    told = " ".join(
        without_orders(t, names) for t in (item.description, *item.descriptions.values())
    )
    if field in ("people", "cast", "directors") and any(v in told for v in span.values):
        return None  # the text names them, whatever the list does
    # Themes are never listed to the end; the other lists are what the catalogue says.
    return None if not have or field == "keywords" else False


def compared(items: Sequence[Item], asked: Asked, language: str) -> Found | None:
    """Which of two or more items has more of a field, or whether they share it; None: unknown."""
    field = asked.field
    said = [value(i, field, language) for i in items] if field else []
    if not field or not all(said) or len(items) < 2:
        return None
    used = tuple((i, _used(i, field, language)) for i in items)
    if field in _NUMBERS and asked.direction:
        return Found(_more(items, field, asked.direction, said, language), used)
    if asked.same or field in SETS:
        return Found(_shared(items, field, said, language), used)
    parts = [f"{thing(i, language)}: {v}." for i, v in zip(items, said, strict=True)]
    return Found(" ".join(parts), used)


def _more(
    items: Sequence[Item], field: str, direction: str, said: Sequence[str], language: str
) -> str:
    values = [getattr(i, field) for i in items]
    best = max(values) if direction == "max" else min(values)
    if all(v == best for v in values):
        return say("equal", language, x=said[0])
    top = values.index(best)
    rest = joined(
        [thing(i, language) for i, v in zip(items, values, strict=True) if v != best], language
    )
    shown = joined([x for x, v in zip(said, values, strict=True) if v != best], language)
    winners = [i for i, v in zip(items, values, strict=True) if v == best]
    if len(winners) == 1:
        key, top = f"{direction} {field}", values.index(best)
        first = thing(items[top], language)
        return say(key, language, a=first, x=said[top], b=rest, y=shown)
    order = sorted(range(len(items)), key=lambda n: values[n] != best)  # the best first
    return " ".join(f"{thing(items[n], language)}: {said[n]}." for n in order)


def _shared(items: Sequence[Item], field: str, said: Sequence[str], language: str) -> str:
    if field in SETS:
        first, *rest = ({fold(v): v for v in getattr(i, field)} for i in items)
        common = [v for k, v in first.items() if all(k in other for other in rest)]
        one = common and _common_words(items[0], field, common, language)
    else:
        one = said[0] if len({getattr(i, field) for i in items}) == 1 else ""
    if one:
        return say("shared", language, what=NAMES[language][field], v=one)
    a, b = items[:2]
    return say(
        "not shared", language, a=thing(a, language), x=said[0], b=thing(b, language), y=said[1]
    )


def _common_words(item: Item, field: str, common: Sequence[str], language: str) -> str:
    shown = value(item, field, language)
    names = [value(_only(item, field, v), field, language) for v in common]
    return joined(names, language) or shown


def _only(item: Item, field: str, name: str) -> Item:
    if field == "people":
        return dataclasses.replace(item, directors=(name,), cast=())
    return dataclasses.replace(item, **{field: (name,)})  # type: ignore[arg-type]
