"""List Jaccard as an `evaluate` module: the items two lists share over those in either."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.agreement import jaccard
from llmrec.metrics.ranking import encoded, padded

_DESCRIPTION = """\
The Jaccard index of two lists of items, whatever their order, as the mean over the pairs. Two
empty lists agree in full.
"""

_CITATION = r"""\
@article{jaccard1912distribution,
  title = {The distribution of the flora in the alpine zone},
  author = {Jaccard, Paul},
  journal = {New Phytologist}, volume = {11}, number = {2}, pages = {37--50}, year = {1912}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first, none twice in a list.
    references: the same for the lists to compare with, of any length.
    k (int): judge the first k of each list only; default: all of it.
Returns:
    list_jaccard: from 0 (nothing shared) to 1 (the same items).
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/list_jaccard")
    >>> metric.compute(
    ...     predictions=[["heat", "coco"], ["up", "jaws"]],
    ...     references=[["coco", "heat"], ["jaws", "alien", "ran"]],
    ... )
    {'list_jaccard': 0.625}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ListJaccard(evaluate.Metric):  # type: ignore[misc]
    """List Jaccard; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1111/j.1469-8137.1912.tb05611.x"],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int | None = None
    ) -> dict[str, float]:
        (a, b), _ = encoded(predictions, references)
        values = jaccard(padded(a)[:, :k], padded(b)[:, :k])
        return {"list_jaccard": float(values.mean())}
