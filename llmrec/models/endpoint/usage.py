"""Usage hides how tokens, requests, time and money are counted over threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

__all__ = ["Meter", "Usage"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Usage:
    """What was used so far, as the server counts it.

    Attributes
    ----------
    requests: failed ones count as well; questions about the server itself do not, unless nothing
        can be asked without their answer. retries: how many of these were sent again.
    cached_tokens: of the prompt's, those the server had computed before, where it tells.
    seconds: for which requests were waited for, added up over all that were under way together.
    cost: of the tokens, in the currency of the price; None without a price. Cached tokens cost
        as much as others.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0
    retries: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0
    cost: float | None = None


class Meter:
    """Adds up, from several threads.

    Parameters
    ----------
    price: of a million tokens read, and of a million written.
    """

    def __init__(self, price: tuple[float, float] | None) -> None:
        self._price = price
        self._usage = Usage()
        self._lock = threading.Lock()

    @property
    def usage(self) -> Usage:
        """What was counted so far."""
        with self._lock:
            used = self._usage
        if self._price is None:
            return used
        read, written = self._price
        cost = (read * used.prompt_tokens + written * used.completion_tokens) / 1e6
        return replace(used, cost=cost)

    def sent(self, *, again: bool) -> None:
        """One more request."""
        self._add(requests=1, retries=int(again))

    def told(self, answer: Mapping[str, Any]) -> None:
        """What an answer, or the last piece of a stream, says of its tokens."""
        usage = answer.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        self._add(
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            cached_tokens=details.get("cached_tokens") or 0,
        )

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Takes the time that a request is waited for."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._add(seconds=time.monotonic() - began)

    def each(self, pieces: Iterator[_T]) -> Iterator[_T]:
        """The pieces of a stream, each of them waited for."""
        end = object()
        while True:
            with self.waiting():
                piece = next(pieces, end)
            if piece is end:
                return
            yield piece  # type: ignore[misc]

    def _add(self, **amounts: float) -> None:
        with self._lock:
            sums = {name: getattr(self._usage, name) + n for name, n in amounts.items()}
            self._usage = replace(self._usage, **sums)
