"""Ranking and GroundedList hide how a model is held to the titles of a trie, and fail closed.

``rank_titles`` finds a prompt's k likeliest titles by best-first search, exactly;
``score_titles`` scores each title asked for. Whoever asks a model meanwhile shares its forwards.
``GroundedList`` keeps the entries of lists inside free text to the titles. Where the model gives
no usable probability, a title is dropped and counted; nothing ever opens the trie.
"""

from llmrec.decoding.grounded import GroundedList
from llmrec.decoding.measure import Normalise, Ranking
from llmrec.decoding.ranking import rank_titles, score_titles, title_trie

__all__ = [
    "GroundedList",
    "Normalise",
    "Ranking",
    "rank_titles",
    "score_titles",
    "title_trie",
]
