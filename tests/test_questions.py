from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import lexicon

from llmrec.lexicon import Marked, Span
from llmrec.questions import TOPICS, Asked, read_question
from llmrec.titles import fold
from llmrec.types import LANGUAGES
from train.questions import label_of, right

# What the table's marks stand for: names of the small world, as each language writes them.
NAMES = {
    "[t1]": {"en": "“Central Station”", "pt": "“Central do Brasil”", "es": "“Estación central”"},
    "[t2]": {"en": "“Spirited Away”", "pt": "“A Viagem de Chihiro”", "es": "“El viaje de Chihiro”"},
    "[p1]": dict.fromkeys(LANGUAGES, "Sigourney Weaver"),
    "[p2]": dict.fromkeys(LANGUAGES, "Ridley Scott"),
}


def mark(message: str, language: str) -> Marked:
    """The message with names for its marks, as the lexicon marks it again."""
    for name, own in NAMES.items():
        message = message.replace(name, own[language])
    return lexicon().mark(message)


def read(message: str, language: str) -> Asked:
    return read_question(mark(message, language), language)


def short(asked: Asked) -> str:
    """``kind:field or =topic:direction or same``, as the table of messages writes it."""
    about = asked.field or (f"={asked.topic}" if asked.topic else "")
    way = "same" if asked.same else asked.direction if asked.kind != "check" else ""
    return ":".join([asked.kind, about, way]).rstrip(":")


@cache
def messages() -> tuple[tuple[str, str, str, str], ...]:
    text = Path(__file__).with_name("questions.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return tuple((part, language, expected, message) for part, language, expected, message in rows)


# -- the table of messages -----------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_messages_are_read_as_they_were_meant(language: str) -> None:
    seen: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for part, own, expected, message in messages():
        if own == language:
            seen[part] += 1
            got = short(read(message, language))
            if not right(label_of(got), label_of(expected)):
                wrong.setdefault(part, []).append(f"{message}: {got}, not {expected}")
    assert seen["dev"] >= 120
    for part, n in seen.items():
        assert len(wrong.get(part, ())) <= 0.03 * n, wrong[part]


def test_the_table_holds_every_kind_and_most_topics() -> None:
    readings = [expected for _, _, expected, _ in messages()]
    kinds = {r.split(":")[0] for r in readings}
    assert kinds == {"fact", "check", "text", "comparison", "count", "superlative", "list"}
    named = {r.partition("=")[2] for r in readings if "=" in r}
    assert named <= set(TOPICS)
    assert len(named) > 30


# -- topics --------------------------------------------------------------------------------------


def test_every_topic_has_words_in_every_language_folded() -> None:
    for topic, own in TOPICS.items():
        assert set(own) == set(LANGUAGES), topic
        for words in own.values():
            assert words
            assert all(w and w == fold(w) for w in words), (topic, words)


def test_descriptions_speak_of_a_topic_in_words_of_their_own() -> None:
    assert "shot on location" in TOPICS["filming place"]["en"]
    assert "stainless steel" in TOPICS["material"]["en"]
    assert "aco inoxidavel" in TOPICS["material"]["pt"]
    assert "dishwasher safe" in TOPICS["dishwasher"]["en"]


@pytest.mark.parametrize(
    ("message", "language"),
    [
        ("how long is the warranty?", "en"),
        ("quanto tempo dura a garantia?", "pt"),
        ("¿cuánto dura la garantía?", "es"),
    ],
)
def test_a_topic_goes_before_a_field(message: str, language: str) -> None:
    assert read(message, language).topic == "warranty"


# -- what is around a question -------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "I saw [t1] yesterday. Who directed it?",
        "Who directed [t1]? Thanks!",
        "Hi! How are you? Do you know who directed it?",
        "whose film is it, I mean the director",
        "who directed the beekeeper of vellmoor",
    ],
)
def test_the_sentence_that_asks_is_read(message: str) -> None:
    assert short(read(message, "en")) == "fact:directors"


def test_a_question_in_a_language_that_was_guessed_wrong() -> None:
    assert short(read("e o elenco?", "en")) == "fact:cast"
    assert short(read("who directed it?", "pt")) == "fact:directors"
    assert short(read("quantos filmes vocês têm?", "en")) == "count"
    assert short(read("qual dos dois é mais barato?", "en")) == "comparison:price:min"
    assert short(read("¿quién compuso la banda sonora?", "pt")) == "text:=soundtrack"


def test_vs_ends_no_sentence() -> None:
    assert short(read("[t1] vs. [t2]: which is longer?", "en")) == "comparison:runtime:max"


def test_words_of_age_that_bound_nothing_are_read_as_words() -> None:
    assert short(read("is [t1] a long film? how long?", "en")) == "fact:runtime"
    assert short(read("[t1] é antigo? de que ano é?", "pt")) == "fact:year"


def test_a_mark_that_points_at_several_films_is_several_titles() -> None:
    def pointed(*ids: str) -> Marked:
        message = "are the two from the same country?"
        span = Span(4, 11, "title", ids, mark="[t1]", pointed=True)
        return Marked(message, (span,), "are [t1] from the same country?")

    assert short(read_question(pointed("a", "b"), "en")) == "comparison:countries:same"
    longer = "which of the two is longer?"
    span = Span(9, 16, "title", ("a", "b"), mark="[t1]", pointed=True)
    asked = read_question(Marked(longer, (span,), "which of [t1] is longer?"), "en")
    assert short(asked) == "comparison:runtime:max"


def test_a_name_that_the_catalogue_lacks_stands_for_a_title() -> None:
    message = "is Gladiator longer than Vellmoor?"
    spans = (
        Span(3, 12, "title", ("gladiator",), mark="[t1]"),
        Span(25, 33, "unknown", ("Vellmoor",), mark="[u1]"),
    )
    asked = read_question(Marked(message, spans, "is [t1] longer than [u1]?"), "en")
    assert short(asked) == "comparison:runtime:max"


def test_a_price_that_the_message_names() -> None:
    message = "is it under 50 dollars?"
    span = Span(6, 22, "price", (), None, 50, mark="[m1]")
    asked = read_question(Marked(message, (span,), "is it [m1]?"), "en")
    assert (asked.kind, asked.field) == ("check", "price")


def test_of_a_message_without_end_the_last_words_are_read() -> None:
    asked = read_question(Marked("", (), "well " * 1_500 + "how long is [t1]"), "en")
    assert short(asked) == "fact:runtime"
    assert short(read_question(Marked("", (), "a. " * 2_000 + "how long is it?"), "en")) == short(
        asked
    )


# -- focus and confidence ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "language", "focus"),
    [
        ("why does Lou steal the van in [t1]?", "en", ("lou", "steal", "van")),
        ("por que o menino foge de casa em [t1]?", "pt", ("menino", "foge", "casa")),
        ("¿qué dice la carta?", "es", ("dice", "carta")),
        ("can you tell me what the letter says", "en", ("letter", "says")),
        ("the cheapest lamp", "en", ("lamp",)),
        ("who directed [t1]?", "en", ()),
    ],
)
def test_focus_is_what_is_left_to_look_for(
    message: str, language: str, focus: tuple[str, ...]
) -> None:
    assert read(message, language).focus == focus


def test_a_theme_is_left_to_look_for() -> None:
    asked = read("is there a scene in space in [t1]?", "en")
    assert asked.kind == "check"
    assert "space" in asked.focus


def test_confidence_is_the_probability_of_what_was_read() -> None:
    assert read("who directed [t1]?", "en").confidence > 0.9
    assert 0 < read("", "es").confidence < 0.8
    assert read("what does the letter say", "en").focus == ("letter",)


def test_direction_of_a_check_is_kept() -> None:
    asked = read("is it longer than two hours?", "en")
    assert (asked.kind, asked.field, asked.direction) == ("check", "runtime", "max")


# -- anything at all -----------------------------------------------------------------------------


@given(
    st.text(st.sampled_from("ab é?.!¿'\x01\n[]#~1 tp") | st.characters(), max_size=60),
    st.sampled_from(LANGUAGES),
)
def test_any_text_is_read(text: str, language: str) -> None:
    asked = read_question(Marked(text, (), text), language)
    assert asked.topic == "" or asked.topic in TOPICS
    assert all(w == fold(w) and w for w in asked.focus)
