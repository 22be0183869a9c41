"""Api hides how programs and agents ask: four named endpoints, which are the MCP tools as well."""

# No postponed annotations here: Gradio reads them to document the endpoints and their tools.

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn, ParamSpec, TypedDict

import gradio as gr
from gradio.context import LocalContext
from gradio.events import api as gr_api

from llmrec.demo.panel import CONTROLS, MINUTES, YEARS, choices_of
from llmrec.errors import InputError, UnknownItemError
from llmrec.orders import without_orders
from llmrec.recommender import Recommender
from llmrec.titles import fold
from llmrec.types import (
    LANGUAGES,
    MAX_MESSAGE_CHARS,
    Conversation,
    Item,
    Message,
    Preferences,
    Source,
)

__all__ = ["endpoints", "mcp_options"]

MAX_K = 50
MAX_HISTORY = 50  # messages
MAX_HISTORY_CHARS = 50_000  # of all together: reading them takes time
MAX_ITEMS = 100  # of a message
MAX_NAMES = 20  # of genres or people
MAX_NAME_CHARS = 200
MAX_SENTENCE = 400  # characters of an error
SHOWN = 12  # genres that an error names
_FAILED = "the server could not answer this: try again, or ask something shorter"
_GENRES = next(c for c in CONTROLS if c.name == "genres")

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
Json = dict[str, Any]


class _Said(TypedDict):
    role: Literal["user", "assistant", "system"]
    content: str


class Turn(_Said, total=False):
    """A message of a conversation; ``items`` are the ids of what it shows or names."""

    items: list[str]


def endpoints(recommender: Recommender, at_once: int) -> None:
    """Register /recommend, /chat, /answer and /search in the current Blocks.

    Parameters
    ----------
    at_once: how many answers run at the same time, those of the page counted in, and how many
        searches.
    """
    asked = _Endpoints(recommender)
    gr_api(asked.recommend, concurrency_limit=at_once, concurrency_id="answers")
    gr_api(asked.chat, concurrency_limit=at_once, concurrency_id="answers")
    gr_api(asked.answer, concurrency_limit=at_once, concurrency_id="answers")
    gr_api(asked.search, concurrency_limit=at_once, concurrency_id="searches")


def mcp_options() -> dict[str, bool]:
    """What ``launch()`` needs to serve the endpoints as MCP tools, where that can be done."""
    try:
        from gradio.mcp import GradioMCPServer
    except ImportError:
        return {"mcp_server": False}
    # The last thing that Gradio looks for in the package mcp, of which it reads version 1 only.
    return {"mcp_server": hasattr(GradioMCPServer, "StreamableHTTPSessionManager")}


def _endpoint(call: Callable[_P, Any]) -> Callable[_P, Any]:
    """An endpoint whose errors are sentences, and whose result is JSON text where it is a tool."""

    @functools.wraps(call)
    def asked(*args: _P.args, **kwargs: _P.kwargs) -> Any:
        try:
            out = call(*args, **kwargs)
        except (InputError, UnknownItemError) as error:
            _refuse(str(error))
        except Exception:
            _log.exception("an endpoint failed")
            _refuse(_FAILED)
        return json.dumps(out, ensure_ascii=False) if _for_a_tool() else out

    return asked


class _Endpoints:
    """The endpoints; Gradio takes names, types and docstrings from the methods."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    @_endpoint
    def recommend(
        self, request: str, k: int = 5, language: str = "", history: list[Turn] | None = None
    ) -> list[Json]:
        """Recommend items of the catalogue for a request in plain words, best first.

        Args:
            request: what is wanted, such as "a funny film from Brazil, at most two hours".
            k: how many items at most, 1 to 50.
            language: of the reasons: "en", "pt" or "es"; empty: that of the request.
            history: what was said before, oldest first, at most 50 messages.

        Returns:
            a list of {item, rank, score, reason, matched, relaxed, signals}.
        """
        conversation = _conversation("request", request, history, language)
        found: list[Json] = _plain(self._recommender.recommend(conversation, _k(k)))
        return found

    @_endpoint
    def chat(self, message: str, history: list[Turn] | None = None, k: int = 5) -> Json:
        """Answer a message of a conversation: recommend, answer a question, describe a title.

        Args:
            message: what the user says.
            history: what was said before, oldest first, at most 50 messages.
            k: how many items at most, 1 to 50.

        Returns:
            {text, route, recommendations, answer, preferences, sources, confidence, calibrated}.
        """
        conversation = _conversation("message", message, history)
        reply: Json = _plain(self._recommender.chat(conversation, _k(k)))
        return reply

    @_endpoint
    def answer(
        self,
        question: str,
        k: int = 5,
        min_similarity: float = 0.5,
        history: list[Turn] | None = None,
    ) -> Json:
        """Answer a question about items from the facts and descriptions of the catalogue alone.

        Args:
            question: such as "who directed Heat?" or "how many comedies are from 1994?".
            k: how many items at most are named as sources, 1 to 50.
            min_similarity: how much of the question a description must hold to answer it, 0 to 1.
            history: what was said before, oldest first, at most 50 messages.

        Returns:
            {text, kind, sources, supported, refused, why, language, confidence, corrected}.
        """
        asked = _conversation("question", question, history)
        if type(min_similarity) not in (int, float) or not 0 <= min_similarity <= 1:
            raise InputError(
                f"min_similarity is {_told(min_similarity)}: give a number from 0 to 1"
            )
        found: Json = _plain(self._recommender.answer(asked, _k(k), min_similarity=min_similarity))
        return found

    @_endpoint
    def search(
        self,
        query: str,
        k: int = 10,
        genres: list[str] | None = None,
        year_min: int | None = None,
        year_max: int | None = None,
        runtime_max: int | None = None,
        people: list[str] | None = None,
        language: str = "",
    ) -> list[Json]:
        """Search the catalogue by words and exact facts, without the model.

        Args:
            query: words of titles, names, themes or descriptions; empty: the best known items.
            k: how many items at most, 1 to 50.
            genres: genres that an item must all have, in English, Portuguese or Spanish.
            year_min: the first year, inclusive.
            year_max: the last year, inclusive.
            runtime_max: the most minutes, inclusive.
            people: names of actors or directors who must all have taken part.
            language: of the titles and descriptions shown: "en", "pt", "es"; empty: "en".

        Returns:
            a list of {title, description, score, item}, the best first.
        """
        text = _text("query", query)
        shown = _language(language) or "en"
        wanted = Preferences(
            genres=tuple(self._genre(g) for g in _names("genres", genres)),
            people=tuple(self._person(p) for p in _names("people", people)),
            year_min=_whole("year_min", year_min, *YEARS),
            year_max=_whole("year_max", year_max, *YEARS),
            runtime_max=_whole("runtime_max", runtime_max, *MINUTES),
        )
        if wanted.year_min and wanted.year_max and wanted.year_min > wanted.year_max:
            raise InputError(
                f"year_min is {wanted.year_min} and year_max is {wanted.year_max}: "
                "give a first year that is not after the last"
            )
        hits = self._recommender.catalog.search(text, wanted, _k(k))
        return [
            {
                "title": hit.item.title_in(shown),
                "description": without_orders(hit.item.description_in(shown), hit.item.all_titles),
                "score": hit.score,
                "item": _plain(hit.item),
            }
            for hit in hits
        ]

    def _genre(self, name: str) -> str:
        choices = choices_of(self._recommender)
        known = {
            fold(said): value
            for language in reversed(LANGUAGES)
            for shown, value in choices.of(_GENRES, (), language)
            for said in (shown, value)
        }
        found = known.get(fold(name))
        if found is None:
            every = sorted({*known.values()})
            more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
            use = f"use {', '.join(every[:SHOWN])}{more}" if every else "it has no genres at all"
            raise InputError(f"the catalogue has no genre {_told(name)}: {use}")
        return found

    def _person(self, name: str) -> str:
        marked = self._recommender.understander.lexicon.mark(name)
        found = [span.values for span in marked.spans if span.kind == "person"]
        if len(found) != 1:
            raise InputError(
                f"the catalogue knows nobody called {_told(name)}: give one name as it writes it, "
                "or put the words into query"
            )
        if len(found[0]) > 1:
            raise InputError(
                f"{_told(name)} may be {', '.join(found[0][:4])}: give the whole name of one"
            )
        return found[0][0]


# -- what came in ---------------------------------------------------------------------------------


def _conversation(name: str, said: Any, history: Any, language: Any = "") -> Conversation:
    """The conversation so far and what was said now; the parameter is called ``name``."""
    history = [] if history is None else history
    if not isinstance(history, list):
        raise InputError(f"history is {_told(history)}: give a list of messages, or nothing")
    if len(history) > MAX_HISTORY:
        raise InputError(
            f"history has {len(history):,} messages: at most {MAX_HISTORY} are read, "
            "leave out the oldest"
        )
    text = _text(name, said)
    if not text.strip():
        raise InputError(f"{name} is empty: say in words what is wanted")
    before = tuple(_message(m) for m in history)
    if (chars := sum(len(m.content) for m in before)) > MAX_HISTORY_CHARS:
        raise InputError(
            f"history has {chars:,} characters: at most {MAX_HISTORY_CHARS:,} are read, "
            "leave out the oldest messages"
        )
    return Conversation((*before, Message("user", text)), language=_language(language))


def _message(given: Any) -> Message:
    if not isinstance(given, dict):
        raise InputError(
            f"history holds {_told(given)}: each message is "
            '{"role": ..., "content": ..., "items": [...]}'
        )
    if strange := [key for key in given if key not in Turn.__annotations__]:
        raise InputError(
            f"a message of history has {_told(strange[0])}: it may have role, content and items"
        )
    role: Any = given.get("role")
    return Message(
        role,
        _text("content", given.get("content")),
        tuple(_names("items", given.get("items"), MAX_ITEMS)),
    )


def _text(name: str, value: Any, most: int = MAX_MESSAGE_CHARS) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name} is {_told(value)}: give a text")
    if len(value) > most:
        raise InputError(
            f"{name} has {len(value):,} characters: at most {most:,} are read, please shorten it"
        )
    return value.encode("utf-8", "replace").decode()  # half of a surrogate pair is no text


def _names(name: str, values: Any, most: int = MAX_NAMES) -> list[str]:
    if values is None:
        return []
    if not isinstance(values, list):
        raise InputError(f"{name} is {_told(values)}: give a list of texts, or nothing")
    if len(values) > most:
        raise InputError(f"{name} has {len(values):,} entries: give at most {most}")
    return [_text(f"an entry of {name}", v, MAX_NAME_CHARS) for v in values]


def _whole(name: str, value: Any, low: int, high: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"{name} is {_told(value)}: give a whole number from {low} to {high}")
    return value


def _k(value: Any) -> int:
    found = _whole("k", value, 1, MAX_K)
    if found is None:
        raise InputError(f"k is None: give a whole number from 1 to {MAX_K}")
    return found


def _language(value: Any) -> str:
    if value not in ("", None, *LANGUAGES):
        raise InputError(f"language is {_told(value)}: use {', '.join(LANGUAGES)}, or nothing")
    return value or ""


def _told(value: Any) -> str:
    """A value for an error, cut where it is long."""
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


# -- what goes out --------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """The value as JSON types with every field; texts of the catalogue without orders in them."""
    if isinstance(value, Item):
        value = _harmless(value)
    elif isinstance(value, Source):
        kept = ((p, without_orders(p.text, value.item.all_titles)) for p in value.passages)
        passages = tuple(dataclasses.replace(p, text=text) for p, text in kept if text)
        value = dataclasses.replace(value, passages=passages)
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value


def _harmless(item: Item) -> Item:
    names = item.all_titles
    texts = {k: without_orders(text, names) for k, text in item.descriptions.items()}
    about = without_orders(item.description, names)
    return dataclasses.replace(item, description=about, descriptions=texts)


def _for_a_tool() -> bool:
    """Whether Gradio's MCP server asks, which shows a result as Python would, not as JSON."""
    request = LocalContext.request.get(None)
    return request is not None and request.headers.get("x-gradio-user") == "mcp"


def _refuse(sentence: str) -> NoReturn:
    raise gr.Error(sentence[:MAX_SENTENCE], print_exception=False)
