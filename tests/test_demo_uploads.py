# ruff: noqa: E501  (tables and sentences)
"""Files that visitors bring: what is read of them, what is refused, what becomes a catalogue."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import loopback_hub
import pytest
from loopback_hub import LoopbackHub

from llmrec.demo import cells, untrusted, uploads
from llmrec.demo.columns import FIELDS, propose
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


def read_already(tmp_path: Path, *rows: dict[str, Any]) -> Read:
    """Rows as they are once a file was read."""
    path = tmp_path / "rows.jsonl"
    told = [{c: v for c, v in row.items() if v not in (None, "")} for row in rows]
    path.write_text("".join(json.dumps([n, row]) + "\n" for n, row in enumerate(told, 2)), "utf-8")
    return Read("a.csv", path, len(rows), tuple(rows[0]), (), (), 0, False)


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
    assert propose(read) == {"title": "Título", "year": "Ano"}


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
        ("a.csv.gz", gzip.compress(b"title\nHeat\n", mtime=0), "suffix"),
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
    import pyarrow as pa
    from pyarrow import parquet

    text = b"title,year\nHeat,1995\nUp,2009\nAlien,1979\n"
    files = {"train.csv": loopback_hub._File(text, False)}
    parts = {}
    for n, title in enumerate(("Heat", "Up")):
        made = io.BytesIO()
        parquet.write_table(pa.table({"title": [title], "poster": [b"\xff" * 9]}), made)
        parts[f"data/train-0000{n}.parquet"] = loopback_hub._File(made.getvalue(), True)
    with LoopbackHub() as hub:
        for name, private in (("me/films", False), ("me/secret", True), ("me/parts", False)):
            repo = loopback_hub._Repo(private, None)
            repo.commit("main", parts if name == "me/parts" else files, "films")
            hub.repos["dataset", name] = repo
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_TOKEN", hub.token)
        for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
            monkeypatch.delenv(name)
        read = read_hub("me/films", "", tmp_path, Limits(rows=2))
        assert rows(read) == [
            {"title": "Heat", "year": "1995"},
            {"title": "Up", "year": "2009"},
        ]
        assert read.more
        both = read_hub("me/parts", "train", tmp_path)
        assert list(both) == [(1, {"title": "Heat"}), (2, {"title": "Up"})]
        assert both.columns == ("title",)
        for name, split in (("me/secret", "train"), ("me/films", "nothing")):
            with pytest.raises(Refusal) as caught:
                read_hub(name, split, tmp_path)
            assert caught.value.key == "hub"
            assert name in uploads.sentence("en", "hub", caught.value.values)


def test_which_files_of_a_data_set_hold_a_split() -> None:
    def of(split: str, *files: str) -> list[str]:
        return untrusted._of_split(files, split)

    parts = ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet")
    assert of("train", "README.md", *parts, "data/test-00000-of-00001.parquet") == [*parts]
    assert of("test", *parts, "data/test-00000-of-00001.parquet") == [
        "data/test-00000-of-00001.parquet"
    ]
    made = ("b/train/0000.parquet", "default/train/0000.parquet", "default/test/0000.parquet")
    assert of("train", *made) == ["default/train/0000.parquet"]
    assert of("train", "films.csv", "test.csv", "dataset_infos.json", "requirements.txt") == [
        "films.csv"
    ]
    assert of("train", "default/partial-train/0000.parquet")
    assert of("test", "films.csv") == []
    assert of("train", "train.zip", "trained.csv.gz") == []


def test_parquet_of_a_data_set_comes_without_its_pictures(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    picture = {"bytes": b"\xff" * 100, "path": "a.jpg"}
    table = pa.table({"title": ["Heat"], "raw": [b"\xff"], "poster": [picture], "n": [1]})
    parquet.write_table(table, tmp_path / "t.parquet")
    writer = untrusted._Writer(tmp_path / "rows.jsonl", SMALL)
    with (tmp_path / "t.parquet").open("rb") as file, writer.file:
        found = list(untrusted._table_rows(file, ".parquet", SMALL, writer))
    assert found == [(1, {"title": "Heat", "n": 1})]


def test_of_a_long_file_of_a_data_set_the_beginning_is_read(tmp_path: Path) -> None:
    small = Limits(size=40)
    writer = untrusted._Writer(tmp_path / "rows.jsonl", small)
    lines = b"".join(b"film %d\n" % n for n in range(20))
    with writer.file:
        for line, row in untrusted._table_rows(
            io.BytesIO(b"title\n" + lines), ".csv", small, writer
        ):
            writer.add(line, row)
    said = writer.answer()
    assert (said["rows"], said["more"], said["dropped"]) == (5, True, 0)


# -- columns and catalogue ------------------------------------------------------------------------


# Headers of published data sets and of tables as people keep them, with rows in their form.
TABLES = {
    "MovieLens": (
        "movieId,title,genres",
        ["1,Toy Story (1995),Adventure|Animation"],
        {"title": "title", "id": "movieId", "genres": "genres"},
    ),
    "IMDb title.basics": (
        "tconst|titleType|primaryTitle|originalTitle|isAdult|startYear|endYear|runtimeMinutes|genres",
        ["tt0113277|movie|Heat|Heat|0|1995|\\N|170|Action,Crime"],
        {"title": "primaryTitle", "id": "tconst", "year": "startYear", "genres": "genres",
         "runtime": "runtimeMinutes", "original_title": "originalTitle"},
    ),
    "IMDb top 1000": (
        "Poster_Link|Series_Title|Released_Year|Certificate|Runtime|Genre|IMDB_Rating|Overview|Meta_score|Director|Star1|Star2|No_of_Votes|Gross",
        ["https://m.example.com/a.jpg|The Godfather|1972|A|175 min|Crime, Drama|9.2|A patriarch.|100|Francis Ford Coppola|Marlon Brando|Al Pacino|1620367|134,966,411"],
        {"title": "Series_Title", "year": "Released_Year", "runtime": "Runtime", "genres": "Genre",
         "rating": "IMDB_Rating", "description": "Overview", "directors": "Director", "cast": "Star1",
         "popularity": "No_of_Votes", "image": "Poster_Link"},
    ),
    "IMDb 5000": (
        "color|director_name|duration|actor_3_facebook_likes|actor_2_name|genres|actor_1_name|movie_title|num_voted_users|plot_keywords|movie_imdb_link|language|country|content_rating|budget|title_year|imdb_score",
        ["Color|James Cameron|178|855|Joel David Moore|Action|CCH Pounder|Avatar|886204|future|http://www.imdb.com/title/tt0499549/|English|USA|PG-13|237000000|2009|7.9"],
        {"title": "movie_title", "year": "title_year", "genres": "genres", "directors": "director_name",
         "cast": "actor_1_name", "runtime": "duration", "rating": "imdb_score", "popularity": "num_voted_users",
         "keywords": "plot_keywords", "countries": "country", "languages": "language"},
    ),
    "TMDB 5000": (
        "budget|genres|homepage|id|keywords|original_language|original_title|overview|popularity|production_countries|release_date|revenue|runtime|spoken_languages|tagline|title|vote_average|vote_count",
        ['2000|[{"id": 28, "name": "Action"}]|http://x.example|19995|[]|en|Avatar|A marine.|150.4|[{"name": "USA"}]|2009-12-10|2787|162|[{"name": "English"}]|Enter|Avatar|7.2|11800'],
        {"title": "title", "id": "id", "year": "release_date", "description": "overview", "genres": "genres",
         "runtime": "runtime", "rating": "vote_average", "popularity": "vote_count", "keywords": "keywords",
         "countries": "production_countries", "languages": "spoken_languages", "original_title": "original_title"},
    ),
    "Netflix titles": (
        "show_id|type|title|director|cast|country|date_added|release_year|rating|duration|listed_in|description",
        ["s1|Movie|Dick Johnson|Kirsten Johnson||USA|September 25, 2021|2020|PG-13|90 min|Documentaries|Her father.",
         "s2|TV Show|Blood & Water||Ama Qamata|South Africa|September 24, 2021|2021|TV-MA|2 Seasons|TV Dramas|A swimmer."],
        {"title": "title", "id": "show_id", "year": "release_year", "description": "description", "genres": "listed_in",
         "directors": "director", "cast": "cast", "runtime": "duration", "countries": "country"},
    ),
    "Letterboxd": (
        "Date|Name|Year|Letterboxd URI|Rating", ["2024-01-02|Heat|1995|https://boxd.example/x|4.5"],
        {"title": "Name", "year": "Year", "rating": "Rating"},
    ),
    "Wikipedia plots": (
        "Release Year|Title|Origin/Ethnicity|Director|Cast|Genre|Wiki Page|Plot",
        ["1901|Kansas Saloon Smashers|American|Unknown||unknown|https://en.example.org/x|A bartender."],
        {"title": "Title", "year": "Release Year", "description": "Plot", "genres": "Genre", "directors": "Director",
         "cast": "Cast", "countries": "Origin/Ethnicity"},
    ),
    "Goodbooks": (
        "book_id|best_book_id|isbn13|authors|original_publication_year|original_title|title|language_code|average_rating|ratings_count|ratings_5|image_url|small_image_url",
        ["1|2767052|9.78E+12|Suzanne Collins|2008|The Hunger Games|The Hunger Games (#1)|eng|4.34|4780653|2706317|https://images.example.com/2767052.jpg|https://images.example.com/s.jpg"],
        {"title": "title", "id": "book_id", "year": "original_publication_year", "cast": "authors", "rating": "average_rating",
         "popularity": "ratings_count", "languages": "language_code", "original_title": "original_title", "image": "image_url"},
    ),
    "Goodreads best books": (
        "bookId|title|series|author|rating|description|language|isbn|genres|bookFormat|pages|publishDate|numRatings|likedPercent|coverImg|bbeScore|price",
        ["2767052-x|The Hunger Games|HG 1|Suzanne Collins|4.33|Winning means fame.|English|9780439023481|['Young Adult', 'Fiction']|Hardcover|374|09/14/08|6376780|96|https://i.example.com/1.jpg|2993816|5.09"],
        {"title": "title", "id": "bookId", "cast": "author", "rating": "rating", "description": "description", "genres": "genres",
         "languages": "language", "popularity": "numRatings", "image": "coverImg", "price": "price"},
    ),
    "Amazon sales": (
        "product_id|product_name|category|discounted_price|actual_price|discount_percentage|rating|rating_count|about_product|user_name|review_content|img_link|product_link",
        ["B07J|Wayona Cable|Computers;Cables|399|1,099|64%|4.2|24,269|High compatibility|Manav|Looks durable|https://m.example.com/W/x.jpg|https://www.example.in/x"],
        {"title": "product_name", "id": "product_id", "genres": "category", "price": "discounted_price", "rating": "rating",
         "popularity": "rating_count", "description": "about_product", "image": "img_link"},
    ),
    "Amazon products": (
        "asin|title|imgUrl|productURL|stars|reviews|price|listPrice|category_id|isBestSeller",
        ["B014|Sion Softside|https://m.example.com/i.jpg|https://www.example.com/dp/B0|4.5|12|139.99|200|104|False"],
        {"title": "title", "id": "asin", "rating": "stars", "popularity": "reviews", "price": "price", "image": "imgUrl"},
    ),
    "Steam": (
        "AppID|Name|Release date|Peak CCU|Price|About the game|Supported languages|Reviews|Header image|User score|Positive|Developers|Genres|Tags|Movies",
        ["20200|Galactic Bowling|Oct 21, 2008|0|19.99|Bowling in space.|['English']|A great game, I played 10 hours of it|https://cdn.example.com/h.jpg|0|6|Perpetual|Casual;Indie|Indie|https://m.example.com/m.webm"],
        {"title": "Name", "id": "AppID", "year": "Release date", "price": "Price", "description": "About the game",
         "languages": "Supported languages", "rating": "User score", "popularity": "Positive", "genres": "Genres",
         "keywords": "Tags", "image": "Header image"},
    ),
    "Spotify": (
        "track_id|artists|album_name|track_name|popularity|duration_ms|explicit|tempo|track_genre",
        ["5Su|Gen Hoshino|Songs|Comedy|73|230666|False|87.9|acoustic"],
        {"title": "track_name", "id": "track_id", "cast": "artists", "popularity": "popularity", "runtime": "duration_ms",
         "genres": "track_genre"},
    ),
    "in English, by hand": (
        "Movie|made|kind|mins|stars", ["Heat|1995|Crime|170|4", "Up|2009|Family|96|5"],
        {"title": "Movie", "year": "made", "genres": "kind", "runtime": "mins", "rating": "stars"},
    ),
    "in English, with units": (
        "filmTitle|releaseYear|runtime (min)|price_usd|leadActor|starring", ["Heat|1995|170|9.90|x|Al Pacino"],
        {"title": "filmTitle", "year": "releaseYear", "runtime": "runtime (min)", "price": "price_usd", "cast": "starring"},
    ),
    "in Portuguese": (
        "Título do filme|Título original|Ano de lançamento|Gênero|Direção|Elenco|Duração (min)|Nota|Sinopse|País de origem|Preço (R$)|Capa",
        ["Cidade de Deus|City of God|2002|Drama|Fernando Meirelles|Alexandre Rodrigues|130|8,6|Buscapé cresce.|Brasil|29,90|https://x.example/c.jpg"],
        {"title": "Título do filme", "original_title": "Título original", "year": "Ano de lançamento", "genres": "Gênero",
         "directors": "Direção", "cast": "Elenco", "runtime": "Duração (min)", "rating": "Nota", "description": "Sinopse",
         "countries": "País de origem", "price": "Preço (R$)", "image": "Capa"},
    ),
    "in Spanish": (
        "Nombre de la película|Año|duración|País|Dirección|Guion|Reparto|Género|Sinopsis|Nota media|Votos|precio_eur",
        ["El secreto|2009|129 min.|Argentina|Juan José Campanella|Eduardo Sacheri|Ricardo Darín|Thriller|Un crimen.|8,1|90000|12"],
        {"title": "Nombre de la película", "year": "Año", "runtime": "duración", "countries": "País", "directors": "Dirección",
         "cast": "Reparto", "genres": "Género", "description": "Sinopsis", "rating": "Nota media", "popularity": "Votos",
         "price": "precio_eur"},
    ),
    "a shop in Portuguese": (
        "Código|Produto|Autor|Categoria|Preço|Avaliação", ["7|O Sal|Ana Lis|Fantasia|R$ 29,90|4,5"],
        {"id": "Código", "title": "Produto", "cast": "Autor", "genres": "Categoria", "price": "Preço", "rating": "Avaliação"},
    ),
    "names that say nothing": (
        "code|when|was|bild", ["A12|1995|Heat der Film|https://x.example/a.jpg", "B3|2009|Up hoch|https://x.example/b.png",
                               "C5|1979|Alien|https://x.example/c.webp"],
        {"title": "was", "year": "when", "image": "bild"},
    ),
    "names that mislead": (
        "title|year|rating|cast|image|genres|date", ["Heat|soon|PG-13|4.5|cat.jpg|12|later", "Up|later|TV-MA|3.5|dog.jpg|7|soon"],
        {"title": "title"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_guessed(tmp_path: Path, name: str) -> None:
    header, lines, guessed = TABLES[name]
    mark = "," if name == "MovieLens" else "|"
    columns = header.split(mark)
    read = read_already(
        tmp_path, *(dict(zip(columns, line.split(mark), strict=True)) for line in lines)
    )
    found = propose(read)
    assert found == {k: v for k, v in guessed.items() if k in FIELDS}
    assert len({*found.values()}) == len(found)  # never two fields from one column


def test_columns_of_json_are_guessed_by_their_values(tmp_path: Path) -> None:
    item = {"title": "Kettle", "details": {"Brand": "Ana"}, "description": ["Boils.", "Quickly."],
            "categories": [["Kitchen", "Kettles"]], "images": [{"thumb": "https://x.example/t.jpg"}],
            "rating": "4.5 out of 5 stars"}  # fmt: skip
    found = propose(read_already(tmp_path, item))
    assert found.pop("image", "images") == "images"
    assert found == {
        "title": "title", "description": "description", "genres": "categories", "rating": "rating",
    }  # fmt: skip


def test_nothing_is_guessed_of_rows_that_have_gone(tmp_path: Path) -> None:
    read = read_already(tmp_path, {"title": "Heat", "year": "1995"})
    read.path.unlink()
    assert propose(read) == {"title": "title", "year": "year"}


def test_ratings_are_out_of_ten_and_running_times_minutes(tmp_path: Path) -> None:
    def first(name: str, values: str, field: str) -> list[Any]:
        lines = [{"title": f"film {n}", name: v} for n, v in enumerate(values.split())]
        read = read_already(tmp_path, *lines)
        built = uploads.build(read, {"title": "title", field: name}, tmp_path)
        return [getattr(item, field) for item in built.catalog]

    assert first("stars", "4.5 3 5", "rating") == [9.0, 6.0, 10.0]
    assert first("score", "7.5 3 10", "rating") == [7.5, 3.0, 10.0]
    assert first("metascore", "75 30 100", "rating") == [7.5, 3.0, 10.0]
    assert first("runtime", "170 96", "runtime") == [170, 96]
    assert first("duration_ms", "230666 600000", "runtime") == [4, 10]
    assert first("length (hours)", "1.5 2", "runtime") == [90, 120]


@pytest.mark.parametrize(
    ("value", "address"),
    [("https://x.example/a.jpg", "https://x.example/a.jpg"), (" https://x.example/a.jpg ", "https://x.example/a.jpg"),
     ("https://x.example/a.jpg|https://x.example/b.jpg", "https://x.example/a.jpg"),
     ('["https://x.example/a.jpg"]', "https://x.example/a.jpg"), ("['https://x.example/a.jpg']", "https://x.example/a.jpg"),
     ([{"thumb": "https://x.example/t.jpg", "large": "https://x.example/a.jpg"}], "https://x.example/a.jpg"),
     ({"bytes": None, "path": "a.jpg"}, ""), ("http://x.example/a.jpg", ""), ("javascript:alert(1)", ""), ("/abc.jpg", ""),
     ("data:image/png;base64,AAAA", ""), ('https://x.example/"onerror=alert(1)', ""), ("https://me:secret@x.example/a.jpg", ""),
     ("https://x.example/" + "a" * 3_000, ""), (5, ""), ("[" * 20_000, ""), (None, "")],
)  # fmt: skip
def test_pictures_have_an_address_or_none(tmp_path: Path, value: Any, address: str) -> None:
    assert cells.image_in(value) == address
    read = read_already(tmp_path, {"title": "Heat", "poster": value})
    rows = uploads._Rows(read, {"title": "title", "image": "poster"})
    (item,) = rows.items()
    assert item.image == address
    dropped = value is not None and not address
    assert [p.key for p in rows.problems] == ["image"] * dropped
    assert rows.emptied == dropped
    for language in LANGUAGES:
        assert all(uploads.sentence(language, p.key, p.values) for p in rows.problems)


def test_years_that_stand_in_the_titles(tmp_path: Path) -> None:
    def built(*titles: str) -> list[tuple[str, int | None]]:
        read = read_already(tmp_path, *({"title": t} for t in titles))
        catalog = uploads.build(read, {"title": "title"}, tmp_path).catalog
        return [(i.title, i.year) for i in catalog]

    films = built("Matrix, The (1999)", "Heat (1995)", "Up")
    assert films == [("The Matrix", 1999), ("Heat", 1995), ("Up", None)]
    assert built("iPad (2021)", "Kettle", "Cable")[0] == ("iPad (2021)", None)


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
    mapping = propose(read) | {"popularity": "votes"}
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
     [{"name": "Crime"}, {"name": "Drama"}], "[" * 20_000 + "Crime;Drama",
     "[{'id': 1, 'name': 'Crime'}, {'id': 2, 'name': \"Drama\"}]"],
)  # fmt: skip
def test_lists_however_they_are_written(value: Any) -> None:
    assert cells.names_in(value) == ("Crime", "Drama")


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [("year", "1995-06-02", 1995), ("year", "(1995)", 1995), ("year", "19951", None), ("year", 2001.0, 2001),
     ("runtime", "107 min", 107), ("runtime", "1h", 60), ("runtime", "2 h 5", 125), ("price", "US$ 12.50", 12.5),
     ("rating", "7,5", 7.5), ("rating", "8/10", 8), ("popularity", "12,345", 12345), ("rating", True, None),
     ("rating", "4 out of 5 stars", 8), ("rating", "80%", 8), ("rating", "PG-13", None), ("rating", "16+", None), ("rating", "4/0", None),
     ("runtime", "2 Seasons", None), ("runtime", "24 min. per ep.", 24), ("runtime", "PT1H45M", 105), ("runtime", "01:45:00", 105),
     ("runtime", "1:45", None), ("runtime", "107m", 107), ("runtime", 107, 107)],
)  # fmt: skip
def test_numbers_however_they_are_written(name: str, value: Any, number: float | None) -> None:
    assert cells.number_in(name, value) == number


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
