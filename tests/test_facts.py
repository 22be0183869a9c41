from __future__ import annotations

import csv
import gzip
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.catalog import Catalog
from llmrec.datasets import Report
from llmrec.datasets.facts import FACTS, OUTCOMES, Facts, WithFacts, page_name
from llmrec.datasets.folder import Folder
from llmrec.errors import InputError
from llmrec.types import Item
from tests.test_prepare import Columns, Fake, contents, die_at, in_python, quietly, run

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
REDIAL, WIKIPEDIA = SHARED / "redial", SHARED / "wikipedia-movies" / "movies.jsonl.gz"

ROWS: list[dict[str, Any]] = [
    {"title": "Titanic", "year": 1997, "href": "Titanic_(1997_film)", "cast": ["Kate Winslet"]},
    {"title": "Titanic 3D", "year": 2012, "href": "Titanic_(1997_film)", "cast": ["Kate Winslet"]},
    {"title": "Goonies, The", "year": 1985, "href": "The_Goonies"},
    {"title": "Nine to Five", "year": 1980, "href": "9_to_5_(film)"},
    {"title": "Why Him?", "year": 2016, "href": "Why_Him%3F"},
    {"title": "Heat", "year": 1995, "genres": ["Crime", "Drama"]},
    {"title": "Saw", "year": 2004},
    {"title": "Emma", "year": 1996, "href": "Emma_(1996_theatrical_film)"},
    {"title": "City of God", "year": 2002, "original_title": "Cidade de Deus"},
    {"title": "Spirited Away", "year": 2001, "titles": {"pt": ["A Viagem de Chihiro"]}},
    {"title": "Carmen", "year": 1915, "href": "Carmen_(1915_DeMille_film)", "cast": ["Farrar"]},
    {"title": "Carmen", "year": 1915, "href": "Carmen_(1915_Walsh_film)", "cast": ["Bara"]},
    {"title": "Dune", "year": 1984, "cast": ["Kyle MacLachlan", "Sting"]},
    {"title": "Dune", "year": 1984, "cast": ["Sting", "Francesca Annis"]},
    {"title": "Prey", "year": 2022},
    {"title": "Dracula", "year": 1931},
    {"title": "Dracula", "year": 1992},
    {"title": "Hurricane Heist", "year": 2018},
    {"title": "The Descent", "year": 2005},
]


def lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return lines(tmp_path / "films.jsonl", ROWS)


# Which film it is.


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("<http://dbpedia.org/resource/Titanic_(1997_film)>", "Titanic (1997 film)"),
        ("https://en.wikipedia.org/wiki/Why_Him%3F", "Why Him?"),
        ("iMurders", "IMurders"),
        ("Laughing_Gas_(film)#1907_Film", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_names_of_pages(said: object, name: str) -> None:
    assert page_name(said) == name


@pytest.mark.parametrize(
    ("title", "year", "page", "found", "how"),
    [
        # The page is right whatever the year, and of two on one page the nearer title.
        ("Titanic", 1997, "Titanic (1997 film)", "Titanic (1997)", "same page"),
        ("9 to 5", 1980, "9 to 5 (film)", "Nine to Five (1980)", "same page"),
        ("The Goonies", None, "The Goonies", "Goonies, The (1985)", "same page"),
        # Title and year, however the title is written.
        ("The Goonies", 1985, "", "Goonies, The (1985)", "title and year"),
        ("Why Him%3F", 2016, "", "Why Him? (2016)", "title and year"),
        ("TITANIC", 1997, "Titanic", "Titanic (1997)", "title and year"),
        ("Dune", 1984, "", "Dune (1984)", "title and year"),  # listed twice, one of its cast
        ("Carmen", 1915, "", None, "several fit"),
        ("Carmen", 1915, "Carmen (1915 Walsh film)", "Carmen (1915)", "same page"),
        ("Emma", 1996, "Emma (1996 TV film)", None, "not found"),
        # A year off, unless the page tells the film apart by its year.
        ("Heat", 1996, "", "Heat (1995)", "title, a year off"),
        ("Saw", 2003, "Saw (film)", "Saw (2004)", "title, a year off"),
        ("Saw", 2003, "Saw (2003 film)", None, "not found"),
        ("Heat", 1997, "", None, "not found"),
        # Other names: the table's, the item's, and that of the page.
        ("Cidade de Deus", 2002, "", "City of God (2002)", "other title and year"),
        ("A Viagem de Chihiro", 2002, "", "Spirited Away (2001)", "other title and year"),
        ("Chihiro (Spirited Away)", 2001, "", "Spirited Away (2001)", "other title and year"),
        ("50", 1995, "Heat (unknown)", "Heat (1995)", "other title and year"),
        ("The Hurricane Heist", 2018, "", "Hurricane Heist (2018)", "other title and year"),
        ("Descent", 2005, "", "The Descent (2005)", "other title and year"),
        ("Descent", 2005, "Descent (2005 film)", None, "not found"),
        # Without a year: that of the page, or a title that nothing else has.
        ("Dracula", None, "Dracula (1992 film)", "Dracula (1992)", "title and year"),
        ("Dracula", None, "", None, "not found"),
        ("Spirited Away", None, "", "Spirited Away (2001)", "title alone"),
        ("A Viagem de Chihiro", None, "", None, "not found"),
        ("Prey", None, "", None, "not found"),  # it came after everything in the data set
    ],
)
def test_which_film_it_is(
    title: str, year: int | None, page: str, found: str | None, how: str, table: Path
) -> None:
    [match] = Facts([table]).find(Item("1", title, year), page, latest=2018)
    assert (match.item.label if match.item else None, match.outcome) == (found, how)
    assert match.outcome in OUTCOMES
    if year is None and how == "title alone":
        assert Facts([table]).find(Item("1", title), page)[0].outcome == "not found"


def test_the_page_s_row_of_two_is_the_right_one(table: Path) -> None:
    [match] = Facts([table]).find(Item("1", "Carmen", 1915), "Carmen (1915 Walsh film)")
    assert match.item is not None
    assert match.item.cast == ("Bara",)


def test_a_year_found_by_page_helps_in_the_other_tables(tmp_path: Path, table: Path) -> None:
    other = lines(tmp_path / "b.jsonl", [{"title": "The Goonies", "year": 1986, "runtime": 114}])
    matches = Facts([other, table]).find(Item("1", "The Goonies"), "The Goonies")
    assert [m.outcome for m in matches] == ["title, a year off", "same page"]


TITLES = st.sampled_from(["Heat", "The Heat", "Saw", "It", "Carmen"])
YEARS = st.none() | st.integers(1990, 1996)
FILMS = st.lists(st.tuples(TITLES, YEARS), max_size=8)


def test_never_a_title_without_its_year(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("facts") / "films.jsonl"

    @given(FILMS, FILMS)
    @settings(max_examples=150, deadline=None)
    def holds(known: list[tuple[str, int | None]], asked: list[tuple[str, int | None]]) -> None:
        rows = [{"title": t, "year": y, "cast": [f"Actor {n}"]} for n, (t, y) in enumerate(known)]
        facts = Facts([lines(file, [*rows, {"title": "Another", "year": 1900}])])
        titles = [title for title, _ in asked]
        for title, year in asked:
            alone = titles.count(title) == 1
            [match] = facts.find(Item("1", title, year), latest=1996 if alone else None)
            if match.item and year is not None:
                assert match.item.year is not None
                assert abs(match.item.year - year) <= 1
            elif match.item:
                assert alone
                assert [t for t, _ in known].count(title) == 1
            exact = {n for n, pair in enumerate(known) if pair == (title, year)}
            if year is not None and exact:
                assert match.outcome == ("title and year" if len(exact) == 1 else "several fit")

    holds()


# What is taken.


def test_the_first_wins_field_by_field() -> None:
    own = Item("1", "Alien", 1979, genres=("Horror",), descriptions={"pt": "Um monstro."})
    first = Item("x", "Alien", 1980, genres=("Western",), cast=("Sigourney Weaver", "(voice)"),
                 titles={"pt": ("Alien",)}, description="A monster.", popularity=0.9,
                 descriptions={"en": "A monster.", "pt": "Outro."})  # fmt: skip
    second = Item("y", "Alien", 1979, cast=("Tom Skerritt",), titles={"es": ("Alien",)},
                  runtime=117, description="A film of 1979.", price=3.0)  # fmt: skip
    filled = Facts.fill(own, "", [first, second])
    assert filled == Item(
        "1", "Alien", 1979, genres=("Horror",), cast=("Sigourney Weaver",), runtime=117,
        titles={"pt": ("Alien",), "es": ("Alien",)}, description="A film of 1979.",
        descriptions={"en": "A monster.", "pt": "Um monstro."})  # fmt: skip
    assert dict(filled.descriptions) == {"en": "A monster.", "pt": "Um monstro."}
    assert Facts.fill(own, "", [first]).description == "A monster."
    assert Facts.fill(own, "", []) == own


def test_a_year_out_of_the_name_of_a_page() -> None:
    assert Facts.fill(Item("1", "Thelma"), "Thelma (2017 film)", []).year == 2017
    assert Facts.fill(Item("1", "Thelma"), "Thelma (film)", []).year is None
    assert Facts.fill(Item("1", "Thelma", 2016), "Thelma (2017 film)", []).year == 2016


def test_genres_have_one_name_and_people_are_people() -> None:
    fact = Item(
        "1", "A", genres=("Science Fiction", "Animated", "Sci-Fi", "Slasher"),
        cast=("voices of", "Bob Newhart (voice)", "(", "will.i.am", "and", "50 Cent"),
    )  # fmt: skip
    filled = Facts.fill(Item("1", "A"), "", [fact])
    assert filled.genres == ("Sci-Fi", "Animation", "Slasher")
    assert filled.cast == ("Bob Newhart", "will.i.am", "50 Cent")


VALUES = st.builds(
    Item,
    id=st.just("1"),
    title=st.just("Heat"),
    year=st.none() | st.integers(1990, 1991),
    original_title=st.sampled_from(["", "Calor"]),
    titles=st.dictionaries(st.sampled_from(["pt", "es"]), st.just(("Fogo",))),
    genres=st.sampled_from([(), ("Crime",), ("Drama",)]),
    cast=st.sampled_from([(), ("Al Pacino",), ("voices",)]),
    runtime=st.none() | st.integers(90, 91),
    description=st.sampled_from(["", "One.", "Two."]),
    descriptions=st.dictionaries(st.sampled_from(["en", "pt"]), st.sampled_from(["One.", "Um."])),
    popularity=st.sampled_from([0.0, 0.5]),
)


@given(VALUES, st.lists(VALUES, max_size=3))
@settings(deadline=None)
def test_what_the_data_set_says_stays(own: Item, facts: list[Item]) -> None:
    filled = Facts.fill(own, "", facts)
    for name, value in own.to_dict().items():
        now = getattr(filled, name)
        if isinstance(value, dict):
            assert {k: now[k] for k in value} == getattr(own, name)
        else:
            assert now == getattr(own, name)
    assert filled.popularity == own.popularity
    assert bool(filled.description) == any(i.description for i in (own, *facts))


# Where facts come from.

MAPPED = {"title": "movie", "year": "released", "page": "link"}


def test_every_kind_of_table(tmp_path: Path, films: list[Item]) -> None:
    row = {"movie": "Heat", "released": 1995, "link": "Heat_(1995_film)", "genres": "Crime;Drama"}
    made = [tmp_path / f"heat{end}" for end in (".jsonl", ".jsonl.gz", ".csv", ".tsv", ".parquet")]
    lines(made[0], [row])
    made[1].write_bytes(gzip.compress(made[0].read_bytes()))
    for file, mark in ((made[2], ","), (made[3], "\t")):
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out, delimiter=mark).writerows([list(row), list(row.values())])
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist([row]), made[4])
    facts = Facts(made, mapping=MAPPED)
    wanted = Item("9", "The Heat", 1995)
    for match in facts.find(wanted, "Heat (1995 film)"):
        assert match.item is not None
        assert (match.outcome, match.item.genres) == ("same page", ("Crime", "Drama"))
    assert [o["name"] for o in facts.origins] == [file.name for file in made]
    assert facts.origins[0]["mapping"] == MAPPED
    folder = quietly(WithFacts(Films(), facts), tmp_path / "made").folder
    card = (folder.path / "README.md").read_text()
    assert f"--facts-mapping '{json.dumps(MAPPED)}'" in card
    (tmp_path / "LICENSE").write_text("Another")
    changed = WithFacts(Films(), Facts(made, mapping=MAPPED))
    with pytest.raises(InputError, match="the mapping of the facts, or the licence"):
        quietly(changed, tmp_path / "made")
    assert len({o["fingerprint"] for o in facts.origins}) == len(made)


def test_names_that_need_no_mapping(tmp_path: Path) -> None:
    row = {"name": "Heat", "year": "1995", "extract": "A film.", "href": "Heat_(1995_film)"}
    file = lines(tmp_path / "heat.jsonl", [{"name": "Other"}, row])
    [match] = Facts([file]).find(Item("1", "X"), "Heat (1995 film)")
    assert match.item == Item("2", "Heat", 1995, description="A film.")


def test_stored_items_are_facts(tmp_path: Path, films: list[Item]) -> None:
    path = tmp_path / "films.lance"
    Catalog.from_items(films, path)

    class Films(Fake):
        example_splits: tuple[str, ...] = ()

        def items(self, split: str = "train") -> Iterator[Item]:
            return iter(films)

    quietly(Films(), tmp_path / "prepared")
    facts = Facts([path, tmp_path / "prepared", "embedded"])
    film = next(film for film in films if film.year and film.genres)
    matches = facts.find(Item("1", film.title, film.year))
    assert [m.item and m.item.genres for m in matches[:2]] == [film.genres] * 2
    assert [o["license"] for o in facts.origins] == ["not stated", "cc-by-4.0", "apache-2.0"]
    assert facts.origins[1]["source"] == Films.title
    known = facts.find(Item("1", "Spirited Away", 2001))[2].item
    assert known is not None
    assert "Hayao Miyazaki" in known.directors


@pytest.mark.parametrize(
    ("rows", "mapping", "said"),
    [
        (None, {}, "there are no facts in .*nothing.jsonl: give a .jsonl, .csv"),
        ([{"film": "Heat"}], {}, "has no column 'title', it has 'film': say with --facts-mapping"),
        ([{"title": "Heat"}], {"genres": "kind"}, "says 'genres' is 'kind': no file has that"),
        ([{"title": "Heat"}], {"colour": "c"}, "mapping has 'colour', which is no field of Item"),
    ],
)
def test_tables_that_do_not_fit(
    rows: list[dict[str, Any]] | None, mapping: dict[str, str], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "nothing.jsonl"
    if rows is not None:
        lines(file, rows)
    with pytest.raises(InputError, match=said):
        Facts([file], mapping=mapping)


# In a prepared folder.


class Films(Fake):
    """Some items that the table above knows, and some that it does not."""

    example_splits: tuple[str, ...] = ()
    said = (
        Item("1", "Titanic", popularity=0.5),
        Item("2", "Heat", 1996, genres=("Thriller",)),
        Item("3", "Spirited Away"),
        Item("4", "Unheard Of", 2005),
        Item("5", "Thelma"),
        Item("6", "Dracula"),
        Item("7", "Dracula", 1992),
    )

    def pages(self) -> dict[str, str]:
        root = "<http://dbpedia.org/resource"
        return {"1": f"{root}/Titanic_(1997_film)>", "5": f"{root}/Thelma_(2017_film)>"}

    def items(self, split: str = "train") -> Iterator[Item]:
        self.report = Report()
        for item in self.said:
            if self.read == self.fails_at:
                raise ConnectionAbortedError("the plug was pulled")
            self.read += 1
            self.report.kept += 1
            yield item


def joined(folder: Path, table: Path, source: Fake | None = None, **options: Any) -> Folder:
    options = {"shard_rows": 2} | options
    return quietly(WithFacts(source or Films(), Facts([table])), folder, **options).folder


def test_a_folder_with_facts(tmp_path: Path, table: Path) -> None:
    (tmp_path / "LICENSE").write_text("\n  Nobody's <b>Licence</b>, 2020\nmore\n")
    with table.open("a", encoding="utf-8") as out:
        out.write('{"title": "Half\n{"title": "Late", "year": 3000}\n')
    summary = quietly(WithFacts(Films(), Facts([table, "embedded"])), tmp_path / "made")
    folder = summary.folder
    items = {item.id: item for item in folder.items()}
    assert items["1"].cast == ("Kate Winslet",)
    assert (items["1"].year, items["1"].popularity) == (1997, 0.5)
    assert (items["2"].year, items["2"].genres) == (1996, ("Thriller",))
    assert (items["3"].year, items["5"].year, items["6"].year) == (2001, 2017, None)
    assert items["4"] == Films.said[3]
    assert "Hayao Miyazaki" in items["3"].directors
    said = folder.meta["tables"]["items"]["train"]
    found = {how: n for how, n in said["facts"]["found"][0].items() if n}
    assert found == {
        "same page": 1,
        "title and year": 1,
        "title, a year off": 1,
        "title alone": 1,
        "not found": 3,
    }
    assert said["facts"]["fields"]["year"] == [3, 6]
    assert said["dropped"] == {"broken record of the facts": 2}
    assert [(p["file"], p["line"]) for p in folder.meta["problems"]] == [
        ("films.jsonl", len(ROWS) + 1),
        ("films.jsonl", len(ROWS) + 2),
    ]
    text = str(summary)
    assert "in films.jsonl: 1 same page; 1 title and year; 1 title, a year off" in text
    assert "have now: year 6" in text
    card = (folder.path / "README.md").read_text()
    assert "license:\n- cc-by-4.0\n- other\n- apache-2.0\n" in card
    assert "Nothing was added" not in card
    assert r"see the file LICENSE beside it\: Nobody's &lt;b&gt;Licence&lt;/b&gt;, 2020" in card
    assert "| films.jsonl | same page | 1 |" in card
    assert "| year | 3 | 6 |" in card
    assert "--facts films.jsonl embedded" in card
    assert os.fsencode(tmp_path) not in b"".join(contents(folder.path).values())


def test_without_facts_nothing_is_new(tmp_path: Path) -> None:
    folder = quietly(Films(), tmp_path / "made").folder
    assert "facts" not in folder.meta["config"]
    assert "facts" not in folder.meta["tables"]["items"]["train"]
    assert "Nothing was added to them." in (folder.path / "README.md").read_text()


@pytest.mark.parametrize("source", [Fake, Columns])
def test_any_source_takes_facts(source: type[Fake], tmp_path: Path) -> None:
    table = lines(tmp_path / "films.jsonl", [{"title": "Film 2", "year": 1993, "runtime": 90}])
    plain = quietly(source(), tmp_path / "plain").folder
    folder = joined(tmp_path / "made", table, source())
    assert folder.counts["items"] == {"train": 11}
    for split in folder.splits["examples"]:
        assert list(folder.examples(split)) == list(plain.examples(split))
    assert {item.title for item in folder.items() if item.runtime == 90} == {"Film 2"}


def test_facts_tell_folders_apart(tmp_path: Path, table: Path) -> None:
    made = tmp_path / "made"
    first = joined(made, table)
    assert not quietly(WithFacts(Films(), Facts([table])), made, shard_rows=2).made
    with pytest.raises(InputError, match=r"the facts were of films.jsonl \w+ and are of nothing"):
        quietly(Films(), made, shard_rows=2)
    lines(table, ROWS[:-1])
    with pytest.raises(InputError, match=r"the facts were of films.jsonl \w+ and are of films"):
        joined(made, table)
    assert Folder.open(made) == first
    part = tmp_path / ".other.part"
    with pytest.raises(InputError, match="the plug was pulled"):
        joined(tmp_path / "other", table, Films(fails_at=12))
    assert part.is_dir()
    lines(table, ROWS)
    with pytest.raises(InputError, match=r"an interrupted run has left its work .* the facts were"):
        joined(tmp_path / "other", table)


@pytest.mark.parametrize("stop", [0, 6, 8, 10, 12, 13])
def test_it_goes_on_as_if_nothing_had_been(stop: int, tmp_path: Path, table: Path) -> None:
    with table.open("a", encoding="utf-8") as out:
        out.write("no JSON\n")
    whole = contents(joined(tmp_path / "whole", table).path)
    with pytest.raises(InputError, match="the plug was pulled"):
        joined(tmp_path / "made", table, Films(fails_at=stop))
    assert contents(joined(tmp_path / "made", table).path) == whole


def kill_at_steps(top: Path, stride: int) -> None:
    """Run in a process of its own: children die at the k-th call that touches the disk."""
    import pyarrow.parquet  # noqa: F401 - once, before the children

    table = lines(top / "films.jsonl", ROWS)
    whole = contents(joined(top / "whole", table).path)
    steps = 0
    for k in itertools.count(1, stride):
        shutil.rmtree(top / "made", ignore_errors=True)
        child = os.fork()
        if child == 0:
            die_at(k)
            joined(top / "made", table)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert killed in (0, -signal.SIGKILL), killed
        assert contents(joined(top / "made", table).path) == whole, k
        if killed == 0:
            break
        steps += 1
    print(steps)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_step(stride: int, tmp_path: Path) -> None:
    done = in_python(
        f"import test_facts as t; t.kill_at_steps(t.Path({str(tmp_path)!r}), {stride})"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20 / stride


# The command.


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A ReDial of one dialogue, made up, with its link to DBpedia."""
    folder = tmp_path / "talk"
    folder.mkdir()
    record = {
        "conversationId": "1",
        "initiatorWorkerId": 0,
        "respondentWorkerId": 1,
        "messages": [
            {"messageId": 1, "timeOffset": 1, "senderWorkerId": 0, "text": "Ships?"},
            {"messageId": 2, "timeOffset": 2, "senderWorkerId": 1, "text": "@7, @8"},
        ],
        "movieMentions": {"7": "Titanic", "8": "Heat (1995)"},
        "initiatorQuestions": [],
        "respondentQuestions": [],
    }
    lines(folder / "train_data.jsonl", [record])
    page = "<http://dbpedia.org/resource/Titanic_(1997_film)>"
    (folder / "movieid_to_dbpedia.json").write_text(json.dumps({"7": page, "9": 3}))
    return folder


def test_the_command(
    talk: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, catalog = tmp_path / "made", tmp_path / "films.lance"
    argv = ["redial", talk, "--out", out, "--catalog", catalog, "--facts", table, "embedded"]
    status, said, err = run(capsys, *argv)
    assert (status, err.count("prepare:")) == (0, 0), err
    assert "in films.jsonl: 1 same page; 1 title and year" in said
    films = {item.title: item for item in Catalog.open(catalog)}
    assert (films["Titanic"].year, films["Titanic"].cast) == (1997, ("Kate Winslet",))
    assert films["Heat"].genres == ("Crime", "Drama")
    assert "Michael Mann" in films["Heat"].directors
    assert run(capsys, *argv)[1].count("nothing to do") == 1
    status, _, err = run(capsys, *argv[:4])
    assert (status, "the facts were of films.jsonl" in err) == (1, True)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--facts", "embedded", "--only", "examples"], "facts are about items"),
        (["--facts", "no/such.csv"], "there are no facts in no/such.csv"),
        (["--facts-mapping", '{"title": "x"}'], "of no use without --facts"),
        (["--facts", "embedded", "--facts-mapping", "title"], "write it as JSON"),
        (["--facts", "embedded", "--facts-mapping", '{"title": 3}'], "write it as JSON"),
    ],
)
def test_what_the_command_refuses(
    argv: list[str], said: str, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, "redial", talk, "--out", tmp_path / "made", *argv)
    assert (status, said in err) == (1, True), err
    assert not (tmp_path / "made").exists()


@pytest.mark.skipif(
    not (REDIAL.is_dir() and WIKIPEDIA.is_file()), reason="the real data are not on this machine"
)
def test_the_real_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["redial", REDIAL, "--out", tmp_path / "made", "--only", "items"]
    assert run(capsys, *argv, "--facts", "embedded", WIKIPEDIA)[0] == 0
    folder = Folder.open(tmp_path / "made")
    joined = folder.meta["tables"]["items"]["train"]["facts"]
    assert joined["found"][1]["same page"] >= 3_900
    for name, least in (("genres", 4_400), ("cast", 4_400), ("description", 4_400)):
        assert joined["fields"][name][0] == 0
        assert joined["fields"][name][1] >= least
    films = {(item.title, item.year): item for item in folder.items()}
    assert "Sci-Fi" in films["The Matrix", 1999].genres
    assert "Leonardo DiCaprio" in films["Titanic", 1997].cast
    assert not films["Alien 2: On Earth", 1980].cast
    assert set(FACTS) == set(joined["fields"])
