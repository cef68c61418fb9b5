"""Greedy fixation.

Levinkov et al., "A comparative study of local search algorithms for correlation clustering",
GCPR 2017.
"""

from __future__ import annotations

from pipeline.errors import ConfigError
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Progress, Solution


def greedy_fixation(
    problem: Problem, start: Labels | None, limits: Limits, parameters: SolverParameters
) -> Solution:
    """Like greedy additive, but strong repulsion forbids a join for good.

    One step: a time limit does not shorten it.

    Raises
    ------
    ConfigError
        For a problem with lifted edges: "apart" is not transitive over them.
    """
    if problem.is_lifted:
        raise ConfigError(
            f"greedy_fixation solves plain multicuts, but there are {len(problem.lifted_uv)} "
            "lifted edges: set multicut.lifted_weight=0 or choose another multicut.solver"
        )
    progress = Progress(problem, start, limits)
    progress.offer("greedy fixation", problem.graph.greedy_fixation())
    return progress.solution()
