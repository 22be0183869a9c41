"""RunOptions hides how an evaluation is said: as flags or as a file of YAML, checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from llmrec.errors import InputError
from llmrec.options import Options
from llmrec.options import option as _of

__all__ = ["BASELINES", "RunOptions"]

BASELINES = ("random", "popularity", "repeat-last", "co-occurrence")
_POSITIVE = ("shots", "lists", "list_length", "batch_size")


@dataclass(frozen=True)
class RunOptions(Options):
    """The whole of an evaluation. The fields are the flags and the keys of a file of YAML."""

    # What does not change what a system says; a finished run is never asked again for these.
    ASIDE = ("out", "threads", "restart", "price_read", "price_written")

    # What is asked
    data: str = _of("", "folder that train/prepare.py wrote, or a JSONL file of conversations")
    split: str = _of("validation", "part of the data")
    catalog: str | None = _of(None, "folder of a catalogue (default: the items of the data)")
    limit: int | None = _of(None, "examples at most: so many drawn by the seed, in data order")

    # Who is asked
    model: str = _of("embedded", "Hub id or folder, 'embedded', the URL of a server, or none")
    server_model: str | None = _of(None, "which model of a server that has several")
    adapter: str | None = _of(
        None, "Hub id or folder of an adapter for the model, or its name on a server"
    )
    revision: str | None = _of(None, "branch, tag or commit of the model")
    quantization: str = _of("none", "of the weights", "none", "4bit", "8bit")
    chat_template_from: str | None = _of(None, "take the chat template of this tokenizer")
    baseline: str | None = _of(None, "measure this instead of a model", *BASELINES)

    # How it is asked
    strategy: str = _of(
        "zero-shot",
        "fine-tuned is zero-shot with an adapter; sampling writes --lists lists and counts votes",
        *("zero-shot", "few-shot", "fine-tuned", "sampling"),
    )
    shots: int = _of(5, "few-shot: answered examples from the training part")
    grounding: str = _of(
        "auto",
        "rank the titles of the catalogue exactly, choose from the ranker's best candidates, or "
        "match a list that the model writes; auto: choose for a server, else constrained",
        *("auto", "constrained", "choose", "match"),
    )
    ranker: str = _of(
        "none",
        "none: the model's own ranking of every item; linear: the whole recommender, with "
        "understanding, filters and hand-set weights; or a folder or Hub id of a learned ranker, "
        "which ranks every item, with the model where it has learned the model's share. What a "
        "model is to choose from is listed by one of the latter two (none: linear)",
    )
    lists: int = _of(20, "sampling: how many lists")
    list_length: int = _of(10, "choose: titles asked for; match and sampling: read of a list")
    temperature: float = _of(0.7, "sampling: of the dice")

    # How it is counted
    ks: tuple[int, ...] = _of((1, 5, 10, 50), "depths of the metrics")
    seed: int = _of(0, "of --limit, the shots, the dice and the random baseline")
    batch_size: int = _of(16, "examples that are asked together; of a server all at once")
    price_read: float = _of(0.0, "server: of a million tokens that it reads")
    price_written: float = _of(0.0, "server: of a million tokens that it writes")

    # Where it goes
    out: str = _of("runs/eval", "folder of the run")
    threads: int = _of(0, "CPU threads; 0: as torch chooses")
    restart: bool = _of(False, "throw away what the folder holds of an earlier run")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grounding == "auto":
            choose = self.served and self.strategy != "sampling"
            object.__setattr__(self, "grounding", "choose" if choose else "constrained")
        if self.chooses and self.ranker == "none":
            object.__setattr__(self, "ranker", "linear")
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}: give 1 or more, or leave it out")
        for name in ("threads", "price_read", "price_written"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: give 0 or more")
        if not min(self.ks) >= 1 or max(self.ks) > 1_000:
            raise InputError(f"ks are {' '.join(map(str, self.ks))}: give depths of 1 to 1000")
        if self.temperature <= 0:
            raise InputError(
                f"temperature is {self.temperature}: lists are sampled above 0, 0.7 is usual"
            )
        if not self.data:
            raise InputError(
                "no data are given: name with --data a folder that train/prepare.py wrote"
            )
        for wrong, said in self._contradictions():
            if wrong:
                raise InputError(said)
        object.__setattr__(self, "ks", tuple(sorted(set(self.ks))))

    def _contradictions(self) -> tuple[tuple[bool, str], ...]:
        served = self.served
        writes = self.grounding == "match" or self.strategy == "sampling"
        whole = self.ranker != "none"
        return (
            (
                self.model == "none"
                and (self.chooses or self.ranker in ("none", "linear"))
                and not self.baseline,
                "model is 'none': that goes with the folder of a learned ranker, or a baseline",
            ),
            (
                self.strategy == "fine-tuned" and not self.tuned,
                f"strategy fine-tuned needs an adapter and {self.model!r} is none: name it with "
                "--adapter, or use strategy zero-shot",
            ),
            (
                whole and writes,
                f"ranker {self.ranker!r} ranks candidates, and here lists are written: use ranker "
                "none, or grounding constrained without sampling",
            ),
            (
                self.chooses and self.strategy in ("few-shot", "sampling"),
                f"strategy {self.strategy} shows or writes lists of titles, and a model that "
                "chooses answers with numbers: use strategy zero-shot, or another grounding",
            ),
            (
                served and not writes and not self.chooses,
                f"{self.model} is a server, which gives no token probabilities: use grounding "
                "choose or match, or strategy sampling",
            ),
            (
                served and (self.revision, self.quantization) != (None, "none"),
                f"{self.model} is a server, which holds its model: leave revision and "
                "quantization out",
            ),
            (
                not served and bool(self.server_model or self.price_read or self.price_written),
                f"server_model and prices are of a server, and {self.model!r} is none: give its "
                "URL as the model, or leave them out",
            ),
        )

    @property
    def served(self) -> bool:
        """Whether the model stands behind a server."""
        return self.model.startswith(("http://", "https://"))

    @property
    def chooses(self) -> bool:
        """Whether the model names numbers of candidates that are listed to it."""
        return self.grounding == "choose"

    @property
    def noted(self) -> bool:
        """Whether there is more to note of a batch than predictions: its price, or a choice."""
        return (self.served or self.chooses) and not self.baseline

    @property
    def tuned(self) -> bool:
        """Whether an adapter is named, as such or as the model, or may be: on the Hub."""
        folder = Path(self.model)
        there = (folder / "adapter_config.json").is_file() or not folder.is_dir()
        return self.adapter is not None or (self.model != "embedded" and there)

    @property
    def _model_is_not_asked(self) -> bool:
        if self.chooses:
            return False
        try:
            said = json.loads((Path(self.ranker) / "ranker.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False  # no learned ranker, or one on the Hub
        return isinstance(said, dict) and not said.get("model_share")

    @property
    def system(self) -> str:
        """What the system is called in tables."""
        if self.baseline:
            return self.baseline
        if self.model == "none" or self._model_is_not_asked:
            return f"ranker {Path(self.ranker).name}"
        named = (self.server_model or self.model, self.adapter)
        names = [Path(n).name if Path(n).is_dir() else n for n in named if n]
        how = [self.strategy]
        if self.strategy != "sampling":
            how.append(self.grounding)
        if self.ranker != "none":
            how.append(f"ranker {Path(self.ranker).name}")
        return ", ".join([" + ".join(names), *how])
