"""The whole problem in one process, with and without lifted edges."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import seeds
from pipeline.contract import VolumeInfo
from pipeline.multicut.config import MulticutConfig, decided
from pipeline.multicut.costs import edge_costs, lifted_costs
from pipeline.multicut.problem import Labels, Limits, Problem, Solution
from pipeline.multicut.solvers import solve

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Partition:
    """The solutions with and without lifted edges.

    Parameters
    ----------
    solver
        Its name.
    lifted
        Of the lifted multicut; the plain one where there are no lifted edges.
    multicut
        Of the plain multicut.
    """

    solver: str
    lifted: Solution
    multicut: Solution

    @property
    def labels(self) -> Labels:
        """Clusters of the nodes, from 0."""
        return self.lifted.labels

    @property
    def multicut_labels(self) -> Labels:
        """Clusters without lifted edges, from 0."""
        return self.multicut.labels


def partition(
    nodes: Mapping[str, NDArray[Any]],
    edges: Mapping[str, NDArray[Any]],
    lifted: Mapping[str, NDArray[Any]],
    config: MulticutConfig,
    volume: VolumeInfo | None = None,
    threads: int = 1,
) -> Partition:
    """Solve for the tables of one volume, or of one training sample.

    Parameters
    ----------
    nodes
        ``id``, (n,).
    edges
        ``uv`` and the columns of ``edge_costs``.
    lifted
        ``uv`` (k, 2) and ``p_cut`` (k,); k may be 0.
    config
        Resolved for the volume.
    volume
        Where the nodes lie; the hierarchical solver needs it.
    threads
        Does not change the result.
    """
    use = slice(None) if decided(config.lifted_weight, "lifted_weight") > 0 else slice(0, 0)
    problem = Problem(
        len(nodes["id"]),
        edges["uv"],
        edge_costs(edges, config),
        lifted["uv"][use],
        lifted_costs(lifted, len(edges["uv"]), config)[use],
        None if volume is None else seed_positions(nodes["id"], volume),
    )
    limits = Limits(config.time_limit_seconds, threads)
    solver = chosen_solver(problem, config)
    multicut = solve(solver, problem.without_lifted, None, limits, config)
    if not problem.is_lifted:
        return Partition(solver, multicut, multicut)
    solutions: list[Solution] = []
    for start in starts(solver, multicut):
        spent = sum(s.steps[-1].seconds for s in solutions)
        solutions.append(solve(solver, problem, start, limits.after(spent), config))
    return Partition(solver, min(solutions, key=lambda s: s.energy), multicut)


def chosen_solver(problem: Problem, config: MulticutConfig) -> str:
    """The solver's name, or by the size of the problem."""
    if config.solver is not None:
        return config.solver
    large = len(problem.uv) >= config.hierarchical_from_edges and problem.positions is not None
    return "hierarchical" if large else "kernighan_lin"


def starts(solver: str, multicut: Solution) -> tuple[Labels | None, ...]:
    """What the lifted problem is started from.

    Moves from the plain multicut may end lower than moves from the greedy solution; the
    hierarchical solver compares only; the others know no start, or are there to be compared.
    """
    if solver in ("kernighan_lin", "fusion_moves"):
        return None, multicut.labels
    return (multicut.labels if solver == "hierarchical" else None,)


def seed_positions(ids: NDArray[np.uint64], volume: VolumeInfo) -> NDArray[np.float64]:
    """(n, 3) float64, zyx voxels of the seeds."""
    return seeds(ids, volume.shape).astype(np.float64)


def log(problem: str, solution: Solution) -> None:
    """A line for each level of the hierarchical solver and one for the result; steps: debug."""
    for number, level in enumerate(solution.levels, 1):
        LOG.info(
            f"{problem}: level {number}: {level.nodes:,} nodes, {level.edges:,} edges, "
            f"{level.lifted_edges:,} lifted edges in {level.blocks:,} blocks; energy "
            f"{level.energy:.3f}, which can fall by {level.improvement_bound:.3f} at most with "
            "what they joined"
        )
    for step in solution.steps:
        LOG.debug("%s: %s: energy %.3f after %.2f s", problem, step.name, step.energy, step.seconds)
    clusters = int(solution.labels.max()) + 1 if len(solution.labels) else 0
    seconds = solution.steps[-1].seconds
    LOG.info(f"{problem}: {clusters:,} neurons, energy {solution.energy:.3f}, {seconds:.1f} s")
