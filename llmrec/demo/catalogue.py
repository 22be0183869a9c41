"""Catalogue hides the screen on which a visitor browses what there is, or brings an own catalogue.

What a visitor brings is the visitor's alone: it lies in a folder of its own, which goes when the
visitor deletes it, brings another, or leaves.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from llmrec.demo.brought import head_html, message_html, refusal_html, report_html
from llmrec.demo.columns import FIELDS, propose
from llmrec.demo.entries import MOST_HITS, PAGE, SORTS, View, found, genres_of, list_html
from llmrec.demo.own import Build, Own
from llmrec.demo.screen import Screen, Updates
from llmrec.demo.texts import Words
from llmrec.demo.untrusted import read_file, read_hub
from llmrec.demo.uploads import Built, Read, Refusal, Uploads
from llmrec.demo.visit import Visit
from llmrec.errors import LLMRecError
from llmrec.titles import fold
from llmrec.wishes import Things
from llmrec.wording import display_name

if TYPE_CHECKING:
    from llmrec.catalog import Catalog
    from llmrec.recommender import Recommender

__all__ = ["CatalogueScreen", "catalogue"]

AT_ONCE = 2  # files read and catalogues built at the same time; more wait in the queue
MAIN = 9  # fields that are offered first

_log = logging.getLogger(__name__)
_say = Words("catalogue").counted


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


# -- finding --------------------------------------------------------------------------------------


# -- HTML -----------------------------------------------------------------------------------------


# -- the screen -----------------------------------------------------------------------------------


def catalogue(
    recommender: Recommender,
    visit: gr.State,
    *,
    uploads: bool = True,
    store: Uploads | None = None,
) -> CatalogueScreen:
    """Lay out the screen in the current Blocks and wire it.

    Parameters
    ----------
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
            self._genres[catalog] = genres_of(catalog)
        return self._genres[catalog]

    def _listed(self, own: Own, ui: str) -> Updates:
        """The list as the visitor's view has it, and the buttons that turn its pages."""
        try:
            items, total, page = found(self._catalog(own), own.view)
        except LLMRecError:
            _log.exception("the catalogue could not be searched")
            wrong = refusal_html(ui, "failed")
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
            yield {self.said: refusal_html(visit.language, "busy")}
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
            yield {self.said: refusal_html(ui, "busy")}
            return
        job = None
        try:
            mapping = {n: c for n, c in zip(self.columns, columns, strict=True) if c}
            job = Build(own, read, mapping)
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
            return {self.said: refusal_html(visit.language, "busy")}
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
