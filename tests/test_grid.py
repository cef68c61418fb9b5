from __future__ import annotations

import doctest
from typing import Any

import numpy as np
from defective_sections import corrected, corrections_of, slow_columns, slow_steps
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline import grid
from pipeline.contract import Box, Halo, Triple
from pipeline.corrections import Corrections
from pipeline.grid import (
    Faces,
    blocks,
    columns_of,
    faces_box,
    faces_halo,
    faces_of,
    flat_index,
    grid_shape,
    whole,
    widened,
)

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
BLOCKS = st.tuples(*[st.integers(1, 9)] * 3)
REACH = st.tuples(*[st.integers(0, 5)] * 3)
WITHIN = (((0, 1, 0), 1), ((0, 0, 1), 2))
"""Steps of the faces within a section."""


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


@st.composite
def corrected_volumes(draw: st.DrawFn) -> tuple[Triple, Corrections]:
    shape = draw(SHAPES)
    return shape, draw(corrections_of(shape[0]))


def slow_faces(shape: Triple, corrections: Corrections) -> list[tuple[Triple, Triple, int]]:
    """Lower voxel, upper voxel and axis of every face of a volume."""
    steps = [(z, step, 0) for z, step in slow_steps(corrections)]
    steps += [(z, step, axis) for z in range(shape[0]) for step, axis in WITHIN]
    return inside(shape, steps)


def inside(shape: Triple, steps: list[tuple[int, Triple, int]]) -> list[Any]:
    found = []
    for z, step, axis in steps:
        for y, x in np.ndindex(shape[1:]):
            upper = z + step[0], y + step[1], x + step[2]
            if all(0 <= u < n for u, n in zip(upper, shape, strict=True)):
                found.append(((z, y, x), upper, axis))
    return sorted(found)


def listed(faces: list[Faces]) -> list[tuple[Triple, Triple, int]]:
    return [
        (at, (at[0] + one.step[0], at[1] + one.step[1], at[2] + one.step[2]), one.axis)
        for one in faces
        for at in voxels(one.lower)
    ]


def voxels(box: Box) -> list[Triple]:
    return [
        (z, y, x)
        for z in range(box.begin[0], box.end[0])
        for y in range(box.begin[1], box.end[1])
        for x in range(box.begin[2], box.end[2])
    ]


@given(volume=corrected_volumes(), block_shape=BLOCKS)
def test_every_face_belongs_to_the_block_of_its_lower_voxel_and_to_no_other(
    volume: tuple[Triple, Corrections], block_shape: Triple
) -> None:
    shape, corrections = volume
    found, columns = [], []
    for block in blocks(shape, block_shape, faces_halo(corrections.links)):
        faces = faces_of(block, corrections)
        lower = {at for at, _, _ in listed(faces)}
        assert lower <= set(voxels(block.write))
        found += listed(faces)
        columns += listed(columns_of(block, corrections, 2))
    assert sorted(found) == slow_faces(shape, corrections)
    two = [(z, step, 0) for z, step in slow_columns(corrections, 2)]
    assert sorted(columns) == inside(shape, two)


@given(volume=corrected_volumes(), block_shape=BLOCKS)
def test_the_halo_of_faces_holds_the_box_of_every_block(
    volume: tuple[Triple, Corrections], block_shape: Triple
) -> None:
    shape, corrections = volume
    for block in blocks(shape, block_shape, faces_halo(corrections.links)):
        faces = faces_of(block, corrections)
        box = faces_box(block, faces)
        ends = {voxel for lower, upper, _ in listed(faces) for voxel in (lower, upper)}
        assert ends | set(voxels(block.write)) <= set(voxels(box))
        assert set(voxels(box)) <= set(voxels(block.read))


def test_halos_of_faces_known_by_hand() -> None:
    assert faces_halo(()) == faces_halo(Corrections.none(9, 0, 1).links) == Halo(above=(1, 1, 1))
    gap_and_slips = corrected(9, bad=[3, 4], slips={2: (-5, 0), 6: (0, 7)})
    assert faces_halo(gap_and_slips.links) == Halo((0, 5, 0), (3, 1, 7))
    assert widened(Halo((0, 5, 0), (3, 1, 7)), (1, 2, 3)) == Halo((1, 7, 3), (4, 3, 10))


def test_a_slip_beyond_the_section_leaves_no_face_between_both_sections() -> None:
    corrections = corrected(2, slips={1: (0, -9)})
    faces = faces_of(whole((2, 3, 4)), corrections)
    assert {one.axis for one in faces} == {1, 2}
    assert faces_box(whole((2, 3, 4)), faces) == Box((0, 0, 0), (2, 3, 4))


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
