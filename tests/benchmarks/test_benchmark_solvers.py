"""Solvers as they are measured, and the table of their results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.feature_speed import channels
from benchmarks.graph import solvers_markdown
from benchmarks.graph_problems import load_problem, save_problem
from benchmarks.graph_solvers import CHAIN, LIBRARY, SOLVE, measure, small_problem
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
