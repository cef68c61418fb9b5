"""How a section resembles one below it, at every shift within reach.

The sums over a section are those over its blocks, for they are sums of products of integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pipeline.sections.config import WINDOW
from pipeline.sections.windows import window_sum

CONTRAST = 8
"""Of a bin that differs from its surroundings by their standard deviation."""
CONTRAST_LIMIT = 15
FLOOR_STEPS = 1.0
"""Standard deviation, in grey steps, below which surroundings count as flat."""
DETAIL = 16
"""Parts of a grey step in which detail is counted."""
PEAK_BINS = 2
"""Shifts around the peak that belong to it."""


def local_contrast(
    sums: NDArray[np.int64], constant: NDArray[np.int64], voxels: int
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Difference of every coarse bin from its surroundings.

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
    contrast
        (Y, X) int8, in units of the local standard deviation, so that every part of a section
        counts alike; clipped. 0 beside constant bins, which may hold the border of padding;
        surroundings are without these.
    detail
        (Y, X) int64, in ``1 / DETAIL`` grey steps; 0 likewise.
    """
    tissue = (window_sum(constant, 1) == 0).astype(np.int64)
    count = window_sum(tissue, WINDOW)
    inside = sums * tissue
    total, squares = window_sum(inside, WINDOW), window_sum(inside * inside, WINDOW)
    difference = ((inside * count - total) * tissue).astype(np.float64)
    floor = np.maximum(count, 1) * (FLOOR_STEPS * voxels)
    spread = np.sqrt((count * squares - total * total).astype(np.float64) + floor**2)
    contrast = np.clip(np.rint(CONTRAST * difference / spread), -CONTRAST_LIMIT, CONTRAST_LIMIT)
    detail = np.rint(difference * DETAIL / (np.maximum(count, 1) * voxels))
    return contrast.astype(np.int8), detail.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Spectra:
    """Fourier transforms of a section's contrast in a block.

    Parameters
    ----------
    own
        Of the block's own bins, 0 around them.
    around
        Of these and of all within reach.
    shape
        Of the bins.
    """

    own: NDArray[np.complex128]
    around: NDArray[np.complex128]
    shape: tuple[int, int]

    @classmethod
    def of(cls, around: NDArray[np.int8], radius: tuple[int, int]) -> Spectra:
        """Of the contrast of a block's bins and of ``radius`` bins on each side."""
        inner = tuple(slice(r, n - r) for r, n in zip(radius, around.shape, strict=True))
        own = np.zeros_like(around)
        own[inner] = around[inner]
        height, width = (max(n, 2 * r + 1) for n, r in zip(around.shape, radius, strict=True))
        shape = fft.next_fast_len(height), fft.next_fast_len(width, real=True)
        return cls(_transformed(own, shape), _transformed(around, shape), shape)

    def over(self, lower: Spectra, radius: tuple[int, int]) -> NDArray[np.int32]:
        """Sums of the products of own bins with those of a section below, for all shifts.

        The result at index ``radius + s`` is for content that lies ``s`` bins further in this
        section. The sums are integers; the transforms' errors are far below one half.
        """
        products = fft.irfft2(self.own * lower.around.conj(), self.shape)
        near = np.roll(products, radius, (0, 1))[: 2 * radius[0] + 1, : 2 * radius[1] + 1]
        found: NDArray[np.int32] = np.rint(near).astype(np.int32)
        return found


def _transformed(bins: NDArray[np.int8], shape: tuple[int, int]) -> NDArray[np.complex128]:
    transform: NDArray[np.complex128] = fft.rfft2(bins.astype(np.float64), shape)
    return transform


@dataclass(frozen=True)
class Peak:
    """Where sections resemble each other most.

    Parameters
    ----------
    height
        Sum of products at the best shift.
    second
        The highest sum elsewhere.
    straight
        That without a shift.
    shift
        Of the peak, along y and x, in voxels.
    """

    height: float
    second: float
    straight: float
    shift: tuple[float, float]


def peak_of(products: NDArray[np.int64], voxels: tuple[int, int]) -> Peak:
    """The peak of the sums for all shifts, to a fraction of a bin.

    Parameters
    ----------
    products
        (2 * radius_y + 1, 2 * radius_x + 1), see ``Spectra.over``.
    voxels
        Of a bin along y and x.
    """
    y, x = (int(n) for n in np.unravel_index(products.argmax(), products.shape))
    middle = products.shape[0] // 2, products.shape[1] // 2
    elsewhere = products.copy()
    near = (slice(max(0, n - PEAK_BINS), n + PEAK_BINS + 1) for n in (y, x))
    elsewhere[tuple(near)] = min(0, products.min())
    along = (
        n - m + _vertex(line, n)
        for n, m, line in zip((y, x), middle, (products[:, x], products[y]), strict=True)
    )
    shift_y, shift_x = (n * size for n, size in zip(along, voxels, strict=True))
    return Peak(
        float(products[y, x]),
        float(elsewhere.max()),
        float(products[middle]),
        (shift_y, shift_x),
    )


def _vertex(line: NDArray[np.int64], at: int) -> float:
    """Of the parabola through a maximum and both its neighbours, relative to it."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, peak, after = (float(n) for n in line[at - 1 : at + 2])
    bend = before - 2 * peak + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
