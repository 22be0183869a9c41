# ruff: noqa: E501  (tables of films)
"""The Compare screen: two answer blind, a vote, and only then the names."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import json
import re
import sys
import tempfile
import weakref
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from serving import served

pytest.importorskip("gradio", reason="the extra demo is not installed")

import gradio as gr

from llmrec.catalog import Catalog
from llmrec.demo import Extras, launch_options
from llmrec.demo import board as html_of
from llmrec.demo import build as build_page
from llmrec.demo import compare as screen
from llmrec.demo.feedback import Asked, Consent, Feedback, Tally, read_feedback
from llmrec.demo.match import (
    Match,
    Round,
    Side,
    as_asked,
    difference,
    play,
)
from llmrec.demo.rivals import embedded_contestants, over
from llmrec.demo.texts import Words
from llmrec.demo.visit import Visit
from llmrec.errors import InputError
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.ranker.linear import LinearRanker
from llmrec.recommender import Event, Recommender
from llmrec.types import LANGUAGES, Conversation, Item, Recommendation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
SCRIPT = resources.files("llmrec.demo").joinpath("page.js").read_text(encoding="utf-8")
EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
FILMS = [
    Item(f"{genre}-{n}", f"{genre.title()} Story {n}", 1990 + n, genres=(genre.title(),), runtime=80 + 5 * n,
         popularity=n / 20, countries=("USA",))
    for genre in ("action", "comedy")
    for n in range(1, 15)
]  # fmt: skip


def recommender_of(ranker: LinearRanker, items: list[Item] = FILMS, **profile: Any) -> Recommender:
    return Recommender(
        ScriptedModel(scores=lambda tokens: np.zeros(260), name="scripted"),
        Catalog.from_items(items),
        ranker=ranker,
        profile=Profile(**{"lead": "rules", "writes": False, **profile}),
    )


@pytest.fixture(scope="module")
def contestants() -> dict[str, Recommender]:
    """ "known" lists what is popular, "rare" what is not, "twin" is the first once more."""
    return {
        "known": recommender_of(LinearRanker(model=0.0)),
        "rare": recommender_of(LinearRanker(model=0.0, popularity=-1.5)),
        "twin": recommender_of(LinearRanker(model=0.0)),
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as p:
        chromium = p.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """A page that must stay without errors and requests to other hosts."""
    with contextlib.closing(browser.new_context(reduced_motion="reduce")) as context:
        page = context.new_page()
        page.set_default_timeout(15_000)
        faults: list[str] = []
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        own = (address, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else faults.append(r.url))
        page.goto(address)
        page.wait_for_selector("#lr-ask-box textarea")
        yield page
        assert faults == []


def run(steps: Iterator[Round]) -> Round:
    return list(steps)[-1]


def board(visit: Visit, match: Match) -> str:
    return "".join(html_of.board(visit, match))


def ids(side: Side) -> tuple[str, ...]:
    return side.ids


PAIR = ("known", "rare")


def test_lists_vote_reveal_and_a_second_message(contestants: dict[str, Recommender]) -> None:
    match, visit = Match(), Visit()
    first = run(play(lambda: contestants, match, "an action film", PAIR))
    assert first.stage == "done"
    by_name = {s.name: s for s in first.sides}
    assert set(by_name) == set(PAIR)
    assert ids(by_name["known"]) == tuple(f"action-{n}" for n in range(14, 9, -1))
    assert ids(by_name["rare"]) == tuple(f"action-{n}" for n in range(1, 6))
    before = board(visit, match)
    assert "known" not in before
    assert "rare" not in before
    assert match.open

    voted = match.vote("a", ("new", "no such reason"))
    assert voted is not None
    assert voted.reasons == ("new",)
    after = board(visit, match)
    assert f"A was “{first.sides[0].name}”. B was “{first.sides[1].name}”." in after
    assert match.vote("b") is None  # once only

    second = run(play(lambda: contestants, match, "and newer ones please", PAIR))
    assert second.stage == "done"
    assert not second.vote
    assert second.asked.messages[1].items  # both lists stand in the one conversation
    assert set(second.asked.messages[1].items) == {*first.sides[0].ids, *first.sides[1].ids}
    shown_before = {*first.sides[0].ids, *first.sides[1].ids}
    for side in second.sides:
        assert side.ids
        assert not shown_before & {*side.ids}
    assert second.preferences is not None
    assert second.preferences.genres == ("Action",)
    assert len(match.rounds) == 2
    assert match.open


def test_both_are_given_the_same(
    contestants: dict[str, Recommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, Any]] = []

    def stream(self: Recommender, asked: Any, k: int, *, preferences: Any) -> Iterator[Event]:
        given.append((asked, preferences))
        return iter(())

    monkeypatch.setattr(Recommender, "stream", lambda *a, **k: (e for e in stream(*a, **k)))
    run(play(lambda: contestants, Match(), "a comedy of at most 100 minutes"))
    (one, other) = given
    assert one[0] is other[0]
    assert one[1] is other[1]
    assert one[1].genres == ("Comedy",)
    assert one[1].runtime_max == 100


def test_marks_count_for_both_and_tell_nobody(contestants: dict[str, Recommender]) -> None:
    match, visit = Match(), Visit()
    steps = play(lambda: contestants, match, "an action film", ("known", "twin"))
    while next(steps).stage != "cards":
        pass
    assert match.mark("action-14", "like") is not None  # while the answers are still coming
    first = run(steps)
    assert [s.ids[0] for s in first.sides] == ["action-14"] * 2
    pressed = 'data-mark="like" data-id="action-14" aria-pressed="true" aria-label="Like: Action Story 14"'
    assert board(visit, match).count(pressed) == 2  # it stands in both lists
    assert "known" not in board(visit, match)

    for mark in ("dislike", "dislike"):  # takes the like back, then itself
        assert match.mark("action-14", mark) is not None
    assert match.conversation.liked == match.conversation.disliked == ()
    match.mark("action-13", "like")
    match.mark("action-13", "seen")
    match.mark("action-12", "dislike")
    for item_id, mark in (("comedy-1", "like"), ("action-13", "adore"), ("", "seen")):
        assert match.mark(item_id, mark) is None
    second = run(play(lambda: contestants, match, "and newer ones please"))
    asked = second.asked
    assert (asked.liked, asked.disliked, asked.seen) == (
        ("action-13",),
        ("action-12",),
        ("action-13",),
    )
    assert second.preferences is not None
    assert (second.preferences.likes, second.preferences.dislikes) == (asked.liked, asked.disliked)
    assert {s.name for s in second.sides} == {"known", "twin"}
    assert (match.conversation.liked, match.conversation.seen) == (("action-13",), ("action-13",))
    match.clear()
    assert match.conversation == Conversation()


def test_order_is_of_chance_and_drawn_anew(contestants: dict[str, Recommender]) -> None:
    match = Match()
    orders = {match.draw(tuple(contestants), PAIR) for _ in range(60)}
    assert orders == {PAIR, PAIR[::-1]}  # one in 2 ** 59 that this fails by chance
    drawn = set()
    for _ in range(100):
        fresh = Match()
        pair = fresh.draw(tuple(contestants), ())
        drawn.add(frozenset(pair))
        assert {*fresh.draw(tuple(contestants), ())} == {*pair}  # the same two go on
    assert len(drawn) == 3
    assert all("rare" in Match().draw(tuple(contestants), ("rare",)) for _ in range(20))
    match.draw(tuple(contestants), ("known", "twin"))
    assert match.pair is not None
    assert {*match.pair} == {"known", "twin"}


def test_at_once_both_lists_come_together_and_streamed_one_by_one(
    contestants: dict[str, Recommender],
) -> None:
    for streamed in (False, True):
        steps = list(play(lambda: contestants, Match(), "an action film", PAIR, streamed=streamed))
        listed = [sum(s.listed for s in r.sides) for r in steps]
        assert (1 in listed) == streamed
        assert listed[0] == 0
        assert listed[-1] == 2


@pytest.mark.parametrize(
    ("message", "chosen", "problem"),
    [
        ("  ", (), "error_empty"),
        ("x" * 8_001, (), "error_long"),
        ("a comedy", ("rare", "rare"), "error_same"),
        ("hello, how are you?", (), "error_no_wish"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    contestants: dict[str, Recommender], message: str, chosen: tuple[str, ...], problem: str
) -> None:
    match = Match()
    assert run(play(lambda: contestants, match, message, chosen)).problem == problem
    assert match.conversation == Conversation()
    assert not match.open
    for language in LANGUAGES:
        html = board(Visit(language), match)
        assert re.search(r'role="alert">[^<{]{20,}<', html)
    assert run(play(lambda: contestants, match, "a comedy")).stage == "done"  # and on it goes


def test_a_failing_contestant_loses_nothing(contestants: dict[str, Recommender]) -> None:
    class Broken(Recommender):
        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Event]:
            yield Event("preferences")
            raise RuntimeError("out of memory")

    known = contestants["known"]
    broken = Broken(known.model, known.catalog, profile=Profile(lead="rules", writes=False))
    match = Match()
    both = {"known": known, "broken": broken}
    assert run(play(lambda: both, match, "a comedy")).problem == "error_model"
    assert not match.open
    assert "out of memory" not in board(Visit(), match)


def test_stop_and_leaving_end_both_models(contestants: dict[str, Recommender]) -> None:
    closed: list[str] = []

    class Slow(Recommender):
        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Event]:
            try:
                yield from Recommender.stream(self, *args, **kwargs)
                while True:
                    yield Event("text", text="more ")
            finally:
                closed.append("closed")

    def made(ranker: LinearRanker) -> Recommender:
        of = contestants["known"]
        return Slow(
            of.model, of.catalog, ranker=ranker, profile=Profile(lead="rules", writes=False)
        )

    slow = {"x": made(LinearRanker(model=0.0)), "y": made(LinearRanker(popularity=-1.0))}
    match = Match()
    steps = play(lambda: slow, match, "a comedy", streamed=True)
    while next(steps).stage != "cards":
        pass
    match.stop()
    assert list(steps) == []
    assert match.rounds[-1].stage == "stopped"
    assert closed == ["closed"] * 2
    assert not match.open  # half an answer is not voted on
    steps = play(lambda: slow, match, "another comedy", streamed=True)
    while next(steps).stage != "cards":
        pass
    steps.close()  # type: ignore[attr-defined]
    assert match.rounds[-1].stage == "stopped"
    assert closed == ["closed"] * 4


def of(*names: str) -> tuple[Recommendation, ...]:
    return tuple(Recommendation(Item(n, f"Film {n}"), r, -1.0) for r, n in enumerate(names, 1))


def test_difference_and_how_it_is_told() -> None:
    found = difference(of("p", "q", "r"), of("r", "q", "s"))
    assert [r.item.id for r in found.only_a] == ["p"]
    assert [r.item.id for r in found.only_b] == ["s"]
    assert [(x.item.id, x.rank, y.rank) for x, y in found.shared] == [("q", 2, 2), ("r", 3, 1)]
    sides = (Side("x", of("p", "q", "r"), "", True), Side("y", of("r", "q", "s"), "", True))
    html = html_of._differences(Round("?", "done", sides=sides), "en")
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "2 of 3 in both" in text
    assert "Only in A Film p Only in B Film s" in text
    assert "Film q 2 2 same Film r 3 1 2 up" in text
    alone = html_of._differences(Round("?", "done", sides=(sides[0], sides[0])), "es")
    assert alone.count("ninguno") == 2
    assert "<table>" in alone


def test_tally_counts_a_pair_whichever_stood_left() -> None:
    tally = Tally()
    for a, b, choice in (
        ("x", "y", "a"), ("y", "x", "b"), ("x", "y", "b"), ("y", "x", "equal"), ("x", "y", "bad"),
    ):  # fmt: skip
        tally.add(a, b, choice)
    assert dict(tally.counts) == {("x", "y"): {"first": 2, "second": 1, "equal": 1, "bad": 1}}
    html = html_of._pair(("x", "y"), tally.counts["x", "y"], "en")
    assert "x: 2 · y: 1 · equal: 1 · both bad: 1" in html
    assert "67 % of decided votes for “x” (95 % interval 21 to 94 %)" in html
    assert "no decided vote yet" in html_of._pair(("x", "y"), {"equal": 3}, "en")


def test_pictures_come_from_allowed_hosts_alone() -> None:
    films = [
        Item(f"w{n}", f"West {n}", genres=("Western",), price=n + 0.5,
             image=f"https://{host}/{n}.jpg")
        for n, host in enumerate(("img.example.org", "elsewhere.net"))
    ]  # fmt: skip
    known = recommender_of(LinearRanker(model=0.0), films)
    match = Match()
    run(play(lambda: {"x": known, "y": known}, match, "a western"))
    html = "".join(html_of.board(Visit(), match, ("img.example.org",)))
    assert html.count("https://img.example.org/0.jpg") == 2
    assert "elsewhere.net" not in html
    assert "example.org" not in board(Visit(), match)
    assert "Western · 1.50" in html


def test_what_others_wrote_is_text() -> None:
    evil = [
        Item(f"e{n}", f"{EVIL} {n}", 2000, genres=("Western", EVIL), popularity=0.5)
        for n in range(4)
    ]
    known = recommender_of(LinearRanker(model=0.0), evil)
    both = {EVIL: known, f"{EVIL}2": known}
    match = Match()
    assert run(play(lambda: both, match, f"a western {EVIL}")).stage == "done"
    match.vote("a")
    for html in (board(Visit(), match), html_of.tallies(Visit(), match, match.tally)):
        assert "<script" not in html
        assert "<img" not in html
        assert "&lt;script" in html


def test_a_visit_is_its_own() -> None:
    match = Match()
    match.begin(Round("hello"))
    assert copy.deepcopy(match).rounds == ()
    consent = Consent()
    consent.given = True
    other = copy.deepcopy(consent)
    assert not other.given
    assert other.id != consent.id


def test_contestants_must_be_two_of_one_catalogue(contestants: dict[str, Recommender]) -> None:
    with pytest.raises(InputError, match="at least two"):
        screen._check({"known": contestants["known"]})
    other = recommender_of(LinearRanker(), FILMS[:5])
    with pytest.raises(InputError, match="different catalogues"):
        screen._check({"known": contestants["known"], "other": other})


def test_embedded_contestants_differ_without_loading_anything(
    contestants: dict[str, Recommender],
) -> None:
    given = recommender_of(LinearRanker())
    made = embedded_contestants(given)
    assert len(made) >= 3
    assert made["all signals"] is given
    assert all(r.model is given.model and r.catalog is given.catalog for r in made.values())
    assert all(r.understander is given.understander for r in made.values())
    lists = {n: tuple(r.item.id for r in x.recommend("an action film")) for n, x in made.items()}
    assert lists["popularity alone"] != lists["lesser known"]


# -- the screen in an app --------------------------------------------------------------------------


@pytest.fixture
def app(contestants: dict[str, Recommender], tmp_path: Path) -> tuple[Any, Any, Feedback]:
    feedback = Feedback(tmp_path / "kept")

    async def build() -> tuple[Any, Any]:
        with gr.Blocks(analytics_enabled=False) as blocks:
            return blocks, screen.compare(contestants, gr.State(Visit()), SCRIPT, feedback)

    # Without a running loop gradio makes some and leaves them open.
    blocks, made = asyncio.run(build())
    return blocks, made, feedback


def call(blocks: Any, name: str, *, nth: int = 0) -> Any:
    """The function of a listener, by the name it has in ``compare``."""
    found = [f.fn for f in blocks.fns.values() if _name(f.fn) == name]
    return found[nth]


def _name(fn: Any) -> str:
    return str(getattr(getattr(fn, "func", fn), "__name__", ""))


def test_a_vote_is_kept_with_consent_alone(app: Any, contestants: dict[str, Recommender]) -> None:
    blocks, made, feedback = app
    visit, match, consent = Visit("pt"), Match(), Consent()
    answer, tick, withdraw = (call(blocks, n) for n in ("answer", "tick", "withdraw"))
    choices = [f.fn.args[0] for f in blocks.fns.values() if _name(f.fn) == "vote"]
    vote = {c: call(blocks, "vote", nth=n) for n, c in enumerate(choices)}
    assert set(vote) == {"a", "b", "equal", "bad"}
    settled = call(blocks, "settled")

    def asked(message: str) -> str:
        steps = list(answer(message, visit, match, "known", "rare", False))
        return str(next(v for v in steps[-1].values() if "data-stamp" in str(v)))

    def html(updates: dict[Any, Any]) -> str:
        return " ".join(str(v) for v in updates.values())

    assert "known" not in asked("um filme de ação")
    assert "True" in html(settled(visit, match))  # the ballot is there
    out = html(vote["a"](visit, match, consent, []))
    assert "não foi guardado" in out
    assert "known" in out
    assert "Os seus" in out
    assert not list(feedback.folder.glob("*.jsonl"))

    assert consent.id in html(tick(visit, consent, True))
    asked("e uma comédia")
    out = html(vote["b"](visit, match, consent, ["fit"]))
    assert "Guardado, como você permitiu." in out
    assert "Todos os guardados" in out
    html(vote["a"](visit, match, consent, []))  # a second vote on one round
    (pair,) = read_feedback(feedback.folder, "dpo")
    better, worse = match.rounds[-1].sides[1], match.rounds[-1].sides[0]
    assert pair["chosen"][0]["content"].startswith(f"1. {better.recommendations[0].item.title}\n")
    assert pair["rejected"][0]["content"].startswith(f"1. {worse.recommendations[0].item.title}\n")

    old = consent.id
    assert "Linhas apagadas: 1." in html(withdraw(visit, consent))
    assert not consent.given
    assert consent.id != old
    assert old not in "".join(f.read_text() for f in feedback.folder.glob("*.jsonl"))
    assert feedback.tally() == Tally()
    visit.language = "es"
    assert "Los tuyos" in html(made.texts(visit))
    assert "Tu voto: B es mejor." in html(made.texts(visit))
    assert {*made.texts(visit)} <= {*made.components}


def test_as_asked_names_every_item(contestants: dict[str, Recommender]) -> None:
    match = Match()
    done = run(play(lambda: contestants, match, "something like Comedy Story 3", PAIR))
    asked = as_asked(contestants, done)
    assert {*done.sides[0].ids, *done.sides[1].ids, "comedy-3"} <= set(asked.titles)
    assert Asked.from_dict(asked.to_dict()) == asked


def pressing(item_id: str, mark: str) -> Any:
    return SimpleNamespace(_data={"id": item_id, "mark": mark})


def test_a_mark_is_kept_with_consent_alone(app: Any) -> None:
    blocks, _, feedback = app
    visit, match, consent = Visit(), Match(), Consent()
    press = call(blocks, "press")
    list(call(blocks, "answer")("an action film", visit, match, "known", "twin", False))
    assert "true" in str(press(visit, match, consent, pressing("action-14", "like")))
    assert not list(feedback.folder.glob("*.jsonl"))
    consent.given = True
    for item_id, mark in (
        ("action-14", "like"), ("action-13", "like"), ("action-13", "seen"),
        ("action-12", "dislike"), ("action-11", "like"), ("action-11", "like"),
        ("no such film", "like"),
    ):  # fmt: skip
        press(visit, match, consent, pressing(item_id, mark))
    press(visit, match, consent, SimpleNamespace(_data="made up"))
    (file,) = feedback.folder.glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(r["item"], r["mark"]) for r in rows] == [
        ("action-14", "none"), ("action-13", "like"), ("action-12", "dislike"),
        ("action-11", "like"), ("action-11", "none"),
    ]  # fmt: skip
    assert {frozenset(r["by"].split(", ")) for r in rows} == {frozenset(("known", "twin"))}
    (liked,) = read_feedback(feedback.folder)
    assert liked["relevant"] == ["action-13"]
    assert liked["messages"][-1]["content"] == "1. Action Story 13\n"

    # What was marked stands in the question of the next round, and is named there.
    list(call(blocks, "answer")("and a comedy", visit, match, "known", "twin", False))
    press(visit, match, consent, pressing("comedy-14", "like"))
    both = read_feedback(feedback.folder)
    assert [r["relevant"] for r in both] == [["action-13"], ["comedy-14"]]


def test_another_catalogue_shows_the_comparison_anew(contestants: dict[str, Recommender]) -> None:
    async def build() -> Any:
        return build_page(contestants["known"], extras=Extras(contestants))

    blocks = asyncio.run(build())
    use = next(b for b in blocks.blocks.values() if getattr(b, "value", "") == "Use my catalogue")
    (switch,) = [f for f in blocks.fns.values() if (use._id, "click") in f.targets]
    then = [f for f in blocks.fns.values() if f.trigger_after == switch._id]
    shown = {getattr(c, "elem_id", "") for f in then for c in f.outputs}
    assert {"lr-log", "lr-board", "lr-ballot"} <= shown


KETTLES = [Item(f"k{n}", f"Kettle {n}", price=10.0 + n, keywords=("kettle",), popularity=n / 20,
                description=f"A kettle of {n} litres.") for n in range(1, 16)]  # fmt: skip


def test_an_own_catalogue_is_compared_over_and_stays_private(
    app: Any, contestants: dict[str, Recommender]
) -> None:
    blocks, made, feedback = app
    visit, match, consent = Visit(), Match(), Consent()
    consent.given = True
    answer = call(blocks, "answer")

    def ask(message: str) -> Round:
        list(answer(message, visit, match, "known", "rare", False))
        return match.rounds[-1]

    ask("an action film")
    mine = contestants["known"].with_catalog(Catalog.from_items(KETTLES))
    own: list[Recommender | None] = [mine]
    visit.other, visit.things = (lambda: own[0]), "products"
    said = str(made.texts(visit))  # as the page asks for when the catalogue is another
    assert match.rounds == ()
    assert "Headphones for running" in said
    assert "Action Story" not in said

    first = ask("a kettle")
    assert first.stage == "done"
    by_name = {s.name: s.ids for s in first.sides}
    assert by_name["known"] == ("k15", "k14", "k13", "k12", "k11")
    assert by_name["rare"] == ("k1", "k2", "k3", "k4", "k5")
    assert "Have it: Kettle 15" in board(visit, match)
    assert len(feedback.tally().counts) == 0
    vote = call(blocks, "vote")
    press = call(blocks, "press")
    press(visit, match, consent, pressing("k15", "dislike"))
    assert "not kept" in str(vote(visit, match, consent, []))
    assert not list(feedback.folder.glob("*.jsonl"))
    assert match.conversation.disliked == ("k15",)

    own[0] = None  # deleted, or gone while its visitor was away
    visit.things = "films"
    press(visit, match, consent, pressing("k14", "like"))
    assert match.rounds == ()
    assert ask("an action film").sides[0].ids[0].startswith("action-")
    assert sum(match.tally.counts["known", "rare"].values()) == 1

    there = weakref.ref(mine.catalog)
    del mine
    gc.collect()
    assert there() is None  # what was made for it went with it


def test_contestants_over_another_catalogue_share_what_is_costly(
    contestants: dict[str, Recommender],
) -> None:
    other = contestants["known"].with_catalog(Catalog.from_items(KETTLES))
    made = over(contestants, other)
    assert list(made) == list(contestants)
    for name, recommender in made.items():
        assert recommender.catalog is other.catalog
        assert recommender.understander is other.understander
        assert recommender.model is contestants[name].model


def test_names_of_the_page_are_said_in_the_language_and_kept_as_they_are(
    contestants: dict[str, Recommender], tmp_path: Path
) -> None:
    four = embedded_contestants(recommender_of(LinearRanker()))
    for what in ("name", "what"):
        known = {k for k in Words("compare") if k.startswith(f"{what}_")}
        assert known == {f"{what}_{name}" for name in four}
    visit, match = Visit("pt"), Match()
    run(play(lambda: four, match, "um filme de ação", ("popularity alone", "lesser known")))
    match.vote("a")
    shown = board(visit, match) + html_of.tallies(visit, match, match.tally)
    assert "só a popularidade" in shown
    assert "o menos conhecido: " in shown
    assert "era “só a popularidade” (o mais conhecido que serve)." in shown
    assert "popularity" not in shown
    assert ("o menos conhecido", "lesser known") in screen._seats(four, "pt")
    assert list(match.tally.counts) == [("lesser known", "popularity alone")]
    assert screen._seats({"me/tuned": four["all signals"]}, "es")[1] == ("me/tuned", "me/tuned")


# -- in a browser ----------------------------------------------------------------------------------


def serve(port: int) -> None:
    """Serve the screen alone, in a tab, with feedback kept in a folder that goes with it."""
    contestants = {
        "known one": recommender_of(LinearRanker(model=0.0)),
        "rare one": recommender_of(LinearRanker(model=0.0, popularity=-1.5)),
    }
    with tempfile.TemporaryDirectory() as place, gr.Blocks(analytics_enabled=False) as blocks:
        visit = gr.State(Visit())
        with gr.Tab("Compare"):
            screen.compare(contestants, visit, SCRIPT, Feedback(place))
        blocks.load(lambda: None, api_visibility="private")  # begins a visit, as on the page
        blocks.launch(
            **launch_options(), server_name="127.0.0.1", server_port=port, quiet=True,
            prevent_thread_lock=False,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")
def test_ask_vote_reveal_and_go_on_in_a_browser(browser: Browser) -> None:
    with served(__file__) as address, opened(browser, address) as page:

        def ask(message: str, rounds: int) -> None:
            page.fill("#lr-ask-box textarea", message)
            page.keyboard.press("Enter")
            page.wait_for_selector(f".lr-round:nth-of-type({rounds})[data-stage=done]")
            page.locator("#lr-votes").wait_for(state="visible")

        ask("an action film", 1)
        assert page.locator(".lr-side").count() == 2
        board = page.locator(".lr-board")
        assert "known one" not in board.inner_html()
        assert page.input_value("#lr-ask-box textarea") == ""
        shared = page.get_by_role("button", name="Seen: ").first
        shared.focus()
        page.keyboard.press("Space")
        page.wait_for_selector(".lr-mark[data-mark=seen][aria-pressed=true]")
        page.get_by_label("Something new").check()
        page.locator("#lr-vote-a").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".lr-told")
        assert "known one" in board.inner_text()
        assert "not kept" in page.inner_text(".lr-told")
        page.locator("#lr-votes").wait_for(state="hidden")
        assert "interval" in page.inner_text(".lr-tally")

        page.get_by_label("Keep my feedback").check()
        page.locator("#lr-withdraw").wait_for(state="visible")
        ask("and now a comedy", 2)
        assert not page.get_by_label("Something new").is_checked()
        top = "() => document.querySelector('.lr-round:last-child').getBoundingClientRect().top"
        page.wait_for_function(f"0 <= ({top})() && ({top})() < 200")  # the new lists are in view
        page.click("#lr-vote-bad")
        page.wait_for_selector(".lr-round:nth-of-type(2) .lr-told")
        assert "Kept, as you agreed." in page.locator(".lr-told").last.inner_text()
        page.click("#lr-withdraw")
        page.get_by_text("Rows deleted: 1.").wait_for()
        assert not page.get_by_label("Keep my feedback").is_checked()
        page.click("#lr-again")
        page.wait_for_function("!document.querySelector('.lr-round')")
        page.locator(".lr-board .lr-chip").first.click()
        page.wait_for_selector(".lr-round[data-stage=done]")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
