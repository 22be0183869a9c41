"""Doubt by hand and by construction, ways of asking, confidence, and the script that judges it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from test_endpoint import Request, serving
from world import BY_ID, FILMS, WRITER, catalog, recommender, rules, said

from eval.uncertainty import Answers, main, verdict
from llmrec.errors import InputError
from llmrec.lexicon import terms
from llmrec.metrics.calibration import Calibrator, auroc, ece
from llmrec.models.endpoint import KEY
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.preferences import Understood
from llmrec.prompting import FewShot, ZeroShot
from llmrec.recommender import Recommender
from llmrec.titles import fold
from llmrec.types import LANGUAGES, Conversation, Item, Message, Spread, Uncertainty
from llmrec.uncertainty.asking import (
    clarify_prompt,
    paraphrase_prompt,
    parse_clarifications,
    parse_paraphrases,
)
from llmrec.uncertainty.confidence import FILE, Confidence, Fit, log_odds
from llmrec.uncertainty.ensemble import Answered, Ensemble
from llmrec.uncertainty.judging import Case, judge, spearman
from llmrec.uncertainty.measures import (
    SINGLE,
    Answer,
    aligned,
    certainties,
    consistency,
    decompose,
    entropy,
    measures_of,
    normalised_entropy,
    reading,
    reading_text,
    single_pass,
    spread,
)
from llmrec.uncertainty.paraphrasing import SAME, reworded
from llmrec.uncertainty.variants import Variant, clarifications, orders, paraphrases

LN2 = math.log(2)
TURNS = Profile(lead="rules-only", detail="turns", writes=False)


def answer(**probabilities: float) -> Answer:
    """``answer(a=.5, b=.5)``: rows 0 for a, 1 for b ... and the logarithms."""
    rows = np.array([ord(name) - ord("a") for name in probabilities], dtype=np.int32)
    return rows, np.log(np.array(list(probabilities.values())))


distributions = st.integers(2, 6).flatmap(
    lambda n: st.lists(
        st.lists(st.floats(0, 1), min_size=n, max_size=n).filter(lambda r: sum(r) > 0.01),
        min_size=1,
        max_size=6,
    ).map(lambda rows: np.array(rows) / np.sum(rows, axis=1, keepdims=True))
)


# -- arithmetic ----------------------------------------------------------------------------------


def test_entropy_by_hand() -> None:
    assert entropy([0.5, 0.5]) == pytest.approx(LN2)
    assert entropy([[1, 0, 0], [0.5, 0.25, 0.25]]).tolist() == pytest.approx([0, 1.5 * LN2])
    assert normalised_entropy([[1, 0, 0, 0], [0.25] * 4]).tolist() == [0, 1]
    assert normalised_entropy([1.0]) == 0
    for odd in ([0.5, 0.6], [-0.5, 1.5], [math.nan, 1.0], []):
        with pytest.raises(InputError, match="probabilities must be 0 or more and sum to 1"):
            entropy(odd)


def test_a_decomposition_by_hand() -> None:
    apart = decompose([[1, 0], [0, 1]])
    assert (apart.total, apart.expected, apart.mutual_information) == pytest.approx((LN2, 0, LN2))
    flat = decompose([[0.5, 0.5], [0.5, 0.5]])
    assert (flat.total, flat.expected, flat.mutual_information) == pytest.approx((LN2, LN2, 0))
    # Mean (.7, .3); entropies of .9 and of .5.
    half = decompose([[0.9, 0.1], [0.5, 0.5]])
    h9 = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    h7 = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    assert half.expected == pytest.approx((h9 + LN2) / 2)
    assert half.total == pytest.approx(h7)
    # With three times the weight for the first the mean is (.75, .25).
    split = decompose([[1, 0], [0, 1]], [3, 1])
    assert split.total == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    for weights in ([1.0], [0, 0], [1, -1], [1, math.nan]):
        with pytest.raises(InputError, match="for 2 variants: give one for each"):
            decompose([[1, 0], [0, 1]], weights)


@given(distributions)
def test_a_decomposition_holds_together(p: npt.NDArray[np.float64]) -> None:
    d = decompose(p)
    assert d.mutual_information >= 0
    assert d.total == d.expected + d.mutual_information
    assert d.total <= math.log(p.shape[1]) + 1e-9
    assert d.mutual_information <= math.log(len(p)) + 1e-9
    assert decompose(p, np.full(len(p), 7.0)).total == pytest.approx(d.total)
    same = decompose(np.repeat(p[:1], 3, axis=0))
    assert same.mutual_information == pytest.approx(0, abs=1e-9)


def test_answers_are_aligned_over_what_any_of_them_weighed() -> None:
    p = aligned([answer(a=0.5, b=0.5), answer(c=0.2, b=0.2), (np.zeros(0, np.int32), np.zeros(0))])
    assert p.tolist() == [[0.5, 0.5, 0], [0, pytest.approx(0.5), pytest.approx(0.5)]]
    assert aligned([]).shape == (0, 0)


def test_consistency_by_hand() -> None:
    same, rest = [0, 1, 2], [3, 4, 5]
    assert consistency(np.array([same, same])) == (1, pytest.approx(1))
    assert consistency(np.array([same, rest])) == (0, 0)
    # Pairs: equal, disjoint, disjoint.
    jaccard, rbo = consistency(np.array([same, same, rest]))
    assert (jaccard, rbo) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert consistency(np.array([[0, 1], [1, 2]]))[0] == pytest.approx(1 / 3)
    assert consistency(np.array([same])) == (1, 1)


def test_one_answer_by_hand() -> None:
    found = single_pass(answer(a=0.25, b=0.5, c=0.25))
    assert found == {
        "entropy": pytest.approx(1.5 * LN2),
        "normalised_entropy": pytest.approx(1.5 * LN2 / math.log(3)),
        "max_probability": pytest.approx(0.5),
        "margin": pytest.approx(0.25),
        "mass": pytest.approx(1),
    }
    twenty = (np.arange(20, dtype=np.int32), np.full(20, -math.log(20)))
    assert single_pass(twenty)["mass"] == pytest.approx(0.5)
    assert single_pass((np.zeros(0, np.int32), np.zeros(0))) == {}
    assert certainties({}, [Spread("order", "x", 0, 0)])["mass"] == 0


@given(distributions)
def test_every_certainty_is_from_0_to_1(p: npt.NDArray[np.float64]) -> None:
    with np.errstate(divide="ignore"):
        answers = [(np.arange(p.shape[1], dtype=np.int32), np.log(row)) for row in p]
    made = [spread(s, "x", answers, 3) for s in ("clarifications", "paraphrases", "order")]
    found = certainties(single_pass(answers[0]), made)
    assert len(found) == len(SINGLE) + 15
    assert all(-1e-9 <= v <= 1 + 1e-9 for v in found.values())


def test_a_flatter_answer_is_less_certain() -> None:
    sharp, flat = single_pass(answer(a=0.8, b=0.1, c=0.1)), single_pass(answer(a=0.4, b=0.3, c=0.3))
    a, b = certainties(sharp), certainties(flat)
    assert all(a[name] > b[name] for name in SINGLE if name != "mass")
    assert (a["mass"], b["mass"]) == pytest.approx((1, 1))


# -- what the parts are called -------------------------------------------------------------------


def test_an_ambiguous_request_is_aleatoric() -> None:
    # Two things may be meant, and of each the model is certain.
    made = spread("clarifications", "x", [answer(a=1.0), answer(b=1.0)], 1)
    assert (made.aleatoric, made.epistemic) == pytest.approx((LN2, 0))
    assert reading(0.2, made) == "ambiguous"


def test_an_ignorant_model_is_epistemic() -> None:
    # However clear the request is made, the model finds all four as likely.
    flat = answer(a=0.25, b=0.25, c=0.25, d=0.25)
    made = spread("clarifications", "x", [flat, flat, flat], 1)
    assert (made.aleatoric, made.epistemic) == pytest.approx((0, 2 * LN2))
    assert reading(0.2, made) == "unknowing"


@pytest.mark.parametrize("source", ["paraphrases", "order"])
def test_a_model_that_words_sway_is_epistemic(source: str) -> None:
    swayed = spread(source, "x", [answer(a=1.0), answer(b=1.0)], 1)
    assert (swayed.aleatoric, swayed.epistemic) == pytest.approx((0, LN2))
    assert reading(0.2, swayed) == "unknowing"
    steady = spread(source, "x", [answer(a=0.5, b=0.5)] * 2, 1)
    assert (steady.aleatoric, steady.epistemic) == pytest.approx((LN2, 0))
    assert reading(0.2, steady) == "ambiguous"


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(1, 5))
def test_the_truth_of_a_two_step_world_is_found(share: float, known: float, k: int) -> None:
    """An intent is drawn, then a film of that intent's own: both entropies are known."""
    answers = [answer(a=known, b=1 - known), answer(c=known, d=1 - known)]
    made = spread("clarifications", "x", answers, k, [share, 1 - share])
    h = [-(q * math.log(q) + (1 - q) * math.log(1 - q)) for q in (share, known)]
    assert made.aleatoric == pytest.approx(h[0])  # of the intent
    assert made.epistemic == pytest.approx(h[1])  # of the film, the intent being known
    assert made.total == pytest.approx(h[0] + h[1])


def test_readings() -> None:
    wide = spread("clarifications", "x", [answer(a=0.5, b=0.5), answer(c=0.5, d=0.5)], 1)
    assert reading(0.5, wide) == "sure"
    assert reading(0.49, wide) == "ambiguous"
    assert reading(0.49, None) == "unsure"
    assert reading(0.49, spread("clarifications", "x", [answer(a=0.5, b=0.5)], 1)) == "unsure"
    assert "ambiguous request" in reading_text("ambiguous", "en", True)
    assert "model does not know" in reading_text("unknowing", "en", True)
    texts = {
        reading_text(kind, language, calibrated)
        for kind in ("sure", "ambiguous", "unknowing", "unsure")
        for language in LANGUAGES
        for calibrated in (True, False)
    }
    assert len(texts) == 15  # "sure" claims less where nothing was calibrated
    assert reading_text("sure", "pt", True) != reading_text("sure", "pt", False)


# -- ways of asking ------------------------------------------------------------------------------


def read(*turns: str | tuple[str, ...]) -> tuple[Conversation, Understood]:
    talk = said(*turns)
    return talk, rules().understand([talk])[0]


def flat_answer(films: Sequence[Item] = FILMS) -> tuple[Sequence[Item], list[float]]:
    return films, [1 / len(films)] * len(films)


@pytest.mark.parametrize("turn", ["Something good please", "Quero algo bom", "Quiero algo bueno"])
def test_clarifications_say_what_was_left_open(turn: str) -> None:
    talk, u = read(turn)
    made = clarifications(talk, u, *flat_answer(), 6)
    assert len(made) == 6
    # Three of the world's films are dramas of the 2000s, and three crime films of them.
    wanted = [v.understood.preferences for v in made if v.understood]
    assert {p.genres for p in wanted[:2]} == {("Drama",), ("Crime",)}
    assert {p.year_min for p in wanted[:2]} == {2000}
    assert [v.weight for v in made] == sorted((v.weight for v in made), reverse=True)
    for v in made:
        assert v.understood is not None
        assert v.conversation.messages[-1].content.startswith(turn)
        # What is said is what is executed.
        heard = rules().understand([v.conversation])[0].preferences
        assert heard.genres == v.understood.preferences.genres
        assert heard.year_min == v.understood.preferences.year_min
        assert heard.year_max == v.understood.preferences.year_max
        share = sum(
            set(heard.genres) <= set(f.genres) and (f.year or 0) // 10 * 10 == heard.year_min
            for f in FILMS
        )
        assert v.weight == pytest.approx(share / len(FILMS))


def test_what_was_said_is_not_open() -> None:
    talk, u = read("A drama, no crime")
    made = clarifications(talk, u, *flat_answer(), 8)
    assert {v.understood.preferences.genres for v in made if v.understood} == {("Drama",)}
    talk, u = read("no crime please")
    genres = {
        v.understood.preferences.genres
        for v in clarifications(talk, u, *flat_answer(), 20)
        if v.understood
    }
    assert ("Drama",) in genres
    assert ("Crime",) not in genres
    # Genre and years are settled: a person is left.
    talk, u = read("an action film from the 90s")
    made = clarifications(talk, u, *flat_answer(), 30)
    assert made[0].understood is not None
    assert made[0].understood.preferences.people in (
        ("Keanu Reeves",),
        ("Ridley Scott",),
        ("Ricardo Darín",),
    )
    assert all(v.understood and len(v.understood.preferences.people) == 1 for v in made)
    heard = rules().understand([made[0].conversation])[0].preferences
    assert heard.people == made[0].understood.preferences.people
    talk, u = read("an action film from the 90s with Keanu Reeves")
    assert clarifications(talk, u, *flat_answer(), 8) == []


def test_what_nearly_all_candidates_have_is_not_open() -> None:
    talk, u = read("something good")
    same = [BY_ID["nine-queens"], BY_ID["amelie"]]
    made = clarifications(talk, u, same, [0.95, 0.05], 8)
    assert {v.weight for v in made} == {0.05}
    assert clarifications(talk, u, [BY_ID["lost"]], [1.0], 8) == []


MESSAGES = (
    "I'm looking for a funny movie with Tom Hanks. I loved Toy Story! Nothing longer than 2 hours.",
    "Queria um filme engraçado dos anos 90. Adoro a Fernanda Montenegro. Talvez um drama?",
    "Busco una película graciosa. Me encantó Nueve reinas. Quizás con Ricardo Darín.",
)


@pytest.mark.parametrize("message", MESSAGES)
def test_paraphrases_say_the_same(message: str) -> None:
    talk, u = read(message)
    made = paraphrases(talk, u, 7, seed=0)
    texts = [v.conversation.messages[-1].content for v in made]
    assert len(set(texts)) == 7
    assert message not in texts
    assert [v.conversation for v in paraphrases(talk, u, 7, seed=0)] == [
        v.conversation for v in made
    ]
    assert [v.conversation for v in paraphrases(talk, u, 7, seed=1)] != [
        v.conversation for v in made
    ]
    before = u.preferences.to_dict()
    for v in made:
        assert v.understood is None  # to be understood anew
        heard = rules().understand([v.conversation])[0].preferences.to_dict()
        for known in (before, heard):
            known.pop("text", None)
        assert {k: set(x) if isinstance(x, list) else x for k, x in heard.items()} == {
            k: set(x) if isinstance(x, list) else x for k, x in before.items()
        }, v.conversation.messages[-1].content


def test_words_that_replace_each_other_are_read_alike() -> None:
    known = {fold(w): (t.kind, t.name) for t in terms() for w in t.words}
    for language, groups in SAME.items():
        words = [w for group in groups for w in group]
        assert len(words) == len(set(words)), language
        for group in groups:
            assert len({known.get(fold(w)) for w in group}) == 1, group


def test_names_stay_and_leaning_sentences_do_not_move() -> None:
    rng = np.random.default_rng(0)
    title = "Funny Movie"
    text = f"I saw {title} and it was a funny movie."
    seen = {reworded(text, "en", [(6, 6 + len(title))], rng, last=False) for _ in range(40)}
    assert all(title.lower() in t.lower() for t in seen)
    assert any("hilarious film" in t for t in seen)
    leaning = "I want a drama. But it must be short."
    told = [reworded(leaning, "en", [], rng, last=True).lower() for _ in range(40)]
    assert all(t.index("drama") < t.index("short") for t in told)
    free = "I want a drama. Keanu Reeves should star."
    told = [reworded(free, "en", [], rng, last=True).lower() for _ in range(40)]
    assert any(t.index("keanu") < t.index("drama") for t in told)
    assert (
        reworded("Alien", "en", [(0, 5)], np.random.default_rng(3), last=False).lower() == "alien"
    )


def test_orders_of_what_the_model_is_told() -> None:
    talk, u = read("I liked Alien, Speed and Coco")
    named = orders(talk, u, ZeroShot("brief"), True, (), 5, 0)
    likes = [v.understood.preferences.likes for v in named if v.understood]
    assert len(set(likes)) == len(likes) == 5
    assert u.preferences.likes not in likes
    assert {frozenset(own) for own in likes} == {frozenset(u.preferences.likes)}
    shots = FewShot((("a", ("Coco",)), ("b", ("Alien",))), "turns")
    swapped = orders(talk, u, shots, True, (), 5, 0)
    assert [v.strategy for v in swapped] == [FewShot(shots.shots[::-1], "turns")]
    listed = orders(talk, u, ZeroShot("full"), False, FILMS[:3], 9, 0)
    assert len({v.candidates for v in listed}) == 6
    assert listed[0].candidates == FILMS[:3]
    assert orders(talk, u, ZeroShot("full"), False, FILMS[:1], 9, 0) == []
    one, known = read("I liked Alien")
    assert orders(one, known, ZeroShot("full"), True, (), 5, 0) == []
    with pytest.raises(InputError, match="list nothing whose order could be changed"):
        orders(talk, u, ZeroShot("turns"), True, (), 5, 0)


def test_a_model_is_asked_and_read() -> None:
    talk = said("Something for tonight")
    asked = clarify_prompt(talk, 3, "pt")
    assert "3 different things" in asked[0].content
    assert "Brazilian Portuguese" in asked[0].content
    text = "Sure:\n1. I want a comedy.\n2) From the 90s\n- I want a comedy.\n* " + "x" * 300
    assert parse_clarifications(text, 5) == ["I want a comedy.", "From the 90s"]
    assert parse_clarifications(text, 1) == ["I want a comedy."]
    assert parse_clarifications("I cannot do that", 5) == []
    message = "Like Alien from 1979"
    assert paraphrase_prompt(message, 2, "en")[1].content == message
    text = "1. Similar to alien of 1979\n2. Like the monster film of 1979\n3. Like Alien from 1979"
    assert parse_paraphrases(text, message, 5, ["Alien", "1979"]) == ["Similar to alien of 1979"]


# -- the whole -----------------------------------------------------------------------------------


def test_a_recommender_says_whose_doubt_it_is() -> None:
    rec = recommender(profile=TURNS, ranker=lambda signals: np.zeros_like(signals["model"]))
    u = rec.uncertainty("An action film please", 1, methods=["clarifications"])
    # Two of three action films are from the 1990s, one is from the 2000s; all are as likely.
    assert u.total == pytest.approx(math.log(3))
    assert u.epistemic == pytest.approx(2 / 3 * LN2)
    assert u.aleatoric == pytest.approx(math.log(3) - 2 / 3 * LN2)
    assert u.sources[0].variants == 2
    assert u.kind == "ambiguous"
    assert u.reading.startswith("Mostly ambiguous request")
    pt = rec.uncertainty("Um filme de ação, por favor", 1, methods=["clarifications"])
    assert pt.reading.startswith("Sobretudo um pedido ambíguo")
    # Nothing is left to say about the one film of the 2000s.
    sure = rec.uncertainty("An action film from the 2000s", 1)
    assert (sure.kind, sure.confidence, sure.total) == ("sure", 1, 0)


def test_the_seed_decides_and_a_batch_changes_nothing() -> None:
    rec = recommender(ScriptedModel(seed=3), profile=TURNS)
    talks = [
        "I liked Alien. Something funny please.",
        "A drama with Ricardo Darín",
        "Quero algo bom",
    ]
    together = rec.uncertainty(talks, 3, variants=4)
    alone = [rec.uncertainty(t, 3, variants=4) for t in talks]
    for a, b in zip(together, alone, strict=True):
        assert measures_of(a) == pytest.approx(measures_of(b))
        assert (a.items, a.kind) == (b.items, b.kind)
    assert rec.uncertainty(talks, 3, variants=4) == together
    assert rec.uncertainty(talks, 3, variants=4, seed=1) != together
    shown = [[r.item.id for r in found] for found in rec.recommend(talks, 3)]
    assert [list(u.items) for u in together] == shown
    assert Uncertainty.from_dict(json.loads(json.dumps(together[0].to_dict()))) == together[0]


def test_all_variants_of_all_conversations_are_one_pass() -> None:
    passes: list[int] = []

    def answered(variants: Sequence[Variant]) -> list[Answered]:
        passes.append(len(variants))
        flat = np.full(len(FILMS), -math.log(len(FILMS)))
        rows = np.arange(len(FILMS), dtype=np.int32)
        known = rules().understand([v.conversation for v in variants])
        return [Answered(u, (rows, flat)) for u in known]

    ask = Ensemble(answered, catalog().items_at, ZeroShot("brief"), True)
    found = ask([said("I liked Alien and Speed"), said("something good")], 3, None, 4, 0)
    assert len(passes) == 2
    assert passes[0] == 2
    first, second = found
    assert passes[1] == 4 + 3 + 1 + 4 + 3 + 0  # clarifications, paraphrases, orders
    assert [s.variants for s in first.sources] == [4, 4, 2]
    assert [s.varied for s in first.sources][2] == "films named"
    assert second.sources[2].variants == 1
    # Flat whatever is asked: nothing of it is the request's.
    assert first.aleatoric == pytest.approx(0)
    assert first.epistemic == pytest.approx(math.log(14))
    assert first.consistency == pytest.approx(1)
    assert first.sources[0].varied == "what was left open, by rules"


def test_nothing_varied_is_nothing_split() -> None:
    u = recommender(profile=TURNS).uncertainty("a drama", methods=["logits"])
    assert (u.aleatoric, u.epistemic, u.consistency, u.sources) == (None, None, None, ())
    assert u.total == u.single["entropy"] > 0
    assert not u.calibrated
    assert u.kind in ("sure", "unsure")


def test_nothing_recommended_is_nothing_sure() -> None:
    films = [f.id for f in FILMS]
    talk = Conversation((Message("user", "something good"),), seen=tuple(films))
    rec = recommender(profile=TURNS, confidence=fitted())
    u = rec.uncertainty(talk)
    assert (rec.chat(talk).confidence, rec.chat(talk).calibrated) == (0, False)
    assert u.items == ()
    assert u.confidence == 0
    assert u.total == 0
    assert set(measures_of(u).values()) == {0.0}


def test_what_cannot_be_asked_is_refused() -> None:
    rec = recommender(profile=TURNS)
    with pytest.raises(InputError, match="methods has 'magic': use logits, clarifications"):
        rec.uncertainty("a drama", methods=["magic"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="leave 'order' out of methods"):
        rec.uncertainty("a drama", methods=["order"])
    assert [s.source for s in rec.uncertainty("a drama").sources] == [
        "clarifications",
        "paraphrases",
    ]
    for variants in (0, 65, True):
        with pytest.raises(InputError, match=f"variants is {variants!r}: use 1 to 64"):
            rec.uncertainty("a drama", variants=variants)
    with pytest.raises(InputError, match="the message is empty"):
        rec.uncertainty(" ")


def test_few_shot_orders_change_the_prompt() -> None:
    shots = FewShot((("anything", ("Coco",)), ("whatever", ("Alien",))), "turns")

    def last_shot(text: str) -> Mapping[str, float]:
        return {"Speed": 1.0} if text.index("Coco") < text.index("Alien") else {"Gladiator": 1.0}

    rec = recommender(
        ScriptedModel(likes=last_shot),
        strategy=shots,
        profile=Profile("rules-only", "turns", False, 50.0),
    )
    u = rec.uncertainty("An action film", 1, methods=["order"])
    (source,) = u.sources
    assert (source.varied, source.variants, source.jaccard) == ("few-shot examples", 2, 0)
    assert source.epistemic == pytest.approx(LN2, abs=0.01)  # an order that should not matter does
    assert u.consistency == 0


def test_candidates_are_listed_where_a_list_is_written() -> None:
    def reply(messages: Sequence[Message]) -> str:
        # Whatever is listed first is recommended first.
        told = "\n".join(m.content for m in messages)
        listed = told.partition("Choose only from these films:\n")[2].splitlines()
        return f"1. {listed[0]}\n2. Speed" if listed else "1. Gladiator\n2. Speed\n3. The Matrix"

    rec = recommender(
        ScriptedModel(reply), grounding="match", profile=Profile("rules-only", "full", False)
    )
    u = rec.uncertainty("An action film", 1, methods=["order"], variants=6)
    assert u.sources[0].varied == "candidates listed"
    assert u.sources[0].variants == 6
    assert u.sources[0].jaccard < 1
    assert u.items == ("gladiator",)


def test_a_model_that_writes_makes_the_variants() -> None:
    def reply(messages: Sequence[Message]) -> str:
        if "different things" in messages[0].content:
            return "1. I want a comedy.\n2. I want an old horror film."
        if "other ways" in messages[0].content:
            return "1. A good one, please"
        return "?"

    model = ScriptedModel(reply)
    u = recommender(model, profile=WRITER).uncertainty(
        "Something good", 2, methods=["clarifications", "paraphrases"], variants=3
    )
    clearer, reworded_ = u.sources
    assert (clearer.varied, clearer.variants) == ("what was left open, by the model", 2)
    assert clearer.jaccard == 0  # comedies and horror films
    assert reworded_.variants == 3  # the plain one, the model's, and one by rule
    asked = [c.messages[0].content for c in model.calls]
    assert sum("different things" in a for a in asked) == sum("other ways" in a for a in asked) == 1
    silent = recommender(ScriptedModel("I would rather not."), profile=WRITER)
    u = silent.uncertainty("Something good", 2, methods=["clarifications"], variants=3)
    assert (u.sources[0].varied, u.sources[0].variants) == ("what was left open, by rules", 3)


# -- confidence ----------------------------------------------------------------------------------


def fitted(**of: Any) -> Confidence:
    rec = recommender(profile=TURNS)
    of = {**rec.measured_as, "variants": 4, **of}
    mass = Fit(
        "mass", {1: Calibrator(1.0, -2.0), 5: Calibrator(1.0, 0.0), 10: Calibrator(1.0, -1.0)}
    )
    return Confidence(mass, Fit("paraphrases.rbo", {5: Calibrator(0.0, 2.0)}), of)


def test_a_fit_is_read_between_its_lengths() -> None:
    fit = fitted().reply
    at = [fit({"mass": 0.5}, k) for k in (1, 3, 5, 10, 100)]
    one, five = 1 / (1 + math.exp(2)), 0.5
    assert at == pytest.approx([one, (one + five) / 2, five, five, five])  # never falls with k
    assert fit({"mass": 0.9}, 5) == pytest.approx(0.9)
    assert log_odds([0, 0.5, 1]).tolist() == pytest.approx([-6.90675, 0, 6.90675], abs=1e-4)


def test_the_confidence_of_a_reply_is_calibrated() -> None:
    plain = recommender(profile=TURNS)
    rec = recommender(profile=TURNS, confidence=fitted())
    reply, as_before = rec.chat("a drama", 5), plain.chat("a drama", 5)
    assert not as_before.calibrated
    assert reply.calibrated
    assert reply.recommendations == as_before.recommendations
    mass = plain.uncertainty("a drama", 5, methods=["logits"]).single["mass"]
    assert reply.confidence == pytest.approx(fitted().reply({"mass": mass}, 5))
    # One answer says the same wherever it is asked; with what was measured, the ensemble decides.
    u = rec.uncertainty("a drama", 5, methods=["paraphrases"], variants=4)
    assert u.calibrated
    assert u.confidence == pytest.approx(1 / (1 + math.exp(-2)))
    other = rec.uncertainty("a drama", 5, methods=["paraphrases"], variants=3)
    assert other.confidence == pytest.approx(reply.confidence)
    last = [e.reply for e in rec.stream("a drama", 5)][-1]
    assert last is not None
    assert last.calibrated
    assert last.confidence == reply.confidence


def test_a_confidence_is_for_what_was_measured() -> None:
    with pytest.raises(InputError, match="its catalog was 'x' and is"):
        recommender(profile=TURNS, confidence=fitted(catalog="x"))
    other = Profile("rules-only", "turns", False, 3.0)
    with pytest.raises(InputError, match="its ranker was 'LinearRanker"):
        recommender(profile=other, confidence=fitted())


def test_a_confidence_file(tmp_path: Path) -> None:
    file = tmp_path / FILE
    assert Confidence.beside(tmp_path) is None
    fitted().write(file)
    assert Confidence.read(file) == Confidence.beside(tmp_path / "none", tmp_path) == fitted()
    for text in ("{", "[]", '{"version": 9}', '{"version": 1, "reply": {}}'):
        file.write_text(text)
        with pytest.raises(InputError, match="is no confidence that can be read"):
            Confidence.read(file)


def test_a_model_folder_brings_its_confidence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.folder(tmp_path)
    (tmp_path / "llmrec.json").write_text(
        '{"lead": "rules-only", "detail": "turns", "writes": false}'
    )
    fitted().write(tmp_path / FILE)
    rec = Recommender.from_pretrained(tmp_path, catalog=catalog())
    assert rec.confidence == fitted()
    assert rec.chat("a drama", 2).calibrated
    fitted(catalog="another").write(tmp_path / FILE)
    with caplog.at_level(logging.INFO, "llmrec.recommender"):
        rec = Recommender.from_pretrained(tmp_path, catalog=catalog())
    assert rec.confidence is None
    assert "stays uncalibrated" in caplog.text
    assert not rec.chat("a drama", 2).calibrated


# -- judging -------------------------------------------------------------------------------------


def cases(n: int, seed: int, *, ensemble: bool = False) -> list[Case]:
    """Examples whose mass, squared, is how likely they are right; the other measures know nothing.

    With ``ensemble``, agreement over orders knows it instead.
    """
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        truth, noise = rng.uniform(0.05, 0.95, 2)
        known = {name: float(rng.uniform()) for name in SINGLE}
        known |= {"mass": noise if ensemble else truth, "order.rbo": truth if ensemble else noise}
        right = bool(rng.uniform() < truth**2)
        hits = {1: right and bool(rng.uniform() < 0.5), 10: right}
        out.append(Case(f"d{i // 2}", known, hits, truth if right else 0.0))
    return out


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(spearman([1, 1], [1, 2]))


def test_the_judge_finds_what_is_worth_something() -> None:
    made = cases(400, 0)
    judged = judge(made, {"data": "made"}, samples=200)
    f = judged.figures
    assert f["best"] == f["best_reply"] == "mass"
    hit = [c.hits[10] for c in made]
    mass = f["measures"]["mass"]
    assert mass["auroc"]["value"] == auroc([c.certainties["mass"] for c in made], hit)
    assert 0.7 < mass["auroc"]["low"] < mass["auroc"]["value"] < mass["auroc"]["high"] < 1
    assert f["held_out_auroc"]["low"] > 0.5
    assert f["calibrated"]
    for name in ("margin", "order.rbo"):
        useless = f["measures"][name]["auroc"]
        assert useless["low"] < 0.5 < useless["high"]
    assert mass["held_out"]["ece"] < mass["ece"]
    assert mass["held_out"]["brier"] < mass["brier"]
    assert mass["held_out"]["brier"] < f["base_rate"]["brier"]
    assert f["n"] == 400
    assert f["dialogues"] == 200
    assert judged.confidence.of["data"] == "made"
    again = cases(400, 1)  # new examples of the same kind
    sure = [judged.confidence(c.certainties, 10) for c in again]
    assert ece(sure, [c.hits[10] for c in again]) < 0.08
    assert judged.confidence(again[0].certainties, 1) < sure[0]


def test_what_points_the_wrong_way_is_turned_around() -> None:
    made = cases(400, 0)
    for c in made:
        c.certainties["mass"] = 1 - c.certainties["mass"]  # type: ignore[index]
    judged = judge(made, {}, samples=100)
    assert judged.figures["best"] == "mass"
    assert judged.figures["measures"]["mass"]["auroc"]["high"] < 0.5
    assert judged.figures["held_out_auroc"]["low"] > 0.5  # of the calibrated confidence
    assert "It points the wrong way" in verdict(judged.figures)
    sure = {**dict.fromkeys(SINGLE, 0.5), "mass": 0.9}
    assert judged.confidence(sure, 10) < judged.confidence({**sure, "mass": 0.1}, 10)


def test_an_ensemble_has_to_be_surely_better() -> None:
    judged = judge(cases(400, 0, ensemble=True), {"variants": 4}, samples=200)
    assert judged.figures["best"] == "order.rbo" != judged.figures["best_reply"]
    c = judged.confidence
    known = {**dict.fromkeys(SINGLE, 0.5), "order.rbo": 0.9}
    assert c(known, 10, 4) != c(known, 10) == c(known, 10, 8)


def test_what_is_worth_nothing_is_said_to_be() -> None:
    rng = np.random.default_rng(5)
    made = [
        Case(f"d{i}", {n: float(rng.uniform()) for n in SINGLE}, {10: bool(rng.uniform() < 0.2)}, 0)
        for i in range(200)
    ]
    judged = judge(made, {}, samples=100)
    found = judged.figures["held_out_auroc"]
    assert found["low"] < 0.5 < found["high"]
    assert not judged.figures["calibrated"]
    assert "is not shown to be better than chance" in verdict(judged.figures)
    assert "so `confidence.json` says the base rate" in verdict(judged.figures)
    rate = np.mean([c.hits[10] for c in made])
    for c in made[:5]:
        assert judged.confidence(c.certainties, 10) == pytest.approx(rate)


def test_too_little_to_judge() -> None:
    for made in ([], cases(6, 0)):
        with pytest.raises(InputError, match="raise --limit"):
            judge(made, {})


# -- the script ----------------------------------------------------------------------------------


def written(folder: Path, n: int = 20) -> Path:
    """Data of the world: what is asked is answered well half of the time."""
    asks = ("a drama", "something funny", "an action film", "I liked Alien", "algo bom")
    folder.mkdir()
    rows = []
    for i in range(n):
        row: dict[str, Any] = {
            "id": f"e{i}",
            "dialogue": f"d{i}",
            "conversation": {"messages": [{"role": "user", "content": asks[i % 5]}]},
            "relevant": ["matrix", "speed", "coco"] if i % 2 else ["lost"],
        }
        rows.append(row)
    first = {"id": "cold", "conversation": {"messages": []}, "relevant": ["coco"]}
    known = {"role": "user", "content": "Coco", "items": ["coco"]}
    old = {"id": "old", "conversation": {"messages": [known]}, "relevant": ["coco"]}
    lines = "\n".join(json.dumps(r) for r in [*rows, first, old])
    (folder / "validation.jsonl").write_text(lines + "\n")
    return folder


def flags(tmp_path: Path, out: str, *more: str) -> list[str]:
    where = ("--data", str(tmp_path / "data"), "--catalog", str(tmp_path / "world.lance"))
    small = ("--variants", "2", "--samples", "50", "--batch-size", "6", "--threads", "1")
    return [*where, *small, "--out", str(tmp_path / out), *more]


def test_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "data")
    catalog().save(tmp_path / "world.lance")
    assert main(flags(tmp_path, "whole")) == 0
    assert "What one half of the dialogues chooses" in capsys.readouterr().out
    out = tmp_path / "whole"
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"e{i}" for i in range(20)]
    figures = json.loads((out / "uncertainty.json").read_text())
    assert figures["n"] == 20
    assert set(SINGLE) < set(figures["measures"])
    assert figures["left_out"] == {"no new target": 1, "the user has said nothing yet": 1}
    report = (out / "report.md").read_text()
    assert "| entropy |" in report
    assert "AUROC of hit@10" in report
    found = Confidence.read(out / FILE)
    rec = Recommender.from_pretrained(catalog=catalog(), grounding="constrained")
    assert found.misfit(rec.measured_as) == ""
    # Kill it in the middle of a line, and go on.
    whole = (out / "answers.jsonl").read_bytes()
    part = tmp_path / "part"
    part.mkdir()
    (part / "run.json").write_bytes((out / "run.json").read_bytes())
    (part / "answers.jsonl").write_bytes(whole[: len(whole) // 2])
    assert main(flags(tmp_path, "part")) == 0
    again = [json.loads(line) for line in (part / "answers.jsonl").read_text().splitlines()]
    assert [a["id"] for a in again] == [a["id"] for a in lines]
    for a, b in zip(again, lines, strict=True):
        assert a["items"] == b["items"]
        assert a["certainties"] == pytest.approx(b["certainties"], abs=1e-4)
    capsys.readouterr()
    assert main(flags(tmp_path, "part", "--seed", "1")) == 1
    assert "another run: its seed was 0 and is 1: choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize("biased", [False, True])
def test_the_order_of_a_list_sways_who_chooses_by_it(
    biased: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY, raising=False)

    def reply(request: Request) -> str:
        lines = [x for x in request.body["messages"][0]["content"].splitlines() if x[:1] == "["]
        if not lines:  # it is asked what was said
            return "I do not know."
        order = range(len(lines))
        by_title = sorted(order, key=lambda n: lines[n].partition("] ")[2])
        return json.dumps({"chosen": [str(n + 1) for n in (order if biased else by_title)[:10]]})

    written(tmp_path / "data")
    catalog().save(tmp_path / "world.lance")
    with serving() as server:
        server.reply = reply
        more = ("--model", server.url, "--methods", "order", "--variants", "3")
        assert main(flags(tmp_path, "out", *more)) == 0
    out = tmp_path / "out"
    assert json.loads((out / "run.json").read_text())["grounding"] == "choose"
    lines = [json.loads(x) for x in (out / "answers.jsonl").read_text().splitlines()]
    overlap = [line["certainties"]["order.rbo"] for line in lines]
    assert len(overlap) == 20
    if biased:
        assert np.mean(overlap) < 0.95
    else:
        assert overlap == pytest.approx([1.0] * 20)


def test_what_the_script_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, said_ in (
        (["--server-model", "x"], "'embedded' is no server: give its URL as the model"),
        (["--methods", "magic"], "methods has 'magic': use logits, clarifications"),
        (["--variants", "0"], "variants is 0: give 1 or more"),
        ([], "there is no catalogue at"),
    ):
        assert main([*flags(tmp_path, "out"), *more]) == 1
        assert said_ in capsys.readouterr().err


def test_a_torn_line_is_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    with Answers(file) as answers:
        answers.add({"id": "é", "kind": "sure"})
        answers.add({"id": "b"})
    whole = file.read_bytes()
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        with Answers(file) as answers:
            kept = whole[:cut].count(b"\n")
            assert len(answers.lines) == kept
            for line in ({"id": "é", "kind": "sure"}, {"id": "b"})[kept:]:
                answers.add(line)
        assert file.read_bytes() == whole
