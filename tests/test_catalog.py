from __future__ import annotations

import dataclasses
import gc
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.catalog import Catalog, Problem
from llmrec.errors import (
    CatalogError,
    InputError,
    MissingExtraError,
    ModelError,
    UnknownItemError,
)
from llmrec.records import FIELDS, picture, picture_host
from llmrec.types import Item, Preferences
from llmrec.wishes import meets_all, wishes

JAWS = Item(
    id="jaws",
    title="Jaws",
    year=1975,
    titles={"pt": ("Tubarão",), "es": ("Tiburón",)},
    genres=("Thriller", "Adventure"),
    directors=("Steven Spielberg",),
    cast=("Roy Scheider", "Richard Dreyfuss"),
    countries=("USA",),
    languages=("English",),
    runtime=124,
    keywords=("sharks", "sea"),
    description="A police chief hunts a shark that empties the beaches of an island.",
    descriptions={
        "pt": "Um chefe de polícia caça um tubarão.",
        "es": "Un tiburón siembra el miedo.",
    },
    popularity=1.0,
    rating=8.1,
)
AMELIE = Item(
    id="amelie",
    title="Amélie",
    year=2001,
    original_title="Le Fabuleux Destin d'Amélie Poulain",
    genres=("Comedy", "Romance"),
    directors=("Jean-Pierre Jeunet",),
    cast=("Audrey Tautou",),
    countries=("France",),
    languages=("French",),
    runtime=122,
    keywords=("feel-good",),
    description="A shy waitress mends the lives of the people around her.",
    popularity=0.75,
    price=9.99,
)
SEA = Item(
    id="sea",
    title="The Sea Inside",
    year=2004,
    original_title="Mar adentro",
    genres=("Drama", "Biography"),
    directors=("Alejandro Amenábar",),
    cast=("Javier Bardem",),
    countries=("Spain",),
    languages=("Spanish",),
    runtime=126,
    description="Dreams of jaws and sharks are no part of it: jaws, jaws, sharks.",
    popularity=0.25,
)
NAMELESS = Item(id="42", title="42")
FILMS = [JAWS, AMELIE, SEA, NAMELESS]


@pytest.fixture(scope="module")
def films() -> Catalog:
    return Catalog.from_items(FILMS)


def ids(catalog: Catalog, rows: np.ndarray) -> list[str]:
    return [catalog.ids[r] for r in rows]


# What goes in comes out.


def test_items_come_back_as_they_were(films: Catalog, tmp_path: Path) -> None:
    assert len(films) == 4
    assert list(films) == FILMS
    assert list(films.batches(3)) == [FILMS[:3], FILMS[3:]]
    assert films.get("amelie") == AMELIE
    assert films.get_many(["sea", "jaws", "sea"]) == [SEA, JAWS, SEA]
    assert films.items_at(films.rows(["42", "jaws"])) == [NAMELESS, JAWS]
    assert films.items_at([]) == []
    assert films.ids == ["jaws", "amelie", "sea", "42"]
    assert films.titles == ["Jaws", "Amélie", "The Sea Inside", "42"]
    assert "jaws" in films
    assert "tubarao" not in films
    assert films.popularity.dtype == np.float32
    assert films.popularity.tolist() == [1.0, 0.75, 0.25, 0.0]
    assert films.rows(["sea"]).dtype == np.int32
    assert films.embedding_model is None
    assert "4 items" in repr(films)


def test_a_saved_catalogue_opens_the_same(films: Catalog, tmp_path: Path) -> None:
    films.save(tmp_path / "deep" / "copy.lance")
    films.save(films.path)
    copy = Catalog.open(tmp_path / "deep" / "copy.lance")
    assert list(copy) == FILMS
    assert copy.fingerprint == films.fingerprint
    assert copy.report.kept == 4
    assert os.listdir(tmp_path / "deep") == ["copy.lance"]


def test_the_fingerprint_tells_content_apart(films: Catalog) -> None:
    again = Catalog.from_items(iter(FILMS))
    other = Catalog.from_items([dataclasses.replace(JAWS, runtime=125), *FILMS[1:]])
    turned = Catalog.from_items(FILMS[::-1])
    assert again.fingerprint == films.fingerprint
    assert len({films.fingerprint, other.fingerprint, turned.fingerprint}) == 3


# Pictures.


def test_items_without_a_picture_have_the_fingerprint_of_old(tmp_path: Path) -> None:
    shark = Item("jaws", "Jaws", 1975, titles={"pt": ("Tubarão",)}, genres=("Thriller",),
                 runtime=124, description="A shark.", popularity=1.0)  # fmt: skip
    items = [shark, Item("42", "42", price=9.5)]
    made = Catalog.from_items(items, tmp_path / "c")
    assert made.fingerprint == "c41c051372ca34aac153fd8885e85dca"
    assert "image" not in json.loads((tmp_path / "c" / "catalog.json").read_text())["fields"]
    shown = [dataclasses.replace(shark, image="https://img.example.org/jaws.jpg"), items[1]]
    pictured = Catalog.from_items(shown, tmp_path / "p")
    assert list(Catalog.open(tmp_path / "p")) == shown
    assert (pictured.known["image"], made.known["image"]) == (0.5, 0)
    assert pictured.fingerprint != made.fingerprint
    assert pictured.search("example") == []
    assert pictured.report.counts == {}


def test_a_catalogue_from_before_there_were_pictures_opens(tmp_path: Path) -> None:
    path = tmp_path / "c"
    Catalog.from_items(FILMS, path)
    meta = json.loads((path / "catalog.json").read_text())
    del meta["known"]["image"]
    (path / "catalog.json").write_text(json.dumps(meta))
    opened = Catalog.open(path)
    assert list(opened) == FILMS
    assert opened.known["image"] == 0


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://img.example.org/a.jpg?w=2&x={1}", "img.example.org"),
        (" HTTPS://IMG.Example.org/A%20b;c|d.jpg ", "img.example.org"),
        ("https://img.example.org:8443/a", "img.example.org:8443"),
        ("https://img.example.org", "img.example.org"),
        ("http://img.example.org/a.jpg", ""),
        ("//img.example.org/a.jpg", ""),
        ("/a.jpg", ""),
        ("javascript:alert(1)", ""),
        ("data:image/png;base64,AAAA", ""),
        ("https://user:word@img.example.org/a.jpg", ""),
        ("https://user@img.example.org/a.jpg", ""),
        ("https://evil.example\\@img.example.org/a.jpg", ""),
        ("https://img.example.org\\.evil.example/a.jpg", ""),
        ("https://img.example.org?@evil.example/a.jpg", ""),
        ("https://img.example.org/a b.jpg", ""),
        ("https://img.example.org/a\n.jpg", ""),
        ("https://img.example.org/a\t.jpg", ""),
        ("https://img.example.org/\x85.jpg", ""),
        ("https://img.example.org/\u202ea.jpg", ""),
        ("https://ımg.example.org/a.jpg", ""),
        ("https://img%2eexample.org/a.jpg", ""),
        ("https://[::1]/a.jpg", ""),
        ("https:///a.jpg", ""),
        ("https://", ""),
        ('https://img.example.org/"onerror=', ""),
        ("https://img.example.org/" + "a" * 2_000, ""),
        ("", ""),
    ],
)
def test_addresses_of_pictures(address: str, host: str) -> None:
    assert picture(address) == (address.strip() if host else "")
    assert picture_host(address) == host


GOOD = "https://img.example.org/a.jpg"


@pytest.mark.parametrize(
    ("value", "image", "left_out"),
    [
        (GOOD, GOOD, 0),
        ("/abc.jpg", "", 1),
        ("http://img.example.org/a.jpg", "", 1),
        (["nothing", GOOD, "https://img.example.org/b.jpg"], GOOD, 0),
        ([{"thumb": "https://img.example.org/t.jpg", "large": GOOD, "hi_res": None}], GOOD, 0),
        ({"hi_res": [None], "large": [GOOD], "variant": ["MAIN"]}, GOOD, 0),
        (json.dumps([{"large": GOOD}]), GOOD, 0),
        (f"x.jpg|{GOOD}|https://img.example.org/b.jpg", GOOD, 0),
        ("[" * 5_000, "", 1),
        (json.loads("[" * 50 + "]" * 50), "", 0),
        ({"bytes": 3, "path": None}, "", 0),
        ([], "", 0),
        (7, "", 0),
    ],
)
def test_a_picture_is_read_from_what_shops_write(
    tmp_path: Path, value: object, image: str, left_out: int
) -> None:
    file = tmp_path / "films.jsonl"
    rows = [{"title": "Jaws", "image": value}, {"title": "Heat"}]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    catalog = Catalog.from_jsonl(file, tmp_path / "c", progress=False)
    assert [i.image for i in catalog] == [image, ""]
    assert catalog.report.dropped == 0
    counted = {"pictures left out": left_out} if left_out else {}
    assert catalog.report.counts == Catalog.open(tmp_path / "c").report.counts == counted


def test_a_picture_may_stand_in_another_column(tmp_path: Path) -> None:
    file = tmp_path / "films.csv"
    file.write_text(f"title,poster\nJaws,{GOOD}\nHeat,/b.jpg\n")
    mapping = {"title": "title", "image": "poster"}
    catalog = Catalog.from_csv(file, mapping=mapping, progress=False)
    assert [i.image for i in catalog] == [GOOD, ""]
    assert catalog.report.counts == {"pictures left out": 1}
    wrong = Catalog.from_items([dataclasses.replace(JAWS, image=3), AMELIE])  # type: ignore[arg-type]
    assert [p.reason for p in wrong.report.problems] == ["it holds 3 where a text is wanted"]


def test_prepared_data_keep_no_pictures(tmp_path: Path) -> None:
    from llmrec.datasets.folder import Folder, write
    from llmrec.datasets.jsonl import Table

    for name, more in (("with", {"image": GOOD}), ("without", {})):
        file = tmp_path / name / "films.jsonl"
        file.parent.mkdir()
        file.write_text(json.dumps({"id": "1", "title": "Jaws", **more}) + "\n")
        write(Table(file), tmp_path / name / "made", path=file)
    with_, without = (Folder.open(tmp_path / name / "made") for name in ("with", "without"))
    assert list(with_.items()) == [Item("1", "Jaws")]
    assert with_.fingerprint == without.fingerprint


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.lists(texts, max_size=3).map(tuple)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.builds(
            Item,
            id=texts.filter(bool),
            title=texts.map(lambda t: t + "x"),
            year=st.none() | st.integers(1000, 2100),
            titles=st.dictionaries(st.sampled_from(["pt", "es"]), names),
            genres=names,
            cast=names,
            description=texts,
            descriptions=st.dictionaries(st.sampled_from(["pt", "es"]), texts),
            popularity=st.floats(0, 1),
            rating=st.none() | st.floats(0, 10),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda i: i.id,
    )
)
def test_any_text_survives(items: list[Item]) -> None:
    catalog = Catalog.from_items(items)
    assert list(catalog) == items
    assert catalog.get_many([i.id for i in items]) == items
    for item in items:
        catalog.search(item.description, k=2, exclude=[item.id])


def test_unknown_ids_and_rows_are_named(films: Catalog) -> None:
    with pytest.raises(UnknownItemError, match="no item with the id 'nope'"):
        films.get("nope")
    with pytest.raises(KeyError):
        films.get_many(["jaws", "nope"])
    with pytest.raises(InputError, match="row 4 was asked for: rows are 0 to 3"):
        films.items_at([0, 4])
    with pytest.raises(InputError, match="batch size is 0"):
        next(films.batches(0))


# Filters mean what wishes mean.

WORDS = ["Ação", "acao", "AÇÃO!", "Sci-Fi", "sci fi", "O'Brien", "obrien", "'; DROP TABLE items --"]
WORDS += ["", "!!!", "é", "e", "李小龙", "%", "a_b", "\\", '"', "\x00", "n't", "\n", "🎬", "x" * 99]


def random_items(n: int, seed: int = 7) -> list[Item]:
    rng = random.Random(seed)

    def some() -> tuple[str, ...]:
        return tuple(rng.choices(WORDS, k=rng.choice([0, 0, 1, 2, 3])))

    return [
        Item(
            id=f"{rng.choice(WORDS)}{i}",
            title=f"t{i}",
            year=rng.choice([None, 1000, 1990, 1999, 2000, 2100]),
            runtime=rng.choice([None, 1, 89, 90, 120]),
            price=rng.choice([None, 0, 9.99, 10, 30.5, 1e9]),
            genres=some(),
            directors=some(),
            cast=some(),
            countries=some(),
            languages=some(),
            keywords=some(),
        )
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def wild() -> Catalog:
    return Catalog.from_items(random_items(200))


@pytest.fixture(scope="module")
def wild_indexed() -> Catalog:
    """Enough rows for scalar indices; those after the first 200 meet hardly any wish."""
    many = (Item(id=f"n{i}", title="t") for i in range(50_000))
    return Catalog.from_items([*random_items(200), *many])


values = st.lists(st.sampled_from(WORDS), max_size=2).map(tuple)
years = st.none() | st.sampled_from([1990, 1999, 2000]) | st.integers(-(10**20), 10**20)
runtimes = st.none() | st.sampled_from([1, 89, 90, 91, 120]) | st.integers(-(10**20), 10**20)
prices = st.none() | st.sampled_from([0.0, 9.99, 10, 30.5]) | st.floats(0, 1e300)
hard_wishes = st.builds(
    Preferences,
    genres=values,
    genres_any=values,
    genres_out=values,
    people=values,
    people_any=values,
    people_out=values,
    directors=values,
    countries=values,
    countries_out=values,
    languages=values,
    languages_out=values,
    keywords_out=values,
    year_min=years,
    year_max=years,
    runtime_min=runtimes,
    runtime_max=runtimes,
    price_min=prices,
    price_max=prices,
)
single_wishes = st.sampled_from(
    ["genres", "genres_any", "genres_out", "people", "people_out", "directors", "keywords_out"]
).flatmap(lambda name: st.builds(Preferences, **{name: values}))


@settings(max_examples=100, deadline=None)
@given(hard_wishes | single_wishes, st.lists(st.integers(0, 250), max_size=4))
def test_filter_keeps_what_meets_every_wish(
    wild: Catalog, preferences: Preferences, out: list[int]
) -> None:
    items = random_items(200)
    exclude = [items[i].id if i < 200 else f"unknown {i}" for i in out]
    expected = [
        row
        for row, item in enumerate(items)
        if meets_all(item, wishes(preferences)) and item.id not in exclude
    ]
    found = wild.filter(preferences, exclude)
    assert found.dtype == np.int32
    assert found.tolist() == expected
    hits = wild.search("", preferences, k=300, exclude=exclude)
    assert {h.item.id for h in hits} == {items[row].id for row in expected}


@settings(max_examples=40, deadline=None)
@given(hard_wishes | single_wishes)
def test_indices_change_no_filter(wild_indexed: Catalog, preferences: Preferences) -> None:
    conditions = wishes(preferences)
    expected = [r for r, item in enumerate(random_items(200)) if meets_all(item, conditions)]
    found = wild_indexed.filter(preferences)
    assert found[found < 200].tolist() == expected
    rest = 50_000 if meets_all(NAMELESS, conditions) else 0
    assert len(found) - len(expected) == rest


def test_filter_without_wishes_is_everything_but_the_excluded(films: Catalog) -> None:
    assert films.filter().tolist() == [0, 1, 2, 3]
    assert films.filter(exclude=["jaws", "unknown"]).tolist() == [1, 2, 3]
    assert ids(films, films.filter(Preferences(people=("AMENABAR alejandro",)))) == []
    assert ids(films, films.filter(Preferences(people=("alejandro amenabar",)))) == ["sea"]


# Search.


def test_titles_of_every_language_are_found_before_descriptions(films: Catalog) -> None:
    for text in ("TUBARAO", "tiburon", "jaws"):
        assert films.search(text)[0].item == JAWS
    assert [h.item.id for h in films.search("jaws")] == ["jaws", "sea"]
    assert films.search("spielberg")[0].item == JAWS
    assert films.search("comédia romance feel good")[0].item == AMELIE
    assert films.search("garçonete waitress")[0].item == AMELIE
    assert films.search("what about a policeman") == []


def test_words_are_not_stemmed(films: Catalog) -> None:
    assert [h.item.id for h in films.search("shark")] == ["jaws"]
    assert films.search("feeling") == []


def test_function_words_do_not_count_beside_others(films: Catalog) -> None:
    assert [h.item.id for h in films.search("the waitress of the sea")] == ["sea", "amelie", "jaws"]
    assert films.search("the")[0].item == SEA


def test_search_obeys_wishes_exclusions_k_and_min_score(films: Catalog) -> None:
    assert [h.item.id for h in films.search("jaws", Preferences(year_min=2000))] == ["sea"]
    assert [h.item.id for h in films.search("jaws", exclude=["jaws"])] == ["sea"]
    assert [h.item.id for h in films.search("jaws", k=1)] == ["jaws"]
    best = films.search("jaws")[0].score
    assert [h.item.id for h in films.search("jaws", min_score=best)] == ["jaws"]
    assert films.search("jaws", min_score=best + 1) == []


@pytest.mark.parametrize("text", ["", "  ", "!?"])
def test_without_words_the_popular_come_first(films: Catalog, text: str) -> None:
    assert [h.item.id for h in films.search(text)] == ["jaws", "amelie", "sea", "42"]
    assert [h.item.id for h in films.search(text, k=1, exclude=["jaws"])] == ["amelie"]
    assert films.search(text, min_score=0.1) == []


@pytest.mark.parametrize(
    "text", ["'", '"', "a AND (b", "\x00", "*", "🎬", "x" * 50_000, "a b " * 9_000]
)
def test_hostile_texts_find_nothing_and_break_nothing(films: Catalog, text: str) -> None:
    assert all(h.score >= 0 for h in films.search(text))
    assert films.scores(text).shape == (4,)


def test_scores_cover_all_rows(films: Catalog) -> None:
    scores = films.scores("jaws waitress")
    assert scores.dtype == np.float32
    assert scores[0] > scores[2] > 0
    assert scores[1] > 0
    assert scores[3] == 0
    assert scores[0] == pytest.approx(films.search("jaws waitress")[0].score)
    assert films.scores("jaws waitress", [2, 0]).tolist() == [scores[2], scores[0]]
    assert films.scores("").tolist() == [0, 0, 0, 0]


def test_search_refuses_what_it_cannot_do(films: Catalog) -> None:
    with pytest.raises(InputError, match="k is 0: give 1 or more"):
        films.search("jaws", k=0)
    with pytest.raises(InputError, match="mode is 'fuzzy': use 'text', 'dense' or 'hybrid'"):
        films.search("jaws", mode="fuzzy")  # type: ignore[arg-type]
    with pytest.raises(CatalogError, match="built without an embedding model"):
        films.search("jaws", mode="dense")


def test_names_are_matched_to_items(films: Catalog) -> None:
    match = films.match_title("tubarao")
    assert (match.item, match.row, match.tier) == (JAWS, 0, "alternative")
    assert films.match_title("Amelie (2001)").item == AMELIE
    none = films.match_title("Nothing of the sort")
    assert (none.item, none.row, none.tier) == (None, None, "none")
    names = ["Nothing of the sort", "Jaws", "tiburon", "amelie"]
    assert films.match_titles(names) == [films.match_title(n) for n in names]
    assert films.match_titles([]) == []


def test_an_article_behind_a_comma_is_found_in_front() -> None:
    goonies = Item(id="g", title="Goonies, The", year=1985, titles={"pt": ("Os Goonies",)})
    odd = Item(id="o", title="Lock, Stock and a Smoking Barrel", original_title="Angel, El")
    catalog = Catalog.from_items([NAMELESS, goonies, odd])
    for name in ("The Goonies", "Goonies, The", "goonies", "The Goonies (1985)", "os goonies"):
        assert catalog.match_title(name).item == goonies
    for name in ("El angel", "lock stock and a smoking barrel"):
        assert catalog.match_title(name).item == odd
    assert [f.ids for f in catalog.find_titles("have you got The Goonies?")] == [("g",)]


def test_names_are_found_inside_a_text(films: Catalog) -> None:
    text = "Is Tubarão longer than the sea inside? Not 42."
    found = films.find_titles(text)
    assert [(text[f.start : f.end], f.ids) for f in found] == [
        ("Tubarão", ("jaws",)),
        ("the sea inside", ("sea",)),
        ("42", ("42",)),
    ]
    assert films.find_titles("nothing of it") == []


def test_threads_may_share_a_catalogue() -> None:
    films = Catalog.from_items(FILMS)

    def work(n: int) -> tuple[object, ...]:
        text = ("jaws", "waitress", "sea")[n % 3]
        return (
            films.search(text)[0].item.id,
            films.filter(Preferences(year_min=2000)).tolist(),
            films.match_title("tiburon").row,
            films.get("sea").title,
        )

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(48)))
    best = [("jaws", "amelie", "sea")[n % 3] for n in range(48)]
    assert found == [(b, [1, 2], 0, "The Sea Inside") for b in best]


# Passages.

LONG = Item(
    id="long",
    title="The Long Walk",
    directors=("Ann Other",),
    description=" ".join(
        f"In part {i} the walkers cross a {place} and rest for a while, as nobody is in a hurry "
        f"and the weather of the {place} is kind to them all."
        for i, place in enumerate(("meadow", "glacier", "desert", "harbour"), 1)
    ),
    descriptions={"pt": "Quatro pessoas atravessam um deserto."},
)


@pytest.fixture(scope="module")
def told() -> Catalog:
    return Catalog.from_items([*FILMS, LONG])


def test_the_passage_that_fits_is_found(told: Catalog) -> None:
    best, *_ = told.passages("Who crosses glaciers?")
    assert best.item == LONG
    assert best.passage.field == "description"
    assert "glacier" in best.passage.text
    start = best.passage.start
    assert LONG.description[start : start + len(best.passage.text)] == best.passage.text
    assert 0.5 < best.passage.score <= 1
    hunts = told.passages("the one where the police hunt sharks", per_item=1)[0]
    assert (hunts.item, hunts.passage.score) == (JAWS, 1.0)
    assert told.passages("quem caça um tubarão?")[0].passage.field == "descriptions.pt"
    assert told.passages("xylophone") == []
    assert told.passages("") == []


def test_a_person_helps_to_find_the_item_and_not_the_passage(told: Catalog) -> None:
    (best,) = told.passages("Spielberg police", 1)
    assert best.item == JAWS
    assert best.passage.score < 0.7
    assert told.passages("Spielberg") == []


def test_passages_of_some_items_only(told: Catalog) -> None:
    crossed = told.passages("crossing the desert", ids=["long", "jaws", "long"])
    assert {hit.item.id for hit in crossed} == {"long"}
    assert {hit.passage.field for hit in crossed} == {"description", "descriptions.pt"}
    (best,) = told.passages("crossing the desert", ids=["long"], per_item=1)
    assert best == crossed[0]
    assert told.passages("desert", ids=["jaws"]) == []
    assert told.passages("desert", ids=[]) == []
    assert told.passages("police", preferences=Preferences(year_min=2000)) == []
    after = Preferences(year_max=1980)
    early = told.passages("police", ids=["jaws", "sea"], preferences=after, per_item=1)
    assert [hit.item.id for hit in early] == ["jaws"]
    strict = told.passages("desert weather walkers", min_similarity=0.9)
    assert [hit.passage.score > 0.9 for hit in strict] == [True]
    with pytest.raises(UnknownItemError, match="no item with the id 'nope'"):
        told.passages("desert", ids=["nope"])
    with pytest.raises(InputError, match="per_item is 0: give 1 or more, or nothing"):
        told.passages("desert", per_item=0)
    with pytest.raises(InputError, match="k is 0"):
        told.passages("desert", 0)
    with pytest.raises(CatalogError, match="mode is 'hybrid' and the catalogue was built without"):
        told.passages("desert", mode="hybrid")


def test_what_is_known_is_counted(told: Catalog, tmp_path: Path) -> None:
    known = told.known
    assert known["id"] == known["title"] == 1
    assert (known["year"], known["people"]) == (0.6, 0.8)
    assert (known["price"], known["rating"], known["popularity"]) == (0.2, 0.2, 0.6)
    assert (known["descriptions"], known["titles"]) == (0.4, 0.2)
    told.save(tmp_path / "c")
    assert Catalog.open(tmp_path / "c").known == known
    assert old_catalog([*FILMS, LONG], tmp_path / "old").known == known


def old_catalog(items: list[Item], path: Path) -> Catalog:
    """A catalogue of format 1 as it was written once."""
    import lancedb
    from lancedb.index import FTS

    from llmrec.titles import fold

    def keys(values: tuple[str, ...]) -> list[str]:
        return [fold(v) for v in values]

    rows = [
        {
            "row": row,
            **{n: getattr(item, n) for n in FIELDS if n != "image"},
            "titles": json.dumps(item.titles),
            "descriptions": json.dumps(item.descriptions),
            "names_key": keys(item.all_titles),
            "people_key": keys(item.people),
            "genres_key": keys(item.genres),
            "keywords_key": keys(item.keywords),
            "text_key": fold(" ".join((item.description, *item.descriptions.values()))),
        }
        for row, item in enumerate(items)
    ]
    table = lancedb.connect(path).create_table("items", rows)
    words = FTS(base_tokenizer="whitespace", stem=False, remove_stop_words=False)
    for column in ("names", "people", "genres", "keywords", "text"):
        table.create_index(f"{column}_key", config=words)
    meta = {
        "format": 1,
        "rows": len(items),
        "dropped": 0,
        "fingerprint": "",
        "embedding_model": None,
    }
    (path / "catalog.json").write_text(json.dumps(meta))
    return Catalog.open(path)


def test_a_catalogue_of_the_first_format_opens(told: Catalog, tmp_path: Path) -> None:
    items = [*FILMS, LONG]
    old = old_catalog(items, tmp_path / "old")
    assert list(old) == items
    assert old.get("sea") == SEA
    for text in ("tiburon", "spielberg", "waitress"):
        assert old.search(text)[0].item == told.search(text)[0].item
        assert old.search(text)[0].score == pytest.approx(max(old.scores(text)))
    assert ids(old, old.filter(Preferences(people=("Steven Spielberg",)))) == ["jaws"]
    assert old.passages("Who crosses glaciers?")[0] == told.passages("Who crosses glaciers?")[0]
    assert old.match_title("tiburon").item == JAWS


# Meaning.


class Letters:
    """An encoder that counts letters."""

    name = "letters"

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[1e-6 + t.lower().count(c) for c in "abcdefghijklmnop"] for t in texts])


@pytest.fixture(scope="module")
def dense() -> Catalog:
    return Catalog.from_items(FILMS, embedding_model=Letters())


def test_dense_search_ranks_by_similarity(dense: Catalog) -> None:
    text = f"{AMELIE.title}. {', '.join(AMELIE.genres + AMELIE.keywords + AMELIE.directors)}. "
    hits = dense.search(text + AMELIE.description, mode="dense")
    assert len(hits) == 4
    assert hits[0].item == AMELIE
    assert hits[0].score == pytest.approx(1.0, abs=1e-4)
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    later = dense.search(text, Preferences(year_min=2002), mode="dense", exclude=["42"])
    assert [h.item.id for h in later] == ["sea"]
    assert list(dense) == FILMS


def test_hybrid_search_fuses_reciprocal_ranks(dense: Catalog) -> None:
    words = [h.item.id for h in dense.search("jaws waitress", mode="text")]
    meaning = [h.item.id for h in dense.search("jaws waitress", mode="dense")]
    expected = {
        i: sum(1 / (60 + ranking.index(i) + 1) for ranking in (words, meaning) if i in ranking)
        for i in {*words, *meaning}
    }
    hits = dense.search("jaws waitress", mode="hybrid", k=4)
    assert {h.item.id: h.score for h in hits} == pytest.approx(expected)
    assert hits[0].score == max(expected.values())
    assert len(dense.search("jaws waitress", mode="hybrid", k=2)) == 2


def test_passages_are_found_by_meaning(tmp_path: Path) -> None:
    dense = Catalog.from_items([*FILMS, LONG], tmp_path / "c", embedding_model=Letters())
    glacier = dense.passages("glacier", ids=["long"], per_item=1)[0].passage
    for catalog in (dense, Catalog.open(tmp_path / "c", embedding_model=Letters())):
        asked = f"{LONG.title}. {glacier.text}"
        best, *others = catalog.passages(asked, mode="dense")
        assert (best.item, best.passage.text) == (LONG, glacier.text)
        assert best.passage.score == pytest.approx(1.0, abs=1e-4)
        assert [h.passage.score for h in others] == sorted(
            (h.passage.score for h in others), reverse=True
        )
        assert {"jaws", "amelie", "sea"} >= {h.item.id for h in others} - {"long"} != set()
        assert "42" not in {h.item.id for h in catalog.passages(asked, 9, mode="dense")}
    only = dense.passages(asked, mode="dense", ids=["jaws", "sea"])
    assert {h.item.id for h in only} == {"jaws", "sea"}
    late = dense.passages(asked, mode="dense", preferences=Preferences(year_min=2002))
    assert [h.item.id for h in late] == ["sea"]
    assert dense.passages("glacier", ids=["jaws"], mode="hybrid", min_similarity=0.999) == []


def test_one_passage_is_the_items_own_vector(dense: Catalog) -> None:
    (hit,) = dense.passages("jaws waitress", 1, mode="dense")
    best = next(h for h in dense.search("jaws waitress", mode="dense") if h.item.description)
    assert hit.item == best.item
    assert hit.passage.score == pytest.approx(best.score)
    assert hit.passage.text in (*hit.item.descriptions.values(), hit.item.description)


def test_hybrid_passages_keep_the_larger_similarity(dense: Catalog) -> None:
    hits = dense.passages("shark beaches", mode="hybrid", per_item=1)
    assert hits[0].item == JAWS
    assert hits[0].passage.score == 1.0
    assert {h.item.id for h in hits} == {"jaws", "amelie", "sea"}


def test_the_embedding_model_is_remembered_and_checked(dense: Catalog, tmp_path: Path) -> None:
    dense.save(tmp_path / "d")
    assert Catalog.open(tmp_path / "d").embedding_model == "letters"
    again = Catalog.open(tmp_path / "d", embedding_model=Letters())
    assert again.search("jaws", mode="dense") == dense.search("jaws", mode="dense")
    with pytest.raises(CatalogError, match="with the embedding model 'letters', not 'other'"):
        Catalog.open(tmp_path / "d", embedding_model="other")
    Catalog.from_items(FILMS, tmp_path / "words")
    with pytest.raises(CatalogError, match="with the embedding model None, not 'letters'"):
        Catalog.open(tmp_path / "words", embedding_model=Letters())


def test_a_wrong_encoder_is_told(tmp_path: Path) -> None:
    class Short:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.zeros((1, 3))

    class Odd:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.full((len(texts), 3), np.nan)

    with pytest.raises(ModelError, match=r"'Short' gave an array of shape \(1, 3\) for 4 texts"):
        Catalog.from_items(FILMS, tmp_path / "c", embedding_model=Short())
    with pytest.raises(ModelError, match="finite numbers"):
        Catalog.from_items(FILMS, tmp_path / "c", embedding_model=Odd())
    assert os.listdir(tmp_path) == []


def test_a_model_is_loaded_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(name: str) -> Letters:
        if name != "letters":
            raise OSError(f"{name} is not\n a model")
        return Letters()

    package = types.SimpleNamespace(SentenceTransformer=load)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    Catalog.from_items(FILMS, tmp_path / "c", embedding_model="letters")
    assert len(Catalog.open(tmp_path / "c").search("jaws", mode="dense")) == 4
    with pytest.raises(ModelError, match=r"'leters' cannot be loaded \(leters is not a model\)"):
        Catalog.from_items(FILMS, tmp_path / "c", embedding_model="leters")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_sentence_transformers_embed(tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers")
    modules = package.sentence_transformer.modules
    bag = modules.BoW(vocab=["waitress", "shark", "sea", "jaws"])
    package.SentenceTransformer(modules=[bag], device="cpu").save(str(tmp_path / "model"))
    name = str(tmp_path / "model")
    catalog = Catalog.from_items(FILMS, tmp_path / "c", embedding_model=name)
    assert catalog.embedding_model == name
    assert Catalog.open(tmp_path / "c").search("waitress", mode="dense")[0].item == AMELIE


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"llmrec\[dense\]"):
        Catalog.from_items(FILMS, tmp_path / "c", embedding_model="all-MiniLM-L6-v2")


# Files.


@pytest.mark.parametrize("name", ["films.csv.gz", "films.tsv.gz", "films.jsonl.gz"])
def test_packed_files_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if "jsonl" in name:
        data, read = json.dumps({"title": "Jaws", "year": 1975}), Catalog.from_jsonl
    else:
        comma = "," if "csv" in name else "\t"
        data, read = f"title{comma}year\nJaws{comma}1975\n", Catalog.from_csv
    path.write_bytes(gzip.compress(data.encode()))
    assert list(read(path, progress=False)) == [Item(id="1", title="Jaws", year=1975)]
    path.write_bytes(gzip.compress(data.encode())[:-9])
    with pytest.raises(CatalogError, match=f"{name} cannot be read: "):
        read(path, progress=False)


def test_csv_with_a_mapping(tmp_path: Path) -> None:
    file = tmp_path / "films.csv"
    file.write_text(
        "\ufeffmovie_name,released,kinds,nome,who,extra,popularity\n"
        '"Jaws, the film",1975,Thriller;Adventure,Tubarão|Tubarao,Steven Spielberg,?,0.5\n'
        '"Two\nlines",2001.0, Comedy | Comedy |,,,,\n'
        "Blank,\\N,,,,,\n",
        encoding="utf-8",
    )
    catalog = Catalog.from_csv(
        file,
        mapping={
            "title": "movie_name",
            "year": "released",
            "genres": "kinds",
            "titles.pt": "nome",
            "directors": "who",
        },
        progress=False,
    )
    assert catalog.report.problems == ()
    assert list(catalog) == [
        Item(
            id="1",
            title="Jaws, the film",
            year=1975,
            genres=("Thriller", "Adventure"),
            titles={"pt": ("Tubarão", "Tubarao")},
            directors=("Steven Spielberg",),
            popularity=0.5,
        ),
        Item(id="2", title="Two\nlines", year=2001, genres=("Comedy",)),
        Item(id="3", title="Blank"),
    ]


def test_csv_rows_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "films.csv"
    rows = [
        b"id,title,year,runtime,cast,titles",
        b"a,Good,1999,90,X;Y,",
        b"b,Bad year,199x,90,,",
        b"c,,1999,90,,",
        b"d,Short,1999",
        b"",
        b"e,Bytes \xff,1999,90,,",
        b'f,"Two\nlines",30000,90,,',
        b"a,Again,1999,90,,",
        b"g,Long,1999,0,,",
        b'h,Names,1999,,,"{""pt"": ""Nomes""}"',
        b"i,Names,1999,,,Nomes",
        b'j,Half,1999.5,,,"{broken"',
        b"k,...,1999,,,",
        b"l,End,1999,,,",
    ]
    file.write_bytes(b"\n".join(rows))
    report = (catalog := Catalog.from_csv(file, tmp_path / "c", progress=False)).report
    assert catalog.ids == ["a", "h", "l"]
    assert catalog.get("h").titles == {"pt": ("Nomes",)}
    assert (report.kept, report.dropped) == (3, 10)
    assert report.problems == tuple(
        Problem(str(file), line, reason)
        for line, reason in [
            (3, "year is '199x': a number is wanted"),
            (4, "it has no title"),
            (5, "it has 3 columns, the header has 6"),
            (7, "it has bytes that are not UTF-8 text"),
            (8, "year is 30000: a whole number from 1000 to 2100 is wanted"),
            (10, "the id 'a' was used before"),
            (11, "runtime is 0: a whole number from 1 to 100000 is wanted"),
            (13, "titles is 'Nomes': an object by language is wanted"),
            (14, "year is '1999.5': a number is wanted"),
            (15, "it has no title, only '...'"),
        ]
    )
    assert Catalog.open(tmp_path / "c").report.dropped == 10


def test_a_quote_that_never_ends_costs_its_rows_only(tmp_path: Path) -> None:
    file = tmp_path / "films.csv"
    with file.open("w") as out:
        out.write('title,year\nFirst,1999\n"Never ends,1999\n')
        out.writelines(f"Swallowed {i},1999\n" for i in range(8_000))
        out.write("Last,1999\n")
    catalog = Catalog.from_csv(file, progress=False)
    assert catalog.titles[0] == "First"
    assert catalog.titles[-1] == "Last"
    (problem,) = catalog.report.problems
    assert problem.line == 3
    assert problem.reason.startswith("field larger than field limit")


def test_tab_separated_files_have_their_own_ending(tmp_path: Path) -> None:
    (tmp_path / "films.tsv").write_text("title\tyear\nA, b\t1999\n")
    assert list(Catalog.from_csv(tmp_path / "films.tsv", progress=False)) == [
        Item(id="1", title="A, b", year=1999)
    ]


def test_jsonl_rows_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    file = tmp_path / "films.jsonl"
    rows = [
        json.dumps(JAWS.to_dict()).encode(),
        b'{"id": 7, "title": 1917, "year": "2019", "genres": "War|Drama", "titles.pt": "1917"}',
        b'{"title": "Broken"',
        b"[1, 2]",
        b"  ",
        b'{"title": "Bytes \xff"}',
        b'{"title": "Lone \\ud800"}',
        b'{"title": {"en": "Odd"}}',
        b'{"title": "Odd", "genres": [1]}',
        b'{"title": "Odd", "rating": 11}',
        b'{"title": "Odd", "year": [1999]}',
        b'{"title": "Odd", "titles": "Titre"}',
        b"[" * 100_000,
        b'{"title": "Good", "rating": NaN, "description": null, "year": 1999.0}',
    ]
    file.write_bytes(b"\n".join(rows))
    catalog = Catalog.from_jsonl(file, tmp_path / "c", progress=False)
    assert list(catalog) == [
        JAWS,
        Item(id="7", title="1917", year=2019, genres=("War", "Drama"), titles={"pt": ("1917",)}),
        Item(id="13", title="Good", year=1999),
    ]
    reasons = {p.line: p.reason for p in catalog.report.problems}
    assert set(reasons) == {3, 4, 6, 7, 8, 9, 10, 11, 12, 13}
    assert reasons[3].startswith("it is not JSON: ")
    assert reasons[4] == "it is no JSON object: [1, 2]"
    assert reasons[6] == reasons[7] == "it has bytes that are not UTF-8 text"
    assert reasons[8] == "title is {'en': 'Odd'}: a text is wanted"
    assert reasons[9] == "genres is [1]: a list of names is wanted"
    assert reasons[10] == "rating is 11.0: a number from 0 to 10 is wanted"
    assert reasons[11] == "year is [1999]: a number is wanted"


def test_parquet_keeps_types_and_reports_rows(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {"name": "Jaws", "year": 1975, "genres": ["Thriller"], "junk": b"\xff"},
        {"name": None, "year": 1976, "genres": None, "junk": None},
        {"name": "Heat", "year": 99999, "genres": [], "junk": None},
        {"name": "Amélie", "year": None, "genres": [], "junk": None},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "films.parquet")
    catalog = Catalog.from_parquet(
        tmp_path / "films.parquet", mapping={"title": "name"}, progress=False
    )
    assert list(catalog) == [
        Item(id="1", title="Jaws", year=1975, genres=("Thriller",)),
        Item(id="4", title="Amélie"),
    ]
    assert [p.line for p in catalog.report.problems] == [2, 3]


def test_problems_are_capped_and_dropped_is_not() -> None:
    report = Catalog.from_items([JAWS] * 151).report
    assert (report.kept, report.dropped, len(report.problems)) == (1, 150, 100)
    assert report.problems[0] == Problem("items", 2, "the id 'jaws' was used before")


def test_items_that_cannot_be_held_are_reported() -> None:
    odd = [
        dataclasses.replace(JAWS, id=""),
        dataclasses.replace(JAWS, id="a", year="1975"),
        dataclasses.replace(JAWS, id="b", genres=(None,)),
        dataclasses.replace(JAWS, id="c", popularity=None),
        dataclasses.replace(JAWS, id="d", description="\ud800"),
        dataclasses.replace(JAWS, id="e", price=float("nan")),
        dataclasses.replace(JAWS, id="f", year=True),
    ]
    catalog = Catalog.from_items([*odd, "Jaws", AMELIE])  # type: ignore[list-item]
    assert catalog.ids == ["amelie"]
    assert [p.reason for p in catalog.report.problems] == [
        "its id is empty",
        "year is '1975': a whole number from 1000 to 2100 is wanted",
        "it holds None where a text is wanted",
        "popularity is None: a number from 0 to 1 is wanted",
        "it has bytes that are not UTF-8 text",
        "price is nan: a number from 0 to inf is wanted",
        "year is True: a whole number from 1000 to 2100 is wanted",
        "it is a str: an Item is wanted",
    ]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,year\nJaws,1975\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not at all PAR1")
    with pytest.raises(CatalogError, match=r"no\.csv cannot be read: No such file"):
        Catalog.from_csv(tmp_path / "no.csv", progress=False)
    with pytest.raises(CatalogError, match="cannot be read: Is a directory"):
        Catalog.from_jsonl(tmp_path, progress=False)
    with pytest.raises(CatalogError, match="has no column 'title', it has 'name', 'year': say"):
        Catalog.from_csv(tmp_path / "a.csv", progress=False)
    with pytest.raises(CatalogError, match="has no column 'kinds'"):
        Catalog.from_csv(
            tmp_path / "a.csv", mapping={"title": "name", "genres": "kinds"}, progress=False
        )
    with pytest.raises(InputError, match="mapping has 'name', which is no field of Item"):
        Catalog.from_csv(tmp_path / "a.csv", mapping={"name": "title"}, progress=False)
    with pytest.raises(CatalogError, match="has no column 'title', it has none"):
        Catalog.from_csv(tmp_path / "empty.csv", progress=False)
    with pytest.raises(CatalogError, match="cannot be read as Parquet"):
        Catalog.from_parquet(tmp_path / "a.parquet", progress=False)


def test_the_bar_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("title\nJaws\n")
    Catalog.from_csv(tmp_path / "a.csv")
    Catalog.from_items(FILMS, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading" in captured.err


# Whole or not at all.


def test_a_build_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    first = Catalog.from_items([JAWS], tmp_path / "c")
    second = Catalog.from_items(FILMS, tmp_path / "c")
    assert (len(first), len(second)) == (1, 4)
    assert list(Catalog.open(tmp_path / "c")) == FILMS
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize("items", [[], [Item(id="a", title="")], [Item(id="a", title="?!")]])
def test_nothing_with_a_title_leaves_the_old_one(tmp_path: Path, items: list[Item]) -> None:
    Catalog.from_items(FILMS, tmp_path / "c")
    with pytest.raises(CatalogError, match="no row with a title that could be kept"):
        Catalog.from_items(items, tmp_path / "c")
    assert list(Catalog.open(tmp_path / "c")) == FILMS
    assert os.listdir(tmp_path) == ["c"]


def test_an_error_in_the_middle_leaves_the_old_one(tmp_path: Path) -> None:
    def broken() -> Iterator[Item]:
        yield JAWS
        raise ZeroDivisionError

    Catalog.from_items(FILMS, tmp_path / "c")
    with pytest.raises(ZeroDivisionError):
        Catalog.from_items(broken(), tmp_path / "c")
    assert list(Catalog.open(tmp_path / "c")) == FILMS
    assert os.listdir(tmp_path) == ["c"]


KILLED = """
import sys
from llmrec.catalog import Catalog
from llmrec.types import Item
def items():
    for i in range(9_000):
        yield Item(id=str(i), title=f"New {i}", description="x" * 10_000)
    print("half", flush=True)
    sys.stdin.read()
Catalog.from_items(items(), sys.argv[1])
"""


@pytest.mark.parametrize(
    "signum", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_an_interrupted_build_leaves_the_old_one(tmp_path: Path, signum: int) -> None:
    old = Catalog.from_items(FILMS, tmp_path / "c")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "c")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        (part,) = tmp_path.glob(".c.part-*")
        assert any(part.rglob("*.lance"))
        process.send_signal(signum)
        process.wait()
    left = list(tmp_path.glob(".c.part-*"))
    assert left == ([part] if signum == signal.SIGKILL else [])
    assert list(Catalog.open(tmp_path / "c")) == FILMS
    assert Catalog.open(tmp_path / "c").fingerprint == old.fingerprint
    for path in [*left, *part.rglob("*")]:
        os.utime(path, (0, 0))
    Catalog.from_items([JAWS], tmp_path / "c")
    assert os.listdir(tmp_path) == ["c"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    Catalog.from_items(FILMS, tmp_path / "c")
    (tmp_path / "c").rename(tmp_path / ".c.old")
    assert list(Catalog.open(tmp_path / "c")) == FILMS
    (tmp_path / "c").rename(tmp_path / ".c.old")
    Catalog.from_items([JAWS], tmp_path / "c")
    assert os.listdir(tmp_path) == ["c"]


def test_other_folders_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    for path in (tmp_path / "home", tmp_path / "home" / "letter.txt"):
        with pytest.raises(CatalogError, match="is there and is no catalogue"):
            Catalog.from_items(FILMS, path)
    with pytest.raises(CatalogError, match="cannot be built"):
        Catalog.from_items(FILMS, tmp_path / "home" / "letter.txt" / "c")
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


FULL_DISK = """
import resource, sys
from llmrec.catalog import Catalog
from llmrec.errors import CatalogError
from llmrec.types import Item
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
try:
    Catalog.from_items([Item(id=str(i), title=f"New {i}") for i in range(2_000)], sys.argv[1])
except CatalogError as e:
    print(e)
"""


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    Catalog.from_items(FILMS, tmp_path / "c")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "c")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be built: " in done.stdout
    assert "File too large" in done.stdout
    assert list(Catalog.open(tmp_path / "c")) == FILMS
    assert os.listdir(tmp_path) == ["c"]


def test_a_temporary_catalogue_goes_with_its_object() -> None:
    catalog = Catalog.from_items(FILMS)
    folder = catalog.path
    assert folder.is_dir()
    del catalog
    gc.collect()
    assert not folder.parent.exists()


# Opening.


def test_opening_what_is_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="there is no catalogue at"):
        Catalog.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(CatalogError, match=r"there is no catalogue at .*: give a folder that"):
        Catalog.open(tmp_path)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: (c / "catalog.json").write_text("{"),
        lambda c: (c / "catalog.json").write_text("[]"),
        lambda c: (c / "catalog.json").write_text('{"format": 99}'),
        lambda c: (c / "catalog.json").write_text('{"format": 1, "rows": 9, "dropped": 0}'),
        lambda c: shutil.rmtree(c / "items.lance"),
        lambda c: shutil.rmtree(c / "items.lance" / "data"),
        lambda c: shutil.rmtree(c / "items.lance" / "_versions"),
        lambda c: [_cut(f) for f in (c / "items.lance" / "data").iterdir()],
    ],
)
def test_opening_a_damaged_catalogue(films: Catalog, tmp_path: Path, damage: object) -> None:
    films.save(tmp_path / "c")
    damage(tmp_path / "c")  # type: ignore[operator]
    with pytest.raises(CatalogError, match="is damaged or was replaced"):
        Catalog.open(tmp_path / "c")


def test_a_folder_that_goes_away_is_told(films: Catalog, tmp_path: Path) -> None:
    films.save(tmp_path / "c")
    catalog = Catalog.open(tmp_path / "c")
    shutil.rmtree(tmp_path / "c")
    with pytest.raises(CatalogError, match="damaged or was replaced"):
        catalog.search("waitress", Preferences(year_min=1990))


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, llmrec.catalog\n"
        "print([m for m in ('lancedb', 'pyarrow', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
