"""Compiled loops of the graph: integer totals of superpixels and of the pairs that touch.

Coordinates enter as sums and sums of products, in int64. Sums of products wrap around in
volumes beyond some 100,000 voxels along an axis, and do no harm: only differences to the mean
are read from them (``moments``). Exact are superpixels and contacts whose number of voxels
times the square of their extent stays below 2**61 (5e8 voxels over 65,000 a side), and times
their distance from the volume's origin below 2**62.

All loops are in this one file, because compiled code that is kept on disk is renewed when
the caller's file changes, not when that of a function it calls does. They copy cell by cell:
assignments to slices take long to compile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled

PRODUCTS = 6
"""Of coordinates: zz, zy, zx, yy, yx, xx."""
MOMENTS = 3 + PRODUCTS
"""Columns of sums and sums of products."""
FIRST_ROWS = 1 << 10
FAR = int(np.iinfo(np.int64).max)
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: spreads keys
HALF = np.uint64(32)


def dense_labels(ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Numbers 1, 2, ... in place of sparse ids, in the order of the ids.

    Parameters
    ----------
    ids
        (Z, Y, X) uint64, 0 = masked.

    Returns
    -------
    labels
        (Z, Y, X) int32, contiguous; 0 = masked.
    distinct
        (n,) uint64, sorted; label k is ``distinct[k - 1]``.
    """
    found, distinct = _numbered(np.ascontiguousarray(ids).ravel())
    order = np.argsort(distinct)
    rank = np.zeros(len(distinct) + 1, np.int32)
    rank[order + 1] = np.arange(1, len(distinct) + 1, dtype=np.int32)
    return rank[found].reshape(ids.shape), distinct[order]


@compiled
def node_totals(
    labels: NDArray[np.int32], inner: NDArray[np.int64], origin: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Totals of the voxels of every label, run by run along x.

    Parameters
    ----------
    labels
        (Z, Y, X) int32, contiguous, 0 = masked.
    inner
        (6,) z0 y0 x0 z1 y1 x1, half open: the box in the array that is counted.
    origin
        (3,) where the array lies in the volume.
    count
        The highest label.

    Returns
    -------
    totals
        (count, 10) int64: voxels, sums of z, y, x, of zz, zy, zx, yy, yx, xx.
    box
        (count, 6) int64: z0 y0 x0 z1 y1 x1, half open; of no voxel, begin above end.
    """
    totals = np.zeros((count, 1 + MOMENTS), np.int64)
    box = np.empty((count, 6), np.int64)
    for row in range(count):
        for axis in range(3):
            box[row, axis], box[row, 3 + axis] = FAR, -1
    for z in range(inner[0], inner[3]):
        for y in range(inner[1], inner[4]):
            x = inner[2]
            while x < inner[5]:
                label = labels[z, y, x]
                first = x
                x += 1
                while x < inner[5] and labels[z, y, x] == label:
                    x += 1
                if label == 0:
                    continue
                at, row = (origin[0] + z, origin[1] + y, origin[2] + first), label - 1
                totals[row, 0] += x - first
                _add_run(totals[row, 1:], at, 1, x - first)
                end = (at[0] + 1, at[1] + 1, origin[2] + x)
                for axis in range(3):
                    box[row, axis] = min(box[row, axis], at[axis])
                    box[row, 3 + axis] = max(box[row, 3 + axis], end[axis])
    return totals, box


@compiled
def pair_totals(
    labels: NDArray[np.int32],
    lower: NDArray[np.int64],
    steps: NDArray[np.int64],
    kinds: NDArray[np.int64],
    origin: NDArray[np.int64],
    columns: int,
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Totals of the pairs of different labels that lie a step apart, run by run along x.

    Parameters
    ----------
    labels
        (Z, Y, X) int32, contiguous, 0 = masked: in no pair.
    lower
        (k, 6) z0 y0 x0 z1 y1 x1 of every step, half open: the lower voxels, in the array.
    steps
        (k, 3) from a lower voxel to the upper one; both lie in the array.
    kinds
        (k,) column in which the pairs of a step are counted.
    origin
        (3,) where the array lies in the volume.
    columns
        Number of kinds.

    Returns
    -------
    pairs
        (m,) uint64, each once: the lower label times 2**32, plus the higher one.
    totals
        (m, columns + 9) int64: pairs of voxels by kind; then sums of z, y, x and of zz, zy, zx,
        yy, yx, xx of twice the positions midway between both voxels.
    """
    pairs = np.empty(FIRST_ROWS, np.uint64)
    totals = np.zeros((FIRST_ROWS, columns + MOMENTS), np.int64)
    count = 0
    keys, rows = _table(pairs, count)
    for k in range(len(steps)):
        dz, dy, dx = steps[k, 0], steps[k, 1], steps[k, 2]
        x0, width = lower[k, 2], lower[k, 5] - lower[k, 2]
        for z in range(lower[k, 0], lower[k, 3]):
            for y in range(lower[k, 1], lower[k, 4]):
                under, over = labels[z, y, x0:], labels[z + dz, y + dy, x0 + dx :]
                first, end = _next_run(under, over, 0, width)
                while first < end:
                    if count == len(pairs):
                        pairs, totals = _longer(pairs), _taller(totals)
                        keys, rows = _table(pairs, count)
                    a, b = under[first], over[first]
                    key = (np.uint64(min(a, b)) << HALF) | np.uint64(max(a, b))
                    place = _place(keys, key)
                    if keys[place] == 0:
                        keys[place], rows[place], pairs[count] = key, count, key
                        count += 1
                    row = totals[rows[place]]
                    row[kinds[k]] += end - first
                    at = (2 * (origin[0] + z) + dz, 2 * (origin[1] + y) + dy)
                    x = 2 * (origin[2] + x0 + first) + dx
                    _add_run(row[columns:], (at[0], at[1], x), 2, end - first)
                    first, end = _next_run(under, over, end, width)
    return pairs[:count], totals[:count]


@compiled
def _next_run(
    lower: NDArray[np.int32], upper: NDArray[np.int32], x: int, width: int
) -> tuple[int, int]:
    """Begin and end of the next stretch of one pair of different labels; equal: none is left."""
    while True:
        while x < width and lower[x] == upper[x]:  # tight: most of the time is spent here
            x += 1
        first = x
        if x == width:
            return first, x
        while x < width and lower[x] == lower[first] and upper[x] == upper[first]:
            x += 1
        if lower[first] != 0 and upper[first] != 0:
            return first, x


@compiled
def _add_run(totals: NDArray[np.int64], at: tuple[int, int, int], step: int, length: int) -> None:
    """Add sums and products of the positions ``at``, ``at + step``, ... along x."""
    z, y, x = at
    steps = step * (length * (length - 1) // 2)
    squares = step * step * ((length - 1) * length * (2 * length - 1) // 6)
    along = length * x + steps
    totals[0] += length * z
    totals[1] += length * y
    totals[2] += along
    totals[3] += length * z * z
    totals[4] += length * z * y
    totals[5] += z * along
    totals[6] += length * y * y
    totals[7] += y * along
    totals[8] += x * along + x * steps + squares


@compiled
def _numbered(ids: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
    """Labels of a flat array in the order of first appearance, and their ids."""
    labels = np.empty(len(ids), np.int32)
    distinct = np.empty(FIRST_ROWS, np.uint64)
    count = 0
    keys, rows = _table(distinct, count)
    i = 0
    while i < len(ids):
        if count == len(distinct):
            distinct = _longer(distinct)
            keys, rows = _table(distinct, count)
        key, label = ids[i], np.int32(0)
        if key != 0:
            place = _place(keys, key)
            if keys[place] == 0:
                keys[place], rows[place], distinct[count] = key, count, key
                count += 1
            label = np.int32(rows[place] + 1)
        while i < len(ids) and ids[i] == key:  # tight: most of the time is spent here
            labels[i] = label
            i += 1
    return labels, distinct[:count]


@compiled
def _place(keys: NDArray[np.uint64], key: np.uint64) -> np.uint64:
    """Where a key stands in an open table of 2**k places, or would; 0 = free."""
    last = np.uint64(len(keys) - 1)
    spread = key * MULTIPLIER
    place = (spread ^ (spread >> HALF)) & last
    while keys[place] != key and keys[place] != 0:
        place = (place + np.uint64(1)) & last
    return place


@compiled
def _table(
    distinct: NDArray[np.uint64], count: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Open table of the first ``count`` keys, and the row of every key; two places a row."""
    places = 2 * len(distinct)
    keys, rows = np.zeros(places, np.uint64), np.zeros(places, np.int64)
    for row in range(count):
        place = _place(keys, distinct[row])
        keys[place], rows[place] = distinct[row], row
    return keys, rows


@compiled
def _longer(array: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A copy with as many free rows again."""
    longer = np.empty(2 * len(array), np.uint64)
    for row in range(len(array)):
        longer[row] = array[row]
    return longer


@compiled
def _taller(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """A copy with as many rows of 0 again."""
    taller = np.zeros((2 * array.shape[0], array.shape[1]), np.int64)
    for row in range(array.shape[0]):
        for column in range(array.shape[1]):
            taller[row, column] = array[row, column]
    return taller
