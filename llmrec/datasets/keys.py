"""Keys hides by what numbers products are known again, and drawn at random, in 8 bytes each."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmrec.titles import fold

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Keys", "Seen", "folded", "keys_of", "shuffled"]

Keys = npt.NDArray[np.uint64]

_FOLD = bytes(ord(chr(c).lower()) if chr(c).isalnum() else ord(" ") for c in range(128)).ljust(256)


def folded(title: str) -> bytes:
    """What ``fold`` makes of a title, many times as fast for ASCII."""
    if not title.isascii():
        return fold(title).encode()
    return b" ".join(title.encode().replace(b"&", b" and ").translate(_FOLD, b"'`").split())


def keys_of(ids: list[str], titles: list[bytes], texts: pa.StringArray) -> Keys:
    """Of each product the key of its text and the key of its uid, the same two where it has none.

    With 64 bits, two of two million different products share a key once in ten million times.
    """
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[: len(texts) + 1].tolist() if len(texts) else [0]
    view = memoryview(data or b"")
    out = []
    for uid, title, start, end in zip(ids, titles, ends, ends[1:], strict=False):
        uid_key = blake2b(b"\0" + uid.encode(), digest_size=8).digest()
        text_key = uid_key
        if end > start:
            made = blake2b(title + b"\0", digest_size=8)
            made.update(view[start:end])
            text_key = made.digest()
        out += [text_key, uid_key]
    return np.frombuffer(b"".join(out), np.uint64).reshape(-1, 2)


class Seen:
    """The keys of all products so far, 8 bytes each."""

    def __init__(self) -> None:
        self._keys = np.empty(0, np.uint64)

    def add(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which rows are new, by both of their keys; only these are remembered."""
        fresh = np.array(~self._has(keys).any(axis=1))
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        twice = (counts > 1)[inverse].reshape(keys.shape).any(axis=1)
        taken: set[int] = set()
        for row in np.flatnonzero(twice & fresh).tolist():
            pair = keys[row].tolist()
            fresh[row] = taken.isdisjoint(pair)
            if fresh[row]:
                taken.update(pair)
        added = np.unique(keys[fresh])
        self._keys = np.insert(self._keys, np.searchsorted(self._keys, added), added)
        return fresh

    def _has(self, keys: Keys) -> npt.NDArray[np.bool_]:
        at = np.searchsorted(self._keys, keys)
        known = np.zeros(keys.shape, bool)
        inside = at < len(self._keys)
        known[inside] = self._keys[at[inside]] == keys[inside]
        return known


def shuffled(keys: Keys, seed: int) -> Keys:
    """Other keys, in an order of their own for each seed (the finaliser of splitmix64)."""
    salt = blake2b(str(seed).encode(), digest_size=8).digest()
    x = keys ^ np.frombuffer(salt, np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Keys = x ^ (x >> np.uint64(31))
    return mixed
