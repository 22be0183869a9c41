"""Expected calibration error as an `evaluate` module: does a confidence keep its word."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.calibration import ece

_DESCRIPTION = """\
The answers are put into bins of equal width by their confidence; the error is the mean distance
of a bin's mean confidence and its share of right answers, each bin counting by how many it holds.
"""

_CITATION = r"""\
@inproceedings{guo2017calibration,
  title = {On Calibration of Modern Neural Networks},
  author = {Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.},
  booktitle = {Proceedings of the 34th International Conference on Machine Learning}, year = {2017}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of float: the confidence of each answer, from 0 to 1.
    references: list of int: 1 where the answer was right, 0 where it was wrong.
    bins (int): how many bins; default 15.
Returns:
    expected_calibration_error: from 0 to 1, lower is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/expected_calibration_error")
    >>> metric.compute(
    ...     predictions=[0.25, 0.25, 0.75, 1.0],
    ...     references=[0, 1, 1, 1],
    ...     bins=2,
    ... )
    {'expected_calibration_error': 0.1875}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ExpectedCalibrationError(evaluate.Metric):  # type: ignore[misc]
    """Expected calibration error; what stands above describes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("int64"),
                }
            ),
            reference_urls=["https://arxiv.org/abs/1706.04599"],
        )

    def _compute(
        self, predictions: list[float], references: list[int], bins: int = 15
    ) -> dict[str, float]:
        return {"expected_calibration_error": ece(predictions, references, bins)}
