"""Reading raw volumes: every layout gives the same voxels; bad input is one clear line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from pipeline.contract import Box, VolumeInfo
from pipeline.errors import InputError
from pipeline.store import open_volume

SIZE = (40.0, 8.0, 8.0)
WHOLE = Box((0, 0, 0), (6, 20, 24))


def snapshot(path: Path) -> dict[str, tuple[bytes, int]]:
    files = (f for f in path.rglob("*") if f.is_file())
    return {str(f): (f.read_bytes(), f.stat().st_mtime_ns) for f in files}


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_volume(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_image_gives_voxels_and_voxel_size_in_nm(
    write_image: Callable[..., Path], raw: NDArray[Any], version: str
) -> None:
    volume = open_volume(write_image(raw, version))
    assert np.array_equal(volume.read(WHOLE), raw)
    assert volume.voxel_size_nm == pytest.approx(SIZE)
    assert volume.info == VolumeInfo((6, 20, 24), volume.voxel_size_nm, "uint8")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_coarser_level_has_its_own_voxel_size_and_translation(
    write_image: Callable[..., Path], raw: NDArray[Any], version: str
) -> None:
    volume = open_volume(write_image(raw, version), level=1)
    assert volume.shape == (6, 10, 12)
    assert volume.level == 1
    assert volume.voxel_size_nm == pytest.approx((40, 16, 16))
    assert volume.translation_nm == pytest.approx((0, 4, 4))
    assert np.array_equal(volume.read(Box((1, 2, 3), (4, 9, 12))), raw[1:4, ::2, ::2][:, 2:9, 3:12])


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ("nanometer", (40, 8, 8)),
        ("angstrom", (400, 80, 80)),
        ("millimeter", (4e-5, 8e-6, 8e-6)),
        ("meter", (4e-8, 8e-9, 8e-9)),
        (None, (40, 8, 8)),
    ],
)
def test_units_become_nanometres(
    write_image: Callable[..., Path], raw: NDArray[Any], unit: str | None, scale: Any
) -> None:
    assert open_volume(write_image(raw, unit=unit, scale=scale)).voxel_size_nm == pytest.approx(
        SIZE
    )


@pytest.mark.parametrize(
    ("unit", "scale", "says"),
    [
        (None, (1, 1, 1), "no unit"),
        (None, (0.04, 0.008, 0.008), "no unit"),
        ("parsec", (40, 8, 8), "parsec"),
        ("nanometer", (40, 0, 8), "not positive"),
    ],
)
def test_unusable_voxel_size_asks_for_one(
    write_image: Callable[..., Path], raw: NDArray[Any], unit: str | None, scale: Any, says: str
) -> None:
    path = write_image(raw, unit=unit, scale=scale)
    text = error_of(path)
    assert says in text
    assert "--voxel-size Z,Y,X" in text
    assert open_volume(path, voxel_size_nm=(30, 4, 4)).voxel_size_nm == (30, 4, 4)


def test_malformed_metadata_is_usable_with_a_given_voxel_size(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    path = write_image(raw)
    content = json.loads((path / "zarr.json").read_text())
    del content["attributes"]["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    (path / "zarr.json").write_text(json.dumps(content))
    assert "coordinateTransformations" in error_of(path)
    volume = open_volume(path, voxel_size_nm=SIZE)
    assert np.array_equal(volume.read(WHOLE), raw)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", "<f4", ">f4"])
def test_bare_array_of_any_byte_order_reads_native(
    tmp_path: Path, raw: NDArray[Any], zarr_format: Any, dtype: str
) -> None:
    data = raw.astype(dtype) * 3
    array = zarr.create_array(
        tmp_path / "a", shape=raw.shape, dtype=dtype, chunks=(4, 8, 8), zarr_format=zarr_format
    )
    array[:] = data
    volume = open_volume(tmp_path / "a", voxel_size_nm=SIZE)
    read = volume.read(WHOLE)
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert read.dtype.isnative
    assert volume.dtype == read.dtype.name
    assert np.array_equal(read, data)


def test_array_inside_an_image_takes_the_voxel_size_of_its_level(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    volume = open_volume(write_image(raw) / "s1")
    assert volume.level == 1
    assert volume.voxel_size_nm == pytest.approx((40, 16, 16))


def test_leading_axes_of_length_one_are_squeezed(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    volume = open_volume(write_image(raw[None, None], axes="tczyx"))
    assert volume.shape == raw.shape
    assert np.array_equal(volume.read(WHOLE), raw)


def test_several_channels_ask_which(write_image: Callable[..., Path], raw: NDArray[Any]) -> None:
    path = write_image(np.stack([raw, raw]), axes="czyx")
    assert "which time point or channel" in error_of(path)


def test_region_shifts_voxels_and_translation(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    path = write_image(raw)
    volume = open_volume(path, roi=Box((1, 5, 6), (5, 15, 20)))
    assert volume.shape == (4, 10, 14)
    assert volume.translation_nm == pytest.approx((40, 40, 48))
    assert np.array_equal(volume.read(Box((0, 1, 2), (4, 10, 14))), raw[1:5, 6:15, 8:20])
    with pytest.raises(AssertionError, match="leaves the volume"):
        volume.read(Box((0, 0, 0), (5, 10, 14)))


@pytest.mark.parametrize("end", [(7, 20, 24), (0, 20, 24)])
def test_region_outside_or_empty_is_refused(
    write_image: Callable[..., Path], raw: NDArray[Any], end: Any
) -> None:
    assert "region" in error_of(write_image(raw), roi=Box((0, 0, 0), end))


def test_missing_level_names_those_there_are(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    assert "levels 0 to 1, not 2" in error_of(write_image(raw), level=2)


def test_missing_path_and_other_files_are_named(tmp_path: Path) -> None:
    assert "does not exist" in error_of(tmp_path / "none.zarr")
    assert "is not a zarr" in error_of(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    assert "import" in error_of(tmp_path / "a.tif")
    (tmp_path / "a.zarr").write_bytes(b"")
    assert "is not a zarr" in error_of(tmp_path / "a.zarr")


def test_group_without_image_suggests_what_is_inside(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "g")
    assert "no array is inside" in error_of(tmp_path / "g")
    group.create_array("volumes/raw", shape=(4, 4, 4), dtype="u1", chunks=(4, 4, 4))
    assert str(tmp_path / "g" / "volumes" / "raw") in error_of(tmp_path / "g")


@pytest.mark.parametrize(
    ("shape", "dtype", "says"),
    [
        ((5, 5), "u1", "has 2 axes"),
        ((2, 5, 5, 5), "u1", "which time point or channel"),
        ((0, 5, 5), "u1", "is empty"),
        ((5, 5, 5), "i4", "has dtype int32; convert it to one of float32, uint16, uint8"),
        ((5, 5, 5), "f8", "has dtype float64"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path: Path, shape: Any, dtype: str, says: str) -> None:
    zarr.create_array(tmp_path / "a", shape=shape, dtype=dtype, chunks=tuple(5 for _ in shape))
    assert says in error_of(tmp_path / "a", voxel_size_nm=SIZE)


@pytest.mark.parametrize("size", [(1, 2), (0, 4, 4), (float("nan"), 4, 4)])
def test_impossible_given_voxel_size_is_refused(
    write_image: Callable[..., Path], raw: NDArray[Any], size: Any
) -> None:
    assert "--voxel-size" in error_of(write_image(raw), voxel_size_nm=size)


@pytest.mark.parametrize("content", ["{bad", "[]", "{}", ""])
@pytest.mark.parametrize("where", ["zarr.json", "s0/zarr.json"])
def test_damaged_metadata_is_named(
    write_image: Callable[..., Path], raw: NDArray[Any], content: str, where: str
) -> None:
    path = write_image(raw)
    (path / where).write_text(content)
    assert str(path / where) in error_of(path)


def test_metadata_that_zarr_rejects_is_one_line(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    path = write_image(raw)
    content = json.loads((path / "s0" / "zarr.json").read_text())
    content["codecs"] = [{"name": "no_such_codec"}]
    (path / "s0" / "zarr.json").write_text(json.dumps(content))
    assert str(path / "s0") in error_of(path)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_damaged_chunk_names_array_and_box(tmp_path: Path, raw: NDArray[Any], damage: str) -> None:
    path = tmp_path / "a"
    codecs = [ZstdCodec(), Crc32cCodec()]
    array = zarr.create_array(
        path, shape=raw.shape, dtype="u1", chunks=(3, 10, 12), compressors=codecs
    )
    array[:] = raw
    chunk = path / "c" / "1" / "0" / "1"
    data = bytearray(chunk.read_bytes())
    data[50] ^= 4
    chunk.write_bytes(data if damage == "flip" else data[:40])
    volume = open_volume(path, voxel_size_nm=SIZE)
    assert np.array_equal(volume.read(Box((0, 0, 0), (3, 20, 24))), raw[:3])
    pattern = f"{re.escape(str(path))}: cannot read voxels z 3:6 y 0:20 x 0:24"
    with pytest.raises(InputError, match=pattern):
        volume.read(Box((3, 0, 0), (6, 20, 24)))


def test_damaged_blosc_chunk_of_format_2_is_an_input_error(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    path = write_image(raw, "0.4")
    chunk = next(f for f in (path / "s0").rglob("*") if f.is_file() and not f.name.startswith("."))
    chunk.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="damaged"):
        open_volume(path).read(WHOLE)


def test_fingerprint_changes_with_chunk_region_and_voxel_size_only(
    write_image: Callable[..., Path], raw: NDArray[Any]
) -> None:
    path = write_image(raw)
    before = open_volume(path).fingerprint()
    assert open_volume(path).fingerprint() == before
    assert open_volume(path, roi=WHOLE).fingerprint() == before
    assert open_volume(path, roi=Box((0, 0, 0), (3, 20, 24))).fingerprint() != before
    assert open_volume(path, voxel_size_nm=(30, 8, 8)).fingerprint() != before
    assert open_volume(path, level=1).fingerprint() != before
    other_level = next((path / "s1" / "c").rglob("[0-9]/[0-9]/[0-9]"))
    os.utime(other_level, ns=(1, 1))
    assert open_volume(path).fingerprint() == before
    chunk = path / "s0" / "c" / "0" / "0" / "0"
    status = chunk.stat()
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = open_volume(path).fingerprint()
    assert touched != before
    chunk.unlink()
    assert open_volume(path).fingerprint() not in (before, touched)


def test_empty_chunk_file_is_refused(write_image: Callable[..., Path], raw: NDArray[Any]) -> None:
    path = write_image(raw)
    (path / "s0" / "c" / "0" / "1" / "0").write_bytes(b"")
    with pytest.raises(InputError, match="chunk is empty"):
        open_volume(path).fingerprint()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_input_is_never_modified(
    write_image: Callable[..., Path], raw: NDArray[Any], version: str
) -> None:
    path = write_image(raw, version)
    before = snapshot(path)
    volume = open_volume(path)
    data = volume.read(WHOLE)
    data[:] = 0
    volume.fingerprint()
    with pytest.raises(ValueError, match=r"read.?only"):
        volume.source.array[:] = 1
    assert snapshot(path) == before
