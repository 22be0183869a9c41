"""Writing hides how one text comes about: which token is taken, held to what, shown when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from llmrec.errors import InputError, ModelError
from llmrec.models.base import FloatArray
from llmrec.models.chat import ChatTokenizer

__all__ = ["Picker", "Rule", "Text"]


class Picker:
    """Takes the next token of each text: the likeliest, or one by its own dice."""

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        self._temperature = temperature
        self._dice = [np.random.default_rng(s) for s in seeds]

    def __call__(self, row: int, scores: FloatArray, rule: Rule | None) -> int:
        scores = np.where(np.isnan(scores), -np.inf, scores)
        if rule is not None:
            scores = rule.masked(scores)
        if scores.max() == -np.inf:
            raise ModelError("the model gives no numbers to choose by: its weights are damaged")
        if self._temperature > 0:
            return int(
                (scores / self._temperature + self._dice[row].gumbel(size=len(scores))).argmax()
            )
        return int(scores.argmax())


class Rule:
    """A JSON schema that one text is held to; after ``soft`` tokens it is brought to its end."""

    def __init__(
        self,
        tokenizer: Any,
        token_bytes: tuple[bytes, ...],
        schema: Mapping[str, Any],
        max_new_tokens: int,
    ) -> None:
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(
            dict(schema),
            overrides={
                "whitespace_flexible": False,
                "item_separator": ", ",
                "key_separator": ": ",
            },
        )
        self._matcher = LLMatcher(tokenizer, grammar)
        if self._matcher.is_error():
            raise InputError(f"the schema cannot be used: {self._matcher.get_error()}")
        self._bytes = token_bytes
        self._closing = _closing(token_bytes)
        self._in_string = self._escaped = False
        self._soft, self._hard = max_new_tokens - max_new_tokens // 2, max_new_tokens + 1024
        self._taken = 0

    def masked(self, scores: FloatArray) -> FloatArray:
        """``scores`` with everything at -inf that the schema does not let follow."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        flags = np.unpackbits(bits, bitorder="little")[: len(scores)].astype(bool)
        scores = np.where(flags[: len(scores)], scores, -np.inf)
        if scores.max() == -np.inf:  # the model excludes all that is allowed: take any of it
            scores = np.where(flags, np.float32(0), np.float32(-np.inf))
        if self._taken >= self._soft:
            scores = scores + self._closing[int(self._in_string)]
        return scores

    def take(self, token: int) -> bool:
        """Take the token; whether the text is whole with it."""
        self._taken += 1
        if not self._matcher.consume_token(token) or self._taken >= self._hard:
            raise ModelError(
                f"no text that meets the schema came within {self._taken} tokens "
                f"({self._matcher.get_error() or 'it has no end'}): give the schema bounds"
            )
        for byte in self._bytes[token]:
            if byte == ord('"') and not self._escaped:
                self._in_string = not self._in_string
            self._escaped = byte == ord("\\") and not self._escaped
        return bool(self._matcher.is_stopped())


class Text:
    """Tokens to text, piece by piece: whole characters only, and nothing from a stop text on."""

    def __init__(self, chat: ChatTokenizer) -> None:
        self._tokenizer, self._stops = chat.tokenizer, chat.stops
        self._ids: list[int] = []
        self._special = set(chat.special.values())
        self._shown = self._read = 0
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that can be shown now."""
        if token not in self._special:
            self._ids.append(token)
        before = self._decoded(self._ids[self._shown : self._read])
        after = self._decoded(self._ids[self._shown :])
        if len(after) <= len(before) or after.endswith("�"):
            return ""
        self._shown, self._read = self._read, len(self._ids)
        return self._released(after[len(before) :])

    def rest(self) -> str:
        """What is still held back when the text is at its end."""
        before = self._decoded(self._ids[self._shown : self._read])
        left = self._released(self._decoded(self._ids[self._shown :])[len(before) :])
        held, self._held = self._held, ""
        return left + ("" if self.stopped else held)

    def _decoded(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text

    def _released(self, piece: str) -> str:
        if self.stopped:
            return ""
        text = self._held + piece
        for stop in self._stops:
            if stop in text:
                self.stopped, self._held = True, ""
                return text[: text.index(stop)]
        keep = max(
            (n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])),
            default=0,
        )
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


@lru_cache(maxsize=4)
def _closing(token_bytes: tuple[bytes, ...]) -> FloatArray:
    """What to add to scores to bring JSON to its end: outside and inside of a string, [2, ids]."""
    out = np.zeros((2, len(token_bytes)), dtype=np.float32)
    for i, text in enumerate(token_bytes):
        last = 1e4 if b"," in text else 2e4
        out[0, i] = last if text[:1] in (b"}", b"]", b",", b"") else 0
        out[1, i] = last if text[:1] == b'"' else 0
    return out
