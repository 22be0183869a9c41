"""Titles hides how a name is normalised, looked up, found inside a text, and matched by tiers."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Levenshtein

from llmrec.arrays import Arrays, Joined, Texts, numbers

__all__ = ["Found", "Tier", "TitleIndex", "TitleMatch", "Word", "fold", "told_apart", "words"]

Tier = Literal["exact", "title_year", "alternative", "fuzzy", "none"]

_Array = npt.NDArray[Any]
# Letters that differ, length, years off, whether it is an alternative title, fame, the key's place.
_Hit = tuple[int, int, int, bool, float, int]
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|&")
_YEAR_AT_END = re.compile(r"[\(\[]?((?:18|19|20)\d\d)[\)\]]?$")
_DIGITS, _ROMAN, _PART = (re.compile(p) for p in (r"\d+", r"\b[ivx]+\b", r"\b[ivx]+$"))
_TRAILING_ARTICLE = re.compile(
    r"^(.*),\s+(the|a|an|o|os|as|um|uma|el|la|los|las|un|una)(\s*[\(\[].*)?$", re.IGNORECASE
)
_ARTICLES = frozenset(
    """the a an o os as um uma el la los las un una le les il lo der die das""".split()
)
_CODED_ARTICLES = frozenset(a.encode() for a in _ARTICLES)
LOST = tuple("the a an o os as um uma el la los las un una".split())
UNDATED = np.iinfo(np.int32).min  # the year of a row that has none
_APOSTROPHES = str.maketrans("", "", "'’`´")
_SPECIAL = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ß": "ss", "&": " and "}
)
MIN_BEGINNING = 4  # letters and blanks of a name that may be the beginning of a title
MAX_WORDS = 14
_MAX_EDITS = 2
_BITS = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))
_BITS32 = _BITS[:32].astype(np.uint32)
_BY_LENGTH = ("order", "lengths", "letters", "pairs")
_TILE = 1 << 14  # titles compared at a time, and four times as many pairs: they stay in the cache


class _Folded(dict[int, "int | str | None"]):
    """What a character of a decomposed lower-case text becomes, worked out once."""

    def __missing__(self, code: int) -> int | str | None:
        c = chr(code)
        self[code] = kept = None if unicodedata.combining(c) else c if c.isalnum() else " "
        return kept


_FOLDED = _Folded({**_APOSTROPHES, **_SPECIAL})


def fold(text: str) -> str:
    """Lower-case, without accents and apostrophes, other punctuation as single blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES))
    return " ".join(text.lower().translate(_FOLDED).split())


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
        "fuzzy" (a few letters differ and no other title is as near), "none".
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


def _without_article(key: str) -> str:
    first, _, rest = key.partition(" ")
    return rest if rest and first in _ARTICLES else key


def told_apart(titles: Sequence[str], years: Sequence[int | None]) -> list[str]:
    """The titles, with the year behind those that another item has too: ``It (2017)``."""
    counts = Counter(titles)
    return [f"{t} ({y})" if y and counts[t] > 1 else t for t, y in zip(titles, years, strict=True)]


class _Years(Sequence["int | None"]):
    def __init__(self, held: _Array) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, row: Any) -> Any:
        year = int(self._held[row])
        return None if year == UNDATED else year


class TitleIndex:
    """Exact, alternative and fuzzy look-up of names, held in arrays without an object for each.

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
        keys: list[str] = []
        rows: list[int] = []
        main: list[bool] = []
        for row, row_names in enumerate(names):
            for i, key in enumerate(dict.fromkeys([fold(article_first(n)) for n in row_names])):
                if key:
                    keys.append(key)
                    rows.append(row)
                    main.append(i == 0)
        dated = None if years is None else np.array([UNDATED if y is None else y for y in years])
        self._take(
            arranged(
                Texts.of(keys),
                np.array(rows, dtype=np.int32),
                np.array(main, dtype=bool),
                np.zeros(0) if dated is None else dated,
                np.zeros(0) if prefer is None else np.asarray(prefer, dtype=np.float64),
            )
        )

    @classmethod
    def of(cls, arrays: Arrays) -> TitleIndex:
        """The index whose ``arrays`` these are."""
        made = cls.__new__(cls)
        made._take(arrays)
        return made

    def _take(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._keys = Texts(arrays["keys"], arrays["ends"])
        self._key_rows, self._key_main = arrays["rows"], arrays["main"]
        self._hashes, self._key_of = arrays["hashes"], arrays["key_of"]
        self._dated, self._prefer = _Years(arrays["years"]), arrays["prefer"]
        self._max_words = int(arrays["longest"][0])

    @property
    def years(self) -> Sequence[int | None]:
        """The year of each row."""
        return self._dated

    def _rank(self, key: int) -> float:
        """How much the row of a key is preferred."""
        return float(self._prefer[self._key_rows[key]]) if len(self._prefer) else 0.0

    def lookup(self, name: str) -> tuple[int, ...]:
        """Rows that go by ``name`` in any language, main titles first, then the preferred."""
        return self._lookup_key(fold(name))

    def _lookup_key(self, key: str) -> tuple[int, ...]:
        return self._rows_at(*self._ranges([key])[0])

    def _rows_at(self, lo: int, hi: int) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self._key_rows[self._key_of[lo:hi]].tolist()))

    def find(self, text: str) -> list[Found]:
        """Known names inside ``text``: the longest first, none overlapping, in text order."""
        ws = words(text)
        taken = [False] * len(ws)
        found: list[Found] = []
        runs, values = Joined([w.key for w in ws]).runs(self._max_words)
        lo, hi = self._sought(values)
        hits = np.flatnonzero(hi > lo).tolist()
        for at in sorted(hits, key=lambda at: (-runs[at][1], runs[at][0])):
            i, n = runs[at]
            if not any(taken[i : i + n]):
                taken[i : i + n] = [True] * n
                rows = self._rows_at(lo[at], hi[at])
                found.append(Found(ws[i].start, ws[i + n - 1].end, rows, n))
        return sorted(found, key=lambda f: f.start)

    def loses_article(self, word: str) -> bool:
        """Whether a word is no title, and would be one with an article before it."""
        if " " in word:
            return False
        forms = [word, *(f"{a} {word}" for a in LOST)]
        whole = [
            any(self._keys[k] == form for k in self._key_of[lo:hi].tolist())
            for form, (lo, hi) in zip(forms, self._ranges(forms), strict=True)
        ]
        return any(whole[1:]) and not whole[0]

    def beginning(self, name: str) -> tuple[int, ...]:
        """Rows with a title that begins with the words of ``name``, the preferred first.

        Slower than ``lookup``, as it looks at every title: for short names, "E.T.", "Kill Bill".
        """
        start = f"{_without_article(fold(name))} ".encode()
        if len(start.decode()) < MIN_BEGINNING:
            return ()
        at = self._keys.ends[:-1].astype(np.int64) + self.arrays["article"]
        alive = np.flatnonzero(at + len(start) <= self._keys.ends[1:])
        for place, byte in enumerate(start):
            alive = alive[self._keys.data[at[alive] + place] == byte]
        found = sorted(alive.tolist(), key=lambda key: -self._rank(key))
        return tuple(dict.fromkeys(self._key_rows[found].tolist()))

    def match(self, name: str) -> TitleMatch:
        """Match one name, with or without a year, by the tiers of TitleMatch."""
        return self._matches([name])[0]

    def match_many(self, names: Iterable[str]) -> list[TitleMatch]:
        """``match`` for each of the names, in one go; equal names are matched once."""
        names = list(names)
        distinct = list(dict.fromkeys(names))
        known = dict(zip(distinct, self._matches(distinct), strict=True))
        return [known[n] for n in names]

    def _matches(self, names: Sequence[str]) -> list[TitleMatch]:
        names = [n.strip() for n in names]
        keys = [fold(n) for n in names]
        matches = [self._exact(*span) for span in self._spans(keys)]
        moved = [i for i, n in enumerate(names) if not matches[i] and article_first(n) != n]
        for i in moved:
            names[i] = article_first(names[i])
            keys[i] = fold(names[i])
        for i, span in zip(moved, self._spans([keys[i] for i in moved]), strict=True):
            matches[i] = self._exact(*span)
        dated: dict[int, tuple[str, int]] = {}
        for i, name in enumerate(names):
            year = _YEAR_AT_END.search(name, max(0, len(name) - 6)) if not matches[i] else None
            if year and (key := fold(name[: year.start()])):
                dated[i] = key, int(year[1])
        for i, span in zip(dated, self._spans([key for key, _ in dated.values()]), strict=True):
            matches[i] = self._exact(*span, dated[i][1])
        asked = {i: dated.get(i, (keys[i], None)) for i, m in enumerate(matches) if m is None}
        fuzzy = self._fuzzy(dict.fromkeys(asked.values()))
        return [m or fuzzy.get(asked[i], _NONE) for i, m in enumerate(matches)]

    def _spans(self, keys: Sequence[str]) -> list[tuple[int, int]]:
        """Where the entries of each key are, or of the key without its article."""
        spans = self._ranges(keys)
        bare = {i: _without_article(keys[i]) for i, (lo, hi) in enumerate(spans) if lo == hi}
        bare = {i: form for i, form in bare.items() if form != keys[i]}
        for i, span in zip(bare, self._ranges(list(bare.values())), strict=True):
            spans[i] = span
        return spans

    def _ranges(self, keys: Sequence[str]) -> list[tuple[int, int]]:
        lo, hi = self._sought(numbers(keys, len(keys)))
        return list(zip(lo.tolist(), hi.tolist(), strict=True))

    def _sought(self, values: _Array) -> tuple[_Array, _Array]:
        """Where the entries with each of these numbers begin and end."""
        return self._hashes.searchsorted(values), self._hashes.searchsorted(values, side="right")

    def _exact(self, lo: int, hi: int, year: int | None = None) -> TitleMatch | None:
        if lo == hi:
            return None
        keys = self._key_of[lo:hi]
        rows = self._key_rows[keys].tolist()
        if year is not None and len(self._dated):
            off = [abs((self._dated[row] or 0) - year) for row in rows]
            nearest = min(off)
            return TitleMatch(rows[off.index(nearest)], "title_year", 1.0) if nearest <= 1 else None
        return TitleMatch(rows[0], "exact" if self._key_main[keys[0]] else "alternative", 1.0)

    def nearest(self, name: str, *, least: float = 0.84, margin: float = 0.04) -> TitleMatch:
        """The title whose letters come nearest, two swapped ones counting as one slip.

        Slower than ``match``, as it looks at every title, and more lenient: for a name that is
        written as a title and matches none.

        Parameters
        ----------
        least: of the letters that must agree, 0 to 1.
        margin: how much nearer than the next title it must be.
        """
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        key = fold(name)
        allowed = int((1 - least) * len(key) / least + 1e-9)
        # Two swapped letters are one slip, and change six pairs.
        alike = sorted(at for _, at in self._look_alikes([key], allowed, 6)) if key else []
        some = [self._keys[at] for at in alike]
        near = process.extract(
            key, some, scorer=OSA.normalized_similarity, processor=None, score_cutoff=least
        )
        found = [(title, score, alike[i]) for title, score, i in near]
        rows = {int(self._key_rows[at]): score for _, score, at in reversed(found)}
        best = sorted(rows.items(), key=lambda r: -r[1])
        if not best or (len(best) > 1 and best[0][1] - best[1][1] < margin):
            return _NONE
        title = next(k for k, _, at in found if int(self._key_rows[at]) == best[0][0])
        if _other_part(key, title):
            return _NONE
        return TitleMatch(best[0][0], "fuzzy", best[0][1])

    @cached_property
    def _by_length(self) -> tuple[_Array, _Array, _Array, _Array]:
        """The keys by length: which, how long, and what is odd about their letters."""
        if "order" not in self.arrays:
            return tuple(_by_length(self._keys).values())  # type: ignore[return-value]
        return tuple(self.arrays[name] for name in _BY_LENGTH)  # type: ignore[return-value]

    def _fuzzy(
        self, asked: Iterable[tuple[str, int | None]]
    ) -> dict[tuple[str, int | None], TitleMatch]:
        """Those of the keys and years asked for that come near one title."""
        of_length: defaultdict[int, list[tuple[str, int | None]]] = defaultdict(list)
        for key, year in asked:
            of_length[len(key)].append((key, year))
        found = {}
        for length, some in of_length.items():
            allowed = min(_MAX_EDITS, length // 5)  # short titles must be right to the letter
            if not allowed or not self._keys:
                continue
            hits: defaultdict[int, list[_Hit]] = defaultdict(list)
            for i, at in self._look_alikes([key for key, _ in some], allowed):
                if hit := self._hit(*some[i], at, allowed):
                    hits[i].append(hit)
            for i, near in hits.items():
                distance, other, *_, at = min(near)
                level = [hit[-1] for hit in near if hit[0] == distance]
                of_one_title = len({self._keys[a] for a in level}) == 1
                # Without a clear margin between titles: better no film than the wrong one.
                if of_one_title or len(set(self._key_rows[level].tolist())) == 1:
                    score = 1.0 - distance / max(length, other)
                    found[some[i]] = TitleMatch(int(self._key_rows[at]), "fuzzy", score)
        return found

    def _look_alikes(
        self, keys: Sequence[str], allowed: int, pairs_each: int = 4
    ) -> Iterator[tuple[int, int]]:
        """Pairs of one of ``keys``, all as long, and a key of the index: all that may be near.

        An edit changes the number of at most two letters, and of at most four pairs of letters
        (``pairs_each``).
        """
        order, lengths, letters, pairs = self._by_length
        length = len(keys[0])
        start, end = np.searchsorted(lengths, (length - allowed, length + allowed + 1)).tolist()
        own_letters, own_pairs = _odd_ones(keys)
        for lo in range(start, end, _TILE):
            tile = letters[lo : min(lo + _TILE, end)]
            step = max(1, 4 * _TILE // len(tile))
            for first in range(0, len(keys), step):
                odd = own_letters[first : first + step, None] ^ tile
                i, j = np.divmod(np.flatnonzero(_few(odd, 2 * allowed)), len(tile))
                i, j = first + i, lo + j
                kept = _few(own_pairs[i] ^ pairs[j], pairs_each * allowed)
                yield from zip(i[kept].tolist(), order[j[kept]].tolist(), strict=True)

    def _hit(self, key: str, year: int | None, at: int, allowed: int) -> _Hit | None:
        """How near a key of the index is; None if not, for a sequel, or a film of another year."""
        other = self._keys[at]
        distance = Levenshtein.distance(key, other, score_cutoff=allowed)
        if distance > allowed or _other_part(key, other):
            return None
        own = self._dated[int(self._key_rows[at])] if len(self._dated) else None
        off = 0 if year is None else 2 if own is None else abs(own - year)
        if own is not None and off > 1:
            return None
        return distance, len(other), off, not self._key_main[at], -self._rank(at), at


_NONE = TitleMatch(None, "none", 0.0)


def arranged(
    keys: Texts, rows: _Array, main: _Array, years: _Array, prefer: _Array
) -> dict[str, _Array]:
    """The arrays of a TitleIndex.

    Parameters
    ----------
    keys: the folded names, none of them empty. rows, main: of each, and whether it is the main one.
    years, prefer: by row, as for TitleIndex; UNDATED for None, and empty where there are none.
    """
    also: list[int] = []
    bare: list[bytes] = []
    article = np.zeros(len(keys), dtype=np.uint8)
    for i, key in enumerate(keys.coded()):
        first, _, rest = key.partition(b" ")
        if rest and first in _CODED_ARTICLES:
            also.append(i)
            bare.append(rest)
            article[i] = len(first) + 1
    key_of = np.concatenate((np.arange(len(keys)), np.array(also, dtype=int))).astype(np.int32)
    hashes = np.concatenate((numbers(keys.coded(), len(keys)), numbers(bare, len(bare))))
    rank = prefer[rows] if len(prefer) else np.zeros(len(rows))
    # Stable: of two rows alike in all else, the one whose name has no article to lose is first.
    order = np.lexsort((-rank[key_of], ~main[key_of], hashes))
    longest = min(MAX_WORDS, int(keys.counts(keys.data == ord(" ")).max(initial=0)) + 1)
    return {
        "keys": keys.data,
        "ends": keys.ends,
        "article": article,
        "rows": rows,
        "main": main,
        "hashes": hashes[order],
        "key_of": key_of[order],
        "years": years,
        "prefer": prefer,
        "longest": np.array([longest], dtype=np.int32),
    }


def with_look_alikes(arrays: Arrays) -> dict[str, _Array]:
    """The arrays of a TitleIndex with those that ``match`` else makes when it needs them."""
    return {**arrays, **_by_length(Texts(arrays["keys"], arrays["ends"]))}


def _by_length(keys: Texts) -> dict[str, _Array]:
    lengths = keys.lengths()
    order = np.argsort(lengths, kind="stable").astype(np.int32)
    odd = [_odd_ones(keys[lo : lo + _TILE]) for lo in range(0, len(keys), _TILE)]
    letters, pairs = (
        np.concatenate([np.zeros(0, kind), *(o[i] for o in odd)])[order]
        for i, kind in enumerate((np.uint32, np.uint64))
    )
    return dict(zip(_BY_LENGTH, (order, lengths[order], letters, pairs), strict=True))


def article_first(name: str) -> str:
    moved = _TRAILING_ARTICLE.match(name.strip()) if "," in name else None  # "Matrix, The (1999)"
    return f"{moved[2]} {moved[1]}{moved[3] or ''}".strip() if moved else name


def _other_part(a: str, b: str) -> bool:
    """Whether two titles are numbered otherwise: Rocky and Rocky II, Henry IV Part 1 and VI Part 1.

    Not at the end, a Roman numeral on one side alone is taken for a slip: Face i the Sky.
    """
    if any(kind.findall(a) != kind.findall(b) for kind in (_DIGITS, _PART)):
        return True
    roman = _ROMAN.findall(a), _ROMAN.findall(b)
    return all(roman) and roman[0] != roman[1]


def _odd_ones(keys: Sequence[str]) -> tuple[_Array, _Array]:
    """Of each key, a bit set for each letter, and for each pair of letters, of odd number."""
    letters, pairs = np.empty(len(keys), np.uint32), np.empty(len(keys), np.uint64)
    for lo in range(0, len(keys), _TILE):
        some = keys[lo : lo + _TILE]
        ends = np.cumsum(np.fromiter(map(len, some), dtype=np.int64, count=len(some)))
        starts = np.concatenate(([0], ends[:-1]))
        codes = np.frombuffer("".join(some).encode("utf-32-le"), dtype="<u4")
        letters[lo : lo + _TILE] = np.bitwise_xor.reduceat(_BITS32[codes & 31], starts)
        paired = _BITS[(codes * 31 + np.roll(codes, -1)) * np.uint32(0x9E3779B1) >> 26]
        paired[ends - 1] = 0  # the last letter has no next
        pairs[lo : lo + _TILE] = np.bitwise_xor.reduceat(paired, starts)
    return letters, pairs


def _few(bits: _Array, most: int) -> _Array:
    """Where no more than ``most`` bits are set; ``bits`` is used up."""
    for _ in range(most):
        bits &= bits - bits.dtype.type(1)  # takes one bit away
    few: _Array = bits == 0
    return few
