from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.catalog import main


def test_the_benchmark_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rows", "300", "--repeats", "2", "--keep", str(tmp_path / "work")]
    assert main([*arguments, "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["rows"], figures["dropped"]) == (300, 0)
    assert figures["build_s"] > 0
    assert figures["peak_build_mb"] > 10
    assert all(0 < q["median_ms"] <= q["p95_ms"] for q in figures["queries"].values())
    assert "peak_build_mb" in capsys.readouterr().out
