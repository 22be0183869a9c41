"""Title match as an `evaluate` module: how many written titles a catalogue has, by tier."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from llmrec.metrics.titles import count_tiers, title_index

_DESCRIPTION = """\
Counts how the titles that a language model wrote match those of a catalogue: exact (after folding
case, accents and punctuation), title_year (title and year), alternative (another title of the
item), fuzzy (at most two letters differ, and no other title is near), none (not in the
catalogue).
"""

_CITATION = ""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of titles, as the model wrote them.
    titles (list of str, or of lists of str): of each item of the catalogue its title, or all of
        its titles with the main one first.
    years (list of int): of each item its year, or None; default: no years.
Returns:
    exact, title_year, alternative, fuzzy, none: how many titles.
    matched: share of the titles that any tier has, from 0 to 1; 0 where none was written.
Examples:
    >>> import evaluate
    >>> metric = evaluate.load("eval/metrics/title_match")
    >>> metric.compute(
    ...     predictions=[["Heat", "jaws (1975)"], ["Tubarao", "Nowhere Land"]],
    ...     titles=["Heat", ["Jaws", "Tubarão"]],
    ...     years=[1995, 1975],
    ... )
    {'exact': 1, 'title_year': 1, 'alternative': 1, 'fuzzy': 0, 'none': 1, 'matched': 0.75}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class TitleMatch(evaluate.Metric):  # type: ignore[misc]
    """Title match; what stands above describes it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("string")),
                }
            ),
            reference_urls=["https://github.com/rapidfuzz/RapidFuzz"],
        )

    def _compute(
        self, predictions: list[list[str]], titles: list[Any], years: list[int | None] | None = None
    ) -> dict[str, float]:
        counts = count_tiers(predictions, title_index(titles, years))
        written = sum(counts.values())
        matched = (written - counts["none"]) / written if written else 0.0
        return {**counts, "matched": matched}
