"""Questions hides what a question asks for: the kind of answer, the field or topic, the direction.

The words that say so stand in a table (``data/questions.tsv``); here stands only how they combine.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import product
from typing import Literal

from llmrec.lexicon import Marked, Span, guess_language
from llmrec.quantities import find_quantities, flat
from llmrec.titles import fold
from llmrec.types import LANGUAGES

__all__ = ["TOPICS", "Asked", "read_question"]

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
    confident: whether words of the table said so, or the kind is the default.
    """

    kind: QuestionKind
    field: str = ""
    topic: str = ""
    direction: Direction = ""
    same: bool = False
    focus: tuple[str, ...] = ()
    confident: bool = True


@dataclass(frozen=True)
class _Cue:
    what: str
    name: str
    bonus: int
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class _Hit:
    """A cue found: what it says, how many letters of the question say it, after how many words."""

    what: str
    name: str
    score: int
    place: int
    words: frozenset[str]


_THIS_YEAR = 2020  # for what "recent" is; only whether it is vague counts
_MOST_SENTENCES, _MOST_WORDS = 12, 120  # of a long message and sentence, the last ones
_TOPIC_BONUS = 9  # "how long is the warranty": the topic is the rarer word
_PLACES = {"..": r"((?:\S+ ){0,4}?)", "$": "$"}
_MARK = re.compile(r"\[([a-z])\d+\]|#[a-zA-Z][\w-]*|~(\w+)")
_CONTROL = re.compile(r"[\x00-\x08]")
_VALUE_FIELDS = {
    "Y": "year", "D": "runtime", "G": "genres", "C": "countries", "L": "languages",
    "K": "keywords", "M": "price",
}  # fmt: skip
_SEVERAL = re.compile(
    r"\b(?:both|they|them|the two|os dois|as duas|eles|elas|amb[oa]s|l[oa]s dos)\b"
)
_VALUES = "".join(_VALUE_FIELDS)
_PEOPLE = ("directors", "cast", "people")
_CHECKED = frozenset({*_PEOPLE, "genres", "countries", "languages", "keywords"})
_STORY = ("historia", "story")  # what a film tells, and no genre by itself
_ASKING = ("field", "topic", "max", "min", "count", "list", "same")
_VERBS = ("eh ", "es ")  # small words that are verbs wherever they stand
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
def _cues(language: str) -> tuple[tuple[_Cue, ...], dict[str, list[re.Pattern[str]]]]:
    """The cues that stand anywhere in a question, and those that stand at its start."""
    rows = [(w, n, cues) for w, n, own, cues in _table() if own == language]
    nouns = "|".join(
        [*(f for w, _, cs in rows if w == "noun" for c in cs for f in c.split("/")), "G"]
    )
    anywhere: list[_Cue] = []
    starts: dict[str, list[re.Pattern[str]]] = {}
    for what, name, cues in rows:
        for cue in cues:
            if what in ("chat", "stop", "noun") or cue.startswith("="):
                continue
            pattern = re.compile(_pattern(cue.lstrip("?!"), nouns))
            if what in ("lead", "open"):
                starts.setdefault(what, []).append(pattern)
            else:
                bonus = _TOPIC_BONUS if what == "topic" or cue[0] == "!" else 0
                anywhere.append(_Cue(what, name, bonus, pattern))
    starts["noun"] = [re.compile(rf"(?<!\S)(?:{nouns}) ")]
    return tuple(anywhere), starts


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

    def has(self, letters: str) -> str:
        """Which of the capitals stand in the text, in the order in which they stand there."""
        return "".join(w for w in self.marks.split() if w in letters and len(w) == 1)


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
        marks.append(_Mark("T" if letter == "U" else letter, words, more))
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
    leads = _cues(language)[1]["lead"]
    while True:
        ends = [m.end() for m in (p.match(text) for p in leads) if m]
        if not ends or max(ends) == len(text):
            return text
        text = text[max(ends) :]


# -- cues ---------------------------------------------------------------------------------------


def _hits(text: _Text, language: str) -> list[_Hit]:
    """The best hit of each cue's meaning, best first."""
    best: dict[tuple[str, str], _Hit] = {}
    lead = len(text.marks.split()) - len(text.body.split())
    for said in dict.fromkeys((text.marks, text.spoken)):
        for cue in _cues(language)[0]:
            m = cue.pattern.search(text.body if cue.what == "scope" else said)
            if m is None:
                continue
            score = len(m.group()) - sum(len(g) for g in m.groups() if g) + cue.bonus
            key = (cue.what, cue.name)
            if key not in best or score > best[key].score:
                place = len(said[: m.start()].split()) - lead
                best[key] = _Hit(*key, score, place, frozenset(m.group().split()))
    return sorted(best.values(), key=lambda h: (-h.score, h.place))


class _Reader:
    """One question being read."""

    def __init__(self, text: _Text, language: str) -> None:
        self.text = text
        self.hits = _hits(text, language)
        self.cued = self.says(*_ASKING)  # in its own language
        for other in LANGUAGES:  # words of another language, where its own say nothing
            if not any(h.what in ("field", "topic", "max", "min") for h in self.hits):
                self.hits += [h for h in _hits(text, other) if h.what in ("field", "topic")]
        self.language = language

    def weight(self) -> int:
        """How much the sentence looks like the one to answer."""
        return 2 * self.says(*_ASKING) + (self.text.asking or self.asks or self.opens)

    def hit(self, *what: str) -> _Hit | None:
        return next((h for h in self.hits if h.what in what), None)

    def all(self, *what: str) -> list[_Hit]:
        return [h for h in self.hits if h.what in what]

    def says(self, *what: str) -> bool:
        return self.hit(*what) is not None

    @property
    def asks(self) -> bool:
        """Whether a word like "who" stands in it."""
        return self.says("ask") or (self.language != "en" and self.text.body.startswith("que "))

    @property
    def starts(self) -> bool:
        """Whether a verb stands first."""
        return any(p.match(self.text.body) for p in _cues(self.language)[1]["open"])

    @property
    def opens(self) -> bool:
        """Whether it is put as a question of yes or no."""
        starts = _cues(self.language)[1]["open"]
        if self.asks:
            return False
        if self.language == "en" or self.starts:
            return self.starts
        found = [m.group() for p in starts for m in p.finditer(self.text.spoken)]
        return any(len(verb) > 3 or verb in _VERBS for verb in found)

    def field(self) -> str:
        """The field that a count, a list or a check of a value is about."""
        found = self.hit("field")
        named = next((h.name for h in self.hits if h.what == "field" and h.name in _PEOPLE), "")
        if self.text.has("P"):
            return named or "people"
        values = self.text.has(_VALUES)
        if found and found.name == "languages" and "C" in values:
            return found.name  # "do they speak Portuguese": the word is a country's as well
        if found and (found.name in [_VALUE_FIELDS[v] for v in values] or not values):
            return found.name
        return _VALUE_FIELDS[values[0]] if values else ""

    def read(self) -> tuple[Asked, frozenset[str]]:
        for attempt in (self.count, self.compare, self.superlative, self.listing, self.checking):
            asked = attempt()
            if asked and asked[0].kind in ("count", "superlative", "list"):
                return asked[0], frozenset[str]().union(*(h.words for h in self.hits))
            if asked:
                return asked
        return self.plain()

    def count(self) -> tuple[Asked, frozenset[str]] | None:
        found = self.hit("count")
        rival = self.hit("field", "topic")
        if not found or self.text.titles:
            return None
        if rival and rival.score >= found.score + (_TOPIC_BONUS if rival.what == "topic" else 0):
            return None
        return Asked("count", self.field()), found.words

    def compare(self) -> tuple[Asked, frozenset[str]] | None:
        titles, way, same = self.text.titles, self.hit("max", "min"), self.hit("same")
        versus = self.says("compare")
        about = self.hit("field")
        words = frozenset[str]().union(
            *(h.words for h in self.all("max", "min", "same", "compare", "field"))
        )
        alone = versus and not self.scoped and not self.text.has("YDM")
        if way and (titles > 1 or (titles and versus) or alone):  # of "first longer than", longer
            way = max(self.all("max", "min"), key=lambda h: h.place)
            return Asked("comparison", way.name, direction=_way(way)), words
        if self.says("list") and titles < 2:
            return None
        if (
            same
            and (titles > 1 or not self.text.has("P"))
            and (titles or about or _SEVERAL.search(self.text.marks))
        ):
            name = about.name if about and about.what == "field" else self.field()
            return Asked("comparison", name, same=True), words
        told = self.text.has(_VALUES + "P")  # "did he direct both?" is no comparison
        if titles > 1 and not told and (versus or self.opens) and not self.says("topic"):
            name = about.name if about else self.field()
            return Asked("comparison", name, same=self.opens), words
        return None

    @property
    def scoped(self) -> bool:
        nouns = _cues(self.language)[1]["noun"]
        return self.says("scope") or any(p.search(self.text.marks) for p in nouns)

    def superlative(self) -> tuple[Asked, frozenset[str]] | None:
        way = self.hit("max", "min")
        if not way or self.text.titles or (self.says("who") and not self.scoped):
            return None
        if self.opens and self.text.has("YDM") and not self.scoped:
            return None
        asks = self.hit("field", "topic")
        if (
            asks
            and asks.score > way.score + _TOPIC_BONUS
            and asks.name != way.name
            and not self.scoped
        ):
            return None
        if self.opens and not self.scoped:
            return Asked("comparison", way.name, direction=_way(way)), way.words
        return Asked("superlative", way.name, direction=_way(way)), way.words

    def listing(self) -> tuple[Asked, frozenset[str]] | None:
        found = self.hit("list")
        rival = self.hit("field", "topic")
        if not found or (
            self.text.titles
            and not re.search(r"\b(?:else|other|mais|mas|outr\w+|otr\w+)\b", self.text.marks)
        ):
            return None
        if rival and rival.what == "topic" and rival.score + _TOPIC_BONUS >= found.score:
            return None
        if rival and rival.score > found.score and not self.text.has("PGCLKYD"):
            return None
        return Asked("list", self.field()), found.words

    def checking(self) -> tuple[Asked, frozenset[str]] | None:
        found, way = self.hit("field", "topic"), self.hit("max", "min")
        values = self.text.has(_VALUES + "P")
        if self.asks:
            return None
        closed = self.opens or (self.text.asking and bool(values) and not found)
        told = self.language != "en" and found is not None and found.place > 1
        if found and found.what == "topic" and (self.opens or told):
            return Asked("check", topic=found.name), found.words
        if found and found.what == "topic" and found.score > _TOPIC_BONUS + 4:
            return None
        if values and (self.opens or self.text.titles or not found):
            name = self.field()
            return Asked("check", name, direction=_way(way)), found.words if found else frozenset()
        if (
            found
            and found.what == "field"
            and self.opens
            and found.name in _CHECKED
            and self.starts
        ):
            return Asked("check", found.name), found.words
        if closed and not found:
            return Asked("check"), frozenset()
        return None

    def plain(self) -> tuple[Asked, frozenset[str]]:
        found = self.hit("field", "topic")
        if not found:
            return Asked("text", confident=False), frozenset()
        if found.what == "topic":
            return Asked("text", topic=found.name), found.words
        kind: QuestionKind = "text" if found.name == "description" else "fact"
        return Asked(kind, found.name), found.words


def _way(hit: _Hit | None) -> Direction:
    return "" if hit is None else "max" if hit.what == "max" else "min"


def _focus(text: _Text, said: Iterable[str], language: str) -> tuple[str, ...]:
    left_out = _words_of("stop", language) | frozenset(said)
    kept = (w for w in _body(text.content, language).split() if not w.isupper())
    folded = (fold(w) for w in kept if w not in left_out and len(w) > 1)
    return tuple(dict.fromkeys(w for w in folded if w))


def _best(marked: Marked, language: str) -> _Reader:
    """The reader of the sentence to answer; of several alike, of the last."""
    readers = [_Reader(text, language) for text in _texts(marked, language)]
    return max(reversed(readers), key=_Reader.weight)


def read_question(marked: Marked, language: str) -> Asked:
    """What a question asks for.

    Parameters
    ----------
    marked: the message as ``Lexicon.mark`` gives it.
    language: ``en``, ``pt`` or ``es``; words of the others count where its own say nothing.

    Returns
    -------
    Asked: of a message of several sentences, what the one that asks is after. Counts and
        superlatives are about the whole catalogue; what narrows them stands in the spans.
    """
    reader = _best(marked, language)
    if not reader.cued:
        other = _best(marked, guess_language(marked.text, language))
        reader = other if other.cued else reader
    asked, said = reader.read()
    return replace(asked, focus=_focus(reader.text, said, reader.language))
