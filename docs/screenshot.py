"""Take the picture of the page that the README shows, after a real conversation, or of all screens.

    python docs/screenshot.py
    python docs/screenshot.py --all shots

Starts the app on a free port of this machine and needs Chromium and Playwright. With ``--axe
axe.min.js`` (of axe-core, which npm has) every screen is checked for accessibility as well: its
faults are printed, and a serious one ends the script with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmrec.demo import Extras, build, embedded_contestants, launch_options
from llmrec.demo.page import TABS
from llmrec.demo.texts import EXAMPLES, say
from llmrec.errors import LLMRecError
from llmrec.recommender import Recommender
from llmrec.types import LANGUAGES

HERE = Path(__file__).resolve().parent
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a Hub id or folder; the embedded model without it")
    parser.add_argument("--catalog", help="a catalogue folder; the embedded films without it")
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--say", help="the message; an example of the page without it")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1060)
    parser.add_argument(
        "--all",
        type=Path,
        metavar="FOLDER",
        help="every screen, in 3 languages, light and dark, wide and narrow",
    )
    parser.add_argument("--axe", type=Path, help="axe-core, to check every screen with --all")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=HERE / "page.png")
    return parser


@contextlib.contextmanager
def served(recommender: Recommender, options: argparse.Namespace) -> Iterator[str]:
    """The address of the page, while it is served."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    embedded = options.model is None
    extras = Extras(embedded_contestants(recommender) if embedded else None)
    app = build(recommender, embedded=embedded, extras=extras)
    _, address, _ = app.launch(
        **launch_options(),
        server_name="127.0.0.1",
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
    )
    try:
        yield address
    finally:
        app.close()


def opened(browser: Any, address: str, language: str, dark: bool, width: int, height: int) -> Any:
    """The page in a browser, in a language."""
    page = browser.new_page(
        viewport={"width": width, "height": height},
        locale=language,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page.goto(address)
    page.wait_for_selector(f"[data-page-language={language}]")
    return page


def talk(page: Any, said: str) -> None:
    """Say something, like the first film, and wait until all has settled."""
    page.fill("#lr-box textarea", said)
    page.keyboard.press("Enter")
    page.wait_for_selector(".lr-turn[data-stage=done]", timeout=120_000)
    page.locator("[data-mark=like]").first.click()
    page.wait_for_selector("[data-mark=like][aria-pressed=true]")
    page.wait_for_selector(".lr-turn .lr-chip")  # the answer has wholly ended
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)


def take(recommender: Recommender, options: argparse.Namespace) -> None:
    """Serve the page, talk to it and save what is seen."""
    from playwright.sync_api import sync_playwright

    with served(recommender, options) as address, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=options.chromium, args=list(ARGUMENTS))
        page = opened(
            browser, address, options.language, options.dark, options.width, options.height
        )
        talk(page, options.say or EXAMPLES[options.language][2])
        page.screenshot(path=str(options.out))
        browser.close()


def tour(recommender: Recommender, options: argparse.Namespace) -> int:
    """Save every screen, and say what axe finds; how many serious faults there are."""
    from playwright.sync_api import sync_playwright

    serious = 0
    options.all.mkdir(parents=True, exist_ok=True)
    with served(recommender, options) as address, sync_playwright() as p:
        browser = p.chromium.launch(executable_path=options.chromium, args=list(ARGUMENTS))
        for language, dark, width in itertools.product(LANGUAGES, (False, True), (1440, 375)):
            page = opened(browser, address, language, dark, width, 900)
            talk(page, EXAMPLES[language][2])
            for name in TABS:
                show(page, name, say(language, f"tab_{name}"))
                use(page, name)
                shot = f"{name}-{language}-{'dark' if dark else 'light'}-{width}.png"
                page.screenshot(path=str(options.all / shot))
                faults = _faults(page, options.axe) if options.axe else []
                serious += sum(impact in ("serious", "critical") for impact, _, _ in faults)
                print(shot, *(f"{impact}: {rule} ({where})" for impact, rule, where in faults))
            page.close()
        browser.close()
    return serious


def show(page: Any, name: str, label: str) -> None:
    """Go to a screen; on a narrow page some stand in a menu."""
    tab = page.locator(f"[role=tab][aria-controls=lr-tab-{name}]")
    if not tab.count() or not tab.first.is_visible():
        page.click("#lr-tabs .overflow-menu > button")
        tab = page.locator("#lr-tabs .overflow-dropdown button", has_text=label)
    tab.first.click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)


def use(page: Any, name: str) -> None:
    """Do on a screen what it is for: compare two lists, run an evaluation, look into a turn."""
    patience = {"timeout": 240_000}
    if name == "compare":
        page.locator("#lr-board .lr-chip").nth(2).click()
        page.wait_for_selector("#lr-vote-a", **patience)
        page.wait_for_timeout(500)
        page.click("#lr-vote-a")
        page.wait_for_selector(".lr-told", **patience)
    elif name == "measure":
        if page.locator("#lr-m-try").is_visible():
            page.click("#lr-m-try")
        page.wait_for_selector("#lr-m-table table", **patience)
    elif name == "inside":
        page.click("#lr-i-look")
        page.wait_for_selector("#lr-i-shown section", **patience)
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)


_RUN = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .map((v) => [v.impact, v.id, v.nodes[0].target.join(' ')])"""


def _faults(page: Any, axe: Path) -> list[tuple[str, str, str]]:
    """What axe finds on the screen: how grave it is, which rule, and where first."""
    page.evaluate(axe.read_text(encoding="utf-8"))
    return [(str(i), str(rule), str(where)) for i, rule, where in page.evaluate(_RUN)]


def main(argv: Sequence[str] | None = None) -> int:
    """Take the picture; 1 if model or catalogue cannot be loaded."""
    options = make_parser().parse_args(argv)
    try:
        recommender = Recommender.from_pretrained(options.model, catalog=options.catalog)
    except LLMRecError as error:
        print(error, file=sys.stderr)
        return 1
    if options.all:
        return 1 if tour(recommender, options) else 0
    take(recommender, options)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
