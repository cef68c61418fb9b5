"""Which blocks hold rows of which superpixels; see ``pipeline.intervals``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline import intervals
from pipeline.contract import KEY, Inputs, Outputs, Resources, Rows
from pipeline.intervals import INDEX

TABLES = ("nodes", "edges")
INTERVAL_ROWS = 1 << 14
"""Rows of the graph's table in one interval, on average; a quarter of a task."""


def index_tasks(inputs: Inputs, config: object, resources: Resources) -> int:
    """Number of tasks of the step."""
    return intervals.index_tasks(inputs)


def index_blocks(task: int, inputs: Inputs, config: object, resources: Resources) -> Outputs:
    """Where the intervals lie in some of the blocks; an edge belongs to its lower id."""
    spans = {table: _voxels(table, inputs, resources) for table in TABLES}

    def of(span: int) -> intervals.Intervals:
        def of_rows(rows: Rows) -> NDArray[np.int64]:
            return ((rows[KEY] - np.uint64(1)) // np.uint64(span)).astype(np.int64)

        return of_rows

    return intervals.index_blocks(task, inputs, {table: of(spans[table]) for table in TABLES})


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
    span = _voxels(table, inputs, resources)
    first, last = (low - 1) // span, (high - 1) // span
    yield from intervals.indexed_rows(inputs.parts(INDEX), table, first, last)


def _voxels(table: str, inputs: Inputs, resources: Resources) -> int:
    """Length of an interval: ids are flat positions of voxels."""
    rows: Rows = inputs[table]
    return max(1, math.prod(resources.volume.shape) * INTERVAL_ROWS // max(rows.count, 1))
