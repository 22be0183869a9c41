"""Predictions on disk: there and back, torn, locked, damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.evaluation.predictions import (
    Prediction,
    Predictions,
    at_work,
    read_predictions,
    write_predictions,
)

FIELDS = (
    "id dialogue turn language relevant mentioned items scores seconds tokens text tiers outside "
    "duplicates wishes reply_language error"
).split()


def made(name: str = "1:0", text: str | None = None) -> Prediction:
    return Prediction(
        id=name,
        dialogue="1",
        turn=2,
        language="pt",
        relevant=("a",),
        mentioned=("b", "c"),
        items=("a", "b"),
        scores=(-1.5, -2.25),
        seconds=0.25,
        tokens=7,
        text=text,
        tiers={"exact": 2},
        outside=1,
        duplicates=3,
        wishes=(4, 5),
        reply_language="es",
    )


def test_a_prediction_says_everything_and_comes_back() -> None:
    said = made().to_dict()
    assert list(said) == FIELDS
    assert said["items"] == ["a", "b"]
    assert said["wishes"] == [4, 5]
    assert said["error"] is said["text"] is None
    assert Prediction.from_dict(json.loads(json.dumps(said))) == made()
    bare = Prediction("1", "1", 0, "en", (), (), ())
    assert Prediction.from_dict(json.loads(json.dumps(bare.to_dict()))) == bare
    with pytest.raises(InputError, match=r"this is no prediction .*: its fields are id, dialogue"):
        Prediction.from_dict({"id": "1"})


@settings(max_examples=40)
@given(st.lists(st.text(max_size=12), max_size=5), st.integers(0, 400))
def test_what_is_torn_off_is_written_again(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], at: int
) -> None:
    file = tmp_path_factory.mktemp("torn") / "predictions.jsonl"
    wanted = [made(str(n), text) for n, text in enumerate(texts)]
    with Predictions(file) as out:
        for p in wanted:
            out.add(p)
    whole = file.read_bytes()
    assert list(read_predictions(file)) == wanted
    file.write_bytes(whole[:at])
    with Predictions(file) as out:
        kept = set(out.ids)
        assert kept == {p.id for p in wanted[: len(kept)]}
        for p in wanted[len(kept) :]:
            out.add(p)
    assert file.read_bytes() == whole


def test_one_process_for_a_file(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    assert not at_work(file)
    with Predictions(file) as out:
        out.add(made())
        assert at_work(file)
        with pytest.raises(InputError, match=r"another run is at work on .*predictions\.jsonl"):
            Predictions(file)
    assert not at_work(file)


def test_damage_in_the_middle_is_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    write_predictions(file, [made("1"), made("2"), made("3")])
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text(lines[0] + "{broken\n" + lines[2], encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2 of .* is damaged .*: begin anew with --restart"):
        Predictions(file)
    with pytest.raises(InputError, match=r"cannot be read .*: run eval/run\.py first"):
        read_predictions(tmp_path / "nowhere.jsonl")
