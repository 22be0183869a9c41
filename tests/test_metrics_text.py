"""Metrics of written answers: worked by hand, and checked against the field's own tools."""

from __future__ import annotations

import random
import re
import string
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.errors import InputError, MissingExtraError
from llmrec.metrics import text as metrics
from llmrec.metrics.amounts import amount_of, amounts

WORDS = (
    "o filme dura duas horas e meia Álex não sabe why the film lasts 107 minutes, é bom.".split()
)


def some_answers(seed: int) -> tuple[list[str], list[list[str]]]:
    dice = random.Random(seed)

    def text(low: int) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randint(low, 12)))

    n = dice.randint(1, 6)
    return [text(0) for _ in range(n)], [
        [text(1) for _ in range(dice.randint(1, 3))] for _ in range(n)
    ]


def streams(references: list[list[str]]) -> list[list[str | None]]:
    """As sacrebleu wants several references."""
    most = max(map(len, references))
    return [[r[i] if i < len(r) else None for r in references] for i in range(most)]


# Numbers of a text.


@pytest.mark.parametrize(
    ("said", "language", "values"),
    [
        ("1,999 or 1.999 or 1 999 or 1999", "en", [1999, 1999, 1999, 1999]),
        ("8.1/10", "en", [8.1, 10]),
        ("nota 8,1", "pt", [8.1]),
        ("$1,299.99", "en", [1299.99]),
        ("1.299,99", "pt", [1299.99]),
        ("2,5,7", "en", [2.5, 7]),
        ("1 h 47", "en", [107]),
        ("1h47min", "pt", [107]),
        ("1 hora e 47 minutos", "pt", [107]),
        ("two hours", "en", [120]),
        ("duas horas e meia", "pt", [150]),
        ("hora y media", "es", [90]),
        ("an hour and a half", "en", [90]),
        ("two and a half hours", "en", [150]),
        ("1.5 hours", "en", [90]),
        ("2 hours and 12 people", "en", [120, 12]),
        ("one hundred and seven minutes", "en", [107]),
        ("nineteen ninety-nine", "en", [1999]),
        ("mil novecentos e noventa e nove", "pt", [1999]),
        ("dos mil cuatro", "es", [2004]),
        ("ciento veintitrés", "es", [123]),
        ("vinte e um filmes", "pt", [21]),
        ("dois e três", "pt", [2, 3]),
        ("zero", "en", [0]),
        ("the 80s and Rocky II", "en", [80]),
        ("sem números", "pt", []),
        ("", "en", []),
    ],
)
def test_numbers_are_read(said: str, language: str, values: list[float]) -> None:
    assert [a.value for a in amounts(said, language)] == values


def test_a_text_that_is_a_number() -> None:
    assert amount_of("107 minutes", "en") == amount_of("1 h 47 min", "en") == 107
    assert amount_of("$ 25.90", "en") == 25.9
    assert amount_of("8.1/10", "en") is None
    assert amount_of("Apollo 13", "en") is None
    assert amount_of("Heat", "en") is None


@given(st.integers(0, 999_999))
def test_separators_change_nothing(value: int) -> None:
    for said in (f"{value}", f"{value:,}", f"{value:,}".replace(",", ".")):
        assert [a.value for a in amounts(f"There are {said}.", "en")] == [value]


@given(st.text(), st.sampled_from(["en", "pt", "es"]))
def test_any_text_is_read(said: str, language: str) -> None:
    assert all(a.value >= 0 and a.text for a in amounts(said, language))


# Words in common.


def test_exact_match_by_hand() -> None:
    assert metrics.exact_match("The Matrix!", ["Heat", "matrix"]) == 1
    assert metrics.exact_match("O Poderoso Chefão", ["poderoso chefao"]) == 1
    assert metrics.exact_match("La Matriz", ["the matriz"]) == 1
    assert metrics.exact_match("1,999 films", ["1999 films"]) == 1
    assert metrics.exact_match("Heat 2", ["Heat"]) == 0
    assert metrics.exact_match("The", ["A"]) == 0  # where there are only articles they count
    assert metrics.exact_match("", ["Heat"]) == 0


def test_token_f1_by_hand() -> None:
    # film, lasts, 170, minutes against 170, minutes: both of two, two of four.
    assert metrics.token_f1("The film lasts 170 minutes", ["2 h 50", "170 minutes"]) == 2 * 2 / 6
    assert metrics.token_f1("Mann Mann", ["Mann"]) == 2 / 3
    assert metrics.token_f1("Al Pacino", ["Robert De Niro"]) == 0
    assert metrics.token_f1("", ["Heat"]) == 0


def squad_words(said: str) -> list[str]:
    """As the SQuAD script splits words, for English."""
    plain = "".join(c for c in said.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def test_words_against_the_squad_formula() -> None:
    dice = random.Random(1)
    english = "The film, is a heist. Michael Mann directed it! 1995 Heat Al-Pacino an the".split()
    for _ in range(300):
        said, wanted = (" ".join(dice.choices(english, k=dice.randint(1, 8))) for _ in range(2))
        said, wanted = said.replace("-", " "), wanted.replace("-", " ")
        ours, theirs = squad_words(said), squad_words(wanted)
        if not ours or not theirs:
            continue
        same = sum((Counter(ours) & Counter(theirs)).values())
        p, r = same / len(ours), same / len(theirs)
        f1 = 2 * p * r / (p + r) if same else 0.0
        assert metrics.token_f1(said, [wanted]) == pytest.approx(f1)
        assert metrics.exact_match(said, [wanted]) == float(ours == theirs)


@given(st.text(), st.text())
def test_scores_stay_between_nought_and_one(said: str, wanted: str) -> None:
    for score in (metrics.exact_match, metrics.token_f1):
        assert 0 <= score(said, [wanted]) <= 1
        assert score(wanted, [wanted]) == 1
        assert score(said, [wanted, said]) == 1


# ROUGE-L, BLEU, chrF.


def test_rouge_l_by_hand() -> None:
    # "um menino acha pai" is in both: four of six words, and four of five.
    made = metrics.rouge_l("um menino não acha o pai", ["o dia", "um menino acha seu pai"])
    assert (made.precision, made.recall) == (4 / 6, 4 / 5)
    assert made.f1 == pytest.approx(8 / 11)
    assert metrics.rouge_l("", ["Heat"]).f1 == 0


def test_rouge_l_against_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(["rougeL"])
    dice = random.Random(2)
    english = "a film about two boys who grow up in the slum of Rio".split()
    for _ in range(100):
        said, wanted = (" ".join(dice.choices(english, k=dice.randint(1, 9))) for _ in range(2))
        made = theirs.score(wanted, said)["rougeL"]
        ours = metrics.rouge_l(said, [wanted])
        assert (ours.precision, ours.recall) == (made.precision, made.recall)
    # Their tokenizer drops letters with accents: "não é" and "n o" would be the same.
    assert theirs.score("não é", "n o")["rougeL"].fmeasure > 0
    assert metrics.rouge_l("n o", ["não é"]).f1 == 0


def test_bleu_by_hand() -> None:
    # Of runs of one to four words 11 of 11, 9 of 9, 6 of 7 and 3 of 5 stand in a right answer.
    said = ["o filme dura cento e sete minutos", "it lasts two hours"]
    wanted = [["o filme dura 107", "dura cento e sete minutos"], ["it lasts two hours"]]
    assert metrics.bleu(said, wanted) == pytest.approx((6 / 7 * 3 / 5) ** 0.25)
    # Half as long as the right one: exp(1 - 8 / 4).
    assert metrics.bleu(["a b c d"], [["a b c d e f g h"]]) == pytest.approx(np.exp(-1))
    assert metrics.bleu([], []) == 0


@pytest.mark.parametrize("seed", range(25))
def test_bleu_and_chrf_against_sacrebleu(seed: int) -> None:
    import sacrebleu

    said, wanted = some_answers(seed)
    bleu = sacrebleu.corpus_bleu(said, streams(wanted)).score / 100
    assert metrics.bleu(said, wanted) == pytest.approx(bleu, abs=1e-9)
    chrf = sacrebleu.corpus_chrf(said, streams(wanted)).score / 100
    assert metrics.corpus_chrf(said, wanted) == pytest.approx(chrf)
    assert metrics.chrf(said[0], wanted[0]) == pytest.approx(
        sacrebleu.sentence_chrf(said[0], wanted[0]).score / 100
    )


def test_chrf_by_hand() -> None:
    # Two letters of three: precision and recall 2/3 of letters, 1/2 of pairs, 0 of the three.
    share = (2 / 3 + 1 / 2 + 0) / 3
    assert metrics.chrf("abd", ["abc"]) == pytest.approx(share)
    assert metrics.chrf("abd", ["xyz", "abd"]) == 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (metrics._rouge, metrics._bleu, metrics._chrf):
        call.cache_clear()
    for name in ("rouge_score.rouge_scorer", "sacrebleu.metrics.bleu", "sacrebleu.metrics.chrf"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"rouge-score is needed .* 'llmrec\[eval\]'"):
        metrics.rouge_l("a", ["a"])
    with pytest.raises(MissingExtraError, match="sacrebleu is needed"):
        metrics.bleu(["a"], [["a"]])
    with pytest.raises(MissingExtraError, match="sacrebleu is needed"):
        metrics.chrf("a", ["a"])


def test_bad_references_are_named() -> None:
    with pytest.raises(InputError, match="the references are the text 'Heat': give a list"):
        metrics.token_f1("Heat", "Heat")
    with pytest.raises(InputError, match="there is no right answer to compare 'Heat' with"):
        metrics.rouge_l("Heat", [])
    with pytest.raises(InputError, match="there are 1 predictions and 2 references"):
        metrics.bleu(["Heat"], [["Heat"], ["Heat"]])
    with pytest.raises(InputError, match="there are 1 predictions and 0 references"):
        metrics.mean_of(metrics.token_f1, ["Heat"], [])


# Values that must stand in an answer.


@pytest.mark.parametrize(
    ("said", "value", "language", "held"),
    [
        ("It lasts 1 h 47.", "107", "en", True),
        ("Dura cento e sete minutos.", "107 minutos", "pt", True),
        ("It lasts 17 minutes.", "107", "en", False),
        ("By Jean-Pierre Jeunet.", "jean pierre jeunet", "en", True),
        ("By Jean-Pierre Jeunette.", "Jean-Pierre Jeunet", "en", False),
        ("Amelie", "Amélie", "pt", True),
        ("Apollo 13 is older.", "Apollo 13", "en", True),
        ("It is from 13 Apollo", "Apollo 13", "en", False),
        ("Yes, it is.", "yes", "en", True),
        ("It is, yes.", "yes", "en", False),
        ("Sí, es así.", "sí", "es", True),
        ("Si es así no lo dice.", "no", "es", False),
        ("No catálogo há dois.", "não", "pt", False),
        ("Não, foi outro.", "não", "pt", True),
        ("anything", "", "en", False),
    ],
)
def test_a_value_stands_in_an_answer(said: str, value: str, language: str, held: bool) -> None:
    assert metrics.holds(said, [value], language) is held
    assert metrics.holds(said, ["nowhere to be found", value], language) is held


def test_values_by_hand() -> None:
    said = "Robert De Niro and Al Pacino, in 1995."
    needed = [["Al Pacino"], ["Val Kilmer"], ["1995", "95"]]
    assert metrics.value_accuracy(said, needed, "en") == 2 / 3
    assert metrics.numeric_accuracy("1 h 47, of 1,999", ["107", "1999", "3"], "en") == 2 / 3
    assert metrics.polarity("Nope.", "en") is False
    assert metrics.polarity("Maybe yes.", "en") is None
    with pytest.raises(InputError, match="no value is needed"):
        metrics.value_accuracy(said, [], "en")
    with pytest.raises(InputError, match=r"the numbers needed are \['Heat'\]"):
        metrics.numeric_accuracy(said, ["Heat"], "en")


# Refusals.


def test_refusals_by_hand() -> None:
    made = metrics.refusals([True, True, True, False], [False, True, True, False])
    assert (made.precision, made.recall, made.n) == (1 / 3, 1 / 2, 4)
    assert made.f1 == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert metrics.refusals([False], [True]).to_dict() == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "n": 1,
    }
    with pytest.raises(InputError, match="there are 1 answers and 2 questions"):
        metrics.refusals([True], [True, False])


def test_refusals_against_sklearn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    dice = random.Random(3)
    for _ in range(20):
        said = [True, *(dice.random() < 0.4 for _ in range(30))]
        can = [False, *(dice.random() < 0.6 for _ in range(30))]
        p, r, f1, _ = sklearn.precision_recall_fscore_support(
            [not c for c in can], said, average="binary"
        )
        made = metrics.refusals(said, can)
        assert (made.precision, made.recall, made.f1) == pytest.approx((p, r, f1))
