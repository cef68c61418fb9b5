"""Volumes of any size from a few real or synthetic sections, mirrored at every seam.

``grey`` volumes are grey values as they are, for the shipped network. ``mapped`` ones are made
of its boundary map, so dark where the map is high that a network set by hand finds it again:
all stages but the prediction then have their usual work, at little cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

from benchmarks.children import child_main
from benchmarks.datasets import ISBI2012
from pipeline.boundaries.model import save_model
from pipeline.boundaries.networks.rc_spcnet import RCSPCNet, RCSPCNetConfig
from pipeline.config import parse_config
from pipeline.contract import UINT8_MAX, Triple
from pipeline.synthesis import synthesise
from workflows.in_memory import reconstruct_array

SHAPE = RCSPCNetConfig(stem=4, widths=(8, 8), units=(1,) * 6, dilations=(1,) * 4)
"""The smallest network of the shipped architecture."""
HALO_PIXELS, STRIDE_PIXELS = 8, 8
STEEPNESS = 12.0
"""P(boundary) of a pixel = logistic(STEEPNESS * (darkness - 0.5))."""
GREY_SHARE = 0.25
"""Of the grey values in a mapped volume: what is not boundary keeps some texture."""
CHUNK: Triple = (32, 256, 256)


def shape_of(unit: Triple, factor: int) -> Triple:
    """A volume ``factor`` times as large, doubled along x, y, z in turn.

    Parameters
    ----------
    unit
        Voxels of size 1.
    factor
        A power of two.

    >>> [shape_of((30, 512, 512), n) for n in (1, 2, 8, 16)]
    [(30, 512, 512), (30, 512, 1024), (60, 1024, 1024), (60, 1024, 2048)]
    """
    doublings = factor.bit_length() - 1
    if factor != 1 << doublings:
        raise ValueError(f"{factor} is not a power of two")
    z, y, x = ((doublings + later) // 3 for later in (0, 1, 2))
    return unit[0] << z, unit[1] << y, unit[2] << x


def mirrored(length: int, begin: int, end: int) -> NDArray[np.int64]:
    """Indices that run to and fro over ``length`` places, so that there is no seam.

    >>> mirrored(3, 0, 8).tolist()
    [0, 1, 2, 2, 1, 0, 0, 1]
    """
    place = np.arange(begin, end) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def write_tiled(path: Path, sections: NDArray[np.uint8], shape: Triple) -> None:
    """A zarr array of the mirrored sections, written slab by slab; no voxel size is noted."""
    array = zarr.create_array(
        path,
        shape=shape,
        chunks=tuple(min(c, n) for c, n in zip(CHUNK, shape, strict=True)),
        dtype="uint8",
        overwrite=True,
    )
    y, x = (mirrored(n, 0, end) for n, end in zip(sections.shape[1:], shape[1:], strict=True))
    for begin in range(0, shape[0], CHUNK[0]):
        end = min(begin + CHUNK[0], shape[0])
        z = mirrored(sections.shape[0], begin, end)
        array[begin:end] = sections[np.ix_(z, y, x)]


def source_sections(data: Path | None, unit: Triple) -> NDArray[np.uint8]:
    """Training sections of ISBI 2012, or synthetic ones of the unit's shape."""
    if data is not None:
        stack = ISBI2012.load(data, ISBI2012.raw, ISBI2012.train)
        return np.ascontiguousarray(stack[: unit[0], : unit[1], : unit[2]], np.uint8)
    rng = np.random.default_rng(0)
    return synthesise(unit, voxel_size_nm=ISBI2012.voxel_size_nm, rng=rng).raw


def mapped_sections(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey values that are dark where the shipped network, one pass, sees boundary."""
    config = parse_config({"boundaries": {"augmentation": "none"}}, "benchmark")
    found = reconstruct_array(grey, ISBI2012.voxel_size_nm, config, until="boundaries")
    bright = UINT8_MAX - found["boundaries"].astype(np.float32)
    blended: NDArray[np.uint8] = np.rint((1 - GREY_SHARE) * bright + GREY_SHARE * grey).astype("u1")
    return blended


def save_darkness_network(path: Path) -> None:
    """A model file that makes P(boundary) of the darkest pixel of each 2 x 2 square."""
    network = RCSPCNet(SHAPE).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.zero_()
        layers: Any = network
        layers.stem[0].weight[0, 0, 1, 1] = -0.5
        layers.stem[1].bias[0] = 0.5
        layers.up_full.body[0].weight[:4, 0, 1, 1] = 1.0
        layers.head[0].weight[0, 0, 1, 1] = 1.0
        layers.head[4].weight[1, 0, 1, 1] = STEEPNESS
        layers.head[4].bias.copy_(torch.tensor([0.0, -STEEPNESS / 2]))
    facts = {"halo_pixels": HALO_PIXELS, "stride_pixels": STRIDE_PIXELS}
    save_model(path, network, SHAPE.model_dump(), facts)


def make(job: dict[str, Any]) -> dict[str, Any]:
    """Sections of both kinds and the hand-set network, kept for all volumes; see ``files``."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    z, y, x = job["unit"]
    grey = source_sections(Path(job["data"]) if job["data"] else None, (z, y, x))
    save_darkness_network(folder / "darkness.safetensors")
    np.save(folder / "mapped.npy", mapped_sections(grey))
    np.save(folder / "grey.npy", grey)
    return {"sections": len(grey), "real": bool(job["data"])}


if __name__ == "__main__":
    child_main(make)
