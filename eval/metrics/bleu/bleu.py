"""BLEU as an `evaluate` module: n-grams in common with right answers, over all answers together."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.text import bleu

_DESCRIPTION = """\
BLEU of a corpus of answers by sacrebleu: the geometric mean of how many of their runs of one to
four words stand in a right answer, and a penalty where they are too short.
"""

_CITATION = r"""\
@inproceedings{post2018call,
  title = {A Call for Clarity in Reporting {BLEU} Scores},
  author = {Post, Matt},
  booktitle = {Proceedings of the Third Conference on Machine Translation},
  year = {2018}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of texts: the answers.
    references: list of lists of texts: all right answers to each question.
Returns:
    bleu: over all answers together, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/bleu")
    >>> metric.compute(
    ...     predictions=["o filme dura cento e sete minutos", "it lasts two hours"],
    ...     references=[["o filme dura 107", "dura cento e sete minutos"], ["it lasts two hours"]],
    ... )
    {'bleu': 0.8468395158473866}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Bleu(evaluate.Metric):  # type: ignore[misc]
    """BLEU; what stands above describes it."""

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
                "https://aclanthology.org/W18-6319",
                "https://github.com/mjpost/sacrebleu",
            ],
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        return {"bleu": bleu(predictions, references)}
