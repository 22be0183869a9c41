"""A run folder by hand: two dialogues, three examples, six items, figures that fit on paper."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.evaluation.predictions import Prediction

IDS = ("a", "b", "c", "d", "e", "f")
COUNTS = (4, 2, 1, 0, 1, 0)
FEATURES = ((0,), (0,), (1,), (0, 1), (), ())

FIRST = Prediction(
    id="d1:1", dialogue="d1", turn=1, language="en", relevant=("a", "b"), mentioned=(),
    items=("b", "c", "a"), scores=(0.5, 0.3, 0.2), seconds=1.0, tokens=10, text="B\nC\nA\nB\nZ",
    tiers={"exact": 2, "year": 1}, outside=1, duplicates=1, wishes=(2, 4), reply_language="en",
)  # fmt: skip
SECOND = Prediction(
    id="d1:3", dialogue="d1", turn=3, language="en", relevant=("a", "c"), mentioned=("a",),
    items=("d", "a", "c"), seconds=2.0, tokens=20,
)  # fmt: skip
THIRD = Prediction(
    id="d2:7", dialogue="d2", turn=7, language="pt", relevant=("b",), mentioned=("b", "c"),
    items=("b", "c", "e"), seconds=6.0, tokens=60, wishes=(1, 1), reply_language="en",
)  # fmt: skip
PREDICTIONS = (FIRST, SECOND, THIRD)


def lists(*items: Sequence[str], of: Sequence[Prediction] = PREDICTIONS) -> list[Prediction]:
    """What another system gave for the same examples, and nothing else."""
    blank = {"scores": (), "seconds": 0.0, "tokens": 0, "text": None, "tiers": {}, "outside": 0,
             "duplicates": 0, "wishes": None, "reply_language": None}  # fmt: skip
    pairs = zip(of, items, strict=True)
    return [dataclasses.replace(p, items=tuple(i), **blank) for p, i in pairs]


POPULAR = lists("abc", "abc", "abc")


def lines(predictions: Iterable[Prediction]) -> str:
    """Predictions as the lines of their file."""
    return "".join(json.dumps(p.to_dict()) + "\n" for p in predictions)


def folder(
    path: Path,
    predictions: Iterable[Prediction] = PREDICTIONS,
    baselines: Mapping[str, Iterable[Prediction]] | None = None,
    *,
    ids: Sequence[str] = IDS,
    titles: Sequence[str] = (),
    **said: Any,
) -> Path:
    """Write the folder; ``said`` replaces what ``run.json`` says. Other ids have no features."""
    (path / "baselines").mkdir(parents=True)
    beside = {"popularity": POPULAR} if baselines is None else baselines
    for name, given in beside.items():
        (path / "baselines" / f"{name}.jsonl").write_text(lines(given), encoding="utf-8")
    (path / "predictions.jsonl").write_text(lines(predictions), encoding="utf-8")
    config = {"data": "/home/somebody/talks", "split": "test", "model": "m", "ks": [1, 2]}
    record = {"system": "m, zero-shot", "config": config, "n": 3, "catalog": len(ids), **said}
    (path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    named = {"ids": list(ids), "titles": list(titles or ids)}
    (path / "items.json").write_text(json.dumps(named), encoding="utf-8")
    if tuple(ids) != IDS:
        return path
    index = [f for features in FEATURES for f in features]
    np.savez(
        path / "items.npz",
        counts=np.array(COUNTS, dtype=np.int32),
        ptr=np.cumsum([0, *map(len, FEATURES)]),
        index=np.array(index, dtype=np.int32),
        value=np.ones(len(index), dtype=np.float32),
    )
    return path
