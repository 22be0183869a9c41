"""The learned ranker in a world whose right answers are known, and its signals by hand."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import ranked
import world
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llmrec.catalog import Catalog
from llmrec.errors import InputError, ModelError
from llmrec.models.scripted import ScriptedModel
from llmrec.ranker import LearnedRanker, Ranked
from llmrec.ranker.combiner import PER_SIGNAL, features_of, listed
from llmrec.ranker.learned import FILES, GROUPS
from llmrec.ranker.linear import LinearRanker
from llmrec.ranker.network import POOL, Network
from llmrec.ranker.repeats import Repeats
from llmrec.ranker.share import share_of, standardised
from llmrec.ranker.signals import Conversations, Facts, Named, Popular
from llmrec.ranker.sparse import best, matrix, unit
from llmrec.ranker.talk import CONTEXT, Case, Talk, cases_of
from llmrec.ranker.words import Vocabulary, bm25, grams, idf, tokens
from llmrec.recommender import Recommender
from llmrec.types import Conversation, Example, Item, Message

ROW = {i.id: n for n, i in enumerate(ranked.ITEMS)}
WIDTH = len(ROW)
SIGNALS = tuple(g for g in GROUPS if g != "meaning")  # that one is an extra
SEA, SPACE = ({ROW[i] for i in ranked.KINDS[kind]} for kind in ("sea", "space"))


@pytest.fixture(scope="module")
def ranker() -> LearnedRanker:
    return LearnedRanker.fit(ranked.TRAINING, ranked.ITEMS)


def said(*turns: str | tuple[str, tuple[str, ...]]) -> Conversation:
    """A conversation in turns, the user first; some name items."""
    pairs = [(t, ()) if isinstance(t, str) else t for t in turns]
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[n % 2], *p) for n, p in enumerate(pairs)))  # type: ignore[arg-type]


def read(conversation: Conversation) -> Talk:
    return Talk.of(conversation, ROW)


def case(named: Sequence[int], wanted: Sequence[int], dialogue: str, said: bool = False) -> Case:
    """A case of rows: the user has named some, others come next."""
    talk = Talk(((),), (), (), tuple((row, True, 0) for row in named), 1)
    new = tuple(row for row in wanted if row not in named)
    return Case(talk, tuple(wanted), new, dialogue, said)


def dense(scores: object) -> np.ndarray:
    return np.atleast_2d(scores.toarray() if hasattr(scores, "toarray") else np.asarray(scores))


# -- what is read of a conversation --------------------------------------------------------------


def test_a_talk_is_words_and_mentions() -> None:
    talk = read(
        said(("I loved CORAL!", ("sea-4",)), ("Tides?", ("sea-5", "unknown")), "don't know it")
    )
    assert talk.user == (("i", "loved", "coral"), ("don't", "know", "it"))
    assert talk.assistant == (("tides",),)
    assert talk.last == ("tides", "don't", "know", "it")
    assert talk.named == ((ROW["sea-4"], True, 2), (ROW["sea-5"], False, 1))
    assert talk.rows.tolist() == sorted([ROW["sea-4"], ROW["sea-5"]])
    assert len(talk.context()) == CONTEXT
    liked = Conversation((Message("user", "more"),), liked=("sea-0", "sea-0"))
    assert Talk.of(liked, ROW, ["sea-0", "sea-1"]).named == (
        (ROW["sea-0"], True, 0),
        (ROW["sea-1"], True, 0),
    )


def test_what_the_user_goes_on_to_name_is_a_case_too() -> None:
    cases = cases_of(ranked.talk(0), ROW)
    told, named = [c for c in cases if not c.said], [c for c in cases if c.said]
    assert [len(c.wanted) for c in told] == [1, 2]
    (own,) = named
    assert own.talk.turns == 2
    assert [ranked.ITEMS[r].id for r in own.wanted] == list(
        ranked.talk(0)[1].conversation.messages[2].items
    )
    assert {c.dialogue for c in cases} == {"d0"}


# -- signals, by hand ----------------------------------------------------------------------------

CASES = [
    case([0], [1], "a"),
    case([0, 1], [2], "b"),
    case([0], [2], "c"),
    case([3], [3], "d"),
]


def test_what_goes_together_by_hand() -> None:
    named = Named.fit(CASES, 4)
    asked = Talk(((),), (), (), ((0, True, 1), (1, False, 0)), 2)
    first, both = named.scores([CASES[0].talk]), named.scores([asked])
    # Seen in 3, 2, 2 and 1 dialogues; the first with each of the others in 2, those two in 1.
    np.testing.assert_allclose(
        dense(first["cosine"])[0], [0, 2 / math.sqrt(5 * 4), 2 / math.sqrt(5 * 4), 0], rtol=1e-6
    )
    np.testing.assert_allclose(dense(first["given"])[0], [0, 2 / 6, 2 / 6, 0], rtol=1e-6)
    # It stood before new items three times; after one item the second came, after three the third.
    follows = [0, 1 / math.sqrt(6 * 4), 2 / math.sqrt(6 * 6), 0]
    np.testing.assert_allclose(dense(first["next"])[0], follows, rtol=1e-6)
    # The earlier mention counts 0.85 of the later one; 0.3 in "last".
    given = np.array([[0, 2 / 6, 2 / 6, 0], [2 / 5, 0, 1 / 5, 0]])
    np.testing.assert_allclose(dense(both["given"])[0], 0.85 * given[0] + given[1], rtol=1e-6)
    np.testing.assert_allclose(dense(both["given last"])[0], 0.3 * given[0] + given[1], rtol=1e-6)
    np.testing.assert_allclose(dense(both["given user's"])[0], given[0], rtol=1e-6)
    np.testing.assert_allclose(dense(both["given assistant's"])[0], given[1], rtol=1e-6)


def test_ease_is_its_closed_formula() -> None:
    x = (np.random.default_rng(0).random((400, 8)) < 0.35).astype(float)
    x[:, 1] = np.maximum(x[:, 0] * (np.arange(400) % 5 > 0), x[:, 1] * 0.2 > 0.1)
    cases = [case(np.flatnonzero(row).tolist(), [], str(n)) for n, row in enumerate(x)]
    inverse = np.linalg.inv(x.T @ x + 60.0 * np.eye(8))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    named = Named.fit(cases, 8)
    for row in range(8):
        found = dense(named.scores([case([row], [], "x").talk])["ease"])[0]
        np.testing.assert_allclose(found, np.maximum(weights[row], 0), rtol=1e-4, atol=1e-7)
    assert dense(named.scores([case([0], [], "x").talk])["ease"])[0].argmax() == 1


def test_popularity_counts_new_recommendations() -> None:
    cases = [case([], [0, 1], "a"), case([0], [0, 1], "b"), case([], [2], "c", said=True)]
    found = Popular.fit(cases, 4).scores([])
    np.testing.assert_allclose(found["popular"], np.log1p([1, 2, 0, 0]), rtol=1e-6)
    np.testing.assert_allclose(found["opening"], np.log1p([1, 1, 0, 0]), rtol=1e-6)


def test_bm25_is_its_formula() -> None:
    documents = [["sea", "sea", "storm"], ["sea"], ["stars", "storm", "stars", "stars", "moon"]]
    words = Vocabulary.of(documents, 1)
    assert words.terms == ("moon", "sea", "stars", "storm")
    found = bm25(words.counts(documents), idf(words.counts(documents)), k1=1.2, b=0.75).toarray()
    average = np.mean([len(d) for d in documents])
    for d, document in enumerate(documents):
        for t, term in enumerate(words.terms):
            n = sum(term in other for other in documents)
            weight = math.log(1 + (3 - n + 0.5) / (n + 0.5))
            often = document.count(term)
            damp = 1.2 * (1 - 0.75 + 0.75 * len(document) / average)
            assert found[d, t] == pytest.approx(weight * often * 2.2 / (often + damp), rel=1e-5)


def fitted_words(cases: Sequence[Case]) -> Vocabulary:
    turns = [list(grams(t)) for c in cases for t in (*c.talk.user, *c.talk.assistant)]
    return Vocabulary.of(turns, 2)


def test_conversations_of_like_words_speak() -> None:
    cases = cases_of(ranked.TRAINING, ROW)
    signal = Conversations.fit(cases, WIDTH, fitted_words(cases))
    found = signal.scores([read(said("a film with sailors")), read(said("rockets"))])
    for name in ("like user", "words user", "like last", "words last"):
        sea, space = dense(found[name])
        assert sea[list(SEA)].min() > sea[list(SPACE)].max(), name
        assert space[list(SPACE)].min() > space[list(SEA)].max(), name
    assert not dense(found["like assistant"]).any()  # who has said nothing yet


def test_facts_are_searched_and_compared() -> None:
    facts = Facts.fit(ranked.ITEMS)
    asked = said(
        "something by Vera Sol", ("Or Tides?", ("sea-5",)), ("like Red Orbit", ("space-0",))
    )
    found = {n: dense(s)[0] for n, s in facts.scores([read(asked)]).items()}
    by_her = {n for n, i in enumerate(ranked.ITEMS) if "Vera Sol" in i.directors}
    assert set(np.argsort(-found["search"])[:3]) <= by_her | {ROW["space-1"]}
    assert set(np.argsort(-found["search last"])[:2]) == {ROW["space-0"], ROW["space-1"]}
    alone = read(said(("like Red Orbit", ("space-0",))))
    found = {n: dense(s)[0] for n, s in facts.scores([alone]).items()}
    assert set(np.argsort(-found["alike in title"])[:2]) == {ROW["space-0"], ROW["space-1"]}
    assert found["alike in people"][list(by_her)].min() > 0
    assert found["alike in people"][ROW["space-1"]] == 0
    assert found["alike in genre"][list(SPACE)].min() > found["alike in genre"][list(SEA)].max()
    assert np.argsort(-found["alike"])[1] == ROW["space-1"]  # its sequel
    np.testing.assert_allclose(found["years"][ROW["space-3"]], math.exp(-3 / 10), rtol=1e-6)
    assert not dense(facts.scores([read(said("hi"))])["years"]).any()


def test_items_without_facts_are_no_trouble() -> None:
    facts = Facts.fit([Item(id="a", title="A"), Item(id="b", title="")])
    scores = facts.scores([Talk(((),), (), (), ((0, True, 0),), 1)])
    assert all(np.isfinite(dense(s)).all() for s in scores.values())
    assert facts.reduced().shape[0] == 2


def test_the_network_tells_the_kinds_apart() -> None:
    cases = cases_of(ranked.TRAINING, ROW)
    network = Network.fit(cases, fitted_words(cases), Facts.fit(ranked.ITEMS).reduced())
    talks = [read(said("some waves")), read(said(("I liked Nebula", ("space-4",))))]
    (sea, space) = network.scores(talks)["network"]
    assert np.exp(sea).sum() == pytest.approx(1, rel=1e-4)
    assert sea[list(SEA)].min() > sea[list(SPACE)].max()
    assert space[list(SPACE)].min() > space[list(SEA)].max()


def test_items_beyond_those_trained_on_stand_near_their_like() -> None:
    cases = cases_of(ranked.TRAINING, ROW)
    kinds = np.array([n < 6 for n in range(WIDTH)] + [n % 2 == 0 for n in range(POOL + 50)])
    facts = np.stack([kinds, ~kinds], axis=1).astype(np.float32)
    network = Network.fit(cases, fitted_words(cases), facts)
    (sea,) = network.scores([read(said("sailors and waves", ("Tides?", ("sea-5",))))])["network"]
    assert sea.shape == (WIDTH + POOL + 50,)
    assert np.exp(sea).sum() == pytest.approx(1, rel=1e-3)
    assert sea[:6].min() > sea[WIDTH:].max()  # what was recommended is likelier than strangers
    assert sea[WIDTH:][kinds[WIDTH:]].mean() > sea[WIDTH:][~kinds[WIDTH:]].mean() + 0.1


def test_repeats_learn_who_is_named_again() -> None:
    """What the user has named last is named again in half of the cases, nothing else is."""
    cases, cut = [], []
    rng = np.random.default_rng(0)
    for n in range(40):
        talk = Talk(((), ()), ((),), (), ((0, False, 1), (1, True, 0)), 3)
        wanted = (1,) if n % 2 else (2,)
        cases.append(Case(talk, wanted, tuple(w for w in wanted if w == 2), str(n)))
        right = np.array([w in wanted for w in (2, 3)])
        cut.append(listed(np.ones((2, 1)), talk.context(), right, (), rng))
    rows, utility = Repeats.fit(cases, cut, [np.zeros(2, np.float32)] * 40)(cases[0].talk)
    found = dict(zip(rows.tolist(), utility.tolist(), strict=True))
    share = math.exp(found[1]) / (math.exp(found[0]) + math.exp(found[1]) + 2)
    assert share == pytest.approx(0.5, abs=0.05)
    assert found[0] < -1


# -- what signals become -------------------------------------------------------------------------

VALUES = arrays(
    np.float32,
    st.tuples(st.integers(0, 12), st.integers(1, 4)),
    elements=st.floats(0, 100, width=32),
)


@given(VALUES)
def test_features_say_value_share_and_rank(values: np.ndarray) -> None:
    n, signals = values.shape
    found = features_of(values, ()).reshape(n, signals, PER_SIGNAL)
    assert found.dtype == np.float32
    assert np.array_equal(found[:, :, 0], values)
    for c in range(signals):
        top = values[:, c].max(initial=0)
        order = sorted(range(n), key=lambda i: (-values[i, c], i))
        for rank, i in enumerate(order):
            speaks = values[i, c] > 0
            assert found[i, c, 2] == pytest.approx(10 / (10 + rank) if speaks else 0)
            assert found[i, c, 1] == pytest.approx(values[i, c] / top if speaks else 0, rel=1e-5)


def test_logarithms_are_set_off_by_difference() -> None:
    values = np.array([[-1.0, 0.5], [-3.0, 0.0]])
    found = features_of(values, [0]).reshape(2, 2, PER_SIGNAL)
    assert found[:, 0, 1].tolist() == [0, -2]
    np.testing.assert_allclose(found[:, 0, 2], [1, 10 / 11])
    assert found[1, 1].tolist() == [0, 0, 0]


def test_a_cut_case_keeps_what_is_right_and_stands_for_all() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((1000, 2))
    right = np.zeros(1000, bool)
    right[values.sum(1).argmin()] = True
    cut = listed(values, np.zeros(CONTEXT, np.float32), right, (), rng)
    assert cut.right.sum() == 1
    assert np.exp(cut.stands_for).sum() == pytest.approx(1000, rel=1e-4)


@given(
    arrays(np.int8, st.tuples(st.integers(0, 5), st.integers(1, 9)), elements=st.integers(0, 5)),
    st.integers(1, 6),
)
def test_the_best_of_a_row_are_its_largest(values: np.ndarray, n: int) -> None:
    rows = [np.flatnonzero(row).tolist() for row in values]
    given_values = [row[row > 0].tolist() for row in values]
    found = best(matrix(rows, values.shape[1], given_values), n)
    assert found.shape == values.shape
    for row, kept in zip(values, found.toarray(), strict=True):
        assert sorted(kept[kept > 0]) == sorted(row[row > 0])[-n:]
        assert all(row[i] == v for i, v in enumerate(kept) if v)


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=6), max_size=8), st.integers(1, 3))
def test_counting_in_one_pass_is_counting(documents: list[list[str]], at_least: int) -> None:
    words, counts = Vocabulary.counted(iter(documents), at_least)
    slow = Vocabulary.of(documents, at_least)
    assert words.terms == slow.terms
    assert np.array_equal(counts.toarray(), slow.counts(documents).toarray())
    assert counts.has_sorted_indices
    assert counts.shape == (len(documents), len(words))


def test_rows_of_nothing_stay_nothing() -> None:
    m = unit(matrix([[0, 0, 2], []], 3))
    np.testing.assert_allclose(m.toarray(), [[2 / math.sqrt(5), 0, 1 / math.sqrt(5)], [0, 0, 0]])


def test_words_are_of_any_language() -> None:
    assert tokens("Ação! Don’t stop_it: 千と千尋 2001") == [
        "ação", "don’t", "stop", "it", "千と千尋", "2001",
    ]  # fmt: skip
    assert list(grams(["a", "b", "c"])) == ["a", "b", "c", "a b", "b c"]


def test_a_share_is_what_the_opinions_are_worth() -> None:
    rng = np.random.default_rng(0)
    even = [np.log(np.full(20, 1 / 20))] * 300
    opinions = [standardised(rng.standard_normal(20)) for _ in even]
    chosen = [rng.choice(20, p=np.exp(o) / np.exp(o).sum()) for o in opinions]
    right = [np.arange(20) == c for c in chosen]
    assert share_of(even, opinions, right) == pytest.approx(1, abs=0.15)
    at_random = [np.arange(20) == rng.integers(20) for _ in even]
    assert share_of(even, opinions, at_random) < 0.15
    assert share_of(even, [-o for o in opinions], right) == 0
    assert share_of([], [], []) == 0
    unknown = standardised(np.array([1.0, 3.0, -np.inf]))
    assert unknown.tolist() == [-1, 1, 0]
    assert standardised(np.full(3, 2.0)).tolist() == [0, 0, 0]


# -- the ranking ---------------------------------------------------------------------------------


def ids(ranker: LearnedRanker, found: Ranked) -> list[str]:
    return [ranker.ids[r] for r in found.rows.tolist()]


def kind_first(ranker: LearnedRanker, found: Ranked, kind: str, n: int) -> bool:
    return all(i.startswith(kind) for i in ids(ranker, found)[:n])


@pytest.mark.parametrize("kind", ["sea", "space"])
def test_the_right_kind_is_first(ranker: LearnedRanker, kind: str) -> None:
    by_word = said(f"hello, something with {ranked.WORDS[kind][0]} please")
    by_name = said("hi", "What do you like?", ("this one", ranked.KINDS[kind][:1]))
    words, names = ranker.rank([by_word, by_name])
    assert kind_first(ranker, words, kind, 6)
    assert kind_first(ranker, names, kind, 5)
    assert ranked.KINDS[kind][0] not in ids(ranker, names)


def test_held_out_dialogues_are_found(ranker: LearnedRanker) -> None:
    found = ranker.rank([e.conversation for e in ranked.HELD], 6)
    hits = [set(e.relevant) <= set(ids(ranker, r)) for e, r in zip(ranked.HELD, found, strict=True)]
    assert np.mean(hits) == 1


def test_probabilities_are_normalised_and_sorted(ranker: LearnedRanker) -> None:
    for repeat in (False, True):
        for r in ranker.rank([e.conversation for e in ranked.HELD], repeat=repeat):
            assert np.exp(r.logprobs).sum() == pytest.approx(1, rel=1e-5)
            assert (np.diff(r.logprobs) <= 0).all()
            assert len(set(r.rows.tolist())) == len(r.rows)
            assert r.rows.dtype == np.int32
            assert r.logprobs.dtype == np.float32


def test_a_batch_says_what_each_says_alone(ranker: LearnedRanker) -> None:
    asked = [*(e.conversation for e in ranked.HELD), Conversation(), said("")]
    for repeat in (False, True):
        for one, alone in zip(
            ranker.rank(asked, repeat=repeat),
            (ranker.rank([c], repeat=repeat)[0] for c in asked),
            strict=True,
        ):
            assert one.rows.tolist() == alone.rows.tolist()
            np.testing.assert_allclose(one.logprobs, alone.logprobs, atol=1e-5)
    assert ranker.rank([]) == []


def test_what_was_named_comes_with_repeat_only(ranker: LearnedRanker) -> None:
    for e in ranked.HELD:
        named = set(e.conversation.mentioned)
        without, with_it = (ranker.rank([e.conversation], repeat=r)[0] for r in (False, True))
        assert not named & set(ids(ranker, without))
        assert named <= set(ids(ranker, with_it))
        rest = [i for i in ids(ranker, with_it) if i not in named]
        assert rest == ids(ranker, without)
    every = said(("all of them", tuple(ROW)))
    (nothing,) = ranker.rank([every])
    assert nothing.rows.tolist() == []
    assert set(ids(ranker, ranker.rank([every], repeat=True)[0])) == set(ROW)


def test_marks_from_elsewhere_count_as_named(ranker: LearnedRanker) -> None:
    asked = said("more like that one")
    (plain,) = ranker.rank([asked])
    (marked,) = ranker.rank([asked], named=[["sea-0"]])
    assert kind_first(ranker, marked, "sea", 5)
    assert "sea-0" not in ids(ranker, marked)
    assert "sea-0" in ids(ranker, plain)


def test_unknown_ids_are_passed_over(ranker: LearnedRanker) -> None:
    known = said(("I liked this", ("sea-1",)))
    more = said(("I liked this", ("nobody knows it", "sea-1")))
    one, two = ranker.rank([known, more])
    assert one.rows.tolist() == two.rows.tolist()
    assert one.logprobs.tolist() == pytest.approx(two.logprobs.tolist())


def test_an_empty_conversation_gets_what_is_popular(ranker: LearnedRanker) -> None:
    (found,) = ranker.rank([Conversation()], 5)
    assert len(found.rows) == 5
    assert np.isfinite(found.logprobs).all()


def test_k_cuts_and_changes_nothing_else(ranker: LearnedRanker) -> None:
    asked = ranked.HELD[1].conversation
    (every,), (three,) = ranker.rank([asked]), ranker.rank([asked], 3)
    assert three.rows.tolist() == every.rows[:3].tolist()
    assert three.logprobs.tolist() == every.logprobs[:3].tolist()


def test_the_same_dialogues_teach_the_same(ranker: LearnedRanker) -> None:
    again = LearnedRanker.fit(iter(ranked.TRAINING), iter(ranked.ITEMS))
    assert again.fingerprint == ranker.fingerprint
    asked = [e.conversation for e in ranked.HELD]
    for a, b in zip(ranker.rank(asked), again.rank(asked), strict=True):
        assert a.logprobs.tolist() == b.logprobs.tolist()
    other = LearnedRanker.fit(ranked.TRAINING, ranked.ITEMS, seed=1)
    assert other.fingerprint != ranker.fingerprint


# -- what can be left out or lacking --------------------------------------------------------------


@pytest.mark.parametrize("alone", SIGNALS)
def test_any_signal_alone_ranks(alone: str) -> None:
    few = LearnedRanker.fit(
        ranked.TRAINING, ranked.ITEMS, folds=2, without=[g for g in SIGNALS if g != alone]
    )
    asked = said("hi", "What do you like?", ("planets, as in this one", ("space-0",)))
    (found,) = few.rank([asked])
    assert found.rows.size
    assert alone == "popularity" or kind_first(few, found, "space", 4)
    (why,) = few.reasons(asked, found.rows[:1].tolist())
    assert list(why) == [alone]


@pytest.mark.parametrize(
    ("examples", "more", "message"),
    [
        ([], {}, "0 dialogues in 5 folds: give at least 2 folds and a dialogue for each"),
        (ranked.talks(0, 1, 2), {}, "3 dialogues in 5 folds"),
        (ranked.TRAINING, {"folds": 1}, "60 dialogues in 1 folds"),
        (ranked.TRAINING, {"without": ["stars"]}, "there is no signal 'stars': use some of popul"),
        (
            ranked.TRAINING,
            {"without": list(SIGNALS)},
            "all signals are left out: keep one of popul",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_said(
    examples: list[Example], more: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        LearnedRanker.fit(examples, ranked.ITEMS, **more)  # type: ignore[arg-type]


def test_dialogues_about_other_items_teach_nothing() -> None:
    strangers = [Item(id=f"x{n}", title=f"X {n}") for n in range(4)]
    with pytest.raises(InputError, match="0 dialogues in 5 folds"):
        LearnedRanker.fit(ranked.TRAINING, strangers)
    only_repeats = [
        Example(said(("again", ("sea-0",))), ("sea-0",), dialogue=str(n)) for n in range(6)
    ]
    with pytest.raises(InputError, match="no example recommends an item of the catalogue: give"):
        LearnedRanker.fit(only_repeats, ranked.ITEMS)


def test_signals_that_never_bring_up_what_came_next_teach_nothing() -> None:
    each_its_own = [
        Example(said("hello"), (item.id,), dialogue=item.id) for item in ranked.ITEMS[:6]
    ]
    others = [g for g in SIGNALS if g != "together"]
    with pytest.raises(InputError, match="none of the signals"):
        LearnedRanker.fit(each_its_own, ranked.ITEMS, without=others)


# -- files ---------------------------------------------------------------------------------------


def test_saved_and_loaded_it_is_the_same_to_the_bit(ranker: LearnedRanker, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    shared = ranker.with_share(0.3, model="some-model")
    shared.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*FILES, "README.md"])
    again = LearnedRanker.find(tmp_path)
    assert again.fingerprint == shared.fingerprint != ranker.fingerprint
    assert (again.ids, again.facts, again.model_share) == (shared.ids, shared.facts, 0.3)
    asked = [e.conversation for e in ranked.HELD]
    for a, b in zip(ranker.rank(asked, repeat=True), again.rank(asked, repeat=True), strict=True):
        assert a.rows.tobytes() == b.rows.tobytes()
        assert a.logprobs.tobytes() == b.logprobs.tobytes()
    before = [(tmp_path / name).read_bytes() for name in FILES]
    again.save(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in FILES] == before


def _cut(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def _edit(folder: Path, **changes: object) -> None:
    file = folder / FILES[0]
    told = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps({k: v for k, v in told.items() if v is not None}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / FILES[1]).unlink(), "holds no ranker: give a folder or Hub repository"),
        (lambda f: (f / FILES[0]).unlink(), "holds no ranker: give a folder or Hub repository"),
        (lambda f: _cut(f, FILES[0]), "holds no ranker that can be read"),
        (lambda f: _cut(f, FILES[1]), "holds no ranker that can be read"),
        (lambda f: (f / FILES[0]).write_text("[]"), "holds no ranker that can be read"),
        (lambda f: _edit(f, vocabularies=None), "holds no ranker that can be read"),
        (lambda f: _edit(f, signals=["together", "stars"]), "holds no ranker that can be read"),
        (lambda f: _edit(f, signals=4), "holds no ranker that can be read"),
        (lambda f: _edit(f, ids=["a"]), "are of two rankers"),
        (lambda f: _edit(f, model_share=0.5), "are of two rankers"),
        (lambda f: _edit(f, format=2), "has the format 2, and this version reads 1: learn it anew"),
    ],
)  # fmt: skip
def test_a_damaged_folder_gets_one_sentence(
    ranker: LearnedRanker, tmp_path: Path, damage: object, message: str
) -> None:
    ranker.save(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as e:
        LearnedRanker.find(tmp_path)
    assert "\n" not in str(e.value)


def test_arrays_of_another_ranker_are_refused(ranker: LearnedRanker, tmp_path: Path) -> None:
    """As a kill between the two files would leave them."""
    ranker.save(tmp_path)
    old = (tmp_path / FILES[0]).read_bytes()
    LearnedRanker.fit(ranked.TRAINING[:40], ranked.ITEMS, seed=1).save(tmp_path)
    (tmp_path / FILES[0]).write_bytes(old)
    with pytest.raises(InputError, match="are of two rankers"):
        LearnedRanker.load(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_meaning_is_kept_without_its_encoder(tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    words = sorted({w for texts in ranked.WORDS.values() for w in texts} | {"hello", "please"})
    encoder = tmp_path / "encoder"
    weights = {w: 0.3 + n / 7 for n, w in enumerate(words)}
    bag = package.sentence_transformer.modules.BoW(vocab=words, word_weights=weights)
    package.SentenceTransformer(modules=[bag], device="cpu").save(str(encoder))
    made = LearnedRanker.fit(
        ranked.TRAINING, ranked.ITEMS, encoder=str(encoder), without=["network", "facts"]
    )
    asked = [said("hello, something with rockets please"), said("waves")]
    space, sea = made.rank(asked)
    assert kind_first(made, space, "space", 6)
    assert kind_first(made, sea, "sea", 6)
    (why,) = made.reasons(asked[0], space.rows[:1].tolist())
    assert why["meaning"] > 0
    made.save(tmp_path / "ranker")
    again = LearnedRanker.load(tmp_path / "ranker")
    for a, b in zip((space, sea), again.rank(asked), strict=True):
        assert a.rows.tobytes() == b.rows.tobytes()
        assert a.logprobs.tobytes() == b.logprobs.tobytes()
    shutil.rmtree(encoder)
    with pytest.raises(ModelError, match="encoder' cannot be loaded"):
        LearnedRanker.load(tmp_path / "ranker").rank(asked)


# -- reasons, and in a recommender ---------------------------------------------------------------


def test_reasons_name_what_spoke_for_an_item(ranker: LearnedRanker) -> None:
    by_name = said(("this", ("space-0",)))
    words = said("something with sailors please")
    rows = [ROW["space-2"], ROW["sea-2"], ROW["space-0"]]
    named_why, other_why, own = ranker.reasons(by_name, rows)
    assert set(named_why) == set(SIGNALS)
    assert named_why["together"] > 0.1 > other_why["together"]
    assert own == {}  # what was named is no candidate
    (why,) = ranker.reasons(words, [ROW["sea-2"]])
    assert why["conversations"] + why["facts"] + why["network"] > 0.1
    assert abs(why["together"]) < 0.05  # nothing was named
    (a, b) = ranker.reasons(words, [ROW["sea-2"], ROW["sea-2"]])
    assert a == b
    assert ranker.reasons(words, []) == []


def recommender(
    ranker: LearnedRanker | LinearRanker, items: Sequence[Item] = ranked.ITEMS
) -> Recommender:
    return Recommender(
        ScriptedModel(), Catalog.from_items(items), ranker=ranker, profile=world.RULES
    )


def test_a_recommender_ranks_and_explains_by_it(ranker: LearnedRanker) -> None:
    rec = recommender(ranker)
    found = rec.recommend("something with rockets please", k=6)
    assert {r.item.id for r in found} == set(ranked.KINDS["space"])
    for r in found:
        assert set(SIGNALS) <= set(r.signals)
        assert "learned" not in r.signals
    named = rec.recommend("I loved Storm Harbour", k=5)
    assert all(r.item.id in ranked.KINDS["sea"] for r in named)
    assert all(r.signals["together"] > 0 for r in named)
    assert named[0].to_dict()["signals"]


def test_a_hand_set_ranker_explains_itself_too() -> None:
    rec = recommender(LinearRanker(model=0.25, popularity=1.0))
    (first, *_) = rec.recommend("something like Red Orbit", k=3)
    assert first.item.directors == ("Vera Sol",)
    assert first.signals["similar"] == max(first.signals.values()) > 0
    assert set(first.signals) == {"similar", "popularity", "model"}
    assert sum(first.signals.values()) > 0


def test_the_model_counts_as_much_as_was_learned(ranker: LearnedRanker) -> None:
    catalog = Catalog.from_items(ranked.ITEMS)
    model = ScriptedModel(likes={"Coral": 5.0, "Tides": 0.1})
    heard, unheard = (
        Recommender(model, catalog, ranker=ranker.with_share(share), profile=world.RULES)
        for share in (3.0, 0.0)
    )
    asked = "something with ocean waves"
    by_id = {r.item.id: r for r in heard.recommend(asked, k=12)}
    before = {r.item.id: r for r in unheard.recommend(asked, k=12)}
    parts = {i: r.signals["model"] for i, r in by_id.items()}
    assert max(parts, key=parts.__getitem__) == "sea-4"
    assert parts["sea-4"] > 0.5
    assert by_id["sea-4"].score > before["sea-4"].score + 0.1
    assert not any("model" in r.signals for r in before.values())


def test_a_catalogue_may_have_other_items(ranker: LearnedRanker) -> None:
    stranger = Item(id="new", title="Kelp", year=1980, genres=("Nautical",))
    some = [i for i in ranked.ITEMS if i.id not in ("sea-0", "space-5")]
    rec = recommender(ranker, [stranger, *reversed(some)])
    found = [r.item.id for r in rec.recommend("something with ocean waves please", k=11)]
    assert set(found) == {i.id for i in some} | {"new"}
    assert all(i.startswith("sea") for i in found[:5])
    assert found[-1] == "new"  # nothing was learned of it
    with pytest.raises(InputError, match="knows none of the 1 items of the catalogue: give the"):
        recommender(ranker, [stranger])


def test_the_ranker_beside_a_model_is_found_if_it_is_of_these_items(
    ranker: LearnedRanker, tmp_path: Path
) -> None:
    import tiny

    folder = tiny.folder(tmp_path / "model")
    ranker.save(folder)
    rec = Recommender.from_pretrained(folder, catalog=Catalog.from_items(ranked.ITEMS))
    assert rec.learned is not None
    assert rec.learned.fingerprint == ranker.fingerprint
    assert Recommender.from_pretrained(folder, catalog=world.catalog()).learned is None
    own = LinearRanker()
    chosen = Recommender.from_pretrained(
        folder, catalog=Catalog.from_items(ranked.ITEMS), ranker=own
    )
    assert chosen.learned is None
