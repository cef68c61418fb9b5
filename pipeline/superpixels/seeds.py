"""Seeds of the watershed: maxima of the smoothed distance to the boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

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
    distance = np.full(boundary.shape, float(cap))
    if boundary.any():
        reached = ndimage.distance_transform_edt(~boundary, sampling=pitch) / PITCH_STEPS
        np.minimum(distance, reached, out=distance)
    smooth = ndimage.gaussian_filter(distance, sigma, mode="nearest", truncate=TRUNCATE)
    levels: NDArray[np.int32] = np.floor(smooth * LEVELS_PER_VOXEL + 0.5).astype(np.int32)
    return levels


@dataclass(frozen=True)
class Seeds:
    """Seeds of one array.

    Parameters
    ----------
    markers
        int32, the array's shape: 0 or the seed's number, 1..n in raster order of the seeds'
        first voxels.
    first
        (n,) flat index in the array of every seed's first voxel.
    """

    markers: NDArray[np.int32]
    first: NDArray[np.int64]


def find_seeds(
    levels: NDArray[np.int32], origin: Sequence[int], cell: Sequence[int], connectivity: int
) -> Seeds:
    """Every plateau piece without a higher neighbour is a seed.

    A plateau piece is a connected set of voxels of one level inside one cell of a lattice
    anchored at the volume's origin. The cells bound seeds where levels are constant over
    a wide region (the cap in a cell body, a section that is all boundary), so that a seed
    depends on its cell and the voxels around it alone. The array's border counts as lower:
    a region that rises beyond the border still gets a seed, and so is cut there rather than
    given to a neighbour.

    Parameters
    ----------
    levels
        (Z, Y, X) or (Y, X) int32, >= 0.
    origin
        Global position of the array's first voxel.
    cell
        Shape of the lattice's cells, in voxels.
    connectivity
        1: face neighbours; 2 or 3 (the number of axes): all neighbours.
    """
    structure = ndimage.generate_binary_structure(levels.ndim, connectivity)
    higher = ndimage.maximum_filter(levels, footprint=structure, mode="nearest") > levels
    keyed = (levels.astype(np.int64) << levels.ndim) | _cell_parity(levels.shape, origin, cell)
    pieces, count = label(keyed, background=-1, connectivity=connectivity, return_num=True)
    is_seed = np.ones(count + 1, bool)
    is_seed[pieces[higher]] = False
    found, first = np.unique(pieces.ravel()[np.flatnonzero(is_seed[pieces])], return_index=True)
    number = np.zeros(count + 1, np.int32)
    number[found] = np.arange(1, len(found) + 1)
    markers = number[pieces]
    return Seeds(markers, np.flatnonzero(markers)[first].astype(np.int64))


def _cell_parity(
    shape: Sequence[int], origin: Sequence[int], cell: Sequence[int]
) -> NDArray[np.int64]:
    """A code that differs between any two cells that touch, diagonals included."""
    code: Any = np.zeros((1,) * len(shape), np.int64)
    for axis, (length, start, step) in enumerate(zip(shape, origin, cell, strict=True)):
        parity = (np.arange(start, start + length) // step) & 1
        code = code | np.expand_dims(
            parity << axis, tuple(other for other in range(len(shape)) if other != axis)
        )
    codes: NDArray[np.int64] = code
    return codes
