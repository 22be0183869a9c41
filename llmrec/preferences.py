"""Understander hides how a conversation becomes Preferences: lexicon, rules and model together.

Every message of the user is marked by the lexicon and read by the rules; a model is asked for what
they leave open, or for everything where it is the better of the two. Then the readings are folded
over the turns: later ones add to, correct or replace earlier ones.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from llmrec.cues import Reading, read_cues
from llmrec.errors import InputError, SchemaError
from llmrec.lexicon import STOPWORDS, Lexicon, Marked, Span, guess_language
from llmrec.prompting import (
    Detail,
    parse_understanding,
    understanding_prompt,
    understanding_schema,
)
from llmrec.titles import words
from llmrec.types import Conversation, Item, Message, Preferences

if TYPE_CHECKING:
    from llmrec.models.base import LanguageModel

__all__ = ["LIGHTER_OUT", "Lead", "Understander", "Understood", "language_of", "with_plurals"]

Lead = Literal["rules", "model", "rules-only", "model-only"]
LIGHTER_OUT = ("dark", "sad", "violent")
ANSWER_TOKENS = 160
MAX_TEXT_WORDS = 20
MAX_SPANS = 12
MAX_ASKED = 900  # characters

_CHAT_WORDS = frozenset(
    """recommend recommendation recommendations suggest suggestion suggestions movie movies film
    films flick flicks watch watching watched tonight today tomorrow weekend please thanks
    thank hey hello hi want wanna like love looking find give show tell good great nice best
    really something anything someone people friend friends wife husband girlfriend boyfriend
    kids mom dad family time night day think know feel mood kind type lot maybe also still
    much many made got get going let one ones indica indique indicar indicacao recomenda
    recomende recomendar recomendacao sugere sugira sugestao filme filmes filminho assistir
    ver hoje noite amanha fim semana favor obrigado obrigada valeu oi ola quero queria
    gostaria gosto gostei adoro procuro procurando preciso bom boa bons boas legal bacana
    coisa algo alguem amigo amigos amiga namorada namorado esposa marido filhos mae pai
    familia gente acho sei sinto tipo estilo pode poderia dar tenho tem ter seja sejam ser
    fosse lancado lancados recomienda recomiendame recomendar recomiendas sugiere sugerencia
    pelicula peliculas peli pelis quiero quisiera busco buscando necesito gusta gustan encanta
    encantan bueno buena buenos buenas cosa alguien amigo amigos amiga novia novio esposa
    marido hijos madre padre familia gente creo siento puede podria puedes tengo tiene sea
    sean fuera esta noche manana finde porfa vale hola gracias mejor favorito favorita
    favoritos favorite favourite directed director dirigido dirigida starring actor actress
    ator atriz actriz protagonizada scene cinema cine titulo title ano year minutos minutes
    horas hours duracao duracion runtime long short""".split()
)


_THINGS = frozenset(
    """book books novel novels livro livros libro libros novela novelas game games jogo jogos juego
    juegos videogame videojuego album albums albuns albumes record records disco discos title
    titles titulo titulos""".split()
)
_SHOP_WORDS = frozenset(
    """recommend recommendation suggest suggestion please thanks thank hey hello want wants wanted
    wanna like likes liked love loves looking find give show tell need needs would could should
    something anything someone really think know mood kind type maybe also still going get got let
    buy purchase shop shopping store product products item items article price prices priced cost
    costs cheap cheaper inexpensive affordable expensive budget spend pay money currency more less
    another other others different instead years year old
    indica indique indicar recomenda recomende recomendar recomendacao sugere sugira sugestao favor
    obrigado obrigada valeu oi ola quero queria gostaria gosta gostam gosto adora adoro procuro
    procurando preciso precisa algo alguem sei acho pode poderia dar tenho tem ter seja sejam ser
    fosse comprar compra loja produto produtos artigo artigos preco precos custe custa barato
    barata baratos baratas economico caro dinheiro gastar pagar mostra mostre outro outra
    outros outras
    recomienda recomiendame recomendar recomiendas sugiere sugerencia quiero quisiera busco buscando
    necesito necesita gusta gustan encanta encantan adora alguien creo puede podria puedes tengo
    tiene sea sean porfa vale hola gracias tienda producto productos articulo articulos precio
    precios cueste cuesta economico dinero muestra muestrame otro otra otros otras
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen dez
    onze doze treze dois duas tres quatro cinco seis sete oito nove diez once doce trece cuatro
    siete ocho nueve first second third already limit matter matters doesnt dont isnt limite importa
    importe igual un una guste gusten goste gostem minha minhas meus nossa nosso nuestra nuestro
    suyo seu sua anos am about cheapest""".split()
)
_NAMING = frozenset(  # stopwords of films that tell products apart
    """home house kids men women man woman girl boy mujer hombre mulher homem noche noite night casa
    hijos filhos heart world mundo king star disney pixar marvel video film cinema cine day vida
    life long short real""".split()
)
_FIELD_OF = {
    "genre": "genres", "keyword": "keywords", "country": "countries", "language": "languages",
}  # fmt: skip
_MARK = re.compile(r"\[\w\d+\]|[#~][\w-]+")


@dataclass(frozen=True)
class Understood:
    """What was understood of a conversation.

    Attributes
    ----------
    preferences: the state after the last message.
    marked: the user's messages as the lexicon marked them, in order.
    asked: how many of them a model was asked about.
    doubtful: names that are told of somebody rather than asked for; given up first.
    """

    preferences: Preferences
    marked: tuple[Marked, ...]
    asked: int
    doubtful: frozenset[str] = frozenset()


class Understander:
    """Turns conversations into Preferences.

    Parameters
    ----------
    lexicon: finds what a message names.
    get_item: gives the item of an id, for wishes relative to films that were shown.
    model: is asked for roles; None leaves all to the rules.
    lead: "rules": the model fills the gaps of the rules; "model": the rules fill in where the
        model's answer cannot be read; "rules-only" and "model-only" are for measurements.
    detail: how much the prompt explains; "brief" for a model trained on the task.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        get_item: Callable[[str], Item],
        model: LanguageModel | None = None,
        *,
        lead: Lead = "rules",
        detail: Detail = "full",
    ) -> None:
        self.lexicon = lexicon
        self._get_item = get_item
        self._model = model
        self._lead: Lead = lead if model is not None else "rules-only"
        self.detail: Detail = detail
        self._mark = lru_cache(maxsize=4096)(lexicon.mark)
        self._answers: dict[tuple[str, str], str] = {}

    def understand(self, conversations: Sequence[Conversation]) -> list[Understood]:
        """Understand a batch of conversations; each result depends on its conversation alone."""
        cases = [self._read(c) for c in conversations]
        answers = self._ask([turn for case in cases for turn in case])
        out = []
        at = 0
        for conversation, case in zip(conversations, cases, strict=True):
            own = answers[at : at + len(case)]
            at += len(case)
            state = self._start(conversation)
            for turn, answer in zip(case, own, strict=True):
                state = self._fold(state, self._merge(turn, answer))
            preferences = dataclasses.replace(
                state,
                likes=_join(state.likes, conversation.liked),
                dislikes=_join(state.dislikes, conversation.disliked),
                seen=_join(state.seen, conversation.seen),
                similar_to=tuple(s for s in state.similar_to if s not in conversation.disliked),
                language=conversation.language or state.language,
            )
            asked = sum(a is not None for a in own)
            doubtful = frozenset(
                v
                for t in case
                for s in t.marked.spans
                if s.mark in t.reading.doubtful
                for v in s.values
            )
            marked = tuple(t.marked for t in case)
            out.append(Understood(preferences, marked, asked, doubtful))
        return out

    def forget(self) -> None:
        """Forget what the model said of former turns; it is asked again."""
        self._answers.clear()

    def language(self, conversation: Conversation) -> str:
        """The language that a reply should be in: the one set, else that of the user's words."""
        return language_of(conversation)

    def marked(self, conversation: Conversation) -> tuple[Marked, ...]:
        """The user's messages as the lexicon marks them; no model is asked."""
        return tuple(t.marked for t in self._read(conversation))

    # -- reading ------------------------------------------------------------------------------

    def _read(self, conversation: Conversation) -> list[_Turn]:
        turns: list[_Turn] = []
        shown: tuple[str, ...] = ()
        language = conversation.language or "en"
        previous = ""
        for m in conversation.messages:
            if m.role == "assistant":
                shown = m.items or shown
            elif m.role == "user":
                marked = self._mark(m.content, shown)
                language = guess_language(m.content, language)
                reading = read_cues(marked, language, first=not turns)
                turns.append(_Turn(m, marked, previous, language, reading, shown))
                previous = marked.text
        return turns

    def _ask(self, turns: Sequence[_Turn]) -> list[str | None]:
        """The model's answers, each distinct question asked once; None where none was needed."""
        wanted = [t for t in turns if self._needs_model(t)]
        if self._model is not None and wanted:
            if len(self._answers) > 10_000:
                self._answers.clear()
            missing = {t.key: t for t in wanted if t.key not in self._answers}
            by_schema: dict[str, list[_Turn]] = {}
            for t in missing.values():
                by_schema.setdefault(repr([s.mark for s in t.marked.spans]), []).append(t)
            for group in by_schema.values():
                prompts = [
                    understanding_prompt(
                        t.marked, t.previous, detail=self.detail, things=self.lexicon.things
                    )
                    for t in group
                ]
                texts = self._generate(prompts, understanding_schema(group[0].marked))
                self._answers.update((t.key, text) for t, text in zip(group, texts, strict=True))
        return [self._answers.get(t.key) if self._needs_model(t) else None for t in turns]

    def _generate(
        self, prompts: Sequence[Sequence[Message]], schema: Mapping[str, object]
    ) -> list[str]:
        """The model's answers; an empty one, for the rules to fill, where it gives none."""
        assert self._model is not None
        try:
            return self._model.generate(prompts, max_new_tokens=ANSWER_TOKENS, schema=schema)
        except (InputError, SchemaError):  # it reads too little, or does not follow the schema
            if len(prompts) == 1:
                return [""]
            return [text for p in prompts for text in self._generate([p], schema)]

    def _needs_model(self, turn: _Turn) -> bool:
        if self._lead == "rules-only" or not (turn.marked.spans or turn.previous):
            return False
        if len(turn.marked.spans) > MAX_SPANS or len(turn.previous + turn.marked.text) > MAX_ASKED:
            return False  # more than a small model reads at once
        if self._lead in ("model", "model-only"):
            return True
        return any(r is None for r in turn.reading.roles.values())

    def _merge(self, turn: _Turn, answer: str | None) -> _Turn:
        reading = turn.reading
        said = parse_understanding(answer, turn.marked) if answer is not None else None
        if said is None:
            if self._lead == "model-only":  # nothing was understood
                return dataclasses.replace(turn, roles={s.mark: "none" for s in turn.marked.spans})
            return dataclasses.replace(
                turn, roles=dict(reading.guesses), stands=reading.turn or "add"
            )
        stands, roles = said
        if self._lead == "rules":
            sure = {k: v for k, v in reading.roles.items() if v is not None}
            roles = {**roles, **sure}
            stands = reading.turn or "add"  # measured: adding is the better guess
        if not turn.previous:
            stands = "add"
        return dataclasses.replace(turn, roles=roles, stands=stands)

    # -- words that are searched for ----------------------------------------------------------

    @property
    def _shop(self) -> bool:
        return self.lexicon.things == "products"

    def _is_word(self, span: Span, turn: _Turn) -> bool:
        """Whether a span is looked for in the texts, as no field of the items tells of it.

        Of products these are also names that the catalogue lacks, brands mostly, and a title that
        is named with no word of opinion: it is what is wanted.
        """
        role = turn.roles.get(span.mark, "none")
        if span.kind in _FIELD_OF:
            return role == "yes" and _FIELD_OF[span.kind] not in self.lexicon.known
        if not self._shop:
            return False
        if span.kind == "title":
            return not span.pointed and turn.reading.roles.get(span.mark) is None
        return span.kind == "unknown"

    def _text(self, turn: _Turn) -> str:
        """The words of a message that nothing else was made of."""
        kept: dict[str, str] = {}
        for s in turn.marked.spans:
            if self._is_word(s, turn):
                said = turn.marked.message[s.start : s.end]
                kept[s.mark] = f"{kept.get(s.mark, '')} {said}"
        rest = _MARK.sub(lambda m: kept.get(m.group(), " "), turn.marked.text)
        if not self._shop:
            return _free_text(rest)
        said = _words_of_shop(rest)
        if "genres" not in self.lexicon.known:
            return said
        return " ".join(w for w in said.split() if w not in _THINGS)  # all of them are that

    # -- folding ------------------------------------------------------------------------------

    def _start(self, conversation: Conversation) -> Preferences:
        return Preferences(language=conversation.language or "en")

    def _fold(self, state: Preferences, turn: _Turn) -> Preferences:
        if turn.stands == "reset":
            state = Preferences(seen=state.seen, dislikes=state.dislikes, likes=state.likes)
        new = _Wanted()
        for s in turn.marked.spans:
            role = turn.roles.get(s.mark, "none")
            if role == "none" or (self._shop and self._is_word(s, turn)):
                continue
            if s.kind == "title":
                getattr(
                    new,
                    {"similar": "similar_to", "liked": "likes", "disliked": "dislikes"}.get(
                        role, "seen"
                    ),
                ).extend(s.values)
                if turn.reading.more and role in ("liked", "seen"):
                    new.similar_to.extend(s.values)
            elif s.kind in ("year", "runtime", "price"):
                getattr(new, s.kind + "s").append((s.low, s.high))
            elif s.kind == "critique":
                new.critiques.append(s.values[0])
            elif s.kind == "unknown":
                new.unknown += s.values
            elif role == "no":
                new.out[s.kind] += s.values
            elif role == "director":
                (new.directors if len(s.values) == 1 else new.either["person"]).extend(s.values)
            elif s.mark in turn.reading.either or (s.kind == "person" and len(s.values) > 1):
                new.either[s.kind] += s.values
            else:
                new.wanted[s.kind] += s.values
        return self._update(state, new, turn)

    def _update(self, state: Preferences, new: _Wanted, turn: _Turn) -> Preferences:
        old = dataclasses.asdict(state)
        replaces = turn.stands == "replace"
        clears = set(turn.reading.cleared)
        if replaces:
            clears |= {
                k
                for k in ("genre", "person", "country", "language", "keyword")
                if new.wanted[k] or new.either[k]
            }
            if new.directors:
                clears.add("person")
            if new.similar_to:
                old["similar_to"] = ()
        f: dict[str, object] = {"language": turn.language}
        for kind, field in (("genre", "genres"), ("person", "people")):
            wanted, either, out = new.wanted[kind], new.either[kind], new.out[kind]
            gone = {*out} if kind not in clears else {*out, *old[field], *old[f"{field}_any"]}
            any_old = tuple(v for v in old[f"{field}_any"] if v not in gone)
            f[field] = _join(
                tuple(v for v in old[field] if v not in gone),
                tuple(v for v in wanted if v not in out),
            )
            f[f"{field}_any"] = tuple(either) if either else any_old
            f[f"{field}_out"] = _join(
                tuple(v for v in old[f"{field}_out"] if v not in {*wanted, *either}), tuple(out)
            )
        directors = (
            () if "person" in clears or (replaces and new.wanted["person"]) else old["directors"]
        )
        f["directors"] = _join(
            tuple(d for d in directors if d not in new.out["person"]), tuple(new.directors)
        )
        for kind, field in (
            ("country", "countries"),
            ("language", "languages"),
            ("keyword", "keywords"),
        ):
            wanted, out = new.wanted[kind] + new.either[kind], new.out[kind]
            gone = {*out} if kind not in clears else {*out, *old[field]}
            if kind != "keyword" and wanted and turn.stands != "add":
                gone |= {*old[field]}
            f[field] = _join(
                tuple(v for v in old[field] if v not in gone),
                tuple(v for v in wanted if v not in out),
            )
            f[f"{field}_out"] = _join(
                tuple(v for v in old[f"{field}_out"] if v not in wanted), tuple(out)
            )
        for kind, bounds in (
            ("year", new.years),
            ("runtime", new.runtimes),
            ("price", new.prices),
        ):
            low, high = (None, None) if kind in clears else (old[f"{kind}_min"], old[f"{kind}_max"])
            if bounds:
                low, high = bounds[-1]
                for other in bounds[:-1]:  # "from the 90s on, but before 2005"
                    if low is None and (high is None or (other[0] or 0) <= high):
                        low = other[0]
                    if high is None and (low is None or (other[1] or low) >= low):
                        high = other[1]
            f[f"{kind}_min"], f[f"{kind}_max"] = low, high
        opinions = {*new.likes, *new.dislikes}
        f["likes"] = _join(
            tuple(i for i in old["likes"] if i not in new.dislikes), tuple(new.likes)
        )
        loved = {*new.likes, *new.similar_to}
        f["dislikes"] = _join(
            tuple(i for i in old["dislikes"] if i not in loved),
            tuple(i for i in new.dislikes if i not in new.likes),  # both are said: it is liked
        )
        f["seen"] = _join(old["seen"], tuple(i for i in new.seen if i not in opinions))
        f["similar_to"] = tuple(
            i for i in _join(old["similar_to"], tuple(new.similar_to)) if i not in new.dislikes
        )
        f["unknown"] = _join(old["unknown"], tuple(new.unknown))
        text = self._text(turn)
        f["text"] = " ".join(
            dict.fromkeys(
                (text if replaces and text else f"{state.text} {text}").split()[-MAX_TEXT_WORDS:]
            )
        )
        state = Preferences(**f)  # type: ignore[arg-type]
        said = {
            "newer": new.years,
            "older": new.years,
            "shorter": new.runtimes,
            "longer": new.runtimes,
            "cheaper": new.prices,
        }
        for critique in new.critiques:
            if said.get(critique):
                continue  # "shorter, under 90 minutes" has said it
            state = self._criticise(state, critique, turn)
        return state

    def _criticise(self, state: Preferences, critique: str, turn: _Turn) -> Preferences:
        """A wish relative to a film: one named in the message, else the first one shown."""
        compared = re.findall(
            rf"~{critique}\s+(?:than|(?:do )?que|de lo que)\s+(\[t\d+\])", turn.marked.text
        )
        titles = [s for s in turn.marked.spans if s.kind == "title"]
        titles.sort(key=lambda s: s.mark not in compared)
        meant = [s for s in titles if turn.roles.get(s.mark) != "seen" or s.mark in compared]
        named = [v for s in meant for v in s.values[:1]]  # none of a film that was not shown
        reference = next((self._get_item(i) for i in (*named, *turn.shown)), None)
        year = reference.year if reference else None
        runtime = reference.runtime if reference else None
        changes: dict[str, object] = {}
        if critique == "newer":
            changes["year_min"] = year + 1 if year else self.lexicon.this_year - 10
            if state.year_max is not None and (
                state.year_min is None or state.year_max < changes["year_min"]  # type: ignore[operator]
            ):
                changes["year_max"] = None
        elif critique == "older":
            changes["year_max"] = year - 1 if year else 1979
            if state.year_min is not None and (
                state.year_max is None or state.year_min > changes["year_max"]  # type: ignore[operator]
            ):
                changes["year_min"] = None
        elif critique == "shorter":
            changes["runtime_max"] = runtime - 1 if runtime else 100
            if state.runtime_min is not None and state.runtime_min > changes["runtime_max"]:  # type: ignore[operator]
                changes["runtime_min"] = None
        elif critique == "longer":
            changes["runtime_min"] = runtime + 1 if runtime else 150
            if state.runtime_max is not None and state.runtime_max < changes["runtime_min"]:  # type: ignore[operator]
                changes["runtime_max"] = None
        elif critique == "cheaper":
            if reference is not None and reference.price is not None:
                changes["price_max"] = round(max(reference.price - 0.01, 0.0), 2)
                if state.price_min is not None and state.price_min > changes["price_max"]:  # type: ignore[operator]
                    changes["price_min"] = None
        elif critique == "lighter":
            changes["keywords_out"] = _join(state.keywords_out, LIGHTER_OUT)
            changes["keywords"] = tuple(k for k in state.keywords if k not in LIGHTER_OUT)
        elif critique == "darker":
            changes["keywords"] = _join(state.keywords, ("dark",))
            changes["keywords_out"] = tuple(k for k in state.keywords_out if k not in LIGHTER_OUT)
        if compared:  # "newer than Alien" does not ask for films like it
            changes["similar_to"] = tuple(i for i in state.similar_to if i != named[0])
        return dataclasses.replace(state, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Turn:
    message: Message
    marked: Marked
    previous: str
    language: str
    reading: Reading
    shown: tuple[str, ...]
    roles: dict[str, str] = dataclasses.field(default_factory=dict)
    stands: str = "add"

    @property
    def key(self) -> tuple[str, str]:
        return self.previous, self.marked.text


_KINDS = ("genre", "person", "country", "language", "keyword")


class _Wanted:
    """What one turn asks for, by kind."""

    def __init__(self) -> None:
        self.wanted: dict[str, list[str]] = {k: [] for k in _KINDS}
        self.either: dict[str, list[str]] = {k: [] for k in _KINDS}
        self.out: dict[str, list[str]] = {k: [] for k in _KINDS}
        self.directors: list[str] = []
        self.years: list[tuple[float | None, float | None]] = []
        self.runtimes: list[tuple[float | None, float | None]] = []
        self.prices: list[tuple[float | None, float | None]] = []
        self.critiques: list[str] = []
        self.similar_to: list[str] = []
        self.likes: list[str] = []
        self.dislikes: list[str] = []
        self.seen: list[str] = []
        self.unknown: list[str] = []


def language_of(conversation: Conversation) -> str:
    """The language set for a conversation, else that of the user's words."""
    language = conversation.language or "en"
    if not conversation.language:
        for m in conversation.messages:
            if m.role == "user":
                language = guess_language(m.content, language)
    return language


def _join(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def with_plurals(text: str) -> str:
    """Words and their plurals or singulars, for a search that compares whole words."""
    out: dict[str, None] = {}
    for w in text.split():
        forms = [w, w[:-1] if w.endswith("s") else f"{w}s"]
        forms += [w[:-2]] if w.endswith("es") else [] if w.endswith("s") else [f"{w}es"]
        out.update(dict.fromkeys(f for f in forms if len(f) > 1))
    return " ".join(out)


def _words_of_shop(text: str) -> str:
    """What may tell a product: short words too ("usb"), but no numbers and none of the talk."""
    said = " ".join(w.key for w in words(text)).split()
    stop = (STOPWORDS - _NAMING) | _SHOP_WORDS
    return " ".join(w for w in said if len(w) > 1 and w not in stop and not w.isdigit())


def _free_text(text: str) -> str:
    return " ".join(
        w.key
        for w in words(text)
        if len(w.key) > 3
        and w.key not in _CHAT_WORDS
        and w.key not in STOPWORDS
        and not w.key.isdigit()
    )
