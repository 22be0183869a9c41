from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.matching import (
    Measured,
    Named,
    Names,
    cdist,
    double_loop,
    extract_one,
    made_up_titles,
    main,
    measure,
    ours,
    outcome,
    read_titles,
)
from llmrec.titles import fold
from llmrec.types import Item

ITEMS = [
    Item("1", "The Matrix", 1999),
    Item("2", "Toy Story", 1995),
    Item("3", "Toy Story 2", 1999),
    Item("4", "Dune", 1984),
    Item("5", "Dune", 2021),
]


def test_the_benchmark_prints_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rows", "200", "--names", "120", "--sample", "20"]) == 0
    out = capsys.readouterr().out
    assert "200 titles, 120 names" in out
    for way in ("TitleIndex | 120", "double loop | 1", "extractOne | 20", "cdist | 20"):
        assert f"| {way} |" in out
    assert "| no such sequel |" in out


def test_titles_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"title": "Heat", "year": 1995}), "{", json.dumps({"title": "Her"})]
    packed = tmp_path / "films.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert [(i.title, i.year) for i in read_titles(packed)] == [("Heat", 1995), ("Her", None)]
    assert "films.jsonl.gz:2: it is not JSON" in capsys.readouterr().err
    plain = tmp_path / "films.txt"
    plain.write_text("Heat\n\n?!\nHer\n", encoding="utf-8")
    assert [i.title for i in read_titles(plain)] == ["Heat", "Her"]
    assert "films.txt:3: it has no title" in capsys.readouterr().err


def test_names_are_the_same_for_a_seed_and_mean_what_they_say() -> None:
    items = list(made_up_titles(300, seed=1))
    first, second = Names(items, seed=3), Names(items, seed=3)
    named = [first.draw() for _ in range(400)]
    assert named == [second.draw() for _ in range(400)]
    known = {fold(i.title) for i in items}
    for n in named:
        absent = n.kind in ("recombined", "no such sequel")
        assert absent == (not n.rows)
        assert not (absent and fold(n.name) in known)
        if n.kind == "as it is":
            assert {items[row].title for row in n.rows} >= {n.name}


@pytest.mark.parametrize(
    ("rows", "row", "said"),
    [
        ({1, 2}, 2, "right"),
        ({1, 2}, 3, "wrong"),
        ({1}, None, "wrongly none"),
        (set(), 0, "wrong"),
        (set(), None, "rightly none"),
    ],
)
def test_outcomes(rows: set[int], row: int | None, said: str) -> None:
    assert outcome(Named("x", "as it is", frozenset(rows)), row) == said


def test_a_line_counts_by_hand() -> None:
    named = [Named("x", "as it is", frozenset({0}))] * 3 + [Named("y", "recombined", frozenset())]
    line = Measured([0, 1, None, None], 1.0, 2.0, 3.0).line("way", named * 2)
    assert line == (
        "| way | 4 | 1.00 | 2.00 | 2 | 5.0 | 3 | 25.00 % | 25.00 % | 25.00 % | 25.00 % | 50.00 % |"
    )


def test_the_usual_ways_agree_with_each_other() -> None:
    items = list(made_up_titles(150, seed=5))
    source = Names(items, seed=5)
    names = [source.draw().name.lower() for _ in range(300)]
    titles = [i.title.lower() for i in items]
    expected = double_loop(titles, names)
    assert extract_one(titles, names) == expected
    assert cdist(titles, names) == expected


def test_ours_keeps_sequels_and_years_apart() -> None:
    names = ["Toy Story 3", "Toy Stori 2", "Dune (1984)", "Dune (2021)", "the matrix"]
    assert measure(ours, ITEMS, names, 1).rows == [None, 2, 3, 4, 0]
    assert double_loop([i.title.lower() for i in ITEMS], ["toy story 3"]) == [2]
