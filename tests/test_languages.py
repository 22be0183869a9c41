"""languages, train/languages.py: what language a text is in, and how that is learned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec import lexicon
from llmrec.catalog import Catalog
from llmrec.languages import BUCKETS, FILE, buckets, guess_language, tokens
from llmrec.types import LANGUAGES
from train import languages as learning

MESSAGES = Path(__file__).resolve().parents[1] / "eval" / "messages"


# -- guessing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("tell me about Cidade de Deus", "en"),
        ("who directed Y tu mamá también?", "en"),
        ("descreva a segunda", "pt"),
        ("qual a capital da Austrália?", "pt"),
        ("Quem fez Kramer vs. Kramer?", "pt"),
        ("quanto custa a Blue Ceramic Mug?", "pt"),
        ("háblame de Cadena perpetua", "es"),
        ("¿A qué géneros pertenece My Old Man's Place?", "es"),
        ("q anime me recomiendas", "es"),
        ("quién dirigió [t1]?", "es"),
        ("QUEM DIRIGIU TUBARÃO?", "pt"),
        ("Voce\u0302 na\u0303o sabe?", "pt"),  # accents on their own
        ("you don’t have anything shorter?", "en"),
    ],
)
def test_names_do_not_change_the_language(text: str, language: str) -> None:
    assert {guess_language(text, default) for default in LANGUAGES} == {language}


@pytest.mark.parametrize(
    "text",
    ["", "Matrix", "2001", "[t1]", "ok", "映画", "The Lord of the Rings", "Tom Cruise", "?!"],
)
def test_what_tells_nothing_keeps_the_language(text: str) -> None:
    assert [guess_language(text, default) for default in LANGUAGES] == list(LANGUAGES)


def test_what_may_be_two_languages_is_not_the_third() -> None:
    said = [guess_language("Dura 93 minutos", default) for default in ("pt", "es")]
    assert said == ["pt", "es"]
    assert guess_language("Dura 93 minutos") in ("pt", "es")


def test_a_default_of_no_language_is_given_back() -> None:
    assert guess_language("Dura 93 minutos", "") == ""
    assert guess_language("quero um filme", "") == "pt"


@pytest.mark.parametrize("default", LANGUAGES)
def test_bare_titles_mostly_keep_the_language(default: str) -> None:
    titles = [item.title for item in Catalog.embedded()]
    kept = [guess_language(title, default) == default for title in titles]
    assert np.mean(kept) > 0.75


@given(st.text(max_size=300), st.sampled_from(LANGUAGES))
def test_any_text_has_a_language(text: str, default: str) -> None:
    assert guess_language(text, default) in LANGUAGES


def test_of_a_long_text_the_beginning_is_read() -> None:
    assert guess_language("quero um filme " + "the film " * 100_000, "es") == "en"
    assert guess_language("quero ver um filme " * 200 + "the film " * 1_000) == "pt"
    assert guess_language("ñ" * 100_000) in LANGUAGES


def test_it_is_found_where_it_stood() -> None:
    assert lexicon.guess_language is guess_language


# -- reading --------------------------------------------------------------------------------------


def test_words_and_their_places() -> None:
    assert tokens("Vi O Senhor dos Anéis. Gostei de [t1] e #comedy, 2 vezes") == [
        ("vi", "first"), ("o", "name"), ("senhor", "name"), ("dos", "name"), ("anéis", "name"),
        ("gostei", ""), ("de", ""), ("e", ""), ("vezes", ""),
    ]  # fmt: skip
    assert tokens("¿Qué es Heat?") == [("¿", ""), ("qué", "first"), ("es", ""), ("heat", "name")]
    assert tokens("The Lord of the Rings")[0] == ("the", "name")
    assert tokens("I’m off") == [("i'm", "first"), ("off", "")]
    assert tokens("映画 привет 1984") == []


def test_a_name_reads_weights_of_its_own() -> None:
    assert not set(buckets("heat", "name")) & set(buckets("heat", ""))
    assert set(buckets("heat", "")) < set(buckets("heat", "first"))
    assert all(0 <= b < BUCKETS for b in buckets("ação", "name"))
    assert len(buckets("a" * 10_000, "")) < 200


# -- messages of others ---------------------------------------------------------------------------


def held_out() -> Iterator[tuple[str, str]]:
    """Development messages that nothing was learned from."""
    for file in sorted(MESSAGES.glob("*-dev-*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield row["language"], row["messages"][-1]["content"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_messages(language: str) -> None:
    said = [text for own, text in held_out() if own == language]
    assert len(said) >= 100
    assert np.mean([guess_language(text, language) == language for text in said]) > 0.98
    others = [other for other in LANGUAGES if other != language]
    won = [guess_language(text, other) == language for text in said for other in others]
    assert np.mean(won) > 0.9


# -- learning -------------------------------------------------------------------------------------


def said(text: str, language: str, group: str) -> learning.Text:
    return learning.Text(text, language, group=group, told=True)


TEXTS = [
    said("show me a film with heat", "en", "1"),
    said("quero um filme com calor", "pt", "1"),
    said("quiero una película con calor", "es", "1"),
    said("show me a short film", "en", "2"),
    said("quero um filme curto", "pt", "2"),
    said("quiero una película corta", "es", "2"),
]


def test_the_same_texts_give_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning, "read_texts", lambda folder: TEXTS)
    for name in "ab":
        assert learning.main(["--out", str(tmp_path / name)]) == 0
    files = [tmp_path / name / FILE for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size < 150_000
    assert [f.name for f in (tmp_path / "a").iterdir()] == [FILE]
    assert "6 texts, 6 held-out messages" in capsys.readouterr().out


def test_weights_are_learned_from_other_groups() -> None:
    table = learning.make_table(TEXTS)
    scores = learning.cross_validate(table, TEXTS, folds=2)
    assert scores.argmax(1).tolist() == table.languages.tolist()
    one = [replace(text, group="1") for text in TEXTS]  # nothing is left to learn from
    assert not learning.cross_validate(table, one, folds=2).any()


def test_the_margin_keeps_the_language_of_nearly_all() -> None:
    scores = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.64], [0.3, 0.1, 0.0], [0.0, 0.0, 3.0]])
    languages = np.array([0, 2, 1, 2])
    assert learning.find_margin(scores, languages, kept=0.6) == 0.2
    assert learning.find_margin(scores, languages, kept=1.0) == 0.4
    assert learning.measure(scores, languages, 0.2) == {
        "en": (1.0, 1.0),
        "pt": (1.0, 0.0),
        "es": (0.5, 0.5),
    }


def test_versions_have_other_names_and_no_accents() -> None:
    writer = learning.Writer({language: ["Tubarão"] for language in ("", *LANGUAGES)})
    text = learning.Text("Quem fez Heat, então?", "pt", names=("Heat",), group="1", told=True)
    versions = list(writer.versions(text))
    assert [(v.text, v.weight, v.told) for v in versions] == [
        ("Quem fez Heat, então?", 0.5, True),
        ("quem fez heat, entao", 0.25, False),
        ("Quem fez Tubarão, então?", 0.5, False),
        ("quem fez tubarao, entao", 0.25, False),
    ]
    assert list(writer.versions(text)) == versions
    slots = writer.versions(learning.Text("Vi {title:seen} de {genre}", "pt"))
    assert next(slots).text == "Vi Tubarão de "


def test_cues_are_spelt_out() -> None:
    found = list(learning._spelt_out("!who .. played/plays in T $;star*"))
    assert found[0].split() == ["who", "played", "in"]
    assert found[1].split() == ["who", "plays", "in"]
    assert found[2] == "star"


def test_a_misshapen_message_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert learning.main(["--messages", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "routes-train-en.jsonl is absent" in capsys.readouterr().err
    good = {"id": "dev-en-1", "messages": [{"role": "user", "content": "hi"}]}
    lines = f"{json.dumps(good)}\n[1]\n"
    (tmp_path / "routes-train-en.jsonl").write_text(lines)
    assert learning.main(["--messages", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "routes-train-en.jsonl, line 2 is no message" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_learned_from_is_no_test() -> None:
    """Held-out messages and wordings stand in no text that is learned."""
    told = {t.text for t in learning.read_messages(MESSAGES)}
    assert len(told) > 5_000
    shared = [text for _, text in held_out() if text in told and len(text.split()) > 3]
    assert len(shared) <= 3  # the same short words come to several writers
    tables = {t.text for t in learning.read_tables(learning.DATA)}
    assert any("{t}" in text for text in tables)
