from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmrec.datasets import llm_redial as module
from llmrec.datasets import load
from llmrec.datasets.base import BROKEN, part_of
from llmrec.datasets.llm_redial import DOMAINS, LlmRedial
from llmrec.errors import InputError
from llmrec.types import Example, Item, Message

TITLES: dict[str, Any] = {
    "A1": "Jaws [VHS]",
    "A2": "  The  Matrix (Widescreen DVD)",
    "A3": "Jaws",
    "A4": "Romeo &amp; Juliet VHS",
    "A5": "Her",
    "A6": "Alien (1979) [Blu-ray]",
    "A7": "Alien",
    "A8": "",
    "A9": "The Mummy",
    "B1": "The Mummy Returns (DVD)",
    "B2": "D. A. R. Y. L. - Data Analyzing Robot Youth Lifeform",
    "B3": 7,
}
TEXT = """5

User: Hi! I loved "Jaws" and told her so.
2001
And The Mummy Returns too.

Agent: Noted.
Anything else?

User: No.

Agent: Then watch the matrix!

User: Thanks.

6

User: I liked D.A.R.Y.L.

Agent: Fine. Goodbye!
"""


def case(number: Any, *recommended: str, **changed: Any) -> dict[str, Any]:
    known = {"user_likes": ["A3"], "user_dislikes": [], "rec_item": list(recommended)}
    return {f"conversation_{number}": {"conversation_id": number} | known | changed}


def user(key: str, *cases: Any, **changed: Any) -> dict[str, Any]:
    known = {
        "history_interaction": ["A3", "A5", "B1", "A1", "A9", "none"],
        "user_might_like": ["A2", "A1"],
        "Conversation": list(cases),
    }
    return {key: known | changed}


def in_part(part: str, number: int = 0) -> str:
    """A user of that part."""
    return [k for k in map("U{}".format, range(200)) if part_of(k) == part][number]


def write(
    folder: Path,
    *users: Any,
    text: str | bytes = TEXT,
    titles: Mapping[str, Any] | None = None,
    packed: bool = False,
) -> Path:
    lines = [u if isinstance(u, bytes) else json.dumps(u).encode() for u in users]
    files = {
        "final_data.jsonl": b"".join(line + b"\n" for line in lines),
        "Conversation.txt": text if isinstance(text, bytes) else text.encode(),
        "item_map.json": json.dumps(TITLES if titles is None else titles).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        target = folder / (name + ".gz" * packed)
        target.write_bytes(gzip.compress(data) if packed else data)
    return folder


def read(folder: Path, *users: Any, split: str = "train", **files: Any) -> list[Example]:
    return list(LlmRedial(write(folder, *users, **files)).examples(split))


TRAIN = in_part("train")


# One conversation.


def test_a_conversation_goes_up_to_where_the_agent_names_the_item(tmp_path: Path) -> None:
    (example,) = read(tmp_path, user(TRAIN, case(5, "A2")))
    opening = 'Hi! I loved "Jaws" and told her so.\n2001\nAnd The Mummy Returns too.'
    assert example.conversation.messages == (
        # "her" is no film, and the longer of two titles is meant.
        Message("user", opening, ("A1", "B1")),
        Message("assistant", "Noted.\nAnything else?"),
        Message("user", "No."),
    )
    assert example.conversation.language == "en"
    assert example.reply == "Then watch the matrix!"
    assert example.relevant == ("A2",)
    assert (example.id, example.dialogue, example.user) == ("5", "5", TRAIN)


def test_likes_and_history_know_one_edition_of_a_title(tmp_path: Path) -> None:
    (example,) = read(tmp_path, user(TRAIN, case(5, "A2", user_dislikes=["A5"])))
    assert example.likes == ("A1", "A2")
    assert example.history == ("A5", "B1", "A1", "A9")  # A3 is A1, which came last
    conversation = example.conversation
    assert conversation.liked == conversation.disliked == conversation.seen == ()


def test_the_agents_last_turn_where_none_names_the_item(tmp_path: Path) -> None:
    (example,) = read(tmp_path, user(TRAIN, case(6, "A4")))
    assert [m.role for m in example.conversation.messages] == ["user"]
    assert example.reply == "Fine. Goodbye!"


def test_the_main_part_of_a_title_will_do(tmp_path: Path) -> None:
    text = "1\nUser: Hi\nAgent: Try D.A.R.Y.L.!\nUser: Ok\nAgent: Bye\n"
    (example,) = read(tmp_path, user(TRAIN, case(1, "B2")), text=text)
    assert example.reply == "Try D.A.R.Y.L.!"


def test_an_item_that_the_user_names_first_is_told(tmp_path: Path) -> None:
    text = "1\nUser: Is Jaws good?\nAgent: Jaws is.\n"
    (example,) = read(tmp_path, user(TRAIN, case(1, "A1")), text=text)
    assert example.conversation.mentioned == example.relevant == ("A1",)


def test_short_titles_count_only_as_they_are_written(tmp_path: Path) -> None:
    text = "1\nUser: Hi\nAgent: I told her\nUser: So?\nAgent: Try Her.\n"
    (example,) = read(tmp_path, user(TRAIN, case(1, "A5")), text=text)
    assert example.reply == "Try Her."


def test_the_agent_may_open(tmp_path: Path) -> None:
    text = "1\nwords of nobody\nAgent: The Matrix?\nAgent: Or not?\nUser: Yes\n"
    (example,) = read(tmp_path, user(TRAIN, case(1, "A2")), text=text)
    assert example.conversation.messages == ()
    assert example.reply == "The Matrix?\nOr not?"


def test_what_cannot_be_used_is_counted(tmp_path: Path) -> None:
    text = "1\nUser: Hi\n2\nUser: Hi\nAgent: Jaws\n"
    cases = [case(1, "A1"), case(2), case(2, "A1"), case(3, "A1"), case(2**70, "A1")]
    source = LlmRedial(write(tmp_path, user(TRAIN, *cases, case(4, "A8")), text=text))
    assert list(source.examples()) == []
    assert source.report.dropped == {
        "conversation in which the agent says nothing": 1,
        "conversation whose recommended item has no title": 1,
        "conversation whose id came before": 1,
        "conversation that Conversation.txt does not hold": 3,
    }


# Items.


def test_items_are_titles_not_editions(tmp_path: Path) -> None:
    other = user(in_part("train", 1), history_interaction=["B2", "A1", "A3"])
    unseen = user(in_part("test"), history_interaction=["A4"])
    source = LlmRedial(write(tmp_path, user(TRAIN), other, unseen))
    assert list(source.items()) == [
        Item("A1", "Jaws", popularity=1.0),
        Item("A2", "The Matrix"),
        Item("A4", "Romeo & Juliet"),
        Item("A5", "Her", popularity=0.63093),
        Item("A6", "Alien", 1979),
        Item("A7", "Alien"),
        Item("A9", "The Mummy", popularity=0.63093),
        Item("B1", "The Mummy Returns", popularity=0.63093),
        Item("B2", TITLES["B2"], popularity=0.63093),
    ]
    assert source.report.kept == 9
    assert source.report.dropped == {
        "item without a title": 2,
        "item whose title another has, which stands for it": 1,
    }


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("My Pal", "My Pal"),
        ("DVD", "DVD"),
        ("V/H/S", "V/H/S"),
        ("Heat - DVD", "Heat"),
        ("Heat [VHS] (Full Screen Edition)", "Heat"),
        ("Heat (Region 2 PAL)", "Heat"),
        ("Tarzan &amp;amp; Jane", "Tarzan & Jane"),
        ("Birds, The VHS", "The Birds"),
    ],
)
def test_tags_of_films_are_no_title(tmp_path: Path, name: str, title: str) -> None:
    (item,) = LlmRedial(write(tmp_path, titles={"1": name})).items()
    assert item.title == title


def test_only_films_have_tags(tmp_path: Path) -> None:
    write(tmp_path / "Electronics", titles={"1": "Player DVD", "2": "Cable (2010)"})
    source = LlmRedial(tmp_path, domain="Electronics")
    assert [(i.title, i.year) for i in source.items()] == [
        ("Player DVD", None),
        ("Cable (2010)", None),
    ]


# Conversation.txt.


@pytest.mark.parametrize(
    ("numbers", "starts"),
    [
        ([], []),
        ([0, 1, 2], [0, 1, 2]),
        ([5, 6, 2012, 7, 3, 8], [0, 1, 3, 5]),
        ([5, 5, 6, 6, 7], [0, 2, 4]),
        ([1, 2, 2012], [0, 1]),
        ([1, 2, 2012, 5, 6, 7], [0, 1, 3, 4, 5]),
        ([1, 3, 2, 3], [0, 2, 3]),
    ],
)
def test_ids_go_up_one_by_one(numbers: list[int], starts: list[int]) -> None:
    assert module._starts(np.array(numbers, dtype=np.int64)) == starts


def test_digits_inside_a_conversation_are_text(tmp_path: Path) -> None:
    text = "\ufeff1\r\nUser: Hi\r\n\r\n1984\r\n\r\nAgent: Jaws\r\n2\r\nUser: Hi\r\nAgent: Her"
    first, second = read(tmp_path, user(TRAIN, case(2, "A5"), case("1", "A1")), text=text)
    assert (first.id, first.reply) == ("2", "Her")
    assert [m.content for m in second.conversation.messages] == ["Hi\n1984"]


def test_a_conversation_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    long = b"User: " + b"x" * 600_000 + b"\n"
    text = b"1\nUser: \xff\nAgent: Jaws\n2\n" + long * 2 + b"3\nUser: Hi\nAgent: Jaws\n"
    users = user(TRAIN, case(1, "A1"), case(2, "A1"), case(3, "A1"))
    source = LlmRedial(write(tmp_path, users, text=text))
    assert [e.id for e in source.examples()] == ["3"]
    assert [(p.file, p.line, p.reason) for p in source.report.problems] == [
        ("Conversation.txt", 1, "it has bytes that are not UTF-8 text"),
        ("Conversation.txt", 4, "the conversation has over 1,000,000 bytes"),
    ]


# Files and splits.


def test_packed_files_read_the_same(tmp_path: Path) -> None:
    users = user(TRAIN, case(6, "A4"), case(5, "A2"))
    plain = read(tmp_path / "plain" / "Movie", users)
    write(tmp_path / "packed", users, packed=True)
    assert len(plain) == 2
    assert list(LlmRedial(tmp_path / "packed").examples()) == plain
    assert list(load("llm_redial", tmp_path / "plain", domain="Movie").examples()) == plain
    whole = (tmp_path / "packed" / "Conversation.txt.gz").read_bytes()
    (tmp_path / "packed" / "Conversation.txt.gz").write_bytes(whole[:-20])
    source = LlmRedial(tmp_path / "packed")
    assert len(list(source.examples())) < 2
    assert "nothing can be read from here on" in source.report.problems[0].reason


def test_users_fall_into_parts(tmp_path: Path) -> None:
    users = [user(f"U{n}", case(n, "A1")) for n in range(300)]
    text = "".join(f"{n}\nUser: Hi\nAgent: Jaws\n" for n in range(300))
    source = LlmRedial(write(tmp_path, *users, text=text))
    parts = {s: [e.user for e in source.examples(s)] for s in source.example_splits}
    assert sorted(itertools.chain(*parts.values())) == sorted(f"U{n}" for n in range(300))
    assert 200 < len(parts["train"]) < 275
    assert [e.user for e in source.examples("test")] == parts["test"]
    other = LlmRedial(tmp_path, split_seed=1)
    assert [e.user for e in other.examples("test")] != parts["test"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it should hold final_data\.jsonl, Conversation\.txt"):
        LlmRedial(tmp_path)
    with pytest.raises(InputError, match=f"no domain 'Music': use {', '.join(DOMAINS)}"):
        LlmRedial(tmp_path, domain="Music")
    source = LlmRedial(write(tmp_path))
    with pytest.raises(InputError, match="no split 'all': use train, validation, test"):
        source.examples("all")
    with pytest.raises(InputError, match="one list of items"):
        source.items("test")
    (tmp_path / "item_map.json").write_text("[]")
    with pytest.raises(InputError, match="cannot be used, it is no JSON object"):
        list(source.items())


BAD: list[tuple[Any, str]] = [
    (b"{", "it is not JSON"),
    (b"\xff", "it has bytes that are not UTF-8 text"),
    ({TRAIN: []}, f"user '{TRAIN}' has no object"),
    ({TRAIN: {}}, f"user '{TRAIN}' has no list Conversation"),
    (user(TRAIN, 5), f"user '{TRAIN}' has a conversation that is no object"),
    (user(TRAIN, {"c": 5}), f"user '{TRAIN}' has a conversation without a conversation_id"),
    (user(TRAIN, case(None)), f"user '{TRAIN}' has a conversation without a conversation_id"),
    (user(TRAIN, case(5, rec_item=[5])), "rec_item is no list of ids"),
    (user(TRAIN, history_interaction={"A1": 1}), "history_interaction is no list of ids"),
]


def test_broken_records_are_told_and_left_out(tmp_path: Path) -> None:
    good = user(TRAIN, case(5, "A2", rec_item="A2", user_likes=None))
    source = LlmRedial(write(tmp_path, *(bad for bad, _ in BAD), good))
    assert [e.id for e in source.examples()] == ["5"]
    assert source.report.dropped[BROKEN] == len(BAD)
    assert [p.line for p in source.report.problems] == list(range(1, len(BAD) + 1))
    for problem, (_, said) in zip(source.report.problems, BAD, strict=True):
        assert problem.reason.startswith(said)


junk = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.sampled_from(["A1", "5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A line of a user in which something was replaced, removed or cut."""
    whole: Any = json.loads(json.dumps(user(TRAIN, case(6, "A4"), case(8, "A2"))))
    node = whole
    while True:
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if isinstance(node[key], (dict, list)) and node[key] and draw(st.booleans()):
            node = node[key]
            continue
        if draw(st.booleans()):
            node[key] = draw(junk)
        else:
            del node[key]
        break
    line = json.dumps(whole).encode()
    at = draw(st.integers(0, 2 * len(line)))
    return line[:at] + draw(st.binary(max_size=3)).replace(b"\n", b"") + line[at:]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lines=st.lists(mangled(), max_size=3),
    tail=st.lists(
        st.sampled_from([b"User: Jaws", b"Agent: Her", b"7", b"8", b"2001", b"", b"\xff"])
        | st.binary(max_size=8)
    ),
    titles=st.dictionaries(st.text(max_size=3), junk, max_size=3),
)
def test_no_record_raises(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    tail: list[bytes],
    titles: dict[str, Any],
) -> None:
    folder = tmp_path_factory.mktemp("mangled")
    good = user(TRAIN, case(5, "A2"))
    text = TEXT.encode() + b"\n".join(tail)
    source = LlmRedial(write(folder, good, *lines, text=text, titles=titles | TITLES))
    found = [e for s in source.example_splits for e in source.examples(s)]
    assert found[0].id == "5"
    items = {i.id for i in source.items()}
    for e in found:
        assert e == Example.from_dict(json.loads(json.dumps(e.to_dict())))
        assert items >= {*e.relevant, *e.likes, *e.history, *e.conversation.mentioned}
        roles = [m.role for m in e.conversation.messages] + ["assistant"]
        assert all(a != b for a, b in itertools.pairwise(roles))
