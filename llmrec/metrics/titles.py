"""Titles hides how written titles are counted by the tier at which a catalogue has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import get_args

from llmrec.errors import InputError
from llmrec.titles import Tier, TitleIndex

__all__ = ["count_tiers", "title_index"]


def title_index(
    titles: Sequence[str | Sequence[str]], years: Sequence[int | None] | None = None
) -> TitleIndex:
    """An index of a catalogue's titles.

    Parameters
    ----------
    titles: of each item its title, or all of its titles with the main one first.

    Raises
    ------
    InputError: there are not as many years as titles.
    """
    if years is not None and len(years) != len(titles):
        raise InputError(
            f"there are {len(titles)} titles and {len(years)} years: give one (or None) for each"
        )
    return TitleIndex([[t] if isinstance(t, str) else t for t in titles], years)


def count_tiers(written: Sequence[Sequence[str]], index: TitleIndex) -> dict[str, int]:
    """How many of the titles that were written match at each tier; "none": not in the catalogue.

    Raises
    ------
    InputError: an example is a text instead of a list of titles.
    """
    for names in written:
        if isinstance(names, str):
            raise InputError(f"an example holds {names!r} where a list of titles is wanted")
    found = Counter(m.tier for m in index.match_many(chain.from_iterable(written)))
    return {tier: found[tier] for tier in get_args(Tier)}
