"""Scoring hides how the titles of many leaves are scored in few forwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from llmrec.decoding.measure import Scores
from llmrec.models.base import FloatArray, Growth, IntArray, nothing
from llmrec.trie import Subtree, TitleTrie

__all__ = ["Scoring"]


class Scoring:
    """The log-probability of some leaves' titles after one prompt: a task of ``shared_run``.

    Parameters
    ----------
    leaves: ascending, without repeats.

    Attributes
    ----------
    logprobs: float64 [leaves], when it is over.
    forwards, fed: what it took, beside the prompt.
    """

    def __init__(self, prompt: Sequence[int], trie: TitleTrie, leaves: IntArray) -> None:
        self.prompt = prompt
        self.trie, self.leaves = trie, leaves
        self.logprobs = np.zeros(len(leaves))
        self.forwards = self.fed = 0
        self._left: deque[IntArray] | None = None
        self._done = 0
        self._tree = Subtree(_NONE, _NONE, _NONE)

    def start(self, logprobs: FloatArray) -> None:
        """Begin with what follows the prompt, float32 [vocabulary]."""
        self._first = logprobs

    def propose(self, room: int) -> Growth:
        """The next titles as a tree; no tokens when all are scored."""
        if self._left is None:
            self._left = deque(_chunks(self.trie, self.leaves, room))
        while self._left:
            self._tree = self.trie.subtree(self._left.popleft())
            growth = _asked(self._tree)
            if len(growth.tokens):
                self.forwards += 1
                self.fed += len(growth.tokens)
                return growth
            self.accept(np.zeros(0, dtype=np.float32))  # titles of one token each
        return nothing

    def accept(self, values: FloatArray) -> None:
        """Take the log-probabilities that the last proposal asked for."""
        tokens, parents, ends = self._tree
        own = self._first[tokens]
        own[parents >= 0] = values
        self.logprobs[self._done : self._done + len(ends)] = _along_paths(parents, own)[ends]
        self._done += len(ends)


_NONE = np.zeros(0, dtype=np.int32)


def _chunks(trie: TitleTrie, leaves: IntArray, room: int) -> list[IntArray]:
    """Neighbouring leaves in groups of about ``room`` tokens."""
    if not len(leaves):
        return []
    group = np.cumsum(trie.lengths[leaves] - 1) // room
    return np.split(leaves, np.flatnonzero(np.diff(group)) + 1)


def _asked(tree: Subtree) -> Growth:
    """What to feed so that each node's own probability is known: the nodes that have children."""
    fed = np.zeros(len(tree.tokens) + 1, dtype=bool)
    fed[tree.parents] = True
    fed = fed[:-1]
    number = np.append(np.cumsum(fed) - 1, -1).astype(np.int32)  # the last is the parent -1
    up = tree.parents
    below = up >= 0
    return Growth(
        tree.tokens[fed], number[up[fed]], number[up[below]], tree.tokens[below], kept=False
    )


def _along_paths(parents: IntArray, own: FloatArray) -> Scores:
    """The sum of ``own`` from the root to each node; parents stand before their children."""
    total = own.astype(np.float64)
    up = parents.astype(np.int64)
    # Doubling: after step s, each node holds the sum of its last 2^s tokens.
    while (up >= 0).any():
        on = up >= 0
        at = up[on]
        total[on] += total[at]
        up[on] = up[at]
    return total
