"""Systems hides what is asked for a list: a ranking, a recommender, a choice, or written lists.

Whatever a system says of an example depends on the example, the batch it is in and the options,
and on nothing that was asked before: a run that goes on says what an uninterrupted one says.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llmrec.choosing import Tally
from llmrec.decoding import rank_titles, title_trie
from llmrec.evaluation.baselines import prediction, seed_of
from llmrec.evaluation.predictions import Prediction
from llmrec.lexicon import guess_language
from llmrec.models.base import LanguageModel, ScoringModel
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.preferences import Understander
from llmrec.prompting import TITLE_END, FewShot, Strategy, ZeroShot, parse_titles, reply_prompt
from llmrec.ranker import LearnedRanker
from llmrec.ranker.linear import Ranker
from llmrec.recommender import MAX_K, Recommender
from llmrec.types import MAX_MESSAGE_CHARS, Conversation, Example, Message, Reply
from llmrec.wishes import wishes

if TYPE_CHECKING:
    from llmrec.catalog import Catalog

__all__ = [
    "Choice",
    "ChoosingSystem",
    "MatchSystem",
    "ModelSystem",
    "RecommenderSystem",
    "SamplingSystem",
    "System",
    "fitting_shots",
    "listed",
]

TOKENS_A_TITLE = 24
TITLE_TOKENS = 96  # what the recommender leaves for a title after its prompt
REPLY_TOKENS = 120
NAMED = 5  # items that wishes are counted over, and that a reply names
_NOTHING = Message("user", "?")


class System(Protocol):
    """Something that recommends.

    Attributes
    ----------
    name: what it is called in tables. about: plain facts for the record of the run.
    """

    name: str

    @property
    def about(self) -> Mapping[str, Any]:
        """See above."""
        ...

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        """A prediction for each example of a batch; ``seconds`` is filled in by the run.

        Raises
        ------
        LLMRecError: an example cannot be answered.
        """
        ...


class _Asking:
    """What systems with a model share: the same beginning for every batch, and the tokens fed."""

    def __init__(
        self, name: str, model: LanguageModel, catalog: Catalog, *, strategy: Strategy | None = None
    ) -> None:
        self.name = name
        self._model, self._catalog = model, catalog
        profile = getattr(model, "profile", None) or Profile()
        self._profile: Profile = dataclasses.replace(profile, writes=False)
        self._strategy = strategy or ZeroShot(profile.detail)
        self._recommender = self._made("constrained" if hasattr(model, "prefill") else "match")
        self._prefix = _beginning(model, self._recommender, self._strategy)
        runs = getattr(getattr(model, "runner", None), "mode", None)  # found out now, if ever
        before = _fed(model)
        self._afresh()
        self.about: dict[str, Any] = {
            "model": model.name,
            "detail": self._strategy.detail,
            "shots": len(self._strategy.examples()) // 2,
            "shared_tokens": len(self._prefix),
            "shared_tokens_fed": _fed(model) - before,
            "runs": runs,
        }

    def _made(self, grounding: Any, ranker: Ranker | LearnedRanker | None = None) -> Recommender:
        return Recommender(
            self._model,
            self._catalog,
            grounding=grounding,
            strategy=self._strategy,
            ranker=ranker,
            profile=self._profile,
        )

    def _afresh(self) -> None:
        """Forget what former batches taught, but what all prompts begin with."""
        if (forget := getattr(self._model, "forget", None)) is not None:
            forget(self._prefix)
        known, profile = self._recommender.understander, self._profile
        self._recommender.understander = Understander(
            known.lexicon, self._catalog.get, self._model, lead=profile.lead, detail=profile.detail
        )

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        """See ``System``."""
        self._afresh()
        before = _fed(self._model)
        known = [_known(e, self._catalog) for e in examples]
        if self._strategy.detail != "turns":  # all together, for the prompts to come
            self._recommender.understander.understand([e.conversation for e in known])
        made = self._predictions(known)
        whole, over = divmod(_fed(self._model) - before, max(len(examples), 1))
        return [
            dataclasses.replace(  # the facts are the example's own, unknown items and all
                p,
                relevant=tuple(dict.fromkeys(e.relevant)),
                mentioned=e.conversation.mentioned,
                tokens=whole + (n < over),
            )
            for n, (e, p) in enumerate(zip(examples, made, strict=True))
        ]

    def _predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        raise NotImplementedError


class ModelSystem(_Asking):
    """The model's own exact ranking of the whole catalogue, by the likelihood of each title.

    Parameters
    ----------
    depth: how many items are wanted beside the mentioned ones.
    strategy: how the model is asked; None: zero-shot, as its profile says.
    """

    def __init__(
        self,
        name: str,
        model: ScoringModel,
        catalog: Catalog,
        *,
        depth: int,
        strategy: Strategy | None = None,
    ) -> None:
        super().__init__(name, model, catalog, strategy=strategy)
        self._scoring, self._depth = model, depth
        self._trie = title_trie(model, catalog.labels, terminator=TITLE_END)

    def _predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        prompts = [self._recommender.prompt_ids(e.conversation) for e in examples]
        deep = [self._depth + len(e.conversation.mentioned) for e in examples]
        found = rank_titles(self._scoring, prompts, self._trie, max(deep))
        ids = self._catalog.ids
        return [
            prediction(
                e,
                [ids[r] for r in ranking.rows[:k].tolist()],
                scores=tuple(np.round(ranking.scores[:k], 4).tolist()),
            )
            for e, k, ranking in zip(examples, deep, found, strict=True)
        ]


class RecommenderSystem(_Asking):
    """The whole recommender: understanding, filters, all signals.

    Where its model writes replies, it writes one for the first five items as well, for the
    language of replies; else the reply is the filled-in one.

    Parameters
    ----------
    ranker: how signals are combined; None: the recommender's own weights.
    """

    def __init__(
        self,
        name: str,
        model: LanguageModel,
        catalog: Catalog,
        *,
        depth: int,
        strategy: Strategy | None = None,
        ranker: Ranker | None = None,
    ) -> None:
        super().__init__(name, model, catalog, strategy=strategy)
        self._recommender = self._made("constrained", ranker)
        self._writes = (getattr(model, "profile", None) or Profile()).writes
        self._depth = depth

    def _predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        asked = [_askable(e.conversation) for e in examples]
        deep = [min(MAX_K, self._depth + len(e.conversation.mentioned)) for e in examples]
        replies: list[Reply] = self._recommender.chat(
            asked, max(deep), repeat=True, route="recommend"
        )
        texts = self._prose(asked, replies)
        out = []
        for e, k, reply, text in zip(examples, deep, replies, texts, strict=True):
            listed = reply.recommendations[:k]
            asked_for = wishes(reply.preferences)
            first = [r.item for r in listed[:NAMED]]
            met = sum(w.met_by(i) for w in asked_for for i in first)
            out.append(
                prediction(
                    e,
                    [r.item.id for r in listed],
                    scores=tuple(round(r.score, 4) for r in listed),
                    text=text if self._writes else None,
                    wishes=(met, len(asked_for) * len(first)) if asked_for else None,
                    reply_language=_spoken(text, reply, reply.preferences.language),
                )
            )
        return out

    def _prose(self, asked: Sequence[Conversation], replies: Sequence[Reply]) -> list[str]:
        if not self._writes:
            return [r.text for r in replies]
        prompts = [
            reply_prompt(c, r.preferences, [x.item for x in r.recommendations[:NAMED]])
            for c, r in zip(asked, replies, strict=True)
        ]
        return self._model.generate(prompts, max_new_tokens=REPLY_TOKENS)


@dataclass(frozen=True)
class Choice:
    """What a model chose from, and how.

    Attributes
    ----------
    order: ids of candidates as the signals order them; the first ``counts.listed`` were shown.
    counts: of the one answer.
    """

    order: tuple[str, ...]
    counts: Tally


@dataclass(frozen=True)
class _Apart(Tally):
    """A tally that keeps what is added to it apart."""

    each: list[Tally] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        self.each.append(other)
        return self


class ChoosingSystem(_Asking):
    """The whole recommender, whose model names numbers of candidates that are listed to it.

    What it does not choose follows in the order of the signals. Nothing that was mentioned is
    listed, as in use: so only new targets can be found.

    Parameters
    ----------
    depth: how many items are wanted. length: how many the model is asked for.
    ranker: how the signals are combined; None: the recommender's own weights.

    Attributes
    ----------
    choices: of the last batch, by the example's id.
    """

    def __init__(
        self,
        name: str,
        model: LanguageModel,
        catalog: Catalog,
        *,
        depth: int,
        length: int = 10,
        ranker: Ranker | LearnedRanker | None = None,
    ) -> None:
        super().__init__(name, model, catalog)
        self._recommender = self._made("choose", ranker)
        self._depth, self._length = depth, length
        self.choices: dict[str, Choice] = {}

    def _predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        self.choices = {}
        asked = [_askable(e.conversation) for e in examples]
        tally = self._recommender.tally = _Apart()
        replies: list[Reply] = self._recommender.chat(asked, self._length, route="recommend")
        signals = copy.copy(self._recommender)  # the same with a model that has no opinion
        signals.model, signals.tally = ScriptedModel(""), Tally()
        orders = signals.recommend(asked, min(MAX_K, max(self._depth, self._length)))
        answers = (t for t in tally.each if t.listed)
        out = []
        for e, reply, order in zip(examples, replies, orders, strict=True):
            chosen = [r.item.id for r in reply.recommendations]
            all_of = tuple(r.item.id for r in order)
            counts = next(answers) if chosen else Tally()
            self.choices[e.id] = Choice(all_of, counts)
            out.append(
                prediction(
                    e,
                    list(dict.fromkeys((*chosen, *all_of))),
                    tiers={"chosen": counts.picked} if counts.picked else {},
                    outside=counts.unknown,
                    duplicates=counts.repeated,
                )
            )
        return out


class MatchSystem(_Asking):
    """A list that the model writes greedily, its titles matched back to the catalogue.

    Parameters
    ----------
    length: how many titles are read of a list.
    """

    def __init__(
        self,
        name: str,
        model: LanguageModel,
        catalog: Catalog,
        *,
        length: int = 10,
        strategy: Strategy | None = None,
    ) -> None:
        super().__init__(name, model, catalog, strategy=strategy)
        self._length, self._matched = length, _Matching(catalog)

    def _predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        prompts = [self._prompt(e.conversation) for e in examples]
        texts = self._model.generate(prompts, max_new_tokens=TOKENS_A_TITLE * self._length)
        return [self._read(e, [text]) for e, text in zip(examples, texts, strict=True)]

    def _prompt(self, conversation: Conversation) -> tuple[Message, ...]:
        """What asks for a list, with as much of what was said as leaves room for it."""
        said = conversation
        limit = getattr(self._model, "max_tokens", None)
        prompt = self._recommender.prompt(said)
        if limit is None or not hasattr(self._model, "prompt_ids"):
            return prompt
        room = limit - min(TOKENS_A_TITLE * self._length, limit // 2)
        while len(self._model.prompt_ids(prompt)) > room and said.messages:
            said = dataclasses.replace(said, messages=said.messages[len(said.messages) // 2 + 1 :])
            prompt = self._recommender.prompt(said)
        return prompt

    def _read(self, example: Example, texts: Sequence[str]) -> Prediction:
        """The lists as one ranking: by how many name an item, then by its mean rank in these."""
        tiers: Counter[str] = Counter()
        ranks: dict[int, list[int]] = {}
        outside = duplicates = 0
        for text in texts:
            own: dict[int, int] = {}
            strange: set[str] = set()
            for rank, title in enumerate(listed(text)[: self._length], 1):
                row, tier = self._matched(title)
                if row in own or title in strange:
                    duplicates += 1
                elif row is None:
                    outside += 1
                    strange.add(title)
                else:
                    tiers[tier] += 1
                    own[row] = rank
            for row, rank in own.items():
                ranks.setdefault(row, []).append(rank)
        order = sorted(ranks, key=lambda r: (-len(ranks[r]), sum(ranks[r]) / len(ranks[r]), r))
        return prediction(
            example,
            [self._catalog.ids[r] for r in order],
            scores=tuple(round(len(ranks[r]) / len(texts), 4) for r in order),
            text="\n\n".join(texts),
            tiers=dict(sorted(tiers.items())),
            outside=outside,
            duplicates=duplicates,
        )


class SamplingSystem(MatchSystem):
    """Lists that the model writes by dice, matched back; the more of them name an item the better.

    Equal votes are told apart by the mean rank in the lists that name the item. The dice of an
    example are its own, so that neither batches nor interruptions change what it gets.

    Parameters
    ----------
    lists, length, temperature: so many lists of so many titles at that temperature.
    """

    def __init__(
        self,
        name: str,
        model: LanguageModel,
        catalog: Catalog,
        *,
        lists: int = 20,
        length: int = 10,
        temperature: float = 0.7,
        seed: int = 0,
    ) -> None:
        super().__init__(name, model, catalog, length=length)
        self._lists, self._temperature, self._seed = lists, temperature, seed

    def predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        """See ``System``."""
        return [p for e in examples for p in super(SamplingSystem, self).predictions([e])]

    def _predictions(self, examples: Sequence[Example]) -> list[Prediction]:
        (example,) = examples
        texts = self._model.generate(
            [self._prompt(example.conversation)] * self._lists,
            max_new_tokens=TOKENS_A_TITLE * self._length,
            temperature=self._temperature,
            seed=seed_of(self._seed, example.id),
        )
        return [self._read(example, texts)]


class _Matching:
    """Titles to rows and tiers; each title is matched once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[str, tuple[int | None, str]] = {}

    def __call__(self, title: str) -> tuple[int | None, str]:
        if title not in self._known:
            match = self._catalog.match_title(title)
            self._known[title] = (match.row, match.tier)
        return self._known[title]


def listed(text: str) -> list[str]:
    """The titles that a text lists, in order and as often as they stand in it."""
    titles = set(parse_titles(text))
    return [t for line in text.splitlines() for t in parse_titles(line) if t in titles]


def fitting_shots(model: LanguageModel, strategy: FewShot) -> FewShot:
    """The strategy with as many of its last shots as leave half of what a model reads free."""
    limit = getattr(model, "max_tokens", None)
    if limit is None or not hasattr(model, "prompt_ids"):
        return strategy
    shots = strategy.shots
    while shots:
        fitting = dataclasses.replace(strategy, shots=shots)
        asked = (Message("system", "recommend"), *fitting.examples(), _NOTHING)
        if len(model.prompt_ids(asked)) <= (limit - TITLE_TOKENS) // 2:
            break
        shots = shots[1:]
    return dataclasses.replace(strategy, shots=shots)


def _beginning(model: LanguageModel, recommender: Recommender, strategy: Strategy) -> list[int]:
    """The tokens that every prompt begins with: the task and the examples."""
    if not hasattr(model, "prompt_ids"):
        return []
    asked = recommender.prompt(Conversation((_NOTHING,)))[: 1 + len(strategy.examples())]
    a, b = (model.prompt_ids((*asked, Message("user", said))) for said in ("a", "?"))
    same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    ids: list[int] = a[:same]
    return ids


def _fed(model: LanguageModel) -> int:
    """Tokens that a model was fed so far; of a server, those it counts; else 0."""
    if (usage := getattr(model, "usage", None)) is not None:
        return int(usage.prompt_tokens + usage.completion_tokens)
    return int(getattr(model, "fed", 0))


def _known(example: Example, catalog: Catalog) -> Example:
    """The example with those items only that the catalogue has, as a recommender wants it."""
    talk = example.conversation

    def only(ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(i for i in ids if i in catalog)

    messages = tuple(dataclasses.replace(m, items=only(m.items)) for m in talk.messages)
    talk = dataclasses.replace(
        talk,
        messages=messages,
        liked=only(talk.liked),
        disliked=only(talk.disliked),
        seen=only(talk.seen),
    )
    return dataclasses.replace(example, conversation=talk)


def _askable(conversation: Conversation) -> Conversation:
    """The conversation as users have it: it ends with their words, and none is over-long."""
    messages = tuple(
        dataclasses.replace(m, content=m.content[-MAX_MESSAGE_CHARS:])
        for m in conversation.messages
        if m.content.strip() or m.items
    )
    if not messages or messages[-1].role != "user" or not messages[-1].content.strip():
        messages = (*messages, _NOTHING)
    return dataclasses.replace(conversation, messages=messages)


def _spoken(text: str, reply: Reply, otherwise: str) -> str:
    """The language of a reply's own words: the titles in it are taken out first."""
    names = {n for r in reply.recommendations for n in r.item.all_titles}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "")
    return guess_language(text, otherwise)
