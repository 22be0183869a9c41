from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.datasets.files import json_lines, opened, raw_rows, suffix_of, whole_lines
from llmrec.errors import InputError
from llmrec.records import NOT_UTF8

ROWS = b'{"title": "Jaws"}\n{"title": "Heat"}\n'


@pytest.mark.parametrize("name", ["films.jsonl", "films.jsonl.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_packed_is_told_by_its_bytes(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(ROWS) if packed else ROWS)
    wanted = [(1, {"title": "Jaws"}), (2, {"title": "Heat"})]
    assert list(raw_rows(path)) == list(json_lines(path)) == wanted
    assert b"".join(whole_lines(path, 5)) == ROWS


def test_a_mangled_line_does_not_make_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "films.jsonl"
    path.write_bytes(gzip.compress(ROWS)[:2] + b"\n" + ROWS)
    assert [line for line, row in json_lines(path) if not isinstance(row, str)] == [2, 3]
    path.write_bytes(b"")
    assert list(json_lines(path)) == list(raw_rows(path)) == []


def test_a_file_that_ends_too_early_or_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    with pytest.raises(InputError, match=r"films\.csv cannot be read to its end .*: get it again"):
        list(whole_lines(path, 5))
    path.write_bytes(gzip.compress(b"title\n" + b"Jaws\n" * 100)[:-10])
    for read in (raw_rows, lambda p: whole_lines(p, 5)):
        with pytest.raises(InputError, match="cannot be read to its end"):
            list(read(path))
    with pytest.raises(InputError, match="bad bytes"), opened(path):
        raise zlib.error("bad bytes")


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\xef\xbb\xbf"])), st.integers(3, 9))
def test_lines_are_cut_where_they_end(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], size: int
) -> None:
    path = tmp_path_factory.mktemp("files") / "lines.txt"
    path.write_bytes(b"".join(parts))
    found = list(whole_lines(path, size))
    whole = b"".join(parts).removeprefix(b"\xef\xbb\xbf")
    assert b"".join(found) == whole + b"\n" * (bool(whole) and not whole.endswith(b"\n"))
    assert all(block.endswith(b"\n") for block in found)


def test_bytes_that_are_no_text_cost_their_row_only(tmp_path: Path) -> None:
    path = tmp_path / "films.csv"
    path.write_bytes(b"\n\xef,title\n1,Jaws\n2,\xff\n3,Heat\n")
    found = list(raw_rows(path))
    assert [line for line, _ in found] == [3, 4, 5]
    assert [row if isinstance(row, str) else row["title"] for _, row in found] == [
        "Jaws",
        NOT_UTF8,
        "Heat",
    ]
    (tmp_path / "films.jsonl").write_bytes(b'{"a": ["\\ud800"]}\n{"a": "\\\\ud800"}\n')
    assert list(raw_rows(tmp_path / "films.jsonl")) == [(1, NOT_UTF8), (2, {"a": "\\ud800"})]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.csv", ".csv"),
        ("a.tsv.gz", ".tsv"),
        ("a.parquet", ".parquet"),
        ("a.parquet.gz", ""),
        ("a", ""),
    ],
)
def test_suffixes(name: str, suffix: str) -> None:
    assert suffix_of(Path(name)) == suffix
