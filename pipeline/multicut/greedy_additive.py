"""Greedy additive edge contraction.

Keuper et al., "Efficient decomposition of image and mesh graphs by lifted multicuts", ICCV 2015.
"""

from __future__ import annotations

from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Progress, Solution


def greedy_additive(
    problem: Problem, start: Labels | None, limits: Limits, parameters: SolverParameters
) -> Solution:
    """Join the two clusters of highest total attraction, as long as there are any.

    One step: a time limit does not shorten it.
    """
    progress = Progress(problem, start, limits)
    progress.offer("greedy additive", problem.graph.greedy_additive())
    return progress.solution()
