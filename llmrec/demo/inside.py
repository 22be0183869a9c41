# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Inside hides the screen that shows how a turn was answered: what was read, kept, searched."""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import Context, get_render_context

from llmrec.demo.cards import share
from llmrec.demo.inspection import Inspection, Inspector, Searched, Stopped, Word, words_of
from llmrec.demo.screen import Screen, Updates
from llmrec.demo.texts import say
from llmrec.demo.visit import Visit
from llmrec.errors import LLMRecError
from llmrec.orders import without_orders
from llmrec.types import Answer, Item, Recommendation, Source
from llmrec.wishes import Wish
from llmrec.wording import wish_labels

if TYPE_CHECKING:
    from llmrec.lexicon import Marked
    from llmrec.recommender import Recommender

__all__ = ["TEXTS", "inside"]

MAX_SAID = 90  # characters of a message in the list of turns
MAX_PASSAGE = 400
_log = logging.getLogger(__name__)

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "head": "How it works",
        "lead": "Choose one of your messages. It is answered once more, and every step is shown as it is measured.",
        "turn": "Your message",
        "look": "Look inside",
        "none": "Say something on the first screen, then come back: this screen shows how it was answered.",
        "waiting": "The message is being answered once more…",
        "failed": "This message could not be answered again. Choose another one, or ask anew on the first screen.",
        "steps": "Time of each step",
        "steps_more": "{whole} ms in all, measured just now.",
        "first": "Reading the message",
        "rank": "Finding and ranking",
        "words": "Writing the words",
        "answer": "Reading and answering",
        "ms": "{n} ms",
        "route": "What the message was taken for",
        "route_more": "A small classifier reads the words. It took {ms} ms, and is {share} sure.",
        "recommend": "a wish",
        "question": "a question",
        "describe": "a title",
        "smalltalk": "small talk",
        "out_of_scope": "none of these",
        "read": "What was read in your words",
        "read_more": "Names and numbers that the catalogue knows are marked. Reading all messages took {ms} ms.",
        "title": "title",
        "person": "person",
        "genre": "genre",
        "keyword": "theme",
        "country": "country",
        "language": "language",
        "year": "year",
        "runtime": "length",
        "price": "price",
        "unknown": "not in the catalogue",
        "critique": "beside what was shown",
        "understood": "What was understood",
        "understood_none": "No wish: what is known best and fits your words comes first.",
        "wish": "Wish",
        "from": "Your words",
        "whole": "the message as a whole, or a button",
        "keywords": "theme: {value}",
        "similar_to": "like {value}",
        "likes": "liked: {value}",
        "dislikes": "not liked: {value}",
        "seen": "known already: {value}",
        "text": "words to look for: {value}",
        "candidates": "How the candidates became fewer",
        "candidates_more": "Every wish is a filter that is kept exactly.",
        "in_catalogue": "in the catalogue",
        "fresh": "not shown, named, seen or disliked before",
        "with_wish": "and: {wish}",
        "dropped": "Nothing met all of it, so this was given up, the least weighty first: {wishes}. Then {n} were left.",
        "unchecked": "The catalogue has no such facts, so this was left aside: {wishes}.",
        "products": "Products must share a word with yours besides, which these numbers leave out.",
        "search": "The search of the model",
        "search_more": "Candidates: {n}. Titles that the model itself looked for among them: {k}. It took {forwards} runs of the model, {tokens} tokens and {ms} ms.",
        "exact": "The result is exact: no other title can be among them.",
        "gap": "The search ended at its limit: another title could be likelier than the last one by at most a factor of {factor}.",
        "gap_open": "The search ended at its limit before it had so many titles.",
        "search_best": "Its own favourites, before the other signals:",
        "search_none": "The model was not searched: it writes lists itself, or the catalogue is too large to do this aside.",
        "signals": "What spoke for each item",
        "signals_more": "Each bar is how much a signal adds to an item beside an average candidate, or takes from it. The share is of all that was ranked.",
        "signal": "{name}: {value}",
        "signal_model": "the language model",
        "signal_popularity": "how well known it is",
        "signal_similar": "like what you named",
        "signal_disliked": "like what you did not like",
        "signal_keywords": "themes you asked for",
        "signal_text": "your other words",
        "signal_learned": "learned from conversations",
        "signal_together": "named together in conversations",
        "signal_conversations": "conversations like yours",
        "signal_facts": "facts that fit",
        "signal_network": "a small network",
        "signal_meaning": "meaning of the words",
        "case": "How the question was read",
        "case_kind": "It asks for: {kind}.",
        "case_field": "The fact asked about: {field}.",
        "case_topic": "A topic that no field holds: {topic}.",
        "case_focus": "Words looked for in the texts: {words}.",
        "case_about": "It is about: {titles}.",
        "case_stranger": "A name that the catalogue does not have: {name}.",
        "case_sure": "The reading is {share} sure.",
        "kind_fact": "a fact",
        "kind_check": "whether something is so",
        "kind_text": "what a text says",
        "kind_comparison": "a comparison",
        "kind_count": "a count",
        "kind_superlative": "the most of something",
        "kind_list": "a list",
        "kind_describe": "a description",
        "sources": "Where the answer comes from",
        "sources_none": "No item: the catalogue does not say it.",
        "by_title": "named",
        "by_conversation": "spoken of before",
        "by_query": "met what was counted or compared",
        "by_search": "its text was found",
        "refused": "The catalogue does not say it, so nothing was made up.",
        "corrected": "{n} sentences of the model were left out, as no source supports them.",
        "field_year": "the year",
        "field_runtime": "the length",
        "field_genres": "the genres",
        "field_directors": "who directed",
        "field_cast": "who acts",
        "field_people": "the people",
        "field_countries": "the countries",
        "field_languages": "the languages",
        "field_price": "the price",
        "field_rating": "the rating",
        "field_title": "the title",
        "field_titles": "the title in another language",
        "field_original_title": "the original title",
        "field_keywords": "the themes",
        "field_description": "the description",
        "field_popularity": "how well known it is",
        "nothing_more": "There is nothing to search for in this: the reply is a sentence that fits.",
    },
    "pt": {
        "head": "Como funciona",
        "lead": "Escolha uma das suas mensagens. Ela é respondida mais uma vez, e cada passo aparece como foi medido.",
        "turn": "Sua mensagem",
        "look": "Olhar por dentro",
        "none": "Diga algo na primeira tela e volte: esta tela mostra como foi respondido.",
        "waiting": "A mensagem está sendo respondida mais uma vez…",
        "failed": "Esta mensagem não pôde ser respondida de novo. Escolha outra, ou pergunte outra vez na primeira tela.",
        "steps": "Tempo de cada passo",
        "steps_more": "{whole} ms ao todo, medidos agora mesmo.",
        "first": "Ler a mensagem",
        "rank": "Achar e ordenar",
        "words": "Escrever as palavras",
        "answer": "Ler e responder",
        "ms": "{n} ms",
        "route": "O que se entendeu que a mensagem é",
        "route_more": "Um pequeno classificador lê as palavras. Levou {ms} ms e tem {share} de certeza.",
        "recommend": "um desejo",
        "question": "uma pergunta",
        "describe": "um título",
        "smalltalk": "conversa",
        "out_of_scope": "nada disso",
        "read": "O que se leu nas suas palavras",
        "read_more": "Nomes e números que o catálogo conhece estão marcados. Ler todas as mensagens levou {ms} ms.",
        "title": "título",
        "person": "pessoa",
        "genre": "gênero",
        "keyword": "tema",
        "country": "país",
        "language": "idioma",
        "year": "ano",
        "runtime": "duração",
        "price": "preço",
        "unknown": "não está no catálogo",
        "critique": "em relação ao que foi mostrado",
        "understood": "O que se entendeu",
        "understood_none": "Nenhum desejo: o mais conhecido que combina com as suas palavras vem primeiro.",
        "wish": "Desejo",
        "from": "Suas palavras",
        "whole": "a mensagem como um todo, ou um botão",
        "keywords": "tema: {value}",
        "similar_to": "como {value}",
        "likes": "gostou: {value}",
        "dislikes": "não gostou: {value}",
        "seen": "já conhece: {value}",
        "text": "palavras a procurar: {value}",
        "candidates": "Como os candidatos ficaram menos",
        "candidates_more": "Cada desejo é um filtro cumprido à risca.",
        "in_catalogue": "no catálogo",
        "fresh": "ainda não mostrados, citados, vistos ou rejeitados",
        "with_wish": "e: {wish}",
        "dropped": "Nada cumpria tudo, e por isso se abriu mão disto, o de menor peso primeiro: {wishes}. Então restaram {n}.",
        "unchecked": "O catálogo não tem esses fatos, e por isso ficou de lado: {wishes}.",
        "products": "Produtos precisam também ter uma palavra sua, o que estes números não contam.",
        "search": "A busca do modelo",
        "search_more": "Candidatos: {n}. Títulos que o próprio modelo procurou entre eles: {k}. Foram {forwards} execuções do modelo, {tokens} tokens e {ms} ms.",
        "exact": "O resultado é exato: nenhum outro título pode estar entre eles.",
        "gap": "A busca parou no seu limite: outro título poderia ser mais provável que o último por um fator de no máximo {factor}.",
        "gap_open": "A busca parou no seu limite antes de ter tantos títulos.",
        "search_best": "Os favoritos dele, antes dos outros sinais:",
        "search_none": "Não se buscou no modelo: ele mesmo escreve listas, ou o catálogo é grande demais para fazer isso à parte.",
        "signals": "O que falou a favor de cada item",
        "signals_more": "Cada barra é quanto um sinal dá a um item em relação a um candidato médio, ou tira dele. A parte é de tudo o que foi ordenado.",
        "signal": "{name}: {value}",
        "signal_model": "o modelo de linguagem",
        "signal_popularity": "quão conhecido é",
        "signal_similar": "parecido com o que você citou",
        "signal_disliked": "parecido com o que você não gostou",
        "signal_keywords": "temas que você pediu",
        "signal_text": "suas outras palavras",
        "signal_learned": "aprendido de conversas",
        "signal_together": "citados juntos em conversas",
        "signal_conversations": "conversas como a sua",
        "signal_facts": "fatos que combinam",
        "signal_network": "uma pequena rede",
        "signal_meaning": "sentido das palavras",
        "case": "Como a pergunta foi lida",
        "case_kind": "Ela pede: {kind}.",
        "case_field": "O fato perguntado: {field}.",
        "case_topic": "Um assunto que nenhum campo contém: {topic}.",
        "case_focus": "Palavras procuradas nos textos: {words}.",
        "case_about": "É sobre: {titles}.",
        "case_stranger": "Um nome que o catálogo não tem: {name}.",
        "case_sure": "A leitura tem {share} de certeza.",
        "kind_fact": "um fato",
        "kind_check": "se algo é assim",
        "kind_text": "o que um texto diz",
        "kind_comparison": "uma comparação",
        "kind_count": "uma contagem",
        "kind_superlative": "o máximo de algo",
        "kind_list": "uma lista",
        "kind_describe": "uma descrição",
        "sources": "De onde vem a resposta",
        "sources_none": "De nenhum item: o catálogo não diz.",
        "by_title": "citado",
        "by_conversation": "mencionado antes",
        "by_query": "cumpre o que foi contado ou comparado",
        "by_search": "o texto dele foi achado",
        "refused": "O catálogo não diz isso, e por isso nada foi inventado.",
        "corrected": "{n} frases do modelo ficaram de fora, pois nenhuma fonte as apoia.",
        "field_year": "o ano",
        "field_runtime": "a duração",
        "field_genres": "os gêneros",
        "field_directors": "quem dirigiu",
        "field_cast": "quem atua",
        "field_people": "as pessoas",
        "field_countries": "os países",
        "field_languages": "os idiomas",
        "field_price": "o preço",
        "field_rating": "a nota",
        "field_title": "o título",
        "field_titles": "o título em outro idioma",
        "field_original_title": "o título original",
        "field_keywords": "os temas",
        "field_description": "a descrição",
        "field_popularity": "quão conhecido é",
        "nothing_more": "Não há o que buscar aqui: a resposta é uma frase que combina.",
    },
    "es": {
        "head": "Cómo funciona",
        "lead": "Elige uno de tus mensajes. Se responde una vez más, y cada paso aparece tal como se midió.",
        "turn": "Tu mensaje",
        "look": "Mirar por dentro",
        "none": "Di algo en la primera pantalla y vuelve: esta pantalla muestra cómo se respondió.",
        "waiting": "El mensaje se está respondiendo una vez más…",
        "failed": "Este mensaje no se pudo responder de nuevo. Elige otro, o pregunta otra vez en la primera pantalla.",
        "steps": "Tiempo de cada paso",
        "steps_more": "{whole} ms en total, medidos ahora mismo.",
        "first": "Leer el mensaje",
        "rank": "Hallar y ordenar",
        "words": "Escribir las palabras",
        "answer": "Leer y responder",
        "ms": "{n} ms",
        "route": "Por qué se tomó el mensaje",
        "route_more": "Un pequeño clasificador lee las palabras. Tardó {ms} ms y está seguro al {share}.",
        "recommend": "un deseo",
        "question": "una pregunta",
        "describe": "un título",
        "smalltalk": "charla",
        "out_of_scope": "nada de esto",
        "read": "Lo que se leyó en tus palabras",
        "read_more": "Los nombres y números que el catálogo conoce están marcados. Leer todos los mensajes tardó {ms} ms.",
        "title": "título",
        "person": "persona",
        "genre": "género",
        "keyword": "tema",
        "country": "país",
        "language": "idioma",
        "year": "año",
        "runtime": "duración",
        "price": "precio",
        "unknown": "no está en el catálogo",
        "critique": "respecto a lo mostrado",
        "understood": "Lo que se entendió",
        "understood_none": "Ningún deseo: lo más conocido que encaja con tus palabras va primero.",
        "wish": "Deseo",
        "from": "Tus palabras",
        "whole": "el mensaje en conjunto, o un botón",
        "keywords": "tema: {value}",
        "similar_to": "como {value}",
        "likes": "gustó: {value}",
        "dislikes": "no gustó: {value}",
        "seen": "ya conocido: {value}",
        "text": "palabras que buscar: {value}",
        "candidates": "Cómo los candidatos fueron menos",
        "candidates_more": "Cada deseo es un filtro que se cumple exactamente.",
        "in_catalogue": "en el catálogo",
        "fresh": "aún no mostrados, nombrados, vistos ni rechazados",
        "with_wish": "y: {wish}",
        "dropped": "Nada cumplía todo, así que se renunció a esto, lo de menos peso primero: {wishes}. Entonces quedaron {n}.",
        "unchecked": "El catálogo no tiene esos datos, así que esto se dejó de lado: {wishes}.",
        "products": "Los productos además deben tener una palabra tuya, lo que estos números no cuentan.",
        "search": "La búsqueda del modelo",
        "search_more": "Candidatos: {n}. Títulos que el propio modelo buscó entre ellos: {k}. Fueron {forwards} pasadas del modelo, {tokens} tokens y {ms} ms.",
        "exact": "El resultado es exacto: ningún otro título puede estar entre ellos.",
        "gap": "La búsqueda terminó en su límite: otro título podría ser más probable que el último por un factor de {factor} como máximo.",
        "gap_open": "La búsqueda terminó en su límite antes de tener tantos títulos.",
        "search_best": "Sus favoritos, antes de las otras señales:",
        "search_none": "No se buscó en el modelo: él mismo escribe listas, o el catálogo es demasiado grande para hacerlo aparte.",
        "signals": "Lo que habló a favor de cada elemento",
        "signals_more": "Cada barra es cuánto da una señal a un elemento respecto a un candidato medio, o le quita. La parte es de todo lo ordenado.",
        "signal": "{name}: {value}",
        "signal_model": "el modelo de lenguaje",
        "signal_popularity": "qué tan conocido es",
        "signal_similar": "parecido a lo que nombraste",
        "signal_disliked": "parecido a lo que no te gustó",
        "signal_keywords": "temas que pediste",
        "signal_text": "tus otras palabras",
        "signal_learned": "aprendido de conversaciones",
        "signal_together": "nombrados juntos en conversaciones",
        "signal_conversations": "conversaciones como la tuya",
        "signal_facts": "datos que encajan",
        "signal_network": "una pequeña red",
        "signal_meaning": "sentido de las palabras",
        "case": "Cómo se leyó la pregunta",
        "case_kind": "Pide: {kind}.",
        "case_field": "El dato preguntado: {field}.",
        "case_topic": "Un asunto que ningún campo contiene: {topic}.",
        "case_focus": "Palabras buscadas en los textos: {words}.",
        "case_about": "Trata de: {titles}.",
        "case_stranger": "Un nombre que el catálogo no tiene: {name}.",
        "case_sure": "La lectura es segura al {share}.",
        "kind_fact": "un dato",
        "kind_check": "si algo es así",
        "kind_text": "lo que dice un texto",
        "kind_comparison": "una comparación",
        "kind_count": "un recuento",
        "kind_superlative": "lo máximo de algo",
        "kind_list": "una lista",
        "kind_describe": "una descripción",
        "sources": "De dónde viene la respuesta",
        "sources_none": "De ningún elemento: el catálogo no lo dice.",
        "by_title": "nombrado",
        "by_conversation": "mencionado antes",
        "by_query": "cumple lo contado o comparado",
        "by_search": "se halló su texto",
        "refused": "El catálogo no lo dice, así que no se inventó nada.",
        "corrected": "{n} frases del modelo quedaron fuera, pues ninguna fuente las apoya.",
        "field_year": "el año",
        "field_runtime": "la duración",
        "field_genres": "los géneros",
        "field_directors": "quién dirigió",
        "field_cast": "quién actúa",
        "field_people": "las personas",
        "field_countries": "los países",
        "field_languages": "los idiomas",
        "field_price": "el precio",
        "field_rating": "la nota",
        "field_title": "el título",
        "field_titles": "el título en otro idioma",
        "field_original_title": "el título original",
        "field_keywords": "los temas",
        "field_description": "la descripción",
        "field_popularity": "qué tan conocido es",
        "nothing_more": "No hay nada que buscar aquí: la respuesta es una frase que encaja.",
    },
}


def _t(ui: str, key: str, **slots: object) -> str:
    return TEXTS[ui][key].format(**slots)


@dataclass(frozen=True)
class _Looked:
    """A turn that was looked at, what had been said then, and what answered it."""

    number: int
    said: tuple[str, ...]
    made: Inspection
    by: Recommender


class _Look:
    """A visitor's look into a turn: what runs, and what was seen last.

    Attributes
    ----------
    run: the number of the one that runs, or ran last; an older one ends.
    running: whether it runs. problem: the key of what became of it where it gave nothing.
    seen: what it gave, to tell it in another language.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.run = 0
        self.running = False
        self.problem = ""
        self.seen: _Looked | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Look:
        """A fresh one: how the page gives each visitor an own one."""
        return _Look()

    def begin(self) -> int:
        """Start a run, which ends the one before, and return its number."""
        with self._lock:
            self.run += 1
            self.running, self.problem = True, ""
            return self.run

    def end(self, run: int, seen: _Looked | None, problem: str = "") -> None:
        """Note what a run gave, unless another one has begun."""
        with self._lock:
            if run == self.run:
                self.running, self.problem, self.seen = False, problem, seen

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            if self.running:
                self.run += 1
                self.running, self.problem, self.seen = False, "stopped", None


def inside(recommender: Recommender, visit: gr.State, script: str) -> Screen:
    """Lay out the screen in the current Blocks and wire it.

    Parameters
    ----------
    script: of the page; nothing here needs it.
    """
    del script
    inspector = Inspector(recommender)
    sessions: weakref.WeakValueDictionary[str, _Look] = weakref.WeakValueDictionary()
    plain: dict[str, Any] = {"apply_default_css": False, "js_on_load": None}
    with gr.Column(elem_id="lr-inside", elem_classes="lr-screen", min_width=0):
        head = gr.HTML(_head("en"), elem_id="lr-i-head", **plain)
        with gr.Row(elem_classes="lr-m-tools"):
            turn = gr.Dropdown(
                [], label=_t("en", "turn"), elem_id="lr-i-turn", min_width=240, scale=3
            )
            look = gr.Button(_t("en", "look"), elem_id="lr-i-look", scale=0, interactive=False)
            stop = gr.Button(say("en", "stop"), elem_id="lr-i-stop", scale=0, interactive=False)
        status = gr.HTML(_status(_t("en", "none")), elem_id="lr-i-status", **plain)
        shown = gr.HTML("", elem_id="lr-i-shown", **plain)
    found = gr.State(_Look(), delete_callback=_Look.stop)

    def seen(visit: Visit, own: _Look) -> _Looked | None:
        """What was seen last, while nothing else was said and the catalogue is the same."""
        last = own.seen
        if last and last.said == _said(visit) and last.by is visit.recommender(recommender):
            return last
        own.seen = None
        return None

    def stands(visit: Visit, own: _Look) -> Updates:
        """How things stand: what runs, what was seen, what went wrong."""
        ui, problem, kept = visit.language, own.problem, seen(visit, own)
        told = (
            _t(ui, "waiting") if own.running else say(ui, problem) if problem == "stopped" else ""
        )
        note = _status(told if any(_said(visit)) else _t(ui, "none"))
        return {
            stop: gr.update(interactive=own.running),
            status: _alert(_t(ui, problem)) if problem == "failed" else note,
            shown: _shown(kept.made, kept.by, ui) if kept and not own.running else "",
        }

    def arrive(visit: Visit, own: _Look) -> Updates:
        """The turns as they now are; what was looked at stays until more is said."""
        said, kept = _said(visit), seen(visit, own)
        asked = [(f"{n + 1}. {_short(t)}", n) for n, t in enumerate(said) if t]  # a list shared: ""
        return {
            turn: gr.update(
                choices=asked, value=kept.number if kept else asked[-1][1] if asked else None
            ),
            look: gr.update(interactive=bool(asked)),
            **stands(visit, own),
        }

    def press(
        visit: Visit, chosen: int | None, own: _Look, request: gr.Request
    ) -> Iterator[Updates]:
        number, said, run = -1 if chosen is None else int(chosen), _said(visit), own.begin()
        sessions[str(request.session_hash)] = own
        yield stands(visit, own)
        looked, problem = None, ""
        by = visit.recommender(recommender)
        look_into = inspector if by is recommender else Inspector(by)
        try:
            made = look_into(visit, number, stopped=lambda: own.run != run or _said(visit) != said)
            _shown(made, by, visit.language)
            looked = _Looked(number, said, made, by)
        except Stopped:
            pass  # the button has said so; what else ends a look needs no words
        except Exception as error:
            problem = "failed"
            if not isinstance(error, LLMRecError):
                _log.exception("a turn cannot be looked into")
        finally:  # also where the visitor has left
            own.end(run, looked, problem)
        yield stands(visit, own)

    def halt(visit: Visit, own: _Look) -> Updates:
        own.stop()
        return stands(visit, own)

    def leave(request: gr.Request) -> None:
        if (own := sessions.pop(str(request.session_hash), None)) is not None:
            own.stop()

    def texts(visit: Visit) -> Updates:
        """Labels; the rest follows by the change of the head."""
        ui = visit.language
        return {
            head: _head(ui),
            turn: gr.update(label=_t(ui, "turn")),
            look: gr.update(value=_t(ui, "look")),
            stop: gr.update(value=say(ui, "stop")),
        }

    shared: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    quick = {**shared, "queue": False, "trigger_mode": "multiple"}
    here = [stop, status, shown]
    tab = get_render_context()
    if isinstance(tab, gr.Tab):
        tab.select(arrive, [visit, found], [turn, look, *here], **quick)
    head.change(arrive, [visit, found], [turn, look, *here], **quick)
    look.click(
        press, [visit, turn, found], here,
        concurrency_id="answers", trigger_mode="multiple", **shared,
    )  # fmt: skip
    stop.click(halt, [visit, found], here, **quick)
    if Context.root_block is not None:
        Context.root_block.unload(leave)
    return Screen([head, turn, look, *here], texts)


def _said(visit: Visit) -> tuple[str, ...]:
    return tuple(t.said for t in visit.turns)


def _short(said: str) -> str:
    return said if len(said) <= MAX_SAID else said[: MAX_SAID - 1] + "…"


def _head(ui: str) -> str:
    return f'<h2 class="lr-h">{escape(_t(ui, "head"))}</h2><p class="lr-lead">{escape(_t(ui, "lead"))}</p>'


def _alert(said: str) -> str:
    return f'<p class="lr-problem" role="alert">{escape(said)}</p>'


def _status(said: str) -> str:
    return f'<p class="lr-note" role="status" aria-live="polite">{escape(said)}</p>'


# -- what is shown ------------------------------------------------------------------------------


def _shown(made: Inspection, recommender: Recommender, ui: str) -> str:
    """A turn, step by step."""
    reply = made.reply
    parts = [_steps(made, ui), _route(made, ui), _read(made, ui)]
    if reply.route == "recommend":
        parts += [_understood(made, recommender, ui), _narrowed(made, recommender, ui)]
        parts += [_search(made, ui), _signals(reply.recommendations, ui)]
    elif reply.answer is not None:
        parts += [_case(made, ui), _sources(reply.answer, ui)]
    else:
        parts.append(f'<p class="lr-note">{escape(_t(ui, "nothing_more"))}</p>')
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
        (_t(ui, n), made.seconds[n] / (whole or 1.0), _t(ui, "ms", n=_ms(made.seconds[n], ui)))
        for n in steps
    ]
    return _part(_t(ui, "steps"), _bars(rows), _t(ui, "steps_more", whole=_ms(whole, ui)))


def _ms(seconds: float, ui: str) -> str:
    return _number(1000 * seconds, ui, 1 if seconds < 0.1 else 0)


def _number(value: float, ui: str, digits: int = 0) -> str:
    said = f"{value:,.{digits}f}"
    return said if ui == "en" else said.translate(str.maketrans(",.", ".,"))


def _share(probability: float, ui: str) -> str:
    said = share(math.log(probability)) if probability > 0 else share(-100.0)
    return said if ui == "en" else said.replace(".", ",")


def _route(made: Inspection, ui: str) -> str:
    ranked = sorted(made.route.probabilities.items(), key=lambda r: -r[1])
    rows = [(_t(ui, name), p, _share(p, ui)) for name, p in ranked]
    ms = _ms(made.seconds["route"], ui)
    sure = _share(made.route.confidence, ui)
    return _part(_t(ui, "route"), _bars(rows), _t(ui, "route_more", ms=ms, share=sure))


def _read(made: Inspection, ui: str) -> str:
    said = "".join(f"<li>{_marked(m, ui)}</li>" for m in made.marked[-6:])
    ms = _ms(made.seconds["understand"], ui)
    return _part(_t(ui, "read"), f'<ol class="lr-i-said">{said}</ol>', _t(ui, "read_more", ms=ms))


def _marked(marked: Marked, ui: str) -> str:
    """A message with its spans, each with what it was taken for."""
    out, at = [], 0
    for span in sorted(marked.spans, key=lambda s: s.start):
        if span.start < at:
            continue
        kind = _t(ui, span.kind) if span.kind in TEXTS[ui] else span.kind
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
        return _part(_t(ui, "understood"), "", _t(ui, "understood_none"))
    head = "".join(f'<th scope="col">{escape(_t(ui, n))}</th>' for n in ("wish", "from"))
    table = f'<table class="lr-i-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return _part(_t(ui, "understood"), table)


def _label(word: Word, recommender: Recommender, ui: str) -> str:
    """A preference in the language of the page; ids become titles."""
    if word.field not in ("keywords", "text", "similar_to", "likes", "dislikes", "seen"):
        return ", ".join(wish_labels([Wish(word.field, word.values)], ui, recommender.things))
    value = word.values[0]
    if word.field not in ("keywords", "text") and value in recommender.catalog:
        value = recommender.catalog.get(value).title_in(ui)
    return _t(ui, word.field, value=value)


def _origin(word: Word, ui: str) -> str:
    said = ", ".join(f"<q>{escape(w)}</q>" for w in word.words)
    return said or f"<small>{escape(_t(ui, 'whole'))}</small>"


def _narrowed(made: Inspection, recommender: Recommender, ui: str) -> str:
    counts = [(_t(ui, "in_catalogue"), made.catalog), (_t(ui, "fresh"), made.fresh)]
    for f in made.filters:
        (wish,) = wish_labels([f.wish], ui, recommender.things)
        counts.append((_t(ui, "with_wish", wish=wish), f.left))
    # By logarithms, or a few candidates of many could not be seen.
    longest = math.log1p(max(made.catalog, 1))
    rows = [(name, math.log1p(n) / longest, _number(n, ui)) for name, n in counts]
    notes = []
    if made.dropped:
        gone = "; ".join(wish_labels(made.dropped, ui, recommender.things))
        notes.append(_t(ui, "dropped", wishes=gone, n=_number(made.candidates, ui)))
    if made.unchecked:
        notes.append(
            _t(
                ui,
                "unchecked",
                wishes="; ".join(wish_labels(made.unchecked, ui, recommender.things)),
            )
        )
    if recommender.things == "products":
        notes.append(_t(ui, "products"))
    told = "".join(f"<p>{escape(n)}</p>" for n in notes)
    return _part(_t(ui, "candidates"), _bars(rows) + told, _t(ui, "candidates_more"))


def _search(made: Inspection, ui: str) -> str:
    found = made.searched
    if found is None:
        return _part(_t(ui, "search"), "", _t(ui, "search_none"))
    note = _t(
        ui, "search_more", n=_number(made.candidates, ui), k=found.wanted, ms=_ms(found.seconds, ui),
        forwards=_number(found.forwards, ui), tokens=_number(found.tokens, ui),
    )  # fmt: skip
    best = "".join(
        f"<li><bdi>{escape(i.title_in(ui))}</bdi> <small>{escape(_share(math.exp(p), ui))}</small></li>"
        for i, p in found.best
    )
    told = f"<p><strong>{escape(_proven(found, ui))}</strong></p><p>{escape(_t(ui, 'search_best'))}</p>"
    return _part(_t(ui, "search"), f'{told}<ol class="lr-i-best">{best}</ol>', note)


def _proven(found: Searched, ui: str) -> str:
    if found.exact:
        return _t(ui, "exact")
    if not math.isfinite(found.gap):
        return _t(ui, "gap_open")
    return _t(ui, "gap", factor=_number(math.exp(min(found.gap, 50.0)), ui, 1))


def _signals(recommendations: Sequence[Recommendation], ui: str) -> str:
    most = max((abs(v) for r in recommendations for v in r.signals.values()), default=0.0) or 1.0
    items = "".join(_item_signals(r, most, ui) for r in recommendations)
    if not items:
        return ""
    return _part(_t(ui, "signals"), f'<ol class="lr-i-items">{items}</ol>', _t(ui, "signals_more"))


def _item_signals(recommendation: Recommendation, most: float, ui: str) -> str:
    ranked = sorted(recommendation.signals.items(), key=lambda s: -s[1])
    rows = "".join(
        f'<li><span>{escape(_signal_name(name, ui))}</span><i aria-hidden="true">'
        f'<b class="{"lr-i-plus" if v >= 0 else "lr-i-minus"}" style="width:{50 * abs(v) / most:.1f}%"></b></i>'
        f"<em>{'+' if v >= 0 else '−'}{_number(abs(v), ui, 2)}</em></li>"
        for name, v in ranked
    )
    item = recommendation.item
    told = share(recommendation.score)
    return (
        f"<li><h4><bdi>{escape(item.title_in(ui))}</bdi> <small>{escape(told if ui == 'en' else told.replace('.', ','))}</small></h4>"
        f'<ul class="lr-i-bars lr-i-both">{rows}</ul></li>'
    )


def _signal_name(name: str, ui: str) -> str:
    return TEXTS[ui].get(f"signal_{name}", name)


def _case(made: Inspection, ui: str) -> str:
    case = made.case
    if case is None:
        return ""
    asked = case.asked
    told = [_t(ui, "case_kind", kind=_t(ui, f"kind_{asked.kind}"))]
    if asked.field:
        told.append(_t(ui, "case_field", field=_field(asked.field, ui)))
    if asked.topic:
        told.append(_t(ui, "case_topic", topic=asked.topic))
    if asked.focus:
        told.append(_t(ui, "case_focus", words=", ".join(asked.focus)))
    if case.sources:
        titles = ", ".join(s.item.title_in(ui) for s in case.sources[:8])
        told.append(_t(ui, "case_about", titles=titles))
    if case.stranger:
        told.append(_t(ui, "case_stranger", name=case.stranger))
    told.append(_t(ui, "case_sure", share=_share(case.sure, ui)))
    return _part(_t(ui, "case"), "<ul>" + "".join(f"<li>{escape(x)}</li>" for x in told) + "</ul>")


def _sources(answer: Answer, ui: str) -> str:
    notes = [_t(ui, "refused")] if answer.refused else []
    if answer.corrected:
        notes.append(_t(ui, "corrected", n=len(answer.corrected)))
    told = "".join(f"<p>{escape(n)}</p>" for n in notes)
    sources = "".join(_source(s, ui) for s in answer.sources[:8])
    if not sources:
        return _part(_t(ui, "sources"), told, _t(ui, "sources_none"))
    return _part(_t(ui, "sources"), f'{told}<ol class="lr-i-items">{sources}</ol>')


def _source(source: Source, ui: str) -> str:
    item = source.item
    passages = "".join(
        f"<li><q>{escape(_quoted(p.text, item))}</q> <small>{escape(_field(p.field, ui))} · {escape(_share(p.score, ui))}</small></li>"
        for p in source.passages[:4]
    )
    how = f"{_t(ui, f'by_{source.how}')}, {_share(source.score, ui)}"
    return f"<li><h4><bdi>{escape(item.title_in(ui))}</bdi> <small>{escape(how)}</small></h4><ul>{passages}</ul></li>"


def _field(name: str, ui: str) -> str:
    return TEXTS[ui].get(f"field_{name}", name)


def _quoted(text: str, item: Item) -> str:
    said = without_orders(text, item.all_titles)
    return said if len(said) <= MAX_PASSAGE else said[: MAX_PASSAGE - 1] + "…"
