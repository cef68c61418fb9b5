"""Neuron ids that are connected in 3D, dense and consecutive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label

FACES = ndimage.generate_binary_structure(3, 1)


def connected_neurons(cells: NDArray[np.int64], smallest_voxels: int) -> NDArray[np.uint64]:
    """Split cells into face-connected parts, and give specks to the neighbour they touch most.

    A part that is connected through faces takes consecutive sections and overlaps itself from
    each to the next.

    Parameters
    ----------
    cells
        (Z, Y, X) integers, any values.
    smallest_voxels
        Parts of fewer voxels are absorbed (unless they are the only part).

    Returns
    -------
    neurons
        (Z, Y, X) uint64, consecutive from 1; no 0.
    """
    parts = label(cells, background=cells.min() - 1, connectivity=1)
    sizes = np.bincount(parts.ravel())
    specks = np.flatnonzero(sizes[1:] < smallest_voxels) + 1
    boxes = ndimage.find_objects(parts)
    owner = np.arange(len(sizes))
    for speck in specks[np.argsort(sizes[specks], kind="stable")].tolist():
        grown = tuple(
            slice(max(s.start - 1, 0), min(s.stop + 1, n))
            for s, n in zip(boxes[speck - 1], parts.shape, strict=True)
        )
        around = parts[grown]
        shell = ndimage.binary_dilation(around == speck, FACES)
        touched = owner[around[shell]]
        touched = touched[touched != owner[speck]]
        if len(touched) and sizes[owner[speck]] < smallest_voxels:
            target = int(np.bincount(touched).argmax())
            sizes[target] += sizes[owner[speck]]
            owner[owner == owner[speck]] = target
    _, dense = np.unique(owner[parts], return_inverse=True)
    return (dense.reshape(parts.shape) + 1).astype(np.uint64)
