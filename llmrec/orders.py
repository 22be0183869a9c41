"""Orders hides which words of an item's text speak to a model or a reader instead of of the item.

The text of a catalogue is data. A sentence that gives orders, poses as a turn of the chat, carries
markup or leads elsewhere is left out wherever text is shown to a model or quoted: what is lost
is a sentence, and nothing is obeyed. Markup, marks of chat templates, links and hidden letters are
told by rules; what is an order in plain words by a small classifier, learned by
``train/orders.py`` from orders and from ordinary sentences about films and products.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["features", "is_order", "pieces", "readings", "sentences", "without_orders"]

LONGEST_NAME = 60  # characters
FILE = "orders.safetensors"
MANY = 2  # invisible letters that a sentence may hold without being suspected of hiding something
WINDOW = 16  # words of a long sentence that are judged together
PART = 2.0  # how much more than a whole sentence a part of one must look like an order

_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_LOOKS_LIKE = str.maketrans(
    "аеорсухіјѕԁһӏкмтвнАЕОРСУХІЈЅКМТВНαεοριυνκτΑΕΟΡΙΥΝΚΤΒΗΜΧΖ",
    "aeopcyxijsdhlkmtbhAEOPCYXIJSKMTBHaeopiuvktAEOPIYNKTBHMXZ",
)
_MIXED = re.compile(
    r"[a-zA-Z][^\W\d_]*[\u0370-\u03ff\u0400-\u052f\u13a0-\u13ff]"
    r"|[\u0370-\u03ff\u0400-\u052f\u13a0-\u13ff][^\W\d_]*[a-zA-Z]"
)
_LEET = str.maketrans("013457@$", "oieastas")
_LEETED = re.compile(r"[^\W\d_][013457@$]+[^\W\d_]|\b[013457@$]+[^\W\d_]{2}")
_SPACED = re.compile(r"\b[^\W\d_](?:[ .\-_*][^\W\d_]\b){2,}")
_SENTENCE = re.compile(r"[^.!?\n\r]+(?:[.!?]+(?!\s|$)[^.!?\n\r]+)*[.!?]*\s*|[.!?\n\r]+\s*")
_CLAUSE = re.compile(r"[,;:()\[\]\"“”«»*|/>]+|\s[-–—]+\s")
_TOKEN = re.compile(r"[a-z]+|[0-9]+|[\"“”«»:?!]")

_SPEAKERS = (
    "assistant|assistente|asistente|user|usuario|usuário|human|developer|admin|ai|ia|bot|chatbot|"
    "prompt|(?:system|new) (?:prompt|message|instructions?)"
)
_MARKS = re.compile(
    "|".join(
        (
            r"</?[a-z!][^<>]{0,200}>",  # markup
            r"[{}]|\|>|<\||<<|-->|\[/?(?:inst|sys)|\]\(|!\[|[`~]{3}",  # templates, JSON, Markdown
            r"^\s*\|.*\|\s*$|^\s*#{1,6}\s*\w|(?:^|\s)(?:-{3,}|={3,}|\*{3,}|_{4,})(?:\s|$)",
            rf"\[/?\s*(?:{_SPEAKERS}|system|sistema)\b",  # turns of a chat
            rf"^\W{{0,4}}(?:{_SPEAKERS})\W{{0,4}}:",
            r"https?:|ftp:|javascript:|data:\w+/|www\.",  # places to go to
            r"[\w.+-]+@[\w-]+\.\w|\b[\w-]{2,}\.(?:com|net|org|info|biz|io|ru|xyz|shop|store|click|"
            r"site|example|test|br|es|mx|ar)\b",
            r"\bon\w+\s*=|\$\(|\w\(['\")]|:=|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|&#x?\w+;",  # code
            r"(?=[a-z+/]*\d)[a-z0-9+/]{24,}=*|[a-z0-9+/]{16,}={1,2}",  # letters that encode others
        )
    ),
    re.IGNORECASE | re.MULTILINE,
)


def sentences(text: str) -> list[str]:
    """The sentences of a text; joined, they are the text."""
    return _SENTENCE.findall(text)


def is_order(sentence: str) -> bool:
    """Whether a sentence speaks to whoever reads it, instead of of the item."""
    return _suspicion(sentence) > _shipped().certain


def without_orders(text: str, names: Sequence[str] = ()) -> str:
    """``text`` without the sentences that are orders, and without letters that nobody sees.

    Of the sentences next to an order less is needed to be left out, as what it wants said often
    stands in a sentence of its own.

    Parameters
    ----------
    names: titles of the item, which may sound like orders: "Tell No One".
    """
    if len(text) < 3:
        return text
    known = "|".join(re.escape(n) for n in names if n and len(n) <= LONGEST_NAME)
    hidden = re.compile(rf"(?<!\w)(?:{known})(?!\w)" if known else r"(?!)", re.IGNORECASE)
    while (kept := _kept(text, hidden)) != text:  # two halves may be an order once they meet
        text = kept
    return text


def _kept(text: str, hidden: re.Pattern[str]) -> str:
    parts = sentences(text)
    said = [_suspicion(hidden.sub("It", part)) for part in parts]
    limits = _shipped()
    orders = [s > limits.certain for s in said]
    if not any(orders):
        return text
    near = [any(orders[max(i - 1, 0) : i + 2]) for i in range(len(parts))]
    kept = (p for p, s, n in zip(parts, said, near, strict=True) if s <= limits.of(n))
    return _INVISIBLE.sub("", "".join(kept)).strip()


@lru_cache(maxsize=1 << 14)
def _suspicion(sentence: str) -> float:
    """How much a sentence looks like an order; infinite where a rule says so."""
    if len(_INVISIBLE.findall(sentence)) > MANY:
        return np.inf
    said = readings(sentence)
    if _MIXED.search(said[0]) or _MARKS.search(said[0]):
        return np.inf
    shipped = _shipped()
    return max(
        shipped.score(words) - (PART if n else 0)
        for text in said
        for n, words in enumerate(pieces(text))
    )


# -- the words of a sentence ----------------------------------------------------------------------


def readings(sentence: str) -> list[str]:
    """The sentence as it is seen, and as it is read where its letters are disguised."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", html.unescape(sentence)))
    out = [plain]
    if _LEETED.search(plain):
        out.append(plain.translate(_LEET))
    if _SPACED.search(plain):
        out.append(_SPACED.sub(lambda m: re.sub(r"[\W_]", "", m[0]), plain))
    return out


def pieces(text: str) -> Iterator[list[str]]:
    """The words of a text, of each of its clauses, and of each stretch of a long one."""
    words = _words(text)
    yield words
    clauses = [c for c in map(_words, _CLAUSE.split(text)) if len(c) > 2]
    if len(clauses) > 1:
        yield from clauses
    if len(words) > WINDOW:
        for start in range(0, len(words) - WINDOW // 2, WINDOW // 2):
            yield words[start : start + WINDOW]


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKD", text.translate(_LOOKS_LIKE).lower())
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"(?<=\w)['’](?=\w)", "", text)
    return ['"' if t in '"“”«»' else "0" if t[0].isdigit() else t for t in _TOKEN.findall(text)]


def features(words: Sequence[str]) -> list[int]:
    """The features of a piece, by number, each once.

    Words and pairs of words, the first and last letters of long ones, and the classes of
    ``data/orders.tsv``: which there are, which follow each other with other words between them or
    without, and which stand beside which words.
    """
    known = [_EDGE, *map(_word, words), _EDGE]
    spoken = [_EDGES, *(classes for _, classes in known if classes), _EDGES]
    found = set()
    for (a, here), (b, then) in pairwise(known):
        found.add(a * 3)
        found.add(a * 5 + b * 7)
        for c in here:
            found.add(c * 11)
            found.add(c * 13 + b * 17)
            for d in then:
                found.add(c * 19 + d * 23)
        for d in then:
            found.add(a * 29 + d * 31)
    for word in words:
        if len(word) > 4:
            found.add(zlib.crc32(word[:5].encode()) * 73)
            found.add(zlib.crc32(word[-3:].encode()) * 79)
    for left, right in pairwise(spoken):
        for c in left:
            for d in right:
                found.add(c * 37 + d * 41)
    for left, middle, right in zip(spoken, spoken[1:], spoken[2:], strict=False):
        found.add(left[0] * 43 + middle[0] * 47 + right[0] * 53)
    there = sorted({c for classes in spoken for c in classes})
    for c, d in combinations(there, 2):
        found.add(c * 59 + d * 61)
    found.add(67 * min(len(words) // 4, 6))
    found.add(71 * (1 + 8 * (len(spoken) - 2) // max(len(words), 1)))
    return list({(n * _MIX >> 20) % BUCKETS for n in found})


BUCKETS = 1 << 16
_MIX = 0x9E3779B97F4A7C15  # spreads neighbouring numbers
_EDGES = (zlib.crc32(b"^"),)
_EDGE: tuple[int, tuple[int, ...]] = (_EDGES[0], ())


@lru_cache(maxsize=1 << 15)
def _word(word: str) -> tuple[int, tuple[int, ...]]:
    """The number of a word, and those of its classes."""
    return zlib.crc32(word.encode()), tuple(zlib.crc32(c.encode()) for c in _classes(word))


def _classes(word: str) -> tuple[str, ...]:
    """What a word may speak of."""
    whole, starts = _table()
    found = [*whole.get(word, ())]
    for n in range(2, len(word) + 1):
        found += starts.get(word[:n], ())
    return tuple(dict.fromkeys(found))


@cache
def _table() -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]:
    """What whole words speak of, and what beginnings of words do."""
    text = resources.files("llmrec").joinpath("data/orders.tsv").read_text(encoding="utf-8")
    whole: dict[str, list[str]] = {}
    starts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, forms = line.split("\t")
            for form in forms.split(";"):
                table = starts if form.endswith("*") else whole
                table.setdefault(form.rstrip("*"), []).append(name)
    return whole, starts


# -- the classifier -------------------------------------------------------------------------------


class Classifier:
    """Tells orders by a weighted sum of features.

    Parameters
    ----------
    weights: int8 [BUCKETS].
    scale, bias: what one step of the weights is worth, and the score without any.
    certain, likely: above which score a sentence is an order, and above which beside an order.
    """

    def __init__(
        self,
        weights: npt.NDArray[np.int8],
        scale: float,
        bias: float,
        certain: float,
        likely: float,
    ) -> None:
        self.weights = weights
        self.scale = scale
        self.bias = bias
        self.certain = certain
        self.likely = likely

    def score(self, words: Sequence[str]) -> float:
        """How much a piece looks like an order: the higher, the more."""
        at = features(words)
        total = float(self.weights[at].sum(dtype=np.int64))
        return total * self.scale / math.sqrt(len(at)) + self.bias

    def of(self, near: bool) -> float:
        """The limit for a sentence beside an order, or elsewhere."""
        return self.likely if near else self.certain


@cache
def _shipped() -> Classifier:
    from safetensors.numpy import load

    found = load(resources.files("llmrec").joinpath(f"data/{FILE}").read_bytes())
    return Classifier(found["weights"], *found["facts"].tolist())
