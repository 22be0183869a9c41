"""Cells hides what one value of a table of unknown origin means, however it is written."""

from __future__ import annotations

import json
import re
from typing import Any

from llmrec.cleaning import clean
from llmrec.passages import shortened
from llmrec.products import price_of
from llmrec.records import picture
from llmrec.titles import fold

__all__ = [
    "LONGEST",
    "brief",
    "image_in",
    "is_bare",
    "is_nothing",
    "names_in",
    "number_in",
    "words_in",
]

LONGEST = {"title": 300, "id": 200, "original_title": 300, "titles": 300}
_TEXT = 4_000
_NAME = 120
_NAMES = 60
_YEAR = re.compile(r"(?<!\d)(1[0-9]{3}|20[0-9]{2}|2100)(?!\d)")
_AMOUNT = re.compile(r"-?\d+(?:[.,]\d+)?")
_HOURS = re.compile(r"(?:PT)?(\d{1,3})(?:\s*h(?:\D*(\d{1,3}))?|:(\d\d):\d\d$)", re.IGNORECASE)
_MINUTES = re.compile(r"(?<![\d:.,])(\d{1,6}(?:[.,]\d+)?)\s*(?:m\b|min|['′’]|$)", re.IGNORECASE)
_SCORE = re.compile(
    r"(\d{1,3}(?:[.,]\d+)?)\s*"
    r"(?:(?:/|out of|de|von|of)\s*(\d{1,3})\b.*|(%)|(?:\D?stars?|★+|estrelas|estrellas)?)",
    re.IGNORECASE,
)
_OBJECT_NAME = re.compile(r"""['"]name['"]\s*:\s*(?:'([^']*)'|"([^"]*)")""")
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_NOTHING = frozenset(
    ("", "\\n", "n/a", "na", "nan", "none", "null", "-", "?", "0", "0.0", "[]", "{}")
)


def is_nothing(value: Any) -> bool:
    """Whether a value stands for none."""
    return str(value).strip().casefold() in _NOTHING


def brief(value: Any) -> str:
    """A value as it is quoted where something is wrong with it."""
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def number_in(name: str, value: Any) -> float | None:
    """The number that a value holds: "1995-06-02" is a year, "2h 10min" minutes, "R$ 9" a price."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    text = str(value).strip()[:60]
    if name == "year":
        found = _YEAR.search(text)
        return float(found.group()) if found else None
    if name == "price":
        return price_of(text)
    if name == "runtime":
        if hours := _HOURS.match(text):
            return 60.0 * int(hours[1]) + int(hours[2] or hours[3] or 0)
        minutes = _MINUTES.search(text)
        return float(minutes[1].replace(",", ".")) if minutes else None
    if name == "rating":
        score = _SCORE.fullmatch(text)
        of = float(score[2] or (100 if score[3] else 10)) if score else 0.0
        return float(score[1].replace(",", ".")) * 10 / of if score and of else None
    found = _AMOUNT.search(text)
    if found is None:
        return None
    digits = found.group()
    whole = re.fullmatch(r"-?\d{1,3}(?:,\d{3})+", text)
    return float(text.replace(",", "") if whole else digits.replace(",", "."))


def words_in(value: Any, name: str) -> str:
    """A value as plain words, without markup."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        value = " ".join(str(v) for v in value if isinstance(v, (str, int, float)))
    if isinstance(value, (dict, bool)):
        return ""
    text = str(value)
    if name == "id":  # compared, never read: it stays as it is but for what cannot be seen
        return "".join(c for c in text if c.isprintable()).strip()[: LONGEST["id"]]
    return shortened(clean(text), LONGEST.get(name, _TEXT))


def names_in(value: Any) -> tuple[str, ...]:
    """Names, however they are written: a list, objects with a name, "a; b", "a|b", "a, b"."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # as Python writes lists, perhaps
            said = _OBJECT_NAME.findall(value) or _QUOTED.findall(value)
            value = [a or b for a, b in said] or value.strip("[]")
    if isinstance(value, str):
        mark = next((m for m in (";", "|", " > ", ",") if m in value), ";")
        value = value.split(mark)
    if isinstance(value, dict):
        value = [value] if "name" in value else list(value.values())
    if not isinstance(value, list):
        value = [value]
    flat = [v for own in value for v in (own if isinstance(own, list) else [own])]
    texts = [v.get("name", "") if isinstance(v, dict) else v for v in flat]
    names = (clean(v)[:_NAME] for v in texts if isinstance(v, str))
    return tuple(dict.fromkeys(n for n in names if fold(n)))[:_NAMES]


def image_in(value: Any) -> str:
    """The first usable address of a picture in a value; empty where it has none."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):  # as Python writes lists, perhaps
            value = [a or b for a, b in _QUOTED.findall(value)]
    if isinstance(value, dict):  # of several sizes the large one
        value = [value.get("large"), *value.values()]
    if isinstance(value, str):
        value = [picture(part) for part in re.split(r"[\s|;]+|,(?=https?:)", value.strip())]
        return next(filter(None, value), "")
    return next(filter(None, map(image_in, value[:20])), "") if isinstance(value, list) else ""


def is_bare(value: Any) -> bool:
    """Whether a value is a number alone, without a unit."""
    return not isinstance(value, str) or bool(re.fullmatch(r"\s*\d+(?:[.,]\d+)?\s*", value))
