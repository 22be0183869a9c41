"""Reading hides how a question is read: its language, the titles in it, and what it asks of which.

A question that follows others may leave out what it is about; a name that nobody knows is told.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmrec.answering.finding import ASKING, QUOTED, Mention, Named, find_named, masked
from llmrec.deixis import find_shown_items
from llmrec.lexicon import Lexicon, Marked, Span, guess_language
from llmrec.preferences import language_of
from llmrec.quantities import flat
from llmrec.questions import TOPICS, Asked, asks, read_question
from llmrec.titles import Word, fold, words
from llmrec.types import Conversation, Source

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["OPEN", "QUERIES", "THING", "Case", "Reader", "longest"]

BEGUN = 0.8  # score of a title of which the beginning is said
MAX_SHORT = 8  # words of a title that is not said whole
FOLLOWING = 7  # words of a message that may leave out what it is about
_POINTS = frozenset(
    """it its he she they him her his them this that these those one former latter both
    ele ela eles elas dele dela deles delas esse essa isso este esta isto desse dessa disso nele
    nela ambos ambas el ella ellos ellas ese esa eso este esta esto suyo suya ambos ambas lo la"""
    .split()
)  # fmt: skip
OPEN = re.compile(  # questions that are not answered by yes or no
    r"(?:(?:and|e|y|ok|so|then|tell me|me diz|dime|o|do|de|em|con|com|por|a|para) )*"
    r"(?:what|which|who|whom|whose|how|where|when|why|que|quem|qual|quais|quando|onde|como|quien|"
    r"quienes|cual|cuales|cuando|donde|quant[oa]s?|cuant[oa]s?)\b"
)
THING = (  # what the items of a catalogue are called
    r"(?:films?|movies?|filmes|filminhos?|filme|longas?|peliculas?|pelis?|titles?|titulos?|"
    r"products?|produtos?|productos?)"
)
_SEARCHING = re.compile(  # "which film is about a shark?", "the one where a boy gets lost"
    rf"\b(?:which|what|que|qual|cual) (?:\w+ )?{THING}\b|"
    rf"\b(?:{THING}|one) "
    r"(?:in which|where|that|em que|no qual|na qual|onde|en (?:la|el) que|donde)\b"
)
_DATED = re.compile(
    r"(\[t\d+\]),? (?:from|of|de|do|del) (?:18|19|20)\d\d(?=[^\w?]+\w)", re.IGNORECASE
)
QUOTES = "\"“”«»'‘"
_OF_ALL = re.compile(
    r"(?:(?:and|e|y|tell me|me diz|dime|please|por favor) )*(?:how many|quant[oa]s|cuant[oa]s|"
    r"conte|cuenta|count) (?:(?:the|os|as|los|las) )?"
    r"(?:films?|movies?|filmes|peliculas|pelis|titulos|titles|products?|produtos|productos|dramas?|comedias?|comedies|thrillers?)\b"
)
_ASKS = frozenset("what how que como dice diz says say cuenta conta sobre about".split())
_PEOPLE = ("directors", "cast", "people")
_WHO = frozenset("who whom whose quem quien quienes".split())
_NARROWING = frozenset(  # words after which a query says which of all things are meant
    """with without about that which who featuring containing set available where on com sem sobre
    que cujo cuja onde com con sin cuyo cuya donde acerca""".split()
)
_HERE = frozenset(
    """this your our neste nesta nesse nessa deste desta desse dessa sua seu suas seus vossa vosso
    teu tua este esta ese esa su sus tu tus vuestra vuestro""".split()
)
STORY = 2  # words that no question is made of, from which on it is about what is told
NARROWED = 5  # words that they reach
_EVERYDAY = frozenset(  # topics whose words are said of other things too
    """character crew setting contents use age quantity size care power stock returns reviews
    compatibility biography""".split()
)
_WORDS = re.compile(r"\[\w+\]|[#~][\w-]+|\w+")
_OF_NAMES = re.compile(r"\[[tp]\d+\]")
QUERIES = ("count", "superlative", "list")


@dataclass(frozen=True)
class Case:
    """A question as it was read.

    Attributes
    ----------
    conversation: what was said. message: its last words. named: the titles in them.
    marked: the words with marks for names.
    sources: the items asked about. stranger: a name given that the catalogue does not have.
    """

    conversation: Conversation
    message: str
    language: str
    named: Named
    marked: Marked
    asked: Asked
    sources: tuple[Source, ...]
    stranger: str = ""

    @property
    def sure(self) -> float:
        """How likely it is that the question was read rightly, and is about these items."""
        return round(self.asked.confidence * min((s.score for s in self.sources), default=1.0), 3)

    @property
    def strange(self) -> str:
        """The words of a query that name a thing no field holds: it is not run without them."""
        spans = [s for s in self.marked.spans if s.kind not in ("unknown", "title")]
        tokens = words(self.marked.message)
        rest = [w.key for w in tokens if not any(s.start <= w.start < s.end for s in spans)]
        parts = _WORDS.findall(self.marked.text)
        said = f" {' '.join(p if p[0] in '[#~' else fold(p) for p in parts)} "
        topics = {self.asked.topic} if self.asked.topic else TOPICS.keys() - _EVERYDAY
        if self.asked.field == "rating":  # "the best rated"
            topics -= {"age rating"}
        for topic in topics:
            for phrase in TOPICS[topic][self.language]:
                named = rf" {phrase} (?:\w+ ){{0,2}}\[[pl]"  # "made by [p1]", "shot in [l1]"
                if f" {phrase} " in said and not re.search(named, said):
                    return phrase
        narrowing = -9
        found = []
        for n, w in enumerate(tokens):
            if w.key in _NARROWING:
                narrowing = n
            elif w.key in rest and w.key in self.asked.focus and n - narrowing <= NARROWED:
                here = n and tokens[n - 1].key in _HERE  # "on this site"
                known = here or w.key.isdigit() or asks(w.key, of_all=True)
                found += [] if known else [w.key]
        return " ".join(found)


class Reader:
    """Reads questions to a catalogue.

    Parameters
    ----------
    lexicon: finds people, genres, years and so on in a question.
    """

    def __init__(self, catalog: Catalog, lexicon: Lexicon) -> None:
        self.catalog = catalog
        self.lexicon = lexicon

    def named(self, message: str) -> Named:
        """The titles that a message names."""
        spans = self.lexicon.mark(message).spans
        others = [(s.start, s.end) for s in spans if s.kind not in ("title", "unknown")]
        people = [(s.start, s.end) for s in spans if s.kind == "person"]
        terms = [(w.start, w.end) for w in words(message) if self.lexicon.is_term(w.key)]
        named = find_named(message, self.catalog.title_index, others, terms)
        if _OF_ALL.match(fold(message)):  # of all films: no title but one in quotation marks
            quoted = (m for m in named.known if message[m.start] in QUOTES)
            return Named(tuple(quoted))
        named = self._begun(named)
        return named if named.known else self._shortened(message, named, people)

    def _begun(self, named: Named) -> Named:
        """With the names known that are the beginning of one title: "E.T."."""
        known, unknown = list(named.known), []
        for m in named.unknown:
            rows = self.catalog.title_index.beginning(m.text)
            if len(rows) == 1:
                known.append(dataclasses.replace(m, rows=rows, score=BEGUN))
            else:
                unknown.append(m)
        return Named(tuple(sorted(known, key=lambda m: m.start)), tuple(unknown))

    def _shortened(self, message: str, named: Named, people: Sequence[tuple[int, int]]) -> Named:
        """The item whose long title holds all the words that may name it, if there is one."""
        rest = [
            w
            for w in words(message)
            if w.key not in ASKING and not any(s <= w.start < e for s, e in people)
        ]
        if named.unknown:
            start, end = named.unknown[0].start, named.unknown[0].end
            rest = [w for w in rest if start <= w.start < end]
        if len(rest) < 2 or len(rest) > MAX_SHORT:
            return named
        wanted = {w.key for w in rest}
        held = [
            hit.item
            for hit in self.catalog.search(" ".join(wanted), k=10)
            if any(wanted <= {*fold(t).split()} for t in hit.item.all_titles)
        ]
        if not held or (len(held) > 1 and len({fold(i.title) for i in held}) > 1):
            return named
        start, end = rest[0].start, rest[-1].end
        row = int(self.catalog.rows([held[0].id])[0])
        return Named((Mention(start, end, message[start:end], (row,), 0.8),))

    def read(self, conversation: Conversation) -> Case:
        """What the last message asks, and about which items."""
        message = conversation.messages[-1].content
        named = self.named(message)
        language = conversation.language or guess_language(
            _OF_NAMES.sub(" ", self.lexicon.mark(masked(message, named)).text),
            language_of(conversation),
        )
        marked, asked = self._asked(message, named, language)
        sure = tuple(m for m in named.known if m.sure)
        if len(sure) < len(named.known):  # Brazil the country, or "it": only where a title is asked
            other = Named(sure, named.unknown)
            marked_so, asked_so = self._asked(message, other, language)
            vague = all(m.text.islower() for m in named.known if not m.sure)
            if asked_so.kind in QUERIES or (_shown(conversation) and vague):
                named, marked, asked = other, marked_so, asked_so
        among = named.known and (named.unknown or len(named.known) > 1)
        loose = asked.kind == "text" or all(message[u.start] in QUOTES for u in named.unknown)
        loose &= asked.kind != "comparison" or not asked.field
        if among and loose and (asked.kind == "text" or named.unknown):
            named = _of_text(message, named)  # other names are what is asked about
            marked, asked = self._asked(message, named, language)
        sources, stranger = self._about(conversation, message, named, marked, asked)
        return Case(conversation, message, language, named, marked, asked, sources, stranger)

    def _asked(self, message: str, named: Named, language: str) -> tuple[Marked, Asked]:
        # A year behind a title tells which one is meant, unless that is what is asked.
        plain = _DATED.sub(r"\1", masked(message, named))
        marked = self.lexicon.mark(plain)
        return marked, _settled(read_question(marked, language), marked)

    def _about(
        self,
        conversation: Conversation,
        message: str,
        named: Named,
        marked: Marked,
        asked: Asked,
    ) -> tuple[tuple[Source, ...], str]:
        if named.unknown:
            return (), named.unknown[0].text
        shown, listed = _shown(conversation), _shown(conversation, 2)
        found: list[Source] = []
        if named.known:
            items = self.catalog.items_at([m.rows[0] for m in named.known])
            scores = [m.score * (1.0 if m.sure else 0.6) for m in named.known]
            found = [Source(i, s, "title") for i, s in zip(items, scores, strict=True)]
        elif asked.kind in QUERIES:
            return (), ""
        else:  # a word that is a theme as well, and a title to the lexicon
            titles = [s for s in marked.spans if s.kind == "title" and not s.pointed]
            items = self.catalog.get_many(s.values[0] for s in titles)
            found = [Source(i, 0.7, "title") for i in items]
        if not found or (asked.kind == "comparison" and len(found) == 1 and _points(message)):
            pointed = [i for _, _, ids in find_shown_items(flat(message), listed) for i in ids]
            follows = _follows(message) and not _SEARCHING.search(fold(message))
            told = asked.kind != "text" or asked.field or asked.topic
            if not pointed and shown and (told or follows):
                both = asked.kind == "comparison" and not found
                pointed = list((listed or shown) if both else shown[:1])
            items = self.catalog.get_many(dict.fromkeys(pointed))
            found = [*(Source(i, 0.8, "conversation") for i in items), *found]
        if found:
            once = {s.item.id: s for s in reversed(found)}
            return tuple(s for s in found if once[s.item.id] is s), ""
        name = "" if asked.kind == "text" else _left_over(marked)
        rows = self.catalog.title_index.beginning(name) if name else ()
        if len(rows) != 1:
            return (), name
        return (Source(self.catalog.items_at(rows)[0], BEGUN, "title"),), ""


def _settled(asked: Asked, marked: Marked) -> Asked:
    """What a question asks, with the names in it among the words to look for."""
    if asked.topic == "setting" and asked.focus:  # "does it take place in Paris?"
        asked = dataclasses.replace(asked, topic="")
    who = _WHO & {w.key for w in words(marked.message)}
    named = any(s.kind == "person" for s in marked.spans)
    if asked.kind == "fact" and asked.field in _PEOPLE and named and not who:
        # "what did [p1] do after [t1]?"
        asked = dataclasses.replace(asked, kind="text", field="")
    story = [w for w in asked.focus if not asks(w)]
    if asked.kind == "fact" and len(story) >= STORY and "[t" in marked.text:
        asked = dataclasses.replace(asked, kind="text", field="")  # "who chases the thief in [t1]?"
    quoted = [w.key for m in QUOTED.finditer(marked.message) for w in words(m[1] or m[2])]
    quoted = [w for w in quoted if not re.fullmatch(r"t\d+", w)]
    asking = _ASKS & {w.key for w in words(marked.message)} or OPEN.match(fold(marked.message))
    if quoted and (asked.kind not in ("check", "count", "superlative") or asking):
        focus = tuple(dict.fromkeys(quoted))
        return dataclasses.replace(asked, kind="text", field="", topic="", focus=focus)
    also = [w.key for s in marked.spans if s.kind != "title" for w in _words_of(s, marked)]
    focus = tuple(w for w in dict.fromkeys((*asked.focus, *also)) if w not in ASKING)
    return dataclasses.replace(asked, focus=focus)


def _of_text(message: str, named: Named) -> Named:
    """The title whose text is asked about, where other names may be what to look for in it."""
    plain = tuple(m for m in named.known if message[m.start] not in QUOTES)
    return Named(plain[-1:] if plain else named.known[-1:])


def _words_of(span: Span, marked: Marked) -> list[Word]:
    return words(marked.message[span.start : span.end])


def _shown(conversation: Conversation, least: int = 1) -> tuple[str, ...]:
    """The items of the last turn that showed so many."""
    for m in reversed(conversation.messages[:-1]):
        if len(m.items) >= least:
            return m.items
    return ()


def _points(message: str) -> bool:
    return bool(_POINTS & {w.key for w in words(message)})


def _follows(message: str) -> bool:
    """Whether a message leaves out what it is about, or points at it."""
    said = [w.key for w in words(message)]
    return len(said) <= FOLLOWING or _points(message)


def longest(marked: Marked, focus: Sequence[str]) -> str:
    """The longest run of words of a message that are not understood, small words between."""
    best: list[Word] = []
    run: list[Word] = []
    for w in words(marked.message):
        if w.key in focus:
            run.append(w)
        elif re.fullmatch(r"t\d+", w.key) or w.key in ("or", "o", "ou", "than", "que", "and"):
            run = []
        best = list(run) if len(run) > len(best) else best
    if not best:
        return " ".join(focus)
    start, end = best[0].start, best[-1].end
    if initials := re.search(r"(?:\b\w\.)+$", marked.message[:start]):  # "E.T."
        start, end = initials.start(), end + (marked.message[end : end + 1] == ".")
    return marked.message[start:end]


def _left_over(marked: Marked) -> str:
    """The words of a question that neither ask nor name anything known: a title nobody knows."""
    rest = [
        w.key
        for w in words(marked.message)
        if w.key not in ASKING
        and not asks(w.key)
        and not re.fullmatch(r"t\d+", w.key)
        and not any(s.start <= w.start < s.end for s in marked.spans)
    ]
    return longest(marked, rest) if rest else ""
