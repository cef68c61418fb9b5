"""Common neighbours of the ends of edges, against sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features.neighbours import common_neighbours


def common(uv, nodes):
    uv = np.array(sorted(uv), np.int64).reshape(-1, 2)
    around = [sorted({int(n) for e in uv if k in e for n in e} - {k}) for k in range(nodes)]
    first = np.cumsum([0, *map(len, around)])
    return common_neighbours(
        uv, first, np.array([n for ns in around for n in ns], np.int64)
    ).tolist()


def test_a_square_with_one_diagonal_known_by_hand():
    assert common([(0, 1), (1, 2), (2, 3), (0, 3), (0, 2)], 4) == [1, 2, 1, 1, 1]


def test_a_hub_shares_with_every_leaf_only_the_leaf_next_to_it():
    ring = [(i, i + 1) for i in range(1, 50)]
    found = common([(0, i) for i in range(1, 51)] + ring, 51)
    assert found[:50] == [1, *[2] * 48, 1]
    assert found[50:] == [1] * 49


def test_a_graph_without_edges_has_none():
    assert common([], 3) == []


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), nodes=st.integers(2, 25), share=st.floats(0.05, 1))
def test_random_graphs_match_intersections_of_sets(seed, nodes, share):
    rng = np.random.default_rng(seed)
    pairs = [(u, v) for u in range(nodes) for v in range(u + 1, nodes) if rng.random() < share]
    around = [{u for e in pairs if n in e for u in e} - {n} for n in range(nodes)]
    assert common(pairs, nodes) == [len(around[u] & around[v]) for u, v in pairs]


@pytest.mark.parametrize("first", [0, 7])
def test_isolated_nodes_do_not_matter(first):
    triangle = [(first, first + 1), (first, first + 2), (first + 1, first + 2)]
    assert common(triangle, 12) == [1, 1, 1]
