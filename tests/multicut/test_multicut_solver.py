"""Solutions against brute force, and what every solution must be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backend.partition import Partitioning, consecutive, split_unconnected
from pipeline.multicut import solver
from pipeline.multicut.solver import improved, solve

NO_EDGES = np.zeros((0, 2), np.uint64)
NO_COSTS = np.zeros(0)


def solved(n, uv, costs, lifted_uv=(), lifted_costs=(), *, iterations=20):
    return solve(
        n,
        np.array(uv, np.uint64).reshape(-1, 2),
        np.array(costs, float),
        np.array(lifted_uv, np.uint64).reshape(-1, 2),
        np.array(lifted_costs, float),
        max_outer_iterations=iterations,
    )


def partitions(n):
    """All partitions of n nodes as labels, each once."""
    if n == 0:
        yield ()
        return
    for labels in partitions(n - 1):
        for label in range(max(labels, default=-1) + 2):
            yield (*labels, label)


def optimum(n, uv, costs, lifted_uv=NO_EDGES, lifted_costs=NO_COSTS):
    """Lowest energy of all partitions into connected clusters, by brute force."""
    problem = Partitioning(n, uv, costs, lifted_uv, lifted_costs)
    return min(
        problem.energy(labels)
        for labels in (np.array(p, np.uint64) for p in partitions(n))
        if (split_unconnected(uv, labels) == labels).all()
    )


def random_problem(n, seed, density=0.6):
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(n), 2)), np.uint64)
    regular = rng.random(len(pairs)) < density
    costs = rng.normal(size=len(pairs))
    return pairs[regular], costs[regular], pairs[~regular], costs[~regular]


def test_a_triangle_is_cut_where_two_repel():
    # 0 - 1 attract 2, 1 - 2 attract 1, 0 - 2 repel 4: cut 0 - 2 and 1 - 2
    solution = solved(3, [[0, 1], [0, 2], [1, 2]], [2, -4, 1])
    assert solution.labels.tolist() == [0, 0, 1]
    assert solution.energy == -3


def test_a_triangle_stays_whole_where_repulsion_is_outvoted():
    solution = solved(3, [[0, 1], [0, 2], [1, 2]], [2, -1, 2])
    assert solution.labels.tolist() == [0, 0, 0]
    assert solution.energy == 0


def test_a_lifted_edge_cannot_join_what_no_edge_connects():
    solution = solved(4, [[0, 1], [2, 3]], [1, 1], [[1, 2]], [100])
    assert solution.labels.tolist() == [0, 0, 1, 1]
    assert solution.energy == 100


def test_a_repulsive_lifted_edge_cuts_the_weakest_link():
    chain = [[0, 1], [1, 2], [2, 3]]
    solution = solved(4, chain, [3, 1, 3], [[0, 3]], [-2])
    assert solution.labels.tolist() == [0, 0, 1, 1]
    assert solution.multicut_labels.tolist() == [0, 0, 0, 0]
    assert (solution.energy, solution.multicut_energy_lifted) == (-1, 0)


def test_an_attractive_lifted_edge_closes_a_repulsive_link():
    solution = solved(3, [[0, 1], [1, 2]], [2, -1], [[0, 2]], [3])
    assert solution.labels.tolist() == [0, 0, 0]
    assert solution.multicut_labels.tolist() == [0, 0, 1]


def test_a_star_keeps_its_attractive_leaves():
    star = [[0, leaf] for leaf in range(1, 7)]
    solution = solved(7, star, [1, -1, 1, -1, 1, -1])
    assert solution.labels.tolist() == [0, 0, 1, 0, 2, 0, 3]
    assert solution.energy == -3


@pytest.mark.parametrize("n", [0, 1, 4])
def test_graphs_without_edges_are_singletons(n):
    solution = solved(n, [], [])
    assert solution.labels.tolist() == list(range(n))
    assert solution.labels.dtype == np.uint64


def test_only_repulsion_gives_singletons():
    assert solved(3, [[0, 1], [1, 2]], [-1, -1], [[0, 2]], [-1]).labels.tolist() == [0, 1, 2]


def test_a_cost_that_is_nan_is_an_error():
    with pytest.raises(ValueError, match="edge 1 is nan"):
        solved(3, [[0, 1], [1, 2]], [1, np.nan])


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), seeds)
def test_solutions_lie_between_the_optimum_and_greedy(n, seed):
    uv, costs, lifted_uv, lifted_costs = random_problem(n, seed)
    solution = solve(n, uv, costs, lifted_uv, lifted_costs, max_outer_iterations=20)
    lifted = Partitioning(n, uv, costs, lifted_uv, lifted_costs)
    plain = Partitioning(n, uv, costs)
    slack = 1e-6
    best = optimum(n, uv, costs, lifted_uv, lifted_costs)
    assert best - slack <= solution.energy <= lifted.energy(lifted.greedy_additive()) + slack
    assert solution.energy <= solution.multicut_energy_lifted + slack
    assert optimum(n, uv, costs) - slack <= solution.multicut_energy
    assert solution.multicut_energy <= plain.energy(plain.greedy_additive()) + slack
    assert solution.energy == pytest.approx(lifted.energy(solution.labels))
    assert solution.multicut_energy == pytest.approx(plain.energy(solution.multicut_labels))


def test_most_small_problems_are_solved_to_the_optimum():
    problems = [random_problem(6, seed) for seed in range(40)]
    plain, lifted = [], []
    for uv, costs, lifted_uv, lifted_costs in problems:
        solution = solve(6, uv, costs, lifted_uv, lifted_costs, max_outer_iterations=20)
        plain.append(solution.multicut_energy - optimum(6, uv, costs))
        lifted.append(solution.energy - optimum(6, uv, costs, lifted_uv, lifted_costs))
    assert np.mean(np.array(plain) < 1e-6) >= 0.9
    assert np.mean(np.array(lifted) < 1e-6) >= 0.8


def test_the_plain_multicut_is_also_tried_as_a_start():
    uv, costs, lifted_uv, lifted_costs = random_problem(8, 17)
    lifted = Partitioning(8, uv, costs, lifted_uv, lifted_costs)
    _, from_greedy, _ = improved(lifted, lifted.greedy_additive(), 20)
    solution = solve(8, uv, costs, lifted_uv, lifted_costs, max_outer_iterations=20)
    assert solution.energy < from_greedy - 0.1


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), seeds, st.floats(0.1, 0.5))
def test_every_cluster_is_connected_and_numbered_by_its_first_node(n, seed, density):
    uv, costs, lifted_uv, lifted_costs = random_problem(n, seed, density)
    solution = solve(n, uv, costs, lifted_uv, lifted_costs, max_outer_iterations=5)
    for labels in (solution.labels, solution.multicut_labels):
        np.testing.assert_array_equal(split_unconnected(uv, labels), labels)


def planted(n=60, clusters=6, seed=0):
    """Clusters that attract within and repel between, with different costs everywhere."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % clusters
    pairs = np.array(list(itertools.combinations(range(n), 2)), np.uint64)
    pairs = pairs[rng.random(len(pairs)) < 0.8]
    apart = truth[pairs[:, 0].astype(int)] != truth[pairs[:, 1].astype(int)]
    costs = np.where(apart, -1, 1) * rng.uniform(0.5, 1.5, len(pairs)) + rng.normal(
        0, 0.3, len(pairs)
    )
    regular = rng.random(len(pairs)) < 0.7
    return truth, pairs[regular], costs[regular], pairs[~regular], costs[~regular]


def test_planted_clusters_are_found_with_and_without_lifted_edges():
    truth, *problem = planted()
    solution = solve(60, *problem, max_outer_iterations=20)
    np.testing.assert_array_equal(solution.labels, consecutive(truth))
    np.testing.assert_array_equal(solution.multicut_labels, consecutive(truth))


def test_the_order_of_nodes_and_edges_does_not_change_the_partition():
    _, uv, costs, lifted_uv, lifted_costs = planted(seed=3)
    rng = np.random.default_rng(1)
    costs = costs + rng.normal(0, 0.4, len(costs))
    name = rng.permutation(60).astype(np.uint64)
    first, second = rng.permutation(len(uv)), rng.permutation(len(lifted_uv))
    expected = solve(60, uv, costs, lifted_uv, lifted_costs, max_outer_iterations=20)
    result = solve(
        60,
        np.sort(name[uv.astype(int)][first], axis=1),
        costs[first],
        np.sort(name[lifted_uv.astype(int)][second], axis=1),
        lifted_costs[second],
        max_outer_iterations=20,
    )
    index = name.astype(int)
    np.testing.assert_array_equal(consecutive(result.labels[index]), expected.labels)
    np.testing.assert_array_equal(
        consecutive(result.multicut_labels[index]), expected.multicut_labels
    )


class WorseningProblem:
    """A solver whose iterations reach energies 5, 3, 4, 0 in turn."""

    costs, lifted_costs = np.ones(1), NO_COSTS

    def __init__(self):
        self.started_from = []

    def energy(self, labels):
        return {0: 5.0, 1: 3.0, 2: 4.0, 3: 0.0}[int(labels[0])]

    def kernighan_lin(self, labels):
        self.started_from.append(int(labels[0]))
        return labels + np.uint64(1)


def test_an_iteration_that_ends_worse_is_thrown_away():
    problem = WorseningProblem()
    labels, energy, iterations = improved(problem, np.zeros(1, np.uint64), 10)
    assert (labels.tolist(), energy, iterations) == ([1], 3.0, 1)
    assert problem.started_from == [0, 1]


def test_no_iterations_leave_the_greedy_solution(monkeypatch):
    monkeypatch.setattr(solver.Partitioning, "kernighan_lin", lambda *_: pytest.fail("was called"))
    assert solved(2, [[0, 1]], [1], iterations=0).labels.tolist() == [0, 0]


def test_inputs_stay_as_they_were():
    _, *problem = planted()
    copies = [array.copy() for array in problem]
    solve(60, *problem, max_outer_iterations=3)
    for array, copy in zip(problem, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
