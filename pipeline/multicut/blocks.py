"""Overlapping blocks of nodes, and their sub-problems.

Along every axis, block i covers ``[i * shape, (i + 1) * shape)``, grown on both sides by the
overlap, which is less than half a block; so a node lies in at most 8 blocks, and an edge in those
blocks that hold both of its ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.multicut.problem import UV, Problem

Ranges = NDArray[np.int64]
"""(n, 3, 2): first and last block that hold a node, along z, y, x."""
Shape = tuple[float, float, float]
"""Voxels along z, y, x."""
Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Members:
    """What each block holds: rows ``begin[b]:begin[b + 1]`` of ``items``, ascending."""

    begin: Int
    items: Int

    def __getitem__(self, block: int) -> Int:
        return self.items[self.begin[block] : self.begin[block + 1]]


@dataclass(frozen=True, eq=False)
class Blocks:
    """What lies in each block of a grid; blocks may be empty.

    Parameters
    ----------
    nodes, edges, lifted_edges
        As rows of the problem; an edge lies in the blocks that hold both of its ends.
    owner
        (n,) the block that holds a node, -1 where several do.
    """

    nodes: Members
    edges: Members
    lifted_edges: Members
    owner: Int

    def owns(self, uv: UV, block: int) -> NDArray[np.bool_]:
        """Which edges of a block have both ends outside all overlaps."""
        inner: NDArray[np.bool_] = (self.owner[uv[self.edges[block]]] == block).all(axis=1)
        return inner

    def __len__(self) -> int:
        return len(self.nodes.begin) - 1

    def problem(self, whole: Problem, block: int) -> Problem:
        """Sub-problem of a block; its node ``i`` is ``nodes[block][i]``."""
        nodes, edges, lifted = self.nodes[block], self.edges[block], self.lifted_edges[block]
        return Problem(
            len(nodes),
            _local(whole.uv, edges, nodes),
            whole.costs[edges],
            _local(whole.lifted_uv, lifted, nodes),
            whole.lifted_costs[lifted],
        )


def shape_for(positions: Float, nodes: int) -> Shape:
    """Shape of blocks that hold about ``nodes`` nodes: the longest axis is halved repeatedly.

    >>> positions = np.array([[0.0, y, x] for y in range(8) for x in range(16)])
    >>> shape_for(positions, 32)
    (1.0, 8.0, 4.0)
    """
    shape = np.ptp(positions, axis=0) + 1 if len(positions) else np.ones(3)
    blocks = 1
    while len(positions) > nodes * blocks and shape.max() > 1:
        shape[np.argmax(shape)] /= 2
        blocks *= 2
    z, y, x = shape.tolist()
    return z, y, x


def regions(positions: Float, shape: Shape, number: int) -> Int:
    """Region of every node, from 0: blocks without overlap, shifted by half where number is odd.

    >>> regions(np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 7]]), (1.0, 4.0, 4.0), 0).tolist()
    [0, 1, 1]
    >>> regions(np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 7]]), (1.0, 4.0, 4.0), 1).tolist()
    [0, 1, 2]
    """
    size = np.asarray(shape)
    place = positions - positions.min(axis=0, initial=np.inf) + (number % 2) * size / 2
    grid = np.floor(place / size).astype(np.int64)
    count = grid.max(axis=0, initial=0) + 1
    flat = (grid[:, 0] * count[1] + grid[:, 1]) * count[2] + grid[:, 2]
    return np.unique(flat, return_inverse=True)[1].astype(np.int64)


def split(problem: Problem, shape: Shape, overlap: float) -> Blocks:
    """Sort nodes and edges into blocks.

    Parameters
    ----------
    problem
        With positions.
    shape
        Of the blocks, zyx voxels.
    overlap
        By which a block grows on every side, as a share of ``shape``, 0 to below 0.5.
    """
    assert problem.positions is not None
    size = np.asarray(shape, np.float64)
    place = problem.positions - (problem.positions.min(axis=0) if problem.number_of_nodes else 0)
    place = place / size
    grid = np.floor(place.max(axis=0, initial=0))  # not //, which rounds otherwise
    first = np.maximum(np.floor(place - overlap), 0)
    last = np.minimum(np.floor(place + overlap), grid)
    ranges = np.ascontiguousarray(np.stack([first, last], axis=2).astype(np.int64))
    steps = np.concatenate([np.cumprod((grid[:0:-1] + 1).astype(np.int64))[::-1], [1]])
    number = int(np.prod(grid.astype(np.int64) + 1))
    nodes = np.arange(problem.number_of_nodes, dtype=np.int64)
    held = _members(ranges, np.stack([nodes, nodes], axis=1), steps, number)
    alone = (ranges[:, :, 0] == ranges[:, :, 1]).all(axis=1)
    owner = np.where(alone, (ranges[:, :, 0] * steps).sum(axis=1), -1)
    return Blocks(
        held,
        _members(ranges, problem.uv.astype(np.int64), steps, number),
        _members(ranges, problem.lifted_uv.astype(np.int64), steps, number),
        owner,
    )


def _members(ranges: Ranges, pairs: Int, steps: Int, number: int) -> Members:
    begin = np.zeros(number + 1, np.int64)
    _count(ranges, pairs, steps, begin)
    begin = np.cumsum(begin)
    items = np.empty(begin[-1], np.int64)
    _fill(ranges, pairs, steps, begin[:-1].copy(), items)
    return Members(begin, items)


@compiled
def _common(ranges: Ranges, u: int, v: int, axis: int) -> tuple[int, int]:
    """First and last block along an axis that hold both nodes."""
    return (
        max(ranges[u, axis, 0], ranges[v, axis, 0]),
        min(ranges[u, axis, 1], ranges[v, axis, 1]),
    )


@compiled
def _count(ranges: Ranges, pairs: Int, steps: Int, count: Int) -> None:
    """``count[b + 1]``: pairs that lie in block b with both nodes."""
    for i in range(len(pairs)):
        u, v = pairs[i, 0], pairs[i, 1]
        z0, z1 = _common(ranges, u, v, 0)
        y0, y1 = _common(ranges, u, v, 1)
        x0, x1 = _common(ranges, u, v, 2)
        for z in range(z0, z1 + 1):
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    count[z * steps[0] + y * steps[1] + x * steps[2] + 1] += 1


@compiled
def _fill(ranges: Ranges, pairs: Int, steps: Int, cursor: Int, items: Int) -> None:
    """Rows of the pairs of every block; ``cursor[b]`` is where block b begins."""
    for i in range(len(pairs)):
        u, v = pairs[i, 0], pairs[i, 1]
        z0, z1 = _common(ranges, u, v, 0)
        y0, y1 = _common(ranges, u, v, 1)
        x0, x1 = _common(ranges, u, v, 2)
        for z in range(z0, z1 + 1):
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    block = z * steps[0] + y * steps[1] + x * steps[2]
                    items[cursor[block]] = i
                    cursor[block] += 1


def _local(uv: UV, rows: Int, nodes: Int) -> UV:
    return (
        np.searchsorted(nodes, uv[rows].astype(np.int64).ravel()).reshape(-1, 2).astype(np.uint64)
    )
