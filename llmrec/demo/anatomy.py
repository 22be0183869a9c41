# ruff: noqa: E501  (markup stays in one piece)
"""Anatomy hides how an inspected turn looks, step by step, with what was measured of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from llmrec.demo.cards import share
from llmrec.demo.inspection import Inspection, Searched, Word, words_of
from llmrec.demo.texts import Words, number, signed
from llmrec.orders import without_orders
from llmrec.types import Answer, Item, Recommendation, Source
from llmrec.wishes import Wish
from llmrec.wording import wish_labels

if TYPE_CHECKING:
    from llmrec.lexicon import Marked
    from llmrec.recommender import Recommender

__all__ = ["anatomy"]

_say = Words("inside")
MAX_PASSAGE = 400


def anatomy(made: Inspection, recommender: Recommender, ui: str) -> str:
    """A turn, step by step."""
    reply = made.reply
    parts = [_steps(made, ui), _route(made, ui), _read(made, ui)]
    if reply.route == "recommend":
        parts += [_understood(made, recommender, ui), _narrowed(made, recommender, ui)]
        parts += [_search(made, ui), _signals(reply.recommendations, ui)]
    elif reply.answer is not None:
        parts += [_case(made, ui), _sources(reply.answer, ui)]
    else:
        parts.append(f'<p class="lr-note">{escape(_say(ui, "nothing_more"))}</p>')
    return f'<div class="lr-i-parts">{"".join(p for p in parts if p)}</div>'


def _part(title: str, inside: str, note: str = "") -> str:
    told = f"<p>{escape(note)}</p>" if note else ""
    return f'<section class="lr-i-part"><h3>{escape(title)}</h3>{told}{inside}</section>'


def _bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """Names, lengths from 0 to 1, and what is written behind."""
    return (
        '<ol class="lr-i-bars">'
        + "".join(
            f'<li><span>{escape(name)}</span><i aria-hidden="true"><b style="width:{100 * min(1.0, max(0.0, size)):.1f}%"></b></i>'
            f"<em>{escape(told)}</em></li>"
            for name, size, told in rows
        )
        + "</ol>"
    )


def _steps(made: Inspection, ui: str) -> str:
    steps = [n for n in ("first", "rank", "words", "answer") if n in made.seconds]
    whole = made.seconds["whole"]
    rows = [
        (_say(ui, n), made.seconds[n] / (whole or 1.0), _say(ui, "ms", n=_ms(made.seconds[n], ui)))
        for n in steps
    ]
    return _part(_say(ui, "steps"), _bars(rows), _say(ui, "steps_more", whole=_ms(whole, ui)))


def _ms(seconds: float, ui: str) -> str:
    return number(1000 * seconds, ui, 1 if seconds < 0.1 else 0)


def _share(probability: float, ui: str) -> str:
    return share(math.log(probability) if probability > 0 else -math.inf, ui)


def _route(made: Inspection, ui: str) -> str:
    ranked = sorted(made.route.probabilities.items(), key=lambda r: -r[1])
    rows = [(_say(ui, name), p, _share(p, ui)) for name, p in ranked]
    ms = _ms(made.seconds["route"], ui)
    sure = _share(made.route.confidence, ui)
    return _part(_say(ui, "route"), _bars(rows), _say(ui, "route_more", ms=ms, share=sure))


def _read(made: Inspection, ui: str) -> str:
    said = "".join(f"<li>{_marked(m, ui)}</li>" for m in made.marked[-6:])
    ms = _ms(made.seconds["understand"], ui)
    return _part(
        _say(ui, "read"), f'<ol class="lr-i-said">{said}</ol>', _say(ui, "read_more", ms=ms)
    )


def _marked(marked: Marked, ui: str) -> str:
    """A message with its spans, each with what it was taken for."""
    out, at = [], 0
    for span in sorted(marked.spans, key=lambda s: s.start):
        if span.start < at:
            continue
        kind = _say(ui, span.kind) if span.kind in _say else span.kind
        out.append(escape(marked.message[at : span.start]))
        out.append(
            f"<mark>{escape(marked.message[span.start : span.end])}<small>{escape(kind)}</small></mark>"
        )
        at = span.end
    return "".join([*out, escape(marked.message[at:])])


def _understood(made: Inspection, recommender: Recommender, ui: str) -> str:
    rows = "".join(
        f"<tr><td>{escape(_label(w, recommender, ui))}</td><td>{_origin(w, ui)}</td></tr>"
        for w in words_of(made.reply.preferences, made.marked)
    )
    if not rows:
        return _part(_say(ui, "understood"), "", _say(ui, "understood_none"))
    head = "".join(f'<th scope="col">{escape(_say(ui, n))}</th>' for n in ("wish", "from"))
    table = f'<table class="lr-i-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return _part(_say(ui, "understood"), table)


def _label(word: Word, recommender: Recommender, ui: str) -> str:
    """A preference in the language of the page; ids become titles."""
    if word.field not in ("keywords", "text", "similar_to", "likes", "dislikes", "seen"):
        return ", ".join(wish_labels([Wish(word.field, word.values)], ui, recommender.things))
    value = word.values[0]
    if word.field not in ("keywords", "text") and value in recommender.catalog:
        value = recommender.catalog.get(value).title_in(ui)
    return _say(ui, word.field, value=value)


def _origin(word: Word, ui: str) -> str:
    said = ", ".join(f"<q>{escape(w)}</q>" for w in word.words)
    return said or f"<small>{escape(_say(ui, 'whole'))}</small>"


def _narrowed(made: Inspection, recommender: Recommender, ui: str) -> str:
    counts = [(_say(ui, "in_catalogue"), made.catalog), (_say(ui, "fresh"), made.fresh)]
    for f in made.filters:
        (wish,) = wish_labels([f.wish], ui, recommender.things)
        counts.append((_say(ui, "with_wish", wish=wish), f.left))
    # By logarithms, or a few candidates of many could not be seen.
    longest = math.log1p(max(made.catalog, 1))
    rows = [(name, math.log1p(n) / longest, number(n, ui)) for name, n in counts]
    notes = []
    if made.dropped:
        gone = "; ".join(wish_labels(made.dropped, ui, recommender.things))
        notes.append(_say(ui, "dropped", wishes=gone, n=number(made.candidates, ui)))
    if made.unchecked:
        notes.append(
            _say(
                ui,
                "unchecked",
                wishes="; ".join(wish_labels(made.unchecked, ui, recommender.things)),
            )
        )
    if recommender.things == "products":
        notes.append(_say(ui, "products"))
    told = "".join(f"<p>{escape(n)}</p>" for n in notes)
    return _part(_say(ui, "candidates"), _bars(rows) + told, _say(ui, "candidates_more"))


def _search(made: Inspection, ui: str) -> str:
    found = made.searched
    if found is None:
        return _part(_say(ui, "search"), "", _say(ui, "search_none"))
    note = _say(
        ui, "search_more", n=number(made.candidates, ui), k=found.wanted, ms=_ms(found.seconds, ui),
        forwards=number(found.forwards, ui), tokens=number(found.tokens, ui),
    )  # fmt: skip
    best = "".join(
        f"<li><bdi>{escape(i.title_in(ui))}</bdi> <small>{escape(_share(math.exp(p), ui))}</small></li>"
        for i, p in found.best
    )
    told = f"<p><strong>{escape(_proven(found, ui))}</strong></p><p>{escape(_say(ui, 'search_best'))}</p>"
    return _part(_say(ui, "search"), f'{told}<ol class="lr-i-best">{best}</ol>', note)


def _proven(found: Searched, ui: str) -> str:
    if found.exact:
        return _say(ui, "exact")
    if not math.isfinite(found.gap):
        return _say(ui, "gap_open")
    return _say(ui, "gap", factor=number(math.exp(min(found.gap, 50.0)), ui, 1))


def _signals(recommendations: Sequence[Recommendation], ui: str) -> str:
    most = max((abs(v) for r in recommendations for v in r.signals.values()), default=0.0) or 1.0
    items = "".join(_item_signals(r, most, ui) for r in recommendations)
    if not items:
        return ""
    return _part(
        _say(ui, "signals"), f'<ol class="lr-i-items">{items}</ol>', _say(ui, "signals_more")
    )


def _item_signals(recommendation: Recommendation, most: float, ui: str) -> str:
    ranked = sorted(recommendation.signals.items(), key=lambda s: -s[1])
    rows = "".join(
        f'<li><span>{escape(_signal_name(name, ui))}</span><i aria-hidden="true">'
        f'<b class="{"lr-i-plus" if v >= 0 else "lr-i-minus"}" style="width:{50 * abs(v) / most:.1f}%"></b></i>'
        f"<em>{signed(v, ui)}</em></li>"
        for name, v in ranked
    )
    item = recommendation.item
    return (
        f"<li><h4><bdi>{escape(item.title_in(ui))}</bdi> <small>{escape(share(recommendation.score, ui))}</small></h4>"
        f'<ul class="lr-i-bars lr-i-both">{rows}</ul></li>'
    )


def _signal_name(name: str, ui: str) -> str:
    key = f"signal_{name}"
    return _say(ui, key) if key in _say else name


def _case(made: Inspection, ui: str) -> str:
    case = made.case
    if case is None:
        return ""
    asked = case.asked
    told = [_say(ui, "case_kind", kind=_say(ui, f"kind_{asked.kind}"))]
    if asked.field:
        told.append(_say(ui, "case_field", field=_field(asked.field, ui)))
    if asked.topic:
        told.append(_say(ui, "case_topic", topic=asked.topic))
    if asked.focus:
        told.append(_say(ui, "case_focus", words=", ".join(asked.focus)))
    if case.sources:
        titles = ", ".join(s.item.title_in(ui) for s in case.sources[:8])
        told.append(_say(ui, "case_about", titles=titles))
    if case.stranger:
        told.append(_say(ui, "case_stranger", name=case.stranger))
    told.append(_say(ui, "case_sure", share=_share(case.sure, ui)))
    return _part(
        _say(ui, "case"), "<ul>" + "".join(f"<li>{escape(x)}</li>" for x in told) + "</ul>"
    )


def _sources(answer: Answer, ui: str) -> str:
    notes = [_say(ui, "refused")] if answer.refused else []
    if answer.corrected:
        notes.append(_say(ui, "corrected", n=len(answer.corrected)))
    told = "".join(f"<p>{escape(n)}</p>" for n in notes)
    sources = "".join(_source(s, ui) for s in answer.sources[:8])
    if not sources:
        return _part(_say(ui, "sources"), told, _say(ui, "sources_none"))
    return _part(_say(ui, "sources"), f'{told}<ol class="lr-i-items">{sources}</ol>')


def _source(source: Source, ui: str) -> str:
    item = source.item
    passages = "".join(
        f"<li><q>{escape(_quoted(p.text, item))}</q> <small>{escape(_field(p.field, ui))} · {escape(_share(p.score, ui))}</small></li>"
        for p in source.passages[:4]
    )
    how = f"{_say(ui, f'by_{source.how}')}, {_share(source.score, ui)}"
    return f"<li><h4><bdi>{escape(item.title_in(ui))}</bdi> <small>{escape(how)}</small></h4><ul>{passages}</ul></li>"


def _field(name: str, ui: str) -> str:
    key = f"field_{name}"
    return _say(ui, key) if key in _say else name


def _quoted(text: str, item: Item) -> str:
    said = without_orders(text, item.all_titles)
    return said if len(said) <= MAX_PASSAGE else said[: MAX_PASSAGE - 1] + "…"
