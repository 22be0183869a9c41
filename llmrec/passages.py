"""Passages hides how a text is cut into passages, and how well one fits a question.

A passage is a few sentences. It fits as much of a question as it holds of its words, each weighed
by how rare it is; inflected forms of a word are one word, in English, Portuguese and Spanish.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from math import log

from llmrec.titles import fold
from llmrec.types import Item

__all__ = ["MOST", "Words", "cut", "sentences", "shortened", "similarity", "stem", "texts_of"]

MOST = 320  # characters of a passage

_BREAK = re.compile(
    r"""(?P<stop>[.!?…]+["'”’»)\]]*)\s+ | (?:[。！？]+)\s* | \s*\n\s* | \s+[•·▪■●]\s+""",
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"""(?: \b[^\W\d_] | \b(?:[A-Za-z]\.)+[A-Za-z]
        | \b(?:mr|mrs|ms|messrs|dr|dra|drs|st|sr|sra|srta|jr|prof|gen|col|lt|sgt|capt|rev|hon|vs|inc
        |co|corp|ltd|no|nos|núm|nº|vol|fig|ed|eds|approx|aprox|ex|pág|pp?|av|sto|sta|etc) )\Z""",
    re.VERBOSE | re.IGNORECASE,
)
_CUTS = (";", ",", " ")
_ENDING = re.compile(r"(.{3,}?)[aeiouy]*(?:ing|ed|[aei]ndo)?s?\Z")
_DOUBLE = re.compile(r"([^\Waeiou\d_])\1\Z")
_FORMS = 4
_STOPWORDS = frozenset(
    """a an the and or but nor of in on at to for from with by as into onto about between over under
    than then so if while when where which who whom whose what why how that this these those there
    here it its he she him her his hers they them their we us our you your i me my mine one ones is
    are was were be been being am do does did done has have had can could will would shall should
    may might must not no any some all each both either such own same other also just only very more
    most much many s t film movie tell say says called
    o os um uma uns umas e ou mas do da dos das em no na nos nas ao aos à às por pelo pela pelos
    pelas para pra pro com sem sob sobre entre ate que se quem qual quais cujo cuja quando onde como
    porque este esta estes estas esse essa esses essas isso isto aquele aquela aquilo ele ela eles
    elas lhe seu sua seus suas meu minha eu tu voce nos foi foram ser sido e sao era eram esta estao
    tem ter ha nao sim ja mais muito muita tambem so aquele filme diz fala
    el la los las lo un unos unas y u ni del al con su sus es en pero si sino quien cual cuales cuya
    cuyo cuando donde porque para por sin desde hasta entre sobre este ese eso esos esas aquel
    aquella le les me te mi yo ella ellos ellas fue fueron era eran son ser sido hay han ha tiene
    tienen muy tambien ya pelicula peliculas dice habla cual""".split()
)


def texts_of(item: Item) -> dict[str, str]:
    """The descriptions of an item that differ, by field: ``description``, ``descriptions.pt``."""
    texts = {"description": item.description}
    texts |= {f"descriptions.{language}": t for language, t in item.descriptions.items()}
    first = {text: field for field, text in reversed(texts.items()) if text.strip()}
    return {field: text for field, text in texts.items() if first.get(text) == field}


def cut(text: str, most: int = MOST) -> list[tuple[int, str]]:
    """The passages of a text, in order: where each begins, and its words.

    Sentences are joined while they fit in ``most`` characters; a longer sentence is cut at a
    semicolon, a comma or a blank. What lies between passages is blank, bullets or line ends.
    """
    found: list[tuple[int, int]] = []
    for start, end in _pieces(text, most):
        if found and end - found[-1][0] <= most:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return [(start, text[start:end]) for start, end in found]


def shortened(text: str, most: int) -> str:
    """A text of at most ``most`` characters: the whole sentences at its start, or some words."""
    if len(text) <= most:
        return text
    whole = max((end for _, end in sentences(text[: most + 1]) if end <= most), default=0)
    blank = text.rfind(" ", 0, most + 1)
    at = whole if whole > most // 2 else blank if blank > 0 else most
    return text[:at].rstrip()


def _pieces(text: str, most: int) -> Iterator[tuple[int, int]]:
    """Where sentences lie, those over ``most`` in parts."""
    for start, end in sentences(text):
        while end - start > most:
            half = start + most // 2
            cuts = (text.rfind(mark, half, start + most) for mark in _CUTS)
            at = next((c for c in cuts if c >= 0), start + most - 1) + 1
            yield from _trimmed(text, start, at)
            start = at
        yield from _trimmed(text, start, end)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of a text begin and end."""
    start = 0
    for found in _BREAK.finditer(text):
        end = found.end("stop") if found["stop"] else found.start()
        if found["stop"] and "\n" not in found.group():
            after = text[found.end() : found.end() + 1]
            short = found["stop"] == "." and _ABBREVIATION.search(text, start, found.start())
            if after.islower() or short:
                continue
        elif not found["stop"] and found.group()[0] in "。！？":
            end = found.end()
        yield start, end
        start = found.end()
    yield start, len(text)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


@lru_cache(maxsize=1 << 17)
def stem(word: str) -> str:
    """A folded word without what inflection adds: "hunts", "hunted" and "hunting" are "hunt".

    Rough, as it does not ask for the language. Words of under four letters and numbers stay.
    """
    if len(word) < 4 or not word.isalpha():
        return word
    found = _ENDING.match(word)
    base = found[1] if found else word
    base = _DOUBLE.sub(r"\1", base) if len(base) > 3 else base
    return base[:-1] + "s" if base[-1] == "z" else base


class Words:
    """How much each word of a question weighs: by its rarity in the texts given.

    Parameters
    ----------
    texts: folded texts, one for each item.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = 0
        words: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        for text in texts:
            have = set(text.split())
            self._texts += 1
            words.update(have)
            self._counts.update({stem(w) for w in have})
        self._forms: defaultdict[str, list[str]] = defaultdict(list)
        for word, _ in words.most_common():
            self._forms[stem(word)].append(word)

    def weights(self, question: str) -> dict[str, float]:
        """The words of a question by their stems; function words only if there are no others."""
        words = dict.fromkeys(fold(question).split())
        kept = [w for w in words if w not in _STOPWORDS] or list(words)
        return {s: self._weight(s) for s in dict.fromkeys(map(stem, kept))}

    def known_forms(self, question: str) -> str:
        """The folded question, with other forms behind it of words that the texts lack."""
        words = fold(question).split()
        forms = [self._forms.get(stem(w), []) for w in words]
        other = [f[:_FORMS] for w, f in zip(words, forms, strict=True) if w not in f]
        return " ".join([*words, *chain.from_iterable(other)])

    def _weight(self, word: str) -> float:
        return log(1 + (self._texts + 1) / (self._counts[word] + 0.5))


def similarity(weights: Mapping[str, float], passage: str) -> float:
    """The share, by weight, of a question's words that stand in ``passage``: 0 to 1."""
    have = {stem(w) for w in fold(passage).split()}
    total = sum(weights.values())
    return sum(v for word, v in weights.items() if word in have) / total if total else 0.0
