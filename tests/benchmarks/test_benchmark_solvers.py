"""Solvers as they are measured, and the table of their results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import graph_domains
from benchmarks.feature_speed import channels
from benchmarks.graph import solvers_markdown
from benchmarks.graph_problems import load_problem, save_problem
from benchmarks.graph_solvers import CHAIN, DOMAINS, LIBRARY, SOLVE, measure, small_problem
from pipeline.multicut.costs import lifted_scale, signed_costs
from pipeline.multicut.problem import Limits


@pytest.mark.parametrize("lifted", [False, True], ids=["multicut", "lifted"])
def test_the_chain_is_at_least_as_good_as_greedy_and_energies_are_right(
    tmp_path: Path, lifted: bool
) -> None:
    problem = small_problem(lifted=lifted)
    path = tmp_path / "problem.npz"
    save_problem(path, problem)
    found = {}
    for solver in ("greedy_additive", LIBRARY, CHAIN):
        job = {"problem": str(path), "lifted": lifted, "solver": solver, "threads": 1}
        result = measure(job)
        labels = SOLVE[solver](load_problem(path, lifted=lifted), Limits()).labels
        u, v = problem.uv.astype(np.int64).T
        a, b = problem.lifted_uv.astype(np.int64).T
        energy = problem.costs[labels[u] != labels[v]].sum()
        energy += problem.lifted_costs[labels[a] != labels[b]].sum()
        assert result["energy"] == pytest.approx(energy)
        assert result["clusters"] == len(np.unique(labels))
        found[solver] = result["energy"]
    assert found[CHAIN] <= found["greedy_additive"] + 1e-9
    assert found[LIBRARY] <= found["greedy_additive"] + 1e-9


@pytest.mark.parametrize("lifted", [False, True], ids=["multicut", "lifted"])
def test_domains_leave_a_small_rest_and_little_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifted: bool
) -> None:
    monkeypatch.setattr(graph_domains, "DOMAIN_NODES", 60)
    problem = small_problem(lifted=lifted)
    path = tmp_path / "problem.npz"
    save_problem(path, problem)
    job = {"problem": str(path), "lifted": lifted, "threads": 1}
    found, whole = (measure({**job, "solver": name}) for name in (DOMAINS, "hierarchical"))
    assert whole["energy"] - 1e-9 <= found["energy"] <= 0.9 * whole["energy"]
    assert found["domains"] == 4
    assert 0 < found["rest_nodes"] < problem.number_of_nodes
    rest = found["rest_edges"] + found["rest_lifted_edges"]
    assert rest < len(problem.uv) + len(problem.lifted_uv)


def test_the_stage_is_given_the_costs_of_the_problem() -> None:
    problem = small_problem(lifted=True)
    costs = {
        name: dict(zip(map(tuple, uv.tolist()), values.tolist(), strict=True))
        for name, uv, values in (
            ("edges", problem.uv, problem.costs),
            ("lifted", problem.lifted_uv, problem.lifted_costs),
        )
    }
    tables, _, row = graph_domains.tables_of(problem)
    node = np.argsort(row)
    scale = {
        "edges": graph_domains.WEIGHT,
        "lifted": lifted_scale(len(problem.uv), len(problem.lifted_uv), graph_domains.WEIGHT),
    }
    assert (np.diff(tables["nodes"]["id"].astype(np.int64)) > 0).all()
    for name, given in costs.items():
        pairs = np.sort(node[tables[name]["uv"].astype(np.int64)], axis=1)
        expected = [given[u, v] for u, v in pairs.tolist()]
        assert scale[name] * signed_costs(tables[name]["p_cut"], 0.5, name) == pytest.approx(
            expected
        )


def test_the_rest_is_told_as_a_share_of_all_edges() -> None:
    rest = {"domains": 4, "levels": 2, "rest_nodes": 3, "rest_edges": 2, "rest_lifted_edges": 1}
    run = {"solver": DOMAINS, "threads": 1, "energy": -9.0, "wall": 1.0, "cpu": 1.0, **rest}
    runs = [{**run, "bytes_per_edge": 9}]
    problem = {"size": "92 k", "lifted": True, "nodes": 9, "edges": 7, "lifted_edges": 5}
    lines = solvers_markdown([{**problem, "runs": runs}]).splitlines()
    assert "4 domains, 2 levels; the rest has 3 nodes and 3 edges, 25 % of all." in lines


def test_gaps_are_to_the_best_and_ratios_to_the_librarys_solver() -> None:
    common = {"cpu": 1.0, "clusters": 3, "bytes_per_edge": 99.6}
    runs = [
        {"solver": LIBRARY, "threads": 1, "energy": -99.0, "wall": 8.0, **common},
        {"solver": "hierarchical", "threads": 1, "energy": -100.0, "wall": 2.0, **common},
        {"solver": "hierarchical", "threads": 2, "energy": -100.0, "wall": 1.0, **common},
        {"solver": "fusion_moves", "threads": 1, "error": "not finished within 5 s"},
    ]
    problem = {"size": "92 k", "lifted": True, "nodes": 5, "edges": 7, "lifted_edges": 2}
    rows = solvers_markdown([{**problem, "runs": runs}]).splitlines()
    assert "| library kernighan lin | 1 | -99.0 | 1.000 | 8.00 | 1.00 | 1.00 | – | 100 |" in rows
    assert "| hierarchical | 2 | -100.0 | 0.000 | 1.00 | 1.00 | 8.00 | 2.00 | 100 |" in rows
    assert "| fusion moves | 1 | not finished within 5 s | – | – | – | – | – | – |" in rows


def test_channels_are_the_images_that_columns_are_taken_of() -> None:
    names = ["raw/mean", "raw/q10", "boundary_hessian0_1.6/mean", "regions/a", "topology/degree"]
    assert channels(names) == {"raw", "boundary_hessian0_1.6"}
