"""ROUGE-L as an `evaluate` module: the longest common run of words, gaps allowed."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.text import rouge_l

_DESCRIPTION = """\
ROUGE-L by rouge-score: precision, recall and F1 of the longest run of words in common, gaps
allowed, with the right answer of the best F1. Words keep their accented letters' base letter,
where the package's own tokenizer drops the letter.
"""

_CITATION = r"""\
@inproceedings{lin2004rouge,
  title = {{ROUGE}: A Package for Automatic Evaluation of Summaries},
  author = {Lin, Chin-Yew},
  booktitle = {Text Summarization Branches Out},
  year = {2004}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of texts: the answers.
    references: list of lists of texts: all right answers to each question.
Returns:
    precision, recall, f1: means over the answers, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/rouge_l")
    >>> metric.compute(
    ...     predictions=["um menino não acha o pai"],
    ...     references=[["o menino procura o pai", "um menino acha seu pai"]],
    ... )
    {'precision': 0.6666666666666666, 'recall': 0.8, 'f1': 0.7272727272727272}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class RougeL(evaluate.Metric):  # type: ignore[misc]
    """ROUGE-L; what stands above describes it."""

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
                "https://aclanthology.org/W04-1013",
                "https://pypi.org/project/rouge-score/",
            ],
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        found = [rouge_l(p, r) for p, r in zip(predictions, references, strict=True)]
        names = ("precision", "recall", "f1")
        return {n: sum(getattr(f, n) for f in found) / len(found) for n in names}
