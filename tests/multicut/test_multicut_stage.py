"""The multicut stage: tables in, neurons out."""

import re

import numpy as np
import pytest

from pipeline.contract import Resources, VolumeInfo
from pipeline.errors import ConfigError, InputError
from pipeline.multicut import STAGE
from pipeline.multicut.at_once import log, partition, seed_positions
from pipeline.multicut.config import MulticutConfig
from pipeline.multicut.costs import edge_costs, lifted_costs
from pipeline.multicut.problem import Problem, Solution, Step
from pipeline.multicut.solvers import SOLVERS
from workflows.in_memory import run_stage

VOLUME = VolumeInfo((4, 9, 9), (50.0, 4.0, 4.0), "uint8")
EVEN = MulticutConfig(beta=0.5, lifted_weight=0.5)


def run(p_cut, lifted_p_cut=None, config=None, length=300):
    """A chain of superpixels across sections, with one lifted edge from end to end."""
    n = len(p_cut) + 1
    lifted = lifted_p_cut is not None
    inputs = {
        "nodes": {"id": np.arange(10, 10 + n, dtype=np.uint64)},
        "edges": {
            "uv": np.stack([np.arange(n - 1), np.arange(1, n)], axis=1).astype(np.uint64),
            "p_cut": np.array(p_cut, np.float32),
            "across_sections": np.ones(n - 1, bool),
            "length_voxels": np.full(n - 1, length, np.uint64),
        },
        "lifted": {
            "uv": np.array([[0, n - 1]][: int(lifted)], np.uint64).reshape(-1, 2),
            "p_cut": np.array([lifted_p_cut][: int(lifted)], np.float32),
        },
    }
    config = (config or MulticutConfig()).resolved(VOLUME)
    return run_stage(STAGE, inputs, config, Resources(VOLUME))["nodes"]


def test_neurons_are_numbered_from_1_by_their_first_superpixel():
    nodes = run([0.1, 0.9, 0.1])
    assert nodes["neuron"].dtype == np.uint64
    assert nodes["neuron"].tolist() == [1, 1, 2, 2]
    assert nodes["multicut"].tolist() == [1, 1, 2, 2]


def test_a_lifted_edge_changes_neurons_but_not_the_plain_multicut():
    nodes = run([0.1, 0.45, 0.1], 0.99, EVEN)
    assert nodes["neuron"].tolist() == [1, 1, 2, 2]
    assert nodes["multicut"].tolist() == [1, 1, 1, 1]


def test_lifted_weight_0_is_the_plain_multicut():
    nodes = run([0.1, 0.45, 0.1], 0.99, MulticutConfig(beta=0.5, lifted_weight=0))
    assert nodes["neuron"].tolist() == [1, 1, 1, 1]


def test_a_higher_prior_of_cuts_splits_more():
    assert run([0.4, 0.1], config=MulticutConfig(beta=0.5))["neuron"].tolist() == [1, 1, 1]
    assert run([0.4, 0.1], config=MulticutConfig(beta=0.7))["neuron"].tolist() == [1, 2, 2]


def test_long_contacts_across_flat_sections_outweigh_lifted_edges():
    assert run([0.1, 0.45, 0.1], 0.99, EVEN, length=30_000)["neuron"].tolist() == [1, 1, 1, 1]


def test_a_volume_of_one_superpixel_is_one_neuron():
    assert run([])["neuron"].tolist() == [1]


def test_a_missing_probability_is_named():
    with pytest.raises(InputError, match=r"P\(cut\) of edge 1 is nan"):
        run([0.1, np.nan])


def chain_tables(n=40, seed=0):
    """A long chain within one section; seeds lie along x and y."""
    rng = np.random.default_rng(seed)
    nodes = {"id": np.arange(1, 2 * n, 2, dtype=np.uint64)}
    uv = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1).astype(np.uint64)
    edges = {
        "uv": uv,
        "p_cut": rng.uniform(0, 1, n - 1).astype(np.float32),
        "across_sections": np.zeros(n - 1, bool),
        "length_voxels": np.full(n - 1, 30, np.uint64),
    }
    lifted = {
        "uv": np.stack([np.arange(n - 3), np.arange(3, n)], axis=1).astype(np.uint64),
        "p_cut": rng.uniform(0, 1, n - 3).astype(np.float32),
    }
    return nodes, edges, lifted


def test_large_problems_are_solved_hierarchically_with_any_number_of_threads():
    tables = chain_tables()
    config = MulticutConfig(hierarchical_from_edges=30, block_shape=(1, 2, 4))
    small = partition(*tables, MulticutConfig().resolved(VOLUME), VOLUME)
    large, threaded = (
        partition(*tables, config.resolved(VOLUME), VOLUME, threads) for threads in (1, 2)
    )
    assert small.lifted.levels == ()
    assert len(large.lifted.levels) > 0
    assert large.labels.tolist() == threaded.labels.tolist()
    assert large.lifted.energy <= 0.95 * small.lifted.energy < 0


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s != "greedy_fixation"])
def test_every_solver_can_be_chosen_by_name(solver):
    config = MulticutConfig(solver=solver).resolved(VOLUME)
    found = partition(*chain_tables(), config, VOLUME)
    assert found.multicut.steps[-1].name.replace("-", "_").lower() in (
        solver.replace("_", " "),
        solver,
        "local search",
    )


def test_greedy_fixation_is_for_plain_multicuts():
    config = MulticutConfig(solver="greedy_fixation", lifted_weight=0).resolved(VOLUME)
    assert partition(*chain_tables(), config, VOLUME).multicut.energy < 0
    config = MulticutConfig(solver="greedy_fixation").resolved(VOLUME)
    with pytest.raises(ConfigError, match="lifted_weight=0"):
        partition(*chain_tables(), config, VOLUME)


def test_the_solution_is_not_above_the_plain_multicut_in_the_lifted_problem():
    for seed in range(5):
        tables = chain_tables(seed=seed)
        config = MulticutConfig().resolved(VOLUME)
        found = partition(*tables, config)
        costs = edge_costs(tables[1], config), lifted_costs(tables[2], 39, config)
        lifted_problem = Problem(40, tables[1]["uv"], costs[0], tables[2]["uv"], costs[1])
        assert found.lifted.energy <= lifted_problem.energy(found.multicut_labels) + 1e-9


def test_seeds_are_where_their_ids_say():
    ids = np.array([1, 10, 1 + 81 * 3 + 9 * 8 + 7], np.uint64)
    assert seed_positions(ids, VOLUME).tolist() == [[0, 0, 0], [0, 1, 0], [3, 8, 7]]


def test_the_result_of_every_solve_is_logged_and_its_steps_for_debugging(caplog):
    caplog.set_level("INFO", logger="pipeline.multicut.at_once")
    run([0.1, 0.9, 0.1])
    (line,) = caplog.messages
    assert re.fullmatch(r"multicut, kernighan_lin: 2 neurons, energy -\d+\.\d{3}, 0\.\d s", line)
    caplog.clear()
    caplog.set_level("DEBUG", logger="pipeline.multicut.at_once")
    run([0.1, 0.45, 0.1], 0.99, EVEN)
    assert any(m.startswith("lifted multicut, kernighan_lin: 2 neurons") for m in caplog.messages)
    assert any("multicut, kernighan_lin: greedy additive: energy" in m for m in caplog.messages)


def test_levels_of_the_hierarchical_solver_are_logged_with_their_bounds(caplog):
    caplog.set_level("INFO", logger="pipeline.multicut.at_once")
    config = MulticutConfig(solver="hierarchical", block_shape=(1, 2, 4)).resolved(VOLUME)
    found = partition(*chain_tables(), config, VOLUME)
    log("multicut", found.multicut)
    level = found.multicut.levels[0]
    assert caplog.messages[0].startswith("multicut: level 1: 40 nodes, 39 edges, 0 lifted edges")
    assert f"energy {level.energy:.3f}" in caplog.messages[0]
    assert f"by {level.improvement_bound:.3f} at most" in caplog.messages[0]


def test_the_starts_of_a_lifted_multicut_share_the_time_limit(monkeypatch):
    left = []

    def slow(name, problem, start, limits, config):
        left.append(limits.seconds)
        energy = problem.energy(problem.graph.singletons())
        return Solution(problem.graph.singletons(), energy, (Step("slow", 2.0, energy),))

    monkeypatch.setattr("pipeline.multicut.at_once.solve", slow)
    partition(*chain_tables(), MulticutConfig(time_limit_seconds=3).resolved(VOLUME))
    assert left == [3, 3, 1]  # plain; lifted from nothing; lifted from the plain one
    left.clear()
    partition(*chain_tables(), MulticutConfig(time_limit_seconds=1).resolved(VOLUME))
    assert left == [1, 1, 0]
