# ruff: noqa: E501  (markup stays in one piece)
"""Charts hides how figures with intervals become small drawings for the page, as inline SVG.

A series has a shape besides its colour, and the colours are variables of the page's style, so that
a drawing follows a dark theme. Drawings are 360 wide, as wide as a telephone shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["SERIES", "Point", "Series", "curves", "dots", "legend"]

SERIES = 6  # shapes and colours that there are
_WIDE = 360
_LEFT, _RIGHT = 14, 56  # of rows: the value stands at the right


@dataclass(frozen=True)
class Point:
    """A value, with its interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A name, and for each place a point or none."""

    name: str
    points: Sequence[Point | None]


def dots(
    title: str, places: Sequence[str], series: Sequence[Series], write: Callable[[float], str]
) -> str:
    """For each place its points with their intervals, one below the other; values in numbers.

    Parameters
    ----------
    title: what it shows, for those who do not see it. write: how a value is written.
    """
    every = [p for s in series for p in s.points if p]
    most = _top(every)
    least = min([0.0, *(p.value if p.low is None else p.low for p in every)])
    span = (most - least) or 1.0
    width = _WIDE - _LEFT - _RIGHT
    parts, y = [], 4.0
    for n, place in enumerate(places):
        parts.append(
            f'<text x="0" y="{y + 10:g}" class="lr-plot-name">{escape(_short(place))}</text>'
        )
        y += 24
        for i, s in enumerate(series):
            if point := s.points[n]:
                ends = [(v - least) / span * width + _LEFT for v in _ends(point)]
                at = (point.value - least) / span * width + _LEFT
                parts.append(
                    f'<path class="lr-plot-line" d="M{_LEFT} {y:.1f}H{_WIDE - _RIGHT}"/>'
                    f'<g class="lr-s{i % SERIES + 1}"><path class="lr-plot-arm" d="M{ends[0]:.1f} {y:.1f}H{ends[1]:.1f}"/>'
                    f"{_mark(i, at, y)}</g>"
                    f'<text x="{_WIDE}" y="{y + 4:g}" text-anchor="end" class="lr-plot-value">{escape(write(point.value))}</text>'
                )
            y += 15
        y += 3
    return _svg(title, y, parts)


def curves(
    title: str,
    ticks: Sequence[str],
    series: Sequence[Series],
    label: str,
    write: Callable[[float], str],
) -> str:
    """Values over places that follow each other, with intervals; ``label`` names the places."""
    height, left, bottom, top = 230, 40, 34, 10
    most = _top([p for s in series for p in s.points if p])
    wide = (_WIDE - left - 14) / max(1, len(ticks) - 1)

    def level(value: float) -> float:
        return top + (height - top - bottom) * (1 - value / most)

    parts = []
    for step in range(5):
        value = most * step / 4
        parts.append(
            f'<path class="lr-plot-line" d="M{left} {level(value):.1f}H{_WIDE}"/>'
            f'<text x="{left - 6}" y="{level(value) + 4:.1f}" text-anchor="end" class="lr-plot-tick">{escape(write(value))}</text>'
        )
    for n, tick in enumerate(ticks):
        parts.append(
            f'<text x="{left + n * wide:.1f}" y="{height - bottom + 16}" text-anchor="middle" class="lr-plot-tick">{escape(tick)}</text>'
        )
    parts.append(
        f'<text x="{(left + _WIDE) / 2:.0f}" y="{height - 3}" text-anchor="middle" class="lr-plot-tick">{escape(label)}</text>'
    )
    for i, s in enumerate(series):
        shift = 3.0 * (i - (len(series) - 1) / 2)  # so that intervals do not cover each other
        known = [(left + n * wide + shift, p) for n, p in enumerate(s.points) if p]
        way = " ".join(f"{x:.1f},{level(p.value):.1f}" for x, p in known)
        arms = "".join(
            f'<path class="lr-plot-arm" d="M{x:.1f} {level(_ends(p)[0]):.1f}V{level(_ends(p)[1]):.1f}"/>'
            for x, p in known
        )
        marks = "".join(_mark(i, x, level(p.value)) for x, p in known)
        parts.append(f'<g class="lr-s{i % SERIES + 1}"><polyline points="{way}"/>{arms}{marks}</g>')
    return _svg(title, height, parts)


def legend(names: Sequence[str]) -> str:
    """Which shape and colour is whose."""
    return "".join(
        f'<li><svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true"><g class="lr-s{i % SERIES + 1}">'
        f"{_mark(i, 7, 7)}</g></svg><bdi>{escape(name)}</bdi></li>"
        for i, name in enumerate(names)
    )


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="lr-plot" viewBox="0 0 {_WIDE} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _ends(point: Point) -> tuple[float, float]:
    low = point.value if point.low is None else point.low
    return low, point.value if point.high is None else point.high


def _top(points: Sequence[Point]) -> float:
    """Where the axis ends: a round number that nothing surpasses."""
    most = max([_ends(p)[1] for p in points], default=0.0)
    if most <= 0:
        return 1.0
    unit = 10.0 ** (len(str(int(most))) - 1) if most >= 1 else 0.1
    while most < unit / 2:
        unit /= 10
    steps = (unit * s for s in (0.5, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10))
    return next((s for s in steps if s >= most), most)


def _mark(number: int, x: float, y: float) -> str:
    """A circle, a square, a diamond, triangles, a cross."""
    shape = (
        "M-4.5 0a4.500 4.500 0 1 0 9 0a4.500 4.500 0 1 0 -9 0z",
        "M-4-4H4V4H-4z",
        "M0-5.500L5.500 0L0 5.500L-5.500 0z",
        "M0-5L5 4H-5z",
        "M0 5L5-4H-5z",
        "M-1.700-5H1.700V-1.700H5V1.700H1.700V5H-1.700V1.700H-5V-1.700H-1.700z",
    )[number % SERIES]
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{shape}"/>'


def _short(name: str, most: int = 52) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
