"""Parts of the search for defects, against values known by hand and slow references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal
from scipy import ndimage

from pipeline.sections.config import FEWEST_BINS, SectionsConfig
from pipeline.sections.correlation import Spectra, local_contrast, peak_of
from pipeline.sections.evidence import quantiles
from pipeline.sections.greys import LEVELS, STEPS, Greys
from pipeline.sections.intensities import contrast_of
from pipeline.sections.loops import bin_sums, constant_bins, constant_squares, fine_detail
from pipeline.sections.ridges import ridges
from pipeline.sections.slips import slips_of
from pipeline.sections.stack import Stack, around
from pipeline.sections.states import runs, sources

CONFIG = SectionsConfig(smallest_slip_voxels=10, largest_slip_voxels=40)


def slow_products(own: Any, lower: Any, radius: tuple[int, int]) -> Any:
    """Sum over own bins q of own[q] * lower[q - s], for all shifts s."""
    ry, rx = radius
    height, width = own.shape
    found = np.zeros((2 * ry + 1, 2 * rx + 1), np.int64)
    for y in range(-ry, ry + 1):
        for x in range(-rx, rx + 1):
            moved = lower[ry - y : ry - y + height, rx - x : rx - x + width]
            found[ry + y, rx + x] = (own.astype(np.int64) * moved).sum()
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 12), st.integers(0, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99)
)
def test_products_for_all_shifts_are_the_sums_of_the_definition(
    height: int, width: int, ry: int, rx: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    upper, lower = rng.integers(-15, 16, (2, height + 2 * ry, width + 2 * rx)).astype(np.int8)
    found = Spectra.of(upper, (ry, rx)).over(Spectra.of(lower, (ry, rx)), (ry, rx))
    own = upper[ry : ry + height, rx : rx + width]
    assert_array_equal(found, slow_products(own, lower, (ry, rx)))


def test_the_peak_of_a_section_moved_down_and_left_is_down_and_left() -> None:
    lower = np.random.default_rng(0).integers(-15, 16, (40, 40)).astype(np.int8)
    upper = np.roll(lower, (3, -2), (0, 1))
    products = Spectra.of(upper, (5, 5)).over(Spectra.of(lower, (5, 5)), (5, 5))
    peak = peak_of(products, (8, 4))
    assert peak.height > 5 * peak.second
    np.testing.assert_allclose(peak.shift, (24, -8), atol=0.5)


def test_a_peak_between_two_bins_is_found_between_them() -> None:
    products = np.zeros((7, 7), np.int64)
    products[3, 3:5] = 100
    assert peak_of(products, (8, 8)).shift == (0.0, 4.0)


def test_local_contrast_is_in_standard_deviations_and_zero_beside_padding() -> None:
    rng = np.random.default_rng(0)
    sums = rng.integers(0, 900, (20, 24))
    none = np.zeros_like(sums)
    contrast, _ = local_contrast(sums, none, 4)
    window = sums[6:15, 6:15]
    count = window.size
    spread = np.sqrt(window.var() + 4.0**2 / count * count)
    assert contrast[10, 10] == np.clip(
        np.rint(8 * (sums[10, 10] - window.mean()) / spread), -15, 15
    )
    constant = none.copy()
    constant[:, :5] = 1
    beside, detail = local_contrast(sums, constant, 4)
    assert not beside[:, :6].any()
    assert not detail[:, :6].any()
    assert beside[:, 6:].any()
    changed = np.where(constant > 0, 5000, sums)
    assert_array_equal(local_contrast(changed, constant, 4)[0], beside)


def test_bins_squares_and_fine_detail_are_those_of_the_definition() -> None:
    grey = np.random.default_rng(0).integers(-500, 1000, (11, 14)).astype(np.int32)
    assert_array_equal(
        bin_sums(grey, 2, 3), grey[:10, :12].reshape(5, 2, 4, 3).sum((1, 3)).astype(np.int64)
    )
    expected = 9 * grey - ndimage.convolve(grey, np.ones((3, 3), np.int32))
    assert_array_equal(fine_detail(grey), np.clip(expected, -4095, 4095)[1:-1, 1:-1])
    bins = np.arange(11 * 14, dtype=np.uint16).reshape(11, 14)
    bins[:8, :8], bins[8:, 8:] = 3, 4
    level = np.minimum(np.arange(1 << 16), 5).astype(np.uint16)
    assert constant_squares(bins, level, 8, 6).tolist() == [0, 0, 0, 64, 3 * 6, 0]
    assert constant_bins(bins, 4, 4).tolist() == [[1, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("along", [0, 1])
def test_a_dark_line_is_a_dark_ridge_and_turned_round_a_bright_one(along: int) -> None:
    sums = np.full((12, 12), 400)
    sums[(slice(None), 6) if along else 6] = 100
    none = np.zeros_like(sums)
    dark, bright = ridges(sums, none, 1)
    assert dark.shape == (6, 6)
    assert dark.sum() > 3 * bright.sum()
    other = ridges(500 - sums, none, 1)
    assert_array_equal(other[0], bright)
    assert_array_equal(other[1], dark)
    masked = ridges(sums, np.ones_like(sums), 1)
    assert not masked[0].any()


def test_levels_keep_the_order_and_few_grey_values_have_a_level_each() -> None:
    counts = np.zeros((1, 1 << 16), np.uint64)
    counts[0, [5, 80, 300]] = 10, 1, 4
    intensity = {"counts": counts, "low": np.array([5.0]), "high": np.array([300.0])}
    greys = Greys.of(intensity, "uint16")
    assert greys.level[[5, 80, 300]].tolist() == [0, 1, 2]
    assert greys.value.tolist() == [5, 80, 300]
    assert greys.step[[5, 300]].tolist() == [0, STEPS]
    counts[0, 1000:60000] = 7
    many = Greys.of(intensity, "uint16")
    used = many.level[np.flatnonzero(counts[0])]
    assert (np.diff(used.astype(int)) >= 0).all()
    assert LEVELS // 2 < len(many.value) <= LEVELS
    assert np.bincount(used).max() <= 2 * len(used) / LEVELS


def test_quantiles_are_grey_values_and_unknown_without_voxels() -> None:
    counts = np.zeros((2, 10), np.int64)
    counts[0] = 10
    found = quantiles(counts, np.arange(10) * 2.0)
    assert found[0].tolist() == [0, 0, 4, 8, 14, 16, 18]
    assert np.isnan(found[1]).all()


@given(arrays.arrays(np.float64, st.integers(1, 12), elements=st.floats(-9, 9)), st.integers(0, 4))
def test_the_median_around_a_section_is_that_of_its_window(values: Any, reach: int) -> None:
    expected = [np.median(values[max(0, z - reach) : z + reach + 1]) for z in range(len(values))]
    assert_array_equal(around(values, reach), expected)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ([0, 1, 0, 0], [0, 0, 2, 3]),
        ([0, 1, 1, 0], [0, 0, 3, 3]),
        ([0, 2, 1, 4, 0], [0, 0, 0, 4, 4]),
        ([0, 1, 1, 1, 1, 0], [0, 1, 2, 3, 4, 5]),
        ([1, 0, 0, 1], [0, 1, 2, 3]),
        ([2, 4, 0, 2], [2, 2, 2, 2]),
        ([0, 3, 1, 0], [0, 1, 1, 3]),
        ([1, 1], [0, 1]),
        ([4, 1, 0, 0, 1, 2], [0, 1, 2, 3, 4, 5]),
        ([1, 4, 0, 0, 2, 1], [0, 2, 2, 3, 3, 5]),
    ],
    ids=[
        "one",
        "two",
        "three",
        "too many",
        "empty ends",
        "damaged ends",
        "duplicate",
        "nothing",
        "beyond empty ends",
        "before empty ends",
    ],
)
def test_gaps_are_bridged_by_the_nearest_usable_section(
    state: list[int], expected: list[int]
) -> None:
    assert sources(np.array(state, np.uint8), CONFIG).tolist() == expected


def test_runs_are_stretches_of_true() -> None:
    assert list(runs(np.array([1, 0, 1, 1, 0], bool))) == [(0, 1), (2, 4)]
    assert list(runs(np.zeros(3, bool))) == []


@pytest.mark.parametrize(
    ("dark", "expected"),
    [
        ([0.6, 0.7, 0.56], "dark_membranes"),
        ([0.3, 0.4, 0.45], "bright_membranes"),
        ([0.51, 0.49, 0.5], "unsure"),
        ([0.6, 0.6, 0.6, 0.4], "unsure"),
        ([np.nan, np.nan], "unsure"),
    ],
)
def test_contrast_is_called_inverted_only_where_most_sections_agree(
    dark: list[float], expected: str
) -> None:
    assert contrast_of(np.array(dark), np.ones(len(dark), bool)) == expected


def stack_of(shifts: list[tuple[float, float]], **changes: Any) -> Stack:
    """Sections that resemble the one below by 0.5 at the given shifts."""
    depth = len(shifts)
    shift = np.zeros((depth, 2, 2))
    shift[:, 0] = shifts
    one, values = np.ones(depth), np.full((depth, 2), 0.5)
    known = dict.fromkeys(("mean", "tissue", "commonest", "saturated", "dark"), one)
    known |= {"detail": one, "fine": one, "fine_alike": one, "quantiles": np.ones((depth, 7))}
    given = {"alike": values, "second": 0.1 * values, "straight": 0.2 * values, "shift": shift}
    return Stack(**{"bins": 4 * FEWEST_BINS, **known, **given, **changes})


def test_slips_add_up_and_small_ones_are_left_alone() -> None:
    stack = stack_of([(0, 0), (2.2, -3), (12.4, 0), (0, 0), (-3, 20)])
    found = slips_of(stack, np.ones(5, bool), CONFIG)
    assert found.slip.tolist() == [[0, 0], [0, 0], [12, 0], [0, 0], [-3, 20]]
    assert found.place.tolist() == [[0, 0], [0, 0], [12, 0], [12, 0], [9, 20]]


def test_a_section_that_comes_back_is_where_the_stack_was() -> None:
    stack = stack_of([(0, 0), (20, 5), (-18, -4), (0, 0)])
    assert slips_of(stack, np.ones(4, bool), CONFIG).place.tolist() == [
        [0, 0], [20, 5], [0, 0], [0, 0],
    ]  # fmt: skip


def test_a_slip_that_is_not_clear_is_none() -> None:
    shifts = [(0.0, 0.0), (20.0, 5.0)]
    for changes in ({"second": np.full((2, 2), 0.3)}, {"straight": np.full((2, 2), 0.45)}):
        assert not slips_of(stack_of(shifts, **changes), np.ones(2, bool), CONFIG).slip.any()
    assert not slips_of(stack_of(shifts, bins=FEWEST_BINS - 1), np.ones(2, bool), CONFIG).slip.any()


def test_a_slip_is_that_against_the_nearest_section_that_is_used() -> None:
    shift = np.zeros((4, 2, 2))
    shift[2, 0], shift[2, 1], shift[3, 0] = (50, 50), (0, 15), (0, 0)
    good = np.array([True, False, True, True])
    found = slips_of(stack_of([(0, 0)] * 4, shift=shift), good, CONFIG)
    assert found.place.tolist() == [[0, 0], [0, 0], [0, 15], [0, 15]]
