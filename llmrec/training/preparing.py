"""Preparing hides how a base model is loaded and made trainable, and its texts are laid out."""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmrec.errors import InputError, MissingExtraError
from llmrec.models.chat import plain_template
from llmrec.models.local import EMBEDDED_NAME, LocalModel
from llmrec.training.batches import Texts, joined, pack
from llmrec.training.examples import Encoded, Row, encode
from llmrec.training.options import TuningOptions

if TYPE_CHECKING:
    import torch

__all__ = [
    "NEEDED",
    "Prepared",
    "adapt",
    "estimate",
    "is_first",
    "prepare",
    "processes",
    "quietly",
    "sharded",
    "steps_of",
    "with_model",
]

NEEDED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True)
class Prepared:
    """A model, ready to be trained, and its texts.

    Attributes
    ----------
    local: the base with adapters, or with all its weights to be trained.
    train, validation: sequences of one text, or of several where they are packed.
    dropped: why rows were left out, and how many.
    notes: sentences that the user should read.
    """

    local: LocalModel
    train: Sequence[Texts]
    validation: Sequence[Texts]
    dropped: Counter[str]
    packed: bool
    precision: str
    notes: tuple[str, ...] = ()

    @property
    def trainable(self) -> int:
        """How many parameters are trained."""
        return sum(_size(p) for p in self.local.model.parameters() if p.requires_grad)

    @property
    def total(self) -> int:
        """How many parameters there are, the adapters among them."""
        return sum(_size(p) for p in self.local.model.parameters())


def prepare(
    options: TuningOptions, rows_train: Iterable[Row], rows_validation: Iterable[Row]
) -> Prepared:
    """Load the model, make it trainable, and encode the rows.

    Raises
    ------
    InputError: no row is left, or the device cannot do what the options ask for.
    ModelError: the model cannot be loaded. MissingExtraError: a package is not installed.
    """
    _need(options)
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    device = _device()
    precision = _precision(options.dtype, device)
    local = _load(options, device, precision)
    encoded, dropped = _encoded(local, options, (rows_train, rows_validation))
    packed = options.packing and _packs(local.model, encoded[0])
    notes: tuple[str, ...] = ()
    if options.packing and not packed:
        notes = (
            f"{local.name} lets texts of one sequence see each other, so packing is turned off",
        )
    local = with_model(local, adapt(local.model, options))
    train, validation = (
        pack(rows, options.max_length, options.seed) if packed else [joined([r]) for r in rows]
        for rows in encoded
    )
    return Prepared(local, train, validation, dropped, packed, precision, notes)


def _encoded(
    local: LocalModel, options: TuningOptions, parts: Iterable[Iterable[Row]]
) -> tuple[list[list[Encoded]], Counter[str]]:
    dropped: Counter[str] = Counter()
    encoded = []
    for rows in parts:
        made, left_out = encode(rows, local.chat, options.max_length)
        encoded.append(made)
        dropped += left_out
    if not encoded[0]:
        reasons = ", ".join(f"{n} {why}" for why, n in dropped.most_common()) or "there were none"
        raise InputError(f"no row is left to train on ({reasons}): give others, or max_length")
    if not encoded[1] and options.best_by != "none":
        raise InputError(
            f"best_by is {options.best_by!r} and there is no row to validate on: give data with a "
            "validation part, or best_by none"
        )
    return encoded, dropped


def adapt(model: Any, options: TuningOptions) -> Any:
    """The model with adapters by the options, or with all its weights trainable."""
    from transformers import set_seed

    set_seed(options.seed)
    if options.method == "full":
        return model.requires_grad_(True)
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if options.quantization != "none":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    names = options.target_modules
    config = LoraConfig(
        r=options.r,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=names[0] if names == ("all-linear",) else list(names),
        use_rslora=options.rslora,
        use_dora=options.dora,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in model.modules()),
    )
    try:
        with quietly():
            adapted = get_peft_model(model, config)
    except ValueError as e:
        raise InputError(
            f"target_modules is {' '.join(names)}, and that cannot be had ({e}): "
            "name layers of this model, or all-linear"
        ) from None
    for p in adapted.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    return adapted


def estimate(prepared: Prepared, options: TuningOptions) -> dict[str, float]:
    """The memory of a training in MB, by a formula, and how much it is to train.

    Weights as they are held; gradients of 4 bytes and two moments of 4 bytes (8-bit optimisers:
    of 1) a trained parameter; activations: for each layer and token of a forward pass, 8 times
    the width and 4 times the inner width, in the precision of the arithmetic; with gradient
    checkpointing that of one layer, and the width for each of the others.
    """
    model = prepared.local.model
    config = model.config.get_text_config()
    width, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or 4 * width
    size = 4 if prepared.precision == "fp32" else 2
    longest = max(len(s["input_ids"]) for s in prepared.train)
    layer = 8 * width + 4 * inner
    kept = layer + layers * width if options.gradient_checkpointing else layers * layer
    moments = 8 if options.optimiser == "adamw" else 2
    parts = {
        "weights": sum(p.numel() * p.element_size() for p in model.parameters()),
        "gradients": 4 * prepared.trainable,
        "optimiser": moments * prepared.trainable,
        "activations": size * kept * longest * options.batch_size,
    }
    return {name: round(value / 1e6, 1) for name, value in parts.items()}


def steps_of(prepared: Prepared, options: TuningOptions) -> int:
    """How many steps of the optimiser the training takes."""
    if options.max_steps is not None:
        return options.max_steps
    batches = math.ceil(len(prepared.train) / (options.batch_size * processes()))
    return math.ceil(options.epochs * math.ceil(batches / options.accumulation))


def _need(options: TuningOptions) -> None:
    quantized = options.quantization in ("4bit", "8bit") or "8bit" in options.optimiser
    names = [*NEEDED, *(["bitsandbytes"] if quantized else [])]
    names += [options.report_to] if options.report_to != "none" else []
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name, "train")


def _device() -> str:
    import torch

    if sharded():
        return "cpu"  # from where each process takes its part
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        return f"cuda:{torch.cuda.current_device()}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _precision(dtype: str, device: str) -> str:
    import torch

    cuda = torch.cuda.is_available()
    if dtype == "auto":
        if not cuda:
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if dtype == "fp16" and not cuda:
        raise InputError(f"dtype is 'fp16', which {device} cannot train in: use auto, bf16 or fp32")
    if dtype == "bf16" and cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError("dtype is 'bf16', which this GPU does not have: use auto, fp16 or fp32")
    return dtype


def _load(options: TuningOptions, device: str, precision: str) -> LocalModel:
    if sharded() and options.quantization != "none":
        raise InputError(
            f"quantization is {options.quantization!r}, and FSDP shards no such weights: use "
            "train/accelerate/ddp.yaml, or quantization none"
        )
    # All weights are trained in full precision; so are those that FSDP shards, of one kind.
    dtype = "float32" if options.method == "full" or sharded() else _DTYPES[precision]
    local = LocalModel.from_pretrained(
        None if options.model in ("embedded", EMBEDDED_NAME) else options.model,
        revision=options.revision,
        dtype=dtype,
        device=device,
        quantization=options.quantization if options.quantization in ("4bit", "8bit") else None,  # type: ignore[arg-type]
        chat_template_from=options.chat_template_from,
        trust_remote_code=options.trust_remote_code,
        prefix_cache_mb=0,
    )
    _check(local, options)
    if options.style != "chat":
        local.tokenizer.chat_template = plain_template(local.tokenizer)
        local = with_model(local, local.model)
    return local


def _check(local: LocalModel, options: TuningOptions) -> None:
    if local.max_tokens is not None and options.max_length > local.max_tokens:
        raise InputError(
            f"max_length is {options.max_length}, and {local.name} reads {local.max_tokens} "
            "tokens: give no more"
        )
    held = _quantization_of(getattr(local.model.config, "quantization_config", None))
    if options.quantization == "gptq" and held != "gptq":
        raise InputError(
            f"quantization is 'gptq', and {options.model} is {held or 'not quantised'}: name a "
            "GPTQ model, or another quantization"
        )
    if options.method == "full" and held:
        raise InputError(
            f"method full cannot train {options.model}, whose weights are {held}: "
            "use method lora, or the model as it was before"
        )


def with_model(local: LocalModel, model: Any) -> LocalModel:
    """The same with another network, or with a chat template that has been changed."""
    return LocalModel(
        model, local.tokenizer, name=local.name, prefix_cache_mb=0, profile=local.profile
    )


def _quantization_of(said: Any) -> str:
    if said is None:
        return ""
    kind = said.get("quant_method") if isinstance(said, dict) else said.quant_method
    return str(getattr(kind, "value", kind))


def _packs(model: Any, rows: Sequence[Encoded]) -> bool:
    """Whether the model keeps two texts of one sequence apart, by trying."""
    import torch

    first, second = (list(r.input_ids[:32]) for r in (rows[0], rows[-1]))
    device = next(model.parameters()).device

    def scores(ids: list[int], positions: list[int]) -> torch.Tensor:
        given = {"input_ids": [ids], "position_ids": [positions]}
        tensors = {k: torch.tensor(v, device=device) for k, v in given.items()}
        out: torch.Tensor = model(**tensors, use_cache=False).logits[0, -len(second) :]
        return out.float().log_softmax(-1)

    apart = [*range(len(first)), *range(len(second))]
    together = list(range(len(apart)))
    try:
        with torch.no_grad():
            alone = scores(second, list(range(len(second))))
            packed = (scores(first + second, apart) - alone).abs().max()
            mixed = (scores(first + second, together) - alone).abs().max()
    except TypeError:  # it takes no position_ids
        return False
    return bool(packed <= 1e-4 + 0.1 * mixed)


def _size(parameter: Any) -> int:
    # 4-bit weights lie two to a byte.
    shape = getattr(getattr(parameter, "quant_state", None), "shape", None)
    return math.prod(shape) if shape is not None else int(parameter.numel())


def sharded() -> bool:
    """Whether FSDP shares the weights out."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def is_first() -> bool:
    """Whether this process is the one of them that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def quietly() -> Iterator[None]:
    """Without what the libraries will change about each other; other warnings come through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
