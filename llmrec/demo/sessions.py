"""Sessions hides that Gradio keeps much of a page long after its visitor has left."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Sessions"]

KEPT = 1800.0
_HEARTBEAT = "/gradio_api/heartbeat/"


class Sessions:
    """Forgets who has left a page, a while after: a middleware of Gradio's server.

    Gradio keeps what a session was shown, about 1 MB of small objects, until there are
    ``state_session_capacity`` sessions. An open page holds a connection, its heartbeat. Whoever
    comes back, after a break or from another app of a telephone, does so with the same session,
    so that the conversation waits; the settings of all components, most of the 1 MB, do not.

    Parameters
    ----------
    kept: seconds since a session without such a connection was last used.
    """

    def __init__(self, app: ASGIApp, kept: float = KEPT) -> None:
        self._app = app
        self._kept = datetime.timedelta(seconds=kept)
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and count a heartbeat while it lasts."""
        _, beats, who = scope.get("path", "").partition(_HEARTBEAT)
        if scope["type"] != "http" or not beats:
            await self._app(scope, receive, send)
            return
        holder = scope["app"].state_holder
        self._open[who] += 1
        self._sweep(holder)
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]
                self._leave(holder, who)

    def _leave(self, holder: Any, who: str) -> None:
        with holder.lock:
            session = holder.session_data.get(who)
            if session is not None:
                session.config_values.clear()  # for "deep links", and made again where missing
                holder.time_last_used[who] = datetime.datetime.now()

    def _sweep(self, holder: Any) -> None:
        before = datetime.datetime.now() - self._kept
        with holder.lock:
            for who, when in [*holder.time_last_used.items()]:
                if when < before and who not in self._open:
                    holder.session_data.pop(who, None)
                    del holder.time_last_used[who]
