from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from ome_zarr_models.v05 import ImageLabel

from pipeline.contract import ArraySpec, Box, Triple
from pipeline.errors import InputError, OutputError
from pipeline.store import InputGrid, Output, open_labels
from pipeline.store.input_labels import InputLabels
from pipeline.store.layout import Nanometres

NEURONS = ArraySpec("neurons", "uint64", "labels", "neurons_input")


@dataclass(frozen=True)
class Grid:
    shape: Triple
    voxel_size_nm: Nanometres
    translation_nm: Nanometres = (0.0, 0.0, 0.0)


def everywhere(labels: InputLabels) -> NDArray[np.uint64]:
    for index in labels.blocks():
        labels.write(index)
    return labels.read()


def slow_nearest(fine: Grid, coarse: Grid, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Voxel by voxel, by the distance of centres in nanometres; the upper of two."""
    result = np.zeros(fine.shape, np.uint64)
    for place in itertools.product(*map(range, fine.shape)):
        nearest = []
        for axis, at in enumerate(place):
            here = fine.translation_nm[axis] + at * fine.voxel_size_nm[axis]
            centres = coarse.translation_nm[axis] + coarse.voxel_size_nm[axis] * np.arange(
                coarse.shape[axis]
            )
            distance = np.abs(centres - here).round(6)
            nearest.append(int(np.flatnonzero(distance == distance.min())[-1]))
        result[place] = values[tuple(nearest)]
    return result


def store(
    path: Path, coarse: Grid, block: Triple = (4, 32, 32)
) -> tuple[Output, NDArray[np.uint64]]:
    output = Output.create(path, volume=coarse, block_shape=block)
    output.create_array(NEURONS)
    values = np.random.default_rng(0).integers(0, 2**40, coarse.shape, np.uint64)
    output.write("neurons", Box((0, 0, 0), coarse.shape), values)
    return output, values


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [
        (Grid((3, 9, 10), (40, 2, 2)), Grid((3, 5, 5), (40, 4, 4), (0, 1, 1))),
        (Grid((3, 9, 10), (40, 2, 2)), Grid((3, 4, 5), (40, 4, 4), (0, 1, 1))),
        (Grid((3, 12, 11), (40, 2, 2), (5, 7, 9)), Grid((3, 4, 4), (40, 6, 6), (5, 9, 11))),
        (Grid((9, 9, 9), (2, 2, 2)), Grid((6, 6, 6), (3, 3, 3), (0.5, 0.5, 0.5))),
        (Grid((8, 7, 6), (2, 3, 2)), Grid((3, 7, 2), (5, 3, 6), (-1, 0, 4))),
        (Grid((3, 9, 10), (40, 2, 2), (0, 8, -3)), Grid((3, 5, 5), (40, 4, 4), (0, 1, 1))),
    ],
    ids=["halves", "floor", "thirds", "3:2", "other-factors", "not-aligned"],
)
def test_labels_are_those_of_the_nearest_voxel_in_space(
    fine: Grid, coarse: Grid, tmp_path: Path
) -> None:
    grid, box = InputGrid.between(fine, coarse, None)
    assert box == Box((0, 0, 0), coarse.shape)
    output, values = store(tmp_path / "o.zarr", coarse)
    labels = output.input_labels("neurons_input", "neurons", grid)
    output.create_input_labels(labels)
    assert_array_equal(everywhere(labels), slow_nearest(fine, coarse, values))


def test_levels_without_translations_begin_at_the_same_place(tmp_path: Path) -> None:
    fine, coarse = Grid((1, 5, 8), (40, 2, 2)), Grid((1, 3, 2), (40, 4, 8))
    grid, _ = InputGrid.between(fine, coarse, None)
    output, values = store(tmp_path / "o.zarr", coarse)
    labels = output.input_labels("neurons_input", "neurons", grid)
    output.create_input_labels(labels)
    assert_array_equal(everywhere(labels), values.repeat(2, 1).repeat(4, 2)[:, :5])


def test_translations_that_differ_by_rounding_are_the_same() -> None:
    fine, coarse = Grid((1, 6, 6), (40, 2, 2), (0, 0.3, 0)), Grid((1, 3, 3), (40, 4, 4))
    grid, _ = InputGrid.between(fine, replace(coarse, translation_nm=(0, 0.1 + 0.2, 0)), None)
    assert_array_equal(grid.nearest(1, 0, 6, 3), [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    "coarse",
    [
        Grid((4, 10, 10), (40, 4, 4), (0, 1, 1)),
        Grid((4, 5, 10), (40, 4, 4), (0, 1, 1)),
        Grid((4, 20, 20), (40, 4, 4), (0, 1, 41)),
    ],
    ids=["shape", "shape of one axis", "translation"],
)
def test_levels_that_do_not_lie_in_the_same_place_are_refused(coarse: Grid) -> None:
    with pytest.raises(InputError, match=r"along [yx] the finest level covers .* --level"):
        InputGrid.between(Grid((4, 40, 40), (40, 2, 2)), coarse, None)


@given(
    shape=st.tuples(*[st.integers(4, 40)] * 3),
    factor=st.tuples(*[st.sampled_from([1, 1.5, 2, 3, 4])] * 3),
    corner=st.tuples(*[st.floats(0, 0.9)] * 3),
)
def test_of_a_region_every_voxel_gets_what_the_whole_gives(
    shape: Triple, factor: Nanometres, corner: Nanometres
) -> None:
    fine = Grid(shape, (2, 2, 2))
    size, place = [2 * f for f in factor], [f - 1 for f in factor]
    lengths = [int(np.ceil(n / f)) for n, f in zip(shape, factor, strict=True)]
    coarse = Grid(
        (lengths[0], lengths[1], lengths[2]),
        (size[0], size[1], size[2]),
        (place[0], place[1], place[2]),
    )
    begin = [int(c * n) for c, n in zip(corner, shape, strict=True)]
    region = Box((begin[0], begin[1], begin[2]), shape)
    whole, _ = InputGrid.between(fine, coarse, None)
    grid, box = InputGrid.between(fine, coarse, region)
    assert grid.region == region
    for axis in range(3):
        expected = whole.nearest(axis, begin[axis], shape[axis], coarse.shape[axis])
        found = grid.nearest(axis, 0, grid.shape[axis], box.shape[axis]) + box.begin[axis]
        assert_array_equal(found, expected)
        assert 0 <= expected[0] - box.begin[axis] <= 1
        assert 0 <= box.end[axis] - expected[-1] - 1 <= 1
        assert grid.translation_nm[axis] == 2 * begin[axis]


def test_voxels_of_the_volume_find_a_voxel_of_the_grid_within_them() -> None:
    fine, coarse = Grid((1, 10, 9), (40, 2, 2)), Grid((1, 3, 3), (40, 6, 6), (0, 2, 2))
    grid, _ = InputGrid.between(fine, coarse, None)
    values = np.arange(90).reshape(1, 10, 9)
    box, index = grid.around(Box((0, 1, 0), (1, 3, 3)))
    assert_array_equal(values[box.slices][index][0], [[37, 40, 43], [64, 67, 70]])


def test_it_is_an_image_label_with_the_place_of_the_input(tmp_path: Path) -> None:
    fine = Grid((3, 70, 64), (40, 2, 2), (5, 7, 9))
    coarse = Grid((3, 35, 32), (40, 4, 4), (5, 8, 10))
    grid, _ = InputGrid.between(fine, coarse, None)
    output, _ = store(tmp_path / "o.zarr", coarse)
    labels = output.input_labels("neurons_input", "neurons", grid)
    output.create_input_labels(labels)
    with pytest.raises(OutputError, match="missing or empty"):
        output.finish_input_labels(labels)
    everywhere(labels)
    output.finish_input_labels(labels)
    path = tmp_path / "o.zarr" / "labels" / "neurons_input"
    found = open_labels(path)
    assert found.labels.shape == fine.shape
    assert found.voxel_size_nm == fine.voxel_size_nm
    assert InputGrid.of_json(grid.as_json()) == grid
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    transformations = attributes["ome"]["multiscales"][0]["datasets"][0][
        "coordinateTransformations"
    ]
    assert transformations[1]["translation"] == [5, 7, 9]
    listed = json.loads((tmp_path / "o.zarr" / "labels" / "zarr.json").read_text())
    assert listed["attributes"]["ome"]["labels"] == ["neurons_input"]
    image_label = ImageLabel.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.image_label
    assert image_label is not None
    assert image_label.source is not None
    assert image_label.source.image == "../../"


def test_background_of_the_volume_has_no_files_and_reads_as_zero(tmp_path: Path) -> None:
    fine, coarse = Grid((1, 128, 256), (40, 2, 2)), Grid((1, 64, 128), (40, 4, 4), (0, 1, 1))
    grid, _ = InputGrid.between(fine, coarse, None)
    _, values = store(tmp_path / "o.zarr", coarse, (1, 32, 64))
    background = {(0, 0, 0), (0, 1, 0), (0, 1, 1)}
    labels = InputLabels(
        tmp_path / "o.zarr" / "labels" / "copy",
        tmp_path / "o.zarr" / "labels" / "neurons" / "0",
        coarse.shape,
        grid,
        (1, 32, 64),
        background,
    )
    labels.create()
    # blocks of 32 x 64 both: 4 x 4 files, each within one block of the volume
    written = labels.blocks()
    assert written == [(0, y, x) for y in (0, 1) for x in (2, 3)]
    found = everywhere(labels)
    labels.check()
    expected = values.repeat(2, 1).repeat(2, 2)
    expected[:, 64:] = 0
    expected[:, :, :128] = 0
    assert_array_equal(found, expected)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    fine, coarse = Grid((1, 64, 64), (40, 2, 2)), Grid((1, 32, 32), (40, 4, 4), (0, 1, 1))
    grid, _ = InputGrid.between(fine, coarse, None)
    output, _ = store(tmp_path / "o.zarr", coarse)
    labels = output.input_labels("neurons_input", "neurons", grid)
    output.create_input_labels(labels)
    everywhere(labels)
    file = labels.group / "0" / "c" / "0" / "1" / "0"
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    with pytest.raises(OutputError, match=r"damaged file .*c/0/1/0"):
        labels.read()
