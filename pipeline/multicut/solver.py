"""Multicut and lifted multicut by greedy additive contraction and Kernighan-Lin.

1. The plain multicut: greedy additive, then Kernighan-Lin as long as it gains.
2. With lifted edges: the same on the lifted problem, once from its own greedy solution and
   once from the plain multicut; the lower energy is taken.

Keuper et al., "Efficient decomposition of image and mesh graphs by lifted multicuts",
ICCV 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.backend.partition import Partitioning

RELATIVE_GAIN = 1e-9
"""A gain below this share of all |costs| counts as rounding."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A partition of the nodes.

    Parameters
    ----------
    labels
        (n,) uint64, consecutive from 0 by first node; each cluster is connected.
    energy
        Sum of the costs of all cut edges, regular and lifted; lower is better.
    iterations
        Outer iterations of Kernighan-Lin that gained.
    multicut_labels, multicut_energy
        The same without lifted edges.
    multicut_energy_lifted
        Energy of ``multicut_labels`` in the lifted problem; ``energy`` is not above it.
    """

    labels: NDArray[np.uint64]
    energy: float
    iterations: int
    multicut_labels: NDArray[np.uint64]
    multicut_energy: float
    multicut_energy_lifted: float


def solve(
    number_of_nodes: int,
    uv: NDArray[np.uint64],
    costs: NDArray[np.float64],
    lifted_uv: NDArray[np.uint64],
    lifted_costs: NDArray[np.float64],
    *,
    max_outer_iterations: int,
) -> Solution:
    """Solve the multicut, and the lifted multicut if there are lifted edges.

    Parameters
    ----------
    number_of_nodes
        Nodes are ``0 .. number_of_nodes - 1``.
    uv, costs
        (m, 2) uint64, u < v, and (m,) float64, positive attracts.
    lifted_uv, lifted_costs
        (k, 2) uint64, u < v, disjoint from ``uv``, and (k,) float64; k may be 0.
    max_outer_iterations
        Limit of Kernighan-Lin; 0 = greedy only.

    Returns
    -------
    solution
        See ``Solution``.

    Raises
    ------
    ValueError
        For costs that are not finite, or malformed edges.
    """
    plain = Partitioning(number_of_nodes, uv, costs)
    multicut, energy, gains = improved(plain, plain.greedy_additive(), max_outer_iterations)
    if not len(lifted_uv):
        return Solution(multicut, energy, gains, multicut, energy, energy)
    lifted = Partitioning(number_of_nodes, uv, costs, lifted_uv, lifted_costs)
    labels, lifted_energy, lifted_gains = min(
        (
            improved(lifted, start, max_outer_iterations)
            for start in (lifted.greedy_additive(), multicut)
        ),
        key=lambda result: result[1],
    )
    return Solution(labels, lifted_energy, lifted_gains, multicut, energy, lifted.energy(multicut))


def improved(
    problem: Partitioning, labels: NDArray[np.uint64], max_outer_iterations: int
) -> tuple[NDArray[np.uint64], float, int]:
    """Kernighan-Lin from ``labels``, one outer iteration at a time, while the energy falls.

    Returns
    -------
    labels, energy, iterations
        Never worse than the start; ``iterations`` are those that gained.
    """
    energy = problem.energy(labels)
    tolerance = RELATIVE_GAIN * float(
        np.abs(problem.costs).sum() + np.abs(problem.lifted_costs).sum()
    )
    for iteration in range(max_outer_iterations):
        candidate = problem.kernighan_lin(labels)
        candidate_energy = problem.energy(candidate)
        if candidate_energy >= energy - tolerance:
            return labels, energy, iteration
        labels, energy = candidate, candidate_energy
    return labels, energy, max_outer_iterations
