"""One solver on one problem, in a process of its own; ``graph.py`` starts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.lifted_multicut import (
    LiftedGreedyAdditiveMulticut,
    LiftedKernighanLinMulticut,
    LiftedMulticutObjective,
)
from bioimage_cpp.graph.multicut import (
    GreedyAdditiveMulticut,
    KernighanLinMulticut,
    MulticutObjective,
)

from benchmarks.children import child_main, forget_peak, peak_bytes, resident_bytes
from benchmarks.graph_domains import by_domains
from benchmarks.graph_problems import load_problem
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Limits, Problem, Solution
from pipeline.multicut.solvers import SOLVERS, solve

CHAIN = "chain"
DOMAINS = "domains"
LIBRARY = "library_kernighan_lin"
LONG = SolverParameters(max_outer_iterations=200, fusion_proposals=500)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Solve; times do not count reading the problem, memory counts what solving adds to it.

    A small problem comes first, so that compilation does not count.
    """
    problem = load_problem(Path(job["problem"]), lifted=job["lifted"])
    solver = SOLVE[job["solver"]]
    solver(small_problem(lifted=job["lifted"]), Limits(threads=job["threads"]))
    forget_peak()
    resident = resident_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    solution = solver(problem, Limits(job.get("seconds"), job["threads"]))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "energy": solution.energy,
        "clusters": len(np.unique(solution.labels)),
        "wall": wall,
        "cpu": cpu,
        "bytes_per_edge": (peak_bytes() - resident) / (len(problem.uv) + len(problem.lifted_uv)),
        **(decomposition(solution) if job["solver"] == DOMAINS else {}),
    }


def decomposition(solution: Solution) -> dict[str, int]:
    """Domains of the first level, levels, and the size of the rest."""
    *levels, rest = solution.levels
    return {
        "domains": levels[0].blocks if levels else 1,
        "levels": len(levels),
        "rest_nodes": rest.nodes,
        "rest_edges": rest.edges,
        "rest_lifted_edges": rest.lifted_edges,
    }


def small_problem(*, lifted: bool) -> Problem:
    """A ring of nodes with random costs, lifted edges across it if asked for."""
    n = 200
    rng = np.random.default_rng(0)
    nodes = np.arange(n, dtype=np.uint64)
    uv = np.sort(np.stack([nodes, np.roll(nodes, -1)], 1), axis=1)
    across = np.stack([nodes[: n // 2], nodes[n // 2 :]], 1)[: n // 2 if lifted else 0]
    return Problem(
        n,
        uv,
        rng.normal(0, 1, n),
        across,
        rng.normal(0, 1, len(across)),
        np.stack([np.zeros(n), np.zeros(n), np.arange(n)], 1),
    )


def library_kernighan_lin(problem: Problem, limits: Limits) -> Solution:
    """Kernighan-Lin from greedy additive in one call of the library, as elf calls it.

    The peer: faster than ours, which looks at the energy after every outer iteration, but it
    may end worse than it was on the way, and no time limit stops it.
    """
    graph = UndirectedGraph.from_unique_edges(problem.number_of_nodes, problem.uv)
    if problem.is_lifted:
        objective: Any = LiftedMulticutObjective(
            graph, problem.costs, lifted_uvs=problem.lifted_uv, lifted_costs=problem.lifted_costs
        )
        greedy, solver = LiftedGreedyAdditiveMulticut(), LiftedKernighanLinMulticut()
    else:
        objective = MulticutObjective(graph, problem.costs)
        greedy, solver = GreedyAdditiveMulticut(), KernighanLinMulticut()
    objective.labels = greedy.optimize(objective)
    labels = np.asarray(solver.optimize(objective)).astype(np.uint64)
    return Solution(labels, problem.energy(labels))


def chain(problem: Problem, limits: Limits) -> Solution:
    """The best that can be had: three solvers in turn, each starting from the one before."""
    solution = solve("hierarchical", problem, None, limits)
    for solver in ("fusion_moves", "kernighan_lin"):
        solution = solve(solver, problem, solution.labels, limits, LONG)
    return solution


def _named(name: str) -> Callable[[Problem, Limits], Solution]:
    return lambda problem, limits: solve(name, problem, None, limits)


SOLVE: dict[str, Callable[[Problem, Limits], Solution]] = {
    **{name: _named(name) for name in SOLVERS},
    LIBRARY: library_kernighan_lin,
    DOMAINS: by_domains,
    CHAIN: chain,
}

if __name__ == "__main__":
    child_main(measure)
