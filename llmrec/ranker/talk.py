"""Talk hides what a ranker reads of a conversation, and which training cases a dialogue holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmrec.ranker.words import tokens
from llmrec.types import Conversation, Example

__all__ = ["CONTEXT", "Case", "Talk", "cases_of"]

CONTEXT = 8  # numbers that tell what kind of conversation it is


@dataclass(frozen=True)
class Talk:
    """What was said, in words, and the items that were named, as rows.

    Attributes
    ----------
    user, assistant: the words of each of their turns. last: the words of the last two turns.
    named: each mention of a known item in order: its row, whether the user named it, and in
        which turn from the end (0 is the last).
    turns: how many there were.
    """

    user: tuple[tuple[str, ...], ...]
    assistant: tuple[tuple[str, ...], ...]
    last: tuple[str, ...]
    named: tuple[tuple[int, bool, int], ...]
    turns: int

    @classmethod
    def of(
        cls, conversation: Conversation, row_of: Mapping[str, int], named: Iterable[str] = ()
    ) -> Talk:
        """Read a conversation.

        Parameters
        ----------
        row_of: the row of each known item; others are passed over.
        named: items that its messages do not mark but the user is known to have named.
        """
        user: list[tuple[str, ...]] = []
        assistant: list[tuple[str, ...]] = []
        mentions: list[tuple[int, bool, int]] = []
        n = len(conversation.messages)
        words: tuple[str, ...] = ()
        last: tuple[str, ...] = ()
        for i, m in enumerate(conversation.messages):
            words, before = tuple(tokens(m.content)), words
            last = before + words
            (user if m.role == "user" else assistant).append(words)
            mentions += [(row_of[x], m.role == "user", n - 1 - i) for x in m.items if x in row_of]
        marked = {row for row, _, _ in mentions}
        more = (*conversation.liked, *named)
        mentions += [
            (row_of[x], True, 0)
            for x in dict.fromkeys(more)
            if row_of.get(x, -1) not in marked and x in row_of
        ]
        return cls(tuple(user), tuple(assistant), last, tuple(mentions), n)

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """The rows named, ascending, each once."""
        return np.unique(np.array([row for row, _, _ in self.named], dtype=np.int32))

    def context(self) -> npt.NDArray[np.float32]:
        """Float32 [CONTEXT]: how much was said and named, which decides what signals are worth."""
        n = len({row for row, _, _ in self.named})
        words = sum(map(len, self.user))
        kinds = (n == 0, n == 1, n == 2, n >= 3, n >= 6)
        amounts = (min(self.turns, 12) / 6, np.log1p(words) / 4, np.log1p(n))
        return np.array([*kinds, *amounts], dtype=np.float32)


@dataclass(frozen=True)
class Case:
    """A talk, and what was recommended next.

    Attributes
    ----------
    wanted: rows of the items that came next. new: those of them not named before.
    dialogue: which it is of. said: whether the user named them, and no one recommended them.
    """

    talk: Talk
    wanted: tuple[int, ...]
    new: tuple[int, ...]
    dialogue: str
    said: bool = False


def cases_of(examples: Sequence[Example], row_of: Mapping[str, int]) -> list[Case]:
    """The cases of examples; and of each dialogue the turns in which the user named items.

    What a user goes on to name tells nearly as much of what goes together as what is recommended.
    """
    out: list[Case] = []
    longest: dict[str, Conversation] = {}
    for n, e in enumerate(examples):
        dialogue = e.dialogue or e.id or str(n)
        out += _case(e.conversation, e.relevant, dialogue, row_of, said=False)
        if len(e.conversation.messages) > len(longest.get(dialogue, Conversation()).messages):
            longest[dialogue] = e.conversation
    for dialogue, whole in longest.items():
        for i, m in enumerate(whole.messages):
            if m.role == "user" and m.items:
                before = Conversation(whole.messages[:i], language=whole.language)
                out += _case(before, m.items, dialogue, row_of, said=True)
    return out


def _case(
    conversation: Conversation,
    relevant: Sequence[str],
    dialogue: str,
    row_of: Mapping[str, int],
    *,
    said: bool,
) -> list[Case]:
    talk = Talk.of(conversation, row_of)
    wanted = tuple(dict.fromkeys(row_of[x] for x in relevant if x in row_of))
    known = {row for row, _, _ in talk.named}
    new = tuple(row for row in wanted if row not in known)
    return [Case(talk, wanted, new, dialogue, said)] if new or (wanted and not said) else []
