"""Where the rows that blocks kept lie, by intervals of superpixel ids.

Ids grow with z first, so those of a block reach from its first section to its last one, over
all the blocks beside it. Only an index tells which few blocks hold rows of an interval, so
that a task need not open the files of a whole layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import BLOCKS, KEY, Inputs, Outputs, Parts, Rows, Table

INDEX = "index"
"""Name of the step that makes the index."""
BLOCKS_AT_ONCE = 256
"""Whose rows one task puts into the index."""
BLOCK, BEGIN, END = "block", "begin", "end"

Intervals = Callable[[Rows], NDArray[np.int64]]
"""Interval of every row of a kept table, ascending."""


def index_tasks(inputs: Inputs) -> int:
    """Number of tasks of the step."""
    return -(-len(inputs.parts(BLOCKS)) // BLOCKS_AT_ONCE)


def index_blocks(task: int, inputs: Inputs, intervals: Mapping[str, Intervals]) -> Outputs:
    """Where the intervals lie in some of the blocks.

    Parameters
    ----------
    task
        Number of the task.
    inputs
        After the pass over blocks.
    intervals
        Of every table that is to be found.

    Returns
    -------
    tables
        One row for every interval and block that have rows in common: ``key``, the interval,
        ascending; ``block``, its place among the parts; ``begin`` and ``end`` of its rows; all
        uint64.
    """
    parts = inputs.parts(BLOCKS)
    numbers = range(task * BLOCKS_AT_ONCE, min((task + 1) * BLOCKS_AT_ONCE, len(parts)))
    return {
        table: _sorted([_of_block(number, of_rows(parts[number][table])) for number in numbers])
        for table, of_rows in intervals.items()
    }


def indexed_rows(index: Parts, table: str, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Rows of blocks that belong to consecutive intervals.

    Parameters
    ----------
    index
        What the step kept.
    table
        Its name.
    first, last
        Intervals, both included.

    Yields
    ------
    block, begin, end
        Rows ``begin .. end - 1`` of one block; every block once in each part of the index.
    """
    for rows, low, high in index.between(table, first, last + 1):
        block, begin, end = (rows.read(name, low, high) for name in (BLOCK, BEGIN, END))
        order = np.lexsort([begin, block])  # a block's stretches follow each other without a gap
        changed = np.flatnonzero(block[order][1:] != block[order][:-1]) + 1
        heads = np.append(0, changed)
        tails = np.append(changed, len(order)) - 1
        for head, tail in zip(order[heads], order[tails], strict=True):
            yield int(block[head]), int(begin[head]), int(end[tail])


def _of_block(number: int, interval: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(k, 4) interval, block, begin, end."""
    end = np.append(np.flatnonzero(np.diff(interval)) + 1, len(interval))[: len(interval)]
    begin = np.append(0, end)[:-1]
    return np.stack([interval[begin], np.full_like(begin, number), begin, end], 1).astype(np.uint64)


def _sorted(stretches: list[NDArray[np.uint64]]) -> Table:
    """Rows of all blocks, by interval."""
    rows = np.concatenate(stretches)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return dict(zip((KEY, BLOCK, BEGIN, END), np.ascontiguousarray(rows.T), strict=True))
