"""Seeds of the watershed: maxima of the smoothed distance to the boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.compiled import compiled
from pipeline.superpixels.distance import LEVELS_PER_VOXEL
from pipeline.superpixels.framed import framed, neighbour_steps, unframed, unframed_index
from pipeline.superpixels.geometry import PITCH_STEPS

NO_SEED = -1
"""Level of a voxel that can be no seed: background, or labelled already."""


@dataclass(frozen=True)
class Seeds:
    """Seeds of one array.

    Parameters
    ----------
    markers
        int32, the array's shape: 0 or the seed's number, 1..n in raster order of the seeds'
        first voxels; the voxels of one number are joined by faces.
    first
        (n,) flat index in the array of every seed's first voxel.
    """

    markers: NDArray[np.int32]
    first: NDArray[np.int64]


def find_seeds(
    levels: NDArray[np.int32], origin: Sequence[int], cell: Sequence[int], connectivity: int
) -> Seeds:
    """Every plateau piece without a higher neighbour is a seed.

    A plateau piece is a connected set of voxels of one level inside one cell of a lattice
    anchored at the volume's origin. The cells bound seeds where levels are constant over
    a wide region (the cap in a cell body, a section that is all boundary), so that a seed
    depends on its cell and the voxels around it alone. The array's border counts as lower:
    a region that rises beyond the border still gets a seed, and so is cut there rather than
    given to a neighbour. Of a piece that hangs together by corners only, the part around its
    first voxel is marked.

    Parameters
    ----------
    levels
        (Z, Y, X) or (Y, X) int32, >= 0; ``NO_SEED`` where none may lie.
    origin
        Global position of the array's first voxel.
    cell
        Shape of the lattice's cells, in voxels.
    connectivity
        1: face neighbours; 2 or 3 (the number of axes): all neighbours.
    """
    axes = levels.ndim
    keyed = (levels << axes) | _cell_parity(levels.shape, origin, cell)
    keys = framed(np.where(levels < 0, NO_SEED, keyed), NO_SEED)
    shape = tuple(n + 2 for n in levels.shape)
    markers = np.zeros(keys.size, np.int32)
    first = _mark_maxima(
        keys, axes, neighbour_steps(shape, connectivity), neighbour_steps(shape, 1), markers
    )
    return Seeds(unframed(markers, levels.shape), unframed_index(first, levels.shape))


def suppress_weaker(
    seeds: Seeds, levels: NDArray[np.int32], pitch: Sequence[int], cap: int
) -> Seeds:
    """Drop every seed that has a stronger one closer than its own distance to the boundary.

    Every seed is judged by all others, dropped or not, so the judgement depends on nothing
    beyond the reach of its own distance (non-maximum suppression of distance maxima, as in
    Beier et al. 2017, without their order of visits). Stronger is the higher level, then the
    earlier first voxel; places are those of the first voxels.

    Parameters
    ----------
    seeds
        From ``find_seeds``.
    levels
        int32, distance levels.
    pitch
        Voxel size along every axis, in quarters of an in-plane voxel.
    cap
        Largest distance, in in-plane voxels.
    """
    if not len(seeds.first):
        return seeds
    places = np.stack(np.unravel_index(seeds.first, levels.shape), 1) * np.array(pitch)
    strengths = levels.ravel()[seeds.first].astype(np.int64)
    keep = _strongest(places, strengths, LEVELS_PER_VOXEL // PITCH_STEPS, cap * PITCH_STEPS)
    number = np.zeros(len(keep) + 1, np.int32)
    number[1:][keep] = np.arange(1, np.count_nonzero(keep) + 1)
    return Seeds(number[seeds.markers], seeds.first[keep])


@compiled
def _mark_maxima(
    keys: NDArray[np.int32],
    axes: int,
    near: NDArray[np.int64],
    faces: NDArray[np.int64],
    markers: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Fill ``markers``; first voxels of the seeds. A key is a level and, below, its cell."""
    visited = np.zeros(len(keys), np.bool_)
    found = np.empty(len(keys), np.int32)
    first = []
    for start in range(len(keys)):
        if keys[start] < 0 or visited[start] or _has_higher(keys, axes, near, start):
            continue
        visited[start] = True
        found[0] = start
        count, at, is_seed = 1, 0, True
        while at < count:
            voxel = found[at]
            at += 1
            is_seed = is_seed and not _has_higher(keys, axes, near, voxel)
            for step in near:
                other = voxel + step
                if keys[other] == keys[voxel] and not visited[other]:
                    visited[other] = True
                    found[count] = other
                    count += 1
        if is_seed:
            first.append(np.int64(start))
            _mark(keys, faces, start, len(first), found, markers)
    return np.array(first, np.int64)


@compiled
def _has_higher(keys: NDArray[np.int32], axes: int, near: NDArray[np.int64], voxel: int) -> bool:
    level = keys[voxel] >> axes
    for step in near:  # noqa: SIM110 - a loop is what numba compiles best
        if keys[voxel + step] >> axes > level:
            return True
    return False


@compiled
def _mark(
    keys: NDArray[np.int32],
    faces: NDArray[np.int64],
    start: int,
    number: int,
    found: NDArray[np.int32],
    markers: NDArray[np.int32],
) -> None:
    found[0] = start
    markers[start] = number
    count, at = 1, 0
    while at < count:
        voxel = found[at]
        at += 1
        for step in faces:
            other = voxel + step
            if keys[other] == keys[voxel] and markers[other] == 0:
                markers[other] = number
                found[count] = other
                count += 1


@compiled
def _strongest(
    places: NDArray[np.int64], strengths: NDArray[np.int64], levels_per_unit: int, reach: int
) -> NDArray[np.bool_]:
    """Rows that no stronger row beats; rows are sorted by their first coordinate."""
    count, axes = places.shape
    keep = np.ones(count, np.bool_)
    begin = 0
    for one in range(count):
        while places[begin, 0] < places[one, 0] - reach:
            begin += 1
        for other in range(begin, count):
            if places[other, 0] > places[one, 0] + reach:
                break
            weaker = strengths[other] < strengths[one]
            if weaker or (strengths[other] == strengths[one] and other >= one):
                continue
            squared = 0
            for axis in range(axes):
                squared += (places[one, axis] - places[other, axis]) ** 2
            if squared * levels_per_unit**2 < strengths[one] ** 2:
                keep[one] = False
                break
    return keep


def _cell_parity(
    shape: Sequence[int], origin: Sequence[int], cell: Sequence[int]
) -> NDArray[np.int32]:
    """A code that differs between any two cells that touch, diagonals included."""
    code: Any = np.zeros((1,) * len(shape), np.int32)
    for axis, (length, start, step) in enumerate(zip(shape, origin, cell, strict=True)):
        parity = ((np.arange(start, start + length) // step) & 1).astype(np.int32)
        code = code | np.expand_dims(
            parity << axis, tuple(other for other in range(len(shape)) if other != axis)
        )
    codes: NDArray[np.int32] = code
    return codes
