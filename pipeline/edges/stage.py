"""P(cut) of every edge of the region adjacency graph, by one random forest or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.contract import (
    ROWS,
    Inputs,
    Outputs,
    Resources,
    Rows,
    Stage,
    StageConfig,
    Step,
    TableSpec,
    VolumeInfo,
)
from pipeline.errors import ConfigError, InputError
from pipeline.forests import Forest, load_forest, predict
from pipeline.packaged import model_path
from pipeline.tables import row_range

FOREST = "forest"
FOREST_ACROSS = "forest_across"
STRETCH_BYTES = 1 << 25
"""Of features that are in memory at a time, whatever their number."""


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


def compute(task: int, inputs: Inputs, config: EdgesConfig, resources: Resources) -> Outputs:
    """P(cut) of a range of edges, read in stretches."""
    names: Sequence[str] = inputs["attributes"]["edges/features"]["names"]
    edges: Rows = inputs["edges"]
    forests = _opened_forests(config, resources)
    begin, end = row_range(task, edges.count)
    step = stretch_rows(len(names))
    stretches = [
        _probabilities(edges, row, min(row + step, end), names, forests, config, resources.threads)
        for row in range(begin, end, step)
    ]
    return {"edges": {"p_cut": np.concatenate([np.zeros(0, np.float32), *stretches])}}


def stretch_rows(columns: int) -> int:
    """Rows of features that are read at a time: a power of two, as the files of a table hold.

    >>> stretch_rows(90), stretch_rows(1000)
    (65536, 8192)
    """
    rows = ROWS
    while rows > 1 and rows * columns * 4 > STRETCH_BYTES:
        rows //= 2
    return rows


def _opened_forests(config: EdgesConfig, resources: Resources) -> list[Forest]:
    forests = []
    for key, name in forest_names(config).items():
        if key not in resources.models:
            raise ConfigError(f"edges.{key} {name!r} was not opened")
        forests.append(resources.models[key])
    return forests


def _probabilities(
    edges: Rows,
    begin: int,
    end: int,
    names: Sequence[str],
    forests: Sequence[Forest],
    config: EdgesConfig,
    threads: int,
) -> NDArray[np.float32]:
    """P(cut) of edges ``begin .. end - 1``."""
    features = edges.read("features", begin, end)
    first = forests[0] if forests else None
    p_cut = edge_probability(features, names, first, config.boundary_feature, threads=threads)
    if len(forests) == 2:
        across = np.flatnonzero(edges.read("across_sections", begin, end))
        p_cut[across] = predict(forests[1], features[across], names, threads=threads)
    return p_cut


def _edges(inputs: Inputs, config: EdgesConfig, resources: Resources) -> int:
    edges: Rows = inputs["edges"]
    return edges.count


STAGE = Stage(
    name="edges",
    version=2,
    config=EdgesConfig,
    reads=("edges",),
    after=(
        Step(
            "probabilities",
            compute,
            rows=_edges,
            writes=(TableSpec("edges", {"p_cut": "float32"}),),
        ),
    ),
    opens=opens,
    files=files,
)
