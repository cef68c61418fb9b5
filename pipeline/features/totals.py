"""Sums of what the blocks kept, for some rows of the graph's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.contract import BLOCKS, KEY, Inputs, Parts, Resources
from pipeline.features.index import kept_rows
from pipeline.features.statistics import Statistics

UPPER = "upper"
"""Column of kept edges: the higher id; the lower one is their key."""
ROWS_AT_ONCE = 1 << 14
"""Rows whose statistics a task holds at the same time."""


@dataclass(frozen=True)
class Addend:
    """What one block adds to the rows of a task.

    Parameters
    ----------
    block
        Its place among the parts.
    begin
        The first of its rows that counts.
    into
        (k,) int64, ascending: the task's row that this one and each of those after it is
        added to.
    """

    block: int
    begin: int
    into: NDArray[np.int64]


def stretches(count: int) -> Iterator[slice]:
    """The rows of a task, some at a time."""
    for begin in range(0, count, ROWS_AT_ONCE):
        yield slice(begin, min(begin + ROWS_AT_ONCE, count))


def addends(
    inputs: Inputs, table: str, ids: NDArray[np.uint64], resources: Resources
) -> list[Addend]:
    """Where the blocks kept something of a task's rows; statistics are not read yet.

    Parameters
    ----------
    inputs
        Of a step after the index.
    table
        ``edges`` or ``nodes``.
    ids
        (k, 2) or (k, 1) uint64, sorted: superpixel ids of the edges, lower id first, or nodes.
    resources
        Give the volume.

    Raises
    ------
    AssertionError
        If a block holds one that should lie between two of the rows.
    """
    if not len(ids):
        return []
    found, names = [], (KEY, UPPER)[: ids.shape[1]]
    low, high = int(ids[0, 0]), int(ids[-1, 0])
    for block, begin, end in kept_rows(inputs, table, low, high, resources):
        part = inputs.parts(BLOCKS)[block][table]
        wanted = np.stack([part.read(name, begin, end) for name in names], 1)
        first, into = _rows_of(ids, wanted, table)
        if len(into):
            found.append(Addend(block, begin + first, into))
    return found


def total(
    parts: Parts,
    table: str,
    found: Sequence[Addend],
    rows: slice,
    samples: NDArray[np.uint64],
    measured: int,
) -> Statistics:
    """Sum of all blocks, for some rows of a task.

    Parameters
    ----------
    parts
        What the blocks kept.
    table
        ``edges`` or ``nodes``.
    found
        Of the task.
    rows
        Of the task.
    samples
        (k,) of each of these rows, as the graph counted them.
    measured
        Number of channels.

    Raises
    ------
    AssertionError
        If the blocks did not keep as many samples.
    """
    added = Statistics.empty(rows.stop - rows.start, measured)
    for addend in found:
        first, last = (int(n) for n in np.searchsorted(addend.into, [rows.start, rows.stop]))
        if first < last:
            part = parts[addend.block][table]
            some = Statistics.of_rows(part, addend.begin + first, addend.begin + last)
            added.add(addend.into[first:last] - rows.start, some)
    if not np.array_equal(added.count, samples):
        raise AssertionError(f"samples of {table} are missing: the parts are not of this graph")
    return added


def _rows_of(
    ids: NDArray[np.uint64], wanted: NDArray[np.uint64], table: str
) -> tuple[int, NDArray[np.int64]]:
    """Rows of sorted ``wanted`` in ``ids``, without those below the first and above the last.

    These lie in other tasks: an interval of ids is no task, and a superpixel's edges may lie
    in several.
    """
    place = _lower_bounds(ids, wanted)
    same = (ids[np.minimum(place, len(ids) - 1)] == wanted).all(1)
    own = (place > 0) & (place < len(ids)) | same
    if not same[own].all():
        raise AssertionError(f"{table} of a block are missing in the graph")
    return int(np.argmax(own)), place[own]


@compiled
def _lower_bounds(rows: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """First of the sorted ``rows`` that is not below each of ``wanted``, sorted as well."""
    place = np.empty(len(wanted), np.int64)
    row = 0
    for i in range(len(wanted)):
        while row < len(rows) and _below(rows[row], wanted[i]):
            row += 1
        place[i] = row
    return place


@compiled
def _below(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> bool:
    """Whether ``a`` comes before ``b``."""
    for k in range(len(a)):
        if a[k] != b[k]:
            return bool(a[k] < b[k])
    return False
