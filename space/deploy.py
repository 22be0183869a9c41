"""Deploy puts the page on a Space of Hugging Face: makes it or brings it up to date, and waits.

    python space/deploy.py me/films
    python space/deploy.py me/films --hardware zero-a10g --model google/gemma-2-2b-it

Run it as often as you like: what the Space has already is not sent again, and what the command no
longer names (model, adapter, rivals, catalogue) is taken away. A model, adapter or rival is an id
on the Hub, a catalogue a folder of this machine or a data set. --dry-run writes the files and asks
nobody.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from configparser import ConfigParser
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from llmrec.demo.rivals import rival_names
from llmrec.errors import HubError, InputError, LLMRecError
from llmrec.folders import replacing
from llmrec.hub import clear_error, push_folder, ready_to_push
from llmrec.models.loading import EMBEDDED_NAME

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
POLL_S = 3.0
CATALOG = "catalog"  # the folder of the Space that holds one
STAGED = ("README.md", "app.py", "requirements.txt", "LICENSE", "llmrec", CATALOG)
_OURS = {  # the option of each
    "LLMREC_MODEL": "--model",
    "LLMREC_ADAPTER": "--adapter",
    "LLMREC_RIVALS": "--rival",
    "LLMREC_CATALOG": "--catalog",
}
_NO_GPU = ("", "cpu-basic", "cpu-upgrade")
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|API_?KEY|CREDENTIAL", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,})")
# A Space without a file to start has not seen the commit yet.
_UNDER_WAY = "BUILDING RUNNING_BUILDING APP_STARTING RUNNING_APP_STARTING NO_APP_FILE".split()
_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """What a Space is to be.

    Attributes
    ----------
    catalog: a folder of this machine, a data set of the Hub, or "" for the embedded films.
    hardware: "": what the Space has; a new one gets cpu-basic.
    secrets: their values, which are sent and shown nowhere.
    """

    repo_id: str
    hardware: str = ""
    model: str = ""
    adapter: str = ""
    rivals: tuple[str, ...] = ()
    catalog: str = ""
    private: bool = False
    named: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """All variables of the Space that this plan sets."""
        catalog = CATALOG if self.catalog and Path(self.catalog).is_dir() else self.catalog
        values = (self.model, self.adapter, ",".join(self.rivals), catalog)
        given = zip(_OURS, values, strict=True)
        return {**{k: v for k, v in given if v}, **self.named}

    @property
    def models(self) -> list[str]:
        """All that the Space fetches of the Hub, each once."""
        named = (self.model, self.adapter, *self.rivals)
        return list(dict.fromkeys(m for m in named if m and m != EMBEDDED_NAME))


def plan_of(options: argparse.Namespace, environment: Mapping[str, str]) -> Plan:
    """The plan that a command line asks for.

    Raises
    ------
    InputError: a name, an id, the hardware, a variable or a secret cannot be used.
    """
    _check_hardware(options.hardware)
    named_models = [("model", options.model), ("adapter", options.adapter)]
    for what, value in named_models + [("rival", r) for r in options.rival]:
        if value and (Path(value).is_dir() or not _HUB_ID.fullmatch(value)):
            raise InputError(
                f"--{what} is {value!r}, which a Space cannot read: push it to the Hub, "
                "and give its id (owner/name)"
            )
    rival_names(options.rival, [options.adapter or options.model or EMBEDDED_NAME])
    if options.catalog:
        _check_catalog(options.catalog)
    named: dict[str, str] = {}
    for pair in options.variable:
        name, equals, value = pair.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise InputError(f"--variable is {pair!r}: give NAME=VALUE")
        if name in _OURS:
            raise InputError(f"--variable {name} has an option of its own: use {_OURS[name]}")
        if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
            raise InputError(
                f"--variable {name} looks like a secret, and everyone can read variables: put the "
                f"value into the environment, and use --secret {name}"
            )
        named[name] = value
    secrets: dict[str, str] = {}
    for name in options.secret:
        if not _NAME.fullmatch(name):
            # What is no name may be the value itself: it is not repeated.
            raise InputError(
                "--secret takes the name of a variable of the environment, of letters, digits and "
                "'_': never the value"
            )
        if not environment.get(name):
            raise InputError(f"--secret {name}: the environment has no {name}: export it first")
        secrets[name] = environment[name]
    return Plan(
        options.space,
        options.hardware,
        options.model,
        options.adapter,
        tuple(options.rival),
        options.catalog,
        options.private,
        named,
        secrets,
    )


def _check_hardware(name: str) -> None:
    from huggingface_hub import SpaceHardware

    known = [h.value for h in SpaceHardware]
    if name and name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"--hardware is {name!r}: {hint}Spaces know {', '.join(known)}")


def _check_catalog(named: str) -> None:
    if Path(named).is_dir():
        if not (Path(named) / "catalog.json").is_file():
            raise InputError(
                f"--catalog is {named!r}, a folder without catalog.json: give one that a build of "
                "llmrec wrote"
            )
    elif named.count("/") != 1 or not _HUB_ID.fullmatch(named):
        raise InputError(
            f"--catalog is {named!r}: give a catalogue folder of this machine, or a data set of "
            "the Hub (owner/name)"
        )


def stage(plan: Plan, folder: Path) -> None:
    """Write into an empty folder what the Space is to hold.

    Raises
    ------
    OSError: it cannot be written.
    """
    unwanted = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")
    shutil.copytree(ROOT / "llmrec", folder / "llmrec", ignore=unwanted)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    shutil.copyfile(HERE / "app.py", folder / "app.py")
    if plan.variables.get("LLMREC_CATALOG") == CATALOG:
        shutil.copytree(plan.catalog, folder / CATALOG, ignore=shutil.ignore_patterns(".*"))
    _write_requirements(plan, folder / "requirements.txt")
    _write_card(plan, folder / "README.md")


def _write_requirements(plan: Plan, file: Path) -> None:
    """Those of every Space, and what this plan's model needs of the extra train."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    ranges = {
        re.split(r"[<>=!~\[ ]", line)[0]: line
        for line in config["options.extras_require"]["train"].split("\n")
        if line
    }
    wanted = ["peft"] if plan.models else []  # any of them may be an adapter alone
    if "LLMREC_QUANTIZATION" in plan.named:
        wanted += ["accelerate", "bitsandbytes"]
    lines = [(HERE / "requirements.txt").read_text(encoding="utf-8").rstrip()]
    file.write_text("\n".join(lines + [ranges[n] for n in wanted]) + "\n", encoding="utf-8")


def _write_card(plan: Plan, file: Path) -> None:
    from huggingface_hub import metadata_load, metadata_save

    shutil.copyfile(HERE / "README.md", file)
    data = dict(metadata_load(file) or {})
    data["models"], data["preload_from_hub"] = plan.models, plan.models
    data["datasets"] = (
        [plan.catalog] if plan.variables.get("LLMREC_CATALOG") == plan.catalog else []
    )
    if plan.hardware:
        data["suggested_hardware"] = plan.hardware
    if plan.models:
        data["startup_duration_timeout"] = "1h"  # weights take their time
    metadata_save(file, {k: v for k, v in data.items() if v != []})


def dry_run(plan: Plan, target: Path) -> None:
    """Stage into a folder that is new, empty, or was staged before; it is replaced whole.

    Raises
    ------
    InputError: the folder holds something else.
    OSError: it cannot be written.
    """
    others = [p.name for p in target.iterdir()] if target.is_dir() else []
    if target.is_file() or any(n not in STAGED and n != "__pycache__" for n in others):
        raise InputError(f"{target} holds other files: name a folder that is new or empty")
    with replacing(target) as part:
        stage(plan, part)
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) / 1e6
    print(f"{target} holds what {plan.repo_id} would get ({size:.1f} MB); nobody was asked")
    for name, value in plan.variables.items():
        print(f"variable {name}={value}")
    for name in plan.secrets:
        print(f"secret {name}, from the environment")
    if plan.hardware:
        print(f"hardware {plan.hardware}")


def deploy(plan: Plan, wait_s: float) -> bool:
    """Make the Space what the plan says; whether it runs in the end.

    Raises
    ------
    LLMRecError: a name that the Hub does not take, no token, missing rights, no network.
    """
    ready_to_push(plan.repo_id, kind="space")
    from huggingface_hub import HfApi

    api = HfApi()
    asked = _Asked(api, plan)
    address = str(asked.make())
    asked.settle()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "space"
        folder.mkdir()
        stage(plan, folder)
        asked.push(folder)
    print(f"{plan.repo_id} is up to date: {address}", flush=True)
    return wait(asked, address, wait_s) if wait_s > 0 else True


@dataclass(frozen=True)
class _Asked:
    """What is asked of the Hub for one Space, each with one sentence where it refuses."""

    api: HfApi
    plan: Plan

    def __call__(self, what: str, step: Callable[[], _T]) -> _T:
        problem = ""
        try:
            return step()
        except Exception as error:
            problem = str(clear_error(error, self.plan.repo_id, kind="space"))
        # Outside of the handler, so that no traceback shows what the Hub answered.
        for value in self.plan.secrets.values():
            problem = problem.replace(value, "(secret)")
        raise HubError(f"{what}: {problem}; run the same command again when that is mended")

    def make(self) -> str:
        """The Space, made where there is none; its address."""
        repo_id, private = self.plan.repo_id, self.plan.private
        url = self(
            f"the Space {repo_id} was not made",
            lambda: self.api.create_repo(
                repo_id,
                repo_type="space",
                space_sdk="gradio",
                private=private or None,
                exist_ok=True,
            ),
        )
        found = self("the Space was not read", lambda: self.api.space_info(repo_id))
        if private and not found.private:
            raise HubError(
                f"nothing was changed: --private was given, and the Space {repo_id} is public: "
                "make it private on its settings page, or take another name"
            )
        return str(url)

    def settle(self) -> None:
        """Variables, secrets and hardware, where they are not so already."""
        api, repo_id = self.api, self.plan.repo_id
        held = self("variables were not read", lambda: api.get_space_variables(repo_id))
        wanted = self.plan.variables
        for name in _OURS:
            if name in held and name not in wanted:
                self._said("variable", name, "taken away", api.delete_space_variable, name)
        for name, value in wanted.items():
            if name not in held or held[name].value != value:
                self._said("variable", name, f"= {value}", api.add_space_variable, name, value)
        for name, value in self.plan.secrets.items():
            self._said("secret", name, "set", api.add_space_secret, name, value)
        if self.plan.hardware:
            now = self("the state was not read", lambda: api.get_space_runtime(repo_id))
            if self.plan.hardware not in (_text(now.requested_hardware), _text(now.hardware)):
                flavour = self.plan.hardware
                self._said("hardware", flavour, "asked for", api.request_space_hardware, flavour)

    def _said(
        self, kind: str, name: str, done: str, step: Callable[..., object], *values: str
    ) -> None:
        self(f"{kind} {name} was not set", lambda: step(self.plan.repo_id, *values))
        print(f"{kind} {name} {done}", flush=True)

    def push(self, folder: Path) -> None:
        """The files, in one commit, or in none where the Space has them all and no others of ours.

        What an older llmrec or another catalogue has left goes; what the owner put there stays.
        """
        try:
            push_folder(
                folder,
                self.plan.repo_id,
                kind="space",
                delete=("llmrec/*", f"{CATALOG}/*"),
                progress=False,
            )
        except HubError as error:  # it names the folder, which is gone when this is read
            said = str(error).partition(", and nothing in ")[0].replace(str(folder), "the page")
            raise HubError(f"{said}; to finish, run the same command again") from None


def wait(asked: _Asked, address: str, limit_s: float) -> bool:
    """Follow the Space until it runs, fails, or the time is over; whether it runs.

    A state that belongs to an older commit is not the end.
    """
    api, repo_id = asked.api, asked.plan.repo_id
    commit = asked("the Space was not read", lambda: api.space_info(repo_id)).sha
    begun, shown = time.monotonic(), ""
    while True:
        now = asked("the state was not read", lambda: api.get_space_runtime(repo_id))
        stage, passed = _text(now.stage), int(time.monotonic() - begun)
        line = f"{stage.lower().replace('_', ' ')} on {_text(now.hardware) or 'its way'}"
        shown = _progress(line, passed, shown)
        if stage not in _UNDER_WAY and now.raw.get("sha") in (None, commit):
            break
        if passed >= limit_s:
            print(f"\nafter {passed} s it is still {line}: look at {address}", file=sys.stderr)
            return False
        time.sleep(POLL_S)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if stage not in ("RUNNING", "SLEEPING"):
        said = " ".join(str(now.raw.get("errorMessage") or "").split())[:300]
        for value in asked.plan.secrets.values():
            said = said.replace(value, "(secret)")
        kind = "build" if stage == "BUILD_ERROR" else "container"
        print(
            f"{stage}{': ' * bool(said)}{said}: the log is at {address}?logs={kind}",
            file=sys.stderr,
        )
        return False
    host = getattr(asked("the Space was not read", lambda: api.space_info(repo_id)), "host", None)
    print(f"{stage} on {_text(now.hardware)}: {address}" + (f" ({host})" if host else ""))
    return True


def _progress(line: str, passed: int, shown: str) -> str:
    """One line that changes on a terminal, else one for each change."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}, {passed // 60}:{passed % 60:02d}", end="", file=sys.stderr)
    elif line != shown:
        print(f"{line}, {passed // 60}:{passed % 60:02d}", file=sys.stderr)
    sys.stderr.flush()
    return line


def _text(value: object) -> str:
    return str(getattr(value, "value", value) or "")


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("space", help="owner/name of the Space")
    parser.add_argument("--hardware", default="", help="as t4-small, or zero-a10g for ZeroGPU")
    parser.add_argument("--model", default="", help="a model of the Hub; else the embedded one")
    parser.add_argument("--adapter", default="", help="a LoRA adapter of the Hub for it")
    parser.add_argument(
        "--rival", action="append", default=[], metavar="MODEL",
        help="another model of the Hub that visitors compare with it; may be given again",
    )  # fmt: skip
    parser.add_argument("--catalog", default="", help="a catalogue folder, or a data set")
    parser.add_argument("--private", action="store_true", help="only its owners see the Space")
    parser.add_argument(
        "--secret", action="append", default=[], metavar="NAME", help="taken from the environment"
    )
    parser.add_argument(
        "--variable", action="append", default=[], metavar="NAME=VALUE", help="everyone can read it"
    )
    parser.add_argument(
        "--wait", type=float, default=1800, metavar="SECONDS", help="for it to run; 0: do not wait"
    )
    parser.add_argument("--dry-run", type=Path, metavar="DIR", help="write the files there instead")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Deploy, or stage; 0 when done and the Space runs."""
    options = make_parser().parse_args(argv)
    try:
        plan = plan_of(options, os.environ)
        if plan.models and plan.hardware in _NO_GPU and "LLMREC_ON_CPU" not in plan.named:
            print(
                "where the Space has no GPU the embedded model answers, and no other is loaded: "
                "--hardware asks for one, --variable LLMREC_ON_CPU=1 loads them all the same"
            )
        if options.dry_run is None:
            return 0 if deploy(plan, options.wait) else 1
        with suppress(HubError):  # a dry run needs a good name, and no token
            ready_to_push(plan.repo_id, kind="space")
        dry_run(plan, options.dry_run)
    except (LLMRecError, OSError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
