from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.catalog import Catalog
from llmrec.datasets import Report
from llmrec.datasets.base import BROKEN
from llmrec.datasets.card import dataset_card
from llmrec.datasets.folder import Folder, Summary, write
from llmrec.datasets.journal import fingerprints
from llmrec.datasets.rows import from_values, read, save
from llmrec.errors import InputError
from llmrec.types import Conversation, Example, Item, Message
from tests.loopback_hub import LoopbackHub, run_client
from train import prepare

ROOT = Path(__file__).resolve().parents[1]
REDIAL = ROOT.parent / "shared" / "data" / "redial"


class Fake:
    """Examples and items with what a real source has: some left out, some broken."""

    name = "fake"
    title = "Fake *films* | <b>bold</b>"
    homepage = "https://example.org/fake"
    license = "cc-by-4.0"
    citation = "Nobody: ```fake```, 2020."
    example_splits: tuple[str, ...] = ("train", "test")
    item_splits: tuple[str, ...] = ("train",)

    def __init__(self, n: int = 23, fails_at: int = -1, pause_s: float = 0.0) -> None:
        self.n, self.fails_at, self.pause_s = n, fails_at, pause_s
        self.report = Report()
        self.read = 0

    def _numbers(self) -> Iterator[int]:
        self.report = Report()
        for i in range(self.n):
            if self.read == self.fails_at:
                raise ConnectionAbortedError("the plug was pulled")
            self.read += 1
            if self.pause_s:
                time.sleep(self.pause_s)
            if i % 7 == 3:
                self.report.broken("fake.jsonl", i + 1, "it is not JSON")
            elif i % 5 == 1:
                self.report.drop("too short")
            else:
                self.report.kept += 1
                yield i

    def examples(self, split: str = "train") -> Iterator[Example]:
        for i in self._numbers():
            said = (Message("user", f"Like {i}?", (str(i),)), Message("assistant", "No."))
            yield Example(
                Conversation(said[: 1 + i % 2], liked=("1",), language=("en", "pt", "")[i % 3]),
                relevant=(str(i), "2"),
                reply=f"Não, {split} {i}",
                id=f"{split}-{i}",
                dialogue=f"d{i // 2}",
            )

    def items(self, split: str = "train") -> Iterator[Item]:
        for i in self._numbers():
            # One in five has no title, so that no catalogue could hold it.
            title = "" if i % 5 == 4 else f"Film {i}"
            yield Item(str(i), title, 1990 + i, titles={"pt": (f"Filme {i}",)}, genres=("Drama",))


class Columns(Fake):
    """Items only, in Arrow tables of four rows, which know their place."""

    example_splits = ()
    widths: list[int]

    def tables(self, split: str, after: Any = None) -> Iterator[tuple[Any, dict[str, Any]]]:
        import pyarrow as pa

        start = after["row"] if after else 0
        self.report = Report.from_dict(after["report"]) if after else Report()
        self.widths = []
        for row in range(start, self.n, 4):
            if self.read == self.fails_at:
                raise ConnectionAbortedError("the plug was pulled")
            self.read += 1
            numbers = range(row, min(row + 4, self.n))
            self.report.kept += len(numbers)
            self.report.drop("twice")
            self.widths.append(len(numbers))
            said = {"title": [f"Product {i}" for i in numbers], "id": [str(i) for i in numbers]}
            cursor = {"row": row + 4, "report": self.report.to_dict()}
            yield pa.table(said | {"year": [2000] * len(numbers)}), cursor


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def quietly(source: Any, folder: Path, **options: Any) -> Summary:
    return write(source, folder, **{"shard_rows": 5, "progress": False} | options)


def prepared(tmp_path: Path, source: Any = None, **options: Any) -> Folder:
    return quietly(source or Fake(), tmp_path / "made", **options).folder


# What goes in comes out.

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.lists(TEXT, max_size=3).map(tuple)
EXAMPLES = st.builds(
    Example,
    st.builds(
        Conversation,
        st.lists(
            st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT, IDS),
            max_size=3,
        ).map(tuple),
        *[IDS] * 3,
        st.sampled_from(["", "en", "pt", "es"]),
    ),
    IDS,
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    IDS,
    IDS,
)
ITEMS = st.builds(
    Item,
    id=TEXT.map(lambda s: s + "x"),
    title=TEXT.map(lambda s: s + "x"),
    year=st.none() | st.integers(1000, 2100),
    original_title=TEXT,
    titles=st.dictionaries(TEXT, IDS, max_size=2),
    genres=IDS,
    cast=IDS,
    keywords=IDS,
    runtime=st.none() | st.integers(1, 100_000),
    description=TEXT,
    descriptions=st.dictionaries(TEXT, TEXT, max_size=2),
    popularity=st.floats(0, 1),
    rating=st.none() | st.floats(0, 10),
    price=st.none() | st.floats(0, 1e9),
)


def again(table: str, values: list[Any], format: str, file: Path) -> list[Any]:
    def bad(i: int, reason: str) -> None:
        raise AssertionError(f"{values[i]} was refused: {reason}")

    save(file, from_values(table, values, format, bad), format)
    return list(read(table, file, format))


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_examples_and_items_come_back_as_they_were(
    format: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("rows") / "rows"

    @given(st.lists(EXAMPLES, min_size=1, max_size=4), st.lists(ITEMS, min_size=1, max_size=4))
    @settings(max_examples=60)
    def come_back(examples: list[Example], items: list[Item]) -> None:
        assert again("examples", examples, format, file) == examples
        back = again("items", items, format, file)
        assert back == items
        assert [dict(i.descriptions) for i in back] == [dict(i.descriptions) for i in items]

    come_back()


def test_items_come_back_from_csv_in_a_catalogue_s_form(films: list[Item], tmp_path: Path) -> None:
    assert again("items", films, "csv", tmp_path / "films.csv") == films
    odd = Item("1", 'Odd\r\n"title", with; all', genres=("a;b", "c|d"), description="two\nlines")
    back = again("items", [odd], "csv", tmp_path / "odd.csv")
    assert back == [Item("1", odd.title, genres=("a,b", "c,d"), description="two\nlines")]


def test_a_catalogue_reads_the_files_of_items(films: list[Item], tmp_path: Path) -> None:
    class Films(Fake):
        example_splits = ()

        def items(self, split: str = "train") -> Iterator[Item]:
            return iter(films)

    openers: dict[str, Callable[..., Catalog]] = {
        "parquet": Catalog.from_parquet,
        "jsonl": Catalog.from_jsonl,
        "csv": Catalog.from_csv,
    }
    for format, opened in openers.items():
        folder = quietly(Films(), tmp_path / format, format=format, shard_rows=100).folder
        catalog = opened(folder.path / f"items/train-00000-of-00001.{format}", progress=False)
        assert list(catalog) == list(folder.items()) == films
        assert list(folder.items()) == films


# The folder.


def test_a_folder_tells_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "fake.jsonl").write_text("{}")
    source = Fake()
    options = {"min": 3, "extra": tmp_path / "raw" / "fake.jsonl"}
    made = quietly(source, tmp_path / "made", path=tmp_path / "raw", options=options)
    folder = Folder.open(tmp_path / "made")
    assert folder == made.folder
    assert made.made
    assert made.rows_before == 0
    assert folder.splits == {"examples": ("train", "test"), "items": ("train",)}
    assert list(folder.examples("train")) == list(source.examples("train"))
    assert list(folder.examples("test")) == list(source.examples("test"))
    assert list(folder.items()) == [i for i in source.items() if i.title]
    assert folder.counts == {"examples": {"train": 15, "test": 15}, "items": {"train": 11}}
    train = folder.meta["tables"]["examples"]["train"]
    assert train["dropped"] == {"too short": 5, BROKEN: 3}
    assert [f["rows"] for f in train["files"]] == [5, 5, 5]
    # Four items without a title are broken records too, told of by their number in the stream.
    assert folder.meta["tables"]["items"]["train"]["dropped"] == {"too short": 5, BROKEN: 3 + 4}
    lines = (tmp_path / "made/problems.jsonl").read_text().splitlines()
    said = [json.loads(line) for line in lines]
    assert said == folder.meta["problems"]
    assert said[0] == {
        "table": "examples",
        "split": "train",
        "file": "fake.jsonl",
        "line": 4,
        "reason": "it is not JSON",
    }
    assert (said[-1]["file"], said[-1]["reason"]) == (
        "items/train",
        "it cannot be written: it has no title",
    )
    assert [f["file"] for f in folder.meta["config"]["sources"]] == ["fake.jsonl"] * 2
    assert folder.meta["config"]["options"] == {"min": 3, "extra": "fake.jsonl"}
    assert folder.meta["languages"] == ["en", "pt"]
    names = list(contents(folder.path))
    assert names == sorted(["README.md", "prepare.json", "problems.jsonl",
        *(f"examples/{s}-0000{i}-of-00003.parquet" for s in ("test", "train") for i in range(3)),
        *(f"items/train-0000{i}-of-00003.parquet" for i in range(3))])  # fmt: skip
    assert all(os.fsencode(tmp_path) not in data for data in contents(folder.path).values())
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["made", "raw"]
    assert "examples train: 15 kept, dropped: 5 too short; 3 broken record" in str(made)


def test_the_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    first, second = (quietly(Fake(), tmp_path / name).folder for name in "ab")
    other = quietly(Fake(24), tmp_path / "c").folder
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_records_that_cannot_be_written_are_left_out(tmp_path: Path) -> None:
    class Odd(Fake):
        example_splits = ("train",)

        def examples(self, split: str = "train") -> Iterator[Any]:
            self.report = Report()
            yield Example(Conversation(), id="good")
            yield Example(Conversation(), reply="half \ud800", id="bad")
            yield Example(Conversation(), relevant=(7,), id="number")  # type: ignore[arg-type]
            yield None
            yield Example(Conversation(), id="good too")

        def items(self, split: str = "train") -> Iterator[Item]:
            self.report = Report()
            yield Item("1", "Good", price=1)
            yield Item("2", "Half \udc00")
            yield Item("3", "Far", year=3000)
            yield Item("4", "Long", description="x" * 200_000)

    folder = prepared(tmp_path, Odd())
    assert [e.id for e in folder.examples()] == ["good", "good too"]
    assert [i.id for i in folder.items()] == ["1", "4"]
    assert [p["line"] for p in folder.meta["problems"]] == [2, 3, 4, 2, 3]
    assert "year is 3000" in folder.meta["problems"][-1]["reason"]
    items = quietly(Odd(), tmp_path / "csv", format="csv", tables=["items"]).folder
    assert [i.id for i in items.items()] == ["1"]
    assert "over 131,072 characters" in items.meta["problems"][-1]["reason"]


def test_splits_without_a_row(tmp_path: Path) -> None:
    class Half(Fake):
        def examples(self, split: str = "train") -> Iterator[Example]:
            return (e for e in super().examples(split) if split == "train")

    folder = prepared(tmp_path, Half())
    assert folder.counts["examples"] == {"train": 15, "test": 0}
    assert list(folder.examples("test")) == []
    assert "test" not in (folder.path / "README.md").read_text().partition("\n---\n")[0]
    with pytest.raises(InputError, match="no examples of the split 'dev': it has train, test"):
        folder.examples("dev")
    with pytest.raises(InputError, match="not one row to write, 0 were left out"):
        quietly(Fake(0), tmp_path / "none")
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_a_limit_keeps_all_items_where_there_are_examples(tmp_path: Path) -> None:
    folder = prepared(tmp_path, limit=7)
    assert folder.counts == {"examples": {"train": 7, "test": 7}, "items": {"train": 11}}
    items = quietly(Fake(), tmp_path / "items", limit=7, tables=["items"]).folder
    assert items.counts == {"items": {"train": 7}}
    assert list(items.items()) == list(itertools.islice(folder.items(), 7))
    columns = quietly(Columns(), tmp_path / "columns", limit=7).folder
    assert [i.id for i in columns.items()] == [str(n) for n in range(7)]


def test_columns_are_taken_as_they_are(tmp_path: Path) -> None:
    source = Columns()
    folder = prepared(tmp_path, source)
    assert source.widths == [4, 4, 4, 4, 4, 3]
    assert [f["rows"] for f in folder.meta["tables"]["items"]["train"]["files"]] == [8, 8, 7]
    assert list(folder.items()) == [Item(str(i), f"Product {i}", 2000) for i in range(23)]
    assert folder.meta["tables"]["items"]["train"]["dropped"] == {"twice": 6}

    class Wrong(Columns):
        column = ("colour", ["red"])

        def tables(self, split: str, after: Any = None) -> Iterator[tuple[Any, dict[str, Any]]]:
            import pyarrow as pa

            self.report = Report()
            name, values = self.column
            yield pa.table({"id": ["1"], "title": ["A"], name: values}), {}

    with pytest.raises(InputError, match="items have no column 'colour': use id, title"):
        quietly(Wrong(), tmp_path / "wrong")
    Wrong.column = ("year", ["last year"])
    with pytest.raises(InputError, match="a column of another type"):
        quietly(Wrong(), tmp_path / "wrong")


# What is refused.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "xml"}, "no file format 'xml': use parquet, jsonl, csv"),
        ({"format": "csv"}, "examples cannot be written as csv.*use parquet or jsonl"),
        ({"tables": ["users"]}, r"the tables are \['users'\]: use examples or items, or both"),
        ({"shard_rows": 0}, "shard_rows is 0: give at least 1"),
        ({"limit": -1}, "limit is -1: give at least 1"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        prepared(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_would_be_a_path(tmp_path: Path) -> None:
    source = Fake()
    source.item_splits = ("../../train",)
    with pytest.raises(InputError, match="letters, digits and underscores are allowed"):
        prepared(tmp_path, source)


def test_what_is_there_and_foreign_stays(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(InputError, match="is no folder of prepared data: give another place"):
            prepared(tmp_path, restart=restart)
    assert contents(tmp_path) == {"made/thesis.tex": b"years of work"}
    with pytest.raises(InputError, match="holds no prepared data"):
        Folder.open(tmp_path / "made")


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    assert prepared(tmp_path).counts["items"] == {"train": 11}


def test_a_whole_folder_is_left_alone_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "fake.jsonl"
    file.write_text("one")
    given: dict[str, Any] = {"path": file, "options": {"min": 1}}
    before = contents(prepared(tmp_path, **given).path)
    again = quietly(source := Fake(), tmp_path / "made", **given)
    assert not again.made
    assert "nothing to do" in str(again)
    assert source.read == 0
    for changed, said in [
        ({"options": {"min": 2}}, "the option min was 1 and is 2"),
        ({"options": {}}, "the option min was 1 and is None"),
        ({"limit": 3}, "limit was None and is 3"),
        ({"format": "jsonl"}, "format was 'parquet' and is 'jsonl'"),
    ]:
        with pytest.raises(InputError, match=f"prepared otherwise, {said}: .*--restart"):
            prepared(tmp_path, **given | changed)
    file.write_text("two")
    with pytest.raises(InputError, match=r"the file fake\.jsonl has changed"):
        prepared(tmp_path, **given)
    assert contents(tmp_path / "made") == before
    anew = prepared(tmp_path, restart=True, **given)
    assert contents(anew.path).keys() == before.keys()
    assert contents(anew.path) != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake.jsonl", "made"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f / "prepare.json").write_text("{"), "prepare.json is damaged"),
        (lambda f: (f / "prepare.json").write_text('{"version": 1}'), "prepare.json is damaged"),
        (lambda f: (f / "prepare.json").write_text('{"version": 2}'), "by a newer llmrec"),
        (lambda f: (f / "items/train-00000-of-00003.parquet").unlink(), "missing or cut short"),
        (lambda f: os.truncate(f / "items/train-00000-of-00003.parquet", 9), "or cut short"),
    ],
)
def test_a_damaged_folder(harm: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    harm(folder.path)
    with pytest.raises(InputError, match=said):
        Folder.open(folder.path)
    with pytest.raises(InputError, match=f"{said}.*--restart"):
        prepared(tmp_path)
    assert prepared(tmp_path, restart=True).counts["items"] == {"train": 11}


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_file_with_other_bytes(format: str, tmp_path: Path) -> None:
    folder = prepared(tmp_path, format=format)
    file = folder.path / f"items/train-00000-of-00003.{format}"
    file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(InputError, match="is damaged, prepare the data anew"):
        list(Folder.open(folder.path).items())


def test_a_folder_from_elsewhere_leads_nowhere_else(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    meta = json.loads((folder.path / "prepare.json").read_text())
    meta["tables"]["items"]["../../secret"] = meta["tables"]["items"].pop("train")
    (folder.path / "prepare.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="is damaged"):
        Folder.open(folder.path)


# Interrupted, it goes on.


@pytest.mark.parametrize("kind", [Fake, Columns])
def test_it_goes_on_from_wherever_it_was_stopped(
    kind: type[Fake], tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("stopped")

    @given(
        stops=st.lists(st.integers(0, 60), max_size=3),
        shard_rows=st.integers(1, 20),
        limit=st.none() | st.integers(1, 20),
        format=st.sampled_from(["parquet", "jsonl"]),
    )
    @settings(max_examples=8)
    def goes_on(stops: list[int], shard_rows: int, limit: int | None, format: str) -> None:
        shutil.rmtree(top)
        given: dict[str, Any] = {"shard_rows": shard_rows, "limit": limit, "format": format}
        whole = quietly(kind(), top / "whole", **given).folder
        for n in stops:
            with suppress(InputError):  # the plug may be pulled too late
                quietly(kind(fails_at=n), top / "made", **given)
        quietly(kind(), top / "made", **given)
        assert contents(top / "made") == contents(whole.path)
        assert sorted(p.name for p in top.iterdir()) == ["made", "whole"]

    goes_on()


def test_finished_shards_are_not_read_again_from_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the plug was pulled"):
        prepared(tmp_path, Columns(fails_at=5))
    source = Columns()
    again = quietly(source, tmp_path / "made")
    assert again.rows_before == 16
    assert source.widths == [4, 3]
    assert "16 were there" in str(again)


def interrupted(tmp_path: Path, **options: Any) -> Path:
    with pytest.raises(InputError, match="the plug was pulled"):
        prepared(tmp_path, Fake(fails_at=30), **options)
    return tmp_path / ".made.part"


def test_a_journal_cut_anywhere(tmp_path: Path) -> None:
    whole = contents(quietly(Fake(), tmp_path / "whole").folder.path)
    part = interrupted(tmp_path)
    journal = (part / "journal.jsonl").read_bytes()
    shutil.copytree(part, tmp_path / "kept")
    ends = [i + 1 for i, byte in enumerate(journal) if byte == ord("\n")]
    for n in (0, 1, *ends, ends[1] - 1, ends[2] + 1, ends[2] + 40):
        shutil.rmtree(tmp_path / "made", ignore_errors=True)
        shutil.copytree(tmp_path / "kept", part, dirs_exist_ok=True)
        (part / "journal.jsonl").write_bytes(journal[:n])
        (part / "folder/examples/test-00000.parquet.tmp").write_bytes(b"half of a sh")
        assert contents(prepared(tmp_path).path) == whole


def test_another_configuration_does_not_go_on(tmp_path: Path) -> None:
    file = tmp_path / "fake.jsonl"
    file.write_text("one")
    given: dict[str, Any] = {"path": file, "options": {"min": 1}}
    part = interrupted(tmp_path, **given)
    kept = contents(part)
    with pytest.raises(InputError, match=r"but the option min was 1 and is 2: .*--restart"):
        prepared(tmp_path, **given | {"options": {"min": 2}})
    with pytest.raises(InputError, match="but shard_rows was 5 and is 6"):
        prepared(tmp_path, **given, shard_rows=6)
    file.write_text("two")
    with pytest.raises(InputError, match=r"but the file fake\.jsonl has changed"):
        prepared(tmp_path, **given)
    assert contents(part) == kept
    assert prepared(tmp_path, restart=True, **given).counts["items"] == {"train": 11}
    assert not part.exists()


def test_another_version_does_not_go_on(tmp_path: Path) -> None:
    journal = interrupted(tmp_path) / "journal.jsonl"
    head, rest = journal.read_text().split("\n", 1)
    journal.write_text(f"{json.dumps(json.loads(head) | {'llmrec': '0.0.1'})}\n{rest}")
    with pytest.raises(InputError, match="but the version of llmrec was another"):
        prepared(tmp_path)


def test_what_a_fingerprint_sees(tmp_path: Path) -> None:
    def seen(place: Path) -> list[tuple[str, str]]:
        return [(entry["file"], entry["blake2b"]) for entry in fingerprints(place)]

    raw = tmp_path / "raw"
    for name in ("b.csv", "sub/a.csv", ".hidden/x", "films.lance/catalog.json", ".x"):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_text("1")
    prepared(raw)  # what llmrec made beside the data is no source
    assert [name for name, _ in seen(raw)] == ["b.csv", "sub/a.csv"]
    assert seen(raw / "b.csv") == seen(raw)[:1]
    assert fingerprints(None) == fingerprints("no file") == fingerprints(7) == []
    big = tmp_path / "big"
    big.touch()
    os.truncate(big, 20 << 20)
    before = {big.stat().st_size: seen(big)}
    for at in (5, (20 << 20) - 5):
        with big.open("r+b") as out:
            out.seek(at)
            out.write(b"x")
        assert seen(big) not in before.values()
        before[at] = seen(big)
    os.truncate(big, 21 << 20)
    assert seen(big) not in before.values()


def test_a_replacement_goes_on_too(tmp_path: Path) -> None:
    old = contents(prepared(tmp_path).path)
    interrupted(tmp_path, restart=True, options={"min": 1})
    assert contents(tmp_path / "made") == old
    again = quietly(Fake(), tmp_path / "made", options={"min": 1})
    assert again.rows_before > 0
    assert again.folder.meta["config"]["options"] == {"min": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_two_runs_at_once(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    part = interrupted(tmp_path)
    with (part / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"another run is at work in .*: wait until"):
            prepared(tmp_path)
    assert prepared(tmp_path).counts["items"] == {"train": 11}


def kill_at_steps(top: Path, stride: int, replace: bool) -> None:
    """Run in a process of its own: children die at the k-th call that touches the disk."""
    import pyarrow.parquet  # noqa: F401 - once, before the children

    whole = contents(quietly(Fake(6), top / "whole", shard_rows=3).folder.path)
    steps = 0
    for k in itertools.count(1, stride):
        shutil.rmtree(top / "made", ignore_errors=True)
        if replace:
            quietly(Fake(6), top / "made", shard_rows=3, limit=1)
        child = os.fork()
        if child == 0:
            die_at(k)
            quietly(Fake(6), top / "made", shard_rows=3, restart=replace)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert killed in (0, -signal.SIGKILL), killed
        if replace:  # at no moment is there neither the old nor the new
            aside = top / ".made.old"
            there = Folder.open(top / "made" if (top / "made").exists() else aside)
            assert there.counts["examples"]["train"] in (1, 4), there.counts
        begun = not replace or (top / ".made.part/journal.jsonl").exists()
        done = (top / "made").exists() and contents(top / "made") == whole
        quietly(Fake(6), top / "made", shard_rows=3, restart=not begun and not done)
        assert contents(top / "made") == whole, k
        assert sorted(p.name for p in top.iterdir()) == ["made", "whole"], k
        if killed == 0:
            break
        steps += 1
    print(steps)


def die_at(k: int) -> None:
    left = k

    def watch(event: str, args: Any) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def in_python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | env
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.parametrize(
    ("stride", "replace"),
    [
        (7, False),
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(1, True, marks=pytest.mark.slow),
    ],
)
def test_killed_at_every_step(stride: int, replace: bool, tmp_path: Path) -> None:
    done = in_python(
        f"import test_prepare as t; t.kill_at_steps(t.Path({str(tmp_path)!r}), {stride}, {replace})"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30 / stride  # how often it was killed


@pytest.mark.slow
def test_killed_by_the_clock(tmp_path: Path) -> None:
    code = (
        "import test_prepare as t; "
        f"t.quietly(t.Fake(200, pause_s=0.002), t.Path({str(tmp_path / 'made')!r}), shard_rows=9)"
    )
    journal = tmp_path / ".made.part" / "journal.jsonl"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    running = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        while running.poll() is None:
            if journal.is_file() and journal.read_bytes().count(b"\n") > 5:
                break
            time.sleep(0.01)
    finally:
        running.kill()
        assert running.wait() == -signal.SIGKILL
    again = quietly(Fake(200), tmp_path / "made", shard_rows=9)
    assert again.rows_before >= 45
    whole = quietly(Fake(200), tmp_path / "whole", shard_rows=9)
    assert contents(again.folder.path) == contents(whole.folder.path)


# The card, and what others read.


def test_the_card_is_what_the_hub_reads(tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    folder = prepared(tmp_path, options={"min": 3, "word": "it's"}, limit=9)
    text = (folder.path / "README.md").read_text(encoding="utf-8")
    card = DatasetCard(text)
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0"
    assert data["language"] == ["en", "pt"]
    assert data["size_categories"] == ["n<1K"]
    assert data["pretty_name"] == Fake.title
    assert "llmrec" in data["tags"]
    assert [c["config_name"] for c in data["configs"]] == ["examples", "items"]
    for config in data["configs"]:
        for part in config["data_files"]:
            assert all((folder.path / name).is_file() for name in part["path"])
    assert "| examples | train | 9 | 2 |" in card.text
    assert "| examples | train | too short |" in card.text
    assert "--limit 9 --option min=3 --option 'word=it'\"'\"'s'" in card.text
    assert "at most 9 rows of a split" in card.text
    assert "````\nNobody: ```fake```, 2020.\n````" in card.text
    assert r"Fake \*films\* \| &lt;b&gt;bold&lt;/b&gt;" in card.text


def test_nothing_of_a_data_set_becomes_markup(tmp_path: Path) -> None:
    import yaml

    bad = "x\n---\nlicense: mit\n# <script> [a](javascript:b) | `c` $d$"
    meta = json.loads(json.dumps(prepared(tmp_path).meta))
    meta["source"] = dict.fromkeys(meta["source"], bad)
    meta["tables"]["items"]["train"]["dropped"] = {bad: 1}
    meta["config"]["sources"] = [{"file": bad, "bytes": 1, "blake2b": "0"}]
    meta["config"]["options"] = {bad: bad}
    text = dataset_card(meta)
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    data = yaml.safe_load(front)
    assert data["license"] == "other"
    assert data["pretty_name"] == " ".join(bad.split())
    assert data["license_name"] == "x-license-mit-script-a-javascript-b-c-d"
    prose = "".join(part for part in body.split("```")[::2])  # blocks hold anything
    assert "<script" not in prose
    assert "[a](" not in prose
    assert "\nlicense: mit" not in prose
    table = [line for line in prose.splitlines() if line.startswith("| items | train | x")]
    assert len(table) == 1
    assert table[0].replace("\\|", "").count("|") == 5


READ = """
import json, sys
from datasets import load_dataset
top = sys.argv[1] if len(sys.argv) > 1 else TOP
said = {}
for name, table, split in WANTED:
    rows = load_dataset(f"{top}/{name}", *table, split=split)
    said[f"{name} {table} {split}"] = [len(rows), rows[1]]
    assert len({str(rows.features)}) == 1
print(json.dumps(said))
"""


def test_load_dataset_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    for format in ("parquet", "jsonl"):
        quietly(Fake(), tmp_path / format, format=format)
    quietly(Fake(), tmp_path / "csv", format="csv", tables=["items"])
    quietly(Columns(), tmp_path / "columns")
    wanted = [
        (name, table, split)
        for name in ("parquet", "jsonl")
        for table, split in ((["examples"], "test"), ([], "train"), (["items"], "train"))
    ] + [("csv", [], "train"), ("columns", [], "train")]
    code = READ.replace("TOP", repr(str(tmp_path))).replace("WANTED", repr(wanted))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = in_python(code, **offline, HF_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    example = {
        "id": "test-2",
        "dialogue": "d1",
        "user": "",
        "language": "",
        "messages": [{"role": "user", "content": "Like 2?", "items": ["2"]}],
        "liked": ["1"],
        "disliked": [],
        "seen": [],
        "relevant": ["2", "2"],
        "likes": [],
        "history": [],
        "reply": "Não, test 2",
    }
    for name in ("parquet", "jsonl"):
        assert said[f"{name} ['examples'] test"] == [15, example]
        assert said[f"{name} [] train"][1]["id"] == "train-2"
        n, item = said[f"{name} ['items'] train"]
        assert (n, item["title"], item["genres"], item["runtime"]) == (
            11,
            "Film 2",
            ["Drama"],
            None,
        )
        assert json.loads(item["titles"]) == {"pt": ["Filme 2"]}
    assert said["csv [] train"][1]["genres"] == "Drama"
    assert said["columns [] train"][0] == 23
    assert said["columns [] train"][1]["description"] is None


# The command.


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    status = prepare.main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return status, out, err


def test_values_of_options() -> None:
    pairs = ["a=1", "b=true", "c=two words", 'd={"title": "name"}', "e=x=y", 'f="7"']
    assert prepare.options_of("redial", pairs, 5) == {
        "a": 1,
        "b": True,
        "c": "two words",
        "d": {"title": "name"},
        "e": "x=y",
        "f": "7",
        "split_seed": 5,
    }
    with pytest.raises(InputError, match="given 'a': write --option NAME=VALUE"):
        prepare.options_of("redial", ["a"], None)


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    """A small ReDial, made up."""
    lines = []
    for n in range(30):
        said = [(0, "Something like @1?"), (1, f"Try @{2 + n % 3}"), (0, "Thanks!")]
        record: Mapping[str, Any] = {
            "conversationId": str(n),
            "initiatorWorkerId": 0,
            "respondentWorkerId": 1,
            "messages": [
                {"messageId": i, "timeOffset": i, "senderWorkerId": who, "text": text}
                for i, (who, text) in enumerate(said)
            ],
            "movieMentions": {"1": "Alien (1979)", str(2 + n % 3): f"Film {n % 3} (2001)"},
            "initiatorQuestions": [],
            "respondentQuestions": [],
        }
        lines.append(json.dumps(record))
    lines[4] = lines[4][:50]
    folder = tmp_path / "redial"
    folder.mkdir()
    (folder / "train_data.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_the_command(dialogues: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, catalog = tmp_path / "made", tmp_path / "films.lance"
    argv = ["redial", dialogues, "--out", out, "--seed", 3, "--catalog", catalog]
    status, said, _ = run(capsys, *argv)
    assert status == 0
    assert f"{catalog}: 4 items, 0 left out" in said
    assert "first problem: line 5 of train_data.jsonl: it is not JSON" in said
    assert f"next: python train/lora.py --config embedded --data {out} --out runs/NAME" in said
    folder = Folder.open(out)
    assert sum(folder.counts["examples"].values()) == 29
    assert folder.meta["config"]["options"] == {"split_seed": 3}
    assert {i.title for i in Catalog.open(catalog)} == {"Alien", "Film 0", "Film 1", "Film 2"}
    status, said, _ = run(capsys, *argv)
    assert (status, "nothing to do" in said) == (0, True)
    status, _, err = run(capsys, *argv, "--option", "turns=all")
    assert status == 1
    assert err.startswith("prepare: ")
    assert "the option turns was None and is 'all'" in err
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "one.tex").touch()
    status, _, err = run(capsys, *argv[:-1], tmp_path / "thesis")
    assert (status, "is no catalogue" in err) == (1, True)
    only = ["redial", dialogues, "--out", tmp_path / "talk", "--only", "examples"]
    status, _, err = run(capsys, *only, "--catalog", catalog)
    assert (status, "has no items: a catalogue needs some" in err) == (1, True)
    status, _, err = run(capsys, *argv, "--restart", "--option", "wings=2")
    assert (status, "redial has no option 'wings'" in err) == (1, True)


PUSH = """
from datasets import load_dataset
from llmrec.datasets.folder import Folder
from llmrec.hub import pull
from train.prepare import main

raw, out = sys.argv[1:]
assert main(["redial", raw, "--out", out, "--push-to-hub", "me/films", "--private"]) == 0
rows = load_dataset("me/films", "examples", split="train")
pulled = Folder.open(pull("me/films", kind="dataset"))
print(json.dumps([rows[0], pulled.fingerprint, next(pulled.examples()).to_dict()]))
"""


@pytest.mark.slow
def test_pushed_it_is_read_everywhere(dialogues: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with LoopbackHub() as hub:
        argv = (str(dialogues), str(tmp_path / "made"))
        done = run_client(PUSH, hub, tmp_path / "home", *argv)
        assert done.returncode == 0, done.stderr
        assert set(hub.tree("me/films", "dataset")) >= set(contents(tmp_path / "made"))
    row, fingerprint, example = json.loads(done.stdout.splitlines()[-1])
    folder = Folder.open(tmp_path / "made")
    assert fingerprint == folder.fingerprint
    assert example == next(folder.examples()).to_dict()
    assert row["messages"] == [
        {"role": "user", "content": "Something like Alien (1979)?", "items": ["1"]}
    ]


@pytest.mark.skipif(not REDIAL.is_dir(), reason="the real ReDial is not on this machine")
def test_the_real_redial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "redial"
    status, _, _ = run(capsys, "redial", REDIAL, "--out", out, "--limit", 300, "--shard-rows", 100)
    assert status == 0
    folder = Folder.open(out)
    assert folder.counts["examples"] == {"train": 300, "validation": 300}
    assert folder.counts["items"]["train"] >= 6_924
    known = {item.id for item in folder.items()}
    named = {i for e in folder.examples() for i in (*e.relevant, *e.conversation.mentioned)}
    assert named <= known
    assert not {e.dialogue for e in folder.examples()} & {
        e.dialogue for e in folder.examples("validation")
    }
