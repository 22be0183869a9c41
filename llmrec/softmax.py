"""Softmax hides how hashed features of a text are weighed for classes, and kept in a file.

The classifiers of the package are this small because a feature is no more than a checksum of its
name, and a weight no more than a byte. ``llmrec.training.softmax`` learns them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError

__all__ = ["Softmax", "buckets", "read_heads", "written_heads"]

FORMAT = 1

_Floats = npt.NDArray[np.float64]


class Softmax:
    """Linear scores of classes, made probabilities.

    Parameters
    ----------
    classes: their names, in the order of the columns.
    weights: int8 [buckets, classes]; a feature's bucket is a checksum of its name.
    scale: float [classes], what one step of the weights is worth.
    bias: float [classes].
    temperature: what the scores are divided by, fitted so that the probabilities are calibrated.
    """

    def __init__(
        self,
        classes: Sequence[str],
        weights: npt.NDArray[np.int8],
        scale: Sequence[float],
        bias: Sequence[float],
        temperature: float = 1.0,
    ) -> None:
        self.classes = tuple(classes)
        self.weights = weights
        self.scale = np.asarray(scale, dtype=np.float64)
        self.bias = np.asarray(bias, dtype=np.float64)
        self.temperature = temperature

    def log_probabilities(self, texts: Iterable[Sequence[str]]) -> _Floats:
        """float64 [texts, classes], of texts given as the names of their features."""
        rows = []
        for names in texts:
            at = buckets(names, len(self.weights))
            total = self.weights[at].sum(0, dtype=np.int64) * self.scale
            rows.append((total / np.sqrt(max(len(at), 1)) + self.bias) / self.temperature)
        scores = np.array(rows).reshape(-1, len(self.classes))
        scores -= scores.max(1, keepdims=True)
        return np.asarray(scores - np.log(np.exp(scores).sum(1, keepdims=True)))


def buckets(names: Sequence[str], n: int) -> npt.NDArray[np.int64]:
    """Where each feature stands among ``n`` buckets."""
    return np.fromiter((zlib.crc32(name.encode()) % n for name in names), np.int64, len(names))


def written_heads(heads: Mapping[str, Softmax], facts: Mapping[str, Any]) -> bytes:
    """Classifiers by name as the bytes of a safetensors file.

    Parameters
    ----------
    facts: of how they were learned, in plain JSON types; they stand in the file.
    """
    from safetensors.numpy import save

    said = {
        name: {
            "classes": head.classes,
            "scale": head.scale.round(9).tolist(),
            "bias": head.bias.round(6).tolist(),
            "temperature": head.temperature,
        }
        for name, head in heads.items()
    }
    told = {"format": FORMAT, "heads": said, "facts": dict(facts)}
    tensors = {name: np.ascontiguousarray(head.weights) for name, head in heads.items()}
    return save(tensors, metadata={"llmrec": json.dumps(told, ensure_ascii=False)})


def read_heads(file: Path, script: str) -> tuple[dict[str, Softmax], dict[str, Any]]:
    """What ``written_heads`` wrote: the classifiers by name, and the facts.

    Parameters
    ----------
    script: writes such a file anew.

    Raises
    ------
    InputError: the file is absent, damaged, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as found:
            said = json.loads((found.metadata() or {})["llmrec"])
            if said["format"] != FORMAT:
                raise ValueError(f"its format is {said['format']!r}")
            heads = {
                name: Softmax(weights=found.get_tensor(name), **head)
                for name, head in said["heads"].items()
            }
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as e:
        raise InputError(f"{file} cannot be read ({e}): write it anew with {script}") from None
    return heads, said["facts"]
