"""Agglomeration by average linkage of signed costs, for comparison.

Bailoni et al., "GASP, a generalized framework for agglomerative clustering of signed graphs",
CVPR 2022.
"""

from __future__ import annotations

from pipeline.backend import partition
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Progress, Solution


def average_linkage(
    problem: Problem, start: Labels | None, limits: Limits, parameters: SolverParameters
) -> Solution:
    """Join the two clusters of highest mean cost between them, as long as it attracts.

    Lifted edges are left out. Every edge counts once in the mean: contact length is in the
    costs already. Minimises no energy: its energy is for comparison.
    """
    progress = Progress(problem, start, limits)
    labels = partition.average_linkage(problem.number_of_nodes, problem.uv, problem.costs)
    progress.offer("average linkage", labels)
    return progress.solution()
