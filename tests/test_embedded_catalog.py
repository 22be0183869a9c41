from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmrec.catalog import Catalog
from train.embedded_catalog import COLUMNS, main

JAWS = {
    "id": "jaws-1975",
    "title": "Jaws",
    "year": "1975",
    "original": "Jaws",
    "pt": "Tubarão;O Tubarão",
    "es": "Tiburón",
    "genres": "Thriller;Adventure",
    "runtime": "124",
    "directors": "Steven Spielberg",
    "cast": "Roy Scheider;Robert Shaw",
    "countries": "USA",
    "languages": "English",
    "fame": "5",
    "tags": "sharks;sea",
    "en_line": "A police chief hunts a shark.",
    "pt_line": "Um chefe de polícia caça um tubarão.",
    "es_line": "Un jefe de policía persigue a un tiburón.",
}
OTHER = {**JAWS, "id": "other", "title": "Other", "fame": "2", "cast": "", "tags": ""}


def write(folder: Path, *rows: dict[str, str]) -> list[str]:
    lines = ["\t".join(COLUMNS), *("\t".join(row.values()) for row in rows), ""]
    (folder / "films.tsv").write_text("\n".join(lines), encoding="utf-8")
    return ["--source", str(folder / "films.tsv"), "--out", str(folder / "films.lance")]


def test_a_row_becomes_an_item(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(write(tmp_path, JAWS, OTHER)) == 0
    catalog = Catalog.open(tmp_path / "films.lance")
    assert capsys.readouterr().out.startswith(f"2 films, fingerprint {catalog.fingerprint}, in ")
    jaws, other = catalog
    assert jaws.id == "jaws-1975"
    assert jaws.label == "Jaws (1975)"
    assert jaws.titles == {"pt": ("Tubarão", "O Tubarão"), "es": ("Tiburón",)}
    assert jaws.genres == ("Thriller", "Adventure")
    assert jaws.people == ("Steven Spielberg", "Roy Scheider", "Robert Shaw")
    assert (jaws.countries, jaws.languages) == (("USA",), ("English",))
    assert (jaws.runtime, jaws.keywords) == (124, ("sharks", "sea"))
    assert jaws.description == jaws.descriptions["en"] == JAWS["en_line"]
    assert jaws.description_in("pt") == JAWS["pt_line"]
    assert jaws.description_in("es") == JAWS["es_line"]
    assert (jaws.popularity, other.popularity) == (1.0, 0.25)
    assert (other.cast, other.keywords) == ((), ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "Jaws 1"}, "id is 'Jaws 1': lower-case letters"),
        ({"id": "jaws-1975"}, "the id 'jaws-1975' stands in line 2 already"),
        ({"title": "JAWS!"}, "JAWS! (1975) stands in line 2 already"),
        ({"title": ""}, "title is empty"),
        ({"title": "?"}, "it has no title, only '?'"),
        ({"title": " Other"}, "title is ' Other': no blanks at its ends"),
        ({"year": "75"}, "year is '75': a whole number from 1888 to 2100 is wanted"),
        ({"year": "c1975"}, "year is 'c1975'"),
        ({"runtime": "0"}, "runtime is '0': a whole number from 1 to 900 is wanted"),
        ({"fame": "6"}, "fame is '6': a whole number from 1 to 5 is wanted"),
        ({"genres": "Thriler"}, "the genre 'Thriler' is not one of Action"),
        ({"genres": ""}, "genres is empty"),
        ({"cast": "A;;B"}, "cast is 'A;;B': an entry is empty"),
        ({"cast": "A; B"}, "cast is 'A; B': an entry is empty or has blanks at its ends"),
        ({"tags": "sea;Sea"}, "tags is 'sea;Sea': an entry is there twice"),
        ({"pt_line": ""}, "pt_line is empty"),
        ({"es_line": "a\tb"}, "it has 18 columns, not 17"),
    ],
)
def test_a_fault_is_told_with_file_and_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], reason: str
) -> None:
    assert main(write(tmp_path, JAWS)) == 0
    arguments = write(tmp_path, JAWS, {**OTHER, **change})
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'films.tsv'}:3: {reason}" in error
    assert error.endswith("1 faults: nothing was written\n")
    assert len(Catalog.open(tmp_path / "films.lance")) == 1
    assert sorted(os.listdir(tmp_path)) == ["films.lance", "films.tsv"]


def test_files_that_are_no_such_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "films.tsv"
    arguments = ["--source", str(source), "--out", str(tmp_path / "films.lance")]
    assert main(arguments) == 1
    assert "No such file" in capsys.readouterr().err
    source.write_text("id\ttitle\n")
    assert main(arguments) == 1
    assert "films.tsv:1: the header must be id title year" in capsys.readouterr().err
    source.write_text("\t".join(COLUMNS) + "\n\n")
    assert main(arguments) == 1
    assert "films.tsv:1: it has no film" in capsys.readouterr().err
    source.write_bytes("\t".join(COLUMNS).encode() + b"\r\n\xff\t\r\n")
    assert main(arguments) == 1
    assert "films.tsv:2: it is not UTF-8 text" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["films.tsv"]


def test_the_target_must_be_a_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "films.lance").mkdir()
    assert main(write(tmp_path, JAWS)) == 1
    assert "is there and is no catalogue" in capsys.readouterr().err
