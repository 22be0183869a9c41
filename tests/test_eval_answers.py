"""Answers: when one is right, who is asked, runs that are cut off, figures, reports."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evaluated
import numpy as np
import pytest
import tiny
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.answers import main
from llmrec.catalog import Catalog
from llmrec.datasets.journal import claimed
from llmrec.errors import InputError, ModelError
from llmrec.evaluation.answer_figures import Asked, figures_of
from llmrec.evaluation.answer_judging import Said, is_right, judge, unsupported
from llmrec.evaluation.answer_report import write_report
from llmrec.evaluation.answering_systems import (
    AnsweringSystem,
    CopyTitle,
    Majority,
    ModelAlone,
    NearestTitle,
    Retrieval,
    Unchecked,
    in_both,
    refuses,
)
from llmrec.evaluation.answers import AnswerOptions, ask, read_answers, run
from llmrec.evaluation.questions import Question, questions_of
from llmrec.metrics import text as metrics
from llmrec.models.scripted import ScriptedModel
from llmrec.types import Item, Message
from llmrec.wording import record_texts

ROOT = Path(__file__).resolve().parents[1]
CATALOG = world.catalog()


def question(said: str = "When did Alien come out?", **changes: Any) -> Question:
    """A question about Alien, of what the films of the world say."""
    about: Item = world.BY_ID[changes.get("items", ("alien",))[0]]
    language = changes.get("language", "en")
    made: dict[str, Any] = {
        "id": f"{said} {language}",
        "kind": "fact",
        "language": language,
        "question": said,
        "answers": ("Alien came out in 1979.", "1979"),
        "values": (("1979",),),
        "items": ("alien",),
        "answerable": True,
        "why": "",
        "field": "year",
        "context": record_texts(about, language),
        "cluster": about.id,
        "split": "test",
        "phrasing": "year.1",
        "answer": "Alien came out in 1979.",
        "judged": "values",
        "source": "field",
    }
    return Question(**{**made, **changes})


def unanswerable(said: str = "What did Alien cost to make?", **changes: Any) -> Question:
    none: dict[str, Any] = {"answers": (), "values": (), "answerable": False}
    none |= {"why": "no such fact", "judged": "refusal", "field": "", "phrasing": "budget.1"}
    return question(said, **{**none, **changes})


def the_set(part: str = "test") -> list[Question]:
    """Four questions about each of some films; train and test share no film."""
    films = world.FILMS[:6] if part == "test" else world.FILMS[6:12]
    out = []
    for f in films:
        of = {"items": (f.id,), "cluster": f.id, "split": part}
        year, plot = str(f.year), (f.description,)
        for language, said in (
            ("en", f"When is {f.title} from?"),
            ("pt", f"De quando é {f.title}?"),
        ):
            answers = (f"{f.title}: {year}.", year)
            out.append(question(said, language=language, answers=answers, values=((year,),), **of))
        out.append(
            question(
                f"What is {f.title} about?", kind="text", answers=plot, values=(), judged="text",
                field="description", phrasing="plot.1", **of,
            )
        )  # fmt: skip
        out.append(unanswerable(f"What did {f.title} cost to make?", **of))
    return out


def write(file: Path, questions: Sequence[Question]) -> Path:
    lines = (json.dumps(q.to_dict(), ensure_ascii=False) for q in questions)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def heard(text: str, q: Question, **more: Any) -> Said:
    return Said(q.id, text, **more)


# When an answer is right.

PLOT = question(
    "What is Alien about?", kind="text", judged="text", values=(),
    answers=("A crew is hunted aboard its own ship.",),
)  # fmt: skip
CHECK = question("Is Alien from 1980?", kind="check", values=(("no", "not"),))
COMPARED = question(
    "Which is older, Alien or Speed?", kind="comparison", items=("alien", "speed"),
    values=(("Alien", "Alien: O Oitavo Passageiro"),), rivals=("Speed", "Velocidade Máxima"),
)  # fmt: skip
NOUGHT = unanswerable(
    "How many westerns are there?", kind="count", why="nothing meets it", values=(("0", "no"),)
)
TWO = question("Who is in The Matrix?", values=(("Keanu Reeves",), ("Carrie-Anne Moss",)))


@pytest.mark.parametrize(
    ("q", "text", "right"),
    [
        (question(), "It came out in 1979.", True),
        (question(), "In nineteen seventy-nine.", True),
        (question(), "It came out in 1978.", False),
        (question(), "", False),
        (question(), "1979 " + "and so on " * 40, False),  # over 120 words
        (TWO, "Carrie-Anne Moss and Keanu Reeves", True),
        (TWO, "Keanu Reeves", False),
        (CHECK, "No, it is from 1979.", True),
        (CHECK, "Not so: 1979.", True),
        (CHECK, "It is not.", False),  # begins with neither yes nor no
        (CHECK, "Yes, it is not.", False),
        (COMPARED, "Alien, of 1979; Speed is of 1994.", True),
        (COMPARED, "alien: o oitavo passageiro", True),
        (COMPARED, "Speed is newer than Alien.", False),
        (COMPARED, "Speed.", False),
        (PLOT, "The crew is hunted aboard its own ship.", True),
        (PLOT, "A crew is hunted.", True),  # four of eight words
        (PLOT, "A crew.", False),
        (PLOT, "Two boys grow up in a slum of Rio de Janeiro.", False),
        (NOUGHT, "There are 0.", True),
        (NOUGHT, "There are 3.", False),
        (unanswerable(), "It cost 11 million.", False),
    ],
)
def test_an_answer_is_right(q: Question, text: str, right: bool) -> None:
    assert is_right(q, heard(text, q)) is right
    # A refusal is right where nothing can be answered, and there alone; an error never is.
    assert is_right(q, heard(text, q, refused=True)) is (not q.answerable)
    assert is_right(q, heard(text, q, error="it broke")) is False


def test_every_metric_of_an_answer_by_hand() -> None:
    q = question()
    said = heard(
        "In 1979, by Ridley Scott.", q, supported=True, sources=("alien",), found=("speed", "alien")
    )
    made = judge(q, said, world.BY_ID)
    assert made["right"] == made["values"] == made["numeric"] == made["supported"] == 1
    assert made["exact_match"] == 0
    # in 1979 by ridley scott against alien came out in 1979: two of five, two of five.
    assert made["token_f1"] == pytest.approx(2 * 2 / (5 + 5))
    assert made["chrf"] == metrics.chrf(said.text, q.answers)
    assert made["rouge_l"] == pytest.approx(2 * (2 / 5) * (2 / 5) / (2 / 5 + 2 / 5))
    assert made["checked"] == made["language"] == 1
    assert (made["hit@1"], made["hit@5"], made["mrr"]) == (0, 1, 0.5)
    refused = judge(q, heard("I do not know.", q, refused=True), world.BY_ID)
    assert refused["right"] == refused["token_f1"] == refused["values"] == refused["numeric"] == 0
    nothing = [n for n, v in refused.items() if np.isnan(v)]
    assert nothing == ["supported", "checked", "language", "hit@1", "hit@5", "mrr"]
    none = judge(unanswerable(), heard("Eleven.", unanswerable()), world.BY_ID)
    assert [n for n, v in none.items() if not np.isnan(v)] == ["right", "checked", "language"]


@pytest.mark.slow
def test_what_a_question_set_calls_right_is_right() -> None:
    catalog = Catalog.embedded()
    answers = refused = 0
    for q in questions_of(catalog, 150, seed=7):
        items = {i: catalog.get(i) for i in q.items}
        refused += refuses(q.answer, q.language)
        for a in q.answers:
            made = judge(q, heard(a, q, sources=q.items), items)
            assert made["right"] == 1, (q.question, a)
            assert made["checked"] == 1, (q.question, a)
            assert not refuses(a, q.language)
            assert not q.answerable or is_right(q, heard("", q, refused=True)) is False
            answers += 1
        assert refuses(q.answer, q.language) is (not q.answerable), q.answer
    assert answers > 200
    assert refused > 20


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("Alien is by Ridley Scott, of 1979.", []),
        ("“Alien” lasts 1 h 57, so 117 minutes.", []),
        ("Alien's director is Ridley Scott.", []),
        ("One crew is hunted.", []),
        ("It lasts 118 minutes.", ["118"]),
        ("It is by James Cameron.", ["james", "cameron"]),
        ("It has twelve parts, with Sigourney Weaver.", ["twelve"]),
    ],
)
def test_what_stands_in_no_source_is_found(text: str, strange: list[str]) -> None:
    assert unsupported(text, question(), [world.BY_ID["alien"]]) == strange


def test_what_was_counted_is_no_invention() -> None:
    q = question("How many films are there by Ridley Scott?", kind="count", values=(("2", "two"),))
    items = [world.BY_ID["alien"]]
    assert unsupported("There are 2.", q, items) == []
    assert unsupported("There are 3.", q, items) == ["3"]


@pytest.mark.parametrize(
    ("text", "language", "right"),
    [
        ("It was directed by Ridley Scott and is from 1979.", "en", 1),
        ("It was directed by Ridley Scott and is from 1979.", "pt", 0),
        ("O filme foi dirigido por Ridley Scott.", "pt", 1),
        ("Dura 117 minutos.", "pt", 1),  # Portuguese and Spanish at once
        ("Dura 117 minutos.", "es", 1),
        ("Dura 117 minutos.", "en", 0),
        # The catalogue has its text in English only; what is said around it is Portuguese.
        ("O catálogo diz: “A crew is hunted aboard its own ship.”", "pt", 1),
        ("O catálogo diz sobre “A crew”: “A crew is hunted aboard its own ship.”", "pt", 1),
        ("This is what the catalogue says of it: “A crew is hunted aboard its own ship.”", "pt", 0),
    ],
)
def test_the_language_of_an_answer(text: str, language: str, right: float) -> None:
    q = question(language=language)
    assert judge(q, heard(text, q, sources=("alien",)), world.BY_ID)["language"] == right


# Who is asked.


@pytest.mark.parametrize(
    ("text", "language", "refused"),
    [
        ("I don't know.", "en", True),
        ("The record does not say. It is a film.", "en", True),
        ("", "en", True),
        ("Não sei.", "pt", True),
        ("No lo sé.", "es", True),
        ("It is from 1979.", "en", False),
        ("It is from 1979. I do not know more.", "en", False),
    ],
)
def test_a_refusal_is_read(text: str, language: str, refused: bool) -> None:
    assert refuses(text, language) is refused


def test_a_model_alone_is_shown_the_question_only() -> None:
    model = ScriptedModel(["It is from 1979.", "Não sei."])
    before = (Message("user", "Alien"), Message("assistant", "Here it is."))
    asked = [question(conversation=before), question("De quando é?", language="pt")]
    made = ModelAlone("alone", model).answer(asked)
    assert [(s.text, s.refused, s.found) for s in made] == [
        ("It is from 1979.", False, None),
        ("Não sei.", True, None),
    ]
    first, second = (call.messages for call in model.calls)
    assert [m.role for m in first] == ["system", "user", "assistant", "user"]
    assert first[0].content.startswith("Answer the question")
    assert second[0].content.startswith("Responda à pergunta")
    assert "1979" not in " ".join(m.content for m in (*first, *second))


def test_an_unchecked_model_is_shown_the_record_found() -> None:
    model = ScriptedModel(["In 1979.", "The record does not say."])
    system = Unchecked("unchecked", world.recommender(model))
    made = system.answer([question(), unanswerable()])
    assert [(s.text, s.refused, s.sources) for s in made] == [
        ("In 1979.", False, ("alien",)),
        ("The record does not say.", True, ("alien",)),
    ]
    assert made[0].found is not None
    assert made[0].found[0] == "alien"
    asked = [c.messages for c in model.calls if "year: 1979" in c.messages[0].content]
    assert [m[-1].content for m in asked] == [question().question, unanswerable().question]


def test_a_recommender_answers_from_its_catalogue() -> None:
    q = question("In which year did Alien come out?")
    before = (Message("user", "Tell me about Alien"), Message("assistant", "Alien.", ("alien",)))
    later = question("and who directed it?", conversation=before, values=(("Ridley Scott",),))
    stranger = unanswerable(
        "Who directed “The Purple Accordion”?", why="no such title", items=("alien",)
    )
    made = Retrieval("retrieval", world.recommender(), k=3).answer([q, later, stranger])
    assert [is_right(a, s) for a, s in zip((q, later, stranger), made, strict=True)] == [True] * 3
    assert made[0].sources == ("alien",)
    assert made[0].supported
    assert made[2].why == "unknown title"


def test_the_title_is_copied() -> None:
    asked = [question("When did central station come out?"), question("How are you?")]
    first, second = CopyTitle(CATALOG).answer(asked)
    assert (first.text, first.found) == ("central station", ("central-station",))
    assert (second.text, second.refused, second.found) == ("", True, ())


def test_what_training_says_most_often() -> None:
    films = [question(f"{i}", answers=(year,)) for i, year in enumerate(["1999", "1979", "1979"])]
    poor = [unanswerable(f"u{i}", field="rating") for i in range(2)]
    system = Majority([*films, *poor])
    asked = [question(), question(field="cast"), unanswerable(field="rating")]
    said = system.answer([*asked, question(language="pt")])
    assert [(s.text, s.refused) for s in said] == [
        ("1979", False), ("", True), ("", True), ("", True),
    ]  # fmt: skip


def test_what_training_says_of_the_nearest_title() -> None:
    system = NearestTitle(the_set("train"))
    near = world.FILMS[7]
    of = {"items": (near.id,), "cluster": near.id}
    when = question(f"When is {near.title} 2 from?", **of)
    made = system.answer([when, question("?", language="es")])
    assert (made[0].text, made[0].refused) == (f"{near.title}: {near.year}.", False)
    assert made[1].refused
    cost = unanswerable(f"What did {near.title} 2 cost to make?", **of)
    assert system.answer([cost])[0].refused


def test_what_stands_in_both_is_counted() -> None:
    ours = [question(), unanswerable(cluster="")]
    theirs = [question("Other?", phrasing="else"), unanswerable("More?", cluster="", phrasing="x")]
    assert in_both(ours, theirs) == {"clusters": 1, "wordings": 0, "questions": 0}
    assert in_both(ours, ours) == {"clusters": 1, "wordings": 2, "questions": 2}


# Runs.


class Parrot:
    """Says the question, in batches that are noted; some questions break it."""

    def __init__(self, broken: str = "nothing") -> None:
        self.name = "parrot"
        self.batches: list[tuple[str, ...]] = []
        self._broken = broken

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        if any(self._broken in q.question for q in questions):
            raise ModelError("it broke")
        self.batches.append(tuple(q.id for q in questions))
        return [Said(q.id, q.question) for q in questions]


def without_seconds(file: Path) -> list[Said]:
    return [dataclasses.replace(s, seconds=0.0) for s in read_answers(file).values()]


@settings(max_examples=30)
@given(cut=st.integers(0, 10_000), size=st.integers(1, 9))
def test_a_file_cut_anywhere_is_made_whole(
    cut: int, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    asked, whole, file = the_set(), folder / "whole.jsonl", folder / "cut.jsonl"
    system: AnsweringSystem = Parrot()
    ask(whole, system, asked, size)
    data = whole.read_bytes()
    file.write_bytes(data[: cut % (len(data) + 1)])
    done = len(read_answers(file))
    again = Parrot()
    ask(file, again, asked, size)
    assert without_seconds(file) == without_seconds(whole)
    # Batches are those of the run that was not cut off, and finished ones are not asked again.
    every = [tuple(q.id for q in asked[at : at + size]) for at in range(0, len(asked), size)]
    assert again.batches == every[done // size :]


def test_one_bad_question_stops_nothing(tmp_path: Path) -> None:
    file, asked = tmp_path / "a.jsonl", the_set()
    ask(file, Parrot("Gladiator"), asked, 5)
    said = read_answers(file)
    assert {
        s.error for q, s in zip(asked, said.values(), strict=True) if "Gladiator" in q.question
    } == {"it broke"}
    assert sum(s.error is None for s in said.values()) == 20
    with pytest.raises(InputError, match="the first questions all failed, it broke"):
        ask(tmp_path / "b.jsonl", Parrot(""), asked, 5)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    ask(file, Parrot(), the_set(), 5)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], "{}\n", *lines[2:]]))
    with pytest.raises(InputError, match=r"line 2 of .*a\.jsonl is damaged \(this is no answer"):
        read_answers(file)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with question sets and a catalogue."""
    to = tmp_path_factory.mktemp("answers")
    write(to / "test.jsonl", the_set())
    write(to / "train.jsonl", the_set("train"))
    CATALOG.save(to / "catalog")
    return to


def options(base: Path, **changes: Any) -> AnswerOptions:
    said = {
        "questions": str(base / "test.jsonl"),
        "trained_on": str(base / "train.jsonl"),
        "catalog": str(base / "catalog"),
        "systems": ("copy-title", "majority"),
        "samples": 50,
    }
    return AnswerOptions(**{**said, **changes})


def test_a_run_and_what_its_folder_holds(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = ["--questions", str(base / "test.jsonl"), "--trained-on", str(base / "train.jsonl")]
    argv += ["--catalog", str(base / "catalog"), "--samples", "50", "--out", str(out)]
    assert main([*argv, "--systems", "majority"]) == 0
    assert "# Answers" in capsys.readouterr().out
    first = (out / "answers/majority.jsonl").read_bytes()
    # Another system joins; what was asked is not asked again.
    assert main([*argv, "--systems", "copy-title", "nearest-title"]) == 0
    assert (out / "answers/majority.jsonl").read_bytes() == first
    assert sorted(f.name for f in out.iterdir()) == [
        "answers", "metrics.json", "plots", "questions.jsonl", "report.html", "report.md",
        "run.json",
    ]  # fmt: skip
    figures = json.loads((out / "metrics.json").read_text())
    assert list(figures["systems"]) == ["copy-title", "nearest-title", "majority"]
    assert (figures["n"], figures["answerable"], figures["clusters"]) == (24, 18, 6)
    record = json.loads((out / "run.json").read_text())
    assert set(record["systems"]) == {"majority", "copy-title", "nearest-title"}
    assert record["overlap"] == {"clusters": 0, "wordings": 3, "questions": 0}
    assert str(base) not in (out / "run.json").read_text()  # no path of this machine
    # Run again, nothing changes.
    before = {f: f.read_bytes() for f in out.rglob("*") if f.is_file()}
    assert main([*argv, "--systems", "copy-title", "nearest-title"]) == 0
    assert {f: f.read_bytes() for f in out.rglob("*") if f.is_file()} == before


def test_a_killed_run_goes_on(base: Path, tmp_path: Path) -> None:
    """A process that is killed while it asks leaves what another one ends."""
    code = """
import os, signal, sys
from llmrec.evaluation import answers
from llmrec.evaluation.answering_systems import CopyTitle
class Killed(CopyTitle):
    n = 0
    def answer(self, questions):
        Killed.n += 1
        if Killed.n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(questions)
answers.CopyTitle = Killed
answers.run(answers.AnswerOptions(questions=sys.argv[1], catalog=sys.argv[2], out=sys.argv[3],
            systems=('copy-title',), batch_size=4, samples=50), progress=False)
"""
    argv = [str(base / "test.jsonl"), str(base / "catalog"), str(tmp_path / "killed")]
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=ROOT, check=False)
    assert done.returncode == -9
    file = tmp_path / "killed/answers/copy-title.jsonl"
    assert len(read_answers(file)) == 8
    asked = {"systems": ("copy-title",), "batch_size": 4, "trained_on": None}
    run(options(base, **asked, out=str(tmp_path / "killed")), progress=False)
    run(options(base, **asked, out=str(tmp_path / "whole")), progress=False)
    assert without_seconds(file) == without_seconds(tmp_path / "whole/answers/copy-title.jsonl")
    figures = [json.loads((tmp_path / f / "metrics.json").read_text()) for f in ("killed", "whole")]
    for of in figures:
        del of["systems"]["copy-title"]["seconds"]
    assert figures[0] == figures[1]


def test_another_run_is_not_mixed_in(base: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    run(options(base, out=out), progress=False)
    with pytest.raises(InputError, match="holds a run of something else, seed was 0 and is 1"):
        run(options(base, out=out, seed=1), progress=False)
    other = write(tmp_path / "other.jsonl", the_set("train")[:8])
    with pytest.raises(InputError, match=r"trained_on of majority was '.*' and is '.*': give"):
        run(options(base, out=out, trained_on=str(other)), progress=False)
    run(options(base, out=out, seed=1, restart=True), progress=False)
    (tmp_path / "run/run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json is damaged: begin anew with --restart"):
        run(options(base, out=out), progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is there and holds no run: give another --out"):
        run(options(base, out=str(tmp_path / "mine")), progress=False)
    with (
        claimed(tmp_path / "run/.at-work"),
        pytest.raises(InputError, match="another run is at work"),
    ):
        run(options(base, out=out, restart=True), progress=False)


def test_what_was_trained_on_is_not_asked(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = write(tmp_path / "seen.jsonl", [*the_set("train"), *the_set()[:4]])
    asked = options(base, trained_on=str(seen), out=str(tmp_path / "run"))
    with pytest.raises(InputError, match=r"1 title clusters of .* stand in .*seen\.jsonl too"):
        run(asked, progress=False)
    assert not (tmp_path / "run").exists()
    run(dataclasses.replace(asked, allow_overlap=True), progress=False)
    assert "WARNING: 1 title clusters" in capsys.readouterr().err
    assert "Overlap: 1 title clusters" in (tmp_path / "run/report.md").read_text()


def test_a_broken_line_is_left_out_and_told(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text((base / "test.jsonl").read_text() + '{"id": "no question"}\n')
    run(options(base, questions=str(file), out=str(tmp_path / "run")), progress=False)
    said = (tmp_path / "run/report.md").read_text()
    assert re.search(r"Left out: 1 of the lines, the first is line 25 of broken\.jsonl", said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"questions": ""}, "no questions are given: name with --questions"),
        ({"systems": ("oracle",)}, "systems has 'oracle': use retrieval, unchecked, alone"),
        ({"trained_on": None}, "system majority learns from questions of the training part"),
        ({"systems": ("tuned",)}, "system tuned needs an adapter: name it with --adapter"),
        ({"limit": 0}, "limit is 0: give 1 or more"),
        ({"batch_size": 0}, "batch_size is 0: give 1 or more"),
    ],
)
def test_bad_options_are_named(base: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        options(base, **changes)


def test_all_that_can_be_asked_is(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = options(base, systems=())
    assert every.asked == (
        "retrieval", "unchecked", "alone", "copy-title", "nearest-title", "majority",
    )  # fmt: skip
    assert options(base, systems=(), trained_on=None, adapter="me/a").asked == (
        "retrieval", "unchecked", "alone", "tuned", "tuned-unchecked", "tuned-alone", "copy-title",
    )  # fmt: skip
    assert main(["--questions", "nowhere.jsonl"]) == 1
    assert capsys.readouterr().err.startswith("answers: there is no file nowhere.jsonl")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_models_are_asked(base: Path, tmp_path: Path) -> None:
    """A tiny random model, from its folder: what it says is nonsense, what is found is not."""
    from peft import LoraConfig, get_peft_model

    model = evaluated.model(tmp_path / "model")
    lora = get_peft_model(tiny.network(), LoraConfig(r=2, target_modules=["q_proj"]))
    lora.save_pretrained(tmp_path / "adapter")
    asked = options(
        base, model=str(model), systems=("retrieval", "alone", "unchecked"), limit=4,
        out=str(tmp_path / "run"), threads=1,
    )  # fmt: skip
    run(asked, progress=False)
    # The tuned ones join, and what the others said stays.
    tuned = {"adapter": str(tmp_path / "adapter"), "systems": ("tuned", "tuned-alone")}
    run(dataclasses.replace(asked, **tuned), progress=False)
    figures = json.loads((tmp_path / "run/metrics.json").read_text())["systems"]
    assert set(figures) == {"tuned", "tuned-alone", "retrieval", "alone", "unchecked"}
    for name in ("retrieval", "tuned"):
        assert figures[name]["all"]["hit@1"]["value"] == 1
        assert figures[name]["all"]["right"]["value"] > 0.5
        assert figures[name]["all"]["checked"]["value"] == 1
    assert figures["unchecked"]["all"]["hit@1"]["value"] == 1
    assert figures["alone"]["all"]["hit@1"]["n"] == 0
    systems = json.loads((tmp_path / "run/run.json").read_text())["systems"]
    assert len(systems["alone"]["weights"]) == len(systems["tuned"]["adapter_weights"]) == 32
    with pytest.raises(InputError, match="model of retrieval was 'model' and is 'embedded'"):
        run(dataclasses.replace(asked, model="embedded"), progress=False)


# Figures and reports.


def the_answers(right: float, seed: int) -> list[Said]:
    """Answers of which about so many are right, half of the others refused."""
    dice = random.Random(seed)
    out = []
    for q in the_set():
        best = dice.random() < right
        refused = not q.answerable if best else dice.random() < 0.5
        text = (q.answers or ("",))[0] if best else "Nothing of it in 1812."
        found = q.items if best else ()
        out.append(Said(q.id, text, refused, True, found=found, sources=q.items, seconds=0.25))
    return out


def the_figures(**systems: list[Said]) -> tuple[list[Asked], dict[str, Any]]:
    rows = zip(the_set(), *systems.values(), strict=True)
    asked = [Asked(q, dict(zip(systems, said, strict=True))) for q, *said in rows]
    return asked, figures_of(asked, CATALOG, samples=400)


def test_figures_by_hand() -> None:
    good, bad = the_answers(1.0, 0), the_answers(0.4, 1)
    asked, figures = the_figures(good=good, bad=bad)
    best = figures["systems"]["good"]
    assert best["all"]["right"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 24}
    assert best["all"]["token_f1"]["n"] == 18
    assert best["refusals"]["precision"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 6}
    assert best["seconds"] == {"mean": 0.25, "median": 0.25, "p95": 0.25}
    assert best["slices"]["answerable"]["no such fact"]["right"]["n"] == 6
    assert figures["slices"]["kind, language"] == {"fact, en": 12, "fact, pt": 6, "text, en": 6}
    other = figures["systems"]["bad"]
    right = [is_right(a.question, a.said["bad"]) for a in asked]
    assert other["all"]["right"]["value"] == pytest.approx(np.mean(right))
    made = metrics.refusals([s.refused for s in bad], [a.question.answerable for a in asked])
    for name in ("precision", "recall", "f1"):
        found = other["refusals"][name]
        assert found["value"] == pytest.approx(getattr(made, name))
        assert found["low"] <= found["value"] <= found["high"]
    can = [(a, s) for a, s in zip(asked, bad, strict=True) if a.question.answerable]
    texts = ["" if s.refused else s.text for _, s in can]
    bleu = metrics.bleu(texts, [a.question.answers for a, _ in can])
    found = other["all"]["bleu"]
    assert found["value"] == pytest.approx(bleu)
    assert found["low"] < found["value"] < found["high"]
    json.dumps(figures, allow_nan=False)


def test_systems_are_tested_against_the_first() -> None:
    good, bad = the_answers(1.0, 0), the_answers(0.4, 1)
    _, figures = the_figures(good=good, same=good, bad=bad)
    tests = {(t["name"], t["metric"]): t for t in figures["tests"]}
    assert tests["same", "right"]["difference"] == 0
    assert tests["same", "right"]["holm"] == 1
    assert tests["bad", "right"]["difference"] < 0
    assert tests["bad", "right"]["holm"] < 0.05
    assert all(t["p"] <= t["holm"] and t["other"] == "good" for t in tests.values())


def test_words_of_others_are_escaped(tmp_path: Path) -> None:
    asked, _ = the_figures(a=the_answers(0.3, 0))
    evil = "<script>alert(1)</script> | a\n# b"
    first = dataclasses.replace(asked[0].question, question=evil)
    asked[0] = Asked(first, {"a": Said(first.id, evil)})
    figures = figures_of(asked, CATALOG, samples=50)
    shared = {"in_file": 24, "questions": "q.jsonl", "catalog": "c", "catalog_size": 14}
    record = {
        "shared": shared, "systems": {"a": {}}, "problems": [], "trained_on": None,
        "overlap": {"clusters": 0, "wordings": 0, "questions": 0},
    }  # fmt: skip
    write_report(tmp_path, record, figures, asked, CATALOG)
    html = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert html.count("<svg") == 2
    md = (tmp_path / "report.md").read_text()
    assert "\n# b" not in md
    assert "Few clusters" in md
    assert "## When an answer is right" in md
