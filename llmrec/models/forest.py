"""Runner and its forests hide how a transformers model is run: caches, masks, trees and the lock.

Prompts are run once. What hangs on them rides in one row of the forward pass for each prompt,
under a mask that shows every token its own path only, with its own positions (tree attention).
Rows come and go, and what grows by much and by little is not run together, so that no forward is
mostly padding. A model that does not take such masks is found out by a probe, and runs each path
on a copy of the prompt's cache, or without any cache.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError, ModelError
from llmrec.models.base import FloatArray, Forest, Growth, IntArray
from llmrec.models.network import Layers, Mode, Network, Prefixes, vocabulary_of

if TYPE_CHECKING:
    import torch

__all__ = ["PathForest", "Run", "Runner", "TreeForest"]

_WORTH = 8  # a shorter common beginning is not worth looking after
_LOGITS = 2**26  # how many of them one forward of a forest may make
_ROOM = 256  # more nodes in a forward are not quicker
# How many tokens take as long as it takes to run a model at all: measured with the embedded one on
# one core. Anything but a CPU needs more before it is busy; how many was not measured.
_FORWARD, _FORWARD_ELSEWHERE = 16, 1024
_NONE = np.zeros(0, dtype=np.int32)
_NO_VALUES = np.zeros(0, dtype=np.float32)
_Known = tuple[int, Layers]  # how many tokens of a prompt were run, and their keys and values


@dataclass
class Run:
    """Sequences that go on a token at a time, left-padded to one width.

    ids: the tokens of each, without padding. pads: how many columns of padding each has.
    cache: keys and values of all but what was never fed; None where the model has no cache.
    """

    ids: list[list[int]]
    pads: list[int]
    cache: Any

    @property
    def width(self) -> int:
        """Columns of the cache."""
        return self.pads[0] + len(self.ids[0])


class Runner:
    """Runs one model with one of its adapters for everyone who asks, one forward at a time.

    Parameters
    ----------
    network: the model, shared with the runners of its other adapters.
    used_ids: the token ids that exist; the rest of the vocabulary is padding and gets -inf.
    adapter: the name of the adapter; None: the bare base.

    Attributes
    ----------
    fed: how many tokens the model was fed so far, padding included.
    """

    def __init__(
        self, network: Network, used_ids: Sequence[int], adapter: str | None = None
    ) -> None:
        self.network = network
        self.adapter = adapter
        self.lock = network.lock
        self.fed = 0
        self._used = sorted(used_ids)
        self._mode = network.mode
        self._prefixes = network.prefixes
        self._pinned: tuple[tuple[int, ...], Layers] = ((), [])
        model = network.model
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._takes = set(inspect.signature(inner.forward).parameters)
        self._config = model.config.get_text_config()
        self.limit: int | None = getattr(self._config, "max_position_embeddings", None)

    @property
    def model(self) -> Any:
        """The network; whoever runs it by hand says first which adapter is meant."""
        return self.network.model

    @cached_property
    def vocabulary(self) -> int:
        """How many logits the model gives."""
        return vocabulary_of(self.model)

    @cached_property
    def _unused(self) -> torch.Tensor:
        import torch

        unused = np.setdiff1d(np.arange(self.vocabulary), self._used)
        return torch.as_tensor(unused, device=self.model.device)

    @property
    def mode(self) -> Mode:
        """How trees are run; found out at the first use."""
        with self.lock:
            self._mode = self._mode or self.network.mode
            if self._mode is None:
                found: Mode = "plain"
                if self._probe("tree"):
                    found = "tree"
                elif self._probe("copies"):
                    found = "copies"
                self._mode = self.network.mode = found
            return self._mode

    def start(self, prompts: Sequence[Sequence[int]]) -> tuple[Run, torch.Tensor]:
        """Run prompts; logits of what follows each, float32 [prompts, vocabulary].

        Raises
        ------
        InputError: a prompt is empty, too long for the model, or has tokens it does not know.
        """
        ids = [list(map(int, p)) for p in prompts]
        self._check(ids)
        with self.lock:
            if self.mode != "tree":
                if len(ids) > 1:
                    raise ModelError(f"this model runs one prompt at a time, not {len(ids)}")
                return self._start_alone(ids[0])
            return self._start_together(ids, self._known(ids))

    def forget(self, prefix: Sequence[int] = ()) -> None:
        """Forget former prompts but ``prefix``, which is run once for all calls that name it.

        What the model says afterwards depends, to the last bit, on nothing that was asked before.
        """
        if self.mode != "tree":
            return
        ids = tuple(map(int, prefix))
        with self.lock:
            self._prefixes.clear(self.adapter)
            if ids != self._pinned[0]:
                run = self._start_together([list(ids)], [(0, [])])[0] if ids else None
                self._pinned = (ids, _layers(run.cache) if run else [])
            elif ids:
                self._prefixes.add(ids, self._pinned[1], self.adapter)

    def step(self, run: Run, tokens: Sequence[int]) -> torch.Tensor:
        """One more token for each sequence; logits of what follows, float32 [rows, vocabulary]."""
        for ids, token in zip(run.ids, tokens, strict=True):
            ids.append(int(token))
        self._check(run.ids)
        if run.cache is None:
            return self._forward(input_ids=self._ids(run.ids), use_cache=False)[:, -1]
        return self._forward(
            input_ids=self._ids([[t] for t in tokens]),
            attention_mask=self._mask(run.pads, run.width),
            position_ids=self._ids([[len(ids) - 1] for ids in run.ids]),
            past_key_values=run.cache,
            use_cache=True,
        )[:, -1]

    def keep(self, run: Run, rows: Sequence[int]) -> None:
        """Go on with some of the sequences only."""
        import torch

        run.ids = [run.ids[r] for r in rows]
        run.pads = [run.pads[r] for r in rows]
        if run.cache is not None:
            with self.lock, torch.inference_mode():
                run.cache.reorder_cache(torch.as_tensor(list(rows), device=self.model.device))

    def remember(self, run: Run) -> None:
        """Keep the cache of a single sequence for prompts that begin like it."""
        if self.mode != "tree" or len(run.ids) != 1:
            return
        pad = run.pads[0]
        layers = [(k[:, :, pad:], v[:, :, pad:]) for k, v in _layers(run.cache)]
        if all(k.shape[2] == len(run.ids[0]) for k, _ in layers):  # no step broke off
            self._prefixes.add(run.ids[0], layers, self.adapter)

    def forest(self, prompts: Sequence[Sequence[int]]) -> Forest:
        """Run prompts that trees are to hang on."""
        if self.mode != "tree":
            return PathForest(self, [self.start([p]) for p in prompts])
        ids = [list(map(int, p)) for p in prompts]
        self._check(ids)
        with self.lock:
            known = self._known(ids)
            left = [len(row) - n for row, (n, _) in zip(ids, known, strict=True)]
            groups = self.groups(left)
            first, *others = (
                TreeForest(self, *self._start_together([ids[i] for i in g], [known[i] for i in g]))
                for g in groups
            )
        for other in others:
            first.join(other)
        if others:
            first.keep(np.argsort(np.concatenate(groups)).tolist())
        return first

    @property
    def room(self) -> int:
        """How many nodes each prompt should get in one forward."""
        return max(16, min(_ROOM, _LOGITS // self.vocabulary))

    def groups(self, sizes: Sequence[int], most: float = math.inf) -> list[list[int]]:
        """What to run together: rows of so many tokens, padded to the longest of their group.

        Rows without tokens are left out; no group has more than ``most`` tokens, if it can be.
        """
        worth = _FORWARD if self.model.device.type == "cpu" else _FORWARD_ELSEWHERE
        groups: list[list[int]] = []
        widest = 0
        for row in sorted(range(len(sizes)), key=lambda r: -sizes[r]):
            if not sizes[row]:
                break
            if widest - sizes[row] > worth or not groups or (len(groups[-1]) + 1) * widest > most:
                groups.append([])
                widest = sizes[row]
            groups[-1].append(row)
        return [sorted(group) for group in groups]

    def tree(
        self,
        cache: Any,
        ids: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        seen: npt.NDArray[np.bool_],
        before: npt.NDArray[np.int64],
    ) -> torch.Tensor:
        """Logits [rows, n, vocabulary] of n tokens under a mask of their own.

        seen: bool [rows, n, columns], which columns of the cache each token sees.
        before: int [rows, columns], the position of each column, for sliding windows.
        """
        import torch

        top = int(positions.max(initial=0))
        if self.limit is not None and top >= self.limit:
            raise InputError(_too_long(top + 1, self.limit))
        lowest = torch.finfo(self.model.dtype).min
        shape = (len(ids), 1, *seen.shape[1:])

        def additive(flags: npt.NDArray[np.bool_]) -> torch.Tensor:
            mask = torch.zeros(shape, dtype=self.model.dtype)
            mask.masked_fill_(torch.from_numpy(~flags).view(shape), lowest)
            return mask.to(self.model.device)

        kinds, window = _attention(self._config)
        near = seen
        if window is not None:
            near = seen & (positions[:, :, None] - before[:, None, :] < window)
        masks = {
            "full_attention": lambda: additive(seen),
            "sliding_attention": lambda: additive(near),
        }
        mask: Any = {kind: masks[kind]() for kind in kinds}
        if len(kinds) == 1:
            mask = mask[next(iter(kinds))]
        return self._forward(
            input_ids=torch.from_numpy(ids).to(self.model.device),
            attention_mask=mask,
            position_ids=torch.from_numpy(positions).to(self.model.device),
            past_key_values=cache,
            use_cache=True,
        )

    def paths(self, run: Run, paths: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits [paths, longest, vocabulary] of paths after a single prompt, right-padded."""
        import torch

        longest = max(map(len, paths))
        start = len(run.ids[0])
        if self.limit is not None and start + longest > self.limit:
            raise InputError(_too_long(start + longest, self.limit))
        padded = [[*p, *[0] * (longest - len(p))] for p in paths]
        if run.cache is None:
            rows = [run.ids[0] + p for p in padded]
            mask = torch.ones(len(rows), len(rows[0]), dtype=torch.long, device=self.model.device)
            logits = self._forward(input_ids=self._ids(rows), attention_mask=mask, use_cache=False)
            return logits[:, start:]
        with self.lock, torch.inference_mode():
            cache = copy.deepcopy(run.cache)
            cache.reorder_cache(torch.zeros(len(paths), dtype=torch.long, device=self.model.device))
        return self._forward(
            input_ids=self._ids(padded),
            attention_mask=self._mask([0] * len(paths), start + longest),
            position_ids=self._ids([list(range(start, start + longest))] * len(paths)),
            past_key_values=cache,
            use_cache=True,
        )

    def _forward(self, **inputs: Any) -> torch.Tensor:
        import torch

        inputs = {k: v for k, v in inputs.items() if k in self._takes}
        with self.network.using(self.adapter) as model, torch.inference_mode():
            self.fed += inputs["input_ids"].numel()
            logits: torch.Tensor = model(**inputs).logits.float()
            return logits.index_fill_(-1, self._unused, -torch.inf)

    def _ids(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        return torch.tensor([list(r) for r in rows], dtype=torch.long, device=self.model.device)

    def _mask(self, pads: Sequence[int], width: int) -> torch.Tensor:
        import torch

        columns = torch.arange(width)[None]
        return (columns >= torch.tensor(pads)[:, None]).long().to(self.model.device)

    def _check(self, prompts: Sequence[Sequence[int]]) -> None:
        for ids in prompts:
            if not ids:
                raise InputError("a prompt has no tokens: give at least one")
            if self.limit is not None and len(ids) > self.limit:
                raise InputError(_too_long(len(ids), self.limit))
            if max(ids) >= self.vocabulary or min(ids) < 0:
                raise InputError(
                    f"a prompt has the token {max(ids)} and the model knows {self.vocabulary}: "
                    "encode it with the model's own tokenizer"
                )

    def _start_alone(self, ids: list[int]) -> tuple[Run, torch.Tensor]:
        from transformers import DynamicCache

        row = self._ids([ids])
        if self._mode == "plain":
            logits = self._forward(input_ids=row, use_cache=False)
            return Run([ids], [0], None), logits[:, -1]
        cache = DynamicCache(config=self.model.config)
        logits = self._forward(
            input_ids=row,
            attention_mask=self._mask([0], len(ids)),
            position_ids=self._ids([list(range(len(ids)))]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return Run([ids], [0], cache), logits[:, -1]

    def _known(self, ids: Sequence[list[int]]) -> list[_Known]:
        """How much of each prompt was run before; what all begin with is run now, if it is new."""
        known = [self._prefixes.find(row[:-1], self.adapter) for row in ids]
        shared = _common(ids) if len(ids) > 1 else 0
        if shared < _WORTH or min(n for n, _ in known) >= shared:
            return known
        begin = [ids[0][:shared]]
        layers = _layers(self._start_together(begin, self._known(begin))[0].cache)
        return [own if own[0] >= shared else (shared, layers) for own in known]

    def _start_together(
        self, ids: Sequence[list[int]], known: Sequence[_Known]
    ) -> tuple[Run, torch.Tensor]:
        width = max(map(len, ids))
        pads = [width - len(row) for row in ids]
        done = min(n + pad for (n, _), pad in zip(known, pads, strict=True))
        cache = _cache([])
        if done >= _WORTH and max(n for n, _ in known) >= _WORTH:
            cache = _cache(_padded([layers for _, layers in known], pads, done))
        else:
            done = 0
        padded = [[0] * pad + row for row, pad in zip(ids, pads, strict=True)]
        logits = self._forward(
            input_ids=self._ids([row[done:] for row in padded]),
            attention_mask=self._mask(pads, width),
            position_ids=self._ids([[max(c - pad, 0) for c in range(done, width)] for pad in pads]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        run = Run([list(row) for row in ids], pads, cache)
        layers = _layers(cache)
        if len(ids) == 1:
            self._prefixes.add(ids[0], layers, self.adapter)
        else:
            for row, pad in enumerate(pads):
                own = [
                    (k[row, None, :, pad:].clone(), v[row, None, :, pad:].clone())
                    for k, v in layers
                ]
                self._prefixes.add(ids[row], own, self.adapter)
        return run, logits[:, -1]

    def _probe(self, mode: Mode) -> bool:
        """Whether a small tree, run in this mode, gets the logits that its paths get alone."""
        import torch

        if mode == "tree" and not _attention(self._config)[0]:
            return False
        some = [i for i in self._used if i < self.vocabulary]
        a, b, c, d = (some[len(some) * n // 5] for n in (1, 2, 3, 4))
        prompts = [[a, b, c, d, a, c], [d, b, a]]
        tokens = np.array([b, d, a], dtype=np.int32)
        parents = np.array([-1, -1, 0], dtype=np.int32)
        self._mode, kept = mode, self._prefixes
        self._prefixes = Prefixes(0)
        try:
            if mode == "tree":
                both: TreeForest | PathForest = TreeForest(self, *self.start(prompts))
            else:
                both = PathForest(self, [self.start([p]) for p in prompts])
            got = both.dense([tokens] * 2, [parents] * 2)
        except (
            RuntimeError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            NotImplementedError,
        ):
            return False
        finally:
            self._mode, self._prefixes = None, kept
        exact = torch.finfo(self.model.dtype).eps < 1e-6 and not hasattr(
            self.model, "quantization_method"
        )
        for prompt, found in zip(prompts, got, strict=True):
            for path, at in (([b, a], [0, 2]), ([d], [1])):
                alone = self._forward(input_ids=self._ids([prompt + path]), use_cache=False)
                right = alone[0, len(prompt) :][:, some]
                far = (found[at][:, some] - right).abs().max()
                if not far <= (1e-3 if exact else 0.2) * (right.std() + 1e-6):
                    return False
        return True


class _Tree(NamedTuple):
    """What hangs on a prompt of ``end`` tokens: of each node its parent and its depth, from 1.

    The columns of the prompt and then those of the nodes follow each other without a gap.
    """

    end: int
    parents: IntArray
    depths: IntArray

    @property
    def columns(self) -> int:
        return self.end + len(self.parents)


class _Grown(NamedTuple):
    """A tree with what was fed to its row, and where keys and values of that stand.

    layers: of several rows, what was fed to each; at: which of them this is. Where the forest has
        one row only, all of it.
    """

    row: int
    tree: _Tree
    layers: Layers
    at: int


class TreeForest:
    """Trees that ride in one row for each prompt, under a mask."""

    def __init__(self, runner: Runner, run: Run, logits: torch.Tensor) -> None:
        self._runner, self._logits = runner, logits
        self._layers = _to_the_left(_layers(run.cache), run.pads)
        self._trees = [_Tree(len(ids), _NONE, _NONE) for ids in run.ids]

    @property
    def room(self) -> int:
        """See ``Forest``."""
        return self._runner.room

    @property
    def logprobs(self) -> FloatArray:
        """See ``Forest``."""
        return _normalised(self._logits)

    def extend(self, growths: Sequence[Growth]) -> list[FloatArray]:
        """See ``Forest``."""
        out: list[FloatArray] = [_NO_VALUES] * len(growths)
        grown: list[_Grown] = []
        most = _LOGITS // self._runner.vocabulary
        for rows in self._runner.groups([len(g.tokens) for g in growths], most):
            own = [growths[r] for r in rows]
            logits, trees = self._feed(rows, [g.tokens for g in own], [g.parents for g in own])
            picked = _picked(logits, [g.nodes for g in own], [g.nexts for g in own])
            for row, values in zip(rows, picked, strict=True):
                out[row] = values
            grown += [tree for tree in trees if growths[tree.row].kept]
        self._become(grown)  # only now: if a forward fails, the trees are what they were
        return out

    def keep(self, prompts: Sequence[int]) -> None:
        """See ``Forest``."""
        rows = list(prompts)
        self._trees = [self._trees[r] for r in rows]
        self._logits = self._logits[rows]
        used = max((tree.columns for tree in self._trees), default=0)
        self._layers = _rows(self._layers, rows, used)

    def join(self, other: TreeForest) -> None:
        """See ``Forest``."""
        import torch

        trees = self._trees + other._trees
        most = max(tree.columns for tree in trees)
        own, new = (_rows(_wide(f._layers, most), None, most) for f in (self, other))
        with torch.inference_mode():
            logits = torch.cat([self._logits, other._logits])
            layers = [
                (torch.cat([k, a]), torch.cat([v, b]))
                for (k, v), (a, b) in zip(own, new, strict=True)
            ]
        self._trees, self._logits, self._layers = trees, logits, layers

    def dense(self, tokens: Sequence[IntArray], parents: Sequence[IntArray]) -> torch.Tensor:
        """Add nodes; logits [prompts, most nodes, vocabulary]."""
        logits, grown = self._feed(list(range(len(tokens))), tokens, parents)
        self._become(grown)
        return logits

    def _feed(
        self, rows: list[int], tokens: Sequence[IntArray], parents: Sequence[IntArray]
    ) -> tuple[torch.Tensor, list[_Grown]]:
        """Run nodes to be; nothing is changed by it."""
        old = [self._trees[r] for r in rows]
        width, new = max(tree.columns for tree in old), max(map(len, tokens))
        ids = np.zeros((len(rows), new), dtype=np.int64)
        seen = np.zeros((len(rows), new, width + new), dtype=bool)
        before = np.zeros((len(rows), width + new), dtype=np.int64)
        trees: list[_Tree] = []
        for row, (tree, own, up) in enumerate(zip(old, tokens, parents, strict=True)):
            end, made = tree.end, len(tree.parents)
            ups = np.concatenate([tree.parents, up])
            at = np.arange(len(own))
            node = at + made
            column = np.concatenate([np.arange(end, end + made), width + at])
            depth = np.zeros(len(own), dtype=np.int32)
            seen[row, at, :end] = True
            seen[row, len(own) :, 0] = True  # padding has to see something
            while len(at):  # up from all nodes at once
                seen[row, at, column[node]] = True
                depth[at] += 1
                node = ups[node]
                at, node = at[node >= 0], node[node >= 0]
            grown = _Tree(end, ups, np.concatenate([tree.depths, depth]))
            ids[row, : len(own)] = own
            before[row, :end] = np.arange(end)
            before[row, column] = end - 1 + grown.depths
            trees.append(grown)
        every = rows == list(range(len(self._trees)))
        cache = _cache(_rows(self._layers, None if every else rows, width))
        logits = self._runner.tree(cache, ids, before[:, width:], seen, before)
        fresh = _layers(cache)
        if len(self._trees) > 1:
            fresh = _each(fresh, lambda t: t[:, :, width:].clone())
        return logits, [
            _Grown(row, tree, fresh, at)
            for at, (row, tree) in enumerate(zip(rows, trees, strict=True))
        ]

    def _become(self, grown: Sequence[_Grown]) -> None:
        """Have these trees in place of those that they have grown from."""
        import torch

        if not grown:
            return
        trees = list(self._trees)
        for one in grown:
            trees[one.row] = one.tree
        if len(trees) == 1:
            self._trees, self._layers = trees, grown[0].layers
            return
        layers = _wide(self._layers, max(tree.columns for tree in trees))
        with torch.inference_mode():
            for one in grown:
                columns = slice(self._trees[one.row].columns, one.tree.columns)
                new = slice(columns.stop - columns.start)
                for (k, v), (keys, values) in zip(layers, one.layers, strict=True):
                    k[one.row, :, columns] = keys[one.at, :, new]
                    v[one.row, :, columns] = values[one.at, :, new]
        self._trees, self._layers = trees, layers


class PathForest:
    """Trees whose paths are run one by one on copies of their prompt's cache, or without one."""

    def __init__(self, runner: Runner, runs: Sequence[tuple[Run, torch.Tensor]]) -> None:
        self._runner, self._runs = runner, runs
        self._paths: list[list[tuple[int, ...]]] = [[] for _ in runs]

    @property
    def room(self) -> int:
        """See ``Forest``."""
        return min(64, self._runner.room)

    @property
    def logprobs(self) -> FloatArray:
        """See ``Forest``."""
        return np.concatenate([_normalised(logits) for _, logits in self._runs])

    def extend(self, growths: Sequence[Growth]) -> list[FloatArray]:
        """See ``Forest``."""
        logits, grown = self._feed([g.tokens for g in growths], [g.parents for g in growths])
        self._paths = [
            new if growth.kept else old
            for growth, new, old in zip(growths, grown, self._paths, strict=True)
        ]
        return _picked(logits, [g.nodes for g in growths], [g.nexts for g in growths])

    def keep(self, prompts: Sequence[int]) -> None:
        """See ``Forest``."""
        self._runs = [self._runs[p] for p in prompts]
        self._paths = [self._paths[p] for p in prompts]

    def join(self, other: PathForest) -> None:
        """See ``Forest``."""
        self._runs = [*self._runs, *other._runs]
        self._paths = self._paths + other._paths

    def dense(self, tokens: Sequence[IntArray], parents: Sequence[IntArray]) -> torch.Tensor:
        """Add nodes; logits [prompts, most nodes, vocabulary]."""
        logits, self._paths = self._feed(tokens, parents)
        return logits

    def _feed(
        self, tokens: Sequence[IntArray], parents: Sequence[IntArray]
    ) -> tuple[torch.Tensor, list[list[tuple[int, ...]]]]:
        """Logits, and the paths with those that are new; nothing is changed by it."""
        import torch

        new = max(map(len, tokens))
        out = torch.zeros(
            (len(tokens), new, self._runner.vocabulary), device=self._runner.model.device
        )
        grown = [list(paths) for paths in self._paths]
        for row, (run, _) in enumerate(self._runs):
            paths = grown[row]
            first = len(paths)
            for token, parent in zip(tokens[row].tolist(), parents[row].tolist(), strict=True):
                paths.append((*(paths[parent] if parent >= 0 else ()), token))
            inner = set(parents[row].tolist())
            ends = [n for n in range(first, len(paths)) if n not in inner]
            ups = {n: int(p) for n, p in enumerate(parents[row].tolist(), first)}
            for at in range(0, len(ends), 16):
                part = ends[at : at + 16]
                logits = self._runner.paths(run, [paths[n] for n in part])
                for i, end in enumerate(part):
                    node = end
                    while node >= first:
                        out[row, node - first] = logits[i, len(paths[node]) - 1]
                        node = ups[node]
        return out, grown


def _picked(
    logits: torch.Tensor, nodes: Sequence[IntArray], nexts: Sequence[IntArray]
) -> list[FloatArray]:
    import torch

    with torch.inference_mode():
        sizes = [len(n) for n in nodes]
        where = (
            np.repeat(np.arange(len(sizes)), sizes),
            np.concatenate(nodes).astype(np.int64),
            np.concatenate(nexts).astype(np.int64),
        )
        row, node, token = (torch.from_numpy(w).to(logits.device) for w in where)
        values = logits[row, node, token] - torch.logsumexp(logits, dim=-1)[row, node]
        flat: FloatArray = values.cpu().numpy()
    return np.split(flat, np.cumsum(sizes)[:-1])


def _normalised(logits: torch.Tensor) -> FloatArray:
    import torch

    with torch.inference_mode():
        out: FloatArray = torch.log_softmax(logits, dim=-1).cpu().numpy()
    return out


def _attention(config: Any) -> tuple[set[str], int | None]:
    """The kinds of attention of a model's layers, none if some are unknown here; the window."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        kinds = ["sliding_attention" if window is not None else "full_attention"]
    known = set(kinds) <= {"full_attention", "sliding_attention"}
    return (set(kinds) if known else set()), window


def _too_long(tokens: int, limit: int) -> str:
    return (
        f"the text has {tokens:,} tokens and the model reads {limit:,} at most: "
        "shorten the conversation or use a model with a longer context"
    )


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with, leaving each at least one more."""
    shortest = min(map(len, rows)) - 1
    table = np.array([r[:shortest] for r in rows])
    differ = (table != table[0]).any(axis=0)
    return int(differ.argmax()) if differ.any() else shortest


def _cache(layers: Layers) -> Any:
    """A cache that begins with these keys and values and does not change them."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()  # type: ignore[no-untyped-call]
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _each(layers: Layers, change: Callable[[torch.Tensor], torch.Tensor]) -> Layers:
    import torch

    with torch.inference_mode():
        return [(change(keys), change(values)) for keys, values in layers]


def _rows(layers: Layers, rows: Sequence[int] | None, columns: int) -> Layers:
    """The first columns of some rows; None: of all, in the same memory."""
    if rows is None:
        return _each(layers, lambda t: t[:, :, :columns])
    return _each(layers, lambda t: t[:, :, :columns][list(rows)])


def _to_the_left(layers: Layers, pads: Sequence[int]) -> Layers:
    """Left-padded rows, each with its padding behind it."""
    import torch

    if not any(pads):
        return layers
    return _each(layers, lambda t: torch.stack([t[r].roll(-p, 1) for r, p in enumerate(pads)]))


def _wide(layers: Layers, columns: int) -> Layers:
    """The same with so many columns at least, and some more, as adding any copies everything."""
    import torch

    if (more := columns - layers[0][0].shape[2]) <= 0:
        return layers
    return _each(layers, lambda t: torch.nn.functional.pad(t, (0, 0, 0, more + _ROOM)))


def _layers(cache: Any) -> Layers:
    return [(layer.keys, layer.values) for layer in cache.layers]


def _padded(known: Sequence[Layers], pads: Sequence[int], columns: int) -> Layers:
    """The first columns of left-padded rows, from the caches of their beginnings."""
    import torch

    model = next(layers for layers in known if layers)

    def rows(layer: int, part: int) -> torch.Tensor:
        like: torch.Tensor = model[layer][part]
        out = like.new_zeros((len(known), like.shape[1], columns, like.shape[3]))
        for row, (layers, pad) in enumerate(zip(known, pads, strict=True)):
            if columns > pad:
                out[row, :, pad:] = layers[layer][part][0, :, : columns - pad]
        return out

    with torch.inference_mode():
        if len(known) == 1:
            return [(k[:, :, :columns], v[:, :, :columns]) for k, v in model]
        return [(rows(i, 0), rows(i, 1)) for i in range(len(model))]
