"""Evaluation hides how recommenders are run over examples, and how what they say becomes figures.

``options`` says what is run, ``systems`` what is asked, ``running`` writes the run folder
(``predictions`` its lines); ``rankings`` is the model's own ranking alone, for training.
"""

from llmrec.evaluation.rankings import Recall, model_rankings, popular_rankings, recall

__all__ = ["Recall", "model_rankings", "popular_rankings", "recall"]
