"""Small classifiers: what they say, the file they stand in, and how they are learned."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.softmax import Softmax, buckets, read_heads, written_heads
from llmrec.training.softmax import fit, fit_temperature, matrix, scores_of

N = 64
TEXTS = [["red", "round"], ["green", "round"], ["red", "long"], ["green", "long"], []]


def small(temperature: float = 1.0) -> Softmax:
    weights = np.zeros((N, 2), dtype=np.int8)
    weights[buckets(["red"], N), 0] = 100
    return Softmax(("yes", "no"), weights, (0.02, 0.02), (0.5, 0.0), temperature)


def test_probabilities_by_hand() -> None:
    logs = small().log_probabilities([["red", "round"], []])
    score = 100 * 0.02 / np.sqrt(2) + 0.5
    assert np.exp(logs[0]) == pytest.approx([1 / (1 + np.exp(-score)), 1 / (1 + np.exp(score))])
    assert np.exp(logs[1]) == pytest.approx([1 / (1 + np.exp(-0.5)), 1 / (1 + np.exp(0.5))])
    assert small().log_probabilities([]).shape == (0, 2)


def test_a_temperature_makes_it_less_sure() -> None:
    sure, unsure = (np.exp(small(t).log_probabilities([["red"]])[0, 0]) for t in (1.0, 4.0))
    assert sure > unsure > 0.5


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "red"]), unique=True), max_size=5))
def test_probabilities_sum_to_one_whatever_is_read(texts: list[list[str]]) -> None:
    logs = small().log_probabilities(texts)
    assert np.exp(logs).sum(1) == pytest.approx(np.ones(len(texts)))


def test_scores_of_a_table_are_those_of_single_texts() -> None:
    classifier = small()
    scores = scores_of(classifier, matrix(TEXTS, N))
    logs = scores - np.logaddexp.reduce(scores, 1, keepdims=True)
    assert logs == pytest.approx(classifier.log_probabilities(TEXTS))


def test_what_is_learned_tells_the_classes_apart() -> None:
    targets = np.array([0, 1, 0, 1, 1])
    classifier = fit(matrix(TEXTS, N), targets, ("red", "green"), penalty=0.01)
    assert classifier.weights.dtype == np.int8
    assert classifier.log_probabilities(TEXTS).argmax(1).tolist() == targets.tolist()


def test_weights_of_rows_count() -> None:
    rows, targets = matrix([["a"], ["a"]], N), np.array([0, 1])
    for weights, best in (((9.0, 1.0), 0), ((1.0, 9.0), 1)):
        classifier = fit(rows, targets, ("x", "y"), weights=np.array(weights))
        assert classifier.log_probabilities([["a"]])[0].argmax() == best


def test_it_is_what_scikit_learn_finds() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="needs the test extra")
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    y = np.array([i % 5 for i in range(200)])
    x[:, 0] += y
    found = fit(sparse.csr_matrix(x), y, tuple("abcde"), penalty=2.0)
    other = linear_model.LogisticRegression(C=0.5, tol=1e-8, max_iter=2000).fit(x, y)
    weights = (found.weights * found.scale).T
    assert np.allclose(weights, other.coef_, atol=np.abs(weights).max() / 100)  # of a byte each
    bias = found.bias - found.bias.mean()
    assert bias == pytest.approx(other.intercept_ - other.intercept_.mean(), abs=5e-3)


def test_the_temperature_makes_the_confidence_the_share_that_is_right() -> None:
    # Of five with the scores (2, 0, 0, 0, 0), the first is right in 8 of 10 cases.
    scores = np.tile([2.0, 0, 0, 0, 0], (10, 1))
    odds = np.exp(2 / fit_temperature(scores, np.array([0] * 8 + [1, 2])))
    assert odds / (odds + 4) == pytest.approx(0.8, abs=1e-3)


# -- the file -------------------------------------------------------------------------------------


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    heads = {"colour": small(0.7), "other": small()}
    file.write_bytes(written_heads(heads, {"texts": 5, "é": ["ñ"]}))
    assert file.read_bytes() == written_heads(heads, {"texts": 5, "é": ["ñ"]})
    read, facts = read_heads(file, "train/some.py")
    assert facts == {"texts": 5, "é": ["ñ"]}
    assert list(read) == ["colour", "other"]
    for name, head in heads.items():
        assert read[name].classes == head.classes
        assert np.array_equal(read[name].log_probabilities(TEXTS), head.log_probabilities(TEXTS))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    remedy = r"some\.safetensors cannot be read \(.*\): write it anew with train/some\.py"
    with pytest.raises(InputError, match=remedy):
        read_heads(file, "train/some.py")
    whole = written_heads({"colour": small()}, {})
    for content in (b"", b"no weights", whole[:-9]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=remedy):
            read_heads(file, "train/some.py")


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    whole = written_heads({"colour": small()}, {})
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + length])
    told = json.loads(header["__metadata__"]["llmrec"])
    for changed, said in (({**told, "format": 9}, "its format is 9"), ({}, "'format'")):
        header["__metadata__"]["llmrec"] = json.dumps(changed)
        new = json.dumps(header).encode()
        file.write_bytes(struct.pack("<Q", len(new)) + new + whole[8 + length :])
        with pytest.raises(InputError, match=said):
            read_heads(file, "train/some.py")
