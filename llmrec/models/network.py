"""Network hides which adapter of a model is switched on, and lets one run the model at a time.

PEFT keeps all adapters in one network and switches them for the whole of it. So whoever runs it
says which adapter is meant, and holds the lock until the numbers are there.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError, ModelError

__all__ = ["Layers", "Mode", "Network", "Prefixes", "vocabulary_of"]

Mode = Literal["tree", "copies", "plain"]
Layers = list[tuple[Any, Any]]  # keys and values, [rows, heads, tokens, size] each

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Network:
    """A causal language model of transformers, and the adapters on it.

    Parameters
    ----------
    model: the model, or a PeftModel around one.
    prefix_bytes: how much memory the caches of former prompts may take, those of all adapters.
    mode: how trees are run; None: not found out yet.

    Attributes
    ----------
    model: a PeftModel from the first adapter on.
    lock: held by whoever runs the model or changes its adapters.
    """

    def __init__(self, model: Any, prefix_bytes: int, mode: Mode | None = None) -> None:
        self.model = model
        self.lock = threading.RLock()
        self.prefixes = Prefixes(prefix_bytes)
        self.mode = mode
        self._leaving: set[str] = set()  # removed, and perhaps still run by somebody
        self._left: list[str] = []  # those that nobody runs any more
        self._look()

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that may be chosen."""
        found = self.model.peft_config if self._layers else ()
        return tuple(name for name in found if name not in self._leaving)

    @property
    def active(self) -> str | None:
        """The adapter that is switched on, None for the bare base.

        Raises
        ------
        InputError: there are several.
        """
        if not self._layers or self._layers[0].disable_adapters:
            return None
        names = list(self._layers[0].active_adapters)
        if len(names) > 1:
            raise InputError(
                f"the model has the adapters {', '.join(names)} switched on together: switch on "
                "one with set_adapter, or make one of them with add_weighted_adapter"
            )
        return names[0] if names else None

    @contextmanager
    def using(self, adapter: str | None) -> Iterator[Any]:
        """The model with this adapter switched on; nobody else runs or switches it meanwhile."""
        with self.lock:
            self.clear()
            if self.active != adapter:
                self._turn(adapter)
            yield self.model

    def known(self, name: str | None) -> None:
        """Raise InputError where there is no such adapter, ModelError where it cannot be chosen."""
        if name is None:
            self._unbiased()
        elif name not in self.adapters:
            has = ", ".join(map(repr, self.adapters)) or "none"
            raise InputError(
                f"there is no adapter {name!r} on the model (it has {has}): load it with "
                "add_adapter, or use None for the bare base"
            )

    def check(self, name: str) -> None:
        """Raise InputError where a new adapter cannot have this name."""
        if not _NAME.fullmatch(name):
            raise InputError(
                f"an adapter cannot be named {name!r}: use letters, digits, '_' and '-'"
            )
        if name in "lora_":  # PEFT then mistakes the name for a part of its weights' names
            raise InputError(f"an adapter cannot be named {name!r}, a part of 'lora_': use another")
        if name in self.adapters:
            raise InputError(
                f"there is an adapter {name!r} already: choose it with with_adapter, or give "
                "another name"
            )
        if name in self._leaving:
            raise InputError(
                f"the adapter {name!r} was removed, and somebody still runs it: give another name, "
                "or wait until those who run it are done"
            )

    def add(self, adapter: str, name: str, **hub: Any) -> None:
        """Load an adapter beside the others, and leave all switched off. Raises ModelError."""
        from llmrec.models.loading import load_adapter

        with self.lock:
            self.clear()
            self.check(name)
            self._unbiased()
            self.model = load_adapter(self.model, adapter, name, **hub)
            self._look()
            self._turn(None)  # layers that only the new one changes are switched on at first

    def remove(self, name: str, user: Any) -> None:
        """Take an adapter off as soon as ``user``, by whom it is run, is nobody's any more.

        Raises
        ------
        InputError: there is none. ModelError: it has changed the base.
        """
        with self.lock:
            if name not in self.adapters:
                raise InputError(f"{name!r} is no adapter of the model: name one to be removed")
            if self._biased(name):
                raise ModelError(
                    f"the adapter {name!r} has changed biases of the base itself, which were not "
                    "kept: load the base again"
                )
            self._leaving.add(name)
            self.prefixes.clear(name)
            # Whoever lets go of it last may be in the midst of a forward, so it is only noted.
            weakref.finalize(user, self._left.append, name).atexit = False

    def clear(self) -> None:
        """Take off what nobody runs any more; the lock is held, and the model stands still."""
        while self._left:
            from llmrec.models.loading import bare

            name = self._left.pop()
            others = [n for n in self.model.peft_config if n != name]
            if others:
                self.model.base_model.enable_adapter_layers()
                self.model.set_adapter(others[0], inference_mode=True)
                self.model.delete_adapter(name)
            else:
                self.model = bare(self.model)
            self._look()
            self._leaving.remove(name)
            self.prefixes.clear(name)

    def _biased(self, name: str) -> bool:
        return getattr(self.model.peft_config[name], "bias", "none") != "none"

    def _unbiased(self) -> None:
        for name in self.adapters:
            if self._biased(name):
                raise ModelError(
                    f"the adapter {name!r} has changed biases of the base itself, so neither the "
                    "base nor another adapter is to be had beside it: load it alone"
                )

    def _turn(self, adapter: str | None) -> None:
        if self._whole:  # adapters that bring modules of their own: PEFT exchanges those too
            if adapter is None:
                self.model.base_model.disable_adapter_layers()
            else:
                self.model.base_model.enable_adapter_layers()
                self.model.set_adapter(adapter, inference_mode=True)
            return
        for layer in self._layers:
            if adapter is None:
                layer.enable_adapters(False)
                continue
            if layer.disable_adapters:
                layer.enable_adapters(True)
            layer.set_adapter(adapter, inference_mode=True)

    def _look(self) -> None:
        """Find the layers that PEFT has changed, once: going through all modules takes longer."""
        self._layers: list[Any] = []
        self._whole = False
        if not hasattr(self.model, "peft_config"):
            return
        from peft.utils.other import AuxiliaryTrainingWrapper

        kind = getattr(self.model.base_model, "tuner_layer_cls", ())
        for module in self.model.modules():
            if isinstance(module, kind):
                self._layers.append(module)
            self._whole = self._whole or isinstance(module, AuxiliaryTrainingWrapper)


def vocabulary_of(model: Any) -> int:
    """How many logits a model gives."""
    return int(model.get_output_embeddings().out_features)


class Prefixes:
    """Caches of former prompts, the least used of them forgotten first.

    What one adapter computed is of no use to another, so each has its own, in one memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[int, tuple[str | None, npt.NDArray[np.int64], Layers, int]]
        self._kept = OrderedDict()
        self._added = 0
        self._lock = threading.Lock()

    def find(self, ids: Sequence[int], owner: str | None = None) -> tuple[int, Layers]:
        """How many of the first tokens are known, and the cache that begins with them."""
        row = np.array(ids, dtype=np.int64)
        best, key = 0, -1
        with self._lock:
            for number, (whose, other, _, _) in self._kept.items():
                if whose != owner:
                    continue
                n = min(len(row), len(other))
                differ = row[:n] != other[:n]
                same = int(differ.argmax()) if differ.any() else n
                if same > best:
                    best, key = same, number
            if not best:
                return 0, []
            self._kept.move_to_end(key)
            return best, self._kept[key][2]

    def clear(self, owner: str | None = None) -> None:
        """Keep none of this adapter's."""
        with self._lock:
            for number in [n for n, kept in self._kept.items() if kept[0] == owner]:
                del self._kept[number]

    def add(self, ids: Sequence[int], layers: Layers, owner: str | None = None) -> None:
        """Keep the cache of a sequence, in place of those of its beginnings."""
        row = np.array(ids, dtype=np.int64)
        size = sum(k.nbytes + v.nbytes for k, v in layers)
        if size > self._limit:
            return
        with self._lock:
            for number, (whose, other, _, _) in list(self._kept.items()):
                within = len(other) <= len(row) and (row[: len(other)] == other).all()
                if whose == owner and within:
                    del self._kept[number]
            self._added += 1
            self._kept[self._added] = (owner, row, layers, size)
            while sum(kept[-1] for kept in self._kept.values()) > self._limit:
                self._kept.popitem(last=False)
