"""Texts hides where the words of the page stand, and how one is said in a visitor's language.

They stand in ``words/``, a file for each screen, the languages of a text below each other. A name
in braces is filled in when the text is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from llmrec.types import LANGUAGES
from llmrec.wishes import Things

__all__ = ["EXAMPLES", "TALK", "Words", "examples", "number", "preferred", "say", "signed"]


def _read(name: str) -> Any:
    place = resources.files("llmrec.demo").joinpath(f"words/{name}.json")
    return json.loads(place.read_text(encoding="utf-8"))


class Words:
    """The texts of one file. They are plain text: escape them where they go into HTML.

    >>> Words("compare")("es", "wins", name="A", n=3)
    'A: 3'
    """

    def __init__(self, name: str) -> None:
        self._texts: dict[str, dict[str, str]] = _read(name)

    def __call__(self, language: str, key: str, **values: object) -> str:
        """A text in a language, with what fills it."""
        text = self._texts[key][language]
        return text.format_map(values) if values else text

    def counted(self, language: str, key: str, **values: object) -> str:
        """The same, with whole numbers as the language writes them."""
        told = {k: number(v, language) if isinstance(v, int) else v for k, v in values.items()}
        return self(language, key, **told)

    def __contains__(self, key: object) -> bool:
        return key in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def within(self, language: str) -> dict[str, str]:
        """All texts in a language, by key."""
        return {key: text[language] for key, text in self._texts.items()}


TALK, _of_products = Words("talk"), Words("products")
_examples: dict[Things, dict[str, list[str]]] = _read("examples")
EXAMPLES = {language: tuple(said) for language, said in _examples["films"].items()}


def say(language: str, key: str, things: Things = "films", **values: object) -> str:
    """A text of the page or of its first screen, which others use too.

    Parameters
    ----------
    things: what the catalogue holds: some texts are others where it holds products.
    values: what fills the text.
    """
    words = _of_products if things == "products" and key in _of_products else TALK
    return words(language, key, **values)


def examples(language: str, things: Things = "films") -> tuple[str, ...]:
    """Messages to begin with."""
    return tuple(_examples[things][language])


def number(value: float, language: str, digits: int = 0) -> str:
    """A number as the language writes it.

    >>> number(1234.5, "en", 1), number(1234.5, "pt", 1)
    ('1,234.5', '1.234,5')
    """
    said = f"{value:,.{digits}f}"
    return said if language == "en" else said.translate(str.maketrans(",.", ".,"))


def signed(value: float, language: str) -> str:
    """A number with its sign, to two digits.

    >>> signed(-0.5, "es")
    '−0,50'
    """
    return f"{'−' if value < 0 else '+'}{number(abs(value), language, 2)}"


def preferred(accept_language: str) -> str:
    """The language of the page for a browser's ``Accept-Language`` header; English by default.

    >>> preferred("fr-FR,pt-BR;q=0.8,en;q=0.5")
    'pt'
    """
    found: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept_language[:1000].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        language = tag.strip().lower().split("-")[0]
        if language in LANGUAGES:
            try:
                found.append((-float(weight or 1), place, language))
            except ValueError:
                continue
    return min(found)[2] if found else "en"
