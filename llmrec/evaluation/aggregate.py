"""Aggregate hides how the predictions of a run become its figures, in one pass over its folder.

The figures come from the predictions and the facts of the items alone, so that they can be made
again at any time, of a run under way too.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.datasets.base import MAX_PROBLEMS
from llmrec.evaluation.reading import TARGETS, Floats, Ints, Run, Scored, Table, read_run
from llmrec.folders import write_whole
from llmrec.metrics import beyond
from llmrec.metrics.significance import mean_interval, mean_intervals

__all__ = [
    "AT",
    "METRICS",
    "aggregate",
    "counts",
    "cutoff",
    "figures_of",
    "headline",
    "intervals",
    "slices",
]

VERSION = 1
AT = 10
METRICS = ("recall", "recall_macro", "ndcg", "mrr", "hit", "precision", "map")
SAMPLES = 2_000
SHOWN = (1, 10, 50)  # as ReDial is reported
TURNS = {"0-2": (0, 2), "3-6": (3, 6), "7+": (7, np.inf)}

Figure = dict[str, Any]
Mask = npt.NDArray[np.bool_]


def aggregate(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The figures of a run folder, finished or under way; written to its ``metrics.json``.

    Under ``systems`` stand the system that was measured and the baselines, on the same examples.
    Each has the tables ``all`` and ``new``, ``beyond`` accuracy, what was ``written``, ``cost``,
    ``errors`` and ``slices``. A figure is a value with its 95 % bootstrap interval over dialogues
    and the number of examples it is the mean of.

    Raises
    ------
    InputError: there is no run, or it has no prediction yet.
    """
    run = read_run(folder)
    made = figures_of(run)
    write_whole(run.folder / "metrics.json", json.dumps(made, indent=1, allow_nan=False))
    return made


def figures_of(run: Run) -> dict[str, Any]:
    """What ``aggregate`` gives, of a run that was read."""
    main = run.systems[run.main]
    out: dict[str, Any] = _plain(
        {
            "version": VERSION,
            "main": run.main,
            "n": len(main.predictions) if run.n is None else run.n,
            "done": len(main.predictions),
            "complete": run.n is None or len(main.predictions) >= run.n,
            "catalog": run.catalog,
            "ks": run.ks,
            "bootstrap": {"over": "dialogues", "level": 0.95, "samples": SAMPLES},
            "counts": {name: counts(main, main.tables[name]) for name in TARGETS},
            "outside_targets": _outside_targets(run, main),
            "popularity": _popularity(run),
            "problems": [(p.file, p.line, p.reason) for p in run.problems[:MAX_PROBLEMS]],
            "broken": len(run.problems),
            "systems": {name: _system(run, system) for name, system in run.systems.items()},
        }
    )
    return out


def headline(ks: Sequence[int]) -> tuple[str, ...]:
    """The metrics that stand in short tables."""
    at = cutoff(ks)
    shown = [k for k in ks if k in SHOWN] if at == AT else ks
    return (*(f"recall@{k}" for k in shown), f"ndcg@{at}", f"mrr@{at}")


def cutoff(ks: Sequence[int]) -> int:
    """The depth of short tables where one is wanted: 10 if it is among those asked for."""
    return AT if AT in ks else max(ks)


def slices(system: Scored) -> dict[str, dict[str, Mask]]:
    """Which examples of a system fall into which slice; each kind of slices holds all of them."""
    languages = np.array([str(p.language or "unknown") for p in system.predictions])
    turns = np.array([p.turn for p in system.predictions])
    cold = np.array([not p.mentioned for p in system.predictions], dtype=bool)
    return {
        "language": {str(name): languages == name for name in np.unique(languages)},
        "turn": {name: (turns >= low) & (turns <= high) for name, (low, high) in TURNS.items()},
        "mentioned": {"cold start": cold, "warm": ~cold},
    }


def intervals(system: Scored, table: Table, names: Sequence[str], use: Mask | None = None) -> Any:
    """Metrics of a table with their intervals.

    Parameters
    ----------
    use: [examples of the system], to take some of them only.
    """
    at = np.arange(len(table.rows)) if use is None else np.flatnonzero(use[table.rows])
    groups = system.dialogues[table.rows[at]]
    parts = {name: table.parts(name) for name in names}
    micro = {n: p[at] for n, (p, _) in parts.items() if n.startswith("recall@")}
    macro = {n: p[at] for n, (p, _) in parts.items() if n not in micro}
    found = mean_intervals(micro, groups, weights=table.targets[at], samples=SAMPLES)
    found |= mean_intervals(macro, groups, samples=SAMPLES)
    return {name: found[name].to_dict() for name in names}


def _system(run: Run, system: Scored) -> dict[str, Any]:
    every = [f"{name}@{k}" for name in METRICS for k in run.ks]
    return {
        "n": len(system.predictions),
        **{name: intervals(system, system.tables[name], every) for name in TARGETS},
        "beyond": _beyond(run, system),
        "written": _written(system),
        "cost": _cost(system),
        "errors": _errors(system),
        "slices": _slices(run, system),
    }


def counts(system: Scored, table: Table, use: Mask | None = None) -> dict[str, int]:
    """Examples, targets and dialogues of a table; ``use`` as in ``intervals``."""
    at = slice(None) if use is None else use[table.rows]
    return {
        "examples": len(table.rows[at]),
        "targets": int(table.targets[at].sum()),
        "dialogues": len(set(system.dialogues[table.rows[at]])),
    }


def _outside_targets(run: Run, system: Scored) -> int:
    """Targets that the catalogue does not have: nobody can find them, and they count."""
    return int(sum((r >= run.catalog).sum() for r in system.relevant)) if run.facts.ids else 0


def _slices(run: Run, system: Scored) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for kind, of in slices(system).items():
        out[kind] = {}
        for name, use in of.items():
            if use.any():
                out[kind][name] = {
                    "examples": int(use.sum()),
                    "counts": {t: counts(system, system.tables[t], use) for t in TARGETS},
                    **{
                        t: intervals(system, system.tables[t], headline(run.ks), use)
                        for t in TARGETS
                    },
                }
    return out


def _beyond(run: Run, system: Scored) -> dict[str, Any]:
    """How the lists look, right or wrong: their first ten without what was mentioned.

    Only the share of repeats is of the ranking as it was given.
    """
    groups = system.dialogues
    first = _first(run, system.fresh)
    out: dict[str, Any] = {"at": AT}
    means: dict[str, Floats] = {}
    if n_items := run.catalog:
        out["coverage"] = {"value": beyond.coverage(first, n_items), "n": len(first)}
        out["gini"] = {"value": beyond.gini(first, n_items), "n": len(first)}
    if run.facts.counts is not None:
        means["popularity"] = beyond.mean_popularity(first, run.facts.counts)
        means["novelty"] = beyond.novelty(first, run.facts.counts)
    if run.facts.features is not None:
        means["diversity"] = beyond.intra_list_diversity(first, run.facts.features)
    out |= {n: i.to_dict() for n, i in mean_intervals(means, groups, samples=SAMPLES).items()}
    given = system.ranked[:, :AT]
    known = [np.isin(r, m).sum() for r, m in zip(given, system.mentioned, strict=True)]
    out["repeats"] = _share(known, (given >= 0).sum(1), groups)
    out["short"] = int(((system.fresh[:, :AT] >= 0).sum(1) < AT).sum())
    asked = [p.wishes or (0, 0) for p in system.predictions]
    out["wishes"] = _share([m for m, _ in asked], [a for _, a in asked], groups)
    return out


def _first(run: Run, ranked: Ints) -> Ints:
    """The first ten of each ranking that the catalogue has, moved together."""
    first = ranked[:, :AT]
    if run.catalog:
        first = np.where(first < run.catalog, first, -1)
    return np.take_along_axis(first, np.argsort(first < 0, axis=1, kind="stable"), axis=1)


def _written(system: Scored) -> dict[str, Any]:
    """What became of titles that the system wrote itself, and of the language of its replies."""
    said = system.predictions
    groups = system.dialogues
    tiers: Counter[str] = Counter()
    for p in said:
        tiers.update(p.tiers)
    titles = [sum(p.tiers.values()) + p.outside + p.duplicates for p in said]
    replied = [bool(p.reply_language and p.language) for p in said]
    same = [r and p.reply_language == p.language for r, p in zip(replied, said, strict=True)]
    return {
        "examples": sum(p.text is not None for p in said),
        "titles": sum(titles),
        "tiers": dict(tiers.most_common()),
        "outside": _share([p.outside for p in said], titles, groups),
        "duplicates": _share([p.duplicates for p in said], titles, groups),
        "language": _share(same, replied, groups),
    }


def _share(parts: Sequence[Any], wholes: Any, groups: npt.NDArray[np.str_]) -> Figure | None:
    """A ratio of sums with its interval, ``n`` being the sum of the wholes; None of nothing."""
    whole = np.asarray(wholes, dtype=np.float64)
    if not whole.sum():
        return None
    part = np.asarray(parts, dtype=np.float64)
    found = mean_interval(part, groups, weights=whole, samples=SAMPLES).to_dict()
    return {**found, "n": int(whole.sum())}


def _cost(system: Scored) -> dict[str, Any]:
    out = {}
    for name in ("seconds", "tokens"):
        values = np.array([getattr(p, name) for p in system.predictions], dtype=np.float64)
        out[name] = {
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "p95": float(np.quantile(values, 0.95)),
            "total": float(values.sum()),
        }
    return out


def _errors(system: Scored) -> dict[str, Any]:
    said = Counter(p.error for p in system.predictions if p.error)
    return {"n": said.total(), "kinds": dict(said.most_common(5))}


def _popularity(run: Run) -> dict[str, Any] | None:
    """How well known in training what was wanted is, and what was recommended: shares by bins."""
    known = run.facts.counts
    if known is None or not len(known):
        return None
    main = run.systems[run.main]
    edges = [0, *(4**i for i in range(max(2, (int(known.max()).bit_length() + 1) // 2)))]
    new = main.tables["new"]
    wanted = [main.relevant[i][~np.isin(main.relevant[i], main.mentioned[i])] for i in new.rows]
    flat = np.concatenate([np.zeros(0, np.int64), *wanted])
    flat = flat[flat < len(known)]
    of = np.repeat(main.dialogues[new.rows], [int((w < len(known)).sum()) for w in wanted])
    shares = {
        name: _bins(known[found[found >= 0]], edges)
        for name, found in ((n, _first(run, s.fresh)) for n, s in run.systems.items())
    }
    return {
        "edges": edges,
        "wanted": {
            "mean": mean_interval(known[flat], of, samples=SAMPLES).to_dict(),
            "shares": _bins(known[flat], edges),
        },
        "recommended": shares,
    }


def _bins(values: Ints, edges: Sequence[int]) -> list[float]:
    found, _ = np.histogram(values, bins=[*edges, np.inf])
    return [float(f) for f in found / max(1, found.sum())]


def _plain(value: Any) -> Any:
    """Plain JSON types, floats cut to what can be meant."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value
