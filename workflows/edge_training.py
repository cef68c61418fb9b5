"""Configuration of ``train edges``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.forests import Growth
from workflows.training_data import AnnotatedVolume
from workflows.yaml_models import read_yaml


class ForestConfig(BaseModel):
    """Size of a forest, and what its trees see."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trees: int = Field(60, ge=1, le=2000, description="Number of trees.")
    max_depth: int = Field(12, ge=1, le=32, description="Depth of a tree.")
    min_leaf: int = Field(20, ge=1, description="Edges that a leaf holds at least.")
    max_features: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the columns that a split chooses from; null = their square root.",
    )
    max_samples: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Edges drawn for each tree, as a share of all; 0.5 halves the time.",
    )
    balanced: bool = Field(
        True, description="Give cuts and joins the same total weight, however rare one of them is."
    )
    max_rows: int = Field(
        400_000, ge=100, description="Edges learned from, at most; drawn at random."
    )

    @property
    def growth(self) -> Growth:
        """The same for ``learn_forest``."""
        return Growth(**self.model_dump(exclude={"max_rows"}))


class EdgeTraining(BaseModel):
    """Configuration of ``train edges``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The forests become edges-<name> and lifted-<name>.")
    licence: str = Field(description="Terms under which the forests may be used.")
    volumes: tuple[AnnotatedVolume, ...] = Field(
        min_length=1, description="Labels of neurites, or masks of membranes, halved along z."
    )
    pipeline: dict[str, Any] = Field(
        default_factory=dict, description="Pipeline parameters, as in a preset."
    )
    edges: ForestConfig = Field(ForestConfig(), description="First forest.")
    lifted: ForestConfig = Field(ForestConfig(), description="Second forest.")
    split_across: bool = Field(
        False,
        description="Fit a forest of its own, edges-<name>-across, for edges across sections.",
    )
    calibrate: bool = Field(
        True, description="Map the trees' votes to P(cut) as observed on out-of-bag rows."
    )
    cut_above: float = Field(
        0.6, ge=0.5, le=1, description="A pair is cut if random voxels differ more often than this."
    )
    join_below: float = Field(
        0.4,
        ge=0,
        le=0.5,
        description="A pair is joined if random voxels differ less often; between the two limits "
        "it is left out.",
    )
    min_overlap: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of labelled voxels that both superpixels of a pair need.",
    )
    min_clear_edges: int = Field(
        100, ge=1, description="Fewer clear edges than this are too few to fit a forest."
    )
    min_cell_voxels: int = Field(
        50, ge=1, description="Smaller cells of a membrane mask count as unlabelled."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")

    @property
    def limits(self) -> dict[str, float]:
        """Which pairs are clear, as ``edge_targets`` takes it."""
        return {
            "min_overlap": self.min_overlap,
            "cut_above": self.cut_above,
            "join_below": self.join_below,
        }


def read_edge_training(path: Path) -> EdgeTraining:
    """A configuration file of ``train edges``."""
    return read_yaml(path, EdgeTraining)
