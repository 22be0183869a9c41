"""Modelfile hides how a chat template of Jinja becomes one of Ollama, checked by probing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmrec.errors import ModelError
from llmrec.models.chat import ChatTokenizer
from llmrec.types import Message

__all__ = ["Turns", "modelfile"]

# What generation_config.json says, and what Ollama calls it.
_PARAMETERS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "max_new_tokens": "num_predict",
}
_ANSWERED = (Message("user", "Uone"), Message("assistant", "Aone"), Message("user", "Utwo"))
_LONGER = (*_ANSWERED, Message("assistant", "Three, 3."), Message("user", "E a quarta? 4"))
_SYSTEM = Message("system", "Sone")


@dataclass(frozen=True)
class Turns:
    """What a chat template writes around the messages of a conversation.

    Attributes
    ----------
    head: before the first user message, where there is no system message.
    system_head, system_end: before the system message, and between it and the user's.
    answer: between a user message and the assistant's. again: from there to the next user's.
    tail: behind the last user message, up to where the model goes on.
    """

    head: str
    system_head: str
    system_end: str
    answer: str
    again: str
    tail: str

    @classmethod
    def of(cls, chat: ChatTokenizer) -> Turns | None:
        """Find them by rendering sentinels; None where they do not give the template's own text.

        Probed are conversations of one to three user messages, with a system message and without.
        """
        try:
            plain, with_system = (
                _between(chat.prompt_text(m), [x.content for x in m])
                for m in (_ANSWERED, (_SYSTEM, _ANSWERED[0]))
            )
            if plain is None or with_system is None:
                return None
            head, answer, again, tail = plain
            system_head, system_end, _ = with_system
            turns = cls(head, system_head, system_end, answer, again, tail)
            probes = [c[:n] for c in (_LONGER, (_SYSTEM, *_LONGER)) for n in range(1, len(c) + 1)]
            asking = [p for p in probes if p[-1].role == "user"]
            return turns if all(turns.render(p) == chat.prompt_text(p) for p in asking) else None
        except ModelError:  # the template refuses ordinary conversations
            return None

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt of a conversation: a system message or none, then user and assistant."""
        system = messages[0].content if messages[0].role == "system" else ""
        text = self.system_head + system + self.system_end if system else self.head
        first, *others = messages[1:] if system else messages
        text += first.content
        for m in others:
            text += (self.again if m.role == "user" else self.answer) + m.content
        return text + self.tail

    def go(self, begin: str = "") -> str:
        """The same as a template of Ollama.

        Parameters
        ----------
        begin: the text of the token that llama.cpp puts before every prompt itself.
        """
        head, system_head = (
            _literal(text.removeprefix(begin)) for text in (self.head, self.system_head)
        )
        return (
            '{{ $system := .System }}{{ $last := "" }}{{ range .Messages }}{{ if eq .Role "user" }}'
            f"{{{{ if $last }}}}{_literal(self.again)}{{{{ else if $system }}}}{system_head}"
            f"{{{{ $system }}}}{_literal(self.system_end)}{{{{ else }}}}{head}{{{{ end }}}}"
            '{{ .Content }}{{ $last = "user" }}{{ else if eq .Role "assistant" }}'
            f'{_literal(self.answer)}{{{{ .Content }}}}{{{{ $last = "assistant" }}}}'
            '{{ end }}{{ end }}{{ if eq $last "user" }}'
            f"{_literal(self.tail)}{{{{ end }}}}"
        )


def modelfile(
    chat: ChatTokenizer,
    model: str,
    *,
    adapter: str = "",
    generation: Mapping[str, Any] | None = None,
) -> str:
    """A Modelfile for ``ollama create``.

    Parameters
    ----------
    model: path of the GGUF file, relative to the Modelfile. adapter: of a LoRA adapter's.
    generation: what ``generation_config.json`` says.

    Where the chat template cannot be put as one of Ollama's, TEMPLATE is left out and a comment
    says so: Ollama then reads the chat template in the GGUF file, if it knows that one.
    """
    lines = [f"FROM {model}"]
    if adapter:
        lines.append(f"ADAPTER {adapter}")
    turns = Turns.of(chat)
    if turns is None:
        lines.append("# No TEMPLATE: turn by turn, the chat template does not write the same text.")
    else:
        lines.append(f'TEMPLATE """{turns.go(_begin(chat))}"""')
    ends = chat.tokenizer.convert_ids_to_tokens(list(chat.end_ids))
    for stop in dict.fromkeys([*map(str, ends), *chat.stops]):
        quotes = '"""' if '"' in stop else '"'
        if stop.replace("\n", " ").isprintable() and not stop.endswith('"'):
            lines.append(f"PARAMETER stop {quotes}{stop}{quotes}")
    said = {k: v for k, v in (generation or {}).items() if v is not None}
    if said.get("do_sample") is False:
        said["temperature"] = 0
    for name, own in _PARAMETERS.items():
        value = said.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            lines.append(f"PARAMETER {own} {value:g}")
    return "\n".join(lines) + "\n"


def _between(text: str, words: Sequence[str]) -> list[str] | None:
    """The text before, between and behind the words; None unless each is there once, in order."""
    parts = []
    for word in words:
        if text.count(word) != 1:
            return None
        part, _, text = text.partition(word)
        parts.append(part)
    return [*parts, text]


def _begin(chat: ChatTokenizer) -> str:
    tokenizer = chat.tokenizer
    ids = tokenizer("a")["input_ids"]
    begins = ids and ids[0] == tokenizer.bos_token_id
    return str(tokenizer.bos_token) if begins else ""


def _literal(text: str) -> str:
    """``text`` inside a template of Go within the quotes of a Modelfile."""
    return "".join(c if c == "\n" or (c.isprintable() and c not in '"{') else _go(c) for c in text)


def _go(character: str) -> str:
    return f'{{{{ "\\U{ord(character):08x}" }}}}'
