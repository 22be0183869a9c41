from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import BY_ID, FILMS, MARK, lexicon, rules, said, understood

from llmrec.errors import InputError, ModelError, SchemaError
from llmrec.models.scripted import ScriptedModel
from llmrec.preferences import LIGHTER_OUT, Lead, Understander
from llmrec.prompting import understanding_answer
from llmrec.types import LANGUAGES, Conversation, Message, Preferences


def slots(preferences: Preferences) -> dict[str, object]:
    """What was understood, without the free words and the language."""
    return {k: v for k, v in preferences.to_dict().items() if k not in ("text", "language")}


def asking(model: ScriptedModel, lead: Lead = "rules") -> Understander:
    return Understander(lexicon(), BY_ID.__getitem__, model, lead=lead)


# -- every slot, in three languages --------------------------------------------------------------

SLOTS: list[tuple[str, str, str, dict[str, object]]] = [
    (
        "I want a horror film",
        "quero um filme de terror",
        "quiero una película de terror",
        {"genres": ["Horror"]},
    ),
    (
        "an action or comedy film",
        "quero ação ou comédia",
        "quiero acción o comedia",
        {"genres_any": ["Action", "Comedy"]},
    ),
    (
        "anything but horror please",
        "qualquer coisa menos terror",
        "cualquier cosa menos terror, por favor",
        {"genres_out": ["Horror"]},
    ),
    (
        "a comedy without horror",
        "uma comédia, sem terror",
        "una comedia, sin terror",
        {"genres": ["Comedy"], "genres_out": ["Horror"]},
    ),
    (
        "something with Keanu Reeves",
        "algo com Keanu Reeves",
        "algo con Keanu Reeves",
        {"people": ["Keanu Reeves"]},
    ),
    (
        "something with Keanu Reeves or Tom Hanks",
        "algo com Keanu Reeves ou Tom Hanks",
        "algo con Keanu Reeves o Tom Hanks",
        {"people_any": ["Keanu Reeves", "Tom Hanks"]},
    ),
    (
        "a film without Tom Hanks",
        "um filme sem Tom Hanks",
        "una película sin Tom Hanks",
        {"people_out": ["Tom Hanks"]},
    ),
    (
        "films directed by Ridley Scott",
        "filmes dirigidos por Ridley Scott",
        "películas dirigidas por Ridley Scott",
        {"directors": ["Ridley Scott"]},
    ),
    (
        "a Brazilian drama",
        "um drama brasileiro",
        "un drama brasileño",
        {"genres": ["Drama"], "countries": ["Brazil"]},
    ),
    (
        "a film not from the USA",
        "um filme que não seja dos Estados Unidos",
        "una película que no sea de Estados Unidos",
        {"countries_out": ["USA"]},
    ),
    (
        "a film in Spanish",
        "um filme em espanhol",
        "una película en español",
        {"languages": ["Spanish"]},
    ),
    (
        "a film that is not in English",
        "um filme que não seja em inglês",
        "una película que no sea en inglés",
        {"languages_out": ["English"]},
    ),
    (
        "a film from the 90s",
        "um filme dos anos 90",
        "una película de los años 90",
        {"year_min": 1990, "year_max": 1999},
    ),
    (
        "a film of at most two hours",
        "um filme de até duas horas",
        "una película de hasta dos horas",
        {"runtime_max": 120},
    ),
    (
        "at least three hours please",
        "um filme de pelo menos três horas",
        "una película de al menos tres horas",
        {"runtime_min": 180},
    ),
    (
        "a film for at most 30 euros",
        "um filme por até 30 euros",
        "una película por menos de 30 euros",
        {"price_max": 30.0},
    ),
    (
        "a film for at least 12.50 dollars",
        "um filme de pelo menos 12,50 reais",
        "una película de al menos 12,50 dólares",
        {"price_min": 12.5},
    ),
    (
        "a film about time travel",
        "um filme sobre viagem no tempo",
        "una película sobre viajes en el tiempo",
        {"keywords": ["time travel"]},
    ),
    (
        "nothing violent please",
        "um filme sem nada violento",
        "una película sin nada violento",
        {"keywords_out": ["violent"]},
    ),
    (
        "something like Amélie",
        "um filme parecido com Amélie",
        "una película parecida a Amélie",
        {"similar_to": ["amelie"]},
    ),
    ("I loved Coco", "eu adorei Coco", "me encantó Coco", {"likes": ["coco"]}),
    ("I hated Coco", "eu odiei Coco", "no me gustó Coco", {"dislikes": ["coco"]}),
    ("I have already seen Coco", "eu já vi Coco", "ya vi Coco", {"seen": ["coco"]}),
    (
        'a film like "Foobar Nights"',
        "um filme como “Foobar Nights”",
        "una película como “Foobar Nights”",
        {"unknown": ["Foobar Nights"]},
    ),
]


@pytest.mark.parametrize(
    ("message", "language", "wanted"),
    [
        pytest.param(row[i], language, row[3], id=f"{language}: {row[i]}")
        for row in SLOTS
        for i, language in enumerate(LANGUAGES)
    ],
)
def test_slots(message: str, language: str, wanted: dict[str, object]) -> None:
    got = understood(message)
    assert slots(got) == wanted
    assert understood(message, language=language).language == language


def test_every_slot_has_a_phrase_in_the_table() -> None:
    tried = {slot for row in SLOTS for slot in row[3]}
    every = {f.name for f in dataclasses.fields(Preferences)} - {"text", "language"}
    assert tried == every


@pytest.mark.parametrize("row", SLOTS[:6], ids=lambda row: str(row[0]))
def test_the_language_is_that_of_the_message(
    row: tuple[str, str, str, dict[str, object]],
) -> None:
    assert [understood(message).language for message in row[:3]] == list(LANGUAGES)


# -- over the turns ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        (
            ("a horror film", "also from the 90s"),
            {"genres": ["Horror"], "year_min": 1990, "year_max": 1999},
        ),
        (
            ("um filme de terror", "também dos anos 90"),
            {"genres": ["Horror"], "year_min": 1990, "year_max": 1999},
        ),
        (
            ("una de terror", "también de los años 90"),
            {"genres": ["Horror"], "year_min": 1990, "year_max": 1999},
        ),
        (("a horror film", "make it a comedy instead"), {"genres": ["Comedy"]}),
        (("um filme de terror", "na verdade, uma comédia"), {"genres": ["Comedy"]}),
        (("una de terror", "mejor una comedia"), {"genres": ["Comedy"]}),
        (("a horror film", "no horror please"), {"genres_out": ["Horror"]}),
        (
            ("a comedy with Tom Hanks", "actually without Tom Hanks"),
            {"genres": ["Comedy"], "people_out": ["Tom Hanks"]},
        ),
        (("no horror", "I want a horror film"), {"genres": ["Horror"]}),
        (
            ("a drama from the 80s", "from the 90s"),
            {"genres": ["Drama"], "year_min": 1990, "year_max": 1999},
        ),
        (
            ("a drama from the 90s", "any year is fine"),
            {"genres": ["Drama"]},
        ),
        (("a drama", "start over, a comedy please"), {"genres": ["Comedy"]}),
        (("um drama", "esquece tudo, quero uma comédia"), {"genres": ["Comedy"]}),
        (("un drama", "olvida todo, quiero una comedia"), {"genres": ["Comedy"]}),
        (
            ("I hated Coco. a drama", "start over, a comedy please"),
            {"genres": ["Comedy"], "dislikes": ["coco"]},
        ),
        (("a comedy", "I loved Alien"), {"genres": ["Comedy"], "likes": ["alien"]}),
        (("I loved Alien", "no, I hated Alien"), {"dislikes": ["alien"]}),
    ],
)
def test_corrections(turns: tuple[str, ...], wanted: dict[str, object]) -> None:
    assert slots(understood(*turns)) == wanted


@pytest.mark.parametrize(
    ("critique", "wanted"),
    [
        ("something newer", {"year_min": 2001}),
        ("algo mais novo", {"year_min": 2001}),
        ("algo más nuevo", {"year_min": 2001}),
        ("something older", {"year_max": 1999}),
        ("algo mais antigo", {"year_max": 1999}),
        ("algo más antiguo", {"year_max": 1999}),
        ("something shorter", {"runtime_max": 154}),
        ("algo mais curto", {"runtime_max": 154}),
        ("algo más corto", {"runtime_max": 154}),
        ("something longer", {"runtime_min": 156}),
        ("something lighter", {"keywords_out": list(LIGHTER_OUT)}),
        ("algo mais leve", {"keywords_out": list(LIGHTER_OUT)}),
        ("algo más ligero", {"keywords_out": list(LIGHTER_OUT)}),
        ("something darker", {"keywords": ["dark"]}),
    ],
)
def test_critiques_are_relative_to_the_first_film_shown(
    critique: str, wanted: dict[str, object]
) -> None:
    assert slots(understood("a drama", ("gladiator", "secret"), critique)) == {
        "genres": ["Drama"],
        **wanted,
    }


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("I've seen the second one", {"seen": ["secret"]}),
        ("já vi o segundo", {"seen": ["secret"]}),
        ("ya vi la segunda", {"seen": ["secret"]}),
        ("I've already seen all three", {"seen": ["gladiator", "secret", "coco"]}),
        ("I loved the last one", {"likes": ["coco"]}),
        ("odiei o terceiro", {"dislikes": ["coco"]}),
        ("the first one was boring", {"dislikes": ["gladiator"]}),
    ],
)
def test_films_shown_can_be_pointed_at(message: str, wanted: dict[str, object]) -> None:
    shown = ("gladiator", "secret", "coco")
    assert slots(understood("a drama", shown, message)) == {"genres": ["Drama"], **wanted}
    nothing = slots(understood(message))
    assert not nothing.keys() & {"seen", "likes", "dislikes"}


def test_critiques_follow_what_was_shown_last() -> None:
    first = ("a drama", ("central-station",), "something newer")
    assert slots(understood(*first, ("gladiator",), "newer still"))["year_min"] == 2001


def test_a_critique_may_name_its_film() -> None:
    assert slots(understood("newer than Alien please")) == {"year_min": 1980}
    assert slots(understood("a film shorter than Gladiator")) == {"runtime_max": 154}


def test_a_critique_takes_back_a_bound_that_it_contradicts() -> None:
    got = understood("a film before 2001", ("gladiator",), "something newer")
    assert (got.year_min, got.year_max) == (2001, None)


def test_a_critique_of_nothing_still_means_something() -> None:
    newer = understood("something newer")
    assert newer.year_min is not None
    assert newer.year_min > 2010
    assert understood("a shorter one").runtime_max is not None


def test_darker_and_lighter_take_each_other_back() -> None:
    got = understood("a drama", ("gladiator",), "lighter", ("amelie",), "darker")
    assert (got.keywords, got.keywords_out) == (("dark",), ())


def test_buttons_count_like_words() -> None:
    got = understood("a comedy", liked=("coco",), disliked=("alien",), seen=("speed",))
    assert (got.likes, got.dislikes, got.seen) == (("coco",), ("alien",), ("speed",))


def test_what_is_known_is_no_longer_a_model_to_be_like() -> None:
    assert understood("something like Alien", disliked=("alien",)).similar_to == ()


def test_the_language_set_wins() -> None:
    assert understood("a comedy", language="pt").language == "pt"
    assert understood("uma comédia, por favor").language == "pt"
    assert rules().language(said("quero uma comédia", ("coco",), "ok")) == "pt"
    assert rules().language(said("quero uma comédia", language="es")) == "es"


def test_words_of_no_other_use_are_searched_for() -> None:
    words = understood("a horror film about lighthouse keepers with Keanu Reeves").text.split()
    assert {"lighthouse", "keepers"} <= set(words)
    assert not {"horror", "keanu", "reeves", "film", "with"} & set(words)


def test_what_the_assistant_says_is_no_wish() -> None:
    messages = (
        Message("user", "a comedy"),
        Message("assistant", "Do you like horror with Tom Hanks?", ("coco",)),
        Message("user", "yes, a comedy please"),
    )
    got = rules().understand([Conversation(messages)])[0]
    assert slots(got.preferences) == {"genres": ["Comedy"]}
    assert len(got.marked) == 2
    assert got.asked == 0


# -- with a model --------------------------------------------------------------------------------

UNSURE = ("a horror film", "a comedy, Nine Queens")  # what of Nine Queens?


def answers(**fixed: str) -> ScriptedModel:
    """A model that gives ``fixed`` roles to marks, and the default to all others."""

    def reply(messages: Sequence[Message]) -> str:
        text = messages[-1].content.rpartition("> ")[2]
        marks = MARK.findall(text)
        default = {"[t1]": "similar"}
        roles = {m: fixed.get(m, default.get(m, "yes")) for m in marks}
        return json.dumps({"turn": fixed.get("turn", "add"), **roles})

    return ScriptedModel(reply)


def test_the_model_is_asked_only_where_the_rules_are_unsure() -> None:
    model = answers(**{"[t1]": "seen"}, turn="replace")
    clear = asking(model).understand([said("a horror film without Tom Hanks")])[0]
    assert (clear.asked, model.calls) == (0, [])
    open_ = asking(model).understand([said(*UNSURE)])[0]
    assert open_.asked == 1
    # How the turn stands is not left to a model that only fills gaps: the rules' guess is better.
    assert slots(open_.preferences) == {"genres": ["Horror", "Comedy"], "seen": ["nine-queens"]}
    leading = asking(model, "model").understand([said(*UNSURE)])[0]
    assert slots(leading.preferences) == {"genres": ["Comedy"], "seen": ["nine-queens"]}


def test_the_question_is_marked_text_under_a_schema() -> None:
    model = answers(turn="add")
    asking(model).understand([said(*UNSURE)])
    (call,) = model.calls
    assert call.messages[-1].content == "a #horror film\n> a #comedy, [t1]"
    assert call.schema is not None
    assert call.schema["required"] == ["turn", "#comedy", "[t1]"]


def test_clear_rules_win_over_a_model_that_only_fills_gaps() -> None:
    model = answers(turn="reset", **{"#horror": "no", "#comedy": "no"})
    got = asking(model).understand([said("a drama", "also a comedy without horror")])[0]
    assert slots(got.preferences) == {"genres": ["Drama", "Comedy"], "genres_out": ["Horror"]}


def test_a_leading_model_wins_over_the_rules() -> None:
    model = answers(turn="add", **{"#horror": "no"})
    got = asking(model, "model").understand([said("I want a horror film")])[0]
    assert got.asked == 1
    assert slots(got.preferences) == {"genres_out": ["Horror"]}


def test_a_leading_model_cannot_correct_what_was_never_said() -> None:
    got = asking(answers(turn="reset"), "model").understand([said("I loved Coco, a comedy")])[0]
    assert got.preferences.genres == ("Comedy",)


@pytest.mark.parametrize(
    "rubbish", ["", "sorry", "{}", '{"turn": "add"}', '["no"]', "null", "\x00"]
)
@pytest.mark.parametrize("lead", ["rules", "model"])
@pytest.mark.parametrize(
    "turns", [UNSURE, ("I want a horror film without Tom Hanks",), ("um terror", "e agora?")]
)
def test_the_rules_fill_in_for_a_model_that_answers_rubbish(
    rubbish: str, lead: Lead, turns: tuple[str, ...]
) -> None:
    got = asking(ScriptedModel(rubbish), lead).understand([said(*turns)])[0]
    assert got.preferences == understood(*turns)


def test_a_model_alone_that_answers_rubbish_understands_nothing() -> None:
    got = asking(ScriptedModel("sorry"), "model-only").understand([said("a horror film")])[0]
    assert slots(got.preferences) == {}


def test_without_a_model_the_rules_stand_alone() -> None:
    lone = Understander(lexicon(), BY_ID.__getitem__, None, lead="model")
    assert lone.understand([said("a horror film")])[0].preferences.genres == ("Horror",)


def test_a_model_that_fails_is_no_silence() -> None:
    with pytest.raises(ModelError, match="the script has 0 replies"):
        asking(ScriptedModel([]), "model").understand([said("a horror film")])


def test_equal_questions_are_asked_once() -> None:
    model = answers()
    step = asking(model, "model")
    step.understand([said("something like Alien"), said("something like Coco")])
    step.understand([said("something like Speed")])
    assert len(model.calls) == 1  # "something like [t1]"


def test_what_the_parser_reads_is_what_training_writes() -> None:
    marked = lexicon().mark("a horror film like Alien")
    target = understanding_answer(marked, {"#horror": "no", "[t1]": "seen"}, "add")
    got = asking(ScriptedModel(target), "model").understand([said("a horror film like Alien")])[0]
    assert slots(got.preferences) == {"genres_out": ["Horror"], "seen": ["alien"]}


# -- invariants ----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(f.title for f in FILMS),
        "Keanu Reeves",
        "Tom Hanks",
        *"""no não sem sin but or ou and e like loved hated seen já vi directed by , . horror comedy
        terror newer older mais curto actually also instead start over any genre 90s 2 hours not
        French em inglês first one both "Foobar Zed" \x00 ß""".split(),
    ]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=9).map(" ".join)
SHOWN = st.lists(st.sampled_from([f.id for f in FILMS]), max_size=3, unique=True).map(tuple)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    turns: list[str | tuple[str, ...]] = [draw(TEXTS)]
    for _ in range(draw(st.integers(0, 2))):
        turns += [draw(SHOWN), draw(TEXTS)]
    return said(*turns, liked=draw(SHOWN)[:1], seen=draw(SHOWN)[:1])


def shaky(messages: Sequence[Message]) -> str:
    """Sometimes a good answer, sometimes none; the same for the same question."""
    text = messages[-1].content
    marks = MARK.findall(text.rpartition("> ")[2])
    if len(text) % 3 == 0:
        return "what?"
    return json.dumps({"turn": ("add", "replace")[len(text) % 2], **dict.fromkeys(marks, "none")})


@given(st.lists(conversations(), min_size=1, max_size=4), st.sampled_from(["rules", "model"]))
def test_a_batch_is_the_same_as_one_by_one(batch: list[Conversation], lead: Lead) -> None:
    together = asking(ScriptedModel(shaky), lead).understand(batch)
    alone = [asking(ScriptedModel(shaky), lead).understand([c])[0] for c in batch]
    assert together == alone


@given(conversations())
def test_wishes_never_contradict_themselves(conversation: Conversation) -> None:
    got = rules().understand([conversation])[0].preferences
    assert not {*got.genres, *got.genres_any} & {*got.genres_out}
    assert not {*got.people, *got.people_any, *got.directors} & {*got.people_out}
    assert not {*got.likes} & {*got.dislikes} - {*conversation.liked}
    assert not {*got.similar_to} & {*got.dislikes}
    assert Preferences.from_dict(got.to_dict()) == got
    for ids in (got.similar_to, got.likes, got.dislikes, got.seen):
        assert set(ids) <= BY_ID.keys()


def test_a_long_life_keeps_its_answers() -> None:
    step = asking(answers(), "model")
    step._answers.update({("", f"{n}"): "" for n in range(10_001)})
    first = said("something like Alien")
    kept = step.understand([first])[0]
    step._answers.update({("", f"{n}"): "" for n in range(10_001)})
    assert step.understand([first, said("no comedy")])[0] == kept


@pytest.mark.parametrize("error", [InputError, SchemaError])
def test_what_a_model_cannot_answer_is_left_to_the_rules(error: type[Exception]) -> None:
    class Short(ScriptedModel):
        def generate(self, prompts: Any, **options: Any) -> list[str]:
            if any("x" * 50 in m.content for p in prompts for m in p):
                raise error("it reads 512 tokens at most, or broke the schema twice")
            return super().generate(prompts, **options)

    long = said("a comedy, Nine Queens " + "x" * 50)
    short = said("a drama, Nine Queens")
    model = Short(lambda _: json.dumps({"turn": "add", "#drama": "yes", "[t1]": "seen"}))
    got = [u.preferences for u in asking(model).understand([long, short])]
    assert slots(got[0]) == {"genres": ["Comedy"], "similar_to": ["nine-queens"]}
    assert slots(got[1]) == {"genres": ["Drama"], "seen": ["nine-queens"]}


def test_what_one_message_likes_and_refuses_is_liked() -> None:
    got = rules().understand([said("The Matrix", (), "no The Matrix loved The Matrix")])[0]
    assert (got.preferences.likes, got.preferences.dislikes) == (("matrix",), ())
