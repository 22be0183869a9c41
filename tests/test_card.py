"""The model card says what was recorded, and nothing else."""

from __future__ import annotations

from typing import Any

from llmrec.training.card import embedded_card

RECORD: dict[str, Any] = {
    "parameters": 1_900_000,
    "config": {
        "layers": 4,
        "hidden": 160,
        "vocabulary": 4096,
        "learning_rate": 0.002,
        "tokens_per_batch": 2048,
        "seed": 20,
        "minutes": 62.0,
        "threads": 1,
    },
    "cost": {"steps": 11_732, "tokens": 22_700_000, "minutes": 62.0},
    "measured": {
        "messages": 600,
        "marks": 1476,
        "role_accuracy": 0.789,
        "default_role_accuracy": 0.621,
        "later_turns": 202,
        "turn_accuracy": 0.812,
    },
}
ROW = {
    "kind": "natural",
    "language": "all",
    "lead": "rules-only",
    "n": 235,
    "precision": 0.687,
    "recall": 0.803,
    "f1": 0.74,
    "interval": [0.709, 0.77],
}


def test_cost_and_quality_stand_on_the_card() -> None:
    card = embedded_card(RECORD, [ROW, {**ROW, "language": "pt", "f1": 0.999}], "rules")
    assert card.startswith("---\nlanguage: [en, pt, es]")
    for said in ("1.9 million", "11,732 steps", "22.7 million tokens", "78.9%", "62.1%", "81.2%"):
        assert said in card
    row = "| natural | 235 | lexicon and rules alone | 0.687 | 0.803 | 0.740 | 0.709 to 0.770 |"
    assert row in card
    assert "0.999" not in card  # one row per kind: all languages together
    assert "uses “rules, this model fills their gaps”" in card


def test_without_figures_there_is_no_table() -> None:
    card = embedded_card(RECORD, [], "rules")
    assert "who decides" not in card
    assert "## Limits" in card
