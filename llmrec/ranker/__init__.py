"""Ranker hides how many signals of a conversation become one ranking, learned from dialogues."""

from __future__ import annotations

from llmrec.ranker.learned import LearnedRanker, Ranked

__all__ = ["LearnedRanker", "Ranked"]
