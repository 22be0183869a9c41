from __future__ import annotations

import dataclasses
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.types import Item, Preferences
from llmrec.wishes import Wish, meets_all, things_of, wishes, without

GENRES = ("Drama", "Comedy", "Horror")
PEOPLE = ("Pedro Almodóvar", "Alejandro Amenábar", "Penélope Cruz")
PLACES = ("Spain", "Brazil")


def some(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(tuple)


def bound(low: int, high: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(low, high)


ITEMS = st.builds(
    Item,
    id=st.just("x"),
    title=st.just("X"),
    year=bound(1998, 2002),
    genres=some(GENRES),
    directors=some(PEOPLE),
    cast=some(PEOPLE),
    countries=some(PLACES),
    languages=some(PLACES),
    runtime=bound(88, 92),
    keywords=some(GENRES),
    price=st.none() | st.sampled_from((9.99, 10, 10.5)),
)
PREFERENCES = st.builds(
    Preferences,
    genres=some(GENRES),
    genres_any=some(GENRES),
    genres_out=some(GENRES),
    people=some(PEOPLE),
    people_any=some(PEOPLE),
    people_out=some(PEOPLE),
    directors=some(PEOPLE),
    countries=some(PLACES),
    countries_out=some(PLACES),
    languages=some(PLACES),
    languages_out=some(PLACES),
    keywords=some(GENRES),
    keywords_out=some(GENRES),
    year_min=bound(1998, 2002),
    year_max=bound(1998, 2002),
    runtime_min=bound(88, 92),
    runtime_max=bound(88, 92),
    price_min=st.none() | st.sampled_from((9.99, 10, 10.5)),
    price_max=st.none() | st.sampled_from((9.99, 10, 10.5)),
)


def meant(p: Preferences, item: Item) -> bool:
    """What the docstring of Preferences says, written a second time."""
    people = {*item.directors, *item.cast}
    every = [
        (p.genres, item.genres),
        (p.people, people),
        (p.directors, item.directors),
    ]
    one = [
        (p.genres_any, item.genres),
        (p.people_any, people),
        (p.countries, item.countries),
        (p.languages, item.languages),
    ]
    none = [
        (p.genres_out, item.genres),
        (p.people_out, people),
        (p.countries_out, item.countries),
        (p.languages_out, item.languages),
        (p.keywords_out, item.keywords),
    ]
    ranges = [
        (p.year_min, p.year_max, item.year),
        (p.runtime_min, p.runtime_max, item.runtime),
        (p.price_min, p.price_max, item.price),
    ]
    return (
        all(set(wanted) <= set(have) for wanted, have in every)
        and all(not wanted or set(wanted) & set(have) for wanted, have in one)
        and not any(set(unwanted) & set(have) for unwanted, have in none)
        and all(low is None or (have is not None and have >= low) for low, _, have in ranges)
        and all(high is None or (have is not None and have <= high) for _, high, have in ranges)
    )


@given(PREFERENCES, ITEMS)
def test_the_wishes_mean_what_preferences_say(p: Preferences, item: Item) -> None:
    assert meets_all(item, wishes(p)) == meant(p, item)


@given(PREFERENCES, ITEMS, st.data())
def test_giving_up_one_wish_leaves_the_others(
    p: Preferences, item: Item, data: st.DataObject
) -> None:
    asked = wishes(p)
    if not asked:
        return
    given_up = data.draw(st.sampled_from(asked))
    left = wishes(without(p, given_up))
    assert left == tuple(w for w in asked if w != given_up)
    assert meets_all(item, asked) == (meets_all(item, left) and given_up.met_by(item))


@given(PREFERENCES)
def test_giving_up_every_wish_leaves_none(p: Preferences) -> None:
    for wish in wishes(p):
        p = without(p, wish)
    assert wishes(p) == ()


def test_soft_wishes_and_known_items_are_no_conditions() -> None:
    soft = Preferences(keywords=("sad",), similar_to=("a",), likes=("b",), seen=("c",), text="sea")
    assert wishes(soft) == ()


def test_names_are_compared_without_case_and_accents() -> None:
    film = Item("x", "X", genres=("Drama",), directors=("Pedro Almodóvar",))
    for name in ("pedro almodovar", unicodedata.normalize("NFD", "Pedro Almodóvar")):
        assert Wish("people", (name,)).met_by(film)
        assert not Wish("people_out", (name,)).met_by(film)
    assert not Wish("people", ("Pedro",)).met_by(film)


@pytest.mark.parametrize(
    "field", ["genres", "people_any", "countries", "year_min", "runtime_max", "price_max"]
)
def test_an_item_without_the_fact_meets_no_positive_wish(field: str) -> None:
    assert not Wish(field, ("2000",)).met_by(Item("x", "X"))


def test_an_item_without_the_fact_meets_negative_wishes() -> None:
    p = Preferences(genres_out=("Horror",), people_out=("A",), countries_out=("USA",))
    assert meets_all(Item("x", "X"), wishes(p))


def test_bounds_are_inclusive() -> None:
    p = Preferences(year_min=1990, year_max=1999, runtime_max=120)
    film = Item("x", "X", 1990, runtime=120)
    assert meets_all(film, wishes(p))
    assert meets_all(dataclasses.replace(film, year=1999), wishes(p))
    assert not meets_all(dataclasses.replace(film, year=2000), wishes(p))
    assert not meets_all(dataclasses.replace(film, runtime=121), wishes(p))


@pytest.mark.parametrize(
    ("field", "attribute", "negative"),
    [
        ("genres", "genres", False),
        ("genres_any", "genres", False),
        ("people_out", "people", True),
        ("keywords_out", "keywords", True),
        ("runtime_max", "runtime", False),
        ("year_min", "year", False),
        ("price_max", "price", False),
    ],
)
def test_what_a_wish_looks_at(field: str, attribute: str, negative: bool) -> None:
    wish = Wish(field, ("1",))
    assert (wish.attribute, wish.negative) == (attribute, negative)


def test_prices_are_compared_with_their_cents() -> None:
    cheap, dear = Item("a", "A", price=29.9), Item("b", "B", price=30.01)
    (limit,) = wishes(Preferences(price_max=30))
    assert limit == Wish("price_max", ("30",))
    assert (limit.met_by(cheap), limit.met_by(dear)) == (True, False)
    (least,) = wishes(Preferences(price_min=29.95))
    assert least.bound == 29.95
    assert (least.met_by(cheap), least.met_by(dear)) == (False, True)


HELD = {  # the fields that the items of real kinds of catalogues have, and how many have each
    "MovieLens": ({"year": 1.0, "genres": 0.95, "keywords": 0.4}, "films"),
    "IMDb": ({"year": 1.0, "genres": 0.9, "runtime": 0.8, "directors": 0.7, "cast": 0.7}, "films"),
    "titles of dialogues": ({"year": 0.9}, "films"),
    "a list of genres alone": ({"genres": 0.01}, "films"),
    "films without years or genres": ({"cast": 0.9}, "films"),
    "a shop of films": ({"price": 1.0, "directors": 0.9, "genres": 1.0, "year": 1.0}, "films"),
    "a shop of short films": ({"runtime": 0.5, "price": 1.0}, "films"),
    "a few films for sale": ({"runtime": 1.0, "directors": 1.0, "price": 0.02}, "films"),
    "Amazon's titles": ({"description": 0.9}, "products"),
    "a shop": ({"price": 0.8}, "products"),
    "a shop with years": ({"price": 0.8, "year": 0.5, "runtime": 0.0}, "products"),
    "a shop with categories": ({"price": 0.9, "genres": 1.0, "description": 1.0}, "products"),
    "books": ({"price": 1.0, "genres": 1.0, "year": 0.9, "cast": 1.0, "rating": 1.0}, "products"),
    "games": ({"price": 0.9, "genres": 1.0, "year": 1.0, "keywords": 1.0}, "products"),
    "records": ({"price": 1.0, "genres": 0.8, "cast": 1.0}, "products"),
    "a shop with some films": ({"price": 1.0, "genres": 1.0, "directors": 0.1}, "products"),
    "names alone": ({}, "products"),
}


@pytest.mark.parametrize("kind", HELD)
def test_what_a_catalogue_holds(kind: str) -> None:
    known, things = HELD[kind]
    assert things_of({"title": 1.0, **known}) == things


@pytest.mark.parametrize("kind", [k for k in HELD if k not in ("a shop with some films",)])
def test_whether_any_item_has_a_field_tells_it_too(kind: str) -> None:
    known, things = HELD[kind]
    told = dict.fromkeys([name for name, share in known.items() if share], 1.0)
    assert things_of(told) == things
