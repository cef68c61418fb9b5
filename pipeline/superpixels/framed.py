"""Arrays as flat rows of voxels with a frame of one voxel, so that loops need no border checks."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = np.iinfo(np.int32).max
"""Queues and lists of voxels hold their numbers as int32."""


def framed(array: NDArray[Any], outside: int) -> NDArray[Any]:
    """The array inside a frame one voxel wide, flat; less than 2**31 voxels, or an assertion fails.

    Parameters
    ----------
    array
        Any number of axes.
    outside
        Value of the frame.
    """
    if math.prod(n + 2 for n in array.shape) > LARGEST:
        raise AssertionError(f"{array.size} voxels are too many for one block")
    return np.pad(array, 1, constant_values=outside).ravel()


def unframed(flat: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The array of ``shape`` inside a frame, without it."""
    inside = tuple(slice(1, -1) for _ in shape)
    return np.ascontiguousarray(flat.reshape([n + 2 for n in shape])[inside])


def unframed_index(index: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Flat indices in the array of ``shape`` of voxels inside the frame."""
    places = np.unravel_index(index, tuple(n + 2 for n in shape))
    flat = np.ravel_multi_index(tuple(p - 1 for p in places), shape)
    return np.asarray(flat, np.int64)


def neighbour_steps(shape: tuple[int, ...], connectivity: int) -> NDArray[np.int64]:
    """Steps from a voxel to its neighbours in a flat array, ascending.

    Parameters
    ----------
    shape
        Of the array that is flat, with its frame.
    connectivity
        Largest number of axes along which a neighbour differs: 1 is neighbours by faces.

    >>> neighbour_steps((5, 10), 1).tolist()
    [-10, -1, 1, 10]
    """
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    moves = itertools.product((-1, 0, 1), repeat=len(shape))
    near = [m for m in moves if 0 < np.count_nonzero(m) <= connectivity]
    return np.sort(np.array(near, np.int64) @ strides.astype(np.int64))
