"""Files hides whether a file lies in a folder or in a repository of the Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["HUB_ID", "find_file"]

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def find_file(
    place: str | os.PathLike[str],
    file: str,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Path | None:
    """One file of a folder or a Hub repository; None where it is not, or cannot be reached."""
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
