"""Languages hides how a text is told to be English, Portuguese or Spanish.

A linear classifier reads its words and the letters they are made of; ``train/languages.py`` learns
the weights. Words written as names weigh on their own, and less: films, people and products keep
their names in every language.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

from llmrec.types import LANGUAGES

__all__ = ["BUCKETS", "FILE", "Place", "buckets", "guess_language", "tokens"]

Place = Literal["", "first", "name"]

FILE = "languages.safetensors"
BUCKETS = 1 << 15
MAX_READ = 2_000  # characters of a text
_MAX_WORD = 30  # characters
_SMALL = 3  # letters of a word that may stand inside a name without a capital
_LETTER = "[A-Za-zÀ-ÖØ-öø-ɏ]"
_TOKEN = re.compile(
    rf"\[[a-z]\d*\]|\#\w+|https?://\S+|({_LETTER}+(?:['’]{_LETTER}+)*)|([¿¡])|([.!?:;\n\"“”«»(])"
)


def guess_language(text: str, default: str = "en") -> str:
    """Which of ``en``, ``pt``, ``es`` a text is in.

    Parameters
    ----------
    text: a message or any other text; of a long one the beginning is read.
    default: the answer where the text does not clearly speak against it, as a bare title does not.
    """
    scores = dict(zip(LANGUAGES, _scores(text[:MAX_READ]), strict=True))
    best, second = sorted(LANGUAGES, key=lambda k: -scores[k])[:2]
    lead = scores[best] - scores.get(default, scores[second])
    return best if lead > _weights()[1] else default


def tokens(text: str) -> list[tuple[str, Place]]:
    """The words of a text in small letters, and where they stand.

    A word is the ``first`` of its text, part of a ``name`` (written with a capital where no
    sentence begins, or a small word between two of those), or neither. Numbers, the marks of
    ``Marked.text`` and letters that no language of ours writes are left out.
    """
    text = unicodedata.normalize("NFC", text.lower() if text.isupper() else text)
    found: list[str] = []
    places: list[Place] = []
    begins = True
    for m in _TOKEN.finditer(text):
        word, opens, ends = m.groups()
        if word:
            named = word[0].isupper() and not begins
            if named:
                _join(found, places)
            places.append("name" if named else "" if "first" in places else "first")
            found.append(word.lower().replace("’", "'"))
        elif opens:
            places.append("")
            found.append(opens)
        begins = bool(opens or ends)
    if len(places) > 1 and all(p == "name" for p in places[1:]):
        places[0] = "name"
    return list(zip(found, places, strict=True))


def _join(found: list[str], places: list[Place]) -> None:
    """Make the small words at the end part of the name before them, if there is one."""
    at = len(found)
    while at and not places[at - 1] and len(found[at - 1]) <= _SMALL:
        at -= 1
    if at and places[at - 1] == "name":
        places[at:] = ["name"] * (len(found) - at)


def buckets(word: str, place: Place) -> list[int]:
    """The rows of the weights that a word reads: of itself, and of its runs of 1 to 4 letters."""
    kind = "^" if place == "name" else ""
    said = [f"{kind}={word}"]
    if place == "first":
        said.append(f"<={word}")
    whole = f"_{word[:_MAX_WORD]}_"
    for n in range(1, 5):
        said += [f"{kind}{whole[i : i + n]}" for i in range(len(whole) - n + 1)]
    return [zlib.crc32(s.encode()) % BUCKETS for s in said]


@lru_cache(maxsize=1_024)
def _scores(text: str) -> tuple[float, ...]:
    """Log odds of each language, but for a number that they share."""
    said = [_evidence(word, place) for word, place in tokens(text)]
    return tuple(map(sum, zip(*said, strict=True))) if said else (0.0,) * len(LANGUAGES)


@lru_cache(maxsize=1 << 15)
def _evidence(word: str, place: Place) -> tuple[float, ...]:
    weights, _, scale = _weights()
    return tuple((weights[buckets(word, place)].sum(0, dtype=np.int64) * scale).tolist())


@cache
def _weights() -> tuple[npt.NDArray[np.int8], float, float]:
    """The weights, how much likelier than the default another language must be, and the scale."""
    from safetensors.numpy import load

    read = load(resources.files("llmrec").joinpath(f"data/{FILE}").read_bytes())
    return read["weights"], float(read["margin"][0]), float(read["scale"][0])
