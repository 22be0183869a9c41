"""LanguageModel and ScoringModel: what llmrec asks of a language model; how it is run is hidden.

A LanguageModel writes text. A ScoringModel also says how likely a text is: its tokens hang as a
tree on a prompt that is run once, which is what ranking titles needs. Endpoints are the first
kind, local models both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from llmrec.types import Message

__all__ = [
    "FloatArray",
    "Forest",
    "Growth",
    "IntArray",
    "LanguageModel",
    "Prefix",
    "ScoringModel",
    "nothing",
]

_T = TypeVar("_T")
IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]


class LanguageModel(Protocol):
    """Something that goes on with a conversation."""

    @property
    def name(self) -> str:
        """What to show the user."""
        ...

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int = 256,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """The assistant's next turn for each of the conversations.

        schema: a JSON schema, which the text then surely meets.
        temperature: 0 takes the likeliest token; above, prompt i is sampled with ``seed + i``.
        """
        ...

    def stream(
        self,
        prompt: Sequence[Message],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """What ``generate`` would give, piece by piece; closing the iterator stops the model."""
        ...


class Growth(NamedTuple):
    """What to add to the tree of one prompt, and what to tell of it.

    tokens, parents: int32 [n], the nodes to add; a parent is the index of an earlier node of this
        prompt (counted over all calls), or -1 for the prompt's end.
    nodes, nexts: int32 [m], the log-probabilities wanted: of token ``nexts[j]`` right after the
        node ``nodes[j]``, which counts the nodes of this growth from 0.
    kept: whether more may hang on these nodes later; else they are not counted.
    """

    tokens: IntArray
    parents: IntArray
    nodes: IntArray
    nexts: IntArray
    kept: bool = True


_EMPTY = np.zeros(0, dtype=np.int32)
nothing = Growth(_EMPTY, _EMPTY, _EMPTY, _EMPTY)


class Forest(Protocol):
    """Several prompts, each run once, and the trees of continuations that hang on them."""

    @property
    def logprobs(self) -> FloatArray:
        """float32 [prompts, vocabulary]: what follows each prompt; unused ids are -inf."""
        ...

    @property
    def room(self) -> int:
        """How many nodes a prompt should be given in one call, whatever the others are given."""
        ...

    def extend(self, growths: Sequence[Growth]) -> list[FloatArray]:
        """Add nodes to each prompt's tree, in few forwards; float32 [m] for each, as it asked.

        Where it raises, the trees are as they were.
        """
        ...

    def keep(self, prompts: Sequence[int]) -> None:
        """Go on with some of the prompts only: their places now, in the order they shall have."""
        ...

    def join(self, other: Any) -> None:
        """Go on with the prompts of another forest of this model as well; they come last."""
        ...


class Prefix(Protocol):
    """One prompt, run once, that tree-shaped continuations hang on."""

    @property
    def logprobs(self) -> FloatArray:
        """float32 [vocabulary]: what follows the prompt; unused ids are -inf."""
        ...

    def extend(self, tokens: IntArray, parents: IntArray) -> FloatArray:
        """Add nodes in one forward; float32 [n, vocabulary]: what follows each of them.

        parents: as in ``Growth``.
        """
        ...


class ScoringModel(LanguageModel, Protocol):
    """A language model whose probabilities can be asked for."""

    @property
    def fingerprint(self) -> str:
        """Changes when the tokenizer does."""
        ...

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn."""
        ...

    @property
    def token_bytes(self) -> Sequence[bytes]:
        """The bytes of each token id; empty for special and unused ids."""
        ...

    def encode(self, text: str) -> list[int]:
        """The tokens of ``text`` as it stands inside a longer text; no special tokens added."""
        ...

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` for each of the texts, fast."""
        ...

    def prompt_ids(self, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """The tokens of a conversation up to the assistant's turn, and of its words so far."""
        ...

    def prefill(self, prompt: Sequence[int]) -> Prefix:
        """Run one prompt."""
        ...

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Forest:
        """Run several prompts together."""
        ...

    def run(self, task: Callable[..., _T], *args: Any, **options: Any) -> _T:
        """What ``task(model, *args, **options)`` returns, worked out where the model is.

        Whoever prefills does so in such a task. It is a function of a module, and what it takes
        and gives can be pickled: the model may stand in another process.
        """
        ...
