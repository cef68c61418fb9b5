"""Dark against bright ridges: in most electron microscopy membranes are dark lines.

Membranes are the strongest thin lines of a section. A pixel's ridge is the larger eigenvalue of
the Hessian less the amount of the smaller one, as of Sato et al. 1998 (Medical Image Analysis
2(2)); cubed, so that the few strong ridges count and noise, which has as many dark as bright
ones, does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.sections.windows import window_sum

REACH = 3
"""Bins around one that its ridge depends on: two for the filter, and of these the neighbours,
which must not be padding."""
STRONGEST = 1023


def ridges(
    sums: NDArray[np.int64], constant: NDArray[np.int64], voxels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Strength of dark and of bright ridges.

    Parameters
    ----------
    sums
        (Y, X) grey steps, summed over bins.
    constant
        (Y, X) 1 where a bin holds one grey value, else 0.
    voxels
        Of a bin.

    Returns
    -------
    dark, bright
        (Y - 6, X - 6) int64, cubed; 0 within reach of constant bins: the border of padding is no
        membrane. Empty where ``sums`` is smaller.
    """
    if min(sums.shape) <= 2 * REACH:
        empty = np.zeros((0, 0), np.int64)
        return empty, empty
    smooth = _smooth(_smooth(sums[1:-1, 1:-1]).T).T
    # all terms are integers, so that only the root is rounded, everywhere in the same way
    yy = smooth[2:, 1:-1] - 2 * smooth[1:-1, 1:-1] + smooth[:-2, 1:-1]
    xx = smooth[1:-1, 2:] - 2 * smooth[1:-1, 1:-1] + smooth[1:-1, :-2]
    four_xy = smooth[2:, 2:] - smooth[2:, :-2] - smooth[:-2, 2:] + smooth[:-2, :-2]
    root = np.sqrt((4 * (yy - xx) ** 2 + four_xy**2).astype(np.float64)) / 2
    # of the eigenvalues (sum +- root) / 2 the larger, less the amount of the smaller
    total = (yy + xx).astype(np.float64)
    inner = slice(REACH, -REACH)
    # a bin beside a constant one may hold the border itself
    tissue = window_sum(constant, REACH)[inner, inner] == 0
    scale = 4 / (16 * voxels)
    dark, bright = np.minimum(total, root), np.minimum(-total, root)
    return _cubed(dark * scale) * tissue, _cubed(bright * scale) * tissue


def _smooth(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[:-2] + 2 * rows[1:-1] + rows[2:]


def _cubed(strength: NDArray[np.float64]) -> NDArray[np.int64]:
    clipped = np.clip(np.rint(strength), 0, STRONGEST).astype(np.int64)
    cubes: NDArray[np.int64] = clipped**3
    return cubes
