"""Folder hides what is done and who is at it, among processes that share nothing but a folder.

A shard that is done is a file, written whole. One that is under way is a locked byte of the file
``.lock``: the system frees it when its process ends, however it ends. The locks only save work:
where there are none, as on object storage, two processes may do the same shard, and write the same
bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.bulk.places import Place, Remote, files_below, put
from llmrec.bulk.table import counts, write
from llmrec.datasets.journal import difference
from llmrec.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MANIFEST", "BulkReport", "Folder"]

MANIFEST = "_manifest.json"  # readers of whole folders leave out what begins so
_LOCK = ".lock"
_HEAD = 1 << 40  # the byte that is locked while the manifest is seen to; shards are those before


@dataclass(frozen=True)
class BulkReport:
    """What a folder holds.

    Attributes
    ----------
    conversations: answered so far. recommendations: given to them.
    empty: conversations that nothing could be recommended to. failed: those with an error.
    shards: done, ``of`` so many.
    """

    folder: Place
    conversations: int
    recommendations: int
    empty: int
    failed: int
    shards: int
    of: int

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.conversations:,} conversations, {self.recommendations:,} "
            f"recommendations, {self.empty:,} with nothing to recommend, {self.failed:,} failed; "
            f"{self.shards:,} of {self.of:,} shards"
        )


class Folder:
    """The folder of a run of so many shards."""

    def __init__(self, path: Place, shards: int) -> None:
        self.path, self.shards = path, shards
        self._lock: int | None = None
        # Until the system or the file system turns out to have none.
        self._locks = not isinstance(path, Remote)

    def begin(
        self, manifest: Mapping[str, Any], *, restart: bool = False, retry_failed: bool = False
    ) -> None:
        """Write the manifest of a new run, or see that an old one is of the same.

        Raises
        ------
        InputError: the folder holds another run or something else, or others are at work in what
            is to be thrown away.
        """
        there = files_below(self.path)
        if MANIFEST not in there and any(name[0] != "." for name in there):
            raise InputError(f"{self.path} is there and holds no run: give another --out")
        if isinstance(self.path, Path):
            self.path.mkdir(parents=True, exist_ok=True)
        with self._held(_HEAD, 1, wait=True), self._held(0, _HEAD, wait=False) as alone:
            if (restart or retry_failed) and not alone:
                raise InputError(f"another run is at work in {self.path}: wait until it is done")
            if alone and self._locks and isinstance(self.path, Path):
                for left in self.path.glob(".shard-*"):
                    left.unlink(missing_ok=True)  # of processes that were killed
            if restart:
                for name, old in files_below(self.path).items():
                    if name == MANIFEST or name.startswith("shard-"):
                        old.unlink()
            self._agree(json.loads(json.dumps(manifest)))
            if retry_failed:
                for file in self._done():
                    if counts(file)["failed"]:
                        file.unlink()

    def _agree(self, manifest: Mapping[str, Any]) -> None:
        file = self.path / MANIFEST
        if not file.is_file():
            put(file, f"{json.dumps(manifest, indent=1, ensure_ascii=False)}\n".encode())
            return
        with file.open("rb") as data:
            text = data.read()
        try:
            was = json.loads(text)
            wrong = difference(was, manifest) if was != manifest else ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{file} is damaged: begin anew with --restart") from None
        if wrong:
            raise InputError(
                f"{self.path} holds a run of something else, {wrong}: give another --out, or "
                "replace it with --restart"
            )

    def has(self, number: int) -> bool:
        """Whether a shard is done."""
        return self._file(number).is_file()

    def write(self, number: int, rows: pa.Table) -> None:
        """Put down what a shard gave."""
        write(self._file(number), rows)

    @contextmanager
    def claimed(self, number: int, *, wait: bool) -> Iterator[bool]:
        """Whether a shard is this process's own until the block ends.

        Parameters
        ----------
        wait: whether to wait for another process that is at it, until that has done it or ended.
        """
        with self._held(number, 1, wait=wait) as mine:
            yield mine

    def report(self) -> BulkReport:
        """What is there by now. Raises InputError if a file is damaged."""
        done = self._done()
        said = [counts(file) for file in done]
        summed = [f.name for f in fields(BulkReport) if f.type == "int"][:4]
        return BulkReport(
            self.path,
            **{name: sum(s[name] for s in said) for name in summed},
            shards=len(done),
            of=self.shards,
        )

    def _file(self, number: int) -> Place:
        return self.path / f"shard-{number:06d}.parquet"

    def _done(self) -> list[Place]:
        there = files_below(self.path)
        return [f for f in map(self._file, range(self.shards)) if f.name in there]

    @contextmanager
    def _held(self, start: int, length: int, *, wait: bool) -> Iterator[bool]:
        """Whether these bytes of the lock are held; they are free again after the block."""
        try:
            import fcntl
        except ImportError:
            self._locks = False  # Windows
        if isinstance(self.path, Remote) or not self._locks:
            yield True
            return
        if self._lock is None:
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
            fcntl.lockf(self._lock, how, length, start)
        except (BlockingIOError, PermissionError):
            yield False
            return
        except OSError:
            self._locks = False
            yield True
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN, length, start)
