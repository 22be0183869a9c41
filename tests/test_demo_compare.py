# ruff: noqa: E501  (tables of films)
"""The Compare screen: two answer blind, a vote, and only then the names."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
import string
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from serving import served

pytest.importorskip("gradio", reason="the extra demo is not installed")

import gradio as gr

from llmrec.catalog import Catalog
from llmrec.demo import compare as screen
from llmrec.demo import consent as box
from llmrec.demo import launch_options
from llmrec.demo.feedback import REASONS, Asked, Consent, Feedback, Tally, read_feedback
from llmrec.demo.match import Match, Round, Side, difference, embedded_contestants, play
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


def ids(side: Side) -> tuple[str, ...]:
    return side.ids


PAIR = ("known", "rare")


def test_lists_vote_reveal_and_a_second_message(contestants: dict[str, Recommender]) -> None:
    match, visit = Match(), Visit()
    first = run(play(contestants, match, "an action film", PAIR))
    assert first.stage == "done"
    by_name = {s.name: s for s in first.sides}
    assert set(by_name) == set(PAIR)
    assert ids(by_name["known"]) == tuple(f"action-{n}" for n in range(14, 9, -1))
    assert ids(by_name["rare"]) == tuple(f"action-{n}" for n in range(1, 6))
    before = screen._board(visit, match)
    assert "known" not in before
    assert "rare" not in before
    assert match.open

    voted = match.vote("a", ("new", "no such reason"))
    assert voted is not None
    assert voted.reasons == ("new",)
    after = screen._board(visit, match)
    assert f"A was {first.sides[0].name}. B was {first.sides[1].name}." in after
    assert match.vote("b") is None  # once only

    second = run(play(contestants, match, "and newer ones please", PAIR))
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
    run(play(contestants, Match(), "a comedy of at most 100 minutes"))
    (one, other) = given
    assert one[0] is other[0]
    assert one[1] is other[1]
    assert one[1].genres == ("Comedy",)
    assert one[1].runtime_max == 100


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
        steps = list(play(contestants, Match(), "an action film", PAIR, streamed=streamed))
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
    assert run(play(contestants, match, message, chosen)).problem == problem
    assert match.conversation == Conversation()
    assert not match.open
    for language in LANGUAGES:
        html = screen._board(Visit(language), match)
        assert re.search(r'role="alert">[^<{]{20,}<', html)
    assert run(play(contestants, match, "a comedy")).stage == "done"  # and on it goes


def test_a_failing_contestant_loses_nothing(contestants: dict[str, Recommender]) -> None:
    class Broken(Recommender):
        def stream(self, *args: Any, **kwargs: Any) -> Iterator[Event]:
            yield Event("preferences")
            raise RuntimeError("out of memory")

    known = contestants["known"]
    broken = Broken(known.model, known.catalog, profile=Profile(lead="rules", writes=False))
    match = Match()
    both = {"known": known, "broken": broken}
    assert run(play(both, match, "a comedy")).problem == "error_model"
    assert not match.open
    assert "out of memory" not in screen._board(Visit(), match)


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
    steps = play(slow, match, "a comedy", streamed=True)
    while next(steps).stage != "cards":
        pass
    match.stop()
    assert list(steps) == []
    assert match.rounds[-1].stage == "stopped"
    assert closed == ["closed"] * 2
    assert not match.open  # half an answer is not voted on
    steps = play(slow, match, "another comedy", streamed=True)
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
    html = screen._differences(Round("?", sides, "done"), "en")
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "2 of 3 in both" in text
    assert "Only in A Film p Only in B Film s" in text
    assert "Film q 2 2 same Film r 3 1 2 up" in text
    alone = screen._differences(Round("?", (sides[0], sides[0]), "done"), "es")
    assert alone.count("ninguno") == 2
    assert "<table>" in alone


def test_tally_counts_a_pair_whichever_stood_left() -> None:
    tally = Tally()
    for a, b, choice in (
        ("x", "y", "a"), ("y", "x", "b"), ("x", "y", "b"), ("y", "x", "equal"), ("x", "y", "bad"),
    ):  # fmt: skip
        tally.add(a, b, choice)
    assert dict(tally.counts) == {("x", "y"): {"first": 2, "second": 1, "equal": 1, "bad": 1}}
    html = screen._pair(("x", "y"), tally.counts["x", "y"], "en")
    assert "x: 2 · y: 1 · equal: 1 · both bad: 1" in html
    assert "x preferred in 67 % of decided votes (95 % interval 21 to 94 %)" in html
    assert "no decided vote yet" in screen._pair(("x", "y"), {"equal": 3}, "en")


def test_what_others_wrote_is_text() -> None:
    evil = [
        Item(f"e{n}", f"{EVIL} {n}", 2000, genres=("Western", EVIL), popularity=0.5)
        for n in range(4)
    ]
    known = recommender_of(LinearRanker(model=0.0), evil)
    both = {EVIL: known, f"{EVIL}2": known}
    match = Match()
    assert run(play(both, match, f"a western {EVIL}")).stage == "done"
    match.vote("a")
    for html in (screen._board(Visit(), match), screen._tallies(Visit(), match, match.tally)):
        assert "<script" not in html
        assert "<img" not in html
        assert "&lt;script" in html


@pytest.mark.parametrize("texts", [screen.TEXTS, box.TEXTS])
def test_every_text_is_there_in_the_three_languages(texts: dict[str, dict[str, str]]) -> None:
    def slots(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert set(texts) == set(LANGUAGES)
    for language in LANGUAGES:
        assert set(texts[language]) == set(texts["en"])
        for key, text in texts[language].items():
            assert text.strip()
            assert slots(text) == slots(texts["en"][key]), key
    if texts is screen.TEXTS:
        assert {*REASONS} <= {*texts["en"]}


def test_a_visit_is_its_own() -> None:
    match = Match()
    match.begin("hello")
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
            return blocks, screen.compare(contestants, gr.State(Visit()), "", feedback)

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
    choices = [f.fn.args[0] for f in blocks.fns.values() if _name(f.fn) == "cast_vote"]
    vote = {c: call(blocks, "cast_vote", nth=n) for n, c in enumerate(choices)}
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
    from llmrec.demo.match import as_asked

    match = Match()
    done = run(play(contestants, match, "something like Comedy Story 3", PAIR))
    asked = as_asked(contestants, done)
    assert {*done.sides[0].ids, *done.sides[1].ids, "comedy-3"} <= set(asked.titles)
    assert Asked.from_dict(asked.to_dict()) == asked


# -- in a browser ----------------------------------------------------------------------------------


def serve(port: int) -> None:
    """Serve the screen alone, in a tab, with feedback kept in a folder that goes with it."""
    contestants = {
        "known one": recommender_of(LinearRanker(model=0.0)),
        "rare one": recommender_of(LinearRanker(model=0.0, popularity=-1.5)),
    }
    looks = launch_options()
    css = resources.files("llmrec.demo").joinpath("compare.css").read_text(encoding="utf-8")
    script = resources.files("llmrec.demo").joinpath("page.js").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place, gr.Blocks(analytics_enabled=False) as blocks:
        visit = gr.State(Visit())
        with gr.Tab("Compare"):
            screen.compare(contestants, visit, script, Feedback(place))
        blocks.launch(
            **{**looks, "css": looks["css"] + css}, server_name="127.0.0.1", server_port=port,
            quiet=True, prevent_thread_lock=False,
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
        page.click("#lr-vote-bad")
        page.wait_for_selector(".lr-round:nth-of-type(2) .lr-told")
        assert "Kept, as you agreed." in page.locator(".lr-told").last.inner_text()
        page.click("#lr-withdraw")
        page.get_by_text("Rows deleted: 1.").wait_for()
        assert not page.get_by_label("Keep my feedback").is_checked()
        page.click("#lr-again")
        page.wait_for_function("!document.querySelector('.lr-round')")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
