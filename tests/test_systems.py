"""What systems say: baselines by hand, rankings, written lists, votes, and that nothing leaks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import evaluated
import numpy as np
import pytest
import tiny
import world

from llmrec.decoding import rank_titles, title_trie
from llmrec.errors import InputError
from llmrec.evaluation.baselines import Baseline, Mentions
from llmrec.evaluation.predictions import Prediction
from llmrec.evaluation.shots import choose_shots, few_shot
from llmrec.evaluation.systems import (
    ChoosingSystem,
    MatchSystem,
    ModelSystem,
    RecommenderSystem,
    SamplingSystem,
    fitting_shots,
    listed,
)
from llmrec.models import LocalModel
from llmrec.models.endpoint import Usage
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.preferences import language_of
from llmrec.prompting import FewShot, recommend_prompt
from llmrec.recommender import Recommender
from llmrec.types import Conversation, Example, Message, Preferences

TURNS = Profile(lead="rules-only", detail="turns", writes=False)


def case(*relevant: str, named: Sequence[str] = (), name: str = "1:1") -> Example:
    talk = Conversation((Message("user", "something good", tuple(named)),))
    return Example(talk, relevant, id=name, dialogue=name.partition(":")[0])


@cache
def local() -> LocalModel:
    model = LocalModel(tiny.network("llama"), tiny.tokenizer(), profile=TURNS)
    assert model.runner.mode == "tree"
    return model


class Scripted(ScriptedModel):
    """A scripted model with a profile."""

    profile = TURNS


# -- baselines --------------------------------------------------------------------------------

# Three training dialogues: {a, b}, {a, b, c}, {c, d}; e is never mentioned.
TRAINING = [
    case("b", named=["a"], name="1:1"),
    case("b", named=["a"], name="2:1"),
    case("c", named=["a", "b", "unknown"], name="2:3"),
    case("d", named=["c"], name="3:1"),
]
MENTIONS = Mentions(TRAINING, ["e", "d", "c", "b", "a"])


def said(name: str, *named: str, depth: int = 5) -> Prediction:
    (made,) = Baseline(name, MENTIONS, depth=depth).predictions([case("d", named=named)])
    return made


def test_mentions_are_counted_by_dialogue() -> None:
    assert MENTIONS.dialogues == 3
    assert MENTIONS.counts.tolist() == [0, 1, 2, 2, 2]
    together = MENTIONS.together(MENTIONS.row_of["a"])
    assert together == pytest.approx([0, 0, 1 / 2, 1, 0])  # c: 1 of sqrt(2 * 2), b: 2 of 2
    assert MENTIONS.together(MENTIONS.row_of["d"]) == pytest.approx([0, 0, 1 / 2**0.5, 0, 0])
    assert MENTIONS.together(MENTIONS.row_of["e"]) == pytest.approx(np.zeros(5))
    assert Mentions([], ["a"]).counts.tolist() == [0]


def test_popularity_repeat_last_and_co_occurrence_by_hand() -> None:
    assert said("popularity").items == ("c", "b", "a", "d", "e")  # equal counts by row
    assert said("popularity").scores == (2, 2, 2, 1, 0)
    assert said("repeat-last", "a", "d", "unknown").items == ("d", "a", "c", "b", "e")
    assert said("repeat-last", "a", "d", "a").items[:2] == ("a", "d")  # a was named last
    together = said("co-occurrence", "a", "d")
    assert together.items == ("c", "b", "a", "d", "e")
    assert together.scores == (round(1 / 2 + 1 / 2**0.5, 6), 1, 0, 0, 0)
    assert said("co-occurrence").items == said("popularity").items  # where nothing is known
    assert said("co-occurrence", "e").items == said("popularity").items


def test_a_list_is_deep_enough_once_the_mentioned_ones_are_taken_out() -> None:
    made = said("popularity", "c", "a", depth=2)
    assert [i for i in made.items if i not in made.mentioned] == ["b", "d"]
    assert (made.turn, made.language, made.tokens, made.dialogue) == (1, "en", 0, "1")


def test_chance_is_of_the_example_and_the_seed() -> None:
    cases = [case("a", name=str(n)) for n in range(300)]
    both = Baseline("random", MENTIONS, depth=5).predictions(cases)
    assert [p.items for p in Baseline("random", MENTIONS, depth=5).predictions(cases[7:9])] == [
        p.items for p in both[7:9]
    ]
    other = Baseline("random", MENTIONS, depth=5, seed=1).predictions(cases)
    assert [p.items for p in other] != [p.items for p in both]
    first = np.array([p.items[0] for p in both])
    for item in MENTIONS.ids:
        assert 35 <= (first == item).sum() <= 90  # 60 of 300
    assert all(sorted(p.items) == sorted(MENTIONS.ids) for p in both)
    with pytest.raises(InputError, match="baseline is 'best': use random, popularity"):
        Baseline("best", MENTIONS, depth=5)


def test_the_language_is_that_of_the_user() -> None:
    talk = Conversation((Message("user", "Quero um filme de ação, por favor"),))
    assert language_of(talk) == "pt"
    assert language_of(dataclasses.replace(talk, language="es")) == "es"
    assert language_of(Conversation()) == "en"


# -- the model's own ranking ------------------------------------------------------------------


def test_the_model_ranks_everything_and_deep_enough() -> None:
    likes = {"Coco": 0.5, "Alien": 0.3, "Speed": 0.15, "Gladiator": 0.05}
    system = ModelSystem("x", Scripted(likes=likes), world.catalog(), depth=2)
    one, two = system.predictions([case("speed", named=["coco", "nowhere"]), case("alien")])
    assert one.items[:3] == ("coco", "alien", "speed")
    assert one.mentioned == ("coco", "nowhere")
    assert two.items == ("coco", "alien")
    assert np.exp(two.scores) == pytest.approx([0.5, 0.3], abs=1e-3)
    assert list(two.scores) == sorted(two.scores, reverse=True)


def test_the_ranking_is_the_exact_one_of_the_model() -> None:
    cases = [e for n in range(3) for e in evaluated.talk(n)]
    catalog = world.catalog()
    made = ModelSystem("x", local(), catalog, depth=4).predictions(cases)
    rec = Recommender(local(), catalog, profile=TURNS)
    trie = title_trie(local(), catalog.labels)
    for e, p in zip(cases, made, strict=True):
        (right,) = rank_titles(local(), [rec.prompt_ids(e.conversation)], trie, len(p.items))
        assert p.items == tuple(catalog.ids[r] for r in right.rows)
        assert p.scores == pytest.approx(right.logprobs, abs=1e-3)
        assert len([i for i in p.items if i not in p.mentioned]) >= 4


def without_seconds(made: Sequence[Prediction]) -> list[Prediction]:
    return [dataclasses.replace(p, seconds=0.0) for p in made]


def test_what_was_asked_before_changes_nothing_to_the_last_bit() -> None:
    cases = [e for n in range(4) for e in evaluated.talk(n)]
    for system in (
        ModelSystem("x", local(), world.catalog(), depth=4),
        RecommenderSystem("x", local(), world.catalog(), depth=4),
        MatchSystem("x", local(), world.catalog(), length=2),
    ):
        first = system.predictions(cases[4:8])
        for other in (cases[:4], cases[5:6], cases[8:]):
            system.predictions(other)
        assert without_seconds(system.predictions(cases[4:8])) == without_seconds(first)


def test_a_model_that_forgets_says_the_same_to_the_last_bit() -> None:
    model = LocalModel(tiny.network("llama"), tiny.tokenizer(), profile=TURNS)
    rec = Recommender(model, world.catalog(), profile=TURNS)
    prompts = [rec.prompt_ids(e.conversation) for n in range(4) for e in evaluated.talk(n)]
    shared = prompts[0][:9]
    assert all(p[:9] == shared for p in prompts)
    assert model.runner.mode == "tree"
    model.forget(shared)
    right = model.prefill_many(prompts[4:8]).logprobs
    for others in (prompts[:4], prompts[5:6], prompts[6:9]):
        model.prefill_many(others)
        model.generate([[Message("user", "hi")]], max_new_tokens=3)
        before = model.fed
        model.forget(shared)
        assert model.fed == before
        assert np.array_equal(model.prefill_many(prompts[4:8]).logprobs, right)
    model.forget()
    plain = LocalModel(model.model, model.tokenizer, prefix_cache_mb=0, mode="tree")
    assert right == pytest.approx(plain.prefill_many(prompts[4:8]).logprobs, abs=1e-4)


def test_tokens_are_those_that_the_model_was_fed() -> None:
    cases = [e for n in range(2) for e in evaluated.talk(n)]
    system = ModelSystem("x", local(), world.catalog(), depth=4)
    before = local().fed
    made = system.predictions(cases)
    assert sum(p.tokens for p in made) == local().fed - before > 0
    assert max(p.tokens for p in made) - min(p.tokens for p in made) <= 1


# -- few-shot ---------------------------------------------------------------------------------


def test_shots_are_of_other_dialogues_and_other_users() -> None:
    evaluation = [*evaluated.talk(0), *evaluated.talk(1)]
    training = [
        *evaluated.talk(0),  # an evaluated dialogue
        *evaluated.talk(7, user="u1"),  # another dialogue of an evaluated user
        *(e for n in range(100, 106) for e in evaluated.talk(n)),
    ]
    for seed in range(20):
        chosen = choose_shots(training, evaluation, 4, seed=seed)
        assert len({e.dialogue for e in chosen}) == 4
        assert {e.dialogue for e in chosen} <= {f"d{n}" for n in range(100, 106)}
    assert choose_shots(training, evaluation, 3) == choose_shots(training, evaluation, 3)
    assert choose_shots(training, evaluation, 3) != choose_shots(training, evaluation, 3, seed=1)
    with pytest.raises(InputError, match="shots is 7 and 6 training dialogues are left"):
        choose_shots(training, evaluation, 7)


def test_shots_read_as_requests_and_answers() -> None:
    rec = Recommender(ScriptedModel(), world.catalog(), profile=TURNS)
    shown = few_shot(rec, [case("coco", "alien", named=["alien"])], "turns")
    assert shown == FewShot((("something good", ("Coco",)),), "turns")
    brief = Profile(lead="rules-only", detail="brief", writes=False)
    rec = Recommender(ScriptedModel(), world.catalog(), profile=brief)
    comedy = Example(Conversation((Message("user", "A comedy, please"),)), ("coco",))
    assert few_shot(rec, [comedy], "brief").shots == (("genres: Comedy", ("Coco",)),)


@pytest.mark.parametrize("detail", ["full", "brief", "turns"])
def test_few_shot_prompts_all_begin_with_the_shots(detail: str) -> None:
    shown = FewShot((("something sad", ("Coco",)), ("a thriller", ("Speed",))), detail)  # type: ignore[arg-type]
    prompts = [
        recommend_prompt(
            Conversation((Message("user", said),)),
            Preferences(genres=genres),
            {},
            strategy=shown,
        )
        for said, genres in (("a comedy", ("Comedy",)), ("hello", ()))
    ]
    assert prompts[0][:5] == prompts[1][:5]
    assert len(prompts[0]) == 6
    assert "Comedy" in prompts[0][-1].content or detail == "turns"
    assert "a comedy" in prompts[0][-1].content or detail == "brief"


def test_the_shots_are_run_once_for_all_batches() -> None:
    shots = tuple((f"I liked {t}, what next", ("Heat", "Alien")) for t in ("Her", "Coco", "Heat"))
    cases = [e for n in range(4) for e in evaluated.talk(n, 1)]
    fed = {}
    for name, own in (("with", shots), ("without", ())):
        model = LocalModel(tiny.network("llama"), tiny.tokenizer(), profile=TURNS)
        assert model.runner.mode == "tree"
        before = model.fed
        system = ModelSystem("x", model, world.catalog(), depth=3, strategy=FewShot(own, "turns"))
        shared = system.about["shared_tokens"]
        assert system.about["shared_tokens_fed"] == shared == model.fed - before
        fed[name] = (shared, [sum(p.tokens for p in system.predictions([e])) for e in cases])
        rec = Recommender(model, world.catalog(), strategy=FewShot(own, "turns"), profile=TURNS)
        for e, tokens in zip(cases, fed[name][1], strict=True):
            prompt = rec.prompt_ids(e.conversation)
            (alone,) = rank_titles(
                model, [prompt], title_trie(model, world.catalog().labels), 3 + 1
            )
            # What is behind the shots, and the search: the shots themselves no more.
            assert tokens == len(prompt) - shared + alone.tokens
    assert fed["with"][0] > 60 + fed["without"][0]
    assert sum(fed["with"][1]) < 1.5 * sum(fed["without"][1])


def test_shots_that_do_not_fit_are_dropped_from_the_front() -> None:
    shots = tuple((f"number {n} " * 12, ("Heat",)) for n in range(8))
    kept = fitting_shots(local(), FewShot(shots, "turns")).shots
    assert 0 < len(kept) < 8
    assert kept == shots[-len(kept) :]
    assert fitting_shots(ScriptedModel(), FewShot(shots)).shots == shots
    assert fitting_shots(local(), FewShot((("word " * 999, ("Heat",)),))).shots == ()


# -- lists that the model writes --------------------------------------------------------------

LIST = "1. Coco\n2. Alien\n3. Coco\n4. Velocidade Máxima\n5. Gladiatr\n6. Matrix (1999)\n7. Nope"


def test_a_written_list_is_matched_and_counted() -> None:
    system = MatchSystem("x", Scripted(LIST), world.catalog(), length=10)
    (made,) = system.predictions([case("speed")])
    assert made.items == ("coco", "alien", "speed", "gladiator", "matrix")
    assert made.tiers == {"alternative": 1, "exact": 2, "fuzzy": 1, "title_year": 1}
    assert (made.outside, made.duplicates, made.text) == (1, 1, LIST)
    short = MatchSystem("x", Scripted(LIST), world.catalog(), length=2)
    assert short.predictions([case("speed")])[0].items == ("coco", "alien")
    two = MatchSystem("x", Scripted("1. Matrix\n2. The Matrix"), world.catalog())
    (made,) = two.predictions([case("speed")])
    assert (made.items, made.duplicates, sum(made.tiers.values())) == (("matrix",), 1, 1)
    (made,) = MatchSystem("x", Scripted(""), world.catalog()).predictions([case("speed")])
    assert (made.items, made.tiers, made.outside) == ((), {}, 0)


def test_titles_written_again_are_counted() -> None:
    assert listed("1. Heat\n2. Her\n3. Heat\n- Heat") == ["Heat", "Her", "Heat", "Heat"]
    assert listed("Here you are:\n1. Heat\n2. Her") == ["Heat", "Her"]
    assert listed("") == []
    system = MatchSystem(
        "x", Scripted("1. Nope\n2. Coco\n3. Nope\n4. Coco\n5. Coco"), world.catalog(), length=4
    )
    (made,) = system.predictions([case("speed")])
    assert (made.items, made.outside, made.duplicates) == (("coco",), 1, 2)


def test_votes_then_mean_rank() -> None:
    lists = ["1. Coco\n2. Alien", "1. Alien\n2. Speed", "1. Speed\n2. Alien", "1. Coco\n2. Nope"]
    system = SamplingSystem("x", Scripted(lists), world.catalog(), lists=4)
    (made,) = system.predictions([case("speed")])
    # Alien in three lists; Coco (mean rank 1) and Speed (1.5) in two.
    assert made.items == ("alien", "coco", "speed")
    assert made.scores == (0.75, 0.5, 0.5)
    assert (made.outside, made.tiers) == (1, {"exact": 7})


def test_sampled_lists_do_not_depend_on_the_batch_but_on_seed_and_example() -> None:
    cases = [e for n in range(3) for e in evaluated.talk(n, 2)]

    def system(seed: int = 0, temperature: float = 1.0) -> SamplingSystem:
        return SamplingSystem(
            "x", local(), world.catalog(), lists=3, length=1, temperature=temperature, seed=seed
        )

    together = system().predictions(cases)
    alone = [p for e in reversed(cases) for p in system().predictions([e])]
    assert without_seconds(alone[::-1]) == without_seconds(together)
    assert len({p.text for p in together}) == len(cases)
    assert system(seed=1).predictions(cases[:1])[0].text != together[0].text
    renamed = dataclasses.replace(cases[0], id="another")
    assert system().predictions([renamed])[0].text != together[0].text
    texts = (together[0].text or "").split("\n\n")
    assert len(set(texts)) > 1


def test_a_server_writes_lists_too() -> None:
    class Served:
        """All that is asked of a server, and what it counts."""

        name = "served"
        profile = TURNS

        def __init__(self) -> None:
            self.usage = Usage()

        def generate(self, prompts: Sequence[Any], **_: Any) -> list[str]:
            used = self.usage
            self.usage = Usage(used.prompt_tokens + 10, used.completion_tokens + 5)
            return ["1. Coco\n2. Alien"] * len(prompts)

        def stream(self, prompt: Any, **_: Any) -> Any:
            raise AssertionError("nobody asked for a stream")

    shown = FewShot((("something sad", ("Coco",)),), "turns")
    cases = [case("coco"), case("speed", named=["coco"])]
    made = MatchSystem("x", Served(), world.catalog(), strategy=shown).predictions(cases)
    assert [p.items for p in made] == [("coco", "alien")] * 2
    assert [p.tokens for p in made] == [8, 7]
    (one,) = SamplingSystem("x", Served(), world.catalog(), lists=3).predictions(cases[:1])
    assert (one.scores, one.tokens) == ((1.0, 1.0), 15)
    assert fitting_shots(Served(), shown) == shown


def test_a_long_talk_is_cut_where_a_list_must_fit() -> None:
    messages = tuple(Message("user", f"number {n} " * 20) for n in range(30))
    e = Example(Conversation(messages), ("coco",), id="long")
    (made,) = MatchSystem("x", local(), world.catalog(), length=10).predictions([e])
    assert made.error is None
    assert made.text is not None


# -- the whole recommender --------------------------------------------------------------------


def test_the_recommender_tells_of_wishes_and_of_its_language() -> None:
    rules = Profile(lead="rules-only", detail="full", writes=False)

    class Ruled(ScriptedModel):
        profile = rules

    system = RecommenderSystem("x", Ruled(), world.catalog(), depth=8)
    asked = Conversation((Message("user", "Quero uma comédia animada, por favor"),))
    nothing, wish = system.predictions([case("coco"), Example(asked, ("toy-story",), id="2")])
    assert nothing.wishes is None
    assert wish.wishes is not None
    assert wish.wishes[0] == wish.wishes[1] > 0
    assert (wish.language, wish.reply_language) == ("pt", "pt")
    assert nothing.reply_language == "en"
    assert wish.items[0] == "toy-story"
    assert wish.text is None


def test_a_reply_that_the_model_writes_is_judged_by_its_own_words() -> None:
    class Writer(ScriptedModel):
        profile = Profile(lead="rules-only", detail="full", writes=True)

    spanish = Writer("Te van a gustar estas películas, son muy buenas: Toy Story")
    (made,) = RecommenderSystem("x", spanish, world.catalog(), depth=3).predictions([case("coco")])
    assert (made.language, made.reply_language) == ("en", "es")
    assert made.text == "Te van a gustar estas películas, son muy buenas: Toy Story"
    assert len(spanish.calls) == 1


# -- a model that chooses ---------------------------------------------------------------------


def test_what_is_chosen_stands_before_what_was_listed() -> None:
    answers = ['{"chosen": ["2", "99", "2"]}', "no idea", '{"chosen": ["77"]}']
    model = Scripted(answers)
    system = ChoosingSystem("x", model, world.catalog(), depth=10, length=3)
    cases = [case("coco", named=["alien"], name=str(n)) for n in range(3)]
    first, unread, unknown = system.predictions(cases)
    order = system.choices["1"].order
    assert unread.items == unknown.items == order  # the signals' order is what is left
    assert "alien" not in order  # what was mentioned is not listed
    assert len(order) == len(set(order)) == 10
    shown = [c.messages[0].content.split("[2] ")[1].splitlines()[0] for c in model.calls]
    assert world.BY_ID[first.items[0]].title in shown[0]
    assert set(first.items) == set(order)
    assert (first.tiers, first.outside, first.duplicates) == ({"chosen": 1}, 1, 1)
    assert (unread.tiers, unread.outside) == ({}, 0)
    assert (unknown.tiers, unknown.outside) == ({}, 1)
    counts = [system.choices[e.id].counts for e in cases]
    assert [(c.answers, c.unread, c.picked, c.unknown) for c in counts] == [
        (1, 0, 1, 1),
        (1, 1, 0, 0),
        (1, 0, 0, 1),
    ]
    assert {c.listed for c in counts} == {13}
    assert counts[0].down == pytest.approx(1.5 / 13, abs=1e-4)
    assert model.calls[0].schema["properties"]["chosen"]["maxItems"] == 3  # type: ignore[index]


def test_a_batch_chooses_what_each_chooses_alone() -> None:
    def reply(messages: Sequence[Message]) -> str:
        return json.dumps({"chosen": [str(1 + len(messages[-1].content) % 9)]})

    cases = [e for n in range(4) for e in evaluated.talk(n, 2)]
    made = ChoosingSystem("x", Scripted(reply), world.catalog(), depth=5).predictions(cases)
    alone = ChoosingSystem("x", Scripted(reply), world.catalog(), depth=5)
    assert without_seconds(made) == without_seconds(
        [p for e in cases for p in alone.predictions([e])]
    )
    assert [p.mentioned for p in made] == [e.conversation.mentioned for e in cases]
    everything = Conversation((Message("user", "a film", tuple(evaluated.IDS)),))
    (none,) = alone.predictions([Example(everything, ("coco",), id="none")])
    assert (none.items, alone.choices["none"].counts.answers) == ((), 0)


def test_talks_that_no_user_would_begin_are_asked_all_the_same() -> None:
    system = RecommenderSystem("x", Scripted(), world.catalog(), depth=3)
    empty = Example(Conversation(), ("coco",), id="empty")
    last = Conversation((Message("user", "hi" * 9_000), Message("assistant", "Yes?")))
    odd = Conversation((Message("user", "like that", ("nowhere",)),), seen=("nowhere",))
    made = system.predictions([empty, Example(last, (), id="2"), Example(odd, (), id="3")])
    assert [len(p.items) for p in made] == [3, 3, 3]
    assert made[2].mentioned == ("nowhere",)
    assert [p.turn for p in made] == [0, 2, 1]
