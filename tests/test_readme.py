"""What README.md, CONTRIBUTING.md and the guides say is run, compiled, parsed or looked up."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
from argparse import ArgumentParser
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmrec import Conversation, Message, Recommender

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GUIDES = "\n".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").glob("*.md")))
NOT_RUN = "<!-- not run: needs the Hub -->\n"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts at and what stands before."""

    language: str
    text: str
    line: int
    before: str


def blocks(text: str, language: str) -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    made = [Block(m[1], m[2], text[: m.start()].count("\n") + 2, text[: m.start()]) for m in found]
    return [b for b in made if b.language == language]


def commands(text: str) -> list[str]:
    """Every line of the shell blocks, and every command in running text."""
    whole = [b.text.replace("\\\n", " ") for b in blocks(text, "sh")]
    lines = [line for text in whole for line in text.splitlines() if line.strip()]
    return list(dict.fromkeys(lines + re.findall(r"`((?:make|python|pip) [^`\n]+)`", text)))


def parser_of(script: str) -> ArgumentParser:
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    parser = module.make_parser()
    assert isinstance(parser, ArgumentParser)
    return parser


def test_the_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for table in blocks(README, "csv"):
        name = re.findall(r"`([^`]+\.csv)`", table.before)[-1]
        Path(name).write_text(table.text, encoding="utf-8")
    names: dict[str, object] = {"__name__": "readme"}
    said = io.StringIO()
    run = 0
    for block in blocks(README, "python"):
        where = f"README.md:{block.line}"
        code = compile("\n" * (block.line - 1) + block.text, where, "exec", dont_inherit=True)
        if not block.before.endswith(NOT_RUN):
            with contextlib.redirect_stdout(said):
                exec(code, names)
            run += 1
    assert run >= 4
    out = said.getvalue()
    assert out.count("> ") == 2
    assert "preferences recommendations text" in out
    assert "BuildReport(kept=3, dropped=0" in out
    assert "Central do Brasil" in out


def test_the_first_example_recommends_what_was_asked(recommender: Recommender) -> None:
    request = re.findall(r'rec\.recommend\("([^"]+)"', README)[0]
    found = recommender.recommend(request, k=5)
    assert len(found) == 5
    assert all("Action" in r.item.genres and (r.item.runtime or 999) <= 120 for r in found)


ASKED = README.partition("## What it can be asked")[2].partition("\n## ")[0]
QUESTIONS = README.partition("## Ask about them")[2].partition("\n## ")[0]


@pytest.mark.parametrize("request_", re.findall(r'^\| "(.+)" \|', ASKED, re.MULTILINE))
def test_every_request_is_answered(recommender: Recommender, request_: str) -> None:
    reply = recommender.chat(request_)
    assert reply.recommendations
    assert reply.preferences.unknown == ()
    assert not any(r.relaxed for r in reply.recommendations)


@pytest.mark.parametrize("question", re.findall(r'"([^"|]+\?)"', QUESTIONS))
def test_every_question_is_answered(recommender: Recommender, question: str) -> None:
    shown = recommender.catalog.get_many(["heat-1995", "up-2009"])
    conversation = Conversation(
        (
            Message("user", "Something good"),
            Message("assistant", "Heat and Up.", tuple(i.id for i in shown)),
            Message("user", question),
        )
    )
    answer = recommender.answer(conversation)
    assert answer.refused == ("mug" in question or "filmed" in question)
    assert answer.refused or answer.sources


@pytest.mark.parametrize("command", commands("\n".join((README, CONTRIBUTING, GUIDES))))
def test_every_command_is_known(command: str) -> None:
    words = [w for w in shlex.split(command, comments=True) if not re.match(r"[A-Z_]+=", w)]
    match words:
        case ["make", *targets]:
            if shutil.which("make") is None:
                pytest.skip("there is no make here")
            done = subprocess.run(
                ["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        case ["python", "-c", code]:
            compile(code, command, "exec")
        case ["python", "benchmarks/resuming.py", *arguments]:
            _, rest = parser_of("benchmarks/resuming.py").parse_known_args(arguments)
            parser_of("eval/run.py").parse_args(rest)
        case ["python", script, *arguments]:
            parser_of(script).parse_args(arguments)
        case ["torchrun", "--nproc_per_node", _, script, *arguments]:
            parser_of(script).parse_args(arguments)
        case ["accelerate", "launch", "--config_file", file, script, *arguments]:
            assert (ROOT / file).is_file()
            parser_of(script).parse_args(arguments)
        case ["pip", "install", wanted]:
            config = ConfigParser()
            config.read(ROOT / "setup.cfg")
            extras = re.findall(r"[a-z]+", wanted.partition("[")[2])
            assert extras
            assert all(config.has_option("options.extras_require", e) for e in extras)
        case _:
            pytest.fail(f"nobody knows whether this works: {command}")


def test_every_path_is_there() -> None:
    tree = next(b.text for b in blocks(README, "") if b.text.startswith("llmrec/\n"))
    named: list[str] = []
    for line in tree.splitlines():
        paths = re.split(r"\s{3,}", line.strip())[0].split()
        named += [f"llmrec/{p}" if line.startswith(" ") else p for p in paths]
    for text in (README, CONTRIBUTING):
        named += re.findall(r"\]\(([^):]+)\)", text)
    named += [f"docs/{link}" for link in re.findall(r"\]\(([^):#]+)\)", GUIDES)]
    for text in (README, CONTRIBUTING, GUIDES):
        named += re.findall(r"`((?:llmrec|tests|train|eval|catalog)/[\w./]*)`", text)
    assert [n for n in named if not (ROOT / n).exists()] == []


def test_the_number_of_films_is_no_exaggeration(recommender: Recommender) -> None:
    claimed = re.findall(r"more than ([\d,]+) films", README)
    assert claimed
    n = len(recommender.catalog)
    assert all(n - 200 < int(c.replace(",", "")) < n for c in claimed)
