"""Take the picture of the page that the README shows, after a real conversation.

    python docs/screenshot.py
    python docs/screenshot.py --language pt --dark --width 375 --height 812 --out phone.png

Starts the app on a free port of this machine and needs Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from llmrec.demo import build, launch_options
from llmrec.demo.texts import EXAMPLES
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
    parser.add_argument("--height", type=int, default=990)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=HERE / "page.png")
    return parser


def take(recommender: Recommender, options: argparse.Namespace) -> None:
    """Serve the page, talk to it and save what is seen."""
    from playwright.sync_api import sync_playwright

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    app = build(recommender, embedded=options.model is None)
    _, address, _ = app.launch(
        **launch_options(),
        server_name="127.0.0.1",
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
    )
    try:
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=options.chromium, args=list(ARGUMENTS))
            page = browser.new_page(
                viewport={"width": options.width, "height": options.height},
                locale=options.language,
                color_scheme="dark" if options.dark else "light",
                reduced_motion="reduce",
            )
            page.goto(address)
            page.wait_for_selector(f"[data-page-language={options.language}]")
            page.fill("#lr-box textarea", options.say or EXAMPLES[options.language][2])
            page.keyboard.press("Enter")
            page.wait_for_selector(".lr-turn[data-stage=done]", timeout=120_000)
            page.locator("[data-mark=like]").first.click()
            page.wait_for_selector("[data-mark=like][aria-pressed=true]")
            page.wait_for_selector(".lr-turn .lr-chip")  # the answer has wholly ended
            page.mouse.move(0, 0)
            page.wait_for_timeout(800)
            page.screenshot(path=str(options.out))
            browser.close()
    finally:
        app.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Take the picture; 1 if model or catalogue cannot be loaded."""
    options = make_parser().parse_args(argv)
    try:
        recommender = Recommender.from_pretrained(options.model, catalog=options.catalog)
    except LLMRecError as error:
        print(error, file=sys.stderr)
        return 1
    take(recommender, options)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
