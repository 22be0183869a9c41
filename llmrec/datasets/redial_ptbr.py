"""Redial_ptbr hides the files of ReDial in Brazilian Portuguese (``matheusrdgsf/re_dial_ptbr``)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from llmrec.datasets.dialogues import Dialogues, Said, mentioned, said, split_named
from llmrec.datasets.files import arrow_rows, json_lines
from llmrec.errors import InputError
from llmrec.records import RawRow

__all__ = ["RedialPtbr"]

_KINDS = ((".parquet",), (".jsonl", ".jsonl.gz"), (".arrow",))
_BATCH = 64
REPAIRED = "message whose mentions were taken from its original"
ALONE = "translated message without an original"


class RedialPtbr(Dialogues):
    """ReDial with a machine translation of its messages, in the columns of the Hub.

    Parquet files (any number of shards), JSON lines or the arrow files that ``datasets`` saves,
    in the folder or below it; the first of these kinds that is there is read. A path names its
    split; what names none is training data. Films have their English names in both languages,
    and in a folder with ``movies.csv`` those of that file.

    A translation belongs to its speaker's message with its ``messageId``, else, where both lists
    are of one length, to the one at its place. Where it lost an ``@id`` or has another one, the
    items of the message are those of the original, and this is counted.

    Parameters
    ----------
    language: "pt" for ``messages_translated``, "en" for ``messages``.
    path, turns, validation, split_seed, benchmark: as for ``Redial``.

    Raises
    ------
    InputError: files that are not there, or an option that is not known.
    """

    name = "redial_ptbr"
    title = "ReDial in Brazilian Portuguese"
    homepage = "https://huggingface.co/datasets/matheusrdgsf/re_dial_ptbr"
    license = "unknown"
    citation = (
        "matheusrdgsf/re_dial_ptbr, a translation of: Li, R., Kahou, S. E., Schulz, H., "
        "Michalski, V., Charlin, L., & Pal, C. (2018). Towards Deep Conversational "
        "Recommendations. NeurIPS 2018."
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        language: str = "pt",
        turns: str = "films",
        split_seed: int = 0,
        validation: float = 0.1,
        benchmark: bool = False,
    ) -> None:
        if language not in ("pt", "en"):
            raise InputError(f"language is {language!r}: use 'pt' or 'en'")
        self.language = language
        super().__init__(
            path, turns=turns, split_seed=split_seed, validation=validation, benchmark=benchmark
        )

    def _found(self, root: Path) -> dict[str, list[Path]]:
        inside = sorted(root.rglob("*")) if root.is_dir() else [root]
        for kind in _KINDS:
            files: dict[str, list[Path]] = {}
            for file in inside:
                # datasets leaves what map and filter made beside the data.
                if file.name.startswith("cache-") or not file.name.endswith(kind):
                    continue
                named = file.relative_to(root) if root.is_dir() else Path(file.name)
                if file.is_file():
                    files.setdefault(split_named(named) or "train", []).append(file)
            if files:
                return files
        raise InputError(
            f"there is no re_dial_ptbr in {root}: it should hold train and test files that end "
            "in .parquet, .jsonl or .arrow"
        )

    def _rows(self, file: Path) -> Iterator[RawRow]:
        return _table(file) if file.suffix in (".parquet", ".arrow") else json_lines(file)

    def _messages(self, record: Mapping[str, Any]) -> tuple[Said, ...]:
        originals = said(record, "messages")
        if self.language == "en":
            return originals
        translated = said(record, "messages_translated")
        if not translated:
            raise ValueError("messages_translated is empty")
        by_id = {m.id: m for m in originals if m.id}
        in_step = len(originals) == len(translated)
        return tuple(
            _paired(m, by_id.get(m.id) or (originals[i] if in_step else None))
            for i, m in enumerate(translated)
        )


def _paired(message: Said, original: Said | None) -> Said:
    if original is None or message.sender not in ("", original.sender):
        return dataclasses.replace(message, note=ALONE)
    message = dataclasses.replace(message, sender=message.sender or original.sender)
    ids = mentioned(original.text)
    if set(ids) == set(mentioned(message.text)):
        return message
    return dataclasses.replace(message, ids=ids, note=REPAIRED)


def _table(file: Path) -> Iterator[RawRow]:
    """The rows of a Parquet or arrow file, counted from 1, some at a time."""
    import pyarrow as pa

    at = 0
    with ExitStack() as stack:
        try:
            batches = _batches(file, stack)
        except (pa.ArrowException, OSError) as e:
            raise InputError(f"{file} cannot be read as {file.suffix[1:]}: {e}") from None
        try:
            for at, row in arrow_rows(batches):
                yield at, row
        except (pa.ArrowException, OSError) as e:
            yield at + 1, f"nothing can be read from here on: {e}"


def _batches(file: Path, stack: ExitStack) -> Iterator[Any]:
    import pyarrow as pa

    if file.suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

        made: Iterator[Any] = stack.enter_context(ParquetFile(file)).iter_batches(_BATCH)
        return made
    source = stack.enter_context(pa.memory_map(str(file)))
    try:
        return iter(stack.enter_context(pa.ipc.open_stream(source)))
    except pa.ArrowInvalid:  # not the stream that datasets writes, but the file format
        reader = stack.enter_context(pa.ipc.open_file(source))
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
