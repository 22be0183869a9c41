"""How alike two rankings are: by hand, by the definitions, and for uneven lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.metrics.agreement import jaccard, overlap, rbo
from llmrec.metrics.ranking import encoded, padded

ranking = st.lists(st.integers(0, 9), unique=True, max_size=8)
pairs = st.lists(st.tuples(ranking, ranking), min_size=1, max_size=8)


def sides(examples: list[tuple[list[int], list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    return padded([a for a, _ in examples]), padded([b for _, b in examples])


def slow_rbo(a: list[int], b: list[int], p: float) -> float:
    """The sum of the definition, with the agreement extrapolated as the authors say."""
    short, long = sorted((len(a), len(b)))
    if not long:
        return 1.0

    def shared(d: int) -> float:
        seen = len(set(a[:d]) & set(b[:d]))
        rate = len(set(a[:short]) & set(b[:short])) / short if short else 0.0
        return seen + rate * max(0, d - short)

    total = sum(p ** (d - 1) * shared(min(d, long)) / min(d, long) for d in range(1, 600))
    return (1 - p) * total


def test_by_hand() -> None:
    a, b = padded([[1, 2, 3], [1], [], [5]]), padded([[3, 4, 1, 7], [1], [], []])
    assert jaccard(a, b).tolist() == [2 / 5, 1, 1, 0]
    assert overlap(a, b, 1).tolist() == [0, 1, 1, 0]
    assert overlap(a, b, 3).tolist() == [2 / 3, 1, 1, 0]
    assert overlap(a, b, 10).tolist() == [2 / 4, 1, 1, 0]


def test_the_lists_of_the_paper() -> None:
    # Table 1 of Webber et al. (2010): nothing is shared by the first two places, then 2 items.
    (rows, others), _ = encoded([list("abcdefg")], [list("zcavwxy")])
    a, b = padded(rows), padded(others)
    p = 0.9
    agreement = [0, 0, 2 / 3, 2 / 4, 2 / 5, 2 / 6, 2 / 7]
    by_hand = sum((1 - p) * p**d * x for d, x in enumerate(agreement)) + p**7 * 2 / 7
    assert rbo(a, b, p).tolist() == [pytest.approx(by_hand)]
    # Another one that is often printed, with 0.828.
    assert rbo(padded([[1, 2, 3, 4, 5]]), padded([[2, 3, 4, 1, 5]])).round(3).tolist() == [0.828]
    # Equation 32 for lists of 3 and 7: X_s = 2, and X_l = 2 of 7.
    top = sum((1 - p) * p**d * x for d, x in enumerate(agreement))
    later = sum((1 - p) * p ** (d - 1) * 2 * (d - 3) / (3 * d) for d in range(4, 8))
    uneven = top + later + (0 / 7 + 2 / 3) * p**7
    assert rbo(a[:, :3], b, p).tolist() == [pytest.approx(uneven)]


@given(pairs, st.sampled_from([0.5, 0.8, 0.95]))
def test_rbo_is_its_definition(examples: list[tuple[list[int], list[int]]], p: float) -> None:
    a, b = sides(examples)
    expected = [slow_rbo(x, y, p) for x, y in examples]
    assert rbo(a, b, p).tolist() == pytest.approx(expected, abs=1e-9)
    assert rbo(b, a, p).tolist() == pytest.approx(expected, abs=1e-9)


@given(pairs, st.integers(1, 9))
def test_sets_and_shares(examples: list[tuple[list[int], list[int]]], k: int) -> None:
    a, b = sides(examples)
    for n, (x, y) in enumerate(examples):
        either = set(x) | set(y)
        assert jaccard(a, b)[n] == (len(set(x) & set(y)) / len(either) if either else 1)
        of = min(k, max(len(x), len(y)))
        assert overlap(a, b, k)[n] == (len(set(x[:k]) & set(y[:k])) / of if of else 1)
    assert rbo(a, a).tolist() == pytest.approx([1] * len(examples))
    assert (jaccard(b, b) == 1).all()
    # Padding further changes nothing.
    wide = padded([x for x, _ in examples], 20)
    assert rbo(wide, b).tolist() == pytest.approx(rbo(a, b).tolist())


def test_the_top_counts_most() -> None:
    base = np.arange(10)[None]
    top, end = base.copy(), base.copy()
    top[0, :2], end[0, -2:] = [1, 0], [9, 8]
    assert rbo(base, top)[0] < rbo(base, end)[0] < 1
    assert rbo(base, base + 10).tolist() == [0]


def test_many_pairs_are_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.permuted(np.tile(np.arange(30), (50, 1)), axis=1)[:, :12] for _ in range(2))
    whole = rbo(a, b), jaccard(a, b)
    monkeypatch.setattr("llmrec.metrics.agreement._CHUNK", 100)
    assert (rbo(a, b) == whole[0]).all()
    assert (jaccard(a, b) == whole[1]).all()


def test_bad_input_is_named() -> None:
    a = padded([[1, 2]])
    with pytest.raises(InputError, match=r"p is 1\.0: give a number between 0 and 1"):
        rbo(a, a, 1.0)
    with pytest.raises(InputError, match="k is 0: give 1 or more"):
        overlap(a, a, 0)
    with pytest.raises(InputError, match="there are 1 and 2 rankings: give as many of each"):
        jaccard(a, padded([[1], [2]]))
    with pytest.raises(InputError, match="ranking 0 holds item 2 twice"):
        rbo(a, padded([[2, 2]]))
    assert rbo(padded([]), padded([])).shape == (0,)
