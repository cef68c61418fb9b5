"""Neighbours of nodes out of tables, against a search through all edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pipeline.contract
import pipeline.tables
from pipeline.contract import Table
from pipeline.held import held
from pipeline.neighbourhoods import Neighbourhoods, neighbours_of_set


def random_graph(nodes: int, edges: int, seed: int) -> NDArray[np.int64]:
    """(m, 2) pairs u < v, sorted, each once."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, nodes, (edges, 2)), axis=1)
    return np.unique(ends[ends[:, 0] < ends[:, 1]], axis=0)


def tables_of(nodes: int, uv: NDArray[np.int64]) -> tuple[Table, Table]:
    """``nodes`` and ``neighbours`` of a graph."""
    m = len(uv)
    halves = np.concatenate([uv, uv[:, ::-1]])
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    first = np.searchsorted(halves[order, 0], np.arange(nodes))
    return (
        {"first_neighbour": first.astype(np.uint64)},
        {
            "other": halves[order, 1].astype(np.uint64),
            "edge": (order % max(m, 1)).astype(np.uint64),
        },
    )


def assert_neighbours(found: Neighbourhoods, nodes: list[int], uv: NDArray[np.int64]) -> None:
    expected = [
        sorted((int(u + v - node), row) for row, (u, v) in enumerate(uv) if node in (u, v))
        for node in nodes
    ]
    pairs = list(zip(found.other.tolist(), found.edge.tolist(), strict=True))
    assert found.nodes.tolist() == nodes
    assert found.degrees.tolist() == [len(some) for some in expected]
    assert pairs == [half for some in expected for half in some]
    assert found.of_half_edges.tolist() == [i for i, some in enumerate(expected) for _ in some]


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.integers(1, 30),
    edges=st.integers(0, 60),
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 20),
    data=st.data(),
)
def test_neighbours_are_those_of_a_search_through_all_edges(
    nodes: int, edges: int, seed: int, rows: int, data: Any
) -> None:
    uv = random_graph(nodes, edges, seed)
    of_nodes, neighbours = (held(table) for table in tables_of(nodes, uv))
    some = sorted(data.draw(st.sets(st.integers(0, nodes - 1))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.contract, "ROWS", rows)
        patch.setattr(pipeline.tables, "ROWS", rows)
        found = neighbours_of_set(of_nodes, neighbours, np.array(some, np.int64))
        assert_neighbours(found, some, uv)


def test_nodes_without_edges_have_no_neighbours() -> None:
    uv = np.array([[1, 3]])
    of_nodes, neighbours = (held(table) for table in tables_of(6, uv))
    found = neighbours_of_set(of_nodes, neighbours, np.arange(6))
    assert found.degrees.tolist() == [0, 1, 0, 1, 0, 0]
    assert found.other.tolist() == [3, 1]
    assert neighbours_of_set(of_nodes, neighbours, np.array([4, 5])).other.tolist() == []


def test_there_are_no_neighbours_in_an_empty_graph() -> None:
    of_nodes, neighbours = (held(table) for table in tables_of(0, np.zeros((0, 2), np.int64)))
    found = neighbours_of_set(of_nodes, neighbours, np.zeros(0, np.int64))
    assert found.first.tolist() == [0]
