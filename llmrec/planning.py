"""Planner hides which items of a catalogue are candidates, and which wishes had to be given up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmrec.preferences import Understood
from llmrec.prompting import Strategy
from llmrec.relaxing import checkable, given_up
from llmrec.signals import Signals
from llmrec.types import Conversation, Item, Preferences
from llmrec.wishes import Things, Wish, wishes, without

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["Plan", "Planner"]


@dataclass(frozen=True)
class Plan:
    """What may be recommended in a conversation.

    Attributes
    ----------
    asked: the hard wishes that the catalogue can be asked for. relaxed: of these, given up, as
        nothing met all. unchecked: about facts that the catalogue does not give.
    rows: int32, the candidates.
    excluded: ids of items that are none, whatever they meet: seen, disliked, shown or named.
    again: whether what was shown before is shown again, as nothing else is left.
    strategy: how the model is asked; None: as it always is. listed: candidates named to it.
    """

    conversation: Conversation
    preferences: Preferences
    asked: tuple[Wish, ...]
    relaxed: tuple[Wish, ...]
    rows: npt.NDArray[np.int32]
    excluded: frozenset[str]
    unchecked: tuple[Wish, ...] = ()
    again: bool = False
    strategy: Strategy | None = None
    listed: tuple[Item, ...] = ()


class Planner:
    """Finds the candidates of a conversation.

    Parameters
    ----------
    things: what the catalogue holds.
    signals: over the same catalogue.
    """

    def __init__(self, catalog: Catalog, things: Things, signals: Signals) -> None:
        self._catalog = catalog
        self._things = things
        self._signals = signals

    def __call__(self, conversation: Conversation, understood: Understood, repeat: bool) -> Plan:
        """The plan of what was understood.

        Parameters
        ----------
        repeat: whether items already shown or named may come again.
        """
        p = understood.preferences
        unwanted = {*p.seen, *p.dislikes, *conversation.seen, *conversation.disliked}
        named = {*p.likes, *p.similar_to, *conversation.liked}
        for marked in understood.marked if self._things == "films" else ():
            named |= {v for s in marked.spans if s.kind == "title" for v in s.values[:1]}
        tiers = [unwanted if repeat else unwanted | named | {*conversation.mentioned}]
        if self._things == "products" and not repeat and conversation.mentioned:
            tiers.append(unwanted | named)  # of one kind of product there may be few
        asked, unchecked = checkable(wishes(p), self._catalog.known)
        fitting = self._fitting(p)
        relaxed: tuple[Wish, ...] = ()
        for ease, out in itertools.product((False, True), tiers):
            excluded = frozenset(out)
            if ease and asked:
                relaxed = given_up(self._catalog, asked, excluded, understood.doubtful, fitting)
            rows = self._meeting(p, unchecked + relaxed, excluded, fitting)
            if rows.size:
                break
        again = bool(rows.size) and out is not tiers[0]
        return Plan(conversation, p, asked, relaxed, rows, excluded, unchecked, again)

    def narrowing(self, plan: Plan) -> list[int]:
        """How many items are left with none of a plan's wishes met, with the first, with two ..."""
        fitting = self._fitting(plan.preferences)
        return [
            self._meeting(
                plan.preferences, plan.asked[n:] + plan.unchecked, plan.excluded, fitting
            ).size
            for n in range(len(plan.asked) + 1)
        ]

    def _meeting(
        self,
        preferences: Preferences,
        dropped: Sequence[Wish],
        excluded: frozenset[str],
        fitting: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.int32]:
        for w in dropped:
            preferences = without(preferences, w)
        rows = self._catalog.filter(preferences, exclude=tuple(sorted(excluded)))
        return rows if fitting is None else rows[fitting[rows]]

    def _fitting(self, p: Preferences) -> npt.NDArray[np.bool_] | None:
        """Of products, by row, which share a word with what was asked for; None: all will do."""
        if self._things == "films":
            return None
        fits = self._signals.words(p.text) > 0 if p.text else None
        if fits is not None and (p.genres or p.genres_any or p.people or p.people_any):
            unchecked = checkable(wishes(p), self._catalog.known)[1]
            if not self._meeting(p, unchecked, frozenset(), fits).size:
                fits = None  # a genre or a person is wish enough: the words only order
        if p.similar_to or (p.likes and fits is None):
            alike = self._signals.alike(p.similar_to + p.likes) > 0
            fits = alike if fits is None else fits | alike
        return fits
