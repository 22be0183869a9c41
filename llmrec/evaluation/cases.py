"""Cases hides how single examples are shown on the page: what was said, wanted and given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.evaluation.aggregate import AT
from llmrec.evaluation.page import escape
from llmrec.evaluation.predictions import Prediction
from llmrec.evaluation.reading import Run
from llmrec.records import json_rows

if TYPE_CHECKING:
    from llmrec.types import Example

__all__ = ["browser", "examples_line"]

SHOWN = 200
SAID_TURNS = 6
SAID_CHARS = 600


def examples_line(example: Example) -> dict[str, Any]:
    """What ``examples.jsonl`` of a run folder holds of an example: the last turns, cut to size."""
    said = [m for m in example.conversation.messages if m.role != "system"]
    return {
        "id": example.id,
        "said": [{"role": m.role, "content": _cut(m.content)} for m in said[-SAID_TURNS:]],
    }


def _cut(said: str) -> str:
    return said if len(said) <= SAID_CHARS else said[: SAID_CHARS - 1] + "…"


def browser(run: Run) -> list[str]:
    """The part of the page with examples, each to be opened, filtered and searched."""
    system = run.systems[run.main]
    n = len(system.predictions)
    chosen = sorted({i * n // min(n, SHOWN) for i in range(min(n, SHOWN))})
    titles = dict(zip(run.facts.ids, run.facts.titles, strict=True))
    said = _said(run.folder / "examples.jsonl")
    cases = [_case(system.predictions[i], titles, said) for i in chosen]
    kinds = {
        "": "all", "hit": "hit in the first 10", "miss": "no hit in the first 10",
        "cold": "no item mentioned before", "error": "errors",
    }  # fmt: skip
    options = "".join(f'<option value="{k}">{escape(v)}</option>' for k, v in kinds.items())
    return [
        "<h2>Examples</h2>",
        f'<p class="note">{len(cases):,} of {n:,}, evenly over the run. The list is as it was '
        "given; what was mentioned before is grey.</p>",
        '<div class="tools" hidden><input type="search" aria-label="Search the examples" '
        f'placeholder="Search titles and messages"><select aria-label="Which examples">{options}'
        "</select><output></output></div>",
        *cases,
    ]


def _said(file: Path) -> dict[str, list[tuple[str, str]]]:
    """By id the last turns of the examples; what cannot be read is not shown."""
    out: dict[str, list[tuple[str, str]]] = {}
    if file.exists():
        with file.open("rb") as raw:
            for _, row in json_rows(raw):
                if isinstance(row, dict) and isinstance(row.get("said"), list):
                    turns = [m for m in row["said"] if isinstance(m, dict)]
                    out[str(row.get("id"))] = [
                        (str(m.get("role", "")), str(m.get("content", ""))) for m in turns
                    ]
    return out


def _case(
    p: Prediction, titles: Mapping[str, str], said: Mapping[str, list[tuple[str, str]]]
) -> str:
    given = list(dict.fromkeys(p.items))
    places = [given.index(i) + 1 for i in p.relevant if i in given]
    hit = bool(places) and min(places) <= AT
    badge = "error" if p.error else f"hit at {min(places)}" if hit else "no hit"
    turns = said.get(p.id, [])
    last = next((content for role, content in reversed(turns) if role == "user"), "")
    kinds = ["hit" if hit else "miss", *["cold"] * (not p.mentioned), *["error"] * bool(p.error)]
    before = f"{p.turn} message{'s' * (p.turn != 1)} before"
    about = " · ".join(part for part in (p.id, before, p.language) if part)
    talk = "".join(
        f'<p class="turn {"assistant" if role == "assistant" else "user"}">'
        f"<bdi>{escape(content)}</bdi></p>"
        for role, content in turns
    )
    left = [f"<h4>Said last</h4>{talk}"] if talk else []
    if p.text is not None:
        left.append(
            f'<h4>Written</h4><p class="turn assistant"><bdi>{escape(_cut(p.text))}</bdi></p>'
        )
    if p.error:
        left.append(f'<h4>Error</h4><p class="turn">{escape(p.error)}</p>')
    return (
        f'<details class="case" data-kind="{" ".join(kinds)}"><summary>'
        f"<span><bdi>{escape(last or ('nothing was said' if p.id in said else p.id))}</bdi></span>"
        f'<span class="rank{" hit" if hit else ""}">{badge}</span>'
        f"<small>{escape(about)}</small></summary>"
        f'<div class="inside"><div>{"".join(left)}{_wanted(p, given, titles)}</div>'
        f"<div>{_given(p, given, titles)}</div></div></details>"
    )


def _wanted(p: Prediction, given: Sequence[str], titles: Mapping[str, str]) -> str:
    rows = []
    for i in p.relevant:
        where = f"at {given.index(i) + 1:,}" if i in given else f"not among {len(given):,}"
        hit = ' class="hit"' if i in given[:AT] else ""
        again = ", mentioned before" if i in p.mentioned else ""
        title = escape(titles.get(i, i))
        rows.append(f"<li{hit}><bdi>{title}</bdi> <small>{where}{again}</small></li>")
    return f'<h4>Wanted</h4><ol class="plain">{"".join(rows)}</ol>'


def _given(p: Prediction, given: Sequence[str], titles: Mapping[str, str]) -> str:
    rows = []
    for i in given[:AT]:
        kind = "hit" if i in p.relevant else "known" if i in p.mentioned else ""
        shown = f"<bdi>{escape(titles.get(i, i))}</bdi>"
        rows.append(f"<li{f' class={kind}' if kind else ''}>{shown}</li>")
    return f"<h4>Given</h4><ol>{''.join(rows) or '<li>nothing</li>'}</ol>"
