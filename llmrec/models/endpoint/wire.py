"""Wire hides HTTP: requests to a server or a provider, sent again where that helps.

Whatever goes wrong is told in one sentence, and no key stands in it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from llmrec.errors import InputError, ModelError
from llmrec.models.endpoint.usage import Meter

__all__ = ["KEY", "Answer", "RefusedError", "Wire"]

KEY = "LLMREC_API_KEY"
_T = TypeVar("_T")
_NO_KEY = "none"  # sent where no key is, so that the login of the Hub never goes to a stranger
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_TELLING = (401, 403, 429, 502, 503, 504)  # others mean that a server does not tell what it serves
_LONGEST_WAIT = 120.0  # seconds that a server may ask us to wait
_OUR_HOSTS = ("huggingface.co", "huggingface.cloud")  # not hf.space: anyone has a Space there
_TOO_LONG = re.compile(
    r"context.{0,9}(length|window|size)|too long|too many tokens|maximum.{0,20}(length|tokens)"
    r"|tokens.{0,40}must be <=",
    re.IGNORECASE,
)
_CHAT = "/chat/completions"


class Answer(NamedTuple):
    """What a server answered to a question about itself; ``body`` is None where it is no JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Wire:
    """The way to one server, or through the client of the Hub to a provider.

    Parameters
    ----------
    url: of the server; None: ``model`` is asked of a provider.
    The others are those of ``Endpoint``.
    """

    def __init__(
        self,
        url: str | None,
        model: str | None,
        provider: str | None,
        *,
        timeout: float,
        retries: int,
        backoff: float,
        meter: Meter,
    ) -> None:
        self.url, self._id, self._provider = url, model, provider
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._meter = meter
        self.where = _address(url) if url else f"the model {model}"

    def ask(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The whole answer to a chat."""

        def send() -> Mapping[str, Any]:
            if self.url is None:
                with contextlib.closing(self._client()) as client:
                    return _plain(client.chat_completion(**_arguments(body)))
            from huggingface_hub import utils

            response = utils.get_session().post(  # type: ignore[attr-defined]
                _chat_address(self.url),
                json={**body, "stream": False},
                headers=self._headers,
                timeout=self._timeout,
            )
            utils.hf_raise_for_status(response)  # type: ignore[attr-defined]
            return dict(response.json())

        answer = self._asked(send)
        with self._clearly():
            self._meter.told(answer)
        return answer

    def stream(self, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The pieces of an answer; closing the iterator hangs up."""
        with contextlib.ExitStack() as open_:

            def send() -> Iterator[Mapping[str, Any]]:
                if self.url is None:
                    client = open_.enter_context(contextlib.closing(self._client()))
                    return map(_plain, client.chat_completion(stream=True, **_arguments(body)))
                from huggingface_hub import utils

                response = open_.enter_context(
                    utils.get_session().stream(  # type: ignore[attr-defined]
                        "POST",
                        _chat_address(self.url),
                        json={**body, "stream": True},
                        headers=self._headers,
                        timeout=self._timeout,
                    )
                )
                utils.hf_raise_for_status(response)  # type: ignore[attr-defined]
                return _events(response.iter_lines())

            pieces = self._asked(send)
            with self._clearly():
                for piece in self._meter.each(pieces):
                    if error := piece.get("error"):
                        said = self._safe(error if isinstance(error, str) else json.dumps(error))
                        raise ModelError(f"{self.where} broke off: {said}")
                    self._meter.told(piece)
                    yield piece

    def listed(self) -> Answer:
        """What the server says of its models, asked as patiently as for an answer.

        Raises
        ------
        ModelError: it cannot be reached, wants a key, or has no time.
        """

        def send() -> Answer:
            from huggingface_hub import utils

            response = self._get("/v1/models", self._timeout)
            if response.status_code in _TELLING:
                utils.hf_raise_for_status(response)  # type: ignore[attr-defined]
            return _answer(response)

        return self._asked(send)

    def peek(self, path: str, timeout: float) -> Answer | None:
        """What the server says under a path; None where nothing came in time. Never raises."""
        try:
            return _answer(self._get(path, timeout))
        except Exception:
            return None

    def _get(self, path: str, timeout: float) -> Any:
        from huggingface_hub import utils

        root = str(self.url).rstrip("/").removesuffix(_CHAT).removesuffix("/v1")
        return utils.get_session().get(  # type: ignore[attr-defined]
            f"{root}{path}", headers=self._headers, timeout=timeout
        )

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._key}"}

    @cached_property
    def _key(self) -> str:
        if key := os.environ.get(KEY):
            return key
        address = urlsplit(self.url or "https://huggingface.co")
        host = address.hostname if address.scheme == "https" and address.hostname else ""
        if any(host == ours or host.endswith("." + ours) for ours in _OUR_HOSTS):
            from huggingface_hub import get_token

            if key := get_token():
                return key
        if self.url is None:
            raise ModelError(f"{self.where} needs a token: set HF_TOKEN or run hf auth login")
        return _NO_KEY

    def _client(self) -> Any:
        from huggingface_hub import InferenceClient

        provider: Any = self._provider
        return InferenceClient(
            model=self._id, provider=provider, token=self._key, timeout=self._timeout
        )

    def _asked(self, send: Callable[[], _T]) -> _T:
        """Send a request, and again where it fails for a passing reason."""
        attempt = 0
        while True:
            attempt += 1
            self._meter.sent(again=attempt > 1)
            try:
                with self._clearly(), self._meter.waiting():
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
                f"{self.where} is not asked because HF_HUB_OFFLINE is set, which stops requests "
                "to every server, this machine's own too: unset it"
            ) from None
        except hub.HfHubHTTPError as e:
            raise self._refusal(e.response) from None
        except hub.TextGenerationError as e:
            raise ModelError(f"{self.where} broke off: {self._safe(str(e))}") from None
        except (hub.InferenceTimeoutError, hub.HTTPError, OSError) as e:  # type: ignore[attr-defined]
            if "Timeout" in type(e).__name__:
                raise _PassingError(
                    f"{self.where} did not answer within {self._timeout:g} seconds: "
                    "raise timeout, or lower concurrency"
                ) from None
            why = self._safe(str(e)) or type(e).__name__
            raise _PassingError(
                f"{self.where} cannot be reached ({why}): check the address and that it runs"
            ) from None
        except (ValueError, LookupError, TypeError, AttributeError) as e:
            said = self._safe(str(e))
            if self.url is None:
                raise ModelError(
                    f"{self.where} cannot be asked ({said}): check its id and the provider"
                ) from None
            raise ModelError(
                f"{self.where} does not answer as a chat server does ({said}): "
                "give the address that ends in /v1"
            ) from None

    def said(self, answer: Mapping[str, Any]) -> str:
        """The words of a whole answer. Raises ModelError where it has none."""
        with self._clearly():
            return str(answer["choices"][0]["message"].get("content") or "")

    def _refusal(self, response: Any) -> ModelError:
        """What an HTTP error means."""
        status = int(response.status_code)
        with contextlib.suppress(Exception):  # the body of a stream may never come
            response.read()
        said = self._safe(_words(response))
        told = f"{self.where} answered {status}" + (f" ({said})" if said else "")
        if status in _PASSING:
            return _PassingError(f"{told}: try again later", _after(response.headers))
        if status in (401, 403):
            return ModelError(f"{told}: set {KEY}, or for the Hub run hf auth login")
        if status == 404:
            return ModelError(f"{told}: check the address and the name of the model")
        if status in (400, 413, 422) and _TOO_LONG.search(said):
            return TooLongError(f"{told}: shorten the conversation, or take a longer context")
        return RefusedError(f"{told}: the server does not take this request", said)

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


class TooLongError(ModelError, InputError):
    """A prompt that is longer than the server reads."""


class RefusedError(ModelError):
    """A request that the server does not take; ``said``: its words."""

    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def _address(url: str) -> str:
    """An address without credentials and queries."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _chat_address(url: str) -> str:
    """Where chats are sent to, of an address with or without its last parts."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith(_CHAT):
        path += _CHAT if path.endswith("/v1") else f"/v1{_CHAT}"
    return urlunsplit(parts._replace(path=path))


def _arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the Hub's client takes it."""
    return {k: v for k, v in body.items() if k != "model"}


def _plain(value: Any) -> dict[str, Any]:
    """What the Hub's client gives, as the JSON that it was."""
    return dict(json.loads(json.dumps(value)))


def _answer(response: Any) -> Answer:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    return Answer(int(response.status_code), response.headers, body)


def _events(lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
    """The JSON of a stream of server-sent events."""
    for line in lines:
        name, _, data = line.partition(":")
        if name != "data":
            continue  # blank lines and comments
        if data.strip() == "[DONE]":
            return
        yield dict(json.loads(data))


def _words(response: Any) -> str:
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
