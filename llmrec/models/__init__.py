"""The one seam to language models: protocols, local models, servers, and a scripted one for tests.

The names are loaded when they are first used, so that importing this costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmrec.models.base import Forest, Growth, LanguageModel, Prefix, ScoringModel
    from llmrec.models.endpoint import Endpoint
    from llmrec.models.local import LocalModel
    from llmrec.models.scripted import ScriptedModel

__all__ = [
    "Endpoint",
    "Forest",
    "Growth",
    "LanguageModel",
    "LocalModel",
    "Prefix",
    "ScoringModel",
    "ScriptedModel",
]

_HOMES = {"Endpoint": "endpoint", "LocalModel": "local", "ScriptedModel": "scripted"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'base')}"), name)


def __dir__() -> list[str]:
    return __all__
