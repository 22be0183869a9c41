"""Predictions hides the file of what a system said: one JSON line an example, appended, resumable.

A line is written, flushed and synced before the next example is begun, so that a kill costs at
most the line that was being written; a torn last line is cut off when the file is opened again.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from llmrec.errors import InputError
from llmrec.folders import write_whole

__all__ = ["Prediction", "Predictions", "at_work", "read_predictions", "write_predictions"]


@dataclass(frozen=True)
class Prediction:
    """What a system recommended for one example.

    Attributes
    ----------
    id, dialogue: of the example. turn: how many messages stand before the one that is predicted.
    language: of the conversation. relevant, mentioned: item ids of the example, each once.
    items: ids, best first. Mentioned ones may be among them; it is long enough for the largest k
        after they are removed, where the system had so many.
    scores: one for each item, or none.
    seconds: of its batch, divided by the examples in it. tokens: what the model was fed for it,
        padding included, shared out over the batch; 0 for baselines.
    text: what a generating system wrote; None for the others.
    tiers: how often titles were matched by each tier (see ``TitleMatch``), once for each time
        that a list has the title. outside: titles written that the catalogue does not have.
    duplicates: titles written again in the list that had them.
    wishes: hard wishes met and asked, over the first five items; None where none was understood.
    reply_language: which language the reply is in; None where there is no reply.
    error: why there is no list; None where there is one.
    """

    id: str
    dialogue: str
    turn: int
    language: str
    relevant: tuple[str, ...]
    mentioned: tuple[str, ...]
    items: tuple[str, ...]
    scores: tuple[float, ...] = ()
    seconds: float = 0.0
    tokens: int = 0
    text: str | None = None
    tiers: Mapping[str, int] = field(default_factory=dict)
    outside: int = 0
    duplicates: int = 0
    wishes: tuple[int, int] | None = None
    reply_language: str | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain JSON types."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
        return {**plain, "tiers": dict(self.tiers)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Prediction:
        """What ``to_dict`` wrote. Raises InputError for anything else."""
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except TypeError as e:
            raise InputError(f"this is no prediction ({e}): its fields are {_FIELDS}") from None


_FIELDS = ", ".join(f.name for f in dataclasses.fields(Prediction))


class Predictions:
    """A file that predictions are appended to; use it in a ``with``, one process for each file.

    Attributes
    ----------
    ids: of the examples that are in the file.

    Raises
    ------
    InputError: another process has the file open, or a line before the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("ab")
        try:
            _claim(self._file, path)
            kept, size = _whole(path)
            if size < path.stat().st_size:
                os.truncate(path, size)
        except BaseException:
            self._file.close()
            raise
        self.ids = {p.id for p in kept}

    def add(self, prediction: Prediction) -> None:
        """Append one line, so that it is on the disk when this returns."""
        line = json.dumps(prediction.to_dict(), ensure_ascii=False) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.ids.add(prediction.id)

    def __enter__(self) -> Predictions:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def read_predictions(path: Path) -> Iterator[Prediction]:
    """The predictions of a file, in its order, without a torn last line. Raises InputError."""
    return iter(_whole(path)[0])


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write a file of predictions whole or not at all."""
    lines = (json.dumps(p.to_dict(), ensure_ascii=False) for p in predictions)
    write_whole(path, "\n".join(lines))


def _whole(path: Path) -> tuple[list[Prediction], int]:
    """The predictions of the whole lines, and how many bytes these have."""
    kept: list[Prediction] = []
    size = 0
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as e:
        raise InputError(f"{path} cannot be read ({e.strerror}): run eval/run.py first") from None
    for number, line in enumerate(lines, 1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it is cut off")
            kept.append(Prediction.from_dict(json.loads(line)))
        except (ValueError, AttributeError) as e:
            if number == len(lines):
                break  # a kill came while it was written
            raise InputError(
                f"line {number} of {path} is damaged ({e}): begin anew with --restart"
            ) from None
        size += len(line)
    return kept, size


def at_work(path: Path) -> bool:
    """Whether a process has the file open as its Predictions."""
    try:
        with path.open("rb") as file:
            return not _locked(file, exclusive=False)
    except OSError:
        return False


def _claim(file: IO[bytes], path: Path) -> None:
    for _ in range(20):  # somebody may just be asking whether we are at work
        if _locked(file, exclusive=True):
            return
        time.sleep(0.02)
    raise InputError(f"another run is at work on {path}: wait until it is done")


def _locked(file: IO[bytes], *, exclusive: bool) -> bool:
    try:
        import fcntl
    except ImportError:
        return True  # Windows: two runs at once are not told apart there
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
