"""Remote hides object storage: a file or folder of it, with as much of a Path as is wanted here."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Literal

from llmrec.errors import InputError

__all__ = ["Place", "Remote", "files_below", "is_within", "place", "put"]

_ADDRESS = re.compile(r"(s3|gs)://([^/@?#]+(?:/[^/@?#]+)*)/?")


@dataclass(frozen=True)
class Remote:
    """What stands at an address of object storage, or is to stand there.

    Credentials, endpoint and region are those of the environment. A file appears whole or not at
    all: an upload that is broken off leaves nothing to be seen.

    Parameters
    ----------
    scheme: "s3" or "gs". key: the bucket, and what follows. storage: pyarrow's way to it.

    Raises
    ------
    InputError: by each method, where the storage cannot be reached or refuses.
    """

    scheme: str
    key: str
    storage: Any

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str) -> Remote:
        return replace(self, key=f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """As ``Path.suffix``."""
        return Path(self.name).suffix

    def is_file(self) -> bool:
        """Whether a file is there."""
        return bool(self._info().is_file)

    def stat(self) -> Any:
        """``st_size``: the bytes of the file."""
        return SimpleNamespace(st_size=int(self._info().size))

    def files(self) -> list[Remote]:
        """The files below this folder; none if there is none."""
        from pyarrow import fs

        with _reached(self):
            below = fs.FileSelector(self.key, recursive=True, allow_not_found=True)
            found = [i.path for i in self.storage.get_file_info(below) if i.is_file]
        return [replace(self, key=key) for key in found]

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """The bytes of the file, to be read from anywhere."""
        with _reached(self):
            return io.BufferedReader(self.storage.open_input_file(self.key), 1 << 20)

    def write(self, content: bytes) -> None:
        """Put a file there, in place of the one that was."""
        with _reached(self):
            stream = self.storage.open_output_stream(self.key)
            stream.write(content)
            stream.close()  # not by a with block, which would publish what broke off

    def unlink(self) -> None:
        """Remove the file."""
        with _reached(self):
            self.storage.delete_file(self.key)

    def _info(self) -> Any:
        with _reached(self):
            return self.storage.get_file_info(self.key)


@contextmanager
def _reached(what: Remote | str) -> Iterator[None]:
    try:
        yield
    except (OSError, NotImplementedError) as e:
        raise InputError(
            f"{what} cannot be used ({' '.join(str(e).split())[:200]}): look at the address, the "
            "network, and the credentials, endpoint and region in the environment"
        ) from None


Place = Path | Remote


def files_below(folder: Place) -> dict[str, Place]:
    """The files of a folder and of those within by their names below it, in that order."""
    if isinstance(folder, Remote):
        found = sorted(folder.files(), key=lambda file: file.key.split("/"))
        return {file.key.removeprefix(f"{folder.key}/"): file for file in found}
    there = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file for file in there}


def put(file: Place, content: bytes) -> None:
    """Write a file whole or not at all; two that write it at once do not disturb each other."""
    if isinstance(file, Remote):
        file.write(content)
        return
    part = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    with part.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def place(address: str) -> Place:
    """Where an address leads: ``s3://BUCKET/NAME``, ``gs://BUCKET/NAME`` or a path of this machine.

    Raises
    ------
    InputError: it looks like an address and is none, or nothing is reached there.
    """
    if "://" not in address:
        return Path(address)
    found = _ADDRESS.fullmatch(address)
    if found is None:
        # The address is not repeated: people put credentials into it.
        raise InputError(
            "an address of bulk must be s3://BUCKET/NAME or gs://BUCKET/NAME and no more: "
            "credentials go into the environment"
        )
    from pyarrow import fs

    with _reached(address):
        storage, key = fs.FileSystem.from_uri(address)
    return Remote(found[1], key, storage)


def is_within(one: Place, other: Place) -> bool:
    """Whether a place is another, or lies below it."""
    if isinstance(one, Remote) or isinstance(other, Remote):
        return f"{one}/".startswith(f"{other}/")
    return one.resolve().is_relative_to(other.resolve())
