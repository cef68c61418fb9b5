"""Parameters of the watershed, and what they mean for a volume's voxels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field

from pipeline.contract import UINT8_MAX, StageConfig, Triple, VolumeInfo

PITCH_STEPS = 4
"""Voxel sizes enter as multiples of 1/4 of the finest in-plane voxel, so that squared
distances are integers and do not depend on where a block begins."""
TRUNCATE = 3.0
"""Radius of the smoothing kernel, in standard deviations."""


class SuperpixelsConfig(StageConfig):
    """Distance-transform watershed."""

    mode: Literal["auto", "2d", "3d"] = Field(
        "auto",
        description="2d: every section by itself; auto: 2d where z is 3 times coarser or more.",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="P(boundary) from which on a voxel counts as boundary, 0..1; none: 0.5 in "
        "2d, 0.25 in 3d.",
    )
    distance_cap_voxels: int | None = Field(
        None,
        ge=1,
        le=255,
        description="Distances to the boundary are capped here, in in-plane voxels; "
        "none: 32 in 2d, 16 in 3d.",
    )
    sigma_seeds_voxels: float = Field(
        1.0, ge=0, le=20, description="Smoothing of the distance map, in in-plane voxels."
    )
    seed_connectivity: Literal["faces", "full"] = Field(
        "full",
        description="Neighbours that a seed must not lie below: 4/6 (faces) or 8/26 (full).",
    )
    seed_spacing_voxels: int = Field(
        64,
        ge=4,
        description="Edge of the lattice cells that cut plateaus of the distance map into "
        "seeds, in in-plane voxels.",
    )
    seed_suppression: bool = Field(
        False,
        description="Drop a seed that has a stronger one closer than its own distance to the "
        "boundary; fewer, larger superpixels.",
    )
    boundary_weight: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Share of the boundary map in the height; the inverted distance has the rest.",
    )
    min_size_voxels: int = Field(
        25, ge=0, description="Smaller superpixels are erased and their neighbours regrown."
    )
    basin_voxels: int | None = Field(
        None,
        ge=0,
        description="Reach of a superpixel around a block that block-wise runs allow for, in "
        "in-plane voxels; wider ones may be cut at block borders; none: 96 in 2d, 48 in 3d.",
    )

    def resolved(self, volume: VolumeInfo) -> Self:
        """The same parameters with ``mode`` and the sizes that depend on it decided."""
        mode = self.mode
        if mode == "auto":
            mode = "2d" if volume.flat_sections else "3d"
        cap, basin, threshold = (32, 96, 0.5) if mode == "2d" else (16, 48, 0.25)
        chosen = {
            "mode": mode,
            "distance_cap_voxels": self.distance_cap_voxels or cap,
            "threshold": self.threshold or threshold,
            "basin_voxels": basin if self.basin_voxels is None else self.basin_voxels,
        }
        return self.model_copy(update=chosen)


@dataclass(frozen=True)
class Geometry:
    """Sizes along z, y, x in voxels, for one volume.

    Parameters
    ----------
    flat
        Whether every section is segmented by itself; then z has no extent anywhere.
    pitch
        Voxel size in 1/4 of the finest in-plane voxel.
    cap
        Largest distance, in finest in-plane voxels.
    sigma
        Smoothing of the distance map.
    cell
        Shape of the seed lattice's cells.
    margin
        How far a voxel's height and distance level look.
    basin
        Reach of a superpixel that the halo covers beyond ``margin``.
    suppression
        How far a seed is suppressed from: 0, or the capped distance.
    boundary_level
        Grey value of the map, 0..255, from which on a voxel counts as boundary.
    """

    flat: bool
    pitch: Triple
    cap: int
    sigma: tuple[float, float, float]
    cell: Triple
    margin: Triple
    basin: Triple
    suppression: Triple
    boundary_level: int

    @classmethod
    def of(cls, config: SuperpixelsConfig, volume: VolumeInfo) -> Geometry:
        """Geometry of a volume under a configuration."""
        config = config.resolved(volume)
        cap, basin = config.distance_cap_voxels, config.basin_voxels
        threshold = config.threshold
        if cap is None or basin is None or threshold is None:
            raise AssertionError("resolved() decides these")
        flat = config.mode == "2d"
        finest = min(volume.voxel_size_nm[1:])
        pitch = [max(1, round(PITCH_STEPS * n / finest)) for n in volume.voxel_size_nm]
        axes = [0.0 if flat and axis == 0 else PITCH_STEPS / p for axis, p in enumerate(pitch)]
        sigma = [config.sigma_seeds_voxels * axis for axis in axes]
        radius = [int(TRUNCATE * s + 0.5) for s in sigma]
        return cls(
            flat=flat,
            pitch=_triple(pitch),
            cap=cap,
            sigma=(sigma[0], sigma[1], sigma[2]),
            cell=_triple([max(1, round(config.seed_spacing_voxels * axis)) for axis in axes]),
            margin=_triple(
                [math.ceil(cap * axis) + r for axis, r in zip(axes, radius, strict=True)]
            ),
            basin=_triple([math.ceil(basin * axis) for axis in axes]),
            suppression=_triple(
                [math.ceil(cap * axis) if config.seed_suppression else 0 for axis in axes]
            ),
            boundary_level=round(threshold * UINT8_MAX),
        )


def _triple(values: list[int]) -> Triple:
    z, y, x = values
    return z, y, x
