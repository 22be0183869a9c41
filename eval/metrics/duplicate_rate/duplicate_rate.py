"""Duplicate rate as an `evaluate` module: how often a list names an item again."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.beyond import duplicate_rate
from llmrec.metrics.ranking import encoded, padded

_DESCRIPTION = """\
The share of all recommended entries that repeat an earlier one of the same list.
"""

_CITATION = r"""\
@article{herlocker2004evaluating,
  title = {Evaluating collaborative filtering recommender systems},
  author = {Herlocker, Jonathan L. and Konstan, Joseph A. and Terveen, Loren G. and Riedl, John T.},
  journal = {ACM Transactions on Information Systems},
  volume = {22}, number = {1}, pages = {5--53}, year = {2004}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first.
    k (int): judge the first k of each list only; default: all of it.
Returns:
    duplicate_rate: from 0 (none) towards 1; lower is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/duplicate_rate")
    >>> metric.compute(
    ...     predictions=[["heat", "coco", "heat"], ["jaws"]],
    ... )
    {'duplicate_rate': 0.25}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class DuplicateRate(evaluate.Metric):  # type: ignore[misc]
    """Duplicate rate; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1145/963770.963772"],
        )

    def _compute(self, predictions: list[list[str]], k: int | None = None) -> dict[str, float]:
        (lists,), _ = encoded(predictions, repeats=True)
        return {"duplicate_rate": duplicate_rate(padded(lists)[:, :k])}
