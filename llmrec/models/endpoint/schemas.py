"""Schemas hides how an answer in JSON is read, and held against the schema that it should meet."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["misfit", "read_json"]

_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL | re.IGNORECASE)


def read_json(text: str) -> Any:
    """The JSON value that an answer is, without thoughts before it and a fence around it.

    Raises
    ------
    ValueError: it is none. RecursionError: it is too deep.
    """
    spoken = text.rpartition("</think>")[2]  # some models think aloud first
    fenced = _FENCE.match(spoken)
    return json.loads(fenced[1] if fenced else spoken)


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
