# ruff: noqa: E501  (scripts and tables)
"""The page in a real browser, served by a process of its own.

``python tests/test_browser.py 7999`` serves the page that is tested here.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from serving import served

from llmrec.types import Item

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

CHROMIUM = Path("/usr/bin/chromium")
CALM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
EVIL = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
GENRES = ("Action", "Comedy", "Horror", "Drama", "Romance")
HOSTS = ("img.example.org", "*.cdn.example.org")
PICTURES = {
    "drama-1": "https://img.example.org/drama.png",
    "drama-2": "https://eu.cdn.example.org/broken.png",
    "drama-3": "https://other.example.org/never.png",
}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
]


def films() -> list[Item]:
    """Nine films of each genre, and one whose every text is an attack."""
    made = [
        Item(
            f"{genre.lower()}-{n}",
            f"{genre} Story {n}",
            1990 + n,
            original_title=f"Original {genre} {n}",
            titles={"pt": (f"História {n} de {genre}",), "es": (f"Historia {n} de {genre}",)},
            genres=(genre,),
            directors=(f"Direct Or{n}",),
            countries=("USA",),
            runtime=80 + 10 * n,
            popularity=n / 10,
            description=f"The story number {n}.",
        )
        for genre in GENRES
        for n in range(1, 10)
    ]
    evil = Item(
        "evil", f"Western {EVIL}", 2001, original_title=EVIL, genres=("Western", EVIL), cast=(EVIL,),
        countries=(EVIL,), keywords=(EVIL,), runtime=90, popularity=1.0, description=EVIL,
        image="https://other.example.org/evil.png",
    )  # fmt: skip
    return [dataclasses.replace(i, image=PICTURES.get(i.id, "")) for i in made] + [evil]


def serve(port: int) -> None:
    """Serve the page, with a model that takes its time for the prose."""
    import numpy as np

    from llmrec.catalog import Catalog
    from llmrec.demo import Extras, build, launch_options
    from llmrec.models.profile import Profile
    from llmrec.models.scripted import ScriptedModel
    from llmrec.recommender import Recommender

    class Slow(ScriptedModel):
        def stream(self, prompt: Any, **kwargs: Any) -> Iterator[str]:
            said = str(prompt)  # the whole conversation
            slow = "slowly" in said and "quickly" not in said
            for i in range(400 if slow else 60 if "gently" in said else 12):
                time.sleep(0.03)
                yield f"<b>This is good</b>, and it goes on {i}. "

    recommender = Recommender(
        Slow(scores=lambda tokens: np.zeros(260), name="scripted <model>"),
        Catalog.from_items(films()),
        profile=Profile(lead="rules", writes=True),
    )
    extras = Extras(pictures=HOSTS, links=True)
    app = build(recommender, embedded=True, extras=extras)
    app.launch(**launch_options(extras), server_name="127.0.0.1", server_port=port, quiet=True)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(__file__) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=list(CALM))
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(
    browser: Browser,
    address: str,
    *,
    language: str = "en-US",
    width: int = 1280,
    query: str = "",
) -> Iterator[Page]:
    """A new visitor's page, which must stay without errors and requests to other hosts."""
    with contextlib.closing(
        browser.new_context(
            locale=language, viewport={"width": width, "height": 800}, reduced_motion="reduce"
        )
    ) as context:
        page = context.new_page()
        page.set_default_timeout(15_000)
        faults: list[str] = []
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.on(
            "request",
            lambda r: (
                None if r.url.startswith((address, "data:", "blob:")) else faults.append(r.url)
            ),
        )
        page.goto(address + query)
        page.wait_for_selector(f"[data-page-language={language[:2]}]")
        yield page
        assert page.evaluate("window.hacked") is None
        assert faults == []


def ask(page: Page, message: str, *, wait: bool = True) -> None:
    turns = page.locator(".lr-turn").count()
    page.fill("#lr-box textarea", message)
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('.lr-turn').length > n", arg=turns)
    if wait:
        page.wait_for_function(
            "!['thinking', 'cards'].includes([...document.querySelectorAll('.lr-turn')].at(-1).dataset.stage)"
        )


def shown(page: Page) -> list[str]:
    """The ids of the films in the newest turn."""
    buttons = page.locator(".lr-turn").last.locator("[data-mark=like]")
    return [b.get_attribute("data-id") or "" for b in buttons.all()]


def test_a_conversation(browser: Browser, address: str) -> None:
    with visit(browser, address) as page:
        assert "scripted <model>" in page.inner_text(".lr-model")
        page.locator(".lr-chip").first.wait_for()
        ask(page, "an action film of at most two hours, gently", wait=False)
        page.wait_for_selector(".lr-turn[data-stage=cards] .lr-card")  # before the prose ends
        page.wait_for_selector(".lr-turn[data-stage=done]")
        first = shown(page)
        assert len(first) == 4  # those of at most 120 minutes
        card = page.locator(".lr-card").first
        for part in ("Action Story", "Original Action", "2 h", "at most 2 h", "% of the choice"):
            assert part in card.inner_text()
        assert card.locator(".lr-poster").is_visible()
        assert page.locator(".lr-prose").inner_text().startswith("<b>This is good</b>")

        like = page.locator(f"[data-id={first[0]}][data-mark=like]")
        like.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(f"[data-id={first[0]}][data-mark=like][aria-pressed=true]")
        assert page.evaluate("document.activeElement.dataset.mark") == "like"  # the focus stays
        page.click(f"[data-id={first[1]}][data-mark=dislike]")
        page.click(f"[data-id={first[2]}][data-mark=seen]")
        page.wait_for_selector(f"[data-id={first[2]}][data-mark=seen][aria-pressed=true]")

        assert page.locator("#lr-genres .token").inner_text().strip() == "Action"
        assert page.locator("#lr-runtime_max input").input_value() == "120"
        page.fill("#lr-runtime_max input", "-3")
        page.click("#lr-apply")
        page.wait_for_selector("#lr-wrong p")
        assert "whole number from 1 to 900" in page.inner_text("#lr-wrong")
        assert page.locator(".lr-turn").count() == 1
        page.fill("#lr-runtime_max input", "130")
        page.click("#lr-apply")
        page.wait_for_selector(".lr-turn:nth-of-type(2)[data-stage=done]")
        again = shown(page)
        assert set(again) == {first[0], first[3], "action-5"}  # not the disliked, not the seen
        assert page.locator("#lr-wrong p").count() == 0

        page.click("#lr-over")
        page.wait_for_selector(".lr-welcome")
        assert page.locator("#lr-genres .token").count() == 0


def test_language_follows_the_browser_and_the_switch(browser: Browser, address: str) -> None:
    with visit(browser, address, language="pt-BR") as page:
        assert page.get_by_text("O que vamos ver hoje?").is_visible()
        assert page.evaluate("document.documentElement.lang") == "pt"
        page.click("[data-language=es]")
        page.get_by_text("¿Qué vemos hoy?").wait_for()
        assert page.locator("#lr-send").inner_text() == "Enviar"
        ask(page, "una comedia")
        assert page.locator(".lr-title").first.inner_text().startswith("Historia")
        page.click("[data-language=en]")
        page.wait_for_selector("[data-page-language=en]")
        assert "Dislike" in page.locator(".lr-card").first.inner_text()
        page.locator(".lr-turn .lr-chip").first.click()
        page.wait_for_selector(".lr-turn:nth-of-type(2)[data-stage=done]")
        assert shown(page)
        assert page.locator(".lr-missed").count() == 0  # a chip leads somewhere


def test_a_phone_has_no_sideways_scroll(browser: Browser, address: str) -> None:
    with visit(browser, address, language="es-ES", width=375) as page:

        def overflow() -> int:
            return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

        assert overflow() <= 0
        ask(page, "terror, " + "x" * 300)
        assert overflow() <= 0
        assert page.evaluate(
            "[...document.querySelectorAll('.lr-card *')].every(e => e.getBoundingClientRect().right <= 376)"
        )
        assert not page.locator("#lr-genres").is_visible()
        page.click("[data-panel=open]")
        assert page.locator("#lr-genres").is_visible()
        assert overflow() <= 0
        page.keyboard.press("Escape")
        assert not page.locator("#lr-genres").is_visible()


def test_scripts_in_messages_and_films_are_text(browser: Browser, address: str) -> None:
    with visit(browser, address) as page:
        ask(page, f"western {EVIL}")
        assert shown(page) == ["evil"]
        assert EVIL in page.inner_text(".lr-said")
        assert EVIL in page.inner_text(".lr-title")
        assert page.locator(".lr-about").count() == 0  # its text is no description
        assert page.locator(".lr-log script, .lr-log img").count() == 0


def test_bad_messages_get_a_sentence(browser: Browser, address: str) -> None:
    with visit(browser, address) as page:
        ask(page, "drama")
        page.focus("#lr-box textarea")
        page.keyboard.press("Enter")
        page.wait_for_selector(".lr-turn:nth-of-type(2) .lr-problem")
        assert "The message is empty" in page.locator(".lr-problem").inner_text()
        ask(page, "x" * 50_000)
        assert "50,000 characters" in page.locator(".lr-problem").last.inner_text()
        assert len(page.input_value("#lr-box textarea")) == 50_000
        ask(page, "comedy")
        assert len(shown(page)) == 5
        assert page.locator(".lr-turn").count() == 4


def test_stop_ends_the_answer(browser: Browser, address: str) -> None:
    with visit(browser, address) as page:
        ask(page, "show me a romance, slowly", wait=False)
        page.wait_for_selector(".lr-growing")
        assert not page.locator("#lr-send").is_visible()
        page.click("#lr-stop")
        page.wait_for_selector(".lr-turn[data-stage=stopped]")
        page.wait_for_selector("#lr-send")
        assert not page.locator("#lr-stop").is_visible()
        words = page.inner_text(".lr-prose")
        time.sleep(0.3)
        assert page.inner_text(".lr-prose") == words
        assert "on 399." not in words
        ask(page, "horror, quickly")
        assert page.locator(".lr-turn").last.get_attribute("data-stage") == "done"


def test_six_visitors_at_once_do_not_mix(browser: Browser, address: str) -> None:
    with contextlib.ExitStack() as stack:
        # Two to a context: each page keeps two connections open, and a context has six to a host.
        pages = [stack.enter_context(visit(browser, address)) for _ in range(3)]
        for first in pages[:3]:
            page = first.context.new_page()
            page.goto(address)
            page.wait_for_selector("[data-page-language=en]")
            pages.append(page)
        for n, page in enumerate(pages):
            page.fill("#lr-box textarea", GENRES[n % 5].lower())
        for page in pages:
            page.press("#lr-box textarea", "Enter")
        for n, page in enumerate(pages):
            page.wait_for_selector(".lr-turn[data-stage=done]", timeout=30_000)
            genre = GENRES[n % 5].lower()
            assert page.locator(".lr-turn").count() == 1
            assert len(shown(page)) == 5
            assert all(i.startswith(f"{genre}-") for i in shown(page))


def test_pictures_come_from_the_hosts_that_the_owner_named(browser: Browser, address: str) -> None:
    import numpy as np
    from PIL import Image

    asked: list[str] = []
    pauses = iter([100] * 50)

    def fulfil(route: Route) -> None:
        asked.append(route.request.url)
        assert "referer" not in route.request.headers
        good = "broken" not in route.request.url
        route.fulfill(
            status=200 if good else 404, content_type="image/png", body=PNG if good else b""
        )

    with contextlib.closing(browser.new_context(reduced_motion="reduce")) as context:
        context.route("https://**/*", fulfil)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.goto(address)
        page.wait_for_selector("[data-page-language=en]")
        assert asked == []
        ask(page, "dramas from 1991 to 1993")
        assert sorted(shown(page)) == ["drama-1", "drama-2", "drama-3"]
        page.wait_for_function("document.querySelector('[src$=\"/drama.png\"]').naturalWidth")
        with contextlib.suppress(StopIteration):
            while len(asked) < 2:
                page.wait_for_timeout(next(pauses))
        page.wait_for_timeout(300)
        named = [PICTURES["drama-2"], PICTURES["drama-1"]]
        assert sorted(asked) == sorted(named)  # and none of the third, nor one of them twice

        def art(item: str) -> Locator:
            return page.locator(f".lr-card:has([data-id={item}]) .lr-art")

        def looks(item: str) -> Any:
            png = art(item).screenshot(animations="disabled")
            return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)

        before = {item: looks(item) for item in PICTURES}
        assert art("drama-3").locator("img").count() == 0
        page.evaluate("document.querySelectorAll('.lr-card img').forEach(i => i.remove())")
        changed = {item: np.abs(looks(item) - before[item]).max() for item in PICTURES}
        assert changed["drama-1"] > 60
        assert changed["drama-2"] < 20  # the poster was seen; its edges may be smoothed anew
        assert changed["drama-3"] < 20

        # Were a picture from elsewhere to stand in the page, the browser would not ask for it.
        refused = page.evaluate(
            """address => new Promise((done) => {
                 document.addEventListener('securitypolicyviolation', (e) => done(e.blockedURI));
                 const picture = new Image();
                 picture.onload = () => done('it was loaded');
                 picture.src = address;
               })""",
            PICTURES["drama-3"],
        )
        assert refused == PICTURES["drama-3"]
        assert sorted(asked) == sorted(named)


@pytest.mark.parametrize(
    ("language", "heading", "all_of_these", "first"),
    [
        ("en", "A list that somebody shared with you", "Something like all of these",
         "more like the first"),
        pytest.param("pt", "Uma lista que alguém compartilhou com você",
                     "Algo parecido com todos esses", "mais como o primeiro",
                     marks=pytest.mark.slow),
        pytest.param("es", "Una lista que alguien compartió contigo",
                     "Algo parecido a todas ellas", "más como la primera",
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_shared_list_is_a_turn_to_go_on_from(
    browser: Browser, address: str, language: str, heading: str, all_of_these: str, first: str
) -> None:
    query = "?list=horror-9,no-such-film,comedy-2"
    with visit(browser, address, language=language, query=query) as page:
        assert page.inner_text(".lr-shared") == heading
        assert shown(page) == ["horror-9", "comedy-2"]
        turn = page.locator(".lr-turn")
        assert turn.locator(".lr-share, .lr-why, .lr-wishes, .lr-sure, .lr-said").count() == 0
        assert "The story number 2." in turn.inner_text()
        page.click("[data-id=comedy-2][data-mark=seen]")
        page.wait_for_selector("[data-id=comedy-2][data-mark=seen][aria-pressed=true]")

        ask(page, first)
        assert "9" in page.inner_text("#lr-similar_to .token")
        assert page.locator("#lr-similar_to .token").count() == 1
        page.click("#lr-undo")
        page.wait_for_function("document.querySelectorAll('.lr-turn').length === 1")
        other = "es" if language != "es" else "en"
        page.click(f"[data-language={other}]")
        page.wait_for_selector(f"[data-page-language={other}]")
        assert page.inner_text(".lr-shared") != heading
        assert page.locator("[data-id=comedy-2][aria-pressed=true]").count() == 1
        page.click(f"[data-language={language}]")
        page.wait_for_selector(f"[data-page-language={language}]")
        assert page.input_value("#lr-year_min input") == ""
        page.click(f".lr-turn .lr-chip:has-text('{all_of_these}')")
        page.wait_for_selector(".lr-turn:nth-of-type(2)[data-stage=done]")
        assert not {"horror-9", "comedy-2"} & {*shown(page)}
        page.click("#lr-over")
        page.wait_for_selector(".lr-welcome")
        assert page.locator(".lr-shared").count() == 0


def test_a_list_is_shared_by_its_link(browser: Browser, address: str) -> None:
    with visit(browser, address) as page:
        ask(page, "a comedy")
        listed = shown(page)
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.click("[data-copy]")
        page.get_by_text("The link is copied.").wait_for()
        link = page.locator(".lr-link").get_attribute("href")
        assert page.evaluate("navigator.clipboard.readText()") == address + str(link)
        with page.expect_popup() as opened:
            page.click(".lr-link")
        friend = opened.value
        friend.wait_for_selector(".lr-shared")
        assert shown(friend) == listed
        assert shown(page) == listed

        page.evaluate(
            "() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }"
        )
        page.click("[data-copy]")
        page.get_by_text("The browser does not allow it").wait_for()
        assert page.locator(".lr-copied").get_attribute("role") == "status"


def test_a_link_to_nothing_says_so_and_no_more(browser: Browser, address: str) -> None:
    query = "?list=nothing,%3Cb%3Ebuy%20this," + "x" * 1_000
    with visit(browser, address, language="pt-BR", query=query) as page:
        assert page.inner_text(".lr-turn .lr-problem") == (
            "Este catálogo não tem nada da lista deste link. Diga o que você procura."
        )
        assert page.locator(".lr-turn [role=alert]").count() == 1
        assert "buy" not in page.inner_text(".lr-log")
        assert page.input_value("#lr-year_min input") == ""
        ask(page, "uma comédia")
        assert len(shown(page)) == 5


def test_the_endpoint(address: str) -> None:
    client = pytest.importorskip("gradio_client").Client(address, verbose=False)
    try:
        reply = client.predict("uma comédia", [], 2, api_name="/chat")
        assert [r["item"]["genres"] for r in reply["recommendations"]] == [["Comedy"]] * 2
        said = [
            {"role": "user", "content": "comedy"},
            {"role": "assistant", "content": reply["text"]},
        ]
        reply = client.predict("at most 100 minutes", said, 5, api_name="/chat")
        assert {r["item"]["runtime"] for r in reply["recommendations"]} <= {90, 100}
        with pytest.raises(Exception, match=re.escape("The message is empty".lower()[4:])):
            client.predict("  ", [], 5, api_name="/chat")
        named = client.view_api(return_format="dict")["named_endpoints"]
        assert sorted(named) == ["/answer", "/chat", "/recommend", "/search"]
    finally:
        client.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
