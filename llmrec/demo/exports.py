"""Exports hides how a list of recommendations becomes a file or a link that a visitor keeps."""

from __future__ import annotations

import csv
import io
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote

from llmrec.types import Recommendation
from llmrec.wording import duration

__all__ = ["FORMATS", "LINKED", "data_url", "exported", "link_to", "linked"]

FORMATS: Mapping[str, str] = {
    "md": "text/markdown", "json": "application/json", "csv": "text/csv",
}  # fmt: skip
_FIELDS = ("rank", "title", "original_title", "year", "minutes", "genres", "price", "why", "id")
LINKED = "list"  # what the ids of a list are called in an address
_MOST_LINKED = 20
_LONGEST_LINK = 2_000  # characters
_FORMULA = re.compile(r"[=+\-@\t\r]")  # what a spreadsheet would run


def exported(recommendations: Sequence[Recommendation], kind: str, language: str) -> str:
    """The list as Markdown, JSON or CSV, with titles in ``language``.

    Parameters
    ----------
    kind: a key of FORMATS.
    """
    if kind == "json":
        rows = [_record(r) for r in recommendations]
        return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"
    rows = [_row(r, language) for r in recommendations]
    if kind == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, _FIELDS, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({k: _safe(v) for k, v in row.items()} for row in rows)
        return out.getvalue()
    return "".join(_line(r, language) for r in recommendations)


def data_url(text: str, kind: str) -> str:
    """A text as an address that holds it, so that saving it asks nobody."""
    return f"data:{FORMATS[kind]};charset=utf-8;base64,{b64encode(text.encode()).decode()}"


def link_to(ids: Iterable[str]) -> str:
    """An address, beside that of the page, which names the first 20 items of a list, or fewer.

    Ids are quoted on their own before the whole is, so that one may hold a comma.
    """
    told = ""
    for quoted in [quote(i, safe="", errors="replace") for i in ids][:_MOST_LINKED]:
        longer = f"{told},{quoted}" if told else quoted
        if len(quote(longer, safe=",")) > _LONGEST_LINK:
            break
        told = longer
    return f"?{LINKED}={quote(told, safe=',')}" if told else ""


def linked(told: str) -> list[str]:
    """The ids that an address of ``link_to`` names; nothing of one that it cannot have made.

    Parameters
    ----------
    told: the value behind ``?list=``, unquoted once, as servers give it.
    """
    if len(told) > _LONGEST_LINK:
        return []
    ids = (unquote(part) for part in told.split(",")[:_MOST_LINKED])
    return list(dict.fromkeys(i for i in ids if i))


def _record(r: Recommendation) -> dict[str, object]:
    """A recommendation as plain JSON types, without a score where none was given."""
    record = r.to_dict()
    if r.score != r.score:  # NaN is not itself
        del record["score"]
    return record


def _row(r: Recommendation, language: str) -> dict[str, object]:
    item = r.item
    return {
        "rank": r.rank,
        "title": item.title_in(language),
        "original_title": item.original_title,
        "year": item.year or "",
        "minutes": item.runtime or "",
        "genres": ", ".join(item.genres),
        "price": "" if item.price is None else item.price,
        "why": r.reason,
        "id": item.id,
    }


def _safe(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _line(r: Recommendation, language: str) -> str:
    item = r.item
    facts = [str(item.year or ""), duration(item.runtime) if item.runtime else ""]
    told = ", ".join(f for f in facts if f)
    title = re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(item.title_in(language).split()))
    reason = re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", " ".join(r.reason.split()))
    return f"{r.rank}. **{title}**{f' ({told})' if told else ''}{f': {reason}' if reason else ''}\n"
