"""Plots hides matplotlib: curves, dots with intervals and bars, for a page and as files.

Every plot is drawn in the colours of the page's light theme. ``svg`` gives it with the page's
colours by name, so that the same drawing follows a dark theme.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Series", "bars", "curves", "dots", "save", "svg"]

_INK, _SOFT, _LINE, _CARD = "#1d1a16", "#5f584e", "#e3ded3", "#fffefb"
_SERIES = ("#a62b1f", "#1f6f8b", "#8a6a12", "#5d4a9c", "#3f7a45", "#8b8478")
_NAMES = {_INK: "ink", _SOFT: "soft", _LINE: "line", _CARD: "card"} | {
    colour: f"s{i}" for i, colour in enumerate(_SERIES, 1)
}
_MARKS = "osD^vP"
_STYLE: Any = {
    "axes.edgecolor": _LINE,
    "axes.facecolor": "none",
    "axes.labelcolor": _SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.facecolor": _CARD,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": _LINE,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": _INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
}


@dataclass(frozen=True)
class Series:
    """One line or one group of dots: a name, and for each place a value with its interval."""

    name: str
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@contextmanager
def _drawing(height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of its own, never one of pyplot's. Raises MissingExtraError."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "eval") from None
    with rc_context(_STYLE):
        made = Figure(figsize=(4.7, height))
        axes = made.subplots()
        axes.tick_params(length=0)
        yield made, axes


def curves(ks: Sequence[int], series: Sequence[Series], label: str) -> Figure:
    """A metric against k, with intervals; the first series is the one that matters.

    Raises
    ------
    MissingExtraError: matplotlib is not installed.
    """
    with _drawing(3.6) as (made, axes):
        for i, s in enumerate(series):
            shift = 1 + 0.025 * (i - (len(series) - 1) / 2)  # so that intervals do not cover
            axes.errorbar(
                [k * shift for k in ks], s.values, yerr=_arms(s), label=_short(s.name),
                color=_SERIES[i % len(_SERIES)], marker=_MARKS[i % len(_MARKS)],
                markersize=5 if i == 0 else 4, linewidth=2.2 if i == 0 else 1.2,
                elinewidth=1, capsize=2, zorder=3 if i == 0 else 2,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(list(ks), [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("k")
        axes.set_ylabel(label)
        axes.grid(axis="y")
        _legend(made, [s.name for s in series])
    return made


def dots(places: Sequence[str], series: Sequence[Series], label: str) -> Figure:
    """For each place a dot with its interval, one beside the other for each series.

    Raises
    ------
    MissingExtraError: matplotlib is not installed.
    """
    rows = len(places) * (len(series) * 0.14 + 0.16)
    with _drawing(max(1.6, 0.8 + rows)) as (made, axes):
        for i, s in enumerate(series):
            at = [p + 0.22 * (i - (len(series) - 1) / 2) for p in range(len(places))]
            axes.errorbar(
                s.values, at, xerr=_arms(s), label=_short(s.name), linestyle="none",
                color=_SERIES[i % len(_SERIES)], marker=_MARKS[i % len(_MARKS)],
                markersize=6 if i == 0 else 4.5, elinewidth=1.4, capsize=2, clip_on=False,
            )  # fmt: skip
        axes.set_yticks(range(len(places)), [_short(p, 26) for p in places], color=_INK)
        axes.set_ylim(len(places) - 0.5, -0.5)
        if all(low >= 0 for s in series for low in s.low):
            axes.set_xlim(left=0)
        else:
            axes.axvline(0, color=_SOFT, linewidth=1)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(label)
        axes.grid(axis="x")
        if len(series) > 1:
            _legend(made, [s.name for s in series])
    return made


def bars(
    places: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], label: str
) -> Figure:
    """Shares of each place, in groups.

    Raises
    ------
    MissingExtraError: matplotlib is not installed.
    """
    with _drawing(3.2) as (made, axes):
        wide = 0.8 / len(series)
        for i, (name, values) in enumerate(series):
            at = [p + wide * (i - (len(series) - 1) / 2) for p in range(len(places))]
            colour = _SERIES[(i - 1) % len(_SERIES)] if i else _INK
            axes.bar(at, values, wide * 0.9, label=_short(name), color=colour)
        axes.set_xticks(range(len(places)), list(places))
        axes.set_xlabel(label)
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        _legend(made, [name for name, _ in series])
    return made


def svg(figure: Figure, name: str) -> str:
    """The figure as an element of the page.

    Parameters
    ----------
    name: unique on its page; no two figures share an id.
    """
    from matplotlib import rc_context

    out = StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": name, "svg.id": None}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    drawn = out.getvalue()
    head, _, rest = drawn[drawn.index("<svg") :].partition(">")
    box = re.findall(r'viewBox="[^"]*"', head)[0]  # the page says how wide it is
    rest = re.sub(r"<metadata>.*?</metadata>", "", rest, flags=re.DOTALL)
    rest = re.sub(r' id="[A-Za-z][\w.]*_\d+"', "", rest)  # names of parts; others are referred to
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" {xlink} {box} role="img">{rest}'
    for colour, role in _NAMES.items():
        drawn = drawn.replace(colour, f"var(--{role})")
    return drawn


def save(figure: Figure, file: Path) -> None:
    """Write the figure as PNG, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    figure.savefig(part, format="png", dpi=160)
    part.replace(file)


def _legend(made: Figure, names: Sequence[str]) -> None:
    """Under the plot, where it covers nothing."""
    columns = 2 if max(map(len, names)) <= 24 else 1
    made.legend(loc="outside lower center", ncols=columns, fontsize=9)


def _arms(series: Series) -> list[list[float]]:
    of = list(zip(series.values, series.low, series.high, strict=True))
    return [[max(0.0, v - low) for v, low, _ in of], [max(0.0, high - v) for v, _, high in of]]


def _short(name: str, most: int = 48) -> str:
    plain = "".join(c if c.isprintable() else " " for c in name)
    return plain if len(plain) <= most else plain[: most - 3] + "..."
