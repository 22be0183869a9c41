"""ScriptedModel hides nothing: a deterministic model for tests, which says what it is told to.

Its tokens are the bytes of UTF-8 and one end of turn, so any text can be encoded. What it writes
comes from a script; what it finds likely from a seed, from a table of favourite titles, or from a
function.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from llmrec.errors import ModelError
from llmrec.models.base import FloatArray, Growth, IntArray
from llmrec.types import Message

__all__ = ["Call", "ScriptedModel", "simplest"]

_T = TypeVar("_T")
END = 256
VOCABULARY = 260  # the last three ids are padding, as real models have it
_FAITH = 1 - 1e-6  # how much of the probability goes to the favourites

Scores = Callable[[tuple[int, ...]], npt.ArrayLike]
Replies = str | Sequence[str] | Callable[[Sequence[Message]], str] | None
Favourites = Mapping[str, float]


@dataclass(frozen=True)
class Call:
    """One thing that was asked of the model."""

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None
    temperature: float


class ScriptedModel:
    """A language model that needs neither weights nor torch.

    Parameters
    ----------
    replies: what ``generate`` and ``stream`` say: one text always, texts in turn, or a function of
        the messages. None: "OK.", or the simplest value that meets the schema.
    likes: titles and their weights; ``rank_titles`` then finds them in the order of their weights.
        May be a function of the prompt's text.
    scores: a function from the tokens so far (prompt and path) to logits [VOCABULARY]; NaN and
        infinities are passed on. None: random, but always the same for the same tokens and seed.
    terminator: what ends an entry, where ``likes`` is given.
    calls: everything asked of ``generate`` and ``stream``, in order.

    >>> ScriptedModel(["One.", "Two."]).generate([[Message("user", "Count.")]])
    ['One.']
    """

    fingerprint = "utf-8 bytes"
    end_ids = (END,)
    token_bytes: tuple[bytes, ...] = (*(bytes([i]) for i in range(256)), b"", b"", b"", b"")

    def __init__(
        self,
        replies: Replies = None,
        *,
        likes: Favourites | Callable[[str], Favourites] | None = None,
        scores: Scores | None = None,
        seed: int = 0,
        terminator: str = "\n",
        name: str = "scripted",
    ) -> None:
        self.name = name
        self.calls: list[Call] = []
        self._replies = replies
        self._likes = likes
        self._scores = scores
        self._seed = seed
        self._terminator = terminator
        self._said = 0
        self._lock = threading.Lock()

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int = 256,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """The next replies of the script.

        Raises
        ------
        ModelError: the script is at its end.
        """
        return [self._reply(p, schema, temperature) for p in prompts]

    def stream(
        self,
        prompt: Sequence[Message],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """The next reply of the script, word by word."""
        for i, word in enumerate(self._reply(prompt, None, temperature).split(" ")):
            yield " " * (i > 0) + word

    def _reply(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None, temperature: float
    ) -> str:
        with self._lock:
            self.calls.append(Call(tuple(messages), schema, temperature))
            said, self._said = self._said, self._said + 1
        if self._replies is None:
            return "OK." if schema is None else json.dumps(simplest(schema))
        if isinstance(self._replies, str):
            return self._replies
        if callable(self._replies):
            return self._replies(messages)
        if said >= len(self._replies):
            raise ModelError(
                f"the script has {len(self._replies)} replies and one more was asked for: "
                "give more, or one text that is always said"
            )
        return self._replies[said]

    def encode(self, text: str) -> list[int]:
        """The bytes of ``text``; the end of turn is written ``<end>``."""
        parts = [list(part.encode()) for part in text.split("<end>")]
        return [t for i, part in enumerate(parts) for t in ([END] if i else []) + part]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` for each of the texts."""
        return [self.encode(t) for t in texts]

    def prompt_ids(self, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """The messages one to a line, then ``assistant:`` and the prefix."""
        lines = [f"{m.role}: {m.content}\n" for m in messages]
        return self.encode("".join(lines) + "assistant:" + prefix)

    def prefill(self, prompt: Sequence[int]) -> _Tree:
        """Run one prompt."""
        return _Tree(self, tuple(prompt))

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> _Forest:
        """Run several prompts."""
        return _Forest([self.prefill(p) for p in prompts])

    def run(self, task: Callable[..., _T], *args: Any, **options: Any) -> _T:
        """The task, right here."""
        return task(self, *args, **options)

    def logprobs_after(self, prompt: tuple[int, ...], path: tuple[int, ...]) -> FloatArray:
        """float32 [VOCABULARY]: what follows the path after the prompt."""
        if self._scores is not None:
            logits = np.asarray(self._scores(prompt + path), dtype=np.float64)
        else:
            # Only the last tokens count: deterministic, quick, and different after each path.
            salt = hash((self._seed, prompt[-32:], path))
            logits = np.random.default_rng(salt & 0xFFFFFFFF).normal(0, 2, VOCABULARY)
        probs = _softmax(logits)
        if self._likes is not None:
            liked = self._liked(prompt, path)
            if liked.any():
                probs = _FAITH * liked / liked.sum() + (1 - _FAITH) * probs
        with np.errstate(divide="ignore"):
            return np.log(probs).astype(np.float32)

    def _liked(self, prompt: tuple[int, ...], path: tuple[int, ...]) -> npt.NDArray[np.float64]:
        likes = self._likes
        text = bytes(t for t in prompt if t < END).decode(errors="replace")
        out = np.zeros(VOCABULARY)
        for title, weight in (likes(text) if callable(likes) else likes or {}).items():
            entry = self.encode(f" {title}{self._terminator}")
            if tuple(entry[: len(path)]) == path and len(entry) > len(path):
                out[entry[len(path)]] += weight
        return out


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logits = logits.copy()
    logits[END + 1 :] = -np.inf
    with np.errstate(invalid="ignore", over="ignore"):
        weights: npt.NDArray[np.float64] = np.exp(logits - logits.max())
        return np.asarray(weights / weights.sum())


class _Tree:
    def __init__(self, model: ScriptedModel, prompt: tuple[int, ...]) -> None:
        self._model, self._prompt = model, prompt
        self._paths: list[tuple[int, ...]] = []
        self.logprobs = model.logprobs_after(prompt, ())

    def extend(self, tokens: IntArray, parents: IntArray) -> FloatArray:
        out = np.zeros((len(tokens), VOCABULARY), dtype=np.float32)
        for i, (token, parent) in enumerate(zip(tokens.tolist(), parents.tolist(), strict=True)):
            path = (*(self._paths[parent] if parent >= 0 else ()), token)
            self._paths.append(path)
            out[i] = self._model.logprobs_after(self._prompt, path)
        return out

    def grow(self, growth: Growth) -> FloatArray:
        made = len(self._paths)
        after = self.extend(growth.tokens, growth.parents)
        if not growth.kept:
            del self._paths[made:]
        return np.asarray(after[growth.nodes, growth.nexts])


class _Forest:
    room = 1024

    def __init__(self, trees: list[_Tree]) -> None:
        self._trees = trees

    @property
    def logprobs(self) -> FloatArray:
        return np.stack([t.logprobs for t in self._trees])

    def extend(self, growths: Sequence[Growth]) -> list[FloatArray]:
        return [t.grow(g) for t, g in zip(self._trees, growths, strict=True)]

    def keep(self, prompts: Sequence[int]) -> None:
        self._trees = [self._trees[p] for p in prompts]

    def join(self, other: _Forest) -> None:
        self._trees = self._trees + other._trees


def simplest(schema: Mapping[str, Any]) -> Any:
    """The smallest value that meets a JSON schema of the plain kind that llmrec uses."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return simplest(schema[key][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: simplest(properties.get(name, {})) for name in schema.get("required", ())}
    if kind == "array":
        return [simplest(schema.get("items", {}))] * int(schema.get("minItems", 0))
    if kind == "string":
        return "x" * int(schema.get("minLength", 0))
    if kind in ("integer", "number"):
        return max(int(schema.get("minimum", 0)), 0)
    return False if kind == "boolean" else None
