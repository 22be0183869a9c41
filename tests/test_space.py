"""The Space: what is staged starts by itself, and the real client brings it to a loopback Hub."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from huggingface_hub import SpaceHardware, metadata_load

from llmrec.catalog import Catalog
from llmrec.decoding import score_titles, title_trie
from llmrec.demo import Extras, embedded_contestants
from llmrec.errors import InputError, ModelError
from llmrec.models.endpoint import Endpoint
from llmrec.models.local import EMBEDDED
from llmrec.recommender import Recommender
from llmrec.types import Message
from space import app, deploy
from tests import loopback_hub
from tests.loopback_hub import ROOT, TOKEN, LoopbackHub, run_client

SITE = sysconfig.get_paths()["purelib"]
# Nothing but the staged folder, the standard library and what is installed.
ALONE = """
import runpy, sys
stage, site = sys.argv[1:3]
sys.path[:] = [stage, *(p for p in sys.path if "site-packages" not in p), site]
import llmrec
assert llmrec.__file__.startswith(stage), llmrec.__file__
sys.argv = ["app.py"]
runpy.run_path(stage + "/app.py", run_name="__main__")
"""
MESSAGE = "uma comédia francesa"


def requirements(text: str) -> set[str]:
    return {line for line in text.split("\n") if line and not line.startswith("#")}


def setup() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "staged"
    assert deploy.main(["me/films", "--dry-run", str(folder)]) == 0
    return folder


@contextmanager
def started(command: list[str], folder: Path, **env: str) -> Iterator[tuple[str, Path]]:
    """The address of an app and its log; ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LLMREC_", "HF_", "GRADIO"))}
    log = folder / f"log-{port}.txt"
    with log.open("w") as out:
        run = subprocess.Popen(
            command,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                **kept,
                "GRADIO_SERVER_PORT": str(port),
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": "1",
                **env,
            },
        )
        try:
            until = time.monotonic() + 120
            while " answers at " not in log.read_text():
                assert run.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", log
            run.terminate()
            assert run.wait(30) == 0, log.read_text()
        finally:
            run.kill()
            run.wait(20)


def alone(staged: Path) -> list[str]:
    return [sys.executable, "-I", "-S", "-W", "ignore", "-c", ALONE, str(staged), SITE]


def titles(address: str, message: str = MESSAGE) -> list[str]:
    """What the page recommends, asked by the client of gradio."""
    client = pytest.importorskip("gradio_client").Client(address, verbose=False)
    try:
        reply = client.predict(message=message, history=[], k=3, api_name="/chat")
    finally:
        client.close()
    return [r["item"]["title"] for r in reply["recommendations"]]


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return [r.item.title for r in Recommender.from_pretrained().chat(MESSAGE, 3).recommendations]


# What stands in the folder.


def test_the_requirements_are_those_of_setup_cfg() -> None:
    config = setup()
    extras = config["options.extras_require"]
    wanted = config["options"]["install_requires"] + extras["demo"] + extras["mcp"]
    listed = requirements((ROOT / "space" / "requirements.txt").read_text())
    assert listed == requirements(wanted)
    assert not [line for line in listed if line.startswith("torch") and "==" in line]


def test_the_card_has_what_a_space_reads() -> None:
    card = metadata_load(ROOT / "space" / "README.md")
    assert card is not None
    pinned = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    )
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {card["colorFrom"], card["colorTo"]} <= colours
    assert (card["sdk"], card["sdk_version"]) == ("gradio", pinned["gradio"])
    assert f"Programming Language :: Python :: {card['python_version']}" in setup()["metadata"][
        "classifiers"
    ].split("\n")
    assert card["suggested_hardware"] in {h.value for h in SpaceHardware}
    assert (ROOT / "space" / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    assert card["license"] == setup()["metadata"]["license"].lower()
    assert {"title", "emoji", "models", "datasets", "preload_from_hub", "tags"} <= set(card)


def test_the_container_is_made_of_what_is_there() -> None:
    text = (ROOT / "space" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY --chown=llmrec (\S+) ", text, re.MULTILINE)
    assert copied == ["space/requirements.txt", "llmrec", "space/app.py"]
    assert all((ROOT / path).exists() for path in copied)
    assert text.index("USER llmrec") < text.index("RUN pip") < text.index("CMD [")
    assert "HEALTHCHECK" in text
    code = re.search(r'CMD \["python", "-c", "(.+)"\]', text)
    assert code is not None
    compile(code[1], "healthcheck", "exec")


# A dry run.


def test_a_dry_run_stages_all_that_is_needed_and_nothing_else(staged: Path) -> None:
    assert sorted(p.name for p in staged.iterdir()) == [
        "LICENSE",
        "README.md",
        "app.py",
        "llmrec",
        "requirements.txt",
    ]
    found = {p.relative_to(staged) for p in (staged / "llmrec").rglob("*") if p.is_file()}
    assert not [p for p in found if "__pycache__" in p.parts or p.name.startswith(".")]
    for name in (
        "data/model/model.safetensors",
        "data/films.lance/catalog.json",
        "demo/page.css",
        "demo/words/talk.json",
    ):
        assert Path("llmrec", name) in found
    assert (staged / "app.py").read_bytes() == (ROOT / "space" / "app.py").read_bytes()


def test_a_dry_run_asks_nobody_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a dry run opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("FILMS_KEY", "very-secret-value")
    catalog = tmp_path / "films"
    Catalog.from_items(list(Catalog.embedded())[:5], catalog)
    target = tmp_path / "out"
    words = ["me/films", "--dry-run", str(target), "--hardware", "t4-small", "--model", "a/b"]
    words += ["--adapter", "c/d", "--catalog", str(catalog), "--secret", "FILMS_KEY"]
    words += ["--variable", "LLMREC_QUANTIZATION=4bit", "--rival", "a/b", "--rival", "e/f"]
    assert deploy.main(words) == deploy.main(words) == 0
    said = capsys.readouterr()
    assert "variable LLMREC_CATALOG=catalog\n" in said.out
    assert "variable LLMREC_RIVALS=a/b,e/f\n" in said.out
    assert "secret FILMS_KEY, from the environment" in said.out
    assert "has no GPU" not in said.out
    assert "very-secret-value" not in said.out + said.err
    assert not [p for p in target.rglob("*") if p.is_file() and b"very-secret" in p.read_bytes()]
    card = metadata_load(target / "README.md")
    assert card is not None
    assert card["models"] == card["preload_from_hub"] == ["a/b", "c/d", "e/f"]
    assert card["suggested_hardware"] == "t4-small"
    assert "&id" not in (target / "README.md").read_text()  # plain lists, no anchors
    assert "datasets" not in card
    assert len(Catalog.open(target / "catalog")) == 5
    more = requirements((target / "requirements.txt").read_text())
    more -= requirements((ROOT / "space" / "requirements.txt").read_text())
    assert more <= requirements(setup()["options.extras_require"]["train"])
    assert sorted(re.split("[<>=]", m)[0] for m in more) == ["accelerate", "bitsandbytes", "peft"]


def test_a_dry_run_leaves_other_folders_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert deploy.main(["me/films", "--model", "a/b", "--dry-run", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "holds other files" in said.err
    assert said.out.startswith("where the Space has no GPU the embedded model answers")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["films"], "is no name of a repository"),
        (["me/a--b"], "is no name of a repository"),
        (["me/films", "--hardware", "t4-smal"], "did you mean t4-small?"),
        (["me/films", "--model", "runs/my/model"], "push it to the Hub"),
        (["me/films", "--adapter", str(ROOT)], "push it to the Hub"),
        (["me/films", "--catalog", str(ROOT)], "a folder without catalog.json"),
        (["me/films", "--catalog", "nowhere"], "a data set of the Hub (owner/name)"),
        (["me/films", "--variable", "WITHOUT"], "give NAME=VALUE"),
        (["me/films", "--variable", "LLMREC_MODEL=a/b"], "use --model"),
        (["me/films", "--variable", "LLMREC_RIVALS=a/b"], "use --rival"),
        (["me/films", "--rival", "runs/my/model"], "push it to the Hub"),
        (["me/films", "--rival", "a/b", "--rival", "a/b"], "two rivals are called a/b"),
        (["me/films", "--model", "a/b", "--rival", "a/b"], "is the model of the page itself"),
        (["me/films", "--rival", "llmrec-embedded"], "is the model of the page itself"),
        (["me/films", "--variable", "LLMREC_API_KEY=x"], "use --secret LLMREC_API_KEY"),
        (["me/films", "--variable", "X=hf_" + "a" * 30], "use --secret X"),
        (["me/films", "--secret", "hf-the value itself"], "never the value"),
        (["me/films", "--secret", "NOT_THERE"], "the environment has no NOT_THERE"),
    ],
)
def test_what_cannot_be_used_gets_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main([*words, "--dry-run", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert "the value itself" not in said.err
    assert "hf_aaaa" not in said.err
    assert not (tmp_path / "out").exists()


# The app of the Space.


@pytest.mark.slow
def test_the_staged_folder_starts_by_itself_and_answers(
    staged: Path, tmp_path: Path, expected: list[str]
) -> None:
    secret = {"LLMREC_API_KEY": "sesame-of-tests", "HF_TOKEN": "hf_" + "q" * 34}
    asked = {"LLMREC_MODEL": "some/model-of-7b", **secret}
    with started(alone(staged), tmp_path, **asked) as (address, log):
        assert titles(address) == expected
        said = log.read_text()
    assert "There is no GPU here, so some/model-of-7b is not loaded" in said
    assert "llmrec-embedded answers at " in said
    assert not [value for value in secret.values() if value in said]


SPACES = '''
"""What stands in for the package of ZeroGPU: forks, and sends all through pickles, as it does."""
import inspect, json, multiprocessing, os, pickle

def GPU(task=None, *, duration=60):
    if task is None:
        return lambda real: GPU(real, duration=duration)
    fork = multiprocessing.get_context("fork")

    def pieces(*args, **options):
        asked = duration(*args, **options) if callable(duration) else duration
        with open(os.environ["LOANS"], "a") as log:
            print(json.dumps([inspect.isgeneratorfunction(task), asked]), file=log)
        sent = pickle.dumps((args, options))
        here, there = fork.Pipe(False)

        def work():
            given, named = pickle.loads(sent)
            try:
                if os.environ.get("NO_QUOTA"):
                    raise RuntimeError("You have exceeded your GPU quota")
                made = task(*given, **named)
                for piece in made if inspect.isgeneratorfunction(task) else [made]:
                    there.send(("piece", piece))
                there.send(("end", None))
            except Exception as error:
                there.send(("error", str(error)))

        worker = fork.Process(target=work, daemon=True)
        worker.start()
        while True:
            if not here.poll(60):
                raise RuntimeError("the worker is stuck")
            kind, value = here.recv()
            if kind == "error":
                raise RuntimeError(value)
            if kind == "end":
                break
            yield value
        worker.join(10)

    def whole(*args, **options):
        return list(pieces(*args, **options))[0]

    return pieces if inspect.isgeneratorfunction(task) else whole
'''


@pytest.fixture
def zero(staged: Path, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """A command and environment as on ZeroGPU, with the embedded model as one that was chosen."""
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "spaces.py").write_text(SPACES)
    code = ALONE.replace("[stage, *", "[stage, " + repr(str(tmp_path / "stand-in")) + ", *")
    command = [*alone(staged)[:6], code, str(staged), SITE]
    model = str(staged / "llmrec" / "data" / "model")
    loans = tmp_path / "loans"
    return command, {"SPACES_ZERO_GPU": "true", "LLMREC_MODEL": model, "LOANS": str(loans)}


@pytest.mark.slow
def test_on_zero_gpu_only_the_model_runs_where_the_gpu_is(
    zero: tuple[list[str], dict[str, str]], tmp_path: Path, expected: list[str]
) -> None:
    command, env = zero
    with started(command, tmp_path, **env) as (address, log):
        assert [titles(address) for _ in range(3)] == [expected] * 3
        assert "There is no GPU" not in log.read_text()
    loans = [json.loads(line) for line in (tmp_path / "loans").read_text().splitlines()]
    assert len(loans) >= 3  # a ranking for each message
    assert all(app.SHORTEST_S <= asked <= app.LONGEST_S for _, asked in loans)


@pytest.mark.slow
def test_on_zero_gpu_a_refusal_is_a_sentence_and_the_page_stays(
    zero: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    command, env = zero
    client = pytest.importorskip("gradio_client")
    with started(command, tmp_path, NO_QUOTA="1", **env) as (address, log):
        for _ in range(2):
            with pytest.raises(client.exceptions.AppError, match=r"try again"):
                titles(address)
        assert "ZeroGPU: You have exceeded your GPU quota" in log.read_text()


@pytest.mark.slow
def test_on_zero_gpu_the_embedded_model_borrows_none(
    zero: tuple[list[str], dict[str, str]], tmp_path: Path, expected: list[str]
) -> None:
    command, env = zero
    with started(command, tmp_path, **{**env, "LLMREC_MODEL": ""}) as (address, log):
        assert titles(address) == expected
        assert "none is borrowed" in log.read_text()
    assert not (tmp_path / "loans").exists()


class _Borrowed:
    """``spaces.GPU`` without a fork: what was asked for, and through pickles or not."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, *, duration: Any) -> Any:
        def decorate(task: Any) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                self.asked.append(duration(*args, **options))
                args, options = pickle.loads(pickle.dumps((args, options)))
                found = task(*args, **options)
                return found if inspect.isgenerator(found) else pickle.loads(pickle.dumps(found))

            return call

        return decorate


def test_what_a_model_does_is_lent_a_gpu_for_as_long_as_it_takes() -> None:
    recommender, other = Recommender.from_pretrained(), Recommender.from_pretrained()
    model: Any = recommender.model
    prompt = (Message("user", "hello"),)
    plain = model.generate([prompt], max_new_tokens=4), list(model.stream(prompt, max_new_tokens=4))
    loan = _Borrowed()
    app.lend([model], loan)
    assert model.generate([prompt], max_new_tokens=4) == plain[0]
    assert list(model.stream(prompt, max_new_tokens=4)) == plain[1]
    model.generate([prompt] * 4, max_new_tokens=400)
    assert loan.asked[0] == loan.asked[1] == app.SHORTEST_S < loan.asked[2] == 111
    before = len(loan.asked)
    found = other.recommend(MESSAGE, k=2)
    assert len(loan.asked) == before  # this one has a model of its own
    assert recommender.recommend(MESSAGE, k=2) == found
    assert len(loan.asked) > before


def test_what_a_lent_model_refuses_is_said_in_its_own_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model: Any = Recommender.from_pretrained().model
    long = (Message("user", "hello " * 9000),)
    app.lend([model], _Borrowed())
    for refused in (
        lambda: model.generate([long]),
        lambda: list(model.stream(long)),
        lambda: score_titles(model, [[5] * 9000], title_trie(model, ["Heat"])),
    ):
        with pytest.raises(InputError, match="tokens"):
            refused()
    assert "ZeroGPU" not in capsys.readouterr().err

    def broken(*, duration: Any) -> Any:
        return lambda task: lambda *args, **options: 1 / 0

    app.lend([model], broken)
    for asked in (lambda: model.generate([long]), lambda: list(model.stream(long))):
        with pytest.raises(
            ModelError, match=r"no GPU did the work \(division by zero\): try again"
        ):
            asked()
    assert capsys.readouterr().err == "ZeroGPU: division by zero\n" * 2


def test_who_borrows_a_gpu(recommender: Recommender, capsys: pytest.CaptureFixture[str]) -> None:
    alone = Extras({"a": recommender, "b": Recommender(recommender.model, recommender.catalog)})
    rival = Recommender.from_pretrained()
    both = Extras({"own": recommender, "rival": rival})
    assert app.borrowers(recommender, alone, embedded=True) == []
    assert app.borrowers(recommender, alone, embedded=False) == [recommender.model]
    assert app.borrowers(recommender, both, embedded=True) == [rival.model]
    assert app.borrowers(recommender, both, embedded=False) == [recommender.model, rival.model]
    server = Endpoint("http://127.0.0.1:1/v1", model="x")
    served = Recommender(server, recommender.catalog, grounding="match")
    assert app.borrowers(served, Extras(), embedded=False) == []
    app.lend([], _Borrowed())
    assert "none is borrowed" in capsys.readouterr().out


def test_models_are_run_by_what_can_be_lent_only() -> None:
    parts = [p for p in (ROOT / "llmrec").rglob("*.py") if p.parent.name != "models"]
    users = {
        p.parent.name
        for p in parts
        if re.search(r"\.(prefill|prefill_many|runner)\b", p.read_text())
    }
    assert users == {"decoding"}  # where a test says that it is done in tasks


def test_the_settings_of_a_space(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made, embedded = app.load({"LLMREC_ADAPTER": "me/adapter", "LLMREC_MODEL": " "}, gpu=False)
    assert embedded
    assert made.model.name == "llmrec-embedded"
    assert "so me/adapter is not loaded and the embedded model answers" in capsys.readouterr().out
    Catalog.from_items(list(Catalog.embedded())[:7], tmp_path / "few")
    there = {"LLMREC_CATALOG": str(tmp_path / "few"), "LLMREC_ENDPOINT": "http://127.0.0.1:1/v1"}
    made, embedded = app.load({**there, "LLMREC_ENDPOINT_MODEL": "served"}, gpu=False)
    assert (embedded, made.grounding, made.model.name) == (False, "choose", "served")
    named = {"LLMREC_ENDPOINT_MODEL": "served", "LLMREC_ENDPOINT_ADAPTER": "films"}
    made, _ = app.load({**there, **named}, gpu=False)
    assert made.model.name == "served with films"
    assert len(made.catalog) == 7
    made, embedded = app.load({"LLMREC_QUANTIZATION": "4bit"}, gpu=True)  # of rivals alone
    assert (embedded, str(made.model.model.device)) == (True, "cpu")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="unset the one or the others"):
        app.load({**there, "LLMREC_MODEL": "a/b"}, gpu=True)
    with pytest.raises(InputError, match="LLMREC_QUANTIZATION is '2bit'"):
        app.load({"LLMREC_QUANTIZATION": "2bit"}, gpu=True)
    with pytest.raises(ModelError):
        app.load({"LLMREC_MODEL": str(tmp_path), "LLMREC_ON_CPU": "1"}, gpu=False)


def test_what_a_space_adds_to_the_talk(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = app.added({}, recommender, embedded=True, gpu=False)
    assert (plain.runs, plain.feedback, plain.uploads) == (None, None, True)
    assert (plain.pictures, plain.links) == ((), False)
    assert plain.contestants is not None
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    named = {"LLMREC_RUNS": str(tmp_path), "LLMREC_UPLOADS": "0"}
    named |= {"LLMREC_PICTURES": "a.example, *.b.example,", "LLMREC_LINKS": "1"}
    named |= {"LLMREC_FEEDBACK_DATASET": "me/said"}
    more = app.added(named, recommender, embedded=False, gpu=False)
    assert (more.contestants, more.runs, more.uploads) == (None, tmp_path, False)
    assert (more.pictures, more.links) == (("a.example", "*.b.example"), True)
    assert more.feedback is not None
    assert more.feedback.dataset == "me/said"
    with pytest.raises(InputError, match="which is no folder"):
        app.added({"LLMREC_RUNS": "nowhere"}, recommender, embedded=True, gpu=False)


def test_the_rivals_of_a_space(
    recommender: Recommender, capsys: pytest.CaptureFixture[str]
) -> None:
    rivals = {"LLMREC_RIVALS": f"{EMBEDDED}, "}
    found = app.added({**rivals, "LLMREC_ON_CPU": "1"}, recommender, embedded=True, gpu=False)
    assert list(found.contestants or {}) == [recommender.model.name, EMBEDDED.name]
    assert capsys.readouterr().out == ""
    without = app.added({"LLMREC_RIVALS": "a/b,c/d"}, recommender, embedded=True, gpu=False)
    assert list(without.contestants or {}) == list(embedded_contestants(recommender))
    said = capsys.readouterr().out
    assert "There is no GPU here, so no rival is loaded (a/b, c/d): ask for hardware" in said
    for own in ({"LLMREC_MODEL": "a/b"}, {"LLMREC_MODEL": "e/f", "LLMREC_ADAPTER": "a/b"}):
        with pytest.raises(InputError, match="the rival a/b is the model of the page itself"):
            app.added({**own, "LLMREC_RIVALS": "c/d,a/b"}, recommender, embedded=False, gpu=True)


def test_a_space_that_cannot_load_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMREC_QUANTIZATION", "2bit")
    assert app.main([]) == 1
    assert (
        capsys.readouterr().err == "LLMREC_QUANTIZATION is '2bit': use 4bit or 8bit, or unset it\n"
    )


# Behind a proxy, under a path.


class _Proxy(BaseHTTPRequestHandler):
    """What docs/deploy.md asks of nginx: the path taken off, pieces passed on as they come."""

    behind = ""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _pass_on(self) -> None:
        if not self.path.startswith("/films/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        asked = urllib.request.Request(
            self.behind + self.path.removeprefix("/films"), data=body, method=self.command
        )
        for name, value in self.headers.items():
            if name.lower() not in ("host", "connection", "content-length", "accept-encoding"):
                asked.add_header(name, value)
        asked.add_header("X-Forwarded-Host", self.headers["Host"])
        asked.add_header("X-Forwarded-Proto", "http")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            while piece := answer.read1(65_536):
                self.wfile.write(piece)
                self.wfile.flush()

    do_GET = do_POST = do_HEAD = _pass_on  # noqa: N815


@pytest.mark.slow
def test_it_works_behind_a_proxy_under_a_path(
    staged: Path, tmp_path: Path, expected: list[str]
) -> None:
    with started(alone(staged), tmp_path, GRADIO_ROOT_PATH="/films") as (address, _):
        handler = type("Handler", (_Proxy,), {"behind": address})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            outside = f"http://127.0.0.1:{server.server_address[1]}/films/"
            with urllib.request.urlopen(outside) as page:
                told = page.read().decode().partition("window.gradio_config = ")[2]
            assert json.JSONDecoder().raw_decode(told)[0]["root"] == outside.rstrip("/")
            assert titles(outside) == expected
        finally:
            server.shutdown()
            server.server_close()


# With a server of models behind it.


class _Served(BaseHTTPRequestHandler):
    """A server that writes lists, and the least that meets a schema; it asks for a key."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _say(self, status: int, said: Any) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._say(200, {"object": "list", "data": [{"id": "served"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer sesame-of-tests":
            self._say(401, {"error": "who is it?"})
            return
        text = "1. Not a Film\n2. Amélie (2001)\n3. The Intouchables (2011)"
        if form := asked.get("response_format"):
            text = json.dumps(_least(form["schema"]))
        whole = {"id": "1", "created": 1, "model": "served"}
        if asked.get("stream"):
            choice = {"index": 0, "delta": {"content": "Two of France."}, "finish_reason": "stop"}
            piece = {**whole, "object": "chat.completion.chunk", "choices": [choice]}
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(f"data: {json.dumps(piece)}\n\ndata: [DONE]\n\n".encode())
            return
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self._say(200, {**whole, "object": "chat.completion", "choices": [choice], "usage": usage})


def _least(schema: Mapping[str, Any]) -> Any:
    """The least that meets a schema."""
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _least(schema["anyOf"][0])
    kind = schema.get("type")
    if kind == "object":
        return {name: _least(schema["properties"][name]) for name in schema.get("required", ())}
    return {"array": [], "string": "", "integer": 0, "number": 0, "boolean": False}.get(str(kind))


@pytest.mark.slow
def test_a_server_of_models_answers_behind_it(staged: Path, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Served)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    env = {
        "LLMREC_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}/v1",
        "LLMREC_API_KEY": "sesame-of-tests",
        "HF_HUB_OFFLINE": "0",
    }
    try:
        with started(alone(staged), tmp_path, **env) as (address, log):
            assert titles(address, "a French film") == ["Amélie", "The Intouchables"], (
                log.read_text()
            )
            assert "sesame" not in log.read_text()
    finally:
        server.shutdown()
        server.server_close()


# On the Hub.

_SPACE = r"/api/(?P<kind>spaces)/(?P<id>[^/]+/[^/]+)"
SPACE_ROUTES = {
    "runtime": ("GET", rf"{_SPACE}/runtime"),
    "hardware": ("POST", rf"{_SPACE}/hardware"),
    "variables": ("GET", rf"{_SPACE}/variables"),
    "variable": ("POST", rf"{_SPACE}/variables"),
    "forget": ("DELETE", rf"{_SPACE}/variables"),
    "secret": ("POST", rf"{_SPACE}/secrets"),
}


class SpaceHub(LoopbackHub):
    """A loopback Hub that runs Spaces: each state of ``stages`` is told once, the last for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.hardware = "cpu-basic"
        self.stages = ["BUILDING", "APP_STARTING", "RUNNING"]
        self.told: dict[str, Any] = {}
        self._server.RequestHandlerClass = type("Handler", (_SpaceHandler,), {"hub": self})  # type: ignore[assignment]

    def writes(self) -> list[str]:
        """The requests so far that change something."""
        changing = {"commit", "hardware", "variable", "forget", "secret"}
        return [route for route, _ in self.log if route in changing]


class _SpaceHandler(loopback_hub._Handler):
    hub: SpaceHub
    do_DELETE = loopback_hub._Handler._handle  # noqa: N815

    def _runtime(self, id: str) -> dict[str, Any]:
        stages, repo = self.hub.stages, self.hub.repos["space", id]
        sha, stage = repo.branches["main"], "NO_APP_FILE"
        if "app.py" in repo.commits[sha]:
            stage = stages.pop(0) if len(stages) > 1 else stages[0]
        now = {"current": self.hub.hardware, "requested": self.hub.hardware}
        return {"stage": stage, "hardware": now, "gcTimeout": None, "sha": sha, **self.hub.told}

    def _on_runtime(self, body: bytes, kind: str, id: str) -> Any:
        self._repo(kind, id)
        return self._runtime(id)

    def _on_hardware(self, body: bytes, kind: str, id: str) -> Any:
        self.hub.hardware = json.loads(body)["flavor"]
        return self._runtime(id)

    def _listed(self) -> dict[str, Any]:
        return {k: {"value": v} for k, v in self.hub.variables.items()}

    def _on_variables(self, body: bytes, kind: str, id: str) -> Any:
        self._repo(kind, id)
        return self._listed()

    def _on_variable(self, body: bytes, kind: str, id: str) -> Any:
        asked = json.loads(body)
        self.hub.variables[asked["key"]] = asked["value"]
        return self._listed()

    def _on_forget(self, body: bytes, kind: str, id: str) -> Any:
        del self.hub.variables[json.loads(body)["key"]]
        return self._listed()

    def _on_secret(self, body: bytes, kind: str, id: str) -> Any:
        asked = json.loads(body)
        self.hub.secrets[asked["key"]] = asked["value"]
        return {}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpaceHub]:
    monkeypatch.setattr(loopback_hub, "ROUTES", {**SPACE_ROUTES, **loopback_hub.ROUTES})
    monkeypatch.setattr(loopback_hub, "_WRITES", (*loopback_hub._WRITES, *SPACE_ROUTES))
    with SpaceHub() as server:
        yield server


def deployed(
    hub: SpaceHub, home: Path, *words: str, code: int = 0, **env: str
) -> tuple[list[str], list[str]]:
    """The lines that ``deploy.py me/films`` says on stdout and stderr; never with the token."""
    run = "from space import deploy; deploy.POLL_S = 0.01; sys.exit(deploy.main(sys.argv[1:]))"
    done = run_client(run, hub, home, "me/films", *words, **env)
    assert done.returncode == code, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_a_space_is_made_in_one_commit_and_followed_until_it_runs(
    hub: SpaceHub, staged: Path, tmp_path: Path
) -> None:
    words = ("--hardware", "t4-small", "--private", "--secret", "FILMS_KEY")
    more = ("--variable", "GRADIO_X=1", "--model", "a/b")
    out, err = deployed(hub, tmp_path, *words, *more, FILMS_KEY="sesame-of-tests")
    repo = hub.repos["space", "me/films"]
    assert (repo.sdk, repo.private, hub.hardware) == ("gradio", True, "t4-small")
    assert hub.variables == {"GRADIO_X": "1", "LLMREC_MODEL": "a/b"}
    assert hub.secrets == {"FILMS_KEY": "sesame-of-tests"}
    assert len(hub.commits("me/films", "space")) == 2  # the first is the Hub's own
    held = hub.tree("me/films", "space")
    for path, data in held.items():
        if path.startswith("llmrec/"):
            assert data == (ROOT / path).read_bytes()
    written = {p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file()}
    assert set(held) == {name for name in written if "__pycache__" not in name}
    assert out[-1] == f"RUNNING on t4-small: {hub.url}/spaces/me/films"
    assert [line.split(",")[0] for line in err] == [
        f"{stage} on t4-small" for stage in ("building", "app starting", "running")
    ]
    assert "sesame-of-tests" not in "\n".join(out + err)


def test_it_is_safe_to_repeat_and_follows_what_changes(hub: SpaceHub, tmp_path: Path) -> None:
    catalog = tmp_path / "few"
    Catalog.from_items(list(Catalog.embedded())[:5], catalog)
    words = ("--hardware", "t4-small", "--model", "a/b", "--catalog", str(catalog))
    deployed(hub, tmp_path, *words)
    commits, tree = hub.commits("me/films", "space"), hub.tree("me/films", "space")
    assert [p for p in tree if p.startswith("catalog/")]
    hub.heal()
    deployed(hub, tmp_path, *words)
    assert hub.writes() == []
    assert hub.commits("me/films", "space") == commits
    out, _ = deployed(hub, tmp_path, "--variable", "KEPT=1")
    assert "variable LLMREC_MODEL taken away" in out
    assert len(hub.commits("me/films", "space")) == len(commits) + 1  # all of it
    assert hub.variables == {"KEPT": "1"}
    assert hub.hardware == "t4-small"
    now = hub.tree("me/films", "space")
    assert not [p for p in now if p.startswith("catalog/")]
    assert {p for p in tree if not p.startswith("catalog/")} == set(now)
    assert b"preload_from_hub" not in now["README.md"].split(b"\n---\n")[0]


def test_files_of_before_go_in_the_same_commit_and_those_of_the_owner_stay(
    hub: SpaceHub, tmp_path: Path
) -> None:
    deployed(hub, tmp_path)
    ours = hub.tree("me/films", "space")
    owned = {"notes/llmrec/mine.md": b"mine", "packages.txt": b"ffmpeg", "llmrec.md": b"mine"}
    older = {"llmrec/old.py": b"old", "llmrec/demo/old/x.css": b"old", "catalog/rows": b"old"}
    assert hub.put("me/films", {**owned, **older}, kind="space")
    before = hub.commits("me/films", "space")
    hub.heal()
    hub.fault("commit", lose=True)  # what was done although it was not heard is not done twice
    deployed(hub, tmp_path)
    now = hub.tree("me/films", "space")
    assert set(now) == {*ours, *owned}
    assert {name: now[name] for name in owned} == owned
    assert len(hub.commits("me/films", "space")) == len(before) + 1
    hub.heal()
    deployed(hub, tmp_path)
    assert hub.writes() == []


@pytest.mark.parametrize(
    ("fault", "env", "sentence"),
    [
        ({}, {"HF_TOKEN": "", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, "there is no token"),
        ({}, {"HF_TOKEN": "hf_of_nobody"}, "the Hub does not know your token"),
        ({"route": "create", "status": 403, "echo": True, "times": 9}, {}, "write access"),
        ({"route": "hardware", "status": 402}, {}, "hardware t4-small was not set: the Hub asks"),
        ({"route": "commit", "status": 403}, {}, "the page was not pushed to me/films: your token"),
        ({"route": "secret", "status": 400, "echo": True}, {}, "secret FILMS_KEY was not set"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    hub: SpaceHub, tmp_path: Path, fault: dict[str, Any], env: dict[str, str], sentence: str
) -> None:
    if fault:
        hub.fault(**fault)
    env = {"FILMS_KEY": "sesame-of-tests", **env}
    words = ("--hardware", "t4-small", "--secret", "FILMS_KEY")
    out, err = deployed(hub, tmp_path, *words, code=1, **env)
    assert len(err) == 1
    assert sentence in err[0]
    assert "sesame" not in "\n".join(out + err)
    assert "hf_of_nobody" not in err[0]
    assert "/tmp" not in err[0]


def test_others_and_public_spaces_are_left_alone(hub: SpaceHub, tmp_path: Path) -> None:
    run = "from space import deploy; sys.exit(deploy.main(sys.argv[1:]))"
    done = run_client(run, hub, tmp_path, "them/films", "--wait", "0")
    assert done.returncode == 1
    assert "your token may not do this with space them/films" in done.stderr
    deployed(hub, tmp_path, "--wait", "0")
    hub.heal()
    _, err = deployed(hub, tmp_path, "--private", "--variable", "A=1", code=1)
    assert "--private was given, and the Space me/films is public" in err[0]
    assert hub.writes() == []


@pytest.mark.parametrize(
    ("stages", "told", "sentence"),
    [
        (["BUILDING", "BUILD_ERROR"], {}, "BUILD_ERROR: the log is at "),
        (
            ["RUNTIME_ERROR"],
            {"errorMessage": "no\nsesame-of-tests"},
            "RUNTIME_ERROR: no (secret): ",
        ),
        (["BUILDING"], {}, "it is still building on cpu-basic: look at "),
        (["RUNNING"], {"sha": "older"}, "it is still running on cpu-basic: look at "),
    ],
)
def test_a_space_that_does_not_run_is_told(
    hub: SpaceHub, tmp_path: Path, stages: list[str], told: Mapping[str, Any], sentence: str
) -> None:
    hub.stages, hub.told = stages, dict(told)
    words = ("--wait", "1", "--secret", "FILMS_KEY")
    _, err = deployed(hub, tmp_path, *words, code=1, FILMS_KEY="sesame-of-tests")
    assert sentence in err[-1]


# All of it, where nothing is installed yet.


@pytest.mark.slow
def test_the_requirements_are_enough_in_a_clean_environment(
    staged: Path, tmp_path: Path, expected: list[str]
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    listed = (ROOT / "constraints.txt").read_text()
    torch = re.findall(r"^torch==\S+$", listed, re.MULTILINE)[0]
    for wanted in ([torch], ["-r", str(staged / "requirements.txt")]):
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *wanted],
            capture_output=True,
            text=True,
            check=False,
        )
        if "No matching distribution found for torch" in done.stderr:
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stderr
    code = dedent("import llmrec; print(llmrec.__file__)")
    found = subprocess.run(
        [python, "-c", code], cwd=staged, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(str(staged))
    with started([python, str(staged / "app.py")], tmp_path) as (address, _):
        assert titles(address) == expected
