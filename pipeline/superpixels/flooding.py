"""Watershed from seeds over integer heights, independent of where the array begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.superpixels.framed import framed, neighbour_steps, unframed

HIGHEST = 4095
"""Heights are 0..4095: a step of the boundary map is 13 heights at a weight of 0.8."""
NOTHING = -1
"""End of a queue; label of voxels that are never flooded."""


def heights(
    boundaries: NDArray[np.uint8],
    levels: NDArray[np.int32],
    highest_level: int,
    boundary_weight: float,
) -> NDArray[np.uint16]:
    """Boundary map and inverted distance, mixed; integers over a fixed range.

    Parameters
    ----------
    boundaries
        uint8, 0..255 = P(boundary) 0..1.
    levels
        int32, distance levels up to ``highest_level``; below 0 counts as 0.
    highest_level
        Level of the capped distance.
    boundary_weight
        Share of the boundary map, 0..1.

    Returns
    -------
    height
        uint16, 0..4095.
    """
    ridge = round(boundary_weight * HIGHEST)
    of_boundary = np.arange(256) * ridge // 255
    of_level = np.arange(highest_level, -1, -1) * (HIGHEST - ridge) // highest_level
    height = np.empty(boundaries.shape, np.uint16)
    _add_looked_up(
        np.ascontiguousarray(boundaries).ravel(),
        np.ascontiguousarray(levels).ravel(),
        of_boundary.astype(np.uint16),
        of_level.astype(np.uint16),
        height.ravel(),
    )
    return height


def flood(
    height: NDArray[np.uint16],
    markers: NDArray[np.int32],
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Seeded watershed over face neighbours; equal heights go to the earlier arrival.

    1. Seeds in raster order put their neighbours into queues, one queue a height.
    2. The voxel that came first into the lowest queue that is not empty puts its free
       neighbours into queues, under its own label; and so on.

    So the order of any two voxels follows from their paths to their seeds, and an array cut
    out of a larger one gives the same labels wherever these paths lie inside it. Every label
    spreads over faces: it is as connected as its marker.

    Parameters
    ----------
    height
        (Z, Y, X) or (Y, X) unsigned integers below some thousands.
    markers
        int32, 0 or a label.
    mask
        Voxels that may be labelled, marked ones included; default all.

    Returns
    -------
    labels
        int32; 0 only outside the mask or out of reach.
    """
    if not height.size:
        return markers.copy()
    allowed = markers if mask is None else np.where(mask, markers, np.int32(NOTHING))
    labels = framed(allowed, NOTHING)
    shape = tuple(n + 2 for n in height.shape)
    _flood(framed(height, 0), labels.copy(), neighbour_steps(shape, 1), int(height.max()), labels)
    result: NDArray[np.int32] = unframed(labels, height.shape)
    return result if mask is None else np.maximum(result, 0)


def absorb_small(
    labels: NDArray[np.int32],
    height: NDArray[np.uint16],
    min_size: int,
    cut: Sequence[tuple[bool, bool]],
) -> NDArray[np.int32]:
    """Erase labels of fewer than ``min_size`` voxels and let their neighbours grow in.

    Labels that touch a border where the volume goes on are kept: their size is not known.
    So are labels without a larger neighbour.

    Parameters
    ----------
    labels
        int32, >= 0; 0 = background, which stays.
    height
        uint16, of the same shape.
    min_size
        In voxels.
    cut
        Along every axis: whether the volume goes on below, above.
    """
    small = np.bincount(labels.ravel()) < min_size
    small[0] = False
    for axis, (below, above) in enumerate(cut):
        for goes_on, position in ((below, 0), (above, -1)):
            if goes_on:
                small[labels.take(position, axis)] = False
    if not small.any():
        return labels
    erased = small[labels]
    regrown = flood(height, np.where(erased, np.int32(0), labels), labels > 0)
    return np.where(erased & (regrown == 0), labels, regrown)


@compiled
def _add_looked_up(
    boundaries: NDArray[np.uint8],
    levels: NDArray[np.int32],
    of_boundary: NDArray[np.uint16],
    of_level: NDArray[np.uint16],
    height: NDArray[np.uint16],
) -> None:
    for voxel in range(len(height)):
        height[voxel] = of_boundary[boundaries[voxel]] + of_level[max(levels[voxel], 0)]


@compiled
def _flood(
    height: NDArray[np.uint16],
    markers: NDArray[np.int32],
    steps: NDArray[np.int64],
    highest: int,
    labels: NDArray[np.int32],
) -> None:
    """Fill the zeros of ``labels``, which begins as a copy of ``markers``; all are framed."""
    first = np.full(highest + 1, NOTHING, np.int32)
    last = np.full(highest + 1, NOTHING, np.int32)
    following = np.empty(len(height), np.int32)
    lowest = highest + 1
    for seed in range(len(markers)):
        if markers[seed] > 0:
            lowest = min(lowest, _spread(seed, height, steps, labels, first, last, following))
    while True:
        while lowest <= highest and first[lowest] == NOTHING:
            lowest += 1
        if lowest > highest:
            return
        voxel = first[lowest]
        first[lowest] = following[voxel]
        lowest = min(lowest, _spread(voxel, height, steps, labels, first, last, following))


@compiled
def _spread(
    voxel: int,
    height: NDArray[np.uint16],
    steps: NDArray[np.int64],
    labels: NDArray[np.int32],
    first: NDArray[np.int32],
    last: NDArray[np.int32],
    following: NDArray[np.int32],
) -> int:
    """Label the free neighbours of a voxel and queue them; the lowest of their heights."""
    lowest = len(first)
    for step in steps:
        other = voxel + step
        if labels[other] != 0:
            continue
        labels[other] = labels[voxel]
        at = np.int64(height[other])
        following[other] = NOTHING
        if first[at] == NOTHING:
            first[at] = other
        else:
            following[last[at]] = other
        last[at] = other
        lowest = min(lowest, int(at))
    return lowest
