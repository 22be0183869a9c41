"""Film_names hides how data sets write the name of a film: its year, its article, other names."""

from __future__ import annotations

import re
from typing import NamedTuple

from llmrec.titles import fold

__all__ = ["Film", "Title", "film", "parse_title"]

Film = tuple[str, "int | None"]

_YEAR = re.compile(r"^(.*\S)\s*\(((?:18|19|20)\d\d)(?:\s*[-–]\s*(?:\d{4})?)?\)$")
_GOES_ON = re.compile(r"(?:\bOr|[:,-])$")  # as in "Birdman: Or (The Unexpected Virtue of ...)"
_AKA = re.compile(r"^a\.?k\.?a\.?:?\s+", re.IGNORECASE)
_LAST_ARTICLE = re.compile(
    r"^(.*\S),\s+(The|An?|Les?|La|L'|El|Los|Las|Il|Lo|Gli|I|Der|Die|Das|Den?|Det|Het|Un|Una|Une"
    r"|Uno|Ein|Eine|Os?|As|Um|Uma|En|Ett?)$",
    re.IGNORECASE,
)


class Title(NamedTuple):
    """A title taken apart. ``others``: what else it is called in English."""

    title: str
    year: int | None = None
    original: str = ""
    others: tuple[str, ...] = ()


def parse_title(text: str) -> Title:
    """Take a title of MovieLens apart.

    "City of God (Cidade de Deus) (2002)" gives the original title, "(a.k.a. ...)" another one,
    and "Matrix, The" its article back. Of several originals the last counts.
    """
    text, year = _dated(text.strip())
    original, others = "", []
    while found := _last_aside(text):
        text, aside = found
        known = _AKA.match(aside)
        name = _article_first(aside[known.end() :] if known else aside)
        if known or (name and original):
            others.append(name)
        else:
            original = name
    return Title(_article_first(text), year, original, tuple(reversed(others)))


def film(name: str | None) -> Film | None:
    """Title and year of ``Title  (year)`` or ``Title, The (year)``; None for what is no name.

    Other parentheses are part of the title here.
    """
    title, year = _dated(" ".join((name or "").split()))
    title = _article_first(title)
    return (title, year) if fold(title) and title.lower() != "null" else None


def _dated(text: str) -> Film:
    found = _YEAR.match(text)
    return (found[1], int(found[2])) if found else (text, None)


def _last_aside(text: str) -> tuple[str, str] | None:
    """What stands before the parentheses at the end, and inside of them."""
    depth, at = 0, len(text)
    while at and (depth or at == len(text)):
        at -= 1
        depth += {")": 1, "(": -1}.get(text[at], 0)
    before = text[:at].rstrip()
    if depth or not text.endswith(")") or not before or _GOES_ON.search(before):
        return None
    return before, text[at + 1 : -1].strip()


def _article_first(text: str) -> str:
    moved = _LAST_ARTICLE.match(text)
    if not moved:
        return text
    return f"{moved[2]}{'' if moved[2].endswith(chr(39)) else ' '}{moved[1]}"
