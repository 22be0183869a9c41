"""The public names of llmrec, each loaded when it is first used, so that importing is cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmrec._version import __version__

if TYPE_CHECKING:
    from llmrec.catalog import BuildReport, Catalog
    from llmrec.errors import (
        CatalogError,
        HubError,
        InputError,
        LLMRecError,
        MissingExtraError,
        ModelError,
        UnknownItemError,
    )
    from llmrec.ranker import LearnedRanker
    from llmrec.recommender import Recommender
    from llmrec.titles import TitleMatch
    from llmrec.types import (
        Answer,
        Conversation,
        Example,
        Item,
        Message,
        Passage,
        Preferences,
        Recommendation,
        Reply,
        Source,
        Uncertainty,
    )
else:
    import importlib

    _HOMES = {
        "catalog": ("BuildReport", "Catalog"),
        "errors": (
            "CatalogError",
            "HubError",
            "InputError",
            "LLMRecError",
            "MissingExtraError",
            "ModelError",
            "UnknownItemError",
        ),
        "ranker": ("LearnedRanker",),
        "recommender": ("Recommender",),
        "titles": ("TitleMatch",),
        "types": (
            "Answer",
            "Conversation",
            "Example",
            "Item",
            "Message",
            "Passage",
            "Preferences",
            "Recommendation",
            "Reply",
            "Source",
            "Uncertainty",
        ),
    }

    def __getattr__(name: str) -> object:
        for module, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Answer",
    "BuildReport",
    "Catalog",
    "CatalogError",
    "Conversation",
    "Example",
    "HubError",
    "InputError",
    "Item",
    "LLMRecError",
    "LearnedRanker",
    "Message",
    "MissingExtraError",
    "ModelError",
    "Passage",
    "Preferences",
    "Recommendation",
    "Recommender",
    "Reply",
    "Source",
    "TitleMatch",
    "Uncertainty",
    "UnknownItemError",
    "__version__",
]


def __dir__() -> list[str]:
    return __all__
