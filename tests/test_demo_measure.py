"""The screen of evaluation runs: what is read of folders that anyone wrote, and what is shown."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import html
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import handmade
import pytest

from llmrec.demo import cases as reading
from llmrec.demo import charts, hostile, measured, scoreboard
from llmrec.demo.example_run import NAME, ExampleRun
from llmrec.demo.measure import View, measure
from llmrec.demo.measured import Group, Shelf
from llmrec.demo.screen import Screen
from llmrec.demo.texts import Words
from llmrec.demo.visit import Visit
from llmrec.evaluation.aggregate import aggregate
from llmrec.metrics import text as text_metrics
from llmrec.types import LANGUAGES

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)> \u202e\ud800"
QUICK = ("nearest-title", "majority", "copy-title")  # they ask no model


def lists(path: Path, **said: Any) -> Path:
    """A run over lists with its figures."""
    folder = handmade.folder(path, **said)
    aggregate(folder)
    return folder


@pytest.fixture(scope="module")
def example() -> ExampleRun:
    """A run of answers, made as a visitor makes it."""
    made = ExampleRun(QUICK, questions=40)
    made.start()
    made.start()  # pressed twice: one run
    for _ in range(600):
        if made.state != "running":
            break
        time.sleep(0.1)
    assert made.state == "done"
    return made


class Page:
    """The screen without a browser: its events by what triggers them."""

    def __init__(self, runs: Path | None, example: ExampleRun | None = None) -> None:
        self.visit = Visit()
        self.example = example or ExampleRun(QUICK, questions=24)
        self.view = View()
        self.blocks, self.screen = asyncio.run(self._build(runs))  # gradio makes loops elsewhere
        self.values: dict[str, Any] = {}
        self.says: dict[str, str] = {}
        self.take(self.fire("select"))

    async def _build(self, runs: Path | None) -> tuple[gr.Blocks, Screen]:
        with gr.Blocks() as blocks, gr.Tabs(), gr.Tab("Measure"):
            script = resources.files("llmrec.demo").joinpath("page.js").read_text("utf-8")
            return blocks, measure(runs, gr.State(self.visit), script, self.example)

    def component(self, name: str) -> Any:
        return next(c for c in self.screen.components if c.elem_id == f"lr-m-{name}")

    def fire(self, event: str, source: str = "", data: Any = None) -> dict[Any, Any]:
        """Run what listens to the event of a component, with the values as they now are."""
        number = self.component(source)._id if source else None
        fn = next(
            f
            for f in self.blocks.fns.values()
            if any(t[1] == event and (number is None or t[0] == number) for t in f.targets)
        )
        names = ("group", "target", "system", "result", "language", "kind", "search")
        values = [self.values.get(n, "new" if n == "target" else "") for n in names]
        more = [] if data is None else [gr.EventData(None, data)]
        out: dict[Any, Any] = fn.fn(*more, self.visit, self.view, *values)
        return out

    def take(self, out: dict[Any, Any]) -> None:
        """Keep what an event changed."""
        for component, value in out.items():
            if isinstance(value, View):
                self.view = value
                continue
            name = (getattr(component, "elem_id", None) or "").removeprefix("lr-m-")
            if isinstance(value, dict):
                if "value" in value:
                    self.values[name] = value["value"]
                self.says[f"{name}.choices"] = str(value.get("choices", ""))
            else:
                self.says[name or f"html{component._id}"] = value

    def choose(self, name: str, value: str, event: str = "input") -> None:
        self.values[name] = value
        self.take(self.fire(event, name))

    @property
    def asked(self) -> list[str]:
        return [
            html.unescape(t)
            for t in re.findall(r'lr-case"><summary><span><bdi>(.*?)</bdi>', self.says["cases"])
        ]


def text(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


# -- what is read -------------------------------------------------------------------------------


def test_figures_are_those_of_the_run(tmp_path: Path) -> None:
    folder = lists(tmp_path / "a" / "one")
    said = json.loads((folder / "metrics.json").read_text("utf-8"))
    (group,), problems = Shelf([tmp_path]).look()
    assert problems == []
    assert (group.kind, group.n, group.ks) == ("lists", 3, (1, 2))
    assert [(r.label, r.run, r.main) for r in group.rows] == [
        ("m, zero-shot", "a/one", True),
        ("popularity", "a/one", False),
    ]
    for row in group.rows:
        for target in ("new", "all"):
            wanted = said["systems"][row.system][target]["recall@2"]
            found = row.figures[f"{target}/recall@2"]
            assert (found.value, found.low, found.high) == (
                wanted["value"], wanted["low"], wanted["high"],
            )  # fmt: skip


def test_runs_of_the_same_examples_share_a_table_and_a_baseline(tmp_path: Path) -> None:
    same = {
        "data": {"name": "talks", "fingerprint": "f"}, "examples": "e", "catalog_fingerprint": "c",
    }  # fmt: skip
    lists(tmp_path / "one", system="first", **same)
    lists(tmp_path / "two", system="second", **same)
    lists(tmp_path / "three", system="second", **same)
    lists(tmp_path / "other", system="first", **{**same, "examples": "others"})
    groups, _ = Shelf([tmp_path]).look()
    assert [[r.label for r in g.rows] for g in groups] == [
        ["first", "second (three)", "second (two)", "popularity"],
        ["first", "popularity"],
    ]
    cases, problems = Shelf([tmp_path]).cases(groups[0])
    assert problems == []
    assert len(cases) == 3
    assert set(cases[0].given) == {"first", "second (three)", "second (two)", "popularity"}


def test_an_example_says_what_was_asked_wanted_and_given(tmp_path: Path) -> None:
    folder = lists(tmp_path / "one", titles=[f"Film {i.upper()}" for i in handmade.IDS])
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "and?"}]
    (folder / "examples.jsonl").write_text(json.dumps({"id": "d1:3", "said": turns}) + "\n{\n")
    (group,), _ = Shelf([tmp_path]).look()
    cases, _ = Shelf([tmp_path]).cases(group)
    case = next(c for c in cases if c.id == "d1:3")
    assert case.turns == (("user", "hello"), ("assistant", "and?"))
    assert case.wanted == ("Film A", "Film C")
    given = case.given["m, zero-shot"]
    assert given.lines == (("Film D", ""), ("Film A", "hit"), ("Film C", "hit"))
    assert (given.right, given.place) == (True, 2)
    assert case.kind == "warm"
    assert case.holds("film c")
    assert not case.holds("film e")


def test_answers_are_judged_as_their_report_judges_them(example: ExampleRun) -> None:
    (group,), problems = Shelf([example.folder]).look()
    assert problems == []
    assert group.kind == "answers"
    assert group.data == f"{NAME}.jsonl"
    cases, lost = Shelf([example.folder]).cases(group)
    assert lost == []
    assert len(cases) == group.n == 20
    for row in group.rows:
        right = sum(c.given[row.label].right for c in cases) / len(cases)
        assert right == pytest.approx(row.figures["right"].value)
    assert any(c.refusal for c in cases)
    done, total = example.progress()
    assert done == total == 3 * 20


def test_without_the_questions_it_says_so(tmp_path: Path, example: ExampleRun) -> None:
    for file in ("run.json", "metrics.json"):
        there = tmp_path / "runs" / "answers" / file
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes((example.folder / "example" / file).read_bytes())
    shelf = Shelf([tmp_path / "runs"])
    (group,), _ = shelf.look()
    assert [p.kind for p in shelf.cases(group)[1]] == ["unasked"]
    # Others under that name are not taken for them.
    (tmp_path / "runs" / "answers" / f"{NAME}.jsonl").write_text("{}\n")
    assert [p.kind for p in Shelf([tmp_path / "runs"]).cases(group)[1]] == ["unasked"]


# -- what is hostile ----------------------------------------------------------------------------


def damage(folder: Path, file: str, content: str | bytes) -> None:
    (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("run.json", "{", "damaged"),
        ("run.json", "[]", "damaged"),
        ("run.json", b"\xff\xfe", "damaged"),
        ("run.json", "[" * 100_000, "damaged"),
        ("metrics.json", "{}", "damaged"),
        ("metrics.json", '{"ks": ["a"], "systems": {}}', "damaged"),
        ("metrics.json", '{"ks": [1], "done": -1, "main": "m", "systems": {}}', "damaged"),
        ("metrics.json", '{"ks": [1], "done": 1, "main": "m", "systems": {"m": 5}}', "damaged"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_shown(
    tmp_path: Path, file: str, content: str | bytes, kind: str
) -> None:
    lists(tmp_path / "good")
    damage(lists(tmp_path / "bad"), file, content)
    groups, problems = Shelf([tmp_path]).look()
    assert [g.rows[0].run for g in groups] == ["good"]
    assert [(p.kind, p.file) for p in problems] == [(kind, f"bad/{file}")]
    page = Page(tmp_path)
    assert f"bad/{file}" in "".join(page.says.values())


def test_limits_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = lists(tmp_path / "good")
    unfinished = handmade.folder(tmp_path / "unfinished")
    linked = handmade.folder(tmp_path / "linked")
    os.symlink(good / "metrics.json", linked / "metrics.json")
    os.symlink(good, tmp_path / "whole")
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "run.json").write_text('{"steps": 5}')
    groups, problems = Shelf([tmp_path]).look()
    assert [g.rows[0].run for g in groups] == ["good"]
    assert {(p.kind, p.file) for p in problems} == {
        ("unfinished", unfinished.name),
        ("large", "linked/metrics.json"),
    }
    with monkeypatch.context() as m:
        m.setattr(reading, "MAX_BYTES", 100)
        assert [p.kind for p in Shelf([tmp_path]).cases(groups[0])[1]] == ["large"]
        m.setattr(hostile, "MAX_JSON", 100)
        assert {p.kind for p in Shelf([tmp_path]).look()[1]} == {"large"}
    with monkeypatch.context() as m:
        m.setattr(measured, "MAX_RUNS", 1)
        assert "many" in [p.kind for p in Shelf([tmp_path]).look()[1]]


def test_an_archive_that_unpacks_to_much_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_ARRAYS", 5 << 20)
    folder = lists(tmp_path / "one")
    with zipfile.ZipFile(folder / "items.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("counts.npy", b"\0" * (reading.MAX_ARRAYS + 1))
    (group,), _ = Shelf([tmp_path]).look()
    assert Shelf([tmp_path]).cases(group) == ([], [hostile.Problem("large", "one")])
    damage(folder, "items.npz", b"PK nothing")
    assert Shelf([tmp_path]).cases(group) == ([], [hostile.Problem("damaged", "one")])


def test_broken_lines_are_counted(tmp_path: Path) -> None:
    folder = lists(tmp_path / "one")
    with (folder / "predictions.jsonl").open("a") as out:
        out.write('{"id": 5}\nnothing\n')
    (group,), _ = Shelf([tmp_path]).look()
    cases, problems = Shelf([tmp_path]).cases(group)
    assert len(cases) == 3
    assert problems == [hostile.Problem("lines", "one/predictions.jsonl", 2)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_others_are_no_markup(tmp_path: Path, language: str) -> None:
    plain = EVIL.replace("\ud800", "")
    predictions = [
        dataclasses.replace(p, language=plain, error=plain, text=plain)
        for p in handmade.PREDICTIONS
    ]
    folder = handmade.folder(
        tmp_path / "a'<b>\"", predictions, titles=[f"{i} {plain}" for i in handmade.IDS],
        system=f"s {plain}", data={"name": plain}, split=plain,
    )  # fmt: skip
    turns = [{"role": plain, "content": EVIL}, {"role": "user", "content": EVIL}]
    lines = [json.dumps({"id": p.id, "said": turns}) for p in predictions]
    (folder / "examples.jsonl").write_text("\n".join(lines))
    aggregate(folder)
    page = Page(tmp_path)
    page.visit.language = language
    page.take(page.fire("select"))
    shown = "".join(page.says.values())
    shown.encode()
    assert "script" in shown
    for bad in ("<script", "<img", "\u202e"):
        assert bad not in re.sub(r"\[\(.*?\)\]", "", shown)
    tags = {
        t.lower() for t in re.findall(r"<([a-zA-Z][\w-]*)", page.says["table"] + page.says["cases"])
    }
    known = "div table thead tbody tr th td button i b span small bdi p details summary"
    assert tags <= {*known.split(), "h4", "ul", "ol", "li"}


# -- what is shown ------------------------------------------------------------------------------


def rows(page: Page) -> list[str]:
    return re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', page.says["table"])


def test_the_table_sorts_and_marks_the_best_in_words(tmp_path: Path) -> None:
    lists(tmp_path / "one")
    page = Page(tmp_path)
    (group,), _ = Shelf([tmp_path]).look()
    by_ndcg = sorted(group.rows, key=lambda r: -r.figures["new/ndcg@2"].value)
    page.take(page.fire("say", "table", {"text": "new/ndcg@2"}))
    assert rows(page) == [r.label for r in by_ndcg]
    assert (
        'aria-sort="descending"><button type="button" data-say="new/ndcg@2"' in page.says["table"]
    )
    page.take(page.fire("say", "table", {"text": "new/ndcg@2"}))
    assert rows(page) == [r.label for r in by_ndcg][::-1]
    assert page.says["table"].count('aria-sort="ascending"') == 1
    page.take(page.fire("say", "table", {"text": "seconds"}))
    assert rows(page)[0] == "popularity"  # the quickest first
    assert "best of its column" in text(page.says["table"])
    page.take(page.fire("say", "table", {"text": "no such <column>"}))
    assert "no such" not in page.says["table"]
    page.choose("target", "all")
    assert 'data-say="all/recall@2"' in page.says["table"]
    assert 'data-say="new/recall@2"' not in page.says["table"]


def test_examples_are_filtered_searched_and_paged(example: ExampleRun) -> None:
    page = Page(None, example)
    (group,), _ = Shelf([example.folder]).look()
    cases, _ = Shelf([example.folder]).cases(group)
    assert page.asked == [c.turns[-1][1] for c in cases[:10]]
    page.take(page.fire("click", "next"))
    assert page.asked == [c.turns[-1][1] for c in cases[10:20]]
    assert "11 to 20 of 20" in text(page.says["cases"])
    page.take(page.fire("click", "next"))
    assert page.view.page == 1
    page.take(page.fire("click", "previous"))
    assert page.view.page == 0
    page.choose("system", "majority")
    page.choose("result", "right")
    right = [c.turns[-1][1] for c in cases if c.given["majority"].right]
    assert page.asked == right[:10]
    page.choose("result", "wrong")
    page.choose("language", "pt")
    page.choose("kind", "fact")
    wanted = [
        c.turns[-1][1]
        for c in cases
        if not c.given["majority"].right and (c.language, c.kind) == ("pt", "fact")
    ]
    assert page.asked == wanted[:10]
    page.choose("search", "no such words anywhere", "submit")
    assert "No example is like that" in text(page.says["cases"])


def test_the_example_run_is_made_by_a_press(tmp_path: Path) -> None:
    page = Page(tmp_path / "absent", ExampleRun(("copy-title",), questions=24))
    assert "empty" not in page.values
    assert text(page.component("empty").value).count("python eval/") == 3
    press = next(
        f.fn
        for f in page.blocks.fns.values()
        if any(t == (page.component("try")._id, "click") for t in f.targets)
    )
    steps = list(press(page.visit))
    assert "being made" in text(str(steps[0]))
    page.take(steps[-1])
    assert rows(page) == ["copy-title"]
    assert page.example.state == "done"


def test_a_run_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ExampleRun(("copy-title",), questions=0)
    made.start()
    for _ in range(100):
        if made.state == "failed":
            break
        time.sleep(0.05)
    page = Page(None, made)
    assert 'role="alert"' in page.says["doing"]


def test_labels_follow_the_language(tmp_path: Path) -> None:
    lists(tmp_path / "one")
    page = Page(tmp_path)
    page.visit.language = "pt"
    out = page.screen.texts(page.visit)
    assert set(out) <= set(page.screen.components)
    assert out[page.component("group")]["label"] == Words("measure")("pt", "group")
    page.take(page.fire("select"))
    assert "Cobertura" in page.says["table"]
    assert re.search(r"\d,\d{3}", page.says["table"])


def test_drawings_hold_every_value_and_no_markup_of_others() -> None:
    points = [charts.Point(0.25, 0.1, 0.4), charts.Point(-0.1), None]
    drawn = charts.dots(
        "t<", ["a<b>", "c", "d"], [charts.Series("s", points)], lambda v: f"{v:.2f}"
    )
    assert "a&lt;b&gt;" in drawn
    assert ">0.25<" in drawn
    assert ">-0.10<" in drawn
    assert 'aria-label="t&lt;"' in drawn
    lines = charts.curves("t", ["1", "10"], [charts.Series("s", [*points[:1], None])], "k", str)
    assert lines.count("<polyline") == 1
    assert charts.legend(["<x>"]).count("&lt;x&gt;") == 1


def test_a_group_of_nothing_draws_nothing(tmp_path: Path) -> None:
    folder = lists(tmp_path / "one")
    said = json.loads((folder / "metrics.json").read_text("utf-8"))
    said["systems"] = {}
    damage(folder, "metrics.json", json.dumps(said))
    groups, _ = Shelf([tmp_path]).look()
    assert [type(g) for g in groups] == [Group]
    page = Page(tmp_path)
    assert rows(page) == []
    assert "<svg" not in "".join(page.says.values())


# -- in a browser -------------------------------------------------------------------------------

CHROMIUM = Path("/usr/bin/chromium")


def serve(port: int, runs: Path) -> None:
    """Serve the screen alone."""
    from llmrec.demo import launch_options

    script = resources.files("llmrec.demo").joinpath("page.js").read_text("utf-8")
    with gr.Blocks(analytics_enabled=False) as blocks, gr.Tabs():
        gr.Tab("First")
        with gr.Tab("Second"):
            measure(runs, gr.State(Visit()), script)
    options = {k: launch_options()[k] for k in ("css", "theme", "footer_links", "ssr_mode")}
    blocks.launch(**options, server_name="127.0.0.1", server_port=port, quiet=True)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")
def test_a_visitor_sorts_turns_pages_and_opens_an_example_by_keyboard(tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    plain = EVIL.replace("\ud800", "")
    lists(tmp_path / "one", system=plain, titles=[f"{i} {plain}" for i in handmade.IDS])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    here, url = Path(__file__).resolve(), f"http://127.0.0.1:{port}/"
    environment = {**os.environ, "PYTHONPATH": str(here.parent.parent), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(here), str(port), str(tmp_path)]
    with subprocess.Popen(command, env=environment) as process, api.sync_playwright() as p:
        try:
            for _ in range(300):
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
            browser = p.chromium.launch(
                executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 375, "height": 800})
            faults: list[str] = []
            page.on("pageerror", lambda e: faults.append(str(e)))
            page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
            page.goto(url)
            page.get_by_role("tab", name="Second").click()
            head = page.locator('.lr-table [data-say="new/ndcg@2"]')
            head.focus()
            page.keyboard.press("Enter")
            page.wait_for_selector('[aria-sort="descending"] [data-say="new/ndcg@2"]')
            assert page.evaluate("document.activeElement.dataset.say") == "new/ndcg@2"
            page.locator(".lr-case > summary").first.focus()
            page.keyboard.press("Enter")
            assert page.locator(".lr-case[open] h4").count() == 3
            assert page.evaluate("document.documentElement.scrollWidth") == 375
            assert faults == []
            browser.close()
        finally:
            process.terminate()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))


def test_answers_that_cannot_be_judged_here_are_shown_without_a_mark(
    example: ExampleRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may be installed without what compares answers with texts: nothing else is lost."""
    shelf = Shelf([example.folder])
    (group,) = shelf.look()[0]
    with_all, told = shelf.cases(group)
    assert told == []
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    text_metrics._rouge.cache_clear()
    cases, told = Shelf([example.folder]).cases(group)
    text_metrics._rouge.cache_clear()
    assert [c.id for c in cases] == [c.id for c in with_all]
    assert [(p.kind, p.file) for p in told] == [("unjudged", "example")]
    unjudged = [g for c in cases for g in c.given.values() if g.right is None]
    assert unjudged
    for before, after in zip(with_all, cases, strict=True):
        for label, given in after.given.items():
            assert given.right in (None, before.given[label].right)
            assert after.kind == "text" or given.right is not None
    for language in LANGUAGES:
        scoreboard.case(cases[0], next(iter(cases[0].given)), "answers", language)
    assert not scoreboard._badge(unjudged[0], "en")


def test_groups_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name, n in (("one", 3), ("two", 3)):
        lists(tmp_path / name, n=n)
    page = Page(tmp_path)
    groups = Shelf([tmp_path]).look()[0]
    names = scoreboard.names_of(groups, "en")
    assert len(set(names)) == len(groups)
    twice = [dataclasses.replace(groups[0], key=k, runs=((k, tmp_path),)) for k in ("a", "b")]
    assert [n.rpartition(" ")[2] for n in scoreboard.names_of(twice, "en")] == ["(a)", "(b)"]
    assert ".jsonl" not in page.says["group.choices"].partition(",")[0]
