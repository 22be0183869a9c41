"""Conversations hides how training cases for the embedded model are made from a catalogue.

Two tasks. Understanding: a message whose names are marks, and the role of each mark. It is composed
from phrasings (``data/phrasings``), so no title and no person of the catalogue is ever part of it.
Recommending: a line of wishes, and titles of the catalogue that meet them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from zlib import crc32

import numpy as np
import numpy.typing as npt

from llmrec.cues import DEFAULT_ROLE, ROLES
from llmrec.lexicon import Marked, Span
from llmrec.prompting import (
    ZeroShot,
    recommend_prompt,
    title_list,
    understanding_answer,
    understanding_prompt,
)
from llmrec.quantities import flat
from llmrec.similarity import ContentIndex
from llmrec.types import LANGUAGES, Conversation, Item, Message, Preferences
from llmrec.wishes import Wish, wishes

__all__ = [
    "CRITIQUES",
    "GENRES",
    "LETTERS",
    "Case",
    "ListMaker",
    "Phrasing",
    "held_out",
    "make_understanding",
    "phrasings",
]

_SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")
LETTERS = {
    "title": "t", "person": "p", "keyword": "k", "country": "c", "language": "l", "year": "y",
    "runtime": "d", "unknown": "u",
}  # fmt: skip
GENRES = """action adventure animation biography comedy crime documentary drama family fantasy
film-noir history horror music musical mystery romance sci-fi sport thriller war western""".split()
CRITIQUES = ("newer", "older", "shorter", "longer", "lighter", "darker")
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Case:
    """One training case: messages, the last one the assistant's."""

    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Phrasing:
    """A way of saying something, with slots such as ``{genre}`` or ``{title:seen}``.

    Attributes
    ----------
    use: "msg" (a whole message), "frag" (goes on after a comma), "open", "close", "chat" (no
        slots), or "add", "replace", "reset" (a later turn).
    """

    use: str
    text: str
    language: str


def held_out(text: str) -> bool:
    """Whether a phrasing, a title or a person is kept from training: a tenth, by its letters."""
    return crc32(text.encode()) % 1000 < 1000 * HELD_OUT_SHARE


@cache
def phrasings() -> tuple[Phrasing, ...]:
    """All phrasings of ``data/phrasings``, in the three languages."""
    out = []
    for language in LANGUAGES:
        file = resources.files("llmrec").joinpath(f"data/phrasings/{language}.tsv")
        for line in file.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                use, text = line.split("\t", 1)
                out.append(Phrasing(use, text.strip(), language))
    return tuple(out)


class _Composer:
    """Composes whole messages out of the phrasings of one language."""

    def __init__(self, language: str, *, evaluation: bool) -> None:
        self._by_use: dict[str, list[str]] = {}
        for p in phrasings():
            if p.language == language and held_out(p.text) == evaluation:
                self._by_use.setdefault(p.use, []).append(p.text)

    def _pick(self, rng: random.Random, use: str) -> str:
        return rng.choice(self._by_use.get(use) or [""])

    def first(self, rng: random.Random) -> str:
        parts = [self._pick(rng, "msg")]
        draw = rng.random()
        if draw < 0.55:
            for _ in range(rng.choice((1, 1, 2))):
                parts.append(rng.choice((", ", ", ", " ", ". ")) + self._pick(rng, "frag"))
        text = "".join(parts)
        if rng.random() < 0.25:
            text = rng.choice(
                (f"{self._pick(rng, 'chat')} {text}", f"{text} {self._pick(rng, 'chat')}")
            )
        if rng.random() < 0.3:
            text = f"{self._pick(rng, 'open')} {text}"
        if rng.random() < 0.2:
            text = f"{text} {self._pick(rng, 'close')}"
        return text

    def later(self, rng: random.Random) -> tuple[str, str]:
        turn = rng.choices(("add", "replace", "reset"), (5, 4, 1))[0]
        text = self._pick(rng, turn)
        if rng.random() < 0.2:
            text += rng.choice((", ", " ")) + self._pick(rng, "frag")
        return turn, text


def _fill(text: str, rng: random.Random) -> tuple[Marked, dict[str, str]]:
    """Put marks into the slots of a composed text; the marks, and the role of each."""
    counts: dict[str, int] = {}
    spans: list[Span] = []
    roles: dict[str, str] = {}
    parts: list[str] = []
    at = 0
    free = {"genre": rng.sample(GENRES, len(GENRES)), "critique": rng.sample(CRITIQUES, 6)}
    for m in _SLOT.finditer(text):
        kind, role = m[1], m[2] or DEFAULT_ROLE.get(m[1], "")
        if kind not in ROLES or role not in ROLES[kind]:
            raise ValueError(f"the phrasing {text!r} has the slot {m[0]}, which does not exist")
        if kind in free:
            mark = ("#" if kind == "genre" else "~") + free[kind].pop()
        else:
            counts[kind] = counts.get(kind, 0) + 1
            mark = f"[{LETTERS[kind]}{counts[kind]}]"
        spans.append(Span(m.start(), m.end(), kind, mark=mark))  # type: ignore[arg-type]
        roles[mark] = role
        parts += [text[at : m.start()], mark]
        at = m.end()
    return Marked(text, tuple(spans), "".join([*parts, text[at:]])), roles


_MARKS = re.compile(r"(\[\w\d+\]|[#~][\w-]+)")


def _roughen(text: str, rng: random.Random) -> str:
    """Write as people do: now and then no capitals, no accents, no punctuation, a slip."""
    pieces = _MARKS.split(text)
    lower, bare, plain = rng.random() < 0.4, rng.random() < 0.25, rng.random() < 0.2
    slips = rng.random() < 0.15
    for i in range(0, len(pieces), 2):
        p = pieces[i]
        if lower:
            p = p.lower()
        if bare:
            p = flat(p) if lower else p
        if plain:
            p = re.sub(r"[.,;!?¿¡]", "", p)
        if slips and len(p) > 6:
            j = rng.randrange(1, len(p) - 2)
            if p[j].isalpha() and p[j + 1].isalpha():
                p = p[:j] + p[j + 1] + p[j] + p[j + 2 :]
        pieces[i] = p
    return "".join(pieces)


def make_understanding(
    seed: int, *, evaluation: bool = False
) -> Iterator[tuple[Marked, str, dict[str, str], str]]:
    """Endless understanding cases.

    Parameters
    ----------
    evaluation: from the held-out phrasings instead of the others.

    Yields
    ------
    The marked message, the marked text of the one before it ("" for none), the role of each
    mark, and how the turn stands ("add", "replace", "reset").
    """
    rng = random.Random(seed)
    composers = {language: _Composer(language, evaluation=evaluation) for language in LANGUAGES}
    while True:
        composer = composers[rng.choice(LANGUAGES)]
        previous, turn, text = "", "add", composer.first(rng)
        if rng.random() < 0.35:
            previous = _fill(_roughen_slots(text, rng), rng)[0].text
            turn, text = composer.later(rng)
        marked, roles = _fill(text, rng)
        rough = _roughen(marked.text, rng)
        yield Marked(marked.message, marked.spans, rough), _roughen(previous, rng), roles, turn


def _roughen_slots(text: str, rng: random.Random) -> str:
    return text if rng.random() < 0.9 else text.split(". ")[0]


def understanding_case(marked: Marked, previous: str, roles: dict[str, str], turn: str) -> Case:
    """An understanding case as the messages that the model is trained on."""
    prompt = understanding_prompt(marked, previous, detail="brief")
    answer = Message("assistant", understanding_answer(marked, roles, turn))
    return Case((*prompt, answer))


class ListMaker:
    """Makes recommending cases: wishes taken from a film, and a list of films that meet them.

    Films of a list are drawn without replacement, likelier the better known they are and the more
    they share with the films the wishes name.
    """

    def __init__(self, items: Sequence[Item], seed: int) -> None:
        self._items = list(items)
        self._rng = random.Random(seed)
        self._np = np.random.default_rng(seed)
        self._names = {i.id: i.title for i in items}
        self._content = ContentIndex(items)
        self._cumulative = np.cumsum([0.15 + i.popularity for i in self._items]).tolist()
        self._row = {i.id: r for r, i in enumerate(self._items)}
        self._met: dict[Wish, npt.NDArray[np.bool_]] = {}
        self._popularity = np.array([0.15 + i.popularity for i in self._items], dtype=np.float32)

    def wishes_of(self, item: Item) -> Preferences:
        """One to three wishes that ``item`` meets."""
        rng = self._rng
        fields: dict[str, object] = {}
        people = [p for p in item.people[:5] if not held_out(p)]
        kinds = rng.sample(
            ("genre", "genre", "year", "person", "keyword", "country", "similar", "runtime"),
            rng.choice((1, 2, 2, 3)),
        )
        for kind in kinds:
            if kind == "genre" and item.genres:
                fields["genres"] = tuple(
                    rng.sample(item.genres, min(len(item.genres), rng.choice((1, 1, 2))))
                )
            elif kind == "year" and item.year:
                low = item.year // 10 * 10
                fields |= (
                    {"year_min": low, "year_max": low + 9}
                    if rng.random() < 0.7
                    else {"year_min": low}
                )
            elif kind == "person" and people:
                fields["people"] = (rng.choice(people),)
            elif kind == "keyword" and item.keywords:
                fields["keywords"] = tuple(rng.sample(item.keywords, 1))
            elif kind == "country" and item.countries:
                fields["countries"] = (item.countries[0],)
            elif kind == "runtime" and item.runtime:
                fields["runtime_max"] = (item.runtime // 30 + 1) * 30
            elif kind == "similar":
                alike = self._content.to([self._row[item.id]])
                near = np.argpartition(-alike, 12)[:12]
                liked = self._items[int(rng.choice(near.tolist()))]
                if not held_out(liked.title):
                    fields[rng.choice(("similar_to", "likes"))] = (liked.id,)
        return Preferences(**fields)  # type: ignore[arg-type]

    def answer(self, wanted: Preferences, k: int) -> list[Item]:
        """Up to ``k`` films that meet the wishes, drawn as the class says."""
        named = set(wanted.similar_to + wanted.likes)
        allowed = np.ones(len(self._items), dtype=bool)
        for wish in wishes(wanted):
            allowed &= self._mask(wish)
        allowed[[self._row[i] for i in named]] = False
        rows = np.flatnonzero(allowed)
        if not rows.size:
            return []
        weight = self._popularity[rows] ** 2
        if named:
            alike = self._content.to([self._row[i] for i in named])
            weight = weight * np.exp(6.0 * alike[rows])
        if wanted.keywords:
            lacks = self._mask(Wish("keywords_out", wanted.keywords[:1]))
            weight = np.where(lacks[rows], weight, 5.0 * weight)
        drawn = self._np.choice(
            rows, size=min(k, rows.size), replace=False, p=weight / weight.sum()
        )
        return [self._items[int(r)] for r in drawn]

    def _mask(self, wish: Wish) -> npt.NDArray[np.bool_]:
        if wish not in self._met:
            self._met[wish] = np.array([wish.met_by(i) for i in self._items])
        return self._met[wish]

    def case(self) -> Case:
        """One recommending case."""
        while True:
            item = self._rng.choices(self._items, cum_weights=self._cumulative)[0]
            wanted = self.wishes_of(item)
            films = self.answer(wanted, 5)
            if films:
                break
        asked = Conversation((Message("user", "?"),))
        prompt = recommend_prompt(asked, wanted, self._names, strategy=ZeroShot("brief"))
        answer = "".join(title_list(f.title for f in films))
        return Case((*prompt, Message("assistant", answer)))
