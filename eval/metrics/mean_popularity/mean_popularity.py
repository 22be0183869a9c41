"""Mean popularity as an `evaluate` module: how well known the recommended items are."""

from __future__ import annotations

import datasets
import evaluate
import numpy as np

from llmrec.metrics.beyond import mean_of_defined, mean_popularity
from llmrec.metrics.ranking import rows_of

_DESCRIPTION = """\
The mean popularity of the items of each list, as the mean over the lists. Empty lists are left
out.
"""

_CITATION = r"""\
@inproceedings{abdollahpouri2019managing,
  title = {Managing Popularity Bias in Recommender Systems with Personalized Re-ranking},
  author = {Abdollahpouri, Himan and Burke, Robin and Mobasher, Bamshad},
  booktitle = {Proceedings of the 32nd FLAIRS Conference}, year = {2019}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first.
    popularity (dict of str to float): the popularity of every item, on any scale.
    k (int): judge the first k of each list only; default: all of it.
Returns:
    mean_popularity: on the scale of the popularity; lower is less obvious; NaN where all lists
        are empty.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/mean_popularity")
    >>> metric.compute(
    ...     predictions=[["heat", "coco"], ["heat"], ["coco", "heat"]],
    ...     popularity={"heat": 1.0, "coco": 0.5, "jaws": 0.25},
    ... )
    {'mean_popularity': 0.8333333333333334}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MeanPopularity(evaluate.Metric):  # type: ignore[misc]
    """Mean popularity; what stands above describes it."""

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
            reference_urls=["https://arxiv.org/abs/1901.07555"],
        )

    def _compute(
        self, predictions: list[list[str]], popularity: dict[str, float], k: int | None = None
    ) -> dict[str, float]:
        ranked = rows_of(predictions, popularity)[:, :k]
        values = mean_popularity(ranked, np.array(list(popularity.values())))
        return {"mean_popularity": mean_of_defined(values)}
