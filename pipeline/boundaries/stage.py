"""Boundary map of one block: tiles of a global grid, 8 orientations, one or three planes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from pipeline.boundaries.device import choose_device
from pipeline.boundaries.model import BoundaryModel, load_model
from pipeline.boundaries.predict import predict_tile
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
from pipeline.normalisation import normalise
from pipeline.packaged import model_path

SECTION_TILE: Triple = (1, 512, 512)
CUBE_TILE: Triple = (128, 256, 256)
ISOTROPIC_BELOW = 1.5
REFLECTED_PIXELS = 32
"""Pixels that are made up by reflection beyond the volume's border, at most."""
Side = Annotated[int, Field(ge=1, le=8192)]


class BoundariesConfig(StageConfig):
    """Boundary prediction."""

    model: str = Field(
        "default", description="Boundary network: a packaged name or the path of a model file."
    )
    augmentation: Literal["max", "mean", "min", "none"] = Field(
        "max", description="How the predictions of the 8 orientations are combined."
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
    batch: int = Field(1, ge=1, le=256, description="Sections predicted at a time.")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="Arithmetic of the network (auto: bf16 where the device has it)."
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


def halo(config: BoundariesConfig, resources: Resources) -> Halo:
    """The network's measured halo, along z too where sections are taken along y and x."""
    pixels = resources.models["network"].halo
    return Halo.symmetric(pixels if config.planes == "three" else 0, pixels, pixels)


def compute(
    block: Block, inputs: Inputs, config: BoundariesConfig, resources: Resources
) -> Outputs:
    """P(boundary) of a block, uint8 0..255 = 0..1."""
    model: BoundaryModel = resources.models["network"]
    device: str = resources.models["device"]
    raw = normalise(inputs["raw"], inputs["intensity"])
    assert config.tile != "auto"
    result = np.zeros(block.write.shape, np.uint8)
    for tile in tiles(block, config.tile):
        result[tile.within(block.write)] = _predict_planes(raw, tile, block, model, config, device)
    return {"boundaries": result}


def _predict_planes(
    raw: NDArray[np.float32],
    tile: Box,
    block: Block,
    model: BoundaryModel,
    config: BoundariesConfig,
    device: str,
) -> NDArray[np.uint8]:
    combined: NDArray[np.float32] | None = None
    axes = axes_of(config.planes)
    for axis in axes:
        plane = _predict_plane(raw, tile, block, axis, model, config, device)
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
    raw: NDArray[np.float32],
    tile: Box,
    block: Block,
    axis: int,
    model: BoundaryModel,
    config: BoundariesConfig,
    device: str,
) -> NDArray[np.float32]:
    context, before = _with_context(raw, tile, block, axis, model)
    padded = np.moveaxis(context, axis, 0)
    result = np.empty(padded.shape[:1] + _without(tile.shape, axis), np.float32)
    height, width = _without(tile.shape, axis)
    top, left = before
    inner = np.s_[:, top : top + height, left : left + width]
    for first in range(0, len(padded), config.batch):
        part = slice(first, first + config.batch)
        sections = torch.from_numpy(np.ascontiguousarray(padded[part])).to(device)
        probability = predict_tile(
            model.network, sections, config.augmentation, device, config.precision
        )
        result[part] = probability[inner].cpu().numpy()
    return np.moveaxis(result, 0, axis)


def _with_context(
    raw: NDArray[np.float32], tile: Box, block: Block, axis: int, model: BoundaryModel
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """A tile with its halo, and where in the plane the tile begins in it.

    A little of what lies outside the volume is reflected, so any size works.
    """
    begin, end, padding, offset = [], [], [], []
    for k, (b, e, n) in enumerate(zip(tile.begin, tile.end, block.volume_shape, strict=True)):
        reach = 0 if k == axis else model.halo
        beyond = 0 if k == axis else min(model.halo, REFLECTED_PIXELS)
        low, high = max(b - reach, 0), min(e + reach, n)
        before, after = min(reach, b + beyond), min(reach, n - e + beyond)
        fill = 0 if k == axis else -(e - b + before + after) % model.stride
        begin.append(low)
        end.append(high)
        offset.append(before)
        padding.append((before - (b - low), after - (high - e) + fill))
    context = Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
    padded = np.pad(raw[context.within(block.read)], padding, mode="reflect")
    return padded, _without((offset[0], offset[1], offset[2]), axis)


def _without(shape: Triple, axis: int) -> tuple[int, int]:
    first, second = (n for k, n in enumerate(shape) if k != axis)
    return first, second


def opens(config: BoundariesConfig, device: str) -> Mapping[str, Any]:
    """The network on its device."""
    device = choose_device(device)
    return {"network": load_model(model_path(config.model), device), "device": device}


def files(config: BoundariesConfig) -> list[str]:
    """The model file."""
    return [str(model_path(config.model))]


STAGE = Stage(
    name="boundaries",
    version=1,
    config=BoundariesConfig,
    reads=("raw", "intensity"),
    writes=(ArraySpec("boundaries", "uint8", "image"),),
    compute=compute,
    halo=halo,
    opens=opens,
    files=files,
)
