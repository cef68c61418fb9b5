from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline import grid
from pipeline.contract import Box, Halo, Triple
from pipeline.grid import blocks, faces, flat_index, grid_shape, whole

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
BLOCKS = st.tuples(*[st.integers(1, 9)] * 3)
REACH = st.tuples(*[st.integers(0, 5)] * 3)


def test_examples_in_the_docstrings_hold() -> None:
    results = doctest.testmod(grid)
    assert results.attempted >= 2
    assert results.failed == 0


@given(shape=SHAPES, block_shape=BLOCKS)
def test_blocks_cover_every_voxel_exactly_once(shape: Triple, block_shape: Triple) -> None:
    times = np.zeros(shape, int)
    found = list(blocks(shape, block_shape))
    for block in found:
        assert block.write.size > 0
        times[block.write.slices] += 1
    assert_array_equal(times, np.ones(shape))
    assert len(found) == np.prod(grid_shape(shape, block_shape))
    assert [b.index for b in found] == sorted(b.index for b in found)
    assert len({b.name for b in found}) == len(found)


@given(shape=SHAPES, block_shape=BLOCKS, below=REACH, above=REACH)
def test_blocks_are_read_with_their_halo_as_far_as_the_volume_goes(
    shape: Triple, block_shape: Triple, below: Triple, above: Triple
) -> None:
    volume = np.arange(np.prod(shape)).reshape(shape)
    for block in blocks(shape, block_shape, Halo(below, above)):
        for axis in range(3):
            low, high = block.write.begin[axis], block.write.end[axis]
            assert block.read.begin[axis] == max(0, low - below[axis])
            assert block.read.end[axis] == min(shape[axis], high + above[axis])
        read = volume[block.read.slices]
        assert read.shape == block.read.shape
        assert_array_equal(read[block.inner], volume[block.write.slices])


@given(shape=SHAPES, block_shape=BLOCKS, axis=st.integers(0, 2))
def test_every_face_belongs_to_exactly_one_block(
    shape: Triple, block_shape: Triple, axis: int
) -> None:
    volume = np.arange(np.prod(shape)).reshape(shape)
    found = []
    for block in blocks(shape, block_shape, Halo(above=(1, 1, 1))):
        lower, upper = faces(block, volume[block.read.slices], axis)
        assert lower.shape == upper.shape
        found += list(zip(lower.ravel().tolist(), upper.ravel().tolist(), strict=True))
    expected = []
    for at in np.ndindex(shape):
        above = list(at)
        above[axis] += 1
        if above[axis] < shape[axis]:
            expected.append((int(volume[at]), int(volume[tuple(above)])))
    assert sorted(found) == expected


@given(shape=SHAPES, block_shape=BLOCKS, reach=REACH, axis=st.integers(0, 2))
def test_a_wider_halo_gives_the_same_faces(
    shape: Triple, block_shape: Triple, reach: Triple, axis: int
) -> None:
    volume = np.arange(np.prod(shape)).reshape(shape)
    wide = Halo(reach, (reach[0] + 1, reach[1] + 1, reach[2] + 1))
    narrow = blocks(shape, block_shape, Halo(above=(1, 1, 1)))
    for one, other in zip(narrow, blocks(shape, block_shape, wide), strict=True):
        few = faces(one, volume[one.read.slices], axis)
        many = faces(other, volume[other.read.slices], axis)
        assert_array_equal(few[0], many[0])
        assert_array_equal(few[1], many[1])


def test_faces_without_a_halo_above_are_refused() -> None:
    block = next(blocks((4, 4, 4), (2, 4, 4)))
    with pytest.raises(AssertionError, match="halo of 1 above"):
        faces(block, np.zeros(block.read.shape), 0)


@given(shape=SHAPES, block_shape=BLOCKS, reach=REACH)
def test_flat_index_is_the_position_in_the_flattened_volume(
    shape: Triple, block_shape: Triple, reach: Triple
) -> None:
    expected = np.arange(np.prod(shape)).reshape(shape)
    for block in blocks(shape, block_shape, Halo(reach, reach)):
        index = flat_index(block)
        assert index.dtype == np.uint64
        assert_array_equal(index, expected[block.read.slices])


def test_flat_index_of_a_petavoxel_volume_does_not_overflow() -> None:
    shape = (10**5, 10**5, 10**5)
    last = grid.block_at((99_999, 99_999, 99_999), shape, (1, 1, 1), Halo())
    assert flat_index(last).item() == 10**15 - 1


def test_the_whole_is_one_block_without_halo() -> None:
    block = whole((3, 4, 5))
    assert block.write == block.read == Box((0, 0, 0), (3, 4, 5))
    assert list(blocks((3, 4, 5), (3, 4, 5))) == [block]
