"""Questions hides what a question asks for: the kind of answer, the field or topic, the direction.

A small classifier reads its words, in which names stand as the kind of thing they name; it is
learned by ``train/questions.py``. A table (``data/questions.tsv``) has the words that speak of
each field and topic: what they leave over is what to look for in a text.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import pairwise, product
from typing import Any, Literal, cast

import numpy as np

from llmrec.lexicon import Marked, Span
from llmrec.quantities import find_quantities, flat
from llmrec.softmax import Softmax, read_heads
from llmrec.titles import fold

__all__ = ["FILE", "HEADS", "STEM", "TOPICS", "Asked", "asks", "features", "read_question"]

QuestionKind = Literal["fact", "check", "text", "comparison", "count", "superlative", "list"]
Direction = Literal["", "max", "min"]


@dataclass(frozen=True)
class Asked:
    """What a question asks for.

    Attributes
    ----------
    field: the field of Item asked about; ``titles`` where the name in another language is; of a
        count or a list, what the things counted have in common; empty where no field holds it.
    topic: a key of TOPICS, for what no field of Item holds.
    direction: ``max`` for longest, newest, dearest, best; ``min`` for their opposites.
    same: whether a comparison asks if the field is the same, or shared.
    focus: the words left to look for in a passage, folded.
    confidence: the probability of kind, field, topic and direction together.
    """

    kind: QuestionKind
    field: str = ""
    topic: str = ""
    direction: Direction = ""
    same: bool = False
    focus: tuple[str, ...] = ()
    confidence: float = 1.0


@dataclass(frozen=True)
class _Cue:
    what: str
    name: str
    pattern: re.Pattern[str]


FILE = "questions.safetensors"
HEADS = ("form", "what", "way")
STEM = 5  # letters that a word is known by
_LONGEST = 20  # letters of a word
_THIS_YEAR = 2020  # for what "recent" is; only whether it is vague counts
_MOST_SENTENCES, _MOST_WORDS = 12, 120  # of a long message and sentence, the last ones
_PLACES = {"..": r"(?:\S+ ){0,4}?", "$": "$"}
_MARK = re.compile(r"\[([a-z])\d+\]|#[a-zA-Z][\w-]*|~(\w+)")
_NAME_CUE = re.compile(r"\b(?:by|with|starring|featuring|com|con)\s+$", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08]")
_NAMED = "TPYDGCLKM"  # what stands for a name
_VALUES = "YDGCLKM"
_STORY = ("historia", "story")  # what a film tells, and no genre by itself
_DIRECTIONS = ("max", "min")
_QUERIES = ("count", "superlative", "list")
_ELISIONS = {
    "en": (
        (re.compile(r"\b(who|what|how|where|when|which|it|that|there)['’]?s\b(?=\s)"), r"\1 is"),
        (re.compile(r"['’]s?\b"), " "),
    ),
    "pt": ((re.compile(r"\bé\b", re.IGNORECASE), "eh"), (re.compile(r"\bq[ /]?\b"), "que ")),
    "es": (),
}


def _table() -> Iterator[tuple[str, str, str, list[str]]]:
    text = resources.files("llmrec").joinpath("data/questions.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            what, name, language, cues = line.split("\t")
            yield what, name, language, [c.strip() for c in cues.split(";") if c.strip()]


def _spelled_out(cue: str) -> Iterator[str]:
    for words in product(*(forms.split("/") for forms in cue.split())):
        yield " ".join(words)


def _topics() -> dict[str, dict[str, tuple[str, ...]]]:
    topics: dict[str, dict[str, tuple[str, ...]]] = {}
    for what, name, language, cues in _table():
        if what == "topic":
            spoken = [fold(w) for c in cues if c[0] != "?" for w in _spelled_out(c.lstrip("="))]
            topics.setdefault(name, {})[language] = tuple(dict.fromkeys(spoken))
    return topics


TOPICS: Mapping[str, Mapping[str, tuple[str, ...]]] = _topics()
"""Topic, language, and the words and phrases that speak of it in questions and descriptions."""


def _pattern(cue: str, nouns: str) -> str:
    """A cue as a regular expression over words with single blanks between them."""
    parts = []
    for word in cue.split():
        if word in _PLACES:
            parts.append(_PLACES[word])
            continue
        optional = word.endswith("?")
        forms = [
            nouns if f == "N" else "eh?" if f == "eh" else re.escape(f).replace(r"\*", r"\w*")
            for f in word.rstrip("?").split("/")
        ]
        parts.append(f"(?:(?:{'|'.join(forms)}) )" + ("?" if optional else ""))
    return r"(?<!\S)" + "".join(parts)


@cache
def _cues(language: str) -> tuple[list[_Cue], list[re.Pattern[str]]]:
    """The cues that stand anywhere in a question, and the words that lead in to one."""
    rows = [(w, n, cues) for w, n, own, cues in _table() if own == language]
    nouns = "|".join(
        [*(f for w, _, cs in rows if w == "noun" for c in cs for f in c.split("/")), "G"]
    )
    anywhere: list[_Cue] = []
    leads: list[re.Pattern[str]] = []
    for what, name, cues in rows:
        for cue in cues:
            if what in ("chat", "stop", "noun") or cue.startswith("="):
                continue
            pattern = re.compile(_pattern(cue.lstrip("?"), nouns))
            if what == "lead":
                leads.append(pattern)
            else:
                anywhere.append(_Cue(what, name, pattern))
    return anywhere, leads


@cache
def _words_of(what: str, language: str) -> frozenset[str]:
    rows = (cues for w, _, own, cues in _table() if w == what and own == language)
    return frozenset(w for cues in rows for c in cues for w in c.split())


@cache
def _spellings(language: str) -> dict[str, str]:
    pairs = (
        c.split("=", 1)
        for w, _, own, cues in _table()
        if w == "chat" and own == language
        for c in cues
    )
    return dict(pairs)


# -- the text -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mark:
    """What stands for a mark: a capital, the words behind it, how many more titles it holds."""

    letter: str
    words: str
    more: int


def _vague(words: str) -> bool:
    """Whether words about years or running times say nothing exact: "old", "long"."""
    return all(q.vague for q in find_quantities(words, _THIS_YEAR))


@dataclass(frozen=True)
class _Text:
    """A sentence as words with single blanks.

    Attributes
    ----------
    marks: with a capital for everything named.
    spoken: with capitals for titles and people only, and the words themselves for the rest.
    content: the same without years, running times and prices: words to look for.
    body: ``marks`` without the words that lead in.
    titles: how many titles it names or points at.
    asking: whether it ends with a question mark.
    """

    marks: str
    spoken: str
    content: str
    body: str
    titles: int
    asking: bool


def _plain(text: str, language: str) -> str:
    for pattern, instead in _ELISIONS[language]:
        text = pattern.sub(instead, text)
    spellings = _spellings(language)
    words = re.sub(r"[^\w\x01]+|_", " ", flat(text)).split()
    return "".join(f"{spellings.get(w, w)} " for w in words)


def _sentences(text: str) -> list[str]:
    """The sentences that hold a word."""
    found = re.split(r"(?<=[.!?;])(?<!vs\.)\s+|\n+", text)
    return [f for f in found if re.search(r"\w", f)]


def _texts(marked: Marked, language: str) -> list[_Text]:
    """The sentences of a message, each read for itself."""
    spans: defaultdict[str, deque[Span]] = defaultdict(deque)
    for span in marked.spans:
        spans[span.mark].append(span)
    marks: list[_Mark] = []

    def stand_in(m: re.Match[str]) -> str:
        words, more = m[2] or ("" if m[1] else m[0][1:]), 0
        if spans[m[0]]:
            span = spans[m[0]].popleft()
            words = marked.message[span.start : span.end]
            more = len(span.values) - 1 if span.pointed else 0
        letter = (m[1] or ("" if m[2] else "g")).upper()
        if letter == "G" and fold(words) in _STORY:
            letter = ""
        if words and letter in ("Y", "D") and _vague(words):
            letter = ""
        if letter == "U":  # of a name that nobody knows, a title or a person
            letter = "P" if _NAME_CUE.search(marked.text, 0, m.start()) else "T"
        marks.append(_Mark(letter, words, more))
        return f" \x01{len(marks) - 1}\x01 "  # a control character is no word

    text = _MARK.sub(stand_in, _CONTROL.sub(" ", marked.text))

    def filled(words: str, keep: str) -> str:
        def back(m: re.Match[str]) -> str:
            letter, own = marks[int(m[1])].letter, marks[int(m[1])].words
            return letter if letter and letter in keep else _plain(own, language).strip()

        return re.sub(r" +", " ", re.sub(r"\x01 ?(\d+) ?\x01", back, words)).lstrip()

    texts = []
    for sentence in _sentences(text)[-_MOST_SENTENCES:] or [text]:
        words = "".join(f"{w} " for w in _plain(sentence, language).split()[-_MOST_WORDS:])
        several = sum(marks[int(i)].more for i in re.findall(r"\x01 ?(\d+) ?\x01", words))
        full = filled(words, "TP" + _VALUES)
        texts.append(
            _Text(
                full,
                filled(words, "TP"),
                filled(words, "TPYDM"),
                _body(full, language),
                full.split().count("T") + several,
                "?" in sentence,
            )
        )
    return texts


def _body(text: str, language: str) -> str:
    """``text`` without the words that lead in."""
    leads = _cues(language)[1]
    while True:
        ends = [m.end() for m in (p.match(text) for p in leads) if m]
        if not ends or max(ends) == len(text):
            return text
        text = text[max(ends) :]


# -- what is asked ------------------------------------------------------------------------------


def features(marked: Marked, language: str) -> list[str]:
    """The features of a question, by name, each once.

    Its words, with a capital for each name; pairs of them; the pieces of four letters of long
    ones; what compares, and which way; which amounts are limits; which kinds of names there are,
    and how many titles.
    """
    texts = _texts(marked, language)
    tokens = [w for text in texts for w in (*text.marks.split(), "|")]
    found = dict.fromkeys(f"w {token}" for token in tokens)
    for left, right in pairwise(["^", *tokens]):
        found[f"b {left} {right}"] = None
    for token in tokens:
        if len(token) > 3:
            edged = f"_{token[:_LONGEST]}_"
            found.update((f"c {edged[i : i + 4]}", None) for i in range(len(edged) - 3))
    for cue in _cues(language)[0]:
        if cue.what in _DIRECTIONS and any(cue.pattern.search(t.marks) for t in texts):
            found[f"k {cue.what} {cue.name}"] = None
    for span in marked.spans:
        if span.kind in ("runtime", "price") and (span.low is None) != (span.high is None):
            found[f"q {span.kind} {'max' if span.high is None else 'min'}"] = None
    there = "".join(sorted({t for t in tokens if t in _NAMED}))
    found[f"m {there}"] = None
    found[f"n {min(sum(text.titles for text in texts), 3)}"] = None
    return list(found)


@cache
def _file() -> tuple[dict[str, Softmax], dict[str, Any]]:
    with resources.as_file(resources.files("llmrec").joinpath(f"data/{FILE}")) as file:
        return read_heads(file, "train/questions.py")


@cache
def _stems() -> dict[str, frozenset[str]]:
    return {which: frozenset(stems) for which, stems in _file()[1]["stems"].items()}


@cache
def _shipped() -> tuple[list[tuple[str, str, str]], list[tuple[Softmax, list[int]]]]:
    """What may be asked, and a classifier for each part of it with the parts' columns."""
    heads, facts = _file()
    labels = [(form, what, way) for form, what, way in facts["labels"]]
    parts = zip(HEADS, zip(*labels, strict=True), strict=True)
    return labels, [(heads[h], [heads[h].classes.index(p) for p in own]) for h, own in parts]


def _asked(names: list[str]) -> Asked:
    labels, heads = _shipped()
    scores = np.sum([head.log_probabilities([names])[0][own] for head, own in heads], axis=0)
    chances = np.exp(scores - scores.max())
    best = int(chances.argmax())
    form, what, way = labels[best]
    field, topic = ("", what) if what in TOPICS else (what, "")
    if form == "open":
        form = "fact" if field and field != "description" else "text"
    same = form == "same"
    return Asked(
        cast("QuestionKind", "comparison" if same else form),
        field,
        topic,
        cast("Direction", way),
        same,
        confidence=float(chances[best] / chances.sum()),
    )


def asks(word: str, *, of_all: bool = False) -> bool:
    """Whether a folded word begins as a word does that questions are made of.

    Parameters
    ----------
    of_all: of counts, superlatives and comparisons, and the numbers they are about.
    """
    return word[:STEM] in _stems()["all" if of_all else "any"]


# -- what is left to look for -------------------------------------------------------------------


def _said(text: _Text, asked: Asked, language: str) -> frozenset[str]:
    """The words that say what is asked for, and are nothing to look for."""
    name = asked.topic or asked.field
    said: set[str] = set()
    for cue in _cues(language)[0]:
        tells = cue.name == name if cue.what in ("field", "topic") else bool(name)
        if tells or asked.kind in _QUERIES:
            found = (cue.pattern.search(t) for t in (text.marks, text.spoken))
            said.update(w for m in found if m for w in m.group().split())
    return frozenset(said)


def _focus(texts: Sequence[_Text], asked: Asked, language: str) -> tuple[str, ...]:
    """The words of the sentence that asks, but for those that only ask."""
    said = [_said(text, asked, language) for text in texts]
    best = max(range(len(texts)), key=lambda i: (bool(said[i]), texts[i].asking, i))
    left_out = _words_of("stop", language) | said[best]
    kept = (w for w in _body(texts[best].content, language).split() if not w.isupper())
    folded = (fold(w) for w in kept if w not in left_out and len(w) > 1)
    return tuple(dict.fromkeys(w for w in folded if w))


def read_question(marked: Marked, language: str) -> Asked:
    """What a question asks for.

    Parameters
    ----------
    marked: the message as ``Lexicon.mark`` gives it.
    language: ``en``, ``pt`` or ``es``.

    Returns
    -------
    Asked: of a message of several sentences, what they ask together. Counts and superlatives are
        about the whole catalogue; what narrows them stands in the spans.
    """
    asked = _asked(features(marked, language))
    return replace(asked, focus=_focus(_texts(marked, language), asked, language))
