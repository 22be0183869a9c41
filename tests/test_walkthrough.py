"""The whole way, from the published files to a tuned model that is loaded from a Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import walkthrough

REDIAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "redial"


@pytest.mark.slow
@pytest.mark.skipif(not REDIAL.is_dir(), reason="ReDial is not beside the repository")
def test_the_whole_way_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("trl")
    flags = ["--data", str(REDIAL), "--work", str(tmp_path), "--threads", "1"]
    assert walkthrough.main([*flags, "--rows", "200", "--max-steps", "4", "--limit", "30"]) == 0
    said = capfd.readouterr().out
    assert "llmrec-embedded + redial-embedded\n" in said
    assert said.count("  5. ") == 2
    assert "| repeat-last (baseline) |" in said
    figures = json.loads((tmp_path / "measured" / "metrics.json").read_text())
    assert (figures["n"], figures["main"]) == (30, "run, zero-shot, constrained")
    assert "README.md" in said.rpartition("holds")[2]
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["cost"]["steps"] == 4
    assert record["repo_id"] == walkthrough.REPOSITORY
