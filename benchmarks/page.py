"""Measure how quickly the page is there: a cold browser opens it and asks, again and again.

    python benchmarks/page.py
    python benchmarks/page.py --runs 3 --mobile --json figures.json

Starts app.py and opens it in Chromium, driven by Playwright, each time with nothing in its cache.
The first visitor after the start stands apart: the server has then answered nobody yet. Then some
visitors come over a throttled network, as Lighthouse throttles one to "slow 4G".

Times of the opening run from the browser's navigation, those of the answer from the pressing of
Enter; what is seen is looked for in every picture that the browser draws. The browser shares the
machine with the page. "--mobile" is a telephone's screen, and a processor four times as slow.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.errors import LLMRecError, MissingExtraError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
MESSAGE = "An action film of at most two hours"
PATIENCE = 120  # seconds that a page or an answer may take
SCREEN: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 3,
    "is_mobile": True, "has_touch": True,
}  # fmt: skip
SLOWER = 4  # times, a telephone's processor
# As Lighthouse sets them for its slow 4G: milliseconds of each request, bytes in a second.
SLOW_4G = {"latency": 562.5, "downloadThroughput": 1474.56 * 128, "uploadThroughput": 675 * 128}
FIGURES = {
    "first_byte": ("first byte, ms", 0),
    "first_paint": ("first contentful paint, ms", 0),
    "largest_paint": ("largest contentful paint, ms", 0),
    "usable": ("the composer takes text, ms", 0),
    "greeted": ("all is in the visitor's language, ms", 0),
    "first_card": ("from Enter to the first card, ms", 0),
    "answered": ("from Enter to the whole answer, ms", 0),
    "requests": ("requests until then", 0),
    "kilobytes": ("kB transferred until then", 0),
    "foreign": ("requests to other servers", 0),
    "shift": ("layout shift while it opens", 3),
}

_WATCH = """
const seen = window.llmrecSeen = { shift: 0, largest: 0 };
const watch = (type, take) => new PerformanceObserver((list) => list.getEntries().forEach(take))
  .observe({ type, buffered: true });
watch('layout-shift', (entry) => { if (!entry.hadRecentInput) seen.shift += entry.value; });
watch('largest-contentful-paint', (entry) => { seen.largest = entry.startTime; });
const sent = (event) => { if (event.key === 'Enter') seen.sent ??= performance.now(); };
addEventListener('keydown', sent, true);
const look = () => {
  const now = performance.now();
  const there = (selector) => document.querySelector(selector);
  const box = there('#lr-box textarea');
  if (box && !box.disabled && box.offsetParent) seen.usable ??= now;
  if (there('[data-page-language]:not([data-page-language=""])')) seen.greeted ??= now;
  if (there('.lr-turn .lr-card')) seen.card ??= now;
  if (there('.lr-turn[data-stage=done]')) seen.done ??= now;
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
_OPENED = """() => ({
  ...window.llmrecSeen,
  first: performance.getEntriesByType('navigation')[0].responseStart,
  paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
})"""


class Traffic:
    """What goes over the network of a page, as its browser counts it."""

    def __init__(self, address: str, listen: Callable[[str, Callable[[Any], None]], None]) -> None:
        self._own = (address, "data:", "blob:")
        self.requests = 0
        self.foreign: list[str] = []
        self._sizes: dict[str, float] = {}  # of answers, by request; some never end
        listen("Network.requestWillBeSent", self.sent)
        listen("Network.dataReceived", lambda e: self.came(e["requestId"], e["encodedDataLength"]))
        listen("Network.loadingFinished", lambda e: self.ended(e["requestId"], e))

    @property
    def bytes(self) -> float:
        """All that came."""
        return sum(self._sizes.values())

    def sent(self, event: dict[str, Any]) -> None:
        """A request leaves; what is written in the page itself is none."""
        url = str(event["request"]["url"])
        self.requests += not url.startswith(("data:", "blob:"))
        if not url.startswith(self._own):
            self.foreign.append(url)

    def came(self, request: str, size: float) -> None:
        """A part of an answer came."""
        self._sizes[request] = self._sizes.get(request, 0) + size

    def ended(self, request: str, event: dict[str, Any]) -> None:
        """An answer is whole: so large was it, with its headers."""
        self._sizes[request] = event["encodedDataLength"]


def visit(browser: Browser, address: str, *, mobile: bool, slow: bool) -> dict[str, float]:
    """Open the page with a cold cache, ask, and read what that took.

    Raises
    ------
    LLMRecError: the page does not take the text, or does not answer.
    """
    from playwright.sync_api import Error

    screen = PHONE if mobile else SCREEN
    with contextlib.closing(browser.new_context(locale="en-US", **screen)) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.add_init_script(_WATCH)
        wire = context.new_cdp_session(page)
        wire.send("Network.enable")
        traffic = Traffic(address, wire.on)
        if mobile:
            wire.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        if slow:
            wire.send("Network.emulateNetworkConditions", {"offline": False, **SLOW_4G})
        try:
            return _asked(page, address, traffic)
        except Error as error:
            raise LLMRecError(f"the page did not answer: {error.message.splitlines()[0]}") from None


def _asked(page: Page, address: str, traffic: Traffic) -> dict[str, float]:
    page.goto(address)
    page.wait_for_function("window.llmrecSeen?.usable && window.llmrecSeen.greeted")
    page.wait_for_timeout(500)  # what comes late, and shifts things
    opened = page.evaluate(_OPENED)
    out = {
        "first_byte": opened["first"], "first_paint": opened["paint"],
        "largest_paint": opened["largest"], "usable": opened["usable"],
        "greeted": opened["greeted"], "shift": opened["shift"], "requests": traffic.requests,
        "kilobytes": traffic.bytes / 1000,
    }  # fmt: skip
    box = page.locator("#lr-box textarea")
    box.press_sequentially(MESSAGE)
    if (typed := box.input_value()) != MESSAGE:
        raise LLMRecError(f"the composer holds {typed!r} after {MESSAGE!r} was typed")
    box.press("Enter")
    page.wait_for_selector(".lr-turn[data-stage=done], .lr-turn[data-stage=failed]")
    page.wait_for_timeout(50)  # until the next picture is drawn
    seen = page.evaluate("window.llmrecSeen")
    if "done" not in seen or "card" not in seen:
        raise LLMRecError(f"the answer to {MESSAGE!r} failed: look into the page's own log")
    out["first_card"] = seen["card"] - seen["sent"]
    out["answered"] = seen["done"] - seen["sent"]
    out["foreign"] = len(traffic.foreign)
    return out


def summed_up(visits: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Median, least and most of each figure.

    >>> summed_up([{"usable": 3.0}, {"usable": 1.0}, {"usable": 9.0}])
    {'usable': [3.0, 1.0, 9.0]}
    """
    found = {name: [one[name] for one in visits] for name in visits[0]}
    return {name: [statistics.median(v), min(v), max(v)] for name, v in found.items()}


def measure(browser: Browser, address: str, runs: int, *, mobile: bool) -> dict[str, Any]:
    """The first visitor, ``runs`` more, and a third as many over a slow network."""
    from tqdm import tqdm

    slow = [False] * (runs + 1) + [True] * max(1, runs // 3)
    shown = tqdm(slow, desc="visitors", unit="", leave=False)
    visits = [visit(browser, address, mobile=mobile, slow=one) for one in shown]
    return {
        "mobile": mobile,
        "first visitor": summed_up(visits[:1]),
        f"{runs} more": summed_up(visits[1 : runs + 1]),
        f"{len(visits) - runs - 1} over slow 4G": summed_up(visits[runs + 1 :]),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures in Markdown."""
    parts = {name: found for name, found in figures.items() if isinstance(found, dict)}
    lines = [
        f"| {'a telephone' if figures['mobile'] else 'a wide screen'} | {' | '.join(parts)} |",
        "|---|" + "---:|" * len(parts),
    ]
    for name, (title, digits) in FIGURES.items():
        cells = []
        for found in parts.values():
            middle, low, high = (f"{value:,.{digits}f}" for value in found[name])
            cells.append(middle if low == high else f"{middle} ({low} to {high})")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


@contextlib.contextmanager
def started() -> Iterator[str]:
    """``python app.py`` on a free port: its address. Raises LLMRecError."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="llmrec-page-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:  # noqa: S603
            try:
                while b"Open http" not in log.read_bytes():
                    if process.poll() is not None:
                        raise LLMRecError(f"app.py ended: {log.read_text()[-500:]}")
                    time.sleep(0.1)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


@contextlib.contextmanager
def chromium(path: Path) -> Iterator[Browser]:
    """The browser. Raises LLMRecError where there is none, MissingExtraError without Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingExtraError("playwright", "test") from None
    if not path.exists():
        raise LLMRecError(f"there is no browser at {path}: install chromium, or give --chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(path), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="visitors after the first")
    parser.add_argument("--mobile", action="store_true", help="with a telephone")
    parser.add_argument("--address", help="of a page that runs; without it, app.py is started")
    parser.add_argument("--chromium", type=Path, default=CHROMIUM)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where that cannot be done, or where a request left the page's server."""
    options = make_parser().parse_args(argv)
    if options.runs < 1:
        print(f"--runs is {options.runs}: give 1 or more", file=sys.stderr)
        return 1
    try:
        with contextlib.ExitStack() as stack:
            browser = stack.enter_context(chromium(options.chromium))
            address = options.address or stack.enter_context(started())
            figures = measure(browser, address.rstrip("/"), options.runs, mobile=options.mobile)
    except LLMRecError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(figures))
    if options.json:
        write(options.json, figures)
    parts = (found for found in figures.values() if isinstance(found, dict))
    return int(any(found["foreign"][2] for found in parts))


def write(path: Path, figures: dict[str, Any]) -> None:
    """The figures as JSON, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
