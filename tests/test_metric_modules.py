"""The `evaluate` modules: each loads by path without network, keeps its examples, and is pushed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import LoopbackHub, run_client

from eval.metrics.push import HERE, assemble, chosen, names
from llmrec.errors import InputError
from llmrec.metrics.titles import count_tiers, title_index

EVERY = names()
ABSENT = find_spec("evaluate") is None
needs_evaluate = pytest.mark.skipif(ABSENT, reason="evaluate is not installed")

# `evaluate` imports transformers where it can, which takes longer than all that is tested here.
IMPORT = """
sys.modules['transformers'] = None
import evaluate
del sys.modules['transformers']
"""
# Runs the examples of every module and of its card, then some calls that must or must not do.
LOADING = """
import doctest
from eval.metrics.app import compute, example_of

def examples(text, name):
    said = []
    test = doctest.DocTestParser().get_doctest(text.replace('```', ''), {}, name, None, 0)
    ran = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    return {'failed': ran.failed, 'attempted': ran.attempted, 'said': ''.join(said)}

def refused(call, *args, **inputs):
    try:
        return call(*args, **inputs)
    except ValueError as e:
        return str(e)

out = {}
for name in sys.argv[2:]:
    folder = Path('eval/metrics') / name
    metric = evaluate.load(str(folder))
    card = (folder / 'README.md').read_text(encoding='utf-8')
    inputs = example_of(metric)
    out[name] = {
        'docstring': examples(metric.inputs_description, name),
        'card': examples(card, name),
        'same': [l.strip() in card for l in metric.inputs_description.splitlines() if '>>>' in l],
        'page': compute(metric, json.dumps(inputs)),
        'twice': compute(metric, json.dumps({k: [*v, *v] if k in ('predictions', 'references')
                                             else v for k, v in inputs.items()})),
        'described': [metric.description, metric.citation, metric.features is not None],
    }

recall = evaluate.load('eval/metrics/recall_at_k')
recall.add_batch(predictions=[['a', 'b']], references=[['b', 'c']])
recall.add_batch(predictions=[[]], references=[['a']])
popular = evaluate.load('eval/metrics/mean_popularity')
out['calls'] = {
    'batches': recall.compute(k=[1, 2]),
    'at once': recall.compute(
        predictions=[['a', 'b'], []], references=[['b', 'c'], ['a']], k=[1, 2]
    ),
    'text': refused(recall.compute, predictions=['ab'], references=[['a']]),
    'repeat': refused(recall.compute, predictions=[['a', 'a']], references=[['a']]),
    'numbers': refused(recall.compute, predictions=[[1, 2]], references=[['a']]),
    'unknown': refused(popular.compute, predictions=[['x']], popularity={'a': 1.0}),
    'cut': popular.compute(predictions=[['a', 'b']], popularity={'a': 1.0, 'b': 0.0}, k=1),
    'no JSON': refused(compute, recall, 'predictions'),
    'no object': refused(compute, recall, '[1]'),
    'no references': refused(compute, recall, '{"predictions": [["a"]]}'),
    'strange': refused(compute, recall, '{"predictions": [["a"]], "references": [["a"]], "j": 1}'),
    'empty': compute(popular, '{"predictions": [[]], "popularity": {"a": 1}}'),
}
Path(sys.argv[1]).write_text(json.dumps(out))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What every module said, in a process whose Hub may not be asked for anything."""
    folder = tmp_path_factory.mktemp("loaded")
    with LoopbackHub() as hub:
        result = folder / "out.json"
        done = run_client(IMPORT + LOADING, hub, folder / "home", str(result), *EVERY)
        assert done.returncode == 0, done.stderr
        assert hub.log == []
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def test_the_modules() -> None:
    assert EVERY == [
        "auroc",
        "bleu",
        "catalog_coverage",
        "chrf",
        "duplicate_rate",
        "exact_match_best",
        "expected_calibration_error",
        "gini_index",
        "hit_rate_at_k",
        "intra_list_diversity",
        "list_jaccard",
        "map_at_k",
        "mean_popularity",
        "mrr_at_k",
        "ndcg_at_k",
        "novelty",
        "numeric_accuracy",
        "overlap_at_k",
        "precision_at_k",
        "prediction_rejection_ratio",
        "rank_biased_overlap",
        "recall_at_k",
        "refusal_f1",
        "rouge_l",
        "title_match",
        "token_f1",
    ]


@needs_evaluate
@pytest.mark.parametrize("name", EVERY)
def test_a_module_keeps_its_examples(name: str, loaded: Mapping[str, Any]) -> None:
    found = loaded[name]
    for where in ("docstring", "card"):
        assert found[where] == {"failed": 0, "attempted": 3, "said": ""}
    assert found["same"] == [True, True, True]  # the card has the example of the docstring
    assert found["page"] == found["twice"] or name == "title_match"  # means, no sums
    assert all(isinstance(v, (int, float)) for v in found["page"].values())
    description, citation, typed = found["described"]
    assert description.strip()
    assert citation.strip() or name == "title_match"
    assert typed


@needs_evaluate
def test_inputs_as_users_have_them(loaded: Mapping[str, Any]) -> None:
    calls = loaded["calls"]
    assert calls["batches"] == calls["at once"]
    assert calls["batches"] == {
        "recall@1": 0,
        "recall@2": 0.25,
        "recall_over_targets@1": 0,
        "recall_over_targets@2": 1 / 3,
    }
    assert calls["cut"] == {"mean_popularity": 1.0}
    assert calls["empty"] == {"mean_popularity": None}


@needs_evaluate
@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("text", "Got a string but expected a list instead: 'ab'"),
        ("repeat", "example 0 holds 'a' twice: keep its first place"),
        ("numbers", "Predictions and/or references don't match the expected format"),
        ("unknown", "an example holds 'x', which is none of the 1 known items"),
        ("no JSON", "this is not JSON: Expecting value"),
        ("no object", "this is no JSON object"),
        ("no references", "there is no 'references': it needs predictions, references"),
        ("strange", "unexpected keyword argument 'j'"),
    ],
)
def test_bad_inputs_are_named(call: str, said: str, loaded: Mapping[str, Any]) -> None:
    assert said in loaded["calls"][call]


@pytest.mark.parametrize("name", EVERY)
def test_a_card_is_that_of_a_metric(name: str) -> None:
    from huggingface_hub import metadata_load

    head = metadata_load(HERE / name / "README.md")
    assert head is not None
    assert head["tags"] == ["evaluate", "metric"]
    assert (head["sdk"], head["app_file"], head["license"]) == ("gradio", "app.py", "apache-2.0")
    assert re.fullmatch(r"\d+\.\d+\.\d+", head["sdk_version"])
    assert head["python_version"] == "3.12"
    assert head["title"]
    assert head["description"]


def test_imports_stand_one_a_line() -> None:
    # `evaluate` looks for what has to be installed line by line.
    for name in EVERY:
        code = (HERE / name / f"{name}.py").read_text(encoding="utf-8")
        imports = re.findall(r"^(?:import|from) .*$", code, re.MULTILINE)
        assert {"import datasets", "import evaluate"} < set(imports)
        assert not any(line.endswith("(") for line in imports)


def push(hub: LoopbackHub, home: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = "from eval.metrics.push import main\nsys.exit(main(sys.argv[1:]))"
    return run_client(code, hub, home, *argv, **env)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """A Hub that all metrics were pushed to."""
    with LoopbackHub() as made:
        done = push(made, tmp_path_factory.mktemp("pushing"), "me/")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [f"{made.url}/spaces/me/{name}" for name in EVERY]
        yield made


def test_all_are_pushed_as_spaces(hub: LoopbackHub) -> None:
    for name in EVERY:
        files = hub.tree(f"me/{name}", "space")
        assert sorted(files) == sorted([f"{name}.py", "README.md", "app.py", "requirements.txt"])
        assert hub.repos["space", f"me/{name}"].sdk == "gradio"
        assert f'evaluate.load("me/{name}")' in files["README.md"].decode()
        assert f'evaluate.load("me/{name}")' in files[f"{name}.py"].decode()
        assert files["requirements.txt"] == b"llmrec[eval]\n"


@needs_evaluate
def test_what_was_pushed_is_loaded_by_its_name(hub: LoopbackHub, tmp_path: Path) -> None:
    code = """
metric = evaluate.load('me/ndcg_at_k')
print(json.dumps(metric.compute(predictions=[['a', 'b']], references=[['a']], k=[1, 2])))
"""
    done = run_client(IMPORT + code, hub, tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ndcg@1": 1.0, "ndcg@2": 1.0}


def test_one_is_pushed_and_not_again(hub: LoopbackHub, tmp_path: Path) -> None:
    source = "llmrec @ https://example.org/llmrec.whl"
    argv = ("me/auroc", "--private", "--install", source)
    with LoopbackHub() as fresh:
        first = push(fresh, tmp_path, *argv)
        assert first.stdout.split() == [f"{fresh.url}/spaces/me/auroc"], first.stderr
        assert fresh.repos["space", "me/auroc"].private
        assert fresh.tree("me/auroc", "space")["requirements.txt"] == f"{source}\n".encode()
        commits = fresh.commits("me/auroc", "space")
        assert push(fresh, tmp_path, *argv).returncode == 0
        assert fresh.commits("me/auroc", "space") == commits
        fresh.fault("commit", status=403, times=9)
        refused = push(fresh, tmp_path, "me/gini_index")
        assert refused.returncode == 1
        assert "your token may not do this" in refused.stderr


def test_what_cannot_be_pushed_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no metric 'nothing': use one of auroc, "):
        chosen("me/nothing")
    for target in ("me", "/auroc", ""):
        with pytest.raises(InputError, match="names no Space: use owner/ for all metrics"):
            chosen(target)
    assert chosen("me/auroc") == [("auroc", "me/auroc")]
    with LoopbackHub() as hub:
        done = push(hub, tmp_path, "me/auroc", HF_TOKEN="", HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("push: there is no token for the Hub")


@pytest.mark.slow
@needs_evaluate
@pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")
def test_the_page_of_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "space"
    folder.mkdir()
    assemble("recall_at_k", "me/recall_at_k", folder)
    # As a Space runs it: its own copy, from its own folder.
    code = """
import importlib.util
spec = importlib.util.spec_from_file_location('app', Path(sys.argv[1]) / 'app.py')
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)
assert app.make_parser().parse_args([]).folder == Path(sys.argv[1]).resolve()
page = app.make_page(Path(sys.argv[1]))
answer = next(f.fn for f in page.fns.values() if f.api_name == 'compute')
filled = next(b.value for b in page.blocks.values() if type(b).__name__ == 'Code')
print(json.dumps([json.loads(filled), answer(filled)]))
try:
    answer('no')
except Exception as e:
    print(json.dumps([type(e).__name__, str(e.message)]))
"""
    with LoopbackHub() as hub:
        code = IMPORT + code
        done = run_client(code, hub, tmp_path / "home", str(folder), GRADIO_ANALYTICS_ENABLED="0")
        assert done.returncode == 0, done.stderr
        assert hub.log == []
    good, bad = (json.loads(line) for line in done.stdout.splitlines())
    assert good[0]["references"] == [["coco", "up"], ["jaws"]]
    assert good[1] == {"recall@3": 0.75, "recall_over_targets@3": 2 / 3}
    assert bad[0] == "Error"
    assert "this is not JSON" in bad[1]


def test_every_tier_is_counted() -> None:
    index = title_index(["Heat", ["Jaws", "Tubarão"], "The Godfather"], [1995, 1975, None])
    written = [["Heat", "heat", "Heat (1995)"], [], ["Tubarão", "The Godfater", "Nowhere Land"]]
    assert count_tiers(written, index) == {
        "exact": 2,
        "title_year": 1,
        "alternative": 1,
        "fuzzy": 1,
        "none": 1,
    }
    assert sum(count_tiers([], index).values()) == 0


def test_bad_titles_are_named() -> None:
    with pytest.raises(InputError, match="there are 2 titles and 1 years"):
        title_index(["Heat", "Jaws"], [1995])
    with pytest.raises(InputError, match="an example holds 'Heat' where a list of titles"):
        count_tiers(["Heat"], title_index(["Heat"]))
