from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from torch import Tensor

from pipeline.boundaries.model import load_model
from pipeline.boundaries.predict import (
    ORIENTATIONS,
    boundary_probability,
    halo_error,
    measure_halo,
    orient,
    predict_tile,
    reverse,
)
from pipeline.boundaries.prepared import prepared
from pipeline.packaged import model_path


def numbered(*shape: int) -> Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize(("turns", "flip"), ORIENTATIONS)
def test_reverse_undoes_orient(turns: int, flip: bool) -> None:
    sections = numbered(2, 3, 5)
    assert torch.equal(reverse(orient(sections, turns, flip), turns, flip), sections)


def test_the_eight_orientations_are_those_of_a_square() -> None:
    square = np.arange(9).reshape(3, 3)
    expected = {np.rot90(m, k).tobytes() for m in (square, square.T) for k in range(4)}
    found = {
        orient(torch.from_numpy(square), *o).contiguous().numpy().tobytes() for o in ORIENTATIONS
    }
    assert len(ORIENTATIONS) == len(found) == 8
    assert found == expected


def maps_of_all_orientations(network: Any, sections: Tensor) -> Tensor:
    """Slow reference with numpy's own turns: all 8 maps are kept."""
    maps = []
    for turns, flip in ORIENTATIONS:
        image = sections.numpy()
        image = image[..., ::-1] if flip else image
        image = np.ascontiguousarray(np.rot90(image, turns, (1, 2)))
        with torch.no_grad():
            p = boundary_probability(network(torch.from_numpy(image)[:, None])).numpy()
        p = np.rot90(p, -turns, (1, 2))
        maps.append(torch.from_numpy(np.ascontiguousarray(p[..., ::-1] if flip else p)))
    return torch.stack(maps)


REDUCTIONS = {
    "max": lambda maps: maps.amax(0),
    "min": lambda maps: maps.amin(0),
    "mean": lambda maps: maps.mean(0),
    "none": lambda maps: maps[0],
}


@pytest.mark.parametrize("augmentation", REDUCTIONS)
@pytest.mark.parametrize("which", ["lopsided", "rc_spcnet"])
def test_running_reduction_equals_all_maps_at_once(
    augmentation: str, which: str, lopsided: Any, tiny: Callable[..., Any]
) -> None:
    network = lopsided() if which == "lopsided" else tiny()
    sections = torch.rand(2, 16, 24, generator=torch.Generator().manual_seed(1))
    maps = maps_of_all_orientations(network, sections)
    assert (maps.amax(0) - maps.amin(0)).amax() > 0.01
    found = predict_tile(network, sections, augmentation, "cpu", "fp32")
    assert found.dtype == torch.float32
    assert found.shape == sections.shape
    torch.testing.assert_close(found, REDUCTIONS[augmentation](maps), atol=2e-6, rtol=0)


def test_max_mean_and_min_are_ordered(lopsided: Any) -> None:
    sections = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(2))
    low, mean, high = (
        predict_tile(lopsided(), sections, a, "cpu", "fp32") for a in ("min", "mean", "max")
    )
    assert bool((low <= mean).all())
    assert bool((mean <= high).all())


@pytest.mark.parametrize("turns", range(4))
def test_augmented_map_turns_with_the_section(turns: int, lopsided: Any) -> None:
    section = torch.rand(1, 12, 8, generator=torch.Generator().manual_seed(5))
    turned = torch.rot90(section, turns, (1, 2)).contiguous()
    straight = predict_tile(lopsided(), section, "max", "cpu", "fp32")
    found = predict_tile(lopsided(), turned, "max", "cpu", "fp32")
    torch.testing.assert_close(found, torch.rot90(straight, turns, (1, 2)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("augmentation", REDUCTIONS)
def test_sections_are_not_mutated(augmentation: str, lopsided: Any) -> None:
    sections = torch.rand(2, 8, 16, generator=torch.Generator().manual_seed(1))
    before = sections.clone()
    predict_tile(lopsided(), sections, augmentation, "cpu", "fp32")
    assert torch.equal(sections, before)


class Shifted(torch.nn.Module):
    """P(boundary) is the grey value ``reach`` pixels to the left: the field is known."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, sections: Tensor) -> Tensor:
        seen = torch.zeros_like(sections)
        if self.reach < sections.shape[3]:
            seen[..., self.reach :] = sections[..., : sections.shape[3] - self.reach]
        return torch.cat((torch.zeros_like(seen), 4 * seen), 1)


def noise(side: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).random((side, side), np.float32)


@pytest.mark.parametrize(("reach", "halo"), [(0, 4), (4, 4), (5, 8), (11, 12), (12, 12)])
def test_measured_halo_is_the_smallest_multiple_that_covers_the_field(
    reach: int, halo: int
) -> None:
    assert measure_halo(Shifted(reach), [noise(80)], stride=4) == halo


def test_measured_halo_is_that_of_the_worst_section() -> None:
    flat = np.zeros((80, 80), np.float32)
    assert measure_halo(Shifted(11), [flat], stride=4) == 4
    assert measure_halo(Shifted(11), [flat, noise(80), flat], stride=4) == 12


def test_measured_halo_ends_at_the_largest_allowed() -> None:
    assert measure_halo(Shifted(30), [noise(160)], stride=4, largest=16) == 16


def test_measured_halo_of_sections_without_context_is_one_stride() -> None:
    assert measure_halo(Shifted(30), [noise(16)], stride=8) == 8


def test_a_halo_that_is_too_small_is_told_by_its_error() -> None:
    sections = [np.zeros((80, 80), np.float32), noise(80)]
    assert halo_error(Shifted(11), sections, 12, stride=4) == 0
    error = halo_error(Shifted(11), sections, 8, stride=4)
    assert error is not None
    assert error > 0.1
    assert halo_error(Shifted(11), [noise(24)], 8, stride=4) is None


def test_tiles_with_the_measured_halo_equal_the_whole_within_one_grey_value(
    tiny: Callable[..., Any],
) -> None:
    network, size = tiny(4), 32
    y, x = np.mgrid[:192, :192].astype(np.float32)
    wavy = (0.5 + 0.4 * np.sin(y / 7 + np.sin(x / 11)) * np.cos(x / 9)).astype(np.float32)
    halo = measure_halo(network, [wavy], stride=8)
    assert halo % 8 == 0
    assert 8 <= halo <= 80
    whole = predict_tile(network, torch.from_numpy(wavy)[None], "none", "cpu", "fp32")[0]
    at = slice((192 - size) // 2 - halo, (192 + size) // 2 + halo)
    tile = predict_tile(
        network, torch.from_numpy(wavy[at, at].copy())[None], "none", "cpu", "fp32"
    )[0, halo:-halo, halo:-halo]
    centre = slice((192 - size) // 2, (192 + size) // 2)
    assert float((tile - whole[centre, centre]).abs().max()) <= 1 / 255


# The halo in the card of without-isbi2012 was measured on other sections: here it leaves 1.25.
@pytest.mark.parametrize(("name", "grey_values"), [("default", 1.0), ("without-isbi2012", 1.3)])
def test_tiles_of_the_shipped_networks_with_their_halo_equal_the_whole_within_one_grey_value(
    name: str, grey_values: float
) -> None:
    model = load_model(model_path(name))
    path = Path(str(resources.files("pipeline"))) / "data" / "sample" / "raw.tif"
    section = np.array(Image.open(path), np.float32) / 255
    wide = np.pad(section, 180, mode="reflect")  # of 560 pixels, so that there is more context
    network = prepared(model.network, "cpu")
    size, halo = 32, model.halo
    first = (wide.shape[0] - size) // 2
    centre = slice(first, first + size)
    at = slice(first - halo, first + size + halo)
    assert at.start > 3 * model.stride
    whole, tile = (
        predict_tile(network, torch.from_numpy(part.copy())[None], "none", "cpu", "fp32")[0]
        for part in (wide, wide[at, at])
    )
    assert whole[centre, centre].std() > 0.05
    inner = slice(halo, halo + size)
    assert float((tile[inner, inner] - whole[centre, centre]).abs().max()) <= grey_values / 255


def test_measuring_does_not_mutate_sections(lopsided: Any) -> None:
    section = noise(64)
    before = section.copy()
    measure_halo(lopsided(), [section], stride=4)
    assert_array_equal(section, before)
