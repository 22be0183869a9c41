"""MAP@k as an `evaluate` module: the mean of the precisions at the relevant items."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.ranking import mean_scores

_DESCRIPTION = """\
MAP@k takes, for each relevant item among the first k, the precision of the list up to it, and
divides their sum by the number of all relevant items; then the mean over the examples (map_cut of
trec_eval).
"""

_CITATION = r"""\
@book{buckley2005retrieval,
  title = {Retrieval System Evaluation, in {TREC}: Experiment and Evaluation in Information
    Retrieval},
  author = {Buckley, Chris and Voorhees, Ellen M.},
  publisher = {MIT Press}, year = {2005}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first, none twice in a list.
    references: list of lists of the relevant ids of each example, in any order.
    k (int or list of int): a depth, or a list of depths; default 10. A list may be shorter than
        k.
Returns:
    map@k: mean over the examples, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/map_at_k")
    >>> metric.compute(
    ...     predictions=[["heat", "coco", "alien"], ["jaws", "up"]],
    ...     references=[["coco", "up"], ["jaws"]],
    ...     k=[1, 3],
    ... )
    {'map@1': 0.5, 'map@3': 0.625}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MapAtK(evaluate.Metric):  # type: ignore[misc]
    """MAP at k; what stands above describes it."""

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
            reference_urls=["https://github.com/usnistgov/trec_eval", "https://ir-measur.es"],
        )

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], k: int | list[int] = 10
    ) -> dict[str, float]:
        return mean_scores("map", predictions, references, k)
