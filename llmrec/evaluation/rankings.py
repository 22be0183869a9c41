"""Rankings hides how a model alone ranks a catalogue, and Recall@k of that with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmrec.decoding import rank_titles, title_trie
from llmrec.errors import InputError
from llmrec.metrics.ranking import recall_counts
from llmrec.metrics.significance import ratio_interval
from llmrec.models.base import ScoringModel
from llmrec.prompting import TITLE_END
from llmrec.types import Example

if TYPE_CHECKING:
    from llmrec.recommender import Recommender

__all__ = ["Recall", "model_rankings", "popular_rankings", "recall"]

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Recall:
    """Recall@k with its 95 % interval over dialogues.

    Attributes
    ----------
    n: examples. targets: relevant items in them. catalog: items that were ranked.
    """

    k: int
    value: float
    low: float
    high: float
    n: int
    targets: int
    catalog: int
    new_only: bool

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        return asdict(self)


def recall(
    recommender: Recommender,
    examples: Iterable[Example],
    rankings: Sequence[Rows] | None = None,
    *,
    k: int = 10,
    new_only: bool = True,
    progress: bool = False,
) -> Recall:
    """Recall@k of the model's own exact ranking of the whole catalogue.

    The protocol is that of ReDial (Li et al., 2018): each example is a turn of the recommender,
    each relevant item of it one target.

    Parameters
    ----------
    rankings: [n] rows of the catalogue for each example, instead of the model's.
    new_only: leave out what was mentioned before, from the targets and from the ranking; an
        example that has no other target is left out.

    Raises
    ------
    InputError: no example has a target in the catalogue.
    """
    cases = list(examples)
    rows = [_targets(recommender, e, new_only) for e in cases]
    kept = [i for i, r in enumerate(rows) if r.size]
    if not kept:
        raise InputError("no example has a target in the catalogue: use the data set's own items")
    chosen = [cases[i] for i in kept]
    if rankings is None:
        ranked = model_rankings(recommender, chosen, k, new_only=new_only, progress=progress)
    else:
        ranked = [rankings[i] for i in kept]
    hits, totals = recall_counts(ranked, [rows[i] for i in kept], k)
    groups = [e.dialogue or e.id or str(n) for n, e in enumerate(chosen)]
    value, low, high = ratio_interval(hits, totals, groups)
    n = len(recommender.catalog)
    return Recall(k, value, low, high, len(chosen), int(totals.sum()), n, new_only)


def _targets(recommender: Recommender, example: Example, new_only: bool) -> Rows:
    known = set(example.conversation.mentioned) if new_only else set()
    wanted = [i for i in dict.fromkeys(example.relevant) if i not in known]
    return np.asarray(
        recommender.catalog.rows([i for i in wanted if i in recommender.catalog]), dtype=np.int32
    )


def model_rankings(
    recommender: Recommender,
    examples: Sequence[Example],
    k: int,
    *,
    new_only: bool = True,
    progress: bool = False,
    batch_size: int = 32,
) -> list[Rows]:
    """The model's likeliest ``k`` items for each example, exact over the whole catalogue.

    Only what the model itself finds: no filters, no other signals.
    """
    from tqdm import tqdm

    model: ScoringModel = recommender.model  # type: ignore[assignment]  # checked by rank_titles
    trie = title_trie(model, recommender.catalog.labels, terminator=TITLE_END)
    every = np.arange(len(recommender.catalog), dtype=np.int32)
    out: list[Rows] = []
    with tqdm(total=len(examples), unit="example", desc="ranking", disable=not progress) as bar:
        for at in range(0, len(examples), batch_size):
            part = examples[at : at + batch_size]
            known = [e.conversation.mentioned if new_only else () for e in part]
            allowed = [np.setdiff1d(every, recommender.catalog.rows(ids)) for ids in known]
            prompts = [recommender.prompt_ids(e.conversation) for e in part]
            found = rank_titles(model, prompts, trie, k, allowed=allowed)
            out += [r.rows[:k] for r in found]
            bar.update(len(part))
    return out


def popular_rankings(
    recommender: Recommender, examples: Sequence[Example], k: int, *, new_only: bool = True
) -> list[Rows]:
    """The baseline: for every example the most popular items (of those not yet mentioned)."""
    order = np.argsort(-recommender.catalog.popularity, kind="stable").astype(np.int32)
    out = []
    for e in examples:
        known = recommender.catalog.rows(e.conversation.mentioned if new_only else ())
        best = order[: k + len(known)]
        out.append(best[~np.isin(best, known)][:k])
    return out
