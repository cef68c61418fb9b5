"""Grey values of any dtype as few levels, for histograms, and as integers, for filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.normalisation import BINS, bins_of, value_of

LEVELS = 512
"""Of a histogram, at most."""
STEPS = 512
"""Of the volume's grey range; darker and brighter ones go on for as many."""


@dataclass(frozen=True, eq=False)
class Greys:
    """What the bins of ``normalisation.bins_of`` are in this volume.

    Parameters
    ----------
    level
        (65536,) uint16, of every bin; in the order of grey values. Where the volume has few
        grey values each has a level of its own, otherwise levels hold about as many voxels each.
    step
        (65536,) int32, of every bin: 0 and ``STEPS`` at the volume's percentiles, clipped at
        ``-STEPS`` and ``2 * STEPS``.
    first
        (n,) int64, the lowest bin of every level.
    value
        (n,) float64, its grey value.
    """

    level: NDArray[np.uint16]
    step: NDArray[np.int32]
    first: NDArray[np.int64]
    value: NDArray[np.float64]

    @classmethod
    def of(cls, intensity: Mapping[str, NDArray[Any]], dtype: str) -> Self:
        """From the table ``intensity`` of a volume of that dtype."""
        counts = intensity["counts"][0].astype(np.float64)
        low, high = float(intensity["low"][0]), float(intensity["high"][0])
        used = np.flatnonzero(counts)
        rank = np.arange(len(used))
        if len(used) > LEVELS:
            before = counts[used].cumsum() - counts[used]
            share = np.minimum((before * LEVELS / counts.sum()).astype(np.int64), LEVELS - 1)
            rank = np.unique(share, return_inverse=True)[1]
        first = used[np.unique(rank, return_index=True)[1]]
        level, step = np.zeros(BINS, np.uint16), np.zeros(BINS, np.int32)
        level[used] = rank
        values = np.array([value_of(int(b), dtype) for b in used])
        scaled = np.rint((values - low) / (high - low) * STEPS)
        step[used] = np.clip(scaled, -STEPS, 2 * STEPS)
        return cls(level, step, first, np.array([value_of(int(b), dtype) for b in first]))

    @staticmethod
    def bins(raw: NDArray[Any]) -> NDArray[np.uint16]:
        """Bins of grey values, uint16."""
        return bins_of(raw).astype(np.uint16) if raw.dtype.kind == "f" else raw.astype(np.uint16)

    def counts(self, levels: NDArray[np.integer]) -> NDArray[np.uint64]:
        """Voxels per bin, those of a level at its lowest bin.

        Parameters
        ----------
        levels
            (n,) voxels per level.
        """
        counts = np.zeros(BINS, np.uint64)
        counts[self.first] = levels
        return counts
