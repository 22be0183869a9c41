from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.types import (
    LANGUAGES,
    MAX_MESSAGE_CHARS,
    Conversation,
    Example,
    Item,
    Message,
    Preferences,
    Recommendation,
    Reply,
)

NAMES = st.lists(st.text(), max_size=3).map(tuple)
NUMBERS = st.none() | st.integers(-(10**6), 10**6)
ITEMS = st.builds(
    Item,
    id=st.text(),
    title=st.text(),
    year=NUMBERS,
    titles=st.dictionaries(st.sampled_from(LANGUAGES), NAMES),
    genres=NAMES,
    directors=NAMES,
    cast=NAMES,
    runtime=NUMBERS,
    descriptions=st.dictionaries(st.sampled_from(LANGUAGES), st.text()),
    rating=st.none() | st.floats(0, 10),
)
PREFERENCES = st.builds(
    Preferences,
    genres=NAMES,
    people_out=NAMES,
    year_min=NUMBERS,
    runtime_max=NUMBERS,
    similar_to=NAMES,
    text=st.text(),
    language=st.sampled_from(LANGUAGES),
)
MESSAGES = st.builds(
    Message, st.sampled_from(["system", "user", "assistant"]), st.text(), items=NAMES
)
CONVERSATIONS = st.builds(
    Conversation, st.lists(MESSAGES, max_size=3).map(tuple), liked=NAMES, seen=NAMES
)


@given(st.one_of(ITEMS, PREFERENCES, MESSAGES, CONVERSATIONS))
def test_values_survive_json(value: Item | Preferences | Message | Conversation) -> None:
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict()))) == value


def test_fields_at_their_default_are_left_out() -> None:
    assert Preferences(genres=("Drama",)).to_dict() == {"genres": ["Drama"]}
    example = Example(Conversation((Message("user", "hi", ("a",)),)), relevant=("b",))
    assert example.to_dict() == {
        "conversation": {"messages": [{"role": "user", "content": "hi", "items": ["a"]}]},
        "relevant": ["b"],
    }


@pytest.mark.parametrize(
    ("cls", "data", "message"),
    [
        (Item, {"id": "a", "name": "A"}, "Item has no field 'name': it has cast, countries"),
        (Item, {"id": "a"}, "Item cannot be built from {'id': 'a'}"),
        (Message, {"role": "bot", "content": ""}, "has the role 'bot': use 'system', 'user' or"),
        (Message, {"role": "user", "content": 3}, "content of type int: give it as text"),
        (Conversation, {"language": "de"}, "the language is 'de': use one of en, pt, es, or none"),
        (Preferences, {"year_min": "1990"}, "year_min is '1990': give a whole number or nothing"),
        (Preferences, {"year_min": True}, "year_min is True: give a whole number"),
        (Preferences, {"genres": "Drama"}, "genres is 'Drama': give a list of names"),
        (Preferences, {"genres": [1]}, r"genres is \(1,\): give a list of names"),
        (Preferences, {"text": None}, "text is None: give a text"),
        (Preferences, {"language": "fr"}, "language is 'fr': use one of en, pt, es"),
    ],
)
def test_a_misfit_is_named(cls: Any, data: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cls.from_dict(data)


def test_values_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Item("a", "A").title = "B"  # type: ignore[misc]


def test_preferences_hold_each_name_once() -> None:
    assert Preferences(genres=("Drama", "War", "Drama")).genres == ("Drama", "War")


def test_the_names_of_an_item() -> None:
    item = Item(
        "jaws",
        "Jaws",
        1975,
        original_title="Jaws",
        titles={"pt": ("Tubarão",), "es": ("Tiburón", "Jaws")},
        directors=("Steven Spielberg",),
        cast=("Roy Scheider", "Steven Spielberg"),
        description="A shark.",
        descriptions={"pt": "Um tubarão."},
    )
    assert item.label == "Jaws (1975)"
    assert Item("x", "X").label == "X"
    assert item.all_titles == ("Jaws", "Tubarão", "Tiburón")
    assert item.people == ("Steven Spielberg", "Roy Scheider")
    assert [item.title_in(language) for language in LANGUAGES] == ["Jaws", "Tubarão", "Tiburón"]
    assert [item.description_in(x) for x in ("pt", "es")] == ["Um tubarão.", "A shark."]
    assert hash(item) == hash(dataclasses.replace(item))


def test_a_conversation_is_taken_in_every_form() -> None:
    made = Conversation((Message("user", "a comedy"),))
    assert Conversation.of("a comedy") == made
    assert Conversation.of([{"role": "user", "content": "a comedy"}]) == made
    assert Conversation.of(made) is made


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        ("", "the message is empty: say what you are looking for"),
        (" \n\t", "the message is empty"),
        ([], "the conversation is empty: give at least one message of the user"),
        ([Message("assistant", "hello")], "the last message is by 'assistant': it must be the"),
        ("x" * 50_000, "a message has 50,000 characters: at most 8,000 are read"),
        (7, "a conversation was given as int: give a text, a list of"),
    ],
)
def test_a_conversation_that_cannot_be_answered(conversation: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Conversation.of(conversation)


def test_the_longest_message_is_taken() -> None:
    assert Conversation.of("🎬" * MAX_MESSAGE_CHARS)


def test_what_was_mentioned() -> None:
    reply = Reply("Here.", (Recommendation(Item("b", "B"), 1, -0.1),))
    talk = Conversation.of("hi").add(
        Message("assistant", "A and B", ("a", "b")), Message("user", "no"), reply.message()
    )
    assert talk.mentioned == ("a", "b")
    assert talk.messages[-1] == Message("assistant", "Here.", ("b",))
