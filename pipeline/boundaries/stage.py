"""Boundary map of one block: tiles of a global grid, 8 orientations, one or three planes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
    Table,
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
    """P(boundary) of a block, uint8 0..255 = 0..1; 0 where ``foreground`` is 0.

    Tiles, and sections of a tile, that hold no tissue are not predicted.
    """
    tissue = inputs["foreground"][block.inner] != 0
    result = np.zeros(block.write.shape, np.uint8)
    if not tissue.any():
        return {"boundaries": result}
    raw = inputs["raw"]
    intensity = {name: inputs["intensity"][name] for name in ("low", "high")}
    assert config.tile != "auto"
    for tile in tiles(block, config.tile):
        here = tile.within(block.write)
        if tissue[here].any():
            predicted = _predict_planes(
                (raw, intensity), tile, tissue[here], block, config, resources
            )
            result[here] = np.where(tissue[here], predicted, 0)
    return {"boundaries": result}


def _predict_planes(
    raw: tuple[NDArray[Any], Table],
    tile: Box,
    tissue: NDArray[np.bool_],
    block: Block,
    config: BoundariesConfig,
    resources: Resources,
) -> NDArray[np.uint8]:
    """P(boundary) of a tile, combined from all planes; of no meaning where there is no tissue."""
    combined: NDArray[np.float32] | None = None
    axes = axes_of(config.planes)
    for axis in axes:
        plane = _predict_plane(raw, tile, tissue, block, axis, config, resources)
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
    raw: tuple[NDArray[Any], Table],
    tile: Box,
    tissue: NDArray[np.bool_],
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
    device: str = resources.models["device"]
    voxels, intensity = raw
    window = _window(tile, block, axis, model)
    context = np.moveaxis(voxels[window.box.within(block.read)], axis, 0)
    result = np.zeros(context.shape[:1] + _without(tile.shape, axis), np.float32)
    height, width = _without(tile.shape, axis)
    top, left = window.begin
    inner = np.s_[:, top : top + height, left : left + width]
    wanted = np.flatnonzero(np.moveaxis(tissue, axis, 0).any((1, 2)))
    for first in range(0, len(wanted), config.batch):
        part = wanted[first : first + config.batch]
        grey = np.pad(normalise(context[part], intensity), window.padding, mode="reflect")
        sections = torch.from_numpy(np.ascontiguousarray(grey)).to(device)
        probability = predict_tile(
            model.network, sections, config.augmentation, device, config.precision
        )
        result[part] = probability[inner].cpu().numpy()
    return np.moveaxis(result, 0, axis)


@dataclass(frozen=True)
class _Window:
    """A tile with its halo, as one axis' sections are predicted.

    Parameters
    ----------
    box
        What is read.
    padding
        Of sections (n, height, width): what lies outside the volume is reflected a little, so
        that any size works.
    begin
        Where in the padded plane the tile begins.
    """

    box: Box
    padding: tuple[tuple[int, int], ...]
    begin: tuple[int, int]


def _window(tile: Box, block: Block, axis: int, model: BoundaryModel) -> _Window:
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
    box = Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
    in_plane = [pair for k, pair in enumerate(padding) if k != axis]
    start = _without((offset[0], offset[1], offset[2]), axis)
    return _Window(box, ((0, 0), *in_plane), start)


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
    version=2,
    config=BoundariesConfig,
    reads=("raw", "intensity", "foreground"),
    arrays=(ArraySpec("boundaries", "uint8", "image"),),
    compute=compute,
    halo=halo,
    opens=opens,
    files=files,
    on_device=True,
)
