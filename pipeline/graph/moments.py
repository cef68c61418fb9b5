"""Mean positions and central second moments out of integer sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Axes of the columns zz, zy, zx, yy, yx, xx."""


def means(count: NDArray[np.uint64], sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean position of every row, (n, 3) float64."""
    return sums.astype(np.float64) / count[:, None]


def central_moments(
    count: NDArray[np.uint64], sums: NDArray[np.int64], products: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Population second moments about the mean.

    The sums are first moved, in integers, to the whole number below the mean: so nothing is
    lost to cancellation, however far from the origin the positions lie, and products that
    wrapped around come back into range.

    Parameters
    ----------
    count
        (n,) number of positions, above 0.
    sums
        (n, 3) int64, of z, y, x.
    products
        (n, 6) int64, of zz, zy, zx, yy, yx, xx.

    Returns
    -------
    moments
        (n, 6) float64, columns as of ``products``; one position gives 0.
    """
    n = count.astype(np.int64)[:, None]
    origin = sums // n
    rest = sums - n * origin
    moments = np.empty(products.shape)
    for column, (i, j) in enumerate(PAIRS):
        ci, cj = origin[:, i], origin[:, j]
        moved = products[:, column] - ci * sums[:, j] - cj * sums[:, i] + n[:, 0] * ci * cj
        mean = rest[:, i] / n[:, 0] * (rest[:, j] / n[:, 0])
        moments[:, column] = moved / n[:, 0] - mean
    return moments
