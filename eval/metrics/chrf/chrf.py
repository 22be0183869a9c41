"""chrF as an `evaluate` module: runs of characters in common with right answers."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.text import chrf, corpus_chrf, mean_of

_DESCRIPTION = """\
chrF by sacrebleu: precision and recall of runs of one to six characters, recall counting twice. It
forgives endings, which suits Portuguese and Spanish.
"""

_CITATION = r"""\
@inproceedings{popovic2015chrf,
  title = {{chrF}: character n-gram {F}-score for automatic {MT} evaluation},
  author = {Popovi{\'c}, Maja},
  booktitle = {Proceedings of the Tenth Workshop on Statistical Machine Translation},
  year = {2015}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of texts: the answers.
    references: list of lists of texts: all right answers to each question.
Returns:
    chrf: over all answers together, from 0 to 1, higher is better.
    chrf_mean: mean of the answers' own values, from 0 to 1.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/chrf")
    >>> metric.compute(
    ...     predictions=["dirigido por Walter Salles"],
    ...     references=[["Walter Salles", "dirigida por Walter Salles"]],
    ... )
    {'chrf': 0.821044046215671, 'chrf_mean': 0.821044046215671}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Chrf(evaluate.Metric):  # type: ignore[misc]
    """chrF; what stands above describes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("string"),
                    "references": datasets.Sequence(datasets.Value("string")),
                }
            ),
            reference_urls=[
                "https://aclanthology.org/W15-3049",
                "https://github.com/mjpost/sacrebleu",
            ],
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        return {
            "chrf": corpus_chrf(predictions, references),
            "chrf_mean": mean_of(chrf, predictions, references),
        }
