from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.capacity import PARTS, STEPS, Assumed, Model, Need, fitted, main, outgrown


def size(titles: int) -> dict[str, Any]:
    """Costs that are known: 100 MB and 10 kB a title for each part, 1 ms and 1 µs for each step."""
    return {
        "titles": titles,
        "base_mb": 400.0,
        "disk_bytes": 1_000 * titles,
        "kept_bytes": 200 * titles,
        "trie_bytes": 50 * titles,
        "mb": dict.fromkeys(PARTS, 100 + 0.01 * titles),
        "first_seconds": dict.fromkeys(("open", *PARTS), 0.001 * titles),
        "seconds": dict.fromkeys(("open", *PARTS), 0.0001 * titles),
        "answer_seconds": dict.fromkeys(STEPS, 0.001 + 1e-06 * titles),
    }


COSTS = {"machine": "a machine", "sizes": [size(1_000), size(10_000), size(50_000)]}


def test_a_line_is_found_and_never_falls_below_nothing() -> None:
    line = fitted([10, 20, 40], [7, 9, 13])
    assert line.fixed == pytest.approx(5)
    assert line.each == pytest.approx(0.2)
    assert line.off == pytest.approx(0, abs=1e-9)
    assert line.reaches(25) == pytest.approx(100)
    falling = fitted([10, 20], [4, 2])
    assert (falling.fixed, falling.each) == (3, 0)
    assert falling.reaches(5) == math.inf
    through = fitted([10, 20], [1, 4])  # a line through both begins below nothing
    assert through.fixed == 0
    assert 0.1 < through.each < 0.2
    assert through.off > 0.1
    assert fitted([1, 2], [0, 0])(9) == 0


def test_needs_are_counted_by_hand() -> None:
    model = Model.of(COSTS)
    assert model.process_mb(100_000) == pytest.approx(400 + 6 * 1_100)
    a = Assumed(requests=8.64, peak=10, busy=0.5, stay=10, visitor_mb=1, cores=16,
                memory_gb=64, prompt_tokens=100, prefill_speed=1_000, search_tokens=100,
                search_speed=1_000, written_tokens=100, write_speed=500)  # fmt: skip
    need = Need.of(model, a, 1e6, 100_000)
    assert need.rate == pytest.approx(1_000)
    assert need.processes in (404, 405)  # 1,000 a second, 0.202 s each, half busy
    assert need.gpus == 800  # 0.4 s each
    assert need.instead == pytest.approx(202, abs=1)
    assert need.process_gb == pytest.approx(7.0 + 10 / 404, abs=1e-3)
    assert need.limit == "memory"
    assert need.machines == math.ceil(need.processes / 9)  # 63.98 GB beside what they share
    assert need.stored_gb == pytest.approx(0.1)
    machines = need.machines * a.machine_price + 800 * a.gpu_price
    assert need.dollars == pytest.approx(730 * machines + 0.1 * a.storage_price)
    assert Need.of(model, a, 1, 1_000).limit == "cores"
    much = Need.of(model, a, 1, 10e6)
    assert (much.machines, much.dollars, much.limit) == (None, None, "no machine holds one")


def test_what_is_outgrown_first_stands_first() -> None:
    lines = outgrown(Model.of(COSTS), Assumed())
    assert lines[2] == "| 10 k | the first start over a catalogue takes a minute |"
    assert "| 100 k | later starts take a minute |" in lines
    assert [n for n in lines if "fills" in n] == [
        "| 50 k | a process for each of 16 cores fills it |",
        "| 1.05 M | one process fills 64 GB |",
    ]


def test_the_tables_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "costs.json"
    file.write_text(json.dumps(COSTS), encoding="utf-8")
    assert main(["--costs", str(file), "--users", "1e6", "--titles", "1.3e6", "--busy", "0.7"]) == 0
    out = capsys.readouterr().out
    assert "Measured at 1,000, 10,000, 50,000 titles (a machine" in out
    assert "1.3 M titles (26 x measured)" in out
    assert "| 1 M | 1.3 M | 93 |" in out
    assert "--busy 0.7`: share of the time" in out


def test_the_guide_shows_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
    copy = tmp_path / "scale.md"
    copy.write_text(guide.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["--guide", str(copy)]) == 0
    assert "| 100 M | 100 M |" in capsys.readouterr().out
    assert copy.read_text(encoding="utf-8") == guide.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--costs", "none.json"], "there are no costs in none.json"),
        (["--users", "0"], "must be 1 or more"),
        (["--busy", "1.5"], "--busy at most 1"),
    ],
)
def test_what_cannot_be_used_is_told(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_one_size_is_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({**COSTS, "sizes": [size(1_000)]}), encoding="utf-8")
    assert main(["--costs", str(file)]) == 1
    assert "costs of 1 sizes are no line" in capsys.readouterr().err


@pytest.mark.slow
def test_costs_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "costs.json"
    assert main(["--measure", "--sizes", "200", "400", "--costs", str(file)]) == 0
    sizes = json.loads(file.read_text(encoding="utf-8"))["sizes"]
    assert [s["titles"] for s in sizes] == [200, 400]
    for s in sizes:
        assert set(s["answer_seconds"]) == set(STEPS)
        assert set(PARTS) <= set(s["mb"])
        assert s["disk_bytes"] > s["trie_bytes"] > 0
        assert s["kept_bytes"] == 0  # of so few titles
        assert set(s["first_seconds"]) == {"open", *PARTS[:-1]}
        assert set(s["seconds"]) == {"open", *PARTS}
        assert all(v > 0 for v in s["answer_seconds"].values())
    assert "or cores, embedded model" in capsys.readouterr().out
