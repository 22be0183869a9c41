"""train/questions.py: from wordings to the weights that tell what a question asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.questions import FILE, HEADS, STEM, TOPICS, asks
from llmrec.softmax import read_heads
from llmrec.types import Item
from train import questions as learning
from train.questions import Example, Filler, label_of, right

FIELDS = {
    "", "year", "runtime", "price", "rating", "popularity", "genres", "directors", "cast",
    "people", "countries", "languages", "keywords", "titles", "original_title", "description",
}  # fmt: skip
COMMON = {
    (f"{kind}.{field}.{way}", "en"): [f"{way} {field}"]
    for kind in ("adj", "sup")
    for field, way in learning._WAYS
} | {(f"mod.{kind}", "en"): [f"{kind} {{v}}"] for kind in learning._NARROWING}
WORLD = [
    Item(str(i), f"Film {i}", year=1990 + i, genres=("Drama",), cast=(f"Ann Lee {i}",),
         directors=(f"Bo Ray {i}",))
    for i in range(3)
]  # fmt: skip


def filler() -> Filler:
    return Filler(WORLD, COMMON)


def label(key: str, wording: str) -> learning.Label:
    return filler().example("here", key, "en", wording).label


# -- from wordings to examples --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "wording", "expected"),
    [
        ("fact.runtime", "how long is {t}", ("open", "runtime", "")),
        ("follow.runtime", "how long is it", ("open", "runtime", "")),
        ("check.cast", "is {v} in {t}", ("check", "cast", "")),
        ("follow.check.runtime.max", "is it longer than {v}", ("check", "runtime", "max")),
        ("check.topic.filming", "was {t} filmed in Rome", ("check", "filming place", "")),
        ("topic.boxoffice", "how much did {t} earn", ("open", "box office", "")),
        ("text.about", "what is {t} about", ("open", "description", "")),
        ("follow.text", "what is it about", ("open", "description", "")),
        ("follow.product", "what does it say", ("open", "description", "")),
        ("text.subject", "what of {e} in {t}", ("open", "", "")),
        ("comparison.which.year.min", "{a} or {b}, the old one", ("comparison", "year", "min")),
        ("comparison.same.directors", "{a} and {b}, same hand?", ("same", "directors", "")),
        ("comparison.shared.cast", "who is in {a} and {b}", ("same", "cast", "")),
        ("superlative.price.max", "the dearest of {nouns} {mods}", ("superlative", "price", "max")),
    ],
)
def test_a_key_says_what_is_asked(key: str, wording: str, expected: learning.Label) -> None:
    assert label(key, wording) == expected


def test_what_is_drawn_decides_what_a_general_key_asks() -> None:
    draw = filler()
    for _ in range(30):
        e = draw.example("here", "comparison.which", "en", "which is {adj}, {a} or {b}")
        form, field, way = e.label
        assert form == "comparison"
        assert f"{way} {field}" in e.message
        e = draw.example("here", "count", "en", "how many {nouns} {mods}")
        assert e.label[0] == "count"
        assert (e.label[1] == "cast") == ("actor Ann" in e.message)
        assert (e.label[1] == "directors") == ("director Bo" in e.message)
        e = draw.example("here", "topic", "en", "the {topic} of {t}")
        assert e.label[1] in TOPICS


def test_some_comparisons_are_with_a_title_nobody_knows() -> None:
    draw = filler()
    made = [draw.example("x", "comparison.which", "en", "{a} or {b}, {adj}") for _ in range(60)]
    strange = [e for e in made if "[t2]" not in e.message or "[t1]" not in e.message]
    assert 2 < len(strange) < 30


def test_questions_about_products_are_read_as_a_shop_reads_them() -> None:
    assert filler().example("x", "fact.price", "en", "price of {t}").sold
    assert filler().example("x", "check.topic.warranty", "en", "is {t} under warranty").sold
    assert not filler().example("x", "fact.year", "en", "year of {t}").sold


def test_an_unknown_slot_is_named() -> None:
    with pytest.raises(InputError, match=r"here, fact.year en: 'when \{x\}' has the slot 'x'"):
        label("fact.year", "when {x}")


def test_messages_say_what_they_ask() -> None:
    assert label_of("fact:cast") == ("open", "cast", "")
    assert label_of("text:=awards") == ("open", "awards", "")
    assert label_of("text") == ("open", "", "")
    assert label_of("check:runtime:max") == ("check", "runtime", "max")
    assert label_of("comparison:year:same") == ("same", "year", "")
    assert label_of("superlative:price:min") == ("superlative", "price", "min")
    assert label_of("count:year") == ("count", "", "")
    assert label_of("list:directors") == ("list", "directors", "")
    with pytest.raises(InputError, match="there is no topic 'shoes'"):
        label_of("text:=shoes")


def test_a_hurried_version_has_no_capitals_accents_or_marks() -> None:
    e = Example("f", "es", "¿Cuánto dura [t1], «por favor»?", ("open", "runtime", ""))
    assert learning._careless(e).message == "cuanto dura [t1], por favor"


def test_readings_that_lead_to_the_same_answer_are_right() -> None:
    assert right(("open", "awards", ""), ("check", "awards", ""))
    assert not right(("open", "cast", ""), ("check", "cast", ""))
    assert right(("check", "runtime", ""), ("check", "runtime", "max"))
    assert not right(("comparison", "year", "min"), ("comparison", "year", "max"))
    assert not right(("open", "year", ""), ("open", "runtime", ""))


def test_stems_are_of_the_words_around_the_slots() -> None:
    own = {
        ("count", "pt"): ["quant{os} {nouns} {mods} existem"],
        ("fact.cast", "pt"): ["quem aparece em {t}"],
        ("text.subject", "pt"): ["que segredo há em {t}"],
        ("mods.odd", "pt"): ["premiados"],
    }
    found = learning.stems([own])
    assert found["all"] == ["exist", "quant"]
    assert found["any"] == ["apare", "em", "exist", "quant", "quem"]


# -- learning -------------------------------------------------------------------------------------


def test_it_learns_writes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning, "MESSAGES", ())
    monkeypatch.setattr(learning, "STEPS", 8)
    monkeypatch.setattr(learning, "BUCKETS", 1 << 12)
    monkeypatch.setattr(learning, "VERSIONS", 1)
    wordings = tmp_path / "wordings"
    wordings.mkdir()
    (wordings / "mine.txt").write_text("= fact.cast en\nwho is in {t}\nfaces in {t}\n")
    made = []
    for out in ("one", "two"):
        args = ["--wordings", str(wordings), "--out", str(tmp_path / out)]
        assert learning.main([*args, *(["--quick"] if out == "two" else ["--errors", "3"])]) == 0
        heads, facts = read_heads(tmp_path / out / FILE, "")
        assert tuple(heads) == HEADS
        made.append(heads["form"].weights)
    assert np.array_equal(*made)
    assert set(facts["stems"]) == {"any", "all"}
    said = capsys.readouterr().out
    assert "learned from" in said
    assert "mine" in said


def test_folders_and_lines_that_cannot_be_used_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert learning.main(["--wordings", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "holds no wordings (*.txt): give the folder that does" in capsys.readouterr().err
    (tmp_path / "mine.txt").write_text("who is in {t}\n")
    assert learning.main(["--wordings", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "stands below no heading" in capsys.readouterr().err
    bad = tmp_path / "messages.tsv"
    bad.write_text("en\ttext:=shoes\twhich shoes?\n")
    with pytest.raises(InputError, match=r"messages\.tsv, line 1 is no question \(there is no to"):
        learning.make_examples({}, [bad], WORLD)
    assert not (tmp_path / FILE).exists()


def test_interrupted_it_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(learning, "read_all", stop)
    assert learning.main(["--quick", "--out", str(tmp_path)]) == 130
    assert not list(tmp_path.iterdir())


# -- what is shipped ------------------------------------------------------------------------------


def test_the_shipped_file_is_small_and_says_how_good_it_is() -> None:
    file = Path(learning.DATA) / FILE
    assert file.stat().st_size < 1_600_000
    heads, facts = read_heads(file, "")
    assert tuple(heads) == HEADS
    for form, what, way in facts["labels"]:
        assert what in FIELDS or what in TOPICS
        assert form in heads["form"].classes
        assert way in ("", "max", "min")
    held_out = facts["held_out_accuracy"]
    hands = {f.stem for f in learning.WORDINGS.glob("*.txt")}
    assert hands <= set(held_out)
    for hand in hands:
        assert min(held_out[hand].values()) > 0.7, hand


def test_the_shipped_stems_know_words_that_ask() -> None:
    assert all(map(asks, ("dirigiu", "estreno", "director", "minutes")))
    assert not any(map(asks, ("zork", "gladiator", "zhivago")))
    stems = read_heads(Path(learning.DATA) / FILE, "")[1]["stems"]
    assert all(len(s) <= STEM for s in stems["any"])


def test_every_wording_of_the_repository_can_be_filled() -> None:
    items = list(Catalog.embedded())[:300]
    examples = learning.make_examples(
        learning.read_all(learning.WORDINGS), learning.MESSAGES, items
    )
    assert len(examples) > 40_000
    assert not [e.message for e in examples if "{" in e.message]
