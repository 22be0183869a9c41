"""Overlap@k as an `evaluate` module: the share of the first k that two rankings have in common."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.agreement import overlap
from llmrec.metrics.ranking import encoded, padded

_DESCRIPTION = """\
The number of items that stand among the first k of both lists, over k (over the length of the
longer list where neither has k items), as the mean over the pairs. Two empty lists agree in full.
"""

_CITATION = r"""\
@article{webber2010similarity,
  title = {A similarity measure for indefinite rankings},
  author = {Webber, William and Moffat, Alistair and Zobel, Justin},
  journal = {ACM Transactions on Information Systems},
  volume = {28}, number = {4}, pages = {1--38}, year = {2010}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first, none twice in a list.
    references: the same for the lists to compare with, of any length.
    k (int): a depth; default 10.
Returns:
    overlap@k: from 0 (nothing shared) to 1 (the same items).
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/overlap_at_k")
    >>> metric.compute(
    ...     predictions=[["heat", "coco"], ["up", "jaws"]],
    ...     references=[["coco", "heat"], ["jaws", "alien"]],
    ...     k=2,
    ... )
    {'overlap@2': 0.75}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class OverlapAtK(evaluate.Metric):  # type: ignore[misc]
    """Overlap at k; what stands above describes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("string")),
                    "references": datasets.Sequence(datasets.Value("string")),
                }
            ),
            reference_urls=["https://doi.org/10.1145/1852102.1852106"],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int = 10
    ) -> dict[str, float]:
        (a, b), _ = encoded(predictions, references)
        values = overlap(padded(a), padded(b), k)
        return {f"overlap@{k}": float(values.mean())}
