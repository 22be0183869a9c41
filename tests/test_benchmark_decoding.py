"""The ways to get ten titles are counted as they are said to be, and constraints hold alike."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import beams, decoding, tastes
from benchmarks.trie import RIVALS, sequences
from llmrec.catalog import Catalog
from llmrec.decoding import title_trie
from llmrec.models.local import LocalModel
from llmrec.prompting import LIST_PREFIX

TITLES = list(Catalog.embedded().titles)[:200]


@pytest.fixture(scope="module")
def bench() -> decoding.Bench:
    model = LocalModel.from_pretrained(prefix_cache_mb=0)
    return decoding.Bench(model, TITLES, title_trie(model, TITLES), 0, None)


@pytest.fixture(scope="module")
def request_(bench: decoding.Bench) -> decoding.Request:
    return tastes.of_films(1, tastes.Tastes(TITLES, "brief", 0).strategy("short"))[0]


def test_the_least_is_what_scoring_every_beginning_says(
    bench: decoding.Bench, request_: decoding.Request
) -> None:
    right = bench.search(request_, None)
    prompt = bench.prompt(request_)
    likelier: dict[tuple[int, ...], bool] = {}  # beginnings, and whether they are whole titles
    for at in range(0, len(TITLES), 50):
        titles = [bench.trie.sequence(leaf) for leaf in range(len(TITLES))[at : at + 50]]
        width = max(map(len, titles))
        rows = torch.tensor([[*prompt, *t, *[0] * (width - len(t))] for t in titles])
        with torch.inference_mode():
            logprobs = bench.model.model(input_ids=rows).logits.log_softmax(-1)
        for i, title in enumerate(titles):
            total = 0.0
            for n, token in enumerate(title):
                total += float(logprobs[i, len(prompt) - 1 + n, token])
                if total >= right.logprobs[-1] - 1e-4:
                    likelier[tuple(title[: n + 1])] = n + 1 == len(title)
    assert sum(likelier.values()) == len(right.rows) == 10
    assert bench.least(request_, right) == len(likelier) - 10
    assert bench.least(request_, right) <= right.tokens


def test_another_title_as_likely_is_told(bench: decoding.Bench, request_: decoding.Request) -> None:
    right = bench.search(request_, None)
    few = type(right)(right.rows[:5], right.logprobs, right.scores, True, 0.0, 1, 1, 0)
    few.logprobs[-1] -= 1.0  # as if the search had missed what lies between
    with pytest.raises(AssertionError, match="as likely as the tenth"):
        bench.least(request_, few)


def test_tokens_of_the_prompt_and_those_after_it(
    bench: decoding.Bench, request_: decoding.Request
) -> None:
    prompt = len(bench.prompt(request_))
    with decoding.counting(bench.model, prompt) as fed:
        found = bench.search(request_, None)
    assert (fed.forwards, fed.prompt, fed.after) == (found.forwards, prompt, found.tokens)
    with decoding.counting(bench.model, prompt) as each:
        listed, strangers = bench.beams(6)(request_)
    with decoding.counting(bench.model, prompt) as once:
        assert bench.beams(6, shared=True)(request_) == (listed, strangers)
    assert each.prompt == 6 * prompt
    assert once.prompt == prompt - 1 + 6  # the last token is each beam's own
    assert each.after == once.after > 0
    assert set(listed) <= set(range(len(TITLES)))
    assert strangers == 0


def test_a_long_prompt_is_the_whole_instruction_with_examples(bench: decoding.Bench) -> None:
    known = tastes.Tastes(TITLES, "brief", 0)
    short, shots, long = (known.requests(2, prompt)[0] for prompt in tastes.PROMPTS)
    turns = ["system", *["user", "assistant"] * tastes.SHOTS, "user"]
    assert [m.role for m in shots] == [m.role for m in long] == turns
    assert (short[0], short[-1]) == (shots[0], shots[-1])
    assert "Answer with a numbered list" in long[0].content
    assert long[2].content.count("\n") == tastes.SHOT - 1
    sizes = [len(bench.prompt(messages)) for messages in (short, shots, long)]
    assert 3 * sizes[0] < sizes[1] < sizes[2] < 512 - beams.LONGEST


def test_goals_are_told_for_each_way_to_count() -> None:
    exact = decoding.Tally(prompt=[20, 20], after=[90, 110])
    least = decoding.Tally(prompt=[20, 20], after=[40, 60])
    beam = decoding.Tally(prompt=[800, 800], after=[400, 400])
    lines = decoding.goals({"exact": exact, "beam-40": beam}, exact, least, "20 lists")
    assert lines[2:4] == [
        "| beam-40 | all, the prompt for each beam | 10.00 | 17.14 | 5 | met |",
        "| beam-40 | after the prompt | 4.00 | 8.00 | 5 | MISSED |",
    ]
    assert lines[-1].endswith("50% were necessary.")
    some = decoding.Tally(prompt=[20], after=[40])
    unproven = decoding.goals({"exact": exact, "beam-40": beam}, exact, some, "20 lists")
    assert unproven[2].endswith("| 10.00 |  | 5 | MISSED, not proven |")


def test_every_constraint_holds_the_same_beams(
    bench: decoding.Bench, request_: decoding.Request
) -> None:
    prompt = bench.model.prompt_ids(request_, LIST_PREFIX)
    walk = bench.walk
    held = {
        "our trie": walk,
        "dict": beams.Allowed(RIVALS["dict"](*sequences(bench.trie)[:2])[0], walk.ends),
        "llguidance": beams.Guided(bench.model, TITLES, raised=False),
    }
    found = {}
    for name, constraint in held.items():
        spent: list[float] = []
        got = beams.beam_search(bench.model, prompt, constraint, 8, 5, shared=True, spent=spent)
        found[name] = [beams._title(bench.model, tokens, constraint.ends) for tokens in got]
        assert 0 < len(spent) <= beams.LONGEST
    assert len(set(found["our trie"])) == 5
    assert found["dict"] == found["our trie"]
    assert set(found["llguidance"]) <= set(TITLES)
    assert found["llguidance"][0] == found["our trie"][0]


def test_what_does_not_end_well_is_told() -> None:
    assert beams.tried(partial(dict, built=1), 60) == {"built": 1}
    assert "invalid literal" in beams.tried(partial(int, "many"), 60)["ended"]  # type: ignore[arg-type]
    assert beams.tried(partial(os._exit, 3), 60) == {"ended": "the process ended with status 3"}
    assert beams.tried(dict, 0) == {"ended": "not done after 0 s"}
    said = beams.row("dict", 1_000, {"ended": "too big"}, {})
    assert said == "| dict | 1,000 | too big | | | | |"


@pytest.mark.slow
def test_constraints_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "titles.txt").write_text("\n".join(TITLES), encoding="utf-8")
    flags = ["--titles", str(tmp_path / "titles.txt"), "--sizes", "100", "--requests", "1"]
    assert beams.main([*flags, "--width", "4"]) == 0
    out = capsys.readouterr().out
    assert "| our trie | 100 |" in out
    assert "| 100% |" in out
