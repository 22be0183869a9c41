"""Hit rate@k as an `evaluate` module: how often the first k hold a relevant item."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.ranking import mean_scores

_DESCRIPTION = """\
Hit rate@k (success@k) is the share of the examples of which at least one relevant item stands
among the first k.
"""

_CITATION = r"""\
@article{deshpande2004item,
  title = {Item-based top-N recommendation algorithms},
  author = {Deshpande, Mukund and Karypis, George},
  journal = {ACM Transactions on Information Systems},
  volume = {22}, number = {1}, pages = {143--177}, year = {2004}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first, none twice in a list.
    references: list of lists of the relevant ids of each example, in any order.
    k (int or list of int): a depth, or a list of depths; default 10. A list may be shorter than
        k.
Returns:
    hit@k: share of the examples, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/hit_rate_at_k")
    >>> metric.compute(
    ...     predictions=[["heat", "coco", "alien"], ["jaws", "up"]],
    ...     references=[["coco", "up"], ["jaws"]],
    ...     k=[1, 3],
    ... )
    {'hit@1': 0.5, 'hit@3': 1.0}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class HitRateAtK(evaluate.Metric):  # type: ignore[misc]
    """Hit rate at k; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1145/963770.963776", "https://ir-measur.es"],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int | list[int] = 10
    ) -> dict[str, float]:
        return mean_scores("hit", predictions, references, k)
