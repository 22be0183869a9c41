from __future__ import annotations

import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.faithfulness import akin, flaw, numbers
from llmrec.types import LANGUAGES, Item
from llmrec.wording import record_texts

SPEED = (
    "title: Speed year: 1994 runtime: 116 minutes directors: Jan de Bont "
    "cast: Keanu Reeves, Sandra Bullock countries: USA rating: 7.3/10 price: 8.50 "
    "description: A bus must not go slower than fifty miles an hour. Annie's driver has 2 hours."
)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("", set()),
        ("none here", set()),
        ("116 minutes", {"116"}),
        ("1,999 and 1999", {"1999"}),
        ("1.999", {"1999"}),
        ("8,50 8.5 8.50", {"8.5"}),
        ("8.00", {"8"}),
        ("007", {"7"}),
        ("0 and 000", {"0"}),
        ("7.3/10", {"7.3", "10"}),
        ("from 1999, 2000.", {"1999", "2000"}),
        ("１９９９", {"1999"}),
        ("Se7en", {"7"}),
    ],
)
def test_numbers_have_one_spelling(text: str, right: set[str]) -> None:
    assert numbers(text) == right


@given(st.integers(0, 10**7))
def test_thousands_are_told_in_any_way(n: int) -> None:
    assert numbers(f"{n:,}") == numbers(str(n)) == numbers(f"{n:,}".replace(",", ".")) == {str(n)}


@given(st.integers(0, 99_999).map(lambda n: n / 100))
def test_prices_are_told_in_any_way(price: float) -> None:
    shown = f"{price:.2f}"
    assert numbers(shown) == numbers(shown.replace(".", ",")) == numbers(f"{price:g}")


@pytest.mark.parametrize(
    "text",
    [
        "It runs for 116 minutes.",
        "“Speed” is from 1994 and was directed by Jan de Bont.",
        "The bus must not go slower than fifty miles an hour.",
        "Keanu Reeves and Sandra Bullock star in it.",
        "It costs 8,5.",
        "Speed costs 8.50 and is rated 7.3.",
        "Annie is the driver.",
        "The driver has two hours.",
        "",
        "Yes.",
    ],
)
def test_what_a_record_supports(text: str) -> None:
    assert flaw(text, SPEED, "en") is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("It runs for 117 minutes.", "number"),
        ("Speed is from 1995.", "number"),
        ("It costs 85.", "number"),
        ("It costs 8.05.", "number"),
        ("The driver has three hours.", "number"),
        ("There are twelve people on the bus.", "number"),
        ("Speed was directed by Ridley Scott.", "name"),
        ("In Speed the bus must not go slower, says Tom Cruise.", "name"),
        ("Speed was directed by Jan de Wit.", "name"),
        ("The bus in Speed must go to Chicago.", "name"),
        ("Tom Cruise must not go slower.", "name"),
        ("A gangster robs banks and marries a dancer.", "words"),
        ("It is a musical about gardens, love and painting.", "words"),
    ],
)
def test_what_no_record_supports(text: str, kind: str) -> None:
    assert flaw(text, SPEED, "en") == kind


@pytest.mark.parametrize(
    ("text", "language", "kind"),
    [
        ("Dois meninos crescem no Rio de Janeiro.", "pt", None),
        ("Três meninos crescem no Rio de Janeiro.", "pt", "number"),
        ("Dois meninos crescem em Salvador.", "pt", "name"),
        ("Dirigido por Fernando Meirelles em 2002.", "pt", None),
        ("Dirigido por Walter Salles em 2002.", "pt", "name"),
        ("Dirigido por Fernando Meirelles em 2003.", "pt", "number"),
    ],
)
def test_portuguese(text: str, language: str, kind: str | None) -> None:
    record = (
        "Cidade de Deus 2002 Fernando Meirelles Dois meninos crescem numa favela do Rio de Janeiro."
    )
    assert flaw(text, record, language) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Dos estafadores y unos sellos raros.", None),
        ("Cuatro estafadores y unos sellos raros.", "number"),
        ("Los estafadores viven en Madrid.", "name"),
    ],
)
def test_spanish(text: str, kind: str | None) -> None:
    record = "Nueve reinas 2000 Ricardo Darín Dos estafadores y unos sellos raros."
    assert flaw(text, record, "es") == kind


def test_what_the_user_said_may_be_said_again() -> None:
    assert flaw("No, Tom Cruise is not in it.", SPEED, "en") == "name"
    assert flaw("No, Tom Cruise is not in it.", SPEED, "en", allowed="is Tom Cruise in it?") != (
        "name"
    )
    assert flaw("Not in 1950.", SPEED, "en", allowed="was it in 1950?") != "number"


@pytest.mark.parametrize(
    ("a", "b", "right"),
    [
        ("hunted", "hunter", True),
        ("simulated", "simulation", True),
        ("meninos", "menino", True),
        ("cat", "car", False),
        ("hunt", "hurt", False),
        ("war", "warrior", False),
        ("", "", False),
    ],
)
def test_forms_of_a_word(a: str, b: str, right: bool) -> None:
    assert akin(a, b) is right
    assert akin(b, a) is right


FILM = st.sampled_from(world.FILMS)


@given(film=FILM, language=st.sampled_from(LANGUAGES))
def test_a_record_supports_itself(film: Item, language: str) -> None:
    texts = record_texts(film, language)
    record = " ".join(texts.values())
    for text in texts.values():
        assert flaw(text, record, language) is None


@given(film=FILM, other=FILM)
@settings(max_examples=60)
def test_another_film_s_year_and_people_are_found(film: Item, other: Item) -> None:
    record = " ".join([*record_texts(film, "en").values(), *film.all_titles])
    if other.year and str(other.year) not in record:
        assert flaw(f"It came out in {other.year}.", record, "en") == "number"
    for person in other.directors:
        if person not in record:
            assert flaw(f"It was directed by {person}.", record, "en") == "name"


@given(text=st.text(max_size=200), record=st.text(max_size=200), lang=st.sampled_from(LANGUAGES))
def test_any_text_can_be_held_against_any_record(text: str, record: str, lang: str) -> None:
    assert flaw(text, record, lang) in (None, "number", "name", "words")
    assert isinstance(numbers(text), set)


@given(year=st.integers(1900, 2030), minutes=st.integers(40, 300))
def test_a_number_that_stands_nowhere_is_always_found(year: int, minutes: int) -> None:
    text = f"Speed is from {year} and runs for {minutes} minutes."
    assert (flaw(text, SPEED, "en") == "number") is ((year, minutes) != (1994, 116))
