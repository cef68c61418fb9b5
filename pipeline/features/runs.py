"""Runs of voxel faces (or voxels) along x, grouped by the pair of superpixels, compiled.

1. Scan the faces: list the runs, with the number of their pair from a hash table.
2. Sort the distinct pairs.
3. Sort the runs by counting, every run to the next place of its pair.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.contract import Triple

Scan = tuple[Triple, Triple, Triple]
"""First of the lower voxels, their number along z, y, x, and the step to the upper ones."""
Runs = tuple[
    NDArray[np.uint64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int32],
]

FIRST_SLOTS = 1 << 12
FIRST_RUNS = 1 << 12
ODD_U, ODD_V = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
SHIFT = np.uint64(29)
FREE = np.uint64(0)


@compiled
def _slot(table: NDArray[np.uint64], u: np.uint64, v: np.uint64) -> np.int64:
    """Slot of a pair in a hash table, or the free slot where it belongs.

    A slot holds the two ids and 1 + the pair's number; 0 there means free.
    """
    mask = len(table) - 1
    mixed = u * ODD_U + v * ODD_V
    slot = np.int64((mixed ^ (mixed >> SHIFT)) * ODD_V >> SHIFT) & mask
    while table[slot, 2] != FREE and (table[slot, 0] != u or table[slot, 1] != v):
        slot = (slot + 1) & mask
    return slot


@compiled
def _grown(table: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hash table with four times as many slots."""
    more = np.zeros((4 * len(table), 3), np.uint64)
    for old in range(len(table)):
        if table[old, 2] != FREE:
            more[_slot(more, table[old, 0], table[old, 1])] = table[old]
    return more


@compiled
def _scan(
    superpixels: NDArray[np.uint64],
    begin: Triple,
    shape: Triple,
    step: Triple,
    table: NDArray[np.uint64],
    known: int,
) -> tuple[NDArray[np.uint64], int, NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Runs of the faces from a voxel to that ``step`` further, in the order of the voxels.

    Returns
    -------
    table, known
        The hash table with the new pairs, and their number.
    start, length, pair
        (r,) of every run: flat position, voxels, number of its pair.
    """
    inside = step == (0, 0, 0)
    _, height, width = superpixels.shape
    start, length = np.empty(FIRST_RUNS, np.int64), np.empty(FIRST_RUNS, np.int32)
    pair = np.empty(FIRST_RUNS, np.int32)
    found = 0
    x_low, x_high = begin[2], begin[2] + step[2]
    for z in range(begin[0], begin[0] + shape[0]):
        for y in range(begin[1], begin[1] + shape[1]):
            low = superpixels[z, y, x_low : x_low + shape[2]]
            high = superpixels[z + step[0], y + step[1], x_high : x_high + shape[2]]
            if found + len(low) > len(start):
                start = np.concatenate((start, np.empty(len(start) + len(low), np.int64)))
                length = np.concatenate((length, np.empty(len(length) + len(low), np.int32)))
                pair = np.concatenate((pair, np.empty(len(pair) + len(low), np.int32)))
            x = 0
            while x < len(low):
                u, v = low[x], high[x]
                first = x
                x += 1
                while x < len(low) and low[x] == u and high[x] == v:
                    x += 1
                if u == 0 or v == 0 or (u == v and not inside):
                    continue
                u, v = min(u, v), max(u, v)
                slot = _slot(table, u, v)
                if table[slot, 2] == FREE:
                    known += 1
                    table[slot, 0], table[slot, 1], table[slot, 2] = u, v, known
                start[found] = (z * height + y) * width + x_low + first
                length[found] = x - first
                pair[found] = np.int64(table[slot, 2]) - 1
                found += 1
                if 2 * known > len(table):
                    table = _grown(table)
    return table, known, start[:found].copy(), length[:found].copy(), pair[:found].copy()


@compiled
def _sort_runs(
    start: NDArray[np.int64],
    length: NDArray[np.int32],
    pair: NDArray[np.int32],
    step: int,
    free: NDArray[np.int64],
    sorted_runs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]],
) -> None:
    """Write runs to the next free place of their pair."""
    starts, steps, lengths = sorted_runs
    for run in range(len(start)):
        place = free[pair[run]]
        starts[place], steps[place], lengths[place] = start[run], step, length[run]
        free[pair[run]] = place + 1


@compiled
def _pairs(table: NDArray[np.uint64], known: int) -> NDArray[np.uint64]:
    """The pairs of a hash table by their number."""
    pairs = np.empty((known, 2), np.uint64)
    for slot in range(len(table)):
        if table[slot, 2] != FREE:
            pairs[np.int64(table[slot, 2]) - 1] = table[slot, :2]
    return pairs


def grouped_runs(superpixels: NDArray[np.uint64], scans: list[Scan]) -> Runs:
    """Runs of faces between two superpixels, grouped by the pair; id 0 has none.

    Parameters
    ----------
    superpixels
        (Z, Y, X) uint64.
    scans
        For every direction: the first of the lower voxels and their number along z, y, x, and
        the step to the upper voxel; a step of (0, 0, 0) scans voxels, as faces of a superpixel
        with itself.

    Returns
    -------
    pairs
        (k, 2) uint64, lower id first; rows sorted.
    first
        (k + 1,) position of every pair's first run, and the number of runs.
    start
        (r,) flat position of a run's first lower voxel.
    step
        (r,) from there to its upper voxel.
    length
        (r,) voxels of the run.
    """
    superpixels = np.ascontiguousarray(superpixels)
    _, height, width = superpixels.shape
    table, known = np.zeros((FIRST_SLOTS, 3), np.uint64), 0
    listed = []
    for begin, shape, step in scans:
        table, known, start, length, pair = _scan(superpixels, begin, shape, step, table, known)
        listed.append((start, length, pair, (step[0] * height + step[1]) * width + step[2]))
    pairs = _pairs(table, known)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    counts = sum(
        (np.bincount(pair, minlength=known) for _, _, pair, _ in listed), np.zeros(known, np.int64)
    )
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[order])])
    free = np.empty(known, np.int64)
    free[order] = first[:-1]
    starts, steps = np.empty(first[-1], np.int64), np.empty(first[-1], np.int64)
    lengths = np.empty(first[-1], np.int32)
    for start, length, pair, flat_step in listed:
        _sort_runs(start, length, pair, flat_step, free, (starts, steps, lengths))
    return pairs[order], first, starts, steps, lengths
