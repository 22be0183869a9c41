"""Page hides how the screens, the header and the looks become one Gradio app."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from llmrec.demo.api import endpoints, mcp_options, refusals
from llmrec.demo.cards import header
from llmrec.demo.screen import Screen
from llmrec.demo.talk import talk
from llmrec.demo.texts import preferred
from llmrec.demo.visit import Visit
from llmrec.types import LANGUAGES

if TYPE_CHECKING:
    from llmrec.recommender import Recommender

__all__ = ["build", "launch_options"]

AT_ONCE = 4  # answers computed at the same time; further visitors wait in the queue
WAITING = 200
_SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial")


def build(recommender: Recommender, *, embedded: bool = False) -> gr.Blocks:
    """The app: a header, the talk, and the endpoints of `llmrec.demo.api`."""
    head = functools.partial(
        header,
        model=recommender.model.name,
        size=_size(recommender.model),
        embedded=embedded,
        things=recommender.things,
    )
    with gr.Blocks(title="llmrec", analytics_enabled=False, fill_width=True) as app:
        visit = gr.State(Visit(things=recommender.things))
        top = gr.HTML(
            head("en", greeted=False),
            js_on_load=_asset("page.js"),
            apply_default_css=False,
            elem_id="lr-top",
        )
        screens: list[Screen] = [talk(recommender, visit, _asset("page.js"))]

        def dressed(visit: Visit) -> dict[Any, Any]:
            out = {top: head(visit.language)}
            for screen in screens:
                out.update(screen.texts(visit))
            return out

        def arrive(visit: Visit, request: gr.Request) -> dict[Any, Any]:
            visit.language = preferred(request.headers.get("accept-language", ""))
            if visit.language == "en":  # as the page is built
                return {top: head("en")}
            return dressed(visit)

        def switch(visit: Visit, event: gr.EventData) -> dict[Any, Any]:
            language = event._data.get("language")
            if language in LANGUAGES:
                visit.language = language
            return dressed(visit)

        everything = [top, *(c for screen in screens for c in screen.components)]
        quick: dict[str, Any] = {
            "inputs": [visit],
            "outputs": everything,
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        app.load(arrive, **quick)
        top.language(switch, **quick)
        endpoints(recommender, AT_ONCE)
    app.queue(default_concurrency_limit=AT_ONCE, max_size=WAITING)
    return cast("gr.Blocks", app)


def launch_options() -> dict[str, Any]:
    """Theme, looks and safe settings for ``launch()``."""
    return {
        "theme": gr.themes.Base(
            primary_hue="stone",
            neutral_hue="stone",
            font=_SANS,
            font_mono=("ui-monospace", "Menlo", "Consolas", "monospace"),
        ),
        "css": _asset("page.css"),
        "footer_links": [],
        "ssr_mode": False,
        "share": False,
        "show_error": False,
        "pwa": False,
        "enable_monitoring": False,
        "app_kwargs": {"exception_handlers": refusals()},
        **mcp_options(),
    }


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
