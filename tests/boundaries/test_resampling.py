from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.boundaries.batches import Batches
from pipeline.boundaries.model import BoundaryModel
from pipeline.boundaries.resampling import (
    UNCHANGED,
    chosen_pixel,
    halo_voxels,
    steps_of,
    taps,
    window_of,
)
from pipeline.boundaries.stage import STAGE, BoundariesConfig, compute
from pipeline.contract import Box, Resources, Triple, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.errors import ConfigError
from pipeline.grid import blocks
from pipeline.held import HeldInputs

KNOWN = (3.0, 13.0)


class Blur(nn.Module):
    """P(boundary) follows the mean of 3 x 3 pixels: field 1, smooth, within 0..1."""

    def forward(self, sections: Tensor) -> Tensor:
        mean = nn.functional.avg_pool2d(sections, 3, 1, padding=1)
        return torch.cat((torch.zeros_like(mean), 6 * mean - 3), 1)


def resources(
    network: nn.Module,
    shape: Triple,
    voxel_size_nm: tuple[float, float, float],
    halo: int = 8,
    stride: int = 8,
) -> Resources:
    model = BoundaryModel(network.eval(), {}, halo, stride, KNOWN)
    volume, none = VolumeInfo(shape, voxel_size_nm, "uint8"), Corrections.none(shape[0], 0, 255)
    return Resources(
        volume, {"network": model, "device": "cpu", "batches": Batches("cpu")}, corrections=none
    )


def config(**values: Any) -> BoundariesConfig:
    return BoundariesConfig(precision="fp32", **{"augmentation": "none", "planes": "xy"} | values)


def predicted(
    raw: NDArray[np.uint8], block_shape: Triple, chosen: BoundariesConfig, known: Resources
) -> NDArray[np.uint8]:
    result = np.full(raw.shape, 77, np.uint8)
    for block in blocks(known.volume.shape, block_shape, STAGE.halo(chosen, known)):
        read = block.read.slices
        inputs = HeldInputs(
            {
                "raw": raw[read],
                "foreground": np.ones(block.read.shape, np.uint8),
            }
        )
        result[block.write.slices] = compute(block, inputs, chosen, known)["boundaries"]
    return result


def grey(shape: Triple) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("edges", "pixel"),
    [
        ((4.0, 4.0), None),
        ((4.0, 4.4), None),
        ((4.0, 5.0), 4.0),  # not square: to the finer edge
        ((8.0, 20.0), 8.0),
        ((2.0, 2.0), 4.0),  # 3.9 would do; twice is the next half
        ((2.0, 4.0), 4.0),
        ((2.9, 2.9), 4.35),
        ((0.1, 0.1), 0.8),  # no more than 8 voxels
        ((14.0, 14.0), 14 / 1.5),
        ((30.0, 30.0), 10.0),
        ((1000.0, 1000.0), 125.0),
    ],
)
def test_the_pixel_is_a_half_multiple_of_the_voxel_well_within_the_range(
    edges: tuple[float, float], pixel: float | None
) -> None:
    assert chosen_pixel(edges, KNOWN) == (None if pixel is None else pytest.approx(pixel))


@given(st.floats(0.5, 90), st.floats(1, 12), st.floats(1.02, 5))
def test_the_pixel_of_voxels_that_are_not_absurd_lies_in_the_range(
    edge: float, low: float, width: float
) -> None:
    high = low * width
    pixel = chosen_pixel((edge, edge), (low, high))
    if pixel is None:
        assert low <= edge <= high
    elif low / 6 <= edge <= 6 * high:
        assert low <= pixel <= high


@pytest.mark.parametrize(
    ("wanted", "size", "planes", "steps"),
    [
        ("auto", (50, 4, 4), (0,), (1, 1, 1)),
        ("auto", (50, 2, 2), (0,), (1, 2, 2)),
        ("auto", (50, 4, 8), (0,), (1, 1, 0.5)),
        ("auto", (8, 4, 4), (0, 1, 2), (0.5, 1, 1)),
        ("auto", (2, 2, 2), (0, 1, 2), (2, 2, 2)),
        ("auto", (30, 30, 30), (0, 1, 2), (1 / 3, 1 / 3, 1 / 3)),
        ("off", (50, 2, 2), (0,), (1, 1, 1)),
        (6.0, (50, 4, 4), (0,), (1, 1.5, 1.5)),
        (6.0, (4, 4, 4), (0, 1, 2), (1.5, 1.5, 1.5)),
    ],
)
def test_steps_along_the_axes_of_sections(
    wanted: float | Literal["auto", "off"],
    size: tuple[float, float, float],
    planes: tuple[int, ...],
    steps: tuple[float, ...],
) -> None:
    found = steps_of(wanted, VolumeInfo((9, 9, 9), size, "uint8"), planes, KNOWN)
    assert found == pytest.approx(steps, abs=1e-8)


def test_a_model_that_does_not_say_what_it_knows_changes_nothing() -> None:
    volume = VolumeInfo((9, 9, 9), (50, 1, 2), "uint8")
    assert steps_of("auto", volume, (0,), None) == UNCHANGED
    assert steps_of(2.0, volume, (0,), None) == (1, 2, 1)


@pytest.mark.parametrize("pixel", [0.4, 33.0])
def test_a_pixel_far_from_the_voxels_is_refused_with_what_is_allowed(pixel: float) -> None:
    with pytest.raises(ConfigError, match=r"pixel_nm.*give 0\.5 to 32"):
        steps_of(pixel, VolumeInfo((9, 9, 9), (50, 4, 4), "uint8"), (0,), KNOWN)


def slow_mean(values: NDArray[np.float64], begin: float, end: float) -> float:
    """Mean of a function that is constant on [j, j + 1), by a fine sum."""
    fine = (np.arange(20000) + 0.5) / 20000 * (end - begin) + begin
    return float(values[np.floor(fine).astype(int)].mean())


@pytest.mark.parametrize("step", [1.0, 1.5, 2.0, 2.7, 3.0, 8.0])
def test_long_samples_are_means_over_their_length(step: float) -> None:
    values = np.random.default_rng(0).random(100)
    found = taps(3, 5, step).of(torch.from_numpy(values)[None].float(), 1)[0]
    expected = [slow_mean(values, k * step, (k + 1) * step) for k in range(3, 8)]
    assert_allclose(found.numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("step", [0.5, 2 / 3, 0.3, 0.9])
def test_short_samples_of_a_straight_line_lie_on_it(step: float) -> None:
    line = torch.arange(50, dtype=torch.float32)[None]
    for spline in (False, True):
        found = taps(10, 9, step, spline=spline).of(line, 1)[0]
        assert_allclose(found.numpy(), (np.arange(10, 19) + 0.5) * step - 0.5, rtol=1e-5)


def test_a_spline_passes_through_a_parabola_and_straight_lines_cut_it_short() -> None:
    parabola = ((torch.arange(30, dtype=torch.float32) - 15) ** 2)[None]
    place = (np.arange(10, 40) + 0.5) * 0.5 - 0.5
    spline = taps(10, 30, 0.5, spline=True).of(parabola, 1)[0].numpy()
    straight = taps(10, 30, 0.5).of(parabola, 1)[0].numpy()
    assert_allclose(spline, (place - 15) ** 2, atol=1e-4)
    assert (straight > spline + 0.1).all()


@given(st.integers(-40, 1000), st.floats(0.13, 8), st.booleans())
def test_weights_sum_to_one(first: int, step: float, spline: bool) -> None:
    assert_allclose(taps(first, 7, step, spline=spline).weight.sum(0), 1, atol=1e-6)


@given(
    begin=st.integers(0, 60),
    size=st.integers(1, 40),
    beyond=st.integers(0, 60),
    halo=st.integers(0, 40),
    stride=st.sampled_from([1, 4, 8]),
    step=st.sampled_from([1.0, 0.2, 0.5, 2 / 3, 0.75, 1.1, 1.5, 2.0, 3.7, 8.0]),
)
@settings(max_examples=300)
def test_windows_read_no_more_than_the_halo_and_bring_sides_that_the_network_takes(
    begin: int, size: int, beyond: int, halo: int, stride: int, step: float
) -> None:
    shape = (1, begin + size + beyond, 5)
    tile = Box((0, begin, 0), (1, begin + size, 5))
    steps = (1.0, step, 1.0)
    window = window_of(tile, shape, 0, halo, stride, steps)
    reach = halo_voxels(halo, stride, steps)[1]
    low, high = window.box.begin[1], window.box.end[1]
    assert max(begin - reach, 0) <= low <= begin
    assert begin + size <= high <= min(begin + size + reach, shape[1])
    pixels = window.to_pixels(torch.full((2, *window.box.shape[1:]), 0.25))
    assert pixels.shape[1] % stride == pixels.shape[2] % stride == 0
    assert_allclose(pixels.numpy(), 0.25, rtol=1e-6)
    back = window.to_voxels(pixels)
    assert back.shape == (2, size, 5)
    assert_allclose(back.numpy(), 0.25, rtol=1e-6)


@pytest.mark.parametrize("step", [1.5, 2.0, 0.5, 2 / 3])
def test_tiles_see_the_same_pixels_at_the_same_place_of_the_strided_grid(step: float) -> None:
    shape, halo, stride = (1, 200, 8), 16, 8
    raw = np.random.default_rng(2).random((1, 200, 8)).astype(np.float32)
    begins = (0, 40, 80)
    seen = {}
    for begin in begins:
        tile = Box((0, begin, 0), (1, begin + 40, 8))
        window = window_of(tile, shape, 0, halo, stride, (1.0, step, 1.0))
        pixels = window.to_pixels(torch.from_numpy(raw[window.box.slices]))[0, :, 0]
        first = -stride if begin == 0 else math.floor((begin + 0.5) / step - 0.5) - halo
        first = -halo if begin == 0 else first - first % stride
        seen[begin] = {first + k: float(value) for k, value in enumerate(pixels)}
    for one, other in ((0, 40), (40, 80)):
        shared = seen[one].keys() & seen[other].keys()
        inner = [k for k in shared if 0 <= k < 160 / step]
        assert len(inner) > halo
        assert_array_equal([seen[one][k] for k in inner], [seen[other][k] for k in inner])


@pytest.mark.parametrize(
    ("size", "planes"),
    [
        ((40.0, 2.0, 2.0), "xy"),
        ((40.0, 30.0, 30.0), "xy"),
        ((40.0, 4.0, 8.0), "xy"),
        ((40.0, 2.9, 2.9), "xy"),
        ((2.0, 2.0, 2.0), "three"),
        ((16.0, 16.0, 16.0), "three"),
        ((8.0, 4.0, 4.0), "three"),
    ],
)
@pytest.mark.parametrize("block_shape", [(4, 16, 24), (12, 8, 48)])
def test_blocks_equal_the_whole_bit_for_bit(
    size: tuple[float, float, float], planes: Any, block_shape: Triple, tiny: Callable[..., Any]
) -> None:
    shape = (10, 33, 45)
    chosen = config(planes=planes, tile=(4, 8, 24), batch=3)
    known = resources(tiny(1), shape, size)
    raw = grey(shape)
    whole = predicted(raw, shape, chosen, known)
    assert whole.std() > 2
    assert_array_equal(predicted(raw, block_shape, chosen, known), whole)


@pytest.mark.parametrize(
    "size", [(40.0, 2.0, 2.0), (40.0, 30.0, 30.0), (40.0, 4.0, 8.0), (40.0, 2.9, 2.9)]
)
def test_tiles_leave_no_seam(size: tuple[float, float, float]) -> None:
    shape = (1, 61, 85)
    known = resources(Blur(), shape, size)
    raw = grey(shape)
    tiled = predicted(raw, shape, config(tile=(1, 16, 24)), known)
    untiled = predicted(raw, shape, config(tile=(1, 64, 96)), known)
    assert int(np.abs(tiled.astype(int) - untiled).max()) <= 1
    assert untiled.std() > 2


def test_two_nm_voxels_are_predicted_as_the_pixels_of_four_that_they_make() -> None:
    coarse = grey((2, 24, 40))
    fine = coarse.repeat(2, 1).repeat(2, 2)
    native = predicted(
        coarse, (2, 24, 40), config(tile=(1, 24, 40)), resources(Blur(), (2, 24, 40), (40, 4, 4))
    )
    found = predicted(
        fine, (2, 48, 80), config(tile=(1, 48, 80)), resources(Blur(), (2, 48, 80), (40, 2, 2))
    ).astype(int)
    # linear between the centres: a voxel is 9 parts of its pixel, 3 and 3 and 1 of its neighbours
    p = native.astype(float)
    expected = (9 * p[:, 5, 7] + 3 * p[:, 4, 7] + 3 * p[:, 5, 6] + p[:, 4, 6]) / 16
    assert_allclose(found[:, 10, 14], expected, atol=1)
    assert_allclose(found[:, ::2, ::2][:, 1:-1, 1:-1].mean(), p[:, 1:-1, 1:-1].mean(), atol=2)


@pytest.mark.parametrize("size", [(8.0, 4.0, 4.0), (4.0, 4.0, 4.0)])
def test_three_planes_of_longer_voxels_see_square_pixels(
    size: tuple[float, float, float],
) -> None:
    class Seen(Blur):
        shapes: set[tuple[int, ...]]

        def forward(self, sections: Tensor) -> Tensor:
            self.shapes.add(tuple(sections.shape[2:]))
            return super().forward(sections)

    network = Seen()
    network.shapes = set()
    shape = (int(64 / size[0]), 16, 16)
    known = resources(network, shape, size, halo=0)
    predicted(grey(shape), shape, config(planes="three", tile=shape), known)
    assert network.shapes == {(16, 16)}


def test_the_halo_is_that_of_the_network_where_voxels_are_pixels() -> None:
    assert halo_voxels(160, 8, UNCHANGED) == (160, 160, 160)
    assert halo_voxels(160, 8, (1.0, 2.0, 0.5)) == (160, 341, 88)
