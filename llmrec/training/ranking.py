"""Ranking hides how a ranker is learned from a prepared folder, measured, kept and described."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec._version import __version__
from llmrec.catalog import Catalog
from llmrec.datasets.folder import Folder
from llmrec.errors import InputError
from llmrec.evaluation.baselines import Baseline, Mentions
from llmrec.evaluation.learned import Beside, Judged, LearnedSystem
from llmrec.folders import public_name, write_whole
from llmrec.markdown import block, table, text
from llmrec.metrics.ranking import padded, scores
from llmrec.metrics.significance import ratio_interval
from llmrec.models.local import LocalModel
from llmrec.options import Options
from llmrec.options import option as _of
from llmrec.ranker import LearnedRanker
from llmrec.ranker.learned import FILES, GROUPS
from llmrec.types import Example

__all__ = [
    "RECORD",
    "Learned",
    "RankerOptions",
    "Row",
    "cross_fitted",
    "learn",
    "measured",
    "save",
]

KS = (1, 10, 50)
RECORD = "ranker-training.json"
PACKAGES = ("numpy", "scipy", "torch")
_MODELS = ("adapter_config.json", "config.json")  # one of them lies beside what can be loaded
_CACHE_MB = 4_096  # of what prompts begin with, as a run of eval/run.py has it
_FRONT = "---\nlibrary_name: llmrec\ntags:\n- llmrec\n- recommendation\n---"
_BEGIN, _END = "<!-- ranker -->", "<!-- /ranker -->"


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
    encoder: str | None = _of(
        None, "a sentence-transformers model for the signals of meaning (extra dense), or none"
    )
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
        if self.adapter and not self.model:
            raise InputError(f"the adapter {self.adapter!r} has no model: name it with --model")
        if Path(self.out).exists() and not Path(self.out).is_dir():
            raise InputError(f"out is {self.out!r}, which is a file: name a folder")


@dataclass(frozen=True)
class Row:
    """One line of the table: recall of one system over targets, with its 95 % intervals.

    Attributes
    ----------
    targets: "new" (those not mentioned before, with the mentioned ones taken out of the ranking)
        or "all".
    recall: by depth: the value, and the lower and upper end of its interval.
    n: targets.
    """

    system: str
    targets: str
    recall: dict[int, tuple[float, float, float]]
    n: int

    def cells(self) -> list[str]:
        """The line as text."""
        found = [f"{v:.3f} [{low:.3f}-{high:.3f}]" for v, low, high in self.recall.values()]
        return [self.system, self.targets, *found, f"{self.n:,}"]

    def to_dict(self) -> dict[str, Any]:
        """The line as plain JSON types."""
        ends = ("value", "low", "high")
        recall = {
            f"recall@{k}": dict(zip(ends, found, strict=True)) for k, found in self.recall.items()
        }
        return {"system": self.system, "targets": self.targets, "n": self.n, **recall}


@dataclass(frozen=True)
class Learned:
    """What was learned, and what it is worth.

    Attributes
    ----------
    rows: of the validation part; none where there is none.
    shares: how much the model counts by either half of the validation dialogues. Its figures are
        of these, each measured on the other half; the ranker's own share is of all dialogues.
    data: what ``RECORD`` says of them.
    """

    ranker: LearnedRanker
    rows: tuple[Row, ...]
    shares: tuple[float, ...]
    data: dict[str, Any]
    seconds: float

    @property
    def table(self) -> str:
        """The rows in Markdown."""
        header = ["system", "targets", *[f"Recall@{k} [95 %]" for k in KS], "n"]
        return table(header, [r.cells() for r in self.rows])


def learn(options: RankerOptions, *, progress: bool = False) -> Learned:
    """Learn from the training part, and measure on the validation part if there is one.

    Raises
    ------
    InputError: the data cannot be read, or lack what the options need.
    ModelError, MissingExtraError: the model cannot be loaded.
    """
    start = time.perf_counter()
    folder = Folder.open(options.data)
    has_validation = "validation" in folder.splits["examples"]
    held = list(folder.examples("validation")) if has_validation else []
    if (options.model or options.whole) and not held:
        raise InputError(
            f"{options.data} has no validation part, which --model and --whole need: prepare the "
            "data with one, or leave these options out"
        )
    model = _model(options) if options.model else None
    train = list(islice(folder.examples("train"), options.limit))
    if options.whole:
        train, held = train + held, []
    items = list(folder.items())
    ranker = LearnedRanker.fit(
        train,
        items,
        seed=options.seed,
        folds=options.folds,
        without=options.without,
        encoder=options.encoder,
        progress=progress,
    )
    rows = _compared(ranker, train, held)
    shares: tuple[float, ...] = ()
    if model is not None:
        beside = Beside("ranker and model", model, Catalog.from_items(items), ranker, depth=KS[-1])
        judged = _judged(beside, held, progress)
        share = beside.learn_share(held, judged)
        shares, ranked = cross_fitted(beside, held, judged, seed=options.seed)
        ids = [[ranker.ids[n] for n in rows_of.tolist()] for rows_of in ranked]
        rows += _rows(beside.name, ids, held)
        name = public_name(str(options.adapter or options.model))
        ranker = ranker.with_share(share, model=name)
    data = {
        **folder.meta["source"],
        "fingerprint": folder.fingerprint,
        "training_examples": len(train),
        "validation_examples": len(held),
        "validation_dialogues": len({e.dialogue or e.id for e in held}),
    }
    return Learned(ranker, tuple(rows), shares, data, time.perf_counter() - start)


def _model(options: RankerOptions) -> LocalModel:
    return LocalModel.from_pretrained(
        None if options.model == "embedded" else options.model,
        adapter=options.adapter,
        prefix_cache_mb=_CACHE_MB,
    )


def _compared(
    ranker: LearnedRanker, train: Sequence[Example], held: Sequence[Example]
) -> list[Row]:
    """Popularity and the ranker alone."""
    if not held:
        return []
    baseline = Baseline("popularity", Mentions(train, ranker.ids), depth=KS[-1])
    out = []
    for system in (baseline, LearnedSystem("ranker", ranker, depth=KS[-1])):
        out += _rows(system.name, [p.items for p in system.predictions(held)], held)
    return out


def _rows(system: str, ids: Sequence[Sequence[str]], examples: Sequence[Example]) -> list[Row]:
    found = (measured(system, ids, examples, new_only=new) for new in (True, False))
    return [row for row in found if row is not None]


def _judged(beside: Beside, held: Sequence[Example], progress: bool) -> list[Judged]:
    from tqdm import tqdm

    with tqdm(total=len(held), desc="the model", unit="example", disable=not progress) as bar:
        return beside.judged(held, step=bar.update)


def cross_fitted(
    beside: Beside, examples: Sequence[Example], judged: Sequence[Judged], *, seed: int = 0
) -> tuple[tuple[float, float], list[npt.NDArray[np.int32]]]:
    """Rankings in which the model counts as much as the other half of the dialogues says.

    Returns
    -------
    The share that each half asks for, and the rows for each example, best first.
    """
    names = [e.dialogue or e.id or str(n) for n, e in enumerate(examples)]
    each = list(dict.fromkeys(names))
    half = dict(zip(each, np.random.default_rng(seed).permutation(len(each)) % 2, strict=True))
    parts = [[n for n, name in enumerate(names) if half[name] == h] for h in (0, 1)]
    shares = tuple(
        beside.learn_share([examples[n] for n in part], [judged[n] for n in part]) for part in parts
    )
    ranked = [j.ranked(shares[1 - half[name]])[0] for name, j in zip(names, judged, strict=True)]
    return (shares[0], shares[1]), ranked


def measured(
    system: str, ids: Sequence[Sequence[str]], examples: Sequence[Example], new_only: bool
) -> Row | None:
    """Recall at several depths over all targets of the examples, as ReDial counts.

    Parameters
    ----------
    ids: of the items ranked for each example, best first.

    Returns
    -------
    None where no example has such a target.
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
        return None
    found = scores(padded(ranked, KS[-1]), wanted, KS)
    totals = np.array([len(w) for w in wanted])
    recall = {k: ratio_interval(found[f"found@{k}"], totals, groups) for k in KS}
    return Row(system, "new" if new_only else "all", recall, int(totals.sum()))


def save(options: RankerOptions, learned: Learned) -> Path:
    """Write the ranker, its card and last its record into ``options.out``.

    A card that is there already gets a section; all other files stay.
    """
    folder = Path(options.out)
    learned.ranker.save(folder)
    _write_card(options, learned, folder / "README.md")
    given = {n: getattr(options, n) for n in ("data", "model", "adapter", "encoder", "out")}
    paths: dict[str, Any] = {n: public_name(v) for n, v in given.items() if v}
    told = dataclasses.replace(options, **paths)
    record = {
        "llmrec": __version__,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "config": told.plain,
        "data": learned.data,
        "ranker": learned.ranker.facts,
        "model_share": learned.ranker.model_share,
        "shares_of_halves": list(learned.shares),
        "seconds": round(learned.seconds, 1),
        "measured": [row.to_dict() for row in learned.rows],
    }
    write_whole(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False))
    return folder


def _write_card(options: RankerOptions, learned: Learned, card: Path) -> None:
    before = card.read_text(encoding="utf-8") if card.is_file() else _FRONT
    if _BEGIN in before and _END in before:
        first, rest = before.split(_BEGIN, 1)
        last = rest.split(_END, 1)[1]
    else:
        first, last = before.rstrip("\n") + "\n\n", ""
    titled = any(part.startswith("# ") for part in (first + last).splitlines())
    head = "## The ranker" if titled else "# A ranker for llmrec"
    section = [_BEGIN, head, "", *_section(options, learned), _END]
    write_whole(card, (first + "\n".join(section) + last).rstrip("\n"))


def _section(options: RankerOptions, learned: Learned) -> list[str]:
    ranker, data = learned.ranker, learned.data
    facts = ranker.facts
    name = options.push_to_hub or public_name(options.out)
    with_model = any((Path(options.out) / f).is_file() for f in _MODELS)
    beside = "" if with_model else "ranker="
    left_out = {*options.without, *(() if options.encoder else ("meaning",))}
    signals = ", ".join(g for g in GROUPS if g not in left_out)
    said = [
        f"`{FILES[0]}` and `{FILES[1]}` hold a learned ranker of llmrec as plain arrays: "
        f"{facts['items']:,} items, learned from {facts['examples']:,} recommendations in "
        f"{facts['dialogues']:,} dialogues of {text(data.get('title') or data['name'])} "
        f"(licence: {text(data.get('license') or 'not known')}). It combines {signals}.",
        "",
        block(
            "from llmrec import Recommender\n\n"
            f"rec = Recommender.from_pretrained({beside}{json.dumps(name)}, catalog=...)",
            "python",
        ),
        "",
        "The catalogue is one of the same items, built of the data that it was learned from.",
        "",
    ]
    if learned.shares:
        first, second = learned.shares
        said += [
            f"One standard deviation of what {text(facts['model'])} thinks of a candidate counts "
            f"{ranker.model_share:.2f} in its log-probability, learned on the validation "
            "dialogues. The figures with the model are cross-fitted: the weight was learned on "
            f"one half of these dialogues ({first:.2f}, {second:.2f}) and measured on the other.",
            "",
        ]
    if learned.rows:
        said += [
            f"Recall of {data['validation_examples']:,} examples in "
            f"{data['validation_dialogues']:,} validation dialogues, which the ranker was not "
            "learned from, over the whole catalogue; intervals by bootstrap over dialogues, n "
            'counts targets. "new": those not mentioned before, with the mentioned ones taken out '
            "of the ranking.",
            "",
            learned.table,
            "",
        ]
    return said
