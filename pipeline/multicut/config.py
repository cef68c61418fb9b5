"""Parameters of the stage."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from pipeline.contract import VolumeInfo
from pipeline.errors import ConfigError
from pipeline.multicut.parameters import SolverParameters

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
        "plain and the lifted multicut (of every domain) apart; results then depend on the "
        "machine; none = no limit.",
    )
    solve_at_once_edges: int = Field(
        8_000_000,
        ge=1,
        description="Regular and lifted edges together up to which a problem is solved in one "
        "process; a larger one is first contracted in domains, task by task.",
    )
    domain_nodes: int = Field(
        32_000, ge=1, description="Superpixels of a domain of the first level, on average."
    )
    domain_overlap: float = Field(
        0.12,
        ge=0,
        le=0.4,
        description="Domains of all levels grow on every side by this share of the shape of "
        "those of the first.",
    )
    without_lifted: bool = Field(
        True,
        description="Solve the multicut without lifted edges as well (nodes/multicut) where "
        "domains are needed; if not, the column is 0 there.",
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


def decided(value: float | None, name: str) -> float:
    """A parameter that ``resolved`` must have decided."""
    if value is None:
        raise ConfigError(f"multicut.{name} must be resolved for the volume first")
    return value
