"""Large multicut problems made from a small graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.graph_problems import (
    LIFTED_PER_EDGE,
    RealGraph,
    load_problem,
    real_graph,
    save_problem,
    tiled_problem,
)
from pipeline.contract import Resources, VolumeInfo
from pipeline.corrections import Corrections
from pipeline.graph import STAGE
from pipeline.graph.stage import GraphConfig
from pipeline.multicut.costs import signed_costs
from pipeline.multicut.problem import Problem
from workflows.in_memory import run_stage

SIDE = 6


def grid_labels(sections: int = 2) -> NDArray[np.uint64]:
    """Squares of 4 x 4 pixels, 6 x 6 of them a section."""
    square = np.arange(SIDE * SIDE, dtype=np.uint64).reshape(SIDE, SIDE)
    plane = np.kron(square, np.ones((4, 4), np.uint64)).astype(np.uint64)
    return np.stack([plane + 1 + np.uint64(z * SIDE * SIDE) for z in range(sections)])


def grid_graph(seed: int = 0) -> RealGraph:
    labels = grid_labels()
    info = VolumeInfo(labels.shape, (40, 4, 4), "uint8")
    given = Resources(info, corrections=Corrections.none(len(labels), 0, 1))
    tables = run_stage(STAGE, {"superpixels": labels}, GraphConfig(), given)
    p_cut = np.random.default_rng(seed).uniform(0.05, 0.95, len(tables["edges"]["uv"]))
    return real_graph(tables["nodes"], tables["edges"], p_cut.astype(np.float32), info)


GRAPH = grid_graph()


def number_of_components(problem: Problem) -> int:
    u, v = problem.uv.astype(np.int64).T
    n = problem.number_of_nodes
    links = coo_array((np.ones(len(u), bool), (u, v)), shape=(n, n))
    return int(connected_components(links, directed=False)[0])


def is_sorted(uv: NDArray[np.uint64]) -> bool:
    pairs = [tuple(row) for row in uv.tolist()]
    return pairs == sorted(set(pairs)) and all(u < v for u, v in pairs)


@settings(max_examples=30, deadline=None)
@given(edges=st.integers(60, 3000), seed=st.integers(0, 3))
def test_a_problem_has_about_the_wanted_edges_sorted_and_connected(edges: int, seed: int) -> None:
    problem = tiled_problem(GRAPH, edges, seed)
    # a cut through a regular grid takes whole rows of squares
    assert edges * 0.9 - 4 <= len(problem.uv) <= edges * 1.1 + 4 * SIDE * 10
    assert is_sorted(problem.uv)
    assert is_sorted(problem.lifted_uv)
    assert int(problem.uv.max()) == problem.number_of_nodes - 1
    assert number_of_components(problem) == 1
    regular = {tuple(row) for row in problem.uv.tolist()}
    assert not regular & {tuple(row) for row in problem.lifted_uv.tolist()}


def test_the_seed_decides_the_problem() -> None:
    first, same, other = (tiled_problem(GRAPH, 900, seed) for seed in (5, 5, 6))
    for name in ("uv", "costs", "lifted_uv", "lifted_costs", "positions"):
        np.testing.assert_array_equal(getattr(first, name), getattr(same, name))
    np.testing.assert_array_equal(first.uv, other.uv)
    assert (first.costs != other.costs).all()


def test_one_tile_is_the_real_graph_with_noise_on_its_costs() -> None:
    problem = tiled_problem(GRAPH, len(GRAPH.uv), 0)
    np.testing.assert_array_equal(problem.uv, GRAPH.uv)
    np.testing.assert_array_equal(problem.positions, GRAPH.centre)
    noise = problem.costs - signed_costs(GRAPH.p_cut, 0.5, "edge")
    assert 0.3 < noise.std() < 0.7
    assert abs(noise.mean()) < 0.2


def test_four_tiles_are_the_graph_of_the_mirrored_image() -> None:
    plane = grid_labels(1)[0]
    height = len(plane)
    tiles = [plane, plane[:, ::-1] + 100, plane[::-1] + 200, plane[::-1, ::-1] + 300]
    image = np.block([[tiles[0], tiles[1]], [tiles[2], tiles[3]]]).astype(np.int64)
    touching = set()
    for a, b in ((image[:-1], image[1:]), (image[:, :-1], image[:, 1:])):
        different = a != b
        touching |= {tuple(sorted(p)) for p in zip(a[different], b[different], strict=True)}
    squares = np.unique(image)
    y, x = (
        np.array([axis[image == s].mean() for s in squares]) for axis in np.indices(image.shape)
    )
    number = dict(zip(squares[np.lexsort((x, y))].tolist(), range(len(squares)), strict=True))
    expected = sorted(tuple(sorted((number[u], number[v]))) for u, v in touching)

    flat = one_section()
    problem = tiled_problem(flat, 4 * len(flat.uv) + 4 * SIDE, 0)
    assert problem.uv.tolist() == [list(pair) for pair in expected]
    assert problem.positions is not None
    assert problem.positions[:, 1].max() == 2 * height - 1 - 1.5


def one_section() -> RealGraph:
    """The first section of the grid alone."""
    n = SIDE * SIDE
    rows = (GRAPH.uv < n).all(1)
    lifted = (GRAPH.lifted_uv < n).all(1)
    return RealGraph(
        GRAPH.shape,
        GRAPH.centre[:n],
        GRAPH.box[:n],
        GRAPH.uv[rows],
        GRAPH.p_cut[rows],
        GRAPH.lifted_uv[lifted],
        GRAPH.lifted_p_cut[lifted],
    )


def test_lifted_edges_are_two_or_three_steps_long_and_hardly_fewer_than_edges() -> None:
    n = len(GRAPH.centre)
    u, v = GRAPH.uv.astype(np.int64).T
    step = np.zeros((n, n), bool)
    step[u, v] = step[v, u] = True
    two = step.astype(int) @ step > 0
    three = two.astype(int) @ step > 0
    a, b = GRAPH.lifted_uv.astype(np.int64).T
    assert (two | three)[a, b].all()
    assert not step[a, b].any()
    problem = tiled_problem(GRAPH, 3000, 1)
    assert len(problem.lifted_uv) == pytest.approx(LIFTED_PER_EDGE * len(problem.uv), rel=0.15)


def test_p_cut_of_a_lifted_edge_is_that_of_its_best_path() -> None:
    n = len(GRAPH.centre)
    u, v = GRAPH.uv.astype(np.int64).T
    joined = np.zeros((n, n))
    joined[u, v] = joined[v, u] = 1 - GRAPH.p_cut
    two = (joined[:, :, None] * joined[None]).max(1)
    three = (two[:, :, None] * joined[None]).max(1)
    a, b = GRAPH.lifted_uv.astype(np.int64).T
    best = 1 - np.maximum(two, three)[a, b]
    np.testing.assert_allclose(GRAPH.lifted_p_cut, best, atol=1e-5)


def test_a_problem_comes_back_from_its_file(tmp_path: Path) -> None:
    problem = tiled_problem(GRAPH, 500, 0)
    path = tmp_path / "problem.npz"
    save_problem(path, problem)
    again = load_problem(path, lifted=True)
    for name in ("uv", "costs", "lifted_uv", "lifted_costs", "positions"):
        np.testing.assert_array_equal(getattr(again, name), getattr(problem, name))
    plain = load_problem(path, lifted=False)
    assert len(plain.lifted_uv) == len(plain.lifted_costs) == 0
    np.testing.assert_array_equal(plain.costs, problem.costs)
