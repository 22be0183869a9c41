from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

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

PRICES = {
    "en": [
        ("under 30 dollars", None, 30),
        ("for less than $30", None, 30),
        ("at most 15.50 euros", None, 15.5),
        ("up to a hundred dollars", None, 100),
        ("nothing over £50", None, 50),
        ("30 bucks or less", None, 30),
        ("my budget is 200 euros", None, 200),
        ("I can only spend 40 dollars", None, 40),
        ("at least 100 dollars", 100, None),
        ("over 1,200.50 USD", 1200.5, None),
        ("not under $20", 20, None),
        ("between 20 and 40 euros", 20, 40),
        ("$20-$40", 20, 40),
        ("around 30 euros", 24, 36),
    ],
    "pt": [
        ("até 50 reais", None, 50),
        ("por menos de R$ 1.299,90", None, 1299.9),
        ("no máximo cinquenta e cinco reais", None, 55),
        ("50 reais no máximo", None, 50),
        ("nada acima de 100 reais", None, 100),
        ("que não passe de 80 reais", None, 80),
        ("barato até R$40", None, 40),
        ("até 2 mil reais", None, 2000),
        ("tenho duzentos reais", None, 200),
        ("acima de 100 reais", 100, None),
        ("pelo menos 30 euros", 30, None),
        ("entre 100 e 200 reais", 100, 200),
        ("entre R$ 100 e R$ 200", 100, 200),
        ("uns 50 reais", 40, 60),
    ],
    "es": [
        ("hasta 50 euros", None, 50),
        ("menos de 20 €", None, 20),
        ("no más de 15 dólares", None, 15),
        ("que no pase de treinta euros", None, 30),
        ("como mucho 99,95 euros", None, 99.95),
        ("mi presupuesto es de 300 pesos", None, 300),
        ("puedo gastar 60 euros", None, 60),
        ("20 euros como máximo", None, 20),
        ("más de 100 euros", 100, None),
        ("no menos de 50 euros", 50, None),
        ("entre 20 y 40 euros", 20, 40),
        ("de 20 a 40 euros", 20, 40),
        ("alrededor de 30 euros", 24, 36),
    ],
}
IN_A_SHOP = ("price",)


def table(of: Mapping[str, Sequence[tuple[str, float | None, float | None]]]) -> list[object]:
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


@pytest.mark.parametrize("known", [("year", "runtime"), IN_A_SHOP], ids=["films", "shop"])
@pytest.mark.parametrize(("text", "low", "high"), table(PRICES))
def test_limits_of_money_are_prices_everywhere(
    text: str, low: float | None, high: float | None, known: Collection[str]
) -> None:
    found = find_quantities(text, NOW, known)
    assert [(q.kind, q.low, q.high) for q in found] == [("price", low, high)]


@pytest.mark.parametrize(
    ("text", "high"),
    [
        ("$30", 30), ("R$ 1.299,90", 1299.9), ("1.200,50 euros", 1200.5), ("30 bucks", 30),
        ("20 euros", 20), ("USD 1,299", 1299), ("€ 0.99", 0.99), ("mil reais", 1000),
        ("2,5 mil reais", 2500),
    ],
)  # fmt: skip
def test_money_alone_is_a_limit_only_where_there_are_prices(text: str, high: float) -> None:
    found = find_quantities(text, NOW, IN_A_SHOP)
    assert [(q.kind, q.low, q.high) for q in found] == [("price", None, high)]
    assert find_quantities(text, NOW) == []
    assert find_quantities(f"I paid {text}", NOW, IN_A_SHOP) == []


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("a torch under 30", None, 30), ("under 29.99, please", None, 29.99),
        ("por menos de 30", None, 30), ("barato até 40", None, 40),
        ("hasta 1.200,50", None, 1200.5), ("no más de 15 para mi hijo", None, 15),
        ("max 80", None, 80), ("over 100", 100, None),
        ("between 20 and 40", 20, 40), ("notebook até 2000", None, 2000),
        ("for my kid, under 30", None, 30),
    ],
)  # fmt: skip
def test_a_limit_without_a_currency_is_a_price_in_a_shop(
    text: str, low: float | None, high: float | None
) -> None:
    found = find_quantities(text, NOW, IN_A_SHOP)
    assert [(q.kind, q.low, q.high) for q in found] == [("price", low, high)]
    for known in (("year", "runtime"), ("year", "runtime", "price")):
        assert not any(q.kind == "price" for q in find_quantities(text, NOW, known))


def test_what_may_be_a_year_is_one_where_there_are_years() -> None:
    (found,) = find_quantities("até 2000", NOW, ("year", "price"))
    assert (found.kind, found.high) == ("year", 2000)


@pytest.mark.parametrize(
    "text",
    [
        "a film that made $30 million", "2 million dollars", "for a child under 10",
        "niños de menos de 8", "menos de 2 kg", "up to 5 people", "under 10 cm", "over 50%",
        "I have 3 kids", "a real story", "under 3 hours of work", "a ten-year-old", "10 anos",
    ],
)  # fmt: skip
def test_other_numbers_are_no_prices(text: str) -> None:
    assert not any(q.kind == "price" for q in find_quantities(text, NOW, IN_A_SHOP))


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
    1h:30 $ R$ € 30 1.299,90 euros reais bucks mil hundred budget is spend between 2k""".split()
)


def check(text: str, known: Collection[str] = ("year", "runtime")) -> None:
    found = find_quantities(text, NOW, known)
    end = 0
    for q in found:
        assert end <= q.start < q.end <= len(text)
        end = q.end
        assert q.kind in ("year", "runtime", "price")
        assert (q.low, q.high) != (None, None)
        if q.low is not None and q.high is not None:
            assert q.low <= q.high


@given(st.lists(WORDS, max_size=14).map(" ".join))
@example("recent e old")
def test_spans_lie_inside_and_apart_in_sentences(text: str) -> None:
    check(text)
    check(text, IN_A_SHOP)


@given(st.text(max_size=200))
def test_spans_lie_inside_and_apart_in_any_text(text: str) -> None:
    check(text)
    check(text, IN_A_SHOP)


@given(st.text())
def test_flat_keeps_every_letter_in_its_place(text: str) -> None:
    assert len(flat(text)) == len(text)


def test_flat_takes_case_and_accents_away() -> None:
    assert flat("Ação\tÉ Já") == "acao e ja"


@pytest.mark.parametrize(
    "unit",
    [
        "1990 ",
        "2 hours ",
        "a hundred and ",
        "no ",
        " ",
        "not the ",
        "under the ",
        "1,000 ",
        "9",
        "$",
    ],
)
def test_a_long_message_is_read_in_no_time(unit: str) -> None:
    began = time.perf_counter()
    find_quantities((unit * 8000)[:8000], NOW, IN_A_SHOP)
    assert time.perf_counter() - began < 3
