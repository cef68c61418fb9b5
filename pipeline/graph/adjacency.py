"""Nodes and edges of one block, keyed by superpixel ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import Block, Table
from pipeline.grid import faces


def block_nodes(block: Block, superpixels: NDArray[np.uint64]) -> Table:
    """Sizes, coordinate sums and boxes of the superpixels of ``block.write``.

    Parameters
    ----------
    block
        Chooses the voxels and says where they lie.
    superpixels
        (Z, Y, X) uint64, covers ``block.read``; 0 = masked, no node.

    Returns
    -------
    nodes
        Rows sorted by ``id`` uint64: ``size_voxels`` uint64; ``sums`` (n, 3) uint64, sums of
        z, y, x over the voxels; ``box`` (n, 6) int64, z0 y0 x0 z1 y1 x1, half open.
    """
    inner = np.ascontiguousarray(superpixels[block.inner])
    start = run_starts(inner)
    values = inner.ravel()[start]
    length = np.diff(start, append=inner.size)
    z, y, x = (
        (c + o)[values > 0]
        for c, o in zip(np.unravel_index(start, inner.shape), block.write.begin, strict=True)
    )
    length, values = length[values > 0], values[values > 0]
    # of a run along x: its voxels' sum of x is length * (first + last) / 2
    sums = np.stack([z * length, y * length, length * (2 * x + length - 1) // 2], 1)
    runs = {
        "id": values,
        "size_voxels": length.astype(np.uint64),
        "sums": sums.astype(np.uint64),
        "box": np.stack([z, y, x, z + 1, y + 1, x + length], 1).astype(np.int64),
    }
    return union_nodes(runs)


def union_nodes(rows: Table) -> Table:
    """One row for every id: sizes and sums added, boxes united; exact in any order."""
    order = np.argsort(rows["id"], kind="stable")
    ids = rows["id"][order]
    first = group_starts(ids)
    box = rows["box"][order]
    return {
        "id": ids[first],
        "size_voxels": _reduce(np.add, rows["size_voxels"][order], first),
        "sums": _reduce(np.add, rows["sums"][order], first),
        "box": np.concatenate(
            [_reduce(np.minimum, box[:, :3], first), _reduce(np.maximum, box[:, 3:], first)], 1
        ),
    }


def block_edges(block: Block, superpixels: NDArray[np.uint64]) -> Table:
    """Numbers of voxel faces between the superpixels that touch in a block.

    A face belongs to the block of its lower voxel.

    Parameters
    ----------
    block
        Chooses the faces.
    superpixels
        (Z, Y, X) uint64, covers ``block.read`` with one voxel above; 0 = masked, no edge.

    Returns
    -------
    edges
        Rows sorted by ``ids`` (m, 2) uint64, lower id first: ``faces_z``, ``faces_yx``
        uint64, numbers of faces along z and within the section.
    """
    parts = [_face_runs(*faces(block, superpixels, axis), axis) for axis in range(3)]
    return union_edges({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def union_edges(rows: Table) -> Table:
    """One row for every pair of ids: face numbers added; exact in any order."""
    ids = rows["ids"]
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ids = ids[order]
    first = group_starts(ids)
    return {
        "ids": ids[first],
        "faces_z": _reduce(np.add, rows["faces_z"][order], first),
        "faces_yx": _reduce(np.add, rows["faces_yx"][order], first),
    }


def run_starts(array: NDArray[Any]) -> NDArray[np.int64]:
    """Flat indices where a run of equal values begins; runs end with their row along x."""
    starts = np.ones(array.shape, bool)
    starts[..., 1:] = array[..., 1:] != array[..., :-1]
    return np.flatnonzero(starts).astype(np.int64)


def group_starts(rows: NDArray[Any]) -> NDArray[np.int64]:
    """Positions where sorted rows change: (n,) or (n, k) -> first row of every group."""
    if not len(rows):
        return np.zeros(0, np.int64)
    changed = rows[1:] != rows[:-1]
    if changed.ndim > 1:
        changed = changed.any(1)
    return np.flatnonzero(np.concatenate([[True], changed])).astype(np.int64)


def _face_runs(lower: NDArray[np.uint64], upper: NDArray[np.uint64], axis: int) -> Table:
    """Pairs of different ids across faces, equal neighbours in raster order counted once."""
    touching = (lower != upper) & (lower > 0) & (upper > 0)
    a, b = lower[touching], upper[touching]
    pairs = np.stack([np.minimum(a, b), np.maximum(a, b)], 1)
    start = group_starts(pairs)
    count = np.diff(start, append=len(pairs)).astype(np.uint64)
    none = np.zeros_like(count)
    return {
        "ids": pairs[start],
        "faces_z": count if axis == 0 else none,
        "faces_yx": none if axis == 0 else count,
    }


def _reduce(operation: np.ufunc, values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    """Reduce groups of rows; no rows give no rows."""
    if not len(first):
        return values[:0]
    reduced: NDArray[Any] = operation.reduceat(values, first, axis=0)
    return reduced
