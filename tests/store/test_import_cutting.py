"""Files and boxes of an import: they cover the region, fit the memory and decode little twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import Box
from pipeline.store.importers import cutting
from pipeline.store.importers.cutting import Cut, cut

LENGTHS = st.tuples(st.integers(1, 90), st.integers(1, 3000), st.integers(1, 3000))


def decoded(found: Cut, region: Box, source: tuple[int, ...], chunk: tuple[int, ...]) -> int:
    """Voxels that are decoded to read all boxes, counted one box after the other."""
    total = 0
    for box in found.boxes():
        touched = 1
        for b, e, first, n, c in zip(box.begin, box.end, region.begin, source, chunk, strict=True):
            low = (b + first) // c * c
            touched *= min(-(-(e + first) // c) * c, n) - low
        total += touched
    return total


@given(LENGTHS, LENGTHS, st.sampled_from([1, 2, 4, 8]), st.data())
def test_boxes_are_whole_files_that_fit_the_memory(
    source: tuple[int, int, int], chunk: tuple[int, int, int], item: int, data: st.DataObject
) -> None:
    bounds = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in source]
    (z0, z1), (y0, y1), (x0, x1) = (
        (low, high) if low < high else (0, n) for (low, high), n in zip(bounds, source, strict=True)
    )
    region = Box((z0, y0, x0), (z1, y1, x1))
    found = cut(region, source, chunk, item)
    for size, box, file in zip(region.shape, found.box_shape, found.file_shape, strict=True):
        assert box == size or box % file == 0
    assert math.prod(found.box_shape) * item <= cutting.LARGEST_BOX_BYTES
    assert sum(box.size for box in found.boxes()) == region.size


@pytest.mark.parametrize(
    ("source", "chunk", "item"),
    [
        ((5000, 8000, 8000), (1, 8000, 8000), 1),
        ((5000, 30000, 30000), (1, 30000, 30000), 1),
        ((500, 4096, 4096), (64, 64, 64), 1),
        ((500, 4096, 4096), (128, 128, 128), 8),
        ((5000, 1024, 1024), (5000, 1, 1), 1),
        ((500, 1000, 1500), (500, 1000, 1), 2),
        ((1, 200000, 200000), (1, 512, 512), 1),
        ((64, 1500, 1500), (1, 1, 1500), 4),
    ],
    ids=["sections", "large sections", "cubes", "cubes of labels", "columns", "planes of x",
         "a mosaic", "rows"],
)  # fmt: skip
def test_nothing_is_decoded_twice_where_memory_allows(
    source: tuple[int, int, int], chunk: tuple[int, int, int], item: int
) -> None:
    region = Box((0, 0, 0), source)
    found = cut(region, source, chunk, item)
    assert decoded(found, region, source, chunk) <= cutting.ENOUGH * region.size
    limit = max(cutting.BOX_BYTES, 2 * math.prod(chunk) * item)
    assert math.prod(found.box_shape) * item <= limit


@given(st.data())
def test_decoded_voxels_are_those_of_every_step(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 60))
    begin = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(begin + 1, length))
    chunk, step = data.draw(st.integers(1, length)), data.draw(st.integers(1, 70))
    expected = 0
    for start in range(begin, end, step):
        stop = min(start + step, end)
        expected += min(-(-stop // chunk) * chunk, length) - start // chunk * chunk
    assert cutting._Axis(begin, end, length, chunk).decoded(step) == expected


def test_an_absurd_length_takes_no_time() -> None:
    source = (64, 64, 1 << 45)
    found = cut(Box((0, 0, 0), source), source, (64, 64, 64), 1)
    assert found.file_shape[1] == found.box_shape[1] == 64


def test_files_are_as_large_as_the_source_allows() -> None:
    region = Box((0, 0, 0), (5000, 8192, 8192))
    assert cut(region, region.shape, (64, 64, 64), 1).file_shape == (32, 1024, 1024)
    assert cut(region, region.shape, (1, 8192, 8192), 1).file_shape == (2, 4096, 4096)


def test_where_memory_never_suffices_the_best_is_taken() -> None:
    source = (40000, 40000, 1000)
    region = Box((0, 0, 0), source)
    found = cut(region, source, source, 1)
    assert math.prod(found.box_shape) <= cutting.LARGEST_BOX_BYTES


def test_files_of_a_box_are_those_that_it_covers() -> None:
    found = Cut((5, 7, 4), (2, 3, 4), (4, 3, 4))
    assert [list(found.files(box)) for box in found.boxes()] == [
        [(0, 0, 0), (1, 0, 0)],
        [(0, 1, 0), (1, 1, 0)],
        [(0, 2, 0), (1, 2, 0)],
        [(2, 0, 0)],
        [(2, 1, 0)],
        [(2, 2, 0)],
    ]
