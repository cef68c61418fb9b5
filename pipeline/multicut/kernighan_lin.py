"""Kernighan-Lin with joins, one outer iteration at a time as long as it gains.

Keuper et al., "Efficient decomposition of image and mesh graphs by lifted multicuts", ICCV 2015.
"""

from __future__ import annotations

from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Progress, Solution


def kernighan_lin(
    problem: Problem, start: Labels | None, limits: Limits, parameters: SolverParameters
) -> Solution:
    """Move and join chains of nodes between neighbouring clusters.

    Begins with greedy additive where there is no start. The time limit is looked at between
    outer iterations.
    """
    progress = Progress(problem, start, limits)
    if start is None:
        progress.offer("greedy additive", problem.graph.greedy_additive())
    improve(problem, progress, parameters.max_outer_iterations)
    return progress.solution()


def improve(problem: Problem, progress: Progress, max_outer_iterations: int) -> None:
    """Iterate from the best partition so far, until one iteration does not gain.

    The library's iterations may end worse than they began; such an end is thrown away.
    """
    for _ in range(max_outer_iterations):
        if progress.is_over:
            return
        if not progress.offer("Kernighan-Lin", problem.graph.kernighan_lin(progress.labels)):
            return
