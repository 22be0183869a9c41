"""Files hides whether a file lies in a folder or in a repository of the Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["HUB_ID", "find_file", "gguf_of"]

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def find_file(
    place: str | os.PathLike[str],
    file: str,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Path | None:
    """One file of a folder or a Hub repository; None where it is not, or cannot be reached.

    place: may as well be a GGUF file, beside which it is looked for.
    """
    place, _ = gguf_of(place)
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder / file if (folder / file).is_file() else None
    if not HUB_ID.fullmatch(str(place)):
        return None
    from transformers.utils.hub import cached_file

    found: str | None = cached_file(
        str(place),
        file,
        revision=revision,
        local_files_only=local_files_only or os.environ.get("HF_HUB_OFFLINE") == "1",
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def gguf_of(name: str | os.PathLike[str]) -> tuple[str | os.PathLike[str], str]:
    """The folder or repository of a GGUF file that is named as a whole, and the file; else ""."""
    path = Path(name).expanduser()
    if path.suffix != ".gguf" or path.is_dir():
        return name, ""
    owner, *rest = str(name).split("/")
    if path.is_file() or len(rest) < 2 or not HUB_ID.fullmatch(f"{owner}/{rest[0]}"):
        return str(path.parent), path.name
    return f"{owner}/{rest[0]}", "/".join(rest[1:])
