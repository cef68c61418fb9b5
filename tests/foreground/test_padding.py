"""Squares of one grey value are padding; black tissue is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.foreground.padding import opened_by_square, section_padding


@settings(deadline=None)  # the first call compiles
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    width=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    density=st.sampled_from([0.5, 0.9, 1.0]),
)
def test_opening_is_that_of_scipy_with_squares_inside_the_image(shape, width, seed, density):
    image = np.random.default_rng(seed).random(shape) < density
    before = image.copy()
    # scipy opens beyond the border too; a frame of False keeps its squares inside
    slow = ndimage.binary_opening(np.pad(image, width), np.ones((width, width)))
    expected = slow[width:-width, width:-width]
    assert np.array_equal(opened_by_square(image, width), expected)
    assert np.array_equal(image, before)


def test_a_square_of_the_value_is_padding_and_a_thinner_strip_is_not():
    section = np.full((8, 9), 7, np.uint8)
    section[2:5, 1:4] = 0
    section[6, :] = 0
    section[0:2, 8] = 0
    padding = section_padding(section, (0,), 3)
    expected = np.zeros((8, 9), bool)
    expected[2:5, 1:4] = True
    assert np.array_equal(padding, expected)


def test_every_value_makes_its_own_squares():
    section = np.full((4, 6), 9, np.uint8)
    section[:, :2], section[:, 4:] = 0, 255
    assert section_padding(section, (0, 255), 2)[0].tolist() == [True, True, False, False, True,
                                                                 True]  # fmt: skip
    assert section_padding(section, (255,), 2)[0].tolist() == [False] * 4 + [True] * 2
    mixed = np.where(np.indices((4, 6)).sum(0) % 2, 0, 255).astype(np.uint8)
    assert not section_padding(mixed, (0, 255), 2).any()


@pytest.mark.parametrize("value", [-1, 256, 0.5, 1e9])
def test_a_value_that_the_dtype_cannot_hold_occurs_nowhere(value):
    assert not section_padding(np.zeros((5, 5), np.uint8), (value,), 2).any()


def test_float_volumes_have_padding_too():
    section = np.zeros((4, 4), np.float32)
    section[0, 0] = 1e-7
    assert section_padding(section, (0.0,), 3).sum() == 15
    section[:] = np.float32(0.1)
    assert section_padding(section, (0.1,), 2).all(), "0.1 is stored as the nearest float32"
    assert not section_padding(section, (0.1 + 1e-6, 1e300), 2).any()
