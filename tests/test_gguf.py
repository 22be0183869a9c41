"""A GGUF file is loaded as the model that it was made from."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import world

from llmrec.decoding import rank_titles, title_trie
from llmrec.errors import InputError, MissingExtraError, ModelError
from llmrec.models.files import find_file, gguf_of
from llmrec.models.local import LocalModel
from llmrec.recommender import Recommender
from llmrec.training.converting import to_gguf
from llmrec.types import Message
from tests.loopback_hub import LoopbackHub, run_client
from tests.test_adapters import adapter
from tests.test_architectures import FAMILIES, network

gguf = pytest.importorskip("gguf", reason="the extra gguf is not installed")

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
WIDE = {"hidden_size": 64, "intermediate_size": 96}
TALK = [Message("user", "Um filme de ação, please")]
PARTS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    stem, _, end = name.rpartition(".")
    if stem.startswith("model.layers."):
        layer, _, part = stem.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{PARTS[part]}.{end}"
    return f"{PARTS[stem]}.{end}"


def halves(weight: Any, heads: int) -> Any:
    """Rows of queries and keys in the order in which llama.cpp turns them."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1)
    return rows.swapaxes(1, 2).reshape(weight.shape)


def write(
    to: Path, network: Any, *, kind: str = "F32", scaled: str = "", arch: str = "llama"
) -> Path:
    """A tiny llama and its tokenizer as llama.cpp's converter lays them out."""
    config = network.config
    out = gguf.GGUFWriter(to, arch)
    out.add_context_length(config.max_position_embeddings)
    out.add_block_count(config.num_hidden_layers)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    out.add_rope_freq_base(10000.0)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_vocab_size(config.vocab_size)
    if scaled == "type":
        out.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    if scaled == "weights":
        out.add_tensor("rope_freqs.weight", np.ones(4, dtype=np.float32))
    tokenizer = tiny.tokenizer()
    inner = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    words = sorted(inner["vocab"], key=inner["vocab"].get)
    words += [f"[PAD{n}]" for n in range(len(words), config.vocab_size)]
    special = set(tokenizer.all_special_tokens)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(words)
    out.add_token_types([3 if w in special else 5 if w.startswith("[PAD") else 1 for w in words])
    out.add_token_merges([" ".join(m) for m in inner["merges"]])
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_pad_token_id(0)
    out.add_chat_template(tiny.CHAT_TEMPLATE)
    for name, weight in network.state_dict().items():
        array = weight.float().numpy()
        for part, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
            if part in name and arch in ("llama", "plamo"):
                array = halves(array, getattr(config, heads))
        small = array.ndim == 1
        how = gguf.GGMLQuantizationType[kind if not small else "F32"]
        out.add_tensor(gguf_name(name), gguf.quantize(array, how), raw_dtype=how)
    for step in ("header", "kv_data", "tensors"):
        getattr(out, f"write_{step}_to_file")()
    out.close()
    return to


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "tiny-f32.gguf", tiny.network(**WIDE))


def logprobs(model: LocalModel) -> Any:
    return model.prefill(model.prompt_ids(TALK)).logprobs


def test_a_file_says_what_its_network_says(file: Path) -> None:
    right = LocalModel(tiny.network(**WIDE), tiny.tokenizer())
    model = LocalModel.from_pretrained(file, device="cpu")
    assert model.name == f"{file.parent.name}/tiny-f32.gguf"
    assert (model.runner.mode, model.max_tokens) == ("tree", 512)
    assert set(model.end_ids) == set(right.end_ids)
    for text in ("Toy Story 2\n", "né 千と千尋 • 😀", "a  b\n\nc"):
        assert model.encode(text) == right.encode(text)
    used = len(tiny.tokenizer())
    assert logprobs(model)[:used] == pytest.approx(logprobs(right)[:used], abs=1e-4)
    assert (logprobs(model)[used:] == -np.inf).all()
    assert model.token_bytes == right.token_bytes
    assert model.generate([TALK], max_new_tokens=8) == right.generate([TALK], max_new_tokens=8)
    rankings = [
        rank_titles(m, [m.prompt_ids(TALK)], title_trie(m, tiny.TITLES), 5)[0]
        for m in (model, right)
    ]
    assert rankings[0].rows.tolist() == rankings[1].rows.tolist()
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    assert json.loads(model.generate([TALK], schema=schema)[0])["a"] in ("x", "y")


def test_a_file_is_named_in_three_ways(file: Path) -> None:
    again = LocalModel.from_pretrained(file.parent, gguf=file.name, device="cpu")
    other = LocalModel.from_pretrained(str(file), device="cpu")
    assert logprobs(again).tolist() == logprobs(other).tolist()
    assert gguf_of(str(file)) == (str(file.parent), file.name)
    assert gguf_of("me/films-GGUF/films-q8_0.gguf") == ("me/films-GGUF", "films-q8_0.gguf")
    assert gguf_of("me/films-GGUF/q8/films.gguf") == ("me/films-GGUF", "q8/films.gguf")
    assert gguf_of("./films.gguf") == (".", "films.gguf")
    assert gguf_of("me/films") == ("me/films", "")


def test_quantised_weights_are_unpacked_and_not_rounded(tmp_path: Path) -> None:
    """A config.json that says bfloat16 would have them rounded a second time."""
    import torch

    network = tiny.network(**WIDE)
    path = write(tmp_path / "tiny-q8_0.gguf", network, kind="Q8_0")
    for beside in (False, True):
        if beside:
            network.config.dtype = torch.bfloat16
            network.config.save_pretrained(tmp_path)
        model = LocalModel.from_pretrained(path, device="cpu")
        kind = gguf.GGMLQuantizationType.Q8_0
        for name, weight in network.state_dict().items():
            wanted = weight.numpy()
            if weight.ndim == 2:
                wanted = gguf.dequantize(gguf.quantize(wanted, kind), kind)
                assert (wanted != weight.numpy()).any()
            assert (model.model.state_dict()[name].numpy() == wanted).all(), name
    half = LocalModel.from_pretrained(path, device="cpu", dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16


def test_what_lies_beside_a_file_is_used(file: Path, tmp_path: Path) -> None:
    (tmp_path / file.name).write_bytes(file.read_bytes())
    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    tiny.tokenizer(template).save_pretrained(tmp_path)
    (tmp_path / "llmrec.json").write_text('{"detail": "brief"}', encoding="utf-8")
    model = LocalModel.from_pretrained(tmp_path / file.name, device="cpu")
    assert model.chat.prompt_text([Message("user", "U")]) == "[U]"
    assert model.profile.detail == "brief"
    assert find_file(tmp_path / file.name, "llmrec.json") == tmp_path / "llmrec.json"
    rec = Recommender.from_pretrained(tmp_path / file.name, catalog=world.catalog())
    assert rec.recommend("a horror film", k=2)


def test_an_adapter_goes_on_a_file(file: Path, tmp_path: Path) -> None:
    place = adapter(tmp_path / "tuned", "elsewhere", tiny.network(**WIDE))
    right = LocalModel(tiny.network(**WIDE), tiny.tokenizer()).add_adapter(place, name="tuned")
    model = LocalModel.from_pretrained(file, adapter=place, device="cpu")
    used = len(tiny.tokenizer())
    assert logprobs(model)[:used] == pytest.approx(logprobs(right)[:used], abs=1e-4)
    base = right.with_adapter(None)
    assert logprobs(model.with_adapter(None))[:used] == pytest.approx(
        logprobs(base)[:used], abs=1e-4
    )


@pytest.mark.parametrize("scaled", ["type", "weights"])
def test_positions_that_are_scaled_need_the_config(tmp_path: Path, scaled: str) -> None:
    network = tiny.network(**WIDE)
    path = write(tmp_path / "tiny.gguf", network, scaled=scaled)
    with pytest.raises(ModelError, match=r"tiny\.gguf scales its positions.* put the config\.json"):
        LocalModel.from_pretrained(path, device="cpu")
    network.config.rope_parameters = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    network.config.save_pretrained(tmp_path)
    model = LocalModel.from_pretrained(path, device="cpu")
    from transformers import LlamaForCausalLM

    scaling = LlamaForCausalLM(network.config).eval()
    scaling.load_state_dict(network.state_dict())
    right = LocalModel(scaling, tiny.tokenizer())
    used = len(tiny.tokenizer())
    assert logprobs(model)[:used] == pytest.approx(logprobs(right)[:used], abs=1e-4)
    plain = LocalModel(tiny.network(**WIDE), tiny.tokenizer())
    assert logprobs(model)[:used] != pytest.approx(logprobs(plain)[:used], abs=1e-2)


def test_files_that_cannot_be_loaded_get_one_clear_sentence(file: Path, tmp_path: Path) -> None:
    (tmp_path / "rubbish.gguf").write_bytes(b"rubbish" * 99)
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:-5000])
    write(tmp_path / "strange.gguf", tiny.network(**WIDE), arch="plamo")
    for name, message in (
        ("absent.gguf", r"no file 'absent\.gguf' in .*: it has cut\.gguf, rubbish\.gguf, strange"),
        ("rubbish.gguf", "cannot be loaded"),
        ("cut.gguf", "cannot be loaded"),
        ("strange.gguf", "cannot be read from GGUF .*plamo.*: use the safetensors"),
    ):
        with pytest.raises(ModelError, match=message) as caught:
            LocalModel.from_pretrained(tmp_path, gguf=name, device="cpu")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is quantised as it is: leave quantization out"):
        LocalModel.from_pretrained(file, quantization="4bit")
    with pytest.raises(ModelError, match=r"no model folder '.*nowhere'"):
        LocalModel.from_pretrained(tmp_path / "nowhere" / "x.gguf")


@pytest.mark.parametrize(("package", "extra"), [("gguf", "gguf"), ("accelerate", "train")])
def test_what_reading_needs_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is needed .*llmrec\[{extra}\]"):
        LocalModel.from_pretrained(file, device="cpu")


@pytest.mark.slow
def test_files_and_adapters_of_the_hub(file: Path, tmp_path: Path) -> None:
    """Each of its own revision: an adapter that brings its base is not that of the base's."""
    old, new = (
        adapter(tmp_path / str(seed), "me/plain", tiny.network(**WIDE), seed=seed)
        for seed in (0, 1)
    )
    folder = tiny.folder(tmp_path / "plain", **WIDE)
    code = """
from llmrec.models.local import LocalModel
ids = [5, 6, 7, 8]
made = [
    LocalModel.from_pretrained("me/files", gguf="q/tiny.gguf", device="cpu"),
    LocalModel.from_pretrained("me/files/q/tiny.gguf", device="cpu"),
    LocalModel.from_pretrained("me/tuned", revision=sys.argv[1], device="cpu"),
    LocalModel.from_pretrained("me/tuned", device="cpu"),
]
base = LocalModel.from_pretrained("me/plain", device="cpu")
made.append(base.add_adapter("me/tuned", name="old", revision=sys.argv[1]))
made.append(base.add_adapter("me/tuned", name="new"))
print(json.dumps([[m.name, m.prefill(ids).logprobs[:400].tolist()] for m in made]))
"""

    def files(place: Path) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in place.iterdir() if p.is_file()}

    repos = "from huggingface_hub import create_repo\nfor r in sys.argv[1:]: create_repo(r)"
    with LoopbackHub() as hub:
        made = run_client(repos, hub, tmp_path / "home", "me/files", "me/plain", "me/tuned")
        assert made.returncode == 0, made.stderr
        hub.put("me/files", {"q/tiny.gguf": file.read_bytes()})
        hub.put("me/plain", files(folder))
        first = hub.put("me/tuned", files(old))
        hub.put("me/tuned", files(new))
        done = run_client(code, hub, tmp_path / "home", first)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert [name for name, _ in said] == [
        "me/files/q/tiny.gguf",
        "me/files/q/tiny.gguf",
        "me/plain + tuned",
        "me/plain + tuned",
        "me/plain + old",
        "me/plain + new",
    ]
    whole, same, tuned_old, tuned_new, old_, new_ = (row for _, row in said)
    assert whole == same
    assert tuned_old == old_ != tuned_new == new_
    right = LocalModel.from_pretrained(folder, adapter=old, device="cpu")
    assert old_ == pytest.approx(right.prefill([5, 6, 7, 8]).logprobs[:400].tolist(), abs=1e-4)


# -- other architectures ----------------------------------------------------------------------


def test_a_qwen_is_read_from_a_file_alone(tmp_path: Path) -> None:
    right = network(FAMILIES["Qwen 2.5"], "eager")
    for kind, far in (("F32", 1e-4), ("Q8_0", 1.0)):
        file = write(tmp_path / f"{kind}.gguf", right, kind=kind, arch="qwen2")
        model = LocalModel.from_pretrained(file, device="cpu")
        assert type(model.model).__name__ == "Qwen2ForCausalLM"
        own = LocalModel(right, model.tokenizer)
        used = len(tiny.tokenizer())
        assert logprobs(model)[:used] == pytest.approx(logprobs(own)[:used], abs=far)


def test_a_mistral_is_read_as_the_llama_that_it_is_written_as(tmp_path: Path) -> None:
    right = network(FAMILIES["Zephyr"], "eager")
    file = write(tmp_path / "zephyr.gguf", right)
    for window in (None, 100):
        right.config.sliding_window = window
        right.config.save_pretrained(tmp_path)
        model = LocalModel.from_pretrained(file, device="cpu")
        assert type(model.model).__name__ == "LlamaForCausalLM"
        assert model.max_tokens == (window or 1024)
        own = LocalModel(right, model.tokenizer)
        used = len(tiny.tokenizer())
        assert logprobs(model)[:used] == pytest.approx(logprobs(own)[:used], abs=1e-4)


@pytest.mark.parametrize(
    ("arch", "what"),
    [
        ("gemma2", "scales its attention"),
        ("gemma3", "scales its attention"),
        ("phi3", "has a slid"),
    ],
)
def test_what_a_file_does_not_tell_needs_the_config(tmp_path: Path, arch: str, what: str) -> None:
    file = tmp_path / "tiny.gguf"
    out = gguf.GGUFWriter(file, arch)
    out.add_key_length(128)
    out.add_sliding_window(16)
    out.add_tensor("token_embd.weight", np.ones((4, 4), dtype=np.float32))
    for step in ("header", "kv_data", "tensors"):
        getattr(out, f"write_{step}_to_file")()
    out.close()
    with pytest.raises(ModelError, match=rf"tiny\.gguf {what}.*put the config\.json of the model"):
        LocalModel.from_pretrained(file, device="cpu")


UNREAD = {"Gemma": "gemma", "Nemotron H": "nemotron_h_moe"}  # by transformers
CHANGES: dict[str, dict[str, Any]] = {
    "Mistral": {"sliding_window": 200},
    "GPT-2": {"n_ctx": 1024},
    "Qwen 3.5, text": {
        "rope_parameters": {
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
            "mrope_section": [2, 1, 1],
            "mrope_interleaved": True,
        },
    },
}
ALONE = {  # what a file does not tell
    "Llama 3": "scales its positions, which .* put the config.json",
    "Gemma 2": "scales its attention, which .* put the config.json",
    "Gemma 3, text": "scales its attention, which .* put the config.json",
    "Qwen 3": "of another shape .* put its config.json beside the file",
    "Phi 3": "has a sliding window, which .* put the config.json",
    "Qwen 3.5, text": "missing or of another shape .* put its config.json beside the file",
}
PIECES = ("Gemma", "Gemma 2", "Phi 3")  # these are converted with a model of sentencepiece only


def pieces(to: Path) -> int:
    """Write the tokenizer of a Gemma or a Phi 3, a small one; how many tokens it has."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="the extra gguf is not installed")
    texts = iter(tiny.TITLES * 9)
    with to.open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=texts, model_writer=out, vocab_size=384, byte_fallback=True,
            pad_id=0, bos_id=2, eos_id=1, unk_id=3, hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    made: int = sentencepiece.SentencePieceProcessor(str(to)).vocab_size()
    return made


def original(to: Path, name: str) -> Any:
    """A tiny network of an architecture, written with all that llama.cpp's converter asks for."""
    to.mkdir()
    family = FAMILIES[name]
    sizes = {**family.sizes, **CHANGES.get(name, {})}
    if name in PIECES:
        sizes["vocab_size"] = pieces(to / "tokenizer.model")
    elif name == "Gemma 3, text":  # whose converter fills nothing up
        sizes["vocab_size"] = max(tiny.tokenizer().get_vocab().values()) + 1
    made = network(dataclasses.replace(family, sizes=sizes), "eager")
    made.save_pretrained(to)
    tiny.tokenizer().save_pretrained(to)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FAMILIES if "images" not in n])
def test_a_file_of_an_architecture_says_what_its_safetensors_say(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pytest.importorskip("llama_cpp", reason="the extra gguf is not installed")
    right = original(tmp_path / "whole", name)
    out = tmp_path / "out"
    out.mkdir()
    to_gguf(tmp_path / "whole", out, ("f32", "q8_0", "q4_0"), pre_tokenizer="gpt-2")
    shutil.copy(tmp_path / "whole" / "config.json", out)
    record_property("architecture", name)
    if name in UNREAD:
        with pytest.raises(ModelError, match=f"from GGUF .*{UNREAD[name]}.*: use the safetensors"):
            LocalModel.from_pretrained(out, gguf="model-f32.gguf", device="cpu")
        record_property("f32", "not read")
        return
    rng = np.random.default_rng(0)
    ids = rng.integers(7, 300, 40).tolist()
    far = {}
    for kind in ("f32", "q8_0", "q4_0"):
        model = LocalModel.from_pretrained(out, gguf=f"model-{kind}.gguf", device="cpu")
        own = LocalModel(right, model.tokenizer)
        used = [i for i in own.chat.used_ids if i < own.runner.vocabulary]
        far[kind] = float(
            np.abs(model.prefill(ids).logprobs[used] - own.prefill(ids).logprobs[used]).max()
        )
        assert model.runner.mode == own.runner.mode == FAMILIES[name].mode
        record_property(kind, far[kind])
    assert far["f32"] < 1e-4 < far["q8_0"] < far["q4_0"] < 5, far
    if name == "Mistral":
        assert model.max_tokens == 200  # up to its window it is a Llama
    (out / "config.json").unlink()
    if name in ALONE:
        with pytest.raises(ModelError, match=ALONE[name]):
            LocalModel.from_pretrained(out, gguf="model-f32.gguf", device="cpu")
    else:
        alone = LocalModel.from_pretrained(out, gguf="model-q4_0.gguf", device="cpu")
        assert alone.prefill(ids).logprobs == pytest.approx(model.prefill(ids).logprobs, abs=1e-4)
    record_property("alone", "no" if name in ALONE else "yes")


@pytest.mark.slow
def test_what_export_writes_is_what_was_exported(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="the extra gguf is not installed")
    pytest.importorskip("sentencepiece", reason="the extra gguf is not installed")
    from tests.test_export import llama
    from train.export import main

    out = tmp_path / "out"
    assert main(["--out", str(out), "--merge", "--gguf", "f16", "q8_0", "q4_k_m"]) == 0
    right = LocalModel.from_pretrained()
    titles = ["Heat", "Her", "Alien", "City of God", "Amélie", "Toy Story 2"]
    trie = title_trie(right, titles)
    order = rank_titles(right, [right.prompt_ids(TALK)], trie, 6)[0].rows.tolist()
    far = {}
    for kind in ("f16", "q8_0", "q4_k_m"):
        model = LocalModel.from_pretrained(out, gguf=f"model-{kind}.gguf", device="cpu")
        assert (model.encode("ação\n"), model.profile) == (right.encode("ação\n"), right.profile)
        far[kind] = float(np.abs(logprobs(model) - logprobs(right)).max())
        own = rank_titles(model, [model.prompt_ids(TALK)], trie, 6)[0]
        assert own.exact
        if kind == "f16":
            assert own.rows.tolist() == order
        # llama.cpp on the same file: both unpack the same numbers, and multiply them differently.
        theirs = llama(out / f"model-{kind}.gguf", logits_all=True)
        ids = model.prompt_ids(TALK)
        theirs.eval(ids)
        logits = np.array(theirs.scores[len(ids) - 1])
        theirs.close()
        ours = logprobs(model)
        gap = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum()) - ours
        assert np.abs(gap[np.argsort(-ours)[:50]]).max() < 0.3
        assert int(logits.argmax()) == int(ours.argmax())
    assert far["f16"] < 1e-4 < far["q8_0"] < far["q4_k_m"] < 3
    for unwanted in out.iterdir():  # and from the file alone
        if unwanted.suffix != ".gguf":
            unwanted.unlink()
    bare = LocalModel.from_pretrained(out / "model-f16.gguf", device="cpu")
    assert logprobs(bare) == pytest.approx(logprobs(right), abs=1e-4)
