"""Statistics of integer samples that merge exactly, and the features made of them.

Samples are integers 0..510 (the sum of two uint8), so counts, power sums, extremes and
histograms are integers: parts of an edge from many blocks add up to the same bits in any
order. Only ``summary``, once at the end, turns them into floating point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import UINT8_MAX, Rows, Table
from pipeline.features.accumulation import BIN_BITS, BINS, add_rows, measure, write_summary
from pipeline.features.samples import Samples

SAMPLE_MAX = 2 * UINT8_MAX
BIN_WIDTH = 1 << int(BIN_BITS)
POWERS = 4
NARROW = int(np.iinfo(np.uint16).max)
"""Most samples that a bin of a kept histogram holds."""
BYTES_PER_CHANNEL = 2 * (8 * POWERS + 2 * 2) + (4 + 2) * BINS
"""Of one group: of a sum, and of what is added to it."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SUMMARY = (
    "mean",
    "std",
    "skewness",
    "kurtosis",
    "min",
    "max",
    *(f"q{round(100 * q)}" for q in QUANTILES),
)
"""Names of the columns of ``summary``."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of k groups of samples in c channels.

    Parameters
    ----------
    count
        (k,) uint64, samples of every group.
    sums
        (k, c, 4) uint64, sums of the samples' first to fourth powers (exact up to 2e8
        samples a group).
    low, high
        (k, c) uint16, extremes; of an empty group 65535 and 0.
    histogram
        (k, c, 32) uint16 or uint32, numbers of samples in bins 16 wide.
    """

    count: NDArray[np.uint64]
    sums: NDArray[np.uint64]
    low: NDArray[np.uint16]
    high: NDArray[np.uint16]
    histogram: NDArray[np.unsignedinteger]

    @classmethod
    def empty(cls, groups: int, channels: int, narrow: bool = False) -> Statistics:
        """Of no samples; ``narrow``: for groups of less than 65536 samples."""
        return cls(
            count=np.zeros(groups, np.uint64),
            sums=np.zeros((groups, channels, POWERS), np.uint64),
            low=np.full((groups, channels), np.iinfo(np.uint16).max, np.uint16),
            high=np.zeros((groups, channels), np.uint16),
            histogram=np.zeros((groups, channels, BINS), np.uint16 if narrow else np.uint32),
        )

    @classmethod
    def unmeasured(cls, samples: Samples, channels: int) -> Statistics:
        """Of samples whose channels are measured next, with ``measure``."""
        count = samples.count
        narrow = int(count.max(initial=0)) <= NARROW
        return replace(cls.empty(len(count), channels, narrow), count=count)

    @classmethod
    def of_rows(cls, rows: Rows, begin: int, end: int) -> Statistics:
        """From some rows of the columns of ``table()``."""
        return cls(**{name: rows.read(name, begin, end) for name in cls.__dataclass_fields__})

    def table(self) -> Table:
        """Columns, for storage."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def narrowed(self) -> tuple[NDArray[np.int64], Statistics]:
        """The same in uint16: a group with a bin that holds more becomes several, which add up.

        Returns
        -------
        group
            (j,) int64, ascending: the group that each of the narrow ones is part of.
        narrow
            Statistics of j groups; those after the first of a group hold the rest of its
            histogram, and nothing else.
        """
        groups = np.arange(len(self.count))
        if self.histogram.dtype == np.uint16:
            return groups, self
        pieces = np.maximum(-(-self.histogram.max((1, 2), initial=0).astype(np.int64) // NARROW), 1)
        group = np.repeat(groups, pieces)
        piece = np.arange(len(group)) - (np.cumsum(pieces) - pieces)[group]
        narrow = Statistics.empty(len(group), self.low.shape[1], narrow=True)
        for name, column in self.table().items():
            if name != "histogram":
                getattr(narrow, name)[piece == 0] = column
        histogram = self.histogram[group]
        before = np.minimum(histogram, (piece * NARROW).astype(np.uint32)[:, None, None])
        narrow.histogram[...] = np.minimum(histogram - before, NARROW)
        return group, narrow

    def measure(self, samples: Samples, first: int, values: NDArray[np.uint8]) -> None:
        """Fill in some channels of ``unmeasured`` statistics, in place.

        Parameters
        ----------
        samples
            Those that these statistics are of.
        first
            Place of the first of these channels among all.
        values
            (Z, Y, X, c) uint8, covers the sampled box.
        """
        channels = values.shape[-1]
        some = slice(first, first + channels)
        measure(
            np.ascontiguousarray(values).reshape(-1, channels),
            samples.first,
            samples.start,
            samples.step,
            samples.length,
            self.sums[:, some],
            self.low[:, some],
            self.high[:, some],
            self.histogram[:, some],
        )

    def add(self, rows: NDArray[np.intp], part: Statistics) -> None:
        """Add ``part``, whose groups belong to ``rows`` of these, in place."""
        add_rows(rows.astype(np.int64), part._columns(), self._columns())

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return tuple(np.ascontiguousarray(column) for column in self.table().values())


def summary(statistics: Statistics) -> NDArray[np.float32]:
    """Mean, deviation, shape, extremes and quantiles of every group and channel.

    Values are fractions of the channel's range, 0..1; skewness and (excess) kurtosis are
    those of the population, 0 for a constant. A quantile q lies where the histogram's
    running count reaches q n, linear inside the bin: less than a bin (16 of 510) away from
    the smallest sample that at least q n samples do not exceed.

    Returns
    -------
    summary
        (k, c * 11) float32, all of a channel's columns together, in the order of SUMMARY.
    """
    groups, channels = statistics.low.shape
    features = np.empty((groups, channels, len(SUMMARY)), np.float32)
    write_summary(statistics._columns(), np.array(QUANTILES), float(SAMPLE_MAX), features)
    return features.reshape(groups, channels * len(SUMMARY))
