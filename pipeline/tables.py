"""Reading tables that do not fit in memory: rows by index, and by the values of a column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import ROWS, Rows


def row_range(task: int, count: int) -> tuple[int, int]:
    """First row, and one past the last, that a writing task writes of ``count``.

    >>> row_range(1, 70000)
    (65536, 70000)
    """
    return min(task * ROWS, count), min((task + 1) * ROWS, count)


def row_tasks(count: int) -> int:
    """Number of tasks that ``count`` rows make; at least one.

    >>> row_tasks(0), row_tasks(65536), row_tasks(65537)
    (1, 1, 2)
    """
    return max(1, -(-count // ROWS))


def take(rows: Rows, column: str, index: NDArray[np.integer]) -> NDArray[Any]:
    """Rows of a column by their index.

    Only stretches of ``ROWS`` rows that hold some are read, one at a time.

    Parameters
    ----------
    rows
        The table.
    column
        Its name.
    index
        (...) integers, 0 .. count - 1, in any order.

    Returns
    -------
    values
        (..., w) or (...).
    """
    flat = np.asarray(index).astype(np.int64, copy=False).ravel()
    stretch = flat // ROWS
    empty = rows.read(column, 0, 0)
    values = np.empty((len(flat), *empty.shape[1:]), empty.dtype)
    for number in np.unique(stretch):
        here = np.flatnonzero(stretch == number)
        first = flat[here].min()
        read = rows.read(column, int(first), int(flat[here].max()) + 1)
        values[here] = read[flat[here] - first]
    return values.reshape(*np.shape(index), *empty.shape[1:])


def find(rows: Rows, column: str, values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows at which a sorted column holds given values.

    Parameters
    ----------
    rows
        The table.
    column
        Its name; uint64, strictly ascending.
    values
        (...) uint64, in any order.

    Returns
    -------
    index
        (...) int64; -1 where the column does not hold the value.
    """
    distinct, where = np.unique(values, return_inverse=True)
    found = np.full(len(distinct), -1, np.int64)
    stretch = np.searchsorted(rows.heads(column), distinct, side="right") - 1
    for number in np.unique(stretch[stretch >= 0]):
        here = np.flatnonzero(stretch == number)
        begin, end = row_range(int(number), rows.count)
        some = rows.read(column, begin, end)
        place = np.minimum(np.searchsorted(some, distinct[here]), len(some) - 1)
        found[here] = np.where(some[place] == distinct[here], begin + place, -1)
    return found[where].reshape(np.shape(values))
