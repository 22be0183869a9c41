"""Paraphrasing hides how a message is reworded by rules, so that it still says the same.

Four things are changed, and only where that is safe: courtesies around it, words with another of
the same meaning and form, the order of sentences that do not lean on each other, and capitals and
full stops. Names of films and people are never touched, but for capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["SAME", "reworded"]

# Words that may stand for each other wherever they occur: same meaning, gender and number.
SAME: dict[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("movie", "film"),
        ("movies", "films"),
        ("recommend", "suggest"),
        ("funny", "hilarious"),
        ("scary", "frightening"),
        ("looking for", "searching for"),
        ("great", "terrific"),
        ("maybe", "perhaps"),
    ),
    "pt": (
        ("indicar", "sugerir", "recomendar"),
        ("indica", "sugere", "recomenda"),
        ("engraçado", "divertido"),
        ("engraçada", "divertida"),
        ("engraçados", "divertidos"),
        ("assustador", "aterrador"),
        ("ótimo", "magnífico"),
        ("talvez", "quem sabe"),
        ("adoro", "amo"),
    ),
    "es": (
        ("película", "peli"),
        ("películas", "pelis"),
        ("recomendar", "sugerir"),
        ("recomienda", "sugiere"),
        ("gracioso", "divertido"),
        ("graciosa", "divertida"),
        ("terrorífica", "aterradora"),
        ("quizás", "tal vez"),
        ("estupenda", "magnífica"),
    ),
}
_COURTESIES = {
    "en": ("Hi! {}", "Hello there! {}", "{} Thank you!", "{} Thanks a lot.", "Hi! {} Thanks!"),
    "pt": ("Oi! {}", "Olá! {}", "{} Obrigado!", "{} Valeu.", "Oi! {} Obrigada!"),
    "es": ("¡Hola! {}", "Buenas. {}", "{} ¡Gracias!", "{} Muchas gracias.", "¡Hola! {} ¡Gracias!"),
}
# A sentence with one of these leans on the one before it.
_LEANS = {
    "en": "and but so or also then too it its it's that this these those they them he she his her "
    "one ones because which who otherwise instead same yes no not what both either neither other "
    "another first second last like same there though however",
    "pt": "e mas então ou também depois isso isto esse essa este esta esses essas estes estas ele "
    "ela eles elas aquele aquela porque que senão mesmo sim não ambos outro outra primeiro segundo "
    "último lá porém",
    "es": "y pero entonces o también después eso esto ese esa este esta esos esas estos estas él "
    "ella ellos ellas aquel aquella porque que si mismo sí no ambos otro otra primero segundo "
    "último ahí sino",
}
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_Spans = Sequence[tuple[int, int]]
_Edit = Callable[[str, _Spans], str]


def reworded(
    text: str, language: str, protected: _Spans, rng: np.random.Generator, *, last: bool
) -> str:
    """The message said otherwise; it may come out as it is where nothing is safe to change.

    Parameters
    ----------
    protected: from and to of names that must stay.
    last: whether it is the user's last message: the only one that gets courtesies, and whose
        sentences may change places.
    """
    kinds = ["words", "capitals", "stops"] + ["courtesy", "sentences"] * last
    chosen = [k for k in kinds if rng.random() < 0.5]
    if "words" in chosen:  # first, while the places of names are known
        text = _other_words(text, language, protected, rng)
    if "sentences" in chosen:
        text = _other_order(text, language, rng)
    if "stops" in chosen:
        text = re.sub(r"[.!…]+$", "", text.rstrip()) or text
    if "courtesy" in chosen:
        forms = _COURTESIES[language]
        ended = text.rstrip() if re.search(r"[.!?…]\s*$", text) else f"{text.rstrip()}."
        text = forms[int(rng.integers(len(forms)))].format("\0").replace("\0", ended)
    if "capitals" in chosen:
        text = text.lower()
    return text


def _other_words(text: str, language: str, protected: _Spans, rng: np.random.Generator) -> str:
    """Each word that has equals, outside of names, replaced by one of them."""
    equals = {w: group for group in SAME[language] for w in group}
    pattern = r"\b(" + "|".join(sorted(map(re.escape, equals), key=len, reverse=True)) + r")\b"
    pick: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        if any(match.start() < end and start < match.end() for start, end in protected):
            return match.group()
        word = match.group().lower()
        if word not in pick:  # a word is replaced by the same one all through a message
            group = [w for w in equals[word] if w != word]
            pick[word] = group[int(rng.integers(len(group)))]
        new = pick[word]
        return new.capitalize() if match.group()[0].isupper() else new

    return re.sub(pattern, other, text, flags=re.IGNORECASE)


def _other_order(text: str, language: str, rng: np.random.Generator) -> str:
    """The sentences in another order, where none of them leans on another."""
    sentences = [s.strip() for s in _SENTENCE.split(text) if s.strip()]
    leaning = set(_LEANS[language].split())
    if len(sentences) < 2 or any(leaning & set(_words(s)) for s in sentences):
        return text
    ended = [s if s[-1] in ".!?…" else f"{s}." for s in sentences]
    return " ".join(ended[i] for i in rng.permutation(len(ended)))


def _words(sentence: str) -> list[str]:
    return re.findall(r"[\w']+", sentence.lower())
