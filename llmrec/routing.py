"""Router hides how a message is told to be a wish, a question, a title, small talk, or none of it.

Two deciders stand behind one interface. A small linear classifier reads the words of the message,
with what the lexicon found in it, and the place of the message in the conversation; its weights
are learned by ``train/router.py``. A capable model is asked instead where it leads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import numpy.typing as npt

from llmrec.decoding import score_titles, title_trie
from llmrec.errors import InputError
from llmrec.lexicon import STOPWORDS, Marked, Span
from llmrec.prompting import (
    ROUTE_END,
    ROUTE_PREFIX,
    ROUTES,
    parse_route,
    route_prompt,
    route_schema,
)
from llmrec.softmax import Softmax, read_heads
from llmrec.titles import fold
from llmrec.types import LANGUAGES

if TYPE_CHECKING:
    from llmrec.models.base import LanguageModel, ScoringModel
    from llmrec.trie import TitleTrie
    from llmrec.types import Message

__all__ = ["ROUTES", "Classifier", "Route", "Router", "Turn", "features"]

Lead = Literal["rules", "model", "rules-only"]
Detail = Literal["brief", "full", "turns"]
_Floats = npt.NDArray[np.float64]

FILE = "router.safetensors"
MAX_READ = 1_200  # characters of a message; of a longer one, its beginning and its end
_ANSWER_TOKENS = 24
_MAX_ANSWERS = 10_000
_TOKEN = re.compile(r"<\w+>|[^\W_]+|[?!¿¡\"“”:…=+*/^]|\.\.\.")
_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]")
# "750 ml", "15x20", "32GB", "DHP482": of names of products, seldom of what is said.
_SPEC = re.compile(r"\b(?:\d+(?:[.,x×/]\d+)*\s?[a-z]{1,3}|[a-z]{1,5}-?\d+\w*|\d+x\d+)\b", re.I)


@dataclass(frozen=True)
class Route:
    """What a message is.

    Attributes
    ----------
    kind: one of ``ROUTES``: "recommend" (wishes, tastes, reactions to a list), "question" (about
        items, or over the catalogue), "describe" (a title alone, or an order to present one),
        "smalltalk" or "out_of_scope".
    confidence: the probability of ``kind``.
    probabilities: of each of the five; they sum to 1.
    """

    kind: str
    confidence: float
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class Turn:
    """A message, and what stood before it.

    Attributes
    ----------
    shown: how many items the last turn of the assistant showed.
    previous: the route of the user's message before; "" where there was none.
    """

    marked: Marked
    language: str
    shown: int = 0
    previous: str = ""

    def __post_init__(self) -> None:
        if self.previous and self.previous not in ROUTES:
            raise InputError(
                f"the previous route is {self.previous!r}: use one of {', '.join(ROUTES)}, or none"
            )
        if self.shown < 0:
            raise InputError(f"shown is {self.shown}: give the number of items on display")


class Router:
    """Tells what messages are.

    Parameters
    ----------
    model: is asked where it leads; None leaves all to the classifier.
    lead: "model": the model decides, and the classifier where the model's answer is misshapen;
        "rules" and "rules-only": the classifier decides, as suits a small model.
    detail: how much the prompt explains.
    classifier: other weights than those of the package.
    sure: from this confidence of the classifier on, a model that leads is not asked; 1 asks it
        always.

    The confidence of the classifier is calibrated on messages it was not learned from. That of a
    model is not. Where the model gives token probabilities it is the probability of the label
    among the five. Where it only writes, it comes from the classifier: half of the probability
    goes to the label written, the other half is spread as the classifier spreads it, so that it
    is near 1 where the two agree and near a half where they do not.
    """

    def __init__(
        self,
        model: LanguageModel | None = None,
        *,
        lead: Lead = "rules",
        detail: Detail = "full",
        classifier: Classifier | None = None,
        sure: float = 1.0,
    ) -> None:
        if lead not in ("rules", "model", "rules-only"):
            raise InputError(f"lead is {lead!r}: use 'rules', 'model' or 'rules-only'")
        self._model = model if lead == "model" else None
        self._detail: Detail = detail
        self._given = classifier
        self._sure = sure
        self._answers: dict[tuple[Message, ...], _Floats | str] = {}

    def route(self, marked: Marked, language: str, *, shown: int = 0, previous: str = "") -> Route:
        """What one message is.

        Parameters
        ----------
        shown, previous: as in ``Turn``.

        Raises
        ------
        InputError: the previous route is none, or shown is below 0.
        """
        return self.route_many([Turn(marked, language, shown, previous)])[0]

    def route_many(self, turns: Sequence[Turn]) -> list[Route]:
        """What each of the messages is; a model is asked about all of them together."""
        classified = self._classifier.probabilities(turns)
        said: dict[int, _Floats | str | None] = {}
        if self._model is not None:
            doubtful = [n for n, own in enumerate(classified) if own.max() < self._sure]
            said = dict(zip(doubtful, self._ask([turns[n] for n in doubtful]), strict=True))
        return [_route(own, said.get(n)) for n, own in enumerate(classified)]

    @property
    def _classifier(self) -> Classifier:
        return self._given or Classifier.shipped()

    # -- asking a model -----------------------------------------------------------------------

    def _ask(self, turns: Sequence[Turn]) -> list[_Floats | str | None]:
        """What the model said to each turn: probabilities, a label, or nothing that can be read."""
        prompts = [
            route_prompt(
                _shortened(t.marked.message),
                shown=t.shown,
                previous=t.previous,
                detail="brief" if self._detail == "brief" else "full",
            )
            for t in turns
        ]
        missing = [p for p in dict.fromkeys(prompts) if p not in self._answers]
        if len(self._answers) + len(missing) > _MAX_ANSWERS:
            self._answers.clear()
            missing = list(dict.fromkeys(prompts))
        if missing:
            says = self._scored if hasattr(self._model, "prefill_many") else self._written
            said = self._tried(says, missing)
            self._answers.update(
                (p, a) for p, a in zip(missing, said, strict=True) if a is not None
            )
        return [self._answers.get(p) for p in prompts]

    def _tried(
        self, says: _Says, prompts: Sequence[tuple[Message, ...]]
    ) -> Sequence[_Floats | str | None]:
        """The answers; None to a prompt that is longer than the model reads."""
        try:
            return says(prompts)
        except InputError:
            if len(prompts) == 1:
                return [None]
            return [a for p in prompts for a in self._tried(says, [p])]

    def _written(self, prompts: Sequence[tuple[Message, ...]]) -> list[str | None]:
        assert self._model is not None
        texts = self._model.generate(prompts, max_new_tokens=_ANSWER_TOKENS, schema=route_schema())
        return [parse_route(text) for text in texts]

    def _scored(self, prompts: Sequence[tuple[Message, ...]]) -> list[_Floats | None]:
        model = cast("ScoringModel", self._model)
        ids = [model.prompt_ids(p, ROUTE_PREFIX) for p in prompts]
        return [_normalised(s) for s in score_titles(model, ids, self._labels)]

    @cached_property
    def _labels(self) -> TitleTrie:
        """The five answers as continuations of ``ROUTE_PREFIX``."""
        model = cast("ScoringModel", self._model)
        return title_trie(model, [f'"{route}"' for route in ROUTES], terminator=ROUTE_END)


if TYPE_CHECKING:
    from collections.abc import Callable

    _Says = Callable[[Sequence[tuple[Message, ...]]], Sequence[_Floats | str | None]]


def _route(classified: _Floats, said: _Floats | str | None) -> Route:
    if said is None:
        chances = classified
    elif isinstance(said, str):
        chances = (classified + np.eye(len(ROUTES))[ROUTES.index(said)]) / 2
        chances = chances / chances.sum()
    else:
        chances = said
    best = ROUTES.index(said) if isinstance(said, str) else int(chances.argmax())
    table = {route: float(p) for route, p in zip(ROUTES, chances, strict=True)}
    return Route(ROUTES[best], table[ROUTES[best]], table)


def _normalised(logprobs: _Floats) -> _Floats | None:
    """Log-probabilities as probabilities among themselves; None where there are none to use."""
    usable = np.where(np.isfinite(logprobs), logprobs, -np.inf)
    if not np.isfinite(usable).any():
        return None
    weights = np.exp(usable - usable.max())
    return np.asarray(weights / weights.sum())


def _shortened(text: str) -> str:
    half = MAX_READ // 2
    return text if len(text) <= MAX_READ else f"{text[:half]} ... {text[-half:]}"


# -- the classifier -------------------------------------------------------------------------------


class Classifier:
    """A softmax over hashed features of a message, quick and without a model."""

    def __init__(self, softmax: Softmax) -> None:
        self.softmax = softmax

    def probabilities(self, turns: Sequence[Turn]) -> _Floats:
        """float64 [turns, routes]: how likely each turn is of each route."""
        return np.exp(self.softmax.log_probabilities(map(features, turns)))

    @classmethod
    @cache
    def shipped(cls) -> Classifier:
        """The classifier that comes with the package."""
        with resources.as_file(resources.files("llmrec").joinpath("data")) as folder:
            return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read ``FILE`` as ``train/router.py`` writes it. Raises InputError."""
        heads, _ = read_heads(folder / FILE, "train/router.py")
        if "route" not in heads or heads["route"].classes != ROUTES:
            raise InputError(
                f"{folder / FILE} tells other routes than {', '.join(ROUTES)}: write it anew with "
                "train/router.py"
            )
        return cls(heads["route"])


def features(turn: Turn) -> list[str]:
    """The features of a turn, by name, each once.

    Words and pairs of words of the text in which marks stand as the class of what they mark,
    pieces of four letters of all words but those of titles, the shape of the message,
    and where it stands in the conversation.
    """
    tokens, spoken = _tokens(turn.marked)
    found: dict[str, None] = {}
    edged = ["^", *tokens, "$"]
    for token in tokens:
        found[f"w {token}"] = None
    for left, right in pairwise(edged):
        found[f"b {left} {right}"] = None
    for a, b, c in zip(edged, edged[1:], edged[2:], strict=False):
        found[f"t {a} {b} {c}"] = None
    for word in spoken:
        found[f"r {word}"] = None
        edged_word = f"_{word[:24]}_"
        for i in range(len(edged_word) - 3):
            found[f"c {edged_word[i : i + 4]}"] = None
    about = topics(spoken, turn.language)
    present = sorted({t for found_here in about for t in found_here} | _classes(turn.marked))
    for i, topic in enumerate(present):
        found[f"k {topic}"] = None
        for other in present[i + 1 :]:
            found[f"p {topic} {other}"] = None
    for i, topics_here in enumerate(about[:3]):
        for topic in topics_here:
            found[f"f {min(i, 1)} {topic}"] = None
    for name in (*_shape(turn, tokens, spoken), *_bareness(turn, tokens, spoken, about)):
        found[f"s {name}"] = None
    return list(found)


def topics(spoken: Sequence[str], language: str) -> list[tuple[str, ...]]:
    """What the words from each place on speak of, by ``data/router.tsv``."""
    whole, starts = _topic_words()[language]
    out = []
    for i, word in enumerate(spoken):
        here: dict[str, None] = {}
        for n in range(1, _LONGEST + 1):
            here.update(dict.fromkeys(whole.get(" ".join(spoken[i : i + n]), ())))
        for n in range(2, len(word) + 1):
            here.update(dict.fromkeys(starts.get(word[:n], ())))
        out.append(tuple(here))
    return out


_LONGEST = 4  # words of a phrase of the table
_Topics = dict[str, tuple[str, ...]]


@cache
def _topic_words() -> dict[str, tuple[_Topics, _Topics]]:
    """For each language, what whole phrases speak of, and what beginnings of words do."""
    text = resources.files("llmrec").joinpath("data/router.tsv").read_text(encoding="utf-8")
    tables: dict[str, tuple[_Topics, _Topics]] = {language: ({}, {}) for language in LANGUAGES}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        topic, language, forms = line.split("\t")
        for form in forms.split(";"):
            table = tables[language][form.endswith("*")]
            key = fold(form)
            if topic not in table.get(key, ()):
                table[key] = (*table.get(key, ()), topic)
    return tables


def _classes(marked: Marked) -> set[str]:
    return {_class(span) for span in marked.spans}


def _tokens(marked: Marked) -> tuple[list[str], list[str]]:
    """The words with a class for each span, and all words that are not of a title."""
    pieces: list[str] = []
    spoken: list[str] = []
    at = 0
    for span in marked.spans:
        pieces += [marked.message[at : span.start], f" {_class(span)} "]
        spoken.append(marked.message[at : span.start])
        if span.kind != "title" or span.pointed:
            spoken.append(marked.message[span.start : span.end])
        at = span.end
    rest = marked.message[at:]
    text = _shortened("".join([*pieces, rest]))
    tokens = [t if t[0] == "<" else fold(t) or t for t in _TOKEN.findall(text)]
    return tokens, fold(_shortened(" ".join([*spoken, rest]))).split()


def _class(span: Span) -> str:
    if span.pointed:
        return "<these>" if len(span.values) > 1 else "<this>"
    return f"<{span.kind}>"


def _bareness(
    turn: Turn,
    tokens: Sequence[str],
    spoken: Sequence[str],
    about: Sequence[tuple[str, ...]],
) -> Iterator[str]:
    """Whether a message names a thing, names a kind of thing, or says something."""
    marked = turn.marked
    asks = "asks" if "?" in tokens or "¿" in tokens else "says"
    titled = sum(s.end - s.start for s in marked.spans if s.kind == "title" and not s.pointed)
    yield f"cover {4 * titled // max(len(marked.message), 1)} {asks}"
    if any(s.kind == "price" for s in marked.spans):
        yield f"price {asks}"
    content = [here for word, here in zip(spoken, about, strict=True) if word not in STOPWORDS]
    known = sorted({topic for here in content for topic in here})
    opens = "indefinite" if about and "indef" in about[0] else "other"
    size = min(len(content), 4)
    if content and all(content) and len(known) <= 3:
        yield f"only {' '.join(known)}"
        yield f"only {' '.join(known)} {opens} {asks} {size}"
    yield f"opens {opens} {asks} {size}"
    specs = min(len(_SPEC.findall(_shortened(marked.message))), 2)
    yield f"specs {specs} {opens} {asks}"
    told = sum(map(bool, content))
    yield f"told {round(4 * told / max(len(content), 1))} {size}"
    if "thing" in known:
        yield f"thing {opens} specs {specs} {'brand' if 'brand' in known else 'plain'}"
        yield f"thing {'wish' if 'wish' in known else 'bare'} {asks} {min(turn.shown, 1)}"


def _shape(turn: Turn, tokens: Sequence[str], spoken: Sequence[str]) -> Iterator[str]:
    """What is seen of a message from afar, and its place in the conversation."""
    marked = turn.marked
    kinds = {s.kind for s in marked.spans if not s.pointed}
    asks = "asks" if "?" in tokens or "¿" in tokens else "says"
    words = [t for t in tokens if t[0] == "<" or t[0].isalnum()]
    size = next(i for i, most in enumerate((1, 2, 3, 5, 8, 13, 21, 10**9)) if len(words) <= most)
    little = sum(w in STOPWORDS for w in spoken)
    raw: list[str] = re.findall(r"[^\W_]+", _shortened(marked.message))
    big = sum(w[0].isupper() or w[0].isdigit() for w in raw)
    alone = "alone" if words == ["<title>"] else ("titled" if "title" in kinds else "untitled")
    name_like = "name" if raw and len(raw) > 1 and big >= 0.7 * len(raw) else "prose"
    place = turn.previous or "first"
    shown = min(turn.shown, 2)
    yield from (asks, f"size {size}", alone, name_like, place, f"shown {shown}")
    yield f"{alone} {asks} {'bare' if little == 0 else 'worded'}"
    yield f"{name_like} {asks} {size} {'bare' if little == 0 else 'worded'}"
    yield f"little {round(4 * little / max(len(spoken), 1))}"
    yield f"{size} {place}"
    yield f"{size} shown {shown}"
    yield f"{alone} {place}"
    yield f"{asks} {place} {shown}"
    yield f"{'points' if any(s.pointed for s in marked.spans) else 'stands'} {asks}"
    if any(c.isdigit() for c in marked.message):
        yield f"digits {name_like}"
    if _EMOJI.search(marked.message):
        yield "emoji"
    yield from (f"has {kind}" for kind in sorted(kinds))
    if not kinds:
        yield "has nothing"
