"""Numeric accuracy as an `evaluate` module: how many of the needed numbers an answer holds."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.text import numeric_accuracy

_DESCRIPTION = """\
The share of the needed numbers that stand in an answer, in any spelling: 1,999 is 1999, “1 h 47”
and “one hundred and seven” are 107, two hours are 120.
"""

_CITATION = r"""\
@inproceedings{dua2019drop,
  title = {{DROP}: A Reading Comprehension Benchmark Requiring Discrete Reasoning Over Paragraphs},
  author = {Dua, Dheeru and Wang, Yizhong and Dasigi, Pradeep and Stanovsky, Gabriel and
    Singh, Sameer and Gardner, Matt},
  booktitle = {Proceedings of NAACL},
  year = {2019}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of texts: the answers.
    references: list of lists of texts: the numbers that each answer must hold.
    language (str): en, pt or es: whose number words are read; default en.
Returns:
    numeric_accuracy: mean over the answers, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/numeric_accuracy")
    >>> metric.compute(
    ...     predictions=["It lasts 1 h 47 and is of 1999.", "There are twelve."],
    ...     references=[["107", "1,998"], ["12"]],
    ... )
    {'numeric_accuracy': 0.75}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class NumericAccuracy(evaluate.Metric):  # type: ignore[misc]
    """Numeric accuracy; what stands above describes it."""

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
            reference_urls=["https://aclanthology.org/N19-1246"],
        )

    def _compute(
        self, predictions: list[str], references: list[list[str]], language: str = "en"
    ) -> dict[str, float]:
        pairs = zip(predictions, references, strict=True)
        return {
            "numeric_accuracy": sum(numeric_accuracy(p, r, language) for p, r in pairs)
            / len(predictions)
        }
