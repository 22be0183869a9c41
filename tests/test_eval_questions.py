"""Generated questions: gold told by hand on the tiny world, and what no set may ever do."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import random
import string
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.questions import main
from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.evaluation.asking import items as about_items
from llmrec.evaluation.asking import queries
from llmrec.evaluation.asking.clusters import clusters, title_key
from llmrec.evaluation.asking.texts import directors_in, sentences, silent, subjects, talks_of
from llmrec.evaluation.asking.titles import Titles
from llmrec.evaluation.asking.words import NO, YES, Wanted, Wordings, filled, nouns, topics
from llmrec.evaluation.asking.world import Turn, World
from llmrec.evaluation.questions import (
    KINDS,
    PARTS,
    Question,
    questions_of,
    read_questions,
    write_questions,
)
from llmrec.records import Problem
from llmrec.titles import TitleIndex, fold
from llmrec.training.examples import make_rows
from llmrec.types import LANGUAGES, Item
from tests import world as tiny

WIKIPEDIA = Path(__file__).resolve().parents[2] / "shared/data/wikipedia-movies/movies.jsonl.gz"
SLOTS = {
    "t", "v", "e", "a", "b", "adj", "noun", "nouns", "mods", "o", "os", "O", "el", "El", "the",
    "thing", "athing", "topic",
}  # fmt: skip
PRODUCTS = tuple(
    Item(id=f"p{i}", title=title, description=description, price=price)
    for i, (title, description, price) in enumerate(
        (
            ("Acme Steel Kettle", "A kettle of brushed steel. It holds two litres of water.", 25.0),
            ("Bluebird Desk Lamp", "A lamp with an arm that bends. The shade is green.", 18.5),
            ("Trailblazer Backpack", "Room for a laptop and a rain cover. Made for hikers.", 60.0),
            ("Nordic Wool Blanket", "Woven in Norway from the wool of old sheep breeds.", 80.0),
            ("Garden Hose Set", "Twenty metres of hose, with a spray gun for the lawn.", 35.0),
            ("Chess Travel Board", "A folding board with magnets, for trains and planes.", 12.0),
            ("Pocket Star Atlas", "Maps of the night sky, with Orion on the cover.", 9.0),
            ("Espresso Cups Pair", "Two cups with a thick wall that keeps the coffee hot.", 15.0),
            ("Kids Rocket Puzzle", "Sixty pieces that become a rocket bound for Saturn.", 11.0),
            ("Yoga Mat Deluxe", "A mat that does not slip on wooden floors.", 28.0),
            ("Marble Chopping Board", "A slab of white stone from Carrara for the kitchen.", None),
            ("Oak Picture Frame", "", 21.0),
        )
    )
)


@cache
def world_set() -> list[Question]:
    return questions_of(tiny.catalog(), 500, seed=1)


@cache
def embedded_set() -> list[Question]:
    return questions_of(Catalog.embedded(), 300, seed=3)


@cache
def embedded_world() -> World:
    return World(Catalog.embedded(), 0)


def of(kind: str, field: str = "", source: str = "") -> list[Question]:
    return [
        q
        for q in world_set()
        if q.kind == kind and q.answerable and field in ("", q.field) and source in ("", q.source)
    ]


# The wordings


def test_both_sides_word_the_same_things() -> None:
    train, test = (set(Wordings(side).texts) for side in ("train", "test"))
    assert train == test


def test_there_are_a_dozen_wordings_of_each_thing_and_language() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for side in ("train", "test"):
        counts.update({key: len(texts) for key, texts in Wordings(side).texts.items()})
    kinds = ("fact.", "check.", "text.", "comparison.", "count", "superlative", "topic")
    few = {
        k: n
        for k, n in counts.items()
        if k[0].startswith(kinds) and ".topic." not in k[0] and "topic." not in k[0] and n < 12
    }
    assert few == {}
    assert {key for key, _ in counts} >= {f"check.topic.{t.key}" for t in topics()}


def test_no_wording_of_the_test_part_is_one_of_training() -> None:
    def bare(text: str) -> str:
        return fold(filled(text, dict.fromkeys(SLOTS, "x")))

    words = ("adj.", "sup.", "mod.")  # "longest" is said by everyone: the wordings around it differ
    sides = [
        {
            (language, bare(text))
            for (key, language), texts in Wordings(side).texts.items()
            for text in texts
            if not key.startswith(words)
        }
        for side in ("train", "test")
    ]
    assert sides[0] & sides[1] == set()


def test_every_wording_can_be_filled() -> None:
    for side in ("train", "test"):
        for key, texts in Wordings(side).texts.items():
            for text in texts:
                names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
                assert names <= SLOTS, f"{side} {key}: {text}"


def test_the_phrasing_of_a_question_tells_its_side() -> None:
    for q in embedded_set():
        side = "test" if q.split == "test" else "train"
        assert q.phrasing.startswith(f"{side}."), q
        assert f".{q.language}." in q.phrasing


# Gold, by hand


def test_facts_are_those_of_the_film() -> None:
    minutes = {
        "matrix": "136", "speed": "116", "alien": "117", "gladiator": "155", "city-of-god": "130",
        "central-station": "110", "amelie": "122", "toy-story": "81", "coco": "105",
        "nine-queens": "114", "secret": "129", "spirited-away": "125", "get-out": "104",
    }  # fmt: skip
    asked = of("fact", "runtime")
    assert asked
    for q in asked:
        assert q.values[0][0] == minutes[q.items[0]]
        assert minutes[q.items[0]] in q.answer
    for q in of("fact", "directors"):
        if q.items == ("matrix",):
            assert q.values == (("Lana Wachowski",), ("Lilly Wachowski",))
    genres = {q.items[0]: q.values for q in of("fact", "genres") if q.language == "pt"}
    for values in (genres[i] for i in genres if i == "toy-story"):
        assert values == (("Animação", "Animation"), ("Comédia", "Comedy"), ("Família", "Family"))


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Wanted(genre="Drama"), "gladiator city-of-god central-station secret"),
        (Wanted(genre="Animation", until=2000), "toy-story"),
        (Wanted(decade=1990), "matrix speed central-station toy-story"),
        (Wanted(year=2017), "coco get-out"),
        (Wanted(since=2009), "coco secret get-out"),
        (Wanted(country="Argentina", genre="Crime"), "nine-queens secret"),
        (Wanted(director="Ridley Scott"), "alien gladiator"),
        (Wanted(actor="Ricardo Darín", since=2001), "secret"),
        (Wanted(language="Portuguese"), "city-of-god central-station"),
        (Wanted(longest=105), "toy-story coco get-out"),
        (Wanted(shortest=130, country="USA"), "matrix gladiator"),
        (Wanted(genre="Western"), ""),
        (Wanted(cheapest=10.0), ""),
    ],
)
def test_what_is_counted(wanted: Wanted, ids: str) -> None:
    found = World(tiny.catalog(), 0).meeting(wanted)
    assert {i.id for i in found} == set(ids.split())


def test_counts_count_what_their_topic_says() -> None:
    asked = of("count")
    assert asked
    for q in asked:
        wanted = _read(q.topic)
        right = [f.id for f in tiny.FILMS if wanted.meets(f)]
        assert q.values[0][0] == str(len(right))
        assert q.items == tuple(right)


def test_with_a_person_means_one_side_of_the_camera() -> None:
    films = [
        Item(id=str(n), title=f"Film {name}", year=1990, directors=("Ann Both",), cast=cast)
        for n, (name, cast) in enumerate((("Ab", ("Ann Both", "Cy Actor")), ("Cd", ("Cy Actor",))))
    ]
    world = World(Catalog.from_items(films), 0)
    turn = Turn("en", "train", random.Random(0), Wordings("train"))
    drawn = {queries._wanted(world, turn, 14, *films).actor for _ in range(40)}
    assert drawn <= {"", "Cy Actor"}
    assert "Cy Actor" in drawn


def test_superlatives_are_of_the_whole_catalogue() -> None:
    asked = of("superlative")
    assert asked
    for q in asked:
        pool = [f for f in tiny.FILMS if _read(q.topic).meets(f) and getattr(f, q.field)]
        values = [getattr(f, q.field) for f in pool]
        ends = [
            {f.id for f in pool if getattr(f, q.field) == e} for e in (min(values), max(values))
        ]
        assert set(q.items) in ends
        if (q.topic, q.field) == ("", "runtime"):
            assert q.items in (("gladiator",), ("toy-story",))
        assert set(q.values[0]) == {n for f in pool if f.id in q.items for n in f.all_titles}


def _read(key: str) -> Wanted:
    numbers = {"decade", "year", "since", "until", "longest", "shortest"}
    pairs = [part.split("=", 1) for part in key.split(";") if part]
    return Wanted(**{k: int(v) if k in numbers else v for k, v in pairs})  # type: ignore[arg-type]


def test_comparisons_name_the_right_one() -> None:
    asked = [q for q in of("comparison") if "comparison.which" in q.phrasing]
    assert asked
    for q in asked:
        a, b = (tiny.BY_ID[i] for i in q.items)
        if not q.rivals:
            assert getattr(a, q.field) == getattr(b, q.field)
            continue
        best, rest = (a, b) if a.title in q.values[0] else (b, a)
        assert q.values == (best.all_titles,)
        assert q.rivals == rest.all_titles
        greater = getattr(best, q.field) > getattr(rest, q.field)
        less_is_asked = ("short", "old", "curt", "breve", "antig", "briefer", "earlier", "cort",
                         "viej", "velh")  # fmt: skip
        assert greater is not any(w in fold(q.answer.split(":")[0]) for w in less_is_asked), q


def test_claims_are_judged_by_the_film() -> None:
    for q in of("check"):
        film = tiny.BY_ID[q.items[0]]
        right = q.values == (YES[q.language],)
        assert right or q.values == (NO[q.language],)
        if q.field in ("directors", "cast"):
            named = [
                n for n in {p for f in tiny.FILMS for p in f.people} if fold(n) in fold(q.question)
            ]
            assert right == any(n in getattr(film, q.field) for n in named), q
        if q.field == "year" and str(film.year) in q.question:
            assert right


def test_two_films_share_a_director_all_or_none() -> None:
    pair = tiny.BY_ID["alien"], tiny.BY_ID["gladiator"]
    assert about_items._shared(*pair, "directors") is True
    assert about_items._shared(pair[0], tiny.BY_ID["matrix"], "directors") is False
    half = Item(id="x", title="X", directors=("Ridley Scott", "Another Person"))
    assert about_items._shared(pair[0], half, "directors") is None
    assert about_items._shared(pair[0], tiny.BY_ID["lost"], "cast") is None


def test_a_text_is_asked_about_what_one_sentence_says() -> None:
    item = Item(
        id="x",
        title="Harbour Nights",
        description="A sailor returns to Lisbon. "
        "Dr. Vega hides a map in the lighthouse, and waits.",
    )
    assert sentences(item.description) == [
        "A sailor returns to Lisbon.",
        "Dr. Vega hides a map in the lighthouse, and waits.",
    ]
    found = dict(subjects(item, "en"))
    assert found["Lisbon"] == "A sailor returns to Lisbon."
    assert found["lighthouse"].startswith("Dr. Vega")
    assert "Harbour" not in found
    assert talks_of(item, "lighthouse keepers")
    assert not talks_of(item, "Saturn")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "X is a 1923 film directed by J. Searle Dawley and starring Ann Lee.",
            ("J. Searle Dawley",),
        ),
        ("It was directed by Ana Lima and Bo Ek, from a play.", ("Ana Lima", "Bo Ek")),
        ("It is a remake of a film directed by Ana Lima. Bo Ek directed it.", ()),
        ("It was co-directed by Ana Lima.", ()),
        ('It was directed by A. Edward "Eddie" Lima and produced by Bo Ek.', ()),
        ('It was directed by Ana Lima and Bo "Bob" Ek.', ()),
        ("A film about a bus.", ()),
    ],
)
def test_a_director_that_only_the_text_tells(text: str, names: tuple[str, ...]) -> None:
    assert directors_in(Item(id="x", title="X", description=text)) == names


def test_silence_is_told_of_field_and_text() -> None:
    lost = tiny.BY_ID["lost"]
    assert silent(lost, "runtime")
    assert silent(lost, "year")
    assert not silent(tiny.BY_ID["matrix"], "runtime")
    assert not silent(Item(id="x", title="X", description="It runs 90 minutes."), "runtime")
    assert not silent(Item(id="x", title="X", description="A 1923 film."), "year")


# What no set may do


@pytest.mark.parametrize("source", [world_set, embedded_set])
def test_no_cluster_and_no_item_straddles_parts(source: object) -> None:
    made: list[Question] = source()  # type: ignore[operator]
    parts: defaultdict[str, set[str]] = defaultdict(set)
    for q in made:
        parts[q.cluster].add(q.split)
        for i in q.items if q.kind != "count" else ():
            parts[f"item {i}"].add(q.split)
    assert parts
    assert [k for k, v in parts.items() if len(v) > 1] == []


TITLE = st.sampled_from(["Blue Harbour", "Harbour", "The Oak Desk", "Rocky", "Zanzibar Road"])
VARIANT = st.sampled_from(["", " II", " 2", ": Part 3", " (1999)", " Large", " Red", ", 40 cm"])


@given(st.lists(st.tuples(TITLE, VARIANT), min_size=1, max_size=12), st.integers(0, 5))
@settings(max_examples=40)
def test_editions_of_one_thing_are_in_one_part(pairs: list[tuple[str, str]], seed: int) -> None:
    from llmrec.datasets.base import part_of

    made = [Item(id=f"i{n}", title=a + b) for n, (a, b) in enumerate(pairs)]
    of_item = clusters(made)
    for (i, a), (j, b) in itertools.combinations(enumerate(made), 2):
        if title_key(a.title) == title_key(b.title):
            assert of_item[i] == of_item[j]
            parts = {part_of(c, seed=seed, parts=PARTS) for c in (of_item[i], of_item[j])}
            assert len(parts) == 1
    assert all(c in {m.id for m in made} for c in of_item)


def test_descriptions_that_are_nearly_the_same_are_one_cluster() -> None:
    text = "A light tent for two people with a rain fly and steel pegs in a small green bag"
    made = [
        Item(id="a", title="Alpine Tent", description=text),
        Item(id="b", title="Camp Shelter", description=text + " for hikers"),
        Item(
            id="c",
            title="Garden Chair",
            description="A chair of oak that folds and is easy to store",
        ),
    ]
    assert clusters(made) == ["a", "a", "c"]
    assert title_key("The Matrix") == title_key("Matrix 2")
    assert title_key("1917") != title_key("1984")


def test_a_fifth_cannot_be_answered_in_every_kind_and_language() -> None:
    made = embedded_set()
    assert len(made) == 300
    assert {q.kind for q in made} == set(KINDS)
    assert {q.language for q in made} == set(LANGUAGES)
    share = sum(not q.answerable for q in made) / len(made)
    assert 0.2 <= share < 0.24
    assert {q.why for q in made if not q.answerable} == {
        "no such fact", "no such title", "not in the text", "nothing meets it",
    }  # fmt: skip
    assert all(any(q.kind == k and not q.answerable for q in made) for k in KINDS)
    follow = sum(bool(q.conversation) for q in made) / len(made)
    assert 0.07 < follow < 0.14


def test_what_cannot_be_answered_has_no_answer() -> None:
    catalog = Catalog.embedded()
    names = TitleIndex([i.all_titles for i in catalog])
    for q in embedded_set():
        if q.answerable:
            assert q.answers
            assert q.answer == q.answers[0] or q.judged == "text"
            assert q.values or q.judged == "text"
            assert q.items
            continue
        assert (q.judged, q.answers, q.source) == ("refusal", (), "nothing")
        assert q.answer
        if q.why == "no such fact" and q.items and q.field:
            assert any(not getattr(catalog.get(i), q.field) for i in q.items)
        if q.why == "not in the text":
            item = catalog.get(q.items[0])
            assert fold(q.topic) not in fold(" ".join([item.title, *item.descriptions.values()]))
        if q.why == "no such title" and q.kind != "comparison":
            title = q.cluster.removeprefix("unknown:")
            found = {title[f.start : f.end] for f in names.find(title)}
            assert found <= {"el", "la", "o", "a"}  # a film is called "Él"
            assert catalog.match_title(title).row is None


def test_a_question_names_its_item_unless_it_was_spoken_of() -> None:
    catalog = Catalog.embedded()
    for q in embedded_set():
        if q.conversation:
            assert q.conversation[-1].items == q.items
            assert q.messages[-1].content == q.question
        elif q.answerable and q.kind in ("fact", "check", "text") and not q.noise:
            names = catalog.get(q.items[0]).all_titles
            assert any(fold(n) in fold(q.question) for n in names), q.question


def test_a_slip_makes_no_other_title() -> None:
    catalog, dice = Catalog.embedded(), random.Random(5)
    items = list(catalog)
    titles = Titles(items, catalog, noise=1.0)
    slips: Counter[str] = Counter()
    for item in dice.sample(items, 150):
        named = titles.write(item, dice.choice(LANGUAGES), dice)
        if named is None:
            continue
        slips[named.noise] += 1
        if not named.dated:
            match = catalog.match_title(named.text.strip("“”«»"))
            assert match.item is None or match.item.id == item.id, named
    assert {"typo", "lower", "accents", "article"} <= set(slips)


def test_of_equal_titles_the_year_is_said_or_none_is_asked() -> None:
    films = [
        Item(id="a", title="Night Bus", year=1950),
        Item(id="b", title="Night Bus", year=1990),
        Item(id="c", title="Day Bus", year=2001),
        Item(id="d", title="Day Bus"),
    ]
    titles, dice = Titles(films, Catalog.from_items(films), 0.0), random.Random(0)
    for _ in range(20):
        named = titles.write(films[0], "en", dice)
        assert named is not None
        assert "1950" in named.text
        assert titles.write(films[0], "en", dice, dated=False) is None
        assert titles.write(films[3], "en", dice) is None


def test_an_invented_title_is_like_none() -> None:
    world, dice = embedded_world(), random.Random(2)
    for language in LANGUAGES:
        for _ in range(10):
            assert world.titles.is_new(world.titles.invented(language, dice, product=False))
    assert not world.titles.is_new("The Matrix")
    assert not world.titles.is_new("The Matirx")
    assert not world.titles.is_new("The Matrix of Vorarmond")


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_every_draw_holds_what_its_kind_promises(seed: int) -> None:
    world, dice = embedded_world(), random.Random(seed)
    make = dice.choice([about_items.fact, about_items.check, about_items.text,
                        about_items.comparison, queries.count, queries.superlative])  # fmt: skip
    part = dice.choice(list(PARTS))
    words = Wordings("test" if part == "test" else "train")
    draft = make(world, Turn(dice.choice(LANGUAGES), part, dice, words, dice.random() < 0.8))
    if draft is None:
        return
    assert "{" not in draft.question
    assert "  " not in draft.question
    assert bool(draft.why) == (draft.judged == "refusal")
    assert draft.cluster
    if draft.judged == "values":
        held = fold(draft.answer)
        assert all(any(fold(v) in held for v in one) for one in draft.values), draft


# Products


def test_products_are_asked_about_as_products() -> None:
    made = questions_of(Catalog.from_items(PRODUCTS), 200, seed=0)
    assert {q.kind for q in made} == set(KINDS)
    text = fold(" ".join(q.question for q in made))
    assert not any(w in text.split() for w in ("film", "films", "movie", "filme", "pelicula"))
    asked = [q for q in made if (q.kind, q.field, q.answerable) == ("fact", "price", True)]
    assert asked
    price = {p.id: p.price for p in PRODUCTS}
    for q in asked:
        assert q.values[0][0] == f"{price[q.items[0]]:.2f}"
    assert any(q.why == "no such fact" and q.topic in {t.key for t in topics()} for q in made)
    assert {q.field for q in made if q.kind == "superlative"} <= {"price", "rating"}


def test_of_little_that_can_be_answered_little_is_refused() -> None:
    made = questions_of(
        Catalog.from_items([dataclasses.replace(p, price=None) for p in PRODUCTS]), 100, seed=0
    )
    assert {q.kind for q in made if q.answerable} == {"text"}
    assert 0 < sum(not q.answerable for q in made) <= 0.25 * len(made)


# Files


def test_the_script_writes_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "tiny"
    tiny.catalog().save(catalog)
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        args = ["--catalog", str(catalog), "--n", "40", "--out", str(tmp_path / name)]
        assert main([*args, "--seed", seed]) == 0
    files = ["README.md", *(f"{p}.jsonl" for p in PARTS)]
    a, b, c = ([(tmp_path / n / f).read_bytes() for f in files] for n in "abc")
    assert a == b
    assert a != c
    again = [sys.executable, "eval/questions.py", *args[:-1], str(tmp_path / "d"), "--seed", "7"]
    other = {**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": "."}
    subprocess.run(again, check=True, env=other, cwd=Path(__file__).resolve().parent.parent)
    assert a == [(tmp_path / "d" / f).read_bytes() for f in files]
    assert "questions; README.md" in capsys.readouterr().out
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| superlative |" in card
    assert str(tmp_path) not in card


def test_a_set_is_read_back_and_trained_on(tmp_path: Path) -> None:
    made = world_set()
    write_questions(made, tmp_path / "set", {"seed": "1"})
    read = [q for part in PARTS for q in read_questions(tmp_path / "set" / f"{part}.jsonl")]
    assert read == [q for part in PARTS for q in made if q.split == part]
    train = tmp_path / "set" / "train.jsonl"
    rows = [
        *make_rows(train, "train", task="answer"),
        *make_rows(train, "validation", task="answer"),
    ]
    assert len(rows) == sum(q.split == "train" for q in made)
    refusals = {q.answer for q in made if not q.answerable}
    assert refusals & {"".join(r.answer) for r in rows}


def test_a_broken_line_is_told_of(tmp_path: Path) -> None:
    row = world_set()[0].to_dict()
    lines = [
        json.dumps(row),
        "{nonsense",
        json.dumps({"id": "x"}),
        json.dumps({**row, "kind": "joke"}),
    ]
    file = tmp_path / "set.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    problems: list[Problem] = []
    assert read_questions(file, problems) == [world_set()[0]]
    assert [p.line for p in problems] == [2, 3, 4]
    assert "joke" in problems[2].reason
    with pytest.raises(InputError, match=r"there is no file .*python eval/questions\.py"):
        read_questions(tmp_path / "other.jsonl")
    file.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no question"):
        read_questions(file)


def test_what_is_asked_of_the_generator_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="n is 0"):
        questions_of(tiny.catalog(), 0)
    with pytest.raises(InputError, match="use some of en, pt, es"):
        questions_of(tiny.catalog(), 10, languages=("fr",))
    bare = Catalog.from_items([Item(id=str(i), title=f"Title {i} Only") for i in range(9)])
    with pytest.raises(InputError, match="nothing to ask about"):
        questions_of(bare, 30)
    told: list[str] = []
    few = questions_of(Catalog.from_items(PRODUCTS[:3]), 90, say=told.append)
    assert 0 < len(few) < 90
    assert told == [f"{len(few)} questions of the 90 asked for: the catalogue has no more to ask"]
    assert main(["--catalog", "no/such/folder", "--out", "unused"]) == 1
    assert "questions: there is no catalogue" in capsys.readouterr().err


def test_one_language_is_enough() -> None:
    assert {q.language for q in questions_of(tiny.catalog(), 30, languages=("es",))} == {"es"}


def test_the_nouns_know_the_genres_of_the_embedded_films() -> None:
    known = {g for i in Catalog.embedded() for g in i.genres}
    assert len(known & set(nouns())) >= 15


@pytest.mark.skipif(not WIKIPEDIA.is_file(), reason="the Wikipedia films are not here")
def test_films_whose_facts_stand_in_their_text(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    with gzip.open(WIKIPEDIA, "rb") as raw:
        file.write_bytes(b"".join(itertools.islice(raw, 20_000, 20_600)))
    out = tmp_path / "set"
    args = ["--catalog", str(file), "--map", "description=extract", "--n", "150"]
    assert main([*args, "--out", str(out)]) == 0
    made = [q for part in PARTS for q in read_questions(out / f"{part}.jsonl")]
    assert len(made) == 150
    told = [q for q in made if q.field == "directors" and q.answerable]
    assert told
    for q in told:
        assert q.source == "description"
        assert all(name in q.context["description"] for (name,) in q.values)
    lacking = [q for q in made if q.why == "no such fact" and q.field == "runtime" and q.items]
    assert all("minute" not in q.context.get("description", "") for q in lacking)
