"""What visitors and programs read when the page cannot serve them, over HTTP and in a browser.

``python tests/test_demo_refused.py 7999`` serves a page that lets one visitor wait and no more.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from serving import served
from test_browser import CALM, CHROMIUM, films

pytest.importorskip("gradio", reason="the extra demo is not installed")

from llmrec.demo.refused import WAIT
from llmrec.demo.texts import Words

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXTS = Words("refused")
needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")


def serve(port: int) -> None:
    """Serve a page that answers one visitor at a time, slowly where asked, and lets one wait."""
    import numpy as np

    from llmrec.catalog import Catalog
    from llmrec.demo import build, launch_options, page, talk
    from llmrec.models.profile import Profile
    from llmrec.models.scripted import ScriptedModel
    from llmrec.recommender import Recommender

    class Slow(ScriptedModel):
        def stream(self, prompt: Any, **kwargs: Any) -> Iterator[str]:
            for n in range(400 if "slowly" in str(prompt) else 3):
                time.sleep(0.03)
                yield f"Word {n}. "

    page.AT_ONCE = talk.AT_ONCE = page.WAITING = 1
    model = Slow(scores=lambda tokens: np.zeros(260), name="slow")
    catalog = Catalog.from_items(films())
    app = build(Recommender(model, catalog, profile=Profile(lead="rules", writes=True)))
    app.launch(**launch_options(), server_name="127.0.0.1", server_port=port, quiet=True)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refused") / "log"


@pytest.fixture(scope="module")
def address(log: Path) -> Iterator[str]:
    with served(__file__, log=log) as url:
        yield url


def listeners(address: str) -> dict[str, dict[str, Any]]:
    """The page's listeners, by name."""
    with urllib.request.urlopen(f"{address}config", timeout=30) as answer:
        return {d["api_name"]: d for d in json.load(answer)["dependencies"]}


def told(address: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and answer of a call."""
    sent = None if body is None else json.dumps(body).encode()
    form = {
        "Content-Type": "application/json",
        **{k.replace("_", "-"): headers[k] for k in headers},
    }
    call = urllib.request.Request(f"{address}gradio_api/{path}", sent, form)
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("queue/join", {"fn_index": 99_999}, 404, "there is no event number 99999: use /recommend"),
        ("queue/join", {}, 404, "there is no endpoint '': use"),
        ("run/predict", {"fn_index": -1}, 404, "there is no event number -1: use /recommend"),
        ("api/nothing", {}, 404, "there is no endpoint 'nothing': use /recommend, /chat, "),
        ("call/nothing", {}, 404, "there is no endpoint 'nothing': use /recommend, /chat, "),
        ("run/chat", {"data": ["hello"]}, 422, "1 of 3 values came: /gradio_api/info lists"),
        ("queue/join", {"fn": "send_box"}, 422, "0 of 3 values came: /gradio_api/info lists"),
        ("run/predict", {"fn": "look_again", "data": [1e308] * 99}, 422, TEXTS("en", "odd")),
        ("queue/join", {"fn": "send_box", "data": ["x", None, {}]}, 422, TEXTS("en", "odd")),
    ],
)
def test_events_that_somebody_made_up_are_refused_in_a_sentence(
    address: str, log: Path, path: str, body: dict[str, Any], status: int, sentence: str
) -> None:
    sent = {"data": [], "session_hash": "forged", **body}
    if "fn" in sent:
        sent["fn_index"] = listeners(address)[sent.pop("fn")]["id"]
    found, answer = told(address, path, sent)
    assert (found, answer["detail"][: len(sentence)]) == (status, sentence)
    assert answer["error"] == answer["detail"]
    assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["queue/data?session_hash=nobody", "call/chat/nothing"])
def test_nobody_waits_for_what_never_comes(address: str, log: Path, path: str) -> None:
    status, answer = told(address, path)
    assert status == 404
    assert answer["detail"].startswith("nothing is under way here")
    assert "Traceback" not in log.read_text(encoding="utf-8")


def test_a_page_that_the_server_forgot_is_told_to_open_anew(address: str) -> None:
    known = listeners(address)
    undo = {"data": [None], "fn_index": known["take_back"]["id"], "session_hash": "old-one"}
    page = {"x_gradio_user": "app", "Accept_Language": "pt-BR,en;q=0.5"}
    answer = (409, {"detail": TEXTS("pt", "lost"), "error": "Connection errored out. "})
    assert told(address, "run/predict", undo, **page) == answer
    assert told(address, "run/predict", undo, **page) == answer  # asking does not make it known
    arrive = next(d for d in known.values() if any(event == "load" for _, event in d["targets"]))
    load = {**undo, "fn_index": arrive["id"], "data": [None] * len(arrive["inputs"])}
    assert told(address, "run/predict", load, **page)[0] == 200
    assert told(address, "run/predict", undo, **page)[0] == 200
    other = {**undo, "session_hash": "a-program"}
    assert told(address, "run/predict", other)[0] == 200  # programs have no page to open


# -- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=list(CALM))
        yield browser
        browser.close()


@contextlib.contextmanager
def visitor(browser: Browser, address: str, language: str) -> Iterator[Page]:
    """A new visitor's page."""
    with contextlib.closing(browser.new_context(locale=language)) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(address)
        page.wait_for_selector(f"[data-page-language={language[:2]}]")
        yield page


def send(page: Page, message: str) -> None:
    page.fill("#lr-box textarea", message)
    page.keyboard.press("Enter")


def notice(page: Page, sentence: str) -> None:
    """Wait until the page says this, and nothing else of its kind."""
    page.get_by_role("alert").get_by_text(sentence, exact=True).wait_for()
    assert page.locator(".lr-notice").count() == 1
    assert page.locator("[data-testid=toast-body]:visible").count() == 0


@needs_browser
@pytest.mark.browser
def test_a_visitor_for_whom_there_is_no_room_keeps_the_words(
    browser: Browser, address: str
) -> None:
    with (
        visitor(browser, address, "en-US") as first,
        visitor(browser, address, "en-US") as second,
        visitor(browser, address, "pt-BR") as third,
    ):
        send(first, "a comedy, slowly")
        first.wait_for_selector(".lr-card")
        send(second, "a drama, slowly")
        second.wait_for_timeout(500)
        send(third, "uma comédia")
        notice(third, TEXTS("pt", "busy"))
        assert third.input_value("#lr-box textarea") == "uma comédia"
        third.click("[data-language=es]")
        third.wait_for_selector("[data-page-language=es]")
        third.press("#lr-box textarea", "Enter")
        notice(third, TEXTS("es", "busy"))
        first.click("#lr-stop")
        second.wait_for_selector(".lr-card")
        second.click("#lr-stop")
        second.wait_for_selector(".lr-turn[data-stage=stopped]")
        third.press("#lr-box textarea", "Enter")
        third.wait_for_selector(".lr-card")
        assert third.locator(".lr-notice").count() == 0


@needs_browser
@pytest.mark.browser
@pytest.mark.slow
def test_after_the_server_began_anew_the_page_does_too(browser: Browser) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        address = first.enter_context(served(__file__))
        page = stack.enter_context(visitor(browser, address, "pt-BR"))
        page.click("[data-language=es]")
        page.wait_for_selector("[data-page-language=es]")
        send(page, "una comedia, slowly")
        page.wait_for_selector(".lr-card")
        first.close()
        notice(page, TEXTS("es", "lost"))
        port = int(address.rstrip("/").rpartition(":")[2])
        second = stack.enter_context(contextlib.ExitStack())
        second.enter_context(served(__file__, port=port))
        notice(page, TEXTS("es", "anew"))  # in the language that was chosen
        assert page.input_value("#lr-box textarea") == "una comedia, slowly"
        send(page, "una comedia")
        page.wait_for_selector(".lr-turn[data-stage=done]")

        second.close()  # while the page only stands there
        stack.enter_context(served(__file__, port=port))
        page.fill("#lr-box textarea", "un drama")
        page.click("#lr-undo")
        notice(page, TEXTS("es", "lost"))
        notice(page, TEXTS("es", "anew"))
        assert page.input_value("#lr-box textarea") == "un drama"
        page.click(".lr-notice button")
        assert page.locator(".lr-notice").count() == 0


# Last, for it leaves the page full.
def test_a_full_queue_says_when_to_come_again(address: str) -> None:
    chat = {"fn_index": listeners(address)["chat"]["id"], "data": ["a drama, slowly", [], 3]}
    codes = []
    for n in range(6):
        status, answer = told(
            address, "queue/join", {**chat, "session_hash": f"full-{n}"}, Accept_Language="es"
        )
        codes.append(status)
        if status == 503:
            assert answer == {"detail": TEXTS("es", "busy"), "error": TEXTS("es", "busy")}
    assert 503 in codes
    assert codes[0] == 200
    assert 10 <= WAIT <= 60  # what "half a minute" means to a program


if __name__ == "__main__":
    serve(int(sys.argv[1]))
