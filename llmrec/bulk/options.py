"""BulkOptions hides how recommending in bulk is said: as flags or as a file of YAML, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from llmrec.errors import InputError
from llmrec.options import Options
from llmrec.options import option as _of
from llmrec.recommender import MAX_K, Grounding

__all__ = ["BulkOptions"]


@dataclass(frozen=True)
class BulkOptions(Options):
    """The whole of a run. The fields are the flags and the keys of a file of YAML."""

    # What does not change what comes out, or (files) is told by its contents.
    ASIDE = ("input", "out", "catalog", "restart", "retry_failed")

    # What is asked
    input: str = _of("", "file or folder of conversations: .parquet or .jsonl")
    k: int = _of(5, "recommendations for each conversation, at most")
    repeat: bool = _of(False, "whether items already shown or named may come again")

    # Who is asked
    model: str = _of("embedded", "Hub id or folder, 'embedded', or the URL of a server")
    server_model: str | None = _of(None, "which model of a server that has several")
    adapter: str | None = _of(
        None, "Hub id or folder of an adapter for the model, or its name on a server"
    )
    revision: str | None = _of(None, "branch, tag or commit of the model")
    quantization: str = _of("none", "of the weights", "none", "4bit", "8bit")
    chat_template_from: str | None = _of(None, "take the chat template of this tokenizer")
    catalog: str | None = _of(None, "folder of a catalogue (default: the embedded films)")
    grounding: str = _of(
        "auto",
        "as Recommender takes it; auto: choose for a server, else constrained",
        *("auto", *get_args(Grounding)),
    )
    ranker: str | None = _of(
        None, "folder or Hub id of a learned ranker (default: the one beside the model, if any)"
    )

    # How it is asked; padding and threads change the last bits of a score
    batch_size: int = _of(
        0, "conversations asked together, of a server requests under way; 0: 16 of a server, else 1"
    )
    shard_rows: int = _of(256, "conversations of a shard: so many a kill costs at most")
    threads: int = _of(1, "CPU threads of each process; 0: as torch chooses")

    # Where it goes
    out: str = _of("runs/bulk", "folder of the tables")
    restart: bool = _of(False, "throw away what the folder holds of an earlier run")
    retry_failed: bool = _of(False, "ask again the shards that hold failed conversations")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grounding == "auto":
            object.__setattr__(self, "grounding", "choose" if self.served else "constrained")
        if not self.input:
            raise InputError(
                "no input is given: name with --input a file or folder of conversations, "
                "as .parquet or .jsonl"
            )
        if not 1 <= self.k <= MAX_K:
            raise InputError(f"k is {self.k}: ask for 1 to {MAX_K} items")
        for name, least in (("batch_size", 0), ("shard_rows", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}: give {least} or more")
        if self.served and self.grounding == "constrained":
            raise InputError(
                f"{self.model} is a server, which gives no token probabilities: use grounding "
                "choose or match"
            )
        held = (self.revision, self.chat_template_from)
        if self.served and (held != (None, None) or self.quantization != "none"):
            raise InputError(
                f"{self.model} is a server, which holds its model: leave revision, quantization "
                "and chat_template_from out"
            )
        if self.server_model and not self.served:
            raise InputError(
                f"server_model is {self.server_model!r} and {self.model!r} is no server: give "
                "its URL as the model, or leave server_model out"
            )

        if not self.batch_size:
            object.__setattr__(self, "batch_size", 16 if self.served else 1)

    @property
    def served(self) -> bool:
        """Whether the model stands behind a server."""
        return self.model.startswith(("http://", "https://"))
