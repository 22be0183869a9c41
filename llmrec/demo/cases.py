"""Cases hides how the examples of evaluation runs are read: what was asked, wanted and given."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmrec.datasets.journal import digest
from llmrec.demo.hostile import BAD, MAX_NAME, Problem, cut, public, read_json
from llmrec.errors import MissingExtraError
from llmrec.evaluation.answer_judging import Said, is_right
from llmrec.evaluation.questions import Question, read_questions
from llmrec.evaluation.reading import Run, Scored, read_run
from llmrec.records import Problem as Line
from llmrec.records import json_rows

if TYPE_CHECKING:
    from llmrec.demo.measured import Group

__all__ = ["AT", "Case", "Given", "cases_of"]

AT = 10  # a list is right where something wanted is among so many
MAX_BYTES = 128 << 20  # of all that the cases of a run are read from
MAX_ARRAYS = 256 << 20  # of items.npz, unpacked
MAX_SAID = 20_000  # characters of an answer that are judged


@dataclass(frozen=True)
class Given:
    """What a system gave for an example.

    Attributes
    ----------
    lines: texts, each with what it is: "hit", "known" (mentioned before) or "".
    right: None where it cannot be judged here.
    place: of the first hit of a list. error: why nothing was given.
    """

    lines: tuple[tuple[str, str], ...]
    right: bool | None
    place: int | None = None
    refused: bool = False
    error: str = ""


@dataclass(frozen=True)
class Case:
    """An example: what was asked, what was wanted, what each system gave (by its label)."""

    id: str
    kind: str
    language: str
    turns: tuple[tuple[str, str], ...]
    wanted: tuple[str, ...]
    refusal: str
    given: Mapping[str, Given] = field(hash=False)

    def holds(self, text: str) -> bool:
        """Whether the words stand anywhere in it; ``text`` in lower case."""
        said = (t for _, t in self.turns)
        gave = (t for g in self.given.values() for t, _ in g.lines)
        return any(text in s.casefold() for s in (self.id, *said, *self.wanted, *gave))


def cases_of(group: Group) -> tuple[list[Case], list[Problem]]:
    """The examples of a group, and what of them could not be read."""
    made: dict[str, Case] = {}
    problems: list[Problem] = []
    read = _cases_of_answers if group.kind == "answers" else _cases_of_lists
    for n, (name, folder) in enumerate(group.runs):
        try:
            if _size(folder) > MAX_BYTES or _unpacked(folder / "items.npz") > MAX_ARRAYS:
                problems.append(Problem("large", name))
                continue
            labels = {r.system: r.label for r in group.rows if r.run == name or not (n or r.main)}
            for case in read(folder, labels, name, problems):
                before = made.get(case.id)
                given = {**before.given, **case.given} if before else case.given
                made[case.id] = Case(**{**vars(before or case), "given": given})
        except BAD:
            problems.append(Problem("damaged", name))
    return list(made.values()), problems


def _size(folder: Path) -> int:
    """Bytes of all that is read; a link counts as too large."""
    files = [f for g in ("*.json", "*.jsonl", "*.npz", "*/*.jsonl") for f in folder.glob(g)]
    if any(f.is_symlink() or f.parent.is_symlink() for f in files):
        return MAX_BYTES + 1
    return sum(f.stat().st_size for f in files)


def _unpacked(file: Path) -> int:
    if not file.is_file():
        return 0
    with zipfile.ZipFile(file) as packed:
        return sum(part.file_size for part in packed.infolist())


def _cases_of_lists(
    folder: Path, labels: Mapping[str, str], name: str, problems: list[Problem]
) -> Iterator[Case]:
    ks = read_json(folder / "run.json").get("config", {}).get("ks") or (1,)
    if not all(isinstance(k, int) and 1 <= k <= 1_000 for k in ks):
        raise ValueError("ks are no depths")
    run = read_run(folder, baselines=len(labels) > 1)
    if run.problems:
        problems.append(Problem("lines", f"{name}/{run.problems[0].file}", len(run.problems)))
    titles = dict(zip(run.facts.ids, run.facts.titles, strict=False))
    said = _said(folder / "examples.jsonl")
    given = {
        labels[system]: _given(scored, titles)
        for system, scored in run.systems.items()
        if system in labels
    }
    for p in _main(run).predictions:
        yield Case(
            cut(p.id, MAX_NAME),
            "warm" if p.mentioned else "cold",
            cut(p.language or "", 12),
            said.get(p.id, ()),
            tuple(cut(titles.get(i, i)) for i in p.relevant[:50]),
            "",
            {label: of[p.id] for label, of in given.items() if p.id in of},
        )


def _main(run: Run) -> Scored:
    return run.systems[run.main]


def _given(scored: Scored, titles: Mapping[str, str]) -> dict[str, Given]:
    out = {}
    for p in scored.predictions:
        listed = list(dict.fromkeys(p.items))
        wanted, known = set(p.relevant), set(p.mentioned)
        place = next((n for n, i in enumerate(listed, 1) if i in wanted), None)
        lines = tuple(
            (cut(titles.get(i, i)), "hit" if i in wanted else "known" if i in known else "")
            for i in listed[:AT]
        )
        right = place is not None and place <= AT
        out[p.id] = Given(lines, right, place, error=cut(str(p.error or "")))
    return out


def _said(file: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """By id the last turns of the examples; what cannot be read is not shown."""
    out: dict[str, tuple[tuple[str, str], ...]] = {}
    if file.is_file():
        with file.open("rb") as raw:
            for _, row in json_rows(raw):
                if isinstance(row, dict) and isinstance(row.get("said"), list):
                    turns = [m for m in row["said"] if isinstance(m, dict)][-8:]
                    out[str(row.get("id"))] = tuple(
                        ("user" if m.get("role") == "user" else "assistant", cut(m.get("content")))
                        for m in turns
                    )
    return out


def _cases_of_answers(
    folder: Path, labels: Mapping[str, str], name: str, problems: list[Problem]
) -> Iterator[Case]:
    shared = read_json(folder / "run.json")["shared"]
    questions = _questions(folder, str(shared.get("questions")), str(shared["questions_digest"]))
    if questions is None:
        problems.append(Problem("unasked", f"{name}: {public(shared.get('questions'))}"))
        return
    said: dict[str, dict[str, Said]] = {}
    for system, label in labels.items():
        file = folder / "answers" / f"{Path(system).name}.jsonl"
        if file.is_file():
            said[label], broken = _answers(file)
            if broken:
                problems.append(Problem("lines", f"{name}/answers/{file.name}", broken))
    lacking: list[Problem] = []

    def right(question: Question, gave: Said) -> bool | None:
        try:
            return is_right(question, gave)
        except MissingExtraError:
            lacking[:] = [Problem("unjudged", name)]
            return None

    for q in questions:
        answers = {label: of[q.id] for label, of in said.items() if q.id in of}
        if not answers:
            continue
        turns = [(m.role, m.content) for m in q.conversation] + [("user", q.question)]
        yield Case(
            cut(q.id, MAX_NAME),
            q.kind,
            q.language,
            tuple((role, cut(text)) for role, text in turns[-8:]),
            tuple(cut(a) for a in q.answers[:5]),
            "" if q.answerable else cut(q.why, 60),
            {
                label: Given(
                    ((cut(s.text), ""),) if s.text else (),
                    right(q, s),
                    refused=s.refused,
                    error=cut(s.error or ""),
                )
                for label, s in answers.items()
            },
        )
    problems += lacking


def _questions(folder: Path, said: str, wanted: str) -> list[Question] | None:
    """The question set of a run: beside it, or where its record says; only with its very bytes."""
    name = Path(said).name
    places = [p / n for p in (folder, *folder.parents[:2]) for n in (name, "questions.jsonl")]
    if not Path(said).is_absolute() and ".." not in Path(said).parts:
        places.append(Path(said))
    for file in places:
        fits = file.is_file() and not file.is_symlink() and file.stat().st_size <= MAX_BYTES
        if fits and digest(file) == wanted:
            lost: list[Line] = []
            return [q for q in read_questions(file, lost) if _is_sound(q)]
    return None


def _is_sound(q: Question) -> bool:
    texts = (q.id, q.question, *q.answers, *q.rivals, *(n for v in q.values for n in v))
    return all(isinstance(t, str) and len(t) <= MAX_SAID for t in texts)


def _answers(file: Path) -> tuple[dict[str, Said], int]:
    """By the question's id what a system said, and how many lines cannot be used."""
    out: dict[str, Said] = {}
    broken = 0
    with file.open("rb") as raw:
        for _, row in json_rows(raw):
            try:
                said = Said.from_dict(row)  # type: ignore[arg-type]
                texts = (said.id, said.text, said.error or "")
                if not all(isinstance(t, str) and len(t) <= MAX_SAID for t in texts):
                    raise ValueError("it holds no texts of a fair length")
                out[said.id] = said
            except BAD:
                broken += 1
    return out, broken
