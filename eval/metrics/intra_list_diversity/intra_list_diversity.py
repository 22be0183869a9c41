"""Intra-list diversity as an `evaluate` module: how unlike the items of a list are."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from llmrec.metrics.beyond import features_of, intra_list_diversity, mean_of_defined
from llmrec.metrics.ranking import rows_of

_DESCRIPTION = """\
1 minus the mean cosine of all pairs of items of each list, as the mean over the lists. Items come
with names (genres, people) or with vectors. Items without any are left out, and lists with fewer
than two items left.
"""

_CITATION = r"""\
@inproceedings{ziegler2005improving,
  title = {Improving recommendation lists through topic diversification},
  author = {Ziegler, Cai-Nicolas and McNee, Sean M. and Konstan, Joseph A. and Lausen, Georg},
  booktitle = {Proceedings of the 14th international conference on World Wide Web},
  pages = {22--32}, year = {2005}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first.
    features (dict of str to list): of every item a list of names, as in `["Crime", "Drama"]`, or
        a vector, as in `[0.1, 0.7]`.
    k (int): judge the first k of each list only; default: all of it.
Returns:
    intra_list_diversity: from 0 (all alike) to 1 (nothing in common), to 2 with vectors of
        opposite directions; NaN where no list has two items.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/intra_list_diversity")
    >>> metric.compute(
    ...     predictions=[["heat", "up"], ["heat", "ronin"]],
    ...     features={"heat": ["Crime"], "ronin": ["Crime"], "up": ["Family"]},
    ... )
    {'intra_list_diversity': 0.5}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class IntraListDiversity(evaluate.Metric):  # type: ignore[misc]
    """Intra-list diversity; what stands above describes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("string")),
                }
            ),
            reference_urls=["https://doi.org/10.1145/1060745.1060754"],
        )

    def _compute(
        self, predictions: list[list[str]], features: dict[str, list[Any]], k: int | None = None
    ) -> dict[str, float]:
        ranked = rows_of(predictions, features)[:, :k]
        values = intra_list_diversity(ranked, features_of(list(features), features))
        return {"intra_list_diversity": mean_of_defined(values)}
