from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from pydantic import ValidationError

from pipeline import normalisation
from pipeline.contract import (
    BLOCKS,
    Block,
    Halo,
    Outputs,
    Resources,
    Table,
    Triple,
    VolumeInfo,
)
from pipeline.errors import InputError
from pipeline.grid import blocks
from pipeline.held import HeldInputs
from pipeline.normalisation import (
    BINS,
    STAGE,
    IntensityConfig,
    bins_of,
    normalise,
    percentiles,
    value_of,
)

SHAPE = (6, 11, 13)
CONFIG = IntensityConfig()
ALL = IntensityConfig(low_percentile=0, high_percentile=100)


def volume_of(dtype: str, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(-3, 40, SHAPE).astype(np.float32)
    top = np.iinfo(dtype).max
    return (rng.beta(2, 5, SHAPE) * top).astype(dtype)


def resources_of(raw: NDArray[Any]) -> Resources:
    z, y, x = raw.shape
    return Resources(VolumeInfo((z, y, x), (1, 1, 1), raw.dtype.name))


def histogram_of(block: Block, raw: NDArray[Any]) -> Outputs:
    assert STAGE.compute is not None
    inputs = HeldInputs({"raw": raw[block.read.slices]})
    return STAGE.compute(block, inputs, CONFIG, resources_of(raw))


def percentiles_of(parts: list[Outputs], config: IntensityConfig, resources: Resources) -> Table:
    """Both steps after the blocks."""
    sums, percentiles = STAGE.steps
    assert sums.tasks is not None
    inputs = HeldInputs({}, {BLOCKS: parts})
    tasks = range(sums.tasks(inputs, config, resources))
    kept = {sums.name: [sums.compute(task, inputs, config, resources) for task in tasks]}
    table: Table = percentiles.compute(0, HeldInputs({}, kept), config, resources)["intensity"]
    return table


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_extremes_of_the_volume_are_exact_whatever_the_blocks(dtype: str) -> None:
    raw = volume_of(dtype)
    for shape in (SHAPE, (2, 5, 6)):
        parts = [histogram_of(block, raw) for block in blocks(SHAPE, shape, Halo((1, 1, 1)))]
        table = percentiles_of(parts, CONFIG, resources_of(raw))
        assert table["least"].tolist() == [float(raw.min())]
        assert table["greatest"].tolist() == [float(raw.max())]


def by_blocks(raw: NDArray[Any], block_shape: Triple, config: IntensityConfig) -> Table:
    z, y, x = raw.shape
    parts = [histogram_of(block, raw) for block in blocks((z, y, x), block_shape)]
    return percentiles_of(parts, config, resources_of(raw))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("block_shape", [(2, 4, 4), (6, 11, 1), (1, 11, 13), (5, 7, 9)])
def test_blocks_give_the_percentiles_of_the_whole(dtype: str, block_shape: Triple) -> None:
    raw = volume_of(dtype)
    merged = by_blocks(raw, block_shape, CONFIG)
    together = by_blocks(raw, SHAPE, CONFIG)
    for column, values in together.items():
        assert_array_equal(merged[column], values)
    assert (merged["low"][0], merged["high"][0]) == percentiles(raw, CONFIG)
    assert merged["counts"].sum() == raw.size


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("low", "high"), [(0.5, 99.5), (10, 90), (0, 100), (49, 51)])
def test_percentiles_of_integers_are_exact(dtype: str, low: float, high: float) -> None:
    raw = volume_of(dtype)
    found = percentiles(raw, IntensityConfig(low_percentile=low, high_percentile=high))
    expected = np.percentile(raw, [low, high], method="inverted_cdf")
    assert_array_equal(found, expected)


@pytest.mark.parametrize(("low", "high"), [(0.5, 99.5), (10, 90), (0, 100)])
def test_percentiles_of_floats_are_exact_within_a_bin(low: float, high: float) -> None:
    raw = volume_of("float32")
    found = percentiles(raw, IntensityConfig(low_percentile=low, high_percentile=high))
    expected = np.percentile(raw, [low, high], method="inverted_cdf")
    assert expected[0] < 0
    assert_allclose(found, expected, rtol=1 / 128)
    assert (np.array(found) <= expected).all()


def test_few_hot_pixels_do_not_set_the_range() -> None:
    raw = np.full((1, 100, 100), 100, np.uint16)
    raw[0, :50] = 120
    raw[0, 0, :20] = 65535
    assert percentiles(raw, CONFIG) == (100, 120)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_where_percentiles_fall_together_the_whole_range_is_taken(dtype: str) -> None:
    raw = np.full((1, 100, 100), 8, dtype)
    raw[0, 0, 0], raw[0, 0, 1] = 4, 16
    assert percentiles(raw, CONFIG) == (4, 16)


@pytest.mark.parametrize("raw", [[3.0, 5.0], [-5.0, -3.0], [-2.0, 0.0], [0.0, 2.0]])
def test_percentiles_0_and_100_are_the_smallest_and_largest_float(raw: list[float]) -> None:
    found = percentiles(np.array([[raw]], np.float32), ALL)
    assert_allclose(found, raw, rtol=1 / 64)


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(a=FINITE, b=FINITE)
def test_bins_of_floats_keep_their_order(a: float, b: float) -> None:
    low, high = sorted([a, b])
    first, second = bins_of(np.array([low, high], np.float32)).tolist()
    assert 0 <= first <= second < BINS
    if high > low + max(abs(low), abs(high)) / 64 and high - low > 1e-37:
        assert first < second


@given(a=FINITE)
def test_the_value_of_a_bin_is_its_smallest(a: float) -> None:
    here = np.array([a], np.float32)
    index = int(bins_of(here)[0])
    value = value_of(index, "float32")
    assert value <= a
    assert int(bins_of(np.array([value], np.float32))[0]) == index
    below = np.nextafter(np.float32(value), np.float32(-np.inf))
    if np.isfinite(below) and value != 0:
        assert int(bins_of(np.array([below], np.float32))[0]) == index - 1


def test_minus_zero_is_zero() -> None:
    assert len(set(bins_of(np.array([0.0, -0.0], np.float32)).tolist())) == 1


@given(value=st.integers(0, 65535))
def test_integers_are_their_own_bin(value: int) -> None:
    assert bins_of(np.array([value], np.uint16)).tolist() == [value]
    assert value_of(value, "uint16") == value


@given(
    raw=npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=3, max_dims=3, max_side=4),
        elements=st.floats(-1000, 1000, width=32),
    )
)
def test_normalised_values_are_0_to_1_in_the_same_order(raw: NDArray[np.float32]) -> None:
    before = raw.copy()
    normal = normalise(raw, {"low": np.array([-500.0]), "high": np.array([700.0])})
    assert normal.dtype == np.float32
    assert (normal >= 0).all()
    assert (normal <= 1).all()
    order = np.argsort(raw, axis=None)
    assert (np.diff(normal.ravel()[order]) >= 0).all()
    assert_array_equal(raw, before)


def test_percentiles_become_0_and_1() -> None:
    raw = np.array([[[10, 20, 30, 60, 110, 200]]], np.uint8)
    normal = normalise(raw, {"low": np.array([10.0]), "high": np.array([110.0])})
    assert_allclose(normal, [[[0, 0.1, 0.2, 0.5, 1, 1]]], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_an_error_with_their_place(bad: float) -> None:
    raw = volume_of("float32")
    raw[4, 9, 12] = bad
    for block_shape in (SHAPE, (2, 4, 4)):
        with pytest.raises(InputError, match=r"NaN or infinite.*\[4, 9, 12\]"):
            by_blocks(raw, block_shape, CONFIG)
    with pytest.raises(InputError, match=r"\[4, 9, 12\]"):
        percentiles(raw, CONFIG)


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", 0), ("uint8", 255), ("uint16", 4000), ("float32", 2.5)]
)
def test_a_constant_volume_is_an_error_with_its_value(dtype: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"constant: every voxel is .*{value:g};"):
        by_blocks(np.full(SHAPE, value, dtype), (2, 4, 4), CONFIG)


def test_an_empty_volume_is_an_error() -> None:
    with pytest.raises(InputError, match="no voxels"):
        percentiles(np.zeros((0, 4, 4), np.uint8), CONFIG)


def test_a_range_beyond_float32_is_an_error() -> None:
    raw = np.array([[[-3e38, 3e38]]], np.float32)
    with pytest.raises(InputError, match="too far for float32"):
        percentiles(raw, CONFIG)


def test_blocks_see_their_own_voxels_alone_and_keep_what_is_not_empty() -> None:
    raw = volume_of("uint8")
    block = next(blocks(SHAPE, (2, 4, 4), Halo.symmetric(1, 1, 1)))
    kept = histogram_of(block, raw)["histogram"]
    grey, voxels = np.unique(raw[block.write.slices], return_counts=True)
    assert_array_equal(kept["bin"], grey)
    assert_array_equal(kept["count"], voxels)
    assert kept["bin"].dtype == np.uint16


@pytest.mark.parametrize("group", [1, 3, 5, 1024])
def test_histograms_are_added_in_groups_of_any_size(
    monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    raw = volume_of("uint16")
    expected = by_blocks(raw, (2, 4, 4), CONFIG)
    monkeypatch.setattr(normalisation, "GROUP", group)
    found = by_blocks(raw, (2, 4, 4), CONFIG)
    assert_array_equal(expected["counts"][0], np.bincount(raw.ravel(), minlength=BINS))
    for column, values in expected.items():
        assert_array_equal(found[column], values)


def test_the_highest_grey_value_is_counted() -> None:
    raw = np.array([[[0, 65535, 65535]]], np.uint16)
    table = by_blocks(raw, (1, 1, 2), ALL)
    assert (table["low"].tolist(), table["high"].tolist()) == ([0], [65535])
    assert table["counts"][0, [0, 65535]].tolist() == [1, 2]


def test_the_table_has_one_row_of_the_widths_that_are_declared() -> None:
    (spec,) = STAGE.tables
    table = by_blocks(volume_of("uint8"), SHAPE, CONFIG)
    for column, dtype in spec.columns.items():
        width = (spec.widths[column],) if column in spec.widths else ()
        assert (table[column].dtype, table[column].shape) == (np.dtype(dtype), (1, *width))


@pytest.mark.parametrize(
    "wrong",
    [{"low_percentile": -1}, {"low_percentile": 50}, {"high_percentile": 50},
     {"high_percentile": 101}],
    ids=str,
)  # fmt: skip
def test_percentiles_outside_their_half_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        IntensityConfig.model_validate(wrong)
