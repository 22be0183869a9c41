from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.decoding import (
    GroundedList,
    Normalise,
    Ranking,
    rank_titles,
    score_titles,
    title_trie,
)
from llmrec.errors import InputError
from llmrec.models.scripted import ScriptedModel
from llmrec.trie import TitleTrie
from llmrec.types import Message

_words = st.lists(st.sampled_from(["the", "a", "heat", "star", "é", "2"]), min_size=1, max_size=3)
_titles = st.lists(_words.map(" ".join), min_size=1, max_size=25)
_normalise = st.sampled_from(["none", "length", "pmi"])


def best(
    scores: npt.NDArray[np.float64], rows: Sequence[int], k: int
) -> list[tuple[float, list[int]]]:
    """The k best by brute force: each score, and the rows that have it."""
    order = sorted(rows, key=lambda r: -scores[r])[:k]
    return [(scores[r], [o for o in rows if scores[o] == scores[r]]) for r in order]


def check(ranking: Ranking, scores: npt.NDArray[np.float64], rows: Sequence[int], k: int) -> None:
    expected = best(scores, rows, k)
    assert len(ranking.rows) == len(expected)
    assert len(set(ranking.rows.tolist())) == len(expected)
    for row, score, (right, ties) in zip(ranking.rows, ranking.scores, expected, strict=True):
        assert score == pytest.approx(right, abs=1e-5)
        assert row in ties or scores[row] == pytest.approx(right, abs=1e-5)


@given(
    titles=_titles,
    seed=st.integers(0, 99),
    k=st.integers(1, 12),
    width=st.integers(1, 20),
    normalise=_normalise,
    data=st.data(),
)
def test_the_search_finds_what_scoring_everything_finds(
    titles: list[str], seed: int, k: int, width: int, normalise: Normalise, data: st.DataObject
) -> None:
    model = ScriptedModel(seed=seed)
    trie = title_trie(model, titles)
    prompt = model.encode("films:")
    baseline = score_titles(model, [model.encode("-")], trie)[0] if normalise == "pmi" else None
    subset = st.none() | st.sets(st.integers(0, len(titles) + 2)).map(sorted)
    rows = data.draw(subset)
    allowed = None if rows is None else [np.array(rows, dtype=np.int64)]
    scores = score_titles(model, [prompt], trie, normalise=normalise, baseline=baseline)[0]
    for below in (0, 10**6):
        ranking = rank_titles(
            model,
            [prompt],
            trie,
            k,
            allowed=allowed,
            normalise=normalise,
            baseline=baseline,
            width=width,
            score_all_below=below,
        )[0]
        open_rows = range(len(titles)) if rows is None else [r for r in rows if r < len(titles)]
        check(ranking, scores, open_rows, k)
        assert (ranking.exact, ranking.gap) == (True, 0.0)
        assert ranking.dropped == (0 if rows is None else len(rows) - len(open_rows))


def _hostile(seed: int) -> ScriptedModel:
    """A model whose logits are now and then not numbers, or infinite, or all impossible."""

    def scores(tokens: tuple[int, ...]) -> npt.NDArray[np.float64]:
        dice = np.random.default_rng([seed, *tokens[-6:], len(tokens)])
        logits = dice.normal(0, 3, 260)
        kind = dice.integers(0, 12)
        if kind == 0:
            logits[dice.integers(0, 260)] = dice.choice([np.nan, np.inf])
        elif kind == 1:
            logits[dice.random(260) < 0.7] = -np.inf
        elif kind == 2:
            logits[:] = -np.inf
        logits[257:] = np.nan  # the padding of the vocabulary must never matter
        return logits

    return ScriptedModel(scores=scores)


@given(titles=_titles, seed=st.integers(0, 500), normalise=_normalise, below=st.integers(0, 300))
def test_a_broken_model_drops_titles_and_never_opens_the_trie(
    titles: list[str], seed: int, normalise: Normalise, below: int
) -> None:
    model = _hostile(seed)
    trie = title_trie(model, titles)
    prompt = model.encode("x")
    allowed = np.arange(0, len(titles), 2)
    baseline = score_titles(model, [model.encode("-")], trie)[0] if normalise == "pmi" else None
    ranking = rank_titles(
        model,
        [prompt],
        trie,
        len(titles),
        allowed=allowed,
        normalise=normalise,
        baseline=baseline,
        score_all_below=below,
    )[0]
    scores = score_titles(model, [prompt], trie, [allowed])[0]
    good = {int(r) for r, s in zip(allowed, scores, strict=True) if np.isfinite(s)}
    if baseline is not None:
        good &= set(np.flatnonzero(np.isfinite(baseline)).tolist())
    assert set(ranking.rows.tolist()) == good
    assert np.isfinite(ranking.logprobs).all()
    assert np.isfinite(ranking.scores).all()
    leaves = {int(trie.leaves_of(np.array([r]))[0]) for r in allowed.tolist()}
    ranked = {int(trie.leaves_of(np.array([r]))[0]) for r in ranking.rows.tolist()}
    assert ranking.dropped == len(leaves) - len(ranked)


def test_padding_of_the_vocabulary_does_not_change_a_probability() -> None:
    clean, dirty = (
        ScriptedModel(scores=lambda _, f=filler: [1.0] * 257 + [f] * 3) for filler in (-1.0, np.nan)
    )
    tries = [title_trie(m, ["Heat", "Alien"]) for m in (clean, dirty)]
    first, second = (
        score_titles(m, [[1]], t)[0] for m, t in zip((clean, dirty), tries, strict=True)
    )
    assert first.tolist() == second.tolist()
    assert first[0] == pytest.approx(6 * np.log(1 / 257), abs=1e-4)


def test_favourites_come_in_the_order_of_their_weights() -> None:
    titles = [f"Film {i}" for i in range(200)] + ["Heat", "Alien", "Alien 3"]
    model = ScriptedModel(likes={"Alien 3": 3, "Heat": 5, "Alien": 4, "Not in the catalogue": 9})
    trie = title_trie(model, titles)
    ranking = rank_titles(model, [model.encode("hi")], trie, 3)[0]
    assert [titles[r] for r in ranking.rows] == ["Heat", "Alien", "Alien 3"]
    assert np.exp(ranking.logprobs) == pytest.approx([5 / 21, 4 / 21, 3 / 21], rel=1e-3)
    assert ranking.exact
    assert ranking.tokens < 60
    assert ranking.forwards < 10


@given(st.integers(0, 50), st.integers(1, 60))
def test_a_budget_says_what_it_may_have_cost(seed: int, budget: int) -> None:
    model = ScriptedModel(seed=seed)
    titles = [f"{a} {b}" for a in ("the", "a", "no") for b in ("cat", "car", "dog", "den", "x")]
    trie = title_trie(model, titles)
    prompts = [model.encode("x")]
    scores = score_titles(model, prompts, trie)[0]
    ranking = rank_titles(model, prompts, trie, 4, budget=budget, width=2)[0]
    assert ranking.tokens <= budget
    right = np.sort(scores)[::-1][:4]
    if ranking.exact:
        assert ranking.gap == 0
        assert ranking.scores == pytest.approx(right, abs=1e-5)
    elif len(ranking.rows) == 4:
        assert right[0] <= max(ranking.scores[0], ranking.scores[-1] + ranking.gap) + 1e-5
        missed = [s for r, s in enumerate(scores) if r not in ranking.rows]
        assert max(missed) <= ranking.scores[-1] + ranking.gap + 1e-5
    else:
        assert ranking.gap == float("inf")
    assert ranking.scores == pytest.approx(scores[ranking.rows], abs=1e-5)


@given(_titles, st.integers(0, 50))
def test_batching_changes_no_result(titles: list[str], seed: int) -> None:
    model = ScriptedModel(seed=seed)
    trie = title_trie(model, titles)
    prompts = [model.encode(t) for t in ("one", "two and more", "3")]
    allowed = [None, np.arange(0, len(titles), 2), np.array([], dtype=np.int64)]
    together = rank_titles(model, prompts, trie, 5, allowed=allowed, score_all_below=40)
    pairs = rank_titles(model, prompts, trie, 5, allowed=allowed, score_all_below=40, batch_size=2)
    for i, prompt in enumerate(prompts):
        alone = rank_titles(model, [prompt], trie, 5, allowed=[allowed[i]], score_all_below=40)[0]
        for other in (together[i], pairs[i]):
            assert other.rows.tolist() == alone.rows.tolist()
            assert other.logprobs.tolist() == alone.logprobs.tolist()
            assert (other.tokens, other.forwards) == (alone.tokens, alone.forwards)


def test_items_that_share_a_title_are_all_listed_but_only_those_allowed() -> None:
    model = ScriptedModel(likes={"Heat": 3, "Alien": 1})
    trie = title_trie(model, ["Heat", "Alien", "Heat", "Her", "Heat"])
    for below in (0, 1000):
        rank = [
            rank_titles(model, [[1]], trie, k, allowed=rows, score_all_below=below)[0]
            for k, rows in ((4, None), (2, None), (3, np.array([4, 1, 0])))
        ]
        assert [r.rows.tolist() for r in rank] == [[0, 2, 4, 1], [0, 2], [0, 4, 1]]
        assert rank[0].logprobs[0] == rank[0].logprobs[2] > rank[0].logprobs[3]


def test_nothing_allowed_gives_nothing() -> None:
    model = ScriptedModel()
    trie = title_trie(model, ["Heat", "Alien"])
    nothing: npt.NDArray[np.int64] = np.array([], dtype=np.int64)
    ranking = rank_titles(model, [[1]], trie, 3, allowed=[nothing])[0]
    assert (len(ranking.rows), ranking.exact, ranking.gap, ranking.dropped) == (0, True, 0.0, 0)
    assert rank_titles(model, [[1]], trie, 3, allowed=np.array([7, -1]))[0].dropped == 2
    assert rank_titles(model, [], trie, 3) == []
    empty = title_trie(model, [])
    assert len(rank_titles(model, [[1]], empty, 3, score_all_below=0)[0].rows) == 0
    assert score_titles(model, [[1]], empty)[0].tolist() == []


def test_scores_of_rows_without_a_title_are_minus_infinity() -> None:
    model = ScriptedModel()
    trie = title_trie(model, ["Heat", "  ", "Alien"])
    scores = score_titles(model, [[1], [2]], trie, np.array([2, 1, 0, 99, 2]))
    assert [np.isfinite(s).tolist() for s in scores] == [[True, False, True, False, True]] * 2
    assert scores[0][0] == scores[0][4]
    every = score_titles(model, [[1]], trie, None)[0]
    assert every[[2, 0]].tolist() == scores[0][[0, 2]].tolist()


def test_length_and_pmi_are_the_scores_they_say() -> None:
    model = ScriptedModel(seed=3)
    trie = title_trie(model, ["Heat", "Alien", "Central Station"])
    plain, free = score_titles(model, [[1], [2]], trie)
    length = score_titles(model, [[1]], trie, normalise="length")[0]
    pmi = score_titles(model, [[1]], trie, normalise="pmi", baseline=free)[0]
    assert length == pytest.approx(plain / np.array([6, 7, 17]))
    assert pmi == pytest.approx(plain - free)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0: give 1 or more"),
        ({"budget": 0}, "budget is 0"),
        ({"width": -1}, "width is -1"),
        ({"normalise": "mean"}, "normalise is 'mean': use 'none', 'length' or 'pmi'"),
        ({"normalise": "pmi"}, "a baseline was not given"),
        ({"baseline": np.zeros(2)}, "normalise is 'none' and a baseline was given"),
        ({"normalise": "pmi", "baseline": np.zeros(3)}, "3 values for 2 rows"),
        ({"allowed": [1, 2, 3]}, "the rows are 3 values for 1 prompts"),
        ({"allowed": [1]}, "give one array for all prompts"),
    ],
)
def test_unusable_options(options: dict[str, Any], message: str) -> None:
    model = ScriptedModel()
    trie = title_trie(model, ["Heat", "Alien"])
    with pytest.raises(InputError, match=re.escape(message)):
        rank_titles(model, [[1]], trie, **{"k": 3, **options})


class Elsewhere(ScriptedModel):
    """A model in another place: what it is asked and what it says go through pickles."""

    tasks = 0
    inside = False

    def run(self, task: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self.tasks += 1
        self.inside = True
        task, args, options = pickle.loads(pickle.dumps((task, args, options)))
        found = task(self, *args, **options)
        self.inside = False
        return pickle.loads(pickle.dumps(found))

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Any:
        assert self.inside
        return super().prefill_many(prompts)


@pytest.mark.parametrize("normalise", ["none", "length", "pmi"])
@pytest.mark.parametrize("below", [None, 0])
def test_a_model_may_stand_in_another_process(normalise: Normalise, below: int | None) -> None:
    here, there = ScriptedModel(seed=4), Elsewhere(seed=4)
    trie = title_trie(there, [f"Film {n}" for n in range(30)])
    prompts = [here.encode("films:"), here.encode("more films:")]
    baseline = score_titles(here, [here.encode("-")], trie)[0] if normalise == "pmi" else None
    by: dict[str, Any] = {"normalise": normalise, "baseline": baseline, "batch_size": 1}
    allowed = [np.arange(5, 25), None]
    for mine, own in zip(
        score_titles(there, prompts, trie, allowed, **by),
        score_titles(here, prompts, trie, allowed, **by),
        strict=True,
    ):
        assert mine.tolist() == own.tolist()
    for found, right in zip(
        rank_titles(there, prompts, trie, 4, allowed=allowed, score_all_below=below, **by),
        rank_titles(here, prompts, trie, 4, allowed=allowed, score_all_below=below, **by),
        strict=True,
    ):
        assert found.rows.tolist() == right.rows.tolist()
        assert found.scores.tolist() == right.scores.tolist()
        assert (found.exact, found.forwards) == (right.exact, right.forwards)
    assert there.tasks == 2
    assert rank_titles(there, [], trie, 4) == score_titles(there, [], trie) == []
    with pytest.raises(InputError, match="k is 0"):
        rank_titles(there, prompts, trie, 0)
    assert there.tasks == 2  # what needs no model, or cannot be done, is known before


class Counting(ScriptedModel):
    """Counts how often titles are encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        self.encoded += 1
        return super().encode_many(texts)


def test_titles_that_are_encoded_in_parts_make_the_same_trie() -> None:
    model = ScriptedModel()
    titles = [f"film {n}" if n % 9 else " " for n in range(20_000)]  # more than one part
    trie = title_trie(model, titles)
    rows = [n for n in range(20_000) if n % 9]
    whole = TitleTrie.build(model.encode_many([f" film {n}\n" for n in rows]), rows)
    assert trie.n_leaves == len(rows)
    for name in ("ptr", "tok", "tails", "rows", "tail_size"):
        assert np.array_equal(getattr(trie, name), getattr(whole, name))


def test_a_cached_trie_is_read_and_a_damaged_one_built_anew(tmp_path: Path) -> None:
    model = Counting()
    titles = ["Heat", "Toy   Story", "Alien"]
    first = title_trie(model, titles, cache=tmp_path)
    second = title_trie(model, titles, cache=tmp_path)
    assert model.encoded == 1
    assert second.key == first.key
    assert bytes(second.sequence(2)).decode() == " Toy Story\n"
    title_trie(model, titles[:2], cache=tmp_path)
    title_trie(model, titles, terminator="<end>", cache=tmp_path)
    title_trie(model, titles, rows=[5, 6, 7], cache=tmp_path)
    assert (model.encoded, len(list(tmp_path.iterdir()))) == (4, 4)
    for file in tmp_path.iterdir():
        file.write_bytes(b"rubbish")
    assert title_trie(model, titles, cache=tmp_path).key == first.key
    assert model.encoded == 5


# -- lists in free text -----------------------------------------------------------------------

TITLES = ["Heat", "Her", "Alien", "Aliens", "Amélie", "2001: A Space Odyssey", "千と千尋", "No. 1"]
_MARK = re.compile(
    r"[\s\u200b\u2060\ufeff]*(?:[-*+•◦‣⁃∙·–—−●○▪■►➤]|[0-9]+[.):])(?P<rest>.*)", re.DOTALL
)


def entries(text: str) -> list[str]:
    """What stands after the marks of lists in ``text``, read without the code under test."""
    found = (_MARK.fullmatch(line) for line in text.splitlines())
    return [m["rest"] for m in found if m]


class Tokens(ScriptedModel):
    """The scripted model with tokens that run across marks, line ends and characters."""

    pieces = (
        b"\n", b"\r\n", b" ", b"1", b"12", b".", b"1.", b"\n1.", b"\n- ", b"- F", b"2) Her\n",
        "•".encode(), "•".encode()[:1], "•".encode()[1:], "•".encode()[:2], "•".encode()[2:],
        "\u2028".encode(), "\u2028".encode()[2:], "\xa0".encode(), b"\xc2", b"\x85", b"\xff",
        b"Heat", b" Heat", b"Fake", b"a\n3", b"9:", b"\n\n", b"\t", "é".encode(), "\x85-".encode(),
    )  # fmt: skip
    token_bytes = (*ScriptedModel.token_bytes[:257], *pieces)
    end_ids = (256,)


@settings(max_examples=300)
@given(
    data=st.data(),
    max_new_tokens=st.integers(1, 120),
    allowed=st.none() | st.sets(st.integers(0, len(TITLES) - 1)),
    max_entries=st.none() | st.integers(0, 3),
    hostility=st.sampled_from(["likes marks", "anything", "broken"]),
)
def test_lists_in_free_text_hold_titles_only_whatever_the_model_wants(
    data: st.DataObject,
    max_new_tokens: int,
    allowed: set[int] | None,
    max_entries: int | None,
    hostility: str,
) -> None:
    model = Tokens()
    trie = title_trie(model, TITLES)
    rows = None if allowed is None else np.array(sorted(allowed), dtype=np.int64)
    held = GroundedList(
        model, trie, allowed=rows, max_entries=max_entries, max_new_tokens=max_new_tokens
    )
    dice = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    at, ids = held.begin(), []
    dropped = False
    liked = [i for i, b in enumerate(model.token_bytes) if re.search(rb"[-\n0-9.)\xe2\xc2]", b)]
    while len(ids) < max_new_tokens:
        permitted = held.permitted(at, len(ids))
        assert len(permitted)
        some = np.intersect1d(permitted, liked) if hostility == "likes marks" else permitted
        token = int(dice.choice(some if len(some) else permitted))
        if hostility == "broken" and dice.random() < 0.05:
            token = held.fallback(at)
            assert token in permitted or token in model.end_ids
            dropped = at.node == at.tail == 0
        ids.append(token)
        at = held.advance(at, token)
        if token in model.end_ids:
            break
    text = b"".join(model.token_bytes[i] for i in ids).decode(errors="replace")
    found = entries(text)
    if dropped:
        assert found.pop() == ""
    listed = [e.removeprefix(" ") for e in found]
    assert set(listed) <= {TITLES[r] for r in (range(len(TITLES)) if rows is None else rows)}
    assert all(e.startswith(" ") for e in found)
    assert len(set(listed)) == len(listed)
    assert max_entries is None or len(listed) <= max_entries
    assert [TITLES[r[0]] for r in held.rows(ids)] == listed


def test_text_without_lists_is_free() -> None:
    model = ScriptedModel()
    held = GroundedList(model, title_trie(model, TITLES))
    text = "I'd watch Heat - 1995. Or 2) this.\n  The 3. part\nwas 10 - 4\n"
    at = held.begin()
    for token in model.encode(text):
        assert token in held.permitted(at)
        at = held.advance(at, token)
    assert held.rows(model.encode(text)) == []


def test_a_list_is_read_back_and_no_title_comes_twice() -> None:
    model = ScriptedModel()
    titles = ["Heat", "Alien", "Heat", "Her"]
    held = GroundedList(model, title_trie(model, titles), allowed=np.array([0, 1, 2]))
    ids = model.encode("Try:\n1. Heat\n• Alien\nEnjoy!")
    assert [r.tolist() for r in held.rows(ids)] == [[0, 2], [1]]
    at = held.begin()
    for token in model.encode("1. Heat\n2."):
        at = held.advance(at, token)
    assert bytes(held.permitted(at).tolist()) == b" "
    after = held.advance(at, ord(" "))
    assert bytes(held.permitted(after).tolist()) == b"A"  # Heat is used, Her is not allowed


def test_a_token_that_is_not_permitted_ends_the_text() -> None:
    model = ScriptedModel()
    held = GroundedList(model, title_trie(model, TITLES))
    for text in ("1. Fake", "- Heat!", "1.<end>"):
        at = held.begin()
        for token in model.encode(text):
            at = held.advance(at, token)
        assert at.over
        assert held.permitted(at).tolist() == [256]
    assert held.rows(model.encode("1. Fake")) == []


def test_entries_may_end_the_turn() -> None:
    model = ScriptedModel()
    held = GroundedList(model, title_trie(model, ["Heat", "Her"], terminator="<end>"))
    at = held.begin()
    for token in model.encode("- Heat<end>"):
        assert token in held.permitted(at)
        at = held.advance(at, token)
    assert at.over
    assert len(held.rows(model.encode("- Heat<end>"))) == 1


def test_a_title_that_would_end_the_turn_in_its_middle_is_never_begun() -> None:
    model = ScriptedModel()
    for end in ("\n", "<end>"):
        for titles in (["Heat", "H<end>idden"], ["Heat", "Hea<end>", "Her"], ["<end>"]):
            held = GroundedList(model, title_trie(model, titles, terminator=end))
            assert {titles[held.trie.rows_of(t)[0]] for t in held.open.leaves} == {
                t for t in titles if "<end>" not in t
            }


def test_as_a_logits_processor_it_masks_whole_batches_and_fails_closed() -> None:
    import torch

    model = ScriptedModel()
    held = GroundedList(model, title_trie(model, ["Heat", "Her"]), max_new_tokens=40)
    prompt = torch.zeros((2, 3), dtype=torch.long)
    broken = torch.full((2, 260), torch.nan)
    first = held(prompt, broken)
    assert first.isfinite().sum(1).tolist() == [1, 1]  # nothing is possible: the turn ends
    assert first.argmax(1).tolist() == [256, 256]

    def after(*texts: str, scores: torch.Tensor) -> list[set[int]]:
        ids = torch.tensor([[0, 0, 0, *model.encode(t)] for t in texts])
        out = held(ids, scores)
        return [set(torch.nonzero(row.isfinite())[:, 0].tolist()) for row in out]

    free = torch.zeros((2, 260))
    assert after("1.", "- ", scores=free) == [{ord(" ")}, {ord("H")}]
    assert after("1. He", "\n- He", scores=free) == [{ord("a"), ord("r")}] * 2
    beams = after("- Her\n-", "\n1. Hea", scores=free)  # beams may swap and skip
    assert beams == [{ord(" ")}, {ord("t")}]
    assert after("1. He", "\n- He", scores=broken) == [{ord("a")}] * 2  # an entry is written out
    before = held.dropped
    assert after("1.", "ab", scores=broken) == [{256}, {256}]
    assert held.dropped == before + 1
    infinite = torch.full((2, 260), torch.inf)
    assert after("1. He", "\n- He", scores=infinite) == [{ord("a"), ord("r")}] * 2
    assert torch.isfinite(held(prompt, free)[:, 256]).all()
    assert not torch.isfinite(held(prompt, free)[:, 257:]).any()


def test_each_text_that_cannot_go_on_is_dropped_once() -> None:
    import torch

    model = ScriptedModel()
    held = GroundedList(model, title_trie(model, ["Heat", "Her"]))
    held(torch.zeros((3, 2), dtype=torch.long), torch.zeros((3, 260)))
    ids = torch.tensor([[0, 0, *model.encode(t)] for t in ("1.", "1.", "ab")])
    scores = torch.zeros((3, 260))
    scores[0] = torch.nan
    out = held(ids, scores)
    assert out.argmax(1).tolist()[:2] == [256, ord(" ")]
    assert out.isfinite().sum(1).tolist()[:2] == [1, 1]
    assert held.dropped == 1  # the second began its entry, the third has none


def test_no_entry_is_begun_that_cannot_be_finished() -> None:
    model = ScriptedModel()
    trie = title_trie(model, ["Heat", "Central Station"])
    held = GroundedList(model, trie, max_new_tokens=20)  # the longest has 17 tokens
    assert ord("-") in held.permitted(held.begin(), written=2)
    assert ord("-") not in held.permitted(held.begin(), written=3)


def test_a_local_model_writes_grounded_lists(tmp_path: Path) -> None:
    from llmrec.models.local import LocalModel

    model = LocalModel(tiny.network("llama", seed=4), tiny.tokenizer())
    trie = title_trie(model, tiny.TITLES)
    held = GroundedList(model, trie, max_new_tokens=60)
    marks = model.encode("\n1.")[:1] + model.encode("-")

    def keen(ids: Any, scores: Any) -> Any:  # a model that cannot stop making lists
        scores = scores.clone()
        scores[:, marks] += 30
        return scores

    talk = [[Message("user", t)] for t in ("A film, please", "Um filme")]
    texts = model.generate(talk, max_new_tokens=60, processors=[keen, held], temperature=1.0)
    listed = [e for t in texts for e in entries(t)]
    assert len(listed) > 3
    assert {e.strip() for e in listed} <= set(tiny.TITLES)
