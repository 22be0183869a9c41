"""FeedbackSource hides how kept feedback and a catalogue become a data set that train/ reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

from llmrec.catalog import Catalog
from llmrec.datasets.base import PARTS, Report, part_of
from llmrec.datasets.jsonl import to_example
from llmrec.demo.feedback import read_feedback
from llmrec.errors import InputError
from llmrec.records import Problem
from llmrec.types import Example, Item

__all__ = ["FeedbackSource"]


class FeedbackSource:
    """What was liked, as examples split by visit, and the items it is about.

    ``llmrec.datasets.folder.write`` makes the folder of it that ``train/`` and ``eval/`` take.

    Parameters
    ----------
    path: a folder or file of feedback.
    catalog: that of the page; likes of items it no longer has are left out.

    Raises
    ------
    InputError: no such folder or file.
    """

    name = "feedback"
    title = "Feedback of visitors who agreed"
    homepage = ""
    license = "unknown"
    citation = ""
    example_splits: tuple[str, ...] = tuple(PARTS)
    item_splits: tuple[str, ...] = ("train",)

    def __init__(self, path: str | os.PathLike[str], catalog: Catalog) -> None:
        self._catalog = catalog
        self._problems: list[Problem] = []
        self._rows = read_feedback(path, "sft", problems=self._problems)
        self.report = Report()

    def examples(self, split: str = "train") -> Iterator[Example]:
        """The examples of one part. Raises InputError for a part that is not there."""
        self._require(split, self.example_splits)
        self.report = Report()
        return self._examples(split, self.report)

    def items(self, split: str = "train") -> Iterator[Item]:
        """All items of the catalogue. Raises InputError for a part that is not there."""
        self._require(split, self.item_splits)
        self.report = Report(kept=len(self._catalog))
        return iter(self._catalog)

    def _examples(self, split: str, report: Report) -> Iterator[Example]:
        for p in self._problems:
            report.broken(p.file, p.line, p.reason)
        for row in self._rows:
            if part_of(str(row["dialogue"])) != split:
                continue
            kept = [i for i in row["relevant"] if i in self._catalog]
            if kept:
                report.kept += 1
                yield to_example({**row, "relevant": kept})
            else:
                report.drop("nothing liked is in the catalogue")

    def _require(self, split: str, splits: tuple[str, ...]) -> None:
        if split not in splits:
            raise InputError(f"feedback has no part {split!r} of that: it has {', '.join(splits)}")
