# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Measure hides the screen of evaluation runs: tables of systems, drawings, and single examples."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import get_render_context

from llmrec.demo import charts
from llmrec.demo.example_run import ExampleRun
from llmrec.demo.measured import AT, Case, Figure, Given, Group, Problem, Row, Shelf
from llmrec.demo.screen import Screen, Updates, told
from llmrec.demo.visit import Visit
from llmrec.errors import InputError

__all__ = ["TEXTS", "View", "measure"]

PER_PAGE = 10
DRAWN = 5  # systems in a drawing
COMMANDS = {
    "answers": (
        "python eval/questions.py --catalog embedded --out data/questions",
        "python eval/answers.py --questions data/questions/validation.jsonl --out runs/answers",
    ),
    "lists": (
        "python train/prepare.py redial path/to/redial --out data/redial",
        "python eval/run.py --data data/redial --limit 200 --out runs/lists",
    ),
}
_LEAST = frozenset({"seconds"})  # of these the smallest is the best
_WIDEST = 14  # columns at most

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "head": "Measure",
        "lead": "How good are the lists and the answers? These are the evaluation runs of this page's owner, with 95 % intervals, and every single example.",
        "group": "What was asked",
        "group_lists": "Lists: {data} {part}, {n} examples",
        "group_answers": "Answers: {data}, {n} questions",
        "target": "What counts as wanted",
        "target_new": "New items",
        "target_all": "All, repeats too",
        "again": "Look for new runs",
        "caption_lists": "{rows} systems on the same {n} examples. Press the head of a column to sort by it. ★ is the best of its column; below each figure stands its 95 % interval.",
        "caption_answers": "{rows} systems on the same {n} questions. Press the head of a column to sort by it. ★ is the best of its column; below each figure stands its 95 % interval.",
        "system": "System",
        "best": "best of its column",
        "measured": "measured by {run}",
        "baseline": "baseline",
        "coverage": "Coverage",
        "diversity": "Diversity",
        "seconds": "Seconds",
        "right": "Right",
        "token_f1": "Token F1",
        "checked": "Supported",
        "hit@1": "Item found first",
        "refusals": "Refusals, F1",
        "kind/fact": "facts",
        "kind/check": "yes or no",
        "kind/text": "from texts",
        "kind/comparison": "comparisons",
        "kind/count": "counts",
        "kind/superlative": "superlatives",
        "glossary_lists": "Recall@10: the share of wanted items among the first ten. NDCG and MRR: the same, and higher up counts more. Coverage: the share of the catalogue that is shown to anybody. Diversity: how unlike the items of a list are. Seconds: for one example.",
        "glossary_answers": "Right: holds every value needed, or refuses what the catalogue does not say. Token F1: words shared with a right answer. Supported: every number and name stands in a source. Refusals, F1: refuses what should be refused, and only that. Seconds: for one answer.",
        "plot_column": "{column}, with 95 % intervals",
        "plot_recall": "Recall among the first k",
        "plot_kinds": "Right by kind of question",
        "plot_note": "The table has the same figures in numbers.",
        "examples": "Single examples",
        "of_system": "Right or wrong of",
        "result": "Show",
        "result_all": "All",
        "result_right": "Right",
        "result_wrong": "Wrong",
        "language": "Language",
        "kind": "Kind",
        "any": "Any",
        "search": "Search in words and titles",
        "previous": "Previous",
        "next": "Next",
        "shown": "{first} to {last} of {n}",
        "none": "No example is like that. Choose less, or clear the search.",
        "cold": "nothing mentioned before",
        "warm": "items mentioned before",
        "fact": "fact",
        "check": "yes or no",
        "text": "from a text",
        "comparison": "comparison",
        "count": "count",
        "superlative": "superlative",
        "asked": "Asked",
        "wanted": "Wanted",
        "gave": "Given",
        "user": "User",
        "assistant": "Recommender",
        "nothing_said": "Nothing was said",
        "right_one": "right",
        "wrong_one": "wrong",
        "right_at": "right at place {place}",
        "known": "mentioned before",
        "hit": "wanted",
        "nothing": "nothing",
        "failed_one": "It failed: {why}",
        "refusal": "A refusal, as the catalogue does not say ({why})",
        "refused": "refused",
        "rule_lists": "Right: something wanted is among the first ten, as they were given.",
        "rule_answers": "Right: as the report of the run counts it.",
        "empty": "No evaluation run is here yet",
        "empty_more": "A run asks a recommender what people asked, and counts what it gives. Two commands make one of answers:",
        "empty_lists": "Or one of lists, from conversations that you have:",
        "empty_then": "Then start the page with the folder that holds the runs.",
        "try": "Make a small run now",
        "try_more": "A small run puts questions about the films that come with llmrec to four systems, and takes less than a minute.",
        "try_running": "The run is being made: {done} of {total} answers.",
        "try_begun": "The run is being made: the questions are being written.",
        "try_failed": "The run could not be made. The owner of this page finds the reason in its log; the commands above work too.",
        "damaged": "{file} is damaged, so it was left out: run its command again.",
        "unjudged": "Some answers of {file} cannot be judged here, one by one, as rouge-score is not installed: install llmrec[eval].",
        "large": "{file} is larger than this page reads, or a link, so it was left out.",
        "unfinished": "{file} has no figures yet: they come when its command ends.",
        "unasked": "The questions are not beside the run ({file}), so single answers cannot be shown: put the file into the folder of the run.",
        "lines": "{n} lines of {file} are damaged and were left out.",
        "many": "{file} holds more than {n} runs: the others were left out.",
    },
    "pt": {
        "head": "Medir",
        "lead": "Quão boas são as listas e as respostas? Estas são as avaliações de quem mantém esta página, com intervalos de 95 % e cada exemplo.",
        "group": "O que foi pedido",
        "group_lists": "Listas: {data} {part}, {n} exemplos",
        "group_answers": "Respostas: {data}, {n} perguntas",
        "target": "O que conta como desejado",
        "target_new": "Itens novos",
        "target_all": "Todos, também repetidos",
        "again": "Procurar novas avaliações",
        "caption_lists": "{rows} sistemas nos mesmos {n} exemplos. Toque no topo de uma coluna para ordenar por ela. ★ é o melhor da coluna; abaixo de cada valor está o intervalo de 95 %.",
        "caption_answers": "{rows} sistemas nas mesmas {n} perguntas. Toque no topo de uma coluna para ordenar por ela. ★ é o melhor da coluna; abaixo de cada valor está o intervalo de 95 %.",
        "system": "Sistema",
        "best": "o melhor da coluna",
        "measured": "medido em {run}",
        "baseline": "base de comparação",
        "coverage": "Cobertura",
        "diversity": "Diversidade",
        "seconds": "Segundos",
        "right": "Certas",
        "token_f1": "F1 de palavras",
        "checked": "Com apoio",
        "hit@1": "Item achado primeiro",
        "refusals": "Recusas, F1",
        "kind/fact": "fatos",
        "kind/check": "sim ou não",
        "kind/text": "de textos",
        "kind/comparison": "comparações",
        "kind/count": "contagens",
        "kind/superlative": "superlativos",
        "glossary_lists": "Recall@10: a parte dos itens desejados que está entre os dez primeiros. NDCG e MRR: o mesmo, e mais acima vale mais. Cobertura: a parte do catálogo que é mostrada a alguém. Diversidade: quão diferentes são os itens de uma lista. Segundos: por exemplo.",
        "glossary_answers": "Certas: trazem cada valor necessário, ou recusam o que o catálogo não diz. F1 de palavras: palavras em comum com uma resposta certa. Com apoio: cada número e nome está numa fonte. Recusas, F1: recusa o que deve, e só isso. Segundos: por resposta.",
        "plot_column": "{column}, com intervalos de 95 %",
        "plot_recall": "Recall entre os primeiros k",
        "plot_kinds": "Certas por tipo de pergunta",
        "plot_note": "A tabela tem os mesmos valores em números.",
        "examples": "Exemplos, um a um",
        "of_system": "Certo ou errado de",
        "result": "Mostrar",
        "result_all": "Todos",
        "result_right": "Certos",
        "result_wrong": "Errados",
        "language": "Idioma",
        "kind": "Tipo",
        "any": "Qualquer",
        "search": "Buscar em palavras e títulos",
        "previous": "Anteriores",
        "next": "Próximos",
        "shown": "{first} a {last} de {n}",
        "none": "Nenhum exemplo é assim. Escolha menos, ou limpe a busca.",
        "cold": "nada mencionado antes",
        "warm": "itens mencionados antes",
        "fact": "fato",
        "check": "sim ou não",
        "text": "de um texto",
        "comparison": "comparação",
        "count": "contagem",
        "superlative": "superlativo",
        "asked": "Pedido",
        "wanted": "Desejado",
        "gave": "Recebido",
        "user": "Usuário",
        "assistant": "Recomendador",
        "nothing_said": "Nada foi dito",
        "right_one": "certo",
        "wrong_one": "errado",
        "right_at": "certo no lugar {place}",
        "known": "mencionado antes",
        "hit": "desejado",
        "nothing": "nada",
        "failed_one": "Falhou: {why}",
        "refusal": "Uma recusa, pois o catálogo não diz ({why})",
        "refused": "recusou",
        "rule_lists": "Certo: algo desejado está entre os dez primeiros, como foram dados.",
        "rule_answers": "Certo: como o relatório da avaliação conta.",
        "empty": "Ainda não há nenhuma avaliação aqui",
        "empty_more": "Uma avaliação pergunta a um recomendador o que as pessoas perguntaram e conta o que ele dá. Dois comandos fazem uma de respostas:",
        "empty_lists": "Ou uma de listas, com conversas que você tenha:",
        "empty_then": "Depois abra a página com a pasta que contém as avaliações.",
        "try": "Fazer uma pequena avaliação agora",
        "try_more": "Uma pequena avaliação faz perguntas sobre os filmes que vêm com o llmrec a quatro sistemas e leva menos de um minuto.",
        "try_running": "A avaliação está sendo feita: {done} de {total} respostas.",
        "try_begun": "A avaliação está sendo feita: as perguntas estão sendo escritas.",
        "try_failed": "A avaliação não pôde ser feita. Quem mantém esta página encontra o motivo no registro; os comandos acima também funcionam.",
        "damaged": "{file} está danificado e ficou de fora: execute o comando dele outra vez.",
        "unjudged": "Algumas respostas de {file} não podem ser julgadas aqui, uma a uma, porque falta o rouge-score: instale llmrec[eval].",
        "large": "{file} é maior do que esta página lê, ou é um atalho, e ficou de fora.",
        "unfinished": "{file} ainda não tem resultados: eles vêm quando o comando termina.",
        "unasked": "As perguntas não estão junto da avaliação ({file}), e por isso as respostas não podem ser mostradas uma a uma: ponha o arquivo na pasta da avaliação.",
        "lines": "{n} linhas de {file} estão danificadas e ficaram de fora.",
        "many": "{file} contém mais de {n} avaliações: as outras ficaram de fora.",
    },
    "es": {
        "head": "Medir",
        "lead": "¿Qué tan buenas son las listas y las respuestas? Estas son las evaluaciones de quien mantiene esta página, con intervalos del 95 % y cada ejemplo.",
        "group": "Lo que se pidió",
        "group_lists": "Listas: {data} {part}, {n} ejemplos",
        "group_answers": "Respuestas: {data}, {n} preguntas",
        "target": "Lo que cuenta como deseado",
        "target_new": "Elementos nuevos",
        "target_all": "Todos, también repetidos",
        "again": "Buscar nuevas evaluaciones",
        "caption_lists": "{rows} sistemas con los mismos {n} ejemplos. Toca la cabeza de una columna para ordenar por ella. ★ es el mejor de su columna; debajo de cada valor está su intervalo del 95 %.",
        "caption_answers": "{rows} sistemas con las mismas {n} preguntas. Toca la cabeza de una columna para ordenar por ella. ★ es el mejor de su columna; debajo de cada valor está su intervalo del 95 %.",
        "system": "Sistema",
        "best": "el mejor de su columna",
        "measured": "medido en {run}",
        "baseline": "base de comparación",
        "coverage": "Cobertura",
        "diversity": "Diversidad",
        "seconds": "Segundos",
        "right": "Correctas",
        "token_f1": "F1 de palabras",
        "checked": "Con apoyo",
        "hit@1": "Elemento hallado primero",
        "refusals": "Rechazos, F1",
        "kind/fact": "hechos",
        "kind/check": "sí o no",
        "kind/text": "de textos",
        "kind/comparison": "comparaciones",
        "kind/count": "recuentos",
        "kind/superlative": "superlativos",
        "glossary_lists": "Recall@10: la parte de los elementos deseados que está entre los diez primeros. NDCG y MRR: lo mismo, y más arriba vale más. Cobertura: la parte del catálogo que se muestra a alguien. Diversidad: qué tan distintos son los elementos de una lista. Segundos: por ejemplo.",
        "glossary_answers": "Correctas: traen cada valor necesario, o rechazan lo que el catálogo no dice. F1 de palabras: palabras en común con una respuesta correcta. Con apoyo: cada número y nombre está en una fuente. Rechazos, F1: rechaza lo que debe, y solo eso. Segundos: por respuesta.",
        "plot_column": "{column}, con intervalos del 95 %",
        "plot_recall": "Recall entre los primeros k",
        "plot_kinds": "Correctas por tipo de pregunta",
        "plot_note": "La tabla tiene los mismos valores en números.",
        "examples": "Ejemplos, uno a uno",
        "of_system": "Correcto o no de",
        "result": "Mostrar",
        "result_all": "Todos",
        "result_right": "Correctos",
        "result_wrong": "Incorrectos",
        "language": "Idioma",
        "kind": "Tipo",
        "any": "Cualquiera",
        "search": "Buscar en palabras y títulos",
        "previous": "Anteriores",
        "next": "Siguientes",
        "shown": "{first} a {last} de {n}",
        "none": "Ningún ejemplo es así. Elige menos, o borra la búsqueda.",
        "cold": "nada mencionado antes",
        "warm": "elementos mencionados antes",
        "fact": "hecho",
        "check": "sí o no",
        "text": "de un texto",
        "comparison": "comparación",
        "count": "recuento",
        "superlative": "superlativo",
        "asked": "Pedido",
        "wanted": "Deseado",
        "gave": "Recibido",
        "user": "Usuario",
        "assistant": "Recomendador",
        "nothing_said": "No se dijo nada",
        "right_one": "correcto",
        "wrong_one": "incorrecto",
        "right_at": "correcto en el lugar {place}",
        "known": "mencionado antes",
        "hit": "deseado",
        "nothing": "nada",
        "failed_one": "Falló: {why}",
        "refusal": "Un rechazo, pues el catálogo no lo dice ({why})",
        "refused": "rechazó",
        "rule_lists": "Correcto: algo deseado está entre los diez primeros, tal como se dieron.",
        "rule_answers": "Correcto: como lo cuenta el informe de la evaluación.",
        "empty": "Todavía no hay ninguna evaluación aquí",
        "empty_more": "Una evaluación le pregunta a un recomendador lo que la gente preguntó y cuenta lo que da. Dos comandos hacen una de respuestas:",
        "empty_lists": "O una de listas, con conversaciones que tengas:",
        "empty_then": "Después abre la página con la carpeta que contiene las evaluaciones.",
        "try": "Hacer una pequeña evaluación ahora",
        "try_more": "Una pequeña evaluación hace preguntas sobre las películas que vienen con llmrec a cuatro sistemas y tarda menos de un minuto.",
        "try_running": "La evaluación se está haciendo: {done} de {total} respuestas.",
        "try_begun": "La evaluación se está haciendo: se están escribiendo las preguntas.",
        "try_failed": "La evaluación no se pudo hacer. Quien mantiene esta página encuentra el motivo en el registro; los comandos de arriba también funcionan.",
        "damaged": "{file} está dañado y quedó fuera: ejecuta su comando otra vez.",
        "unjudged": "Algunas respuestas de {file} no se pueden juzgar aquí, una por una, porque falta rouge-score: instala llmrec[eval].",
        "large": "{file} es más grande de lo que esta página lee, o es un enlace, y quedó fuera.",
        "unfinished": "{file} todavía no tiene resultados: llegan cuando termina su comando.",
        "unasked": "Las preguntas no están junto a la evaluación ({file}), así que las respuestas no se pueden mostrar una a una: pon el archivo en la carpeta de la evaluación.",
        "lines": "{n} líneas de {file} están dañadas y quedaron fuera.",
        "many": "{file} contiene más de {n} evaluaciones: las demás quedaron fuera.",
    },
}


@dataclass(frozen=True)
class View:
    """What a visitor looks at, beside what the controls say.

    Attributes
    ----------
    sort: the column that the table is ordered by; "" for the first one. up: the smallest first.
    page: of the examples, from 0.
    """

    sort: str = ""
    up: bool = False
    page: int = 0


@dataclass(frozen=True)
class _Asked:
    """What the controls say."""

    group: str = ""
    target: str = "new"
    system: str = ""
    result: str = ""
    language: str = ""
    kind: str = ""
    search: str = ""


def _t(ui: str, key: str, **slots: object) -> str:
    return TEXTS[ui][key].format(**slots)


# -- the screen ---------------------------------------------------------------------------------


def measure(
    runs: Path | None, visit: gr.State, script: str, example: ExampleRun | None = None
) -> Screen:
    """Lay out the screen in the current Blocks and wire it.

    Parameters
    ----------
    runs: a folder in which evaluation runs are looked for, three levels deep.
    script: for the HTML components: reports a press on a head of the table as the event "say".
    example: the small run that may be made where there is none; None: one of the embedded films.
    """
    example = example or ExampleRun()
    shelf = Shelf([*([runs] if runs else []), example.folder])
    made = _lay_out(script)
    view = gr.State(View())
    asked = [made[n] for n in ("group", "target", "system", "result", "language", "kind", "search")]
    shown = [*made.values(), view]

    def picture(visit: Visit, view: View, *values: Any) -> Updates:
        return _picture(shelf, example, made, visit.language, view, _Asked(*values))

    def sort(event: gr.EventData, visit: Visit, view: View, *values: Any) -> Updates:
        name = str(told(event).get("text"))
        up = not view.up if name == view.sort else name in _LEAST
        view = dataclasses.replace(view, sort=name, up=up)
        return {**_table_updates(shelf, made, visit.language, view, _Asked(*values)), **_of(view)}

    def _of(changed: View) -> Updates:
        return {view: changed}

    def other_target(visit: Visit, view: View, *values: Any) -> Updates:
        out = _table_updates(shelf, made, visit.language, view, _Asked(*values))
        return {**out, **_of(view)}  # of nothing, Gradio makes an error

    def other_group(visit: Visit, view: View, *values: Any) -> Updates:
        chosen = _Asked(group=str(values[0]))
        return {**_picture(shelf, example, made, visit.language, View(), chosen), **_of(View())}

    def turn(step: int) -> Any:
        def turned(visit: Visit, view: View, *values: Any) -> Updates:
            page = max(0, view.page + step) if step else 0
            view = dataclasses.replace(view, page=page)
            out, page = _case_updates(shelf, made, visit.language, view, _Asked(*values))
            return {**out, **_of(dataclasses.replace(view, page=page))}

        return turned

    def try_it(visit: Visit) -> Iterator[Updates]:
        example.start()
        while example.state == "running":
            yield {
                made["doing"]: _doing(example, visit.language),
                made["try"]: gr.update(interactive=False),
            }
            time.sleep(0.5)
        yield _picture(shelf, example, made, visit.language, View(), _Asked())

    quick: dict[str, Any] = {
        "outputs": shown, "queue": False, "show_progress": "hidden", "api_visibility": "private",
        "trigger_mode": "multiple",
    }  # fmt: skip
    inputs = [visit, view, *asked]
    tab = get_render_context()
    if isinstance(tab, gr.Tab):
        tab.select(picture, inputs, **quick)
    gr.on([made["again"].click, made["head"].change], picture, inputs, **quick)
    made["table"].say(sort, inputs, **quick)
    made["target"].input(other_target, inputs, **quick)
    made["group"].input(other_group, inputs, **quick)
    filters = [made[n].input for n in ("system", "result", "language", "kind")]
    gr.on([*filters, made["search"].submit, made["search"].blur], turn(0), inputs, **quick)
    made["previous"].click(turn(-1), inputs, **quick)
    made["next"].click(turn(1), inputs, **quick)
    made["try"].click(
        try_it, [visit], shown, show_progress="hidden", api_visibility="private",
        concurrency_id="example run", concurrency_limit=8, trigger_mode="once",
    )  # fmt: skip

    def texts(visit: Visit) -> Updates:
        """Labels; what depends on the visitor's choices follows by the change of the head."""
        return _labels(made, visit.language)

    return Screen(list(made.values()), texts)


def _lay_out(script: str) -> dict[str, Any]:
    """The components by name, empty; a picture of the first runs fills them when they are shown."""
    plain: dict[str, Any] = {"apply_default_css": False, "js_on_load": None}
    made: dict[str, Any] = {}
    with gr.Column(elem_id="lr-measure", elem_classes="lr-screen", min_width=0):
        made["head"] = gr.HTML(_head("en"), elem_id="lr-m-head", **plain)
        with gr.Column(visible=True, elem_classes="lr-m-empty", min_width=0) as made["empty_part"]:
            made["empty"] = gr.HTML(_empty("en"), elem_id="lr-m-empty", **plain)
            made["try"] = gr.Button(_t("en", "try"), elem_id="lr-m-try")
            made["doing"] = gr.HTML(_line(""), elem_id="lr-m-doing", **plain)
        with gr.Column(visible=False, min_width=0) as made["body"]:
            with gr.Row(elem_classes="lr-m-tools"):
                made["group"] = gr.Dropdown(
                    [], label=_t("en", "group"), elem_id="lr-m-group", min_width=220, scale=3
                )
                made["target"] = gr.Radio(
                    [], label=_t("en", "target"), elem_id="lr-m-target", min_width=220, scale=2
                )
                made["again"] = gr.Button(
                    _t("en", "again"), elem_id="lr-m-again", min_width=120, scale=0
                )
            made["table"] = gr.HTML(
                "", js_on_load=script, apply_default_css=False, elem_id="lr-m-table"
            )
            made["plots"] = gr.HTML("", elem_id="lr-m-plots", **plain)
            made["title"] = gr.HTML(_title("en"), elem_id="lr-m-title", **plain)
            with gr.Row(elem_classes="lr-m-tools"):
                for name in ("system", "result", "language", "kind"):
                    made[name] = gr.Dropdown(
                        [], label=_label("en", name), elem_id=f"lr-m-{name}", min_width=130
                    )
                made["search"] = gr.Textbox(
                    label=_t("en", "search"), elem_id="lr-m-search", min_width=200, max_length=100
                )
            made["cases"] = gr.HTML("", elem_id="lr-m-cases", **plain)
            with gr.Row(elem_classes="lr-m-pages"):
                for name in ("previous", "next"):
                    made[name] = gr.Button(
                        _t("en", name), elem_id=f"lr-m-{name}", min_width=0, scale=0
                    )
        made["problems"] = gr.HTML("", elem_id="lr-m-problems", **plain)
    return made


def _label(ui: str, name: str) -> str:
    return _t(ui, "of_system" if name == "system" else name)


def _labels(made: dict[str, Any], ui: str) -> Updates:
    controls = ("group", "target", "system", "result", "language", "kind", "search")
    buttons = ("again", "try", "previous", "next")
    return {
        made["head"]: _head(ui),
        made["empty"]: _empty(ui),
        made["title"]: _title(ui),
        **{made[n]: gr.update(label=_label(ui, n)) for n in controls},
        **{made[n]: gr.update(value=_t(ui, n)) for n in buttons},
    }


def _picture(
    shelf: Shelf, example: ExampleRun, made: dict[str, Any], ui: str, view: View, asked: _Asked
) -> Updates:
    """The whole screen as the runs now are."""
    groups, problems = shelf.look()
    out: Updates = {
        made["empty_part"]: gr.update(visible=not groups),
        made["body"]: gr.update(visible=bool(groups)),
        made["try"]: gr.update(interactive=example.state != "running"),
        made["doing"]: _doing(example, ui),
        made["problems"]: _problems(problems, ui),
    }
    group = _chosen(groups, asked.group)
    if group is None:
        return out
    asked = dataclasses.replace(asked, group=group.key, target=asked.target or "new")
    out[made["group"]] = gr.update(
        choices=[(name, g.key) for name, g in zip(_names(groups, ui), groups, strict=True)],
        value=group.key,
    )
    targets = [(_t(ui, f"target_{t}"), t) for t in ("new", "all")]
    out[made["target"]] = gr.update(
        choices=targets, value=asked.target, visible=group.kind == "lists"
    )
    cases, lost = _read(shelf, group)
    out[made["problems"]] = _problems([*problems, *lost], ui)
    asked, controls = _filters(made, ui, group, cases, asked)
    return (
        out | controls
        | _table_updates(shelf, made, ui, view, asked)
        | _case_updates(shelf, made, ui, view, asked)[0]
    )  # fmt: skip


def _chosen(groups: Sequence[Group], key: str) -> Group | None:
    return next((g for g in groups if g.key == key), groups[0] if groups else None)


def _named(group: Group, ui: str) -> str:
    data = group.data.removesuffix(".jsonl")
    said = _t(ui, f"group_{group.kind}", data=data, part=group.part, n=_count(group.n, ui))
    return said.replace(" ,", ",")


def _names(groups: Sequence[Group], ui: str) -> list[str]:
    """What each group is called; where that is not enough, with its first run."""
    said = [_named(g, ui) for g in groups]
    return [
        f"{name} ({g.runs[0][0]})" if said.count(name) > 1 and g.runs else name
        for name, g in zip(said, groups, strict=True)
    ]


def _read(shelf: Shelf, group: Group) -> tuple[list[Case], list[Problem]]:
    try:
        return shelf.cases(group)
    except InputError:  # a folder that went away meanwhile
        return [], [Problem("damaged", group.data)]


def _filters(
    made: dict[str, Any], ui: str, group: Group, cases: Sequence[Case], asked: _Asked
) -> tuple[_Asked, Updates]:
    """The controls of the examples, and what they say where it is no longer there."""
    given = dict.fromkeys(label for c in cases for label in c.given)
    systems = [r.label for r in group.rows if r.label in given]
    known = {
        "system": [(s, s) for s in systems],
        "result": [(_t(ui, f"result_{r or 'all'}"), r) for r in ("", "right", "wrong")],
        "language": [(_t(ui, "any"), "")]
        + [(x, x) for x in sorted({c.language for c in cases if c.language})],
        "kind": [(_t(ui, "any"), "")]
        + [(_t(ui, k), k) for k in dict.fromkeys(c.kind for c in cases) if k in TEXTS[ui]],
    }
    kept = {}
    for name, choices in known.items():
        values = [v for _, v in choices]
        value = getattr(asked, name)
        kept[name] = value if value in values else (values[0] if values else "")
    updates = {made[n]: gr.update(choices=c, value=kept[n]) for n, c in known.items()}
    return dataclasses.replace(asked, **kept), updates


def _table_updates(
    shelf: Shelf, made: dict[str, Any], ui: str, view: View, asked: _Asked
) -> Updates:
    group = _chosen(shelf.look()[0], asked.group)
    if group is None:
        return {}
    columns = _columns(group, asked.target)
    sort = view.sort if view.sort in columns else columns[0] if columns else ""
    rows = _sorted(group.rows, sort, view.up)
    return {
        made["table"]: _table(group, rows, columns, sort, view.up, ui),
        made["plots"]: _plots(group, rows, sort, asked.target, ui),
    }


def _case_updates(
    shelf: Shelf, made: dict[str, Any], ui: str, view: View, asked: _Asked
) -> tuple[Updates, int]:
    """The examples that are asked for, and their page."""
    group = _chosen(shelf.look()[0], asked.group)
    if group is None:
        return {}, 0
    chosen = [c for c in _read(shelf, group)[0] if _fits(c, asked)]
    last = max(0, (len(chosen) - 1) // PER_PAGE)
    page = min(view.page, last)
    first = page * PER_PAGE
    part = chosen[first : first + PER_PAGE]
    position = _t(ui, "shown", first=first + 1, last=first + len(part), n=_count(len(chosen), ui))
    said = position if part else _t(ui, "none")
    shown = "".join(_case(c, asked.system, group.kind, ui) for c in part)
    return {
        made["cases"]: f'<p class="lr-note" aria-live="polite">{escape(said)}</p>{shown}',
        made["previous"]: gr.update(interactive=page > 0),
        made["next"]: gr.update(interactive=page < last),
    }, page


def _fits(case: Case, asked: _Asked) -> bool:
    gave = case.given.get(asked.system)
    wanted = {"right": True, "wrong": False}.get(asked.result)
    return (
        (not asked.language or case.language == asked.language)
        and (not asked.kind or case.kind == asked.kind)
        and (wanted is None or (gave is not None and gave.right is wanted))
        and (not (asked.search or "").strip() or case.holds(asked.search.strip().casefold()[:100]))
    )


# -- tables and drawings ------------------------------------------------------------------------


def _columns(group: Group, target: str) -> list[str]:
    """The figures that stand in the table, those first that matter most."""
    have = dict.fromkeys(name for r in group.rows for name in r.figures)
    if group.kind == "answers":
        wanted = ["right", "token_f1", "checked", "refusals", "hit@1", "seconds"]
        return [n for n in wanted if n in have]
    target = target if target in ("new", "all") else "new"
    main = [n for n in have if n.startswith(f"{target}/")]
    main.sort(key=lambda n: (n != f"{target}/recall@{AT}", "recall" not in n))
    return [*main, *(n for n in ("coverage", "diversity", "seconds") if n in have)][:_WIDEST]


def _column(name: str, ui: str) -> str:
    if "/" not in name or name.startswith("kind/"):
        return _t(ui, name)
    metric, _, k = name.partition("/")[2].partition("@")
    return f"{'Recall' if metric == 'recall' else metric.upper()}@{k}"


def _sorted(rows: Sequence[Row], sort: str, up: bool) -> list[Row]:
    """By a column, what has no figure there last."""

    def place(row: Row) -> tuple[bool, float]:
        figure = row.figures.get(sort)
        return figure is None, 0.0 if figure is None else figure.value * (1 if up else -1)

    return sorted(rows, key=place)


def _table(
    group: Group, rows: Sequence[Row], columns: Sequence[str], sort: str, up: bool, ui: str
) -> str:
    caption = _t(ui, f"caption_{group.kind}", rows=len(rows), n=_count(group.n, ui))
    best = {c: _best([r.figures[c].value for r in rows if c in r.figures], c) for c in columns}
    heads = "".join(_table_head(c, c == sort, up, ui) for c in columns)
    body = "".join(
        f'<tr><th scope="row"><bdi>{escape(r.label)}</bdi><small>{escape(_origin(r, ui))}</small></th>'
        + "".join(_table_cell(r.figures.get(c), best[c], c, ui) for c in columns)
        + "</tr>"
        for r in rows
    )
    return (
        f'<p class="lr-note" id="lr-m-caption">{escape(caption)}</p>'
        f'<div class="lr-scroll" tabindex="0" role="region" aria-label="{escape(_named(group, ui))}">'
        '<table class="lr-table" aria-describedby="lr-m-caption"><thead><tr>'
        f'<th scope="col">{escape(_t(ui, "system"))}</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="lr-note">{escape(_t(ui, f"glossary_{group.kind}"))}</p>'
    )


def _origin(row: Row, ui: str) -> str:
    return _t(ui, "measured", run=row.run) if row.main else _t(ui, "baseline")


def _table_head(name: str, sorted_by: bool, up: bool, ui: str) -> str:
    order = ("ascending" if up else "descending") if sorted_by else "none"
    arrow = f'<i aria-hidden="true">{"▲" if up else "▼"}</i>' if sorted_by else ""
    return (
        f'<th scope="col" aria-sort="{order}"><button type="button" data-say="{escape(name)}">'
        f"{escape(_column(name, ui))}{arrow}</button></th>"
    )


def _best(values: Sequence[float], column: str) -> float | None:
    """The best of several values; of one alone none."""
    if len(values) < 2:
        return None
    return min(values) if column in _LEAST else max(values)


def _table_cell(figure: Figure | None, best: float | None, column: str, ui: str) -> str:
    if figure is None:
        return "<td>–</td>"
    star = (
        f'<b class="lr-star" title="{escape(_t(ui, "best"))}"><span aria-hidden="true">★</span>'
        f'<span class="lr-hidden"> {escape(_t(ui, "best"))}</span></b>'
        if figure.value == best
        else ""
    )
    note = ""
    if figure.low is not None and figure.high is not None:
        note = f"<small>{_number(figure.low, ui)}–{_number(figure.high, ui)}</small>"
    digits = 4 if column == "seconds" and figure.value < 0.1 else 3
    said = _number(figure.value, ui, digits)
    if column == "seconds" and 0 < figure.value < 0.0001:
        said = f"&lt; {_number(0.0001, ui, 4)}"
    return f"<td>{star}<span>{said}</span>{note}</td>"


def _number(value: float, ui: str, digits: int = 3) -> str:
    said = f"{value:,.{digits}f}"
    return said if ui == "en" else said.translate(str.maketrans(",.", ".,"))


def _count(n: int, ui: str) -> str:
    return _number(n, ui, 0)


def _plots(group: Group, rows: Sequence[Row], sort: str, target: str, ui: str) -> str:
    """The column that the table is ordered by, and the first systems of it side by side."""
    if not sort:
        return ""

    def write(value: float) -> str:
        return _number(value, ui)

    title = _t(ui, "plot_column", column=_column(sort, ui))
    points = charts.Series("", [_point(r, sort) for r in rows])
    first = charts.dots(title, [r.label for r in rows], [points], write)
    drawn = [_figure(first, title, "", ui)]
    names = [f"{target}/recall@{k}" for k in group.ks]
    if group.kind == "answers":
        names = [
            n for n in TEXTS[ui] if n.startswith("kind/") and any(n in r.figures for r in rows)
        ]
    series = [charts.Series(r.label, [_point(r, n) for n in names]) for r in rows[:DRAWN]]
    if group.kind == "answers":
        title = _t(ui, "plot_kinds")
        second = charts.dots(title, [_t(ui, n) for n in names], series, write)
    else:
        title = _t(ui, "plot_recall")
        second = charts.curves(title, [str(k) for k in group.ks], series, "k", write)
    if names:
        drawn.append(_figure(second, title, charts.legend([s.name for s in series]), ui))
    return f'<div class="lr-plots">{"".join(drawn)}</div>'


def _point(row: Row, name: str) -> charts.Point | None:
    f = row.figures.get(name)
    return None if f is None else charts.Point(f.value, f.low, f.high)


def _figure(svg: str, title: str, legend: str, ui: str) -> str:
    names = f'<ul class="lr-legend">{legend}</ul>' if legend else ""
    note = escape(_t(ui, "plot_note"))
    return f'<figure class="lr-figure"><figcaption>{escape(title)}<small>{note}</small></figcaption>{svg}{names}</figure>'


# -- examples and sentences ---------------------------------------------------------------------


def _case(case: Case, system: str, kind: str, ui: str) -> str:
    gave = case.given.get(system)
    last = next((text for role, text in reversed(case.turns) if role == "user"), "")
    about = " · ".join(p for p in (_t(ui, case.kind), case.language, case.id) if p)
    talk = "".join(
        f'<p class="lr-m-{role}"><span class="lr-hidden">{escape(_t(ui, role))}: </span><bdi>{escape(text)}</bdi></p>'
        for role, text in case.turns
    )
    wanted = [case.refusal and _t(ui, "refusal", why=case.refusal), *case.wanted]
    list_of_wanted = "".join(f"<li><bdi>{escape(w)}</bdi></li>" for w in wanted if w)
    lists = "".join(_given(label, g, label == system, ui) for label, g in case.given.items())
    return (
        f'<details class="lr-case"><summary><span><bdi>{escape(last or _t(ui, "nothing_said"))}</bdi></span>'
        f"{_badge(gave, ui)}<small>{escape(about)}</small></summary>"
        f'<div class="lr-m-inside"><div><h4>{escape(_t(ui, "asked"))}</h4>{talk or escape(_t(ui, "nothing_said"))}'
        f"<h4>{escape(_t(ui, 'wanted'))}</h4><ul>{list_of_wanted or '<li>–</li>'}</ul></div>"
        f'<div><h4>{escape(_t(ui, "gave"))}</h4>{lists}<p class="lr-note">{escape(_t(ui, f"rule_{kind}"))}</p></div></div></details>'
    )


def _badge(given: Given | None, ui: str) -> str:
    if given is None or given.right is None:
        return ""
    if given.right:
        said = _t(ui, "right_at", place=given.place) if given.place else _t(ui, "right_one")
        return f'<b class="lr-badge lr-met"><i aria-hidden="true">✓</i> {escape(said)}</b>'
    return f'<b class="lr-badge lr-missed"><i aria-hidden="true">✗</i> {escape(_t(ui, "wrong_one"))}</b>'


def _given(label: str, given: Given, opened: bool, ui: str) -> str:
    marks = {"hit": f"✓ {_t(ui, 'hit')}", "known": _t(ui, "known"), "": ""}
    rows = "".join(
        f'<li class="lr-m-{mark or "other"}"><bdi>{escape(text)}</bdi>'
        + (f" <small>{escape(marks[mark])}</small>" if mark else "")
        + "</li>"
        for text, mark in given.lines
    )
    if given.error:
        rows = f"<li>{escape(_t(ui, 'failed_one', why=given.error))}</li>"
    tag = "ol" if len(given.lines) > 1 else "ul"
    nothing = f"<li>{escape(_t(ui, 'nothing'))}</li>"
    refused = f" <small>{escape(_t(ui, 'refused'))}</small>" if given.refused else ""
    return (
        f"<details{' open' if opened else ''}><summary><bdi>{escape(label)}</bdi>{refused}{_badge(given, ui)}</summary>"
        f"<{tag}>{rows or nothing}</{tag}></details>"
    )


def _head(ui: str) -> str:
    return f'<h2 class="lr-h">{escape(_t(ui, "head"))}</h2><p class="lr-lead">{escape(_t(ui, "lead"))}</p>'


def _title(ui: str) -> str:
    return f'<h3 class="lr-h3">{escape(_t(ui, "examples"))}</h3>'


def _empty(ui: str) -> str:
    answers, lists = (
        "".join(f"<pre><code>{escape(c)}</code></pre>" for c in COMMANDS[n])
        for n in ("answers", "lists")
    )
    return (
        f'<div class="lr-m-none"><h3 class="lr-h3">{escape(_t(ui, "empty"))}</h3><p>{escape(_t(ui, "empty_more"))}</p>{answers}'
        f"<p>{escape(_t(ui, 'empty_lists'))}</p>{lists}<p>{escape(_t(ui, 'empty_then'))} <code>python app.py --runs runs</code></p>"
        f"<p>{escape(_t(ui, 'try_more'))}</p></div>"
    )


def _doing(example: ExampleRun, ui: str) -> str:
    if example.state == "failed":
        return f'<p class="lr-problem" role="alert">{escape(_t(ui, "try_failed"))}</p>'
    if example.state != "running":
        return _line("")
    done, total = example.progress()
    key = "try_running" if done else "try_begun"
    said = _line(_t(ui, key, done=done, total=total))
    bar = f'<progress max="{max(1, total)}" value="{done}" aria-hidden="true"></progress>'
    return said + bar


def _line(said: str) -> str:
    return f'<p class="lr-note" role="status" aria-live="polite">{escape(said)}</p>'


def _problems(problems: Sequence[Problem], ui: str) -> str:
    shown = dict.fromkeys(_t(ui, p.kind, file=p.file, n=_count(p.n, ui)) for p in problems)
    lines = "".join(f"<li>{escape(s)}</li>" for s in list(shown)[:20])
    return f'<ul class="lr-m-problems" role="alert">{lines}</ul>' if lines else ""
