"""Padding as the network sees it: the mirror image of the tissue beside it.

A black or white area looks like nothing that the network has learned from, and spoils its map of
the tissue some tens of pixels around.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AREA = 5
"""Edge of the smallest square of padding, in pixels: dark pixels of masked tissue are none."""


def mirrored(grey: NDArray[np.float32], tissue: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A section whose padding is replaced by the mirror image of the nearest tissue.

    Padding is what is black or white outside the tissue, in squares of ``AREA`` pixels; what a
    mask leaves out stays as it was imaged.
    Where the mirror image would lie outside the section or in padding, the nearest pixel of
    tissue is repeated.

    Parameters
    ----------
    grey
        (Y, X) float32, 0..1.
    tissue
        (Y, X) bool.

    Returns
    -------
    filled
        (Y, X) float32; ``grey`` itself where there is no padding, or nothing else.
    """
    from scipy import ndimage  # a bare GPU node imports the boundaries without it

    flat = ~tissue & ((grey <= 0) | (grey >= 1))
    if not flat.any():
        return grey
    square = np.ones((AREA, AREA), np.bool_)
    eroded = ndimage.binary_erosion(flat, square, border_value=1)
    padding = ndimage.binary_dilation(eroded, square) & flat
    if not padding.any() or padding.all():
        return grey
    nearest = ndimage.distance_transform_edt(padding, return_distances=False, return_indices=True)
    mirror = 2 * nearest - np.indices(padding.shape)
    limits = np.array(padding.shape)[:, None, None]
    mirror = np.where(((mirror >= 0) & (mirror < limits)).all(0), mirror, nearest)
    y, x = np.where(padding[tuple(mirror)], nearest, mirror)
    filled: NDArray[np.float32] = grey[y, x]
    return filled
