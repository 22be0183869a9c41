"""Runs: cut off anywhere, shared out, changed, refused; and what their folder holds."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import evaluated
import numpy as np
import pytest
import world

from benchmarks import evaluating, resuming
from eval.run import main
from llmrec.errors import InputError, ModelError
from llmrec.evaluation.baselines import Baseline, Mentions
from llmrec.evaluation.data import Data, drawn
from llmrec.evaluation.options import BASELINES, RunOptions
from llmrec.evaluation.predictions import Prediction, read_predictions
from llmrec.evaluation.running import Share, ask, run
from llmrec.evaluation.systems import ModelSystem, System
from llmrec.models import LocalModel
from llmrec.types import Conversation, Example, Message

REPOSITORY = Path(__file__).resolve().parents[1]
QUIET: dict[str, Any] = {"progress": False, "reports": False}
EXAMPLES = [e for n in range(5) for e in evaluated.talk(n)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared data and a tiny model."""
    to = tmp_path_factory.mktemp("evaluated")
    evaluated.data(to / "data")
    evaluated.model(to / "model")
    return to


@pytest.fixture(scope="module")
def model(base: Path) -> LocalModel:
    return LocalModel.from_pretrained(base / "model", device="cpu")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are no folder are not asked of the network, which takes its time to be absent."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def options(base: Path, tmp_path: Path) -> RunOptions:
    return RunOptions(
        data=str(base / "data"),
        model=str(base / "model"),
        out=str(tmp_path / "run"),
        ks=(1, 10),
        batch_size=4,
        threads=1,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    """The predictions of a run as they stand in the file, but for the seconds."""
    said = [json.loads(x) for x in (folder / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert all(s.pop("seconds") >= 0 for s in said)
    return said


def figures(folder: Path) -> Any:
    """The metrics of a run, but for the seconds."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "second" not in k}
        return value

    return timeless(json.loads((folder / "metrics.json").read_text("utf-8")))


# -- the folder -------------------------------------------------------------------------------


def test_a_run_writes_its_folder(options: RunOptions, base: Path) -> None:
    folder = run(options, progress=False)
    said = json.loads((folder / "run.json").read_text("utf-8"))
    assert said["n"] == said["data"]["examples"] == 15
    assert (said["catalog"], said["dialogues"], said["data"]["split"]) == (14, 5, "validation")
    assert said["config"]["model"] == str(base / "model")
    assert said["config"]["ks"] == [1, 10]
    assert said["versions"]["torch"]
    assert said["about"]["runs"] == "tree"
    made = list(read_predictions(folder / "predictions.jsonl"))
    wanted = list(Data(base / "data").examples("validation"))
    assert [p.id for p in made] == [e.id for e in wanted]
    for p, e in zip(made, wanted, strict=True):
        assert (p.relevant, p.mentioned) == (e.relevant, e.conversation.mentioned)
        assert p.turn == len(e.conversation.messages)
        assert len([i for i in p.items if i not in p.mentioned]) >= min(10, 14 - len(p.mentioned))
        assert p.seconds > 0
        assert p.tokens > 0
    for name in BASELINES:
        beside = list(read_predictions(folder / "baselines" / f"{name}.jsonl"))
        assert [p.id for p in beside] == [e.id for e in wanted]
    items = json.loads((folder / "items.json").read_text("utf-8"))
    arrays = np.load(folder / "items.npz")
    assert set(items["ids"]) == set(evaluated.IDS)
    mentions = Mentions(Data(base / "data").training(), items["ids"])
    assert arrays["counts"].tolist() == mentions.counts.tolist()
    row = items["ids"].index("coco")
    own = arrays["index"][arrays["ptr"][row] : arrays["ptr"][row + 1]]
    assert {"genre: Animation", "director: Lee Unkrich", "decade: 201"} <= {
        items["features"][i] for i in own
    }
    assert len(arrays["ptr"]) == 15
    assert (folder / "report.md").is_file()
    assert (folder / "report.html").is_file()
    whole, said = lines(folder), figures(folder)
    assert options.system in said["systems"]
    with (folder / "predictions.jsonl").open("r+b") as file:
        file.truncate(1_000)
    run(options, progress=False)
    assert lines(folder) == whole
    assert figures(folder) == said


def test_what_is_finished_is_not_asked_again(model: LocalModel, tmp_path: Path) -> None:
    ask(tmp_path, lambda: ModelSystem("x", model, world.catalog(), depth=4), EXAMPLES[:3], 2)
    before = (tmp_path / "predictions.jsonl").read_bytes()

    def never() -> System:
        raise AssertionError("the model is loaded again")

    ask(tmp_path, never, EXAMPLES[:3], 2)
    assert (tmp_path / "predictions.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ({"baseline": "co-occurrence"}, "co-occurrence"),
        ({"strategy": "few-shot", "shots": 2}, "model, few-shot, constrained"),
        ({"grounding": "match", "list_length": 2}, "model, zero-shot, match"),
        ({"strategy": "sampling", "lists": 2, "list_length": 1}, "model, sampling"),
        ({"ranker": "linear"}, "model, zero-shot, constrained, ranker linear"),
        ({"grounding": "choose"}, "model, zero-shot, choose, ranker linear"),
    ],
)
def test_every_way_to_ask_resumes_to_the_same(
    options: RunOptions, kind: dict[str, Any], name: str
) -> None:
    asked = dataclasses.replace(options, limit=6, **kind)
    assert asked.system == name
    folder = run(asked, **QUIET)
    whole, file = lines(folder), folder / "predictions.jsonl"
    assert len(whole) == 6
    said = file.read_bytes()
    file.write_bytes(said[: len(said) // 2])
    run(asked, **QUIET)
    assert lines(folder) == whole


# -- cut off ----------------------------------------------------------------------------------


class Cut:
    """A system that is interrupted before a certain example."""

    name = "cut"
    about: ClassVar[dict[str, Any]] = {}

    def __init__(self, system: System, after: int) -> None:
        self._system, self._left = system, after

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        self._left -= len(examples)
        if self._left < 0:
            raise KeyboardInterrupt
        return self._system.predictions(examples)


def test_a_run_cut_off_at_ten_random_points_says_the_same(
    model: LocalModel, tmp_path: Path
) -> None:
    def system() -> System:
        return ModelSystem("x", model, world.catalog(), depth=4)

    ask(tmp_path / "whole", system, EXAMPLES, 4)
    whole = lines(tmp_path / "whole")
    size = (tmp_path / "whole" / "predictions.jsonl").stat().st_size
    dice = random.Random(0)
    cut = tmp_path / "cut"
    for _ in range(5):  # between examples, one after the other
        with pytest.raises(KeyboardInterrupt):
            ask(cut, lambda: Cut(system(), dice.randrange(6)), EXAMPLES, 4)
    assert len(lines(cut)) < len(EXAMPLES)
    ask(cut, system, EXAMPLES, 4)
    assert lines(cut) == whole
    for _ in range(10):  # in the middle of a batch, of a line, of a character
        with (cut / "predictions.jsonl").open("r+b") as file:
            file.truncate(dice.randrange(size))
        ask(cut, system, EXAMPLES, 4)
        assert lines(cut) == whole


def command(options: RunOptions) -> list[str]:
    flags = ["--data", options.data, "--model", options.model, "--out", options.out]
    flags += ["--ks", "1", "10", "--batch-size", str(options.batch_size), "--threads", "1"]
    return [sys.executable, str(REPOSITORY / "eval" / "run.py"), *flags]


@pytest.mark.slow
def test_a_killed_process_goes_on(
    options: RunOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = dataclasses.replace(options, batch_size=2)
    flags = command(options)[2:]
    at = flags.index("--out")
    own = ["--kills", "3", "--kill-seed", "1", "--out", str(tmp_path / "both")]
    assert resuming.main([*own, *flags[:at], *flags[at + 2 :]]) == 0
    assert "predictions: identical\nmetrics: identical" in capsys.readouterr().out
    assert lines(tmp_path / "both" / "killed") == lines(run(options, progress=False))


# -- shared out -------------------------------------------------------------------------------


def test_two_processes_say_what_one_says(options: RunOptions, tmp_path: Path) -> None:
    options = dataclasses.replace(options, batch_size=2)
    whole = run(dataclasses.replace(options, out=str(tmp_path / "whole")), **QUIET)
    first = threading.Thread(target=run, args=(options, Share(0, 2)), kwargs=QUIET)
    first.start()
    run(options, Share(1, 2), **QUIET)
    first.join()
    folder = Path(options.out)
    assert lines(folder) == lines(whole)
    assert not list(folder.glob("predictions.*.jsonl"))


def test_work_that_was_shared_out_and_cut_off_goes_on(model: LocalModel, tmp_path: Path) -> None:
    def system() -> System:
        return ModelSystem("x", model, world.catalog(), depth=4)

    ask(tmp_path / "whole", system, EXAMPLES, 2)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        ask(out, lambda: Cut(system(), 4), EXAMPLES, 2, Share(1, 2))
    with pytest.raises(InputError, match="3 of 15 examples are missing and no other process is at"):
        ask(out, system, EXAMPLES, 2, Share(0, 2, patience=0.1))
    assert sorted(f.name for f in out.iterdir()) == ["predictions.0.jsonl", "predictions.1.jsonl"]
    third = tmp_path / "third"
    shutil.copytree(out, third)
    ask(out, system, EXAMPLES, 2, Share(1, 2))  # it was started again
    ask(out, system, EXAMPLES, 2, Share(0, 2, patience=0.1))
    assert lines(out) == lines(tmp_path / "whole")
    ask(third, system, EXAMPLES, 2)  # or one process does the rest
    assert lines(third) == lines(tmp_path / "whole")
    assert [f.name for f in third.iterdir()] == ["predictions.jsonl"]


@pytest.mark.slow
def test_torchrun_of_two_with_a_killed_rank(options: RunOptions, tmp_path: Path) -> None:
    options = dataclasses.replace(options, batch_size=1)
    whole = run(dataclasses.replace(options, out=str(tmp_path / "whole")), progress=False)

    def start(rank: int) -> subprocess.Popen[bytes]:
        env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command(options), env=env, stderr=subprocess.DEVNULL)

    folder = Path(options.out)
    ranks = [start(0), start(1)]
    file = folder / "predictions.1.jsonl"
    while not (file.is_file() and file.read_bytes().count(b"\n") >= 2):
        assert ranks[1].poll() is None
        time.sleep(0.002)
    for process in ranks:
        process.send_signal(signal.SIGKILL)
        process.wait()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    again = subprocess.run([*launcher, *command(options)[1:]], capture_output=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert lines(folder) == lines(whole)
    assert figures(folder) == figures(whole)


# -- changed ----------------------------------------------------------------------------------


def test_a_changed_configuration_does_not_mix(
    options: RunOptions, base: Path, tmp_path: Path
) -> None:
    plain = dataclasses.replace(options, baseline="random", limit=3)
    folder = run(plain, **QUIET)
    before = lines(folder)
    for change, said in (
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"limit": 4}, "limit was 3 and is 4"),
        ({"ks": (1,)}, r"ks was \[1, 10\] and is \[1\]"),
        ({"baseline": "popularity"}, "baseline was 'random' and is 'popularity'"),
        ({"batch_size": 1}, "batch_size was 4 and is 1"),
    ):
        with pytest.raises(InputError, match=f"{said}: give another --out, or replace it with"):
            run(dataclasses.replace(plain, **change), **QUIET)
    moved = tmp_path / "moved"
    shutil.copytree(base / "data", moved)
    run(dataclasses.replace(plain, data=str(moved), threads=0), **QUIET)  # the same data
    assert lines(folder) == before
    again = dataclasses.replace(plain, seed=1, restart=True)
    assert lines(run(again, **QUIET)) != before
    with pytest.raises(InputError, match="restart is for one process, and here are 2"):
        run(again, Share(0, 2), **QUIET)


def test_a_run_that_came_to_nothing_is_not_in_the_way(options: RunOptions) -> None:
    with pytest.raises(InputError, match="'lineal' holds no ranker"):
        run(dataclasses.replace(options, ranker="lineal", ks=(1,)), **QUIET)
    folder = run(dataclasses.replace(options, baseline="popularity"), **QUIET)
    assert json.loads((folder / "run.json").read_text("utf-8"))["config"]["ks"] == [1, 10]
    beside = next(read_predictions(folder / "baselines" / "random.jsonl"))
    assert len(beside.items) == min(14, 10 + len(beside.mentioned))


def test_changed_weights_do_not_mix(options: RunOptions, base: Path, tmp_path: Path) -> None:
    other = tmp_path / "model"
    shutil.copytree(base / "model", other)
    once = dataclasses.replace(options, model=str(other), limit=2)
    run(once, **QUIET)
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"1234")
    with pytest.raises(InputError, match="the model's weights was"):
        run(once, **QUIET)


def test_a_folder_of_something_else_is_left_alone(options: RunOptions) -> None:
    folder = Path(options.out)
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    (folder / "baselines").mkdir()
    for restart in (False, True):
        with pytest.raises(InputError, match="is there and holds no run: give another --out"):
            run(dataclasses.replace(options, restart=restart), **QUIET)
    assert sorted(f.name for f in folder.iterdir()) == ["baselines", "thesis.txt"]
    (folder / "run.json").write_text("{")
    (folder / "predictions.jsonl").write_text("{")
    with pytest.raises(InputError, match="is damaged: begin anew with --restart"):
        run(options, **QUIET)


# -- what is asked ----------------------------------------------------------------------------


def test_a_limit_is_drawn_by_the_seed_and_grows() -> None:
    few, more = drawn(EXAMPLES, 4, 0), drawn(EXAMPLES, 9, 0)
    assert {e.id for e in few} < {e.id for e in more}
    assert few == [e for e in EXAMPLES if e in few]
    assert drawn(EXAMPLES, 4, 1) != few
    assert drawn(EXAMPLES, None, 0) == drawn(EXAMPLES, 99, 3) == EXAMPLES


def conversations(file: Path) -> Path:
    rows: Iterator[dict[str, Any]] = (
        {
            "id": e.id if n else "",
            "dialogue": e.dialogue,
            "messages": [m.to_dict() for m in e.conversation.messages],
            "relevant": list(e.relevant),
        }
        for n, e in enumerate(e for n in range(40) for e in evaluated.talk(n, 1))
    )
    said = "".join(json.dumps(r) + "\n" for r in rows)
    file.write_text(said + "{broken\n", encoding="utf-8")
    return file


def test_a_file_of_conversations(options: RunOptions, tmp_path: Path) -> None:
    file = conversations(tmp_path / "talks.jsonl")
    asked = dataclasses.replace(options, data=str(file), split="test", baseline="repeat-last")
    with pytest.raises(InputError, match="has no items: name a catalogue with --catalog"):
        run(asked, **QUIET)
    world.catalog().save(tmp_path / "films.lance")
    asked = dataclasses.replace(asked, catalog=str(tmp_path / "films.lance"))
    folder = run(asked, **QUIET)
    said = json.loads((folder / "run.json").read_text("utf-8"))
    assert 0 < said["n"] < 20
    assert said["data"]["broken"] == 1
    assert len({p["id"] for p in lines(folder)}) == said["n"]
    with pytest.raises(InputError, match="has no examples 'holdout': it has train, validation"):
        run(dataclasses.replace(asked, split="holdout"), **QUIET)


def test_examples_without_a_name_of_their_own_get_one(tmp_path: Path) -> None:
    ids = [
        e.id
        for s in ("train", "validation", "test")
        for e in Data(conversations(tmp_path / "talks.jsonl")).examples(s)
    ]
    assert len(set(ids)) == len(ids) == 40


class Moody:
    """A system that cannot answer what mentions nothing, and nothing at all if it is cross."""

    name = "moody"
    about: ClassVar[dict[str, Any]] = {}

    def __init__(self, cross: bool = False) -> None:
        self._inner = Baseline("popularity", Mentions(EXAMPLES, evaluated.IDS), depth=3)
        self._cross = cross

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        if self._cross or any(not e.conversation.mentioned for e in examples):
            raise ModelError("the model gives no numbers")
        return self._inner.predictions(examples)


def test_what_cannot_be_answered_is_told_of_and_the_rest_is_done(tmp_path: Path) -> None:
    silent = Example(Conversation((Message("user", "hi"),)), ("coco",), id="silent", dialogue="s")
    ask(tmp_path, Moody, [*EXAMPLES[:2], silent, EXAMPLES[2]], 4)
    said = lines(tmp_path)
    assert [s["error"] for s in said] == [None, None, "the model gives no numbers", None]
    assert said[2]["items"] == []
    assert len(said[3]["items"]) >= 3
    with pytest.raises(InputError, match="the first examples all failed, the model gives no"):
        ask(tmp_path / "cross", lambda: Moody(True), EXAMPLES, 4)


# -- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no data are given: name with --data a folder that train/prepare.py wrote"),
        (["--data", "nowhere"], "nowhere holds no prepared data"),
        (["--data", "DATA", "--split", "test"], "has no examples of the split 'test'"),
        (["--data", "DATA", "--ks", "0"], "ks are 0: give depths of 1 to 1000"),
        (["--data", "DATA", "--limit", "0"], "limit is 0: give 1 or more, or leave it out"),
        (["--data", "DATA", "--lists", "0"], "lists is 0: give 1 or more"),
        (["--data", "DATA", "--temperature", "0"], "temperature is 0.0: lists are sampled above 0"),
        (["--data", "DATA", "--strategy", "fine-tuned"], "needs an adapter and 'embedded' is none"),
        (
            ["--data", "DATA", "--ranker", "linear", "--grounding", "match"],
            "here lists are written",
        ),
        (["--data", "DATA", "--ranker", "nowhere"], "'nowhere' holds no ranker: give a folder"),
        (
            ["--data", "DATA", "--model", "http://x/v1", "--grounding", "constrained"],
            "a server, which gives no token probabilities: use grounding choose or match",
        ),
        (
            ["--data", "DATA", "--grounding", "choose", "--strategy", "few-shot"],
            "a model that chooses answers with numbers",
        ),
        (["--data", "DATA", "--price-read", "-1"], "price_read is -1.0: give 0 or more"),
        (["--data", "DATA", "--server-model", "m"], "and 'embedded' is none: give its URL"),
        (
            ["--data", "DATA", "--grounding", "choose", "--model", "none"],
            "model is 'none': that goes with",
        ),
        (
            [
                "--data",
                "DATA",
                "--model",
                "http://x/v1",
                "--strategy",
                "sampling",
                "--revision",
                "y",
            ],
            "is a server, which holds its model: leave revision and quantization out",
        ),
        (["--data", "DATA", "--strategy", "few-shot", "--shots", "99"], "shots is 99 and"),
        (
            ["--config", "nowhere.yaml"],
            "config is 'nowhere.yaml', which is no file: name a file of",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    flags: list[str], said: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [str(base / "data") if f == "DATA" else f for f in flags]
    assert main([*flags, "--out", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("run: ")
    assert said in told[-1]
    assert "Traceback" not in "".join(told)


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: data/x\nks: [10, 5, 5]\nseed: 3\n")
    made = RunOptions.from_flags({"config": str(file), "seed": 4})
    assert (made.ks, made.seed, made.data) == ((5, 10), 4, "data/x")
    file.write_text(made.resolved)
    assert RunOptions.from_flags({"config": str(file)}) == made
    file.write_text("data: x\nkss: 1\n")
    with pytest.raises(InputError, match="has the option 'kss', which is none: use data, split"):
        RunOptions.from_flags({"config": str(file)})
    with pytest.raises(InputError, match=r"ks is \['a'\]: give a list of whole numbers, or one"):
        RunOptions(data="x", ks=["a"])  # type: ignore[arg-type]


def test_the_script_runs(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    flags = ["--data", str(base / "data"), "--baseline", "popularity", "--out", str(out)]
    assert main([*flags, "--limit", "4", "--ks", "1", "10"]) == 0
    assert f"{out}: report.md and report.html" in capsys.readouterr().out
    assert len(lines(out)) == 4


def test_the_benchmark_runs(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data", str(base / "data"), "--model", str(base / "model"), "--n", "2"]
    assert evaluating.main([*flags, "--lists", "2"]) == 0
    said = capsys.readouterr().out
    assert "14 titles; n 2 examples of 2 dialogues" in said
    assert "| exact search, top 10 |" in said
    assert re.search(r"exact search, top 10 \| [\d,]+ \| [\d.]+ \| 1.000 \| 1.000-1.000 \|", said)
    assert evaluating.main(["--data", "nowhere"]) == 1
    assert "evaluating: nowhere holds no prepared data" in capsys.readouterr().err
