"""What of a volume is looked at: bounded, all over it, chunks are not decoded in vain."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import Box, Triple
from workflows.sampling import DECODED, FEWEST, SIDE, choose_sample

LARGE: Triple = (1000, 8192, 8192)


def covered(box: Box, shape: Triple) -> bool:
    return all(0 <= b < e <= n for b, e, n in zip(box.begin, box.end, shape, strict=True))


def test_a_small_volume_is_read_whole_and_no_voxel_twice() -> None:
    sample = choose_sample((30, 70, 50), (8, 16, 16))
    seen = np.zeros(sample.shape, int)
    for box in sample.boxes:
        seen[box.slices] += 1
    assert (seen == 1).all()
    assert sample.is_whole
    assert sample.boxes == sample.slab_boxes


def test_sections_of_a_small_volume_are_read_in_slabs_of_whole_chunks() -> None:
    sample = choose_sample((100, 1024, 512), (16, 64, 64))
    assert [(box.begin[0], box.end[0]) for box in sample.boxes][:3] == [(0, 16), (16, 32), (32, 48)]
    assert sample.boxes[-1].end == (100, 1024, 512)


def test_of_a_large_volume_every_section_is_seen_where_that_is_cheap() -> None:
    sample = choose_sample(LARGE, (32, 128, 128))
    assert not sample.is_whole
    assert sample.runs == (range(1000),)
    assert sample.window == ((3968, 4224), (3968, 4224))
    assert sum(box.size for box in sample.slab_boxes) == 1000 * 256 * 256


def test_where_a_section_is_decoded_whole_runs_of_sections_are_seen() -> None:
    sample = choose_sample(LARGE, (1, 8192, 8192))
    assert len(sample.runs) == FEWEST
    assert [len(run) for run in sample.runs] == [8, 8]
    assert sample.runs[0].start == 0
    assert sample.runs[-1].stop == 1000


def test_boxes_lie_all_over_a_large_volume() -> None:
    sample = choose_sample(LARGE, (32, 128, 128))
    centres = np.array([np.add(box.begin, box.end) / 2 for box in sample.boxes]) / LARGE
    for axis in range(3):
        thirds = np.histogram(centres[:, axis], bins=3, range=(0, 1))[0] / len(centres)
        assert thirds.min() > 0.2, (axis, thirds)


def test_a_volume_that_is_decoded_in_one_piece_is_decoded_few_times() -> None:
    sample = choose_sample((2000, 2000, 2000), (2000, 2000, 2000))
    assert len(sample.boxes) == FEWEST
    assert max(box.size for box in sample.boxes) <= 1 << 26


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5000)] * 3),
    st.tuples(*[st.integers(1, 700)] * 3),
    st.sampled_from([1 << 16, 1 << 18]),
)
def test_samples_are_bounded_inside_the_volume_and_the_same_again(
    shape: Triple, unit: Triple, voxels: int
) -> None:
    sample = choose_sample(shape, unit, voxels)
    assert sample == choose_sample(shape, unit, voxels)
    assert all(covered(box, shape) for box in (*sample.boxes, *sample.slab_boxes))
    assert len(set(sample.boxes)) == len(sample.boxes)
    assert 0 < sample.share <= 1
    numbers = [z for run in sample.runs for z in run]
    assert numbers == sorted(set(numbers))
    assert sum(len(range(b.begin[0], b.end[0])) for b in sample.slab_boxes) == len(numbers)
    if math.prod(shape) > voxels:
        box = max(sample.boxes, key=lambda one: one.size)
        assert len(sample.boxes) <= max(FEWEST, voxels // box.size)
        decoded = [
            min(-(-(e - b) // u) * u, n)
            for (b, e), u, n in zip(sample.window, unit[1:], shape[1:], strict=True)
        ]
        run = max(len(one) for one in sample.runs)
        whole = sample.sections * math.prod(decoded)
        assert whole <= max(DECODED * voxels, FEWEST * run * math.prod(decoded))
        sides = [end - begin for begin, end in sample.window]
        assert all(s >= min(SIDE // 2, n) for s, n in zip(sides, shape[1:], strict=True))
