"""TuningOptions hides how a fine-tuning is said: as flags, as a preset or file of YAML, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmrec.errors import InputError
from llmrec.options import Options
from llmrec.options import option as _of

__all__ = ["PRESETS", "TuningOptions"]

PRESETS = Path(__file__).resolve().parents[2] / "train" / "presets"

_POSITIVE = (
    *("k", "r", "alpha", "learning_rate", "epochs", "batch_size", "accumulation", "evaluate_every"),
    *("save_every", "keep"),
)
_NOT_NEGATIVE = ("validation_limit", "warmup", "weight_decay", "clip", "early_stopping", "threads")


@dataclass(frozen=True)
class TuningOptions(Options):
    """The whole of a fine-tuning. The fields are the flags and the keys of a preset."""

    PRESETS = PRESETS
    # What a run is called and where it goes; all the rest decides what comes out of it. Of the
    # data it is the rows that count.
    ASIDE = (
        *("base_id", "data", "keep", "report_to", "push_to_hub", "private"),
        *("out", "threads", "dry_run", "resume"),
    )

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
        if self.target_modules in ((), []):
            raise InputError("target_modules is empty: name a layer, or all-linear")
        super().__post_init__()
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
