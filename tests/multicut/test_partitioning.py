"""The adapter over the graph library: conventions and guarded defects."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backend import partition
from pipeline.backend.partition import (
    Partitioning,
    average_linkage,
    consecutive,
    split_unconnected,
)


def edges(*pairs):
    return np.array(pairs, np.uint64).reshape(-1, 2)


def reference_linkage(n, uv, costs):
    """Average linkage, one merge at a time over a dense matrix of sums."""
    total, weight = np.zeros((n, n)), np.zeros((n, n))
    for (u, v), cost in zip(uv.tolist(), costs, strict=True):
        for a, b in ((u, v), (v, u)):
            total[a, b], weight[a, b] = cost, 1
    labels = np.arange(n)
    while True:
        mean = np.where(weight > 0, total / np.maximum(weight, 1), -np.inf)
        u, v = np.unravel_index(np.argmax(mean), mean.shape)
        if not mean[u, v] > 0:
            return consecutive(labels)
        labels[labels == v] = u
        for matrix in (total, weight):
            matrix[u] += matrix[v]
            matrix[:, u] += matrix[:, v]
            matrix[v], matrix[:, v], matrix[u, u] = 0, 0, 0


def test_unsorted_edges_keep_their_costs():
    uv = edges([2, 3], [0, 1], [1, 2])
    problem = Partitioning(4, uv, np.array([-1.0, 1.0, -2.0]))
    assert problem.greedy_additive().tolist() == [0, 0, 1, 2]
    assert problem.energy(np.array([0, 0, 1, 2], np.uint64)) == -3.0
    problem = Partitioning(4, uv, np.array([1.0, -1.0, -2.0]))
    assert problem.greedy_additive().tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cost_that_is_not_finite_is_named(bad):
    with pytest.raises(ValueError, match="cost of edge 1 is"):
        Partitioning(3, edges([0, 1], [1, 2]), np.array([1, bad]))
    with pytest.raises(ValueError, match="cost of lifted edge 0 is"):
        Partitioning(3, edges([0, 1], [1, 2]), np.ones(2), edges([0, 2]), np.array([bad]))


@pytest.mark.parametrize(
    ("uv", "message"),
    [
        ([[1, 0]], "u < v"),
        ([[1, 1]], "u < v"),
        ([[0, 1], [0, 1]], "must not repeat"),
        ([[0, 3]], "names node 3 of only 3"),
    ],
)
def test_malformed_edges_are_refused(uv, message):
    with pytest.raises(ValueError, match=message):
        Partitioning(3, edges(*uv), np.ones(len(uv)))


def test_there_must_be_one_cost_an_edge():
    with pytest.raises(ValueError, match="1 costs for 2 edges"):
        Partitioning(3, edges([0, 1], [1, 2]), np.ones(1))


def test_clusters_that_no_edge_connects_are_split():
    labels = split_unconnected(edges([0, 1], [2, 3]), np.array([7, 7, 7, 7]))
    assert labels.tolist() == [0, 0, 1, 1]
    labels = split_unconnected(edges([0, 1], [1, 2], [2, 3]), np.array([5, 1, 5, 5]))
    assert labels.tolist() == [0, 1, 2, 2]


def test_a_solver_that_joins_unconnected_nodes_is_corrected(monkeypatch):
    class Joiner:
        def optimize(self, objective):
            return np.zeros(4, np.uint64)

    monkeypatch.setattr(partition, "LiftedGreedyAdditiveMulticut", Joiner)
    problem = Partitioning(4, edges([0, 1], [2, 3]), np.ones(2), edges([1, 2]), np.ones(1))
    assert problem.greedy_additive().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_graphs_without_edges_are_singletons(n):
    problem = Partitioning(n, edges(), np.zeros(0))
    assert problem.greedy_additive().tolist() == list(range(n))
    assert problem.kernighan_lin(problem.singletons()).tolist() == list(range(n))
    assert average_linkage(n, edges(), np.zeros(0)).tolist() == list(range(n))
    assert split_unconnected(edges(), np.zeros(n, int)).tolist() == list(range(n))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 14), st.integers(0, 2**32 - 1), st.floats(-1, 1))
def test_average_linkage_equals_the_slow_reference(n, seed, attraction):
    rng = np.random.default_rng(seed)
    uv = edges(*itertools.combinations(range(n), 2))
    uv = uv[rng.random(len(uv)) < 0.5]
    costs = rng.normal(attraction, 1, len(uv))
    result, expected = average_linkage(n, uv, costs), reference_linkage(n, uv, costs)
    assert result.tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**32 - 1), st.booleans())
def test_our_greedy_contraction_gives_the_library_s_clusters(n, seed, lifted):
    rng = np.random.default_rng(seed)
    pairs = edges(*itertools.combinations(range(n), 2))
    regular = rng.random(len(pairs)) < 0.4
    costs = rng.normal(0.2, 1, len(pairs))
    others = (pairs[~regular], costs[~regular]) if lifted else ()
    problem = Partitioning(n, pairs[regular], costs[regular], *others)
    expected = problem.greedy_additive()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "HUB_DEGREE", -1)
        patch.setattr(Partitioning, "_solved", lambda *_: pytest.fail("the library was called"))
        result = problem.greedy_additive()
    assert result.tolist() == expected.tolist()


def test_hubs_are_contracted_by_our_own_solver(monkeypatch):
    monkeypatch.setattr(Partitioning, "_solved", lambda *_: pytest.fail("the library was called"))
    leaves = np.arange(1, 50_001)
    star = np.stack([np.zeros(50_000), leaves], axis=1).astype(np.uint64)
    costs = np.where(leaves % 2, 1.0, -1.0) * (1 + leaves / 1e6)
    labels = Partitioning(50_001, star, costs).greedy_additive()
    assert (labels[1:][costs > 0] == labels[0]).all()
    assert len(np.unique(labels)) == 25_001


def test_a_hub_with_a_thousand_neighbours_is_solved():
    star = np.stack([np.zeros(1000), np.arange(1, 1001)], axis=1).astype(np.uint64)
    costs = np.where(np.arange(1000) % 2, 1.0, -1.0)
    labels = Partitioning(1001, star, costs).greedy_additive()
    assert (labels[1:][costs > 0] == labels[0]).all()
    assert len(np.unique(labels)) == 501
