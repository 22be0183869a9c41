"""The benchmarks of tries measure the same titles in every trie, and run."""

from __future__ import annotations

import json
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import beams, decoding, scoring, titles, trie
from llmrec.decoding import title_trie
from llmrec.models.scripted import ScriptedModel
from llmrec.trie import TitleTrie


@pytest.fixture(scope="module")
def made() -> list[str]:
    return titles.made_up_titles(2_500, titles.films(Path("absent")))


def test_titles_are_different_real_ones_first_and_the_same_again(made: list[str]) -> None:
    films = titles.films(Path("absent"))
    assert len(set(made)) == len(made) == 2_500
    assert made[0] == f"{films[0].title} ({films[0].year})"
    assert titles.made_up_titles(2_500, films) == made
    assert titles.made_up_titles(2_500, films, seed=1) != made
    assert all(t == t.strip() for t in made)


def test_a_vocabulary_is_filled_up() -> None:
    films = titles.films(Path("absent"))[:50]
    inner, carried = titles.trained_tokenizer(films, 20_000, Path("absent"))
    assert inner.get_vocab_size() == 20_000
    assert carried < 20_000
    text = f" {films[0].title}\n"
    assert inner.decode(inner.encode(text).ids) == text


def test_the_rivals_know_what_may_follow(made: list[str]) -> None:
    ours = title_trie(ScriptedModel(), made[:300])
    tokens, offsets, rows = trie.sequences(ours)
    assert rows.tolist() == list(range(300))
    again = TitleTrie.from_arrays(tokens, offsets, rows)
    assert np.array_equal(again.tok, ours.tok)
    walk = beams.Walk(ours)
    ways = [trie.nested(tokens, offsets)[0]]
    if find_spec("marisa_trie"):
        ways.append(trie.marisa(tokens, offsets)[0])
    for start, end in pairwise(offsets[:20].tolist()):
        title = tokens[start:end].tolist()
        for n in range(len(title)):
            expected = sorted(walk.following(tuple(title[:n])))
            assert all(sorted(way(title[:n])) == expected for way in ways)
        assert all(way(title) == [] for way in ways)


def test_a_walk_finds_the_row_of_a_text_and_ends_where_nothing_follows(made: list[str]) -> None:
    ours = title_trie(ScriptedModel(), made[:300])
    walk = beams.Walk(ours)
    assert walk.ends == [ord("\n")]
    for row in (0, 7, 299):
        title = ours.sequence(int(ours.leaves_of(np.array([row]))[0]))
        assert walk.row([*title, 5, 5]) == row
        assert walk.row(title[:-1]) is None
        assert walk.following(tuple(title)) == walk.ends
        assert walk.following((*title[:2], 300)) == walk.ends


@pytest.mark.slow
def test_the_benchmark_of_tries_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--rows", "2000", "--vocabulary", "3000", "--repeats", "1", "--cores", "1"]
    assert trie.main([*flags, "--no-model", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["ours"]["leaves"] == figures["ours"]["titles"] == 2_000
    assert figures["ours"]["bytes"] < 20
    assert figures["rivals"]["dict"][0]["held_mb"] > 0
    assert "bytes a title beyond its tokens" in capsys.readouterr().out


def test_candidates_get_the_same_scores_in_every_way(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--candidates", "5", "--repeats", "1", "--users", "2", "--layers", "0"]
    assert scoring.main([*flags, "--prompt", "40"]) == 0
    out = capsys.readouterr().out
    assert out.count("| packed tree |") == 2
    assert "| llmrec-embedded | 2 |" in out


@pytest.mark.slow
def test_a_model_is_tuned_on_the_titles(
    tmp_path: Path, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "titles.txt").write_text("\n".join(made[:400]), encoding="utf-8")
    flags = ["--titles", str(tmp_path / "titles.txt"), "--tune", "0.02", "--requests", "1"]
    flags += ["--keep", str(tmp_path / "kept"), "--budget", "400", "--lists", "1"]
    assert decoding.main([*flags, "--threads", "1"]) == 0
    first = capsys.readouterr().out
    assert "tuned for 0.02 minutes" in first
    assert "| 400 |" in first
    assert (tmp_path / "kept" / "tuned.txt").exists()
