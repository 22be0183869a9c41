"""Exact match, best of several as an `evaluate` module: the share that are a right one."""

from __future__ import annotations

import datasets
import evaluate

from llmrec.metrics.text import exact_match, mean_of

_DESCRIPTION = """\
The share of answers whose words are those of a right answer, the best of several counting. Words
are compared in lower case, without accents, punctuation and the articles of English, Portuguese
and Spanish; 1,999 is 1999.
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
    exact_match: mean over the answers, from 0 to 1, higher is better.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/exact_match_best")
    >>> metric.compute(
    ...     predictions=["The Matrix!", "dois filmes"],
    ...     references=[["Matrix", "La matriz"], ["duas", "2"]],
    ... )
    {'exact_match': 0.5}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ExactMatchBest(evaluate.Metric):  # type: ignore[misc]
    """Exact match, best of several; what stands above describes it."""

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
        return {"exact_match": mean_of(exact_match, predictions, references)}
