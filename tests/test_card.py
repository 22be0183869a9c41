"""The model card says what was recorded, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.training.card import adapter_card, embedded_card, hub_id_of

RECORD: dict[str, Any] = {
    "parameters": 1_900_000,
    "config": {
        "layers": 4,
        "hidden": 160,
        "vocabulary": 4096,
        "learning_rate": 0.002,
        "tokens_per_batch": 2048,
        "seed": 20,
        "minutes": 62.0,
        "threads": 1,
    },
    "cost": {"steps": 11_732, "tokens": 22_700_000, "minutes": 62.0},
    "measured": {
        "messages": 600,
        "marks": 1476,
        "role_accuracy": 0.789,
        "default_role_accuracy": 0.621,
        "later_turns": 202,
        "turn_accuracy": 0.812,
    },
}
ROW = {
    "kind": "natural",
    "language": "all",
    "lead": "rules-only",
    "n": 235,
    "precision": 0.687,
    "recall": 0.803,
    "f1": 0.74,
    "interval": [0.709, 0.77],
}


def test_cost_and_quality_stand_on_the_card() -> None:
    card = embedded_card(RECORD, [ROW, {**ROW, "language": "pt", "f1": 0.999}], "rules")
    assert card.startswith("---\nlanguage: [en, pt, es]")
    for said in ("1.9 million", "11,732 steps", "22.7 million tokens", "78.9%", "62.1%", "81.2%"):
        assert said in card
    row = "| natural | 235 | lexicon and rules alone | 0.687 | 0.803 | 0.740 | 0.709 to 0.770 |"
    assert row in card
    assert "0.999" not in card  # one row per kind: all languages together
    assert "uses “rules, this model fills their gaps”" in card


def test_without_figures_there_is_no_table() -> None:
    card = embedded_card(RECORD, [], "rules")
    assert "who decides" not in card
    assert "## Limits" in card


# Of what was tuned.

EVIL = 'Re"Dial\n---\nlicense: evil\n# <script>x</script> | `a` [b](http://c) @me \u202e$x$'
TUNED: dict[str, Any] = {
    "llmrec": "0.1.0",
    "versions": {"torch": "2.13", "peft": "0.21"},
    "repo_id": "me/redial-lora",
    "base_model": "google/gemma-2-2b-it",
    "base_revision": "abc123",
    "task": "recommend",
    "languages": ["pt", "en"],
    "license": "Apache 2.0",
    "config": {
        "method": "lora",
        "r": 16,
        "dora": False,
        "schedule": "cosine",
        "out": "/home/someone/runs/x",
        "data": "runs/data",
        "limit": None,
    },
    "data": {
        "name": "redial",
        "title": "ReDial",
        "homepage": "https://redialdata.github.io/website/",
        "license": "cc-by-4.0",
        "fingerprint": "f00d",
        "train_rows": 12_345,
        "validation_rows": 678,
        "dropped": {"nothing was recommended": 1_234},
    },
    "parameters": {"total": 2_000_000_000, "trainable": 20_000_000},
    "cost": {
        "steps": 500,
        "tokens": 1_000_000,
        "answer_tokens": 98_765,
        "seconds": 5_400.0,
        "device": "CPU, 1 x 1 threads",
        "peak_memory_mb": 4_321,
    },
    "loss": {"validation_first": 3.21, "validation_best": 1.234567},
    "measured": [
        {
            "name": "Recall@10",
            "slug": "recall_at_10",
            "split": "validation",
            "n": 678,
            "value": 0.123456,
            "low": 0.1,
            "high": 0.15,
            "before": {"value": 0.05, "low": 0.04, "high": 0.06},
            "command": "python eval/run.py --model me/redial-lora",
        },
        {"name": "ndcg@10", "value": 0.07, "before": 0.03},
        {"name": "broken", "value": float("nan")},
    ],
}


def metadata(card: str) -> Any:
    """What the Hub's own classes read in a card, having written it anew from that."""
    from huggingface_hub import ModelCard, ModelCardData

    once = ModelCard(card).data
    assert isinstance(once, ModelCardData)
    again = ModelCard(f"---\n{once.to_yaml()}\n---\nx").data
    assert again.to_dict() == once.to_dict()
    return again


def test_the_metadata_of_an_adapter_is_what_the_hub_reads() -> None:
    data = metadata(adapter_card(TUNED))
    assert data.base_model == "google/gemma-2-2b-it"
    assert data.to_dict()["base_model_relation"] == "adapter"
    assert (data.library_name, data.pipeline_tag) == ("peft", "text-generation")
    assert (data.language, data.license) == (["pt", "en"], "apache-2.0")
    assert data.tags == ["llmrec", "lora", "recommendation", "conversational"]
    assert data.datasets is None  # "redial" is a name of ours
    recall, ndcg = data.eval_results
    assert (recall.task_type, recall.dataset_type) == ("text-generation", "redial")
    assert (recall.dataset_name, recall.dataset_split) == ("ReDial", "validation")
    assert (recall.metric_type, recall.metric_name) == ("recall_at_10", "Recall@10")
    assert recall.metric_value == 0.123456
    assert (ndcg.metric_type, ndcg.metric_value) == ("ndcg_at_10", 0.07)
    assert data.model_name == "me/redial-lora"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"name": "me/films"}, ["me/films"]),
        ({"name": "a", "homepage": "https://huggingface.co/datasets/b/c"}, ["b/c"]),
        ({"name": "a", "homepage": "https://example.org/datasets/b/c"}, None),
    ],
)
def test_data_sets_of_the_hub_are_linked(said: dict[str, str], expected: list[str] | None) -> None:
    assert metadata(adapter_card({**TUNED, "data": said})).datasets == expected


def test_all_that_was_recorded_stands_on_the_card() -> None:
    card = adapter_card(TUNED)
    for line in (
        "An adapter (LoRA) for [google/gemma-2-2b-it](https://huggingface.co/google/gemma-2-2b-it)"
        " (revision abc123), tuned with llmrec. It lists titles that fit a conversation.",
        "- Source: ReDial",
        "- Address: <https://redialdata.github.io/website/>",
        "- Licence of the data: cc-by-4.0",
        "- Rows trained on: 12,345",
        "| nothing was recommended | 1,234 |",
        "- Weights trained: 20,000,000 of 2,000,000,000 (1.00%)",
        "- Time: 90.0 minutes",
        "- Peak memory: 4,321 MB",
        "- Loss on the validation rows, kept step: 1.235",
        "- Versions: llmrec 0.1.0, torch 2.13, peft 0.21",
        "| r | 16 |",
        "| dora | false |",
        "| measure | split | n | value | 95 % interval | before tuning |",
        "| Recall\\@10 | validation | 678 | 0.1235 | 0.1 to 0.15 | 0.05 (0.04 to 0.06) |",
        "| ndcg\\@10 |  |  | 0.07 |  | 0.03 |",
        "python eval/run.py --model me/redial-lora",
    ):
        assert line in card.splitlines(), line
    assert "someone" not in card
    assert "runs/data" not in card
    assert "broken" not in card
    assert "expect less" in card
    assert "Recall@k is the share of the items that the human recommended" in card
    assert "A figure without an interval may be chance." in card


def test_what_is_missing_is_left_out() -> None:
    bare = adapter_card({"task": "reply"})
    data = metadata(bare).to_dict()
    assert set(data) == {"library_name", "pipeline_tag", "tags"}
    assert "Nothing: no figure of its quality was taken." in bare
    for absent in ("## Data", "## Training", "None", "{}", "nan", " 0", "chance"):
        assert absent not in bare
    embedded = adapter_card({"base_model": "llmrec-embedded", "repo_id": None, "license": None})
    assert "the model embedded in llmrec, tuned" in embedded
    assert "base_model" not in metadata(embedded).to_dict()
    assert "base_model" not in metadata(adapter_card({"base_model": "/models/gemma"})).to_dict()
    whole = adapter_card({**TUNED, "config": {"method": "full"}})
    assert metadata(whole).to_dict()["base_model_relation"] == "finetune"
    assert metadata(whole).library_name == "transformers"
    assert "lora" not in metadata(whole).tags


def spoilt(text: str) -> dict[str, Any]:
    """A record in which others chose every word."""
    record: dict[str, Any] = json.loads(json.dumps(TUNED))
    record["data"] |= {"title": text, "license": text, "homepage": text, "name": text}
    record["data"]["dropped"] = {text: 3}
    record["measured"][0] |= {"name": text, "split": text}
    return record | {"license": text, "languages": [text], "task": text, "base_revision": text}


def test_words_of_others_are_no_markup() -> None:
    card = adapter_card(spoilt(EVIL))
    data = metadata(card)
    assert data.license == "other"
    assert data.base_model == "google/gemma-2-2b-it"
    assert "\u202e" not in card
    body = card.split("\n---\n", 1)[1]
    for markup in ("<script>", "](http://c)", "@me", "\n# &lt;", "`a`"):
        assert markup not in body.replace("\\" + markup, "")
    cells = [re.split(r"(?<!\\)\|", line) for line in body.splitlines() if line.startswith("| Re")]
    assert [len(c) for c in cells] == [4, 8]  # rows of the two tables keep their columns


@given(st.text(max_size=40))
def test_any_text_gives_a_card_that_the_hub_reads(text: str) -> None:
    card = adapter_card(spoilt(text))
    assert metadata(card).base_model == "google/gemma-2-2b-it"
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        *("## Use", "## Data", "## Training and cost", "## Measured", "## Limits"),
    ]


TASKS = ("recommend", "reply", "chat", "preferences", "describe", "answer")


@pytest.mark.parametrize("task", TASKS)
def test_the_snippet_names_what_there_is(task: str) -> None:
    import importlib

    from llmrec import Recommender

    code = re.findall(r"```python\n(.*?)```", adapter_card({**TUNED, "task": task}), re.DOTALL)[0]
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "rec":
            assert hasattr(Recommender, node.attr)
    assert 'from_pretrained("me/redial-lora")' in code


@pytest.mark.slow
@pytest.mark.parametrize("task", ["recommend", "preferences", "reply", "answer"])
def test_the_snippet_runs(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    torch.set_num_threads(1)
    card = adapter_card({**TUNED, "task": task, "repo_id": "llmrec-embedded"})
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
    exec(compile(code, task, "exec"), {})
    if task != "answer":  # the embedded model may have nothing to say there
        assert capsys.readouterr().out.strip()


# Names of bases.


def folder(place: Path, **files: Any) -> Path:
    place.mkdir(parents=True)
    for name, content in files.items():
        file = {"readme": "README.md"}.get(name, f"{name}.json")
        (place / file).write_text(content if name == "readme" else json.dumps(content))
    return place


def test_the_id_of_a_folder_is_found(tmp_path: Path) -> None:
    cache = folder(tmp_path / "hub" / "models--google--gemma-2-2b-it" / "snapshots" / "abc")
    assert hub_id_of(cache) == "google/gemma-2-2b-it"
    assert hub_id_of(tmp_path / "models--gpt2" / "snapshots" / "abc") == "gpt2"
    assert hub_id_of("google/gemma-2-2b-it") == "google/gemma-2-2b-it"
    saved = folder(tmp_path / "saved", config={"_name_or_path": str(cache)})
    assert hub_id_of(saved) == "google/gemma-2-2b-it"
    adapter = folder(tmp_path / "a", adapter_config={"base_model_name_or_path": str(saved)})
    assert hub_id_of(adapter) == "google/gemma-2-2b-it"
    card = "---\nbase_model: b/c\nbase_model_relation: adapter\n---\n"
    by_card = folder(tmp_path / "b", adapter_config={"base_model_name_or_path": None}, readme=card)
    assert hub_id_of(by_card) == "b/c"
    # A model that says what it was made from is not that model.
    made_from = "---\nbase_model: [b/c]\n---\n"
    merged = folder(tmp_path / "m", config={"_name_or_path": "b/c"}, readme=made_from)
    assert hub_id_of(merged) is None


@pytest.mark.parametrize(
    "named", ["/data/model", "runs/base", "./x", "..", "model", "C:\\m\\x", "a/b/c", "", None, 3]
)
def test_a_path_is_no_id(named: object, tmp_path: Path) -> None:
    assert hub_id_of(folder(tmp_path / "x", config={"_name_or_path": named})) is None
    assert (
        hub_id_of(folder(tmp_path / "y", adapter_config={"base_model_name_or_path": named})) is None
    )
    assert hub_id_of(tmp_path / "nowhere") is None


def test_a_folder_beside_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "me" / "base", config={})
    assert hub_id_of("me/base") is None
    assert hub_id_of(folder(tmp_path / "x", config={"_name_or_path": "me/base"})) is None
    folder(tmp_path / "loop", config={"_name_or_path": "../loop"})
    assert hub_id_of("loop") is None
    (tmp_path / "x" / "config.json").write_text("[broken")
    assert hub_id_of("x") is None
