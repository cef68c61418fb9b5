"""The graph by cells of the volume: rows are scattered to cells, and a cell's problem is gathered.

A step that keeps scatters: the rows of nodes and of pairs (edges, overlaps, ...), keyed by the
cell of a node's seed, or of a pair's lower node's. A task of a later step gathers the nodes in
and around its cell and the pairs between them, numbered densely in the order of the whole
graph. So tasks are many and small however large the graph is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import Cells, grown, seeds
from pipeline.contract import KEY, ROWS, Box, Parts, Rows, Table, Triple, VolumeInfo
from pipeline.tables import take

STRETCH = 4 * ROWS
"""Rows of each table that one task scatters."""


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A part of the graph, its nodes numbered 0 .. n - 1 in the order of the whole graph.

    Parameters
    ----------
    nodes
        Columns of n nodes; ``row`` int64 is their row in the whole graph, ascending.
    pairs
        Name -> columns; ``uv`` (m, 2) uint64 nodes, u < v, rows sorted by (u, v).
    inside
        (n,) whether the node lies in the cell itself, not only near it.
    """

    nodes: Table
    pairs: Mapping[str, Table]
    inside: NDArray[np.bool_]


def stretches(*counts: int) -> int:
    """Number of tasks that scatter tables of so many rows; at least one.

    >>> stretches(10, 3_000_000), stretches(0)
    (12, 1)
    """
    return max(1, -(-max(counts) // STRETCH))


def stretch(task: int, count: int) -> tuple[int, int]:
    """First row, and one past the last, that a task scatters of a table of ``count`` rows."""
    return min(task * STRETCH, count), min((task + 1) * STRETCH, count)


def by_cell(table: Table, of_cell: NDArray[np.int64]) -> Table:
    """A table to be kept: rows sorted by their cells, which become its key.

    Parameters
    ----------
    table
        Of nodes: ``row``, ``id`` and more columns; of pairs: ``uv`` and more.
    of_cell
        (n,) cell of every row; rows of one cell keep their order.
    """
    order = np.argsort(of_cell, kind="stable")
    return {
        KEY: of_cell[order].astype(np.uint64),
        **{name: column[order] for name, column in table.items()},
    }


def cells_of_rows(cells: Cells, nodes: Rows, rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """(k,) rows of the table of nodes -> (k,) cells of their seeds."""
    return cells.of_ids(take(nodes, "id", rows))


def reach_voxels(nm: float, volume: VolumeInfo) -> Triple:
    """A distance as voxels along z, y, x, rounded up.

    >>> reach_voxels(100, VolumeInfo((9, 9, 9), (40.0, 4.0, 5.0), "uint8"))
    (3, 25, 20)
    """
    z, y, x = (math.ceil(nm / size) for size in volume.voxel_size_nm)
    return z, y, x


def gather(parts: Parts, cells: Cells, cell: int, reach: Triple, pairs: Sequence[str]) -> Subgraph:
    """The graph in and around a cell.

    Parameters
    ----------
    parts
        What the step that scatters kept: the table ``nodes`` and those of ``pairs``.
    cells
        The same as there.
    cell
        Its number.
    reach
        zyx, voxels; nodes with their seed so far outside of the cell belong to the problem.
    pairs
        Names of tables.

    Returns
    -------
    subgraph
        All nodes and pairs, in their order, where there is one cell.
    """
    return gather_box(parts, cells, cells.box(cell), reach, pairs)


def gather_box(
    parts: Parts, cells: Cells, box: Box, reach: Triple, pairs: Sequence[str]
) -> Subgraph:
    """The graph in and around any box of voxels; as ``gather``.

    Parameters
    ----------
    parts, reach, pairs
        As in ``gather``; an ``id`` may be any place, 1 + the flat index of a voxel.
    cells
        By which the rows are keyed.
    box
        Nodes with their seed in it are ``inside``.
    """
    shape = cells.volume_shape
    around = grown(box, reach)
    numbers = cells.touched(around)
    nodes = rows_in_cells(
        parts, "nodes", numbers, "id", lambda ids: within_box(seeds(ids, shape), around)
    )
    nodes = _ordered(nodes, np.argsort(nodes["row"], kind="stable"))
    rows = nodes["row"]

    def numbered(name: str) -> Table:
        table = rows_in_cells(parts, name, numbers, "uv", lambda uv: _all_among(uv, rows))
        table = _ordered(table, np.lexsort((table["uv"][:, 1], table["uv"][:, 0])))
        return {
            **table,
            "uv": np.searchsorted(rows, table["uv"].astype(np.int64)).astype(np.uint64),
        }

    return Subgraph(
        nodes=nodes,
        pairs={name: numbered(name) for name in pairs},
        inside=within_box(seeds(nodes["id"], shape), box),
    )


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as ranges ``low .. high - 1``."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        consecutive = [number for _, number in run]
        yield consecutive[0], consecutive[-1] + 1


def rows_in_cells(
    parts: Parts,
    name: str,
    numbers: Sequence[int],
    column: str,
    chosen: Callable[[NDArray[np.uint64]], NDArray[np.bool_]],
) -> Table:
    """Rows of cells that a column decides for, without their key; in the order of the parts.

    Parameters
    ----------
    parts
        What the step that scatters kept.
    name
        Of a table.
    numbers
        Of the cells, ascending.
    column
        Is read first.
    chosen
        Values of the column -> (n,) whether the row is wanted.
    """
    columns = [one for one in parts[0][name] if one != KEY]
    found = {one: [parts[0][name].read(one, 0, 0)] for one in columns}
    for task in np.flatnonzero(_may_hold(parts.keys(name), numbers)):
        rows = parts[int(task)][name]
        for begin, end in _stretches_of(rows.read(KEY, 0, rows.count), numbers):
            kept = begin + np.flatnonzero(chosen(rows.read(column, begin, end)))
            if len(kept):
                first = int(kept[0])
                for one in columns:
                    read = rows.read(one, first, int(kept[-1]) + 1)
                    found[one].append(read[kept - first])
    return {one: np.concatenate(values) for one, values in found.items()}


def _may_hold(keys: NDArray[np.uint64], numbers: Sequence[int]) -> NDArray[np.bool_]:
    """(t,) whether one of the cells lies between the lowest and the highest key of a part."""
    wanted = np.asarray(numbers, np.uint64)
    first = np.searchsorted(wanted, keys[:, 0])
    return np.asarray(first < np.searchsorted(wanted, keys[:, 1], side="right"))


def _stretches_of(key: NDArray[np.uint64], numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Rows ``begin .. end - 1`` of the cells, in a part that is sorted by cell."""
    for low, high in _runs(numbers):
        begin, end = np.searchsorted(key, np.array([low, high], np.uint64))
        if begin < end:
            yield int(begin), int(end)


def _ordered(table: Table, order: NDArray[np.intp]) -> Table:
    return {name: column[order] for name, column in table.items()}


def within_box(zyx: NDArray[np.int64], box: Box) -> NDArray[np.bool_]:
    """(n,) whether voxels lie in a box."""
    inside: NDArray[np.bool_] = np.asarray(((zyx >= box.begin) & (zyx < box.end)).all(axis=1))
    return inside


def _all_among(uv: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(k,) whether both of each pair are among sorted rows."""
    if not len(rows):
        return np.zeros(len(uv), np.bool_)
    values = uv.astype(np.int64)
    place = np.minimum(np.searchsorted(rows, values), len(rows) - 1)
    found: NDArray[np.bool_] = np.asarray((rows[place] == values).all(axis=1))
    return found
