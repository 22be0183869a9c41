"""Fine-tuning: what is learnt, what is packed, and that a cut-off run ends like a whole one."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from llmrec.datasets.base import Report
from llmrec.errors import InputError
from llmrec.models.chat import ChatTokenizer
from llmrec.models.local import LocalModel
from llmrec.models.profile import Profile
from llmrec.training.batches import Order, collate, pack
from llmrec.training.examples import Encoded, Row, encode
from llmrec.training.options import PRESETS, TuningOptions
from llmrec.training.preparing import adapt, estimate, prepare, steps_of
from llmrec.training.trainer import answers_only
from llmrec.training.tuning import base_named, tune, used_as
from llmrec.types import Conversation, Example, Item, Message
from train.lora import main

for _package in ("peft", "trl", "datasets"):
    pytest.importorskip(_package)

REPOSITORY = Path(__file__).resolve().parents[1]


def rows(n: int, seed: int = 0) -> list[Row]:
    """Requests of different lengths, each with two titles as the answer."""
    rng = random.Random(seed)
    out = []
    for _ in range(n):
        asked, *titles = rng.sample(tiny.TITLES, 3)
        words = f"a film like {asked}" + " please" * rng.randrange(8)
        answer = (f"1. {titles[0]}", f"\n2. {titles[1]}", "\n")
        out.append(Row((Message("user", words),), answer))
    return out


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("base") / "llama", spread=0.05)


@pytest.fixture
def options(base: Path, tmp_path: Path) -> TuningOptions:
    return TuningOptions(
        model=str(base),
        base_id="someone/base",
        out=str(tmp_path / "out"),
        max_steps=8,
        batch_size=2,
        accumulation=2,
        max_length=128,
        evaluate_every=4,
        save_every=4,
        learning_rate=1e-2,
        dropout=0.1,
        threads=1,
    )


def weights(out: str | Path, name: str = "adapter_model.safetensors") -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(Path(out) / name)


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return left.keys() == right.keys() and all(bool((left[k] == right[k]).all()) for k in left)


# Options


def test_flags_override_the_config(tmp_path: Path) -> None:
    import argparse

    file = tmp_path / "mine.yaml"
    file.write_text("model: some/model\nlearning_rate: 2e-4\ntarget_modules: q_proj\nepochs: 2\n")
    parser = argparse.ArgumentParser()
    TuningOptions.add_flags(parser)
    flags = ["--config", str(file), "--epochs", "1", "--no-packing", "--dropout", "0"]
    made = TuningOptions.from_flags(vars(parser.parse_args(flags)))
    assert (made.model, made.learning_rate, made.epochs) == ("some/model", 2e-4, 1.0)
    assert made.target_modules == ("q_proj",)
    assert not made.packing
    file.write_text(made.resolved)
    assert TuningOptions.from_flags({"config": str(file)}) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lerning_rate: 1", "the option 'lerning_rate', which is none: use model, "),
        ("epochs: many", "epochs is 'many': give a number"),
        ("batch_size: 2.5", "batch_size is 2.5: give a whole number"),
        ("packing: 1", "packing is 1: give true or false"),
        ("seed: true", "seed is True: give a whole number"),
        ("task: chatting", "task is 'chatting': use recommend, reply, "),
        ("learning_rate: .inf", "learning_rate is inf: give a number"),
        ("model: null", "model is None: give a text"),
        ("target_modules: []", "target_modules is empty: name a layer, or all-linear"),
        ("max_steps: 0", "max_steps is 0: give 1 or more, or leave it out"),
        ("accumulation: 0", "accumulation is 0: give more than 0"),
        ("clip: -1", "clip is -1.0: give 0 or more"),
        ("dropout: 1", "dropout is 1.0: give 0 or more, and less than 1"),
        ("max_length: 2", "max_length is 2: give 8 tokens or more"),
        ("- model", "holds no options"),
        ("model: [", "cannot be read as YAML"),
        ("{method: full, quantization: 4bit}", "method full cannot train weights of quantization"),
        ("{method: full, dora: true}", "rslora and dora are kinds of adapters"),
        ("{quantization: gptq, dora: true}", "dora cannot be had on a GPTQ base"),
        ("group_by_length: true", "packing and group_by_length exclude each other"),
        ("{style: plain, chat_template_from: a/b}", "style is 'plain', which has no chat template"),
        ("save_every: 150", "save_every is 150 and evaluate_every is 100: to keep the best"),
        ("validation_limit: 0", "best_by is 'loss' and validation_limit is 0"),
        ("{task: reply, best_by: recall@10}", "best_by recall@10 needs the task recommend"),
        ("{best_by: none, early_stopping: 2}", "early_stopping needs to know what is better"),
        ("private: true", "private is said of a repository, and push_to_hub names none"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as e:
        TuningOptions.from_flags({"config": str(file)})
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_a_config_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"is no file and no preset: the presets are .*embedded"):
        TuningOptions.from_flags({"config": "embeded"})
    assert (PRESETS / "embedded.yaml").is_file()


# Packing


def encoded(chat: ChatTokenizer, n: int = 12, max_length: int = 64) -> list[Encoded]:
    made, dropped = encode(rows(n), chat, max_length)
    assert len(made) == n
    assert not +dropped
    return made


def test_sequences_hold_every_row_once_and_are_full() -> None:
    rng = random.Random(3)
    made = [Encoded([i] * (n := rng.randint(2, 60)), [i] * n) for i in range(300)]
    packed = pack(made, 64, seed=1)
    found: list[int] = []
    for s in packed:
        assert len(s["input_ids"]) == len(s["labels"]) == sum(s["seq_lengths"]) <= 64
        at = 0
        for length in s["seq_lengths"]:
            text = s["input_ids"][at : at + length]
            assert s["labels"][at : at + length] == [-100, *text[1:]]
            found.append(text[0])
            assert text == made[text[0]].input_ids
            at += length
    assert sorted(found) == list(range(300))
    assert len(packed) <= 1.05 * sum(len(r.input_ids) for r in made) / 64 + 1


def _loss_and_gradients(
    model: Any, sequences: Sequence[Mapping[str, Any]], packed: bool
) -> tuple[float, dict[str, Any]]:
    import torch

    batch = collate(0, packed)(sequences)
    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits[:, :-1]
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
    )
    model.zero_grad()
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize("family", ["embedded", "llama", "gpt2", "gemma2", "mistral"])
def test_packed_rows_teach_what_the_same_rows_teach_alone(family: Any) -> None:
    """Loss and every gradient; the windows of gemma2 and mistral are shorter than the rows."""
    import torch

    if family == "embedded":
        local = LocalModel.from_pretrained(device="cpu")
        model, tokenizer = local.model.eval(), local.tokenizer
    elif family == "mistral":
        from transformers import AutoModelForCausalLM, MistralConfig

        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
        more = {"sliding_window": 12, "vocab_size": tiny.VOCABULARY, "initializer_range": 0.2}
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(MistralConfig(**sizes, **heads, **more)).eval()
        tokenizer = tiny.tokenizer()
    else:
        model, tokenizer = tiny.network(family), tiny.tokenizer()
    made = encoded(ChatTokenizer(tokenizer))
    assert min(len(r.input_ids) for r in made) > 12
    packed = pack(made, 150, seed=0)
    assert len(packed) < len(made) / 2
    alone = [{"input_ids": r.input_ids, "labels": r.labels, "seq_lengths": [0]} for r in made]
    for s in alone:
        s["seq_lengths"] = [len(s["input_ids"])]
    together, gradients = _loss_and_gradients(model, packed, True)
    apart, wanted = _loss_and_gradients(model, alone, False)
    assert together == pytest.approx(apart, rel=1e-5)
    for name, gradient in wanted.items():
        scale = gradient.abs().max()
        assert (gradients[name] - gradient).abs().max() <= 1e-4 * scale + 1e-6, name


def test_a_model_that_cannot_keep_texts_apart_is_not_packed(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, MambaConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    model = AutoModelForCausalLM.from_config(MambaConfig(vocab_size=tiny.VOCABULARY, **sizes))
    model.save_pretrained(tmp_path / "mamba")
    tiny.tokenizer().save_pretrained(tmp_path / "mamba")
    made = prepare(
        TuningOptions(model=str(tmp_path / "mamba"), best_by="none", method="full"), rows(6), []
    )
    assert not made.packed
    assert "lets texts of one sequence see each other" in made.notes[0]
    assert [s["seq_lengths"] for s in made.train] == [[len(s["input_ids"])] for s in made.train]


# Training


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_scoring_the_answers_alone_changes_no_gradient(family: Any) -> None:
    """gemma2 caps its scores, and is left to TRL."""
    from trl.trainer.utils import add_fused_lm_head

    model = tiny.network(family)
    made = pack(encoded(ChatTokenizer(tiny.tokenizer())), 150, seed=0)
    batch = collate(0, True)(made)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    theirs, found = model.forward, []
    for change in (lambda: None, lambda: answers_only(model)):
        change()
        model.zero_grad()
        out = model(**batch, fused_lm_head=True)
        (-out.log_probs.sum()).backward()
        found.append((out, {n: p.grad.clone() for n, p in model.named_parameters()}))
    assert (model.forward is theirs) == (family == "gemma2")
    (wanted, gradients), (got, ours) = found
    for name in ("loss", "log_probs", "entropy"):
        close = np.allclose(getattr(got, name).detach(), getattr(wanted, name).detach(), atol=1e-4)
        assert close, name
    assert bool((got.is_top1 == wanted.is_top1).all())
    for name, gradient in gradients.items():
        assert (ours[name] - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name
    logits = model(**{k: v for k, v in batch.items() if k != "labels"}).logits
    assert logits.shape[-1] == tiny.VOCABULARY


def test_it_learns_and_writes_all_that_is_needed(options: TuningOptions) -> None:
    calls = []

    def metric(model: LocalModel) -> dict[str, float]:
        reply = model.generate([[Message("user", "a film like Heat")]], max_new_tokens=4)
        assert len(reply) == 1
        calls.append(model)
        return {"recall@10": len(calls) / 10}

    sentences: list[str] = []
    record = tune(
        dataclasses.replace(options, best_by="recall@10"),
        rows(60),
        rows(12, seed=1),
        metric=metric,
        profile=Profile(detail="turns", writes=False),
        about={"languages": ["en"], "license": "mit", "data": {"source": "made up"}},
        say=sentences.append,
    )
    out = Path(options.out)
    assert json.loads((out / "training.json").read_text()) == record
    assert record["loss"]["validation_best"] < record["loss"]["validation_first"] - 0.3
    assert record["cost"]["steps"] == 8
    assert 0 < record["cost"]["answer_tokens"] < record["cost"]["tokens"]
    assert record["data"]["rows"] == 60
    assert record["data"]["source"] == "made up"
    assert record["parameters"]["trainable"] < record["parameters"]["total"] / 4
    (measured,) = record["measured"]
    assert (measured["name"], measured["split"]) == ("recall@10", "validation")
    assert (measured["before"], measured["value"]) == ({"value": 0.1}, 0.3)
    assert measured["command"].startswith("python eval/run.py --data ")
    assert len(calls) == 3
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "someone/base"
    assert json.loads((out / "llmrec.json").read_text())["writes"] is False
    assert TuningOptions.from_flags({"config": str(out / "tuning.yaml")}).k == options.k
    tuned = LocalModel.from_pretrained(options.model, adapter=out, device="cpu")
    assert tuned.tokenizer.chat_template == tiny.CHAT_TEMPLATE
    assert tuned.profile.detail == "turns"
    assert not sentences
    left = {p.name for p in out.iterdir()}
    assert "training_args.bin" not in left
    assert ".part" not in left


def test_the_loss_is_that_of_the_answers_alone(options: TuningOptions) -> None:
    """The validation loss equals the mean over answer tokens, by hand."""
    import torch

    held = rows(7, seed=5)
    record = tune(dataclasses.replace(options, max_steps=1), rows(8), held)
    model = LocalModel.from_pretrained(options.model, device="cpu")
    total, count = 0.0, 0
    for row in encode(held, model.chat, 128)[0]:
        with torch.no_grad():
            scores = model.model(torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
        wanted = [(i - 1, t) for i, t in enumerate(row.labels) if t != -100]
        total -= sum(scores[i, t].item() for i, t in wanted)
        count += len(wanted)
    assert record["loss"]["validation_first"] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("kind", [{"rslora": True}, {"dora": True}, {"method": "full"}])
def test_other_ways_to_train(options: TuningOptions, kind: dict[str, Any]) -> None:
    changed = dataclasses.replace(options, max_steps=3, best_by="none", **kind)
    record = tune(changed, rows(24), rows(4, seed=1))
    if "method" in kind:
        assert record["parameters"]["trainable"] == record["parameters"]["total"]
        tuned = LocalModel.from_pretrained(options.out, device="cpu")
    else:
        config = json.loads((Path(options.out) / "adapter_config.json").read_text())
        assert config["use_rslora" if "rslora" in kind else "use_dora"] is True
        tuned = LocalModel.from_pretrained(options.model, adapter=options.out, device="cpu")
    assert record["loss"]["validation_best"] < record["loss"]["validation_first"]
    assert tuned.generate([[Message("user", "hi")]], max_new_tokens=2)


def test_it_ends_early_and_keeps_the_best(options: TuningOptions) -> None:
    values = iter([0.1, 0.3, 0.2, 0.1, 0.0])
    changed = dataclasses.replace(
        options, best_by="recall@10", early_stopping=2, evaluate_every=1, save_every=1, keep=5
    )
    record = tune(changed, rows(24), rows(4), metric=lambda model: {"recall@10": next(values)})
    assert record["cost"]["steps"] == 3
    assert record["measured"][0]["value"] == 0.3
    best = weights(Path(options.out) / "checkpoints" / "checkpoint-1")
    assert same(weights(options.out), best)


# Resumption


class CutError(Exception):
    """Stands for whatever ends a run early."""


def cut_at(evaluation: int) -> Callable[[LocalModel], dict[str, float]]:
    seen = [0]

    def metric(model: LocalModel) -> dict[str, float]:
        seen[0] += 1
        if seen[0] == evaluation:
            raise CutError
        return {}

    return metric


@pytest.mark.parametrize("sampling", ["packed", "by length"])
def test_a_cut_off_run_ends_like_a_whole_one(options: TuningOptions, sampling: str) -> None:
    """Cut in the second pass over the rows, with dropout, between two checkpoints."""
    changed = dataclasses.replace(
        options,
        evaluate_every=3,
        save_every=3,
        max_steps=10,
        packing=sampling == "packed",
        group_by_length=sampling == "by length",
        max_length=90 if sampling == "packed" else 128,
    )
    whole = dataclasses.replace(changed, out=options.out + "-whole")
    data = rows(20), rows(4, seed=1)
    wanted = tune(whole, *data)
    with pytest.raises(CutError):
        tune(changed, *data, metric=cut_at(4))  # at the start, and after 3, 6 and 9 steps
    assert not (Path(options.out) / "training.json").exists()
    said: list[str] = []
    record = tune(changed, *data, say=said.append)
    assert "checkpoint-6" in said[0]
    assert same(weights(options.out), weights(whole.out))
    for key in ("steps", "tokens", "answer_tokens"):
        assert record["cost"][key] == wanted["cost"][key]
    assert record["loss"] == wanted["loss"]


def test_a_run_cut_off_at_its_very_end_is_only_written(options: TuningOptions) -> None:
    data = rows(20), rows(4, seed=1)
    record = tune(options, *data)
    before = weights(options.out)
    for name in ("training.json", "adapter_model.safetensors"):
        (Path(options.out) / name).unlink()
    again = tune(options, *data)
    assert same(weights(options.out), before)
    assert again["cost"]["steps"] == record["cost"]["steps"] == 8
    assert again["loss"] == record["loss"]


def test_other_options_or_rows_do_not_go_on(options: TuningOptions) -> None:
    data = rows(20), rows(4, seed=1)
    with pytest.raises(CutError):
        tune(options, *data, metric=cut_at(3))
    with pytest.raises(InputError, match=r"learning_rate was 0\.01 and is 0\.02\).*resume never"):
        tune(dataclasses.replace(options, learning_rate=2e-2), *data)
    with pytest.raises(InputError, match="the rows have changed"):
        tune(options, rows(19), data[1])
    anew = dataclasses.replace(options, learning_rate=2e-2, resume="never", max_steps=4)
    assert tune(anew, *data)["cost"]["steps"] == 4


def test_a_half_written_checkpoint_is_passed_over(options: TuningOptions) -> None:
    data = rows(20), rows(4, seed=1)
    whole = dataclasses.replace(options, out=options.out + "-whole")
    tune(whole, *data)
    with pytest.raises(CutError):
        tune(options, *data, metric=cut_at(3))
    half = Path(options.out) / "checkpoints" / "checkpoint-7"
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"half")
    (half / "trainer_state.json").write_text('{"epoch": 1.')
    tune(options, *data)
    assert same(weights(options.out), weights(whole.out))


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_tuning import rows, TuningOptions, tune
seen = []
def metric(model):
    seen.append(1)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {{}}
options = TuningOptions.from_flags({{"config": {config!r}}})
tune(options, rows(20), rows(4, seed=1), metric=metric)
"""


@pytest.mark.slow
def test_a_killed_run_ends_like_a_whole_one(options: TuningOptions, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(options.resolved)
    code = KILLED.format(tests=str(REPOSITORY / "tests"), config=str(config))
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (Path(options.out) / "training.json").exists()
    whole = dataclasses.replace(options, out=options.out + "-whole")
    data = rows(20), rows(4, seed=1)
    tune(whole, *data)
    tune(options, *data)
    assert same(weights(options.out), weights(whole.out))


# Order


def test_batches_of_like_length_hold_every_row_once_an_epoch() -> None:
    lengths = [random.Random(n).randint(5, 500) for n in range(1001)]
    order = Order(lengths, 8, 3, True)
    first = list(order)
    order.epoch = 1
    second = list(order)
    assert sorted(first) == sorted(second) == list(range(1001))
    assert first != second
    order.epoch = 0
    assert list(order) == first

    def spread(way: list[int]) -> float:
        batches = np.array([lengths[i] for i in way[:1000]]).reshape(-1, 8)
        return float((batches.max(1) - batches.mean(1)).mean())

    assert spread(first) < spread(list(Order(lengths, 8, 3, False))) / 10
    firsts = [lengths[i] for i in first[:1000:8]]
    assert firsts != sorted(firsts, reverse=True)


# Four bits


def test_four_bit_weights_on_a_cpu_teach_as_they_stand(base: Path, options: TuningOptions) -> None:
    """The adapters' gradients are those of the same weights, dequantised."""
    bnb = pytest.importorskip("bitsandbytes")
    import torch

    made = prepare(dataclasses.replace(options, quantization="4bit", dropout=0.0), rows(8), rows(2))
    linear = [m for m in made.local.model.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert linear
    assert not any(m.support_avx512bf16_for_cpu for m in linear)
    assert all(m.weight.quant_state.nested for m in linear)  # double quantisation
    plain = LocalModel.from_pretrained(base, device="cpu")
    for module, quantised in zip(
        [
            m
            for n, m in plain.model.named_modules()
            if type(m).__name__ == "Linear" and "layers" in n
        ],
        linear,
        strict=True,
    ):
        full = bnb.functional.dequantize_4bit(quantised.weight.data, quantised.weight.quant_state)
        assert module.weight.shape == full.shape
        module.weight.data.copy_(full)
    other = adapt(plain.model, dataclasses.replace(options, dropout=0.0))
    torch.manual_seed(1)
    values = {}
    for name, p in made.local.model.named_parameters():
        if p.requires_grad:
            p.data = values[name] = 0.05 * torch.randn_like(p)
    for name, p in other.named_parameters():
        if p.requires_grad:
            p.data = values[name].clone()
    batch = collate(0, True)(made.train)
    gradients = []
    for model in (made.local.model, other):
        batch_of = {k: v for k, v in batch.items() if k != "labels"}
        logits = model.train()(**batch_of, use_cache=False).logits[:, :-1].flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, batch["labels"][:, 1:].flatten()).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[1].items():
        assert (gradients[0][name] - gradient).abs().max() <= 1e-3 * gradient.abs().max(), name


def test_four_bit_weights_can_be_tuned(options: TuningOptions) -> None:
    pytest.importorskip("bitsandbytes")
    changed = dataclasses.replace(options, quantization="4bit", max_steps=4)
    record = tune(changed, rows(24), rows(4, seed=1))
    assert record["loss"]["validation_best"] < record["loss"]["validation_first"] - 0.1
    assert record["parameters"]["total"] == prepare(options, rows(4), rows(1)).total


# What stands in the way


def test_what_cannot_be_trained_is_said(options: TuningOptions) -> None:
    with pytest.raises(InputError, match="no row is left to train on"):
        tune(options, [], rows(2))
    with pytest.raises(InputError, match="best_by is 'loss' and there is no row to validate on"):
        tune(options, rows(2), [])
    with pytest.raises(InputError, match="max_length is 1024, and llama reads 512 tokens"):
        tune(dataclasses.replace(options, max_length=1024), rows(2), rows(2))
    with pytest.raises(InputError, match="llama is not quantised: name a GPTQ model"):
        tune(dataclasses.replace(options, quantization="gptq"), rows(2), rows(2))
    with pytest.raises(InputError, match="target_modules is query, and that cannot be had"):
        tune(dataclasses.replace(options, target_modules=("query",)), rows(2), rows(2))


def test_an_estimate_grows_with_what_is_trained(options: TuningOptions) -> None:
    lora = prepare(options, rows(12), rows(2))
    full = prepare(dataclasses.replace(options, method="full"), rows(12), rows(2))
    small, large = estimate(lora, options), estimate(full, options)
    assert large["optimiser"] > 3 * small["optimiser"]
    assert small["weights"] == pytest.approx(4 * lora.total / 1e6, abs=0.1)
    saved = estimate(lora, dataclasses.replace(options, gradient_checkpointing=True))
    assert saved["activations"] < small["activations"]
    assert steps_of(lora, dataclasses.replace(options, max_steps=None, epochs=2.0)) == 2 * -(
        -len(lora.train) // 4
    )


def test_curves_stay_on_this_machine(options: TuningOptions) -> None:
    if importlib.util.find_spec("trackio") is None or "trackio" in sys.modules:
        pytest.skip("trackio reads where it writes to when it is imported")
    tune(dataclasses.replace(options, report_to="trackio", max_steps=2), rows(8), rows(2))
    assert (Path(options.out) / "trackio" / "llmrec.db").stat().st_size


# The script


def chats(file: Path, n: int = 60) -> Path:
    """A file of conversations, and two lines that are none."""
    lines = [
        json.dumps(
            {
                "messages": [{"role": "user", "content": r.prompt[0].content}],
                "reply": "".join(r.answer),
                "id": str(i),
            }
        )
        for i, r in enumerate(rows(n))
    ]
    file.write_text("\n".join([*lines, "{", '{"messages": []}']), encoding="utf-8")
    return file


def test_the_script_tunes_on_a_file_of_conversations(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = chats(tmp_path / "chats.jsonl"), tmp_path / "out"
    common = ["--config", "embedded", "--model", str(base), "--task", "chat", "--data", str(file)]
    common += ["--best-by", "loss", "--threads", "1", "--max-steps", "3", "--max-length", "128"]
    assert main([*common, "--out", str(out), "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "are trained (" in plan
    assert re.search(r"rows +\d+ to train on in \d+ sequences, \d+ to validate on", plan)
    assert re.search(r"steps +3, of [\d,]+ tokens", plan)
    assert re.search(r"= [\d,]+ MB, estimated", plan)
    assert not out.exists()
    assert main([*common, "--out", str(out)]) == 0
    assert "validation loss " in capsys.readouterr().out
    record = json.loads((out / "training.json").read_text())
    assert record["task"] == "chat"
    assert json.loads((out / "llmrec.json").read_text())["writes"] is True


def test_the_script_says_what_it_cannot_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "embedded"]) == 1
    assert capsys.readouterr().err.startswith("lora: no data are given: name with --data")
    assert main(["--config", "embedded", "--max-steps", "0"]) == 1
    assert capsys.readouterr().err.startswith("lora: max_steps is 0")


def test_the_script_keeps_the_step_with_the_best_recall(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from llmrec.datasets.folder import write

    write(Talks(), tmp_path / "data", progress=False)
    flags = ["--config", "embedded", "--model", str(base), "--data", str(tmp_path / "data")]
    flags += ["--out", str(tmp_path / "out"), "--threads", "1", "--max-steps", "4"]
    flags += ["--evaluate-every", "2", "--save-every", "2", "--learning-rate", "1e-2"]
    assert main(flags) == 0
    assert re.search(r"recall@10 \d\.\d+ -> \d\.\d+ \(n 8, 95 % ", capsys.readouterr().out)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    (measured,) = record["measured"]
    assert measured["low"] <= measured["value"] <= measured["high"]
    assert measured["n"] == 8
    assert record["data"]["title"] == "Talks"
    assert record["languages"] == ["en"]
    assert measured["command"] == "python eval/run.py --data data --model out --out runs/eval/out"


def test_what_is_published_tells_nothing_of_the_machine(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    data = tmp_path / "talk.jsonl"
    data.write_text("\n".join(json.dumps({"messages": talk, "id": i}) for i in range(40)))
    out = tmp_path / "out"
    flags = ["--model", str(base), "--data", str(data), "--task", "chat", "--out", str(out)]
    flags += ["--max-steps", "1", "--validation-limit", "0", "--best-by", "none"]
    flags += ["--max-length", "128"]
    assert main([*flags, "--push-to-hub", "me/name"]) == 1
    assert "which others do not have: name it as the Hub does with --base-id" in (
        capsys.readouterr().err
    )
    assert not out.exists()
    assert main(flags) == 0
    for name in ("README.md", "training.json", "tuning.yaml"):
        assert str(tmp_path) not in (out / name).read_text(), name
    assert LocalModel.from_pretrained(out, device="cpu").name == "llama + out"  # here it loads
    assert base_named(TuningOptions(model="embedded")) == ("llmrec-embedded", None)
    assert base_named(TuningOptions(model="gpt2", revision="main")) == ("gpt2", "main")


@pytest.mark.parametrize(
    ("task", "before", "after"),
    [
        ("recommend", Profile("rules", "brief", False), Profile("rules-only", "full", False, 4.0)),
        ("recommend", Profile("model", "turns", True), Profile("rules", "full", True, 4.0)),
        ("reply", Profile("rules", "brief", False), Profile("rules", "brief", True)),
        (
            "answer",
            Profile("rules", "brief", False),
            Profile("rules-only", "brief", False, answers="chat"),
        ),
    ],
)
def test_the_profile_follows_what_was_learnt(task: str, before: Profile, after: Profile) -> None:
    options = TuningOptions(task=task, detail="full", best_by="loss")
    assert used_as(before, options) == after


class Talks:
    """Requests that are all answered with one of three films."""

    name, title, homepage, license, citation = "talks", "Talks", "", "mit", ""
    example_splits, item_splits = ("train", "validation"), ("train",)

    def __init__(self) -> None:
        self.report = Report()

    def examples(self, split: str = "train") -> Iterator[Example]:
        for i in range(40 if split == "train" else 8):
            said = Conversation((Message("user", f"a film{' please' * (i % 5)}"),), language="en")
            yield Example(said, relevant=(f"{i % 3}",), id=f"{split}{i}", dialogue=f"{split}{i}")

    def items(self, split: str = "train") -> Iterator[Item]:
        titles = [f"{t}{part}" for t in dict.fromkeys(tiny.TITLES) for part in ("", " II", " III")]
        return (Item(str(i), title, popularity=0.5) for i, title in enumerate(titles))


# Several processes


@pytest.mark.slow
def test_two_processes_teach_what_one_with_twice_the_accumulation_does(
    options: TuningOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = dataclasses.replace(
        options,
        data=str(chats(tmp_path / "chats.jsonl", 150)),
        task="chat",
        dropout=0.0,
        max_steps=4,
        max_length=90,
        clip=0.0,
        learning_rate=1e-3,
    )
    shared = dataclasses.replace(alone, accumulation=1, out=options.out + "-two")
    files = [tmp_path / "alone.yaml", tmp_path / "shared.yaml"]
    for file, said in zip(files, (alone, shared), strict=True):
        file.write_text(said.resolved)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    ended = subprocess.run(
        [*torchrun, "train/lora.py", "--config", str(files[1])],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("validation loss ") == 1
    assert main(["--config", str(files[0])]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ended.stdout.splitlines()[1:]
    wanted, record = (
        json.loads((Path(o.out) / "training.json").read_text()) for o in (alone, shared)
    )
    for key in ("steps", "tokens", "answer_tokens"):
        assert record["cost"][key] == wanted["cost"][key]
    for key in ("validation_first", "validation_best"):
        assert record["loss"][key] == pytest.approx(wanted["loss"][key], rel=1e-5)
    two, one = weights(shared.out), weights(alone.out)
    for name, value in one.items():
        assert (two[name] - value).abs().max() <= 1e-5, name
