"""Statistics of integer samples that merge exactly, and the features made of them.

Samples are integers 0..510 (the sum of two uint8), so counts, power sums, extremes and
histograms are integers: parts of an edge from many blocks add up to the same bits in any
order. Only ``summary``, once at the end, turns them into floating point.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import UINT8_MAX, Table

SAMPLE_MAX = 2 * UINT8_MAX
BINS = 32
BIN_WIDTH = (SAMPLE_MAX + 1 + BINS - 1) // BINS
POWERS = 4
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
        (k, c, 32) unsigned integers, numbers of samples in bins 16 wide.
    """

    count: NDArray[np.uint64]
    sums: NDArray[np.uint64]
    low: NDArray[np.uint16]
    high: NDArray[np.uint16]
    histogram: NDArray[np.unsignedinteger]

    @classmethod
    def empty(cls, groups: int, channels: int) -> Statistics:
        """Of no samples."""
        return cls(
            count=np.zeros(groups, np.uint64),
            sums=np.zeros((groups, channels, POWERS), np.uint64),
            low=np.full((groups, channels), np.iinfo(np.uint16).max, np.uint16),
            high=np.zeros((groups, channels), np.uint16),
            histogram=np.zeros((groups, channels, BINS), np.uint64),
        )

    @classmethod
    def of_samples(
        cls, first: NDArray[np.int64], channels: Iterable[NDArray[np.uint16]]
    ) -> Statistics:
        """Of samples sorted by group.

        Parameters
        ----------
        first
            (k,) position of every group's first sample; no group is empty.
        channels
            Of every channel (n,) uint16 samples, 0..510.
        """
        stacked = [_channel_statistics(first, samples) for samples in channels]
        count = stacked[0][3].sum(1, dtype=np.uint64)
        histogram = np.stack([s[3] for s in stacked], 1)
        narrow = np.min_scalar_type(int(histogram.max(initial=0)))
        return cls(
            count=count,
            sums=np.stack([s[0] for s in stacked], 1),
            low=np.stack([s[1] for s in stacked], 1),
            high=np.stack([s[2] for s in stacked], 1),
            histogram=histogram.astype(narrow),
        )

    @classmethod
    def of_table(cls, table: Table) -> Statistics:
        """From the columns of ``table()``."""
        return cls(**{name: table[name] for name in cls.__dataclass_fields__})

    def table(self) -> Table:
        """Columns, for storage."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def rows(self, begin: int, end: int) -> Statistics:
        """Some of the groups."""
        return Statistics(**{n: column[begin:end] for n, column in self.table().items()})

    def add(self, rows: NDArray[np.intp], part: Statistics) -> None:
        """Add ``part``, whose groups are the distinct ``rows`` of these, in place."""
        self.count[rows] += part.count
        self.sums[rows] += part.sums
        self.low[rows] = np.minimum(self.low[rows], part.low)
        self.high[rows] = np.maximum(self.high[rows], part.high)
        self.histogram[rows] += part.histogram


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
    columns: list[NDArray[Any]] = [
        *_moments(statistics),
        statistics.low,
        statistics.high,
        *_quantiles(statistics),
    ]
    scaled = [
        column if name in {"skewness", "kurtosis"} else column / SAMPLE_MAX
        for name, column in zip(SUMMARY, columns, strict=True)
    ]
    features = np.stack(scaled, 2).astype(np.float32)
    return features.reshape(len(features), -1)


def _channel_statistics(
    first: NDArray[np.int64], samples: NDArray[np.uint16]
) -> tuple[NDArray[np.uint64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.unsignedinteger]]:
    """Power sums (k, 4), minima, maxima (k,), histogram (k, 32) of one channel."""
    groups = len(first)
    if not groups:
        none = np.zeros(0, np.uint16)
        return np.zeros((0, POWERS), np.uint64), none, none, np.zeros((0, BINS), np.uint8)
    base = samples.astype(np.uint64)
    power = base.copy()
    sums = np.empty((groups, POWERS), np.uint64)
    for column in range(POWERS):
        if column:
            power *= base
        sums[:, column] = np.add.reduceat(power, first)
    low, high = np.minimum.reduceat(samples, first), np.maximum.reduceat(samples, first)
    key = np.repeat(np.arange(groups) * BINS, np.diff(first, append=len(samples)))
    key += samples // BIN_WIDTH
    counts = np.bincount(key, minlength=groups * BINS).reshape(groups, BINS)
    return sums, low, high, counts.astype(np.min_scalar_type(int(counts.max())))


def _moments(statistics: Statistics) -> list[NDArray[np.float64]]:
    """Mean, deviation, skewness, kurtosis, each (k, c).

    The power sums are first moved, in integers, to the sample value nearest to the mean:
    so nothing is lost to cancellation. Products may wrap around; the results fit.
    """
    n = np.maximum(statistics.count, np.uint64(1))[:, None]
    s1, s2, s3, s4 = np.moveaxis(statistics.sums, 2, 0)
    c = (2 * s1 + n) // (2 * n)
    central = (
        s1 - n * c,
        s2 - 2 * c * s1 + n * c**2,
        s3 - 3 * c * s2 + 3 * c**2 * s1 - n * c**3,
        s4 - 4 * c * s3 + 6 * c**2 * s2 - 4 * c**3 * s1 + n * c**4,
    )
    d, m2, m3, m4 = (moment.view(np.int64) / n for moment in central)
    variance = m2 - d * d
    third = m3 - 3 * d * m2 + 2 * d * d * d
    fourth = m4 - 4 * d * m3 + 6 * d * d * m2 - 3 * d * d * d * d
    varies = statistics.high > statistics.low
    variance = np.where(varies, variance, 0)
    safe = np.where(varies, variance, 1)
    return [
        c + d,
        np.sqrt(variance),
        np.where(varies, third / (safe * np.sqrt(safe)), 0),
        np.where(varies, fourth / (safe * safe) - 3, 0),
    ]


def _quantiles(statistics: Statistics) -> list[NDArray[np.float64]]:
    """The quantiles of QUANTILES, each (k, c)."""
    cumulative = np.cumsum(statistics.histogram, axis=2, dtype=np.float64)
    n = cumulative[:, :, -1]
    quantiles = []
    for q in QUANTILES:
        target = q * n
        bin_index = np.minimum((cumulative < target[:, :, None]).sum(2), BINS - 1)
        inside = np.take_along_axis(statistics.histogram, bin_index[:, :, None], 2)[:, :, 0]
        above = np.take_along_axis(cumulative, bin_index[:, :, None], 2)[:, :, 0] - target
        value = (bin_index + 1 - above / np.maximum(inside, 1)) * BIN_WIDTH
        quantiles.append(np.clip(value, statistics.low, statistics.high))
    return quantiles
