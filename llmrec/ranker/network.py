"""Network hides a small network from what was said and named to items, trained on dialogues.

Words and named items are embedded and summed, pass one hidden layer, and are multiplied with the
embeddings of items. An item's embedding is its own plus that of its facts, so that items which
few dialogues name still stand near their like. It is trained with torch and used without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.ranker.signals import FIELDS, Scores, field_counts, mentions
from llmrec.ranker.sparse import Arrays, Matrix, matrix, unit
from llmrec.ranker.talk import Case, Talk
from llmrec.ranker.words import Vocabulary, idf, tfidf

__all__ = ["Network", "NetworkOptions"]

Floats = npt.NDArray[np.float32]
WORD_SCALE, NAMED_SCALE, FACTS_SCALE = 3.0, 2.0, 3.0
POOL = 20_000  # items that a step of training chooses among


@dataclass(frozen=True)
class NetworkOptions:
    """How it is trained.

    Attributes
    ----------
    width: of the embeddings. dropout, word_dropout, named_dropout: the share left out.
    at_least: cases that must have a term.
    """

    width: int = 64
    epochs: int = 8
    batch: int = 128
    rate: float = 4e-3
    decay: float = 1e-2
    dropout: float = 0.6
    word_dropout: float = 0.4
    named_dropout: float = 0.3
    at_least: int = 3


class Network:
    """The trained network; its arrays are float32."""

    def __init__(self, vocabulary: Vocabulary, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.vocabulary = vocabulary
        self._arrays: Arrays = {k: np.asarray(v) for k, v in arrays.items()}
        self._a = {
            k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in self._arrays.items()
        }

    @classmethod
    def fit(
        cls,
        cases: Sequence[Case],
        vocabulary: Vocabulary,
        facts: Floats,
        *,
        seed: int = 0,
        options: NetworkOptions | None = None,
        step: Callable[[], None] | None = None,
    ) -> Network:
        """Train on cases.

        Parameters
        ----------
        facts: float32 [items, n], likeness of items in few numbers (``Facts.reduced``).
        step: called after each epoch.
        """
        import torch

        o = options or NetworkOptions()
        cases = [c for c in cases if c.new]
        width = len(facts)
        rng = np.random.default_rng(seed)
        counts = field_counts([c.talk for c in cases], vocabulary)
        weights = {f: idf(m) for f, m in counts.items()}
        columns = np.concatenate(
            [
                i * len(vocabulary) + np.flatnonzero(np.bincount(m.indices) >= o.at_least)
                for i, m in enumerate(counts.values())
            ]
        )
        words = _words(counts, weights, columns)
        named = _named([c.talk for c in cases], width)
        wanted = matrix([c.new for c in cases], width)
        often = np.asarray(wanted.sum(0)).ravel()
        pool = _pool(often + np.asarray(named.sum(0)).ravel(), rng)
        named, wanted = named[:, pool].tocsr(), wanted[:, pool].tocsr()
        model = _module(torch, len(columns), facts[pool], often[pool], o, seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=o.rate, weight_decay=o.decay)
        batches = -(-len(cases) // o.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, o.rate, total_steps=max(o.epochs * batches, 2), pct_start=0.15
        )
        model.train()
        for _ in range(o.epochs):
            order = rng.permutation(len(cases))
            for at in range(0, len(order), o.batch):
                rows = np.sort(order[at : at + o.batch])
                said = _dropped(words[rows], o.word_dropout, rng)
                items = _dropped(named[rows], o.named_dropout, rng)
                target = torch.from_numpy(wanted[rows].toarray())
                scores = model(_bags(torch, said), _bags(torch, items))
                loss = -(torch.log_softmax(scores, -1) * target).sum() / target.sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            if step:
                step()
        model.eval()
        out, into, bias = _everywhere(model, facts, often, pool)
        arrays = {
            "columns": columns.astype(np.int64),
            **{f"idf.{f}": v for f, v in weights.items()},
            "words": _half(model.words.weight),
            "out": out,
            "into": into,
            "bias": bias,
            "hidden": model.hidden.weight.detach().numpy(),
            "hidden.bias": model.hidden.bias.detach().numpy(),
            "last": model.last.weight.detach().numpy(),
            "last.bias": model.last.bias.detach().numpy(),
        }
        return cls(vocabulary, arrays)

    def scores(self, talks: Sequence[Talk]) -> Scores:
        """ "network": the logarithm of each item's probability, dense [talks, items]."""
        a = self._a
        counts = field_counts(talks, self.vocabulary)
        weights = {f: a[f"idf.{f}"] for f in FIELDS}
        x = np.concatenate(
            [
                _words(counts, weights, a["columns"]) @ a["words"],
                _named(talks, len(a["bias"])) @ a["into"],
            ],
            axis=1,
        )
        x = x + _gelu(x @ a["hidden"].T + a["hidden.bias"])
        x = x @ a["last"].T + a["last.bias"]
        z = x @ a["out"].T + a["bias"]
        top = z.max(axis=1, keepdims=True)
        z -= top + np.log(np.exp(z - top).sum(axis=1, keepdims=True))
        return {"network": z}

    def arrays(self) -> Arrays:
        """Embeddings in float16, the layers in float32."""
        return self._arrays


def _module(
    torch: Any, terms: int, facts: Floats, often: Floats, o: NetworkOptions, seed: int
) -> Any:
    """The network with fresh weights, as a torch module."""
    generator = torch.Generator().manual_seed(seed)
    (n, known), d = facts.shape, o.width
    bag = torch.nn.functional.embedding_bag

    def small(*shape: int) -> Any:
        return torch.nn.Parameter(torch.randn(*shape, generator=generator) * 0.05)

    class Module(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words = torch.nn.EmbeddingBag(terms, d, _weight=small(terms, d), mode="sum")
            self.own_out, self.own_into = small(n, d), small(n, d)
            self.of_out, self.of_into = small(known, d), small(known, d)
            self.register_buffer("facts", torch.from_numpy(facts * FACTS_SCALE))
            self.bias = torch.nn.Parameter(torch.log(torch.from_numpy(often) + 0.3))
            self.hidden, self.last = torch.nn.Linear(2 * d, 2 * d), torch.nn.Linear(2 * d, d)
            for layer in (self.hidden, self.last):
                bound = layer.in_features**-0.5
                layer.weight.data.uniform_(-bound, bound, generator=generator)
                layer.bias.data.uniform_(-bound, bound, generator=generator)
            self.random = torch.Generator().manual_seed(seed)

        def drop(self, x: Any) -> Any:
            if not self.training:
                return x
            kept = torch.rand(x.shape, generator=self.random) >= o.dropout
            return x * kept / (1 - o.dropout)

        def items(self) -> tuple[Any, Any]:
            return (
                self.own_out + self.facts @ self.of_out,
                self.own_into + self.facts @ self.of_into,
            )

        def forward(self, said: Any, named: Any) -> Any:
            out, into = self.items()
            words = self.words(said[0], said[1], per_sample_weights=said[2])
            items = bag(named[0], into, named[1], mode="sum", per_sample_weights=named[2])
            x = self.drop(torch.cat([words, items], -1))
            x = x + torch.nn.functional.gelu(self.hidden(x), approximate="tanh")
            x = self.drop(self.last(x))
            return x @ out.T + self.bias

    return Module()


def _pool(often: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The items to choose among in training: all, or those named and some others."""
    if len(often) <= POOL:
        return np.arange(len(often))
    others = rng.choice(len(often), POOL, replace=False)
    return np.union1d(np.flatnonzero(often), others).astype(np.int64)


def _everywhere(
    model: Any, facts: Floats, often: Floats, pool: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16], Floats]:
    """Embeddings and bias of all items: those out of the pool have what their facts say."""
    trained = [x.detach().numpy() for x in (*model.items(), model.bias)]
    unnamed = trained[2][often[pool] == 0]
    out, into = (
        (facts * FACTS_SCALE @ of.detach().numpy()).astype(np.float16)
        for of in (model.of_out, model.of_into)
    )
    bias = np.full(len(facts), unnamed.mean() if len(unnamed) else 0, dtype=np.float32)
    out[pool], into[pool], bias[pool] = trained
    return out, into, bias


def _words(
    counts: Mapping[str, Matrix], weights: Mapping[str, Floats], columns: npt.NDArray[Any]
) -> Matrix:
    """All fields beside one another, only the terms that the network knows."""
    from scipy.sparse import hstack

    together = hstack([tfidf(m, weights[f]) for f, m in counts.items()], format="csr")
    return unit(together[:, columns].tocsr(), WORD_SCALE)


def _named(talks: Sequence[Talk], width: int) -> Matrix:
    return unit(mentions(talks, width), NAMED_SCALE)


def _dropped(m: Matrix, share: float, rng: np.random.Generator) -> Matrix:
    m = m.copy()
    m.data = (m.data * (rng.random(len(m.data)) >= share) / (1 - share)).astype(np.float32)
    return m


def _bags(torch: Any, m: Matrix) -> tuple[Any, Any, Any]:
    return (
        torch.from_numpy(m.indices.astype(np.int64)),
        torch.from_numpy(m.indptr[:-1].astype(np.int64)),
        torch.from_numpy(m.data),
    )


def _gelu(x: Floats) -> Floats:
    inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)), dtype=np.float32)


def _half(x: Any) -> npt.NDArray[np.float16]:
    return x.detach().numpy().astype(np.float16)  # type: ignore[no-any-return]
