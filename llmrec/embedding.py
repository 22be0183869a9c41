"""Embedding hides where the vectors of dense search come from: a named model, or an object."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from llmrec.errors import MissingExtraError, ModelError

__all__ = ["Embedding", "Encoder"]


class Encoder(Protocol):
    """What sentence-transformers models are, and any stand-in for one."""

    def encode(self, texts: list[str], /) -> Any:
        """Float array [len(texts), dimensions]."""
        ...


class Embedding:
    """A sentence-transformers model by name, loaded when first used, or any encoder.

    Attributes
    ----------
    name: the model's name; of an object its ``name``, else the name of its class.
    """

    def __init__(self, model: str | Encoder) -> None:
        if isinstance(model, str):
            self.name, self._model = model, None
        else:
            self.name, self._model = getattr(model, "name", None) or type(model).__name__, model
        self._lock = threading.Lock()

    def load(self) -> Encoder:
        """The model itself. Raises MissingExtraError or ModelError."""
        with self._lock:
            if self._model is None:
                try:
                    from sentence_transformers import SentenceTransformer
                except ImportError:
                    raise MissingExtraError("sentence-transformers", "dense") from None
                try:
                    self._model = SentenceTransformer(self.name)
                except Exception as e:
                    raise ModelError(
                        f"the embedding model {self.name!r} cannot be loaded "
                        f"({' '.join(str(e).split())[:160]}): give the name or folder of a "
                        "sentence-transformers model"
                    ) from e
            return self._model

    def encode(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Float32 [len(texts), dimensions], rows of length 1. Raises ModelError."""
        model = self.load()
        with self._lock:  # fast tokenizers refuse to be used by two threads at once
            vectors = np.asarray(model.encode(texts), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ModelError(
                f"the embedding model {self.name!r} gave an array of shape {vectors.shape} for "
                f"{len(texts)} texts: finite numbers, one row for each text, are wanted"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
