from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import FILMS, lexicon

from llmrec.cues import DEFAULT_ROLE, ROLES, Reading, read_cues
from llmrec.lexicon import guess_language
from llmrec.types import LANGUAGES


def read(message: str, *, first: bool = True) -> Reading:
    return read_cues(lexicon().mark(message), guess_language(message), first=first)


def guesses(message: str) -> list[str]:
    """The role of each span, in order."""
    marked = lexicon().mark(message)
    reading = read(message)
    return [reading.guesses[s.mark] for s in marked.spans]


def test_the_default_is_one_of_the_roles() -> None:
    assert all(DEFAULT_ROLE[kind] == roles[0] for kind, roles in ROLES.items())
    assert all(len(roles) == len(set(roles)) > 1 for roles in ROLES.values())


@pytest.mark.parametrize(
    ("message", "roles"),
    [
        # wanted
        ("I want a horror film", ["yes"]),
        ("quero um terror", ["yes"]),
        ("quiero una de terror", ["yes"]),
        ("I wouldn't mind a comedy", ["yes"]),
        ("não me importaria de ver uma comédia", ["yes"]),
        ("no me importaría ver una comedia", ["yes"]),
        ("not only horror", ["yes"]),
        # unwanted
        ("no horror", ["no"]),
        ("no horror please", ["no"]),
        ("anything but horror", ["no"]),
        ("I don't want horror", ["no"]),
        ("without Tom Hanks", ["no"]),
        ("nothing violent", ["no"]),
        ("not from the USA", ["no"]),
        ("sem terror", ["no"]),
        ("nada de terror", ["no"]),
        ("não quero terror", ["no"]),
        ("cansado de terror", ["no"]),
        ("que não seja em inglês", ["no"]),
        ("sin terror", ["no"]),
        ("nada de terror, por favor", ["no"]),
        ("no quiero terror", ["no"]),
        ("harto de terror", ["no"]),
        ("que no sea en inglés", ["no"]),
        # both in one message
        ("a comedy, no horror", ["yes", "no"]),
        ("a comedy but no horror", ["yes", "no"]),
        ("no horror, just comedy", ["no", "yes"]),
        ("uma comédia, sem terror", ["yes", "no"]),
        ("terror não, quero comédia", ["no", "yes"]),
        ("una comedia, sin terror", ["yes", "no"]),
        ("una comedia, no terror", ["yes", "no"]),
        ("terror no, quiero comedia", ["no", "yes"]),
        ("no horror, no comedy, no drama", ["no", "no", "no"]),
        ("sem terror nem drama", ["no", "no"]),
        ("sin terror ni drama", ["no", "no"]),
    ],
)
def test_wishes(message: str, roles: list[str]) -> None:
    assert guesses(message) == roles


@pytest.mark.parametrize(
    ("message", "role"),
    [
        ("something like Alien", "similar"),
        ("algo parecido com Alien", "similar"),
        ("algo parecido a Alien", "similar"),
        ("I loved Coco", "liked"),
        ("Central Station was great", "liked"),
        ("adorei Coco", "liked"),
        ("gostei muito de Coco", "liked"),
        ("me encantó Coco", "liked"),
        ("I hated Gladiator", "disliked"),
        ("I didn't like Gladiator", "disliked"),
        ("Central Station was boring", "disliked"),
        ("não gostei de Gladiador", "disliked"),
        ("odiei Gladiador", "disliked"),
        ("no me gustó Gladiator", "disliked"),
        ("odié Gladiator", "disliked"),
        ("I have already seen Coco", "seen"),
        ("I watched Coco yesterday", "seen"),
        ("já vi Coco", "seen"),
        ("ya vi Coco", "seen"),
        ("I haven't seen Coco", "none"),
        ("ainda não vi Coco", "none"),
        ("todavía no he visto Coco", "none"),
    ],
)
def test_titles(message: str, role: str) -> None:
    assert guesses(message) == [role]


@pytest.mark.parametrize(
    "message",
    [
        "directed by Ridley Scott",
        "films whose director is Ridley Scott",
        "dirigido por Ridley Scott",
        "com direção de Ridley Scott",
        "dirigida por Ridley Scott",
    ],
)
def test_directors(message: str) -> None:
    assert guesses(message) == ["director"]


def test_opinions_on_several_titles() -> None:
    assert guesses("I loved Coco and Amélie but hated Gladiator") == [
        "liked",
        "liked",
        "disliked",
    ]


@pytest.mark.parametrize(
    ("message", "n"),
    [
        ("action or comedy", 2),
        ("ação ou comédia", 2),
        ("acción o comedia", 2),
        ("action, horror or comedy", 3),
        ("action and comedy", 0),
        ("ação e comédia", 0),
        ("acción y comedia", 0),
        ("Keanu Reeves or Tom Hanks", 2),
    ],
)
def test_either(message: str, n: int) -> None:
    assert len(read(message).either) == n


@pytest.mark.parametrize(
    ("message", "turn"),
    [
        ("start over, a comedy please", "reset"),
        ("esquece tudo, quero uma comédia", "reset"),
        ("olvida todo, quiero una comedia", "reset"),
        ("make it a comedy instead", "replace"),
        ("actually, a comedy", "replace"),
        ("na verdade, uma comédia", "replace"),
        ("mejor una comedia", "replace"),
        ("also from the 90s", "add"),
        ("também dos anos 90", "add"),
        ("también de los 90", "add"),
    ],
)
def test_how_a_turn_stands(message: str, turn: str) -> None:
    assert read(message, first=False).turn == turn
    assert read(message, first=True).turn == "add"


def test_a_turn_that_says_nothing_of_it_is_left_open() -> None:
    assert read("a comedy", first=False).turn is None


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("any genre", "genre"),
        ("qualquer gênero", "genre"),
        ("cualquier género", "genre"),
        ("any year is fine", "year"),
        ("qualquer ano", "year"),
        ("cualquier época", "year"),
        ("length doesn't matter", "runtime"),
        ("duração não importa", "runtime"),
        ("cualquier duración", "runtime"),
        ("any actor", "person"),
    ],
)
def test_wishes_given_up(message: str, kind: str) -> None:
    assert read(message, first=False).cleared == {kind}


PIECES = st.sampled_from(
    [
        *(f.title for f in FILMS),
        *(p for f in FILMS for p in f.people[:1]),
        *"""not no não sin sem but or and ou o e y like loved hated seen já vi nunca directed by , .
        ; horror comedy terror comedia French em inglês 90s newer actually also instead only except
        \n ( ) ? "Foobar Zed" any genre start over n't than más menos 2 hours ß \x00""".split(),
    ]
)


def check(message: str, language: str, first: bool) -> None:
    marked = lexicon().mark(message)
    reading = read_cues(marked, language, first=first)
    assert reading.guesses.keys() == reading.roles.keys() == {s.mark for s in marked.spans}
    for s in marked.spans:
        assert reading.guesses[s.mark] in ROLES[s.kind]
        assert reading.roles[s.mark] in (None, reading.guesses[s.mark])
    assert reading.either <= {s.mark for s in marked.spans}
    assert reading.turn in (None, "add", "replace", "reset")
    assert read_cues(marked, language, first=first) == reading


@given(st.lists(PIECES, max_size=14).map(" ".join), st.sampled_from(LANGUAGES), st.booleans())
def test_every_span_has_a_role_in_sentences(message: str, language: str, first: bool) -> None:
    check(message, language, first)


@given(st.text(max_size=120), st.sampled_from(LANGUAGES), st.booleans())
def test_every_span_has_a_role_in_any_text(message: str, language: str, first: bool) -> None:
    check(message, language, first)
