"""Watershed from seeds over integer heights, independent of where the array begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

WEIGHT_STEPS = 1000
"""Steps of the boundary map's share in the height."""


def heights(
    boundaries: NDArray[np.uint8],
    levels: NDArray[np.int32],
    highest_level: int,
    boundary_weight: float,
) -> NDArray[np.int64]:
    """Boundary map and inverted distance, mixed; integers over a fixed range.

    Parameters
    ----------
    boundaries
        uint8, 0..255 = P(boundary) 0..1.
    levels
        int32, distance levels 0..highest_level.
    highest_level
        Level of the capped distance.
    boundary_weight
        Share of the boundary map, 0..1.
    """
    weight = round(boundary_weight * WEIGHT_STEPS)
    ridge = boundaries.astype(np.int64) * (weight * highest_level)
    return ridge + (highest_level - levels.astype(np.int64)) * ((WEIGHT_STEPS - weight) * 255)


def flood(
    height: NDArray[np.int64],
    markers: NDArray[np.int32],
    mask: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Seeded watershed over face neighbours; equal heights go to the earlier arrival.

    The queue is ordered by height, then by age, and the seeds start in raster order: they
    get distinct heights below all others, because equal ages leave the order to chance.
    So the order of any two voxels follows from their paths to their seeds, and an array cut
    out of a larger one gives the same labels wherever these paths lie inside it.

    Parameters
    ----------
    height
        (Z, Y, X) or (Y, X) int64, >= 0.
    markers
        int32, 0 or a label.
    mask
        Voxels that may be labelled; default all.

    Returns
    -------
    labels
        int32; 0 only outside the mask or out of reach.
    """
    order = height.astype(np.float64)
    seeds = markers > 0
    order[seeds] = np.arange(-np.count_nonzero(seeds), 0)
    labels: NDArray[np.int32] = watershed(order, markers, connectivity=1, mask=mask)
    return labels


def absorb_small(
    labels: NDArray[np.int32],
    height: NDArray[np.int64],
    min_size: int,
    cut: Sequence[tuple[bool, bool]],
) -> NDArray[np.int32]:
    """Erase labels of fewer than ``min_size`` voxels and let their neighbours grow in.

    Labels that touch a border where the volume goes on are kept: their size is not known.
    So are labels without a larger neighbour.

    Parameters
    ----------
    labels
        int32, > 0.
    height
        int64, of the same shape.
    min_size
        In voxels.
    cut
        Along every axis: whether the volume goes on below, above.
    """
    small = np.bincount(labels.ravel()) < min_size
    for axis, (below, above) in enumerate(cut):
        for goes_on, position in ((below, 0), (above, -1)):
            if goes_on:
                small[labels.take(position, axis)] = False
    erased = small[labels]
    if not erased.any():
        return labels
    mask = ndimage.binary_dilation(erased)
    regrown = flood(height, np.where(mask & ~erased, labels, np.int32(0)), mask)
    return np.where(erased & (regrown > 0), regrown, labels)
