from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec.datasets import delimited, imdb, load
from llmrec.datasets.base import BROKEN, Report
from llmrec.datasets.delimited import blocks
from llmrec.datasets.imdb import Imdb
from llmrec.errors import InputError
from llmrec.types import Item

N = r"\N"
HEADERS = {
    "title.basics": "tconst titleType primaryTitle originalTitle isAdult startYear endYear "
    "runtimeMinutes genres",
    "title.ratings": "tconst averageRating numVotes",
    "title.crew": "tconst directors writers",
    "title.principals": "tconst ordering nconst category job characters",
    "name.basics": "nconst primaryName birthYear deathYear primaryProfession knownForTitles",
    "title.akas": "titleId ordering title region language types attributes isOriginalTitle",
}
BASICS: list[tuple[str, ...]] = [
    ("tt1", "movie", "City of God", "Cidade de Deus", "0", "2002", N, "130", "Crime,Drama"),
    ("tt2", "movie", '"Quoted" Film', '"Quoted" Film', "0", "1950", N, N, N),
    ("tt3", "tvEpisode", "Pilot", "Pilot", "0", "2004", N, "42", "Drama"),
    ("tt4", "movie", "Not for Children", "Not for Children", "1", "1999", N, "80", "Drama"),
    ("tt5", "movie", "Avatar", "Avatar", "0", "2009", N, "162", "Action,Sci-Fi"),
    ("tt6", "movie", N, N, "0", "1990", N, "90", "Drama"),
    ("tt7", "short", "Brief", "Brief", "0", N, N, "7", "Short"),
]
RATINGS = [("tt1", "8.6", "999"), ("tt5", "7.9", "99"), ("tt3", "9.9", "5")]
CREW = [("tt1", "nm2,nm1", "nm9"), ("tt2", N, N), ("tt5", "nm404", N)]
PRINCIPALS = [
    ("tt1", "3", "nm5", "actress", N, N),
    ("tt1", "1", "nm3", "actor", N, '["Zé"]'),
    ("tt1", "2", "nm1", "director", N, N),
    ("tt1", "4", "nm4", "self", N, N),
    ("tt3", "1", "nm3", "actor", N, N),
    ("tt5", "1", "nm404", "actor", N, N),
]
NAMES = [
    ("nm1", "Fernando Meirelles", "1955", N, "director", "tt1"),
    ("nm2", "Kátia Lund", "1966", N, "director", "tt1"),
    ("nm3", "Alexandre Rodrigues", N, N, "actor", "tt1"),
    ("nm4", "Matheus Nachtergaele", N, N, "actor", "tt1"),
    ("nm5", "Alice Braga", N, N, "actress", "tt1"),
    ("nm6", "Nobody Asked", N, N, "actor", N),
    ("nm404", N, N, N, N, N),
]
AKAS = [
    ("tt1", "1", "Cidade de Deus", N, N, "original", N, "1"),
    ("tt1", "2", "Ciudad de Dios", "AR", N, "imdbDisplay", N, "0"),
    ("tt1", "3", "Ciudad de Dios (working)", "ES", N, "working", N, "0"),
    ("tt1", "4", "Ciudad de dios", "ES", N, "imdbDisplay", N, "0"),
    ("tt1", "5", "Ciutat de Déu", "ES", "ca", "imdbDisplay", N, "0"),
    ("tt1", "6", "Cidade de Deus", "PT", N, "imdbDisplay", N, "0"),
    ("tt1", "7", "Cidade de Deus", "BR", N, "imdbDisplay", N, "0"),
    ("tt1", "8", "La cité de Dieu", "FR", N, "imdbDisplay", N, "0"),
    ("tt2", "1", '"Quoted" film', "BR", N, "imdbDisplay", N, "0"),
    ("tt5", "1", "Avatar", "BR", N, "imdbDisplay", N, "0"),
    ("tt5", "2", "Avatar: O Filme", "PT", N, "imdbDisplay", N, "0"),
    ("tt5", "3", "Avatar en español", "US", "es", N, N, "0"),
    ("tt5", "4", "Avatar", "MX", N, "imdbDisplay", N, "0"),
    ("tt5", "5", "Avatar (España)", "ES", "es", "imdbDisplay", N, "0"),
]
TABLES: dict[str, list[tuple[str, ...]]] = {
    "title.basics": BASICS,
    "title.ratings": list(RATINGS),
    "title.crew": list(CREW),
    "title.principals": list(PRINCIPALS),
    "name.basics": list(NAMES),
    "title.akas": list(AKAS),
}


def text(name: str, rows: Iterable[Iterable[str]]) -> bytes:
    lines = ["\t".join(HEADERS[name].split()), *("\t".join(row) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def write(folder: Path, tables: dict[str, list[tuple[str, ...]]] = TABLES, **raw: bytes) -> Path:
    for name, rows in tables.items():
        (folder / f"{name}.tsv.gz").write_bytes(gzip.compress(text(name, rows)))
    for name, data in raw.items():
        (folder / f"{name.replace('_', '.')}.tsv").write_bytes(data)
    return folder


def by_id(source: Imdb) -> dict[str, Item]:
    items = list(source.items())
    assert len({i.id for i in items}) == len(items) == source.report.kept
    return {i.id: i for i in items}


def test_a_film_with_all_that_the_files_know(tmp_path: Path) -> None:
    assert by_id(Imdb(write(tmp_path)))["tt1"] == Item(
        id="tt1",
        title="City of God",
        original_title="Cidade de Deus",
        year=2002,
        runtime=130,
        genres=("Crime", "Drama"),
        directors=("Kátia Lund", "Fernando Meirelles"),
        cast=("Alexandre Rodrigues", "Alice Braga", "Matheus Nachtergaele"),
        rating=8.6,
        popularity=1.0,
        titles={"pt": ("Cidade de Deus",), "es": ("Ciudad de dios", "Ciudad de Dios (working)")},
    )


def test_what_is_kept_and_why_the_rest_is_not(tmp_path: Path) -> None:
    source = Imdb(write(tmp_path))
    items = by_id(source)
    assert list(items) == ["tt1", "tt2", "tt5"]
    assert source.report.dropped == {"not a film": 2, "adult": 1, "no title": 1}
    quoted = items["tt2"]
    assert (quoted.title, quoted.runtime, quoted.genres) == ('"Quoted" Film', None, ())
    assert (quoted.rating, quoted.popularity, quoted.directors) == (None, 0.0, ())
    assert items["tt5"].popularity == pytest.approx(2 / 3)  # log 100 / log 1000
    assert items["tt5"].directors == items["tt5"].cast == ()  # nm404 has no name


def test_further_titles_come_best_first_and_do_not_repeat_the_main_one(tmp_path: Path) -> None:
    items = by_id(Imdb(write(tmp_path)))
    assert items["tt2"].titles == {}
    # Brazil says Avatar as well: that stays first, or the other would be shown there.
    assert items["tt5"].titles == {
        "pt": ("Avatar", "Avatar: O Filme"),
        "es": ("Avatar (España)", "Avatar en español"),
    }
    assert items["tt5"].title_in("pt") == "Avatar"


@pytest.mark.parametrize(
    ("options", "kept", "reason"),
    [
        ({"year_min": 2002}, ["tt1", "tt5"], "outside the years"),
        ({"year_max": 2002}, ["tt1", "tt2"], "outside the years"),
        ({"min_votes": 100}, ["tt1"], "fewer votes than asked"),
        ({"adult": True}, ["tt1", "tt2", "tt4", "tt5"], None),
        ({"kinds": ("short", "tvEpisode")}, ["tt3", "tt7"], None),
        ({"kinds": ("short",), "year_min": 1900}, [], "outside the years"),
    ],
)
def test_limits(
    tmp_path: Path, options: dict[str, object], kept: list[str], reason: str | None
) -> None:
    source = load("imdb", write(tmp_path), **options)
    assert [i.id for i in source.items()] == kept
    assert reason is None or source.report.dropped[reason] > 0


def test_how_many_of_the_cast(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert by_id(Imdb(folder, people=1))["tt1"].cast == ("Alexandre Rodrigues",)
    none = by_id(Imdb(folder, people=0))["tt1"]
    assert (none.cast, len(none.directors)) == ((), 2)


def test_title_basics_alone_is_enough(tmp_path: Path) -> None:
    source = Imdb(write(tmp_path, {}, title_basics=text("title.basics", BASICS)))
    assert by_id(source)["tt5"] == Item(
        id="tt5", title="Avatar", year=2009, runtime=162, genres=("Action", "Sci-Fi")
    )


def test_people_need_their_names(tmp_path: Path) -> None:
    tables = {name: rows for name, rows in TABLES.items() if name != "name.basics"}
    assert by_id(Imdb(write(tmp_path, tables)))["tt1"].people == ()


def test_blocks_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Imdb(write(tmp_path), people=2)
    whole = list(source.items())
    monkeypatch.setattr(delimited, "_BLOCK", 40)
    monkeypatch.setattr(imdb, "_CHUNK", 1)
    assert list(source.items()) == whole


def test_broken_rows_are_named_and_left_out(tmp_path: Path) -> None:
    basics = text("title.basics", BASICS).splitlines(keepends=True)
    basics[2:2] = [
        b"tt9\tmovie\tToo few\n",
        b"\n",
        b"tt9\tmovie\tBad \xff byte\tx\t0\t1999\t\\N\t90\tDrama\n",
        b"tt9\tmovie\tShifted\tx\t1999\t0\t\\N\t90\tDrama\n",
        b"tt9\tmovie\tYear\tx\t0\tsoon\t\\N\t90\tDrama\n",
        b"tt20\tmovie\tRuntime\tx\t0\t1999\t\\N\tReality-TV\t\\N\n",
        b"tt21\tmovie\tOriginal\t\xff\t0\t1999\t\\N\t90\tDrama\n",
        b"tt22\tmovie\tFar\tx\t0\t9999\t\\N\t90\tDrama\n",
        b"\\N\tmovie\tNo id\tx\t0\t1999\t\\N\t90\tDrama\n",
        b"tt1\tmovie\tAgain\tx\t0\t1999\t\\N\t90\tDrama\n",
        b"tt24\tmovie\tToo \xff few\n",
        b"tt25\tmovie\tA stray \r\tx\t0\t1999\t\\N\t90\tDrama\n",
        b"tt8\tmovie\tEnds as in Windows\tx\t0\t1999\t\\N\t90\tDrama\r\n",
    ]
    source = Imdb(write(tmp_path, {}, title_basics=b"".join(basics)))
    items = by_id(source)
    assert list(items) == ["tt1", "tt8", "tt2", "tt5"]
    assert (items["tt8"].genres, items["tt8"].original_title) == (("Drama",), "x")
    report = source.report
    assert report.dropped[BROKEN] == len(report.problems) == 11
    assert {p.file for p in report.problems} == {"title.basics.tsv"}
    reasons = {p.line: p.reason for p in report.problems}
    assert reasons == {
        3: "it has 3 columns, the header has 9",
        5: "it has bytes that are not UTF-8 text",
        6: "isAdult is b'1999': 0 or 1 is wanted",
        7: "startYear is b'soon': a number is wanted",
        8: "runtime is 'Reality-TV': a number is wanted",
        9: "it has bytes that are not UTF-8 text",
        10: "year is 9999: a whole number from 1000 to 2100 is wanted",
        11: "its id is empty",
        12: "the id b'tt1' was used before",
        13: "it has 3 columns, the header has 9",
        14: "it has a stray \\r",
    }


def test_broken_rows_of_the_other_files_cost_only_what_they_say(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        {"title.basics": BASICS, "title.crew": list(CREW)},
        title_ratings=b"tconst\taverageRating\tnumVotes\ntt1\t11\t9\ntt5\tgood\t5\ntt2\t5.0\t9\n",
        title_principals=text("title.principals", [("tt1", "x", "nm3", "actor", N, N)]),
        name_basics=text("name.basics", NAMES[:1]) + b"nm2\t\xff\t\\N\t\\N\t\\N\t\\N\n",
        title_akas=text("title.akas", AKAS[:1]) + b"tt1\t2\t\xff\tBR\t\\N\t\\N\t\\N\t0\n",
    )
    source = Imdb(folder)
    items = by_id(source)
    assert items["tt1"].directors == ("Fernando Meirelles",)
    assert (items["tt1"].rating, items["tt2"].rating, items["tt5"].rating) == (None, 5.0, None)
    assert (items["tt1"].cast, items["tt1"].titles) == ((), {})
    assert [(p.file, p.line) for p in source.report.problems] == [
        ("title.ratings.tsv", 2),
        ("title.ratings.tsv", 3),
        ("title.principals.tsv", 2),
        ("name.basics.tsv", 3),
        ("title.akas.tsv", 3),
    ]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no title\.basics\.tsv\.gz and no title\.basics"):
        Imdb(tmp_path)
    write(tmp_path, {"title.basics": BASICS})
    with pytest.raises(InputError, match=r"has no title\.ratings\.tsv\.gz"):
        Imdb(tmp_path, min_votes=1)
    with pytest.raises(InputError, match="no year is from 2000 to 1990"):
        Imdb(tmp_path, year_min=2000, year_max=1990)
    with pytest.raises(InputError, match="give a kind, and 0 or more"):
        Imdb(tmp_path, people=-1)
    with pytest.raises(InputError, match="imdb has no part 'test'"):
        Imdb(tmp_path).items("test")
    with pytest.raises(InputError, match="imdb has no examples"):
        Imdb(tmp_path).examples()
    with pytest.raises(InputError, match="imdb has no option 'year'"):
        load("imdb", tmp_path, year=1999)

    def reading(data: bytes, name: str = "title.basics.tsv") -> list[Item]:
        (tmp_path / name).write_bytes(data)
        return list(Imdb(tmp_path).items())

    with pytest.raises(InputError, match=r"has no column 'tconst': it has id, title"):
        reading(b"id\ttitle\n1\tJaws\n")
    with pytest.raises(InputError, match="holds no rows"):
        reading(b"")
    (tmp_path / "title.basics.tsv").unlink()
    whole = gzip.compress(text("title.basics", BASICS))
    with pytest.raises(InputError, match=r"cannot be read to its end .*: get it again"):
        reading(whole[:-20], "title.basics.tsv.gz")


def test_a_file_without_a_header_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_bytes(b"1::10::5\n1::11\n2::12::3\n")
    report = Report()
    read = list(blocks(path, ["a", "c"], report, delimiter=":", header=["a", "", "b", "", "c"]))
    assert [(t.to_pydict(), lines.tolist()) for t, lines in read] == [
        ({"a": [b"1", b"2"], "c": [b"5", b"3"]}, [1, 3])
    ]
    assert [p.line for p in report.problems] == [2]


MANGLED = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.lists(
            st.sampled_from(
                [
                    b"tt1",
                    b"nm1",
                    b"movie",
                    b"actor",
                    b"BR",
                    b"0",
                    b"1",
                    b"\\N",
                    b"1999",
                    b"-5",
                    b"\xff",
                    b"pt",
                    b"",
                    b"9" * 40,
                    b"A film",
                ]
            ),
            min_size=1,
            max_size=10,
        ).map(b"\t".join),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=st.fixed_dictionaries(dict.fromkeys(HEADERS, MANGLED)))
def test_mangled_lines_never_raise(
    files: dict[str, list[bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("imdb")
    for name, lines in files.items():
        data = text(name, TABLES[name][:1]) + b"\n".join(lines)
        (folder / f"{name}.tsv").write_bytes(data)
    source = Imdb(folder)
    items = list(source.items())
    assert [i.id for i in items][:1] == ["tt1"]
    assert len({i.id for i in items}) == len(items) == source.report.kept
