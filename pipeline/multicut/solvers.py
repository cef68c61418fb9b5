"""The solvers by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.multicut.average_linkage import average_linkage
from pipeline.multicut.fusion_moves import fusion_moves
from pipeline.multicut.greedy_additive import greedy_additive
from pipeline.multicut.greedy_fixation import greedy_fixation
from pipeline.multicut.hierarchical import hierarchical
from pipeline.multicut.kernighan_lin import kernighan_lin
from pipeline.multicut.mutex_watershed import mutex_watershed
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Solution, Solver

SOLVERS: Mapping[str, Solver] = MappingProxyType(
    {
        "greedy_additive": greedy_additive,
        "greedy_fixation": greedy_fixation,
        "kernighan_lin": kernighan_lin,
        "fusion_moves": fusion_moves,
        "hierarchical": hierarchical,
        "mutex_watershed": mutex_watershed,
        "average_linkage": average_linkage,
    }
)
DEFAULTS = SolverParameters()
NO_LIMITS = Limits()


def solve(
    solver: str,
    problem: Problem,
    start: Labels | None = None,
    limits: Limits = NO_LIMITS,
    parameters: SolverParameters = DEFAULTS,
) -> Solution:
    """Solve by the solver of a name.

    Examples
    --------
    >>> uv = np.array([[0, 1], [0, 2], [1, 2]], np.uint64)
    >>> solve("kernighan_lin", Problem(3, uv, np.array([2.0, -4.0, 1.0]))).labels.tolist()
    [0, 0, 1]
    """
    return SOLVERS[solver](problem, start, limits, parameters)
