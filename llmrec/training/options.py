"""TuningOptions hides how a fine-tuning is said: as flags, as a preset or file of YAML, checked."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llmrec.errors import InputError

__all__ = ["PRESETS", "TuningOptions"]

PRESETS = Path(__file__).resolve().parents[2] / "train" / "presets"

# What a run is called and where it goes; all the rest decides what comes out of it. Of the data
# it is the rows that count.
_ASIDE = (
    *("base_id", "data", "keep", "report_to", "push_to_hub", "private"),
    *("out", "threads", "dry_run", "resume"),
)
_KINDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_POSITIVE = (
    *("k", "r", "alpha", "learning_rate", "epochs", "batch_size", "accumulation", "evaluate_every"),
    *("save_every", "keep"),
)
_NOT_NEGATIVE = ("validation_limit", "warmup", "weight_decay", "clip", "early_stopping", "threads")


def _of(default: Any, said: str, *choices: str) -> Any:
    return field(default=default, metadata=MappingProxyType({"help": said, "choices": choices}))


@dataclass(frozen=True)
class TuningOptions:
    """The whole of a fine-tuning. The fields are the flags and the keys of a preset."""

    # What is tuned
    model: str = _of("embedded", "Hub id or folder of the base model, or 'embedded'")
    revision: str | None = _of(None, "branch, tag or commit of the base model")
    base_id: str | None = _of(None, "Hub id that names the base in the result, if it is a folder")
    chat_template_from: str | None = _of(None, "take the chat template of this tokenizer")
    trust_remote_code: bool = _of(False, "run code that comes with the model; only if you trust it")

    # What it learns from
    data: str = _of("", "folder that train/prepare.py wrote, or a JSONL file")
    task: str = _of(
        "recommend",
        "what is learnt",
        *("recommend", "reply", "chat", "describe", "answer", "preferences"),
    )
    targets: str = _of(
        "true", "recommend: the recommended items alone, or filled up to k", "true", "practice"
    )
    style: str = _of("chat", "how a row is written", "chat", "alpaca", "plain")
    language: str = _of("en", "of rows that do not say theirs", "en", "pt", "es")
    detail: str = _of("turns", "how much the prompts explain", "full", "brief", "turns")
    k: int = _of(10, "recommend: length of the lists")
    limit: int | None = _of(None, "rows to train on, at most")
    validation_limit: int = _of(500, "rows to validate on, at most; 0: none")

    # How the weights are held
    quantization: str = _of(
        "none", "of the base: nf4 with double quantisation, int8, or GPTQ as it comes",
        *("none", "4bit", "8bit", "gptq"),
    )  # fmt: skip
    dtype: str = _of("auto", "precision of the arithmetic", "auto", "bf16", "fp16", "fp32")
    gradient_checkpointing: bool = _of(False, "compute activations twice to save memory")

    # What is trained
    method: str = _of("lora", "low-rank adapters, or all weights", "lora", "full")
    r: int = _of(16, "rank of the adapters")
    alpha: int = _of(32, "scale of the adapters, divided by r (rslora: by its root)")
    dropout: float = _of(0.05, "dropout in front of the adapters")
    target_modules: tuple[str, ...] = _of(
        ("all-linear",), "names of the layers that get adapters, or all-linear"
    )
    rslora: bool = _of(False, "rank-stabilised scale")
    dora: bool = _of(False, "weight-decomposed adapters")

    # How it is trained
    learning_rate: float = _of(2e-4, "the highest learning rate")
    schedule: str = _of("cosine", "of the learning rate", "cosine", "linear", "constant")
    warmup: float = _of(0.03, "steps of warm-up, or below 1 their share")
    epochs: float = _of(3.0, "passes over the rows, where max_steps is not given")
    max_steps: int | None = _of(None, "steps of the optimiser")
    batch_size: int = _of(4, "texts (or packed sequences) a device and forward pass")
    accumulation: int = _of(4, "forward passes a step")
    max_length: int = _of(1024, "tokens of a text, or of a packed sequence")
    packing: bool = _of(True, "several texts to a sequence, which do not see each other")
    group_by_length: bool = _of(False, "texts of like length to a batch, where not packed")
    weight_decay: float = _of(0.0, "weight decay")
    clip: float = _of(1.0, "largest norm of the gradients; 0: no limit")
    optimiser: str = _of(
        "adamw",
        "AdamW, its 8-bit form, or that one paged (both with bitsandbytes)",
        *("adamw", "adamw_8bit", "paged_adamw_8bit"),
    )
    seed: int = _of(0, "of weights, order and dropout")

    # How it is watched, and what is kept
    evaluate_every: int = _of(100, "steps between evaluations")
    save_every: int = _of(100, "steps between checkpoints")
    keep: int = _of(2, "checkpoints kept, the best not counted")
    best_by: str = _of("loss", "what the best is told by", "loss", "recall@10", "none")
    early_stopping: int = _of(0, "evaluations without a better one until it ends; 0: never")
    report_to: str = _of("none", "where curves go; both stay on this machine",
        *("none", "tensorboard", "trackio"))  # fmt: skip

    # What comes of it
    out: str = _of("runs/tuned", "folder of the result")
    push_to_hub: str | None = _of(None, "repository that the result is uploaded to")
    private: bool = _of(False, "the repository is private")
    threads: int = _of(0, "CPU threads; 0: as torch chooses")
    dry_run: bool = _of(False, "print what it would take, and train two steps only")
    resume: str = _of("auto", "go on from the last whole checkpoint, or start anew",
        *("auto", "never"))  # fmt: skip

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _checked(f, getattr(self, f.name)))
        for name in ("limit", "max_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} is {value}: give 1 or more, or leave it out")
        for names, least in ((_POSITIVE, "more than 0"), (_NOT_NEGATIVE, "0 or more")):
            for name in names:
                value = getattr(self, name)
                if value < 0 or (names is _POSITIVE and value == 0):
                    raise InputError(f"{name} is {value}: give {least}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}: give 0 or more, and less than 1")
        if self.max_length < 8:
            raise InputError(f"max_length is {self.max_length}: give 8 tokens or more")
        for wrong, said in (*self._in_training(), *self._in_watching()):
            if wrong:
                raise InputError(said)

    def _in_training(self) -> tuple[tuple[bool, str], ...]:
        """What contradicts itself in how it is trained, and what to say of it."""
        full, quantized = self.method == "full", self.quantization != "none"
        return (
            (
                full and quantized,
                f"method full cannot train weights of quantization {self.quantization!r}: "
                "use method lora, or quantization none",
            ),
            (
                full and (self.rslora or self.dora),
                "rslora and dora are kinds of adapters: use method lora, or leave them out",
            ),
            (
                self.dora and self.quantization == "gptq",
                "dora cannot be had on a GPTQ base: leave one of the two out",
            ),
            (
                self.packing and self.group_by_length,
                "packing and group_by_length exclude each other: turn one of them off "
                "(packed sequences are all of like length)",
            ),
            (
                self.chat_template_from is not None and self.style != "chat",
                f"chat_template_from is given and style is {self.style!r}, which has no chat "
                "template: use style chat, or leave chat_template_from out",
            ),
        )

    def _in_watching(self) -> tuple[tuple[bool, str], ...]:
        """The same of what is watched, kept and published."""
        return (
            (
                self.best_by != "none" and self.save_every % self.evaluate_every != 0,
                f"save_every is {self.save_every} and evaluate_every is {self.evaluate_every}: to "
                "keep the best, checkpoints must come with evaluations, so give a multiple",
            ),
            (
                self.best_by != "none" and self.validation_limit == 0,
                f"best_by is {self.best_by!r} and validation_limit is 0: give rows to validate on, "
                "or best_by none",
            ),
            (
                self.best_by == "recall@10" and self.task != "recommend",
                f"best_by recall@10 needs the task recommend, and this is {self.task!r}: "
                "use best_by loss",
            ),
            (
                self.early_stopping > 0 and self.best_by == "none",
                "early_stopping needs to know what is better: give best_by loss or recall@10",
            ),
            (
                self.private and self.push_to_hub is None,
                "private is said of a repository, and push_to_hub names none: name one",
            ),
        )

    @classmethod
    def add_flags(cls, parser: argparse.ArgumentParser) -> None:
        """Add ``--config`` and a flag for each field; those not given stay out of the result."""
        parser.add_argument(
            "--config",
            metavar="NAME_OR_FILE",
            help=f"a preset ({', '.join(sorted(p.stem for p in PRESETS.glob('*.yaml')))}) or a "
            "file of YAML; flags override it",
        )
        for f in dataclasses.fields(cls):
            said = f"{f.metadata['help']} (default: {_written(f.default)})".replace("%", "%%")
            flag = "--" + f.name.replace("_", "-")
            more: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": f.name, "help": said}
            if f.type == "bool":
                more["action"] = argparse.BooleanOptionalAction
            elif f.name == "target_modules":
                more |= {"nargs": "+", "metavar": "NAME"}
            elif f.metadata["choices"]:
                more["choices"] = f.metadata["choices"]
            else:
                kind = str(f.type).partition(" ")[0]
                more |= {"type": {"int": int, "float": float}.get(kind, str), "metavar": kind}
            parser.add_argument(flag, **more)

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any]) -> TuningOptions:
        """The options of a parsed command line: those of ``--config``, overridden by flags.

        Raises
        ------
        InputError: the configuration cannot be read, or an option is unknown, of a wrong type, or
            contradicts another.
        """
        config = flags.get("config")
        values = {} if config is None else _read(config)
        values |= {k: v for k, v in flags.items() if k != "config"}
        known = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                where = f"{config} has" if config else "there is"
                raise InputError(
                    f"{where} the option {name!r}, which is none: use {', '.join(known)}"
                )
        return cls(**values)

    @property
    def resolved(self) -> str:
        """Every option as YAML, which ``--config`` reads."""
        import yaml  # type: ignore[import-untyped]

        plain = json.loads(json.dumps(dataclasses.asdict(self)))
        text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        return text

    @property
    def decisive(self) -> dict[str, Any]:
        """The options that the weights of the result depend on."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {name: value for name, value in plain.items() if name not in _ASIDE}


def _read(config: str) -> dict[str, Any]:
    import yaml

    preset, file = PRESETS / f"{config}.yaml", Path(config).expanduser()
    found = preset if preset.is_file() and Path(config).name == config else file
    if not found.is_file():
        names = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml"))) or "none here"
        raise InputError(
            f"config is {config!r}, which is no file and no preset: the presets are {names}"
        )
    try:
        values = yaml.safe_load(found.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        said = " ".join(str(e).split())
        raise InputError(f"{found} cannot be read as YAML ({said}): mend it") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{found} holds no options: write them as 'name: value', one a line")
    return {str(name): value for name, value in values.items()}


def _checked(f: dataclasses.Field[Any], value: Any) -> Any:
    kind, _, optional = str(f.type).partition(" | ")
    if value is None and optional:
        return None
    if kind == "tuple[str, ...]":
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
            raise InputError(f"{f.name} is {value!r}: give a list of names, or one name")
        if not names:
            raise InputError(f"{f.name} is empty: name a layer, or all-linear")
        return tuple(names)
    if kind == "float":
        if isinstance(value, str):  # YAML reads 2e-4 as a text: it wants 2.0e-4
            value = _number(value)
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
    if type(value).__name__ != kind or (kind == "float" and not math.isfinite(value)):
        raise InputError(f"{f.name} is {value!r}: give {_KINDS[kind]}")
    choices = f.metadata["choices"]
    if choices and value not in choices:
        raise InputError(f"{f.name} is {value!r}: use {', '.join(choices)}")
    return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return "none" if value in (None, "") else str(value)
