"""Own hides what one visitor has brought: its folder, the build of its catalogue, when it goes."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.demo.entries import View
from llmrec.demo.untrusted import Read, Refusal, plain_name
from llmrec.demo.uploads import Built, Uploads, build

if TYPE_CHECKING:
    from llmrec.recommender import Recommender

__all__ = ["Build", "Own"]


class Own:
    """What a visitor has brought, kept in that visitor's session alone.

    Attributes
    ----------
    read: the rows of the last file. built: the catalogue made of them. name: what it is called.
    recommender: answers from the own catalogue while the visitor wants that, else None. Whoever
        reads it says that the visitor is still there.
    view: what is looked for in the list.
    """

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._remove: Callable[[], object] | None = None
        self.gone = False
        self.back: Callable[[], None] = lambda: None  # begins the conversation anew
        self.view = View()
        self.forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> Own:
        """A fresh one: how the page gives each visitor an own one."""
        return Own(self._uploads)

    def forget(self) -> None:
        """Remove everything that was brought."""
        self.read: Read | None = None
        self.built: Built | None = None
        self._recommender: Recommender | None = None
        self.said: tuple[str, str, dict[str, Any]] | None = None
        self.name = ""
        if self._remove is not None:
            self._remove()
        self._folder = self._remove = None

    @property
    def recommender(self) -> Recommender | None:
        """What answers instead of the page's own."""
        self.touch()
        return self._recommender

    @recommender.setter
    def recommender(self, recommender: Recommender | None) -> None:
        self._recommender = recommender

    def touch(self) -> None:
        """Note that the visitor is still there."""
        if self._folder is not None:
            self._uploads.touch(self._folder)

    def leave(self) -> None:
        """Remove everything for good; a build that runs ends."""
        self.gone = True
        self.forget()

    def folder(self) -> Path:
        """A new folder in the place of the old one, with everything in it. Raises Refusal."""
        self.forget()
        self.gone = False  # a page that was asleep may come back
        me = weakref.ref(self)

        def forget() -> None:
            if (own := me()) is not None:
                own.leave()
                own.said = ("refusal", "expired", {})
                own.back()

        self._folder = self._uploads.folder(forget)
        self._remove = weakref.finalize(self, self._uploads.remove, self._folder)
        return self._folder

    def begin(self) -> bool:
        """Whether the visitor may read or build now: one thing at a time. `end` must follow."""
        return self._lock.acquire(blocking=False)

    def end(self) -> None:
        """Let the visitor read or build again."""
        self._lock.release()


class Build:
    """A build in a thread of its own, so that the page can tell how far it is."""

    def __init__(self, own: Own, read: Read, mapping: dict[str, str]) -> None:
        self.done = 0
        self.stopped = False
        self._own = own
        self._error: BaseException | None = None
        self._built: Built | None = None
        self._thread = threading.Thread(
            target=self._run, args=(read, mapping), name="llmrec-build", daemon=True
        )
        self._thread.start()

    def _run(self, read: Read, mapping: dict[str, str]) -> None:
        try:
            self._built = build(read, mapping, read.path.parent, self._tell)
        except BaseException as error:  # raised again where the result is asked for
            self._error = error
        if self._own.gone:  # what was written after the folder went
            shutil.rmtree(read.path.parent, ignore_errors=True)

    def _tell(self, done: int) -> None:
        self.done = done
        if self._own.gone or self.stopped:
            raise Refusal("gone", name=plain_name(self._own.name))

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def result(self) -> Built:
        if self._error is not None:
            raise self._error
        assert self._built is not None
        return self._built
