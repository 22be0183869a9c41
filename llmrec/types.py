"""The nouns of llmrec: frozen values that every step takes and gives, standard library only.

All of them go to JSON and back (``to_dict`` / ``from_dict``); lists become tuples on the way in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from llmrec.errors import InputError

__all__ = [
    "LANGUAGES",
    "MAX_MESSAGE_CHARS",
    "Answer",
    "Conversation",
    "Example",
    "Item",
    "Message",
    "Passage",
    "Preferences",
    "Recommendation",
    "Reply",
    "Source",
    "Spread",
    "Uncertainty",
]

Role = Literal["system", "user", "assistant"]
LANGUAGES = ("en", "pt", "es")
MAX_MESSAGE_CHARS = 8_000

_T = TypeVar("_T", bound="_Value")


def _of(kind: type[_T], value: Any) -> Any:
    """``value``, built from plain JSON types where it came so."""
    return kind.from_dict(value) if isinstance(value, Mapping) else value


def _plain(value: Any) -> Any:
    if isinstance(value, _Value):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value


class _Value:
    """JSON both ways, for the dataclasses below."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The value as plain JSON types; fields that hold their default are left out."""
        out: dict[str, Any] = {}
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            default = f.default_factory() if callable(f.default_factory) else f.default
            if value != default:
                out[f.name] = _plain(value)
        return out

    @classmethod
    def from_dict(cls: type[_T], data: Mapping[str, Any]) -> _T:
        """Build the value from plain JSON types. Raises InputError for unknown or misfit fields."""
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(data) - known)
        if unknown:
            raise InputError(
                f"{cls.__name__} has no field {unknown[0]!r}: it has {', '.join(sorted(known))}"
            )
        kwargs = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**kwargs)
        except TypeError as e:
            raise InputError(f"{cls.__name__} cannot be built from {dict(data)!r}: {e}") from None


@dataclass(frozen=True)
class Item(_Value):
    """One thing that can be recommended: a film, a product.

    Attributes
    ----------
    id: unique in its catalogue.
    title: the name used in English, or the only one there is.
    titles: further names by language (``{"pt": ("Tubarão",), "es": ("Tiburón",)}``), best first.
    runtime: minutes. price: in the catalogue's currency. rating: 0 to 10.
    popularity: 0 (for the curious) to 1 (known to nearly everyone).
    descriptions: one text per language; ``description`` is the one for all the others.
    image: the https address of a picture, see ``llmrec.records.picture``. Who asks for the items
        of a catalogue, in words or by wishes, finds nothing by it.
    """

    id: str
    title: str
    year: int | None = None
    original_title: str = ""
    titles: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    genres: tuple[str, ...] = ()
    directors: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    runtime: int | None = None
    keywords: tuple[str, ...] = ()
    description: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict, hash=False)
    popularity: float = 0.0
    rating: float | None = None
    price: float | None = None
    image: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "titles", {k: tuple(v) for k, v in self.titles.items()})

    @property
    def people(self) -> tuple[str, ...]:
        """Directors, then cast, each once."""
        return tuple(dict.fromkeys(self.directors + self.cast))

    @property
    def label(self) -> str:
        """``Title (year)``, or the title alone."""
        return f"{self.title} ({self.year})" if self.year else self.title

    @property
    def all_titles(self) -> tuple[str, ...]:
        """Every name the item goes by, the main one first, each once."""
        names = [self.title, self.original_title, *(t for ts in self.titles.values() for t in ts)]
        return tuple(dict.fromkeys(n for n in names if n))

    def title_in(self, language: str) -> str:
        """The name used in ``language`` (``en``, ``pt``, ``es``), else the main one."""
        names = self.titles.get(language)
        return names[0] if names else self.title

    def label_in(self, language: str) -> str:
        """``label`` with the name used in ``language``."""
        title = self.title_in(language)
        return f"{title} ({self.year})" if self.year else title

    def description_in(self, language: str) -> str:
        """The description in ``language``, else the general one, else any."""
        other = next(filter(None, self.descriptions.values()), "")
        return self.descriptions.get(language) or self.description or other


@dataclass(frozen=True)
class Message(_Value):
    """One turn of a conversation, in the chat form everyone writes.

    Attributes
    ----------
    items: ids of the catalogue items that this turn shows or names, in order.
    """

    role: Role
    content: str
    items: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ("system", "user", "assistant"):
            raise InputError(
                f"a message has the role {self.role!r}: use 'system', 'user' or 'assistant'"
            )
        if not isinstance(self.content, str):
            raise InputError(
                f"a message has content of type {type(self.content).__name__}: give it as text"
            )
        # Half of a surrogate pair is no text: it becomes a question mark.
        object.__setattr__(self, "content", self.content.encode("utf-8", "replace").decode())


@dataclass(frozen=True)
class Conversation(_Value):
    """What has been said so far, and what the user did with the items shown.

    Attributes
    ----------
    liked, disliked, seen: item ids, from buttons or earlier knowledge of the user.
    language: ``en``, ``pt`` or ``es`` to fix the language of replies, empty to follow the user.
    """

    messages: tuple[Message, ...] = ()
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    language: str = ""

    def __post_init__(self) -> None:
        messages = tuple(
            m if isinstance(m, Message) else Message.from_dict(m) for m in self.messages
        )
        object.__setattr__(self, "messages", messages)
        if self.language and self.language not in LANGUAGES:
            raise InputError(
                f"the language is {self.language!r}: use one of {', '.join(LANGUAGES)}, or none"
            )

    @classmethod
    def of(cls, conversation: ConversationLike) -> Conversation:
        """Take what a caller has: a text, a list of messages, or a Conversation.

        Raises
        ------
        InputError: nothing was said, the last word is not the user's, or a message is over
            ``MAX_MESSAGE_CHARS`` characters.
        """
        if isinstance(conversation, Conversation):
            made = conversation
        elif isinstance(conversation, str):
            made = cls((Message("user", conversation),))
        elif isinstance(conversation, Iterable):
            made = cls(tuple(conversation))  # type: ignore[arg-type]
        else:
            raise InputError(
                f"a conversation was given as {type(conversation).__name__}: "
                "give a text, a list of {'role', 'content'} messages or a Conversation"
            )
        if not made.messages:
            raise InputError("the conversation is empty: give at least one message of the user")
        last = made.messages[-1]
        if last.role != "user":
            raise InputError(f"the last message is by {last.role!r}: it must be the user's")
        if not last.content.strip():
            raise InputError("the message is empty: say what you are looking for")
        for m in made.messages:
            if len(m.content) > MAX_MESSAGE_CHARS:
                raise InputError(
                    f"a message has {len(m.content):,} characters: at most "
                    f"{MAX_MESSAGE_CHARS:,} are read, please shorten it"
                )
        return made

    @property
    def mentioned(self) -> tuple[str, ...]:
        """Ids of every item shown or named so far, in order, each once."""
        return tuple(dict.fromkeys(i for m in self.messages for i in m.items))

    def add(self, *messages: Message) -> Conversation:
        """The conversation with further messages at its end."""
        return dataclasses.replace(self, messages=self.messages + messages)


ConversationLike = str | Iterable[Message | Mapping[str, Any]] | Conversation


@dataclass(frozen=True)
class Preferences(_Value):
    """What was understood of a conversation: hard wishes, soft ones, and known items.

    Hard wishes are executed exactly. ``genres`` and ``people`` must all be met, of the ``_any``
    kinds and of ``countries`` and ``languages`` one is enough, of the ``_out`` kinds none may be.

    Attributes
    ----------
    genres ... languages_out: names as the catalogue writes them ("Sci-Fi", "Brazil").
    directors: people who must have directed; ``people`` may be on either side of the camera.
    year_min, year_max: inclusive. runtime_min, runtime_max: minutes, inclusive.
    price_min, price_max: in the catalogue's currency, inclusive.
    keywords: themes and moods asked for (soft). keywords_out: themes that must not occur (hard).
    similar_to, likes, dislikes, seen: item ids.
    unknown: names that the user gave and the catalogue does not have, word for word.
    text: what else the search should look for, as free words.
    language: the user's: ``en``, ``pt`` or ``es``.
    """

    genres: tuple[str, ...] = ()
    genres_any: tuple[str, ...] = ()
    genres_out: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    people_any: tuple[str, ...] = ()
    people_out: tuple[str, ...] = ()
    directors: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    countries_out: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    languages_out: tuple[str, ...] = ()
    year_min: int | None = None
    year_max: int | None = None
    runtime_min: int | None = None
    runtime_max: int | None = None
    price_min: float | None = None
    price_max: float | None = None
    keywords: tuple[str, ...] = ()
    keywords_out: tuple[str, ...] = ()
    similar_to: tuple[str, ...] = ()
    likes: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    text: str = ""
    language: str = "en"

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.type == "int | None":
                if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                    raise InputError(f"{f.name} is {value!r}: give a whole number or nothing")
            elif f.type == "float | None":
                if value is not None and not _is_amount(value):
                    raise InputError(f"{f.name} is {value!r}: give a number, 0 or more, or nothing")
            elif f.type == "str":
                if not isinstance(value, str):
                    raise InputError(f"{f.name} is {value!r}: give a text")
            elif isinstance(value, str) or not all(isinstance(v, str) for v in value):
                raise InputError(f"{f.name} is {value!r}: give a list of names")
            else:
                object.__setattr__(self, f.name, tuple(dict.fromkeys(value)))
        if self.language not in LANGUAGES:
            raise InputError(f"language is {self.language!r}: use one of {', '.join(LANGUAGES)}")


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")  # type: ignore[operator]


@dataclass(frozen=True)
class Recommendation(_Value):
    """One entry of a ranked list.

    Attributes
    ----------
    rank: from 1.
    score: natural logarithm of the item's probability, normalised over the candidates ranked.
    reason: why, in the user's language, from catalogue fields and wishes that can be checked.
    matched, relaxed: wishes the item meets, and wishes it does not meet, in the user's language.
    signals: what spoke for it: by name, how much of its utility (in natural logarithms) it owes
        to a signal, beside an average candidate.
    """

    item: Item
    rank: int
    score: float
    reason: str = ""
    matched: tuple[str, ...] = ()
    relaxed: tuple[str, ...] = ()
    signals: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "item", _of(Item, self.item))


@dataclass(frozen=True)
class Passage(_Value):
    """Words of the catalogue that an answer stands on.

    Attributes
    ----------
    field: the field of Item they come from; the words of a field that is no text are its value.
    start: where in that text they begin, in characters.
    score: how well they fit the question, 0 to 1.
    """

    text: str
    field: str = "description"
    start: int = 0
    score: float = 0.0


@dataclass(frozen=True)
class Source(_Value):
    """An item that an answer comes from.

    Attributes
    ----------
    score: how surely it is the item asked about, 0 to 1.
    how: it was named ("title"), spoken of before ("conversation"), met what was counted or
        compared over the whole catalogue ("query"), or its text was found ("search").
    passages: the words used, best first.
    """

    item: Item
    score: float
    how: Literal["title", "conversation", "query", "search"]
    passages: tuple[Passage, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "item", _of(Item, self.item))
        object.__setattr__(self, "passages", tuple(_of(Passage, p) for p in self.passages))


@dataclass(frozen=True)
class Answer(_Value):
    """What the catalogue says to a question, or that it does not say.

    Attributes
    ----------
    text: in the user's language; of a refusal, what is missing.
    kind: what was asked for: "fact" (a field of an item), "check" (whether something is so),
        "text" (what a description says), "comparison", "count", "superlative", "list",
        "describe".
    sources: the items it comes from, with the words used, best first.
    supported: whether every number, name and year of the text stands in the sources. A refusal
        claims nothing, and is supported.
    refused: whether the catalogue does not say. why: "not said", "unknown title", "no match",
        "out of scope" or "unclear".
    confidence: 0 to 1, how surely the question was read and the item found; not calibrated.
    corrected: sentences of a model that the sources do not support, and that were left out.
    """

    text: str
    kind: str = "text"
    sources: tuple[Source, ...] = ()
    supported: bool = True
    refused: bool = False
    why: str = ""
    language: str = "en"
    confidence: float = 1.0
    corrected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(_of(Source, x) for x in self.sources))

    def message(self) -> Message:
        """The answer as the assistant's turn of a conversation."""
        return Message("assistant", self.text, tuple(s.item.id for s in self.sources))


@dataclass(frozen=True)
class Reply(_Value):
    """A whole answer.

    Attributes
    ----------
    text: the prose, in the user's language.
    sources: the items that the text speaks of.
    route: what the message was taken for: "recommend", "question", "describe", "smalltalk" or
        "out_of_scope". answer: of a question or a title, what the catalogue says.
    confidence: 0 to 1; where ``calibrated``, the probability that at least one of the items shown
        is what the user wants, as measured on the data set it was fitted on; else how much of the
        model's own probability the list holds, which is not the same and mostly too much.
    ungrounded: titles named by the text that are not in the catalogue; always empty under
        constrained decoding.
    removed: names that the model's prose gave and that are neither recommended nor the user's
        own; the sentences with them were left out.
    """

    text: str
    recommendations: tuple[Recommendation, ...] = ()
    preferences: Preferences = field(default_factory=Preferences)
    sources: tuple[Item, ...] = ()
    confidence: float = 0.0
    ungrounded: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    calibrated: bool = False
    route: str = "recommend"
    answer: Answer | None = None

    def __post_init__(self) -> None:
        named = tuple(_of(Recommendation, r) for r in self.recommendations)
        object.__setattr__(self, "recommendations", named)
        object.__setattr__(self, "preferences", _of(Preferences, self.preferences))
        object.__setattr__(self, "sources", tuple(_of(Item, i) for i in self.sources))
        object.__setattr__(self, "answer", _of(Answer, self.answer))

    def message(self) -> Message:
        """The reply as the assistant's turn of a conversation."""
        if self.answer is not None:
            return self.answer.message()
        return Message("assistant", self.text, tuple(r.item.id for r in self.recommendations))


@dataclass(frozen=True)
class Spread(_Value):
    """How much the answers to one request differ, of which one thing was varied.

    Attributes
    ----------
    source: what was varied: "clarifications" of the request, "paraphrases" of it, or the "order"
        of what the model is told.
    varied: what of it, in words.
    variants: how many answers are compared. support: how many items they weigh together.
    total, expected, mutual_information: in nats; the first is the sum of the others.
    jaccard, rbo: mean pairwise Jaccard index and rank-biased overlap of the lists, 0 to 1.
    """

    source: str
    varied: str
    variants: int
    support: int
    total: float = 0.0
    expected: float = 0.0
    mutual_information: float = 0.0
    jaccard: float = 1.0
    rbo: float = 1.0

    @property
    def aleatoric(self) -> float:
        """The doubt that lies in the request, in nats.

        What a clearer request would take away; where only wording or order was varied, what
        stays whatever they are.
        """
        return self.mutual_information if self.source == "clarifications" else self.expected

    @property
    def epistemic(self) -> float:
        """The doubt that lies in the model, in nats.

        What stays however clear the request is; where only wording or order was varied, what
        they change though they should not.
        """
        return self.expected if self.source == "clarifications" else self.mutual_information


@dataclass(frozen=True)
class Uncertainty(_Value):
    """How sure a recommendation is, and whose doubt it is.

    Attributes
    ----------
    total: entropy in nats of the answer, over all that was varied in the first source.
    aleatoric, epistemic: its two parts, as the first source names them; None where nothing was
        varied, as one answer alone does not tell them apart.
    consistency: mean rank-biased overlap of the lists where they should be the same: over
        paraphrases and orders; None where neither was tried.
    confidence, calibrated: as in Reply.
    kind: "sure", "ambiguous" (mostly the request), "unknowing" (mostly the model), or "unsure"
        where the parts are not known.
    reading: ``kind`` as a sentence in the user's language.
    items: ids of the list that all this is about, best first.
    single: measures of the plain answer alone, by name.
    sources: one Spread for each source.
    """

    total: float
    aleatoric: float | None = None
    epistemic: float | None = None
    consistency: float | None = None
    confidence: float = 0.0
    calibrated: bool = False
    kind: str = "unsure"
    reading: str = ""
    items: tuple[str, ...] = ()
    single: Mapping[str, float] = field(default_factory=dict, hash=False)
    sources: tuple[Spread, ...] = ()

    def __post_init__(self) -> None:
        spreads = tuple(s if isinstance(s, Spread) else Spread.from_dict(s) for s in self.sources)
        object.__setattr__(self, "sources", spreads)


@dataclass(frozen=True)
class Example(_Value):
    """One case for evaluation or training.

    Attributes
    ----------
    conversation: what was said up to the point where a good answer is wanted; may be empty.
    relevant: ids of the items a good answer holds.
    reply: what the human recommender said.
    id: unique in its data set.
    dialogue: what it was cut from; intervals are drawn over dialogues.
    user: whose it is, where a data set says so.
    likes: items that the user is known to like, from the whole dialogue and profile. It tells
        what comes after the conversation: for training targets, never for a prompt.
    history: items the user dealt with before the conversation, the latest last.
    """

    conversation: Conversation
    relevant: tuple[str, ...] = ()
    reply: str = ""
    id: str = ""
    dialogue: str = ""
    user: str = ""
    likes: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.conversation, Mapping):
            object.__setattr__(self, "conversation", Conversation.from_dict(self.conversation))
