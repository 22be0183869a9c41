# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Posters hides what picture an item has: its own, or one drawn from its genre, id and title."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from html import escape

from llmrec.records import picture, picture_host
from llmrec.types import Item

__all__ = ["art", "poster", "shown_picture"]

WIDTH, HEIGHT = 200, 300
MARGIN = 16
_SIZES = (32, 28, 24, 21, 18, 15.5, 13.5)
_LINES = 4


# Hue, saturation and lightness of colours that print well on any of the grounds.
_ACCENTS = ((6, 74, 60), (22, 82, 60), (42, 88, 62), (172, 42, 56), (204, 62, 62), (342, 62, 64))


class _Palette:
    """Four tones of one hue and a contrasting one; text is always readable on ``ground``."""

    def __init__(self, hue: float, dice: random.Random) -> None:
        hue = (hue + dice.uniform(-10, 10)) % 360
        apart = [tone for tone in _ACCENTS if 60 < abs(tone[0] - hue) < 300]
        dark = dice.random() < 0.62
        self.ground = f"hsl({hue:.0f} {44 if dark else 52}% {17 if dark else 84}%)"
        self.deep = f"hsl({hue:.0f} {48 if dark else 46}% {27 if dark else 70}%)"
        self.middle = f"hsl({hue:.0f} {52 if dark else 50}% {41 if dark else 52}%)"
        self.light = f"hsl({hue:.0f} {58 if dark else 55}% {62 if dark else 36}%)"
        accent, strength, bright = dice.choice(apart)
        self.accent = f"hsl({accent} {strength}% {bright if dark else bright - 12}%)"
        self.ink = f"hsl({hue:.0f} 30% {95 if dark else 13}%)"

    @property
    def tones(self) -> tuple[str, str, str]:
        return self.deep, self.middle, self.light


Motif = Callable[[_Palette, random.Random], str]


def _circle(x: float, y: float, r: float, fill: str, more: str = "") -> str:
    return f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r:.1f}" fill="{fill}"{more}/>'


def _polygon(points: list[tuple[float, float]], fill: str, more: str = "") -> str:
    at = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
    return f'<polygon points="{at}" fill="{fill}"{more}/>'


def _rect(x: float, y: float, w: float, h: float, fill: str, more: str = "") -> str:
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{h:.0f}" fill="{fill}"{more}/>'


def _sun(p: _Palette, dice: random.Random) -> str:
    x, y, r = dice.randint(60, 140), dice.randint(80, 110), dice.randint(42, 58)
    out = [_circle(x, y, r + 34, p.deep), _circle(x, y, r, p.accent)]
    for i in range(6):
        h = 3 + i * 2.2
        out.append(_rect(0, y + 10 + i * 15, WIDTH, h, p.ground))
    return "".join(out)


def _rays(p: _Palette, dice: random.Random) -> str:
    x, y = dice.randint(40, 160), dice.choice((24, 96, 176))
    n = dice.choice((14, 18, 22))
    turn = dice.random()
    out = []
    for i in range(n):
        a, b = (2 * math.pi * (i + turn + d) / n for d in (0.0, 0.5))
        out.append(
            _polygon(
                [
                    (x, y),
                    (x + 420 * math.cos(a), y + 420 * math.sin(a)),
                    (x + 420 * math.cos(b), y + 420 * math.sin(b)),
                ],
                p.tones[i % 2],
            )
        )
    return "".join(out) + _circle(x, y, 25, p.accent)


def _mountains(p: _Palette, dice: random.Random) -> str:
    out = [_circle(dice.randint(40, 160), dice.randint(52, 78), dice.randint(17, 27), p.accent)]
    for tone, base in zip(reversed(p.tones), (96, 128, 158), strict=True):
        points: list[tuple[float, float]] = [(-10, 300)]
        x = -10.0
        up = dice.random() < 0.5
        while x < 215:
            points.append((x, base + (-28 if up else 14) + dice.randint(-12, 12)))
            x += dice.randint(30, 56)
            up = not up
        out.append(_polygon([*points, (220, 300)], tone))
    return "".join(out)


def _city(p: _Palette, dice: random.Random) -> str:
    out = [_circle(dice.randint(48, 152), 72, 34, p.accent)]
    for tone, low in ((p.middle, 84), (p.deep, 126)):
        x = -4
        while x < WIDTH:
            w = dice.randint(20, 38)
            top = low + dice.randint(-30, 34)
            out.append(_rect(x, top, w, 300 - top, tone))
            for row in range(3):
                if dice.random() < 0.55:
                    out.append(_rect(x + 6, top + 9 + row * 14, 5, 7, p.light))
                if w > 26 and dice.random() < 0.45:
                    out.append(_rect(x + w - 12, top + 9 + row * 14, 5, 7, p.light))
            x += w + dice.choice((0, 0, 3))
    return "".join(out)


def _waves(p: _Palette, dice: random.Random) -> str:
    out = [_circle(dice.randint(50, 150), 62, dice.randint(24, 36), p.accent)]
    shift = dice.randint(0, 60)
    for i, tone in enumerate((p.light, p.middle, p.deep, p.middle)):
        y, d = 88 + i * 27, 62
        x0 = -d * 2 + (shift + i * 31) % d
        path = f"M{x0} {y}" + "".join(
            f"q{d / 4:.1f} {-13 if j % 2 else 13} {d / 2} 0" for j in range(14)
        )
        out.append(f'<path d="{path}V300H{x0}Z" fill="{tone}"/>')
    return "".join(out)


def _rings(p: _Palette, dice: random.Random) -> str:
    x, y = dice.randint(70, 130), dice.randint(84, 112)
    dx, dy = dice.uniform(-3.2, 3.2), dice.uniform(-2.4, 2.4)
    out = [
        _circle(x + dx * i, y + dy * i, 122 - 13.5 * i, p.tones[i % 2] if i % 2 else p.ground)
        for i in range(8)
    ]
    return "".join(out) + _circle(x + dx * 8, y + dy * 8, 12, p.accent)


def _orbits(p: _Palette, dice: random.Random) -> str:
    x, y, tilt = 100, dice.randint(88, 106), dice.randint(-34, 34)
    out = [
        _circle(dice.randint(4, 196), dice.randint(4, 190), dice.choice((0.8, 1.1, 1.6)), p.ink)
        for _ in range(34)
    ]
    out.append(_circle(x, y, 46, p.middle) + _circle(x - 12, y - 9, 34, p.light, ' opacity=".45"'))
    for r in (66, 82, 98):
        out.append(
            f'<ellipse cx="{x}" cy="{y}" rx="{r}" ry="{r * 0.27:.0f}" fill="none" stroke="{p.light}"'
            f' stroke-width="2.2" transform="rotate({tilt} {x} {y})" opacity=".8"/>'
        )
    a = math.radians(tilt)
    return "".join(out) + _circle(x + 98 * math.cos(a), y + 98 * math.sin(a), 9, p.accent)


def _shards(p: _Palette, dice: random.Random) -> str:
    out = []
    for i in range(7):
        x, y = dice.randint(-20, 180), dice.randint(-20, 150)
        w, h = dice.randint(36, 96), dice.randint(70, 150)
        lean = dice.randint(-46, 46)
        out.append(
            _polygon(
                [
                    (x, y),
                    (x + w, y + dice.randint(-22, 22)),
                    (x + w + lean, y + h),
                    (x + lean + 9, y + h - 16),
                ],
                p.accent if i == 5 else p.tones[i % 3],
                ' opacity=".92"',
            )
        )
    return "".join(out)


def _dots(p: _Palette, dice: random.Random) -> str:
    fx, fy = dice.uniform(30, 170), dice.uniform(20, 150)
    out = []
    for row in range(10):
        for column in range(9):
            x, y = 12 + column * 22, 12 + row * 20
            r = max(1.6, 10.2 - math.hypot(x - fx, y - fy) / 13)
            out.append(_circle(x, y, r, p.accent if r > 8.6 else p.tones[1 + (r > 5)]))
    return "".join(out)


def _eye(p: _Palette, dice: random.Random) -> str:
    y = dice.randint(86, 108)
    lids = "".join(
        f'<path d="M{100 - w} {y}Q100 {y - h} {100 + w} {y}Q100 {y + h} {100 - w} {y}Z" fill="{fill}"/>'
        for w, h, fill in ((150, 190, p.deep), (112, 138, p.middle), (86, 92, p.ink))
    )
    look = dice.randint(-14, 14)
    return lids + _circle(100 + look, y, 33, p.accent) + _circle(100 + look, y, 15, p.ground)


def _pair(p: _Palette, dice: random.Random) -> str:
    y, r, d = dice.randint(86, 104), dice.randint(50, 60), dice.randint(28, 38)
    return (
        _circle(100 - d, y, r, p.accent)
        + _circle(100 + d, y + dice.randint(-16, 16), r, p.light, ' opacity=".82"')
        + _circle(100, y + 8, 13, p.ground)
    )


def _bars(p: _Palette, dice: random.Random) -> str:
    out = []
    n = dice.choice((9, 11, 13))
    step = WIDTH / n
    for i in range(n):
        h = 34 + 96 * abs(math.sin(i * dice.uniform(0.7, 1.3) + 0.6))
        fill = p.accent if i == n // 2 else p.tones[i % 3]
        out.append(_rect(i * step + 2, 104 - h / 2, step - 4, h, fill, f' rx="{step / 2 - 2:.0f}"'))
    return "".join(out)


def _confetti(p: _Palette, dice: random.Random) -> str:
    out = []
    for i in range(26):
        x, y, s = dice.randint(-6, 196), dice.randint(-6, 178), dice.randint(10, 30)
        fill = (*p.tones, p.accent)[i % 4]
        if i % 3 == 0:
            out.append(_circle(x, y, s / 1.7, fill))
        elif i % 3 == 1:
            out.append(
                _rect(
                    x, y, s, s * 0.62, fill, f' transform="rotate({dice.randint(0, 90)} {x} {y})"'
                )
            )
        else:
            out.append(_polygon([(x, y), (x + s, y + s / 3), (x + s / 4, y + s)], fill))
    return "".join(out)


def _corridor(p: _Palette, dice: random.Random) -> str:
    x, y = dice.randint(72, 128), dice.randint(78, 112)
    out = []
    for i in range(7):
        f = 1 - i / 7.4
        fill = p.accent if i == 6 else (p.deep, p.ground, p.middle, p.ground)[i % 4]
        out.append(_rect(x - 130 * f, y - 150 * f, 260 * f, 300 * f, fill))
    return "".join(out)


_LOOK: dict[str, tuple[int, tuple[Motif, ...]]] = {
    "Action": (14, (_rays, _shards, _city)),
    "Adventure": (38, (_mountains, _sun, _waves)),
    "Animation": (168, (_confetti, _dots, _sun)),
    "Biography": (28, (_bars, _corridor, _dots)),
    "Comedy": (46, (_confetti, _dots, _pair)),
    "Crime": (218, (_city, _shards, _corridor)),
    "Documentary": (188, (_dots, _bars, _rings)),
    "Drama": (206, (_rings, _corridor, _mountains, _bars)),
    "Family": (142, (_sun, _confetti, _mountains)),
    "Fantasy": (276, (_orbits, _mountains, _rings)),
    "Film-Noir": (232, (_city, _corridor, _shards)),
    "History": (32, (_sun, _rays, _bars)),
    "Horror": (354, (_eye, _corridor, _shards)),
    "Music": (312, (_bars, _rings, _confetti)),
    "Musical": (322, (_bars, _rays, _confetti)),
    "Mystery": (252, (_eye, _rings, _corridor)),
    "Romance": (340, (_pair, _waves, _sun)),
    "Sci-Fi": (196, (_orbits, _rings, _dots)),
    "Sport": (102, (_rays, _bars, _confetti)),
    "Thriller": (240, (_rings, _eye, _shards)),
    "War": (74, (_rays, _mountains, _shards)),
    "Western": (22, (_mountains, _sun)),
}
_GENERAL: tuple[Motif, ...] = (_rings, _dots, _shards, _waves, _sun)
# What a film is about shows better in these than in the genres that go with nearly everything.
_TELLING = ("Horror", "Sci-Fi", "Western", "War", "Animation", "Musical", "Music", "Romance", "Crime",
            "Fantasy", "Mystery", "Sport", "Action", "Adventure", "Comedy")  # fmt: skip


def shown_picture(item: Item, hosts: Sequence[str]) -> str:
    """The address of an item's picture if it is at one of the hosts, else nothing.

    Parameters
    ----------
    hosts: exact ones, and ``*.example.org`` for all under one, in lower case.
    """
    asked = picture_host(item.image)
    named = any(asked == h or (h[:2] == "*." and asked.endswith(h[1:])) for h in hosts)
    return picture(item.image) if asked and named else ""


def art(item: Item, language: str = "en", hosts: Sequence[str] = ()) -> str:
    """The picture of an item over its poster, which stays where the picture does not come.

    Both are decoration, as for ``poster``.
    """
    address = shown_picture(item, hosts)
    if not address:
        return poster(item, language)
    return (
        f'{poster(item, language)}<img class="lr-picture" src="{escape(address)}" alt="" '
        'loading="lazy" decoding="async" referrerpolicy="no-referrer"/>'
    )


def poster(item: Item, language: str = "en") -> str:
    """An inline SVG picture of an item, always the same for the same item and language.

    It is decoration (hidden from screen readers): the title belongs beside it as text.
    """
    seed = hashlib.blake2b(item.id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    dice = random.Random(seed)
    genre = next((g for g in _TELLING if g in item.genres), item.genres[0] if item.genres else "")
    hue, motifs = _LOOK.get(genre, (dice.randrange(360), _GENERAL))
    p = _Palette(hue, dice)
    art = dice.choice(motifs)(p, dice)
    lines, size = _wrapped(item.title_in(language))
    leading = size * 1.1
    top = HEIGHT - MARGIN - leading * (len(lines) - 1)
    text = "".join(
        f'<text x="{MARGIN}" y="{top + i * leading:.1f}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    panel = top - size - 14
    year = (
        f'<text x="{WIDTH - MARGIN}" y="{panel + 12:.1f}" font-size="11" letter-spacing=".6" '
        f'text-anchor="end" opacity=".8">{item.year}</text>'
        if item.year
        else ""
    )
    return (
        f'<svg class="lr-poster" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" focusable="false">'
        f"{_rect(0, 0, WIDTH, HEIGHT, p.ground)}{art}"
        f"{_rect(0, panel, WIDTH, HEIGHT - panel, p.ground)}{_rect(MARGIN, panel, 26, 3, p.accent)}"
        f'<g fill="{p.ink}" font-weight="700" font-size="{size}" letter-spacing="-.2">{text}{year}</g></svg>'
    )


def _wrapped(title: str) -> tuple[list[str], float]:
    """The title in at most four lines and the size of type that fits them."""
    title = " ".join(title.split())[:120] or "?"
    for size in _SIZES:
        room = int((WIDTH - 2 * MARGIN) / (size * 0.56))
        lines = _lines(title, room)
        if len(lines) <= _LINES and all(len(line) <= room for line in lines):
            return lines, size
    lines = [line[:room] for line in _lines(title, room)]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], lines[_LINES - 1][: room - 1] + "…"]
    return lines, size


def _lines(title: str, room: int) -> list[str]:
    lines = [""]
    for word in title.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
