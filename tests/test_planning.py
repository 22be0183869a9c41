"""Plan: what may be recommended in a conversation, and what had to be given up for it."""

from __future__ import annotations

import pytest

from llmrec import Catalog, Conversation, Item, Message, Preferences, Recommender
from llmrec.models.scripted import ScriptedModel
from llmrec.ranker.linear import LinearRanker

FILMS = [
    Item("a", "Apple", 1999, genres=("Comedy",), countries=("Brazil",), runtime=90),
    Item("b", "Birch", 2001, genres=("Comedy",), countries=("Spain",), runtime=120),
    Item("c", "Cedar", 2003, genres=("Drama",), countries=("Brazil",), runtime=150),
    Item("d", "Daisy", 2005, genres=("Comedy",), countries=("Brazil",), runtime=200),
]


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender(ScriptedModel(), Catalog.from_items(FILMS), grounding="match")


def ids(recommender: Recommender, rows: object) -> set[str]:
    return {i.id for i in recommender.catalog.items_at(rows)}  # type: ignore[arg-type]


def test_a_plan_holds_what_meets_the_wishes_and_was_not_named(recommender: Recommender) -> None:
    wanted = Preferences(genres=("Comedy",), countries=("Brazil",), seen=("d",))
    plan = recommender.plan("a comedy from Brazil", preferences=wanted)
    assert ids(recommender, plan.rows) == {"a"}
    assert plan.excluded == {"d"}
    assert not plan.relaxed
    assert not plan.again
    assert recommender.narrowing(plan) == [3, 2, 1]


def test_a_plan_tells_what_was_given_up(recommender: Recommender) -> None:
    wanted = Preferences(genres=("Comedy",), runtime_max=60)
    plan = recommender.plan("a short comedy", preferences=wanted)
    assert [w.field for w in plan.relaxed] == ["runtime_max"]
    assert ids(recommender, plan.rows) == {"a", "b", "d"}
    assert recommender.narrowing(plan)[-1] == 0


def test_what_was_shown_comes_again_only_when_asked_for(recommender: Recommender) -> None:
    said = Conversation((
        Message("user", "a comedy"), Message("assistant", "Apple", ("a",)), Message("user", "more"),
    ))  # fmt: skip
    wanted = Preferences(genres=("Comedy",))
    fresh = recommender.plan(said, preferences=wanted)
    again = recommender.plan(said, preferences=wanted, repeat=True)
    assert ids(recommender, fresh.rows) == {"b", "d"}
    assert ids(recommender, again.rows) == {"a", "b", "d"}


def test_weights_set_by_hand_go_along_to_another_catalogue(recommender: Recommender) -> None:
    weights = LinearRanker(popularity=-1.0)
    here = Recommender(recommender.model, recommender.catalog, grounding="match", ranker=weights)
    there = here.with_catalog(Catalog.from_items(FILMS[:2]))
    assert there.measured_as["ranker"] == repr(weights)
    assert recommender.with_catalog(there.catalog).measured_as["ranker"] == repr(
        LinearRanker(recommender._profile.taste)
    )


def test_a_plan_is_what_is_recommended_from() -> None:
    embedded = Recommender.from_pretrained()
    plan = embedded.plan("a Brazilian comedy from the 2000s")
    found = embedded.recommend("a Brazilian comedy from the 2000s", k=3)
    assert {r.item.id for r in found} <= ids(embedded, plan.rows)
    assert plan.rows.size == embedded.narrowing(plan)[-1] < embedded.narrowing(plan)[0]


@pytest.mark.parametrize("text", ["I did like 2, 3, 4, 5", "shorter than the third one"])
def test_films_that_are_pointed_at_and_were_not_shown_are_none(
    recommender: Recommender, text: str
) -> None:
    shown = Conversation().add(Message("user", "a comedy")).add(Message("assistant", "1.", ("a",)))
    plan = recommender.plan(shown.add(Message("user", text)))
    assert ids(recommender, plan.rows) <= {"b", "c", "d"}
