"""Coverage, Gini, popularity, novelty, diversity and repeats: by hand, and by the slow way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.metrics.beyond import (
    coverage,
    duplicate_rate,
    features_of,
    gini,
    intra_list_diversity,
    mean_of_defined,
    mean_popularity,
    novelty,
)
from llmrec.metrics.ranking import padded

lists = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6)


def test_coverage_by_hand() -> None:
    ranked = padded([[0, 1], [1], [], [1, 4]])
    assert coverage(ranked, 4 + 1) == 3 / 5
    assert coverage(padded([]), 7) == 0
    assert coverage(padded([[], []]), 7) == 0


def test_gini_by_hand() -> None:
    assert gini(padded([[0, 1], [2, 3]]), 4) == 0  # all alike
    assert gini(padded([[2], [2], [2]]), 4) == 1 - 1 / 4  # one item alone
    # Shown 0, 1, 3 times: (-2 * 0 + 0 * 1 + 2 * 3) / (3 * 4).
    assert gini(padded([[1, 2], [2], [2]]), 3) == 1 / 2
    assert gini(padded([]), 4) == 0


@given(lists, st.integers(10, 14))
def test_gini_is_the_mean_difference(rankings: list[list[int]], n_items: int) -> None:
    ranked = padded(rankings)
    shown = [sum(row.count(i) for row in rankings) for i in range(n_items)]
    apart = sum(abs(a - b) for a in shown for b in shown)
    slow = apart / (2 * n_items * sum(shown)) if sum(shown) else 0.0
    assert gini(ranked, n_items) == pytest.approx(slow)
    assert 0 <= gini(ranked, n_items) <= 1 - 1 / n_items + 1e-12
    assert coverage(ranked, n_items) == np.count_nonzero(shown) / n_items


def test_popularity_and_novelty_by_hand() -> None:
    ranked = padded([[0, 1], [2], []])
    popularity = mean_popularity(ranked, np.array([1.0, 0.5, 0.2]))
    assert popularity[:2].tolist() == [0.75, pytest.approx(0.2)]
    assert np.isnan(popularity[2])
    # (count + 1) / (5 + 3): a half, a quarter, a quarter.
    bits = novelty(ranked, np.array([3, 1, 1]))
    assert bits[:2].tolist() == [1.5, 2.0]
    assert np.isnan(bits[2])
    assert np.isfinite(novelty(padded([[0]]), np.zeros(4))).all()
    assert mean_of_defined(bits) == 1.75
    assert np.isnan(mean_of_defined(bits[2:]))
    assert mean_popularity(padded([]), np.ones(3)).shape == (0,)
    assert np.isnan(novelty(padded([[]]), np.zeros(0))).all()


def test_repeats_by_hand() -> None:
    assert duplicate_rate(padded([[1, 2, 1, 1], [3, 4]])) == 2 / 6
    assert duplicate_rate(padded([[1, 2], []])) == 0
    assert duplicate_rate(padded([[], []])) == 0
    assert duplicate_rate(padded([])) == 0


def test_diversity_by_hand() -> None:
    vectors = np.array([[1, 0], [2, 0], [0, 3], [1, 1], [0, 0]], dtype=np.float32)
    ranked = padded([[0, 1], [0, 2], [0, 1, 2], [0, 3], [0, 4], [0], []])
    expected = [0, 1, 2 / 3, 1 - 2**-0.5]
    found = intra_list_diversity(ranked, vectors)
    assert found[:4].tolist() == pytest.approx(expected)
    assert np.isnan(found[4:]).all()  # of item 4 nothing is known, then one item, then none
    ptr, index = np.array([0, 1, 2, 3, 5, 5]), np.array([0, 0, 1, 0, 1])
    sparse = (ptr, index, np.array([1.0, 2, 3, 1, 1]))
    assert intra_list_diversity(ranked, sparse)[:4].tolist() == pytest.approx(expected)
    assert intra_list_diversity(padded([]), vectors).shape == (0,)
    assert intra_list_diversity(padded([[]]), np.zeros((0, 3))).shape == (1,)


@given(lists, st.integers(0, 2**16))
def test_diversity_is_that_of_all_pairs(rankings: list[list[int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(10, 4)) * (rng.random((10, 4)) < 0.6)
    found = intra_list_diversity(padded(rankings), vectors)
    for row, value in zip(rankings, found, strict=True):
        known = [vectors[i] / np.linalg.norm(vectors[i]) for i in row if vectors[i].any()]
        pairs = [a @ b for a, b in combinations(known, 2)]
        assert np.isnan(value) if not pairs else value == pytest.approx(1 - np.mean(pairs))


def test_features_as_users_have_them() -> None:
    genres = {"a": ["Drama", "Crime"], "b": ["Drama"], "c": []}
    ptr, index, value = features_of(["b", "c", "a"], genres)
    assert (ptr.tolist(), index.tolist(), value.tolist()) == ([0, 1, 1, 3], [0, 0, 1], [1] * 3)
    dense = features_of(["a", "b"], {"b": [0.0, 1.0], "a": [1.0, 0.5]})
    assert dense.tolist() == [[1, 0.5], [0, 1]]
    with pytest.raises(InputError, match="there are no features of 'd': give a list for every"):
        features_of(["a", "d"], genres)
    with pytest.raises(InputError, match="features of 'a' are 'Drama': give a list"):
        features_of(["a"], {"a": "Drama"})
    with pytest.raises(InputError, match="vectors of different lengths, or names beside numbers"):
        features_of(["a", "b"], {"a": [1.0], "b": [1.0, 2.0]})


def test_bad_input_is_named() -> None:
    ranked = padded([[0, 3]])
    with pytest.raises(InputError, match="a ranking holds 3: there are 3 items"):
        coverage(ranked, 3)
    with pytest.raises(InputError, match="n_items is 0: give the size of the catalogue"):
        gini(ranked, 0)
    with pytest.raises(InputError, match="a ranking holds 3: there are 2 items"):
        mean_popularity(ranked, np.ones(2))
    with pytest.raises(InputError, match=r"counts hold -1.0: give 0 or more"):
        novelty(ranked, np.array([1, -1, 1, 1]))
    with pytest.raises(InputError, match=r"features have the shape \(4,\): give \[items, d\]"):
        intra_list_diversity(ranked, np.ones(4))
    with pytest.raises(InputError, match="the sparse features end at 3 and have 2 indices"):
        intra_list_diversity(ranked, (np.array([0, 3]), np.array([0, 1]), np.ones(2)))
    with pytest.raises(InputError, match="ranking 0 goes on after -1"):
        duplicate_rate(np.array([[-1, 2]]))
