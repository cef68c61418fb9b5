"""Which voxels are scored: ignored ids, a band around true boundaries, a mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Region:
    """Which voxels are left out of every score.

    Parameters
    ----------
    ignore_ids
        True ids whose voxels are left out.
    ignore_band
        Width of the ``boundary_band`` that is left out, pixels.
    """

    ignore_ids: tuple[int, ...] = ()
    ignore_band: int = 0

    def scored(self, truth: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.bool_] | None:
        """Voxels that are scored, or ``None`` for all; sections by themselves.

        Parameters
        ----------
        truth
            (Z, Y, X) ids, of any sections.
        mask
            (Z, Y, X); only voxels other than 0 are scored; all by default.

        Raises
        ------
        InputError
            If shapes differ, or the band is negative.
        """
        if not self.ignore_ids and not self.ignore_band and mask is None:
            return None
        scored = np.ones(truth.shape, bool)
        if mask is not None:
            if mask.shape != truth.shape:
                raise InputError(
                    f"the mask has shape {mask.shape}, but the ground truth {truth.shape}; "
                    "crop both to the same voxels"
                )
            scored &= mask != 0
        if self.ignore_ids:
            ids = np.array(self.ignore_ids, np.uint64)
            scored &= ~np.isin(truth.astype(np.uint64), ids)
        scored &= ~boundary_band(truth, self.ignore_band)
        return scored


def require_scored(voxels: int | None) -> None:
    """Raise ``InputError`` if the number of voxels left to score is 0; ``None``: all are."""
    if voxels == 0:
        raise InputError("no voxel is left to score: the ignored ids, band and mask cover all")


def scored_voxels(
    truth: NDArray[Any],
    *,
    ignore_ids: Iterable[int] = (),
    ignore_band: int = 0,
    mask: NDArray[Any] | None = None,
) -> NDArray[np.bool_] | None:
    """``Region.scored`` of a whole volume, of which a voxel must be left; parameters as there."""
    scored = Region(tuple(ignore_ids), ignore_band).scored(truth, mask)
    if scored is not None:
        require_scored(int(np.count_nonzero(scored)))
    return scored
