"""Amazon_titles hides how AmazonTitles-1.3MM becomes a stream of products, thinned and resumable.

The files ``trn``, ``tst`` and ``lbl`` (``.json`` or ``.json.gz``) hold one product a line. They are
read in blocks of lines, block after block or by several processes; what comes out is the same.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.cleaning import UNCLEAN, clean
from llmrec.datasets import json_blocks
from llmrec.datasets.base import Report
from llmrec.datasets.keys import Keys, Seen, folded, keys_of, shuffled
from llmrec.datasets.workers import available, spread
from llmrec.errors import InputError
from llmrec.types import Example, Item

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AmazonTitles"]

COLUMNS = ["id", "title", "description"]
FILES = {"train": "trn", "test": "tst", "labels": "lbl"}
OUTSIDE = "target_ind that is no line of lbl"

_ROWS = 32_768  # products that make a table, at least
_SMALL = 16 << 20  # bytes of a file that is not worth the start of processes
_KEYS = ["text_key", "uid_key"]


class AmazonTitles:
    """Products with title and description, and which of them belong together.

    Texts are cleaned by ``clean``. Left out and counted in ``report`` are products without a title
    (a letter or digit at least), without a description, with a description under ``min_chars``
    characters, and those that came before: the same uid, or the same folded title and the same
    description. Lines that are no product are reported with their number. Of the split "labels"
    products without a long description, or any, are kept, since its titles alone are targets.

    Parameters
    ----------
    path: the folder with ``trn.json``, ``tst.json``, ``lbl.json`` (or ``.json.gz``), or one of
        these files; those beside it are found as well.
    min_chars: of the cleaned description.
    sample: keep only so many products, drawn by ``seed`` from those that pass; their order stays.
        The sample is held in memory.
    lowercase: write titles and descriptions in lower case.
    workers: processes to read with; by default one for each core, at most 3, and none for a
        small file. The result does not depend on it.

    Raises
    ------
    InputError: the files are not there, or an option is out of range.
    """

    name = "amazon_titles"
    title = "AmazonTitles-1.3MM"
    homepage = "http://manikvarma.org/downloads/XC/XMLRepository.html"
    license = "unknown"
    citation = (
        "@misc{Bhatia16, author = {Bhatia, K. and Dahiya, K. and Jain, H. and Kar, P. and Mittal, "
        "A. and Prabhu, Y. and Varma, M.}, title = {The extreme classification repository: "
        "Multi-label datasets and code}, "
        "url = {http://manikvarma.org/downloads/XC/XMLRepository.html}, year = {2016}}"
    )
    example_splits: tuple[str, ...] = ()

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        min_chars: int = 100,
        sample: int | None = None,
        seed: int = 0,
        lowercase: bool = False,
        workers: int | None = None,
    ) -> None:
        for name, value in (("sample", sample), ("workers", workers)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: give 1 or more, or None")
        if min_chars < 0:
            raise InputError(f"min_chars is {min_chars}: give 0 or more")
        self.path = Path(path)
        self.min_chars = min_chars
        self.sample = sample
        self.seed = seed
        self.lowercase = lowercase
        self.workers = workers
        self.report = Report()
        self._files = _files(self.path)
        self.item_splits = tuple(self._files)

    def examples(self, split: str = "train") -> Iterator[Example]:
        """There are none. Raises InputError."""
        raise InputError(f"{self.title} has no examples: use items({split!r})")

    def items(self, split: str = "train") -> Iterator[Item]:
        """The products of one file, each once. Raises InputError, see ``tables``."""
        return (
            Item(id=uid, title=title, description=description)
            for table, _ in self.tables(split)
            for uid, title, description in zip(
                *(column.to_pylist() for column in table.columns), strict=True
            )
        )

    def tables(
        self, split: str = "train", after: Mapping[str, Any] | None = None
    ) -> Iterator[tuple[pa.Table, dict[str, Any]]]:
        """The products as Arrow tables (id, title, description), each with a cursor behind it.

        Parameters
        ----------
        after: the cursor of the last table that is safe; it is plain JSON. What follows is the
            same, byte for byte, as without the interruption, ``report`` included. The lines before
            it are read again for what they say about duplicates, and nothing of them is given out.

        Raises
        ------
        InputError: an unknown split; a cursor of another file or of other options; or, once
            everything before was given out, an archive that is damaged.
        """
        path = self._file(split)
        # The titles of the labels alone are targets: they need no text.
        rules = {
            "min_chars": self.min_chars,
            "lowercase": self.lowercase,
            "need_text": split != "labels",
        }
        of = [path.name, path.stat().st_size, *rules.values(), self.sample, self.seed]
        if after is not None and after.get("of") != of:
            raise InputError(_not_its_cursor(path))
        self.report = Report()
        return self._tables(path, rules, of, self.report, after)

    def related(self, split: str = "train") -> Iterator[tuple[str, tuple[str, ...]]]:
        """Of each product of "train" or "test" its uid, and those of the labels it leads to.

        Every line with a uid is given, whether or not ``items`` keeps it. Numbers that are no line
        of ``lbl`` are counted in ``report``.

        Raises
        ------
        InputError: an unknown split, or no ``lbl`` beside it.
        """
        if split == "labels":
            raise InputError("labels lead nowhere: use related('train') or related('test')")
        path, labels = self._file(split), self._file("labels")
        self.report = Report()
        return _related(path, labels, self.report)

    def _file(self, split: str) -> Path:
        if split not in self._files:
            missing = f" (there is no {FILES[split]}.json)" if split in FILES else ""
            raise InputError(
                f"{self.path} has no split {split!r}{missing}: it has {', '.join(self._files)}"
            )
        return self._files[split]

    def _tables(
        self,
        path: Path,
        rules: Mapping[str, Any],
        of: list[Any],
        report: Report,
        after: Mapping[str, Any] | None,
    ) -> Iterator[tuple[pa.Table, dict[str, Any]]]:
        workers = self.workers or (available() if path.stat().st_size > _SMALL else 1)
        stream = _kept(path, rules, workers, report)
        if self.sample:
            stream = _sampled(stream, self.sample, self.seed, report)
        for number, table in enumerate(stream, 1):
            cursor = {"of": of, "table": number, "report": report.to_dict()}
            if after is None:
                yield table.select(COLUMNS), cursor
            elif number == after["table"]:
                if cursor != after:
                    raise InputError(_not_its_cursor(path))
                after = None
        if after is not None:
            raise InputError(_not_its_cursor(path))


def _not_its_cursor(path: Path) -> str:
    return (
        f"the cursor was not given out for {path} as it is now and with these options: "
        "use those of the first run, or begin anew without a cursor"
    )


def _files(path: Path) -> dict[str, Path]:
    """Split to its file; a plain one goes before a packed one."""
    if path.is_file():
        stem = path.name.partition(".")[0]
        folder, found = path.parent, {s: path for s, name in FILES.items() if name == stem}
        if not found:
            found = {"train": path}
    else:
        folder, found = path, {}
    for split, name in FILES.items():
        for suffix in (".json", ".json.gz"):
            if split not in found and (folder / (name + suffix)).is_file():
                found[split] = folder / (name + suffix)
    if not found:
        raise InputError(
            f"{path} has none of trn.json, tst.json, lbl.json (or .json.gz): "
            "give the folder they were unpacked to"
        )
    return {split: found[split] for split in FILES if split in found}


# Products, cleaned and checked.


def _prepare(block: bytes, *, min_chars: int, lowercase: bool, need_text: bool) -> pa.Table:
    """The products of a block that pass alone, with the two keys that duplicates are known by.

    How many lines there were, what was dropped and what is broken stands in the metadata.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {"uid": "text", "title": "text", "content": "text"}
    rows, problems = json_blocks.rows(block, columns, "uid")
    titles, texts = _cleaned(rows["title"]), _cleaned(rows["content"])
    if lowercase:
        titles, texts = pc.utf8_lower(titles), pc.utf8_lower(texts)
    names = np.array([folded(t) for t in titles.to_pylist()], object)
    size = pc.utf8_length(texts).to_numpy()
    dropped: Counter[str] = Counter()
    keep = np.ones(len(rows), bool)
    checks = {"no title": names == b""}
    if need_text:
        checks["no content"] = size == 0
        checks[f"description under {min_chars} characters"] = size < min_chars
    for reason, bad in checks.items():
        if n := int((keep & bad).sum()):
            dropped[reason] = n
        keep &= ~bad
    mask = pa.array(keep)
    ids, texts = rows["uid"].combine_chunks().filter(mask), texts.filter(mask)
    keys = keys_of(ids.to_pylist(), names[keep].tolist(), texts)
    facts = {"lines": block.count(b"\n"), "dropped": dropped, "problems": problems}
    return pa.table(
        [ids, titles.filter(mask), texts, pa.array(keys[:, 0]), pa.array(keys[:, 1])],
        names=COLUMNS + _KEYS,
        metadata={"facts": json.dumps(facts)},
    )


def _kept(path: Path, rules: Mapping[str, Any], workers: int, report: Report) -> Iterator[pa.Table]:
    """The products of a file without duplicates, still with their keys; counted in ``report``."""
    import pyarrow as pa

    seen, lines = Seen(), 0
    for group in _grouped(spread(_prepare, json_blocks.blocks(path), workers, **rules)):
        for batch in group:
            facts = json.loads(batch.schema.metadata[b"facts"])
            for line, reason in facts["problems"]:
                report.broken(path.name, lines + line, reason)
            lines += facts["lines"]
            for reason, n in facts["dropped"].items():
                report.drop(reason, n)
        table = pa.concat_tables(b.replace_schema_metadata(None) for b in group)
        fresh = seen.add(_key_columns(table))
        if n := len(fresh) - int(fresh.sum()):
            report.drop("duplicate", n)
            table = table.filter(pa.array(fresh))
        report.kept += len(table)
        if len(table):
            yield table.combine_chunks()


def _grouped(batches: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """``batches`` in their order, so many together that they make a table."""
    group, rows = [], 0
    for batch in batches:
        group.append(batch)
        rows += len(batch)
        if rows >= _ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _key_columns(table: pa.Table) -> Keys:
    return np.column_stack([table[name].to_numpy() for name in _KEYS])


def _sampled(tables: Iterable[pa.Table], n: int, seed: int, report: Report) -> Iterator[pa.Table]:
    """``n`` rows drawn by their uids and ``seed``, in their order, once all have been seen."""
    import pyarrow as pa

    pool: list[pa.Table] = []
    ranks = np.empty(0, np.uint64)

    def thin() -> None:
        nonlocal pool, ranks
        best = np.sort(np.argpartition(ranks, n - 1)[:n])
        pool, ranks = [pa.concat_tables(pool).take(best).combine_chunks()], ranks[best]

    for table in tables:
        pool.append(table)
        ranks = np.concatenate([ranks, shuffled(_key_columns(table)[:, 1], seed)])
        if len(ranks) > n + n // 4:
            thin()
    if len(ranks) > n:
        thin()
    if rest := report.kept - len(ranks):
        report.drop("not in the sample", rest)
    report.kept = len(ranks)
    if pool:
        whole = pa.concat_tables(pool)
        for start in range(0, len(whole), _ROWS):
            yield whole.slice(start, _ROWS)


# What belongs together.


def _related(path: Path, labels: Path, report: Report) -> Iterator[tuple[str, tuple[str, ...]]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    uids = _uids(labels, report)
    columns = {"uid": "text", "target_ind": "numbers"}
    for rows, _ in json_blocks.tables(path, columns, "uid", report):
        targets = rows["target_ind"].combine_chunks()
        counts = pc.fill_null(pc.list_value_length(targets), 0).to_numpy()
        flat = pc.fill_null(targets.flatten(), -1).to_numpy()
        known = (flat >= 0) & (flat < len(uids))
        named = uids.take(pa.array(np.where(known, flat, 0), mask=~known)).to_pylist()
        start = 0
        for uid, n in zip(rows["uid"].to_pylist(), counts.tolist(), strict=True):
            found = tuple(name for name in named[start : start + n] if name is not None)
            start += n
            if len(found) < n:
                report.drop(OUTSIDE, n - len(found))
            report.kept += 1
            yield uid, found


def _uids(path: Path, report: Report) -> pa.StringArray:
    """The uid on each line that is not blank, null where the line is broken."""
    import pyarrow as pa

    pieces = [pa.array([], pa.string())]
    for rows, broken in json_blocks.tables(path, {"uid": "text"}, "uid", report):
        lines = np.concatenate([rows["line"].to_numpy(), broken])
        uids = pa.concat_arrays([*rows["uid"].chunks, pa.nulls(len(broken), pa.string())])
        pieces.append(uids.take(pa.array(np.argsort(lines, kind="stable"))))
    return pa.concat_arrays(pieces)


def _cleaned(column: pa.ChunkedArray) -> pa.Array:
    """A column of texts, each cleaned; what is null becomes empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.fill_null(column, "").combine_chunks()
    unclean = pc.match_substring_regex(texts, UNCLEAN)
    mended = [clean(t) for t in texts.filter(unclean).to_pylist()]
    return pc.replace_with_mask(texts, unclean, pa.array(mended, pa.string()))
