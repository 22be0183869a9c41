"""Questions hides how a set of questions with known answers is generated over any catalogue.

    catalog = Catalog.embedded()
    for question in questions_of(catalog, 2000, seed=0):
        print(question.question, question.answers[:1])

Six kinds, three languages, a fifth that the catalogue cannot answer; parts by title cluster.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llmrec.catalog import Catalog
from llmrec.errors import InputError
from llmrec.evaluation.asking import items, queries
from llmrec.evaluation.asking.words import Wordings
from llmrec.evaluation.asking.world import PARTS, Draft, Turn, World
from llmrec.folders import replacing, write_whole
from llmrec.records import Problem, json_rows
from llmrec.types import LANGUAGES, Message

__all__ = ["KINDS", "PARTS", "Question", "questions_of", "read_questions", "write_questions"]

_MAKERS: Mapping[str, tuple[float, Callable[[World, Turn], Draft | None]]] = {
    "fact": (0.30, items.fact),
    "check": (0.15, items.check),
    "text": (0.20, items.text),
    "comparison": (0.13, items.comparison),
    "count": (0.11, queries.count),
    "superlative": (0.11, queries.superlative),
}
KINDS = tuple(_MAKERS)
_UNANSWERABLE = 5  # one of so many; which one of them differs by kind, for small sets
_TURN = dict(zip(KINDS, (0, 3, 1, 2, 0, 4), strict=True))
_FOLLOWS = (3, 7)  # of 11 questions of the kinds that can, these go on from an exchange before
_CAN_FOLLOW = ("fact", "check", "text")
_TRIES = 400


@dataclass(frozen=True)
class Question:
    """A question about a catalogue, and what a right answer is.

    Attributes
    ----------
    kind: "fact", "check", "text", "comparison", "count" or "superlative".
    answers: valid answers, best first: whole sentences, then short ones; none where the catalogue
        does not say.
    answer: what a model is trained to say: the best answer, or the sentence of a refusal.
    judged: "values": right if it holds one of each list of ``values``, folded; "text": by its
        overlap with the best of ``answers``; "refusal": right if it is a refusal. Of a count of
        nothing, ``values`` are what may be said instead of a refusal.
    values: what a right answer must hold, one of each list. Of a cast the first three, of other
        lists all. Of a superlative one of the items that are level.
    rivals: names of the item that a comparison does not want: the one named first counts.
    items: ids of the items it is about, gold for retrieval; of counts the first 50 counted.
    why: "" or why it cannot be answered: "no such fact", "no such title", "not in the text",
        "nothing meets it".
    field: the field of Item asked about, or "". topic: the thing asked about that is no field, the
        words that a text is asked about, or what the items of a count or superlative must meet.
    source: where the gold comes from: "field", "description", "query" (over all items), "nothing".
    context: the record that an answer is written from: the first item's, of comparisons with the
        second one's behind it ("title 2"); of counts the number; of a title that is not there
        another item's record.
    cluster: of the first item; of what has none, the thing asked for.
    phrasing: id of the wording. noise: the slip in the title: "typo", "accents", "lower",
        "article" or "".
    conversation: what was said before, where the question does not name its item.
    """

    id: str
    kind: str
    language: str
    question: str
    answers: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    items: tuple[str, ...]
    answerable: bool
    why: str
    field: str
    context: Mapping[str, str] = dataclasses.field(hash=False)
    cluster: str
    split: str
    phrasing: str
    answer: str
    judged: str
    source: str
    topic: str = ""
    noise: str = ""
    rivals: tuple[str, ...] = ()
    conversation: tuple[Message, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said before, and the question."""
        return (*self.conversation, Message("user", self.question))

    def to_dict(self) -> dict[str, Any]:
        """The row of a file: every field, in plain JSON types."""
        row = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        row["conversation"] = [m.to_dict() for m in self.conversation]
        row["context"] = dict(self.context)
        return row

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Question:
        """Read a row back. Raises InputError for what is no question."""
        names = {f.name for f in dataclasses.fields(cls)}
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in row.items() if k in names
        }
        try:
            values["values"] = tuple(tuple(map(str, v)) for v in row["values"])
            values["context"] = dict(row["context"])
            said = tuple(Message.from_dict(m) for m in row.get("conversation", ()))
            made = cls(**{**values, "conversation": said})
        except (TypeError, KeyError, ValueError) as e:
            raise InputError(f"it is no question of a question set: {e}") from None
        if made.kind not in KINDS or made.language not in LANGUAGES:
            raise InputError(
                f"its kind is {made.kind!r} and its language {made.language!r}: the kinds are "
                f"{', '.join(KINDS)}, the languages {', '.join(LANGUAGES)}"
            )
        return made


def questions_of(
    catalog: Catalog,
    n: int = 2000,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> list[Question]:
    """Questions over a catalogue, the same for the same catalogue, number and seed.

    Parameters
    ----------
    n: how many; fewer where the catalogue has not so many to ask about, which ``say`` is told.

    Raises
    ------
    InputError: ``n`` or a language is not allowed, or there is nothing to ask about.
    """
    if n < 1:
        raise InputError(f"n is {n}: give 1 or more")
    if not languages or any(x not in LANGUAGES for x in languages):
        raise InputError(f"the languages are {list(languages)}: use some of {', '.join(LANGUAGES)}")
    world = World(catalog, seed)
    made: list[Question] = []
    for part in PARTS:
        wanted = n - sum(int(n * PARTS[p]) for p in PARTS if p != part)  # so that they add up
        count = wanted if part == "train" else int(n * PARTS[part])
        if world.of_part[part]:
            made += _part(world, part, count, list(dict.fromkeys(languages)))
    if not made:
        raise InputError(f"{catalog!r} has nothing to ask about: its items have a title alone")
    if len(made) < n:
        say(f"{len(made):,} questions of the {n:,} asked for: the catalogue has no more to ask")
    return made


def _part(world: World, part: str, n: int, languages: Sequence[str]) -> list[Question]:
    made: dict[tuple[object, ...], Question] = {}
    for kind, (share, _) in _MAKERS.items():
        for slot in range(round(n * share)):
            _add(made, world, part, kind, slot, languages)
    slot, failed = n, 0
    while len(made) < n and failed < 3 * len(KINDS):  # what some kinds lack is asked of the others
        kind = KINDS[slot % len(KINDS)]
        failed = 0 if _add(made, world, part, kind, slot, languages) else failed + 1
        slot += 1
    answerable = sum(q.answerable for q in made.values())
    refusals = itertools.count()
    most = answerable // (_UNANSWERABLE - 2)  # where little can be answered, little is refused
    return [q for q in made.values() if q.answerable or next(refusals) < most][:n]


def _add(
    made: dict[tuple[object, ...], Question],
    world: World,
    part: str,
    kind: str,
    slot: int,
    languages: Sequence[str],
) -> bool:
    """Add one question that is not among those made; False if none is found."""
    language = languages[slot % len(languages)]
    turn = Turn(
        language,
        part,
        random.Random(f"{world.seed} {part} {kind} {language} {slot}"),
        Wordings("test" if part == "test" else "train"),
        answerable=slot % _UNANSWERABLE != _TURN[kind],
        follow=kind in _CAN_FOLLOW and slot % 11 in _FOLLOWS,
    )
    for attempt in range(_TRIES):
        if attempt == _TRIES // 4:  # not everything can be asked after an exchange
            turn = dataclasses.replace(turn, follow=False)
        draft = _MAKERS[kind][1](world, turn)
        if draft is None:
            continue
        key: tuple[object, ...] = (draft.question, language, draft.conversation)
        if kind in ("count", "superlative"):  # in other words the same would tell nothing new
            key = (kind, draft.field, draft.topic, language)
        if key not in made:
            made[key] = _finished(draft, language, part)
            return True
    return False


def _finished(draft: Draft, language: str, part: str) -> Question:
    values = {f.name: getattr(draft, f.name) for f in dataclasses.fields(draft)}
    said = "\n".join([*(m.content for m in draft.conversation), draft.question])
    digest = blake2b(f"{language}\n{said}".encode(), digest_size=6).hexdigest()
    return Question(
        id=f"{draft.kind}-{language}-{digest}",
        language=language,
        split=part,
        answerable=not draft.why,
        **values,
    )


def read_questions(
    path: str | os.PathLike[str], problems: list[Problem] | None = None
) -> list[Question]:
    """The questions of a file of JSON lines.

    Parameters
    ----------
    problems: takes the lines that are no question, and why; they are left out.

    Raises
    ------
    InputError: there is no such file, or no line of it is a question.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"there is no file {file}: write one with python eval/questions.py")
    found: list[Question] = []
    lost: list[Problem] = [] if problems is None else problems
    with file.open("rb") as raw:
        for line, row in json_rows(raw):
            try:
                if isinstance(row, str):
                    raise InputError(row)
                found.append(Question.from_dict(row))
            except InputError as e:
                lost.append(Problem(file.name, line, str(e)))
    if not found:
        why = f" ({lost[0].reason}, line {lost[0].line})" if lost else ""
        raise InputError(f"{file} holds no question{why}: write one with python eval/questions.py")
    return found


def write_questions(
    questions: Sequence[Question], out: str | os.PathLike[str], about: Mapping[str, str]
) -> None:
    """Write a file for each part and a card, the folder whole or not at all.

    Parameters
    ----------
    about: what the card says of the catalogue and how the set was made, by heading.
    """
    with replacing(Path(out)) as folder:
        for part in PARTS:
            lines = [_line(q) for q in questions if q.split == part]
            write_whole(folder / f"{part}.jsonl", "\n".join(lines))
        write_whole(folder / "README.md", _card(questions, about))


def _line(question: Question) -> str:
    return json.dumps(question.to_dict(), ensure_ascii=False)


def _card(questions: Sequence[Question], about: Mapping[str, str]) -> str:
    parts = list(PARTS)
    lines = ["# Questions over a catalogue, with known answers", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", _MADE, "", "## How many", ""]
    for heading, key in _COUNTED.items():
        lines += [
            f"| {heading} | {' | '.join(parts)} | all |",
            "|---|" + "---:|" * (len(parts) + 1),
        ]
        counts = Counter((key(q), q.split) for q in questions)
        for name in sorted({value for value, _ in counts}):
            cells = [counts[name, part] for part in parts]
            lines.append(f"| {name} | {' | '.join(f'{c:,}' for c in [*cells, sum(cells)])} |")
        lines.append("")
    return "\n".join(lines).rstrip()


_COUNTED: Mapping[str, Callable[[Question], str]] = {
    "part": lambda q: "questions",
    "kind": lambda q: q.kind,
    "language": lambda q: q.language,
    "answerable": lambda q: q.why or "yes",
    "source of the gold": lambda q: q.source,
    "field": lambda q: q.field or "none",
    "slip in the title": lambda q: q.noise or "none",
    "asked": lambda q: "after an exchange" if q.conversation else "alone",
}
_MADE = """## How it is made

The questions are wordings written by hand, filled from the catalogue. Wordings of the test part
stand in no other part. Near-duplicate items (the same title but for year, part, colour or size, or
descriptions that share most of their runs of three words) are one cluster, and a cluster is in one
part. What is counted over the whole catalogue is a cluster of its own; the answer to a superlative
is an item of the part. The gold is worked out from the items by plain Python, not by the
catalogue's queries.

Judged by `values`, an answer is right if it holds one of each list, compared without case, accents
and punctuation: of a cast the first three, of other lists all. Judged as `text`, by its overlap
with the best of `answers`. Judged as `refusal`, by whether it is one. Where several items are level
any of them is right. A bound of running time or price is drawn so that no item lies on it.

Asked without an answer: a field that this item lacks and its description does not speak of, a thing
that no field holds, a title that is invented and like none of the catalogue, a text asked about
what stands in another item's, a comparison with such an item, a count or superlative of what
nothing meets or what no item tells. That a description is silent is told by word stems."""
