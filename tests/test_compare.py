"""Runs beside each other: differences from paper, what is refused, and what is written."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import handmade
import pytest

from eval.compare import main
from llmrec.errors import InputError
from llmrec.evaluation.comparing import compare, save
from llmrec.evaluation.predictions import Prediction
from llmrec.metrics.significance import holm

BETTER = handmade.lists("abc", "dca", "bca")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return handmade.folder(tmp_path / "first")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    config = {"data": "/x", "split": "test", "model": "m", "shots": 3, "out": "/y", "ks": [1, 2]}
    return handmade.folder(tmp_path / "second", BETTER, config=config, weights={"model": "w"})


def again(path: Path, predictions: Iterable[Prediction]) -> Path:
    (path / "predictions.jsonl").write_text(handmade.lines(predictions), encoding="utf-8")
    return path


def test_differences_by_hand(run: Path, other: Path) -> None:
    found = compare([run, other], metrics=["recall@2", "mrr@2"], targets="all")
    assert found.counts == {"examples": 3, "targets": 5, "dialogues": 2}
    assert [r["name"] for r in found.rows] == ["first", "second"]
    assert [r["figures"]["recall@2"]["value"] for r in found.rows] == [3 / 5, 4 / 5]
    recall, mrr = found.tests
    # One target more in the first dialogue, of four: twice it makes 1 / 4, never 0.
    assert (recall["name"], recall["other"], recall["metric"]) == ("second", "first", "recall@2")
    assert recall["difference"] == pytest.approx(1 / 5)
    assert (recall["low"], recall["high"]) == (0, 1 / 4)
    # Both find something at the same places: nothing differs.
    assert (mrr["difference"], mrr["low"], mrr["high"], mrr["p"]) == (0, 0, 0, 1)
    assert [recall["holm"], mrr["holm"]] == holm([recall["p"], mrr["p"]])
    assert recall["holm"] == min(1, 2 * recall["p"])
    new = compare([run, other], metrics=["recall@2"])
    assert [r["figures"]["recall@2"]["value"] for r in new.rows] == pytest.approx([2 / 3, 1])
    assert new.counts == {"examples": 2, "targets": 3, "dialogues": 1}


def test_every_pair_and_the_baselines(run: Path, other: Path, tmp_path: Path) -> None:
    third = handmade.folder(tmp_path / "third", handmade.POPULAR)
    found = compare([run, other, third], metrics=["hit@1"], all_pairs=True)
    assert [(t["other"], t["name"]) for t in found.tests] == [
        ("first", "second"), ("first", "third"), ("second", "third")
    ]  # fmt: skip
    alone = compare([run], metrics=["hit@1"], baselines=True)
    assert [r["name"] for r in alone.rows] == ["first", "popularity (baseline)"]
    assert alone.rows[0]["figures"]["hit@1"]["value"] == 1 / 2


def test_slices_of_runs(run: Path, other: Path) -> None:
    found = compare([run, other], metrics=["recall@2"], targets="all").slices
    assert list(found) == ["language", "turn", "mentioned"]
    cold = found["mentioned"]["cold start"]
    assert cold["examples"] == 1
    assert {n: f["value"] for n, f in cold["figures"].items()} == {"first": 1 / 2, "second": 1}
    assert sum(of["examples"] for of in found["turn"].values()) == 3
    # Of the new ones the third example has none.
    new = compare([run, other], metrics=["recall@2"]).slices
    assert list(new["language"]) == ["en"]


def test_what_differs(run: Path, other: Path, tmp_path: Path) -> None:
    assert [r["differs"] for r in compare([run, other], metrics=["hit@1"]).rows] == [
        "", "shots 3"
    ]  # fmt: skip
    weights = handmade.folder(tmp_path / "third", weights={"model": "v"})
    found = compare([run, weights], metrics=["hit@1"])
    assert [r["differs"] for r in found.rows] == ["", "other weights"]


def test_names_are_told_apart(tmp_path: Path) -> None:
    folders = [handmade.folder(tmp_path / place / "run") for place in ("a", "b")]
    names = [r["name"] for r in compare([*folders, folders[0]], metrics=["hit@1"]).rows]
    assert names == ["a/run", "b/run", "a/run (2)"]


def test_other_examples_are_refused(run: Path, other: Path) -> None:
    again(other, [*BETTER[:2], dataclasses.replace(BETTER[2], id="d9:1")])
    said = (
        r"first and second are over different examples: 1 of the 3 of the first and 1 of the 3 of "
        r"the second are not in the other \(--common compares the 2 that both have\)"
    )
    with pytest.raises(InputError, match=said):
        compare([run, other], metrics=["recall@2"])
    found = compare([run, other], metrics=["recall@2"], targets="all", common=True)
    assert found.counts == {"examples": 2, "targets": 4, "dialogues": 1}
    assert found.left_out == {"first": 1, "second": 1}
    assert found.tests[0]["difference"] == pytest.approx(1 / 4)
    assert "second: left out, as not all runs have them: 1 examples" in found.markdown()
    again(other, [dataclasses.replace(BETTER[2], id="d9:1")])
    with pytest.raises(InputError, match="first, second have no example in common"):
        compare([run, other], metrics=["recall@2"], common=True)


def test_other_targets_are_refused(run: Path, other: Path) -> None:
    again(other, [dataclasses.replace(BETTER[0], relevant=("a",)), *BETTER[1:]])
    said = "first and second have different targets or mentioned items in 1 of 3 examples"
    with pytest.raises(InputError, match=said):
        compare([run, other], metrics=["recall@2"])
    # The order of the targets is none.
    again(other, [dataclasses.replace(BETTER[0], relevant=("b", "a")), *BETTER[1:]])
    assert compare([run, other], metrics=["recall@2"]).counts["targets"] == 3


def test_other_catalogues_are_refused(run: Path, tmp_path: Path) -> None:
    other = handmade.folder(tmp_path / "other", ids=(*handmade.IDS[:5], "x", "y"), baselines={})
    said = (
        "first and other rank different catalogues, of 6 and 7 items: 1 are only in the first and "
        "2 only in the second; compare runs over the same catalogue"
    )
    with pytest.raises(InputError, match=said):
        compare([run, other], metrics=["recall@2"])


def test_what_else_is_refused(run: Path, other: Path) -> None:
    with pytest.raises(InputError, match="1 run is given: name two or more, or add --baselines"):
        compare([run])
    (run / "baselines" / "popularity.jsonl").unlink()
    with pytest.raises(InputError, match="first has no baselines beside it: name another run"):
        compare([run], metrics=["recall@1"], baselines=True)
    with pytest.raises(
        InputError, match="the runs have no metric 'recall@10': use one of recall@1"
    ):
        compare([run, other])


def test_what_is_written(run: Path, other: Path, tmp_path: Path) -> None:
    found = compare([run, other], metrics=["recall@2", "hit@1"], targets="all")
    files = save(found, tmp_path / "out")
    assert [f.name for f in files] == [
        "compare.md", "compare.html", "compare.json", "compare.png"
    ]  # fmt: skip
    text = files[0].read_text("utf-8")
    assert "- 3 examples with 5 targets in 2 dialogues" in text
    assert "corrected by Holm's rule over all 2 tests shown" in text
    assert re.search(r"\| second \| Recall@2 +\| \+0\.200 \(\+0\.000 to \+0\.250\) \|", text)
    assert json.loads(files[2].read_text("utf-8")) == json.loads(json.dumps(found.to_dict()))
    assert files[1].read_text("utf-8").count("<svg") == 2
    assert files[3].read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(
    run: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    files = save(compare([run, other], metrics=["hit@1"]), tmp_path / "out")
    assert [f.suffix for f in files] == [".md", ".html", ".json"]
    assert "There is no plot: matplotlib is needed" in files[1].read_text("utf-8")


def test_the_script(
    run: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(run), str(other), "--metric", "recall@2", "--targets", "all"]
    assert main([*asked, "--out", str(tmp_path / "out"), "--baselines", "--all-pairs"]) == 0
    printed = capsys.readouterr().out
    assert "# first and second compared" in printed
    assert "popularity (baseline)" in printed
    assert "compare.png" in printed
    assert main([str(run), str(tmp_path / "nowhere")]) == 1
    assert "compare: " in (said := capsys.readouterr().err)
    assert "is no run (no run.json)" in said
