"""The load and attack measurement, against small pages served by processes of their own.

``python tests/test_load.py 7999`` serves the right page, ``python tests/test_load.py 7999 broken``
one whose visitors share their state, that shows markup, and that lets all files in and out.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import load

pytest.importorskip("gradio", reason="the extra demo is not installed")

WAITING = 20
SECONDS = 3.0


def serve(port: int, broken: bool) -> None:
    """Serve the page with eight films and a model that takes its time for the prose."""
    import numpy as np
    from test_demo import FILMS, recommender_of

    from llmrec.demo import build, cards, launch_options, page, visit
    from llmrec.models.scripted import ScriptedModel

    class Slow(ScriptedModel):
        def stream(self, prompt: Any, **kwargs: Any) -> Iterator[str]:
            for n in range(4):
                time.sleep(0.05)
                yield f"Word {n}. "

    options = launch_options()
    page.WAITING = WAITING
    if broken:
        visit.Visit.__deepcopy__ = lambda self, memo: self  # type: ignore[method-assign]
        cards.escape = str  # type: ignore[attr-defined]
        page.WAITING = 10_000
        options |= {"max_file_size": None, "allowed_paths": [str(load.ROOT), "/etc"]}
    model = Slow(scores=lambda tokens: np.zeros(260), name="slow")
    app = build(recommender_of(FILMS, model, writes=True))
    app.launch(**options, server_name="127.0.0.1", server_port=port, quiet=True)


@contextlib.contextmanager
def served(kind: str, folder: Path) -> Iterator[tuple[str, int]]:
    """The address and the process of a page."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    here = Path(__file__).resolve()
    environment = {
        **os.environ,
        "PYTHONPATH": str(here.parent.parent),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(folder),
    }
    command = [sys.executable, str(here), str(port), kind]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
            yield url, process.pid
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with served("right", tmp_path_factory.mktemp("right")) as found:
        yield found


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with served("broken", tmp_path_factory.mktemp("broken")) as found:
        yield found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmrec.demo import page

    monkeypatch.setattr(page, "WAITING", WAITING)
    monkeypatch.setattr(load, "PATIENCE", 20.0)


def on(address: str, what: Callable[[load.Page], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with load.browser() as client:
            return await what(await load.Page.open(address, client))

    return asyncio.run(run())


# -- the right page -------------------------------------------------------------------------------


@pytest.mark.slow
def test_visitors_at_once_get_their_own(
    right: tuple[str, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--visitors", "4", "--minutes", str(SECONDS / 60), "--pause", "0.3"]
    arguments += ["--rest", "0.1", "--address", right[0], "--json", str(tmp_path / "f.json")]
    assert load.main(arguments) == 0
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert figures["mixed"] == []
    assert figures["errors"] == {}
    acts = figures["acts"]
    assert acts["answers"] >= 8
    assert acts["marks"]
    assert acts["visitors"] >= 4
    assert acts["pictures"] > 3 * acts["answers"]
    assert figures["asked_alone"]
    assert figures["other_cards_alone"] == 0
    first, whole = figures["first"], figures["whole"]
    assert 0 < first["median"][0] < whole["median"][0]
    assert 0.2 < whole["median"][0] <= whole["p95"][0] <= whole["p99"][0]  # four words of 50 ms
    assert figures["answers_per_second"] == pytest.approx(acts["answers"] / figures["took"])
    out = capsys.readouterr().out
    assert "| 4 visitors at once, 3 s |" in out
    assert "| errors | 0 |" in out
    assert "| memory: after, MB | not told |" in out  # of a page at an address


def test_every_way_of_a_visitor_is_gone_and_checked(right: tuple[str, int]) -> None:
    async def walk(page: load.Page) -> tuple[load.Crowd, list[str]]:
        visitor = load.Visitor(load.Crowd(page, time.monotonic() + 60, 0.1), 0)
        await visitor.session.arrive()
        tag = visitor.own.tag
        stages = (await visitor.ask(f"an action film, {tag}")).stages
        await visitor.ask(f"a comedy, {tag}", "stop")
        values = await visitor._press("taken back", "lr-undo", "click")
        assert values["lr-box"] == visitor.own.undo() == f"a comedy, {tag}"
        visitor._check(values | {"lr-log": values["lr-log"]})
        await visitor.ask(f"a drama, {tag}", "leave")
        await visitor.session.leave()
        visitor.own.clear()
        return visitor.crowd, stages

    crowd, stages = on(right[0], walk)
    assert stages == ["done"]
    assert crowd.acts["stopped"] == 1
    assert crowd.acts["answers"] == 1
    # The one fault is the test's: it looks at the taking back before it knows of it.
    assert crowd.mixed == ["seat 0: 1 turns that are not the 2 own ones"]


QUICK = (load.long_messages, load.paths, load.headers, load.uploads, load.half_open)


def test_quick_attacks_are_refused_and_the_next_visitor_served(right: tuple[str, int]) -> None:
    happened = on(right[0], lambda page: load.attack(page, QUICK))
    assert [one for one in happened if not one["held"]] == []
    assert [one["name"] for one in happened] == [a.__name__.replace("_", " ") for a in QUICK]


@pytest.mark.slow
def test_every_attack_is_refused_and_the_next_visitor_served(
    right: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    happened = on(right[0], load.attack)
    assert [one["name"] for one in happened if not one["held"]] == []
    told = {one["name"]: one["told"] for one in happened}
    assert len(told) == len(load.ATTACKS)
    assert all("next visitor served in" in said for said in told.values())
    assert "503" in told["flood"]
    assert "in the middle of it" in told["flood"]
    assert "8,000" in told["long messages"]
    assert "413" in told["uploads"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["held"] * len(lines)


def test_memory_is_read_where_the_system_tells_it(right: tuple[str, int]) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system has no /proc")
    found = load.rss_mb(right[1])
    assert found is not None
    assert 50 < found < 5_000
    assert load.rss_mb(None) is None


# -- a broken page --------------------------------------------------------------------------------


def test_visitors_that_share_their_state_are_found(broken: tuple[str, int]) -> None:
    async def crowded(page: load.Page) -> load.Crowd:
        crowd = load.Crowd(page, time.monotonic() + 2, 0.2)
        await asyncio.gather(*(load.Visitor(crowd, n).converse() for n in range(3)))
        return crowd

    crowd = on(broken[0], crowded)
    assert any("words of" in said for said in crowd.mixed)
    assert any("turns that are not" in said for said in crowd.mixed)


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        (load.scripts, "shows markup"),
        (load.paths, "was answered with|was given out"),
        (load.uploads, "64 MB were taken"),
        pytest.param(load.flood, "took", marks=pytest.mark.slow),
    ],
)
def test_a_page_that_gives_way_is_found(
    broken: tuple[str, int],
    attack: Callable[[load.Page], Coroutine[Any, Any, str]],
    told: str,
) -> None:
    with pytest.raises(load.PageError, match=told):
        on(broken[0], attack)


# -- what the visitors judge by -------------------------------------------------------------------

LOG = [
    '<section class="lr-turn" data-stage="done"><div class="lr-said"><span>You: </span>'
    "<p>a &lt;b&gt; zqaaaaaaaaaa</p></div>",
    '<ol><li><button data-mark="like" data-id="heat" aria-pressed="true"></button>'
    '<button data-mark="seen" data-id="heat" aria-pressed="false"></button></li></ol></section>',
    '<section class="lr-turn" data-stage="failed"><div class="lr-said"><p>b</p></div>'
    '<p class="lr-problem">Too long.</p></section>',
]


def test_a_picture_is_read_as_a_visitor_reads_it() -> None:
    seen = load.read(LOG)
    assert seen.said == ["a <b> zqaaaaaaaaaa", "b"]
    assert seen.stages == ["done", "failed"]
    assert seen.cards == [["heat"], []]
    assert seen.pressed == {("heat", "like")}
    assert seen.problems == ["Too long."]


def test_each_kind_of_mixed_state_is_a_fault() -> None:
    own = load.Own("zqaaaaaaaaaa", ["a <b> zqaaaaaaaaaa", "b"], {("heat", "like"), ("x", "seen")})
    tags = {"zqaaaaaaaaaa", "zqbbbbbbbbbb"}
    values = {"lr-log": LOG, "lr-box": ""}
    assert own.faults(values, tags) == []
    assert own.faults({**values, "lr-box": "say zqbbbbbbbbbb"}, tags) == [
        "the words of 1 other visitors"
    ]
    assert own.faults({"lr-log": LOG[:2]}, tags) == ["1 turns that are not the 2 own ones"]
    unmarked = copy.deepcopy(own)
    unmarked.marks = set()
    assert unmarked.faults(values, tags) == ["buttons pressed that are not the own ones"]
    assert own.faults({"lr-box": ""}, tags) == ["no conversation at all"]


# As deep as what the page sends; in lists of lists, Gradio's own edits miss what they mean.
FLAT = st.text("ab", max_size=3) | st.lists(st.text("ab", max_size=3), max_size=4) | st.none()
VALUES = FLAT | st.dictionaries(st.sampled_from("xyz"), FLAT)


@given(VALUES, VALUES)
def test_edits_lead_to_the_value_that_gradio_means(old: Any, new: Any) -> None:
    from gradio.utils import diff

    kept = copy.deepcopy(old)
    assert load.changed(old, diff(old, new)) == new
    assert old == kept


def test_quantiles_lie_in_their_intervals() -> None:
    found = load.quantiles([[float(n + 10 * v) for n in range(10)] for v in range(10)])
    assert found["median"][0] == 49.5
    assert found["p95"][0] == pytest.approx(94.05)
    for value, low, high in found.values():
        assert low <= value <= high
    assert load.quantiles([]) == {}


def test_what_must_not_be_told_is_known() -> None:
    assert load.leaks('{"error": "Traceback (most recent call last): ..."}')
    assert load.leaks("root:x:0:0:root:/root:/bin/bash")
    assert load.leaks(f"cannot open {load.ROOT}/app.py")
    assert not load.leaks(f"File not allowed: {load.ROOT}/app.py", f"/file={load.ROOT}/app.py")
    assert not load.leaks('{"detail":"Forbidden"}')


def test_a_run_with_a_fault_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"errors": {}, "mixed": [], "other_cards_alone": 0, "attacks": [{"held": True}]}
    assert not load.bad(good)
    for fault in (
        {"errors": {"x": 1}}, {"mixed": ["x"]}, {"other_cards_alone": 1}, {"tracebacks": 1},
        {"attacks": [{"held": False}]},
    ):  # fmt: skip
        assert load.bad({**good, **fault})


def test_tracebacks_are_counted_also_after_the_attacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text("all is well\n", encoding="utf-8")

    async def calm(*_: Any) -> dict[str, Any]:
        return {}

    async def attack(page: Any) -> list[Any]:
        log.write_text("Traceback (most recent call last):\n  1 / 0\n" * 2, encoding="utf-8")
        return []

    monkeypatch.setattr(load.Page, "open", calm)
    monkeypatch.setattr(load, "load", calm)
    monkeypatch.setattr(load, "attack", attack)
    monkeypatch.setattr(load, "table", lambda figures: f"before: {figures['tracebacks']}")
    options = load.make_parser().parse_args(["--attack"])
    figures = asyncio.run(load.run(options, "http://127.0.0.1:1", 0, log))
    assert figures["tracebacks"] == 2
    assert capsys.readouterr().out == "before: 0\ntracebacks in the page's own log: 2\n"
    assert load.bad({"errors": {}, **figures})


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:] == ["broken"])
