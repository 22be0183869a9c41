# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Compare hides the screen on which two contestants answer side by side and are voted on blind."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import gradio as gr

from llmrec.demo.consent import consent_box
from llmrec.demo.feedback import CHOICES, REASONS, Choice, Consent, Feedback, Tally
from llmrec.demo.match import (
    Match,
    Round,
    Side,
    as_asked,
    difference,
    embedded_contestants,
    play,
)
from llmrec.demo.posters import poster
from llmrec.demo.screen import Screen, Updates
from llmrec.demo.talk import AT_ONCE
from llmrec.demo.texts import say
from llmrec.demo.visit import Visit
from llmrec.errors import InputError
from llmrec.metrics.significance import wilson
from llmrec.types import MAX_MESSAGE_CHARS, Item, Recommendation
from llmrec.wording import display_name, duration

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmrec.recommender import Recommender

__all__ = ["TEXTS", "compare", "embedded_contestants"]

_SHOWN_CHARS = 600
_BOARD = '<div class="lr-log lr-board" role="log">${value}</div>'

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Which list is better?",
        "lead": "Two recommenders get the same words and the same wishes. Who is A and who is B is left to chance and told after your vote.",
        "first": "First contestant",
        "second": "Second contestant",
        "drawn": "drawn at random",
        "streamed": "Show each list as soon as it is there (speed may give away who it is)",
        "again": "New comparison",
        "waiting": "Both are looking…",
        "waiting_one": "Looking…",
        "nothing": "Found nothing that fits.",
        "list": "List {side}",
        "ready": "Both lists are there. Which is better?",
        "vote_a": "A is better",
        "vote_b": "B is better",
        "vote_equal": "Both equal",
        "vote_bad": "Both bad",
        "reasons": "Why? (as you like, before you vote)",
        "fit": "Fits the wishes",
        "new": "Something new",
        "variety": "More variety",
        "wrong": "Other misses the wishes",
        "seen": "Other shows too familiar ones",
        "words": "Better words",
        "voted": "Your vote: {vote}.",
        "was": "{side} was {name}.",
        "kept": "Kept, as you agreed.",
        "not_kept": "Counted for you alone; not kept.",
        "error_kept": "It could not be kept just now; it counts for you alone.",
        "difference": "The difference",
        "only": "Only in {side}",
        "shared": "In both",
        "rank": "Rank {side}",
        "change": "From A to B",
        "same": "same",
        "up": "{n} up",
        "down": "{n} down",
        "none": "none",
        "counts": "{shared} of {n} in both",
        "tally": "Votes so far",
        "tally_own": "Yours",
        "tally_all": "All that were kept",
        "pair": "Pair",
        "wins": "{name}: {n}",
        "equal": "equal: {n}",
        "bad": "both bad: {n}",
        "share": "{name} preferred in {share} % of decided votes (95 % interval {low} to {high} %)",
        "undecided": "no decided vote yet",
        "you": "You",
        "stopped": "Stopped here, as you asked.",
        "error_no_wish": "That does not ask for a recommendation: say what you are looking for.",
        "error_same": "The two contestants are the same: choose two different ones, or leave one to chance.",
        "error_model": "One of the two could not answer just now. Nothing is lost: please try again.",
    },
    "pt": {
        "title": "Qual lista é melhor?",
        "lead": "Dois recomendadores recebem as mesmas palavras e os mesmos pedidos. Quem é A e quem é B fica ao acaso e é dito depois do seu voto.",
        "first": "Primeiro concorrente",
        "second": "Segundo concorrente",
        "drawn": "ao acaso",
        "streamed": "Mostrar cada lista assim que chegar (a rapidez pode revelar quem é)",
        "again": "Nova comparação",
        "waiting": "Os dois estão procurando…",
        "waiting_one": "Procurando…",
        "nothing": "Não achou nada que sirva.",
        "list": "Lista {side}",
        "ready": "As duas listas chegaram. Qual é melhor?",
        "vote_a": "A é melhor",
        "vote_b": "B é melhor",
        "vote_equal": "Iguais",
        "vote_bad": "As duas ruins",
        "reasons": "Por quê? (se quiser, antes de votar)",
        "fit": "Atende aos pedidos",
        "new": "Algo novo",
        "variety": "Mais variedade",
        "wrong": "A outra não atende aos pedidos",
        "seen": "A outra é conhecida demais",
        "words": "Palavras melhores",
        "voted": "Seu voto: {vote}.",
        "was": "{side} era {name}.",
        "kept": "Guardado, como você permitiu.",
        "not_kept": "Conta só para você; não foi guardado.",
        "error_kept": "Não foi possível guardar agora; conta só para você.",
        "difference": "A diferença",
        "only": "Só em {side}",
        "shared": "Nas duas",
        "rank": "Posição em {side}",
        "change": "De A para B",
        "same": "igual",
        "up": "{n} acima",
        "down": "{n} abaixo",
        "none": "nenhum",
        "counts": "{shared} de {n} nas duas",
        "tally": "Votos até agora",
        "tally_own": "Os seus",
        "tally_all": "Todos os guardados",
        "pair": "Par",
        "wins": "{name}: {n}",
        "equal": "iguais: {n}",
        "bad": "as duas ruins: {n}",
        "share": "{name} preferido em {share} % dos votos decididos (intervalo de 95 %: {low} a {high} %)",
        "undecided": "nenhum voto decidido ainda",
        "you": "Você",
        "stopped": "Parei aqui, como você pediu.",
        "error_no_wish": "Isso não pede uma recomendação: diga o que você procura.",
        "error_same": "Os dois concorrentes são o mesmo: escolha dois diferentes, ou deixe um ao acaso.",
        "error_model": "Um dos dois não conseguiu responder agora. Nada se perdeu: por favor, tente de novo.",
    },
    "es": {
        "title": "¿Qué lista es mejor?",
        "lead": "Dos recomendadores reciben las mismas palabras y los mismos deseos. Quién es A y quién es B queda al azar y se dice después de tu voto.",
        "first": "Primer participante",
        "second": "Segundo participante",
        "drawn": "al azar",
        "streamed": "Mostrar cada lista en cuanto llegue (la rapidez puede delatar quién es)",
        "again": "Nueva comparación",
        "waiting": "Los dos están buscando…",
        "waiting_one": "Buscando…",
        "nothing": "No encontró nada que sirva.",
        "list": "Lista {side}",
        "ready": "Las dos listas están. ¿Cuál es mejor?",
        "vote_a": "A es mejor",
        "vote_b": "B es mejor",
        "vote_equal": "Iguales",
        "vote_bad": "Las dos malas",
        "reasons": "¿Por qué? (si quieres, antes de votar)",
        "fit": "Cumple los deseos",
        "new": "Algo nuevo",
        "variety": "Más variedad",
        "wrong": "La otra no cumple los deseos",
        "seen": "La otra es demasiado conocida",
        "words": "Mejores palabras",
        "voted": "Tu voto: {vote}.",
        "was": "{side} era {name}.",
        "kept": "Guardado, como permitiste.",
        "not_kept": "Cuenta solo para ti; no se guardó.",
        "error_kept": "No se pudo guardar ahora; cuenta solo para ti.",
        "difference": "La diferencia",
        "only": "Solo en {side}",
        "shared": "En las dos",
        "rank": "Puesto en {side}",
        "change": "De A a B",
        "same": "igual",
        "up": "{n} arriba",
        "down": "{n} abajo",
        "none": "ninguno",
        "counts": "{shared} de {n} en las dos",
        "tally": "Votos hasta ahora",
        "tally_own": "Los tuyos",
        "tally_all": "Todos los guardados",
        "pair": "Par",
        "wins": "{name}: {n}",
        "equal": "iguales: {n}",
        "bad": "las dos malas: {n}",
        "share": "{name} preferido en el {share} % de los votos decididos (intervalo del 95 %: {low} a {high} %)",
        "undecided": "ningún voto decidido todavía",
        "you": "Tú",
        "stopped": "Parado aquí, como pediste.",
        "error_no_wish": "Eso no pide una recomendación: di qué buscas.",
        "error_same": "Los dos participantes son el mismo: elige dos distintos, o deja uno al azar.",
        "error_model": "Uno de los dos no pudo responder ahora. No se perdió nada: por favor, inténtalo de nuevo.",
    },
}


def compare(
    contestants: Mapping[str, Recommender],
    visit: gr.State,
    script: str,
    feedback: Feedback,
    consent: gr.State | None = None,
) -> Screen:
    """Lay out the screen in the current Blocks and wire it.

    Parameters
    ----------
    contestants: two or more, by the names that visitors get to see; all with one catalogue.
    script: for the HTML of the lists, as ``talk`` takes it.
    feedback: where votes are kept, of visitors who agree.
    consent: holds a ``Consent`` that other screens ask too, and that has its box elsewhere. None:
        the screen has its own, with its box.

    Raises
    ------
    InputError: fewer than two contestants, or different catalogues.
    """
    _check(contestants)
    fresh = Visit(things=next(iter(contestants.values())).things)
    match = gr.State(Match())
    boxed: list[Screen] = []
    matches: WeakKeyDictionary[Visit, Match] = WeakKeyDictionary()  # for the language switch
    with gr.Column(elem_id="lr-compare", min_width=0):
        parts = _lay_out(contestants, fresh, script)
        if consent is None:
            consent = gr.State(Consent())
            boxed.append(consent_box(feedback, visit, consent))
    board, box, ballot, tally = parts.board, parts.box, parts.ballot, parts.tally

    def texts(visit: Visit) -> Updates:
        out = _labels(parts, contestants, visit)
        if (match := matches.get(visit)) is not None:
            out[board] = _board(visit, match)
            out[tally] = _tallies(visit, match, feedback.tally())
        for screen in boxed:
            out.update(screen.texts(visit))
        return out

    def answer(
        message: str | None, visit: Visit, match: Match, first: str, second: str, early: bool
    ) -> Iterator[Updates]:
        matches[visit] = match
        chosen = [n for n in (first, second) if n in contestants]
        steps = play(contestants, match, message or "", chosen, streamed=bool(early))
        taken = False
        with contextlib.closing(cast("Generator[Round, None, None]", steps)) as rounds:
            for round_ in rounds:
                out: Updates = {board: _board(visit, match)}
                if not taken and round_.stage not in ("thinking", "failed"):
                    out[box] = ""
                    taken = True
                yield out
        # Gradio sends the last step once more at the end: it must be how things stand then.
        yield {board: _board(visit, match)}

    def settled(visit: Visit, match: Match) -> Updates:
        """What stands around the lists once they are there, voted on, or cleared."""
        return {
            board: _board(visit, match),
            ballot: gr.update(visible=match.open),
            parts.reasons: [],
            tally: _tallies(visit, match, feedback.tally()),
        }

    def cast_vote(
        choice: str, visit: Visit, match: Match, consent: Consent, why: Sequence[str] | None
    ) -> Updates:
        voted = match.vote(choice, why or ())
        if voted is not None and voted.vote:
            a, b = ((s.name, s.ids) for s in voted.sides)
            asked = as_asked(contestants, voted)
            kept = feedback.vote(consent, asked, a, b, voted.vote, voted.reasons)
            match.told(kept if consent.given else None)
        return settled(visit, match)

    def halt(visit: Visit, match: Match) -> Updates:
        match.stop()
        return settled(visit, match)

    def start_over(visit: Visit, match: Match) -> Updates:
        match.clear()
        return settled(visit, match)

    shared: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "trigger_mode": "multiple",
    }
    around = [board, ballot, parts.reasons, tally]
    quick: dict[str, Any] = {**shared, "outputs": around, "queue": False}
    sent = [box.submit, parts.send.click]
    asking = gr.on(
        sent,
        answer,
        [box, visit, match, *parts.seats, parts.streamed],
        [board, box],
        concurrency_limit=AT_ONCE,
        concurrency_id="answers",
        **shared,
    )
    asking.then(settled, [visit, match], **quick)
    gr.on(sent, lambda: gr.update(visible=False), None, [ballot], queue=False, **shared)
    for v, button in parts.votes.items():
        said = [visit, match, consent, parts.reasons]
        button.click(functools.partial(cast_vote, v), said, **quick)
    parts.stop.click(halt, [visit, match], **quick)
    parts.again.click(start_over, [visit, match], **quick)
    own = [*_labels(parts, contestants, fresh), board, tally]
    return Screen([*own, *(c for screen in boxed for c in screen.components)], texts)


@dataclass(frozen=True)
class _Parts:
    """The components of the screen."""

    head: Any
    seats: list[Any]
    streamed: Any
    board: Any
    ballot: Any
    reasons: Any
    votes: Mapping[Choice, Any]
    box: Any
    send: Any
    stop: Any
    again: Any
    tally: Any


def _lay_out(contestants: Mapping[str, Recommender], fresh: Visit, script: str) -> _Parts:
    plain: dict[str, Any] = {"apply_default_css": False, "js_on_load": None}
    head = gr.HTML(_head(fresh), **plain)
    with gr.Row(elem_id="lr-contestants"):
        seats = [
            gr.Dropdown(
                _seats(contestants, "en"), value="", label=_say("en", seat),
                elem_id=f"lr-{seat}", min_width=0, filterable=False,
            )
            for seat in ("first", "second")
        ]  # fmt: skip
    streamed = gr.Checkbox(False, label=_say("en", "streamed"), elem_id="lr-streamed")
    board = gr.HTML(
        _board(fresh, Match()), html_template=_BOARD, js_on_load=script, apply_default_css=False,
        elem_id="lr-board",
    )  # fmt: skip
    with gr.Column(visible=False, elem_id="lr-ballot", min_width=0) as ballot:
        reasons = gr.CheckboxGroup(
            _reasons("en"), label=_say("en", "reasons"), elem_id="lr-reasons"
        )
        with gr.Row(elem_id="lr-votes"):
            votes = {
                v: gr.Button(_say("en", f"vote_{v}"), elem_id=f"lr-vote-{v}", min_width=0)
                for v in CHOICES
            }
    with gr.Row(elem_id="lr-ask"):
        small: dict[str, Any] = {"min_width": 0, "scale": 0}
        box = gr.Textbox(
            placeholder=say("en", "placeholder", fresh.things), label=say("en", "box"),
            show_label=False, container=False, lines=1, max_lines=6, scale=1, min_width=0,
            elem_id="lr-ask-box",
        )  # fmt: skip
        send = gr.Button(say("en", "send"), variant="primary", elem_id="lr-ask-send", **small)
        stop = gr.Button(say("en", "stop"), elem_id="lr-ask-stop", **small)
        again = gr.Button(_say("en", "again"), elem_id="lr-again", **small)
    tally = gr.HTML(_tallies(fresh, Match(), Tally()), **plain)
    return _Parts(
        head, seats, streamed, board, ballot, reasons, votes, box, send, stop, again, tally
    )


def _labels(parts: _Parts, contestants: Mapping[str, Recommender], visit: Visit) -> Updates:
    """What does not depend on the comparison, in the language of the visit."""
    ui = visit.language
    return {
        parts.head: _head(visit),
        **{
            seat: gr.update(label=_say(ui, name), choices=_seats(contestants, ui))
            for seat, name in zip(parts.seats, ("first", "second"), strict=True)
        },
        parts.streamed: gr.update(label=_say(ui, "streamed")),
        parts.reasons: gr.update(label=_say(ui, "reasons"), choices=_reasons(ui)),
        **{button: _say(ui, f"vote_{v}") for v, button in parts.votes.items()},
        parts.box: gr.update(
            placeholder=say(ui, "placeholder", visit.things), label=say(ui, "box")
        ),
        parts.send: say(ui, "send"),
        parts.stop: say(ui, "stop"),
        parts.again: _say(ui, "again"),
    }


def _check(contestants: Mapping[str, Recommender]) -> None:
    if len(contestants) < 2:
        raise InputError(
            f"{len(contestants)} contestant was given: name at least two to be compared"
        )
    first, *others = contestants.items()
    for name, recommender in others:
        if recommender.catalog.fingerprint != first[1].catalog.fingerprint:
            raise InputError(
                f"the contestants {first[0]!r} and {name!r} have different catalogues: give both "
                "the same, as they must answer the same wishes"
            )


def _say(language: str, key: str, **slots: object) -> str:
    return TEXTS[language][key].format(**slots)


def _seats(contestants: Mapping[str, Recommender], language: str) -> list[tuple[str, str]]:
    return [(_say(language, "drawn"), ""), *((name, name) for name in contestants)]


def _reasons(language: str) -> list[tuple[str, str]]:
    return [(_say(language, r), r) for r in REASONS]


def _head(visit: Visit) -> str:
    ui = visit.language
    return (
        f'<div class="lr-compare-head"><h2>{escape(_say(ui, "title"))}</h2>'
        f"<p>{escape(_say(ui, 'lead'))}</p></div>"
    )


def _board(visit: Visit, match: Match) -> str:
    """All rounds; a name stands in it only where its round was voted on."""
    rounds = "".join(_round(r, visit) for r in match.rounds)
    return f'<span hidden="" data-stamp="{match.stamp()}"></span>{rounds}'


def _round(round_: Round, visit: Visit) -> str:
    ui = visit.language
    said = escape(round_.said[:_SHOWN_CHARS]) + ("…" if len(round_.said) > _SHOWN_CHARS else "")
    out = [
        f'<section class="lr-round" data-stage="{round_.stage}"><div class="lr-said">'
        f'<span class="lr-hidden">{escape(_say(ui, "you"))}: </span><p>{said}</p></div>'
    ]
    if round_.stage == "thinking" and not any(s.listed for s in round_.sides):
        out.append(f'<p class="lr-note" role="status">{escape(_say(ui, "waiting"))}</p>')
    elif any(s.listed for s in round_.sides):
        sides = zip("AB", round_.sides, strict=True)
        out.append(
            f'<div class="lr-sides">{"".join(_side(n, s, round_, ui) for n, s in sides)}</div>'
        )
    if round_.problem:
        slots = {"n": len(round_.said), "limit": MAX_MESSAGE_CHARS}
        own = round_.problem in TEXTS[ui]
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


def _side(letter: str, side: Side, round_: Round, ui: str) -> str:
    language = round_.preferences.language if round_.preferences else ui
    name = escape(_say(ui, "list", side=letter))
    if not side.listed:
        body = f'<p class="lr-note" role="status">{escape(_say(ui, "waiting_one"))}</p>'
    elif not side.recommendations:
        body = f'<p class="lr-note">{escape(_say(ui, "nothing"))}</p>'
    else:
        cards = "".join(_card(r, language, ui) for r in side.recommendations)
        body = f'<ol class="lr-picks">{cards}</ol>'
    text = f'<p class="lr-side-text" lang="{language}">{escape(side.text)}</p>' if side.text else ""
    who = f" <span>{escape(side.name)}</span>" if round_.vote else ""
    won = " lr-won" if round_.vote == letter.lower() else ""
    return f'<section class="lr-side{won}" aria-label="{name}"><h3>{name}{who}</h3>{body}{text}</section>'


def _card(recommendation: Recommendation, language: str, ui: str) -> str:
    item = recommendation.item
    facts = [str(item.year) if item.year else "", duration(item.runtime) if item.runtime else ""]
    facts += [display_name("genre", g, language) for g in item.genres[:2]]
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
        f'<li class="lr-pick"><span class="lr-pick-art" aria-hidden="true">{poster(item, language)}</span>'
        f'<div><b lang="{language}">{escape(item.title_in(language))}</b>'
        f'<p class="lr-meta">{" · ".join(escape(f) for f in facts if f)}</p>'
        + (f'<ul class="lr-ticks" lang="{language}">{"".join(wishes)}</ul>' if wishes else "")
        + "</div></li>"
    )


def _revealed(round_: Round, ui: str) -> str:
    kept = {None: "not_kept", True: "kept", False: "error_kept"}[round_.kept]
    said = [_say(ui, "voted", vote=_say(ui, f"vote_{round_.vote}"))]
    said += [
        _say(ui, "was", side=letter, name=side.name)
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
            f'<li lang="{language}">{escape(_title(r.item, language))}</li>' for r in items
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
        f'<tr><th scope="row" lang="{language}">{escape(_title(x.item, language))}</th>'
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


def _title(item: Item, language: str) -> str:
    title = item.title_in(language)
    return f"{title} ({item.year})" if item.year else title


def _moved(n: int, ui: str) -> str:
    return _say(ui, "same") if n == 0 else _say(ui, "up" if n > 0 else "down", n=abs(n))


def _tallies(visit: Visit, match: Match, kept: Tally) -> str:
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
    first, second = pair
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
