"""How a run would treat a volume, by its shape, dtype and voxel size alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.boundaries.model import BoundaryModel, read_card
from pipeline.boundaries.resampling import UNCHANGED
from pipeline.config import PipelineSections
from pipeline.contract import Resources, Triple, VolumeInfo
from pipeline.grid import grid_shape
from pipeline.packaged import model_path
from pipeline.registry import STAGES
from pipeline.store.layout import Nanometres
from workflows.blocks import BlockMemory, choose_block_shape
from workflows.estimates import TYPICAL_DISK
from workflows.input_level import network_bytes, pixel_steps, sections_at_once

PRESETS: Mapping[str, tuple[Nanometres, ...]] = {
    "isbi2012": ((50.0, 4.0, 4.0),),
    "cremi": ((40.0, 4.0, 4.0),),
    "snemi3d": ((30.0, 6.0, 6.0),),
    "piriform": ((40.0, 7.0, 7.0),),
    "atum_sem": ((50.0, 2.0, 2.0), (50.0, 4.0, 4.0)),
    "fib_sem": ((5.0, 5.0, 5.0), (8.0, 8.0, 8.0), (16.0, 16.0, 16.0)),
}
"""Preset -> voxel sizes that it was made for."""
NEAR = 1.3
"""A preset fits if no edge of a voxel differs by more than this factor."""


@dataclass(frozen=True)
class Foreseen:
    """How a run would treat a volume.

    Parameters
    ----------
    level
        Of the pyramid.
    shape, voxel_size_nm
        zyx, of that level.
    dtype
        Of its voxels.
    superpixels
        ``2d``: section by section; ``3d``.
    planes
        ``xy`` or ``three``.
    pixel_nm
        Edge of a pixel that the network sees, if voxels are resampled for it.
    known_nm
        Lowest and highest edge that the network was trained on, if its card says.
    block_shape, blocks
        zyx, in voxels, and their number.
    memory_bytes
        Of a worker, estimated.
    disk_bytes
        Of the output, estimated.
    """

    level: int
    shape: Triple
    voxel_size_nm: Nanometres
    dtype: str
    superpixels: str
    planes: str
    pixel_nm: float | None
    known_nm: tuple[float, float] | None
    block_shape: Triple
    blocks: int
    memory_bytes: int
    disk_bytes: int


def foresee(
    info: VolumeInfo,
    config: PipelineSections,
    level: int = 0,
    block_shape: Triple | None = None,
) -> Foreseen:
    """How a run would treat a volume; of the network only the card is read.

    Raises
    ------
    PipelineError
        If the network's file is missing or damaged, or no block fits.
    """
    resolved = config.resolved(info)
    predicted: Any = resolved.section("boundaries")
    card = read_card(model_path(predicted.model))
    context = card.context_sections
    network = BoundaryModel(
        torch.nn.Identity(),
        {},
        card.halo_pixels,
        card.stride_pixels,
        card.known_nm,
        context_sections=context,
    )
    resources = Resources(info, {"network": network})
    halos = {s.name: s.halo(resolved.section(s.name), resources) for s in STAGES}
    steps = pixel_steps(resolved, info)
    batch, needed = sections_at_once(resolved), network_bytes(resolved)
    memory = BlockMemory(info, predicted.tile, halos, batch, steps, context, needed)
    shape = block_shape or choose_block_shape(memory)
    voxels = math.prod(info.shape)
    return Foreseen(
        level=level,
        shape=info.shape,
        voxel_size_nm=info.voxel_size_nm,
        dtype=info.dtype,
        superpixels=str(resolved.section("superpixels").model_dump()["mode"]),
        planes=predicted.planes,
        pixel_nm=None if steps == UNCHANGED else steps[2] * info.voxel_size_nm[2],
        known_nm=card.known_nm,
        block_shape=shape,
        blocks=math.prod(grid_shape(info.shape, shape)),
        memory_bytes=memory.needed(shape),
        disk_bytes=round(sum(TYPICAL_DISK[info.flat_sections].values()) * voxels),
    )


def fitting_preset(voxel_size_nm: Nanometres) -> str | None:
    """The preset whose voxel size is nearest; ``None`` if none is near.

    >>> fitting_preset((29, 6, 6)), fitting_preset((8, 8, 8)), fitting_preset((100, 30, 30))
    ('snemi3d', 'fib_sem', None)
    """
    distance = {
        name: min(
            max(abs(math.log(a / b)) for a, b in zip(voxel_size_nm, size, strict=True))
            for size in sizes
        )
        for name, sizes in PRESETS.items()
    }
    best = min(distance, key=lambda name: distance[name])
    return best if distance[best] <= math.log(NEAR) else None
