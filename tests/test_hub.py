"""Pushing and pulling, by the real client, in processes of their own, against a loopback Hub."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from llmrec.errors import HubError, InputError
from llmrec.hub import clear_error, pull, push_folder
from tests.loopback_hub import ROOT, TOKEN, LoopbackHub, client_command, client_env, run_client

CARD = "---\nlicense: apache-2.0\n---\n# An adapter\n"
SAY = """
from llmrec.hub import pull, push_folder
from llmrec.errors import LLMRecError

def attempt(call, *args, **options):
    try:
        said = str(call(*args, **options))
    except LLMRecError as e:
        said = f"{type(e).__name__}: {e}"
    print(json.dumps(said))
"""


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub(part_bytes=300_000) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter as a training leaves it: two LFS files, small ones, and what stays at home."""
    place = tmp_path / "adapter"
    noise = random.Random(3)
    for name, data in {
        "README.md": CARD.encode(),
        "adapter_config.json": b'{"peft_type": "LORA"}',
        "adapter_model.safetensors": noise.randbytes(1_000_000),
        "more/second.safetensors": noise.randbytes(200_000),
        "more/tokenizer.json": b"{}",
        "training_args.bin": b"pickle",
        "checkpoint-100/optimizer.pt": b"pickle",
        "checkpoint-100/adapter_model.safetensors": b"older",
        "runs/events.out.tfevents.1700000000.my-machine.1.0": b"",
        ".cache/huggingface/x": b"",
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


PUSHED = (
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "more/second.safetensors",
    "more/tokenizer.json",
)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PUSHED if (folder / name).exists()}


def digest(folder: Path) -> str:
    """Of every path, content and time of a folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        total.update(f"{path} {path.stat().st_mtime_ns}".encode())
        total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()


def said(code: str, hub: LoopbackHub, home: Path, *argv: str, **env: str) -> tuple[list[str], str]:
    """What the code prints with ``attempt``, and stderr; neither ever has the token in it."""
    done = run_client(SAY + code, hub, home, *argv, **env)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


PUSH = "attempt(push_folder, sys.argv[1], 'me/name', progress=False)"


# What goes up comes down.


def test_a_folder_goes_up_in_one_commit_and_comes_down(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    before = digest(folder)
    code = """
    folder = Path(sys.argv[1])
    attempt(push_folder, folder, "me/name", message="First")
    attempt(push_folder, folder, "me/name", message="Again")
    attempt(pull, "me/name")
    """
    (first, again, pulled), stderr = said(dedent(code), hub, tmp_path / "home", str(folder))
    assert first == again == f"{hub.url}/me/name"
    assert hub.commits("me/name") == ["initial", "First"]
    assert f"me/name has all of {folder} already: no new commit" in stderr
    assert hub.tree("me/name") == contents(folder)
    assert {n: (Path(pulled) / n).read_bytes() for n in PUSHED} == contents(folder)
    assert hub.lfs_paths("me/name") == {"adapter_model.safetensors", "more/second.safetensors"}
    assert ("complete", 200) in hub.log  # the large one went in parts
    assert len(hub.stored) == 2
    assert digest(folder) == before


def test_what_is_new_is_pushed_and_the_rest_stays(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    code = """
    folder = Path(sys.argv[1])
    attempt(push_folder, folder, "me/name", private=True)
    attempt(push_folder, folder, "me/open", ignore=["more/*"])
    attempt(push_folder, folder, "me/open", private=True)
    attempt(push_folder, folder, "me/page", kind="space")
    (folder / "README.md").write_text("---\\nlicense: mit\\n---\\nNew", encoding="utf-8")
    (folder / "more/second.safetensors").unlink()
    attempt(push_folder, folder, "me/name", message="New card")
    attempt(push_folder, folder, "me/name", revision="v2", ignore=["README.md"])
    """
    answers, stderr = said(dedent(code), hub, tmp_path / "home", str(folder))
    assert hub.repos["model", "me/name"].private
    assert not hub.repos["model", "me/open"].private
    assert "more/tokenizer.json" not in hub.tree("me/open")
    assert answers[2].startswith(f"HubError: {folder} was not pushed: private was asked for, and")
    assert "hf upload" not in answers[2]
    assert hub.commits("me/open") == ["initial", hub.commits("me/open")[1]]
    assert answers[3] == f"{hub.url}/spaces/me/page"
    assert hub.repos["space", "me/page"].sdk == "gradio"
    assert hub.commits("me/name")[2:] == ["New card"]
    assert hub.tree("me/name")["README.md"].endswith(b"New")
    assert "more/second.safetensors" in hub.tree("me/name")
    assert hub.tree("me/name", revision="v2") == hub.tree("me/name")
    assert len(hub.stored) == 2  # three pushes and two repositories share the same blobs
    assert "no new commit" in stderr


def test_what_the_folder_no_longer_has_goes_in_the_same_commit(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    said("attempt(push_folder, sys.argv[1], 'me/name')", hub, tmp_path / "home", str(folder))
    others = {"more/theirs.txt": b"x", "extra/deep/theirs.txt": b"x", "training_args.bin": b"old"}
    hub.put("me/name", {**others, "extras.md": b"x"})
    (folder / "more/second.safetensors").unlink()
    (folder / "README.md").write_text("---\nlicense: mit\n---\nNew", encoding="utf-8")
    code = """
    folder, delete = sys.argv[1], ["more/*", "extra/*", "*.bin", ".git*"]
    for message in ("Less", "Again"):
        attempt(push_folder, folder, "me/name", message=message, delete=delete)
    """
    before = digest(folder)
    hub.fault("commit", lose=True)  # the second try finds nothing left to delete
    answers, stderr = said(dedent(code), hub, tmp_path / "home", str(folder))
    assert answers == [f"{hub.url}/me/name"] * 2
    assert hub.commits("me/name")[2:] == ["by somebody else", "Less"]
    assert "no new commit" in stderr
    # What stays at home is in the folder, so its older self stays too.
    more = {"extras.md": b"x", "training_args.bin": b"old"}
    assert hub.tree("me/name") == {**contents(folder), **more}
    repo = hub.repos["model", "me/name"]
    assert ".gitattributes" in repo.commits[repo.branches["main"]]
    assert digest(folder) == before


def test_a_push_that_deletes_says_how_to_finish(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    said("attempt(push_folder, sys.argv[1], 'me/name')", hub, tmp_path / "home", str(folder))
    hub.put("me/name", {"more/old.txt": b"x"})
    hub.fault("commit", status=403)
    code = "attempt(push_folder, sys.argv[1], 'me/name', delete=['more/*', 'x y/*'])"
    (problem,), _ = said(code, hub, tmp_path / "home", str(folder))
    assert "more/old.txt" in hub.tree("me/name")
    words = shlex.split(problem.partition("run the same command again, or: ")[2])
    assert words[-4:] == ["--delete", "more/*", "--delete", "x y/*"]
    hf = Path(sys.executable).with_name("hf")
    environment = client_env(hub, tmp_path / "home")
    subprocess.run([hf, *words[1:]], check=True, env=environment, capture_output=True)
    assert hub.tree("me/name") == contents(folder)


def test_a_pull_brings_no_pickles(hub: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    code = """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    for name in ("odd", "mixed"):
        api.create_repo(f"me/{name}")
        files = ("WEIGHTS.BIN", "model.py", "a.pkl") + (("a.json",) if name == "mixed" else ())
        ops = [CommitOperationAdd(path_in_repo=f, path_or_fileobj=b"x") for f in files]
        api.create_commit(f"me/{name}", ops, commit_message="not by llmrec")
    attempt(pull, "me/odd")
    attempt(pull, "me/mixed", allow=["*"])
    attempt(pull, "me/mixed", kind="dataset")
    attempt(pull, "me/mixed", revision="v9")
    """
    (odd, mixed, no_data, no_rev), _ = said(dedent(code), hub, tmp_path / "home")
    assert odd.startswith("HubError: the model me/odd has no file that matches *.csv, ")
    assert sorted(p.name for p in Path(mixed).iterdir()) == [".gitattributes", "a.json", "model.py"]
    assert "the Hub has no dataset me/mixed, or shows it to its owners only" in no_data
    assert "model me/mixed has no such branch, tag or commit" in no_rev
    offline, _ = said(
        "attempt(pull, 'me/mixed', allow=['*']); attempt(pull, 'me/else')",
        hub,
        tmp_path / "home",
        HF_HUB_OFFLINE="1",
    )
    assert offline[0] == mixed  # from the cache
    assert "HF_HUB_OFFLINE is set, so the Hub is not asked for model me/else" in offline[1]


def test_a_data_set_is_read_back_by_datasets(hub: LoopbackHub, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    data = tmp_path / "data"
    data.mkdir()
    (data / "README.md").write_text(
        "---\nlicense: cc-by-4.0\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: train\n    path: train-*.parquet\n- config_name: facts\n  data_files:\n"
        "  - split: test\n    path: facts/*.parquet\n---\n"
    )
    (data / "facts").mkdir()
    code = """
    import pyarrow as pa, pyarrow.parquet as pq
    from datasets import load_dataset

    for text, name in (("a", "train-0"), ("b", "train-1"), ("c", "facts/0")):
        pq.write_table(pa.table({"text": [text]}), f"{sys.argv[1]}/{name}.parquet")
    attempt(push_folder, sys.argv[1], "me/films", kind="dataset", private=True, progress=False)
    found = load_dataset("me/films") | load_dataset("me/films", "facts")
    print(json.dumps({split: list(found[split]["text"]) for split in found}))
    streamed = load_dataset("me/films", split="train", streaming=True)
    print(json.dumps([row["text"] for row in streamed]))
    """
    (url, rows, streamed), _ = said(dedent(code), hub, tmp_path / "home", str(data))
    assert url == f"{hub.url}/datasets/me/films"
    assert rows == {"train": ["a", "b"], "test": ["c"]}
    assert streamed == ["a", "b"]
    assert hub.lfs_paths("me/films", "dataset") == {
        "facts/0.parquet",
        "train-0.parquet",
        "train-1.parquet",
    }


@pytest.mark.slow
def test_an_adapter_is_used_by_the_name_of_its_repository(hub: LoopbackHub, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    code = """
    import torch
    from peft import LoraConfig, get_peft_model
    from llmrec import Recommender
    from llmrec.models.local import LocalModel

    torch.set_num_threads(1)
    lora = LoraConfig(r=2, target_modules=["q_proj"])
    tuned = get_peft_model(LocalModel.from_pretrained().model, lora)
    tuned.peft_config["default"].base_model_name_or_path = "llmrec-embedded"
    tuned.save_pretrained(sys.argv[1])
    (Path(sys.argv[1]) / "README.md").write_text("---\\nlicense: mit\\n---\\n")
    attempt(push_folder, sys.argv[1], "me/tuned", progress=False)
    found = Recommender.from_pretrained("me/tuned").recommend("uma comédia dos anos 90", k=3)
    print(json.dumps([r.item.title for r in found]))
    """
    (url, titles), _ = said(dedent(code), hub, tmp_path / "home", str(tmp_path / "adapter"))
    assert url == f"{hub.url}/me/tuned"
    assert len(titles) == 3


# What goes wrong on the way.


def test_what_passes_is_tried_again(hub: LoopbackHub, folder: Path, tmp_path: Path) -> None:
    hub.fault("create", status=503)
    hub.fault("info", drop=True)
    hub.fault("blob", status=500)
    hub.fault("blob", drop=True, skip=1)
    hub.fault("commit", lose=True)
    (url,), _ = said(PUSH, hub, tmp_path / "home", str(folder))
    assert url == f"{hub.url}/me/name"
    assert hub.tree("me/name") == contents(folder)
    assert len(hub.commits("me/name")) == 2  # the commit whose answer was lost is not made twice
    for fault in (("create", 503), ("info", 0), ("blob", 500), ("blob", 0), ("commit", 0)):
        assert fault in hub.log
    assert len(hub.stored) == 2


def test_a_push_that_stops_half_way_says_how_to_finish(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    before = digest(folder)
    code = 'attempt(push_folder, sys.argv[1], f"me/{sys.argv[2]}", ignore=["more/token*"])'
    finish = {}
    for name in ("by-push", "by-command"):
        hub.heal()
        hub.blobs.clear()
        hub.fault("complete", status=403, echo=True)
        (problem,), _ = said(code, hub, tmp_path / "home", str(folder), name)
        start, _, finish[name] = problem.partition("run the same command again, or: ")
        assert start.startswith(f"HubError: {folder} was not pushed to me/{name}: your token may ")
        assert "the repository is there and has nothing of this push" in start
        assert f"nothing in {folder} changed" in start
        assert hub.tree(f"me/{name}") == {}
        assert digest(folder) == before
        if name == "by-push":
            said(code, hub, tmp_path / "home", str(folder), name)
        else:
            words = shlex.split(finish[name])
            assert words[:3] == ["hf", "upload", "me/by-command"]
            hf = Path(sys.executable).with_name("hf")
            environment = client_env(hub, tmp_path / "home")
            subprocess.run([hf, *words[1:]], check=True, env=environment, capture_output=True)
        expected = contents(folder)
        del expected["more/tokenizer.json"]
        assert hub.tree(f"me/{name}") == expected
        assert len(hub.commits(f"me/{name}")) == 2
        assert len(hub.stored) == len(set(hub.stored)) == 2  # nothing was sent twice
    assert "--exclude more/tokenizer.json" in finish["by-push"]
    assert "--exclude 'checkpoint-100/*'" in finish["by-push"]


def test_a_killed_push_is_finished_by_the_next(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    hub.fault("complete", delay=60)
    environment = client_env(hub, tmp_path / "home")
    with subprocess.Popen(
        client_command(SAY + PUSH, str(folder)), env=environment, cwd=ROOT, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while not (hub.held and hub.stored):  # one is there, one is under way
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert hub.tree("me/name") == {}
    said(PUSH, hub, tmp_path / "home", str(folder))
    assert hub.tree("me/name") == contents(folder)
    assert len(hub.commits("me/name")) == 2
    assert len(hub.stored) == len(set(hub.stored)) == 2


def test_refusals_are_clear_and_never_show_the_token(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    wrong = "Invalid credentials in Authorization header"
    hub.fault("create", status=401, echo=True, X_Error_Message=wrong)
    hub.fault("create", status=400, echo=True)
    hub.fault("commit", status=409, echo=True)
    hub.fault("commit", status=413)
    hub.fault("validate", status=422, echo=True, skip=2)
    hub.fault("validate", status=400)
    hub.fault("info", status=403, skip=5, echo=True, X_Error_Code="GatedRepo")
    hub.fault("tree", status=418, echo=True, X_Error_Message=f"it was {TOKEN}")
    code = """
    folder = Path(sys.argv[1])
    for n in range(5):
        attempt(push_folder, folder, "me/name", progress=False)
    attempt(push_folder, folder, "them/name", progress=False)
    attempt(pull, "me/name")
    attempt(pull, "me/name")
    attempt(push_folder, folder, "me/name", progress=False)
    (folder / "README.md").write_text("---\\na: [\\n---\\n", encoding="utf-8")
    attempt(push_folder, folder, "me/name", progress=False)
    """
    answers, _ = said(dedent(code), hub, tmp_path / "home", str(folder))
    for answer, words in zip(
        answers,
        (
            "the Hub does not know your token: log in with `hf auth login`, or set HF_TOKEN",
            "the Hub does not take it (400, it says: a fault to (token)); nothing was sent",
            "someone else changes model me/name at this moment: try again (409, it says",
            "the Hub finds it too large: leave files out with ignore",
            "(422, it says: a fault to (token)",
            "with write access to it in the settings of your account, then log in with `hf auth",
            "model me/name is gated: ask for access on its page",
            "the Hub refuses (418, it says: it was (token)",
            "the Hub does not take it (400, it says: Invalid metadata in README.md)",
            "README.md cannot be read (while parsing a flow node",
        ),
        strict=True,
    ):
        assert words in answer, answer
        assert "\n" not in answer


def test_pickles_and_secrets_stay_at_home(hub: LoopbackHub, tmp_path: Path) -> None:
    code = """
    for name, text in json.loads(sys.argv[2]):
        folder = Path(sys.argv[1]) / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text, encoding="utf-8")
        attempt(push_folder, folder, "me/name", progress=False)
    """
    cases = [
        ["pytorch_model.bin", "", "may be a pickle"],
        [
            "deep/Model.PT",
            "",
            "save it as safetensors, or leave it out with ignore=('deep/Model.PT",
        ],
        [".env", "", "looks like a secret"],
        ["hf_token.txt", "", "looks like a secret"],
        ["training.json", '{"hub_token": "hf_' + "a" * 34 + '"}', "has a token of the Hub in it"],
        ["notes.md", f"export HF_TOKEN={TOKEN}", "has a token of the Hub in it"],
        ["optimizer.pt", "", "has no file to push"],
        ["tokenizer.json", "{}", hub.url],
        ["special_tokens_map.json", '{"a": "hf_hub"}', hub.url],
    ]
    given = json.dumps([c[:2] for c in cases])
    answers, _ = said(dedent(code), hub, tmp_path / "home", str(tmp_path / "folders"), given)
    for answer, (name, _, words) in zip(answers, cases, strict=True):
        assert words in answer, name
    assert set(hub.tree("me/name")) == {"tokenizer.json", "special_tokens_map.json"}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, so the Hub is not asked for model me/na"),
        (
            {"HF_TOKEN": ""},
            "no token for the Hub to push me/name with: log in with `hf auth login`",
        ),
        ({"HF_TOKEN": "hf_another"}, "the Hub does not know your token"),
        (
            {"HF_ENDPOINT": "http://me:secret@127.0.0.1:9"},
            "nothing answers at http://127.0.0.1:9: check the network, or HF_ENDPOINT; nothing was",
        ),
    ],
)
def test_without_a_hub_or_a_token_it_is_said_at_once(
    hub: LoopbackHub, folder: Path, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    (answer,), stderr = said(PUSH, hub, tmp_path / "home", str(folder), **environment)
    assert words in answer
    assert answer.startswith("HubError: ")
    assert "secret" not in answer + stderr
    assert "hf_another" not in answer + stderr
    assert hub.repos == {}


def test_a_push_that_could_not_begin_is_refused_before_the_work(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    code = """
        from train.lora import main
        flags = ["--config", "embedded", "--data", "nowhere", "--push-to-hub"]
        print(main([*flags, "me/name"]), main([*flags, "name"]))
    """
    done = run_client(dedent(code), hub, tmp_path / "home", HF_TOKEN="")
    assert done.stdout == "1 1\n"
    assert "lora: there is no token for the Hub to push me/name with" in done.stderr
    assert "lora: 'name' is no name of a repository" in done.stderr


# What needs no server.


@pytest.mark.parametrize(
    "name", ["name", "me/", "me/na me", "me/../x", "/tmp/x", "me/a--b", "me/x.git", "a/b/c", "me/é"]
)
def test_a_name_the_hub_would_not_take_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no name of a repository: use owner/name of letters"):
        push_folder(tmp_path, name)
    with pytest.raises(InputError, match="kind is 'models': use 'model', 'dataset' or 'space'"):
        pull("me/name", kind="models")  # type: ignore[arg-type]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is no folder"):
        push_folder(tmp_path / "nowhere", "me/name")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("Bearer abc.def\n and hf_abc"), "ValueError: (token) and (token)"),
        (KeyError(), "KeyError"),
        (OSError("x" * 999), "OSError: " + "x" * 297 + "..."),
        (ConnectionResetError("x"), "check the network"),
        (TimeoutError(), "did not answer in time"),
    ],
)
def test_other_errors_become_one_sentence(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HF_TOKEN", TOKEN)
    found = clear_error(error, "me/name")
    assert isinstance(found, HubError)
    assert words in str(found)
