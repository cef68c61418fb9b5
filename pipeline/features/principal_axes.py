"""Variances along the principal axes of superpixels and contacts, from their moments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELL = 1 / 12
"""Variance of positions spread evenly over one voxel, in voxels^2."""
COLUMN_OF = ((0, 1, 2), (1, 3, 4), (2, 4, 5))
"""Where zz, zy, zx, yy, yx, xx stand in a covariance matrix."""


def principal_variances(
    moments: NDArray[np.float64], voxel_size_nm: tuple[float, float, float], flat: bool
) -> NDArray[np.float64]:
    """Eigenvalues of the covariance of positions, in nm^2.

    Parameters
    ----------
    moments
        (n, 6) float64, zz, zy, zx, yy, yx, xx in voxels^2.
    voxel_size_nm
        zyx.
    flat
        Whether positions within the section alone count.

    Returns
    -------
    variances
        (n, 2) if flat, else (n, 3); descending, not below 0.
    """
    size = np.array(voxel_size_nm)
    if flat:
        yy, yx, xx = (
            moments[:, COLUMN_OF[i][j]] * size[i] * size[j] for i, j in ((1, 1), (1, 2), (2, 2))
        )
        middle = (yy + xx) / 2
        spread = np.sqrt(((yy - xx) / 2) ** 2 + yx * yx)
        return np.stack([middle + spread, np.maximum(middle - spread, 0)], 1)
    covariance = np.empty((len(moments), 3, 3))
    for i in range(3):
        for j in range(3):
            covariance[:, i, j] = moments[:, COLUMN_OF[i][j]] * size[i] * size[j]
    ascending = np.asarray(np.linalg.eigvalsh(covariance), np.float64)
    return np.maximum(ascending[:, ::-1], 0)


def with_voxel_extent(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moments of bodies made of voxels, not of the voxels' centres: never singular."""
    solid = moments.copy()
    for axis in range(3):
        solid[:, COLUMN_OF[axis][axis]] += CELL
    return solid
