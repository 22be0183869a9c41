"""MRR@k as an `evaluate` module: one over the place of the first relevant item."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.ranking import mean_scores

_DESCRIPTION = """\
MRR@k is one over the place of the first relevant item, 0 where the first k hold none, as the mean
over the examples.
"""

_CITATION = r"""\
@inproceedings{voorhees1999trec8,
  title = {The {TREC-8} Question Answering Track Report},
  author = {Voorhees, Ellen M.},
  booktitle = {Proceedings of the 8th Text REtrieval Conference},
  year = {1999}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first, none twice in a list.
    references: list of lists of the relevant ids of each example, in any order.
    k (int or list of int): a depth, or a list of depths; default 10. A list may be shorter than
        k.
Returns:
    mrr@k: mean over the examples, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/mrr_at_k")
    >>> metric.compute(
    ...     predictions=[["heat", "coco", "alien"], ["jaws", "up"]],
    ...     references=[["coco", "up"], ["jaws"]],
    ...     k=[1, 3],
    ... )
    {'mrr@1': 0.5, 'mrr@3': 0.75}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MrrAtK(evaluate.Metric):  # type: ignore[misc]
    """MRR at k; what stands above describes it."""

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
            reference_urls=[
                "https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf",
                "https://ir-measur.es",
            ],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int | list[int] = 10
    ) -> dict[str, float]:
        return mean_scores("mrr", predictions, references, k)
