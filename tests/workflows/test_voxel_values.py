"""Grey values of a sample, beside numpy's; padding, saturation, and what looks like labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from small_pipeline import paint_tissue

from workflows.voxel_values import GREY, LABELS, MASK, NOTHING, ROWS, Tally, Values

INTEGERS = ("uint8", "int8", "uint16", "int16")


def values_of(*boxes: NDArray[Any]) -> Values:
    tally = Tally(boxes[0].dtype)
    for box in boxes:
        tally.add(box)
    return tally.values()


def noise(shape: tuple[int, int, int], dtype: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(0).integers(20, 200, shape).astype(dtype)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(INTEGERS).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=3, max_dims=3, max_side=6))
    )
)
def test_integers_are_counted_exactly(data: NDArray[Any]) -> None:
    found = values_of(data)
    assert (found.lowest, found.highest) == (data.min(), data.max())
    assert found.distinct == len(np.unique(data))
    assert found.zero == np.mean(data == 0)
    for percentile, value in found.percentiles.items():
        assert value == np.percentile(data, percentile, method="inverted_cdf"), percentile
    assert sum(share for _, _, share in found.histogram) == pytest.approx(1)
    assert len(found.histogram) <= ROWS + 1


@settings(max_examples=100, deadline=None)
@given(arrays("float32", array_shapes(min_dims=3, max_dims=3, max_side=6)))
def test_numbers_that_are_not_finite_are_counted_and_left_out(data: NDArray[Any]) -> None:
    found = values_of(data)
    finite = data[np.isfinite(data)]
    assert found.nan == np.isnan(data).sum()
    assert found.infinite == np.isinf(data).sum()
    if finite.size:
        assert (found.lowest, found.highest) == (finite.min(), finite.max())
        middle = float(np.percentile(finite, 50, method="inverted_cdf"))
        assert found.percentiles[50.0] == pytest.approx(middle, rel=1 / 64, abs=1e-37)
    else:
        assert found.lowest is None
        assert found.percentiles == {}


def test_boxes_add_up() -> None:
    data = noise((8, 70, 60), "uint16")
    whole, parts = values_of(data), values_of(data[:3], data[3:4], data[4:])
    assert whole.percentiles == parts.percentiles
    assert whole.histogram == parts.histogram
    assert (whole.voxels, whole.distinct) == (parts.voxels, parts.distinct)


def test_a_histogram_has_rows_of_equal_width_over_the_range() -> None:
    data = np.arange(160, dtype=np.uint8).reshape(1, 10, 16)
    rows = values_of(data).histogram
    assert [begin for begin, _, _ in rows] == list(range(0, 160, 10))
    assert all(share == pytest.approx(1 / 16) for _, _, share in rows)


def test_a_few_far_values_do_not_flatten_the_histogram() -> None:
    data = noise((4, 50, 50), "uint16")
    data[0, 0, 0] = 60000
    rows = values_of(data).histogram
    assert rows[-1][1] < 250
    assert sum(share for _, _, share in rows) == pytest.approx(1)


def test_few_grey_values_have_a_row_each() -> None:
    data = np.array([[[0, 0, 3, 5]]], np.uint8)
    rows = {begin: share for begin, _, share in values_of(data).histogram}
    assert rows == {0: 0.5, 1: 0, 2: 0, 3: 0.25, 4: 0, 5: 0.25}


def test_squares_of_one_value_are_padding_and_smaller_ones_are_not() -> None:
    data = noise((2, 100, 100))
    data[0, :40, :50] = 0
    data[1, 60:92, 60:92] = 255
    data[1, :20, :20] = 0
    found = dict(values_of(data).padding)
    assert found == {0: 2000 / 20000, 255: 1024 / 20000}


def test_padding_of_a_middle_value_is_found_too() -> None:
    data = noise((1, 100, 100))
    data[0, 50:, :] = 77
    assert dict(values_of(data).padding)[77.0] == pytest.approx(0.5, abs=0.01)


def test_saturated_voxels_are_those_outside_padding() -> None:
    data = noise((1, 100, 100))
    data[0, :50] = 0
    data[0, 50:60, ::2] = 255
    low, high = values_of(data).saturated
    assert low == 0
    assert high == pytest.approx(500 / 5000)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tissue_looks_like_grey_values_and_its_ids_like_labels(dtype: str) -> None:
    tissue = paint_tissue((4, 80, 80), 30, 5)
    raw = values_of(tissue.raw.astype(dtype))
    assert raw.looks_like == GREY
    assert raw.equal_neighbours < 0.1
    for ids in (np.uint8, np.uint16, np.uint32, np.uint64, np.int64):
        found = values_of(tissue.cells.astype(ids))
        assert found.looks_like == LABELS
        assert found.distinct == len(np.unique(tissue.cells))
        assert found.padding == ()


def test_two_values_are_a_mask_and_one_is_nothing() -> None:
    mask = paint_tissue((2, 40, 40), 9, 5).cells > 0
    assert values_of(mask).looks_like == MASK
    assert values_of(mask.astype(np.uint8) * 255).looks_like == MASK
    assert values_of(np.full((2, 40, 40), 7, np.uint8)).looks_like == NOTHING
    assert values_of(np.full((2, 40, 40), 0.5, np.float32)).looks_like == NOTHING


def test_large_padding_does_not_make_tissue_look_like_labels() -> None:
    raw = paint_tissue((4, 80, 80), 30, 5).raw.copy()
    raw[:, :, :70] = 0
    assert values_of(raw).looks_like == GREY
