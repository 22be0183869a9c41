# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Cards hides the HTML of a conversation: bubbles, film cards, chips, the welcome.

Everything that comes from the visitor, the model or the catalogue is escaped here, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from llmrec.demo.exports import FORMATS, data_url, exported, link_to
from llmrec.demo.marks import MARKS
from llmrec.demo.posters import art
from llmrec.demo.texts import TALK, Words, examples, number, say, signed
from llmrec.demo.visit import Turn, Visit
from llmrec.orders import without_orders
from llmrec.types import MAX_MESSAGE_CHARS, Answer, Item, Recommendation
from llmrec.wishes import Things, wishes
from llmrec.wording import amount, display_name, duration, wish_labels

__all__ = ["card", "chip_list", "facts_of", "header", "log", "panel_head", "share", "welcome"]

SHOWN_CHARS = 600
_ICONS = {
    "more": '<path d="M4 7h10M4 12h7M4 17h7M17 12v8M13 16h8"/>',
    "like": '<path d="M7 10.5v9H4v-9zM7 10.5l4.2-7c1.3.2 2 1.2 1.8 2.5L12.4 9.500h5.700'
    'c1.200 0 2 1 1.700 2.200l-1.500 6.100c-.2 1-1 1.700-2 1.700H7"/>',
    "dislike": '<path d="M7 13.500v-9H4v9zM7 13.500l4.200 7c1.300-.2 2-1.200 1.800-2.500l-.6-3.500h5.700'
    'c1.200 0 2-1 1.700-2.200l-1.500-6.100c-.2-1-1-1.700-2-1.700H7"/>',
    "seen": '<path d="M2.500 12s3.500-6.500 9.500-6.500 9.500 6.500 9.500 6.500-3.500 6.500-9.500 6.500S2.500 12 2.500 12z"/>'
    '<circle cx="12" cy="12" r="2.800"/>',
    "met": '<path d="M5 12.500l4.500 4.500L19 7.500"/>',
    "missed": '<path d="M6.500 6.500l11 11M17.500 6.500l-11 11"/>',
    "hand": '<path d="M4 20l1-4L16 5l3 3L8 19zM14 7l3 3"/>',
}


MAX_SOURCES = 5
MAX_SIGNALS = 4
_inside = Words("inside")
SURE = ((0.75, "sure_high"), (0.5, "sure_some"), (0.25, "sure_little"), (0.0, "sure_none"))


def _icon(name: str) -> str:
    return f'<svg class="lr-icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">{_ICONS[name]}</svg>'


def share(score: float, language: str = "en") -> str:
    """A log-probability as a share in per cent, with as many digits as it deserves.

    >>> share(-1.17), share(-5.0), share(-20.0), share(-5.0, "pt")
    ('31 %', '0.7 %', '<0.1 %', '0,7 %')
    """
    if math.isnan(score):
        return "?"
    percent = 100 * math.exp(min(score, 0.0))
    if percent < 0.1:
        return f"<{number(0.1, language, 1)} %"
    return f"{number(percent, language, 1 if percent < 9.95 else 0)} %"


def card(
    recommendation: Recommendation,
    *,
    language: str,
    page_language: str,
    marks: frozenset[str] = frozenset(),
    first: bool = False,
    things: Things = "films",
    pictures: Sequence[str] = (),
) -> str:
    """One film, or product. One without a score was not ranked: its card tells what it is, no more.

    Parameters
    ----------
    language: of the film's facts and the reason. page_language: of the buttons.
    marks: which buttons are pressed.
    first: whether it is the first of its list, which is shown larger and with its description.
    things: what the catalogue holds.
    pictures: hosts from which its picture may be shown.
    """
    item, ui = recommendation.item, page_language
    ranked = not math.isnan(recommendation.score)
    title = item.title_in(language)
    original = item.original_title
    ticks = [_tick("met", w, ui) for w in recommendation.matched]
    ticks += [_tick("missed", w, ui) for w in recommendation.relaxed]
    told = first or not ranked
    about = without_orders(item.description_in(language), item.all_titles) if told else ""
    return "".join(
        (
            f'<li class="lr-card{" lr-first" if first else ""}{_class(marks)}">',
            f'<div class="lr-art"><div>{art(item, language, pictures)}</div></div><div class="lr-facts">',
            f'<h3 class="lr-title" lang="{language}">{escape(title)}</h3>',
            f'<p class="lr-original"><span class="lr-hidden">{escape(say(ui, "original"))}: </span>'
            f"{escape(original)}</p>"
            if original and original.casefold() != title.casefold()
            else "",
            f'<p class="lr-meta">{" <i>·</i> ".join(map(escape, facts_of(item, language)))}</p>',
            f'<p class="lr-about" lang="{language}">{escape(about)}</p>' if about else "",
            f'<ul class="lr-wishes">{"".join(ticks)}</ul>' if ticks else "",
            f'<p class="lr-why" lang="{language}"><span lang="{ui}">{escape(say(ui, "why"))}</span> '
            f"{escape(recommendation.reason)}</p>"
            if recommendation.reason
            else "",
            f'<div class="lr-foot"><div class="lr-marks" role="group" aria-label="{escape(title)}">',
            *(_button(m, item, title, m in marks, say(ui, m, things)) for m in MARKS),
            _more(title, language, ui, things),
            f"</div>{_share(recommendation, ui, things) if ranked else ''}"
            f"{_spoke(recommendation, ui, things)}</div></div></li>",
        )
    )


def facts_of(item: Item, language: str, genres: int = 3) -> list[str]:
    """What is known of its year, length, first genres and price, in words."""
    facts = [str(item.year)] if item.year else []
    facts += [duration(item.runtime)] if item.runtime else []
    facts += [display_name("genre", g, language) for g in item.genres[:genres]]
    return facts + ([amount(item.price, language)] if item.price is not None else [])


def _share(recommendation: Recommendation, ui: str, things: Things) -> str:
    """What part of the choice an item had; the number behind it on hover, and when focused."""
    shared = say(ui, "share", share=share(recommendation.score, ui))
    logprob = number(recommendation.score, ui, 2).replace("-", "−")
    more = say(ui, "share_more", things, logprob=logprob)
    return (
        f'<span class="lr-share" tabindex="0" title="{escape(more)}" '
        f'aria-label="{escape(f"{shared}. {more}")}">{escape(shared)}</span>'
    )


def _more(title: str, language: str, ui: str, things: Things) -> str:
    """The button that asks for more of the kind, in the language of the conversation."""
    asked = say(language, "more_message", things, title=title)
    name = say(ui, "more_like", things)
    return (
        f'<button type="button" class="lr-mark" data-say="{escape(asked)}" title="{escape(name)}" '
        f'aria-label="{escape(f"{name}: {title}")}">{_icon("more")}<span>{escape(name)}</span></button>'
    )


def _spoke(r: Recommendation, ui: str, things: Things) -> str:
    """What spoke for an item, the strongest first, to be opened."""
    told = sorted(r.signals.items(), key=lambda s: -abs(s[1]))[:MAX_SIGNALS]
    if not told:
        return ""
    most = max(abs(value) for _, value in told) or 1.0
    rows = "".join(_bar(name, value, most, ui, things) for name, value in told)
    return (
        f'<details class="lr-spoke"><summary>{escape(say(ui, "spoke"))}</summary>'
        f"<ul>{rows}</ul></details>"
    )


def _bar(name: str, value: float, most: float, ui: str, things: Things) -> str:
    named = _signal(name, ui, things)
    amount_of = signed(value, ui)
    return (
        f'<li><span>{escape(named)}</span><meter min="0" max="1" value="{abs(value) / most:.3f}" '
        f'aria-label="{escape(f"{named}: {amount_of}")}"></meter><b>{amount_of}</b></li>'
    )


def _signal(name: str, ui: str, things: Things) -> str:
    """What a signal is called: in words of the card's own, or as the last screen calls it."""
    key = f"signal_{name}"
    if key in TALK:
        return say(ui, key, things)
    named = _inside(ui, key) if key in _inside else name
    return f"{named[:1].upper()}{named[1:]}"


def _class(marks: frozenset[str]) -> str:
    return "".join(f" lr-is-{m}" for m in MARKS if m in marks)


def _tick(kind: str, wish: str, ui: str) -> str:
    return (
        f'<li class="lr-{kind}">{_icon(kind)}<span class="lr-hidden">{escape(say(ui, kind))}: </span>'
        f"{escape(wish)}</li>"
    )


def _button(mark: str, item: Item, title: str, pressed: bool, name: str) -> str:
    return (
        f'<button type="button" class="lr-mark" data-mark="{mark}" data-id="{escape(item.id)}" '
        f'aria-pressed="{str(pressed).lower()}" aria-label="{escape(f"{name}: {title}")}" '
        f'title="{escape(name)}">{_icon(mark)}<span>{escape(name)}</span></button>'
    )


def chip_list(messages: Sequence[str], label: str) -> str:
    """Messages to send by a press; ``label`` says what they are."""
    buttons = "".join(
        f'<li><button type="button" class="lr-chip" data-say="{escape(m)}">{escape(m)}</button></li>'
        for m in messages
    )
    return f'<ul class="lr-chips" aria-label="{escape(label)}">{buttons}</ul>'


def surprise(language: str) -> str:
    """The button that draws a wish."""
    return (
        f'<button type="button" class="lr-chip lr-surprise" data-surprise="">'
        f"{escape(say(language, 'surprise'))}</button>"
    )


def welcome(
    language: str,
    items: Sequence[Item],
    things: Things = "films",
    pictures: Sequence[str] = (),
) -> str:
    """What stands where the conversation will be: a question, pictures, examples to start with."""
    strip = "".join(f"<li>{art(i, language, pictures)}</li>" for i in items)
    return (
        f'<div class="lr-welcome"><ul class="lr-strip" aria-hidden="true">{strip}</ul>'
        f"<h2>{escape(say(language, 'welcome', things))}</h2>"
        f"<p>{escape(say(language, 'welcome_more', things))}</p>"
        f"{chip_list(examples(language, things), say(language, 'examples'))}{surprise(language)}</div>"
    )


def log(
    visit: Visit,
    posters: Sequence[Item] = (),
    *,
    pictures: Sequence[str] = (),
    links: bool = False,
) -> list[str]:
    """The conversation as pieces of HTML, in order; together they are one well-formed whole.

    In pieces, so that only the one that changes travels to the browser. The first is a stamp, by
    which the browser tells an older picture that arrives late from a newer one.

    Parameters
    ----------
    posters: items whose pictures stand above the welcome.
    pictures: hosts from which those of items may be shown. links: whether a list has a link.
    """
    ui = visit.language
    out = [f'<span hidden="" data-stamp="{visit.stamp()}"></span>']
    turns = visit.turns
    # The ids of a visitor's own catalogue mean nothing to anybody else.
    linked = links and visit.other() is None
    if not turns:
        return [*out, welcome(ui, posters, visit.things, pictures)]
    for n, turn in enumerate(turns, 1):
        out += _turn(turn, visit, n == len(turns), pictures, linked)
    return out


def _turn(turn: Turn, visit: Visit, last: bool, pictures: Sequence[str], links: bool) -> list[str]:
    ui, things = visit.language, visit.things
    language = turn.preferences.language if turn.preferences else ui
    head = (
        f'<section class="lr-turn" data-stage="{turn.stage}">'
        f"{_said(turn, ui)}{_understood(turn, ui, things)}"
    )
    growing = ' class="lr-growing"' if turn.running else ""
    prose = (
        f'<div class="lr-prose"><p lang="{language}"{growing}>{escape(turn.text)}</p></div>'
        if turn.text
        else ""
    )
    if turn.answer is not None:
        prose += _sources(turn.answer, ui)
    foot = _outcome(turn, ui, things)
    chips = _from_shared(turn, ui, things) if turn.shared else turn.chips
    if last and chips:
        foot += chip_list(chips, say(ui, "chips"))
    if last and turn.stage == "done":
        foot += _keep(turn, language, ui, links)
    return [head, _cards(turn, visit, language, pictures), prose, f"{foot}</section>"]


def _said(turn: Turn, ui: str) -> str:
    """What the visitor said, cut where it is long."""
    if not turn.said:
        return ""
    said = escape(turn.said[:SHOWN_CHARS])
    if len(turn.said) > SHOWN_CHARS:
        cut = say(ui, "cut", n=number(len(turn.said), ui))
        said += f'<span class="lr-cut">{escape(cut)}</span>'
    hand = (
        f'<span class="lr-hand">{_icon("hand")}{escape(say(ui, "changed"))}</span>'
        if turn.by_hand
        else ""
    )
    you = f'<span class="lr-hidden">{escape(say(ui, "you"))}: </span>'
    return f'<div class="lr-said">{you}{hand}<p>{said}</p></div>'


def _cards(turn: Turn, visit: Visit, language: str, pictures: Sequence[str]) -> str:
    """The list of a turn, or that it is being made."""
    ui, things = visit.language, visit.things
    if turn.recommendations:
        cards = "".join(
            card(
                r,
                language=language,
                page_language=ui,
                marks=visit.marks(r.item.id),
                first=r.rank == 1,
                things=things,
                pictures=pictures,
            )
            for r in turn.recommendations
        )
        few = " lr-few" if len(turn.recommendations) < 3 else ""
        named = escape(say(ui, "shared" if turn.shared else "cards", things))
        heading = "lr-shared" if turn.shared else "lr-hidden"
        return (
            f'<h2 class="{heading}">{named}</h2>'
            f'<ol class="lr-cards{few}" aria-label="{named}">{cards}</ol>'
        )
    if turn.stage == "thinking":
        return (
            f'<div class="lr-wait" role="status"><span class="lr-dots" aria-hidden="true">'
            f"<i></i><i></i><i></i></span>{escape(say(ui, 'thinking'))}</div>"
        )
    return ""


def _outcome(turn: Turn, ui: str, things: Things) -> str:
    """How a turn ended: in a problem, stopped, or how sure it is."""
    out = ""
    if turn.problem:
        n, limit = number(len(turn.said), ui), number(MAX_MESSAGE_CHARS, ui)
        problem = say(ui, turn.problem, things, n=n, limit=limit)
        out = f'<p class="lr-problem" role="alert">{escape(problem)}</p>'
    if turn.stage == "stopped":
        out += f'<p class="lr-note">{escape(say(ui, "stopped"))}</p>'
    return out + _sure(turn, ui, things) if turn.stage == "done" else out


def _sources(answer: Answer, ui: str) -> str:
    """The items that an answer comes from, each to be opened for the words used."""
    if answer.refused or not answer.sources:
        return ""
    names = "".join(
        f'<li lang="{answer.language}"><details><summary>{escape(s.item.label_in(answer.language))}</summary>'
        f"{''.join(f'<q>{escape(p.text)}</q>' for p in s.passages)}</details></li>"
        if s.passages
        else f'<li lang="{answer.language}">{escape(s.item.label_in(answer.language))}</li>'
        for s in answer.sources[:MAX_SOURCES]
    )
    return (
        f'<div class="lr-understood lr-sources"><span>{escape(say(ui, "sources"))}</span>'
        f"<ul>{names}</ul></div>"
    )


def _sure(turn: Turn, ui: str, things: Things) -> str:
    """How sure the reply is, in words; the number is told on hover, and to screen readers."""
    confidence = turn.answer.confidence if turn.answer else turn.confidence
    if confidence is None or not (turn.recommendations or turn.answer) or turn.problem:
        return ""
    key = next(key for least, key in SURE if confidence >= least)
    kind = "answer" if turn.answer else "list" if turn.calibrated else "rough"
    more = say(ui, f"sure_{kind}", things, n=round(100 * confidence))
    return (
        f'<p class="lr-sure" tabindex="0" title="{escape(more)}">{escape(say(ui, key))}'
        f'<span class="lr-hidden">. {escape(more)}</span></p>'
    )


def _from_shared(turn: Turn, ui: str, things: Things) -> tuple[str, ...]:
    """How to go on from a list that somebody shared, or from a link that led to none."""
    return (say(ui, "all_message", things),) if turn.recommendations else examples(ui, things)


def _keep(turn: Turn, language: str, ui: str, links: bool) -> str:
    """Links that save the list; the files stand in the links, so that nobody is asked for them."""
    if not turn.recommendations:
        return ""
    files = " · ".join(
        f'<a download="llmrec.{kind}" href="{data_url(exported(turn.recommendations, kind, language), kind)}">'
        f"{kind.upper() if kind != 'md' else 'Markdown'}</a>"
        for kind in FORMATS
    )
    shared = _link(turn, ui) if links else ""
    return f'<p class="lr-keep">{escape(say(ui, "save"))} {files}{shared}</p>'


def _link(turn: Turn, ui: str) -> str:
    """A link to the list, and the button that copies it; what became of that is told aloud."""
    address = link_to(r.item.id for r in turn.recommendations)
    if not address:
        return ""
    return (
        f' · <a class="lr-link" href="{escape(address)}" target="_blank" rel="noopener">{escape(say(ui, "link"))}</a> '
        f'<button type="button" class="lr-copy" data-copy="">{escape(say(ui, "copy"))}</button> '
        f'<span class="lr-copied" role="status" data-done="{escape(say(ui, "copied"))}" '
        f'data-failed="{escape(say(ui, "not_copied"))}"></span>'
    )


def _understood(turn: Turn, ui: str, things: Things) -> str:
    p = turn.preferences
    if p is None or turn.by_hand or turn.route != "recommend":
        return ""
    words = [*wish_labels(wishes(p), p.language, things)]
    words += [display_name("keyword", k, p.language).lower() for k in p.keywords]
    if not words:
        return ""
    tags = "".join(f"<li>{escape(w)}</li>" for w in words)
    return (
        f'<div class="lr-understood"><span>{escape(say(ui, "understood_line"))}</span>'
        f'<ul lang="{p.language}">{tags}</ul></div>'
    )


def header(
    language: str,
    model: str,
    *,
    size: str = "",
    embedded: bool = False,
    greeted: bool = True,
    things: Things = "films",
) -> str:
    """The top of the page.

    Parameters
    ----------
    model: the name of the model that answers. size: of it, "3M" for three million parameters.
    embedded: whether it is the one that comes with llmrec.
    greeted: whether the language is the visitor's, not just the one the page is built in.
    things: what the catalogue holds.
    """
    who = f"<b>{escape(model)}</b>"
    if embedded:
        sized = (
            say(language, "sized", size=f"{size}-" if language == "en" else size) if size else ""
        )
        who += f", {escape(say(language, 'embedded', size=sized))}"
        who += f'<span class="lr-more">. {escape(say(language, "embedded_more"))}</span>'
    elif size:
        who += f" ({escape(size)})"
    buttons = "".join(
        f'<button type="button" data-language="{code}" lang="{code}" aria-pressed="{str(code == language).lower()}"'
        f' title="{name}"><span aria-hidden="true">{code}</span><span class="lr-hidden">{name}</span></button>'
        for code, name in zip(("pt", "es", "en"), ("Português", "Español", "English"), strict=True)
    )
    return (
        f'<header class="lr-header" data-page-language="{language if greeted else ""}" data-page-title="{escape(say(language, "page", things))}">'
        f'<h1><svg viewBox="0 0 32 32" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="8"/>'
        f'<path d="M10 8v16l14-8z"/></svg>llmrec</h1>'
        f'<p class="lr-tagline">{escape(say(language, "tagline", things))}</p>'
        f'<p class="lr-model"><span>{escape(say(language, "answers"))}:</span> {who}</p>'
        f'<div class="lr-languages" role="group" aria-label="{escape(say(language, "language"))}">{buttons}</div>'
        f'<button type="button" class="lr-open" data-panel="open" aria-expanded="false" aria-controls="lr-panel">'
        f"{escape(say(language, 'panel_short'))}</button></header>"
    )


def panel_head(language: str) -> str:
    """The heading of the panel, with the button that closes it where it covers the page."""
    return (
        f'<div class="lr-panel-head"><h2>{escape(say(language, "panel"))}</h2>'
        f'<button type="button" class="lr-close" data-panel="close" aria-label="{escape(say(language, "panel_close"))}">'
        f"{_icon('missed')}</button><p>{escape(say(language, 'panel_more'))}</p></div>"
    )
