"""Parameters of the search for defects, and what they mean for a volume's voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field

from pipeline.contract import Halo, Resources, StageConfig, VolumeInfo
from pipeline.errors import ConfigError

RIDGE_NM = 16.0
"""Edge of the bins in which membranes are looked for; they are 10 to 20 nm thick."""
WINDOW = 4
"""Coarse bins on each side over which the local mean and contrast are taken."""
AROUND = WINDOW + 1
"""Coarse bins on each side that a bin's contrast depends on."""
SQUARE = 8
"""Edge of the squares, in voxels, that are tissue unless they hold one grey value only."""
FEWEST_BINS = 400
"""Coarse bins of a section below which it is too small to be compared with others."""


class SectionsConfig(StageConfig):
    """Defects of sections: what is looked for and what is done."""

    contrast: Literal["detect", "dark_membranes", "bright_membranes"] = Field(
        "detect",
        description="detect: membranes are taken for dark unless bright lines clearly prevail; "
        "bright_membranes: grey values are inverted.",
    )
    bridge: bool = Field(
        True,
        description="Whether the nearest usable section stands in for one that is empty, damaged "
        "or listed in bad.",
    )
    longest_gap: int = Field(
        3,
        ge=1,
        le=8,
        description="Sections in a row that are bridged at most; more stay as they are.",
    )
    bad: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="Sections, counted from 0 in the (cut) volume, that must not be used."
    )
    drift: Literal["correct", "ignore"] = Field(
        "correct",
        description="correct: a section much darker, brighter, or of another contrast than the "
        "stack gets a grey range of its own; ignore: all have that of the volume.",
    )
    slips: Literal["follow", "ignore"] = Field(
        "follow",
        description="follow: where flat sections have slipped aside, neurons are joined along "
        "the slip; ignore: straight down.",
    )
    smallest_slip_voxels: int | None = Field(
        None,
        ge=1,
        description="Displacements below this are left alone, in voxels; none: 64 nm.",
    )
    largest_slip_voxels: int | None = Field(
        None,
        ge=1,
        le=512,
        description="Displacements are looked for up to this, in voxels; none: 256 nm where "
        "sections are flat, else 128 nm.",
    )

    def resolved(self, volume: VolumeInfo) -> Self:
        """The same parameters with the reach of slips decided.

        Raises
        ------
        ConfigError
            If ``bad`` names a section that the volume does not have, or all that it has.
        """
        depth = volume.shape[0]
        beyond = [z for z in self.bad if z >= depth]
        if beyond:
            raise ConfigError(
                f"sections.bad = {list(self.bad)}: the volume has {depth} sections, 0 to "
                f"{depth - 1}; {beyond[0]} is not one of them"
            )
        if len(set(self.bad)) == depth:
            raise ConfigError("sections.bad names every section of the volume; leave some")
        finest = min(volume.voxel_size_nm[1:])
        largest = 256.0 if volume.flat_sections else 128.0
        chosen = {
            "smallest_slip_voxels": self.smallest_slip_voxels or max(2, round(64 / finest)),
            "largest_slip_voxels": self.largest_slip_voxels
            or min(512, max(2, round(largest / finest))),
        }
        return self.model_copy(update=chosen)


@dataclass(frozen=True)
class Geometry:
    """Sizes along y and x, for one volume.

    Bins lie on grids that begin at the volume's first voxel; what is left at its end belongs to
    none. A bin belongs to the block that holds its first voxel.

    Parameters
    ----------
    ridge
        Voxels of a bin in which ridges are looked for.
    coarse
        Voxels of a bin in which sections are compared: two of the others.
    radius
        Coarse bins by which sections are shifted against each other, at most.
    depths
        Sections below with which one is compared.
    """

    ridge: tuple[int, int]
    coarse: tuple[int, int]
    radius: tuple[int, int]
    depths: int

    @classmethod
    def of(cls, config: SectionsConfig, volume: VolumeInfo) -> Geometry:
        """Geometry of a volume under a configuration."""
        largest = config.resolved(volume).largest_slip_voxels
        if largest is None:
            raise AssertionError("resolved() decides it")
        y, x = (max(1, round(RIDGE_NM / size)) for size in volume.voxel_size_nm[1:])
        coarse = 2 * y, 2 * x
        radius = -(-largest // coarse[0]), -(-largest // coarse[1])
        return cls((y, x), coarse, radius, config.longest_gap + 1 if volume.flat_sections else 1)

    @property
    def shifts(self) -> tuple[int, int]:
        """Number of shifts along y and x."""
        return 2 * self.radius[0] + 1, 2 * self.radius[1] + 1

    def bins(self, volume: VolumeInfo) -> int:
        """Coarse bins of a section."""
        return (volume.shape[1] // self.coarse[0]) * (volume.shape[2] // self.coarse[1])


def halo(config: SectionsConfig, resources: Resources) -> Halo:
    """Sections below, and around every bin of a block all it is compared with."""
    geometry = Geometry.of(config, resources.volume)
    (high, wide), (ry, rx) = geometry.coarse, geometry.radius
    return Halo(
        below=(geometry.depths, (ry + AROUND) * high, (rx + AROUND) * wide),
        above=(0, (ry + AROUND + 1) * high - 1, (rx + AROUND + 1) * wide - 1),
    )
