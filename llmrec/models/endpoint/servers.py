"""Servers hides what kinds of servers there are: how each is told, and what it takes.

All speak the chat protocol of OpenAI, and differ in what they tell of themselves, in the form in
which they take a JSON schema, and in how an adapter is chosen for a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PureWindowsPath
from typing import Any, Literal

from llmrec.errors import ModelError
from llmrec.models.endpoint.wire import Answer

__all__ = ["Capabilities", "Form", "adapter_fields", "detect", "schema_fields"]

Form = Literal["json_schema", "json_object", "guided_json", "words"]
Peek = Callable[[str, float], Answer | None]

LONGEST_LOOK = 1.0  # second, in which a server is to tell what it is
_NOT_YET = (502, 503, 504)  # transformers answers 500 where the cache of the Hub is empty
_LOADING = ("ollama", "lmstudio")  # load a model with its first request, and tell only then
_MANY_FORMS: tuple[Form, ...] = ("json_schema", "json_object", "words")
_FORMS: Mapping[str, tuple[Form, ...]] = {
    "vllm": ("json_schema", "guided_json", "words"),
    "tgi": ("json_object", "json_schema", "words"),
    "ollama": ("json_schema", "words"),
    "lmstudio": ("json_schema", "words"),
    "llama.cpp": ("json_object", "json_schema", "words"),
    "llama-cpp-python": ("json_object", "words"),
    "transformers": ("words",),  # it takes a format, and does not keep to it
}


@dataclass(frozen=True)
class Capabilities:
    """What is known of a server.

    Attributes
    ----------
    server: "vllm", "tgi", "ollama", "lmstudio", "llama.cpp", "llama-cpp-python", "transformers",
        "providers" (of Hugging Face) or "unknown".
    forms: in which a schema is given to it, the first until it is refused; "words": in the prompt
        alone, where the others put it as well.
    context: how many tokens a prompt and its answer may have together; None: it does not tell.
    models: that it serves. adapters: that it has loaded for requests that name them. scales: how
        much each of these counts in a request that names none.
    settled: whether it told all that such a server tells. Until then it is asked again.
    """

    server: str = "unknown"
    version: str = ""
    forms: tuple[Form, ...] = _MANY_FORMS
    context: int | None = None
    models: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    settled: bool = True


def detect(
    peek: Peek, listed: Answer | None, model: str | None, left: float = LONGEST_LOOK
) -> Capabilities | None:
    """What a server tells of itself, None where it does not answer yet; never raises.

    Parameters
    ----------
    peek: asks it for a path, for so many seconds at most.
    listed: what it said under /v1/models.
    model: the one that is asked, where that was said.
    left: seconds that all this may take.
    """
    if listed is None or listed.status in _NOT_YET:
        return None
    end = time.monotonic() + left

    def look(path: str) -> Any:
        rest = end - time.monotonic()
        answer = peek(path, rest) if rest > 0 else None
        return answer.body if answer is not None and answer.status < 400 else None

    entries = [m for m in _list(_get(listed.body, "data")) if isinstance(_get(m, "id"), str)]
    try:
        found = _told(look, listed.headers.get("server", ""), entries, model)
    except Exception:  # it tells in a way that nobody knew, which is no reason not to ask it
        found = _made("unknown", entries)
    loading = found.server in _LOADING and found.context is None
    return replace(found, settled=not loading and time.monotonic() < end)


Look = Callable[[str], Any]
Entries = Sequence[Mapping[str, Any]]


def _told(look: Look, header: str, entries: Entries, model: str | None) -> Capabilities:
    owners = {m.get("owned_by") for m in entries}
    if header == "llama.cpp" or "llamacpp" in owners:
        return _llama_cpp(look, entries)
    if "vllm" in owners:
        return _vllm(look, entries, model)
    if any("providers" in m for m in entries):
        return _providers(entries, model)
    if _get(info := look("/info"), "max_total_tokens"):
        context, version = _whole(_get(info, "max_total_tokens")), _text(_get(info, "version"))
        return _made("tgi", entries, context, version)
    if isinstance(version := _get(look("/api/version"), "version"), str):
        loaded = _list(_get(look("/api/ps"), "models"))
        return _made("ollama", entries, _context(loaded, model, "context_length"), version)
    if native := _list(_get(look("/api/v0/models"), "data")):
        return _made("lmstudio", entries, _context(native, model, "loaded_context_length"))
    described = look("/openapi.json")  # the last: it can be long
    if "llama.cpp Python" in _text(_get(described, "info", "title")):
        version = _text(_get(described, "info", "version"))
        return _made("llama-cpp-python", entries, version=version)
    if _get(described, "paths", "/load_model") is not None:
        return _made("transformers", entries)
    return _made("unknown", entries)


def _made(
    server: str,
    entries: Entries,
    context: int | None = None,
    version: str = "",
    adapters: Iterable[str] = (),
) -> Capabilities:
    forms = _FORMS.get(server, _MANY_FORMS)
    models = tuple(m["id"] for m in entries)
    return Capabilities(server, version, forms, context, models, tuple(adapters))


def _vllm(look: Look, entries: Entries, model: str | None) -> Capabilities:
    """vLLM lists its adapters beside its models, whose children they are."""
    own = [m for m in entries if not m.get("parent")]
    adapters = [m["id"] for m in entries if m.get("parent")]
    context = _context(own, model if model not in adapters else None, "max_model_len")
    return _made("vllm", own, context, _text(_get(look("/version"), "version")), adapters)


def _llama_cpp(look: Look, entries: Entries) -> Capabilities:
    props = look("/props")
    context = _whole(_get(props, "default_generation_settings", "n_ctx"))
    loaded = [a for a in _list(look("/lora-adapters")) if isinstance(_get(a, "path"), str)]
    loaded.sort(key=lambda a: int(a["id"]))  # a request names them by these, from 0
    adapters = _names([a["path"] for a in loaded])
    made = _made("llama.cpp", entries, context, _text(_get(props, "build_info")), adapters)
    return replace(made, scales=tuple(float(a.get("scale", 1.0)) for a in loaded))


def _providers(entries: Entries, model: str | None) -> Capabilities:
    """Of the Hub's router: what all providers of a model take, as any of them may be asked."""
    name, _, provider = (model or "").partition(":")
    asked = next((m for m in entries if m["id"] == name), None)
    live = [p for p in _list(_get(asked, "providers")) if _get(p, "status") in (None, "live")]
    live = [p for p in live if _get(p, "provider") == provider] or live
    told = [c for p in live if (c := _whole(_get(p, "context_length")))]
    return _made("providers", entries, min(told, default=None))


def _names(paths: Sequence[str]) -> list[str]:
    """What files of adapters are called: without ending and folder, or by the folder."""
    files = [PureWindowsPath(p) for p in paths]  # it knows both kinds of slashes
    for names in ([f.stem for f in files], [f.parent.name for f in files]):
        if len({*names}) == len(names) and all(names):
            return names
    return [str(n) for n in range(len(paths))]


def _context(entries: Iterable[Any], model: str | None, field: str) -> int | None:
    """The field of the model asked, or of the only one that has it."""
    told = [(_get(m, "id") or _get(m, "name"), _whole(_get(m, field))) for m in entries]
    told = [(name, n) for name, n in told if n]
    mine = [n for name, n in told if model and name in (model, f"{model}:latest")]
    if mine or model:
        return mine[0] if mine else None
    return told[0][1] if len(told) == 1 else None


def adapter_fields(known: Capabilities, adapter: str | None, where: str) -> dict[str, Any]:
    """What a request says so that it is answered with an adapter, or as the server does without.

    Raises
    ------
    ModelError: the server has no such adapter, or takes none.
    """
    if adapter is None:
        mixed = sum(map(bool, known.scales)) > 1  # llama.cpp adds up all that it has, unless told
        return _scaled([0.0 if mixed else s for s in known.scales]) if known.scales else {}
    if known.server == "tgi":  # which does not tell its adapters
        return {"model": adapter}
    if known.server not in ("vllm", "llama.cpp"):
        raise ModelError(
            f"{where} ({known.server}) takes no adapter with a request: serve a model that has "
            f"{adapter!r} in its weights (train/export.py), and name it with model="
        )
    if adapter not in known.adapters:
        start = {"vllm": "--enable-lora --lora-modules", "llama.cpp": "--lora"}[known.server]
        has = ", ".join(known.adapters) or "none"
        raise ModelError(
            f"{where} has no adapter {adapter!r} ({has}): name one of these, or start it with "
            f"{start}"
        )
    if known.server == "vllm":
        return {"model": adapter}
    return _scaled([float(name == adapter) for name in known.adapters])


def _scaled(scales: Sequence[float]) -> dict[str, Any]:
    """The scale of each of llama.cpp's adapters.

    What it has computed of former prompts it keeps by their words, whatever adapter was used:
    with several, its cache would answer with the wrong one.
    """
    lora = [{"id": n, "scale": scale} for n, scale in enumerate(scales)]
    return {"lora": lora, "cache_prompt": False}


def schema_fields(form: Form, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What a request says so that its answer meets a schema."""
    plain = dict(schema)
    if form == "json_schema":
        named = {"name": "answer", "schema": plain}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if form == "json_object":  # llama.cpp reads "schema", TGI "value"
        return {"response_format": {"type": "json_object", "schema": plain, "value": plain}}
    return {"guided_json": plain} if form == "guided_json" else {}


def _get(value: Any, *keys: str) -> Any:
    """What stands under the keys, one in the other; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
