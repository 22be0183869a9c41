"""Answering hides how a question is answered from the catalogue, with its sources, or refused."""

from llmrec.answering.answerer import MIN_SIMILARITY, Answerer

__all__ = ["MIN_SIMILARITY", "Answerer"]
