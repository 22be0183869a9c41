from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec.datasets import FORMATS, load
from llmrec.datasets.base import BROKEN, MAX_PROBLEMS, part_of
from llmrec.datasets.dialogues import popularity, split_named, spoken
from llmrec.datasets.files import MAX_LINE, json_lines
from llmrec.datasets.film_names import film
from llmrec.datasets.redial import Redial
from llmrec.datasets.redial_ptbr import RedialPtbr
from llmrec.errors import InputError
from llmrec.types import Example, Item, Message

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "redial"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the dialogues of ReDial are not here")

CSV = """movieId,movieName\r
90001,Jaws  (1975)\r
90002,"Matrix, The (1999)"\r
90003,Her \r
90004,"300 (2006)"\r
90005, \r
90006\r
90007,Am\xe9lie (2001)\r
"""


def message(sender: int, text: Any, number: int = 1) -> dict[str, Any]:
    return {"messageId": number, "timeOffset": 0, "senderWorkerId": sender, "text": text}


def record(**changed: Any) -> dict[str, Any]:
    """A dialogue of seeker 7 and recommender 8 that has what ReDial has."""
    return {
        "conversationId": "391",
        "initiatorWorkerId": 7,
        "respondentWorkerId": 8,
        "messages": [
            message(7, "Hi!", 1),
            message(7, "I loved @90001 and @99999", 2),
            message(8, "Have you seen @90002?", 3),
            message(8, " Or @90003, or @90002", 4),
            message(7, "  ", 5),
            message(7, "Not yet", 6),
            message(8, "Enjoy!", 7),
        ],
        "movieMentions": {"90001": "Jaws  (1975)", "99999": "Heat (1995)", "90008": None},
        "initiatorQuestions": {
            "90001": {"suggested": 0, "seen": 1, "liked": 1},
            "90002": {"suggested": 1, "seen": 0, "liked": 0},
        },
        "respondentQuestions": {
            "90001": {"suggested": 0, "seen": 1, "liked": 0},
            "90002": {"suggested": 1, "seen": 0, "liked": 1},
            "99999": {"suggested": 0, "seen": 2, "liked": 1},
            "90003": {"suggested": 1, "seen": 0, "liked": 2},
        },
    } | changed


def write(folder: Path, name: str, *records: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    data = b"".join(line + b"\n" for line in lines)
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


def redial(folder: Path, *records: Any, name: str = "train_data.jsonl", **options: Any) -> Redial:
    write(folder, name, *records)
    (folder / "movies.csv").write_text(CSV, encoding="utf-8")
    return Redial(folder, **({"validation": 0.0} | options))


def texts(example: Example) -> list[str]:
    return [m.content for m in example.conversation.messages]


# One dialogue.


def test_a_turn_that_mentions_films_is_an_example(tmp_path: Path) -> None:
    source = redial(tmp_path, record())
    (example,) = source.examples()
    assert example.conversation.messages == (
        Message("user", "Hi!\nI loved Jaws (1975) and Heat (1995)", ("90001", "99999")),
    )
    assert example.conversation.language == "en"
    assert example.reply == ("Have you seen The Matrix (1999)?\nOr Her, or The Matrix (1999)")
    assert example.relevant == ("90002", "90003")
    assert (example.id, example.dialogue, example.user) == ("391:1", "391", "7")
    assert source.report.kept == 1
    assert source.report.dropped["message without text"] == 1
    assert source.report.dropped["recommender turn without a film"] == 1


def test_likes_are_the_seekers_and_else_the_recommenders(tmp_path: Path) -> None:
    (example,) = redial(tmp_path, record()).examples()
    # 90002 is liked by the recommender's account only, and the seeker denied it.
    assert example.likes == ("90001", "99999")


def test_what_was_answered_afterwards_is_not_in_the_conversation(tmp_path: Path) -> None:
    (example,) = redial(tmp_path, record()).examples()
    conversation = example.conversation
    assert conversation.liked == conversation.disliked == conversation.seen == ()


def test_all_turns_are_examples_if_asked_for(tmp_path: Path) -> None:
    source = redial(tmp_path, record(), turns="all")
    first, second = source.examples()
    assert (second.relevant, second.reply, second.id) == ((), "Enjoy!", "391:3")
    assert [m.role for m in second.conversation.messages] == ["user", "assistant", "user"]
    assert source.report.dropped["recommender turn without a film"] == 0
    assert first in list(Redial(tmp_path, validation=0.0).examples())


def test_a_recommender_may_open(tmp_path: Path) -> None:
    opened = record(messages=[message(8, "Try @90001")])
    (example,) = redial(tmp_path, opened).examples()
    assert example.conversation.messages == ()
    assert (example.relevant, example.id) == (("90001",), "391:0")


def test_lists_stand_for_empty_objects(tmp_path: Path) -> None:
    bare = record(movieMentions=[], initiatorQuestions=[], respondentQuestions=[])
    (example,) = redial(tmp_path, bare).examples()
    assert example.likes == ()
    # 99999 is in no list then, so it is no film; the others are in the CSV file.
    assert example.conversation.messages[0].items == ("90001",)
    assert texts(example) == ["Hi!\nI loved Jaws (1975) and"]


def test_missing_questionnaires_are_no_answers(tmp_path: Path) -> None:
    bare = record(initiatorQuestions=None)
    del bare["respondentQuestions"]
    (example,) = redial(tmp_path, bare).examples()
    assert example.likes == ()


def test_a_third_speaker_is_left_out(tmp_path: Path) -> None:
    said = [message(7, "Hi"), message(9, "I am @90001"), message(8, "@90002")]
    source = redial(tmp_path, record(messages=said))
    (example,) = source.examples()
    assert texts(example) == ["Hi"]
    assert source.report.dropped["message of a third speaker"] == 1


NAMES = {"90001": "Jaws (1975)", "300": "300 (2006)"}


@pytest.mark.parametrize(
    ("text", "reads", "ids"),
    [
        ("I like @90001, and @90001!", "I like Jaws (1975), and Jaws (1975)!", ("90001",)),
        ("seen@90001lately", "seen Jaws (1975) lately", ("90001",)),
        ("@ 90001  is good", "Jaws (1975) is good", ("90001",)),
        ("@@90001", "Jaws (1975)", ("90001",)),
        ("@300", "300 (2006)", ("300",)),
        ("I saw @2012 and @12", "I saw 2012 and 12", ()),
        ("I saw @205161 twice", "I saw twice", ()),
        ("at @ 12 or @ 205161", "at @ 12 or @ 205161", ()),
        ("@Thor and (@Avatar) of @someone", "Thor and (Avatar) of someone", ()),
        ("the @ sign, me@example.org, hi@", "the @ sign, me@example.org, hi@", ()),
        ("  two\n lines ", "two lines", ()),
    ],
)
def test_mentions_are_read_as_names(text: str, reads: str, ids: tuple[str, ...]) -> None:
    assert spoken(text, NAMES.get) == (reads, ids)


@given(st.text(alphabet="@@@0123459 ax.é"))
def test_no_id_is_left_in_any_text(text: str) -> None:
    reads, ids = spoken(text, {"1": "One", "22": "@Two"}.get)
    assert not re.search(r"@[0-9]", reads)
    assert set(ids) <= {"1", "22"}


@pytest.mark.parametrize(
    ("name", "title", "year"),
    [
        ("Headhunter  (2009)", "Headhunter", 2009),
        ("The Exorcist ", "The Exorcist", None),
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("Beautiful  Mind, A", "A Beautiful Mind", None),
        ("Luna, La (1979)", "La Luna", 1979),
        ("1922 ", "1922", None),
        ("(2006)", "(2006)", None),
        ("Murder, My Sweet", "Murder, My Sweet", None),
        ("The Meyerowitz Stories (New and Selected) (2017)", None, 2017),
    ],
)
def test_names_are_titles_and_years(name: str, title: str | None, year: int | None) -> None:
    assert film(name) == (title or "The Meyerowitz Stories (New and Selected)", year)


@pytest.mark.parametrize("name", [None, "", "  ", "null", "?!"])
def test_some_names_are_none(name: str | None) -> None:
    assert film(name) is None


def test_popularity_is_log_scaled() -> None:
    assert popularity({"a": 3, "b": 1, "c": 0}) == {"a": 1.0, "b": 0.5}
    assert popularity({}) == {}


# Items.


def test_items_are_the_list_and_what_dialogues_name_beside(tmp_path: Path) -> None:
    source = redial(tmp_path, record(), record(conversationId="2", messages=[message(8, "@90003")]))
    write(tmp_path, "test_data.jsonl", record(conversationId="3"))
    assert list(source.items()) == [
        Item("90001", "Jaws", 1975, popularity=0.63093),
        Item("90002", "The Matrix", 1999, popularity=0.63093),
        Item("90003", "Her", popularity=1.0),
        Item("90004", "300", 2006),
        Item("90007", "Amélie", 2001),
        Item("99999", "Heat", 1995, popularity=0.63093),
    ]
    assert source.report.kept == 6
    assert [(p.file, p.line) for p in source.report.problems] == [("movies.csv", n) for n in (6, 7)]


def test_popularity_knows_only_the_training_part(tmp_path: Path) -> None:
    parts = {"train": 0.5, "validation": 0.5}
    aside = next(str(n) for n in range(99) if part_of(str(n), parts=parts) == "validation")
    kept = next(str(n) for n in range(99) if part_of(str(n), parts=parts) == "train")
    redial(
        tmp_path,
        record(conversationId=aside, messages=[message(8, "@90002")]),
        record(conversationId=kept, messages=[message(8, "@90003 @90003")]),
    )
    write(tmp_path, "test_data.jsonl", record(messages=[message(8, "@90004")]))
    source = Redial(tmp_path, validation=0.5)
    assert source.example_splits == ("train", "validation", "test")
    assert {i.id for i in source.items() if i.popularity} == {"90003"}


def test_the_films_of_the_benchmark(tmp_path: Path) -> None:
    redial(tmp_path, record(), record(conversationId="2", messages=[message(8, "@99999")]))
    with pytest.raises(InputError, match="benchmark=True needs movieid_to_dbpedia"):
        Redial(tmp_path, benchmark=True)
    (tmp_path / "movieid_to_dbpedia.json").write_text('{"90001": "<a>", "90003": "<b>"}')
    source = Redial(tmp_path, benchmark=True, validation=0.0)
    assert [i.id for i in source.items()] == ["90001", "90003"]
    assert source.report.dropped == {"broken record": 2, "film outside the benchmark": 4}
    (example,) = source.examples()
    assert example.relevant == ("90003",)
    assert example.conversation.mentioned == example.likes == ("90001",)
    assert texts(example) == ["Hi!\nI loved Jaws (1975) and Heat (1995)"]
    assert source.report.dropped["mention of a film outside the benchmark"] == 4
    (tmp_path / "movieid_to_dbpedia.json").write_text("[")
    with pytest.raises(InputError, match=r"dbpedia.json cannot be used, it is not JSON"):
        Redial(tmp_path, benchmark=True)


# Files and splits.


def test_parts_are_disjoint_and_whole(tmp_path: Path) -> None:
    records = [record(conversationId=str(n)) for n in range(200)]
    redial(tmp_path, *records)

    def parts(**options: Any) -> list[list[str]]:
        source = Redial(tmp_path, **options)
        return [[e.dialogue for e in source.examples(s)] for s in source.example_splits]

    train, validation = parts()
    assert 5 < len(validation) < 40
    assert sorted(train + validation, key=int) == [str(n) for n in range(200)]
    assert parts() == [train, validation]
    assert parts(split_seed=1)[1] != validation
    assert len(parts(validation=0.5)[1]) > 70
    assert len(parts(validation=0.0)) == 1


def test_files_are_found_by_their_names(tmp_path: Path) -> None:
    redial(tmp_path, record(), name="train_partial.jsonl.gz")
    write(tmp_path, "test_data.jsonl", record(conversationId="t"))
    write(tmp_path, "latest.jsonl", record(conversationId="no"))
    source = Redial(tmp_path, validation=0.0)
    assert source.example_splits == ("train", "test")
    assert [[e.dialogue for e in source.examples(s)] for s in ("train", "test")] == [["391"], ["t"]]
    write(tmp_path, "valid_data.jsonl", record(conversationId="v"))
    source = Redial(tmp_path)
    assert [e.dialogue for e in source.examples("validation")] == ["v"]
    assert [e.dialogue for e in source.examples("train")] == ["391"]


def test_a_single_file_is_enough(tmp_path: Path) -> None:
    write(tmp_path, "some.jsonl", record())
    source = Redial(tmp_path / "some.jsonl", validation=0.0)
    assert [e.conversation.mentioned for e in source.examples()] == []
    assert [i.id for i in source.items()] == ["90001", "99999"]
    write(tmp_path, "my_test.jsonl", record(messages=[message(8, "@90001")]))
    source = Redial(tmp_path / "my_test.jsonl")
    assert source.example_splits == ("test",)
    assert [e.relevant for e in source.examples("test")] == [("90001",)]
    assert [i.popularity for i in source.items()] == [0.0, 0.0]


def test_the_mentions_file_comes_first(tmp_path: Path) -> None:
    redial(tmp_path, record())
    listed = "movieId,movieName,nbMentions\n90001,Sharks (1975),5\n"
    (tmp_path / "movies_with_mentions.csv.gz").write_bytes(gzip.compress(listed.encode()))
    assert next(iter(Redial(tmp_path).items())).title == "Sharks"
    (tmp_path / "movies_with_mentions.csv").write_text("id,name\n")
    with pytest.raises(InputError, match="has no columns movieId and movieName"):
        list(Redial(tmp_path).items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"turns": "some"}, "turns is 'some': use 'films' or 'all'"),
        ({"validation": 1.5}, "validation is 1.5: give a share from 0 to below 1"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    write(tmp_path, "train_data.jsonl", record())
    with pytest.raises(InputError, match=re.escape(said)):
        Redial(tmp_path, **options)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"it should hold train_data\.jsonl or test"):
            Redial(path)
        with pytest.raises(InputError, match=r"in \.parquet, \.jsonl or \.arrow"):
            RedialPtbr(path)
    write(tmp_path, "train_data.jsonl", record())
    with pytest.raises(InputError, match="no split 'test' here: use train, validation"):
        Redial(tmp_path).examples("test")
    with pytest.raises(InputError, match="one list of items"):
        Redial(tmp_path).items("test")


@pytest.mark.parametrize("name", ["redial", "redial_ptbr"])
def test_it_is_a_source(tmp_path: Path, name: str) -> None:
    redial(tmp_path, record(messages_translated=[message(8, "@90001")]))
    source = load(name, tmp_path, turns="films")
    assert type(source).__name__ == FORMATS[name]
    assert source.name == name
    assert all((source.title, source.homepage, source.citation))
    assert source.item_splits == ("train",)
    assert source.license == ("cc-by-4.0" if name == "redial" else "unknown")
    with pytest.raises(InputError, match=r"has no option 'tone': it has .*turns, split_seed"):
        load(name, tmp_path, tone="warm")


# Broken records.

BAD: list[tuple[Any, str]] = [
    (b"{", "it is not JSON"),
    (b"[1]", "it is no JSON object"),
    (b"\xff\xfe", "it has bytes that are not UTF-8 text"),
    (b"[" * 100_000, "it is not JSON"),
    ({}, "it lacks one of conversationId"),
    (record(conversationId=True), "it lacks one of conversationId"),
    (record(respondentWorkerId=7), "its two speakers have one id"),
    (record(messages="Hi"), "messages is no list"),
    (record(messages=[5]), "messages holds something that is no message"),
    (record(messages=[message(7, 5)]), "messages holds something that is no message"),
    (record(movieMentions="Jaws"), "movieMentions is neither an object nor a list of objects"),
    (record(movieMentions={"1": 5}), "movieMentions has a name that is no text"),
    (record(initiatorQuestions={"1": 5}), "initiatorQuestions has an answer that is no object"),
]


def test_broken_records_are_told_and_left_out(tmp_path: Path) -> None:
    source = redial(tmp_path, *(bad for bad, _ in BAD), record())
    assert [e.dialogue for e in source.examples()] == ["391"]
    assert source.report.dropped[BROKEN] == len(BAD) + 2  # and two rows of the CSV file
    problems = [p for p in source.report.problems if p.file == "train_data.jsonl"]
    assert [p.line for p in problems] == list(range(1, len(BAD) + 1))
    for problem, (_, said) in zip(problems, BAD, strict=True):
        assert problem.reason.startswith(said)


def test_a_report_is_of_the_last_stream(tmp_path: Path) -> None:
    source = redial(tmp_path, record(), record(), *[b"{"] * 150)
    assert len(list(source.examples())) == 1
    assert source.report.dropped["dialogue whose id came before"] == 1
    assert source.report.dropped[BROKEN] == 152
    assert len(source.report.problems) == MAX_PROBLEMS
    first = source.report
    list(source.examples())
    assert source.report == first
    assert source.report is not first


def test_a_damaged_archive_ends_the_file(tmp_path: Path) -> None:
    redial(tmp_path, *(record(conversationId=str(n)) for n in range(500)), name="train.jsonl.gz")
    whole = (tmp_path / "train.jsonl.gz").read_bytes()
    (tmp_path / "train.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    source = Redial(tmp_path, validation=0.0)
    assert 0 < len(list(source.examples())) < 500
    assert "nothing can be read from here on" in source.report.problems[-1].reason
    (tmp_path / "train.jsonl.gz").write_bytes(b"no archive")
    assert list(source.examples()) == []


def test_a_line_without_end_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(
        b"x" * (2 * MAX_LINE + 5) + b'\n{"a": 1}\n\n{"b": "\\ud800"}'
    )
    assert list(json_lines(tmp_path / "x.jsonl")) == [
        (1, "it has over 16,000,000 bytes"),
        (2, {"a": 1}),
        (4, {"b": "?"}),
    ]


def test_csv_damage_is_told(tmp_path: Path) -> None:
    redial(tmp_path, record())
    long = b'"' + b"x" * 200_000 + b'"\n'
    rows = b"movieId,movieName\n1,\xff\n2," + long + b"3,Heat\n\n,Jaws\n4,a,b\n"
    (tmp_path / "movies.csv").write_bytes(rows)
    source = Redial(tmp_path)
    assert [i.id for i in source.items()] == ["3", "90001", "99999"]
    assert [(p.file, p.line) for p in source.report.problems] == [
        ("movies.csv", n) for n in (2, 3, 6, 7)
    ]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("90001"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A line of a record in which something was replaced, removed or cut."""
    whole: Any = record(messages_translated=[message(7, "Oi @90001"), message(8, "@90002")])
    node = whole
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        inner = node[key]
        if isinstance(inner, (dict, list)) and inner and draw(st.booleans()):
            node = inner
            continue
        if draw(st.booleans()):
            node[key] = draw(junk)
        else:
            del node[key]
        break
    line = json.dumps(whole).encode()
    if draw(st.booleans()):
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.binary(max_size=4)) + line[at + draw(st.integers(0, 3)) :]
    return line.replace(b"\n", b" ")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=st.lists(mangled() | st.binary(max_size=30), max_size=4))
def test_no_line_raises(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("mangled")
    good = record(conversationId="good", messages_translated=[message(8, "@90001")])
    redial(folder, *lines, good)
    for source in (Redial(folder), RedialPtbr(folder), RedialPtbr(folder, language="en")):
        found = [e for s in source.example_splits for e in source.examples(s)]
        assert "good" in {e.dialogue for e in found}
        items = {i.id for i in source.items()}
        for e in found:
            assert e == Example.from_dict(json.loads(json.dumps(e.to_dict())))
            assert items >= {*e.relevant, *e.likes, *e.conversation.mentioned}


# Brazilian Portuguese.


def ptbr(**changed: Any) -> dict[str, Any]:
    """The same dialogue in the columns of the Hub."""
    plain = record()
    listed = {
        "movieMentions": [
            {"movieId": "90001", "movieName": "Jaws  (1975)"},
            {"movieId": "90002", "movieName": "The Matrix (1999)"},
            {"movieId": "99999", "movieName": None},
        ],
        "messages": [
            message(7, "I loved @90001", 1),
            message(8, "Try @90002 or @99999", 2),
            message(7, "Thanks", 3),
        ],
        "messages_translated": [
            message(7, "Eu adorei @90001", 1),
            message(8, "Tente @90002 ou @99999", 2),
            message(7, "Obrigado", 3),
        ],
    }
    for name in ("initiatorQuestions", "respondentQuestions"):
        listed[name] = [{"movieId": i} | answer for i, answer in plain[name].items()]
    return plain | listed | changed


def portuguese(folder: Path, *records: Any, **options: Any) -> RedialPtbr:
    write(folder, "train.jsonl", *records)
    return RedialPtbr(folder, **({"validation": 0.0} | options))


def test_the_translation_is_read(tmp_path: Path) -> None:
    source = portuguese(tmp_path, ptbr())
    (example,) = source.examples()
    assert texts(example) == ["Eu adorei Jaws (1975)"]
    assert example.reply == "Tente The Matrix (1999) ou"
    assert (example.relevant, example.likes) == (("90002",), ("90001",))
    assert example.conversation.language == "pt"
    assert [i.id for i in source.items()] == ["90001", "90002"]
    (english,) = RedialPtbr(tmp_path, language="en", validation=0.0).examples()
    assert texts(english) == ["I loved Jaws (1975)"]
    assert english.conversation.language == "en"
    with pytest.raises(InputError, match="language is 'es': use 'pt' or 'en'"):
        RedialPtbr(tmp_path, language="es")


def test_lost_mentions_are_the_originals(tmp_path: Path) -> None:
    lost = [message(7, "Eu adorei Tubarão", 1), message(8, "Tente @90001 ou 99999", 2)]
    source = portuguese(tmp_path, ptbr(messages_translated=[*lost, message(7, "Obrigado", 3)]))
    (example,) = source.examples()
    assert example.conversation.messages == (Message("user", "Eu adorei Tubarão", ("90001",)),)
    assert example.relevant == ("90002",)
    assert source.report.dropped["message whose mentions were taken from its original"] == 2


def test_lists_of_other_lengths_are_paired_by_id(tmp_path: Path) -> None:
    source = portuguese(tmp_path, ptbr(messages_translated=[message(8, "Tente Matrix", 2)]))
    assert [e.relevant for e in source.examples()] == [("90002",)]
    alone = message(8, "Tente @90002", 50)
    source = portuguese(tmp_path, ptbr(messages_translated=[alone]))
    assert [e.relevant for e in source.examples()] == [("90002",)]
    assert source.report.dropped["translated message without an original"] == 1


def test_translations_may_be_plain_texts(tmp_path: Path) -> None:
    source = portuguese(tmp_path, ptbr(messages_translated=["Adorei @90001", "Tente", "Obrigado"]))
    (example,) = source.examples()
    assert texts(example) == ["Adorei Jaws (1975)"]
    assert (example.reply, example.relevant) == ("Tente", ("90002",))


def test_a_dialogue_without_a_translation_is_broken(tmp_path: Path) -> None:
    source = portuguese(tmp_path, ptbr(messages_translated=[]), record())
    assert list(source.examples()) == []
    assert [p.reason for p in source.report.problems] == [
        "messages_translated is empty",
        "messages_translated is no list",
    ]


def table(records: Iterable[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(list(records))


def test_parquet_shards_are_read(tmp_path: Path) -> None:
    from pyarrow import parquet

    (tmp_path / "data").mkdir()
    for n in range(2):
        rows = [ptbr(conversationId=f"{n}-{i}") for i in range(150)]
        parquet.write_table(table(rows), tmp_path / "data" / f"train-0000{n}-of-00002.parquet")
    parquet.write_table(table([ptbr()]), tmp_path / "data" / "test-00000-of-00001.parquet")
    write(tmp_path, "train.jsonl", ptbr(conversationId="not twice"))
    source = RedialPtbr(tmp_path)
    assert source.example_splits == ("train", "validation", "test")
    found = {s: [e.dialogue for e in source.examples(s)] for s in source.example_splits}
    assert found["test"] == ["391"]
    train = [f"{n}-{i}" for n in range(2) for i in range(150)]
    assert sorted(found["train"] + found["validation"]) == sorted(train)
    (single,) = RedialPtbr(tmp_path / "data" / "test-00000-of-00001.parquet").examples("test")
    assert single == next(iter(source.examples("test")))
    assert single == next(iter(portuguese(tmp_path / "json", ptbr()).examples()))


def test_parquet_damage_is_told(tmp_path: Path) -> None:
    from pyarrow import parquet

    rows = [ptbr(conversationId=str(i)) for i in range(300)]
    parquet.write_table(table(rows), tmp_path / "train.parquet", compression="gzip")
    whole = bytearray((tmp_path / "train.parquet").read_bytes())
    whole[200:1200] = bytes(1000)
    (tmp_path / "train.parquet").write_bytes(whole)
    source = RedialPtbr(tmp_path, validation=0.0)
    assert list(source.examples()) == []
    assert "nothing can be read from here on" in source.report.problems[0].reason
    (tmp_path / "train.parquet").write_bytes(b"PAR")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        list(source.examples())


def test_what_datasets_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = {s: datasets.Dataset.from_list([ptbr(conversationId=s)]) for s in ("train", "test")}
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "both"))
    (tmp_path / "both" / "train" / "cache-123.arrow").write_bytes(b"made by map")
    source = RedialPtbr(tmp_path / "both", validation=0.0)
    assert [[e.dialogue for e in source.examples(s)] for s in source.example_splits] == [
        ["train"],
        ["test"],
    ]
    made["train"].save_to_disk(str(tmp_path / "one"))
    assert len(list(RedialPtbr(tmp_path / "one", validation=0.0).examples())) == 1


def test_arrow_files_in_the_file_format_are_read(tmp_path: Path) -> None:
    import pyarrow as pa

    rows = table([ptbr()])
    with (
        pa.OSFile(str(tmp_path / "train.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, rows.schema) as writer,
    ):
        writer.write_table(rows)
    assert len(list(RedialPtbr(tmp_path, validation=0.0).examples())) == 1


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train_data.jsonl", "train"),
        ("data/validation-00000-of-00001.parquet", "validation"),
        ("default/test/0000.parquet", "test"),
        ("train/test.jsonl", "test"),
        ("latest/contest.jsonl", None),
    ],
)
def test_a_path_names_its_split(path: str, split: str | None) -> None:
    assert split_named(Path(path)) == split


# The real ones.


@real
def test_the_real_dialogues() -> None:
    source = Redial(REAL, turns="all")
    parts = {s: list(source.examples(s)) for s in source.example_splits}
    assert BROKEN not in source.report.dropped
    items = {i.id: i for i in source.items()}
    assert BROKEN not in source.report.dropped
    assert len(items) >= 6_924
    assert max(i.popularity for i in items.values()) == 1.0
    by_part = {s: {e.dialogue for e in examples} for s, examples in parts.items()}
    assert set(by_part) >= {"train", "validation"}
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(by_part.values(), 2))
    with (REAL / "train_partial.jsonl").open("rb") as lines:
        written = {json.loads(line)["conversationId"] for line in lines}
    assert by_part["train"] | by_part["validation"] == written
    for example in itertools.chain(*parts.values()):
        roles = [m.role for m in example.conversation.messages] + ["assistant"]
        assert all(a != b for a, b in itertools.pairwise(roles))
        said = [*example.conversation.messages, Message("assistant", example.reply)]
        assert not any(re.search("@[0-9]", m.content) for m in said)
        for i in example.relevant:
            assert items[i].label in example.reply
        assert {*example.likes, *example.conversation.mentioned} <= items.keys()
    ids = [e.id for examples in parts.values() for e in examples]
    assert len(set(ids)) == len(ids)


@real
def test_a_real_dialogue_reads_as_it_was_written() -> None:
    source = Redial(REAL)
    dialogue = "391"
    found = [
        e for s in ("train", "validation") for e in source.examples(s) if e.dialogue == dialogue
    ]
    first = found[0]
    assert first.id == "391:3"
    assert [m.role for m in first.conversation.messages] == ["user", "assistant", "user"]
    assert first.conversation.messages[2] == Message(
        "user",
        "I like animations like The Triplets of Belleville (2003) and Waking Life (2001)\n"
        "I also enjoy Mary and Max (2009)\nAnything artistic",
        ("84779", "191602", "122159"),
    )
    assert first.relevant == ("165710",)
    assert first.reply == "You might like The Boss Baby (2017) that was a good movie."


@real
def test_reading_twice_is_the_same() -> None:
    source = Redial(REAL, benchmark=True)
    first = list(source.examples("validation"))
    told = source.report
    assert list(source.examples("validation")) == first
    assert source.report == told
    assert told.kept == len(first) > 0
    ranked = {i.id for i in source.items()}
    assert len(ranked) == 6_281
    assert {i for e in first for i in (*e.relevant, *e.conversation.mentioned)} <= ranked
