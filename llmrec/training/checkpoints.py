"""Checkpoints hides which run a checkpoint is of, and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.errors import InputError
from llmrec.training.batches import Texts
from llmrec.training.options import TuningOptions
from llmrec.training.preparing import is_first

__all__ = ["CHECKPOINTS", "IDENTITY", "identity_of", "resumable"]

CHECKPOINTS = "checkpoints"
IDENTITY = "run.json"


def identity_of(
    options: TuningOptions, sequences: Iterable[Texts], processes: int
) -> dict[str, Any]:
    """What must be the same for a checkpoint to be gone on from."""
    rows = hashlib.blake2b(digest_size=16)
    for s in sequences:
        rows.update(np.asarray([*s["input_ids"], -1, *s["labels"]], "<i4").tobytes())
    return {"options": options.decisive, "rows": rows.hexdigest(), "processes": processes}


def resumable(out: Path, identity: Mapping[str, Any], resume: str) -> Path | None:
    """The last whole checkpoint of this very run. Raises InputError if it is another's."""
    folder = out / CHECKPOINTS
    if not folder.is_dir():
        return None
    first = is_first()
    if resume == "never":
        if first:
            shutil.rmtree(folder)
        return None
    whole = {int(p.name.rpartition("-")[2]): p for p in _checkpoints(folder) if _whole(p)}
    if first:
        for part in set(_checkpoints(folder)) - set(whole.values()):
            shutil.rmtree(part, ignore_errors=True)
    if not whole:
        return None
    _same(folder / IDENTITY, identity)
    return whole[max(whole)]


def _checkpoints(folder: Path) -> list[Path]:
    return [p for p in folder.glob("checkpoint-*") if p.name.rpartition("-")[2].isdigit()]


def _whole(checkpoint: Path) -> bool:
    # The state is what is written last, after every process has written what is its own.
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _same(file: Path, identity: Mapping[str, Any]) -> None:
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        was, now = dict(before["options"]), identity["options"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{file.parent} holds checkpoints of an unknown run: give another out, or resume never"
        ) from None
    changed = [f"{k} was {was.get(k)!r} and is {now[k]!r}" for k in now if was.get(k) != now[k]]
    if before.get("rows") != identity["rows"]:
        changed.append("the rows have changed")
    if before.get("processes") != identity["processes"]:
        changed.append(
            f"there were {before.get('processes')} processes and are {identity['processes']}"
        )
    if changed:
        raise InputError(
            f"{file.parent} holds checkpoints of another run ({'; '.join(changed)}): "
            "give the same options, another out, or resume never"
        )
