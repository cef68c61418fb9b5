"""Parameters of the features."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator

from pipeline.contract import StageConfig, VolumeInfo
from pipeline.errors import ConfigError

Family = Literal["raw", "boundary", "regions", "shape", "topology"]
FAMILIES: tuple[Family, ...] = ("raw", "boundary", "regions", "shape", "topology")


class FeaturesConfig(StageConfig):
    """Features of edges and nodes."""

    families: tuple[Family, ...] = Field(
        FAMILIES,
        min_length=1,
        description="Families of edge features that are computed; see `python -m pipeline "
        "features`.",
    )
    mode: Literal["auto", "2d", "3d"] = Field(
        "auto",
        description="2d: filters within sections; auto: 2d where z is 3 times coarser or more.",
    )
    sigmas_voxels: tuple[float, ...] = Field(
        (1.6, 4.2),
        min_length=1,
        max_length=4,
        description="Scales of the filters, in in-plane voxels.",
    )

    @field_validator("families")
    @classmethod
    def _each_once(cls, families: tuple[Family, ...]) -> tuple[Family, ...]:
        repeated = sorted({f for f in families if families.count(f) > 1})
        if repeated:
            raise ValueError(f"named more than once: {', '.join(repeated)}")
        return families

    def resolved(self, volume: VolumeInfo) -> Self:
        """The same parameters with ``mode`` decided."""
        if self.mode != "auto":
            return self
        return self.model_copy(update={"mode": "2d" if volume.flat_sections else "3d"})

    @property
    def flat(self) -> bool:
        """Whether superpixels and filters lie within sections; only after ``resolved``."""
        if self.mode == "auto":
            raise ConfigError("features.mode auto must be resolved for the volume first")
        return self.mode == "2d"
