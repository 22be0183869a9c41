"""Learned systems hide how a learned ranker is measured: over the whole catalogue, unfiltered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.catalog import Catalog
from llmrec.decoding import score_titles
from llmrec.evaluation.baselines import prediction
from llmrec.evaluation.predictions import Prediction
from llmrec.evaluation.systems import ModelSystem
from llmrec.models.base import ScoringModel
from llmrec.prompting import Strategy
from llmrec.ranker import LearnedRanker, Ranked
from llmrec.ranker.share import share_of, standardised
from llmrec.types import Example

__all__ = ["Beside", "Judged", "LearnedSystem"]

SHORTLIST = 300  # of the ranker's best, those that a model is asked about


class Judged(NamedTuple):
    """Candidates of one example.

    Attributes
    ----------
    rows, logprobs: int32 [n], float32 [n], as ``Ranked`` has them.
    opinions: float64 [n], the model's scores of their titles, standardised.
    """

    rows: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]
    opinions: npt.NDArray[np.float64]

    def ranked(self, share: float) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Rows and scores, best first, where the model counts so much."""
        scores = self.logprobs + share * self.opinions
        order = np.lexsort((self.rows, -scores))
        return self.rows[order], scores[order]


class LearnedSystem:
    """A learned ranker alone: no language model, no understanding, no filters."""

    def __init__(self, name: str, ranker: LearnedRanker, *, depth: int) -> None:
        self.name = name
        self.about: Mapping[str, Any] = {"ranker": ranker.fingerprint, **ranker.facts}
        self._ranker, self._depth = ranker, depth

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        """See ``System``."""
        found = self._ranker.rank([e.conversation for e in examples], repeat=True)
        return [
            _predicted(e, self._ranker.ids, r.rows, r.logprobs, self._depth)
            for e, r in zip(examples, found, strict=True)
        ]


class Beside(ModelSystem):
    """A learned ranker and a model's opinion of its best candidates.

    Parameters
    ----------
    depth: how many items are wanted beside the mentioned ones.
    strategy: how the model is asked; None: zero-shot, as its profile says.
    """

    def __init__(
        self,
        name: str,
        model: ScoringModel,
        catalog: Catalog,
        ranker: LearnedRanker,
        *,
        depth: int,
        strategy: Strategy | None = None,
    ) -> None:
        super().__init__(name, model, catalog, depth=depth, strategy=strategy)
        self._ranker = ranker
        self._row = {i: n for n, i in enumerate(catalog.ids)}
        self.about |= {"ranker": ranker.fingerprint, **ranker.facts}

    def _predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        share = self._ranker.model_share
        return [
            _predicted(e, self._ranker.ids, *j.ranked(share), self._depth)
            for e, j in zip(examples, self._judged(examples), strict=True)
        ]

    def judged(
        self,
        examples: Sequence[Example],
        *,
        batch: int = 32,
        step: Callable[[int], object] = lambda done: None,
    ) -> list[Judged]:
        """The ranker's best candidates of each example, and what the model thinks of them.

        Parameters
        ----------
        step: called after each batch with how many examples it had.
        """
        out = []
        for at in range(0, len(examples), batch):
            part = examples[at : at + batch]
            self._afresh()
            out += self._judged(part)
            step(len(part))
        return out

    def _judged(self, examples: Sequence[Example]) -> list[Judged]:
        found = self._ranker.rank([e.conversation for e in examples], SHORTLIST, repeat=True)
        opinions = self._opinions(examples, found)
        return [Judged(r.rows, r.logprobs, o) for r, o in zip(found, opinions, strict=True)]

    def _opinions(
        self, examples: Sequence[Example], found: Sequence[Ranked]
    ) -> list[npt.NDArray[np.float64]]:
        """What the model thinks of the items found, standardised: [items] for each example."""
        prompts = [self._recommender.prompt_ids(e.conversation) for e in examples]
        ids = self._ranker.ids
        places = [np.array([self._row.get(ids[n], -1) for n in r.rows.tolist()]) for r in found]
        rows = [np.unique(p[p >= 0]).astype(np.int32) for p in places]
        scores = score_titles(self._scoring, prompts, self._trie, rows)
        out = []
        for place, row, score in zip(places, rows, scores, strict=True):
            own = np.full(len(place), -np.inf)
            own[place >= 0] = score[np.searchsorted(row, place[place >= 0])]
            out.append(standardised(own))
        return out

    def learn_share(
        self, examples: Sequence[Example], judged: Sequence[Judged] | None = None
    ) -> float:
        """How much the model should count, by examples that neither it nor the ranker has seen.

        Parameters
        ----------
        judged: of these examples, where it is known already.
        """
        row_of = self._ranker.row_of
        logprobs, opinions, right = [], [], []
        for e, j in zip(examples, judged or self.judged(examples), strict=True):
            known = [row_of[i] for i in e.conversation.mentioned if i in row_of]
            new = ~np.isin(j.rows, known)
            logprobs.append(j.logprobs[new].astype(np.float64))
            opinions.append(j.opinions[new])
            right.append(np.isin(j.rows[new], [row_of[i] for i in e.relevant if i in row_of]))
        return share_of(logprobs, opinions, right)


def _predicted(
    example: Example,
    ids: Sequence[str],
    rows: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    depth: int,
) -> Prediction:
    deep = depth + len(example.conversation.mentioned)
    items = [ids[r] for r in rows[:deep].tolist()]
    return prediction(example, items, scores=tuple(np.round(scores[:deep], 4).tolist()))
