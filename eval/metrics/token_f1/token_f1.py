"""Token F1 as an `evaluate` module: how many words an answer shares with a right one."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.text import mean_of, token_f1

_DESCRIPTION = """\
The harmonic mean of precision and recall of words, with the right answer that gives the most.
Words are compared in lower case, without accents, punctuation and the articles of English,
Portuguese and Spanish; 1,999 is 1999.
"""

_CITATION = r"""\
@inproceedings{rajpurkar2016squad,
  title = {{SQuAD}: 100,000+ Questions for Machine Comprehension of Text},
  author = {Rajpurkar, Pranav and Zhang, Jian and Lopyrev, Konstantin and Liang, Percy},
  booktitle = {Proceedings of EMNLP},
  year = {2016}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of texts: the answers.
    references: list of lists of texts: all right answers to each question.
Returns:
    f1: mean over the answers, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/token_f1")
    >>> metric.compute(
    ...     predictions=["The film lasts 170 minutes", "Michael Mann"],
    ...     references=[["170 minutes", "2 h 50"], ["Michael Mann"]],
    ... )
    {'f1': 0.8333333333333333}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class TokenF1(evaluate.Metric):  # type: ignore[misc]
    """Token F1; what stands above describes it."""

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
            reference_urls=["https://aclanthology.org/D16-1264"],
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        return {"f1": mean_of(token_f1, predictions, references)}
