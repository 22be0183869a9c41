from __future__ import annotations

import numpy as np
import pytest
import shop
import world

from llmrec.relaxing import checkable, given_up
from llmrec.types import Preferences
from llmrec.wishes import Wish, wishes

EVERY = Preferences(
    genres=("Horror",), genres_any=("Action", "Comedy"), genres_out=("War",), people=("A B",),
    people_any=("C D", "E F"), people_out=("G H",), directors=("I J",), countries=("France",),
    countries_out=("Spain",), languages=("French",), languages_out=("Spanish",), year_min=1990,
    year_max=1999, runtime_min=90, runtime_max=120, keywords_out=("violent",), price_min=1.5,
    price_max=20,
)  # fmt: skip
FIELDS = ("genres", "directors", "cast", "countries", "languages", "year", "runtime", "keywords",
          "price")  # fmt: skip


def split(known: dict[str, float]) -> tuple[set[str], set[str]]:
    can, cannot = checkable(wishes(EVERY), known)
    return {w.field for w in can}, {w.field for w in cannot}


def test_what_is_known_of_one_item_can_be_asked_for() -> None:
    assert split(dict.fromkeys(FIELDS, 0.001)) == ({w.field for w in wishes(EVERY)}, set())


def test_what_is_known_of_none_cannot() -> None:
    assert split(dict.fromkeys(FIELDS, 0.0)) == (set(), {w.field for w in wishes(EVERY)})
    assert split({}) == (set(), {w.field for w in wishes(EVERY)})


@pytest.mark.parametrize("field", [f for f in FIELDS if f not in ("directors", "cast")])
def test_each_fact_that_lacks_takes_its_own_wishes_along(field: str) -> None:
    can, cannot = split({**dict.fromkeys(FIELDS, 0.5), field: 0.0})
    assert cannot == {w.field for w in wishes(EVERY) if w.attribute == field}
    assert can | cannot == {w.field for w in wishes(EVERY)}


def test_people_are_known_from_either_side_of_the_camera() -> None:
    _, cannot = split({**dict.fromkeys(FIELDS, 0.5), "directors": 0.0})
    assert cannot == {"directors"}
    _, cannot = split({**dict.fromkeys(FIELDS, 0.5), "cast": 0.0})
    assert cannot == set()


def test_the_order_stays() -> None:
    asked = wishes(EVERY)
    can, cannot = checkable(asked, {"year": 1.0, "price": 1.0})
    assert can == tuple(w for w in asked if w.attribute in ("year", "price"))
    assert cannot == tuple(w for w in asked if w not in can)


def test_a_price_is_given_up_where_nothing_is_so_cheap() -> None:
    asked = wishes(Preferences(price_max=1))
    assert given_up(shop.catalog(), asked, frozenset(), frozenset()) == asked


def test_what_does_not_fit_counts_as_not_there() -> None:
    goods = shop.catalog()
    asked = wishes(Preferences(price_min=20, price_max=30))
    fitting = np.array([p.id == "torch" for p in shop.PRODUCTS])  # 18.75
    assert given_up(goods, asked, frozenset(), frozenset(), fitting) == (
        Wish("price_min", ("20",)),
    )


def test_films_are_relaxed_as_before() -> None:
    asked = wishes(Preferences(genres=("Horror",), runtime_max=60))
    left = given_up(world.catalog(), asked, frozenset(), frozenset())
    assert left == (Wish("runtime_max", ("60",)),)
