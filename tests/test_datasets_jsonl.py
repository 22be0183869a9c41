from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.datasets import load, part_of
from llmrec.datasets.base import BROKEN
from llmrec.datasets.jsonl import Table, to_example
from llmrec.errors import InputError
from llmrec.types import Conversation, Example, Item, Message

HI = {"role": "user", "content": "Something with sharks?"}
JAWS = {"role": "assistant", "content": "Watch Jaws."}
ASKED = Conversation((Message("user", "Something with sharks?"),))


def jsonl(path: Path, *rows: object) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def everything(source: Any) -> list[Example]:
    return [e for split in source.example_splits for e in source.examples(split)]


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"messages": [HI, JAWS]}, Example(ASKED, reply="Watch Jaws.")),
        ({"messages": [HI], "reply": "Jaws!"}, Example(ASKED, reply="Jaws!")),
        (
            {"messages": [HI, JAWS], "reply": "And Piranha."},
            Example(ASKED.add(Message("assistant", "Watch Jaws.")), reply="And Piranha."),
        ),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be kind."},
                    {"from": "human", "value": "Hi"},
                    {"from": "gpt", "value": "Hello"},
                ]
            },
            Example(
                Conversation((Message("system", "Be kind."), Message("user", "Hi"))), reply="Hello"
            ),
        ),
        (
            {"prompt": "Something with sharks?", "completion": '{"title": "Jaws"}'},
            Example(ASKED, reply='{"title": "Jaws"}'),
        ),
        ({"prompt": [HI], "completion": [JAWS]}, Example(ASKED, reply="Watch Jaws.")),
        ({"prompt": "[1, 2]"}, Example(Conversation((Message("user", "[1, 2]"),)))),
        ({"prompt": "[sic] {"}, Example(Conversation((Message("user", "[sic] {"),)))),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
            Example(Conversation((Message("user", "Hi"),))),
        ),
        (
            {
                "messages": json.dumps([HI]),
                "relevant": "jaws;jaws 2",
                "likes": '["a;b"]',
                "history": [7, 8],
                "id": 3,
                "user": "u",
                "dialogue": "d",
            },
            Example(
                ASKED,
                relevant=("jaws", "jaws 2"),
                likes=("a;b",),
                history=("7", "8"),
                id="3",
                user="u",
                dialogue="d",
            ),
        ),
    ],
)
def test_the_ways_to_write_a_conversation(row: dict[str, Any], example: Example) -> None:
    assert to_example(row) == example


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": []}, "it has no messages"),
        ({"messages": ""}, "it has no messages"),
        ({"messages": 5}, "its messages are 5: a list of messages is wanted"),
        ({"messages": ["hi"]}, r"its messages are \['hi'\]: a list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "a message has the role 'tool'"),
        ({"messages": [{"role": [1], "content": "x"}]}, r"a message has the role '\[1\]'"),
        ({"messages": [{"role": "user"}]}, "content of type NoneType"),
        ({"messages": [HI], "relevant": {"a": 1}}, "relevant is .*: a list of ids is wanted"),
        ({"messages": [HI], "relevant": [{}]}, "relevant is {}: a text is wanted"),
        ({"messages": [HI], "user": 1.5}, "user is 1.5: a text is wanted"),
        ({"prompt": "x", "completion": [HI]}, "its completion does not end with the assistant"),
        ({"conversation": {"messages": [HI], "mood": 1}}, "Conversation has no field 'mood'"),
        ({"conversation": {"language": "xx"}}, "the language is 'xx'"),
    ],
)
def test_what_is_no_conversation(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        to_example(row)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
IDS = st.lists(TEXT.filter(bool), max_size=3).map(tuple)
MESSAGES = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT, IDS)
CONVERSATIONS = st.builds(
    Conversation,
    st.lists(MESSAGES, max_size=3).map(tuple),
    liked=IDS,
    disliked=IDS,
    seen=IDS,
    language=st.sampled_from(["", "en", "pt", "es"]),
)
EXAMPLES = st.builds(
    Example,
    CONVERSATIONS,
    relevant=IDS,
    reply=TEXT,
    id=TEXT.filter(bool),
    dialogue=TEXT,
    user=TEXT,
    likes=IDS,
    history=IDS,
)


@settings(deadline=None, max_examples=60)
@given(examples=st.lists(EXAMPLES, min_size=1, max_size=4))
def test_what_to_dict_wrote_comes_back(
    examples: list[Example], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("jsonl")
    jsonl(folder / "train.jsonl", *(e.to_dict() for e in examples))
    assert list(Table(folder).examples("train")) == examples


def test_one_file_is_split_by_user_and_a_part_is_never_shared(tmp_path: Path) -> None:
    rows = [{"messages": [HI, JAWS], "user": f"u{n % 40}"} for n in range(80)]
    source = Table(jsonl(tmp_path / "chats.jsonl.gz", *rows))
    assert (source.example_splits, source.item_splits) == (("train", "validation", "test"), ())
    seen: dict[str, str] = {}
    ids = []
    for split in source.example_splits:
        part = list(source.examples(split))
        assert part
        assert source.report.kept == len(part)
        ids += [e.id for e in part]
        for e in part:
            assert seen.setdefault(e.user, split) == split == part_of(e.user)
    assert sorted(ids, key=int) == [str(n) for n in range(1, 81)]


def test_without_a_user_the_dialogue_decides_then_the_id(tmp_path: Path) -> None:
    rows = [{"messages": [HI], "dialogue": f"d{n}"} for n in range(9)] + [{"messages": [HI]}]
    source = Table(jsonl(tmp_path / "chats.jsonl", *rows))
    for split in source.example_splits:
        assert all(part_of(e.dialogue or e.id) == split for e in source.examples(split))
    assert len(everything(source)) == 10


def test_a_folder_with_its_own_parts(tmp_path: Path) -> None:
    pq.write_table(
        pa.Table.from_pylist([{"messages": [HI, JAWS], "user": None}] * 2),
        tmp_path / "train-00000-of-00002.parquet",
    )
    pq.write_table(
        pa.Table.from_pylist([{"messages": [HI, JAWS], "user": "u"}]),
        tmp_path / "train-00001-of-00002.parquet",
    )
    jsonl(tmp_path / "dev.jsonl", {"messages": [HI]})
    (tmp_path / "README.md").write_text("no data")
    source = load("jsonl", tmp_path)
    assert source.example_splits == ("train", "validation")
    train = list(source.examples("train"))
    assert [(e.id, e.user, e.reply) for e in train] == [
        ("train-1", "", "Watch Jaws."),
        ("train-2", "", "Watch Jaws."),
        ("train-3", "u", "Watch Jaws."),
    ]
    assert list(source.examples("validation")) == [Example(ASKED, id="validation-1")]
    with pytest.raises(InputError, match="has no examples 'test': it has train, validation"):
        source.examples("test")


ITEM = Item(
    id="1",
    title="Jaws",
    year=1975,
    titles={"pt": ("Tubarão",)},
    genres=("Thriller", "Adventure"),
    description="A police chief hunts a shark.",
    price=9.5,
)


def test_items_from_every_kind_of_file(tmp_path: Path) -> None:
    row = {"name": "Jaws", "year": 1975, "titles": {"pt": ["Tubarão"]}, "price": 9.5}
    row |= {"genres": ["Thriller", "Adventure"], "plot": "A police chief hunts a shark."}
    mapping = {"title": "name", "description": "plot"}
    jsonl(tmp_path / "a.jsonl", row)
    jsonl(tmp_path / "b.jsonl.gz", row)
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "c.parquet")
    flat = ["name,year,titles.pt,price,genres,plot", "Jaws,1975,Tubarão,9.5,Thriller|Adventure,"]
    flat[1] += ITEM.description
    (tmp_path / "d.csv").write_text("\n".join(flat), encoding="utf-8-sig")
    (tmp_path / "e.tsv").write_text("\n".join(flat).replace(",", "\t"), encoding="utf-8")
    (tmp_path / "f.tsv.gz").write_bytes(gzip.compress((tmp_path / "e.tsv").read_bytes()))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 6
    for file in files:
        source = Table(file, mapping=mapping)
        assert (source.example_splits, source.item_splits) == ((), ("train",))
        assert list(source.items()) == [ITEM], file
        assert (source.report.kept, source.report.dropped) == (1, {})


def test_broken_rows_are_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(
        b'{"id": "a", "title": "Jaws"}\n'
        b"{oops\n"
        b"\n"
        b'{"title": "\xff"}\n'
        b'{"title": "\\ud800"}\n'
        b"[1]\n"
        b'{"title": "x", "year": "soon"}\n'
        b'{"title": "..."}\n'
        b'{"id": "a", "title": "Again"}\n'
        b'{"id": 7, "title": "Alien", "rating": 8}\n'
    )
    source = Table(path)
    assert [(i.id, i.title) for i in source.items()] == [("a", "Jaws"), ("7", "Alien")]
    reasons = {p.line: p.reason for p in source.report.problems}
    assert reasons.pop(2).startswith("it is not JSON: ")
    assert reasons == {
        4: "it has bytes that are not UTF-8 text",
        5: "it has bytes that are not UTF-8 text",
        6: "it is no JSON object: [1]",
        7: "year is 'soon': a number is wanted",
        8: "it has no title, only '...'",
        9: "the id 'a' was used before",
    }
    assert source.report.dropped[BROKEN] == 7

    table = tmp_path / "chats.csv"
    table.write_bytes(b'prompt,completion\nhi,hello\nonly one\n"a\nb",c\n\xff,d\ne,f\n')
    chats = Table(table)
    assert [e.reply for e in sorted(everything(chats), key=lambda e: e.id)] == ["hello", "c", "f"]
    assert {(p.line, p.reason) for p in chats.report.problems} == {
        (3, "it has 1 columns, the header has 2"),
        (6, "it has bytes that are not UTF-8 text"),
    }


def test_a_cell_that_is_too_large_or_no_date_costs_its_row_only(tmp_path: Path) -> None:
    table = tmp_path / "items.csv"
    table.write_text(f"title,description\nJaws,x\nAlien,{'x' * 200_000}\nHeat,y\n")
    source = Table(table)
    assert [i.title for i in source.items()] == ["Jaws", "Heat"]
    assert [p.line for p in source.report.problems] == [3]
    dates = pa.array([0, 2**60, 0], pa.timestamp("ms"))
    names = pa.array(["Jaws", "Alien", "Heat"])
    pq.write_table(pa.table({"title": names, "seen": dates}), tmp_path / "items.parquet")
    source = Table(tmp_path / "items.parquet")
    assert [i.title for i in source.items()] == ["Jaws", "Heat"]
    assert [p.line for p in source.report.problems] == [2]


def test_columns_of_a_conversation_can_be_named(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "chats.jsonl", {"q": "Something with sharks?", "a": "Jaws", "who": 5})
    mapping = {"prompt": "q", "reply": "a", "user": "who"}
    assert everything(Table(path, mapping=mapping)) == [
        Example(ASKED, reply="Jaws", user="5", id="1")
    ]
    with pytest.raises(InputError, match="mapping has 'titel', which no conversation has"):
        Table(path, mapping=mapping | {"titel": "q"})


def test_kind_can_be_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "both.jsonl", {"title": "Jaws", "prompt": "Something with sharks?"})
    assert everything(Table(path)) == [Example(ASKED, id="1")]
    assert [i.title for i in Table(path, kind="items").items()] == ["Jaws"]
    with pytest.raises(InputError, match="has no items 'train': it has none"):
        Table(path).items()
    with pytest.raises(InputError, match="kind is 'chats': use auto, items, conversations"):
        Table(path, kind="chats")  # type: ignore[arg-type]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.jsonl is no such file: give a \.jsonl"):
        Table(tmp_path / "missing.jsonl")
    with pytest.raises(InputError, match="holds no train, validation or test file"):
        Table(tmp_path)
    (tmp_path / "words.txt").write_text("title\nJaws\n")
    with pytest.raises(InputError, match=r"words\.txt is no such file: give a \.jsonl"):
        Table(tmp_path / "words.txt")
    path = jsonl(tmp_path / "items.jsonl", {"name": "Jaws"})
    with pytest.raises(InputError, match="has no column 'title', it has 'name': say with mapping"):
        Table(path)
    with pytest.raises(InputError, match="has no column 'conversation' or 'messages'"):
        Table(path, kind="conversations")
    with pytest.raises(InputError, match="mapping has 'titel', which is no field of Item"):
        Table(path, mapping={"title": "name", "titel": "name"})
    (tmp_path / "items.csv").write_text("title\nJaws\n")
    with pytest.raises(InputError, match="has no column 'yaer', it has title"):
        Table(tmp_path / "items.csv", mapping={"year": "yaer"})
    (tmp_path / "items.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"items\.parquet cannot be read to its end"):
        Table(tmp_path / "items.parquet")
    rows = [{"title": f"Film {n * n * 7919 % 10007}"} for n in range(2_000)]
    short = jsonl(tmp_path / "short.jsonl.gz", *rows)
    short.write_bytes(short.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"short\.jsonl\.gz cannot be read to its end"):
        list(Table(short).items())


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = "title year titles genres messages conversations conversation prompt completion role from "
KEYS += "content value relevant id user reply items liked language"
TURNS = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "from", "value", "items"]), ANY), max_size=2
)
ROWS = st.dictionaries(st.sampled_from(KEYS.split()), st.one_of(ANY, TURNS))


@settings(deadline=None, max_examples=50)
@given(
    lines=st.lists(
        st.one_of(st.binary(max_size=30), ROWS.map(lambda row: json.dumps(row).encode())),
        max_size=8,
    )
)
def test_mangled_lines_never_raise(
    lines: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("jsonl")
    path = folder / "train.jsonl"
    path.write_bytes(b"\n".join([b'{"title": "Jaws", "prompt": "hi", "id": "x"}', *lines]))
    items = Table(folder, kind="items")
    titles = [i.title for i in items.items()]
    assert titles[:1] == ["Jaws"]
    chats = Table(folder, kind="conversations")
    ids = [e.id for e in chats.examples()]
    assert ids[:1] == ["x"]
    for source in (items, chats):
        read = source.report.kept + source.report.dropped[BROKEN]
        assert read == sum(bool(data.strip()) for data in path.read_bytes().split(b"\n"))
    table = folder / "table.csv"
    table.write_bytes(b"\n".join([b"title,year", b"Jaws,1975", *lines]))
    titles = [i.title for i in Table(table).items()]
    assert titles[:1] == ["Jaws"]
