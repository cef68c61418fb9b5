from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_array_equal

from pipeline.training.targets import IGNORE, from_labels, from_mask

X = IGNORE


@pytest.mark.parametrize("value", [1, 255, True, -3])
def test_membranes_are_zero_or_not_zero_as_told(value: int) -> None:
    mask = np.array([[[0, value], [value, 0]]])
    assert_array_equal(from_mask(mask, membrane_is_zero=True), [[[1, 0], [0, 1]]])
    assert_array_equal(from_mask(mask, membrane_is_zero=False), [[[0, 1], [1, 0]]])
    assert from_mask(mask, membrane_is_zero=True).dtype == np.uint8


def test_a_border_between_labels_is_two_pixels_thick() -> None:
    labels = np.array([[[1, 1, 1, 2, 2, 2]]])
    assert_array_equal(from_labels(labels, isotropic=False), [[[0, 0, 1, 1, 0, 0]]])
    assert_array_equal(
        from_labels(labels.transpose(0, 2, 1), isotropic=False),
        np.array([[[0, 0, 1, 1, 0, 0]]]).transpose(0, 2, 1),
    )


def test_borders_along_z_are_drawn_in_isotropic_volumes_only() -> None:
    labels = np.array([1, 1, 2, 2]).reshape(4, 1, 1)
    assert_array_equal(from_labels(labels, isotropic=True).ravel(), [0, 1, 1, 0])
    assert_array_equal(from_labels(labels, isotropic=False).ravel(), [0, 0, 0, 0])


def test_thick_membranes_of_zero_are_boundary_with_one_pixel_of_each_cell() -> None:
    labels = np.array([[[1, 1, 0, 0, 0, 0, 2, 2]]])
    assert_array_equal(from_labels(labels, isotropic=False), [[[0, 1, 1, 1, 1, 1, 1, 0]]])


def test_unknown_zero_is_ignored_but_for_its_border() -> None:
    labels = np.array([[[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 5, 0, 0], [5, 5, 5, 5, 5]]])
    expected = [[[X, X, X, X, X], [X, X, 1, X, X], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1]]]
    assert_array_equal(
        from_labels(labels, isotropic=False, zero_is_boundary=False),
        expected,
    )


LABELS = npst.arrays(
    np.uint64, npst.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 3)
)


@given(labels=LABELS, isotropic=st.booleans(), zero_is_boundary=st.booleans())
def test_targets_equal_a_voxel_by_voxel_reference(
    labels: np.ndarray, isotropic: bool, zero_is_boundary: bool
) -> None:
    before = labels.copy()
    found = from_labels(labels, isotropic=isotropic, zero_is_boundary=zero_is_boundary)
    assert_array_equal(labels, before)
    for at in np.ndindex(labels.shape):
        differs = False
        for axis in (0, 1, 2) if isotropic else (1, 2):
            for step in (-1, 1):
                other = list(at)
                other[axis] += step
                if 0 <= other[axis] < labels.shape[axis]:
                    differs |= bool(labels[tuple(other)] != labels[at])
        expected = 1 if differs else 0
        if labels[at] == 0 and not differs:
            expected = 1 if zero_is_boundary else IGNORE
        assert found[at] == expected


@given(labels=LABELS, seed=st.integers(0, 99))
def test_the_ids_of_the_neurons_do_not_matter(labels: np.ndarray, seed: int) -> None:
    ids = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(3)])
    assert_array_equal(
        from_labels(ids[labels.astype(int)], isotropic=True), from_labels(labels, isotropic=True)
    )
