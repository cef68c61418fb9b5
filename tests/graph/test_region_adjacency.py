"""Region adjacency graphs known by hand, and of blocks against the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import Resources, VolumeInfo
from pipeline.graph import STAGE
from pipeline.graph.stage import GraphConfig, combine
from pipeline.grid import blocks, whole

CONFIG = GraphConfig()
SMALL = np.array(
    [
        [[10, 10, 20, 20], [10, 10, 20, 20], [10, 10, 20, 20], [0, 0, 20, 20]],
        [[50, 50, 50, 50], [50, 50, 50, 50], [70, 70, 70, 70], [70, 70, 70, 70]],
    ],
    np.uint64,
)


def resources_of(superpixels, voxel_size=(40.0, 4.0, 4.0)):
    return Resources(VolumeInfo(superpixels.shape, voxel_size, "uint8"))


def parts_of(superpixels, block_shape):
    resources = resources_of(superpixels)
    return [
        STAGE.compute(b, {"superpixels": superpixels[b.read.slices]}, CONFIG, resources)
        for b in blocks(superpixels.shape, block_shape, STAGE.halo(CONFIG, resources))
    ]


def graph_of(superpixels, voxel_size=(40.0, 4.0, 4.0)):
    resources = resources_of(superpixels, voxel_size)
    part = STAGE.compute(whole(superpixels.shape), {"superpixels": superpixels}, CONFIG, resources)
    return STAGE.merge([part], {}, CONFIG, resources)


def random_superpixels(shape, rng, values=40):
    """Random ids, far apart and large, in small clumps; some voxels masked."""
    small = rng.integers(0, values, tuple(-(-n // 2) for n in shape))
    clumps = small.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(map(slice, shape))]
    return np.where(clumps > 3, clumps.astype(np.uint64) * np.uint64(1 << 50), np.uint64(0))


def assert_same(a, b):
    assert a.keys() == b.keys()
    for table in a:
        assert a[table].keys() == b[table].keys()
        for name, column in a[table].items():
            assert column.dtype == b[table][name].dtype, name
            assert np.array_equal(column, b[table][name]), name


def slow_lengths(superpixels):
    """Faces per pair of ids, voxel by voxel."""
    lengths = {}
    for at in np.ndindex(superpixels.shape):
        for axis in range(3):
            to = tuple(i + (k == axis) for k, i in enumerate(at))
            if to[axis] == superpixels.shape[axis]:
                continue
            u, v = sorted((int(superpixels[at]), int(superpixels[to])))
            if u and u != v:
                lengths.setdefault((u, v), [0, 0])[axis > 0] += 1
    return lengths


def test_small_graph_known_by_hand():
    graph = graph_of(SMALL)
    nodes, edges = graph["nodes"], graph["edges"]
    assert nodes["id"].tolist() == [10, 20, 50, 70]
    assert nodes["size_voxels"].tolist() == [6, 8, 8, 8]
    assert nodes["centre"].tolist() == [[0, 1, 0.5], [0, 1.5, 2.5], [1, 0.5, 1.5], [1, 2.5, 1.5]]
    assert nodes["box"].tolist() == [
        [0, 0, 0, 1, 3, 2],
        [0, 0, 2, 1, 4, 4],
        [1, 0, 0, 2, 2, 4],
        [1, 2, 0, 2, 4, 4],
    ]
    assert edges["uv"].tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert edges["length_voxels"].tolist() == [3, 4, 2, 4, 4, 4]
    assert edges["across_sections"].tolist() == [False, True, True, True, True, False]


def test_tables_have_the_declared_columns():
    graph = graph_of(SMALL)
    for spec in STAGE.tables:
        assert {name: str(c.dtype) for name, c in graph[spec.name].items()} == spec.columns


def test_in_isotropic_data_only_flat_superpixels_meet_across_sections():
    deep = np.array([[[1]], [[1]], [[2]], [[3]]], np.uint64)
    across = graph_of(deep, (8.0, 8.0, 8.0))["edges"]["across_sections"]
    assert across.tolist() == [False, True]
    assert graph_of(deep)["edges"]["across_sections"].tolist() == [True, True]


def test_lengths_match_a_voxel_by_voxel_count():
    superpixels = random_superpixels((5, 7, 6), np.random.default_rng(0))
    graph = graph_of(superpixels)
    slow = slow_lengths(superpixels)
    pairs = graph["nodes"]["id"][graph["edges"]["uv"]]
    assert [tuple(map(int, pair)) for pair in pairs] == sorted(slow)
    assert graph["edges"]["length_voxels"].tolist() == [sum(slow[k]) for k in sorted(slow)]
    assert graph["edges"]["across_sections"].tolist() == [slow[k][1] == 0 for k in sorted(slow)]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 11), st.integers(1, 10)),
    block_shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
)
def test_blocks_of_any_shape_and_order_give_the_graph_of_the_whole(seed, shape, block_shape):
    rng = np.random.default_rng(seed)
    superpixels = random_superpixels(shape, rng)
    parts = parts_of(superpixels, block_shape)
    rng.shuffle(parts)
    merged = STAGE.merge(parts, {}, CONFIG, resources_of(superpixels))
    assert_same(merged, graph_of(superpixels))


def test_union_of_parts_is_associative():
    parts = parts_of(random_superpixels((8, 9, 10), np.random.default_rng(3)), (3, 4, 4))
    assert len(parts) == 27
    left = combine([combine([combine(parts[:5]), combine(parts[5:11])]), combine(parts[11:])])
    right = combine([combine(parts[:1]), combine([combine(parts[1:20]), combine(parts[20:])])])
    assert_same(left, right)


@pytest.mark.parametrize("value", [0, 9])
def test_a_volume_without_edges_gives_empty_tables(value):
    graph = graph_of(np.full((2, 3, 4), value, np.uint64))
    assert graph["edges"]["uv"].shape == (0, 2)
    assert graph["edges"]["length_voxels"].shape == (0,)
    assert graph["nodes"]["id"].tolist() == [9] * (value > 0)
    assert graph["nodes"]["centre"].tolist() == [[0.5, 1, 1.5]] * (value > 0)


def test_superpixels_are_not_changed():
    superpixels = SMALL.copy()
    graph_of(superpixels)
    assert np.array_equal(superpixels, SMALL)
