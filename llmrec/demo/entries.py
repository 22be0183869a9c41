# ruff: noqa: E501  (markup stays in one piece)
"""Entries hides how a visitor finds items of a catalogue, and how a page of them looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.demo.cards import facts_of
from llmrec.demo.texts import Words, number
from llmrec.orders import without_orders
from llmrec.titles import fold
from llmrec.types import Item, Preferences
from llmrec.wording import display_name

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["MOST_HITS", "PAGE", "SORTS", "View", "found", "genres_of", "list_html"]

PAGE = 20
MOST_HITS = 500
GENRES = 60
SAMPLE = 10_000
SORTS = ("best", "newest", "oldest", "title")
_say = Words("catalogue").counted


@dataclass(frozen=True)
class View:
    """What a visitor looks for, and the page of the list that is shown, from 0."""

    query: str = ""
    genre: str = ""
    first: int | None = None
    last: int | None = None
    sort: str = "best"
    page: int = 0


def found(catalog: Catalog, view: View) -> tuple[list[Item], int, int]:
    """The items of one page, how many there are in all, and which page it is in the end."""
    genres = (view.genre,) if view.genre else ()
    wanted = Preferences(genres=genres, year_min=view.first, year_max=view.last)
    if fold(view.query):
        hits = [h.item for h in catalog.search(view.query, wanted, k=MOST_HITS)]
        if view.sort == "title":
            hits.sort(key=lambda item: item.title.casefold())
        elif view.sort != "best":
            hits.sort(key=lambda item: _by_year(item.year, view.sort))
        page = min(view.page, max(0, len(hits) - 1) // PAGE)
        return hits[page * PAGE : (page + 1) * PAGE], len(hits), page
    rows = catalog.filter(wanted)
    page = min(view.page, max(0, len(rows) - 1) // PAGE)
    order = _ordered(catalog, rows, view.sort)[page * PAGE : (page + 1) * PAGE]
    return catalog.items_at(order), len(rows), page


def _by_year(year: int | None, sort: str) -> tuple[bool, int]:
    return year is None, -(year or 0) if sort == "newest" else year or 0


def _ordered(catalog: Catalog, rows: Any, sort: str) -> Any:
    if sort == "title":
        titles = catalog.titles
        return sorted(rows.tolist(), key=lambda row: titles[row].casefold())
    years = catalog.numbers("year")[rows]
    last = np.nan_to_num(years if sort == "oldest" else -years, nan=np.inf)
    known = -catalog.popularity[rows] if sort == "best" else np.zeros(len(rows))
    return rows[np.lexsort((rows, last, known))]


def genres_of(catalog: Catalog) -> list[str]:
    """The commonest genres, those of a sample where there are many items."""
    step = -(-len(catalog) // SAMPLE)
    rows = range(0, len(catalog), step)
    counts = Counter(genre for item in catalog.items_at(rows) for genre in item.genres)
    return [genre for genre, _ in counts.most_common(GENRES)]


def list_html(items: Sequence[Item], total: int, page: int, ui: str, most: bool = False) -> str:
    """One page of the list, each item with its details to be opened."""
    if not items:
        return f'<p class="lr-note" role="status">{escape(_say(ui, "none"))}</p>'
    start = page * PAGE
    key = "count_most" if most else "count"
    said = _say(ui, key, first=start + 1, last=start + len(items), n=total)
    rows = "".join(_entry(item, ui) for item in items)
    return (
        f'<p class="lr-cat-count" role="status" aria-live="polite">{escape(said)}</p>'
        f'<ol class="lr-cat-list" start="{start + 1}" aria-label="{escape(_say(ui, "results"))}">{rows}</ol>'
    )


def _entry(item: Item, ui: str) -> str:
    title = item.title_in(ui)
    meta = " · ".join(facts_of(item, ui))
    about = without_orders(item.description_in(ui), item.all_titles)
    told = [
        ("original_title", item.original_title if item.original_title != title else ""),
        ("directors", ", ".join(item.directors)),
        ("cast", ", ".join(item.cast[:12])),
        ("countries", ", ".join(display_name("country", c, ui) for c in item.countries)),
        ("languages", ", ".join(display_name("language", c, ui) for c in item.languages)),
        ("keywords", ", ".join(display_name("keyword", k, ui) for k in item.keywords[:20])),
        ("rating", number(item.rating, ui, 1) if item.rating is not None else ""),
        ("id", item.id),
    ]
    pairs = "".join(
        f"<dt>{escape(_say(ui, f'field_{name}').partition(' (')[0])}</dt><dd>{escape(value)}</dd>"
        for name, value in told
        if value
    )
    prose = f"<p>{escape(about)}</p>" if about else ""
    return (
        f'<li><details><summary><span class="lr-cat-title">{escape(title)}</span> '
        f'<span class="lr-cat-meta">{escape(meta)}</span></summary>'
        f'<div class="lr-cat-more">{prose}<dl>{pairs}</dl></div></details></li>'
    )
