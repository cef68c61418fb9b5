"""Solvers against brute force, and what every solution must be."""

import itertools
from functools import cache
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backend.partition import Partitioning, consecutive, split_unconnected
from pipeline.errors import ConfigError
from pipeline.multicut.config import SolverName
from pipeline.multicut.kernighan_lin import improve
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import NO_COSTS, NO_EDGES, Limits, Problem, Progress
from pipeline.multicut.solvers import SOLVERS, solve

LIFTED = [name for name in SOLVERS if name != "greedy_fixation"]
OPTIMISING = ["kernighan_lin", "fusion_moves", "hierarchical"]
SMALL_BLOCKS = SolverParameters(block_shape=(1, 3, 3), fusion_proposals=30)
seeds = st.integers(0, 2**32 - 1)


def problem_of(n, uv, costs, lifted_uv=(), lifted_costs=()):
    return Problem(
        n,
        np.array(uv, np.uint64).reshape(-1, 2),
        np.array(costs, float),
        np.array(lifted_uv, np.uint64).reshape(-1, 2),
        np.array(lifted_costs, float),
        np.stack([np.zeros(n), np.zeros(n), np.arange(n)], axis=1),
    )


def random_problem(n, seed, *, lifted=True, density=0.6):
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(n), 2)), np.uint64).reshape(-1, 2)
    regular = rng.random(len(pairs)) < density
    costs = rng.normal(size=len(pairs))
    others = (pairs[~regular], costs[~regular]) if lifted else (NO_EDGES, NO_COSTS)
    return Problem(n, pairs[regular], costs[regular], *others, rng.integers(0, 6, (n, 3)) * 1.0)


def grid_problem(height, width, seed=0, *, lifted=True):
    """A grid of nodes with planted tiles, noisy costs, and lifted edges two columns wide."""
    rng = np.random.default_rng(seed)
    node = np.arange(height * width).reshape(height, width)
    y, x = np.indices((height, width)).reshape(2, -1)
    tile = (y // 7) * width + x // 5

    def edges(first, second, noise):
        uv = np.stack([first.ravel(), second.ravel()], axis=1).astype(np.uint64)
        apart = tile[first.ravel()] != tile[second.ravel()]
        return uv, np.where(apart, -1.0, 1.0) + rng.normal(0, noise, len(uv))

    right, down = edges(node[:, :-1], node[:, 1:], 1.0), edges(node[:-1], node[1:], 1.0)
    uv = np.concatenate([right[0], down[0]])
    costs = np.concatenate([right[1], down[1]])
    far = edges(node[:, :-2], node[:, 2:], 1.5) if lifted else (NO_EDGES, NO_COSTS)
    positions = np.stack([np.zeros(node.size), y, x], axis=1).astype(float)
    return Problem(node.size, uv, costs, *far, positions)


def slow_energy(problem, labels):
    """Sum of the costs of cut edges, one by one."""
    total = 0.0
    for uv, costs in (
        (problem.uv, problem.costs),
        (problem.lifted_uv, problem.lifted_costs),
    ):
        for (u, v), cost in zip(uv.tolist(), costs.tolist(), strict=True):
            if labels[u] != labels[v]:
                total += cost
    return total


def partitions(n):
    """All partitions of n nodes as labels, each once."""
    if n == 0:
        yield ()
        return
    for labels in partitions(n - 1):
        for label in range(max(labels, default=-1) + 2):
            yield (*labels, label)


@cache
def all_partitions(n):
    return np.array(list(partitions(n)), np.uint64).reshape(-1, n)


def optimum(problem):
    """Lowest energy of all partitions into connected clusters, by brute force."""
    every = all_partitions(problem.number_of_nodes)
    energies = sum(
        (every[:, uv[:, 0]] != every[:, uv[:, 1]]) @ costs
        for uv, costs in (
            (problem.uv, problem.costs),
            (problem.lifted_uv, problem.lifted_costs),
        )
    )
    return next(
        energies[i]
        for i in np.argsort(energies)
        if (split_unconnected(problem.uv, every[i]) == every[i]).all()
    )


def assert_valid(problem, solution):
    np.testing.assert_array_equal(split_unconnected(problem.uv, solution.labels), solution.labels)
    assert solution.labels.dtype == np.uint64
    assert solution.energy == pytest.approx(slow_energy(problem, solution.labels))
    energies = [step.energy for step in solution.steps]
    assert energies == sorted(energies, reverse=True)
    assert energies[-1] == solution.energy


def test_the_config_names_exactly_the_solvers():
    assert get_args(SolverName) == tuple(SOLVERS)


# Small problems of known solution


@pytest.mark.parametrize("name", [*OPTIMISING, "greedy_additive", "greedy_fixation"])
def test_a_triangle_is_cut_where_two_repel(name):
    # 0 - 1 attract 2, 1 - 2 attract 1, 0 - 2 repel 4: cut 0 - 2 and 1 - 2
    solution = solve(name, problem_of(3, [[0, 1], [0, 2], [1, 2]], [2, -4, 1]))
    assert solution.labels.tolist() == [0, 0, 1]
    assert solution.energy == -3


@pytest.mark.parametrize("name", LIFTED)
def test_a_lifted_edge_cannot_join_what_no_edge_connects(name):
    solution = solve(name, problem_of(4, [[0, 1], [2, 3]], [1, 1], [[1, 2]], [100]))
    assert solution.labels.tolist() == [0, 0, 1, 1]
    assert solution.energy == 100


@pytest.mark.parametrize("name", OPTIMISING)
def test_a_repulsive_lifted_edge_cuts_the_weakest_link(name):
    chain = [[0, 1], [1, 2], [2, 3]]
    solution = solve(name, problem_of(4, chain, [3, 1, 3], [[0, 3]], [-2]))
    assert solution.labels.tolist() == [0, 0, 1, 1]
    assert solution.energy == -1


@pytest.mark.parametrize("name", [*OPTIMISING, "greedy_additive"])
def test_an_attractive_lifted_edge_closes_a_repulsive_link(name):
    solution = solve(name, problem_of(3, [[0, 1], [1, 2]], [2, -1], [[0, 2]], [3]))
    assert solution.labels.tolist() == [0, 0, 0]


def test_average_linkage_takes_means_where_greedy_additive_takes_sums():
    # 0 and 1 join first; towards 2 their costs are +3 and -2, towards 3 +1 and -1.5
    uv = [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3]]
    problem = problem_of(4, uv, [9, 3, -2, 1, -1.5])
    assert solve("average_linkage", problem).labels.tolist() == [0, 0, 0, 1]
    problem = problem_of(4, [[0, 1], [0, 2], [1, 3], [2, 3]], [4, -1, -1, 4])
    assert solve("average_linkage", problem).labels.tolist() == [0, 0, 1, 1]


def test_a_mutex_is_hard_where_a_multicut_weighs():
    # -3 between 0 and 2 forbids a join that 2 + 2 outweigh
    uv, costs = [[0, 1], [0, 2], [1, 2]], [2, -3, 2]
    assert solve("kernighan_lin", problem_of(3, uv, costs)).energy == -1
    lifted = problem_of(3, [[0, 1], [1, 2]], [2, 2], [[0, 2]], [-1])
    assert solve("mutex_watershed", lifted).labels.tolist() == [0, 0, 0]
    lifted = problem_of(3, [[0, 1], [1, 2]], [2, 2.5], [[0, 2]], [-2.2])
    assert solve("mutex_watershed", lifted).labels.tolist() == [0, 1, 1]


def test_greedy_fixation_refuses_lifted_edges():
    with pytest.raises(ConfigError, match=r"1 lifted edges: set multicut\.lifted_weight=0"):
        solve("greedy_fixation", problem_of(3, [[0, 1], [1, 2]], [1, 1], [[0, 2]], [1]))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("n", [0, 1, 4])
def test_graphs_without_edges_are_singletons(name, n):
    solution = solve(name, problem_of(n, [], []), parameters=SMALL_BLOCKS)
    assert solution.labels.tolist() == list(range(n))
    assert solution.energy == 0


@pytest.mark.parametrize("name", SOLVERS)
def test_only_repulsion_gives_singletons(name):
    assert solve(name, problem_of(3, [[0, 1], [1, 2]], [-1, -1])).labels.tolist() == [0, 1, 2]


# Brute force


@pytest.mark.parametrize("lifted", [False, True], ids=["multicut", "lifted"])
@pytest.mark.parametrize("name", SOLVERS)
@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 6), seed=seeds)
def test_no_solution_is_better_than_the_optimum(name, lifted, n, seed):
    problem = random_problem(n, seed, lifted=lifted and name != "greedy_fixation")
    solution = solve(name, problem, parameters=SMALL_BLOCKS)
    assert solution.energy >= optimum(problem) - 1e-9
    assert_valid(problem, solution)


@pytest.fixture(scope="module")
def known_optima():
    """40 problems of each kind with their optima."""
    problems = [random_problem(6, seed, lifted=k) for k in (False, True) for seed in range(40)]
    return [(problem, optimum(problem)) for problem in problems]


@pytest.mark.parametrize(
    ("name", "share"), [("kernighan_lin", 0.9), ("fusion_moves", 0.8), ("hierarchical", 0.9)]
)
def test_most_small_problems_are_solved_to_the_optimum(name, share, known_optima):
    found = [solve(name, problem).energy <= best + 1e-9 for problem, best in known_optima]
    assert np.mean(found[:40]) >= share
    assert np.mean(found[40:]) >= share - 0.15


def test_seven_and_eight_nodes_reach_the_optimum_too():
    for n, seed in itertools.product((7, 8), range(2)):
        problem = random_problem(n, seed, density=0.5)
        best = optimum(problem)
        energies = [solve(name, problem).energy for name in OPTIMISING]
        assert min(energies) == pytest.approx(best)


# Large random problems


@pytest.fixture(scope="module", params=[False, True], ids=["multicut", "lifted"])
def large(request):
    return grid_problem(100, 200, lifted=request.param)


@pytest.mark.parametrize("name", SOLVERS)
def test_no_solution_is_worse_than_its_start(name, large):
    problem = large.without_lifted if name == "greedy_fixation" else large
    start = (np.random.default_rng(0).integers(0, 3, problem.number_of_nodes)).astype(np.uint64)
    good = solve("greedy_additive", problem)
    few = SolverParameters(max_outer_iterations=2, fusion_proposals=10, block_nodes=4000)
    for labels in (start, good.labels):
        solution = solve(name, problem, labels, parameters=few)
        assert solution.energy <= problem.energy(split_unconnected(problem.uv, labels)) + 1e-6
        np.testing.assert_array_equal(
            split_unconnected(problem.uv, solution.labels), solution.labels
        )
        assert solution.energy == pytest.approx(problem.energy(solution.labels))


def test_a_start_of_other_length_is_refused():
    with pytest.raises(ValueError, match="2 labels for 3 nodes"):
        solve("kernighan_lin", problem_of(3, [[0, 1]], [1]), np.zeros(2, np.uint64))


@pytest.mark.parametrize("name", LIFTED)
def test_a_time_limit_that_has_passed_leaves_a_valid_solution(name):
    problem = grid_problem(20, 30)
    solution = solve(name, problem, limits=Limits(1e-9), parameters=SMALL_BLOCKS)
    assert_valid(problem, solution)
    assert solution.energy < 0


@pytest.mark.parametrize("name", OPTIMISING)
def test_no_iteration_begins_after_the_time_limit(name, monkeypatch):
    for method in ("kernighan_lin", "fusion_moves"):
        monkeypatch.setattr(Partitioning, method, lambda *_, **__: pytest.fail("was called"))
    monkeypatch.setattr(
        "pipeline.multicut.local_search.sweep", lambda *_: pytest.fail("was called")
    )
    problem = grid_problem(10, 10)
    greedy = solve("greedy_additive", problem)
    assert solve(name, problem, limits=Limits(1e-9)).energy == greedy.energy


def test_the_numbering_of_nodes_does_not_change_the_greedy_energy():
    problem = grid_problem(30, 30)
    rng = np.random.default_rng(1)
    name = rng.permutation(900).astype(np.uint64)
    first, second = rng.permutation(len(problem.uv)), rng.permutation(len(problem.lifted_uv))
    renamed = Problem(
        900,
        np.sort(name[problem.uv.astype(int)][first], axis=1),
        problem.costs[first],
        np.sort(name[problem.lifted_uv.astype(int)][second], axis=1),
        problem.lifted_costs[second],
    )
    expected, result = (solve("greedy_additive", p) for p in (problem, renamed))
    assert result.energy == pytest.approx(expected.energy)
    np.testing.assert_array_equal(consecutive(result.labels[name.astype(int)]), expected.labels)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_same_problem_gives_the_same_labels_and_stays_as_it_was(name):
    problem = grid_problem(15, 20, lifted=name != "greedy_fixation")
    arrays = [problem.uv, problem.costs, problem.lifted_uv, problem.lifted_costs]
    copies = [array.copy() for array in arrays]
    first = solve(name, problem, parameters=SMALL_BLOCKS)
    second = solve(name, problem, parameters=SMALL_BLOCKS)
    np.testing.assert_array_equal(first.labels, second.labels)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# Kernighan-Lin is monotone


def test_an_iteration_that_ends_worse_is_thrown_away(monkeypatch):
    problem = problem_of(3, [[0, 1], [1, 2]], [1, -1])
    offers = iter([[0, 0, 1], [0, 0, 0]])
    monkeypatch.setattr(Partitioning, "kernighan_lin", lambda *_: np.array(next(offers), np.uint64))
    progress = Progress(problem, np.array([0, 1, 2], np.uint64), Limits())
    improve(problem, progress, 10)
    assert progress.labels.tolist() == [0, 0, 1]
    assert [step.energy for step in progress.solution().steps] == [0, -1, -1]


def test_no_iterations_leave_the_greedy_solution(monkeypatch):
    monkeypatch.setattr(Partitioning, "kernighan_lin", lambda *_: pytest.fail("was called"))
    none = SolverParameters(max_outer_iterations=0)
    solution = solve("kernighan_lin", problem_of(2, [[0, 1]], [1]), parameters=none)
    assert solution.labels.tolist() == [0, 0]


def test_bad_costs_edges_and_positions_are_named():
    with pytest.raises(ValueError, match="edge 1 is nan"):
        problem_of(3, [[0, 1], [1, 2]], [1, np.nan])
    with pytest.raises(ValueError, match="u < v"):
        problem_of(3, [[1, 0]], [1])
    with pytest.raises(ValueError, match=r"positions are \(2, 3\), expected \(3, 3\)"):
        Problem(3, NO_EDGES, NO_COSTS, positions=np.zeros((2, 3)))
