"""Refused hides what is said where a call cannot be served: the page is full, lost, or unknown."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from typing import Any

from fastapi import Depends, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse
from gradio.data_classes import PredictBody
from starlette.exceptions import HTTPException

from llmrec.demo.texts import Words, preferred
from llmrec.types import LANGUAGES

__all__ = ["app_options", "notices"]

_say = Words("refused")
NAMES = ("/recommend", "/chat", "/answer", "/search")
WAIT = 30  # seconds that a program should wait where the queue is full
MAX_SENTENCE = 400  # characters
_INFO = "/gradio_api/info lists the parameters of each endpoint"
_EVENTS = re.compile(r"/gradio_api/(?:queue/join|(?:run|api|call)/(?P<name>[^/]+))/?$")
_STREAM = re.compile(r"/gradio_api/(?:queue/data|call/(?:v2/)?[^/]+/(?P<event>[^/]+))$")
# By these words Gradio's own code in the browser knows that it must connect anew.
_BROKEN = "Connection errored out. "

Handler = Callable[[Request, Any], Awaitable[Response]]


class RefusedError(Exception):
    """A call that is not served. ``error``: for Gradio's code in the browser, where it has one."""

    def __init__(self, status: int, sentence: str, error: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.error = error or sentence


def app_options() -> dict[str, Any]:
    """What ``launch()`` needs as ``app_kwargs`` to refuse in a sentence what cannot be served.

    Without it, an event or endpoint that there is not is a traceback and status 500, and a page
    whose conversation the server no longer has goes on as if it had never begun.
    """
    handlers: dict[type[Exception], Handler] = {
        RefusedError: _tell,
        HTTPException: _full,
        KeyError: _misfit,
        TypeError: _misfit,
    }
    return {"exception_handlers": handlers, "dependencies": [Depends(_fits)]}


def notices() -> str:
    """What ``launch()`` needs as ``js``: it tells visitors in their language what went wrong."""
    code = resources.files("llmrec.demo").joinpath("refused.js").read_text(encoding="utf-8")
    texts = {language: _say.within(language) for language in LANGUAGES}
    return f"() => ({code.strip().rstrip(';')})({json.dumps(texts)})"


async def _fits(request: Request) -> None:
    """Refuse an event that nothing listens to, or that comes of a page the server has forgotten."""
    path = request.url.path
    if request.method == "GET" and (place := _STREAM.search(path)):
        if not _awaited(request, place["event"]):
            raise RefusedError(
                404, "nothing is under way here that could be waited for: send it again"
            )
        return
    place = _EVENTS.search(path)
    if request.method != "POST" or place is None:
        return
    try:
        body = PredictBody.model_validate(await request.json())
    except (ValueError, RecursionError):
        return  # FastAPI says so itself
    listeners = request.app.get_blocks().fns
    if body.fn_index is not None:
        listener, asked = listeners.get(body.fn_index), f"event number {body.fn_index}"
    else:
        named = (f for f in listeners.values() if place["name"] and f.api_name == place["name"])
        listener, asked = next(named, None), f"endpoint {(place['name'] or '')[:60]!r}"
    if listener is None:
        raise RefusedError(
            404, f"there is no {asked}: use {', '.join(NAMES)}, or open the page again"
        )
    if len(body.data) < (wanted := len(listener.inputs)):
        raise RefusedError(422, f"{len(body.data)} of {wanted} values came: {_INFO}")
    if not all(map(_takes, _components(request, listener, body), body.data)):
        raise RefusedError(422, _say(_language(request), "odd"))
    begins = any(event in ("load", "unload") for _, event in listener.targets)
    from_page = request.headers.get("x-gradio-user") == "app"
    if from_page and not begins and body.session_hash not in request.app.state_holder:
        raise RefusedError(409, _say(_language(request), "lost"), _BROKEN)


def _components(request: Request, listener: Any, body: PredictBody) -> Iterator[Any]:
    """What the values of an event are for, as its visitor has them now."""
    session = request.app.state_holder.session_data.get(body.session_hash)
    for component in listener.inputs:
        known = session is not None and not component.stateful and component._id in session
        yield session[component._id] if known else component


def _takes(component: Any, value: Any) -> bool:
    """Whether a component can read a value, which Gradio else finds with a traceback."""
    if component.stateful:
        return True  # what is sent for it is not looked at
    try:
        if component.data_model is None:
            component.preprocess(value)
        elif value is not None:
            component.data_model.model_validate(value, context={"validate_meta": True})
    except Exception:
        return False
    return True


def _awaited(request: Request, event: str | None) -> bool:
    """Whether a session, or the one of an event, has something to come."""
    queue = request.app.get_blocks()._queue
    session = request.query_params.get("session_hash") if event is None else event
    if session is None or session in queue.pending_messages_per_session:
        return True  # without any, FastAPI says what is missing
    if event in queue.event_ids_to_events:
        return True
    return any(event in events for events in queue.pending_event_ids_session.values())


async def _tell(request: Request, refused: RefusedError) -> Response:
    return JSONResponse({"detail": str(refused), "error": refused.error}, refused.status)


async def _full(request: Request, error: HTTPException) -> Response:
    if error.status_code != 503 or not str(error.detail).startswith("Queue is full"):
        return await http_exception_handler(request, error)
    told = _say(_language(request), "busy")
    return JSONResponse({"detail": told, "error": told}, 503, {"Retry-After": str(WAIT)})


async def _misfit(request: Request, error: Exception) -> Response:
    if "/gradio_api/call/" not in request.url.path:
        raise error
    if isinstance(error, KeyError):
        told = f"there is no endpoint {str(error.args[0])[:60]!r}: use {', '.join(NAMES)}"
        return JSONResponse({"detail": told}, 404)
    why = str(error).partition(". ")[0].rstrip(".")  # what follows speaks of the page's footer
    return JSONResponse({"detail": f"{why[:MAX_SENTENCE]}: {_INFO}"}, 422)


def _language(request: Request) -> str:
    return preferred(request.headers.get("accept-language", ""))
