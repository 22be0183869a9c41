"""shared_run hides how all who ask one model for titles share its forwards, in whatever threads.

There is no thread behind it. Who finds nobody leading leads: it feeds what all tasks propose,
takes in what others bring at every step, and when its own tasks are over it hands the lead on.
What goes wrong with one request is told to that one only.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

from llmrec.errors import ModelError
from llmrec.models.base import FloatArray, Forest, Growth, ScoringModel, nothing

__all__ = ["Task", "shared_run"]


class Task(Protocol):
    """Something that grows a tree on a prompt."""

    prompt: Sequence[int]

    def start(self, logprobs: FloatArray) -> None:
        """Begin with what follows the prompt, float32 [vocabulary]."""
        ...

    def propose(self, room: int) -> Growth:
        """What to feed, about ``room`` nodes at most; no tokens when the task is over."""
        ...

    def accept(self, values: FloatArray) -> None:
        """Take what the last proposal asked for."""
        ...


def shared_run(model: ScoringModel, tasks: Sequence[Task], batch_size: int) -> None:
    """Run tasks to their ends, together with what others ask of the model at the same time.

    Parameters
    ----------
    batch_size: how many of these tasks may run at the same time; with those of others, so many
        as the one that allows most allows.

    Raises
    ------
    What the model raised at one of these tasks; they are then given up.
    """
    with _known:
        batch = _batches.setdefault(model, _Batch())
    if batch.leader == threading.get_ident():  # asked from within a forward: it cannot wait for it
        batch = _Batch()
    batch.run(model, _Request(deque(tasks), batch_size))


@dataclass(eq=False)
class _Request:
    """What one caller waits for."""

    waiting: deque[Task]
    batch_size: int
    running: int = 0
    error: Exception | None = None
    left: bool = False  # by a caller who was interrupted

    @property
    def over(self) -> bool:
        """Whether its caller can go."""
        return self.left or self.error is not None or not (self.waiting or self.running)

    @property
    def room(self) -> int:
        """How many more of its tasks it allows to run."""
        return min(self.batch_size - self.running, len(self.waiting))

    def ready(self, places: int) -> bool:
        """Whether to begin some: the first at once, others many together, as that is quicker."""
        many = min(len(self.waiting), max(1, self.batch_size // 4))
        return not self.over and (not self.running or min(self.room, places) >= many)


@dataclass(eq=False)
class _Row:
    """A task that is running, and what it has proposed and not been told yet."""

    task: Task
    request: _Request
    growth: Growth | None = None


@dataclass(eq=False)
class _Batch:
    """What is asked of one model. All but ``requests`` and ``leader`` belongs to who leads."""

    turn: threading.Condition = field(default_factory=threading.Condition)
    requests: list[_Request] = field(default_factory=list)
    leader: int | None = None  # its thread
    forest: Forest | None = None
    rows: list[_Row] = field(default_factory=list)

    def run(self, model: ScoringModel, request: _Request) -> None:
        """See ``shared_run``."""
        with self.turn:
            self.requests.append(request)
        try:
            while not request.over:
                with self.turn:
                    self.turn.wait_for(lambda: request.over or self.leader is None)
                    if request.over:
                        break
                    self.leader = threading.get_ident()
                self._lead(model, request)
        finally:
            with self.turn:
                request.left = True
                self.requests.remove(request)
                if not self.requests and self.leader is None:
                    self.rows, self.forest = [], None
        if request.error is not None:
            try:
                raise request.error
            finally:
                request.error = None  # or it and the forest that it was raised in hold each other

    def _lead(self, model: ScoringModel, request: _Request) -> None:
        try:
            while not request.over:
                self._admit(model)
                self._step()
        except BaseException as e:  # the leader was interrupted, wherever that was
            self.rows, self.forest = [], None
            with self.turn:
                for other in self.requests:
                    if other.running and not other.over:
                        other.error = ModelError(
                            f"what ran together with this broke off ({type(e).__name__}): ask again"
                        )
            raise
        finally:
            with self.turn:
                self.leader = None
                self.turn.notify_all()

    def _admit(self, model: ScoringModel) -> None:
        """Begin what waits, where there is room; prompts are run together as far as possible."""
        new: list[_Row] = []
        with self.turn:
            places = max(r.batch_size for r in self.requests) - len(self.rows)
            ready = [r for r in self.requests if r.ready(places)]
            while len(new) < places and (open_ := [r for r in ready if r.room]):
                least = min(open_, key=lambda r: r.running)
                new.append(_Row(least.waiting.popleft(), least))
                least.running += 1
        if new and not self._begin(model, new):
            for rows in _by_request(new):
                self._begin(model, rows)

    def _begin(self, model: ScoringModel, new: list[_Row]) -> bool:
        """Run prompts; False if that failed for several requests, so that nothing was done."""
        try:
            forest = model.prefill_many([row.task.prompt for row in new])
            logprobs = forest.logprobs
            if self.forest is not None:
                self.forest.join(forest)
        except Exception as e:
            return _blamed(new, e)
        self.forest = self.forest or forest
        self.rows += new
        for row, own in zip(new, logprobs, strict=True):
            row.task.start(own)
        return True

    def _step(self) -> None:
        """Let go who is at the end, and feed what the others propose."""
        if self.forest is None:
            return
        for row in self.rows:
            if row.growth is None:
                row.growth = row.task.propose(self.forest.room)
        self._let_go(self.forest)
        if self.rows and not self._extend(self.forest, self.rows):
            for rows in _by_request(self.rows):
                self._extend(self.forest, rows)

    def _let_go(self, forest: Forest) -> None:
        going = [
            at
            for at, row in enumerate(self.rows)
            if row.growth is not None and len(row.growth.tokens) and not row.request.over
        ]
        if len(going) == len(self.rows):
            return
        rows, self.rows = self.rows, [self.rows[at] for at in going]
        if going:
            forest.keep(going)
        else:
            self.forest = None
        with self.turn:
            for row in {*rows} - {*self.rows}:
                row.request.running -= 1
            self.turn.notify_all()

    def _extend(self, forest: Forest, rows: Sequence[_Row]) -> bool:
        """Feed some rows; False if that failed for several requests, so that nothing was done."""
        growths = [row.growth or nothing if row in rows else nothing for row in self.rows]
        try:
            values = forest.extend(growths)
        except Exception as e:
            return _blamed(rows, e)
        for row, own in zip(self.rows, values, strict=True):
            if row in rows:
                row.growth = None
                row.task.accept(own)
        return True


def _by_request(rows: Sequence[_Row]) -> list[list[_Row]]:
    requests = {id(row.request): row.request for row in rows}
    return [[row for row in rows if row.request is request] for request in requests.values()]


def _blamed(rows: Sequence[_Row], error: Exception) -> bool:
    """Whether all rows are of one request, which is then told of the error."""
    if any(row.request is not rows[0].request for row in rows):
        return False
    rows[0].request.error = error
    return True


_batches: WeakKeyDictionary[ScoringModel, _Batch] = WeakKeyDictionary()
_known = threading.Lock()
