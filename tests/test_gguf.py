"""A GGUF file is loaded as the model that it was made from."""

from __future__ import annotations

import json
import sys
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
from llmrec.types import Message
from tests.loopback_hub import LoopbackHub, run_client
from tests.test_adapters import adapter

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
            if part in name:
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
