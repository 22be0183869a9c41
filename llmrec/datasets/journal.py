"""Journal hides how interrupted work is found again: what it is of, and how far it came."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llmrec._version import __version__
from llmrec.errors import InputError

__all__ = ["Journal", "claimed", "difference", "digest", "fingerprints", "plain"]

_WHOLE_BYTES = 16 << 20  # files up to here are fingerprinted whole, others at both ends
_END_BYTES = 1 << 20
_NAME = "journal.jsonl"
_MADE_BY_US = ("prepare.json", "catalog.json")


@contextmanager
def claimed(part: Path) -> Iterator[Path]:
    """The hidden folder, for this process alone; it goes afterwards if no journal is in it.

    Raises
    ------
    InputError: another process has it.
    """
    part.mkdir(exist_ok=True)
    with (part / "lock").open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows: two runs at once are not told apart there
        except BlockingIOError:
            raise InputError(f"another run is at work in {part}: wait until it is done") from None
        try:
            yield part
        finally:
            if not (part / _NAME).exists():
                shutil.rmtree(part, ignore_errors=True)


class Journal:
    """What is done of the work in the hidden folder; the first line says which work it is."""

    def __init__(self, part: Path, restart: bool) -> None:
        self.folder = part / "folder"
        self._file = part / _NAME
        self.head: dict[str, Any] | None = None
        self.entries: list[dict[str, Any]] = []
        if restart:
            self.drop()
        if self._file.is_file():
            whole = 0
            for line in self._file.read_bytes().splitlines(keepends=True):
                try:
                    self.entries.append(json.loads(line if line.endswith(b"\n") else b"cut off"))
                except ValueError:
                    break
                whole += len(line)
            os.truncate(self._file, whole)
            self.head = self.entries.pop(0) if self.entries else None

    def drop(self) -> None:
        """Forget the work."""
        self._file.unlink(missing_ok=True)

    def begin(self, config: Mapping[str, Any]) -> int:
        """Go on with the work, or start it; how many rows are written."""
        head = {"llmrec": __version__, "config": config}
        if self.head is None or not self.folder.is_dir():
            self.entries = []
            self.drop()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._append(head)
            self.head = head
        elif self.head != head:
            raise InputError(
                f"an interrupted run has left its work in {self._file.parent}, but "
                f"{difference(self.head['config'], config)}: run it as before to go on, "
                "or with --restart (restart=True) to drop that work"
            )
        return sum(entry["rows"] for entry in self.entries if "rows" in entry)

    def add(self, table: str, split: str, **said: Any) -> None:
        """Write down what is done now."""
        entry = {"table": table, "split": split, **said}
        self._append(entry)
        self.entries.append(entry)

    def of(self, table: str, split: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The shards that are written, and the end of the split or None."""
        mine = [e for e in self.entries if (e["table"], e["split"]) == (table, split)]
        end = mine.pop() if mine and "rows" not in mine[-1] else None
        return mine, end

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())


def difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first thing in which two configurations differ, in words."""
    if was.get("facts") != now.get("facts"):
        old, new = (
            ", ".join(f"{o['name']} {o['fingerprint'][:8]}" for o in config.get("facts", ()))
            for config in (was, now)
        )
        if old == new:
            return "the mapping of the facts, or the licence beside them, has changed"
        return f"the facts were of {old or 'nothing'} and are of {new or 'nothing'}"
    for name, value in now.items():
        if name == "sources" and was[name] != value:
            before = {entry["file"]: entry for entry in was[name]}
            after = {entry["file"]: entry for entry in value}
            odd = [f for f in {**before, **after} if before.get(f) != after.get(f)]
            return f"the file {', '.join(odd[:3]) or 'list'} has changed"
        if name == "options" and was[name] != value:
            odd = [o for o in {**was[name], **value} if was[name].get(o) != value.get(o)]
            first = odd[0] if odd else ""
            return f"the option {first} was {was[name].get(first)!r} and is {value.get(first)!r}"
        if was[name] != value:
            return f"{name} was {was[name]!r} and is {value!r}"
    return "the version of llmrec was another"


def plain(value: Any) -> Any:
    """An option as JSON, files by their names only."""
    if isinstance(value, os.PathLike) or (isinstance(value, str) and os.path.isfile(value)):
        return os.path.basename(os.path.abspath(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def fingerprints(path: Any) -> list[dict[str, Any]]:
    """Name, size and digest of a file, or of the files in a folder; of anything else none."""
    if isinstance(path, str) and not os.path.exists(path):
        return []
    if not isinstance(path, (str, os.PathLike)):
        return []
    top = Path(path)
    found = []
    for folder, inner, names in os.walk(top):
        # What llmrec itself made of the data may lie beside it.
        inner[:] = sorted(
            name
            for name in inner
            if not name.startswith(".")
            and not any(Path(folder, name, m).is_file() for m in _MADE_BY_US)
        )
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    if top.is_file():
        found, top = [top], top.parent
    return [
        {"file": file.relative_to(top).as_posix(), "bytes": file.stat().st_size}
        | {"blake2b": digest(file, _WHOLE_BYTES)}
        for file in found
    ]


def digest(file: Path, whole: int | None = None) -> str:
    """Of size and bytes; of a file over ``whole`` bytes, of both its ends only."""
    size = file.stat().st_size
    made = blake2b(str(size).encode(), digest_size=16)
    with file.open("rb") as data:
        if whole is None or size <= whole:
            while block := data.read(_END_BYTES):
                made.update(block)
        else:
            made.update(data.read(_END_BYTES))
            data.seek(-_END_BYTES, os.SEEK_END)
            made.update(data.read(_END_BYTES))
    return made.hexdigest()
