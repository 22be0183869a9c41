"""Titles hides how a name is normalised, looked up, found inside a text, and matched by tiers."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

__all__ = ["Found", "Tier", "TitleIndex", "TitleMatch", "Word", "fold", "told_apart", "words"]

Tier = Literal["exact", "title_year", "alternative", "fuzzy", "none"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|&")
_YEAR_AT_END = re.compile(r"^(.*?)[\s,]*[\(\[]?((?:18|19|20)\d\d)[\)\]]?\s*$")
_TRAILING_ARTICLE = re.compile(
    r"^(.*),\s+(the|a|an|o|os|as|um|uma|el|la|los|las|un|una)(\s*[\(\[].*)?$", re.IGNORECASE
)
_ARTICLES = frozenset(
    """the a an o os as um uma el la los las un una le les il lo der die das""".split()
)
_APOSTROPHES = str.maketrans("", "", "'’`´")
_SPECIAL = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ß": "ss", "&": " and "}
)
MAX_WORDS = 14


def fold(text: str) -> str:
    """Lower-case, without accents and apostrophes, other punctuation as single blanks."""
    text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES)).lower()
    text = text.translate(_APOSTROPHES).translate(_SPECIAL)
    kept = [c if c.isalnum() else " " for c in text if not unicodedata.combining(c)]
    return " ".join("".join(kept).split())


@dataclass(frozen=True)
class Word:
    """A word of a text: its folded form, and where it stands (character offsets)."""

    key: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """The words of ``text``, folded, with their places."""
    found = (Word(fold(m.group()), m.start(), m.end()) for m in _WORD.finditer(text))
    return [w for w in found if w.key]


@dataclass(frozen=True)
class TitleMatch:
    """What a name was matched to.

    Attributes
    ----------
    row: the row of the title, or None when the tier is "none".
    tier: "exact" (the main title), "title_year", "alternative" (another language's title),
        "fuzzy" (a few letters differ and no other title is near), "none".
    score: 0 to 1, the similarity of the folded forms.
    """

    row: int | None
    tier: Tier
    score: float


@dataclass(frozen=True)
class Found:
    """A known name inside a text: ``text[start:end]``, ``n_words`` words long, of these rows."""

    start: int
    end: int
    rows: tuple[int, ...]
    n_words: int


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def _without_article(key: str) -> str:
    first, _, rest = key.partition(" ")
    return rest if rest and first in _ARTICLES else key


def told_apart(titles: Sequence[str], years: Sequence[int | None]) -> list[str]:
    """The titles, with the year behind those that another item has too: ``It (2017)``."""
    counts = Counter(titles)
    return [f"{t} ({y})" if y and counts[t] > 1 else t for t, y in zip(titles, years, strict=True)]


class TitleIndex:
    """Exact, alternative and fuzzy look-up of names, held as sorted hashes.

    Parameters
    ----------
    names: for each row its names, the main one first.
    years: for each row its year or None; used to tell equal titles apart.
    prefer: for each row a number; of several rows with one name the largest comes first.
    """

    def __init__(
        self,
        names: Iterable[Sequence[str]],
        years: Sequence[int | None] | None = None,
        prefer: Sequence[float] | None = None,
    ) -> None:
        hashes: list[int] = []
        rows: list[int] = []
        main: list[bool] = []
        self._keys: list[str] = []
        self._key_rows: list[int] = []
        self._max_words = 1
        for row, row_names in enumerate(names):
            for i, key in enumerate(dict.fromkeys(fold(n) for n in row_names)):
                if not key:
                    continue
                self._keys.append(key)
                self._key_rows.append(row)
                for form in {key, _without_article(key)}:
                    hashes.append(_hash(form))
                    rows.append(row)
                    main.append(i == 0)
                self._max_words = max(self._max_words, key.count(" ") + 1)
        self._max_words = min(self._max_words, MAX_WORDS)
        hashed = np.array(hashes, dtype=np.uint64)
        rank = np.zeros(len(rows))
        if prefer is not None and rows:
            rank = np.asarray(prefer, dtype=np.float64)[rows]
        order = np.lexsort((-rank, ~np.array(main, dtype=bool), hashed))
        self._hashes = hashed[order]
        self._rows = np.array(rows, dtype=np.int32)[order]
        self._main = np.array(main, dtype=bool)[order]
        self._years = years

    def lookup(self, name: str) -> tuple[int, ...]:
        """Rows that go by ``name`` in any language, main titles first, then the preferred."""
        return self._lookup_key(fold(name))

    def _lookup_key(self, key: str) -> tuple[int, ...]:
        lo, hi = self._range(key)
        return tuple(dict.fromkeys(self._rows[lo:hi].tolist()))

    def _range(self, key: str) -> tuple[int, int]:
        h = np.uint64(_hash(key))
        lo = int(np.searchsorted(self._hashes, h, side="left"))
        return lo, int(np.searchsorted(self._hashes, h, side="right"))

    def find(self, text: str) -> list[Found]:
        """Known names inside ``text``: the longest first, none overlapping, in text order."""
        ws = words(text)
        taken = [False] * len(ws)
        found: list[Found] = []
        for n in range(min(self._max_words, len(ws)), 0, -1):
            for i in range(len(ws) - n + 1):
                if any(taken[i : i + n]):
                    continue
                rows = self._lookup_key(" ".join(w.key for w in ws[i : i + n]))
                if rows:
                    taken[i : i + n] = [True] * n
                    found.append(Found(ws[i].start, ws[i + n - 1].end, rows, n))
        return sorted(found, key=lambda f: f.start)

    def match(self, name: str) -> TitleMatch:
        """Match one name, with or without a year, by the tiers of TitleMatch."""
        moved = _TRAILING_ARTICLE.match(name.strip())
        if moved:  # "Matrix, The (1999)"
            name = f"{moved[2]} {moved[1]}{moved[3] or ''}"
        key, year = fold(name), None
        exact = self._tier(key, None)
        if exact is not None:
            return exact
        dated = _YEAR_AT_END.match(name.strip())
        if dated and fold(dated[1]):
            key, year = fold(dated[1]), int(dated[2])
            exact = self._tier(key, year)
            if exact is not None:
                return exact
        return self._fuzzy(key, year)

    def match_many(self, names: Iterable[str]) -> list[TitleMatch]:
        """``match`` for each of the names; equal names are matched once."""
        known: dict[str, TitleMatch] = {}
        return [known[n] if n in known else known.setdefault(n, self.match(n)) for n in names]

    def _tier(self, key: str, year: int | None) -> TitleMatch | None:
        lo, hi = self._range(key)
        if lo == hi and _without_article(key) != key:
            lo, hi = self._range(_without_article(key))
        if lo == hi:
            return None
        entries = range(lo, hi)
        if year is not None and self._years is not None:
            off = [abs((self._years[int(self._rows[e])] or 0) - year) for e in entries]
            if min(off) > 1:
                return None
            best = entries[off.index(min(off))]
            return TitleMatch(int(self._rows[best]), "title_year", 1.0)
        return TitleMatch(int(self._rows[lo]), "exact" if self._main[lo] else "alternative", 1.0)

    @cached_property
    def _by_length(self) -> tuple[list[str], npt.NDArray[Any], npt.NDArray[Any]]:
        lengths = np.fromiter((len(k) for k in self._keys), dtype=np.int32, count=len(self._keys))
        order = np.argsort(lengths, kind="stable")
        return [self._keys[i] for i in order], np.array(self._key_rows)[order], lengths[order]

    def _fuzzy(self, key: str, year: int | None) -> TitleMatch:
        none = TitleMatch(None, "none", 0.0)
        allowed = min(2, len(key) // 5)  # short titles must be right to the letter
        if not allowed or not self._keys:
            return none
        keys, rows, lengths = self._by_length
        lo = int(np.searchsorted(lengths, len(key) - allowed, side="left"))
        hi = int(np.searchsorted(lengths, len(key) + allowed, side="right"))
        near = process.extract(
            key,
            keys[lo:hi],
            scorer=Levenshtein.distance,
            processor=None,  # both sides are folded already
            score_cutoff=allowed + 1,
            limit=8,
        )
        digits = re.findall(r"\d+", key)
        hits = []
        for k, distance, at in near:
            row = int(rows[lo + at])
            if re.findall(r"\d+", k) != digits or _numeral(k) != _numeral(key):
                continue  # sequels are different films
            y = self._years[row] if self._years is not None else None
            if year is not None and y is not None and abs(y - year) > 1:
                continue
            hits.append((int(distance), row, k))
        if not hits or hits[0][0] > allowed:
            return none
        best = hits[0]
        rivals = [d for d, row, _ in hits[1:] if row != best[1]]
        if rivals and rivals[0] <= best[0]:
            return none  # no clear margin: better no film than the wrong one
        return TitleMatch(best[1], "fuzzy", 1.0 - best[0] / max(len(key), len(best[2])))


def _numeral(key: str) -> str:
    last = key.rsplit(" ", 1)[-1]
    return last if re.fullmatch(r"[ivx]+", last) else ""
