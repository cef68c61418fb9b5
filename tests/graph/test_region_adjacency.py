"""Region adjacency graphs known by hand, and of blocks against the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from defective_sections import corrected, corrections_of, slow_columns, slow_steps
from graph_of_parts import (
    CONFIG,
    CUBIC_NM,
    FLAT_NM,
    assert_same,
    finished,
    parts_of,
    resources_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import Block, Box, Halo
from pipeline.corrections import Corrections
from pipeline.graph import STAGE
from pipeline.grid import blocks

BOTH = pytest.mark.parametrize("voxel_size", [FLAT_NM, CUBIC_NM], ids=["flat", "cubic"])
SMALL = np.array(
    [
        [[10, 10, 20, 20], [10, 10, 20, 20], [10, 10, 20, 20], [0, 0, 20, 20]],
        [[50, 50, 50, 50], [50, 50, 50, 50], [70, 70, 70, 70], [70, 70, 70, 70]],
    ],
    np.uint64,
)


def graph_of(superpixels, voxel_size=FLAT_NM, corrections=None):
    parts = parts_of(superpixels, superpixels.shape, voxel_size, corrections)
    return finished(parts, resources_of(superpixels, voxel_size))


def random_superpixels(shape, rng, values=40):
    """Random ids, far apart and large, in small clumps; some voxels masked."""
    small = rng.integers(0, values, tuple(-(-n // 2) for n in shape))
    clumps = small.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(map(slice, shape))]
    return np.where(clumps > 3, clumps.astype(np.uint64) * np.uint64(1 << 50), np.uint64(0))


def slow_pairs(superpixels, steps):
    """Per pair of ids: axis and midpoint of every pair of voxels a step (z, step, axis) apart."""
    found = {}
    for z, step, axis in steps:
        for y, x in np.ndindex(superpixels.shape[1:]):
            to = z + step[0], y + step[1], x + step[2]
            if not all(0 <= i < n for i, n in zip(to, superpixels.shape, strict=True)):
                continue
            u, v = sorted((int(superpixels[z, y, x]), int(superpixels[to])))
            if u and u != v:
                middle = [(p + q) / 2 for p, q in zip((z, y, x), to, strict=True)]
                found.setdefault((u, v), []).append((axis, middle))
    return found


def slow_faces(superpixels, corrections):
    """Axis and midpoint of every face, voxel by voxel."""
    steps = [(z, step, 0) for z, step in slow_steps(corrections)]
    for z in range(len(superpixels)):
        steps += [(z, (0, 1, 0), 1), (z, (0, 0, 1), 2)]
    return slow_pairs(superpixels, steps)


def slow_overlaps(superpixels, corrections):
    """Per pair of ids: how often one lies two sections above the other."""
    steps = [(z, step, 0) for z, step in slow_columns(corrections, 2)]
    return {pair: len(found) for pair, found in slow_pairs(superpixels, steps).items()}


def slow_moments(positions):
    """zz, zy, zx, yy, yx, xx of positions (n, 3)."""
    covariance = np.cov(np.asarray(positions, float).T, ddof=0)
    return covariance[np.triu_indices(3)]


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
        for name, dtype in spec.columns.items():
            column = graph[spec.name][name]
            assert str(column.dtype) == dtype
            width = (spec.widths[name],) if name in spec.widths else ()
            assert column.shape[1:] == width
    assert {spec.name for spec in STAGE.tables} == graph.keys()


def test_in_isotropic_data_only_flat_superpixels_meet_across_sections():
    deep = np.array([[[1]], [[1]], [[2]], [[3]]], np.uint64)
    across = graph_of(deep, CUBIC_NM)["edges"]["across_sections"]
    assert across.tolist() == [False, True]
    assert graph_of(deep)["edges"]["across_sections"].tolist() == [True, True]


DEFECTS = {
    "none": {},
    "gap": {"bad": [2]},
    "double gap": {"bad": [2, 3]},
    "bad ends": {"bad": [0, 4]},
    "slip": {"slips": {2: (1, -2)}},
    "slip in a gap": {"bad": [2], "slips": {1: (-1, 0), 2: (0, 2), 4: (2, -1)}},
}


@pytest.mark.parametrize("defects", DEFECTS.values(), ids=DEFECTS)
@BOTH
def test_faces_and_moments_of_contacts_match_a_voxel_by_voxel_count(voxel_size, defects):
    superpixels = random_superpixels((5, 7, 6), np.random.default_rng(0))
    corrections = corrected(5, **defects)
    graph = graph_of(superpixels, voxel_size, corrections)
    slow = slow_faces(superpixels, corrections)
    edges = graph["edges"]
    pairs = [tuple(map(int, pair)) for pair in graph["nodes"]["id"][edges["uv"]]]
    assert pairs == sorted(slow)
    for row, pair in enumerate(pairs):
        axes = [axis for axis, _ in slow[pair]]
        middles = [middle for _, middle in slow[pair]]
        assert edges["faces"][row].tolist() == [axes.count(axis) for axis in range(3)]
        assert edges["length_voxels"][row] == len(axes)
        if voxel_size == FLAT_NM:
            assert edges["across_sections"][row] == (set(axes) == {0})
        assert edges["centre"][row] == pytest.approx(np.mean(middles, 0), abs=1e-12)
        assert edges["moments"][row] == pytest.approx(slow_moments(middles), abs=1e-12)


def column(*ids):
    """Superpixels one voxel wide, one above the other."""
    return np.array(ids, np.uint64).reshape(-1, 1, 1)


def edges_by_ids(superpixels, voxel_size, corrections):
    """Ids of both ends -> faces along z, and whether the edge joins sections."""
    graph = graph_of(superpixels, voxel_size, corrections)
    edges, ids = graph["edges"], graph["nodes"]["id"]
    return {
        tuple(ids[uv].tolist()): (int(faces[0]), bool(across))
        for uv, faces, across in zip(
            edges["uv"], edges["faces"], edges["across_sections"], strict=True
        )
    }


@BOTH
def test_across_a_gap_the_usable_sections_touch_and_so_do_those_that_stand_in_it(voxel_size):
    found = edges_by_ids(column(1, 2, 3, 4), voxel_size, corrected(4, bad=[1, 2]))
    assert found == {(1, 2): (1, True), (2, 3): (1, True), (3, 4): (1, True), (1, 4): (1, True)}


def test_faces_across_a_gap_and_beside_it_are_those_of_one_edge():
    deep = np.array([[[1, 1]], [[1, 2]], [[2, 2]]], np.uint64)
    straight = edges_by_ids(deep, CUBIC_NM, corrected(3))
    bridged = edges_by_ids(deep, CUBIC_NM, corrected(3, bad=[1]))
    assert straight == {(1, 2): (2, False)}
    assert bridged == {(1, 2): (4, False)}


def test_where_the_stack_slips_faces_and_overlaps_move_aside():
    superpixels = np.zeros((3, 1, 4), np.uint64)
    superpixels[0, 0], superpixels[1, 0], superpixels[2, 0] = range(1, 5), range(5, 9), range(9, 13)
    found = graph_of(superpixels, corrections=corrected(3, slips={1: (0, 2), 2: (0, -1)}))
    ids = found["nodes"]["id"]
    across = found["edges"]["across_sections"]
    assert ids[found["edges"]["uv"][across]].tolist() == [
        [1, 7], [2, 8], [6, 9], [7, 10], [8, 11],
    ]  # fmt: skip
    assert found["edges"]["centre"][across].tolist()[0] == [0.5, 0, 1]
    assert ids[found["overlaps"]["uv"]].tolist() == [[1, 10], [2, 11], [3, 12]]


def test_moments_of_superpixels_match_their_voxels():
    superpixels = random_superpixels((5, 7, 6), np.random.default_rng(1))
    nodes = graph_of(superpixels)["nodes"]
    assert len(nodes["id"]) == 20
    for row, name in enumerate(nodes["id"]):
        voxels = np.argwhere(superpixels == name)
        assert nodes["centre"][row] == pytest.approx(voxels.mean(0))
        assert nodes["moments"][row] == pytest.approx(slow_moments(voxels), abs=1e-12)


def test_moments_of_a_bar_and_of_its_contact_known_by_hand():
    superpixels = np.full((1, 4, 5), 3, np.uint64)
    superpixels[:, 0] = 2
    graph = graph_of(superpixels)
    assert graph["nodes"]["moments"].tolist() == [
        [0, 0, 0, 0, 0, 2],  # five voxels in a row: (4 + 1 + 0 + 1 + 4) / 5
        [0, 0, 0, 2 / 3, 0, 2],
    ]
    assert graph["edges"]["faces"].tolist() == [[0, 5, 0]]
    assert graph["edges"]["centre"].tolist() == [[0, 0.5, 2]]
    assert graph["edges"]["moments"].tolist() == [[0, 0, 0, 0, 0, 2]]


@pytest.mark.parametrize("far", [10**6, 10**9, 10**12])
def test_moments_are_the_same_far_from_the_origin_where_sums_of_products_wrap(far):
    superpixels = random_superpixels((3, 8, 9), np.random.default_rng(5), 8)
    near = graph_of(superpixels)
    corner = min(far, 10**6), far, far
    box = Box(corner, tuple(c + n for c, n in zip(corner, superpixels.shape, strict=True)))
    straight = Corrections.none(box.end[0], 0, 1)
    resources = resources_of(superpixels, corrections=straight)
    block = Block((0, 0, 0), box, box, box.end)
    part = STAGE.compute(block, {"superpixels": superpixels}, CONFIG, resources)
    found = finished([part], resources)
    for table in ("nodes", "edges"):
        assert np.array_equal(found[table]["moments"], near[table]["moments"])
        assert found[table]["centre"] == pytest.approx(near[table]["centre"] + corner, rel=1e-15)


def test_more_pairs_than_a_table_begins_with_are_all_found():
    ids = np.arange(1, 12 * 20 * 25 + 1, dtype=np.uint64).reshape(12, 20, 25) * 7919
    graph = graph_of(ids)
    n = ids.size
    assert len(graph["nodes"]["id"]) == n
    assert len(graph["edges"]["uv"]) == 3 * n - 12 * 20 - 12 * 25 - 20 * 25
    assert len(graph["overlaps"]["uv"]) == 10 * 20 * 25
    assert (graph["edges"]["length_voxels"] == 1).all()


def test_overlaps_two_sections_apart_known_by_hand():
    superpixels = np.array([[[1, 1, 2, 0]], [[5, 0, 5, 5]], [[8, 8, 8, 8]], [[1, 0, 9, 5]]])
    graph = graph_of(superpixels.astype(np.uint64))
    pairs = graph["nodes"]["id"][graph["overlaps"]["uv"]].tolist()
    assert pairs == [[1, 5], [1, 8], [2, 8], [5, 9]]
    assert graph["overlaps"]["voxels"].tolist() == [1, 2, 1, 1]


def test_overlaps_match_a_voxel_by_voxel_count_and_the_section_between_does_not_matter():
    superpixels = random_superpixels((7, 6, 9), np.random.default_rng(2), 12)
    graph = graph_of(superpixels)
    slow = slow_overlaps(superpixels, corrected(7))
    pairs = [tuple(map(int, p)) for p in graph["nodes"]["id"][graph["overlaps"]["uv"]]]
    assert pairs == sorted(slow)
    assert graph["overlaps"]["voxels"].tolist() == [slow[pair] for pair in pairs]
    masked = superpixels[:3].copy()
    masked[1] = 0
    before, after = graph_of(superpixels[:3]), graph_of(masked)
    assert np.array_equal(
        before["nodes"]["id"][before["overlaps"]["uv"]],
        after["nodes"]["id"][after["overlaps"]["uv"]],
    )


def test_isotropic_volumes_have_no_overlaps():
    superpixels = random_superpixels((7, 6, 9), np.random.default_rng(2), 12)
    assert graph_of(superpixels, CUBIC_NM)["overlaps"]["uv"].shape == (0, 2)
    assert STAGE.halo(CONFIG, resources_of(superpixels, CUBIC_NM)) == Halo(above=(1, 1, 1))
    assert STAGE.halo(CONFIG, resources_of(superpixels)) == Halo(above=(2, 1, 1))


def test_the_halo_grows_by_what_gaps_and_slips_need_and_not_while_a_run_is_planned():
    superpixels = np.zeros((9, 1, 1), np.uint64)
    bad = corrected(9, bad=[3, 4], slips={6: (-5, 7)})
    assert STAGE.halo(CONFIG, resources_of(superpixels, CUBIC_NM, corrected(9, bad=[3, 4]))) == (
        Halo(above=(3, 1, 1))
    )
    assert STAGE.halo(CONFIG, resources_of(superpixels, FLAT_NM, bad)) == Halo((0, 5, 0), (3, 1, 7))
    for voxel_size in (FLAT_NM, CUBIC_NM):
        given = resources_of(superpixels, voxel_size)
        assert STAGE.halo(CONFIG, replace(given, corrections=None)) == STAGE.halo(CONFIG, given)


@BOTH
@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 11), st.integers(1, 10)),
    block_shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)),
)
def test_blocks_of_any_shape_and_order_give_the_graph_of_the_whole(
    voxel_size, data, seed, shape, block_shape
):
    rng = np.random.default_rng(seed)
    superpixels = random_superpixels(shape, rng)
    corrections = data.draw(corrections_of(shape[0], slip=3))
    parts = parts_of(superpixels, block_shape, voxel_size, corrections)
    rng.shuffle(parts)
    merged = finished(parts, resources_of(superpixels, voxel_size))
    assert_same(merged, graph_of(superpixels, voxel_size, corrections))
    slow = slow_faces(superpixels, corrections)
    edges = merged["edges"]
    assert edges["length_voxels"].tolist() == [len(slow[pair]) for pair in sorted(slow)]
    if voxel_size == FLAT_NM:
        overlaps = slow_overlaps(superpixels, corrections)
        assert merged["overlaps"]["voxels"].tolist() == [
            overlaps[pair] for pair in sorted(overlaps)
        ]


def test_a_block_read_without_its_halo_is_refused():
    resources = resources_of(SMALL)
    block = next(blocks(SMALL.shape, (1, 2, 4)))
    with pytest.raises(AssertionError, match="too small a halo"):
        STAGE.compute(block, {"superpixels": SMALL[block.read.slices]}, CONFIG, resources)


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
