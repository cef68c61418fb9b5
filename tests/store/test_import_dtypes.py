"""Every dtype becomes one that is worked on, with its values, or is refused with a place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.errors import InputError
from pipeline.store.importers.conversion import conversion

SHAPE = (2, 2, 3)
GREY = ("uint8", "uint16", "float32", "bool", "int8", "int16", "float16", "float64")


def converted(data: Any, labels: bool = False) -> Any:
    return conversion("a.npy", data.dtype, labels).convert("a.npy", data, (10, 20, 30))


@given(st.sampled_from(GREY).flatmap(lambda name: arrays.arrays(name, SHAPE)))
def test_grey_values_are_kept_up_to_a_shift(data: Any) -> None:
    rule = conversion("a.npy", data.dtype)
    largest = float(np.finfo(np.float32).max)
    if data.dtype == np.float64 and (np.isfinite(data) & (np.abs(data) > 1.001 * largest)).any():
        with pytest.raises(InputError, match="float32"):
            converted(data)
        return
    expected = data.astype(np.float64) + rule.offset
    if data.dtype == np.float64:
        if (np.isfinite(data) & (np.abs(data) > 0.999 * largest)).any():
            return  # rounding decides
        expected = expected.astype(np.float32)
    assert np.array_equal(converted(data).astype(np.float64), expected, equal_nan=True)


def test_signed_values_are_shifted_by_half_the_range_and_it_is_said() -> None:
    data = np.array([[[-32768, -1, 0, 32767]]], np.int16)
    assert converted(data).tolist() == [[[0, 32767, 32768, 65535]]]
    assert converted(data).dtype == np.uint16
    assert "shifted by 32768" in conversion("a", np.dtype("int16")).note
    small = np.array([[[-128, 127]]], np.int8)
    assert converted(small).tolist() == [[[0, 255]]]
    assert converted(small).dtype == np.uint8


@given(
    st.sampled_from(["int32", "int64", "uint32", "uint64"]).flatmap(
        lambda name: arrays.arrays(name, SHAPE)
    )
)
def test_wide_integers_fit_or_are_refused(data: Any) -> None:
    if (data < 0).any() or (data > 65535).any():
        with pytest.raises(InputError, match="--labels"):
            converted(data)
    else:
        assert np.array_equal(converted(data), data)
        assert converted(data).dtype == np.uint16


@pytest.mark.parametrize("value", [-1, 70000])
def test_the_voxel_that_does_not_fit_is_named(value: int) -> None:
    data = np.zeros(SHAPE, np.int32)
    data[1, 0, 2] = value
    with pytest.raises(InputError, match=rf"value {value} at voxel 11, 20, 32"):
        converted(data)


def test_labels_of_any_integers_become_uint64() -> None:
    for name in ("bool", "uint8", "int32", "int64", "uint64"):
        data = np.ones(SHAPE, name)
        assert converted(data, labels=True).dtype == np.uint64
        assert np.array_equal(converted(data, labels=True), data)
    largest = np.full(SHAPE, 2**64 - 1, np.uint64)
    assert np.array_equal(converted(largest, labels=True), largest)


def test_negative_labels_are_refused_with_their_place() -> None:
    data = np.zeros(SHAPE, np.int64)
    data[0, 1, 1] = -7
    with pytest.raises(InputError, match="label -7 at voxel 10, 21, 31"):
        converted(data, labels=True)


@pytest.mark.parametrize(
    ("name", "labels"), [("float32", True), ("complex64", False), ("U3", False)]
)
def test_other_dtypes_are_refused(name: str, labels: bool) -> None:
    with pytest.raises(InputError, match=r"labels must be integers|no grey value"):
        conversion("a.npy", np.dtype(name), labels)
