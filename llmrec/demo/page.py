"""Page hides how the screens, the header and the looks become one Gradio app."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from llmrec.demo.api import endpoints, mcp_options
from llmrec.demo.cards import header
from llmrec.demo.catalogue import CatalogueScreen, catalogue
from llmrec.demo.compare import compare
from llmrec.demo.exports import LINKED, linked
from llmrec.demo.extras import Extras
from llmrec.demo.feedback import Consent, Feedback
from llmrec.demo.inside import inside
from llmrec.demo.measure import measure
from llmrec.demo.packing import Packed
from llmrec.demo.refused import app_options, notices
from llmrec.demo.screen import Screen, Updates, told
from llmrec.demo.sessions import Sessions
from llmrec.demo.talk import talk
from llmrec.demo.texts import preferred, say
from llmrec.demo.untrusted import Limits
from llmrec.demo.visit import Visit, show_shared
from llmrec.types import LANGUAGES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from llmrec.recommender import Recommender

__all__ = ["build", "launch_options"]

AT_ONCE = 4  # answers computed at the same time; further visitors wait in the queue
WAITING = 60
VISITS = 500  # kept at the same time; the one longest idle goes first
KEPT = (600, 3600)  # seconds between two looks at what was uploaded, and until it goes
TABS = ("talk", "compare", "catalogue", "measure", "inside")
_STYLES = ("page", "compare", "catalogue", "measure", "inside", "refused")
_SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial")


def build(
    recommender: Recommender, *, embedded: bool = False, extras: Extras | None = None
) -> gr.Blocks:
    """The app: a header, the screens, and the endpoints of `llmrec.demo.api`."""
    with gr.Blocks(
        title="llmrec", analytics_enabled=False, fill_width=True, delete_cache=KEPT
    ) as app:
        _Page(app, recommender, embedded, extras or Extras())
        endpoints(recommender, AT_ONCE)
    app.queue(default_concurrency_limit=AT_ONCE, max_size=WAITING)
    return cast("gr.Blocks", app)


class _Page:
    """The header and the screens, and what all of them say."""

    def __init__(
        self, app: gr.Blocks, recommender: Recommender, embedded: bool, extras: Extras
    ) -> None:
        self.recommender, self.extras = recommender, extras
        self._head = functools.partial(
            header,
            model=recommender.model.name,
            size=_size(recommender.model),
            embedded=embedded,
            things=recommender.things,
        )
        script = _asset("page.js")
        self.visit = gr.State(Visit(things=recommender.things))
        self.consent = gr.State(Consent())
        self.top = gr.HTML(
            self._head("en", greeted=False),
            js_on_load=script,
            apply_default_css=False,
            elem_id="lr-top",
        )
        self.screens: list[Screen] = []
        self.tabs: dict[str, Any] = {}
        makers = self._makers(script)
        with gr.Tabs(elem_id="lr-tabs"):
            for name in (n for n in TABS if n in makers):
                label = say("en", f"tab_{name}")
                with gr.Tab(label, id=name, elem_id=f"lr-tab-{name}") as self.tabs[name]:
                    self.screens.append(makers[name]())
        self._wire(app)

    def _makers(self, script: str) -> dict[str, Callable[[], Screen]]:
        """What lays out each screen that this page has."""
        recommender, extras = self.recommender, self.extras
        visit, consent = self.visit, self.consent
        feedback = extras.feedback or Feedback(None)
        makers: dict[str, Callable[[], Screen]] = {
            "talk": lambda: talk(recommender, visit, script, feedback, consent, extras),
            "catalogue": lambda: catalogue(recommender, visit, uploads=extras.uploads),
            "measure": lambda: measure(extras.runs, visit, script),
            "inside": lambda: inside(recommender, visit),
        }
        rivals = extras.contestants or {}
        if len(rivals) > 1:
            makers["compare"] = lambda: compare(
                rivals, visit, script, feedback, consent, extras.pictures
            )
        return makers

    def dressed(self, visit: Visit) -> Updates:
        """All that is said, in the language of the visit."""
        out: Updates = {self.top: self._head(visit.language)}
        for name, tab in self.tabs.items():
            out[tab] = gr.update(label=say(visit.language, f"tab_{name}"))
        for screen in self.screens:
            out.update(screen.texts(visit))
        return out

    def arrive(self, visit: Visit, request: gr.Request) -> Updates:
        """Greet a visitor in the language of the browser, with the list of the link, if any."""
        visit.language = preferred(request.headers.get("accept-language", ""))
        if self.extras.links and (listed := request.query_params.get(LINKED)):
            show_shared(self.recommender, visit, linked(listed))
        return self.dressed(visit)

    def switch(self, visit: Visit, event: gr.EventData) -> Updates:
        """Go on in another language."""
        language = told(event).get("language")
        if language in LANGUAGES:
            visit.language = language
        return self.dressed(visit)

    def _wire(self, app: gr.Blocks) -> None:
        parts = (c for screen in self.screens for c in screen.components)
        quick: dict[str, Any] = {
            "inputs": [self.visit],
            "outputs": [self.top, *self.tabs.values(), *parts],
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        for screen in self.screens:
            if isinstance(screen, CatalogueScreen):
                app.unload(screen.leave)
                for event in screen.switched:
                    event.then(self.dressed, **quick)
        app.load(self.arrive, **quick)
        self.top.language(self.switch, **quick)


def launch_options(extras: Extras | None = None) -> dict[str, Any]:
    """Theme, looks and safe settings for ``launch()``.

    Parameters
    ----------
    extras: those of the page, to have browsers refuse pictures from anywhere else as well.
    """
    return {
        "theme": gr.themes.Base(
            primary_hue="stone",
            neutral_hue="stone",
            font=_SANS,
            font_mono=("ui-monospace", "Menlo", "Consolas", "monospace"),
        ),
        "css": "\n".join(_asset(f"{name}.css") for name in _STYLES),
        "footer_links": [],
        "ssr_mode": False,
        "share": False,
        "show_error": False,
        "pwa": False,
        "enable_monitoring": False,
        "run_history": False,
        "state_session_capacity": VISITS,
        "max_file_size": Limits().size,
        "app_kwargs": {
            **app_options(),
            "middleware": [
                Middleware(Packed),
                Middleware(Sessions),
                *([Middleware(_Pictures, extras.pictures)] if extras else []),
            ],
        },
        "js": notices(),
        **mcp_options(),
    }


class _Pictures:
    """Tells browsers with every page from where pictures may be loaded."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        allowed = " ".join(("'self'", "data:", "blob:", *(f"https://{h}" for h in hosts)))
        self._policy = f"img-src {allowed}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Content-Security-Policy"] = self._policy
            await send(message)

        await self._app(scope, receive, told)


def _size(model: Any) -> str:
    """The number of parameters, "3M" or "7.2B"; empty where the model does not tell."""
    count = getattr(getattr(model, "model", None), "num_parameters", None)
    if not callable(count):
        return ""
    millions = count() / 1e6
    if millions < 1:
        return f"{millions * 1000:.0f}k"
    return f"{millions:.0f}M" if millions < 1000 else f"{millions / 1000:.1f}B"


def _asset(name: str) -> str:
    return resources.files("llmrec.demo").joinpath(name).read_text(encoding="utf-8")
