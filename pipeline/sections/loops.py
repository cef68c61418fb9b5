"""Loops over the voxels of a section; all results are integers, exact in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled

FINE_LIMIT = 4095


@compiled
def bin_sums(grey: NDArray[np.int32], height: int, width: int) -> NDArray[np.int64]:
    """(Y // height, X // width) sums over whole bins."""
    rows, columns = grey.shape[0] // height, grey.shape[1] // width
    sums = np.zeros((rows, columns), np.int64)
    for y in range(rows * height):
        row = sums[y // height]
        for x in range(columns):
            total = 0
            for k in range(x * width, (x + 1) * width):
                total += grey[y, k]
            row[x] += total
    return sums


@compiled
def constant_squares(
    bins: NDArray[np.uint16], level: NDArray[np.uint16], side: int, levels: int
) -> NDArray[np.int64]:
    """(levels,) voxels in squares that hold one grey value; those at the end may be cut."""
    counts = np.zeros(levels, np.int64)
    height, width = bins.shape
    for top in range(0, height, side):
        bottom = min(top + side, height)
        for left in range(0, width, side):
            right = min(left + side, width)
            value = bins[top, left]
            constant = True
            for y in range(top, bottom):
                for x in range(left, right):
                    if bins[y, x] != value:
                        constant = False
                        break
                if not constant:
                    break
            if constant:
                counts[level[value]] += (bottom - top) * (right - left)
    return counts


@compiled
def constant_bins(bins: NDArray[np.uint16], height: int, width: int) -> NDArray[np.int64]:
    """(Y // height, X // width) 1 where a bin holds one grey value, else 0."""
    rows, columns = bins.shape[0] // height, bins.shape[1] // width
    constant = np.ones((rows, columns), np.int64)
    for row in range(rows):
        for column in range(columns):
            top, left = row * height, column * width
            value = bins[top, left]
            for y in range(top, top + height):
                for x in range(left, left + width):
                    if bins[y, x] != value:
                        constant[row, column] = 0
                        break
                if constant[row, column] == 0:
                    break
    return constant


@compiled
def fine_detail(grey: NDArray[np.int32]) -> NDArray[np.int16]:
    """(Y - 2, X - 2) 9 times the difference from the mean of 3 x 3 voxels, clipped."""
    height, width = max(grey.shape[0] - 2, 0), max(grey.shape[1] - 2, 0)
    fine = np.empty((height, width), np.int16)
    for y in range(height):
        for x in range(width):
            total = 0
            for dy in range(3):
                for dx in range(3):
                    total += grey[y + dy, x + dx]
            value = 9 * grey[y + 1, x + 1] - total
            fine[y, x] = min(max(value, -FINE_LIMIT), FINE_LIMIT)
    return fine


@compiled
def product(first: NDArray[np.int16], second: NDArray[np.int16]) -> np.int64:
    """Sum of the products of two arrays of a shape."""
    total = np.int64(0)
    for y in range(first.shape[0]):
        for x in range(first.shape[1]):
            total += np.int64(first[y, x]) * np.int64(second[y, x])
    return total
