"""Blocks, contraction, local search, and the hierarchical solver made of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backend.partition import split_unconnected
from pipeline.multicut.blocks import regions, shape_for, split
from pipeline.multicut.contraction import contract
from pipeline.multicut.local_search import search
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import NO_COSTS, NO_EDGES, Limits, Problem, Progress
from pipeline.multicut.solvers import solve

seeds = st.integers(0, 2**32 - 1)


def random_problem(n, seed, *, density=0.3, lifted=True):
    """Regular edges between near nodes, lifted edges between some others."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 10, (n, 3))
    pairs = np.array(list(itertools.combinations(range(n), 2)), np.uint64).reshape(-1, 2)
    ends = positions[pairs.astype(int)]
    far = np.abs(ends[:, 0] - ends[:, 1]).max(axis=1)
    regular = (far < 5) & (rng.random(len(pairs)) < density)
    others = ~regular & (far < 6) & (rng.random(len(pairs)) < density) & lifted
    costs = rng.normal(0.1, 1, len(pairs))
    return Problem(n, pairs[regular], costs[regular], pairs[others], costs[others], positions)


def parameters(shape=(4, 4, 4), levels=2, overlap=0.2, **others):
    return SolverParameters(block_shape=shape, levels=levels, block_overlap=overlap, **others)


def assert_valid(problem, solution):
    np.testing.assert_array_equal(split_unconnected(problem.uv, solution.labels), solution.labels)
    assert solution.energy == pytest.approx(problem.energy(solution.labels))


# Blocks


def reference_blocks(problem, shape, overlap):
    """Block corner -> its nodes, by looking at every node and block."""
    place = problem.positions - problem.positions.min(axis=0)
    shape = np.array(shape)
    grid = (place.max(axis=0) // shape).astype(int) + 1
    found = {}
    for corner in itertools.product(*(range(g) for g in grid)):
        low, high = (np.array(corner) - overlap) * shape, (np.array(corner) + 1 + overlap) * shape
        found[corner] = np.flatnonzero(((place >= low) & (place < high)).all(axis=1)).tolist()
    return list(found.values())


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), seed=seeds, overlap=st.sampled_from([0.0, 0.1, 0.4]))
def test_blocks_hold_the_nodes_near_them_and_the_edges_between(n, seed, overlap):
    problem = random_problem(n, seed)
    blocks = split(problem, (4, 5, 6), overlap)
    expected = reference_blocks(problem, (4, 5, 6), overlap)
    assert [blocks.nodes[b].tolist() for b in range(len(blocks))] == expected
    for block, nodes in enumerate(expected):
        for members, uv in (
            (blocks.edges, problem.uv),
            (blocks.lifted_edges, problem.lifted_uv),
        ):
            assert (
                members[block].tolist() == np.flatnonzero(np.isin(uv, nodes).all(axis=1)).tolist()
            )
    held = np.bincount([u for nodes in expected for u in nodes], minlength=n)
    np.testing.assert_array_equal(blocks.owner >= 0, held == 1)


def test_every_node_lies_in_a_block_where_the_last_block_ends_at_a_node():
    # 0.5 / 0.1 is 5, but 0.5 // 0.1 is 4
    positions = np.array([[0, 0, x / 10] for x in range(6)])
    problem = Problem(6, NO_EDGES, NO_COSTS, positions=positions)
    blocks = split(problem, (1.0, 1.0, 0.1), 0.0)
    assert blocks.nodes.items.tolist() == list(range(6))


def test_a_sub_problem_keeps_costs_and_order():
    positions = np.array([[0, 0, x] for x in (0, 9, 1, 8)], float)
    uv, lifted = np.array([[0, 2], [1, 3], [0, 1]], np.uint64), np.array([[1, 2]], np.uint64)
    problem = Problem(4, uv, np.array([1.0, 2, 3]), lifted, np.array([4.0]), positions)
    part = split(problem, (1, 5, 5), 0).problem(problem, 1)
    assert part.number_of_nodes == 2
    assert part.uv.tolist() == [[0, 1]]
    assert part.costs.tolist() == [2]
    assert not part.is_lifted


def test_blocks_are_cut_along_the_longest_axis_until_they_are_small():
    positions = np.stack(np.unravel_index(np.arange(1600), (4, 20, 20)), axis=1).astype(float)
    assert shape_for(positions, 1600) == (4, 20, 20)
    assert shape_for(positions, 400) == (4, 10, 10)
    assert shape_for(np.zeros((5, 3)), 1) == (1, 1, 1)
    assert shape_for(np.zeros((0, 3)), 1) == (1, 1, 1)


# Contraction


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 25), seed=seeds)
def test_contraction_keeps_the_energy_of_every_coarser_partition(n, seed):
    problem = random_problem(n, seed)
    rng = np.random.default_rng(seed)
    labels = split_unconnected(problem.uv, rng.integers(0, 4, n))
    contracted = contract(problem, labels)
    coarser = rng.integers(0, 3, contracted.number_of_nodes).astype(np.uint64)
    assert contracted.energy(coarser) == pytest.approx(problem.energy(coarser[labels]))
    regular, lifted = (set(map(tuple, e.tolist())) for e in (contracted.uv, contracted.lifted_uv))
    assert not regular & lifted


def test_parallel_edges_add_up_and_a_lifted_edge_joins_its_regular_one():
    # 0 and 1 become one; 0-2 and 1-2 are parallel; lifted 1-3 lies on 0-3; lifted 0-1 is inside
    uv = np.array([[0, 1], [0, 2], [0, 3], [1, 2]], np.uint64)
    lifted = np.array([[1, 3], [2, 3]], np.uint64)
    positions = np.array([[0, 0, 0], [0, 0, 4], [0, 0, 8], [0, 0, 9]], float)
    problem = Problem(4, uv, np.array([9.0, 1, 2, 3]), lifted, np.array([10.0, 5]), positions)
    contracted = contract(problem, np.array([0, 0, 1, 2], np.uint64))
    assert contracted.uv.tolist() == [[0, 1], [0, 2]]
    assert contracted.costs.tolist() == [4, 12]
    assert contracted.lifted_uv.tolist() == [[1, 2]]
    assert contracted.lifted_costs.tolist() == [5]
    assert contracted.positions[:, 2].tolist() == [2, 8, 9]


# Local search


def searched(problem, start, *, region=None, threads=1):
    progress = Progress(problem, start, Limits())
    chosen = region or (lambda _: np.zeros(problem.number_of_nodes, np.int64))
    search(problem, progress, chosen, max_sweeps=10, threads=threads)
    return progress.solution()


def test_a_node_on_the_wrong_side_moves():
    # 0 - 1 - 2 - 3, where 1 belongs to 0
    uv = np.array([[0, 1], [1, 2], [2, 3]], np.uint64)
    problem = Problem(4, uv, np.array([3.0, -1, 3]))
    assert searched(problem, np.array([0, 1, 1, 1], np.uint64)).labels.tolist() == [0, 0, 1, 1]


def test_two_nodes_move_together_though_the_first_loses():
    # 1 and 2 cling to each other (2); each is drawn to 0 (1.5) and only 1 to 3 (0.5)
    uv = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]], np.uint64)
    problem = Problem(4, uv, np.array([1.5, 1.5, -9, 2, 0.5, 0.4]))
    solution = searched(problem, np.array([0, 1, 1, 1], np.uint64))
    assert solution.labels.tolist() == [0, 0, 0, 1]
    assert solution.energy == pytest.approx(-8.1)


def test_a_repelled_node_gets_a_cluster_of_its_own():
    uv = np.array([[0, 1], [1, 2]], np.uint64)
    problem = Problem(3, uv, np.array([1.0, -2]))
    assert searched(problem, np.zeros(3, np.uint64)).labels.tolist() == [0, 0, 1]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), seed=seeds, lifted=st.booleans())
def test_local_search_never_loses_and_threads_do_not_matter(n, seed, lifted):
    problem = random_problem(n, seed, lifted=lifted)
    start = split_unconnected(problem.uv, np.random.default_rng(seed).integers(0, 3, n))

    def region(number):
        return regions(problem.positions, (3.0, 3.0, 3.0), number)

    first, second = (searched(problem, start, region=region, threads=t) for t in (1, 2))
    assert_valid(problem, first)
    assert first.energy <= problem.energy(start) + 1e-9
    np.testing.assert_array_equal(first.labels, second.labels)


# The hierarchical solver


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("overlap", [0.0, 0.3])
@settings(max_examples=6, deadline=None)
@given(n=st.integers(0, 60), seed=seeds)
def test_any_number_of_levels_gives_a_valid_solution(levels, overlap, n, seed):
    problem = random_problem(n, seed)
    solution = solve("hierarchical", problem, parameters=parameters((2, 3, 3), levels, overlap))
    assert_valid(problem, solution)
    assert len(solution.levels) <= levels
    rest = next(step.energy for step in solution.steps if step.name == "rest, local search")
    for level in solution.levels:
        assert rest >= level.energy - level.improvement_bound - 1e-9
    np.testing.assert_array_equal(
        solution.labels,
        solve(
            "hierarchical",
            problem,
            limits=Limits(threads=3),
            parameters=parameters((2, 3, 3), levels, overlap),
        ).labels,
    )


def strip(length=60, seed=0):
    """A ladder of nodes along x, in four parts that no edge connects, with some nodes apart."""
    rng = np.random.default_rng(seed)
    node = np.arange(2 * length).reshape(length, 2)
    uv = np.concatenate([np.stack([node[:-1, k], node[1:, k]], axis=1) for k in (0, 1)] + [node])
    connected = (uv[:, 0] // 2 + 1) % 15 != 0
    uv = uv[connected | (uv[:, 1] == uv[:, 0] + 1)].astype(np.uint64)
    positions = np.zeros((2 * length, 3))
    positions[:, 2] = node.ravel() // 2 + 1000 * (node.ravel() // 60)
    return Problem(2 * length, uv, rng.normal(0.3, 1, len(uv)), positions=positions)


def test_disconnected_parts_with_wide_gaps_between_are_solved_as_well_as_alone():
    problem = strip()
    solution = solve("hierarchical", problem, parameters=parameters((1, 1, 8), 3))
    assert_valid(problem, solution)
    assert solution.levels[0].blocks > 4
    assert solution.energy <= solve("kernighan_lin", problem).energy + 1e-9


def test_one_block_is_the_whole_problem():
    problem = random_problem(60, 1)
    whole = solve("hierarchical", problem, parameters=parameters((50, 50, 50)))
    assert whole.levels == ()
    expected = searched(problem, problem.graph.greedy_additive())
    np.testing.assert_array_equal(whole.labels, expected.labels)


def test_levels_report_what_is_left():
    problem = strip()
    solution = solve("hierarchical", problem, parameters=parameters((1, 1, 8), 2))
    first, second = solution.levels
    assert (first.nodes, first.edges) == (120, len(problem.uv))
    assert second.nodes < first.nodes
    assert second.edges < first.edges
    assert second.energy <= first.energy + 1e-9
    assert 0 <= second.improvement_bound <= first.improvement_bound


def test_improvement_bound_holds_for_all_partitions_of_the_contracted_nodes():
    # 0 and 1 are contracted; 1 - 2 (+1) and 2 - 3 (-1) lie in the overlap and stay open
    uv = np.array([[0, 1], [1, 2], [2, 3]], np.uint64)
    positions = np.array([[0, 0, x] for x in (0, 1, 9, 11)], float)
    problem = Problem(4, uv, np.array([5.0, 1, -1]), positions=positions)
    level, *_ = solve("hierarchical", problem, parameters=parameters((1, 1, 10), 1)).levels
    assert (level.blocks, level.energy, level.improvement_bound) == (2, 0, 1)


def test_nothing_is_contracted_in_an_overlap():
    uv = np.array([[0, 1]], np.uint64)
    for x, energy in ((1.0, 0.0), (8.5, 5.0)):
        positions = np.array([[0, 0, 0], [0, 0, x], [0, 0, 15]], float)
        problem = Problem(3, uv, np.array([5.0]), positions=positions)
        solution = solve("hierarchical", problem, parameters=parameters((1, 1, 10), 1))
        assert solution.levels[0].energy == energy
        assert solution.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("refine", [False, True])
def test_the_energy_is_close_to_that_of_kernighan_lin(refine):
    problem = random_problem(400, 3, density=0.05)
    chosen = parameters((5, 5, 5), 2, refine=refine)
    best = solve("kernighan_lin", problem).energy
    assert solve("hierarchical", problem, parameters=chosen).energy <= 0.99 * best


def test_positions_are_needed():
    with pytest.raises(ValueError, match="needs the positions"):
        solve("hierarchical", Problem(2, NO_EDGES, NO_COSTS))
