"""Table hides the form of the answers: rows of a typed table, one file of Parquet a shard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmrec.bulk.places import Place, put
from llmrec.errors import InputError
from llmrec.types import Recommendation

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Answered", "counts", "schema", "table", "write"]

# The id of a conversation, and what is recommended, or (a text) why nothing is.
Answered = tuple["str | None", "Sequence[Recommendation] | str"]

_COUNTS = b"llmrec.counts"  # in the file's metadata, so that a report reads no rows


def schema() -> pa.Schema:
    """The columns of the answers, the same in every file.

    A conversation has one row for each recommendation, best first. One that failed, or that
    nothing can be recommended to, has a single row without a rank; ``error`` tells which.
    """
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    return pa.schema(
        [
            ("id", text),
            ("rank", pa.int32()),
            ("item_id", text),
            ("title", text),
            ("score", pa.float64()),
            ("reason", text),
            ("matched", texts),
            ("relaxed", texts),
            ("model", text),
            ("error", text),
        ]
    )


def table(answers: Sequence[Answered], model: str) -> pa.Table:
    """The rows of a shard, with its counts."""
    import pyarrow as pa

    rows = [row for answer in answers for row in _rows(*answer)]
    said = {
        "conversations": len(answers),
        "recommendations": sum("rank" in row for row in rows),
        "empty": sum(not found for _, found in answers),
        "failed": sum(isinstance(found, str) for _, found in answers),
    }
    columns = schema().with_metadata({_COUNTS: json.dumps(said).encode()})
    return pa.Table.from_pylist([{**row, "model": model} for row in rows], schema=columns)


def _rows(name: str | None, found: Sequence[Recommendation] | str) -> Iterator[dict[str, Any]]:
    if isinstance(found, str):
        yield {"id": name, "error": found}
    elif not found:
        yield {"id": name}
    else:
        for r in found:
            yield {
                "id": name,
                "rank": r.rank,
                "item_id": r.item.id,
                "title": r.item.title,
                "score": float(r.score),
                "reason": r.reason,
                "matched": list(r.matched),
                "relaxed": list(r.relaxed),
            }


def write(file: Place, rows: pa.Table) -> None:
    """Write a table whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    put(file, sink.getvalue().to_pybytes())


def counts(file: Place) -> Mapping[str, int]:
    """What a file says of itself. Raises InputError if it is damaged."""
    import pyarrow.parquet as pq

    try:
        with file.open("rb") as data:
            said: Mapping[str, int] = json.loads(pq.read_schema(data).metadata[_COUNTS])
    except InputError:
        raise  # it could not be reached
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(
            f"{file} is damaged ({e}): remove it and run the same command again"
        ) from None
    return said
