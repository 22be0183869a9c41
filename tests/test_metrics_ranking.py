"""Ranking metrics by hand, and equal to ir-measures; padding, ids as numbers, and bad input."""

from __future__ import annotations

import json
import math
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import metrics as benchmark
from llmrec.errors import InputError
from llmrec.metrics.ranking import (
    checked,
    encoded,
    mean_scores,
    padded,
    recall_over_targets,
    rows_of,
    scores,
)

NAMES = ("recall", "ndcg", "mrr", "hit", "precision", "map")
cases = st.lists(
    st.tuples(
        st.lists(st.integers(0, 12), unique=True, max_size=9),
        st.lists(st.integers(0, 12), unique=True, max_size=6),
    ),
    max_size=8,
)


def test_one_ranking_by_hand() -> None:
    # The relevant 7 and 2 stand at the places 2 and 4; 9 is not found.
    out = scores(np.array([[5, 7, 1, 2, 3]]), [[9, 2, 7]], ks=(1, 3, 5))
    best3 = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    expected = {
        "recall": (0, 1 / 3, 2 / 3),
        "ndcg": (0, 1 / math.log2(3) / best3, (1 / math.log2(3) + 1 / math.log2(5)) / best3),
        "mrr": (0, 1 / 2, 1 / 2),
        "hit": (0, 1, 1),
        "precision": (0, 1 / 3, 2 / 5),
        "map": (0, (1 / 2) / 3, (1 / 2 + 2 / 4) / 3),
        "found": (0, 1, 2),
    }
    for name, values in expected.items():
        for k, value in zip((1, 3, 5), values, strict=True):
            assert out[f"{name}@{k}"].tolist() == [pytest.approx(value)], (name, k)
    assert list(out) == [f"{name}@{k}" for name in expected for k in (1, 3, 5)]


def test_edges() -> None:
    ranked = padded([[1, 2], [], [3], [4, 5]])
    assert ranked.tolist() == [[1, 2], [-1, -1], [3, -1], [4, 5]]
    out = scores(ranked, [[2], [1], [], [4, 5]], ks=(2, 100))
    assert out["recall@2"].tolist() == [1, 0, 0, 1]  # nothing ranked, nothing relevant: 0
    assert out["precision@100"].tolist() == [0.01, 0, 0, 0.02]  # k beyond the ranking
    assert out["ndcg@100"].tolist() == [pytest.approx(1 / math.log2(3)), 0, 0, 1]
    assert out["map@100"].tolist() == [0.5, 0, 0, 1]
    for empty in (scores(padded([]), []), scores(np.empty((0, 7), dtype=np.int32), [])):
        assert len(empty) == 28
        assert all(v.shape == (0,) for v in empty.values())
    assert scores(padded([[], []]), [[1], []])["recall@1"].tolist() == [0, 0]
    assert scores(ranked, [[2], [1], [], [4, 5]], ks=()) == {}


def test_recall_over_targets_counts_each_target_once() -> None:
    relevant = [[1], [2, 3, 4]]
    out = scores(np.array([[1, 9], [8, 2]]), relevant, ks=(2,))
    assert out["found@2"].sum() / sum(map(len, relevant)) == 2 / 4
    assert out["recall@2"].mean() == (1 + 1 / 3) / 2


def of_ir_measures(
    ranked: list[list[int]], relevant: list[list[int]], ks: tuple[int, ...]
) -> dict[str, list[float]]:
    ir = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    named = {
        f"{name}@{k}": measure @ k
        for name, measure in zip(
            NAMES, (ir.R, ir.nDCG, ir.RR, ir.Success, ir.P, ir.AP), strict=True
        )
        for k in ks
    }
    qrels = [ir.Qrel(str(q), f"d{i}", 1) for q, items in enumerate(relevant) for i in items]
    # Judged and not relevant: without it an example that has nothing relevant would be unknown.
    qrels += [ir.Qrel(str(q), "judged", 0) for q in range(len(relevant))]
    run = [
        ir.ScoredDoc(str(q), f"d{i}", float(-place))
        for q, items in enumerate(ranked)
        for place, i in enumerate(items)
    ]
    values = {(m.measure, m.query_id): m.value for m in ir.iter_calc(named.values(), qrels, run)}
    return {
        name: [values[measure, str(q)] for q in range(len(relevant))]
        for name, measure in named.items()
    }


def agree(ranked: list[list[int]], relevant: list[list[int]], ks: tuple[int, ...]) -> None:
    out = scores(padded(ranked), relevant, ks)
    for name, values in of_ir_measures(ranked, relevant, ks).items():
        assert out[name].tolist() == pytest.approx(values, abs=1e-12), name


def test_equal_to_ir_measures_on_random_rankings() -> None:
    rng = np.random.default_rng(0)
    ranked = [rng.permutation(60)[: rng.integers(0, 40)].tolist() for _ in range(300)]
    relevant = [rng.permutation(60)[: rng.integers(0, 12)].tolist() for _ in range(300)]
    agree(ranked, relevant, (1, 3, 10, 50))


def test_equal_to_ir_measures_at_the_edges() -> None:
    ranked = [[], [0], [0, 1, 2], [3, 2, 1], [5], list(range(20)), []]
    relevant = [[1], [], [2], [1, 2, 3], [6], list(range(19, -1, -1)), []]
    agree(ranked, relevant, (1, 2, 3, 5, 100))


@given(cases)
def test_values_hold_together(examples: list[tuple[list[int], list[int]]]) -> None:
    ranked, relevant = [r for r, _ in examples], [w for _, w in examples]
    ks = (1, 2, 5, 9)
    out = scores(padded(ranked), relevant, ks)
    for name in NAMES:
        for k in ks:
            assert ((out[f"{name}@{k}"] >= 0) & (out[f"{name}@{k}"] <= 1 + 1e-12)).all()
    for small, large in pairwise(ks):
        for name in ("recall", "mrr", "hit", "map", "found"):
            assert (out[f"{name}@{small}"] <= out[f"{name}@{large}"] + 1e-12).all()
    slow = [len(set(r[:5]) & set(w)) for r, w in examples]
    assert out["found@5"].tolist() == slow
    # Relevant items in another order, and rankings that are padded further, change nothing.
    again = scores(padded(ranked, 15), [w[::-1] for w in relevant], ks)
    assert all((again[name] == out[name]).all() for name in out)


def test_a_perfect_ranking_has_full_marks() -> None:
    out = scores(np.array([[4, 2, 7, 1]]), [[7, 4, 2]], ks=(3,))
    assert {name: out[f"{name}@3"].item() for name in NAMES} == dict.fromkeys(NAMES, 1.0)


def test_padding() -> None:
    assert padded([[1, 2, 3], [4]], 2).tolist() == [[1, 2], [4, -1]]
    assert padded([[1]], 3).tolist() == [[1, -1, -1]]
    assert padded([[], []]).shape == (2, 0)
    assert padded([np.array([1, 2], dtype=np.int32), []]).tolist() == [[1, 2], [-1, -1]]
    with pytest.raises(InputError, match="depth is -1: give how many entries to keep"):
        padded([[1]], -1)
    with pytest.raises(InputError, match="a ranking is <U1 of shape"):
        padded([["a"]])  # type: ignore[list-item]
    with pytest.raises(InputError, match="a ranking holds -1: rows of items count from 0"):
        padded([[1, -1]])


def test_ids_become_numbers() -> None:
    (ranked, relevant), ids = encoded([["b", "a"], []], [["a"], ["c"]])
    assert (ranked, relevant, ids) == ([[0, 1], []], [[1], [2]], ["b", "a", "c"])
    with pytest.raises(InputError, match=r"example 0 is 'a', a list of ids is wanted: \['a'\]"):
        encoded(["a"])
    with pytest.raises(InputError, match="example 1 holds 'b' twice: keep its first place"):
        encoded([["b"], ["a", "b", "b"]])
    assert encoded([["a", "a"]], repeats=True) == ([[[0, 0]]], ["a"])
    assert rows_of([["b"], ["a", "b"]], ["a", "b"]).tolist() == [[1, -1], [0, 1]]
    with pytest.raises(InputError, match="holds 'x', which is none of the 2 known items"):
        rows_of([["x"]], ["a", "b"])
    with pytest.raises(InputError, match="the items have 'a' twice"):
        rows_of([], ["a", "a"])


def test_means_of_lists_of_ids() -> None:
    ranked, relevant = [["a", "b"], ["c"]], [["b"], ["x", "c"]]
    assert mean_scores("recall", ranked, relevant, 1) == {"recall@1": 0.25}
    assert mean_scores("mrr", ranked, relevant, [1, 2]) == {"mrr@1": 0.5, "mrr@2": 0.75}
    found = recall_over_targets(ranked, relevant, [1, 2])
    assert found == {"recall_over_targets@1": 1 / 3, "recall_over_targets@2": 2 / 3}
    assert recall_over_targets([["a"]], [[]], 1) == {"recall_over_targets@1": 0}
    with pytest.raises(InputError, match="there are 0 examples: give one at least"):
        mean_scores("recall", [], [], 1)


@pytest.mark.parametrize(
    ("ranked", "relevant", "said"),
    [
        ([[1, 2, 1]], [[1]], "ranking 0 holds item 1 twice: keep its first place"),
        ([[0, 1], [3, 3]], [[1], [1]], "ranking 1 holds item 3 twice"),
        ([[1, -1, 2]], [[1]], "ranking 0 goes on after -1"),
        ([[1, -2]], [[1]], "a ranking holds -2: give rows from 0 on"),
        ([1, 2], [[1]], r"given as int64 of shape \(2,\): give whole numbers \[n, depth\]"),
        ([[1.5, 2]], [[1]], "given as float64"),
        ([[1]], [[1], [2]], "there are 1 rankings and 2 lists of relevant items"),
        ([[1], [2]], [[1], [2, 5, 2]], "relevant items of example 1 have 2 twice: give each once"),
        ([[1]], [[-1]], "a list of relevant items holds -1"),
        ([[1]], [[[1]]], r"a list of relevant items is int64 of shape \(1, 1\)"),
    ],
)
def test_bad_input_is_named(ranked: list[int], relevant: list[list[int]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        scores(np.array(ranked), relevant)


@pytest.mark.parametrize("k", [0, -3, 2.0, True, "5"])
def test_a_depth_is_a_whole_number(k: int) -> None:
    with pytest.raises(InputError, match=f"k is {k!r}: give whole numbers from 1 on"):
        scores(np.array([[1]]), [[1]], ks=(1, k))


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match="a ranking holds 3: there are 3 items"):
        checked(np.array([[0, 3]]), n_items=3)
    assert checked(np.array([[1, 1, -1]]), repeats=True).tolist() == [[1, 1, -1]]


def test_many_rankings_take_little_time() -> None:
    rng = np.random.default_rng(0)
    ranked = (rng.integers(0, 50, (20_000, 1)) + rng.permutation(100)).astype(np.int32)
    relevant = list(rng.permutation(150)[None, :3] + rng.integers(0, 9, (20_000, 1)))
    start = time.process_time()
    scores(ranked, relevant, ks=(1, 5, 10, 50))
    assert time.process_time() - start < 2  # a tenth of a second, on a machine with nothing to do


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    assert (
        benchmark.main(["--n", "60", "--beside", "20", "--repeats", "1", "--json", str(file)]) == 0
    )
    figures = json.loads(file.read_text())
    assert "60 rankings of 100, ours" in capsys.readouterr().out
    assert all(value > 0 for value in figures["seconds"].values())
    if "beside" in figures:  # ir-measures is installed
        assert figures["beside"]["apart"] < 1e-12
