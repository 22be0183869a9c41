"""Catalogue coverage as an `evaluate` module: the share of the items that are ever recommended."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.beyond import coverage
from llmrec.metrics.ranking import rows_of

_DESCRIPTION = """\
Catalogue coverage is the share of the catalogue that stands in at least one recommended list.
"""

_CITATION = r"""\
@inproceedings{ge2010beyond,
  title = {Beyond accuracy: evaluating recommender systems by coverage and serendipity},
  author = {Ge, Mouzhi and Delgado-Battenfeld, Carla and Jannach, Dietmar},
  booktitle = {Proceedings of the fourth ACM conference on Recommender systems},
  pages = {257--260}, year = {2010}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first.
    catalog (list of str): the ids of all items that could be recommended.
    k (int): judge the first k of each list only; default: all of it.
Returns:
    catalog_coverage: from 0 to 1; higher shows more of the catalogue.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/catalog_coverage")
    >>> metric.compute(
    ...     predictions=[["heat", "coco"], ["heat"], ["coco", "heat"]],
    ...     catalog=["heat", "coco", "jaws", "up"],
    ... )
    {'catalog_coverage': 0.5}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class CatalogCoverage(evaluate.Metric):  # type: ignore[misc]
    """Catalogue coverage; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1145/1864708.1864761"],
        )

    def _compute(
        self, predictions: list[list[str]], catalog: list[str], k: int | None = None
    ) -> dict[str, float]:
        ranked = rows_of(predictions, catalog)[:, :k]
        return {"catalog_coverage": coverage(ranked, len(catalog))}
