"""Data hides where examples and items come from: a prepared folder, or a file of conversations."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from llmrec.datasets.folder import META, Folder
from llmrec.datasets.journal import fingerprints
from llmrec.datasets.jsonl import Table
from llmrec.errors import InputError
from llmrec.types import Example, Item

__all__ = ["Data", "drawn"]


@dataclass(frozen=True)
class Data:
    """Examples and items, of a prepared folder or of a file of conversations."""

    path: Path

    @cached_property
    def _source(self) -> Folder | Table:
        if self.path.is_file() or (self.path.is_dir() and not (self.path / META).is_file()):
            return Table(self.path)
        return Folder.open(self.path)

    def examples(self, split: str) -> Iterator[Example]:
        """The examples of a part, each with an id of its own. Raises InputError."""
        seen: set[str] = set()
        for n, e in enumerate(self._source.examples(split), 1):
            name = e.id if e.id and e.id not in seen else f"{e.id or split}#{n}"
            seen.add(name)
            yield e if e.id == name else dataclasses.replace(e, id=name)

    def training(self) -> Iterator[Example]:
        """The examples of the training part; none where there is no such part."""
        source = self._source
        splits = source.splits["examples"] if isinstance(source, Folder) else source.example_splits
        return self.examples("train") if "train" in splits else iter(())

    def items(self) -> Iterator[Item]:
        """The items. Raises InputError where the data have none."""
        if isinstance(self._source, Table) or not self._source.splits["items"]:
            raise InputError(f"{self.path} has no items: name a catalogue with --catalog")
        return self._source.items(self._source.splits["items"][0])

    @property
    def fingerprint(self) -> str:
        """Of the contents."""
        if isinstance(self._source, Folder):
            return self._source.fingerprint
        said = json.dumps(fingerprints(self.path))
        return blake2b(said.encode(), digest_size=16).hexdigest()

    @property
    def broken(self) -> int:
        """Records that could not be read, of the part that was read last."""
        return 0 if isinstance(self._source, Folder) else self._source.report.dropped.total()


def drawn(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """So many examples, drawn by the seed, in the order they had; a larger limit adds to them."""
    order = list(range(len(examples)))
    if limit is not None and limit < len(order):
        random.Random(f"limit {seed}").shuffle(order)
        order = sorted(order[:limit])
    return [examples[n] for n in order]
