"""The graph by ranges of ids and rows, against the same graph in one go."""

from __future__ import annotations

import numpy as np
import pytest
from graph_of_parts import (
    CONFIG,
    CUBIC_NM,
    FLAT_NM,
    assert_same,
    finished,
    in_one_go,
    parts_of,
    resources_of,
    small_tasks,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import BLOCKS, KEY, Resources, VolumeInfo
from pipeline.graph.half_edges import sort_upper
from pipeline.graph.ranges import INDEX, Ranges, gather_range, index_blocks, node_rows
from pipeline.graph.unions import UNKNOWN, union
from pipeline.held import HeldInputs, HeldParts, HeldRows

BOTH = pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])


def seeded_superpixels(shape, rng, clump=None):
    """Clumps named by one of their voxels, as seeds do; some voxels masked."""
    clump = rng.integers(1, 4, 3) if clump is None else clump
    label = sum(
        (axis // size) * 1000**k
        for k, (axis, size) in enumerate(zip(np.indices(shape), clump, strict=True))
    )
    ids = np.zeros(shape, np.uint64)
    for name in np.unique(label):
        voxels = np.flatnonzero(label == name)
        ids.flat[voxels] = rng.choice(voxels) + 1 if rng.random() > 0.2 else 0
    return ids


def star(leaves):
    """What a block keeps of one superpixel that touches all the others."""
    n = leaves + 1
    ids = np.arange(1, n + 1, dtype=np.uint64)
    hub = np.uint64(n // 2)
    others = ids[ids != hub]
    pairs = np.sort(np.stack([np.full_like(others, hub), others], 1), axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return {
        "nodes": {
            "id": ids,
            "size_voxels": np.ones(n, np.uint64),
            "sums": np.zeros((n, 3), np.int64),
            "products": np.zeros((n, 6), np.int64),
            "box": np.tile([0, 0, 0, 1, 1, 1], (n, 1)),
        },
        "edges": {
            "ids": pairs,
            "faces": np.tile(np.array([1, 0, 0], np.uint64), (leaves, 1)),
            "sums": np.zeros((leaves, 3), np.int64),
            "products": np.zeros((leaves, 6), np.int64),
        },
        "overlaps": dict(UNKNOWN["overlaps"]),
    }


@BOTH
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 8)),
    block_shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
    rows=st.integers(1, 40),
    voxels=st.integers(1, 300),
    pairs=st.integers(1, 200),
    edges=st.integers(1, 50),
    blocks_at_once=st.integers(1, 9),
)
def test_any_blocks_ranges_and_orders_of_tasks_give_the_graph_in_one_go(
    voxel_size, seed, shape, block_shape, rows, voxels, pairs, edges, blocks_at_once
):
    rng = np.random.default_rng(seed)
    superpixels = seeded_superpixels(shape, rng)
    resources = resources_of(superpixels, voxel_size)
    parts = parts_of(superpixels, block_shape, voxel_size)
    rng.shuffle(parts)
    expected = in_one_go(parts, resources)
    with small_tasks(rows, voxels, pairs, edges, blocks_at_once):
        assert_same(finished(parts, resources, rng), expected)


def test_a_volume_of_background_blocks_alone_has_an_empty_graph():
    resources = Resources(VolumeInfo((4, 5, 6), FLAT_NM, "uint8"))
    graph = finished([], resources)
    assert {name: len(next(iter(t.values()))) for name, t in graph.items()} == {
        "nodes": 0,
        "edges": 0,
        "overlaps": 0,
        "neighbours": 0,
    }
    assert graph["edges"]["uv"].shape == (0, 2)


def test_ids_on_the_borders_of_ranges_belong_to_the_range_that_begins_or_ends_there():
    ranges = Ranges(span=10, count=3)
    ids = np.array([1, 10, 11, 20, 21, 30, 31, 1 << 60], np.uint64)
    assert ranges.of_ids(ids).tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_ranges_are_shorter_where_superpixels_are_small_and_never_longer_than_the_limit():
    resources = Resources(VolumeInfo((10, 10, 10), CUBIC_NM, "uint8"))
    with small_tasks(rows=16, voxels=400, pairs=20):
        few = HeldInputs({}, {BLOCKS: [star(30)]})
        many = HeldInputs({}, {BLOCKS: [star(40), star(59)]})
        assert Ranges.of(few, resources) == Ranges(400, 3)
        assert Ranges.of(many, resources) == Ranges(1000 * 20 // 99, 5)


class Watched(HeldParts):
    """Parts that note which of them are opened."""

    def __init__(self, parts):
        super().__init__(parts)
        self.opened = []

    def __getitem__(self, index):
        self.opened.append(index)
        return super().__getitem__(index)


def test_a_range_opens_the_blocks_that_hold_rows_of_it_and_no_others():
    names = np.arange(1, 8 * 8 * 8 + 1, dtype=np.uint64).reshape(8, 8, 8)
    resources = resources_of(names)
    parts = parts_of(names, (4, 2, 4))
    with small_tasks(rows=16, voxels=16):  # two rows of one section
        inputs = HeldInputs({}, {BLOCKS: parts})
        kept = [index_blocks(0, inputs, CONFIG, resources)]
        for task in (0, 5, 31):
            inputs = HeldInputs({}, {INDEX: kept})
            watched = inputs._parts[BLOCKS] = Watched(parts)
            nodes = gather_range(task, inputs, CONFIG, resources)["nodes"]
            assert nodes["id"].tolist() == list(range(16 * task + 1, 16 * task + 17))
            slab, strip = task // 4 // 4, task % 4
            assert watched.opened == [8 * slab + 2 * strip, 8 * slab + 2 * strip + 1]


def test_the_index_names_range_block_and_rows_known_by_hand():
    resources = Resources(VolumeInfo((1, 1, 12), CUBIC_NM, "uint8"))
    a, b = star(4), star(1)
    a["nodes"] = {**a["nodes"], "id": np.array([1, 4, 5, 9, 12], np.uint64)}
    with small_tasks(rows=16, voxels=4):
        index = index_blocks(0, HeldInputs({}, {BLOCKS: [a, b]}), CONFIG, resources)["nodes"]
    rows = np.stack([index[name] for name in (KEY, "block", "begin", "end")], 1).tolist()
    assert rows == [[0, 0, 0, 2], [0, 1, 0, 2], [1, 0, 2, 3], [2, 0, 3, 5]]


def test_union_does_not_depend_on_how_pieces_are_grouped():
    superpixels = seeded_superpixels((8, 9, 10), np.random.default_rng(3))
    parts = parts_of(superpixels, (3, 4, 4))
    assert len(parts) == 27

    for table in UNKNOWN:
        rows = [part[table] for part in parts]
        left = union(table, [union(table, [union(table, rows[:5]), *rows[5:11]]), *rows[11:]])
        right = union(table, [union(table, rows[20:]), union(table, rows[:20])])
        assert_same({table: left}, {table: right})
        assert len(next(iter(left.values()))) > 30


@pytest.mark.parametrize("rows", [64, 1 << 16])
def test_a_superpixel_with_50000_neighbours_is_like_any_other(rows):
    leaves = 50_000
    resources = Resources(VolumeInfo((1, 1, leaves + 1), CUBIC_NM, "uint8"))
    with small_tasks(rows=rows * 128, voxels=5000, edges=7000):
        graph = finished([star(leaves)], resources)
    hub = (leaves + 1) // 2 - 1
    first = graph["nodes"]["first_neighbour"].astype(int)
    other, edge = (graph["neighbours"][name].astype(int) for name in ("other", "edge"))
    everyone = np.delete(np.arange(leaves + 1), hub)
    assert len(other) == 2 * leaves
    assert first[hub + 1] - first[hub] == leaves
    of_hub = slice(first[hub], first[hub + 1])
    assert np.array_equal(other[of_hub], everyone)
    assert np.array_equal(np.sort(edge[of_hub]), np.arange(leaves))
    assert (np.delete(other, np.arange(*of_hub.indices(len(other)))) == hub).all()
    ends = graph["edges"]["uv"][edge[of_hub]].astype(int)
    assert np.array_equal(ends.sum(1), everyone + hub)


def test_an_edge_to_a_superpixel_that_no_block_holds_is_refused():
    part = star(3)
    resources = Resources(VolumeInfo((1, 1, 4), CUBIC_NM, "uint8"))
    inputs = HeldInputs({}, {BLOCKS: [part], "ranges": [part]})
    assert node_rows(np.array([[4, 1]], np.uint64), inputs, resources).tolist() == [[3, 0]]
    with pytest.raises(AssertionError, match="no block holds"):
        node_rows(np.array([[1, 5]], np.uint64), inputs, resources)


def test_upper_ends_are_sorted_with_their_edges():
    uv = np.array([[0, 2], [0, 3], [1, 2], [1, 4], [2, 3]], np.uint64)
    with small_tasks(rows=16, voxels=9, edges=3):
        halves = [
            sort_upper(task, HeldInputs({"edges": {"uv": uv}}), CONFIG, None)["half_edges"]
            for task in range(2)
        ]
    assert [h[KEY].tolist() for h in halves] == [[2, 2, 3], [3, 4]]
    assert [h["other"].tolist() for h in halves] == [[0, 1, 0], [2, 1]]
    assert [h["edge"].tolist() for h in halves] == [[0, 2, 1], [4, 3]]


class Bounded(HeldInputs):
    """Inputs whose tables and parts refuse to be read far beyond what a task may hold."""

    LIMIT = 200

    def __init__(self, known, parts):
        super().__init__(known, parts)
        for name, rows in self._known.items():
            self._known[name] = BoundedRows(rows)
        for step, some in self._parts.items():
            if step != BLOCKS:
                some._parts = [{t: BoundedRows(r) for t, r in p.items()} for p in some._parts]


class BoundedRows(HeldRows):
    def __init__(self, rows):
        super().__init__(dict(rows))

    def read(self, column, begin, end):
        read = super().read(column, begin, end)
        assert len(read) <= Bounded.LIMIT, f"{len(read)} rows of {column} at once"
        return read


@BOTH
def test_no_task_reads_a_whole_table_of_a_large_graph(voxel_size):
    rng = np.random.default_rng(7)
    superpixels = seeded_superpixels((24, 12, 12), rng, (2, 2, 2))
    parts = parts_of(superpixels, (4, 6, 6), voxel_size)
    resources = resources_of(superpixels, voxel_size)
    expected = in_one_go(parts, resources)
    assert len(expected["edges"]["uv"]) > 3 * Bounded.LIMIT
    with small_tasks(rows=16, voxels=64, edges=32, blocks_at_once=1):
        assert_same(finished(parts, resources, rng, Bounded), expected)


def test_steps_leave_the_parts_as_they_are():
    superpixels = seeded_superpixels((5, 6, 7), np.random.default_rng(1))
    parts = parts_of(superpixels, (3, 3, 3))
    before = [{t: {c: a.copy() for c, a in r.items()} for t, r in p.items()} for p in parts]
    finished(parts, resources_of(superpixels))
    for old, new in zip(before, parts, strict=True):
        assert_same(old, new)
