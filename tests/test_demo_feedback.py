"""Feedback: kept with consent alone, whole lines, deleted when asked, and read by trainings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrec.catalog import Catalog
from llmrec.datasets.folder import write
from llmrec.datasets.jsonl import Table
from llmrec.demo.feedback import (
    Asked,
    Consent,
    Feedback,
    Tally,
    asked_for,
    read_feedback,
)
from llmrec.demo.feedback_rows import SCHEMA, Choice
from llmrec.demo.feedback_source import FeedbackSource
from llmrec.demo.visit import Visit, answer
from llmrec.errors import HubError, InputError
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.prompting import ZeroShot, recommend_prompt
from llmrec.recommender import Recommender
from llmrec.records import Problem
from llmrec.training.examples import make_rows
from llmrec.types import Conversation, Item, Message, Preferences
from tests.loopback_hub import ROOT, LoopbackHub, run_client

FILMS = [Item(f"f{n}", f"Film {n}", 1990 + n, genres=("Drama",)) for n in range(9)]
ASKED = Asked(
    Conversation((Message("user", "Um drama — não muito longo"),)),
    Preferences(genres=("Drama",), language="pt"),
    {i.id: i.title for i in FILMS},
)


def agreed() -> Consent:
    consent = Consent()
    consent.given = True
    return consent


@pytest.fixture
def kept(tmp_path: Path) -> Feedback:
    return Feedback(tmp_path / "kept")


def lines(feedback: Feedback) -> list[dict[str, Any]]:
    assert feedback.folder is not None
    files = sorted(feedback.folder.glob("feedback-*.jsonl"))
    return [json.loads(x) for f in files for x in f.read_text(encoding="utf-8").splitlines()]


def vote(feedback: Feedback, consent: Consent, choice: Choice, **changes: Any) -> bool:
    sides = {"a": ("one", ("f1", "f2")), "b": ("two", ("f3", "f2")), **changes}
    return feedback.vote(consent, ASKED, sides["a"], sides["b"], choice, ("fit", "made up"))


# -- keeping ----------------------------------------------------------------------------------


def test_without_consent_nothing_is_written(kept: Feedback) -> None:
    consent = Consent()
    assert not consent.given
    assert not vote(kept, consent, "a")
    assert not kept.mark(consent, ASKED, "f1", "like")
    assert kept.folder is not None
    assert list(kept.folder.iterdir()) == []
    consent.given = True
    assert vote(kept, consent, "a")
    consent.given = False
    assert not vote(kept, consent, "b")
    assert len(lines(kept)) == 1


def test_a_row_holds_what_is_said_of_it_and_no_more(kept: Feedback) -> None:
    consent = agreed()
    assert vote(kept, consent, "b")
    assert kept.mark(consent, ASKED, "f1", "like", "one")
    voted, marked = lines(kept)
    head = {"schema", "id", "visit", "day", "kind", "things", "conversation", "preferences"}
    assert set(voted) == head | {"titles", "a", "b", "vote", "reasons"}
    assert set(marked) == head | {"titles", "item", "mark", "by"}
    assert voted["schema"] == SCHEMA
    assert voted["reasons"] == ["fit"]
    assert voted["visit"] == marked["visit"] == consent.id
    assert voted["id"] != marked["id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", voted["day"])  # no hour
    assert Consent().id != Consent().id
    assert kept.folder is not None
    (file,) = kept.folder.glob("*.jsonl")
    assert file.stat().st_mode & 0o077 == 0  # its owner's alone


def test_nowhere_to_keep() -> None:
    nowhere = Feedback(None)
    assert not nowhere.keeps
    assert not vote(nowhere, agreed(), "a")
    assert nowhere.tally() == Tally()
    assert nowhere.delete(Consent().id) == 0


def test_what_makes_no_sense_is_not_kept(kept: Feedback) -> None:
    assert not kept.mark(agreed(), ASKED, "no such film", "like")
    assert not kept.mark(agreed(), ASKED, "f1", "adore")
    assert not vote(kept, agreed(), "c")  # type: ignore[arg-type]
    assert lines(kept) == []


def test_many_write_at_once_in_whole_lines(kept: Feedback) -> None:
    other = (
        "import sys\nfrom tests.test_demo_feedback import *\n"
        "kept = Feedback(sys.argv[1], file_bytes=20_000)\n"
        "assert all(vote(kept, agreed(), 'a') for _ in range(60))"
    )
    child = subprocess.Popen([sys.executable, "-c", other, str(kept.folder)], cwd=ROOT)
    threads = [
        threading.Thread(target=lambda: [vote(kept, agreed(), "a") for _ in range(30)])
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert child.wait(timeout=60) == 0
    found = lines(kept)
    assert len(found) == len({r["id"] for r in found}) == 180


def test_files_rotate_and_the_folder_has_an_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small = Feedback(tmp_path, file_bytes=2_000, folder_bytes=6_000)
    done = [vote(small, agreed(), "a") for _ in range(30)]
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) > 2
    assert all(f.stat().st_size <= 2_000 for f in files)
    assert sum(f.stat().st_size for f in files) <= 6_000
    n = done.count(True)
    assert done == [True] * n + [False] * (30 - n)
    assert len(lines(small)) == n
    assert "the most it may" in caplog.text
    again = Feedback(tmp_path)  # a later start writes files of its own
    assert vote(again, agreed(), "b")
    assert len(list(tmp_path.glob("*.jsonl"))) == len(files) + 1
    assert again.tally().counts == {("one", "two"): {"first": n, "second": 1}}


def test_a_folder_that_is_gone_is_told_by_false(
    kept: Feedback, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept.folder is not None
    kept.folder.rmdir()
    assert not vote(kept, agreed(), "a")
    assert kept.tally() == Tally()
    assert "a row of feedback was not kept" in caplog.text
    assert "the votes kept so far cannot be read" in caplog.text


def test_an_overlong_row_is_not_kept(kept: Feedback, caplog: pytest.LogCaptureFixture) -> None:
    long = Conversation(tuple(Message("user", "x" * 8_000) for _ in range(30)))
    asked = Asked(long, Preferences(), ASKED.titles)
    assert not kept.mark(agreed(), asked, "f1", "like")
    assert "at most 200,000" in caplog.text


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="name a folder that can be written"):
        Feedback(tmp_path / "file" / "under")


# -- deleting ---------------------------------------------------------------------------------


def test_a_visit_is_deleted_and_no_other(kept: Feedback) -> None:
    mine, other = agreed(), agreed()
    for consent in (mine, other, mine):
        vote(kept, consent, "a")
    kept.mark(mine, ASKED, "f1", "like")
    assert kept.tally().counts == {("one", "two"): {"first": 3}}
    assert kept.delete(mine.id) == 3
    assert [r["visit"] for r in lines(kept)] == [other.id]
    assert kept.tally().counts == {("one", "two"): {"first": 1}}
    assert kept.delete(mine.id) == 0
    assert kept.delete(other.id) == 1
    assert kept.folder is not None
    assert other.id not in "".join(f.read_text() for f in kept.folder.glob("*.jsonl"))
    assert read_feedback(kept.folder, "dpo") == []  # what stands there instead is no row
    vote(kept, agreed(), "b")
    assert len(read_feedback(kept.folder, "dpo")) == 1


@pytest.mark.parametrize("wrong", ["", "a", '"', "e" * 31, "E" * 32, "e" * 32 + "\n"])
def test_only_an_id_deletes(kept: Feedback, wrong: str) -> None:
    vote(kept, agreed(), "a")
    with pytest.raises(InputError, match="no id of a visit"):
        kept.delete(wrong)
    assert len(lines(kept)) == 1


# -- reading ----------------------------------------------------------------------------------


def test_damaged_lines_are_reported_and_left_out(
    kept: Feedback, caplog: pytest.LogCaptureFixture
) -> None:
    vote(kept, agreed(), "a")
    assert kept.folder is not None
    (file,) = kept.folder.glob("*.jsonl")
    good = json.loads(file.read_text())
    bad = [
        b'{"schema": 1, "kind": "vo',
        b"\xff\xfe",
        b"[]",
        json.dumps({**good, "id": "x1", "schema": 2}).encode(),
        json.dumps({**good, "id": "x2", "kind": "guess"}).encode(),
        json.dumps({**good, "id": "x3", "vote": "c"}).encode(),
        json.dumps({**good, "id": "x4", "titles": []}).encode(),
        json.dumps({**good, "id": "x5", "preferences": {"year_min": "soon"}}).encode(),
        json.dumps({k: v for k, v in good.items() if k != "conversation"}).encode(),
        json.dumps({**good, "id": "x6", "a": None}).encode(),
    ]
    with file.open("ab") as to:
        to.write(b"\n".join(bad))  # and a writer that was killed within its line
    vote(kept, agreed(), "b")
    problems: list[Problem] = []
    assert len(read_feedback(kept.folder, "dpo", problems=problems)) == 2
    assert [p.line for p in problems] == list(range(2, 12))
    assert {p.file for p in problems} == {file.name}
    said = [p.reason for p in problems]
    for part, reason in zip(
        ("not JSON", "not UTF-8", "no JSON object", "schema is 2", "'guess'", "vote is 'c'",
         "item is 'f1'", "year_min", "it has no 'conversation'", "not subscriptable"),
        said, strict=True,
    ):  # fmt: skip
        assert part in reason
    assert f"{file.name}, line 5: its schema is 2" in caplog.text
    assert kept.tally().counts == {("one", "two"): {"first": 1, "second": 1}}


def test_a_pair_is_what_a_vote_says(kept: Feedback) -> None:
    for choice in ("a", "b", "equal", "bad"):
        vote(kept, agreed(), choice)  # type: ignore[arg-type]
    vote(kept, agreed(), "a", b=("two", ("f1", "f2")))  # the same list twice tells nothing
    vote(kept, agreed(), "a", b=("two", ()))
    assert kept.folder is not None
    first, second = read_feedback(kept.folder, "dpo")
    one, two = "1. Film 1\n2. Film 2\n", "1. Film 3\n2. Film 2\n"
    assert (first["chosen"][0]["content"], first["rejected"][0]["content"]) == (one, two)
    assert (second["chosen"][0]["content"], second["rejected"][0]["content"]) == (two, one)
    asked = recommend_prompt(ASKED.conversation, ASKED.preferences, {}, strategy=ZeroShot("turns"))
    assert first["prompt"] == [{"role": m.role, "content": m.content} for m in asked]
    full = read_feedback(kept.folder, "dpo", detail="full")[0]["prompt"]
    assert "genres: Drama" in full[0]["content"]  # as a model with another profile is asked
    labels = [
        (r["completion"][0]["content"], r["label"]) for r in read_feedback(kept.folder, "kto")
    ]
    assert labels == [
        *[(one, True), (two, False)],
        *[(one, False), (two, True)],
        *[(one, False), (two, False)],  # both bad; of two equal ones nothing is said
        (one, True),  # against an empty list
    ]


def test_the_last_mark_of_an_item_counts(kept: Feedback) -> None:
    consent = agreed()
    for item, mark in (("f1", "like"), ("f2", "like"), ("f3", "dislike"), ("f1", "none"),
                       ("f4", "dislike"), ("f4", "like")):  # fmt: skip
        assert kept.mark(consent, ASKED, item, mark)
    kept.mark(agreed(), ASKED, "f5", "like")
    assert kept.folder is not None
    mine, theirs = read_feedback(kept.folder)
    assert mine["relevant"] == ["f2", "f4"]
    assert theirs["relevant"] == ["f5"]
    assert mine["messages"][-1] == {"role": "assistant", "content": "1. Film 2\n2. Film 4\n"}
    assert mine["dialogue"] == consent.id
    labels = {r["completion"][0]["content"]: r["label"] for r in read_feedback(kept.folder, "kto")}
    assert labels == {
        f"1. Film {n}\n": liked for n, liked in ((2, True), (3, False), (4, True), (5, True))
    }


def test_no_such_place_or_form(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no"):
        read_feedback(tmp_path / "nowhere")
    with pytest.raises(InputError, match="use 'sft', 'dpo', 'kto'"):
        read_feedback(tmp_path, "ppo")  # type: ignore[arg-type]


def test_train_reads_the_rows(kept: Feedback, tmp_path: Path) -> None:
    """By its own readers: a file of conversations, and a folder as train/prepare.py writes it."""
    for n in range(40):  # so many visits that each part has some
        kept.mark(agreed(), ASKED, f"f{n % 9}", "like")
    assert kept.folder is not None
    rows = read_feedback(kept.folder)
    file = tmp_path / "liked.jsonl"
    file.write_text("".join(f"{json.dumps(r, ensure_ascii=False)}\n" for r in rows))
    table = Table(file)
    parts = ("train", "validation", "test")
    assert sum(len(list(table.examples(p))) for p in parts) == 40
    chats = [r for p in parts for r in make_rows(file, p, task="chat")]
    assert len(chats) == 40
    assert chats[0].answer[0].startswith("1. Film ")

    source = FeedbackSource(kept.folder, Catalog.from_items(FILMS))
    write(source, tmp_path / "data", progress=False)
    lists = [r for p in parts for r in make_rows(tmp_path / "data", p, task="recommend")]
    assert len(lists) == 40
    row = rows[0]
    asked = [{"role": m.role, "content": m.content} for m in lists[0].prompt]
    assert asked == row["messages"][:-1]
    answers = {"".join(x.answer) for x in lists}
    assert answers == {r["messages"][-1]["content"] for r in rows}


def test_the_source_reports(kept: Feedback) -> None:
    kept.mark(agreed(), ASKED, "f1", "like")
    kept.mark(agreed(), ASKED, "f8", "like")
    assert kept.folder is not None
    (file,) = kept.folder.glob("*.jsonl")
    with file.open("ab") as to:
        to.write(b"{}\n")
    source = FeedbackSource(kept.folder, Catalog.from_items(FILMS[:5]))
    kept_ones, reports = [], []
    for part in source.example_splits:
        kept_ones += list(source.examples(part))
        reports.append(source.report)
    assert [e.relevant for e in kept_ones] == [("f1",)]
    assert sum(r.dropped["nothing liked is in the catalogue"] for r in reports) == 1
    assert all(r.problems[0].line == 3 for r in reports)
    with pytest.raises(InputError, match="it has train"):
        source.items("test")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of trl and what it is built on
def test_trl_trains_on_the_rows(kept: Feedback, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    from tests import tiny

    for choice in ("a", "b", "bad", "a"):
        vote(kept, agreed(), choice)  # type: ignore[arg-type]
    kept.mark(agreed(), ASKED, "f1", "like")
    kept.mark(agreed(), ASKED, "f2", "dislike")
    assert kept.folder is not None
    model = str(tiny.folder(tmp_path / "model"))
    common: dict[str, Any] = {
        "max_steps": 1, "per_device_train_batch_size": 2, "report_to": "none", "use_cpu": True,
        "bf16": False, "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip
    for form, kind in (("sft", "SFT"), ("dpo", "DPO"), ("kto", "KTO")):
        rows = Dataset.from_list(read_feedback(kept.folder, form))  # type: ignore[arg-type]
        config = getattr(trl, f"{kind}Config")(output_dir=str(tmp_path / kind), **common)
        trainer = getattr(trl, f"{kind}Trainer")(
            model=model,
            args=config,
            train_dataset=rows,
            processing_class=tiny.tokenizer(),
        )
        assert np.isfinite(trainer.train().training_loss), kind


def test_the_columns_are_those_of_trl(kept: Feedback) -> None:
    vote(kept, agreed(), "a")
    kept.mark(agreed(), ASKED, "f1", "like")
    assert kept.folder is not None
    (pair,), labelled = read_feedback(kept.folder, "dpo"), read_feedback(kept.folder, "kto")
    assert set(pair) == {"prompt", "chosen", "rejected"}
    assert all(set(r) == {"prompt", "completion", "label"} for r in labelled)
    assert {type(r["label"]) for r in labelled} == {bool}
    for turns in (*pair.values(), *(r[k] for r in labelled for k in ("prompt", "completion"))):
        assert all(set(t) == {"role", "content"} for t in turns)


# -- of a talk --------------------------------------------------------------------------------


def test_what_was_asked_when_an_item_was_shown() -> None:
    films = [
        Item(f"{g}{n}", f"{g} {n}", 1990 + n, genres=(g,)) for g in ("Drama", "Comedy")
        for n in range(5)
    ]  # fmt: skip
    recommender = Recommender(
        ScriptedModel(scores=lambda tokens: np.zeros(260), name="scripted"),
        Catalog.from_items(films),
        profile=Profile(lead="rules", writes=False),
    )
    visit = Visit()
    for message in ("a drama", " ", "a comedy instead"):
        list(answer(recommender, visit, message))
    visit.mark("Comedy1", "like")
    asked = asked_for(recommender, visit, "Comedy1")
    assert asked is not None
    assert asked.preferences.genres == ("Comedy",)
    said = asked.conversation.messages
    assert [m.role for m in said] == ["user", "assistant", "user"]
    assert said[2].content == "a comedy instead"
    assert "Drama1" in said[1].items
    assert asked.conversation.liked == ()  # the answer is not in the question
    assert asked.titles["Comedy1"] == "Comedy 1"
    first = asked_for(recommender, visit, "Drama1")
    assert first is not None
    assert [m.content for m in first.conversation.messages] == ["a drama"]
    assert asked_for(recommender, visit, "no such film") is None
    visit.other = lambda: recommender  # a catalogue that a visitor brought is nobody else's
    assert asked_for(recommender, visit, "Comedy1") is None


# -- the Hub ----------------------------------------------------------------------------------

PUSH = """
import logging, time
from llmrec.demo.feedback import Asked, Consent, Feedback
from llmrec.errors import HubError
from llmrec.types import Conversation, Message, Preferences
logging.basicConfig(level="WARNING")
kept = Feedback(sys.argv[1] or None, "me/votes", batch=3)
mine, other = Consent(), Consent()
mine.given = other.given = True
titles = {"f1": "Film 1", "f2": "Film 2"}

def vote(consent, choice, said="a drama"):
    asked = Asked(Conversation((Message("user", said),)), Preferences(), titles)
    assert kept.vote(consent, asked, ("one", ("f1",)), ("two", ("f2",)), choice)
"""


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        yield server


def pushed(hub: LoopbackHub) -> list[dict[str, Any]]:
    tree = hub.tree("me/votes", "dataset")
    data = [x for n, x in sorted(tree.items()) if n.startswith("feedback-")]
    return [json.loads(line) for x in data for line in x.splitlines()]


def test_batches_reach_the_data_set_and_deletions_follow(hub: LoopbackHub, tmp_path: Path) -> None:
    code = PUSH + (
        "for n in range(4): vote(mine, 'a')\n"  # a batch of three, or of four
        "for _ in range(200):\n"
        "    if kept._sent: break\n"
        "    time.sleep(0.05)\n"
        "vote(other, 'b', 'my token is hf_' + 'a' * 34)\n"
        "kept.close()\n"
        "out = [kept.push()]\n"
        "out.append(kept.delete(mine.id))\n"
        "out.append(bool(kept.push()))\n"
        "print(json.dumps([mine.id, *out]))\n"
    )
    done = run_client(code, hub, tmp_path / "home", "")
    assert done.returncode == 0, done.stderr
    mine, nothing_new, gone, again = json.loads(done.stdout)
    assert nothing_new == ""
    assert gone == 4
    assert again is True
    assert len(hub.commits("me/votes", "dataset")) >= 3  # batch, close, deletion
    (row,) = pushed(hub)
    assert row["vote"] == "b"
    assert row["conversation"]["messages"][0]["content"] == "my token is hf_(token)"
    assert not [n for n in hub.tree("me/votes", "dataset") if "lock" in n]
    assert "Traceback" not in done.stderr
    assert mine not in json.dumps(pushed(hub))


def test_what_waits_is_pushed_at_the_end_or_stays(hub: LoopbackHub, tmp_path: Path) -> None:
    say = "\nprint(kept.folder)"
    done = run_client(PUSH + "with kept: vote(mine, 'equal')" + say, hub, tmp_path / "home", "")
    assert (done.returncode, done.stderr) == (0, "")
    assert [r["vote"] for r in pushed(hub)] == ["equal"]
    assert not Path(done.stdout.strip()).exists()
    done = run_client(PUSH + "vote(mine, 'bad')" + say, hub, tmp_path / "home", "")
    left = Path(done.stdout.strip())
    assert f"1 rows of feedback were not pushed: {left}" in done.stderr
    assert [r["label"] for r in read_feedback(left, "kto")] == [False, False]
    shutil.rmtree(left)


def test_a_hub_that_refuses_loses_nothing(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.fault("commit", status=403, times=99)
    code = PUSH + (
        "vote(mine, 'a')\n"
        "kept.close()\n"
        "try: kept.push()\n"
        "except HubError as e: print(json.dumps(str(e)))\n"
    )
    place = tmp_path / "kept"
    done = run_client(code, hub, tmp_path / "home", str(place))
    assert done.returncode == 0, done.stderr
    assert "write access" in json.loads(done.stdout)
    assert str(place) in json.loads(done.stdout)
    assert "feedback waits for the next push" in done.stderr
    assert len(read_feedback(place, "dpo")) == 1
    hub.heal()
    done = run_client(PUSH + "kept.push()", hub, tmp_path / "home", str(place))
    assert done.returncode == 0, done.stderr
    assert [r["vote"] for r in pushed(hub)] == ["a"]


def test_pushing_needs_a_data_set_and_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="no data set"):
        Feedback(tmp_path).push()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: False)
    with pytest.raises(HubError, match="no token"):
        Feedback(tmp_path, "me/votes")
    with pytest.raises(InputError, match="no name of a repository"):
        Feedback(tmp_path, "votes")
