"""Packing hides how the page and its large answers are made small on their way to the browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.middleware.gzip import GZipMiddleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Packed"]

LEAST = 1000  # bytes; less is not worth it
LEVEL = 5  # what is beyond costs time and saves little
_WHOLE = re.compile(r"^/$|/config$|/gradio_api/(?:info|run/[^/]+)/?$")


class Packed:
    """Middleware that packs what Gradio sends in one piece and does not pack itself.

    Gradio packs what has the ending of a file in its address: scripts and styles, but neither the
    page, whose first HTML holds all components, nor the answers to events. Streams stay as they
    are, or their pieces would wait for each other.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._packed = GZipMiddleware(app, minimum_size=LEAST, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, packed where that is worth it and the browser can read it."""
        whole = scope["type"] == "http" and _WHOLE.search(scope.get("path", ""))
        await (self._packed if whole else self._plain)(scope, receive, send)
