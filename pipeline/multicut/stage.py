"""The neuron of every node: costs from probabilities, then the (lifted) multicut."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import (
    Block,
    Inputs,
    Outputs,
    Resources,
    Stage,
    Table,
    TableSpec,
    VolumeInfo,
)
from pipeline.errors import ConfigError
from pipeline.multicut.costs import length_weights, lifted_scale, signed_costs
from pipeline.multicut.parameters import SolverParameters
from pipeline.multicut.problem import Labels, Limits, Problem, Solution
from pipeline.multicut.solvers import solve

LOG = logging.getLogger(__name__)

FLAT_SECTIONS = {
    "beta": 0.6,
    "beta_lifted": 0.5,
    "lifted_weight": 2.0,
    "length_weighting": "all",
    "weight_across": 1.0,
}
"""All but ``weight_across`` chosen by ``benchmarks/choose_parameters.py`` on the training parts of
isbi2012 and snemi3d."""
THICK_VOLUME = {
    "beta": 0.6,
    "beta_lifted": 0.5,
    "lifted_weight": 8.0,
    "length_weighting": "none",
    "weight_across": 1.0,
}
"""All but ``weight_across`` chosen by ``benchmarks/choose_parameters.py`` on the training parts of
fib25 and gala."""


SolverName = Literal[
    "greedy_additive",
    "greedy_fixation",
    "kernighan_lin",
    "fusion_moves",
    "hierarchical",
    "mutex_watershed",
    "average_linkage",
]
"""The names in ``SOLVERS``."""


class MulticutConfig(SolverParameters):
    """How probabilities become costs, and how they are solved."""

    solver: SolverName | None = Field(
        None,
        description="Solver of the (lifted) multicut; none = kernighan_lin, or hierarchical "
        "from `hierarchical_from_edges` on.",
    )
    hierarchical_from_edges: int = Field(
        50_000,
        ge=0,
        description="Regular edges from which on the solver is hierarchical, if none is given.",
    )
    time_limit_seconds: float | None = Field(
        None,
        gt=0,
        description="Time after which no solver begins another iteration, counted for the "
        "plain and the lifted multicut apart; results then depend on the machine; "
        "none = no limit.",
    )
    beta: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Prior of a cut of regular edges; higher cuts more; none: by anisotropy.",
    )
    beta_lifted: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Prior of a cut of lifted edges; higher cuts more; none: by anisotropy.",
    )
    lifted_weight: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Weight of all lifted edges together relative to all regular ones; "
        "0 = plain multicut; none: by anisotropy.",
    )
    length_weighting: Literal["auto", "none", "across", "within", "all"] = Field(
        "auto",
        description="Edges whose cost grows with contact length: across sections, within "
        "them, all or none; auto = all for flat sections, none otherwise.",
    )
    reference_length_across_voxels: float = Field(
        300.0, gt=0, description="Contact across sections, in voxel faces, that has weight 1."
    )
    reference_length_within_voxels: float = Field(
        30.0, gt=0, description="Contact within a section, in voxel faces, that has weight 1."
    )
    max_length_weight: float = Field(
        16.0, ge=1, description="Highest weight that contact length can give an edge."
    )
    weight_across: float | None = Field(
        None,
        gt=0,
        description="Further factor on the cost of edges across sections; none: by anisotropy.",
    )

    def resolved(self, volume: VolumeInfo) -> Self:
        """With everything that depends on the volume's anisotropy decided."""
        chosen = FLAT_SECTIONS if volume.flat_sections else THICK_VOLUME
        return self.model_copy(
            update={
                key: value for key, value in chosen.items() if getattr(self, key) in (None, "auto")
            }
        )


def edge_costs(edges: Table, config: MulticutConfig) -> NDArray[np.float64]:
    """Costs of the regular edges, (m,) float64, positive attracts.

    Parameters
    ----------
    edges
        ``p_cut`` float32 0..1, ``across_sections`` bool, ``length_voxels`` in voxel faces.
    config
        Resolved for the volume.
    """
    if config.length_weighting == "auto":
        raise ConfigError("multicut.length_weighting auto must be resolved for the volume first")
    costs = signed_costs(edges["p_cut"], decided(config.beta, "beta"), "edge")
    across = edges["across_sections"].astype(bool)
    costs[across] *= decided(config.weight_across, "weight_across")
    for chosen, name, reference in (
        (across, "across", config.reference_length_across_voxels),
        (~across, "within", config.reference_length_within_voxels),
    ):
        if config.length_weighting in (name, "all"):
            length = edges["length_voxels"][chosen]
            costs[chosen] *= length_weights(length, reference, config.max_length_weight)
    return costs


def lifted_costs(lifted: Table, edges: int, config: MulticutConfig) -> NDArray[np.float64]:
    """Costs of the lifted edges, (k,) float64, scaled against ``edges`` regular ones."""
    costs = signed_costs(lifted["p_cut"], decided(config.beta_lifted, "beta_lifted"), "lifted edge")
    weight = decided(config.lifted_weight, "lifted_weight")
    return costs * lifted_scale(edges, len(costs), weight)


def decided(value: float | None, name: str) -> float:
    """A parameter that ``resolved`` must have decided."""
    if value is None:
        raise ConfigError(f"multicut.{name} must be resolved for the volume first")
    return value


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
    nodes: Table,
    edges: Table,
    lifted: Table,
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
    """(n, 3) zyx voxels of the seeds: an id is 1 + the flat index of its seed."""
    index = np.asarray(ids, np.int64) - 1
    return np.stack(np.unravel_index(index, volume.shape), axis=1).astype(np.float64)


def compute(block: Block, inputs: Inputs, config: MulticutConfig, resources: Resources) -> Outputs:
    """Neuron of every node, with and without lifted edges; consecutive from 1."""
    found = partition(
        inputs["nodes"],
        inputs["edges"],
        inputs["lifted"],
        config.resolved(resources.volume),
        resources.volume,
        resources.threads,
    )
    log(f"multicut, {found.solver}", found.multicut)
    if found.lifted is not found.multicut:
        log(f"lifted multicut, {found.solver}", found.lifted)
    one = np.uint64(1)
    return {"nodes": {"neuron": found.labels + one, "multicut": found.multicut_labels + one}}


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


STAGE = Stage(
    name="multicut",
    version=2,
    config=MulticutConfig,
    reads=("nodes", "edges", "lifted"),
    writes=(TableSpec("nodes", {"neuron": "uint64", "multicut": "uint64"}),),
    compute=compute,
    scope="volume",
)
