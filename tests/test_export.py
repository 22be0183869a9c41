"""What leaves llmrec says what was in it: merged weights, GGUF files, Modelfiles."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny

from llmrec.errors import InputError, MissingExtraError, ModelError
from llmrec.models.chat import ChatTokenizer
from llmrec.models.local import EMBEDDED, EMBEDDED_NAME, LocalModel
from llmrec.training import _converter
from llmrec.training.converting import converter_folder, to_gguf
from llmrec.training.exporting import ExportOptions, export
from llmrec.training.modelfile import Turns, modelfile
from llmrec.types import Message
from tests.loopback_hub import LoopbackHub, run_client
from train.export import main

PROMPTS = (
    "A romantic comedy from the nineties with Meryl Streep",
    "Poderia indicar filmes de ação de até 2 horas? Não gosto de violência.",
    "¿Una película de los años noventa, por favor? Algo como El secreto de sus ojos",
    "[p1] #horror [y1]",
    "1. ",
)
NEW_TOKENS = 24

needs_llama_cpp = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None
    or importlib.util.find_spec("sentencepiece") is None,
    reason="the extra gguf (llama-cpp-python, sentencepiece) is not installed",
)


def make_adapter(folder: Path, base: Path | None, name: str, **options: Any) -> Path:
    """A LoRA of random weights, big enough to change what is said."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = LocalModel.from_pretrained(base).model
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft uses of transformers, and ties
        tuned: Any = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
        torch.manual_seed(0)
        for key, weight in tuned.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(weight, std=0.1)
        tuned.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = name
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def prompt(local: LocalModel, text: str) -> list[int]:
    return local.chat.prompt_ids([Message("user", text)])


def greedy(local: LocalModel, ids: Sequence[int]) -> list[int]:
    """What transformers' own generation says."""
    import torch

    rows = torch.tensor([list(ids)])
    out = local.model.generate(
        rows, attention_mask=torch.ones_like(rows), max_new_tokens=NEW_TOKENS, do_sample=False
    )
    return [int(i) for i in out[0, len(ids) :]]


def greedy_llama_cpp(model: Any, ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """What llama.cpp says."""
    model.reset()
    out: list[int] = []
    for token in model.generate(list(ids), temp=0.0, top_k=1, repeat_penalty=1.0):
        out.append(int(token))
        if token in ends or len(out) == NEW_TOKENS:
            break
    return out


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA for the embedded model, whose layers have different ranks and scales."""
    options = {"use_rslora": True, "lora_alpha": 4, "rank_pattern": {"q_proj": 8}}
    return make_adapter(tmp_path_factory.mktemp("lora") / "lora", None, EMBEDDED_NAME, **options)


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def tiny_adapter(tiny_base: Path) -> Path:
    return make_adapter(tiny_base.parent / "lora", tiny_base, str(tiny_base))


# -- merging -------------------------------------------------------------------------------------


def test_merged_weights_are_the_base_and_the_product(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    record = export(ExportOptions(str(tiny_adapter), merge=True), tmp_path / "out")
    assert (record["base"], record["dtype"]) == (tiny_base.name, "float32")
    assert str(tiny_base.parent) not in (tmp_path / "out" / "export.json").read_text()
    base = load_file(tiny_base / "model.safetensors")
    lora = load_file(tiny_adapter / "adapter_model.safetensors")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    assert merged.keys() == base.keys()
    changed = 0
    for name, weight in base.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in lora:
            product = lora[f"{stem}.lora_B.weight"] @ lora[f"{stem}.lora_A.weight"]
            weight, changed = weight + product * (8 / 4), changed + 1
        assert (merged[name] - weight).abs().max() < 1e-6, name
    assert changed == 14  # seven layers in each of two blocks


def test_a_base_in_bfloat16_is_summed_in_float32_and_rounded_once(
    adapter: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    exact = tmp_path / "exact"
    assert export(ExportOptions(str(adapter), merge=True), tmp_path / "own")["dtype"] == "bfloat16"
    export(ExportOptions(str(adapter), merge=True, dtype="float32"), exact)
    own = load_file(tmp_path / "own" / "model.safetensors")
    for name, weight in load_file(exact / "model.safetensors").items():
        assert weight.dtype == torch.float32
        assert torch.equal(own[name], weight.bfloat16()), name


def test_the_merged_model_says_what_the_adapter_said(adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(ExportOptions(str(adapter), merge=True, dtype="float32"), out)
    tuned, merged = LocalModel.from_pretrained(adapter), LocalModel.from_pretrained(out)
    base = LocalModel.from_pretrained()
    changed = 0
    for text in PROMPTS:
        ids = prompt(tuned, text)
        assert ids == prompt(merged, text)
        said = greedy(merged, ids)
        assert said == greedy(tuned, ids)
        changed += said != greedy(base, ids)
    assert changed >= 3  # else the adapter, which is random, proves nothing
    assert merged.profile == base.profile
    assert merged.tokenizer.chat_template == base.tokenizer.chat_template
    assert merged.end_ids == base.end_ids
    names = {f.name for f in out.iterdir()}
    assert names >= {"config.json", "generation_config.json", "tokenizer.json", "llmrec.json"}
    assert {n for n in names if n.endswith((".bin", ".pt"))} == set()


def test_the_tokenizer_and_the_profile_of_the_adapter_go_along(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    other = tmp_path / "lora"
    make_adapter(other, tiny_base, str(tiny_base))
    tiny.tokenizer("{% for m in messages %}{{ m.content }};{% endfor %}").save_pretrained(other)
    (other / "llmrec.json").write_text('{"lead": "rules"}')
    export(ExportOptions(str(other), merge=True), tmp_path / "out")
    merged = LocalModel.from_pretrained(tmp_path / "out")
    assert merged.profile.lead == "rules"
    assert merged.tokenizer.chat_template.endswith("{{ m.content }};{% endfor %}")


def test_an_export_is_whole_or_not_there(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    out = tmp_path / "out"
    export(ExportOptions(str(tiny_adapter), merge=True), out)
    before = {f.name: f.read_bytes() for f in out.iterdir()}
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_adapter.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "adapter_model.safetensors")
    first = min(weights)
    weights[first] = torch.full_like(weights[first], float("inf"))
    save_file(weights, broken / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"no numbers in torch\.float32: the adapter is broken"):
        export(ExportOptions(str(broken), merge=True), out)
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    export(ExportOptions(base=str(tiny_base), merge=True), out)  # a former export is replaced
    assert json.loads((out / "export.json").read_text())["base"] == tiny_base.name
    assert "adapter" not in json.loads((out / "export.json").read_text())


def test_a_folder_that_is_no_export_is_not_replaced(tiny_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no former export .* give a new name"):
        export(ExportOptions(str(tiny_adapter), merge=True), tmp_path)
    with pytest.raises(InputError, match="give a new name"):
        export(ExportOptions(str(tiny_adapter), merge=True), tmp_path / "letter.txt")
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_a_pickle_is_refused(tiny_base: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "adapter_config.json").write_bytes((tiny_adapter / "adapter_config.json").read_bytes())
    (old / "adapter_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors, and other files can run"):
        export(ExportOptions(str(old), merge=True), tmp_path / "out")
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_bytes((tiny_base / "config.json").read_bytes())
    (base / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="whose loading can run code"):
        export(ExportOptions(str(tiny_adapter), str(base), merge=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_stored_quantised_is_refused(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    config = json.loads((tiny_base / "config.json").read_text())
    base = tmp_path / "gptq"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    with pytest.raises(ModelError, match=r"stored quantised.* name the model .* as base"):
        export(ExportOptions(str(tiny_adapter), str(base), merge=True), tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")
def test_an_adapter_of_tied_embeddings_is_refused(tmp_path: Path) -> None:
    base = tiny.folder(tmp_path / "base", tie_word_embeddings=True)
    lora = make_adapter(tmp_path / "lora", base, str(base), target_modules=["embed_tokens"])
    with pytest.raises(ModelError, match="changes the embeddings, which are the output layer"):
        export(ExportOptions(str(lora), merge=True), tmp_path / "out")


@needs_llama_cpp
def test_what_llama_cpp_does_not_know_is_to_be_merged(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py"):
        (tmp_path / name).touch()
    dora = make_adapter(tmp_path / "dora", tiny_base, str(tiny_base), use_dora=True)
    asked = ExportOptions(str(dora), lora_gguf=True, llama_cpp=str(tmp_path))
    with pytest.raises(ModelError, match=r"llama\.cpp reads plain LoRA only, .* ask for merge"):
        export(asked, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing is to be exported: ask for merge"),
        ({"lora_gguf": True}, "none is given: name it as adapter"),
        ({"merge": True, "lora_gguf": True, "adapter": "x"}, "choose one"),
        ({"merge": True, "dtype": "int8"}, "dtype is 'int8': use auto, float32"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ExportOptions(**options)


def test_the_script_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["--out", out, "--merge", "--adapter", str(tmp_path / "none")]) == 1
    assert "export: there is no adapter" in capsys.readouterr().err
    assert main(["--out", out, "--merge", "--ollama", "mine"]) == 1
    assert "ollama needs a GGUF file: ask for one, as in --gguf q8_0" in capsys.readouterr().err
    lora = tmp_path / "lora"
    lora.mkdir()
    (lora / "adapter_config.json").write_text("{}")
    (lora / "adapter_model.safetensors").write_bytes(b"")
    assert main(["--out", out, "--merge", "--adapter", str(lora)]) == 1
    assert "does not name its base: name it as base" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_adapter_of_the_hub_goes_back_to_it_merged(tiny_adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "from llmrec.hub import push_folder\nfrom train.export import main\n"
        "push_folder(sys.argv[1], 'me/lora')\n"
        "asked = ['--adapter', 'me/lora', '--merge', '--out', sys.argv[2]]\n"
        "sys.exit(main([*asked, '--push-to-hub', 'me/merged']))"
    )
    with LoopbackHub() as hub:
        done = run_client(code, hub, tmp_path / "home", str(tiny_adapter), str(out))
        assert done.returncode == 0, done.stderr
        pushed = hub.tree("me/merged")
    assert pushed["model.safetensors"] == (out / "model.safetensors").read_bytes()
    assert json.loads(pushed["export.json"])["adapter"] == "me/lora"
    export(ExportOptions(str(tiny_adapter), merge=True), tmp_path / "local")
    assert pushed["model.safetensors"] == (tmp_path / "local" / "model.safetensors").read_bytes()


# -- the Modelfile -------------------------------------------------------------------------------

_EACH = "{% for m in messages %}"
_ASK = "{% endfor %}{% if add_generation_prompt %}"
_IM = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
_SYS = "<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n"
TEMPLATES = {
    "chatml": _EACH + _IM + _ASK + "<|im_start|>assistant\n{% endif %}",
    "chatml that greets": "{% if messages[0].role != 'system' %}<|im_start|>system\n"
    'You are "kind" {sic}.<|im_end|>\n{% endif %}'
    + _EACH + _IM + _ASK + "<|im_start|>assistant\n{% endif %}",
    "zephyr": _EACH + "<|{{ m['role'] }}|>\n{{ m['content'] + eos_token }}\n"
    + _ASK + "<|assistant|>\n{% endif %}",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    + _EACH + "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n" + _ASK + "<start_of_turn>model\n{% endif %}",
    "llama 3": _EACH + "{% if loop.index0 == 0 %}{{ bos_token }}{% endif %}"
    "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
    + _ASK + "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "llama 2": "{% if messages[0].role == 'system' %}{% set system = '" + _SYS + "' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system, rest = '', messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}"
    "{{ bos_token }}[INST] {{ (system if loop.first else '') + m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}",
    "no-break and braces": _EACH + "{{ '{{' }}\u00a0{{ m.role }}\u2028{{ m.content }}}}{{ '{' }}"
    + _ASK + "{{ '{' }}{% endif %}",
    "embedded": (EMBEDDED / "chat_template.jinja").read_text(encoding="utf-8"),
    "none": None,
}  # fmt: skip
CHATS = (
    (Message("user", "Hello"),),
    (Message("user", "Olá, tudo bem?"), Message("assistant", "Sim!"), Message("user", "E você?")),
    (Message("system", "Be {{ brief }}.\nPlease."), Message("user", "¿Qué tal?")),
    (
        Message("system", "Be brief."),
        Message("user", '"Quotes"'),
        Message("assistant", "1. Heat\n2. Alien"),
        Message("user", "again"),
        Message("assistant", "no"),
        Message("user", "bye"),
    ),
)


def chat_of(template: str | None) -> ChatTokenizer:
    return ChatTokenizer(tiny.tokenizer(template), name="tiny")


def parsed(text: str) -> dict[str, list[str]]:
    """The commands of a Modelfile, as Ollama's parser reads them."""
    found: dict[str, list[str]] = {}
    value = r'"""(?P<long>.*?)"""|"(?P<short>[^"]*)"|(?P<plain>[^\n]*)'
    for m in re.finditer(
        rf"(?:^#[^\n]*|^(?P<name>FROM|ADAPTER|TEMPLATE|PARAMETER \w+) (?:{value}))\n",
        text,
        re.M | re.S,
    ):
        if m["name"]:
            whole = m["long"] or m["short"] or m["plain"]
            kept = "".join(c for c in whole if c == "\n" or c.isprintable())  # others it drops
            found.setdefault(m["name"], []).append(kept)
    return found


def run_go(template: str, messages: Sequence[Message]) -> str:
    """Runs the part of Go's template language that is used, with the values that Ollama gives."""
    parts = re.split(r"\{\{ (.*?) \}\}", template)
    system = "\n\n".join(m.content for m in messages if m.role == "system")
    values: dict[str, Any] = {".System": system, ".Messages": messages}

    def value(said: str) -> Any:
        if said.startswith("eq "):
            left, right = said.split()[1:]
            return value(left) == value(right)
        return json.loads(_ascii(said)) if said.startswith('"') else values[said]

    def run(at: int, live: bool) -> tuple[str, int]:
        """The text up to the end of a block, and where that is; dead blocks are only skipped."""
        out = parts[at] if live else ""
        at += 1
        while at < len(parts):
            said = parts[at]
            if said == "end" or said.startswith("else"):
                return out, at
            if said.startswith("range "):
                for m in values[said[6:]] if live else ():
                    values.update({".Role": m.role, ".Content": m.content})
                    out += run(at + 1, True)[0]
                at = run(at + 1, False)[1]
            elif said.startswith("if "):
                done, condition = False, said[3:]
                while True:
                    taken = live and not done and bool(value(condition) if condition else True)
                    done = done or taken
                    text, at = run(at + 1, taken)
                    out += text
                    if parts[at] == "end":
                        break
                    condition = parts[at].removeprefix("else").strip().removeprefix("if ")
            elif live and "=" in said:
                name, _, right = said.replace(":=", "=").partition(" = ")
                values[name] = value(right)
            elif live:
                out += value(said)
            at += 1
            out += parts[at] if live else ""
            at += 1
        return out, at

    return run(0, True)[0]


def _ascii(quoted: str) -> str:
    r"""Go's ``\U0000007b`` as JSON has it."""
    return re.sub(r"\\U0000(\w{4})", r"\\u\1", quoted)


@pytest.mark.parametrize("name", TEMPLATES)
def test_ollama_writes_the_prompts_of_the_chat_template(name: str) -> None:
    chat = chat_of(TEMPLATES[name])
    turns = Turns.of(chat)
    assert turns is not None
    template = parsed(modelfile(chat, "./model.gguf"))["TEMPLATE"][0]
    for messages in CHATS:
        assert turns.render(messages) == chat.prompt_text(messages)
        assert run_go(template, messages) == chat.prompt_text(messages)


def test_what_begins_a_text_is_left_to_llama_cpp_where_it_puts_it_itself() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny.tokenizer(TEMPLATES["llama 3"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    chat = ChatTokenizer(tokenizer)
    template = parsed(modelfile(chat, "./model.gguf"))["TEMPLATE"][0]
    for messages in CHATS:
        assert "<s>" + run_go(template, messages) == chat.prompt_text(messages)


@pytest.mark.parametrize(
    "template",
    [
        _EACH + "{{ loop.index }} {{ m.content }}\n{% endfor %}",  # numbers its turns
        _EACH + "{{ m.content }}{{ m.content }}\n{% endfor %}",  # says all twice
        _EACH + "{{ m.content | upper }}\n{% endfor %}",  # changes what is said
        "{{ raise_exception('never') }}",
    ],
)
def test_a_template_that_cannot_be_put_that_way_is_left_out(template: str) -> None:
    chat = chat_of(template)
    assert Turns.of(chat) is None
    text = modelfile(chat, "./model.gguf")
    assert "TEMPLATE" not in parsed(text)
    assert "# No TEMPLATE" in text


def test_the_modelfile_has_stops_an_adapter_and_what_the_generation_config_says() -> None:
    generation = {"temperature": 0.7, "top_k": 40, "repetition_penalty": 1.1, "top_p": None}
    text = modelfile(
        chat_of(None),
        "./model-f16.gguf",
        adapter="./adapter.gguf",
        generation={**generation, "max_new_tokens": 512, "do_sample": True, "use_cache": True},
    )
    assert {k: v for k, v in parsed(text).items() if k != "TEMPLATE"} == {
        "FROM": ["./model-f16.gguf"],
        "ADAPTER": ["./adapter.gguf"],
        "PARAMETER stop": ["</s>", "\nUser:"],
        "PARAMETER temperature": ["0.7"],
        "PARAMETER top_k": ["40"],
        "PARAMETER repeat_penalty": ["1.1"],
        "PARAMETER num_predict": ["512"],
    }
    greedy_one = modelfile(chat_of(None), "x", generation={**generation, "do_sample": False})
    assert parsed(greedy_one)["PARAMETER temperature"] == ["0"]


# -- the converter -------------------------------------------------------------------------------


def test_a_folder_without_the_converter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"no convert_hf_to_gguf.py: give a checkout of llama.cpp"):
        converter_folder(tmp_path)
    for name in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py"):
        (tmp_path / name).touch()
    assert converter_folder(tmp_path) == tmp_path
    monkeypatch.setenv("LLMREC_LLAMA_CPP", str(tmp_path))
    assert converter_folder() == tmp_path


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'llmrec[gguf]'")):
        export(ExportOptions(gguf=("f16",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "named", "tokenizer", "said"),
    [
        ("convert_hf_to_gguf", "", "known", ["qwen2"]),
        ("convert_hf_to_gguf", "", "new", [_converter.UNKNOWN, "gpt-2"]),
        ("convert_hf_to_gguf", "tekken", "known", ["tekken"]),
        ("convert_lora_to_gguf", "", "new", [_converter.UNKNOWN, "gpt-2", "lora"]),
    ],
)
def test_the_runner_names_what_the_converter_does_not_know(
    script: str, named: str, tokenizer: str, said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "gguf-py").mkdir()
    (tmp_path / "gguf-py" / "gguf.py").write_text("NAMES = {'known': 'qwen2'}\n")
    (tmp_path / "convert_hf_to_gguf.py").write_text(
        "import sys\nimport gguf\n"
        "class Model:\n"
        "    def get_vocab_base_pre(self, tokenizer):\n"
        "        if tokenizer in gguf.NAMES:\n"
        "            return gguf.NAMES[tokenizer]\n"
        "        raise NotImplementedError\n"
        "def main():\n"
        "    print(Model().get_vocab_base_pre(sys.argv[1]))\n"
    )
    (tmp_path / "convert_lora_to_gguf.py").write_text(
        "import convert_hf_to_gguf\nif __name__ == '__main__':\n"
        "    convert_hf_to_gguf.main()\n    print('lora')\n"
    )
    command = [sys.executable, _converter.__file__, str(tmp_path), script, named, "gpt-2"]
    done = subprocess.run([*command, tokenizer], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == said


class _Installed:
    """Stands for an installed llama_cpp of a version."""

    __version__ = "0.0.1+cpu"


def source_distribution(folder: Path, files: Sequence[str]) -> None:
    """One like llama-cpp-python's, which pip can read without a network."""
    root = folder / "llama_cpp_python-0.0.1"
    (root / "vendor" / "llama.cpp" / "conversion").mkdir(parents=True)
    (root / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 0.0.1\n"
    )
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (root / "backend.py").write_text(
        "import pathlib\n"
        "def prepare_metadata_for_build_wheel(folder, settings=None):\n"
        "    info = pathlib.Path(folder, 'llama_cpp_python-0.0.1.dist-info')\n"
        "    info.mkdir()\n"
        "    (info / 'METADATA').write_text(pathlib.Path('PKG-INFO').read_text())\n"
        "    return info.name\n"
    )
    for name in files:
        (root / "vendor" / "llama.cpp" / name).write_text(f"# {name}")
    with tarfile.open(folder / f"{root.name}.tar.gz", "w:gz") as tar:
        tar.add(root, root.name)


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not installed")
def test_the_converter_is_fetched_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "links"),
        "PIP_CONFIG_FILE": os.devnull,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, text)
    monkeypatch.delenv("LLMREC_LLAMA_CPP", raising=False)
    monkeypatch.setitem(sys.modules, "llama_cpp", _Installed)
    scripts = ["convert_hf_to_gguf.py", "convert_lora_to_gguf.py"]
    (tmp_path / "links").mkdir()
    with pytest.raises(ModelError, match=r"cannot be fetched with pip .* --llama-cpp"):
        converter_folder()
    source_distribution(tmp_path / "links", ["convert_hf_to_gguf.py"])
    with pytest.raises(ModelError, match=r"holds no convert_lora_to_gguf.py"):
        converter_folder()
    assert list((tmp_path / "cache").rglob("*.py")) == []
    (tmp_path / "links" / "llama_cpp_python-0.0.1.tar.gz").unlink()
    source_distribution(tmp_path / "links" / "new", [*scripts, "conversion/base.py", "big.cpp"])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links" / "new"))
    folder = converter_folder()
    assert folder == tmp_path / "cache" / "llmrec" / "llama.cpp-0.0.1"
    found = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    assert found == ["conversion/base.py", *scripts]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))  # nothing is there to fetch
    assert converter_folder() == folder


# -- llama.cpp -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converter() -> Path:
    """The real converter, fetched once into the user's cache."""
    try:
        return converter_folder()
    except ModelError as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def base_gguf(converter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, exported."""
    out = tmp_path_factory.mktemp("gguf") / "base"
    export(ExportOptions(gguf=("f16", "q8_0", "q4_k_m"), llama_cpp=str(converter)), out)
    return out


def llama(file: Path, **options: Any) -> Any:
    from llama_cpp import GGML_TYPE_F32, Llama

    # Its cache would be in float16, which decides between words that are nearly as likely.
    exact = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}
    return Llama(str(file), n_ctx=512, n_threads=1, verbose=False, **exact, **options)


def assert_same(local: LocalModel, model: Any) -> list[list[int]]:
    """llama.cpp reads the same tokens, and says the same; what was said."""
    said = []
    for text in PROMPTS:
        ids = prompt(local, text)
        whole = local.chat.prompt_text([Message("user", text)]).encode()
        assert model.tokenize(whole, add_bos=False, special=True) == ids
        said.append(greedy(local, ids))
        assert greedy_llama_cpp(model, ids, local.end_ids) == said[-1], text
    return said


@needs_llama_cpp
def test_llama_cpp_says_what_transformers_says(base_gguf: Path) -> None:
    local = LocalModel.from_pretrained()
    model = llama(base_gguf / "model-f16.gguf")
    try:
        assert_same(local, model)
        assert model.metadata["general.name"] == "Llmrec Embedded"
    finally:
        model.close()
    record = json.loads((base_gguf / "export.json").read_text())
    assert [*record["files"]] == ["Modelfile"] + [
        f"model-{kind}.gguf" for kind in ("f16", "q4_k_m", "q8_0")
    ]
    assert [f.name for f in base_gguf.iterdir() if f.is_dir()] == []
    commands = parsed((base_gguf / "Modelfile").read_text(encoding="utf-8"))
    assert commands["FROM"] == ["./model-f16.gguf"]
    assert commands["PARAMETER stop"] == ["<|end|>"]


@needs_llama_cpp
def test_llama_cpp_splits_texts_of_three_languages_alike(base_gguf: Path) -> None:
    from llmrec.catalog import Catalog

    tokenizer = LocalModel.from_pretrained().tokenizer
    films = list(Catalog.embedded())[:150]
    texts = [t for f in films for t in (*f.all_titles, *f.descriptions.values(), *f.people)]
    assert len(texts) > 900
    model = llama(base_gguf / "model-f16.gguf", vocab_only=True)
    try:
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert model.tokenize(text.encode(), add_bos=False, special=True) == ids, text
    finally:
        model.close()
    tokens = json.loads((base_gguf / "export.json").read_text())["tokens"]
    assert (tokens["pre_tokenizer"], tokens["differing"]) == ("gpt-2", ["two  spaces   three"])
    assert tokens["agreeing"] == tokens["texts"] - 1 > 300


@needs_llama_cpp
@pytest.mark.parametrize("kind", ["q8_0", "q4_k_m"])
def test_quantised_files_are_smaller_and_speak(base_gguf: Path, kind: str) -> None:
    file = base_gguf / f"model-{kind}.gguf"
    assert file.stat().st_size < 0.6 * (base_gguf / "model-f16.gguf").stat().st_size
    local = LocalModel.from_pretrained()
    model = llama(file)
    try:
        for text in PROMPTS:
            assert greedy_llama_cpp(model, prompt(local, text), local.end_ids)
    finally:
        model.close()


@needs_llama_cpp
@pytest.mark.slow
def test_llama_cpp_says_what_the_adapter_says_merged_and_beside(
    adapter: Path, converter: Path, tmp_path: Path
) -> None:
    tuned, base = LocalModel.from_pretrained(adapter), LocalModel.from_pretrained()
    merged = ExportOptions(str(adapter), merge=True, gguf=("f32",), dtype="float32")
    export(merged, tmp_path / "merged")
    beside = ExportOptions(str(adapter), gguf=("f32",), lora_gguf=True)
    export(beside, tmp_path / "beside")
    assert "ADAPTER ./adapter.gguf\n" in (tmp_path / "beside" / "Modelfile").read_text()
    lora = {"lora_path": str(tmp_path / "beside" / "adapter.gguf")}
    for local, folder, options in (
        (tuned, "merged", {}),
        (tuned, "beside", lora),
        (base, "beside", {}),
    ):
        model = llama(tmp_path / folder / "model-f32.gguf", **options)
        name = "Lora" if folder == "merged" else "Llmrec Embedded"
        assert model.metadata["general.name"] == name
        try:
            said = assert_same(local, model)
        finally:
            model.close()
        if local is tuned:
            first = said
    assert sum(a != b for a, b in zip(first, said, strict=True)) >= 3


@needs_llama_cpp
@pytest.mark.slow
def test_the_script_exports_for_ollama(
    converter: Path,
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    asked = ["--out", str(out), "--base", str(tiny_base), "--gguf", "f32", "--ollama", "mine"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([*asked, "--pre-tokenizer", "llama-bpe"]) == 1
    said = capfd.readouterr()
    assert f"where it is: ollama create mine -f {out}/Modelfile" in said.err
    assert "model-f32.gguf" in said.out
    assert "into the same tokens (as llama-bpe)" in said.out
    fake = tmp_path / "ollama"
    fake.write_text(f"#!{sys.executable}\nimport sys\nprint('asked:', *sys.argv[1:])\n")
    fake.chmod(0o755)
    assert main(asked) == 0
    said = capfd.readouterr()
    assert f"asked: create mine -f {out}/Modelfile" in said.out
    assert "same tokens (as gpt-2)" in said.out


def sentencepiece_model(folder: Path, family: tiny.Family) -> None:
    """A tiny model whose tokenizer is one of SentencePiece, as Llama 2 and Gemma have them."""
    import transformers
    from sentencepiece import SentencePieceTrainer

    from llmrec.training.conversations import phrasings

    llama = family == "llama"
    ids = {"unk_id": 0, "bos_id": 1, "eos_id": 2} if llama else {"pad_id": 0, "eos_id": 1}
    ids |= {} if llama else {"bos_id": 2, "unk_id": 3}
    folder.mkdir()
    SentencePieceTrainer.train(
        sentence_iterator=(p.text for p in phrasings()),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=500,
        byte_fallback=True,
        add_dummy_prefix=llama,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
        **ids,
    )
    made: Any = transformers.LlamaTokenizer if llama else transformers.GemmaTokenizer
    tokenizer = made.from_pretrained(folder)
    tokenizer.chat_template = tiny.CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    ends = {"bos_token_id": ids["bos_id"], "eos_token_id": ids["eos_id"]}
    tiny.network(family, **ends).save_pretrained(folder)


@needs_llama_cpp
@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_tokenizers_of_sentencepiece_go_along(
    family: tiny.Family, converter: Path, tmp_path: Path
) -> None:
    sentencepiece_model(tmp_path / "base", family)
    record = export(ExportOptions(base=str(tmp_path / "base"), gguf=("f32",)), tmp_path / "out")
    assert record["tokens"]["pre_tokenizer"] == ""
    assert record["tokens"]["agreeing"] >= record["tokens"]["texts"] - 1
    model = llama(tmp_path / "out" / "model-f32.gguf")
    try:
        assert_same(LocalModel.from_pretrained(tmp_path / "base"), model)
    finally:
        model.close()


@needs_llama_cpp
@pytest.mark.slow
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(
    converter: Path, tmp_path: Path
) -> None:
    tiny.network().save_pretrained(tmp_path / "base")
    tiny.tokenizer(metaspace=True).save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match="texts into other tokens than transformers, as in"):
        export(ExportOptions(base=str(tmp_path / "base"), gguf=("f32",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_llama_cpp
def test_a_kind_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no GGUF kind 'q9': use f16, q8_0, q4_k_m, or another"):
        export(ExportOptions(gguf=("f16", "q9")), tmp_path / "out")


@needs_llama_cpp
@pytest.mark.slow
def test_what_llama_cpp_does_not_take_leaves_nothing(converter: Path, tmp_path: Path) -> None:
    base = tiny.folder(tmp_path / "base", hidden_size=256, intermediate_size=256)
    with pytest.raises(ModelError, match="cannot quantise the model to iq2_xxs"):
        export(ExportOptions(base=str(base), gguf=("iq2_xxs",)), tmp_path / "out")
    with pytest.raises(InputError, match=r"llama.cpp knows no pre-tokenizer 'mine': leave it out"):
        export(ExportOptions(gguf=("f16",), pre_tokenizer="mine"), tmp_path / "out")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "architectures": ["Unheard"]}))
    with pytest.raises(ModelError, match=r"llama.cpp cannot convert .*Unheard"):
        to_gguf(base, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base"]
