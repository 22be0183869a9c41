"""Page hides how tables become Markdown for a terminal and one HTML file that asks nobody.

The words of others (titles, messages, names of systems) are escaped here and nowhere else. The page
carries its style, its few lines of script and its plots; a content policy forbids the browser any
request and any script but that one.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from llmrec.markdown import text

__all__ = ["NONE", "Cell", "Grid", "escape", "figure", "more", "number", "page", "spread", "words"]

NONE = "–"
_HERE = Path(__file__).parent


def escape(said: object) -> str:
    """Words of others as text of HTML; half a surrogate pair and what HTML forbids become marks."""
    whole = str(said).encode("utf-8", "replace").decode()
    shown = "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in whole
    )
    return html.escape(shown)


def words(said: object) -> str:
    """Words of others as Markdown that a terminal shows well, without needless backslashes."""
    return re.sub(r"\\(:(?=\s|$)|(?<=\w\\)[@_](?=\w))", r"\1", text(said))


def number(value: float | None, digits: int = 3) -> str:
    """A figure as it is printed; a dash where there is none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def spread(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval as it is printed, without the zeros before the point; nothing for none."""
    if low is None or high is None:
        return ""
    ends = [f"{v:,.{digits}f}" for v in (low, high)]
    if low >= 0 and high < 1:
        ends = [e.removeprefix("0") for e in ends]
    return "–".join(ends) if low >= 0 else " to ".join(ends)


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text: plain words. note: what stands under it, as its interval. sort: its value, to order by.
    """

    text: str
    note: str = ""
    sort: float | None = None

    @classmethod
    def of(cls, figure: Mapping[str, Any] | None, digits: int = 3) -> Cell:
        """A figure with its interval, as ``metrics.json`` has it."""
        if not figure or not figure["n"]:
            return cls(NONE)
        note = spread(figure.get("low"), figure.get("high"), digits)
        return cls(number(figure["value"], digits), note, figure["value"])


@dataclass(frozen=True)
class Grid:
    """A table that is printed twice: as Markdown and as HTML.

    Attributes
    ----------
    rows: the first cell names the row.
    ours: rows that stand out, counted from 0.
    words: the cells are words, not figures.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    ours: frozenset[int] = frozenset()
    words: bool = False

    def markdown(self) -> str:
        """The table in columns that a terminal shows straight."""
        told = [
            [f"{words(c.text)} ({c.note})" if c.note else words(c.text) for c in r]
            for r in self.rows
        ]
        lines = [[words(h) for h in self.head], *told]
        wide = [max(3, *(len(line[i]) for line in lines)) for i in range(len(self.head))]
        left = self._left()
        rule = [
            "-" * w if side else "-" * (w - 1) + ":" for w, side in zip(wide, left, strict=True)
        ]
        cells = [
            [
                c.ljust(w) if side else c.rjust(w)
                for c, w, side in zip(line, wide, left, strict=True)
            ]
            for line in (lines[0], rule, *lines[1:])
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)

    def html(self) -> str:
        """The table for the page; a click on the head of a column sorts by it."""
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        left = self._left()
        head = "".join(
            _head(h, side, not self.words) for h, side in zip(self.head, left, strict=True)
        )
        rows = "".join(
            f"<tr{' class=ours' if i in self.ours else ''}>"
            + "".join(_cell(c, j == 0, left[j]) for j, c in enumerate(row))
            + "</tr>"
            for i, row in enumerate(self.rows)
        )
        kind = ' class="words"' if self.words else ""
        label = escape(self.caption or self.head[0] or "table")
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table{kind}>'
            f"{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )

    def _left(self) -> list[bool]:
        """Which columns hold words: they begin at the left."""
        return [
            i == 0 or all(row[i].sort is None and row[i].text != NONE for row in self.rows)
            for i in range(len(self.head))
        ]


def _head(name: str, left: bool, sortable: bool) -> str:
    shown = escape(name)
    kind = ' class="left"' if left else ""
    inside = f"<button>{shown}</button>" if sortable and name else shown
    return f'<th scope="col"{kind}>{inside}</th>'


def _cell(cell: Cell, first: bool, left: bool) -> str:
    tag, scope = ("th", ' scope="row"') if first else ("td", ' class="left"' if left else "")
    sort = "" if cell.sort is None else f' data-sort="{cell.sort:.12g}"'
    note = f"<small>{escape(cell.note)}</small>" if cell.note else ""
    return f"<{tag}{scope}{sort}><bdi>{escape(cell.text)}</bdi>{note}</{tag}>"


def figure(svg: str, title: str, note: str = "") -> str:
    """A plot with what it shows; ``svg`` is trusted."""
    small = f"<small>{escape(note)}</small>" if note else ""
    drawn = svg.replace("<svg", f'<svg aria-label="{escape(title)}"', 1)
    return f"<figure><figcaption>{escape(title)}{small}</figcaption>{drawn}</figure>"


def more(name: str, inside: str) -> str:
    """HTML that is shown once it is asked for."""
    return f'<details class="more"><summary>{escape(name)}</summary>{inside}</details>'


def page(title: str, parts: Iterable[str]) -> str:
    """The whole file; ``parts`` are HTML already."""
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            "<main>",
            *parts,
            "</main>",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
        ]
    )
