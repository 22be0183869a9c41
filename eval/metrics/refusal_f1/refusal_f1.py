"""Refusal F1 as an `evaluate` module: whether what cannot be answered is refused."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.text import refusals

_DESCRIPTION = """\
Precision, recall and F1 of refusing to answer: the questions that cannot be answered are what
should be refused.
"""

_CITATION = r"""\
@inproceedings{rajpurkar2018know,
  title = {Know What You Don't Know: Unanswerable Questions for {SQuAD}},
  author = {Rajpurkar, Pranav and Jia, Robin and Liang, Percy},
  booktitle = {Proceedings of ACL},
  year = {2018}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of bool: whether it was refused.
    references: list of bool: whether it should be, as nothing known answers it.
Returns:
    precision: share of the refusals that are right, from 0 to 1; 1 where nothing was refused.
    recall: share of the unanswerable that was refused, from 0 to 1; 1 where there is none.
    f1: harmonic mean of the two, over all questions.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/refusal_f1")
    >>> metric.compute(
    ...     predictions=[True, True, False, False],
    ...     references=[True, False, True, False],
    ... )
    {'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class RefusalF1(evaluate.Metric):  # type: ignore[misc]
    """Refusal F1; what stands above describes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("bool"),
                    "references": datasets.Value("bool"),
                }
            ),
            reference_urls=["https://aclanthology.org/P18-2124"],
        )

    def _compute(self, predictions: list[bool], references: list[bool]) -> dict[str, float]:
        found = refusals(predictions, [not r for r in references])
        return {"precision": found.precision, "recall": found.recall, "f1": found.f1}
