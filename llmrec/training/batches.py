"""Batches hides how texts share sequences, in which order these come, and their tensors."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.training.examples import Encoded

if TYPE_CHECKING:
    import torch

__all__ = ["Order", "Texts", "collate", "joined", "pack", "text_tokens"]

Texts = dict[str, list[int]]  # input_ids, labels, and seq_lengths: those of the texts in it


def pack(rows: Sequence[Encoded], max_length: int, seed: int) -> list[Texts]:
    """Put the rows into as few sequences of ``max_length`` as best-fit decreasing finds."""
    order = np.random.default_rng(seed).permutation(len(rows))
    by_length = sorted(order.tolist(), key=lambda i: -len(rows[i].input_ids))
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # what is left in a bin, and its number; sorted
    for i in by_length:
        length = len(rows[i].input_ids)
        at = bisect_left(room, (length, -1))
        left, number = room.pop(at) if at < len(room) else (max_length, len(bins))
        if number == len(bins):
            bins.append([])
        bins[number].append(i)
        insort(room, (left - length, number))
    return [joined([rows[i] for i in members]) for members in bins]


def joined(rows: Sequence[Encoded]) -> Texts:
    """The rows behind each other, as one sequence."""
    return {
        "input_ids": [t for r in rows for t in r.input_ids],
        # A text's first token would be the last one's continuation: it is never learnt.
        "labels": [t for r in rows for t in (-100, *r.labels[1:])],
        "seq_lengths": [len(r.input_ids) for r in rows],
    }


def collate(pad: int, packed: bool) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]:
    """Sequences to tensors; packed ones say by their positions where each text begins."""

    def collated(sequences: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        shape = len(sequences), max(len(s["input_ids"]) for s in sequences)
        ids = torch.full(shape, pad)
        labels = torch.full(shape, -100)
        places = torch.zeros(shape, dtype=torch.long)  # each padding token is a text of its own
        for n, s in enumerate(sequences):
            length = len(s["input_ids"])
            ids[n, :length] = torch.tensor(s["input_ids"])
            labels[n, :length] = torch.tensor(s["labels"])
            starts = [i for size in s["seq_lengths"] for i in range(size)]
            places[n, :length] = torch.tensor(starts) if packed else 1
        made = {"input_ids": ids, "labels": labels}
        return made | {"position_ids" if packed else "attention_mask": places}

    return collated


def text_tokens(positions: torch.Tensor) -> torch.Tensor:
    """How many tokens are of texts: in padding, which stands at the end, 0 comes after 0."""
    import torch

    zero = positions == 0
    padding = zero & torch.nn.functional.pad(zero[:, 1:], (0, 1), value=True)
    return (~padding).sum()


class Order:
    """The order of the sequences in an epoch: a matter of the seed and its number alone.

    By length, batches are of like length and come in any order.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, by_length: bool) -> None:
        self.lengths, self.batch, self.seed, self.by_length = lengths, batch, seed, by_length
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths)).tolist()
        if not self.by_length:
            return iter(order)
        batches = []
        pool = 50 * self.batch
        for start in range(0, len(order), pool):
            like = sorted(order[start : start + pool], key=lambda i: -self.lengths[i])
            batches += [like[i : i + self.batch] for i in range(0, len(like), self.batch)]
        short = batches.pop() if len(batches[-1]) < self.batch else []
        turns = rng.permutation(len(batches))
        return iter([i for b in turns for i in batches[b]] + short)
