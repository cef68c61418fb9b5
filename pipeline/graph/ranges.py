"""Ranges of superpixel ids: what the blocks kept, gathered so that each id is in one place.

1. ``index``: for some blocks at a time, which of their rows belong to which range. Ids grow
   with z first, so the ids of a block reach from its first section to its last one, over all
   the blocks beside it; only an index tells which few of these a range is made of.
2. ``ranges``: the union of the rows of one range.
3. Ranges follow each other in the order of ids: prefix sums of their rows give every row its
   place in the final tables, and the range of an id gives the row of its node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline import intervals
from pipeline.contract import BLOCKS, Inputs, Outputs, Resources, Rows, Table
from pipeline.graph.unions import UNKNOWN, group_starts, stacked, union
from pipeline.intervals import INDEX

RANGES = "ranges"
"""Name of the step."""
LONGEST = 1 << 26
"""Voxels of a range, at most: few ranges, but the files of few blocks open in each."""
PAIRS = 1 << 18
"""Rows of ``edges`` that the blocks keep for one range, on average, at most; a union of them
takes some 100 MB."""


@dataclass(frozen=True)
class Ranges:
    """Equal intervals of ids; an id is 1 + the flat index of a voxel, z slowest.

    Where they begin does not change the graph, for all unions are exact.

    Parameters
    ----------
    span
        Voxels of a range.
    count
        Number of ranges; the last one has no end.
    """

    span: int
    count: int

    @classmethod
    def of(cls, inputs: Inputs, resources: Resources) -> Self:
        """Ranges of a volume whose blocks are done: shorter where superpixels are small."""
        voxels = math.prod(resources.volume.shape)
        pairs = int(inputs.parts(BLOCKS).counts("edges").sum())
        span = max(1, min(LONGEST, voxels * PAIRS // max(pairs, 1)))
        return cls(span, -(-voxels // span))

    def of_ids(self, ids: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The range of every id."""
        found = ((ids - np.uint64(1)) // np.uint64(self.span)).astype(np.int64)
        return np.minimum(found, self.count - 1)


def index_tasks(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Number of tasks of the step ``index``."""
    return intervals.index_tasks(inputs)


def index_blocks(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """Where the rows of some blocks belong; a pair belongs to the lower id's range."""
    ranges = Ranges.of(inputs, resources)

    def of(table: str) -> intervals.Intervals:
        ids = next(iter(UNKNOWN[table]))

        def of_rows(rows: Rows) -> NDArray[np.int64]:
            return ranges.of_ids(rows[ids] if ids == "id" else rows[ids][:, 0])

        return of_rows

    return intervals.index_blocks(task, inputs, {table: of(table) for table in UNKNOWN})


def range_tasks(inputs: Inputs, config: Any, resources: Resources) -> int:
    """Number of ranges."""
    return Ranges.of(inputs, resources).count


def gather_range(task: int, inputs: Inputs, config: Any, resources: Resources) -> Outputs:
    """The union of what all blocks keep of one range of ids; columns as those of a block."""
    blocks = inputs.parts(BLOCKS)
    read: dict[str, list[Table]] = {table: [] for table in UNKNOWN}
    for block, stretches in _blocks_of(inputs, task).items():
        part = blocks[block]  # opened once for all of its tables
        for table, (begin, end) in stretches.items():
            columns = {name: part[table].read(name, begin, end) for name in UNKNOWN[table]}
            read[table].append(columns)
    return {table: union(table, read.pop(table)) for table in UNKNOWN}


def rows_of(table: str, inputs: Inputs) -> int:
    """Rows of a table in all ranges together."""
    return int(inputs.parts(RANGES).counts(table).sum())


def range_rows(table: str, inputs: Inputs, begin: int, end: int) -> Table:
    """Rows ``begin .. end - 1`` of a table, counted through all ranges."""
    parts = inputs.parts(RANGES)
    counts = parts.counts(table)
    ends = counts.cumsum()
    begins = ends - counts
    pieces = []
    for i in np.flatnonzero((counts > 0) & (begins < end) & (ends > begin)):
        rows, before = parts[int(i)][table], int(begins[i])
        names = UNKNOWN[table]
        pieces.append({n: rows.read(n, max(begin - before, 0), end - before) for n in names})
    return {name: stacked(table, name, pieces) for name in UNKNOWN[table]}


def node_rows(ids: NDArray[np.uint64], inputs: Inputs, resources: Resources) -> NDArray[np.int64]:
    """Rows of superpixels in ``nodes``, whatever their order.

    Parameters
    ----------
    ids
        (...) uint64; blocks hold them all.

    Returns
    -------
    rows
        (...) int64.
    """
    parts = inputs.parts(RANGES)
    counts = parts.counts("nodes")
    before = counts.cumsum() - counts
    distinct, where = np.unique(ids, return_inverse=True)
    number = Ranges.of(inputs, resources).of_ids(distinct)
    first = group_starts(number)
    rows = np.empty(len(distinct), np.int64)
    for begin, end in zip(first, np.append(first, len(number))[1:], strict=True):
        held = parts[int(number[begin])]["nodes"]["id"]
        place = np.searchsorted(held, distinct[begin:end])
        inside = held[np.minimum(place, len(held) - 1)] if len(held) else held
        if not np.array_equal(inside, distinct[begin:end]):
            raise AssertionError("an edge names a superpixel that no block holds")
        rows[begin:end] = before[number[begin]] + place
    return rows[where].reshape(ids.shape)


def _blocks_of(inputs: Inputs, task: int) -> dict[int, dict[str, tuple[int, int]]]:
    """Blocks with rows in a range -> table -> first row and one past the last."""
    found: dict[int, dict[str, tuple[int, int]]] = {}
    for table in UNKNOWN:
        for block, begin, end in intervals.indexed_rows(inputs.parts(INDEX), table, task, task):
            found.setdefault(block, {})[table] = (begin, end)
    return found
