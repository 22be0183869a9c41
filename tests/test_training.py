from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from world import BY_ID, FILMS

from llmrec.cues import DEFAULT_ROLE, ROLES
from llmrec.errors import InputError
from llmrec.lexicon import LANGUAGES, Marked, terms
from llmrec.prompting import (
    LIST_PREFIX,
    TURNS,
    parse_titles,
    parse_understanding,
    understanding_prompt,
)
from llmrec.training.conversations import (
    _SLOT,
    GENRES,
    LETTERS,
    Case,
    ListMaker,
    _fill,
    held_out,
    make_understanding,
    phrasings,
    understanding_case,
)
from llmrec.training.scratch import (
    CHAT_TEMPLATE,
    SPECIAL,
    ScratchConfig,
    build_model,
    build_tokenizer,
    render,
    train,
)
from llmrec.types import Message, Preferences
from llmrec.wishes import meets_all, wishes
from train.embedded import cases as embedded_cases
from train.embedded import make_parser, marks

USES = {"msg", "frag", "open", "close", "chat", "add", "replace", "reset"}
WORLD = [f for f in FILMS if f.year]

# -- phrasings -----------------------------------------------------------------------------------


def test_every_phrasing_parses() -> None:
    rng = random.Random(0)
    for p in phrasings():
        assert p.use in USES, p
        assert p.text, p
        assert "\t" not in p.text, p
        slots = _SLOT.findall(p.text)
        assert p.text.count("{") == p.text.count("}") == len(slots), p
        for kind, role in slots:
            assert kind in ROLES, p
            assert (role or DEFAULT_ROLE[kind]) in ROLES[kind], p
        if p.use in ("open", "close", "chat"):  # nothing is asked for
            assert all(role == "none" for _, role in slots), p
        marked, roles = _fill(p.text, rng)
        assert list(roles) == [s.mark for s in marked.spans]
        assert "{" not in marked.text


def test_there_are_phrasings_of_each_use_in_each_language_on_both_sides() -> None:
    have = {(p.use, p.language, held_out(p.text)) for p in phrasings()}
    for language in LANGUAGES:
        for use in ("msg", "frag", "add", "replace"):
            assert {(use, language, False), (use, language, True)} <= have


def test_a_slot_that_does_not_exist_is_an_error() -> None:
    for text in ("a {colour} film", "a {genre:director} film"):
        with pytest.raises(ValueError, match="which does not exist"):
            _fill(text, random.Random(0))


def test_the_marks_are_those_of_the_lexicon() -> None:
    assert {t.name.lower() for t in terms() if t.kind == "genre"} == set(GENRES)
    # A price is no film's: the embedded model was not trained on it.
    assert set(LETTERS) | {"genre", "critique", "price"} == set(ROLES)
    assert len(set(LETTERS.values())) == len(LETTERS)


# -- understanding cases -------------------------------------------------------------------------


def taken(n: int, seed: int, *, evaluation: bool = False) -> list[Any]:
    return list(itertools.islice(make_understanding(seed, evaluation=evaluation), n))


def test_cases_are_the_same_for_the_same_seed() -> None:
    assert taken(80, 3) == taken(80, 3)
    assert taken(80, 3) != taken(80, 4)


def test_every_case_is_whole() -> None:
    stands = set()
    for marked, previous, roles, turn in taken(400, 1):
        assert roles.keys() == {s.mark for s in marked.spans}
        assert all(roles[s.mark] in ROLES[s.kind] for s in marked.spans)
        assert all(s.mark in marked.text for s in marked.spans)
        assert "{" not in marked.text + previous
        stands.add((bool(previous), turn))
    assert stands == {(False, "add")} | {(True, t) for t in TURNS}


def skeletons(cases: list[tuple[Marked, str, dict[str, str], str]]) -> Iterator[str]:
    """The composed texts, slots and all, before they were roughened."""
    for marked, *_ in cases:
        yield marked.message


def test_held_out_phrasings_are_never_trained_on() -> None:
    kept = [p.text for p in phrasings() if held_out(p.text) and _SLOT.search(p.text)]
    # one that is part of another may turn up inside it
    others = "\n".join(p.text for p in phrasings() if not held_out(p.text))
    kept = [t for t in kept if t not in others and len(t) > 25]
    assert len(kept) > 50
    seen = "\n".join(skeletons(taken(3000, 5)))
    assert not [t for t in kept if t in seen]


def test_evaluation_uses_the_held_out_phrasings_alone() -> None:
    trained = [p.text for p in phrasings() if not held_out(p.text)]
    others = "\n".join(p.text for p in phrasings() if held_out(p.text))
    trained = [t for t in trained if t not in others and len(t) > 25]
    seen = "\n".join(skeletons(taken(1000, 5, evaluation=True)))
    assert not [t for t in trained if t in seen]


def test_about_a_tenth_is_held_out() -> None:
    texts = [p.text for p in phrasings()]
    assert 0.07 < sum(map(held_out, texts)) / len(texts) < 0.13


def test_an_understanding_case_is_prompt_and_answer() -> None:
    for marked, previous, roles, turn in taken(50, 7):
        case = understanding_case(marked, previous, roles, turn)
        assert case.messages[:-1] == understanding_prompt(marked, previous, detail="brief")
        assert case.messages[-1].role == "assistant"
        assert parse_understanding(case.messages[-1].content, marked) == (turn, roles)


def test_no_name_of_a_catalogue_is_in_an_understanding_case() -> None:
    text = "\n".join(c for m, p, _, _ in taken(500, 2) for c in (m.text, p))
    for film in FILMS:
        assert film.label not in text
        assert not any(p in text for p in film.people)


# -- recommending cases --------------------------------------------------------------------------


def test_lists_are_the_same_for_the_same_seed() -> None:
    a, b = ListMaker(WORLD, 3), ListMaker(WORLD, 3)
    assert [a.case() for _ in range(30)] == [b.case() for _ in range(30)]


def test_a_film_meets_the_wishes_taken_from_it() -> None:
    maker = ListMaker(WORLD, 0)
    for _ in range(20):
        for film in WORLD:
            wanted = maker.wishes_of(film)
            assert meets_all(film, wishes(wanted)), (film.id, wanted)


def test_the_films_of_an_answer_meet_the_wishes() -> None:
    maker = ListMaker(WORLD, 0)
    for wanted in (
        Preferences(genres=("Crime",), countries=("Argentina",)),
        Preferences(year_min=1995, year_max=2000, likes=("matrix",)),
        Preferences(keywords=("kids",), similar_to=("coco",)),
    ):
        films = maker.answer(wanted, 5)
        assert films
        assert len({f.id for f in films}) == len(films) <= 5
        for film in films:
            assert meets_all(film, wishes(wanted))
            assert film.id not in wanted.likes + wanted.similar_to
    assert maker.answer(Preferences(genres=("War",)), 5) == []


def test_a_recommending_case_is_read_back_as_titles() -> None:
    titles = {f.title for f in WORLD}
    maker = ListMaker(WORLD, 1)
    for _ in range(40):
        case = maker.case()
        assert case.messages[0].content == "recommend"
        assert case.messages[-1].content.startswith(LIST_PREFIX)
        read = parse_titles(case.messages[-1].content)
        assert 1 <= len(read) <= 5
        assert set(read) <= titles
        assert len(set(read)) == len(read)


def test_held_out_films_and_people_are_not_named_in_wishes() -> None:
    maker = ListMaker(WORLD, 2)
    for _ in range(10):
        for film in WORLD:
            wanted = maker.wishes_of(film)
            assert not any(map(held_out, wanted.people))
            named = wanted.similar_to + wanted.likes
            assert not any(held_out(BY_ID[i].title) for i in named)


# -- the script ----------------------------------------------------------------------------------


def test_the_script_mixes_both_tasks_in_the_share_asked_for() -> None:
    def understanding(share: float) -> int:
        made = itertools.islice(embedded_cases(WORLD, share, 0), 60)
        return sum(c.messages[0].content == "roles" for c in made)

    assert understanding(1.0) == 60
    assert understanding(0.0) == 0
    assert 15 < understanding(0.5) < 45


def test_the_script_s_flags_are_the_fields_of_the_configuration() -> None:
    args = make_parser().parse_args(["--minutes", "2.5", "--max-steps", "7", "--size", "base"])
    assert (args.minutes, args.max_steps, args.size) == (2.5, 7, "base")
    assert args.learning_rate == ScratchConfig().learning_rate


def test_every_mark_and_role_is_one_token_of_the_script() -> None:
    whole = marks()
    assert len(whole) == len(set(whole))
    for text in ("[t1]", "[u8]", "#film-noir", "~newer", '"similar"', '"turn"', '"reset"'):
        assert text in whole


# -- training ------------------------------------------------------------------------------------

TINY = ScratchConfig(
    vocabulary=480,
    hidden=32,
    layers=1,
    heads=2,
    intermediate=48,
    context=256,
    minutes=5.0,
    max_steps=24,
    tokens_per_batch=1024,
    learning_rate=1e-2,
    warmup=2,
    checkpoint_every=1e9,
    seed=1,
    threads=1,
)


def some_cases(seed: int) -> Iterator[Case]:
    """Short cases of both kinds, always the same few."""
    words = ("horror", "comedy", "drama", "war")
    for n in itertools.count(seed):
        word = words[n % len(words)]
        answer = Message("assistant", json.dumps({"turn": "add", f"#{word}": "yes"}))
        yield Case((Message("system", "roles"), Message("user", f"> a #{word} film"), answer))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    texts = ["".join(render(c.messages)) for c in itertools.islice(some_cases(0), 40)]
    return build_tokenizer(texts, ["#horror", '"turn"', '"yes"'], TINY.vocabulary)


def loss(model: Any, tokenizer: Any) -> float:
    """Mean loss on the answers of a few cases."""
    import torch

    total = 0.0
    with torch.no_grad():
        for case in itertools.islice(some_cases(0), 4):
            prompt, answer = (
                tokenizer(t, add_special_tokens=False)["input_ids"] for t in render(case.messages)
            )
            ids = torch.tensor([prompt + answer])
            labels = torch.tensor([[-100] * len(prompt) + answer])
            total += float(model.eval()(input_ids=ids, labels=labels).loss)
    return total / 4


def weights(model: Any) -> dict[str, Any]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(bool((a[name] == b[name]).all()) for name in a)


def test_some_steps_lower_the_loss(tokenizer: Any, tmp_path: Path) -> None:
    model = build_model(tokenizer, TINY)
    before = loss(model, tokenizer)
    cost = train(model, tokenizer, some_cases, TINY, tmp_path, say=lambda _: None)
    assert cost["steps"] == TINY.max_steps
    assert cost["tokens"] > 0
    assert loss(model, tokenizer) < before / 2
    assert [f.name for f in tmp_path.iterdir()] == ["checkpoint.safetensors"]


class Killed(BaseException):
    """Stands for the power going out."""


def killed_after(pools: int) -> Any:
    """Cases that end the process while the next pool of them is being drawn."""

    def cases(seed: int) -> Iterator[Case]:
        yield from itertools.islice(some_cases(seed), 1024 * pools)
        raise Killed

    return cases


def test_a_killed_run_goes_on_from_its_checkpoint(tokenizer: Any, tmp_path: Path) -> None:
    config = replace(TINY, checkpoint_every=0.0, tokens_per_batch=8192, max_steps=12)
    model = build_model(tokenizer, config)
    with pytest.raises(Killed):
        train(model, tokenizer, killed_after(1), config, tmp_path, say=lambda _: None)
    (tmp_path / "checkpoint.part").write_bytes(b"half a checkpoint")

    # With no time left nothing is trained, so that what is there is what was saved.
    resumed = build_model(tokenizer, replace(config, seed=9))
    assert not same(weights(resumed), weights(model))
    lines: list[str] = []
    over = replace(config, minutes=1e-9)
    cost = train(resumed, tokenizer, some_cases, over, tmp_path, say=lines.append)
    done = cost["steps"]
    assert 0 < done < config.max_steps
    assert same(weights(resumed), weights(model))
    assert cost["loss"] is None
    assert lines[0].startswith(f"going on from step {done} ")

    seeds: list[int] = []

    def fresh(seed: int) -> Iterator[Case]:
        seeds.append(seed)
        return some_cases(seed)

    cost = train(resumed, tokenizer, fresh, config, tmp_path, say=lines.append)
    assert cost["steps"] == config.max_steps
    assert seeds == [config.seed + done]  # not the cases it has seen already
    assert not same(weights(resumed), weights(model))


def test_a_finished_run_is_finished(tokenizer: Any, tmp_path: Path) -> None:
    config = replace(TINY, max_steps=3)
    model = build_model(tokenizer, config)
    train(model, tokenizer, some_cases, config, tmp_path, say=lambda _: None)
    ended = weights(model)
    again = train(model, tokenizer, some_cases, config, tmp_path, say=lambda _: None)
    assert again["steps"] == 3
    assert same(weights(model), ended)


def test_the_checkpoint_of_another_configuration_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    config = replace(TINY, max_steps=2)
    train(build_model(tokenizer, config), tokenizer, some_cases, config, tmp_path, say=str)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    for changes in ({"learning_rate": 1e-3}, {"hidden": 64}, {"seed": 2}):
        other = replace(config, **changes)
        with pytest.raises(InputError, match="is of a run with other settings: give another fold"):
            train(build_model(tokenizer, other), tokenizer, some_cases, other, tmp_path, say=str)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept
    longer = replace(config, minutes=9.0)  # more time is no other run
    train(build_model(tokenizer, longer), tokenizer, some_cases, longer, tmp_path, say=str)


def test_the_model_has_the_sizes_asked_for(tokenizer: Any) -> None:
    a, b = build_model(tokenizer, TINY), build_model(tokenizer, TINY)
    assert same(weights(a), weights(b))
    assert a.config.hidden_size == 32
    assert a.config.num_hidden_layers == 1
    assert a.config.vocab_size % 64 == 0
    assert a.config.vocab_size >= len(tokenizer)
    assert a.lm_head.weight is a.model.embed_tokens.weight


# -- the tokenizer and its template --------------------------------------------------------------

CHAT = [
    {"role": "system", "content": "roles"},
    {"role": "user", "content": "> a #horror film"},
    {"role": "assistant", "content": '{"turn": "add"}'},
    {"role": "user", "content": "thanks"},
    {"role": "assistant", "content": "bye"},
]


def test_marks_and_turns_are_single_tokens(tokenizer: Any) -> None:
    for mark in (*SPECIAL, "#horror", '"turn"', '"yes"'):
        assert len(tokenizer.encode(mark, add_special_tokens=False)) == 1
    ids = [tokenizer.convert_tokens_to_ids(t) for t in SPECIAL]
    assert len(set(ids)) == len(SPECIAL)
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == (
        "<|pad|>", "<|begin|>", "<|end|>",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["a #horror film", '{"turn": "yes"}', "Ação! ¿Qué?", "千と千尋 🎬", "1. A\n2. B\n", "  x"],
)
def test_any_text_survives_the_tokenizer(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_template_marks_what_the_assistant_says(tokenizer: Any) -> None:
    assert "{% generation %}" in CHAT_TEMPLATE
    out = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    said = [i for i, own in zip(out["input_ids"], out["assistant_masks"], strict=True) if own]
    assert tokenizer.decode(said) == '{"turn": "add"}<|end|>bye<|end|>'


def test_training_and_chatting_write_the_same_text(tokenizer: Any) -> None:
    case = next(some_cases(0))
    chat = [{"role": m.role, "content": m.content} for m in case.messages]
    prompt, answer = render(case.messages)
    assert tokenizer.apply_chat_template(chat, tokenize=False) == prompt + answer
    asked = tokenizer.apply_chat_template(chat[:-1], tokenize=False, add_generation_prompt=True)
    assert asked == prompt


def test_a_saved_model_is_an_ordinary_folder(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = build_model(tokenizer, TINY)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.chat_template == CHAT_TEMPLATE
    assert again.encode("a #horror film") == tokenizer.encode("a #horror film")
    assert same(weights(AutoModelForCausalLM.from_pretrained(tmp_path)), weights(model))
