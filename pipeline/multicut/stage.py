"""The neuron of every node: costs from probabilities, then the (lifted) multicut."""

from __future__ import annotations

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
    StageConfig,
    Table,
    TableSpec,
    VolumeInfo,
)
from pipeline.errors import ConfigError
from pipeline.multicut.costs import length_weights, lifted_scale, signed_costs
from pipeline.multicut.solver import Solution, solve

FLAT_SECTIONS = {
    "beta": 0.7,
    "lifted_weight": 2.0,
    "length_weighting": "across",
    "weight_across": 1.0,
}
"""``beta`` and ``lifted_weight`` chosen by ``benchmarks/choose_parameters.py`` on the training
parts of isbi2012 and snemi3d."""
THICK_VOLUME = {
    "beta": 0.7,
    "lifted_weight": 2.0,
    "length_weighting": "all",
    "weight_across": 1.0,
}
"""All but ``weight_across`` chosen by ``benchmarks/choose_parameters.py`` on the training parts of
fib25 and gala."""


class MulticutConfig(StageConfig):
    """How probabilities become costs, and how long the solver tries."""

    beta: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Prior of a cut of regular edges; higher cuts more; none: by anisotropy.",
    )
    beta_lifted: float = Field(
        0.5, gt=0, lt=1, description="Prior of a cut of lifted edges; higher cuts more."
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
        "them, all or none; auto = across for flat sections, all otherwise.",
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
    max_outer_iterations: int = Field(
        20, ge=0, le=1000, description="Limit of Kernighan-Lin iterations; 0 = greedy only."
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
    costs = signed_costs(lifted["p_cut"], config.beta_lifted, "lifted edge")
    weight = decided(config.lifted_weight, "lifted_weight")
    return costs * lifted_scale(edges, len(costs), weight)


def decided(value: float | None, name: str) -> float:
    """A parameter that ``resolved`` must have decided."""
    if value is None:
        raise ConfigError(f"multicut.{name} must be resolved for the volume first")
    return value


def partition(nodes: Table, edges: Table, lifted: Table, config: MulticutConfig) -> Solution:
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
    """
    weight = decided(config.lifted_weight, "lifted_weight")
    use = slice(None) if weight > 0 else slice(0, 0)
    return solve(
        len(nodes["id"]),
        edges["uv"],
        edge_costs(edges, config),
        lifted["uv"][use],
        lifted_costs(lifted, len(edges["uv"]), config)[use],
        max_outer_iterations=config.max_outer_iterations,
    )


def compute(block: Block, inputs: Inputs, config: MulticutConfig, resources: Resources) -> Outputs:
    """Neuron of every node, with and without lifted edges; consecutive from 1."""
    resolved = config.resolved(resources.volume)
    solution = partition(inputs["nodes"], inputs["edges"], inputs["lifted"], resolved)
    one = np.uint64(1)
    return {"nodes": {"neuron": solution.labels + one, "multicut": solution.multicut_labels + one}}


STAGE = Stage(
    name="multicut",
    version=1,
    config=MulticutConfig,
    reads=("nodes", "edges", "lifted"),
    writes=(TableSpec("nodes", {"neuron": "uint64", "multicut": "uint64"}),),
    compute=compute,
    scope="volume",
)
