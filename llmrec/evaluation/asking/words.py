"""Words hides how the generated questions are worded, and which wordings are held out.

The wordings are files of ``llmrec/data/questions``: those of ``wordings-test.txt`` stand in no
training or validation question.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from llmrec.errors import InputError
from llmrec.titles import fold
from llmrec.types import Item
from llmrec.wording import display_name, duration

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = [
    "NO",
    "SAME",
    "YES",
    "Noun",
    "Topic",
    "Wanted",
    "Wordings",
    "answer_wordings",
    "countries",
    "filled",
    "minutes",
    "nouns",
    "numeral",
    "read_wordings",
    "shown",
    "speaks_of",
    "things",
    "topics",
]

YES = {"en": ("yes",), "pt": ("sim",), "es": ("sí", "si")}
NO = {"en": ("no", "not"), "pt": ("não", "nao"), "es": ("no",)}
SAME = {
    "en": ("same", "equal", "equally", "neither", "both"),
    "pt": ("mesmo", "mesma", "igual", "iguais", "nenhum", "ambos"),
    "es": ("mismo", "misma", "igual", "iguales", "ninguno", "ninguna", "ambas", "ambos"),
}
_NUMERALS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve".split(),
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze".split(),
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce".split(),
}
_ZERO = {"en": ("none", "no"), "pt": ("nenhum", "nenhuma"), "es": ("ninguno", "ninguna")}
_MINUTES = {"en": "{} minutes", "pt": "{} minutos", "es": "{} minutos"}
_RUN_TOGETHER = {" de el ": " del ", " a el ": " al ", " a o ": " ao ", " a a ": " à "}
_HOURS = {
    "en": ("an hour", "two hours", "three hours"),
    "pt": ("uma hora", "duas horas", "três horas"),
    "es": ("una hora", "dos horas", "tres horas"),
}
# What two items may share: the field, and by language its gender and its name.
_THINGS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "directors": {"en": ("", "director"), "pt": ("o", "diretor"), "es": ("o", "director")},
    "year": {"en": ("", "year"), "pt": ("o", "ano"), "es": ("o", "año")},
    "cast": {"en": ("", "an actor"), "pt": ("o", "um ator"), "es": ("o", "un actor")},
    "genres": {"en": ("", "a genre"), "pt": ("o", "um gênero"), "es": ("o", "un género")},
    "countries": {
        "en": ("", "a country of origin"),
        "pt": ("o", "um país de origem"),
        "es": ("o", "un país de origen"),
    },
}


@dataclass(frozen=True)
class Noun:
    """What the items are called in a language: "comedy", "comedies"; gender "o", "a" or none."""

    one: str
    many: str
    gender: str = ""

    @property
    def slots(self) -> dict[str, str]:
        """The words that agree with it, by the names that wordings use."""
        g = self.gender
        return {
            "noun": self.one, "nouns": self.many, "o": g, "os": f"{g}s",
            "O": g.upper(), "el": "la" if g == "a" else "el", "El": "La" if g == "a" else "El",
        }  # fmt: skip

    def the_many(self, language: str) -> str:
        """The article of the many: "os", "las"; none in English."""
        spanish = "las" if self.gender == "a" else "los"
        return {"pt": f"{self.gender}s", "es": spanish}.get(language, "")

    def with_article(self, language: str) -> str:
        """ "a comedy", "uma comédia"."""
        if language == "en":
            return f"{'an' if self.one[0] in 'aeiou' else 'a'} {self.one}"
        return f"{'um' if language == 'pt' else 'un'}{'a' if self.gender == 'a' else ''} {self.one}"


@dataclass(frozen=True)
class Topic:
    """A thing that no field of Item holds.

    Attributes
    ----------
    product: whether it is asked of products, not of films.
    names: by language its name and article. stems: beginnings of words that speak of it.
    """

    key: str
    product: bool
    names: Mapping[str, tuple[str, str]]
    stems: tuple[str, ...]


class Wordings:
    """The wordings of one side: ``train`` (which validation shares) or ``test``."""

    def __init__(self, side: str) -> None:
        self.side = side
        self._texts = _sections(f"wordings-{side}.txt")

    def __contains__(self, key: object) -> bool:
        return key in self._texts

    @property
    def texts(self) -> Mapping[tuple[str, str], Sequence[str]]:
        """The wordings by key and language."""
        return self._texts

    def pick(
        self, keys: Iterable[str], language: str, dice: random.Random
    ) -> tuple[str, str] | None:
        """One of the wordings of these keys with its id; None if there is none."""
        found = [
            (f"{self.side}.{key}.{language}.{i}", text)
            for key in keys
            for i, text in enumerate(self._texts.get((key, language), ()), 1)
        ]
        return dice.choice(found) if found else None

    def text(self, key: str, language: str, dice: random.Random) -> str:
        """One of the wordings of a key that must be there."""
        return dice.choice(self._texts[key, language])


@dataclass(frozen=True)
class Wanted:
    """What is counted: genre, years, people and so on, all of which an item must meet."""

    genre: str = ""
    decade: int | None = None
    year: int | None = None
    since: int | None = None
    until: int | None = None
    country: str = ""
    director: str = ""
    actor: str = ""
    language: str = ""
    longest: int | None = None
    shortest: int | None = None
    cheapest: float | None = None

    def meets(self, item: Item) -> bool:
        """Whether an item is counted; one that lacks the fact is not."""
        year, runtime, price = item.year, item.runtime, item.price
        return (
            (not self.genre or self.genre in item.genres)
            and (not self.country or self.country in item.countries)
            and (not self.director or self.director in item.directors)
            and (not self.actor or self.actor in item.cast)
            and (not self.language or self.language in item.languages)
            and (self.decade is None or (year is not None and year // 10 * 10 == self.decade))
            and (self.year is None or year == self.year)
            and (self.since is None or (year is not None and year >= self.since))
            and (self.until is None or (year is not None and year <= self.until))
            and (self.longest is None or (runtime is not None and runtime <= self.longest))
            and (self.shortest is None or (runtime is not None and runtime >= self.shortest))
            and (self.cheapest is None or (price is not None and price <= self.cheapest))
        )

    def on_the_edge(self, item: Item) -> bool:
        """Whether "under 90 minutes" and "at most 90 minutes" would differ by this item."""
        if (self.longest, self.shortest, self.cheapest) == (None, None, None):
            return False
        edges = (
            (item.runtime, self.longest), (item.runtime, self.shortest),
            (item.price, self.cheapest),
        )  # fmt: skip
        return any(bound is not None and value == bound for value, bound in edges)

    @property
    def key(self) -> str:
        """The wish as a text that is the same for the same wish."""
        return ";".join(f"{k}={v}" for k, v in vars(self).items() if v not in ("", None))

    def modifiers(
        self, language: str, wordings: Wordings, dice: random.Random, slots: Mapping[str, str]
    ) -> str:
        """Everything but the genre in words: "from the 80s with Tom Hanks"."""
        values = {
            "decade": _decade(self.decade, language),
            "year": self.year,
            "since": self.since,
            "until": self.until,
            "country": countries().get(self.country, {}).get(language),
            "director": self.director,
            "actor": self.actor,
            "language": _spoken(self.language, language),
            "longest": self.longest,
            "shortest": self.shortest,
            "cheapest": None if self.cheapest is None else f"{self.cheapest:g}",
        }  # fmt: skip
        return " ".join(
            filled(wordings.text(f"mod.{name}", language, dice), {**slots, "v": str(value)})
            for name, value in values.items()
            if value
        )


def _decade(decade: int | None, language: str) -> str:
    if decade is None:
        return ""
    short = str(decade) if decade >= 2000 else str(decade % 100)
    return f"{short}s" if language == "en" else short


def _spoken(name: str, language: str) -> str:
    shown_as = display_name("language", name, language) if name else ""
    return shown_as if language == "en" else shown_as.lower()


def filled(wording: str, slots: Mapping[str, str]) -> str:
    """A wording with its slots filled, and without the gaps that empty ones leave."""
    text = " ".join(wording.format_map(slots).split())
    for apart, together in _RUN_TOGETHER.items():
        text = text.replace(apart, together)
    return re.sub(r" ([?.,:])", r"\1", text)


def numeral(n: int, language: str) -> tuple[str, ...]:
    """The ways in which a number may be written."""
    ways = [str(n)]
    if n >= 1000:
        ways.append(f"{n:,}" if language == "en" else f"{n:,}".replace(",", "."))
    if n <= 12:
        ways.append(_NUMERALS[language][n])
    return (*ways, *(_ZERO[language] if n == 0 else ()))


def shown(item: Item, field: str, language: str) -> tuple[str, tuple[tuple[str, ...], ...]] | None:
    """What an item has in a field: in words, and what an answer must hold (one of each list)."""
    value = getattr(item, field)
    if value in (None, "", ()):
        return None
    if field == "runtime":
        hours, rest = divmod(value, 60)
        as_hours = (duration(value), f"{hours}h{rest:02d}", f"{hours}h {rest:02d}m")
        return _MINUTES[language].format(value), ((str(value), *as_hours),)
    if field == "rating":
        return f"{value:g}/10", ((f"{value:g}", f"{value:g}".replace(".", ",")),)
    if field == "price":
        amounts = (f"{value:.2f}", f"{value:g}", f"{value:.2f}".replace(".", ","))
        return amounts[0], (tuple(dict.fromkeys(amounts)),)
    if field in ("year", "original_title"):
        return str(value), ((str(value),),)
    kind = {"genres": "genre", "countries": "country", "languages": "language"}.get(field)
    names = [(display_name(kind, v, language) if kind else v, v) for v in value]
    needed = names[:3] if field == "cast" else names
    return ", ".join(n for n, _ in names), tuple(tuple(dict.fromkeys(n)) for n in needed)


def minutes(n: int, language: str) -> str:
    """A running time as it is asked about: "two hours", "100 minutos"."""
    if n % 60 == 0 and n // 60 <= len(_HOURS[language]):
        return _HOURS[language][n // 60 - 1]
    return _MINUTES[language].format(n)


def things(field: str, language: str) -> tuple[str, str]:
    """Gender and name of what two items may share."""
    return _THINGS[field][language]


@cache
def nouns() -> dict[str, dict[str, Noun]]:
    """Genres (and ``*film``, ``*product``) by language."""
    out = {}
    for name, *n in _table("nouns.tsv"):
        out[name] = {
            "en": Noun(n[0], n[1]), "pt": Noun(n[2], n[3], n[4]), "es": Noun(n[5], n[6], n[7]),
        }  # fmt: skip
    return out


@cache
def countries() -> dict[str, dict[str, str]]:
    """By country "from France" in each language."""
    rows = _table("countries.tsv")
    return {name: {"en": en, "pt": pt, "es": es} for name, en, pt, es in rows}


@cache
def topics() -> tuple[Topic, ...]:
    """The things that no field holds."""
    return tuple(
        Topic(
            key,
            where == "product",
            {"en": (en, ""), "pt": (pt, pt_article), "es": (es, es_article)},
            tuple(stems.split()),
        )
        for key, where, en, pt, pt_article, es, es_article, stems in _table("topics.tsv")
    )


def read_wordings(file: Traversable) -> dict[tuple[str, str], list[str]]:
    """The wordings of a file by key and language, which stand as headings ``= key language``.

    Raises
    ------
    InputError: a line stands below no heading.
    """
    out: dict[tuple[str, str], list[str]] = {}
    own: list[str] | None = None
    for line in _lines(file):
        if line.startswith("= "):
            key, _, language = line[2:].rpartition(" ")
            own = out.setdefault((key, language), [])
        elif own is None:
            raise InputError(f"{file}: {line!r} stands below no heading such as '= fact.cast en'")
        else:
            own.append(line)
    return out


def _place(name: str) -> Traversable:
    return resources.files("llmrec").joinpath(f"data/questions/{name}")


def _lines(file: Traversable) -> Sequence[str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _table(name: str) -> list[list[str]]:
    return [line.split("\t") for line in _lines(_place(name))]


@cache
def _sections(name: str) -> dict[tuple[str, str], list[str]]:
    return read_wordings(_place(name))


@cache
def answer_wordings() -> dict[tuple[str, str], list[str]]:
    """The sentences of answers and refusals."""
    return _sections("answers.txt")


def speaks_of(text: str, stems: Iterable[str]) -> bool:
    """Whether a word of the text begins with one of the stems."""
    return bool(re.search(rf"\b(?:{'|'.join(map(re.escape, stems))})", fold(text)))
