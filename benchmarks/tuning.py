"""Measure fine-tuning: answer tokens learnt a second, beside the common notebook recipe.

    python benchmarks/tuning.py --threads 2
    python benchmarks/tuning.py --data data/redial --model google/gemma-2b-it --rows 64

The recipe pads every text to max_length and has its loss on every token; ours packs the texts and
has its loss on the answers. Both train the same adapters on the same rows of the same model with
as many sequences a forward pass, one pass each, and take turns. The rows are ReDial's where they
lie beside the repository, else made up with lengths like theirs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.datasets import load
from llmrec.datasets.folder import write
from llmrec.training.examples import Row, make_rows
from llmrec.training.options import TuningOptions
from llmrec.training.preparing import Prepared, prepare, steps_of
from llmrec.training.tuning import measure_steps
from llmrec.types import Message

REDIAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "redial"
WORDS = "the a film like that one with more of it and less they said was never quite so".split()


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded", help="Hub id or folder, or 'embedded'")
    parser.add_argument("--data", type=Path, help="folder that train/prepare.py wrote")
    parser.add_argument("--made-up", action="store_true", help="made-up rows, ReDial or not")
    parser.add_argument("--rows", type=int, default=192, help="texts of a pass")
    parser.add_argument("--repeats", type=int, default=2, help="passes of each")
    parser.add_argument("--batch-size", type=int, default=4, help="sequences a forward pass")
    parser.add_argument("--max-length", type=int, default=512, help="tokens of a sequence")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser


@contextmanager
def prepared_data(folder: Path | None) -> Iterator[Path | None]:
    """The folder given, else ReDial prepared for now, else None."""
    if folder is not None or not REDIAL.is_dir():
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        target = Path(made) / "redial"
        write(load("redial", REDIAL), target, limit=2_000, progress=False)
        yield target


def similar_rows(n: int, seed: int) -> list[Row]:
    """Made-up requests and lists, with lengths spread as ReDial's are."""
    rng = np.random.default_rng(seed)
    choose = random.Random(seed)
    rows = []
    for _ in range(n):
        said = " ".join(choose.choices(WORDS, k=int(rng.lognormal(4.5, 0.7)) + 5))
        titles = [" ".join(choose.choices(WORDS, k=3)) for _ in range(rng.integers(1, 6))]
        answer = tuple(f"{i}. {title}\n" for i, title in enumerate(titles, 1))
        rows.append(Row((Message("user", said),), answer))
    return rows


def rows_of(args: argparse.Namespace) -> tuple[list[Row], str]:
    """What is trained on, and whence it is."""
    if args.made_up:
        return similar_rows(args.rows, args.seed), "made up"
    with prepared_data(args.data) as folder:
        if folder is None:
            return similar_rows(args.rows, args.seed), "made up"
        every = list(make_rows(folder, task="recommend"))
        name = folder.name if args.data else "ReDial"
        return random.Random(args.seed).sample(every, min(args.rows, len(every))), name


def padded(prepared: Prepared, max_length: int, pad: int) -> list[dict[str, list[int]]]:
    """The texts as the recipe has them: each to max_length, its own tokens as labels."""
    out = []
    for sequence in prepared.train:
        at = 0
        for length in sequence["seq_lengths"]:
            ids = sequence["input_ids"][at : at + length]
            at += length
            out.append(
                {
                    "input_ids": ids + [pad] * (max_length - length),
                    "attention_mask": [1] * length + [0] * (max_length - length),
                    "labels": ids + [-100] * (max_length - length),
                }
            )
    return out


def recipe_seconds(prepared: Prepared, options: TuningOptions) -> float:
    """One pass of the recipe with transformers' own Trainer, on the same model and adapters."""
    from datasets import Dataset
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    local = prepared.local
    pad = local.tokenizer.pad_token_id
    rows = padded(prepared, options.max_length, local.chat.end_ids[0] if pad is None else pad)
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.monotonic())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=options.batch_size,
            gradient_accumulation_steps=options.accumulation,
            num_train_epochs=1,
            learning_rate=options.learning_rate,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            bf16=prepared.precision == "bf16",
            fp16=prepared.precision == "fp16",
            use_cpu=local.model.device.type == "cpu",
        )
        data = Dataset.from_list(rows)
        trainer = Trainer(model=local.model, args=args, train_dataset=data, callbacks=[Clock()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return times[-1] - times[0]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both, in turns."""
    rows, source = rows_of(args)
    options = TuningOptions(
        model=args.model,
        batch_size=args.batch_size,
        accumulation=1,
        max_length=args.max_length,
        epochs=1.0,
        best_by="none",
        threads=args.threads,
        seed=args.seed,
    )
    seconds: dict[str, list[float]] = {"recipe": [], "ours": []}
    for _ in range(args.repeats):
        prepared = prepare(options, rows, [])
        seconds["recipe"].append(recipe_seconds(prepared, options))
        prepared = prepare(options, rows, [])
        steps = steps_of(prepared, options)
        seconds["ours"].append(sum(measure_steps(prepared, options, steps)))
    lengths = [n for s in prepared.train for n in s["seq_lengths"]]
    answers = sum(label != -100 for s in prepared.train for label in s["labels"])
    best = {name: min(values) for name, values in seconds.items()}
    return {
        "model": prepared.local.name,
        "data": source,
        "rows": len(lengths),
        "tokens": sum(lengths),
        "answer_tokens": answers,
        "max_length": args.max_length,
        "threads": args.threads,
        "sequences": {"recipe": len(lengths), "ours": len(prepared.train)},
        "seconds": seconds,
        "answer_tokens_per_second": {name: answers / value for name, value in best.items()},
        "ratio": best["recipe"] / best["ours"],
        "ratios": [a / b for a, b in zip(*seconds.values(), strict=True)],
    }


def show(figures: Mapping[str, Any]) -> None:
    """Print the table."""
    print(
        f"{figures['model']}, {figures['rows']:,} rows ({figures['data']}), "
        f"{figures['tokens']:,} tokens, {figures['answer_tokens']:,} of them answers, "
        f"max_length {figures['max_length']}, {figures['threads']} threads\n"
    )
    print("| | sequences | seconds a pass | answer tokens/s |")
    print("|---|---|---|---|")
    names = {"recipe": "padded to max_length, loss on every token", "ours": "llmrec"}
    for name, said in names.items():
        took = " ".join(f"{s:.1f}" for s in figures["seconds"][name])
        rate = figures["answer_tokens_per_second"][name]
        print(f"| {said} | {figures['sequences'][name]:,} | {took} | {rate:,.0f} |")
    each = ", ".join(f"{r:.2f}" for r in figures["ratios"])
    print(f"\nratio {figures['ratio']:.2f} of the best passes (in turns: {each})")


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    figures = measure(args)
    show(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
