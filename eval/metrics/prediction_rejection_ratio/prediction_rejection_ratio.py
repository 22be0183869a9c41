"""Prediction rejection ratio as an `evaluate` module: is it worth rejecting what is uncertain."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.calibration import prr

_DESCRIPTION = """\
Reject the most uncertain examples first, and look at the mean quality of the rest: the area of
this curve above that of random rejection, over the same of an oracle that rejects by quality
itself. Examples of equal uncertainty stand for their mean.
"""

_CITATION = r"""\
@inproceedings{malinin2021uncertainty,
  title = {Uncertainty Estimation in Autoregressive Structured Prediction},
  author = {Malinin, Andrey and Gales, Mark},
  booktitle = {International Conference on Learning Representations}, year = {2021}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of float: the uncertainty of each example, higher means less sure.
    references: list of float: its quality (a hit, an NDCG), higher is better.
Returns:
    prediction_rejection_ratio: 1 rejects the worst first, 0 is chance, below 0 misleads; NaN
        where all qualities are equal.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/prediction_rejection_ratio")
    >>> metric.compute(
    ...     predictions=[0.1, 0.7, 0.3, 0.9],
    ...     references=[1.0, 0.5, 0.5, 0.0],
    ... )
    {'prediction_rejection_ratio': 1.0}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PredictionRejectionRatio(evaluate.Metric):  # type: ignore[misc]
    """Prediction rejection ratio; what stands above describes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("float64"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/2002.07650"],
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        return {"prediction_rejection_ratio": prr(predictions, references)}
