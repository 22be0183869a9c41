"""Train the embedded model from nothing on conversations generated from a catalogue.

    python train/embedded.py --minutes 60
    python train/embedded.py --catalog my-films.lance --out my-model --minutes 120

    python eval/understanding.py --json figures.json && python train/embedded.py --card figures.json

Writes an ordinary Hugging Face folder: config, safetensors, tokenizer with its chat template, a
model card, and ``llmrec.json``, which says how the model is to be used. Kill it and run it again:
it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmrec.catalog import Catalog
from llmrec.cues import ROLES
from llmrec.folders import replacing
from llmrec.prompting import TURNS, parse_understanding, understanding_prompt, understanding_schema
from llmrec.training.card import embedded_card
from llmrec.training.conversations import (
    CRITIQUES,
    GENRES,
    LETTERS,
    Case,
    ListMaker,
    make_understanding,
    phrasings,
    understanding_case,
)
from llmrec.training.scratch import ScratchConfig, build_model, build_tokenizer, render, train
from llmrec.types import Item
from llmrec.wording import display_name

DEFAULT_OUT = Path("llmrec/data/model")
SIZES = {
    "small": {"hidden": 160, "layers": 4, "heads": 4, "intermediate": 448},
    "base": {"hidden": 320, "layers": 6, "heads": 5, "intermediate": 864},
}
MARKS_PER_KIND = 8


def make_parser() -> argparse.ArgumentParser:
    """The options; those of ScratchConfig are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--catalog", help="folder of a catalogue; the embedded films if not given")
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder of the finished model"
    )
    parser.add_argument(
        "--run", type=Path, default=Path("runs/embedded"), help="folder of checkpoints"
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument(
        "--card", type=Path, help="only write the card anew, with the figures of this file"
    )
    for f in dataclasses.fields(ScratchConfig):
        if f.name not in ("hidden", "layers", "heads", "intermediate"):
            flag = "--" + f.name.replace("_", "-")
            parser.add_argument(flag, type=type(f.default), default=f.default)
    return parser


def marks() -> list[str]:
    """Every string that the tokenizer keeps whole."""
    out = [f"[{letter}{n}]" for letter in LETTERS.values() for n in range(1, MARKS_PER_KIND + 1)]
    out += ["#" + g for g in GENRES] + ["~" + c for c in CRITIQUES]
    roles = {r for rs in ROLES.values() for r in rs}
    return out + [f'"{w}"' for w in sorted(roles | set(TURNS) | {"turn"})]


def texts(items: Sequence[Item], seed: int) -> Iterator[str]:
    """What the tokenizer is trained on."""
    for p in phrasings():
        yield p.text
    maker = ListMaker(items, seed)
    for _ in range(20_000):
        yield "".join(render(maker.case().messages))
    for i in items:
        yield from (f" {i.title}\n", f" {i.title}\n", *i.all_titles, ", ".join(i.people))
        yield from i.descriptions.values()
    for kind in ("genre", "keyword", "country"):
        names = {
            v
            for i in items
            for v in {"genre": i.genres, "keyword": i.keywords, "country": i.countries}[kind]
        }
        yield from (
            display_name(kind, n, language)
            for n in sorted(names)
            for language in ("en", "pt", "es")
        )


def cases(items: Sequence[Item], share: float, seed: int) -> Iterator[Case]:
    """Both tasks, mixed."""
    rng = random.Random(seed)
    understanding = make_understanding(seed)
    lists = ListMaker(items, seed)
    while True:
        if rng.random() < share:
            yield understanding_case(*next(understanding))
        else:
            yield lists.case()


def role_accuracy(folder: Path, n: int = 600) -> dict[str, Any]:
    """Role accuracy of a finished model on held-out phrasings, and what saying the default gets."""
    from llmrec.cues import DEFAULT_ROLE
    from llmrec.models.local import LocalModel

    model = LocalModel.from_pretrained(folder)
    right = turns = default = total = later = 0
    for marked, previous, roles, turn in itertools.islice(
        make_understanding(99, evaluation=True), n
    ):
        prompt = understanding_prompt(marked, previous, detail="brief")
        answer = parse_understanding(
            model.generate([prompt], max_new_tokens=160, schema=understanding_schema(marked))[0],
            marked,
        )
        for s in marked.spans:
            total += 1
            default += DEFAULT_ROLE[s.kind] == roles[s.mark]
            right += answer is not None and answer[1][s.mark] == roles[s.mark]
        if previous:
            later += 1
            turns += answer is not None and answer[0] == turn
    return {"messages": n, "marks": total, "role_accuracy": round(right / total, 4),
            "default_role_accuracy": round(default / total, 4),
            "later_turns": later, "turn_accuracy": round(turns / max(later, 1), 4)}  # fmt: skip


def write_card(folder: Path, understanding: Sequence[dict[str, Any]]) -> None:
    """Write the model card from what is recorded in the folder."""
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    profile = json.loads((folder / "llmrec.json").read_text(encoding="utf-8"))
    text = embedded_card(record, understanding, profile["lead"])
    (folder / "README.md").write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done."""
    args = make_parser().parse_args(argv)
    if args.card:
        write_card(args.out, json.loads(args.card.read_text(encoding="utf-8"))["understanding"])
        return 0
    options = {
        f.name: getattr(args, f.name)
        for f in dataclasses.fields(ScratchConfig)
        if hasattr(args, f.name)
    }
    config = ScratchConfig(**options, **SIZES[args.size])
    catalog = Catalog.open(args.catalog) if args.catalog else Catalog.embedded()
    items = list(catalog)
    args.run.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(list(texts(items, config.seed)), marks(), config.vocabulary)
    model = build_model(tokenizer, config)
    size = sum(p.numel() for p in model.parameters())
    print(
        f"{size / 1e6:.2f}M parameters, {len(tokenizer)} tokens, {len(items)} items",
        file=sys.stderr,
    )
    cost = train(
        model,
        tokenizer,
        lambda seed: cases(items, config.understanding_share, seed),
        config,
        args.run,
        say=lambda line: print(line, file=sys.stderr),
    )
    with replacing(args.out) as folder:
        model.bfloat16().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        profile = {"lead": "rules", "detail": "brief", "writes": False}
        (folder / "llmrec.json").write_text(json.dumps(profile) + "\n")
        measured = role_accuracy(folder)
        record = {
            "parameters": size,
            "config": dataclasses.asdict(config),
            "cost": cost,
            "measured": measured,
        }
        (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n")
        write_card(folder, [])
    print(json.dumps({**cost, **measured}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
