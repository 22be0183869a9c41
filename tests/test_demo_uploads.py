# ruff: noqa: E501  (tables and sentences)
"""Files that visitors bring: what is read of them, what is refused, what becomes a catalogue."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import loopback_hub
import pytest
from loopback_hub import LoopbackHub

from llmrec.demo import untrusted, uploads
from llmrec.demo.untrusted import Limits, Read, Refusal, read_file, read_hub
from llmrec.types import LANGUAGES

HTML = '<script>alert(1)</script><img src=x onerror="alert(2)">'
SMALL = Limits(seconds=20)


def reading(tmp_path: Path, name: str, content: bytes | str, limits: Limits = SMALL) -> Read:
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    return read_file(tmp_path / name, folder, limits)


def refused(tmp_path: Path, name: str, content: bytes | str, limits: Limits = SMALL) -> str:
    """The key of the refusal, which can be said in the three languages in one sentence."""
    with pytest.raises(Refusal) as caught:
        reading(tmp_path, name, content, limits)
    for language in LANGUAGES:
        said = uploads.sentence(language, caught.value.key, caught.value.values)
        assert said.endswith(".")
        assert "{" not in said
    return caught.value.key


def rows(read: Read) -> list[dict[str, Any]]:
    return [values for _, values in read]


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_csv_in_any_delimiter_and_encoding(tmp_path: Path, mark: str, encoding: str) -> None:
    lines = [("Título", "Ano"), ('"Central, do Brasil; | "', "1998"), ("São Paulo", "1980")]
    text = "\r\n".join(mark.join(line) for line in lines)
    read = reading(tmp_path, "filmes.csv", text.encode(encoding))
    assert read.columns == ("Título", "Ano")
    assert rows(read)[0] == {"Título": "Central, do Brasil; |", "Ano": "1998"}
    assert rows(read)[1]["Título"] == "São Paulo"
    assert uploads.propose(read) == {"title": "Título", "year": "Ano"}


def test_json_in_its_three_forms(tmp_path: Path) -> None:
    items = [{"title": "Heat", "genres": [{"id": 1, "name": "Crime"}]}, {"title": "Up", "n": 1.5}]
    forms = {
        "a.jsonl": "\n".join(map(json.dumps, items)),
        "b.json": json.dumps(items, indent=2),
        "c.json": json.dumps({"total": 2, "films": items}, indent=2),
        "d.json": "\n\n".join(map(json.dumps, items)),
    }
    for name, text in forms.items():
        read = reading(tmp_path, name, text)
        assert rows(read) == items, name
        assert read.columns == ("title", "genres", "n")


def test_rows_that_cannot_be_read_are_told_with_their_line(tmp_path: Path) -> None:
    read = reading(tmp_path, "a.csv", 'title,year\nHeat,1995\nshort\n\nUp,2009\n"never closed,1')
    assert [values["title"] for values in rows(read)] == ["Heat", "Up"]
    assert read.problems == (
        (3, "csv_width", {"n": 1, "header": 2}),
        (6, "csv_width", {"n": 1, "header": 2}),
    )
    read = reading(tmp_path, "a.jsonl", '{"title": "Heat"}\n{"title": \n[1]\n{"title": "Up"}')
    assert [p[:2] for p in read.problems] == [(2, "json_line"), (3, "json_object")]
    assert (read.rows, read.dropped) == (2, 2)


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"title": ["Heat", "Up"], "cast": [["Pacino"], None], "b": [b"\xff", b"x"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    read = reading(tmp_path, "t.parquet", (tmp_path / "t.parquet").read_bytes())
    assert rows(read) == [{"title": "Heat", "cast": ["Pacino"]}, {"title": "Up"}]


def test_names_of_columns_are_made_different(tmp_path: Path) -> None:
    read = reading(tmp_path, "a.csv", "title,,title\na,b,c\n")
    assert read.columns == ("title", "column 2", "title (3)")


def test_only_the_first_rows_of_a_long_file_are_read(tmp_path: Path) -> None:
    text = "title\n" + "\n".join(f"film {i}" for i in range(50))
    read = reading(tmp_path, "a.csv", text, Limits(rows=20, seconds=20))
    assert (read.rows, read.more) == (20, True)


# -- what is refused ------------------------------------------------------------------------------


def packed() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("xl/workbook.xml", b"0" * 10_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("a.exe", b"MZ", "suffix"),
        ("a.csv.gz", gzip.compress(b"title\nHeat\n"), "suffix"),
        ("a.pkl", pickle.dumps({"title": 1}), "suffix"),
        ("a.csv", pickle.dumps([{"title": "x" * 50, "n": i} for i in range(50)]), "binary"),
        ("a.csv", gzip.compress(b"0" * 10_000_000), "packed"),
        ("a.csv", packed(), "packed"),
        ("films.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "excel"),
        ("a.csv", b"PAR1" + b"\0" * 100, "wrong_type"),
        ("a.parquet", b"title\nHeat\n", "wrong_type"),
        ("a.parquet", b"PAR1" + b"\xff" * 100 + b"PAR1", "damaged"),
        ("a.csv", b"", "empty"),
        ("a.csv", b"\0" * 5_000, "binary"),
        ("a.csv", bytes(range(256)) * 40, "binary"),
        ("a.csv", b"\x7fELF\x02\x01\x01" + bytes(range(32)) * 99, "binary"),
        ("a.csv", b"title\n", "no_rows"),
        ("a.json", '{"title": "Heat"', "json"),
        ("a.json", "[" * 100_000 + "]" * 100_000, "nested"),
        ("a.json", '[{"title": ' + "[" * 100_000 + "]" * 100_000 + "}]", "nested"),
        ("a.json", '{"a":' * 100_000 + "1" + "}" * 100_000, "nested"),
        ("a.csv", ",".join(f"c{i}" for i in range(10_000)) + "\n" + "x," * 9_999 + "x\n", "columns"),
        ("a.jsonl", "\n".join(json.dumps({f"c{i}": 1}) for i in range(500)), "columns"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes | str, key: str) -> None:  # fmt: skip
    assert refused(tmp_path, name, content) == key


def test_nested_lines_are_left_out_and_the_others_kept(tmp_path: Path) -> None:
    deep = '{"title": ' + "[" * 100_000 + "]" * 100_000 + "}"
    read = reading(tmp_path, "a.jsonl", f'{{"title": "Heat"}}\n{deep}\n{{"title": "Up"}}\n')
    assert (read.rows, read.problems) == (2, ((2, "nested", {}),))


def test_a_gigabyte_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(untrusted.subprocess, "run", lambda *a, **k: pytest.fail("it was opened"))
    with (tmp_path / "big.csv").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(Refusal) as caught:
        read_file(tmp_path / "big.csv", tmp_path)
    assert caught.value.key == "size"
    assert "1,024 MB" in uploads.sentence("en", "size", caught.value.values)


def test_one_endless_line(tmp_path: Path) -> None:
    size = 100 << 20
    assert refused(tmp_path, "a.csv", b"title\n" + b"x" * size) == "size"
    long = b"x" * (30 << 20)
    read = reading(tmp_path, "a.csv", b"title\nHeat\n" + long + b"\nUp\n")
    assert [values["title"] for values in rows(read)] == ["Heat", "Up"]
    assert read.problems == ((3, "csv_line", {}),)


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    read = reading(tmp_path, "a.csv", "title,text\nHeat," + "x" * 100_000 + "\n")
    assert len(rows(read)[0]["text"]) == SMALL.field


def test_a_parquet_file_that_grows_to_gigabytes(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    value, places = pa.array(["x" * 2_000_000]), pa.array([0] * 4_000, pa.int32())
    bomb = pa.table({"title": pa.DictionaryArray.from_arrays(places, value)})
    parquet.write_table(bomb, tmp_path / "t.parquet", compression="zstd", store_schema=False)
    data = (tmp_path / "t.parquet").read_bytes()
    assert len(data) < 1 << 20  # and eight gigabytes once it is opened
    assert refused(tmp_path, "bomb.parquet", data) == "heavy"


def test_json_that_grows_in_memory(tmp_path: Path) -> None:
    tight = Limits(memory=512 << 20, seconds=30)
    assert refused(tmp_path, "a.json", "[" + "{}," * 8_000_000 + "{}]", tight) == "heavy"


def test_rows_that_fill_too_much(tmp_path: Path) -> None:
    text = "title\n" + "\n".join("x" * 1_000 for _ in range(50))
    assert refused(tmp_path, "a.csv", text, Limits(written=20_000, seconds=20)) == "unpacked"


def test_reading_ends_after_its_time(tmp_path: Path) -> None:
    text = "title\n" + "x\n" * 2_000_000
    assert refused(tmp_path, "a.csv", text, Limits(rows=10**9, seconds=1)) in ("slow", "heavy")


def test_links_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("title\nsecret\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("link.csv", "folder.csv", "pipe.csv", "gone.csv", "../../etc/passwd.csv"):
        with pytest.raises(Refusal) as caught:
            read_file(tmp_path / name, tmp_path)
        assert caught.value.key == "gone"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\films.csv", "films.csv"),
        ("a\0b\n.csv", "ab.csv"),
        ("", "?"),
        ("x" * 300 + ".csv", "x" * 76 + ".csv"),
    ],
)
def test_names_are_shown_without_folders(name: str, shown: str) -> None:
    assert uploads.plain_name(name) == shown


def test_the_reader_has_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("OTHER_SECRET", "secret")
    assert "secret" not in untrusted._environment(str(tmp_path)).values()


# -- the Hub --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["films", "../etc/passwd", "/etc/passwd", "a/b/c", "me/..", "https://x/y", ""])  # fmt: skip
def test_names_that_no_data_set_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_hub(name, "train", tmp_path)
    assert caught.value.key == "hub_name"


def test_a_split_that_is_an_expression(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        read_hub("me/name", "train[:10%]", tmp_path)
    assert caught.value.key == "hub_split"


def test_a_data_set_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public one is read; a private one is not, though the page itself has a token for it."""
    pytest.importorskip("datasets", reason="datasets is not installed")
    with LoopbackHub() as hub:
        for name, private in (("me/films", False), ("me/secret", True)):
            repo = loopback_hub._Repo(private, None)
            text = b"title,year\nHeat,1995\nUp,2009\nAlien,1979\n"
            repo.commit("main", {"train.csv": loopback_hub._File(text, False)}, "films")
            hub.repos["dataset", name] = repo
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_TOKEN", hub.token)
        for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        read = read_hub("me/films", "", tmp_path, Limits(rows=2))
        assert rows(read) == [{"title": "Heat", "year": 1995}, {"title": "Up", "year": 2009}]
        assert read.more
        for name, split in (("me/secret", "train"), ("me/films", "nothing")):
            with pytest.raises(Refusal) as caught:
                read_hub(name, split, tmp_path)
            assert caught.value.key == "hub"
            assert name in uploads.sentence("en", "hub", caught.value.values)


# -- columns and catalogue ------------------------------------------------------------------------


def test_columns_are_guessed(tmp_path: Path) -> None:
    header = "movieId,name,overview,release_date,vote_average,vote_count,production_countries,idioma,elenco,preço,nothing"
    read = reading(tmp_path, "a.csv", header + "\n" + ",".join("x" * 11) + "\n")
    assert uploads.propose(read) == {
        "title": "name", "id": "movieId", "year": "release_date", "description": "overview",
        "cast": "elenco", "price": "preço", "rating": "vote_average", "popularity": "vote_count",
        "countries": "production_countries", "languages": "idioma",
    }  # fmt: skip


def test_a_catalogue_is_built_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    lines = [
        "id;title;year;genres;runtime;price;votes;description",
        '1;Heat;1995-12-15;"Action|Crime";2h 50min;R$ 1.299,90;1000;=cmd|calc',
        "2;Up;soon;Comedy, Family;96;9,90;10;Balloons.",
        "2;Twice;2000;;;;;",
        f"4;{HTML};1999;;;;;",
        f"5;Evil {HTML};1999;{HTML}Drama;;;;{HTML}A story.",
        "6;;1999;;;;;",
    ]
    read = reading(tmp_path, "a.csv", "\n".join(lines))
    told: list[int] = []
    mapping = uploads.propose(read) | {"popularity": "votes"}
    built = uploads.build(read, mapping, tmp_path, told.append)
    items = {item.id: item for item in built.catalog}
    assert (built.dropped, built.emptied, told) == (3, 1, [1])
    assert [(p.line, p.key) for p in built.problems] == [
        (3, "number"), (4, "id_twice"), (5, "no_title"), (7, "no_title"),
    ]  # fmt: skip
    heat = items["1"]
    assert (heat.year, heat.genres, heat.runtime, heat.price) == (
        1995,
        ("Action", "Crime"),
        170,
        1299.9,
    )
    assert (heat.popularity, heat.description) == (1.0, "=cmd|calc")
    assert (items["2"].year, items["2"].genres, items["2"].price) == (
        None,
        ("Comedy", "Family"),
        9.9,
    )
    assert 0 < items["2"].popularity < 1
    assert (items["5"].title, items["5"].genres, items["5"].description) == (
        "Evil",
        ("Drama",),
        "A story.",
    )
    assert [hit.item.id for hit in built.catalog.search("balloons")] == ["2"]
    for language in LANGUAGES:
        assert all(uploads.sentence(language, p.key, p.values) for p in built.problems)


@pytest.mark.parametrize(
    ("mapping", "key"),
    [({}, "title_needed"), ({"year": "title"}, "title_needed"), ({"title": "../x"}, "column_gone"),
     ({"title": "empty"}, "nothing"), ({"title": ""}, "title_needed")],
)  # fmt: skip
def test_a_mapping_that_gives_nothing(tmp_path: Path, mapping: dict[str, str], key: str) -> None:
    read = reading(tmp_path, "a.csv", "title,empty\nHeat,\nUp,\n")
    with pytest.raises(Refusal) as caught:
        uploads.build(read, mapping, tmp_path)
    assert caught.value.key == key
    assert not list(tmp_path.glob("catalogue-*"))


@pytest.mark.parametrize(
    "value",
    ["Crime;Drama", "Crime|Drama", "Crime, Drama", "['Crime', 'Drama']", '["Crime", "Drama"]',
     '[{"id": 1, "name": "Crime"}, {"id": 2, "name": "Drama"}]', ["Crime", "Drama", 3],
     [{"name": "Crime"}, {"name": "Drama"}], "[" * 20_000 + "Crime;Drama"],
)  # fmt: skip
def test_lists_however_they_are_written(value: Any) -> None:
    assert uploads._names(value) == ("Crime", "Drama")


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [("year", "1995-06-02", 1995), ("year", "(1995)", 1995), ("year", "19951", None), ("year", 2001.0, 2001),
     ("runtime", "107 min", 107), ("runtime", "1h", 60), ("runtime", "2 h 5", 125), ("price", "US$ 12.50", 12.5),
     ("rating", "7,5", 7.5), ("rating", "8/10", 8), ("popularity", "12,345", 12345), ("rating", True, None)],
)  # fmt: skip
def test_numbers_however_they_are_written(name: str, value: Any, number: float | None) -> None:
    assert uploads._number_in(name, value) == number


def test_folders_are_few_and_the_idle_ones_go_first() -> None:
    store, forgotten = uploads.Uploads(visitors=2, idle=0.05), []
    first = store.folder(lambda: (forgotten.append(1), store.remove(first))[0])
    second = store.folder(lambda: forgotten.append(2))
    with pytest.raises(Refusal, match="full"):
        store.folder(lambda: None)
    time.sleep(0.06)
    store.touch(second)
    third = store.folder(lambda: None)
    assert forgotten == [1]
    assert not first.exists()
    assert second.exists()
    for folder in (second, third):
        store.remove(folder)
        assert not folder.exists()


def test_folders_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    old, new = tmp_path / "llmrec-visitor-old", tmp_path / "llmrec-visitor-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    uploads.Uploads()
    assert (old.exists(), new.exists()) == (False, True)


def test_every_sentence_is_there_in_the_three_languages() -> None:
    english = uploads.REFUSALS["en"]
    for language in LANGUAGES:
        assert set(uploads.REFUSALS[language]) == set(english)
        for key, text in uploads.REFUSALS[language].items():
            assert re.findall(r"{(\w+)}", text) == re.findall(r"{(\w+)}", english[key]), key
