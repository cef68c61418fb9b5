"""Tubes that fill space: packed discs that drift from section to section without overlap.

1. Radii are drawn from a log-normal distribution until the discs fill a given part of a
   square torus that is wider than the image.
2. Discs are thrown at random, largest first, and pushed apart until none overlap.
3. From one z to the next every disc drifts with its own smooth slope and breathes in radius,
   and the discs are pushed apart again.

The cell that the power diagram gives a disc contains that disc wherever discs do not overlap,
so a tube whose centre moves by less than its radius has overlapping profiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from pipeline.contract import StageConfig
from pipeline.synthesis.random_fields import smooth_basis

FILLED = 0.72
"""Part of the area that the discs cover; close to the densest random packing."""
FIRST_PUSHES, NEXT_PUSHES = 150, 6
CANDIDATES = 12


class TubesConfig(StageConfig):
    """Shape of the neurons."""

    median_radius_nm: float = Field(
        default=56.0, gt=1, description="Median radius of a neurite's profile, in nanometres."
    )
    radius_spread: float = Field(
        default=0.72,
        ge=0,
        le=1.5,
        description="Standard deviation of the natural logarithm of the radius.",
    )
    largest_radius_nm: float = Field(
        default=260.0, gt=1, description="Radii are clipped here, in nanometres."
    )
    smallest_radius_nm: float = Field(
        default=34.0, gt=1, description="Radii are clipped here, in nanometres."
    )
    slope: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Standard deviation of lateral drift per unit of depth.",
    )
    persistence_nm: float = Field(
        default=350.0,
        gt=0,
        description="Depth over which a neurite keeps its direction, in nanometres.",
    )
    varicosity: float = Field(
        default=0.12,
        ge=0,
        le=0.5,
        description="Relative variation of a neurite's radius along depth.",
    )
    joined: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Part of the tubes that are joined to a neighbour as one bent neurite.",
    )


@dataclass(frozen=True)
class Tubes:
    """Discs at every z.

    Parameters
    ----------
    centres_nm
        (Z, N, 2) float64, y and x.
    radii_nm
        (Z, N) float64.
    neuron
        (N,) int64, from 0; joined tubes share a number.
    """

    centres_nm: NDArray[np.float64]
    radii_nm: NDArray[np.float64]
    neuron: NDArray[np.int64]


def drifting_tubes(
    depths_nm: NDArray[np.float64],
    extent_nm: tuple[float, float],
    rng: np.random.Generator,
    config: TubesConfig,
) -> Tubes:
    """Tubes through an image of ``extent_nm`` and a margin round it.

    Parameters
    ----------
    depths_nm
        (Z,) ascending z positions.
    extent_nm
        Height and width of the image; its corner is the origin.
    rng
        Source of all randomness.
    config
        Shape of the neurons.

    Returns
    -------
    tubes
        As many as fill the image and a margin that hides the torus's seam.
    """
    margin = 2.0 * config.largest_radius_nm
    box = np.array(extent_nm) + 2 * margin
    base = _draw_radii(float(box.prod()), rng, config)
    centres = _push_apart(_throw(base, box, rng), base, box, FIRST_PUSHES)
    neuron = _join(centres, base, box, rng, config.joined)

    count = len(base)
    basis = smooth_basis(depths_nm, config.persistence_nm).astype(np.float64)
    slope = np.tensordot(basis, rng.standard_normal((basis.shape[1], count, 2)), axes=1)
    # Joined tubes drift together, or they would come apart.
    slope = config.slope * slope[:, neuron]
    breath = config.varicosity * (basis @ rng.standard_normal((basis.shape[1], count)))
    radii = base * np.exp(np.clip(breath, -0.5, 0.5))

    track = np.empty((len(depths_nm), count, 2))
    for z in range(len(depths_nm)):
        if z:
            step = slope[z] * (depths_nm[z] - depths_nm[z - 1])
            limit = base[:, None] / 2
            centres = centres + np.clip(step, -limit, limit)
        centres = _push_apart(centres, radii[z], box, NEXT_PUSHES)
        track[z] = centres - margin
    return Tubes(centres_nm=track, radii_nm=radii, neuron=neuron)


def _draw_radii(area: float, rng: np.random.Generator, config: TubesConfig) -> NDArray[np.float64]:
    """Radii, largest first, whose discs cover ``FILLED`` of the area."""
    low, high = config.smallest_radius_nm, config.largest_radius_nm
    expected = int(area / (np.pi * low**2)) + 16
    radii = config.median_radius_nm * np.exp(config.radius_spread * rng.standard_normal(expected))
    radii = np.clip(radii, low, high)
    count = int(np.searchsorted(np.cumsum(np.pi * radii**2), FILLED * area)) + 1
    return np.sort(radii[:count])[::-1]


def _throw(
    radii: NDArray[np.float64], box: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Random centres, each the freest of a few candidates."""
    centres = np.empty((len(radii), 2))
    candidates = rng.random((len(radii), CANDIDATES, 2)) * box
    centres[0] = candidates[0, 0]
    for i in range(1, len(radii)):
        offset = np.abs(candidates[i, :, None] - centres[None, :i])
        offset = np.minimum(offset, box - offset)
        room = (np.hypot(offset[..., 0], offset[..., 1]) - radii[:i]).min(axis=1)
        centres[i] = candidates[i, int(room.argmax())]
    return centres


def _push_apart(
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    box: NDArray[np.float64],
    rounds: int,
) -> NDArray[np.float64]:
    """Centres on the torus after overlapping discs pushed each other, small ones further."""
    centres = centres % box
    reach = 2 * float(radii.max())
    pairs = cKDTree(centres, boxsize=box).query_pairs(1.2 * reach, output_type="ndarray")
    pairs = _within_reach(pairs, centres, radii, box)
    for _ in range(rounds):
        i, j = pairs.T
        offset = centres[j] - centres[i]
        offset -= box * np.round(offset / box)
        distance = np.maximum(np.hypot(offset[:, 0], offset[:, 1]), 1e-6)
        overlap = radii[i] + radii[j] - distance
        touch = overlap > 0
        if not touch.any():
            break
        i, j = i[touch], j[touch]
        push = 0.5 * (overlap[touch] / distance[touch])[:, None] * offset[touch]
        share = (radii[j] / (radii[i] + radii[j]))[:, None]
        np.subtract.at(centres, i, push * 2 * share)
        np.add.at(centres, j, push * 2 * (1 - share))
    return centres % box


def _within_reach(
    pairs: NDArray[np.int64],
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    box: NDArray[np.float64],
) -> NDArray[np.int64]:
    """The pairs that could touch while discs are pushed."""
    offset = centres[pairs[:, 1]] - centres[pairs[:, 0]]
    offset -= box * np.round(offset / box)
    touching = radii[pairs].sum(axis=1) * 1.5 + 4 * float(np.median(radii))
    near: NDArray[np.int64] = pairs[np.hypot(offset[:, 0], offset[:, 1]) < touching]
    return near


def _join(
    centres: NDArray[np.float64],
    radii: NDArray[np.float64],
    box: NDArray[np.float64],
    rng: np.random.Generator,
    part: float,
) -> NDArray[np.int64]:
    """Neuron of every disc; a random ``part`` of them take that of their nearest neighbour."""
    count = len(radii)
    neuron = np.arange(count)
    nearest = cKDTree(centres, boxsize=box).query(centres, k=2)[1][:, 1] if count > 1 else neuron
    free = np.ones(count, bool)
    for i in np.flatnonzero(rng.random(count) < part).tolist():
        j = int(nearest[i])
        if free[i] and free[j] and i != j:
            neuron[i] = j
            free[[i, j]] = False
    return neuron
