# ruff: noqa: E501  (sentences stay in one piece)
"""Consent box hides how a visitor agrees that feedback is kept, takes it back, and has it deleted."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from llmrec.demo.feedback import Consent, Feedback
from llmrec.demo.screen import Screen, Updates
from llmrec.demo.texts import Words
from llmrec.demo.visit import Visit

__all__ = ["consent_box"]

_say = Words("consent")


def consent_box(feedback: Feedback, visit: gr.State, consent: gr.State) -> Screen:
    """A checkbox, off at first, what it means, and a button that takes it back.

    Parameters
    ----------
    consent: holds a ``Consent``; whoever keeps feedback of this visitor asks the same one.
    """
    return _Box(feedback, visit, consent).screen()


class _Box:
    """The components of the box and what they do."""

    def __init__(self, feedback: Feedback, visit: gr.State, consent: gr.State) -> None:
        self.feedback = feedback
        plain: dict[str, Any] = {"apply_default_css": False, "js_on_load": None}
        with gr.Column(elem_classes="lr-consent", min_width=0):
            self.agree = gr.Checkbox(
                False, label=_say("en", "agree"), visible=feedback.keeps, elem_id="lr-agree"
            )
            self.more = gr.HTML(_meaning(feedback, Visit()), **plain)
            self.code = gr.HTML("", **plain)
            self.delete = gr.Button(
                _say("en", "delete"), visible=False, elem_id="lr-withdraw", size="sm", min_width=0
            )
            self.note = gr.HTML("", **plain)
        quick: dict[str, Any] = {
            "outputs": [self.agree, self.code, self.delete, self.note],
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        self.agree.input(self.tick, [visit, consent, self.agree], **quick)
        self.delete.click(self.withdraw, [visit, consent], **quick)

    def texts(self, visit: Visit) -> Updates:
        """All that is said, in the language of the visit."""
        ui = visit.language
        return {
            self.agree: gr.update(label=_say(ui, "agree")),
            self.more: _meaning(self.feedback, visit),
            self.delete: gr.update(value=_say(ui, "delete")),
            self.note: "",
        }

    def _shown(self, visit: Visit, consent: Consent, said: str = "") -> Updates:
        ui = visit.language
        # Rows kept before the box was unticked can still be deleted.
        deletable = consent.given or consent.rows > 0
        return {
            self.agree: gr.update(value=consent.given, label=_say(ui, "agree")),
            self.code: _code(visit, consent),
            self.delete: gr.update(value=_say(ui, "delete"), visible=deletable),
            self.note: said,
        }

    def tick(self, visit: Visit, consent: Consent, ticked: bool) -> Updates:
        """Agree, or agree no longer."""
        consent.given = bool(ticked) and self.feedback.keeps
        return self._shown(visit, consent)

    def withdraw(self, visit: Visit, consent: Consent) -> Updates:
        """Take the consent back, and delete what was kept with it."""
        consent.given = False
        ui = visit.language
        try:
            n = self.feedback.delete(consent.id)
        except OSError:
            failed = _say(ui, "error_delete")
            return self._shown(visit, consent, f'<p role="alert">{escape(failed)}</p>')
        consent.renew()
        said = _say(ui, "deleted_hub" if self.feedback.dataset else "deleted", n=n)
        return self._shown(visit, consent, f'<p role="status">{escape(said)}</p>')

    def screen(self) -> Screen:
        """What the page needs of it."""
        return Screen([self.agree, self.more, self.delete, self.note], self.texts)


def _meaning(feedback: Feedback, visit: Visit) -> str:
    ui = visit.language
    if not feedback.keeps:
        return f'<p class="lr-consent-more">{escape(_say(ui, "none"))}</p>'
    said = [_say(ui, "what"), _say(ui, "folder" if feedback.lasting else "memory")]
    if feedback.dataset:
        how = "private" if feedback.private else "public"
        said.append(_say(ui, how, dataset=feedback.dataset))
    said.append(_say(ui, "why"))
    return f'<p class="lr-consent-more">{escape(" ".join(said))}</p>'


def _code(visit: Visit, consent: Consent) -> str:
    if not consent.given and not consent.rows:
        return ""
    said = escape(_say(visit.language, "code", code=consent.id))
    said = said.replace(consent.id, f"<code>{consent.id}</code>")
    return f'<p class="lr-consent-more">{said}</p>'
