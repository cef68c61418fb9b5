"""Labels and boundary maps from every format they come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from pipeline.contract import Box
from pipeline.errors import InputError
from pipeline.store import open_labels, read_labels, read_map

ROI = Box((1, 2, 3), (4, 12, 20))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64", ">i8"])
@pytest.mark.parametrize("kind", ["tif", "array", "image"])
def test_labels_of_any_integer_dtype_and_format(
    tmp_path: Path, write_image: Callable[..., Path], raw: NDArray[Any], dtype: str, kind: str
) -> None:
    labels = raw.astype(dtype)
    if kind == "image":
        path = write_image(labels)
    elif kind == "array":
        path = tmp_path / "a"
        zarr.create_array(path, data=labels, chunks=(4, 8, 8))
    else:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, labels, compression="deflate")
    read = read_labels(path)
    assert read.dtype == labels.dtype.newbyteorder("=")
    assert np.array_equal(read, raw)
    assert np.array_equal(read_labels(path, ROI), raw[ROI.slices])
    size = open_labels(path).voxel_size_nm
    assert size == (pytest.approx((40, 8, 8)) if kind == "image" else None)


def test_one_section_becomes_a_volume(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.eye(4, dtype=np.uint16))
    assert np.array_equal(read_labels(tmp_path / "a.tif"), np.eye(4)[None])


def test_labels_that_are_not_integers_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 4, 4), np.float32))
    with pytest.raises(InputError, match="labels must be integers, not float32"):
        read_labels(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
        (np.array([0, 13107, 65535], np.uint16), [0, 0.2, 1]),
        (np.array([0, 0.2, 1], np.float32), [0, 0.2, 1]),
        (np.array([0, 0.2, 1], np.float64), [0, 0.2, 1]),
    ],
    ids=["uint8", "uint16", "float32", "float64"],
)
def test_maps_are_scaled_to_zero_and_one(
    tmp_path: Path, stored: NDArray[Any], expected: list[float]
) -> None:
    zarr.create_array(tmp_path / "m", data=stored.reshape(1, 1, 3), chunks=(1, 1, 3))
    read = read_map(tmp_path / "m")
    assert read.dtype == np.float32
    assert read.ravel().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("bad", [-0.1, 1.1, 255.0, np.nan])
def test_map_outside_zero_and_one_is_refused(tmp_path: Path, bad: float) -> None:
    zarr.create_array(tmp_path / "m", data=np.full((1, 2, 2), bad, np.float32), chunks=(1, 2, 2))
    with pytest.raises(InputError, match=r"must lie in 0\.\.1"):
        read_map(tmp_path / "m")


def test_region_outside_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(InputError, match="leaves the volume"):
        read_labels(tmp_path / "a.tif", Box((0, 0, 0), (3, 4, 4)))


def test_unreadable_files_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"not a tiff at all")
    for name, says in (("a.tif", "cannot be read as a TIFF"), ("b.zarr", "does not exist")):
        with pytest.raises(InputError, match=says):
            read_labels(tmp_path / name)
