"""Texts hides how a description answers a question: the passages that fit, quoted or put in words.

A model that writes is shown the record and the passages; of what it writes, only sentences that
they support are kept. Where none is, the catalogue is quoted.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from llmrec.faithfulness import flaw
from llmrec.orders import without_orders
from llmrec.passages import sentences, stem, texts_of
from llmrec.prompting import answer_prompt, parse_cited, sources_prompt
from llmrec.questions import TOPICS, Asked
from llmrec.titles import fold, words
from llmrec.types import Conversation, Item, Passage
from llmrec.wording import record_texts

if TYPE_CHECKING:
    from llmrec.catalog import Catalog
    from llmrec.models.base import LanguageModel
    from llmrec.prompting import Style

__all__ = ["LENGTHS", "TOLD", "Length", "Passages", "described", "evidence", "safe", "written"]

Length = Literal["short", "medium", "long"]
LENGTHS = {"short": 160, "medium": 480, "long": 2_000}  # characters of a description
ANSWER_TOKENS = 120
_REFUSAL = re.compile(
    r"\b(?:(?:does|do|did) ?n[o']?t (?:say|mention|tell|state|specify|know)|"
    r"not (?:say|mentioned|stated|specified|given|known)|no information|cannot (?:tell|say)|"
    r"nao (?:diz|menciona|informa|consta|sei|traz|ha informac\w+|especifica)|"
    r"no (?:dice|menciona|informa|consta|lo se|trae|hay informac\w+|especifica))\b"
)

# How texts tell what a field does not hold.
TOLD = {
    "directors": (
        "directed by", "co directed by", "director", "dirigido por", "dirigida por",
        "dirigido pela", "direção de", "dirección de", "realizado por", "realizada por",
    ),
    "cast": (
        "starring", "stars", "star", "starred", "featuring", "cast", "estrelado por",
        "estrelada por", "estrelando", "elenco", "protagonizada por",
        "protagonizado por", "reparto",
    ),
}  # fmt: skip

Passages = tuple[Passage, ...]


def evidence(
    catalog: Catalog,
    items: Sequence[Item],
    asked: Asked,
    least: float,
    language: str,
    *,
    dense: bool,
) -> dict[str, Passages]:
    """The words of each item's text that fit a question, by id; items without any are left out."""
    if asked.topic or asked.field in TOLD:  # other words of the question do not tell of it
        return {i.id: own for i in items if (own := _on_topic(i, asked, language))}
    if not asked.focus:
        return {}
    hits = catalog.passages(
        " ".join(asked.focus),
        k=4 * len(items),
        ids=[i.id for i in items],
        mode="hybrid" if dense else "text",
        min_similarity=least,
    )
    found: dict[str, Passages] = {}
    for hit in sorted(hits, key=lambda h: not _own(h.passage, language)):
        if best := _telling(hit.passage, hit.item, asked.focus):
            found[hit.item.id] = (*found.get(hit.item.id, ()), best)
    return found


def _own(passage: Passage, language: str) -> bool:
    """Whether a passage may be in the language of the question."""
    return passage.field in ("title", "description", f"descriptions.{language}")


def _on_topic(item: Item, asked: Asked, language: str) -> Passages:
    """Sentences that speak of a topic, in whatever language."""
    forms = TOPICS[asked.topic].values() if asked.topic else (TOLD[asked.field],)
    phrases = {fold(p) for own in forms for p in own} - {""}
    found = []
    # The title last: it names what a text explains.
    for field, text in (texts_of(item) | {"title": item.title}).items():
        for start, end in sentences(text):
            said = text[start:end]
            untold = {*asked.focus} - {w.key for w in words(said)}
            if asked.kind == "check" and not asked.topic and untold:
                continue
            if any(f" {p} " in f" {fold(said)} " for p in phrases) and _harmless(said, item):
                found.append(Passage(said, field, start, 1.0))
    return tuple(sorted(found, key=lambda p: (p.field == "title", not _own(p, language))))


def _telling(passage: Passage, item: Item, focus: Sequence[str]) -> Passage | None:
    """The sentence of a passage that holds most of the words, unless it gives orders."""

    wanted = {stem(w) for w in focus}
    best, most = None, 0
    for start, end in sentences(passage.text):
        said = passage.text[start:end]
        held = len(wanted & {stem(w) for w in fold(said).split()})
        if held > most and _harmless(said, item):
            best, most = (start, said), held
    if best is None:
        return safe(passage, item)
    return dataclasses.replace(passage, text=best[1], start=passage.start + best[0])


def safe(passage: Passage, item: Item) -> Passage | None:
    """A passage without the sentences that are orders; None if nothing is left."""
    text = without_orders(passage.text, item.all_titles)
    return dataclasses.replace(passage, text=text) if text else None


def _harmless(sentence: str, item: Item) -> bool:
    """Whether a sentence stands in what is left of a text without its orders."""
    texts = (without_orders(t, item.all_titles) for t in texts_of(item).values())
    return sentence == item.title or any(sentence in text for text in texts)


def described(item: Item, length: Length, language: str) -> Passage | None:
    """The item's own description, cut at a sentence; None where it has none."""
    text = without_orders(item.description_in(language), item.all_titles)
    if not text:
        return None
    most = LENGTHS[length]
    ends = [end for _, end in sentences(text) if end <= most]
    shown = text[: ends[-1]] if ends else _shortened(text, most)
    field = f"descriptions.{language}" if language in item.descriptions else "description"
    return Passage(shown, field, 0, 1.0)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0].rstrip(",;: ") + " …"


def written(
    model: LanguageModel,
    conversation: Conversation,
    sources: Sequence[tuple[Item, Passages]],
    language: str,
    *,
    style: Style = "chat",
) -> tuple[str, tuple[str, ...], bool]:
    """What a model answers from the records of one or more items.

    Returns
    -------
    The sentences that the records support, as a text; those they do not; and whether the model
    said that the records do not tell.
    """
    question = conversation.messages[-1].content
    records = [shown_record(item, passages, language) for item, passages in sources]
    if len(records) == 1:
        prompt = answer_prompt(question, records[0], language=language, style=style)
    else:
        prompt = sources_prompt(conversation, records, language=language)
    said = model.generate([prompt], max_new_tokens=ANSWER_TOKENS)[0].strip()
    text, _ = parse_cited(said, len(records))
    if _REFUSAL.search(fold(text)) or not text:
        return "", (), True
    names = tuple(t for item, _ in sources for t in item.all_titles)
    record = " ".join([*(v for r in records for v in r.values()), *names])
    kept: list[str] = []
    wrong: list[str] = []
    for start, end in sentences(text):
        sentence = text[start:end]
        bad = flaw(sentence, record, language, allowed=question)
        (wrong if bad or without_orders(sentence, names) != sentence else kept).append(sentence)
    return " ".join(kept), tuple(wrong), False


def shown_record(item: Item, passages: Iterable[Passage], language: str) -> dict[str, str]:
    """The record a model is shown: the fields, and of the description the passages that fit."""
    context = record_texts(item, language)
    chosen = " ".join(dict.fromkeys(p.text for p in passages))
    if chosen:
        context["description"] = chosen
    names = item.all_titles
    return {name: kept for name, text in context.items() if (kept := without_orders(text, names))}
