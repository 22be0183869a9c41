"""Answerer hides the whole way from a question to an answer with its sources, or a refusal."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from llmrec.answering.facts import SETS, Found, checked, compared, told
from llmrec.answering.finding import ASKING, QUOTED, Mention, Named, find_named, masked
from llmrec.answering.queries import executed, wanted_of
from llmrec.answering.sentences import not_said, say, thing, value
from llmrec.answering.texts import (
    LENGTHS,
    TOLD,
    Length,
    Passages,
    described,
    evidence,
    safe,
    written,
)
from llmrec.deixis import find_shown_items
from llmrec.errors import InputError
from llmrec.faithfulness import flaw
from llmrec.lexicon import Lexicon, Marked, Span, guess_language
from llmrec.preferences import Understander, language_of
from llmrec.prompting import Style
from llmrec.quantities import flat
from llmrec.questions import TOPICS, Asked, read_question
from llmrec.titles import Word, fold, words
from llmrec.types import Answer, Conversation, Item, Message, Passage, Source
from llmrec.wording import record_texts

if TYPE_CHECKING:
    from llmrec.catalog import Catalog
    from llmrec.models.base import LanguageModel

__all__ = ["MIN_SIMILARITY", "Answerer", "Case"]

MIN_SIMILARITY = 0.5
SEARCHED = 0.6  # of a question about no item in particular, that a passage must hold
MAX_SHORT = 8  # words of a title that is not said whole
FOLLOWING = 7  # words of a message that may leave out what it is about
_POINTS = frozenset(
    """it its he she they him her his them this that these those one former latter both
    ele ela eles elas dele dela deles delas esse essa isso este esta isto desse dessa disso nele
    nela ambos ambas el ella ellos ellas ese esa eso este esta esto suyo suya ambos ambas lo la"""
    .split()
)  # fmt: skip
FACTS = ("year", "genres", "runtime", "directors", "cast", "price")  # of a description, in order
FACTS_OF = {"short": 0, "medium": 4, "long": 6}
_CLAIMS = {"genre", "person", "country", "language", "keyword", "year", "runtime", "price"}
_SPAN_OF = {"year": "year", "runtime": "runtime", "price": "price", "genres": "genre"}
_SPAN_OF |= {"countries": "country", "languages": "language"}
_DOUBTFUL = frozenset("power material age size quantity capacity use".split())
_OPEN = re.compile(  # questions that are not answered by yes or no
    r"(?:(?:and|e|y|ok|so|then|tell me|me diz|dime|o|do|de|em|con|com|por|a|para) )*"
    r"(?:what|which|who|whom|whose|how|where|when|why|que|quem|qual|quais|quando|onde|como|quien|"
    r"quienes|cual|cuales|cuando|donde|quant[oa]s?|cuant[oa]s?)\b"
)
_COUNTING = re.compile(
    r"\b(?:how many|quant[oa]s|qts|cuant[oa]s|(?:me diz|diga|dime|give me|di) (?:um|un|a) num\w+|"
    r"tally|head ?count|recuento|contagem)\b(?! (?:minut|hora|hour|ano|year|time|tempo))"
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
_JOINED = re.compile(
    r"\bt1 (?:and|e|y|or|ou|o|u|than|do que|que|vs|versus|com|con|with)\b|"
    r"\b(?:and|e|y|or|ou|o|u|than|que|vs|versus|com|con|with|between|entre) t1\b"
)
_ASKS = frozenset("what how que como dice diz says say cuenta conta sobre about".split())
_NARROWING = frozenset(  # words after which a query says which of all things are meant
    """with without about that which who featuring containing set available where on com sem sobre
    que cujo cuja onde com con sin cuyo cuya donde acerca""".split()
)
NARROWED = 5  # words that they reach
_HAVING = re.compile(  # "do you have [t1]?"
    r"\b(?:have|has|got|carry|stock|sell|tem|tens|vendem|existe|tienen|tienes|hay|venden)\b"
)
_EVERYDAY = frozenset(  # topics whose words are said of other things too
    """character crew setting contents use age quantity size care power stock returns reviews
    compatibility biography""".split()
)
_QUERIES = ("count", "superlative", "list")


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


class Answerer:
    """Answers questions from a catalogue and nothing else.

    Parameters
    ----------
    lexicon: finds people, genres, years and so on in a question.
    checks: counts what became of the sentences that a model wrote: "supported", "corrected"
        (left out, others stayed), "quoted" (all left out, the catalogue is quoted instead).
    """

    def __init__(self, catalog: Catalog, lexicon: Lexicon) -> None:
        self.catalog = catalog
        self.lexicon = lexicon
        self.checks: Counter[str] = Counter()
        # Filters of counts must be the same each time: the rules alone read them.
        self._understander = Understander(lexicon, catalog.get)

    @cached_property
    def _years(self) -> list[int | None]:
        return [None if y != y else int(y) for y in self.catalog.numbers("year").tolist()]

    # -- reading ------------------------------------------------------------------------------

    def named(self, message: str) -> Named:
        """The titles that a message names."""
        spans = self.lexicon.mark(message).spans
        others = [(s.start, s.end) for s in spans if s.kind not in ("title", "unknown")]
        people = [(s.start, s.end) for s in spans if s.kind == "person"]
        terms = [(w.start, w.end) for w in words(message) if self.lexicon.is_term(w.key)]
        named = find_named(message, self.catalog.title_index, self._years, others, terms)
        if _OF_ALL.match(fold(message)):  # of all films: no title but one in quotation marks
            quoted = (m for m in named.known if message[m.start] in QUOTES)
            return Named(tuple(quoted))
        return named if named.known else self._shortened(message, named, people)

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
            re.sub(r"\[t\d+\]", " ", masked(message, named)), language_of(conversation)
        )
        marked, asked = self._asked(message, named, language)
        sure = tuple(m for m in named.known if m.sure)
        if len(sure) < len(named.known):  # Brazil the country, or "it": only where a title is asked
            other = Named(sure, named.unknown)
            marked_so, asked_so = self._asked(message, other, language)
            said = {fold(m.text) for m in named.known if not m.sure}
            if asked_so.kind in _QUERIES or (_shown(conversation) and said <= _POINTS):
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
        elif asked.kind in _QUERIES:
            return (), ""
        if not found or (asked.kind == "comparison" and len(found) == 1 and _points(message)):
            pointed = [i for _, _, ids in find_shown_items(flat(message), listed) for i in ids]
            if not pointed and shown and (asked.kind != "text" or _follows(message)):
                both = asked.kind == "comparison" and not found
                pointed = list((listed or shown) if both else shown[:1])
            items = self.catalog.get_many(dict.fromkeys(pointed))
            found = [*(Source(i, 0.8, "conversation") for i in items), *found]
        if found:
            once = {s.item.id: s for s in reversed(found)}
            return tuple(s for s in found if once[s.item.id] is s), ""
        return (), "" if asked.kind == "text" else _left_over(marked)

    # -- answering ----------------------------------------------------------------------------

    def find(
        self, conversation: Conversation, k: int, *, min_similarity: float = 0.0
    ) -> list[Source]:
        """The items that a question may be about, best first: named, spoken of, or found."""
        case = _searching(self.read(conversation))
        found = list(case.sources)
        if case.asked.kind in _QUERIES and not found:
            return list(self._queried(case, k).sources)
        if len(found) < k and not case.named.unknown:
            found += [
                s
                for s in self._searched(case, k, min_similarity)
                if s.item.id not in {f.item.id for f in found}
            ]
        return found[:k]

    def answer(
        self,
        conversation: Conversation,
        k: int = 5,
        *,
        min_similarity: float = MIN_SIMILARITY,
        model: LanguageModel | None = None,
        style: Style = "chat",
    ) -> Answer:
        """The answer to the last message. Parameters as for ``Recommender.answer``."""
        case = self.read(conversation)
        answer = self._answer(case, k, min_similarity, model, style)
        return self._held_against_sources(answer, case)

    def _answer(
        self,
        case: Case,
        k: int,
        least: float,
        model: LanguageModel | None,
        style: Style,
    ) -> Answer:
        asked, language = case.asked, case.language
        if case.stranger:
            return self._refused(case, "unknown title", self._do_not_know(case.stranger, language))
        case = _searching(case)
        asked = case.asked
        if asked.kind in _QUERIES and not (asked.kind == "list" and case.sources):
            return self._queried(case, k)
        if not case.sources:
            if asked.kind != "text":
                return self._refused(case, "unclear", say("unclear", language))
            case = dataclasses.replace(case, sources=self._searched(case, k, least)[:1])
            if not case.sources:
                return self._refused(case, "no match", say("no match", language))
        items = [s.item for s in case.sources]
        if asked.kind == "comparison" and len(items) == 1:
            if asked.focus:
                name = _longest(case.marked, asked.focus)
                return self._refused(case, "unknown title", self._do_not_know(name, language))
            if _JOINED.search(fold(case.marked.message)):  # the other title was not found
                return self._refused(case, "unclear", say("unclear", language))
            asked = dataclasses.replace(asked, kind="fact")
            case = dataclasses.replace(case, asked=asked)
        found = self._from_fields(case, items)
        if found is not None:
            return self._answered(case, found.text, found.used)
        return self._from_texts(case, items, least, model, style)

    def _from_fields(self, case: Case, items: Sequence[Item]) -> Found | None:
        asked, language = case.asked, case.language
        if asked.kind == "comparison":
            return compared(items, asked, language)
        if asked.kind == "check" and not asked.topic:
            found = checked(items[0], asked, case.marked.spans, language)
            if found is not None or not _HAVING.search(fold(case.marked.message)):
                return found
        if asked.field == "description" or (asked.kind in ("text", "check") and not _wants(asked)):
            shown = [(i, described(i, "medium", language)) for i in items]
            if not all(p for _, p in shown):
                return None
            used = tuple((i, p) for i, p in shown if p)
            said = (say("quoted", language, t=thing(i, language), v=p.text) for i, p in used)
            return Found(" ".join(said), used)
        shared = asked.kind in ("fact", "list") and asked.field in SETS and len(items) > 1
        if shared and not _OPEN.match(fold(case.marked.message)):
            return compared(items, asked, language)  # "do they have a genre in common?"
        if asked.field and asked.kind in ("fact", "list", "comparison"):
            return told(items, asked.field, language)
        return None

    def _from_texts(
        self,
        case: Case,
        items: Sequence[Item],
        least: float,
        model: LanguageModel | None,
        style: Style,
    ) -> Answer:
        asked, language = case.asked, case.language
        missing = self._refused(
            case, "not said", not_said(asked.field or asked.topic, items, language)
        )
        if asked.kind == "comparison":
            without = [i for i in items if not value(i, asked.field, language)] or items
            text = not_said(asked.field, without, language)
            return self._refused(case, "not said", text)
        if asked.field and asked.field not in (*TOLD, "keywords"):
            return missing
        searched = any(s.how == "search" for s in case.sources)
        if searched:
            found = {s.item.id: s.passages for s in case.sources}
        else:
            dense = self.catalog.embedding_model is not None
            found = evidence(self.catalog, items, asked, least, language, dense=dense)
        if not found and asked.topic == "use":  # what a thing is for, its description tells
            found = {i.id: (p,) for i in items if (p := described(i, "medium", language))}
        if not found:
            return missing
        sources = [s for s in case.sources if s.item.id in found]
        used = tuple((s.item, p) for s in sources for p in found[s.item.id])
        quoted = " ".join(
            say("quoted", language, t=thing(s.item, language), v=found[s.item.id][0].text)
            for s in sources
        )
        if asked.kind == "check" and _plainly(asked, used):
            quoted = say("yes", language, fact=quoted)
        if model is None or (len(sources) > 1 and style != "chat"):
            return self._answered(case, quoted, used)
        shown = [(s.item, found[s.item.id]) for s in sources]
        text, wrong, refused = written(model, case.conversation, shown, language, style=style)
        if refused:
            return missing
        if not text:
            self.checks["quoted"] += 1
            return dataclasses.replace(self._answered(case, quoted, used), corrected=wrong)
        self.checks["corrected" if wrong else "supported"] += 1
        return dataclasses.replace(self._answered(case, text, used), corrected=wrong)

    def _queried(self, case: Case, k: int) -> Answer:
        asked, language = case.asked, case.language
        spoken = Conversation((Message("user", case.marked.message),), language=language)
        understood = self._understander.understand([spoken])[0].preferences
        wanted = wanted_of(understood, case.marked, asked)
        if understood.unknown:
            text = self._do_not_know(understood.unknown[0], language)
            return self._refused(case, "unknown title", text)
        if strange := _not_understood(case):
            what = f"“{strange}”"
            return self._refused(case, "not said", say("no such fact", language, what=what))
        result = executed(self.catalog, wanted, case.marked, asked, k, language)
        if result.why:
            return self._refused(case, result.why, result.text)
        used = result.passages or (None,) * len(result.items)
        sources = tuple(
            Source(i, 1.0, "query", (p,) if p else ())
            for i, p in zip(result.items, used, strict=True)
        )
        return Answer(result.text, asked.kind, sources, language=language, confidence=_sure(case))

    def _searched(self, case: Case, k: int, least: float) -> tuple[Source, ...]:
        focus = case.asked.focus or tuple(
            w.key for w in words(case.marked.message) if w.key not in ASKING
        )
        if len(focus) < 2:  # one word is no description
            return ()
        if least >= MIN_SIMILARITY:
            least = max(least, SEARCHED)
        dense = self.catalog.embedding_model is not None
        hits = self.catalog.passages(
            " ".join(focus),
            k=3 * k,
            mode="hybrid" if dense else "text",
            min_similarity=least,
        )
        by_item: dict[str, list[Passage]] = {}
        items = {h.item.id: h.item for h in hits}
        for h in hits:
            if passage := safe(h.passage, h.item):
                by_item.setdefault(h.item.id, []).append(passage)
        return tuple(
            Source(items[i], own[0].score, "search", tuple(own)) for i, own in by_item.items()
        )[:k]

    # -- describing ---------------------------------------------------------------------------

    def describe(
        self,
        title: str,
        length: Length,
        language: str,
    ) -> Answer:
        """What the catalogue says of a title. Raises InputError for an unknown length."""
        if length not in LENGTHS:
            raise InputError(f"length is {length!r}: use {', '.join(map(repr, LENGTHS))}")
        match = self.catalog.match_title(title)
        if match.item is not None:
            return self._described(match.item, match.score, length, language)
        if known := self.named(title).known:
            item = self.catalog.items_at([known[0].rows[0]])[0]
            return self._described(item, known[0].score, length, language)
        text = self._do_not_know(title.strip(), language)
        return Answer(text, "describe", (), True, True, "unknown title", language)

    def described(self, conversation: Conversation) -> Answer:
        """The description of the title that the last message names, or points at."""
        case = self.read(conversation)
        message, language = case.message, case.language
        if case.named.known or not case.sources:
            return self.describe(case.stranger or message, "medium", language)
        source = case.sources[0]
        return self._described(source.item, source.score, "medium", language)

    def _described(self, item: Item, score: float, length: Length, language: str) -> Answer:
        passage = described(item, length, language)
        parts = [told([item], field, language) for field in FACTS[: FACTS_OF[length]]]
        used = tuple(u for p in parts if p for u in p.used)
        texts = [p.text for p in parts if p]
        if passage is not None:
            used = ((item, passage), *used)
            texts.insert(0, say("quoted", language, t=thing(item, language), v=passage.text))
        source = Source(item, score, "title", tuple(p for _, p in used))
        if not used:
            text = not_said("description", [item], language)
            return Answer(text, "describe", (source,), True, True, "not said", language)
        return Answer(" ".join(texts), "describe", (source,), language=language, confidence=score)

    # -- parts --------------------------------------------------------------------------------

    def _do_not_know(self, name: str, language: str) -> str:
        return say("unknown title", language, name=f"“{' '.join(name.split())[:80]}”")

    def _refused(self, case: Case, why: str, text: str) -> Answer:
        return Answer(
            text,
            case.asked.kind,
            case.sources,
            refused=True,
            why=why,
            language=case.language,
            confidence=_sure(case),
        )

    def _answered(self, case: Case, text: str, used: Sequence[tuple[Item, Passage]]) -> Answer:
        own: dict[str, Passages] = {}
        for item, passage in used:
            own[item.id] = (*own.get(item.id, ()), passage)
        by_id = {s.item.id: s for s in case.sources}
        sources = tuple(
            dataclasses.replace(by_id[i], passages=passages) for i, passages in own.items()
        )
        return Answer(
            text, case.asked.kind, sources, language=case.language, confidence=_sure(case)
        )

    def _held_against_sources(self, answer: Answer, case: Case) -> Answer:
        """The last check: every number, name and year stands in the sources, or it is refused."""
        if answer.refused or answer.kind in ("count", "list"):  # counted, not told
            return answer
        record = " ".join(
            text
            for s in answer.sources
            for text in (
                *record_texts(s.item, answer.language).values(),
                *s.item.all_titles,
                *(p.text for p in s.passages),
                *s.item.people,
            )
        )
        wrong = flaw(answer.text, record, answer.language, allowed=case.message)
        if wrong in ("number", "name"):
            self.checks["refused"] += 1
            text = not_said("", [s.item for s in answer.sources], answer.language)
            return dataclasses.replace(answer, text=text, refused=True, why="not said")
        return answer


def _settled(asked: Asked, marked: Marked) -> Asked:
    """What a question asks, once it is known what it names beside the title."""
    kinds = {s.kind for s in marked.spans}
    claims = kinds & _CLAIMS
    titled = "[t" in marked.message
    open_question = bool(_OPEN.match(fold(marked.message)))
    loose = asked.kind in ("check", "list", "text")
    if not titled and loose and _COUNTING.search(fold(marked.message)):
        asked = dataclasses.replace(asked, kind="count")
    if asked.kind == "superlative" and len(set(re.findall(r"\[t\d+\]", marked.message))) > 1:
        asked = dataclasses.replace(asked, kind="comparison")
    if asked.kind == "check" and asked.topic == "character" and "person" in kinds:
        return dataclasses.replace(asked, field="cast", topic="")
    doubtful = asked.topic in _DOUBTFUL or (asked.kind == "text" and not asked.confident)
    same = asked.kind == "fact" and any(_SPAN_OF.get(asked.field) == kind for kind in claims)
    if titled and claims - {"person"} and not open_question and (doubtful or same):
        return dataclasses.replace(asked, kind="check", field="", topic="")
    people = asked.field in ("directors", "cast", "people")
    if asked.kind == "fact" and people and "person" in kinds:  # "was it [p1] who directed [t1]?"
        if not open_question or fold(marked.message).startswith(("who", "quem", "quien")):
            return dataclasses.replace(asked, kind="check")
        return dataclasses.replace(asked, kind="text", field="")  # "what did [p1] do after [t1]?"
    if asked.kind == "check" and asked.field and not claims:  # "is there a genre for it?"
        return dataclasses.replace(asked, kind="fact")
    if asked.topic == "setting" and asked.focus:  # "does it take place in Paris?"
        asked = dataclasses.replace(asked, topic="")
    quoted = [w.key for m in QUOTED.finditer(marked.message) for w in words(m[1] or m[2])]
    quoted = [w for w in quoted if not re.fullmatch(r"t\d+", w)]
    asks = open_question or bool(_ASKS & {w.key for w in words(marked.message)})
    if quoted and (asked.kind not in ("check", "count", "superlative") or asks):
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


def _searching(case: Case) -> Case:
    """A list asked for by what no field holds, as a search for the text that tells it."""
    strange = _not_understood(case) if case.asked.kind == "list" and not case.sources else ""
    if not strange:
        return case
    words_of = dict.fromkeys((*strange.split(), *case.asked.focus))
    asked = dataclasses.replace(case.asked, kind="text", field="", topic="", focus=tuple(words_of))
    return dataclasses.replace(case, asked=asked)


def _wants(asked: Asked) -> bool:
    """Whether a question asks for something in particular."""
    return bool(asked.focus or asked.topic or asked.field)


def _longest(marked: Marked, focus: Sequence[str]) -> str:
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
        and not re.fullmatch(r"t\d+", w.key)
        and not any(s.start <= w.start < s.end for s in marked.spans)
    ]
    return _longest(marked, rest) if rest else ""


_NEGATIONS = frozenset(
    "no not never without nao nunca sem jamais sin jamas nem ni none isnt".split()
)


def _plainly(asked: Asked, used: Sequence[tuple[Item, Passage]]) -> bool:
    """Whether the words quoted hold all that was asked for, and deny nothing."""
    said = {w.key for w in words(used[0][1].text)}
    return bool(asked.focus) and {*asked.focus} <= said and not said & _NEGATIONS


def _not_understood(case: Case) -> str:
    """The words of a query that name a thing no field holds: it must not be run without them."""
    spans = [s for s in case.marked.spans if s.kind not in ("unknown", "title")]
    tokens = words(case.marked.message)
    rest = [w.key for w in tokens if not any(s.start <= w.start < s.end for s in spans)]
    said = f" {' '.join(rest)} "
    topics = {case.asked.topic} if case.asked.topic else TOPICS.keys() - _EVERYDAY
    if case.asked.field == "rating":  # "the best rated"
        topics -= {"age rating"}
    for topic in topics:
        for phrase in TOPICS[topic][case.language]:
            if f" {phrase} " in said:
                return phrase
    narrowing = -9
    found = []
    for n, w in enumerate(tokens):
        if w.key in _NARROWING:
            narrowing = n
        elif w.key in rest and w.key in case.asked.focus and n - narrowing <= NARROWED:
            found += [w.key] if not w.key.isdigit() else []
    return " ".join(found)


def _sure(case: Case) -> float:
    read = 1.0 if case.asked.confident else 0.6
    return round(read * min((s.score for s in case.sources), default=1.0), 3)
