"""The measurement of the ranker runs, and its ways find what they should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import ranked

from benchmarks.ranker import best_of, dense, generated, main
from llmrec.datasets import folder as folders
from llmrec.ranker import LearnedRanker


def test_generated_dialogues_are_ranked_every_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--items", "60", "--dialogues", "40", "--requests", "6"]
    assert main([*flags, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["items"], figures["training_examples"], figures["requests"]) == (60, 80, 6)
    ways = {w["way"].strip(): w for w in figures["ways"]}
    assert {"ranker", "network", "EASE, dense", "item-kNN, dense", "TfidfVectorizer"} <= set(ways)
    assert all(0 < w["median_ms"] <= w["p99_ms"] for w in ways.values())
    assert ways["ranker"]["recall"] > 0.3
    assert ways["network"]["recall"] is None
    assert f"| ranker | {ways['ranker']['median_ms']:.2f} |" in capsys.readouterr().out


def test_prepared_dialogues_and_a_learned_ranker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.write(ranked.Source(), tmp_path / "data", progress=False)
    LearnedRanker.fit(ranked.TRAINING, ranked.ITEMS).save(tmp_path / "ranker")
    flags = ["--data", str(tmp_path / "data"), "--ranker", str(tmp_path / "ranker")]
    assert main([*flags, "--requests", "8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("12 items, 120 training examples, 8 requests, seed 0; loaded in ")
    assert " | 1.0 | 1.000 |" in out


def test_the_same_seed_generates_the_same() -> None:
    one, two = generated(50, 3, 2, 5), generated(50, 3, 2, 5)
    assert one == two != generated(50, 3, 2, 6)
    items, train, asked = one
    assert (len(items), len(train), len(asked)) == (50, 6, 2)
    kinds = {int(i) % 10 for e in train[:2] for i in (*e.conversation.mentioned, *e.relevant)}
    assert len(kinds) == 1


def test_the_dense_ways_find_the_other_kind_last() -> None:
    row_of = {i.id: n for n, i in enumerate(ranked.ITEMS)}
    for name, weights in dense(ranked.TRAINING, row_of).items():
        best = best_of(weights[row_of["sea-0"]], 5)
        assert {ranked.ITEMS[r].id[:3] for r in best} == {"sea"}, name
