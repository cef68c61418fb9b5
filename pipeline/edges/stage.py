"""P(cut) of every edge of the region adjacency graph, by one random forest or two."""

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
FOREST_ACROSS = "forest_across"


class EdgesConfig(StageConfig):
    """How features become P(cut)."""

    forest: str = Field(
        "auto",
        min_length=1,
        description="Forest file or packaged name; auto = by the volume's anisotropy; "
        "none = the feature named boundary_feature is P(cut).",
    )
    forest_across: str = Field(
        "same",
        min_length=1,
        description="Forest file or packaged name for edges across sections; same = the forest "
        "of all edges.",
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
    *,
    threads: int = 1,
) -> NDArray[np.float32]:
    """P(cut) of every row.

    Parameters
    ----------
    features
        (m, f) float32.
    names
        f column names.
    forest
        Fitted on some of the names; ``None``: the boundary feature itself.
    boundary_feature
        Column, 0..1, taken where there is no forest.
    threads
        Of the forest.

    Returns
    -------
    p_cut
        (m,) float32, 0..1.

    Raises
    ------
    ModelError
        If the forest was fitted on features that are not there.
    ConfigError
        If the boundary feature does not exist.
    InputError
        If it lies outside 0..1.
    """
    if forest is not None:
        return predict(forest, features, names, threads=threads)
    if boundary_feature not in names:
        raise ConfigError(
            f"edges.boundary_feature {boundary_feature!r} is none of the features: "
            f"{', '.join(names)}"
        )
    p_cut = features[:, list(names).index(boundary_feature)].astype(np.float32)
    if not ((p_cut >= 0) & (p_cut <= 1)).all():
        raise InputError(f"feature {boundary_feature} lies outside 0..1, so it is no P(cut)")
    return p_cut


def forest_names(config: EdgesConfig) -> dict[str, str]:
    """Forests by the name under which they are opened; none without a forest.

    Raises
    ------
    ConfigError
        If there is a forest for edges across sections and none for the others.
    """
    if config.forest == "none":
        if config.forest_across != "same":
            raise ConfigError(
                f"edges.forest_across is {config.forest_across!r}, but edges.forest is none"
            )
        return {}
    across = {} if config.forest_across == "same" else {FOREST_ACROSS: config.forest_across}
    return {FOREST: config.forest, **across}


def opens(config: EdgesConfig, device: str) -> Mapping[str, Any]:
    """Load the forests, if there are any."""
    return {key: load_forest(model_path(name)) for key, name in forest_names(config).items()}


def files(config: EdgesConfig) -> Sequence[str]:
    """Paths of the forests, if there are any."""
    return [str(model_path(name)) for name in forest_names(config).values()]


def compute(block: Block, inputs: Inputs, config: EdgesConfig, resources: Resources) -> Outputs:
    """P(cut) of all edges."""
    names = inputs["attributes"]["edges/features"]["names"]
    edges = inputs["edges"]
    forests: list[Forest] = []
    for key, name in forest_names(config).items():
        if key not in resources.models:
            raise ConfigError(f"edges.{key} {name!r} was not opened")
        forests.append(resources.models[key])
    p_cut = edge_probability(
        edges["features"],
        names,
        forests[0] if forests else None,
        config.boundary_feature,
        threads=resources.threads,
    )
    if len(forests) == 2:
        across = np.flatnonzero(edges["across_sections"])
        features = edges["features"][across]
        p_cut[across] = predict(forests[1], features, names, threads=resources.threads)
    return {"edges": {"p_cut": p_cut}}


STAGE = Stage(
    name="edges",
    version=2,
    config=EdgesConfig,
    reads=("edges",),
    writes=(TableSpec("edges", {"p_cut": "float32"}),),
    compute=compute,
    scope="volume",
    opens=opens,
    files=files,
)
