"""Boundary targets from ground truth: membrane masks or labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Target value of pixels that teach nothing."""


def known_voxels(
    truth: NDArray[Any],
    *,
    unlabelled: int | None = None,
    mask: NDArray[Any] | None = None,
    trusted: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Where an annotation says something.

    Parameters
    ----------
    truth
        (Z, Y, X) labels or membranes, integers or bool.
    unlabelled
        The value that means "not annotated"; ``None``: there is none.
    mask
        (Z, Y, X), 0 = not annotated.
    trusted
        (Z,) sections that are annotated, whatever they hold. ``None``: all but those that are
        blank, 0 wherever they are annotated at all.

    Returns
    -------
    known
        (Z, Y, X) bool.
    """
    known = np.ones(truth.shape, bool)
    if unlabelled is not None:
        known &= truth != unlabelled
    if mask is not None:
        known &= mask != 0
    if trusted is None:
        trusted = ((truth != 0) & known).any(axis=(1, 2))
    return known & trusted[:, None, None]


def from_mask(
    membranes: NDArray[Any], *, membrane_is_zero: bool, known: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Target of a membrane annotation.

    Parameters
    ----------
    membranes
        (Z, Y, X), any dtype; zero or not zero decides.
    membrane_is_zero
        Whether 0 marks membrane (as in ISBI 2012) or cell.
    known
        (Z, Y, X), what is annotated; ``None``: all.

    Returns
    -------
    target
        (Z, Y, X) uint8, 1 = boundary, 255 = ignore.
    """
    zero: NDArray[np.bool_] = membranes == 0
    target = (zero if membrane_is_zero else ~zero).astype(np.uint8)
    if known is not None:
        target[~known] = IGNORE
    return target


def from_labels(
    labels: NDArray[Any],
    *,
    isotropic: bool,
    zero_is_boundary: bool = True,
    known: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Target of labels: where the ids of neighbours differ, two voxels thick.

    Parameters
    ----------
    labels
        (Z, Y, X) integers, 0 = membrane or no neurite that is labelled.
    isotropic
        Also mark differences along z; in flat sections they are not visible as lines.
    zero_is_boundary
        Whether 0 is boundary (thick membranes between labels) or anything: then only its
        outermost voxels, next to a label, are boundary and all others are ignored.
    known
        (Z, Y, X), what is annotated; ``None``: all. Between a voxel that is and one that is
        not, nothing is known of a boundary, so none is drawn.

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
        if known is not None:
            differ &= known[tuple(low)] & known[tuple(high)]
        target[tuple(low)] |= differ
        target[tuple(high)] |= differ
    zero = labels == 0
    target[zero & (target == 0)] = 1 if zero_is_boundary else IGNORE
    if known is not None:
        target[~known] = IGNORE
    return target
