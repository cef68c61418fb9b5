"""Exact unions of rows that several blocks keep of the same superpixel, or of the same pair.

All statistics are integers: added, or the least and the greatest taken, in any order. Columns
are united one by one, to hold little beside pieces and result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Table

UNKNOWN: Mapping[str, Table] = {
    "nodes": {
        "id": np.zeros(0, np.uint64),
        "size_voxels": np.zeros(0, np.uint64),
        "sums": np.zeros((0, 3), np.int64),
        "products": np.zeros((0, 6), np.int64),
        "box": np.zeros((0, 6), np.int64),
    },
    "edges": {
        "ids": np.zeros((0, 2), np.uint64),
        "faces": np.zeros((0, 3), np.uint64),
        "sums": np.zeros((0, 3), np.int64),
        "products": np.zeros((0, 6), np.int64),
    },
    "overlaps": {"ids": np.zeros((0, 2), np.uint64), "voxels": np.zeros(0, np.uint64)},
}
"""The tables of a block without superpixels. Rows are sorted by the first column."""


def stacked(table: str, column: str, pieces: Sequence[Table]) -> NDArray[Any]:
    """One column of all pieces, one below the other; no pieces give no rows."""
    return np.concatenate([UNKNOWN[table][column], *(piece[column] for piece in pieces)])


def union(table: str, pieces: Sequence[Table]) -> Table:
    """One row for every superpixel or pair of superpixels.

    Parameters
    ----------
    table
        ``nodes``, ``edges`` or ``overlaps``.
    pieces
        Rows of the tables of blocks, or of earlier unions, in any order.

    Returns
    -------
    rows
        Columns as those of a block, sorted by the first one: boxes united, all else added.
    """
    name, *others = UNKNOWN[table]
    ids = stacked(table, name, pieces)
    order = np.lexsort(tuple(np.atleast_2d(ids.T))[::-1])
    ids = ids[order]
    first = group_starts(ids)
    result = {name: ids[first]}
    for other in others:
        values = stacked(table, other, pieces)[order]
        result[other] = _united(values, first) if other == "box" else _added(values, first)
    return result


def group_starts(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Positions where sorted rows change: (n,) or (n, k) -> first row of every group."""
    if not len(rows):
        return np.zeros(0, np.int64)
    changed = rows[1:] != rows[:-1]
    if changed.ndim > 1:
        changed = changed.any(1)
    return np.flatnonzero(np.concatenate([[True], changed])).astype(np.int64)


def _added(values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    return _reduce(np.add, values, first)


def _united(boxes: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    begin, end = boxes[:, :3], boxes[:, 3:]
    return np.concatenate([_reduce(np.minimum, begin, first), _reduce(np.maximum, end, first)], 1)


def _reduce(operation: np.ufunc, values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    """Reduce groups of rows; no rows give no rows."""
    if not len(first):
        return values[:0]
    reduced: NDArray[Any] = operation.reduceat(values, first, axis=0)
    return reduced
