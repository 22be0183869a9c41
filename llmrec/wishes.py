"""Wish: one hard condition of a set of Preferences, which an item meets or does not.

The single meaning of every hard wish: the catalogue's filters, the reasons shown, relaxation and
the measurement of constraint satisfaction all come from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from llmrec.titles import fold
from llmrec.types import Item, Preferences

__all__ = ["Things", "Wish", "meets_all", "things_of", "wishes", "without"]

Things = Literal["films", "products"]

_ALL = ("genres", "people", "directors")
_ANY = ("genres_any", "people_any", "countries", "languages")
_OUT = ("genres_out", "people_out", "countries_out", "languages_out", "keywords_out")
_BOUNDS = ("year_min", "year_max", "runtime_min", "runtime_max", "price_min", "price_max")
_OF_FILMS = ("runtime", "directors")
_FEW = 0.25  # of the items with a price: so many films among products do not make a shop of films

_fold = lru_cache(maxsize=65536)(fold)


@dataclass(frozen=True)
class Wish:
    """One hard condition.

    Attributes
    ----------
    field: the field of Preferences it comes from.
    values: the names or the one number (as a text) asked for; of several, one is enough for the
        ``_any`` fields, countries and languages.
    """

    field: str
    values: tuple[str, ...]

    @property
    def attribute(self) -> str:
        """The attribute of Item that the wish looks at."""
        name = self.field
        for suffix in ("_any", "_out", "_min", "_max"):
            name = name.removesuffix(suffix)
        return name

    @property
    def negative(self) -> bool:
        """Whether the wish is that none of the values occurs."""
        return self.field in _OUT

    @property
    def bound(self) -> float:
        """The number of a wish about a year, a running time or a price."""
        return float(self.values[0]) if self.attribute == "price" else int(self.values[0])

    def met_by(self, item: Item) -> bool:
        """Whether ``item`` meets the wish. An item without the fact meets no positive wish."""
        if self.field in _BOUNDS:
            actual = getattr(item, self.attribute)
            if actual is None:
                return False
            bound = self.bound
            return bool(actual >= bound if self.field.endswith("_min") else actual <= bound)
        have = {_fold(v) for v in getattr(item, self.attribute)}
        hit = any(_fold(v) in have for v in self.values)
        return not hit if self.negative else hit


def wishes(preferences: Preferences) -> tuple[Wish, ...]:
    """The hard conditions of ``preferences``, in a fixed order."""
    out: list[Wish] = []
    for name in _ALL:
        out += (Wish(name, (v,)) for v in getattr(preferences, name))
    for name in _ANY:
        if values := getattr(preferences, name):
            out.append(Wish(name, values))
    for name in _BOUNDS:
        if (bound := getattr(preferences, name)) is not None:
            out.append(Wish(name, (str(bound),)))
    for name in _OUT:
        out += (Wish(name, (v,)) for v in getattr(preferences, name))
    return tuple(out)


def without(preferences: Preferences, wish: Wish) -> Preferences:
    """The preferences with one wish given up."""
    if wish.field in _BOUNDS:
        return dataclasses.replace(preferences, **{wish.field: None})  # type: ignore[arg-type]
    left = tuple(v for v in getattr(preferences, wish.field) if v not in wish.values)
    return dataclasses.replace(preferences, **{wish.field: left})  # type: ignore[arg-type]


def things_of(known: Mapping[str, float]) -> Things:
    """What a catalogue holds, by the share of its items that have each field of Item.

    Running times and directors make it one of films, unless much more has a price than has them.
    Without these, a price makes it one of products: books, games and records have genres and years
    too, and people, their authors and artists. Without a price, a genre, a year or a cast means
    films.
    """
    price = known.get("price", 0.0)
    if (films := max(known.get(name, 0.0) for name in _OF_FILMS)) and films >= _FEW * price:
        return "films"
    return "films" if not price and any(map(known.get, ("genres", "year", "cast"))) else "products"


def meets_all(item: Item, conditions: Iterable[Wish]) -> bool:
    """Whether ``item`` meets every one of the wishes."""
    return all(w.met_by(item) for w in conditions)
