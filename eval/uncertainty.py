"""Find out which measure of uncertainty tells good lists from bad ones, and calibrate it.

    python eval/uncertainty.py --data data/redial --limit 200 --out runs/uncertainty
    python eval/uncertainty.py --data data/redial --model runs/redial --methods clarifications

For every example all measures are written to `answers.jsonl`, one line at a time: kill it and run
it again, and it goes on where it was. Then come `uncertainty.json` with AUROC, rejection (PRR),
correlation with NDCG and calibration of each measure, `report.md` with plots, and
`confidence.json`: laid beside the adapter or model, it makes the confidence of replies a
probability. What counts as right is a list that holds a film which the person was then recommended
and which had not been mentioned. `docs/uncertainty.md` is the guide.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from llmrec._version import __version__
from llmrec.catalog import Catalog
from llmrec.errors import InputError, MissingExtraError
from llmrec.evaluation.data import Data, drawn
from llmrec.folders import write_whole
from llmrec.metrics.calibration import rejection_curve
from llmrec.metrics.ranking import encoded, padded, scores
from llmrec.options import Options, script
from llmrec.options import option as _of
from llmrec.recommender import Grounding, Recommender
from llmrec.types import Conversation, Example, Uncertainty
from llmrec.uncertainty.confidence import FILE, log_odds
from llmrec.uncertainty.ensemble import METHODS, Method
from llmrec.uncertainty.judging import Case, Judged, judge
from llmrec.uncertainty.measures import measures_of

RECORD = "run.json"
ANSWERS = "answers.jsonl"
KS = (1, 3, 5, 10)


@dataclass(frozen=True)
class UncertaintyOptions(Options):
    """The whole of a run. The fields are the flags and the keys of a file of YAML."""

    # What does not change what is measured of an example; a larger limit adds examples.
    ASIDE = ("out", "threads", "restart", "batch_size", "samples", "limit")

    data: str = _of("", "folder that train/prepare.py wrote, or a JSONL file of conversations")
    split: str = _of("validation", "part of the data")
    catalog: str | None = _of(None, "folder of a catalogue (default: the items of the data)")
    limit: int | None = _of(None, "examples at most: so many drawn by the seed, in data order")
    model: str = _of("embedded", "Hub id or folder, 'embedded', or the URL of a server")
    server_model: str | None = _of(None, "which model of a server that has several")
    adapter: str | None = _of(
        None, "Hub id or folder of an adapter for the model, or its name on a server"
    )
    ranker: str | None = _of(None, "Hub id or folder of a learned ranker")
    grounding: str = _of(
        "auto",
        "as Recommender takes it; auto: choose for a server, else constrained",
        *("auto", *get_args(Grounding)),
    )
    methods: tuple[str, ...] = _of(("all",), f"what is varied: {', '.join(METHODS)}, or all")
    variants: int = _of(8, "answers compared for each method")
    seed: int = _of(0, "of the variants, the halves of the dialogues and the bootstrap")
    samples: int = _of(1_000, "of the bootstrap")
    batch_size: int = _of(4, "examples that are asked together")
    out: str = _of("runs/uncertainty", "folder of the run")
    threads: int = _of(0, "CPU threads; 0: as torch chooses")
    restart: bool = _of(False, "throw away what the folder holds of an earlier run")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grounding == "auto":
            object.__setattr__(self, "grounding", "choose" if self.served else "constrained")
        if self.server_model and not self.served:
            raise InputError(
                f"server_model is {self.server_model!r} and {self.model!r} is no server: give its "
                "URL as the model, or leave server_model out"
            )
        for name in ("variants", "samples", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}: give 1 or more, or leave it out")
        if not self.data:
            raise InputError(
                "no data are given: name with --data a folder that train/prepare.py wrote"
            )

        for method in self.methods:
            if method not in (*METHODS, "all"):
                raise InputError(f"methods has {method!r}: use {', '.join(METHODS)} or all")

    @property
    def served(self) -> bool:
        """Whether the model stands behind a server."""
        return self.model.startswith(("http://", "https://"))

    @property
    def varied(self) -> Sequence[Method] | None:
        """The methods as ``Recommender.uncertainty`` takes them."""
        return None if "all" in self.methods else self.methods  # type: ignore[return-value]


def make_parser() -> argparse.ArgumentParser:
    """The options; those of UncertaintyOptions are flags of the same names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    UncertaintyOptions.add_flags(parser)
    return parser


def run(options: UncertaintyOptions) -> Path:
    """Do what the options say, or what is left of it; the folder. Raises LLMRecError."""
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    folder, data = Path(options.out), Data(Path(options.data))
    recommender = load(options, data)
    record = {
        "llmrec": __version__,
        **options.decisive,
        "data_fingerprint": data.fingerprint,
        **{f"recommender_{name}": value for name, value in recommender.measured_as.items()},
    }
    begin(folder, record, options.restart)
    examples, left_out = wanted(
        drawn(list(data.examples(options.split)), options.limit, options.seed)
    )
    with Answers(folder / ANSWERS) as answers:
        ask(recommender, examples, answers, options)
        found = answers.lines
    cases, failed = cases_of(examples, found)
    of = {
        "data": data.path.name,
        "split": options.split,
        "model": recommender.model.name,
        "variants": options.variants,
        **recommender.measured_as,
    }
    judged = judge(cases, of, samples=options.samples, seed=options.seed)
    asked = [found[e.id] for e in examples if "kind" in found[e.id]]
    seconds = [f["seconds"] for f in asked]
    kinds = Counter(f["kind"] for f in asked)
    facts = {
        "of": of,
        "catalog_size": len(recommender.catalog),
        "left_out": {**left_out, **failed, **({"broken": data.broken} if data.broken else {})},
        "seconds_per_example": sum(seconds) / max(1, len(seconds)),
        "kinds": dict(sorted(kinds.items())),
    }
    figures = {**facts, **judged.figures}
    judged.confidence.write(folder / FILE)
    write_whole(folder / "uncertainty.json", json.dumps(known(figures), indent=1))
    plotted = plots(folder / "plots", cases, judged)
    write_whole(folder / "report.md", report(figures, plotted))
    return folder


def load(options: UncertaintyOptions, data: Data) -> Recommender:
    """The recommender that is measured, without any confidence that it was given before."""
    catalog = Catalog.open(options.catalog) if options.catalog else Catalog.from_items(data.items())
    model: Any = None if options.model == "embedded" else options.model
    adapter = options.adapter
    if options.served:
        from llmrec.models.endpoint import Endpoint

        model = Endpoint(options.model, model=options.server_model, adapter=adapter)
        adapter = None
    grounding: Any = options.grounding
    recommender = Recommender.from_pretrained(
        model, adapter, catalog, grounding=grounding, ranker=options.ranker
    )
    recommender.confidence = None
    return recommender


def begin(folder: Path, record: Mapping[str, Any], restart: bool) -> None:
    """Begin or go on with a run. Raises InputError if the folder holds another one."""
    file = folder / RECORD
    if restart:
        for name in (RECORD, ANSWERS):
            (folder / name).unlink(missing_ok=True)
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        write_whole(file, json.dumps(record, ensure_ascii=False, indent=1))
        return
    except ValueError:
        before = {}
    for name, value in record.items():
        if before.get(name) != value:
            raise InputError(
                f"{folder} holds another run: its {name} was {before.get(name)!r} and is "
                f"{value!r}: choose another --out, or drop the old run with --restart"
            )


def wanted(examples: Sequence[Example]) -> tuple[list[Example], dict[str, int]]:
    """The examples that can be judged, and why how many others cannot."""
    out: list[Example] = []
    reasons: Counter[str] = Counter()
    for e in examples:
        said = e.conversation.messages
        if not set(e.relevant) - set(e.conversation.mentioned):
            reasons["no new target"] += 1
        elif not said or said[-1].role != "user":
            reasons["the user has said nothing yet"] += 1
        else:
            out.append(e)
    return out, dict(reasons)


class Answers:
    """The file of what was measured, appended line by line; a torn last line is cut off.

    Attributes
    ----------
    lines: what is in the file, by the id of the example.
    """

    def __init__(self, path: Path) -> None:
        self.lines: dict[str, dict[str, Any]] = {}
        whole = 0
        if path.exists():
            for raw in path.read_bytes().splitlines(keepends=True):
                try:
                    line = json.loads(raw if raw.endswith(b"\n") else b"cut off")
                    self.lines[line["id"]] = line
                except (ValueError, KeyError, TypeError):
                    break  # what a kill tore; whatever follows is asked again
                whole += len(raw)
            os.truncate(path, whole)
        self._file = path.open("ab")

    def add(self, line: dict[str, Any]) -> None:
        """Append a line, so that it is on the disk when this returns."""
        self._file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.lines[line["id"]] = line

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def ask(
    recommender: Recommender,
    examples: Sequence[Example],
    answers: Answers,
    options: UncertaintyOptions,
) -> None:
    """Measure what is not in the file yet, in batches that are always the same."""
    from tqdm import tqdm

    # Raises if the methods do not go with the recommender, and warms up what is timed.
    recommender.uncertainty("?", 1, methods=options.varied, variants=1)
    size = options.batch_size
    with tqdm(total=len(examples), unit="example", desc="asking") as bar:
        for at in range(0, len(examples), size):
            batch = [e for e in examples[at : at + size] if e.id not in answers.lines]
            begun = time.perf_counter()
            found = doubts(recommender, batch, options)
            seconds = (time.perf_counter() - begun) / max(1, len(batch))
            for e, u in zip(batch, found, strict=True):
                if isinstance(u, str):
                    answers.add({"id": e.id, "error": u})
                    continue
                answers.add(
                    {
                        "id": e.id,
                        "items": list(u.items),
                        "kind": u.kind,
                        "certainties": measures_of(u),
                        "seconds": round(seconds, 4),
                    }
                )
            bar.update(len(examples[at : at + size]))


def doubts(
    recommender: Recommender,
    batch: Sequence[Example],
    options: UncertaintyOptions,
) -> Iterator[Uncertainty | str]:
    """The doubt about each of a batch, or why there is none."""
    said = [e.conversation for e in batch]

    def measured(part: list[Conversation]) -> list[Uncertainty]:
        found: list[Uncertainty] = recommender.uncertainty(
            part, max(KS), methods=options.varied, variants=options.variants, seed=options.seed
        )
        return found

    try:
        return iter(measured(said) if said else [])
    except InputError:
        pass  # one of them cannot be asked; which one is found out below
    out: list[Uncertainty | str] = []
    for conversation in said:
        try:
            out += measured([conversation])
        except InputError as e:
            out.append(str(e))
    return iter(out)


def cases_of(
    examples: Sequence[Example], found: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Case], dict[str, int]]:
    """What was measured beside what came of it; how many examples could not be asked."""
    asked = [e for e in examples if "certainties" in found[e.id]]
    targets = [
        [i for i in dict.fromkeys(e.relevant) if i not in e.conversation.mentioned] for e in asked
    ]
    (ranked, relevant), _ = encoded([found[e.id]["items"] for e in asked], targets)
    figures = scores(padded(ranked, max(KS)), relevant, KS)
    cases = [
        Case(
            e.dialogue or e.id,
            found[e.id]["certainties"],
            {k: bool(figures[f"hit@{k}"][n]) for k in KS},
            float(figures[f"ndcg@{max(KS)}"][n]),
        )
        for n, e in enumerate(asked)
    ]
    errors = len(examples) - len(asked)
    return cases, {"could not be asked": errors} if errors else {}


def plots(folder: Path, cases: Sequence[Case], judged: Judged) -> list[str]:
    """Draw the rejection and the calibration curve; their names, none without matplotlib."""
    from llmrec.evaluation.plots import save

    figures = judged.figures
    names = list(dict.fromkeys([figures["best"], figures["best_reply"]]))
    hit = np.array([float(c.hits[figures["k"]]) for c in cases])
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"uncertainty: no plots: {MissingExtraError('matplotlib', 'eval')}", file=sys.stderr)
        return []
    drawn_ = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = drawn_.subplots()
    for name in names:
        share, kept = rejection_curve([-c.certainties[name] for c in cases], hit)
        axes.plot(share, kept, label=name)
    share, kept = rejection_curve(-hit, hit)
    axes.plot(share, kept, label="oracle", color="gray", linestyle=":")
    axes.axhline(hit.mean(), label="chance", color="gray", linewidth=1)
    axes.set(xlabel="share of examples rejected", ylabel=f"hit@{figures['k']} of the rest")
    axes.set_xlim(0, 0.95)
    axes.legend()
    save(drawn_, folder / "rejection.png")
    drawn_ = Figure(figsize=(5.2, 3.5), layout="constrained")
    axes = drawn_.subplots()
    fit = judged.confidence.ensemble
    raw = np.array([c.certainties[fit.measure] for c in cases])
    made = fit.calibrators[figures["k"]](log_odds(raw))
    for label, values in (("as it is", raw), ("calibrated", made)):
        edges = np.quantile(values, np.linspace(0, 1, 9))
        at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 7)
        bins = [at == b for b in range(8) if (at == b).any()]
        axes.plot(
            [values[b].mean() for b in bins], [hit[b].mean() for b in bins], "o-", label=label
        )
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1, label="honest")
    axes.set(xlabel=f"certainty ({fit.measure})", ylabel=f"hit@{figures['k']}", ylim=(0, 1))
    axes.legend()
    save(drawn_, folder / "calibration.png")
    return ["rejection.png", "calibration.png"]


def known(value: Any) -> Any:
    """Figures as JSON has them: null where there is none, as of a measure that never varies."""
    if isinstance(value, Mapping):
        return {k: known(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report(figures: Mapping[str, Any], plotted: Sequence[str]) -> str:
    """The report as Markdown."""
    of, k = figures["of"], figures["k"]
    best, reply = figures["best"], figures["best_reply"]
    out = figures["left_out"]
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in figures["kinds"].items())
    lines = [
        "# Uncertainty",
        "",
        f"{of['model']} on {of['data']} ({of['split']}): {figures['n']:,} examples of "
        f"{figures['dialogues']:,} dialogues, catalogue {figures['catalog_size']:,} items, "
        f"{of['grounding']}, ranker {of['ranker']}, {of['variants']} variants. Right is a list of "
        f"{k} with a new target: {figures['hit_rate']:.3f} of the examples; NDCG@{k} "
        f"{figures['ndcg']:.3f}. "
        f"Left out: {', '.join(f'{v:,} {r}' for r, v in out.items()) or 'none'}. "
        f"{figures['seconds_per_example']:.2f} s an example.",
        "",
        "Certainties run from 0 to 1 (of an entropy h: exp(-h)). AUROC .5 and PRR 0 are chance. "
        "Intervals are 95 % by bootstrap over dialogues. ECE and Brier score after calibration "
        "are held out: each half of the dialogues is judged by what was fitted on the other, and "
        f"it is the mean over ten splits. Always saying the other half's base rate has ECE "
        f"{figures['base_rate']['ece']:.3f} and Brier {figures['base_rate']['brier']:.3f}.",
        "",
        f"| measure | AUROC of hit@{k} | PRR | Spearman with NDCG@{k} | ECE before, after "
        "| Brier before, after |",
        "|---|---|---|---|---|---|",
    ]
    for name, m in figures["measures"].items():
        held = m["held_out"]
        lines.append(
            f"| {name} | {_interval(m['auroc'])} | {_interval(m['prr'])} "
            f"| {_interval(m['spearman'])} | {m['ece']:.3f}, {held['ece']:.3f} "
            f"| {m['brier']:.3f}, {held['brier']:.3f} |"
        )
    lines += [
        "",
        verdict(figures),
        f"Of one answer alone the best is `{reply}`; over all `{best}`"
        f"{' (an ensemble is surely better than one answer)' if best != reply else ''}. "
        f"How the answers read: {kinds}.",
    ]
    lines += [f"\n![{name[:-4]}](plots/{name})" for name in plotted]
    return "\n".join(lines)


def verdict(figures: Mapping[str, Any]) -> str:
    """Whether the choice is worth something, on dialogues that had no part in it."""
    found = figures["held_out_auroc"]
    worth = "is better" if found["low"] > 0.5 else "is not shown to be better"
    said = (
        f"What one half of the dialogues chooses {worth} than chance on the other: AUROC "
        f"{_interval(found)}. "
    )
    if figures["measures"][figures["best"]]["auroc"]["high"] < 0.5:
        said += "It points the wrong way: the surer the answer, the less often it was right. "
    own = figures["measures"][figures["best"]]["held_out"]["brier"]
    base = figures["base_rate"]["brier"]
    said += (
        f"Calibrated on the other half its Brier score is {own:.4f}, that of saying the base rate "
    )
    if figures["calibrated"]:
        return f"{said}{base:.4f}."
    return f"{said}{base:.4f}: so `{FILE}` says the base rate. More examples may change that."


def _interval(figure: Mapping[str, float]) -> str:
    if not math.isfinite(figure["value"]):
        return "always the same"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


@script("uncertainty", "the same command goes on")
def main(argv: Sequence[str] | None = None) -> int:
    """Run; 0 when done, 1 if it cannot be done, 130 if it was interrupted."""
    args = make_parser().parse_args(argv)
    folder = run(UncertaintyOptions.from_flags(vars(args)))
    print((folder / "report.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
