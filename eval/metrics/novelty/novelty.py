"""Novelty as an `evaluate` module: how surprising the recommended items are, in bits."""

from __future__ import annotations

import datasets
import evaluate
import numpy as np

from llmrec.metrics.beyond import mean_of_defined, novelty
from llmrec.metrics.ranking import rows_of

_DESCRIPTION = """\
The mean self-information of the items of each list, -log2(p), as the mean over the lists. p is
(count + 1) / (sum of all counts + number of items), so that an item never seen has a finite
value. Empty lists are left out.
"""

_CITATION = r"""\
@article{zhou2010solving,
  title = {Solving the apparent diversity-accuracy dilemma of recommender systems},
  author = {Zhou, Tao and Kuscsik, Zolt{\'a}n and Liu, Jian-Guo and
    Medo, Mat{\'u}{\v{s}} and Wakeling, Joseph Rushton and Zhang, Yi-Cheng},
  journal = {Proceedings of the National Academy of Sciences},
  volume = {107}, number = {10}, pages = {4511--4515}, year = {2010}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of ids, best first.
    counts (dict of str to int): how often every item was seen in training.
    k (int): judge the first k of each list only; default: all of it.
Returns:
    novelty: bits, 0 or more; higher is less obvious; NaN where all lists are empty.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/novelty")
    >>> metric.compute(
    ...     predictions=[["heat", "coco"], ["jaws"]],
    ...     counts={"heat": 3, "coco": 1, "jaws": 1},
    ... )
    {'novelty': 1.75}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Novelty(evaluate.Metric):  # type: ignore[misc]
    """Novelty; what stands above describes it."""

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
            reference_urls=["https://arxiv.org/abs/0808.2670"],
        )

    def _compute(
        self, predictions: list[list[str]], counts: dict[str, int], k: int | None = None
    ) -> dict[str, float]:
        ranked = rows_of(predictions, counts)[:, :k]
        values = novelty(ranked, np.array(list(counts.values())))
        return {"novelty": mean_of_defined(values)}
