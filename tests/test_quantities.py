from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmrec.quantities import AROUND_MINUTES, find_quantities, flat

NOW = 2026

YEARS = {
    "en": [
        ("films from the 90s", 1990, 1999),
        ("in the early 80s", 1980, 1984),
        ("late nineties", 1995, 1999),
        ("mid-seventies", 1973, 1976),
        ("something of 1994", 1994, 1994),
        ("before 1980", None, 1979),
        ("until 1985", None, 1985),
        ("after 2010", 2011, None),
        ("since 1995", 1995, None),
        ("from 2000 on", 2000, None),
        ("1990 or newer", 1990, None),
        ("1990 or older", None, 1990),
        ("not before 1990", 1990, None),
        ("nothing older than 1965", 1965, None),
        ("between 1990 and 1995", 1990, 1995),
        ("around 1985", 1983, 1987),
        ("the 80s or 90s", 1980, 1999),
        ("from the 70s to the 90s", 1970, 1999),
        ("the last five years", 2021, None),
        ("the 20th century", 1900, 1999),
        ("a recent film", 2016, None),
        ("an old film", None, 1979),
    ],
    "pt": [
        ("filmes dos anos 90", 1990, 1999),
        ("do início dos anos 80", 1980, 1984),
        ("no final dos anos 90", 1995, 1999),
        ("década de 1970", 1970, 1979),
        ("anos oitenta", 1980, 1989),
        ("antes de 1980", None, 1979),
        ("até 1985", None, 1985),
        ("depois de 2010", 2011, None),
        ("desde 1995", 1995, None),
        ("a partir de 2000", 2000, None),
        ("de 1990 em diante", 1990, None),
        ("entre 1990 e 1995", 1990, 1995),
        ("por volta de 1985", 1983, 1987),
        ("dos últimos cinco anos", 2021, None),
        ("século XX", 1900, 1999),
        ("um filme recente", 2016, None),
        ("um filme antigo", None, 1979),
    ],
    "es": [
        ("películas de los años 90", 1990, 1999),
        ("de principios de los 80", 1980, 1984),
        ("de finales de los 90", 1995, 1999),
        ("década de los setenta", 1970, 1979),
        ("los ochenta", 1980, 1989),
        ("antes de 1980", None, 1979),
        ("hasta 1985", None, 1985),
        ("después de 2010", 2011, None),
        ("desde 1995", 1995, None),
        ("a partir de 2000", 2000, None),
        ("de 1990 en adelante", 1990, None),
        ("entre 1990 y 1995", 1990, 1995),
        ("alrededor de 1985", 1983, 1987),
        ("de los últimos cinco años", 2021, None),
        ("siglo XX", 1900, 1999),
        ("una película reciente", 2016, None),
        ("una película antigua", None, 1979),
    ],
}
RUNTIMES = {
    "en": [
        ("at most two hours", None, 120),
        ("under 2 hours", None, 119),
        ("shorter than 95 minutes", None, 94),
        ("no longer than 100 minutes", None, 100),
        ("nothing over 2 hours", None, 120),
        ("2h15m max", None, 135),
        ("90 minutes or less", None, 90),
        ("at least 3 hours", 180, None),
        ("over two and a half hours", 151, None),
        ("about 90 minutes", 75, 105),
        ("1h30", 75, 105),
        ("an hour and a half", 75, 105),
        ("between 90 and 120 minutes", 90, 120),
        ("not too long", None, 100),
    ],
    "pt": [
        ("filmes de ação de até 2 horas", None, 120),
        ("no máximo 100 minutos", None, 100),
        ("com menos de duas horas", None, 119),
        ("que não passe de 110 minutos", None, 110),
        ("pelo menos 3 horas", 180, None),
        ("mais de duas horas e meia", 151, None),
        ("cerca de 90 minutos", 75, 105),
        ("hora e meia", 75, 105),
        ("uma hora e quarenta", 85, 115),
        ("de 90 a 120 minutos", 90, 120),
        ("não muito longo", None, 100),
    ],
    "es": [
        ("de hasta dos horas", None, 120),
        ("como máximo 100 minutos", None, 100),
        ("de menos de dos horas", None, 119),
        ("que no pase de 110 minutos", None, 110),
        ("al menos 3 horas", 180, None),
        ("más de dos horas y media", 151, None),
        ("unos 90 minutos", 75, 105),
        ("hora y media", 75, 105),
        ("una hora y cuarenta", 85, 115),
        ("de 90 a 120 minutos", 90, 120),
        ("no muy larga", None, 100),
    ],
}


def table(of: dict[str, list[tuple[str, int | None, int | None]]]) -> list[object]:
    return [
        pytest.param(text, low, high, id=f"{language}: {text}")
        for language, rows in of.items()
        for text, low, high in rows
    ]


@pytest.mark.parametrize(("text", "low", "high"), table(YEARS))
def test_years(text: str, low: int | None, high: int | None) -> None:
    found = find_quantities(text, NOW)
    assert [(q.kind, q.low, q.high) for q in found] == [("year", low, high)]


@pytest.mark.parametrize(("text", "low", "high"), table(RUNTIMES))
def test_running_times(text: str, low: int | None, high: int | None) -> None:
    found = find_quantities(text, NOW)
    assert [(q.kind, q.low, q.high) for q in found] == [("runtime", low, high)]


def test_both_in_one_message() -> None:
    text = "Um drama dos anos 90, de até 2 horas"
    years, minutes = find_quantities(text, NOW)
    assert (years.low, years.high, minutes.low, minutes.high) == (1990, 1999, None, 120)
    assert text[minutes.start : minutes.end] == "até 2 horas"


def test_what_is_exact_beats_what_is_vague() -> None:
    found = find_quantities("something recent, from 2001 on", NOW)
    assert [(q.low, q.high, q.vague) for q in found] == [(2001, None, False)]


def test_recent_counts_from_the_year_given() -> None:
    assert find_quantities("recent", 2030)[0].low == 2020


def test_a_period_that_goes_on_has_no_end() -> None:
    assert find_quantities("from the 2020s", NOW)[0].high is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a film with 12 angry men",
        "I was born in 1984",
        "nasci em 1984",
        "nací en 1984",
        "an old man and the sea",
        "700 minutes of it",
        "I have 3 kids",
        "90% of people",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert find_quantities(text, NOW) == []


def test_a_bare_running_time_means_around_it() -> None:
    (found,) = find_quantities("a film of 100 minutes", NOW)
    assert (found.low, found.high) == (100 - AROUND_MINUTES, 100 + AROUND_MINUTES)


WORDS = st.sampled_from(
    """before after until since between and from the to at most least under over not no 1990 1995
    2h 2h30 90 minutes min hours two a half hundred 90s '80s nineties early late mid-
    antes de depois até desde entre e a dos anos oitenta hora meia não no máximo menos mais que
    hasta después los años ochenta más y media cuarto como mucho siglo XX século o ou or , . ( -
    recent old short long nascido born 20th century last five years İ ß 中 \u0301
    1h:30""".split()
)


def check(text: str) -> None:
    found = find_quantities(text, NOW)
    end = 0
    for q in found:
        assert end <= q.start < q.end <= len(text)
        end = q.end
        assert q.kind in ("year", "runtime")
        assert (q.low, q.high) != (None, None)
        if q.low is not None and q.high is not None:
            assert q.low <= q.high


@given(st.lists(WORDS, max_size=14).map(" ".join))
@example("recent e old")
def test_spans_lie_inside_and_apart_in_sentences(text: str) -> None:
    check(text)


@given(st.text(max_size=200))
def test_spans_lie_inside_and_apart_in_any_text(text: str) -> None:
    check(text)


@given(st.text())
def test_flat_keeps_every_letter_in_its_place(text: str) -> None:
    assert len(flat(text)) == len(text)


def test_flat_takes_case_and_accents_away() -> None:
    assert flat("Ação\tÉ Já") == "acao e ja"


@pytest.mark.parametrize("unit", ["1990 ", "2 hours ", "a hundred and ", "no ", " ", "not the "])
def test_a_long_message_is_read_in_no_time(unit: str) -> None:
    began = time.perf_counter()
    find_quantities((unit * 8000)[:8000], NOW)
    assert time.perf_counter() - began < 3
