"""Integer statistics of groups of samples, compiled: measured, added up, summarised."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled

BINS = 32
BIN_BITS = np.uint32(4)
"""A bin holds 16 of the values 0..510."""
BUFFER = 512
"""Samples of a group that are read before its channels are worked through one by one."""
NOTHING, ONE, NO_LOW = np.uint64(0), np.uint32(1), np.uint32(0xFFFF)


@compiled
def _absorb(
    samples: NDArray[np.uint16],
    bins: NDArray[np.uint32],
    group: int,
    channel: int,
    sums: NDArray[np.uint64],
    low: NDArray[np.uint16],
    high: NDArray[np.uint16],
    histogram: NDArray[Any],
) -> None:
    """Add some samples to one group's statistics of one channel."""
    s1, s2, s3, s4 = NOTHING, NOTHING, NOTHING, NOTHING
    lowest, highest = NO_LOW, np.uint32(0)
    bins[:] = 0
    for i in range(len(samples)):
        value = np.uint32(samples[i])
        wide = np.uint64(value)
        square = wide * wide
        s1 += wide
        s2 += square
        s3 += wide * square
        s4 += square * square
        lowest, highest = min(lowest, value), max(highest, value)
        bins[value >> BIN_BITS] += ONE
    sums[group, channel, 0] += s1
    sums[group, channel, 1] += s2
    sums[group, channel, 2] += s3
    sums[group, channel, 3] += s4
    low[group, channel] = min(np.uint32(low[group, channel]), lowest)
    high[group, channel] = max(np.uint32(high[group, channel]), highest)
    for k in range(BINS):
        histogram[group, channel, k] += bins[k]


@compiled
def measure(
    values: NDArray[np.uint8],
    first: NDArray[np.int64],
    start: NDArray[np.int64],
    step: NDArray[np.int64],
    length: NDArray[np.int32],
    sums: NDArray[np.uint64],
    low: NDArray[np.uint16],
    high: NDArray[np.uint16],
    histogram: NDArray[Any],
) -> None:
    """Statistics of some channels, added to those of no sample.

    Parameters
    ----------
    values
        (n, c) uint8: the channels of a voxel lie together, as they are read together.
    first, start, step, length
        Groups of runs, see ``samples.Samples``.
    sums, low, high, histogram
        (k, c, 4), (k, c), (k, c), (k, c, 32), added to in place.
    """
    channels = values.shape[1]
    buffer, bins = np.empty((channels, BUFFER), np.uint16), np.empty(BINS, np.uint32)
    for group in range(len(first) - 1):
        filled = 0
        for run in range(first[group], first[group + 1]):
            lower = start[run]
            upper = lower + step[run]
            for _ in range(length[run]):
                for c in range(channels):
                    buffer[c, filled] = np.uint16(values[lower, c]) + np.uint16(values[upper, c])
                lower, upper, filled = lower + 1, upper + 1, filled + 1
                if filled == BUFFER:
                    for c in range(channels):
                        _absorb(buffer[c], bins, group, c, sums, low, high, histogram)
                    filled = 0
        if filled:
            for c in range(channels):
                _absorb(buffer[c, :filled], bins, group, c, sums, low, high, histogram)


@compiled
def add_rows(
    rows: NDArray[np.int64],
    part: tuple[NDArray[Any], ...],
    total: tuple[NDArray[Any], ...],
) -> None:
    """Add groups to ``rows`` of a total, in place.

    Parameters
    ----------
    rows
        (k,) of every group of the part.
    part, total
        ``count``, ``sums``, ``low``, ``high``, ``histogram``.
    """
    count, sums, low, high, histogram = part
    counts, all_sums, lows, highs, histograms = total
    for i in range(len(rows)):
        row = rows[i]
        counts[row] += count[i]
        for c in range(low.shape[1]):
            for power in range(sums.shape[2]):
                all_sums[row, c, power] += sums[i, c, power]
            lows[row, c] = min(lows[row, c], low[i, c])
            highs[row, c] = max(highs[row, c], high[i, c])
            for k in range(BINS):
                histograms[row, c, k] += histogram[i, c, k]


@compiled
def write_moments(
    count: np.int64,
    sums: NDArray[np.uint64],
    low: np.int64,
    high: np.int64,
    out: NDArray[np.float32],
    scale: float,
) -> None:
    """Mean, deviation, skewness and (excess) kurtosis of one group in one channel.

    The power sums are first moved, in integers, to a sample value next to the mean:
    so nothing is lost to cancellation. Products may wrap around; the results fit.

    Parameters
    ----------
    count
        Samples.
    sums
        (4,) their power sums.
    low, high
        Extremes.
    out
        (4,) written.
    scale
        That mean and deviation are divided by.
    """
    n = count if count > 0 else np.int64(1)
    s1, s2, s3, s4 = np.int64(sums[0]), np.int64(sums[1]), np.int64(sums[2]), np.int64(sums[3])
    part = 1 / n
    c = np.int64(s1 * part + 0.5)
    d = (s1 - n * c) * part
    m2 = (s2 - 2 * c * s1 + n * c * c) * part
    m3 = (s3 - 3 * c * s2 + 3 * c * c * s1 - n * c * c * c) * part
    m4 = (s4 - 4 * c * s3 + 6 * c * c * s2 - 4 * c * c * c * s1 + n * c * c * c * c) * part
    out[0] = (c + d) / scale
    out[1], out[2], out[3] = 0, 0, 0
    if high > low:
        variance = m2 - d * d
        third = m3 - 3 * d * m2 + 2 * d * d * d
        fourth = m4 - 4 * d * m3 + 6 * d * d * m2 - 3 * d * d * d * d
        out[1] = np.sqrt(variance) / scale
        out[2] = third / (variance * np.sqrt(variance))
        out[3] = fourth / (variance * variance) - 3


@compiled
def write_quantiles(
    count: np.int64,
    histogram: NDArray[Any],
    low: np.int64,
    high: np.int64,
    quantiles: NDArray[np.float64],
    out: NDArray[np.float32],
    scale: float,
) -> None:
    """Quantiles of one group in one channel, linear inside a bin.

    Parameters
    ----------
    count
        Samples.
    histogram
        (32,) samples per bin.
    low, high
        Extremes, which clip them.
    quantiles
        (q,) fractions of the samples, ascending.
    out
        (q,) written.
    scale
        That they are divided by.
    """
    k, running = 0, np.int64(histogram[0])
    for j in range(len(quantiles)):
        target = quantiles[j] * count
        while running < target and k < BINS - 1:
            k += 1
            running += np.int64(histogram[k])
        inside = np.int64(histogram[k])
        above = (running - target) / (inside if inside > 0 else 1)
        value = (k + 1 - above) * (1 << BIN_BITS)
        out[j] = min(max(value, float(low)), float(high)) / scale


@compiled
def write_summary(
    statistics: tuple[NDArray[Any], ...],
    quantiles: NDArray[np.float64],
    scale: float,
    out: NDArray[np.float32],
) -> None:
    """Moments, extremes and quantiles of all groups and channels.

    Parameters
    ----------
    statistics
        ``count``, ``sums``, ``low``, ``high``, ``histogram``.
    quantiles
        (q,) fractions of the samples, ascending.
    scale
        That everything but skewness and kurtosis is divided by.
    out
        (k, c, 6 + q) written.
    """
    count, sums, low, high, histogram = statistics
    for i in range(len(count)):
        n = np.int64(count[i])
        for c in range(low.shape[1]):
            row, least, most = out[i, c], np.int64(low[i, c]), np.int64(high[i, c])
            write_moments(n, sums[i, c], least, most, row[:4], scale)
            row[4], row[5] = least / scale, most / scale
            write_quantiles(n, histogram[i, c], least, most, quantiles, row[6:], scale)
