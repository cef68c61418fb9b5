"""P(cut) of every edge of the region adjacency graph, by a random forest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

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
    TableSpec,
    VolumeInfo,
)
from pipeline.errors import ConfigError, InputError
from pipeline.forests import Forest, load_forest, predict
from pipeline.packaged import model_path

FOREST = "forest"


class EdgesConfig(StageConfig):
    """How features become P(cut)."""

    forest: str = Field(
        "auto",
        min_length=1,
        description="Forest file or packaged name; auto = by the volume's anisotropy; "
        "none = the feature named boundary_feature is P(cut).",
    )
    boundary_feature: str = Field(
        "boundary/mean",
        description="Feature that stands for P(cut) when forest is none; its range is 0..1.",
    )

    def resolved(self, volume: VolumeInfo) -> Self:
        """With forest ``auto`` decided by the volume's anisotropy."""
        if self.forest != "auto":
            return self
        kind = "anisotropic" if volume.flat_sections else "isotropic"
        return self.model_copy(update={"forest": f"edges-{kind}"})


def edge_probability(
    features: NDArray[np.float32],
    names: Sequence[str],
    forest: Forest | None,
    boundary_feature: str,
) -> NDArray[np.float32]:
    """P(cut) of every row.

    Parameters
    ----------
    features
        (m, f) float32.
    names
        f column names.
    forest
        Fitted on the same names; ``None``: the boundary feature itself.
    boundary_feature
        Column, 0..1, taken where there is no forest.

    Returns
    -------
    p_cut
        (m,) float32, 0..1.

    Raises
    ------
    ModelError
        If the forest was fitted on other features.
    ConfigError
        If the boundary feature does not exist.
    InputError
        If it lies outside 0..1.
    """
    if forest is not None:
        return predict(forest, features, names)
    if boundary_feature not in names:
        raise ConfigError(
            f"edges.boundary_feature {boundary_feature!r} is none of the features: "
            f"{', '.join(names)}"
        )
    p_cut = features[:, list(names).index(boundary_feature)].astype(np.float32)
    if not ((p_cut >= 0) & (p_cut <= 1)).all():
        raise InputError(f"feature {boundary_feature} lies outside 0..1, so it is no P(cut)")
    return p_cut


def opens(config: EdgesConfig, device: str) -> Mapping[str, Any]:
    """Load the forest, if there is one."""
    if config.forest == "none":
        return {}
    return {FOREST: load_forest(model_path(config.forest))}


def files(config: EdgesConfig) -> Sequence[str]:
    """Path of the forest, if there is one."""
    return [] if config.forest == "none" else [str(model_path(config.forest))]


def compute(block: Block, inputs: Inputs, config: EdgesConfig, resources: Resources) -> Outputs:
    """P(cut) of all edges."""
    names = inputs["attributes"]["edges/features"]["names"]
    forest = resources.models.get(FOREST)
    if forest is None and config.forest != "none":
        raise ConfigError(f"edges.forest {config.forest!r} was not opened")
    features = inputs["edges"]["features"]
    return {"edges": {"p_cut": edge_probability(features, names, forest, config.boundary_feature)}}


STAGE = Stage(
    name="edges",
    version=1,
    config=EdgesConfig,
    reads=("edges",),
    writes=(TableSpec("edges", {"p_cut": "float32"}),),
    compute=compute,
    scope="volume",
    opens=opens,
    files=files,
)
