"""train/ranker.py: what it learns, measures, writes, pushes, refuses, and leaves when it is cut."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import evaluated
import numpy as np
import pytest
import ranked

from eval.run import main as run_evaluation
from llmrec.catalog import Catalog
from llmrec.datasets import folder as folders
from llmrec.datasets.folder import Folder
from llmrec.errors import InputError
from llmrec.evaluation.learned import Beside, Judged, LearnedSystem
from llmrec.evaluation.predictions import read_predictions
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.ranker import LearnedRanker
from llmrec.ranker.learned import FILES
from llmrec.recommender import Recommender
from llmrec.training.ranking import RECORD, RankerOptions, cross_fitted, learn, measured
from llmrec.types import Conversation, Example, Message
from tests.loopback_hub import LoopbackHub, run_client
from train.ranker import main

ROOT = Path(__file__).resolve().parents[1]
ROW = {i.id: n for n, i in enumerate(ranked.ITEMS)}
WRITTEN = sorted([*FILES, "README.md", RECORD])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("ranked") / "kinds"
    folders.write(ranked.Source(), to, progress=False)
    return to


@pytest.fixture(scope="module")
def training_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("ranked") / "kinds"
    folders.write(ranked.Source("train"), to, progress=False)
    return to


def flags(data: Path, out: Path, *more: str) -> list[str]:
    return ["--data", str(data), "--out", str(out), "--threads", "1", *more]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# -- what comes out ------------------------------------------------------------------------------


def test_a_ranker_is_learned_measured_and_kept(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ranker"
    assert main(flags(data, out, "--folds", "3")) == 0
    assert names(out) == WRITTEN
    ranker = LearnedRanker.load(out)
    assert (ranker.facts["folds"], ranker.facts["dialogues"], ranker.model_share) == (3, 60, 0)

    record = json.loads((out / RECORD).read_text(encoding="utf-8"))
    assert record["config"] == {
        **RankerOptions(data="kinds", out="ranker", folds=3, threads=1).plain
    }
    assert record["data"]["fingerprint"] == Folder.open(data).fingerprint
    assert record["data"]["training_examples"] == len(ranked.TRAINING)
    assert record["ranker"] == ranker.facts
    assert set(record["versions"]) == {"numpy", "scipy", "torch"}
    rows = {(r["system"], r["targets"]): r for r in record["measured"]}
    assert list(rows) == [(s, t) for s in ("popularity", "ranker") for t in ("new", "all")]
    new = rows["ranker", "new"]
    assert new["n"] == 30
    assert 0.95 < new["recall@10"]["low"] <= new["recall@10"]["value"] == 1
    assert new["recall@1"]["value"] < rows["ranker", "all"]["recall@50"]["value"] == 1

    printed, said = capsys.readouterr()
    card = (out / "README.md").read_text(encoding="utf-8")
    for line in printed.splitlines()[1:]:
        assert line.startswith("|")
        assert line in card
    assert f"{out}: 12 items, 120 recommendations in 60 dialogues" in printed
    assert "learning: 100%" in said
    assert card.startswith("---\nlibrary_name: llmrec\n")
    assert card.count("# A ranker for llmrec") == 1
    assert str(tmp_path) not in card + json.dumps(record)

    rec = Recommender.from_pretrained(
        evaluated.model(tmp_path / "model"),
        catalog=Catalog.from_items(ranked.ITEMS),
        ranker=out,
    )
    found = rec.recommend("something with rockets please", k=6)
    assert {r.item.id for r in found} == set(ranked.KINDS["space"])


def test_the_figures_are_those_of_the_saved_ranker(data: Path, tmp_path: Path) -> None:
    assert main(flags(data, tmp_path, "--without", "network", "facts", "--limit", "60")) == 0
    ranker = LearnedRanker.load(tmp_path)
    assert (ranker.facts["examples"], ranker.facts["without"]) == (60, ["network", "facts"])
    system = LearnedSystem("again", ranker, depth=50)
    row = measured("ranker", [p.items for p in system.predictions(ranked.HELD)], ranked.HELD, True)
    assert row is not None
    assert row.to_dict() == json.loads((tmp_path / RECORD).read_text())["measured"][2]
    assert "It combines popularity, together, conversations." in (tmp_path / "README.md").read_text(
        encoding="utf-8"
    )


def test_recall_by_hand() -> None:
    first = Example(Conversation((Message("user", "x", ("a",)),)), ("a", "b", "b"), dialogue="1")
    second = Example(Conversation((Message("user", "x"),)), ("c",), dialogue="2")
    only_old = Example(Conversation((Message("user", "x", ("a",)),)), ("a",), dialogue="3")
    examples = [first, second, only_old]
    ids = [["a", "b"], ["a", "b"], ["a"]]
    new, every = (measured("s", ids, examples, new_only=n) for n in (True, False))
    assert new is not None
    assert every is not None
    assert (new.n, new.recall[1][0], new.recall[10][0]) == (2, 0.5, 0.5)
    assert (every.n, every.recall[1][0], every.recall[10][0]) == (4, 0.5, 0.75)
    assert measured("s", [["a"]], [only_old], new_only=True) is None


def test_without_a_validation_part_nothing_is_measured(
    training_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(training_only, tmp_path)) == 0
    assert "|" not in capsys.readouterr().out
    assert json.loads((tmp_path / RECORD).read_text())["measured"] == []
    assert "Recall" not in (tmp_path / "README.md").read_text()


def test_all_dialogues_may_be_learned_from(data: Path, tmp_path: Path) -> None:
    assert main(flags(data, tmp_path, "--whole")) == 0
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["data"]["training_examples"] == len(ranked.TRAINING) + len(ranked.HELD)
    assert (record["ranker"]["dialogues"], record["measured"]) == (70, [])


# -- beside a model ------------------------------------------------------------------------------


def test_beside_a_model_it_is_found(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = evaluated.model(tmp_path / "tuned")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n\nSaid before.\n")
    for _ in range(2):  # the second time its section is replaced
        assert main(flags(data, folder, "--model", str(folder))) == 0
    said, printed = (folder / "README.md").read_text(), capsys.readouterr().out
    assert said.startswith("---\nlicense: mit\n---\n# A model\n\nSaid before.\n\n<!-- ranker -->")
    assert said.count("## The ranker") == 1
    assert 'rec = Recommender.from_pretrained("tuned", catalog=...)' in said
    assert str(tmp_path) not in said
    record = json.loads((folder / RECORD).read_text())
    assert [r["system"] for r in record["measured"][4:]] == ["ranker and model"] * 2
    assert len(record["shares_of_halves"]) == 2
    assert record["ranker"]["model"] == "tuned"
    assert f"the model counts {record['model_share']:.2f}; by either half" in printed

    rec = Recommender.from_pretrained(folder, catalog=Catalog.from_items(ranked.ITEMS))
    assert rec.learned is not None
    assert rec.learned.model_share == record["model_share"]
    found = rec.recommend("something with sailors please", k=6)
    assert {r.item.id for r in found} == set(ranked.KINDS["sea"])


@pytest.fixture(scope="module")
def beside() -> Beside:
    """A ranker and a model that knows the two films it likes."""
    ranker = LearnedRanker.fit(ranked.TRAINING, ranked.ITEMS)
    model = ScriptedModel(likes={"Coral (1979)": 5.0, "Nebula (2009)": 5.0, "Tides (1980)": 0.1})
    model.profile = Profile(lead="rules-only", detail="turns", writes=False)  # type: ignore[attr-defined]
    catalog = Catalog.from_items(ranked.ITEMS)
    return Beside("both", model, catalog, ranker, depth=10)


def test_a_model_that_knows_more_gets_a_share(beside: Beside) -> None:
    liked = {"sea": "sea-4", "space": "space-4"}
    asked = [e.conversation for e in ranked.HELD[::2]]
    kinds = [e.relevant[0].partition("-")[0] for e in ranked.HELD[::2]]
    wise = [
        Example(c, (liked[kind],), dialogue=str(n))
        for n, (c, kind) in enumerate(zip(asked, kinds, strict=True))
    ]
    done: list[int] = []
    judged = beside.judged(wise, batch=4, step=done.append)
    assert done == [4, 4, 2]
    share = beside.learn_share(wise, judged)
    assert share > 0.5
    assert share == beside.learn_share(wise)
    targets = [ROW[e.relevant[0]] for e in wise]

    def ranks(share: float) -> list[int]:
        return [j.ranked(share)[0].tolist().index(t) for j, t in zip(judged, targets, strict=True)]

    assert sum(ranks(3.0)) <= sum(ranks(share)) < sum(ranks(0.0))
    assert [j.ranked(0.0)[0].tolist() for j in judged] == [j.rows.tolist() for j in judged]
    wrong = [dataclasses.replace(e, relevant=("sea-2", "space-2")) for e in wise]
    assert beside.learn_share(wrong, judged) == 0


def test_what_is_measured_was_not_learned_from(beside: Beside) -> None:
    """No target of a half of the dialogues changes a ranking of that half."""
    rng = np.random.default_rng(0)
    rows = np.arange(12, dtype=np.int32)
    judged = [
        Judged(rows, np.log(np.full(12, 1 / 12, np.float32)), rng.standard_normal(12))
        for _ in range(40)
    ]
    ids = beside._ranker.ids

    def told(right: list[int]) -> list[Example]:
        talk = Conversation((Message("user", "x"),))
        return [
            Example(talk, (ids[r],), dialogue=f"d{n // 2}") for n, r in enumerate(right)
        ]  # two examples a dialogue

    wise = [int(j.opinions.argmax()) for j in judged]
    foolish = [int(j.opinions.argmin()) for j in judged]
    shares, ranked_ = cross_fitted(beside, told(wise), judged)
    assert min(shares) > 0.5
    for n in range(0, 40, 2):
        mixed = [*wise[:n], *foolish[n : n + 2], *wise[n + 2 :]]
        others, again = cross_fitted(beside, told(mixed), judged)
        changed = [h for h in (0, 1) if others[h] != shares[h]]
        assert len(changed) == 1
        assert again[n].tolist() == ranked_[n].tolist()
        assert again[n + 1].tolist() == ranked_[n + 1].tolist()
    all_wrong, _ = cross_fitted(beside, told(foolish), judged)
    assert all_wrong == (0, 0)


def test_a_run_measures_the_same(data: Path, tmp_path: Path) -> None:
    assert main(flags(data, tmp_path / "ranker")) == 0
    record = json.loads((tmp_path / "ranker" / RECORD).read_text())
    model = evaluated.model(tmp_path / "model")
    LearnedRanker.load(tmp_path / "ranker").with_share(0.7).save(tmp_path / "both")
    for name, more in {"ranker": "none", "both": str(model)}.items():
        options = ["--data", str(data), "--model", more, "--ranker", str(tmp_path / name)]
        options += ["--out", str(tmp_path / "run" / name), "--threads", "1"]
        assert run_evaluation(options) == 0
    alone, both = (
        [p.items for p in read_predictions(tmp_path / "run" / n / "predictions.jsonl")]
        for n in ("ranker", "both")
    )
    row = measured("ranker", alone, ranked.HELD, new_only=True)
    assert row is not None
    assert row.to_dict() == record["measured"][2]
    assert [set(a) for a in alone] == [set(b) for b in both]
    assert alone != both


# -- the Hub -------------------------------------------------------------------------------------


def test_it_is_pushed_and_loaded_by_name(data: Path, tmp_path: Path) -> None:
    code = """
    from train.ranker import main
    from llmrec import Catalog, Recommender
    from llmrec.datasets.folder import Folder

    assert main(["--data", sys.argv[1], "--out", sys.argv[2], "--push-to-hub", "me/ranker"]) == 0
    rec = Recommender.from_pretrained(
        ranker="me/ranker", catalog=Catalog.from_items(Folder.open(sys.argv[1]).items())
    )
    found = rec.recommend("something with planets please", k=6)
    print(json.dumps([rec.learned.fingerprint, sorted(r.item.id for r in found)]))
    """
    out = tmp_path / "out"
    with LoopbackHub() as hub:
        done = run_client(dedent(code), hub, tmp_path / "home", str(data), str(out))
        assert done.returncode == 0, done.stderr
        tree = hub.tree("me/ranker")
    assert f"{hub.url}/me/ranker" in done.stdout
    fingerprint, found = json.loads(done.stdout.splitlines()[-1])
    assert fingerprint == LearnedRanker.load(out).fingerprint
    assert found == sorted(ranked.KINDS["space"])
    assert {n: (out / n).read_bytes() for n in WRITTEN} == {n: tree[n] for n in WRITTEN}
    assert b'from_pretrained(ranker="me/ranker", catalog=...)' in tree["README.md"]


# -- what is refused, and what is left when it is cut --------------------------------------------


def test_a_push_that_cannot_begin_is_refused_before_the_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(data, tmp_path / "out", "--push-to-hub", "no/such/name")) == 1
    assert capsys.readouterr().err.startswith("ranker: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--without", "stars"], "there is no signal 'stars': use some of popularity, together"),
        (["--folds", "1"], "folds is 1: give 2 or more"),
        (["--folds", "90"], "60 dialogues in 90 folds"),
        (["--whole", "--model", "embedded"], "give a model or --whole, not both"),
        (["--adapter", "x"], "the adapter 'x' has no model: name it with --model"),
        (["--model", "nowhere/at/all"], "nowhere/at/all"),
        (["--encoder", "tests", "--push-to-hub", "me/x"], "tests, which others do not have: name"),
    ],
)
def test_what_cannot_be_done_is_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(flags(data, tmp_path / "out", *more)) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("ranker: ")
    assert message in said
    assert not (tmp_path / "out").exists()


def test_what_the_data_lack_is_said(training_only: Path, tmp_path: Path) -> None:
    for more in ({"model": "embedded"}, {"whole": True}):
        with pytest.raises(InputError, match="has no validation part, which --model and --whole"):
            learn(RankerOptions(data=str(training_only), **more))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no prepared data \(no prepare.json\): make it with"):
        learn(RankerOptions(data=str(tmp_path)))
    with pytest.raises(InputError, match="no data are given: name with --data a folder"):
        RankerOptions()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=re.escape("file', which is a file: name a folder")):
        RankerOptions(data="x", out=str(tmp_path / "file"))


def test_interrupted_it_leaves_what_was_there(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("mine")
    command = [sys.executable, "-W", "ignore", "train/ranker.py", *flags(data, out)]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as p:
        assert p.stderr is not None
        seen = b""
        while b"learning" not in seen and (piece := p.stderr.read(1)):
            seen += piece
        p.send_signal(signal.SIGINT)
        rest = p.stderr.read()
        assert p.wait() == 130, seen + rest
    assert b"ranker: interrupted; nothing was written" in rest
    assert names(out) == ["README.md"]
    assert (out / "README.md").read_text() == "mine"
