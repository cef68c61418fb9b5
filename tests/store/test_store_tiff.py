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
from pipeline.store.importers import cutting, import_volume

SHAPE = (7, 40, 50)
STACK = np.random.default_rng(5).integers(0, 256, SHAPE, dtype=np.uint8)
SIZE = (50.0, 4.0, 4.0)


def error_of(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        import_volume(path, path.parent / "out.zarr", **{"voxel_size_nm": SIZE, **options})
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
    volume = import_volume(tmp_path / "a.tif", tmp_path / "a.zarr", voxel_size_nm=SIZE)
    assert volume.dtype == dtype
    assert volume.voxel_size_nm == SIZE
    assert np.array_equal(volume.read(Box((0, 0, 0), SHAPE)), data)


def test_pages_written_one_by_one_are_one_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section in STACK:
            writer.write(section)
    volume = import_volume(tmp_path / "a.tif", tmp_path / "a.zarr", voxel_size_nm=SIZE)
    assert np.array_equal(volume.read(Box((0, 0, 0), SHAPE)), STACK)


def test_image_is_valid_and_has_a_mean_pyramid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "FILE_DEPTHS", (3,))
    monkeypatch.setattr(cutting, "BOX_BYTES", 3 * 200 * 300)
    data = np.full((8, 200, 300), 7, np.uint8)
    data[:, :100] = 9
    tifffile.imwrite(tmp_path / "a.tif", data, compression="deflate")
    seen: list[tuple[int, int]] = []
    import_volume(
        tmp_path / "a.tif",
        tmp_path / "a.zarr",
        voxel_size_nm=SIZE,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(n, 9) for n in range(1, 10)], "3 slabs, and 3 files of either level"
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
    volume = import_volume(tmp_path / "a.tif", tmp_path / "a.zarr")
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
    volume = import_volume(tmp_path / "a.ome.tif", tmp_path / "a.zarr")
    assert volume.voxel_size_nm == pytest.approx((50, 8, 4))


@pytest.mark.parametrize("imagej", [False, True])
def test_missing_voxel_size_asks_for_one(tmp_path: Path, imagej: bool) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=imagej, metadata={"axes": "ZYX"})
    assert "--voxel-size Z,Y,X" in error_of(tmp_path / "a.tif", voxel_size_nm=None)


def test_what_is_no_tiff_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"hello, not a tiff")
    assert "cannot be read as a TIFF" in error_of(tmp_path / "a.tif")
    with pytest.raises(InputError, match="does not exist"):
        import_volume(tmp_path / "none.tif", tmp_path / "o.zarr", voxel_size_nm=SIZE)


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
        (np.zeros((5, 3, 20, 20), np.uint8), {"photometric": "rgb"}, "name them with --axes"),
        (np.zeros((4, 2, 20, 20), np.uint8), {"imagej": True}, "--channel 0 to 1"),
        (np.zeros((7, 20, 20), np.uint8), {"imagej": True}, "--axes zyx"),
        (np.zeros((5, 20, 20), np.complex64), {}, "has dtype complex64"),
    ],
    ids=["rgb stack", "rgb image", "stack of planes", "channels", "channels alone", "complex"],
)
def test_what_is_not_one_grey_stack_is_refused(
    tmp_path: Path, data: Any, options: dict[str, Any], says: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", data, **options)
    assert says in error_of(tmp_path / "a.tif")


def test_a_stack_of_three_sections_is_no_colour_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[:3], photometric="rgb", planarconfig="separate")
    volume = import_volume(tmp_path / "a.tif", tmp_path / "a.zarr", voxel_size_nm=SIZE)
    assert np.array_equal(volume.read(Box((0, 0, 0), (3, 40, 50))), STACK[:3])
    assert "says that its 3 planes are colours; taken as sections" in caplog.text


def test_only_earlier_imports_are_overwritten(tmp_path: Path) -> None:
    source, target = tmp_path / "a.tif", tmp_path / "a.zarr"
    tifffile.imwrite(source, STACK)
    zarr.create_group(target)
    with pytest.raises(OutputError, match="was not imported"):
        import_volume(source, target, voxel_size_nm=SIZE, overwrite=True)
    other = tmp_path / "b.zarr"
    import_volume(source, other, voxel_size_nm=SIZE)
    with pytest.raises(OutputError, match="imported earlier"):
        import_volume(source, other, voxel_size_nm=SIZE)
    tifffile.imwrite(source, STACK[:5])
    assert import_volume(source, other, voxel_size_nm=SIZE, overwrite=True).shape == (5, 40, 50)


def test_a_channel_and_a_time_point_of_a_hyperstack_are_chosen(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 9, (2, 4, 3, 20, 24), dtype=np.uint16)
    for name, options in (("imagej", {"imagej": True}), ("ome", {"ome": True})):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, data, metadata={"axes": "TZCYX"}, **options)
        volume = import_volume(
            path, tmp_path / f"{name}.zarr", channel=2, time=1, voxel_size_nm=SIZE
        )
        assert np.array_equal(volume.read(Box((0, 0, 0), (4, 20, 24))), data[1, :, 2])
        assert "--time 0 to 1" in error_in_a_folder(path, channel=2)


def error_in_a_folder(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        import_volume(path, path.parent / "out.zarr", **{"voxel_size_nm": SIZE, **options})
    return str(caught.value)


def test_a_level_of_an_ome_pyramid_has_larger_voxels(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    fine = np.random.default_rng(2).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    sizes = {
        f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (0.05, 0.004, 0.008), strict=True)
    }
    with tifffile.TiffWriter(path) as writer:
        writer.write(fine, subifds=1, tile=(16, 16), metadata={"axes": "ZYX", **sizes})
        writer.write(fine[:, ::2, ::2], subfiletype=1, tile=(16, 16))
    volume = import_volume(path, tmp_path / "a.zarr", level=1)
    assert np.array_equal(volume.read(Box((0, 0, 0), (3, 32, 48))), fine[:, ::2, ::2])
    assert volume.voxel_size_nm == pytest.approx((50, 8, 16))
    assert volume.translation_nm == pytest.approx((0, 2, 4))
    assert "has levels 0 to 1, not 2" in error_in_a_folder(path, level=2)


def test_an_image_of_a_file_with_several_is_chosen_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(np.zeros((2, 8, 8), np.uint8), metadata={"axes": "ZYX"})
        writer.write(STACK, metadata={"axes": "ZYX"})
    volume = import_volume(f"{path}:1", tmp_path / "a.zarr", voxel_size_nm=SIZE)
    assert np.array_equal(volume.read(Box((0, 0, 0), SHAPE)), STACK)
    for message in (error_in_a_folder(path), error_in_a_folder(Path(f"{path}:2"))):
        assert "0 (2 x 8 x 8 uint8), 1 (7 x 40 x 50 uint8)" in message


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (16, 32), "compression": "deflate"},
        {"rowsperstrip": 7, "compression": "lzw"},
        {"rowsperstrip": 7, "predictor": True, "compression": "zstd"},
        {"compression": "jpeg"},
        {"volumetric": True, "tile": (2, 16, 16), "compression": "deflate"},
        {"photometric": "minisblack", "planarconfig": "separate", "compression": "deflate"},
    ],
    ids=str,
)
def test_a_region_is_decoded_as_tifffile_decodes_it(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, **options)
    expected = tifffile.imread(path)
    roi = Box((2, 9, 17), (6, 33, 50))
    volume = import_volume(path, tmp_path / "a.zarr", voxel_size_nm=SIZE, roi=roi)
    assert volume.translation_nm == (100, 36, 68)
    assert np.array_equal(volume.read(Box((0, 0, 0), roi.shape)), expected[roi.slices])
