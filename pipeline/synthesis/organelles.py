"""Mitochondria, vesicles and microtubules that ride along in the tubes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import StageConfig
from pipeline.synthesis.packing import Tubes


class OrganellesConfig(StageConfig):
    """Contents of the neurons."""

    mitochondria: float = Field(
        default=2.0, ge=0, description="Mitochondria per square micrometre of section."
    )
    mitochondrion_length_nm: float = Field(
        default=700.0, gt=0, description="Mean length of a mitochondrion along z, in nanometres."
    )
    mitochondrion_radius_nm: float = Field(
        default=140.0, gt=0, description="Mean longer half-axis of a mitochondrion, in nanometres."
    )
    crista_spacing_nm: float = Field(
        default=34.0,
        gt=0,
        description="Distance between the cristae of a mitochondrion, in nanometres.",
    )
    vesicle_cells: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="Part of the neurites that hold a cluster of vesicles.",
    )
    vesicles: float = Field(
        default=4000.0,
        ge=0,
        description="Vesicles per cubic micrometre of a neurite that holds them.",
    )
    vesicle_radius_nm: float = Field(
        default=21.0, gt=0, description="Outer radius of a vesicle, in nanometres."
    )
    microtubules: float = Field(
        default=80.0, ge=0, description="Microtubules per square micrometre of section."
    )


@dataclass(frozen=True)
class Organelles:
    """Positions relative to the discs; lengths in nanometres, offsets in disc radii.

    Parameters
    ----------
    mitochondria
        (M, 7): disc, z, half length, longer and shorter half-axis, angle, phase of cristae.
    vesicles
        (V, 4): disc, z, offset y, offset x.
    microtubules
        (T, 3): disc, offset y, offset x.
    """

    mitochondria: NDArray[np.float64]
    vesicles: NDArray[np.float64]
    microtubules: NDArray[np.float64]


def place(
    tubes: Tubes,
    depths_nm: NDArray[np.float64],
    rng: np.random.Generator,
    config: OrganellesConfig,
) -> Organelles:
    """Draw all organelles of the tubes."""
    radii = tubes.radii_nm.mean(axis=0)
    areas_um2 = np.pi * (radii / 1000) ** 2
    return Organelles(
        mitochondria=_mitochondria(radii, areas_um2, depths_nm, rng, config),
        vesicles=_vesicles(areas_um2, depths_nm, rng, config),
        microtubules=_in_discs(rng.poisson(config.microtubules * areas_um2), rng),
    )


def _mitochondria(
    radii: NDArray[np.float64],
    areas_um2: NDArray[np.float64],
    depths_nm: NDArray[np.float64],
    rng: np.random.Generator,
    config: OrganellesConfig,
) -> NDArray[np.float64]:
    """One row a mitochondrion; at most one a disc at a time, in discs wide enough."""
    half = config.mitochondrion_length_nm / 2
    low, high = depths_nm[0] - half, depths_nm[-1] + half
    wide = np.where(radii > 0.6 * config.mitochondrion_radius_nm, np.minimum(areas_um2, 0.12), 0)
    total = config.mitochondria * areas_um2.sum()
    chance = np.minimum(total * wide / max(float(wide.sum()), 1e-9), 0.85)
    rows = []
    for disc in np.flatnonzero(chance > 0):
        z = low + rng.exponential(2 * half * (1 - chance[disc]) / chance[disc] + 1)
        while z < high:
            length = half * rng.uniform(0.6, 1.4)
            longer = config.mitochondrion_radius_nm * rng.uniform(0.7, 1.3)
            longer = min(longer, 0.8 * radii[disc])
            shorter = longer * rng.uniform(0.6, 1.0)
            angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
            rows.append((disc, z + length, length, longer, shorter, angle, phase))
            z += 2 * length + rng.exponential(2 * half * (1 - chance[disc]) / chance[disc] + 1)
    return np.array(rows, float).reshape(-1, 7)


def _vesicles(
    areas_um2: NDArray[np.float64],
    depths_nm: NDArray[np.float64],
    rng: np.random.Generator,
    config: OrganellesConfig,
) -> NDArray[np.float64]:
    """Rows of vesicles, spread over the whole depth and the disc of their neurite."""
    low = depths_nm[0] - config.vesicle_radius_nm
    high = depths_nm[-1] + config.vesicle_radius_nm
    holds = rng.random(len(areas_um2)) < config.vesicle_cells
    counts = rng.poisson(holds * config.vesicles * areas_um2 * (high - low) / 1000)
    placed = _in_discs(counts, rng)
    return np.insert(placed, 1, rng.uniform(low, high, len(placed)), axis=1)


def _in_discs(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(sum of counts, 3): disc, and a uniform offset within 0.85 of its radius."""
    disc = np.repeat(np.arange(len(counts)), counts)
    radius = 0.85 * np.sqrt(rng.random(len(disc)))
    angle = rng.uniform(0, 2 * np.pi, len(disc))
    return np.column_stack([disc, radius * np.sin(angle), radius * np.cos(angle)])
