"""Recommender hides the whole way from a conversation to a grounded, ranked, explained answer."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import math
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from llmrec.answering import MIN_SIMILARITY, Answerer
from llmrec.answering.sentences import small_talk
from llmrec.answering.texts import Length
from llmrec.choosing import Question, Tally, ask, listed, question, rank_scores, verified
from llmrec.decoding import rank_titles, score_titles, title_trie
from llmrec.errors import InputError, ModelError
from llmrec.lexicon import Lexicon
from llmrec.models.base import LanguageModel, ScoringModel
from llmrec.models.files import find_file
from llmrec.models.profile import Profile
from llmrec.planning import Plan, Planner
from llmrec.preferences import Understander, Understood
from llmrec.prompting import (
    LIST_PREFIX,
    TITLE_END,
    Strategy,
    Style,
    ZeroShot,
    choose_prompt,
    parse_titles,
    recommend_prompt,
    reply_prompt,
)
from llmrec.ranker import LearnedRanker
from llmrec.ranker.learned import FILES as RANKER_FILES
from llmrec.ranker.linear import LinearRanker, Ranker
from llmrec.ranker.share import standardised
from llmrec.relaxing import checkable
from llmrec.routing import ROUTES, Route, Router, Turn
from llmrec.signals import Signals
from llmrec.titles import fold
from llmrec.trie import TitleTrie
from llmrec.types import (
    Answer,
    Conversation,
    ConversationLike,
    Item,
    Message,
    Preferences,
    Recommendation,
    Reply,
    Source,
    Uncertainty,
)
from llmrec.uncertainty.confidence import Confidence
from llmrec.uncertainty.ensemble import Answered, Ensemble, Method
from llmrec.uncertainty.measures import certainties, single_pass
from llmrec.uncertainty.variants import Variant
from llmrec.wishes import Things, things_of, wishes
from llmrec.wording import chip_texts, reason, reply_text, wish_labels

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = ["Event", "Grounding", "Recommender"]

_log = logging.getLogger(__name__)

Grounding = Literal["constrained", "choose", "match"]
Array = npt.NDArray[np.float64]

MAX_K = 100
MAX_PROMPT = 4_096  # tokens, where the model does not say how many it reads
TITLE_TOKENS = 96  # of these left for a title
SHORTLIST = 300  # candidates whose titles are scored: so many of the other signals' best
SEARCH_TOKENS = 2_000  # of the search for these
MODEL_CHOICES = 50  # and so many that the model itself finds likeliest
SURE_ROUTE = 0.8  # of the classifier, from which on no model is asked what a message is
SURE_TALK = 0.95  # up to which a title alone is no small talk
LEAST_SURE = 0.45  # under which a message is taken for a wish
SPARE = 10  # more than are shown, in the place of second entries of one film


@dataclass(frozen=True)
class Event:
    """A step of a streamed answer.

    Attributes
    ----------
    kind: "preferences", then "recommendations", then "text" once for each piece of prose, then
        "reply" with the whole. Of a question or a title "answer", "text" and "reply"; of small
        talk and the like the last two. The field of that name holds the value.
    """

    kind: Literal["preferences", "recommendations", "answer", "text", "reply"]
    preferences: Preferences | None = None
    recommendations: tuple[Recommendation, ...] = ()
    answer: Answer | None = None
    text: str = ""
    reply: Reply | None = None


class _Weighed(NamedTuple):
    """Candidates, the logarithm of each one's probability, and what each signal gave to it."""

    rows: npt.NDArray[np.int32]
    logprobs: Array
    parts: Mapping[str, Array]


class Recommender:
    """Recommends from a catalogue, in conversation.

    Use ``Recommender.from_pretrained()``; the constructor takes finished parts.

    Parameters
    ----------
    model: any language model of ``llmrec.models``.
    catalog: what can be recommended.
    grounding: "constrained" ranks titles of the catalogue only, by construction; "choose" lists
        the best candidates by the other signals, of which the model names the numbers, and
        verifies them; "match" lets the model write a list and matches it back. None:
        "choose" for an Endpoint, else "constrained".
    strategy: how the model is asked.
    ranker: how signals are combined; None: a LinearRanker, in which the model counts as much as
        its profile says. A LearnedRanker brings its own signals.
    profile: how the model is best used; None: as the model itself says.
    confidence: what ``eval/uncertainty.py`` found for this recommender: makes the confidence of
        replies a probability. None: it stays uncalibrated.
    """

    def __init__(
        self,
        model: LanguageModel,
        catalog: Catalog,
        *,
        grounding: Grounding | None = None,
        strategy: Strategy | None = None,
        ranker: Ranker | LearnedRanker | None = None,
        profile: Profile | None = None,
        confidence: Confidence | None = None,
    ) -> None:
        grounding = grounding or getattr(model, "grounding", "constrained")
        if grounding not in ("constrained", "choose", "match"):
            raise InputError(f"grounding is {grounding!r}: use 'constrained', 'choose' or 'match'")
        if grounding == "constrained" and not hasattr(model, "prefill"):
            raise ModelError(
                f"{model.name} does not give token probabilities, which constrained ranking needs: "
                "use grounding='choose' or 'match', or a local model"
            )
        self.model = model
        self.catalog = catalog
        self.grounding: Grounding = grounding
        self.tally = Tally()  # of what the model chose, where it chooses
        self._counting = threading.Lock()
        self._load = lru_cache(maxsize=1)(_loaded)  # the last model that answers were asked of
        self._profile = profile or getattr(model, "profile", None) or Profile()
        self._strategy = strategy or ZeroShot(self._profile.detail)
        self.learned = ranker if isinstance(ranker, LearnedRanker) else None
        self._given = None if isinstance(ranker, LearnedRanker) else ranker
        if self.learned is not None and not self._signals.learned_items:
            raise InputError(
                f"the ranker knows none of the {len(catalog):,} items of the catalogue: give the "
                "catalogue of the data that it was learned from"
            )
        self._ranker: Ranker = (
            LinearRanker.beside(ranker.model_share)
            if isinstance(ranker, LearnedRanker)
            else ranker
            or (LinearRanker.of_products if self.things == "products" else LinearRanker)(
                self._profile.taste
            )
        )
        self.confidence = confidence
        if confidence is not None and (misfit := confidence.misfit(self.measured_as)):
            raise InputError(
                f"the confidence was measured with another recommender, its {misfit}: measure "
                "this one with eval/uncertainty.py, or give no confidence"
            )

    def with_catalog(self, catalog: Catalog) -> Recommender:
        """One with the same model, grounding, strategy, weights and profile, for another catalogue.

        A learned ranker and a measured confidence hold for the items they were learned from, and
        stay behind.
        """
        return Recommender(
            self.model,
            catalog,
            grounding=self.grounding,
            strategy=self._strategy,
            ranker=self._given,
            profile=self._profile,
        )

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] | LanguageModel | None = None,
        adapter: str | os.PathLike[str] | None = None,
        catalog: str | os.PathLike[str] | Catalog | None = None,
        *,
        revision: str | None = None,
        quantization: Literal["4bit", "8bit"] | None = None,
        dtype: str = "auto",
        device: str = "auto",
        chat_template_from: str | None = None,
        trust_remote_code: bool = False,
        grounding: Grounding | None = None,
        strategy: Strategy | None = None,
        ranker: str | os.PathLike[str] | Ranker | LearnedRanker | None = None,
    ) -> Recommender:
        """Load a recommender.

        Parameters
        ----------
        model: a Hub id or folder of a causal language model; None for the embedded one.
        adapter: a Hub id or folder of a LoRA adapter for it.
        catalog: a folder that ``Catalog.save`` or a build wrote; None for the embedded films.
        quantization: "4bit" or "8bit" loads the weights so (bitsandbytes).
        chat_template_from: take the chat template of another tokenizer.
        trust_remote_code: run code that comes with the model. Off unless asked for.
        ranker: a Hub id or folder that ``train/ranker.py`` wrote, or how signals are combined.
            None: the learned one beside the adapter or the model, where there is one whose items
            are in the catalogue.

        A ``confidence.json`` beside the ranker, the adapter or the model is used where it was
        measured with this catalogue and this way of ranking.

        Raises
        ------
        ModelError: the model or the adapter cannot be loaded.
        CatalogError: the catalogue cannot be opened.
        MissingExtraError: an optional package is needed.
        """
        from llmrec.catalog import Catalog

        given = {"adapter": adapter, "revision": revision, "quantization": quantization}
        if model is not None and not isinstance(model, (str, os.PathLike)):
            for name, value in given.items():
                if value is not None:
                    raise InputError(
                        f"{name} is {value!r} with a model that is loaded already: "
                        "give the model by its name, or load it with that option"
                    )
        places: list[str | os.PathLike[str]] = []
        if model is None or isinstance(model, (str, os.PathLike)):
            from llmrec.models.local import EMBEDDED, LocalModel

            places = [p for p in (adapter, EMBEDDED if model is None else model) if p is not None]

            model = LocalModel.from_pretrained(
                model,
                adapter=adapter,
                revision=revision,
                quantization=quantization,
                dtype=dtype,
                device=device,
                chat_template_from=chat_template_from,
                trust_remote_code=trust_remote_code,
            )
        if catalog is None:
            catalog = Catalog.embedded()
        elif not isinstance(catalog, Catalog):
            catalog = Catalog.open(catalog)
        if isinstance(ranker, (str, os.PathLike)):
            places.insert(0, ranker)
            ranker = LearnedRanker.find(ranker)
        elif ranker is None and grounding in (None, "constrained"):
            ranker = _learned_beside(places, catalog, revision)
        made = cls(model, catalog, grounding=grounding, strategy=strategy, ranker=ranker)
        found = Confidence.beside(*places, revision=revision)
        if found is not None and (misfit := found.misfit(made.measured_as)):
            _log.info("confidence stays uncalibrated: it was measured otherwise, its %s", misfit)
        else:
            made.confidence = found
        return made

    @property
    def measured_as(self) -> dict[str, str]:
        """What decides the scores besides the model: a calibrated confidence holds for it alone.

        Of a ranker it is its ``fingerprint`` where it has one.
        """
        hand_set = repr(self._ranker) if isinstance(self._ranker, LinearRanker) else ""
        if self.learned is not None:
            hand_set = f"learned {self.learned.fingerprint}"
        return {
            "catalog": self.catalog.fingerprint,
            "grounding": self.grounding,
            "strategy": f"{type(self._strategy).__name__} {self._strategy.detail}",
            "ranker": hand_set
            or str(getattr(self._ranker, "fingerprint", type(self._ranker).__name__)),
        }

    @cached_property
    def things(self) -> Things:
        """What the catalogue holds, which decides what is said of its items."""
        return things_of(self.catalog.known)

    # -- what a user calls --------------------------------------------------------------------

    def understand(self, conversation: ConversationLike) -> Preferences:
        """What was understood of a conversation."""
        return self._prepare([Conversation.of(conversation)], None)[0].preferences

    def plan(
        self,
        conversation: ConversationLike,
        *,
        preferences: Preferences | None = None,
        repeat: bool = False,
    ) -> Plan:
        """What may be recommended, before it is ranked. Parameters as for ``recommend``."""
        asked = self._wishes_alone(Conversation.of(conversation))
        return self._planner(asked, self._prepare([asked], preferences)[0], repeat)

    def narrowing(self, plan: Plan) -> list[int]:
        """How many items are left with none of a plan's wishes met, with the first, with two ..."""
        return self._planner.narrowing(plan)

    @overload
    def recommend(
        self,
        conversation: str | Conversation,
        k: int = ...,
        *,
        preferences: Preferences | None = ...,
        repeat: bool = ...,
    ) -> list[Recommendation]: ...
    @overload
    def recommend(
        self,
        conversation: Sequence[Any],
        k: int = ...,
        *,
        preferences: Preferences | None = ...,
        repeat: bool = ...,
    ) -> Any: ...

    def recommend(
        self,
        conversation: Any,
        k: int = 5,
        *,
        preferences: Preferences | None = None,
        repeat: bool = False,
    ) -> Any:
        """The best items for a conversation, best first.

        Parameters
        ----------
        conversation: a text, a list of messages or a Conversation; or a list of those, which
            gives a list of results, each the same as alone.
        k: how many at most (1 to 100); fewer where fewer meet the wishes.
        preferences: use these instead of understanding the conversation.
        repeat: whether items already shown or named may come again. What was seen or disliked
            never does.

        Raises
        ------
        InputError: an empty conversation, an over-long message, a k out of range.
        """
        asked, single = _as_batch(conversation)
        found = [list(r.recommendations) for r in self._chat(asked, k, preferences, repeat)]
        return found[0] if single else found

    def chat(
        self,
        conversation: Any,
        k: int = 5,
        *,
        preferences: Preferences | None = None,
        repeat: bool = False,
        route: str = "",
    ) -> Any:
        """A whole Reply to a conversation; a list of them for a list of conversations.

        What is asked about items is answered from the catalogue, a title alone is described, and
        what is neither that nor a wish gets a sentence; ``Reply.route`` tells.

        Parameters
        ----------
        route: what the last message is to be taken for, one of ``llmrec.routing.ROUTES``; empty:
            what the router finds. With ``preferences`` given it is always recommended.

        The other parameters are those of ``recommend``.
        """
        asked, single = _as_batch(conversation)
        _check_k(k)
        if route and route not in ROUTES:
            raise InputError(f"route is {route!r}: use one of {', '.join(ROUTES)}, or none")
        routes = [route or self._route(c, preferences) for c in asked]
        wishing = [n for n, r in enumerate(routes) if r == "recommend"]
        talks = [asked[n] if route else self._wishes_alone(asked[n]) for n in wishing]
        found = iter(self._chat(talks, k, preferences, repeat))
        done = [
            self._with_prose(c, next(found)) if r == "recommend" else self._said(c, r, k)
            for c, r in zip(asked, routes, strict=True)
        ]
        return done[0] if single else done

    def stream(
        self,
        conversation: ConversationLike,
        k: int = 5,
        *,
        preferences: Preferences | None = None,
        repeat: bool = False,
        min_similarity: float = MIN_SIMILARITY,
    ) -> Iterator[Event]:
        """The reply as it happens: preferences, recommendations, pieces of text, the whole.

        Closing the iterator stops the model within a step. Parameters as for ``recommend``, and
        ``min_similarity`` as for ``answer``.
        """
        asked = Conversation.of(conversation)
        _check_k(k)
        _check_similarity(min_similarity)
        route = self._route(asked, preferences)
        if route != "recommend":
            yield from self._stream_said(asked, route, k, min_similarity)
            return
        asked = self._wishes_alone(asked)
        understood = self._prepare([asked], preferences)[0]
        yield Event("preferences", preferences=understood.preferences)
        plan = self._planner(asked, understood, repeat)
        reply = self._rank([plan], k)[0]
        yield Event("recommendations", recommendations=reply.recommendations)
        text = ""
        removed: list[str] = []
        for piece in self._prose(asked, reply, removed):
            text += piece
            yield Event("text", text=piece)
        whole = dataclasses.replace(reply, text=text or reply.text, removed=tuple(removed))
        yield Event("reply", reply=whole)

    def chips(self, conversation: ConversationLike, k: int = 4) -> list[str]:
        """Short messages that a user may want to send next, each of which leads somewhere.

        Parameters
        ----------
        conversation: with the assistant's last turn and the items it showed in it.
        k: how many at most.
        """
        said = conversation if isinstance(conversation, Conversation) else _any_turn(conversation)
        shown = said.messages[-1].items if said.messages else ()
        language = self.understander.language(said)
        wanted = self._prepare([said], None)[0].preferences
        genres = Counter(
            g
            for i in self.catalog.get_many(shown)
            for g in i.genres
            if g not in wanted.genres + wanted.genres_any  # "no thriller" is no way on from there
        )
        known = self.catalog.known
        _, unchecked = checkable(wishes(wanted), known)
        texts = chip_texts(genres, language, things=self.things, priced=bool(known.get("price")))
        asked = [said.add(Message("user", text)) for text in texts]
        read = zip(asked, self._prepare(asked, None), strict=True)
        plans = [self._planner(c, u, False) for c, u in read]
        good = [
            p.conversation.messages[-1].content
            for p in plans
            if p.rows.size and not (p.relaxed or p.again or {*p.unchecked} - {*unchecked})
        ]
        return good[:k]

    @overload
    def answer(
        self,
        question: str | Conversation,
        k: int = ...,
        *,
        min_similarity: float = ...,
        model: LanguageModel | str | os.PathLike[str] | None = ...,
    ) -> Answer: ...
    @overload
    def answer(
        self,
        question: Sequence[Any],
        k: int = ...,
        *,
        min_similarity: float = ...,
        model: LanguageModel | str | os.PathLike[str] | None = ...,
    ) -> Any: ...

    def answer(
        self,
        question: Any,
        k: int = 5,
        *,
        min_similarity: float = MIN_SIMILARITY,
        model: LanguageModel | str | os.PathLike[str] | None = None,
    ) -> Any:
        """What the catalogue says to a question, with its sources; or that it does not say.

        Facts that are fields come from them, counts and superlatives from a query over the whole
        catalogue, the rest from passages of descriptions: quoted, or put in words by a model that
        writes, of which only sentences are kept that the sources support.

        Parameters
        ----------
        question: a text or a conversation, whose earlier turns tell what "it" is; or a list of
            those, which gives a list of answers.
        k: how many items at most are named as sources of a list or a count (1 to 100).
        min_similarity: how much of a question's words, weighed by rarity, a passage must hold to
            answer it, 0 to 1; of catalogues with an encoder, or its cosine similarity.
        model: puts the answer in words; a Hub id or folder is loaded. None: the recommender's,
            where it writes.

        Raises
        ------
        InputError: an empty or over-long question; k or min_similarity out of range.
        """
        asked, single = _as_batch(question)
        _check_k(k)
        _check_similarity(min_similarity)
        writer, style = self._writer(model)
        done = [
            self.answerer.answer(c, k, min_similarity=min_similarity, model=writer, style=style)
            for c in asked
        ]
        return done[0] if single else done

    def describe(self, title: str, *, length: Length = "medium", language: str = "") -> Answer:
        """What the catalogue says of a title: its description, and the facts beside it.

        Parameters
        ----------
        title: of an item of the catalogue, in any of its languages, a letter or two off.
        length: "short", "medium" or "long".
        language: of the answer (``en``, ``pt``, ``es``); empty: that of the title's words.

        Raises
        ------
        InputError: no title, or a length or language that there is not.
        """
        asked = Conversation((Message("user", title),), language=language)
        spoken = self.understander.language(Conversation.of(asked))
        return self.answerer.describe(title, length, language or spoken)

    def find(self, question: ConversationLike, k: int = 5) -> list[Source]:
        """The items that a question may be about, best first: named, spoken of, or found."""
        _check_k(k)
        return self.answerer.find(Conversation.of(question), k)

    def route(self, conversation: ConversationLike) -> Route:
        """What the last message is: a wish, a question, a title, small talk, or none of it."""
        return self._routes(Conversation.of(conversation))[-1]

    @overload
    def uncertainty(
        self,
        conversation: str | Conversation,
        k: int = ...,
        *,
        methods: Sequence[Method] | None = ...,
        variants: int = ...,
        seed: int = ...,
    ) -> Uncertainty: ...
    @overload
    def uncertainty(
        self,
        conversation: Sequence[Any],
        k: int = ...,
        *,
        methods: Sequence[Method] | None = ...,
        variants: int = ...,
        seed: int = ...,
    ) -> Any: ...

    def uncertainty(
        self,
        conversation: Any,
        k: int = 5,
        *,
        methods: Sequence[Method] | None = None,
        variants: int = 8,
        seed: int = 0,
    ) -> Any:
        """How sure the first ``k`` are, as an Uncertainty; a list of them for a list.

        The request is put in several ways, and the answers to all of them are compared.

        Parameters
        ----------
        methods: what is varied: "clarifications" says what the user left open, "paraphrases" says
            the same in other words, "order" changes the order of few-shot examples, listed
            candidates or films named; "logits" varies nothing. None: all that can be.
        variants: how many answers are compared for each method.
        seed: the same one gives the same variants.

        Raises
        ------
        InputError: as ``recommend``; or a method that does not exist, or "order" where the
            model's prompts list nothing.
        """
        asked, single = _as_batch(conversation)
        _check_k(k)
        ensemble = Ensemble(
            self._answered,
            self.catalog.items_at,
            self._strategy,
            self.grounding == "constrained",
            self.model if self._profile.writes else None,
            self.confidence,
        )
        found = ensemble(asked, k, methods, variants, seed)
        return found[0] if single else found

    # -- what is no wish ----------------------------------------------------------------------

    @cached_property
    def answerer(self) -> Answerer:
        """The answering step, to be used alone."""
        return Answerer(self.catalog, self.understander.lexicon)

    @cached_property
    def _router(self) -> Router:
        return Router(
            self.model, lead=self._profile.lead, detail=self._profile.detail, sure=SURE_ROUTE
        )

    @cached_property
    def _quick_router(self) -> Router:
        """For turns that were answered before: no model is asked again."""
        return Router(lead="rules-only")

    def _routes(self, conversation: Conversation) -> list[Route]:
        """What each message of the user is."""
        marked = iter(self.understander.marked(conversation))
        language = self.understander.language(conversation)
        routes: list[Route] = []
        shown = 0
        last = conversation.messages[-1]
        for m in conversation.messages:
            if m.role == "assistant":
                shown = len(m.items)
            elif m.role == "user":
                previous = routes[-1].kind if routes else ""
                turn = Turn(next(marked), language, shown, previous)
                router = self._router if m is last else self._quick_router
                routes += router.route_many([turn])
        return routes

    def _route(self, conversation: Conversation, preferences: Preferences | None) -> str:
        """What the last message is answered as; where it is doubtful, as a wish."""
        if preferences is not None:
            return "recommend"
        route = self._routes(conversation)[-1]
        said = conversation.messages[-1].content
        if route.kind == "smalltalk" and route.confidence < SURE_TALK and self._is_title(said):
            return "describe"
        return route.kind if route.confidence >= LEAST_SURE else "recommend"

    def _is_title(self, text: str) -> bool:
        return self.catalog.match_title(text).tier in ("exact", "alternative", "title_year")

    def _wishes_alone(self, conversation: Conversation) -> Conversation:
        """The conversation without the messages that were no wishes, so that none is read in."""
        routes = iter(self._routes(conversation)[:-1])
        kept = []
        for m in conversation.messages[:-1]:
            if m.role == "user":
                route = next(routes)
                if route.kind != "recommend" and route.confidence >= LEAST_SURE:
                    continue
            kept.append(m)
        return dataclasses.replace(conversation, messages=(*kept, conversation.messages[-1]))

    def _so_far(self, conversation: Conversation, language: str) -> Preferences:
        """What was wished for before the last message."""
        wishes = self._wishes_alone(conversation).messages[:-1]
        if not any(m.role == "user" for m in wishes):
            return Preferences(language=language)
        before = dataclasses.replace(conversation, messages=wishes)
        known = self.understander.understand([before])[0].preferences
        return dataclasses.replace(known, language=language)

    def _said(
        self, conversation: Conversation, route: str, k: int, least: float = MIN_SIMILARITY
    ) -> Reply:
        """The reply to what is no wish."""
        writer, style = self._writer(None)
        language = self.understander.language(conversation)
        known = self._so_far(conversation, language)
        if route in ("smalltalk", "out_of_scope"):
            return Reply(small_talk(conversation, route, language), preferences=known, route=route)
        if route == "describe":
            answer = self.answerer.described(conversation)
        else:
            answer = self.answerer.answer(
                conversation, k, min_similarity=least, model=writer, style=style
            )
        sources = tuple(s.item for s in answer.sources)
        return Reply(answer.text, (), known, sources, answer.confidence, route=route, answer=answer)

    def _stream_said(
        self, conversation: Conversation, route: str, k: int, least: float
    ) -> Iterator[Event]:
        reply = self._said(conversation, route, k, least)
        if reply.answer is not None:
            yield Event("answer", answer=reply.answer)
        for piece in re.findall(r"\S+\s*", reply.text):
            yield Event("text", text=piece)
        yield Event("reply", reply=reply)

    def _writer(
        self, model: LanguageModel | str | os.PathLike[str] | None
    ) -> tuple[LanguageModel | None, Style]:
        """The model that puts answers in words, if any, and the form in which it is asked."""
        if isinstance(model, (str, os.PathLike)):
            model = self._load(os.fspath(model))
        profile = self._profile if model is None else getattr(model, "profile", None) or Profile()
        if not (profile.writes or profile.answers):
            return None, "chat"
        return model or self.model, profile.answers or "chat"

    # -- the steps ----------------------------------------------------------------------------

    def _answered(self, variants: Sequence[Variant]) -> list[Answered]:
        """What each variant is answered with, over all its candidates."""
        unread = [v.conversation for v in variants if v.understood is None]
        read = iter(self._prepare(unread, None))
        understood = [v.understood or next(read) for v in variants]
        plans = []
        for v, u in zip(variants, understood, strict=True):
            plan = self._planner(v.conversation, u, False)
            if v.candidates:
                rows = np.sort(self.catalog.rows([i.id for i in v.candidates]))
                plan = dataclasses.replace(plan, rows=rows)
            plans.append(dataclasses.replace(plan, strategy=v.strategy, listed=v.candidates))
        if self.grounding == "constrained":
            answers = [(w.rows, w.logprobs) for w in self._scored(plans)]
        else:
            lists = [r.recommendations for r in self._rank(plans, 10)]
            answers = [
                (self.catalog.rows([r.item.id for r in own]), np.array([r.score for r in own]))
                for own in lists
            ]
        return [Answered(u, a) for u, a in zip(understood, answers, strict=True)]

    def _chat(
        self,
        conversations: Sequence[Conversation],
        k: int,
        preferences: Preferences | None,
        repeat: bool,
    ) -> list[Reply]:
        _check_k(k)
        read = zip(conversations, self._prepare(conversations, preferences), strict=True)
        return self._rank([self._planner(c, u, repeat) for c, u in read], k)

    def _prepare(
        self, conversations: Sequence[Conversation], preferences: Preferences | None
    ) -> list[Understood]:
        for c in conversations:
            # Raises for an id that is not in the catalogue.
            self.catalog.rows((*c.liked, *c.disliked, *c.seen, *c.mentioned))
        if preferences is None:
            return self.understander.understand(conversations)
        return [Understood(preferences, self.understander.marked(c), 0) for c in conversations]

    @cached_property
    def understander(self) -> Understander:
        """The understanding step, to be used alone."""
        lexicon = Lexicon.of(self.catalog, this_year=datetime.date.today().year)
        return Understander(
            lexicon,
            self.catalog.get,
            self.model,
            lead=self._profile.lead,
            detail=self._profile.detail,
        )

    @cached_property
    def _signals(self) -> Signals:
        return Signals(self.catalog, self.things, self.learned)

    @cached_property
    def _planner(self) -> Planner:
        return Planner(self.catalog, self.things, self._signals)

    @cached_property
    def _trie(self) -> TitleTrie:
        model, labels = self._scoring(), self.catalog.labels
        with contextlib.suppress(OSError):  # no room or no right to keep it
            return title_trie(model, labels, terminator=TITLE_END, cache=self.catalog.shelf)
        return title_trie(model, labels, terminator=TITLE_END)

    def _scoring(self) -> ScoringModel:
        return self.model  # type: ignore[return-value]  # checked by the constructor

    def _rank(self, plans: Sequence[Plan], k: int) -> list[Reply]:
        if self.grounding == "choose":
            return self._choose(plans, k)
        if self.grounding == "match":
            return [
                self._match(p, text, k)
                for p, text in zip(plans, self._written(plans, k), strict=True)
            ]
        replies = []
        for plan, (own, scores, parts) in zip(plans, self._scored(plans), strict=True):
            order = np.lexsort((own, -scores))[: 2 * k + SPARE]
            found = self.catalog.items_at(own[order])
            kept = self._no_twins(found, plan.excluded)[:k]
            best, items = order[kept], [found[n] for n in kept]
            reply = self._reply(plan, items, scores[best].tolist(), k)
            why = self._why(
                plan, own[best], {n: v[best] - v.mean() for n, v in parts.items() if v.size}
            )
            named = tuple(
                dataclasses.replace(r, signals=w)
                for r, w in zip(reply.recommendations, why, strict=True)
            )
            reply = dataclasses.replace(reply, recommendations=named)
            if self.confidence is not None and own.size:
                sure = self.confidence(certainties(single_pass((own, scores))), k)
                reply = dataclasses.replace(reply, confidence=sure, calibrated=True)
            replies.append(reply)
        return replies

    def _no_twins(self, items: Sequence[Item], excluded: frozenset[str]) -> list[int]:
        """The places of items that are no second entry of one before, or of one excluded."""
        titles: dict[str, list[Item]] = {}
        for item in self.catalog.get_many(i for i in sorted(excluded) if i in self.catalog):
            titles.setdefault(fold(item.title), []).append(item)
        kept = []
        for n, item in enumerate(items):
            namesakes = titles.setdefault(fold(item.title), [])
            if not any(_twins(item, other) for other in namesakes):
                kept.append(n)
                namesakes.append(item)
        return kept

    def _why(
        self, plan: Plan, rows: npt.NDArray[np.int32], parts: Mapping[str, Array]
    ) -> list[dict[str, float]]:
        """What each item's utility owes to each signal, beside an average candidate."""
        learned = self._signals.learned_reasons(plan.conversation, plan.preferences, rows)
        why = [{n: round(float(v[i]), 3) for n, v in parts.items()} for i in range(len(rows))]
        if self.learned is not None:
            why = [{n: v for n, v in w.items() if n != "learned"} for w in why]
        return [w | groups for w, groups in zip(why, learned, strict=True)]

    def _scored(self, plans: Sequence[Plan]) -> list[_Weighed]:
        """The candidates that were weighed."""
        others = [self._signals(p.conversation, p.preferences) for p in plans]
        if isinstance(self._ranker, LinearRanker) and not self._ranker.model:  # it need not run
            rows = [self._shortlist(p.rows, o) for p, o in zip(plans, others, strict=True)]
            model_scores = [np.zeros(len(r)) for r in rows]
        else:
            prompts = [self._prompt(p) for p in plans]
            rows = self._shortlists(plans, others, prompts)
            model_scores = self._title_scores(prompts, rows)
        out = []
        for own, signals, lm in zip(rows, others, model_scores, strict=True):
            here = {name: values[own].astype(np.float64) for name, values in signals.items()}
            here["model"] = standardised(lm)
            usable = np.isfinite(lm)
            here = {name: values[usable] for name, values in here.items()}
            own, utility = own[usable], self._ranker(here)
            if own.size:
                utility = utility - utility.max()
                utility = utility - math.log(float(np.exp(utility).sum()))
            parts = self._ranker.parts(here) if isinstance(self._ranker, LinearRanker) else {}
            out.append(_Weighed(own, utility, parts))
        return out

    def _title_scores(
        self, prompts: Sequence[Sequence[int]], rows: Sequence[npt.NDArray[np.int32]]
    ) -> list[Array]:
        """The model's score of each row after each prompt; what is asked twice is run once."""
        asked = [(tuple(p), r.tobytes()) for p, r in zip(prompts, rows, strict=True)]
        first = {key: n for n, key in reversed(list(enumerate(asked)))}
        chosen = sorted(first.values())
        scores = score_titles(
            self._scoring(),
            [prompts[n] for n in chosen],
            self._trie,
            [rows[n] for n in chosen],
        )
        found = dict(zip(chosen, scores, strict=True))
        return [found[first[key]] for key in asked]

    def _shortlists(
        self,
        plans: Sequence[Plan],
        signals: Sequence[Mapping[str, npt.NDArray[np.float32]]],
        prompts: Sequence[Sequence[int]],
    ) -> list[npt.NDArray[np.int32]]:
        """The candidates whose titles are scored: all where they are few, else the best.

        The best are those of the other signals together, and the model's own, found by exact
        search over every candidate.
        """
        long = [n for n, p in enumerate(plans) if p.rows.size > SHORTLIST + MODEL_CHOICES]
        found = rank_titles(
            self._scoring(),
            [prompts[n] for n in long],
            self._trie,
            MODEL_CHOICES,
            allowed=[plans[n].rows for n in long],
            budget=SEARCH_TOKENS,
        )
        out = [p.rows for p in plans]
        for n, ranking in zip(long, found, strict=True):
            best = self._shortlist(plans[n].rows, signals[n])
            out[n] = np.union1d(best, ranking.rows).astype(np.int32)
        return out

    def _shortlist(
        self, rows: npt.NDArray[np.int32], signals: Mapping[str, npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.int32]:
        """The best of the candidates by the signals given."""
        if rows.size <= SHORTLIST:
            return rows
        utility = self._ranker({k: v[rows].astype(np.float64) for k, v in signals.items()})
        return np.sort(rows[np.argsort(-utility, kind="stable")[:SHORTLIST]])

    def prompt(self, conversation: Conversation) -> tuple[Message, ...]:
        """What the model is asked for a list, which training must ask as well.

        Parameters
        ----------
        conversation: its last turn may be anybody's, and it may be empty.
        """
        return self._ask_for_titles(self._asked(conversation), conversation.messages, 8)

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """``prompt`` in tokens, with as much of what was said as the model reads."""
        return self._prompt(self._asked(conversation))

    def _asked(self, conversation: Conversation) -> Plan:
        preferences = Preferences()
        if self._strategy.detail != "turns":
            preferences = self._prepare([conversation], None)[0].preferences
        nothing = np.zeros(0, dtype=np.int32)
        return Plan(conversation, preferences, (), (), nothing, frozenset())

    def _prompt(self, plan: Plan) -> list[int]:
        """The prompt of a plan in tokens: as much of what was said and named as the model reads."""
        model = self._scoring()
        room = getattr(model, "max_tokens", MAX_PROMPT) - TITLE_TOKENS
        messages = plan.conversation.messages
        for named in (8, 3, 1, 0):
            ids = model.prompt_ids(self._ask_for_titles(plan, messages, named), LIST_PREFIX)
            while len(ids) > room and len(messages) > 1:
                messages = messages[len(messages) // 2 :]
                ids = model.prompt_ids(self._ask_for_titles(plan, messages, named), LIST_PREFIX)
            if len(ids) <= room:
                return ids
        nothing = (Message("user", "?"),)
        bare = dataclasses.replace(plan, preferences=Preferences())
        return model.prompt_ids(self._ask_for_titles(bare, nothing, 0), LIST_PREFIX)

    def _ask_for_titles(
        self, plan: Plan, messages: Sequence[Message], named: int, k: int = 10
    ) -> tuple[Message, ...]:
        """The messages that ask for a list; of each kind so many of the last things named."""
        p, titles = self._named(plan.preferences, named)
        conversation = dataclasses.replace(plan.conversation, messages=tuple(messages))
        strategy = plan.strategy or self._strategy
        return recommend_prompt(
            conversation,
            p,
            titles,
            strategy=strategy,
            candidates=plan.listed,
            k=k,
            things=self.things,
        )

    def _named(self, p: Preferences, named: int) -> tuple[Preferences, dict[str, str]]:
        """Preferences with so many of the last things named, and what these are called."""

        def last(values: tuple[str, ...]) -> tuple[str, ...]:
            return values[-named:] if named else ()

        p = dataclasses.replace(
            p,
            similar_to=last(p.similar_to),
            likes=last(p.likes),
            dislikes=last(p.dislikes),
            people=p.people[:8],
            people_any=p.people_any[:8],
            people_out=p.people_out[:8],
            seen=(),  # never a candidate
        )
        ids = (*p.similar_to, *p.likes, *p.dislikes)
        titles = {
            i: self.catalog.labels[r] for i, r in zip(ids, self.catalog.rows(ids), strict=True)
        }
        return p, titles

    def search(self, conversation: ConversationLike, k: int = 10) -> list[tuple[Item, float]]:
        """The model's own top ``k`` titles over all candidates, exact, with log-probabilities.

        This is the constrained search alone, without the other signals.
        """
        plan = self.plan(conversation)
        ranking = rank_titles(
            self._scoring(), [self._prompt(plan)], self._trie, k, allowed=[plan.rows]
        )[0]
        return list(
            zip(self.catalog.items_at(ranking.rows), ranking.logprobs.tolist(), strict=True)
        )

    def _written(self, plans: Sequence[Plan], k: int) -> list[str]:
        prompts = [self._ask_for_titles(p, p.conversation.messages, 8, k) for p in plans]
        return self.model.generate(prompts, max_new_tokens=24 * k)

    def _match(self, plan: Plan, text: str, k: int) -> Reply:
        """A list that the model wrote, matched back to the catalogue."""
        allowed = {i.id for i in self.catalog.items_at(plan.rows)}
        items: list[Item] = []
        ungrounded: list[str] = []
        for title in parse_titles(text):
            item = self.catalog.match_title(title).item
            if item is None:
                ungrounded.append(title)
            elif item.id in allowed and item not in items:
                items.append(item)
        items = items[:k]
        weights = [1.0 / r for r in range(1, len(items) + 1)]
        scores = [math.log(w / sum(weights)) for w in weights]
        reply = self._reply(plan, items, scores, k)
        return dataclasses.replace(reply, ungrounded=tuple(ungrounded))

    def _choose(self, plans: Sequence[Plan], k: int) -> list[Reply]:
        """Lists of which the model chose the first items, by their numbers among candidates."""
        wanted = [p for p in plans if p.rows.size]
        best = [self._best(p, 2 * listed(k)) for p in wanted]
        asked = [self._question(p, b[: listed(k)], k) for p, b in zip(wanted, best, strict=True)]
        texts = ask(self.model, asked, k)
        found = zip(wanted, best, asked, texts, strict=True)
        replies = iter([self._chosen(p, b, a, t, k) for p, b, a, t in found])
        return [next(replies) if p.rows.size else self._reply(p, (), (), k) for p in plans]

    def _best(self, plan: Plan, n: int) -> list[Item]:
        """The first ``n`` candidates by the signals, or as many as the plan lists."""
        if plan.listed:
            return list(plan.listed)
        signals = self._signals(plan.conversation, plan.preferences)
        here = {name: v[plan.rows].astype(np.float64) for name, v in signals.items()}
        order = np.argsort(-self._ranker(here), kind="stable")[: 2 * n + SPARE]
        items = self.catalog.items_at(plan.rows[order])
        return [items[at] for at in self._no_twins(items, plan.excluded)][:n]

    def _question(self, plan: Plan, items: Sequence[Item], k: int) -> Question:
        """What the model is asked of these candidates."""
        p, titles = self._named(plan.preferences, 8)

        def make(some: Sequence[Item], turns: int | None) -> tuple[Message, ...]:
            said = plan.conversation.messages[-(turns or 0) :]
            talk = dataclasses.replace(plan.conversation, messages=said)
            return choose_prompt(talk, p, titles, some, k=k, things=self.things)

        return question(self.model, items, k, make, mixed=not plan.listed)

    def _chosen(self, plan: Plan, best: list[Item], asked: Question, text: str, k: int) -> Reply:
        """The reply that an answer leads to, once verified."""
        chosen = verified(text, asked.order, len(best))
        with self._counting:
            self.tally += chosen.counts
        items = [best[p] for p in chosen.places[:k]]
        scores = rank_scores(len(items), len(asked.order)).tolist()
        reply = self._reply(plan, items, scores, k)
        sure = float(np.exp(scores[: chosen.picked]).sum()) if chosen.picked else 0.0
        return dataclasses.replace(reply, ungrounded=chosen.unknown, confidence=min(1.0, sure))

    def _reply(self, plan: Plan, items: Sequence[Item], scores: Sequence[float], k: int) -> Reply:
        p = plan.preferences
        language = p.language
        near_ids = p.similar_to + p.likes
        near = self.catalog.get_many(near_ids)
        recommendations = []
        for rank, (item, score) in enumerate(zip(items, scores, strict=True), 1):
            met = [w for w in plan.asked if w.met_by(item)]
            missed = [w for w in plan.asked if not w.met_by(item)]
            nearest = self._signals.nearest(item, near)
            recommendations.append(
                Recommendation(
                    item,
                    rank,
                    score,
                    reason(item, p, met, nearest, language, things=self.things),
                    wish_labels(met, language, self.things),
                    wish_labels(missed, language, self.things),
                )
            )
        text = reply_text(
            recommendations,
            p,
            plan.asked,
            plan.relaxed,
            k,
            unchecked=plan.unchecked,
            again=plan.again,
            things=self.things,
        )
        confidence = min(1.0, float(np.exp(list(scores)).sum())) if scores else 0.0
        return Reply(text, tuple(recommendations), p, tuple(items), confidence)

    # -- prose --------------------------------------------------------------------------------

    def _with_prose(self, conversation: Conversation, reply: Reply) -> Reply:
        if not self._profile.writes or not reply.recommendations:
            return reply
        removed: list[str] = []
        text = "".join(self._prose(conversation, reply, removed))
        return dataclasses.replace(reply, text=text or reply.text, removed=tuple(removed))

    def _prose(self, conversation: Conversation, reply: Reply, removed: list[str]) -> Iterator[str]:
        """The words around the list: the model's, sentence by sentence where grounded."""
        if not self._profile.writes or not reply.recommendations:
            yield from re.findall(r"\S+\s*", reply.text)
            return
        chosen = [r.item for r in reply.recommendations]
        allowed = [m.content for m in conversation.messages]
        for item in chosen:
            allowed += (*item.all_titles, *item.people, item.label)
        pieces = self.model.stream(
            reply_prompt(conversation, reply.preferences, chosen, things=self.things),
            max_new_tokens=220,
        )
        for sentence in _sentences(pieces):
            strangers = self.understander.lexicon.strangers(sentence, allowed)
            if strangers:
                removed += strangers
            else:
                yield sentence


def _twins(a: Item, b: Item) -> bool:
    """Whether two items of one title are the same thing twice, as far as their facts tell."""
    apart = a.year is not None and b.year is not None and abs(a.year - b.year) > 1
    return (
        not apart
        and (a.year is None) == (b.year is None)
        and bool(not (a.people and b.people) or {*a.people} & {*b.people})
    )


def _learned_beside(
    places: Sequence[str | os.PathLike[str]], catalog: Catalog, revision: str | None
) -> LearnedRanker | None:
    """The learned ranker that came with an adapter or model, if it is about these items."""
    for place in places:
        if find_file(place, RANKER_FILES[0], revision=revision) is None:
            continue
        found = LearnedRanker.find(place, revision=revision)
        known = sum(i in catalog for i in found.ids)
        if 2 * known >= len(found.ids):
            return found
        _log.info("the ranker of %s is left out: the catalogue has %d of its %d items", place,
                  known, len(found.ids))  # fmt: skip
    return None


def _sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Text pieces joined into whole sentences, as soon as each is complete."""
    buffer = ""
    for piece in pieces:
        buffer += piece
        while m := re.search(r"[.!?…]+[\"”»)]*\s+|\n+", buffer):
            yield buffer[: m.end()]
            buffer = buffer[m.end() :]
    if buffer:
        yield buffer


def _loaded(name: str) -> LanguageModel:
    from llmrec.models.local import LocalModel

    return LocalModel.from_pretrained(name)


def _check_similarity(least: float) -> None:
    if not isinstance(least, (int, float)) or not 0 <= least <= 1:
        raise InputError(f"min_similarity is {least!r}: use a number from 0 to 1")


def _as_batch(conversation: Any) -> tuple[list[Conversation], bool]:
    """The conversations given, and whether it was a single one."""
    if (
        isinstance(conversation, (list, tuple))
        and conversation
        and not isinstance(conversation[0], (Message, Mapping))
    ):
        return [Conversation.of(c) for c in conversation], False
    return [Conversation.of(conversation)], True


def _any_turn(conversation: ConversationLike) -> Conversation:
    """A conversation whose last turn may be anybody's."""
    if isinstance(conversation, (str, Conversation)):
        return Conversation.of(conversation)
    return Conversation(tuple(conversation))  # type: ignore[arg-type]


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MAX_K:
        raise InputError(f"k is {k!r}: ask for 1 to {MAX_K} items")
