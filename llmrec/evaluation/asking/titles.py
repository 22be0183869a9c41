"""Titles hides how a person writes a title: which name, with what slips; and invents some.

A slip never makes another title of it, and an invented title is like none of the catalogue.
"""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from llmrec.catalog import Catalog
from llmrec.titles import fold
from llmrec.types import Item

__all__ = ["Named", "Titles"]

_ARTICLES = frozenset("the a an o os as um uma el la los las un una".split())
_SMALL = _ARTICLES | frozenset(
    "of in on at to for de da do dos das del e y and en em no na".split()
)
_NEAR = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "wa", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip
_OPEN = {"en": "“{}”", "pt": "“{}”", "es": "«{}»"}
_DATED = {
    "en": ("{} ({})", "{} from {}"),
    "pt": ("{} ({})", "{}, de {}"),
    "es": ("{} ({})", "{}, de {}"),
}
_START = "Vor Kal Tes Bru Ondr Mez Lud Yar Hesp Quil Dov Zan Ferr Ibr Pell Sund Gav Orl".split()
_MIDDLE = "a e i o u an el or im ar".split()
_END = "vik dell rossa nith mond quen basto ska linde tova pra gorn zetti low marque".split()
_SHAPES = {
    "en": (
        "The {adj} {noun} of {name}", "{name} and the {adj} {noun}", "A {noun} for {name}",
        "The {name} {noun}", "{adj} {noun}, {adj2} {noun2}", "The {noun} Who Sold {name}",
        "Goodbye, {name} {name2}", "{name}: The {adj} {noun}", "The {adj} {noun}",
        "The {noun} and the {noun2}", "Three {adj} {noun}s", "My Year as a {noun}",
    ),
    "pt": (
        "O {noun} {adj} de {name}", "{name} e o {noun} {adj}", "Um {noun} para {name}",
        "O {noun} de {name}", "{noun} {adj}, {noun2} {adj2}", "O {noun} Que Vendeu {name}",
        "Adeus, {name} {name2}", "{name}: O {noun} {adj}", "O {noun} {adj}",
        "O {noun} e o {noun2}", "Meu Ano de {noun}", "{noun} à Meia-Noite",
    ),
    "es": (
        "El {noun} {adj} de {name}", "{name} y el {noun} {adj}", "Un {noun} para {name}",
        "El {noun} de {name}", "{noun} {adj}, {noun2} {adj2}", "El {noun} que vendió {name}",
        "Adiós, {name} {name2}", "{name}: El {noun} {adj}", "El {noun} {adj}",
        "El {noun} y el {noun2}", "Mi año de {noun}", "{noun} a medianoche",
    ),
}  # fmt: skip
_PRODUCT_SHAPES = {
    "en": ("{name} {thing} {n}", "{name} {name2} {thing}", "{thing} {name} Pro {n}"),
    "pt": ("{thing} {name} {n}", "{thing} {name} {name2}", "{thing} {name} Pro {n}"),
    "es": ("{thing} {name} {n}", "{thing} {name} {name2}", "{thing} {name} Pro {n}"),
}
_BANK = {
    "en": (
        "Tangerine Crooked Lukewarm Velvet Unmarked Thirsty Copper Borrowed Drowsy Hollow "
        "Threadbare Unpaid Saffron Left-Handed Weightless".split(),
        "Lamplighter Beekeeper Accordionist Orchard Ferryman Almanac Turnstile Pelican Barometer "
        "Glovemaker Harbourmaster Upholsterer Semaphore Stonecutter Greenhouse Typesetter".split(),
        "Kettle Headlamp Backpack Blender Tripod Notebook Armchair Thermos".split(),
    ),
    "pt": (
        "Torto Morno Aveludado Sedento Emprestado Sonolento Enferrujado Distraído Canhoto "
        "Desbotado Engomado Desafinado".split(),
        "Acendedor Apicultor Acordeonista Pomar Barqueiro Almanaque Pelicano Barômetro Luveiro "
        "Estofador Semáforo Cantareiro Tipógrafo Guarda-Livros".split(),
        "Chaleira Lanterna Mochila Liquidificador Tripé Caderno Poltrona Garrafa".split(),
    ),
    "es": (
        "Torcido Tibio Aterciopelado Sediento Prestado Soñoliento Oxidado Distraído Zurdo "
        "Descolorido Almidonado Desafinado".split(),
        "Farolero Apicultor Acordeonista Huerto Barquero Almanaque Pelícano Barómetro Guantero "
        "Tapicero Semáforo Picapedrero Tipógrafo Contable".split(),
        "Tetera Linterna Mochila Licuadora Trípode Cuaderno Butaca Termo".split(),
    ),
}


@dataclass(frozen=True)
class Named:
    """A title as the question writes it. ``noise``: the slip in it; ``dated``: it has the year."""

    text: str
    noise: str = ""
    dated: bool = False


class Titles:
    """The names of all items of a catalogue, and what people make of them."""

    def __init__(self, items: Sequence[Item], catalog: Catalog, noise: float) -> None:
        self._catalog, self._noise = catalog, noise
        self._made: set[str] = set()  # titles that were invented
        self._forms = {i.id: sorted({k for n in i.all_titles for k in _forms(n)}) for i in items}
        self._of: defaultdict[str, set[str]] = defaultdict(set)
        self._years: defaultdict[str, list[int]] = defaultdict(list)
        for item in items:
            for key in self._forms[item.id]:
                self._of[key].add(item.id)
                self._years[key].append(item.year or 0)
        self._keys = list(self._of)
        self._words = [_content(k) for k in self._keys]

    def write(
        self, item: Item, language: str, dice: random.Random, *, dated: bool = True
    ) -> Named | None:
        """The item's title as someone would write it; None if it would mean another one too.

        Parameters
        ----------
        dated: whether the year may stand beside it.
        """
        name = _chosen(item, language, dice)
        years = self._years[fold(name)]
        shared = len(self._of[fold(name)]) > 1
        alone = item.year is not None and sum(abs(y - item.year) <= 1 for y in years) == 1
        if shared and not (dated and alone):
            return None
        if dated and item.year and alone and (shared or dice.random() < 0.1):
            return Named(dice.choice(_DATED[language]).format(name, item.year), dated=True)
        short = len(fold(name)) < 5 or fold(name) in _SMALL
        if not short and dice.random() < self._noise:
            return self._noisy(item, name, dice)
        quoted = short or dice.random() < 0.25
        return Named(_OPEN[language].format(name) if quoted else name)

    def _noisy(self, item: Item, name: str, dice: random.Random) -> Named:
        first, _, rest = name.partition(" ")
        ways = {"typo": _mistyped(name, dice), "lower": name.lower()}
        if not name.isascii():
            ways["accents"] = _without_accents(name)
        if first.lower() in _ARTICLES and len(fold(rest)) > 4:
            ways["article"] = rest
        kind = dice.choice([k for k in ("typo", *ways) if ways[k] != name] or [""])
        made = ways.get(kind, name)
        if kind == "lower":
            return Named(made, kind)
        return Named(made, kind) if made != name and self._only(made, item.id) else Named(name)

    def _only(self, made: str, item_id: str) -> bool:
        """Whether no other item has a title that is as near to what was made."""
        key = fold(made)
        own = min(Levenshtein.distance(key, k) for k in self._forms[item_id])
        near = process.extract(
            key, self._keys, scorer=Levenshtein.distance, score_cutoff=own + 1, limit=None
        )
        return all(self._of[k] == {item_id} for k, _, _ in near)

    def invented(self, language: str, dice: random.Random, *, product: bool) -> str:
        """A title that could be, that is like none of the catalogue, and that was not made before.

        Made once only, it stands in one part of a set.
        """
        adjectives, nouns, things = _BANK[language]
        while True:
            adj, adj2 = dice.sample(adjectives, 2)
            noun, noun2 = dice.sample(nouns, 2)
            shape = dice.choice((_PRODUCT_SHAPES if product else _SHAPES)[language])
            title = shape.format(
                adj=adj, adj2=adj2, noun=noun, noun2=noun2, name=_name(dice), name2=_name(dice),
                thing=dice.choice(things), n=dice.choice((200, 350, 500, 700, 1200)),
            )  # fmt: skip
            if fold(title) not in self._made and self.is_new(title):
                self._made.add(fold(title))
                return title

    def is_new(self, title: str) -> bool:
        """Whether no title of the catalogue stands in it, resembles it or shares half its words."""
        words = fold(title).split()
        inside = (
            " ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)
        )
        if any(part in self._of for part in inside if part not in _SMALL):
            return False
        own = _content(fold(title))
        if any(2 * len(own & other) >= len(own | other) for other in self._words):
            return False
        return self._catalog.match_title(title).row is None


def _chosen(item: Item, language: str, dice: random.Random) -> str:
    """Mostly the name in the user's language, now and then another one."""
    names = list(item.titles.get(language, ())) or [item.title]
    if dice.random() < 0.15:
        names = [n for n in item.all_titles if n.isascii() or fold(n).isascii()] or names
    return dice.choice(names) if dice.random() < 0.3 else names[0]


def _forms(name: str) -> set[str]:
    key = fold(name)
    first, _, rest = key.partition(" ")
    return {k for k in (key, rest if first in _ARTICLES else "") if k}


def _content(key: str) -> frozenset[str]:
    return frozenset(w for w in key.split() if w not in _SMALL)


def _name(dice: random.Random) -> str:
    return dice.choice(_START) + dice.choice(_MIDDLE) + dice.choice(_END)


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _mistyped(name: str, dice: random.Random) -> str:
    """One letter wrong, missing, doubled or swapped; two in long names."""
    for _ in range(2 if len(fold(name)) >= 14 and dice.random() < 0.4 else 1):
        places = [
            i
            for i in range(1, len(name) - 1)
            if name[i - 1 : i + 2].isalpha() and name[i - 1 : i + 2].islower()
        ]
        if not places:
            return name
        i, kind = dice.choice(places), dice.choice(("wrong", "missing", "double", "swap"))
        c = name[i]
        new = {
            "wrong": dice.choice(_NEAR.get(_without_accents(c), "e")),
            "missing": "",
            "double": c + c,
            "swap": c,
        }[kind]
        if kind == "swap" and name[i + 1] != c:
            name = name[:i] + name[i + 1] + c + name[i + 2 :]
        else:
            name = name[:i] + new + name[i + 1 :]
    return name
