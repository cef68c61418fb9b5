"""Mutex watershed on the superpixel graph, for comparison.

Wolf et al., "The mutex watershed and its objective: efficient, parameter-free graph
partitioning", PAMI 2020.
"""

from __future__ import annotations

from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Progress, Solution


def mutex_watershed(
    problem: Problem, start: Labels | None, limits: Limits, parameters: SolverParameters
) -> Solution:
    """Go through all edges by descending strength: join, or forbid a join for good.

    Repulsive edges, regular and lifted, forbid; attractive lifted edges are left out, because
    they cannot join. Minimises another objective: its energy is for comparison.
    """
    progress = Progress(problem, start, limits)
    progress.offer("mutex watershed", problem.graph.mutex_watershed())
    return progress.solution()
