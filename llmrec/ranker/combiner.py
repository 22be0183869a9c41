"""Combiner hides how signals become one utility: a listwise softmax with one hidden layer.

The features of a candidate are, for each signal, its value, its value beside the best one's, and
its reciprocal rank; with them goes what kind of conversation it is. A linear part is learned
beside the hidden layer, so that few cases are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.ranker.sparse import Arrays
from llmrec.ranker.talk import CONTEXT

__all__ = ["Combiner", "Listed", "features_of", "listed"]

Floats = npt.NDArray[np.float32]
HIDDEN = 64
EPOCHS = 12
BATCH = 32
RATE = 2e-3
DECAY = 1e-3
DROPOUT = 0.1
PER_SIGNAL = 3
LIKELY, OTHERS = 100, 80  # wrong candidates of a case that are learned from


class Listed(NamedTuple):
    """The candidates of one case that are learned from.

    features: float16 [candidates, n]. context: float32 [CONTEXT].
    right: bool [candidates], what was wanted.
    stands_for: float32 [candidates], the logarithm of how many candidates it stands for.
    """

    features: npt.NDArray[np.float16]
    context: Floats
    right: npt.NDArray[np.bool_]
    stands_for: Floats


def listed(
    values: npt.NDArray[Any],
    context: Floats,
    right: npt.NDArray[np.bool_],
    logs: Sequence[int],
    rng: np.random.Generator,
) -> Listed:
    """A case from all its candidates: the right ones, the likely ones, and some of the others.

    Parameters as for ``features_of``. What is left out is made up for by the weight of the rest.
    """
    features = features_of(values, logs)
    likely = features[:, PER_SIGNAL - 1 :: PER_SIGNAL].sum(axis=1)
    order = np.argsort(-np.where(right, np.inf, likely), kind="stable")
    sure = int(right.sum()) + LIKELY
    rest = order[sure:]
    some = rng.choice(rest, min(OTHERS, len(rest)), replace=False)
    kept = np.concatenate([order[:sure], some])
    stands_for = np.zeros(len(kept), dtype=np.float32)
    stands_for[min(sure, len(order)) :] = np.log(max(len(rest), 1) / max(len(some), 1))
    return Listed(features[kept].astype(np.float16), context, right[kept], stands_for)


def features_of(values: npt.NDArray[Any], logs: Sequence[int]) -> Floats:
    """Float32 [candidates, PER_SIGNAL * signals].

    Parameters
    ----------
    values: [candidates, signals]; 0 says nothing.
    logs: columns that hold logarithms: they are set off against the best by difference.
    """
    x = np.asarray(values, dtype=np.float32)
    n, signals = x.shape
    out = np.zeros((n, signals, PER_SIGNAL), dtype=np.float32)
    if not n:
        return out.reshape(0, signals * PER_SIGNAL)
    out[:, :, 0] = x
    top = x.max(axis=0)
    out[:, :, 1] = np.where(top > 0, x / np.where(top > 0, top, 1), 0)
    order = np.argsort(-x, axis=0, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(n)[:, None], axis=0)
    out[:, :, 2] = np.where(x > 0, 10 / (10 + rank), 0)
    for c in logs:
        out[:, c, 1] = x[:, c] - top[c]
        out[:, c, 2] = 10 / (10 + rank[:, c])
    return out.reshape(n, -1)


class Combiner:
    """What was learned: arrays."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._a: Arrays = {k: np.asarray(v) for k, v in arrays.items()}

    @classmethod
    def fit(
        cls,
        cases: Sequence[Listed],
        *,
        seed: int = 0,
        step: Callable[[], None] | None = None,
    ) -> Combiner:
        """Learn from cases whose signals were fitted to other dialogues.

        Parameters
        ----------
        step: called after each epoch.
        """
        import torch

        rng = np.random.default_rng(seed)
        usable = [n for n, c in enumerate(cases) if c.right.any()]
        some = rng.choice(usable, min(400, len(usable)), replace=False)
        sample = np.concatenate([cases[n].features for n in some]).astype(np.float32)
        center, spread = sample.mean(0), sample.std(0) + 1e-4
        net = _module(torch, sample.shape[1], seed)
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
        steps = EPOCHS * -(-len(usable) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, RATE, total_steps=max(steps, 2), pct_start=0.1
        )
        for _ in range(EPOCHS):
            rng.shuffle(usable)
            for at in range(0, len(usable), BATCH):
                part = [cases[n] for n in usable[at : at + BATCH]]
                x, context, right, extra = _padded(part, center, spread)
                scores = net(torch.from_numpy(x), torch.from_numpy(context))
                scores = scores + torch.from_numpy(extra)
                scores = scores.masked_fill(torch.from_numpy(right < 0), -1e9)
                wanted = torch.from_numpy(np.maximum(right, 0))
                loss = -(torch.log_softmax(scores, -1) * wanted).sum() / wanted.sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            if step:
                step()
        learned = {k: v.detach().numpy() for k, v in net.state_dict().items()}
        return cls({"center": center, "spread": spread, **learned})

    def __call__(self, features: Floats, context: Floats) -> Floats:
        """Utilities, float32 [candidates], of ``features_of`` candidates in one conversation."""
        a = self._a
        x = (features - a["center"]) / a["spread"]
        split = x.shape[1]
        weight = a["hidden.weight"]
        h = x @ weight[:, :split].T + (weight[:, split:] @ context + a["hidden.bias"])
        h *= 0.5 * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (h + 0.044715 * (h * h * h))))
        out = h @ a["out.weight"][0] + x @ a["linear.weight"][0]
        return np.asarray(out + a["out.bias"] + a["linear.bias"], dtype=np.float32)

    def arrays(self) -> Arrays:
        """All weights."""
        return self._a


def _module(torch: Any, width: int, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)

    class Module(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.hidden = torch.nn.Linear(width + CONTEXT, HIDDEN)
            self.out = torch.nn.Linear(HIDDEN, 1)
            self.linear = torch.nn.Linear(width, 1)
            bound = (width + CONTEXT) ** -0.5
            self.hidden.weight.data.uniform_(-bound, bound, generator=generator)
            self.hidden.bias.data.uniform_(-bound, bound, generator=generator)
            for layer in (self.out, self.linear):
                torch.nn.init.zeros_(layer.weight)
                torch.nn.init.zeros_(layer.bias)

        def forward(self, x: Any, context: Any) -> Any:
            context = context[:, None].expand(-1, x.shape[1], -1)
            h = self.hidden(torch.cat([x, context], -1))
            h = torch.nn.functional.gelu(h, approximate="tanh")
            kept = torch.rand(h.shape, generator=generator) >= DROPOUT
            return (self.out(h * kept / (1 - DROPOUT)) + self.linear(x)).squeeze(-1)

    return Module()


def _padded(
    cases: Sequence[Listed], center: Floats, spread: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each case features, context, what is right (1, 0, or -1 where nothing is), and weight."""
    shape = len(cases), max(len(c.right) for c in cases)
    x = np.zeros((*shape, len(center)), dtype=np.float32)
    right, extra = np.full(shape, -1, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for i, c in enumerate(cases):
        n = len(c.right)
        x[i, :n] = (c.features - center) / spread
        right[i, :n] = c.right
        extra[i, :n] = c.stands_for
    return x, np.stack([c.context for c in cases]), right, extra
