"""Rank-biased overlap as an `evaluate` module: how alike two rankings are, the top first."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.agreement import rbo
from llmrec.metrics.ranking import encoded, padded

_DESCRIPTION = """\
The extrapolated rank-biased overlap (RBO) of two ranked lists, as the mean over the pairs. The
lists may hold different items and have different lengths; two empty lists agree in full.
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
    p (float): how far down a reader goes on, between 0 and 1; default 0.9: the first ten places
        have 86 % of the weight.
Returns:
    rank_biased_overlap: from 0 (nothing shared) to 1 (the same list).
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/rank_biased_overlap")
    >>> metric.compute(
    ...     predictions=[["heat", "coco"], ["up", "jaws"]],
    ...     references=[["heat", "coco"], ["jaws", "up"]],
    ...     p=0.5,
    ... )
    {'rank_biased_overlap': 0.75}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class RankBiasedOverlap(evaluate.Metric):  # type: ignore[misc]
    """Rank-biased overlap; what stands above describes it."""

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
        self, predictions: list[list[str]], references: list[list[str]], p: float = 0.9
    ) -> dict[str, float]:
        (a, b), _ = encoded(predictions, references)
        values = rbo(padded(a), padded(b), p)
        return {"rank_biased_overlap": float(values.mean())}
