"""Which voxels are scored: ignored ids, a band around true boundaries, a mask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import InputError


def boundary_band(truth: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """Pixels near true boundaries, section by section.

    A border pixel is one with another id among its four neighbours in the section (0, the
    boundary or unlabelled, is another id too). The band are the pixels whose centre lies less
    than ``width`` pixels from a border pixel's: width 1 are the border pixels themselves, on
    both sides.

    Parameters
    ----------
    truth
        (Z, Y, X) ids.
    width
        Pixels, >= 0; 0 = no band.

    Returns
    -------
    band
        (Z, Y, X) bool.

    References
    ----------
    CREMI's border mask, cremi.org, which does so with the border pixels counted apart.
    """
    if width < 0:
        raise InputError(f"a band of {width} pixels cannot be ignored; give 0 or more")
    band = np.zeros(truth.shape, bool)
    if not width:
        return band
    for section, near in zip(truth, band, strict=True):
        down, right = section[1:] != section[:-1], section[:, 1:] != section[:, :-1]
        near[1:] |= down
        near[:-1] |= down
        near[:, 1:] |= right
        near[:, :-1] |= right
        if near.any():
            near[...] = ndimage.distance_transform_edt(~near) < width
    return band


def scored_voxels(
    truth: NDArray[Any],
    *,
    ignore_ids: Iterable[int] = (),
    ignore_band: int = 0,
    mask: NDArray[Any] | None = None,
) -> NDArray[np.bool_] | None:
    """Voxels that are scored, or ``None`` for all.

    Parameters
    ----------
    truth
        (Z, Y, X) ids.
    ignore_ids
        True ids whose voxels are left out.
    ignore_band
        Width of the ``boundary_band`` that is left out, pixels.
    mask
        (Z, Y, X); only voxels other than 0 are scored; all by default.

    Raises
    ------
    InputError
        If shapes differ, the band is negative, or no voxel is left.
    """
    ids = list(ignore_ids)
    if not ids and not ignore_band and mask is None:
        return None
    scored = np.ones(truth.shape, bool)
    if mask is not None:
        if mask.shape != truth.shape:
            raise InputError(
                f"the mask has shape {mask.shape}, but the ground truth {truth.shape}; "
                "crop both to the same voxels"
            )
        scored &= mask != 0
    if ids:
        scored &= ~np.isin(truth.astype(np.uint64), np.array(ids, np.uint64))
    scored &= ~boundary_band(truth, ignore_band)
    if not scored.any():
        raise InputError("no voxel is left to score: the ignored ids, band and mask cover all")
    return scored
