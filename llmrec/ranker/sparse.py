"""Sparse hides how lists become sparse rows, and how those are kept as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Arrays", "Matrix", "best", "from_arrays", "matrix", "to_arrays", "unit"]

Matrix: TypeAlias = Any  # scipy.sparse.csr_matrix; scipy is imported where it is needed
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


def matrix(
    rows: Sequence[Sequence[int]], width: int, values: Sequence[Sequence[float]] | None = None
) -> Matrix:
    """A sparse float32 matrix [len(rows), width] of columns and values; equal columns are added."""
    from scipy.sparse import csr_matrix

    ptr = np.concatenate([[0], np.cumsum([len(r) for r in rows], dtype=np.int64)])
    columns = np.fromiter((c for r in rows for c in r), dtype=np.int32, count=int(ptr[-1]))
    data = np.ones(len(columns), dtype=np.float32)
    if values is not None:
        data[:] = np.fromiter((v for r in values for v in r), np.float32, len(columns))
    out = csr_matrix((data, columns, ptr), shape=(len(rows), width))
    out.sum_duplicates()
    return out


def unit(m: Matrix, length: float = 1.0) -> Matrix:
    """The matrix with rows of that length, or 0."""
    now = np.sqrt(np.asarray(m.multiply(m).sum(1)).ravel())
    return scaled(m, length / np.where(now > 0, now, 1.0))


def scaled(m: Matrix, by: npt.NDArray[Any]) -> Matrix:
    """The matrix with each row times a number."""
    out = m.tocsr(copy=True)
    out.data = (out.data * np.repeat(by, np.diff(out.indptr))).astype(np.float32)
    return out


def best(m: Matrix, n: int) -> Matrix:
    """The ``n`` largest entries of each row."""
    from scipy.sparse import csr_matrix

    kept = []
    for a, b in pairwise(m.indptr.tolist()):
        if b - a > n:
            kept.append(a + np.sort(np.argpartition(m.data[a:b], b - a - n)[b - a - n :]))
        else:
            kept.append(np.arange(a, b))
    at = np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
    ptr = np.concatenate([[0], np.cumsum([len(k) for k in kept], dtype=np.int64)])
    return csr_matrix((m.data[at], m.indices[at], ptr), shape=m.shape)


def to_arrays(name: str, m: Matrix, dtype: Any = np.float32) -> Arrays:
    """The matrix as three plain arrays and its shape."""
    m = m.tocsr()
    return {
        f"{name}.ptr": m.indptr.astype(np.int64),
        f"{name}.columns": m.indices.astype(np.int32),
        f"{name}.values": m.data.astype(dtype),
        f"{name}.shape": np.array(m.shape, dtype=np.int64),
    }


def from_arrays(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Matrix:
    """The matrix that ``to_arrays`` took apart."""
    from scipy.sparse import csr_matrix

    return csr_matrix(
        (
            arrays[f"{name}.values"].astype(np.float32),
            arrays[f"{name}.columns"],
            arrays[f"{name}.ptr"],
        ),
        shape=tuple(arrays[f"{name}.shape"].tolist()),
    )
