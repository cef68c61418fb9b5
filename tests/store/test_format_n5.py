"""N5 containers written by tensorstore are read as they were meant, and damaged blocks named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from foreign_volumes import check_parts, flipped, opened, random_volume, refusal, survive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.store.importers import tensorstores
from pipeline.store.importers.n5 import open_n5, recognises_n5

XYZ = random_volume((12, 10, 7), "uint16")


def write(
    path: Path,
    array: NDArray[Any] = XYZ,
    block: tuple[int, ...] = (4, 4, 3),
    compression: str = "gzip",
    **attributes: Any,
) -> Path:
    """An array in N5's order of axes."""
    store = tensorstore.open(
        {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": f"{path}/"},
            "metadata": {
                "dimensions": list(array.shape),
                "blockSize": list(block),
                "dataType": array.dtype.name,
                "compression": {"type": compression},
            },
        },
        create=True,
    ).result()
    store[...] = array
    describe(path, **attributes)
    return path


def describe(path: Path, **attributes: Any) -> None:
    path.mkdir(parents=True, exist_ok=True)
    file = path / "attributes.json"
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**before, **attributes}))


@pytest.fixture
def container(tmp_path: Path) -> Path:
    path = tmp_path / "v.n5"
    describe(path, n5="2.0.0")
    write(path / "volumes" / "raw", resolution=[4, 5, 40], offset=[8, 10, 80])
    return path


def test_axes_are_turned_to_zyx(container: Path) -> None:
    assert recognises_n5(str(container))
    foreign, data = opened(open_n5, container, "volumes/raw")
    assert foreign.path == f"{container}:volumes/raw"
    assert (foreign.axes, foreign.chunk) == ("zyx", (3, 4, 4))
    assert foreign.voxel_size_nm == (40.0, 5.0, 4.0)
    assert foreign.translation_nm == (80.0, 10.0, 8.0)
    assert foreign.facts["voxel size"] == "attribute resolution was read in N5's order x, y, z"
    assert len(foreign.files) == 1 + 3 * 3 * 3
    assert np.array_equal(data, XYZ.transpose())
    check_parts(open_n5, container, XYZ.transpose(), dataset="volumes/raw")


def test_the_only_dataset_is_taken_and_several_are_listed(container: Path) -> None:
    assert np.array_equal(opened(open_n5, container)[1], XYZ.transpose())
    assert np.array_equal(opened(open_n5, container / "volumes" / "raw")[1], XYZ.transpose())
    write(container / "volumes" / "ids", random_volume((5, 4, 3), "uint64"))
    write(container / "list", random_volume((9,), "uint8"), (9,))
    inside = "inside are: volumes/ids (3, 4, 5) uint64, volumes/raw (7, 10, 12) uint16"
    line = refusal(open_n5, container)
    assert f"which dataset is meant? {inside}; give {container}:NAME" in line
    assert f"has no dataset 'raw'; {inside}" in refusal(open_n5, container, "raw")
    assert f"'volumes' is a group, not a dataset; {inside}" in refusal(
        open_n5, container, "volumes"
    )
    assert "no level 1" in refusal(open_n5, container, "volumes/raw", 1)


def test_an_empty_container_says_so(tmp_path: Path) -> None:
    describe(tmp_path / "v.n5", n5="2.0.0")
    assert "holds no dataset at all" in refusal(open_n5, tmp_path / "v.n5")
    assert "is no folder" in refusal(open_n5, tmp_path / "gone.n5")
    assert not recognises_n5(str(tmp_path / "gone.n5"))


@pytest.mark.parametrize("compression", ["raw", "bzip2", "xz", "zstd", "blosc"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "uint64"])
def test_every_compression_and_number_type_comes_back(
    tmp_path: Path, compression: str, dtype: str
) -> None:
    xyz = random_volume((7, 6, 5), dtype)
    options = {"cname": "lz4", "clevel": 3, "shuffle": 1} if compression == "blosc" else {}
    path = tmp_path / "v.n5"
    store = {"driver": "file", "path": f"{path}/"}
    metadata = {
        "dimensions": [7, 6, 5],
        "blockSize": [4, 4, 4],
        "dataType": dtype,
        "compression": {"type": compression, **options},
    }
    spec = {"driver": "n5", "kvstore": store, "metadata": metadata}
    tensorstore.open(spec, create=True).result()[...] = xyz
    foreign, data = opened(open_n5, path)
    assert foreign.dtype == data.dtype == np.dtype(dtype)
    assert foreign.facts["compression"] == compression
    assert np.array_equal(data, xyz.transpose())


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}}, (40, 5, 4)),
        ({"pixelResolution": {"dimensions": [0.004, 0.005, 0.04], "unit": "um"}}, (40, 5, 4)),
        ({"pixelResolution": [4, 5, 40]}, (40, 5, 4)),
        ({"resolution": [0.004, 0.005, 0.04], "units": ["um", "um", "um"]}, (40, 5, 4)),
        ({"resolution": [4, 5, 40], "unit": "nm"}, (40, 5, 4)),
        (
            {
                "transform": {
                    "axes": ["z", "y", "x"],
                    "scale": [40, 5, 4],
                    "translate": [80, 10, 8],
                    "units": ["nm", "nm", "nm"],
                },
                "resolution": [1, 1, 1],
            },
            (40, 5, 4),
        ),
        ({"resolution": [1, 1, 1]}, "has no unit"),
        ({"resolution": [4, 5]}, "is not 3 numbers"),
        ({"resolution": {"x": 4}}, "is not 3 numbers"),
        ({"resolution": [4, 5, 40], "unit": "pixel"}, "unknown unit"),
        ({"resolution": [4, 10**400, 40]}, "damaged"),
        ({}, "give no resolution"),
    ],
)
def test_attributes_give_the_voxel_size_or_a_reason(
    tmp_path: Path, attributes: dict[str, Any], expected: Any
) -> None:
    path = write(tmp_path / "v.n5", **attributes)
    if expected == "damaged":
        assert expected in refusal(open_n5, path)
        return
    size = opened(open_n5, path)[0].voxel_size_nm
    if isinstance(expected, str):
        assert isinstance(size, str)
        assert expected in size
    else:
        assert size == pytest.approx(expected)


def test_scales_are_levels_with_their_own_voxel_size(tmp_path: Path) -> None:
    path = tmp_path / "v.n5"
    base = {"dimensions": [4, 5, 40], "unit": "nm"}
    describe(path / "em", pixelResolution=base, scales=[[1, 1, 1], [2, 2, 1], [4, 4, 1]])
    write(path / "em" / "s0", XYZ)
    write(path / "em" / "s1", XYZ[::2, ::2], downsamplingFactors=[2, 2, 1])
    write(path / "em" / "s2", XYZ[::4, ::4])
    for level, size, shift in (
        (0, (40.0, 5.0, 4.0), (0.0, 0.0, 0.0)),
        (1, (40.0, 10.0, 8.0), (0.0, 2.5, 2.0)),
        (2, (40.0, 20.0, 16.0), (0.0, 7.5, 6.0)),
    ):
        expected = XYZ[:: 2**level, :: 2**level].transpose()
        foreign, data = opened(open_n5, path, level=level)
        assert (foreign.voxel_size_nm, foreign.translation_nm) == (size, shift)
        assert np.array_equal(data, expected)
        direct, _ = opened(open_n5, path, f"em/s{level}")
        assert direct.voxel_size_nm == size
    assert "has levels 0 to 2, not 3" in refusal(open_n5, path, level=3)
    write(path / "em" / "s3", XYZ[::8, ::8])
    told = opened(open_n5, path, level=3)[0].voxel_size_nm
    assert told == "level 3 gives no downsamplingFactors"


def test_four_axes_are_named_by_the_attribute_axes(tmp_path: Path) -> None:
    xyzc = random_volume((5, 4, 3, 2), "uint8")
    path = write(tmp_path / "v.n5", xyzc, (5, 4, 3, 1))
    assert opened(open_n5, path)[0].axes == ""
    describe(path, axes=["x", "y", "z", "c"], resolution=[4, 5, 40, 1])
    foreign, data = opened(open_n5, path)
    assert foreign.axes == "czyx"
    assert foreign.voxel_size_nm == (40.0, 5.0, 4.0)
    assert np.array_equal(data, xyzc.transpose())
    describe(path, axes=["z", "y", "x", "c"], resolution=[40, 5, 4, 1])
    foreign, _ = opened(open_n5, path)
    assert (foreign.axes, foreign.voxel_size_nm) == ("cxyz", (40.0, 5.0, 4.0))


def test_missing_blocks_are_zero_and_counted(container: Path) -> None:
    (container / "volumes" / "raw" / "0" / "1" / "2").unlink()
    expected = XYZ.copy()
    expected[0:4, 4:8, 6:] = 0
    foreign, data = opened(open_n5, container)
    assert foreign.warnings == ("1 of its 27 blocks are not there and are read as 0",)
    assert np.array_equal(data, expected.transpose())


def test_a_dataset_without_blocks_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.n5")
    content = (path / "attributes.json").read_text()
    empty = tmp_path / "w.n5"
    empty.mkdir()
    (empty / "attributes.json").write_text(content)
    assert "none of its 27 blocks is there" in refusal(open_n5, empty)


@pytest.mark.parametrize("keep", [0, 1, 10, 17, 40, -1])
def test_a_truncated_block_is_named(container: Path, keep: int) -> None:
    block = container / "volumes" / "raw" / "1" / "1" / "1"
    block.write_bytes(block.read_bytes()[:keep])
    assert f'"{block}"' in refusal(open_n5, container)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dataType": "string"}, "voxels of type string"),
        ({"compression": {"type": "lz4"}}, "is compressed with lz4"),
        ({"compression": "lz4"}, "is compressed with lz4"),
        ({"compression": None}, "is compressed with None"),
        ({"dimensions": [12, 10]}, "its metadata is damaged (dimensions [12, 10]"),
        ({"dimensions": [12, 10, -7]}, "damaged"),
        ({"dimensions": [12, 0, 7]}, "is empty"),
        ({"dimensions": [12.5, 10, 7]}, "its metadata is damaged"),
        ({"blockSize": [0, 4, 4]}, "its metadata is damaged"),
        ({"blockSize": None}, "its metadata is damaged"),
    ],
)
def test_damaged_metadata_is_named(container: Path, change: dict[str, Any], expected: str) -> None:
    describe(container / "volumes" / "raw", **change)
    assert expected in refusal(open_n5, container, "volumes/raw")


def test_torn_attributes_are_named(container: Path) -> None:
    file = container / "volumes" / "raw" / "attributes.json"
    file.write_bytes(file.read_bytes()[:30])
    assert f"{file}: is damaged or truncated" in refusal(open_n5, container)
    file.write_text("[1]")
    assert f"{file}: is damaged" in refusal(open_n5, container)


def test_without_tensorstore_the_extra_is_named(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    line = refusal(open_n5, container)
    assert "needs the library tensorstore: pip install 'neuron-pipeline[transfer]'" in line


@given(
    lengths=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=3),
    data=st.data(),
    voxels=st.integers(1, 300),
)
@settings(max_examples=150, deadline=None)
def test_pieces_cover_a_part_once_and_are_cut_between_chunks(
    lengths: list[tuple[int, int]], data: st.DataObject, voxels: int
) -> None:
    part = tuple(slice(begin, begin + n) for begin, n in lengths)
    chunk = tuple(data.draw(st.integers(1, 9)) for _ in part)
    found = np.zeros([axis.stop for axis in part], int)
    for piece in tensorstores.pieces(part, chunk, voxels):
        found[piece] += 1
        size = np.prod([axis.stop - axis.start for axis in piece])
        chunks = [-(-a.stop // c) - a.start // c for a, c in zip(piece, chunk, strict=True)]
        assert size <= max(voxels, np.prod(chunk)) or np.prod(chunks) == 1
        for axis, outer, c in zip(piece, part, chunk, strict=True):
            assert axis.start == outer.start or axis.start % c == 0
    assert (found[part] == 1).all()
    assert found.sum() == found[part].size


@given(data=st.data())
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_attributes_give_one_line_or_the_shape_they_say(
    container: Path, data: st.DataObject
) -> None:
    file = container / "volumes" / "raw" / "attributes.json"
    saved = container / "saved"
    if not saved.exists():
        saved.write_bytes(file.read_bytes())
    content = saved.read_bytes()
    flips = data.draw(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), max_size=3))
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    file.write_bytes(flipped(content, flips, 0, len(content))[:cut])
    survive(open_n5, container, dataset="volumes/raw")
