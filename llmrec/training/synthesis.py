"""Synthesis hides a run: a teacher asked about many items, resumed where it was stopped, counted.

A capable teacher writes freely; a small one only chooses the field to ask about and a phrasing.
What is asked and what is kept is told by ``llmrec.training.pairs``.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmrec.errors import InputError, SchemaError
from llmrec.models.base import LanguageModel
from llmrec.models.profile import Profile
from llmrec.training.pairs import (
    ASKABLE,
    PHRASINGS,
    Pair,
    choice_prompt,
    choice_schema,
    pair_prompt,
    pair_schema,
    parse_choices,
    parse_pairs,
    pick,
    written_pair,
)
from llmrec.types import LANGUAGES, Item, Message
from llmrec.wording import record_texts

__all__ = ["Estimate", "SynthesisConfig", "SynthesisReport", "estimate", "synthesize"]

_FORMAT = 1
_SAMPLE = 8


@dataclass(frozen=True)
class SynthesisConfig:
    """What is asked for.

    Attributes
    ----------
    per_item: pairs of each item and language.
    detail: "full": the teacher writes freely; "brief": it chooses field and phrasing; None: as its
        profile says.
    batch_size: items given to the teacher together.
    """

    per_item: int = 4
    languages: tuple[str, ...] = ("en",)
    seed: int = 0
    temperature: float = 0.7
    detail: Literal["full", "brief"] | None = None
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name in ("per_item", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")
        unknown = [v for v in self.languages if v not in LANGUAGES]
        if unknown or not self.languages:
            given = repr(unknown[0]) if unknown else "empty"
            raise InputError(f"languages is {given}: use some of {', '.join(LANGUAGES)}")
        if self.detail not in (None, "full", "brief"):
            raise InputError(f"detail is {self.detail!r}: use 'full', 'brief' or nothing")


class Task(NamedTuple):
    """One item in one language, and what the teacher is shown of it."""

    item: Item
    language: str
    context: dict[str, str]

    @property
    def fields(self) -> tuple[str, ...]:
        """What can be asked about."""
        return tuple(name for name in ASKABLE if name in self.context)


@dataclass
class SynthesisReport:
    """What became of the pairs; of all runs on one file, where ``asked`` and the rest are of this.

    Attributes
    ----------
    tasks: items times languages. kept: pairs written. dropped: reasons, and how often each.
    asked: tasks that the teacher was asked about. counted: how the tokens were counted.
    """

    tasks: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        plain = dataclasses.asdict(self)
        return {**plain, "dropped": dict(self.dropped), "seconds": round(self.seconds, 2)}


@dataclass(frozen=True)
class Estimate:
    """What a run will take, from a look at its first prompts.

    Attributes
    ----------
    completion_tokens: expected, from answers of the same shape filled from the records.
    most_completion_tokens: the bound that the teacher is given.
    cost: in the currency of the prices, for the expected tokens; None without prices.
    """

    items: int
    tasks: int
    prompt_tokens: int
    completion_tokens: int
    most_completion_tokens: int
    counted: str
    cost: float | None


def synthesize(
    items: Sequence[Item],
    model: LanguageModel,
    out: str | os.PathLike[str],
    config: SynthesisConfig = SynthesisConfig(),
    *,
    progress: bool = False,
) -> SynthesisReport:
    """Write question-answer pairs about items as JSON lines, going on where an earlier run stopped.

    Each line has ``id``, ``kind``, ``language``, ``question``, ``answer``, ``context``,
    ``evidence`` and ``teacher``. What is done stands in a journal beside the file
    (``qa.jsonl.journal``), so that a run may be killed at any time and called again.

    Raises
    ------
    InputError: the file is of a run with another configuration, teacher or items.
    ModelError: the teacher fails; what it gave before is kept.
    """
    from tqdm import tqdm

    began = time.monotonic()
    detail = _detail(model, config)
    tasks = [Task(i, lang, record_texts(i, lang)) for i in items for lang in config.languages]
    meter = _Meter(model)
    with _Journal(Path(out), _identity(model, config, detail)) as journal:
        done = journal.check(tasks)
        bar = tqdm(total=len(tasks), initial=done, desc="items", unit="item", disable=not progress)
        with bar:
            # Batches lie as they did in a run that was not stopped.
            for at in range(done - done % config.batch_size, len(tasks), config.batch_size):
                batch = tasks[at : at + config.batch_size]
                answers = _answers(model, batch, at, config, detail, meter)
                for task, answer in list(zip(batch, answers, strict=True))[max(done - at, 0) :]:
                    kept, dropped = _read(answer, task, detail)
                    journal.add(task, [_row(task, p, model.name) for p in kept], dropped)
                    bar.update()
        return SynthesisReport(
            tasks=len(tasks),
            kept=journal.kept,
            dropped=journal.dropped,
            asked=meter.asked,
            prompt_tokens=meter.prompt_tokens,
            completion_tokens=meter.completion_tokens,
            counted=meter.counted,
            seconds=time.monotonic() - began,
        )


def estimate(
    items: Sequence[Item],
    model: LanguageModel,
    config: SynthesisConfig = SynthesisConfig(),
    *,
    price_in: float | None = None,
    price_out: float | None = None,
) -> Estimate:
    """What a whole run takes, without asking the teacher anything.

    Parameters
    ----------
    price_in, price_out: of a million tokens of prompts and of answers.
    """
    detail = _detail(model, config)
    first = itertools.islice(items, max(1, _SAMPLE // len(config.languages)))
    sample = [Task(i, lang, record_texts(i, lang)) for i in first for lang in config.languages]
    sample = [t for t in sample if t.fields]
    meter = _Meter(model)
    given = expected = 0
    for task in sample:
        prompt, schema = _asked(task, config, detail)
        given += meter.prompt(prompt, schema)
        expected += meter.text(_typical(task, config.per_item, detail))
    tasks = len(items) * len(config.languages)
    n = max(len(sample), 1)
    tokens_in, tokens_out = round(given / n * tasks), round(expected / n * tasks)
    priced = price_in is not None or price_out is not None
    cost = (tokens_in * (price_in or 0) + tokens_out * (price_out or 0)) / 1e6
    return Estimate(
        items=len(items),
        tasks=tasks,
        prompt_tokens=tokens_in,
        completion_tokens=tokens_out,
        most_completion_tokens=_room(config, detail) * tasks,
        counted=meter.estimated,
        cost=cost if priced else None,
    )


def _detail(model: LanguageModel, config: SynthesisConfig) -> str:
    profile = getattr(model, "profile", None) or Profile()
    return config.detail or str(profile.detail)


def _identity(model: LanguageModel, config: SynthesisConfig, detail: str) -> dict[str, Any]:
    """What must not change between runs on one file."""
    return {
        "format": _FORMAT,
        "teacher": model.name,
        "detail": detail,
        "per_item": config.per_item,
        "languages": list(config.languages),
        "seed": config.seed,
        "temperature": config.temperature,
    }


def _room(config: SynthesisConfig, detail: str) -> int:
    return 64 + config.per_item * (192 if detail == "full" else 32)


def _asked(
    task: Task, config: SynthesisConfig, detail: str
) -> tuple[tuple[Message, ...], dict[str, Any]]:
    if detail == "full":
        prompt = pair_prompt(task.context, task.language, config.per_item)
        return prompt, pair_schema(config.per_item)
    fields = task.fields
    return choice_prompt(task.context, fields), choice_schema(fields, config.per_item)


def _typical(task: Task, n: int, detail: str) -> str:
    """An answer as a teacher may give it."""
    chosen = [(name, at + 1) for at in range(PHRASINGS) for name in task.fields][:n]
    if detail == "full":
        pairs = [written_pair(task.context, *c, task.language)._asdict() for c in chosen]
    else:
        pairs = [{"field": name, "phrasing": at} for name, at in chosen]
    return json.dumps({"pairs": pairs}, ensure_ascii=False)


def _answers(
    model: LanguageModel,
    batch: Sequence[Task],
    at: int,
    config: SynthesisConfig,
    detail: str,
    meter: _Meter,
) -> list[str | None]:
    """What the teacher says of each task; None where it gives no answer of the right shape.

    A task's seed is its place among all tasks, whatever the batches.
    """
    out: list[str | None] = [""] * len(batch)
    numbered = [(i, task) for i, task in enumerate(batch) if task.fields]
    # One call has one schema, and its seeds follow each other.
    for _, group in itertools.groupby(
        enumerate(numbered), lambda e: (e[1][0] - e[0], detail == "full" or e[1][1].fields)
    ):
        places = [place for _, place in group]
        asked = [_asked(task, config, detail) for _, task in places]
        prompts, schema = [prompt for prompt, _ in asked], asked[0][1]
        said = _generated(model, prompts, schema, at + places[0][0], config, detail)
        meter.add(prompts, schema, said)
        for (i, _), text in zip(places, said, strict=True):
            out[i] = text
    return out


def _generated(
    model: LanguageModel,
    prompts: Sequence[Sequence[Message]],
    schema: Mapping[str, Any],
    at: int,
    config: SynthesisConfig,
    detail: str,
) -> list[str | None]:
    def ask(part: Sequence[Sequence[Message]], first: int) -> list[str]:
        return model.generate(
            part,
            max_new_tokens=_room(config, detail),
            schema=schema,
            temperature=config.temperature,
            seed=config.seed + first,
        )

    try:
        return list(ask(prompts, at))
    except SchemaError:
        if len(prompts) == 1:
            return [None]
    # One answer of them was hopeless: the others are asked for without it.
    out: list[str | None] = []
    for i, prompt in enumerate(prompts):
        out += _generated(model, [prompt], schema, at + i, config, detail)
    return out


def _read(answer: str | None, task: Task, detail: str) -> tuple[list[Pair], Counter[str]]:
    """The pairs to keep of an answer, and why others are not."""
    if not task.fields:
        return [], Counter({"nothing to ask about": 1})
    misshapen = 0
    if detail == "full":
        parsed = parse_pairs(answer or "")
        if parsed is None:
            return [], Counter({"misshapen answer": 1})
        pairs, misshapen = parsed
    else:
        choices = parse_choices(answer or "", task.fields)
        if choices is None:
            return [], Counter({"misshapen answer": 1})
        pairs = [written_pair(task.context, *c, task.language) for c in choices]
    kept, dropped = pick(pairs, task.context, task.language)
    if misshapen:
        dropped["misshapen pair"] += misshapen
    return kept, dropped


def _row(task: Task, pair: Pair, teacher: str) -> dict[str, Any]:
    return {
        "id": task.item.id,
        "kind": pair.kind,
        "language": task.language,
        "question": pair.question,
        "answer": pair.answer,
        "context": task.context,
        "evidence": pair.evidence,
        "teacher": teacher,
    }


class _Meter:
    """Counts tokens: as a server does, with the model's tokenizer, or by characters."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._served = hasattr(model, "usage")
        self._encodes = hasattr(model, "encode")
        self.estimated = "by the teacher's tokenizer" if self._encodes else "as characters / 4"
        self.counted = "by the server" if self._served else self.estimated
        self._before = model.usage if self._served else None
        self._given = self._got = 0
        self.asked = 0

    def prompt(self, prompt: Sequence[Message], schema: Mapping[str, Any]) -> int:
        """Tokens of a prompt."""
        if hasattr(self._model, "prompt_ids"):
            return len(self._model.prompt_ids(prompt))
        # A server is told the schema in words.
        return self.text("".join(m.content for m in prompt) + json.dumps(schema))

    def text(self, text: str) -> int:
        """Tokens of an answer."""
        return len(self._model.encode(text)) if self._encodes else len(text) // 4

    def add(
        self,
        prompts: Sequence[Sequence[Message]],
        schema: Mapping[str, Any],
        said: Sequence[str | None],
    ) -> None:
        """Count a call."""
        self.asked += len(prompts)
        if not self._served:
            self._given += sum(self.prompt(p, schema) for p in prompts)
            self._got += sum(self.text(s or "") for s in said)

    @property
    def prompt_tokens(self) -> int:
        """Of all calls so far."""
        if self._before is None:
            return self._given
        return int(self._model.usage.prompt_tokens - self._before.prompt_tokens)

    @property
    def completion_tokens(self) -> int:
        """Of all calls so far."""
        if self._before is None:
            return self._got
        return int(self._model.usage.completion_tokens - self._before.completion_tokens)


class _Journal:
    """The file of pairs, and beside it what is done: a line for each task, written after its pairs.

    Whatever a killed run left behind its last line of the journal is cut off.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self._out, self._path = out, out.with_name(out.name + ".journal")
        self._identity = dict(identity)
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self._done: list[dict[str, Any]] = []

    def __enter__(self) -> _Journal:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        size = self._out.stat().st_size if self._out.is_file() else 0
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.is_file() else []
        try:
            entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
        except ValueError:
            raise InputError(f"{self._path} is damaged: remove it and {self._out}") from None
        if size and not entries:
            raise InputError(
                f"{self._out} is there and has no journal of a run beside it: "
                "name another file, or remove it"
            )
        if entries:
            self._compare(entries[0])
        # After a power cut the journal may know of pairs that never reached the disk.
        self._done = list(itertools.takewhile(lambda e: e["end"] <= size, entries[1:]))
        for entry in self._done:
            self.kept += entry["kept"]
            self.dropped.update(entry["dropped"])
        valid = b"".join(lines[: 1 + len(self._done)]) if entries else b""
        self._rows = self._cut(self._out, self._done[-1]["end"] if self._done else 0)
        self._lines = self._cut(self._path, len(valid))
        if not entries:
            self._lines.write(_line(self._identity))
            self._lines.flush()
        return self

    def __exit__(self, *exc: object) -> None:
        self._rows.close()
        self._lines.close()

    @staticmethod
    def _cut(path: Path, size: int) -> Any:
        file = path.open("ab")
        file.truncate(size)
        file.seek(size)
        return file

    def _compare(self, before: Mapping[str, Any]) -> None:
        for name, value in self._identity.items():
            if before.get(name) != value:
                raise InputError(
                    f"{self._out} was begun with {name} {before.get(name)!r}, and {value!r} is "
                    f"asked for now: name another file, or remove it and {self._path.name}"
                )

    def check(self, tasks: Sequence[Task]) -> int:
        """How many of the tasks are done. Raises InputError if they were others."""
        done = min(len(self._done), len(tasks))
        for at, (entry, task) in enumerate(zip(self._done, tasks, strict=False), 1):
            if (entry["id"], entry["key"]) != (task.item.id, _key(task)):
                raise InputError(
                    f"{self._out} was begun with other items: number {at} was {entry['id']!r} and "
                    f"is {task.item.id!r} now, or its record changed: name another file"
                )
        return done

    def add(self, task: Task, rows: Sequence[Mapping[str, Any]], dropped: Counter[str]) -> None:
        """Write the pairs of a task, then that it is done."""
        self._rows.write(b"".join(map(_line, rows)))
        self._rows.flush()
        entry = {
            "id": task.item.id,
            "language": task.language,
            "key": _key(task),
            "kept": len(rows),
            "dropped": dict(dropped),
            "end": self._rows.tell(),
        }
        self._lines.write(_line(entry))
        self._lines.flush()
        self.kept += len(rows)
        self.dropped.update(dropped)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _key(task: Task) -> str:
    text = json.dumps([task.language, task.context])
    return blake2b(text.encode(), digest_size=8).hexdigest()
