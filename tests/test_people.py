from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.arrays import number
from llmrec.people import Credits, People
from llmrec.smallwords import SmallWords
from llmrec.titles import fold

Film = tuple[tuple[str, ...], tuple[str, ...], float]  # directors, cast, popularity


def people(films: Sequence[Film], size: int = 3) -> People:
    """The people of some films, given a few films at a time."""
    credits = Credits()
    for at in range(0, len(films), size):
        credits.add(*zip(*films[at : at + size], strict=True))
    return People(credits.arrays())


names = st.lists(
    st.sampled_from(
        """Ana Bia Carla De Del Della Dicaprio Mcdonald Macdougal Jr. Filho Van Dijk José Ángel-Ruiz
        Fontaine Vasconcelos O'Hara ? ×""".split()
    ),
    min_size=1,
    max_size=4,
).map(" ".join)
films = st.lists(
    st.tuples(
        st.lists(names, max_size=2).map(tuple),
        st.lists(names, max_size=4).map(tuple),
        st.floats(0, 1),
    ),
    max_size=8,
)


class Dictionaries:
    """The same by dictionaries of texts, as it is meant."""

    def __init__(self, films: Sequence[Film]) -> None:
        self.credit: defaultdict[str, float] = defaultdict(float)
        for directors, cast, fame in films:
            for i, person in enumerate(dict.fromkeys(directors + cast)):
                self.credit[person] += 0.1 + fame * (1.0 if i < 3 else 0.6)
        self.names = sorted(self.credit, key=lambda p: -self.credit[p])
        self.parts: defaultdict[str, list[str]] = defaultdict(list)
        for person in self.names:
            for part in self.parts_of(fold(person).split()):
                self.parts[part].append(person)

    @staticmethod
    def parts_of(parts: list[str]) -> set[str]:
        suffixes = {"jr", "junior", "filho", "neto", "sr", "ii", "iii", "iv"}
        particles = {"de", "del", "di", "da", "dos", "von", "van", "la", "le", "der", "den", "al"}
        core = parts[:-1] if len(parts) > 2 and parts[-1] in suffixes else parts
        if len(core) < 2:
            return set()
        own = {core[-1], core[0]}
        if len(core) > 2:
            own |= {" ".join(core[-2:]), " ".join(core[:2])}
            own |= {"".join(core[-2:])} if core[-2] in particles else set()
        elif core[-1].startswith(("di", "de", "mc", "mac")) and len(core[-1]) > 5:
            own.add(re.sub(r"^(di|de|mac|mc)", r"\1 ", core[-1]))
        return own

    def called(self, part: str) -> tuple[str, ...]:
        top = self.parts.get(part, [])
        rivals = [p for p in top if 2 * self.credit[p] > self.credit[top[0]]]
        return tuple(rivals) if len(rivals) <= 3 else ()


@given(films)
def test_people_are_found_as_by_dictionaries(made: list[Film]) -> None:
    found, meant = people(made), Dictionaries(made)
    assert list(found.names) == meant.names
    assert len(found) == len(meant.names)
    for part in (*meant.parts, "nobody", "de la"):
        assert found.called(part) == meant.called(part)
        assert found.known_part(part) == bool(meant.called(part))
        assert found.alone(part) == (len(meant.parts.get(part, ())) == 1)
        if meant.called(part):
            assert found.credit(part) == meant.credit[meant.parts[part][0]]
    first = {fold(p).split()[0] for p in meant.names if " " in p and fold(p)}
    for word in {w for p in meant.names for w in fold(p).split()} | {"nobody"}:
        assert found.is_first_name(word) == (word in first)
    assert set(found.surnames) == {
        p for p, own in meant.parts.items()
        if " " not in p and len(p) >= 7 and meant.called(p) and meant.credit[own[0]] >= 1.0
    }  # fmt: skip
    for row, person in enumerate(meant.names):
        if fold(person):
            assert row in found.index.lookup(person)


def test_nobody_at_all() -> None:
    nobody = people([])
    assert len(nobody) == 0
    assert nobody.called("ana") == ()
    assert not nobody.alone("ana")
    assert nobody.index.find("with Ana") == []


@given(
    st.lists(
        st.text(st.sampled_from("abA é.,\n\x1c\u2028’"), max_size=12)
        | st.lists(st.sampled_from("small Big word, word ill-fated ½".split())).map(" ".join),
        max_size=9,
    ),
    st.integers(1, 4),
)
def test_words_in_small_letters_of_two_texts(texts: list[str], size: int) -> None:
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update({fold(w) for w in text.split() if w.islower()})
    small = SmallWords()
    for at in range(0, len(texts), size):
        small.add(texts[at : at + size])
    meant = sorted(number(w) for w, n in seen.items() if n >= 2)
    assert small.repeated().tolist() == meant


def test_many_words_are_merged_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmrec.smallwords._HELD", 5)
    monkeypatch.setattr("llmrec.smallwords._REMEMBERED", 3)
    small = SmallWords()
    for word in range(40):
        small.add([f"w{word % 30} only{word}", "every"])
    meant = sorted(map(number, ("every", *(f"w{w}" for w in range(10)))))
    assert small.repeated().tolist() == meant
