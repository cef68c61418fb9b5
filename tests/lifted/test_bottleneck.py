"""Min-max paths against hand-known graphs and a slow reference."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.lifted.bottleneck import minimum_linkage


def bottlenecks(n, uv, heights, pairs, threads=1):
    return minimum_linkage(n, uv, heights).heights_of(pairs, threads)


def reference_bottlenecks(n, uv, heights):
    """Floyd-Warshall over (min, max)."""
    best = np.full((n, n), np.inf)
    np.fill_diagonal(best, -np.inf)
    for (u, v), height in zip(uv, heights, strict=True):
        best[u, v] = best[v, u] = min(best[u, v], height)
    for k in range(n):
        best = np.minimum(best, np.maximum(best[:, k, None], best[None, k, :]))
    return best


def test_the_way_round_is_taken_where_it_is_lower():
    uv = np.array([[0, 1], [0, 3], [1, 2], [2, 3]], np.uint64)
    heights = np.array([0.1, 0.9, 0.4, 0.2], np.float32)
    pairs = np.array([[0, 3], [0, 2], [2, 3], [1, 1]])
    expected = np.float32([0.4, 0.4, 0.2, -np.inf])
    assert bottlenecks(4, uv, heights, pairs).astype(np.float32).tolist() == expected.tolist()


def test_unconnected_nodes_have_no_path():
    uv = np.array([[0, 1], [2, 3]], np.uint64)
    result = bottlenecks(5, uv, np.float32([0.5, 0.5]), np.array([[1, 2], [3, 4], [2, 3]]))
    assert result.tolist() == [np.inf, np.inf, 0.5]


def test_edges_of_height_0_are_edges():
    uv = np.array([[0, 1], [1, 2]], np.uint64)
    assert bottlenecks(3, uv, np.float32([0, 0]), np.array([[0, 2]])).tolist() == [0.0]


def test_no_edges_and_no_pairs_work():
    none = np.zeros((0, 2), np.uint64)
    assert bottlenecks(0, none, np.zeros(0, np.float32), np.zeros((0, 2), int)).shape == (0,)
    assert bottlenecks(2, none, np.zeros(0, np.float32), np.array([[0, 1]])).tolist() == [np.inf]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 25), st.floats(0.05, 0.6), st.integers(0, 2**32 - 1), st.booleans())
def test_all_pairs_equal_the_slow_reference(n, density, seed, ties):
    rng = np.random.default_rng(seed)
    uv = np.array(list(itertools.combinations(range(n), 2)), np.uint64)
    uv = uv[rng.random(len(uv)) < density]
    heights = (rng.integers(0, 4, len(uv)) / 4 if ties else rng.random(len(uv))).astype(np.float32)
    pairs = np.argwhere(np.ones((n, n), bool))
    result = bottlenecks(n, uv, heights, pairs).reshape(n, n)
    np.testing.assert_array_equal(result, reference_bottlenecks(n, uv.astype(int), heights))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_long_chain_is_climbed_in_few_steps(threads):
    n = 20_000
    uv = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1).astype(np.uint64)
    heights = np.linspace(0, 1, n - 1, dtype=np.float32)
    pairs = np.tile([[0, n - 1], [0, 100], [99, 100]], (30_000, 1))  # several chunks
    result = bottlenecks(n, uv, heights, pairs, threads).reshape(-1, 3)
    assert (result == [1.0, heights[99], heights[99]]).all()
