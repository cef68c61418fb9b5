"""Superpixels of one block.

1. Distance to the boundary, capped, smoothed, in integer levels (``seeds``).
2. Seeds: maxima of the levels; a seed's id is 1 + the flat index of its first voxel in the
   whole volume, so that overlapping blocks agree on ids without talking to each other.
3. Watershed over boundary map and inverted distance (``flooding``).
4. Superpixels that are too small are erased and their neighbours regrown.

Method: distance-transform watershed of Beier et al., Nature Methods 14 (2017). Two
fragments share an id only where they grew from the same seed. A superpixel wider than the
halo is cut at block borders; its pieces on both sides may carry the id of the same seed and
then need not touch within the written volume.
"""

from __future__ import annotations

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
from pipeline.superpixels.flooding import absorb_small, flood, heights
from pipeline.superpixels.geometry import Geometry, SuperpixelsConfig
from pipeline.superpixels.seeds import LEVELS_PER_VOXEL, distance_levels, find_seeds


def halo(config: SuperpixelsConfig, resources: Resources) -> Halo:
    """Margin of the distance map plus the allowed reach of a superpixel; 0 along z in 2D."""
    geometry = Geometry.of(config, resources.volume)
    return Halo.symmetric(*(m + b for m, b in zip(geometry.margin, geometry.basin, strict=True)))


def compute(
    block: Block, inputs: Inputs, config: SuperpixelsConfig, resources: Resources
) -> Outputs:
    """Superpixel ids of ``block.write``; every voxel gets one (ids > 0).

    Reads ``boundaries`` (Z, Y, X) uint8 over ``block.read``; writes ``superpixels`` uint64.
    """
    boundaries = inputs["boundaries"]
    geometry = Geometry.of(config, resources.volume)
    exact = exact_box(block, geometry.margin)
    ids = flat_index(block)[exact.within(block.read)] + np.uint64(1)
    if geometry.flat:
        sections = range(block.write.begin[0], block.write.end[0])
        fragments = np.stack(
            [
                _fragments(
                    boundaries[z - block.read.begin[0]],
                    ids[z - exact.begin[0]],
                    (block, exact, 1),
                    config,
                    geometry,
                )
                for z in sections
            ]
        )
        _, rows, columns = block.write.within(exact)
        return {"superpixels": fragments[:, rows, columns].copy()}
    fragments = _fragments(boundaries, ids, (block, exact, 0), config, geometry)
    return {"superpixels": fragments[block.write.within(exact)].copy()}


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
    ids
        uint64, id of a seed at every voxel of the exact box.
    where
        The block, its exact box, and the first axis that ``boundaries`` has.
    config, geometry
        Parameters of the stage.
    """
    block, exact, axis = where
    levels = distance_levels(
        boundaries >= geometry.boundary_level,
        geometry.pitch[axis:],
        geometry.sigma[axis:],
        geometry.cap,
    )
    inner: Any = exact.within(block.read)[axis:]
    levels = levels[inner]
    connectivity = 1 if config.seed_connectivity == "faces" else levels.ndim
    seeds = find_seeds(levels, exact.begin[axis:], geometry.cell[axis:], connectivity)
    height = heights(
        boundaries[inner], levels, geometry.cap * LEVELS_PER_VOXEL, config.boundary_weight
    )
    cut = [
        (b > 0, e < n)
        for b, e, n in zip(
            exact.begin[axis:], exact.end[axis:], block.volume_shape[axis:], strict=True
        )
    ]
    labels = absorb_small(flood(height, seeds.markers), height, config.min_size_voxels, cut)
    seed_ids = np.concatenate([np.zeros(1, np.uint64), ids.ravel()[seeds.first]])
    return seed_ids[labels]


STAGE = Stage(
    name="superpixels",
    version=1,
    config=SuperpixelsConfig,
    reads=("boundaries",),
    writes=(ArraySpec("superpixels", "uint64", "labels"),),
    compute=compute,
    halo=halo,
)
