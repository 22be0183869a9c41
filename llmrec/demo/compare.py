# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Compare hides the screen on which two contestants answer side by side and are voted on blind."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import gradio as gr

from llmrec.demo.cards import chip_list, examples
from llmrec.demo.consent import consent_box
from llmrec.demo.feedback import CHOICES, REASONS, Consent, Feedback, Tally
from llmrec.demo.marks import MARKS, Mark, marks_of
from llmrec.demo.match import (
    Match,
    Round,
    Side,
    as_asked,
    difference,
    embedded_contestants,
    over,
    play,
)
from llmrec.demo.posters import art
from llmrec.demo.screen import Screen, Updates, told
from llmrec.demo.talk import AT_ONCE
from llmrec.demo.texts import say
from llmrec.demo.visit import Visit
from llmrec.errors import InputError
from llmrec.metrics.significance import wilson
from llmrec.types import MAX_MESSAGE_CHARS, Item, Recommendation
from llmrec.wording import amount, display_name, duration

if TYPE_CHECKING:
    from collections.abc import Generator

    from llmrec.recommender import Recommender

__all__ = ["TEXTS", "compare", "embedded_contestants"]

_SHOWN_CHARS = 600
_BOARD = '<div class="lr-log lr-board" role="log">${value.join("")}</div>'
_SHOW = """() => document.querySelector('.lr-round:last-child')?.scrollIntoView({
  behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'})"""

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
        "was": "{side} was “{name}”{what}.",
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
        "share": "{share} % of decided votes for “{name}” (95 % interval {low} to {high} %)",
        "undecided": "no decided vote yet",
        "you": "You",
        "name_all signals": "all signals",
        "name_model alone": "model alone",
        "name_popularity alone": "popularity alone",
        "name_lesser known": "lesser known",
        "what_all signals": "likeness, themes, popularity and the model together",
        "what_model alone": "only what the language model expects",
        "what_popularity alone": "the best known that fits",
        "what_lesser known": "all signals, but what few know comes first",
        "who": "Who competes, and how",
        "agree": "Votes are kept of visitors who agree: the box for it is on the screen “{talk}”, below the wishes.",
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
        "was": "{side} era “{name}”{what}.",
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
        "share": "{share} % dos votos decididos para “{name}” (intervalo de 95 %: {low} a {high} %)",
        "undecided": "nenhum voto decidido ainda",
        "you": "Você",
        "name_all signals": "todos os sinais",
        "name_model alone": "só o modelo",
        "name_popularity alone": "só a popularidade",
        "name_lesser known": "o menos conhecido",
        "what_all signals": "semelhança, temas, popularidade e o modelo juntos",
        "what_model alone": "só o que o modelo de linguagem espera",
        "what_popularity alone": "o mais conhecido que serve",
        "what_lesser known": "todos os sinais, mas primeiro o que poucos conhecem",
        "who": "Quem compete, e como",
        "agree": "São guardados os votos de quem permite: a opção fica na tela “{talk}”, abaixo dos pedidos.",
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
        "was": "{side} era “{name}”{what}.",
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
        "share": "{share} % de los votos decididos para “{name}” (intervalo del 95 %: {low} a {high} %)",
        "undecided": "ningún voto decidido todavía",
        "you": "Tú",
        "name_all signals": "todas las señales",
        "name_model alone": "solo el modelo",
        "name_popularity alone": "solo la popularidad",
        "name_lesser known": "lo menos conocido",
        "what_all signals": "parecido, temas, popularidad y el modelo juntos",
        "what_model alone": "solo lo que el modelo de lenguaje espera",
        "what_popularity alone": "lo más conocido que sirve",
        "what_lesser known": "todas las señales, pero primero lo que pocos conocen",
        "who": "Quiénes compiten, y cómo",
        "agree": "Se guardan los votos de quienes lo permiten: la casilla está en la pantalla “{talk}”, debajo de los deseos.",
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
    pictures: Sequence[str] = (),
) -> Screen:
    """Lay out the screen in the current Blocks and wire it.

    A visitor with an own catalogue compares the same contestants over that one; nothing of it is
    kept as feedback.

    Parameters
    ----------
    contestants: two or more, by the names that visitors get to see; all with one catalogue.
    script: for the HTML of the lists, as ``talk`` takes it.
    feedback: where marks and votes are kept, of visitors who agree.
    consent: holds a ``Consent`` that other screens ask too, and that has its box elsewhere. None:
        the screen has its own, with its box.
    pictures: hosts from which pictures of items may be shown.

    Raises
    ------
    InputError: fewer than two contestants, or different catalogues.
    """
    _check(contestants)
    return _Compare(contestants, visit, script, feedback, consent, pictures).screen()


class _Compare:
    """The components of the screen and what they do."""

    def __init__(
        self,
        contestants: Mapping[str, Recommender],
        visit: gr.State,
        script: str,
        feedback: Feedback,
        consent: gr.State | None,
        pictures: Sequence[str],
    ) -> None:
        self.contestants, self.feedback, self.visit = contestants, feedback, visit
        self._pictures = pictures
        self.match = gr.State(Match())
        self.consent = gr.State(Consent()) if consent is None else consent
        self._reader = next(iter(contestants.values()))
        self._fresh = Visit(things=self._reader.things)
        self._match_of: WeakKeyDictionary[Visit, Match] = WeakKeyDictionary()
        # By what answers over an own catalogue, so that they go when that goes.
        self._over: WeakKeyDictionary[Recommender, Mapping[str, Recommender]]
        self._over = WeakKeyDictionary()
        self._boxed: list[Screen] = []
        with gr.Column(elem_id="lr-compare", min_width=0):
            self._lay_out_match(script)
            self._lay_out_ask()
            self.tally = self._html("")
            if consent is None:
                self._boxed.append(consent_box(feedback, visit, self.consent))
        self._wire()

    def _html(self, value: str) -> gr.HTML:
        return gr.HTML(value, apply_default_css=False, js_on_load=None)

    def _lay_out_match(self, script: str) -> None:
        self.head = self._html(_head(self._fresh))
        self.who = gr.Accordion(_say("en", "who"), open=False, elem_id="lr-who")
        with self.who, gr.Row(elem_id="lr-contestants"):
            self.seats = [
                gr.Dropdown(
                    _seats(self.contestants, "en"), value="", label=_say("en", seat),
                    elem_id=f"lr-{seat}", min_width=0, filterable=False,
                )
                for seat in ("first", "second")
            ]  # fmt: skip
        with self.who:
            self.streamed = gr.Checkbox(False, label=_say("en", "streamed"), elem_id="lr-streamed")
        self.board = gr.HTML(
            self._board(self._fresh, Match()), html_template=_BOARD, js_on_load=script,
            apply_default_css=False, elem_id="lr-board",
        )  # fmt: skip
        with gr.Column(visible=False, elem_id="lr-ballot", min_width=0) as self.ballot:
            self.reasons = gr.CheckboxGroup(
                _reasons("en"), label=_say("en", "reasons"), elem_id="lr-reasons"
            )
            with gr.Row(elem_id="lr-votes"):
                self.votes = {
                    v: gr.Button(_say("en", f"vote_{v}"), elem_id=f"lr-vote-{v}", min_width=0)
                    for v in CHOICES
                }

    def _lay_out_ask(self) -> None:
        small: dict[str, Any] = {"min_width": 0, "scale": 0}
        with gr.Row(elem_id="lr-ask"):
            self.again = gr.Button(_say("en", "again"), elem_id="lr-again", **small)
            self.box = gr.Textbox(
                placeholder=say("en", "placeholder", self._fresh.things), label=say("en", "box"),
                show_label=False, container=False, lines=1, max_lines=6, scale=1, min_width=0,
                elem_id="lr-ask-box",
            )  # fmt: skip
            self.send = gr.Button(
                say("en", "send"), variant="primary", elem_id="lr-ask-send", **small
            )
            self.halt = gr.Button(say("en", "stop"), elem_id="lr-ask-stop", **small)

    # -- what is shown ------------------------------------------------------------------------

    def texts(self, visit: Visit) -> Updates:
        """All that is said, in the language of the visit and about the catalogue of it."""
        match = self._match_of.get(visit, Match())
        self._about(visit, match)
        out = self._labels(visit) | self._around(visit, match)
        for screen in self._boxed:
            out.update(screen.texts(visit))
        return out

    def _labels(self, visit: Visit) -> Updates:
        """What does not depend on the comparison."""
        ui = visit.language
        return {
            self.head: _head(visit),
            self.who: gr.update(label=_say(ui, "who")),
            **{
                seat: gr.update(label=_say(ui, name), choices=_seats(self.contestants, ui))
                for seat, name in zip(self.seats, ("first", "second"), strict=True)
            },
            self.streamed: gr.update(label=_say(ui, "streamed")),
            self.reasons: gr.update(label=_say(ui, "reasons"), choices=_reasons(ui)),
            **{button: _say(ui, f"vote_{v}") for v, button in self.votes.items()},
            self.box: gr.update(
                placeholder=say(ui, "placeholder", visit.things), label=say(ui, "box")
            ),
            self.send: say(ui, "send"),
            self.halt: say(ui, "stop"),
            self.again: _say(ui, "again"),
        }

    def _board(self, visit: Visit, match: Match) -> list[str]:
        return _board(visit, match, self._pictures)

    def _around(self, visit: Visit, match: Match) -> Updates:
        """The lists, and what stands around them."""
        return {
            self.board: self._board(visit, match),
            self.ballot: gr.update(visible=match.open),
            self.tally: _tallies(visit, match, self.feedback.tally()) + self._agree(visit, match),
        }

    def _agree(self, visit: Visit, match: Match) -> str:
        """Where a visitor who votes can let that be kept."""
        if not match.tally.counts or self._boxed or not self.feedback.keeps or visit.other():
            return ""
        ui = visit.language
        where = _say(ui, "agree", talk=say(ui, "tab_talk"))
        return f'<p class="lr-note">{escape(where)}</p>'

    # -- who answers --------------------------------------------------------------------------

    def _about(self, visit: Visit, match: Match) -> None:
        """Begin anew where the visitor's catalogue is another by now, brought or gone."""
        match.about(visit.recommender(self._reader).catalog.fingerprint)

    def _rivals(self, visit: Visit) -> Mapping[str, Recommender]:
        """The contestants, over the visitor's own catalogue where answers come from that."""
        own = visit.other()
        if own is None:
            return self.contestants
        if own not in self._over:
            self._over[own] = over(self.contestants, own)
        return self._over[own]

    # -- what happens -------------------------------------------------------------------------

    def answer(
        self,
        message: str | None,
        visit: Visit,
        match: Match,
        first: str,
        second: str,
        early: bool,
    ) -> Iterator[Updates]:
        """Let both answer what stands in the box."""
        yield from self._answers(message or "", visit, match, (first, second), early, "")

    def answer_chip(
        self,
        visit: Visit,
        match: Match,
        first: str,
        second: str,
        early: bool,
        event: gr.EventData,
    ) -> Iterator[Updates]:
        """Let both answer an example."""
        said = str(told(event).get("text") or "")
        yield from self._answers(said, visit, match, (first, second), early, None)

    def _answers(
        self,
        said: str,
        visit: Visit,
        match: Match,
        seats: Sequence[str],
        early: bool,
        box: str | None,
    ) -> Iterator[Updates]:
        """The steps of a round; ``box`` goes into the box with the first that is an answer."""
        self._match_of[visit] = match
        self._about(visit, match)
        chosen = [n for n in seats if n in self.contestants]
        steps = play(lambda: self._rivals(visit), match, said, chosen, streamed=bool(early))
        with contextlib.closing(cast("Generator[Round, None, None]", steps)) as rounds:
            for round_ in rounds:
                out: Updates = {self.board: self._board(visit, match)}
                if box is not None and round_.stage not in ("thinking", "failed"):
                    out[self.box] = box
                    box = None
                yield out
        # Gradio sends the last step once more at the end: it must be how things stand then.
        yield {self.board: self._board(visit, match)}

    def settled(self, visit: Visit, match: Match) -> Updates:
        """Once the lists are there, voted on, or cleared."""
        return self._around(visit, match) | {self.reasons: []}

    def vote(
        self,
        choice: str,
        visit: Visit,
        match: Match,
        consent: Consent,
        why: Sequence[str] | None,
    ) -> Updates:
        """Count a vote, and keep it."""
        self._about(visit, match)
        voted = match.vote(choice, why or ())
        if voted is not None and voted.vote and consent.given and visit.other() is None:
            a, b = ((s.name, s.ids) for s in voted.sides)
            asked = as_asked(self.contestants, voted)
            match.told(self.feedback.vote(consent, asked, a, b, voted.vote, voted.reasons))
        return self.settled(visit, match)

    def press(self, visit: Visit, match: Match, consent: Consent, event: gr.EventData) -> Updates:
        """Mark an item, or take that back."""
        self._about(visit, match)
        item_id, mark = (str(told(event).get(key)) for key in ("id", "mark"))
        shown = match.mark(item_id, mark)
        if shown is not None and mark != "seen" and visit.other() is None:
            marks = marks_of(match.conversation, item_id)
            opinion = next((m for m in ("like", "dislike") if m in marks), "none")
            by = ", ".join(s.name for s in shown.sides if item_id in s.ids)
            asked = as_asked(self.contestants, shown)
            self.feedback.mark(consent, asked, item_id, opinion, by)
        return {self.board: self._board(visit, match)}

    def stop(self, visit: Visit, match: Match) -> Updates:
        """End the answers where they stand."""
        match.stop()
        return self.settled(visit, match)

    def start_over(self, visit: Visit, match: Match) -> Updates:
        """Begin with another pair."""
        match.clear()
        return self.settled(visit, match)

    def _wire(self) -> None:
        shared: dict[str, Any] = {
            "show_progress": "hidden",
            "api_visibility": "private",
            "trigger_mode": "multiple",
        }
        around = [self.board, self.ballot, self.reasons, self.tally]
        quick: dict[str, Any] = {**shared, "outputs": around, "queue": False}
        answering: dict[str, Any] = {
            **shared,
            "outputs": [self.board, self.box],
            "concurrency_limit": AT_ONCE,
            "concurrency_id": "answers",
        }
        state: list[Any] = [self.visit, self.match]
        how = [*self.seats, self.streamed]
        sent = [self.box.submit, self.send.click]
        asked = gr.on(sent, self.answer, [self.box, *state, *how], **answering)
        begun = self.board.say(self.answer_chip, [*state, *how], **answering)
        for answered in (asked, begun):
            answered.then(self.settled, state, **quick).then(None, js=_SHOW, **shared)
        hidden: dict[str, Any] = {**quick, "outputs": [self.ballot]}
        gr.on(sent, lambda: gr.update(visible=False), None, **hidden)
        for v, button in self.votes.items():
            said = [*state, self.consent, self.reasons]
            button.click(functools.partial(self.vote, v), said, **quick)
        self.board.mark(self.press, [*state, self.consent], **{**quick, "outputs": [self.board]})
        self.halt.click(self.stop, state, **quick)
        self.again.click(self.start_over, state, **quick)

    def screen(self) -> Screen:
        """What the page needs of it."""
        own = [*self._labels(self._fresh), self.board, self.ballot, self.tally]
        return Screen([*own, *(c for s in self._boxed for c in s.components)], self.texts)


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
    return [
        (_say(language, "drawn"), ""),
        *((_named(name, language), name) for name in contestants),
    ]


def _named(name: str, language: str) -> str:
    """What visitors read; a model's name is the same in every language."""
    return TEXTS[language].get(f"name_{name}", name)


def _what(name: str, language: str) -> str:
    """What one of the page's own contestants listens to; of another its name must do."""
    told_of = TEXTS[language].get(f"what_{name}")
    return f" ({told_of})" if told_of else ""


def _reasons(language: str) -> list[tuple[str, str]]:
    return [(_say(language, r), r) for r in REASONS]


def _head(visit: Visit) -> str:
    ui = visit.language
    return (
        f'<div class="lr-compare-head"><h2>{escape(_say(ui, "title"))}</h2>'
        f"<p>{escape(_say(ui, 'lead'))}</p></div>"
    )


def _board(visit: Visit, match: Match, pictures: Sequence[str] = ()) -> list[str]:
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
    who = f" <span>{escape(_named(side.name, ui))}</span>" if round_.vote else ""
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
    facts = [str(item.year) if item.year else "", duration(item.runtime) if item.runtime else ""]
    facts += [display_name("genre", g, language) for g in item.genres[:2]]
    facts += [amount(item.price, language)] if item.price is not None else []
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
        f'<p class="lr-meta">{" · ".join(escape(f) for f in facts if f)}</p>'
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
        _say(ui, "was", side=letter, name=_named(side.name, ui), what=_what(side.name, ui))
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
    first, second = (_named(name, ui) for name in pair)
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
