"""Nodes, edges and overlaps of one block, keyed by superpixel ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block, Box, Table
from pipeline.graph.totals import dense_labels, node_totals, pair_totals
from pipeline.grid import Faces, faces_box

LABEL = np.uint64((1 << 32) - 1)


@dataclass(frozen=True, eq=False)
class Labels:
    """The superpixels of a block, and of all that its faces reach, numbered densely.

    Parameters
    ----------
    box
        What ``dense`` covers.
    write
        Of the block.
    dense
        (Z, Y, X) int32; 0 = masked.
    ids
        (n,) uint64, sorted: label k is superpixel ``ids[k - 1]``.
    """

    box: Box
    write: Box
    dense: NDArray[np.int32]
    ids: NDArray[np.uint64]

    @classmethod
    def of(cls, block: Block, superpixels: NDArray[np.uint64], faces: Sequence[Faces]) -> Self:
        """From superpixels over ``block.read``; what no face reaches is left out."""
        box = faces_box(block, faces)
        here = box.within(block.read)
        if any(s.start < 0 or s.stop > n for s, n in zip(here, superpixels.shape, strict=True)):
            raise AssertionError("the block was read with too small a halo")
        dense, ids = dense_labels(superpixels[here])
        return cls(box, block.write, dense, ids)


def block_nodes(labels: Labels) -> Table:
    """Sizes, coordinate sums and boxes of the superpixels of the written box.

    Returns
    -------
    nodes
        Rows sorted by ``id`` uint64: ``size_voxels`` uint64; ``sums`` (n, 3) int64 of z, y, x
        over the voxels, ``products`` (n, 6) int64 of zz, zy, zx, yy, yx, xx; ``box`` (n, 6)
        int64, z0 y0 x0 z1 y1 x1, half open.
    """
    inner = np.array(_corners(labels.write, labels.box))
    totals, box = node_totals(labels.dense, inner, np.array(labels.box.begin), len(labels.ids))
    here = totals[:, 0] > 0
    return {
        "id": labels.ids[here],
        "size_voxels": totals[here, 0].astype(np.uint64),
        "sums": totals[here, 1:4],
        "products": totals[here, 4:],
        "box": box[here],
    }


def block_edges(labels: Labels, faces: Sequence[Faces]) -> Table:
    """Voxel faces between the superpixels that touch; a face belongs to its lower voxel.

    Returns
    -------
    edges
        Rows sorted by ``ids`` (m, 2) uint64, lower id first: ``faces`` (m, 3) uint64, along
        z, y, x; ``sums`` (m, 3) and ``products`` (m, 6) int64, as of nodes, of twice the
        positions midway between both voxels.
    """
    ids, totals = _pairs(labels, faces, 3)
    return {
        "ids": ids,
        "faces": totals[:, :3].astype(np.uint64),
        "sums": totals[:, 3:6],
        "products": totals[:, 6:],
    }


def block_overlaps(labels: Labels, columns: Sequence[Faces]) -> Table:
    """Superpixels that lie over each other two sections apart, whatever is between them.

    Returns
    -------
    overlaps
        Rows sorted by ``ids`` (k, 2) uint64, lower id first: ``voxels`` uint64, how many
        voxels of either have the other two sections above; the lower voxel's block counts.
    """
    ids, totals = _pairs(labels, columns, 1)
    return {"ids": ids, "voxels": totals[:, 0].astype(np.uint64)}


def _pairs(
    labels: Labels, faces: Sequence[Faces], columns: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Pairs of ids, sorted, and their totals; see ``pair_totals``."""
    lower = [_corners(one.lower, labels.box) for one in faces]
    keys, totals = pair_totals(
        labels.dense,
        np.array(lower, np.int64).reshape(-1, 6),
        np.array([one.step for one in faces], np.int64).reshape(-1, 3),
        np.array([one.axis for one in faces], np.int64),
        np.array(labels.box.begin),
        columns,
    )
    order = np.argsort(keys)
    pairs = np.stack([keys >> np.uint64(32), keys & LABEL], 1)[order].astype(np.int64) - 1
    return labels.ids[pairs], totals[order]


def _corners(box: Box, outer: Box) -> list[int]:
    """z0 y0 x0 z1 y1 x1 of a box, counted from the first voxel of another."""
    here = box.within(outer)
    return [*(part.start for part in here), *(part.stop for part in here)]
