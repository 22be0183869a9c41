"""The measurement of fine-tuning runs, and counts what it says it counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from benchmarks.tuning import main, padded, similar_rows
from llmrec.training.options import TuningOptions
from llmrec.training.preparing import prepare

for _package in ("peft", "trl", "datasets"):
    pytest.importorskip(_package)


def test_both_ways_learn_the_same_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny.folder(tmp_path / "model")
    flags = ["--model", str(model), "--rows", "12", "--repeats", "1", "--threads", "1"]
    flags += ["--made-up"]
    assert main([*flags, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert 8 < figures["rows"] == figures["sequences"]["recipe"] <= 12
    assert figures["sequences"]["ours"] < figures["rows"]
    assert 0 < figures["answer_tokens"] < figures["tokens"]
    ratio = figures["seconds"]["recipe"][0] / figures["seconds"]["ours"][0]
    assert figures["ratio"] == pytest.approx(ratio)
    assert f"ratio {ratio:.2f} of the best passes" in capsys.readouterr().out


def test_the_recipe_gets_every_text_whole(tmp_path: Path) -> None:
    options = TuningOptions(
        model=str(tiny.folder(tmp_path / "model")), best_by="none", max_length=300, threads=1
    )
    prepared = prepare(options, similar_rows(10, 0), [])
    rows = padded(prepared, 300, 0)
    assert {len(row["input_ids"]) for row in rows} == {300}
    texts = [r["input_ids"][: sum(r["attention_mask"])] for r in rows]
    assert [t for text in texts for t in text] == [
        t for s in prepared.train for t in s["input_ids"]
    ]
    assert [sum(label != -100 for label in row["labels"]) for row in rows] == list(map(len, texts))
