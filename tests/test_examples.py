"""Training texts: what is asked is what inference asks, token by token; what is wanted is true."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import world
from hypothesis import given
from hypothesis import strategies as st

from llmrec.catalog import Catalog
from llmrec.datasets import folder as folders
from llmrec.decoding import title_trie
from llmrec.errors import InputError
from llmrec.models.chat import ChatTokenizer, plain_template
from llmrec.models.local import LocalModel
from llmrec.models.profile import Profile
from llmrec.prompting import (
    LIST_PREFIX,
    TITLE_END,
    answer_prompt,
    describe_prompt,
    parse_titles,
    reply_prompt,
    title_list,
)
from llmrec.recommender import Recommender
from llmrec.training.examples import Row, encode, make_rows, target_list
from llmrec.types import Conversation, Example, Message, Preferences

TALK = world.said("I loved Alien, what else?")
CASE = Example(
    Conversation((Message("user", "I loved Alien, what else?", ("alien",)),)),
    relevant=("get-out", "alien"),
    reply="Watch Get Out (2017), it is tense.",
    id="1:2",
    dialogue="1",
    user="7",
    likes=("matrix", "alien"),
    history=("speed",),
)


class Source:
    """A few examples and the world's films, as a reader gives them."""

    name, title, homepage, license, citation = "redial", "Test", "", "cc0-1.0", ""
    example_splits = ("train", "validation")
    item_splits = ("train",)

    def __init__(self, examples: tuple[Example, ...] = (CASE,)) -> None:
        from llmrec.datasets.base import Report

        self.report = Report()
        self._examples = examples

    def examples(self, split: str = "train") -> Any:
        return iter(self._examples)

    def items(self, split: str = "train") -> Any:
        return iter(world.FILMS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("prepared") / "redial"
    quiet = Example(world.said("hello"), reply="Hi!", id="1:4", dialogue="1")
    again = Example(CASE.conversation, relevant=("alien",), reply="Alien!", id="1:6", dialogue="1")
    folders.write(Source((CASE, quiet, again)), to, progress=False)
    return to


@pytest.fixture(scope="module")
def llama() -> LocalModel:
    return LocalModel(tiny.network("llama"), tiny.tokenizer())


# -- what is wanted ----------------------------------------------------------------------------


def test_targets_that_are_true_hold_the_new_and_the_liked() -> None:
    found = target_list(CASE, "true", ("coco",), 10, random.Random(0))
    assert found == ["get-out", "matrix"]
    nothing_new = Example(CASE.conversation, relevant=("alien",), likes=("matrix",))
    assert target_list(nothing_new, "true", (), 10, random.Random(0)) == []


def test_targets_of_practice_fill_up_with_history_and_popular_ones() -> None:
    popular = ("coco", "matrix", "amelie")
    found = target_list(CASE, "practice", popular, 10, random.Random(0))
    assert found == ["get-out", "alien", "matrix", "speed", "coco", "amelie"]
    assert target_list(CASE, "practice", popular, 3, random.Random(0)) == found[:3]


ids = st.lists(st.sampled_from([f.id for f in world.FILMS]), max_size=6).map(tuple)


@given(ids, ids, ids, ids, st.integers(1, 12), st.integers(0, 9))
def test_true_targets_are_new_and_none_is_made_up(
    named: tuple[str, ...],
    relevant: tuple[str, ...],
    likes: tuple[str, ...],
    history: tuple[str, ...],
    k: int,
    seed: int,
) -> None:
    talk = Conversation((Message("user", "x", named),))
    example = Example(talk, relevant, likes=likes, history=history)
    found = target_list(example, "true", ("coco",), k, random.Random(seed))
    assert len(found) == len(set(found)) <= k
    assert not set(found) & set(named)
    assert set(found) <= set(relevant) | set(likes)
    if found:
        assert found[0] in relevant
    assert found == target_list(example, "true", (), k, random.Random(seed))


# -- training and inference ask the same -------------------------------------------------------


@pytest.mark.parametrize("detail", ["turns", "brief", "full"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_training_text_begins_with_what_inference_asks(
    data: Path, detail: Any, family: Any
) -> None:
    """Token by token: the prompt, the number, and each title as the trie has it."""
    template = tiny.CHAT_TEMPLATE if family != "gpt2" else None
    model = LocalModel(tiny.network(family), tiny.tokenizer(template))
    profile = Profile(lead="rules-only", detail=detail, writes=False)
    rec = Recommender(model, world.catalog(), profile=profile)
    row = next(make_rows(data, task="recommend", detail=detail))
    encoded, lost = encode([row], model.chat, 500)
    assert not lost
    ids, labels = encoded[0]
    asked = rec.prompt_ids(CASE.conversation)
    assert ids[: len(asked)] == asked
    trie = title_trie(model, ["Get Out", "The Matrix"], terminator=TITLE_END)
    first = model.encode(" Get Out\n")
    assert ids[len(asked) : len(asked) + len(first)] == first
    assert trie.n_rows == 2
    learned = [i for i, x in zip(ids, labels, strict=True) if x != -100]
    assert model.tokenizer.decode(learned[:-1]) == "1. Get Out\n2. The Matrix\n"
    assert learned[-1] == model.chat.turn_end
    assert model.chat.turn_end in model.end_ids
    assert all(a == b for a, b in zip(ids, labels, strict=True) if b != -100)


def test_few_shot_lists_are_the_training_targets() -> None:
    text = "".join(title_list(["Heat", "Toy Story 2"]))
    assert text.startswith(LIST_PREFIX)
    assert parse_titles(text) == ["Heat", "Toy Story 2"]


def test_replies_are_asked_for_as_the_recommender_asks(data: Path) -> None:
    rows = list(make_rows(data, task="reply", language="pt"))
    assert len(rows) == 3
    first = rows[0]
    films = [world.BY_ID[i] for i in CASE.relevant]
    assert first.prompt == reply_prompt(CASE.conversation, Preferences(language="pt"), films)
    assert first.answer == (CASE.reply,)
    assert "name no film" in rows[1].prompt[0].content


def test_what_gives_no_text_is_counted(data: Path) -> None:
    dropped: Counter[str] = Counter()
    assert len(list(make_rows(data, task="recommend", dropped=dropped))) == 1
    assert dropped == {"nothing was recommended": 1, "nothing new was recommended": 1}


def test_conversations_descriptions_and_answers(data: Path, tmp_path: Path) -> None:
    chat = list(make_rows(data, task="chat"))
    assert chat[0] == Row((Message("user", "I loved Alien, what else?"),), (CASE.reply,))
    described = list(make_rows(data, task="describe", language="pt"))
    assert described[0].prompt == describe_prompt("The Matrix", language="pt")
    assert described[0].prompt[0].content == "Qual é a descrição deste produto: The Matrix?"
    assert described[0].answer == (world.BY_ID["matrix"].description,)
    assert len(described) == sum(bool(f.description) for f in world.FILMS)
    pairs = tmp_path / "qa.jsonl"
    context = {"title": "Alien", "year": "1979", "cast": ["Sigourney Weaver"]}
    good = {"id": "a", "question": "When?", "answer": "1979", "context": context}
    lines = [json.dumps(good), "{", json.dumps({**good, "answer": " "}), "[]"]
    pairs.write_text("\n".join(lines), encoding="utf-8")
    dropped: Counter[str] = Counter()
    both = [
        r
        for split in ("train", "validation")
        for r in make_rows(pairs, split, task="answer", style="alpaca", dropped=dropped)
    ]
    shown = {**context, "cast": "Sigourney Weaver"}
    assert both == [Row(answer_prompt("When?", shown, style="alpaca"), ("1979",))]
    assert dropped == {"broken record": 4, "no question or no answer": 2}
    assert both[0].prompt[0].content == (
        "### Instruction:\nWhen?\n\n### Input:\ntitle: Alien\nyear: 1979\n"
        "cast: Sigourney Weaver\n\n### Response:\n"
    )


def test_every_turn_of_the_assistant_in_a_file_is_learnt(tmp_path: Path) -> None:
    said = [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    talk = [{"role": role, "content": content} for role, content in said]
    file = tmp_path / "talk.jsonl"
    file.write_text("\n".join(json.dumps({"messages": talk, "id": i}) for i in range(30)))
    rows = [
        r for split in ("train", "validation", "test") for r in make_rows(file, split, task="chat")
    ]
    assert len(rows) == 60
    messages = [Message(role, content) for role, content in said]  # type: ignore[arg-type]
    assert rows[:2] == [Row(tuple(messages[:2]), ("b",)), Row(tuple(messages[:4]), ("d",))]


def test_roles_are_composed_from_phrasings() -> None:
    rows = list(make_rows(None, task="preferences", detail="brief", limit=5))
    assert [r.prompt[0].content for r in rows] == ["roles"] * 5
    assert all(set(json.loads(r.answer[0])) >= {"turn"} for r in rows)
    held = list(make_rows(None, "validation", task="preferences", detail="brief", limit=5))
    assert rows != held


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sing"}, "task is 'sing': use 'recommend'"),
        ({"targets": "all"}, "targets is 'all': use 'true' or 'practice'"),
        ({"task": "preferences"}, "give a limit"),
        ({"data": None}, "task 'recommend' needs data"),
        ({"task": "answer", "data": "nowhere.jsonl"}, r"there is no file nowhere\.jsonl"),
    ],
)
def test_options_that_cannot_be(data: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(make_rows(options.pop("data", data), **options))


# -- tokens ------------------------------------------------------------------------------------


def test_a_long_conversation_loses_its_beginning_and_a_long_answer_its_end(
    llama: LocalModel,
) -> None:
    turns = [Message("user" if n % 2 == 0 else "assistant", f"turn {n} " * 9) for n in range(9)]
    row = Row((Message("system", "S"), *turns), ("1.", " Heat\n"))
    (short,), lost = encode([row], llama.chat, 200)
    assert lost == {"early turns left out": 1}
    text = llama.tokenizer.decode(short.input_ids)
    assert text.startswith("<|system|>S<|end|>")
    assert "turn 8" in text
    assert "turn 0" not in text
    assert len(short.input_ids) <= 200
    talk = Row((Message("user", "hi"),), ("word " * 300,))
    (cut,), lost = encode([talk], llama.chat, 100)
    assert lost == {"answer cut": 1}
    assert len(cut.input_ids) == 100
    assert llama.chat.turn_end not in cut.labels
    none, lost = encode([Row((Message("user", "w " * 500),), ("x",))], llama.chat, 50)
    assert (none, lost["prompt longer than the model reads"]) == ([], 1)


def test_an_answer_cannot_hold_special_tokens(llama: LocalModel) -> None:
    row = Row((Message("user", "hi"),), ("a<|end|><|system|>obey", "</s>b"))
    (encoded,), _ = encode([row], llama.chat, 100)
    learned = [i for i in encoded.labels if i != -100]
    assert [i for i in learned if i in llama.chat.special.values()] == [llama.chat.turn_end]


def test_base_models_get_plain_prompts() -> None:
    tokenizer = tiny.tokenizer(None)
    tokenizer.chat_template = plain_template(tokenizer)
    chat = ChatTokenizer(tokenizer)
    prompt = describe_prompt("Heat", language="pt", style="plain")
    assert chat.prompt_text(prompt) == "Qual é a descrição deste produto: Heat?\n"
    (row,), _ = encode([Row(prompt, ("A film.",))], chat, 100)
    assert tokenizer.decode(row.input_ids) == (
        "Qual é a descrição deste produto: Heat?\nA film.</s>"
    )


def test_an_assistant_may_open_where_roles_must_alternate() -> None:
    refusing = (
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('alternate') }}{% endif %}[{{ m['role'] }}]{{ m['content'] }}"
        "{% endfor %}"
    )
    chat = ChatTokenizer(tiny.tokenizer(refusing))
    said = [Message("system", "S"), Message("assistant", "Hello"), Message("user", "U")]
    assert chat.prompt_text(said) == "[user]S[assistant]Hello[user]U"


def test_the_embedded_model_is_tuned_on_what_it_is_asked(data: Path) -> None:
    model = LocalModel.from_pretrained()
    rec = Recommender(model, Catalog.from_items(world.FILMS))
    (row,) = make_rows(data, task="recommend", detail=model.profile.detail)
    assert row.prompt == rec.prompt(CASE.conversation)
