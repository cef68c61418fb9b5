"""Boundary map of one block: tiles of a global grid, 8 orientations, one or three planes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.boundaries.batches import Batches, chosen_batch
from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import BoundaryModel, load_model
from pipeline.boundaries.prepared import prepared
from pipeline.boundaries.quick_calls import quick_calls
from pipeline.boundaries.resampling import Steps, halo_voxels, steps_of, window_of
from pipeline.boundaries.seen_sections import SeenSections, Voxels
from pipeline.contract import (
    UINT8_MAX,
    ArraySpec,
    Block,
    Box,
    Halo,
    Inputs,
    Outputs,
    Resources,
    Stage,
    StageConfig,
    Triple,
    VolumeInfo,
)
from pipeline.errors import ModelError
from pipeline.packaged import model_path

SECTION_TILE: Triple = (1, 512, 512)
CUBE_TILE: Triple = (128, 256, 256)
STACK = 32
"""Most sections above each other that are held together."""
ISOTROPIC_BELOW = 1.5
Side = Annotated[int, Field(ge=1, le=8192)]


class BoundariesConfig(StageConfig):
    """Boundary prediction."""

    model: str = Field(
        "default", description="Boundary network: a packaged name or the path of a model file."
    )
    augmentation: Literal["max", "mean", "min", "none"] = Field(
        "max", description="How the predictions of the 8 orientations are combined."
    )
    augmentation_z: Literal["none", "flip"] = Field(
        "none",
        description="Combine the orientations also with those of the sections in reverse order "
        "(flip), for networks that see several sections.",
    )
    planes: Literal["auto", "xy", "three"] = Field(
        "auto",
        description="Predict sections along z, or along all three axes (auto: three if isotropic).",
    )
    combine_planes: Literal["mean", "max"] = Field(
        "mean", description="How the maps of the three planes are combined."
    )
    tile: Literal["auto"] | tuple[Side, Side, Side] = Field(
        "auto", description="Voxels z, y, x that one tile predicts; tiles lie on a global grid."
    )
    pixel_nm: Literal["auto", "off"] | Annotated[float, Field(gt=0, lt=1e6)] = Field(
        "auto",
        description="Edge in nm of the pixels that the network sees (auto: the voxels' own where "
        "it knows them, else the nearest that it knows; off: always the voxels' own).",
    )
    batch: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto",
        description="Sections predicted at a time, halved where memory runs out (auto: 1, on a "
        "GPU as many small ones as keep it busy).",
    )
    orientations_at_once: Literal["auto"] | Annotated[int, Field(ge=1, le=16)] = Field(
        "auto",
        description="Orientations predicted at a time, halved where memory runs out (auto: 1, on "
        "a GPU 8).",
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="Arithmetic of the network (auto: bf16 where the device has it, else fp16 on "
        "a GPU that has that, else fp32).",
    )
    compile: Literal["off", "graphs", "compile"] = Field(
        "off",
        description="How the network is called: as it is (off), as recorded CUDA graphs (graphs), "
        "or by torch.compile; where that fails, as it is.",
    )

    def resolved(self, volume: VolumeInfo) -> Self:
        """Planes and tile decided by voxel size."""
        planes = self.planes
        if planes == "auto":
            planes = "three" if volume.anisotropy < ISOTROPIC_BELOW else "xy"
        tile = self.tile
        if tile == "auto":
            tile = CUBE_TILE if planes == "three" else SECTION_TILE
        return self.model_copy(update={"planes": planes, "tile": tile})


def axes_of(planes: str) -> tuple[int, ...]:
    """The axes along which sections are taken."""
    return (0, 1, 2) if planes == "three" else (0,)


def tiles(block: Block, tile: Triple) -> Iterator[Box]:
    """Tiles of the global grid inside ``block.write``, clipped to the volume.

    Block borders must be tile borders, else tiles would depend on the blocks.
    """
    for low, high, size, length in zip(
        block.write.begin, block.write.end, tile, block.volume_shape, strict=True
    ):
        if low % size or (high % size and high != length):
            raise AssertionError(f"block {block.write} is not made of tiles of {tile} voxels")
    starts = (
        range(low, high, size)
        for low, high, size in zip(block.write.begin, block.write.end, tile, strict=True)
    )
    for begin in itertools.product(*starts):
        z, y, x = (min(b + s, n) for b, s, n in zip(begin, tile, block.volume_shape, strict=True))
        yield Box((begin[0], begin[1], begin[2]), (z, y, x))


def stacks(block: Block, config: BoundariesConfig) -> list[Box]:
    """The tiles of a block; those of sections along z above each other are one.

    The map of a section does not depend on which others a tile holds, and of several sections
    some can be predicted at a time.
    """
    assert config.tile != "auto"
    found = list(tiles(block, config.tile))
    if config.planes == "three":
        return found
    low, high = block.write.begin[0], block.write.end[0]
    ends = {z: min(z + STACK, high) for z in range(low, high, STACK)}
    columns = [
        Box((z, *tile.begin[1:]), (end, *tile.end[1:])) for z, end in ends.items() for tile in found
    ]
    return list(dict.fromkeys(columns))


def halo(config: BoundariesConfig, resources: Resources) -> Halo:
    """The network's measured halo, along z too where sections are taken along y and x.

    Along the axes of the sections also those that the network sees on each side, and along z
    how far sections lie that stand in the place of others.
    """
    model: BoundaryModel = resources.models["network"]
    z, y, x = halo_voxels(model.halo, model.stride, steps(config, resources))
    bridged = resources.corrections.reach if resources.corrections else 0
    if config.planes != "three":
        return Halo.symmetric(model.context_sections + bridged, y, x)
    z, y, x = (max(n, model.context_sections) for n in (z, y, x))
    return Halo.symmetric(z + bridged, y, x)


def compute(
    block: Block, inputs: Inputs, config: BoundariesConfig, resources: Resources
) -> Outputs:
    """P(boundary) of a block, uint8 0..255 = 0..1; 0 where ``foreground`` is 0.

    The network sees bridged grey values, each section in its own range, along all planes, and
    in the place of padding the mirror image of tissue.
    Tiles, and sections of a tile, that hold no tissue are not predicted.
    """
    tissue = inputs["foreground"] != 0
    result = np.zeros(block.write.shape, np.uint8)
    if not tissue[block.inner].any():
        return {"boundaries": result}
    assert resources.corrections is not None
    voxels = Voxels(resources.corrections.bridged(inputs["raw"], block.read.begin[0]), tissue)
    for tile in stacks(block, config):
        wanted = tissue[tile.within(block.read)]
        if wanted.any():
            predicted = _predict_planes(voxels, tile, block, config, resources)
            result[tile.within(block.write)] = np.where(wanted, predicted, 0)
    return {"boundaries": result}


def _predict_planes(
    voxels: Voxels,
    tile: Box,
    block: Block,
    config: BoundariesConfig,
    resources: Resources,
) -> NDArray[np.uint8]:
    """P(boundary) of a tile, combined from all planes; of no meaning where there is no tissue."""
    combined: NDArray[np.float32] | None = None
    axes = axes_of(config.planes)
    for axis in axes:
        plane = _predict_plane(voxels, tile, block, axis, config, resources)
        if combined is None:
            combined = plane
        elif config.combine_planes == "max":
            np.maximum(combined, plane, out=combined)
        else:
            combined += plane
    assert combined is not None
    if config.combine_planes == "mean":
        combined /= len(axes)
    if np.isnan(combined).any():
        raise ModelError("the boundary network gives NaN; try --set boundaries.precision=fp32")
    return np.rint(combined * UINT8_MAX).astype(np.uint8)


def _predict_plane(
    voxels: Voxels,
    tile: Box,
    block: Block,
    axis: int,
    config: BoundariesConfig,
    resources: Resources,
) -> NDArray[np.float32]:
    """P(boundary) of the sections of a tile across one axis; 0 in those without tissue.

    Grey values become floats only as sections are needed: in 3D a block reads ten times its
    own voxels.
    """
    model: BoundaryModel = resources.models["network"]
    context = model.context_sections
    covered = steps(config, resources)
    window = window_of(tile, block.volume_shape, axis, model.halo, model.stride, covered, context)
    assert resources.corrections is not None
    seen = SeenSections(
        voxels.across(axis, window.box.within(block.read)),
        window,
        axis,
        block.volume_shape[axis],
        resources.corrections,
        resources.models["device"],
    )
    tissue = voxels.across(axis, tile.within(block.read)).tissue
    result = np.zeros(tissue.shape, np.float32)
    wanted = np.flatnonzero(tissue.any((1, 2)))
    device, batches = resources.models["device"], resources.models["batches"]
    batch = chosen_batch(config.orientations_at_once, config.batch, window.pixels, device)
    parts = [wanted[n : n + batch.sections] for n in range(0, len(wanted), batch.sections)]
    maps = batches.predict_each(
        model.network,
        [partial(seen.around, part + tile.begin[axis], context) for part in parts],
        batch,
        config.augmentation,
        config.precision,
        flip_z=config.augmentation_z == "flip",
        at_once=batches.at_once(batch, window.pixels, resources.spare_bytes),
    )
    for part, probability in zip(parts, maps, strict=True):
        result[part] = window.to_voxels(probability).cpu().numpy()
    return np.moveaxis(result, 0, axis)


def steps(config: BoundariesConfig, resources: Resources) -> Steps:
    """Voxels that a pixel of the network covers along z, y, x."""
    model: BoundaryModel = resources.models["network"]
    return steps_of(config.pixel_nm, resources.volume, axes_of(config.planes), model.known_nm)


def opens(config: BoundariesConfig, device: str) -> Mapping[str, Any]:
    """The network, made ready for its device, and what is known of the device's memory."""
    device = choose_device(device)
    model = load_model(model_path(config.model))
    network = quick_calls(prepared(model.network, device), config.compile, device)
    ready = replace(model, network=network)
    return {"network": ready, "device": device, "batches": Batches(device, model.shape)}


def files(config: BoundariesConfig) -> list[str]:
    """The model file."""
    return [str(model_path(config.model))]


STAGE = Stage(
    name="boundaries",
    version=4,
    config=BoundariesConfig,
    reads=("raw", "sections", "foreground"),
    arrays=(ArraySpec("boundaries", "uint8", "image"),),
    compute=compute,
    halo=halo,
    opens=opens,
    files=files,
    on_device=True,
)
