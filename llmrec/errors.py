"""What can go wrong, as one small tree.

::

    LLMRecError
    ├── InputError          a value from the caller that cannot be used  (also a ValueError)
    ├── CatalogError        a catalogue that cannot be built, opened or searched
    │   └── UnknownItemError    an id that is not in the catalogue       (also a KeyError)
    ├── ModelError          a model, tokenizer or adapter that cannot be loaded or run
    │   └── SchemaError         answers that do not meet the schema asked for
    ├── HubError            something asked of the Hugging Face Hub that did not succeed
    └── MissingExtraError   an optional dependency is not installed      (also an ImportError)

Every message names the bad value, what is allowed, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "CatalogError",
    "HubError",
    "InputError",
    "LLMRecError",
    "MissingExtraError",
    "ModelError",
    "SchemaError",
    "UnknownItemError",
]


class LLMRecError(Exception):
    """The root of everything that llmrec raises on purpose."""

    def __str__(self) -> str:
        # KeyError would print the repr of its message: one clear sentence is wanted instead.
        return str(self.args[0]) if self.args else type(self).__name__


class InputError(LLMRecError, ValueError):
    """A value given by the caller cannot be used."""


class CatalogError(LLMRecError):
    """A catalogue cannot be built, opened or searched."""


class UnknownItemError(CatalogError, KeyError):
    """No item of the catalogue has the id asked for."""


class ModelError(LLMRecError):
    """A model, its tokenizer or its adapter cannot be loaded or run."""


class SchemaError(ModelError):
    """A model gave no answer that meets the schema asked for."""


class HubError(LLMRecError):
    """The Hugging Face Hub refused something, or did not answer."""


class MissingExtraError(LLMRecError, ImportError):
    """An optional dependency is needed and not installed.

    Parameters
    ----------
    package: name of the missing package, as it is installed.
    extra: the extra of llmrec that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is needed for this and is not installed: run pip install 'llmrec[{extra}]'"
        )
        self.package = package
        self.extra = extra
