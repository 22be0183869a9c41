"""AUROC equal to scikit-learn's, rejection curves, ECE and the calibrator on known worlds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.metrics.calibration import Calibrator, auroc, brier, ece, prr, rejection_curve

cases = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30)


def test_auroc_by_hand() -> None:
    # Pairs of right and wrong: .9 > .5, .9 > .1, .5 = .5, .5 > .1.
    assert auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == 3.5 / 4
    assert auroc([1, 2, 3], [False, False, True]) == 1
    assert auroc([3, 3, 3], [0, 1, 0]) == 0.5
    assert math.isnan(auroc([1, 2], [1, 1]))
    assert math.isnan(auroc([], []))


@settings(max_examples=40)
@given(cases)
def test_auroc_is_that_of_scikit_learn(examples: list[tuple[int, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scores, right = zip(*examples, strict=True)
    if len(set(right)) == 2:
        assert auroc(scores, right) == pytest.approx(metrics.roc_auc_score(right, scores))
        assert auroc(scores, right) + auroc([-s for s in scores], right) == pytest.approx(1)


def test_brier_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    sure, right = rng.random(200), rng.random(200) < 0.4
    assert brier(sure, right) == pytest.approx(metrics.brier_score_loss(right, sure))


def test_a_rejection_curve_by_hand() -> None:
    rejected, quality = rejection_curve([0.1, 0.9, 0.5, 0.3], [1.0, 0.0, 0.5, 0.0])
    assert rejected.tolist() == [0, 0.25, 0.5, 0.75]
    assert quality.tolist() == pytest.approx([1.5 / 4, 1.5 / 3, 1 / 2, 1])
    # Equal uncertainty says nothing: the two stand for their mean.
    assert rejection_curve([1, 1, 2], [1, 0, 0])[1].tolist() == pytest.approx([1 / 3, 0.5, 0.5])


def test_prr_by_hand() -> None:
    quality = [1.0, 1.0, 0.0, 0.0]
    assert prr([1, 2, 3, 4], quality) == 1
    assert prr([7, 7, 7, 7], quality) == 0
    # The oracle's curve is 1/2 2/3 1 1, the mean 1/2; rejecting the best first 1/2 1/3 0 0.
    oracle, own = (1 / 2 + 2 / 3 + 1 + 1) / 4, (1 / 2 + 1 / 3 + 0 + 0) / 4
    assert prr([4, 3, 2, 1], quality) == pytest.approx((own - 1 / 2) / (oracle - 1 / 2))
    assert math.isnan(prr([1, 2], [0.3, 0.3]))


@given(cases)
def test_nothing_rejects_better_than_the_oracle(examples: list[tuple[int, bool]]) -> None:
    doubt, right = zip(*examples, strict=True)
    if len(set(right)) == 2:
        assert prr(doubt, right) <= 1 + 1e-9
        assert prr([2.0 * d + 1 for d in doubt], right) == pytest.approx(prr(doubt, right))


def test_ece_and_brier_by_hand() -> None:
    # Two bins: 0.2 and 0.4 are wrong (mean gap .3), 0.9 and 0.7 are right and wrong (gap .3).
    assert ece([0.2, 0.4, 0.9, 0.7], [0, 0, 1, 0], bins=2) == pytest.approx(0.3)
    assert ece([0.5, 0.6], [1, 0], bins=2) == pytest.approx((0.5 + 0.6) / 2)  # 0.5 in the lower
    assert ece([0.0, 1.0], [0, 1]) == 0
    assert ece([], []) == 0
    assert brier([0.2, 1.0], [1, 1]) == pytest.approx(0.64 / 2)


def test_a_known_curve_is_learnt() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(2, 3, 20_000)
    true = 1 / (1 + np.exp(-(0.8 * scores - 1.5)))
    right = rng.random(len(scores)) < true
    found = Calibrator.fit(scores[:10_000], right[:10_000])
    assert (found.slope, found.offset) == (
        pytest.approx(0.8, abs=0.05),
        pytest.approx(-1.5, abs=0.1),
    )
    held_out, its = scores[10_000:], right[10_000:]
    overconfident = 1 / (1 + np.exp(-2 * held_out))
    assert ece(overconfident, its) > 0.1
    assert ece(found(held_out), its) < 0.02
    assert ece(true[10_000:], its) < 0.02  # what perfect calibration gives at this size
    assert brier(found(held_out), its) < brier(overconfident, its)
    assert auroc(found(held_out), its) == pytest.approx(auroc(held_out, its))  # the order is kept


def test_a_calibrator_is_that_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    rng = np.random.default_rng(1)
    scores = rng.normal(-40, 9, 4_000)
    right = rng.random(4_000) < 1 / (1 + np.exp(-(scores + 38) / 4))
    other = linear.LogisticRegression(C=1e9, tol=1e-10).fit(scores[:, None], right)
    found = Calibrator.fit(scores, right)
    assert found(scores) == pytest.approx(other.predict_proba(scores[:, None])[:, 1], abs=2e-3)


def test_a_calibrator_has_an_answer_in_every_corner() -> None:
    parted = Calibrator.fit([1, 2, 3, 4], [0, 0, 1, 1])
    assert np.isfinite([parted.slope, parted.offset]).all()
    # The targets are 1/4 and 3/4, and the likeliest curve f has f(2.5 + .5) + 3 f(2.5 + 1.5) = 3.
    assert (parted([3, 4]) @ [1, 3]).item() == pytest.approx(3, abs=1e-4)
    assert parted([1, 4]).tolist() == pytest.approx([0.2039, 0.7961], abs=1e-4)
    same = (2 / 3 + 1 / 4 + 1 / 4) / 3  # the mean of the targets, at every score
    assert Calibrator.fit([5, 5, 5], [1, 0, 0])([5, 9]).tolist() == pytest.approx(
        [same, same], abs=1e-6
    )
    assert 0.5 < Calibrator.fit([1, 2], [1, 1])([1]).item() < 1  # never sure
    assert Calibrator.fit([1, 2, 3, 4], [1, 1, 0, 0]).slope < 0
    assert Calibrator(1.0, 0.0)([-1e9, 1e9]).tolist() == [0, 1]


@given(cases)
def test_a_calibrator_keeps_the_order_and_the_rate(examples: list[tuple[int, bool]]) -> None:
    scores, right = zip(*examples, strict=True)
    found = Calibrator.fit(scores, right)
    out = found(sorted(scores))
    assert (np.diff(out) >= 0).all() or (np.diff(out) <= 0).all()
    smoothed = (sum(right) + 1) / (sum(right) + 2), 1 / (len(right) - sum(right) + 2)
    target = np.where(right, *smoothed).mean()
    assert found(scores).mean() == pytest.approx(target, abs=1e-4)  # a logistic fit keeps the mean


def test_a_calibrator_goes_to_json_and_back() -> None:
    made = Calibrator(1.25, -0.5)
    assert json.loads(json.dumps(made.to_dict())) == {"slope": 1.25, "offset": -0.5}
    assert Calibrator.from_dict(made.to_dict()) == made
    for bad in ({}, {"slope": "x", "offset": 1}, {"slope": float("inf"), "offset": 0}):
        with pytest.raises(InputError, match=r"a calibrator cannot be made of \{.*give slope and"):
            Calibrator.from_dict(bad)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match=r"scores has the shape \(2,\) and right has .*\(1,\)"):
        auroc([1, 2], [1])
    with pytest.raises(InputError, match=r"right holds 0\.5: give 1 for right and 0 for wrong"):
        auroc([1, 2], [1, 0.5])
    with pytest.raises(InputError, match="uncertainty holds nan at 1: give finite numbers"):
        prr([1, math.nan], [1, 0])
    with pytest.raises(InputError, match="there are 0 examples: a rejection curve"):
        rejection_curve([], [])
    with pytest.raises(InputError, match="there are 0 examples: a calibrator"):
        Calibrator.fit([], [])
    with pytest.raises(InputError, match=r"confidence holds 1\.5: give probabilities from 0 to 1"):
        ece([0.5, 1.5], [0, 1])
    with pytest.raises(InputError, match="bins is 0: give 1 or more"):
        ece([0.5], [0], bins=0)
