"""Recommending in bulk: whole tables, whoever makes them and whatever was killed meanwhile."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bulked
import evaluated
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import world
from test_catalog_remote import KEY_ID, SECRET, Bucket, s3_server
from test_endpoint import Answer, Request, serving

from benchmarks import bulk as benchmark
from eval import bulk as script
from llmrec.bulk import BulkOptions, Share, run, run_processes, run_ray, schema
from llmrec.bulk.places import Place, files_below, place, put
from llmrec.bulk.reading import Reader, shards_of
from llmrec.bulk.running import Work
from llmrec.catalog import Catalog
from llmrec.errors import InputError, LLMRecError, MissingExtraError, ModelError
from llmrec.models.endpoint import KEY
from llmrec.models.scripted import simplest
from llmrec.recommender import Recommender

REPOSITORY = Path(__file__).resolve().parents[1]
N = 20  # talks, of which three fail
ANSWERED = sorted(str(n) for n in range(N) if n not in (5, 6, 9))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with conversations, a catalogue, and what an undisturbed run makes of them."""
    to = tmp_path_factory.mktemp("bulk")
    bulked.write_lines(to / "talks" / "a.jsonl", N)
    Catalog.from_items(world.FILMS, to / "films")
    run(bulked.options(to, out=str(to / "whole")), bulked.build, progress=False)
    return to


@pytest.fixture
def options(base: Path, tmp_path: Path) -> BulkOptions:
    return bulked.options(base, out=str(tmp_path / "out"))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Which talks the model was given, one to a line; of processes too."""
    monkeypatch.setenv(bulked.LOG, str(tmp_path / "log"))
    return tmp_path / "log"


def tables(folder: Path | str) -> dict[str, bytes]:
    """The files of answers as they stand on the disk."""
    found = {f.name: f.read_bytes() for f in sorted(Path(folder).glob("*.parquet"))}
    assert found
    return found


def rows(folder: Path | str) -> list[dict[str, Any]]:
    files = sorted(Path(folder).glob("*.parquet"))
    return [row for f in files for row in pq.read_table(f).to_pylist()]


def asked(log: Path) -> list[str]:
    """The talks that the model was given, as often as it was."""
    return sorted(log.read_text().split())


def quietly(options: BulkOptions, build: Any = bulked.build, **more: Any) -> Any:
    return run(options, build, progress=False, **more)


# -- what comes out ---------------------------------------------------------------------------


def test_every_conversation_has_its_rows_in_order(base: Path) -> None:
    made = rows(base / "whole")
    assert list(dict.fromkeys(r["id"] for r in made)) == [f"talk-{n}" for n in range(N)]
    failed = {r["id"]: r["error"] for r in made if r["error"]}
    assert failed == {
        "talk-5": "the catalogue has no item with the id 'no such film': use one of its ids",
        "talk-6": "the last message is by 'assistant': it must be the user's",
        "talk-9": "this one is cursed",
    }
    for name, own in pd.DataFrame(made).groupby("id", sort=False):
        if name in failed:
            assert own["rank"].isna().all()
            assert own["item_id"].isna().all()
            assert len(own) == 1
        else:
            assert own["rank"].tolist() == [1, 2, 3]
            assert own["score"].is_monotonic_decreasing
            assert set(own["model"]) == {"scripted"}
    again = Recommender(bulked.Logging(seed=7), world.catalog())
    for talk in [t for t in bulked.talks(N) if t["id"] in ("talk-2", "talk-4", "talk-10")]:
        alone = again.recommend(talk["messages"], 3)
        own = [r for r in made if r["id"] == talk["id"]]
        assert [r["item_id"] for r in own] == [r.item.id for r in alone]
        assert [r["title"] for r in own] == [r.item.title for r in alone]
        assert [r["reason"] for r in own] == [r.reason for r in alone]
        assert [r["score"] for r in own] == [r.score for r in alone]
        assert [(r["matched"], r["relaxed"]) for r in own] == [
            (list(r.matched), list(r.relaxed)) for r in alone
        ]
    assert any(r["reason"].startswith("ação") for r in made if r["id"] == "talk-1")  # in pt


def test_tables_are_typed_and_read_as_one(base: Path) -> None:
    files = sorted((base / "whole").glob("*.parquet"))
    assert [f.name for f in files] == [f"shard-00000{n}.parquet" for n in range(3)]
    assert all(pq.read_schema(f).equals(schema()) for f in files)
    together = pd.read_parquet(base / "whole")
    assert len(together) == len(rows(base / "whole"))
    assert together["rank"].max() == 3
    assert pa.types.is_int32(schema().field("rank").type)
    manifest = json.loads((base / "whole" / "_manifest.json").read_text("utf-8"))
    assert manifest["sources"][0]["file"] == "a.jsonl"
    assert manifest["catalog"] == Catalog.open(base / "films").fingerprint
    assert (manifest["options"]["k"], manifest["conversations"], manifest["shards"]) == (3, N, 3)
    assert len(manifest["weights"]["model"]) == 32


def test_a_second_run_gives_the_same_bytes_in_any_order(
    base: Path, options: BulkOptions, log: Path
) -> None:
    report = quietly(options, share=Share(2, 3))
    assert tables(options.out) == tables(base / "whole")
    assert (report.conversations, report.recommendations, report.failed) == (N, 3 * 17, 3)
    assert (report.empty, report.shards, report.of) == (0, 3, 3)
    assert asked(log) == ANSWERED
    assert [int(n) for n in log.read_text().split()][:5] == [14, 15, 16, 17, 18]  # its own first
    quietly(options, build=None)  # nothing is left, and nothing is loaded
    assert asked(log) == ANSWERED


def test_a_conversation_without_a_result_keeps_a_row(base: Path, options: BulkOptions) -> None:
    talk = {"id": 7, "messages": "Something good, talk 99", "seen": list(bulked.IDS)}
    file = Path(options.out).with_name("seen.jsonl")
    file.write_text(json.dumps(talk))
    report = quietly(dataclasses.replace(options, input=str(file)))
    assert (report.conversations, report.empty, report.failed) == (1, 1, 0)
    (row,) = rows(options.out)
    assert (row["id"], row["rank"], row["error"], row["model"]) == ("7", None, None, "scripted")


# -- what goes in -----------------------------------------------------------------------------


def test_parquet_gives_what_json_lines_give(base: Path, options: BulkOptions) -> None:
    folder = Path(options.out).with_name("tables")
    (folder / "deep").mkdir(parents=True)
    said = list(bulked.talks(N))
    ids = pa.list_(pa.string())
    turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("items", ids)])
    columns = {"id": pa.string(), "messages": pa.list_(turn), "liked": ids, "seen": ids}
    form = pa.schema({**columns, "language": pa.string(), "other": pa.int32()})
    first, last = (pa.Table.from_pylist(part, form) for part in (said[:9], said[9:]))
    pq.write_table(first, folder / "a.parquet", row_group_size=4)
    pq.write_table(last, folder / "deep" / "b.parquet")
    (folder / "_note.jsonl").write_text("no input")
    report = quietly(dataclasses.replace(options, input=str(folder)))
    assert report.of == 4  # no shard is of two files
    assert rows(options.out) == rows(base / "whole")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_shards_are_the_file_in_any_order(tmp_path: Path, suffix: str) -> None:
    dice = random.Random(0)
    file = tmp_path / f"many{suffix}"
    said = [{"id": str(n), "messages": f"talk {n}"} for n in range(3_000)]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(said), file, row_group_size=701)
    else:
        file.write_text("\n".join(json.dumps(s) + "\n" * dice.randrange(3) for s in said))
    for size in (1, 7, 1_000, 3_000, 5_000):
        shards = shards_of(file, size)
        assert sum(s.rows for s in shards) == 3_000
        some = [*dice.sample(range(len(shards)), min(len(shards), 5)), len(shards) - 1]
        reader = Reader()
        for n in [*some, *sorted(some)]:
            found = [name for name, _ in reader(shards[n])]
            assert found == [str(i) for i in range(n * size, min((n + 1) * size, 3_000))]


def test_broken_rows_are_kept_with_file_and_line(options: BulkOptions, tmp_path: Path) -> None:
    lines = [
        '{"id": "good", "messages": "Something like Coco, talk 1"}',
        "",
        "{broken",
        '{"messages": "no id"}',
        '{"id": "a", "messages": [{"role": "robot", "content": "hi"}]}',
        '{"id": "b", "messages": [{"role": "user"}]}',
        '{"id": "c", "messages": 5}',
        '{"id": "d", "messages": "hi", "liked": "coco"}',
        '{"id": "e", "messages": "hi", "language": "xx"}',
        '{"id": "f", "messages": []}',
        '{"id": "g", "messages": "hi", "language": 5}',
        '["no object"]',
    ]
    file = tmp_path / "odd.jsonl"
    file.write_bytes("\n".join(lines).encode() + b'\n{"id": "\xff"}')
    report = quietly(dataclasses.replace(options, input=str(file)))
    assert (report.conversations, report.failed) == (12, 11)
    said = [(r["id"], r["error"]) for r in rows(options.out) if r["error"]]
    for (name, error), (wanted, part) in zip(
        said,
        [
            (None, "line 3 of odd.jsonl: it is not JSON: "),
            (None, "line 4 of odd.jsonl: its id is None, and a text or a number is wanted"),
            ("a", "a message has the role 'robot': use "),
            ("b", "a message has content of type NoneType: give it as text"),
            ("c", "messages is 5: give a list of role and content"),
            ("d", "liked is 'coco': give a list of item ids"),
            ("e", "the language is 'xx': use one of "),
            ("f", "the conversation is empty: "),
            ("g", "the language is 5: use one of "),
            (None, "line 12 of odd.jsonl: it is no JSON object"),
            (None, "line 13 of odd.jsonl: it has bytes that are not UTF-8"),
        ],
        strict=True,
    ):
        assert (name, error[: len(part)]) == (wanted, part)


def test_input_that_cannot_be_read_is_refused(options: BulkOptions, tmp_path: Path) -> None:
    def refused(what: str, name: str, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=what):
            quietly(dataclasses.replace(options, input=str(tmp_path / name)))

    pq.write_table(pa.table({"text": ["hi"]}), tmp_path / "other.parquet")
    refused("has no column 'id', it has 'text': give it an id and messages", "other.parquet", None)
    refused("cannot be read .*mend it, or take it out", "torn.parquet", b"PAR1 and no more")
    refused("holds no conversations: name a file or folder", "talks.csv", b"id,messages")
    refused("holds no conversations: name a file or folder", "nowhere", None)
    refused("has no row: give it some conversations", "empty.jsonl", b"\n\n")
    inside = dataclasses.replace(options, out=str(Path(options.input) / "out"))
    with pytest.raises(InputError, match=r"out is within .*talks, which is read: give another"):
        quietly(inside)
    shard = shards_of(Path(options.input), 7)[0]
    with pytest.raises(InputError, match=r"a.jsonl has changed while it was read: begin anew"):
        Reader()(dataclasses.replace(shard, rows=99))


# -- cut off ----------------------------------------------------------------------------------


def process(options: BulkOptions, kill: str = "", rank: int = 0, world_: int = 1) -> Any:
    """The same run in a process of its own, which ends itself at a point."""
    ranks = {"KILL": kill, "RANK": str(rank), "WORLD_SIZE": str(world_), "OMP_NUM_THREADS": "1"}
    path = {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, bulked.__file__, json.dumps(options.plain)],
        env={**os.environ, **ranks, **path},
        stderr=subprocess.PIPE,
    )


def ends(started: Any, code: int) -> None:
    said = started.communicate()[1].decode(errors="replace")
    assert started.returncode == code, said[-2_000:]


def twice(log: Path) -> set[str]:
    """The talks that the model was given more than once; none is more than twice, none missing."""
    counted = Counter(asked(log))
    assert sorted(counted) == ANSWERED
    assert max(counted.values()) <= 2
    return {n for n, times in counted.items() if times > 1}


def shard_of(talk: str) -> int:
    return int(talk) // 7


def test_a_killed_process_goes_on_and_repeats_one_shard_at_most(
    base: Path, options: BulkOptions, log: Path
) -> None:
    ends(process(options, "asked:9"), -signal.SIGKILL)
    out = Path(options.out)
    assert list(tables(out)) == ["shard-000000.parquet"]
    quietly(options)
    assert tables(out) == tables(base / "whole")
    assert {shard_of(n) for n in twice(log)} == {1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "points",
    [
        *([f"asked:{n}"] for n in (1, 6, 17)),
        *([f"{kind}:{n}"] for kind in ("part", "whole") for n in (1, 3)),
        ["asked:3", "asked:9", "part:1", "whole:1", "asked:1"],
    ],
    ids=" ".join,
)
def test_killed_at_any_moment(
    base: Path, options: BulkOptions, log: Path, points: list[str]
) -> None:
    done: set[str] = set()
    for point in points:
        before = Counter(asked(log)) if log.is_file() else Counter()
        ends(process(options, point), -signal.SIGKILL)
        again = Counter(asked(log)) - before
        assert not {f"shard-00000{shard_of(n)}.parquet" for n in again} & done
        done = {f.name for f in Path(options.out).glob("*.parquet")}
    ends(process(options), 0)
    assert tables(options.out) == tables(base / "whole")
    assert not [f for f in Path(options.out).iterdir() if f.name.startswith(".shard")]
    if len(points) == 1:
        again = twice(log)
        assert len({shard_of(n) for n in again}) <= 1
        if points[0].startswith("whole"):
            assert not again


def test_interrupted_before_every_conversation(
    base: Path, options: BulkOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 0

    def stop(kind: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(bulked, "passed", stop)
    for step in (1, 4, 6, 2):
        left = step
        with pytest.raises(KeyboardInterrupt):
            quietly(options)
    left = N
    quietly(options)
    assert tables(options.out) == tables(base / "whole")


def test_a_table_that_could_not_be_put_down_is_not_there(
    base: Path, options: BulkOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    quietly(dataclasses.replace(options, retry_failed=True))  # begins as well as any
    out = Path(options.out)
    for file in out.glob("*.parquet"):
        file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            quietly(options)
    assert not list(out.glob("*.parquet"))
    assert list(out.glob(".shard-*"))
    quietly(options)
    assert tables(out) == tables(base / "whole")
    assert not list(out.glob(".shard-*"))


# -- shared out -------------------------------------------------------------------------------


@pytest.fixture
def holder(options: BulkOptions) -> Iterator[Any]:
    """A process that is at the second shard of a run, until it is killed."""
    quietly(options)
    (Path(options.out) / "shard-000001.parquet").unlink()
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'r+b');"
        "fcntl.lockf(f, fcntl.LOCK_EX, 1, 1); print('held', flush=True); time.sleep(60)"
    )
    lock = str(Path(options.out) / ".lock")
    with subprocess.Popen([sys.executable, "-c", code, lock], stdout=subprocess.PIPE) as at_it:
        assert at_it.stdout
        assert at_it.stdout.readline() == b"held\n"
        yield at_it
        at_it.kill()


def test_a_shard_is_left_to_who_is_at_it_and_taken_over_when_that_is_gone(
    base: Path, options: BulkOptions, log: Path, holder: Any
) -> None:
    log.unlink()
    work = Work(options, bulked.build)
    work.begin()
    work.do(1)
    assert not log.is_file()
    for thrown in ("restart", "retry_failed"):
        with pytest.raises(InputError, match="another run is at work in"):
            quietly(dataclasses.replace(options, **{thrown: True}))
    assert len(tables(options.out)) == 2
    waiting = threading.Thread(target=quietly, args=[options])
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    assert not log.is_file()
    holder.kill()
    waiting.join(30)
    assert not waiting.is_alive()
    assert tables(options.out) == tables(base / "whole")
    assert {shard_of(n) for n in asked(log)} == {1}


@pytest.mark.parametrize("locks", ["refused", "absent"])
def test_without_locks_a_shard_done_twice_is_the_same(
    base: Path, options: BulkOptions, monkeypatch: pytest.MonkeyPatch, locks: str
) -> None:
    def refused(*args: Any) -> None:
        raise OSError(37, "No locks available")

    if locks == "refused":
        monkeypatch.setattr("fcntl.lockf", refused)
    else:
        monkeypatch.setitem(sys.modules, "fcntl", None)
    work, other = Work(options, bulked.build), Work(options, bulked.build)
    work.begin()
    under_way = Path(options.out) / ".shard-000000.parquet.1234"
    under_way.touch()
    other.begin()
    assert under_way.exists()  # whose it is cannot be known
    write, written = other.folder.write, []

    def late(number: int, rows: pa.Table) -> None:
        work.do(number)  # the other process is as far in the same moment
        written.append((Path(options.out) / f"shard-{number:06d}.parquet").read_bytes())
        write(number, rows)

    monkeypatch.setattr(other.folder, "write", late)
    for number in range(3):
        other.do(number)
    assert dict(zip(tables(options.out), written, strict=True)) == tables(base / "whole")
    assert tables(options.out) == tables(base / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kill", ["asked:4", "part:1", "whole:1"])
def test_of_two_processes_one_is_killed_and_the_other_does_it_all(
    base: Path, options: BulkOptions, log: Path, kill: str
) -> None:
    small = dataclasses.replace(options, shard_rows=2, batch_size=2)
    whole = dataclasses.replace(small, out=str(Path(options.out).with_name("alone")))
    quietly(whole)
    log.unlink()
    both = [process(small, rank=0, world_=2), process(small, kill, rank=1, world_=2)]
    ends(both[1], -signal.SIGKILL)
    ends(both[0], 0)
    assert tables(small.out) == tables(whole.out)
    assert len({int(n) // 2 for n in twice(log)}) <= 1


@pytest.fixture
def real(base: Path, options: BulkOptions) -> BulkOptions:
    """A run of a tiny network, which can be loaded by its name."""
    if not (base / "network").is_dir():
        evaluated.model(base / "network")
    return dataclasses.replace(options, model=str(base / "network"), shard_rows=3)


def flags(options: BulkOptions) -> list[str]:
    given = {k: v for k, v in options.plain.items() if v and v is not True}
    return [x for k, v in given.items() for x in (f"--{k.replace('_', '-')}", str(v))]


@pytest.mark.slow
def test_several_processes_and_torchrun_make_the_same(
    real: BulkOptions, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert script.main(flags(real)) == 0
    said = capfd.readouterr().out
    assert "20 conversations, 54 recommendations, 0 with nothing to recommend, 2 failed" in said
    two = dataclasses.replace(real, out=str(tmp_path / "two"))
    assert script.main([*flags(two), "--processes", "2"]) == 0
    assert tables(two.out) == tables(real.out)
    torch = dataclasses.replace(real, out=str(tmp_path / "torchrun"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command = [*launcher, str(REPOSITORY / "eval" / "bulk.py"), *flags(torch)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert tables(torch.out) == tables(real.out)


def children(of: int) -> list[int]:
    said = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return [int(n) for n in said]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are told by /proc")
@pytest.mark.parametrize("which", ["a child", "the parent"])
def test_a_killed_child_is_replaced_and_a_killed_parent_takes_its_children_along(
    real: BulkOptions, tmp_path: Path, which: str
) -> None:
    alone = dataclasses.replace(real, out=str(tmp_path / "alone"), shard_rows=1)
    two = dataclasses.replace(alone, out=str(tmp_path / "two"))
    quietly(alone, None)
    command = [sys.executable, str(REPOSITORY / "eval" / "bulk.py"), *flags(two), "--processes"]
    with subprocess.Popen([*command, "2"], stderr=subprocess.DEVNULL) as parent:
        while not list(Path(two.out).glob("*.parquet")):
            assert parent.poll() is None
            time.sleep(0.01)
        own = children(parent.pid)
        assert len(own) == 2
        os.kill(own[1] if which == "a child" else parent.pid, signal.SIGKILL)
        code = parent.wait()
    if which == "a child":
        assert code == 0
    else:
        until = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in own):
            assert time.monotonic() < until, "the children go on"
            time.sleep(0.05)
        assert len(tables(two.out)) < N
        assert script.main(flags(two)) == 0
    assert tables(two.out) == tables(alone.out)


def test_processes_that_all_fail_say_so(
    options: BulkOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    said = r"codes 1, 1 .*and 3 shards are left: run the same command again, it goes on"
    with pytest.raises(LLMRecError, match=said):
        run_processes(options, 2, progress=False)
    with pytest.raises(InputError, match="processes is 0: give 1 or more"):
        run_processes(options, 0)


# -- Ray --------------------------------------------------------------------------------------


RAY = """
import sys
import bulked
from llmrec.bulk import BulkOptions, run_ray
import json
print(run_ray(BulkOptions(**json.loads(sys.argv[1])), workers=2, build=bulked.build))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kill", ["", "asked:4", "part:2"])
def test_actors_of_ray_make_the_same_and_one_is_killed(
    base: Path, options: BulkOptions, log: Path, kill: str
) -> None:
    pytest.importorskip("ray", reason="Ray Data is tried where ray is installed (extra bulk)")
    small = dataclasses.replace(options, shard_rows=2, batch_size=2)
    whole = dataclasses.replace(small, out=str(Path(options.out).with_name("alone")))
    quietly(whole)
    log.unlink()
    once = log.with_name("killed")
    environment = {
        "KILL": kill,
        "KILL_ONCE": str(once),
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}",
    }
    done = subprocess.run(
        [sys.executable, "-c", RAY, json.dumps(small.plain)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:].decode(errors="replace")
    assert tables(small.out) == tables(whole.out)
    assert once.exists() == bool(kill)
    assert len({int(n) // 2 for n in twice(log)}) == bool(kill)


def test_without_ray_the_extra_is_named(
    options: BulkOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"ray is needed .* pip install 'llmrec\[bulk\]'"):
        run_ray(options)
    assert script.main([*flags(options), "--ray"]) == 1
    assert "bulk: ray is needed for this and is not installed" in capsys.readouterr().err


# -- object storage -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def storage() -> Iterator[Bucket]:
    with s3_server() as made:
        yield made


@pytest.fixture
def bucket(storage: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A bucket of its own, found by what stands in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", storage.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    name = f"bulk-{len(storage.made)}"
    storage.place(name)
    return place(f"s3://{name}/runs")


def remotely(options: BulkOptions, bucket: Any) -> BulkOptions:
    """The same run with its conversations and its answers on object storage."""
    for file in Path(options.input).iterdir():
        (bucket / "talks" / file.name).write(file.read_bytes())
    at = {"input": f"{bucket}/talks", "out": f"{bucket}/out"}
    return dataclasses.replace(options, **at)


def stored(folder: str) -> dict[str, bytes]:
    found = files_below(place(folder))
    return {n: f.open("rb").read() for n, f in found.items() if n.endswith(".parquet")}


def test_object_storage_holds_what_a_folder_holds(
    base: Path, options: BulkOptions, bucket: Place
) -> None:
    there = remotely(options, bucket)
    report = quietly(there)
    assert (report.conversations, report.shards, report.failed) == (N, 3, 3)
    assert str(report).startswith(f"{bucket}/out: {N} conversations")
    assert stored(there.out) == tables(base / "whole")
    quietly(there, build=None)  # nothing is left, and nothing is loaded
    with pytest.raises(InputError, match="a run of something else, the option k was 3 and is 4"):
        quietly(dataclasses.replace(there, k=4))
    quietly(dataclasses.replace(there, out=options.out))  # from there to here
    quietly(dataclasses.replace(options, out=there.out), build=None)  # the same data elsewhere
    assert tables(options.out) == tables(base / "whole")
    put(place(f"{there.input}/b.parquet"), parquet_of(bulked.talks(4)))
    with pytest.raises(InputError, match="a run of something else"):
        quietly(there)
    assert quietly(dataclasses.replace(there, restart=True)).of == 4
    assert len(stored(there.out)) == 4


def parquet_of(said: Iterator[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(said)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize(
    "points",
    [
        ["asked:9"],
        pytest.param(["part:2"], marks=pytest.mark.slow),
        pytest.param(["whole:2"], marks=pytest.mark.slow),
        pytest.param(["asked:3", "part:1", "asked:9", "whole:1"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_killed_over_object_storage(
    base: Path, options: BulkOptions, bucket: Place, log: Path, points: list[str]
) -> None:
    there = remotely(options, bucket)
    for point in points:
        ends(process(there, point), -signal.SIGKILL)
        assert len(stored(there.out)) < 3
    quietly(there)
    assert stored(there.out) == tables(base / "whole")
    if len(points) == 1:
        assert {shard_of(n) for n in twice(log)} == {1} - ({1} if "whole" in points[0] else set())


@pytest.mark.slow
def test_two_processes_over_object_storage(
    base: Path, options: BulkOptions, bucket: Place, log: Path
) -> None:
    """There are no locks: the last shards may be made twice, and are the same."""
    there = dataclasses.replace(remotely(options, bucket), shard_rows=2, batch_size=2)
    quietly(dataclasses.replace(there, out=options.out))
    log.unlink()
    both = [process(there, rank=rank, world_=2) for rank in (0, 1)]
    for one in both:
        ends(one, 0)
    assert stored(there.out) == tables(options.out)
    assert len({int(n) // 2 for n in twice(log)}) <= 3


def test_addresses_that_cannot_be_used(options: BulkOptions, bucket: Place) -> None:
    there = remotely(options, bucket)
    for change, said in (
        ({"input": "s3://key:secret@there/talks"}, "an address of bulk must be s3://BUCKET/NAME"),
        ({"out": "ftp://there/out"}, "an address of bulk must be s3://BUCKET/NAME or gs://BUCKET"),
        ({"out": f"{there.input}/out"}, "talks/out is within s3://.*/talks, which is read: give"),
        ({"input": f"{there.input}/none"}, "/talks/none holds no conversations: name a file or fo"),
        ({"out": "s3://no-such-bucket/out"}, "s3://no-such-bucket/out/_manifest.json cannot be us"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            quietly(dataclasses.replace(there, **change))
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)


# -- changed, refused, failed -----------------------------------------------------------------


def test_another_run_does_not_mix(base: Path, options: BulkOptions, tmp_path: Path) -> None:
    quietly(options)
    before = tables(options.out)
    (tmp_path / "films").mkdir()
    fewer = Catalog.from_items(world.FILMS[:9], tmp_path / "films" / "few")
    other = bulked.write_lines(tmp_path / "talks" / "a.jsonl", N - 1)
    for change, said in (
        ({"k": 4}, "the option k was 3 and is 4"),
        ({"batch_size": 4}, "the option batch_size was 3 and is 4"),
        ({"model": "some/model"}, "model was 'embedded' and is 'some/model'"),
        ({"catalog": str(fewer.path)}, "catalog was '.*' and is '.*'"),
        ({"input": str(other)}, "the file a.jsonl has changed"),
    ):
        with pytest.raises(InputError, match=f"holds a run of something else, {said}: give anoth"):
            quietly(dataclasses.replace(options, **change))
    moved = bulked.write_lines(tmp_path / "moved" / "a.jsonl", N).parent
    quietly(dataclasses.replace(options, input=str(moved)), None)  # the same data elsewhere
    assert tables(options.out) == before
    quietly(dataclasses.replace(options, k=1, restart=True))
    assert max(r["rank"] or 0 for r in rows(options.out)) == 1
    with pytest.raises(InputError, match="restart and retry_failed are for one process, and here"):
        quietly(dataclasses.replace(options, restart=True), share=Share(0, 2))


def test_a_folder_of_something_else_is_left_alone(options: BulkOptions) -> None:
    folder = Path(options.out)
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    for restart in (False, True):
        with pytest.raises(InputError, match="is there and holds no run: give another --out"):
            quietly(dataclasses.replace(options, restart=restart))
    assert [f.name for f in folder.iterdir()] == ["thesis.txt"]
    (folder / "thesis.txt").rename(folder / "_manifest.json")
    with pytest.raises(InputError, match="is damaged: begin anew with --restart"):
        quietly(options)


def test_a_damaged_table_is_named(options: BulkOptions) -> None:
    quietly(options)
    (Path(options.out) / "shard-000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"shard-000001.parquet is damaged .*: remove it and run"):
        quietly(options)


class Down(bulked.Logging):
    """A model whose server is down from a conversation on, for so many."""

    left = 9
    down = 10**9

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Any:
        if len(prompts) == 1 and self.left <= 0 < self.down:
            self.down -= 1
            raise ModelError("nothing answers")
        if self.left <= 0 < self.down:
            raise ModelError("nothing answers")
        self.left -= len(prompts)
        return super().prefill_many(prompts)


def test_a_model_that_is_down_does_not_fill_the_table_with_errors(
    base: Path, options: BulkOptions
) -> None:
    large = dataclasses.replace(options, shard_rows=10)
    whole = dataclasses.replace(large, out=str(Path(options.out).with_name("whole")))
    quietly(whole)
    down = Recommender(Down(seed=7), Catalog.open(base / "films"))
    with pytest.raises(
        LLMRecError, match=r"failed on 8 .* \(nothing answers\): this shard is left"
    ):
        quietly(large, lambda *_: down)
    assert list(tables(large.out)) == ["shard-000000.parquet"]
    quietly(large)
    assert tables(large.out) != tables(whole.out)  # talk 8 had failed while the model was down
    report = quietly(dataclasses.replace(large, retry_failed=True))
    assert report.failed == 3
    assert tables(large.out) == tables(whole.out)


def test_an_error_of_any_kind_is_a_row(options: BulkOptions) -> None:
    class Broken(bulked.Logging):
        def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Any:
            if any(b"talk 4" in bytes(t for t in p if t < 256) for p in prompts):
                raise ZeroDivisionError("by nought")
            return super().prefill_many(prompts)

    report = quietly(options, lambda _, films: Recommender(Broken(seed=7), films))
    assert report.failed == 4
    said = {r["id"]: r["error"] for r in rows(options.out)}
    assert said["talk-4"] == "ZeroDivisionError: by nought"
    assert said["talk-3"] is None


@pytest.mark.slow
def test_the_benchmark_compares_batches(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--rounds", "2", "--n", "2", "--batch-sizes", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1] for line in said[3:6]] == [" 1 ", " 2 ", " 2, sorted "]
    assert "| 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | 100.0% |" in said[3]
    assert benchmark.main(["--n", "99999"]) == 1
    assert "ask for fewer" in capsys.readouterr().err


# -- the script, and servers ------------------------------------------------------------------


def test_options_are_checked(options: BulkOptions, capsys: pytest.CaptureFixture[str]) -> None:
    for change, said in (
        ({"input": ""}, "no input is given: name with --input a file or folder"),
        ({"k": 0}, "k is 0: ask for 1 to 100 items"),
        ({"shard_rows": 0}, "shard_rows is 0: give 1 or more"),
        ({"threads": -1}, "threads is -1: give 0 or more"),
        (
            {"model": "http://x/v1", "grounding": "constrained"},
            "http://x/v1 is a server, which gives no token probabilities",
        ),
        ({"server_model": "x"}, "server_model is 'x' and 'embedded' is no server: give its URL"),
        (
            {"model": "http://x/v1", "grounding": "match", "revision": "a"},
            "http://x/v1 is a server, which holds its model: leave revision",
        ),
    ):
        with pytest.raises(InputError, match=said):
            dataclasses.replace(options, **change)
    assert script.main(["--input", "nowhere.jsonl"]) == 1
    assert "bulk: nowhere.jsonl holds no conversations" in capsys.readouterr().err


def test_an_interrupted_script_says_how_it_goes_on(
    options: BulkOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "spread", stop)
    assert script.main(flags(options)) == 130
    assert "the same command goes on where it was" in capsys.readouterr().err


class Chat(BaseHTTPRequestHandler):
    """A server that always recommends the same three, one of which there is not."""

    requests = 0

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Chat.requests += 1
        wanted = body.get("response_format")
        text = "1. Coco\n2. No Such Film\n3. Alien\n"
        if wanted:
            named = wanted.get("json_schema", wanted)
            text = json.dumps(simplest(named["schema"]))
        refused = any("CURSED" in m["content"] for m in body["messages"])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        said = {"choices": [{**choice, "finish_reason": "stop"}], "model": body["model"]}
        data = json.dumps({"error": {"message": "refused"}} if refused else said).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_a_server_behind_it_by_configuration(options: BulkOptions) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        served = dataclasses.replace(options, model=url, server_model="tiny", grounding="match")
        report = run(served, progress=False)
        server.shutdown()
    assert report.failed == 3
    made = rows(options.out)
    assert {r["model"] for r in made} == {"tiny"}
    assert {r["item_id"] for r in made if r["id"] == "talk-0"} == {"coco", "alien"}
    assert "refused" in next(r["error"] for r in made if r["id"] == "talk-9")
    before = Chat.requests
    run(served, progress=False)
    assert Chat.requests == before > 0


def test_a_server_is_kept_busy_up_to_the_limit_and_not_beyond(
    options: BulkOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    under_way, most, lock, full = 0, 0, threading.Lock(), threading.Event()

    def reply(request: Request) -> Answer | str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        if under_way >= 4:
            full.set()
        if "talk 0" not in str(request.body["messages"]):  # the first is asked alone
            full.wait(10)  # nobody is answered before the limit is reached
        with lock:
            under_way -= 1
        if "CURSED" in request.said:
            return Answer({"error": {"message": "refused"}}, 400)
        return json.dumps(simplest(request.body["response_format"]["json_schema"]["schema"]))

    with serving() as server:
        of = {"parent": "tiny", "owned_by": "vllm"}
        listed = [{"id": "tiny", "owned_by": "vllm"}, {"id": "films", **of}]
        server.pages["/v1/models"] = Answer({"object": "list", "data": listed})
        server.reply = reply
        asked = {"model": server.url, "server_model": "tiny", "adapter": "films"}
        served = dataclasses.replace(options, **asked, grounding="auto", batch_size=4)
        assert served.grounding == "choose"
        report = run(served, progress=False)
        chats = [r.body for r in server.chats]
    assert full.is_set()
    assert most == 4
    assert report.failed == 3
    assert {c["model"] for c in chats} == {"films"}  # as vLLM is told of an adapter
    listing = [c for c in chats if "from the list below" in c["messages"][0]["content"]]
    assert len(listing) == report.conversations - report.failed  # each is asked about once
    assert len(chats) > len(listing)  # and its wishes are read by the model too
    made = rows(options.out)
    order = [int(r["id"].removeprefix("talk-")) for r in made]
    assert order == sorted(order)
    assert {r["model"] for r in made} == {"tiny with films"}
