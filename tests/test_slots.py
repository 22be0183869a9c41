from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.understanding import DEV, FOLDER, LANGUAGES, Labels, make_parser, normal
from llmrec.metrics.slots import SlotScore, f1_interval, pairs, score_slots
from llmrec.types import Item, Preferences


def test_pairs_leave_free_words_and_the_language_out() -> None:
    wanted = Preferences(
        genres=("Drama", "Crime"), year_min=1990, seen=("a",), text="x y", language="pt"
    )
    assert pairs(wanted) == {
        ("genres", "Drama"), ("genres", "Crime"), ("year_min", "1990"), ("seen", "a"),
    }  # fmt: skip
    assert pairs(Preferences()) == frozenset()


def test_a_case_counted_by_hand() -> None:
    cases = [
        # right: Drama, 1990. Missed: Crime. Wrong: Tom.
        (
            Preferences(genres=("Drama", "Crime"), year_min=1990),
            Preferences(genres=("Drama",), year_min=1990, people=("Tom",)),
        ),
        # all right
        (Preferences(genres=("Horror",)), Preferences(genres=("Horror",), text="free")),
        # nothing wanted, nothing predicted
        (Preferences(), Preferences(language="es")),
        # the right value in the wrong slot
        (Preferences(genres_out=("War",)), Preferences(genres=("War",))),
    ]
    total, by_slot = score_slots(cases)
    assert total == SlotScore(right=3, predicted=5, wanted=5, exact=2, n=4)
    assert (total.precision, total.recall, total.f1) == (3 / 5, 3 / 5, 3 / 5)
    assert list(by_slot) == ["genres", "genres_out", "people", "year_min"]
    assert by_slot["genres"] == SlotScore(right=2, predicted=3, wanted=3, exact=1, n=4)
    assert by_slot["year_min"] == SlotScore(right=1, predicted=1, wanted=1, exact=1, n=4)
    assert by_slot["people"] == SlotScore(right=0, predicted=1, wanted=0, exact=0, n=4)
    assert by_slot["people"].precision == 0
    assert by_slot["people"].recall == 1  # none was wanted
    assert by_slot["genres_out"].precision == 1  # none was predicted
    assert by_slot["genres_out"].recall == 0


def test_precision_and_recall_differ() -> None:
    total, _ = score_slots(
        [(Preferences(genres=("A",)), Preferences(genres=("A", "B", "C"), year_max=1999))]
    )
    assert (total.precision, total.recall, total.f1) == (1 / 4, 1.0, 2 / 5)


def test_no_cases_score_full() -> None:
    total, by_slot = score_slots([])
    assert (total.precision, total.recall, total.f1, total.n, by_slot) == (1, 1, 1, 0, {})


sets = st.builds(
    Preferences,
    genres=st.lists(st.sampled_from("ABC"), max_size=3).map(tuple),
    people=st.lists(st.sampled_from("ABC"), max_size=3).map(tuple),
    year_min=st.none() | st.sampled_from([1990, 2000]),
)


@given(st.lists(st.tuples(sets, sets), max_size=6))
def test_scores_add_up(cases: list[tuple[Preferences, Preferences]]) -> None:
    total, by_slot = score_slots(cases)
    assert sum(s.right for s in by_slot.values()) == total.right
    assert sum(s.predicted for s in by_slot.values()) == total.predicted
    assert sum(s.wanted for s in by_slot.values()) == total.wanted
    assert (
        0
        <= min(total.precision, total.recall)
        <= total.f1
        <= max(total.precision, total.recall)
        <= 1
    )
    swapped, _ = score_slots([(p, g) for g, p in cases])
    assert (swapped.precision, swapped.recall) == (total.recall, total.precision)
    perfect, _ = score_slots([(g, g) for g, _ in cases])
    assert (perfect.f1, perfect.exact) == (1, len(cases))


# -- the measurement that uses it ----------------------------------------------------------------


def test_two_words_of_one_wish_count_as_one() -> None:
    themes = Preferences(keywords=("funny", "heist"), keywords_out=("scary",))
    assert normal(themes) == Preferences(
        genres=("Comedy",), keywords=("heist",), genres_out=("Horror",)
    )
    assert normal(Preferences(genres=("War",))) == Preferences(genres=("War",))


def test_labels_are_titles_with_years() -> None:
    class Two:
        def __iter__(self) -> object:
            yield Item(id="a", title="Solaris", year=1972)
            yield Item(id="b", title="Solaris", year=2002)

    labels = Labels(Two())  # type: ignore[arg-type]
    assert labels.id("Solaris (1972)") == "a"
    assert labels.id("solaris (2002)") == "b"
    assert labels.id("Solaris (1999)") == "Solaris (1999)"
    assert labels.id("Nothing") == "Nothing"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_gold_answer_is_a_set_of_preferences(language: str) -> None:
    rows = [
        json.loads(line)
        for file in sorted(FOLDER.glob(f"*{language}.jsonl"))
        if not file.name.startswith(("questions", "routes"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    assert len(rows) > DEV
    assert len({r["id"] for r in rows}) == len(rows)
    for row in rows:
        Preferences.from_dict(row["gold"])
        assert row["messages"][-1]["role"] == "user"
        assert row["kind"] in ("phrasing", "natural")


def test_the_options_have_their_defaults() -> None:
    args = make_parser().parse_args([])
    assert (args.part, args.model) == ("test", None)
    with pytest.raises(SystemExit):
        make_parser().parse_args(["--part", "all"])


def test_the_interval_holds_the_value_and_narrows_with_more_cases() -> None:
    right = (Preferences(genres=("War",)), Preferences(genres=("War",)))
    wrong = (Preferences(genres=("War",)), Preferences(genres=("Drama",)))
    low, high = f1_interval([right, wrong] * 10)
    assert 0.2 < low < 0.5 < high < 0.8
    narrow = f1_interval([right, wrong] * 200)
    assert narrow[1] - narrow[0] < high - low
    assert f1_interval([right] * 5) == (1.0, 1.0)
