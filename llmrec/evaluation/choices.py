"""Choices hides the file beside the predictions: what each batch cost, and was chosen from.

One line a batch, appended. A batch that is asked again after a kill has two: both were paid for.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from llmrec.choosing import Tally
from llmrec.errors import InputError
from llmrec.evaluation.predictions import Prediction
from llmrec.evaluation.systems import Choice, System
from llmrec.models.endpoint import Usage
from llmrec.records import json_rows
from llmrec.types import Example

__all__ = ["FILE", "Noted", "Notes", "read_notes"]

FILE = "choices.jsonl"


class Notes(NamedTuple):
    """What a run noted.

    Attributes
    ----------
    choices: by the example's id. usage: of all that was asked; None where no server was.
    """

    choices: Mapping[str, Choice]
    usage: Usage | None


@dataclass
class Noted:
    """A system that notes its batches in the folder of its run.

    Parameters
    ----------
    model: who is asked; with ``usage`` where it is a server.
    afresh: forget what the folder has of an earlier run.
    """

    system: System
    model: Any
    folder: str | os.PathLike[str]
    afresh: bool = False

    def __post_init__(self) -> None:
        self.name, self.about = self.system.name, self.system.about
        self._file = Path(self.folder) / FILE
        if self.afresh:
            self._file.unlink(missing_ok=True)

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        """See ``System``."""
        before = getattr(self.model, "usage", None)
        try:
            return self.system.predictions(examples)
        finally:  # what failed costs as well
            self._note(before, getattr(self.model, "usage", None))

    def _note(self, before: Usage | None, after: Usage | None) -> None:
        choices: Mapping[str, Choice] = getattr(self.system, "choices", {})
        said = {
            "usage": _difference(before, after),
            "choices": {
                name: {"order": c.order, "counts": dataclasses.asdict(c.counts)}
                for name, c in choices.items()
            },
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # One write, so that processes do not mix; it begins a line, as a kill may have torn one.
        with self._file.open("ab", buffering=0) as out:
            out.write(f"\n{json.dumps(said)}".encode())


def _difference(before: Usage | None, after: Usage | None) -> dict[str, Any] | None:
    if before is None or after is None:
        return None
    was = dataclasses.asdict(before)
    now = dataclasses.asdict(after)
    return {name: None if now[name] is None else now[name] - was[name] for name in now}


def read_notes(folder: str | os.PathLike[str]) -> Notes:
    """What a run noted; nothing where it noted nothing. Torn lines are passed over."""
    choices: dict[str, Choice] = {}
    spent: list[Usage] = []
    try:
        with (Path(folder) / FILE).open("rb") as lines:
            rows = [row for _, row in json_rows(lines) if not isinstance(row, str)]
    except FileNotFoundError:
        rows = []
    try:
        for row in rows:
            for name, c in row["choices"].items():
                choices[name] = Choice(tuple(c["order"]), Tally(**c["counts"]))
            if row["usage"] is not None:
                spent.append(Usage(**row["usage"]))
    except (KeyError, TypeError, AttributeError) as e:
        raise InputError(
            f"{Path(folder) / FILE} is damaged ({e!r}): begin anew with --restart"
        ) from None
    return Notes(choices, _sum(spent) if spent else None)


def _sum(spent: Sequence[Usage]) -> Usage:
    """All together; the cost is that of those that had a price."""
    every = [dataclasses.asdict(u) for u in spent]
    sums: dict[str, Any] = {name: sum(u[name] or 0 for u in every) for name in every[0]}
    if all(u.cost is None for u in spent):
        sums["cost"] = None
    return Usage(**sums)
