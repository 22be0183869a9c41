"""Figures of a run folder against figures from paper, whatever the order and state of its lines."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from math import log2, sqrt
from pathlib import Path
from typing import Any

import handmade
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.evaluation.aggregate import aggregate
from llmrec.evaluation.predictions import Prediction
from llmrec.evaluation.reading import read_run

GAIN = 1 / log2(3)  # of the second place


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return handmade.folder(tmp_path / "run")


def values(figures: Any, names: str) -> list[float]:
    return [figures[name]["value"] for name in names.split()]


def main_of(figures: dict[str, Any]) -> dict[str, Any]:
    system: dict[str, Any] = figures["systems"]["m, zero-shot"]
    return system


def test_all_targets_by_hand(run: Path) -> None:
    figures = aggregate(run)
    of = main_of(figures)["all"]
    assert figures["counts"]["all"] == {"examples": 3, "targets": 5, "dialogues": 2}
    # Found among the first: 1 of 2, 0 of 2, 1 of 1; among the first two: 1 of 2, 1 of 2, 1 of 1.
    assert values(of, "recall@1 recall@2") == [2 / 5, 3 / 5]
    assert values(of, "recall_macro@1 recall_macro@2") == pytest.approx([1 / 2, 2 / 3])
    assert values(of, "hit@1 hit@2 precision@2") == pytest.approx([2 / 3, 1, 1 / 2])
    assert values(of, "mrr@1 mrr@2") == pytest.approx([2 / 3, (1 + 1 / 2 + 1) / 3])
    assert values(of, "map@2") == pytest.approx([(1 / 2 + 1 / 4 + 1) / 3])
    best = 1 + GAIN
    assert values(of, "ndcg@2") == pytest.approx([(1 / best + GAIN / best + 1) / 3])
    assert {f["n"] for f in of.values()} == {3}


def test_new_targets_by_hand(run: Path) -> None:
    figures = aggregate(run)
    of = main_of(figures)["new"]
    # The third example wants nothing new; in the second "a" leaves targets and ranking.
    assert figures["counts"]["new"] == {"examples": 2, "targets": 3, "dialogues": 1}
    assert values(of, "recall@1 recall@2") == pytest.approx([1 / 3, 2 / 3])
    assert values(of, "recall_macro@2 mrr@2") == pytest.approx([3 / 4, 3 / 4])
    assert {f["n"] for f in of.values()} == {2}
    popular = figures["systems"]["popularity"]
    assert values(popular["all"], "recall@1 recall@2") == pytest.approx([2 / 5, 4 / 5])
    assert values(popular["new"], "recall@1 recall@2") == pytest.approx([1 / 3, 3 / 3])


def test_intervals_are_over_dialogues(run: Path) -> None:
    found = main_of(aggregate(run))["all"]["recall@1"]
    # Drawn are the first dialogue twice (1 of 4), both (2 of 5) or the second twice (1 of 1).
    assert (found["low"], found["value"], found["high"]) == (1 / 4, 2 / 5, 1)


def test_beyond_accuracy_by_hand(run: Path) -> None:
    figures = aggregate(run)
    of = main_of(figures)["beyond"]
    # Without what was mentioned the lists are b c a, d c, and e.
    assert of["coverage"]["value"] == pytest.approx(5 / 6)
    assert of["gini"]["value"] == pytest.approx((-3 - 1 + 1 + 3 + 2 * 5) / (6 * 6))
    assert of["popularity"]["value"] == pytest.approx((7 / 3 + 1 / 2 + 1) / 3)
    bits = {i: -log2((n + 1) / (8 + 6)) for i, n in zip("abcdef", handmade.COUNTS, strict=True)}
    means = [(bits["b"] + bits["c"] + bits["a"]) / 3, (bits["d"] + bits["c"]) / 2, bits["e"]]
    assert of["novelty"]["value"] == pytest.approx(sum(means) / 3)
    assert of["diversity"]["value"] == pytest.approx((2 / 3 + 1 - 1 / sqrt(2)) / 2)
    assert of["diversity"]["n"] == 2  # a list of one item has none
    assert of["repeats"] == {**of["repeats"], "value": pytest.approx(3 / 9), "n": 9}
    assert of["wishes"] == {**of["wishes"], "value": pytest.approx(3 / 5), "n": 5}
    assert figures["systems"]["popularity"]["beyond"]["wishes"] is None
    # What was wanted and new: a and b, then c.
    assert figures["popularity"]["wanted"]["mean"]["value"] == pytest.approx(7 / 3)
    assert figures["popularity"]["edges"] == [0, 1, 4]
    assert figures["popularity"]["wanted"]["shares"] == pytest.approx([0, 2 / 3, 1 / 3])
    assert figures["popularity"]["recommended"]["m, zero-shot"] == pytest.approx(
        [1 / 6, 4 / 6, 1 / 6]
    )


def test_what_was_written_and_what_it_cost(run: Path) -> None:
    of = main_of(aggregate(run))
    assert (of["written"]["examples"], of["written"]["titles"]) == (1, 5)
    assert of["written"]["tiers"] == {"exact": 2, "year": 1}
    assert values(of["written"], "outside duplicates language") == [1 / 5, 1 / 5, 1 / 2]
    assert of["cost"]["seconds"] == {"mean": 3, "median": 2, "p95": 5.6, "total": 9}
    assert of["cost"]["tokens"] == {"mean": 30, "median": 20, "p95": 56, "total": 90}
    assert of["errors"] == {"n": 0, "kinds": {}}


def test_slices_by_hand(run: Path) -> None:
    of = main_of(aggregate(run))["slices"]
    assert list(of) == ["language", "turn", "mentioned"]
    assert {name: s["examples"] for name, s in of["language"].items()} == {"en": 2, "pt": 1}
    assert {name: s["examples"] for name, s in of["turn"].items()} == {"0-2": 1, "3-6": 1, "7+": 1}
    cold, warm = of["mentioned"]["cold start"], of["mentioned"]["warm"]
    assert (cold["examples"], warm["examples"]) == (1, 2)
    assert values(cold["all"], "recall@1 recall@2") == [1 / 2, 1 / 2]
    assert values(warm["all"], "recall@1 recall@2") == pytest.approx([1 / 3, 2 / 3])
    assert warm["counts"]["new"] == {"examples": 1, "targets": 1, "dialogues": 1}
    assert of["language"]["pt"]["new"]["recall@1"]["n"] == 0


def test_what_is_written_is_what_is_given(run: Path) -> None:
    figures = aggregate(run)
    assert json.loads((run / "metrics.json").read_text("utf-8")) == figures
    assert (figures["complete"], figures["done"], figures["n"]) == (True, 3, 3)
    assert (figures["main"], figures["catalog"], figures["ks"]) == ("m, zero-shot", 6, [1, 2])
    assert list(figures["systems"]) == ["m, zero-shot", "popularity"]


def examples() -> st.SearchStrategy[list[Prediction]]:
    few = st.lists(st.sampled_from("abcdef"), max_size=6, unique=True).map(tuple)
    one = st.builds(
        Prediction,
        id=st.just(""),
        dialogue=st.sampled_from(("x", "y", "z")),
        turn=st.integers(0, 12),
        language=st.sampled_from(("en", "pt", "es", "")),
        relevant=few,
        mentioned=few,
        items=few,
    )
    named = st.lists(one, min_size=1, max_size=8)
    return named.map(lambda ps: [dataclasses.replace(p, id=str(n)) for n, p in enumerate(ps)])


@settings(max_examples=10)
@given(examples(), st.randoms())
def test_the_order_of_lines_does_not_matter_and_slices_add_up(
    tmp_path_factory: pytest.TempPathFactory, predictions: list[Prediction], dice: random.Random
) -> None:
    path = tmp_path_factory.mktemp("runs") / "run"
    figures = aggregate(handmade.folder(path, predictions, {}))
    mixed = list(predictions)
    dice.shuffle(mixed)
    (path / "predictions.jsonl").write_text(handmade.lines(mixed), encoding="utf-8")
    assert aggregate(path) == figures
    system = main_of(figures)
    for target, whole in figures["counts"].items():
        for of in system["slices"].values():
            for what in ("examples", "targets"):
                assert sum(s["counts"][target][what] for s in of.values()) == whole[what]
            found = [
                s[target]["recall@2"]["value"] * s["counts"][target]["targets"] for s in of.values()
            ]
            assert sum(found) == pytest.approx(
                system[target]["recall@2"]["value"] * whole["targets"], abs=1e-6
            )
        for figure in system[target].values():
            assert 0 <= figure["low"] <= figure["high"] <= 1
            assert 0 <= figure["value"] <= 1
    shutil.rmtree(path)


def test_a_run_under_way_says_so(run: Path) -> None:
    whole = handmade.lines(handmade.PREDICTIONS)
    (run / "predictions.jsonl").write_text(whole[:-20], encoding="utf-8")
    figures = aggregate(run)
    assert (figures["complete"], figures["done"], figures["n"]) == (False, 2, 3)
    assert figures["broken"] == 1
    assert figures["problems"][0][:2] == ["predictions.jsonl", 3]
    assert values(main_of(figures)["all"], "recall@1") == [1 / 4]
    # The baseline has all three, and is measured on the same two.
    assert figures["systems"]["popularity"]["n"] == 2
    assert values(figures["systems"]["popularity"]["all"], "recall@1 recall@2") == [1 / 2, 3 / 4]


def test_what_several_processes_wrote_so_far(tmp_path: Path, run: Path) -> None:
    parted = handmade.folder(tmp_path / "parted", handmade.PREDICTIONS[:1])
    rest = handmade.lines(handmade.PREDICTIONS[1:])
    (parted / "predictions.1.jsonl").write_text(rest, encoding="utf-8")
    assert aggregate(parted) == aggregate(run)


def test_broken_lines_are_left_out_and_counted(run: Path) -> None:
    odd = {**handmade.FIRST.to_dict(), "id": "x", "items": [1]}
    again = {**handmade.FIRST.to_dict(), "items": ["f"]}
    with (run / "predictions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "y"}\n[]\n' + json.dumps(odd) + "\n" + json.dumps(again) + "\n")
    figures = aggregate(run)
    assert [p[1] for p in figures["problems"]] == [4, 5, 6, 7]
    assert "this is no prediction" in figures["problems"][0][2]
    assert figures["problems"][2][2] == "items is (1,): a list of ids is wanted"
    assert figures["problems"][3][2] == "the id 'd1:1' was used before"
    assert figures["done"] == 3
    assert values(main_of(figures)["all"], "recall@1") == [2 / 5]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("turn", "3", "turn is '3': a number is wanted"),
        ("seconds", float("nan"), "seconds is nan: a number is wanted"),
        ("tiers", {"exact": None}, "tiers are"),
        ("wishes", [1], "wishes are"),
        ("id", 7, "id is 7: a text is wanted"),
    ],
)
def test_a_line_that_cannot_be_counted(run: Path, field: str, value: object, said: str) -> None:
    odd = {**handmade.FIRST.to_dict(), "id": "x", field: value}
    with (run / "predictions.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(odd) + "\n")
    figures = aggregate(run)
    assert figures["done"] == 3
    assert figures["problems"][0][2].startswith(said)


def test_an_error_counts_as_nothing_found(tmp_path: Path) -> None:
    failed = dataclasses.replace(handmade.THIRD, items=(), error="no answer")
    figures = aggregate(
        handmade.folder(tmp_path / "run", [handmade.FIRST, handmade.SECOND, failed])
    )
    of = main_of(figures)
    assert of["errors"] == {"n": 1, "kinds": {"no answer": 1}}
    assert values(of["all"], "recall@1 recall@2") == [1 / 5, 2 / 5]


def test_a_target_that_is_not_in_the_catalogue_is_not_found(tmp_path: Path) -> None:
    wanted = dataclasses.replace(handmade.THIRD, relevant=("b", "nowhere"))
    figures = aggregate(handmade.folder(tmp_path / "run", [wanted]))
    assert figures["outside_targets"] == 1
    assert figures["counts"]["all"]["targets"] == 2
    assert values(main_of(figures)["all"], "recall@1") == [1 / 2]


def test_without_facts_of_the_items_there_is_less(run: Path) -> None:
    whole = main_of(aggregate(run))
    (run / "items.json").unlink()
    (run / "items.npz").unlink()
    figures = aggregate(run)
    assert main_of(figures)["all"] == whole["all"]
    assert main_of(figures)["new"] == whole["new"]
    assert "popularity" not in main_of(figures)["beyond"]
    assert figures["popularity"] is None


def test_only_some_examples(run: Path) -> None:
    of = read_run(run).systems["m, zero-shot"].only({"d1:3", "d2:7"})
    found, targets = of.tables["all"].parts("recall@1")
    assert (found.tolist(), targets.tolist()) == ([0, 1], [2, 1])
    found, targets = of.tables["new"].parts("recall@2")
    assert (found.tolist(), targets.tolist()) == ([1], [1])
    assert of.tables["new"].rows.tolist() == [0]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no run \(no run.json\): make one with eval/run.py"):
        aggregate(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run.json is damaged .*: run eval/run.py anew"):
        aggregate(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(InputError, match="holds no JSON object"):
        aggregate(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no predictions yet: run eval/run.py on it first"):
        aggregate(tmp_path)
    handmade.folder(tmp_path / "run")
    (tmp_path / "run" / "items.json").write_text('{"titles": []}')
    with pytest.raises(InputError, match=r"items.json is damaged .*: run eval/run.py anew"):
        aggregate(tmp_path / "run")
    (tmp_path / "run" / "items.json").write_text('{"ids": ["a"]}')
    with pytest.raises(InputError, match=r"items.npz is damaged \(its items are others"):
        aggregate(tmp_path / "run")
    (tmp_path / "run" / "items.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"items.npz is damaged .*: run eval/run.py anew"):
        aggregate(tmp_path / "run")
