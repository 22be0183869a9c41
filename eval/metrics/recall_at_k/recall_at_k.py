"""Recall@k as an `evaluate` module: the share of the relevant items that the first k hold."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.ranking import mean_scores, recall_over_targets

_DESCRIPTION = """\
Recall@k is the share of the relevant items that stand among the first k recommended. It is given
twice: as the mean over the examples (as trec_eval does), and over all targets, where each
relevant item counts once (as the ReDial benchmark does).
"""

_CITATION = r"""\
@inproceedings{li2018conversational,
  title = {Towards Deep Conversational Recommendations},
  author = {Li, Raymond and Kahou, Samira Ebrahimi and Schulz, Hannes and Michalski, Vincent
    and Charlin, Laurent and Pal, Chris},
  booktitle = {Advances in Neural Information Processing Systems 31},
  year = {2018}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first, none twice in a list.
    references: list of lists of the relevant ids of each example, in any order.
    k (int or list of int): a depth, or a list of depths; default 10. A list may be shorter than
        k.
Returns:
    recall@k: mean over the examples, from 0 to 1, higher is better.
    recall_over_targets@k: relevant items found over all relevant items, from 0 to 1.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/recall_at_k")
    >>> metric.compute(
    ...     predictions=[["heat", "coco", "alien"], ["jaws", "up"]],
    ...     references=[["coco", "up"], ["jaws"]],
    ...     k=3,
    ... )
    {'recall@3': 0.75, 'recall_over_targets@3': 0.6666666666666666}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class RecallAtK(evaluate.Metric):  # type: ignore[misc]
    """Recall at k; what stands above describes it."""

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
            reference_urls=["https://arxiv.org/abs/1812.07617", "https://ir-measur.es"],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int | list[int] = 10
    ) -> dict[str, float]:
        every = mean_scores("recall", predictions, references, k)
        return every | recall_over_targets(predictions, references, k)
