"""Asking hides how a model that writes is asked for clarifications and paraphrases, and is read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmrec.types import Conversation, Message

__all__ = ["clarify_prompt", "paraphrase_prompt", "parse_clarifications", "parse_paraphrases"]

_LANGUAGES = {"en": "English", "pt": "Brazilian Portuguese", "es": "Spanish"}
_CLARIFY = """\
A user asks a film recommender what follows. Say {n} different things that the user may have in \
mind and has not said: a genre, a mood, years, people, whom the film is for. Write each as one \
short sentence in {language}, in the user's own words ("I ..."), as a numbered list and nothing \
else. Contradict nothing that was said."""
_PARAPHRASE = """\
Write the user's message in {n} other ways, in {language}, as a numbered list and nothing else, \
each on one line. Keep what it means, and every name, title, year and number as it stands."""
_ENTRY = re.compile(r"^\s*(?:\d{1,3}\s*[.)\]:-]|[-*•])\s*(\S.*?)\s*$", re.MULTILINE)
_MAX_CHARS = 200  # a clarification is short; longer lines are something else


def clarify_prompt(conversation: Conversation, n: int, language: str) -> tuple[Message, ...]:
    """Ask what the user may have left unsaid, in ``n`` ways."""
    said = "\n".join(m.content for m in conversation.messages if m.role == "user")
    system = _CLARIFY.format(n=n, language=_LANGUAGES[language])
    return (Message("system", system), Message("user", said))


def parse_clarifications(text: str, n: int) -> list[str]:
    """The sentences of an answer to ``clarify_prompt``: short list entries, each once."""
    return list(dict.fromkeys(e for e in _ENTRY.findall(text) if len(e) <= _MAX_CHARS))[:n]


def paraphrase_prompt(message: str, n: int, language: str) -> tuple[Message, ...]:
    """Ask for a message in ``n`` other ways."""
    system = _PARAPHRASE.format(n=n, language=_LANGUAGES[language])
    return (Message("system", system), Message("user", message))


def parse_paraphrases(text: str, message: str, n: int, keep: Sequence[str]) -> list[str]:
    """The messages of an answer to ``paraphrase_prompt``, each once.

    Parameters
    ----------
    message: what was paraphrased; it is no paraphrase of itself.
    keep: names and numbers of it; an entry that has lost one says something else and is left out.
    """
    told = [k.casefold() for k in keep]
    entries = dict.fromkeys(_ENTRY.findall(text))
    whole = [e for e in entries if all(k in e.casefold() for k in told)]
    return [e for e in whole if e.strip() != message.strip()][:n]
