# ruff: noqa: E501  (tables of films and sentences)
"""The page without a browser: texts, pictures, cards, the panel, a visit and its answers."""

from __future__ import annotations

import asyncio
import base64
import copy
import csv
import dataclasses
import io
import json
import random
import re
import threading
import types
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import shop
from hypothesis import given
from hypothesis import strategies as st

from llmrec import demo
from llmrec.catalog import Catalog
from llmrec.demo import cards, panel, posters, texts
from llmrec.demo.exports import FORMATS, data_url, exported
from llmrec.demo.screen import told
from llmrec.demo.visit import Turn, Visit, answer, carried, drawn, summary
from llmrec.errors import ModelError
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.recommender import Event, Recommender
from llmrec.types import LANGUAGES, Item, Preferences, Recommendation

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"

FILMS = [
    Item("heat", "Heat", 1995, titles={"pt": ("Fogo contra Fogo",)}, genres=("Action", "Crime"), runtime=170,
         directors=("Michael Mann",), cast=("Al Pacino", "Robert De Niro"), countries=("USA",), popularity=0.9),
    Item("speed", "Speed", 1994, titles={"pt": ("Velocidade Máxima",)}, genres=("Action", "Thriller"), runtime=116,
         directors=("Jan de Bont",), cast=("Keanu Reeves", "Sandra Bullock"), countries=("USA",), popularity=0.8,
         description="A bus must not slow down.", descriptions={"pt": "Um ônibus não pode parar."}),
    Item("john-wick", "John Wick", 2014, genres=("Action", "Thriller"), runtime=101, directors=("Chad Stahelski",),
         cast=("Keanu Reeves",), countries=("USA",), popularity=0.7),
    Item("amelie", "Amélie", 2001, original_title="Le Fabuleux Destin d'Amélie Poulain", genres=("Comedy", "Romance"),
         runtime=122, directors=("Jean-Pierre Jeunet",), cast=("Audrey Tautou",), countries=("France",), popularity=0.8),
    Item("alien", "Alien", 1979, genres=("Horror", "Sci-Fi"), runtime=117, directors=("Ridley Scott",),
         cast=("Sigourney Weaver",), countries=("UK", "USA"), popularity=0.85),
    Item("central", "Central Station", 1998, titles={"pt": ("Central do Brasil",)}, genres=("Drama",), runtime=110,
         directors=("Walter Salles",), cast=("Fernanda Montenegro",), countries=("Brazil",), popularity=0.6),
    Item("paterson", "Paterson", 2016, genres=("Comedy", "Drama"), runtime=118, directors=("Jim Jarmusch",),
         cast=("Adam Driver",), countries=("USA",), popularity=0.3),
    Item("logan", "Logan", 2017, genres=("Action", "Drama"), runtime=137, directors=("James Mangold",),
         cast=("Hugh Jackman",), countries=("USA",), popularity=0.75),
]  # fmt: skip


def recommender_of(
    items: list[Item], model: ScriptedModel | None = None, **profile: Any
) -> Recommender:
    model = model or ScriptedModel(scores=lambda tokens: np.zeros(260), name="scripted")
    return Recommender(
        model,
        Catalog.from_items(items),
        profile=Profile(**{"lead": "rules", "writes": False, **profile}),
    )


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return recommender_of(FILMS)


def run(steps: Iterator[Turn]) -> Turn:
    return list(steps)[-1]


# -- texts --------------------------------------------------------------------------------------


OF_FILMS = re.compile(
    r"\b(?:films?|movies?|filmes?|películas?|watch|assist\w+|ver hoje|vemos)\b", re.I
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_of_products_does_not_speak_of_films(language: str) -> None:
    for key in texts.TALK:
        assert not OF_FILMS.search(texts.say(language, key, "products")), key
    assert not any(OF_FILMS.search(e) for e in texts.examples(language, "products"))
    visit = Visit(language, "products")
    shown = [
        *cards.log(visit, shop.PRODUCTS[:3]),
        cards.header(language, "scripted", things="products"),
        *(c.label(language, "products") for c in panel.CONTROLS),
    ]
    assert not any(OF_FILMS.search(s) for s in shown)


def test_a_fresh_visit_keeps_what_the_catalogue_holds() -> None:
    assert copy.deepcopy(Visit("pt", "products")).things == "products"


def test_every_control_and_button_has_its_label() -> None:
    for language in LANGUAGES:
        assert all(c.label(language) for c in panel.CONTROLS)
        assert all(texts.say(language, m) for m in cards.MARKS)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("es-419", "es"),
        ("fr-FR,es;q=0.3,en;q=0.4", "en"),
        ("de", "en"),
        ("", "en"),
        ("pt;q=nonsense, es", "es"),
        (",;q=,;;" * 400, "en"),
    ],
)
def test_language_of_the_browser(header: str, language: str) -> None:
    assert texts.preferred(header) == language


# -- pictures -----------------------------------------------------------------------------------


@given(
    st.text(max_size=90),
    st.text(min_size=1, max_size=20),
    st.sampled_from((*posters._LOOK, "", "Odd")),
)
def test_poster_is_well_formed_and_repeats_itself(title: str, item_id: str, genre: str) -> None:
    item = Item(item_id, title, 1999, genres=(genre,) if genre else ())
    drawn = posters.poster(item)
    assert drawn == posters.poster(item)
    legal = "".join(c for c in drawn if c.isprintable())  # XML has no control characters
    root = ET.fromstring(legal)
    assert {e.tag for e in root.iter()} <= {
        "svg",
        "g",
        "rect",
        "circle",
        "ellipse",
        "polygon",
        "path",
        "text",
    }
    assert len(root.findall(".//text")) <= 5
    assert "href" not in drawn
    assert "url(" not in drawn


def test_poster_bears_the_title_of_the_language() -> None:
    assert "Velocidade" in posters.poster(FILMS[1], "pt")
    assert "Speed" in posters.poster(FILMS[1], "es")


def test_long_titles_are_cut_to_four_lines() -> None:
    lines, size = posters._wrapped("word " * 60)
    assert len(lines) == 4
    assert lines[-1].endswith("…")
    assert size == posters._SIZES[-1]


# -- cards --------------------------------------------------------------------------------------


def test_card_shows_what_it_should() -> None:
    shown = cards.card(
        Recommendation(FILMS[1], 1, -1.17, "ação, 1 h 56", ("ação",), ("com Al Pacino",)),
        language="pt",
        page_language="en",
        marks=frozenset({"like"}),
        first=True,
    )
    for part in (
        "Velocidade Máxima", "1994", "1 h 56", "Ação", "Um ônibus não pode parar.", "31 % of the choice", "−1.17",
        'class="lr-met"', 'class="lr-missed"', "com Al Pacino", "ação, 1 h 56", 'data-id="speed"',
    ):  # fmt: skip
        assert part in shown, part
    assert re.findall(r'data-mark="(\w+)"[^>]*aria-pressed="(\w+)"', shown) == [
        ("like", "true"),
        ("dislike", "false"),
        ("seen", "false"),
    ]


def test_original_title_only_where_it_differs() -> None:
    def drawn(item: Item) -> str:
        return cards.card(Recommendation(item, 2, -1.0), language="en", page_language="en")

    assert "Le Fabuleux Destin" in drawn(FILMS[3])
    assert "lr-original" not in drawn(FILMS[0])
    assert "lr-original" not in drawn(dataclasses.replace(FILMS[0], original_title="HEAT"))


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (0.0, "100 %"),
        (-1.17, "31 %"),
        (-5.0, "0.7 %"),
        (-20.0, "<0.1 %"),
        (float("-inf"), "<0.1 %"),
        (float("nan"), "?"),
    ],
)
def test_share(score: float, text: str) -> None:
    assert cards.share(score) == text


def test_everything_is_escaped() -> None:
    item = Item(
        EVIL,
        EVIL,
        2000,
        original_title=EVIL + "2",
        genres=(EVIL,),
        directors=(EVIL,),
        description=EVIL,
    )
    visit = Visit()
    visit.begin(
        Turn(
            EVIL,
            stage="done",
            preferences=Preferences(genres=(EVIL,), people_out=(EVIL,), keywords=(EVIL,)),
            recommendations=(Recommendation(item, 1, -1.0, EVIL, (EVIL,), (EVIL,)),),
            text=EVIL,
            chips=(EVIL,),
        )
    )
    pieces = [
        *cards.log(visit),
        cards.header("en", EVIL, size=EVIL, embedded=True),
        cards.welcome("en", [item]),
    ]
    whole = "".join(pieces)
    assert "<script" not in whole
    assert "<img" not in whole
    assert "&lt;script&gt;" in whole
    tags = re.findall(r"<[a-z][^>]*>", whole)
    assert not [t for t in tags if re.search(r"\son\w+\s*=", re.sub(r'"[^"]*"', '""', t))]
    ET.fromstring(f"<x>{whole}</x>")  # so nothing broke out of its element or attribute


def test_a_very_long_message_is_shown_cut() -> None:
    visit = Visit()
    visit.begin(Turn("x" * 50_000, stage="failed", problem="error_long"))
    whole = "".join(cards.log(visit))
    assert len(whole) < 3_000
    assert "50,000" in whole


# -- the panel ----------------------------------------------------------------------------------

NAMES = {
    "genres": ["Action", "Crime", "Comedy", "Horror"],
    "people": ["Keanu Reeves", "Al Pacino", "Audrey Tautou", "Ridley Scott"],
    "countries": ["USA", "Brazil", "France"],
    "films": ["heat", "speed", "alien"],
}


@st.composite
def preferences(draw: st.DrawFn) -> Preferences:
    def some(kind: str) -> st.SearchStrategy[list[str]]:
        return st.lists(st.sampled_from(NAMES[kind]), unique=True, max_size=3)

    genres, people = draw(some("genres")), draw(some("people"))
    year, minutes = draw(st.none() | st.integers(1900, 1990)), draw(st.none() | st.integers(1, 100))
    return Preferences(
        genres=tuple(genres[:1]),
        genres_any=tuple(genres[1:]),
        genres_out=tuple(set(NAMES["genres"]) - set(genres)) if draw(st.booleans()) else (),
        people=tuple(people[:1]),
        directors=tuple(people[1:2]),
        people_any=tuple(people[2:]),
        countries=tuple(draw(some("countries"))),
        year_min=year,
        year_max=draw(st.none() | st.integers(1990, 2020)),
        runtime_min=minutes,
        runtime_max=draw(st.none() | st.integers(100, 300)),
        price_min=draw(st.none() | st.sampled_from((0.0, 9.99))),
        price_max=draw(st.none() | st.sampled_from((10.0, 49.9))),
        similar_to=tuple(draw(some("films"))),
        seen=tuple(draw(some("films"))),
        unknown=("Nobody",),
        text=draw(st.sampled_from(("", "space station"))),
        language=draw(st.sampled_from(LANGUAGES)),
    )


@given(p=preferences())
def test_unchanged_controls_give_the_same_preferences(
    recommender: Recommender, p: Preferences
) -> None:
    assert panel.read(panel.shown(p), p, recommender, "en") == p


def test_edits_arrive_where_they_belong(recommender: Recommender) -> None:
    base = Preferences(genres_any=("Action", "Comedy"), directors=("Ridley Scott",), language="pt")
    values = panel.shown(base)
    values["genres"] = ["Action", "Crime"]
    values["people"] = ["tautou", "Ridley Scott"]
    values["similar_to"] = ["velocidade maxima"]
    values["year_max"] = 1999.0
    values["price_max"] = "49.90"
    made = panel.read(values, base, recommender, "en")
    assert made.genres_any == ("Action", "Crime")
    assert (made.people, made.directors) == (("Audrey Tautou",), ("Ridley Scott",))
    assert made.similar_to == ("speed",)
    assert made.year_max == 1999
    assert made.price_max == 49.9
    assert made.language == "pt"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"year_min": 1.5},
            "“1.5” under “From year” cannot be used: give a whole number from 1870 to 2100",
        ),
        ({"year_min": 20}, "“20” under “From year”"),
        ({"runtime_max": -5}, "a whole number from 1 to 900"),
        ({"runtime_max": "soon"}, "“soon” under “Minutes, max.”"),
        ({"runtime_max": float("inf")}, "“inf” under"),
        ({"price_max": -1}, "“-1” under “Price, max.” cannot be used: give a number, 0 or more"),
        ({"price_min": "cheap"}, "“cheap” under “Price, min.”"),
        ({"price_min": float("nan")}, "“nan” under “Price, min.”"),
        ({"price_min": 30, "price_max": 9.5}, "“Price, min.” (30.0) is above “Price, max.” (9.5)"),
        ({"year_min": 2001, "year_max": 1999}, "“From year” (2001) is above “To year” (1999)"),
        ({"genres": ["Action"], "genres_out": ["Action"]}, "Action is both wanted and unwanted"),
        ({"people": ["Zzyx Qwerty"]}, "I do not know “Zzyx Qwerty”"),
        ({"similar_to": ["No Such Film At All"]}, "I do not know the film “No Such Film At All”"),
        ({"genres": ["Opera"]}, "“Opera” is not in this catalogue’s list under “Genres”"),
    ],
)
def test_wrong_values_are_one_clear_sentence(
    recommender: Recommender, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(panel.PanelError) as caught:
        panel.read(change, Preferences(), recommender, "en")
    assert sentence in caught.value.sentence("en")
    for language in LANGUAGES:
        with pytest.raises(panel.PanelError) as caught:
            panel.read(change, Preferences(), recommender, language)
        assert caught.value.sentence(language).endswith(".")


def test_choices_hold_the_catalogue_and_the_values(recommender: Recommender) -> None:
    choices = panel.choices_of(recommender)
    by_name = {c.name: c for c in panel.CONTROLS}
    assert ("Ação", "Action") in choices.of(by_name["genres"], (), "pt")
    assert ("Opera", "Opera") in choices.of(by_name["genres"], ("Opera",), "pt")
    assert ("Velocidade Máxima (1994)", "speed") in choices.of(
        by_name["similar_to"], ("gone",), "pt"
    )
    assert ("Al Pacino", "Al Pacino") in choices.of(by_name["people"], (), "es")


def test_prices_are_offered_only_where_the_catalogue_has_some(recommender: Recommender) -> None:
    def offered(of: Recommender) -> set[str]:
        return {c.name for c in panel.CONTROLS if panel.choices_of(of).offered(c)}

    prices = {"price_min", "price_max"}
    films = offered(recommender)
    assert films == {c.name for c in panel.CONTROLS if not c.rare} - prices
    assert offered(shop.recommender()) == {*prices, "similar_to"}
    assert offered(shop.recommender(shop.without_prices())) == {"similar_to"}
    dated = recommender_of([dataclasses.replace(f, price=9.9) for f in FILMS])
    assert offered(dated) == films | prices


def test_a_product_card_shows_its_price() -> None:
    for language, price in (("en", "24.90"), ("pt", "24,90"), ("es", "24,90")):
        shown = cards.card(
            Recommendation(shop.BY_ID["projector"], 1, -0.5),
            language=language,
            page_language=language,
            things="products",
        )
        assert f'<p class="lr-meta">{price}</p>' in shown
        assert not OF_FILMS.search(re.sub("<[^>]+>", " ", shown))


# -- a visit ------------------------------------------------------------------------------------


def test_cards_come_before_words(recommender: Recommender) -> None:
    steps = list(answer(recommender, Visit(), "an action film of at most two hours"))
    stages = [(t.stage, bool(t.recommendations), bool(t.text)) for t in steps]
    assert stages[0] == ("thinking", False, False)
    assert ("cards", True, False) in stages
    assert steps[-1].stage == "done"
    assert {r.item.id for r in steps[-1].recommendations} == {"speed", "john-wick"}
    assert steps[-1].chips == ()  # both films are shown: no chip would lead anywhere


def test_disliked_and_seen_films_do_not_come_again(recommender: Recommender) -> None:
    visit = Visit()
    first = run(answer(recommender, visit, "action"))
    ids = [r.item.id for r in first.recommendations]
    assert visit.mark(ids[0], "dislike")
    assert visit.mark(ids[1], "seen")
    again = run(answer(recommender, visit, preferences=Preferences(genres=("Action",))))
    assert {r.item.id for r in again.recommendations} == set(ids) - set(ids[:2])


def test_marks_toggle_and_exclude_each_other(recommender: Recommender) -> None:
    visit = Visit()
    run(answer(recommender, visit, "action"))
    assert visit.mark("heat", "like")
    assert visit.mark("heat", "seen")
    assert visit.marks("heat") == {"like", "seen"}
    visit.mark("heat", "dislike")
    assert visit.marks("heat") == {"dislike", "seen"}
    visit.mark("heat", "dislike")
    assert visit.marks("heat") == {"seen"}


def test_only_films_that_were_shown_can_be_marked(recommender: Recommender) -> None:
    visit = Visit()
    run(answer(recommender, visit, "horror"))
    assert not visit.mark("heat", "like")
    assert not visit.mark("alien", "love")
    assert not visit.mark(EVIL, "like")
    assert visit.conversation.liked == ()


@pytest.mark.parametrize(
    ("message", "problem"),
    [("", "error_empty"), ("  \n", "error_empty"), ("x" * 50_000, "error_long")],
)
def test_bad_messages_lose_nothing(recommender: Recommender, message: str, problem: str) -> None:
    visit = Visit("es")
    run(answer(recommender, visit, "action"))
    before = visit.conversation
    (turn,) = answer(recommender, visit, message)
    assert (turn.stage, turn.problem) == ("failed", problem)
    assert visit.conversation == before
    assert texts.say("es", problem)[:4] in "".join(cards.log(visit))
    assert run(answer(recommender, visit, "comedy")).stage == "done"


@pytest.mark.parametrize(
    "message", ["映画を見たい", "🎬🍿", EVIL, "‮evil", "\x00\x07 action", "action " * 150]
)
def test_odd_messages_are_answered(recommender: Recommender, message: str) -> None:
    assert run(answer(recommender, Visit(), message)).stage == "done"


class Failing(ScriptedModel):
    """Fails where it is told to."""

    where = "prefill"

    def prefill_many(self, prompts: Any) -> Any:
        if self.where == "prefill":
            raise ModelError("the secret reason")
        return super().prefill_many(prompts)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        yield "One sentence. "
        raise RuntimeError("a bug with a stack trace")


def test_failures_are_a_sentence_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    model = Failing(scores=lambda tokens: np.zeros(260))
    recommender = recommender_of(FILMS, model, writes=True)
    visit = Visit("pt")
    turn = run(answer(recommender, visit, "ação"))
    assert (turn.stage, turn.problem) == ("failed", "error_model")
    model.where = "stream"
    turn = run(answer(recommender, visit, "ação"))
    assert (turn.stage, turn.problem) == ("failed", "error_model_cards")
    assert turn.recommendations
    assert visit.conversation.mentioned
    whole = "".join(cards.log(visit))
    assert "secret" not in whole
    assert "Traceback" not in whole
    assert "O modelo não conseguiu responder agora" in whole
    assert "the secret reason" in caplog.text


class Endless(ScriptedModel):
    """Goes on writing until it is stopped, and remembers that it was."""

    closed = 0

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        try:
            while True:
                yield "And so on. "
        finally:
            self.closed += 1


def test_stop_keeps_what_was_said_and_stops_the_model() -> None:
    model = Endless(scores=lambda tokens: np.zeros(260))
    recommender = recommender_of(FILMS, model, writes=True)
    visit = Visit()
    steps = answer(recommender, visit, "action")
    while not next(steps).text:
        pass
    visit.stop()
    assert list(steps) == []
    assert model.closed == 1
    assert visit.turns[-1].stage == "stopped"
    assert visit.conversation.messages[-1].items
    assert visit.conversation.messages[-1].content == visit.turns[-1].text != ""


def test_a_visitor_who_leaves_stops_the_model() -> None:
    model = Endless(scores=lambda tokens: np.zeros(260))
    visit = Visit()
    steps = answer(recommender_of(FILMS, model, writes=True), visit, "action")
    while not next(steps).text:
        pass
    steps.close()  # type: ignore[attr-defined]
    assert model.closed == 1
    assert not visit.running


def test_a_new_message_takes_over_from_the_running_one() -> None:
    model = Endless(scores=lambda tokens: np.zeros(260))
    recommender = recommender_of(FILMS, model, writes=True)
    visit = Visit()
    first = answer(recommender, visit, "action")
    while not next(first).recommendations:
        pass
    second = answer(recommender, visit, "comedy")
    while not next(second).recommendations:
        pass
    assert list(first) == []
    assert [t.said for t in visit.turns] == ["action", "comedy"]
    assert [t.stage for t in visit.turns] == ["stopped", "cards"]


def test_a_button_pressed_while_the_answer_runs_counts(recommender: Recommender) -> None:
    visit = Visit()
    steps = answer(recommender, visit, "action")
    shown: tuple[Recommendation, ...] = ()
    while not shown:
        shown = next(steps).recommendations
    visit.mark(shown[0].item.id, "seen")
    list(steps)
    assert visit.conversation.seen == (shown[0].item.id,)
    assert visit.conversation.mentioned


def test_start_over_forgets_all_but_the_language(recommender: Recommender) -> None:
    visit = Visit("pt")
    run(answer(recommender, visit, "ação"))
    visit.clear()
    assert (visit.turns, visit.conversation.messages, visit.language) == ((), (), "pt")
    assert "lr-welcome" in "".join(cards.log(visit, FILMS))


def test_later_pictures_of_the_conversation_bear_later_stamps() -> None:
    visit = Visit()
    stamps = [int(re.findall(r'data-stamp="(\d+)"', cards.log(visit)[0])[0]) for _ in range(50)]
    assert stamps == sorted(set(stamps))


def test_each_visitor_gets_a_fresh_visit(recommender: Recommender) -> None:
    visit = Visit()
    run(answer(recommender, visit, "action"))
    other = copy.deepcopy(visit)
    assert other is not visit
    assert other.turns == ()


# -- corrected by hand --------------------------------------------------------------------------


def test_what_was_corrected_stays_in_later_turns(recommender: Recommender) -> None:
    visit = Visit()
    run(answer(recommender, visit, "horror"))
    turn = run(
        answer(recommender, visit, preferences=Preferences(genres=("Action",), year_min=1994))
    )
    assert turn.by_hand
    assert {r.item.id for r in turn.recommendations} == {"heat", "speed", "john-wick", "logan"}
    visit.mark("heat", "like")
    turn = run(answer(recommender, visit, "at most two hours"))
    assert turn.preferences is not None
    assert turn.preferences.genres == ("Action",)  # and horror, said once, is not back
    assert turn.preferences.year_min == 1994
    assert turn.preferences.runtime_max == 120
    assert turn.preferences.likes == ("heat",)
    visit.mark("heat", "like")
    turn = run(answer(recommender, visit, "something else please"))
    assert turn.preferences is not None
    assert turn.preferences.likes == ()


def test_taking_a_film_out_of_the_panel_releases_its_button(recommender: Recommender) -> None:
    visit = Visit()
    run(answer(recommender, visit, "action"))
    visit.mark("heat", "seen")
    visit.mark("speed", "like")
    visit.forget(Preferences(seen=("heat",), likes=("speed",)), Preferences(likes=("speed",)))
    assert (visit.conversation.seen, visit.conversation.liked) == ((), ("speed",))


@given(edited=preferences(), before=preferences())
def test_a_message_that_changes_nothing_carries_the_correction_over(
    edited: Preferences, before: Preferences
) -> None:
    same = carried(edited, before, before)
    assert dataclasses.replace(same, language=edited.language) == edited
    assert same.language == before.language


def test_carried_takes_over_what_changed() -> None:
    edited = Preferences(genres=("Comedy",), year_min=1990)
    before = Preferences(genres=("Action", "Comedy"), year_min=1980, countries=("USA",))
    now = Preferences(genres=("Action", "Drama"), year_min=1980, runtime_max=90, language="es")
    assert carried(edited, before, now) == Preferences(
        genres=("Drama",), year_min=1990, runtime_max=90, language="es"
    )


@pytest.mark.parametrize(
    ("language", "words"), [("en", "Anything goes"), ("pt", "Vale tudo"), ("es", "Todo vale")]
)
def test_summary(language: str, words: str) -> None:
    assert summary(Preferences(language=language)) == words
    said = summary(
        Preferences(
            genres=("Action",), runtime_max=120, keywords=("funny",), text="x y", language="en"
        )
    )
    assert said == "Action, at most 2 h, funny, x y".replace("Action", said.split(",")[0])
    assert said.lower().startswith("action")


# -- the app ------------------------------------------------------------------------------------


def test_build_gives_the_endpoints_and_nothing_else(recommender: Recommender) -> None:
    async def build() -> Any:
        return demo.build(recommender, embedded=True)

    app = asyncio.run(build())  # without a running loop gradio makes some and leaves them open
    assert app.analytics_enabled is False
    public = [f.api_name for f in app.fns.values() if f.api_visibility == "public"]
    assert sorted(public) == ["answer", "chat", "recommend", "search"]
    options = demo.launch_options()
    assert options["share"] is False
    assert "http" not in options["css"]


def test_events_that_somebody_made_up_say_nothing() -> None:
    for made_up in (None, [1], "x", 3):
        assert told(types.SimpleNamespace(_data=made_up)) == {}
    assert told(types.SimpleNamespace(_data={"id": "a"})) == {"id": "a"}


# -- taking back, drawing, keeping ----------------------------------------------------------------


def test_what_was_said_last_can_be_taken_back(recommender: Recommender) -> None:
    visit = Visit()
    assert visit.undo() == ""
    run(answer(recommender, visit, "an action film"))
    after_one = (visit.conversation, visit.turns)
    run(answer(recommender, visit, "a horror film"))
    visit.mark("alien", "like")
    assert visit.undo() == "a horror film"
    assert (visit.conversation, visit.turns) == after_one
    run(answer(recommender, visit, "who directed Alien?"))
    assert visit.undo() == "who directed Alien?"
    assert visit.undo() == "an action film"
    assert (visit.conversation.messages, visit.turns) == ((), ())


def test_taking_back_stops_an_answer_under_way(recommender: Recommender) -> None:
    visit = Visit()
    steps = answer(recommender, visit, "an action film")
    next(steps)
    assert visit.undo() == "an action film"
    assert list(steps) == []
    assert visit.turns == ()


def test_corrections_by_hand_are_taken_back_with_their_turn(recommender: Recommender) -> None:
    visit = Visit()
    run(answer(recommender, visit, "an action film"))
    run(answer(recommender, visit, preferences=Preferences(genres=("Horror",), language="en")))
    assert visit.edited is not None
    assert visit.undo() == ""
    assert visit.edited is None
    assert [t.said for t in visit.turns] == ["an action film"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_wish_by_chance_leads_somewhere(recommender: Recommender, language: str) -> None:
    for seed in range(6):
        visit = Visit(language)
        said = drawn(recommender, visit, random.Random(seed))
        turn = run(answer(recommender, visit, said))
        assert turn.recommendations, said
        assert turn.route == "recommend", said


def test_more_like_a_film_is_understood(recommender: Recommender) -> None:
    for language in LANGUAGES:
        visit = Visit(language)
        said = texts.say(language, "more_message", title="Heat")
        turn = run(answer(recommender, visit, said))
        assert turn.preferences is not None
        assert turn.preferences.similar_to == ("heat",), said
        assert "heat" not in [r.item.id for r in turn.recommendations]


def shown_list() -> list[Recommendation]:
    evil = Item("evil", "=1+1|[x](http://x) `*`", 1999, genres=("Drama",), runtime=61)
    return [Recommendation(FILMS[0], 1, -0.5, "crime, 2 h 50"), Recommendation(evil, 2, -1.0, EVIL)]


def test_a_list_is_kept_as_markdown_json_or_csv() -> None:
    kept = {kind: exported(shown_list(), kind, "pt") for kind in FORMATS}
    assert kept["md"].startswith("1. **Fogo contra Fogo** (1995, 2 h 50): crime, 2 h 50\n2. **=1+1")
    assert "[x](" not in kept["md"]
    assert "<script" not in kept["md"].replace("\\<", "")
    assert [r["item"]["id"] for r in json.loads(kept["json"])] == ["heat", "evil"]
    rows = list(csv.DictReader(io.StringIO(kept["csv"])))
    assert [r["title"] for r in rows] == ["Fogo contra Fogo", "'=1+1|[x](http://x) `*`"]
    assert rows[1]["why"] == EVIL


@pytest.mark.parametrize("text", ["=a", "+a", "-a", "@a", "\ta", "\ra"])
def test_a_spreadsheet_runs_nothing(text: str) -> None:
    row = exported([Recommendation(Item("x", text), 1, 0.0)], "csv", "en").split("\r\n", 1)[1]
    assert f"'{text}" in row


def test_the_links_hold_the_files() -> None:
    url = data_url("a é", "md")
    assert url.startswith("data:text/markdown;charset=utf-8;base64,")
    assert base64.b64decode(url.partition("base64,")[2]).decode() == "a é"


def test_the_last_list_can_be_kept_and_says_how_sure_it_is(recommender: Recommender) -> None:
    visit = Visit()
    run(answer(recommender, visit, "an action film"))
    html = "".join(cards.log(visit))
    assert html.count("download=") == len(FORMATS)
    assert 'class="lr-sure"' in html
    run(answer(recommender, visit, "who directed Alien?"))
    html = "".join(cards.log(visit))
    assert "download=" not in html.rpartition("<section")[2]
    assert "<q>Ridley Scott</q>" in html


def test_how_sure_is_said_in_words() -> None:
    for confidence, words in (
        (0.9, "Quite sure"),
        (0.6, "Fairly"),
        (0.3, "Not very"),
        (0.0, "A gu"),
    ):
        recommendations = tuple(shown_list()[:1])
        for calibrated in (True, False):
            turn = Turn("x", stage="done", recommendations=recommendations, confidence=confidence,
                        calibrated=calibrated)  # fmt: skip
            html = cards._sure(turn, "en", "films")
            assert words in html
            assert ("of 100 such lists" in html) is calibrated
    assert cards._sure(Turn("x", stage="done", confidence=0.5), "en", "films") == ""


def test_what_spoke_for_a_film_is_shown_the_strongest_first() -> None:
    told = Recommendation(FILMS[0], 1, -0.5, signals={"popularity": 0.2, EVIL: -0.9, "model": 0.5})
    html = cards.card(told, language="en", page_language="en")
    assert html.index("−0.90") < html.index("+0.50") < html.index("+0.20")
    assert "What the model makes of your words" in html
    assert "<script" not in html
    told = dataclasses.replace(told, signals={"disliked": -0.3})
    html = cards.card(told, language="pt", page_language="pt")
    assert "<span>Parecido com o que você não gostou</span>" in html
    assert "lr-spoke" not in cards.card(
        dataclasses.replace(told, signals={}), language="en", page_language="en"
    )


def test_many_visits_at_once_do_not_mix(recommender: Recommender) -> None:
    wanted = {"action": "Action", "comedy": "Comedy", "horror": "Horror", "drama": "Drama"}
    visits = [(Visit(), message) for message in wanted for _ in range(3)]
    threads = [
        threading.Thread(target=lambda v=v, m=m: run(answer(recommender, v, m)))  # type: ignore[misc]
        for v, m in visits
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for visit, message in visits:
        turn = visit.turns[-1]
        assert turn.stage == "done"
        assert turn.recommendations
        assert all(wanted[message] in r.item.genres for r in turn.recommendations)


def test_events_are_those_of_the_recommender(recommender: Recommender) -> None:
    kinds = [e.kind for e in recommender.stream("action") if isinstance(e, Event)]
    assert kinds[0] == "preferences"
    assert kinds[1] == "recommendations"
    assert kinds[-1] == "reply"
