"""What is held back is not seen at all: neither learned from, nor beside or above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from small_pipeline import write_volume

from pipeline.contract import Box
from pipeline.training.targets import IGNORE
from pipeline.training.volumes import TrainingVolume
from workflows import training_data
from workflows.held_back_part import covered_up
from workflows.training_data import AnnotatedVolume, described, load

SHAPE = (9, 12, 16)
FLAT, CUBE = (50.0, 4.0, 4.0), (8.0, 8.0, 8.0)


def labels() -> NDArray[np.uint64]:
    """A neurite in every section, of other ids above than below, membrane right of it."""
    found = np.zeros(SHAPE, np.uint64)
    found[:5, :, :7], found[5:, :, :7] = 1, 2
    found[:, :, 9:] = 3
    return found


def loaded(
    folder: Path, box: tuple[int, ...], other: bool, size: tuple[float, float, float]
) -> TrainingVolume:
    """What is learned from; ``other``: the same volume with another content in the box."""
    raw = np.random.default_rng(0).integers(20, 200, SHAPE).astype(np.uint8)
    truth = labels()
    z, z_end, y, y_end, x, x_end = box
    if other:
        part = slice(z, z_end), slice(y, y_end), slice(x, x_end)
        raw[part] = np.random.default_rng(1).integers(0, 256, raw[part].shape)
        truth[part] = np.random.default_rng(2).integers(4, 9, truth[part].shape)
    name = "other" if other else "one"
    write_volume(folder / f"{name}.zarr", raw, size)
    write_volume(folder / f"{name}-truth.zarr", truth, size)
    values: dict[str, Any] = {
        "name": "v", "raw": f"{name}.zarr", "truth": f"{name}-truth.zarr",
        "truth_kind": "labels", "held_back": box,
    }  # fmt: skip
    return load(described(AnnotatedVolume.model_validate(values), folder), folder, context=2)[0]


@pytest.mark.parametrize("size", [FLAT, CUBE], ids=["flat", "cube"])
@pytest.mark.parametrize(
    "box",
    [(4, 6, 0, 12, 0, 16), (7, 9, 0, 12, 0, 16), (3, 5, 2, 9, 4, 10), (2, 9, 0, 12, 12, 16)],
    ids=["sections between", "last sections", "a box", "a strip"],
)
def test_nothing_that_is_learned_depends_on_what_is_held_back(
    box: tuple[int, ...],
    size: tuple[float, float, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_data, "FEW_SECTIONS", 2)
    one, other = (loaded(tmp_path, box, changed, size) for changed in (False, True))
    assert_array_equal(one.raw, other.raw)
    assert_array_equal(one.target, other.target)
    assert_array_equal(one.places, other.places)
    assert one.isotropic == (size == CUBE)


def test_in_the_place_of_a_held_back_neighbour_stands_the_section_on_the_other_side(
    tmp_path: Path,
) -> None:
    volume = loaded(tmp_path, (4, 6, 0, 12, 0, 16), False, FLAT)
    assert volume.places.tolist() == [0, 1, 2, 3, 6, 7, 8]
    seen = volume.section(0, 3, 2).raw.numpy()
    assert_array_equal(seen, volume.raw[[1, 2, 3, 2, 1]])


def test_sections_between_planes_along_z_are_the_mirror_image_of_those_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "FEW_SECTIONS", 2)
    volume = loaded(tmp_path, (5, 7, 0, 12, 0, 16), False, CUBE)
    assert volume.places.tolist() == list(range(9))
    assert_array_equal(volume.raw[5:7], volume.raw[[4, 3]])
    taught = (volume.target != IGNORE).any(axis=(1, 2))
    # The border of section 4 with 5, and of 7 with 6, would tell of what is held back.
    assert np.flatnonzero(taught).tolist() == [0, 1, 2, 3, 8]


def test_a_box_is_covered_by_the_mirror_image_of_what_lies_beside_it() -> None:
    raw = np.arange(12).reshape(1, 2, 6)
    found = covered_up(raw, Box((3, 0, 4), (4, 1, 6)), np.array([3]))
    assert_array_equal(found[0], [[0, 1, 2, 3, 3, 2], [6, 7, 8, 9, 10, 11]])
    assert_array_equal(raw, np.arange(12).reshape(1, 2, 6))


def test_a_part_wider_than_what_lies_beside_it_is_covered_by_several_mirror_images() -> None:
    raw = np.arange(6).reshape(1, 1, 6)
    found = covered_up(raw, Box((0, 0, 0), (1, 1, 4)), np.array([0]))
    assert_array_equal(found[0], [[4, 5, 5, 4, 4, 5]])


def test_other_sections_are_not_covered() -> None:
    raw = np.arange(24).reshape(2, 2, 6)
    assert covered_up(raw, Box((3, 0, 4), (4, 1, 6)), np.array([1, 2])) is raw
