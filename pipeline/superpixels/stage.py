"""Superpixels of one block.

1. Distance to the boundary, capped, smoothed, in integer levels (``distance``). Background
   counts as boundary, so that seeds stay away from it.
2. Seeds: maxima of the levels; a seed's id is 1 + the flat index of its first voxel in the
   whole volume, so that overlapping blocks agree on ids without talking to each other.
3. Watershed over boundary map and inverted distance, in the foreground only (``flooding``).
4. Parts of the foreground without a seed (they touch a stronger part by a corner) get theirs.
5. Superpixels that are too small are erased and their neighbours regrown.

Method: distance-transform watershed of Beier et al., Nature Methods 14 (2017). Two
fragments share an id only where they grew from the same seed, and within one call the voxels
of an id are joined by faces. A superpixel wider than the halo is cut at block borders; its
pieces on both sides may carry the id of the same seed and then need not touch within the
written volume.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract import (
    ArraySpec,
    Block,
    Box,
    Halo,
    Inputs,
    Outputs,
    Resources,
    Stage,
    Triple,
)
from pipeline.grid import flat_index
from pipeline.superpixels.distance import LEVELS_PER_VOXEL, distance_levels
from pipeline.superpixels.flooding import absorb_small, flood, heights
from pipeline.superpixels.geometry import Geometry, SuperpixelsConfig
from pipeline.superpixels.seeds import NO_SEED, Seeds, find_seeds, suppress_weaker


def halo(config: SuperpixelsConfig, resources: Resources) -> Halo:
    """Margin of the distance map, reach of a superpixel and of suppression; 0 along z in 2D."""
    geometry = Geometry.of(config, resources.volume)
    parts = zip(geometry.margin, geometry.basin, geometry.suppression, strict=True)
    return Halo.symmetric(*(sum(part) for part in parts))


def compute(
    block: Block, inputs: Inputs, config: SuperpixelsConfig, resources: Resources
) -> Outputs:
    """Superpixel ids of ``block.write``; background is 0, every other voxel gets an id.

    Reads ``boundaries`` and ``foreground`` (Z, Y, X) uint8 over ``block.read``; writes
    ``superpixels`` uint64.
    """
    foreground = inputs["foreground"] != 0
    if not foreground[block.inner].any():
        return {"superpixels": np.zeros(block.write.shape, np.uint64)}
    boundaries = inputs["boundaries"]
    geometry = Geometry.of(config, resources.volume)
    exact = exact_box(block, geometry.margin)
    ids = flat_index(block)[exact.within(block.read)] + np.uint64(1)
    if not geometry.flat:
        fragments = _fragments(boundaries, foreground, ids, (block, exact, 0), config, geometry)
        return {"superpixels": fragments[block.write.within(exact)].copy()}

    def section(z: int) -> NDArray[np.uint64]:
        at = z - block.read.begin[0]
        own_ids = ids[z - exact.begin[0]]
        fragments = _fragments(
            boundaries[at], foreground[at], own_ids, (block, exact, 1), config, geometry
        )
        return fragments[block.write.within(exact)[1:]]

    with ThreadPoolExecutor(resources.threads) as pool:
        sections = pool.map(section, range(block.write.begin[0], block.write.end[0]))
        return {"superpixels": np.stack(list(sections))}


def exact_box(block: Block, margin: Triple) -> Box:
    """The part of ``block.read`` whose heights are those of the whole volume."""
    begin = [b + m if b else 0 for b, m in zip(block.read.begin, margin, strict=True)]
    end = [
        e if e == n else e - m
        for e, m, n in zip(block.read.end, margin, block.volume_shape, strict=True)
    ]
    return Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))


def _fragments(
    boundaries: NDArray[np.uint8],
    foreground: NDArray[np.bool_],
    ids: NDArray[np.uint64],
    where: tuple[Block, Box, int],
    config: SuperpixelsConfig,
    geometry: Geometry,
) -> NDArray[np.uint64]:
    """Superpixels of the exact box of one section or volume.

    Parameters
    ----------
    boundaries
        uint8, covers the read box along its axes.
    foreground
        bool, of the same shape.
    ids
        uint64, id of a seed at every voxel of the exact box.
    where
        The block, its exact box, and the first axis that ``boundaries`` has.
    config, geometry
        Parameters of the stage.
    """
    block, exact, axis = where
    inner: Any = exact.within(block.read)[axis:]
    tissue = foreground[inner]
    if not tissue.any():
        return np.zeros(tissue.shape, np.uint64)
    levels = distance_levels(
        (boundaries >= geometry.boundary_level) | ~foreground,
        geometry.pitch[axis:],
        geometry.sigma[axis:],
        geometry.cap,
    )[inner]
    levels = np.where(tissue, levels, np.int32(NO_SEED))
    height = heights(
        boundaries[inner], levels, geometry.cap * LEVELS_PER_VOXEL, config.boundary_weight
    )
    lattice = exact.begin[axis:], geometry.cell[axis:]
    connectivity = 1 if config.seed_connectivity == "faces" else levels.ndim
    seeds = find_seeds(levels, *lattice, connectivity)
    if config.seed_suppression:
        seeds = suppress_weaker(seeds, levels, geometry.pitch[axis:], geometry.cap)
    labels = flood(height, seeds.markers, tissue)
    left = tissue & (labels == 0)
    if left.any():
        rest = find_seeds(np.where(left, levels, np.int32(NO_SEED)), *lattice, 1)
        seeds = _joined(seeds, rest)
        labels = flood(height, seeds.markers, tissue)
    cut = [
        (b > 0, e < n)
        for b, e, n in zip(
            exact.begin[axis:], exact.end[axis:], block.volume_shape[axis:], strict=True
        )
    ]
    labels = absorb_small(labels, height, config.min_size_voxels, cut)
    seed_ids = np.concatenate([np.zeros(1, np.uint64), ids.ravel()[seeds.first]])
    return seed_ids[labels]


def _joined(seeds: Seeds, more: Seeds) -> Seeds:
    """Both, ``more`` numbered after ``seeds``."""
    shifted = np.where(more.markers > 0, more.markers + len(seeds.first), seeds.markers)
    return Seeds(shifted.astype(np.int32), np.concatenate([seeds.first, more.first]))


STAGE = Stage(
    name="superpixels",
    version=2,
    config=SuperpixelsConfig,
    reads=("boundaries", "foreground"),
    arrays=(ArraySpec("superpixels", "uint64", "labels"),),
    compute=compute,
    halo=halo,
)
