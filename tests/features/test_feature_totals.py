"""Sums of what blocks kept: every kept row counts once, in the task that its edge lies in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import intervals
from pipeline.contract import BLOCKS, Resources, VolumeInfo
from pipeline.features import index
from pipeline.features.index import index_blocks, index_tasks
from pipeline.features.statistics import NARROW, Statistics
from pipeline.features.totals import addends, total
from pipeline.held import HeldInputs
from pipeline.intervals import INDEX

CHANNELS = 2
RESOURCES = Resources(VolumeInfo((1, 10, 20), (8.0, 8.0, 8.0), "uint8"))


def indexed(parts, count):
    """Inputs of a step after the index, of a graph with so many edges."""
    known = {name: {"id": np.zeros(count)} for name in ("nodes", "edges")}
    nodes = {"nodes": {"key": np.zeros(0, np.uint64)}}
    kept = {BLOCKS: [{**nodes, **part} for part in parts]}
    inputs = HeldInputs(known, kept)
    tasks = range(index_tasks(inputs, None, RESOURCES))
    kept[INDEX] = [index_blocks(task, inputs, None, RESOURCES) for task in tasks]
    return HeldInputs(known, kept)


def random_statistics(rng, groups):
    return Statistics(
        count=rng.integers(0, 50, groups).astype(np.uint64),
        sums=rng.integers(0, 10**9, (groups, CHANNELS, 4)).astype(np.uint64),
        low=rng.integers(0, 200, (groups, CHANNELS)).astype(np.uint16),
        high=rng.integers(200, 511, (groups, CHANNELS)).astype(np.uint16),
        histogram=rng.integers(0, 9, (groups, CHANNELS, 32)).astype(np.uint16),
    )


def kept_parts(rng, ids, blocks):
    """Random rows of every block, some ids twice."""
    names = ("key", "upper")[: ids.shape[1]]
    parts, rows = [], []
    for _ in range(blocks):
        own = np.sort(rng.integers(0, len(ids), rng.integers(0, 2 * len(ids))))
        table = random_statistics(rng, len(own)).table()
        parts.append({"edges": {**dict(zip(names, ids[own].T, strict=True)), **table}})
        rows.append(own)
    return parts, rows


def slow_sums(parts, rows, count):
    found = {
        "count": np.zeros(count, np.uint64),
        "sums": np.zeros((count, CHANNELS, 4), np.uint64),
        "low": np.full((count, CHANNELS), 65535),
        "high": np.zeros((count, CHANNELS), np.int64),
        "histogram": np.zeros((count, CHANNELS, 32), np.int64),
    }
    for part, own in zip(parts, rows, strict=True):
        for i, row in enumerate(own):
            for name in ("count", "sums", "histogram"):
                found[name][row] += part["edges"][name][i]
            found["low"][row] = np.minimum(found["low"][row], part["edges"]["low"][i])
            found["high"][row] = np.maximum(found["high"][row], part["edges"]["high"][i])
    return found


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.sampled_from([1, 2]),
    highest=st.sampled_from([3, 200, 2**63]),
    task=st.integers(1, 30),
    stretch=st.integers(1, 30),
    interval=st.sampled_from([1, 5, 1000]),
)
def test_tasks_stretches_and_intervals_of_any_length_add_up_every_kept_row_once(
    seed, width, highest, task, stretch, interval
):
    # with few lower ids an edge's lower superpixel has edges in several tasks
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, highest, (40, width)).astype(np.uint64)
    if width == 2:
        ids[:, 1] = rng.integers(1, 2**63, len(ids))
    ids = np.unique(ids, axis=0)
    parts, rows = kept_parts(rng, ids, 5)
    expected = slow_sums(parts, rows, len(ids))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "INTERVAL_ROWS", interval)
        patch.setattr(intervals, "BLOCKS_AT_ONCE", 2)
        inputs = indexed(parts, len(ids))
        assert_sums(inputs, ids, expected, task, stretch)


def assert_sums(inputs, ids, expected, task, stretch):
    for begin in range(0, len(ids), task):
        own = ids[begin : begin + task]
        found = addends(inputs, "edges", own, RESOURCES)
        for first in range(0, len(own), stretch):
            some = slice(first, min(first + stretch, len(own)))
            here = slice(begin + some.start, begin + some.stop)
            added = summed(inputs, found, some, expected["count"][here])
            for name, column in added.table().items():
                assert np.array_equal(column, expected[name][here]), name


def summed(inputs, found, rows, samples):
    return total(inputs.parts(BLOCKS), "edges", found, rows, samples, CHANNELS)


def edge_part(pairs, count=1):
    ids = np.array(pairs, np.uint64)
    statistics = Statistics.empty(len(ids), CHANNELS, narrow=True)
    statistics.count[...] = count
    return {"edges": {"key": ids[:, 0], "upper": ids[:, 1], **statistics.table()}}


@pytest.mark.parametrize("extra", [(5, 8), (6, 7)])
def test_an_edge_of_a_block_that_the_graph_lacks_is_an_error(extra):
    graph = np.array([(5, 7), (5, 9), (7, 9)], np.uint64)
    inputs = indexed([edge_part(sorted([(5, 7), extra]))], 3)
    with pytest.raises(AssertionError, match="edges of a block are missing in the graph"):
        addends(inputs, "edges", graph, RESOURCES)


def test_edges_of_the_same_superpixel_in_other_tasks_are_left_out():
    inputs = indexed([edge_part([(5, 6), (5, 7), (5, 9), (7, 9), (7, 10)])], 5)
    (found,) = addends(inputs, "edges", np.array([(5, 7), (5, 9), (7, 9)], np.uint64), RESOURCES)
    assert (found.block, found.begin, found.into.tolist()) == (0, 1, [0, 1, 2])


def test_samples_that_no_block_kept_are_an_error():
    graph = np.array([(5, 7), (5, 9)], np.uint64)
    inputs = indexed([edge_part([(5, 7), (5, 9)], count=3)], 2)
    found = addends(inputs, "edges", graph, RESOURCES)
    assert summed(inputs, found, slice(0, 2), np.array([3, 3])).count.tolist() == [3, 3]
    with pytest.raises(AssertionError, match="not of this graph"):
        summed(inputs, found, slice(0, 2), np.array([3, 4]))


def test_only_blocks_that_hold_rows_of_a_task_are_opened(monkeypatch):
    # two blocks side by side in a section of 10 rows of 20 voxels, one edge in every row
    left = [(20 * y + 1, 20 * y + 5) for y in range(10)]
    parts = [edge_part(left[:5]), edge_part([(100, 106)]), edge_part(left[5:])]
    monkeypatch.setattr(index, "INTERVAL_ROWS", 1)
    inputs = indexed(parts, 11)
    found = addends(inputs, "edges", np.array(left[:2], np.uint64), RESOURCES)
    assert [(one.block, one.begin, one.into.tolist()) for one in found] == [(0, 0, [0, 1])]
    low, high = left[1][0], left[3][0]
    assert list(index.kept_rows(inputs, "edges", low, high, RESOURCES)) == [(0, 1, 4)]


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(0, 5 * NARROW), min_size=1, max_size=5),
    other=st.integers(0, 3 * NARROW),
)
def test_a_wide_histogram_is_kept_in_narrow_rows_that_add_up_to_it(counts, other):
    rng = np.random.default_rng(counts)
    wide = random_statistics(rng, len(counts))
    histogram = wide.histogram.astype(np.uint32)
    histogram[:, 0, 7], histogram[0, 1, 31] = counts, other
    wide = Statistics(wide.count, wide.sums, wide.low, wide.high, histogram)
    group, narrow = wide.narrowed()
    assert narrow.histogram.dtype == np.uint16
    assert len(group) <= sum(max(1, -(-n // NARROW)) for n in counts) + 3
    added = Statistics.empty(len(counts), CHANNELS)
    added.add(group, narrow)
    for name, column in added.table().items():
        assert np.array_equal(column, getattr(wide, name)), name
