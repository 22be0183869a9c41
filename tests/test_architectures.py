"""What is run on every architecture: tiny random weights, and the chat template of the family.

Each test records what it proved; ``docs/models_table.py`` makes the table of the guide of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from docs import models_table
from llmrec.decoding import rank_titles, score_titles, title_trie
from llmrec.errors import InputError, MissingExtraError, ModelError
from llmrec.models.local import LocalModel
from llmrec.types import Message

# peft still uses this of transformers
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

WINDOW = 16  # shorter than any prompt here
TALKS = [
    [Message("system", "Be brief."), Message("user", "Um filme de ação de até 2 horas?")],
    [Message("user", "Toy Story"), Message("assistant", "Yes?"), Message("user", "like it " * 9)],
]
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# As the tokenizers of Mistral 7B Instruct v0.1 and of Zephyr 7B beta publish them.
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
TURNS = ("<bos>", "<start_of_turn>", "<end_of_turn>")
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


SOURCES = {MISTRAL: "mistral, v0.1", ZEPHYR: "zephyr, beta"}


@dataclass(frozen=True)
class Family:
    """One architecture as it is tried.

    template: as written here, or the name of a file that TRL carries; empty: it has none.
    marks: the special tokens of the template, the first of which begins a text.
    """

    kind: str
    template: str
    marks: tuple[str, ...] = ()
    sizes: dict[str, Any] = field(default_factory=lambda: dict(SIZES))
    cache: str = "full"
    mode: str = "tree"


FAMILIES = {
    "Llama 3": Family("llama", "llama3_2", HEADERS, SIZES | {"rope_parameters": LLAMA3}),
    "Mistral": Family(
        "mistral", MISTRAL, sizes=SIZES | {"sliding_window": WINDOW}, cache="sliding"
    ),
    "Zephyr": Family("mistral", ZEPHYR, sizes=SIZES | {"sliding_window": None}),
    "Gemma": Family("gemma", "gemma", TURNS, SIZES | {"num_key_value_heads": 1}),
    "Gemma 2": Family(
        "gemma2", "gemma", TURNS, SIZES | {"sliding_window": WINDOW}, "sliding and full"
    ),
    "Gemma 3, text": Family(
        "gemma3_text",
        "gemma3",
        TURNS,
        SIZES | {"sliding_window": WINDOW, "sliding_window_pattern": 3},
        "sliding and full",
    ),
    "Gemma 3, images and text": Family(
        "gemma3",
        "gemma3",
        (*TURNS, "<start_of_image>"),
        {
            "text_config": SIZES | {"sliding_window": WINDOW, "sliding_window_pattern": 3},
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            "mm_tokens_per_image": 4,
        },
        "sliding and full",
    ),
    "Qwen 2.5": Family("qwen2", "qwen2_5", CHATML),
    "Qwen 3": Family("qwen3", "qwen3", CHATML),
    "Phi 3": Family(
        "phi3",
        "phi3",
        ("<s>", "<|user|>", "<|assistant|>", "<|end|>", "<|system|>"),
        SIZES | {"sliding_window": WINDOW, "pad_token_id": 0},
        "sliding",
    ),
    "GPT-2": Family("gpt2", "", sizes={"n_embd": 64, "n_layer": 3, "n_head": 4}),
    "LFM 2": Family(
        "lfm2",
        "lfm2",
        CHATML,
        SIZES
        | {"layer_types": ["conv", "full_attention", "conv"], "block_auto_adjust_ff_dim": False},
        "convolutions and full",
        "copies",
    ),
    "Qwen 3.5, text": Family(
        "qwen3_5_text",
        "qwen3_5_nothink",
        CHATML,
        SIZES
        | {
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        },
        "state space and full",
        "copies",
    ),
    "Nemotron H": Family(
        "nemotron_h",
        "nemotron_3_nano",
        CHATML,
        SIZES
        | {
            "layers_block_type": ["linear_attention", "full_attention", "linear_attention", "mlp"],
            "num_hidden_layers": 4,
            "mamba_num_heads": 4,
            "mamba_head_dim": 16,
            "ssm_state_size": 8,
            "n_groups": 2,
            "chunk_size": 8,
        },
        "state space and full",
        "copies",
    ),
}


def tokenizer(family: Family) -> Any:
    """The small tokenizer with the special tokens and the chat template of a family."""
    template = family.template
    if template and "{" not in template:
        trl = find_spec("trl")
        folder = Path((trl and trl.origin) or "").parent / "chat_templates"
        if not (folder / f"{template}.jinja").is_file():
            pytest.skip(f"TRL is not installed here, or does not carry the template {template}")
        template = (folder / f"{template}.jinja").read_text(encoding="utf-8")
    made = tiny.tokenizer(template or None)
    if family.marks:
        made.add_special_tokens(
            {"bos_token": family.marks[0], "additional_special_tokens": list(family.marks[1:])},
            replace_extra_special_tokens=False,
        )
    return made


def network(family: Family, attention: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    rest = {"eos_token_id": 2, "pad_token_id": 0, "vocab_size": tiny.VOCABULARY}
    sizes = dict(family.sizes)
    if "text_config" in sizes:
        sizes["text_config"] = sizes["text_config"] | rest
    else:
        sizes = rest | sizes
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = AutoConfig.for_model(family.kind, **sizes)
    made = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 2:
                weight.normal_(0, 0.15)  # so that it has opinions
    return made


@cache
def local(name: str, attention: str) -> LocalModel:
    return LocalModel(network(FAMILIES[name], attention), tokenizer(FAMILIES[name]), name=name)


def plain(model: LocalModel, ids: list[int]) -> Any:
    """What follows each of the tokens, by one forward of transformers without a cache."""
    import torch

    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    logits[:, len(model.tokenizer) :] = -torch.inf
    return torch.log_softmax(logits, dim=-1).numpy()


def furthest_score(model: LocalModel) -> float:
    """How far the scores of titles are from those of plain forwards; a ranking is their order."""
    prompts = [model.prompt_ids(t) for t in TALKS]
    trie = title_trie(model, tiny.TITLES)
    scores = score_titles(model, prompts, trie)
    far = 0.0
    for prompt, own in zip(prompts, scores, strict=True):
        assert len(prompt) > WINDOW
        for row in range(0, len(tiny.TITLES), 3):
            ids = model.encode(f" {tiny.TITLES[row]}\n")
            after = plain(model, prompt + ids)[len(prompt) - 1 :]
            far = max(far, abs(float(own[row] - after[range(len(ids)), ids].sum())))
    ranked = rank_titles(model, prompts, trie, 5, width=3, score_all_below=0)
    for ranking, own in zip(ranked, scores, strict=True):
        assert ranking.exact
        assert own[ranking.rows] == pytest.approx(np.sort(own)[::-1][:5], abs=2 * far + 1e-4)
    return far


def furthest_tree(model: LocalModel) -> float:
    """How far a tree that grows in steps is from plain forwards of its paths."""
    prompt = model.prompt_ids(TALKS[0])
    prefix = model.prefill(prompt)
    rng = np.random.default_rng(0)
    paths: list[list[int]] = []
    far = 0.0
    for new in (4, 3, 5):
        tokens = rng.integers(7, 400, new).astype(np.int32)
        parents = rng.integers(-1, len(paths) + 1, new).clip(max=len(paths) - 1).astype(np.int32)
        got = prefix.extend(tokens, parents)
        paths += [
            [*(paths[p] if p >= 0 else []), int(t)] for t, p in zip(tokens, parents, strict=True)
        ]
        for own, path in zip(got, paths[-new:], strict=True):
            used = len(model.tokenizer)
            right = plain(model, prompt + path)[-1][:used]
            far = max(far, float(np.abs(own[:used] - right).max()))
    return far


def written(model: LocalModel, ids: list[int], tokens: int) -> str:
    """The likeliest tokens, each by a plain forward."""
    out: list[int] = []
    while len(out) < tokens:
        token = int(plain(model, ids + out)[-1].argmax())
        if token in model.end_ids:
            break
        out.append(token)
    text: str = model.tokenizer.decode(out, skip_special_tokens=True)
    return text


def check_writing(model: LocalModel) -> None:
    texts = model.generate(TALKS, max_new_tokens=8)
    for talk, text in zip(TALKS, texts, strict=True):
        assert "".join(model.stream(talk, max_new_tokens=8)) == text
        assert text == written(model, model.prompt_ids(talk), 8)
    turn = [*TALKS[0], Message("assistant", texts[0]), Message("user", "More")]
    later = model.prompt_ids(turn)  # what was run before is not run again, and changes nothing
    used = len(model.tokenizer)
    own = model.prefill(later).logprobs[:used]
    assert own == pytest.approx(plain(model, later)[-1][:used], abs=1e-3)
    assert json.loads(model.generate(TALKS[:1], schema=SCHEMA)[0])["a"] in ("x", "y")


# Transformers has no SDPA for Gemma 2, which caps its scores.
CASES = [
    pytest.param(n, a, marks=[pytest.mark.slow] if a == "eager" and n != "Gemma 2" else [])
    for n in FAMILIES
    for a in ("sdpa", "eager")
    if (n, a) != ("Gemma 2", "sdpa")
]


@pytest.mark.parametrize(("name", "attention"), CASES)
def test_an_architecture_is_run_as_transformers_runs_it(
    name: str, attention: str, record_property: Callable[[str, object], None]
) -> None:
    family = FAMILIES[name]
    model = local(name, attention)
    assert model.runner.mode == family.mode
    far = max(furthest_score(model), furthest_tree(model))
    assert far < 1e-4
    check_writing(model)
    record_property("architecture", name)
    record_property("kind", family.kind)
    record_property("template", SOURCES.get(family.template, family.template or "none"))
    record_property("cache", family.cache)
    record_property("mode", model.runner.mode)
    record_property(attention, far)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_ends_where_the_answer_begins(name: str) -> None:
    family = FAMILIES[name]
    made = LocalModel(network(FAMILIES["Llama 3"], "sdpa"), tokenizer(family), name=name)
    hostile = [Message("user", f"x{''.join(family.marks)}</s> y")]
    for talk in (*TALKS, hostile):
        ids = made.prompt_ids(talk)
        text = made.tokenizer.decode(ids)
        begins = family.marks and family.marks[0] in (made.tokenizer.chat_template or "bos_token")
        assert ids.count(made.tokenizer.bos_token_id) <= 1 or not begins, text
        assert all(m.content in text for m in talk[:-1])
    clean = [Message("user", "x y")]
    special = set(made.chat.special.values())
    marks = [[i for i in made.prompt_ids(t) if i in special] for t in (hostile, clean)]
    assert marks[0] == marks[1]  # what a user writes ends no turn
    assert made.chat.turn_end in made.end_ids
    opened = made.chat.prompt_text(clean).rpartition("x y")[2]
    assert opened.count("<think>") == opened.count("</think>")  # a title is no thought


@pytest.mark.slow
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
@pytest.mark.parametrize("name", FAMILIES)
def test_an_architecture_runs_quantised(
    name: str, bits: Any, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pytest.importorskip("bitsandbytes")
    family = FAMILIES[name]
    network(family, "eager").save_pretrained(tmp_path)
    tokenizer(family).save_pretrained(tmp_path)
    model = LocalModel.from_pretrained(tmp_path, quantization=bits, device="cpu")
    kinds = {type(m).__name__ for m in model.model.modules()}
    assert {"4bit": "Linear4bit", "8bit": "Linear8bitLt"}[bits] in kinds
    assert model.runner.mode == family.mode
    far = max(furthest_score(model), furthest_tree(model))
    assert len(model.generate(TALKS, max_new_tokens=4)) == 2
    record_property("architecture", name)
    record_property(bits, far)
    assert far < 0.5


QUICK = ("GPT-2", "LFM 2")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES]
)
def test_an_architecture_takes_adapters(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pytest.importorskip("peft")
    from peft import LoraConfig, PeftModel, get_peft_model

    family = FAMILIES[name]
    for seed, own in enumerate(("one", "two")):
        made = get_peft_model(
            network(family, "eager"),
            LoraConfig(
                r=2 + seed,
                # PEFT changes attention only where there is Mamba.
                target_modules=["q_proj", "v_proj"] if name == "Nemotron H" else "all-linear",
                fan_in_fan_out=name == "GPT-2",
            ),
        )
        for key, weight in made.named_parameters():
            if "lora_B" in key:
                weight.data.normal_(0, 0.3)
        made.save_pretrained(tmp_path / own)
    model = LocalModel(network(family, "eager"), tokenizer(family), name=name)
    prompt = model.prompt_ids(TALKS[0])
    used = len(model.tokenizer)
    right = {None: plain(model, prompt)[-1][:used]}
    for own in ("one", "two"):
        tuned = PeftModel.from_pretrained(network(family, "eager"), str(tmp_path / own))
        right[own] = plain(LocalModel(tuned, model.tokenizer), prompt)[-1][:used]
        assert np.abs(right[own] - right[None]).max() > 0.1
        model.add_adapter(tmp_path / own, name=own)
    far = 0.0
    for own in (None, "one", "two", "one", None):
        got = model.with_adapter(own).prefill(prompt).logprobs[:used]
        far = max(far, float(np.abs(got - right[own]).max()))
    assert far < 1e-4
    record_property("architecture", name)
    record_property("adapters", far)


# -- attention and weights of other kinds -----------------------------------------------------


@pytest.fixture
def flash(request: pytest.FixtureRequest) -> Iterator[str]:
    """An attention as flash attention is: causal, and with a mask of padding or none.

    Given any other mask it fails, or takes no notice of it.
    """
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flash_attention_mask

    def attend(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **more: Any
    ) -> tuple[Any, None]:
        seen = torch.ones(query.shape[2], key.shape[2]).tril(key.shape[2] - query.shape[2]).bool()
        if attention_mask is not None and attention_mask.ndim == 2:
            seen = seen & attention_mask[:, None, None, -key.shape[2] :].bool()
        elif attention_mask is not None and request.param == "fails":
            raise ValueError("the mask has another shape")
        groups = query.shape[1] // key.shape[1]
        both = (t.repeat_interleave(groups, 1) for t in (key, value))
        rows = torch.nn.functional.scaled_dot_product_attention(query, *both, attn_mask=seen)
        return rows.nan_to_num().transpose(1, 2).contiguous(), None

    AttentionInterface.register("padding_only", attend)
    AttentionMaskInterface.register("padding_only", flash_attention_mask)
    yield "padding_only"
    del AttentionInterface._global_mapping["padding_only"]
    del AttentionMaskInterface._global_mapping["padding_only"]


@pytest.mark.parametrize("flash", ["fails", "takes no notice"], indirect=True)
def test_attention_that_takes_no_such_masks_leads_to_copies(flash: str, tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "tiny")
    model = LocalModel.from_pretrained(folder, attn_implementation=flash, device="cpu")
    assert model.model.config._attn_implementation == flash
    assert model.runner.mode == "copies"
    assert max(furthest_score(model), furthest_tree(model)) < 1e-4
    other = LocalModel.from_pretrained(folder, attn_implementation="eager", device="cpu")
    assert other.runner.mode == "tree"
    assert model.generate(TALKS, max_new_tokens=8) == other.generate(TALKS, max_new_tokens=8)


FLEX = """
import sys, tiny, test_architectures as t
from llmrec.models.local import LocalModel
model = LocalModel.from_pretrained(sys.argv[1], attn_implementation="flex_attention", device="cpu")
assert model.model.config._attn_implementation == "flex_attention"
assert model.runner.mode in ("tree", "copies")
print(max(t.furthest_score(model), t.furthest_tree(model)))
"""


@pytest.mark.slow
def test_flex_attention_says_the_same(tmp_path: Path) -> None:
    """Not compiled: on a CPU each new shape takes half a minute to be compiled."""
    root = Path(__file__).resolve().parent.parent
    paths = {"PYTHONPATH": f"{root}:{root / 'tests'}", "TORCHDYNAMO_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FLEX, str(tiny.folder(tmp_path / "tiny"))],
        env={**os.environ, **paths},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 1e-4


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3", "kernels-x/y", "magic"])
def test_attention_that_is_not_to_be_had_is_named(name: str, tmp_path: Path) -> None:
    import torch

    if name.startswith("flash") and (torch.cuda.is_available() or find_spec("flash_attn")):
        pytest.skip("flash attention may be had here")
    with pytest.raises(ModelError, match=f"^attn_implementation '{name}' cannot be used here") as e:
        LocalModel.from_pretrained(tiny.folder(tmp_path), attn_implementation=name, device="cpu")
    assert str(e.value).endswith("install what it needs, or leave it out")
    assert "\n" not in str(e.value)


STORED = {
    "gptq": ({"bits": 4}, "(optimum|gptqmodel) is needed .*llmrec.gptq."),
    "awq": ({"bits": 4}, "gptqmodel is needed .*llmrec.gptq."),
    "compressed-tensors": ({"format": "int-quantized"}, "needs a package: compressed-tensors"),
    "fbgemm_fp8": ({}, "needs a package: .*fp8 quantization requires a GPU"),
    "quanto": ({"weights": "int8"}, "needs a package: .*quanto"),
    "hqq": ({}, "needs a package: .*HQQ"),
    "eetq": ({"weights": "int8"}, "needs a package: .*kernels"),
}


@pytest.mark.parametrize("method", STORED)
def test_weights_that_are_stored_quantised_go_to_what_reads_them(
    method: str, tmp_path: Path
) -> None:
    """Up to the package that is missing here; none of them can be run without a GPU."""
    packages = ("optimum", "gptqmodel", "compressed_tensors", "hqq", "kernels")
    if any(find_spec(package) for package in packages):
        pytest.skip("a package for stored quantised weights is installed here")
    said, message = STORED[method]
    folder = tiny.folder(tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": method, **said}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises((MissingExtraError, ModelError), match=message) as caught:
        LocalModel.from_pretrained(folder, device="cpu")
    assert "\n" not in str(caught.value)
    assert "optimum is needed" not in str(caught.value) or method == "gptq"
    with pytest.raises(InputError, match=rf"is quantised already \({method}\): leave quantization"):
        LocalModel.from_pretrained(folder, quantization="4bit", device="cpu")
    with pytest.raises(InputError, match="use '4bit', '8bit' or nothing, also for what is stored"):
        LocalModel.from_pretrained(folder, quantization=method, device="cpu")  # type: ignore[arg-type]


def test_the_guide_has_a_row_for_every_architecture() -> None:
    guide = Path(__file__).resolve().parent.parent / "docs" / "models.md"
    if not guide.is_file():
        pytest.skip("docs/models.md is not there")
    made = guide.read_text(encoding="utf-8").partition(models_table.BEGIN)[2]
    lines = made.partition(models_table.END)[0].strip().splitlines()
    assert lines[0] == models_table.table([]).splitlines()[0]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[:5] for row in cells] == [
        [n, f.kind, SOURCES.get(f.template, f.template or "none"), f.cache, f.mode]
        for n, f in FAMILIES.items()
    ]
    columns = list(models_table.COLUMNS)
    unproved = {(row[0], columns[i]) for row in cells for i, cell in enumerate(row) if not cell}
    unread = [row[0] for row in cells if row[columns.index("f32")] == "not read"]
    assert unread == ["Gemma", "Nemotron H"]
    images = {("Gemma 3, images and text", name) for name in columns[-4:]}
    assert unproved == {("Gemma 2", "sdpa")} | images | {
        (name, of) for name in unread for of in columns[-3:]
    }
