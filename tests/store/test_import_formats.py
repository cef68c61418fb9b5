"""Any volume through any format comes back voxel for voxel; damage is named."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from import_sources import SIZE, WRITERS, write_npy, write_png_folder, write_tiff
from ome_zarr_models.v05.image_label import ImageLabel
from PIL import Image

from pipeline.contract import Box
from pipeline.errors import ConfigError, InputError
from pipeline.store import open_labels, open_volume
from pipeline.store.importers import FORMATS, cutting, import_volume, open_foreign
from pipeline.store.importers.locating import locate, split_dataset
from pipeline.store.pyramid import downsample_mode

SHAPES = st.tuples(st.integers(1, 6), st.integers(2, 40), st.integers(2, 40))
STACK = np.random.default_rng(7).integers(0, 256, (4, 30, 20), dtype=np.uint8)


def imported(source: Path | str, target: Path, **options: Any) -> Any:
    volume = import_volume(source, target, **{"voxel_size_nm": SIZE, **options})
    return volume.read(Box((0, 0, 0), volume.shape))


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@settings(max_examples=8, deadline=None)
@given(SHAPES, st.sampled_from(["uint8", "uint16"]), st.data())
def test_any_stack_comes_back_bit_for_bit(
    writer: Any, shape: tuple[int, int, int], dtype: str, data: st.DataObject
) -> None:
    seed = data.draw(st.integers(0, 1000))
    stack = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, True)
    begin = [data.draw(st.integers(0, n - 1)) for n in shape]
    z, y, x = (
        slice(b, data.draw(st.integers(b + 1, n))) for b, n in zip(begin, shape, strict=True)
    )
    roi = Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(cutting, "FILE_DEPTHS", (3,))
        patched.setattr(cutting, "FILE_SIDES", (24,))
        patched.setattr(cutting, "BOX_BYTES", 3 * 24 * 24 * 2)
        source = writer(Path(name, "source"), stack)
        assert np.array_equal(imported(source, Path(name, "a.zarr"), axes="zyx"), stack)
        assert np.array_equal(
            imported(source, Path(name, "b.zarr"), axes="zyx", roi=roi), stack[z, y, x]
        )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [">u2", "<f4", "|i1", "?", "<f8", ">i2"])
def test_numpy_files_of_any_order_come_back(
    tmp_path: Path, order: Any, packed: bool, dtype: str
) -> None:
    data = np.asarray(STACK - 100 if dtype == "|i1" else STACK, order=order).astype(dtype)
    path = tmp_path / ("a.npz" if packed else "a.npy")
    np.savez_compressed(path, raw=data) if packed else np.save(path, data)
    shift = {"|i1": 128, ">i2": 32768}.get(dtype, 0)
    expected = data.astype(np.float64) + shift
    assert np.array_equal(imported(path, tmp_path / "a.zarr"), expected)
    found = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["neuron_pipeline"]
    assert found.get("value_offset", 0) == shift


def test_arrays_of_an_npz_file_are_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, raw=STACK, truth=STACK[:2])
    assert np.array_equal(imported(f"{path}:truth", tmp_path / "a.zarr"), STACK[:2])
    assert np.array_equal(imported(path, tmp_path / "b.zarr", dataset="raw"), STACK)
    for source in (path, f"{path}:other"):
        with pytest.raises(InputError, match="raw, truth"):
            imported(source, tmp_path / "c.zarr")
    with pytest.raises(ConfigError, match="give one of them"):
        imported(f"{path}:truth", tmp_path / "c.zarr", dataset="raw")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([STACK, None], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="objects"):
        imported(tmp_path / "a.npy", tmp_path / "a.zarr")


def test_labels_become_a_label_image_with_a_pyramid_by_mode(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 3, (4, 200, 150)).astype(np.int32)
    labels[labels == 2] = 2**31 - 1
    volume = import_volume(
        write_npy(tmp_path / "a", labels), tmp_path / "a.zarr", voxel_size_nm=SIZE, labels=True
    )
    assert volume.dtype == "uint64"
    read = open_labels(tmp_path / "a.zarr")
    assert np.array_equal(read.labels, labels)
    assert read.voxel_size_nm == SIZE
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert ImageLabel.from_zarr(group).attributes.ome.image_label is not None
    coarse = np.asarray(group["1"])
    assert np.array_equal(coarse, downsample_mode(labels.astype(np.uint64), (1, 2, 2)))
    with pytest.raises(InputError):
        open_volume(tmp_path / "a.zarr")


def test_sections_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "sections"
    folder.mkdir()
    for number in (10, 9, 2, 1, 8, 3, 4, 5, 6, 7):
        Image.fromarray(np.full((5, 6), number, np.uint8)).save(folder / f"z{number}.png")
    found = imported(folder, tmp_path / "a.zarr")
    assert found[:, 0, 0].tolist() == list(range(1, 11))


def folder_with(tmp_path: Path, change: Any) -> Path:
    folder = write_png_folder(tmp_path / "sections", STACK)
    change(folder)
    return folder


def save(folder: Path, name: str, data: Any) -> None:
    Image.fromarray(np.asarray(data)).save(folder / name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: save(f, "section2.png", STACK[0, :20]), "section2.png: has shape (20, 20)"),
        (lambda f: save(f, "section2.png", STACK[0].astype(np.uint16)), "(30, 20) uint16"),
        (lambda f: save(f, "section4.bmp", STACK[0]), "holds 1 BMP and 4 PNG files"),
        (lambda f: save(f, "section2.png", np.zeros((30, 20, 3), np.uint8)), "section2.png: has"),
        (lambda f: (f / "section1.png").write_bytes(b""), "section1.png: cannot be read as an"),
        (lambda f: (f / "section3.png").write_bytes(b"hello"), "section3.png: cannot be read"),
        (lambda f: cut_file(f / "section2.png", 0.8), "section2.png: is damaged or truncated"),
        (lambda f: shutil.copy(f / "section2.png", f / "section02.png"), "have the same number"),
        (lambda f: shutil.copy(f / "section2.png", f / "section2_mask.png"), "the same number"),
        (lambda f: (f / "section4.png").mkdir(), "section4.png: is no file"),
        (lambda f: os.mkfifo(f / "section4.png"), "section4.png: is no file"),
        (lambda f: palette(f / "section1.png"), "section1.png: has a colour palette"),
        (lambda f: write_png(f / "section1.png", 16, 2), "has 16 bits for each colour"),
        (lambda f: write_png(f / "section1.png", 4, 0), "has 4 bits for each pixel"),
        (lambda f: (f / "section3.png").unlink() or (f / "section3.png").symlink_to("gone"),
         "section3.png: cannot be read"),
    ],
    ids=["size", "dtype", "mixed", "colour", "empty", "text", "cut off", "twice", "mask", "folder",
         "pipe", "palette", "16 bit colours", "4 bits", "broken link"],
)  # fmt: skip
def test_a_folder_that_is_no_stack_names_the_file(tmp_path: Path, change: Any, says: str) -> None:
    folder = folder_with(tmp_path, change)
    with pytest.raises(InputError) as caught:
        imported(folder, tmp_path / "a.zarr")
    assert says in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sections"]


def cut_file(path: Path, part: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def write_png(path: Path, bits: int, colour_type: int) -> None:
    """One black pixel, of a kind that Pillow does not write."""
    header = struct.pack(">IIBBBBB", 1, 1, bits, colour_type, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(7))), (b"IEND", b"")
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


def palette(path: Path) -> None:
    Image.fromarray(STACK[0]).convert("RGB").quantize(4).save(path)


def test_colours_are_a_choice_of_channels(tmp_path: Path) -> None:
    folder = write_png_folder(tmp_path / "rgb", np.stack([STACK, STACK // 2, STACK // 3], axis=3))
    with pytest.raises(InputError, match="--channel 0 to 2"):
        imported(folder, tmp_path / "a.zarr")
    assert np.array_equal(imported(folder, tmp_path / "a.zarr", channel=1), STACK // 2)


def test_what_is_odd_about_a_folder_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_png_folder(tmp_path / "sections", STACK)
    (folder / "section1.png").unlink()
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).write_text("x")
    found = imported(folder, tmp_path / "a.zarr")
    assert np.array_equal(found, STACK[[0, 2, 3]])
    assert "no section 1;" in caplog.text
    assert "not used: notes.txt\n" in caplog.text


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    ("kind", "says"), [("miniswhite", "0 is white"), ("palette", "a colour palette")]
)
def test_values_that_a_viewer_shows_otherwise_are_told(
    tmp_path: Path, kind: str, says: str, alone: bool
) -> None:
    colours = {"colormap": np.zeros((3, 256), np.uint16)} if kind == "palette" else {}
    for number in (1, 2):
        tifffile.imwrite(tmp_path / f"{number}.tif", STACK[0], photometric=kind, **colours)
    with open_foreign(str(tmp_path / "1.tif" if alone else tmp_path)) as foreign:
        (told,) = foreign.warnings
    assert "1.tif: " in told
    assert says in told


def test_numbers_far_apart_are_counted_without_going_through_them(
    tmp_path: Path,
) -> None:
    for number in (0, 1, 10**15):
        save(tmp_path, f"s{number}.png", STACK[0])
    with open_foreign(str(tmp_path)) as foreign:
        (told,) = foreign.warnings
    assert "no section 2, 3, 4, 5, 6 and 999999999999993 more;" in told


def test_names_without_one_number_are_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path, name, STACK[0])
    with open_foreign(str(tmp_path)) as foreign:
        (told,) = foreign.warnings
    assert "no single number in the names gives the order" in told


def test_one_image_and_other_kinds_are_sections(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp"):
        save(tmp_path, name, STACK[0])
        assert np.array_equal(imported(tmp_path / name, tmp_path / f"{name}.zarr"), STACK[:1])
    save(tmp_path, "a.jpg", STACK[0])
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert np.array_equal(imported(tmp_path / "a.jpg", tmp_path / "c.zarr")[0], expected)


def written(kind: str, folder: Path) -> Path:
    tiny = STACK[:2, :6, :5]
    if kind == "png":
        save(folder, "a.png", tiny[0])
        return folder / "a.png"
    if kind == "npy":
        return write_npy(folder / "a", tiny)
    if kind == "npz":
        return WRITERS["npz"](folder / "a", tiny)
    if kind == "tiff":
        return write_tiff(folder / "a", tiny)
    options: dict[str, Any] = {
        "raw tiff": {"photometric": "minisblack"},
        "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
        "bigtiff": {"bigtiff": True, "compression": "lzw", "photometric": "minisblack"},
    }
    tifffile.imwrite(folder / "a.tif", tiny, **options[kind])
    return folder / "a.tif"


DAMAGED = ["png", "npy", "npz", "tiff", "raw tiff", "imagej", "bigtiff"]


@pytest.mark.parametrize("kind", DAMAGED)
def test_cut_off_at_any_byte_it_is_refused_or_right(tmp_path: Path, kind: str) -> None:
    path = written(kind, tmp_path)
    data = path.read_bytes()
    expected = imported(path, tmp_path / "whole.zarr")
    step = max(1, len(data) // 120)
    unnamed = 0
    for length in [*range(0, len(data), step), *range(len(data) - 20, len(data))]:
        path.write_bytes(data[:length])
        try:
            found = imported(path, tmp_path / "a.zarr", overwrite=True)
        except InputError as error:
            unnamed += str(path) not in str(error)
        else:
            assert np.array_equal(found, expected), f"cut after {length} of {len(data)} bytes"
    assert unnamed == 0


@pytest.mark.parametrize("kind", DAMAGED)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_anywhere_it_is_refused_or_read(kind: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = written(kind, Path(name))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        with suppress(InputError):
            imported(path, Path(name, "a.zarr"), axes="zyx")


@pytest.mark.parametrize(
    ("text", "exists", "expected"),
    [
        ("a.h5:volumes/raw", ["a.h5"], ("a.h5", "volumes/raw")),
        ("a:b.h5:raw", ["a:b.h5"], ("a:b.h5", "raw")),
        ("a:b.h5", ["a:b.h5"], ("a:b.h5", None)),
        ("a.h5:x:y", ["a.h5"], ("a.h5", "x:y")),
        ("a.h5:", ["a.h5"], ("a.h5:", None)),
        ("a.h5:raw", [], ("a.h5:raw", None)),
        ("C:\\data\\a.h5:raw", ["C:\\data\\a.h5"], ("C:\\data\\a.h5", "raw")),
        ("s3://bucket/a:b", [], ("s3://bucket/a:b", None)),
    ],
)  # fmt: skip
def test_a_dataset_follows_a_path_that_exists(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    exists: list[str],
    expected: tuple[str, str | None],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in exists:
        (tmp_path / name).touch()
    assert split_dataset(text) == expected


def test_what_no_format_knows_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("hello")
    with pytest.raises(InputError) as caught:
        locate(str(tmp_path / "a.xyz"))
    assert all(one.name in str(caught.value) for one in FORMATS)
    zarr.create_group(tmp_path / "a.ome")
    with pytest.raises(InputError, match="is a zarr already"):
        locate(str(tmp_path / "a.ome"))
    with pytest.raises(InputError, match="does not exist"):
        locate(str(tmp_path / "gone.tif"))
