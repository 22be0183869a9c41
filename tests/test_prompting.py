from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import FILMS, lexicon, said

from llmrec.cues import ROLES
from llmrec.lexicon import Marked
from llmrec.models.scripted import simplest
from llmrec.prompting import (
    LIST_PREFIX,
    ROUTE_END,
    ROUTE_PREFIX,
    ROUTES,
    TITLE_END,
    TURNS,
    FewShot,
    ZeroShot,
    parse_route,
    parse_titles,
    parse_understanding,
    recommend_prompt,
    reply_prompt,
    route_answer,
    route_prompt,
    route_schema,
    summary,
    title_entry,
    understanding_answer,
    understanding_prompt,
    understanding_schema,
)
from llmrec.types import Message, Preferences

MESSAGE = "A horror like Alien with Keanu Reeves, French, from the 90s, under 2 hours, no heists"
MARKED = lexicon().mark(MESSAGE)
messages = st.sampled_from(
    [
        MARKED,
        lexicon().mark("hello there"),
        lexicon().mark("no comedy, no drama, something newer than Coco in Spanish"),
        lexicon().mark('algo com "Foobar Zed" e sem Tom Hanks'),
    ]
)


@st.composite
def readings(draw: st.DrawFn) -> tuple[Marked, dict[str, str], str]:
    marked = draw(messages)
    roles = {s.mark: draw(st.sampled_from(ROLES[s.kind])) for s in marked.spans}
    return marked, roles, draw(st.sampled_from(TURNS))


# -- understanding: prompt, answer, parser -------------------------------------------------------


@given(readings())
def test_what_is_answered_is_read_back(reading: tuple[Marked, dict[str, str], str]) -> None:
    marked, roles, turn = reading
    assert parse_understanding(understanding_answer(marked, roles, turn), marked) == (turn, roles)


@given(readings())
def test_an_answer_meets_the_schema(reading: tuple[Marked, dict[str, str], str]) -> None:
    marked, roles, turn = reading
    schema = understanding_schema(marked)
    answer = json.loads(understanding_answer(marked, roles, turn))
    assert list(answer) == schema["required"] == list(schema["properties"])
    assert all(answer[k] in v["enum"] for k, v in schema["properties"].items())
    assert schema["additionalProperties"] is False


@given(messages, st.data())
def test_whatever_meets_the_schema_is_read(marked: Marked, data: st.DataObject) -> None:
    schema = understanding_schema(marked)
    answer = {k: data.draw(st.sampled_from(v["enum"])) for k, v in schema["properties"].items()}
    assert parse_understanding(json.dumps(answer), marked) == (
        answer["turn"],
        {k: v for k, v in answer.items() if k != "turn"},
    )
    assert parse_understanding(json.dumps(simplest(schema)), marked) is not None


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_is_read_back(route: str) -> None:
    answer = route_answer(route)
    assert parse_route(answer) == route
    assert answer.startswith(ROUTE_PREFIX)
    assert answer.endswith(ROUTE_END)
    schema = route_schema()
    assert list(json.loads(answer)) == schema["required"] == list(schema["properties"])
    assert route in schema["properties"]["route"]["enum"]
    assert f'"{route}"' in route_prompt("hi")[0].content


def test_the_simplest_route_is_read_and_others_are_not() -> None:
    assert parse_route(json.dumps(simplest(route_schema()))) in ROUTES
    for text in ("", "recommend", "[]", '{"route": "weather"}', '{"route": ["question"]}'):
        assert parse_route(text) is None


def test_the_place_of_a_message_is_told_before_it() -> None:
    system, user = route_prompt("second?", shown=3, previous="recommend", detail="brief")
    assert system.content == "route"
    assert user.content.splitlines()[-1] == "> second?"
    assert "recommend" in user.content.splitlines()[0]
    assert "3" in user.content.splitlines()[0]


def test_the_answer_has_a_blank_before_each_value() -> None:
    marked = lexicon().mark("a horror film")
    assert understanding_answer(marked, {"#horror": "yes"}, "add") == (
        '{"turn": "add", "#horror": "yes"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! Here it is:",
        "[]",
        "null",
        '"add"',
        "{}",
        '{"turn": "add"}',
        '{"turn": "sideways", "#horror": "yes"}',
        '{"turn": "add", "#horror": "maybe"}',
        '{"turn": "add", "#horror": null}',
        '{"turn": "add", "#horror": ["yes"]}',
        '{"turn": ["add"], "#horror": "yes"}',
        '{"turn": {"a": 1}, "#horror": {"b": 2}}',
        '{"turn": "add", "#horror": "similar"}',
        '{"turn": "add", "#horror": "yes"',
    ],
)
def test_misshapen_answers_are_refused(text: str) -> None:
    assert parse_understanding(text, lexicon().mark("a horror film")) is None


@given(st.text(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["turn", "#horror", "x"]), inner, max_size=3),
).map(json.dumps))  # fmt: skip
def test_any_answer_is_read_or_refused(text: str) -> None:
    parse_understanding(text, lexicon().mark("a horror film"))


def test_the_prompt_holds_marks_and_no_names() -> None:
    prompt = understanding_prompt(MARKED, "a #comedy", detail="brief")
    assert [m.role for m in prompt] == ["system", "user"]
    assert prompt[1].content == f"a #comedy\n> {MARKED.text}"
    for name in ("Alien", "Keanu"):
        assert name not in prompt[1].content
    assert understanding_prompt(MARKED)[1].content == f"> {MARKED.text}"


def test_the_full_prompt_explains_every_role_and_turn() -> None:
    system = understanding_prompt(MARKED)[0].content
    for word in {r for roles in ROLES.values() for r in roles} | set(TURNS):
        assert f'"{word}"' in system, word


# -- recommending: prompt and list ---------------------------------------------------------------


def numbered(titles: list[str]) -> str:
    return LIST_PREFIX + "".join(
        (title_entry(t) if n == 1 else f"{n}.{title_entry(t)}") for n, t in enumerate(titles, 1)
    )


def test_a_written_list_is_read_back() -> None:
    titles = [f.title for f in FILMS]
    assert parse_titles(numbered(titles)) == titles


@given(
    st.lists(
        st.text(
            alphabet=st.characters(categories=("Lu", "Ll", "Nd", "Lo")), min_size=1, max_size=12
        ).map(lambda t: f"T{t}"),
        min_size=1,
        max_size=12,
        unique=True,
    )
)
def test_any_list_of_words_is_read_back(titles: list[str]) -> None:
    assert parse_titles(numbered(titles)) == titles


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("1. Alien\n2. Coco\n", ["Alien", "Coco"]),
        ("1) Alien\n2) Coco", ["Alien", "Coco"]),
        ("- Alien\n- Coco", ["Alien", "Coco"]),
        ("* Alien\n• Coco", ["Alien", "Coco"]),
        ("Sure, here are some:\n\n1. **Alien** \n2. “Coco”\nEnjoy!", ["Alien", "Coco"]),
        ("1. Alien (1979) - a crew is hunted\n2. Coco – music", ["Alien (1979)", "Coco"]),
        ("1. Alien: A crew is hunted.\n", ["Alien"]),
        ("1. Alien: Covenant\n", ["Alien: Covenant"]),
        ("Alien\nCoco\n", ["Alien", "Coco"]),
        ("1. Alien\n2. Alien\n", ["Alien"]),
        ("", []),
        ("\n \n", []),
        ("1. \n2. ", []),
    ],
)
def test_lists_in_free_text(text: str, titles: list[str]) -> None:
    assert parse_titles(text) == titles


@given(st.text(max_size=300))
def test_any_text_gives_a_list_of_distinct_titles(text: str) -> None:
    titles = parse_titles(text)
    assert len(titles) == len(set(titles))
    assert all(t.strip() for t in titles)


def test_an_entry_is_one_line() -> None:
    assert title_entry("  The\n Matrix ") == " The Matrix" + TITLE_END
    assert title_entry("Coco", "<end>") == " Coco<end>"


def test_the_summary_gives_names_to_ids_and_leaves_free_words_out() -> None:
    wanted = Preferences(
        genres=("Horror",), year_min=1990, likes=("alien",), text="x", unknown=("y",), language="pt"
    )
    assert summary(wanted, {"alien": "Alien"}) == "genres: Horror; year_min: 1990; likes: Alien"
    assert summary(Preferences(), {}) == ""


def test_a_brief_prompt_is_the_line_of_wishes() -> None:
    asked = said("a horror film")
    brief = recommend_prompt(asked, Preferences(genres=("Horror",)), {}, strategy=ZeroShot("brief"))
    assert brief == (Message("system", "recommend"), Message("user", "genres: Horror"))
    blank = recommend_prompt(asked, Preferences(), {}, strategy=ZeroShot("brief"))
    assert blank[-1].content == "?"  # as in training: nothing was understood


def test_a_full_prompt_holds_the_conversation_the_wishes_and_the_candidates() -> None:
    asked = said("a horror film", ("alien",), "a newer one")
    prompt = recommend_prompt(
        asked, Preferences(genres=("Horror",)), {}, candidates=[FILMS[0]], k=7
    )
    assert "genres: Horror" in prompt[0].content
    assert "at most 7" in prompt[0].content
    assert "The Matrix (1999)" in prompt[0].content
    assert [m.content for m in prompt[1:]] == [m.content for m in asked.messages]


def test_shots_come_first_and_are_lists_that_the_parser_reads() -> None:
    shots = FewShot((("something scary", ("Alien", "Get Out")),))
    prompt = recommend_prompt(said("a comedy"), Preferences(), {}, strategy=shots)
    assert [m.role for m in prompt] == ["system", "user", "assistant", "user"]
    assert prompt[1].content == "something scary"
    assert parse_titles(prompt[2].content) == ["Alien", "Get Out"]
    assert prompt[2].content.startswith(LIST_PREFIX)
    assert ZeroShot().examples() == ()


@pytest.mark.parametrize(
    ("language", "name", "title"),
    [("en", "English", "City of God"), ("pt", "Portuguese", "Cidade de Deus"),
     ("es", "Spanish", "Ciudad de Dios")],
)  # fmt: skip
def test_prose_is_asked_for_in_the_language_of_the_user(
    language: str, name: str, title: str
) -> None:
    god = next(f for f in FILMS if f.id == "city-of-god")
    prompt = reply_prompt(said("a drama"), Preferences(language=language), [god])
    assert name in prompt[0].content
    assert f"- {title} (2002)" in prompt[0].content
    assert prompt[1:] == (Message("user", "a drama"),)
