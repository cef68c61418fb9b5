"""HDF5 files written by h5py are read as they were meant, and what cannot be is named."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from foreign_volumes import check_parts, flipped, opened, random_volume, refusal, survive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.store.importers.hdf5 import open_hdf5, recognises_hdf5

RAW = random_volume((6, 10, 12), "uint8")


def cremi(path: Path, **options: Any) -> Path:
    """As the CREMI challenge gives its volumes."""
    with h5py.File(path, "w", **options) as file:
        raw = file.create_dataset("volumes/raw", data=RAW, chunks=(2, 5, 6), compression="gzip")
        raw.attrs["resolution"] = [40.0, 4.0, 4.0]
        ids = random_volume((4, 6, 8), "uint64")
        labels = file.create_dataset("volumes/labels/neuron_ids", data=ids, compression="gzip")
        labels.attrs["resolution"] = (40.0, 4.0, 4.0)
        labels.attrs["offset"] = (40.0, 8.0, 12.0)
        file.create_dataset("annotations/locations", data=np.zeros((5, 3)))
    return path


def test_cremi_volumes_come_with_their_resolution_and_offset(tmp_path: Path) -> None:
    path = cremi(tmp_path / "sample.hdf")
    foreign, data = opened(open_hdf5, path, "volumes/raw")
    assert foreign.path == f"{path}:volumes/raw"
    assert foreign.voxel_size_nm == (40.0, 4.0, 4.0)
    assert foreign.translation_nm == (0.0, 0.0, 0.0)
    assert foreign.chunk == (2, 5, 6)
    assert foreign.axes == ""
    assert foreign.files == (str(path),)
    assert foreign.warnings == ()
    assert np.array_equal(data, RAW)
    labels, ids = opened(open_hdf5, path, "/volumes/labels/neuron_ids/")
    assert labels.translation_nm == (40.0, 8.0, 12.0)
    assert np.array_equal(ids, random_volume((4, 6, 8), "uint64"))
    check_parts(open_hdf5, path, RAW, dataset="volumes/raw")


def test_several_datasets_are_listed_and_one_is_taken(tmp_path: Path) -> None:
    path = cremi(tmp_path / "sample.h5")
    both = "volumes/raw (6, 10, 12) uint8, volumes/labels/neuron_ids (4, 6, 8) uint64"
    line = refusal(open_hdf5, path)
    assert f"which dataset is meant? inside are: {both}; give {path}:NAME" in line
    assert f"has no dataset 'raw'; inside are: {both}" in refusal(open_hdf5, path, "raw")
    assert f"is a group, not a dataset; inside are: {both}" in refusal(open_hdf5, path, "volumes")
    assert "has shape (5, 3)" in refusal(open_hdf5, path, "annotations/locations")
    assert "has no dataset 'volumes/raw/x'" in refusal(open_hdf5, path, "volumes/raw/x")
    with h5py.File(path, "a") as file:
        del file["volumes/labels"]
        file["again"] = file["volumes/raw"]
    assert opened(open_hdf5, path)[0].path in (f"{path}:volumes/raw", f"{path}:again")
    assert "no level 1" in refusal(open_hdf5, path, level=1)


def test_a_file_without_volumes_says_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        pass
    assert "holds no dataset at all" in refusal(open_hdf5, path)
    with h5py.File(path, "w") as file:
        file["table"] = np.zeros((3, 2))
        file["empty"] = np.zeros((0, 3, 3))
    line = refusal(open_hdf5, path)
    assert "no dataset of numbers with 3 or more axes" in line
    assert "table (3, 2) float64" in line
    assert "is empty" in refusal(open_hdf5, path, "empty")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"element_size_um": (0.04, 0.008, 0.004)}, (40.0, 8.0, 4.0)),
        ({"voxel_size": (40, 8, 4), "units": ["nm", "nm", "nm"]}, (40.0, 8.0, 4.0)),
        ({"resolution": (0.04, 0.008, 0.004), "unit": "um"}, (40.0, 8.0, 4.0)),
        ({"resolution": (40, 8, 4), "units": [b"nm", b"nm", b"nm"]}, (40.0, 8.0, 4.0)),
        ({"voxel_size_nm": (40, 8, 4)}, (40.0, 8.0, 4.0)),
        ({"resolution": (1, 1, 1)}, "has no unit"),
        ({"resolution": (40, 8)}, "is not 3 numbers"),
        ({"resolution": "fine"}, "is not 3 numbers"),
        ({"resolution": (4, 4, 40), "unit": "pixel"}, "unknown unit"),
        ({"resolution": (-4, 4, 40)}, "not positive"),
        ({}, "no attribute resolution"),
    ],
)
def test_attributes_give_the_voxel_size_or_a_reason(
    tmp_path: Path, attributes: dict[str, Any], expected: Any
) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = RAW
        file["raw"].attrs.update(attributes)
    size = opened(open_hdf5, path)[0].voxel_size_nm
    if isinstance(expected, str):
        assert isinstance(size, str)
        assert expected in size
    else:
        assert size == pytest.approx(expected)


def test_attributes_of_a_group_hold_for_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = RAW
        file["volumes"].attrs["resolution"] = (30.0, 6.0, 6.0)
        file.attrs["resolution"] = (10.0, 10.0, 10.0)
    assert opened(open_hdf5, path)[0].voxel_size_nm == (30.0, 6.0, 6.0)


def test_offset_has_the_units_of_the_voxel_size(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = RAW
        file["raw"].attrs.update(resolution=(0.04, 0.004, 0.004), units="um", offset=(1, 2, 3))
    assert opened(open_hdf5, path)[0].translation_nm == (1000.0, 2000.0, 3000.0)


def test_a_resolution_with_a_number_for_every_axis_goes_with_the_axes(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = random_volume((2, 5, 4, 3), "uint8")
        for dimension, label in zip(file["raw"].dims, "cxyz", strict=True):
            dimension.label = label
        file["raw"].attrs["resolution"] = (1, 4, 5, 40)
    assert opened(open_hdf5, path)[0].voxel_size_nm == (40.0, 5.0, 4.0)


def test_axistags_of_ilastik_and_labels_of_dimensions_name_the_axes(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    tags = {"axes": [{"key": key, "typeFlags": 2, "resolution": 0} for key in "xyzc"]}
    with h5py.File(path, "w") as file:
        file["tagged"] = random_volume((7, 6, 5, 2), "float32")
        file["tagged"].attrs["axistags"] = json.dumps(tags)
        file["tagged"].attrs["resolution"] = (40.0, 4.0, 4.0)
        file["wrong"] = RAW
        file["wrong"].attrs["axistags"] = json.dumps(tags)
        file["torn"] = RAW
        file["torn"].attrs["axistags"] = json.dumps(tags)[:20]
        file["labelled"] = random_volume((2, 3, 4, 5), "uint8")
        for dimension, label in zip(file["labelled"].dims, "czyx", strict=True):
            dimension.label = label
        file["labelled"].attrs["resolution"] = (1.0, 40.0, 8.0, 4.0)
    foreign, data = opened(open_hdf5, path, "tagged")
    assert foreign.axes == "xyzc"
    assert np.array_equal(data, random_volume((7, 6, 5, 2), "float32"))
    assert opened(open_hdf5, path, "wrong")[0].axes == ""
    assert "axistags (x, y, z, c) do not fit" in opened(open_hdf5, path, "wrong")[0].warnings[0]
    assert "axistags (unreadable)" in opened(open_hdf5, path, "torn")[0].warnings[0]
    labelled = opened(open_hdf5, path, "labelled")[0]
    assert (labelled.axes, labelled.voxel_size_nm) == ("czyx", (40.0, 8.0, 4.0))


def test_all_byte_orders_and_number_types_are_read(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    for dtype in (">u2", "<i4", ">f4", "f2", "f8", "?"):
        data = (random_volume((3, 4, 5), "uint8") % 2).astype(dtype)
        with h5py.File(path, "w") as file:
            file["raw"] = data
        foreign, found = opened(open_hdf5, path)
        assert foreign.dtype.isnative
        assert foreign.dtype == found.dtype == np.dtype(dtype).newbyteorder("=")
        assert np.array_equal(found, data)


def test_unchunked_volumes_are_read_by_sections(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = RAW
    assert opened(open_hdf5, path)[0].chunk == (1, 10, 12)
    check_parts(open_hdf5, path, RAW)


def test_voxels_of_other_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "text", data=np.full((2, 2, 2), b"a", object), dtype=h5py.string_dtype()
        )
        file["colour"] = np.zeros((2, 2, 2), [("r", "u1"), ("g", "u1")])
        file["complex"] = np.zeros((2, 2, 2), np.complex64)
    assert "voxels of type object" in refusal(open_hdf5, path, "text")
    assert "has records" in refusal(open_hdf5, path, "colour")
    assert "complex64" in refusal(open_hdf5, path, "complex")


def test_links_are_followed_inside_the_file_only(tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    path = tmp_path / "v.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = RAW
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = RAW
        file["soft"] = h5py.SoftLink("/volumes/raw")
        file["volumes/beside"] = h5py.SoftLink("raw")
        file["dangling"] = h5py.SoftLink("/volumes/gone")
        file["loop"] = h5py.SoftLink("/loop")
        file["outside"] = h5py.ExternalLink("other.h5", "/secret")
        file["by_way"] = h5py.SoftLink("/outside")
        file["nowhere"] = h5py.ExternalLink("gone.h5", "/secret")
        file["volumes/up"] = file["/"]
    assert np.array_equal(opened(open_hdf5, path, "soft")[1], RAW)
    assert np.array_equal(opened(open_hdf5, path, "volumes/beside")[1], RAW)
    assert opened(open_hdf5, path)[0].path == f"{path}:volumes/raw"
    for name in ("dangling", "loop"):
        assert "it is a link that leads nowhere" in refusal(open_hdf5, path, name)
    for name in ("outside", "by_way"):
        line = refusal(open_hdf5, path, name)
        assert "link into another file (other.h5:/secret), which is not followed" in line
    assert "(gone.h5:/secret)" in refusal(open_hdf5, path, "nowhere")


def test_virtual_datasets_name_their_files_and_miss_none(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    layout = h5py.VirtualLayout((2, *RAW.shape), RAW.dtype)
    for i in range(2):
        with h5py.File(tmp_path / f"part{i}.h5", "w") as file:
            file["raw"] = RAW + np.uint8(i)
        layout[i] = h5py.VirtualSource(f"part{i}.h5", "raw", RAW.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("all", layout)
    foreign, data = opened(open_hdf5, path)
    parts = [str(tmp_path / f"part{i}.h5") for i in range(2)]
    assert foreign.files == (str(path), *parts)
    assert foreign.warnings == (f"is a virtual dataset: its voxels come from {', '.join(parts)}",)
    assert np.array_equal(data, [RAW, RAW + np.uint8(1)])
    with h5py.File(parts[1], "w") as file:
        file["other"] = RAW
    assert f"{parts[1]}:raw is not there" in refusal(open_hdf5, path)
    Path(parts[1]).write_bytes(b"no")
    assert f"{parts[1]} cannot be opened" in refusal(open_hdf5, path)
    Path(parts[1]).unlink()
    assert f"{parts[1]} does not exist" in refusal(open_hdf5, path)


def test_voxels_in_a_raw_file_beside_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    RAW.tofile(tmp_path / "raw.bin")
    with h5py.File(path, "w") as file:
        outside = [(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("raw", RAW.shape, RAW.dtype, external=outside)
    assert "its voxels lie in another file" in refusal(open_hdf5, path)


def test_what_was_never_written_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        raw = file.create_dataset("raw", (4, 6, 8), "u1", chunks=(2, 3, 4), fillvalue=7)
        raw[:2] = 1
        file.create_dataset("nothing", (4, 6, 8), "u1", chunks=(2, 3, 4))
        file.create_dataset("unchunked", (4, 6, 8), "u1")
    foreign, data = opened(open_hdf5, path, "raw")
    assert foreign.warnings == ("4 of its 8 chunks were never written and are read as 7",)
    assert np.array_equal(data, np.repeat([1, 1, 7, 7], 48).reshape(4, 6, 8))
    assert "no voxels were ever written" in refusal(open_hdf5, path, "nothing")
    assert "no voxels were ever written" in refusal(open_hdf5, path, "unchunked")


def test_a_filter_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((2, 5, 6))
        plist.set_filter(32004, h5py.h5z.FLAG_OPTIONAL, (0,))
        space = h5py.h5s.create_simple(RAW.shape)
        identifier = h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT8, space, plist)
        h5py.Dataset(identifier)[...] = RAW
    line = refusal(open_hdf5, path)
    assert "the filter lz4 (32004), which is not installed: pip install hdf5plugin" in line


def test_a_damaged_chunk_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = cremi(tmp_path / "v.h5")
    with h5py.File(path) as file:
        chunk = file["volumes/raw"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    assert "cannot read voxels 0:6, 0:10, 0:12: damaged" in refusal(open_hdf5, path, "volumes/raw")


def test_a_chunk_that_cannot_hold_what_it_says_is_never_decoded(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        shape = (64, 64, 64)
        raw = file.create_dataset("raw", shape, "u1", chunks=shape, compression="gzip")
        raw.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(100)))
    assert "stored bytes cannot hold 1 chunks (64, 64, 64)" in refusal(open_hdf5, path)


def test_files_are_recognised_by_name_or_first_bytes(tmp_path: Path) -> None:
    path = cremi(tmp_path / "v.data")
    assert recognises_hdf5(str(path))
    assert recognises_hdf5(str(tmp_path / "gone.H5"))
    assert not recognises_hdf5(str(tmp_path / "gone.data"))
    (tmp_path / "folder.h5").mkdir()
    assert not recognises_hdf5(str(tmp_path / "folder.h5"))
    assert not recognises_hdf5("a\0b")


def test_other_files_and_truncated_ones_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    path.write_bytes(b"not HDF5")
    assert "cannot be opened as HDF5" in refusal(open_hdf5, path)
    content = cremi(path).read_bytes()
    path.write_bytes(content[:-100])
    line = refusal(open_hdf5, path)
    assert line == f"{path}: is truncated: has {len(content) - 100} bytes of {len(content)}"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return cremi(tmp_path_factory.mktemp("hdf5") / "v.h5", libver="latest").read_bytes()


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_truncation_anywhere_is_noticed(
    content: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "v.h5"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert not survive(open_hdf5, path, dataset="volumes/raw")


@given(
    flips=st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=6)
)
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_damaged_file_gives_one_line_or_the_shape_it_says(
    content: bytes, tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path / "v.h5"
    path.write_bytes(flipped(content, flips, 0, len(content)))
    survive(open_hdf5, path, dataset="volumes/raw")
