"""AUROC as an `evaluate` module: does a score tell right from wrong answers."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.calibration import auroc

_DESCRIPTION = """\
The area under the ROC curve: how often a right answer has a higher score than a wrong one, equal
scores counting half.
"""

_CITATION = r"""\
@article{hanley1982meaning,
  title = {The meaning and use of the area under a receiver operating characteristic ({ROC}) curve},
  author = {Hanley, James A. and McNeil, Barbara J.},
  journal = {Radiology}, volume = {143}, number = {1}, pages = {29--36}, year = {1982}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of float: the scores, higher means more sure.
    references: list of int: 1 where the answer was right, 0 where it was wrong.
Returns:
    auroc: from 0 to 1; 0.5 is chance; NaN where all answers are right, or none is.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/auroc")
    >>> metric.compute(
    ...     predictions=[0.9, 0.5, 0.5, 0.1],
    ...     references=[1, 1, 0, 0],
    ... )
    {'auroc': 0.875}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Auroc(evaluate.Metric):  # type: ignore[misc]
    """AUROC; what stands above describes it."""

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
            reference_urls=["https://doi.org/10.1148/radiology.143.1.7063747"],
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float]:
        return {"auroc": auroc(predictions, references)}
