from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import BY_ID, FILMS

from llmrec.types import LANGUAGES, Item, Preferences, Recommendation
from llmrec.wishes import Wish, wishes
from llmrec.wording import (
    chip_texts,
    display_name,
    duration,
    reason,
    reply_text,
    wish_label,
    wish_labels,
)

LABELS: list[tuple[str, tuple[str, ...], str, str, str]] = [
    ("genres", ("Horror",), "horror", "terror", "terror"),
    ("genres", ("Sci-Fi",), "Sci-Fi", "ficção científica", "ciencia ficción"),
    ("genres_any", ("Action", "Comedy"), "action or comedy", "ação ou comédia",
     "acción o comedia"),
    ("genres_out", ("Horror",), "no horror", "sem terror", "sin terror"),
    ("people", ("Tom Hanks",), "with Tom Hanks", "com Tom Hanks", "con Tom Hanks"),
    ("people_any", ("Tom Hanks", "Ricardo Darín"), "with Tom Hanks or Ricardo Darín",
     "com Tom Hanks ou Ricardo Darín", "con Tom Hanks o Ricardo Darín"),
    ("people_out", ("Tom Hanks",), "without Tom Hanks", "sem Tom Hanks", "sin Tom Hanks"),
    ("directors", ("Ridley Scott",), "directed by Ridley Scott", "com direção de Ridley Scott",
     "con dirección de Ridley Scott"),
    ("countries", ("France",), "from France", "origem: França", "origen: Francia"),
    ("countries_out", ("France",), "not from France", "fora: França", "fuera: Francia"),
    ("languages", ("French",), "in French", "em francês", "en francés"),
    ("languages_out", ("French",), "not in French", "não em francês", "no en francés"),
    ("year_min", ("1990",), "from 1990 on", "de 1990 em diante", "de 1990 en adelante"),
    ("year_max", ("1999",), "until 1999", "até 1999", "hasta 1999"),
    ("runtime_min", ("150",), "at least 2 h 30", "no mínimo 2 h 30", "como mínimo 2 h 30"),
    ("runtime_max", ("120",), "at most 2 h", "no máximo 2 h", "como máximo 2 h"),
    ("keywords_out", ("violent",), "avoiding: violent", "evitando: violência",
     "evitando: violencia"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "language", "label"),
    [
        pytest.param(Wish(row[0], row[1]), language, row[2 + i], id=f"{language}: {row[2 + i]}")
        for row in LABELS
        for i, language in enumerate(LANGUAGES)
    ],
)
def test_labels(wish: Wish, language: str, label: str) -> None:
    assert wish_label(wish, language) == label


FULL = Preferences(
    genres=("Horror",), genres_any=("Action", "Comedy"), genres_out=("War",), people=("A B",),
    people_any=("C D", "E F"), people_out=("G H",), directors=("I J",), countries=("France",),
    countries_out=("Spain",), languages=("French",), languages_out=("Spanish",), year_min=1990,
    year_max=1999, runtime_min=90, runtime_max=120, keywords_out=("violent",),
)  # fmt: skip


def test_every_hard_wish_is_in_the_table() -> None:
    assert {w.field for w in wishes(FULL)} == {row[0] for row in LABELS}


@pytest.mark.parametrize("language", LANGUAGES)
def test_two_bounds_of_years_are_one_label(language: str) -> None:
    labels = wish_labels(wishes(FULL), language)
    assert len(labels) == len(wishes(FULL)) - 1
    assert len([x for x in labels if "1990" in x]) == 1
    assert [x for x in labels if "1990" in x] == [x for x in labels if "1999" in x]
    one_year = wish_labels(wishes(Preferences(year_min=1994, year_max=1994)), language)
    assert len(one_year) == 1
    assert one_year[0].count("1994") == 1


def test_one_bound_of_years_is_its_own_label() -> None:
    assert wish_labels(wishes(Preferences(year_min=1990)), "en") == ("from 1990 on",)
    assert wish_labels(wishes(Preferences(year_max=1990)), "en") == ("until 1990",)
    assert wish_labels((), "en") == ()


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(45, "45 min"), (59, "59 min"), (60, "1 h"), (107, "1 h 47"), (120, "2 h"), (125, "2 h 05")],
)
def test_durations(minutes: int, text: str) -> None:
    assert duration(minutes) == text


@pytest.mark.parametrize("language", ["pt", "es"])
@pytest.mark.parametrize("film", FILMS, ids=lambda f: f.id)
def test_facts_have_names_in_every_language(film: Item, language: str) -> None:
    for kind, names in (
        ("genre", film.genres), ("keyword", film.keywords), ("country", film.countries),
        ("language", film.languages),
    ):  # fmt: skip
        for name in names:
            assert display_name(kind, name, language)
            assert display_name(kind, name, "en") == name


def test_a_name_without_a_translation_stays() -> None:
    assert display_name("genre", "Gumshoe", "pt") == "Gumshoe"
    assert display_name("country", "Brazil", "pt") == "Brasil"
    assert display_name("language", "Spanish", "es") == "español"


# -- reasons -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "crime, 2002, 2 h 10, Brazil, in Portuguese, directed by Fernando Meirelles, "
               "with Alexandre Rodrigues"),
        ("pt", "crime, 2002, 2 h 10, Brasil, em português, com direção de Fernando Meirelles, "
               "com Alexandre Rodrigues"),
        ("es", "crimen, 2002, 2 h 10, Brasil, en portugués, con dirección de Fernando Meirelles, "
               "con Alexandre Rodrigues"),
    ],
)  # fmt: skip
def test_a_reason_gives_the_facts_that_were_asked_for(language: str, text: str) -> None:
    wanted = Preferences(
        genres=("Crime",), year_min=2000, countries=("Brazil",), languages=("Portuguese",),
        directors=("Fernando Meirelles",), people=("Alexandre Rodrigues",),
    )  # fmt: skip
    assert reason(BY_ID["city-of-god"], wanted, wishes(wanted), None, language) == text


def test_a_reason_without_wishes_says_what_it_is() -> None:
    assert reason(BY_ID["amelie"], Preferences(), (), None, "en") == "comedy, romance, 2 h 02"


def test_a_theme_asked_for_is_named_where_the_film_has_it() -> None:
    wanted = Preferences(keywords=("heist", "sad"))
    assert "heist" in reason(BY_ID["nine-queens"], wanted, (), None, "en").split(", ")
    assert "sad" not in reason(BY_ID["nine-queens"], wanted, (), None, "en").split(", ")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "shares Ricardo Darín and crime with Nine Queens"),
        ("pt", "tem Ricardo Darín e crime em comum com Nove Rainhas"),
        ("es", "tiene Ricardo Darín y crimen en común con Nueve reinas"),
    ],
)
def test_a_reason_names_what_is_shared(language: str, text: str) -> None:
    given_reason = reason(BY_ID["secret"], Preferences(), (), BY_ID["nine-queens"], language)
    assert given_reason.endswith(text)


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "close to Amélie"), ("pt", "próximo de O Fabuloso Destino de Amélie Poulain"),
     ("es", "cercana a Amelie")],
)  # fmt: skip
def test_a_reason_says_close_where_nothing_is_shared(language: str, text: str) -> None:
    assert reason(BY_ID["lost"], Preferences(), (), BY_ID["amelie"], language) == text


def test_a_film_without_facts_has_an_empty_reason() -> None:
    assert reason(BY_ID["lost"], Preferences(), (), None, "en") == ""


@given(st.sampled_from(FILMS), st.sampled_from(FILMS), st.sampled_from(LANGUAGES))
def test_what_is_shared_is_true_of_both(item: Item, near: Item, language: str) -> None:
    text = reason(item, Preferences(), (), near, language)
    for person in {p for f in FILMS for p in f.people}:
        if person in text:
            assert person in item.people
            assert person in near.people


# -- replies -------------------------------------------------------------------------------------


def listed(*ids: str) -> list[Recommendation]:
    return [Recommendation(BY_ID[i], n, -1.0) for n, i in enumerate(ids, 1)]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "You asked for: horror, at most 2 h. These fit best: Alien (1979) and "
               "Get Out (2017)."),
        ("pt", "Você pediu: terror, no máximo 2 h. Estes são os que mais combinam: Alien: O Oitavo "
               "Passageiro (1979) e Corra! (2017)."),
        ("es", "Pediste: terror, como máximo 2 h. Estas son las que mejor encajan: Alien (1979) y "
               "¡Huye! (2017)."),
    ],
)  # fmt: skip
def test_a_reply(language: str, text: str) -> None:
    wanted = Preferences(genres=("Horror",), runtime_max=120, language=language)
    assert reply_text(listed("alien", "get-out"), wanted, wishes(wanted), (), 2) == text


SAYS = {
    "nothing": ("no film", "nenhum filme", "ninguna película"),
    "relaxed": (
        "gave up: at most 2 h",
        "abri mão de: no máximo 2 h",
        "renuncié a: como máximo 2 h",
    ),
    "few": ("Only 2 ", "Só 2 ", "Solo 2 "),
    "few_one": ("Only one film", "Só um filme", "Solo una película"),
    "found_one": ("This one", "Este é", "Esta es"),
    "unknown": ("“Foobar” or “Zed”", "“Foobar” ou “Zed”", "“Foobar” o “Zed”"),
    "excluded": ("left out", "Deixei de fora", "Dejé fuera"),
    "open": ("Tell me", "Diga", "Dime"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reply_says_what_happened(language: str) -> None:
    n = LANGUAGES.index(language)
    said = {k: v[n] for k, v in SAYS.items()}
    plain = Preferences(language=language)
    hard = Preferences(genres=("Horror",), runtime_max=120, language=language)
    asked = wishes(hard)

    nothing = reply_text([], hard, asked, (), 5)
    assert said["nothing"] in nothing
    assert said["found_one"] not in nothing

    eased = reply_text(listed("alien"), hard, asked, asked[1:], 5)
    assert said["relaxed"] in eased
    assert said["few_one"] not in eased

    assert said["few"] in reply_text(listed("alien", "get-out"), hard, asked, (), 5)
    assert said["few_one"] in reply_text(listed("alien"), hard, asked, (), 5)
    assert said["found_one"] in reply_text(listed("alien"), hard, asked, (), 1)
    assert said["few_one"] not in reply_text(listed("alien"), hard, asked, (), 1)

    strange = Preferences(unknown=("Foobar", "Zed"), language=language)
    assert said["unknown"] in reply_text(listed("alien"), strange, (), (), 1)
    assert said["unknown"] in reply_text([], strange, (), (), 1)

    for known in ({"seen": ("coco",)}, {"dislikes": ("coco",)}):
        text = reply_text(listed("alien"), Preferences(language=language, **known), (), (), 1)
        assert said["excluded"] in text

    assert said["open"] in reply_text(listed("alien"), plain, (), (), 1)
    for wished in ({"likes": ("coco",)}, {"similar_to": ("coco",)}, {"keywords": ("sad",)}):
        text = reply_text(listed("alien"), Preferences(language=language, **wished), (), (), 1)
        assert said["open"] not in text


def test_a_film_without_a_year_has_no_brackets() -> None:
    assert "Vanished Reel." in reply_text(listed("lost"), Preferences(), (), (), 1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_of_the_templates_shines_through(language: str) -> None:
    text = reply_text(
        listed("alien", "coco", "lost"),
        Preferences(**{**FULL.to_dict(), "language": language, "unknown": ("X",)}),
        wishes(FULL),
        wishes(FULL)[3:5],
        9,
    )
    assert not re.search(r"[{}]|None|\(\)", text)


# -- chips ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "no"),
    [("en", ["No comedy", "No drama"]), ("pt", ["Sem comédia", "Sem drama"]),
     ("es", ["Sin comedia", "Sin drama"])],
)  # fmt: skip
def test_chips_offer_to_leave_out_what_is_shown_most(language: str, no: list[str]) -> None:
    chips = chip_texts({"Drama": 2, "Comedy": 3, "War": 1}, language)
    assert [c for c in chips if c in no] == no
    assert len(chips) == len(set(chips)) == 7
    assert len(chip_texts({}, language)) == 5
