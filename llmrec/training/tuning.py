"""Tuning hides a whole fine-tuning: rows in, a tuned model and its record out."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import resource
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llmrec._version import __version__
from llmrec.folders import public_name, write_whole
from llmrec.models.local import EMBEDDED_NAME, LocalModel
from llmrec.models.profile import Profile
from llmrec.training.card import adapter_card, hub_id_of
from llmrec.training.checkpoints import CHECKPOINTS, IDENTITY, identity_of, resumable
from llmrec.training.examples import Row
from llmrec.training.options import TuningOptions
from llmrec.training.preparing import NEEDED, Prepared, prepare, processes, quietly
from llmrec.training.trainer import Metric, make_trainer, run_trainer

__all__ = ["base_named", "measure_steps", "tune", "used_as"]

Lead = Literal["rules", "rules-only"]
RECORD = "training.json"
TASTE = 4.0  # on ReDial, where popularity's weight is 1.5; more changes little
# Moved in last, in this order: without the first of them nothing can be loaded.
_LAST = ("adapter_config.json", "config.json", "README.md", RECORD)


def tune(
    options: TuningOptions,
    rows_train: Iterable[Row],
    rows_validation: Iterable[Row],
    *,
    metric: Metric | None = None,
    profile: Profile | None = None,
    about: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train, keep the best, and write it to ``options.out``.

    A run that was cut off, by a kill even, goes on from its last whole checkpoint and ends in the
    same weights (on a CPU bit for bit) as one that was not.

    Parameters
    ----------
    metric: called with the model at each evaluation; its numbers join the validation loss, and
        one of them may be ``options.best_by``.
    profile: how the result is to be used; as the base is, but for what the task has taught.
    about: what the record says of ``data``, ``languages`` and ``license``.
    say: takes sentences for the user.

    Returns
    -------
    The record, which also stands in ``training.json``.

    Raises
    ------
    InputError: the options cannot be met, or the folder holds another run.
    ModelError, MissingExtraError: as ``prepare`` does.
    """
    prepared = prepare(options, rows_train, rows_validation)
    for note in prepared.notes:
        say(note)
    out = Path(options.out)
    identity = identity_of(options, (*prepared.train, *prepared.validation), processes())
    checkpoint = resumable(out, identity, options.resume)
    if checkpoint is not None:
        say(f"going on from {checkpoint}")
    with quietly():
        trainer = make_trainer(prepared, options, metric, evaluate_first=checkpoint is None)
        if checkpoint is None and trainer.is_world_process_zero():
            write_whole(out / CHECKPOINTS / IDENTITY, json.dumps(identity, indent=1))
        trainer.accelerator.wait_for_everyone()
        run_trainer(trainer, checkpoint)
        record = _record(trainer, prepared, options, about or {})
        _save(
            trainer, prepared, options, record, profile or used_as(prepared.local.profile, options)
        )
    return record


def measure_steps(prepared: Prepared, options: TuningOptions, steps: int = 2) -> list[float]:
    """Seconds of each of some real steps, the first one with what is done but once.

    Nothing is evaluated or written; the model has then been trained by them.
    """
    with tempfile.TemporaryDirectory() as folder, quietly():
        short = dataclasses.replace(
            options,
            out=folder,
            max_steps=steps,
            report_to="none",
            best_by="none",
            early_stopping=0,
        )
        trainer = make_trainer(dataclasses.replace(prepared, validation=()), short, None)
        trainer.args.save_strategy = "no"
        trainer.train()
        return [round(seconds, 4) for seconds in np.diff(trainer.costs.times).tolist()]


def used_as(profile: Profile, options: TuningOptions) -> Profile:
    """How a model of this profile is to be used once it is tuned so."""
    if options.task in ("recommend", "preferences"):
        profile = dataclasses.replace(profile, detail=options.detail)  # type: ignore[arg-type]
    if options.task in ("recommend", "answer"):
        # What the rules understood was learnt from, and other tasks may be forgotten.
        lead: Lead = "rules" if profile.lead == "model" else "rules-only"
        profile = dataclasses.replace(profile, lead=lead)
    if options.task == "recommend":
        profile = dataclasses.replace(profile, taste=TASTE)
    if options.task == "answer":
        profile = dataclasses.replace(profile, answers=options.style)  # type: ignore[arg-type]
    if options.task in ("reply", "chat"):
        profile = dataclasses.replace(profile, writes=True)
    return profile


def _record(
    trainer: Any, prepared: Prepared, options: TuningOptions, about: Mapping[str, Any]
) -> dict[str, Any]:
    state, costs = trainer.state, trainer.costs
    history = [e for e in state.log_history if "eval_loss" in e]
    kept = [e for e in history if e["step"] == state.best_global_step] or history[-1:]
    base, revision = base_named(options, prepared.local)
    data = about.get("data", {})
    return {
        "llmrec": __version__,
        "versions": {name: importlib.metadata.version(name) for name in NEEDED},
        "repo_id": options.push_to_hub,
        "base_model": Path(base).name if Path(base).is_dir() else base,
        "base_revision": revision,
        "task": options.task,
        "languages": list(about.get("languages", ())),
        "license": about.get("license"),
        "config": json.loads(json.dumps(dataclasses.asdict(_told(options)))),
        "data": {
            **data,
            "rows": sum(len(s["seq_lengths"]) for s in prepared.train),
            "validation_rows": sum(len(s["seq_lengths"]) for s in prepared.validation),
            "dropped": dict(Counter(data.get("dropped", {})) + prepared.dropped),
            "packed": prepared.packed,
        },
        "parameters": {"total": prepared.total, "trainable": prepared.trainable},
        "cost": {
            "steps": state.global_step,
            "tokens": costs.tokens,
            "answer_tokens": costs.answer_tokens,
            "seconds": round(costs.seconds, 1),
            "device": _device_name(),
            "peak_memory_mb": round(_peak_mb()),
        },
        "loss": {
            "validation_first": history[0]["eval_loss"] if history else None,
            "validation_best": kept[0]["eval_loss"] if kept else None,
        },
        "measured": _measured(history[0], kept[0], prepared, options) if kept else [],
    }


def _measured(
    first: Mapping[str, Any], kept: Mapping[str, Any], prepared: Prepared, options: TuningOptions
) -> list[dict[str, Any]]:
    """What the metric gave; ``NAME_low``, ``NAME_high`` and ``NAME_n`` go with ``NAME``."""
    theirs = ("loss", "runtime", "samples_per_second", "steps_per_second")
    numbers = {k[5:]: v for k, v in kept.items() if k.startswith("eval_") and k[5:] not in theirs}
    rows = sum(len(s["seq_lengths"]) for s in prepared.validation)
    told = _told(options)
    out = []
    for name in numbers:
        if name.rpartition("_")[0] in numbers:
            continue
        now, before = _figure(kept, name), _figure(first, name)
        n = int(numbers.get(f"{name}_n", rows))
        row = {"name": name, "split": "validation", "n": n, **now, "before": before or None}
        if name.startswith("recall@"):
            model = told.push_to_hub or told.out
            flags = {
                "data": told.data,
                "model": model,
                "out": f"runs/eval/{Path(model).name or 'tuned'}",
            }
            said = [part for flag, value in flags.items() for part in (f"--{flag}", value)]
            row["command"] = shlex.join(["python", "eval/run.py", *said])
        out.append(row)
    return out


def _figure(log: Mapping[str, Any], name: str) -> dict[str, float]:
    ends = {"value": "", "low": "_low", "high": "_high"}
    return {k: log[f"eval_{name}{e}"] for k, e in ends.items() if f"eval_{name}{e}" in log}


def base_named(options: TuningOptions, local: LocalModel | None = None) -> tuple[str, str | None]:
    """What the result calls its base, and the revision: by Hub id wherever one is known."""
    if options.base_id is not None:
        return options.base_id, options.revision
    if options.model in ("embedded", EMBEDDED_NAME):
        return EMBEDDED_NAME, None
    folder = Path(options.model).expanduser()
    if folder.is_dir():
        return hub_id_of(folder) or str(folder.resolve()), None
    commit = None if local is None else getattr(local.model.config, "_commit_hash", None)
    return options.model, options.revision or commit


def _told(options: TuningOptions) -> TuningOptions:
    """The options without what they tell of this machine: of paths that lead out, the name."""
    names = ("data", "out", "model", "chat_template_from")
    given = {n: getattr(options, n) for n in names}
    paths: dict[str, Any] = {n: public_name(v) for n, v in given.items() if v}
    return dataclasses.replace(options, **paths)


def _device_name() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{processes()} x {torch.cuda.get_device_name()}"
    return f"CPU, {processes()} x {torch.get_num_threads()} threads"


def _peak_mb() -> float:
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _save(
    trainer: Any,
    prepared: Prepared,
    options: TuningOptions,
    record: Mapping[str, Any],
    profile: Profile,
) -> None:
    """Write all beside the folder first, then move it in, and last what says that it is whole."""
    out = Path(options.out)
    part = out / ".part"
    shutil.rmtree(part, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(part))
    if not trainer.is_world_process_zero():
        return
    (part / "training_args.bin").unlink(missing_ok=True)
    adapter = part / "adapter_config.json"
    if adapter.is_file():
        config = json.loads(adapter.read_text(encoding="utf-8"))
        base, revision = base_named(options, prepared.local)
        config |= {"base_model_name_or_path": base, "revision": revision}
        write_whole(adapter, json.dumps(config, indent=2, sort_keys=True))
    prepared.local.tokenizer.save_pretrained(part)
    write_whole(part / "llmrec.json", json.dumps(dataclasses.asdict(profile), indent=1))
    write_whole(part / "tuning.yaml", _told(options).resolved.rstrip("\n"))
    write_whole(part / RECORD, json.dumps(record, indent=1, ensure_ascii=False))
    write_whole(part / "README.md", adapter_card(record).rstrip("\n"))
    for name in reversed(_LAST):
        (out / name).unlink(missing_ok=True)
    names = {f.name for f in part.iterdir()}
    for name in (*sorted(names - set(_LAST)), *(n for n in _LAST if n in names)):
        (part / name).replace(out / name)
    part.rmdir()
