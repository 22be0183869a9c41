# ruff: noqa: E501  (sentences stay in one piece)
"""Consent box hides how a visitor agrees that feedback is kept, takes it back, and has it deleted."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from llmrec.demo.feedback import Consent, Feedback
from llmrec.demo.screen import Screen, Updates
from llmrec.demo.visit import Visit

__all__ = ["TEXTS", "consent_box"]

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "agree": "Keep my feedback, to improve recommendations",
        "none": "Nothing is kept here: likes and votes are forgotten when you leave.",
        "what": "Off unless you tick it. Then each like, dislike and vote is kept from now on, with the conversation it belongs to as you wrote it, what was shown, the day, and a number of chance for this visit. No name, no address, and nothing about a catalogue of your own. Please write nothing personal.",
        "folder": "Where: in files of this page’s owner, on its server.",
        "memory": "Where: on this page’s server, until it has been passed on.",
        "private": "It is passed on to the data set {dataset} on the Hugging Face Hub, which only its owner and those allowed by them can read.",
        "public": "It is passed on to the data set {dataset} on the Hugging Face Hub, which may be public.",
        "why": "What for: to train and measure recommenders.",
        "code": "The number of this visit is {code}. Once you have left, the owner can find your rows by it alone.",
        "delete": "Withdraw and delete my rows",
        "deleted": "You have withdrawn. Rows deleted: {n}.",
        "deleted_hub": "You have withdrawn. Rows deleted here: {n}; the data set follows within minutes, its older versions when the owner removes them.",
        "error_delete": "Your rows could not be deleted just now; nothing more is kept. Please try again.",
    },
    "pt": {
        "agree": "Guardar minhas opiniões, para melhorar as recomendações",
        "none": "Nada é guardado aqui: opiniões e votos são esquecidos quando você sai.",
        "what": "Fica desligado até você marcar. A partir daí cada gostei, não gostei e voto é guardado, com a conversa a que pertence como você a escreveu, o que foi mostrado, o dia e um número ao acaso para esta visita. Nenhum nome, nenhum endereço, e nada sobre um catálogo seu. Por favor, não escreva nada pessoal.",
        "folder": "Onde: em arquivos do dono desta página, no servidor dela.",
        "memory": "Onde: no servidor desta página, até ser repassado.",
        "private": "É repassado ao conjunto de dados {dataset} no Hugging Face Hub, que só o dono e quem ele permitir podem ler.",
        "public": "É repassado ao conjunto de dados {dataset} no Hugging Face Hub, que pode ser público.",
        "why": "Para quê: treinar e medir recomendadores.",
        "code": "O número desta visita é {code}. Depois que você sair, só por ele o dono encontra as suas linhas.",
        "delete": "Retirar e apagar as minhas linhas",
        "deleted": "Você retirou a permissão. Linhas apagadas: {n}.",
        "deleted_hub": "Você retirou a permissão. Linhas apagadas aqui: {n}; o conjunto de dados segue em minutos, as versões antigas dele quando o dono as remover.",
        "error_delete": "Não foi possível apagar as suas linhas agora; nada mais é guardado. Por favor, tente de novo.",
    },
    "es": {
        "agree": "Guardar mis opiniones, para mejorar las recomendaciones",
        "none": "Aquí no se guarda nada: opiniones y votos se olvidan cuando te vas.",
        "what": "Está apagado hasta que lo marques. Desde entonces se guarda cada me gusta, no me gusta y voto, con la conversación a la que pertenece tal como la escribiste, lo que se mostró, el día y un número al azar para esta visita. Ningún nombre, ninguna dirección, y nada sobre un catálogo tuyo. Por favor, no escribas nada personal.",
        "folder": "Dónde: en archivos del dueño de esta página, en su servidor.",
        "memory": "Dónde: en el servidor de esta página, hasta que se traspase.",
        "private": "Se traspasa al conjunto de datos {dataset} del Hugging Face Hub, que solo pueden leer su dueño y quienes él permita.",
        "public": "Se traspasa al conjunto de datos {dataset} del Hugging Face Hub, que puede ser público.",
        "why": "Para qué: entrenar y medir recomendadores.",
        "code": "El número de esta visita es {code}. Cuando te hayas ido, solo con él puede el dueño encontrar tus filas.",
        "delete": "Retirar y borrar mis filas",
        "deleted": "Has retirado el permiso. Filas borradas: {n}.",
        "deleted_hub": "Has retirado el permiso. Filas borradas aquí: {n}; el conjunto de datos sigue en minutos, sus versiones antiguas cuando el dueño las quite.",
        "error_delete": "No se pudieron borrar tus filas ahora; no se guarda nada más. Por favor, inténtalo de nuevo.",
    },
}


def consent_box(feedback: Feedback, visit: gr.State, consent: gr.State) -> Screen:
    """A checkbox, off at first, what it means, and a button that takes it back.

    Parameters
    ----------
    consent: holds a ``Consent``; whoever keeps feedback of this visitor asks the same one.
    """
    fresh = Visit()
    with gr.Column(elem_classes="lr-consent", min_width=0):
        agree = gr.Checkbox(
            False, label=TEXTS["en"]["agree"], visible=feedback.keeps, elem_id="lr-agree"
        )
        more = gr.HTML(_meaning(feedback, fresh), apply_default_css=False, js_on_load=None)
        code = gr.HTML("", apply_default_css=False, js_on_load=None)
        delete = gr.Button(
            TEXTS["en"]["delete"], visible=False, elem_id="lr-withdraw", size="sm", min_width=0
        )
        note = gr.HTML("", apply_default_css=False, js_on_load=None)

    def shown(visit: Visit, consent: Consent, said: str = "") -> Updates:
        return {
            agree: gr.update(value=consent.given, label=TEXTS[visit.language]["agree"]),
            code: _code(visit, consent),
            # Rows kept before the box was unticked can still be deleted.
            delete: gr.update(
                value=TEXTS[visit.language]["delete"], visible=consent.given or consent.rows > 0
            ),
            note: said,
        }

    def tick(visit: Visit, consent: Consent, ticked: bool) -> Updates:
        consent.given = bool(ticked) and feedback.keeps
        return shown(visit, consent)

    def withdraw(visit: Visit, consent: Consent) -> Updates:
        consent.given = False
        texts = TEXTS[visit.language]
        try:
            n = feedback.delete(consent.id)
        except OSError:
            return shown(visit, consent, f'<p role="alert">{escape(texts["error_delete"])}</p>')
        consent.renew()
        said = texts["deleted_hub" if feedback.dataset else "deleted"].format(n=n)
        return shown(visit, consent, f'<p role="status">{escape(said)}</p>')

    quick: dict[str, Any] = {
        "outputs": [agree, code, delete, note],
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    agree.input(tick, [visit, consent, agree], **quick)
    delete.click(withdraw, [visit, consent], **quick)

    def texts(visit: Visit) -> Updates:
        return {
            agree: gr.update(label=TEXTS[visit.language]["agree"]),
            more: _meaning(feedback, visit),
            delete: gr.update(value=TEXTS[visit.language]["delete"]),
            note: "",
        }

    return Screen([agree, more, delete, note], texts)


def _meaning(feedback: Feedback, visit: Visit) -> str:
    texts = TEXTS[visit.language]
    if not feedback.keeps:
        return f'<p class="lr-consent-more">{escape(texts["none"])}</p>'
    said = [texts["what"], texts["folder" if feedback.lasting else "memory"]]
    if feedback.dataset:
        how = "private" if feedback.private else "public"
        said.append(texts[how].format(dataset=feedback.dataset))
    said.append(texts["why"])
    return f'<p class="lr-consent-more">{escape(" ".join(said))}</p>'


def _code(visit: Visit, consent: Consent) -> str:
    if not consent.given and not consent.rows:
        return ""
    said = escape(TEXTS[visit.language]["code"]).format(code=f"<code>{consent.id}</code>")
    return f'<p class="lr-consent-more">{said}</p>'
