"""Grey values to the range 0..1 by percentiles of the whole volume.

Normalisation is global: a block-wise one leaves seams. The percentiles come from one pass
of histograms (exact, mergeable) over the volume.

1. Every block keeps the bins of its histogram that are not empty, and its extremes.
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
from pipeline.corrections import Corrections
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
    low, high = (float(intensity[name][0]) for name in ("low", "high"))
    return Corrections.none(1, low, high).normalise(raw, np.zeros(len(raw), np.int64))


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
    raw = inputs["raw"][block.inner]
    return _kept(histogram(raw, block.write.begin), raw.min(), raw.max())


def _sums(task: int, inputs: Inputs, config: IntensityConfig, resources: Resources) -> Outputs:
    """Histogram of the blocks of one group."""
    parts = inputs.parts(BLOCKS)
    first = task * GROUP
    return _kept(*_united(parts[k] for k in range(first, min(first + GROUP, len(parts)))))


def _groups(inputs: Inputs, config: IntensityConfig, resources: Resources) -> int:
    return -(-len(inputs.parts(BLOCKS)) // GROUP)


def _percentiles(
    task: int, inputs: Inputs, config: IntensityConfig, resources: Resources
) -> Outputs:
    """Percentiles of the whole volume; an empty or constant one is an error."""
    counts, least, greatest = _united(inputs.parts("sums"))
    low, high = percentiles_of_counts(counts, resources.volume.dtype, config)
    return {
        "intensity": {
            "low": np.array([low]),
            "high": np.array([high]),
            "least": np.array([least]),
            "greatest": np.array([greatest]),
            "counts": counts[None],
        }
    }


def _one_row(inputs: Inputs, config: IntensityConfig, resources: Resources) -> int:
    return 1


def _kept(counts: NDArray[np.uint64], least: float, greatest: float) -> Outputs:
    used = np.flatnonzero(counts)
    return {
        "histogram": {"bin": used.astype(np.uint16), "count": counts[used]},
        "extremes": {"value": np.array([least, greatest], np.float64)},
    }


def _united(parts: Iterable[Mapping[str, Rows]]) -> tuple[NDArray[np.uint64], float, float]:
    """Voxels per bin, smallest and largest grey value of all parts together."""
    counts, least, greatest = np.zeros(BINS, np.uint64), np.inf, -np.inf
    for part in parts:
        counts[part["histogram"]["bin"]] += part["histogram"]["count"]
        low, high = part["extremes"]["value"]
        least, greatest = min(least, float(low)), max(greatest, float(high))
    return counts, least, greatest


def attributes(config: IntensityConfig, resources: Resources) -> Mapping[str, Mapping[str, Any]]:
    """The percentiles, for those who leave sections out."""
    return {
        "intensity/low": {"percentile": config.low_percentile},
        "intensity/high": {"percentile": config.high_percentile},
    }


STAGE = Stage(
    name="intensity",
    version=2,
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
                    {
                        "low": "float64",
                        "high": "float64",
                        "least": "float64",
                        "greatest": "float64",
                        "counts": "uint64",
                    },
                    {"counts": BINS},
                ),
            ),
        ),
    ),
    attributes=attributes,
)
