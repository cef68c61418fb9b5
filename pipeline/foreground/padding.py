"""Padding of a section: squares of one grey value, as alignment and tiling leave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled


def section_padding(
    section: NDArray[Any], values: Sequence[float], width: int
) -> NDArray[np.bool_]:
    """Pixels that lie in a square of one padding value.

    The square lies inside the array: this is the morphological opening of ``section == value``
    with a square. A pixel depends on pixels less than ``width`` away in y and x.

    Parameters
    ----------
    section
        (Y, X) grey values.
    values
        Padding values; of floating-point data the nearest number that the dtype holds. One
        beyond its range, or between integers, occurs nowhere.
    width
        Edge of the square, in pixels.

    Returns
    -------
    padding
        (Y, X) bool.
    """
    found = np.zeros(section.shape, np.bool_)
    for value in values:
        if _holds(section.dtype, value):
            equal = section == section.dtype.type(value)
            if np.count_nonzero(equal) >= width * width:
                found |= opened_by_square(equal, width)
    return found


def frequent_values(section: NDArray[Any], width: int) -> list[float]:
    """Grey values of which there are enough for a square of ``width`` pixels."""
    values, counts = np.unique(section, return_counts=True)
    return [float(value) for value in values[counts >= width * width]]


def opened_by_square(image: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Union of all squares of True pixels, ``width`` wide, that lie inside the image.

    Parameters
    ----------
    image
        (Y, X) bool.
    width
        In pixels.
    """
    # erosion and dilation by a square are those by its edges, one axis after the other
    corners = _window_is_true(_window_is_true(image, width).T, width).T
    spread = _window_holds_true(_window_holds_true(corners, width).T, width).T
    return np.ascontiguousarray(spread)


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    if dtype.kind == "f":
        return abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return value == int(value) and limits.min <= value <= limits.max


@compiled
def _window_is_true(image: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Whether the ``width`` pixels of a row that begin here are all True."""
    rows, length = image.shape
    result = np.zeros((rows, length), np.bool_)
    for row in range(rows):
        run = 0
        for x in range(length - 1, -1, -1):
            run = run + 1 if image[row, x] else 0
            result[row, x] = run >= width
    return result


@compiled
def _window_holds_true(image: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Whether one of the ``width`` pixels of a row that end here is True."""
    rows, length = image.shape
    result = np.zeros((rows, length), np.bool_)
    for row in range(rows):
        since = width
        for x in range(length):
            since = 0 if image[row, x] else since + 1
            result[row, x] = since < width
    return result
