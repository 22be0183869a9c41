"""Answers hides how several systems are asked one set of questions: resumably, and then compared.

A folder holds ``run.json`` (what was asked of whom), ``answers/SYSTEM.jsonl``, then
``metrics.json`` and the reports. Questions are asked in batches that are always the same, and every
batch is on the disk before the next is asked: neither a kill nor a rerun changes a line, but for
the seconds. A system that is named later is asked into the same folder.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec._version import __version__
from llmrec.catalog import Catalog
from llmrec.datasets.journal import claimed, digest
from llmrec.errors import InputError, LLMRecError
from llmrec.evaluation.answer_figures import Asked, figures_of
from llmrec.evaluation.answer_judging import Said
from llmrec.evaluation.answer_report import write_report
from llmrec.evaluation.answering_systems import (
    NEEDS_TRAINING,
    SYSTEMS,
    AnsweringSystem,
    CopyTitle,
    Majority,
    ModelAlone,
    NearestTitle,
    Retrieval,
    Unchecked,
    in_both,
)
from llmrec.evaluation.data import drawn
from llmrec.evaluation.questions import Question, read_questions
from llmrec.folders import public_name, write_whole
from llmrec.options import Options
from llmrec.options import option as _of
from llmrec.records import Problem

if TYPE_CHECKING:
    from llmrec.recommender import Recommender

__all__ = ["AnswerOptions", "ask", "build_systems", "read_answers", "run"]

FORMAT = 1
RECORD = "run.json"
ANSWERS = "answers"
QUESTIONS = "questions.jsonl"  # as they were given, so that the folder can be read by itself
_OURS = (RECORD, QUESTIONS, ANSWERS, "metrics.json", "report.md", "report.html", "plots")
_TUNED = {"tuned": "retrieval", "tuned-unchecked": "unchecked", "tuned-alone": "alone"}


@dataclass(frozen=True)
class AnswerOptions(Options):
    """The whole of an evaluation of answers. The fields are the flags and the keys of YAML."""

    ASIDE = ("out", "threads", "restart", "samples", "systems", "allow_overlap")

    # What is asked
    questions: str = _of("", "file of a question set, as eval/questions.py writes it")
    catalog: str = _of("embedded", "folder of a catalogue, or 'embedded'")
    limit: int | None = _of(None, "questions at most: so many drawn by the seed, in file order")
    trained_on: str | None = _of(
        None,
        "question set of the training part: nearest-title and majority learn from it, and no title "
        "cluster of it may stand among the questions",
    )
    allow_overlap: bool = _of(False, "go on where one does; the report says so")

    # Who is asked
    systems: tuple[str, ...] = _of(
        (), f"some of {', '.join(SYSTEMS)}; none named: all that can be asked"
    )
    model: str = _of("embedded", "Hub id or folder, 'embedded', or the URL of a server")
    adapter: str | None = _of(None, "Hub id or folder of an adapter, for the tuned systems")
    quantization: str = _of("none", "of the weights", "none", "4bit", "8bit")
    k: int = _of(5, "items that an answer may come from")
    min_similarity: float | None = _of(None, "of a passage to a question, as Recommender.answer")

    # How it is asked and counted
    seed: int = _of(0, "of --limit and of the bootstrap")
    batch_size: int = _of(8, "questions that are asked together")
    samples: int = _of(2_000, "of the bootstrap")

    # Where it goes
    out: str = _of("runs/answers", "folder of the run")
    threads: int = _of(0, "CPU threads; 0: as torch chooses")
    restart: bool = _of(False, "throw away what the folder holds of an earlier run")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.questions:
            raise InputError(
                "no questions are given: name with --questions a file of eval/questions.py"
            )
        for name in ("k", "batch_size", "samples"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}: give 1 or more, or leave it out")
        for name in self.systems:
            if name not in SYSTEMS:
                raise InputError(f"systems has {name!r}: use {', '.join(SYSTEMS)}")
            if name in NEEDS_TRAINING and not self.trained_on:
                raise InputError(
                    f"system {name} learns from questions of the training part: name them with "
                    "--trained-on"
                )
            if name in _TUNED and not self.adapter:
                raise InputError(f"system {name} needs an adapter: name it with --adapter")

    @property
    def asked(self) -> tuple[str, ...]:
        """The systems named, or all that these options can ask, each once."""
        possible = (
            name
            for name in SYSTEMS
            if (self.trained_on or name not in NEEDS_TRAINING)
            and (self.adapter or name not in _TUNED)
        )
        return tuple(dict.fromkeys(self.systems or possible))


def run(options: AnswerOptions, *, progress: bool = True) -> Path:
    """Do what the options say, or what is left of it; the folder, with figures and reports.

    Raises
    ------
    LLMRecError: something cannot be read or loaded, the folder holds another run, or title
        clusters of the training part stand among the questions.
    """
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    folder = Path(options.out)
    problems: list[Problem] = []
    every = read_questions(options.questions, problems)
    questions: list[Question] = drawn(every, options.limit, options.seed)  # type: ignore[arg-type,assignment]
    training = read_questions(options.trained_on) if options.trained_on else []
    overlap = _overlap(options, questions, training)
    embedded = options.catalog == "embedded"
    catalog = Catalog.embedded() if embedded else Catalog.open(options.catalog)
    with _begun(
        folder, _record(options, questions, len(every), problems, catalog, overlap), options.restart
    ):
        write_whole(folder / QUESTIONS, Path(options.questions).read_bytes())
        systems = build_systems(options, catalog, training)
        for name in options.asked:
            file = folder / ANSWERS / f"{name}.jsonl"
            ask(file, systems[name], questions, options.batch_size, progress=progress)
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        names = [*options.asked, *(n for n in record["systems"] if n not in options.asked)]
        said = {n: read_answers(folder / ANSWERS / f"{n}.jsonl") for n in names}
        whole = {n: of for n, of in said.items() if len(of) == len(questions)}
        asked = [Asked(q, {n: of[q.id] for n, of in whole.items()}) for q in questions]
        figures = figures_of(asked, catalog, samples=options.samples, seed=options.seed)
        write_whole(folder / "metrics.json", json.dumps(figures, indent=1, ensure_ascii=False))
        write_report(folder, record, figures, asked, catalog)
    return folder


def _overlap(
    options: AnswerOptions, questions: Sequence[Question], training: Sequence[Question]
) -> dict[str, int]:
    """What both sets hold. Raises InputError where that makes the figures worthless."""
    both = dict(in_both(questions, training))
    if both["clusters"]:
        said = (
            f"{both['clusters']:,} title clusters of {options.questions} stand in "
            f"{options.trained_on} too, so that what was trained on it has seen them"
        )
        if not options.allow_overlap:
            raise InputError(f"{said}: give another part, or go on with --allow-overlap")
        print(f"answers: WARNING: {said}", file=sys.stderr)
    return both


def _record(
    options: AnswerOptions,
    questions: Sequence[Question],
    in_file: int,
    problems: Sequence[Problem],
    catalog: Catalog,
    overlap: Mapping[str, int],
) -> dict[str, Any]:
    """What ``run.json`` says: what all systems share, then what each of them depends on."""
    model = {
        "model": public_name(options.model),
        "weights": _weights(options.model),
        "quantization": options.quantization,
    }
    tuned = {
        **model,
        "adapter": public_name(options.adapter or ""),
        "adapter_weights": _weights(options.adapter or ""),
    }
    found = {"k": options.k, "min_similarity": options.min_similarity}
    learned = {"trained_on": digest(Path(options.trained_on)) if options.trained_on else None}
    of: dict[str, dict[str, Any]] = {
        "alone": model,
        "unchecked": model,
        "retrieval": {**model, **found},
        "tuned-alone": tuned,
        "tuned-unchecked": tuned,
        "tuned": {**tuned, **found},
        **dict.fromkeys(NEEDS_TRAINING, learned),
    }
    shared = {
        "format": FORMAT,
        "llmrec": __version__,
        "questions": public_name(options.questions),
        "questions_digest": digest(Path(options.questions)),
        "in_file": in_file,
        "n": len(questions),
        "seed": options.seed,
        "batch_size": options.batch_size,
        "catalog": public_name(options.catalog),
        "catalog_size": len(catalog),
        "catalog_fingerprint": catalog.fingerprint,
    }
    return {
        "shared": shared,
        "systems": {name: of.get(name, {}) for name in options.asked},
        "overlap": dict(overlap),
        "problems": [[p.file, p.line, p.reason] for p in problems],
        "trained_on": options.trained_on and public_name(options.trained_on),
        "python": platform.python_version(),
    }


def _weights(name: str) -> str | None:
    """Digest of the weights of a folder; None for what is no folder."""
    files = sorted(Path(name).glob("*.safetensors")) if name and Path(name).is_dir() else []
    said = "\0".join(f"{f.name} {digest(f, 64 << 20)}" for f in files)
    return blake2b(said.encode(), digest_size=16).hexdigest() if files else None


@contextmanager
def _begun(folder: Path, record: dict[str, Any], restart: bool) -> Iterator[None]:
    """The folder for this process alone, its record of this run.

    Raises
    ------
    InputError: it holds another run or something else, or another process is at work in it.
    """
    file = folder / RECORD
    folder.mkdir(parents=True, exist_ok=True)
    if not file.is_file() and any(not f.name.startswith(".") for f in folder.iterdir()):
        raise InputError(f"{folder} is there and holds no run: give another --out")
    with claimed(folder / ".at-work"):
        if restart:
            for name in _OURS:
                part = folder / name
                shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
        was: dict[str, Any] = {"systems": {}}
        if file.is_file():
            try:
                was = json.loads(file.read_text(encoding="utf-8"))
                _check_same(folder, was, record)
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                if isinstance(e, LLMRecError):
                    raise
                raise InputError(f"{file} is damaged: begin anew with --restart") from None
        systems = {**record["systems"], **was["systems"]}
        whole = {**record, "systems": systems}
        write_whole(file, json.dumps(whole, indent=1, ensure_ascii=False))
        yield


def _check_same(folder: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    pairs = [("", was["shared"], now["shared"])]
    for name, of in now["systems"].items():
        if name in was["systems"]:
            pairs.append((f" of {name}", was["systems"][name], of))
    for where, old, new in pairs:
        for name in {**new, **old}:
            if old.get(name) != new.get(name):
                raise InputError(
                    f"{folder} holds a run of something else, {name}{where} was "
                    f"{old.get(name)!r} and is {new.get(name)!r}: give another --out, or replace "
                    "it with --restart"
                )


def build_systems(
    options: AnswerOptions, catalog: Catalog, training: Sequence[Question]
) -> Mapping[str, AnsweringSystem]:
    """The systems that the options ask, by name; models are loaded once. Raises LLMRecError."""
    how: dict[str, Any] = {"k": options.k}
    if options.min_similarity is not None:
        how["min_similarity"] = options.min_similarity

    @cache
    def recommender(adapter: str | None) -> Recommender:
        return _recommender(options, adapter, catalog)

    made: dict[str, AnsweringSystem] = {}
    for name in options.asked:
        base = _TUNED.get(name, name)
        adapter = options.adapter if name in _TUNED else None
        if base == "retrieval":
            made[name] = Retrieval(name, recommender(adapter), **how)
        elif base == "unchecked":
            made[name] = Unchecked(name, recommender(adapter))
        elif base == "alone":
            made[name] = ModelAlone(name, recommender(adapter).model)
        elif base == "copy-title":
            made[name] = CopyTitle(catalog)
        else:
            made[name] = Majority(training) if base == "majority" else NearestTitle(training)
    return made


def _recommender(options: AnswerOptions, adapter: str | None, catalog: Catalog) -> Recommender:
    from llmrec.recommender import Recommender

    model: Any = None if options.model == "embedded" else options.model
    if options.model.startswith(("http://", "https://")):
        from llmrec.models.endpoint import Endpoint

        model = Endpoint(options.model)
    quantization: Any = None if options.quantization == "none" else options.quantization
    return Recommender.from_pretrained(model, adapter, catalog, quantization=quantization)


def ask(
    file: Path,
    system: AnsweringSystem,
    questions: Sequence[Question],
    batch_size: int,
    *,
    progress: bool = False,
) -> None:
    """Ask a system what its file does not hold yet, in batches that are always the same.

    Raises
    ------
    InputError: the first batch failed altogether, or the file is damaged.
    """
    from tqdm import tqdm

    done = read_answers(file)
    batches = [questions[at : at + batch_size] for at in range(0, len(questions), batch_size)]
    bar = tqdm(
        total=len(questions), initial=len(done), unit="question", desc=system.name,
        disable=not progress,
    )  # fmt: skip
    with bar, _appending(file) as add:
        for batch in batches:
            if all(q.id in done for q in batch):
                continue
            start = time.perf_counter()
            made = _answered(system, batch)
            seconds = round((time.perf_counter() - start) / len(batch), 6)
            if not done and all(s.error for s in made):
                raise InputError(f"the first questions all failed, {made[0].error}")
            made = [s if s.seconds else dataclasses.replace(s, seconds=seconds) for s in made]
            new = [s for s in made if s.id not in done]
            add(new)
            done |= {s.id: s for s in new}
            bar.update(len(new))


def _answered(system: AnsweringSystem, batch: Sequence[Question]) -> list[Said]:
    """The answers to a batch; where one cannot be had, the others are still."""
    try:
        return system.answer(batch)
    except LLMRecError as e:
        if len(batch) == 1:
            return [Said(batch[0].id, "", error=str(e))]
        return [said for one in batch for said in _answered(system, [one])]


@contextmanager
def _appending(file: Path) -> Iterator[Callable[[Sequence[Said]], None]]:
    """A way to append answers, on the disk when it returns; a torn last line is cut off."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as out:
        size = _whole(file)[1]
        if size < file.stat().st_size:
            os.truncate(file, size)

        def add(new: Sequence[Said]) -> None:
            lines = (json.dumps(s.to_dict(), ensure_ascii=False) + "\n" for s in new)
            out.write("".join(lines).encode())
            out.flush()
            os.fsync(out.fileno())

        yield add


def read_answers(file: Path) -> dict[str, Said]:
    """What a system has answered, by the question's id, without a torn last line.

    Raises
    ------
    InputError: a line before the last is damaged.
    """
    return _whole(file)[0]


def _whole(file: Path) -> tuple[dict[str, Said], int]:
    """The answers of the whole lines, and how many bytes these have."""
    kept: dict[str, Said] = {}
    size = 0
    lines = file.read_bytes().splitlines(keepends=True) if file.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it is cut off")
            said = Said.from_dict(json.loads(line))
        except (ValueError, AttributeError) as e:
            if number == len(lines):
                break  # a kill came while it was written
            raise InputError(
                f"line {number} of {file} is damaged ({e}): remove the file, or begin anew with "
                "--restart"
            ) from None
        kept[said.id] = said
        size += len(line)
    return kept, size
