from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.datasets import delimited, load, part_of
from llmrec.datasets.base import BROKEN
from llmrec.datasets.film_names import Title, parse_title
from llmrec.datasets.movielens import MovieLens
from llmrec.errors import InputError
from llmrec.types import Conversation, Example, Item

MOVIES = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation|Children|Comedy|Fantasy
2,"Matrix, The (1999)",Action|Sci-Fi|IMAX
3,City of God (Cidade de Deus) (2002),Crime|Drama
4,Seven (a.k.a. Se7en) (1995),Mystery
5,Untitled Project,(no genres listed)
"""
RATINGS = """userId,movieId,rating,timestamp
1,1,4.0,100
1,2,5.0,50
1,3,1.0,300
1,4,4.5,200
2,1,2.0,10
2,2,3.5,11
3,2,4.0,20
3,99,5.0,30
4,1,3.0,5
4,3,5.0,6
"""
TAGS = """userId,movieId,tag,timestamp
1,2,Cyberpunk,1
2,2, cyberpunk ,2
1,2,cyberpunk,3
3,2,kung  fu,4
4,2,Kung fu,5
5,2,KUNG FU,6
1,2,only mine,7
1,99,lost,8
x,2,broken,9
"""
LINKS = "movieId,imdbId,tmdbId\n1,0114709,862\n01,7,7\n2,0133093,603\n3,,\n4,bad,1\n5,12345678,\n"


def write(folder: Path, **files: str | bytes) -> Path:
    content = {"movies": MOVIES, "ratings": RATINGS, "tags": TAGS, "links": LINKS} | files
    for name, text in content.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / f"{name}.csv").write_bytes(data)
    return folder


def all_examples(source: MovieLens) -> dict[str, Example]:
    examples = {}
    for split in source.example_splits:
        for e in source.examples(split):
            assert part_of(e.user) == split
            assert e.user not in examples
            examples[e.user] = e
    return examples


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Matrix, The (1999)", Title("The Matrix", 1999)),
        ("Monsters, Inc. (2001) ", Title("Monsters, Inc.", 2001)),
        ("Auberge espagnole, L' (2002)", Title("L'Auberge espagnole", 2002)),
        ("Babylon 5", Title("Babylon 5")),
        ("Big Bang Theory, The (2007-)", Title("The Big Bang Theory", 2007)),
        ("Death Note (2006–2007)", Title("Death Note", 2006)),
        ("(500) Days of Summer (2009)", Title("(500) Days of Summer", 2009)),
        ("City of God (Cidade de Deus) (2002)", Title("City of God", 2002, "Cidade de Deus")),
        (
            "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
            Title("The City of Lost Children", 1995, "La Cité des enfants perdus"),
        ),
        (
            "Bicycle Thieves (a.k.a. Bicycle Thief, The) (aka Cyclists) (Ladri di biciclette)",
            Title(
                "Bicycle Thieves", None, "Ladri di biciclette", ("The Bicycle Thief", "Cyclists")
            ),
        ),
        ("A (One) (Two (b)) (1990)", Title("A", 1990, "Two (b)", ("One",))),
        (
            "Birdman: Or (The Unexpected Virtue of Ignorance) (2014)",
            Title("Birdman: Or (The Unexpected Virtue of Ignorance)", 2014),
        ),
        ("(x)", Title("(x)")),
        (")(", Title(")(")),
        ("", Title("")),
    ],
)
def test_titles_are_taken_apart(text: str, title: Title) -> None:
    assert parse_title(text) == title


@given(st.text(alphabet="ab (),.19-", max_size=40))
def test_any_title_can_be_taken_apart(text: str) -> None:
    made = parse_title(text)
    assert len(made.title) <= len(text)
    plain = f"{made.title} (1999)" if made.title.isalpha() else "Jaws (1999)"
    assert parse_title(plain) == Title(plain[:-7], 1999)


def test_films(tmp_path: Path) -> None:
    source = MovieLens(write(tmp_path))
    items = {i.id: i for i in source.items()}
    assert items["2"] == Item(
        id="2",
        title="The Matrix",
        year=1999,
        genres=("Action", "Sci-Fi"),
        keywords=("kung fu", "cyberpunk"),  # three users, two users; one user's tag is left out
        rating=round(2 * (5.0 + 3.5 + 4.0) / 3, 3),
        popularity=1.0,
    )
    assert items["1"].genres == ("Adventure", "Animation", "Family", "Comedy", "Fantasy")
    assert (items["1"].rating, items["1"].popularity) == (6.0, 1.0)  # 4, 2 and 3 of 5
    assert items["3"].original_title == "Cidade de Deus"
    assert items["3"].popularity == pytest.approx(math.log(3) / math.log(4))
    assert items["4"].titles == {"en": ("Seven", "Se7en")}
    assert items["4"].title_in("en") == "Seven"
    assert items["5"] == Item(id="5", title="Untitled Project")
    assert source.report.kept == 5
    assert source.report.dropped == {
        "rating of a film that is not in movies.csv": 1,
        "tag of a film that is not in movies.csv": 1,
        BROKEN: 1,
    }
    assert [(p.file, p.line) for p in source.report.problems] == [("tags.csv", 10)]


def test_each_user_is_one_example_and_the_last_liked_film_is_left_out(tmp_path: Path) -> None:
    source = load("movielens", write(tmp_path))
    assert all_examples(source) == {  # type: ignore[arg-type]
        "1": Example(
            Conversation(),
            relevant=("4",),  # film 3 came later and was not liked
            id="1",
            dialogue="1",
            user="1",
            likes=("2", "1", "4"),
            history=("2", "1"),
        ),
        "4": Example(
            Conversation(),
            relevant=("3",),
            id="4",
            dialogue="4",
            user="4",
            likes=("3",),
            history=("1",),
        ),
    }


def test_why_a_user_gives_no_example(tmp_path: Path) -> None:
    source = MovieLens(write(tmp_path))
    reasons: Counter[str] = Counter()
    for split in source.example_splits:
        list(source.examples(split))
        reasons += source.report.dropped
    assert reasons["user without a liked film"] == 1
    assert reasons["user with nothing before the last liked film"] == 1
    assert "2" in all_examples(MovieLens(tmp_path, min_rating=3.5))


def test_a_user_who_comes_back_is_reported_and_not_used_twice(tmp_path: Path) -> None:
    source = MovieLens(write(tmp_path, ratings=RATINGS + "1,5,5.0,400\n1,3,5.0,500\n"))
    assert all_examples(source)["1"].relevant == ("4",)
    assert source.report.dropped["rating of a user who comes back"] == 2
    assert [(p.file, p.line) for p in source.report.problems] == [("ratings.csv", 12)]
    assert source.report.problems[0].reason.startswith("user 1 comes back: sort the file")


def test_parts_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = MovieLens(write(tmp_path))
    films, users = list(source.items()), all_examples(source)
    monkeypatch.setattr(delimited, "_BLOCK", 15)
    assert (list(source.items()), all_examples(source)) == (films, users)


def test_broken_rows_are_named_and_left_out(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        movies=MOVIES.encode() + b"x,No id (1990),Drama\n2,Again (1990),Drama\n6,\xff,Drama\n7,,\n",
        ratings=RATINGS + "5,1,9.0,1\n5,1,nan,1\n5,1\n5,one,4,1\n5,1.5,4,1\n5,1,4,1e300\n",
    )
    source = MovieLens(folder)
    assert [i.id for i in source.items()] == ["1", "2", "3", "4", "5"]
    reasons = {(p.file, p.line): p.reason for p in source.report.problems}
    assert reasons["movies.csv", 7] == "its movieId is no number"
    assert reasons["movies.csv", 8] == "the id 2 was used before"
    assert reasons["movies.csv", 9] == "it has bytes that are not UTF-8 text"
    assert reasons["movies.csv", 10] == "it has no title"
    assert reasons["ratings.csv", 12] == (
        "it is b'5', b'1', b'9.0', b'1': three whole numbers and a rating of 0 to 5 are wanted"
    )
    assert reasons["ratings.csv", 14] == "it has 2 columns, the header has 4"
    assert [line for file, line in reasons if file == "ratings.csv"] == [14, 12, 13, 15, 16, 17]
    assert all_examples(source).keys() == {"1", "4"}


def test_the_release_with_dat_files(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes(
        "1::Star Wars: Episode IV::Children's|Sci-Fi\n2::Misérables, Les (1995)::Drama\n"
        "3::broken\n".encode("latin-1")
    )
    (tmp_path / "ratings.dat").write_text("1::2::3::978302109\n1::1::5::978302110\n1::1::5\n")
    source = MovieLens(tmp_path)
    first, second = source.items()
    assert (first.title, first.genres) == ("Star Wars: Episode IV", ("Family", "Sci-Fi"))
    assert (second.title, second.year, second.rating) == ("Les Misérables", 1995, 6.0)
    assert {(p.file, p.line) for p in source.report.problems} == {
        ("movies.dat", 3),
        ("ratings.dat", 3),
    }
    assert all_examples(source)["1"].history == ("2",)
    assert source.imdb_ids() == {}


def test_a_data_set_without_films(tmp_path: Path) -> None:
    source = MovieLens(write(tmp_path, movies="movieId,title,genres\n"))
    assert (list(source.items()), all_examples(source)) == ([], {})
    assert source.report.dropped == {"rating of a film that is not in movies.csv": 10}


def test_which_film_is_which_at_imdb(tmp_path: Path) -> None:
    assert MovieLens(write(tmp_path)).imdb_ids() == {
        "1": "tt0114709",
        "2": "tt0133093",
        "5": "tt12345678",
    }


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has not both movies\.csv and ratings\.csv"):
        MovieLens(tmp_path)
    source = MovieLens(write(tmp_path, movies="id,name\n1,Jaws\n"))
    with pytest.raises(InputError, match="lacks the column movieId, title or genres"):
        list(source.items())
    with pytest.raises(InputError, match="has no part 'test' of items: use 'train'"):
        source.items("test")
    with pytest.raises(InputError, match="of examples: use train, validation, test"):
        source.examples("dev")
    source = MovieLens(write(tmp_path, ratings="user,film\n1,1\n"))
    with pytest.raises(InputError, match=r"ratings\.csv has no column 'userId'"):
        list(source.examples())


FIELDS = st.sampled_from(
    [b"1", b"2", b"-3", b"4.5", b"nan", b"1e400", b"\xff", b'"', b"a (b)", b""]
)
LINES = st.lists(
    st.one_of(st.binary(max_size=20), st.lists(FIELDS, max_size=5).map(b",".join)), max_size=10
)


@settings(deadline=None, max_examples=60)
@given(movies=LINES, ratings=LINES, tags=LINES, links=LINES)
def test_mangled_lines_never_raise(
    movies: list[bytes],
    ratings: list[bytes],
    tags: list[bytes],
    links: list[bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("movielens")
    write(
        folder,
        movies=b"\n".join([MOVIES.encode(), *movies]),
        ratings=b"\n".join([RATINGS.encode(), *ratings]),
        tags=b"\n".join([TAGS.encode(), *tags]),
        links=b"\n".join([LINKS.encode(), *links]),
    )
    source = MovieLens(folder)
    ids = [i.id for i in source.items()]
    assert ids[:4] == ["1", "2", "3", "4"]
    assert len(set(ids)) == len(ids) == source.report.kept
    assert "1" in all_examples(source)
    assert source.imdb_ids()["1"] == "tt0114709"
