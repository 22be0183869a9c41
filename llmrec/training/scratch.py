"""Scratch hides how a small Llama and its tokenizer are trained from nothing, resumably."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.errors import InputError
from llmrec.training.conversations import Case
from llmrec.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["CHAT_TEMPLATE", "ScratchConfig", "build_model", "build_tokenizer", "render", "train"]

SPECIAL = ("<|pad|>", "<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>"
    "{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class ScratchConfig:
    """The whole of a run.

    Attributes
    ----------
    minutes: wall time after which training ends in good order. tokens_per_batch: padded tokens.
    understanding_share: share of understanding cases among all; the rest is recommending.
    """

    vocabulary: int = 4096
    hidden: int = 160
    layers: int = 4
    heads: int = 4
    intermediate: int = 448
    context: int = 512
    minutes: float = 60.0
    max_steps: int = 100_000
    tokens_per_batch: int = 2048
    learning_rate: float = 2e-3
    warmup: int = 150
    weight_decay: float = 0.05
    understanding_share: float = 0.65
    checkpoint_every: float = 120.0
    seed: int = 20
    threads: int = 0


def build_tokenizer(
    texts: Sequence[str], marks: Sequence[str], vocabulary: int
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer whose special tokens and marks are single tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r" ?\p{L}+| ?\p{N}{1,4}| ?[^\s\p{L}\p{N}]+|\n|\s+"), "isolated"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(marks),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(m, normalized=False) for m in marks])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[5],
        additional_special_tokens=list(SPECIAL[2:5]),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, config: ScratchConfig) -> PreTrainedModel:
    """A Llama of the sizes in ``config``, randomly initialised."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(config.seed)
    vocabulary = math.ceil(len(tokenizer) / 64) * 64
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=config.hidden,
            intermediate_size=config.intermediate,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.context,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def render(messages: Sequence[Message]) -> tuple[str, str]:
    """A case as prompt text and answer text, the way CHAT_TEMPLATE writes them."""
    prompt = SPECIAL[1] + "".join(f"<|{m.role}|>{m.content}<|end|>" for m in messages[:-1])
    return prompt + "<|assistant|>", messages[-1].content + "<|end|>"


def _batches(
    cases: Iterator[Case], tokenizer: PreTrainedTokenizerFast, config: ScratchConfig
) -> Iterator[tuple[Any, Any, Any]]:
    """Batches of cases of like length: ids, labels (-100 off the answer), attention mask."""
    import torch

    rng = np.random.default_rng(config.seed)
    while True:
        pool = [render(next(cases).messages) for _ in range(1024)]
        prompts = tokenizer([p for p, _ in pool], add_special_tokens=False)["input_ids"]
        answers = tokenizer([a for _, a in pool], add_special_tokens=False)["input_ids"]
        rows = [
            (p, a)
            for p, a in zip(prompts, answers, strict=True)
            if len(p) + len(a) <= config.context
        ]
        rows.sort(key=lambda r: len(r[0]) + len(r[1]))
        groups: list[list[tuple[list[int], list[int]]]] = [[]]
        for row in rows:
            width = len(row[0]) + len(row[1])
            if (len(groups[-1]) + 1) * width > config.tokens_per_batch:
                groups.append([])
            groups[-1].append(row)
        for g in rng.permutation(len(groups)):
            group = groups[g]
            width = max(len(p) + len(a) for p, a in group)
            ids = torch.full((len(group), width), tokenizer.pad_token_id, dtype=torch.long)
            labels = torch.full((len(group), width), -100, dtype=torch.long)
            for n, (p, a) in enumerate(group):
                ids[n, : len(p) + len(a)] = torch.tensor(p + a)
                labels[n, len(p) : len(p) + len(a)] = torch.tensor(a)
            yield ids, labels, (ids != tokenizer.pad_token_id).long()


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    cases: Callable[[int], Iterator[Case]],
    config: ScratchConfig,
    folder: Path,
    *,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train on the answers of ``cases`` until the time or the steps are used up.

    A checkpoint (weights, optimiser, step, time spent) is written whole to ``folder`` every
    ``checkpoint_every`` seconds; a run that finds one goes on from it.

    Parameters
    ----------
    cases: from a seed, endless cases; asked with a new seed after each resumption.

    Returns
    -------
    steps, tokens (processed, with the prompts), minutes and the mean loss of the last 200 steps.

    Raises
    ------
    InputError: the checkpoint in ``folder`` is of another configuration.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file
    from torch.nn.functional import cross_entropy
    from tqdm import tqdm

    if config.threads:
        torch.set_num_threads(config.threads)
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": config.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    step, spent, tokens, losses = 0, 0.0, 0, []
    described = json.loads(json.dumps({**asdict(config), "minutes": None, "threads": None}))
    settings = json.dumps(described, sort_keys=True)
    if checkpoint.exists():
        with safe_open(checkpoint, framework="pt") as f:
            state = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
            notes = f.metadata()
        if notes["settings"] != settings:
            raise InputError(
                f"{checkpoint} is of a run with other settings: give another folder or remove it"
            )
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(state[f"weight/{name}"])
                optimiser.state[p] = {
                    "step": torch.tensor(float(notes["step"])),
                    "exp_avg": state[f"mean/{name}"],
                    "exp_avg_sq": state[f"square/{name}"],
                }
        step, spent, tokens = int(notes["step"]), float(notes["spent"]), int(notes["tokens"])
        say(f"going on from step {step} after {spent / 60:.1f} minutes")

    def save() -> None:
        tensors = {}
        for name, p in model.named_parameters():
            moments = optimiser.state[p]
            tensors[f"weight/{name}"] = p.detach()
            tensors[f"mean/{name}"] = moments["exp_avg"]
            tensors[f"square/{name}"] = moments["exp_avg_sq"]
        notes = {
            "settings": settings,
            "step": str(step),
            "spent": str(spent + time.monotonic() - began),
            "tokens": str(tokens),
        }
        part = checkpoint.with_suffix(".part")
        save_file(tensors, part, metadata=notes)
        part.replace(checkpoint)

    began = saved = time.monotonic()
    model.train()
    bar = tqdm(total=round(config.minutes * 60), unit="s", desc="training", mininterval=10)
    for ids, labels, mask in _batches(cases(config.seed + step), tokenizer, config):
        now = spent + time.monotonic() - began
        progress = max(now / (config.minutes * 60), step / config.max_steps)
        if progress >= 1:
            break
        # Warm-up, a plateau, and a linear end over the last half: it ends well whenever it ends.
        rate = config.learning_rate * min(
            1.0, (step + 1) / config.warmup, 2.0 * (1.0 - progress) + 0.01
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
        wanted = labels[:, 1:] != -100  # only answers need the vocabulary's logits
        loss = cross_entropy(model.lm_head(hidden[wanted]), labels[:, 1:][wanted])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        tokens += int(mask.sum())
        losses.append(loss.item())
        if step % 25 == 0:
            bar.n = round(min(now, config.minutes * 60))
            bar.set_postfix(
                step=step, loss=f"{np.mean(losses[-100:]):.3f}", tokens=f"{tokens / 1e6:.2f}M"
            )
        if time.monotonic() - saved > config.checkpoint_every:
            save()
            saved = time.monotonic()
    bar.close()
    if losses:
        save()
    minutes = (spent + time.monotonic() - began) / 60
    return {
        "steps": step,
        "tokens": tokens,
        "minutes": round(minutes, 1),
        "loss": round(float(np.mean(losses[-200:])), 4) if losses else None,
    }
