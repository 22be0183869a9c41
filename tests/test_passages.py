from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.passages import MOST, Words, cut, sentences, shortened, similarity, stem, texts_of
from llmrec.titles import fold
from llmrec.types import Item

TEXT = (
    "Dr. Smith left the U.S. in 1999. He met J. R. Ewing! “Was it so?” he asked.\n"
    "It cost 3.5 dollars, or 4... perhaps."
)


def told(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_sentences_end_where_they_end() -> None:
    assert told(TEXT) == [
        "Dr. Smith left the U.S. in 1999.",
        "He met J. R. Ewing!",
        "“Was it so?” he asked.",
        "It cost 3.5 dollars, or 4... perhaps.",
    ]
    assert told("Light • Strong • Cheap") == ["Light", "Strong", "Cheap"]
    assert told("丈夫です。軽い！") == ["丈夫です。", "軽い！", ""]


def test_sentences_are_joined_while_they_fit() -> None:
    assert cut(TEXT) == [(0, TEXT)]
    assert [words for _, words in cut(TEXT, 61)] == [
        "Dr. Smith left the U.S. in 1999. He met J. R. Ewing!",
        "“Was it so?” he asked.\nIt cost 3.5 dollars, or 4... perhaps.",
    ]
    assert cut("") == cut(" \n ") == []


def test_a_long_sentence_is_cut_at_a_mark_or_a_blank() -> None:
    text = "one two three four five, six seven eight nine ten eleven"
    assert cut(text, 30) == [
        (0, "one two three four five,"),
        (25, "six seven eight nine ten"),
        (50, "eleven"),
    ]
    assert [len(words) for _, words in cut("x" * 700)] == [320, 320, 60]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab. ,;!\n•Z。 1"), max_size=200), st.integers(2, 40))
def test_nothing_is_lost_and_nothing_too_long(text: str, most: int) -> None:
    pieces = cut(text, most)
    assert all(text[start : start + len(words)] == words for start, words in pieces)
    assert all(words and len(words) <= most for _, words in pieces)
    ends = [start + len(words) for start, words in pieces]
    assert all(end <= start for end, (start, _) in zip(ends, pieces[1:], strict=False))
    assert fold("".join(words for _, words in pieces)).replace(" ", "") == fold(text).replace(
        " ", ""
    )


@pytest.mark.parametrize(
    ("text", "most", "brief"),
    [
        ("Short.", 10, "Short."),
        ("One is here. Two is there. Three.", 28, "One is here. Two is there."),
        ("One. " + "word " * 10, 30, "One. word word word word word"),
        ("x" * 30, 10, "x" * 10),
    ],
)
def test_texts_are_shortened_at_a_sentence(text: str, most: int, brief: str) -> None:
    assert shortened(text, most) == brief


@pytest.mark.parametrize(
    "forms",
    [
        "hunt hunts hunted hunting",
        "marry marries married marrying",
        "terrorise terrorises terrorizing",
        "run runs running",
        "tubarao tubaroes",
        "caca cacando",
        "barco barcos",
        "atacando ataca",
    ],
)
def test_inflected_forms_are_one_word(forms: str) -> None:
    assert len({stem(word) for word in forms.split()}) == 1


@pytest.mark.parametrize(
    "pair", ["star start", "war wars1", "plan planet", "1999 199", "house hour"]
)
def test_other_words_stay_apart(pair: str) -> None:
    one, other = pair.split()
    assert stem(one) != stem(other)


def test_rare_words_weigh_more_and_small_words_nothing() -> None:
    words = Words(["a shark on a boat", "a boat", "boats and nets", "a net"])
    weights = words.weights("What is the shark of the boats?")
    assert list(weights) == ["shark", "boat"]
    assert weights["shark"] > weights["boat"] > 0
    assert similarity(weights, "Sharks and a boat.") == 1.0
    assert similarity(weights, "A net") == 0.0
    rare = similarity(weights, "One shark")
    assert rare == pytest.approx(weights["shark"] / (weights["shark"] + weights["boat"]))
    assert list(words.weights("who is it")) == ["who", "is", "it"]
    assert words.known_forms("Sharks, boats, zebras") == "sharks boats zebras shark"
    assert words.weights("?!") == {}
    assert similarity({}, "anything") == 0.0


def test_texts_that_are_the_same_are_read_once() -> None:
    texts = {"en": "A boat.", "pt": "Um barco.", "es": ""}
    item = Item(id="1", title="t", description="A boat.", descriptions=texts)
    assert texts_of(item) == {"description": "A boat.", "descriptions.pt": "Um barco."}
    assert texts_of(Item(id="1", title="t")) == {}
    assert MOST > 100
