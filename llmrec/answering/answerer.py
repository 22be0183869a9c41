"""Answerer hides the whole way from a question to an answer with its sources, or a refusal."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmrec.answering.facts import SETS, Found, checked, compared, told
from llmrec.answering.finding import ASKING
from llmrec.answering.queries import executed, wanted_of
from llmrec.answering.reading import OPEN, QUERIES, Case, Reader, longest
from llmrec.answering.sentences import joined, not_said, say, thing, value
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
from llmrec.errors import InputError
from llmrec.faithfulness import flaw
from llmrec.lexicon import Lexicon, Marked, Span
from llmrec.preferences import Understander
from llmrec.prompting import Style
from llmrec.quantities import find_quantities
from llmrec.questions import Asked, asks
from llmrec.titles import fold, words
from llmrec.types import Answer, Conversation, Item, Message, Passage, Source
from llmrec.wording import record_texts

if TYPE_CHECKING:
    from llmrec.catalog import Catalog
    from llmrec.models.base import LanguageModel

__all__ = ["MIN_SIMILARITY", "Answerer"]

MIN_SIMILARITY = 0.5
SEVERAL = 4  # titles that one is asked to choose from
SEARCHED = 0.6  # of a question about no item in particular, that a passage must hold
_JOINED = re.compile(
    r"\bt1 (?:and|e|y|or|ou|o|u|than|do que|que|vs|versus|com|con|with)\b|"
    r"\b(?:and|e|y|or|ou|o|u|than|que|vs|versus|com|con|with|between|entre) t1\b"
)
_HAVING = re.compile(  # "do you have [t1]?"
    r"\b(?:have|has|got|carry|stock|sell|tem|tens|vendem|existe|tienen|tienes|hay|venden)\b"
)
_YEAR = re.compile(r"\b(?:18|19|20)\d\d\b")
_IGNORANCE = re.compile(
    r"\b(?:no idea|don'?t know|n[aã]o fa[cç]o (?:ideia|a m[ií]nima)|n[aã]o sei|nem sei|no s[eé]|"
    r"ni idea|no tengo(?: ni)? idea)\b",
    re.IGNORECASE,
)
_LEAST = re.compile(r"\b(?:menos|least)\b(?! (?:de|than|que)\b)", re.IGNORECASE)
FACTS = ("year", "genres", "runtime", "directors", "cast", "price")  # of a description, in order
FACTS_OF = {"short": 0, "medium": 4, "long": 6}


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
        self.reader = Reader(catalog, lexicon)
        self.checks: Counter[str] = Counter()
        # Filters of counts must be the same each time: the rules alone read them.
        self._understander = Understander(lexicon, catalog.get)

    # -- answering ----------------------------------------------------------------------------

    def find(
        self, conversation: Conversation, k: int, *, min_similarity: float = 0.0
    ) -> list[Source]:
        """The items that a question may be about, best first: named, spoken of, or found."""
        case = _searching(self.reader.read(conversation))
        found = list(case.sources)
        if case.asked.kind in QUERIES and not found:
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
        case = self.reader.read(conversation)
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
            return self._refused(case, *self._which(case.stranger, language))
        case = _searching(case)
        asked = case.asked
        if asked.kind in QUERIES and not (asked.kind == "list" and case.sources):
            return self._queried(case, k)
        if not case.sources:
            if asked.kind != "text":
                return self._refused(case, "unclear", say("unclear", language))
            case = dataclasses.replace(case, sources=self._searched(case, k, least)[:1])
            if not case.sources:
                return self._refused(case, "no match", say("no match", language))
        items = [s.item for s in case.sources]
        if asked.kind == "comparison" and len(items) == 1:
            if strange := [w for w in asked.focus if not asks(w)]:
                name = longest(case.marked, strange)
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
            found = checked(items[0], asked, self._claims(case), language)
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
        if shared and not OPEN.match(fold(case.marked.message)):
            return compared(items, asked, language)  # "do they have a genre in common?"
        if asked.field and asked.kind in ("fact", "list", "comparison"):
            return told(items, asked.field, language)
        return None

    def _claims(self, case: Case) -> Sequence[Span]:
        """What a question of yes or no names; where it is about time, every year or stretch."""
        spans, field = case.marked.spans, case.asked.field
        if field not in ("runtime", "year") or any(s.kind == field for s in spans):
            return spans
        text = case.marked.message
        if field == "year":  # of a birth, say: "I was born in 1980, is it from that year?"
            years = [(m.start(), m.end(), int(m[0])) for m in _YEAR.finditer(text)]
            return (*spans, *(Span(s, e, "year", (), y, y) for s, e, y in years))
        found = find_quantities(text, self.reader.lexicon.this_year, timed=True)
        times = (Span(q.start, q.end, q.kind, (), q.low, q.high) for q in found)
        return (*spans, *(s for s in times if s.kind == "runtime"))

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
        # "The least recent in English" leaves no language out.
        told = _IGNORANCE.sub(" ", self._without_askers(case.marked))
        told = _LEAST.sub(" ", told) if asked.kind == "superlative" else told
        spoken = Conversation((Message("user", told),), language=language)
        understood = self._understander.understand([spoken])[0].preferences
        wanted = wanted_of(understood, case.marked, asked)
        if understood.people and not self.catalog.filter(wanted).size:  # "films of", by or with
            asked = dataclasses.replace(asked, field="")
            wanted = wanted_of(understood, case.marked, asked)
        if understood.unknown:
            text = self._do_not_know(understood.unknown[0], language)
            return self._refused(case, "unknown title", text)
        if strange := case.strange:
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
        return Answer(result.text, asked.kind, sources, language=language, confidence=case.sure)

    def _without_askers(self, marked: Marked) -> str:
        """The message without words of asking that pass for somebody's name: "mirando"."""
        text = marked.message
        for s in marked.spans:
            said = text[s.start : s.end]
            if s.kind in ("person", "keyword") and said.islower() and asks(fold(said), of_all=True):
                text = text[: s.start] + " " * len(said) + text[s.end :]
        return text

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
        if known := self.reader.named(title).known:
            item = self.catalog.items_at([known[0].rows[0]])[0]
            return self._described(item, known[0].score, length, language)
        text = self._do_not_know(title.strip(), language)
        return Answer(text, "describe", (), True, True, "unknown title", language)

    def described(self, conversation: Conversation) -> Answer:
        """The description of the title that the last message names, or points at."""
        case = self.reader.read(conversation)
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

    def _which(self, name: str, language: str) -> tuple[str, str]:
        """Why a name leads to no item, and what is said: there are several, or none."""
        rows = self.catalog.title_index.beginning(name)
        if not rows:
            return "unknown title", self._do_not_know(name, language)
        names = [f"“{i.title_in(language)}”" for i in self.catalog.items_at(rows[:SEVERAL])]
        return "unclear", say("several", language, names=joined(names, language, either=True))

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
            confidence=case.sure,
        )

    def _answered(self, case: Case, text: str, used: Sequence[tuple[Item, Passage]]) -> Answer:
        own: dict[str, Passages] = {}
        for item, passage in used:
            own[item.id] = (*own.get(item.id, ()), passage)
        by_id = {s.item.id: s for s in case.sources}
        sources = tuple(
            dataclasses.replace(by_id[i], passages=passages) for i, passages in own.items()
        )
        return Answer(text, case.asked.kind, sources, language=case.language, confidence=case.sure)

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


def _searching(case: Case) -> Case:
    """A list asked for by what no field holds, as a search for the text that tells it."""
    strange = case.strange if case.asked.kind == "list" and not case.sources else ""
    if not strange:
        return case
    words_of = dict.fromkeys((*strange.split(), *case.asked.focus))
    asked = dataclasses.replace(case.asked, kind="text", field="", topic="", focus=tuple(words_of))
    return dataclasses.replace(case, asked=asked)


def _wants(asked: Asked) -> bool:
    """Whether a question asks for something in particular."""
    return bool(asked.focus or asked.topic or asked.field)


_NEGATIONS = frozenset(
    "no not never without nao nunca sem jamais sin jamas nem ni none isnt".split()
)


def _plainly(asked: Asked, used: Sequence[tuple[Item, Passage]]) -> bool:
    """Whether the words quoted hold all that was asked for, and deny nothing."""
    said = {w.key for w in words(used[0][1].text)}
    return bool(asked.focus) and {*asked.focus} <= said and not said & _NEGATIONS
