"""Fewer pixels for display: mean of images, nearest of labels, the same grid for both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_PIXELS = 2048


def shrink_factors(shape: tuple[int, int], largest: int = LARGEST_PIXELS) -> tuple[int, int]:
    """Pixels, along each axis on its own, that become one, so that no side exceeds ``largest``.

    >>> shrink_factors((5000, 100))
    (3, 1)
    """
    rows, columns = (max(-(-n // largest), 1) for n in shape)
    return rows, columns


def shrink_image(image: NDArray[Any], factors: tuple[int, int]) -> NDArray[Any]:
    """Mean over cells of ``factors`` pixels; cells at the far border may hold fewer.

    Parameters
    ----------
    image
        (Y, X) numbers.
    factors
        From ``shrink_factors``.

    Returns
    -------
    shrunk
        (ceil(Y / rows), ceil(X / columns)); float32, or ``image`` itself where both are 1.
    """
    if factors == (1, 1):
        return image
    shrunk: NDArray[Any] = image.astype(np.float32)
    for axis, factor in enumerate(factors):
        starts = np.arange(0, shrunk.shape[axis], factor)
        counts = np.diff(np.append(starts, shrunk.shape[axis])).astype(np.float32)
        sums = np.add.reduceat(shrunk, starts, axis=axis)
        shrunk = sums / np.expand_dims(counts, 1 - axis)
    return shrunk


def shrink_labels(labels: NDArray[Any], factors: tuple[int, int]) -> NDArray[Any]:
    """The label at the middle of each of the cells of ``shrink_image``."""
    rows, columns = (
        np.minimum(np.arange(0, n, f) + f // 2, n - 1)
        for n, f in zip(labels.shape, factors, strict=True)
    )
    return labels[np.ix_(rows, columns)]
