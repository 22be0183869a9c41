"""The benchmarks that the README names run; what they print is not judged."""

from __future__ import annotations

import pytest

from benchmarks import decoding, recommend


def test_recommend_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert recommend.main(["--n", "2", "--threads", "1"]) == 0
    assert "| first card | constrained |" in capsys.readouterr().out


def test_decoding_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert decoding.main(["--requests", "1", "--lists", "1", "--threads", "1"]) == 0
    assert "exact" in capsys.readouterr().out
