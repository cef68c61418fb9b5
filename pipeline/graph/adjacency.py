"""Nodes, edges and overlaps of one block, keyed by superpixel ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

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
