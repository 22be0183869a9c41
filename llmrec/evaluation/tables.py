"""Tables hides which figures of a run stand in which table of its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmrec.evaluation.aggregate import METRICS, cutoff, headline
from llmrec.evaluation.page import NONE, Cell, Grid, number
from llmrec.evaluation.reading import Run
from llmrec.folders import public_name

__all__ = [
    "accuracy",
    "best_baseline",
    "beyond",
    "config",
    "cost",
    "every",
    "flat",
    "place",
    "slices",
    "title",
    "written",
]

Figures = Mapping[str, Any]

_METRIC = {
    "recall": "Recall", "recall_macro": "Recall, per example", "ndcg": "NDCG", "mrr": "MRR",
    "hit": "Hit rate", "precision": "Precision", "map": "MAP",
}  # fmt: skip
_BEYOND = {
    "coverage": ("Coverage", 3), "gini": ("Gini", 3), "popularity": ("Popularity", 1),
    "novelty": ("Novelty, bits", 2), "diversity": ("Diversity", 3), "repeats": ("Repeats", 3),
    "wishes": ("Wishes met", 3),
}  # fmt: skip
_WRITTEN = {
    "outside": "not in catalogue",
    "duplicates": "written twice",
    "language": "reply in the user's language",
}


def accuracy(figures: Figures, target: str) -> Grid:
    """The headline of every system, with all targets or the new ones."""
    names = headline(figures["ks"])
    counts = figures["counts"][target]
    rows = [
        [Cell(system), *(Cell.of(of[target][name]) for name in names)]
        for system, of in figures["systems"].items()
    ]
    said = "{examples:,} examples with {targets:,} targets in {dialogues:,} dialogues".format(
        **counts
    )
    return Grid(["system", *map(title, names)], rows, said, ours=frozenset({0}))


def every(figures: Figures, name: str, target: str) -> Grid:
    """All metrics of one system at all depths."""
    of = figures["systems"][name][target]
    rows = [[Cell(_METRIC[m]), *(Cell.of(of[f"{m}@{k}"]) for k in figures["ks"])] for m in METRICS]
    return Grid([f"{name}, {target} targets", *(f"k = {k}" for k in figures["ks"])], rows)


def title(metric: str) -> str:
    """A metric as it is written: ``ndcg@10`` is NDCG@10."""
    kind, _, k = metric.partition("@")
    return f"{_METRIC[kind]}@{k}"


def beyond(figures: Figures) -> Grid:
    """What lists are like, right or wrong; a column that no system has is left out."""
    systems = {name: of["beyond"] for name, of in figures["systems"].items()}
    have = [c for c in _BEYOND if any(of.get(c) for of in systems.values())]
    rows = [
        [Cell(name), *(Cell.of(of.get(c), _BEYOND[c][1]) for c in have)]
        for name, of in systems.items()
    ]
    if figures["popularity"] and "popularity" in have:
        mean = Cell.of(figures["popularity"]["wanted"]["mean"], 1)
        rows.append(
            [Cell("what was wanted"), *(mean if c == "popularity" else Cell(NONE) for c in have)]
        )
    return Grid(["system", *(_BEYOND[c][0] for c in have)], rows, ours=frozenset({0}))


def slices(figures: Figures) -> Grid:
    """The main system beside the best baseline, slice by slice."""
    k = cutoff(figures["ks"])
    recall, ndcg = f"recall@{k}", f"ndcg@{k}"
    main = figures["systems"][figures["main"]]["slices"]
    best = best_baseline(figures)
    other = figures["systems"][best]["slices"] if best else {}
    rows = []
    for kind, of in main.items():
        for name, said in of.items():
            row = [Cell(place(kind, name)), Cell(f"{said['examples']:,}", sort=said["examples"])]
            row += [Cell.of(said["new"][recall]), Cell.of(said["new"][ndcg])]
            row += [Cell.of(other.get(kind, {}).get(name, {"new": {recall: None}})["new"][recall])]
            rows.append([*row, Cell.of(said["all"][recall])])
    head = ["slice", "examples", f"Recall@{k}, new", f"NDCG@{k}, new"]
    return Grid([*head, f"{best or 'no baseline'}: Recall@{k}, new", f"Recall@{k}, all"], rows)


def place(kind: str, name: str) -> str:
    """A slice as it is called in tables."""
    return {"turn": f"{name} messages before", "language": f"in {name}"}.get(kind, name)


def best_baseline(figures: Figures) -> str:
    """The baseline that finds most new targets; nothing where there is none."""
    name = f"recall@{cutoff(figures['ks'])}"
    others = {n: of for n, of in figures["systems"].items() if n != figures["main"]}
    return max(others, key=lambda n: others[n]["new"][name]["value"], default="")


def written(figures: Figures) -> Grid | None:
    """What became of the titles that systems wrote, and the language of their replies."""
    systems = {n: of["written"] for n, of in figures["systems"].items()}
    chosen = {n: of for n, of in systems.items() if of["titles"] or of["language"]}
    tiers = list(dict.fromkeys(t for of in chosen.values() for t in of["tiers"]))
    have = {c: t for c, t in _WRITTEN.items() if any(of[c] for of in chosen.values())}
    rows = []
    for name, of in chosen.items():
        shares = [of["tiers"].get(t, 0) / max(1, of["titles"]) for t in tiers]
        row = [Cell(name), Cell(f"{of['titles']:,}", sort=of["titles"])]
        row += [Cell(number(s), sort=s) for s in shares]
        rows.append([*row, *(Cell.of(of[c]) for c in have)])
    return Grid(["system", "titles", *tiers, *have.values()], rows) if rows else None


def cost(figures: Figures) -> Grid:
    """Seconds and tokens for each example."""
    rows = []
    for name, of in figures["systems"].items():
        seconds, tokens = of["cost"]["seconds"], of["cost"]["tokens"]
        row = [Cell(name)]
        row += [Cell(number(seconds[s], 4), sort=seconds[s]) for s in ("mean", "median", "p95")]
        row += [Cell(number(tokens[s], 0), sort=tokens[s]) for s in ("mean", "median", "p95")]
        rows.append([*row, Cell(number(seconds["total"] / 60, 1), sort=seconds["total"])])
    head = ["system", *(f"seconds, {s}" for s in ("mean", "median", "p95"))]
    head += [f"tokens, {s}" for s in ("mean", "median", "p95")]
    return Grid([*head, "minutes, all"], rows, ours=frozenset({0}))


def config(run: Run) -> Grid:
    """What ``run.json`` says."""
    rows = [[Cell(k), Cell(v)] for k, v in flat(run.config).items()]
    return Grid(["option", "value"], rows, words=True)


def flat(said: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """A tree of options as one level, with dots; folders of the machine by their names."""
    out: dict[str, str] = {}
    for key, value in said.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{before}{key}.")
        elif isinstance(value, (list, tuple)):
            out[f"{before}{key}"] = " ".join(str(v) for v in value)
        elif value is not None:
            out[f"{before}{key}"] = public_name(value) if isinstance(value, str) else str(value)
    return out
