"""What a run tells of a model that chose: by hand, and over a server, killed and gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import evaluated
import numpy as np
import pytest
from test_endpoint import Request, Server, serving
from test_servers import exported, llama_server, running

from eval.run import main
from llmrec.choosing import Tally
from llmrec.errors import InputError
from llmrec.evaluation.baselines import prediction
from llmrec.evaluation.choice_report import tell, write_as_listed
from llmrec.evaluation.choices import FILE, Noted, read_notes
from llmrec.evaluation.comparing import compare
from llmrec.evaluation.options import RunOptions
from llmrec.evaluation.predictions import Prediction, read_predictions, write_predictions
from llmrec.evaluation.running import run
from llmrec.evaluation.systems import Choice
from llmrec.models.endpoint import KEY, Usage
from llmrec.types import Conversation, Example, Message

__all__ = ["exported"]  # a fixture


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated.data(tmp_path_factory.mktemp("choices") / "data")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv(KEY, raising=False)
    with serving() as made:
        yield made


class Given:
    """A system that says what is written down here."""

    name = "given"

    def __init__(self, model: Any = None) -> None:
        self.about: dict[str, Any] = {}
        self.choices: dict[str, Choice] = {}
        self.model = model

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        out = []
        self.choices = {}
        for e in examples:
            order = ("a", "b", "c", "d", "e")
            picked = {"1": ("c",), "2": (), "3": ("b", "a")}[e.id]
            unread = not picked
            counts = Tally(1, unread, len(picked), 0, 0, 4, 0.25 * len(picked))
            self.choices[e.id] = Choice(order, counts)
            items = dict.fromkeys((*picked, *order))
            out.append(prediction(e, list(items), tiers={"chosen": len(picked)} if picked else {}))
        if self.model is not None:
            used = self.model.usage
            self.model.usage = Usage(used.prompt_tokens + 100, used.completion_tokens + 7, 3)
        return out


class Counting:
    usage = Usage()


def example(name: str, *relevant: str) -> Example:
    talk = Conversation((Message("user", "something"),))
    return Example(talk, relevant, id=name, dialogue=name)


EXAMPLES = [example("1", "c"), example("2", "d", "e"), example("3", "a")]


def finished(folder: Path, model: Any = None) -> Path:
    """A run of the system above, with what a run folder holds."""
    system = Noted(Given(model), model, folder)
    write_predictions(folder / "predictions.jsonl", system.predictions(EXAMPLES))
    said = {"system": "given", "config": {"ks": [1, 4]}, "n": 3, "catalog": 5}
    (folder / "run.json").write_text(json.dumps(said))
    (folder / "items.json").write_text(json.dumps({"ids": list("abcde")}))
    (folder / "baselines").mkdir()
    return folder


def test_figures_by_hand(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    write_as_listed(folder)
    listed = list(read_predictions(folder / "baselines" / "as listed.jsonl"))
    assert [p.items for p in listed] == [("a", "b", "c", "d", "e")] * 3
    assert [p.relevant for p in listed] == [e.relevant for e in EXAMPLES]
    told = tell(folder)
    said = json.loads((folder / "choices.json").read_text())
    assert (folder / "choices.md").read_text().strip() == told
    recall = {name: of["recall@1"]["value"] for name, of in said["systems"].items()}
    # Targets c; d, e; a: the model has c and then b, the list has a, and of e nobody knows.
    assert recall == {"given": 1 / 4, "as listed": 1 / 4, "best of the list": 3 / 4}
    assert said["systems"]["best of the list"]["recall@4"]["value"] == 3 / 4
    test = said["tests"]["mrr@4"]
    assert test["difference"] == pytest.approx((1 - 1 / 3 + 0 + 1 / 2 - 1) / 3)
    assert 0 < test["p"] <= test["holm"] <= 1
    answers = said["answers"]
    assert (answers["asked"], answers["not_asked"]) == (3, 0)
    assert answers["fell_back"]["value"] == answers["unread"]["value"] == pytest.approx(1 / 3)
    assert answers["picked"]["value"] == 1
    assert answers["listed"]["value"] == 4
    assert answers["down"]["value"] == pytest.approx(0.25)
    assert "usage" not in said
    by = compare([folder], baselines=True, metrics=("recall@4",))
    assert [t["name"] for t in by.tests] == ["as listed (baseline)"]


def test_what_was_asked_twice_was_paid_for_twice(tmp_path: Path) -> None:
    model = Counting()
    folder = finished(tmp_path, model)
    with (folder / FILE).open("ab") as file:
        file.write(b'\n{"usage": {"prompt_')  # a kill
    Noted(Given(model), model, folder).predictions(EXAMPLES[:1])
    notes = read_notes(folder)
    assert list(notes.choices) == ["1", "2", "3"]
    assert notes.usage == Usage(200, 14, 3)  # the counter of requests did not move again
    write_as_listed(folder)
    assert "200 tokens read, 14 written" in tell(folder)
    assert "cost" not in tell(folder)
    afresh = Noted(Given(model), model, folder, afresh=True)
    assert read_notes(folder) == ({}, None)
    assert tell(folder) == ""
    afresh.predictions(EXAMPLES[:1])
    assert list(read_notes(folder).choices) == ["1"]
    (folder / FILE).write_text('{"usage": 7, "choices": {}}\n')
    with pytest.raises(InputError, match="is damaged"):
        read_notes(folder)


def test_what_fails_is_noted_too(tmp_path: Path) -> None:
    class Failing(Given):
        def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
            super().predictions(examples)
            self.choices = {}
            raise InputError("no")

    model = Counting()
    with pytest.raises(InputError):
        Noted(Failing(model), model, tmp_path).predictions(EXAMPLES)
    assert read_notes(tmp_path) == ({}, Usage(100, 7, 3))


# -- over a server ----------------------------------------------------------------------------


def chooses(request: Request) -> str:
    """The film named in the title of the second line, or nothing that can be read."""
    if len(request.body["messages"][-1]["content"]) % 5 == 0:
        return "Hm."
    return '{"chosen": ["2", "1"]}'


def test_a_server_is_measured_with_its_price(
    server: Server, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.reply = chooses
    out = tmp_path / "run"
    command = ["--data", str(data), "--model", server.url, "--out", str(out), "--ks", "1", "10"]
    command += ["--price-read", "1000", "--price-written", "2000", "--limit", "12"]
    assert main(command) == 0
    told = capsys.readouterr().out
    made = list(read_predictions(out / "predictions.jsonl"))
    config = json.loads((out / "run.json").read_text())["config"]
    assert (config["grounding"], config["ranker"]) == ("choose", "linear")
    said = json.loads((out / "choices.json").read_text())
    used = said["usage"]
    asked = [r for r in server.chats if "from the list below" in str(r.body["messages"][0])]
    assert used["requests"] == len(server.chats) + 1  # and which models it has
    assert len(asked) >= 12
    assert used["prompt_tokens"] == 7 * len(server.chats)  # as it counts them
    assert used["completion_tokens"] == 3 * len(server.chats)
    assert used["cost"] == pytest.approx((7 * 1000 + 3 * 2000) / 1e6 * len(server.chats))
    assert sum(p.tokens for p in made) == 10 * len(server.chats)
    assert f"{used['requests']} requests" in told
    assert f"cost {used['cost']:.4f}" in told
    assert said["answers"]["asked"] == len(made) == 12
    fell = [not p.tiers for p in made]
    assert said["answers"]["fell_back"]["value"] == pytest.approx(np.mean(fell))
    report = (out / "report.md").read_text()
    assert "| as listed" in report
    assert "| titles | chosen |" in " ".join(report.split())
    before = len(server.requests)
    assert main(command) == 0  # nothing is left to ask
    assert len(server.requests) == before
    assert json.loads((out / "choices.json").read_text()) == said
    server.reply = lambda _: "1. Coco"
    assert main([*command, "--restart", "--grounding", "match"]) == 0
    assert not (out / "baselines" / "as listed.jsonl").exists()
    assert json.loads((out / "choices.json").read_text()).keys() == {"usage"}


def test_an_adapter_of_the_server_is_another_system(
    server: Server, data: Path, tmp_path: Path
) -> None:
    given = {"data": str(data), "model": server.url, "server_model": "big", "adapter": "films"}
    options = RunOptions(**given, out=str(tmp_path / "run"), grounding="match", limit=2)
    assert options.system == "big + films, zero-shot, match"
    server.reply = lambda _: "1. Coco"
    server.pages["/v1/models"].body = {
        "data": [
            {"id": "big", "owned_by": "vllm"},
            {"id": "films", "owned_by": "vllm", "parent": "big"},
        ]
    }
    folder = run(options, progress=False)
    assert {r.body["model"] for r in server.chats} == {"films"}
    notes = read_notes(folder)
    assert not notes.choices
    assert notes.usage is not None
    write_as_listed(folder)
    assert not (folder / "baselines" / "as listed.jsonl").exists()
    assert "tokens read" in tell(folder)
    assert RunOptions(data="x", model=server.url, strategy="sampling").grounding == "constrained"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_real_server_is_measured(exported: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with running([*llama_server(exported), "--parallel", "2"]) as url:
        command = ["--data", str(data), "--model", url, "--out", str(out), "--batch-size", "2"]
        assert main([*command, "--limit", "4", "--price-read", "1", "--price-written", "2"]) == 0
    said = json.loads((out / "choices.json").read_text())
    answers, used = said["answers"], said["usage"]
    assert answers["asked"] == 4
    assert answers["unread"]["value"] == answers["unknown"]["value"] == 0  # it keeps to the schema
    assert answers["picked"]["value"] >= 1
    assert used["prompt_tokens"] > 100 * used["requests"] / 2 > 0
    tokens = used["prompt_tokens"] + 2 * used["completion_tokens"]
    assert used["cost"] == pytest.approx(tokens / 1e6)
    made = list(read_predictions(out / "predictions.jsonl"))
    assert sum(p.tokens for p in made) == used["prompt_tokens"] + used["completion_tokens"]
