"""Grey values to the range 0..1 by percentiles of the whole volume.

Normalisation is global: a block-wise one leaves seams. The percentiles come from one pass
of histograms (exact, mergeable) over the volume.

1. Every block keeps the bins of its histogram that are not empty.
2. ``sums``: histograms of ``GROUP`` blocks each are added.
3. ``percentiles``: these sums are added, and make the table of one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import (
    BLOCKS,
    Block,
    Inputs,
    Outputs,
    Resources,
    Rows,
    Stage,
    StageConfig,
    Step,
    TableSpec,
    Triple,
)
from pipeline.errors import InputError

BINS = 1 << 16
GROUP = 1024
"""Histograms that one task adds."""


class IntensityConfig(StageConfig):
    """Grey-value range of the volume."""

    low_percentile: float = Field(
        0.5, ge=0, lt=50, description="Percentile of the grey values that becomes 0 (black)."
    )
    high_percentile: float = Field(
        99.5, gt=50, le=100, description="Percentile of the grey values that becomes 1 (white)."
    )


def normalise(raw: NDArray[Any], intensity: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Grey values as 0..1, clipped at the volume's percentiles.

    Parameters
    ----------
    raw
        (Z, Y, X) uint8, uint16 or float32.
    intensity
        The table of stage ``intensity``: ``low`` and ``high``, one row.

    Returns
    -------
    normalised
        (Z, Y, X) float32, 0..1.
    """
    low, high = np.float32(intensity["low"][0]), np.float32(intensity["high"][0])
    scaled = (raw.astype(np.float32) - low) / (high - low)
    return np.clip(scaled, np.float32(0), np.float32(1), out=scaled)


def bins_of(raw: NDArray[Any]) -> NDArray[np.int64]:
    """Histogram bin, 0..65535, of every voxel; the same order as the grey values.

    Integers are their own bin. A float32 is binned by the upper half of its bit pattern,
    made monotone, which keeps 7 bits of its fraction.
    """
    if raw.dtype != np.float32:
        return raw.astype(np.int64)
    bits = (raw + np.float32(0)).view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    return (ordered >> np.uint32(16)).astype(np.int64)


def value_of(bin_index: int, dtype: str) -> float:
    """The smallest grey value of a bin (see ``bins_of``)."""
    if dtype != "float32":
        return float(bin_index)
    ordered = np.uint32(bin_index << 16)
    bits = ordered & np.uint32(0x7FFFFFFF) if bin_index >= 1 << 15 else ~ordered
    return float(np.array(bits, np.uint32).view(np.float32))


def percentiles_of_counts(
    counts: NDArray[np.uint64], dtype: str, config: IntensityConfig
) -> tuple[float, float]:
    """Grey values that become 0 and 1.

    Parameters
    ----------
    counts
        (65536,) voxels per bin, see ``bins_of``.
    dtype
        Of the volume: ``uint8``, ``uint16`` or ``float32``.
    config
        The percentiles. Where they fall together the whole range is taken.

    Returns
    -------
    low, high
        ``low < high``.

    Raises
    ------
    InputError
        If there is no voxel, all voxels fall into one bin, or the range is infinite.
    """
    used = np.flatnonzero(counts)
    if len(used) == 0:
        raise InputError("the volume has no voxels; nothing to segment")
    if len(used) == 1:
        about = "about " if dtype == "float32" else ""
        value = value_of(int(used[0]), dtype)
        raise InputError(
            f"the volume is constant: every voxel is {about}{value:g}; nothing to segment"
        )
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    low, high = (
        int(np.searchsorted(cumulative, total * percentile / 100))
        for percentile in (config.low_percentile, config.high_percentile)
    )
    low, high = max(low, int(used[0])), min(high, int(used[-1]))
    if low >= high:
        low, high = int(used[0]), int(used[-1])
    bounds = value_of(low, dtype), value_of(high, dtype)
    if bounds[1] - bounds[0] > float(np.finfo(np.float32).max):
        raise InputError(
            f"the grey values reach from {bounds[0]:g} to {bounds[1]:g}, too far for float32; "
            "rescale them first"
        )
    return bounds


def percentiles(raw: NDArray[Any], config: IntensityConfig) -> tuple[float, float]:
    """Grey values of an array that become 0 and 1; errors as ``percentiles_of_counts``."""
    return percentiles_of_counts(histogram(raw, (0, 0, 0)), raw.dtype.name, config)


def histogram(raw: NDArray[Any], begin: Triple) -> NDArray[np.uint64]:
    """Voxels per bin of a part of the volume.

    Parameters
    ----------
    raw
        (Z, Y, X) uint8, uint16 or float32.
    begin
        Its first voxel in the volume, for the message.

    Returns
    -------
    counts
        (65536,) uint64.

    Raises
    ------
    InputError
        If a grey value is NaN or infinite; names the first such voxel.
    """
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        where = np.argwhere(~np.isfinite(raw))[0] + np.array(begin)
        raise InputError(
            f"the volume holds NaN or infinite values, e.g. at z y x = {where.tolist()}; "
            "replace them first (for example by 0)"
        )
    return np.bincount(bins_of(raw).ravel(), minlength=BINS).astype(np.uint64)


def compute(block: Block, inputs: Inputs, config: IntensityConfig, resources: Resources) -> Outputs:
    """Histogram of one block."""
    return _sparse(histogram(inputs["raw"][block.inner], block.write.begin))


def _sums(task: int, inputs: Inputs, config: IntensityConfig, resources: Resources) -> Outputs:
    """Histogram of the blocks of one group."""
    parts = inputs.parts(BLOCKS)
    group = range(task * GROUP, min((task + 1) * GROUP, len(parts)))
    return _sparse(_added(parts[index]["histogram"] for index in group))


def _groups(inputs: Inputs, config: IntensityConfig, resources: Resources) -> int:
    return -(-len(inputs.parts(BLOCKS)) // GROUP)


def _percentiles(
    task: int, inputs: Inputs, config: IntensityConfig, resources: Resources
) -> Outputs:
    """Percentiles of the whole volume; an empty or constant one is an error."""
    counts = _added(part["histogram"] for part in inputs.parts("sums"))
    low, high = percentiles_of_counts(counts, resources.volume.dtype, config)
    return {
        "intensity": {
            "low": np.array([low]),
            "high": np.array([high]),
            "counts": counts[None],
        }
    }


def _one_row(inputs: Inputs, config: IntensityConfig, resources: Resources) -> int:
    return 1


def _sparse(counts: NDArray[np.uint64]) -> Outputs:
    used = np.flatnonzero(counts)
    return {"histogram": {"bin": used.astype(np.uint16), "count": counts[used]}}


def _added(histograms: Iterable[Rows]) -> NDArray[np.uint64]:
    counts = np.zeros(BINS, np.uint64)
    for histogram in histograms:
        counts[histogram["bin"]] += histogram["count"]
    return counts


STAGE = Stage(
    name="intensity",
    version=1,
    config=IntensityConfig,
    reads=("raw",),
    compute=compute,
    after=(
        Step("sums", _sums, tasks=_groups),
        Step(
            "percentiles",
            _percentiles,
            rows=_one_row,
            writes=(
                TableSpec(
                    "intensity",
                    {"low": "float64", "high": "float64", "counts": "uint64"},
                    {"counts": BINS},
                ),
            ),
        ),
    ),
)
