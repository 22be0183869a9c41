# ruff: noqa: E501  (sentences and markup stay in one piece)
"""Catalogue hides the screen on which a visitor browses what there is, or brings an own catalogue.

What a visitor brings is the visitor's alone: it lies in a folder of its own, which goes when the
visitor deletes it, brings another, or leaves.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from llmrec.demo.screen import Screen, Updates
from llmrec.demo.untrusted import read_file, read_hub
from llmrec.demo.uploads import (
    FIELDS,
    Built,
    Problem,
    Read,
    Refusal,
    Uploads,
    build,
    plain_name,
    propose,
    sentence,
)
from llmrec.demo.visit import Visit
from llmrec.errors import LLMRecError
from llmrec.orders import without_orders
from llmrec.titles import fold
from llmrec.types import Item, Preferences
from llmrec.wishes import Things
from llmrec.wording import amount, display_name, duration

if TYPE_CHECKING:
    from llmrec.catalog import Catalog
    from llmrec.recommender import Recommender

__all__ = ["TEXTS", "CatalogueScreen", "Own", "View", "catalogue", "found"]

PAGE = 20
MOST_HITS = 500
GENRES = 60
SAMPLE = 10_000
SHOWN_COLUMNS = 30
SHOWN_PROBLEMS = 50
AT_ONCE = 2  # files read and catalogues built at the same time; more wait in the queue
MAIN = 9  # fields that are offered first
SORTS = ("best", "newest", "oldest", "title")

_log = logging.getLogger(__name__)

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "heading": "Catalogue",
        "shared": "You see the catalogue of this page: {n} entries.",
        "yours": "You see your own catalogue, “{name}”: {n} entries. Answers come from it.",
        "search": "Search", "search_hint": "Title, person, theme ...", "go": "Search",
        "genre": "Genre", "any": "All", "first": "From year", "last": "To year", "sort": "Order",
        "best": "Best first", "newest": "Newest first", "oldest": "Oldest first", "title_first": "By title",
        "results": "Entries found", "none": "Nothing fits: use other words, or fewer filters.",
        "count": "{first} to {last} of {n}", "count_most": "{first} to {last} of the best {n}",
        "previous": "Previous", "next": "Next",
        "bring": "Bring your own catalogue",
        "bring_note": "A file with a title in each row: CSV, TSV, JSON, JSON lines or Parquet, up to {size} MB and {rows} rows. It is yours alone, stays on this page's server and is deleted when you leave.",
        "file": "File", "hub": "Or a public data set of the Hugging Face Hub", "hub_hint": "owner/name", "split": "Split",
        "read_hub": "Read the data set", "reading": "Reading ...",
        "read": "“{name}” was read. Rows: {rows}; columns: {columns}; rows left out: {dropped}.",
        "read_more": "Only the first {rows} rows are used.",
        "preview": "The first rows", "map": "Which column holds what?", "map_note": "Guessed from the names of the columns. Only the title is needed.",
        "more_fields": "Further fields", "no_column": "(none)", "build": "Build the catalogue",
        "building": "Building: {done} of {rows} rows", "indexing": "Making it searchable ...",
        "built": "Your catalogue is ready. Entries: {n}; rows left out: {dropped}; values left empty: {emptied}.",
        "problems": "What was left out, and why", "line": "Line", "why": "Why",
        "use": "Use my catalogue", "back": "Back to the page's catalogue", "delete": "Delete my catalogue",
        "switch_note": "Switching begins conversation and comparison anew.",
        "deleted": "Your catalogue was deleted.", "switched": "Answers now come from your catalogue: talk about it, or compare.", "returned": "Answers come from the page's catalogue again.",
        "field_title": "Title", "field_id": "Id", "field_year": "Year", "field_description": "Description", "field_genres": "Genres or categories",
        "field_directors": "Directors", "field_cast": "Cast, authors or artists", "field_runtime": "Runtime (minutes)", "field_price": "Price", "field_image": "Picture (https address)",
        "field_rating": "Rating (0 to 10)", "field_popularity": "Popularity or votes", "field_keywords": "Keywords", "field_countries": "Countries",
        "field_languages": "Languages", "field_original_title": "Original title", "field_titles.pt": "Title in Portuguese", "field_titles.es": "Title in Spanish",
        "field_descriptions.pt": "Description in Portuguese", "field_descriptions.es": "Description in Spanish",
    },
    "pt": {
        "heading": "Catálogo",
        "shared": "Este é o catálogo da página: {n} entradas.",
        "yours": "Este é o seu catálogo, “{name}”: {n} entradas. As respostas vêm dele.",
        "search": "Buscar", "search_hint": "Título, pessoa, tema ...", "go": "Buscar",
        "genre": "Gênero", "any": "Todos", "first": "Do ano", "last": "Até o ano", "sort": "Ordem",
        "best": "Melhores primeiro", "newest": "Mais novos primeiro", "oldest": "Mais antigos primeiro", "title_first": "Por título",
        "results": "Entradas encontradas", "none": "Nada combina: use outras palavras, ou menos filtros.",
        "count": "{first} a {last} de {n}", "count_most": "{first} a {last} dos melhores {n}",
        "previous": "Anterior", "next": "Próxima",
        "bring": "Traga o seu catálogo",
        "bring_note": "Um arquivo com um título em cada linha: CSV, TSV, JSON, JSON lines ou Parquet, até {size} MB e {rows} linhas. É só seu, fica no servidor desta página e é apagado quando você sai.",
        "file": "Arquivo", "hub": "Ou um conjunto público do Hugging Face Hub", "hub_hint": "dono/nome", "split": "Divisão",
        "read_hub": "Ler o conjunto", "reading": "Lendo ...",
        "read": "“{name}” foi lido. Linhas: {rows}; colunas: {columns}; linhas deixadas de fora: {dropped}.",
        "read_more": "Só as primeiras {rows} linhas são usadas.",
        "preview": "As primeiras linhas", "map": "Qual coluna tem o quê?", "map_note": "Adivinhado pelos nomes das colunas. Só o título é preciso.",
        "more_fields": "Outros campos", "no_column": "(nenhuma)", "build": "Construir o catálogo",
        "building": "Construindo: {done} de {rows} linhas", "indexing": "Preparando a busca ...",
        "built": "Seu catálogo está pronto. Entradas: {n}; linhas deixadas de fora: {dropped}; valores deixados vazios: {emptied}.",
        "problems": "O que ficou de fora, e por quê", "line": "Linha", "why": "Por quê",
        "use": "Usar o meu catálogo", "back": "Voltar ao catálogo da página", "delete": "Apagar o meu catálogo",
        "switch_note": "Trocar recomeça a conversa e a comparação.",
        "deleted": "Seu catálogo foi apagado.", "switched": "As respostas agora vêm do seu catálogo: converse sobre ele, ou compare.", "returned": "As respostas vêm de novo do catálogo da página.",
        "field_title": "Título", "field_id": "Id", "field_year": "Ano", "field_description": "Descrição", "field_genres": "Gêneros ou categorias",
        "field_directors": "Direção", "field_cast": "Elenco, autores ou artistas", "field_runtime": "Duração (minutos)", "field_price": "Preço", "field_image": "Imagem (endereço https)",
        "field_rating": "Nota (0 a 10)", "field_popularity": "Popularidade ou votos", "field_keywords": "Palavras-chave", "field_countries": "Países",
        "field_languages": "Idiomas", "field_original_title": "Título original", "field_titles.pt": "Título em português", "field_titles.es": "Título em espanhol",
        "field_descriptions.pt": "Descrição em português", "field_descriptions.es": "Descrição em espanhol",
    },
    "es": {
        "heading": "Catálogo",
        "shared": "Este es el catálogo de la página: {n} entradas.",
        "yours": "Este es tu catálogo, “{name}”: {n} entradas. Las respuestas salen de él.",
        "search": "Buscar", "search_hint": "Título, persona, tema ...", "go": "Buscar",
        "genre": "Género", "any": "Todos", "first": "Desde el año", "last": "Hasta el año", "sort": "Orden",
        "best": "Mejores primero", "newest": "Más nuevos primero", "oldest": "Más antiguos primero", "title_first": "Por título",
        "results": "Entradas encontradas", "none": "Nada encaja: usa otras palabras, o menos filtros.",
        "count": "{first} a {last} de {n}", "count_most": "{first} a {last} de los mejores {n}",
        "previous": "Anterior", "next": "Siguiente",
        "bring": "Trae tu catálogo",
        "bring_note": "Un archivo con un título en cada fila: CSV, TSV, JSON, JSON lines o Parquet, hasta {size} MB y {rows} filas. Es solo tuyo, se queda en el servidor de esta página y se borra cuando te vas.",
        "file": "Archivo", "hub": "O un conjunto público del Hugging Face Hub", "hub_hint": "dueño/nombre", "split": "División",
        "read_hub": "Leer el conjunto", "reading": "Leyendo ...",
        "read": "“{name}” se leyó. Filas: {rows}; columnas: {columns}; filas dejadas fuera: {dropped}.",
        "read_more": "Solo se usan las primeras {rows} filas.",
        "preview": "Las primeras filas", "map": "¿Qué columna tiene qué?", "map_note": "Adivinado por los nombres de las columnas. Solo hace falta el título.",
        "more_fields": "Otros campos", "no_column": "(ninguna)", "build": "Construir el catálogo",
        "building": "Construyendo: {done} de {rows} filas", "indexing": "Preparando la búsqueda ...",
        "built": "Tu catálogo está listo. Entradas: {n}; filas dejadas fuera: {dropped}; valores dejados vacíos: {emptied}.",
        "problems": "Qué quedó fuera, y por qué", "line": "Línea", "why": "Por qué",
        "use": "Usar mi catálogo", "back": "Volver al catálogo de la página", "delete": "Borrar mi catálogo",
        "switch_note": "Al cambiar, la conversación y la comparación empiezan de nuevo.",
        "deleted": "Tu catálogo se borró.", "switched": "Ahora las respuestas salen de tu catálogo: conversa sobre él, o compara.", "returned": "Las respuestas salen otra vez del catálogo de la página.",
        "field_title": "Título", "field_id": "Id", "field_year": "Año", "field_description": "Descripción", "field_genres": "Géneros o categorías",
        "field_directors": "Dirección", "field_cast": "Reparto, autores o artistas", "field_runtime": "Duración (minutos)", "field_price": "Precio", "field_image": "Imagen (dirección https)",
        "field_rating": "Nota (0 a 10)", "field_popularity": "Popularidad o votos", "field_keywords": "Palabras clave", "field_countries": "Países",
        "field_languages": "Idiomas", "field_original_title": "Título original", "field_titles.pt": "Título en portugués", "field_titles.es": "Título en español",
        "field_descriptions.pt": "Descripción en portugués", "field_descriptions.es": "Descripción en español",
    },
}  # fmt: skip


@dataclass(frozen=True)
class CatalogueScreen(Screen):
    """The screen, and what the others need of it.

    Attributes
    ----------
    own: the state that holds each visitor's `Own`, whose ``recommender`` answers where it is set.
    switched: events after which the conversation is another one and must be shown anew.
    leave: what ``Blocks.unload`` is to call.
    """

    own: gr.State
    switched: Sequence[Any]
    leave: Callable[[gr.Request], None]


@dataclass(frozen=True)
class View:
    """What a visitor looks for, and the page of the list that is shown, from 0."""

    query: str = ""
    genre: str = ""
    first: int | None = None
    last: int | None = None
    sort: str = "best"
    page: int = 0


class Own:
    """What a visitor has brought, kept in that visitor's session alone.

    Attributes
    ----------
    read: the rows of the last file. built: the catalogue made of them. name: what it is called.
    recommender: answers from the own catalogue while the visitor wants that, else None. Whoever
        reads it says that the visitor is still there.
    view: what is looked for in the list.
    """

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._remove: Callable[[], object] | None = None
        self.gone = False
        self.back: Callable[[], None] = lambda: None  # begins the conversation anew
        self.view = View()
        self.forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> Own:
        """A fresh one: how the page gives each visitor an own one."""
        return Own(self._uploads)

    def forget(self) -> None:
        """Remove everything that was brought."""
        self.read: Read | None = None
        self.built: Built | None = None
        self._recommender: Recommender | None = None
        self.said: tuple[str, str, dict[str, Any]] | None = None
        self.name = ""
        if self._remove is not None:
            self._remove()
        self._folder = self._remove = None

    @property
    def recommender(self) -> Recommender | None:
        """What answers instead of the page's own."""
        self.touch()
        return self._recommender

    @recommender.setter
    def recommender(self, recommender: Recommender | None) -> None:
        self._recommender = recommender

    def touch(self) -> None:
        """Note that the visitor is still there."""
        if self._folder is not None:
            self._uploads.touch(self._folder)

    def leave(self) -> None:
        """Remove everything for good; a build that runs ends."""
        self.gone = True
        self.forget()

    def folder(self) -> Path:
        """A new folder in the place of the old one, with everything in it. Raises Refusal."""
        self.forget()
        self.gone = False  # a page that was asleep may come back
        me = weakref.ref(self)

        def forget() -> None:
            if (own := me()) is not None:
                own.leave()
                own.said = ("refusal", "expired", {})
                own.back()

        self._folder = self._uploads.folder(forget)
        self._remove = weakref.finalize(self, self._uploads.remove, self._folder)
        return self._folder

    def begin(self) -> bool:
        """Whether the visitor may read or build now: one thing at a time. `end` must follow."""
        return self._lock.acquire(blocking=False)

    def end(self) -> None:
        """Let the visitor read or build again."""
        self._lock.release()


# -- finding --------------------------------------------------------------------------------------


def found(catalog: Catalog, view: View) -> tuple[list[Item], int, int]:
    """The items of one page, how many there are in all, and which page it is in the end."""
    genres = (view.genre,) if view.genre else ()
    wanted = Preferences(genres=genres, year_min=view.first, year_max=view.last)
    if fold(view.query):
        hits = [h.item for h in catalog.search(view.query, wanted, k=MOST_HITS)]
        if view.sort == "title":
            hits.sort(key=lambda item: item.title.casefold())
        elif view.sort != "best":
            hits.sort(key=lambda item: _by_year(item.year, view.sort))
        page = min(view.page, max(0, len(hits) - 1) // PAGE)
        return hits[page * PAGE : (page + 1) * PAGE], len(hits), page
    rows = catalog.filter(wanted)
    page = min(view.page, max(0, len(rows) - 1) // PAGE)
    order = _ordered(catalog, rows, view.sort)[page * PAGE : (page + 1) * PAGE]
    return catalog.items_at(order), len(rows), page


def _by_year(year: int | None, sort: str) -> tuple[bool, int]:
    return year is None, -(year or 0) if sort == "newest" else year or 0


def _ordered(catalog: Catalog, rows: Any, sort: str) -> Any:
    if sort == "title":
        titles = catalog.titles
        return sorted(rows.tolist(), key=lambda row: titles[row].casefold())
    years = catalog.numbers("year")[rows]
    last = np.nan_to_num(years if sort == "oldest" else -years, nan=np.inf)
    known = -catalog.popularity[rows] if sort == "best" else np.zeros(len(rows))
    return rows[np.lexsort((rows, last, known))]


def _genres(catalog: Catalog) -> list[str]:
    """The commonest genres, those of a sample where there are many items."""
    step = -(-len(catalog) // SAMPLE)
    rows = range(0, len(catalog), step)
    counts = Counter(genre for item in catalog.items_at(rows) for genre in item.genres)
    return [genre for genre, _ in counts.most_common(GENRES)]


# -- HTML -----------------------------------------------------------------------------------------


def _say(ui: str, key: str, **values: Any) -> str:
    shown = {k: _count(v, ui) if isinstance(v, int) else v for k, v in values.items()}
    return TEXTS[ui][key].format_map(shown) if values else TEXTS[ui][key]


def _count(n: int, language: str) -> str:
    return f"{n:,}" if language == "en" else f"{n:,}".replace(",", ".")


def head_html(own: Own, shared: Catalog, ui: str) -> str:
    """The heading, and whose catalogue is shown."""
    if own.recommender is not None:
        said = _say(ui, "yours", name=own.name, n=len(own.recommender.catalog))
    else:
        said = _say(ui, "shared", n=len(shared))
    return f'<div class="lr-cat-head"><h2>{escape(_say(ui, "heading"))}</h2><p>{escape(said)}</p></div>'


def list_html(items: Sequence[Item], total: int, page: int, ui: str, most: bool = False) -> str:
    """One page of the list, each item with its details to be opened."""
    if not items:
        return f'<p class="lr-note" role="status">{escape(_say(ui, "none"))}</p>'
    start = page * PAGE
    key = "count_most" if most else "count"
    said = _say(ui, key, first=start + 1, last=start + len(items), n=total)
    rows = "".join(_entry(item, ui) for item in items)
    return (
        f'<p class="lr-cat-count" role="status" aria-live="polite">{escape(said)}</p>'
        f'<ol class="lr-cat-list" start="{start + 1}" aria-label="{escape(_say(ui, "results"))}">{rows}</ol>'
    )


def _entry(item: Item, ui: str) -> str:
    title = item.title_in(ui)
    facts = [str(item.year) if item.year else "", duration(item.runtime) if item.runtime else ""]
    facts += [display_name("genre", g, ui) for g in item.genres[:3]]
    facts += [amount(item.price, ui)] if item.price is not None else []
    meta = " · ".join(f for f in facts if f)
    about = without_orders(item.description_in(ui), item.all_titles)
    told = [
        ("original_title", item.original_title if item.original_title != title else ""),
        ("directors", ", ".join(item.directors)),
        ("cast", ", ".join(item.cast[:12])),
        ("countries", ", ".join(display_name("country", c, ui) for c in item.countries)),
        ("languages", ", ".join(display_name("language", c, ui) for c in item.languages)),
        ("keywords", ", ".join(display_name("keyword", k, ui) for k in item.keywords[:20])),
        ("rating", f"{item.rating:.1f}" if item.rating is not None else ""),
        ("id", item.id),
    ]
    pairs = "".join(
        f"<dt>{escape(_say(ui, f'field_{name}').partition(' (')[0])}</dt><dd>{escape(value)}</dd>"
        for name, value in told
        if value
    )
    prose = f"<p>{escape(about)}</p>" if about else ""
    return (
        f'<li><details><summary><span class="lr-cat-title">{escape(title)}</span> '
        f'<span class="lr-cat-meta">{escape(meta)}</span></summary>'
        f'<div class="lr-cat-more">{prose}<dl>{pairs}</dl></div></details></li>'
    )


def preview_html(read: Read, ui: str) -> str:
    """The first rows as a table, as they stand in the file."""
    columns = read.columns[:SHOWN_COLUMNS]
    heads = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(row.get(c, '')))}</td>" for c in columns) + "</tr>"
        for row in read.sample
    )
    return _table(_say(ui, "preview"), f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>")


def _table(caption: str, inner: str) -> str:
    label = escape(caption)
    return (
        f'<div class="lr-cat-scroll" role="region" aria-label="{label}" tabindex="0">'
        f'<table class="lr-cat-table"><caption>{label}</caption>{inner}</table></div>'
    )


def problems_html(problems: Sequence[Problem], ui: str) -> str:
    """What was left out, line by line."""
    if not problems:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_count(p.line, ui)}</th><td>{escape(_reason(p, ui))}</td></tr>'
        for p in problems[:SHOWN_PROBLEMS]
    )
    line, why = escape(_say(ui, "line")), escape(_say(ui, "why"))
    head = f'<thead><tr><th scope="col">{line}</th><th scope="col">{why}</th></tr></thead>'
    return _table(_say(ui, "problems"), f"{head}<tbody>{rows}</tbody>")


def _reason(problem: Problem, ui: str) -> str:
    values = dict(problem.values)
    if "field" in values:
        values["field"] = _say(ui, f"field_{values['field']}").partition(" (")[0]
    for name in ("low", "high"):
        if name in values:
            values[name] = (
                f"{values[name]:g}" if values[name] < 10_000 else _count(values[name], ui)
            )
    return sentence(ui, problem.key, values)


def message_html(own: Own, ui: str) -> str:
    """What was said last: a refusal as an alert, all else quietly; then the details of it."""
    if own.said is None:
        return ""
    kind, key, values = own.said
    if kind == "refusal":
        return f'<p class="lr-problem" role="alert">{escape(sentence(ui, key, values))}</p>'
    if kind == "progress":
        share = (
            f'value="{values["done"]}" max="{max(1, values["rows"])}"' if "done" in values else ""
        )
        text = escape(_say(ui, key, **values))
        return (
            f'<p class="lr-note" role="status">{text}</p>'
            f'<progress class="lr-cat-bar" aria-label="{text}" {share}></progress>'
        )
    return f'<p class="lr-note" role="status">{escape(_say(ui, key, **values))}</p>'


def report_html(own: Own, ui: str) -> str:
    """What became of the file: of its rows, or of its catalogue once there is one."""
    read, built = own.read, own.built
    if built is not None:
        said = _say(ui, "built", n=len(built.catalog), dropped=built.dropped, emptied=built.emptied)
        return f'<p class="lr-cat-built">{escape(said)}</p>{problems_html(built.problems, ui)}'
    if read is None:
        return ""
    said = _say(
        ui, "read", name=read.name, rows=read.rows, columns=len(read.columns), dropped=read.dropped
    )
    if read.more:
        said += " " + _say(ui, "read_more", rows=read.rows + read.dropped)
    problems = [Problem(*p) for p in read.problems]
    return f'<p class="lr-cat-built">{escape(said)}</p>{preview_html(read, ui)}{problems_html(problems, ui)}'


# -- the screen -----------------------------------------------------------------------------------


def catalogue(
    recommender: Recommender,
    visit: gr.State,
    script: str,
    *,
    uploads: bool = True,
    store: Uploads | None = None,
) -> CatalogueScreen:
    """Lay out the screen in the current Blocks and wire it.

    Parameters
    ----------
    script: as of the other screens; the HTML of this one has no buttons and needs none.
    uploads: whether visitors may bring catalogues of their own.
    store: where these lie, and within which limits.
    """
    return _Catalogue(recommender, visit, uploads, store or Uploads()).screen()


class _Catalogue:
    """The components of the screen and what they do."""

    def __init__(self, shared: Recommender, visit: gr.State, uploads: bool, store: Uploads) -> None:
        self.shared, self.visit, self.limits = shared, visit, store.limits
        self.own = gr.State(Own(store), delete_callback=Own.leave)
        self._own_of: weakref.WeakKeyDictionary[Visit, Own] = weakref.WeakKeyDictionary()
        self._sessions: weakref.WeakValueDictionary[str, Own] = weakref.WeakValueDictionary()
        self._genres: weakref.WeakKeyDictionary[Catalog, list[str]] = weakref.WeakKeyDictionary()
        self._fresh = Own(store)
        with gr.Column(elem_id="lr-catalogue", min_width=0):
            self.head = self._html(head_html(self._fresh, shared.catalog, "en"))
            self._lay_out_bring(uploads)
            self._lay_out_search()
        self._wire()

    def _html(self, value: str = "", **more: Any) -> gr.HTML:
        return gr.HTML(value, apply_default_css=False, js_on_load=None, **more)

    def _lay_out_search(self) -> None:
        small: dict[str, Any] = {"min_width": 0, "scale": 0}
        with gr.Row(elem_classes="lr-cat-row"):
            self.query = gr.Textbox(
                label=_say("en", "search"), placeholder=_say("en", "search_hint"),
                max_length=300, scale=3, min_width=160, elem_id="lr-cat-query",
            )  # fmt: skip
            self.go = gr.Button(_say("en", "go"), elem_classes="lr-cat-button", **small)
        with gr.Row(elem_classes="lr-cat-row"):
            self.genre = gr.Dropdown(label=_say("en", "genre"), min_width=150, scale=1)
            years: dict[str, Any] = {"max_length": 4, "min_width": 90, "scale": 1}
            self.first = gr.Textbox(label=_say("en", "first"), **years)
            self.last = gr.Textbox(label=_say("en", "last"), **years)
            self.sort = gr.Dropdown(label=_say("en", "sort"), min_width=150, scale=1)
        self.results = self._html(elem_id="lr-cat-results")
        with gr.Row(elem_classes="lr-cat-row lr-cat-turn"):
            self.previous = gr.Button(_say("en", "previous"), elem_classes="lr-cat-button", **small)
            self.next = gr.Button(_say("en", "next"), elem_classes="lr-cat-button", **small)
        listed = self._listed(self._fresh, "en")
        for component, update in (listed | self._filters(self._fresh, "en")).items():
            for name, value in update.items():
                if name != "__type__":
                    setattr(component, name, value)

    def _lay_out_bring(self, uploads: bool) -> None:
        button: dict[str, Any] = {"elem_classes": "lr-cat-button", "min_width": 0, "scale": 0}
        self.bring = gr.Accordion(
            _say("en", "bring"), open=False, visible=uploads, elem_id="lr-cat-bring"
        )
        with self.bring:
            self.note = self._html(self._note("en"))
            with gr.Row(elem_classes="lr-cat-row"):
                self.file = gr.File(label=_say("en", "file"), height=130, min_width=200)
                with gr.Column(min_width=200):
                    self.hub = gr.Textbox(
                        label=_say("en", "hub"), placeholder=_say("en", "hub_hint"), max_length=200
                    )
                    self.split = gr.Textbox("train", label=_say("en", "split"), max_length=80)
                    self.fetch = gr.Button(_say("en", "read_hub"), **button)
            self.said = self._html(elem_id="lr-cat-said")
            self.report = self._html(elem_id="lr-cat-report")
            with gr.Column(visible=False, min_width=0) as self.mapping:
                self.map_head = self._html(self._map_head("en"))
                self.columns: dict[str, gr.Dropdown] = {}
                with gr.Row(elem_classes="lr-cat-fields"):
                    self._dropdowns(FIELDS[:MAIN])
                self.further = gr.Accordion(_say("en", "more_fields"), open=False)
                with self.further, gr.Row(elem_classes="lr-cat-fields"):
                    self._dropdowns(FIELDS[MAIN:])
                self.build = gr.Button(_say("en", "build"), variant="primary", **button)
            with gr.Row(visible=False, elem_classes="lr-cat-row") as self.ready:
                self.use = gr.Button(_say("en", "use"), variant="primary", **button)
                self.back = gr.Button(_say("en", "back"), visible=False, **button)
                self.delete = gr.Button(_say("en", "delete"), **button)
                self.switch_note = self._html(self._switch_note("en"))

    def _dropdowns(self, fields: Sequence[str]) -> None:
        for name in fields:
            self.columns[name] = gr.Dropdown(
                [(_say("en", "no_column"), "")], value="", label=_say("en", f"field_{name}"),
                min_width=170, scale=1,
            )  # fmt: skip

    # -- what is shown ------------------------------------------------------------------------

    def _note(self, ui: str) -> str:
        said = _say(ui, "bring_note", size=self.limits.size >> 20, rows=self.limits.rows)
        return f'<p class="lr-note">{escape(said)}</p>'

    def _map_head(self, ui: str) -> str:
        return (
            f'<div class="lr-cat-head"><h3>{escape(_say(ui, "map"))}</h3>'
            f"<p>{escape(_say(ui, 'map_note'))}</p></div>"
        )

    def _switch_note(self, ui: str) -> str:
        return f'<p class="lr-note">{escape(_say(ui, "switch_note"))}</p>'

    def _catalog(self, own: Own) -> Catalog:
        return (own.recommender or self.shared).catalog

    def _genres_of(self, own: Own) -> list[str]:
        catalog = self._catalog(own)
        if catalog not in self._genres:
            self._genres[catalog] = _genres(catalog)
        return self._genres[catalog]

    def _listed(self, own: Own, ui: str) -> Updates:
        """The list as the visitor's view has it, and the buttons that turn its pages."""
        try:
            items, total, page = found(self._catalog(own), own.view)
        except LLMRecError:
            _log.exception("the catalogue could not be searched")
            wrong = f'<p class="lr-problem" role="alert">{escape(sentence(ui, "failed"))}</p>'
            off = gr.update(interactive=False)
            return {self.results: gr.update(value=wrong), self.previous: off, self.next: off}
        own.view = dataclasses.replace(own.view, page=page)
        most = bool(fold(own.view.query)) and total == MOST_HITS
        return {
            self.results: gr.update(value=list_html(items, total, page, ui, most)),
            self.previous: gr.update(interactive=page > 0),
            self.next: gr.update(interactive=(page + 1) * PAGE < total),
        }

    def _filters(self, own: Own, ui: str) -> Updates:
        """The filters of the catalogue that is shown, in a language."""
        genres = sorted(
            ((display_name("genre", g, ui), g) for g in self._genres_of(own)),
            key=lambda pair: pair[0].casefold(),
        )
        sorts = [(_say(ui, "title_first" if s == "title" else s), s) for s in SORTS]
        return {
            self.genre: gr.update(choices=[(_say(ui, "any"), ""), *genres], value=own.view.genre),
            self.sort: gr.update(choices=sorts, value=own.view.sort),
        }

    def _brought(self, own: Own, ui: str) -> Updates:
        """What was brought, and what can be done with it."""
        return {
            self.said: message_html(own, ui),
            self.report: report_html(own, ui),
            self.mapping: gr.update(visible=own.read is not None),
            self.build: gr.update(
                value=_say(ui, "build"), variant="primary" if own.built is None else "secondary"
            ),
            self.ready: gr.update(visible=own.built is not None),
            self.use: gr.update(value=_say(ui, "use"), visible=own.recommender is None),
            self.back: gr.update(value=_say(ui, "back"), visible=own.recommender is not None),
        }

    def _mapped(self, own: Own, ui: str) -> Updates:
        """The dropdowns of the fields, for the columns of the file and with what is guessed."""
        columns = own.read.columns if own.read else ()
        guessed = propose(own.read) if own.read else {}
        choices = [(_say(ui, "no_column"), ""), *((c, c) for c in columns)]
        return {
            dropdown: gr.update(choices=choices, value=guessed.get(name, ""))
            for name, dropdown in self.columns.items()
        }

    def _texts(self, visit: Visit) -> Updates:
        own, ui = self._own_of.get(visit, self._fresh), visit.language
        columns = own.read.columns if own.read else ()
        choices = [(_say(ui, "no_column"), ""), *((c, c) for c in columns)]
        return {
            self.head: head_html(own, self.shared.catalog, ui),
            self.query: gr.update(label=_say(ui, "search"), placeholder=_say(ui, "search_hint")),
            self.go: _say(ui, "go"),
            self.first: gr.update(label=_say(ui, "first")),
            self.last: gr.update(label=_say(ui, "last")),
            **_joined(
                self._listed(own, ui),
                self._filters(own, ui),
                {
                    self.genre: gr.update(label=_say(ui, "genre")),
                    self.sort: gr.update(label=_say(ui, "sort")),
                    self.previous: gr.update(value=_say(ui, "previous")),
                    self.next: gr.update(value=_say(ui, "next")),
                },
            ),
            self.bring: gr.update(label=_say(ui, "bring")),
            self.note: self._note(ui),
            self.file: gr.update(label=_say(ui, "file")),
            self.hub: gr.update(label=_say(ui, "hub"), placeholder=_say(ui, "hub_hint")),
            self.split: gr.update(label=_say(ui, "split")),
            self.fetch: _say(ui, "read_hub"),
            self.map_head: self._map_head(ui),
            self.further: gr.update(label=_say(ui, "more_fields")),
            self.delete: _say(ui, "delete"),
            self.switch_note: self._switch_note(ui),
            **self._brought(own, ui),
            **{
                dropdown: gr.update(label=_say(ui, f"field_{name}"), choices=choices)
                for name, dropdown in self.columns.items()
            },
        }

    # -- what happens -------------------------------------------------------------------------

    def look(
        self,
        own: Own,
        visit: Visit,
        query: str | None,
        genre: Any,
        first: Any,
        last: Any,
        sort: Any,
    ) -> Updates:
        """Look for something else."""
        self._own_of[visit] = own
        own.view = View(
            str(query or "")[:300],
            genre if genre in self._genres_of(own) else "",
            _year(first),
            _year(last),
            sort if sort in SORTS else "best",
        )
        return self._listed(own, visit.language)

    def turn(self, own: Own, visit: Visit, step: int) -> Updates:
        """Show another page of the list."""
        self._own_of[visit] = own
        own.view = dataclasses.replace(own.view, page=max(0, own.view.page + step))
        return self._listed(own, visit.language)

    def take(
        self, file: str | None, own: Own, visit: Visit, request: gr.Request
    ) -> Iterator[Updates]:
        """Read an uploaded file."""
        if file:
            yield from self._reading(
                own, visit, request, lambda folder: read_file(Path(file), folder, self.limits)
            )

    def take_hub(
        self, name: str | None, split: str | None, own: Own, visit: Visit, request: gr.Request
    ) -> Iterator[Updates]:
        """Read a data set of the Hub."""
        yield from self._reading(
            own,
            visit,
            request,
            lambda folder: read_hub(name or "", split or "", folder, self.limits),
        )

    def _reading(
        self, own: Own, visit: Visit, request: gr.Request, read: Callable[[Path], Read]
    ) -> Iterator[Updates]:
        self._own_of[visit] = own
        self._sessions[str(request.session_hash)] = own
        if not own.begin():
            yield {self.said: _refused("busy", visit.language)}
            return
        try:
            if own.recommender is not None:
                self._anew(visit, self.shared.things)()
            folder = own.folder()
            own.said = ("progress", "reading", {})
            yield {self.own: own, **self._brought(own, visit.language)}
            own.read = read(folder)
            own.name, own.said = own.read.name, None
        except Refusal as refusal:
            own.forget()
            own.said = ("refusal", refusal.key, refusal.values)
        finally:
            own.end()
        yield self._everything(own, visit) | self._mapped(own, visit.language)

    def make(self, own: Own, visit: Visit, *columns: str | None) -> Iterator[Updates]:
        """Build the catalogue, telling how far it is."""
        ui, read = visit.language, own.read
        self._own_of[visit] = own
        if read is None:
            return
        if not own.begin():
            yield {self.said: _refused("busy", ui)}
            return
        job = None
        try:
            mapping = {n: c for n, c in zip(self.columns, columns, strict=True) if c}
            job = _Build(own, read, mapping)
            while job.running:
                key = "building" if job.done < read.rows - 256 else "indexing"
                own.said = ("progress", key, {"done": job.done, "rows": read.rows})
                yield {self.said: message_html(own, ui)}
                job.wait(0.25)
            self._keep(own, visit, job.result())
        except Refusal as refusal:
            own.said = ("refusal", refusal.key, refusal.values)
        except Exception as error:
            if not isinstance(error, LLMRecError):
                _log.exception("a catalogue could not be built")
            own.said = ("refusal", "failed", {})
        finally:
            if job is not None:
                job.stopped = True
            own.end()
        yield self._everything(own, visit)

    def _keep(self, own: Own, visit: Visit, built: Built) -> None:
        """Put a catalogue in the place of the one before, also for answers that came from that."""
        before, own.built, own.said = own.built, built, None
        if own.recommender is not None:
            own.recommender = self.shared.with_catalog(built.catalog)
            self._anew(visit, own.recommender.things)()
        if before is not None:
            shutil.rmtree(before.catalog.path.parent, ignore_errors=True)

    def switch(self, own: Own, visit: Visit, to_own: bool) -> Updates:
        """Let the visitor's answers come from the own catalogue, or from the page's again."""
        self._own_of[visit] = own
        visit.other = lambda: own.recommender
        if to_own and own.built is not None:
            own.recommender = self.shared.with_catalog(own.built.catalog)
            own.said = ("note", "switched", {})
        else:
            own.recommender = None
            own.said = ("note", "returned", {})
        return self._begin_anew(own, visit)

    def remove(self, own: Own, visit: Visit) -> Updates:
        """Delete what the visitor brought."""
        self._own_of[visit] = own
        if not own.begin():
            return {self.said: _refused("busy", visit.language)}
        try:
            own.forget()
            own.said = ("note", "deleted", {})
        finally:
            own.end()
        return self._begin_anew(own, visit) | {self.file: None}

    def _begin_anew(self, own: Own, visit: Visit) -> Updates:
        own.view = View()
        own.back = self._anew(visit, self.shared.things)
        self._anew(visit, (own.recommender or self.shared).things)()
        return self._everything(own, visit) | {self.query: "", self.first: "", self.last: ""}

    def _anew(self, visit: Visit, things: Things) -> Callable[[], None]:
        """Begins a conversation anew, about what another catalogue holds."""
        there = weakref.ref(visit)

        def begin() -> None:
            if (visit := there()) is not None:
                visit.clear()
                visit.things = things

        return begin

    def _everything(self, own: Own, visit: Visit) -> Updates:
        ui = visit.language
        return {
            self.own: own,
            self.head: head_html(own, self.shared.catalog, ui),
            **self._listed(own, ui),
            **self._filters(own, ui),
            **self._brought(own, ui),
        }

    def leave(self, request: gr.Request) -> None:
        """Remove what a visitor brought who has closed the page."""
        own = self._sessions.pop(str(request.session_hash), None)
        if own is not None:
            own.leave()

    def _wire(self) -> None:
        shared: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        quick: dict[str, Any] = {**shared, "queue": False, "trigger_mode": "multiple"}
        slow: dict[str, Any] = {
            **shared,
            "concurrency_id": "uploads",
            "concurrency_limit": AT_ONCE,
        }
        state: list[Any] = [self.own, self.visit]
        asked: list[Any] = [self.query, self.genre, self.first, self.last, self.sort]
        listed = [self.results, self.previous, self.next]
        brought = [*self._brought(self._fresh, "en")]
        fields = list(self.columns.values())
        everything: list[Any] = [self.own, self.head, *listed, self.genre, self.sort, *brought]
        gr.on(
            [self.query.submit, self.go.click, self.genre.input, self.sort.input,
             self.first.submit, self.first.blur, self.last.submit, self.last.blur],
            self.look, [*state, *asked], listed, **quick,
        )  # fmt: skip
        self.previous.click(lambda o, v: self.turn(o, v, -1), state, listed, **quick)
        self.next.click(lambda o, v: self.turn(o, v, 1), state, listed, **quick)
        read = {"outputs": [*everything, *fields], **slow}
        taken = self.file.upload(self.take, [self.file, *state], **read)
        fetched = gr.on(
            [self.fetch.click, self.hub.submit],
            self.take_hub,
            [self.hub, self.split, *state],
            **read,
        )
        made = self.build.click(self.make, [*state, *fields], everything, **slow)
        anew = [*everything, self.query, self.first, self.last]
        used = self.use.click(lambda o, v: self.switch(o, v, True), state, anew, **quick)
        back = self.back.click(lambda o, v: self.switch(o, v, False), state, anew, **quick)
        gone = self.delete.click(self.remove, state, [*anew, self.file], **quick)
        self._switched = (taken, fetched, made, used, back, gone)

    def screen(self) -> CatalogueScreen:
        """What the page needs of it."""
        components = [
            self.head, self.query, self.go, self.genre, self.first, self.last, self.sort,
            self.results, self.previous, self.next, self.bring, self.note, self.file, self.hub,
            self.split, self.fetch, self.said, self.report, self.mapping, self.map_head,
            self.further, self.build, self.ready, self.use, self.back, self.delete,
            self.switch_note, *self.columns.values(),
        ]  # fmt: skip
        return CatalogueScreen(components, self._texts, self.own, self._switched, self.leave)


def _refused(key: str, ui: str) -> str:
    return f'<p class="lr-problem" role="alert">{escape(sentence(ui, key))}</p>'


def _joined(*updates: Updates) -> Updates:
    """Updates of the same components as one."""
    out: Updates = {}
    for each in updates:
        for component, update in each.items():
            out[component] = {**out.get(component, {}), **update}
    return out


def _year(value: Any) -> int | None:
    try:
        return max(0, min(9_999, int(value)))
    except (TypeError, ValueError, OverflowError):
        return None


class _Build:
    """A build in a thread of its own, so that the page can tell how far it is."""

    def __init__(self, own: Own, read: Read, mapping: dict[str, str]) -> None:
        self.done = 0
        self.stopped = False
        self._own = own
        self._error: BaseException | None = None
        self._built: Built | None = None
        self._thread = threading.Thread(
            target=self._run, args=(read, mapping), name="llmrec-build", daemon=True
        )
        self._thread.start()

    def _run(self, read: Read, mapping: dict[str, str]) -> None:
        try:
            self._built = build(read, mapping, read.path.parent, self._tell)
        except BaseException as error:  # raised again where the result is asked for
            self._error = error
        if self._own.gone:  # what was written after the folder went
            shutil.rmtree(read.path.parent, ignore_errors=True)

    def _tell(self, done: int) -> None:
        self.done = done
        if self._own.gone or self.stopped:
            raise Refusal("gone", name=plain_name(self._own.name))

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def result(self) -> Built:
        if self._error is not None:
            raise self._error
        assert self._built is not None
        return self._built
