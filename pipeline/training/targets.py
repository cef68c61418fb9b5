"""Boundary targets from ground truth: membrane masks or labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Target value of pixels that teach nothing."""


def from_mask(membranes: NDArray[Any], *, membrane_is_zero: bool) -> NDArray[np.uint8]:
    """Target of a membrane annotation.

    Parameters
    ----------
    membranes
        (Z, Y, X), any dtype; zero or not zero decides.
    membrane_is_zero
        Whether 0 marks membrane (as in ISBI 2012) or cell.

    Returns
    -------
    target
        (Z, Y, X) uint8, 1 = boundary.
    """
    zero: NDArray[np.bool_] = membranes == 0
    return (zero if membrane_is_zero else ~zero).astype(np.uint8)


def from_labels(
    labels: NDArray[Any], *, isotropic: bool, zero_is_boundary: bool = True
) -> NDArray[np.uint8]:
    """Target of labels: where the ids of neighbours differ, two voxels thick.

    Parameters
    ----------
    labels
        (Z, Y, X) integers, 0 = membrane or unlabelled.
    isotropic
        Also mark differences along z; in flat sections they are not visible as lines.
    zero_is_boundary
        Whether 0 is boundary (thick membranes between labels) or unknown: then only its
        outermost voxels, next to a label, are boundary and all others are ignored.

    Returns
    -------
    target
        (Z, Y, X) uint8: 1 = boundary, 255 = ignore.
    """
    target = np.zeros(labels.shape, np.uint8)
    for axis in range(0 if isotropic else 1, 3):
        low = [slice(None)] * 3
        high = [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        differ = labels[tuple(low)] != labels[tuple(high)]
        target[tuple(low)] |= differ
        target[tuple(high)] |= differ
    zero = labels == 0
    target[zero & (target == 0)] = 1 if zero_is_boundary else IGNORE
    return target
