"""Where the rows that blocks kept lie, by intervals of superpixel ids.

Ids grow with z first, so those of a block reach from its first section to its last one, over
all the blocks beside it. Only an index tells which few blocks hold rows of a range of ids, so
that a task need not open the files of a whole layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import BLOCKS, KEY, Inputs, Outputs, Resources, Rows, Table

INDEX = "index"
"""Name of the step."""
TABLES = ("nodes", "edges")
BLOCKS_AT_ONCE = 256
"""Whose rows one task puts into the index."""
INTERVAL_ROWS = 1 << 14
"""Rows of the graph's table in one interval, on average; a quarter of a task."""
BLOCK, BEGIN, END = "block", "begin", "end"


def index_tasks(inputs: Inputs, config: object, resources: Resources) -> int:
    """Number of tasks of the step."""
    return -(-len(inputs.parts(BLOCKS)) // BLOCKS_AT_ONCE)


def index_blocks(task: int, inputs: Inputs, config: object, resources: Resources) -> Outputs:
    """Where the intervals lie in some of the blocks.

    Returns
    -------
    tables
        ``nodes`` and ``edges``, one row for every interval and block that have rows in
        common: ``key``, the interval, ascending; ``block``, its place among the parts;
        ``begin`` and ``end`` of its rows; all uint64. An edge belongs to its lower id.
    """
    parts = inputs.parts(BLOCKS)
    numbers = range(task * BLOCKS_AT_ONCE, min((task + 1) * BLOCKS_AT_ONCE, len(parts)))
    return {
        table: _sorted(
            [_of_block(n, parts[n][table], _voxels(table, inputs, resources)) for n in numbers]
        )
        for table in TABLES
    }


def kept_rows(
    inputs: Inputs, table: str, low: int, high: int, resources: Resources
) -> Iterator[tuple[int, int, int]]:
    """Rows of blocks whose key may lie between two ids.

    Parameters
    ----------
    inputs
        Of a step after the index.
    table
        ``nodes`` or ``edges``.
    low, high
        The ids, both included.
    resources
        Give the volume.

    Yields
    ------
    block, begin, end
        Rows ``begin .. end - 1`` of one block, and all of its rows with these keys.
    """
    voxels = _voxels(table, inputs, resources)
    first, last = (low - 1) // voxels, (high - 1) // voxels
    for rows, begin, end in inputs.parts(INDEX).between(table, first, last + 1):
        block, start, stop = (rows.read(name, begin, end) for name in (BLOCK, BEGIN, END))
        order = np.lexsort([start, block])  # a block's stretches follow each other without a gap
        heads = np.flatnonzero(np.diff(block[order], prepend=np.uint64(len(inputs.parts(BLOCKS)))))
        tails = np.append(heads[1:], len(order)) - 1
        for head, tail in zip(order[heads], order[tails], strict=True):
            yield int(block[head]), int(start[head]), int(stop[tail])


def _voxels(table: str, inputs: Inputs, resources: Resources) -> int:
    """Length of an interval: ids are flat positions of voxels."""
    rows: Rows = inputs[table]
    return max(1, math.prod(resources.volume.shape) * INTERVAL_ROWS // max(rows.count, 1))


def _of_block(number: int, rows: Rows, voxels: int) -> NDArray[np.uint64]:
    """(k, 4) interval, block, begin, end."""
    interval = ((rows[KEY] - np.uint64(1)) // np.uint64(voxels)).astype(np.int64)
    end = np.append(np.flatnonzero(np.diff(interval)) + 1, len(interval))[: len(interval)]
    begin = np.append(0, end)[:-1]
    return np.stack([interval[begin], np.full_like(begin, number), begin, end], 1).astype(np.uint64)


def _sorted(stretches: list[NDArray[np.uint64]]) -> Table:
    """Rows of all blocks, by interval."""
    rows = np.concatenate(stretches)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return dict(zip((KEY, BLOCK, BEGIN, END), np.ascontiguousarray(rows.T), strict=True))
