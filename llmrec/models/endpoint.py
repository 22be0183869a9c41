"""Endpoint hides servers: a model behind HTTP that speaks the chat protocol of OpenAI.

Hugging Face's providers, vLLM, TGI, Ollama, LM Studio and llama.cpp are all such servers. They
keep a JSON schema more or less, so every answer is checked against it here.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from llmrec.errors import InputError, ModelError, SchemaError
from llmrec.models.profile import Profile
from llmrec.types import Message

__all__ = ["KEY", "Endpoint", "Usage", "misfit"]

KEY = "LLMREC_API_KEY"
_T = TypeVar("_T")
_NO_KEY = "none"  # sent where no key is, so that the login of the Hub never goes to a stranger
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TELLING = (401, 403, 429, 503)  # others mean that a server does not tell what it serves
_LONGEST_WAIT = 120.0  # seconds that a server may ask us to wait
_OUR_HOSTS = ("huggingface.co", "huggingface.cloud")  # not hf.space: anyone has a Space there
_TOO_LONG = re.compile(
    r"context.{0,9}(length|window|size)|too long|too many tokens|maximum.{0,20}(length|tokens)"
    r"|tokens.{0,40}must be <=",
    re.IGNORECASE,
)
_NO_FORMAT = re.compile(r"response_format|json_object|json_schema|grammar|schema", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Usage:
    """What was used so far, as the server counts it. Requests that failed count as well."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0


class Endpoint:
    """A language model behind a server, or behind an inference provider of Hugging Face.

    The key is that of the environment variable ``LLMREC_API_KEY``; for Hugging Face's own hosts
    the login of the Hub will do. It is never an argument and never part of an error.

    Parameters
    ----------
    base_url_or_model: ``http://127.0.0.1:8000/v1``, or the id of a model on the Hub.
    model: which model of the server; needed only where it has several.
    provider: which of Hugging Face's providers is to run a model of the Hub; None: any.
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
        timeout: float = 60,
        retries: int = 4,
        concurrency: int = 4,
        backoff: float = 0.5,
    ) -> None:
        self._url = base_url_or_model if _is_url(base_url_or_model) else None
        if self._url is None and not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", base_url_or_model):
            raise InputError(
                f"{base_url_or_model!r} is no endpoint: give an address such as "
                "http://127.0.0.1:8000/v1, or the id of a model on the Hub (owner/name)"
            )
        if self._url is not None and provider is not None:
            raise InputError(f"provider is {provider!r}: it goes with a model's id, not an address")
        if self._url is None and model is not None:
            raise InputError(f"model is {model!r}: it goes with an address, not a model's id")
        for name, value, least in (
            ("timeout", timeout, 0.001),
            ("retries", retries, 0),
            ("concurrency", concurrency, 1),
            ("backoff", backoff, 0),
        ):
            if not least <= value < math.inf:
                raise InputError(f"{name} is {value}: give {least} or more")
        self._given = model if self._url else base_url_or_model
        self._provider = provider
        self._timeout, self._retries = timeout, retries
        self._concurrency, self._backoff = concurrency, backoff
        self._where = _address(self._url) if self._url else f"the model {base_url_or_model}"
        self._formats = True  # until the server refuses to be given a response format
        self._usage = Usage()
        self._lock = threading.Lock()
        self.profile = Profile()

    @property
    def name(self) -> str:
        """What to show the user."""
        return self._given or self._where

    @property
    def usage(self) -> Usage:
        """Tokens and requests so far."""
        with self._lock:
            return self._usage

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
            server as the response format, where the server takes that, and in words. An answer
            that does not meet it is sent back once with what is wrong.

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

        if len(prompts) < 2:
            return [one(at) for at in range(len(prompts))]
        pool = ThreadPoolExecutor(min(self._concurrency, len(prompts)))
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
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return self._pieces(_chat(prompt), options)

    def _pieces(self, chat: list[dict[str, str]], options: Mapping[str, Any]) -> Iterator[str]:
        with contextlib.closing(self._client()) as client:
            chunks = self._asked(lambda: client.chat_completion(chat, model=self._model, **options))
            with self._clearly():
                for chunk in chunks:
                    self._count(getattr(chunk, "usage", None))
                    for choice in chunk.choices or ():  # the last chunk has none, only the usage
                        if choice.delta is not None and choice.delta.content:
                            yield choice.delta.content

    def _say(self, chat: list[dict[str, str]], options: Mapping[str, Any]) -> str:
        with contextlib.closing(self._client()) as client:
            answer = self._asked(lambda: client.chat_completion(chat, model=self._model, **options))
        with self._clearly():
            self._count(getattr(answer, "usage", None))
            return str(answer.choices[0].message.content or "")

    def _fit(
        self, chat: list[dict[str, str]], options: Mapping[str, Any], schema: Mapping[str, Any]
    ) -> str:
        """An answer that meets the schema, written as a local model writes it."""
        # The words are for servers that ignore the format, or know "some JSON" only.
        rule = "Answer with one JSON value that meets this JSON schema, and nothing else: "
        words = rule + json.dumps(schema, ensure_ascii=False)
        chat = [*chat[:-1], {**chat[-1], "content": f"{chat[-1]['content']}\n\n{words}"}]
        wrong = ""
        for _ in range(2):
            text = self._formatted(chat, options, schema)
            spoken = text.rpartition("</think>")[2]  # some models think aloud first
            fenced = _FENCE.match(spoken)
            try:
                value = json.loads(fenced[1] if fenced else spoken)
                wrong = misfit(value, schema) or ""
            except (ValueError, RecursionError) as e:
                wrong = f"it is not JSON: {e}"
            if not wrong:
                return json.dumps(value, ensure_ascii=False)
            mend = f"That does not meet the schema ({wrong}). {words}"
            chat += [{"role": "assistant", "content": text}, {"role": "user", "content": mend}]
        raise SchemaError(
            f"{self.name} gave no answer that meets the schema, twice ({wrong}): "
            "raise max_new_tokens, or take a model that follows a schema"
        )

    def _formatted(
        self, chat: list[dict[str, str]], options: Mapping[str, Any], schema: Mapping[str, Any]
    ) -> str:
        if self._formats:
            # "json_schema" would be rewritten by the client. llama.cpp reads "schema", TGI "value".
            form = {"type": "json_object", "schema": dict(schema), "value": dict(schema)}
            try:
                return self._say(chat, {**options, "response_format": form})
            except _RefusedError as e:
                if not _NO_FORMAT.search(e.said):
                    raise
                self._formats = False
        return self._say(chat, options)

    @cached_property
    def _key(self) -> str:
        if key := os.environ.get(KEY):
            return key
        address = urlsplit(self._url or "https://huggingface.co")
        host = address.hostname if address.scheme == "https" and address.hostname else ""
        if any(host == ours or host.endswith("." + ours) for ours in _OUR_HOSTS):
            from huggingface_hub import get_token

            if key := get_token():
                return key
        if self._url is None:
            raise ModelError(f"{self._where} needs a token: set HF_TOKEN or run hf auth login")
        return _NO_KEY

    def _client(self) -> Any:
        from huggingface_hub import InferenceClient

        provider: Any = self._provider
        return InferenceClient(
            base_url=self._url,
            model=None if self._url else self._given,
            provider=provider,
            token=self._key,
            timeout=self._timeout,
        )

    @cached_property
    def _model(self) -> str | None:
        """The model to name in requests; the only one of a server if none was given."""
        if self._given or self._url is None:
            return self._given
        from huggingface_hub import utils

        address = self._url.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1")

        def ask() -> Any:
            response = utils.get_session().get(  # type: ignore[attr-defined]
                f"{address}/v1/models",
                headers={"authorization": f"Bearer {self._key}"},
                timeout=self._timeout,
            )
            if response.status_code in _TELLING:
                utils.hf_raise_for_status(response)  # type: ignore[attr-defined]
            return response

        try:
            served = [str(m["id"]) for m in self._asked(ask).json()["data"]]
        except (ValueError, LookupError, TypeError):
            return None
        if len(served) > 1:
            raise ModelError(
                f"{self._where} serves {len(served)} models ({', '.join(served[:5])}): "
                "say with model= which one"
            )
        return served[0] if served else None

    def _count(self, usage: Any) -> None:
        if usage is not None:
            with self._lock:
                self._usage = replace(
                    self._usage,
                    prompt_tokens=self._usage.prompt_tokens + (usage.prompt_tokens or 0),
                    completion_tokens=self._usage.completion_tokens
                    + (usage.completion_tokens or 0),
                )

    def _asked(self, send: Callable[[], _T]) -> _T:
        """Send a request, and again where it fails for a passing reason."""
        attempt = 0
        while True:
            attempt += 1
            with self._lock:
                self._usage = replace(self._usage, requests=self._usage.requests + 1)
            try:
                with self._clearly():
                    return send()
            except _PassingError as e:
                wait = self._backoff * 2 ** (attempt - 1) if e.after is None else e.after
                if attempt > self._retries or wait > _LONGEST_WAIT:
                    asks = f"; it asks to wait {wait:,.0f} seconds" if e.after else ""
                    raise ModelError(f"{e}{asks} (tried {attempt} times)") from None
            time.sleep(wait)

    @contextlib.contextmanager
    def _clearly(self) -> Iterator[None]:
        """Whatever a request may raise, as one sentence without the key."""
        from huggingface_hub import errors as hub

        try:
            yield
        except hub.OfflineModeIsEnabled:
            raise ModelError(
                f"{self._where} is not asked because HF_HUB_OFFLINE is set, which stops requests "
                "to every server, this machine's own too: unset it"
            ) from None
        except hub.HfHubHTTPError as e:
            raise self._refusal(e.response) from None
        except (hub.InferenceTimeoutError, TimeoutError):
            raise _PassingError(
                f"{self._where} did not answer within {self._timeout:g} seconds: "
                "raise timeout, or lower concurrency"
            ) from None
        except hub.TextGenerationError as e:
            raise ModelError(f"{self._where} broke off: {self._safe(str(e))}") from None
        except (hub.HTTPError, OSError) as e:  # type: ignore[attr-defined]
            why = self._safe(str(e)) or type(e).__name__
            raise _PassingError(
                f"{self._where} cannot be reached ({why}): check the address and that it runs"
            ) from None
        except (ValueError, LookupError, TypeError, AttributeError) as e:
            said = self._safe(str(e))
            if self._url is None:
                raise ModelError(
                    f"{self._where} cannot be asked ({said}): check its id and the provider"
                ) from None
            raise ModelError(
                f"{self._where} does not answer as a chat server does ({said}): "
                "give the address that ends in /v1"
            ) from None

    def _refusal(self, response: Any) -> ModelError:
        """What an HTTP error means."""
        status = int(response.status_code)
        with contextlib.suppress(Exception):  # the body of a stream may never come
            response.read()
        said = self._safe(_said(response))
        told = f"{self._where} answered {status}" + (f" ({said})" if said else "")
        if status in _PASSING:
            return _PassingError(f"{told}: try again later", _after(response.headers))
        if status in (401, 403):
            return ModelError(f"{told}: set {KEY}, or for the Hub run hf auth login")
        if status == 404:
            return ModelError(f"{told}: check the address and the name of the model")
        if status in (400, 413, 422) and _TOO_LONG.search(said):
            return ModelError(f"{told}: shorten the conversation, or take a longer context")
        return _RefusedError(f"{told}: the server does not take this request", said)

    def _safe(self, text: str) -> str:
        """One line of a server's words, without the key and without credentials of addresses."""
        if self._key != _NO_KEY:
            text = text.replace(self._key, "***")
        text = re.sub(r"(?i)bearer\s+\S+", "Bearer ***", " ".join(text.split()))
        return re.sub(r"//[^/\s@]+@", "//", text)[:300]


class _PassingError(ModelError):
    """What may go well the next time; ``after``: seconds the server asks for."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class _RefusedError(ModelError):
    """A request that the server does not take; ``said``: its words."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _address(url: str) -> str:
    """An address without credentials and queries."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _check(prompts: Sequence[Sequence[Message]], max_new_tokens: int, temperature: float) -> None:
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}: give 1 or more")
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature is {temperature}: give 0 or a positive number")
    if not all(prompts):
        raise InputError("the conversation has no messages: give at least one")


def _chat(prompt: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in prompt]


def _said(response: Any) -> str:
    """The server's own words of an error, of the several shapes they come in."""
    try:
        body = response.json()
    except Exception:
        try:
            return str(response.text)
        except Exception:
            return ""
    for key in ("error", "detail", "message"):
        if isinstance(body, dict) and body.get(key):
            body = body[key]
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)


def _after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which gives them or a date."""
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def misfit(value: Any, schema: Mapping[str, Any], path: str = "it") -> str | None:
    """Why a value does not meet a JSON schema of the plain kind that llmrec uses, or None."""
    if "const" in schema and value != schema["const"]:
        return f"{path} must be {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} is none of {', '.join(map(str, schema['enum']))}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(
        isinstance(value, _KINDS[k]) and (k == "boolean" or not isinstance(value, bool))
        for k in kinds
    ):
        return f"{path} must be of type {' or '.join(kinds)}"
    for key in ("anyOf", "oneOf"):
        if key in schema and all(misfit(value, s, path) for s in schema[key]):
            return f"{path} fits none of what is allowed"
    if isinstance(value, dict):
        return _misfit_object(value, schema, path)
    if isinstance(value, list):
        wrong = _out_of_bounds(len(value), schema, "minItems", "maxItems")
        if wrong:
            return f"{path} has {len(value)} entries, {wrong}"
        parts = (misfit(v, schema.get("items", {}), f"{path}[{i}]") for i, v in enumerate(value))
        return next((p for p in parts if p), None)
    if isinstance(value, str):
        wrong = _out_of_bounds(len(value), schema, "minLength", "maxLength")
        return f"{path} has {len(value)} characters, {wrong}" if wrong else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        wrong = _out_of_bounds(value, schema, "minimum", "maximum")
        return f"{path} is {value}, {wrong}" if wrong else None
    return None


def _misfit_object(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path} lacks {name!r}"
    for name, inner in value.items():
        if name in properties:
            if wrong := misfit(inner, properties[name], f"{path}.{name}"):
                return wrong
        elif schema.get("additionalProperties") is False:
            return f"{path} has {name!r}, which is not allowed"
    return None


def _out_of_bounds(value: float, schema: Mapping[str, Any], low: str, high: str) -> str | None:
    if low in schema and value < schema[low]:
        return f"{low} is {schema[low]}"
    if high in schema and value > schema[high]:
        return f"{high} is {schema[high]}"
    return None
