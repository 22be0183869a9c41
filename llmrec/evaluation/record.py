"""Record hides what a run folder says beside the predictions, and whether it is of the same run."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from llmrec._version import __version__
from llmrec.catalog import Catalog
from llmrec.datasets.journal import digest
from llmrec.errors import InputError
from llmrec.evaluation.baselines import Baseline, Mentions
from llmrec.evaluation.cases import examples_line
from llmrec.evaluation.data import Data
from llmrec.evaluation.options import BASELINES, RunOptions
from llmrec.evaluation.predictions import at_work, write_predictions
from llmrec.folders import write_whole
from llmrec.similarity import features
from llmrec.types import Example

__all__ = ["PREDICTIONS", "RECORD", "add_about", "begin", "describe", "parts_of", "write_beside"]

FORMAT = 1
PREDICTIONS = "predictions.jsonl"
RECORD = "run.json"
_BEGIN_S = 60.0  # how long the other processes wait for the first
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "lancedb", "rapidfuzz")
_OURS = (
    *(RECORD, PREDICTIONS, "baselines", "items.json", "items.npz", "examples.jsonl"),
    *("metrics.json", "report.md", "report.html", "plots"),
    *("choices.jsonl", "choices.json", "choices.md"),
)


def describe(
    options: RunOptions,
    data: Data,
    in_split: int,
    examples: Sequence[Example],
    catalog: Catalog,
    shots: Sequence[Example],
) -> dict[str, Any]:
    """What ``run.json`` says: the options and all that they meant.

    Parameters
    ----------
    in_split: how many examples the part of the data has.
    """
    targets = [i for e in examples for i in dict.fromkeys(e.relevant)]
    config = {k: v for k, v in options.plain.items() if k != "restart"}
    return {
        "format": FORMAT,
        "llmrec": __version__,
        "system": options.system,
        "config": config,
        "data": {
            "name": data.path.name,
            "split": options.split,
            "fingerprint": data.fingerprint,
            "examples": in_split,
            "broken": data.broken,
        },
        "catalog": len(catalog),
        "catalog_fingerprint": catalog.fingerprint,
        "weights": {"model": _weights(options.model), "adapter": _weights(options.adapter)},
        "n": len(examples),
        "dialogues": len({e.dialogue or e.id for e in examples}),
        "targets": len(targets),
        "targets_outside": sum(i not in catalog for i in targets),
        "examples": blake2b("\0".join(e.id for e in examples).encode(), digest_size=16).hexdigest(),
        "shots": [e.id for e in shots],
        "versions": {"python": platform.python_version(), **dict(_versions())},
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _weights(name: str | None) -> str | None:
    """Digest of the weights of a folder; None for what is no folder."""
    if name is None or not Path(name).is_dir():
        return None
    files = sorted(Path(name).glob("*.safetensors"))
    said = "\0".join(f"{f.name} {digest(f, 64 << 20)}" for f in files)
    return blake2b(said.encode(), digest_size=16).hexdigest()


def begin(folder: Path, record: dict[str, Any], restart: bool, rank: int, world: int) -> None:
    """Write the record of a new run, or see that an old one is of the same.

    A run that has predicted nothing yet is replaced. The others wait for the first process.

    Raises
    ------
    InputError: the folder holds another run or something else, or the first process is not there.
    """
    if rank:
        _await(folder, record)
        return
    if restart and world > 1:
        raise InputError(
            f"restart is for one process, and here are {world}: remove {folder} and run again"
        )
    file = folder / RECORD
    there = [f.name for f in folder.iterdir()] if folder.is_dir() else []
    if RECORD not in there and any(name[0] != "." for name in there):
        raise InputError(f"{folder} is there and holds no run: give another --out")
    wrong = _difference(folder, record) if RECORD in there else ""
    said = [f for f in (folder / PREDICTIONS, *parts_of(folder)) if f.is_file()]
    if restart or (wrong and not any(f.stat().st_size for f in said)):
        if busy := [f for f in said if at_work(f)]:
            raise InputError(f"another run is at work on {busy[0]}: wait until it is done")
        _clear(folder)
    elif wrong:
        raise InputError(wrong)
    if not file.is_file():
        _write_json(file, record)


def _clear(folder: Path) -> None:
    for file in (*(folder / name for name in _OURS), *parts_of(folder)):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)


def _await(folder: Path, record: dict[str, Any]) -> None:
    """Wait until the first process has written the same record."""
    until = time.monotonic() + _BEGIN_S
    while True:
        there = (folder / RECORD).is_file()
        wrong = _difference(folder, record) if there else f"{folder} has no {RECORD}"
        if not wrong:
            return
        if time.monotonic() > until:
            raise InputError(f"the first process has not begun ({wrong}): start all together")
        time.sleep(0.1)


def _difference(folder: Path, record: dict[str, Any]) -> str:
    """In what the run of the folder is another one, in a sentence; nothing if it is the same."""
    file = folder / RECORD
    try:
        was, now = _told(json.loads(file.read_text(encoding="utf-8"))), _told(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{file} is damaged: begin anew with --restart"
    for name in {**now, **was}:
        if was.get(name) != now.get(name):
            return (
                f"{folder} holds a run of something else, {name} was {was.get(name)!r} and is "
                f"{now.get(name)!r}: give another --out, or replace it with --restart"
            )
    return ""


def _told(record: dict[str, Any]) -> dict[str, Any]:
    """What decides what a run says."""
    aside = (*RunOptions.ASIDE, "data", "catalog")  # these by their contents
    config = {k: v for k, v in record["config"].items() if k not in aside}
    return {
        **config,
        "the data's fingerprint": record["data"]["fingerprint"],
        "the catalogue's fingerprint": record["catalog_fingerprint"],
        "the model's weights": record["weights"]["model"],
        "the adapter's weights": record["weights"]["adapter"],
        "the version of llmrec": record["llmrec"],
    }


def add_about(folder: Path, about: dict[str, Any]) -> None:
    """Add to the record what is known once the system is there."""
    begun = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    _write_json(folder / RECORD, {**begun, "about": about})


def parts_of(folder: Path) -> list[Path]:
    """What processes of a run by several have written."""
    return sorted(folder.glob("predictions.*.jsonl"))


def write_beside(
    folder: Path,
    examples: Sequence[Example],
    catalog: Catalog,
    mentions: Mentions,
    options: RunOptions,
) -> None:
    """What the baselines say of the same examples, and what reports need to know besides."""
    for name in BASELINES:
        file = folder / "baselines" / f"{name}.jsonl"
        if not file.is_file():
            baseline = Baseline(name, mentions, depth=max(options.ks), seed=options.seed)
            made = []
            for e in examples:
                start = time.perf_counter()
                (p,) = baseline.predictions([e])
                took = round(time.perf_counter() - start, 6)
                made.append(dataclasses.replace(p, seconds=took))
            write_predictions(file, made)
    if not (folder / "examples.jsonl").is_file():
        lines = (json.dumps(examples_line(e), ensure_ascii=False) for e in examples)
        write_whole(folder / "examples.jsonl", "\n".join(lines))
    if not (folder / "items.json").is_file():
        _write_items(folder, catalog, mentions)


def _write_items(folder: Path, catalog: Catalog, mentions: Mentions) -> None:
    """``items.npz``: counts, and which features each item has (CSR); ``items.json``: names."""
    number: dict[tuple[str, str], int] = {}
    index: list[int] = []
    ptr = [0]
    for item in catalog:
        index += sorted({number.setdefault(f, len(number)) for f in features(item)})
        ptr.append(len(index))
    part = folder / ".items.npz.part"
    with part.open("wb") as out:
        np.savez(
            out,
            counts=mentions.counts.astype(np.int32),
            ptr=np.array(ptr, dtype=np.int64),
            index=np.array(index, dtype=np.int32),
            value=np.ones(len(index), dtype=np.float32),
        )
    part.replace(folder / "items.npz")
    said = {
        "ids": list(catalog.ids),
        "titles": list(catalog.labels),
        "features": [f"{kind}: {value}" for kind, value in number],
        "training_dialogues": mentions.dialogues,
    }
    _write_json(folder / "items.json", said)


def _write_json(file: Path, value: Any) -> None:
    write_whole(file, json.dumps(value, indent=1, ensure_ascii=False))
