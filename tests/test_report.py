"""Reports of a run folder: what they say, that no word of others becomes markup, and the page."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import handmade
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.errors import InputError
from llmrec.evaluation.aggregate import cutoff, headline
from llmrec.evaluation.page import Cell, Grid, number, page, spread
from llmrec.evaluation.report import examples_line, report
from llmrec.types import Conversation, Example, Message

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
CALM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
ALERT = "<script>alert(1)</script>"
EVIL = f'{ALERT}<img src=x onerror="window.hacked = 1"> $x^2$ | `code` \u202e'


def evil(path: Path) -> Path:
    """A run in which every word of others is an attack."""
    name = f"a {EVIL}"
    predictions = [
        dataclasses.replace(p, language=EVIL, text=EVIL, reply_language=EVIL, tiers={EVIL: 1})
        for p in handmade.PREDICTIONS[:2]
    ]
    predictions.append(dataclasses.replace(handmade.THIRD, items=(), error=EVIL))
    folder = handmade.folder(
        path,
        predictions,
        {"popularity": handmade.POPULAR},
        titles=[f"{i} {ALERT}" for i in handmade.IDS],
        system=name,
        config={"data": EVIL, "split": EVIL, EVIL: EVIL, "ks": [1, 10]},
    )
    said = [{"role": "assistant", "content": EVIL}, {"role": "user", "content": "\ud800" + EVIL}]
    lines = [json.dumps({"id": p.id, "said": said}) for p in predictions]
    (folder / "examples.jsonl").write_text("\n".join([*lines, "{", "[]", '{"id": 1}']))
    return folder


class Tags(HTMLParser):
    """The elements of a page, and where it would load from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.addresses += [
            str(v) for k, v in attrs if k in ("src", "href", "xlink:href") and str(v)[:1] != "#"
        ]


def test_the_report_for_a_terminal(tmp_path: Path) -> None:
    run = handmade.folder(tmp_path / "run")
    report(run)
    text = (run / "report.md").read_text("utf-8")
    first = text.splitlines()[:9]
    assert first[0] == "# m, zero-shot"
    assert first[2] == "- Measured: m, zero-shot"
    assert first[3] == "- On: talks, test"  # no folder of the machine
    assert first[4] == "- Examples: 3 examples, 5 targets in 2 dialogues"
    assert first[5] == "- Catalogue: 6 items"
    assert first[6].startswith("- Repeats: two tables: new targets")
    assert first[7] == "- Intervals: 95 %, bootstrap over dialogues, 2,000 draws"
    assert first[8].startswith("- Few dialogues: with 2 the intervals are too narrow")
    assert "3 examples with 5 targets in 2 dialogues." in text
    assert re.search(r"\| m, zero-shot +\| +0\.400 \(0\.250–1\.000\) \|", text)
    assert re.search(r"\| popularity +\| +0\.400", text)
    assert re.search(r"\| cold start +\| +1 \|", text)
    assert "under way" not in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 9
    assert all(len({len(line) for line in block.splitlines()}) == 1 for block in tables)
    assert "/home" not in text + (run / "report.html").read_text("utf-8")
    for name in re.findall(r"\]\((plots/[^)]+)\)", text):
        assert (run / name).read_bytes().startswith(b"\x89PNG")
    assert len(list((run / "plots").iterdir())) == 4


@given(st.lists(st.integers(1, 60), min_size=1, unique=True).map(sorted))
def test_the_depth_of_short_tables_is_one_of_their_metrics(ks: list[int]) -> None:
    at = cutoff(ks)
    assert at in ks
    assert {f"recall@{at}", f"ndcg@{at}", f"mrr@{at}"} <= set(headline(ks))
    assert {int(name.partition("@")[2]) for name in headline(ks)} <= set(ks)


def test_a_report_of_unusual_depths(tmp_path: Path) -> None:
    run = handmade.folder(tmp_path / "run", config={"data": "talks", "ks": [1, 3]})
    report(run)
    text = (run / "report.md").read_text("utf-8")
    assert re.search(r"\| slice +\| examples \| +Recall@3, new \| +NDCG@3, new \|", text)
    assert re.search(r"\| cold start +\| +1 \| 1\.000 \(1\.000–1\.000\) \|", text)
    assert "![Recall@3 by slice](plots/slices.png)" in text
    assert (run / "plots" / "slices.png").is_file()


def test_a_run_under_way_is_reported(tmp_path: Path) -> None:
    run = handmade.folder(tmp_path / "run", handmade.PREDICTIONS[:2])
    report(run)
    assert "2 of 3 examples: the run is under way" in (run / "report.md").read_text("utf-8")
    assert "2 of 3 examples: the run is under way" in (run / "report.html").read_text("utf-8")


def test_what_a_reader_must_know_first(tmp_path: Path) -> None:
    failed = dataclasses.replace(handmade.THIRD, items=(), error="no answer")
    wanted = dataclasses.replace(handmade.SECOND, relevant=("a", "c", "nowhere"))
    baselines = {"popularity": handmade.POPULAR[:2]}
    run = handmade.folder(tmp_path / "run", [handmade.FIRST, wanted, failed], baselines)
    with (run / "predictions.jsonl").open("a") as file:
        file.write('{"id": "d3')
    report(run)
    text = (run / "report.md").read_text("utf-8")
    assert "- Out of reach: 1 of the targets are not in the catalogue: nobody finds them" in text
    assert (
        "- Left out: 1 of the lines, the first is line 4 of predictions.jsonl: it is not JSON"
        in text
    )
    said = "m, zero-shot gave no list for 1 of the examples, as for: no answer"
    assert f"- Errors: {said}" in text
    assert "- Fewer: popularity was asked 2 of these 3 examples" in text
    page = (run / "report.html").read_text("utf-8")
    assert page.count('<p class="warn">') == 5
    assert f"<b>Errors.</b> {said}." in page


def test_names_of_any_length_are_drawn(tmp_path: Path) -> None:
    baselines = {"W" * 100: handmade.POPULAR, "i": handmade.POPULAR}
    report(run := handmade.folder(tmp_path / "run", baselines=baselines, system="M" * 300))
    assert "M" * 45 + "..." in (run / "report.html").read_text("utf-8")


def test_a_run_without_baselines(tmp_path: Path) -> None:
    run = handmade.folder(tmp_path / "run", baselines={})
    report(run)
    assert "no baseline" in (run / "report.html").read_text("utf-8")


def test_reports_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = handmade.folder(tmp_path / "run")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report(run)
    said = "There are no plots: matplotlib is needed for this and is not installed"
    assert said in (run / "report.md").read_text("utf-8")
    assert said in (run / "report.html").read_text("utf-8")
    assert not (run / "plots").exists()


def test_no_word_of_others_becomes_markup(tmp_path: Path) -> None:
    run = evil(tmp_path / "run")
    report(run)
    text = (run / "report.html").read_text("utf-8")
    found = Tags(text)
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    assert found.handlers == []
    assert found.addresses == []
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r"(?:url\(|href=\")#([^\")]+)", text)) <= set(ids)
    assert "a &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\u202e" not in text
    for line in (run / "report.md").read_text("utf-8").splitlines():
        assert "<script" not in line
        assert "<img" not in line


def test_the_examples_are_shown(tmp_path: Path) -> None:
    titles = ["Alien (1979)", *handmade.IDS[1:]]
    run = handmade.folder(tmp_path / "run", titles=titles)
    said = [{"role": "user", "content": "something scary"}]
    (run / "examples.jsonl").write_text(json.dumps({"id": "d1:1", "said": said}))
    report(run)
    text = (run / "report.html").read_text("utf-8")
    assert text.count('class="case"') == 3
    assert '<p class="turn user"><bdi>something scary</bdi></p>' in text
    assert "<li class=hit><bdi>Alien (1979)</bdi></li>" in text
    assert '<span class="rank hit">hit at 1</span>' in text
    assert "at 2, mentioned before" in text  # Alien, in the second example
    assert text.count('data-kind="hit cold"') == 1


def test_a_line_of_examples() -> None:
    messages = [
        Message("user" if i % 2 else "assistant", f"turn {i} " + "x" * 700) for i in range(9)
    ]
    made = examples_line(Example(Conversation(tuple(messages)), id="d:1"))
    assert made["id"] == "d:1"
    assert [m["content"][:6] for m in made["said"]] == [f"turn {i}" for i in range(3, 9)]
    assert made["said"][0]["role"] == "user"
    assert {len(m["content"]) for m in made["said"]} == {600}
    assert examples_line(Example(Conversation(), id="e")) == {"id": "e", "said": []}


def test_figures_in_words() -> None:
    assert (number(None), number(1234.5, 1), number(0.15)) == ("–", "1,234.5", "0.150")
    assert spread(0.1, 0.25) == ".100–.250"
    assert spread(0.5, 1.0) == "0.500–1.000"
    assert spread(-0.1, 0.2) == "-0.100 to 0.200"
    assert spread(None, None) == ""
    assert Cell.of({"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}).text == "–"


def test_a_table_in_both_forms() -> None:
    rows = [
        [Cell("a|b_c@10"), Cell("x"), Cell("0.5", ".1–.9", 0.5)],
        [Cell("b"), Cell("y"), Cell("–")],
    ]
    grid = Grid(["name", "kind", "figure"], rows, "two of them", ours=frozenset({1}))
    assert grid.markdown() == "\n".join(
        [
            r"| name      | kind |      figure |",
            r"| --------- | ---- | ----------: |",
            r"| a\|b_c@10 | x    | 0.5 (.1–.9) |",
            r"| b         | y    |           – |",
        ]
    )
    drawn = grid.html()
    assert '<td data-sort="0.5"><bdi>0.5</bdi><small>.1–.9</small></td>' in drawn
    assert "<caption>two of them</caption>" in drawn
    assert drawn.count("<tr class=ours>") == 1
    assert "default-src &#x27;none&#x27;" not in page("t", [])
    assert "default-src 'none'" in page("t", [])


@given(st.text(min_size=1))
def test_any_words_stay_words(said: str) -> None:
    grid = Grid(["name", said], [[Cell(said), Cell(said, "", 1.0)]], said)
    plain = Tags(Grid(["name", "x"], [[Cell("x"), Cell("x", "", 1.0)]], "x").html())
    assert Tags(grid.html()).tags == plain.tags
    lines = grid.markdown().split("\n")
    assert len(lines) == 3
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == {3}


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run"):
        report(tmp_path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=str(CHROMIUM), args=list(CALM))
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(browser: Browser, file: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Page]:
    """The page, which must stay without errors, dialogs and requests."""
    scheme = "dark" if dark else "light"
    viewport = {"width": width, "height": 800}
    with contextlib.closing(browser.new_context(viewport=viewport, color_scheme=scheme)) as context:
        made = context.new_page()
        faults: list[str] = []
        made.on("pageerror", lambda e: faults.append(str(e)))
        made.on("console", lambda m: faults.append(m.text))
        made.on("dialog", lambda d: (faults.append(d.message), d.dismiss()))
        made.on("request", lambda r: None if r.url.startswith("file:") else faults.append(r.url))
        made.goto(file.as_uri())
        yield made
        assert made.evaluate("window.hacked") is None
        assert faults == []


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, True)])
def test_the_page_in_a_browser(tmp_path: Path, browser: Browser, width: int, dark: bool) -> None:
    run = evil(tmp_path / "run")
    report(run)
    with visit(browser, run / "report.html", width=width, dark=dark) as made:
        assert made.evaluate("document.documentElement.scrollWidth") == width
        assert ALERT in made.locator("h1").inner_text()
        case = made.locator(".case").first
        case.locator("summary").click()
        assert ALERT in case.locator("ol").last.inner_text()
        light = made.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light == ("rgb(20, 19, 21)" if dark else "rgb(246, 244, 239)")
        line = made.locator("figure svg text").first
        colour = line.evaluate("e => getComputedStyle(e).fill")
        assert colour == ("rgb(174, 166, 154)" if dark else "rgb(95, 88, 78)")


@pytest.mark.browser
def test_tables_sort_and_examples_are_found(tmp_path: Path, browser: Browser) -> None:
    run = handmade.folder(tmp_path / "run", titles=["Alien (1979)", *handmade.IDS[1:]])
    report(run)
    with visit(browser, run / "report.html") as made:
        table = made.locator("table", has=made.locator("text=examples")).last
        column = table.locator("thead th", has_text="examples")
        names = table.locator("tbody th")
        before = names.all_inner_texts()
        column.locator("button").click()
        assert column.get_attribute("aria-sort") == "descending"
        assert names.all_inner_texts()[0] in ("in en", "warm")
        column.locator("button").click()
        assert column.get_attribute("aria-sort") == "ascending"
        assert sorted(names.all_inner_texts()) == sorted(before)
        shown = made.locator(".case:visible")
        assert (shown.count(), made.locator(".tools output").inner_text()) == (3, "3 shown")
        made.locator(".tools select").select_option("cold")
        assert shown.count() == 1
        made.locator(".tools select").select_option("")
        made.locator(".tools input").fill("alien")
        assert shown.count() == 2
        made.locator(".tools input").fill("no such film")
        assert shown.count() == 0
