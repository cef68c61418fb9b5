"""Lifted pairs against hand-known graphs and a slow reference."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lifted import neighbourhood
from pipeline.lifted.neighbourhood import neighbouring_pairs


def pairs_of(n, uv, p_cut=None, centre=None, **limits):
    uv = np.array(uv, np.uint64).reshape(-1, 2)
    p_cut = np.full(len(uv), 0.5, np.float32) if p_cut is None else np.float32(p_cut)
    centre = np.zeros((n, 3)) if centre is None else centre
    limits = {"max_distance": 2, "max_degree": 100, "max_partners": 100} | limits
    return neighbouring_pairs(n, uv, p_cut, centre, **limits)


def reference_pairs(n, uv, p_cut, max_distance):
    """All simple walks of fewest steps, one by one: pair -> steps, number, cost, highest."""
    neighbours = {i: {} for i in range(n)}
    for (u, v), p in zip(uv, p_cut, strict=True):
        neighbours[u][v] = neighbours[v][u] = float(np.float32(p))
    result = {}
    for source in range(n):
        paths = {source: [(0.0, 0.0)]}
        seen = {source}
        for step in range(1, max_distance + 1):
            new = {}
            for node, ways in paths.items():
                for other, p in neighbours[node].items():
                    if other not in seen:
                        new.setdefault(other, []).extend(
                            (cost - np.log1p(-p), max(highest, p)) for cost, highest in ways
                        )
            seen |= set(new)
            paths = new
            for other, ways in paths.items():
                if step > 1 and source < other:
                    cost, highest = (min(values) for values in zip(*ways, strict=True))
                    result[source, other] = (step, len(ways), cost, highest)
    return result


def test_a_chain_has_pairs_up_to_the_distance():
    pairs = pairs_of(5, [[0, 1], [1, 2], [2, 3], [3, 4]], [0.1, 0.2, 0.3, 0.4], max_distance=3)
    assert pairs.uv.tolist() == [[0, 2], [0, 3], [1, 3], [1, 4], [2, 4]]
    assert pairs.steps.tolist() == [2, 3, 2, 3, 2]
    assert pairs.paths.tolist() == [1, 1, 1, 1, 1]
    np.testing.assert_allclose(pairs.highest, [0.2, 0.3, 0.3, 0.4, 0.4], rtol=1e-6)
    np.testing.assert_allclose(
        pairs.cost[:2], [-np.log(0.9 * 0.8), -np.log(0.9 * 0.8 * 0.7)], rtol=1e-6
    )


def test_two_ways_round_a_square_are_counted_and_the_better_is_taken():
    pairs = pairs_of(4, [[0, 1], [0, 2], [1, 3], [2, 3]], [0.9, 0.3, 0.1, 0.4])
    assert pairs.uv.tolist() == [[0, 3], [1, 2]]
    assert pairs.paths.tolist() == [2, 2]
    np.testing.assert_allclose(pairs.highest, [0.4, 0.4], rtol=1e-6)  # not .9
    np.testing.assert_allclose(pairs.cost[0], -np.log(0.7 * 0.6), rtol=1e-6)


def test_a_triangle_has_no_lifted_pair():
    assert len(pairs_of(3, [[0, 1], [0, 2], [1, 2]], max_distance=4).uv) == 0


@pytest.mark.parametrize(("max_degree", "expected"), [(3, 0), (4, 6)])
def test_paths_do_not_pass_through_a_hub(max_degree, expected):
    star = [[0, leaf] for leaf in range(1, 5)]
    assert len(pairs_of(5, star, max_degree=max_degree).uv) == expected


def test_a_hub_may_be_the_end_of_a_path():
    hub_and_tail = [[0, 1], [0, 2], [0, 3], [3, 4]]  # 0 is the hub, 4 is two steps away
    assert pairs_of(5, hub_and_tail, max_degree=2).uv.tolist() == [[0, 4]]


def test_the_nearest_centres_are_kept():
    star = [[0, leaf] for leaf in range(1, 5)]
    centre = np.zeros((5, 3))
    centre[1:, 2] = [0, 1, 3, 7]
    assert pairs_of(5, star, centre=centre, max_partners=1).uv.tolist() == [[1, 2]]
    # 3 chooses 2 and 1, 4 chooses 3 and 2; but 3 and 2 do not choose 4
    assert pairs_of(5, star, centre=centre, max_partners=2).uv.tolist() == [[1, 2], [1, 3], [2, 3]]


def test_fewer_steps_come_before_nearer_centres():
    chain = [[0, 1], [1, 2], [2, 3]]
    centre = np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 9], [0, 0, 1]])
    assert pairs_of(4, chain, centre=centre, max_distance=3, max_partners=1).uv.tolist() == [
        [0, 2],
        [1, 3],
    ]


def test_no_node_exceeds_its_partners():
    rng = np.random.default_rng(0)
    uv = np.array(list(itertools.combinations(range(60), 2)))
    uv = uv[rng.random(len(uv)) < 0.08]
    pairs = pairs_of(60, uv, centre=rng.random((60, 3)), max_distance=3, max_partners=5)
    assert np.bincount(pairs.uv.ravel()).max() == 5


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_graph_without_edges_has_no_pairs(n):
    assert pairs_of(n, []).uv.shape == (0, 2)


graphs = st.tuples(st.integers(2, 18), st.floats(0.05, 0.5), st.integers(0, 2**32 - 1))


def random_graph(n, density, seed):
    rng = np.random.default_rng(seed)
    uv = np.array(list(itertools.combinations(range(n), 2)))
    uv = uv[rng.random(len(uv)) < density]
    return uv, rng.random(len(uv)).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(graphs, st.integers(2, 4))
def test_pairs_and_paths_equal_the_slow_reference(graph, max_distance):
    uv, p_cut = random_graph(*graph)
    expected = reference_pairs(graph[0], uv.tolist(), p_cut, max_distance)
    pairs = pairs_of(graph[0], uv, p_cut, max_distance=max_distance)
    assert list(map(tuple, pairs.uv.tolist())) == sorted(expected)
    rows = [expected[tuple(pair)] for pair in pairs.uv.tolist()]
    assert pairs.steps.tolist() == [row[0] for row in rows]
    assert pairs.paths.tolist() == [row[1] for row in rows]
    np.testing.assert_allclose(pairs.cost, [row[2] for row in rows], rtol=1e-9)
    np.testing.assert_array_equal(pairs.highest, [row[3] for row in rows])


def test_the_chunk_size_changes_nothing(monkeypatch):
    uv, p_cut = random_graph(60, 0.1, 0)
    centre = np.random.default_rng(1).random((60, 3))
    limits = {"max_distance": 3, "max_degree": 9, "max_partners": 7}
    expected = pairs_of(60, uv, p_cut, centre, **limits)
    monkeypatch.setattr(neighbourhood, "CHUNK_ROWS", 50)
    pairs = pairs_of(60, uv, p_cut, centre, **limits)
    assert len(pairs.uv) > 50
    for name in ("uv", "steps", "paths", "cost", "highest"):
        np.testing.assert_array_equal(getattr(pairs, name), getattr(expected, name))


def test_the_order_of_nodes_and_edges_changes_only_names():
    uv, p_cut = random_graph(40, 0.1, 5)
    rng = np.random.default_rng(2)
    centre, name = rng.random((40, 3)), rng.permutation(40)
    renamed_centre = np.empty_like(centre)
    renamed_centre[name] = centre
    shuffle = rng.permutation(len(uv))
    limits = {"max_distance": 3, "max_degree": 6, "max_partners": 6}
    pairs = pairs_of(40, uv, p_cut, centre, **limits)
    other = pairs_of(
        40, np.sort(name[uv[shuffle]], axis=1), p_cut[shuffle], renamed_centre, **limits
    )
    renamed = np.sort(name[pairs.uv], axis=1)
    order = np.lexsort((renamed[:, 1], renamed[:, 0]))
    assert len(order) > 50
    np.testing.assert_array_equal(renamed[order], other.uv)
    np.testing.assert_allclose(pairs.cost[order], other.cost, rtol=1e-12)
    np.testing.assert_array_equal(pairs.paths[order], other.paths)
