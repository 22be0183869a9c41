"""Finding hides which items a question names, however it writes them, and which names nobody knows.

A title is looked for as a run of words: one that is known whole, in any language, counts by how
many telling words it holds; what is left over between the words that only ask is compared letter
by letter. A name that is written as a name and matches nothing is told, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmrec.lexicon import STOPWORDS
from llmrec.questions import asks
from llmrec.titles import Word, words

if TYPE_CHECKING:
    from llmrec.titles import TitleIndex

__all__ = ["Mention", "Named", "find_named", "masked"]

MAX_WORDS = 14
MISSPELT = 8  # words of a title that is looked for letter by letter
QUOTED = re.compile(r"[\"“”«»]([^\"“”«»\n]{1,120})[\"“”«»]|(?<!\w)['‘]([^'‘’\n]{2,120})['’](?!\w)")
YEAR = re.compile(r"[\s,]*(?:(?:from|of|de|do|del|da|in|em|en)\s+)?\(?\b((?:18|19|20)\d\d)\b\)?")
LEVEL = 0.8  # of the letters that must agree where a title is misspelt

# Words that ask, name a field or lead up to a title; titles may hold them, but are not found by
# them alone.
ASKING = STOPWORDS | frozenset(
    """who whom whose what which when where why how does did do is are was were tell know say show
    explain describe description directed director directors direct directs filmed shot made make
    making produced producer produces release released releases came come comes out year date
    runtime running runs run time lasts last duration length minutes minute hours hour long longer
    longest short shorter shortest star stars starring starred actor actors actress actresses cast
    casting play plays played role roles character characters genre genres kind sort type category
    country countries language languages spoken speak rating rated rate score grade price cost costs
    cheap cheaper cheapest expensive dearer old older oldest new newer newest recent first earlier
    earliest later latest film films movie movies picture title titled called named name many much
    number count have has catalogue catalog list one ones both same different compare compared
    versus vs than between about story plot happens happen ends end ending summary synopsis believe
    please could can would you me know happen remember wondering curious question hey hi hello
    exactly really actually also either better worse good popular famous known original based
    whether if true correct sure right isnt wasnt doesnt budget soundtrack music award awards oscar
    oscars box office won win wins earn earned gross streaming stream watch available location
    locations place sequel sequels written writer wrote screenplay composer composed product item
    weigh weight size colour color material warranty battery brand waterproof dishwasher safe
    quem qual quais quando onde porque por quanto quanta quantos quantas como que diga diz dizer
    sabe saber conte contar fala falar explique descreva descricao dirigiu dirige dirigido dirigida
    diretor diretora diretores direcao filmado filmada filmaram rodado rodada gravado feito feita
    produzido produzida lancado lancada lancamento estreou estreia saiu ano data dura duracao tempo
    minutos horas hora longo longa longos curto curta comprido comprida mais menos maior menor ator
    atriz atores elenco atua atuam atuou estrela estrelado participa papel papeis personagem
    protagonista genero generos categoria tipo pais paises origem idioma idiomas lingua linguas
    falado falada nota avaliacao avaliado preco custa custam caro cara barato barata velho velha
    antigo antiga novo nova recente primeiro ultima ultimo filme filmes longa-metragem titulo
    chamado chamada catalogo lista tem ha existem voces voce vc vcs ambos mesmo mesma mesmos
    diferente comparado entre sobre historia enredo acontece trata fala termina final resumo sinopse
    acho favor poderia pode queria gostaria lembra verdade certo mesmo melhor pior popular famoso
    original baseado orcamento trilha sonora musica premio premios oscar bilheteria ganhou ganharam
    disponivel locacao continuacao roteiro roteirista escreveu compos produto artigo pesa peso
    tamanho cor material garantia bateria marca prova agua
    quien quienes cual cuales cuando donde cuanto cuanta cuantos cuantas dime digame decir sabes
    cuentame contar explica describe descripcion dirigio dirigido dirigida director directora
    directores direccion filmo rodo rodada grabada hecha hecho producida producido estreno estrenada
    estrenado salio ano fecha dura duracion tiempo minutos horas larga largo corta corto actor
    actriz actores reparto elenco actua actuan actuo sale salen protagoniza protagonista papel
    papeles personaje genero generos categoria tipo pais paises origen idioma idiomas lengua lenguas
    hablada habla nota puntuacion valoracion valorada precio cuesta cuestan caro cara barato barata
    viejo vieja antigua antiguo nueva nuevo reciente primera ultimo pelicula peliculas peli pelis
    titulo llamada llamado catalogo lista hay tienen tienes ustedes vosotros ambas misma mismo
    distinto comparada entre sobre historia trama argumento pasa ocurre trata va acaba final
    resumen sinopsis creo favor podrias puedes querria gustaria recuerdas verdad cierto mejor peor
    conocida famosa original basada presupuesto banda sonora musica premio premios taquilla gano
    ganaron disponible localizacion secuela guion guionista escribio compuso producto articulo pesa
    peso tamano color material garantia bateria marca resistente agua s
    text texts texto textos dice dicen diz dizem says said come comes aparece aparecen menciona
    mencionado mention mentions mentioned sabemos total altogether store shop loja tienda here aqui
    aca ella ellas ellos ele ela eles elas suyo suya it its give dame me da pode poderia list lista
    clase tipo get got gets score entire whole inteiro entero wonder contar cuenta conte conta
    cuentas correcto cierto razon certeza engano errado wrong mistaken heard oi dizem disseram oi
    dicen lei li read ouvi escuche among dentre compare compara comparar common comum
    comun todos todas todo toda tudo podrias podria poderias decirme dizerme contarme digame saber
    know tell telling possible possivel posible ever sempre siempre ja ya still ainda aun
    other others another way round existem second third
    fourth fifth segundo segunda terceiro terceira tercero tercera primero primeira existen
    collection acervo coleccion database biblioteca library listed registered registrados
    registradas cadastrados cadastradas haya houver hubiera disponeis encontrar achar find found pls
    plz pfv porfa please dating dated coming originally lasting people venida venidas venidos
    traida traidas traidos procedente procedentes vieram vindo vindos vinda vindas feitos feitas
    hechas hechos estrenadas estrenados lancados lancadas trabalha trabaja trabalham trabajan
    trabajo seria serian resto demas rest falam hablan habladas dialogue dialogos dialogo cineasta
    filmmaker acted appear appears aparecem numero number largest selection much oye che manejan
    idea checar check least most ends soonest whats whos hows wheres whens thats decide entre
    between total tv dvd monday tuesday wednesday thursday friday saturday sunday january february
    april june july august september october november december""".split()
)


_BREAKS = frozenset("or and than vs versus ou e y o u que between entre".split())

_IN_A_ROW = re.compile(
    r"\W+(?:\w+\W+){0,2}(?:than|que|do que|de lo que)\W+(?:(?:the|o|a|el|la)\s+)?|"
    r"\W*(?:or|and|vs\.?|versus|than|ou|e|o|y|u|que|do que|de lo que|com|con|with|as|a|al|,)\W*"
    r"(?:(?:the|o|a|os|as|el|la|film|movie|filme|pelicula|película)\s+)*",
    re.IGNORECASE,
)
_ROMAN = "ii iii iv v vi vii viii ix x".split()
_NUMERALS = {str(n): r for n, r in enumerate(_ROMAN, 2)} | {
    r: str(n) for n, r in enumerate(_ROMAN, 2)
}

_UNITS = frozenset(
    """minutes minutos min hours horas hour hora h years anos films filmes peliculas movies stars
    estrelas estrellas pieces pecas piezas ml l kg g cm mm inch""".split()
)
_FIRST_OF = frozenset(
    "is was are has does es e esta fue foi era tem tiene ha dura trata sao son".split()
)
_INITIAL = re.compile(r"(?<!\w)\w\.$")  # of "E.T.", no end of a sentence
_REPLIES = frozenset("yes no sim nao si".split())
_WITHIN_NAMES = frozenset((" ", "-", "- ", " -"))
_ARTICLES = frozenset("the a o os as um uma el la los las un una".split())
_INNER = frozenset("of the de do da dos das del la los las".split())
_LEADING = frozenset(
    """of about film movie called titled in directed directs stars is was did does filme filmes
    do da de no na em sobre chamado titulo dirigiu dura pelicula peli del en llamada dirigio es e
    foi fue the o a el la""".split()
)


@dataclass(frozen=True)
class Mention:
    """A place where a message names an item, or something that is none.

    Attributes
    ----------
    start, end: character offsets. text: the words there, a year behind them left out.
    rows: the items that go by that name, the likeliest first; empty for a name nobody knows.
    score: 0 to 1, how much of the name's letters agree.
    sure: whether the name tells something by itself, or is only taken for want of a better one.
    """

    start: int
    end: int
    text: str
    rows: tuple[int, ...]
    score: float = 1.0
    sure: bool = True


@dataclass(frozen=True)
class Named:
    """What a message names: known items, and names that match nothing, in text order."""

    known: tuple[Mention, ...] = ()
    unknown: tuple[Mention, ...] = ()


def masked(message: str, named: Named) -> str:
    """The message with ``[t1]``, ``[t2]`` ... in the place of titles, known or not."""
    parts, at = [], 0
    mentions = sorted((*named.known, *named.unknown), key=lambda m: m.start)
    for n, m in enumerate(mentions, 1):
        parts += [message[at : m.start], f"[t{n}]"]
        at = m.end
    return "".join([*parts, message[at:]])


def find_named(
    message: str,
    index: TitleIndex,
    others: Sequence[tuple[int, int]] = (),
    terms: Sequence[tuple[int, int]] = (),
) -> Named:
    """The items that ``message`` names.

    Parameters
    ----------
    index: the titles of the catalogue.
    others: where the message names something else, such as people: no title is guessed there.
    terms: where it has the words of genres, countries and the like, which are no misspelt titles.
    """
    return _Search(message, index, others, terms).result()


class _Search:
    def __init__(
        self,
        message: str,
        index: TitleIndex,
        others: Sequence[tuple[int, int]],
        terms: Sequence[tuple[int, int]],
    ) -> None:
        self.message, self.index = message, index
        self.others, self.terms = (*others, *terms), terms
        self.words = words(message)
        self.free = [True] * len(self.words)
        self.known: list[Mention] = []
        self.unknown: list[Mention] = []

    def result(self) -> Named:
        self._quoted()
        self._titles()
        self._names()
        if not self.unknown:
            self._weak()
        known = sorted(self.known, key=lambda m: m.start)
        unknown = sorted(self.unknown, key=lambda m: m.start)
        if any(self._capitals(u) > 1 for u in unknown) and not any(map(self._capitals, known)):
            known = []  # "The Barometer Who Sold Sundimvik at seven": not Seven
        if any(self._quoted_at(m) for m in known):  # "a summary of “Jackie”, no spoilers"
            known = [m for m in known if self._stands(m) or self._in_a_row_of(m, known)]
        if known:  # other names are what is asked about, unless they stand in a row with a title
            unknown = [u for u in unknown if any(self._in_a_row(u, k) for k in known)]
        return Named(tuple(known), tuple(unknown))

    # -- the ways a name is found, the surest first -------------------------------------------

    def _quoted(self) -> None:
        for m in QUOTED.finditer(self.message):
            text = (m[1] or m[2]).strip()
            inside = [i for i, w in enumerate(self.words) if m.start() <= w.start < m.end()]
            if inside and all(self.free[i] for i in inside):
                rows, score = self._matched(text)
                self._take(inside[0], inside[-1] + 1, rows, score, span=(*m.span(), text))

    def _titles(self) -> None:
        """Runs of words that are a title, or nearly: those with the most telling words first."""
        found = [
            (self._weight(self.words[i:j]), j - i, i, rows, 1.0)
            for i, j in self._runs()
            if (rows := self._lookup(self.words[i:j])) and not self._part_of_a_name(i, j)
        ]
        found = [f for f in found if f[0] >= 1]
        told = {k for _, n, i, _, _ in found for k in range(i, i + n)}
        if any(self._telling(k) and k not in told for k in range(len(self.words))):
            found += [f for f in self._misspelt() if f[0] >= 1]
        for _, n, i, rows, score in sorted(
            found,
            key=lambda f: (not self._other(f[2], f[2] + f[1]), f[0] * f[4], f[1], -f[2]),
            reverse=True,
        ):
            if self._inside_another(i, i + n):
                continue
            if all(self.free[i : i + n]) and not self._ordinary(i, i + n):
                if self._part_follows(i + n):
                    self._take(i, i + n + 1, self._part(i, i + n), 1.0)
                    continue
                dated = self._dated(rows, self.words[i + n - 1].end)
                other = n < 3 and not dated and self._other(i, i + n)
                if score < 1.0 and n < 3 and self._within(self.terms, i, i + n):
                    continue  # a genre is no slip of the pen
                weak = other or self._small(i, i + n)
                if not (weak and self.known) or self._beside_a_title(i, i + n):
                    self._take(i, i + n, rows, score, sure=not other)

    def _names(self) -> None:
        """What is written as a name between the words that only ask, and that nobody knows."""
        elsewhere = [self._within(self.others, k, k + 1) for k in range(len(self.words))]
        for i, j in self._remains(across=True):
            self._slip(i, j)
        for i, j in self._remains():
            if not all(self.free[i:j]):
                continue
            if name := self._name(i, j):
                if self._slip(*name):
                    continue
                if any(not elsewhere[k] and self._telling(k) for k in range(*name)):
                    self._take(*name, (), 0.0)

    def _weak(self) -> None:
        """A title of asking words alone ("Her", "Up"): the one written as a name, else the last."""
        found = []
        for i, j in self._runs():
            run = self.words[i:j]
            number = len(run) == 1 and run[0].key.isdigit()
            if number and len(run[0].key) < 3 and self._within(self.others, i, j):
                continue  # "the 30s"
            if any(w.key not in ASKING and not w.key.isdigit() for w in run):
                continue
            if not all(self.free[i:j]):
                continue
            if i and len(run) == 1 and run[0].key in _REPLIES and not self._upper(run[0]):
                continue  # "¿sí o no?"
            if rows := self._lookup(run):
                capital = number or (i > 0 and self._upper(run[0]) and self._upper(run[-1]))
                if i or capital or len(self.words) < 4:
                    found.append((capital, j - i, i, j, rows))
        found = [f for f in found if not self._leads_on(f[3])]
        found = [f for f in found if f[0] or self._in_title_place(f[2], f[3])]
        found = [f for f in found if f[0] or f[1] > 1 or self._ends_or_joins(f[2], f[3])]
        if found:
            for capital, _, i, j, rows in sorted(found, key=lambda f: f[:3], reverse=True):
                if not self.known or self._beside_a_title(i, j):
                    dated = all(w.key.isdigit() for w in self.words[i:j])
                    self._take(i, j, rows, 1.0, sure=capital and not dated)

    def _capitals(self, mention: Mention) -> int:
        """How many words of a mention are written as names are; any in quotation marks."""
        return self._quoted_at(mention) or sum(
            self._upper(w) for w in self.words if mention.start <= w.start < mention.end
        )

    def _stands(self, mention: Mention) -> bool:
        """Whether a mention is more than a single word in small letters."""
        return bool(self._capitals(mention)) or " " in mention.text

    def _quoted_at(self, mention: Mention) -> bool:
        return self.message[mention.start] in "\"“«'‘"

    def _in_a_row_of(self, mention: Mention, others: Sequence[Mention]) -> bool:
        return any(m is not mention and self._in_a_row(mention, m) for m in others)

    def _in_a_row(self, a: Mention, b: Mention) -> bool:
        first, second = sorted((a, b), key=lambda m: m.start)
        return bool(_IN_A_ROW.fullmatch(self.message[first.end : second.start]))

    # -- parts --------------------------------------------------------------------------------

    def _runs(self) -> Iterator[tuple[int, int]]:
        for i in range(len(self.words)):
            for j in range(i + 1, min(i + MAX_WORDS, len(self.words)) + 1):
                if not self.free[j - 1]:
                    break
                yield i, j

    def _dated(self, rows: Sequence[int], end: int) -> bool:
        """Whether a year behind a title is about that of an item so named."""
        said = YEAR.match(self.message, end)
        return said is not None and any(
            abs((self.index.years[r] or 0) - int(said[1])) <= 1 for r in rows
        )

    def _lookup(self, run: Sequence[Word]) -> tuple[int, ...]:
        """The rows of a title; a number counts in both ways of writing: Part 2 and Part II."""
        keys = [w.key for w in run]
        rows = self.index.lookup(" ".join(keys))
        if not rows and len(keys) > 1:
            other = [_NUMERALS.get(k, k) for k in keys]
            rows = self.index.lookup(" ".join(other)) if other != keys else ()
        return rows

    def _ordinary(self, i: int, j: int) -> bool:
        """Whether a run is a single telling word that seems to be no title here."""
        telling = [k for k in range(i, j) if self.words[k].key not in ASKING]
        if len(telling) != 1 or j - i > 2 or self._shouts():
            return False
        if self._in_title_place(i, j):
            return False
        return self._other(i, j) or not self._upper(self.words[telling[0]])

    def _other(self, i: int, j: int) -> bool:
        """Whether a run is something else as well: Brazil the country."""
        told = [w for w in self.words[i:j] if w.key not in STOPWORDS] or self.words[i:j]
        first, last = told[0], told[-1]
        return any(start <= first.start and last.end <= end for start, end in self.others)

    def _inside_another(self, i: int, j: int) -> bool:
        """Whether a run is a part of something longer that is no title: Love in Montagu Love."""
        start, end = self.words[i].start, self.words[j - 1].end
        return any(
            s <= start and end <= e and any(s <= w.start < e for w in self._told_beside(i, j))
            for s, e in self.others
        )

    def _told_beside(self, i: int, j: int) -> list[Word]:
        beside = [*self.words[max(i - 3, 0) : i], *self.words[j : j + 3]]
        return [w for w in beside if w.key not in ASKING and not w.key.isdigit()]

    def _within(self, spans: Sequence[tuple[int, int]], i: int, j: int) -> bool:
        """Whether one of the spans covers all that a run tells."""
        telling = [k for k in range(i, j) if self.words[k].key not in ASKING] or [i, j - 1]
        first, last = self.words[telling[0]], self.words[telling[-1]]
        return any(start <= first.start and last.end <= end for start, end in spans)

    def _part_follows(self, j: int) -> bool:
        """Whether the next word is the number of a part: "Toy Story 2"."""
        if j >= len(self.words) or not self.free[j] or self._between(j - 1).strip():
            return False
        number = self.words[j].key
        after = self.words[j + 1].key if j + 1 < len(self.words) else ""
        return (number in _NUMERALS and number not in ("v", "x")) and after not in _UNITS

    def _part(self, i: int, j: int) -> tuple[int, ...]:
        """The part of a title that the number behind it asks for; none if there is none."""
        title = " ".join(w.key for w in self.words[i:j])
        number = self.words[j].key
        for n in (number, _NUMERALS[number]):
            for between in (
                " ",
                " part ",
                " parte ",
                " volume ",
                " vol ",
                " chapter ",
                " capitulo ",
            ):
                if rows := self.index.lookup(f"{title}{between}{n}"):
                    return rows
        return ()

    def _beside_a_title(self, i: int, j: int) -> bool:
        """Whether a run stands in a row with a title: "A or B"."""
        start, end = self.words[i].start, self.words[j - 1].end
        here = Mention(start, end, "", ())
        return any(self._in_a_row(here, m) for m in self.known)

    def _small(self, i: int, j: int) -> bool:
        """Whether a single word in lower case stands where titles were written as names."""
        word = self.words[i]
        named = any(self.message[m.start].isupper() for m in self.known)
        return j - i == 1 and named and not self._upper(word)

    def _ends_or_joins(self, i: int, j: int) -> bool:
        """Whether a run stands at the end, or in a row of others ("up or her")."""
        return j == len(self.words) or self.words[j].key in _BREAKS

    def _leads_on(self, j: int) -> bool:
        """Whether a telling word follows at once: "El coleccionista" is not "El"."""
        return j < len(self.words) and self._telling(j) and not self._between(j - 1).strip()

    def _in_title_place(self, i: int, j: int) -> bool:
        """Whether a run stands where questions name what they ask about."""
        if j == len(self.words) or len(self.words) < 4 or self._between(j - 1).strip(" '’"):
            return True
        key = self.words[j].key
        if i == 0 and (
            key in _FIRST_OF or (key in ASKING and (j - i > 1 or not self._other(i, j)))
        ):
            return True
        before = self.words[i - 1].key if i else ""
        return self.words[j].key in _BREAKS or before in _LEADING or before in _BREAKS

    def _weight(self, run: Sequence[Word]) -> float:
        telling = [w for w in run if w.key not in ASKING and not w.key.isdigit()]
        if telling:
            return len(telling) + 0.1 * (len(run) - len(telling))
        if len(run) > 3:
            return 1.0  # "All the Women in the World"
        # "12 Angry Men" tells something, "2012" and "The Film" do not unless written as names.
        capital = len(run) > 1 and all(self._upper(w) for w in (run[0], run[-1]))
        return 1.0 if capital and run[0] is not self.words[0] else 0.0

    def _upper(self, word: Word) -> bool:
        return self.message[word.start].isupper()

    def _shouts(self) -> bool:
        return self.message.isupper()

    def _part_of_a_name(self, i: int, j: int) -> bool:
        """Whether words right beside belong to the same written name: Rojo in Diablo Rojo PTY."""
        first = next((k for k in range(i, j) if self._telling(k)), i)
        if self._shouts() or not self._upper(self.words[first]):
            return False
        after = j
        while after < len(self.words) and after - j < 3 and self.words[after].key in _INNER:
            after += 1
        if j < after < len(self.words) and self._telling(after) and self._upper(self.words[after]):
            of_title = not self._within(self.others, after, after + 1)
            if (
                of_title
                and not self._between(after - 1).strip()
                and not self._between(j - 1).strip()
            ):
                return True
        return any(
            0 <= other < len(self.words)
            and self._telling(other)
            and self._upper(self.words[other])
            and not self._within(self.terms, other, other + 1)
            and self._between(min(other, own)) in _WITHIN_NAMES
            for other, own in ((i - 1, i), (j, j - 1))
            if other > i or j - i == 1 or not self._opens(other)  # "Surely Cell 211"
        )

    def _between(self, i: int) -> str:
        """What stands between a word and the next."""
        return self.message[self.words[i].end : self.words[i + 1].start]

    def _remains(self, *, across: bool = False) -> list[tuple[int, int]]:
        """Runs of free words that begin and end with a telling one, small words between allowed.

        across: also words that join two titles ("Indiana Jones and the last crusade").
        """
        runs: list[tuple[int, int]] = []
        i = 0
        while i < len(self.words):
            if not self._telling(i):
                i += 1
                continue
            j, last = i + 1, i + 1
            while j < len(self.words) and self.free[j] and j - last <= 3 and self._joined(j):
                if self._telling(j):
                    last = j + 1
                elif self.words[j].key in _BREAKS and not across:
                    break
                j += 1
            runs.append((i, last))
            i = last
        return runs

    def _telling(self, i: int) -> bool:
        key = self.words[i].key
        asking = key in ASKING or (self._opens(i) and asks(key))
        return self.free[i] and not asking

    def _joined(self, i: int) -> bool:
        return not re.search(r"[?!;,\n]|\.\s|\s[-–—]\s", self._between(i - 1))

    def _misspelt(self) -> list[tuple[float, int, int, tuple[int, ...], float]]:
        """Runs that come near a title: weight, length, beginning, rows, share of letters right."""
        spans = [
            (i, j)
            for i, j in self._runs()
            if j - i <= MISSPELT and self._may_be_misspelt(self.words[i:j], i)
            if j - i > 2 or j - i == 1 or self._joined(j - 1)
        ]
        keys = [" ".join(w.key for w in self.words[i:j]) for i, j in spans]
        return [
            (int(self._weight(self.words[i:j])), j - i, i, (match.row,), match.score)
            for (i, j), match in zip(spans, self.index.match_many(keys), strict=True)
            if match.row is not None and match.tier == "fuzzy" and match.score >= LEVEL
        ]

    def _slip(self, i: int, j: int) -> bool:
        """Take a run that is some slips of the pen away from one title."""
        if not self._upper(self.words[i]):
            while i < j and asks(self.words[i].key):
                i += 1
            while i < j and asks(self.words[j - 1].key):
                j -= 1
            if sum(map(self._telling, range(i, j))) < 2:
                return False
            i -= bool(i) and self.free[i - 1] and self.words[i - 1].key in _ARTICLES
        while i > 1 and self.free[i - 1] and self._upper(self.words[i - 1]) and self._joined(i):
            i -= 1  # "I Saw the Deovl"
        text = self.message[self.words[i].start : self.words[j - 1].end]
        match = self.index.nearest(text) if len(text) > 6 else None
        if match is None or match.row is None:
            return False
        self._take(i, j, (match.row,), match.score)
        return True

    def _may_be_misspelt(self, run: Sequence[Word], i: int) -> bool:
        telling = [w for w in run if w.key not in ASKING]
        if not telling or sum(len(w.key) for w in run) < 6:
            return False
        if self._upper(telling[0]) and self._part_of_a_name(i, i + len(run)):
            return False
        j = i + len(run)
        at_the_end = j == len(self.words) or bool(self._between(j - 1).strip())
        if len(telling) == 1 and not (self._upper(run[0]) or at_the_end):
            return False
        return len(run) > 1 or self._upper(run[0]) or len(run[0].key) > 7

    def _name(self, i: int, j: int) -> tuple[int, int] | None:
        """The longest part of a run that is written as a name: capitals that open no sentence."""
        if self._shouts():
            return None
        best: tuple[int, int] | None = None
        while i < j:
            end = last = i
            while end < j and (
                self._upper(self.words[end])
                or self.words[end].key.isdigit()
                or (end > i and not self._telling(end))
            ):
                end += 1
                last = end if self._upper(self.words[end - 1]) else last
            named = last > i and (last - i > 1 or not self._opens(i))
            if named and (not best or last - i > best[1] - best[0]):
                best = i, last
            i = max(end, i + 1)
        return best

    def _opens(self, i: int) -> bool:
        """Whether a word begins a sentence, where a capital says nothing."""
        if not self._upper(self.words[i]):
            return False
        before = self.message[: self.words[i].start].rstrip()
        if _INITIAL.search(before):
            return False
        return not before or before[-1] in ".!?¿¡…\n("

    def _matched(self, text: str) -> tuple[tuple[int, ...], float]:
        match = self.index.match(text)
        if match.row is None:
            return (), 0.0
        if match.tier == "fuzzy":
            return (match.row,), match.score
        same = self.index.lookup(text)
        return tuple(dict.fromkeys((match.row, *same))), 1.0

    def _take(
        self,
        i: int,
        j: int,
        rows: Sequence[int],
        score: float,
        *,
        sure: bool = True,
        span: tuple[int, int, str] | None = None,
    ) -> None:
        while i and len(self.words[i].key) == 1 and self._between(i - 1) == ".":
            i -= 1  # "E.T."
        start, end, text = span or (
            self.words[i].start,
            self.words[j - 1].end,
            self.message[self.words[i].start : self.words[j - 1].end],
        )
        rows = tuple(rows)
        if _INITIAL.search(self.message[: end + 1]) and not span:
            end += 1
            text = self.message[start:end]
        if rows and (year := YEAR.match(self.message, end)):
            near = [r for r in rows if abs((self.index.years[r] or 0) - int(year[1])) <= 1]
            apart = "(" in year[0] or year[0].lstrip().startswith(",")
            if apart or (near and len({self.index.years[r] for r in rows}) > 1):
                rows, end = tuple(near), year.end()
                text = text if near else self.message[start:end]
        if rows and self.message[end : end + 1] in "?!" and self.message[end + 1 :].strip(" ?!"):
            end += 1  # of the title: "Who's Afraid of Virginia Woolf?"
        for k, w in enumerate(self.words):
            if start <= w.start < end:
                self.free[k] = False
        to = self.known if rows else self.unknown
        to.append(Mention(start, end, text, rows, score, sure))
