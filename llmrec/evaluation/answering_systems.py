"""Answering systems hide who answers a question: a recommender, a model alone, or a plain rule.

Those in ``SYSTEMS`` can be asked for. "alone" is the model without the catalogue; "unchecked" is
shown the record of the item found, and what it writes is taken as it is; "retrieval" is
``Recommender.answer``. The "tuned" ones are the same with an adapter. "copy-title" answers with the
title found in the question, "nearest-title" with what training says to the question most like it
about the title most like it, "majority" with the answer that training has most often for that kind
of question, which it is told.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.evaluation.answer_judging import FOUND_AT, Said
from llmrec.evaluation.questions import Question
from llmrec.models.profile import Profile
from llmrec.prompting import answer_prompt
from llmrec.titles import fold
from llmrec.types import Answer, Conversation, Message
from llmrec.wording import record_texts

if TYPE_CHECKING:
    from llmrec.models.base import LanguageModel
    from llmrec.recommender import Recommender

__all__ = [
    "NEEDS_TRAINING",
    "SYSTEMS",
    "AnsweringSystem",
    "CopyTitle",
    "Majority",
    "ModelAlone",
    "NearestTitle",
    "Retrieval",
    "Unchecked",
    "alone_prompt",
    "in_both",
    "refuses",
]

SYSTEMS = (
    *("retrieval", "unchecked", "alone", "tuned", "tuned-unchecked", "tuned-alone"),
    *("copy-title", "nearest-title", "majority"),
)
NEEDS_TRAINING = ("nearest-title", "majority")
MAX_NEW_TOKENS = 96


class AnsweringSystem(Protocol):
    """Something that answers questions."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """What it says to each of the questions. Raises LLMRecError."""
        ...


# What a model is told that has nothing but itself, and how it is read whether it refuses.

_ALONE = {
    "en": "Answer the question about a film or product in one short sentence. Where it is asked "
    "whether something is so, begin with yes or no. If you do not know, say only: I do not know.",
    "pt": "Responda à pergunta sobre um filme ou produto em uma frase curta. Quando se pergunta "
    "se algo é assim, comece com sim ou não. Se não souber, diga apenas: Não sei.",
    "es": "Responde a la pregunta sobre una película o un producto en una frase corta. Cuando se "
    "pregunta si algo es así, empieza con sí o no. Si no lo sabes, di solo: No lo sé.",
}
# Of 522 refusals that models are trained on 521 are read as such, and of 5,086 right answers none.
_REFUSING = {
    "en": re.compile(
        r"\b(?:(?:do|does|did|can|could)(?:nt| not) (?:say|know|tell|mention|state|specify|hold|"
        r"find|have|answer|contain|include)|can(?:not|t) (?:say|tell|answer|find)|not (?:mentioned|"
        r"stated|specified|given|known)|no information|says nothing|"
        r"catalogue has (?:no|nothing|none)|nothing in the catalogue)\b"
    ),
    "pt": re.compile(
        r"\b(?:nao (?:sei|diz|dizem|informa|menciona|consta|traz|tenho|encontro|ha informac\w+|"
        r"especifica|posso|fala|e dito)|catalogo nao tem|nada no catalogo)\b"
    ),
    "es": re.compile(
        r"\b(?:no (?:lo se|lo dice|se sabe|dice|dicen|informa|menciona|consta|trae|tengo|encuentro|"
        r"hay informac\w+|especifica|puedo|habla|se indica|se dice)|catalogo no tiene|"
        r"nada en el catalogo|desconozco)\b"
    ),
}


def alone_prompt(question: Question) -> tuple[Message, ...]:
    """Ask a question of a model that is shown nothing but what was said before."""
    return Message("system", _ALONE[question.language]), *question.messages


def refuses(text: str, language: str) -> bool:
    """Whether a text says in its first sentence that it does not know, or says nothing at all."""
    first = fold(text.strip().split("\n", 1)[0].split(". ", 1)[0])
    return not first or bool(_REFUSING[language].search(first))


class ModelAlone:
    """A language model that is shown the question and nothing else."""

    def __init__(self, name: str, model: LanguageModel) -> None:
        self.name = name
        self._model = model

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """See ``AnsweringSystem``."""
        prompts = [alone_prompt(q) for q in questions]
        texts = self._model.generate(prompts, max_new_tokens=MAX_NEW_TOKENS)
        return [_written(q, text) for q, text in zip(questions, texts, strict=True)]


class Unchecked:
    """A language model that is shown the record of the first item found, and is not corrected."""

    def __init__(self, name: str, recommender: Recommender) -> None:
        self.name = name
        self._recommender = recommender

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """See ``AnsweringSystem``."""
        model = self._recommender.model
        profile = getattr(model, "profile", None) or Profile()
        found = [self._recommender.find(_asked(q), k=FOUND_AT) for q in questions]
        prompts = [
            answer_prompt(
                q.question,
                record_texts(sources[0].item, q.language) if sources else {},
                language=q.language,
                style=profile.answers or "chat",
            )
            for q, sources in zip(questions, found, strict=True)
        ]
        texts = model.generate(prompts, max_new_tokens=MAX_NEW_TOKENS)
        out = []
        for q, text, sources in zip(questions, texts, found, strict=True):
            ids = tuple(s.item.id for s in sources)
            out.append(_written(q, text, ids[:1], ids))
        return out


def _written(
    question: Question,
    text: str,
    sources: tuple[str, ...] = (),
    found: tuple[str, ...] | None = None,
) -> Said:
    refused = refuses(text, question.language)
    return Said(question.id, text.strip(), refused, sources=sources, found=found)


class Retrieval:
    """A recommender that answers from its catalogue and is asked what it finds."""

    def __init__(self, name: str, recommender: Recommender, **how: Any) -> None:
        self.name = name
        self._recommender = recommender
        self._how = how

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """See ``AnsweringSystem``."""
        start = time.perf_counter()
        made: list[Answer] = self._recommender.answer(list(map(_asked, questions)), **self._how)
        # What it finds is asked for the figures alone, and is no part of an answer's time.
        seconds = round((time.perf_counter() - start) / len(questions), 6)
        out = []
        for q, a in zip(questions, made, strict=True):
            found = tuple(s.item.id for s in self._recommender.find(_asked(q), k=FOUND_AT))
            sources = tuple(s.item.id for s in a.sources)
            out.append(Said(q.id, a.text, a.refused, a.supported, a.why, sources, found, seconds))
        return out


def _asked(question: Question) -> Conversation:
    return Conversation(question.messages)


class CopyTitle:
    """Says the longest title of the catalogue that stands in the question, and nothing else."""

    name = "copy-title"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """See ``AnsweringSystem``."""
        out = []
        for q in questions:
            said = " \n".join(m.content for m in q.messages)
            found = self._catalog.find_titles(said)
            longest = max(found, key=lambda f: f.end - f.start, default=None)
            text = said[longest.start : longest.end] if longest else ""
            ids = longest.ids[:FOUND_AT] if longest else ()
            out.append(Said(q.id, text, not text, sources=ids[:1], found=ids))
        return out


class Majority:
    """The most frequent answer of the training part for the kind, field and language."""

    name = "majority"

    def __init__(self, training: Iterable[Question]) -> None:
        counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for q in training:
            counts[q.kind, q.language][_gold(q)] += 1
            counts[q.kind, q.field, q.language][_gold(q)] += 1
        # Of equally frequent ones the first in the alphabet, whatever the order of the file.
        self._said = {k: min(c, key=lambda t: (-c[t], t)) for k, c in counts.items()}

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """See ``AnsweringSystem``."""
        out = []
        for q in questions:
            of = (q.kind, q.field, q.language), (q.kind, q.language)
            text = next((self._said[k] for k in of if k in self._said), "")
            out.append(Said(q.id, text, not text))
        return out


class NearestTitle:
    """The answer to the most similar training question about the title most like the question's.

    Titles are compared by runs of three letters, questions by words, both weighted by how rare
    they are (TF-IDF, cosine).
    """

    name = "nearest-title"

    def __init__(self, training: Iterable[Question]) -> None:
        self._of: dict[str, dict[str, list[Question]]] = {}
        for q in training:
            if title := q.context.get("title"):
                self._of.setdefault(q.language, {}).setdefault(title, []).append(q)
        self._titles = {language: _Alike(list(of), _letters) for language, of in self._of.items()}

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """See ``AnsweringSystem``."""
        return [self._answer(q) for q in questions]

    def _answer(self, question: Question) -> Said:
        titles = self._titles.get(question.language)
        if titles is None:
            return Said(question.id, "", True)
        title = titles.nearest(question.question)
        near = self._of[question.language][title]
        said = _Alike([q.question for q in near], _words).nearest(question.question)
        text = _gold(next(q for q in near if q.question == said))
        return Said(question.id, text, not text)


def _gold(question: Question) -> str:
    """The first right answer; nothing where there is none."""
    return question.answers[0] if question.answerable and question.answers else ""


class _Alike:
    """Texts, and which of them is most like another one; the first of equals."""

    def __init__(self, texts: Sequence[str], cut: Any) -> None:
        if not texts:
            raise InputError("there is no text to compare with")
        self._texts = texts
        self._cut = cut
        counts = [Counter(cut(t)) for t in texts]
        of = Counter(part for c in counts for part in c)
        self._rare = {part: math.log((1 + len(texts)) / (1 + n)) + 1 for part, n in of.items()}
        self._in: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, c in enumerate(counts):
            long = math.sqrt(sum((n * self._rare[p]) ** 2 for p, n in c.items())) or 1.0
            for part, n in c.items():
                self._in[part].append((row, n * self._rare[part] / long))

    def nearest(self, text: str) -> str:
        score: defaultdict[int, float] = defaultdict(float)
        for part, n in Counter(self._cut(text)).items():
            for row, weight in self._in.get(part, ()):
                score[row] += n * self._rare[part] * weight
        return self._texts[min(score, key=lambda r: (-score[r], r), default=0)]


def _words(text: str) -> list[str]:
    return fold(text).split()


def _letters(text: str) -> list[str]:
    """Runs of three letters, with blanks around words."""
    said = f" {fold(text)} "
    return [said[i : i + 3] for i in range(len(said) - 2)]


def in_both(questions: Iterable[Question], training: Iterable[Question]) -> Mapping[str, int]:
    """How many title clusters, and wordings, two sets have in common."""
    ours, theirs = list(questions), list(training)
    both = {
        "clusters": {q.cluster for q in ours} & {q.cluster for q in theirs},
        "wordings": {q.phrasing for q in ours} & {q.phrasing for q in theirs},
        "questions": {fold(q.question) for q in ours} & {fold(q.question) for q in theirs},
    }
    return {name: len(of - {""}) for name, of in both.items()}
