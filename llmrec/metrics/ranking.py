"""Ranking hides how the metrics of ranked lists are counted for many rankings at once.

A ranking is a row of an int array: best first, padded with -1 at its end. The values are those of
trec_eval (of ir-measures), for each example.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError

__all__ = [
    "IntArray",
    "checked",
    "encoded",
    "mean_scores",
    "padded",
    "recall_over_targets",
    "rows_of",
    "scores",
]

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.float64]
_Counts = npt.NDArray[np.int64]

_CHUNK = 1 << 21  # entries that are compared at once


def padded(rankings: Sequence[Sequence[int] | IntArray], depth: int | None = None) -> IntArray:
    """Rankings of any lengths as one array [n, depth], -1 behind the end of each.

    Parameters
    ----------
    depth: longer rankings are cut there; None: the length of the longest.

    Raises
    ------
    InputError: ``depth`` is negative, or a ranking holds what is no whole number from 0 on.
    """
    flat, lengths = _flat(rankings, "ranking")
    depth = int(lengths.max(initial=0)) if depth is None else depth
    if depth < 0:
        raise InputError(f"depth is {depth}: give how many entries to keep, from 0 on")
    out = np.full((len(lengths), depth), -1, dtype=flat.dtype)
    at = _places(lengths)
    kept = at < depth
    out[np.repeat(np.arange(len(lengths)), lengths)[kept], at[kept]] = flat[kept]
    return out


def encoded(
    *sides: Sequence[Iterable[str]], repeats: bool = False
) -> tuple[list[list[list[int]]], list[str]]:
    """Lists of ids as lists of numbers, the same id having the same number on every side.

    Parameters
    ----------
    sides: for each side the ids of each example, as in ``encoded(predictions, references)``.
    repeats: whether an id may stand twice in one list.

    Returns
    -------
    The sides with numbers in the place of ids, and the ids by number.

    Raises
    ------
    InputError: an example is a text instead of a list, or has an id twice.
    """
    known: dict[str, int] = {}
    out: list[list[list[int]]] = []
    for side in sides:
        out.append([])
        for n, ids in enumerate(side):
            if isinstance(ids, str):
                raise InputError(f"example {n} is {ids!r}, a list of ids is wanted: [{ids!r}]")
            row = [known.setdefault(name, len(known)) for name in ids]
            if not repeats and len(set(row)) < len(row):
                twice = next(i for i in row if row.count(i) > 1)
                raise InputError(
                    f"example {n} holds {list(known)[twice]!r} twice: keep its first place"
                )
            out[-1].append(row)
    return out, list(known)


def rows_of(lists: Sequence[Iterable[str]], ids: Iterable[str]) -> IntArray:
    """Lists of ids as rankings of rows: an item's row is its place in ``ids``.

    Raises
    ------
    InputError: an id is none of ``ids``, or ``ids`` has one twice.
    """
    known: dict[str, int] = {}
    for name in ids:
        if name in known:
            raise InputError(f"the items have {name!r} twice: give each once")
        known[name] = len(known)
    (rows,), names = encoded(lists, repeats=True)
    strange = next((name for name in names if name not in known), None)
    if strange is not None:
        raise InputError(
            f"an example holds {strange!r}, which is none of the {len(known)} known items: give "
            "the whole catalogue, with ids written alike"
        )
    return padded([[known[names[i]] for i in one] for one in rows])


def mean_scores(
    metric: str,
    predictions: Sequence[Iterable[str]],
    references: Sequence[Iterable[str]],
    k: int | Sequence[int],
) -> dict[str, float]:
    """One metric of ``scores`` at one depth or several, as the mean over lists of ids.

    Raises
    ------
    InputError: there is no example, or as ``scores``.
    """
    values, _ = _scores_of_ids(predictions, references, k)
    return {name: float(v.mean()) for name, v in values.items() if name.startswith(f"{metric}@")}


def recall_over_targets(
    predictions: Sequence[Iterable[str]],
    references: Sequence[Iterable[str]],
    k: int | Sequence[int],
) -> dict[str, float]:
    """The share of all relevant items that are found, every one counting alike: as ReDial counts.

    Raises
    ------
    InputError: as ``mean_scores``.
    """
    values, n_relevant = _scores_of_ids(predictions, references, k)
    return {
        f"recall_over_targets@{name[6:]}": float(v.sum() / max(1, n_relevant))
        for name, v in values.items()
        if name.startswith("found@")
    }


def _scores_of_ids(
    predictions: Sequence[Iterable[str]],
    references: Sequence[Iterable[str]],
    k: int | Sequence[int],
) -> tuple[dict[str, FloatArray], int]:
    (ranked, relevant), _ = encoded(predictions, references)
    if not ranked:
        raise InputError("there are 0 examples: give one at least")
    values = scores(padded(ranked), relevant, [k] if isinstance(k, int) else list(k))
    return values, sum(map(len, relevant))


def checked(ranked: IntArray, *, repeats: bool = False, n_items: int | None = None) -> IntArray:
    """The rankings, once it is known that they are some.

    Parameters
    ----------
    repeats: whether an item may stand twice in one ranking.
    n_items: how many items there are, where that is known.

    Raises
    ------
    InputError: it is no array [n, depth] of whole numbers with -1 at the end of rows only, or it
        has repeats, or items that do not exist.
    """
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or not (np.issubdtype(ranked.dtype, np.integer) or ranked.size == 0):
        raise InputError(
            f"rankings are given as {ranked.dtype} of shape {ranked.shape}: give whole numbers "
            "[n, depth], as padded() makes them of lists"
        )
    if ranked.size == 0:
        return ranked.astype(np.int64)
    if (low := int(ranked.min())) < -1:
        raise InputError(f"a ranking holds {low}: give rows from 0 on, and -1 behind the last one")
    if n_items is not None and (high := int(ranked.max())) >= n_items:
        raise InputError(
            f"a ranking holds {high}: there are {n_items} items, the last {n_items - 1}"
        )
    holes = (ranked[:, 1:] >= 0) & (ranked[:, :-1] < 0)
    if holes.any():
        row = int(holes.any(1).argmax())
        raise InputError(f"ranking {row} goes on after -1: put -1 at the end of a ranking only")
    if not repeats:
        _refuse_repeats(ranked)
    return ranked


def _refuse_repeats(ranked: IntArray) -> None:
    for at in range(0, len(ranked), step := max(1, _CHUNK // ranked.shape[1])):
        ordered = np.sort(ranked[at : at + step], axis=1)
        twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if twice.any():
            row, column = (int(x[0]) for x in np.nonzero(twice))
            raise InputError(
                f"ranking {at + row} holds item {ordered[row, column]} twice: keep its first place"
            )


def scores(
    ranked: IntArray,
    relevant: Sequence[Sequence[int] | IntArray],
    ks: Sequence[int] = (1, 5, 10, 50),
) -> dict[str, FloatArray]:
    """Recall, NDCG, MRR, hit rate, precision and MAP of each example at several depths.

    An example without relevant items has 0 everywhere. Precision divides by k however short a
    ranking is, NDCG and MAP have the best possible list of k in view.

    Parameters
    ----------
    ranked: [n, depth] rows, best first, -1 behind the end. relevant: rows of each example, each
        once, in any order. ks: depths; one beyond that of the rankings is allowed.

    Returns
    -------
    ``recall@k``, ``ndcg@k``, ``mrr@k``, ``hit@k``, ``precision@k``, ``map@k`` and ``found@k`` (how
    many relevant items the first k hold), each [n]. Recall over all targets, as ReDial counts it,
    is the sum of ``found@k`` over the number of all relevant items.

    Raises
    ------
    InputError: the two have different lengths, a depth is no whole number from 1 on, an item
        stands twice in a ranking or among the relevant ones, or a ranking goes on after -1.
    """
    for k in ks:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise InputError(f"k is {k!r}: give whole numbers from 1 on")
    ranked = checked(ranked)
    if len(ranked) != len(relevant):
        raise InputError(
            f"there are {len(ranked)} rankings and {len(relevant)} lists of relevant items: give "
            "one of each for every example"
        )
    row, place, n_relevant = _hits(ranked[:, : max(ks, default=0)], relevant)
    nth = _places(np.bincount(row, minlength=len(ranked))) + 1  # hits of this example so far
    out: dict[str, FloatArray] = {}
    for k in ks:
        out |= _at(k, row, place, nth, n_relevant)
    names = ("recall", "ndcg", "mrr", "hit", "precision", "map", "found")
    return {f"{name}@{k}": out[f"{name}@{k}"] for name in names for k in ks}


def _at(k: int, row: IntArray, place: IntArray, nth: IntArray, n_relevant: IntArray) -> Any:
    """The values at one depth, of hits ordered by example and place."""
    n = len(n_relevant)
    kept = place < k
    row, place, nth = row[kept], place[kept], nth[kept]
    found = np.bincount(row, minlength=n).astype(np.float64)
    of = np.maximum(n_relevant, 1)
    gain = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[1.0], np.cumsum(gain)])[np.minimum(n_relevant, k)]
    ideal[n_relevant == 0] = 1.0
    first = nth == 1
    mrr = np.zeros(n)
    mrr[row[first]] = 1 / (place[first] + 1)
    return {
        f"recall@{k}": found / of,
        f"ndcg@{k}": np.bincount(row, gain[place], minlength=n) / ideal,
        f"mrr@{k}": mrr,
        f"hit@{k}": (found > 0).astype(np.float64),
        f"precision@{k}": found / k,
        f"map@{k}": np.bincount(row, nth / (place + 1), minlength=n) / of,
        f"found@{k}": found,
    }


def _hits(
    ranked: IntArray, relevant: Sequence[Sequence[int] | IntArray]
) -> tuple[IntArray, IntArray, IntArray]:
    """Example and place (from 0) of each relevant item that is ranked, in this order; and how many
    relevant items each example has.

    Each pair of an example and a relevant item is compared with the whole ranking: there are few
    such pairs, and no ranking has to be sorted.
    """
    item, lengths = _flat(relevant, "list of relevant items")
    row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((item, row))
    twice = (item[order][1:] == item[order][:-1]) & (row[order][1:] == row[order][:-1])
    if twice.any():
        at = order[1:][twice][0]
        raise InputError(
            f"the relevant items of example {row[at]} have {item[at]} twice: give each once"
        )
    place = np.full(len(item), -1)
    for at in range(0, len(item), step := max(1, _CHUNK // max(1, ranked.shape[1]))):
        part = slice(at, at + step)
        same = ranked[row[part]] == item[part, None]
        if same.shape[1]:
            place[part] = np.where(same.any(1), same.argmax(1), -1)
    row, place = row[place >= 0], place[place >= 0]
    order = np.lexsort((place, row))
    return row[order], place[order], lengths


def _flat(lists: Sequence[Sequence[int] | IntArray], what: str) -> tuple[IntArray, _Counts]:
    """All entries one after the other, and how many each list has."""
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    parts = [np.asarray(one) for one, n in zip(lists, lengths, strict=True) if n]
    if not parts:
        return np.empty(0, dtype=np.int64), lengths
    odd = next((p for p in parts if p.ndim != 1 or p.dtype.kind not in "iu"), None)
    if odd is not None:
        raise InputError(
            f"a {what} is {odd.dtype} of shape {odd.shape}: give a flat list of whole numbers"
        )
    flat: IntArray = np.concatenate(parts)
    if (low := int(flat.min())) < 0:
        raise InputError(f"a {what} holds {low}: rows of items count from 0")
    return flat, lengths


def _places(lengths: IntArray) -> _Counts:
    """0, 1, 2 ... for each list, one after the other."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
