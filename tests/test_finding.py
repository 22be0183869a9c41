from __future__ import annotations

import itertools
from functools import cache

import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.answering.finding import ASKING, Named, find_named, masked
from llmrec.answering.reading import Reader
from llmrec.catalog import Catalog
from llmrec.lexicon import Lexicon
from llmrec.types import LANGUAGES, Item


@cache
def small() -> Reader:
    return Reader(world.catalog(), world.lexicon())


@cache
def real() -> Reader:
    catalog = Catalog.embedded()
    items = catalog.items_at(range(len(catalog)))
    return Reader(catalog, Lexicon(items, this_year=world.THIS_YEAR))


def known(reader: Reader, message: str) -> list[str]:
    """The labels of the films that a message names."""
    found = reader.named(message).known
    return [i.label for i in reader.catalog.items_at([m.rows[0] for m in found])]


def unknown(reader: Reader, message: str) -> list[str]:
    return [m.text for m in reader.named(message).unknown]


# -- the tiny world ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("Who directed Coco?", ["Coco (2017)"]),
        ("who directed coco", ["Coco (2017)"]),
        ("WHO DIRECTED COCO?", ["Coco (2017)"]),
        ("Coco", ["Coco (2017)"]),
        ("I love Coco. Who directed it?", ["Coco (2017)"]),
        ("Speed: who directed it?", ["Speed (1994)"]),
        ("Who directed “City of God”?", ["City of God (2002)"]),
        ('Who directed "city of god"?', ["City of God (2002)"]),
        ("Who directed 'City of God'?", ["City of God (2002)"]),
        ("Quem dirigiu «Nove Rainhas»?", ["Nine Queens (2000)"]),
        ("quem dirigiu cidade de deus", ["City of God (2002)"]),
        ("¿Quién dirigió Ciudad de Dios?", ["City of God (2002)"]),
        ("quien dirigio el secreto de sus ojos", ["The Secret in Their Eyes (2009)"]),
        ("who directed o segredo dos seus olhos?", ["The Secret in Their Eyes (2009)"]),
        ("who directed amelie", ["Amélie (2001)"]),
        ("who directed  the   secret in   their eyes?", ["The Secret in Their Eyes (2009)"]),
        ("who directed gladdiator?", ["Gladiator (2000)"]),
        ("how long is the matriks?", ["The Matrix (1999)"]),
        ("Who directed The Secret in Their Eye?", ["The Secret in Their Eyes (2009)"]),
        ("quem dirigiu cidade d deus", ["City of God (2002)"]),
        ("Who directed The Matrix (1999)?", ["The Matrix (1999)"]),
        ("Who directed The Matrix from 1999?", ["The Matrix (1999)"]),
        ("Which is longer, Coco or Speed?", ["Coco (2017)", "Speed (1994)"]),
        ("Qual é mais longo, Speed ou Coco?", ["Speed (1994)", "Coco (2017)"]),
        ("Is Alien longer than Coco?", ["Alien (1979)", "Coco (2017)"]),
        (
            "Which is longer, Coco, Speed or Toy Story?",
            ["Coco (2017)", "Speed (1994)", "Toy Story (1995)"],
        ),
    ],
)
def test_the_films_that_a_message_names(message: str, right: list[str]) -> None:
    assert known(small(), message) == right
    assert not unknown(small(), message)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Who directed Zorkblat Rising?", "Zorkblat Rising"),
        ("Quem dirigiu Zorkblat Rising?", "Zorkblat Rising"),
        ("¿Quién dirigió Zorkblat Rising?", "Zorkblat Rising"),
        ('Who directed "zork"?', "zork"),
        ("Who directed Diablo Coco PTY?", "Diablo Coco PTY"),
        ("Who directed Diablo Alien PTY?", "Diablo Alien PTY"),
        ("Who directed Coco Chanel Returns?", "Coco Chanel Returns"),
        ("How much is the Zorkblat 3000 Toaster?", "Zorkblat 3000 Toaster"),
        ("Which is longer, Speed or Zorkblat Rising?", "Zorkblat Rising"),
    ],
)
def test_a_name_that_nobody_knows_is_told_whole(message: str, name: str) -> None:
    assert unknown(small(), message) == [name]


@pytest.mark.parametrize("message", ["Who directed Toy Story 2?", "quem dirigiu Matrix 4?"])
def test_a_sequel_that_is_not_there_is_not_the_first_part(message: str) -> None:
    assert known(small(), message) == []


def test_a_title_with_the_wrong_year_is_no_title() -> None:
    named = small().named("Who directed The Matrix (2011)?")
    assert not named.known
    (name,) = [m.text for m in named.unknown]
    assert name.startswith("The Matrix")


@pytest.mark.parametrize(
    "message",
    [
        "what is the longest film?",
        "how many comedies do you have?",
        "quantos filmes há?",
        "¿cuál es la película más corta?",
        "who directed it?",
        "what about the second one?",
        "recommend me something",
        "films by Ridley Scott",
    ],
)
def test_a_message_without_a_title(message: str) -> None:
    assert known(small(), message) == []


def test_what_is_written_of_a_mention_is_where_it_stands() -> None:
    message = "Which is longer, «Coco» or Speed (1994)?"
    first, second = small().named(message).known
    assert message[first.start : first.end] == "«Coco»"
    assert first.text == "Coco"
    assert message[second.start : second.end].startswith("Speed (1994")
    assert second.text == "Speed"


def test_a_misspelt_title_has_less_than_the_whole_score() -> None:
    (right,) = small().named("who directed Gladiator").known
    (misspelt,) = small().named("who directed Gladdiator").known
    assert right.score == 1
    assert 0.8 <= misspelt.score < 1
    assert right.rows == misspelt.rows


def test_titles_become_marks_in_their_order() -> None:
    message = "Which is longer, Coco or Zorkblat Rising, and Speed?"
    assert masked(message, small().named(message)) == "Which is longer, [t1] or [t2], and [t3]?"
    assert masked("nothing here", Named()) == "nothing here"


TWINS = (
    Item("old", "Nosferatu", year=1922, popularity=0.4),
    Item("new", "Nosferatu", year=2024, popularity=0.9),
    Item("part-2", "The Long Way Part II", year=1990),
    Item("part-1", "The Long Way", year=1980),
    Item("her", "Her", year=2013),
    Item("it", "It", year=2017),
    Item("up", "Up", year=2009),
    Item("no", "No", year=2012),
    Item("rojo", "Rojo", year=2018),
    Item("1917", "1917", year=2019),
)


@cache
def twins() -> Reader:
    return Reader(Catalog.from_items(TWINS), Lexicon(TWINS, this_year=world.THIS_YEAR))


def of_twins(message: str) -> list[str]:
    found = twins().named(message).known
    return [twins().catalog.items_at([m.rows[0]])[0].id for m in found]


@pytest.mark.parametrize(
    ("message", "id"),
    [
        ("who directed Nosferatu?", "new"),
        ("who directed Nosferatu (1922)?", "old"),
        ("who directed Nosferatu of 1922?", "old"),
        ("quem dirigiu Nosferatu de 2024?", "new"),
        ("who directed the long way part 2?", "part-2"),
        ("who directed The Long Way Part II?", "part-2"),
        ("who directed The Long Way: Part II?", "part-2"),
        ("who directed The Long Way?", "part-1"),
        ("who directed Her?", "her"),
        ("who directed “her”?", "her"),
        ("who directed her", "her"),
        ("how long is It?", "it"),
        ("who is in Up", "up"),
        ("is he in Up?", "up"),
        ("what is Up about?", "up"),
        ("Who directed No?", "no"),
        ("Who directed Rojo?", "rojo"),
        ("what is 1917 about?", "1917"),
        ("how long is 1917?", "1917"),
    ],
)
def test_namesakes_parts_and_titles_of_everyday_words(message: str, id: str) -> None:
    assert of_twins(message) == [id]


def test_namesakes_are_all_told_the_best_known_first() -> None:
    (mention,) = twins().named("who directed Nosferatu?").known
    assert [i.year for i in twins().catalog.items_at(mention.rows)] == [2024, 1922]


@pytest.mark.parametrize("message", ["who directed Diablo Rojo PTY?", "Diablo Rojo PTY"])
def test_a_part_of_a_longer_name_is_not_the_title(message: str) -> None:
    assert of_twins(message) == []


def test_the_longer_name_is_told() -> None:
    assert unknown(twins(), "Who directed Diablo Rojo PTY?") == ["Diablo Rojo PTY"]


@pytest.mark.parametrize(
    "message", ["a film of 1917", "is it sad?", "no, thanks", "give me her films", "what's up?"]
)
def test_everyday_words_are_no_sure_titles(message: str) -> None:
    assert not any(m.sure for m in twins().named(message).known)


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("which is longer, Up or Her?", ["up", "her"]),
        ("Which is older: It or Her?", ["it", "her"]),
        ("which is newer, Rojo or Up?", ["rojo", "up"]),
    ],
)
def test_everyday_words_in_a_row_are_titles_together(message: str, right: list[str]) -> None:
    assert of_twins(message) == right


# -- the embedded catalogue ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("who directed Her?", ["Her (2013)"]),
        ("How long is It?", ["It (2017)"]),
        ("Who directed Heat?", ["Heat (1995)"]),
        ("who directed the godfather part 2?", ["The Godfather Part II (1974)"]),
        ("Who directed The Godfather: Part II?", ["The Godfather Part II (1974)"]),
        ("Who directed Dune Part 2?", ["Dune: Part Two (2024)"]),
        ("who directed Toy Story 2?", ["Toy Story 2 (1999)"]),
        ("Who directed King Kong (2005)?", ["King Kong (2005)"]),
        ("Who directed King Kong (1933)?", ["King Kong (1933)"]),
        ("Who directed Little Women from 1994?", ["Little Women (1994)"]),
        ("quem dirigiu O Poderoso Chefão?", ["The Godfather (1972)"]),
        ("quien dirigio El padrino", ["The Godfather (1972)"]),
        ("Quem dirigiu Tubarão?", ["Jaws (1975)"]),
        ("¿Quién dirigió Tiburón?", ["Jaws (1975)"]),
        ("who directed pulp fictoin?", ["Pulp Fiction (1994)"]),
        ("Who directed Paris, Texas?", ["Paris, Texas (1984)"]),
        ("What is the weather in Paris, Texas?", ["Paris, Texas (1984)"]),
        ("Who plays in 12 Angry Men?", ["12 Angry Men (1957)"]),
        ("12 homens e uma sentença", ["12 Angry Men (1957)"]),
        ("what is 1917 about?", ["1917 (2019)"]),
        ("how long is 300?", ["300 (2006)"]),
        ("Who directed Se7en?", ["Seven (1995)"]),
        ("Is Alien longer than Aliens?", ["Alien (1979)", "Aliens (1986)"]),
        ("Which is longer, Heat or Ran?", ["Heat (1995)", "Ran (1985)"]),
        ("which is longer, Up or Her?", ["Up (2009)", "Her (2013)"]),
        ("Was Brazil made in Brazil?", ["Brazil (1985)"]),
        ("Quem dirigiu Ela?", ["Her (2013)"]),
    ],
)
def test_real_titles(message: str, right: list[str]) -> None:
    assert known(real(), message) == right


@pytest.mark.parametrize(
    "message",
    [
        "Who directed Diablo Rojo PTY?",
        "Who directed Heat Wave Zorkblat?",
        "Who directed The Heat of the Zork?",
        "Who directed My Brazil Summer?",
        "Who directed Toy Story 7?",
        "Who directed King Kong (1976)?",
        "What is the capital of Peru?",
        "how do I bake bread at home?",
    ],
)
def test_no_real_film_is_guessed(message: str) -> None:
    assert known(real(), message) == []


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("De que país é Drive My Car?", "Drive My Car (2021)"),
        ("Is Robin Hood: Prince of Thieves long?", "Robin Hood: Prince of Thieves (1991)"),
        ("what country is the spirit of the beehive from?", "The Spirit of the Beehive (1973)"),
        ("Qual é o idioma de Planeta dos Macacos: A Origem?",
         "Rise of the Planet of the Apes (2011)"),
        ("¿De qué género es Vengadores: Infinity War?", "Avengers: Infinity War (2018)"),
        ("De que ano é os caça-fantasmas?", "Ghostbusters (1984)"),
        ("De que país é 127 horas?", "127 Hours (2010)"),
    ],
)  # fmt: skip
def test_a_whole_title_goes_before_its_parts(message: str, right: str) -> None:
    assert known(real(), message) == [right]


FORMS = ("Who directed {}?", "Quem dirigiu {}?", "¿Quién dirigió {}?")


def missed(step: int) -> list[str]:
    """The titles of every so manieth film, in three languages, that are not found in a question."""
    catalog = real().catalog
    wrong = []
    for item in catalog.items_at(range(0, len(catalog), step)):
        for language, form in zip(LANGUAGES, FORMS, strict=True):
            title = item.title_in(language)
            same = {i.label for i in catalog.items_at(catalog.title_index.lookup(title))}
            if not same & {*known(real(), form.format(title))[:1]}:
                wrong.append(f"{language} {title}")
    return wrong


def test_titles_are_found_in_questions() -> None:
    assert missed(23) == []


@pytest.mark.slow
def test_all_titles_are_found_in_questions() -> None:
    assert len(missed(1)) <= 10  # of 5,445: some titles are words that only ask


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("Who directed The Godfather 2?", "The Godfather Part II (1974)"),
        ("who directed back to the future 3?", "Back to the Future Part III (1990)"),
    ],
)
def test_a_number_behind_a_title_is_never_the_first_film(message: str, right: str) -> None:
    assert known(real(), message) in ([right], [])


TITLES = st.sampled_from([i for i in world.FILMS if i.title.casefold() not in ASKING])
ROUND = st.sampled_from(
    ["Who directed “{}”?", "quem dirigiu «{}»?", '¿Quién dirigió "{}"?', "{}", "how long is {}"]
)


@given(film=TITLES, words=ROUND, data=st.data())
@settings(max_examples=150)
def test_every_title_is_found_however_it_is_asked(
    film: Item, words: str, data: st.DataObject
) -> None:
    title = data.draw(st.sampled_from(film.all_titles))
    assert known(small(), words.format(title)) == [film.label]


PIECES = st.sampled_from(
    "Coco or Speed “ ” the Zork (1999) 2 , ? [t1] İ ß 's Up Alien comedy and of".split(" ")
)


@given(st.text(max_size=80) | st.lists(PIECES, max_size=12).map(" ".join))
@settings(max_examples=200)
def test_mentions_never_overlap(message: str) -> None:
    named = find_named(message, world.catalog().title_index)
    spans = sorted((m.start, m.end) for m in (*named.known, *named.unknown))
    assert all(0 <= start < end <= len(message) for start, end in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert all(m.rows and 0 < m.score <= 1 for m in named.known)
    assert not any(m.rows for m in named.unknown)
    masked(message, named)
