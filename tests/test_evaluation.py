"""Recall by hand, its interval, and the model's ranking of a whole catalogue."""

from __future__ import annotations

import numpy as np
import pytest
import world
from hypothesis import given
from hypothesis import strategies as st

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.evaluation import model_rankings, popular_rankings, recall
from llmrec.metrics.ranking import recall_counts
from llmrec.metrics.significance import ratio_interval
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.recommender import Recommender
from llmrec.types import Conversation, Example, Item, Message

TURNS = Profile(lead="rules-only", detail="turns", writes=False)


def example(*relevant: str, named: tuple[str, ...] = (), dialogue: str = "1") -> Example:
    talk = Conversation((Message("user", "something good", named),))
    return Example(talk, relevant, dialogue=dialogue)


def test_recall_by_hand() -> None:
    ranked = [np.array([3, 1, 2]), np.array([5, 6, 7]), np.array([9])]
    relevant = [np.array([1, 2]), np.array([8]), np.array([9, 4, 0])]
    hits, totals = recall_counts(ranked, relevant, 2)
    assert (hits.tolist(), totals.tolist()) == ([1, 0, 1], [2, 1, 3])
    assert recall_counts(ranked, relevant, 3)[0].tolist() == [2, 0, 1]


def test_an_interval_is_over_groups() -> None:
    hits, totals = np.array([1, 1, 0, 0]), np.ones(4)
    value, low, high = ratio_interval(hits, totals, ["a", "a", "b", "b"])
    assert (value, low, high) == (0.5, 0.0, 1.0)  # two dialogues, all or nothing
    many = np.tile(hits, 100)
    _, low, high = ratio_interval(many, np.ones(400), [str(i) for i in range(400)])
    assert 0.44 < low < 0.5 < high < 0.56
    assert ratio_interval(many, np.ones(400), ["x"] * 400)[1:] == (0.5, 0.5)
    assert ratio_interval(np.zeros(0), np.zeros(0), []) == (0.0, 0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(3, 5)), min_size=1, max_size=30))
def test_an_interval_holds_its_value(cases: list[tuple[int, int]]) -> None:
    parts, wholes = np.array(cases).T
    groups = [str(i % 7) for i in range(len(cases))]
    value, low, high = ratio_interval(parts, wholes, groups, samples=200)
    assert low - 1e-9 <= high
    assert 0 <= value <= 1
    assert abs(value - parts.sum() / wholes.sum()) < 1e-12


def test_the_model_ranks_the_whole_catalogue_and_not_what_was_named() -> None:
    likes = {"Coco": 0.5, "Alien": 0.3, "Speed": 0.2}
    rec = world.recommender(ScriptedModel(likes=likes), profile=TURNS)
    cases = [example("coco", named=("coco",)), example("speed")]
    ranked = model_rankings(rec, cases, 2)
    assert [[rec.catalog.ids[r] for r in rows] for rows in ranked] == [
        ["alien", "speed"],
        ["coco", "alien"],
    ]
    every = model_rankings(rec, cases, 2, new_only=False)
    assert [rec.catalog.ids[r] for r in every[0]] == ["coco", "alien"]


def test_recall_of_all_targets_and_of_new_ones() -> None:
    likes = {"Coco": 0.5, "Alien": 0.3, "Speed": 0.2}
    rec = world.recommender(ScriptedModel(likes=likes), profile=TURNS)
    cases = [example("coco", "alien", named=("coco",)), example("speed"), example("nowhere")]
    both = recall(rec, cases, k=2, new_only=False)
    assert (both.value, both.n, both.targets, both.catalog) == (2 / 3, 2, 3, 14)
    new = recall(rec, cases, k=2)
    assert (new.value, new.n, new.targets, new.new_only) == (1 / 2, 2, 2, True)
    with pytest.raises(InputError, match="no example has a target in the catalogue"):
        recall(rec, [example("nowhere")])


def test_the_popular_ones() -> None:
    rec = world.recommender(profile=TURNS)
    ranked = popular_rankings(rec, [example(named=("matrix",)), example()], 2)
    assert [[rec.catalog.ids[r] for r in rows] for rows in ranked] == [
        ["toy-story", "alien"],
        ["matrix", "toy-story"],
    ]
    assert recall(rec, [example("matrix")], [ranked[1]], k=2).value == 1.0


def test_items_that_share_a_title_are_told_apart_by_their_year() -> None:
    films = [Item("old", "It", 1990), Item("new", "It", 2017), Item("heat", "Heat", 1995)]
    catalog = Catalog.from_items(films)
    assert catalog.labels == ["It (1990)", "It (2017)", "Heat"]
    likes = {"It (2017)": 0.6, "Heat": 0.3, "It (1990)": 0.1}
    rec = Recommender(ScriptedModel(likes=likes), catalog, profile=TURNS)
    (ranked,) = model_rankings(rec, [example()], 3)
    assert [rec.catalog.ids[r] for r in ranked] == ["new", "heat", "old"]
