"""Measure the page under load: many visitors at once, each with an own conversation, and attacks.

    python benchmarks/load.py --visitors 50 --minutes 5
    python benchmarks/load.py --visitors 4 --minutes 0.2 --attack --json figures.json

Visitors speak to the page as its code in the browser does: they join Gradio's queue, each with a
session of its own, and read the pictures of the page from the stream of events. Each says messages
that hold a word of its own, reads for a while, presses buttons, at times stops an answer, takes one
back, starts over, or leaves in the middle, whereupon somebody new comes. In every picture, no word
of another visitor may stand, and the turns and pressed buttons must be the visitor's own. At the
end, some messages are asked once more by a single visitor, who must get the same cards.

Times run from the sending of a message until the visitor has read the picture in question from
the connection, so they hold the waiting in the queue, and the work of the visitors, who share the
machine with the page if it is started here. Drawing in a browser is not in them. Answers that were
stopped or left are not in them either. Intervals are of 95 %, from drawing visitors again.
Memory is that of the page's process, read twice a second, where the system tells it and the page is
started here. Gradio keeps the state of a visitor who has left for an hour, and what else a session
holds until there are as many sessions as `launch()` allows with ``state_session_capacity``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import secrets
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.errors import LLMRecError, MissingExtraError

if TYPE_CHECKING:
    import httpx

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # seconds that a visitor waits for an answer
LANGUAGES = ("en", "pt", "es")
MESSAGES = {
    "en": (
        "a comedy from the 90s, {tag}", "a thriller of at most two hours, {tag}",
        "something with Tom Hanks, {tag}", "a drama from Brazil, {tag}",
        "who directed The Matrix, {tag}?", "horror, but not from the USA, {tag}",
    ),
    "pt": (
        "uma comédia dos anos 90, {tag}", "um suspense de no máximo duas horas, {tag}",
        "algo com Tom Hanks, {tag}", "um drama do Brasil, {tag}",
        "quem dirigiu Matrix, {tag}?", "terror, mas não dos Estados Unidos, {tag}",
    ),
    "es": (
        "una comedia de los años 90, {tag}", "un thriller de dos horas como máximo, {tag}",
        "algo con Tom Hanks, {tag}", "un drama de Brasil, {tag}",
        "¿quién dirigió Matrix, {tag}?", "terror, pero no de Estados Unidos, {tag}",
    ),
}  # fmt: skip
# How often a visitor does what, per answer.
STOPS, LEAVES, MARKS, TAKES_BACK, STARTS_OVER = 0.08, 0.06, 0.5, 0.1, 0.06
_TAG = re.compile(r"zq[a-z]{10}")

BOX, LOG = ("lr-box", "submit"), "lr-log"


class PageError(Exception):
    """What the page did that it must not do, or a refusal with its status."""

    def __init__(self, said: str, status: int = 0) -> None:
        super().__init__(said)
        self.status = status


# -- the page, as its own code in the browser sees it ---------------------------------------------


@dataclass(frozen=True)
class Listener:
    """What runs on an event: its number, what it is given and what it changes, by element."""

    number: int
    name: str
    trigger: int | None
    queued: bool
    inputs: tuple[tuple[str, str, Any], ...]  # element, type and first value
    outputs: tuple[tuple[str, str], ...]  # element and type


class Page:
    """Page hides how Gradio is asked: listeners, sessions, the queue and its stream of events."""

    def __init__(self, address: str, client: httpx.AsyncClient, config: dict[str, Any]) -> None:
        self.address = address.rstrip("/")
        self.client = client
        self.heartbeat = bool(config.get("connect_heartbeat"))
        self.listeners: list[Listener] = []
        self._by_event: dict[tuple[str, str], Listener] = {}
        parts = {part["id"]: part for part in config["components"]}

        def element(number: int) -> tuple[str, str, Any]:
            part = parts[number]
            name = part["props"].get("elem_id") or f"{part['type']}-{number}"
            return name, part["type"], part["props"].get("value")

        for found in config["dependencies"]:
            if not found.get("backend_fn", True):
                continue
            targets = found["targets"]
            listener = Listener(
                found["id"],
                str(found["api_name"]),
                targets[0][0] if targets else None,
                found["queue"] is not False,
                tuple(element(i) for i in found["inputs"]),
                tuple(element(i)[:2] for i in found["outputs"]),
            )
            self.listeners.append(listener)
            for number, event in targets:
                name = element(number)[0] if number in parts else ""
                self._by_event[name, event] = listener

    @classmethod
    async def open(cls, address: str, client: httpx.AsyncClient) -> Page:
        """Read what the page consists of."""
        answer = await client.get(f"{address.rstrip('/')}/config")
        answer.raise_for_status()
        return cls(address, client, answer.json())

    def listener(self, element: str, event: str) -> Listener:
        """What listens to an event of an element. Raises PageError."""
        found = self._by_event.get((element, event))
        if found is None:
            raise PageError(f"nothing listens to {event} of {element or 'the page'}")
        return found


Values = dict[str, Any]  # by element


class Session:
    """One visitor's tab: what it sends and what comes back."""

    def __init__(self, page: Page, language: str = "en") -> None:
        self.page = page
        self.hash = secrets.token_hex(6)
        self._headers = {"accept-language": language}
        self._heart: asyncio.Task[None] | None = None

    async def arrive(self) -> None:
        """Open the page."""
        if self.page.heartbeat:
            self._heart = asyncio.create_task(self._beat())
        with contextlib.suppress(PageError):  # a page need not listen to its being opened
            await self.press("", "load")

    async def leave(self) -> None:
        """Close the tab."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)

    async def press(self, element: str, event: str, data: Any = None) -> Values:
        """An event that is answered at once. Raises PageError."""
        listener = self.page.listener(element, event)
        return await self.run(listener, self.body(listener, {}, data))

    def body(self, listener: Listener, values: Values, data: Any = None) -> dict[str, Any]:
        """What the browser sends for an event."""
        given = [values.get(name, value) for name, _, value in listener.inputs]
        return {
            "data": given, "event_data": data, "fn_index": listener.number,
            "trigger_id": listener.trigger, "session_hash": self.hash,
        }  # fmt: skip

    async def run(self, listener: Listener, body: dict[str, Any]) -> Values:
        """Send a body by the way that the listener wants; the last values. Raises PageError."""
        if listener.queued:
            async with contextlib.aclosing(self.stream(listener, body)) as pictures:
                return [values async for values in pictures][-1]
        url = f"{self.page.address}/gradio_api/run/predict"
        answer = await self.page.client.post(url, json=body, headers=self._headers)
        if answer.status_code != 200:
            raise PageError(answer.text, answer.status_code)
        return _named(listener, answer.json()["data"])

    async def stream(
        self, listener: Listener, body: dict[str, Any]
    ) -> AsyncGenerator[Values, None]:
        """Join the queue; the values after each step. Closing it closes the connection.

        Raises
        ------
        PageError: refused, failed, or ended too early.
        """
        client, base = self.page.client, f"{self.page.address}/gradio_api/queue"
        answer = await client.post(f"{base}/join", json=body, headers=self._headers)
        if answer.status_code != 200:
            raise PageError(answer.text, answer.status_code)
        event = answer.json()["event_id"]
        shown: list[Any] | None = None
        who = {"session_hash": self.hash}
        async with client.stream("GET", f"{base}/data", params=who) as events:
            async for line in events.aiter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line[5:])
                kind = message["msg"]
                if kind == "unexpected_error":
                    raise PageError(str(message.get("message")))
                if message.get("event_id") != event:
                    continue
                if kind not in ("process_generating", "process_completed"):
                    continue
                if not message.get("success", True):
                    raise PageError(json.dumps(message["output"]), 500)
                told = message["output"].get("data") or []
                if kind == "process_completed":
                    yield _named(listener, told)
                    return
                shown = told if shown is None else [
                    changed(a, b) for a, b in zip(shown, told, strict=True)
                ]  # fmt: skip
                yield _named(listener, shown)
        raise PageError("the stream ended before the answer did")

    async def _beat(self) -> None:
        import httpx

        url = f"{self.page.address}/gradio_api/heartbeat/{self.hash}"
        with contextlib.suppress(httpx.HTTPError):
            async with self.page.client.stream("GET", url, timeout=None) as beats:
                async for _ in beats.aiter_raw():
                    pass


def _named(listener: Listener, values: Sequence[Any]) -> Values:
    return {name: v for (name, _), v in zip(listener.outputs, values, strict=False)}


def changed(value: Any, edits: Sequence[tuple[str, list[Any], Any]]) -> Any:
    """A value after the edits that Gradio sends in place of the whole.

    >>> changed(["a", "b"], [("append", [0], "x"), ("delete", [1], None), ("add", [1], "c")])
    ['ax', 'c']
    """
    root = [json.loads(json.dumps(value))] if edits else [value]
    for action, path, new in edits:
        parent: Any = root
        *way, last = [0, *path]
        for key in way:
            parent = parent[key]
        if action == "delete":
            del parent[last]
        elif action == "add" and isinstance(parent, list):
            parent.insert(last, new)
        elif action == "append":
            parent[last] += new
        else:
            parent[last] = new
    return root[0]


# -- what a visitor sees --------------------------------------------------------------------------


@dataclass
class Picture:
    """The log, as a visitor reads it."""

    said: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    cards: list[list[str]] = field(default_factory=list)  # ids, of each turn
    pressed: set[tuple[str, str]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.picture = Picture()
        self._into: list[str] | None = None
        self._words = self._problem = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {name: value or "" for name, value in attrs}
        classes = have.get("class", "").split()
        seen = self.picture
        if tag == "section" and "lr-turn" in classes:
            seen.said.append("")
            seen.stages.append(have.get("data-stage", ""))
            seen.cards.append([])
        self._words |= "lr-said" in classes
        if tag == "p" and self._words:
            self._into, self._words = seen.said, False
        elif tag == "p" and "lr-problem" in classes:
            seen.problems.append("")
            self._into = seen.problems
        mark, item = have.get("data-mark"), have.get("data-id")
        if mark and item is not None and seen.cards:
            if item not in seen.cards[-1]:
                seen.cards[-1].append(item)
            if have.get("aria-pressed") == "true":
                seen.pressed.add((item, mark))

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into:
            self._into[-1] += data


def read(log: Any) -> Picture:
    """The log's pieces of HTML as a visitor reads them."""
    reader = _Reader()
    reader.feed("".join(log) if isinstance(log, list) else str(log))
    reader.close()
    return reader.picture


@dataclass
class Own:
    """What a visitor knows of the own conversation, and so what the page must show."""

    tag: str
    said: list[str] = field(default_factory=list)
    marks: set[tuple[str, str]] = field(default_factory=set)
    before: list[set[tuple[str, str]]] = field(default_factory=list)

    def say(self, message: str) -> None:
        """A message is about to be sent."""
        self.said.append(message)
        self.before.append(set(self.marks))

    def undo(self) -> str:
        """The last message is taken back, with all that was marked since."""
        self.marks = self.before.pop()
        return self.said.pop()

    def clear(self) -> None:
        """All is forgotten."""
        self.said, self.marks, self.before = [], set(), []

    def faults(self, values: Values, tags: set[str]) -> list[str]:
        """What in the values that came is not this visitor's; ``tags`` are those of all."""
        out = []
        strangers = tags.intersection(_TAG.findall(json.dumps(values))) - {self.tag}
        if strangers:
            out.append(f"the words of {len(strangers)} other visitors")
        if LOG not in values:
            return [*out, "no conversation at all"]
        picture = read(values[LOG])
        if picture.said != self.said:
            out.append(f"{len(picture.said)} turns that are not the {len(self.said)} own ones")
        shown = {item for cards in picture.cards for item in cards}
        if picture.pressed != {(item, mark) for item, mark in self.marks if item in shown}:
            out.append("buttons pressed that are not the own ones")
        return out


# -- a crowd of visitors --------------------------------------------------------------------------


@dataclass
class Crowd:
    """What all visitors share: the page, the clock, and what was seen.

    Attributes
    ----------
    pause: mean seconds of reading between two acts. tags: of all visitors, to know them by.
    first, whole: seconds of answers, by visitor. openings: first messages and their cards.
    """

    page: Page
    until: float
    pause: float
    tags: set[str] = field(default_factory=set)
    first: dict[int, list[float]] = field(default_factory=dict)
    whole: dict[int, list[float]] = field(default_factory=dict)
    openings: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    acts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    mixed: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.until


class Visitor:
    """One seat in front of the page, taken by one visitor after another."""

    def __init__(self, crowd: Crowd, seat: int, seed: int = 0) -> None:
        self.crowd, self.seat = crowd, seat
        self.dice = random.Random(f"{seed}-{seat}")
        self.language = LANGUAGES[seat % len(LANGUAGES)]
        self._sit()

    def _sit(self) -> None:
        letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(10))
        self.own = Own(f"zq{letters}")
        self.crowd.tags.add(self.own.tag)
        self.session = Session(self.crowd.page, self.language)

    async def converse(self) -> None:
        """Come, talk and go, until the time is up."""
        while not self.crowd.over:
            self._sit()
            self.crowd.acts["visitors"] += 1
            try:
                await self.session.arrive()
                while not self.crowd.over and await self._turn():
                    pass
            except Exception as error:
                self.crowd.errors[_told(error)] += 1
                await asyncio.sleep(1)
            finally:
                await self.session.leave()

    async def _turn(self) -> bool:
        """One message and what follows from it; whether the visitor stays."""
        dice, acts = self.dice, self.crowd.acts
        left = max(0.0, self.crowd.until - time.monotonic())
        await asyncio.sleep(min(dice.expovariate(1 / self.crowd.pause), left))
        if self.crowd.over:
            return False
        message = dice.choice(MESSAGES[self.language]).format(tag=self.own.tag)
        chance = dice.random()
        way = "stop" if chance < STOPS else "leave" if chance < STOPS + LEAVES else ""
        shown = await asyncio.wait_for(self.ask(message, way), PATIENCE)
        if way == "leave":
            acts["left in the middle"] += 1
            return False
        cards = [item for turn in shown.cards for item in turn]
        unmarked = sorted(set(cards) - {item for item, _ in self.own.marks})
        if unmarked and dice.random() < MARKS:
            item, mark = dice.choice(unmarked), dice.choice(("like", "dislike", "seen"))
            self.own.marks.add((item, mark))
            await self._press("marks", LOG, "mark", {"id": item, "mark": mark})
        chance = dice.random()
        if chance < TAKES_BACK:
            said = self.own.undo()
            values = await self._press("taken back", "lr-undo", "click")
            if values.get("lr-box") != said:
                self._wrong(["words given back that are not the own ones"])
        elif chance < TAKES_BACK + STARTS_OVER:
            self.own.clear()
            await self._press("started over", "lr-over", "click")
        return True

    async def ask(self, message: str, way: str = "") -> Picture:
        """Send a message and read to its end, or stop it, or leave ("stop", "leave")."""
        crowd, opening = self.crowd, not self.own.said
        listener = crowd.page.listener(*BOX)
        body = self.session.body(listener, {BOX[0]: message})
        self.own.say(message)
        start, first = time.monotonic(), 0.0
        picture = Picture()
        async with contextlib.aclosing(self.session.stream(listener, body)) as pictures:
            async for values in pictures:
                now = time.monotonic() - start
                self._check(values)
                picture = read(values.get(LOG, []))
                if not first and picture.cards and picture.cards[-1]:
                    first = now
                if way == "leave":
                    return picture
                if way == "stop":
                    way = "stopped"
                    await self._press("stopped", "lr-stop", "click")
        if way == "stopped":
            return picture
        if not picture.stages or picture.stages[-1] != "done":
            problem = "; ".join(picture.problems[-1:]) or f"it ended as {picture.stages[-1:]}"
            raise PageError(f"no answer: {problem}")
        crowd.acts["answers"] += 1
        crowd.whole.setdefault(self.seat, []).append(time.monotonic() - start)
        if first:
            crowd.first.setdefault(self.seat, []).append(first)
            if opening:
                crowd.openings[self.language, message] = picture.cards[-1]
        return picture

    async def _press(self, act: str, element: str, event: str, data: Any = None) -> Values:
        values = await self.session.press(element, event, data)
        self.crowd.acts[act] += 1
        self._check(values)
        return values

    def _check(self, values: Values) -> None:
        self.crowd.acts["pictures"] += 1
        self._wrong(self.own.faults(values, self.crowd.tags))

    def _wrong(self, faults: list[str]) -> None:
        self.crowd.mixed += [f"seat {self.seat}: {fault}" for fault in faults]


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return f"no answer in {PATIENCE:.0f} s"
    status = f"{error.status}: " if isinstance(error, PageError) and error.status else ""
    return f"{status}{type(error).__name__} {str(error)[:150]}".strip()


async def alone(crowd: Crowd, most: int) -> tuple[int, int]:
    """Ask some first messages once more, one at a time: how many, and how many got other cards."""
    some = sorted(crowd.openings.items())[:: max(1, len(crowd.openings) // most)][:most]
    others = 0
    for (language, message), cards in some:
        session = Session(crowd.page, language)
        await session.arrive()
        listener = crowd.page.listener(*BOX)
        values = await session.run(listener, session.body(listener, {BOX[0]: message}))
        others += read(values.get(LOG, [])).cards[-1:] != [cards]
        await session.leave()
    return len(some), others


# -- the measurement ------------------------------------------------------------------------------


def rss_mb(pid: int | None) -> float | None:
    """Resident memory of a process in MB; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        return int(next(li for li in lines if li.startswith("VmRSS:")).split()[1]) * 1024 / 1e6
    return None


async def _watch(pid: int | None, seconds: float, title: str) -> float | None:
    """Show a bar for so long; the most memory seen meanwhile."""
    from tqdm import tqdm

    most, start = rss_mb(pid), time.monotonic()
    with tqdm(total=round(seconds), desc=title, unit="s", leave=False) as bar:
        while (gone := time.monotonic() - start) < seconds:
            bar.update(min(round(gone), bar.total) - bar.n)
            await asyncio.sleep(0.5)
            now = rss_mb(pid)
            most = max(most or 0.0, now) if now is not None else most
    return most


async def load(
    page: Page, visitors: int, seconds: float, pause: float, rest: float, pid: int | None = None
) -> dict[str, Any]:
    """Let the visitors converse; the figures.

    Parameters
    ----------
    pause: mean seconds of reading. rest: seconds between the last visitor's leaving and the last
        reading of memory.
    """
    memory = {"start": rss_mb(pid)}
    warm = Crowd(page, time.monotonic(), pause)
    await Visitor(warm, 0).ask(MESSAGES["en"][0].format(tag="once"))
    memory["one answer"] = rss_mb(pid)
    crowd = Crowd(page, time.monotonic() + seconds, pause)
    start = time.monotonic()
    seats = [asyncio.create_task(Visitor(crowd, n, 1).converse()) for n in range(visitors)]
    half = await _watch(pid, seconds / 2, f"{visitors} visitors, first half")
    rest_of = await _watch(pid, crowd.until - time.monotonic(), "second half")
    await asyncio.gather(*seats)
    took = time.monotonic() - start
    asked, others = await alone(crowd, 20)
    memory["most, first half"], memory["most, second half"] = half, rest_of
    await _watch(None, rest, "all have left")
    memory["after"] = rss_mb(pid)
    answers = crowd.acts["answers"]
    return {
        "visitors": visitors,
        "seconds": seconds,
        "pause": pause,
        "took": took,
        "acts": dict(crowd.acts),
        "answers_per_second": answers / took,
        "first": quantiles(list(crowd.first.values())),
        "whole": quantiles(list(crowd.whole.values())),
        "errors": dict(crowd.errors),
        "mixed": crowd.mixed,
        "asked_alone": asked,
        "other_cards_alone": others,
        "memory_mb": memory,
    }


def quantiles(times: Sequence[Sequence[float]], draws: int = 500) -> dict[str, list[float]]:
    """Median, 95th and 99th percentile with their intervals, from times by visitor."""
    if not times:
        return {}
    dice = np.random.default_rng(0)
    shares = (0.5, 0.95, 0.99)
    value = np.quantile(np.concatenate(times), shares)
    drawn = [
        np.quantile(np.concatenate([times[i] for i in dice.integers(len(times), size=len(times))]),
                    shares)
        for _ in range(draws)
    ]  # fmt: skip
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    names = ("median", "p95", "p99")
    return {
        name: [float(v) for v in row]
        for name, row in zip(names, zip(value, low, high, strict=True), strict=True)
    }


def table(figures: dict[str, Any]) -> str:
    """The figures in Markdown."""
    acts = figures["acts"]
    lines = [
        f"| {figures['visitors']} visitors at once, {figures['seconds']:.0f} s | |",
        "|---|---:|",
        f"| mean pause before a message, s | {figures['pause']:g} |",
    ]
    names = ("visitors", "answers", "stopped", "left in the middle", "marks", "taken back")
    lines += [f"| {name} | {acts.get(name, 0):,} |" for name in (*names, "started over")]
    lines.append(f"| answers in a second | {figures['answers_per_second']:.2f} |")
    for key, name in (("first", "first cards"), ("whole", "whole answer")):
        for share, (value, low, high) in figures[key].items():
            lines.append(f"| {name}, {share}, s | {value:.2f} [{low:.2f}, {high:.2f}] |")
    lines.append(f"| pictures checked | {acts.get('pictures', 0):,} |")
    lines.append(f"| with something of another visitor | {len(figures['mixed'])} |")
    lines.append(
        f"| other cards when asked again alone | {figures['other_cards_alone']} "
        f"of {figures['asked_alone']} |"
    )
    lines.append(f"| errors | {sum(figures['errors'].values())} |")
    if "tracebacks" in figures:
        lines.append(f"| tracebacks in the page's own log | {figures['tracebacks']} |")
    for name, value in figures["memory_mb"].items():
        lines.append(f"| memory: {name}, MB | {'not told' if value is None else f'{value:,.1f}'} |")
    lines += [f"error, {count} times: {said}" for said, count in figures["errors"].items()]
    lines += [f"mixed: {said}" for said in figures["mixed"][:10]]
    return "\n".join(lines)


# -- attacks --------------------------------------------------------------------------------------

EVIL = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
UPLOAD = 64 << 20  # bytes that nobody may leave on the page's disk
CONNECTIONS = 200  # begun and not ended
_SECRETS = re.compile(
    r"Traceback \(most recent call last\)|File \"/|/site-packages/|root:[^:]*:0:0|"
    r"from __future__ import|def main\("
)
PATHS = (
    "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../../../../../etc/passwd",
    "/gradio_api/file=%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/gradio_api/file=%252e%252e/%252e%252e/etc/passwd", "/gradio_api/file=..%2f..%2fetc/passwd",
    "/gradio_api/file=//etc/passwd", "/gradio_api/file=file:///etc/passwd",
    "/gradio_api/file=/proc/self/environ", "/gradio_api/file=/etc/passwd%00.png",
    "/gradio_api/file=app.py", "/gradio_api/file=./app.py", "/gradio_api/file={root}/app.py",
    "/gradio_api/file={root}/llmrec/demo/page.py", "/gradio_api/file={root}/.git/config",
    "/gradio_api/file/etc/passwd", "/gradio_api/file=http://127.0.0.1:1/",
    "/gradio_api/proxy=http://127.0.0.1:1/", "/static/../../routes.py",
    "/static/%2e%2e/%2e%2e/routes.py", "/static/..%2f..%2froutes.py", "/static//etc/passwd",
    "/assets/%2e%2e/%2e%2e/%2e%2e/routes.py", "/assets//etc/passwd", "/svelte/..%2f..%2froutes.py",
    "/gradio_api/custom_component/0/client/component/..%2f..%2f..%2fapp.py",
    "/gradio_api/stream/x/0/0/..%2f..%2fetc/passwd", "/monitoring", "/monitoring/summary",
    "/gradio_api/queue/data?session_hash=../../etc/passwd",
)  # fmt: skip


def leaks(text: str, sent: str = "") -> str:
    """What an answer tells that it must not: code, a traceback, a path that was not sent."""
    found = _SECRETS.search(text)
    if found:
        return found.group()
    return str(ROOT) if str(ROOT) in text and str(ROOT) not in sent else ""


def _refused(told: Counter[str], sent: str, status: int, text: str) -> None:
    """Count how something was answered. Raises PageError for what must not be told."""
    if leak := leaks(text, sent):
        raise PageError(f"{sent[:80]!r} was answered with {leak!r}")
    told[str(status)] += 1


def _counted(told: Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(told.items()))


async def raw(page: Page, sent: bytes, seconds: float = 10.0) -> tuple[int, str]:
    """Send bytes as they are, and read until nothing comes: status and text; 0: hung up."""
    from urllib.parse import urlsplit

    place = urlsplit(page.address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port or 80)
    got = b""
    with contextlib.suppress(OSError, TimeoutError, asyncio.TimeoutError):
        writer.write(sent)
        await asyncio.wait_for(writer.drain(), seconds)
        while part := await asyncio.wait_for(reader.read(1 << 16), seconds):
            got += part
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    text = got.decode("utf-8", "replace")
    status = re.match(r"HTTP/1\.[01] (\d+)", text)
    return int(status.group(1)) if status else 0, text


def _get(path: str, *headers: str) -> bytes:
    lines = (f"GET {path} HTTP/1.1", "Host: page", "Connection: close", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def served(page: Page) -> str:
    """A next visitor asks, and again while the queue is full: after how long the answer came."""
    start, tries = time.monotonic(), 0
    while True:
        tries += 1
        visitor = Visitor(Crowd(page, start, 1), 0)
        try:
            await asyncio.wait_for(visitor.ask(MESSAGES["en"][0].format(tag="next")), PATIENCE)
        except PageError as error:
            if error.status != 503 or time.monotonic() - start > 5 * PATIENCE:
                raise
            await asyncio.sleep(1)
            continue
        if visitor.crowd.mixed:
            raise PageError(visitor.crowd.mixed[0])
        return f"next visitor served in {time.monotonic() - start:.1f} s" + (
            f" at try {tries}" if tries > 1 else ""
        )


async def flood(page: Page) -> str:
    """More messages than the queue holds, from as many visitors, half of whom never listen."""
    from llmrec.demo.page import WAITING

    listener = page.listener(*BOX)
    told: Counter[str] = Counter()

    async def one(number: int) -> None:
        session = Session(page)
        body = session.body(listener, {BOX[0]: f"a drama, {number}"})
        try:
            if number % 2:
                await session.run(listener, body)
                told["answered"] += 1
                return
            url = f"{page.address}/gradio_api/queue/join"
            answer = await page.client.post(url, json=body)
            if answer.status_code != 200:
                raise PageError(answer.text, answer.status_code)
            told["never listened"] += 1
        except PageError as error:
            _refused(told, "", error.status, str(error))

    async def meanwhile() -> str:
        await asyncio.sleep(1)
        return await served(page)

    next_one = asyncio.create_task(meanwhile())
    await asyncio.gather(*(one(n) for n in range(WAITING + 100)))
    if not told["503"]:
        raise PageError(f"a queue of {WAITING} took {_counted(told)}")
    return f"{_counted(told)}; in the middle of it, {await next_one}"


async def long_messages(page: Page) -> str:
    """Messages of 10,000 characters and of a million."""
    listener, told = page.listener(*BOX), []
    for size in (10_000, 1_000_000):
        session = Session(page)
        values = await session.run(listener, session.body(listener, {BOX[0]: "x" * size}))
        picture = read(values[LOG])
        if picture.stages != ["failed"] or not all(picture.problems):
            raise PageError(f"{size:,} characters ended as {picture.stages}")
        if len(json.dumps(values[LOG])) > 50_000:
            raise PageError(f"{size:,} characters came back whole")
        told.append(f"{size:,}: {picture.problems[-1]!r}")
    return "; ".join(told)


async def scripts(page: Page) -> str:
    """Markup in every text field and in the data of every event, of every screen."""
    told: Counter[str] = Counter()
    for listener in page.listeners:
        texts = {name: EVIL for name, kind, _ in listener.inputs if kind == "textbox"}
        session = Session(page)
        data = dict.fromkeys(("text", "id", "mark", "language", "value"), EVIL)
        html = {name for name, kind in listener.outputs if kind in ("html", "markdown")}
        try:
            values = await asyncio.wait_for(
                session.run(listener, session.body(listener, texts, data)), PATIENCE
            )
        except PageError as error:
            _refused(told, EVIL, error.status, str(error))
            continue
        for name in html & values.keys():
            if EVIL[:8] in (shown := json.dumps(values[name])) or "<img src=x" in shown:
                raise PageError(f"{listener.name} shows markup of a visitor's in {name}")
        _refused(told, EVIL, 200, json.dumps(values))
    return f"{len(page.listeners)} listeners: {_counted(told)}"


async def shapes(page: Page) -> str:
    """Values of wrong kinds and numbers to every listener, and what is no call at all."""
    told: Counter[str] = Counter()
    wrong: tuple[Callable[[int], Any], ...] = (
        lambda n: [], lambda n: [None] * (n + 3), lambda n: [{"a": [1]}] * n, lambda n: [[[0]]] * n,
        lambda n: [1e308] * n, lambda n: [{"path": "/etc/passwd"}] * n,
    )  # fmt: skip
    for listener in page.listeners:
        for number, make in enumerate(wrong):
            session = Session(page)
            body = session.body(listener, {}, (None, "x", [1], {"a": {}})[number % 4])
            body["data"] = make(len(listener.inputs))
            try:
                values = await asyncio.wait_for(session.run(listener, body), PATIENCE)
                _refused(told, listener.name, 200, json.dumps(values))
            except PageError as error:
                _refused(told, f"{listener.name} {body['data']}", error.status, str(error))
    bodies = (
        b"", b"{", b"null", b"[]", b'{"data": 1}', b'{"data": [], "fn_index": 99999}',
        b'{"data": [], "fn_index": "x", "session_hash": {}}', b"[" * 100_000, b"\xff\xfe",
        b'{"data": [], "fn_index": 0, "session_hash": null}',
        b'{"data": [], "fn_index": 99999, "session_hash": "x"}',
    )  # fmt: skip
    ways = ("queue/join", "run/predict", "call/chat", "cancel", "component_server", "reset")
    for way in ways:
        for content in bodies:
            url = f"{page.address}/gradio_api/{way}"
            form = {"content-type": "application/json", "connection": "close"}
            answer = await page.client.post(url, content=content, headers=form)
            _refused(told, content[:200].decode("latin-1"), answer.status_code, answer.text)
    return _counted(told)


async def paths(page: Page) -> str:
    """Ways around the routes that give files out."""
    told: Counter[str] = Counter()
    for path in PATHS:
        path = path.format(root=ROOT)
        status, text = await raw(page, _get(path), 3.0)
        if 200 <= status < 300 and "unexpected_error" not in text:
            raise PageError(f"{path} was given out")
        _refused(told, path, status, text)
    return _counted(told)


async def headers(page: Page) -> str:
    """Headers of a megabyte, ten thousand of them, and some that lie."""
    told: Counter[str] = Counter()
    many = [f"X-{n}: {n}" for n in range(10_000)]
    for sent in (
        _get("/", "X-Long: " + "x" * 1_000_000), _get("/", *many), _get("/" + "x" * 1_000_000),
        _get("/config", "Host: evil.example", "X-Forwarded-Host: " + EVIL),
        _get("/config", "Cookie: " + "a=b; " * 5_000), b"\x16\x03\x01" + bytes(500),
        b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: page\r\nContent-Length: -5\r\n\r\n",
    ):  # fmt: skip
        status, text = await raw(page, sent)
        if EVIL in text:
            raise PageError("a header came back as markup")
        _refused(told, "a header", status, text[:10_000])
    return _counted(told) + " (0: hung up)"


async def uploads(page: Page) -> str:
    """Uploads without a form, with a broken one, with names of other places, and a large one."""
    url, told, client = f"{page.address}/gradio_api/upload", Counter[str](), page.client
    form = {"content-type": "multipart/form-data; boundary=x"}
    for content, kind in (
        (b"", {}), (b"x" * 1000, {}), (b"{}", {"content-type": "application/json"}),
        (b"x" * 1000, form), (b"--x\r\n", form), (b"", {"content-type": "multipart/form-data"}),
    ):  # fmt: skip
        answer = await client.post(url, content=content, headers=kind)
        _refused(told, "an upload", answer.status_code, answer.text)
    for name in ("../../../../tmp/llmrec-escaped.csv", "/etc/llmrec-escaped", "..", "a\x00b.csv"):
        answer = await client.post(url, files={"files": (name, b"title\nHeat\n")})
        _refused(told, name, answer.status_code, answer.text)
        if answer.status_code == 200 and "/.." in answer.text:
            raise PageError(f"a file called {name!r} went to {answer.text[:200]}")
    boundary = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\n'

    async def large() -> AsyncIterator[bytes]:
        yield boundary
        for _ in range(UPLOAD >> 20):
            yield b"x" * (1 << 20)
        yield b"\r\n--x--\r\n"

    import httpx

    try:
        answer = await client.post(url, content=large(), headers=form)
        status, text = answer.status_code, answer.text
    except httpx.TransportError:
        status, text = 0, ""
    if status == 200:
        raise PageError(f"{UPLOAD >> 20} MB were taken: launch() needs max_file_size")
    _refused(told, "a large upload", status, text)
    return _counted(told)


async def half_open(page: Page) -> str:
    """Connections that begin a request and never end it, while the next visitor comes."""
    from urllib.parse import urlsplit

    place = urlsplit(page.address)
    writers = []
    for number in range(CONNECTIONS):
        _, writer = await asyncio.open_connection(place.hostname, place.port or 80)
        begun = (
            b"GET / HTTP/1.1\r\nHost: pa" if number % 2 else
            b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: page\r\nContent-Length: 900\r\n\r\n{"
        )  # fmt: skip
        writer.write(begun)
        await writer.drain()
        writers.append(writer)
    told = await served(page)
    for writer in writers:
        writer.close()
    return f"{CONNECTIONS} held open: {told}"


ATTACKS: tuple[Callable[[Page], Awaitable[str]], ...] = (
    long_messages, scripts, shapes, paths, headers, uploads, half_open, flood,
)  # fmt: skip


async def attack(
    page: Page, attacks: Sequence[Callable[[Page], Awaitable[str]]] = ATTACKS
) -> list[dict[str, Any]]:
    """Each attack, then the next visitor: what happened, and whether all was refused."""
    out = []
    for one in attacks:
        name, held = one.__name__.replace("_", " "), True
        start = time.monotonic()
        try:
            told = await one(page)
            told += f"; {await served(page)}"
        except Exception as error:
            told, held = _told(error), False
        took = time.monotonic() - start
        print(f"{'held' if held else 'FAULT'}  {name}: {told} ({took:.0f} s in all)", flush=True)
        out.append({"name": name, "held": held, "told": told, "seconds": took})
    return out


# -- the script -----------------------------------------------------------------------------------


@contextlib.contextmanager
def started(log: Path) -> Iterator[tuple[str, int]]:
    """``python app.py`` on a free port: its address and process. Raises LLMRecError."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:  # noqa: S603
        try:
            for _ in range(1200):
                if b"Open http" in log.read_bytes():
                    break
                if process.poll() is not None:
                    raise LLMRecError(f"app.py ended: {log.read_text()[-500:]}")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def browser() -> httpx.AsyncClient:
    """What all visitors send with: as many connections as they want. Raises MissingExtraError."""
    try:
        import httpx
    except ImportError:
        raise MissingExtraError("httpx", "demo") from None
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(timeout=PATIENCE, limits=limits, trust_env=False)


async def run(
    options: argparse.Namespace, address: str, pid: int | None, log: Path
) -> dict[str, Any]:
    """The load, then the attacks where they are wanted; prints both.

    Parameters
    ----------
    pid, log: process and output of the page, where it was started here.
    """
    async with browser() as client:
        page = await Page.open(address, client)
        seconds = options.minutes * 60
        figures = await load(page, options.visitors, seconds, options.pause, options.rest, pid)
        if pid is not None:
            figures["tracebacks"] = _tracebacks(log)
        print(table(figures), flush=True)
        if options.attack:
            figures["attacks"] = await attack(page)
            figures["after_attacks_mb"] = rss_mb(pid)
            if pid is not None:
                figures["tracebacks"] = _tracebacks(log)
                print(f"tracebacks in the page's own log: {figures['tracebacks']}", flush=True)
    return figures


def _tracebacks(log: Path) -> int:
    return log.read_text("utf-8", "replace").count("Traceback (most recent call last)")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visitors", type=int, default=50, help="at the same time")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--pause", type=float, default=15, help="mean seconds before a message")
    parser.add_argument("--rest", type=float, default=10, help="seconds of quiet at the end")
    parser.add_argument("--address", help="of a page that runs; without it, app.py is started")
    parser.add_argument("--attack", action="store_true", help="attack the page afterwards")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if something was mixed, failed, or was not refused."""
    options = make_parser().parse_args(argv)
    with contextlib.ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmrec-load-"))) / "log"
        address, pid = options.address, None
        if address is None:
            address, pid = stack.enter_context(started(log))
        figures = asyncio.run(run(options, address, pid, log))
    if options.json:
        write(options.json, figures)
    return int(bad(figures))


def bad(figures: dict[str, Any]) -> bool:
    """Whether something was mixed, failed, or was not refused."""
    attacks = all(one["held"] for one in figures.get("attacks", ()))
    faults = ("errors", "mixed", "other_cards_alone", "tracebacks")
    return any(figures.get(name) for name in faults) or not attacks


def write(path: Path, figures: dict[str, Any]) -> None:
    """The figures as JSON, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
