from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import products, search
from llmrec.cleaning import clean
from llmrec.errors import MissingExtraError


def test_products_are_the_same_for_a_seed_and_a_beginning_of_more() -> None:
    few, more = list(products.made_up_products(50)), list(products.made_up_products(4_200))
    assert few == more[:50]
    assert len(more) == len({product["id"] for product in more}) == 4_200
    assert few != list(products.made_up_products(50, seed=1))


def test_products_read_like_those_of_a_shop() -> None:
    made = list(products.made_up_products(4_000))
    lengths = sorted(len(clean(product["content"]).split()) for product in made)
    assert 50 < lengths[2_000] < 70
    assert lengths[-1] > 500
    languages = Counter(product["language"] for product in made)
    assert languages["en"] > 2_500
    assert min(languages["pt"], languages["es"]) > 400
    assert 300 < sum(product["price"] is None for product in made) < 700
    assert any("<b>" in product["content"] for product in made)
    assert any("&amp;" in product["title"] for product in made)
    texts = Counter((product["title"], product["content"]) for product in made)
    assert 3_700 < len(texts) < 3_950
    words = Counter(word for product in made for word in product["content"].lower().split())
    assert len(words) > 30_000
    assert words["the"] > 100 * sorted(words.values())[len(words) // 2]


def test_products_are_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made.jsonl"
    assert products.main(["--rows", "30", "--out", str(out)]) == 0
    assert products.main(["--rows", "30"]) == 0
    assert capsys.readouterr().out == out.read_text(encoding="utf-8")
    assert len(out.read_text(encoding="utf-8").splitlines()) == 30


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    search.prepare(folder, 2_000, 30, seed=0)
    return folder


def test_a_query_has_words_of_its_product_which_meets_its_filter(made: Path) -> None:
    items = {item["id"]: item for item in search.read(made / "items.jsonl")}
    assert len(items) == 2_000
    assert not any("<" in item["description"] for item in items.values())
    queries = [search.Query(**query) for query in json.loads((made / "queries.json").read_text())]
    assert len({query.text for query in queries}) == 30
    for query in queries:
        item = items[query.target]
        words = query.text.split()
        assert 2 <= len(words) <= 5
        text = f"{item['title']} {item['description']}".lower()
        assert set(words) <= set(re.findall(r"\w+", text))
        assert any(word in item["title"].lower() for word in words)
        assert item["genres"] == [query.category]
        assert query.price_min <= item["price"] <= query.price_max


@pytest.mark.parametrize("system", list(search.SYSTEMS))
def test_a_system_finds_known_items_and_obeys_the_filter(made: Path, system: str) -> None:
    if system == "bm25s":
        pytest.importorskip("bm25s", reason="bm25s, of the extra test, is not installed")
    built = search.step(system, "build", made, 0)
    assert built["disk_mb"] > 0.5
    for name in ("search", "filter"):
        figures = search.step(system, name, made, 0)
        assert figures["recall_10"] >= figures["recall_1"] > 0.6
        assert figures["recall_10"] > 0.8
        assert all(0 < figures[t]["median_ms"] <= figures[t]["p99_ms"] for t in ("cold", "warm"))
        assert all(len(ids) == len({*ids}) <= search.K for ids in figures["found"])
        if name == "filter":
            assert search.outside(figures["found"], made) == 0


def test_agreement_is_the_share_of_the_longer_list() -> None:
    assert search.agreement([["a", "b"], []], [["b"], []]) == pytest.approx(0.25)
    assert search.agreement([["a", "b"]], [["b", "a"]]) == 1


def test_hits_that_miss_the_filter_are_counted(made: Path) -> None:
    queries = json.loads((made / "queries.json").read_text())
    right = [[query["target"]] for query in queries]
    assert search.outside(right, made) == 0
    other = next(i for i in search.read(made / "items.jsonl") if "price" not in i)["id"]
    assert search.outside([[other], *right[1:]], made) == 1


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rows", "300", "--queries", "5", "--cores", "1", "--systems", "fts5"]
    arguments += ["--keep", str(tmp_path), "--json", str(tmp_path / "figures.json")]
    assert search.main(arguments) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    work = tmp_path / "300-5-0"
    built = (work / "fts5.build.json").read_bytes()
    (work / "fts5.filter.json").unlink()
    assert search.main(arguments) == 0
    again = json.loads((tmp_path / "figures.json").read_text())
    assert (work / "fts5.build.json").read_bytes() == built
    assert again["systems"]["fts5"]["build"] == figures["systems"]["fts5"]["build"]
    assert again["systems"]["fts5"]["search"] == figures["systems"]["fts5"]["search"]
    out = capsys.readouterr().out
    assert "| 300 products | fts5 |" in out
    assert "| search: warm, median, ms |" in out


def test_without_bm25s_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="bm25s"):
        search.main(["--rows", "300", "--keep", str(tmp_path)])
    assert not list(tmp_path.rglob("*.jsonl"))
