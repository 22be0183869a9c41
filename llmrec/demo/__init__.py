"""The page: build(recommender) gives a Gradio app, launch_options() what its launch() takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmrec.demo.extras import Extras
from llmrec.demo.feedback import Feedback
from llmrec.demo.rivals import embedded_contestants
from llmrec.errors import MissingExtraError

if TYPE_CHECKING:
    import gradio as gr

    from llmrec.recommender import Recommender

__all__ = ["Extras", "Feedback", "build", "embedded_contestants", "launch_options"]


def build(
    recommender: Recommender, *, embedded: bool = False, extras: Extras | None = None
) -> gr.Blocks:
    """The page for a recommender, which all visitors share; everything else is each visitor's own.

    Parameters
    ----------
    embedded: whether the model is the small one that comes with llmrec, which the page then says.
    extras: what the owner adds: rivals to compare with, evaluation runs to show, feedback to keep.

    Raises
    ------
    MissingExtraError: gradio is not installed.
    """
    _need_gradio()
    from llmrec.demo import page

    return page.build(recommender, embedded=embedded, extras=extras)


def launch_options(extras: Extras | None = None) -> dict[str, Any]:
    """What ``build(...).launch(**options)`` takes so that the page looks as it is meant to.

    Parameters
    ----------
    extras: those of ``build``, to have browsers refuse pictures from anywhere else as well.
    """
    _need_gradio()
    from llmrec.demo import page

    return page.launch_options(extras)


def _need_gradio() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise MissingExtraError("gradio", "demo") from None
