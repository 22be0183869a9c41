"""Steps hides how what answers a visitor grows, is stopped, and gives way to what comes next."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from llmrec.errors import LLMRecError
from llmrec.types import MAX_MESSAGE_CHARS, Preferences

__all__ = ["PAUSE", "Stage", "Step", "Steps", "refused"]

Stage = Literal["thinking", "cards", "done", "stopped", "failed"]
PAUSE = 0.05  # seconds between two pictures of a text that grows

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """What a visitor said, and how far what came of it is.

    Attributes
    ----------
    said: the visitor's words. preferences: what was understood.
    problem: the key of the text that says what went wrong; empty where nothing did.
    """

    said: str
    stage: Stage = "thinking"
    preferences: Preferences | None = None
    problem: str = ""

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self.stage in ("thinking", "cards")


S = TypeVar("S", bound=Step)


class Steps(Generic[S]):
    """What one visitor was shown, failures included; the last step may still grow.

    Buttons may be pressed while an answer is running, so every change goes through a lock; an
    answer that is no longer the current one changes nothing.
    """

    def __init__(self) -> None:
        self._steps: tuple[S, ...] = ()
        self._run = self._stamp = 0
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        """Whether an answer is under way."""
        return bool(self._steps) and self._steps[-1].running

    def stamp(self) -> int:
        """A number that grows from call to call: microseconds since 1970, or one more."""
        with self._lock:
            self._stamp = max(self._stamp + 1, time.time_ns() // 1000)
            return self._stamp

    def begin(self, step: S) -> int:
        """Show a new step, stopping the one before, and return the number of its run."""
        with self._lock:
            self.stop()
            self._steps += (step,)
            return self._run

    def change(self, run: int, **changes: Any) -> S | None:
        """The step of a run, changed; None, and nothing done, if another run is the current one."""
        with self._lock:
            if run != self._run:
                return None
            last = dataclasses.replace(self._steps[-1], **changes)
            self._steps = (*self._steps[:-1], last)
            if not last.running:
                self._keep(last)
            return last

    def stop(self) -> None:
        """End the running answer where it stands; what it gave so far is kept."""
        with self._lock:
            if self.running:
                self.change(self._run, stage="stopped")
            self._run += 1

    def guarded(
        self, run: int, answer: Iterator[S], problem: Callable[[], str] = lambda: "error_model"
    ) -> Iterator[S]:
        """The steps of an answer. What goes wrong is logged and told by the last of them.

        Closing the iterator stops the answer.

        Parameters
        ----------
        problem: the key of the text that tells it.
        """
        try:
            yield from answer
        except GeneratorExit:
            self.change(run, stage="stopped")
            raise
        except Exception as error:
            if not isinstance(error, LLMRecError):
                _log.exception("an answer failed")
            else:
                _log.warning("an answer failed: %s", error)
            if failed := self.change(run, stage="failed", problem=problem()):
                yield failed

    def _keep(self, step: S) -> None:
        """Make a step that has ended part of the conversation."""
        raise NotImplementedError


def refused(said: str) -> str:
    """The key of the text that says why a message is not answered; empty where it is."""
    if not said.strip():
        return "error_empty"
    return "error_long" if len(said) > MAX_MESSAGE_CHARS else ""
