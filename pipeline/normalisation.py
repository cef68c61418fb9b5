"""Grey values to the range 0..1 by percentiles of the whole volume.

Normalisation is global: a block-wise one leaves seams. The percentiles come from one pass
of histograms (exact, mergeable) over the volume; see ``STAGE``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import (
    Block,
    Inputs,
    Outputs,
    Resources,
    Stage,
    StageConfig,
    Table,
    TableSpec,
)
from pipeline.errors import InputError

BINS = 1 << 16


class IntensityConfig(StageConfig):
    """Grey-value range of the volume."""

    low_percentile: float = Field(
        0.5, ge=0, lt=50, description="Percentile of the grey values that becomes 0 (black)."
    )
    high_percentile: float = Field(
        99.5, gt=50, le=100, description="Percentile of the grey values that becomes 1 (white)."
    )


def normalise(raw: NDArray[Any], intensity: Table) -> NDArray[np.float32]:
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
    """Grey values that become 0 and 1; a constant volume is an ``InputError``."""
    used = np.flatnonzero(counts)
    if len(used) < 2:
        value = value_of(int(used[0]), dtype) if len(used) else 0
        raise InputError(f"the volume is constant: every voxel is {value:g}; nothing to segment")
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    low, high = (
        int(np.searchsorted(cumulative, total * percentile / 100))
        for percentile in (config.low_percentile, config.high_percentile)
    )
    high = min(high, int(used[-1]))
    if low >= high:
        low, high = int(used[0]), int(used[-1])
    return value_of(low, dtype), value_of(high, dtype)


def percentiles(raw: NDArray[Any], config: IntensityConfig) -> tuple[float, float]:
    """Grey values of an array that become 0 and 1."""
    counts = np.bincount(bins_of(raw).ravel(), minlength=BINS).astype(np.uint64)
    return percentiles_of_counts(counts, raw.dtype.name, config)


def compute(block: Block, inputs: Inputs, config: IntensityConfig, resources: Resources) -> Outputs:
    """Histogram of one block."""
    raw = inputs["raw"][block.inner]
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        where = np.argwhere(~np.isfinite(raw))[0] + np.array(block.write.begin)
        raise InputError(
            f"the volume holds NaN or infinite values, e.g. at z y x = {where.tolist()}; "
            "replace them first (for example by 0)"
        )
    counts = np.bincount(bins_of(raw).ravel(), minlength=BINS).astype(np.uint64)
    return {"intensity": {"counts": counts[None]}}


def merge(
    parts: Sequence[Outputs],
    tables: Mapping[str, Table],
    config: IntensityConfig,
    resources: Resources,
) -> Outputs:
    """Percentiles of the sum of the histograms; an empty or constant volume is an error."""
    counts = np.zeros(BINS, np.uint64)
    for part in parts:
        counts += part["intensity"]["counts"][0]
    low, high = percentiles_of_counts(counts, resources.volume.dtype, config)
    return {
        "intensity": {
            "low": np.array([low]),
            "high": np.array([high]),
            "counts": counts[None],
        }
    }


STAGE = Stage(
    name="intensity",
    version=1,
    config=IntensityConfig,
    reads=("raw",),
    writes=(TableSpec("intensity", {"low": "float64", "high": "float64", "counts": "uint64"}),),
    compute=compute,
    merge=merge,
)
