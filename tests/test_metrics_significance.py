"""Bootstraps over dialogues: coverage and level by simulation, Holm by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.metrics.significance import (
    Interval,
    Paired,
    holm,
    mean_interval,
    mean_intervals,
    paired,
    ratio_interval,
    wilson,
)


def dialogues(
    rng: np.random.Generator, n: int, mean: float, spread: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Hits of the turns of ``n`` dialogues, alike within one, with this mean; and whose they are.

    Each dialogue has its own rate (beta), and one to nine turns.
    """
    turns = rng.integers(1, 10, n)
    rate = rng.beta(mean * spread, (1 - mean) * spread, n)
    of = np.repeat(np.arange(n), turns)
    return (rng.random(len(of)) < rate[of]).astype(float), of


def covered(n: int, mean: float, data_sets: int) -> float:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(data_sets):
        values, of = dialogues(rng, n, mean)
        found = mean_interval(values, of, samples=500, seed=seed)
        hits += found.low <= mean <= found.high
    return hits / data_sets


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    assert 0.92 <= covered(100, 0.3, 600) <= 0.975
    assert 0.92 <= covered(300, 0.1, 300) <= 0.975


def test_intervals_of_few_dialogues_are_too_narrow() -> None:
    assert covered(8, 0.3, 300) < 0.92  # what the module's docstring warns of


def test_turns_taken_as_independent_would_be_too_sure() -> None:
    rng = np.random.default_rng(0)
    values, of = dialogues(rng, 200, 0.3)
    whole = mean_interval(values, of)
    single = mean_interval(values, np.arange(len(of)))
    assert whole.value == single.value
    assert whole.high - whole.low > 1.2 * (single.high - single.low)


def test_the_paired_test_keeps_its_level_and_has_power() -> None:
    rng = np.random.default_rng(1)
    false = true = 0
    for seed in range(400):
        a, of = dialogues(rng, 80, 0.3)
        rate = np.bincount(of, a) / np.bincount(of)
        same = (rng.random(len(of)) < rate[of]).astype(float)  # drawn anew, no better
        false += paired(a, same, of, samples=400, seed=seed).p < 0.05
        better = np.where(rng.random(len(of)) < 0.25, 1.0, a)
        true += paired(better, a, of, samples=400, seed=seed).p < 0.05
    assert 0.02 <= false / 400 <= 0.085
    assert true / 400 > 0.9


def test_pairing_sees_what_two_intervals_do_not() -> None:
    rng = np.random.default_rng(2)
    a, of = dialogues(rng, 150, 0.3)
    b = np.where(rng.random(len(a)) < 0.05, 1.0, a)
    one, other = mean_interval(a, of), mean_interval(b, of)
    assert one.high > other.low  # the intervals overlap
    found = paired(b, a, of)
    assert found.p < 0.01
    assert 0 < found.low < found.difference < found.high
    turned = paired(a, b, of)
    assert turned.difference == -found.difference
    assert turned.p == found.p


def test_equal_systems_do_not_differ() -> None:
    values = np.array([1.0, 0, 1, 0])
    assert paired(values, values, ["a", "b", "c", "d"]) == Paired(0, 0, 0, 1)
    assert paired([], [], []) == Paired(0, 0, 0, 1)


def test_by_hand() -> None:
    values, groups = [1, 1, 0, 0], ["a", "a", "b", "b"]
    assert mean_interval(values, groups) == Interval(0.5, 0.0, 1.0, 4)  # all or nothing
    assert mean_interval(values, ["x"] * 4) == Interval(0.5, 0.5, 0.5, 4)
    # found over targets: 3 of 1 + 1 + 2 + 4
    assert mean_interval([1, 0, 2, 0], groups, weights=[1, 1, 2, 4]).value == 3 / 8
    assert mean_interval([], []) == Interval(0, 0, 0, 0)
    assert mean_interval([0, 0], ["a", "b"], weights=[0, 0]) == Interval(0, 0, 0, 2)
    assert Interval(0.5, 0.25, 1.0, 4).to_dict() == {
        "value": 0.5, "low": 0.25, "high": 1.0, "n": 4,
    }  # fmt: skip
    assert Paired(0.1, 0.0, 0.2, 0.04).to_dict()["p"] == 0.04


def test_what_is_not_defined_is_left_out() -> None:
    values = [1.0, np.nan, 0.0, 1.0]
    found = mean_interval(values, ["a", "b", "c", "d"])
    assert (found.value, found.n) == (2 / 3, 3)
    weighed = mean_interval([1.0, 0.0, 0.0, 1.0], ["a", "b", "c", "d"], weights=[1, 0, 1, 1])
    assert (found.low, found.high) == (weighed.low, weighed.high)
    both = paired(values, [0.0, 5.0, np.nan, 0.0], ["a", "b", "c", "d"])
    assert both.difference == 1.0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(3, 5), st.integers(0, 4)), min_size=1),
    st.integers(0, 3),
)
def test_several_metrics_at_once(cases: list[tuple[int, int, int]], seed: int) -> None:
    parts, wholes, groups = np.array(cases).T
    named = {"a": parts, "b": parts / 3, "c": 1 - parts}
    at_once = mean_intervals(named, groups, weights=wholes, samples=50, seed=seed)
    for name, values in named.items():
        found = mean_interval(values, groups, weights=wholes, samples=50, seed=seed)
        assert at_once[name] == found
        assert found.low <= found.high
        assert found.value == pytest.approx(values.sum() / wholes.sum())
    ratio = ratio_interval(parts, wholes, groups.astype(str), samples=50, seed=seed)
    assert ratio == (at_once["a"].value, at_once["a"].low, at_once["a"].high)


def test_the_seed_decides() -> None:
    values, of = dialogues(np.random.default_rng(3), 50, 0.4)
    assert mean_interval(values, of, seed=1) == mean_interval(values, of, seed=1)
    assert mean_interval(values, of, seed=1) != mean_interval(values, of, seed=2)
    wide = mean_interval(values, of, level=0.99)
    assert wide.low < mean_interval(values, of, level=0.5).low


def test_holm_by_hand() -> None:
    # Sorted: .01 * 4, .02 * 3, .03 * 2, .5 * 1, each at least the one before.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(
        InputError, match=r"the p-values are \[0.1, 1.2\]: give numbers from 0 to 1"
    ):
        holm([0.1, 1.2])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"values has the shape \(3,\) and there are 2 groups"):
        mean_interval([1, 2, 3], ["a", "b"])
    with pytest.raises(InputError, match=r"weights has the shape \(1,\)"):
        mean_interval([1, 2], ["a", "b"], weights=[1])
    with pytest.raises(InputError, match=r"weights hold -1\.0: give 0 or more"):
        mean_interval([1, 2], ["a", "b"], weights=[1, -1])
    with pytest.raises(InputError, match="b holds infinity at 1: give numbers"):
        paired([1, 2], [1, np.inf], ["a", "b"])
    with pytest.raises(InputError, match=r"samples is 0 and level 0\.95: use 1 or more samples"):
        mean_interval([1], ["a"], samples=0)
    with pytest.raises(InputError, match="level 95"):
        mean_interval([1], ["a"], level=95)


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(5, 5)[1] == 1.0
