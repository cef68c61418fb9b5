"""Best short paths of pairs against hand-known graphs and all simple paths."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lifted.adjacency import Adjacency
from pipeline.lifted.bottleneck import minimum_linkage
from pipeline.lifted.neighbourhood import neighbouring_pairs
from pipeline.lifted.paths import short_paths

NAMES = ("distance", "number", "cost", "steps", "highest", "total")


def paths_of(n, uv, p_cut, max_distance=2, max_degree=100, threads=1):
    adjacency = Adjacency.of(n, np.array(uv, np.uint64).reshape(-1, 2))
    limits = {"max_distance": max_distance, "max_degree": max_degree, "threads": threads}
    pairs = neighbouring_pairs(
        adjacency, np.zeros((n, 3)), np.zeros((0, 2), int), max_partners=4096, **limits
    )
    return pairs, short_paths(adjacency, np.float32(p_cut), pairs, **limits)


def reference_paths(n, uv, p_cut, max_distance, max_degree):
    """All simple paths up to the distance, one by one: pair -> P(cut) along each of them."""
    p_of = {frozenset(pair): float(np.float32(p)) for pair, p in zip(uv, p_cut, strict=True)}
    degree = np.bincount(np.array(uv, int).ravel(), minlength=n)
    paths = {}

    def extend(path, along):
        if len(path) > 2:
            paths.setdefault((path[0], path[-1]), []).append(along)
        if len(path) > max_distance or (len(path) > 1 and degree[path[-1]] > max_degree):
            return
        for other in range(n):
            edge = frozenset((path[-1], other))
            if other not in path and edge in p_of:
                extend([*path, other], [*along, p_of[edge]])

    for source in range(n):
        extend([source], [])
    return paths


def test_a_chain_is_known_by_hand():
    pairs, paths = paths_of(4, [[0, 1], [1, 2], [2, 3]], [0.1, 0.3, 0.2], max_distance=3)
    assert pairs.tolist() == [[0, 2], [0, 3], [1, 3]]
    assert paths.distance.tolist() == paths.steps.tolist() == [2, 3, 2]
    assert paths.number.tolist() == [1, 1, 1]
    np.testing.assert_allclose(paths.cost, -np.log([0.9 * 0.7, 0.9 * 0.7 * 0.8, 0.7 * 0.8]), 1e-6)
    np.testing.assert_allclose(paths.highest, [0.3, 0.3, 0.3], 1e-6)
    np.testing.assert_allclose(paths.total, [0.4, 0.6, 0.5], 1e-6)


def test_two_ways_round_a_square_are_counted_and_the_better_is_taken():
    _, paths = paths_of(4, [[0, 1], [0, 2], [1, 3], [2, 3]], [0.9, 0.3, 0.1, 0.4])
    assert paths.number.tolist() == [2, 2]
    np.testing.assert_allclose(paths.cost[0], -np.log(0.7 * 0.6), rtol=1e-6)
    np.testing.assert_allclose(paths.highest, [0.4, 0.4], rtol=1e-6)  # of 1 - 0 - 2: .9


def test_a_longer_way_is_taken_where_it_is_better():
    uv = [[0, 1], [0, 3], [1, 2], [2, 4], [3, 4]]  # 0 - 1 - 2 is bad, 0 - 3 - 4 - 2 is good
    p_cut = [0.9, 0.1, 0.9, 0.1, 0.1]
    pairs, paths = paths_of(5, uv, p_cut, max_distance=3)
    row = pairs.tolist().index([0, 2])
    assert (paths.distance[row], paths.number[row], paths.steps[row]) == (2, 1, 3)
    np.testing.assert_allclose(paths.cost[row], -3 * np.log(0.9), rtol=1e-6)
    assert paths_of(5, uv, p_cut, max_distance=2)[1].steps.tolist() == [2] * 5


def test_a_certain_cut_has_a_finite_cost():
    _, paths = paths_of(3, [[0, 1], [1, 2]], [1, 1])
    np.testing.assert_allclose(paths.cost, [-2 * np.log(1e-6)])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 12),
    st.floats(0.05, 0.5),
    st.integers(0, 2**32 - 1),
    st.integers(2, 4),
    st.integers(1, 6),
)
def test_paths_equal_the_slow_reference(n, density, seed, max_distance, max_degree):
    rng = np.random.default_rng(seed)
    uv = np.array(list(itertools.combinations(range(n), 2)))
    uv = uv[rng.random(len(uv)) < density]
    p_cut = rng.random(len(uv)).astype(np.float32)
    pairs, paths = paths_of(n, uv, p_cut, max_distance, max_degree)
    expected = reference_paths(n, uv.tolist(), p_cut, max_distance, max_degree)
    lowest = minimum_linkage(n, uv.astype(np.uint64), p_cut).heights_of(pairs)
    for row, pair in enumerate(map(tuple, pairs.tolist())):
        ways = expected[pair]
        fewest = min(len(way) for way in ways)
        best = min(ways, key=lambda way: -np.log1p(-np.array(way)).sum())
        assert paths.distance[row] == fewest
        assert paths.number[row] == sum(len(way) == fewest for way in ways)
        assert paths.steps[row] == len(best)
        assert paths.highest[row] == max(best) >= lowest[row]
        assert paths.total[row] == pytest.approx(sum(best), rel=1e-12)
        assert paths.cost[row] == pytest.approx(-np.log1p(-np.array(best)).sum(), rel=1e-9)


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(0)
    uv = np.array(list(itertools.combinations(range(150), 2)))
    uv = uv[rng.random(len(uv)) < 0.04]
    p_cut = rng.random(len(uv))
    pairs, expected = paths_of(150, uv, p_cut, max_distance=3, max_degree=7)
    _, threaded = paths_of(150, uv, p_cut, max_distance=3, max_degree=7, threads=3)
    assert len(pairs) > 1000
    for name in NAMES:
        np.testing.assert_array_equal(getattr(threaded, name), getattr(expected, name))
