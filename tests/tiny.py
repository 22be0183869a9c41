"""Tiny random models of three families with a small trained tokenizer, as ordinary folders."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

Family = Literal["llama", "gpt2", "gemma2"]

TITLES = [
    "Heat",
    "Her",
    "Alien",
    "Aliens",
    "Toy Story",
    "Toy Story 2",
    "Toy Story 3",
    "Amélie",
    "Central Station",
    "City of God",
    "The Secret in Their Eyes",
    "The Secret of Kells",
    "Star Wars",
    "Spirited Away",
    "千と千尋の神隠し",
    "Heat",
]
_TEXTS = [
    *TITLES,
    "1. Heat\n2. Alien\n- Her\n",
    "Poderia indicar filmes de ação de até 2 horas?",
    "Una película de los años noventa, por favor.",
    '{"genres": ["Comedy", "Drama"], "year_min": 1990}',
    "the quick brown fox jumps over the lazy dog",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
VOCABULARY = 512


@cache
def _trained(metaspace: bool) -> str:
    """The tokenizer as JSON; trained once, as equal merges come in any order."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if metaspace:
        inner = Tokenizer(models.BPE(unk_token="<pad>"))
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        inner.decoder = decoders.Metaspace(prepend_scheme="always")
        alphabet = [chr(c) for c in range(33, 127)]
    else:
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(_TEXTS * 4, trainer)
    if metaspace:
        inner.pre_tokenizer = pre_tokenizers.Sequence([])
        inner.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
    trained: str = inner.to_str()
    return trained


def tokenizer(chat_template: str | None = CHAT_TEMPLATE, metaspace: bool = False) -> Any:
    """A byte-level BPE tokenizer of fewer than ``VOCABULARY`` tokens, or one as Llama 2 has it."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(metaspace)),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=_SPECIAL[3:],
        chat_template=chat_template,
    )


def network(family: Family = "llama", *, seed: int = 0, spread: float = 0.2, **changes: Any) -> Any:
    """A random model; ``spread`` is the deviation of its weights, so that it has opinions."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        Gemma2Config,
        GPT2Config,
        LlamaConfig,
        PretrainedConfig,
    )

    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": VOCABULARY}
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
    config: PretrainedConfig
    if family == "llama":
        config = LlamaConfig(**{**ids, **sizes, **heads, "initializer_range": spread, **changes})
    elif family == "gpt2":
        gpt = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
        config = GPT2Config(**{**ids, **gpt, "initializer_range": spread, **changes})
    else:
        gemma = {"head_dim": 8, "sliding_window": 12, "query_pre_attn_scalar": 8}
        config = Gemma2Config(
            **{**ids, **sizes, **heads, **gemma, "initializer_range": spread, **changes}
        )
    torch.set_num_threads(1)  # so small a model only waits for more
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval()


def folder(to: Path, family: Family = "llama", **changes: Any) -> Path:
    """Write a tiny model and its tokenizer as ``save_pretrained`` does."""
    network(family, **changes).save_pretrained(to)
    tokenizer().save_pretrained(to)
    return to
