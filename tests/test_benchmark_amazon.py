from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.amazon import main


def test_the_benchmark_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("psutil")
    arguments = ["--rows", "400", "--keep", str(tmp_path), "--json", str(tmp_path / "figures.json")]
    assert main(arguments) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (tmp_path / "trn-400-0.json.gz").is_file()
    assert figures["rows"] == 400
    assert all(figures[side]["seconds"] > 0 for side in ("ours", "pandas"))
    assert all(figures[side]["peak_mb"] > 50 for side in ("ours", "pandas"))
    assert 250 < figures["kept"]["both"] < 350
    assert figures["kept"]["only ours"] == 0
    assert "times as fast" in capsys.readouterr().out
