"""Family ``regions``: how superpixels look inside, how large and long they are.

The columns of nodes are kept for pairs that do not touch (lifted edges).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.features.appearance import unit
from pipeline.features.channels import INPUTS
from pipeline.features.columns import Column
from pipeline.features.config import FeaturesConfig
from pipeline.features.statistics import SUMMARY, Statistics, summary

COMBINATIONS = {
    "min": "the lower of both sides",
    "max": "the higher of both sides",
    "sum": "sum of both sides",
    "difference": "absolute difference of both sides",
}
RADII_IN_SECTION = ("major", "minor")
RADII_IN_SPACE = ("major", "middle", "minor")


def node_columns(config: FeaturesConfig) -> list[Column]:
    """Columns of one superpixel; ``config`` is resolved."""
    return [
        Column("log_size", "log voxels", "number of voxels"),
        *(
            Column(
                f"log_radius_{axis}",
                "log nm",
                f"standard deviation of its body along its {axis} axis",
            )
            for axis in (RADII_IN_SECTION if config.flat else RADII_IN_SPACE)
        ),
        Column("elongation", "1", "1 - minor over major radius: 0 = round, 1 = a line"),
        *(
            Column(f"{source}/{statistic}", unit(statistic), f"{statistic} over its voxels")
            for source in INPUTS
            for statistic in SUMMARY
        ),
    ]


def node_features(
    size_voxels: NDArray[np.uint64], radii_nm: NDArray[np.float64], statistics: Statistics
) -> NDArray[np.float32]:
    """Columns of some superpixels.

    Parameters
    ----------
    size_voxels
        (n,) uint64, above 0.
    radii_nm
        (n, 2 or 3) float64, see ``surroundings.radii_nm``.
    statistics
        Of their voxels, in the channels of INPUTS; a sample is twice a voxel.

    Returns
    -------
    features
        (n, g) float32, see ``node_columns``.
    """
    elongation = 1 - radii_nm[:, -1] / radii_nm[:, 0]
    size = size_voxels.astype(np.float64)
    body = np.stack([np.log(size), *np.log(radii_nm).T, elongation], 1)
    return np.concatenate([body.astype(np.float32), summary(statistics)], 1)


def columns(config: FeaturesConfig) -> list[Column]:
    """Columns of an edge; ``config`` is resolved."""
    return [
        Column(f"regions/{column.name}/{how}", column.unit, f"{column.meaning}; {meaning}")
        for how, meaning in COMBINATIONS.items()
        for column in node_columns(config)
    ]


def values(ends: NDArray[np.int64], features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Minimum, maximum, sum and absolute difference of the two superpixels' columns.

    Parameters
    ----------
    ends
        (m, 2) int64, rows of ``features``.
    features
        (n, g) float32, of nodes.

    Returns
    -------
    values
        (m, 4 g) float32.
    """
    u, v = features[ends[:, 0]], features[ends[:, 1]]
    return np.concatenate([np.minimum(u, v), np.maximum(u, v), u + v, np.abs(u - v)], 1)
