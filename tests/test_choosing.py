from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_endpoint import Answer, Request, quick, serving
from world import BY_ID, FILMS, WRITER, catalog, recommender, said

from llmrec import Recommender
from llmrec.catalog import Catalog
from llmrec.choosing import LISTED, shuffled
from llmrec.errors import InputError, SchemaError
from llmrec.models.endpoint import KEY, MisfitError, misfit
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel, simplest
from llmrec.prompting import (
    choose_answer,
    choose_prompt,
    choose_schema,
    parse_choice,
)
from llmrec.types import Conversation, Item, Message, Preferences, Recommendation
from llmrec.wishes import meets_all, wishes

CRIME = {"city-of-god", "nine-queens", "secret"}


def ids(found: Sequence[Recommendation]) -> list[str]:
    return [r.item.id for r in found]


def numbers(messages: Sequence[Message]) -> dict[str, str]:
    """The titles that a prompt lists, by their numbers."""
    lines = [x for x in messages[0].content.splitlines() if x.startswith("[")]
    return {x[1 : x.index("]")]: x[x.index("]") + 2 :].partition(" (")[0] for x in lines}


def chooser(*titles: str) -> ScriptedModel:
    """A model that chooses these titles, where they are listed."""

    def reply(messages: Sequence[Message]) -> str:
        named = {title: n for n, title in numbers(messages).items()}
        return json.dumps({"chosen": [named[t] for t in titles if t in named]})

    return ScriptedModel(reply)


def choosing(model: Any, **options: Any) -> Recommender:
    return recommender(model, grounding="choose", **options)


# -- prompt and parser ---------------------------------------------------------------------------


@given(st.lists(st.integers(0, 39), min_size=1, max_size=10, unique=True))
def test_what_is_answered_is_read_back(places: list[int]) -> None:
    answer = choose_answer(places)
    assert misfit(json.loads(answer), choose_schema(40, 10)) is None
    choice = parse_choice(answer, 40)
    assert choice is not None
    assert (choice.places, choice.unknown, choice.repeated) == (tuple(places), (), 0)


def test_the_prompt_lists_what_may_be_chosen() -> None:
    talk = said("something with Ricardo Darín")
    wanted = Preferences(people=("Ricardo Darín",), likes=("alien",))
    prompt = choose_prompt(talk, wanted, {"alien": "Alien (1979)"}, FILMS[:3], k=2)
    lines = prompt[0].content.splitlines()
    assert lines[-3].startswith("[1] The Matrix (1999); Action, Sci-Fi; ")
    assert "at most 2" in lines[0]
    assert "Alien (1979)" in lines[1]
    assert prompt[1:] == (Message("user", "something with Ricardo Darín"),)
    products = choose_prompt(talk, Preferences(), {}, FILMS[:1], things="products")
    assert "film" not in products[0].content


@pytest.mark.parametrize(
    ("text", "places", "unknown", "repeated"),
    [
        ('{"chosen": ["2", "2", "9", "1", "2"]}', (1, 0), ("9",), 2),
        ('Sure! ```json\n{"chosen": ["3"]}\n``` Enjoy.', (2,), (), 0),
        ('<think>{"chosen": ["1"]}?</think>{"chosen": ["2"]}', (1,), (), 0),
        ('{"chosen": [2, null, "Up", "0", "01"]}', (1,), ("null", "Up", "0", "01"), 0),
        ('{"chosen": []}', (), (), 0),
    ],
)
def test_an_answer_is_held_against_the_list(
    text: str, places: tuple[int, ...], unknown: tuple[str, ...], repeated: int
) -> None:
    choice = parse_choice(text, 3)
    assert choice is not None
    assert (choice.places, choice.unknown, choice.repeated) == (places, unknown, repeated)


@pytest.mark.parametrize(
    "text",
    ["", "I recommend 2 films: 1 and 3.", '{"chosen": ["1", "2"', '["1"]', '{"chosen": "1"}',
     '{"ids": ["1"]}', "{chosen: [1]}", "[[[["],
)  # fmt: skip
def test_what_chooses_nothing_is_not_guessed_at(text: str) -> None:
    assert parse_choice(text, 3) is None


def test_a_list_is_mixed_the_same_way_again() -> None:
    order = shuffled(FILMS)
    assert order == shuffled(FILMS)
    assert sorted(order) == list(range(len(FILMS)))
    assert order != sorted(order)
    assert order[1:] != shuffled(FILMS[1:])


# -- in the tiny world ---------------------------------------------------------------------------


def test_the_model_chooses_among_what_meets_the_wishes() -> None:
    model = chooser("Nine Queens", "The Matrix", "City of God")
    rec = choosing(model)
    reply = rec.chat("a crime film", k=2)
    assert ids(reply.recommendations) == ["nine-queens", "city-of-god"]  # and The Matrix is none
    (call,) = model.calls
    assert set(numbers(call.messages).values()) == {BY_ID[i].title for i in CRIME}
    assert call.schema == choose_schema(3, 2)
    assert reply.ungrounded == ()
    assert [r.rank for r in reply.recommendations] == [1, 2]
    shares = [math.exp(r.score) for r in reply.recommendations]
    assert shares[0] == pytest.approx(2 * shares[1])  # ranks, and nothing else
    assert reply.confidence == pytest.approx(sum(shares))
    assert "Nine Queens" in reply.text


def test_what_the_model_leaves_out_follows_by_the_signals() -> None:
    by_signals = ids(choosing(ScriptedModel("no")).recommend("a crime film", k=3))
    assert set(by_signals) == CRIME
    last = BY_ID[by_signals[-1]].title
    rec = choosing(chooser(last))
    assert ids(rec.recommend("a crime film", k=3)) == [by_signals[2], *by_signals[:2]]
    assert (rec.tally.answers, rec.tally.picked, rec.tally.unread) == (1, 1, 0)
    assert rec.tally.listed == 3
    assert rec.tally.down in (pytest.approx(1 / 6, abs=1e-4), 0.5, pytest.approx(5 / 6, abs=1e-4))


@pytest.mark.parametrize(
    ("lie", "unknown", "tally"),
    [
        ('{"chosen": ["99", "Heat", "99"]}', ("99", "Heat"), (1, 0, 0, 2, 0)),
        ('{"chosen": ["1", "1", "1"]}', (), (1, 0, 1, 0, 2)),
        ("Try Heat, or number 7!", (), (1, 1, 0, 0, 0)),
        ('{"chosen": ["1", ', (), (1, 1, 0, 0, 0)),
        ("", (), (1, 1, 0, 0, 0)),
        ('{"chosen": {"title": "Heat"}}', (), (1, 1, 0, 0, 0)),
    ],
)
def test_a_model_that_lies_brings_nothing_in(
    lie: str, unknown: tuple[str, ...], tally: tuple[int, ...]
) -> None:
    rec = choosing(ScriptedModel(lie))
    reply = rec.chat("a crime film", k=3)
    assert set(ids(reply.recommendations)) == CRIME
    assert reply.ungrounded == unknown
    assert reply.confidence == (0 if not tally[2] else pytest.approx(6 / 11))
    t = rec.tally
    assert (t.answers, t.unread, t.picked, t.unknown, t.repeated) == tally


class Stubborn:
    """A server's model that meets no schema, and says what it said."""

    name = "stubborn"
    grounding = "choose"

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def generate(self, prompts: Sequence[Any], **options: Any) -> list[str]:
        self.asked += 1
        raise self.error

    def stream(self, prompt: Any, **options: Any) -> Iterator[str]:
        yield "Enjoy."


@pytest.mark.parametrize("error", [SchemaError("no"), InputError("too long")])
def test_a_model_without_an_answer_leaves_the_signals(error: Exception) -> None:
    model = Stubborn(error)
    rec = Recommender(model, catalog(), profile=WRITER)
    assert rec.grounding == "choose"
    found = rec.recommend(["a crime film", "a horror film"], k=5)
    assert [set(ids(f)) for f in found] == [CRIME, {"alien", "get-out"}]


def test_what_is_true_of_a_misshapen_answer_is_kept() -> None:
    told = '{"chosen": ["2", "77"]}'
    rec = Recommender(Stubborn(MisfitError("no", told)), catalog(), profile=WRITER)
    reply = rec.chat("a crime film", k=1)
    assert reply.ungrounded == ("77",)
    assert rec.tally.picked == 1


def test_a_server_is_sent_as_many_questions_together_as_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    under_way, most, lock = 0, 0, threading.Lock()
    four = threading.Barrier(4, timeout=10)

    def reply(request: Request) -> Answer | str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        four.wait()  # nobody is answered before four have asked
        with lock:
            under_way -= 1
        if "horror" in request.said:
            return Answer({"error": {"message": "the request exceeds the context size"}}, 400)
        return '{"chosen": ["1"]}'

    with serving() as server:
        server.reply = reply
        model = quick(server, concurrency=4)
        rec = Recommender(model, catalog(), profile=Profile("rules-only", "full", writes=False))
        wishes = ["a crime film", "surprise me", "a horror film", "romance"] * 3
        found = rec.recommend(wishes, k=1)
    assert len(found) == len(server.chats) == 12  # lists of several lengths, and none twice
    assert most == 4
    assert (rec.tally.answers, rec.tally.unread, rec.tally.picked) == (12, 3, 9)
    assert model.usage.requests == 12


def test_from_pretrained_takes_it() -> None:
    model = chooser("Coco")
    rec = Recommender.from_pretrained(model, catalog=catalog(), grounding="choose")
    assert ids(rec.recommend("surprise me", k=1)) == ["coco"]
    assert Recommender.from_pretrained(model, catalog=catalog()).grounding == "constrained"
    assert rec.with_catalog(Catalog.from_items(FILMS[:5])).grounding == "choose"


def test_nothing_is_asked_where_there_is_no_candidate() -> None:
    model = ScriptedModel("never asked")
    everything = tuple(BY_ID)
    reply = choosing(model).chat(said("a film", seen=everything))
    assert (reply.recommendations, model.calls) == ((), [])
    assert reply.text.startswith("I found no film")


MANY = [
    Item(f"i{n}", f"Film {n}", 1900 + n, genres=("Drama",), popularity=n / 100) for n in range(90)
]


def test_a_long_list_is_cut_by_the_signals() -> None:
    model = ScriptedModel('{"chosen": ["1"]}')
    rec = Recommender(model, Catalog.from_items(MANY), grounding="choose", profile=WRITER)
    assert len(rec.recommend("surprise me", k=5)) == 5
    shown = numbers(model.calls[-1].messages)
    assert set(shown.values()) == {f"Film {n}" for n in range(90 - LISTED, 90)}
    assert len(rec.recommend("surprise me", k=80)) == 80  # more than are listed


def test_a_prompt_is_cut_for_a_model_that_reads_little() -> None:
    class Small(ScriptedModel):
        max_tokens = 1_000  # of bytes, in the scripted model

    model = Small('{"chosen": ["1"]}')
    long = [Message("user", f"{n} " + "I like long sentences. " * 5) for n in range(12)]
    talk = Conversation((*long, Message("user", "surprise me")))
    rec = Recommender(model, Catalog.from_items(MANY), grounding="choose", profile=WRITER)
    assert len(rec.recommend(talk, k=3)) == 3
    messages = model.calls[-1].messages
    assert len(model.prompt_ids(messages)) < 1_000
    assert messages[-1].content == "surprise me"
    assert set(numbers(messages).values()) == {f"Film {n}" for n in range(80, 90)}


def test_listed_candidates_stand_as_they_are_listed() -> None:
    model = chooser("Coco", "Alien")
    rec = choosing(model, profile=Profile(lead="rules", detail="full", writes=False))
    found = rec.uncertainty("surprise me", k=2, methods=["order"], variants=3)
    lists = [tuple(numbers(c.messages).values()) for c in model.calls][1:]
    assert len(set(lists)) == len(lists) == 3
    assert set(map(frozenset, lists)) == {frozenset(lists[0])}
    assert set(found.items[:2]) == {"coco", "alien"}


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["a crime film", "surprise me", "um filme de terror", "horror or romance"]),
    st.one_of(
        st.text(max_size=40),
        st.lists(st.one_of(st.integers(-3, 40), st.text(max_size=3)), max_size=30).map(
            lambda chosen: json.dumps({"chosen": [str(c) for c in chosen]})
        ),
    ),
    st.sets(st.sampled_from(sorted(BY_ID)), max_size=5),
    st.integers(1, 20),
)
def test_whatever_is_answered_only_candidates_come_out(
    words: str, answer: str, seen: set[str], k: int
) -> None:
    reply = choosing(ScriptedModel(answer)).chat(said(words, seen=tuple(sorted(seen))), k=k)
    found = ids(reply.recommendations)
    asked = wishes(reply.preferences)
    meeting = [f.id for f in FILMS if f.id not in seen and meets_all(f, asked)]
    assert len(found) == len(set(found)) == min(k, len(meeting) or len(found))
    assert not set(found) & seen
    if meeting:
        assert set(found) <= set(meeting)
    assert 0 <= reply.confidence <= 1
    assert all(math.isfinite(r.score) and r.score <= 0 for r in reply.recommendations)


def test_the_simplest_answer_is_one() -> None:
    assert parse_choice(json.dumps(simplest(choose_schema(5, 3))), 5) is not None
