# ruff: noqa: E501  (markup stays in one piece)
"""Board hides the HTML of a comparison: two lists side by side, their difference, the votes.

A name stands in it only where its round was voted on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from llmrec.demo.cards import chip_list, facts_of
from llmrec.demo.feedback import Tally
from llmrec.demo.marks import MARKS, Mark, marks_of
from llmrec.demo.match import Match, Round, Side, difference
from llmrec.demo.posters import art
from llmrec.demo.texts import Words, examples, say
from llmrec.demo.visit import Visit
from llmrec.metrics.significance import wilson
from llmrec.types import MAX_MESSAGE_CHARS, Item, Recommendation

__all__ = ["board", "named", "tallies"]

_say = Words("compare")
_SHOWN_CHARS = 600


def named(name: str, language: str) -> str:
    """What visitors read; a model's name is the same in every language."""
    key = f"name_{name}"
    return _say(language, key) if key in _say else name


def _what(name: str, language: str) -> str:
    """What one of the page's own contestants listens to; of another its name must do."""
    key = f"what_{name}"
    return f" ({_say(language, key)})" if key in _say else ""


def board(visit: Visit, match: Match, pictures: Sequence[str] = ()) -> list[str]:
    """All rounds, in pieces of HTML; a name stands in one only where its round was voted on."""
    rounds = [_round(r, visit, match, pictures) for r in match.rounds] or [
        chip_list(examples(visit.language, visit.things), say(visit.language, "examples"))
    ]
    return [f'<span hidden="" data-stamp="{match.stamp()}"></span>', *rounds]


def _round(round_: Round, visit: Visit, match: Match, pictures: Sequence[str]) -> str:
    ui = visit.language
    said = escape(round_.said[:_SHOWN_CHARS]) + ("…" if len(round_.said) > _SHOWN_CHARS else "")
    out = [
        f'<section class="lr-round" data-stage="{round_.stage}"><div class="lr-said">'
        f'<span class="lr-hidden">{escape(_say(ui, "you"))}: </span><p>{said}</p></div>'
    ]
    if round_.stage == "thinking" and not any(s.listed for s in round_.sides):
        out.append(
            '<div class="lr-wait" role="status"><span class="lr-dots" aria-hidden="true">'
            f"<i></i><i></i><i></i></span>{escape(_say(ui, 'waiting'))}</div>"
        )
    elif any(s.listed for s in round_.sides):
        sides = zip("AB", round_.sides, strict=True)
        both = "".join(_side(n, s, round_, visit, match, pictures) for n, s in sides)
        out.append(f'<div class="lr-sides">{both}</div>')
    if round_.problem:
        slots = {"n": len(round_.said), "limit": MAX_MESSAGE_CHARS}
        own = round_.problem in _say
        problem = (
            _say(ui, round_.problem) if own else say(ui, round_.problem, visit.things, **slots)
        )
        out.append(f'<p class="lr-problem" role="alert">{escape(problem)}</p>')
    elif round_.stage == "stopped":
        out.append(f'<p class="lr-note">{escape(_say(ui, "stopped"))}</p>')
    elif round_.vote:
        out.append(_revealed(round_, ui))
    elif round_.stage == "done" and any(s.ids for s in round_.sides):
        out.append(f'<p class="lr-note" role="status">{escape(_say(ui, "ready"))}</p>')
    return "".join([*out, "</section>"])


def _side(
    letter: str, side: Side, round_: Round, visit: Visit, match: Match, pictures: Sequence[str]
) -> str:
    ui = visit.language
    language = round_.preferences.language if round_.preferences else ui
    name = escape(_say(ui, "list", side=letter))
    if not side.listed:
        body = f'<p class="lr-note" role="status">{escape(_say(ui, "waiting_one"))}</p>'
    elif not side.recommendations:
        body = f'<p class="lr-note">{escape(_say(ui, "nothing"))}</p>'
    else:
        cards = "".join(
            _card(r, language, visit, marks_of(match.conversation, r.item.id), pictures)
            for r in side.recommendations
        )
        body = f'<ol class="lr-picks">{cards}</ol>'
    text = f'<p class="lr-side-text" lang="{language}">{escape(side.text)}</p>' if side.text else ""
    who = f" <span>{escape(named(side.name, ui))}</span>" if round_.vote else ""
    won = " lr-won" if round_.vote == letter.lower() else ""
    return f'<section class="lr-side{won}" aria-label="{name}"><h3>{name}{who}</h3>{body}{text}</section>'


def _card(
    recommendation: Recommendation,
    language: str,
    visit: Visit,
    marks: frozenset[str],
    pictures: Sequence[str],
) -> str:
    item, ui = recommendation.item, visit.language
    title = item.title_in(language)
    wishes = [
        f'<li class="lr-{kind}"><span aria-hidden="true">{sign}</span> '
        f'<span class="lr-hidden">{escape(say(ui, kind))}: </span>{escape(w)}</li>'
        for kind, sign, named in (
            ("met", "✓", recommendation.matched),
            ("missed", "✗", recommendation.relaxed),
        )
        for w in named
    ]
    return (
        f'<li class="lr-pick"><span class="lr-pick-art" aria-hidden="true">{art(item, language, pictures)}</span>'
        f'<div><b lang="{language}">{escape(title)}</b>'
        f'<p class="lr-meta">{" · ".join(map(escape, facts_of(item, language, 2)))}</p>'
        + (f'<ul class="lr-ticks" lang="{language}">{"".join(wishes)}</ul>' if wishes else "")
        + f'<div class="lr-marks" role="group" aria-label="{escape(title)}">'
        + "".join(_button(m, item, title, m in marks, say(ui, m, visit.things)) for m in MARKS)
        + "</div></div></li>"
    )


def _button(mark: Mark, item: Item, title: str, pressed: bool, name: str) -> str:
    return (
        f'<button type="button" class="lr-mark" data-mark="{mark}" data-id="{escape(item.id)}" '
        f'aria-pressed="{str(pressed).lower()}" aria-label="{escape(f"{name}: {title}")}">'
        f"{escape(name)}</button>"
    )


def _revealed(round_: Round, ui: str) -> str:
    kept = {None: "not_kept", True: "kept", False: "error_kept"}[round_.kept]
    said = [_say(ui, "voted", vote=_say(ui, f"vote_{round_.vote}"))]
    said += [
        _say(ui, "was", side=letter, name=named(side.name, ui), what=_what(side.name, ui))
        for letter, side in zip("AB", round_.sides, strict=True)
    ]
    said.append(_say(ui, kept))
    status = f'<p class="lr-told" role="status">{escape(" ".join(said))}</p>'
    return status + _differences(round_, ui)


def _differences(round_: Round, ui: str) -> str:
    """What is in one list only, and how the ranks of the rest differ."""
    language = round_.preferences.language if round_.preferences else ui
    a, b = (s.recommendations for s in round_.sides)
    found = difference(a, b)
    counts = _say(ui, "counts", shared=len(found.shared), n=max(len(a), len(b)))

    def names(items: Sequence[Recommendation]) -> str:
        listed = "".join(
            f'<li lang="{language}">{escape(r.item.label_in(language))}</li>' for r in items
        )
        return f"<ul>{listed}</ul>" if listed else f"<p>{escape(_say(ui, 'none'))}</p>"

    out = "".join(
        f"<div><h4>{escape(_say(ui, 'only', side=letter))}</h4>{names(own)}</div>"
        for letter, own in (("A", found.only_a), ("B", found.only_b))
    )
    head = "".join(
        f'<th scope="col">{escape(t)}</th>'
        for t in (
            _say(ui, "shared"), _say(ui, "rank", side="A"), _say(ui, "rank", side="B"),
            _say(ui, "change"),
        )
    )  # fmt: skip
    rows = "".join(
        f'<tr><th scope="row" lang="{language}">{escape(x.item.label_in(language))}</th>'
        f"<td>{x.rank}</td><td>{y.rank}</td><td>{escape(_moved(x.rank - y.rank, ui))}</td></tr>"
        for x, y in found.shared
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    title = escape(_say(ui, "difference"))
    return (
        f'<div class="lr-difference" role="group" aria-label="{title}"><h4>{title} '
        f"<span>{escape(counts)}</span></h4>"
        f'<div class="lr-only">{out}</div>{table}</div>'
    )


def _moved(n: int, ui: str) -> str:
    return _say(ui, "same") if n == 0 else _say(ui, "up" if n > 0 else "down", n=abs(n))


def tallies(visit: Visit, match: Match, kept: Tally) -> str:
    """The visitor's own votes and all that were kept; nothing before the first of them."""
    ui = visit.language
    parts = [
        f"<h4>{escape(_say(ui, key))}</h4><ul>{''.join(_pair(p, n, ui) for p, n in sorted(tally.counts.items()))}</ul>"
        for key, tally in (("tally_own", match.tally), ("tally_all", kept))
        if tally.counts
    ]
    if not parts:
        return ""
    return (
        f'<section class="lr-tally" aria-label="{escape(_say(ui, "tally"))}">'
        f"<h3>{escape(_say(ui, 'tally'))}</h3>{''.join(parts)}</section>"
    )


def _pair(pair: tuple[str, str], counts: Mapping[str, int], ui: str) -> str:
    first, second = (named(name, ui) for name in pair)
    wins, losses = counts.get("first", 0), counts.get("second", 0)
    numbers = [
        _say(ui, "wins", name=first, n=wins),
        _say(ui, "wins", name=second, n=losses),
        _say(ui, "equal", n=counts.get("equal", 0)),
        _say(ui, "bad", n=counts.get("bad", 0)),
    ]
    decided = wins + losses
    share = _say(ui, "undecided")
    if decided:
        low, high = (round(100 * v) for v in wilson(wins, decided))
        share = _say(ui, "share", name=first, share=round(100 * wins / decided), low=low, high=high)
    return f"<li><b>{escape(' · '.join(numbers))}</b><span>{escape(share)}</span></li>"
