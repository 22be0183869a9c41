"""Tune a model on prepared conversations, items or questions: LoRA, QLoRA, or all its weights.

    python train/prepare.py redial ../shared/data/redial --out data/redial
    python train/lora.py --config embedded --data data/redial --out runs/redial

    python train/lora.py --config redial-gemma-2b --data data/llm-redial --dry-run

    torchrun --nproc_per_node 2 train/lora.py --config embedded --data data/redial --out runs/two

Kill it and run it again: it goes on from the last checkpoint. --dry-run tells what a training
would take. `docs/tuning.md` is the guide.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.catalog import Catalog
from llmrec.datasets.folder import META, Folder
from llmrec.errors import InputError
from llmrec.evaluation.systems import ModelSystem
from llmrec.hub import push_folder, ready_to_push
from llmrec.metrics.ranking import padded, scores
from llmrec.metrics.significance import ratio_interval
from llmrec.models.local import LocalModel
from llmrec.options import script
from llmrec.training.examples import Row, make_rows
from llmrec.training.options import TuningOptions
from llmrec.training.preparing import estimate, is_first, prepare, processes, steps_of
from llmrec.training.tuning import base_named, measure_steps, tune, used_as
from llmrec.types import Example

BATCH = 32  # conversations that are ranked together


def make_parser() -> argparse.ArgumentParser:
    """The options; those of TuningOptions are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    TuningOptions.add_flags(parser)
    return parser


def rows_of(options: TuningOptions, split: str, limit: int | None, lost: Counter[str]) -> list[Row]:
    """The texts of a split. Raises InputError."""
    from tqdm import tqdm

    if limit == 0:
        return []
    rows = make_rows(
        options.data or None,
        split,
        task=options.task,  # type: ignore[arg-type]
        targets=options.targets,  # type: ignore[arg-type]
        style=options.style,  # type: ignore[arg-type]
        language=options.language,
        detail=options.detail,  # type: ignore[arg-type]
        k=options.k,
        limit=limit,
        seed=options.seed,
        dropped=lost,
    )
    return list(tqdm(rows, desc=f"{split} texts", unit="text", disable=not is_first()))


def recall_of(options: TuningOptions) -> Callable[[LocalModel], Mapping[str, float]]:
    """What measures Recall@10 on the validation conversations: new targets, as eval/run.py counts.

    Raises
    ------
    InputError: no conversation has a new target in the catalogue.
    """
    folder = Folder.open(options.data)
    catalog = Catalog.from_items(folder.items())
    examples: list[Example] = []
    targets = []
    for e in islice(folder.examples("validation"), options.validation_limit):
        known = set(e.conversation.mentioned)
        new = [i for i in dict.fromkeys(e.relevant) if i in catalog and i not in known]
        if new:
            examples.append(e)
            targets.append(catalog.rows(new))
    if not examples:
        raise InputError("no example has a target in the catalogue: use the data set's own items")
    sizes = np.array([len(t) for t in targets])
    dialogues = [e.dialogue or e.id or str(n) for n, e in enumerate(examples)]

    def measure(model: LocalModel) -> Mapping[str, float]:
        asked = copy(model)
        asked.profile = used_as(model.profile, options)
        system = ModelSystem(asked.name, asked, catalog, depth=10)
        ranked = []
        for at in range(0, len(examples), BATCH):
            for p in system.predictions(examples[at : at + BATCH]):
                ranked.append(catalog.rows([i for i in p.items if i not in p.mentioned]))
        found = scores(padded(ranked), targets, [10])["found@10"]
        value, low, high = ratio_interval(found, sizes, dialogues)
        return {
            "recall@10": value,
            "recall@10_low": low,
            "recall@10_high": high,
            "recall@10_n": float(len(examples)),
        }

    return measure


def about(options: TuningOptions, lost: Mapping[str, int]) -> dict[str, Any]:
    """What the record says of the data."""
    if not (Path(options.data) / META).is_file():
        return {"data": {"title": Path(options.data).name, "dropped": dict(lost)}}
    folder = Folder.open(options.data)
    facts = {"fingerprint": folder.fingerprint, "dropped": dict(lost)}
    return {
        "languages": folder.meta.get("languages", ()),
        "data": {**folder.meta["source"], **facts},
    }


def show_plan(
    options: TuningOptions, train: list[Row], held: list[Row], lost: Counter[str]
) -> None:
    """Print what the training would take."""
    prepared = prepare(options, train, held)
    steps = steps_of(prepared, options)
    texts = prepared.train
    tokens = sum(len(s["input_ids"]) for s in texts)
    answers = sum(sum(label != -100 for label in s["labels"]) for s in texts)
    rows = sum(len(s["seq_lengths"]) for s in texts)
    a_step = options.batch_size * options.accumulation * processes()
    lost = lost + prepared.dropped
    memory = estimate(prepared, options)
    seconds = measure_steps(prepared, options)[-1]
    if not is_first():
        return
    for name, value in {
        "model": f"{prepared.local.name}, {prepared.precision}, quantization "
        f"{options.quantization}",
        "parameters": f"{prepared.trainable:,} of {prepared.total:,} are trained "
        f"({prepared.trainable / prepared.total:.2%})",
        "rows": f"{rows:,} to train on in {len(texts):,} sequences, {len(held):,} to validate on",
        "left out or cut": "; ".join(f"{n:,} {why}" for why, n in lost.items()) or "nothing",
        "tokens": f"{tokens:,} in a pass, {answers:,} of them answers ({answers / tokens:.1%})",
        "steps": f"{steps:,}, of {tokens * a_step / len(texts):,.0f} tokens",
        "memory": " + ".join(f"{name} {mb:,.0f}" for name, mb in memory.items())
        + f" = {sum(memory.values()):,.0f} MB, estimated",
        "time": f"{steps * seconds / 60:,.1f} minutes, at {seconds:.2f} s a step (the second of "
        "two real ones), without evaluations",
    }.items():
        print(f"{name:16} {value}")
    for note in prepared.notes:
        print(note)


def run(options: TuningOptions) -> None:
    """Do what the options say. Raises LLMRecError."""
    if not options.data and options.task != "preferences":
        raise InputError("no data are given: name with --data a folder that train/prepare.py wrote")
    adapter = options.method == "lora"
    if options.push_to_hub and adapter and Path(base_named(options)[0]).is_dir():
        raise InputError(
            f"the base model is the folder {options.model}, which others do not have: "
            "name it as the Hub does with --base-id, or leave --push-to-hub out"
        )
    if options.push_to_hub and not options.dry_run:
        ready_to_push(options.push_to_hub)
    lost: Counter[str] = Counter()
    train = rows_of(options, "train", options.limit, lost)
    held = rows_of(options, "validation", options.validation_limit, lost)
    if options.dry_run:
        show_plan(options, train, held, lost)
        return
    record = tune(
        options,
        train,
        held,
        metric=recall_of(options) if options.best_by == "recall@10" else None,
        about=about(options, lost),
        say=print if is_first() else lambda text: None,
    )
    if not is_first():
        return
    cost, loss = record["cost"], record["loss"]
    print(
        f"{options.out}: {cost['steps']:,} steps, {cost['tokens']:,} tokens, "
        f"{cost['seconds'] / 60:.1f} minutes, {cost['peak_memory_mb']:,} MB"
    )
    if loss["validation_best"] is not None:
        print(f"validation loss {loss['validation_first']:.3f} -> {loss['validation_best']:.3f}")
    for m in record["measured"]:
        interval = f", 95 % {m['low']:.3f} to {m['high']:.3f}" if "low" in m else ""
        before = f"{m['before']['value']:.3f} -> " if m["before"] else ""
        print(f"{m['name']} {before}{m['value']:.3f} (n {m['n']:,}{interval})")
    if options.push_to_hub:
        left = ("checkpoints/*", "tensorboard/*", "trackio/*")
        private = options.private or None
        print(push_folder(options.out, options.push_to_hub, private=private, ignore=left))


@script("lora", "the same command goes on from the last checkpoint")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    run(TuningOptions.from_flags(vars(args)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
