"""Ratios hides how comparisons are read off kept results, and told in one table and one picture.

No benchmark itself. A ratio says how many times better llmrec is: under 1, it lost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Ratio", "cell", "picture", "table"]

EVEN = 0.05  # nearer to 1 than that, nobody has won
_RULE = re.compile(r"\|(\s*:?-+:?\s*\|)+\s*$")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_WIDE, _LINE, _LEFT = 860, 22, 430  # of the picture; where its bars' names end
_INK, _SOFT, _WON, _LOST = "#1d1a16", "#8b8478", "#3f7a45", "#a62b1f"


@dataclass(frozen=True)
class Ratio:
    """Two values of a table, or one that is a ratio already.

    Attributes
    ----------
    what: what is compared, in words. beside: with what.
    theirs, ours: where the values stand: how the row begins, as a regular expression, and the
        column's name. Without ``ours``, their value is the ratio.
    but: what the other does better.
    after: the table stands behind this text.
    more: whether the larger value is the better one.
    """

    what: str
    beside: str
    theirs: tuple[str, str]
    ours: tuple[str, str] | None = None
    but: str = ""
    after: str = ""
    more: bool = False

    def of(self, text: str) -> float | None:
        """How many times better, by a result's text; None if it is not told there."""
        rest = text[text.find(self.after) :] if self.after in text else ""
        theirs = cell(rest, *self.theirs)
        ours = 1.0 if self.ours is None else cell(rest, *self.ours)
        if not theirs or not ours:
            return None
        return ours / theirs if self.more else theirs / ours


def cell(text: str, row: str, column: str) -> float | None:
    """The first number in a cell of the first table with such a row and column."""
    header: list[str] = []
    before = ""
    for line in text.splitlines():
        if _RULE.match(line):
            header = _cells(before)
        elif not line.startswith("|"):
            header = []
        elif column in header and re.match(row, line):
            cells = _cells(line)
            found = _NUMBER.search(cells[header.index(column)] if len(cells) == len(header) else "")
            return float(found[0].replace(",", "")) if found else None
        before = line
    return None


def _cells(line: str) -> list[str]:
    return [part.strip() for part in line.strip().strip("|").split("|")]


def verdict(ratio: float) -> str:
    """Who won."""
    if abs(math.log(ratio)) < EVEN:
        return "even"
    return "won" if ratio > 1 else "LOST"


def shown(ratio: float) -> str:
    """Two digits that count."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"


def table(told: Mapping[str, Sequence[tuple[Ratio, float]]], anchors: Mapping[str, str]) -> str:
    """One line for each ratio, by the names of the results that tell them."""
    lines = ["| compared | beside | times better | | what the other does better |"]
    lines.append("|---|---|---:|---|---|")
    for name, ratios in told.items():
        lines += [
            f"| [{r.what}](#{anchors[name]}) | {r.beside} | {shown(value)} | {verdict(value)} | "
            f"{r.but} |"
            for r, value in ratios
        ]
    return "\n".join(lines)


def picture(told: Mapping[str, Sequence[tuple[Ratio, float]]]) -> str:
    """The ratios as bars on a logarithmic axis, to the right of 1 where llmrec won; SVG."""
    rows = [row for ratios in told.values() for row in ratios]
    ends = [math.log10(value) for _, value in rows] or [0.0]
    low, high = math.floor(min(ends)), max(1, math.ceil(max(ends)))
    high_y = _LINE * (len(rows) + 2)

    def x(power: float) -> float:
        return _LEFT + (power - low) / (high - low) * (_WIDE - _LEFT - 60)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high_y}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">',
        "<title>How many times better llmrec is than what it is compared with</title>",
        f'<rect width="{_WIDE}" height="{high_y}" fill="#fffefb"/>',
    ]
    for power in range(low, high + 1):
        at, width = x(power), 1.5 if power == 0 else 0.5
        parts.append(
            f'<path d="M{at:.1f} {_LINE}V{high_y - _LINE}" stroke="{_SOFT}" '
            f'stroke-width="{width}"/><text x="{at:.1f}" y="{high_y - 6}" '
            f'text-anchor="middle" fill="{_SOFT}">{10.0**power:,g}</text>'
        )
    for i, (ratio, value) in enumerate(rows):
        y = _LINE * (i + 1)
        start, end = sorted((x(0), x(math.log10(value))))
        name = f"{ratio.what}, beside {ratio.beside}".replace("&", "&amp;").replace("<", "&lt;")
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{name}</text>'
            f'<rect x="{start:.1f}" y="{y + 4}" width="{max(end - start, 1):.1f}" height="14" '
            f'fill="{_WON if value >= 1 else _LOST}"/>'
            f'<text x="{end + 5:.1f}" y="{y + 15}">{shown(value)}</text>'
        )
    return "\n".join([*parts, "</svg>"])
