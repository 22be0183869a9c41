"""ChatTokenizer hides how a conversation becomes tokens, the same in training and in inference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any

from llmrec.errors import InputError, ModelError
from llmrec.types import Message

__all__ = ["ChatTokenizer", "plain_template"]

_FALLBACK = (
    "{% for m in messages %}{% if m['role'] == 'user' %}User: {{ m['content'] }}\n"
    "{% elif m['role'] == 'assistant' %}Assistant: {{ m['content'] }}\n"
    "{% else %}{{ m['content'] }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_PLAIN = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
# Tokens that end a turn in templates of families whose generation_config does not say so.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<turn|>", "<|endoftext|>")
_ANCHOR = ":"
_ANSWER = "llmrec"  # stands for an answer, to see what a template writes behind it


class ChatTokenizer:
    """A tokenizer and its chat template.

    Parameters
    ----------
    tokenizer: as transformers loads it. Without a chat template a plain one is used.
    ends: ids that end a text, beside the tokenizer's own (what the generation config says).
    name: of the model, for error messages.
    """

    def __init__(self, tokenizer: Any, *, ends: Iterable[int] = (), name: str = "") -> None:
        self.tokenizer = tokenizer
        self.name = name or "the model"
        self.stops = () if tokenizer.chat_template else ("\nUser:",)
        self._template = tokenizer.chat_template or _FALLBACK
        self._ends = tuple(ends)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the tokenizer does."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        text = (
            backend.to_str()
            if backend is not None
            else json.dumps(sorted(self.tokenizer.get_vocab().items()))
        )
        return blake2b(text.encode(), digest_size=16).hexdigest()

    @cached_property
    def used_ids(self) -> tuple[int, ...]:
        """The ids that exist; GGUF files name those that only fill the vocabulary up, too."""
        words = self.tokenizer.get_vocab().items()
        return tuple(sorted(int(i) for word, i in words if word != f"[PAD{i}]"))

    @cached_property
    def special(self) -> dict[str, int]:
        """The special tokens and their ids."""
        added = self.tokenizer.added_tokens_decoder.items()
        return {str(token): int(i) for i, token in added if token.special}

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a turn. Raises ModelError if there is none."""
        found = [*self._ends, self.tokenizer.eos_token_id]
        found += [self.special[t] for t in _TURN_ENDS if t in self.special and t in self._template]
        ids = tuple(dict.fromkeys(int(i) for i in found if i is not None))
        if not ids:
            raise ModelError(f"{self.name} has no token that ends a turn: set its eos_token")
        return ids

    @cached_property
    def turn_end(self) -> int:
        """The token that the template writes right behind an answer, which training must teach."""
        chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _ANSWER}]
        behind = self._render(chat, False).rpartition(_ANSWER)[2]
        ids = self.tokenizer(behind, add_special_tokens=False)["input_ids"]
        return next((i for i in ids if i in self.end_ids), self.end_ids[-1])

    @cached_property
    def _anchored(self) -> bool:
        """Whether the tokenizer begins a text differently than it goes on within one."""
        anchor = self._plain_ids([_ANCHOR, f"{_ANCHOR} a", " a"])
        return anchor[1][: len(anchor[0])] == anchor[0] and anchor[1][len(anchor[0]) :] != anchor[2]

    def _plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        usual = texts if backend is None else texts[:1]
        ids: list[list[int]] = self.tokenizer(list(usual), add_special_tokens=False)["input_ids"]
        if backend is not None:
            # That call has set padding and truncation off; without offsets, the rest takes half.
            rest = backend.encode_batch_fast(list(texts[1:]), add_special_tokens=False)
            ids += [encoding.ids for encoding in rest]
        return ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text as it stands inside a longer one; no special tokens added."""
        if not self._anchored:
            return self._plain_ids(texts)
        anchor = self._plain_ids([_ANCHOR])[0]
        whole = self._plain_ids([_ANCHOR + t for t in texts])
        return [ids[len(anchor) :] for ids in whole]

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """A conversation in the chat template, up to the assistant's turn.

        What would be a special token in a message is broken up, so that no message can end its
        turn. Where the template refuses a system role, or turns that do not alternate, the system
        text goes before the first user message, and neighbours of one role become one.

        Raises
        ------
        InputError: there are no messages. ModelError: the template refuses the conversation.
        """
        from jinja2.exceptions import TemplateError

        if not messages:
            raise InputError("the conversation has no messages: give at least one")
        chat = [{"role": m.role, "content": self.harmless(m.content)} for m in messages]
        error: Exception | None = None
        for attempt in (chat, _folded(chat)):
            try:
                return self._render(attempt, True)
            except (TemplateError, TypeError, ValueError) as e:
                error = e
        raise ModelError(
            f"the chat template of {self.name} refuses the conversation ({error}): "
            "take another template with chat_template_from"
        )

    def _render(self, chat: Sequence[dict[str, str]], ask: bool) -> str:
        # What a model would think aloud first is neither a title nor a reply.
        text: str = self.tokenizer.apply_chat_template(
            list(chat),
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=ask,
            enable_thinking=False,
        )
        return text

    def prompt_ids(self, messages: Sequence[Message], prefix: str = "") -> list[int]:
        """The tokens of a conversation up to the assistant's turn, and of its words so far."""
        # A chat template writes the tokens that begin a text itself; the fallback does not.
        own = self._template is not _FALLBACK
        ids: list[int] = self.tokenizer(
            self.prompt_text(messages) + prefix, add_special_tokens=not own
        )["input_ids"]
        if not own and ids and ids[-1] in self.end_ids:
            ids = ids[:-1]  # some tokenizers end every text
        return ids

    def opening(self, text: str) -> str:
        """The beginning of an answer as it stands behind a prompt.

        Where a template ends its prompt in the middle of a line, text begins with a blank; lists
        do not, as their first number is given to the model.
        """
        blank = not self.tokenizer.chat_template and not text[:1].isspace()
        return (" " if blank and not text[:1].isdigit() else "") + self.harmless(text)

    def harmless(self, text: str) -> str:
        """``text`` with what would be a special token broken up."""
        for token in self.special:
            if token in text:
                text = text.replace(token, f"{token[:1]} {token[1:]}")
        return text


def plain_template(tokenizer: Any) -> str:
    """A chat template that writes the messages as they are, one after the other.

    For base models, whose prompts (Alpaca's, say) are whole texts. It begins with the token that
    the tokenizer begins its texts with.
    """
    first = tokenizer("a")["input_ids"][:1]
    begins = first == [tokenizer.bos_token_id] and tokenizer.bos_token is not None
    return ("{{ bos_token }}" if begins else "") + _PLAIN


def _folded(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    """The system's words before the first user message, and neighbours of one role as one."""
    system = "\n\n".join(m["content"] for m in chat if m["role"] == "system")
    out: list[dict[str, str]] = []
    for message in chat:
        if message["role"] == "system":
            continue
        content = message["content"]
        if system and message["role"] == "user":
            content, system = f"{system}\n\n{content}", ""
        elif system:  # the assistant opens
            out.append({"role": "user", "content": system})
            system = ""
        if out and out[-1]["role"] == message["role"]:
            out[-1]["content"] += f"\n\n{content}"
        else:
            out.append({"role": message["role"], "content": content})
    return out or [{"role": "user", "content": system}]
