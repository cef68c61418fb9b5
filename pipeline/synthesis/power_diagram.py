"""Power diagram of discs on a (warped) pixel grid, with the distance to the nearest border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OUTSIDE = np.float32(np.inf)


@dataclass(frozen=True)
class Section:
    """One section of the tissue.

    Parameters
    ----------
    y_nm, x_nm
        (Y, X) float32: where each pixel lies in the plane of the discs.
    disc
        (Y, X) int64: number of the disc that owns the pixel.
    border_nm
        (Y, X) float32: distance to the nearest cell of another neuron.
    """

    y_nm: NDArray[np.float32]
    x_nm: NDArray[np.float32]
    disc: NDArray[np.int64]
    border_nm: NDArray[np.float32]


def power_diagram(
    y_nm: NDArray[np.float32],
    x_nm: NDArray[np.float32],
    centres_nm: NDArray[np.float64],
    radii_nm: NDArray[np.float64],
    neuron: NDArray[np.int64],
) -> Section:
    """The disc of smallest power, ``|p - c|^2 - r^2``, at every pixel.

    Parameters
    ----------
    y_nm, x_nm
        (Y, X) float32 coordinates of the pixels.
    centres_nm
        (N, 2) y and x of the discs.
    radii_nm
        (N,) radii of the discs.
    neuron
        (N,) int64; no border is drawn between discs of one neuron.

    Returns
    -------
    section
        Owner and distance to the border; the distance is exact for an undistorted grid,
        and infinite where no other neuron is in reach.
    """
    reach = 2.0 * float(np.median(radii_nm))
    while True:
        best, second, owner, rival = _two_smallest(
            y_nm, x_nm, centres_nm, radii_nm, neuron, reach=reach
        )
        if np.isfinite(best).all():
            break
        reach *= 2
    return Section(y_nm, x_nm, owner, _border(best, second, owner, rival, centres_nm))


def _border(
    best: NDArray[np.float32],
    second: NDArray[np.float32],
    owner: NDArray[np.int64],
    rival: NDArray[np.int64],
    centres_nm: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Distance to the line where the powers of owner and rival are equal."""
    apart = centres_nm[owner] - centres_nm[np.maximum(rival, 0)]
    between = np.hypot(apart[..., 0], apart[..., 1]).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        border = (second - best) / (2 * between)
    return np.where(rival >= 0, border, OUTSIDE).astype(np.float32)


def _two_smallest(
    y_nm: NDArray[np.float32],
    x_nm: NDArray[np.float32],
    centres_nm: NDArray[np.float64],
    radii_nm: NDArray[np.float64],
    neuron: NDArray[np.int64],
    *,
    reach: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Smallest power, smallest power of another neuron, and whose they are (-1: none)."""
    best, second = np.full(y_nm.shape, OUTSIDE), np.full(y_nm.shape, OUTSIDE)
    owner, rival = np.full(y_nm.shape, -1), np.full(y_nm.shape, -1)
    row_low, row_high = y_nm.min(axis=1), y_nm.max(axis=1)
    column_low, column_high = x_nm.min(axis=0), x_nm.max(axis=0)
    for i, ((cy, cx), radius) in enumerate(zip(centres_nm, radii_nm, strict=True)):
        half = 1.4 * radius + reach
        rows = np.flatnonzero((row_high > cy - half) & (row_low < cy + half))
        columns = np.flatnonzero((column_high > cx - half) & (column_low < cx + half))
        if not len(rows) or not len(columns):
            continue
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        power = (y_nm[window] - np.float32(cy)) ** 2 + (x_nm[window] - np.float32(cx)) ** 2
        power -= np.float32(radius**2)
        held = owner[window]
        other = (held < 0) | (neuron[held] != neuron[i])
        wins = power < best[window]
        beaten = wins & other
        runner_up = ~wins & other & (power < second[window])
        second[window] = np.where(beaten, best[window], np.where(runner_up, power, second[window]))
        rival[window] = np.where(beaten, held, np.where(runner_up, i, rival[window]))
        best[window] = np.where(wins, power, best[window])
        owner[window] = np.where(wins, i, held)
    return best, second, owner, rival
