"""Text hides how a written answer is compared with the right ones, in English, Portuguese, Spanish.

Of several right answers the best counts. Values are from 0 to 1 for one answer; BLEU and chrF are
sacrebleu's, ROUGE-L is that of rouge-score with words that keep their accented letters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError, MissingExtraError
from llmrec.metrics.amounts import amount_of, amounts
from llmrec.titles import fold

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

__all__ = [
    "Refusals",
    "Rouge",
    "best",
    "bleu",
    "bleu_counts",
    "bleu_of_counts",
    "chrf",
    "corpus_chrf",
    "exact_match",
    "holds",
    "mean_of",
    "numeric_accuracy",
    "polarity",
    "refusals",
    "rouge_l",
    "token_f1",
    "tokens",
    "value_accuracy",
]

_ARTICLES = frozenset("a an the o os as um uma uns umas el la los las lo un una unos unas".split())
_GROUPS = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")
_YES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "en": (frozenset(("yes", "yeah", "yep")), frozenset(("no", "nope", "not"))),
    "pt": (frozenset(("sim",)), frozenset(("nao",))),
    "es": (frozenset(("si",)), frozenset(("no",))),
}
_ORDER = 4  # of BLEU's n-grams

Score = Callable[[str, str], float]


def tokens(text: str) -> list[str]:
    """The words that are compared: folded, without articles unless there is nothing else."""
    said = fold(_GROUPS.sub("", text)).split()
    return [w for w in said if w not in _ARTICLES] or said


def best(score: Score, prediction: str, references: Sequence[str]) -> float:
    """The best score over the right answers. Raises InputError where there is none."""
    if isinstance(references, str):
        raise InputError(f"the references are the text {references!r}: give a list of texts")
    if not references:
        raise InputError(f"there is no right answer to compare {prediction!r} with: give one")
    return max(score(prediction, r) for r in references)


def mean_of(
    score: Callable[[str, Sequence[str]], float],
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
) -> float:
    """The mean of a score over answers, 0 without any. Raises InputError if lengths differ."""
    _same_length(predictions, references)
    return sum(map(score, predictions, references)) / max(1, len(predictions))


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """1 if the words are those of a right answer, as in SQuAD; else 0."""
    return best(lambda p, r: float(tokens(p) == tokens(r)), prediction, references)


def token_f1(prediction: str, references: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of words, as in SQuAD; the best of the answers."""

    def score(said: str, wanted: str) -> float:
        ours, theirs = Counter(tokens(said)), Counter(tokens(wanted))
        if not ours or not theirs:
            return float(ours == theirs)
        both = (ours & theirs).total()
        return 2 * both / (ours.total() + theirs.total())

    return best(score, prediction, references)


@dataclass(frozen=True)
class Rouge:
    """ROUGE-L: how long the longest run of words in common is, gaps allowed."""

    precision: float
    recall: float
    f1: float


class _Words:
    """A tokenizer for rouge-score, whose own one drops every letter with an accent."""

    def tokenize(self, text: str) -> list[str]:
        return fold(text).split()


@cache
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise MissingExtraError("rouge-score", "eval") from None
    return RougeScorer(["rougeL"], tokenizer=_Words())


def rouge_l(prediction: str, references: Sequence[str]) -> Rouge:
    """ROUGE-L with the right answer that gives the best F1.

    Raises
    ------
    InputError: there is no right answer. MissingExtraError: rouge-score is not installed.
    """

    def of(wanted: str) -> Rouge:
        made = _rouge().score(wanted, prediction)["rougeL"]
        return Rouge(float(made.precision), float(made.recall), float(made.fmeasure))

    best(lambda p, r: 0.0, prediction, references)  # looks at the references
    return max(map(of, references), key=lambda r: r.f1)


@cache
def _bleu() -> BLEU:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise MissingExtraError("sacrebleu", "eval") from None
    return BLEU(effective_order=True)  # of one answer it has to be told; corpus counts are as ever


@cache
def _chrf() -> CHRF:
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise MissingExtraError("sacrebleu", "eval") from None
    return CHRF()


def bleu_counts(prediction: str, references: Sequence[str]) -> npt.NDArray[np.float64]:
    """What one answer adds to BLEU [10]: n-grams found (1 to 4), n-grams there, both lengths.

    Raises
    ------
    InputError: there is no right answer. MissingExtraError: sacrebleu is not installed.
    """
    best(lambda p, r: 0.0, prediction, references)
    made = _bleu().sentence_score(prediction, list(references))
    return np.array([*made.counts, *made.totals, made.sys_len, made.ref_len], dtype=np.float64)


def bleu_of_counts(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """BLEU, 0 to 1, of sums of ``bleu_counts`` [..., 10], with sacrebleu's smoothing."""
    found, there = counts[..., :_ORDER], counts[..., _ORDER : 2 * _ORDER]
    said, wanted = counts[..., 8], counts[..., 9]
    # Without any match of an order it counts as a half, a quarter, ... of one ("exp").
    missed = np.cumsum(found == 0, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(found > 0, found, 0.5**missed) / there
        mean = np.exp(np.log(shares).mean(-1))
        brevity = np.exp(np.minimum(0.0, 1 - wanted / said))
        return np.where((there > 0).all(-1) & (found > 0).any(-1), mean * brevity, 0.0)


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU, 0 to 1, each answer against all its right ones.

    Raises
    ------
    InputError: lengths differ, or an answer has no right one.
    MissingExtraError: sacrebleu is not installed.
    """
    _same_length(predictions, references)
    counts = [bleu_counts(p, r) for p, r in zip(predictions, references, strict=True)]
    return float(bleu_of_counts(np.sum(counts, axis=0))) if counts else 0.0


def chrf(prediction: str, references: Sequence[str]) -> float:
    """chrF of one answer, 0 to 1, by sacrebleu.

    Raises
    ------
    InputError: there is no right answer. MissingExtraError: sacrebleu is not installed.
    """
    best(lambda p, r: 0.0, prediction, references)
    return float(_chrf().sentence_score(prediction, list(references)).score) / 100


def corpus_chrf(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """chrF over all answers together, 0 to 1, by sacrebleu. Raises as ``bleu``."""
    _same_length(predictions, references)
    if not predictions:
        return 0.0
    for p, r in zip(predictions, references, strict=True):
        best(lambda a, b: 0.0, p, r)
    most = max(map(len, references))
    # Where an answer has fewer right ones than another, sacrebleu wants None in their place.
    streams: Any = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    return float(_chrf().corpus_score(list(predictions), streams).score) / 100


def _same_length(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(predictions) != len(references):
        raise InputError(
            f"there are {len(predictions)} predictions and {len(references)} references: give a "
            "list of right answers for each prediction"
        )


def polarity(text: str, language: str) -> bool | None:
    """Whether an answer begins with yes (True) or no (False); None: with neither."""
    first = fold(text).split(" ", 1)[0]
    yes, no = _YES[language]
    return True if first in yes else False if first in no else None


def holds(text: str, alternatives: Sequence[str], language: str) -> bool:
    """Whether one of several spellings of a value stands in an answer.

    A number does in any spelling, yes or no as the answer's first word, other words as whole words
    in their order, whatever case, accents and punctuation.
    """
    said = f" {fold(text)} "
    numbers = {a.value for a in amounts(text, language)}
    return any(_holds(text, said, numbers, value, language) for value in alternatives)


def _holds(text: str, said: str, numbers: set[float], value: str, language: str) -> bool:
    wanted = fold(value)
    if any(wanted in words for words in _YES[language]):
        return polarity(text, language) is polarity(value, language)
    number = amount_of(value, language)
    if number is not None:
        return number in numbers
    return bool(wanted) and f" {wanted} " in said


def value_accuracy(text: str, values: Sequence[Sequence[str]], language: str) -> float:
    """The share of the needed values of which one alternative stands in the answer.

    Raises
    ------
    InputError: no value is needed.
    """
    if not values:
        raise InputError("no value is needed: give a list of lists of alternatives")
    return sum(holds(text, v, language) for v in values) / len(values)


def numeric_accuracy(text: str, needed: Sequence[str], language: str) -> float:
    """The share of the needed numbers that the answer holds, in any spelling.

    Raises
    ------
    InputError: no number is needed, or what is needed is no number.
    """
    wanted = [amount_of(n, language) for n in needed]
    if not wanted or None in wanted:
        raise InputError(f"the numbers needed are {list(needed)!r}: give texts that are numbers")
    said = {a.value for a in amounts(text, language)}
    return sum(n in said for n in wanted) / len(wanted)


@dataclass(frozen=True)
class Refusals:
    """How well it is refused what cannot be answered; ``n``: answers of which this is."""

    precision: float
    recall: float
    f1: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain JSON types."""
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1, "n": self.n}


def refusals(refused: Sequence[bool], answerable: Sequence[bool]) -> Refusals:
    """Precision, recall and F1 of refusing, of which the unanswerable are the right cases.

    Precision is 1 where nothing was refused, recall where nothing had to be.

    Raises
    ------
    InputError: lengths differ.
    """
    if len(refused) != len(answerable):
        raise InputError(
            f"there are {len(refused)} answers and {len(answerable)} questions: give one for each"
        )
    right = sum(r and not a for r, a in zip(refused, answerable, strict=True))
    said, wanted = sum(map(bool, refused)), sum(not a for a in answerable)
    return Refusals(
        right / said if said else 1.0,
        right / wanted if wanted else 1.0,
        2 * right / (said + wanted) if said + wanted else 1.0,
        len(refused),
    )
