"""MRC files written by mrcfile are read as they were meant, and damaged ones named."""

from __future__ import annotations

import bz2
import gzip
import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from foreign_volumes import check_parts, flipped, opened, random_volume, refusal, survive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.store.importers.mrc import open_mrc, recognises_mrc


def write(
    path: Path,
    data: NDArray[Any],
    angstrom_xyz: tuple[float, float, float] | None = (40.0, 50.0, 400.0),
    **header: Any,
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(data)
            if angstrom_xyz is not None:
                mrc.voxel_size = angstrom_xyz
            for name, value in header.items():
                setattr(mrc.header, name, value)
    return path


def patch(path: Path, offset: int, values: NDArray[Any]) -> None:
    content = bytearray(path.read_bytes())
    raw = values.tobytes()
    content[offset : offset + len(raw)] = raw
    path.write_bytes(content)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32", "float16"])
def test_voxels_of_every_real_mode_come_back(tmp_path: Path, dtype: str) -> None:
    zyx = random_volume((4, 5, 7), dtype)
    path = write(tmp_path / "v.mrc", zyx)
    assert recognises_mrc(str(path))
    foreign, data = opened(open_mrc, path)
    assert foreign.axes == "zyx"
    assert foreign.voxel_size_nm == (40.0, 5.0, 4.0)
    assert foreign.chunk == (1, 5, 7)
    assert data.dtype == foreign.dtype == np.dtype(dtype)
    assert np.array_equal(data, zyx)
    check_parts(open_mrc, path, zyx)


def test_gzipped_files_are_read_too_and_bzip2_is_named(tmp_path: Path) -> None:
    zyx = random_volume((4, 5, 7), "int16")
    content = write(tmp_path / "v.mrc", zyx).read_bytes()
    (tmp_path / "v.map.gz").write_bytes(gzip.compress(content))
    assert recognises_mrc(str(tmp_path / "v.map.gz"))
    check_parts(open_mrc, tmp_path / "v.map.gz", zyx)
    (tmp_path / "v.mrc.bz2").write_bytes(bz2.compress(content))
    assert recognises_mrc(str(tmp_path / "v.mrc.bz2"))
    assert "bunzip2" in refusal(open_mrc, tmp_path / "v.mrc.bz2")


@pytest.mark.parametrize(
    ("mapc", "mapr", "maps", "axes"), [(1, 2, 3, "zyx"), (3, 2, 1, "xyz"), (2, 1, 3, "zxy")]
)
def test_the_header_names_the_axes_and_cell_edges_go_with_them(
    tmp_path: Path, mapc: int, mapr: int, maps: int, axes: str
) -> None:
    zyx = random_volume((4, 5, 7), "uint16")
    path = write(tmp_path / "v.mrc", zyx, mapc=mapc, mapr=mapr, maps=maps)
    foreign, data = opened(open_mrc, path)
    assert foreign.axes == axes
    assert foreign.voxel_size_nm == (40.0, 5.0, 4.0)
    assert np.array_equal(data, zyx)


def test_big_endian_files_with_an_extended_header_are_read(tmp_path: Path) -> None:
    zyx = random_volume((3, 4, 5), "int16")
    path = tmp_path / "v.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(zyx.astype(">i2"))
        mrc.set_extended_header(np.zeros(64, "V1"))
        mrc.voxel_size = (40.0, 40.0, 40.0)
    assert path.read_bytes()[212] == 0x11
    foreign, data = opened(open_mrc, path)
    assert foreign.dtype.isnative
    assert np.array_equal(data, zyx)
    assert len(path.read_bytes()) == 1024 + 64 + zyx.nbytes


def test_bytes_of_imod_are_unsigned_unless_it_says_signed(tmp_path: Path) -> None:
    zyx = random_volume((3, 4, 5), "uint8")
    path = write(tmp_path / "v.st", zyx.view(np.int8))
    patch(path, 152, np.array([1146047817, 0], "<i4"))
    foreign, data = opened(open_mrc, path)
    assert foreign.dtype == np.uint8
    assert np.array_equal(data, zyx)
    patch(path, 156, np.array([1], "<i4"))
    assert opened(open_mrc, path)[0].dtype == np.int8


def test_old_files_without_mark_and_stamp_are_read_if_all_fits(tmp_path: Path) -> None:
    zyx = random_volume((3, 4, 5), "int16")
    path = write(tmp_path / "v.rec", zyx)
    patch(path, 208, np.zeros(8, "u1"))
    patch(path, 64, np.zeros(3, "<i4"))
    foreign, data = opened(open_mrc, path)
    assert foreign.axes == "zyx"
    assert np.array_equal(data, zyx)
    path.write_bytes(path.read_bytes() + b"0")
    assert "no MAP mark" in refusal(open_mrc, path)


def test_a_stack_of_volumes_has_an_axis_for_them(tmp_path: Path) -> None:
    tzyx = random_volume((2, 3, 4, 5), "int16")
    path = write(tmp_path / "v.mrc", tzyx)
    foreign, data = opened(open_mrc, path)
    assert (foreign.axes, foreign.shape) == ("tzyx", (2, 3, 4, 5))
    assert np.array_equal(data, tzyx)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, "gives no voxel size (cell 0)"),
        ((1.0, 1.0, 1.0), "1 angstrom, which programs write when they do not know it"),
        ((-4.0, 4.0, 4.0), "not positive"),
    ],
)
def test_a_voxel_size_that_is_no_knowledge_is_said(
    tmp_path: Path, size: tuple[float, float, float] | None, expected: str
) -> None:
    path = write(tmp_path / "v.mrc", random_volume((3, 4, 5), "int16"), size)
    if size is None:
        patch(path, 40, np.zeros(3, "<f4"))
    told = opened(open_mrc, path)[0].voxel_size_nm
    assert isinstance(told, str)
    assert expected in told


def test_what_is_no_grey_volume_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mrc", np.zeros((3, 4, 5), np.complex64))
    assert "complex numbers (mode 4)" in refusal(open_mrc, path)
    path = write(tmp_path / "w.mrc", np.zeros((3, 4, 5), np.int16))
    assert "no level 2" in refusal(open_mrc, path, level=2)
    patch(path, 12, np.array([77], "<i4"))
    assert "mode 77" in refusal(open_mrc, path)
    patch(path, 12, np.array([1], "<i4"))
    patch(path, 64, np.array([1, 1, 3], "<i4"))
    assert "maps, mapr, mapc are [3, 1, 1]" in refusal(open_mrc, path)
    (tmp_path / "text.map").write_text("not a volume")
    assert "is no MRC file" in refusal(open_mrc, tmp_path / "text.map")
    (tmp_path / "zeros.map").write_bytes(bytes(2000))
    assert "is no MRC file" in refusal(open_mrc, tmp_path / "zeros.map")


def test_truncated_files_say_how_much_is_there_and_longer_ones_too(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mrc", random_volume((3, 4, 5), "int16"))
    path.write_bytes(path.read_bytes() + b"abc")
    assert opened(open_mrc, path)[0].facts["bytes after the voxels"] == "3"
    path.write_bytes(path.read_bytes()[:-4])
    assert "has 1143 bytes of the 1144" in refusal(open_mrc, path)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("mrc")
    return write(folder / "v.mrc", random_volume((3, 4, 5), "int16")).read_bytes()


@given(data=st.data(), packed=st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_truncation_anywhere_is_noticed(
    content: bytes, tmp_path: Path, data: st.DataObject, packed: bool
) -> None:
    whole = gzip.compress(content, mtime=0) if packed else content
    cut = data.draw(st.integers(0, len(whole) - 9 if packed else len(whole) - 1))
    path = tmp_path / ("v.mrc.gz" if packed else "v.mrc")
    path.write_bytes(whole[:cut])
    assert not survive(open_mrc, path)


@given(flips=st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 255)), min_size=1, max_size=6))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_header_gives_one_line_or_the_shape_it_says(
    content: bytes, tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path / "v.mrc"
    path.write_bytes(flipped(content, flips, 0, 224))
    survive(open_mrc, path)
