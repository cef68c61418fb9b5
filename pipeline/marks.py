"""Marks: a few hashes by which grey values are recognised wherever they lie.

1. Every window of 8 x 8 pixels of a section is hashed. The weights of the hash are symmetric,
   so a window that is mirrored, rotated by quarter turns or transposed keeps its hash.
2. About one window in 256 is kept, chosen by its hash alone. So a section that is cut out,
   moved, renamed or written in another format has the marks of the windows that it still holds
   (winnowing, Schleimer et al. 2003).
3. Of large volumes fewer are kept, again by the hash: marks of one volume can be compared
   with those of any other once the denser ones are thinned.

Values count as numbers, whatever their dtype. Grey values that were resampled, filtered or
given another contrast are other values: they are not recognised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 8
"""Pixels along each side of a window."""
BAND = 64
"""Rows that are hashed at a time, so that they stay in the processor's cache."""
DENSEST, SPARSEST = 1 << 8, 1 << 14
"""One window in so many is kept; powers of two."""
MOST = 8192
"""Marks of a volume, at most, unless they are the sparsest already."""
FEWEST_VALUES = 8
"""Windows with fewer different values (padding, saturation) are alike anywhere: no marks."""
LEAST_SHARE = 0.01
"""Share of the marks below which a match may be a scale bar or another stamp of the camera."""
CHANCE = 1e-9
"""A match is believed if it is less probable than this by chance."""

Marks = NDArray[np.uint32]
"""Ascending, each once."""
_HALF = WINDOW // 2
_BITS = 32


@dataclass(frozen=True, eq=False)
class MarkedVolume:
    """Marks of a volume.

    Parameters
    ----------
    marks
        (n,) uint32, ascending.
    one_in
        Windows of which about one was kept, 256 to 16384.
    """

    marks: Marks
    one_in: int = DENSEST

    def found(self, asked: Marks) -> tuple[int, int]:
        """How many marks could be among these, and how many are.

        Parameters
        ----------
        asked
            Of a section, from ``section_marks``.
        """
        possible = thinned(asked, self.one_in)
        if not len(self.marks):
            return len(possible), 0
        place = np.minimum(np.searchsorted(self.marks, possible), len(self.marks) - 1)
        return len(possible), int(np.count_nonzero(self.marks[place] == possible))

    def recognised(self, possible: int, found: int) -> bool:
        """Whether so many matches are neither chance nor a stamp of the camera.

        Parameters
        ----------
        possible, found
            Of one section, or the sums of several.
        """
        if not found or not len(self.marks) or found < LEAST_SHARE * possible:
            return False
        expected = possible * len(self.marks) * (self.one_in / DENSEST) / (1 << _BITS)
        # the Poisson tail is at most this, expected ** found / found!
        return found * math.log(expected) - math.lgamma(found + 1) < math.log(CHANCE)


def section_marks(
    section: NDArray[Any], counted: NDArray[np.bool_] | None = None, pixels: int = 1
) -> Marks:
    """Marks of one section.

    Parameters
    ----------
    section
        (Y, X) grey values of any integer type, or float32.
    counted
        (Y, X) bool, pixels that matter; ``None``: all.
    pixels
        Pixels of a window that must matter, 1 to 64.

    Returns
    -------
    marks
        None if the section is smaller than a window, or blank.
    """
    if min(section.shape) < WINDOW:
        return np.zeros(0, np.uint32)
    ends = len(section) - WINDOW + 1
    found = [
        _band_marks(section[top : top + BAND + WINDOW - 1], _band(counted, top), pixels)
        for top in range(0, ends, BAND)
    ]
    return np.unique(np.concatenate(found))


def thinned(marks: Marks, one_in: int) -> Marks:
    """Those marks that are kept where but one window in so many is."""
    return marks[: np.searchsorted(marks, np.uint64((1 << _BITS) * DENSEST // one_in))]


def gathered(parts: Iterable[Marks], one_in: int = DENSEST) -> MarkedVolume:
    """Marks of several sections or volumes as those of one, thinned where there are many.

    Parameters
    ----------
    parts
        Marks, each with at least one window in ``one_in``.
    one_in
        Of the sparsest part.
    """
    kept = np.zeros(0, np.uint32)
    for part in parts:
        kept = np.union1d(kept, thinned(part, one_in))
        while len(kept) > MOST and one_in < SPARSEST:
            one_in *= 2
            kept = thinned(kept, one_in)
    return MarkedVolume(kept, one_in)


def together(volumes: Iterable[MarkedVolume]) -> MarkedVolume:
    """Marks of several volumes as those of one."""
    given = list(volumes)
    return gathered((v.marks for v in given), max((v.one_in for v in given), default=DENSEST))


def _band(counted: NDArray[np.bool_] | None, top: int) -> NDArray[np.bool_] | None:
    return None if counted is None else counted[top : top + BAND + WINDOW - 1]


def _band_marks(section: NDArray[Any], counted: NDArray[np.bool_] | None, pixels: int) -> Marks:
    """Marks of some rows, in no order."""
    values = _as_integers(section)
    hashed = _hashes(values)
    rows, columns = np.nonzero(hashed < np.uint64((1 << 64) // DENSEST))
    rows, columns = _without_runs(hashed, rows, columns)
    kept = _different_values(values, rows, columns) >= FEWEST_VALUES
    if counted is not None:
        kept &= _windows(counted, rows, columns).sum(axis=1) >= pixels
    chosen = hashed[rows[kept], columns[kept]]
    return (chosen >> np.uint64(24)).astype(np.uint32)


def _without_runs(
    hashed: NDArray[np.uint64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Only the first of neighbours with the same hash, of which padding has very many."""
    values = hashed[rows, columns]
    new = np.ones(len(rows), bool)
    new[1:] = (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])
    new[1:] |= columns[1:] != columns[:-1] + 1
    return rows[new], columns[new]


def _as_integers(section: NDArray[Any]) -> NDArray[np.uint64]:
    """Whole numbers as they are, other floats by their bits, voxel by voxel."""
    if section.dtype.kind != "f":
        return section.astype(np.int64).view(np.uint64)
    single = section.astype(np.float32)
    whole = (np.rint(single) == single) & (np.abs(single) < 1 << 24)
    numbers = np.where(whole, single, 0).astype(np.int64).view(np.uint64)
    bits = single.view(np.uint32).astype(np.uint64) + np.uint64(1 << 32)
    return np.where(whole, numbers, bits)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of 64 bits after which any of them may be used (splitmix64, Steele 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_WEIGHTS = _mixed(np.arange(1, _HALF + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _hashes(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(Y - 7, X - 7) hash of the window that begins at each pixel."""
    return _mixed(np.ascontiguousarray(_weighted(np.ascontiguousarray(_weighted(values).T)).T))


def _weighted(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sums of 8 rows with weights that are the same from both ends, modulo 2^64."""
    last = len(values) - WINDOW + 1
    total = np.zeros((last, values.shape[1]), np.uint64)
    pair = np.empty_like(total)
    for k, weight in enumerate(_WEIGHTS):
        mirror = WINDOW - 1 - k
        np.add(values[k : k + last], values[mirror : mirror + last], out=pair)
        pair *= weight
        total += pair
    return total


def _different_values(
    values: NDArray[np.uint64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number of different values in each window."""
    ordered = np.sort(_windows(values, rows, columns), axis=1)
    found: NDArray[np.int64] = 1 + np.count_nonzero(np.diff(ordered, axis=1), axis=1)
    return found


def _windows(
    section: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[Any]:
    """(n, 64) pixels of the windows that begin at some pixels."""
    all_of_them = np.lib.stride_tricks.sliding_window_view(section, (WINDOW, WINDOW))
    return all_of_them[rows, columns].reshape(len(rows), WINDOW * WINDOW)
