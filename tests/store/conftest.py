"""Stores that tests read: written with zarr itself, not with the code under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from pipeline.store import Output


@dataclass(frozen=True)
class Geometry:
    shape: tuple[int, int, int]
    voxel_size_nm: tuple[float, float, float] = (40.0, 8.0, 8.0)
    translation_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)


@pytest.fixture
def geometry() -> type[Geometry]:
    return Geometry


@pytest.fixture
def raw() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6, 20, 24), dtype=np.uint8)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output.create(
        tmp_path / "v.neurons.zarr", volume=Geometry((20, 150, 140)), block_shape=(16, 64, 64)
    )


@pytest.fixture
def write_image(tmp_path: Path) -> Callable[..., Path]:
    """Write an OME-Zarr image by hand; the finest level is ``data``, the next every second."""

    def write(
        data: NDArray[Any],
        version: str = "0.5",
        unit: str | None = "micrometer",
        scale: tuple[float, ...] = (0.04, 0.008, 0.008),
        axes: str = "zyx",
        **group_attributes: Any,
    ) -> Path:
        path = tmp_path / f"image{version}.zarr"
        zarr_format: Any = 2 if version == "0.4" else 3
        kinds = {"t": "time", "c": "channel"}
        described: list[dict[str, str]] = [
            {"name": axis, "type": kinds.get(axis, "space")} for axis in axes
        ]
        for axis in described:
            if axis["type"] == "space" and unit is not None:
                axis["unit"] = unit
        full = [1.0] * (len(axes) - 3) + list(scale)
        coarse = [*full[:-2], 2 * full[-2], 2 * full[-1]]
        shift = [0.0] * (len(axes) - 2) + [full[-2] / 2, full[-1] / 2]
        datasets = [
            {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": full}]},
            {
                "path": "s1",
                "coordinateTransformations": [
                    {"type": "scale", "scale": coarse},
                    {"type": "translation", "translation": shift},
                ],
            },
        ]
        multiscales = [{"axes": described, "datasets": datasets}]
        if version == "0.4":
            attributes: dict[str, Any] = {"multiscales": [{**multiscales[0], "version": "0.4"}]}
        else:
            attributes = {"ome": {"version": "0.5", "multiscales": multiscales}}
        group = zarr.create_group(path, zarr_format=zarr_format, attributes=attributes)
        for name, level in (("s0", data), ("s1", data[..., ::2, ::2])):
            chunks = (1,) * (data.ndim - 3) + (4, 8, 8)
            array = group.create_array(name, shape=level.shape, dtype=level.dtype, chunks=chunks)
            array[...] = level
        group.attrs.update(group_attributes)
        return path

    return write
