"""Ranking hides how a ranker is learned from a prepared folder, and the card that it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.datasets.folder import Folder
from llmrec.errors import InputError
from llmrec.folders import public_name, write_whole
from llmrec.markdown import block, table, text
from llmrec.metrics.ranking import padded, scores
from llmrec.metrics.significance import ratio_interval
from llmrec.options import Options
from llmrec.options import option as _of
from llmrec.ranker import LearnedRanker
from llmrec.ranker.learned import GROUPS
from llmrec.types import Example

__all__ = ["RankerOptions", "Row", "learn", "measured", "write_card"]

KS = (1, 10, 50)


@dataclass(frozen=True)
class RankerOptions(Options):
    """The whole of learning a ranker. The fields are the flags and the keys of a file of YAML."""

    ASIDE = ("out", "threads", "push_to_hub", "private")

    data: str = _of("", "folder that train/prepare.py wrote; with --facts it ranks better")
    model: str | None = _of(
        None, "Hub id or folder of a model whose opinion is to count as well, 'embedded', or none"
    )
    adapter: str | None = _of(None, "Hub id or folder of an adapter for it")
    without: tuple[str, ...] = _of((), f"signals to leave out: {', '.join(GROUPS)}")
    folds: int = _of(5, "parts that the training dialogues are learned in")
    seed: int = _of(0, "of folds, the network and the combination")
    whole: bool = _of(
        False, "learn from the validation dialogues too; nothing is then left to measure on"
    )
    limit: int | None = _of(None, "training examples at most")
    out: str = _of("runs/ranker", "folder to write into; files of other kinds in it stay")
    threads: int = _of(0, "CPU threads; 0: as torch chooses")
    push_to_hub: str | None = _of(None, "repository to push the folder to")
    private: bool = _of(False, "make that repository private")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data:
            raise InputError("no data are given: name with --data a folder of train/prepare.py")
        if odd := [g for g in self.without if g not in GROUPS]:
            raise InputError(f"there is no signal {odd[0]!r}: use some of {', '.join(GROUPS)}")
        if self.folds < 2:
            raise InputError(f"folds is {self.folds}: give 2 or more")
        if self.whole and self.model:
            raise InputError(
                "the share of a model is learned on the validation dialogues: give a model or "
                "--whole, not both"
            )


@dataclass(frozen=True)
class Row:
    """One line of the table: recall of one system over targets, with its 95 % interval."""

    system: str
    targets: str
    recall: dict[int, tuple[float, float, float]]
    n: int

    def cells(self) -> list[str]:
        """The line as text."""
        found = [f"{v:.3f} [{low:.3f}-{high:.3f}]" for v, low, high in self.recall.values()]
        return [self.system, self.targets, *found, f"{self.n:,}"]


def learn(options: RankerOptions, *, progress: bool = False) -> LearnedRanker:
    """Learn from the training part. Raises InputError."""
    folder = Folder.open(options.data)
    examples = list(folder.examples("train"))[: options.limit]
    if options.whole:
        if "validation" not in folder.splits["examples"]:
            raise InputError(f"{options.data} has no validation part: leave --whole out")
        examples += folder.examples("validation")
    return LearnedRanker.fit(
        examples,
        folder.items(),
        seed=options.seed,
        folds=options.folds,
        without=options.without,
        progress=progress,
    )


def measured(
    system: str, ids: Sequence[Sequence[str]], examples: Sequence[Example], new_only: bool
) -> Row:
    """Recall at several depths over all targets of the examples, as ReDial counts.

    Parameters
    ----------
    ids: of the items ranked for each example, best first.
    """
    rows: dict[str, int] = {}
    ranked, wanted, groups = [], [], []
    for n, (e, listed) in enumerate(zip(examples, ids, strict=True)):
        known = set(e.conversation.mentioned) if new_only else set()
        targets = [i for i in dict.fromkeys(e.relevant) if i not in known]
        if not targets:
            continue
        kept = [i for i in listed if i not in known]
        ranked.append(np.array([rows.setdefault(i, len(rows)) for i in kept], dtype=np.int64))
        wanted.append(np.array([rows.setdefault(i, len(rows)) for i in targets], dtype=np.int64))
        groups.append(e.dialogue or e.id or str(n))
    if not wanted:
        raise InputError("no example has a target: use a part with recommendations")
    found = scores(padded(ranked, max(KS)), wanted, KS)
    totals = np.array([len(w) for w in wanted])
    recall = {k: ratio_interval(found[f"found@{k}"], totals, groups) for k in KS}
    return Row(system, "new" if new_only else "all", recall, int(totals.sum()))


def write_card(
    options: RankerOptions, ranker: LearnedRanker, rows: Sequence[Row], folder: Path
) -> None:
    """The README of the ranker; a card that is there already gets it as a section."""
    facts = ranker.facts
    header = ["system", "targets", *[f"Recall@{k} [95 %]" for k in KS], "n"]
    said = [
        "## The ranker" if (folder / "README.md").exists() else "# A ranker for llmrec",
        "",
        f"`ranker.json` and `ranker.safetensors` hold a learned ranker of llmrec, as plain arrays: "
        f"{facts['items']:,} items, learned from {facts['examples']:,} recommendations in "
        f"{facts['dialogues']:,} dialogues of {text(public_name(options.data))}. It combines "
        f"{', '.join(g for g in GROUPS if g not in options.without)}.",
        "",
        block(
            "from llmrec import Recommender\n\n"
            'rec = Recommender.from_pretrained(ranker="<this repository>", catalog="...")',
            "python",
        ),
        "",
    ]
    if ranker.model_share:
        name = options.adapter or options.model or ""
        said += [
            f"The opinion of {text(public_name(name))} counts with a weight of "
            f"{ranker.model_share:.2f} a standard deviation.",
            "",
        ]
    if rows:
        said += [
            "Measured on validation dialogues, which it was not learned from:",
            "",
            table(header, [r.cells() for r in rows]),
            "",
        ]
    card = folder / "README.md"
    begin, end = "<!-- ranker -->", "<!-- /ranker -->"
    part = "\n".join([begin, *said, end])
    before = card.read_text(encoding="utf-8") if card.exists() else _front(options)
    if begin in before and end in before:
        a, b = before.index(begin), before.index(end) + len(end)
        write_whole(card, (before[:a] + part + before[b:]).rstrip("\n"))
    else:
        write_whole(card, before.rstrip("\n") + "\n\n" + part)


def _front(options: RankerOptions) -> str:
    tags: list[Any] = ["llmrec", "recommendation"]
    return "\n".join(["---", "library_name: llmrec", "tags:", *[f"- {t}" for t in tags], "---"])
