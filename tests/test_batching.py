from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny

from llmrec.decoding import Ranking, batching, rank_titles, score_titles, title_trie
from llmrec.decoding.batching import shared_run
from llmrec.errors import InputError, ModelError
from llmrec.models import LocalModel, ScriptedModel
from llmrec.models.base import FloatArray, Growth, nothing

PATIENCE = 30  # seconds until a test that hangs fails
MANY = [
    f"{a} {b} {c}" for a in ("the", "no", "a") for b in ("cat", "car", "dog", "sea") for c in "1xy"
]


@cache
def local(family: tiny.Family = "llama", mode: Any = None) -> LocalModel:
    return LocalModel(tiny.network(family), tiny.tokenizer(), mode=mode)


def prompts_of(model: LocalModel, n: int) -> list[list[int]]:
    """Prompts of very different length; some begin alike."""
    sizes = [3, 40, 1, 17, 21, 2, 90, 8, 30, 5, 24]
    return [model.encode("Films like " * (i % 3) + "x y " * sizes[i % 11]) for i in range(n)]


def same(own: Ranking, right: Ranking) -> None:
    assert own.rows.tolist() == right.rows.tolist()
    assert own.logprobs == pytest.approx(right.logprobs, abs=1e-4)
    assert (own.exact, own.forwards, own.tokens) == (right.exact, right.forwards, right.tokens)
    assert own.gap == pytest.approx(right.gap, abs=1e-4)
    assert own.dropped == right.dropped


# -- one caller -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"budget": 20, "width": 3}, {"score_all_below": 0}])
@pytest.mark.parametrize(
    ("family", "mode"),
    [("llama", None), ("gpt2", None), ("gemma2", None), ("gemma2", "copies"), ("llama", "plain")],
)
def test_searches_that_come_and_go_find_what_each_finds_alone(
    family: tiny.Family, mode: Any, options: dict[str, Any]
) -> None:
    model = local(family, mode)
    trie = title_trie(model, [*tiny.TITLES, *MANY])
    prompts = prompts_of(model, 11 if mode is None else 4)
    every = np.arange(trie.n_rows)
    subsets = [None, every[::2], every[:0], every[5:6], every[-9:], None, every[:30]]
    allowed = [subsets[i % 7] for i in range(len(prompts))]
    alone = [
        rank_titles(model, [p], trie, 4, allowed=[rows], **options)[0]
        for p, rows in zip(prompts, allowed, strict=True)
    ]
    for size in (1, 3, 16):
        together = rank_titles(model, prompts, trie, 4, allowed=allowed, batch_size=size, **options)
        for own, right in zip(together, alone, strict=True):
            same(own, right)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_scores_of_trees_of_every_size_are_those_of_each_alone(family: tiny.Family) -> None:
    model = local(family)
    trie = title_trie(model, [*tiny.TITLES, *MANY])
    prompts = prompts_of(model, 7)
    rows = [np.arange(n) for n in (0, 50, 1, 3, 52, 2, 20)]
    together = score_titles(model, prompts, trie, rows, batch_size=3)
    for prompt, own, wanted in zip(prompts, together, rows, strict=True):
        assert own == pytest.approx(score_titles(model, [prompt], trie, [wanted])[0], abs=1e-4)


@contextmanager
def forwards(model: LocalModel) -> Iterator[list[tuple[int, ...]]]:
    """Rows, tokens and columns of the cache of each forward."""
    seen: list[tuple[int, ...]] = []

    def look(_: Any, __: Any, given: dict[str, Any], out: Any) -> None:
        seen.append((*given["input_ids"].shape, out.past_key_values.layers[0].keys.shape[2]))

    handle = model.model.register_forward_hook(look, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def test_small_trees_are_not_padded_to_a_large_one() -> None:
    model = LocalModel(tiny.network(), tiny.tokenizer(), mode="tree", prefix_cache_mb=0)
    trie = title_trie(model, MANY * 2 + [f"{t} {i}" for i, t in enumerate(MANY * 6)])
    prompts = prompts_of(model, 8)
    rows = [np.arange(trie.n_rows if n == 3 else 2) for n in range(8)]
    before = model.fed
    with forwards(model) as single:
        for prompt, wanted in zip(prompts, rows, strict=True):
            score_titles(model, [prompt], trie, [wanted])
    alone = model.fed - before
    with forwards(model) as seen:
        score_titles(model, prompts, trie, rows)
    assert model.fed - before - alone < 1.25 * alone
    assert len(seen) < len(single)
    assert max(columns for *_, columns in seen) < 700


def test_rows_leave_others_take_their_place_and_the_cache_does_not_grow() -> None:
    model = LocalModel(tiny.network(), tiny.tokenizer(), mode="tree", prefix_cache_mb=0)
    trie = title_trie(model, MANY)
    prompts = [model.encode("x y " * (2 + i % 5)) for i in range(24)]
    allowed = [np.arange(3 if i % 4 else len(MANY)) for i in range(24)]
    options: dict[str, Any] = {"score_all_below": 0, "width": 2}
    with forwards(model) as alone:
        for prompt, rows in zip(prompts, allowed, strict=True):
            rank_titles(model, [prompt], trie, 5, allowed=[rows], **options)
    with forwards(model) as seen:
        rank_titles(model, prompts, trie, 5, allowed=allowed, batch_size=4, **options)
    assert max(rows for rows, *_ in seen) == 4
    assert max(columns for *_, columns in seen) <= max(columns for *_, columns in alone) + 8
    assert len(seen) < len(alone) / 2


def test_prompts_of_a_batch_are_remembered() -> None:
    model = LocalModel(tiny.network("gemma2"), tiny.tokenizer(), mode="tree")
    trie = title_trie(model, MANY)
    prompts = prompts_of(model, 6)
    first = score_titles(model, prompts, trie)
    with forwards(model) as seen:
        again = score_titles(model, prompts, trie)
        alone = score_titles(model, prompts[1:2], trie)
    assert seen[0][:2] == (6, 1)  # of every prompt nothing but its last token
    for own, right in zip(again, first, strict=True):
        assert own == pytest.approx(right, abs=1e-4)
    assert alone[0] == pytest.approx(first[1], abs=1e-4)


@pytest.mark.parametrize("mode", ["tree", "copies"])
def test_where_a_forward_fails_the_trees_are_as_they_were(mode: Any) -> None:
    model = local("llama", mode)
    prompts = prompts_of(model, 3)
    rng = np.random.default_rng(0)

    def growth(n: int, made: int) -> Growth:
        tokens = rng.integers(7, 400, n).astype(np.int32)
        parents = np.minimum(rng.integers(-1, made + n, n), made - 1 + np.arange(n))
        nodes = np.arange(n, dtype=np.int32)
        return Growth(tokens, parents.astype(np.int32), nodes, tokens)

    steps = [
        [growth(n, made) for n, made in zip((60, 2, 20), then, strict=True)]
        for then in ((0, 0, 0), (60, 2, 20))
    ]  # of sizes that are not run together
    steps[0][1] = steps[0][1]._replace(kept=False)
    steps[1][1] = growth(2, 0)
    right, own = (model.prefill_many(prompts) for _ in range(2))
    wanted = [right.extend(step) for step in steps]
    ran = 0

    def second(*_: Any) -> None:
        nonlocal ran
        ran += 1
        if ran == 2:
            raise RuntimeError("out of memory")

    for step, values in zip(steps, wanted, strict=True):
        ran = 0
        handle = model.model.register_forward_pre_hook(second)
        with pytest.raises(RuntimeError, match="out of memory"):
            own.extend(step)
        handle.remove()
        for got, value in zip(own.extend(step), values, strict=True):
            assert got == pytest.approx(value, abs=1e-4)


# -- several callers --------------------------------------------------------------------------


class Steps:
    """A task that feeds a token at each step until ``until``, and notes its end."""

    def __init__(self, prompt: Sequence[int], until: Callable[[], bool]) -> None:
        self.prompt, self.until, self.fed, self.over = prompt, until, 0, False

    def start(self, logprobs: FloatArray) -> None:
        assert logprobs.shape == (260,)

    def propose(self, room: int) -> Growth:
        if self.until():
            self.over = True
            return nothing
        token = np.array([65 + self.fed % 20], dtype=np.int32)
        place = np.zeros(1, dtype=np.int32)
        return Growth(token, place + self.fed - 1, place, place + 66)

    def accept(self, values: FloatArray) -> None:
        assert np.isfinite(values).all()
        self.fed += 1


class Shared(ScriptedModel):
    """Notes which prompts were begun, and how many grew in each forward; fails where it must."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.begun: list[list[int]] = []
        self.grown: list[int] = []
        self.forests: list[weakref.ref[Any]] = []
        self.led = threading.Event()  # somebody leads
        self.down = False

    def prefill_many(self, prompts: Sequence[Sequence[int]]) -> Any:
        for prompt in prompts:
            if bytes(prompt).startswith(b"BAD"):
                raise InputError("a bad prompt")
        self.begun += [list(p) for p in prompts]
        self.led.set()
        forest: Any = super().prefill_many(prompts)
        self.forests.append(weakref.ref(forest))
        extend = type(forest).extend

        def noted(growths: Sequence[Growth]) -> list[npt.NDArray[np.float32]]:
            if self.down:
                raise ModelError("out of order")
            self.grown.append(sum(len(g.tokens) > 0 for g in growths))
            found: list[npt.NDArray[np.float32]] = extend(self_of(), growths)
            return found

        self_of = weakref.ref(forest)
        forest.extend = noted
        return forest


def in_threads(asks: Sequence[Callable[[], Any]], model: Shared | None = None) -> list[Any]:
    """What each gave or raised, asked at the same time; of a model, the first one leads."""
    out: list[Any] = [None] * len(asks)

    def ask(number: int) -> None:
        try:
            if model is not None and number:
                assert model.led.wait(PATIENCE)
            out[number] = asks[number]()
        except BaseException as e:  # the reader looks at it
            out[number] = e

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "this hangs"
    return out


def all_in_line(model: Shared, n: int) -> None:
    """Wait until so many requests run or wait for their turn."""
    deadline = time.monotonic() + PATIENCE
    while len(batching._batches[model].requests) < n:
        assert time.monotonic() < deadline, "nobody comes"
        time.sleep(0.001)


def held_open(model: Shared, n: int, begin: int | None = None) -> Callable[[], Steps]:
    """A caller who leads until so many others have come, and ``begin`` prompts of theirs begun."""

    def over() -> bool:
        if task.fed == 0:
            all_in_line(model, n + 1)
        return len(model.begun) > (n if begin is None else begin)

    task = Steps(model.encode("held open"), over)

    def ask() -> Steps:
        shared_run(model, [task], 16)
        return task

    return ask


@pytest.mark.parametrize("below", [0, 1000])
def test_who_asks_at_the_same_time_shares_forwards_and_gets_his_own(below: int) -> None:
    model, quiet = Shared(seed=3), ScriptedModel(seed=3)
    trie = title_trie(model, MANY)
    prompts = [model.encode(f"films for {n}") for n in range(6)]

    def ask(model: ScriptedModel, prompt: list[int]) -> Ranking:
        return rank_titles(model, [prompt], trie, 5, width=2, score_all_below=below)[0]

    asks = [lambda p=p: ask(model, p) for p in prompts]
    held, *found = in_threads([held_open(model, 6), *asks], model)
    assert held.over
    for own, prompt in zip(found, prompts, strict=True):
        right = ask(quiet, prompt)
        assert own.rows.tolist() == right.rows.tolist()
        assert own.logprobs.tolist() == right.logprobs.tolist()
        assert (own.forwards, own.tokens) == (right.forwards, right.tokens)
    if below == 0:
        assert max(model.grown) == 6
        assert len(model.grown) - 1 == max(r.forwards - 1 for r in found)
    assert all(ref() is None for ref in model.forests)  # nothing is kept for later


def test_an_error_of_one_prompt_is_told_to_its_caller_only() -> None:
    model = Shared(seed=1)
    trie = title_trie(model, MANY)
    good, bad = model.encode("good"), model.encode("BAD")
    asks = [
        lambda: rank_titles(model, [good], trie, 3, score_all_below=0)[0],
        lambda: rank_titles(model, [good, bad], trie, 3)[0],
        lambda: score_titles(model, [bad], trie),
        lambda: score_titles(model, [good], trie)[0],
    ]
    _, ranked, *errors, scores = in_threads([held_open(model, 4, begin=2), *asks], model)
    right = rank_titles(ScriptedModel(seed=1), [good], trie, 3)[0]
    assert ranked.rows.tolist() == right.rows.tolist()
    assert scores[ranked.rows] == pytest.approx(right.logprobs, abs=1e-5)
    for error in errors:
        with pytest.raises(InputError, match="a bad prompt"):
            raise error


def test_a_tree_beyond_the_models_reach_fails_alone() -> None:
    model = local("gpt2")
    trie = title_trie(model, tiny.TITLES)
    short = model.encode("x y z")
    right = rank_titles(model, [short], trie, 5, score_all_below=0)[0]
    start = threading.Barrier(4, timeout=PATIENCE)

    def ask(prompt: list[int]) -> Ranking:
        start.wait()
        for _ in range(5):
            found = rank_titles(model, [prompt], trie, 5, score_all_below=0)[0]
        return found

    error, *found = in_threads([lambda p=p: ask(p) for p in ([9] * 512, short, short, short)])
    with pytest.raises(InputError, match="reads 512 at most"):
        raise error
    for own in found:
        same(own, right)


def test_a_forward_that_fails_reaches_all_in_it_and_the_next_goes_on() -> None:
    model = Shared(seed=1)
    trie = title_trie(model, MANY)

    def fail() -> bool:
        if task.fed == 0:
            all_in_line(model, 3)
        model.down = model.down or len(model.begun) > 2
        return False

    task = Steps(model.encode("fails"), fail)

    def ask() -> list[Ranking]:
        return rank_titles(model, [model.encode("x")], trie, 3, score_all_below=0)

    errors = in_threads([lambda: shared_run(model, [task], 16), ask, ask], model)
    for error in errors:
        with pytest.raises(ModelError, match="out of order"):
            raise error
    assert len({id(error) for error in errors}) == 3
    model.down = False
    assert ask()[0].exact
    errors.clear()
    del error
    assert all(ref() is None for ref in model.forests)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_a_caller_who_dies_leaves_nobody_waiting(kind: type[BaseException]) -> None:
    model = Shared(seed=1)
    trie = title_trie(model, MANY)
    slow = Steps(model.encode("slow"), lambda: False)

    def die() -> bool:
        if len(model.begun) > 1:
            raise kind("here")
        return False

    task = Steps(model.encode("dies"), die)
    died, other = in_threads([lambda t=t: shared_run(model, [t], 16) for t in (task, slow)], model)
    with pytest.raises(kind, match="here"):
        raise died
    with pytest.raises(ModelError, match=rf"broke off \({kind.__name__}\): ask again"):
        raise other
    assert rank_titles(model, [model.encode("x")], trie, 3, score_all_below=0)[0].exact
    assert all(ref() is None for ref in model.forests)


def test_a_visitor_does_not_wait_for_a_long_list() -> None:
    model = Shared()
    visitor = Steps(model.encode("visitor"), lambda: visitor.fed > 2)

    def served() -> bool:
        if first.fed == 0:
            all_in_line(model, 2)
        return visitor.fed > 0

    first = Steps(model.encode("list 0"), served)
    rest = [Steps(model.encode("list"), lambda: False) for _ in range(30)]
    for task in rest:
        task.until = lambda t=task: t.fed > 3

    asks = [lambda t=t: shared_run(model, t, 4) for t in ([first, *rest], [visitor])]
    assert in_threads(asks, model) == [None, None]
    assert model.begun.index(visitor.prompt) < len(model.begun) - 1
    assert first.over
    assert all(task.fed == 4 for task in rest)
    assert max(model.grown) == 4


def test_who_takes_few_at_a_time_is_served_beside_who_takes_many() -> None:
    model = Shared()
    few = [Steps(model.encode("few"), lambda: False) for _ in range(3)]
    for task in few:
        task.until = lambda t=task: t.fed > 1
    held = held_open(model, 1, begin=3)
    assert in_threads([held, lambda: shared_run(model, few, 1)], model)[1] is None
    assert max(model.grown) == 2
    assert all(task.over for task in few)


def test_threads_on_a_real_model_get_what_they_get_alone() -> None:
    model = LocalModel(tiny.network("gemma2"), tiny.tokenizer())
    trie = title_trie(model, [*tiny.TITLES, *MANY])
    prompts = prompts_of(model, 8)
    right = [rank_titles(model, [p], trie, 5, score_all_below=0)[0] for p in prompts]
    scores = score_titles(model, prompts, trie)
    start = threading.Barrier(4, timeout=PATIENCE)

    def ask(number: int) -> None:
        start.wait()
        for at in (number, number + 4):
            same(rank_titles(model, [prompts[at]], trie, 5, score_all_below=0)[0], right[at])
            (own,) = score_titles(model, [prompts[at]], trie)
            assert own == pytest.approx(scores[at], abs=1e-4)

    for raised in in_threads([lambda n=n: ask(n) for n in range(4)]):
        if raised is not None:
            raise raised


def test_who_asks_from_within_a_forward_does_not_wait_for_himself() -> None:
    outer = list(b"outer")
    inner: list[npt.NDArray[np.float64]] = []

    def tell(tokens: Sequence[int]) -> FloatArray:
        if list(tokens) == outer and not inner:
            inner.extend(score_titles(model, [list(b"inner")], trie))
        return np.zeros(260, dtype=np.float32)

    model = ScriptedModel(scores=tell)
    trie = title_trie(model, tiny.TITLES)
    done = threading.Thread(target=lambda: score_titles(model, [outer], trie), daemon=True)
    done.start()
    done.join(PATIENCE)
    assert not done.is_alive()
    (right,) = score_titles(model, [list(b"inner")], trie)
    assert inner[0].tolist() == right.tolist()


def test_a_batch_has_a_size() -> None:
    model = ScriptedModel()
    trie = title_trie(model, ["Heat"])
    for ask in (
        lambda: rank_titles(model, [[1]], trie, 3, batch_size=0),
        lambda: score_titles(model, [[1]], trie, batch_size=0),
    ):
        with pytest.raises(InputError, match="batch_size is 0: give 1 or more"):
            ask()
