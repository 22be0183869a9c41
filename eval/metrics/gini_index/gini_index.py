"""Gini index as an `evaluate` module: how unevenly the lists show the catalogue."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.beyond import gini
from llmrec.metrics.ranking import rows_of

_DESCRIPTION = """\
The Gini index of how often each item of the catalogue is recommended, items never recommended
included: 0 where all are shown alike, 1 - 1 / n where one of n items is shown alone.
"""

_CITATION = r"""\
@incollection{castells2022novelty,
  title = {Novelty and Diversity in Recommender Systems},
  author = {Castells, Pablo and Hurley, Neil and Vargas, Sa{\'u}l},
  booktitle = {Recommender Systems Handbook},
  publisher = {Springer}, year = {2022}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first.
    catalog (list of str): the ids of all items that could be recommended.
    k (int): judge the first k of each list only; default: all of it.
Returns:
    gini_index: from 0 (even) towards 1 (a single item).
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/gini_index")
    >>> metric.compute(
    ...     predictions=[["heat", "coco"], ["heat"], ["coco", "heat"]],
    ...     catalog=["heat", "coco", "jaws", "up"],
    ... )
    {'gini_index': 0.55}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class GiniIndex(evaluate.Metric):  # type: ignore[misc]
    """Gini index; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1007/978-1-0716-2197-4_16"],
        )

    def _compute(
        self, predictions: list[list[str]], catalog: list[str], k: int | None = None
    ) -> dict[str, float]:
        ranked = rows_of(predictions, catalog)[:, :k]
        return {"gini_index": gini(ranked, len(catalog))}
