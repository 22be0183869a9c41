"""Markdown hides how words of others become text, tables and licences of a card, never markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["ADDRESS", "block", "license_of", "line", "slug", "table", "text"]

ADDRESS = re.compile(r"https?://[\w.~:/?#@!$&'*+,;=%-]+", re.ASCII)
_MARKUP = re.compile(r"([\\`*_\[\]#!|~$@:]|(?<=www)\.)", re.IGNORECASE)
# Licences that the Hub knows by these names; any other is written down as "other".
_LICENSES = frozenset(
    "apache-2.0 mit cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 "
    "cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-3.0 "
    "cc-by-nc-sa-4.0 cc-by-nd-4.0 odbl odc-by pddl gpl-2.0 gpl-3.0 lgpl-3.0 agpl-3.0 mpl-2.0 "
    "bsd-2-clause bsd-3-clause isc unlicense openrail bigscience-openrail-m "
    "bigscience-bloom-rail-1.0 bigcode-openrail-m creativeml-openrail-m gemma llama2 llama3 "
    "llama3.1 llama3.2 llama3.3 llama4 unknown other".split()
)


def line(said: object) -> str:
    """``said`` on one line, without characters that are not shown; nothing for None."""
    shown = "".join(c if c.isprintable() else " " for c in str("" if said is None else said))
    return " ".join(shown.split())


def text(said: object) -> str:
    """``said`` as plain words of Markdown."""
    escaped = _MARKUP.sub(r"\\\1", line(said))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def block(code: str, language: str = "") -> str:
    """A fenced block whose fence its content does not hold."""
    longest = max((len(ticks) for ticks in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def slug(said: object, joint: str = "_") -> str:
    """Letters, digits and dots; the sign of a cut-off, as in recall@10, is said."""
    plain = re.sub(r"@(?=\d)", " at ", line(said).lower())
    return re.sub(r"[^a-z0-9.]+", joint, plain)[:60].strip(joint)


def license_of(said: object) -> tuple[str | None, str | None]:
    """A licence as the Hub writes it, and its name where the Hub does not know it."""
    name = line(said)
    for known in (name.lower(), slug(name, "-")):
        if known in _LICENSES:
            return known, None
    return ("other", slug(name, "-")) if name else (None, None)
