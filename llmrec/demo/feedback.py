"""Feedback hides how likes, dislikes and votes are kept with consent, and become training rows.

A row is one line of JSON. Nothing of a visitor who has not agreed is ever written, and what is
written names nobody: the conversation, what was shown, and an id of chance for each visit.
"""

from __future__ import annotations

import atexit
import datetime
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.demo.feedback_rows import (
    CHOICES,
    OPINIONS,
    REASONS,
    SCHEMA,
    Asked,
    Choice,
    Marked,
    Voted,
    files_in,
    rows_of,
)
from llmrec.demo.lessons import read_feedback
from llmrec.errors import HubError, InputError
from llmrec.folders import write_whole
from llmrec.types import Conversation, Message

if TYPE_CHECKING:
    from llmrec.demo.visit import Visit
    from llmrec.recommender import Recommender

__all__ = ["Asked", "Consent", "Feedback", "Tally", "asked_for", "read_feedback"]

FILE_BYTES = 5_000_000  # after so many a new file is begun
FOLDER_BYTES = 1_000_000_000  # after so many nothing more is kept
ROW_BYTES = 200_000
BATCH = 50  # rows that are pushed together
PATIENCE_S = 300.0  # after which fewer are
_TOKEN_LIKE = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
_ID = re.compile(r"[0-9a-f]{32}")

_log = logging.getLogger(__name__)


class Consent:
    """Whether a visitor has agreed that feedback is kept; one for each visit.

    Attributes
    ----------
    given: off until the visitor says so. id: of chance; all that joins the rows of a visit.
    rows: how many were kept under this id.
    """

    def __init__(self) -> None:
        self.given = False
        self.id = secrets.token_hex(16)
        self.rows = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Consent:
        """A fresh one, not given: how the page gives each visitor an own one."""
        return Consent()

    def renew(self) -> None:
        """Take it back, and begin a new id, which nothing joins to the old one."""
        self.__init__()  # type: ignore[misc]


@dataclass
class Tally:
    """How often each of two was preferred, over the pairs voted on.

    A pair is kept in the order of its names, whichever stood left.
    """

    counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def add(self, a: str, b: str, choice: str) -> None:
        """Count a vote; ``a`` and ``b`` are the names as they stood."""
        first, second = sorted((a, b))
        winner = {"a": a, "b": b}.get(choice)
        key = choice if winner is None else "first" if winner == first else "second"
        self.counts.setdefault((first, second), Counter())[key] += 1


class Feedback:
    """Keeps rows in a folder, and pushes them to a data set of the Hub in batches.

    A context manager, which pushes what waits at its end. May be shared by all visitors, threads
    and (where the system locks files) processes. What goes wrong while a visitor waits is logged
    and told by False; nothing is raised.

    Parameters
    ----------
    folder: where files are kept, made where there is none. None, with a data set: a folder that
        goes when the process ends and all is pushed.
    dataset: ``owner/name`` on the Hub. With neither, nothing is kept.
    private: whether the data set must be private; None lets its owner have it public.
    batch: rows that are pushed together; fewer after five minutes.

    Raises
    ------
    InputError: the folder cannot be made.
    HubError: there is a data set and no token for the Hub.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        dataset: str | None = None,
        *,
        private: bool | None = True,
        batch: int = BATCH,
        file_bytes: int = FILE_BYTES,
        folder_bytes: int = FOLDER_BYTES,
    ) -> None:
        self.dataset, self.private = dataset, private
        self.lasting = folder is not None
        self._batch, self._file_bytes, self._folder_bytes = batch, file_bytes, folder_bytes
        self._lock, self._pushing = threading.RLock(), threading.Lock()
        self._waiting = 0
        self._sent: dict[str, tuple[int, int]] = {}
        self._timer: threading.Timer | None = None
        self._tally: Tally | None = None
        self._stem = f"feedback-{datetime.date.today():%Y%m%d}-{secrets.token_hex(4)}"
        self._part = 1
        if dataset is not None:
            from llmrec.hub import ready_to_push

            ready_to_push(dataset, kind="dataset")
        self.folder: Path | None = None if folder is None else Path(folder)
        if folder is None and dataset is not None:
            self.folder = Path(tempfile.mkdtemp(prefix="llmrec-feedback-"))
            atexit.register(self._leave)
        if self.folder is not None:
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as e:
                raise InputError(
                    f"feedback cannot be kept in {self.folder} ({e.strerror}): name a folder that "
                    "can be written"
                ) from None

    @property
    def keeps(self) -> bool:
        """Whether there is a place for rows."""
        return self.folder is not None

    # -- what visitors give -------------------------------------------------------------------

    def mark(self, consent: Consent, asked: Asked, item_id: str, mark: str, by: str = "") -> bool:
        """Keep that an item was liked or disliked, or with "none" that this was taken back.

        Parameters
        ----------
        by: the name of what recommended it.

        Returns whether it was kept.
        """
        if mark not in OPINIONS or item_id not in asked.titles:
            return False
        said = {"item": item_id, "mark": mark, "by": by}
        return self._keep(consent, {"kind": "mark", **asked.to_dict(), **said})

    def vote(
        self,
        consent: Consent,
        asked: Asked,
        a: tuple[str, Sequence[str]],
        b: tuple[str, Sequence[str]],
        choice: Choice,
        reasons: Sequence[str] = (),
    ) -> bool:
        """Keep which of two lists was better.

        Parameters
        ----------
        a, b: the name of the contestant that stood there, and the ids of its list.

        Returns whether it was kept.
        """
        if choice not in CHOICES:
            return False
        sides = {
            side: {"name": name, "items": list(ids)} for side, (name, ids) in (("a", a), ("b", b))
        }
        known = [r for r in REASONS if r in reasons]
        row = {"kind": "vote", **asked.to_dict(), **sides, "vote": choice, "reasons": known}
        with self._lock:
            kept = self._keep(consent, row)
            if kept and self._tally is not None:
                self._tally.add(a[0], b[0], choice)
        return kept

    def delete(self, visit: str) -> int:
        """Delete every row of a visit, by its id; how many there were.

        The data set on the Hub follows with the next push; its history is its owner's to squash.

        Raises
        ------
        InputError: that is no id of a visit.
        """
        if not _ID.fullmatch(visit):
            raise InputError(f"{visit!r} is no id of a visit: it has 32 of the characters 0-9a-f")
        gone = 0
        with self._held():
            for file in files_in(self.folder):
                lines = file.read_bytes().splitlines(keepends=True)
                kept = [line for line in lines if visit.encode() not in line]
                if len(kept) == len(lines):
                    continue
                gone += len(lines) - len(kept)
                # A file that was pushed is only taken off the Hub by another of its name.
                emptied = json.dumps({"schema": SCHEMA, "kind": "deleted"}).encode() + b"\n"
                write_whole(file, b"".join(kept) or emptied)
            self._tally = None
        if gone:
            self._to_push(gone)
        return gone

    def tally(self) -> Tally:
        """All votes in the folder, by pair; none where it cannot be read."""
        try:
            with self._held():
                if self._tally is None:
                    self._tally = Tally()
                    for row in self._read():
                        if isinstance(row, Voted):
                            self._tally.add(row.a[0], row.b[0], row.choice)
                return Tally({pair: Counter(n) for pair, n in self._tally.counts.items()})
        except OSError as e:
            _log.warning("the votes kept so far cannot be read: %s", e)
            return Tally()

    # -- the Hub ------------------------------------------------------------------------------

    def push(self) -> str:
        """Push what is new to the data set now, and return its address; "" where nothing is new.

        Raises
        ------
        InputError: there is no data set.
        HubError: the Hub refuses or does not answer; all rows are still here, and the next push
            takes them along.
        """
        from llmrec.hub import push_folder

        if self.dataset is None:
            raise InputError("feedback has no data set to push to: give dataset='owner/name'")
        with self._pushing, tempfile.TemporaryDirectory() as place:
            with self._held():
                waiting, self._waiting = self._waiting, 0
                stats = {f: f.stat() for f in files_in(self.folder)}
                now = {f.name: (s.st_mtime_ns, s.st_size) for f, s in stats.items()}
                for file in stats:
                    if self._sent.get(file.name) != now[file.name]:
                        shutil.copyfile(file, Path(place, file.name))
            if not any(Path(place).iterdir()):
                return ""
            try:
                address = push_folder(
                    place, self.dataset, kind="dataset", private=self.private,
                    message="Feedback", progress=False,
                )  # fmt: skip
            except (HubError, InputError, OSError) as e:
                with self._lock:
                    self._waiting += waiting
                said = str(e).replace(str(place), str(self.folder))
                raise HubError(said.split("; to finish,")[0]) from None
            self._sent |= now
            return address

    def __enter__(self) -> Feedback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Push what waits; what cannot be pushed is logged. To be called before Python ends."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if self.dataset is not None and self._waiting:
            self._push_quietly()

    def _to_push(self, rows: int) -> None:
        if self.dataset is None:
            return
        with self._lock:
            self._waiting += rows
            full = self._waiting >= self._batch
            if self._timer is not None and not full:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(0 if full else PATIENCE_S, self._push_quietly)
            self._timer.daemon = True
            self._timer.start()

    def _leave(self) -> None:
        """Remove the folder, unless it holds what the Hub has not."""
        assert self.folder is not None
        if self._waiting:
            _log.warning("%d rows of feedback were not pushed: %s", self._waiting, self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _push_quietly(self) -> None:
        with self._lock:
            self._timer = None
        try:
            self.push()
        except (HubError, InputError, OSError) as e:
            _log.warning("feedback waits for the next push: %s", e)

    # -- files --------------------------------------------------------------------------------

    def _keep(self, consent: Consent, said: Mapping[str, Any]) -> bool:
        if not consent.given or self.folder is None:
            return False
        day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        head = {"schema": SCHEMA, "id": secrets.token_hex(8), "visit": consent.id, "day": day}
        text = json.dumps({**head, **said}, ensure_ascii=False)
        # Whoever pastes a token does not mean it to be kept, and no push would take it along.
        line = _TOKEN_LIKE.sub("hf_(token)", text).encode() + b"\n"
        try:
            if len(line) > ROW_BYTES:
                raise OSError(f"a row has {len(line):,} bytes, at most {ROW_BYTES:,} are kept")
            with self._held():
                # Asked again under the lock: it may have been taken back in the meantime.
                if not consent.given or head["visit"] != consent.id:
                    return False
                self._append(line)
                consent.rows += 1
        except OSError as e:
            _log.warning("a row of feedback was not kept: %s", e)
            return False
        self._to_push(1)
        return True

    def _append(self, line: bytes) -> None:
        assert self.folder is not None
        if sum(f.stat().st_size for f in files_in(self.folder)) + len(line) > self._folder_bytes:
            raise OSError(f"{self.folder} holds {self._folder_bytes:,} bytes, the most it may")
        file = self._current()
        if file.exists() and file.stat().st_size + len(line) > self._file_bytes:
            self._part += 1
            file = self._current()
        to = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.lseek(to, 0, os.SEEK_END)
            if size:
                os.lseek(to, size - 1, os.SEEK_SET)
                if os.read(to, 1) != b"\n":  # a writer was killed within its line
                    line = b"\n" + line
            if os.write(to, line) != len(line):
                os.ftruncate(to, size)
                raise OSError("the disk took only a part of a row")
        finally:
            os.close(to)

    def _read(self) -> Iterator[Marked | Voted]:
        for file in files_in(self.folder):
            yield from rows_of(file, [])

    def _current(self) -> Path:
        assert self.folder is not None
        return self.folder / f"{self._stem}-{self._part:04}.jsonl"

    @contextmanager
    def _held(self) -> Iterator[None]:
        """No other thread or process writes inside of the block."""
        with self._lock:
            if self.folder is None:
                yield
                return
            to = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                with suppress(ImportError):  # Windows: threads of one process only
                    import fcntl

                    fcntl.flock(to, fcntl.LOCK_EX)
                yield
            finally:
                os.close(to)


def asked_for(recommender: Recommender, visit: Visit, item_id: str) -> Asked | None:
    """What was asked when an item was shown to a visitor last; None if it was not shown.

    None as well for a visitor with an own catalogue: that is to stay on the page's server, and to
    go with its visitor.
    """
    if visit.other() is not None:
        return None
    turns = visit.turns
    at = [n for n, t in enumerate(turns) if item_id in (r.item.id for r in t.recommendations)]
    if not at or (preferences := turns[at[-1]].preferences) is None:
        return None
    said = visit.before(at[-1]).messages
    # Without what was marked since: it would tell the answer.
    conversation = Conversation((*said, Message("user", turns[at[-1]].said)))
    shown = [r.item for r in turns[at[-1]].recommendations]
    return Asked.of(recommender, conversation, preferences, shown)
