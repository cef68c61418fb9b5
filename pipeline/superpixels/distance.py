"""Distance to the boundary, capped and smoothed, as integer levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.superpixels.geometry import PITCH_STEPS, TRUNCATE

LEVELS_PER_VOXEL = 16
"""Distance levels in one in-plane voxel."""


def distance_levels(
    boundary: NDArray[np.bool_], pitch: Sequence[int], sigma: Sequence[float], cap: int
) -> NDArray[np.int32]:
    """Smoothed, capped distance to the nearest boundary voxel, as integer levels.

    The range is fixed, squared distances are integers and the smoothing kernel is finite:
    a level depends only on the voxels within ``cap`` and the kernel's radius, bit for bit.

    Parameters
    ----------
    boundary
        (Z, Y, X) or (Y, X) bool.
    pitch
        Voxel size along every axis, in quarters of an in-plane voxel.
    sigma
        Smoothing along every axis, in voxels.
    cap
        Largest distance, in in-plane voxels.

    Returns
    -------
    levels
        int32, 0 (boundary) .. 16 * cap.
    """
    distance = np.sqrt(squared_distances(boundary, pitch, cap * PITCH_STEPS))
    distance *= np.float32(LEVELS_PER_VOXEL / PITCH_STEPS)
    for axis, width in enumerate(sigma):
        if width > 0:
            distance = _smooth_along(distance, _gaussian(width), axis)
    levels: NDArray[np.int32] = (distance + np.float32(0.5)).astype(np.int32)
    return levels


def squared_distances(
    boundary: NDArray[np.bool_], pitch: Sequence[int], cap: int
) -> NDArray[np.float32]:
    """Squared distance to the nearest True voxel, at most ``cap`` squared.

    One axis after the other: along the last a count of voxels, along the others the minimum
    over the lines within reach (a separable distance transform; Saito and Toriwaki, Pattern
    Recognition 27 (1994)). Lines are added whole, which vector units do well, and the cap
    keeps them few.

    Parameters
    ----------
    boundary
        (Z, Y, X) or (Y, X) bool.
    pitch
        Voxel size along every axis, integers.
    cap
        In the units of ``pitch``.

    Returns
    -------
    squared
        float32 holding integers, exact as long as ``cap`` is at most 2896.
    """
    shape = boundary.shape
    squared = np.empty(shape, np.float32)
    _count_along_rows(
        boundary.reshape(-1, shape[-1]), pitch[-1], cap, squared.reshape(-1, shape[-1])
    )
    for axis in range(boundary.ndim - 2, -1, -1):
        nearer = squared.copy()
        _nearest_lines(_lines(squared, axis), float(pitch[axis]), float(cap), _lines(nearer, axis))
        squared = nearer
    return squared


def _gaussian(sigma: float) -> NDArray[np.float32]:
    """Weights of a Gaussian out to ``TRUNCATE`` standard deviations; their sum is 1."""
    radius = int(TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def _smooth_along(
    values: NDArray[np.float32], weights: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Weighted sum of neighbours along an axis; beyond the border the last voxel goes on."""
    radius = len(weights) // 2
    wide = [(radius, radius) if a == axis else (0, 0) for a in range(values.ndim)]
    padded = np.pad(values, wide, mode="edge")
    result = np.zeros_like(values)
    if axis == values.ndim - 1:
        _sum_along_rows(
            padded.reshape(-1, padded.shape[-1]), weights, result.reshape(-1, values.shape[-1])
        )
    else:
        _sum_of_lines(_lines(padded, axis), weights, _lines(result, axis))
    return result


def _lines(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """The array as (before, length of the axis, after); a view."""
    shape = array.shape
    return array.reshape(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


@compiled
def _count_along_rows(
    boundary: NDArray[np.bool_], pitch: int, cap: int, squared: NDArray[np.float32]
) -> None:
    rows, length = boundary.shape
    for row in range(rows):
        count = cap
        for x in range(length):
            count = 0 if boundary[row, x] else min(count + pitch, cap)
            squared[row, x] = count
        count = cap
        for x in range(length - 1, -1, -1):
            count = 0 if boundary[row, x] else min(count + pitch, cap)
            nearest = min(np.float32(count), squared[row, x])
            squared[row, x] = nearest * nearest


@compiled
def _nearest_lines(
    known: NDArray[np.float32], pitch: float, cap: float, nearer: NDArray[np.float32]
) -> None:
    planes, length, width = known.shape
    reach = int(cap / pitch)
    for plane in range(planes):
        for at in range(length):
            line = nearer[plane, at]
            for step in range(1, reach + 1):
                added = np.float32((step * pitch) ** 2)
                # beyond the border the last line comes again, from too far to matter
                below = known[plane, max(at - step, 0)]
                above = known[plane, min(at + step, length - 1)]
                for x in range(width):
                    line[x] = min(min(below[x], above[x]) + added, line[x])


@compiled
def _sum_of_lines(
    padded: NDArray[np.float32], weights: NDArray[np.float32], result: NDArray[np.float32]
) -> None:
    planes, length, _ = result.shape
    for plane in range(planes):
        for at in range(length):
            for k in range(len(weights)):
                _add_weighted(padded[plane, at + k], weights[k], result[plane, at])


@compiled
def _sum_along_rows(
    padded: NDArray[np.float32], weights: NDArray[np.float32], result: NDArray[np.float32]
) -> None:
    rows, length = result.shape
    for row in range(rows):
        for k in range(len(weights)):
            _add_weighted(padded[row, k : k + length], weights[k], result[row])


@compiled
def _add_weighted(
    other: NDArray[np.float32], weight: np.float32, line: NDArray[np.float32]
) -> None:
    for x in range(len(line)):
        line[x] += weight * other[x]
