"""NDCG@k as an `evaluate` module: relevant items near the top count more."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.ranking import mean_scores

_DESCRIPTION = """\
NDCG@k sums 1 / log2(1 + place) over the relevant items among the first k, and divides by the most
that any list of k could have. Relevance is 0 or 1.
"""

_CITATION = r"""\
@article{jarvelin2002cumulated,
  title = {Cumulated gain-based evaluation of {IR} techniques},
  author = {J{\"a}rvelin, Kalervo and Kek{\"a}l{\"a}inen, Jaana},
  journal = {ACM Transactions on Information Systems},
  volume = {20}, number = {4}, pages = {422--446}, year = {2002}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first, none twice in a list.
    references: list of lists of the relevant ids of each example, in any order.
    k (int or list of int): a depth, or a list of depths; default 10. A list may be shorter than
        k.
Returns:
    ndcg@k: mean over the examples, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/ndcg_at_k")
    >>> metric.compute(
    ...     predictions=[["heat", "coco", "alien"], ["jaws", "up"]],
    ...     references=[["coco", "up"], ["jaws"]],
    ...     k=[1, 3],
    ... )
    {'ndcg@1': 0.5, 'ndcg@3': 0.6934264036172708}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class NdcgAtK(evaluate.Metric):  # type: ignore[misc]
    """NDCG at k; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1145/582415.582418", "https://ir-measur.es"],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int | list[int] = 10
    ) -> dict[str, float]:
        return mean_scores("ndcg", predictions, references, k)
