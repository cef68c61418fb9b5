"""Parameters of the solvers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.contract import StageConfig

Voxels = Annotated[int, Field(ge=1)]


class SolverParameters(StageConfig):
    """How hard the solvers try; each uses those that concern it."""

    max_outer_iterations: int = Field(
        20,
        ge=0,
        le=1000,
        description="Limit of Kernighan-Lin iterations, and of sweeps of local search; "
        "0 = greedy only.",
    )
    fusion_proposals: int = Field(
        100, ge=1, le=10_000, description="Limit of proposals that fusion moves try."
    )
    block_shape: tuple[Voxels, Voxels, Voxels] | None = Field(
        None,
        description="Hierarchical: sub-problems of the first level, zyx voxels, independent of "
        "storage blocks; none = by block_nodes.",
    )
    block_nodes: int = Field(
        32_000,
        ge=1,
        description="Hierarchical: superpixels of one sub-problem, on average, where "
        "block_shape is none.",
    )
    block_overlap: float = Field(
        0.12,
        ge=0,
        le=0.4,
        description="Hierarchical: sub-problems grow on every side by this share of their shape.",
    )
    levels: int = Field(
        1,
        ge=1,
        le=10,
        description="Hierarchical: levels of sub-problems, each twice as large as the one before; "
        "more leave less to solve as a whole.",
    )
    refine: bool = Field(
        False,
        description="Hierarchical: end with Kernighan-Lin on the whole problem; slow.",
    )
