"""TIFF import: every way to lay out a stack gives the same image; damage is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models.v05 import Image

from pipeline.contract import Box
from pipeline.errors import InputError, OutputError
from pipeline.store import open_volume
from pipeline.store.importers import IMPORTERS, import_tiff, tiff

SHAPE = (7, 40, 50)
STACK = np.random.default_rng(5).integers(0, 256, SHAPE, dtype=np.uint8)
SIZE = (50.0, 4.0, 4.0)


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        import_tiff(path, path.parent / "out.zarr", **{"voxel_size_nm": SIZE, **options})
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name], "nothing half-written"
    return str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "deflate"},
        {"compression": "lzw", "predictor": True},
        {"tile": (16, 16), "compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"metadata": {"truncate": True}},
        {"volumetric": True, "tile": (16, 16, 16), "compression": "deflate"},
        {"photometric": "minisblack", "planarconfig": "separate", "compression": "deflate"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"ome": True, "metadata": {"axes": "ZYX"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_layout_gives_the_same_voxels(
    tmp_path: Path, options: dict[str, Any], dtype: str
) -> None:
    data = STACK.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    volume = import_tiff(tmp_path / "a.tif", tmp_path / "a.zarr", voxel_size_nm=SIZE)
    assert volume.dtype == dtype
    assert volume.voxel_size_nm == SIZE
    assert np.array_equal(volume.read(Box((0, 0, 0), SHAPE)), data)


def test_pages_written_one_by_one_are_one_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section in STACK:
            writer.write(section)
    volume = import_tiff(tmp_path / "a.tif", tmp_path / "a.zarr", voxel_size_nm=SIZE)
    assert np.array_equal(volume.read(Box((0, 0, 0), SHAPE)), STACK)


def test_image_is_valid_and_has_a_mean_pyramid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff, "SLAB_BYTES", 3 * 200 * 300)
    data = np.full((8, 200, 300), 7, np.uint8)
    data[:, :100] = 9
    tifffile.imwrite(tmp_path / "a.tif", data, compression="deflate")
    seen: list[tuple[int, int]] = []
    import_tiff(
        tmp_path / "a.tif",
        tmp_path / "a.zarr",
        voxel_size_nm=SIZE,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(3, 8), (6, 8), (8, 8)]
    image = Image.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    assert len(image.datasets[0]) == 3
    coarse = open_volume(tmp_path / "a.zarr", level=2)
    assert coarse.voxel_size_nm == (50, 16, 16)
    expected = data[:, ::4, ::4]
    assert np.array_equal(coarse.read(Box((0, 0, 0), expected.shape)), expected)


def test_imagej_voxel_size_is_used(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": 0.05, "unit": "um"}
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, imagej=True, metadata=metadata, resolution=(250, 125)
    )
    volume = import_tiff(tmp_path / "a.tif", tmp_path / "a.zarr")
    assert volume.voxel_size_nm == pytest.approx((50, 8, 4))


def test_ome_voxel_size_is_used_with_its_units(tmp_path: Path) -> None:
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.004,
        "PhysicalSizeY": 0.008,
        "PhysicalSizeZ": 50,
        "PhysicalSizeZUnit": "nm",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=metadata)
    volume = import_tiff(tmp_path / "a.ome.tif", tmp_path / "a.zarr")
    assert volume.voxel_size_nm == pytest.approx((50, 8, 4))


@pytest.mark.parametrize("imagej", [False, True])
def test_missing_voxel_size_asks_for_one(tmp_path: Path, imagej: bool) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=imagej)
    assert "--voxel-size Z,Y,X" in error_of(tmp_path / "a.tif", voxel_size_nm=None)


def test_what_is_no_tiff_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"hello, not a tiff")
    assert "cannot be read as a TIFF" in error_of(tmp_path / "a.tif")
    with pytest.raises(InputError, match="does not exist"):
        import_tiff(tmp_path / "none.tif", tmp_path / "o.zarr", voxel_size_nm=SIZE)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "deflate"}, {"imagej": True}, {"bigtiff": True}], ids=str
)
def test_truncated_file_is_refused(tmp_path: Path, options: dict[str, Any], part: float) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert str(path) in error_of(path)


def test_damaged_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, compression="deflate")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[3].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    assert "page 4 is damaged" in error_of(path)


def test_page_of_another_size_or_dtype_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for odd in (STACK[0, :20], STACK[0].astype(np.uint16)):
        with tifffile.TiffWriter(path) as writer:
            writer.write(STACK[0])
            writer.write(STACK[1])
            writer.write(odd)
        assert "page 3 has shape" in error_of(path)


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        (np.zeros((4, 20, 20, 3), np.uint8), {"photometric": "rgb"}, "one grey stack"),
        (np.zeros((20, 20, 3), np.uint8), {"photometric": "rgb"}, "one grey stack"),
        (np.zeros((4, 2, 20, 20), np.uint8), {"imagej": True}, "one channel"),
        (np.zeros((4, 20, 20), np.float64), {}, "has dtype float64"),
    ],
    ids=["rgb stack", "rgb image", "channels", "float64"],
)
def test_what_is_not_one_grey_stack_is_refused(
    tmp_path: Path, data: Any, options: dict[str, Any], says: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    assert says in error_of(tmp_path / "a.tif")


def test_only_earlier_imports_are_overwritten(tmp_path: Path) -> None:
    source, target = tmp_path / "a.tif", tmp_path / "a.zarr"
    tifffile.imwrite(source, STACK)
    zarr.create_group(target)
    with pytest.raises(OutputError, match="was not imported"):
        import_tiff(source, target, voxel_size_nm=SIZE, overwrite=True)
    other = tmp_path / "b.zarr"
    import_tiff(source, other, voxel_size_nm=SIZE)
    with pytest.raises(OutputError, match="imported earlier"):
        import_tiff(source, other, voxel_size_nm=SIZE)
    tifffile.imwrite(source, STACK[:3])
    assert import_tiff(source, other, voxel_size_nm=SIZE, overwrite=True).shape == (3, 40, 50)


def test_both_endings_are_registered() -> None:
    assert IMPORTERS[".tif"] is import_tiff
    assert IMPORTERS[".tiff"] is import_tiff
