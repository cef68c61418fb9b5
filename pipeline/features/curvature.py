"""Hessian of a smoothed image by finite differences, and its largest eigenvalue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NEWTON_STEPS = 8


def second_derivatives(
    smooth: NDArray[np.float32], axes: Sequence[float]
) -> list[list[NDArray[np.float32]]]:
    """Hessian of a smoothed image.

    Parameters
    ----------
    smooth
        (Z, Y, X) float32.
    axes
        Factor of a derivative along every axis; 0 leaves the axis out.

    Returns
    -------
    hessian
        Lower triangle: row i holds columns 0..i, each (Z, Y, X) float32.
    """
    used = [axis for axis in range(smooth.ndim) if axes[axis]]
    slopes = [ndimage.correlate1d(smooth, [-0.5, 0.0, 0.5], a, mode="nearest") for a in used]
    rows = []
    for i, a in enumerate(used):
        row = [
            ndimage.correlate1d(slopes[j], [-0.5, 0.0, 0.5], a, mode="nearest")
            * np.float32(axes[a] * axes[b])
            for j, b in enumerate(used[:i])
        ]
        bend = ndimage.correlate1d(smooth, [1.0, -2.0, 1.0], a, mode="nearest")
        rows.append([*row, bend * np.float32(axes[a] * axes[a])])
    return rows


def largest_eigenvalue(hessian: list[list[NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Largest eigenvalue of symmetric 2x2 or 3x3 matrices, without trigonometry.

    numpy's sine and cosine may differ in the last bit with a value's place in the array;
    sums, products, quotients and square roots do not.

    Parameters
    ----------
    hessian
        Lower triangle, see ``second_derivatives``.
    """
    if len(hessian) == 2:
        (yy,), (xy, xx) = hessian
        half = np.float32(0.5)
        difference = (yy - xx) * half
        flat: NDArray[np.float32] = (yy + xx) * half + np.sqrt(difference * difference + xy * xy)
        return flat
    (zz,), (yz, yy), (xz, xy, xx) = hessian
    mean = (zz + yy + xx) / np.float32(3)
    a, b, c = zz - mean, yy - mean, xx - mean
    off = yz * yz + xz * xz + xy * xy
    spread = np.sqrt((a * a + b * b + c * c + 2 * off) / np.float32(6))
    determinant = a * (b * c - xy * xy) - yz * (yz * c - xy * xz) + xz * (yz * xy - b * xz)
    cube = spread * spread * spread
    ratio = np.divide(determinant, 2 * cube, out=np.zeros_like(cube), where=cube > 0)
    np.clip(ratio, -1, 1, out=ratio)
    # the largest root, 1..2, of t^3 - 3 t = 2 ratio; from 2 Newton's steps only descend
    root = np.full_like(ratio, 2)
    for _ in range(NEWTON_STEPS):
        slope = np.maximum(3 * root * root - 3, np.float32(1e-3))
        root -= (root * root * root - 3 * root - 2 * ratio) / slope
    largest: NDArray[np.float32] = mean + np.clip(root, 1, 2) * spread
    return largest
