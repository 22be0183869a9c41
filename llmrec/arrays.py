"""Arrays hides how texts by the million are held without an object each, and mapped from files.

What is kept in a file is read by all processes of a machine from the same pages of memory. A file
is whole or not there; one that was damaged is found out by its checksum. Nothing in it is run.
"""

from __future__ import annotations

import contextlib
import gc
import json
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

__all__ = [
    "ALIGN",
    "Arrays",
    "Joined",
    "Keeper",
    "Known",
    "Numbering",
    "Places",
    "Texts",
    "kept",
    "number",
    "numbers",
    "ragged",
    "write_aligned",
]

_Array = npt.NDArray[Any]
Arrays = Mapping[str, _Array]

_MAGIC = b"llmrec-arrays 1\n"
ALIGN = 64  # bytes
_BLOCK = 1 << 20
_STALE_S = 3_600.0
_PRIME = 0x4F1BBCDCBFA53E3B  # of 63 bits, without a pattern: no two texts of a language are alike
_REMEMBERED = 1 << 14


def number(text: str) -> int:
    """The number of a text, the same in every process: 63 bits, so that no two are expected alike.

    It is the remainder of its bytes by a prime, so that the number of two texts joined follows from
    theirs. For folded names and the like: NUL characters at the beginning do not count.
    """
    return int.from_bytes(text.encode("utf-8", "surrogatepass"), "big") % _PRIME


class Keeper(Protocol):
    """Who has items by the million, and keeps what is worked out of all: a Catalog."""

    def columns(self, fields: Sequence[str]) -> Iterator[Mapping[str, Sequence[Any]]]:
        """These fields of all items in order, some thousand items at a time."""

    def kept(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """What ``make`` gives, or what it gave before under this name."""


class Joined:
    """The numbers of all runs of words, joined by blanks."""

    def __init__(self, words: Sequence[str]) -> None:
        coded = [b" " + w.encode("utf-8", "surrogatepass") for w in words]
        self._first = [int.from_bytes(w[1:], "big") % _PRIME for w in coded]
        self._next = [int.from_bytes(w, "big") % _PRIME for w in coded]
        self._shift = [pow(256, len(w), _PRIME) for w in coded]

    def runs(self, longest: int) -> tuple[list[tuple[int, int]], npt.NDArray[np.int64]]:
        """Beginning and size of each run of up to so many words, and its number."""
        at: list[tuple[int, int]] = []
        values: list[int] = []
        for i, value in enumerate(self._first):
            at.append((i, 1))
            values.append(value)
            for j in range(i + 1, min(i + longest, len(self._first))):
                value = (value * self._shift[j] + self._next[j]) % _PRIME
                at.append((i, j - i + 1))
                values.append(value)
        return at, np.array(values, dtype=np.int64)


class Texts(Sequence[str]):
    """Texts that lie one behind the other.

    Attributes
    ----------
    data: uint8, their bytes. ends: where each begins, and the end of the last: [n + 1].
    """

    def __init__(self, data: _Array, ends: _Array) -> None:
        self.data, self.ends = data, ends
        self._bytes = data.data

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """These texts."""
        coded = [t.encode("utf-8", "surrogatepass") for t in texts]
        ends = np.zeros(len(coded) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, coded), np.int64, len(coded)), out=ends[1:])
        return cls(np.frombuffer(b"".join(coded), dtype=np.uint8), _small(ends))

    @classmethod
    def of_arrow(cls, column: Any) -> Texts:
        """The strings of an Arrow array without nulls."""
        import pyarrow as pa

        if not len(column):
            return cls.of(())
        column = column.cast(pa.large_string())
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        _, ends, data = column.buffers()
        own = np.frombuffer(ends, np.int64)[column.offset : column.offset + len(column) + 1]
        held = np.frombuffer(data or b"", np.uint8)[own[0] : own[-1]]
        return cls(held, _small(own - own[0]))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        n = len(self)
        if not -n <= at < n:
            raise IndexError(f"text {at} of {n}")
        at %= n
        return str(self._bytes[self.ends[at] : self.ends[at + 1]], "utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for own in self.coded():
            yield str(own, "utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        return {"data": np.array(self.data), "ends": np.array(self.ends)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def coded(self) -> Iterator[bytes]:
        """The bytes of each."""
        for lo in range(0, len(self), _BLOCK):
            ends = self.ends[lo : lo + _BLOCK + 1].astype(np.int64)
            held = self.data[ends[0] : ends[-1]].tobytes()
            marks = (ends - ends[0]).tolist()
            yield from (held[a:b] for a, b in pairwise(marks))

    def take(self, at: _Array) -> Texts:
        """Those at some places, in the order given."""
        starts = self.ends[at].astype(np.int64)
        sizes = self.ends[np.asarray(at) + 1].astype(np.int64) - starts
        ends = np.concatenate(([0], np.cumsum(sizes)))
        return Texts(self.data[ragged(starts, sizes)], _small(ends))

    def __add__(self, other: Texts) -> Texts:
        ends = np.append(
            self.ends.astype(np.int64), self.ends[-1] + other.ends[1:].astype(np.int64)
        )
        return Texts(np.append(self.data, other.data), _small(ends))

    def sizes(self) -> npt.NDArray[np.int64]:
        """How many bytes each has."""
        ends = self.ends.astype(np.int64)
        out: npt.NDArray[np.int64] = ends[1:] - ends[:-1]
        return out

    def lengths(self) -> npt.NDArray[np.int32]:
        """How many characters each has."""
        return self.counts((self.data & 0xC0) != 0x80)

    def counts(self, flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
        """Of flags, one for each byte, how many are set in each text."""
        running = np.zeros(len(flags) + 1, dtype=np.int64)
        np.cumsum(flags, out=running[1:])
        out: npt.NDArray[np.int32] = np.diff(running[self.ends]).astype(np.int32)
        return out


class Numbering(dict[Any, int]):
    """The number of each different value, given as they come: 0, 1, 2 ..."""

    def __missing__(self, value: Any) -> int:
        self[value] = new = len(self)
        return new

    def of(self, values: Iterable[Any], count: int) -> npt.NDArray[np.int32]:
        """The numbers of so many values."""
        return np.fromiter(map(self.__getitem__, values), dtype=np.int32, count=count)


class Places(Mapping[str, int]):
    """Where each of many texts stands that are all different: 12 bytes each beside the texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        values = numbers(texts, len(texts))
        order = np.argsort(values, kind="stable")
        self._values, self._order = values[order], order.astype(np.int32)

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __getitem__(self, text: str) -> int:
        if isinstance(text, str):
            value = number(text)
            lo = int(self._values.searchsorted(value))
            while lo < len(self._values) and self._values[lo] == value:
                place = int(self._order[lo])
                if self._texts[place] == text:
                    return place
                lo += 1
        raise KeyError(text)


class Known:
    """Numbers of texts, ascending, and which texts have one: 8 bytes each.

    What was asked for lately is remembered, since messages repeat the same few words.
    """

    def __init__(self, values: npt.NDArray[np.int64]) -> None:
        self.values = values
        self.place = lru_cache(_REMEMBERED)(self._place)

    def __contains__(self, text: str) -> bool:
        return self.place(text) >= 0

    def _place(self, text: str) -> int:
        """Where the number of a text stands; -1 where there is none."""
        value = number(text)
        at = int(self.values.searchsorted(value))
        return at if at < len(self.values) and int(self.values[at]) == value else -1


def numbers(texts: Iterable[str | bytes], count: int = -1) -> npt.NDArray[np.int64]:
    """``number`` of each; bytes are those of UTF-8."""
    coded = (t if isinstance(t, bytes) else t.encode("utf-8", "surrogatepass") for t in texts)
    return np.fromiter((int.from_bytes(t, "big") % _PRIME for t in coded), np.int64, count)


def ragged(starts: _Array, sizes: _Array) -> npt.NDArray[np.int64]:
    """The indices of many slices, one after the other."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _small(ends: _Array) -> _Array:
    """Ends of texts in half the bytes where they fit."""
    return ends.astype(np.uint32) if ends[-1] < 2**32 else ends


def kept(file: Path | None, key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of a file, mapped; where it has none of this ``key``, what ``make`` gives.

    What was made is written for the next time. Where it cannot be (no room, no right), or there
    is no ``file``, it is held in memory.
    """
    if file is None:
        return make()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _read(file, key)
    with _uncollected():
        made = make()
    with contextlib.suppress(OSError, ValueError):
        _write(file, key, made)
        return _read(file, key)
    return made


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles, to which millions of short-lived lists give much to do."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _write(file: Path, key: str, arrays: Arrays) -> None:
    """Whole or not at all. Raises OSError."""
    for left in file.parent.glob(".*.part"):  # of processes that were killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
    own = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    check = 0
    for array in own.values():
        check = zlib.crc32(array.data.cast("B") if array.size else b"", check)
    head = {"key": key, "crc": check, "arrays": [[n, a.dtype.str, len(a)] for n, a in own.items()]}
    write_aligned(file, _MAGIC + json.dumps(head).encode() + b"\n", own.values())


def write_aligned(file: Path, head: bytes, arrays: Iterable[_Array]) -> None:
    """Write arrays behind a head, each where a mapping may begin: whole or not at all.

    Raises OSError.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}-{uuid.uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as out:
            out.write(head)
            for array in arrays:
                out.write(b"\0" * (-out.tell() % ALIGN))
                out.write(np.ascontiguousarray(array).data)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _read(file: Path, key: str) -> dict[str, _Array]:
    """Raises OSError or ValueError where there is no such whole file of this key."""
    with file.open("rb") as opened:
        magic, head = opened.readline(1 << 16), opened.readline(1 << 16)
        if magic != _MAGIC or not head.endswith(b"\n"):
            raise ValueError("it does not begin as one")
        said = json.loads(head)
        if said["key"] != key:
            raise ValueError("it belongs to another")
        places, check = {}, 0
        for name, kind, count in said["arrays"]:
            opened.seek(-opened.tell() % ALIGN, 1)
            if np.dtype(kind).kind not in "biuf":
                raise ValueError(f"its {name} are {kind}")
            places[name] = opened.tell(), np.dtype(kind), int(count)
            left = np.dtype(kind).itemsize * int(count)
            while left:  # read, not mapped: what is mapped would count as memory of this process
                block = opened.read(min(left, _BLOCK))
                if not block:
                    raise ValueError("it is cut short")
                check = zlib.crc32(block, check)
                left -= len(block)
        if check != said["crc"]:
            raise ValueError("it was damaged")
    data = np.memmap(file, dtype=np.uint8, mode="r")
    return {
        name: np.asarray(data[at : at + kind.itemsize * count]).view(kind)
        for name, (at, kind, count) in places.items()
    }
