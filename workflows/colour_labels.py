"""Labels that are stored as colours: every colour is an object, black is none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOURS = (3, 4)
"""Samples of a pixel: red, green, blue, and perhaps an opacity, which tells objects not apart."""


def is_coloured(array: NDArray[Any]) -> bool:
    """Whether (Z, Y, X, C) or (Z, C, Y, X) samples of a stack are colours of 8 bits each."""
    return array.ndim == 4 and array.dtype == np.uint8 and _axis(array) is not None


def ids_of_colours(array: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Ids of coloured labels: red * 65536 + green * 256 + blue, so black is 0.

    Parameters
    ----------
    array
        (Z, Y, X, C) or (Z, C, Y, X), of which ``is_coloured`` holds.

    Returns
    -------
    ids
        (Z, Y, X) uint32, 0..2^24 - 1.
    """
    axis = _axis(array)
    assert axis is not None
    red, green, blue = (np.take(array, n, axis).astype(np.uint32) for n in range(3))
    ids: NDArray[np.uint32] = (red << 16) | (green << 8) | blue
    return ids


def _axis(array: NDArray[Any]) -> int | None:
    """Axis of the colours; the last one where both could be."""
    return next((axis for axis in (3, 1) if array.shape[axis] in COLOURS), None)
