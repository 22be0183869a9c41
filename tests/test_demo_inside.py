# ruff: noqa: E501  (tables of films)
"""The screen that shows how a turn was answered: what is run again, counted and told."""

from __future__ import annotations

import asyncio
import copy
import html
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import shop

from llmrec.catalog import Catalog
from llmrec.demo.inside import inside
from llmrec.demo.inspection import Inspector, Stopped, asked_at, words_of
from llmrec.demo.screen import Screen
from llmrec.demo.texts import Words, say
from llmrec.demo.visit import Turn, Visit, answer
from llmrec.errors import InputError, ModelError
from llmrec.lexicon import Marked, Span
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.recommender import Recommender
from llmrec.types import LANGUAGES, Item, Preferences
from llmrec.wishes import meets_all, wishes

TEXTS = Words("inside")
EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
FILMS = [
    Item("heat", "Heat", 1995, titles={"pt": ("Fogo contra Fogo",)}, genres=("Action", "Crime"), runtime=170,
         directors=("Michael Mann",), cast=("Al Pacino", "Robert De Niro"), popularity=0.9),
    Item("speed", "Speed", 1994, genres=("Action", "Thriller"), runtime=116, directors=("Jan de Bont",),
         cast=("Keanu Reeves",), popularity=0.8, description="A bus must not slow down."),
    Item("wick", "John Wick", 2014, genres=("Action", "Thriller"), runtime=101, cast=("Keanu Reeves",), popularity=0.7),
    Item("alien", "Alien", 1979, genres=("Horror", "Sci-Fi"), runtime=117, directors=("Ridley Scott",), popularity=0.85),
    Item("amelie", "Amélie", 2001, genres=("Comedy",), runtime=122, popularity=0.8, countries=("France",)),
    Item("evil", EVIL, 2001, genres=("Western",), runtime=100, cast=(EVIL,), description=EVIL, popularity=0.1),
]  # fmt: skip


def recommender_of(items: list[Item], **profile: Any) -> Recommender:
    model = ScriptedModel(scores=lambda tokens: np.zeros(260), name="scripted")
    known = Profile(**{"lead": "rules", "writes": False, **profile})
    return Recommender(model, Catalog.from_items(items), profile=known)


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return recommender_of(FILMS)


def visit_of(recommender: Recommender, *messages: str, language: str = "en") -> Visit:
    visit = Visit(language, recommender.things)
    for message in messages:
        list(answer(recommender, visit, message))
    return visit


class Page:
    """The screen without a browser."""

    def __init__(self, recommender: Recommender, visit: Visit) -> None:
        self.visit = visit
        self.blocks, self.screen = asyncio.run(self._build(recommender))
        state = next(
            b
            for b in self.blocks.blocks.values()
            if isinstance(b, gr.State) and not isinstance(b.value, Visit)
        )
        self.found: Any = copy.deepcopy(state.value)

    async def _build(self, recommender: Recommender) -> tuple[gr.Blocks, Screen]:
        with gr.Blocks() as blocks, gr.Tabs(), gr.Tab("How it works"):
            return blocks, inside(recommender, gr.State(self.visit))

    def listener(self, event: str, of: str = "") -> Any:
        ids = {c._id for c in self.screen.components if c.elem_id == f"lr-i-{of}"}
        return next(
            f.fn
            for f in self.blocks.fns.values()
            if any(t[1] == event and (not of or t[0] in ids) for t in f.targets)
        )

    def named(self, out: dict[Any, Any]) -> dict[str, Any]:
        names = {c: c.elem_id.removeprefix("lr-i-") for c in self.screen.components}
        return {names[c]: v for c, v in out.items()}

    def arrive(self) -> dict[str, Any]:
        return self.named(self.listener("select")(self.visit, self.found))

    def steps(self, number: int | None) -> Iterator[dict[str, Any]]:
        asked = SimpleNamespace(session_hash="me")
        for out in self.listener("click", "look")(self.visit, number, self.found, asked):
            yield self.named(out)

    def look(self, number: int | None) -> dict[str, Any]:
        *_, last = self.steps(number)
        return last

    def stop(self) -> dict[str, Any]:
        return self.named(self.listener("click", "stop")(self.visit, self.found))

    def leave(self) -> None:
        self.listener("unload")(SimpleNamespace(session_hash="me"))


def text(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


# -- what is measured ---------------------------------------------------------------------------


def test_a_turn_gives_the_same_again_and_is_measured(recommender: Recommender) -> None:
    visit = visit_of(recommender, "thrillers with Keanu Reeves from the 90s", "and something funny")
    made = Inspector(recommender)(visit, 0)
    first = visit.turns[0]
    assert made.reply.preferences == first.preferences
    again = [(r.item.id, r.score) for r in made.reply.recommendations]
    assert again == [(r.item.id, r.score) for r in first.recommendations]
    assert set(made.seconds) == {"route", "understand", "first", "rank", "words", "whole"}
    parts = sum(made.seconds[n] for n in ("first", "rank", "words"))
    assert parts == pytest.approx(made.seconds["whole"], rel=0.05, abs=0.001)
    assert made.route.kind == "recommend"
    assert visit.conversation.messages[2:]  # a later turn is there, and was not read


def test_candidates_after_each_wish_are_those_of_a_plain_count(recommender: Recommender) -> None:
    visit = visit_of(recommender, "thrillers with Keanu Reeves from the 90s, no horror")
    made = Inspector(recommender)(visit, 0)
    asked = wishes(made.reply.preferences)
    assert [f.wish for f in made.filters] == list(asked)
    assert made.fresh == made.catalog == len(FILMS)
    for n, filtered in enumerate(made.filters, 1):
        assert filtered.left == sum(meets_all(i, asked[:n]) for i in FILMS)
    assert made.candidates == 1
    assert made.dropped == ()


def test_what_is_given_up_is_told(recommender: Recommender) -> None:
    visit = visit_of(recommender, "horror films with Keanu Reeves")
    made = Inspector(recommender)(visit, 0)
    assert made.filters[-1].left == 0
    assert made.dropped
    assert made.candidates == len(visit.turns[0].recommendations)
    shown = text(Page(recommender, visit).look(0)["shown"])
    assert "Nothing met all of it" in shown


def test_what_was_shown_before_is_no_candidate(recommender: Recommender) -> None:
    visit = visit_of(recommender, "thrillers", "more thrillers please")
    shown = {r.item.id for r in visit.turns[0].recommendations}
    made = Inspector(recommender)(visit, 1)
    assert made.fresh == len(FILMS) - len(shown)


def test_the_search_says_what_it_took(recommender: Recommender) -> None:
    visit = visit_of(recommender, "a film")
    found = Inspector(recommender)(visit, 0).searched
    assert found is not None
    assert found.exact
    assert found.gap == 0.0
    assert found.forwards >= 1
    assert found.tokens > 0
    assert len(found.best) == 5
    likely = [p for _, p in found.best]
    assert likely == sorted(likely, reverse=True)
    assert [(i.id, p) for i, p in found.best] == [
        (i.id, p) for i, p in recommender.search(asked_at(visit, 0), 5)
    ]


def test_a_question_tells_how_it_was_read(recommender: Recommender) -> None:
    visit = visit_of(recommender, "Who directed Heat?", "And how long is it?")
    made = Inspector(recommender)(visit, 1)
    assert made.reply.route == "question"
    assert made.case is not None
    assert (made.case.asked.kind, made.case.asked.field) == ("fact", "runtime")
    assert [s.item.id for s in made.case.sources] == ["heat"]
    page = Page(recommender, visit)
    shown = text(page.look(0)["shown"])
    assert "It asks for: a fact." in shown
    assert "Michael Mann" in shown


def test_the_conversation_of_a_turn_leaves_out_what_failed(recommender: Recommender) -> None:
    visit = visit_of(recommender, "thrillers", "   ", "something shorter")
    assert [t.stage for t in visit.turns] == ["done", "failed", "done"]
    said = [m.content for m in asked_at(visit, 2).messages if m.role == "user"]
    assert said == ["thrillers", "something shorter"]
    with pytest.raises(InputError, match="empty"):
        Inspector(recommender)(visit, 1)
    with pytest.raises(InputError, match="turn 7"):
        Inspector(recommender)(visit, 7)


def test_a_turn_by_hand_is_run_with_its_own_preferences(recommender: Recommender) -> None:
    visit = visit_of(recommender, "thrillers")
    by_hand = Preferences(genres=("Comedy",), language="en")
    list(answer(recommender, visit, preferences=by_hand))
    made = Inspector(recommender)(visit, 1)
    assert made.reply.preferences.genres == ("Comedy",)
    assert [r.item.id for r in made.reply.recommendations] == ["amelie"]


def test_words_come_from_the_spans_of_their_kind() -> None:
    said = "90s crime, shorter, no horror"
    spans = (
        Span(0, 3, "year", low=1990, high=1999), Span(4, 9, "genre", ("Crime",)),
        Span(11, 18, "critique", ("shorter",)), Span(23, 29, "genre", ("Horror",)),
    )  # fmt: skip
    preferences = Preferences(
        genres=("Crime",), genres_out=("Horror",), year_min=1990, runtime_max=100, people=("Ana",),
        text="slow",
    )  # fmt: skip
    found = {w.field: w.words for w in words_of(preferences, [Marked(said, spans, said)])}
    assert found == {
        "genres": ("crime",), "genres_out": ("horror",), "year_min": ("90s",),
        "runtime_max": ("shorter",), "people": (), "text": (),
    }  # fmt: skip


def test_products_are_looked_into_too() -> None:
    recommender = recommender_of(list(shop.PRODUCTS))
    visit = visit_of(recommender, f"{shop.PRODUCTS[0].title} for at most 1000")
    made = Inspector(recommender)(visit, 0)
    assert made.catalog == len(shop.PRODUCTS)
    if made.reply.route == "recommend":
        assert "share a word" in text(Page(recommender, visit).look(0)["shown"])


# -- what is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_turn_is_shown_step_by_step(recommender: Recommender, language: str) -> None:
    visit = visit_of(recommender, "thrillers with Keanu Reeves from the 90s", language=language)
    page = Page(recommender, visit)
    said = page.arrive()
    assert said["turn"]["choices"] == [("1. thrillers with Keanu Reeves from the 90s", 0)]
    assert said["turn"]["value"] == 0
    shown = page.look(0)["shown"]
    told = text(shown)
    own = TEXTS.within(language)
    keys = ("steps", "route", "read", "understood", "candidates", "search", "signals", "exact")
    for key in keys:
        assert own[key] in told
    assert "<mark>Keanu Reeves<small>" in shown
    assert shown.count("<h4>") == 1
    assert own["signal_popularity"] in told
    # It stays in view, in another language, until more is said.
    page.visit.language = "es"
    assert TEXTS("es", "steps") in page.arrive()["shown"]
    list(answer(recommender, visit, "something funny"))
    after = page.arrive()
    assert (after["shown"], after["turn"]["value"]) == ("", 1)


def test_before_anything_is_said(recommender: Recommender) -> None:
    page = Page(recommender, Visit("pt"))
    said = page.arrive()
    assert said["look"]["interactive"] is False
    assert TEXTS("pt", "none") in said["status"]
    assert 'role="alert"' in page.look(None)["status"]
    out = page.screen.texts(page.visit)
    assert set(out) <= set(page.screen.components)


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_others_are_no_markup(recommender: Recommender, language: str) -> None:
    visit = visit_of(
        recommender,
        f"westerns {EVIL}",
        f'What is "{EVIL}" about?',
        "hello",
        EVIL,
        language=language,
    )
    page = Page(recommender, visit)
    for number in range(len(visit.turns)):
        shown = page.look(number)["shown"]
        assert shown
        assert "<script" not in shown
        assert "<img" not in shown


def test_a_model_that_fails_is_a_sentence(recommender: Recommender) -> None:
    def fails(tokens: Any) -> Any:
        raise ModelError("no memory <left>")

    visit = visit_of(recommender, "thrillers")
    broken = Recommender(
        ScriptedModel(scores=fails, name="broken"), recommender.catalog,
        profile=Profile(lead="rules", writes=False),
    )  # fmt: skip
    out = Page(broken, visit).look(0)
    assert TEXTS("en", "failed") in text(out["status"])
    assert out["shown"] == ""


def test_a_turn_that_was_never_answered(recommender: Recommender) -> None:
    visit = Visit()
    visit.begin(Turn("thrillers"))
    visit.stop()
    made = Inspector(recommender)(visit, 0)
    assert {r.item.id for r in made.reply.recommendations} == {"speed", "wick"}


# -- what is stopped ----------------------------------------------------------------------------


class Slow:
    """A model whose first call waits for what ``meanwhile`` does, and which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, tokens: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            self.meanwhile()
        return np.zeros(260)


@pytest.fixture
def slow(recommender: Recommender) -> tuple[Page, Slow, int]:
    """A page whose model is slow, and how often a look that goes through calls it."""
    model = Slow()
    slowed = Recommender(
        ScriptedModel(scores=model, name="slow"), recommender.catalog,
        profile=Profile(lead="rules", writes=False),
    )  # fmt: skip
    page = Page(slowed, visit_of(recommender, "thrillers", "something funny"))
    assert page.look(0)["shown"]
    whole, model.calls = model.calls, 0
    return page, model, whole


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_look_is_stopped_within_a_step(slow: tuple[Page, Slow, int], language: str) -> None:
    page, model, whole = slow
    page.visit.language = language
    during: list[dict[str, Any]] = []
    model.meanwhile = lambda: during.append(page.stop())
    first, last = page.steps(0)
    assert TEXTS(language, "waiting") in first["status"]
    assert (first["stop"]["interactive"], first["shown"]) == (True, "")
    for out in (*during, last):
        assert text(out["status"]) == say(language, "stopped")
        assert (out["stop"]["interactive"], out["shown"]) == (False, "")
    assert 0 < model.calls < whole
    assert page.screen.texts(page.visit)
    assert page.look(1)["shown"]  # and another one runs through


def test_asking_for_another_turn_ends_the_one_that_runs(slow: tuple[Page, Slow, int]) -> None:
    page, model, whole = slow
    second: list[dict[str, Any]] = []
    before: list[int] = []

    def ask() -> None:
        second.append(page.look(1))
        before.append(model.calls)

    model.meanwhile = ask
    *_, last = page.steps(0)
    assert "something <mark>funny" in second[0]["shown"]
    assert last["shown"] == second[0]["shown"]  # the older one changes nothing
    assert model.calls - before[0] < whole - 1
    assert page.arrive()["turn"]["value"] == 1


@pytest.mark.parametrize("how", ["leave", "say more", "start over"])
def test_a_look_ends_with_what_it_looks_at(slow: tuple[Page, Slow, int], how: str) -> None:
    page, model, whole = slow
    model.meanwhile = {
        "leave": page.leave,
        "say more": lambda: page.visit.begin(Turn("and westerns")),
        "start over": page.visit.clear,
    }[how]
    *_, last = page.steps(0)
    assert last["shown"] == ""
    assert 0 < model.calls < whole


def test_an_inspector_that_is_stopped_says_so(recommender: Recommender) -> None:
    visit = visit_of(recommender, "thrillers")
    with pytest.raises(Stopped):
        Inspector(recommender)(visit, 0, stopped=lambda: True)


def test_each_visitor_has_a_look_of_his_own(recommender: Recommender) -> None:
    page = Page(recommender, visit_of(recommender, "thrillers"))
    page.look(0)
    other = copy.deepcopy(page.found)
    assert (page.found.seen is not None, other.seen, other.running) == (True, None, False)


def test_another_catalogue_is_looked_into_where_it_answers(recommender: Recommender) -> None:
    other = recommender_of([Item("only", "Only One", 1999, genres=("Drama",))])
    visit = visit_of(other, "a drama")
    page = Page(recommender, visit)
    visit.other = lambda: other
    shown = page.look(0)["shown"]
    assert "Only One" in shown
    assert page.arrive()["shown"] == shown
    visit.other = lambda: None  # back to the catalogue of the page
    assert page.arrive()["shown"] == ""
    assert page.found.seen is None


def test_what_was_seen_goes_when_another_thing_is_said(recommender: Recommender) -> None:
    visit = visit_of(recommender, "thrillers")
    page = Page(recommender, visit)
    assert page.look(0)["shown"]
    visit.clear()
    list(answer(recommender, visit, "something funny"))
    assert page.arrive()["shown"] == ""
