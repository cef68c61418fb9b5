"""Knossos cubes written by hand are put together, and missing or damaged ones named."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_volumes import check_parts, flipped, opened, random_volume, refusal, survive
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pipeline.store.importers.knossos import open_knossos, recognises_knossos

EDGE = 8
VOLUME = random_volume((20, 13, 24), "uint8")
CONF = """experiment name "exp_mag1";
boundary x 24;
boundary y 13;
boundary z 20;
scale x 9.0;
scale y 10.0;
scale z 25.0;
magnification 1;
cube_edge_length 8;
"""


def cube_file(folder: Path, place: tuple[int, int, int], suffix: str = ".raw") -> Path:
    z, y, x = place
    inside = folder / f"x{x:04}" / f"y{y:04}" / f"z{z:04}"
    inside.mkdir(parents=True, exist_ok=True)
    return inside / f"exp_{folder.name}_x{x:04}_y{y:04}_z{z:04}{suffix}"


def write_cubes(folder: Path, zyx: NDArray[Any], edge: int = EDGE, suffix: str = ".raw") -> None:
    grid = [-(-n // edge) for n in zyx.shape]
    padded = np.zeros([n * edge for n in grid], np.uint8)
    padded[tuple(slice(0, n) for n in zyx.shape)] = zyx
    for place in itertools.product(*(range(n) for n in grid)):
        cube = padded[tuple(slice(p * edge, (p + 1) * edge) for p in place)]
        file = cube_file(folder, place, suffix)
        if suffix == ".raw":
            cube.tofile(file)
        else:
            Image.fromarray(cube.reshape(-1, edge)).save(file)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "exp"
    write_cubes(folder / "mag1", VOLUME)
    (folder / "mag1" / "knossos.conf").write_text(CONF)
    write_cubes(folder / "mag2", VOLUME[::2, ::2, ::2])
    conf = CONF.replace("magnification 1", "magnification 2")
    (folder / "mag2" / "knossos.conf").write_text(conf)
    return folder


def test_cubes_are_put_together_within_the_boundary(dataset: Path) -> None:
    assert recognises_knossos(str(dataset))
    foreign, data = opened(open_knossos, dataset)
    assert (foreign.axes, foreign.chunk) == ("zyx", (8, 8, 8))
    assert foreign.voxel_size_nm == (25.0, 10.0, 9.0)
    assert foreign.warnings == ()
    assert foreign.facts["cubes"] == "18 of 18, 8 x 8 x 8 each"
    assert len(foreign.files) == 18
    assert np.array_equal(data, VOLUME)
    check_parts(open_knossos, dataset, VOLUME)


def test_magnifications_are_levels(dataset: Path) -> None:
    foreign, data = opened(open_knossos, dataset, level=1)
    assert foreign.voxel_size_nm == (50.0, 20.0, 18.0)
    assert foreign.translation_nm == (12.5, 5.0, 4.5)
    assert foreign.shape == (10, 7, 12)
    assert np.array_equal(data, VOLUME[::2, ::2, ::2])
    assert "has levels 0 to 1 (mag1, mag2), not 2" in refusal(open_knossos, dataset, level=2)


def test_the_folder_of_a_magnification_and_the_configuration_itself_may_be_given(
    dataset: Path,
) -> None:
    for path in (dataset / "mag1", dataset / "mag1" / "knossos.conf"):
        assert recognises_knossos(str(path))
        assert np.array_equal(opened(open_knossos, path)[1], VOLUME)
    assert np.array_equal(opened(open_knossos, dataset / "mag2")[1], VOLUME[::2, ::2, ::2])
    assert opened(open_knossos, dataset / "mag2")[0].voxel_size_nm == (50.0, 20.0, 18.0)


def test_a_coarser_magnification_alone_is_described_by_its_own_configuration(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "exp" / "mag4"
    write_cubes(folder, VOLUME)
    (folder / "knossos.conf").write_text(CONF.replace("magnification 1", "magnification 4"))
    for path in (folder, folder.parent):
        foreign, data = opened(open_knossos, path)
        assert foreign.voxel_size_nm == (25.0, 10.0, 9.0)
        assert np.array_equal(data, VOLUME)


def test_missing_cubes_are_zero_and_counted(dataset: Path) -> None:
    cube_file(dataset / "mag1", (0, 0, 1)).unlink()
    cube_file(dataset / "mag1", (2, 1, 2)).unlink()
    expected = VOLUME.copy()
    expected[:8, :8, 8:16] = 0
    expected[16:, 8:, 16:] = 0
    foreign, data = opened(open_knossos, dataset)
    assert foreign.warnings == ("2 of 18 cubes are missing and are read as 0",)
    assert foreign.facts["cubes"] == "16 of 18, 8 x 8 x 8 each"
    assert np.array_equal(data, expected)


def test_cubes_outside_the_boundary_are_not_used(dataset: Path) -> None:
    conf = dataset / "mag1" / "knossos.conf"
    conf.write_text(CONF.replace("boundary x 24", "boundary x 15"))
    foreign, data = opened(open_knossos, dataset)
    assert foreign.facts["cubes outside the boundary"] == "6, not used"
    assert np.array_equal(data, VOLUME[..., :15])


def test_cubes_may_be_pictures(tmp_path: Path) -> None:
    suffix = ".png"
    folder = tmp_path / "exp"
    write_cubes(folder / "mag1", VOLUME, suffix=suffix)
    (folder / "mag1" / "knossos.conf").write_text(CONF)
    check_parts(open_knossos, folder, VOLUME)
    file = cube_file(folder / "mag1", (1, 1, 0), suffix)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file)
    assert f"{file}: is a picture of 8 x 8; a cube of 8 x 8 x 8" in refusal(open_knossos, folder)
    Image.fromarray(np.zeros((64, 8, 3), np.uint8)).save(file)
    assert f"{file}: is no grey picture" in refusal(open_knossos, folder)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert str(file) in refusal(open_knossos, folder)


def test_pictures_agree_with_elf(tmp_path: Path) -> None:
    from elf.io.knossos_wrapper import KnossosFile

    z, y, x = np.ogrid[:128, :128, :256]
    volume = (3 * z + 5 * y + 7 * x).astype(np.uint8)
    folder = tmp_path / "exp"
    write_cubes(folder / "mag1", volume, edge=128, suffix=".png")
    foreign, data = opened(open_knossos, folder)
    assert np.array_equal(data, KnossosFile(str(folder))["mag1"][:])
    assert np.array_equal(data, volume)
    assert foreign.voxel_size_nm == "its configuration gives no scale"


def test_a_cube_of_a_wrong_size_is_named(dataset: Path) -> None:
    file = cube_file(dataset / "mag1", (1, 0, 2))
    file.write_bytes(file.read_bytes()[:-1])
    line = refusal(open_knossos, dataset)
    assert line == f"{file}: has 511 bytes; a cube of 8 x 8 x 8 uint8 voxels has 512"


TOML = """
[[Layer]]
Name = "image"
Description = ""
ServerFormat = "knossos"
FileExtension = [".raw"]
Extent_px = [24, 13, 20]
CubeShape_px = [8, 8, 8]
VoxelSize_nm = [[9.0, 10, 25.0], [18.0, 20.0, 25.0]]
"""


def test_layers_of_a_toml_file_are_read(dataset: Path) -> None:
    (dataset / "exp.k.toml").write_text(TOML)
    for path in (dataset, dataset / "exp.k.toml"):
        assert recognises_knossos(str(path))
        foreign, data = opened(open_knossos, path)
        assert foreign.voxel_size_nm == (25.0, 10.0, 9.0)
        assert np.array_equal(data, VOLUME)
    write_cubes(dataset / "mag2", VOLUME[:, ::2, ::2])
    foreign, data = opened(open_knossos, dataset, level=1)
    assert foreign.voxel_size_nm == (25.0, 20.0, 18.0)
    assert np.array_equal(data, VOLUME[:, ::2, ::2])
    two = TOML + TOML.replace('"image"', '"ids"').replace(".raw", ".seg.sz.zip")
    (dataset / "exp.k.toml").write_text(two)
    assert "which layer is meant? there are: image, ids" in refusal(open_knossos, dataset)
    assert "has no layer 'other'" in refusal(open_knossos, dataset, "other")
    assert np.array_equal(opened(open_knossos, dataset, "image")[1], VOLUME)
    assert "its cubes are .raw" in refusal(open_knossos, dataset, "ids")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("Extent_px", "Extent"), "damaged Knossos configuration ('Extent_px')"),
        (("[24, 13, 20]", "[24, 13]"), "damaged Knossos configuration"),
        (("[24, 13, 20]", "[24, -1, 20]"), "damaged Knossos configuration"),
        (("[8, 8, 8]", "[0, 8, 8]"), "damaged Knossos configuration"),
        (("[9.0,", "[-9.0,"), "not positive"),
        (("[[Layer]]", "[[Layer"), "damaged Knossos configuration"),
        (('Name = "image"', 'Name = "image"\nURL = "https://host/"'), "lies on a server"),
    ],
)
def test_a_damaged_toml_file_is_named(
    dataset: Path, change: tuple[str, str], expected: str
) -> None:
    (dataset / "exp.k.toml").write_text(TOML.replace(*change))
    assert expected in refusal(open_knossos, dataset)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("boundary x 24", "boundary x many"), "a length of 'many'"),
        (("boundary x 24", "boundary x 1e99"), "a length of '1e99'"),
        (("cube_edge_length 8", "cube_edge_length 0"), "damaged Knossos configuration"),
    ],
)
def test_a_damaged_configuration_is_named(
    dataset: Path, change: tuple[str, str], expected: str
) -> None:
    (dataset / "mag1" / "knossos.conf").write_text(CONF.replace(*change))
    line = refusal(open_knossos, dataset)
    assert expected in line
    assert "knossos.conf" in line


def test_without_a_boundary_the_cubes_give_the_shape(dataset: Path) -> None:
    conf = dataset / "mag1" / "knossos.conf"
    conf.write_text("magnification 1;\ncube_edge_length 8;\n")
    foreign, data = opened(open_knossos, dataset)
    assert foreign.shape == (24, 16, 24)
    assert np.array_equal(data[:20, :13], VOLUME)
    assert isinstance(foreign.voxel_size_nm, str)


def test_a_folder_without_cubes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "knossos.conf").write_text(CONF)
    assert "no cubes (x0000/y0000/z0000/" in refusal(open_knossos, tmp_path)
    assert not recognises_knossos(str(tmp_path / "nowhere"))
    cube_file(tmp_path / "mag1", (0, 0, 0), ".j2k").write_bytes(b"1")
    assert "its cubes are .j2k" in refusal(open_knossos, tmp_path)
    cube_file(tmp_path / "mag1", (9, 9, 9)).write_bytes(bytes(512))
    assert "lies inside the boundary" in refusal(open_knossos, tmp_path)


@given(data=st.data(), toml=st.booleans())
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_description_gives_one_line_or_the_shape_it_says(
    dataset: Path, data: st.DataObject, toml: bool
) -> None:
    content = (TOML if toml else CONF).encode()
    flips = data.draw(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), max_size=4))
    cut = data.draw(st.integers(0, len(content)))
    file = dataset / ("exp.k.toml" if toml else "mag1/knossos.conf")
    file.write_bytes(flipped(content, flips, 0, len(content))[:cut])
    survive(open_knossos, file)
