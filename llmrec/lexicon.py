"""Lexicon hides how the things a message speaks of are found: the catalogue is the dictionary.

Titles and people come from the catalogue, genres, themes, countries and languages from a table of
words in three languages (``data/lexicon.tsv``), years and running times from a small grammar.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import chain
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import OSA

from llmrec.arrays import Arrays, Keeper, Known, Texts
from llmrec.deixis import find_shown_items
from llmrec.languages import guess_language
from llmrec.people import Credits, People
from llmrec.quantities import find_quantities, flat
from llmrec.smallwords import SmallWords
from llmrec.titles import TitleIndex, Word, fold, words
from llmrec.types import LANGUAGES, Item
from llmrec.wishes import things_of

__all__ = ["STOPWORDS", "Kind", "Lexicon", "Marked", "Span", "Term", "guess_language", "terms"]

Kind = Literal[
    "title",
    "person",
    "genre",
    "keyword",
    "country",
    "language",
    "year",
    "runtime",
    "price",
    "critique",
    "unknown",
]
_LETTER = {
    "title": "t", "person": "p", "keyword": "k", "country": "c", "language": "l",
    "year": "y", "runtime": "d", "price": "m", "unknown": "u",
}  # fmt: skip
STOPWORDS = frozenset(
    """a an the and or but of in on at to for from with without by as is are was were be been it its
    this that these those i me my we us our you your he she him her they them his who what
    which when where how why not no yes do does did done have has had will would can could
    should may just so too very more most less some any all one two up down out off over under
    if then than there here o os um uma uns umas e ou mas de do da dos das em no na nos nas
    por pelo pela para pra pro com sem que se ao aos eu me mim meu minha nos voce ele ela eles
    elas isso isto esse essa este esta aquilo aquele aquela foi era ser ter tem tinha ha muito
    muita mais menos bem ja nao sim so tambem ate quando como onde qual quem tudo nada algo
    alguem y u pero el la los las unos unas del al en con sin por para lo le les su sus mi mis
    tu tus yo nosotros es son fue era ha he hay muy mas ya si tambien solo cuando donde cual
    quien todo algun alguna otro otra film films movie movies filme filmes pelicula peliculas
    peli pelis cinema cine video show watch see good bad new best great love like want need
    something anything nothing please tonight day night time life man men woman women girl boy
    house home world end king heart hello hi oi ola hola bom boa bueno buena quero quiero ver teneis
    assistir gosto amor vida score conte cuenta conta tenes project projeto proyecto trabalha trabaja noite dia homem mulher casa mundo fim rei hombre mujer noche fin
    rey recommend suggest thanks obrigado gracias favor long short old year years ano anos
    hour hours horas minutes minutos thing things coisa coisas cosa cosas encanto gusto mil
    friend friends amigo amiga amigos kids hijos filhos mom dad madre padre mae pai real star disney pixar marvel netflix preciosa preciosas perdida loved liked hated enjoyed saw seen next else another ever never ask after before
    newer older shorter longer similar parecido parecida visto vi assisti encanto adorei amei odiei""".split()
)
_SENTENCE_END = re.compile(r"[.!?:;\n\"“”«»(]\s*$")
_TITLE_CUE = re.compile(
    r"(?:\b(?:like|liked|love|loved|loving|enjoyed|hated|hate|saw|seen|watched|rewatched|watch|"
    r"similar to|than|between|and|during|finish|tried|skip|done with|impressed by|obsessed with|as \w+ as|called|titled|film|movie|remake of|sequel to|sequels? of|fan of|besides|except|"
    r"como|tipo|feito|parecid[oa]s? (?:com|a|con|ao)|igual a?o?|estilo|na linha de|no estilo de|"
    r"gostei(?: muito| demais)? d[eoa]|gosto(?: muito)? d[eoa]|curti|curto|adorei|adoro|amei|amo|"
    r"odiei|detestei|vi|assisti|visto|vimos|revi|ver|mesmo clima de|vibe de|clima de|chamado|fa de|"
    r"me gusto|me gusta|me encanto|me encanta|ame|odie|deteste|he visto|llamada|semejante a|"
    r"similar(?:es)? a|al estilo de|en la linea de|onda)\s*)(?:(?:muito|mucho|really|the|o|a|el|la|film|movie|filme|pelicula)\s+)*$"
)
_PERSON_CUE = re.compile(
    r"(?:\bw/\s*|\b(?:with|starring|stars|featuring|by|directed by|director|actor|actress|from|of|"
    r"com|do|da|de|dos|dirigid[oa]s? p(?:or|el[oa])|diretora?|ator|atriz|pel[oa]|estrelado por|"
    r"con|del|dirigida por|directora?|actriz|protagonizad[oa] por|interpretad[oa] por|fan of|fa d[oae]|"
    r"mr|anything|nothing|love|like|adoro|amo|gosto d[oa]|hate|odeio|odio|sem|sin|without)\s+)(?:(?:o|a|el|la|the|great)\s+)*$"
)
_NAME_CUE = re.compile(
    r"\b(?:with|starring|featuring|by|directed by|actor|actress|com|con|dirigid[oa] por|ator|atriz|actriz|"
    r"estrelado por|protagonizad[oa] por|watch after|after)\s+(?:(?:o|a|el|la|the)\s+)?$"
)
_NICKNAMES = {
    "arnie": "schwarzenegger", "leo": "dicaprio", "fernandona": "fernanda montenegro",
    "marty": "scorsese", "ford coppola": "coppola",
}  # fmt: skip
_COMPOUNDS = {
    **dict.fromkeys(("romcom", "romcoms", "rom com", "rom coms"), ("Comedy", "Romance")),
    **dict.fromkeys(
        ("dramedy", "dramedies", "dramedia", "comedia dramatica", "dramatic comedy"),
        ("Comedy", "Drama"),
    ),
    **dict.fromkeys(("terrir", "comedia de terror", "horror comedy"), ("Comedy", "Horror")),
}
_CRITIQUES = {  # comparatives with nothing after them to compare with: the films shown are meant
    "newer": r"newer|too old|(?:muito|demasiado|muy) (?:antig[oa]s?|velh[oa]s?|antigu[oa]s?|viej[oa]s?)|(?:more|mais|mas) (?:recentes?|recent|recientes?|modern[oa]?s?|atua(?:l|is)|actual(?:es)?)|mais nov[oa]s?|mas nuev[oa]s?",
    "older": r"older(?! than (?:he|she|me|him|her|my|i|you|us|they)\\b)|too (?:new|recent|modern)|(?:mais|mas) (?:antig[oa]s?|antigu[oa]s?|velh[oa]s?|viej[oa]s?)",
    "shorter": r"(?:muy|muito|mto|tao|tan) (?:larg|long)[oa]s\\b|shorter|(?<!be )too long|(?<!nao )(?<!ser )(?:long[oa]s?|comprid[oa]s?) demais|(?<!no )demasiado larg[oa]s?|(?:mais|mas) (?:curt(?:inh)?[oa]s?|cort(?:it)?[oa]s?|breves?)|menos (?:long[oa]s?|larg[oa]s?|comprid[oa]s?)|less long",
    "longer": r"longer|(?:mais|mas) (?:long[oa]s?|larg[oa]s?|comprid[oa]s?)",
    "lighter": r"lighter|happier|(?:more|mais|mas) (?:cheerful|lighthearted|alegres?|leves?|liger[oa]s?|fel(?:iz|izes|ices)|livian[oa]s?|upbeat)"
    r"|(?:less|menos) (?:sad|depressing|dark|heavy|violent|scary|intense|gloomy|bleak|triste|pesad[oa]|deprimente|sombri[oa]|violent[oa]|assustador[a]?|tens[oa]|escur[oa]|oscur[oa]|dur[oa]|dramatic[oa]?|dens[oa]|sangrent[oa])s?",
    "cheaper": r"cheaper|less expensive|(?<!not )too (?:expensive|pricey|dear)|(?:mais|mas) (?:barat[oa]s?|economic[oa]s?|em conta)|menos car[oa]s?|car[oa]s? demais|(?:muito|muy|demasiado) car[oa]s?",
    "darker": r"darker|grittier|(?:mais|mas) (?:sombri[oa]s?|pesad[oa]s?|oscur[oa]s?|escur[oa]s?|dens[oa]s?)",
}
_CRITIQUE = re.compile(
    r"\b(?:"
    + "|".join(f"(?P<{k}>{v})" for k, v in _CRITIQUES.items())
    + r")\b(?:\s+(?:than|(?:do )?que|de lo que|que)\s+(?:that|this|these|those|them|it|ess[ea]s?|est[ea]s?|es[oa]s?|isso|aqueles?|a anterior|el anterior|la anterior|the (?:first|last) (?:one)?))?"
)
_LOOKS_AT = {  # the field of Item that a critique compares
    "newer": "year", "older": "year", "shorter": "runtime", "longer": "runtime",
    "lighter": "keywords", "darker": "keywords", "cheaper": "price",
}  # fmt: skip
_CUE_AFTER = re.compile(
    r"\s*[,:]?\s*(?:ya (?:l[ao]s? )?(?:vi|he)|l[ao] (?:vi|he visto)|(?:eu |a gente |ele )?ja (?:vi|viu|assist)|(?:i|we)(?:'ve| have)? (?:already )?(?:seen|saw|watched|loved|hated)|eu (?:amo|detesto|adoro|odeio|ja|vi|achei)|me (?:encant|gust|flip|fascin|aburr|pareci)|vist[oa])"
)
_SPOKEN = re.compile(
    r"\b(?:fal\w+|habl\w+|spoken|speak\w*|idiomas?|linguas?|lenguas?|languages?|dialog\w*|audio|learning|"
    r"aprend\w+|entend\w+|ouv\w+|oir|oye|escuch\w+)(?:\s+(?:o|el|em|en|in|is|e|es|seja|sea|original|so|apenas|solo|"
    r"only|um|un|pouco|poco|mesmo|mismo)){0,3}\s+$|"
    r"\b(?:speaking|speaks?|spoken in|language (?:isnt|isn't|is not|is|be)|idioma (?:que no sea|nao seja)|hablad[oa]s? en|falad[oa]s? em|"
    r"(?:in|em|en|non-)\s*(?:english|french|spanish|german|italian|ingles|frances|espanol|espanhol|aleman|alemao|italiano) (?:nor|or|and|nem|ou|e|ni|o|y)(?: in| em| en)?|doblad[oa] al?|dublad[oa] em)\s+$"
)
_LISTED = re.compile(r"\s*(?:,|&|\+|/)?\s*(?:and|or|e|ou|y|o|u)?\s*")
_QUOTED = re.compile(r"[\"“”«»]([^\"“”«»\n]{1,80})[\"“”«»]|(?<!\w)['‘]([^'‘’\n]{2,80})['’](?!\w)")
_LATIN = frozenset(
    """latin american|latino american|latino americano|latino americana|latino americanos|latino americanas|latinoamericano|
    latinoamericana|latinoamericanos|latinoamericanas|latin america|america latina|latino|latinos""".replace(
        "\n    ", ""
    ).split("|")
)
_LATIN_AMERICA = (
    "Argentina", "Bolivia", "Brazil", "Chile", "Colombia", "Costa Rica", "Cuba", "Dominican Republic",
    "Ecuador", "El Salvador", "Guatemala", "Honduras", "Mexico", "Nicaragua", "Panama", "Paraguay",
    "Peru", "Puerto Rico", "Uruguay", "Venezuela",
)  # fmt: skip
_FACTS = frozenset(
    {
        "year",
        "runtime",
        "price",
        "genres",
        "directors",
        "cast",
        "keywords",
        "countries",
        "languages",
    }
)
_GATHERED = ("genres", "directors", "cast", "popularity", "description", "descriptions")
NEAR = 60  # characters that a cue may be away
MAX_FUZZY_NAMES = 200_000


@dataclass(frozen=True)
class Term:
    """A row of the word table: what the catalogue calls it, and words for it in one language."""

    kind: Kind
    name: str
    language: str
    words: tuple[str, ...]


@cache
def terms() -> tuple[Term, ...]:
    """The word table ``data/lexicon.tsv``."""
    text = resources.files("llmrec").joinpath("data/lexicon.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(
        Term(kind, name, language, tuple(w.strip() for w in forms.split(";") if w.strip()))  # type: ignore[arg-type]
        for kind, name, language, forms in rows
    )


@dataclass(frozen=True)
class Span:
    """Something a message names.

    Attributes
    ----------
    start, end: character offsets in the message.
    values: item ids for a title, names as the catalogue writes them, the words themselves for
        ``unknown``; of several any may be meant. Empty for years, running times and prices.
    low, high: bounds of a year, running time or price, inclusive.
    mark: what stands for it in the marked text.
    pointed: whether the message points at items on display instead of naming one.
    """

    start: int
    end: int
    kind: Kind
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    mark: str = ""
    pointed: bool = False


@dataclass(frozen=True)
class Marked:
    """A message with its spans, and the text in which marks stand for them."""

    message: str
    spans: tuple[Span, ...]
    text: str


class Titled(Keeper, Protocol):
    """A Catalog, as far as a Lexicon needs to know one."""

    @property
    def ids(self) -> Sequence[str]:
        """The ids by row."""

    @property
    def title_index(self) -> TitleIndex:
        """The names of the items."""

    @property
    def known(self) -> Mapping[str, float]:
        """Share of the items that have each field."""


class Lexicon:
    """Finds what a message names.

    Parameters
    ----------
    items: the catalogue.
    this_year: what "recent" counts from.

    Attributes
    ----------
    known: the fields of Item that at least one item has.
    things: what the catalogue holds.
    """

    def __init__(self, items: Iterable[Item], *, this_year: int) -> None:
        own = list(items)
        names = [i.all_titles for i in own]
        index = TitleIndex(names, [i.year for i in own], [i.popularity for i in own])
        columns = {name: [getattr(i, name) for i in own] for name in _GATHERED}
        have = {f: sum(getattr(i, f) not in (None, ()) for i in own) for f in _FACTS}
        known = {name: n / len(own) for name, n in have.items() if n}
        self._take([i.id for i in own], index, _gathered([columns]), known, this_year)

    @classmethod
    def of(cls, catalog: Titled, *, this_year: int) -> Lexicon:
        """The lexicon of a catalogue, which keeps what takes long to gather."""
        arrays = catalog.kept("lexicon-1", lambda: _gathered(catalog.columns(_GATHERED)))
        known = {name: share for name in _FACTS if (share := catalog.known[name])}
        made = cls.__new__(cls)
        made._take(catalog.ids, catalog.title_index, arrays, known, this_year)
        return made

    def _take(
        self,
        ids: Sequence[str],
        titles: TitleIndex,
        arrays: Arrays,
        known: Mapping[str, float],
        this_year: int,
    ) -> None:
        self.this_year = this_year
        self.known, self.things = frozenset(known), things_of(known)
        self._ids, self._titles, self._people = ids, titles, People(arrays)
        self._described = Known(arrays["common"])
        self._terms: dict[str, tuple[Kind, str]] = {}
        self._own_terms: dict[str, dict[str, tuple[Kind, str]]] = {k: {} for k in LANGUAGES}
        for term in terms():
            for form in term.words:
                self._terms.setdefault(fold(form), (term.kind, term.name))
                self._own_terms[term.language].setdefault(fold(form), (term.kind, term.name))
        genres = Texts(arrays["genres"], arrays["genre_ends"])
        self._respell(dict(zip(genres, arrays["genre_counts"].tolist(), strict=True)))
        self._max_term = max((k.count(" ") + 1 for k in self._terms), default=1)
        self._fuzzy_terms = [
            k
            for k, (kind, _) in self._terms.items()
            if " " not in k and len(k) > (4 if kind == "genre" else 5) and kind == "genre"
        ]

    def _respell(self, genres: Mapping[str, int]) -> None:
        """Call genres as the catalogue does, and know those that the word table lacks.

        genres: the catalogue's, and how many items have each.
        """
        spelt: dict[str, str] = {}
        for name in sorted(genres, key=lambda g: genres[g]):
            spelt[fold(name)] = name  # the commonest spelling stays
        own: dict[str, str] = {}
        for form, (kind, name) in self._terms.items():
            here = spelt.get(form, "")
            themes = kind == "keyword" and "keywords" not in self.known
            commoner = bool(here) and genres[here] > genres.get(own.get(name, name), 0)
            if commoner and (kind == "genre" or themes):
                own[name] = here
        for table in (self._terms, *self._own_terms.values()):
            for form, (kind, name) in list(table.items()):
                if name in own and kind in ("genre", "keyword"):
                    table[form] = "genre", own[name]
        for form, name in spelt.items():
            self._terms.setdefault(form, ("genre", name))

    def _common(self, word: str) -> bool:
        """Whether a folded word says nothing by itself, or descriptions use it in small letters."""
        return word in STOPWORDS or word in self._described

    # -- finding ------------------------------------------------------------------------------

    def mark(self, message: str, shown: tuple[str, ...] = ()) -> Marked:
        """Find the spans of ``message`` and put marks in their places.

        Parameters
        ----------
        shown: ids of the items on display, which "the second one" or "both" speak of.

        Returns
        -------
        Marked: ``text`` holds ``[t1]`` for the first title, ``[p1]`` a person, ``#horror`` a
        genre, ``~newer`` a critique of what was shown, ``[y1]`` years, ``[d1]`` a running time, ``[m1]`` a price, ``[c1]`` a country, ``[l1]`` a language,
        ``[k1]`` a theme, ``[u1]`` a name that the catalogue does not know.
        """
        spans = sorted(self._find(message, shown), key=lambda s: s.start)
        counts: Counter[str] = Counter()
        marked: list[Span] = []
        parts: list[str] = []
        at = 0
        for s in spans:
            if s.kind in ("genre", "critique"):
                mark = ("#" if s.kind == "genre" else "~") + s.values[0].lower()
            else:
                letter = _LETTER[s.kind]
                counts[letter] += 1
                mark = f"[{letter}{counts[letter]}]"
            marked.append(replace(s, mark=mark))
            parts += [message[at : s.start], mark]
            at = s.end
        return Marked(message, tuple(marked), "".join([*parts, message[at:]]))

    def _find(self, message: str, shown: tuple[str, ...]) -> list[Span]:
        plain = flat(message)
        ws = words(message)
        quoted = self._quoted(message)
        quantities = find_quantities(message, self.this_year, self.known)
        critiques = [m for m in _CRITIQUE.finditer(plain) if self._compares(str(m.lastgroup))]
        if self.things == "products":  # a long cable, an old clock
            quantities = [q for q in quantities if not q.vague]
        claims: list[tuple[float, Span]] = [(100.0, s) for s in quoted]
        claims += [
            (50.0, Span(start, end, "title", ids, pointed=True))
            for start, end, ids in find_shown_items(plain, shown)
        ]
        claims += [
            (
                2.0 * len(words(message[q.start : q.end])) + 0.4,
                Span(q.start, q.end, q.kind, (), q.low, q.high),
            )
            for q in quantities
        ]
        claims += [
            (
                2.0 * len(words(message[m.start() : m.end()])) + 0.5,
                Span(m.start(), m.end(), "critique", (str(m.lastgroup),)),
            )
            for m in critiques
        ]
        claims += [  # and without "than the first one", which may be a span of its own
            (2.3, Span(m.start(), m.end(str(m.lastgroup)), "critique", (str(m.lastgroup),)))
            for m in critiques
        ]
        titles = self._title_claims(message, plain, ws)
        if len(titles) > 1:  # "loved both" is about the films just named
            claims = [(w, c) for w, c in claims if not (c.pointed and len(c.values) > 1)]
        claims += titles
        claims += self._person_claims(message, plain, ws)
        claims += self._term_claims(message, ws)
        if any(q.kind == "year" and not q.vague for q in quantities):  # "more modern, from 2000 on"
            claims = [(w, c) for w, c in claims if c.values not in (("newer",), ("older",))]
        chosen: list[Span] = []
        for _, span in sorted(claims, key=lambda c: (-c[0], c[1].start)):
            if all(span.end <= c.start or span.start >= c.end for c in chosen):
                chosen.append(span)
        return chosen + self._misspelt(message, plain, ws, chosen)

    def is_term(self, word: str) -> bool:
        """Whether a folded word is a genre, a country, a language or a theme."""
        return word in self._terms

    def _compares(self, critique: str) -> bool:
        """Whether a critique is one of such things: "longer" of a cable is not about minutes."""
        if self.things == "films" and critique != "cheaper":
            return True
        return _LOOKS_AT[critique] in self.known

    def _quoted(self, message: str) -> list[Span]:
        found = []
        for m in _QUOTED.finditer(message):
            inner = m[1] or m[2]
            start, end = m.start() + 1, m.end() - 1
            match = self._titles.match(inner)
            if match.row is not None:
                found.append(Span(start, end, "title", (self._ids[match.row],)))
                continue
            person = self._people.index.match(inner)
            if person.row is not None:
                found.append(Span(start, end, "person", (self._people.names[person.row],)))
            elif fold(inner) in self._terms:
                kind, name = self._terms[fold(inner)]
                found.append(Span(start, end, kind, (name,)))
            elif len(words(inner)) <= 8:
                found.append(Span(start, end, "unknown", (inner.strip(),)))
        return found

    def _capitalised(self, message: str, span: Sequence[Word]) -> bool:
        """Whether the words are written as a name is, and not only since a sentence starts."""
        big = [w for w in span if w.key not in STOPWORDS or len(span) == 1]
        if not big or not all(
            message[w.start].isupper() or message[w.start].isdigit() for w in big
        ):
            return False
        starts = span[0].start == 0 or _SENTENCE_END.search(
            message, max(0, span[0].start - 4), span[0].start
        )
        shouting = message.isupper()
        return not shouting and (not starts or sum(message[w.start].isupper() for w in span) > 1)

    def _title_claims(self, message: str, plain: str, ws: list[Word]) -> list[tuple[float, Span]]:
        claims: list[tuple[float, Span]] = []
        at = {w.start: i for i, w in enumerate(ws)}
        for f in self._titles.find(message):
            i = at[f.start]
            span = ws[i : i + f.n_words]
            key = " ".join(w.key for w in span)
            listed = bool(claims) and _LISTED.fullmatch(plain, claims[-1][1].end, f.start)
            cue = bool(
                listed
                or _TITLE_CUE.search(plain, max(0, f.start - NEAR), f.start)
                or _CUE_AFTER.match(plain, f.end)
            )
            capital = self._capitalised(message, span)
            common = all(
                self._common(w.key) or w.key in self._terms or w.key.isdigit() for w in span
            )
            stop = all(w.key in STOPWORDS for w in span)
            term = key in self._terms
            if stop and f.n_words < 4 and not (capital and cue):
                continue
            if common and not stop and not (capital or (cue and f.n_words > 1) or f.n_words > 3):
                continue
            if term and not (cue and capital) and not listed:
                continue
            ordinary = self._people.known_part(key) or len(key) < 5 or not message.islower()
            if f.n_words == 1 and ordinary and not (cue or capital):
                continue  # a word, more likely than a name without its capital
            if not capital and self._titles.loses_article(key):
                continue
            if key.isdigit() and not (
                cue and not re.search(r"\b(?:de|from|in|em|en)\s*$", plain[: f.start])
            ):
                continue
            rows, end = f.rows, f.end
            year = re.match(r"\s*[(\[]\s*((?:19|20)\d\d)\s*[)\]]", message[f.end :])
            if year:
                dated = [r for r in rows if abs((self._titles.years[r] or 0) - int(year[1])) <= 1]
                rows, end = tuple(dated) or rows, f.end + year.end()
            score = 2.0 * f.n_words + (0.6 if cue or capital else 0.1)
            claims.append((score, Span(f.start, end, "title", (self._ids[rows[0]],))))
        return claims

    def _person_claims(self, message: str, plain: str, ws: list[Word]) -> list[tuple[float, Span]]:
        claims = []
        for f in self._people.index.find(message):
            key = fold(message[f.start : f.end])
            if f.n_words == 1 and (self._common(key) or key in self._terms):
                continue
            claims.append(
                (
                    2.0 * f.n_words + 0.5,
                    Span(f.start, f.end, "person", (self._people.names[f.rows[0]],)),
                )
            )
        for n in (2, 1):
            for i in range(len(ws) - n + 1):
                span = ws[i : i + n]
                key = " ".join(w.key for w in span)
                if re.search(r"['’]s$", message[span[-1].start : span[-1].end]):
                    key = key[:-1]  # "Almodóvar's"
                part = _NICKNAMES.get(key, key)
                people = self._people.called(part)
                if not people or len(key) < 3 or key in self._terms or key in STOPWORDS:
                    continue
                start, end = span[0].start, span[-1].end
                cue = bool(_PERSON_CUE.search(plain, max(0, start - NEAR), start))
                capital = message[start].isupper() and not message.isupper()
                inner = self._capitalised(message, span)
                common = n == 1 and self._common(key)
                if common and not (cue and capital):
                    continue
                first_name = n == 1 and fold(people[0]).split()[0] == key
                before = ws[i - 1] if i else None
                if before and message[before.end : start] == " " and before.key not in STOPWORDS:
                    both = f"{before.key} {key}"
                    whole = self._people.index.match(both)  # "Sigourny Weaver"
                    if whole.row is not None and not self._people.known_part(both):
                        person = self._people.names[whole.row]
                        claims.append((4.4, Span(before.start, end, "person", (person,))))
                        continue
                if (
                    before
                    and message[before.end : start] in (" ", "-")
                    and message[before.start].isupper()
                    and (self._people.is_first_name(before.key) or message[start - 1] == "-")
                ):
                    continue  # another person of that name
                surname_follows = (
                    i + 1 < len(ws)
                    and message[end : ws[i + 1].start] == " "
                    and message[ws[i + 1].start].isupper()
                    and ws[i + 1].key not in STOPWORDS
                )
                if first_name and (len(people) > 1 or surname_follows or len(key) < 5):
                    continue
                known = self._people.credit(part) >= 1.0
                alone = key in _NICKNAMES or (message[start].isupper() and self._people.alone(key))
                if first_name and not (known and (cue or alone)):
                    continue
                if first_name and not (message[start].isupper() or self._people.alone(key)):
                    continue
                famous = message[start].isupper() and self._people.credit(part) >= 1.5
                if not (cue or inner or famous or (len(key) >= 6 and not first_name) or n == 2):
                    continue
                claims.append((2.0 * n + 0.2, Span(start, end, "person", people)))
        return claims

    def _term_claims(self, message: str, ws: list[Word]) -> list[tuple[float, Span]]:
        own = self._own_terms[guess_language(message)]
        claims = []
        for n in range(min(self._max_term, len(ws)), 0, -1):
            for i in range(len(ws) - n + 1):
                span = ws[i : i + n]
                key = " ".join(w.key for w in span)
                hit = own.get(key) or self._terms.get(key)
                start, end = span[0].start, span[-1].end
                if key in _COMPOUNDS:
                    claims.append((2.0 * n + 0.3, Span(start, end, "genre", _COMPOUNDS[key])))
                elif key in _LATIN:
                    claims.append((2.0 * n + 0.3, Span(start, end, "country", _LATIN_AMERICA)))
                elif hit:
                    kind, name = hit
                    compound = re.match(r"-(\w+)", message[end:])
                    if (
                        compound
                        and fold(compound[1]) not in self._terms
                        and compound[1] not in ("made", "language", "speaking", "based", "style")
                    ):
                        continue  # "my history-nerd uncle"
                    if kind == "country" and _SPOKEN.search(
                        flat(message[max(0, start - 30) : start])
                    ):
                        spoken = (
                            own.get(f"in {key}") or own.get(f"em {key}") or own.get(f"en {key}")
                        )
                        kind, name = spoken or hit
                    claims.append((2.0 * n + 0.3, Span(start, end, kind, (name,))))
        return claims

    def strangers(self, sentence: str, allowed: Iterable[str]) -> list[str]:
        """Names in a sentence of prose that are none of the ``allowed`` texts, nor part of one.

        Stricter than ``mark``: every title of the catalogue written with capitals counts, and
        every other name inside the sentence that is no person, country, genre or theme.
        """
        known = [f" {fold(a)} " for a in allowed]
        found = []
        for run in _capital_runs(sentence, words(sentence)):
            initial = not sentence[: run[0].start].strip(" \"'“«(*_-")
            for part in (run, run[1:]) if initial and len(run) > 1 else (run,):
                key = " ".join(w.key for w in part)
                if any(f" {key} " in k for k in known):
                    break
            else:
                alone = initial and len(run) == 1
                listed = self._titles.lookup(key) or self._titles.lookup(
                    run[0].key if alone else key
                )
                named = (
                    key in self._terms
                    or self._people.index.lookup(key)
                    or self._people.known_part(key)
                )
                plain = all(self._common(w.key) or w.key in self._terms for w in run)
                if listed or not (alone or named or plain):
                    found.append(sentence[run[0].start : run[-1].end])
        return found

    def _misspelt(self, message: str, plain: str, ws: list[Word], chosen: list[Span]) -> list[Span]:
        """Names and genres that are a letter or two off, in what is left of the message."""
        taken = list(chosen)
        found: list[Span] = []

        def free(start: int, end: int) -> bool:
            return all(end <= c.start or start >= c.end for c in taken)

        def take(span: Span) -> None:
            taken.append(span)
            found.append(span)

        fuzzy_names = len(self._people) <= MAX_FUZZY_NAMES
        for n in (5, 4, 3, 2, 1):
            for i in range(len(ws) - n + 1):
                span = ws[i : i + n]
                start, end = span[0].start, span[-1].end
                key = " ".join(w.key for w in span)
                if len(key) < 5 or not free(start, end):
                    continue
                if span[0].key in STOPWORDS or span[-1].key in STOPWORDS:
                    continue
                if all(self._common(w.key) for w in span):
                    continue
                title_cue = bool(_TITLE_CUE.search(plain, max(0, start - NEAR), start))
                person_cue = bool(_PERSON_CUE.search(plain, max(0, start - NEAR), start))
                capital = self._capitalised(message, span)
                rare = not any(self._common(w.key) or w.key in self._terms for w in span)
                if n == 1 and fuzzy_names and len(key) >= 6 and rare:
                    near = process.extractOne(
                        key,
                        self._people.surnames,
                        scorer=OSA.distance,
                        processor=None,
                        score_cutoff=2,
                    )
                    if (
                        near
                        and near[1] <= (2 if capital and len(key) > 8 else 1)
                        and near[0][0] == key[0]
                    ):
                        take(Span(start, end, "person", self._people.called(near[0])))
                        continue
                if n in (2, 3) and fuzzy_names and (capital or person_cue or rare):
                    person = self._people.index.match(key)
                    if person.row is not None:
                        take(Span(start, end, "person", (self._people.names[person.row],)))
                        continue
                if (title_cue or capital) and len(key) > (6 if n == 1 else 7):
                    title = self._titles.match(key)
                    if title.row is not None and title.score >= 0.89:
                        take(Span(start, end, "title", (self._ids[title.row],)))
        for w in ws:
            if len(w.key) < 5 or not free(w.start, w.end) or self._common(w.key):
                continue
            allowed = 1 if len(w.key) < 9 else 2
            near = process.extractOne(
                w.key,
                self._fuzzy_terms,
                scorer=OSA.distance,
                processor=None,
                score_cutoff=allowed,
            )
            if near and near[0][0] == w.key[0]:
                kind, name = self._terms[near[0]]
                take(Span(w.start, w.end, kind, (name,)))
        return found + self._unknown(message, plain, ws, free)

    def _unknown(
        self, message: str, plain: str, ws: list[Word], free: Callable[[int, int], bool]
    ) -> list[Span]:
        """Names written as names, after words that announce one, which the catalogue lacks."""
        found: list[Span] = []
        for run in _capital_runs(message, ws):
            start, end = run[0].start, run[-1].end
            near = max(0, start - NEAR)
            cue = _TITLE_CUE.search(plain, near, start) or _NAME_CUE.search(plain, near, start)
            rare = any(not self._common(w.key) and w.key not in self._terms for w in run)
            if free(start, end) and cue and rare and not message.isupper():
                found.append(Span(start, end, "unknown", (message[start:end],)))
        return found


def _gathered(columns: Iterable[Mapping[str, Sequence[Any]]]) -> dict[str, npt.NDArray[Any]]:
    """What a Lexicon is made of beside titles, of the ``_GATHERED`` fields of all items."""
    credits, small = Credits(), SmallWords()
    genres: Counter[str] = Counter()
    for some in columns:
        genres.update(chain.from_iterable(some["genres"]))
        credits.add(some["directors"], some["cast"], some["popularity"])
        texts = zip(some["description"], some["descriptions"], strict=True)
        small.add([t for general, own in texts for t in (general, *own.values())])
    named = Texts.of(genres)
    return {
        **credits.arrays(),
        "common": small.repeated(),
        "genres": named.data,
        "genre_ends": named.ends,
        "genre_counts": np.array(list(genres.values()), dtype=np.int64),
    }


def _capital_runs(text: str, ws: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Runs of words written with a capital, small words between two of them included."""
    i = 0
    while i < len(ws):
        j = i
        while j < len(ws) and (
            text[ws[j].start].isupper()
            or (
                j > i
                and j + 1 < len(ws)
                and ws[j].key in STOPWORDS
                and text[ws[j + 1].start].isupper()
            )
        ):
            if j > i and re.search(r"[.!?;,:]", text[ws[j - 1].end : ws[j].start]):
                break
            j += 1
        if j > i:
            yield ws[i:j]
        i = max(j, i + 1)
