"""Profile hides where it stands how a model is best used: ``llmrec.json`` in its folder."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Literal

from llmrec.errors import ModelError
from llmrec.models.files import find_file

__all__ = ["Profile"]

FILE = "llmrec.json"


@dataclass(frozen=True)
class Profile:
    """How a model is used; the defaults suit a capable instruction-tuned model.

    Attributes
    ----------
    lead: whether the model or the rules lead in understanding; measured, not guessed.
        "rules-only": the model is not asked.
    detail: "full" prompts explain the task, "brief" ones are for a model trained on it and tell
        it what was understood, "turns" ones tell it what was said.
    writes: whether the model writes the prose of a reply; else sentences are filled.
    answers: the form in which the model is asked about an item's record: "chat", "alpaca" or
        "plain"; empty: in chat if it writes, else it is not asked and the catalogue is quoted.
    taste: how much the model's opinion of a title counts beside the other signals of a ranking.
    """

    lead: Literal["rules", "model", "rules-only"] = "model"
    detail: Literal["full", "brief", "turns"] = "full"
    writes: bool = True
    taste: float = 0.25
    answers: Literal["", "chat", "alpaca", "plain"] = ""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("lead", ("rules", "model", "rules-only")),
            ("detail", ("full", "brief", "turns")),
            ("writes", (True, False)),
            ("answers", ("", "chat", "alpaca", "plain")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ModelError(
                    f"the profile has {name} {value!r}: use {' or '.join(map(repr, allowed))}"
                )

        if type(self.taste) not in (int, float) or not 0 <= self.taste < math.inf:
            raise ModelError(f"the profile has taste {self.taste!r}: use a number, 0 or more")

    @classmethod
    def read(
        cls,
        model: str | os.PathLike[str],
        *,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> Profile | None:
        """The profile that a folder or a Hub repository carries; None where it has none.

        Raises
        ------
        ModelError: the file is there and cannot be read.
        """
        file = find_file(model, FILE, revision=revision, local_files_only=local_files_only)
        if file is None:
            return None
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as e:
            raise ModelError(f"{file} cannot be read ({e}): mend it or remove it") from None
