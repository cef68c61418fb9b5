"""Lifted pairs against hand-known graphs and a slow reference."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lifted.adjacency import Adjacency
from pipeline.lifted.neighbourhood import neighbouring_pairs

STAR = [[0, leaf] for leaf in range(1, 5)]
CHAIN = [[0, 1], [1, 2], [2, 3]]


def pairs_of(n, uv, centre=None, overlapping=(), **limits):
    centre = np.zeros((n, 3)) if centre is None else centre
    limits = {"max_distance": 2, "max_degree": 100, "max_partners": 100} | limits
    overlapping = np.array(overlapping, np.uint64).reshape(-1, 2)
    adjacency = Adjacency.of(n, np.array(uv, np.uint64).reshape(-1, 2))
    return neighbouring_pairs(adjacency, centre, overlapping, **limits)


def along_x(*positions):
    return np.array([[0.0, 0.0, x] for x in positions])


def reference_pairs(n, uv, centre, overlapping, max_distance, max_degree, max_partners):
    """Every rule word by word: a walk per node, a sorted list of partners, mutual choice."""
    neighbours = [{b for a, b in [*uv, *((v, u) for u, v in uv)] if a == i} for i in range(n)]
    hubs = {i for i in range(n) if len(neighbours[i]) > max_degree}
    preferred = {frozenset(pair) for pair in overlapping}
    distance, kept = {}, {}
    for source in set(range(n)) - hubs:
        levels = [{source}]
        for _ in range(max_distance):
            seen = set().union(*levels)
            levels.append(set().union(*(neighbours[i] for i in levels[-1] - hubs)) - seen)
        distance |= {(source, i): d for d, level in enumerate(levels) for i in level if d > 1}

    def apart(u, v):
        return ((centre[u] - centre[v]) ** 2).sum()

    for source in set(range(n)) - hubs:
        found = [i for s, i in distance if s == source]
        kept[source] = sorted(
            found,
            key=lambda i: (
                frozenset((source, i)) not in preferred,
                0 if frozenset((source, i)) in preferred else distance[source, i],
                apart(source, i),
                i,
            ),
        )[:max_partners]
    for hub in hubs:
        by = [i for i in set(range(n)) - hubs if hub in kept[i]]
        kept[hub] = sorted(by, key=lambda i: (apart(hub, i), i))[:max_partners]
    return sorted([u, v] for u in kept for v in kept[u] if u < v and u in kept[v])


def random_graph(n, density, seed):
    rng = np.random.default_rng(seed)
    uv = np.array(list(itertools.combinations(range(n), 2)))
    mark = rng.random(len(uv))
    return uv[mark < density], uv[mark > 1 - density / 3], rng.random((n, 3))


graphs = st.tuples(st.integers(2, 18), st.floats(0.05, 0.5), st.integers(0, 2**32 - 1))


@settings(max_examples=80, deadline=None)
@given(graphs, st.integers(2, 4), st.integers(1, 8), st.integers(1, 6))
def test_pairs_equal_the_slow_reference(graph, max_distance, max_degree, max_partners):
    uv, overlapping, centre = random_graph(*graph)
    pairs = pairs_of(graph[0], uv, centre, overlapping, max_distance=max_distance,
                     max_degree=max_degree, max_partners=max_partners)  # fmt: skip
    assert pairs.tolist() == reference_pairs(
        graph[0], uv.tolist(), centre, overlapping.tolist(), max_distance, max_degree, max_partners
    )


def test_a_chain_has_pairs_up_to_the_distance():
    chain = [[0, 1], [1, 2], [2, 3], [3, 4]]
    expected = [[0, 2], [0, 3], [1, 3], [1, 4], [2, 4]]
    assert pairs_of(5, chain, max_distance=3).tolist() == expected


def test_a_triangle_has_no_lifted_pair():
    assert len(pairs_of(3, [[0, 1], [0, 2], [1, 2]], max_distance=4)) == 0


@pytest.mark.parametrize(("max_degree", "expected"), [(3, 0), (4, 6)])
def test_paths_do_not_pass_through_a_hub(max_degree, expected):
    assert len(pairs_of(5, STAR, max_degree=max_degree)) == expected


def test_a_hub_may_be_the_end_of_a_path():
    hub_and_tail = [[0, 1], [0, 2], [0, 3], [3, 4]]  # 0 is the hub, 4 is two steps away
    assert pairs_of(5, hub_and_tail, max_degree=2).tolist() == [[0, 4]]


def test_a_hub_keeps_the_nearest_of_those_that_keep_it():
    legs = [[0, leaf] for leaf in (1, 2, 3)] + [[1, 4], [2, 5], [3, 6]]
    centre = along_x(0, 0, 0, 0, 3, 1, 2)
    assert pairs_of(7, legs, centre, max_degree=2, max_partners=2).tolist() == [[0, 5], [0, 6]]


def test_the_nearest_centres_are_kept():
    centre = along_x(0, 0, 1, 3, 7)
    assert pairs_of(5, STAR, centre, max_partners=1).tolist() == [[1, 2]]
    # 3 chooses 2 and 1, 4 chooses 3 and 2; but 3 and 2 do not choose 4
    assert pairs_of(5, STAR, centre, max_partners=2).tolist() == [[1, 2], [1, 3], [2, 3]]


def test_fewer_steps_come_before_nearer_centres():
    pairs = pairs_of(4, CHAIN, along_x(0, 5, 9, 1), max_distance=3, max_partners=1)
    assert pairs.tolist() == [[0, 2], [1, 3]]


def test_overlaps_two_sections_apart_come_before_fewer_steps_and_nearer_centres():
    far_leaf = along_x(0, 0, 1, 3, 7)
    assert pairs_of(5, STAR, far_leaf, [[1, 4]], max_partners=1).tolist() == [[1, 4]]
    three_steps = pairs_of(4, CHAIN, None, [[0, 3]], max_distance=3, max_partners=1)
    assert three_steps.tolist() == [[0, 3]]


def test_an_overlap_that_no_short_path_connects_makes_no_lifted_edge():
    assert pairs_of(4, CHAIN, None, [[0, 3]], max_distance=2).tolist() == [[0, 2], [1, 3]]
    assert pairs_of(4, [[0, 1], [2, 3]], None, [[0, 2]]).tolist() == []


def test_a_hub_of_50_000_leaves_is_bounded():
    leaves = 50_000  # a chain round the hub: each leaf has a few partners of its own
    spokes = np.stack([np.zeros(leaves, int), np.arange(1, leaves + 1)], 1)
    ring = np.stack([np.arange(1, leaves), np.arange(2, leaves + 1)], 1)
    centre = np.random.default_rng(0).random((leaves + 1, 3))
    uv = np.concatenate([spokes, ring])
    pairs_of(5, STAR)  # compiled before it is measured
    tracemalloc.start()
    pairs = pairs_of(leaves + 1, uv, centre, max_distance=3, max_degree=128, max_partners=64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pairs) == (leaves - 2) + (leaves - 3)  # along the chain, 2 and 3 steps; none by 0
    assert peak < 200e6  # all pairs of leaves would be 20 GB


def test_no_node_exceeds_its_partners():
    uv, overlapping, centre = random_graph(60, 0.08, 0)
    pairs = pairs_of(60, uv, centre, overlapping, max_distance=3, max_degree=8, max_partners=5)
    assert np.bincount(pairs.ravel()).max() == 5


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_graph_without_edges_has_no_pairs(n):
    assert pairs_of(n, []).shape == (0, 2)


def test_the_number_of_threads_changes_nothing():
    uv, overlapping, centre = random_graph(150, 0.04, 0)
    limits = {"max_distance": 3, "max_degree": 9, "max_partners": 7}
    expected = pairs_of(150, uv, centre, overlapping, **limits)
    assert len(expected) > 300
    threaded = pairs_of(150, uv, centre, overlapping, threads=3, **limits)
    np.testing.assert_array_equal(threaded, expected)


def test_the_order_of_nodes_and_edges_changes_only_names():
    uv, overlapping, centre = random_graph(40, 0.1, 5)
    rng = np.random.default_rng(2)
    name = rng.permutation(40)
    renamed_centre = np.empty_like(centre)
    renamed_centre[name] = centre
    limits = {"max_distance": 3, "max_degree": 6, "max_partners": 6}
    pairs = pairs_of(40, uv, centre, overlapping, **limits)
    other = pairs_of(
        40, name[uv[rng.permutation(len(uv))]], renamed_centre, name[overlapping], **limits
    )
    assert len(pairs) > 50
    assert sorted(np.sort(name[pairs], axis=1).tolist()) == other.tolist()
