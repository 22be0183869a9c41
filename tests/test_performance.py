"""The guide to speed is what the kept results say, and every benchmark can be run."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import all as benchmarks
from benchmarks import measuring
from benchmarks.ratios import Ratio, cell, picture, table

SCRIPTS = sorted(p.stem for p in benchmarks.HERE.glob("*.py"))
SHARED = {"measuring", "ratios", "tastes"}  # that the others have in common
RESULT = """# Some benchmark

| way | titles | ms | ratio |
|---|---:|---|---|
| ours | 1,000 | 2.50 (2 to 3) | 1.0 |
| theirs | 1,000 | 5 | 2.0 |
| theirs | 2,000 | 1,250 | 4.0 |

Asked otherwise

| way | ms |
|---|---|
| theirs | 7 |
| nothing | |
"""


def test_the_guide_and_its_picture_are_written_from_the_results() -> None:
    results = benchmarks.kept()
    assert benchmarks.GUIDE.read_text(encoding="utf-8") == f"{benchmarks.guide(results)}\n"
    drawn = picture(benchmarks.told(results))
    assert benchmarks.PICTURE.read_text(encoding="utf-8") == f"{drawn}\n"


def test_every_ratio_is_found_in_its_result() -> None:
    results = benchmarks.kept()
    for name, ratios in benchmarks.told(results).items():
        asked = benchmarks.RUNS[name].ratios if name in benchmarks.RUNS else ()
        missing = [f"{r.what}, beside {r.beside}" for r in asked if r not in dict(ratios)]
        assert missing == [], f"all.py no longer finds them in results/{name}.md"


def test_every_result_names_its_command_and_machine() -> None:
    for path in measuring.RESULTS.glob("*.md"):
        title, _, command, *_ = path.read_text(encoding="utf-8").splitlines()
        assert title.startswith("# ")
        assert command.startswith("`python benchmarks/")
        assert "cores" in path.read_text(encoding="utf-8")


def test_a_cell_is_that_of_the_first_table_with_the_row_and_the_column() -> None:
    assert cell(RESULT, r"\| ours", "ms") == 2.5
    assert cell(RESULT, r"\| theirs \| 2,000", "ms") == 1250
    assert cell(RESULT, r"\| theirs", "seconds") is None
    assert cell(RESULT, r"\| nothing", "ms") is None
    assert cell(RESULT, r"\| way", "ms") is None


def test_ratios_over_one_are_won_and_under_it_lost() -> None:
    theirs, ours = (r"\| theirs", "ms"), (r"\| ours", "ms")
    less = Ratio("search", "loops", theirs, ours, but="is <short>")
    more = Ratio("names a second", "loops", theirs, ours, more=True)
    told = Ratio("search", "loops", (r"\| theirs \| 2,000", "ratio"))
    later = Ratio("search", "loops", theirs, after="Asked otherwise")
    assert [r.of(RESULT) for r in (less, more, told, later)] == [2, 0.5, 4, 7]
    assert Ratio("search", "loops", theirs, after="Never asked").of(RESULT) is None
    found = {"some": [(less, 2.0), (more, 0.5), (told, 1.01)]}
    lines = table(found, {"some": "some-benchmark"}).splitlines()
    assert lines[2] == "| [search](#some-benchmark) | loops | 2.0 | won | is <short> |"
    assert lines[3] == "| [names a second](#some-benchmark) | loops | 0.5 | LOST |  |"
    assert lines[4].split("|")[3:5] == [" 1.0 ", " even "]
    drawn = ElementTree.fromstring(picture(found))
    bars = drawn.findall(".//{*}rect")[1:]
    one = float(bars[0].attrib["x"])  # where what was won begins, and what was lost ends
    assert float(bars[1].attrib["x"]) + float(bars[1].attrib["width"]) == pytest.approx(
        one, abs=0.1
    )
    assert bars[0].attrib["fill"] != bars[1].attrib["fill"]


def test_what_is_measured_is_kept_with_its_command_and_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "RESULTS", tmp_path / "results")
    command = measuring.command_of("/somewhere/speed.py", ["--name", "two words"])
    measuring.keep("speed", "Speed", command, "| a |\n\n")
    title, _, ran, _, machine, _, text = (
        (tmp_path / "results" / "speed.md").read_text(encoding="utf-8").splitlines()
    )
    assert (title, ran, text) == (
        "# Speed",
        "`python benchmarks/speed.py --name 'two words'`",
        "| a |",
    )
    assert "cores" in machine
    assert "torch" in machine


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert measuring.spread([3, 1, 1000]) == "3 (1 to 1,000)"
    assert measuring.spread([0.001, 0.002], 1, 1e3) == "1.5 (1.0 to 2.0)"


def test_a_benchmark_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["speed-of-light"])
    assert "there is no benchmark 'speed-of-light': use trie" in capsys.readouterr().err


@pytest.mark.parametrize("name", benchmarks.RUNS)
def test_every_command_is_known(name: str) -> None:
    script, *options = benchmarks.RUNS[name].command.split()
    import_module(f"benchmarks.{Path(script).stem}").make_parser().parse_args(options)


@pytest.mark.parametrize("name", sorted({*SCRIPTS} - SHARED))
def test_every_script_helps_and_finds_its_siblings(name: str) -> None:
    module = import_module(f"benchmarks.{name}")
    told = module.make_parser().format_help()
    assert f"python benchmarks/{name}.py" in told
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    found = False
    for node in tree.body:
        found = found or ast.unparse(node).startswith("sys.path.append(")
        siblings = isinstance(node, ast.ImportFrom) and str(node.module).startswith("benchmarks")
        assert found or not siblings, "as a script it would not find them"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*SCRIPTS} - SHARED))
def test_every_script_starts_from_anywhere(name: str, tmp_path: Path) -> None:
    root = benchmarks.HERE.parent
    for command, folder in (
        ([str(benchmarks.HERE / f"{name}.py")], tmp_path),
        (["-m", f"benchmarks.{name}"], root),
    ):
        done = subprocess.run(
            [sys.executable, *command, "--help"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout
