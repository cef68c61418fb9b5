"""Nodes, edges and overlaps of one block, keyed by superpixel ids, and their exact unions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block, Box, Table
from pipeline.graph.totals import dense_labels, node_totals, pair_totals

FACES = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
"""From the lower voxel of a face to the upper one, along z, y, x."""
TWO_SECTIONS = ((2, 0, 0),)
LABEL = np.uint64((1 << 32) - 1)


@dataclass(frozen=True, eq=False)
class Labels:
    """The superpixels of a block and above it, numbered densely.

    Parameters
    ----------
    block
        Its ``read`` begins where ``write`` does.
    dense
        (Z, Y, X) int32, covers ``block.read``; 0 = masked.
    ids
        (n,) uint64, sorted: label k is superpixel ``ids[k - 1]``.
    """

    block: Block
    dense: NDArray[np.int32]
    ids: NDArray[np.uint64]

    @classmethod
    def of(cls, block: Block, superpixels: NDArray[np.uint64]) -> Self:
        """From superpixels over ``block.read``; what lies below the block is left out."""
        above = replace(block, read=Box(block.write.begin, block.read.end))
        dense, ids = dense_labels(superpixels[above.read.within(block.read)])
        return cls(above, dense, ids)


def block_nodes(labels: Labels) -> Table:
    """Sizes, coordinate sums and boxes of the superpixels of the written box.

    Returns
    -------
    nodes
        Rows sorted by ``id`` uint64: ``size_voxels`` uint64; ``sums`` (n, 3) int64 of z, y, x
        over the voxels, ``products`` (n, 6) int64 of zz, zy, zx, yy, yx, xx; ``box`` (n, 6)
        int64, z0 y0 x0 z1 y1 x1, half open.
    """
    write = labels.block.write
    totals, box = node_totals(
        labels.dense, np.array(write.shape), np.array(write.begin), len(labels.ids)
    )
    here = totals[:, 0] > 0
    return {
        "id": labels.ids[here],
        "size_voxels": totals[here, 0].astype(np.uint64),
        "sums": totals[here, 1:4],
        "products": totals[here, 4:],
        "box": box[here],
    }


def block_edges(labels: Labels) -> Table:
    """Voxel faces between the superpixels that touch; a face belongs to its lower voxel.

    Returns
    -------
    edges
        Rows sorted by ``ids`` (m, 2) uint64, lower id first: ``faces`` (m, 3) uint64, along
        z, y, x; ``sums`` (m, 3) and ``products`` (m, 6) int64, as of nodes, of twice the
        positions midway between both voxels.
    """
    ids, totals = _pairs(labels, FACES)
    return {
        "ids": ids,
        "faces": totals[:, :3].astype(np.uint64),
        "sums": totals[:, 3:6],
        "products": totals[:, 6:],
    }


def block_overlaps(labels: Labels) -> Table:
    """Superpixels that lie over each other two sections apart, whatever is between them.

    Returns
    -------
    overlaps
        Rows sorted by ``ids`` (k, 2) uint64, lower id first: ``voxels`` uint64, how many
        voxels of either have the other two sections above; the lower voxel's block counts.
    """
    ids, totals = _pairs(labels, TWO_SECTIONS)
    return {"ids": ids, "voxels": totals[:, 0].astype(np.uint64)}


def no_overlaps() -> Table:
    """The table of a block whose sections are not flat."""
    return {"ids": np.zeros((0, 2), np.uint64), "voxels": np.zeros(0, np.uint64)}


def union_nodes(rows: Table) -> Table:
    """One row for every id: sizes and sums added, boxes united; exact in any order."""
    order = np.argsort(rows["id"], kind="stable")
    ids = rows["id"][order]
    first = _group_starts(ids)
    box = rows["box"][order]
    added = {name: rows[name][order] for name in ("size_voxels", "sums", "products")}
    return {
        "id": ids[first],
        **{name: _reduce(np.add, column, first) for name, column in added.items()},
        "box": np.concatenate(
            [_reduce(np.minimum, box[:, :3], first), _reduce(np.maximum, box[:, 3:], first)], 1
        ),
    }


def union_pairs(rows: Table) -> Table:
    """One row for every pair of ``ids``: all other columns added; exact in any order."""
    ids = rows["ids"]
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ids = ids[order]
    first = _group_starts(ids)
    added = {name: column[order] for name, column in rows.items() if name != "ids"}
    return {
        "ids": ids[first],
        **{name: _reduce(np.add, column, first) for name, column in added.items()},
    }


def _pairs(
    labels: Labels, shifts: tuple[tuple[int, int, int], ...]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Pairs of ids, sorted, and their totals; see ``pair_totals``."""
    block = labels.block
    begin = np.array(block.write.begin)
    steps = np.array(shifts)
    reach = np.minimum(block.write.end, block.volume_shape - steps) - begin
    needed = (reach + steps)[(reach > 0).all(1)]
    if (needed > labels.dense.shape).any():
        raise AssertionError("the block was read with too small a halo above")
    keys, totals = pair_totals(labels.dense, reach, steps, begin)
    order = np.argsort(keys)
    pairs = np.stack([keys >> np.uint64(32), keys & LABEL], 1)[order].astype(np.int64) - 1
    return labels.ids[pairs], totals[order]


def _group_starts(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Positions where sorted rows change: (n,) or (n, k) -> first row of every group."""
    if not len(rows):
        return np.zeros(0, np.int64)
    changed = rows[1:] != rows[:-1]
    if changed.ndim > 1:
        changed = changed.any(1)
    return np.flatnonzero(np.concatenate([[True], changed])).astype(np.int64)


def _reduce(operation: np.ufunc, values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    """Reduce groups of rows; no rows give no rows."""
    if not len(first):
        return values[:0]
    reduced: NDArray[Any] = operation.reduceat(values, first, axis=0)
    return reduced
