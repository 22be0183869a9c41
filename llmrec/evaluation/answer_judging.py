"""Judging hides when an answer is right, and what else is counted of it beside its question.

What is right is decided in one place, ``is_right``; ``RULE`` says it to readers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from llmrec.errors import InputError
from llmrec.evaluation.questions import Question
from llmrec.lexicon import guess_language
from llmrec.metrics import text as metrics
from llmrec.metrics.amounts import amount_of, amounts
from llmrec.titles import fold, words
from llmrec.types import Item
from llmrec.wording import record_texts

__all__ = ["FOUND_AT", "METRICS", "RULE", "Said", "is_right", "judge", "unsupported"]

MOST_WORDS = 120
# Measured: of 1,037 descriptions of other films none has 40 % of a right one's words in order;
# right ones that lost three words of ten at random keep half in 96 % of the cases.
RECALL = 0.5
TELLING_WORDS = 5
_QUOTED = re.compile(r"[“«\"]([^”»\"]+)[”»\"]")
_POSSESSIVE = re.compile(r"['’]s\b")
FOUND_AT = 5
RULE = (
    "A question that cannot be answered is answered rightly by a refusal; where nothing meets what "
    "is counted, by nought too. Any other question is where the answer is no refusal, holds every "
    "value needed (a number in any spelling, one of the names that a thing goes by, yes or no as "
    f"the first word), and has at most {MOST_WORDS} words. Of a comparison, the one asked for is "
    "named before the other. Where a text is asked for, which can be told in many ways, at least "
    f"{RECALL:.0%} of the words of a right answer stand in the answer in their order (ROUGE-L "
    "recall)."
)
METRICS = {
    "right": "Right",
    "exact_match": "Exact match",
    "token_f1": "Token F1",
    "chrf": "chrF",
    "rouge_l": "ROUGE-L",
    "values": "Values",
    "numeric": "Numbers",
    "supported": "Supported",
    "checked": "Supported, checked",
    "language": "Language",
    "hit@1": "Hit@1",
    f"hit@{FOUND_AT}": f"Hit@{FOUND_AT}",
    "mrr": "MRR",
}


@dataclass(frozen=True)
class Said:
    """What a system said to one question.

    Attributes
    ----------
    id: of the question. supported: None where the system does not say.
    why: of a refusal. sources: ids of the items it says it used.
    found: ids of the items it finds for the question, best first; None: it looks for none.
    seconds: of its batch, divided by the questions in it; 0: to be measured from outside.
    error: why there is no answer; None where there is one.
    """

    id: str
    text: str
    refused: bool = False
    supported: bool | None = None
    why: str = ""
    sources: tuple[str, ...] = ()
    found: tuple[str, ...] | None = None
    seconds: float = 0.0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain JSON types."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Said:
        """What ``to_dict`` wrote. Raises InputError for anything else."""
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except TypeError as e:
            known = ", ".join(f.name for f in fields(cls))
            raise InputError(f"this is no answer ({e}): its fields are {known}") from None


def is_right(question: Question, said: Said) -> bool:
    """Whether an answer is right, as ``RULE`` says."""
    if said.error is not None or said.refused:
        return said.refused and not question.answerable
    if not said.text.strip() or len(said.text.split()) > MOST_WORDS:
        return False
    if question.judged == "text":
        return _recall(said.text, question.answers) >= RECALL
    held = all(metrics.holds(said.text, v, question.language) for v in question.values)
    return bool(question.values) and held and _first(said.text, question)


def _recall(text: str, answers: Sequence[str]) -> float:
    """The best ROUGE-L recall of any right answer."""
    return max((metrics.rouge_l(text, [a]).recall for a in answers), default=0.0)


def _first(text: str, question: Question) -> bool:
    """Whether no rival is named before what is needed."""
    said = f" {fold(text)} "

    def place(names: Iterable[str]) -> float:
        found = [said.find(f" {fold(n)} ") for n in names if fold(n)]
        return min((p for p in found if p >= 0), default=math.inf)

    return place(n for v in question.values for n in v) <= place(question.rivals)


def judge(question: Question, said: Said, items: Mapping[str, Item]) -> dict[str, float]:
    """Every metric of an answer; NaN where a metric is not defined for it.

    Words and values are compared for answerable questions; a refusal has none right. Whether an
    answer is supported is asked of those that claim something.

    Parameters
    ----------
    items: by id, those of the question and of the sources.
    """
    out = dict.fromkeys(METRICS, math.nan)
    gold = [items[i] for i in question.items if i in items]
    out["right"] = float(is_right(question, said))
    text = "" if said.refused or said.error is not None else said.text
    if question.answerable and question.answers:
        out["exact_match"] = metrics.exact_match(text, question.answers)
        out["token_f1"] = metrics.token_f1(text, question.answers)
        out["chrf"] = metrics.chrf(text, question.answers)
        out["rouge_l"] = metrics.rouge_l(text, question.answers).f1
    if question.answerable and question.values:
        out["values"] = metrics.value_accuracy(text, question.values, question.language)
    if numbers := _numbers(question):
        held = (metrics.holds(text, v, question.language) for v in numbers)
        out["numeric"] = sum(held) / len(numbers)
    if text.strip():
        if said.supported is not None:
            out["supported"] = float(said.supported)
        sources = [items[i] for i in said.sources if i in items] or gold
        out["checked"] = float(not unsupported(text, question, sources))
        out["language"] = float(_in_its_language(text, question, sources))
    if said.found is not None and question.items and _names_its_items(question):
        places = [said.found.index(i) + 1 for i in question.items if i in said.found]
        out["hit@1"] = float(1 in places)
        out[f"hit@{FOUND_AT}"] = float(any(p <= FOUND_AT for p in places))
        out["mrr"] = 1 / min(places) if places else 0.0
    return out


def _numbers(question: Question) -> list[Sequence[str]]:
    """The values needed that are numbers."""
    return [
        v
        for v in question.values
        if question.answerable and any(amount_of(n, question.language) is not None for n in v)
    ]


def _names_its_items(question: Question) -> bool:
    """Whether the items are named; of counts and superlatives, and in part where one is invented,
    they are not."""
    return question.kind not in ("count", "superlative") and question.why != "no such title"


def unsupported(text: str, question: Question, sources: Sequence[Item]) -> list[str]:
    """The numbers and names of an answer that stand neither in its sources nor in the question.

    This is not the check that answers pass before they are given, but a second and simpler one:
    every number, and every capitalised word that does not begin a sentence. Of a count the right
    number counts as standing in the sources, which are what was counted.
    """
    language = question.language
    records = [" ".join(_record(i, language)) for i in sources]
    known = {fold(w) for t in (*records, question.question) for w in _bare(t)}
    given = {a.value for t in (*records, question.question) for a in amounts(t, language)}
    if question.kind == "count":
        given |= {amount_of(n, language) or 0.0 for v in question.values for n in v}
    strange = [
        a.text
        for a in amounts(text, language)
        if a.value not in given and not (a.spelled and a.value <= 1)
    ]
    return strange + [w for w in _capitalised(text) if fold(w) not in known]


def _record(item: Item, language: str) -> Iterator[str]:
    """Everything that an item says, in the question's language and in that of the catalogue."""
    yield from item.all_titles
    for of in dict.fromkeys((language, "en")):
        yield from record_texts(item, of).values()
    yield from (*item.people, *item.keywords, item.description, *item.descriptions.values())


def _bare(text: str) -> Iterator[str]:
    return (w.key for w in words(_POSSESSIVE.sub("", text)))


def _capitalised(text: str) -> Iterator[str]:
    """Words with a capital that do not begin a sentence, nor follow a quote or a colon."""
    plain = _POSSESSIVE.sub("", text)
    end = 0
    for n, w in enumerate(words(plain)):
        between = plain[end : w.start]
        end = w.end
        opens = n == 0 or any(c in between for c in '.!?:;¿¡“”"«»(\n')
        if plain[w.start].isupper() and not opens and len(w.key) > 1:
            yield w.key


def _in_its_language(text: str, question: Question, sources: Sequence[Item]) -> bool:
    """Whether an answer is in the question's language, apart from titles, and from quotations of
    texts that the catalogue has in another language only."""
    other = [i for i in sources if question.language not in i.descriptions]
    foreign = fold(" ".join(t for i in other for t in (i.description, *i.descriptions.values())))
    text = _QUOTED.sub(lambda m: " " if fold(m[1]) in foreign else m[0], text)
    for name in sorted((n for i in sources for n in i.all_titles), key=len, reverse=True):
        text = text.replace(name, " ")
    guessed = guess_language(text, question.language)
    # "Dura 93 minutos" is Portuguese and Spanish.
    close = "en" not in (guessed, question.language) and len(words(text)) < TELLING_WORDS
    return guessed == question.language or close
