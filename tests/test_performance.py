"""The guide to speed is what the kept results say."""

from __future__ import annotations

import pytest

from benchmarks import all as benchmarks


def test_the_guide_is_written_from_the_results() -> None:
    kept = {path.stem for path in benchmarks.RESULTS.glob("*.md")}
    assert kept <= {*benchmarks.BY_THEMSELVES, *benchmarks.RUNS}
    assert benchmarks.GUIDE.read_text(encoding="utf-8") == f"{benchmarks.guide()}\n"


def test_every_result_names_its_command_and_machine() -> None:
    for path in benchmarks.RESULTS.glob("*.md"):
        title, _, command, *_ = path.read_text(encoding="utf-8").splitlines()
        assert title.startswith("# ")
        assert command.startswith("`python benchmarks/")
        assert "cores" in path.read_text(encoding="utf-8")


def test_a_benchmark_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["speed-of-light"])
    assert "there is no benchmark 'speed-of-light': use recommend" in capsys.readouterr().err


@pytest.mark.parametrize("name", benchmarks.RUNS)
def test_every_benchmark_is_there(name: str) -> None:
    script = benchmarks.RUNS[name].command.split()[0]
    assert (benchmarks.HERE / script).is_file()
