"""An adapter stands for its base, its tokenizer and its profile; several share one network."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import world

from llmrec.decoding import rank_titles, title_trie
from llmrec.errors import InputError, ModelError
from llmrec.folders import public_name
from llmrec.models.files import find_file
from llmrec.models.local import EMBEDDED, EMBEDDED_NAME, LocalModel
from llmrec.models.profile import Profile
from llmrec.prompting import FewShot, recommend_prompt
from llmrec.recommender import Recommender
from llmrec.titles import told_apart
from llmrec.types import Conversation, Message, Preferences

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
PLAIN = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"


def adapter(to: Path, base: str, network: Any = None, *, seed: int = 0, **options: Any) -> Path:
    """A LoRA adapter whose weights do something."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch import nn

    given = {"r": 2, "target_modules": ["q_proj", "v_proj"], **options}
    made = get_peft_model(network or tiny.network(), LoraConfig(task_type="CAUSAL_LM", **given))
    torch.manual_seed(seed)
    for name, parameter in made.named_parameters():
        if "lora_B" in name or parameter.requires_grad:
            nn.init.normal_(parameter, std=0.5)
    made.save_pretrained(to)
    config = json.loads((to / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    (to / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return to


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny.folder(tmp_path / "base")


def test_an_adapter_alone_brings_its_base(base: Path, tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", str(base))
    prompt = [1, 8, 9, 10]
    plain = LocalModel.from_pretrained(base, device="cpu")
    both = LocalModel.from_pretrained(base, adapter=tuned, device="cpu")
    alone = LocalModel.from_pretrained(tuned, device="cpu")
    assert alone.name == both.name == "base + tuned"
    wanted = both.prefill(prompt).logprobs
    assert alone.prefill(prompt).logprobs.tolist() == wanted.tolist()
    assert plain.prefill(prompt).logprobs.tolist() != wanted.tolist()


def test_a_base_must_be_named(tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", "")
    with pytest.raises(ModelError, match="does not name its base model: give the base first"):
        LocalModel.from_pretrained(tuned)


def test_an_adapter_s_tokenizer_and_profile_come_first(base: Path, tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", str(base))
    assert LocalModel.from_pretrained(tuned, device="cpu").profile == Profile()
    (base / "llmrec.json").write_text('{"detail": "brief"}', encoding="utf-8")
    assert LocalModel.from_pretrained(tuned, device="cpu").profile.detail == "brief"
    tiny.tokenizer(PLAIN).save_pretrained(tuned)
    own = Profile("rules-only", "turns", writes=False)
    (tuned / "llmrec.json").write_text(json.dumps(dataclasses.asdict(own)), encoding="utf-8")
    model = LocalModel.from_pretrained(tuned, device="cpu")
    assert model.profile == own
    assert model.chat.prompt_text([Message("user", "U")]) == "[U]"


def test_an_adapter_of_the_embedded_model_recommends(tmp_path: Path) -> None:
    embedded = LocalModel.from_pretrained(EMBEDDED_NAME)
    assert embedded.name == "llmrec-embedded"
    tuned = adapter(tmp_path / "tuned", EMBEDDED_NAME, embedded.model)
    rec = Recommender.from_pretrained(tuned, catalog=world.catalog())
    assert rec.model.name == "llmrec-embedded + tuned"
    assert rec.recommend("a horror film", k=2)
    assert find_file(EMBEDDED, "llmrec.json") == EMBEDDED / "llmrec.json"
    assert find_file(EMBEDDED, "nothing.json") is None


# -- several at once --------------------------------------------------------------------------

PROMPT = [1, 8, 9, 10, 200, 30, 41, 57, 12, 99]
TALKS = [[Message("user", f"Something like {title}, please")] for title in tiny.TITLES[:4]]


def alone(base: Path, adapter: Path | None, **options: Any) -> LocalModel:
    """A model that has this adapter and no other."""
    return LocalModel.from_pretrained(base, adapter=adapter, device="cpu", **options)


def said(model: LocalModel) -> list[float]:
    """What follows a prompt, to the last bit."""
    model.forget()
    out: list[float] = model.prefill(PROMPT).logprobs.tolist()
    return out


@pytest.fixture(scope="module")
def shared_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("shared") / "base")


@pytest.fixture(scope="module")
def two(shared_base: Path) -> dict[str | None, Path | None]:
    """No adapter, and two that change different layers."""
    base = str(shared_base)
    return {
        None: None,
        "one": adapter(shared_base.parent / "one", base, seed=1),
        "two": adapter(
            shared_base.parent / "two", base, seed=2, r=4, target_modules=["v_proj", "up_proj"]
        ),
    }


def loaded(base: Path, adapters: dict[str | None, Path | None], **options: Any) -> LocalModel:
    """The bare base, with the adapters beside it."""
    model = alone(base, None, **options)
    for name, place in adapters.items():
        if name is not None and place is not None:
            model.add_adapter(place, name=name)
    return model


def test_each_adapter_says_what_it_says_alone(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = loaded(shared_base, two)
    assert model.adapters == ("one", "two")
    own = {name: said(alone(shared_base, place)) for name, place in two.items()}
    assert own[None] != own["one"] != own["two"] != own[None]
    for name in ("one", None, "two", "one", "two", None):  # each after each other
        view = model.with_adapter(name)
        assert view is model.with_adapter(name)
        assert view.adapter == name
        assert view.model is model.model
        assert said(view) == own[name]


def test_layers_of_a_later_adapter_are_in_step_with_the_others(
    shared_base: Path, tmp_path: Path
) -> None:
    """The later one changes the layers that come first, while all others are switched off."""
    late = adapter(tmp_path / "late", str(shared_base), seed=1, target_modules=["v_proj"])
    early = adapter(tmp_path / "early", str(shared_base), seed=2, target_modules=["q_proj"])
    own = {"one": said(alone(shared_base, late)), "two": said(alone(shared_base, early))}
    own_bare = said(alone(shared_base, None))
    for first in ("one", "two", None):
        model = loaded(shared_base, {"one": late})
        assert said(model) == own_bare
        model.add_adapter(early, name="two")
        for name in (first, "one", "two"):
            assert said(model.with_adapter(name)) == (own[name] if name else own_bare), first


def test_an_adapter_of_the_start_is_the_default_one(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    place = two["one"]
    assert place is not None
    model = LocalModel.from_pretrained(place, device="cpu")
    assert (model.adapter, model.adapters) == ("default", ("default",))
    assert model.with_adapter("default") is model
    assert said(model.with_adapter(None)) == said(alone(shared_base, None))
    assert said(model) == said(alone(shared_base, place))


def test_requests_for_several_adapters_may_come_at_once(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = loaded(shared_base, two)
    trie = title_trie(model, tiny.TITLES)

    def streamed(view: LocalModel, turn: int) -> Any:
        return list(view.stream(TALKS[turn % 4], max_new_tokens=10))

    def written(view: LocalModel, turn: int) -> Any:
        return view.generate(TALKS[turn % 3 :], max_new_tokens=6)

    def ranked(view: LocalModel, turn: int) -> Any:
        prompts = [view.prompt_ids(t) for t in TALKS[turn % 3 :]]
        rankings = rank_titles(view, prompts, trie, 5, score_all_below=0)
        return [r.rows.tolist() for r in rankings]

    tasks: list[tuple[str | None, Callable[[LocalModel, int], Any], int]] = [
        (name, task, turn) for turn in range(4) for name in two for task in (streamed, ranked)
    ]
    tasks += [(name, written, turn) for turn in range(2) for name in two]
    apart = {name: alone(shared_base, place) for name, place in two.items()}
    wanted = [task(apart[name], turn) for name, task, turn in tasks]
    assert len({str(w) for w in wanted}) > len(tasks) // 2
    got: list[Any] = [None] * len(tasks)

    def visit(number: int) -> None:
        name, task, turn = tasks[number]
        got[number] = task(model.with_adapter(name), turn)

    threads = [threading.Thread(target=visit, args=(n,)) for n in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == wanted


def test_streams_of_two_adapters_in_turns_do_not_mix(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = loaded(shared_base, two)
    wanted = {n: list(alone(shared_base, p).stream(TALKS[0])) for n, p in two.items()}
    streams = {n: model.with_adapter(n).stream(TALKS[0]) for n in two}
    got: dict[str | None, list[str]] = {n: [] for n in two}
    while streams:
        for name in list(streams):
            piece = next(streams[name], None)
            if piece is None:
                del streams[name]
            else:
                got[name].append(piece)
    assert got == wanted


def test_what_one_adapter_remembers_is_not_told_to_another(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = loaded(shared_base, two)
    right = {n: alone(shared_base, p).prefill(PROMPT).logprobs for n, p in two.items()}
    for name in two:
        view = model.with_adapter(name)
        view.runner.mode  # noqa: B018  the probe feeds tokens too
        before = view.fed
        view.prefill(PROMPT[:-1])
        assert view.fed - before == len(PROMPT) - 1  # of the others' work nothing is taken
        assert view.prefill(PROMPT).logprobs == pytest.approx(right[name], abs=1e-5)
        assert view.fed - before == len(PROMPT)  # and its own was remembered
    model.with_adapter("one").forget()
    for name, again in ((None, 1), ("one", len(PROMPT)), ("two", 1)):
        view = model.with_adapter(name)
        before = view.fed
        view.prefill(PROMPT)
        assert view.fed - before == again


def few_shot(view: LocalModel) -> list[list[int]]:
    """Prompts of several conversations with the same system prompt and examples."""
    shots = FewShot(tuple((f"I liked {t}, and now?", ("Heat", "Alien")) for t in tiny.TITLES[:3]))
    return [
        view.prompt_ids(
            recommend_prompt(Conversation.of(f"{t}!"), Preferences(), {}, strategy=shots)
        )
        for t in ("Star Wars", "Kells", "千と千尋の神隠し", "comedy")
    ]


def alike(one: list[int], other: list[int]) -> int:
    """How many tokens both begin with."""
    return next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)


def test_what_all_requests_begin_with_is_run_once_for_each_adapter(
    two: dict[str | None, Path | None], tmp_path: Path
) -> None:
    model = loaded(tiny.folder(tmp_path / "base", max_position_embeddings=2048), two)
    prompts = few_shot(model)
    (shared,) = {alike(a, b) for a in prompts for b in prompts if a is not b}
    own = [len(p) - shared for p in prompts]
    assert shared > 10 * max(own)
    for name in two:
        view = model.with_adapter(name)
        view.runner.mode  # noqa: B018  the probe feeds tokens too
        fed = [view.fed]
        for prompt in prompts:
            view.prefill(prompt)
            fed.append(view.fed)
        assert np.diff(fed).tolist() == [shared + own[0], *own[1:]]


def test_threads_run_it_once_for_each_adapter_too(
    two: dict[str | None, Path | None], tmp_path: Path
) -> None:
    base = tiny.folder(tmp_path / "base", max_position_embeddings=2048)
    model = loaded(base, two)
    prompts = few_shot(model)
    shared = alike(prompts[0], prompts[1])
    before = {
        name: (model.with_adapter(name).runner.mode, model.with_adapter(name).fed) for name in two
    }
    right = {
        name: [alone(base, at).prefill(p).logprobs for p in prompts] for name, at in two.items()
    }
    got: dict[tuple[str | None, int], Any] = {}

    def ask(name: str | None, number: int) -> None:
        got[name, number] = model.with_adapter(name).prefill(prompts[number]).logprobs

    threads = [threading.Thread(target=ask, args=(n, i)) for i in range(len(prompts)) for n in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in two:
        fed = model.with_adapter(name).fed - before[name][1]
        assert fed == shared + sum(len(p) - shared for p in prompts)
        for number, wanted in enumerate(right[name]):
            assert got[name, number] == pytest.approx(wanted, abs=1e-4)


def test_former_prompts_of_all_adapters_share_one_memory() -> None:
    from llmrec.models.network import Prefixes

    class Block:
        nbytes = 40

    kept = Prefixes(170)
    for owner in (None, "one", "two"):
        kept.add([1, 2, 3], [(Block(), Block())], owner)
    assert [kept.find([1, 2, 3], owner)[0] for owner in (None, "one", "two")] == [0, 3, 3]
    kept.clear("one")
    assert [kept.find([1, 2, 3], owner)[0] for owner in (None, "one", "two")] == [0, 0, 3]


def test_names_tokenizers_and_profiles_follow_the_adapter(base: Path, tmp_path: Path) -> None:
    (base / "llmrec.json").write_text('{"detail": "brief"}', encoding="utf-8")
    one = adapter(tmp_path / "first", str(base), seed=1)
    two = adapter(tmp_path / "second", str(base), seed=2)
    other = tiny.tokenizer(PLAIN)
    other.add_tokens(["zwölf"])
    other.save_pretrained(two)
    (two / "llmrec.json").write_text('{"lead": "rules-only"}', encoding="utf-8")
    model = alone(base, two)
    first = model.add_adapter(one, name="mine")
    bare = model.with_adapter(None)
    assert [m.name for m in (model, first, bare)] == ["base + second", "base + mine", "base"]
    assert [m.profile.lead for m in (model, first, bare)] == ["rules-only", "model", "model"]
    assert [m.profile.detail for m in (model, first, bare)] == ["full", "brief", "brief"]
    assert first.fingerprint == bare.fingerprint != model.fingerprint
    assert first.token_bytes is bare.token_bytes
    assert model.token_bytes != bare.token_bytes
    talk = [Message("user", "U")]
    assert model.chat.prompt_text(talk) == "[U]"
    assert first.chat.prompt_text(talk) == bare.chat.prompt_text(talk) != "[U]"


def test_recommenders_share_a_network_and_differ(tmp_path: Path) -> None:
    model = LocalModel.from_pretrained()
    place = adapter(tmp_path / "tuned", EMBEDDED_NAME, LocalModel.from_pretrained().model)
    tuned = model.add_adapter(place, name="tuned")
    catalog = world.catalog()
    listening = dataclasses.replace(model.profile, taste=5.0)
    models = (
        tuned,
        tuned.with_adapter(None),
        LocalModel.from_pretrained(place),
        LocalModel.from_pretrained(),
    )
    recommenders = [Recommender(m, catalog, profile=listening) for m in models]
    ranked = [{r.item.id: r.score for r in rec.recommend("a film", k=4)} for rec in recommenders]
    for shared, own in ((0, 2), (1, 3)):
        assert list(ranked[shared]) == list(ranked[own])
        assert ranked[shared] == pytest.approx(ranked[own], abs=1e-4)
        assert recommenders[shared].model.name == recommenders[own].model.name
    assert ranked[0] != pytest.approx(ranked[1], abs=1e-2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "an adapter cannot be named ''"),
        ("v1.0", "an adapter cannot be named 'v1.0': use letters, digits"),
        ("lora", "an adapter cannot be named 'lora', a part of 'lora_'"),
        ("one", "there is an adapter 'one' already: choose it with with_adapter"),
    ],
)
def test_names_that_cannot_be_given(
    shared_base: Path, two: dict[str | None, Path | None], name: str, message: str
) -> None:
    model = loaded(shared_base, {"one": two["one"]})
    with pytest.raises(InputError, match=message):
        model.add_adapter(shared_base, name=name)


@pytest.mark.parametrize("name", ["model", "layers", "weight", "q_proj", "0", "default"])
def test_names_that_stand_in_weights_too(
    shared_base: Path, two: dict[str | None, Path | None], name: str
) -> None:
    place = two["two"]
    assert place is not None
    model = loaded(shared_base, {"one": two["one"], name: place, "other": two["one"]})
    assert said(model.with_adapter(name)) == said(alone(shared_base, place))


def test_an_adapter_that_was_never_loaded_is_named(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    with pytest.raises(InputError, match=r"no adapter 'tuned' on the model \(it has none\)"):
        alone(shared_base, None).with_adapter("tuned")
    with pytest.raises(InputError, match=r"it has 'one', 'two'\): load it with add_adapter"):
        loaded(shared_base, two).with_adapter("three")


@pytest.mark.parametrize("first", [True, False])
def test_an_adapter_for_another_base_leaves_the_model_as_it_was(
    shared_base: Path, two: dict[str | None, Path | None], tmp_path: Path, first: bool
) -> None:
    strange = {
        "wide": tiny.network(hidden_size=64),
        "deep": tiny.network(num_hidden_layers=3),
        "shallow": tiny.network(num_hidden_layers=1),
    }
    places = {n: adapter(tmp_path / n, "elsewhere", m) for n, m in strange.items()}
    gpt = {"target_modules": ["c_attn"], "fan_in_fan_out": True}
    places["gpt"] = adapter(tmp_path / "gpt", "elsewhere", tiny.network("gpt2"), **gpt)
    model = loaded(shared_base, {} if first else {"one": two["one"]})
    before, names = said(model), model.adapters
    for name, place in places.items():
        with pytest.raises(ModelError, match=f"{name} does not fit the model .*trained on$") as e:
            model.add_adapter(place, name=name)
        assert "\n" not in str(e.value)
        assert model.adapters == names
        assert said(model) == before
    for name in ("one", "two"):
        place = two[name]
        assert place is not None
        view = model.with_adapter(name) if name in names else model.add_adapter(place, name=name)
        assert said(view) == said(alone(shared_base, place))


def test_what_is_no_lora_is_refused(shared_base: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    prompt = get_peft_model(
        tiny.network(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    )
    prompt.save_pretrained(tmp_path / "prompt")
    place = adapter(tmp_path / "switched", "base")
    config = json.loads((place / "adapter_config.json").read_text(encoding="utf-8"))
    config["alora_invocation_tokens"] = [5, 6]
    (place / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    for name, message in (("prompt", "PROMPT_TUNING, which is not run"), ("switched", "activated")):
        with pytest.raises(ModelError, match=message):
            alone(shared_base, tmp_path / name)


def test_an_adapter_that_changes_the_base_is_had_alone_only(tmp_path: Path) -> None:
    base = tiny.folder(tmp_path / "base", attention_bias=True)
    biased = adapter(
        tmp_path / "biased", str(base), tiny.network(attention_bias=True), bias="lora_only"
    )
    plain = adapter(tmp_path / "plain", str(base), tiny.network(attention_bias=True))
    with pytest.raises(ModelError, match="changes biases of the base itself"):
        alone(base, None).add_adapter(biased, name="biased")
    model = alone(base, biased)
    assert said(model) != said(alone(base, None))
    for ask in (
        lambda: model.with_adapter(None),
        lambda: model.add_adapter(plain, name="plain"),
    ):
        with pytest.raises(ModelError, match="neither the base nor another adapter"):
            ask()


def test_kinds_of_lora_share_a_network(shared_base: Path, tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "dora": {"use_dora": True},
        "rslora": {"use_rslora": True, "r": 8},
        "head": {"modules_to_save": ["lm_head"]},
        "tokens": {"trainable_token_indices": [8, 9, 10]},
        "later": {},
    }
    places: dict[str | None, Path | None] = {None: None}
    for seed, (name, options) in enumerate(kinds.items(), 3):
        places[name] = adapter(tmp_path / name, str(shared_base), seed=seed, **options)
    model = alone(shared_base, None)
    own = {name: said(alone(shared_base, place)) for name, place in places.items()}
    assert len({str(o) for o in own.values()}) == len(own)
    for name, place in places.items():
        if name is not None and place is not None:
            model.add_adapter(place, name=name)
            assert said(model) == own[None], name
    for name in [*places, "tokens", "dora", None, "head", "head", None, "rslora"]:
        assert said(model.with_adapter(name)) == own[name], name


def test_adapters_come_while_the_model_writes(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = alone(shared_base, None)
    wanted = list(model.stream(TALKS[1], max_new_tokens=12))
    stream = model.stream(TALKS[1], max_new_tokens=12)
    got = [next(stream)]
    for name in ("one", "two"):
        place = two[name]
        assert place is not None
        view = model.add_adapter(place, name=name)
        assert said(view) == said(alone(shared_base, place))
        got.append(next(stream))
    assert [*got, *stream] == wanted


def test_a_network_that_was_given_keeps_its_adapters(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    from peft import PeftModel

    network: Any = PeftModel.from_pretrained(
        tiny.network(), str(two["one"]), adapter_name="one", is_trainable=True
    )
    model = LocalModel(network, tiny.tokenizer(), name="mine", mode="tree")
    assert (model.adapter, model.name) == ("one", "mine")
    assert said(model) == said(alone(shared_base, two["one"]))
    assert any(p.requires_grad for p in network.parameters())  # what is being trained stays so
    assert said(model.with_adapter(None)) == said(alone(shared_base, None))
    network.load_adapter(str(two["two"]), "two")
    network.base_model.enable_adapter_layers()
    network.base_model.set_adapter(["one", "two"])
    with pytest.raises(InputError, match="one, two switched on together"):
        LocalModel(network, tiny.tokenizer())


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_adapters_share_a_quantised_base(tmp_path: Path, bits: Any) -> None:
    pytest.importorskip("bitsandbytes")
    wide = {"hidden_size": 64, "intermediate_size": 64}
    base = tiny.folder(tmp_path / "base", **wide)
    places: dict[str | None, Path | None] = {None: None}
    for seed, name in enumerate(("one", "two"), 1):
        places[name] = adapter(tmp_path / name, str(base), tiny.network(**wide), seed=seed)
    model = loaded(base, places, quantization=bits)
    own = {n: said(alone(base, p, quantization=bits)) for n, p in places.items()}
    assert own[None] != own["one"] != own["two"]
    for name in ("two", None, "one", "two"):
        assert said(model.with_adapter(name)) == own[name]
    for gone, left in (("one", "two"), ("two", None)):
        model.remove_adapter(gone)
        assert said(model.with_adapter(left)) == own[left]
        assert said(model) == own[None]


# -- and let go -------------------------------------------------------------------------------


def held(model: LocalModel) -> tuple[int, int, list[str]]:
    """How many tensors the network has, of how many numbers, and what its modules are called."""
    own = [*model.model.parameters(), *model.model.buffers()]
    return len(own), sum(t.numel() for t in own), sorted(n for n, _ in model.model.named_modules())


def alive() -> Counter[tuple[int, ...]]:
    """The shapes of the tensors that there are, whoever has them."""
    import torch

    gc.collect()
    return Counter(tuple(o.shape) for o in gc.get_objects() if type(o) is torch.nn.Parameter)


@pytest.mark.parametrize("kind", ["plain", "dora", "head", "tokens"])
def test_a_removed_adapter_leaves_nothing_behind(
    shared_base: Path, two: dict[str | None, Path | None], tmp_path: Path, kind: str
) -> None:
    options: dict[str, dict[str, Any]] = {
        "dora": {"use_dora": True},
        "head": {"modules_to_save": ["lm_head"]},
        "tokens": {"trainable_token_indices": [8, 9, 10]},
    }
    place = adapter(tmp_path / kind, str(shared_base), seed=5, **options.get(kind, {}))
    model = alone(shared_base, None)
    own = {name: said(alone(shared_base, at)) for name, at in {**two, kind: place}.items()}
    bare, shapes = held(model), alive()
    for name in (kind, "one"):
        model.add_adapter(place if name == kind else two["one"] or "", name=name)
    for name in (kind, "one", None):
        assert said(model.with_adapter(name)) == own[name]
    with_both = held(model)
    model.remove_adapter(kind)
    assert held(model)[1] < with_both[1]
    assert model.adapters == ("one",)
    for name in ("one", None, "one"):
        assert said(model.with_adapter(name)) == own[name], name
    model.remove_adapter("one")  # the last
    assert held(model) == bare
    assert alive() == shapes
    assert (model.adapters, said(model)) == ((), own[None])
    assert said(model.add_adapter(two["two"] or "", name="one")) == own["two"]
    assert said(model) == own[None]


def test_what_a_removed_adapter_said_is_not_told_by_its_successor(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = loaded(shared_base, {"films": two["one"], "two": two["two"]})
    old = model.with_adapter("films")
    old.prefill(PROMPT)
    old.forget(PROMPT[:8])
    model.remove_adapter("films")
    assert old not in (model.with_adapter(None), model.with_adapter("two"))
    asks: list[Callable[[], object]] = [
        lambda: old.prefill(PROMPT),
        lambda: old.prefill_many([PROMPT]),
        lambda: old.generate(TALKS),
        lambda: old.stream(TALKS[0]),
        lambda: old.max_tokens,
    ]
    for ask in asks:
        with pytest.raises(
            ModelError, match=r"^the adapter 'films' was removed from the model: lo"
        ):
            ask()
    with pytest.raises(InputError, match=r"no adapter 'films' on the model \(it has 'two'\)"):
        old.with_adapter("films")
    new = model.add_adapter(two["two"] or "", name="films")
    right = model.with_adapter("two").prefill(PROMPT).logprobs.tolist()
    before = new.fed
    assert new.prefill(PROMPT).logprobs.tolist() == right
    assert new.fed - before == len(PROMPT)
    with pytest.raises(ModelError, match="was removed"):
        old.prefill(PROMPT)


def test_what_runs_with_a_removed_adapter_ends_unharmed(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = loaded(shared_base, two)
    view = model.with_adapter("one")
    growth = np.array([7, 8], dtype=np.int32), np.array([-1, 0], dtype=np.int32)
    own = alone(shared_base, two["one"])
    wanted = list(own.stream(TALKS[1], max_new_tokens=12))
    grown = own.prefill(PROMPT).extend(*growth).tolist()
    stream, tree = view.stream(TALKS[1], max_new_tokens=12), view.prefill(PROMPT)
    waiting = view.stream(TALKS[1], max_new_tokens=12)  # asked for, and not begun
    got = [next(stream)]
    model.remove_adapter("one")
    assert model.adapters == ("two",)
    assert said(model.with_adapter("two")) == said(alone(shared_base, two["two"]))
    with pytest.raises(InputError, match="'one' was removed, and somebody still runs it: give an"):
        model.add_adapter(two["two"] or "", name="one")
    assert tree.extend(*growth).tolist() == grown
    assert [*got, *stream] == list(waiting) == wanted
    full = held(model)[1]
    del stream, waiting
    model.prefill(PROMPT)
    assert held(model)[1] == full  # the tree is still there
    del tree
    model.prefill(PROMPT)
    assert held(model)[1] < full
    assert said(model.add_adapter(two["two"] or "", name="one")) == said(model.with_adapter("two"))


def test_adapters_come_and_go_while_others_are_asked(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = loaded(shared_base, {"two": two["two"]})
    wanted = {
        name: alone(shared_base, two[name]).generate(TALKS, max_new_tokens=6)
        for name in (None, "one", "two")
    }
    bare = held(model)[:2]
    errors: list[str] = []

    def ask(name: str | None) -> None:
        view = model.with_adapter(name)
        for _ in range(6):
            if view.generate(TALKS, max_new_tokens=6) != wanted[name]:
                errors.append(f"{name} said something else")

    def come_and_go(name: str) -> None:
        for _ in range(4):
            view = model.add_adapter(two["one"] or "", name=name)
            if view.generate(TALKS, max_new_tokens=6) != wanted["one"]:
                errors.append(f"{name} said something else")
            model.remove_adapter(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in (None, "two")]
    threads += [threading.Thread(target=come_and_go, args=(name,)) for name in ("mine", "yours")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    model.prefill(PROMPT)
    assert (model.adapters, held(model)[:2]) == (("two",), bare)


def test_what_cannot_be_removed(shared_base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no adapter 'tuned' on the model \(it has none\)"):
        alone(shared_base, None).remove_adapter("tuned")
    with pytest.raises(InputError, match="None is no adapter of the model: name one to be rem"):
        alone(shared_base, None).remove_adapter(None)  # type: ignore[arg-type]
    base = tiny.folder(tmp_path / "base", attention_bias=True)
    network = tiny.network(attention_bias=True)
    model = alone(base, adapter(tmp_path / "biased", str(base), network, bias="lora_only"))
    before = said(model)
    with pytest.raises(ModelError, match=r"'default' has changed biases .*: load the base again"):
        model.remove_adapter("default")
    assert said(model) == before


def test_the_adapter_of_the_start_is_let_go(
    shared_base: Path, two: dict[str | None, Path | None]
) -> None:
    model = LocalModel.from_pretrained(two["one"], device="cpu")
    model.remove_adapter("default")
    with pytest.raises(ModelError, match="'default' was removed from the model"):
        said(model)
    assert said(model.with_adapter(None)) == said(alone(shared_base, None))
    new = model.add_adapter(two["two"] or "", name="default")
    assert (new.name, said(new)) == ("base + default", said(alone(shared_base, two["two"])))


def test_titles_are_told_apart_by_their_years() -> None:
    titles = ["It", "Heat", "It", "It", "Up"]
    years = [1990, 1995, 2017, None, 2009]
    assert told_apart(titles, years) == ["It (1990)", "Heat", "It (2017)", "It", "Up"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("runs/redial", "runs/redial"),
        ("me/name", "me/name"),
        ("/home/me/runs/redial", "redial"),
        ("../secret/redial", "redial"),
        ("~/redial", "redial"),
    ],
)
def test_a_path_that_leads_out_is_published_by_its_name(path: str, shown: str) -> None:
    assert public_name(path) == shown
