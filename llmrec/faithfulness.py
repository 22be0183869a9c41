"""Faithfulness hides how a text is held against the record that it speaks of.

Nothing is proved true here; what stands in no record is found: numbers, names, and sentences of
which too few words are from there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from llmrec.lexicon import STOPWORDS
from llmrec.titles import Word, fold, words

__all__ = ["SUPPORT", "Flaw", "akin", "flaw", "numbers"]

Flaw = Literal["number", "name", "words"]
# Of the words of a text that say something, so many must stand in the record. A sentence about
# another record stays far below; this is for one that begins right and goes on inventing. It costs
# true answers that are put freely in other words: better few answers than wrong ones.
SUPPORT = 2 / 3

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_POSSESSIVE = re.compile(r"['’]s\b")
_COUNTS: Mapping[str, tuple[str, ...]] = {
    "en": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
           "twelve"),
    "pt": ("dois|duas", "tres", "quatro", "cinco", "seis", "sete", "oito", "nove", "dez", "onze",
           "doze"),
    "es": ("dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once",
           "doce"),
}  # fmt: skip
# Words that name a field or lead up to its value: they claim nothing of their own.
_CARRIERS = frozenset(
    """released release came comes come out year runtime running time runs lasts last long minutes
    genre genres kind directed director directors directs stars starring star cast actor actors
    actress plays played role roles country countries produced made language languages spoken
    rating rated price cost costs title titled called name story plot tells about follows set
    lancado lancada estreia estreou dura duracao minutos genero generos dirigido dirigida dirigiu
    direcao diretor diretora elenco ator atores atua pais produzido produzida idioma lingua falado
    nota preco custa titulo chama historia conta trata sobre passa
    estreno estrenada duracion dirigio direccion directora reparto actores actua paises produjo
    producida lengua hablado precio cuesta llama cuenta tratan""".split()
)


def flaw(text: str, record: str, language: str, *, allowed: str = "") -> Flaw | None:
    """What of a text the record does not support; None where nothing is found.

    Every number of the text stands in the record, in digits or as a word ("number"). So does every
    name: a run of capitalised words, apart from a sentence's first ("name"). Of the words that say
    something at least ``SUPPORT`` do, however inflected ("words").

    Parameters
    ----------
    allowed: what else numbers and names may come from, such as the user's own words.
    """
    given = f"{record} {allowed}"
    if not numbers(text) <= numbers(given) or _counted(text, language, given):
        return "number"
    # Possessives hide names: fold would glue the s to them.
    known = f" {fold(given)} {fold(_POSSESSIVE.sub('', given))} "
    plain = _POSSESSIVE.sub("", text)
    if any(f" {name} " not in known for name in _names(plain)):
        return "name"
    return "words" if _support(plain, known) < SUPPORT else None


def numbers(text: str) -> set[str]:
    """The numbers of a text in one spelling: 1,999 and 1999, 8,50 and 8.5 are the same."""
    out = set()
    for number in _NUMBER.findall(unicodedata.normalize("NFKC", text)):
        if _THOUSANDS.fullmatch(number):
            number = re.sub(r"[.,]", "", number)
        whole, dot, part = number.replace(",", ".").partition(".")
        part = part.rstrip("0")
        out.add((whole.lstrip("0") or "0") + (dot + part if part else ""))
    return out


def _counted(said: str, language: str, record: str) -> bool:
    """Whether a number said as a word stands nowhere in the record."""
    digits, ours, theirs = numbers(record), set(fold(record).split()), set(fold(said).split())
    for value, (spelled, english) in enumerate(
        zip(_COUNTS[language], _COUNTS["en"], strict=True), 2
    ):
        spellings = set(spelled.split("|"))
        # The record may be in English where there is no other.
        if spellings & theirs and str(value) not in digits and not ours & {*spellings, english}:
            return True
    return False


def _names(text: str) -> Iterator[str]:
    """Runs of capitalised words, folded, without the first word of a sentence."""
    found = words(text)
    run: list[str] = []
    for i, word in enumerate(found):
        before = text[found[i - 1].end if i else 0 : word.start]
        opens = i == 0 or bool(re.search(r"[.!?:;\n¿¡“”\"«»(]", before))
        if (opens or before.strip(" -'’")) and run:
            yield " ".join(run)
            run = []
        if not text[word.start].isupper() or word.key == "i":
            if run:
                yield " ".join(run)
            run = []
        elif not opens or _goes_on(text, found, i):
            run.append(word.key)
    if run:
        yield " ".join(run)


def _goes_on(text: str, found: Sequence[Word], i: int) -> bool:
    """Whether a sentence's first word belongs to a name: another capital follows, or nothing."""
    if i + 1 == len(found):
        return found[i].key not in STOPWORDS
    between = text[found[i].end : found[i + 1].start]
    if found[i].key in STOPWORDS:
        return False
    return not between.strip(" -") and text[found[i + 1].start].isupper()


def _support(answer: str, known: str) -> float:
    """The share of an answer's telling words that stand in the record, however inflected."""
    telling = {w for w in fold(answer).split() if w not in STOPWORDS and len(w) > 1}
    telling = {w for w in telling if not w.isdigit() and w not in _CARRIERS}
    if not telling:
        return 1.0
    ours = set(known.split())
    return sum(w in ours or any(akin(w, o) for o in ours) for w in telling) / len(telling)


def akin(a: str, b: str) -> bool:
    """Whether two folded words are likely forms of one: most of their letters begin alike."""
    differ = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    common = next(differ, min(len(a), len(b)))
    return common >= 4 and common >= 0.6 * max(len(a), len(b))
