"""Profile hides where it stands how a model is best used: ``llmrec.json`` in its folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmrec.errors import ModelError

__all__ = ["Profile"]

FILE = "llmrec.json"


@dataclass(frozen=True)
class Profile:
    """How a model is used; the defaults suit a capable instruction-tuned model.

    Attributes
    ----------
    lead: whether the model or the rules lead in understanding; measured, not guessed.
    detail: "full" prompts explain the task, "brief" ones are for a model trained on it.
    writes: whether the model writes the prose of a reply; else sentences are filled.
    """

    lead: Literal["rules", "model"] = "model"
    detail: Literal["full", "brief"] = "full"
    writes: bool = True

    def __post_init__(self) -> None:
        for name, allowed in (
            ("lead", ("rules", "model")),
            ("detail", ("full", "brief")),
            ("writes", (True, False)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ModelError(
                    f"the profile has {name} {value!r}: use {' or '.join(map(repr, allowed))}"
                )

    @classmethod
    def read(cls, model: str | os.PathLike[str], *, revision: str | None = None) -> Profile:
        """The profile that a folder or a Hub repository carries, else the default.

        Raises
        ------
        ModelError: the file is there and cannot be read.
        """
        file: Any = Path(model) / FILE
        if not Path(model).is_dir():
            from transformers.utils.hub import cached_file

            file = cached_file(
                str(model),
                FILE,
                revision=revision,
                local_files_only=os.environ.get("HF_HUB_OFFLINE") == "1",
                _raise_exceptions_for_gated_repo=False,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
        if file is None or not Path(file).is_file():
            return cls()
        try:
            return cls(**json.loads(Path(file).read_text(encoding="utf-8")))
        except (ValueError, TypeError) as e:
            raise ModelError(f"{file} cannot be read ({e}): mend it or remove it") from None
