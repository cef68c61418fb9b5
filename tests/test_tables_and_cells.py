"""Tables by ranges, what tasks keep in memory, and the cells of a volume."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pipeline import contract, tables
from pipeline.cells import Cells, grown, seeds
from pipeline.contract import KEY, ROWS, Box, VolumeInfo
from pipeline.held import HeldInputs, HeldParts, HeldRows, held, key_range
from pipeline.tables import find, row_range, row_tasks, take


class Watched(HeldRows):
    """A table that notes which rows were read."""

    def __init__(self, table):
        super().__init__(table)
        self.asked = []

    def read(self, column, begin, end):
        self.asked.append((begin, end))
        return super().read(column, begin, end)


@pytest.fixture
def ten_rows(monkeypatch):
    """Tasks of ten rows instead of 65536."""
    monkeypatch.setattr(tables, "ROWS", 10)
    monkeypatch.setattr(contract, "ROWS", 10)


@given(st.integers(0, 5 * ROWS))
def test_tasks_write_every_row_once(count):
    ranges = [row_range(task, count) for task in range(row_tasks(count))]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == count
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))
    assert all(end - begin == ROWS for begin, end in ranges[:-1])
    assert ranges == [(0, 0)] or all(begin < end for begin, end in ranges)


@pytest.mark.usefixtures("ten_rows")
@pytest.mark.parametrize("shape", [(0,), (7,), (4, 3), (200,)])
def test_taken_rows_are_those_of_the_whole_column(shape):
    rng = np.random.default_rng(0)
    table = {"id": rng.integers(0, 99, 35).astype(np.uint64), "centre": rng.random((35, 3))}
    index = rng.integers(0, 35, shape).astype(np.uint64)
    for name, column in table.items():
        taken = take(held(table), name, index)
        assert taken.dtype == column.dtype
        assert_array_equal(taken, column[index])


@pytest.mark.usefixtures("ten_rows")
def test_only_stretches_that_hold_taken_rows_are_read():
    rows = Watched({"id": np.arange(100)})
    assert take(rows, "id", np.array([57, 12, 55, 18])).tolist() == [57, 12, 55, 18]
    assert [one for one in rows.asked if one != (0, 0)] == [(12, 19), (55, 58)]


@pytest.mark.usefixtures("ten_rows")
@given(
    ids=st.sets(st.integers(0, 2**64 - 1) | st.integers(0, 60), max_size=45),
    others=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 60), max_size=30),
)
def test_values_are_found_where_a_dictionary_says(ids, others):
    column = np.array(sorted(ids), np.uint64)
    place = {value: row for row, value in enumerate(column.tolist())}
    values = np.array([*others, *ids], np.uint64)
    found = find(held({"id": column}), "id", values)
    assert found.tolist() == [place.get(value, -1) for value in values.tolist()]


@pytest.mark.usefixtures("ten_rows")
def test_values_are_found_in_the_shape_in_which_they_are_given():
    values = np.array([[3, 0], [250, 35]], np.uint64)
    rows = Watched({"id": np.arange(0, 300, 5, dtype=np.uint64)})
    assert find(rows, "id", values).tolist() == [[-1, 0], [50, 7]]
    assert {one for one in rows.asked if one[1] - one[0] > 1} == {(0, 10), (50, 60)}


@pytest.mark.usefixtures("ten_rows")
def test_heads_are_the_first_rows_of_tasks():
    assert held({"id": np.arange(25)}).heads("id").tolist() == [0, 10, 20]
    assert held({"id": np.zeros((0, 2))}).heads("id").shape == (0, 2)


def test_rows_in_memory_are_clipped_and_columns_of_one_length():
    rows = held({"id": np.arange(5), "uv": np.zeros((5, 2))})
    assert (rows.count, sorted(rows), len(rows)) == (5, ["id", "uv"], 2)
    assert rows.read("id", 3, 99).tolist() == [3, 4]
    assert rows.read("uv", 4, 2).shape == (0, 2)
    assert rows["id"].tolist() == list(range(5))
    with pytest.raises(KeyError):
        rows["centre"]
    with pytest.raises(AssertionError, match="differ in rows"):
        held({"id": np.arange(5), "uv": np.zeros((4, 2))})


def test_key_ranges():
    assert key_range({"size": np.arange(3)}) == (1, 0)
    assert key_range({KEY: np.zeros(0, np.uint64)}) == (1, 0)
    assert key_range({KEY: np.array([4, 4, 2**64 - 1], np.uint64)}) == (4, 2**64 - 1)
    with pytest.raises(AssertionError, match="must ascend"):
        key_range({KEY: np.array([4, 3], np.uint64)})


@given(st.lists(st.lists(st.integers(0, 20)), max_size=6), st.integers(0, 22), st.integers(0, 22))
def test_rows_between_two_keys_are_those_of_every_part_in_order(keys, low, high):
    parts = HeldParts([{"t": {KEY: np.sort(np.array(k, np.uint64))}} for k in keys])
    found = [
        (begin, rows.read(KEY, begin, end).tolist())
        for rows, begin, end in parts.between("t", low, high)
    ]
    expected = [
        (sum(x < low for x in one), sorted(x for x in one if low <= x < high)) for one in keys
    ]
    assert found == [one for one in expected if one[1]]
    assert parts.counts("t").tolist() == [len(one) for one in keys]


def test_the_largest_key_is_found():
    parts = HeldParts([{"t": {KEY: np.array([5, 2**64 - 1], np.uint64)}}])
    ((_, begin, end),) = parts.between("t", 6, 2**64)
    assert (begin, end) == (1, 2)


def test_inputs_in_memory_give_tables_by_ranges_and_arrays_as_they_are():
    raw = np.zeros((1, 2, 3))
    rows = held({"id": np.arange(3)})
    names = {"edges/features": {"names": ["length"]}}
    known = {"raw": raw, "nodes": {"id": np.arange(2)}, "edges": rows, "attributes": names}
    inputs = HeldInputs(known, {"blocks": [{"t": {"a": np.arange(4)}}]})
    assert inputs["raw"] is raw
    assert inputs["edges"] is rows
    assert inputs["attributes"] == names
    assert inputs["nodes"].read("id", 1, 2).tolist() == [1]
    assert inputs.parts("blocks").counts("t").tolist() == [4]
    assert inputs.parts("blocks")[0]["t"]["a"].tolist() == [0, 1, 2, 3]
    assert set(inputs) == set(known)


SIZES = st.tuples(*[st.integers(1, 9)] * 3)


@given(shape=SIZES, cell=SIZES)
@settings(max_examples=40)
def test_every_voxel_lies_in_the_one_cell_that_is_said(shape, cell):
    cells = Cells(shape, cell)
    found = np.full(shape, -1)
    for number in range(cells.count):
        box = cells.box(number)
        assert (found[box.slices] == -1).all()
        assert box.size > 0
        found[box.slices] = number
        assert np.ravel_multi_index(cells.index(number), cells.grid) == number
    voxels = np.argwhere(np.ones(shape, bool))
    assert_array_equal(cells.of_voxels(voxels), found.ravel())
    ids = np.arange(1, found.size + 1, dtype=np.uint64)
    assert_array_equal(seeds(ids, shape), voxels)
    assert_array_equal(cells.of_ids(ids), found.ravel())


@given(
    shape=SIZES,
    cell=SIZES,
    corners=st.tuples(*[st.tuples(st.integers(-4, 8), st.integers(1, 9))] * 3),
)
def test_a_box_touches_the_cells_that_share_voxels_with_it(shape, cell, corners):
    begin = tuple(min(b, n - 1) for (b, _), n in zip(corners, shape, strict=True))
    end = tuple(max(b + length, 1) for b, (_, length) in zip(begin, corners, strict=True))
    cells = Cells(shape, cell)
    inside = [slice(max(b, 0), e) for b, e in zip(begin, end, strict=True)]
    marked = np.zeros(shape, bool)
    marked[tuple(inside)] = True
    expected = [n for n in range(cells.count) if marked[cells.box(n).slices].any()]
    assert cells.touched(Box(begin, end)) == expected


@given(shape=SIZES, cell=SIZES)
def test_doubled_cells_hold_two_by_two_by_two(shape, cell):
    cells = Cells(shape, tuple(min(c, n) for c, n in zip(cell, shape, strict=True)))
    double = cells.twice()
    for number in range(cells.count):
        voxel = np.array([cells.box(number).begin])
        (holder,) = double.of_voxels(voxel)
        assert double.index(int(holder)) == tuple(i // 2 for i in cells.index(number))


def test_the_axis_longest_in_nanometres_is_halved_until_few_superpixels_are_in_a_cell():
    volume = VolumeInfo((16, 512, 512), (40.0, 4.0, 4.0), "uint8")
    shapes = {n: Cells.of(volume, n, 1000).shape for n in (0, 1000, 1001, 2001, 4001, 8001)}
    assert shapes == {
        0: (16, 512, 512),
        1000: (16, 512, 512),
        1001: (16, 256, 512),
        2001: (16, 256, 256),
        4001: (16, 128, 256),
        8001: (16, 128, 128),
    }
    assert Cells.of(volume, 64_000, 1000).shape == (8, 64, 128)


def test_cells_end_at_one_voxel():
    flat = VolumeInfo((1, 5, 3), (40.0, 4.0, 4.0), "uint8")
    assert Cells.of(flat, 10**9, 1).shape == (1, 1, 1)


def test_a_box_grows_on_all_sides():
    assert grown(Box((0, 5, 9), (4, 6, 12)), (1, 0, 3)) == Box((-1, 5, 6), (5, 6, 15))
