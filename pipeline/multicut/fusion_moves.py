"""Fusion moves.

Beier et al., "Fusion moves for correlation clustering", CVPR 2015; "An efficient fusion move
algorithm for the minimum cost lifted multicut problem", ECCV 2016.
"""

from __future__ import annotations

from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Progress, Solution

PROPOSALS_A_STEP = 10
"""Proposals between two looks at the clock."""
STEPS_WITHOUT_GAIN = 2


def fusion_moves(
    problem: Problem, start: Labels | None, limits: Limits, parameters: SolverParameters
) -> Solution:
    """Fuse the best partition with watersheds from random seeds on noisy costs.

    Begins with greedy additive where there is no start. Seeds are fixed and the library's
    thread number is 1 (its results depend on it), so results are reproducible. Ends after
    ``fusion_proposals``, or when two steps of ten proposals gained nothing.
    """
    progress = Progress(problem, start, limits)
    if start is None:
        progress.offer("greedy additive", problem.graph.greedy_additive())
    without_gain = 0
    for done in range(0, parameters.fusion_proposals, PROPOSALS_A_STEP):
        if progress.is_over or without_gain == STEPS_WITHOUT_GAIN:
            break
        proposals = min(PROPOSALS_A_STEP, parameters.fusion_proposals - done)
        labels = problem.graph.fusion_moves(progress.labels, proposals, seed=done)
        without_gain = 0 if progress.offer("fusion moves", labels) else without_gain + 1
    return progress.solution()
