"""Sums over square windows of bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def window_sum(values: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Sum over ``reach`` bins on each side, as far as there are any.

    >>> window_sum(np.array([[1, 2, 3]]), 1).tolist()
    [[3, 6, 5]]
    """
    for axis in (0, 1):
        sums = np.insert(values.cumsum(axis), 0, 0, axis)
        places = np.arange(values.shape[axis])
        ends = np.minimum(places + reach + 1, len(places))
        values = sums.take(ends, axis) - sums.take(np.maximum(places - reach, 0), axis)
    return values
