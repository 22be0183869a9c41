"""Examples hides how data becomes training texts: the prompts that inference writes, and answers.

Every prompt comes from ``llmrec.prompting`` and every token from ``ChatTokenizer``, as at
inference, so a tuned model never meets a text that it was not tuned on.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from llmrec.errors import InputError
from llmrec.models.chat import ChatTokenizer
from llmrec.prompting import (
    Detail,
    Style,
    ZeroShot,
    answer_prompt,
    describe_prompt,
    recommend_prompt,
    reply_prompt,
    title_list,
    understanding_answer,
    understanding_prompt,
)
from llmrec.records import json_rows
from llmrec.titles import told_apart
from llmrec.types import Conversation, Example, Item, Message, Preferences

if TYPE_CHECKING:
    from llmrec.datasets.folder import Folder
    from llmrec.recommender import Recommender

__all__ = ["TASKS", "Encoded", "Row", "Targets", "Task", "encode", "make_rows", "target_list"]

Task = Literal["recommend", "reply", "chat", "describe", "answer", "preferences"]
Targets = Literal["true", "practice"]
TASKS: tuple[Task, ...] = get_args(Task)
POPULAR = 20  # of these the common practice fills its lists up with
_VALIDATION = {"train": 0.95, "validation": 0.05}
_MAX_CONTEXT = 4_000  # characters of a field of a record


@dataclass(frozen=True)
class Row:
    """One training text.

    Attributes
    ----------
    prompt: what the model is asked, as at inference.
    answer: what it should say, in pieces that are encoded one by one, as titles are at inference.
    """

    prompt: tuple[Message, ...]
    answer: tuple[str, ...]


class Encoded(NamedTuple):
    """A row in tokens. ``labels`` are -100 but on the answer and the token that ends the turn."""

    input_ids: list[int]
    labels: list[int]


def target_list(
    example: Example, targets: Targets, popular: Sequence[str], k: int, rng: random.Random
) -> list[str]:
    """The ids of the list that a model should give, best first.

    Parameters
    ----------
    targets: "true": what is true of the user and no more: the items recommended (in an order of
        chance, as none is the first), then those the user likes, without what was mentioned
        before. "practice": as published recipes have it: the items recommended, those the user
        likes and has not mentioned, the history, then popular ones up to ``k``.
    popular: ids, the most popular first; for "practice".
    """
    known = set(example.conversation.mentioned)
    new = [i for i in example.relevant if i not in known]
    liked = [i for i in example.likes if i not in known]
    if targets == "practice":
        wanted = [*example.relevant, *liked, *example.history, *popular[:POPULAR]]
    else:
        rng.shuffle(new)
        rng.shuffle(liked)
        wanted = [*new, *liked] if new else []
    return list(dict.fromkeys(wanted))[:k]


def make_rows(
    data: str | os.PathLike[str] | None,
    split: str = "train",
    *,
    task: Task = "recommend",
    targets: Targets = "true",
    style: Style = "chat",
    language: str = "en",
    detail: Detail = "turns",
    k: int = 10,
    limit: int | None = None,
    seed: int = 0,
    dropped: Counter[str] | None = None,
) -> Iterator[Row]:
    """Training texts of one kind, from prepared data.

    Parameters
    ----------
    data: a folder that ``train/prepare.py`` wrote; for "chat" a file of conversations too, for
        "answer" the file of ``train/synthesize_qa.py``; for "preferences" nothing: its texts are
        composed from phrasings.
    task: "recommend" (a list of titles), "reply" (the human's words, films given), "chat" (the
        conversation as it is; of a file, every turn of the assistant), "describe" (a description
        from a title), "answer" (a question about a record), "preferences" (the role of each name
        in a message).
    targets: of "recommend"; see ``target_list``.
    style: of "describe" and "answer"; see ``answer_prompt``.
    language: of replies, descriptions and answers whose rows do not say.
    detail: of "recommend" and "preferences": how much the prompt explains; see ``Profile``.
    k: how long a list is at most.
    limit: how many texts at most; "preferences" needs it.
    dropped: counts what gave no text, and why.

    Raises
    ------
    InputError: the data do not suit the task, or an option has a value that does not exist.
    """
    if task not in TASKS:
        raise InputError(f"task is {task!r}: use {', '.join(map(repr, TASKS))}")
    if targets not in get_args(Targets):
        raise InputError(f"targets is {targets!r}: use 'true' or 'practice'")
    lost: Counter[str] = Counter() if dropped is None else dropped
    rows: Iterator[Row]
    if task == "preferences":
        if limit is None:
            raise InputError("task 'preferences' has endless texts: give a limit")
        rows = _preference_rows(split, detail, seed)
    elif data is None:
        raise InputError(f"task {task!r} needs data: name a folder that train/prepare.py wrote")
    elif task == "answer":
        rows = _answer_rows(Path(data), split, style, language, lost)
    elif task == "chat" and Path(data).is_file():
        from llmrec.datasets import load

        rows = _chat_rows(_every_turn(load("jsonl", data).examples(split)), lost)
    else:
        from llmrec.datasets.folder import Folder

        folder = Folder.open(data)
        if task == "chat":
            rows = _chat_rows(folder.examples(split), lost)
        elif task == "recommend":
            rows = _recommend_rows(folder, split, targets, detail, k, seed, lost)
        elif task == "reply":
            rows = _reply_rows(folder, split, language, lost)
        else:
            rows = _describe_rows(folder.items(split), style, language, lost)
    return islice(rows, limit)


def _recommend_rows(
    folder: Folder,
    split: str,
    targets: Targets,
    detail: Detail,
    k: int,
    seed: int,
    dropped: Counter[str],
) -> Iterator[Row]:
    items = list(folder.items())
    labels = told_apart([i.title for i in items], [i.year for i in items])
    titles = {i.id: label for i, label in zip(items, labels, strict=True)}
    popular = [i.id for i in sorted(items, key=lambda i: -i.popularity)[:POPULAR]]
    ask = _asker(folder, detail)
    for example in folder.examples(split):
        rng = random.Random(f"{seed} {example.id}")
        wanted = target_list(example, targets, popular, k, rng)
        named = [titles[i] for i in wanted if i in titles]
        if not example.relevant:
            dropped["nothing was recommended"] += 1
        elif not named:
            dropped["nothing new was recommended"] += 1
        else:
            yield Row(ask(example.conversation), title_list(dict.fromkeys(named)))


def _asker(folder: Folder, detail: Detail) -> Callable[[Conversation], tuple[Message, ...]]:
    """What asks for a list as the recommender does, with the rules' understanding of the talk."""
    if detail == "turns":
        strategy = ZeroShot(detail)
        return lambda c: recommend_prompt(c, Preferences(), {}, strategy=strategy)
    return _recommender(str(folder.path), folder.fingerprint, detail).prompt


@lru_cache(maxsize=1)  # all splits of a folder share it
def _recommender(path: str, fingerprint: str, detail: Detail) -> Recommender:
    from llmrec.catalog import Catalog
    from llmrec.datasets.folder import Folder
    from llmrec.models.profile import Profile
    from llmrec.models.scripted import ScriptedModel
    from llmrec.recommender import Recommender

    rules = Profile(lead="rules-only", detail=detail, writes=False)
    catalog = Catalog.from_items(Folder.open(path).items())
    return Recommender(ScriptedModel(), catalog, profile=rules)


def _reply_rows(folder: Folder, split: str, language: str, dropped: Counter[str]) -> Iterator[Row]:
    items = {i.id: i for i in folder.items()}
    for example in folder.examples(split):
        if not example.reply.strip():
            dropped["no reply"] += 1
            continue
        spoken = Preferences(language=example.conversation.language or language)
        chosen = [items[i] for i in example.relevant if i in items]
        yield Row(reply_prompt(example.conversation, spoken, chosen), (example.reply,))


def _every_turn(examples: Iterable[Example]) -> Iterator[Example]:
    """Whole conversations as one example for each turn of the assistant."""
    for example in examples:
        said = example.conversation.messages
        for n, m in enumerate(said):
            if n and m.role == "assistant":
                yield Example(Conversation(said[:n]), reply=m.content)
        yield example


def _chat_rows(examples: Iterable[Example], dropped: Counter[str]) -> Iterator[Row]:
    for example in examples:
        if not example.reply.strip() or not example.conversation.messages:
            dropped["no reply" if example.conversation.messages else "no conversation"] += 1
            continue
        said = tuple(Message(m.role, m.content) for m in example.conversation.messages)
        yield Row(said, (example.reply,))


def _describe_rows(
    items: Iterable[Item], style: Style, language: str, dropped: Counter[str]
) -> Iterator[Row]:
    for item in items:
        description = item.description_in(language).strip()
        if not description:
            dropped["no description"] += 1
            continue
        yield Row(describe_prompt(item.title, language=language, style=style), (description,))


def _answer_rows(
    file: Path, split: str, style: Style, language: str, dropped: Counter[str]
) -> Iterator[Row]:
    from llmrec.datasets.base import BROKEN, part_of

    if not file.is_file():
        raise InputError(f"there is no file {file}: give the one train/synthesize_qa.py wrote")
    with file.open("rb") as raw:
        for _, row in json_rows(raw):
            try:
                if isinstance(row, str):
                    raise ValueError(row)
                question, answer = str(row["question"]).strip(), str(row["answer"]).strip()
                context = _record(row["context"])
                group = str(row.get("id", row["context"]))
                spoken = str(row.get("language") or language)
                prompt = answer_prompt(question, context, language=spoken, style=style)
            except (ValueError, LookupError, TypeError, AttributeError):
                dropped[BROKEN] += 1
                continue
            if not question or not answer:
                dropped["no question or no answer"] += 1
            elif part_of(group, parts=_VALIDATION) == split:  # all about an item in one part
                yield Row(prompt, (answer,))


def _record(context: Any) -> Mapping[str, str]:
    if isinstance(context, str):
        return {"record": context[:_MAX_CONTEXT]}
    return {
        str(name): (", ".join(map(str, v)) if isinstance(v, list) else str(v))[:_MAX_CONTEXT]
        for name, v in context.items()
    }


def _preference_rows(split: str, detail: Detail, seed: int) -> Iterator[Row]:
    from llmrec.training.conversations import make_understanding

    for marked, previous, roles, turn in make_understanding(seed, evaluation=split != "train"):
        prompt = understanding_prompt(marked, previous, detail=detail)
        yield Row(prompt, (understanding_answer(marked, roles, turn),))


def encode(
    rows: Iterable[Row], chat: ChatTokenizer, max_length: int
) -> tuple[list[Encoded], Counter[str]]:
    """Rows in tokens, and how many were shortened or dropped.

    A prompt that leaves no room loses its earliest turns, as at inference; an answer that is too
    long still is cut, and then does not end its turn.

    Parameters
    ----------
    max_length: tokens of a row, the prompt included.
    """
    found: Counter[str] = Counter()
    encoded = []
    for row in rows:
        answer = _answer_ids(row, chat)
        prompt, before = _prompt_ids(row, chat, max_length - len(answer), found)
        ids = [*prompt, *answer]
        labels = [-100] * before + ids[before:]
        if len(ids) > max_length:
            found["answer cut"] += 1
            ids, labels = ids[:max_length], labels[:max_length]
        if len(labels) > before:
            encoded.append(Encoded(ids, labels))
        else:
            found["prompt longer than the model reads"] += 1
    return encoded, found


def _answer_ids(row: Row, chat: ChatTokenizer) -> list[int]:
    """All pieces but the first, which is encoded with the prompt, and the end of the turn."""
    pieces = chat.encode_many([chat.harmless(p) for p in row.answer[1:]])
    return [*(i for ids in pieces for i in ids), chat.turn_end]


def _prompt_ids(
    row: Row, chat: ChatTokenizer, room: int, found: Counter[str]
) -> tuple[list[int], int]:
    """The prompt with the first piece of the answer, and how many of its tokens are the prompt."""
    system = tuple(m for m in row.prompt if m.role == "system")
    turns = tuple(m for m in row.prompt if m.role != "system")
    first = chat.opening(row.answer[0])
    shortened = False
    while True:
        messages = (*system, *turns)
        ids = chat.prompt_ids(messages, first)
        if len(ids) <= room or len(turns) <= 1:
            break
        turns, shortened = turns[max(1, len(turns) // 4) :], True
    if shortened:
        found["early turns left out"] += 1
    asked = chat.prompt_ids(messages)
    # Where the answer's first token merges with the prompt's last, that token counts as asked.
    before = len(asked)
    while asked[:before] != ids[:before]:
        before -= 1
    return ids, before
