"""NIfTI files written by nibabel are read as they were meant, and damaged ones named."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from foreign_volumes import check_parts, flipped, opened, random_volume, refusal, survive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.store.importers import gzipped
from pipeline.store.importers.nifti import open_nifti, recognises_nifti


def write(
    path: Path,
    xyz: NDArray[Any],
    unit: str = "micron",
    zooms: tuple[float, ...] = (0.004, 0.005, 0.04),
    kind: Any = nibabel.Nifti1Image,
) -> Path:
    image = kind(xyz, np.eye(4), dtype=xyz.dtype)
    image.header.set_xyzt_units(unit)
    image.header.set_zooms((*zooms, *(1.0,) * (xyz.ndim - 3)))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "uint64"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_voxels_come_back_turned_to_zyx(tmp_path: Path, suffix: str, dtype: str, kind: Any) -> None:
    xyz = random_volume((7, 5, 4), dtype)
    path = write(tmp_path / f"v{suffix}", xyz, kind=kind)
    assert recognises_nifti(str(path))
    foreign, data = opened(open_nifti, path)
    assert foreign.axes == "zyx"
    assert foreign.voxel_size_nm == (40.0, 5.0, 4.0)
    assert data.dtype == np.dtype(dtype)
    assert np.array_equal(data, xyz.transpose())
    assert foreign.files == (str(path),)
    check_parts(open_nifti, path, xyz.transpose())


def test_big_endian_files_are_read_in_the_machines_order(tmp_path: Path) -> None:
    xyz = random_volume((4, 3, 2), "uint16")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.uint16)
    header.set_xyzt_units("micron")
    nibabel.save(nibabel.Nifti1Image(xyz, np.eye(4), header), tmp_path / "v.nii")
    assert (tmp_path / "v.nii").read_bytes()[:4] == (348).to_bytes(4, "big")
    foreign, data = opened(open_nifti, tmp_path / "v.nii")
    assert np.array_equal(data, xyz.transpose())
    assert foreign.dtype.isnative


def test_time_and_channels_stay_axes_of_their_own(tmp_path: Path) -> None:
    xyzt = random_volume((5, 4, 3, 2), "uint8")
    foreign, data = opened(open_nifti, write(tmp_path / "t.nii", xyzt))
    assert (foreign.axes, foreign.shape) == ("tzyx", (2, 3, 4, 5))
    assert np.array_equal(data, xyzt.transpose())
    assert foreign.chunk == (1, 1, 4, 5)
    xyztc = random_volume((5, 4, 3, 1, 2), "uint8")
    foreign, data = opened(open_nifti, write(tmp_path / "c.nii", xyztc))
    assert (foreign.axes, foreign.shape) == ("ctzyx", (2, 1, 3, 4, 5))
    assert np.array_equal(data, xyztc.transpose())


def test_values_are_scaled_as_the_header_says(tmp_path: Path) -> None:
    xyz = random_volume((4, 3, 2), "int16")
    path = write(tmp_path / "v.nii", xyz)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -3], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    foreign, data = opened(open_nifti, path)
    assert foreign.dtype == data.dtype == np.float64
    assert np.array_equal(data, xyz.transpose() * 0.5 - 3)
    assert foreign.facts["values"] == "0.5 * stored int16 + -3, as the header says"


@pytest.mark.parametrize(
    ("unit", "zooms", "expected"),
    [
        ("mm", (4e-6, 5e-6, 4e-5), (40.0, 5.0, 4.0)),
        ("unknown", (4.0, 5.0, 40.0), (40.0, 5.0, 4.0)),
        ("unknown", (1.0, 1.0, 1.0), "has no unit"),
        ("mm", (4.0, 4.0, 40.0), "outside"),
    ],
)
def test_units_decide_the_voxel_size(
    tmp_path: Path, unit: str, zooms: tuple[float, ...], expected: Any
) -> None:
    xyz = random_volume((4, 3, 2), "uint8")
    size = opened(open_nifti, write(tmp_path / "v.nii", xyz, unit, zooms))[0].voxel_size_nm
    if isinstance(expected, str):
        assert isinstance(size, str)
        assert expected in size
    else:
        assert size == pytest.approx(expected)


@pytest.mark.parametrize("length", [0.0, -0.004])
def test_a_voxel_size_that_is_not_positive_is_not_mended(tmp_path: Path, length: float) -> None:
    path = write(tmp_path / "v.nii", random_volume((4, 3, 2), "uint8"))
    content = bytearray(path.read_bytes())
    content[80:84] = np.array([length], "<f4").tobytes()  # pixdim of x
    path.write_bytes(content)
    told = opened(open_nifti, path)[0].voxel_size_nm
    assert told == f"its voxel size 0.04,0.005,{length:g} is not positive and finite"


@pytest.mark.parametrize("ending", [b"", b"\1" * 8], ids=["cut off", "wrong"])
def test_the_checksum_behind_the_last_voxel_is_looked_at(tmp_path: Path, ending: bytes) -> None:
    xyz = random_volume((9, 8, 7), "uint8")
    path = write(tmp_path / "v.nii.gz", xyz)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + ending)
    assert "cannot read voxels" in refusal(open_nifti, path)
    path.write_bytes(whole + bytes(100_000))  # padding says nothing
    assert np.array_equal(opened(open_nifti, path)[1], xyz.transpose())


def test_sections_of_a_gzipped_file_are_read_back_without_decoding_it_all_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzipped, "CLOSEST_STATES", 1 << 12)
    monkeypatch.setattr(gzipped, "INPUT_BYTES", 1 << 10)
    monkeypatch.setattr(gzipped, "OUTPUT_BYTES", 1 << 11)
    xyz = random_volume((32, 32, 200), "uint8")
    path = write(tmp_path / "v.nii.gz", xyz)
    check_parts(open_nifti, path, xyz.transpose())
    with path.open("rb") as file:
        source = gzipped.GzippedBytes(file, 352 + xyz.size)
        source.read(352, xyz.size)
        assert 20 < len(source._states) <= gzipped.STATES + 1
        before = file.tell()
        decoded = []
        monkeypatch.setattr(
            gzipped.GzippedBytes,
            "_decode_next",
            lambda self, real=gzipped.GzippedBytes._decode_next: (decoded.append(1), real(self)),
        )
        assert source.read(352, 10) == xyz.transpose().tobytes()[:10]
        assert source.read(352 + 100_000, 10) == xyz.transpose().tobytes()[100_000:100_010]
        assert len(decoded) < 8
        assert file.tell() < before


def test_gzip_files_of_several_members_are_one_stream(tmp_path: Path) -> None:
    xyz = random_volume((9, 8, 7), "uint8")
    plain = write(tmp_path / "v.nii", xyz).read_bytes()
    path = tmp_path / "w.nii.gz"
    path.write_bytes(b"".join(gzip.compress(plain[i : i + 300]) for i in range(0, len(plain), 300)))
    assert np.array_equal(opened(open_nifti, path)[1], xyz.transpose())


def test_what_is_no_grey_volume_is_refused(tmp_path: Path) -> None:
    colour = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "rgb.nii")
    assert "integers or floats" in refusal(open_nifti, tmp_path / "rgb.nii")
    path = write(tmp_path / "c.nii", np.zeros((4, 3, 2), np.complex64))
    assert "complex64" in refusal(open_nifti, path)
    many = write(tmp_path / "m.nii", np.zeros((3, 3, 3, 1, 1, 2), np.uint8))
    assert "save one z, y, x volume" in refusal(open_nifti, many)
    path = write(tmp_path / "v.nii", np.zeros((4, 3, 2), np.uint8))
    assert "no level 1" in refusal(open_nifti, path, level=1)
    assert "'a'" in refusal(open_nifti, path, "a")
    (tmp_path / "text.nii").write_text("not a volume")
    assert "is not a NIfTI file" in refusal(open_nifti, tmp_path / "text.nii")
    assert "does not exist" in refusal(open_nifti, tmp_path / "nowhere.nii")
    pair = nibabel.Nifti1Pair(np.zeros((4, 3, 2), np.uint8), np.eye(4))
    nibabel.save(pair, tmp_path / "pair.hdr")
    (tmp_path / "pair.hdr").rename(tmp_path / "pair.nii")
    assert "half of a NIfTI pair" in refusal(open_nifti, tmp_path / "pair.nii")


def test_truncated_files_say_how_much_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", random_volume((9, 8, 7), "uint8"))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert f"has {len(content) - 1} bytes of the {len(content)}" in refusal(open_nifti, path)
    packed = tmp_path / "v.nii.gz"
    packed.write_bytes(gzip.compress(content)[:-20])
    assert "truncated" in refusal(open_nifti, packed)
    header = bytearray(content[:352])
    header[42:48] = np.array([9999, 9999, 9999], "<i2").tobytes()
    packed.write_bytes(gzip.compress(bytes(header)))
    assert "cannot hold the" in refusal(open_nifti, packed)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("nifti")
    return write(folder / "v.nii", random_volume((5, 4, 3), "int16")).read_bytes()


@given(data=st.data(), packed=st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_truncation_anywhere_is_noticed(
    content: bytes, tmp_path: Path, data: st.DataObject, packed: bool
) -> None:
    whole = gzip.compress(content, mtime=0) if packed else content
    cut = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path / ("v.nii.gz" if packed else "v.nii")
    path.write_bytes(whole[:cut])
    assert not survive(open_nifti, path)


@given(flips=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=6))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_header_gives_one_line_or_the_shape_it_says(
    content: bytes, tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path / "v.nii"
    path.write_bytes(flipped(content, flips, 0, 352))
    survive(open_nifti, path)
