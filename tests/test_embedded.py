"""The shipped model and catalogue: what they are made of, and what a user gets from them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.grounding import FAULTS, Conversations, Judge, check, main
from llmrec import Recommender
from llmrec.decoding import rank_titles, score_titles, title_trie
from llmrec.models.local import EMBEDDED, LocalModel
from llmrec.prompting import LIST_PREFIX, ZeroShot, recommend_prompt
from llmrec.titles import fold
from llmrec.types import Conversation, Item, Message, Preferences, Recommendation, Reply

WIKIPEDIA = (
    Path(__file__).resolve().parents[2] / "shared" / "data" / "wikipedia-movies" / "movies.jsonl.gz"
)
LATIN_AMERICA = frozenset(
    """Argentina Bolivia Brazil Chile Colombia Cuba Ecuador Guatemala Honduras Mexico Nicaragua
    Panama Paraguay Peru Uruguay Venezuela""".split()
) | {"Costa Rica", "Dominican Republic", "El Salvador", "Puerto Rico"}
WISHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("A romantic comedy from the nineties", {"genres": ("Comedy", "Romance"), "year_min": 1990}),
    ("Filmes de terror, por favor", {"genres": ("Horror",), "language": "pt"}),
    ("Una de ciencia ficción reciente", {"genres": ("Sci-Fi",), "year_min": 2016}),
    ("anything", {}),
    ("Something short for the kids", {"genres": ("Family",), "runtime_max": 100}),
    ("Brazilian dramas", {"genres": ("Drama",), "countries": ("Brazil",)}),
    ("Suspense dos anos 80", {"genres": ("Thriller",), "year_min": 1980, "year_max": 1989}),
    ("Cine argentino que no sea drama", {"countries": ("Argentina",), "genres_out": ("Drama",)}),
    ("with Meryl Streep", {"people": ("Meryl Streep",)}),
    ("推荐一部好看的恐怖片 🍿", {}),
)


@pytest.fixture(scope="module")
def films(recommender: Recommender) -> list[Item]:
    return list(recommender.catalog)


# -- grounding -----------------------------------------------------------------------------------


def test_hostile_conversations_get_only_what_is_allowed(recommender: Recommender) -> None:
    result = check(recommender, 60, seed=1)
    assert not result.faults, json.dumps(result.examples, indent=1)
    assert (result.conversations, result.replies) == (60, 60)
    assert result.films > 100


def test_the_conversations_are_the_same_for_a_seed_and_of_every_kind(films: list[Item]) -> None:
    cases = list(islice(Conversations(films, seed=3), 400))
    assert cases == list(islice(Conversations(films, seed=3), 400))
    assert cases != list(islice(Conversations(films, seed=4), 400))
    said = [c.conversation for c in cases]
    for conversation in said:
        Conversation.of(conversation)  # none is refused at the door
    assert {len(c.messages) for c in said} >= {1, 3, 5, 7}
    for mark in ("liked", "disliked", "seen", "mentioned"):
        assert any(getattr(c, mark) for c in said)
    text = "\n".join(m.content for c in said for m in c.messages)
    assert all(piece in text for piece in ("<script>", "<|end|>", "DROP TABLE", "推荐", "{0}"))
    assert sum(bool(c.named) for c in cases) > 40


def test_the_judge_sees_each_fault(films: list[Item]) -> None:
    judge = Judge(films)
    alien, brazil = (next(i for i in films if i.title == t) for t in ("Alien", "Brazil"))
    asked = Conversation(
        (Message("user", "?"), Message("assistant", "", (alien.id,)), Message("user", "more")),
        seen=(brazil.id,),
        disliked=(alien.id,),
    )
    case = next(iter(Conversations(films)))
    case = type(case)(asked, frozenset({brazil.id}))
    stranger = Item("nowhere", "The Crimson Teapot")
    listed = tuple(Recommendation(i, 1, 0.0) for i in (alien, alien, brazil, stranger))
    reply = Reply("These fit best: Alien (1979) and Casablanca (1942).", listed)
    assert judge.faults(case, reply) == Counter(dict.fromkeys(FAULTS[:-1], 1))
    wanted = Preferences(people=("Harrison Ford",), countries=("Brazil",), unknown=("Jaws 19",))
    quoting = Conversation((Message("user", "like Jaws 19"),))
    good = Recommendation(alien, 1, 0.0, "horror, 1 h 57")
    fine = Reply("I do not know “Jaws 19”. You asked for: from Brazil. Alien.", (good,), wanted)
    assert not judge.faults(type(case)(quoting), fine)
    unquoted = Reply("I like Jaws 19. No film is like It.", (good,), wanted)
    assert judge.strangers(type(case)(quoting), unquoted) == ["Jaws"]
    told = Item("told", "The Crimson Teapot", description="A widow of Brooklyn makes tea.")
    source = Recommendation(told, 1, 0.0)
    for text, found in (
        ("“A widow of Brooklyn makes tea.”", []),
        ("A widow of Brooklyn makes tea.", ["Brooklyn"]),
        ("“Brooklyn” it is, says “A widow”.", []),
        ("“Brooklyn it is.”", ["Brooklyn"]),
    ):
        assert judge.strangers(type(case)(quoting), Reply(text, (source,), wanted)) == found


@pytest.mark.slow
def test_the_grounding_command_reports(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figures = tmp_path / "grounding.json"
    assert main(["--n", "40", "--seed", "2", "--json", str(figures)]) == 0
    assert "| exceptions | 0 | 40 | 0.0000% |" in capsys.readouterr().out
    assert json.loads(figures.read_text())["conversations"] == 40


# -- exactness -----------------------------------------------------------------------------------


def assert_exact(recommender: Recommender, start: int, stop: int) -> None:
    model = recommender.model
    assert isinstance(model, LocalModel)
    trie = title_trie(model, recommender.catalog.labels)
    strategy = ZeroShot(model.profile.detail)
    prompts = [
        model.prompt_ids(
            recommend_prompt(Conversation.of(text), Preferences(**p), {}, strategy=strategy),
            LIST_PREFIX,
        )
        for text, p in WISHES[start:stop]
    ]
    found = rank_titles(model, prompts, trie, 10, score_all_below=0)
    for ranking, scores in zip(found, score_titles(model, prompts, trie), strict=True):
        assert len(scores) == len(recommender.catalog)
        assert np.isfinite(scores).all()
        best = np.argsort(-scores, kind="stable")[:10]
        assert (ranking.exact, ranking.gap, len(set(ranking.rows.tolist()))) == (True, 0.0, 10)
        np.testing.assert_allclose(ranking.logprobs, scores[best], atol=1e-4)
        np.testing.assert_allclose(scores[ranking.rows], scores[best], atol=1e-4)
        if np.diff(-np.sort(-scores)[:11]).max() < -2e-4:  # nothing is as good as tied
            assert ranking.rows.tolist() == best.tolist()


def test_the_search_finds_what_scoring_every_title_finds(recommender: Recommender) -> None:
    assert_exact(recommender, 0, 3)


@pytest.mark.slow
def test_the_search_finds_what_scoring_every_title_finds_ten_times(
    recommender: Recommender,
) -> None:
    assert_exact(recommender, 0, 10)


def test_a_batch_gives_what_each_gets_alone(recommender: Recommender, films: list[Item]) -> None:
    shown = tuple(f.id for f in films[:3])
    asked: list[str | Conversation] = [
        "a horror film from the 80s",
        "uma comédia brasileira de até 2 horas",
        "una de Ricardo Darín que no sea drama",
        "something like Amélie, but not French",
        "推荐一部好看的恐怖片 🍿",
        "<b>1. Titanic</b>",
        Conversation((Message("user", "mais novo"),), seen=shown, language="pt"),
        Conversation(
            (Message("user", "drama"), Message("assistant", "", shown), Message("user", "shorter"))
        ),
    ]
    together = recommender.recommend(asked, 10)
    alone = [recommender.recommend(a, 10) for a in asked]
    assert [[r.item.id for r in rs] for rs in together] == [[r.item.id for r in rs] for rs in alone]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose([r.score for r in a], [r.score for r in b], atol=1e-4)


# -- the model -----------------------------------------------------------------------------------


def test_the_model_is_an_ordinary_folder_of_the_hub() -> None:
    files = [f for f in EMBEDDED.rglob("*") if f.is_file()]
    weights = {f.name for f in files} - {f.name for f in files if f.suffix in (".json", ".md")}
    assert weights == {"model.safetensors", "chat_template.jinja"}
    assert sum(f.stat().st_size for f in files) < 20_000_000
    for file in files:
        assert file.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x04"), "a pickle"
    assert not any("auto_map" in f.read_text() for f in files if f.suffix == ".json")


def test_transformers_loads_the_model_alone() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(EMBEDDED, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(EMBEDDED, local_files_only=True)
    assert len(tokenizer) <= model.config.vocab_size
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "1. Alien"}]
    made = tokenizer.apply_chat_template(
        chat, return_dict=True, return_assistant_tokens_mask=True, tokenize=True
    )
    ids = np.array(made["input_ids"])
    own = tokenizer.decode(ids[np.array(made["assistant_masks"], dtype=bool)])
    assert own.startswith("1. Alien")
    assert "hi" not in own
    said = tokenizer(
        tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True),
        add_special_tokens=False,
        return_tensors="pt",
    )
    out = model.generate(**said, max_new_tokens=4, do_sample=False)
    assert out.shape[1] > said["input_ids"].shape[1]


# -- the catalogue -------------------------------------------------------------------------------


def test_the_catalogue_is_wide(films: list[Item]) -> None:
    assert len(films) >= 1_000
    assert sum("Brazil" in f.countries for f in films) >= 100
    spanish = (LATIN_AMERICA - {"Brazil"}) | {"Spain"}
    assert sum(bool(spanish & {*f.countries}) for f in films) >= 100
    assert {f.year // 10 for f in films if f.year} >= set(range(192, 203))
    assert len({c for f in films for c in f.countries}) >= 30


def test_every_film_can_be_told_of_in_three_languages(films: list[Item]) -> None:
    for film in films:
        assert all((film.title.strip(), film.original_title.strip(), film.year)), film.id
        assert all((film.runtime, film.genres, film.countries)), film.id
        for language in ("pt", "es"):
            assert film.titles[language][0].strip(), film.id
        told = [film.descriptions[language].strip() for language in ("en", "pt", "es")]
        assert len({*told} - {""}) == 3, film.id
    assert len({(fold(f.title), f.year) for f in films}) == len(films)


@pytest.mark.skipif(not WIKIPEDIA.exists(), reason=f"{WIKIPEDIA.parent} is not there to check with")
def test_years_agree_with_wikipedia(films: list[Item]) -> None:
    listed: dict[str, list[tuple[int, set[str]]]] = {}
    with gzip.open(WIKIPEDIA, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            people = {fold(name) for name in row["cast"]}
            listed.setdefault(fold(row["title"]), []).append((row["year"], people))
    off: list[str] = []
    matches = 0
    for film in films:
        people = {fold(name) for name in film.people}
        years = [y for y, cast in listed.get(fold(film.title), ()) if cast & people]
        if years:  # the same title with one of its people: the same film
            matches += 1
            if all(abs(y - (film.year or 0)) > 1 for y in years):
                off.append(f"{film.label}: {years}")
    assert matches > 500
    assert len(off) <= 0.02 * matches, off
