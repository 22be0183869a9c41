"""Precision@k as an `evaluate` module: the share of the first k that is relevant."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.ranking import mean_scores

_DESCRIPTION = """\
Precision@k is the number of relevant items among the first k, over k, as the mean over the
examples. A list shorter than k is divided by k all the same, as trec_eval does.
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
    predictions: list of lists of ids, best first, none twice in a list.
    references: list of lists of the relevant ids of each example, in any order.
    k (int or list of int): a depth, or a list of depths; default 10. A list may be shorter than
        k.
Returns:
    precision@k: mean over the examples, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/precision_at_k")
    >>> metric.compute(
    ...     predictions=[["heat", "coco", "alien"], ["jaws", "up"]],
    ...     references=[["coco", "up"], ["jaws"]],
    ...     k=[1, 2],
    ... )
    {'precision@1': 0.5, 'precision@2': 0.5}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PrecisionAtK(evaluate.Metric):  # type: ignore[misc]
    """Precision at k; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1145/963770.963772", "https://ir-measur.es"],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int | list[int] = 10
    ) -> dict[str, float]:
        return mean_scores("precision", predictions, references, k)
