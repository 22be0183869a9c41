"""Amounts hides how numbers are read out of a text, in English, Portuguese and Spanish.

``1,999`` and ``1.999`` and ``nineteen ninety-nine`` are the same number, ``8,1`` is ``8.1``, and
hours become minutes: ``1 h 47`` is 107, ``two hours`` 120.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Amount", "amount_of", "amounts"]


class Amount(NamedTuple):
    """A number of a text. ``spelled``: said in words; ``text``: as it stands there, folded."""

    value: float
    spelled: bool
    text: str


def _numbered(words: str, first: int, step: int = 1) -> dict[str, int]:
    """Values of words in a row; ``a|b`` are spellings of one."""
    rows = enumerate(words.split())
    return {w: first + step * n for n, forms in rows for w in forms.split("|")}


_SMALL: Mapping[str, Mapping[str, int]] = {
    "en": _numbered(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen", 0,
    ) | _numbered("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10),
    "pt": _numbered(
        "zero um|uma dois|duas tres quatro cinco seis sete oito nove dez onze doze treze "
        "catorze|quatorze quinze dezesseis|dezasseis dezessete|dezassete dezoito dezenove|dezanove",
        0,
    ) | _numbered("vinte trinta quarenta cinquenta sessenta setenta oitenta noventa", 20, 10)
    | _numbered(
        "cem|cento duzentos|duzentas trezentos|trezentas quatrocentos|quatrocentas "
        "quinhentos|quinhentas seiscentos|seiscentas setecentos|setecentas oitocentos|oitocentas "
        "novecentos|novecentas", 100, 100,
    ),
    "es": _numbered(
        "cero un|uno|una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce "
        "quince dieciseis diecisiete dieciocho diecinueve veinte veintiuno|veintiun|veintiuna "
        "veintidos veintitres veinticuatro veinticinco veintiseis veintisiete veintiocho "
        "veintinueve", 0,
    ) | _numbered("treinta cuarenta cincuenta sesenta setenta ochenta noventa", 30, 10)
    | _numbered(
        "cien|ciento doscientos|doscientas trescientos|trescientas cuatrocientos|cuatrocientas "
        "quinientos|quinientas seiscientos|seiscientas setecientos|setecientas "
        "ochocientos|ochocientas novecientos|novecientas", 100, 100,
    ),
}  # fmt: skip
_TIMES = {"hundred": 100, "thousand": 1000, "mil": 1000}
_AND = frozenset(("and", "e", "y"))
_HOURS = frozenset(("h", "hr", "hrs", "hour", "hours", "hora", "horas"))
_MINUTES = frozenset(("m", "min", "mins", "minute", "minutes", "minuto", "minutos"))
_HALF = frozenset(("half", "meia", "media"))
_A = frozenset(("a", "an"))
_UNITS = _HOURS | _MINUTES | {"eur", "usd", "brl", "euro", "euros", "dollar", "dollars", "dolares"}
_GROUPED = re.compile(r"(\d{1,3}(?:,\d{3})+(?!,?\d)|\d{1,3}(?:\.\d{3})+(?!\.?\d))(?:[.,](\d+))?")
_TOKEN = re.compile(rf"{_GROUPED.pattern}|\d+(?:[.,]\d+)?|[^\W\d_]+")
_WIDE = re.compile(r"(?<![\d.,])(\d{1,3})[  \u202f](?=\d{3}(?!\d))")

_Token = str | Amount


def amounts(text: str, language: str) -> list[Amount]:
    """The numbers of a text in its order; a running time in hours is one number of minutes."""
    return [t for t in _tokens(text, language) if isinstance(t, Amount)]


def amount_of(text: str, language: str) -> float | None:
    """The number that the whole text is, its unit aside; None if it is something else."""
    found = _tokens(text, language)
    numbers = [t for t in found if isinstance(t, Amount)]
    if len(numbers) != 1 or any(isinstance(t, str) and t not in _UNITS for t in found):
        return None
    return numbers[0].value


def _tokens(text: str, language: str) -> list[_Token]:
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    said = [m.group() for m in _TOKEN.finditer(_WIDE.sub(r"\1.", plain))]
    return _timed(_spelled([_digits(t) if t[0].isdigit() else t for t in said], language))


def _digits(said: str) -> Amount:
    grouped = _GROUPED.fullmatch(said)
    whole = re.sub(r"[.,]", "", grouped[1]) if grouped else ""
    plain = f"{whole}.{grouped[2] or 0}" if grouped else said.replace(",", ".")
    return Amount(float(plain), False, said)


def _spelled(tokens: Sequence[_Token], language: str) -> list[_Token]:
    """Runs of number words as one number each."""
    out: list[_Token] = []
    at = 0
    while at < len(tokens):
        value, end = _run(tokens, at, _SMALL[language])
        if end > at:
            out.append(Amount(float(value), True, " ".join(map(str, tokens[at:end]))))
            at = end
        else:
            out.append(tokens[at])
            at += 1
    return out


def _run(tokens: Sequence[_Token], start: int, small: Mapping[str, int]) -> tuple[int, int]:
    """The number that the words from ``start`` on say, and where they end."""
    total = part = 0
    room = 10**6  # what comes next must be smaller: twenty takes a one, not a ten
    end = at = start
    while at < len(tokens):
        word = tokens[at]
        joined = word in _AND and at > start
        word = tokens[at + 1] if joined and at + 1 < len(tokens) else word
        if not isinstance(word, str):
            break
        if word in _TIMES:
            part = max(part, 1) * _TIMES[word]
            room = _TIMES[word]
            if room == 1000:
                total, part = total + part, 0
        elif word in small and 0 < small[word] < room:
            part += small[word]
            room = _room(small[word])
        elif word in small and not joined and 10 <= part < 100 and small[word] >= 10:
            part, room = part * 100 + small[word], _room(small[word])  # nineteen ninety-nine
        elif word in small and end == start:
            part, room = small[word], 0  # zero
        else:
            break
        at += 2 if joined else 1
        end = at
    return total + part, end


def _room(value: int) -> int:
    return 100 if value % 100 == 0 else 10 if value % 10 == 0 and value >= 20 else 0


def _timed(tokens: Sequence[_Token]) -> list[_Token]:
    """Hours, and the minutes that go with them, as one number of minutes."""
    out: list[_Token] = []
    at = 0
    while at < len(tokens):
        minutes, end = _duration(tokens, at)
        if end > at:
            out.append(Amount(minutes, False, " ".join(_said(t) for t in tokens[at:end])))
            at = end
        else:
            out.append(tokens[at])
            at += 1
    return out


def _duration(tokens: Sequence[_Token], at: int) -> tuple[float, int]:
    """The minutes that the tokens from ``at`` on say, and where they end; ``at``: none."""

    def token(n: int) -> _Token:
        return tokens[n] if n < len(tokens) else ""

    first, n = token(at), at + 1
    if isinstance(first, Amount):
        hours = first.value
    elif first in _A or (first in _HOURS and first != "h"):  # an hour and a half, hora e meia
        hours, n = 1.0, n if first in _A else at
    else:
        return 0.0, at
    half = _half(tokens, n)
    n = half or n
    unit = token(n)
    if unit not in _HOURS:
        return 0.0, at
    n += 1
    after = _half(tokens, n)
    if first in _HOURS and not after:
        return 0.0, at
    rest, joined = token(n), token(n) in _AND
    rest = token(n + 1) if joined else rest
    past = n + (2 if joined else 1)
    if after or half:
        return hours * 60 + 30, max(after, n)
    if isinstance(rest, Amount) and rest.value < 60:
        if token(past) in _MINUTES:
            return hours * 60 + rest.value, past + 1
        if not joined and len(rest.text) == 2:  # 1 h 47
            return hours * 60 + rest.value, past
    return hours * 60, n


def _half(tokens: Sequence[_Token], n: int) -> int:
    """Where "and a half" ends that begins at ``n``; 0 if it does not."""
    said = [t if isinstance(t, str) else "" for t in tokens[n : n + 3]]
    if len(said) >= 2 and said[0] in _AND:
        if said[1] in _HALF:
            return n + 2
        if len(said) == 3 and said[1] in _A and said[2] in _HALF:
            return n + 3
    return 0


def _said(token: _Token) -> str:
    return token if isinstance(token, str) else token.text
