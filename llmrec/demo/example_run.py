"""ExampleRun hides a small evaluation that a visitor may start: in the background, once for all."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from llmrec.folders import write_whole

__all__ = ["ExampleRun"]

QUESTIONS = 160  # of which a half are asked
NAME = "questions-about-the-films"
SYSTEMS = ("retrieval", "nearest-title", "majority", "copy-title")

_log = logging.getLogger(__name__)


class ExampleRun:
    """Questions about the embedded films, put to several systems; a folder that goes with it.

    It holds nothing of anybody, so all visitors share it, and it is made once.

    Parameters
    ----------
    systems: as eval/answers.py calls them.
    questions: how many are made; one half is asked, from the other those learn that learn.

    Attributes
    ----------
    folder: where the run is written. state: how far it is.
    """

    def __init__(self, systems: Sequence[str] = SYSTEMS, questions: int = QUESTIONS) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="llmrec-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.state: Literal["none", "running", "done", "failed"] = "none"
        self._systems = tuple(systems)
        self._questions = questions
        self._total = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless it is under way or done."""
        with self._lock:
            if self.state in ("running", "done"):
                return
            self.state = "running"
        threading.Thread(target=self._run, daemon=True).start()

    def progress(self) -> tuple[int, int]:
        """How many answers are there, and how many there will be; 0 where that is not known yet."""
        files = self.folder.glob("example/answers/*.jsonl")
        with contextlib.suppress(OSError):
            return sum(f.read_bytes().count(b"\n") for f in files), self._total
        return 0, self._total

    def _run(self) -> None:
        try:
            self._make()
        except Exception:  # whatever it is, the page goes on and says that it failed
            _log.exception("the example run failed")
            self.state = "failed"
        else:
            self.state = "done"

    def _make(self) -> None:
        from llmrec.catalog import Catalog
        from llmrec.evaluation.answers import AnswerOptions, run
        from llmrec.evaluation.questions import questions_of

        made = questions_of(Catalog.embedded(), self._questions)
        for name, wanted in ((NAME, False), ("learned-from", True)):
            lines = [
                json.dumps(q.to_dict(), ensure_ascii=False)
                for q in made
                if (q.split == "train") is wanted
            ]
            write_whole(self.folder / f"{name}.jsonl", "\n".join(lines))
            if not wanted:
                self._total = len(lines) * len(self._systems)
        options = AnswerOptions(
            questions=str(self.folder / f"{NAME}.jsonl"),
            trained_on=str(self.folder / "learned-from.jsonl"),
            systems=self._systems,
            samples=500,
            out=str(self.folder / "example"),
            restart=True,
        )
        run(options, progress=False)
