"""Client hides how a server is asked as a language model: once known, in the form it takes."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

from llmrec.errors import InputError, ModelError, SchemaError
from llmrec.models.endpoint.schemas import misfit, read_json
from llmrec.models.endpoint.servers import (
    LONGEST_LOOK,
    Capabilities,
    Form,
    adapter_fields,
    detect,
    schema_fields,
)
from llmrec.models.endpoint.usage import Meter, Usage
from llmrec.models.endpoint.wire import RefusedError, Wire
from llmrec.models.profile import Profile
from llmrec.types import Message

__all__ = ["Endpoint", "MisfitError"]

Chat = list[dict[str, str]]

_NO_FORM = re.compile(
    r"response_format|json_object|json_schema|guided|grammar|schema", re.IGNORECASE
)
_PATIENCE = 3.0  # seconds in all, after which a server that does not answer is not asked any more
_TOKEN = 3.0  # characters of a token at least, as prompts in several languages have it
_TURN_TOKENS = 8  # that a chat template puts around a turn, about


class MisfitError(SchemaError):
    """An answer that does not meet its schema; ``text``: the answer."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


class Endpoint:
    """A language model behind a server, or behind an inference provider of Hugging Face.

    The key is that of the environment variable ``LLMREC_API_KEY``; for Hugging Face's own hosts
    the login of the Hub will do. It is never an argument and never part of an error.

    With the first request the server is asked what it is, for a second at most; from then on
    schemas and adapters go to it in the form it takes, and of conversations that are longer than
    it reads the earliest turns are left out.

    Parameters
    ----------
    base_url_or_model: ``http://127.0.0.1:8000/v1``, or the id of a model on the Hub.
    model: which model of the server; needed only where it has several.
    provider: which of Hugging Face's providers is to run a model of the Hub; None: any.
    adapter: which of the LoRA adapters that the server has loaded answers (vLLM, llama.cpp, TGI).
        Endpoints with different ones may ask the same server at the same time.
    price: of a million tokens read, and of a million written: ``usage`` then tells the cost.
    timeout: seconds to wait for an answer, or for the next piece of a stream.
    retries: how often a request is sent again that failed for a passing reason.
    concurrency: how many requests of one ``generate`` are under way together.
    backoff: seconds before the first retry; they double with each.

    Raises
    ------
    InputError: an option has a value that does not exist.
    """

    def __init__(
        self,
        base_url_or_model: str,
        *,
        model: str | None = None,
        provider: str | None = None,
        adapter: str | None = None,
        price: tuple[float, float] | None = None,
        timeout: float = 60,
        retries: int = 4,
        concurrency: int = 4,
        backoff: float = 0.5,
    ) -> None:
        url = base_url_or_model if _is_url(base_url_or_model) else None
        if url is None and not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", base_url_or_model):
            raise InputError(
                f"{base_url_or_model!r} is no endpoint: give an address such as "
                "http://127.0.0.1:8000/v1, or the id of a model on the Hub (owner/name)"
            )
        if url is not None and provider is not None:
            raise InputError(f"provider is {provider!r}: it goes with a model's id, not an address")
        for name, value in (("model", model), ("adapter", adapter)):
            if url is None and value is not None:
                raise InputError(f"{name} is {value!r}: it goes with an address, not a model's id")
        _check_numbers(timeout=timeout, retries=retries, concurrency=concurrency, backoff=backoff)
        if price is not None and not (len(price) == 2 and all(0 <= p < math.inf for p in price)):
            raise InputError(f"price is {price}: give two, of a million tokens read and written")
        self._given = model if url else base_url_or_model
        self._adapter = adapter
        self.concurrency = concurrency
        self._meter = Meter(price)
        self._wire = Wire(
            url,
            self._given,
            provider,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
            meter=self._meter,
        )
        self._known = None if url else Capabilities("providers")
        self._refused: set[Form] = set()
        self._looked = 0.0
        self._looking = threading.RLock()
        self.profile = Profile()
        self.grounding: Literal["choose"] = "choose"  # how a Recommender uses it unless told

    @property
    def name(self) -> str:
        """What to show the user."""
        shown = self._given or self._wire.where
        return f"{shown} with {self._adapter}" if self._adapter else shown

    @property
    def usage(self) -> Usage:
        """Tokens, requests, time and money so far."""
        return self._meter.usage

    @property
    def capabilities(self) -> Capabilities:
        """What is known of the server, which is asked now if it was not before.

        Forms that it has refused are left out.
        """
        return self._facts(patiently=False)

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_new_tokens: int = 256,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """The assistant's next turn for each of the conversations, asked for concurrently.

        Parameters
        ----------
        schema: a JSON schema of the plain kind (type, enum, required, bounds). It goes to the
            server in the form it takes, and in words. An answer that does not meet it is sent
            back once with what is wrong.

        Raises
        ------
        SchemaError: no answer meets the schema. ModelError: the server cannot be reached, refuses,
            or does not answer as it should. InputError: a prompt is empty.
        """
        _check(prompts, max_new_tokens, temperature)

        def one(at: int) -> str:
            options = {
                "max_tokens": max_new_tokens,
                "temperature": temperature,
                "seed": seed + at,
            }
            chat = _chat(prompts[at])
            return self._say(chat, options) if schema is None else self._fit(chat, options, schema)

        if prompts:
            self._facts(patiently=self._hangs)  # once, and not in every thread
        if len(prompts) < 2:
            return [one(at) for at in range(len(prompts))]
        pool = ThreadPoolExecutor(min(self.concurrency, len(prompts)))
        try:
            return list(pool.map(one, range(len(prompts))))
        finally:
            pool.shutdown(cancel_futures=True)  # after an error nothing more is sent

    def stream(
        self,
        prompt: Sequence[Message],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """What ``generate`` would give, piece by piece; closing the iterator hangs up.

        Raises
        ------
        ModelError: as ``generate``; a stream that breaks off is not begun anew.
        """
        _check([prompt], max_new_tokens, temperature)
        options = {
            "max_tokens": max_new_tokens,
            "temperature": temperature,
            "seed": seed,
            "stream_options": {"include_usage": True},
        }
        return self._pieces(_chat(prompt), options)

    def fits(
        self,
        prompt: Sequence[Message],
        max_new_tokens: int,
        schema: Mapping[str, Any] | None = None,
    ) -> bool:
        """Whether a prompt and its answer are likely within what the server reads, if it tells."""
        context = self.capabilities.context
        words = len(_rule(schema)) / _TOKEN if schema else 0
        tokens = sum(map(_size, _chat(prompt))) + words + max_new_tokens
        return context is None or tokens <= context

    def _pieces(self, chat: Chat, options: Mapping[str, Any]) -> Iterator[str]:
        for piece in self._wire.stream(self._body(chat, options)):
            for choice in piece.get("choices") or ():  # the last piece has none, only the usage
                if said := (choice.get("delta") or {}).get("content"):
                    yield said

    def _say(self, chat: Chat, options: Mapping[str, Any]) -> str:
        return self._wire.said(self._wire.ask(self._body(chat, options)))

    @property
    def _hangs(self) -> bool:
        """Whether requests hang on what the server tells."""
        return self._given is None or self._adapter is not None

    def _body(self, chat: Chat, options: Mapping[str, Any]) -> dict[str, Any]:
        """A request, by what is known of the server."""
        known = self._facts(patiently=self._hangs)
        chosen = adapter_fields(known, self._adapter, self._wire.where)
        chat = _within(chat, known.context, int(options["max_tokens"]))
        return {"model": self._model(known), "messages": chat, **options, **chosen}

    def _model(self, known: Capabilities) -> str:
        """The model to name; the only one of a server if none was given."""
        if self._given or not known.models:
            return self._given or "default"
        if len(known.models) > 1:
            raise ModelError(
                f"{self._wire.where} serves {len(known.models)} models "
                f"({', '.join(known.models[:5])}): say with model= which one"
            )
        return "tgi" if known.server == "tgi" else known.models[0]  # TGI takes it for an adapter

    def _facts(self, *, patiently: bool = False) -> Capabilities:
        """What is known of the server, which is asked until it has told all it tells.

        Parameters
        ----------
        patiently: whether nothing can be done without an answer.
        """
        with self._looking:
            known = self._known
            if known is None or not known.settled:
                if self._looked < _PATIENCE or (known is None and patiently):
                    known = self._look(patiently) or known
                self._known = known
            known = known or Capabilities(settled=False)
            left = tuple(f for f in known.forms if f not in self._refused)
            return known if left == known.forms else replace(known, forms=left)

    def _look(self, patiently: bool) -> Capabilities | None:
        """Ask the server what it is; None where it does not answer."""
        wire = self._wire
        began = time.monotonic()
        listed = wire.listed() if patiently else wire.peek("/v1/models", LONGEST_LOOK)
        if patiently:
            began = time.monotonic()
        found = detect(wire.peek, listed, self._given, LONGEST_LOOK + began - time.monotonic())
        self._looked += time.monotonic() - began
        return found

    def _fit(self, chat: Chat, options: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
        """An answer that meets the schema, written as a local model writes it."""
        # The words are for servers that ignore the format, or know "some JSON" only.
        words = _rule(schema)
        chat = [*chat[:-1], {**chat[-1], "content": f"{chat[-1]['content']}\n\n{words}"}]
        wrong = text = ""
        for _ in range(2):
            text = self._formed(chat, options, schema)
            try:
                value = read_json(text)
                wrong = misfit(value, schema) or ""
            except (ValueError, RecursionError) as e:
                wrong = f"it is not JSON: {e}"
            if not wrong:
                return json.dumps(value, ensure_ascii=False)
            mend = f"That does not meet the schema ({wrong}). {words}"
            chat += [{"role": "assistant", "content": text}, {"role": "user", "content": mend}]
        raise MisfitError(
            f"{self.name} gave no answer that meets the schema, twice ({wrong}): "
            "raise max_new_tokens, or take a model that follows a schema",
            text,
        )

    def _formed(self, chat: Chat, options: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
        """An answer, the schema sent in the first form that the server does not refuse."""
        while True:
            form = self._facts().forms[0]
            try:
                return self._say(chat, {**options, **schema_fields(form, schema)})
            except RefusedError as e:
                if form == "words" or not _NO_FORM.search(e.said):
                    raise
                with self._looking:
                    self._refused.add(form)


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _check_numbers(**given: float) -> None:
    for name, least in (("timeout", 0.001), ("retries", 0), ("concurrency", 1), ("backoff", 0)):
        if not least <= given[name] < math.inf:
            raise InputError(f"{name} is {given[name]}: give {least} or more")


def _check(prompts: Sequence[Sequence[Message]], max_new_tokens: int, temperature: float) -> None:
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}: give 1 or more")
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature is {temperature}: give 0 or a positive number")
    if not all(prompts):
        raise InputError("the conversation has no messages: give at least one")


def _chat(prompt: Sequence[Message]) -> Chat:
    return [{"role": m.role, "content": m.content} for m in prompt]


def _within(chat: Chat, context: int | None, answer: int) -> Chat:
    """The chat without its earliest turns, so far as the server's context asks for it.

    What the system says and the last turn stay; a server that finds them too long says so.
    """
    if context is None:
        return chat
    over = sum(map(_size, chat)) + answer - context
    head = 0
    while head < len(chat) and chat[head]["role"] == "system":
        head += 1
    first = head
    while first < len(chat) - 1 and (over > 0 or (head < first and _answers(chat[first]))):
        over -= _size(chat[first])
        first += 1
    return chat[:head] + chat[first:]


def _rule(schema: Mapping[str, Any]) -> str:
    """A schema in words."""
    rule = "Answer with one JSON value that meets this JSON schema, and nothing else: "
    return rule + json.dumps(schema, ensure_ascii=False)


def _size(turn: Mapping[str, str]) -> float:
    """The tokens of a turn, at most as it seems: each tokenizer counts otherwise."""
    return len(turn["content"]) / _TOKEN + _TURN_TOKENS


def _answers(turn: Mapping[str, str]) -> bool:
    """Whether a turn needs the one before it, as templates will have it."""
    return turn["role"] == "assistant"
