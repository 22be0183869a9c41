"""Cleaning hides how markup and entities become plain text."""

from __future__ import annotations

import html
import re

__all__ = ["ROUNDS", "UNCLEAN", "clean"]

ROUNDS = 8

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]+")
_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)+")
_HUGE = re.compile(r"&#[0-9]{600,};?")
_TAG = re.compile(
    r"<(?:!--.*?(?:-->|\Z)"
    r"|(?P<name>(?i:script|style))\b[^<>]*>.*?(?:</(?i:(?P=name))\s*>|\Z)"
    r"""|/?[a-zA-Z](?:[^<>"']|"[^"<]*"|'[^'<]*')*>"""
    r"|[a-zA-Z/!?][^<>]*>)",
    re.DOTALL,
)
# What ``clean`` may change, in the syntax of RE2: a text without any of it is clean already.
UNCLEAN = (
    r"[&<\x00-\x1f\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
    r"|  |^ | $"
)


def clean(text: str) -> str:
    """``text`` as plain words: no markup, no entities, no control characters, single blanks.

    Entities are read before tags are looked for, so that escaped markup goes as well. Texts that
    were escaped twice or more (``&amp;lt;b&amp;gt;``) are read to the end. A tag is what a browser
    takes for one, ``<`` followed by a letter, ``/``, ``!`` or ``?`` and closed by ``>``; it becomes
    a blank, as do comments and the content of scripts and style sheets, to the end of the text
    where they are not closed. ``a < b`` and ``<3`` stay; ``a<b and c>d`` is read as ``a d``. What
    is nested over ``ROUNDS`` deep loses its ``&`` or ``<``. Cleaning twice changes nothing.
    """
    text = _without_entities(_without_controls(text))
    for _ in range(ROUNDS):
        if "<" not in text or (shorter := _TAG.sub(" ", text)) == text:
            return " ".join(text.split())
        text = shorter
    return " ".join(text.replace("<", " ").split())


def _without_entities(text: str) -> str:
    for _ in range(ROUNDS):
        if "&" not in text:
            return text
        try:
            shorter = html.unescape(_AMPERSAND.sub("&", text))
        except ValueError:  # a number with more digits than Python takes
            shorter = _HUGE.sub("\ufffd", text)
        if shorter == text:
            return text
        text = _without_controls(shorter)
    return text.replace("&", " ")


def _without_controls(text: str) -> str:
    return text if text.isprintable() else _CONTROL.sub("", text)
