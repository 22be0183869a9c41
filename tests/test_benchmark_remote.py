from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.remote import SIDES, main, table


def test_without_a_server_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["--rows", "10"]) == 1
    assert "moto_server is not installed: pip install 'moto[server]'" in capsys.readouterr().err


def test_ratios_are_those_of_medians() -> None:
    runs = {"folder": [1.0, 2.0, 9.0], "s3": [8.0, 10.0, 12.0], "s3 again": [5.0, 4.0, 3.0]}
    figures = {
        "seconds": {side: [{"open": v / 1e3} for v in values] for side, values in runs.items()},
        "requests": {"folder": [0, 0, 0], "s3": [30, 31, 32], "s3 again": [9, 9, 9]},
    }
    lines = table(figures)
    assert (
        "| open | 2.0 (1.0 to 9.0) | 10.0 (8.0 to 12.0) | 5.0 | 4.0 (3.0 to 5.0) | 2.0 |" in lines
    )
    assert lines[-1] == "| requests of a run | 0 | 31 | | 9 | |"


@pytest.mark.slow
def test_both_sides_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("moto_server") is None:
        pytest.skip("there is no moto_server here: pip install 'moto[server]'")
    file = tmp_path / "figures.json"
    arguments = ["--rows", "60", "--runs", "1", "--latency", "5", "--json", str(file)]
    assert main(arguments) == 0
    (figures,) = json.loads(file.read_text(encoding="utf-8"))
    assert set(figures["seconds"]) == set(SIDES)
    assert figures["requests"]["s3"][0] > figures["requests"]["s3 again"][0] > 0
    assert figures["requests"]["folder"] == [0]
    assert "| open |" in capsys.readouterr().out
