from __future__ import annotations

import json
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.datasets import FORMATS, Report, load, part_of
from llmrec.datasets.base import BROKEN, MAX_PROBLEMS, PARTS
from llmrec.errors import InputError
from llmrec.records import Problem


def test_a_user_stays_in_one_part() -> None:
    users = [f"user {n}" for n in range(2_000)]
    parts = {user: part_of(user) for user in users}
    assert parts == {user: part_of(user) for user in reversed(users)}
    share = {name: n / len(users) for name, n in Counter(parts.values()).items()}
    assert share == pytest.approx(PARTS, abs=0.03)
    moved = sum(part_of(user, seed=1) != part for user, part in parts.items())
    assert 0.2 < moved / len(users) < 0.5  # 1 - (0.64 + 0.01 + 0.01) were they independent


def test_the_part_is_where_the_digest_falls() -> None:
    at = int.from_bytes(blake2b(b"7\0ana", digest_size=8).digest(), "big") / 2**64
    below, above = {"in": at + 1e-6, "out": 1 - at - 1e-6}, {"in": at - 1e-6, "out": 1 - at + 1e-6}
    assert part_of("ana", seed=7, parts=below) == "in"
    assert part_of("ana", seed=7, parts=above) == "out"
    assert part_of("ana", parts={"none": 0.0, "all": 1.0}) == "all"


@given(st.text(), st.integers(), st.integers(1, 99))
def test_every_text_has_a_part(group: str, seed: int, percent: int) -> None:
    group = group.encode("utf-8", "replace").decode()
    assert part_of(group, seed=seed) in PARTS
    parts = {"a": percent / 100, "b": 1 - percent / 100}
    if part_of(group, seed=seed, parts={"a": 0.005, "b": 0.995}) == "a":
        assert part_of(group, seed=seed, parts=parts) == "a"  # a larger share loses nobody


@pytest.mark.parametrize("parts", [{"a": 0.5}, {"a": 1.5, "b": -0.5}, {}])
def test_shares_must_add_up(parts: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"do not add up to 1: give shares that do"):
        part_of("ana", parts=parts)


def test_a_report_counts_and_goes_to_json_and_back() -> None:
    report = Report(kept=3)
    report.drop("too short", 2)
    report.drop("too short")
    for line in range(1, MAX_PROBLEMS + 6):
        report.broken("a.csv", line, "it has no id")
    assert report.dropped == {"too short": 3, BROKEN: MAX_PROBLEMS + 5}
    assert len(report.problems) == MAX_PROBLEMS
    assert report.problems[0] == Problem("a.csv", 1, "it has no id")
    again = Report.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again == report
    again.drop("another")  # it can be counted on
    assert again.dropped["another"] == 1


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set format 'netflix': use amazon_titles, imdb"):
        load("netflix", tmp_path)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_options_and_files_are_checked(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{name} has no option 'wings': it has"):
        load(name, tmp_path, wings=2)
    with pytest.raises(InputError, match="absent"):
        read_all(name, tmp_path / "absent")


def read_all(name: str, path: Path) -> None:
    source = load(name, path)
    for split in source.example_splits:
        list(source.examples(split))
    for split in source.item_splits:
        list(source.items(split))
